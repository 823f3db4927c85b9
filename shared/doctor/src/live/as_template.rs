//! A group in the shape of a template, for the rules that templates have too.

use serde_json::{Map, Value, json};

use super::{LiveFunction, LiveGroup, LivePolicy};
use crate::facts::LATEST;
use crate::{Diagnosis, examine_template};
use snapback_core::observed::Platform;
use snapback_wire::policy_file::{parameter_name, to_json};

const APPLICATION: &str = "application";
const ALIAS: &str = "alias";
const POLICY: &str = "policy";

/// What the rules about templates find.
pub(super) fn findings(live: &LiveGroup) -> Vec<Diagnosis> {
    // It is made of names and values that AWS keeps: never larger than a template, and always one.
    let Ok(report) = examine_template(&template(live).to_string()) else { return Vec::new() };
    let in_account = |finding: Diagnosis| Diagnosis { line: 0, path: String::new(), ..finding };
    report.findings.into_iter().map(in_account).collect()
}

/// What a finding about the group itself is about.
pub(super) fn subject(live: &LiveGroup) -> String {
    format!("deployment group {}", live.group)
}

fn template(live: &LiveGroup) -> Value {
    let mut resources = Map::new();
    for alarm in &live.alarms {
        let kind = if alarm.is_composite { "AWS::CloudWatch::CompositeAlarm" } else { "AWS::CloudWatch::Alarm" };
        resources.insert(alarm.arn.clone(), json!({ "Type": kind, "Properties": alarm.properties }));
    }
    let platform = match &live.platform {
        Platform::Lambda | Platform::Ecs | Platform::Server => live.platform.as_str(),
        Platform::Other(_) => "unknown",
    };
    let (application, group) = (live.group.application(), live.group.group());
    resources.insert(
        APPLICATION.to_owned(),
        json!({
            "Type": "AWS::CodeDeploy::Application",
            "Properties": { "ApplicationName": application, "ComputePlatform": platform },
        }),
    );
    resources.insert(subject(live), group_resource(live, application, group));
    if let Some(hooks) = &live.hooks {
        resources.insert(
            ALIAS.to_owned(),
            json!({
                "Type": "AWS::Lambda::Alias",
                "Properties": {},
                "UpdatePolicy": { "CodeDeployLambdaAliasUpdate": hook_names(hooks, group) },
            }),
        );
    }
    for function in &live.hook_functions {
        let timeout = function.timeout.map(|timeout| timeout.as_secs());
        let mut properties = json!({ "FunctionName": function.name });
        if let (Some(timeout), Some(members)) = (timeout, properties.as_object_mut()) {
            members.insert("Timeout".to_owned(), json!(timeout));
        }
        let qualifier = function.qualifier.as_deref().unwrap_or(LATEST);
        let arn = function.arn.strip_suffix(&format!(":{qualifier}")).unwrap_or(&function.arn);
        resources.insert(arn.to_owned(), json!({ "Type": "AWS::Lambda::Function", "Properties": properties }));
        resources.insert(format!("{arn}:{qualifier}"), calls_resource(function, qualifier));
    }
    if let LivePolicy::Valid(policy) = &live.policy {
        resources.insert(
            POLICY.to_owned(),
            json!({
                "Type": "AWS::SSM::Parameter",
                "Properties": {
                    "Name": parameter_name(snapback_wire::policy_file::DEFAULT_PREFIX, &live.group),
                    "Value": to_json(policy),
                },
            }),
        );
    }
    // They are here because group or policy names them; who else looks at them is not seen.
    let watched: Vec<&str> = live.alarms.iter().map(|alarm| alarm.name.as_str()).collect();
    json!({ "Resources": resources, "Outputs": { "Watched": { "Value": watched } } })
}

fn group_resource(live: &LiveGroup, application: &str, group: &str) -> Value {
    let alarms: Vec<Value> = live.attached.iter().map(|name| json!({ "Name": name })).collect();
    let mut properties = json!({
        "ApplicationName": application,
        "DeploymentGroupName": group,
        "AlarmConfiguration": {
            "Enabled": live.alarms_enabled,
            "IgnorePollAlarmFailure": live.ignores_poll_failure,
            "Alarms": alarms,
        },
        "AutoRollbackConfiguration": {
            "Enabled": live.rollback_events.is_some(),
            "Events": live.rollback_events.clone().unwrap_or_default(),
        },
    });
    if let (Some(config), Some(members)) = (&live.config, properties.as_object_mut()) {
        members.insert("DeploymentConfigName".to_owned(), json!(config));
    }
    json!({ "Type": "AWS::CodeDeploy::DeploymentGroup", "Properties": properties })
}

fn hook_names(hooks: &snapback_core::deployment::HookFunctions, group: &str) -> Value {
    let mut names = json!({ "DeploymentGroupName": group });
    if let Some(members) = names.as_object_mut() {
        let hooks = [("BeforeAllowTrafficHook", &hooks.before), ("AfterAllowTrafficHook", &hooks.after)];
        members.extend(hooks.into_iter().filter_map(|(name, hook)| Some((name.to_owned(), json!(hook.as_ref()?)))));
    }
    names
}

fn calls_resource(function: &LiveFunction, qualifier: &str) -> Value {
    let mut calls = Map::new();
    calls.insert("FunctionName".to_owned(), json!(function.name));
    calls.insert("Qualifier".to_owned(), json!(qualifier));
    if let Some(retries) = function.retries {
        calls.insert("MaximumRetryAttempts".to_owned(), json!(retries));
    }
    if let Some(age) = function.event_age {
        calls.insert("MaximumEventAgeInSeconds".to_owned(), json!(age.as_secs()));
    }
    if function.has_destination {
        calls.insert("DestinationConfig".to_owned(), json!({ "OnFailure": {} }));
    }
    json!({ "Type": "AWS::Lambda::EventInvokeConfig", "Properties": calls })
}
