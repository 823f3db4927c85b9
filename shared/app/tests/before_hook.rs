//! The hook BeforeAllowTraffic, against a whole world.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_app::before_hook::{HookEnd, before_allow_traffic};
use snapback_app::error::AppError;
use snapback_app::ports::{CallErrorKind, ProbeAnswer};
use snapback_app::watchdog::answer_for_hook;
use snapback_core::alarm::AlarmState;
use snapback_core::notice::NoticeKind;
use snapback_core::observed::Platform;
use snapback_core::policy::{AtDeadline, PolicySettings, RedAlarms, WithoutEvidence};
use snapback_core::record::{GoodRevision, RefusedRevision};
use snapback_core::timeline::EntryKind;
use snapback_core::{Cause, DeploymentId, HookStatus, LifecycleEvent, Mode, RevisionId, Timestamp, Trigger};
use snapback_testkit::{Fault, How, Steps, World, alarm, block_on, policy, run_of};
use std::time::Duration;

use HookStatus::{Failed, Succeeded};

/// A world in which deployment `d` of version 2 waits for its first hook.
fn waiting(change: impl FnOnce(&World)) -> (World, DeploymentId) {
    let world = World::new();
    world.set_policy(policy());
    change(&world);
    let id = world.deploy("2");
    world.advance(3);
    (world, id)
}

fn run(world: &World, id: &DeploymentId) -> Result<HookEnd, AppError> {
    let run = run_of(world, id, LifecycleEvent::BeforeAllowTraffic, "run-1");
    block_on(world, before_allow_traffic(world, &run)).unwrap()
}

fn answer(world: &World, id: &DeploymentId) -> Option<(HookStatus, Timestamp)> {
    world.answer(id, LifecycleEvent::BeforeAllowTraffic)
}

fn probe(status: u16, ms: u64) -> Result<ProbeAnswer, CallErrorKind> {
    Ok(ProbeAnswer { status: Some(status), error: None, took: Duration::from_millis(ms) })
}

fn with(change: impl FnOnce(&mut PolicySettings)) -> PolicySettings {
    let mut settings = policy();
    change(&mut settings);
    settings
}

fn revision(version: u64) -> RevisionId {
    RevisionId::parse(format!("{version:064x}")).unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn answers() {
    type Row = (&'static str, fn(&World), HookStatus, Option<Cause>, u64);
    // (case, what is different, answer, cause of the refusal, seconds until the answer at most)
    let table: &[Row] = &[
        ("all is well", |_| {}, Succeeded, None, 1),
        ("the probe answers 500", |w| w.set_probe(probe(500, 40)), Failed, Some(Cause::CheckFailed), 1),
        ("the probe is too slow", |w| w.set_probe(probe(200, 900)), Failed, Some(Cause::CheckFailed), 2),
        ("the probe is just quick enough", |w| w.set_probe(probe(200, 800)), Succeeded, None, 2),
        (
            "the probe's function does not exist",
            |w| w.set_probe(Err(CallErrorKind::NotFound)),
            Failed,
            Some(Cause::CheckFailed),
            1,
        ),
        (
            "the probe may not be called",
            |w| w.set_probe(Err(CallErrorKind::Denied)),
            Failed,
            Some(Cause::NoEvidence),
            125,
        ),
        ("an alarm was red before", |w| w.set_alarm("checkout-5xx", AlarmState::Alarm), Succeeded, None, 1),
        (
            "an alarm was red before, and that blocks",
            |w| {
                w.set_policy(with(|p| p.before_traffic.red_alarms = RedAlarms::Block));
                w.set_alarm("checkout-5xx", AlarmState::Alarm);
            },
            Failed,
            Some(Cause::CheckFailed),
            1,
        ),
        (
            "every alarm is red and there is no probe",
            |w| {
                w.set_policy(with(|p| p.before_traffic.probes.clear()));
                w.set_alarm("checkout-5xx", AlarmState::Alarm);
                w.set_alarm("checkout-p99", AlarmState::Alarm);
            },
            Failed,
            Some(Cause::NoEvidence),
            125,
        ),
        (
            "every alarm is red, the probe is armed",
            |w| {
                w.set_alarm("checkout-5xx", AlarmState::Alarm);
                w.set_alarm("checkout-p99", AlarmState::Alarm);
            },
            Succeeded,
            None,
            1,
        ),
        (
            "the policy cannot be read as one",
            |w| w.set_invalid_policy("unknown field `bakee`"),
            Failed,
            Some(Cause::CheckFailed),
            1,
        ),
        (
            "alarms cannot be read",
            |w| w.break_calls("cloudwatch:", CallErrorKind::Denied),
            Failed,
            Some(Cause::NoEvidence),
            125,
        ),
        (
            "alarms cannot be read, and that passes",
            |w| {
                w.set_policy(with(|p| p.no_evidence.unreachable = WithoutEvidence::PassWithWarning));
                w.break_calls("cloudwatch:", CallErrorKind::Denied);
            },
            Succeeded,
            None,
            1,
        ),
        (
            "alarms cannot be read, and the deadline passes",
            |w| {
                w.set_policy(with(|p| p.at_deadline = AtDeadline::PassWithWarning));
                w.break_calls("cloudwatch:", CallErrorKind::Denied);
            },
            Succeeded,
            None,
            125,
        ),
        (
            "advise never refuses",
            |w| {
                w.set_policy(with(|p| p.mode = Mode::Advise));
                w.set_probe(probe(500, 40));
            },
            Succeeded,
            None,
            1,
        ),
        (
            "observe never holds",
            |w| {
                w.set_policy(with(|p| p.mode = Mode::Observe));
                w.break_calls("cloudwatch:", CallErrorKind::Denied);
            },
            Succeeded,
            None,
            1,
        ),
        (
            "a revision that was rolled back an hour ago",
            |w| w.change_history(|h| h.refused.push(refused(3600))),
            Failed,
            Some(Cause::CheckFailed),
            1,
        ),
        (
            "a revision that was rolled back two days ago",
            |w| w.change_history(|h| h.refused.push(refused(2 * 86_400))),
            Succeeded,
            None,
            1,
        ),
        (
            "a refused revision that was good before: refused all the same",
            |w| {
                w.change_history(|h| {
                    h.refused.push(refused(3600));
                    h.good.push(GoodRevision {
                        at: snapback_testkit::at(0),
                        revision: Some(revision(2)),
                        version: "2".into(),
                        is_inherited: false,
                        is_doubtful: false,
                    });
                });
                w.set_probe(probe(500, 40));
            },
            Failed,
            Some(Cause::CheckFailed),
            1,
        ),
    ];
    for (case, change, status, cause, seconds) in table {
        let (world, id) = waiting(change);
        let began = world.time();
        let end = run(&world, &id);
        assert!(matches!(end, Ok(HookEnd::Answered(answered)) if answered == *status), "{case}: {end:?}");
        let (accepted, at) = answer(&world, &id).unwrap_or_else(|| panic!("{case}: CodeDeploy has no answer"));
        assert_eq!(accepted, *status, "{case}");
        assert!(at.since(began) <= Duration::from_secs(*seconds), "{case}: took {:?}", at.since(began));
        let record = world.record(&id).unwrap_or_else(|| panic!("{case}: not on record"));
        let refusal = record.deployment.refusal().map(|refusal| (refusal.blame.cause, refusal.blame.trigger));
        assert_eq!(refusal, cause.map(|cause| (cause, Trigger::Hook)), "{case}");
        assert_eq!(record.leases[0].answered.map(|(status, _)| status), Some(*status), "{case}");
    }
}

fn refused(seconds_ago: u64) -> RefusedRevision {
    let at = snapback_testkit::at(0) - Duration::from_secs(seconds_ago);
    RefusedRevision {
        revision: revision(2),
        version: "2".to_owned(),
        deployment: DeploymentId::parse("d-ABCDEFGHI").unwrap(),
        cause: Cause::Errors,
        at,
        until: at + Duration::from_secs(86_400),
    }
}

#[test]
fn red_before_is_exempt_and_on_the_record() {
    let (world, id) = waiting(|world| world.set_alarm("checkout-5xx", AlarmState::Alarm));
    run(&world, &id).unwrap();
    let record = world.record(&id).unwrap();
    let exempt: Vec<&str> = record
        .deployment
        .observation
        .alarms
        .iter()
        .filter(|alarm| alarm.is_exempt)
        .map(|alarm| alarm.name.as_str())
        .collect();
    assert_eq!(exempt, ["checkout-5xx"]);
    let timeline = world.timeline(&id);
    assert!(timeline.iter().any(|line| line.text.contains("exempt until it has been OK")), "{timeline:?}");
}

#[test]
fn no_policy_means_advise_and_says_so() {
    let world = World::new();
    world.set_group(|group| group.alarms = vec![alarm("checkout-5xx")]);
    let id = world.deploy("2");
    world.advance(3);
    assert!(matches!(run(&world, &id), Ok(HookEnd::Answered(Succeeded))));
    let record = world.record(&id).unwrap();
    assert_eq!(record.policy.mode, Mode::Advise);
    assert_eq!(record.notices.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [NoticeKind::NoPolicy]);
    assert_eq!(record.alarm_names(), [alarm("checkout-5xx")]);
}

#[test]
fn parameters_out_of_reach_hold_until_the_deadline() {
    for call in ["ssm:", "codedeploy:GetDeploymentGroup", "codedeploy:GetDeployment"] {
        let (world, id) = waiting(|world| world.break_calls(call, CallErrorKind::Unreachable));
        let began = world.time();
        assert!(matches!(run(&world, &id), Ok(HookEnd::Answered(Failed))), "{call}");
        let took = answer(&world, &id).unwrap().1.since(began);
        assert!((100..=125).contains(&took.as_secs()), "{call}: {took:?}");
    }
    // A short outage is only waited for.
    let (world, id) = waiting(|world| world.add_fault(Fault { at: 6, how: How::Fail(CallErrorKind::Unreachable) }));
    assert!(matches!(run(&world, &id), Ok(HookEnd::Answered(Succeeded))));
}

#[test]
fn the_pinned_policy_holds_when_parameters_are_out_of_reach_later() {
    let (world, id) = waiting(|_| {});
    let recorded = block_on(&world, snapback_app::record_deployment::record_deployment(&world, &id, "recorder"));
    assert!(matches!(recorded, Some(Ok(_))), "{recorded:?}");
    world.break_calls("ssm:", CallErrorKind::Unreachable);
    assert!(matches!(run(&world, &id), Ok(HookEnd::Answered(Succeeded))));
}

#[test]
fn without_the_table_it_answers_by_itself() {
    let (world, id) = waiting(|world| world.break_calls("dynamodb:", CallErrorKind::Unreachable));
    let began = world.time();
    assert!(matches!(run(&world, &id), Ok(HookEnd::Answered(Failed))));
    assert!(answer(&world, &id).unwrap().1.since(began) < Duration::from_secs(150), "before the function's end");
}

#[test]
fn other_platforms_get_a_clear_answer() {
    for platform in [Platform::Ecs, Platform::Server] {
        let (world, id) = waiting(|world| world.set_group(|group| group.platform = platform.clone()));
        assert!(matches!(run(&world, &id), Ok(HookEnd::Answered(Failed))), "{platform:?}");
        assert!(world.record(&id).is_none(), "{platform:?}");
        assert_eq!(answer(&world, &id).map(|(status, _)| status), Some(Failed), "{platform:?}");
    }
}

#[test]
fn a_return_is_answered_at_once() {
    // Version 1 was good; somebody goes back to it from a version that never became good.
    let world = World::new();
    world.set_policy(policy());
    world.set_alias("2");
    world.set_probe(probe(500, 40));
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    world.change_history(|history| {
        let at = snapback_testkit::at(0);
        history.good.push(GoodRevision {
            at,
            revision: Some(revision(1)),
            version: "1".into(),
            is_inherited: false,
            is_doubtful: false,
        });
    });
    let id = world.deploy("1");
    world.advance(3);
    assert!(matches!(run(&world, &id), Ok(HookEnd::Answered(Succeeded))));
    let record = world.record(&id).unwrap();
    assert!(record.deployment.is_return());
    assert_eq!(world.counts().get("lambda:Invoke"), None, "no checks");
}

#[test]
fn a_second_run_with_a_live_lease_does_nothing() {
    let (world, id) = waiting(|world| world.add_fault(Fault { at: 10, how: How::CrashBefore }));
    let first = run_of(&world, &id, LifecycleEvent::BeforeAllowTraffic, "run-1");
    assert!(block_on(&world, before_allow_traffic(&world, &first)).is_none(), "it died");
    let second = run_of(&world, &id, LifecycleEvent::BeforeAllowTraffic, "run-2");
    let calls = world.calls();
    let end = block_on(&world, before_allow_traffic(&world, &second)).unwrap();
    assert!(matches!(end, Ok(HookEnd::HeldByAnother)), "{end:?}");
    assert_eq!(world.calls(), calls + 1);
    assert_eq!(answer(&world, &id), None);
}

#[test]
fn its_own_lease_from_a_repeated_put_is_no_other_run() {
    // The SDK repeated the conditional put because the first answer was lost: the lease that is there is this run's own.
    let (world, id) = waiting(|_| {});
    let run = run_of(&world, &id, LifecycleEvent::BeforeAllowTraffic, "run-1");
    world.add_fault(Fault { at: 2, how: How::CrashBefore });
    assert!(block_on(&world, before_allow_traffic(&world, &run)).is_none());
    let end = block_on(&world, before_allow_traffic(&world, &run)).unwrap();
    assert!(matches!(end, Ok(HookEnd::Answered(Succeeded))), "{end:?}");
}

#[test]
fn probes_that_hang_do_not_outlive_the_deadline() {
    let (world, id) = waiting(|world| {
        world.set_policy(with(|p| {
            p.before_traffic.probes[0].times = 100;
            p.before_traffic.probes[0].expect.within = None;
        }));
        world.set_probe(probe(200, 9_000));
    });
    let began = world.time();
    let end = run(&world, &id);
    let took = answer(&world, &id).unwrap().1.since(began);
    assert!(took <= Duration::from_secs(125), "{end:?} after {took:?}");
    assert!(matches!(end, Ok(HookEnd::Answered(Failed))), "nobody could tell in time: {end:?}");
}

#[test]
fn a_refusal_of_somebody_else_meanwhile_is_kept() {
    // A person queries for a rollback while the checks run; the checks pass.
    let (world, id) = waiting(|_| {});
    let recorded = block_on(&world, snapback_app::record_deployment::record_deployment(&world, &id, "recorder"));
    assert!(matches!(recorded, Some(Ok(_))), "{recorded:?}");
    world.break_calls("codedeploy:", CallErrorKind::Unreachable);
    let order = block_on(
        &world,
        snapback_app::operate::operate(&world, &id, snapback_core::deployment::Verb::RollBack, "ann", "because"),
    );
    drop(order);
    world.fix_calls("codedeploy:");
    let end = run(&world, &id);
    assert!(matches!(end, Ok(HookEnd::Answered(Failed))), "{end:?}");
}

#[test]
fn an_answer_of_the_watchdog_during_the_checks_stands() {
    let (world, id) = waiting(|_| {});
    let run = run_of(&world, &id, LifecycleEvent::BeforeAllowTraffic, "run-1");
    let mut hook = Steps::new(before_allow_traffic(&world, &run));
    while world.record(&id).is_none() {
        assert!(hook.step(), "it ended without a record");
    }
    let answered = block_on(&world, answer_for_hook(&world, &id, &run.execution, "watchdog")).unwrap();
    assert!(answered.is_ok(), "{answered:?}");
    while hook.step() {}
    assert_eq!(answer(&world, &id).map(|(status, _)| status), Some(Failed));
    let lease = world.leases(&id).remove(0);
    assert_eq!(lease.answered.map(|(status, _)| status), Some(Failed), "the late result does not replace it");
    assert!(world.timeline(&id).iter().any(|line| line.kind == EntryKind::Check), "what the checks saw is told");
}

#[test]
fn an_answer_that_codedeploy_did_not_take_is_an_error() {
    let (world, id) = waiting(|world| world.break_calls("codedeploy:Put", CallErrorKind::Denied));
    let end = run(&world, &id);
    assert!(matches!(end, Err(AppError::NotAnswered { .. })), "{end:?}");
    let lease = world.leases(&id).remove(0);
    assert_eq!(lease.result.map(|(status, _)| status), Some(Succeeded), "the watchdog finds the result");
    assert_eq!(lease.answered, None);
}

/// What a normal run costs. A new call here is a decision: it adds to every deployment's time and to the role.
#[test]
fn calls_of_the_normal_path() {
    let (world, id) = waiting(|_| {});
    run(&world, &id).unwrap();
    let counts: Vec<(&str, u64)> = world.counts().into_iter().collect();
    let expected = [
        ("cloudwatch:DescribeAlarms", 1),
        ("codedeploy:GetApplicationRevision", 1),
        ("codedeploy:GetDeployment", 1),
        ("codedeploy:GetDeploymentConfig", 1),
        ("codedeploy:GetDeploymentGroup", 1),
        ("codedeploy:PutLifecycleEventHookExecutionStatus", 1),
        ("dynamodb:PutItem", 1),
        ("dynamodb:Query", 1),
        ("dynamodb:TransactWriteItems", 3),
        ("lambda:GetFunctionConfiguration", 2),
        ("lambda:Invoke", 1),
        ("ssm:GetParameter", 1),
    ];
    assert_eq!(counts, expected);
}
