//! Carries deployments out: lifecycle events, hooks, traffic, alarms, stops and rollbacks.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::app_spec::{AppSpec, Resource};
use super::create::NewDeployment;
use super::model::{Deployment, EventStatus, LastDeployment, ON_ALARM, ON_FAILURE, ON_REQUEST, Platform, Status};
use super::truth::{HookInvocation, StopTruth, WeightChange};
use super::{CodeDeploy, PRINCIPAL, State, config};
use crate::access::not_authorized;
use crate::iam::Ask;
use crate::parts::{ACCOUNT, AliasRouting, REGION};

/// From `Created` to `InProgress` (real time).
const START_DELAY: Duration = Duration::from_millis(300);
/// Between two lifecycle events (real time).
const EVENT_GAP: Duration = Duration::from_millis(100);
/// From the start to the first look at the alarms (real time); the first hook has been invoked by then.
const FIRST_POLL: Duration = Duration::from_millis(300);
/// From a stop that was answered `Pending` to `Stopped` (real time).
const STOP_DELAY: Duration = Duration::from_millis(500);
/// Each half of a rollback deployment: until the alias is restored, and until it is over (real time).
const ROLLBACK_HALF: Duration = Duration::from_millis(500);
/// Between two looks at the alarms of a group (AWS time). The documentation says that CodeDeploy reads them
/// (`ignorePollAlarmFailure`, its role's permission for DescribeAlarms), but not how often: this is ours.
pub const POLL_EVERY: Duration = Duration::from_secs(10);
/// Shortest wait between two looks, however fast the emulator's minute is.
const POLL_EVERY_MIN: Duration = Duration::from_millis(50);
/// A hook that nobody answers fails after this (AWS time).
const HOOK_TIMEOUT: Duration = Duration::from_secs(3600);

/// How a deployment ends.
#[derive(Debug, Clone)]
enum End {
    Succeeded,
    Failed(Failure),
    Stopped { by_alarm: bool, failure: Failure },
}

/// `errorInformation` of a deployment.
#[derive(Debug, Clone)]
struct Failure {
    code: &'static str,
    message: String,
}

fn failure(code: &'static str, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

fn manual_stop() -> End {
    End::Stopped { by_alarm: false, failure: failure("MANUAL_STOP", "The deployment was stopped by a user request") }
}

impl End {
    /// Status of the deployment and state of its event.
    fn names(&self) -> (Status, &'static str) {
        match self {
            Self::Succeeded => (Status::Succeeded, "SUCCESS"),
            Self::Failed(_) => (Status::Failed, "FAILURE"),
            Self::Stopped { .. } => (Status::Stopped, "STOP"),
        }
    }
}

impl CodeDeploy {
    /// Starts the task of deployment `id`.
    pub(super) fn launch(&self, id: String) {
        self.inner.around.tasks.spawn(self.clone().run(id));
    }

    async fn run(self, id: String) {
        // A stop wins over everything that happens at the same time.
        let end = tokio::select! {
            biased;
            stopped = self.stopped(&id) => stopped,
            alarmed = self.alarmed(&id) => alarmed,
            ended = self.carry_out(&id) => ended,
        };
        self.finish(&id, end);
    }

    async fn carry_out(&self, id: &str) -> End {
        tokio::time::sleep(START_DELAY).await;
        let now_ms = self.now_ms();
        let start = self.change(id, |deployment| {
            deployment.status = Status::InProgress;
            deployment.started_ms = Some(now_ms);
            (deployment.platform, deployment.is_rollback)
        });
        let Some((platform, is_rollback)) = start else {
            return std::future::pending().await;
        };
        self.publish(id, "START");
        let carried_out = match (platform, is_rollback) {
            (Platform::Lambda, true) => self.restore(id).await,
            (Platform::Lambda, false) => self.deploy_lambda(id).await,
            (Platform::Ecs | Platform::Server, _) => self.deploy_elsewhere(id, platform).await,
        };
        let end = carried_out.map_or_else(End::Failed, |()| End::Succeeded);
        // Accepted while the last step ran: the stop still decides how it ends.
        let stopping = self.with_state(|state| state.deployments.get(id).is_some_and(|found| found.stop.is_some()));
        if stopping { std::future::pending().await } else { end }
    }

    async fn deploy_lambda(&self, id: &str) -> Result<(), Failure> {
        self.check_configuration(id)?;
        for event in Platform::Lambda.lifecycle() {
            if *event == "AllowTraffic" {
                self.allow_traffic(id).await?;
            } else {
                self.run_hook(id, event).await?;
            }
            tokio::time::sleep(EVENT_GAP).await;
        }
        Ok(())
    }

    /// ECS runs its hooks up to the traffic, EC2 nothing: there is no traffic on the emulator but Lambda's, so both stay in
    /// progress until somebody stops them.
    async fn deploy_elsewhere(&self, id: &str, platform: Platform) -> Result<(), Failure> {
        self.check_readable(id)?;
        for event in platform.lifecycle() {
            if platform == Platform::Server || *event == "AllowTraffic" {
                self.begin_event(id, event, None);
                return std::future::pending().await;
            }
            self.run_hook(id, event).await?;
            tokio::time::sleep(EVENT_GAP).await;
        }
        Ok(())
    }

    fn check_readable(&self, id: &str) -> Result<(), Failure> {
        let unreadable = self.with_state(|state| {
            let spec = state.deployments.get(id)?.spec.as_ref()?;
            spec.as_ref().err().cloned()
        });
        match unreadable {
            Some(words) => Err(failure("INVALID_REVISION", format!("The AppSpec of the revision is invalid: {words}"))),
            None => Ok(()),
        }
    }

    /// The alias must show the AppSpec's current version and nothing else, and the target version must exist.
    fn check_configuration(&self, id: &str) -> Result<(), Failure> {
        self.check_readable(id)?;
        let invalid = |words: String| failure("INVALID_LAMBDA_CONFIGURATION", words);
        let (function, alias, current, target) =
            self.lambda_of(id).ok_or_else(|| invalid("The revision is not for AWS Lambda".to_owned()))?;
        let lambda = &self.inner.around.lambda;
        let routing = lambda.alias(&function, &alias).ok_or_else(|| {
            failure("INVALID_LAMBDA_FUNCTION", format!("Function {function} or its alias {alias} does not exist"))
        })?;
        if routing.version != current {
            let shown = routing.version;
            return Err(invalid(format!(
                "The Lambda function {function} alias version {shown} does not match the current version {current} in AppSpec file"
            )));
        }
        if let Some((second, weight)) = routing.additional {
            return Err(invalid(format!(
                "Alias {alias} of {function} has weight {weight} on version {second}; remove it first"
            )));
        }
        if !lambda.has_version(&function, &target) {
            return Err(invalid(format!("Function {function} has no version {target}")));
        }
        self.change(id, |deployment| deployment.accepted = true);
        Ok(())
    }

    async fn run_hook(&self, id: &str, event: &'static str) -> Result<(), Failure> {
        let function = self.with_state(|state| state.deployments.get(id).and_then(|found| found.hook(event)));
        let Some(function) = function else {
            self.begin_event(id, event, None);
            self.end_event(id, event, EventStatus::Succeeded, None);
            return Ok(());
        };
        let execution_id = execution_id();
        self.begin_event(id, event, Some(&execution_id));
        let invocation = HookInvocation { at_ms: self.now_ms(), event: event.to_owned(), function: function.clone() };
        self.change(id, |deployment| deployment.hook_invocations.push(invocation));
        if let Err(ask) = self.may_invoke(id, &function) {
            let words = not_authorized(&ask);
            self.end_event(id, event, EventStatus::Failed, Some(&words));
            return Err(failure("IAM_ROLE_PERMISSIONS", words));
        }
        let payload = json!({"DeploymentId": id, "LifecycleEventHookExecutionId": execution_id});
        if let Err(error) = self.inner.around.lambda.invoke_async(&function, payload) {
            let words = format!("The hook {function} of {event} could not be invoked: {error}");
            self.end_event(id, event, EventStatus::Failed, Some(&words));
            return Err(failure("HOOK_EXECUTION_FAILURE", words));
        }
        let timeout = self.inner.around.clock.scaled(HOOK_TIMEOUT);
        let answered = self.until(id, |deployment| {
            let status = deployment.lifecycle.iter().find(|found| found.name == event)?.status;
            matches!(status, EventStatus::Succeeded | EventStatus::Failed).then_some(status)
        });
        match tokio::time::timeout(timeout, answered).await {
            Ok(EventStatus::Succeeded) => Ok(()),
            Ok(EventStatus::Pending | EventStatus::InProgress | EventStatus::Failed | EventStatus::Skipped) => {
                Err(failure(
                    "HOOK_EXECUTION_FAILURE",
                    format!("The hook {function} of lifecycle event {event} reported Failed"),
                ))
            }
            Err(_) => {
                let words = format!("The hook {function} of lifecycle event {event} was not answered within an hour");
                self.end_event(id, event, EventStatus::Failed, Some(&words));
                Err(failure("TIMEOUT", words))
            }
        }
    }

    /// Hooks are invoked by the role of the group.
    fn may_invoke(&self, id: &str, function: &str) -> Result<(), Ask> {
        let role = self.with_state(|state| {
            let deployment = state.deployments.get(id)?;
            let key = (deployment.application.clone(), deployment.group.clone());
            state.groups.get(&key).map(|group| group.role_arn.clone())
        });
        let name = function.rsplit_once(":function:").map_or(function, |(_, name)| name);
        let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}");
        let ask = Ask::new(role.unwrap_or_default(), "lambda:InvokeFunction", arn);
        self.inner.around.access.iam().admit(ask)
    }

    async fn allow_traffic(&self, id: &str) -> Result<(), Failure> {
        self.begin_event(id, "AllowTraffic", None);
        let routing = self.with_state(|state| state.deployments.get(id).and_then(|found| found.config.routing));
        for step in routing.unwrap_or(config::Routing::AllAtOnce).steps() {
            self.shift(id, step.percent)?;
            if !step.then_wait.is_zero() {
                tokio::time::sleep(self.inner.around.clock.scaled(step.then_wait)).await;
            }
        }
        self.end_event(id, "AllowTraffic", EventStatus::Succeeded, None);
        Ok(())
    }

    /// Gives the target version `percent` of the traffic.
    fn shift(&self, id: &str, percent: u64) -> Result<(), Failure> {
        let Some((_, _, current, target)) = self.lambda_of(id) else {
            return Ok(());
        };
        let weight = f64::from(u32::try_from(percent).unwrap_or(100)) / 100.0;
        let routing = if percent >= 100 {
            AliasRouting { version: target, additional: None }
        } else {
            AliasRouting { version: current, additional: Some((target, weight)) }
        };
        self.route(id, routing)?;
        self.change(id, |deployment| deployment.weight = weight);
        Ok(())
    }

    fn route(&self, id: &str, routing: AliasRouting) -> Result<(), Failure> {
        let Some((function, alias, _, _)) = self.lambda_of(id) else {
            return Ok(());
        };
        self.inner.around.lambda.route(&function, &alias, routing.clone()).map_err(|error| {
            failure("INVALID_LAMBDA_FUNCTION", format!("Alias {alias} of {function} could not be updated: {error}"))
        })?;
        let change = WeightChange { at_ms: self.now_ms(), version: routing.version, additional: routing.additional };
        self.change(id, |deployment| deployment.weights.push(change));
        Ok(())
    }

    /// A rollback deployment: no hooks, all traffic at once to the version from which the other deployment came.
    async fn restore(&self, id: &str) -> Result<(), Failure> {
        let Some((_, _, _, target)) = self.lambda_of(id) else {
            return Ok(());
        };
        for event in Platform::Lambda.lifecycle() {
            self.begin_event(id, event, None);
            if *event == "AllowTraffic" {
                tokio::time::sleep(ROLLBACK_HALF).await;
                self.route(id, AliasRouting { version: target.clone(), additional: None })?;
                let now_ms = self.now_ms();
                self.change(id, |deployment| {
                    deployment.weight = 1.0;
                    deployment.restored_ms = Some(now_ms);
                });
                self.tell_triggering(id, now_ms);
            }
            self.end_event(id, event, EventStatus::Succeeded, None);
        }
        tokio::time::sleep(ROLLBACK_HALF).await;
        Ok(())
    }

    /// Notes in the deployment that is rolled back when its alias was restored.
    fn tell_triggering(&self, rollback: &str, restored_ms: i64) {
        let triggering = self.with_state(|state| {
            let of = |found: &&mut Deployment| found.rollback_deployment.as_deref() == Some(rollback);
            state.deployments.values_mut().find(of).map(|found| found.id.clone())
        });
        if let Some(triggering) = triggering {
            self.change(&triggering, |deployment| deployment.restored_ms = Some(restored_ms));
        }
    }

    /// Ends when somebody stopped deployment `id`.
    async fn stopped(&self, id: &str) -> End {
        let request = self.until(id, |deployment| deployment.stop.clone()).await;
        if request.pending {
            tokio::time::sleep(STOP_DELAY).await;
        }
        manual_stop()
    }

    /// Ends when an alarm of deployment `id` is red, or the alarms cannot be read and that is not to be ignored.
    async fn alarmed(&self, id: &str) -> End {
        self.until(id, |deployment| deployment.started_ms).await;
        tokio::time::sleep(FIRST_POLL).await;
        loop {
            if let Some(failure) = self.poll_alarms(id) {
                let stop = StopTruth { at_ms: self.now_ms(), by: "alarm".to_owned() };
                self.change(id, |deployment| deployment.stop_truth = Some(stop));
                return End::Stopped { by_alarm: true, failure };
            }
            tokio::time::sleep(self.inner.around.clock.scaled(POLL_EVERY).max(POLL_EVERY_MIN)).await;
        }
    }

    fn poll_alarms(&self, id: &str) -> Option<Failure> {
        let alarms = self.with_state(|state| {
            let deployment = state.deployments.get(id)?;
            let group = state.groups.get(&(deployment.application.clone(), deployment.group.clone()));
            let alarms = deployment.override_alarms.as_ref().or(group.map(|group| &group.alarms))?;
            (alarms.enabled && !deployment.is_rollback).then(|| alarms.clone())
        })?;
        let unreadable = |words: String| {
            let message = format!("The deployment was stopped because alarms could not be read: {words}");
            (!alarms.ignore_poll_failure).then(|| failure("ALARM_ACTIVE", message))
        };
        if self.inner.around.access.admit(PRINCIPAL, "cloudwatch:DescribeAlarms").is_some() {
            return unreadable("DescribeAlarms failed".to_owned());
        }
        let readings = self.inner.around.alarms.read(&alarms.names);
        let red: Vec<String> = readings
            .iter()
            .filter(|reading| reading.state == "ALARM")
            .map(|reading| format!("<{}>", reading.name))
            .collect();
        if !red.is_empty() {
            let message = format!(
                "One or more alarms have been activated according to the Amazon CloudWatch metrics you selected, and the affected deployments have been stopped. Activated alarms: {}",
                red.join(" ")
            );
            return Some(failure("ALARM_ACTIVE", message));
        }
        let missing: Vec<&str> = alarms
            .names
            .iter()
            .filter(|name| readings.iter().all(|found| found.name != **name))
            .map(String::as_str)
            .collect();
        if missing.is_empty() { None } else { unreadable(format!("no such alarm: {}", missing.join(", "))) }
    }

    /// Writes the end of deployment `id`, starts its rollback and publishes the event.
    fn finish(&self, id: &str, end: End) {
        let now_ms = self.now_ms();
        let finished = self.with_state(|state| {
            let deployment = state.deployments.get_mut(id)?;
            // A stop that was accepted in this very moment still decides how it ends.
            let end = match end {
                End::Succeeded | End::Failed(_) if deployment.stop.is_some() => manual_stop(),
                other @ (End::Succeeded | End::Failed(_) | End::Stopped { .. }) => other,
            };
            let (status, event) = end.names();
            let rolls_back = deployment.rolls_back(&end);
            deployment.close(status, end, now_ms);
            let last = LastDeployment { id: id.to_owned(), status, end_ms: now_ms, created_ms: deployment.created_ms };
            let key = (deployment.application.clone(), deployment.group.clone());
            let revision = deployment.revision.clone();
            if let Some(group) = state.groups.get_mut(&key) {
                if status == Status::Succeeded {
                    group.last_successful = Some(last.clone());
                    group.target_revision = Some(revision);
                }
                group.last_attempted = Some(last);
            }
            let rollback = if rolls_back { state.roll_back(id, now_ms) } else { None };
            Some((event, rollback))
        });
        let Some((event, rollback)) = finished else {
            return;
        };
        self.change(id, |_| ()); // wakes those who wait
        self.publish(id, event);
        if let Some(rollback) = rollback {
            self.launch(rollback);
        }
    }

    fn begin_event(&self, id: &str, event: &str, execution_id: Option<&str>) {
        let now_ms = self.now_ms();
        self.change(id, |deployment| {
            if let Some(found) = deployment.lifecycle.iter_mut().find(|found| found.name == event) {
                found.status = EventStatus::InProgress;
                found.start_ms = Some(now_ms);
                found.execution_id = execution_id.map(str::to_owned);
            }
        });
    }

    fn end_event(&self, id: &str, event: &str, status: EventStatus, message: Option<&str>) {
        let now_ms = self.now_ms();
        self.change(id, |deployment| {
            if let Some(found) = deployment.lifecycle.iter_mut().find(|found| found.name == event) {
                found.status = status;
                found.end_ms = Some(now_ms);
                found.message = message.map(str::to_owned);
            }
        });
    }

    /// Function, alias, current and target version of a readable Lambda deployment.
    fn lambda_of(&self, id: &str) -> Option<(String, String, String, String)> {
        self.with_state(|state| {
            let (function, alias, current, target) = state.deployments.get(id)?.lambda()?;
            Some((function.to_owned(), alias.to_owned(), current.to_owned(), target.to_owned()))
        })
    }

    /// Publishes the state change of deployment `id`.
    fn publish(&self, id: &str, event: &str) {
        let described = self.with_state(|state| {
            let deployment = state.deployments.get(id)?;
            let (application, group) = (deployment.application.clone(), deployment.group.clone());
            let group_id = state.groups.get(&(application.clone(), group.clone())).map(|found| found.id.clone());
            Some((application, group, group_id))
        });
        let Some((application, group, group_id)) = described else {
            return;
        };
        let resources = [
            format!("arn:aws:codedeploy:{REGION}:{ACCOUNT}:application:{application}"),
            format!("arn:aws:codedeploy:{REGION}:{ACCOUNT}:deploymentgroup:{application}/{group}"),
        ];
        let detail = json!({
            "instanceGroupId": group_id.unwrap_or_default(),
            "region": REGION,
            "application": application,
            "deploymentId": id,
            "state": event,
            "deploymentGroup": group,
        });
        let kind = "CodeDeploy Deployment State-change Notification";
        self.inner.around.bus.publish("aws.codedeploy", kind, &resources, detail);
    }
}

impl Deployment {
    /// Whether this end starts a rollback deployment. What never passed the check of its configuration changed nothing, and
    /// "back to CurrentVersion" could be a change then.
    fn rolls_back(&self, end: &End) -> bool {
        let asked = match end {
            End::Succeeded => false,
            End::Failed(_) => self.auto_rollback.on(ON_FAILURE),
            End::Stopped { by_alarm: true, .. } => self.auto_rollback.on(ON_ALARM),
            End::Stopped { by_alarm: false, .. } => {
                let asked = self.stop.as_ref().and_then(|stop| stop.rollback);
                asked.unwrap_or_else(|| self.auto_rollback.on(ON_REQUEST))
            }
        };
        asked && self.accepted && !self.is_rollback
    }

    /// Final status; the event in flight failed, those after it were skipped.
    fn close(&mut self, status: Status, end: End, now_ms: i64) {
        self.status = status;
        self.completed_ms = Some(now_ms);
        self.error = match end {
            End::Succeeded => None,
            End::Failed(failure) | End::Stopped { failure, .. } => Some((failure.code.to_owned(), failure.message)),
        };
        for event in &mut self.lifecycle {
            match event.status {
                EventStatus::InProgress => {
                    event.status = EventStatus::Failed;
                    event.end_ms = Some(now_ms);
                }
                EventStatus::Pending => event.status = EventStatus::Skipped,
                EventStatus::Succeeded | EventStatus::Failed | EventStatus::Skipped => {}
            }
        }
    }
}

impl State {
    /// Makes the deployment that rolls `id` back and links the two; gives its id.
    fn roll_back(&mut self, id: &str, now_ms: i64) -> Option<String> {
        let failed = self.deployments.get(id)?;
        let (function, alias, current, target) = failed.lambda()?;
        let properties = json!({"Name": function, "Alias": alias, "CurrentVersion": target, "TargetVersion": current});
        let resource = json!({function: {"Type": "AWS::Lambda::Function", "Properties": properties}});
        let content = json!({"version": 0.0, "Resources": [resource]}).to_string();
        let spec = AppSpec {
            resource: Resource::Lambda {
                function: function.to_owned(),
                alias: alias.to_owned(),
                current: target.to_owned(),
                target: current.to_owned(),
            },
            hooks: Vec::new(),
        };
        let (application, group) = (failed.application.clone(), failed.group.clone());
        let revision = self.store_revision(&application, &group, &content, false, now_ms);
        let new = NewDeployment {
            application,
            group,
            platform: Platform::Lambda,
            config: config::predefined("CodeDeployDefault.LambdaAllAtOnce")?,
            is_rollback: true,
            description: None,
            revision,
            spec: Some(Ok(spec)),
            auto_rollback: super::model::AutoRollback::default(),
            override_alarms: None,
        };
        let rollback = self.insert_deployment(new, now_ms);
        let message = format!("Deployment {rollback} is triggered to roll back deployment {id}.");
        if let Some(made) = self.deployments.get_mut(&rollback) {
            made.rollback_info = Some(json!({"rollbackTriggeringDeploymentId": id, "rollbackMessage": message}));
        }
        let message =
            format!("Deployment {id} terminated. Automatic rollback is triggered with a DeploymentId {rollback}.");
        let failed = self.deployments.get_mut(id)?;
        failed.rollback_info = Some(json!({"rollbackDeploymentId": rollback, "rollbackMessage": message}));
        failed.rollback_deployment = Some(rollback.clone());
        Some(rollback)
    }
}

/// An opaque text of a few hundred characters that names one run of one hook.
fn execution_id() -> String {
    let secret: String = (0..8).map(|_| format!("{:032x}", fastrand::u128(..))).collect();
    let inner = json!({"encryptedData": secret, "ivParameterSpec": format!("{:016x}", fastrand::u64(..)), "materialSetSerial": 1});
    STANDARD.encode(inner.to_string())
}
