//! What CodeDeploy keeps: applications, groups, revisions, deployments, and how they read as JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::app_spec::{AppSpec, Resource};
use super::config::Config;
use super::truth::{HookAnswer, HookInvocation, StopTruth, WeightChange};
use crate::json::{text, timestamp, without_nulls};
use crate::parts::{ACCOUNT, REGION};
use crate::protocol::ApiFault;

/// Most alarms of a group or a deployment.
const ALARMS_MAX: usize = 10;
/// Longest alarm name.
const ALARM_NAME_MAX: usize = 255;

/// Where an application runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// AWS Lambda.
    Lambda,
    /// Amazon ECS.
    Ecs,
    /// EC2 or on premises.
    Server,
}

impl Platform {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lambda => "Lambda",
            Self::Ecs => "ECS",
            Self::Server => "Server",
        }
    }

    pub(super) fn parse(name: &str) -> Result<Self, ApiFault> {
        [Self::Lambda, Self::Ecs, Self::Server].into_iter().find(|platform| platform.name() == name).ok_or_else(|| {
            let message = format!("`computePlatform` is `{name}`, allowed are Lambda, ECS and Server");
            ApiFault::new("InvalidComputePlatformException", message)
        })
    }

    /// Lifecycle events that GetDeploymentTarget shows, in their order.
    pub(super) fn lifecycle(self) -> &'static [&'static str] {
        match self {
            Self::Lambda => &["BeforeAllowTraffic", "AllowTraffic", "AfterAllowTraffic"],
            Self::Ecs => &[
                "BeforeInstall",
                "Install",
                "AfterInstall",
                "AllowTestTraffic",
                "AfterAllowTestTraffic",
                "BeforeAllowTraffic",
                "AllowTraffic",
                "AfterAllowTraffic",
            ],
            Self::Server => &[
                "ApplicationStop",
                "DownloadBundle",
                "BeforeInstall",
                "Install",
                "AfterInstall",
                "ApplicationStart",
                "ValidateService",
            ],
        }
    }
}

/// Status of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Accepted, not started.
    Created,
    /// Running.
    InProgress,
    /// Ended well.
    Succeeded,
    /// Ended badly by itself.
    Failed,
    /// Ended by somebody or by an alarm.
    Stopped,
}

impl Status {
    /// As the API writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
        }
    }

    /// Nothing changes any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Created | Self::InProgress => false,
            Self::Succeeded | Self::Failed | Self::Stopped => true,
        }
    }
}

/// Status of a lifecycle event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// Not begun.
    Pending,
    /// Begun, not ended.
    InProgress,
    /// Ended well.
    Succeeded,
    /// Ended badly, or in flight when the deployment was stopped.
    Failed,
    /// Never begun because the deployment ended before.
    Skipped,
}

impl EventStatus {
    /// As the API writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }
}

/// What rolls a deployment back by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AutoRollback {
    pub(super) enabled: bool,
    pub(super) events: Vec<String>,
}

pub(super) const ON_FAILURE: &str = "DEPLOYMENT_FAILURE";
pub(super) const ON_ALARM: &str = "DEPLOYMENT_STOP_ON_ALARM";
pub(super) const ON_REQUEST: &str = "DEPLOYMENT_STOP_ON_REQUEST";

impl AutoRollback {
    /// Whether `event` rolls back.
    pub(super) fn on(&self, event: &str) -> bool {
        self.enabled && self.events.iter().any(|known| known == event)
    }

    pub(super) fn parse(input: &Value) -> Result<Self, ApiFault> {
        let refused = |words: String| ApiFault::new("InvalidAutoRollbackConfigException", words);
        let enabled = input.get("enabled").and_then(Value::as_bool).unwrap_or(false);
        let events = texts(input.get("events"));
        if let Some(unknown) = events.iter().find(|event| ![ON_FAILURE, ON_ALARM, ON_REQUEST].contains(&event.as_str()))
        {
            return Err(refused(format!("event `{unknown}`, allowed are {ON_FAILURE}, {ON_ALARM} and {ON_REQUEST}")));
        }
        if enabled && events.is_empty() {
            return Err(refused("automatic rollback is enabled, but there is no event".to_owned()));
        }
        Ok(Self { enabled, events })
    }

    fn to_json(&self) -> Value {
        json!({"enabled": self.enabled, "events": self.events})
    }
}

/// Alarms that stop a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AlarmConfig {
    pub(super) enabled: bool,
    pub(super) ignore_poll_failure: bool,
    pub(super) names: Vec<String>,
}

impl AlarmConfig {
    pub(super) fn parse(input: &Value) -> Result<Self, ApiFault> {
        let refused = |words: String| ApiFault::new("InvalidAlarmConfigException", words);
        let flag = |key: &str| input.get(key).and_then(Value::as_bool).unwrap_or(false);
        let alarms = input.get("alarms").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut names = Vec::new();
        for alarm in alarms {
            let name = text(alarm, "name").filter(|name| name.len() <= ALARM_NAME_MAX);
            let name = name.ok_or_else(|| refused("an alarm name is empty or longer than 255".to_owned()))?.to_owned();
            if names.contains(&name) {
                return Err(refused(format!("alarm `{name}` is there twice")));
            }
            names.push(name);
        }
        if names.len() > ALARMS_MAX {
            let message = format!("{} alarms, the maximum is {ALARMS_MAX}", names.len());
            return Err(ApiFault::new("AlarmsLimitExceededException", message));
        }
        let enabled = flag("enabled");
        if enabled && names.is_empty() {
            return Err(refused("alarms are enabled, but there is none".to_owned()));
        }
        Ok(Self { enabled, ignore_poll_failure: flag("ignorePollAlarmFailure"), names })
    }

    fn to_json(&self) -> Value {
        let alarms: Vec<Value> = self.names.iter().map(|name| json!({"name": name})).collect();
        json!({"enabled": self.enabled, "ignorePollAlarmFailure": self.ignore_poll_failure, "alarms": alarms})
    }
}

/// An application with the revisions it was given.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) platform: Platform,
    /// By SHA-256 of their text.
    pub(super) revisions: BTreeMap<String, StoredRevision>,
}

/// Text of a revision and its use.
#[derive(Debug, Clone)]
pub(super) struct StoredRevision {
    pub(super) content: String,
    pub(super) registered_ms: i64,
    pub(super) last_used_ms: i64,
    pub(super) groups: BTreeSet<String>,
}

/// Which revision a deployment deploys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RevisionRef {
    /// `AppSpecContent` or its older form `String`.
    Text { is_string: bool, sha256: String },
    /// S3 or GitHub, as given.
    Elsewhere(Value),
}

impl RevisionRef {
    /// As GetDeployment shows it: never with the text.
    pub(super) fn to_json(&self) -> Value {
        self.with_content(None)
    }

    pub(super) fn with_content(&self, content: Option<&str>) -> Value {
        match self {
            Self::Text { is_string: true, sha256 } => {
                json!({"revisionType": "String", "string": without_nulls(json!({"content": content, "sha256": sha256}))})
            }
            Self::Text { is_string: false, sha256 } => {
                json!({"revisionType": "AppSpecContent", "appSpecContent": without_nulls(json!({"content": content, "sha256": sha256}))})
            }
            Self::Elsewhere(given) => given.clone(),
        }
    }
}

/// A deployment as its group remembers it.
#[derive(Debug, Clone)]
pub(super) struct LastDeployment {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) end_ms: i64,
    pub(super) created_ms: i64,
}

impl LastDeployment {
    fn to_json(&self) -> Value {
        json!({"deploymentId": self.id, "status": self.status.name(), "endTime": timestamp(self.end_ms), "createTime": timestamp(self.created_ms)})
    }
}

/// A deployment group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) application: String,
    pub(super) name: String,
    pub(super) platform: Platform,
    pub(super) config_name: String,
    pub(super) role_arn: String,
    pub(super) auto_rollback: AutoRollback,
    pub(super) alarms: AlarmConfig,
    pub(super) ecs_services: Value,
    pub(super) triggers: Value,
    pub(super) target_revision: Option<RevisionRef>,
    pub(super) last_successful: Option<LastDeployment>,
    pub(super) last_attempted: Option<LastDeployment>,
}

impl Group {
    pub(super) fn to_json(&self) -> Value {
        without_nulls(json!({
            "applicationName": self.application,
            "deploymentGroupId": self.id,
            "deploymentGroupName": self.name,
            "deploymentConfigName": self.config_name,
            "serviceRoleArn": self.role_arn,
            "targetRevision": self.target_revision.as_ref().map(RevisionRef::to_json),
            "triggerConfigurations": self.triggers,
            "alarmConfiguration": self.alarms.to_json(),
            "autoRollbackConfiguration": self.auto_rollback.to_json(),
            "deploymentStyle": style(self.platform),
            "lastSuccessfulDeployment": self.last_successful.as_ref().map(LastDeployment::to_json),
            "lastAttemptedDeployment": self.last_attempted.as_ref().map(LastDeployment::to_json),
            "computePlatform": self.platform.name(),
            "ecsServices": self.ecs_services,
        }))
    }
}

fn style(platform: Platform) -> Value {
    match platform {
        Platform::Lambda | Platform::Ecs => {
            json!({"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"})
        }
        Platform::Server => {
            json!({"deploymentType": "IN_PLACE", "deploymentOption": "WITHOUT_TRAFFIC_CONTROL"})
        }
    }
}

/// One lifecycle event of a deployment.
#[derive(Debug, Clone)]
pub(super) struct Lifecycle {
    pub(super) name: &'static str,
    pub(super) status: EventStatus,
    pub(super) start_ms: Option<i64>,
    pub(super) end_ms: Option<i64>,
    pub(super) message: Option<String>,
    /// What its hook must send back.
    pub(super) execution_id: Option<String>,
}

impl Lifecycle {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, status: EventStatus::Pending, start_ms: None, end_ms: None, message: None, execution_id: None }
    }

    fn to_json(&self) -> Value {
        let diagnostics = self.message.as_ref().map(|message| json!({"errorCode": "UnknownError", "message": message}));
        without_nulls(json!({
            "lifecycleEventName": self.name,
            "status": self.status.name(),
            "startTime": self.start_ms.map(timestamp),
            "endTime": self.end_ms.map(timestamp),
            "diagnostics": diagnostics,
        }))
    }
}

/// A request to stop a deployment.
#[derive(Debug, Clone)]
pub(super) struct StopRequest {
    /// `autoRollbackEnabled` as given.
    pub(super) rollback: Option<bool>,
    /// Answered `Pending`: the deployment goes on for a moment.
    pub(super) pending: bool,
}

/// A deployment.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) application: String,
    pub(super) group: String,
    pub(super) platform: Platform,
    pub(super) config: Config,
    pub(super) is_rollback: bool,
    pub(super) description: Option<String>,
    pub(super) revision: RevisionRef,
    pub(super) previous_revision: Option<RevisionRef>,
    /// Parsed text of the revision, or why it is none; EC2 revisions stay unread.
    pub(super) spec: Option<Result<AppSpec, String>>,
    pub(super) ecs_target: String,
    pub(super) status: Status,
    pub(super) created_ms: i64,
    pub(super) started_ms: Option<i64>,
    pub(super) completed_ms: Option<i64>,
    pub(super) error: Option<(String, String)>,
    pub(super) auto_rollback: AutoRollback,
    pub(super) override_alarms: Option<AlarmConfig>,
    pub(super) rollback_info: Option<Value>,
    pub(super) lifecycle: Vec<Lifecycle>,
    pub(super) weight: f64,
    pub(super) stop: Option<StopRequest>,
    /// The alias was found as the AppSpec says: from here on there is something to roll back.
    pub(super) accepted: bool,
    /// Notified at each change.
    pub(super) changes: watch::Sender<()>,
    // What only rehearsals see.
    pub(super) stop_truth: Option<StopTruth>,
    pub(super) weights: Vec<WeightChange>,
    pub(super) hook_invocations: Vec<HookInvocation>,
    pub(super) hook_answers: Vec<HookAnswer>,
    pub(super) rollback_deployment: Option<String>,
    pub(super) restored_ms: Option<i64>,
}

impl Deployment {
    /// Function, alias, current and target version, when this is a readable Lambda deployment.
    pub(super) fn lambda(&self) -> Option<(&str, &str, &str, &str)> {
        match self.spec.as_ref()?.as_ref().ok().map(|spec| &spec.resource)? {
            Resource::Lambda { function, alias, current, target } => Some((function, alias, current, target)),
            Resource::Ecs { .. } => None,
        }
    }

    pub(super) fn hook(&self, event: &str) -> Option<String> {
        self.spec.as_ref()?.as_ref().ok()?.hook(event).map(str::to_owned)
    }

    /// Id of the one target, `None` when the AppSpec does not say it.
    pub(super) fn target_id(&self) -> Option<String> {
        match self.platform {
            Platform::Lambda => self.lambda().map(|(function, ..)| function_name(function).to_owned()),
            Platform::Ecs => Some(self.ecs_target.clone()),
            Platform::Server => Some("i-0123456789abcdef0".to_owned()),
        }
    }

    fn target_status(&self) -> &'static str {
        match self.status {
            Status::Created => "Pending",
            Status::InProgress => "InProgress",
            Status::Succeeded => "Succeeded",
            Status::Failed | Status::Stopped => "Failed",
        }
    }

    /// `deploymentInfo` of GetDeployment.
    pub(super) fn to_json(&self) -> Value {
        let count = |status: &str| u8::from(self.target_status() == status);
        without_nulls(json!({
            "applicationName": self.application,
            "deploymentGroupName": self.group,
            "deploymentConfigName": self.config.name,
            "deploymentId": self.id,
            "description": self.description,
            "previousRevision": self.previous_revision.as_ref().map(RevisionRef::to_json),
            "revision": self.revision.to_json(),
            "status": self.status.name(),
            "errorInformation": self.error.as_ref().map(|(code, message)| json!({"code": code, "message": message})),
            "createTime": timestamp(self.created_ms),
            "startTime": self.started_ms.map(timestamp),
            "completeTime": self.completed_ms.map(timestamp),
            "deploymentOverview": {
                "Pending": count("Pending"), "InProgress": count("InProgress"), "Succeeded": count("Succeeded"),
                "Failed": count("Failed"), "Skipped": 0, "Ready": 0
            },
            "creator": if self.is_rollback { "codeDeployRollback" } else { "user" },
            "ignoreApplicationStopFailures": false,
            "autoRollbackConfiguration": self.auto_rollback.to_json(),
            "updateOutdatedInstancesOnly": false,
            "rollbackInfo": self.rollback_info,
            "deploymentStyle": style(self.platform),
            "instanceTerminationWaitTimeStarted": false,
            "fileExistsBehavior": "DISALLOW",
            "deploymentStatusMessages": [],
            "computePlatform": self.platform.name(),
            "overrideAlarmConfiguration": self.override_alarms.as_ref().map(AlarmConfig::to_json),
        }))
    }

    /// `deploymentTarget` of GetDeploymentTarget.
    pub(super) fn target_json(&self) -> Value {
        let target = self.target_id().unwrap_or_default();
        let last_change = self.lifecycle.iter().flat_map(|event| [event.start_ms, event.end_ms]).flatten().max();
        let events: Vec<Value> = self.lifecycle.iter().map(Lifecycle::to_json).collect();
        let mut common = json!({
            "deploymentId": self.id,
            "targetId": target,
            "status": self.target_status(),
            "lastUpdatedAt": timestamp(last_change.or(self.started_ms).unwrap_or(self.created_ms)),
            "lifecycleEvents": events,
        });
        let mut add = |key: &str, value: Value| {
            if let Some(members) = common.as_object_mut() {
                members.insert(key.to_owned(), value);
            }
        };
        let (kind, member) = match self.platform {
            Platform::Lambda => {
                add("targetArn", json!(format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{target}")));
                if let Some((_, alias, current, version)) = self.lambda() {
                    add(
                        "lambdaFunctionInfo",
                        json!({
                            "functionName": target, "functionAlias": alias, "currentVersion": current,
                            "targetVersion": version, "targetVersionWeight": self.weight,
                        }),
                    );
                }
                ("LambdaTarget", "lambdaTarget")
            }
            Platform::Ecs => {
                let path = target.replace(':', "/");
                add("targetArn", json!(format!("arn:aws:ecs:{REGION}:{ACCOUNT}:service/{path}")));
                add("taskSetsInfo", json!([]));
                ("ECSTarget", "ecsTarget")
            }
            Platform::Server => {
                add("targetArn", json!(format!("arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{target}")));
                ("InstanceTarget", "instanceTarget")
            }
        };
        json!({"deploymentTargetType": kind, member: common})
    }
}

/// `checkout` of `arn:aws:lambda:…:function:checkout`, or the name as it is.
pub(super) fn function_name(function: &str) -> &str {
    function.split_once(":function:").map_or(function, |(_, rest)| rest.split(':').next().unwrap_or(rest))
}

/// The texts of a list.
pub(super) fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollback_and_alarm_settings_are_checked_as_codedeploy_does() {
        let alarms = |count: usize| -> Value { (0..count).map(|index| json!({"name": format!("a{index}")})).collect() };
        let table = [
            (
                "rollback without event",
                AutoRollback::parse(&json!({"enabled": true})).err(),
                Some("InvalidAutoRollbackConfigException"),
            ),
            (
                "unknown event",
                AutoRollback::parse(&json!({"enabled": true, "events": ["ALARM"]})).err(),
                Some("InvalidAutoRollbackConfigException"),
            ),
            ("rollback off", AutoRollback::parse(&json!({"enabled": false})).err(), None),
            (
                "alarms on, none given",
                AlarmConfig::parse(&json!({"enabled": true, "alarms": []})).err(),
                Some("InvalidAlarmConfigException"),
            ),
            (
                "alarm twice",
                AlarmConfig::parse(&json!({"enabled": true, "alarms": [{"name": "a"}, {"name": "a"}]})).err(),
                Some("InvalidAlarmConfigException"),
            ),
            (
                "alarm without name",
                AlarmConfig::parse(&json!({"enabled": true, "alarms": [{}]})).err(),
                Some("InvalidAlarmConfigException"),
            ),
            ("ten alarms", AlarmConfig::parse(&json!({"enabled": true, "alarms": alarms(10)})).err(), None),
            (
                "eleven alarms",
                AlarmConfig::parse(&json!({"enabled": true, "alarms": alarms(11)})).err(),
                Some("AlarmsLimitExceededException"),
            ),
        ];
        for (case, error, expected) in table {
            assert_eq!(error.map(|fault| fault.code).as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn an_event_rolls_back_only_when_enabled_and_listed() {
        let on = AutoRollback::parse(&json!({"enabled": true, "events": [ON_FAILURE]})).unwrap();
        let off = AutoRollback::parse(&json!({"enabled": false, "events": [ON_FAILURE]})).unwrap();
        assert!(on.on(ON_FAILURE));
        assert!(!on.on(ON_ALARM));
        assert!(!off.on(ON_FAILURE));
    }
}
