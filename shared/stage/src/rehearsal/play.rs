//! Plays one scenario.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use snapback_wire::record::attr;
use tokio::time::{Instant, sleep, timeout};

use super::fault::{CallFault, EventFault, Fault, FunctionFault, Mendable};
use super::install::{self, ALIAS, InstallError, SERVICE};
use super::policy::policy;
use super::report::{Report, report};
use super::scenario::{Moment, Scenario, Step, Verb};
use super::table;
use super::timeline::{Audience, Line, Watcher};
use crate::access::{Effect, Rule};
use crate::codedeploy::DeploymentTruth;
use crate::embedded::{EmbeddedAws, OPERATOR};
use crate::event_bus::{DeliveryFault, FaultId, FaultMatch};
use crate::lambda::{self, ConfigurationChange};
use crate::parts::{AlarmReader, AliasRouting, LambdaControl, REGION};
use crate::stage::StageConfig;
use crate::wiring::Wiring;
use crate::workload::{Workload, WorkloadConfig};

/// Longest that a step may wait for its moment.
const STEP_MAX: Duration = Duration::from_secs(180);
/// A request that takes longer harms its customer. Above a cold start, below the slow versions.
const SLOW_ABOVE: Duration = Duration::from_millis(600);
/// Late points of one second come one after the other within this time.
const LATE_SPREAD: Duration = Duration::from_millis(1500);
/// Traffic before the first step, so that alarms have seen a healthy service.
const WARM_UP_REQUESTS: usize = 40;
/// How often the stage is looked at while a step waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Log lines of each function that are shown when a scenario did not end as expected.
const LOG_LINES: usize = 40;

/// How to play.
#[derive(Clone)]
pub struct Play {
    /// What Snapback consists of.
    pub wiring: Arc<Wiring>,
    /// Folder of the function binaries.
    pub functions: PathBuf,
    /// How long an AWS minute lasts.
    pub minute: Duration,
    /// SQLite file of the table; `None`: in memory.
    pub store: Option<PathBuf>,
    /// Functions of Snapback that are switched off from the beginning; for showing that a rehearsal can fail.
    pub without: Vec<String>,
    /// Takes the timeline.
    pub audience: Audience,
}

/// Plays `scenario` to its end and compares.
pub async fn play(scenario: &Scenario, how: &Play) -> Report {
    let began = Instant::now();
    let elapsed = || i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let config = StageConfig { minute: how.minute, port: None, store: how.store.clone() };
    let aws = match EmbeddedAws::start(config, how.functions.clone()).await {
        Ok(aws) => aws,
        Err(error) => return Report::failed(scenario, error.to_string(), elapsed()),
    };
    let mut report = match on_stage(&aws, scenario, how).await {
        Ok(ended) => {
            ended.workload.stop().await;
            report(&aws, scenario, ended, elapsed())
        }
        Err(error) => Report::failed(scenario, error.to_string(), elapsed()),
    };
    if !report.ok {
        report.problems.extend(logs(&aws, &how.wiring));
    }
    aws.shutdown().await;
    report.duration_ms = elapsed();
    report
}

/// A scenario after its last step.
pub(super) struct Ended {
    pub(super) workload: Workload,
    /// Id of the last deployment that somebody started.
    pub(super) deployment: String,
    /// Its target version.
    pub(super) version: String,
    /// What did not come about.
    pub(super) problems: Vec<String>,
}

async fn on_stage(aws: &EmbeddedAws, scenario: &Scenario, how: &Play) -> Result<Ended, InstallError> {
    let deadline = deadline_of(scenario);
    aws.stage.access.iam().enforce(how.wiring.authority.clone());
    let topic = install::snapback(aws, &how.wiring, &how.functions, deadline).await?;
    let policy = policy(scenario, &topic);
    let service = install::service(aws, &how.wiring, &how.functions, scenario, &policy).await?;
    let config = WorkloadConfig {
        function: SERVICE.to_owned(),
        alias: ALIAS.to_owned(),
        requests_per_second: scenario.load,
        payload: json!({"path": "/checkout"}),
        slow_above: scenario.slow_above.map_or(SLOW_ABOVE, |span| span.0),
    };
    let workload = Workload::start(aws.lambda.clone(), config);
    let opened_ms = aws.stage.clock.now_ms();
    let mut actors =
        Actors { aws, service, how, scenario, opened_ms, faults: Vec::new(), last: None, problems: Vec::new() };
    for function in &how.without {
        actors.break_function(function, FunctionFault::Fail)?;
    }
    let watcher = Watcher::new(aws, &workload, &scenario.name, &how.audience, opened_ms).run();
    tokio::select! {
        () = watcher => {}
        result = actors.act(&workload) => result?,
    }
    let (deployment, version) = actors.last.unwrap_or_default();
    let problems = actors.problems;
    Ok(Ended { workload, deployment, version, problems })
}

/// The policy's deadline decides the time-out of the hook function.
fn deadline_of(scenario: &Scenario) -> Duration {
    let policy = policy(scenario, "");
    let text = policy.pointer("/before_traffic/deadline").and_then(Value::as_str).unwrap_or("10s");
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

struct Actors<'a> {
    aws: &'a EmbeddedAws,
    service: install::Service,
    how: &'a Play,
    scenario: &'a Scenario,
    opened_ms: i64,
    faults: Vec<FaultId>,
    /// Deployment id and target version of the last deployment that somebody started.
    last: Option<(String, String)>,
    problems: Vec<String>,
}

impl Actors<'_> {
    async fn act(&mut self, workload: &Workload) -> Result<(), InstallError> {
        let warm_up = self.scenario.warm_up_time();
        let requests = if warm_up.is_some() { 1 } else { WARM_UP_REQUESTS };
        if self.scenario.load > 0.0 && timeout(STEP_MAX, workload.ended(requests)).await.is_err() {
            self.problems.push("the workload did not start".to_owned());
            return Ok(());
        }
        if let Some(warm_up) = warm_up {
            self.say(format!("{} s of traffic before anything happens", warm_up.as_secs()));
            sleep(warm_up).await;
        }
        for step in &self.scenario.steps {
            if let Err(why) = self.step(step).await? {
                self.problems.push(why);
                return Ok(());
            }
        }
        if let Err(why) = self.wait(Moment::Closed).await {
            self.problems.push(why);
        }
        Ok(())
    }

    fn say(&self, text: String) {
        let at_ms = self.aws.stage.clock.now_ms() - self.opened_ms;
        (self.how.audience)(&self.scenario.name, Line { at_ms, who: "rehearsal", text });
    }

    /// Carries a step out; the inner error is a moment that never came.
    async fn step(&mut self, step: &Step) -> Result<Result<(), String>, InstallError> {
        match step {
            Step::Deploy(name) => {
                let version = self.service.versions.get(name).cloned().unwrap_or_default();
                self.say(format!("somebody deploys version {version} ({name})"));
                if let Err(why) = self.group_is_free().await {
                    return Ok(Err(why));
                }
                let id = install::deploy(self.aws, &self.how.wiring, self.scenario, &version).await?;
                self.say(format!("deployment {id} is created"));
                self.last = Some((id, version));
            }
            Step::Wait(moment) => return Ok(self.wait(*moment).await),
            Step::Break(fault) => self.break_something(fault)?,
            Step::Mend(what) => self.mend(*what)?,
            Step::MendAll => self.mend_all()?,
            Step::StopWithoutRollback => {
                self.say("somebody stops the deployment without rollback".to_owned());
                let id = self.last.clone().unwrap_or_default().0;
                let input = json!({"deploymentId": id, "autoRollbackEnabled": false});
                install::codedeploy(self.aws, "StopDeployment", input).await?;
            }
            Step::RepairAlias(name) => {
                let version = self.service.versions.get(name).cloned().unwrap_or_default();
                self.say(format!("somebody sends all traffic to version {version} ({name})"));
                let routing = AliasRouting { version, additional: None };
                self.aws.lambda.route(SERVICE, ALIAS, routing).map_err(InstallError::api("the alias"))?;
            }
            Step::Operate(verb) => return Ok(self.operate(*verb).await),
            Step::Pause => return Ok(self.run_snapback(&["pause"]).await),
            Step::WaitForRed(alarm) => {
                let names = [alarm.clone()];
                let is_red = || self.aws.cloudwatch.read(&names).iter().any(|reading| reading.state == "ALARM");
                return Ok(until(&format!("alarm {alarm} to go red"), is_red).await);
            }
            Step::Calm(seconds) => sleep(Duration::from_secs(u64::from(*seconds))).await,
        }
        Ok(Ok(()))
    }

    async fn operate(&self, verb: Verb) -> Result<(), String> {
        let (id, _) = self.last.clone().unwrap_or_default();
        let verb = match verb {
            Verb::Promote => "promote",
            Verb::Rollback => "rollback",
        };
        self.run_snapback(&[verb, &id]).await
    }

    /// Runs the command line as a person would, against the stage.
    async fn run_snapback(&self, arguments: &[&str]) -> Result<(), String> {
        let words = format!("snapback {}", arguments.join(" "));
        self.say(format!("somebody runs: {words} --why rehearsal"));
        let mut command = tokio::process::Command::new(self.how.functions.join("snapback"));
        command.args(arguments).args(["--why", "rehearsal", "--who", "somebody", "--table", install::TABLE]);
        command.env("AWS_ENDPOINT_URL", self.aws.stage.endpoint()).env("AWS_REGION", REGION);
        command.env("AWS_ACCESS_KEY_ID", OPERATOR).env("AWS_SECRET_ACCESS_KEY", "none").env_remove("AWS_PROFILE");
        command.kill_on_drop(true);
        let output = timeout(STEP_MAX, command.output()).await;
        let output = output.map_err(|_| format!("{words} did not end"))?.map_err(|error| {
            format!("{words} did not start ({error}); it is looked for beside the function binaries")
        })?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{words} ended with {}: {said}", output.status)) }
    }

    /// CodeDeploy runs one deployment per group: a new one has to wait for a rollback that is on its way.
    async fn group_is_free(&self) -> Result<(), String> {
        until("the group to be free", || self.aws.stage.codedeploy.truth().iter().all(|truth| truth.status.is_final()))
            .await
    }

    async fn wait(&self, moment: Moment) -> Result<(), String> {
        let Some((id, _)) = &self.last else { return Err("nothing has been deployed yet".to_owned()) };
        let truth = || self.aws.stage.codedeploy.truth_of(id);
        let event = |truth: &DeploymentTruth, name: &str| {
            truth.events.iter().any(|event| event.name == name && event.started_ms.is_some())
        };
        let what = format!("{moment:?} of deployment {id}");
        match moment {
            Moment::ShiftStarted => until(&what, || truth().is_some_and(|truth| event(&truth, "AllowTraffic"))).await,
            Moment::BakeStarted => {
                let database = self.aws.stage.dynamodb.database();
                until(&what, || table::item(&table::deployment(&database, id), "HOOK#AfterAllowTraffic").is_some())
                    .await
            }
            Moment::Held => {
                let database = self.aws.stage.dynamodb.database();
                until(&what, || is_held(&table::deployment(&database, id))).await
            }
            Moment::RolledBack => until(&what, || truth().is_some_and(|truth| self.is_rolled_back(&truth))).await,
            Moment::Ended => until(&what, || truth().is_some_and(|truth| truth.status.is_final())).await,
            Moment::Closed => {
                let database = self.aws.stage.dynamodb.database();
                until(&what, || is_closed(&table::deployment(&database, id))).await
            }
        }
    }

    fn is_rolled_back(&self, truth: &DeploymentTruth) -> bool {
        let rollback = truth.rollback_deployment.as_deref().and_then(|id| self.aws.stage.codedeploy.truth_of(id));
        truth.restored_ms.is_some() && rollback.is_some_and(|rollback| rollback.status.is_final())
    }

    fn break_something(&mut self, fault: &Fault) -> Result<(), InstallError> {
        self.say(format!("breaks: {fault:?}"));
        match fault {
            Fault::Function { name, does } => self.break_function(name, *does)?,
            Fault::DiesAtCall { function, action } => self.kill_at_call(function, action),
            Fault::Calls { by, action, does } => {
                let effect = match does {
                    CallFault::Deny => Effect::Deny,
                    CallFault::Throttle => Effect::Throttle,
                    CallFault::Fail => Effect::Fail5xx,
                    CallFault::Hang => Effect::Hang,
                };
                let principal = (by != "all").then(|| by.clone());
                let _until_mended = self.aws.stage.access.add(Rule { principal, action: action.clone(), effect });
            }
            Fault::Events { detail_type, does } => {
                let does = match does {
                    EventFault::Lose => DeliveryFault::Drop,
                    EventFault::Double => DeliveryFault::Double,
                    EventFault::Reorder => DeliveryFault::Reorder,
                    EventFault::Delay => DeliveryFault::Delay(Duration::from_secs(3)),
                };
                let hits = FaultMatch { detail_type: Some(detail_type.clone()), ..FaultMatch::default() };
                self.faults.push(self.aws.stage.bus.add_fault(hits, does));
            }
            Fault::Dependency { fails, answer } => {
                let dependency = json!({"fails": fails, "answer": answer});
                let told = [("dependency".to_owned(), dependency)].into_iter().collect();
                self.aws.lambda.tell_events(SERVICE, told).map_err(InstallError::api(SERVICE))?;
            }
            Fault::Metrics { namespace, late } => self.aws.cloudwatch.set_late(namespace, late.0, LATE_SPREAD),
        }
        Ok(())
    }

    fn mend(&self, what: Mendable) -> Result<(), InstallError> {
        self.say(format!("works again: {what:?}"));
        self.mend_quietly(what)
    }

    fn mend_quietly(&self, what: Mendable) -> Result<(), InstallError> {
        match what {
            Mendable::Dependency => {
                self.aws.lambda.tell_events(SERVICE, serde_json::Map::new()).map_err(InstallError::api(SERVICE))?;
            }
            Mendable::Metrics => self.aws.cloudwatch.end_late(),
        }
        Ok(())
    }

    fn break_function(&self, name: &str, does: FunctionFault) -> Result<(), InstallError> {
        let fault = match does {
            FunctionFault::Panic => return self.replace_by_panic(name),
            FunctionFault::CannotStart => lambda::Fault::CannotStart,
            FunctionFault::Freeze => lambda::Fault::Freeze,
            FunctionFault::Fail => lambda::Fault::FailAll,
            FunctionFault::Ignore => lambda::Fault::Ignore,
            FunctionFault::DenyDestination => lambda::Fault::DenyDestination,
        };
        for function in self.names_of(name) {
            self.aws.lambda.set_fault(function, fault, true).map_err(InstallError::api(function))?;
            // What runs already must not go on as if nothing had happened.
            if matches!(does, FunctionFault::Fail | FunctionFault::Ignore) {
                self.aws.lambda.kill_running(function).map_err(InstallError::api(function))?;
            }
        }
        Ok(())
    }

    /// Names in AWS of a function of Snapback by its binary, or of all of them.
    fn names_of(&self, name: &str) -> impl Iterator<Item = &str> {
        let functions = self.how.wiring.functions.iter();
        functions
            .filter(move |function| name == "all" || function.binary == name)
            .map(|function| function.name.as_str())
    }

    /// The demo application runs in the function's place, and panics: Lambda's runtime has to turn that into an error.
    fn replace_by_panic(&self, name: &str) -> Result<(), InstallError> {
        for function in self.names_of(name) {
            let environment = [("DEMO_PANIC".to_owned(), "true".to_owned())].into();
            let change = ConfigurationChange { environment: Some(environment), ..ConfigurationChange::default() };
            self.aws.lambda.update_configuration(function, change).map_err(InstallError::api(function))?;
            let code = self.how.functions.join("demo-app");
            self.aws.lambda.update_code(function, code, None).map_err(InstallError::api(function))?;
        }
        Ok(())
    }

    /// The function's process is killed in the moment of the call, which is never carried out.
    fn kill_at_call(&self, function: &str, action: &str) {
        let lambda = self.aws.lambda.clone();
        let name = self.how.wiring.function(function).map(|function| function.name.clone());
        let kill = move |_: &str, _: &str| {
            if let Some(name) = &name
                && let Err(error) = lambda.kill_running(name)
            {
                tracing::warn!(name, %error, "not killed");
            }
            Some(Effect::Hang)
        };
        let _until_mended = self.aws.stage.access.before(Some(function), action, Arc::new(kill));
    }

    fn mend_all(&mut self) -> Result<(), InstallError> {
        self.say("everything works again".to_owned());
        self.aws.stage.access.clear();
        for id in self.faults.drain(..) {
            self.aws.stage.bus.remove_fault(id);
        }
        self.mend_quietly(Mendable::Dependency)?;
        self.mend_quietly(Mendable::Metrics)?;
        let all = [
            lambda::Fault::CannotStart,
            lambda::Fault::Freeze,
            lambda::Fault::FailAll,
            lambda::Fault::Ignore,
            lambda::Fault::DenyDestination,
        ];
        for function in self.names_of("all") {
            for fault in all {
                self.aws.lambda.set_fault(function, fault, false).map_err(InstallError::api(function))?;
            }
        }
        Ok(())
    }
}

fn is_held(items: &[serde_json::Map<String, Value>]) -> bool {
    table::item(items, "STATE").and_then(|state| state.get(attr::WAS_HELD)) == Some(&Value::Bool(true))
}

/// Closed, all notices sent, out of the index of live deployments.
fn is_closed(items: &[serde_json::Map<String, Value>]) -> bool {
    table::item(items, "STATE")
        .is_some_and(|state| state.contains_key(attr::CLOSED_MS) && !state.contains_key(attr::LIVE_PK))
}

async fn until(what: &str, is_true: impl Fn() -> bool) -> Result<(), String> {
    let wait = async {
        while !is_true() {
            sleep(LOOK_EVERY).await;
        }
    };
    let waited = timeout(STEP_MAX, wait).await;
    waited.map_err(|_| format!("waited {} s in vain for {what}", STEP_MAX.as_secs()))
}

/// The last words of each function, for whoever has to find out why.
fn logs(aws: &EmbeddedAws, wiring: &Wiring) -> Vec<String> {
    let mut lines = Vec::new();
    for function in wiring.functions.iter().map(|function| function.name.as_str()) {
        let log = aws.lambda.log(function);
        let skip = log.len().saturating_sub(LOG_LINES);
        let said = log.into_iter().skip(skip).filter(|line| !line.text.contains("\"_aws\""));
        lines.extend(said.map(|line| format!("log of {function}: {}", line.text)));
    }
    lines
}
