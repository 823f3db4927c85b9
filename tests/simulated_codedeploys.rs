//! There are two simulated CodeDeploys: the test kit's, in which the use cases are tried, and the emulator's, on which rehearsals
//! run. They share no code, so they could drift apart. Each script here is played on both, and after each act an observer must see
//! the same on both: what the APIs tell, where the alias sends traffic, which hooks were called.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde_json::{Value, json};
use snapback_app::ports::{CallErrorKind, Controller};
use snapback_core::alarm::AlarmState;
use snapback_core::deployment::HookFunctions;
use snapback_core::observed::{AutoRollback, DeploymentStatus, EventFacts};
use snapback_core::rollback::RollbackAction;
use snapback_core::{DeploymentId, ExecutionId, HookStatus, LifecycleEvent};
use snapback_emulator::access::Access;
use snapback_emulator::clock::Clock;
use snapback_emulator::codedeploy::{CodeDeploy, Dependencies};
use snapback_emulator::event_bus::EventBus;
use snapback_emulator::parts::{AlarmReader, AlarmReading, AliasRouting, ApiError, LambdaControl};
use snapback_emulator::protocol::{ApiRequest, ApiResponse, Service};
use snapback_emulator::queues::Queues;
use snapback_emulator::tasks::Tasks;
use snapback_testkit::{Action, Delivery, World, alarm, block_on};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

use HookStatus::{Failed, Succeeded};
use LifecycleEvent::{AfterAllowTraffic, BeforeAllowTraffic};

const HOOKS: [LifecycleEvent; 2] = [BeforeAllowTraffic, AfterAllowTraffic];
const ALARM: &str = "checkout-5xx";
/// Whatever follows from an act has happened after this: a stop, a look at the alarms, a rollback deployment.
const SETTLED: Duration = Duration::from_secs(30);

/// A deployment group and its AppSpec. Traffic shifts a tenth at first, the rest five minutes later; [`ALARM`] is attached.
#[derive(Debug, Clone)]
struct Setup {
    hooks: Vec<LifecycleEvent>,
    rolls_back_on: AutoRollback,
}

/// One act of a script; [`SETTLED`] goes by after each.
#[derive(Debug, Clone, Copy)]
enum Act {
    Create,
    Wait(u64),
    Answer(LifecycleEvent, HookStatus),
    /// StopDeployment; `Some`: it says whether to roll back.
    Stop(Option<bool>),
    /// The attached alarm goes red.
    Red,
}

/// How a call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepted,
    /// It came too late: the event or the deployment has its final status.
    DoneBefore,
}

/// What an observer sees at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    status: &'static str,
    error: Option<String>,
    /// BeforeAllowTraffic, AllowTraffic, AfterAllowTraffic.
    events: [&'static str; 3],
    /// Version that gets most traffic, and the share of the new one in percent.
    alias: (String, u32),
    /// Hooks that were called so far.
    called: Vec<LifecycleEvent>,
    /// Status of the deployment that rolls this one back.
    rollback: Option<&'static str>,
}

/// A simulated CodeDeploy. Version 1 of `checkout` is live, version 2 is deployed.
trait Simulated {
    fn new(setup: &Setup) -> Self;
    fn create(&mut self);
    fn wait(&mut self, time: Duration);
    fn answer(&mut self, event: LifecycleEvent, status: HookStatus) -> Answer;
    fn stop(&mut self, rolls_back: Option<bool>) -> Answer;
    fn go_red(&mut self);
    fn seen(&mut self) -> Seen;
}

/// Plays a script; answers what was answered and seen after each act.
fn play<S: Simulated>(setup: &Setup, script: &[Act]) -> Vec<(String, Answer, Seen)> {
    let mut simulated = S::new(setup);
    let mut played = Vec::new();
    for act in script {
        let answer = match act {
            Act::Create => {
                simulated.create();
                Answer::Accepted
            }
            Act::Wait(seconds) => {
                simulated.wait(Duration::from_secs(*seconds));
                Answer::Accepted
            }
            Act::Answer(event, status) => simulated.answer(*event, *status),
            Act::Stop(rolls_back) => simulated.stop(*rolls_back),
            Act::Red => {
                simulated.go_red();
                Answer::Accepted
            }
        };
        simulated.wait(SETTLED);
        played.push((format!("{act:?}"), answer, simulated.seen()));
    }
    played
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn an_observer_cannot_tell_them_apart() {
    use Act::{Answer, Create, Red, Stop, Wait};
    const ALL: AutoRollback = AutoRollback { on_failure: true, on_alarm: true, on_request: true };
    const NONE: AutoRollback = AutoRollback { on_failure: false, on_alarm: false, on_request: false };
    let both = HOOKS.to_vec();
    let (before, after) = (Answer(BeforeAllowTraffic, Succeeded), Answer(AfterAllowTraffic, Succeeded));
    let healthy = &[Create, before, Wait(300), after][..];
    // (case, hooks, rolls back on, script, status at the end, version that is live then)
    let table = [
        ("both hooks succeed", both.clone(), ALL, healthy, "Succeeded", "2"),
        ("no hooks", vec![], ALL, &[Create, Wait(300)], "Succeeded", "2"),
        ("a late answer", both.clone(), ALL, &[Create, before, before, Wait(300), after, after], "Succeeded", "2"),
        ("refused before traffic", both.clone(), ALL, &[Create, Answer(BeforeAllowTraffic, Failed)], "Failed", "1"),
        ("refused, no rollback", both.clone(), NONE, &[Create, Answer(BeforeAllowTraffic, Failed)], "Failed", "1"),
        (
            "refused in the bake",
            both.clone(),
            ALL,
            &[Create, before, Wait(300), Answer(AfterAllowTraffic, Failed)],
            "Failed",
            "1",
        ),
        (
            "refused in the bake, no rollback",
            both.clone(),
            NONE,
            &[Create, before, Wait(300), Answer(AfterAllowTraffic, Failed)],
            "Failed",
            "2",
        ),
        ("nobody answers before traffic", both.clone(), ALL, &[Create, Wait(3600)], "Failed", "1"),
        (
            "nobody answers in the bake",
            vec![AfterAllowTraffic],
            ALL,
            &[Create, Wait(300), Wait(3600), after],
            "Failed",
            "1",
        ),
        ("stopped before traffic", both.clone(), ALL, &[Create, Stop(Some(true)), before], "Stopped", "1"),
        (
            "stopped in the shift",
            both.clone(),
            ALL,
            &[Create, before, Stop(Some(true)), Stop(Some(true))],
            "Stopped",
            "1",
        ),
        (
            "asked for a rollback that the group does not do",
            both.clone(),
            NONE,
            &[Create, before, Stop(Some(true))],
            "Stopped",
            "1",
        ),
        (
            "stopped without a word, the group rolls back",
            both.clone(),
            ALL,
            &[Create, before, Stop(None)],
            "Stopped",
            "1",
        ),
        (
            "stopped without a word, the group does not",
            both.clone(),
            NONE,
            &[Create, before, Stop(None)],
            "Stopped",
            "1",
        ),
        (
            "stopped in the bake",
            both.clone(),
            ALL,
            &[Create, before, Wait(300), Stop(Some(true)), after],
            "Stopped",
            "1",
        ),
        (
            "stopped when it is over",
            both.clone(),
            ALL,
            &[Create, before, Wait(300), after, Stop(Some(true))],
            "Succeeded",
            "2",
        ),
        ("red in the shift", both.clone(), ALL, &[Create, before, Red], "Stopped", "1"),
        ("red in the shift, no rollback", both.clone(), NONE, &[Create, before, Red], "Stopped", "1"),
        ("red in the bake", both.clone(), ALL, &[Create, before, Wait(300), Red, after], "Stopped", "1"),
        ("red before it is created", both, ALL, &[Red, Create, before], "Stopped", "1"),
    ];
    for (case, hooks, rolls_back_on, script, status, live) in table {
        let setup = Setup { hooks, rolls_back_on };
        let (testkit, emulator) = (play::<TestKit>(&setup, script), play::<Emulated>(&setup, script));
        for (testkit, emulator) in testkit.iter().zip(&emulator) {
            assert_eq!(testkit, emulator, "{case}: the test kit's, then the emulator's");
        }
        let (_, _, seen) = testkit.last().unwrap();
        assert_eq!((seen.status, seen.alias.0.as_str()), (status, live), "{case}");
    }
}

/// The test kit's, seen through the ports.
struct TestKit {
    world: World,
    id: Option<DeploymentId>,
    called: Vec<(LifecycleEvent, ExecutionId)>,
}

impl TestKit {
    fn id(&self) -> DeploymentId {
        self.id.clone().unwrap()
    }

    fn status(&self, id: &DeploymentId) -> &'static str {
        match block_on(&self.world, self.world.deployment(id)).unwrap().unwrap().status {
            DeploymentStatus::Running => "InProgress",
            DeploymentStatus::Succeeded => "Succeeded",
            DeploymentStatus::Failed => "Failed",
            DeploymentStatus::Stopped => "Stopped",
            DeploymentStatus::Unknown(word) => panic!("status {word}"),
        }
    }
}

fn answered(result: Result<(), snapback_app::ports::CallError>) -> Answer {
    match result {
        Ok(()) => Answer::Accepted,
        Err(error) if error.is(CallErrorKind::AlreadyDone) => Answer::DoneBefore,
        Err(error) => panic!("{error}"),
    }
}

fn progress(event: &EventFacts) -> &'static str {
    match (event.started_at, event.ended_at) {
        (None, _) => "not begun",
        (Some(_), None) => "in progress",
        (Some(_), Some(_)) => "over",
    }
}

impl Simulated for TestKit {
    fn new(setup: &Setup) -> Self {
        let world = World::new();
        let function = |event| setup.hooks.contains(&event).then(|| format!("hook-{event}"));
        world.set_group(|group| {
            group.hooks = HookFunctions { before: function(BeforeAllowTraffic), after: function(AfterAllowTraffic) };
            group.auto_rollback = setup.rolls_back_on;
            group.alarms = vec![alarm(ALARM)];
            group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(300), 1.0)];
        });
        Self { world, id: None, called: Vec::new() }
    }

    fn create(&mut self) {
        self.id = Some(self.world.deploy("2"));
    }

    fn wait(&mut self, time: Duration) {
        self.world.advance_to(self.world.time() + time);
        for delivery in self.world.take_deliveries() {
            if let Delivery::Hook { event, execution, .. } = delivery {
                self.called.push((event, execution));
            }
        }
    }

    fn answer(&mut self, event: LifecycleEvent, status: HookStatus) -> Answer {
        // A hook that was never called has no execution id; nobody could answer for it.
        let Some((_, execution)) = self.called.iter().find(|(called, _)| *called == event) else {
            return Answer::DoneBefore;
        };
        answered(block_on(&self.world, Controller::answer(&self.world, &self.id(), execution, status)).unwrap())
    }

    fn stop(&mut self, rolls_back: Option<bool>) -> Answer {
        match rolls_back {
            Some(true) => answered(
                block_on(&self.world, self.world.perform(&self.id(), RollbackAction::StopDeployment, None)).unwrap(),
            ),
            Some(false) => panic!("nobody stops without a rollback where the group has one"),
            None => {
                self.world.script(self.world.time(), Action::Stop(self.id(), false));
                Answer::Accepted
            }
        }
    }

    fn go_red(&mut self) {
        self.world.set_alarm(ALARM, AlarmState::Alarm);
    }

    fn seen(&mut self) -> Seen {
        let alias = self.world.alias();
        let share = percent(alias.share_of("2"));
        let called = self.called.iter().map(|(event, _)| *event).collect();
        let Some(id) = self.id.clone() else {
            return nothing_deployed(alias.version, share);
        };
        let facts = block_on(&self.world, self.world.deployment(&id)).unwrap().unwrap();
        let target = block_on(&self.world, self.world.target(&id, None)).unwrap().unwrap().unwrap_or_default();
        Seen {
            status: self.status(&id),
            error: facts.end_reason.map(|reason| reason.code),
            events: [&target.before, &target.allow, &target.after].map(progress),
            alias: (alias.version, share),
            called,
            rollback: facts.rollback_deployment.map(|id| self.status(&id)),
        }
    }
}

fn nothing_deployed(version: String, share: u32) -> Seen {
    let (events, called) = (["not begun"; 3], Vec::new());
    Seen { status: "none", error: None, events, alias: (version, share), called, rollback: None }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100")]
fn percent(share: f64) -> u32 {
    (share * 100.0).round() as u32
}

/// The emulator's, seen through its API, on paused time.
struct Emulated {
    runtime: Runtime,
    codedeploy: CodeDeploy,
    around: Arc<Around>,
    /// What is deployed.
    revision: Value,
    id: Option<String>,
}

/// The Lambda and the CloudWatch around it.
struct Around {
    routing: Mutex<AliasRouting>,
    /// Payloads of the hooks that were called, with their function.
    called: Mutex<Vec<(String, Value)>>,
    alarms: Mutex<BTreeMap<String, String>>,
}

impl LambdaControl for Around {
    fn alias(&self, _function: &str, _alias: &str) -> Option<AliasRouting> {
        Some(self.routing.lock().unwrap().clone())
    }

    fn route(&self, _function: &str, _alias: &str, routing: AliasRouting) -> Result<(), ApiError> {
        *self.routing.lock().unwrap() = routing;
        Ok(())
    }

    fn has_version(&self, _function: &str, version: &str) -> bool {
        ["1", "2"].contains(&version)
    }

    fn invoke_async(&self, function: &str, payload: Value) -> Result<(), ApiError> {
        self.called.lock().unwrap().push((function.to_owned(), payload));
        Ok(())
    }
}

impl AlarmReader for Around {
    fn read(&self, names: &[String]) -> Vec<AlarmReading> {
        let alarms = self.alarms.lock().unwrap();
        let reading =
            |name: &String| alarms.get(name).map(|state| AlarmReading { name: name.clone(), state: state.clone() });
        names.iter().filter_map(reading).collect()
    }
}

impl Emulated {
    fn call(&self, operation: &str, input: Value) -> Result<Value, String> {
        let request = ApiRequest::new("operator", "codedeploy", operation, input);
        match self.runtime.block_on(self.codedeploy.call(request)) {
            ApiResponse::Output(output) => Ok(output),
            ApiResponse::Fault(fault) => Err(fault.code),
            ApiResponse::Raw(_) => panic!("{operation} is not answered with raw bytes"),
        }
    }

    fn answered(&self, operation: &str, input: Value) -> Answer {
        match self.call(operation, input).as_ref().map_err(String::as_str) {
            Ok(_) => Answer::Accepted,
            Err("LifecycleEventAlreadyCompletedException" | "DeploymentAlreadyCompletedException") => {
                Answer::DoneBefore
            }
            Err(code) => panic!("{operation}: {code}"),
        }
    }

    fn info(&self, id: &str) -> Value {
        self.call("GetDeployment", json!({ "deploymentId": id })).unwrap()["deploymentInfo"].clone()
    }

    fn status(&self, id: &str) -> &'static str {
        let words = ["InProgress", "Succeeded", "Failed", "Stopped"];
        let info = self.info(id);
        words.into_iter().find(|word| info["status"] == *word).unwrap_or_else(|| panic!("{info}"))
    }

    fn hook_event(&self, (function, _): &(String, Value)) -> LifecycleEvent {
        HOOKS.into_iter().find(|event| *function == format!("hook-{event}")).unwrap()
    }
}

impl Simulated for Emulated {
    fn new(setup: &Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let routing = AliasRouting { version: "1".to_owned(), additional: None };
        let alarms = BTreeMap::from([(ALARM.to_owned(), "OK".to_owned())]);
        let around = Arc::new(Around { routing: routing.into(), called: Mutex::default(), alarms: alarms.into() });
        let codedeploy = {
            let _entered = runtime.enter();
            let clock = Clock::new(Duration::from_secs(60));
            let (tasks, access) = (Tasks::new(runtime.handle().clone()), Access::new(clock));
            let bus = EventBus::new(clock, tasks.clone(), around.clone(), access.clone(), Queues::default());
            let (lambda, alarms) = (around.clone(), around.clone());
            CodeDeploy::new(Dependencies { clock, tasks, lambda, alarms, bus, access })
        };
        let emulated = Self { runtime, codedeploy, around, revision: Value::Null, id: None };
        emulated.call("CreateApplication", json!({"applicationName": "shop", "computePlatform": "Lambda"})).unwrap();
        let events = [
            (setup.rolls_back_on.on_failure, "DEPLOYMENT_FAILURE"),
            (setup.rolls_back_on.on_alarm, "DEPLOYMENT_STOP_ON_ALARM"),
            (setup.rolls_back_on.on_request, "DEPLOYMENT_STOP_ON_REQUEST"),
        ];
        let events: Vec<&str> = events.into_iter().filter(|(is_on, _)| *is_on).map(|(_, event)| event).collect();
        let group = json!({
            "applicationName": "shop", "deploymentGroupName": "live", "serviceRoleArn": "arn:aws:iam::1:role/codedeploy",
            "deploymentConfigName": "CodeDeployDefault.LambdaCanary10Percent5Minutes",
            "autoRollbackConfiguration": {"enabled": !events.is_empty(), "events": events},
            "alarmConfiguration": {"enabled": true, "alarms": [{"name": ALARM}]}
        });
        emulated.call("CreateDeploymentGroup", group).unwrap();
        let hooks: Vec<Value> =
            setup.hooks.iter().map(|event| json!({event.as_str(): format!("hook-{event}")})).collect();
        let properties = json!({"Name": "checkout", "Alias": "live", "CurrentVersion": "1", "TargetVersion": "2"});
        let resources = json!([{"checkout": {"Type": "AWS::Lambda::Function", "Properties": properties}}]);
        let content = json!({"version": 0.0, "Resources": resources, "Hooks": hooks}).to_string();
        let revision = json!({"revisionType": "String", "string": {"content": content}});
        Self { revision, ..emulated }
    }

    fn create(&mut self) {
        let input = json!({"applicationName": "shop", "deploymentGroupName": "live", "revision": self.revision});
        let created = self.call("CreateDeployment", input).unwrap();
        self.id = Some(created["deploymentId"].as_str().unwrap().to_owned());
    }

    fn wait(&mut self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    fn answer(&mut self, event: LifecycleEvent, status: HookStatus) -> Answer {
        let called = self.around.called.lock().unwrap().clone();
        let Some((_, payload)) = called.into_iter().find(|call| self.hook_event(call) == event) else {
            return Answer::DoneBefore;
        };
        let execution = &payload["LifecycleEventHookExecutionId"];
        let input =
            json!({"deploymentId": self.id, "lifecycleEventHookExecutionId": execution, "status": status.as_str()});
        self.answered("PutLifecycleEventHookExecutionStatus", input)
    }

    fn stop(&mut self, rolls_back: Option<bool>) -> Answer {
        self.answered("StopDeployment", json!({"deploymentId": self.id, "autoRollbackEnabled": rolls_back}))
    }

    fn go_red(&mut self) {
        self.around.alarms.lock().unwrap().insert(ALARM.to_owned(), "ALARM".to_owned());
    }

    fn seen(&mut self) -> Seen {
        let routing = self.around.routing.lock().unwrap().clone();
        let of_new = match &routing.additional {
            Some((version, share)) if version == "2" => *share,
            Some(_) | None => {
                if routing.version == "2" {
                    1.0
                } else {
                    0.0
                }
            }
        };
        let called: Vec<LifecycleEvent> =
            self.around.called.lock().unwrap().iter().map(|call| self.hook_event(call)).collect();
        let Some(id) = self.id.clone() else {
            return nothing_deployed(routing.version, percent(of_new));
        };
        let info = self.info(&id);
        let target = self.call("GetDeploymentTarget", json!({"deploymentId": id, "targetId": "checkout"})).unwrap();
        let events = target["deploymentTarget"]["lambdaTarget"]["lifecycleEvents"].clone();
        let progress = |index: usize| match (&events[index]["startTime"], &events[index]["endTime"]) {
            (Value::Null, _) => "not begun",
            (_, Value::Null) => "in progress",
            (_, _) => "over",
        };
        Seen {
            status: self.status(&id),
            error: info["errorInformation"]["code"].as_str().map(str::to_owned),
            events: [0, 1, 2].map(progress),
            alias: (routing.version, percent(of_new)),
            called,
            rollback: info["rollbackInfo"]["rollbackDeploymentId"].as_str().map(|id| self.status(id)),
        }
    }
}
