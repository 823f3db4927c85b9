//! What runs on the emulator before anything happens: an installation of Snapback, and the services that it protects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::VersionFaults;
use crate::scenario::{AppSpecFormat, Hook, Service, Shift};
use crate::wiring::{CODEDEPLOY_ROLE, Function, Wiring};
use snapback_emulator::iam::Ask;
use snapback_emulator::lambda::{ConfigurationChange, FunctionConfig};
use snapback_emulator::parts::{AliasRouting, ApiError};
use snapback_emulator::protocol::ApiFault;
use snapback_emulator::{Emulator, OPERATOR};
use snapback_wire::emf::NAMESPACE;

/// Name of the table.
pub const TABLE: &str = "snapback";
/// The service of a scenario that names none: function, service and CodeDeploy application are called so.
pub const SERVICE: &str = "checkout";
/// The alias of every service.
pub const ALIAS: &str = "live";
/// The stage of every API.
pub(crate) const API_STAGE: &str = "prod";
/// The deployment group of [`SERVICE`].
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

/// Why something could not be put on the emulator.
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
    /// A part of the emulator refused its set-up.
    #[error("setting up {what}: {why}")]
    Refused {
        /// What was set up.
        what: String,
        /// The part's error.
        why: String,
    },
}

impl InstallError {
    pub(crate) fn of(what: impl Into<String>) -> impl FnOnce(ApiFault) -> Self {
        let what = what.into();
        move |fault| Self::Refused { what, why: format!("{}: {}", fault.code, fault.message) }
    }

    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(ApiError) -> Self {
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

/// The two alarms that Snapback has on the group of a service.
fn own_alarms(service: &Service) -> Result<(Vec<Value>, Vec<String>), InstallError> {
    let inputs = crate::alarms::own(service)
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
    aws: &Emulator,
    wiring: &Wiring,
    folder: &Path,
    deadline: Duration,
) -> Result<String, InstallError> {
    check_binaries(wiring, folder)?;
    // Verdicts and heartbeats are published once in a minute of the emulator.
    aws.cloudwatch.scale_alarms(NAMESPACE);
    table(aws, wiring).await?;
    let topic = aws.sns.create_topic(&wiring.topic);
    for queue in &wiring.queues {
        aws.queues.create(queue);
    }
    for function in &wiring.functions {
        let trust = aws.access.iam().admit(Ask::new("lambda.amazonaws.com", "sts:AssumeRole", &function.role));
        trust.map_err(|_| InstallError::Refused {
            what: function.name.clone(),
            why: "The role defined for the function cannot be assumed by Lambda.".to_owned(),
        })?;
        let config = config_of(function, folder, deadline);
        aws.lambda.create_function(config).map_err(InstallError::api(&function.name))?;
    }
    for rule in &wiring.rules {
        for (operation, input) in [("PutRule", &rule.rule), ("PutTargets", &rule.targets)] {
            let answer = aws.call(&aws.bus, "events", operation, input.clone()).await;
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

async fn table(aws: &Emulator, wiring: &Wiring) -> Result<(), InstallError> {
    if wiring.table_name() != TABLE {
        let why = format!("it is called `{}`, and rehearsals read `{TABLE}`", wiring.table_name());
        return Err(InstallError::Refused { what: "the table".to_owned(), why });
    }
    match aws.call(aws.dynamodb.as_ref(), "dynamodb", "CreateTable", wiring.table.clone()).await {
        Ok(_) => Ok(()),
        // A table file of an earlier run goes on being used.
        Err(fault) if fault.code.contains("ResourceInUse") || fault.message.contains("already exists") => Ok(()),
        Err(fault) => Err(InstallError::of("the table")(fault)),
    }
}

/// Number of each version of a service, by its name in the scenario; `live` is the one that serves.
pub type Versions = BTreeMap<String, String>;

/// Puts a service on the emulator: function, versions, alias, alarms, group and policy. Its versions beside `live` are published
/// but get no traffic.
///
/// # Errors
/// When a part refuses.
pub async fn service(
    aws: &Emulator,
    wiring: &Wiring,
    folder: &Path,
    service: &Service,
    policy: &Value,
) -> Result<Versions, InstallError> {
    let versions = publish(aws, folder, service)?;
    let version = versions.get("live").cloned().unwrap_or_default();
    aws.lambda
        .create_alias(&service.function, ALIAS, AliasRouting { version, additional: None })
        .map_err(InstallError::api(ALIAS))?;
    let handler = wiring.function(ALARM_HANDLER).filter(|_| service.alarm_actions);
    let actions: Vec<&str> = handler.iter().map(|function| function.arn.as_str()).collect();
    for mut alarm in crate::alarms::raw(service) {
        if let Some(members) = alarm.as_object_mut() {
            members.insert("AlarmActions".to_owned(), json!(actions));
        }
        aws.cloudwatch
            .call("PutMetricAlarm", alarm)
            .await
            .map_err(|error| InstallError::Refused { what: "a raw alarm".into(), why: error.to_string() })?;
    }
    group(aws, service).await?;
    let parameter = json!({
        "Name": format!("{POLICY_PREFIX}/{}/{}", service.name, service.group),
        "Value": policy.to_string(), "Type": "String", "Overwrite": true
    });
    aws.call(aws.ssm.as_ref(), "ssm", "PutParameter", parameter).await.map_err(InstallError::of("the policy"))?;
    Ok(versions)
}

/// The function of a service with all its versions.
fn publish(aws: &Emulator, folder: &Path, service: &Service) -> Result<Versions, InstallError> {
    let name = service.function.as_str();
    let mut versions = BTreeMap::new();
    let mut config = FunctionConfig::new(name, folder.join(DEMO_APP), name);
    // Whoever wants to be protected says so by this tag.
    config.tags = [("snapback".to_owned(), "protected".to_owned())].into();
    config.timeout = service.timeout.map_or(SERVICE_TIMEOUT, |span| span.0);
    config.max_concurrency_per_environment = service.concurrency.unwrap_or(SERVICE_CONCURRENCY);
    aws.lambda.create_function(config).map_err(InstallError::api(name))?;
    let good = VersionFaults::default();
    let live = service.versions.get("live").unwrap_or(&good);
    let others = service.versions.iter().filter(|(release, _)| *release != "live");
    for (release, faults) in std::iter::once((&"live".to_owned(), live)).chain(others) {
        let mut environment = faults.environment();
        environment.insert("DEMO_SERVICE".to_owned(), service.name.clone());
        environment.insert("DEMO_RELEASE".to_owned(), release.clone());
        let change = ConfigurationChange { environment: Some(environment), ..ConfigurationChange::default() };
        aws.lambda.update_configuration(name, change).map_err(InstallError::api(name))?;
        let version = aws.lambda.publish_version(name, Some(release.clone())).map_err(InstallError::api(name))?;
        if let Some(share) = faults.lost_share {
            aws.lambda.lose_requests(name, &version, share).map_err(InstallError::api(name))?;
        }
        versions.insert(release.clone(), version);
    }
    Ok(versions)
}

/// Application, deployment configuration and group, with Snapback's own two alarms on it.
async fn group(aws: &Emulator, service: &Service) -> Result<(), InstallError> {
    let (alarms, names) = own_alarms(service)?;
    for alarm in alarms {
        aws.cloudwatch
            .call("PutMetricAlarm", alarm)
            .await
            .map_err(|error| InstallError::Refused { what: "an own alarm".into(), why: error.to_string() })?;
    }
    let config = match &service.shift {
        Shift::Predefined(name) => name.clone(),
        Shift::Canary { percent, minutes } => {
            let name = format!("{}-canary-{percent}-percent-{minutes}-minutes", service.name);
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
    codedeploy(aws, "CreateApplication", json!({"applicationName": service.name, "computePlatform": "Lambda"})).await?;
    let group = json!({
        "applicationName": service.name,
        "deploymentGroupName": service.group,
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
pub(crate) async fn codedeploy(aws: &Emulator, operation: &str, input: Value) -> Result<Value, InstallError> {
    let service = aws.codedeploy.clone();
    aws.call(&service, "codedeploy", operation, input)
        .await
        .map_err(InstallError::of(format!("{operation} as {OPERATOR}")))
}

/// Somebody deploys version `target` of a service with its AppSpec; answers the deployment id.
///
/// # Errors
/// When CodeDeploy refuses.
pub async fn deploy(aws: &Emulator, wiring: &Wiring, service: &Service, target: &str) -> Result<String, InstallError> {
    use snapback_emulator::parts::LambdaControl;
    let Service { name: application, function, group, .. } = service;
    let current = aws.lambda.alias(function, ALIAS).map(|routing| routing.version).unwrap_or_default();
    let hooks = service.hooks.iter().map(|hook| {
        let binary = match hook {
            Hook::BeforeAllowTraffic => BEFORE,
            Hook::AfterAllowTraffic => AFTER,
        };
        (hook.event(), wiring.function(binary).map(|function| function.name.as_str()).unwrap_or_default())
    });
    let content = match service.app_spec {
        AppSpecFormat::Json => json!({
            "version": 0.0,
            "Resources": [{function: {
                "Type": "AWS::Lambda::Function",
                "Properties": {"Name": function, "Alias": ALIAS, "CurrentVersion": current, "TargetVersion": target}
            }}],
            "Hooks": hooks.map(|(event, name)| json!({event: name})).collect::<Vec<Value>>()
        })
        .to_string(),
        AppSpecFormat::Yaml => {
            let hooks: String = hooks.map(|(event, name)| format!("  - {event}: {name}\n")).collect();
            format!(
                "version: 0.0\nResources:\n  - {function}:\n      Type: AWS::Lambda::Function\n      Properties: {{ Name: {function}, Alias: {ALIAS}, CurrentVersion: {current}, TargetVersion: {target} }}\nHooks:\n{hooks}"
            )
        }
    };
    let input = json!({
        "applicationName": application,
        "deploymentGroupName": group,
        "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"content": content}}
    });
    let answer = codedeploy(aws, "CreateDeployment", input).await?;
    Ok(answer.get("deploymentId").and_then(Value::as_str).unwrap_or_default().to_owned())
}
