//! The kill switch: a person pauses Snapback, and every function only watches.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_app::after_hook::after_allow_traffic;
use snapback_app::before_hook::{HookEnd, before_allow_traffic};
use snapback_app::handle_alarm::handle_alarm;
use snapback_app::operate::operate;
use snapback_app::pause::{Paused, Resumed, pause, resume};
use snapback_app::ports::{CallErrorKind, OwnMetric, PauseStore, ProbeAnswer};
use snapback_app::sweep::{Memory, sweep};
use snapback_core::alarm::AlarmState;
use snapback_core::deployment::Verb;
use snapback_core::notice::NoticeKind;
use snapback_core::pause::Restraint;
use snapback_core::timeline::EntryKind;
use snapback_core::warning::{Suspicion, Warning};
use snapback_core::{Cause, DeploymentId, HookStatus, LifecycleEvent, Outcome, Timestamp};
use snapback_testkit::{
    Action, Bad, Delivery, Fault, How, Play, Status, World, alarm, at, block_on, policy, run_of, scope_of,
};
use std::time::Duration;

use HookStatus::{Failed, Succeeded};
use LifecycleEvent::{AfterAllowTraffic, BeforeAllowTraffic};

const HOUR: Duration = Duration::from_secs(3600);

fn deployed(change: impl FnOnce(&World)) -> (World, DeploymentId) {
    let world = World::new();
    world.set_policy(policy());
    change(&world);
    let id = world.deploy("2");
    world.advance(3);
    (world, id)
}

fn before(world: &World, id: &DeploymentId) -> HookEnd {
    let run = run_of(world, id, BeforeAllowTraffic, "before");
    block_on(world, before_allow_traffic(world, &run)).unwrap().unwrap()
}

/// Version 2 gets a tenth of the traffic.
fn in_shift(change: impl FnOnce(&World)) -> (World, DeploymentId) {
    let (world, id) = deployed(change);
    assert_eq!(before(&world, &id), HookEnd::Answered(Succeeded));
    world.advance(10);
    (world, id)
}

/// Version 2 has all traffic, and its bake has begun.
fn in_bake(change: impl FnOnce(&World)) -> (World, DeploymentId) {
    let (world, id) = in_shift(change);
    world.advance(60);
    let run = run_of(&world, &id, AfterAllowTraffic, "after");
    assert_eq!(block_on(&world, after_allow_traffic(&world, &run)).unwrap().unwrap(), HookEnd::Baking);
    (world, id)
}

fn goes_red(world: &World) {
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    let reading = world.reading("checkout-5xx").unwrap();
    block_on(world, handle_alarm(world, &reading, "event-1", "alarm")).unwrap().unwrap();
}

fn said(world: &World, id: &DeploymentId) -> Vec<String> {
    let timeline = world.timeline(id).into_iter().filter(|line| line.kind == EntryKind::Pause);
    timeline.map(|line| line.text).collect()
}

fn answer(world: &World, id: &DeploymentId, event: LifecycleEvent) -> Option<HookStatus> {
    world.answer(id, event).map(|(status, _)| status)
}

/// One case: its name, what is different, what is paused, the answer of the hook before traffic.
type Hooked = (&'static str, fn(&World), &'static str, HookStatus);

fn failing_probe(world: &World) {
    world.set_probe(Ok(ProbeAnswer { status: Some(500), error: None, took: Duration::from_millis(40) }));
}

#[test]
fn a_scope_is_paused_once_and_resumed_once() {
    let world = World::new();
    let (all, own) = (scope_of("*"), scope_of("shop/live"));
    let pause = |scope, who| block_on(&world, pause(&world, scope, who, "false alarms")).unwrap().unwrap();
    let resume = |scope, who| block_on(&world, resume(&world, scope, who, "fixed")).unwrap().unwrap();
    assert_eq!(resume(&all, "ann"), Resumed::NotPaused);
    let Paused::Began(first) = pause(&all, "ann") else { panic!("not paused") };
    assert_eq!((first.began.who.as_str(), first.began.why.as_str(), &first.ended), ("ann", "false alarms", &None));
    world.advance(5);
    assert_eq!(pause(&all, "bob"), Paused::HeldBefore(first.clone()));
    assert_eq!(resume(&own, "bob"), Resumed::NotPaused, "only everything is paused");
    assert!(matches!(pause(&own, "bob"), Paused::Began(_)));
    let Resumed::Ended(over) = resume(&all, "bob") else { panic!("not resumed") };
    assert_eq!((&over.began, over.ended.unwrap().who.as_str()), (&first.began, "bob"));
    let now = block_on(&world, world.pauses()).unwrap().unwrap();
    assert_eq!(now.iter().filter(|pause| pause.holds()).count(), 1, "the group's goes on");
    world.advance(5);
    assert!(matches!(pause(&all, "ann"), Paused::Began(_)), "again");
    let all_of_them = block_on(&world, world.past_pauses(at(0))).unwrap().unwrap();
    assert_eq!(all_of_them.len(), 3, "all stay on record");
}

#[test]
fn two_people_pause_in_the_same_moment() {
    let world = World::new();
    // Ann's read finds nothing, then Bob's pause is there.
    world.script(world.time() + Duration::from_millis(15), Action::Pause(scope_of("*")));
    let paused = block_on(&world, pause(&world, &scope_of("*"), "cat", "false alarms")).unwrap().unwrap();
    let Paused::HeldBefore(held) = paused else { panic!("{paused:?}") };
    assert_eq!(held.began.who, "ann");
}

#[test]
fn an_alarm_event_while_paused() {
    for (case, scope, goes_back) in
        [("everything", "*", false), ("its group", "shop/live", false), ("another group", "shop/test", true)]
    {
        for (phase, (world, id)) in [("shift", in_shift(|_| {})), ("bake", in_bake(|_| {}))] {
            world.pause(scope);
            goes_red(&world);
            let record = world.record(&id).unwrap();
            assert_eq!(record.rollback.is_some(), goes_back, "{case}, {phase}");
            assert_eq!(
                world.status(&id).unwrap().0 == Status::InProgress
                    && world.stops(&id) == 0
                    && answer(&world, &id, AfterAllowTraffic).is_none(),
                !goes_back,
                "{case}, {phase}"
            );
            if !goes_back {
                assert_eq!(record.deployment.warnings, [not_rolled_back()], "{case}");
                let would =
                    world.timeline(&id).into_iter().filter(|line| line.text.starts_with("would roll back (paused)"));
                assert_eq!(would.count(), 1, "{case}, {phase}");
                assert!(said(&world, &id)[0].starts_with("ann paused"), "{case}: {:?}", said(&world, &id));
                assert_eq!(world.published().len(), 0, "{case}: what is not done is not told");
            }
        }
    }
}

#[test]
fn a_pause_begins_while_the_version_is_live() {
    // Bad a minute and a half after its first traffic; paused half a minute before that.
    for scope in ["*", "shop/live"] {
        let world = World::new();
        world.set_policy(policy());
        world.set_bad(Bad::new("2", "checkout-5xx", 90));
        let id = world.deploy("2");
        world.script(at(60), Action::Pause(scope_of(scope)));
        let mut play = Play::new(&world);
        assert!(play.until_quiet(HOUR), "{scope}");
        assert_eq!(world.outcome(&id), Some(Outcome::Inconclusive), "{scope}");
        assert_eq!(world.status(&id).unwrap().0, Status::Succeeded, "{scope}");
        assert!(world.record(&id).unwrap().rollback.is_none(), "{scope}");
        assert_eq!(said(&world, &id).len(), 1, "{scope}: once: {:?}", said(&world, &id));
        let metrics = world.metrics();
        let count = |is: fn(&OwnMetric) -> bool| metrics.iter().filter(|(_, metric)| is(metric)).count();
        assert_eq!(count(|metric| matches!(metric, OwnMetric::Inconclusive { .. })), 1, "{scope}");
        assert_eq!(count(|metric| matches!(metric, OwnMetric::Verdict { is_bad: true, .. })), 0, "{scope}");
        let beats = |from: Timestamp, to: Timestamp| {
            metrics
                .iter()
                .filter(|(at, metric)| (from..to).contains(at) && matches!(metric, OwnMetric::Heartbeat { .. }))
                .count()
        };
        assert_eq!(beats(at(90), at(150)), beats(at(30), at(90)), "{scope}: the heartbeat goes on as before");
        let paused: Vec<bool> = metrics
            .iter()
            .filter_map(
                |(_, metric)| if let OwnMetric::Paused { is_paused, .. } = metric { Some(*is_paused) } else { None },
            )
            .collect();
        assert_eq!(paused[..3], [false, true, true], "{scope}: once a run");
    }
}

#[test]
fn what_was_only_noted_is_acted_on_after_the_resume() {
    let world = World::new();
    world.set_policy(policy());
    world.set_bad(Bad::new("2", "checkout-5xx", 10));
    let id = world.deploy("2");
    world.pause("*");
    world.script(at(100), Action::Resume(scope_of("*")));
    let mut play = Play::new(&world);
    play.until(at(100));
    assert!(world.record(&id).unwrap().rollback.is_none());
    assert!(play.until_quiet(HOUR));
    let record = world.record(&id).unwrap();
    let rollback = record.rollback.unwrap();
    assert!(world.outcome(&id).unwrap().is_rolled_back(), "{:?}", world.outcome(&id));
    assert!((at(100)..at(190)).contains(&rollback.detected_at), "{:?}", rollback.detected_at);
    assert_eq!(said(&world, &id), ["ann paused the whole installation: because", "ann resumed: because"]);
}

#[test]
fn the_hook_before_traffic_while_paused() {
    let table: [Hooked; 6] = [
        ("a failing probe", failing_probe, "*", Succeeded),
        ("a failing probe, its group", failing_probe, "shop/live", Succeeded),
        ("a failing probe, another group", failing_probe, "shop/test", Failed),
        (
            "alarms that nobody can read",
            |world| world.break_calls("cloudwatch:", CallErrorKind::Denied),
            "*",
            Succeeded,
        ),
        ("a policy that nobody can read", |world| world.set_invalid_policy("no mode"), "*", Succeeded),
        (
            "a deployment that nobody can read",
            |world| world.break_calls("codedeploy:Get", CallErrorKind::Denied),
            "*",
            Succeeded,
        ),
    ];
    for (case, change, scope, status) in table {
        let (world, id) = deployed(change);
        world.pause(scope);
        let began = world.time();
        assert_eq!(before(&world, &id), HookEnd::Answered(status), "{case}");
        assert!(world.time() <= began + Duration::from_secs(2), "{case}: it is not held");
        if let Some(record) = world.record(&id) {
            let of_pause = |warning: &Warning| matches!(warning, Warning::NotRefused { restraint, .. } if *restraint == Restraint::Paused);
            let is_noted = record.deployment.warnings.iter().any(of_pause);
            assert_eq!(
                (is_noted, record.deployment.refusal().is_none()),
                (status == Succeeded, status == Succeeded),
                "{case}"
            );
        }
        let results: Vec<Option<HookStatus>> = world
            .metrics()
            .iter()
            .filter_map(
                |(_, metric)| if let OwnMetric::HookDone { result, .. } = metric { Some(*result) } else { None },
            )
            .collect();
        assert_eq!(results.len(), usize::from(world.record(&id).is_some()), "{case}");
        assert!(results.iter().all(|result| *result == Some(status)), "{case}: {results:?}");
    }
}

#[test]
fn a_pause_frees_a_hook_that_is_held() {
    let (world, id) = deployed(|world| world.break_calls("cloudwatch:", CallErrorKind::Denied));
    let paused_at = world.time() + Duration::from_secs(35);
    world.script(paused_at, Action::Pause(scope_of("*")));
    assert_eq!(before(&world, &id), HookEnd::Answered(Succeeded));
    let (_, answered_at) = world.answer(&id, BeforeAllowTraffic).unwrap();
    assert!((paused_at..paused_at + Duration::from_secs(11)).contains(&answered_at), "{answered_at}, one tick later");
}

#[test]
fn the_watchdog_while_paused() {
    let cannot_register = |world: &World| world.break_calls("codedeploy:GetDeploymentGroup", CallErrorKind::Denied);
    let table: [Hooked; 4] = [
        ("the hook never ran", |_| {}, "*", Succeeded),
        ("the hook never ran, another group", |_| {}, "shop/test", Failed),
        ("nor can it be put on record", cannot_register, "*", Succeeded),
        ("nor can it be put on record, another group", cannot_register, "shop/test", Failed),
    ];
    for (case, change, scope, status) in table {
        let (world, id) = deployed(change);
        world.pause(scope);
        let execution = run_of(&world, &id, BeforeAllowTraffic, "x").execution;
        Play::only(&world, Delivery::Watchdog { id: id.clone(), execution });
        assert_eq!(answer(&world, &id, BeforeAllowTraffic), Some(status), "{case}");
    }
}

#[test]
fn hooks_are_answered_while_paused_whichever_part_dies() {
    for (case, dies) in [("the first hook", 2), ("none", 0)] {
        let world = World::new();
        world.set_policy(policy());
        world.set_bad(Bad::new("2", "checkout-5xx", 5));
        world.pause("*");
        let id = world.deploy("2");
        if dies > 0 {
            world.add_fault(Fault { at: world.calls() + dies, how: How::CrashBefore });
        }
        let mut play = Play::new(&world);
        assert!(play.until_quiet(HOUR), "{case}");
        let answers = [BeforeAllowTraffic, AfterAllowTraffic].map(|event| answer(&world, &id, event));
        assert_eq!(answers, [Some(Succeeded), Some(Succeeded)], "{case}");
        assert_eq!(world.outcome(&id), Some(Outcome::Inconclusive), "{case}");
    }
}

#[test]
fn a_rollback_on_record_is_finished_and_told_while_paused() {
    let (world, id) = in_shift(|_| {});
    // The intent is written, then the function dies before it makes the call.
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    let reading = world.reading("checkout-5xx").unwrap();
    for calls in 1..30 {
        if world.record(&id).unwrap().rollback.is_some() {
            break;
        }
        world.add_fault(Fault { at: world.calls() + calls, how: How::CrashBefore });
        drop(block_on(&world, handle_alarm(&world, &reading, "event-1", "alarm")));
    }
    assert_eq!((world.record(&id).unwrap().rollback.is_some(), world.stops(&id)), (true, 0));
    world.pause("*");
    let mut play = Play::new(&world);
    assert!(play.until_quiet(HOUR));
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift));
    assert_eq!(world.count_published(&id, NoticeKind::Rollback), 1);
}

#[test]
fn what_a_person_asks_for_is_done_while_paused() {
    let (world, id) = in_shift(|world| world.pause("*"));
    block_on(&world, operate(&world, &id, Verb::RollBack, "ann", "wrong prices")).unwrap().unwrap();
    assert_eq!((world.stops(&id), world.record(&id).unwrap().rollback.unwrap().cause), (1, Cause::Operator));
    let (world, id) = in_bake(|world| world.pause("*"));
    block_on(&world, operate(&world, &id, Verb::Promote, "ann", "checked")).unwrap().unwrap();
    assert_eq!(answer(&world, &id, AfterAllowTraffic), Some(Succeeded));
}

#[test]
fn pauses_that_cannot_be_read_do_not_switch_the_protection_off() {
    let unreadable = |world: &World| {
        world.pause("*");
        world.break_calls("pauses", CallErrorKind::Unreachable);
    };
    let (world, id) = in_shift(unreadable);
    goes_red(&world);
    assert!(world.record(&id).unwrap().rollback.is_some(), "an alarm event");
    let (world, id) = deployed(|world| {
        unreadable(world);
        failing_probe(world);
    });
    let began = world.time();
    assert_eq!(before(&world, &id), HookEnd::Answered(Failed));
    assert!(world.time() <= began + Duration::from_secs(1), "the hook does not wait for them");
}

#[test]
fn the_watcher_remembers_a_pause_for_a_minute() {
    let slowly = |world: &World| world.set_group(|group| group.shift = vec![(Duration::ZERO, 0.1), (HOUR, 1.0)]);
    let (world, id) = in_shift(slowly);
    world.pause("*");
    world.script(at(95), Action::Break("pauses", CallErrorKind::Unreachable));
    world.script(at(100), Action::Alarm(alarm("checkout-5xx"), AlarmState::Alarm));
    let mut memory = Memory::default();
    for (begins_s, goes_back) in [(30, false), (90, false), (150, true)] {
        world.advance_to(at(begins_s));
        block_on(&world, sweep(&world, "watcher", &mut memory)).unwrap().unwrap();
        assert_eq!(world.record(&id).unwrap().rollback.is_some(), goes_back, "the run that begins at {begins_s} s");
    }
    assert_eq!(world.record(&id).unwrap().deployment.warnings[0], not_rolled_back(), "it was red while the pause held");
}

/// What an alarm leaves on record while a pause holds.
fn not_rolled_back() -> Warning {
    Warning::NotRolledBack { restraint: Restraint::Paused, suspicion: Suspicion::Alarm(alarm("checkout-5xx")) }
}
