//! What is played on an emulator, so that each function gets the event that AWS would send it.

use std::time::Duration;

use serde_json::{Value, json};
use snapback_emulator::lambda::Fault;
use tokio::sync::broadcast::Receiver;
use tokio::time::{sleep, timeout};

use super::error::Failure;
use super::recorder::Process;
use super::world::{WAIT_MAX, World};
use snapback_emulator::event_bus::Published;

/// Binary of the hook, which the others are compared with.
pub const BEFORE: &str = "before-allow-traffic";
/// Binaries of the other functions.
pub const AFTER: &str = "after-allow-traffic";
/// See [`AFTER`].
pub const ALARM: &str = "alarm-handler";
/// See [`AFTER`].
pub const RECORDER: &str = "deployment-recorder";
/// See [`AFTER`].
pub const WATCHER: &str = "watcher";
/// See [`AFTER`].
pub const WATCHDOG: &str = "hook-watchdog";

/// All functions with what their first event is, and how it ends.
pub const FUNCTIONS: [(&str, &str); 6] = [
    (BEFORE, "hook event of a new deployment: 2 probes, 4 alarms, answered Succeeded"),
    (ALARM, "alarm of the policy goes red in the shift: StopDeployment with rollback"),
    (AFTER, "hook event of a new deployment with a bake: puts it on record, begins the bake and returns"),
    (WATCHDOG, "hook of a new deployment that died: puts it on record and answers CodeDeploy in its place"),
    (RECORDER, "deployment has started: finds it on record and looks after it"),
    (WATCHER, "scheduled event, no deployment is running: one look and an end"),
];

const ALL_AT_ONCE: &str = "CodeDeployDefault.LambdaAllAtOnce";
const CANARY: &str = "CodeDeployDefault.LambdaCanary10Percent30Minutes";
/// From the start of the shift until the alarm goes red.
const AFTER_SHIFT: Duration = Duration::from_millis(50);
const RED: &str = "checkout-errors";

/// The hook before traffic, in one deployment after the other, each in its own group: that in group 0 is its cold start.
///
/// # Errors
/// When a deployment was not answered well.
pub async fn hook(world: &World, from: usize, to: usize) -> Result<Process, Failure> {
    for group in from..=to {
        let id = world.deploy(group, &[("BeforeAllowTraffic", BEFORE)], ALL_AT_ONCE).await?;
        let process = world.answered(BEFORE, group + 1).await?;
        let truth = world.aws.codedeploy.truth_of(&id);
        let answers = truth.map(|truth| truth.hook_answers).unwrap_or_default();
        if !matches!(answers.as_slice(), [answer] if answer.status == "Succeeded" && answer.error.is_none()) {
            return Err(format!("the hook of {id} was to answer Succeeded, and CodeDeploy got {answers:?}").into());
        }
        if group == to {
            return Ok(process);
        }
    }
    Err("no deployment was asked for".into())
}

/// The other functions, one after the other; each gets the same event `warm` more times, which finds the work done.
///
/// # Errors
/// When one does not do what its event is for.
pub async fn others(world: &World, warm: usize) -> Result<Vec<(&'static str, Process)>, Failure> {
    let mut events = world.aws.bus.subscribe();
    let mut done = Vec::new();
    // While nothing is deployed: otherwise it would look after the deployments for a minute.
    call(world, WATCHER, json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}})).await?;
    done.push((WATCHER, repeat(world, WATCHER, warm).await?));

    let id = world.deploy(0, &[("BeforeAllowTraffic", BEFORE)], CANARY).await?;
    let started = event(&mut events, |event| is(event, "/detail/state", "START")).await?;
    world.answered(BEFORE, 1).await?;
    call(world, RECORDER, started).await?;
    done.push((RECORDER, repeat(world, RECORDER, warm).await?));
    reach(world, &id, "shift", BEFORE, |truth| (!truth.weights.is_empty()).then_some(())).await?;
    // An alarm that is red at the start of the shift is not the new version's.
    sleep(AFTER_SHIFT).await;
    let red = json!({"AlarmName": RED, "StateValue": "ALARM", "StateReason": "cold start"});
    world.aws.cloudwatch.call("SetAlarmState", red).await?;
    let is_red = |event: &Value| is(event, "/detail/alarmName", RED) && is(event, "/detail/state/value", "ALARM");
    let alarm = event(&mut events, is_red).await?;
    call(world, ALARM, alarm).await?;
    let stop = reach(world, &id, "be stopped", ALARM, |truth| truth.stop.clone()).await?;
    if stop.by != ALARM {
        return Err(format!("deployment {id} was to be stopped by {ALARM}, and was by {}", stop.by).into());
    }
    done.push((ALARM, repeat(world, ALARM, warm).await?));

    let hook = world.name(BEFORE)?.to_owned();
    world.aws.lambda.set_fault(&hook, Fault::FailAll, true)?;
    let id = world.deploy(1, &[("BeforeAllowTraffic", BEFORE)], ALL_AT_ONCE).await?;
    world.answered(WATCHDOG, 1).await?;
    let answer = reach(world, &id, "be answered", WATCHDOG, |truth| truth.hook_answers.first().cloned()).await?;
    if answer.by != WATCHDOG {
        return Err(format!("the hook of {id} was to be answered by {WATCHDOG}, and was by {}", answer.by).into());
    }
    done.push((WATCHDOG, repeat(world, WATCHDOG, warm).await?));

    world.deploy(2, &[("AfterAllowTraffic", AFTER)], ALL_AT_ONCE).await?;
    world.answered(AFTER, 1).await?;
    done.push((AFTER, repeat(world, AFTER, warm).await?));
    Ok(done)
}

/// Calls a function; that it answered is waited for elsewhere.
async fn call(world: &World, binary: &str, payload: Value) -> Result<(), Failure> {
    world.aws.lambda.invoke(world.name(binary)?, None, payload.to_string()).await?;
    Ok(())
}

/// Sends the first event of a function again; its process afterwards.
async fn repeat(world: &World, binary: &str, times: usize) -> Result<Process, Failure> {
    let first = world.answered(binary, 1).await?;
    let payload = first.events.first().map(|event| event.payload.clone()).unwrap_or_default();
    for _ in 0..times {
        call(world, binary, payload.clone()).await?;
    }
    world.answered(binary, 1 + times).await
}

/// The next event that is published and `is_meant`.
async fn event(events: &mut Receiver<Published>, is_meant: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
    let found = async {
        loop {
            let published = events.recv().await?;
            if is_meant(&published.event) {
                return Ok(published.event);
            }
        }
    };
    timeout(WAIT_MAX, found).await.map_err(|_| "an event of the emulator did not come")?
}

fn is(event: &Value, pointer: &str, expected: &str) -> bool {
    event.pointer(pointer).and_then(Value::as_str) == Some(expected)
}

/// Waits until `seen` says something about a deployment, which is up to function `by`.
async fn reach<T>(
    world: &World,
    id: &str,
    what: &str,
    by: &str,
    seen: impl Fn(&snapback_emulator::codedeploy::DeploymentTruth) -> Option<T>,
) -> Result<T, Failure> {
    let reached = timeout(WAIT_MAX, world.aws.codedeploy.wait_until(id, seen)).await;
    match reached {
        Ok(Some(found)) => Ok(found),
        Ok(None) | Err(_) => {
            Err(world.did_not(world.name(by)?, &format!("make deployment {id} {what}"), "see its log"))
        }
    }
}
