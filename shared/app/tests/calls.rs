//! What the normal path of each function costs, call by call. A new call here is a decision: it adds to the time and the cost of
//! every deployment, and to the function's role. (The first hook's is in `before_hook.rs`.)
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_app::after_hook::after_allow_traffic;
use snapback_app::before_hook::before_allow_traffic;
use snapback_app::handle_alarm::handle_alarm;
use snapback_app::record_deployment::record_deployment;
use snapback_app::sweep::{Memory, sweep};
use snapback_app::watchdog::answer_for_hook;
use snapback_core::alarm::{AlarmReading, AlarmState};
use snapback_core::policy::{AgainstBaseline, SignalPolicy};
use snapback_core::{DeploymentId, LifecycleEvent, Signal};
use snapback_testkit::{Play, World, alarm, at, block_on, policy, run_of};
use std::collections::BTreeMap;
use std::time::Duration;

/// Calls that `act` makes, as `service:Call n` joined by commas.
fn calls<T>(world: &World, act: impl FnOnce() -> T) -> String {
    let before = world.counts();
    let _ended = act();
    let added: BTreeMap<&str, u64> = world
        .counts()
        .into_iter()
        .map(|(call, count)| (call, count - before.get(call).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    added.iter().map(|(call, count)| format!("{call} {count}")).collect::<Vec<_>>().join(", ")
}

fn deployed() -> (World, DeploymentId) {
    let world = World::new();
    world.set_policy(policy());
    let id = world.deploy("2");
    world.advance(3);
    (world, id)
}

fn in_shift() -> (World, DeploymentId) {
    let (world, id) = deployed();
    let run = run_of(&world, &id, LifecycleEvent::BeforeAllowTraffic, "before");
    block_on(&world, before_allow_traffic(&world, &run)).unwrap().unwrap();
    world.advance(10);
    (world, id)
}

#[test]
fn the_hook_of_the_bake() {
    let (world, id) = in_shift();
    world.advance(60);
    let run = run_of(&world, &id, LifecycleEvent::AfterAllowTraffic, "after");
    let made = calls(&world, || block_on(&world, after_allow_traffic(&world, &run)).unwrap().unwrap());
    assert_eq!(made, AFTER_HOOK);
}

#[test]
fn an_alarm_that_rolls_back() {
    let (world, _) = in_shift();
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    let reading = world.reading("checkout-5xx").unwrap();
    let reading = AlarmReading { breaching: vec![reading.since], ..reading };
    let made = calls(&world, || block_on(&world, handle_alarm(&world, &reading, "e", "alarm")).unwrap().unwrap());
    assert_eq!(made, ALARM_THAT_ROLLS_BACK);
}

#[test]
fn an_alarm_that_may_be_red_by_data_from_before_the_shift_is_read() {
    let (world, _) = in_shift();
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    let reading = world.reading("checkout-5xx").unwrap();
    let reading = AlarmReading { breaching: vec![reading.since - Duration::from_secs(600)], ..reading };
    let made = calls(&world, || block_on(&world, handle_alarm(&world, &reading, "e", "alarm")).unwrap().unwrap());
    assert_eq!(made, format!("cloudwatch:DescribeAlarms 1, {ALARM_THAT_ROLLS_BACK}"));
}

#[test]
fn an_alarm_that_nobody_watches() {
    let (world, _) = deployed();
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    let reading = world.reading("checkout-5xx").unwrap();
    let made = calls(&world, || block_on(&world, handle_alarm(&world, &reading, "e", "alarm")).unwrap().unwrap());
    assert_eq!(made, "dynamodb:Query 1");
}

#[test]
fn an_event_of_a_deployment_that_is_on_record() {
    let (world, id) = in_shift();
    let made = calls(&world, || block_on(&world, record_deployment(&world, &id, "recorder")).unwrap().unwrap());
    assert_eq!(made, RECORDED_EVENT);
}

#[test]
fn the_watchdog_for_a_hook_that_never_ran() {
    let (world, id) = deployed();
    let execution = run_of(&world, &id, LifecycleEvent::BeforeAllowTraffic, "x").execution;
    let answer = || block_on(&world, answer_for_hook(&world, &id, &execution, "watchdog")).unwrap().unwrap();
    assert_eq!(calls(&world, answer), WATCHDOG);
}

#[test]
fn a_sweep_with_nothing_live() {
    let world = World::new();
    world.set_policy(policy());
    let first = || block_on(&world, sweep(&world, "watcher-1", &mut Memory::default())).unwrap().unwrap();
    calls(&world, first);
    let second = || block_on(&world, sweep(&world, "watcher-2", &mut Memory::default())).unwrap().unwrap();
    assert_eq!(calls(&world, second), IDLE_SWEEP);
}

/// `count` deployments whose shift takes a quarter of an hour; errors and latency are compared.
fn shifting(count: usize) -> (World, Vec<DeploymentId>) {
    let world = World::new();
    let mut settings = policy();
    for (signal, name) in [(Signal::Errors, "checkout-5xx"), (Signal::Latency, "checkout-p99")] {
        let against_baseline = Some(AgainstBaseline::new());
        let of_alarms = SignalPolicy::of_alarms(vec![alarm(name)]);
        settings.signals.insert(signal, SignalPolicy { against_baseline, is_sufficient: false, ..of_alarms });
    }
    world.set_policy(settings);
    world.set_traffic(20.0);
    world.set_group(|group| group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(900), 1.0)]);
    let ids = (0..count).map(|_| world.deploy("2")).collect();
    (world, ids)
}

#[test]
fn ticks_of_the_sweep_while_versions_are_compared() {
    // Buckets end at the full minute: the count poll is due at :20, the full poll at :30, when the next run of the watcher begins too.
    let (world, _) = shifting(1);
    let mut play = Play::new(&world);
    play.until(at(225));
    for (case, until_s, expected) in [
        ("nothing is new", 235, QUIET_TICK),
        ("the pauses are due", 245, PAUSES_DUE),
        ("nothing is new", 255, QUIET_TICK),
        ("a count poll of the bucket that has ended", 265, COUNT_POLL),
        ("a new bucket", 275, LOOK),
        ("nothing is new", 285, QUIET_TICK),
    ] {
        assert_eq!(calls(&world, || play.until(at(until_s))), expected, "{case}, until {until_s} s");
    }
}

#[test]
fn a_hundred_deployments_share_the_calls_of_cloudwatch() {
    let count = 100;
    let (world, _) = shifting(count);
    let mut play = Play::new(&world);
    play.until(at(225));
    let before = world.counts();
    play.until(at(525));
    let per_minute = |call: &str| {
        let of = |counts: &BTreeMap<&str, u64>| -> u64 {
            counts.iter().filter(|(name, _)| name.starts_with(call)).map(|(_, count)| *count).sum()
        };
        (of(&world.counts()) - of(&before)).div_ceil(5)
    };
    assert!(per_minute("cloudwatch:GetMetricData") <= 5, "{}", per_minute("cloudwatch:GetMetricData"));
    assert!(per_minute("cloudwatch:DescribeAlarms") <= 2, "{}", per_minute("cloudwatch:DescribeAlarms"));
    // At most two for each deployment and new bucket; the lease and the list of live ones each tick, the pauses twice, and what begins and
    // ends a run.
    let fixed = 6 * 2 + 2 + 4;
    assert!(per_minute("dynamodb:") <= 2 * count as u64 + fixed, "{}", per_minute("dynamodb:"));
}

const QUIET_TICK: &str = "dynamodb:PutItem 1, dynamodb:Query 1";
const PAUSES_DUE: &str = "dynamodb:PutItem 1, dynamodb:Query 2";
const COUNT_POLL: &str = "cloudwatch:GetMetricData 1, dynamodb:PutItem 2, dynamodb:Query 1";
const LOOK: &str = "\
    cloudwatch:DescribeAlarms 1, cloudwatch:GetMetricData 1, codedeploy:GetDeployment 1, codedeploy:GetDeploymentTarget 1, \
    codedeploy:ListDeployments 1, dynamodb:PutItem 1, dynamodb:Query 3, dynamodb:TransactWriteItems 1, lambda:GetAlias 1, \
    ssm:GetParametersByPath 1";
const AFTER_HOOK: &str = "\
    codedeploy:GetDeployment 1, codedeploy:GetDeploymentTarget 1, dynamodb:PutItem 1, dynamodb:Query 2, \
    dynamodb:TransactWriteItems 1, lambda:GetAlias 1, scheduler:CreateSchedule 1";
const ALARM_THAT_ROLLS_BACK: &str = "\
    cloudwatch:GetMetricData 1, codedeploy:GetDeployment 2, codedeploy:GetDeploymentTarget 2, codedeploy:StopDeployment 1, \
    dynamodb:Query 3, dynamodb:TransactWriteItems 3, lambda:GetAlias 2";
const RECORDED_EVENT: &str = "\
    codedeploy:GetDeployment 1, codedeploy:GetDeploymentTarget 1, dynamodb:Query 2, \
    dynamodb:TransactWriteItems 1, lambda:GetAlias 1";
const WATCHDOG: &str = "\
    cloudwatch:DescribeAlarms 1, codedeploy:GetApplicationRevision 1, codedeploy:GetDeployment 2, \
    codedeploy:GetDeploymentConfig 1, codedeploy:GetDeploymentGroup 1, codedeploy:GetDeploymentTarget 2, \
    codedeploy:PutLifecycleEventHookExecutionStatus 1, dynamodb:PutItem 1, dynamodb:Query 4, \
    dynamodb:TransactWriteItems 4, lambda:GetAlias 1, lambda:GetFunctionConfiguration 2, ssm:GetParameter 1";
const IDLE_SWEEP: &str =
    "codedeploy:ListDeployments 1, dynamodb:PutItem 2, dynamodb:Query 3, ssm:GetParametersByPath 1";
