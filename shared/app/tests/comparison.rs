//! Canary and baseline are compared by the sweep, against a whole world with traffic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_app::ports::{AnalysisStore, CallErrorKind, Metrics, OwnMetric, ProbeAnswer};
use snapback_core::alarm::AlarmState;

use snapback_core::notice::NoticeKind;
use snapback_core::policy::{AgainstBaseline, PolicySettings, SignalPolicy, WithoutEvidence};
use snapback_core::timeline::TimelineEntry;
use snapback_core::{Cause, DeploymentId, HookStatus, LifecycleEvent, Mode, Outcome, Signal, Timestamp, Trigger};
use snapback_judge::detector::{BucketRecord, Reading, Side};
use snapback_judge::series::Window;
use snapback_judge::slo::Objective;
use snapback_testkit::{
    Action, Fault, How, Play, Quality, Rules, Status, World, alarm, at, block_on, broken_promises, policy,
};
use std::time::Duration;

/// Traffic begins to shift about five seconds after the world began, and all has moved five minutes later.
const SHIFT_S: u64 = 5;
const ALL_S: u64 = SHIFT_S + 300;

fn compared(alarms: &[&str]) -> SignalPolicy {
    let alarms = alarms.iter().map(|name| alarm(name)).collect();
    SignalPolicy {
        against_baseline: Some(AgainstBaseline::new()),
        is_sufficient: false,
        ..SignalPolicy::of_alarms(alarms)
    }
}

/// Errors, latency and traffic are compared; a bake of five minutes.
fn settings() -> PolicySettings {
    let mut settings = policy();
    settings.signals.insert(Signal::Errors, compared(&["checkout-5xx"]));
    settings.signals.insert(Signal::Latency, compared(&["checkout-p99"]));
    settings.signals.insert(Signal::Availability, compared(&[]));
    settings.bake = Duration::from_secs(300);
    settings
}

/// Twenty requests a second; a tenth of them to the new version for five minutes.
fn world(change: impl FnOnce(&mut PolicySettings)) -> World {
    let world = World::new();
    let mut settings = settings();
    change(&mut settings);
    world.set_policy(settings);
    world.set_traffic(20.0);
    world.set_group(|group| group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(300), 1.0)]);
    world
}

fn failing(errors: f64) -> Quality {
    Quality { errors, ..Quality::default() }
}

fn told(world: &World, id: &DeploymentId) -> Vec<String> {
    world.timeline(id).into_iter().map(|line: TimelineEntry| format!("{} {}", line.at, line.text)).collect()
}

/// Plays to the end; the promises must hold.
fn play(world: &World) -> DeploymentId {
    let id = world.deploy("2");
    finish(world, &mut Play::new(world), &id);
    id
}

fn finish(world: &World, play: &mut Play<'_>, id: &DeploymentId) {
    assert!(play.until_quiet(Duration::from_secs(2 * 3600)), "{:#?}", told(world, id));
    let strict = Rules { in_time: true, may_notify_twice: false, may_fail_to_undo: false };
    assert_eq!(broken_promises(world, strict), Vec::<String>::new(), "{:#?}", told(world, id));
}

fn probe(status: u16) -> Result<ProbeAnswer, CallErrorKind> {
    Ok(ProbeAnswer { status: Some(status), error: None, took: Duration::from_millis(40) })
}

fn heartbeats(world: &World, from: Timestamp, to: Timestamp) -> usize {
    let is_beat = |metric: &OwnMetric| matches!(metric, OwnMetric::Heartbeat { .. });
    world.metrics().iter().filter(|(at, metric)| (from..to).contains(at) && is_beat(metric)).count()
}

#[test]
fn what_a_version_is_like_decides() {
    type Row = (&'static str, fn(&World), Outcome, Option<Cause>);
    let table: &[Row] = &[
        ("healthy", |_| {}, Outcome::Promoted, None),
        ("a fifth fails", |w| w.set_quality("2", 0, failing(0.2)), Outcome::RolledBackInShift, Some(Cause::Errors)),
        (
            "most of its requests are slow",
            |w| w.set_quality("2", 0, Quality { slow: 0.6, ..Quality::default() }),
            Outcome::RolledBackInShift,
            Some(Cause::Latency),
        ),
        (
            "its requests do not arrive",
            // That nothing comes is known three minutes after a bucket.
            |w| w.set_quality("2", 0, Quality { arrives: 0.0, ..Quality::default() }),
            Outcome::RolledBackInBake,
            Some(Cause::Availability),
        ),
        (
            "it goes bad at all traffic",
            |w| w.set_quality("2", ALL_S, failing(0.3)),
            Outcome::RolledBackInBake,
            Some(Cause::Errors),
        ),
        ("too little traffic to tell", |w| w.set_traffic(0.02), Outcome::Inconclusive, None),
        ("no traffic at all", |w| w.set_traffic(0.0), Outcome::Inconclusive, None),
        (
            "the old one fails, the new one is its repair",
            |w| w.set_quality("1", 0, failing(0.3)),
            Outcome::Promoted,
            None,
        ),
    ];
    for (case, change, outcome, cause) in table {
        let world = world(|_| {});
        change(&world);
        let id = play(&world);
        assert_eq!(world.outcome(&id), Some(*outcome), "{case}: {:#?}", told(&world, &id));
        let record = world.record(&id).unwrap();
        let rollback = record.rollback.map(|rollback| (rollback.cause, rollback.trigger));
        assert_eq!(rollback, cause.map(|cause| (cause, Trigger::Sweep)), "{case}");
        let goes_back = usize::from(cause.is_some());
        assert_eq!(world.rollbacks_of(&id).len(), goes_back, "{case}");
        assert_eq!(world.count_published(&id, NoticeKind::Rollback), goes_back, "{case}");
        assert_eq!(
            record.deployment.warnings.is_empty(),
            *outcome != Outcome::Inconclusive,
            "{case}: {:?}",
            record.deployment.warnings
        );
    }
}

#[test]
fn a_bad_version_is_found_soon_and_its_times_are_on_record() {
    let world = world(|_| {});
    world.set_quality("2", 0, failing(0.2));
    let id = play(&world);
    let rollback = world.record(&id).unwrap().rollback.unwrap();
    let shift = world.shift_started_at(&id).unwrap();
    assert!(rollback.detected_at.since(shift) <= Duration::from_secs(180), "{:?}", rollback.detected_at.since(shift));
    assert!(rollback.impact_started_at.unwrap() <= shift && !rollback.impact_is_from_alarm);
    assert!(rollback.why.starts_with("version 2 is worse than version 1: 5xx answers"), "{}", rollback.why);
}

#[test]
fn a_healthy_version_is_promoted_soon_after_its_bake() {
    let world = world(|_| {});
    let id = play(&world);
    let ends_at = world.record(&id).unwrap().deployment.bake().unwrap().ends_at;
    let (_, answered_at) = world.answer(&id, LifecycleEvent::AfterAllowTraffic).unwrap();
    let late = answered_at.since(ends_at).as_secs();
    assert!(late <= 90 + 10, "{late} s: the minute in which it ends is known 90 s after it began");
}

#[test]
fn judged_polls_are_kept() {
    let world = world(|_| {});
    let id = play(&world);
    let polls = block_on(&world, world.judged_polls(&id)).unwrap().unwrap();
    assert!(polls.is_sorted_by(|a, b| a.polled_at < b.polled_at));
    let begun: Vec<bool> = polls.iter().map(|poll| poll.begun.is_some()).collect();
    assert_eq!(begun.iter().position(|has_begun| *has_begun), Some(0), "with the first one it is known how it began");
    assert_eq!(begun.into_iter().filter(|has_begun| *has_begun).count(), 1);
    for side in [Side::Baseline, Side::Canary] {
        let is_of = |record: &&BucketRecord| matches!(record.reading, Reading::Version(of, counts) if of == side && counts.latencies.is_some());
        let records = polls.iter().flat_map(|poll| &poll.records).filter(is_of);
        let mut starts: Vec<i64> = records.map(|record| record.start_s).collect();
        let count = starts.len();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), count, "{side:?}: no minute twice");
        assert!(count >= if side == Side::Baseline { 5 } else { 9 }, "{side:?}: {count} minutes");
    }
    assert!(polls.iter().all(|poll| poll.enforcing.is_some()), "what was said is kept, too");
    let stored = block_on(&world, world.analysis(&id)).unwrap().unwrap().unwrap();
    let (analysis, version) = (stored.analysis.unwrap(), stored.version);
    assert!(analysis.has_history && version >= 9, "stored {version} times");
}

#[test]
fn modes() {
    // (case, change, outcome, advice told)
    type Row = (&'static str, fn(&mut PolicySettings), Outcome, usize);
    let table: &[Row] = &[
        ("advise", |s| s.mode = Mode::Advise, Outcome::Inconclusive, 1),
        ("observe", |s| s.mode = Mode::Observe, Outcome::Inconclusive, 0),
        (
            "only this signal advises",
            |s| s.signals.get_mut(&Signal::Errors).unwrap().mode = Some(Mode::Advise),
            Outcome::Inconclusive,
            1,
        ),
    ];
    for (case, change, outcome, advice) in table {
        let world = world(change);
        world.set_quality("2", 0, failing(0.2));
        let id = play(&world);
        assert_eq!(world.outcome(&id), Some(*outcome), "{case}: {:#?}", told(&world, &id));
        assert_eq!(world.count_published(&id, NoticeKind::Advice), *advice, "{case}");
        assert!(world.record(&id).unwrap().rollback.is_none(), "{case}");
    }
}

#[test]
fn silence_at_the_end_of_the_bake_is_what_the_policy_says() {
    // (case, meaning of silence, outcome, how long the last hook was held at most)
    let table = [
        ("passes with a warning", WithoutEvidence::PassWithWarning, Outcome::Inconclusive, 500),
        ("fails", WithoutEvidence::Fail, Outcome::RolledBackInBake, 500),
        ("holds, then fails at 55 minutes", WithoutEvidence::Hold, Outcome::RolledBackInBake, 3360),
    ];
    for (case, silence, outcome, most_s) in table {
        let world = world(|settings| settings.no_evidence.silence = silence);
        world.set_traffic(0.02);
        let id = world.deploy("2");
        assert!(Play::new(&world).until_quiet(Duration::from_secs(2 * 3600)), "{case}");
        assert_eq!(world.outcome(&id), Some(outcome), "{case}: {:#?}", told(&world, &id));
        let bake = world.record(&id).unwrap().deployment.bake().unwrap().clone();
        let (_, answered_at) = world.answer(&id, LifecycleEvent::AfterAllowTraffic).unwrap();
        let held = answered_at.since(bake.started_at).as_secs();
        assert!(held <= most_s && held >= if silence == WithoutEvidence::Hold { 3300 } else { 300 }, "{case}: {held}");
    }
}

#[test]
fn an_objective_alone() {
    // (case, errors of both versions, of the new one, outcome)
    let table = [
        ("within the budget", 0.0, 0.0, Outcome::Promoted),
        ("the new version burns it", 0.0, 0.2, Outcome::RolledBackInShift),
        ("both burn it", 0.2, 0.2, Outcome::Held),
    ];
    for (case, old, new, outcome) in table {
        let world = world(|settings| {
            settings.signals.clear();
            settings.before_traffic.probes.clear();
            let objective = Objective::new(0.999);
            settings.signals.insert(Signal::Slo, SignalPolicy { objective, ..SignalPolicy::of_alarms(Vec::new()) });
        });
        for version in ["1", "2"] {
            world.set_quality(version, 0, failing(0.0));
        }
        // It begins after the history.
        world.set_quality("1", 30, failing(old));
        world.set_quality("2", 30, failing(new));
        if old > 0.0 {
            world.set_quality("1", 240, failing(0.0));
            world.set_quality("2", 240, failing(0.0));
        }
        let id = play(&world);
        assert_eq!(world.outcome(&id), Some(outcome), "{case}: {:#?}", told(&world, &id));
        let cause = world.record(&id).unwrap().rollback.map(|rollback| rollback.cause);
        assert_eq!(cause, outcome.is_rolled_back().then_some(Cause::Slo), "{case}");
    }
}

#[test]
fn a_shared_incident_in_the_shift_is_held_and_told_once() {
    // A dependency fails for two minutes: both versions are degraded, and the alarm goes red.
    let world = world(|settings| settings.signals.get_mut(&Signal::Errors).unwrap().is_sufficient = true);
    for version in ["1", "2"] {
        world.set_quality(version, 60, failing(0.4));
        world.set_quality(version, 180, failing(0.001));
    }
    world.script(at(150), Action::Alarm(alarm("checkout-5xx"), AlarmState::Alarm));
    world.script(at(240), Action::Alarm(alarm("checkout-5xx"), AlarmState::Ok));
    let id = play(&world);
    assert_eq!(world.outcome(&id), Some(Outcome::Held), "{:#?}", told(&world, &id));
    assert_eq!(world.count_published(&id, NoticeKind::SharedIncident), 1);
    assert_eq!(world.status(&id).map(|(status, _)| status), Some(Status::Succeeded));
    let incident = world.record(&id).unwrap().deployment.observation.incident.unwrap();
    assert!(incident.over_at.is_some_and(|over_at| over_at > at(180) && over_at < at(500)), "{incident:?}");
    assert!(told(&world, &id).iter().any(|line| line.contains("the shared incident is over")));
}

#[test]
fn a_version_that_is_bad_after_a_shared_incident_still_goes_back() {
    let world = world(|settings| settings.signals.get_mut(&Signal::Errors).unwrap().is_sufficient = true);
    for version in ["1", "2"] {
        world.set_quality(version, 60, failing(0.4));
    }
    world.set_quality("1", 180, failing(0.001));
    world.script(at(150), Action::Alarm(alarm("checkout-5xx"), AlarmState::Alarm));
    let id = play(&world);
    let rollback = world.record(&id).unwrap().rollback.unwrap();
    assert_eq!((rollback.cause, rollback.trigger), (Cause::Errors, Trigger::Sweep), "{:#?}", told(&world, &id));
    assert_eq!(world.count_published(&id, NoticeKind::SharedIncident), 1);
    assert_eq!(world.rollbacks_of(&id).len(), 1);
}

/// All traffic is on version 2, which looks bad from the start of the bake on; probes fail on both versions.
fn held_in_bake(change: impl FnOnce(&mut PolicySettings)) -> (World, DeploymentId) {
    let world = world(change);
    world.set_quality("2", ALL_S + 20, failing(0.4));
    let id = world.deploy("2");
    (world, id)
}

#[test]
fn a_shared_incident_in_the_bake_ends_held() {
    for silence in [WithoutEvidence::PassWithWarning, WithoutEvidence::Fail, WithoutEvidence::Hold] {
        let (world, id) = held_in_bake(|settings| settings.no_evidence.silence = silence);
        let mut play = Play::new(&world);
        play.until(at(ALL_S + 10));
        for version in ["1", "2"] {
            world.set_probe_of(version, probe(500));
        }
        play.until(at(ALL_S + 290));
        let record = world.record(&id).unwrap();
        assert!(
            record.deployment.observation.incident.is_some_and(|incident| incident.is_open()),
            "{:#?}",
            told(&world, &id)
        );
        assert_eq!(world.count_published(&id, NoticeKind::SharedIncident), 1);
        // It goes on beyond the end of the bake: the hook stays unanswered.
        play.until(at(ALL_S + 900));
        assert_eq!(world.answer(&id, LifecycleEvent::AfterAllowTraffic), None);
        world.set_quality("2", ALL_S + 900, failing(0.001));
        for version in ["1", "2"] {
            world.set_probe_of(version, probe(200));
        }
        finish(&world, &mut play, &id);
        assert_eq!(world.outcome(&id), Some(Outcome::Held), "{silence:?}: {:#?}", told(&world, &id));
        assert!(world.record(&id).unwrap().rollback.is_none(), "{silence:?}");
        assert_eq!(world.count_published(&id, NoticeKind::SharedIncident), 1, "{silence:?}");
    }
}

#[test]
fn a_shared_incident_without_end_ends_held_at_55_minutes() {
    let (world, id) = held_in_bake(|_| {});
    let mut play = Play::new(&world);
    play.until(at(ALL_S + 10));
    for version in ["1", "2"] {
        world.set_probe_of(version, probe(500));
    }
    finish(&world, &mut play, &id);
    assert_eq!(world.outcome(&id), Some(Outcome::Held), "{:#?}", told(&world, &id));
    let (status, answered_at) = world.answer(&id, LifecycleEvent::AfterAllowTraffic).unwrap();
    let began = world.record(&id).unwrap().deployment.bake().unwrap().started_at;
    let held = answered_at.since(began).as_secs();
    assert_eq!(status, HookStatus::Succeeded);
    assert!((3300..3360).contains(&held), "{held} s");
}

#[test]
fn only_the_new_version_fails_once_the_incident_is_over() {
    let (world, id) = held_in_bake(|_| {});
    let mut play = Play::new(&world);
    play.until(at(ALL_S + 10));
    for version in ["1", "2"] {
        world.set_probe_of(version, probe(500));
    }
    play.until(at(ALL_S + 290));
    assert!(world.record(&id).unwrap().deployment.observation.incident.is_some(), "{:#?}", told(&world, &id));
    world.set_probe_of("1", probe(200));
    finish(&world, &mut play, &id);
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInBake), "{:#?}", told(&world, &id));
    assert!(world.record(&id).unwrap().rollback.unwrap().why.contains("fails on the new version only"));
}

#[test]
fn control_probes_at_all_traffic() {
    // (case, probe of version 1, of version 2, outcome); the numbers are bad, the probes are what differs.
    let table = [
        ("both pass: the numbers decide", probe(200), probe(200), Outcome::RolledBackInBake),
        ("only the new one fails", probe(200), probe(500), Outcome::RolledBackInBake),
        ("nobody may ask", Err(CallErrorKind::Denied), Err(CallErrorKind::Denied), Outcome::RolledBackInBake),
        ("only the old one fails: it lacks what is probed", probe(500), probe(200), Outcome::RolledBackInBake),
        ("both fail", probe(500), probe(500), Outcome::Held),
    ];
    for (case, old, new, outcome) in table {
        let (world, id) = held_in_bake(|_| {});
        let mut play = Play::new(&world);
        play.until(at(ALL_S + 10));
        world.set_probe_of("1", old);
        world.set_probe_of("2", new);
        finish(&world, &mut play, &id);
        assert_eq!(world.outcome(&id), Some(outcome), "{case}: {:#?}", told(&world, &id));
    }
}

#[test]
fn numbers_that_cannot_be_read_stop_the_heartbeat_and_page() {
    for kind in [CallErrorKind::Denied, CallErrorKind::Unreachable, CallErrorKind::Invalid] {
        let world = world(|_| {});
        let id = world.deploy("2");
        let mut play = Play::new(&world);
        play.until(at(120));
        assert!(heartbeats(&world, at(60), at(120)) > 3, "{kind:?}");
        world.break_calls("cloudwatch:GetMetricData", kind);
        play.until(at(300));
        assert_eq!(heartbeats(&world, at(155), at(300)), 0, "{kind:?}: the next look was due at 150 s");
        assert_eq!(world.count_published(&id, NoticeKind::Held), 1, "{kind:?}: {:#?}", told(&world, &id));
        let missing =
            world.metrics().iter().filter(|(_, metric)| matches!(metric, OwnMetric::EvidenceMissing { .. })).count();
        assert!(missing > 3, "{kind:?}");
        // The bake is over, and nobody can see: neither promoted nor rolled back.
        play.until(at(1200));
        assert_eq!(world.answer(&id, LifecycleEvent::AfterAllowTraffic), None, "{kind:?}");
        world.fix_calls("cloudwatch:GetMetricData");
        finish(&world, &mut play, &id);
        assert_eq!(world.outcome(&id), Some(Outcome::Held), "{kind:?}: {:#?}", told(&world, &id));
        assert_eq!(world.count_published(&id, NoticeKind::Held), 1, "{kind:?}");
        assert!(world.record(&id).unwrap().deployment.observation.metrics_unreadable_since.is_none(), "{kind:?}");
    }
}

#[test]
fn numbers_that_stay_unreadable_are_no_pass() {
    let world = world(|_| {});
    world.break_calls("cloudwatch:GetMetricData", CallErrorKind::Denied);
    let id = play(&world);
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInBake), "{:#?}", told(&world, &id));
    let blame = world.record(&id).unwrap().deployment.blame();
    assert_eq!(blame.map(|blame| blame.cause), Some(Cause::NoEvidence));
}

#[test]
fn one_throttled_reading_is_forgiven() {
    let world = world(|_| {});
    let id = world.deploy("2");
    let mut play = Play::new(&world);
    play.until(at(145));
    world.break_calls("cloudwatch:GetMetricData", CallErrorKind::Unreachable);
    play.until(at(165));
    world.fix_calls("cloudwatch:GetMetricData");
    finish(&world, &mut play, &id);
    assert_eq!(world.outcome(&id), Some(Outcome::Promoted), "{:#?}", told(&world, &id));
    assert!(world.published().is_empty());
}

#[test]
fn a_bad_version_is_found_after_an_outage_of_the_table() {
    // What was judged could not be stored: it is judged again, and once.
    let world = world(|_| {});
    world.set_quality("2", 0, failing(0.2));
    let id = world.deploy("2");
    let mut play = Play::new(&world);
    play.until(at(60));
    world.break_calls("dynamodb:Transact", CallErrorKind::Unreachable);
    play.until(at(200));
    assert!(world.record(&id).unwrap().rollback.is_none());
    assert_eq!(heartbeats(&world, at(100), at(200)), 0);
    world.fix_calls("dynamodb:Transact");
    finish(&world, &mut play, &id);
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift), "{:#?}", told(&world, &id));
}

#[test]
fn a_watcher_that_was_away_comes_to_the_right_end() {
    // (case, watcher comes back at, errors of the new version, outcomes that are right)
    let table = [
        ("two minutes late", 125, 0.001, Outcome::Promoted),
        ("at all traffic", ALL_S + 60, 0.001, Outcome::Promoted),
        ("after most of the bake", ALL_S + 200, 0.001, Outcome::Promoted),
        ("two minutes late, bad", 125, 0.2, Outcome::RolledBackInShift),
        ("at all traffic, bad", ALL_S + 60, 0.2, Outcome::RolledBackInBake),
    ];
    for (case, back_s, errors, outcome) in table {
        let world = world(|_| {});
        world.set_quality("2", 0, failing(errors));
        let id = world.deploy("2");
        let mut play = Play::new(&world).without_sweep();
        play.until(at(back_s));
        play.start_sweeping();
        finish(&world, &mut play, &id);
        let found = world.outcome(&id);
        let is_right = found == Some(outcome) || (errors < 0.01 && found == Some(Outcome::Inconclusive));
        assert!(is_right, "{case}: {found:?} {:#?}", told(&world, &id));
    }
}

#[test]
fn a_deployment_right_after_another_has_no_past_and_ends_well() {
    let world = world(|settings| settings.bake = Duration::ZERO);
    world.set_group(|group| group.shift = vec![(Duration::ZERO, 1.0)]);
    let mut play = Play::new(&world);
    for version in ["2", "3", "4"] {
        let id = world.deploy(version);
        finish(&world, &mut play, &id);
        let outcome = world.outcome(&id);
        assert!(outcome.is_some_and(Outcome::is_good), "{version}: {outcome:?} {:#?}", told(&world, &id));
    }
    // And one that is watched for long, while its predecessor ended in the same minute.
    world.set_policy(settings());
    world.set_group(|group| group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(300), 1.0)]);
    let id = world.deploy("5");
    finish(&world, &mut play, &id);
    assert_eq!(world.outcome(&id), Some(Outcome::Promoted), "{:#?}", told(&world, &id));
    assert_eq!(world.published().len(), 0, "{:?}", world.published());
}

#[test]
fn a_verdict_is_acted_on_at_once_by_the_watcher_that_takes_over() {
    let make = || {
        let world = world(|_| {});
        world.set_quality("2", 0, failing(0.2));
        let id = world.deploy("2");
        (world, id)
    };
    let (world, id) = make();
    finish(&world, &mut Play::new(&world), &id);
    let decided_at = world.record(&id).unwrap().rollback.unwrap().detected_at;
    let (world, _) = make();
    let mut play = Play::new(&world);
    play.until(decided_at - Duration::from_secs(2));
    let first = world.calls() + 1;
    let mut had_verdict = 0;
    for n in first..first + 25 {
        let (world, id) = make();
        world.add_fault(Fault { at: n, how: How::CrashAfter });
        let mut play = Play::new(&world);
        // The watcher's lease is over after 30 s; its successor comes between two looks.
        let back_at = decided_at + Duration::from_secs(35);
        play.until(back_at);
        let detector =
            block_on(&world, world.analysis(&id)).unwrap().unwrap().and_then(|stored| stored.analysis?.enforcing);
        let has_verdict = detector.is_some_and(|state| state.rolled_back.is_some());
        let was_judged = has_verdict && world.record(&id).unwrap().rollback.is_none();
        play.start_sweeping();
        play.until_quiet(Duration::from_secs(3600));
        let call = world.faulted();
        assert_eq!(
            world.outcome(&id),
            Some(Outcome::RolledBackInShift),
            "call {n} ({call:?}): {:#?}",
            told(&world, &id)
        );
        if was_judged {
            had_verdict += 1;
            let took = world.record(&id).unwrap().rollback.unwrap().detected_at.since(back_at);
            assert!(took <= Duration::from_secs(2), "call {n} ({call:?}): {took:?}");
        }
    }
    assert!(had_verdict > 0, "no crash between the verdict and the intent");
}

#[test]
fn an_empty_window_is_refused_by_the_world_as_by_cloudwatch() {
    let world = world(|_| {});
    let window = Window { from: at(0), to: at(0), period: Duration::from_secs(60) };
    let error = block_on(&world, world.measure(window, &[])).unwrap().unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Invalid);
}
