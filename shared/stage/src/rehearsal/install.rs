//! What stands on the stage before the curtain: an installation of Snapback, and the service that it protects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::VersionFaults;
use super::scenario::{Scenario, Shift};
use crate::embedded::{EmbeddedAws, OPERATOR};
use crate::event_bus::{Pattern, RetryPolicy, Target, Trigger};
use crate::lambda::{AsyncConfig, ConfigurationChange, FunctionConfig};
use crate::parts::{ACCOUNT, AliasRouting, ApiError, REGION};
use crate::protocol::ApiFault;

/// Name of the table.
pub const TABLE: &str = "snapback";
/// The demo application: function, service and CodeDeploy application are called so.
pub const SERVICE: &str = "checkout";
/// Its alias.
pub const ALIAS: &str = "live";
/// Its deployment group.
pub const GROUP: &str = "checkout-live";
/// Where policies are.
pub const POLICY_PREFIX: &str = "/snapback/policy";
const SCHEDULER_ROLE: &str = "arn:aws:iam::123456789012:role/snapback-scheduler";
/// Time-out of the service's function, and requests that one of its processes serves at once, unless the scenario says so.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(10);
const SERVICE_CONCURRENCY: u32 = 64;
/// The hook's function is killed this long after the policy's deadline.
const HOOK_TIMEOUT_AFTER_DEADLINE: Duration = Duration::from_secs(5);

/// One function of Snapback: binary (and principal), name in AWS, time-out.
struct Installed {
    binary: &'static str,
    name: &'static str,
    timeout: Duration,
    is_hook: bool,
}

const BEFORE: &str = "before-allow-traffic";
const AFTER: &str = "after-allow-traffic";
const WATCHER: &str = "watcher";
const WATCHDOG: &str = "hook-watchdog";

const FUNCTIONS: [Installed; 6] = [
    Installed {
        binary: BEFORE,
        name: "CodeDeployHook_snapback-before-allow-traffic",
        timeout: Duration::from_secs(60),
        is_hook: true,
    },
    Installed {
        binary: AFTER,
        name: "CodeDeployHook_snapback-after-allow-traffic",
        timeout: Duration::from_secs(30),
        is_hook: true,
    },
    Installed {
        binary: "alarm-handler",
        name: "snapback-alarm-handler",
        timeout: Duration::from_secs(30),
        is_hook: false,
    },
    Installed {
        binary: "deployment-recorder",
        name: "snapback-deployment-recorder",
        timeout: Duration::from_secs(60),
        is_hook: false,
    },
    Installed { binary: WATCHER, name: "snapback-watcher", timeout: Duration::from_secs(90), is_hook: false },
    Installed { binary: WATCHDOG, name: "snapback-hook-watchdog", timeout: Duration::from_secs(60), is_hook: false },
];

/// Why something could not be put on the stage.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A binary is missing.
    #[error(
        "the function binary {} is missing; build it with: cargo build --locked -p {name}",
        path.display()
    )]
    Missing {
        /// Package and binary.
        name: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A part of the stage refused its set-up.
    #[error("setting up {what}: {why}")]
    Refused {
        /// What was set up.
        what: String,
        /// The part's error.
        why: String,
    },
}

impl InstallError {
    pub(super) fn of(what: impl Into<String>) -> impl FnOnce(ApiFault) -> Self {
        let what = what.into();
        move |fault| Self::Refused { what, why: format!("{}: {}", fault.code, fault.message) }
    }

    pub(super) fn api(what: impl Into<String>) -> impl FnOnce(ApiError) -> Self {
        let what = what.into();
        move |error| Self::Refused { what, why: error.to_string() }
    }
}

/// Names of the binaries that a rehearsal needs.
pub fn binaries() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.binary).chain(["demo-app"])
}

/// Binaries that are not in `folder`.
///
/// # Errors
/// Names the first one and how to build it.
pub fn check_binaries(folder: &Path) -> Result<(), InstallError> {
    for name in binaries() {
        let path = folder.join(name);
        if !path.is_file() {
            return Err(InstallError::Missing { name, path });
        }
    }
    Ok(())
}

/// Name in AWS of a function of Snapback, by its binary.
#[must_use]
pub fn function_name(binary: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|function| function.binary == binary).map(|function| function.name)
}

/// Names in AWS of all functions of Snapback.
pub(super) fn function_names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// The two alarms that Snapback has on the group.
pub(super) fn own_alarms() -> Result<(Vec<Value>, Vec<String>), InstallError> {
    let inputs = super::alarms::own(SERVICE, ALIAS, GROUP)
        .map_err(|error| InstallError::Refused { what: "own alarms".into(), why: error.to_string() })?;
    let names = inputs.iter().filter_map(|input| Some(input.get("AlarmName")?.as_str()?.to_owned())).collect();
    Ok((inputs, names))
}

/// Table, topic, functions, rules and schedule of an installation. Answers the topic's ARN.
///
/// # Errors
/// When a binary is missing or a part refuses.
pub async fn snapback(aws: &EmbeddedAws, folder: &Path, deadline: Duration) -> Result<String, InstallError> {
    check_binaries(folder)?;
    let table = snapback_wire::record::create_table_request(TABLE);
    match aws.call(aws.stage.dynamodb.as_ref(), "dynamodb", "CreateTable", table).await {
        Ok(_) => {}
        // A table file of an earlier run goes on being used.
        Err(fault) if fault.code.contains("ResourceInUse") || fault.message.contains("already exists") => {}
        Err(fault) => return Err(InstallError::of("the table")(fault)),
    }
    let topic = aws.stage.sns.create_topic("snapback");
    let environment: BTreeMap<String, String> =
        [("SNAPBACK_TABLE", TABLE), ("SNAPBACK_TOPIC_ARN", topic.as_str()), ("SNAPBACK_POLICY_PREFIX", POLICY_PREFIX)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
    let watchdog = function_name(WATCHDOG).map(arn);
    for function in &FUNCTIONS {
        let mut config = FunctionConfig::new(function.name, folder.join(function.binary), function.binary);
        config.environment = environment.clone();
        if function.binary == AFTER {
            let watchdog = watchdog.clone().unwrap_or_default();
            config.environment.insert("SNAPBACK_WATCHDOG_ARN".to_owned(), watchdog);
            config.environment.insert("SNAPBACK_SCHEDULER_ROLE_ARN".to_owned(), SCHEDULER_ROLE.to_owned());
        }
        config.timeout =
            if function.binary == BEFORE { deadline + HOOK_TIMEOUT_AFTER_DEADLINE } else { function.timeout };
        if function.is_hook || function.binary == WATCHER {
            config.async_config = AsyncConfig {
                max_retries: 0,
                max_event_age: Duration::from_secs(60),
                on_failure: watchdog.clone().filter(|_| function.is_hook),
            };
        }
        aws.lambda.create_function(config).map_err(InstallError::api(function.name))?;
    }
    rules(aws)?;
    Ok(topic)
}

fn rules(aws: &EmbeddedAws) -> Result<(), InstallError> {
    let pattern = |value: Value| {
        Pattern::parse(&value)
            .map_err(|error| InstallError::Refused { what: "an event rule".into(), why: error.to_string() })
    };
    let alarms = json!({"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"]});
    let deployments =
        json!({"source": ["aws.codedeploy"], "detail-type": ["CodeDeploy Deployment State-change Notification"]});
    let rules = [
        ("snapback-alarms", Trigger::Pattern(pattern(alarms)?), "snapback-alarm-handler"),
        ("snapback-deployments", Trigger::Pattern(pattern(deployments)?), "snapback-deployment-recorder"),
        ("snapback-sweep", Trigger::Every(Duration::from_secs(60)), "snapback-watcher"),
    ];
    for (name, trigger, function) in rules {
        aws.stage.bus.put_rule(name, trigger, true);
        let target = Target { id: function.to_owned(), arn: arn(function), retry: RetryPolicy::default() };
        if !aws.stage.bus.put_targets(name, vec![target]) {
            return Err(InstallError::Refused { what: name.to_owned(), why: "the rule is gone".to_owned() });
        }
    }
    Ok(())
}

/// The demo service: function, versions, alias, alarms, group and policy.
#[derive(Debug, Clone)]
pub struct Service {
    /// Version number of each version of the scenario; `live` is the one that serves.
    pub versions: BTreeMap<String, String>,
}

/// Puts the service on the stage; its versions beside `live` are published but get no traffic.
///
/// # Errors
/// When a part refuses.
pub async fn service(
    aws: &EmbeddedAws,
    folder: &Path,
    scenario: &Scenario,
    policy: &Value,
) -> Result<Service, InstallError> {
    let mut versions = BTreeMap::new();
    let mut config = FunctionConfig::new(SERVICE, folder.join("demo-app"), SERVICE);
    config.timeout = scenario.service_timeout.map_or(SERVICE_TIMEOUT, |span| span.0);
    config.max_concurrency_per_environment = scenario.service_concurrency.unwrap_or(SERVICE_CONCURRENCY);
    aws.lambda.create_function(config).map_err(InstallError::api(SERVICE))?;
    let good = VersionFaults::default();
    let live = scenario.versions.get("live").unwrap_or(&good);
    let others = scenario.versions.iter().filter(|(name, _)| *name != "live");
    for (name, faults) in std::iter::once((&"live".to_owned(), live)).chain(others) {
        let mut environment = faults.environment();
        environment.insert("DEMO_RELEASE".to_owned(), name.clone());
        let change = ConfigurationChange { environment: Some(environment), ..ConfigurationChange::default() };
        aws.lambda.update_configuration(SERVICE, change).map_err(InstallError::api(SERVICE))?;
        let version = aws.lambda.publish_version(SERVICE, Some(name.clone())).map_err(InstallError::api(SERVICE))?;
        if let Some(share) = faults.lost_share {
            aws.lambda.lose_requests(SERVICE, &version, share).map_err(InstallError::api(SERVICE))?;
        }
        versions.insert(name.clone(), version);
    }
    let version = versions.get("live").cloned().unwrap_or_default();
    aws.lambda
        .create_alias(SERVICE, ALIAS, AliasRouting { version, additional: None })
        .map_err(InstallError::api(ALIAS))?;
    for alarm in super::alarms::raw(SERVICE, ALIAS) {
        aws.cloudwatch
            .call("PutMetricAlarm", alarm)
            .await
            .map_err(|error| InstallError::Refused { what: "a raw alarm".into(), why: error.to_string() })?;
    }
    group(aws, &scenario.shift).await?;
    let parameter = json!({
        "Name": format!("{POLICY_PREFIX}/{SERVICE}/{GROUP}"), "Value": policy.to_string(), "Type": "String", "Overwrite": true
    });
    aws.call(aws.stage.ssm.as_ref(), "ssm", "PutParameter", parameter).await.map_err(InstallError::of("the policy"))?;
    Ok(Service { versions })
}

/// Application, deployment configuration and group, with Snapback's own two alarms on it.
async fn group(aws: &EmbeddedAws, shift: &Shift) -> Result<(), InstallError> {
    let (alarms, names) = own_alarms()?;
    for alarm in alarms {
        aws.cloudwatch
            .call("PutMetricAlarm", alarm)
            .await
            .map_err(|error| InstallError::Refused { what: "an own alarm".into(), why: error.to_string() })?;
    }
    let config = match shift {
        Shift::Predefined(name) => name.clone(),
        Shift::Canary { percent, minutes } => {
            let name = format!("Canary{percent}Percent{minutes}Minutes");
            let input = json!({
                "deploymentConfigName": name,
                "computePlatform": "Lambda",
                "trafficRoutingConfig": {
                    "type": "TimeBasedCanary",
                    "timeBasedCanary": {"canaryPercentage": percent, "canaryInterval": minutes}
                }
            });
            codedeploy(aws, "CreateDeploymentConfig", input).await?;
            name
        }
    };
    codedeploy(aws, "CreateApplication", json!({"applicationName": SERVICE, "computePlatform": "Lambda"})).await?;
    let group = json!({
        "applicationName": SERVICE,
        "deploymentGroupName": GROUP,
        "deploymentConfigName": config,
        "serviceRoleArn": format!("arn:aws:iam::{ACCOUNT}:role/codedeploy"),
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "autoRollbackConfiguration": {
            "enabled": true,
            "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]
        },
        "alarmConfiguration": {
            "enabled": true,
            "ignorePollAlarmFailure": false,
            "alarms": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()
        }
    });
    codedeploy(aws, "CreateDeploymentGroup", group).await?;
    Ok(())
}

/// One call of CodeDeploy as the operator.
pub(super) async fn codedeploy(aws: &EmbeddedAws, operation: &str, input: Value) -> Result<Value, InstallError> {
    let service = aws.stage.codedeploy.clone();
    aws.call(&service, "codedeploy", operation, input)
        .await
        .map_err(InstallError::of(format!("{operation} as {OPERATOR}")))
}

/// Somebody deploys `target`; answers the deployment id.
///
/// # Errors
/// When CodeDeploy refuses.
pub async fn deploy(aws: &EmbeddedAws, target: &str) -> Result<String, InstallError> {
    use crate::parts::LambdaControl;
    let current = aws.lambda.alias(SERVICE, ALIAS).map(|routing| routing.version).unwrap_or_default();
    let app_spec = json!({
        "version": 0.0,
        "Resources": [{SERVICE: {
            "Type": "AWS::Lambda::Function",
            "Properties": {"Name": SERVICE, "Alias": ALIAS, "CurrentVersion": current, "TargetVersion": target}
        }}],
        "Hooks": [
            {"BeforeAllowTraffic": function_name(BEFORE)},
            {"AfterAllowTraffic": function_name(AFTER)}
        ]
    });
    let input = json!({
        "applicationName": SERVICE,
        "deploymentGroupName": GROUP,
        "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"content": app_spec.to_string()}}
    });
    let answer = codedeploy(aws, "CreateDeployment", input).await?;
    Ok(answer.get("deploymentId").and_then(Value::as_str).unwrap_or_default().to_owned())
}
