//! Whatever dies or is denied: the watchdog and the sweep see to it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_app::error::AppError;
use snapback_app::ports::{CallErrorKind, OwnMetric};
use snapback_app::sweep::{Memory, Swept, sweep};
use snapback_core::alarm::AlarmState;
use snapback_core::lifecycle::Phase;
use snapback_core::notice::NoticeKind;
use snapback_core::policy::{AtDeadline, PolicySettings};
use snapback_core::target::WayBack;
use snapback_core::{Cause, DeploymentId, HookStatus, LifecycleEvent, Mode, Outcome, Timestamp, Trigger};
use snapback_testkit::{Bad, Delivery, Fault, How, Play, Status, World, at, block_on, policy, run_of};
use std::time::Duration;

use HookStatus::{Failed, Succeeded};
use LifecycleEvent::{AfterAllowTraffic, BeforeAllowTraffic};

const HOUR: Duration = Duration::from_secs(3600);

fn with(change: impl FnOnce(&mut PolicySettings)) -> PolicySettings {
    let mut settings = policy();
    change(&mut settings);
    settings
}

fn deployed(change: impl FnOnce(&World)) -> (World, DeploymentId) {
    let world = World::new();
    world.set_policy(policy());
    change(&world);
    let id = world.deploy("2");
    (world, id)
}

/// Answers of both hooks with the seconds after their event began.
fn answer(world: &World, id: &DeploymentId, event: LifecycleEvent) -> Option<HookStatus> {
    world.answer(id, event).map(|(status, _)| status)
}

fn hook(id: &DeploymentId, event: LifecycleEvent, world: &World) -> Delivery {
    Delivery::Hook { event, id: id.clone(), execution: run_of(world, id, event, "x").execution }
}

fn watchdog(id: &DeploymentId, event: LifecycleEvent, world: &World) -> Delivery {
    Delivery::Watchdog { id: id.clone(), execution: run_of(world, id, event, "x").execution }
}

fn verdicts(world: &World) -> Vec<(Timestamp, bool)> {
    let metrics = world.metrics();
    metrics
        .iter()
        .filter_map(
            |(at, metric)| {
                if let OwnMetric::Verdict { is_bad, .. } = metric { Some((*at, *is_bad)) } else { None }
            },
        )
        .collect()
}

fn heartbeats(world: &World, from: Timestamp) -> usize {
    world.metrics().iter().filter(|(at, metric)| *at >= from && matches!(metric, OwnMetric::Heartbeat { .. })).count()
}

#[test]
fn the_watchdog_answers_for_a_first_hook_that_died() {
    // (case, call at which the hook dies: 0 is before its first, mode, answer)
    let table = [
        ("never ran", 0, Mode::Rollback, Failed),
        ("died before its lease", 1, Mode::Rollback, Failed),
        ("died with its lease", 4, Mode::Rollback, Failed),
        ("never ran, advise", 0, Mode::Advise, Succeeded),
        ("died with its lease, observe", 4, Mode::Observe, Succeeded),
    ];
    for (case, dies_at, mode, status) in table {
        let (world, id) = deployed(|world| world.set_policy(with(|policy| policy.mode = mode)));
        world.advance(3);
        drop(world.take_deliveries());
        if dies_at > 0 {
            world.add_fault(Fault { at: world.calls() + dies_at, how: How::CrashBefore });
            assert!(Play::only(&world, hook(&id, BeforeAllowTraffic, &world)).is_none(), "{case}: it dies");
        }
        let result = Play::only(&world, watchdog(&id, BeforeAllowTraffic, &world));
        assert!(matches!(result, Some(Ok(()))), "{case}: {result:?}");
        assert_eq!(answer(&world, &id, BeforeAllowTraffic), Some(status), "{case}");
        let lease = world.leases(&id).remove(0);
        assert_eq!(lease.answered.map(|(status, _)| status), Some(status), "{case}");
    }
}

#[test]
fn the_watchdog_gives_the_recorded_result() {
    let (world, id) = deployed(|_| {});
    world.advance(3);
    world.break_calls("codedeploy:Put", CallErrorKind::Unreachable);
    assert!(matches!(
        Play::only(&world, hook(&id, BeforeAllowTraffic, &world)),
        Some(Err(AppError::NotAnswered { .. }))
    ));
    world.fix_calls("codedeploy:Put");
    Play::only(&world, watchdog(&id, BeforeAllowTraffic, &world));
    assert_eq!(answer(&world, &id, BeforeAllowTraffic), Some(Succeeded));
}

#[test]
fn the_watchdog_without_the_table() {
    let (world, id) = deployed(|_| {});
    world.advance(3);
    world.break_calls("dynamodb:", CallErrorKind::Unreachable);
    let result = Play::only(&world, watchdog(&id, BeforeAllowTraffic, &world));
    assert!(matches!(result, Some(Err(_))), "Lambda calls again: {result:?}");
    assert_eq!(answer(&world, &id, BeforeAllowTraffic), Some(Failed), "before traffic Failed harms nobody");
}

#[test]
fn the_watchdog_registers_the_bake_of_a_last_hook_that_died() {
    let (world, id) = deployed(|_| {});
    let mut play = Play::new(&world).without_sweep();
    play.until(at(60));
    world.break_calls("dynamodb:PutItem", CallErrorKind::Unreachable);
    world.advance_to(at(66));
    world.fix_calls("dynamodb:PutItem");
    drop(world.take_deliveries());
    let result = Play::only(&world, watchdog(&id, AfterAllowTraffic, &world));
    assert!(matches!(result, Some(Ok(()))), "{result:?}");
    let record = world.record(&id).unwrap();
    assert!(matches!(record.deployment.phase, Phase::InBake(_)), "{:?}", record.deployment.phase);
    assert_eq!(answer(&world, &id, AfterAllowTraffic), None, "it bakes");
    assert!(Play::new(&world).until_quiet(HOUR));
    assert_eq!(world.outcome(&id), Some(Outcome::Promoted));
}

#[test]
fn a_dead_watcher_does_not_undo_a_healthy_version() {
    let (world, id) = deployed(|_| {});
    let mut play = Play::new(&world).without_sweep();
    play.until(at(600));
    assert_eq!(answer(&world, &id, AfterAllowTraffic), Some(Succeeded));
    let hook_began = at(65);
    let (_, answered_at) = world.answer(&id, AfterAllowTraffic).unwrap();
    assert!(answered_at.since(hook_began) <= Duration::from_secs(120 + 240), "P1");
    assert_eq!(world.outcome(&id), Some(Outcome::Promoted));
}

#[test]
fn a_dead_watcher_and_a_red_alarm_at_the_end_of_the_bake() {
    let (world, id) = deployed(|_| {});
    let mut play = Play::new(&world).without_sweep();
    play.until(at(120));
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    drop(world.take_deliveries());
    // The event is lost, and so is the schedule that was on its way; the watchdog is called by hand.
    world.advance_to(at(400));
    Play::only(&world, Delivery::EndOfBake(id.clone()));
    assert_eq!(answer(&world, &id, AfterAllowTraffic), Some(Failed));
}

#[test]
fn the_sweep_finds_a_red_alarm_whose_event_was_lost() {
    let (world, id) = deployed(|_| {});
    let mut play = Play::new(&world);
    play.until(at(40));
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    drop(world.take_deliveries());
    let red_at = world.time();
    play.until(at(300));
    let record = world.record(&id).unwrap();
    let rollback = record.rollback.unwrap();
    let waited = rollback.detected_at.since(red_at);
    assert_eq!(rollback.trigger, Trigger::Sweep);
    assert!(waited >= Duration::from_secs(20), "the event goes first: {waited:?}");
    assert!(waited <= Duration::from_secs(140), "{waited:?}");
}

#[test]
fn the_sweep_answers_a_hook_that_died_and_whose_watchdog_never_came() {
    for dies_at in [0, 4] {
        let (world, id) = deployed(|_| {});
        world.advance(3);
        drop(world.take_deliveries());
        if dies_at > 0 {
            world.add_fault(Fault { at: world.calls() + dies_at, how: How::CrashBefore });
            Play::only(&world, hook(&id, BeforeAllowTraffic, &world));
        }
        drop(world.take_deliveries());
        assert!(Play::new(&world).until_quiet(HOUR), "{dies_at}");
        assert_eq!(world.outcome(&id), Some(Outcome::RefusedBeforeTraffic), "{dies_at}");
        // With a lease there is an execution id to answer with; without one only a stop ends it.
        let expected = if dies_at > 0 { (Some(Failed), 0, Status::Failed) } else { (None, 1, Status::Stopped) };
        let status = world.status(&id).unwrap().0;
        assert_eq!((answer(&world, &id, BeforeAllowTraffic), world.stops(&id), status), expected, "{dies_at}");
        assert_eq!(world.count_published(&id, NoticeKind::Refusal), 1, "{dies_at}");
    }
}

#[test]
fn a_last_hook_that_nobody_ran_is_stopped() {
    let (world, id) = deployed(|_| {});
    let mut play = Play::new(&world);
    play.until(at(60));
    world.advance_to(at(66));
    drop(world.take_deliveries());
    assert!(play.until_quiet(HOUR));
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInBake));
    assert_eq!(world.record(&id).unwrap().rollback.unwrap().cause, Cause::NoEvidence);
    assert!(world.time() < at(66 + 120 + 240 + 60));
}

#[test]
fn the_sweep_discovers_what_no_event_told() {
    let (world, id) = deployed(|world| {
        world.set_group(|group| {
            group.hooks.before = None;
            group.hooks.after = None;
        });
    });
    drop(world.take_deliveries());
    let mut play = Play::new(&world);
    play.until(at(45));
    let record = world.record(&id).unwrap();
    assert!(matches!(record.deployment.phase, Phase::InShift(_)), "{:?}", record.deployment.phase);
}

#[test]
fn only_one_sweep_at_a_time_and_it_ends_when_nothing_is_live() {
    let world = World::new();
    world.set_policy(policy());
    let swept = block_on(&world, sweep(&world, "a", &mut Memory::default())).unwrap().unwrap();
    assert_eq!(swept, Swept { ticks: 1, live: 0 });
    assert_eq!(heartbeats(&world, at(0)), 1, "a group with a policy has its heartbeat before its first deployment");
    let taken = block_on(&world, snapback_app::ports::SweepLock::take_sweep(&world, "b", world.time(), at(60)));
    assert!(matches!(taken, Some(Ok(true))));
    assert_eq!(block_on(&world, sweep(&world, "c", &mut Memory::default())).unwrap().unwrap().ticks, 0);
}

#[test]
fn a_failed_call_costs_the_sweep_one_tick() {
    let (world, id) = deployed(|_| {});
    let mut play = Play::new(&world).without_sweep();
    play.until(at(20));
    drop(play);
    let first = world.calls();
    for n in 1..=8 {
        let (world, id) = (deployed(|_| {}).0, id.clone());
        let mut play = Play::new(&world).without_sweep();
        play.until(at(20));
        drop(play);
        assert_eq!(world.calls(), first);
        world.add_fault(Fault { at: first + n, how: How::Fail(CallErrorKind::Unreachable) });
        let swept = block_on(&world, sweep(&world, "sweep", &mut Memory::default())).unwrap().unwrap();
        assert!(swept.ticks >= 4, "call {n}: {swept:?}");
        assert!(world.record(&id).is_some());
    }
}

#[test]
fn a_heartbeat_only_when_everything_could_be_read() {
    for call in
        ["cloudwatch:DescribeAlarms", "codedeploy:GetDeploymentTarget", "codedeploy:GetDeployment", "dynamodb:Query"]
    {
        let (world, _) = deployed(|_| {});
        let mut play = Play::new(&world);
        // Denied from before the shift on, or the start of the shift would be known.
        play.until(at(1));
        world.break_calls(call, CallErrorKind::Denied);
        play.until(at(100));
        let from = world.time();
        play.until(at(160));
        assert_eq!(heartbeats(&world, from), 0, "{call}");
        world.fix_calls(call);
        play.until(at(290));
        assert!(heartbeats(&world, from) > 0, "{call}");
    }
}

#[test]
fn a_denied_stop_raises_the_verdict_alarm_until_the_deployment_is_over() {
    let (world, id) = deployed(|world| {
        world.set_bad(Bad::new("2", "checkout-5xx", 20));
        world.set_group(|group| group.is_guarded = true);
    });
    world.break_calls("codedeploy:Stop", CallErrorKind::Denied);
    world.break_calls("codedeploy:Put", CallErrorKind::Denied);
    let execution = run_of(&world, &id, BeforeAllowTraffic, "x").execution;
    let mut play = Play::new(&world);
    play.until(at(3));
    world.fix_calls("codedeploy:Put");
    block_on(&world, snapback_app::ports::Controller::answer(&world, &id, &execution, Succeeded)).unwrap().unwrap();
    world.break_calls("codedeploy:Put", CallErrorKind::Denied);
    assert!(play.until_quiet(HOUR));
    let verdicts = verdicts(&world);
    assert!(verdicts.iter().any(|(_, is_bad)| *is_bad), "{verdicts:?}");
    let over = world.status(&id).unwrap();
    assert_eq!(over, (Status::Stopped, Some("ALARM_ACTIVE".to_owned())));
    let record = world.record(&id).unwrap();
    assert_eq!(
        (world.outcome(&id), record.deployment.blame().map(|blame| blame.trigger)),
        (Some(Outcome::RolledBackInShift), Some(Trigger::Platform))
    );
    assert_eq!(world.count_published(&id, NoticeKind::Rollback), 1);
}

#[test]
fn the_verdict_is_zero_again_once_the_deployment_is_over() {
    // Our call is accepted, and the rollback deployment that follows is what takes its time.
    let rollback = |result: Option<&str>| {
        let (world, id) = deployed(|world| world.set_bad(Bad::new("2", "checkout-5xx", 20)));
        let mut play = Play::new(&world);
        play.until(at(28));
        let mut rollback = world.record(&id).unwrap().rollback.unwrap();
        rollback.requested_at = Some(at(28));
        rollback.rollback_deployment = result.map(|id| DeploymentId::parse(id).unwrap());
        rollback.needs_verdict_alarm(WayBack::Fast, at(28) + Duration::from_secs(40))
    };
    assert!(rollback(None), "unconfirmed");
    assert!(!rollback(Some("d-ABCDEFGHI")), "CodeDeploy goes back");
}

#[test]
fn an_alarm_stop_after_an_accepted_but_fruitless_call_is_codedeploys() {
    let (world, id) = deployed(|world| {
        world.set_bad(Bad::new("2", "checkout-5xx", 20));
        world.set_group(|group| {
            group.is_guarded = true;
            group.stop_takes = Duration::from_secs(3000);
            group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(900), 1.0)];
        });
    });
    assert!(Play::new(&world).until_quiet(HOUR));
    let record = world.record(&id).unwrap();
    assert_eq!(world.status(&id), Some((Status::Stopped, Some("ALARM_ACTIVE".to_owned()))));
    assert!(world.stops(&id) > 0, "our call was accepted");
    assert_eq!(
        record.deployment.blame().map(|blame| blame.trigger),
        Some(Trigger::Platform),
        "but it is not what took effect"
    );
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift));
}

#[test]
fn blind_in_the_bake_is_held_and_paged_and_ends_as_the_policy_says() {
    // (case, at the end of the hold, seconds until the alarms are readable again, outcome)
    let table = [
        ("readable again", AtDeadline::Fail, Some(600), Outcome::Held),
        ("never readable, fail", AtDeadline::Fail, None, Outcome::RolledBackInBake),
        ("never readable, pass", AtDeadline::PassWithWarning, None, Outcome::Held),
    ];
    for (case, at_deadline, fixed, outcome) in table {
        let (world, id) = deployed(|world| world.set_policy(with(|policy| policy.at_deadline = at_deadline)));
        let mut play = Play::new(&world);
        play.until(at(70));
        world.break_calls("cloudwatch:", CallErrorKind::Denied);
        if let Some(seconds) = fixed {
            world.script(at(70 + seconds), snapback_testkit::Action::Fix("cloudwatch:"));
        }
        assert!(play.until_quiet(2 * HOUR), "{case}");
        assert_eq!(world.outcome(&id), Some(outcome), "{case}");
        assert_eq!(world.count_published(&id, NoticeKind::Held), 1, "{case}");
        let (_, answered_at) = world.answer(&id, AfterAllowTraffic).unwrap();
        assert!(answered_at.since(at(65)) < Duration::from_secs(57 * 60), "{case}");
    }
}

#[test]
fn a_return_that_could_not_read_the_alarms_does_not_silence_the_heartbeat() {
    let world = World::new();
    world.set_policy(policy());
    world.set_alias("2");
    world.change_history(|history| {
        history.good.push(snapback_core::record::GoodRevision {
            at: at(0),
            revision: snapback_core::RevisionId::parse(format!("{:064x}", 1)).ok(),
            version: "1".to_owned(),
            is_inherited: false,
            is_doubtful: false,
        });
    });
    world.break_calls("cloudwatch:", CallErrorKind::Unreachable);
    let id = world.deploy("1");
    let mut play = Play::new(&world);
    play.until(at(20));
    world.fix_calls("cloudwatch:");
    play.until(at(55));
    assert!(world.record(&id).unwrap().deployment.is_return());
    assert!(heartbeats(&world, at(25)) > 0);
}

#[test]
fn a_stop_by_a_person_without_rollback_is_told() {
    let (world, id) = deployed(|world| {
        world.set_group(|group| group.auto_rollback.on_request = false);
    });
    world.script(at(30), snapback_testkit::Action::Stop(id.clone(), false));
    assert!(Play::new(&world).until_quiet(HOUR));
    assert_eq!(world.outcome(&id), Some(Outcome::Stopped));
    assert_eq!(world.count_published(&id, NoticeKind::Stopped), 1);
    assert!(world.history().refused.is_empty(), "neither good nor refused");
}

#[test]
fn the_dead_man_alarm_protects_when_snapback_is_down() {
    let (world, id) = deployed(|world| {
        world.set_group(|group| {
            group.is_guarded = true;
            group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(900), 1.0)];
        });
        world.set_bad(Bad::new("2", "checkout-5xx", 60));
    });
    let mut play = Play::new(&world);
    play.until(at(40));
    world.break_calls("dynamodb:", CallErrorKind::Unreachable);
    play.until(at(500));
    assert_eq!(world.status(&id), Some((Status::Stopped, Some("ALARM_ACTIVE".to_owned()))));
    world.fix_calls("dynamodb:");
    assert!(play.until_quiet(HOUR));
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift));
}
