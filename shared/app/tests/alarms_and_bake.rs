//! Customers use the new version: alarm events, the last hook, the recorder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_app::after_hook::after_allow_traffic;
use snapback_app::before_hook::{HookEnd, before_allow_traffic};
use snapback_app::handle_alarm::{Handled, handle_alarm};
use snapback_app::ports::{CallErrorKind, OwnMetric};
use snapback_app::record_deployment::{Recorded, record_deployment};
use snapback_core::alarm::{AlarmReading, AlarmState};
use snapback_core::lifecycle::{Blame, Phase};
use snapback_core::notice::NoticeKind;
use snapback_core::policy::{PolicySettings, SignalPolicy};
use snapback_core::rollback::RollbackAction;
use snapback_core::{Cause, DeploymentId, HookStatus, LifecycleEvent, Mode, Outcome, Signal, Trigger};
use snapback_testkit::{Bad, Delivery, Fault, How, Play, Status, Steps, World, alarm, at, block_on, policy, run_of};
use std::time::Duration;

/// A world in which version 2 gets a tenth of the traffic, and the hook before traffic has passed.
fn in_shift(change: impl FnOnce(&World)) -> (World, DeploymentId) {
    let world = World::new();
    world.set_policy(policy());
    change(&world);
    let id = world.deploy("2");
    world.advance(3);
    let run = run_of(&world, &id, LifecycleEvent::BeforeAllowTraffic, "before");
    let end = block_on(&world, before_allow_traffic(&world, &run)).unwrap();
    assert!(matches!(end, Ok(HookEnd::Answered(HookStatus::Succeeded))), "{end:?}");
    world.advance(10);
    (world, id)
}

/// As [`in_shift`], a minute later: all traffic has moved and the last hook is held.
fn in_bake(change: impl FnOnce(&World)) -> (World, DeploymentId) {
    let (world, id) = in_shift(change);
    world.advance(60);
    let end = after(&world, &id, "after");
    assert!(matches!(end, HookEnd::Baking), "{end:?}");
    (world, id)
}

fn after(world: &World, id: &DeploymentId, owner: &str) -> HookEnd {
    let run = run_of(world, id, LifecycleEvent::AfterAllowTraffic, owner);
    block_on(world, after_allow_traffic(world, &run)).unwrap().unwrap()
}

fn goes(world: &World, name: &str, state: AlarmState) -> Handled {
    world.set_alarm(name, state);
    let reading = world.reading(name).unwrap();
    handle(world, &reading, "event-1")
}

fn handle(world: &World, reading: &AlarmReading, source: &str) -> Handled {
    block_on(world, handle_alarm(world, reading, source, &format!("alarm-{}", world.calls()))).unwrap().unwrap()
}

fn with(change: impl FnOnce(&mut PolicySettings)) -> PolicySettings {
    let mut settings = policy();
    change(&mut settings);
    settings
}

fn phase(world: &World, id: &DeploymentId) -> &'static str {
    world.record(id).unwrap().deployment.phase.word()
}

#[test]
fn what_an_alarm_event_does_in_the_shift() {
    use AlarmState::{Alarm, InsufficientData, Ok};
    type Row = (&'static str, fn(&World), &'static str, AlarmState, bool);
    let table: &[Row] = &[
        ("ALARM", |_| {}, "checkout-5xx", Alarm, true),
        ("OK is no verdict", |w| w.set_alarm("checkout-5xx", InsufficientData), "checkout-5xx", Ok, false),
        ("silence is no verdict", |_| {}, "checkout-5xx", InsufficientData, false),
        ("an alarm nobody watches", |_| {}, "somebody-else", Alarm, false),
        ("an alarm of our own", |_| {}, "snapback-verdict-shop-live", Alarm, false),
        (
            "an alarm of the group that the policy does not name",
            |w| w.set_group(|g| g.alarms = vec![alarm("group-alarm")]),
            "group-alarm",
            Alarm,
            true,
        ),
        ("mode advise", |w| w.set_policy(with(|p| p.mode = Mode::Advise)), "checkout-5xx", Alarm, false),
        ("mode observe", |w| w.set_policy(with(|p| p.mode = Mode::Observe)), "checkout-5xx", Alarm, false),
        (
            "this signal only advises",
            |w| {
                w.set_policy(with(|p| {
                    p.signals.insert(
                        Signal::Errors,
                        SignalPolicy {
                            mode: Some(Mode::Advise),
                            ..SignalPolicy::of_alarms(vec![alarm("checkout-5xx")])
                        },
                    );
                }));
            },
            "checkout-5xx",
            Alarm,
            false,
        ),
        (
            "this signal may act though the policy advises",
            |w| {
                w.set_policy(with(|p| {
                    p.mode = Mode::Advise;
                    p.signals.insert(
                        Signal::Errors,
                        SignalPolicy {
                            mode: Some(Mode::Rollback),
                            ..SignalPolicy::of_alarms(vec![alarm("checkout-5xx")])
                        },
                    );
                }));
            },
            "checkout-5xx",
            Alarm,
            true,
        ),
    ];
    for (case, change, name, state, goes_back) in table {
        let (world, id) = in_shift(change);
        goes(&world, name, *state);
        assert_eq!(world.stops(&id), usize::from(*goes_back), "{case}");
        let record = world.record(&id).unwrap();
        assert_eq!(record.rollback.is_some(), *goes_back, "{case}");
        if let Some(rollback) = record.rollback {
            assert_eq!(
                (rollback.trigger, rollback.call),
                (Trigger::Alarm, Some(RollbackAction::StopDeployment)),
                "{case}"
            );
        }
    }
}

#[test]
fn advise_tells_once_and_observe_says_nothing() {
    for (mode, told) in [(Mode::Advise, 1), (Mode::Observe, 0)] {
        let (world, id) = in_shift(|world| world.set_policy(with(|policy| policy.mode = mode)));
        goes(&world, "checkout-5xx", AlarmState::Alarm);
        goes(&world, "checkout-5xx", AlarmState::Ok);
        world.advance(20);
        goes(&world, "checkout-5xx", AlarmState::Alarm);
        assert_eq!(world.count_published(&id, NoticeKind::Advice), told, "{mode}");
        assert_eq!(world.record(&id).unwrap().deployment.warnings.len(), 1, "{mode}");
    }
}

#[test]
fn red_before_traffic_is_exempt_until_it_was_ok_for_three_minutes() {
    let (world, id) = in_bake(|world| {
        world.set_policy(with(|policy| policy.bake = Duration::from_secs(1200)));
        world.set_alarm("checkout-5xx", AlarmState::Alarm);
    });
    goes(&world, "checkout-5xx", AlarmState::Ok);
    world.advance(170);
    goes(&world, "checkout-5xx", AlarmState::Alarm);
    assert_eq!(phase(&world, &id), "in-bake", "2 min 50 s of OK");
    goes(&world, "checkout-5xx", AlarmState::Ok);
    world.advance(190);
    goes(&world, "checkout-5xx", AlarmState::Alarm);
    assert_eq!(phase(&world, &id), "going-back", "3 min 10 s of OK");
}

#[test]
fn an_alarm_before_traffic_is_recorded_and_never_rolled_back_on() {
    let world = World::new();
    world.set_policy(policy());
    let id = world.deploy("2");
    world.advance(3);
    let recorded = block_on(&world, record_deployment(&world, &id, "recorder")).unwrap().unwrap();
    assert_eq!(recorded, Recorded::Reconciled(id.clone()));
    goes(&world, "checkout-5xx", AlarmState::Alarm);
    let record = world.record(&id).unwrap();
    assert_eq!((record.deployment.phase, record.rollback), (Phase::BeforeTraffic, None));
    assert!(world.timeline(&id).iter().any(|line| line.text.contains("checkout-5xx is ALARM")));
}

#[test]
fn the_bad_version_of_a_deployment_seen_late_is_not_exempt() {
    // Every event was lost; the deployment is found when its alarm is red already.
    let world = World::new();
    world.set_policy(policy());
    world.set_group(|group| {
        group.hooks.before = Some("somebody-elses-check".to_owned());
        group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(600), 1.0)];
    });
    world.set_bad(Bad::new("2", "checkout-5xx", 20));
    let id = world.deploy("2");
    world.advance(3);
    let execution = run_of(&world, &id, LifecycleEvent::BeforeAllowTraffic, "x").execution;
    let answered =
        block_on(&world, snapback_app::ports::Controller::answer(&world, &id, &execution, HookStatus::Succeeded));
    assert!(matches!(answered, Some(Ok(()))));
    world.advance(60);
    drop(world.take_deliveries());
    let play_until = world.time() + Duration::from_secs(300);
    Play::new(&world).until(play_until);
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift), "{:#?}", world.timeline(&id));
}

#[test]
fn a_late_event_about_the_time_before_does_not_silence_an_alarm() {
    // Red before traffic, OK, red again in the bake; the events come in the wrong order and the second one is lost.
    let (world, id) = in_bake(|world| world.set_policy(with(|policy| policy.bake = Duration::from_secs(1200))));
    let shift = world.shift_started_at(&id).unwrap();
    let old = AlarmReading { since: shift - Duration::from_secs(1), ..red(&world) };
    world.advance(300);
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    drop(world.take_deliveries());
    // The sweep reads it while it is fresh, so it waits for the event; then the old event comes.
    Play::new(&world).until(world.time() + Duration::from_secs(1));
    let record = world.record(&id).unwrap();
    block_on(
        &world,
        snapback_app::reconcile::reconcile_record(
            &world,
            record,
            snapback_core::plan::Readings::All(vec![world.reading("checkout-5xx").unwrap()], world.time()),
            &snapback_core::plan::Caller { trigger: Trigger::Sweep, owner: "sweep".to_owned() },
        ),
    )
    .unwrap()
    .unwrap();
    assert_eq!(phase(&world, &id), "in-bake", "fresh");
    handle(&world, &old, "old");
    let mut play = Play::new(&world);
    play.until(world.time() + Duration::from_secs(100));
    assert!(["going-back", "closed"].contains(&phase(&world, &id)), "{}", phase(&world, &id));
}

fn red(world: &World) -> AlarmReading {
    AlarmReading { state: AlarmState::Alarm, previous: None, ..world.reading("checkout-5xx").unwrap() }
}

#[test]
fn doubled_and_reordered_events_make_one_rollback_and_one_message() {
    let (world, id) = in_bake(|_| {});
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    let first = world.reading("checkout-5xx").unwrap();
    world.advance(1);
    world.set_alarm("checkout-p99", AlarmState::Alarm);
    let second = world.reading("checkout-p99").unwrap();
    for (reading, source) in [(&second, "b"), (&first, "a"), (&first, "a"), (&second, "b")] {
        handle(&world, reading, source);
    }
    world.advance(8);
    for _ in 0..3 {
        for deployment in world.deployments() {
            block_on(&world, record_deployment(&world, &deployment, "recorder")).unwrap().unwrap();
        }
    }
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInBake));
    assert_eq!(world.rollbacks_of(&id).len(), 1);
    assert_eq!(world.count_published(&id, NoticeKind::Rollback), 1);
    assert_eq!(world.published().len(), 1);
}

#[test]
fn which_call_goes_back() {
    // (case, rolls back on failure, in the bake, denied call, call that was accepted)
    let table = [
        ("shift", true, false, "none", RollbackAction::StopDeployment),
        ("bake", true, true, "none", RollbackAction::FailHook),
        ("bake, a failure does not roll back", false, true, "none", RollbackAction::StopDeployment),
        ("bake, the answer is denied", true, true, "codedeploy:Put", RollbackAction::StopDeployment),
        (
            "bake, a failure does not roll back, stop is denied",
            false,
            true,
            "codedeploy:Stop",
            RollbackAction::FailHook,
        ),
    ];
    for (case, on_failure, is_bake, denied, call) in table {
        let change = |world: &World| world.set_group(|group| group.auto_rollback.on_failure = on_failure);
        let (world, id) = if is_bake { in_bake(change) } else { in_shift(change) };
        world.break_calls(denied, CallErrorKind::Denied);
        goes(&world, "checkout-5xx", AlarmState::Alarm);
        let record = world.record(&id).unwrap();
        assert_eq!(record.rollback.unwrap().call, Some(call), "{case}");
        if call == RollbackAction::FailHook {
            let lease = record.leases.iter().find(|lease| lease.event == LifecycleEvent::AfterAllowTraffic).unwrap();
            assert_eq!(lease.answered.map(|(status, _)| status), Some(HookStatus::Failed), "{case}");
        }
    }
}

#[test]
fn a_hook_that_was_answered_already_is_no_way_back() {
    // Somebody answered Succeeded, and the record does not know: the deployment ends, unless it is stopped now.
    let (world, id) = in_bake(|_| {});
    let execution = run_of(&world, &id, LifecycleEvent::AfterAllowTraffic, "x").execution;
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    let reading = world.reading("checkout-5xx").unwrap();
    block_on(&world, snapback_app::ports::Controller::answer(&world, &id, &execution, HookStatus::Succeeded))
        .unwrap()
        .unwrap();
    handle(&world, &reading, "event-1");
    assert_eq!(world.stops(&id), 1);
}

#[test]
fn a_rollback_has_its_times_and_metrics() {
    let (world, id) = in_bake(|_| {});
    goes(&world, "checkout-p99", AlarmState::Alarm);
    world.advance(8);
    block_on(&world, record_deployment(&world, &id, "recorder")).unwrap().unwrap();
    let record = world.record(&id).unwrap();
    let rollback = record.rollback.unwrap();
    assert_eq!((rollback.cause, rollback.trigger), (Cause::Latency, Trigger::Alarm));
    assert_eq!(record.deployment.blame(), Some(Blame { cause: Cause::Latency, trigger: Trigger::Alarm }));
    assert!(rollback.impact_started_at.unwrap() <= rollback.detected_at);
    assert!(rollback.detected_at <= rollback.requested_at.unwrap());
    assert!(rollback.requested_at.unwrap() <= rollback.rolled_back_at.unwrap());
    assert_eq!(rollback.recovered_at, None);
    world.advance(60);
    goes(&world, "checkout-p99", AlarmState::Ok);
    assert!(world.record(&id).unwrap().rollback.unwrap().recovered_at.is_some());
    let is_metric =
        |wanted: fn(&OwnMetric) -> bool| world.metrics().iter().filter(|(_, metric)| wanted(metric)).count();
    assert_eq!(is_metric(|metric| matches!(metric, OwnMetric::RolledBack { .. })), 1);
    assert_eq!(is_metric(|metric| matches!(metric, OwnMetric::Recovered { .. })), 1);
}

#[test]
fn a_revision_that_was_rolled_back_is_refused_and_its_successor_is_not() {
    let world = World::new();
    world.set_policy(policy());
    world.set_bad(Bad::new("2", "checkout-5xx", 20));
    let first = world.deploy("2");
    assert!(Play::new(&world).until_quiet(Duration::from_secs(3600)));
    assert_eq!(world.outcome(&first), Some(Outcome::RolledBackInShift));
    let again = world.deploy("2");
    assert!(Play::new(&world).until_quiet(Duration::from_secs(3600)));
    assert_eq!(world.outcome(&again), Some(Outcome::RefusedBeforeTraffic));
    let fix = world.deploy("3");
    assert!(Play::new(&world).until_quiet(Duration::from_secs(3600)));
    assert_eq!(world.outcome(&fix), Some(Outcome::Promoted));
}

#[test]
fn the_last_hook() {
    let (world, id) = in_bake(|_| {});
    let bake = world.record(&id).unwrap().deployment.bake().unwrap().clone();
    assert_eq!(bake.ends_at.since(bake.started_at), Duration::from_secs(120));
    assert_eq!(world.counts().get("scheduler:CreateSchedule"), Some(&1));
    assert_eq!(world.answer(&id, LifecycleEvent::AfterAllowTraffic), None);
    assert_eq!(after(&world, &id, "second"), HookEnd::Baking, "a doubled event changes nothing");

    let (world, id) = in_shift(|world| world.set_policy(with(|policy| policy.bake = Duration::ZERO)));
    world.advance(60);
    assert_eq!(after(&world, &id, "after"), HookEnd::Answered(HookStatus::Succeeded), "no bake");

    let (world, id) = in_shift(|world| world.set_policy(with(|policy| policy.bake = Duration::ZERO)));
    world.advance(60);
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    after(&world, &id, "after");
    assert_eq!(phase(&world, &id), "going-back", "no bake, but an alarm is red");
}

#[test]
fn a_hook_that_finds_an_intent_answers_failed_at_once() {
    let (world, id) = in_shift(|world| world.set_group(|group| group.stop_takes = Duration::from_secs(120)));
    goes(&world, "checkout-5xx", AlarmState::Alarm);
    world.advance(60);
    assert_eq!(after(&world, &id, "after"), HookEnd::Answered(HookStatus::Failed));
}

#[test]
fn the_end_of_a_bake_does_not_promote_after_an_intent() {
    // The sweep is about to promote; after each of its calls an alarm's intent may be stored.
    let mut promoted_after_intent = Vec::new();
    for calls in 0..8 {
        let (world, id) = in_bake(|_| {});
        world.advance(120);
        let record = world.record(&id).unwrap();
        let seen = snapback_core::plan::Readings::All(vec![world.reading("checkout-5xx").unwrap()], world.time());
        let caller = snapback_core::plan::Caller { trigger: Trigger::Sweep, owner: "sweep".to_owned() };
        let mut sweep = Steps::new(snapback_app::reconcile::reconcile_record(&world, record, seen, &caller));
        for _ in 0..calls {
            sweep.step();
        }
        world.set_alarm("checkout-5xx", AlarmState::Alarm);
        let reading = world.reading("checkout-5xx").unwrap();
        let mut handler = Steps::new(handle_alarm(&world, &reading, "event-1", "alarm"));
        while world.record(&id).unwrap().rollback.is_none() && handler.step() {}
        let was_answered = world.answer(&id, LifecycleEvent::AfterAllowTraffic).is_some();
        while sweep.step() {}
        while handler.step() {}
        let answer = world.answer(&id, LifecycleEvent::AfterAllowTraffic).unwrap().0;
        if !was_answered && answer == HookStatus::Succeeded {
            promoted_after_intent.push(calls);
        }
        world.advance(120);
        assert!(Play::new(&world).until_quiet(Duration::from_secs(600)));
        assert!(!world.outcome(&id).unwrap().is_good() || was_answered, "{calls}: {:?}", world.outcome(&id));
    }
    assert!(promoted_after_intent.len() <= 1, "only the last call is without a net: {promoted_after_intent:?}");
}

#[test]
fn sns_down_does_not_hold_up_a_rollback_and_the_sweep_sends_it_once() {
    let world = World::new();
    world.set_policy(policy());
    world.set_bad(Bad::new("2", "checkout-5xx", 20));
    world.break_calls("sns:", CallErrorKind::Unreachable);
    let id = world.deploy("2");
    let mut play = Play::new(&world);
    play.until(at(180));
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift));
    assert!(world.published().is_empty());
    world.fix_calls("sns:");
    assert!(play.until_quiet(Duration::from_secs(600)));
    assert_eq!(world.count_published(&id, NoticeKind::Rollback), 1);
}

#[test]
fn a_rollback_of_codedeploy_itself_is_recorded_with_its_cause() {
    // Nobody of us hears the alarm: it is attached to the group, and CodeDeploy is quicker.
    let world = World::new();
    world.set_policy(policy());
    world.set_group(|group| group.alarms = vec![alarm("checkout-5xx")]);
    let id = world.deploy("2");
    let mut play = Play::new(&world).without_sweep();
    play.until(at(30));
    world.break_calls("dynamodb:", CallErrorKind::Unreachable);
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    play.until(at(40));
    world.fix_calls("dynamodb:");
    play.start_sweeping();
    assert!(play.until_quiet(Duration::from_secs(900)));
    let record = world.record(&id).unwrap();
    assert_eq!(world.status(&id), Some((Status::Stopped, Some("ALARM_ACTIVE".to_owned()))));
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift));
    assert_eq!(record.deployment.blame(), Some(Blame { cause: Cause::Errors, trigger: Trigger::Platform }));
    assert_eq!(world.count_published(&id, NoticeKind::Rollback), 1);
}

#[test]
fn the_recorder_leaves_alone_what_is_not_ours() {
    let world = World::new();
    let id = world.deploy("2");
    world.advance(3);
    let recorded = block_on(&world, record_deployment(&world, &id, "recorder")).unwrap().unwrap();
    assert_eq!(recorded, Recorded::NotWatched);
    assert!(world.record(&id).is_none());
}

#[test]
fn a_crash_between_publish_and_mark_tells_twice_with_the_same_message() {
    let (world, id) = in_bake(|_| {});
    goes(&world, "checkout-5xx", AlarmState::Alarm);
    world.advance(8);
    // The call after `sns:Publish` of the recorder dies.
    let mut n = world.calls();
    loop {
        n += 1;
        assert!(n < world.calls() + 60, "no publish found");
        let copy = in_bake(|_| {}).0;
        goes(&copy, "checkout-5xx", AlarmState::Alarm);
        copy.advance(8);
        copy.add_fault(Fault { at: n, how: How::CrashAfter });
        let died = Play::only(&copy, Delivery::Deployment(id.clone())).is_none();
        if died && copy.faulted() == Some("sns:Publish") {
            copy.advance(30);
            let mut play = Play::new(&copy);
            assert!(play.until_quiet(Duration::from_secs(600)));
            let bodies: Vec<String> = copy.published().into_iter().map(|sent| sent.notice.body).collect();
            assert_eq!(bodies.len(), 2);
            assert_eq!(bodies[0], bodies[1]);
            return;
        }
    }
}

#[test]
fn a_recovery_beside_another_write_is_not_lost() {
    let (world, id) = in_bake(|_| {});
    goes(&world, "checkout-p99", AlarmState::Alarm);
    world.advance(8);
    block_on(&world, record_deployment(&world, &id, "recorder")).unwrap().unwrap();
    world.advance(60);
    world.set_alarm("checkout-p99", AlarmState::Ok);
    let reading = world.reading("checkout-p99").unwrap();
    let mut handler = Steps::new(handle_alarm(&world, &reading, "event-2", "alarm"));
    for _ in 0..3 {
        handler.step();
    }
    // Somebody writes between its look and its write.
    let record = world.record(&id).unwrap();
    let write = snapback_app::ports::DeploymentStore::commit(&world, &record.deployment, record.version, &[]);
    block_on(&world, write).unwrap().unwrap();
    while handler.step() {}
    assert!(world.record(&id).unwrap().rollback.unwrap().recovered_at.is_some());
}
