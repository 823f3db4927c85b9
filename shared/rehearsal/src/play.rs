//! Plays one scenario.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use snapback_wire::record::attr;
use tokio::time::{Instant, sleep, timeout};

use crate::alarms::PERIOD_S;
use crate::fault::{CallFault, EventFault, Fault, Fixable, FunctionFault};
use crate::install::{self, ALIAS, InstallError, Versions};
use crate::policy::policy;
use crate::report::{Report, report};
use crate::scenario::{Moment, Of, PolicyPreset, Rate, Scenario, Service, Step, Verb, Version};
use crate::table;
use crate::timeline::{Audience, Line, Watcher};
use crate::wiring::Wiring;
use snapback_emulator::EmulatorConfig;
use snapback_emulator::access::{Effect, Rule};
use snapback_emulator::codedeploy::DeploymentTruth;
use snapback_emulator::event_bus::{DeliveryFault, FaultId, FaultMatch};
use snapback_emulator::lambda::{self, ConfigurationChange};
use snapback_emulator::parts::{AlarmReader, AliasRouting, LambdaControl, REGION};
use snapback_emulator::workload::{ApiStage, Workload, WorkloadConfig};
use snapback_emulator::{Emulator, OPERATOR};

/// Longest that a step may wait for its moment.
const STEP_MAX: Duration = Duration::from_secs(180);
/// A request that takes longer harms its customer. Above a cold start, below the slow versions.
const SLOW_ABOVE: Duration = Duration::from_millis(600);
/// Late points of one second come one after the other within this time.
const LATE_SPREAD: Duration = Duration::from_millis(1500);
/// Traffic before the first step, so that alarms have seen a healthy service.
const WARM_UP_REQUESTS: usize = 40;
/// Where alarms alone decide, a deployment is created this far into their period, or a little later, and traffic begins to shift about a
/// second after that: the datapoint in which the shift begins does not count, and so soon before its end it says little anyway.
const CREATED_INTO_PERIOD_MS: i64 = 8300;
const CREATED_WITHIN_MS: i64 = 300;
/// Traffic that this datapoint has at least, so that a few requests are no rate.
const TRAFFIC_IN_PERIOD_MS: i64 = 5000;
/// How often the emulator is looked at while a step waits for it.
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
    let functions = Some(how.functions.clone());
    let config = EmulatorConfig { minute: how.minute, port: None, store: how.store.clone(), functions };
    let aws = match Emulator::start(config).await {
        Ok(aws) => aws,
        Err(error) => return Report::failed(scenario, error.to_string(), elapsed()),
    };
    let mut report = match on_emulator(&aws, scenario, how).await {
        Ok(ended) => {
            for playing in &ended.playing {
                playing.workload.stop().await;
            }
            report(&aws, scenario, &ended, elapsed())
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

/// A service on the emulator, with its customers.
pub(crate) struct Playing<'a> {
    pub(crate) service: &'a Service,
    pub(crate) versions: Versions,
    pub(crate) workload: Workload,
}

/// A deployment that somebody started.
#[derive(Debug, Clone)]
pub(crate) struct Deployed {
    /// Name of the service.
    pub(crate) service: String,
    pub(crate) id: String,
    /// Its target version.
    pub(crate) version: String,
}

/// A scenario after its last step.
pub(crate) struct Ended<'a> {
    pub(crate) playing: Vec<Playing<'a>>,
    /// In the order in which they were started.
    pub(crate) deployed: Vec<Deployed>,
    /// What did not come about.
    pub(crate) problems: Vec<String>,
}

async fn on_emulator<'a>(aws: &Emulator, scenario: &'a Scenario, how: &Play) -> Result<Ended<'a>, InstallError> {
    aws.access.iam().enforce(how.wiring.authority.clone());
    let topic = install::snapback(aws, &how.wiring, &how.functions, deadline_of(scenario)).await?;
    let mut playing = Vec::new();
    for service in &scenario.services {
        let policy = policy(service, &topic);
        let versions = install::service(aws, &how.wiring, &how.functions, service, &policy).await?;
        let config = WorkloadConfig {
            function: service.function.clone(),
            alias: ALIAS.to_owned(),
            requests_per_second: service.load,
            payload: json!({"path": "/checkout"}),
            slow_above: service.slow_above.map_or(SLOW_ABOVE, |span| span.0),
        };
        let api = service.api.clone().map(|name| ApiStage {
            name,
            stage: install::API_STAGE.to_owned(),
            sink: aws.cloudwatch.clone(),
        });
        let workload = Workload::start_behind(aws.lambda.clone(), config, api);
        playing.push(Playing { service, versions, workload });
    }
    let opened_ms = aws.clock.now_ms();
    let faults = Vec::new();
    let mut actors =
        Actors { aws, playing: &playing, how, scenario, opened_ms, faults, deployed: Vec::new(), problems: Vec::new() };
    for function in &how.without {
        actors.break_function(function, FunctionFault::Fail)?;
    }
    let watcher = Watcher::new(aws, &playing, &scenario.name, &how.audience, opened_ms).run();
    tokio::select! {
        () = watcher => {}
        result = actors.act() => result?,
    }
    let Actors { deployed, problems, .. } = actors;
    Ok(Ended { playing, deployed, problems })
}

/// The policies' deadlines decide the time-out of the hook function: the longest of them.
fn deadline_of(scenario: &Scenario) -> Duration {
    let deadlines = scenario.services.iter().map(|service| {
        let policy = policy(service, "");
        let text = policy.pointer("/before_traffic/deadline").and_then(Value::as_str).unwrap_or("10s");
        let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
        Duration::from_secs(seconds.unwrap_or(10))
    });
    deadlines.max().unwrap_or_default()
}

struct Actors<'a> {
    aws: &'a Emulator,
    playing: &'a [Playing<'a>],
    how: &'a Play,
    scenario: &'a Scenario,
    opened_ms: i64,
    faults: Vec<FaultId>,
    deployed: Vec<Deployed>,
    problems: Vec<String>,
}

impl Actors<'_> {
    async fn act(&mut self) -> Result<(), InstallError> {
        let warm_up = self.scenario.warm_up_time();
        let requests = if warm_up.is_some() { 1 } else { WARM_UP_REQUESTS };
        for playing in self.playing.iter().filter(|playing| playing.service.load > 0.0) {
            if timeout(STEP_MAX, playing.workload.ended(requests)).await.is_err() {
                self.problems.push(format!("the workload of {} did not start", playing.service.name));
                return Ok(());
            }
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
        for playing in self.playing {
            let Some(last) = self.last_of(&playing.service.name) else { continue };
            if let Err(why) = self.wait_for(Moment::Closed, &last.id).await {
                self.problems.push(why);
            }
        }
        Ok(())
    }

    fn say(&self, text: String) {
        let at_ms = self.aws.clock.now_ms() - self.opened_ms;
        (self.how.audience)(&self.scenario.name, Line { at_ms, who: "rehearsal", text });
    }

    /// The service that a step is about. The scenario's parser has seen to it that it exists.
    fn playing(&self, name: Option<&str>) -> Result<&Playing<'_>, InstallError> {
        let service = self.scenario.service(name).map(|service| service.name.as_str());
        let playing = self.playing.iter().find(|playing| Some(playing.service.name.as_str()) == service);
        playing.ok_or_else(|| InstallError::Refused {
            what: "a step".to_owned(),
            why: format!("there is no service `{}`", name.unwrap_or_default()),
        })
    }

    /// The last deployment of a service.
    fn last_of(&self, service: &str) -> Option<&Deployed> {
        self.deployed.iter().rfind(|deployed| deployed.service == service)
    }

    /// The deployment that a step is about: the last one, or the last one of the service that it names.
    fn meant(&self, service: Option<&str>) -> Result<&Deployed, String> {
        let found = service.map_or_else(|| self.deployed.last(), |service| self.last_of(service));
        found.ok_or_else(|| "nothing has been deployed yet".to_owned())
    }

    /// Carries a step out; the inner error is a moment that never came.
    async fn step(&mut self, step: &Step) -> Result<Result<(), String>, InstallError> {
        match step {
            Step::Deploy(of) => return self.deploy(of).await,
            Step::Wait(of) => {
                return Ok(match self.meant(of.service.as_deref()) {
                    Ok(deployed) => self.wait_for(of.what, &deployed.id).await,
                    Err(why) => Err(why),
                });
            }
            Step::Break(fault) => self.break_something(fault)?,
            Step::Fix(what) => self.fix(*what)?,
            Step::FixAll => self.fix_all()?,
            Step::StopWithoutRollback => {
                self.say("somebody stops the deployment without rollback".to_owned());
                let id = self.deployed.last().map(|deployed| deployed.id.clone()).unwrap_or_default();
                let input = json!({"deploymentId": id, "autoRollbackEnabled": false});
                install::codedeploy(self.aws, "StopDeployment", input).await?;
            }
            Step::RepairAlias(of) => {
                let playing = self.playing(of.service.as_deref())?;
                let (version, said) = version_of(playing, &of.what);
                self.say(format!("somebody sends all traffic to version {version} ({said})"));
                let routing = AliasRouting { version, additional: None };
                let function = &playing.service.function;
                self.aws.lambda.route(function, ALIAS, routing).map_err(InstallError::api("the alias"))?;
            }
            Step::Operate(of) => return Ok(self.operate(of).await),
            Step::Load(of) => {
                let playing = self.playing(of.service.as_deref())?;
                let Rate(rate) = of.what;
                self.say(format!("{rate} requests a second come to {} from now on", playing.service.name));
                playing.workload.set_rate(rate);
            }
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

    async fn deploy(&mut self, of: &Of<Version>) -> Result<Result<(), String>, InstallError> {
        let playing = self.playing(of.service.as_deref())?;
        let (version, said) = version_of(playing, &of.what);
        let whose = if self.playing.len() > 1 { format!(" of {}", playing.service.name) } else { String::new() };
        self.say(format!("somebody deploys version {version} ({said}){whose}"));
        if let Err(why) = self.group_is_free(&playing.service.name).await {
            return Ok(Err(why));
        }
        if playing.service.policy_preset == PolicyPreset::Alarms {
            sleep(until_created(self.aws.clock.now_ms(), self.opened_ms)).await;
        }
        let id = install::deploy(self.aws, &self.how.wiring, playing.service, &version).await?;
        self.say(format!("deployment {id} is created"));
        let service = playing.service.name.clone();
        self.deployed.push(Deployed { service, id, version });
        Ok(Ok(()))
    }

    async fn operate(&self, of: &Of<Verb>) -> Result<(), String> {
        let deployed = self.meant(of.service.as_deref())?;
        let verb = match of.what {
            Verb::Promote => "promote",
            Verb::Rollback => "rollback",
        };
        self.run_snapback(&[verb, &deployed.id]).await
    }

    /// Runs the command line as a person would, against the emulator.
    async fn run_snapback(&self, arguments: &[&str]) -> Result<(), String> {
        let words = format!("snapback {}", arguments.join(" "));
        self.say(format!("somebody runs: {words} --why rehearsal"));
        let mut command = tokio::process::Command::new(self.how.functions.join("snapback"));
        command.args(arguments).args(["--why", "rehearsal", "--who", "somebody", "--table", install::TABLE]);
        command.env("AWS_ENDPOINT_URL", self.aws.endpoint()).env("AWS_REGION", REGION);
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
    async fn group_is_free(&self, service: &str) -> Result<(), String> {
        let is_over = |truth: &DeploymentTruth| truth.application != service || truth.status.is_final();
        until("the group to be free", || self.aws.codedeploy.truth().iter().all(is_over)).await
    }

    async fn wait_for(&self, moment: Moment, id: &str) -> Result<(), String> {
        let truth = || self.aws.codedeploy.truth_of(id);
        let event = |truth: &DeploymentTruth, name: &str| {
            truth.events.iter().any(|event| event.name == name && event.started_ms.is_some())
        };
        let what = format!("{moment:?} of deployment {id}");
        match moment {
            Moment::ShiftStarted => until(&what, || truth().is_some_and(|truth| event(&truth, "AllowTraffic"))).await,
            Moment::BakeStarted => {
                let database = self.aws.dynamodb.database();
                until(&what, || table::item(&table::deployment(&database, id), "HOOK#AfterAllowTraffic").is_some())
                    .await
            }
            Moment::Held => {
                let database = self.aws.dynamodb.database();
                until(&what, || is_held(&table::deployment(&database, id))).await
            }
            Moment::RolledBack => until(&what, || truth().is_some_and(|truth| self.is_rolled_back(&truth))).await,
            Moment::Ended => until(&what, || truth().is_some_and(|truth| truth.status.is_final())).await,
            Moment::Closed => {
                let database = self.aws.dynamodb.database();
                until(&what, || is_closed(&table::deployment(&database, id))).await
            }
        }
    }

    fn is_rolled_back(&self, truth: &DeploymentTruth) -> bool {
        let rollback = truth.rollback_deployment.as_deref().and_then(|id| self.aws.codedeploy.truth_of(id));
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
                let _until_fixed = self.aws.access.add(Rule { principal, action: action.clone(), effect });
            }
            Fault::Events { detail_type, does } => {
                let does = match does {
                    EventFault::Lose => DeliveryFault::Drop,
                    EventFault::Double => DeliveryFault::Double,
                    EventFault::Reorder => DeliveryFault::Reorder,
                    EventFault::Delay => DeliveryFault::Delay(Duration::from_secs(3)),
                };
                let hits = FaultMatch { detail_type: Some(detail_type.clone()), ..FaultMatch::default() };
                self.faults.push(self.aws.bus.add_fault(hits, does));
            }
            Fault::Dependency { fails, answer } => {
                let dependency = json!({"fails": fails, "answer": answer});
                let told = [("dependency".to_owned(), dependency)].into_iter().collect();
                self.tell_events(&told)?;
            }
            Fault::Metrics { namespace, late, version: None } => {
                self.aws.cloudwatch.set_late(namespace, late.0, LATE_SPREAD);
            }
            Fault::Metrics { namespace, late, version: Some(said) } => {
                let version = version_of(self.playing(None)?, &Version(said.clone())).0;
                let dimension = ("ExecutedVersion", version.as_str());
                self.aws.cloudwatch.set_late_series(namespace, dimension, late.0, LATE_SPREAD);
            }
        }
        Ok(())
    }

    /// From now on the events of every service say this of the world outside.
    fn tell_events(&self, told: &Map<String, Value>) -> Result<(), InstallError> {
        for function in self.playing.iter().map(|playing| playing.service.function.as_str()) {
            self.aws.lambda.tell_events(function, told.clone()).map_err(InstallError::api(function))?;
        }
        Ok(())
    }

    fn fix(&self, what: Fixable) -> Result<(), InstallError> {
        self.say(format!("works again: {what:?}"));
        self.fix_quietly(what)
    }

    fn fix_quietly(&self, what: Fixable) -> Result<(), InstallError> {
        match what {
            Fixable::Dependency => self.tell_events(&Map::new())?,
            Fixable::Metrics => self.aws.cloudwatch.end_late(),
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
        let _until_fixed = self.aws.access.before(Some(function), action, Arc::new(kill));
    }

    fn fix_all(&mut self) -> Result<(), InstallError> {
        self.say("everything works again".to_owned());
        self.aws.access.clear();
        for id in self.faults.drain(..) {
            self.aws.bus.remove_fault(id);
        }
        self.fix_quietly(Fixable::Dependency)?;
        self.fix_quietly(Fixable::Metrics)?;
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

/// How long from `now_ms` until a deployment may be created where customers came at `opened_ms` (both since 1970).
fn until_created(now_ms: i64, opened_ms: i64) -> Duration {
    let period_ms = i64::from(PERIOD_S) * 1000;
    let begins_ms = now_ms - now_ms.rem_euclid(period_ms);
    let has_traffic = begins_ms + period_ms - opened_ms >= TRAFFIC_IN_PERIOD_MS;
    let is_late = now_ms > begins_ms + CREATED_INTO_PERIOD_MS + CREATED_WITHIN_MS;
    let begins_ms = if has_traffic && !is_late { begins_ms } else { begins_ms + period_ms };
    Duration::from_millis(u64::try_from(begins_ms + CREATED_INTO_PERIOD_MS - now_ms).unwrap_or_default())
}

/// Number of a version of the scenario, and its name there.
fn version_of<'a>(playing: &Playing<'_>, version: &'a Version) -> (String, &'a str) {
    (playing.versions.get(&version.0).cloned().unwrap_or_default(), &version.0)
}

fn is_held(items: &[Map<String, Value>]) -> bool {
    table::item(items, "STATE").and_then(|state| state.get(attr::WAS_HELD)) == Some(&Value::Bool(true))
}

/// Closed, all notices sent, out of the index of live deployments.
fn is_closed(items: &[Map<String, Value>]) -> bool {
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
fn logs(aws: &Emulator, wiring: &Wiring) -> Vec<String> {
    let mut lines = Vec::new();
    for function in wiring.functions.iter().map(|function| function.name.as_str()) {
        let log = aws.lambda.log(function);
        let skip = log.len().saturating_sub(LOG_LINES);
        let said = log.into_iter().skip(skip).filter(|line| !line.text.contains("\"_aws\""));
        lines.extend(said.map(|line| format!("log of {function}: {}", line.text)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_created_late_in_a_period_of_the_alarms() {
        const BEGIN: i64 = 1_795_169_700_000;
        // (now, since when there are customers, wait), all in milliseconds.
        let table = [
            ("early", 0, -60_000, 8300),
            ("just before", 8299, -60_000, 1),
            ("in time", 8300, -60_000, 0),
            ("a little later", 8600, -60_000, 0),
            ("too late", 8601, -60_000, 9699),
            ("enough traffic by its end", 5500, 5000, 2800),
            ("too little traffic by its end", 5500, 5001, 12_800),
        ];
        for (case, now, opened, wait_ms) in table {
            assert_eq!(until_created(BEGIN + now, BEGIN + opened), Duration::from_millis(wait_ms), "{case}");
        }
    }
}
