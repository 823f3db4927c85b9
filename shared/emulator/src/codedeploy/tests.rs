//! Whole deployments on paused time, with small stand-ins for Lambda and CloudWatch.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::create::sha256_hex;
use super::*;
use crate::iam::Authority;
use crate::iam::policy::Policy;
use crate::parts::{AlarmReading, AliasRouting, ApiError};
use crate::queues::Queues;

const CANARY: &str = "CodeDeployDefault.LambdaCanary10Percent5Minutes";
const ALL_EVENTS: [&str; 3] = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"];
const BOTH_HOOKS: [&str; 2] = ["BeforeAllowTraffic", "AfterAllowTraffic"];

/// One function `checkout` with alias `live` and versions 7 to 9.
struct FakeLambda {
    routing: Mutex<AliasRouting>,
    invocations: Mutex<Vec<(String, Value)>>,
}

impl LambdaControl for FakeLambda {
    fn alias(&self, function: &str, alias: &str) -> Option<AliasRouting> {
        (function == "checkout" && alias == "live").then(|| lock(&self.routing).clone())
    }
    fn route(&self, _function: &str, _alias: &str, routing: AliasRouting) -> Result<(), ApiError> {
        *lock(&self.routing) = routing;
        Ok(())
    }
    fn has_version(&self, _function: &str, version: &str) -> bool {
        ["7", "8", "9"].contains(&version)
    }
    fn invoke_async(&self, function: &str, payload: Value) -> Result<(), ApiError> {
        if function.contains("missing") {
            return Err(ApiError::new("ResourceNotFoundException", "no such function"));
        }
        lock(&self.invocations).push((function.to_owned(), payload));
        Ok(())
    }
}

#[derive(Default)]
struct FakeAlarms(Mutex<BTreeMap<String, String>>);

impl AlarmReader for FakeAlarms {
    fn read(&self, names: &[String]) -> Vec<AlarmReading> {
        let states = lock(&self.0);
        let reading =
            |name: &String| states.get(name).map(|state| AlarmReading { name: name.clone(), state: state.clone() });
        names.iter().filter_map(reading).collect()
    }
}

struct World {
    codedeploy: CodeDeploy,
    lambda: Arc<FakeLambda>,
    alarms: Arc<FakeAlarms>,
    bus: EventBus,
    access: Access,
}

impl World {
    /// Application `app` with group `live`, canary, all rollback events, no alarms.
    fn new() -> Self {
        let clock = Clock::new(Duration::from_secs(60));
        let tasks = Tasks::new(Handle::current());
        let routing = AliasRouting { version: "7".to_owned(), additional: None };
        let lambda = Arc::new(FakeLambda { routing: Mutex::new(routing), invocations: Mutex::default() });
        let alarms = Arc::new(FakeAlarms::default());
        let access = Access::new(clock);
        let bus = EventBus::new(clock, tasks.clone(), lambda.clone(), access.clone(), Queues::default());
        let around = Dependencies {
            clock,
            tasks,
            lambda: lambda.clone(),
            alarms: alarms.clone(),
            bus: bus.clone(),
            access: access.clone(),
        };
        let world = Self { codedeploy: CodeDeploy::new(around), lambda, alarms, bus, access };
        world.ok("CreateApplication", json!({"applicationName": "app", "computePlatform": "Lambda"}));
        let group = json!({
            "applicationName": "app", "deploymentGroupName": "live", "serviceRoleArn": "arn:aws:iam::1:role/cd",
            "deploymentConfigName": CANARY, "autoRollbackConfiguration": {"enabled": true, "events": ALL_EVENTS}
        });
        world.ok("CreateDeploymentGroup", group);
        world
    }

    fn call(&self, operation: &str, input: Value) -> Result<Value, String> {
        self.codedeploy.dispatch("operator", operation, &input).map_err(|fault| fault.code)
    }

    fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).unwrap()
    }

    fn update_group(&self, key: &str, value: Value) {
        self.ok(
            "UpdateDeploymentGroup",
            json!({"applicationName": "app", "currentDeploymentGroupName": "live", key: value}),
        );
    }

    fn set_alarm(&self, name: &str, state: &str) {
        lock(&self.alarms.0).insert(name.to_owned(), state.to_owned());
    }

    fn attach_alarm(&self, ignore_poll_failure: bool) {
        let alarms =
            json!({"enabled": true, "ignorePollAlarmFailure": ignore_poll_failure, "alarms": [{"name": "verdict"}]});
        self.update_group("alarmConfiguration", alarms);
    }

    fn create(&self, current: &str, target: &str, hooks: &[&str]) -> Result<String, String> {
        let input = json!({"applicationName": "app", "deploymentGroupName": "live", "revision": revision(&spec(current, target, hooks))});
        Ok(self.call("CreateDeployment", input)?["deploymentId"].as_str().unwrap().to_owned())
    }

    fn deploy(&self, hooks: &[&str]) -> String {
        self.create("7", "8", hooks).unwrap()
    }

    /// The execution id that the hook of `event` got, once it was invoked.
    async fn hook_started(&self, id: &str, event: &str) -> String {
        let started =
            |truth: &DeploymentTruth| truth.hook_invocations.iter().find(|call| call.event == event).map(|_| ());
        self.codedeploy.wait_until(id, started).await.unwrap();
        let function = format!("hook-{event}");
        let invocations = lock(&self.lambda.invocations);
        let of = |(name, payload): &&(String, Value)| *name == function && payload["DeploymentId"] == id;
        invocations.iter().find(of).unwrap().1["LifecycleEventHookExecutionId"].as_str().unwrap().to_owned()
    }

    async fn answer(&self, id: &str, event: &str, status: &str) -> Result<Value, String> {
        let execution = self.hook_started(id, event).await;
        self.call(
            "PutLifecycleEventHookExecutionStatus",
            json!({"deploymentId": id, "lifecycleEventHookExecutionId": execution, "status": status}),
        )
    }

    async fn ended(&self, id: &str) -> DeploymentTruth {
        self.codedeploy.wait_until(id, |truth| truth.completed_ms.map(|_| truth.clone())).await.unwrap()
    }

    /// Waits until the canary share is on the alias.
    async fn shifted(&self, id: &str) {
        self.codedeploy.wait_until(id, |truth| (!truth.weights.is_empty()).then_some(())).await.unwrap();
    }

    fn info(&self, id: &str) -> Value {
        self.ok("GetDeployment", json!({"deploymentId": id}))["deploymentInfo"].clone()
    }

    fn routing(&self) -> AliasRouting {
        lock(&self.lambda.routing).clone()
    }

    /// States of the events of one deployment, in the order of publishing.
    fn published(&self, id: &str) -> Vec<String> {
        let events = self.bus.published();
        let of_it = events.iter().filter(|published| published.event["detail"]["deploymentId"] == id);
        of_it.map(|published| published.event["detail"]["state"].as_str().unwrap().to_owned()).collect()
    }
}

fn spec(current: &str, target: &str, hooks: &[&str]) -> String {
    let hooks: Vec<Value> = hooks.iter().map(|event| json!({*event: format!("hook-{event}")})).collect();
    let properties = json!({"Name": "checkout", "Alias": "live", "CurrentVersion": current, "TargetVersion": target});
    json!({"version": 0.0, "Resources": [{"checkout": {"Type": "AWS::Lambda::Function", "Properties": properties}}], "Hooks": hooks}).to_string()
}

fn revision(content: &str) -> Value {
    json!({"revisionType": "AppSpecContent", "appSpecContent": {"content": content, "sha256": sha256_hex(content)}})
}

fn statuses(truth: &DeploymentTruth) -> Vec<EventStatus> {
    truth.events.iter().map(|event| event.status).collect()
}

#[tokio::test(start_paused = true)]
async fn a_healthy_canary_runs_through_both_hooks() {
    let world = World::new();
    let id = world.deploy(&BOTH_HOOKS);
    let not_started = world.call("GetDeploymentTarget", json!({"deploymentId": id, "targetId": "checkout"}));
    assert_eq!(not_started, Err("DeploymentNotStartedException".to_owned()));
    world.answer(&id, "BeforeAllowTraffic", "Succeeded").await.unwrap();

    world.shifted(&id).await;
    assert_eq!(world.routing(), AliasRouting { version: "7".into(), additional: Some(("8".into(), 0.1)) });
    let target = world.ok("GetDeploymentTarget", json!({"deploymentId": id, "targetId": "checkout"}));
    let target = &target["deploymentTarget"]["lambdaTarget"];
    assert_eq!(target["lambdaFunctionInfo"]["targetVersionWeight"], 0.1);
    assert_eq!(target["lifecycleEvents"][1]["status"], "InProgress");
    assert_eq!(target["lifecycleEvents"][2], json!({"lifecycleEventName": "AfterAllowTraffic", "status": "Pending"}));

    world.answer(&id, "AfterAllowTraffic", "Succeeded").await.unwrap();
    let truth = world.ended(&id).await;
    assert_eq!(truth.status, Status::Succeeded);
    assert_eq!(statuses(&truth), [EventStatus::Succeeded; 3]);
    assert_eq!(world.routing(), AliasRouting { version: "8".into(), additional: None });
    assert_eq!(truth.weights.len(), 2);
    assert_eq!(truth.weights[1].at_ms - truth.weights[0].at_ms, 300_000, "five minutes of canary");
    assert_eq!(world.published(&id), ["START", "SUCCESS"]);
    assert_eq!(truth.rollback_deployment, None);

    let info = world.info(&id);
    assert_eq!(info["status"], "Succeeded");
    assert_eq!(info["creator"], "user");
    assert_eq!(info["deploymentOverview"]["Succeeded"], 1);
    assert_eq!(info["revision"]["appSpecContent"].get("content"), None, "the text is not in GetDeployment");
    let sha256 = info["revision"]["appSpecContent"]["sha256"].clone();
    let revision = json!({"applicationName": "app", "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"sha256": sha256}}});
    let stored = world.ok("GetApplicationRevision", revision);
    assert_eq!(stored["revision"]["appSpecContent"]["content"], spec("7", "8", &BOTH_HOOKS));
    let group = world.ok("GetDeploymentGroup", json!({"applicationName": "app", "deploymentGroupName": "live"}));
    assert_eq!(group["deploymentGroupInfo"]["lastSuccessfulDeployment"]["deploymentId"], id);
}

#[tokio::test(start_paused = true)]
async fn a_red_alarm_stops_and_rolls_back_without_hooks() {
    let world = World::new();
    world.set_alarm("verdict", "OK");
    world.attach_alarm(false);
    let id = world.deploy(&BOTH_HOOKS);
    world.answer(&id, "BeforeAllowTraffic", "Succeeded").await.unwrap();
    world.shifted(&id).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.set_alarm("verdict", "ALARM");
    let truth = world.ended(&id).await;
    assert_eq!(truth.status, Status::Stopped);
    assert_eq!(truth.stop.as_ref().map(|stop| stop.by.as_str()), Some("alarm"));
    assert_eq!(statuses(&truth), [EventStatus::Succeeded, EventStatus::Failed, EventStatus::Skipped]);
    let info = world.info(&id);
    assert_eq!(info["errorInformation"]["code"], "ALARM_ACTIVE");
    assert!(info["errorInformation"]["message"].as_str().unwrap().ends_with("Activated alarms: <verdict>"), "{info}");
    assert_eq!(info["deploymentOverview"]["Failed"], 1);

    let rollback = truth.rollback_deployment.clone().unwrap();
    assert_eq!(info["rollbackInfo"]["rollbackDeploymentId"], rollback);
    let back = world.ended(&rollback).await;
    assert_eq!(back.status, Status::Succeeded, "also while the alarm is still red");
    assert_eq!(statuses(&back), [EventStatus::Succeeded; 3]);
    assert!(back.hook_invocations.is_empty(), "{back:?}");
    assert_eq!(world.routing(), AliasRouting { version: "7".into(), additional: None });
    let restored = world.codedeploy.truth_of(&id).and_then(|truth| truth.restored_ms).unwrap();
    let took = restored - truth.stop.unwrap().at_ms;
    assert!((500..2_000).contains(&took), "restored {took} ms after the stop");
    let info = world.info(&rollback);
    assert_eq!(info["creator"], "codeDeployRollback");
    assert_eq!(info["deploymentConfigName"], "CodeDeployDefault.LambdaAllAtOnce");
    assert_eq!(info["rollbackInfo"]["rollbackTriggeringDeploymentId"], id);
    assert_eq!(world.published(&id), ["START", "STOP"]);
    assert_eq!(world.published(&rollback), ["START", "SUCCESS"]);
}

#[tokio::test(start_paused = true)]
async fn alarms_that_are_red_missing_or_unreadable_at_the_start() {
    // (case, alarm state, poll failures ignored, DescribeAlarms denied, stopped)
    let table = [
        ("red", Some("ALARM"), false, false, true),
        ("red, failures ignored", Some("ALARM"), true, false, true),
        ("missing", None, false, false, true),
        ("missing, ignored", None, true, false, false),
        ("unreadable", Some("OK"), false, true, true),
        ("unreadable, ignored", Some("OK"), true, true, false),
        ("too little data", Some("INSUFFICIENT_DATA"), false, false, false),
    ];
    for (case, state, ignored, denied, stopped) in table {
        let world = World::new();
        world.attach_alarm(ignored);
        if let Some(state) = state {
            world.set_alarm("verdict", state);
        }
        if denied {
            let action = "cloudwatch:DescribeAlarms".to_owned();
            let rule = crate::access::Rule {
                principal: Some(PRINCIPAL.to_owned()),
                action,
                effect: crate::access::Effect::Deny,
            };
            let _id = world.access.add(rule);
        }
        let id = world.deploy(&[]);
        let truth = world.ended(&id).await;
        let expected = if stopped { Status::Stopped } else { Status::Succeeded };
        assert_eq!(truth.status, expected, "{case}: {truth:?}");
        if stopped {
            assert_eq!(truth.error_code.as_deref(), Some("ALARM_ACTIVE"), "{case}");
            assert!(truth.completed_ms.unwrap() - truth.created_ms < 1_000, "{case}: {truth:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_override_replaces_the_alarms_of_the_group() {
    let world = World::new();
    world.attach_alarm(false);
    world.set_alarm("verdict", "ALARM");
    let input = json!({
        "applicationName": "app", "deploymentGroupName": "live", "revision": revision(&spec("7", "8", &[])),
        "deploymentConfigName": "CodeDeployDefault.LambdaAllAtOnce", "overrideAlarmConfiguration": {"enabled": false, "alarms": []}
    });
    let id = world.ok("CreateDeployment", input)["deploymentId"].as_str().unwrap().to_owned();
    assert_eq!(world.ended(&id).await.status, Status::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_failed_hook_fails_the_deployment() {
    // (case, hook that fails, rollback events, events' statuses, rolls back)
    use EventStatus::{Failed, Skipped, Succeeded};
    let table = [
        ("before traffic", "BeforeAllowTraffic", &ALL_EVENTS[..], [Failed, Skipped, Skipped], true),
        ("in the bake", "AfterAllowTraffic", &ALL_EVENTS[..], [Succeeded, Succeeded, Failed], true),
        ("without the event", "AfterAllowTraffic", &ALL_EVENTS[1..], [Succeeded, Succeeded, Failed], false),
    ];
    for (case, hook, events, expected, rolls_back) in table {
        let world = World::new();
        world.update_group("autoRollbackConfiguration", json!({"enabled": true, "events": events}));
        let id = world.deploy(&[hook]);
        world.answer(&id, hook, "Failed").await.unwrap();
        let truth = world.ended(&id).await;
        assert_eq!(
            (truth.status, truth.error_code.as_deref()),
            (Status::Failed, Some("HOOK_EXECUTION_FAILURE")),
            "{case}"
        );
        assert_eq!(statuses(&truth), expected, "{case}");
        assert_eq!(truth.rollback_deployment.is_some(), rolls_back, "{case}");
        assert_eq!(world.published(&id), ["START", "FAILURE"], "{case}");
        let version = match truth.rollback_deployment {
            Some(rollback) => {
                world.ended(&rollback).await;
                "7"
            }
            None => "8",
        };
        assert_eq!(world.routing(), AliasRouting { version: version.into(), additional: None }, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_nobody_answers_fails_after_an_hour() {
    let world = World::new();
    let id = world.deploy(&["AfterAllowTraffic"]);
    world.hook_started(&id, "AfterAllowTraffic").await;
    let truth = world.ended(&id).await;
    assert_eq!((truth.status, truth.error_code.as_deref()), (Status::Failed, Some("TIMEOUT")));
    let waited = truth.completed_ms.unwrap() - truth.hook_invocations[0].at_ms;
    assert!((3_600_000..3_600_100).contains(&waited), "{waited} ms");
    let late = world.answer(&id, "AfterAllowTraffic", "Succeeded").await;
    assert_eq!(late, Err("LifecycleEventAlreadyCompletedException".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_does_not_exist_fails_at_once() {
    let world = World::new();
    let content = spec("7", "8", &["BeforeAllowTraffic"]).replace("hook-BeforeAllowTraffic", "missing");
    let input = json!({"applicationName": "app", "deploymentGroupName": "live", "revision": revision(&content)});
    let id = world.ok("CreateDeployment", input)["deploymentId"].as_str().unwrap().to_owned();
    let truth = world.ended(&id).await;
    assert_eq!((truth.status, truth.error_code.as_deref()), (Status::Failed, Some("HOOK_EXECUTION_FAILURE")));
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_shift_is_pending_for_a_moment() {
    let world = World::new();
    let id = world.deploy(&[]);
    world.shifted(&id).await;
    let stop = || world.call("StopDeployment", json!({"deploymentId": id, "autoRollbackEnabled": true}));
    assert_eq!(stop().unwrap()["status"], "Pending");
    assert_eq!(world.info(&id)["status"], "InProgress");
    assert_eq!(stop().unwrap()["status"], "Succeeded", "repeated");
    let truth = world.ended(&id).await;
    assert_eq!((truth.status, truth.error_code.as_deref()), (Status::Stopped, Some("MANUAL_STOP")));
    let stopped = truth.stop.clone().unwrap();
    assert_eq!((stopped.by.as_str(), truth.completed_ms.unwrap() - stopped.at_ms), ("operator", 500));
    assert_eq!(stop(), Err("DeploymentAlreadyCompletedException".to_owned()));
    world.ended(&truth.rollback_deployment.unwrap()).await;
    assert_eq!(world.routing(), AliasRouting { version: "7".into(), additional: None });
}

#[tokio::test(start_paused = true)]
async fn a_hook_may_still_start_while_a_stop_is_pending() {
    let world = World::new();
    let id = world.deploy(&["AfterAllowTraffic"]);
    world.shifted(&id).await;
    tokio::time::sleep(Duration::from_millis(299_800)).await;
    let answer = world.ok("StopDeployment", json!({"deploymentId": id, "autoRollbackEnabled": true}));
    assert_eq!(answer["status"], "Pending");
    // The shift ends 0.2 s later, the hook starts; its answer no longer decides.
    world.answer(&id, "AfterAllowTraffic", "Succeeded").await.unwrap();
    let truth = world.ended(&id).await;
    assert_eq!(truth.status, Status::Stopped);
    world.ended(&truth.rollback_deployment.unwrap()).await;
    assert_eq!(world.routing(), AliasRouting { version: "7".into(), additional: None });
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_a_hook_is_done_at_once() {
    let world = World::new();
    let id = world.deploy(&["BeforeAllowTraffic"]);
    world.hook_started(&id, "BeforeAllowTraffic").await;
    assert_eq!(world.ok("StopDeployment", json!({"deploymentId": id}))["status"], "Succeeded");
    let truth = world.ended(&id).await;
    assert_eq!(statuses(&truth), [EventStatus::Failed, EventStatus::Skipped, EventStatus::Skipped]);
    assert!(truth.weights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_rolls_back_as_asked_or_as_the_group_says() {
    // (case, autoRollbackEnabled, the group has DEPLOYMENT_STOP_ON_REQUEST, rolls back)
    let table = [
        ("not said, on", Value::Null, true, true),
        ("not said, off", Value::Null, false, false),
        ("asked for, off", json!(true), false, true),
        ("asked not to, on", json!(false), true, false),
    ];
    for (case, asked, on_request, rolls_back) in table {
        let world = World::new();
        let events = if on_request { &ALL_EVENTS[..] } else { &ALL_EVENTS[..2] };
        world.update_group("autoRollbackConfiguration", json!({"enabled": true, "events": events}));
        let id = world.deploy(&[]);
        world.shifted(&id).await;
        world.ok("StopDeployment", json!({"deploymentId": id, "autoRollbackEnabled": asked}));
        let truth = world.ended(&id).await;
        assert_eq!(truth.rollback_deployment.is_some(), rolls_back, "{case}");
        if !rolls_back {
            let left = AliasRouting { version: "7".into(), additional: Some(("8".into(), 0.1)) };
            assert_eq!(world.routing(), left, "{case}: the alias stays on two versions");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_unlike_the_app_spec_fails_without_a_rollback() {
    let two_versions = AliasRouting { version: "7".into(), additional: Some(("9".into(), 0.1)) };
    // (case, routing of the alias, current, target, code)
    let table = [
        ("alias on two versions", two_versions, "7", "8", "INVALID_LAMBDA_CONFIGURATION"),
        (
            "another current version",
            AliasRouting { version: "9".into(), additional: None },
            "7",
            "8",
            "INVALID_LAMBDA_CONFIGURATION",
        ),
        (
            "unknown target version",
            AliasRouting { version: "7".into(), additional: None },
            "7",
            "44",
            "INVALID_LAMBDA_CONFIGURATION",
        ),
        ("invalid AppSpec", AliasRouting { version: "7".into(), additional: None }, "7", "7", "INVALID_REVISION"),
    ];
    for (case, routing, current, target, code) in table {
        let world = World::new();
        *lock(&world.lambda.routing) = routing.clone();
        let id = world.create(current, target, &[]).unwrap();
        let truth = world.ended(&id).await;
        assert_eq!((truth.status, truth.error_code.as_deref()), (Status::Failed, Some(code)), "{case}");
        assert_eq!(truth.rollback_deployment, None, "{case}");
        assert_eq!(world.routing(), routing, "{case}: untouched");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_runs_one_deployment_at_a_time() {
    let world = World::new();
    let id = world.deploy(&[]);
    assert_eq!(world.create("7", "9", &[]), Err("DeploymentLimitExceededException".to_owned()));
    world.ended(&id).await;
    assert!(world.create("8", "9", &[]).is_ok());
}

#[tokio::test(start_paused = true)]
async fn hook_answers_are_checked() {
    let world = World::new();
    let first = world.deploy(&["BeforeAllowTraffic"]);
    let foreign = world.hook_started(&first, "BeforeAllowTraffic").await;
    assert!(foreign.len() > 200, "{foreign}");
    world.answer(&first, "BeforeAllowTraffic", "Failed").await.unwrap();
    world.ended(&world.ended(&first).await.rollback_deployment.unwrap()).await;

    let id = world.deploy(&["BeforeAllowTraffic"]);
    let own = world.hook_started(&id, "BeforeAllowTraffic").await;
    let put = |execution: &str, status: &str| {
        world.call(
            "PutLifecycleEventHookExecutionStatus",
            json!({"deploymentId": id, "lifecycleEventHookExecutionId": execution, "status": status}),
        )
    };
    // In this order; the last ones come after a valid answer.
    let table = [
        ("of another deployment", foreign.as_str(), "Succeeded", Some("InvalidLifecycleEventHookExecutionIdException")),
        ("empty", "", "Succeeded", Some("InvalidLifecycleEventHookExecutionIdException")),
        (
            "status of the enum that is not allowed",
            &own,
            "InProgress",
            Some("InvalidLifecycleEventHookExecutionStatusException"),
        ),
        ("valid", &own, "Succeeded", None),
        ("again", &own, "Succeeded", Some("LifecycleEventAlreadyCompletedException")),
        ("again, differently", &own, "Failed", Some("LifecycleEventAlreadyCompletedException")),
    ];
    for (case, execution, status, error) in table {
        assert_eq!(put(execution, status).err().as_deref(), error, "{case}");
    }
    let truth = world.codedeploy.truth_of(&id).unwrap();
    let answers: Vec<(Option<&str>, bool)> =
        truth.hook_answers.iter().map(|a| (a.event.as_deref(), a.error.is_none())).collect();
    assert_eq!(answers.len(), 6);
    assert_eq!(answers[0], (None, false));
    assert_eq!(answers[3], (Some("BeforeAllowTraffic"), true));
    assert_eq!(truth.hook_answers[3].by, "operator");
    assert_eq!(world.ended(&id).await.status, Status::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn lists_come_newest_first_in_small_pages() {
    let world = World::new();
    let mut ids = Vec::new();
    for (current, target) in [("7", "8"), ("8", "9"), ("9", "7"), ("7", "8"), ("8", "9")] {
        let id = world.create(current, target, &[]).unwrap();
        world.ended(&id).await;
        ids.push(id);
    }
    ids.reverse();
    let in_group = |token: &Value| json!({"applicationName": "app", "deploymentGroupName": "live", "nextToken": token});
    let first = world.ok("ListDeployments", in_group(&Value::Null));
    let second = world.ok("ListDeployments", in_group(&first["nextToken"]));
    let listed: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|page| page["deployments"].as_array().unwrap())
        .map(|id| id.as_str().unwrap())
        .collect();
    assert_eq!(listed, ids);
    assert_eq!(second.get("nextToken"), None);
    let running = world
        .ok("ListDeployments", json!({"includeOnlyStatuses": ["Created", "Queued", "InProgress", "Baking", "Ready"]}));
    assert_eq!(running, json!({"deployments": []}));
    let created = crate::json::seconds(world.codedeploy.truth_of(&ids[0]).unwrap().created_ms);
    let latest = world.ok("ListDeployments", json!({"createTimeRange": {"start": created}}));
    assert_eq!(latest["deployments"], json!([ids[0]]));
    let batch = world.ok("BatchGetDeployments", json!({"deploymentIds": ids}));
    assert_eq!(batch["deploymentsInfo"].as_array().unwrap().len(), 5);
}

#[expect(clippy::too_many_lines, reason = "one table")]
#[tokio::test(start_paused = true)]
async fn errors_have_the_names_of_codedeploy() {
    let world = World::new();
    let group =
        |key: &str, value: Value| json!({"applicationName": "app", "currentDeploymentGroupName": "live", key: value});
    let create = |key: &str, value: Value| {
        let mut input = json!({"applicationName": "app", "deploymentGroupName": "live", "revision": revision(&spec("7", "8", &[]))});
        input[key] = value;
        input
    };
    let app_spec = |content: Value| json!({"revisionType": "AppSpecContent", "appSpecContent": content});
    let unknown_id = json!({"deploymentId": "d-ABCDEFGHI"});
    let ids: Vec<String> = (0..26).map(|_| "d-ABCDEFGHI".to_owned()).collect();
    let table = [
        ("GetDeployment", json!({}), "DeploymentIdRequiredException"),
        ("GetDeployment", json!({"deploymentId": 7}), "DeploymentIdRequiredException"),
        ("GetDeployment", json!({"deploymentId": "d-abc"}), "InvalidDeploymentIdException"),
        ("GetDeployment", unknown_id.clone(), "DeploymentDoesNotExistException"),
        ("StopDeployment", unknown_id.clone(), "DeploymentDoesNotExistException"),
        ("ListDeploymentTargets", unknown_id.clone(), "DeploymentDoesNotExistException"),
        ("PutLifecycleEventHookExecutionStatus", unknown_id, "DeploymentDoesNotExistException"),
        ("BatchGetDeployments", json!({"deploymentIds": ids}), "BatchLimitExceededException"),
        ("CreateApplication", json!({"applicationName": "app"}), "ApplicationAlreadyExistsException"),
        (
            "CreateApplication",
            json!({"applicationName": "b", "computePlatform": "EKS"}),
            "InvalidComputePlatformException",
        ),
        (
            "GetDeploymentGroup",
            json!({"applicationName": "nope", "deploymentGroupName": "live"}),
            "ApplicationDoesNotExistException",
        ),
        (
            "GetDeploymentGroup",
            json!({"applicationName": "app", "deploymentGroupName": "x"}),
            "DeploymentGroupDoesNotExistException",
        ),
        (
            "CreateDeploymentGroup",
            json!({"applicationName": "app", "deploymentGroupName": "x"}),
            "RoleRequiredException",
        ),
        (
            "UpdateDeploymentGroup",
            group("deploymentConfigName", json!("CodeDeployDefault.OneAtATime")),
            "InvalidDeploymentConfigNameException",
        ),
        (
            "UpdateDeploymentGroup",
            group("deploymentConfigName", json!("nope")),
            "DeploymentConfigDoesNotExistException",
        ),
        (
            "UpdateDeploymentGroup",
            group("autoRollbackConfiguration", json!({"enabled": true})),
            "InvalidAutoRollbackConfigException",
        ),
        ("GetDeploymentConfig", json!({"deploymentConfigName": "nope"}), "DeploymentConfigDoesNotExistException"),
        (
            "CreateDeploymentConfig",
            json!({"deploymentConfigName": "CodeDeployDefault.Mine"}),
            "InvalidDeploymentConfigNameException",
        ),
        ("CreateDeployment", create("revision", Value::Null), "RevisionRequiredException"),
        ("CreateDeployment", create("revision", json!({"revisionType": "GitHub"})), "InvalidRevisionException"),
        (
            "CreateDeployment",
            create("revision", app_spec(json!({"content": "{}", "sha256": "0"}))),
            "InvalidRevisionException",
        ),
        ("CreateDeployment", create("revision", app_spec(json!({"sha256": "0"}))), "RevisionDoesNotExistException"),
        ("CreateDeployment", create("description", json!("d".repeat(257))), "DescriptionTooLongException"),
        (
            "GetApplicationRevision",
            json!({"applicationName": "app", "revision": app_spec(json!({"sha256": "0"}))}),
            "RevisionDoesNotExistException",
        ),
        ("ListDeployments", json!({"applicationName": "app"}), "DeploymentGroupNameRequiredException"),
        ("ListDeployments", json!({"deploymentGroupName": "live"}), "ApplicationNameRequiredException"),
        ("ListDeployments", json!({"includeOnlyStatuses": ["Nope"]}), "InvalidDeploymentStatusException"),
        ("ListDeployments", json!({"createTimeRange": {"start": 2, "end": 1}}), "InvalidTimeRangeException"),
        ("ListDeployments", json!({"nextToken": "x"}), "InvalidNextTokenException"),
        ("DeleteApplication", json!({}), "UnknownOperationException"),
    ];
    for (operation, input, code) in table {
        assert_eq!(world.call(operation, input.clone()).err().as_deref(), Some(code), "{operation} {input}");
    }
    assert!(world.codedeploy.truth().is_empty());
}

#[tokio::test(start_paused = true)]
async fn custom_configurations_and_string_revisions_work() {
    let world = World::new();
    let routing = json!({"type": "TimeBasedLinear", "timeBasedLinear": {"linearPercentage": 40, "linearInterval": 1}});
    world.ok(
        "CreateDeploymentConfig",
        json!({"deploymentConfigName": "steps", "computePlatform": "Lambda", "trafficRoutingConfig": routing}),
    );
    let shown = world.ok("GetDeploymentConfig", json!({"deploymentConfigName": "steps"}));
    assert_eq!(shown["deploymentConfigInfo"]["trafficRoutingConfig"], routing);
    let content = spec("7", "8", &[]);
    let input = json!({
        "applicationName": "app", "deploymentGroupName": "live", "deploymentConfigName": "steps",
        "revision": {"revisionType": "String", "string": {"content": content}}
    });
    let id = world.ok("CreateDeployment", input)["deploymentId"].as_str().unwrap().to_owned();
    let truth = world.ended(&id).await;
    let shares: Vec<Option<f64>> =
        truth.weights.iter().map(|change| change.additional.as_ref().map(|(_, share)| *share)).collect();
    assert_eq!(shares, [Some(0.4), Some(0.8), None]);
    let revision = world.info(&id)["revision"].clone();
    assert_eq!(revision, json!({"revisionType": "String", "string": {"sha256": sha256_hex(&content)}}));
}

#[tokio::test(start_paused = true)]
async fn other_platforms_stay_in_progress_until_they_are_stopped() {
    let ecs = json!({"Resources": [{"TargetService": {"Type": "AWS::ECS::Service", "Properties": {"TaskDefinition": "arn:td:9"}}}]});
    let github = json!({"revisionType": "GitHub", "gitHubLocation": {"repository": "a/b", "commitId": "c"}});
    // (platform, revision, target id, kind of target)
    let table = [
        ("ECS", revision(&ecs.to_string()), "shop:checkout", "ECSTarget"),
        ("Server", github, "i-0123456789abcdef0", "InstanceTarget"),
    ];
    for (platform, revision, target, kind) in table {
        let world = World::new();
        world.ok("CreateApplication", json!({"applicationName": "other", "computePlatform": platform}));
        let services = json!([{"clusterName": "shop", "serviceName": "checkout"}]);
        world.ok("CreateDeploymentGroup", json!({"applicationName": "other", "deploymentGroupName": "g", "serviceRoleArn": "r", "ecsServices": services}));
        let id = world.ok(
            "CreateDeployment",
            json!({"applicationName": "other", "deploymentGroupName": "g", "revision": revision}),
        );
        let id = id["deploymentId"].as_str().unwrap().to_owned();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let info = world.info(&id);
        assert_eq!((&info["status"], &info["computePlatform"]), (&json!("InProgress"), &json!(platform)), "{platform}");
        let shown = world.ok("GetDeploymentTarget", json!({"deploymentId": id, "targetId": target}));
        assert_eq!(shown["deploymentTarget"]["deploymentTargetType"], kind);
        assert_eq!(world.ok("ListDeploymentTargets", json!({"deploymentId": id})), json!({"targetIds": [target]}));
        world.ok("StopDeployment", json!({"deploymentId": id}));
        assert_eq!(world.ended(&id).await.status, Status::Stopped, "{platform}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_role_of_the_group_invokes_the_hooks() {
    // (pattern of the functions that the role may invoke, error code)
    let table = [
        ("arn:aws:lambda:*:*:function:hook-*", None),
        ("arn:aws:lambda:*:*:function:Hook_*", Some("IAM_ROLE_PERMISSIONS")),
    ];
    for (functions, expected) in table {
        let world = World::new();
        let role = json!({"Statement": {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": functions}});
        let roles = [("arn:aws:iam::1:role/cd".to_owned(), Policy::parse(&role).unwrap())].into();
        world.access.iam().enforce(Authority { roles, ..Authority::default() });
        let id = world.deploy(&["BeforeAllowTraffic"]);
        if expected.is_none() {
            world.answer(&id, "BeforeAllowTraffic", "Succeeded").await.unwrap();
        }
        let truth = world.ended(&id).await;
        assert_eq!(truth.error_code.as_deref(), expected, "{functions}");
        assert_eq!(lock(&world.lambda.invocations).len(), usize::from(expected.is_none()), "{functions}");
    }
}
