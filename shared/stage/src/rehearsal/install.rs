//! What stands on the stage before the curtain: an installation of Snapback, and the service that it protects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::VersionFaults;
use super::scenario::{AppSpecFormat, Hook, Scenario, Shift};
use crate::embedded::{EmbeddedAws, OPERATOR};
use crate::iam::Ask;
use crate::lambda::{ConfigurationChange, FunctionConfig};
use crate::parts::{AliasRouting, ApiError};
use crate::protocol::ApiFault;
use crate::wiring::{CODEDEPLOY_ROLE, Function, Wiring};

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
/// Time-out of the service's function, and requests that one of its processes serves at once, unless the scenario says so.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(10);
const SERVICE_CONCURRENCY: u32 = 64;
/// The hook's function is killed this long after the policy's deadline.
const HOOK_TIMEOUT_AFTER_DEADLINE: Duration = Duration::from_secs(5);

const BEFORE: &str = "before-allow-traffic";
const AFTER: &str = "after-allow-traffic";
const ALARM_HANDLER: &str = "alarm-handler";
/// The binary of the demo application.
const DEMO_APP: &str = "demo-app";

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
        name: String,
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

/// Binaries that are not in `folder`.
///
/// # Errors
/// Names the first one and how to build it.
pub fn check_binaries(wiring: &Wiring, folder: &Path) -> Result<(), InstallError> {
    for name in wiring.functions.iter().map(|function| function.binary.as_str()).chain([DEMO_APP]) {
        let path = folder.join(name);
        if !path.is_file() {
            return Err(InstallError::Missing { name: name.to_owned(), path });
        }
    }
    Ok(())
}

/// The two alarms that Snapback has on the group.
pub(super) fn own_alarms() -> Result<(Vec<Value>, Vec<String>), InstallError> {
    let inputs = super::alarms::own(SERVICE, ALIAS, GROUP)
        .map_err(|error| InstallError::Refused { what: "own alarms".into(), why: error.to_string() })?;
    let names = inputs.iter().filter_map(|input| Some(input.get("AlarmName")?.as_str()?.to_owned())).collect();
    Ok((inputs, names))
}

/// Table, topic, queues, functions and rules of an installation. Answers the topic's ARN.
///
/// * `deadline`: of the policy that will be judged by. The hook's function is killed soon after it, instead of after the
///   template's 15 minutes, so that a rehearsal of that takes seconds.
///
/// # Errors
/// When a binary is missing or a part refuses.
pub async fn snapback(
    aws: &EmbeddedAws,
    wiring: &Wiring,
    folder: &Path,
    deadline: Duration,
) -> Result<String, InstallError> {
    check_binaries(wiring, folder)?;
    table(aws, wiring).await?;
    let topic = aws.stage.sns.create_topic(&wiring.topic);
    for queue in &wiring.queues {
        aws.stage.queues.create(queue);
    }
    for function in &wiring.functions {
        let trust = aws.stage.access.iam().admit(Ask::new("lambda.amazonaws.com", "sts:AssumeRole", &function.role));
        trust.map_err(|_| InstallError::Refused {
            what: function.name.clone(),
            why: "The role defined for the function cannot be assumed by Lambda.".to_owned(),
        })?;
        let config = config_of(function, folder, deadline);
        aws.lambda.create_function(config).map_err(InstallError::api(&function.name))?;
    }
    for rule in &wiring.rules {
        for (operation, input) in [("PutRule", &rule.rule), ("PutTargets", &rule.targets)] {
            let answer = aws.call(&aws.stage.bus, "events", operation, input.clone()).await;
            answer.map_err(InstallError::of(format!("{operation} of {}", rule.arn)))?;
        }
    }
    Ok(topic)
}

fn config_of(function: &Function, folder: &Path, deadline: Duration) -> FunctionConfig {
    let mut config = FunctionConfig::new(&function.name, folder.join(&function.binary), &function.binary);
    config.role.clone_from(&function.role);
    config.environment.clone_from(&function.environment);
    config.memory_mb = function.memory_mb;
    config.reserved_concurrency = function.reserved_concurrency;
    config.async_config.clone_from(&function.async_config);
    config.tags.clone_from(&function.tags);
    config.permissions.clone_from(&function.permissions);
    config.timeout = match function.binary.as_str() {
        BEFORE => (deadline + HOOK_TIMEOUT_AFTER_DEADLINE).min(function.timeout),
        _ => function.timeout,
    };
    config
}

async fn table(aws: &EmbeddedAws, wiring: &Wiring) -> Result<(), InstallError> {
    if wiring.table_name() != TABLE {
        let why = format!("it is called `{}`, and rehearsals read `{TABLE}`", wiring.table_name());
        return Err(InstallError::Refused { what: "the table".to_owned(), why });
    }
    match aws.call(aws.stage.dynamodb.as_ref(), "dynamodb", "CreateTable", wiring.table.clone()).await {
        Ok(_) => Ok(()),
        // A table file of an earlier run goes on being used.
        Err(fault) if fault.code.contains("ResourceInUse") || fault.message.contains("already exists") => Ok(()),
        Err(fault) => Err(InstallError::of("the table")(fault)),
    }
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
    wiring: &Wiring,
    folder: &Path,
    scenario: &Scenario,
    policy: &Value,
) -> Result<Service, InstallError> {
    let mut versions = BTreeMap::new();
    let mut config = FunctionConfig::new(SERVICE, folder.join(DEMO_APP), SERVICE);
    // Whoever wants to be protected says so by this tag.
    config.tags = [("snapback".to_owned(), "protected".to_owned())].into();
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
    let handler = wiring.function(ALARM_HANDLER).filter(|_| scenario.alarm_actions);
    let actions: Vec<&str> = handler.iter().map(|function| function.arn.as_str()).collect();
    for mut alarm in super::alarms::raw(SERVICE, ALIAS) {
        if let Some(members) = alarm.as_object_mut() {
            members.insert("AlarmActions".to_owned(), json!(actions));
        }
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
        "serviceRoleArn": CODEDEPLOY_ROLE,
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

/// Somebody deploys `target` with the AppSpec of the scenario; answers the deployment id.
///
/// # Errors
/// When CodeDeploy refuses.
pub async fn deploy(
    aws: &EmbeddedAws,
    wiring: &Wiring,
    scenario: &Scenario,
    target: &str,
) -> Result<String, InstallError> {
    use crate::parts::LambdaControl;
    let current = aws.lambda.alias(SERVICE, ALIAS).map(|routing| routing.version).unwrap_or_default();
    let hooks = scenario.hooks.iter().map(|hook| {
        let binary = match hook {
            Hook::BeforeAllowTraffic => BEFORE,
            Hook::AfterAllowTraffic => AFTER,
        };
        (hook.event(), wiring.function(binary).map(|function| function.name.as_str()).unwrap_or_default())
    });
    let content = match scenario.app_spec {
        AppSpecFormat::Json => json!({
            "version": 0.0,
            "Resources": [{SERVICE: {
                "Type": "AWS::Lambda::Function",
                "Properties": {"Name": SERVICE, "Alias": ALIAS, "CurrentVersion": current, "TargetVersion": target}
            }}],
            "Hooks": hooks.map(|(event, name)| json!({event: name})).collect::<Vec<Value>>()
        })
        .to_string(),
        AppSpecFormat::Yaml => {
            let hooks: String = hooks.map(|(event, name)| format!("  - {event}: {name}\n")).collect();
            format!(
                "version: 0.0\nResources:\n  - {SERVICE}:\n      Type: AWS::Lambda::Function\n      Properties: {{ Name: {SERVICE}, Alias: {ALIAS}, CurrentVersion: {current}, TargetVersion: {target} }}\nHooks:\n{hooks}"
            )
        }
    };
    let input = json!({
        "applicationName": SERVICE,
        "deploymentGroupName": GROUP,
        "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"content": content}}
    });
    let answer = codedeploy(aws, "CreateDeployment", input).await?;
    Ok(answer.get("deploymentId").and_then(Value::as_str).unwrap_or_default().to_owned())
}
