//! The CloudFormation template of a protected deployment group: its alarms and its policy.

use super::impact::{alarm_name, measures};
use super::parameter::{Form, Parameter, conditions, parameters, to_cloudformation};
use super::{Alarm, EntryPoint, HAS_ROUTE, HAS_TRANSACTIONS, Purpose, alarms};
use crate::policy_file::DEFAULT_PREFIX;
use serde_json::{Map, Value, json};
use snapback_core::Signal;

/// The template for a function behind `kind`, without a transform: SAM takes it as a nested application, CDK as `CfnInclude`.
#[must_use]
pub fn template(kind: EntryPoint) -> Value {
    let alarms = alarms(kind);
    let mut resources: Map<String, Value> =
        alarms.iter().map(|alarm| (alarm.logical_id.clone(), alarm_resource(alarm))).collect();
    resources.insert("PolicyParameter".to_owned(), policy_parameter(kind));
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!("Snapback: alarms and policy of one deployment group ({}). Generated: make templates", kind.as_str()),
        "Parameters": parameters(kind).iter().map(|parameter| (parameter.name.to_owned(), declaration(parameter))).collect::<Map<_, _>>(),
        "Conditions": conditions(kind).into_iter().map(|(name, parameter)| (name.to_owned(), is_given(parameter))).collect::<Map<_, _>>(),
        "Resources": resources,
        "Outputs": outputs(&alarms),
    })
}

fn is_given(parameter: &str) -> Value {
    json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": parameter }, ""] }] })
}

fn declaration(parameter: &Parameter) -> Value {
    let mut declared = match parameter.form {
        Form::Text { default, pattern, allowed } => {
            let mut declared = json!({ "Type": "String", "AllowedPattern": pattern, "ConstraintDescription": allowed });
            if let (Some(default), Some(members)) = (default, declared.as_object_mut()) {
                members.insert("Default".to_owned(), default.into());
            }
            declared
        }
        Form::Number { default, least, most } => {
            json!({ "Type": "Number", "Default": default, "MinValue": least, "MaxValue": most })
        }
        Form::Word(words) => json!({ "Type": "String", "AllowedValues": words, "Default": words.first() }),
        Form::Any => json!({ "Type": "String", "Default": "" }),
    };
    if let Some(members) = declared.as_object_mut() {
        members.insert("Description".to_owned(), parameter.description.into());
    }
    declared
}

fn alarm_resource(alarm: &Alarm) -> Value {
    let resource_type =
        if alarm.parts.is_empty() { "AWS::CloudWatch::Alarm" } else { "AWS::CloudWatch::CompositeAlarm" };
    let mut resource = Map::new();
    resource.insert("Type".to_owned(), resource_type.into());
    resource.insert("Properties".to_owned(), to_cloudformation(&alarm.properties));
    if let Some(condition) = alarm.condition {
        resource.insert("Condition".to_owned(), condition.into());
    }
    if !alarm.parts.is_empty() {
        // Its rule names them, which CloudFormation does not see.
        resource.insert("DependsOn".to_owned(), json!(alarm.parts));
    }
    resource.into()
}

/// From the moment it exists, the group is watched and has a heartbeat.
fn policy_parameter(kind: EntryPoint) -> Value {
    json!({
        "Type": "AWS::SSM::Parameter",
        "Properties": to_cloudformation(&json!({
            "Name": format!("{DEFAULT_PREFIX}/${{Application}}/${{Group}}"),
            "Description": "Snapback's policy for ${Application}/${Group}",
            "Type": "String",
            // Over 4 KB a parameter has to be an advanced one.
            "Tier": "Intelligent-Tiering",
            "Value": policy(kind),
        })),
    })
}

/// The policy: the one that is given, or the recommended one with the alarms of the template.
pub(super) fn policy(kind: EntryPoint) -> Value {
    let of = |has_transactions| {
        let whole = recommended_policy(kind, has_transactions, metric(kind, None));
        match route(kind) {
            None => json!(whole),
            Some(route) => {
                let routed = recommended_policy(kind, has_transactions, metric(kind, Some(route)));
                json!({ "Fn::If": [HAS_ROUTE, routed, whole] })
            }
        }
    };
    let recommended = json!({ "Fn::If": [HAS_TRANSACTIONS, of(true), of(false)] });
    json!({ "Fn::If": ["HasPolicy", "${Policy}", recommended] })
}

fn recommended_policy(kind: EntryPoint, has_transactions: bool, metric: Option<Value>) -> String {
    let measures = measures(kind);
    let names = |signal| {
        let named = measures.iter().filter(|measure| measure.signal == signal);
        named.map(|measure| alarm_name(measure.id)).collect::<Vec<_>>()
    };
    let compared = |signal| json!({ "alarms": names(signal), "against_baseline": {} });
    let with = |mut signal: Value, name: &str, value: Value| {
        if let Some(members) = signal.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
        signal
    };
    let errors = compared(Signal::Errors);
    let mut signals = json!({
        "errors": metric.map_or(errors.clone(), |metric| with(errors, "metric", metric)),
        "latency": compared(Signal::Latency),
        "availability": compared(Signal::Availability),
        "slo": { "objective": "${Objective}%", "alarms": [alarm_name("burn_rate")] },
    });
    if has_transactions {
        // The two metrics need not know the versions, and then nothing can be compared before the new one has all traffic: so
        // the alarm rolls back alone.
        let metric = json!({ "custom": {
            "namespace": "${TransactionsNamespace}",
            "all": "${TransactionsAll}",
            "bad": "${TransactionsBad}",
            "dimensions": { "Service": "${TransactionsServiceName}" },
        } });
        let transactions = with(compared(Signal::Transactions), "metric", metric);
        signals = with(signals, "transactions", with(transactions, "sufficient", true.into()));
    }
    let rest =
        json!({ "service": "${ServiceName}", "mode": "${Mode}", "bake": "${Bake}", "signals": signals }).to_string();
    // The probes are JSON already, so they go between the texts and not into one.
    rest.replacen('{', r#"{"before_traffic":{"probes":${Probes}},"#, 1)
}

/// Where the policy's signal `errors` gets its counts from, beside Lambda: of the whole stage, or of a route.
fn metric(kind: EntryPoint, route: Option<Value>) -> Option<Value> {
    let (name, mut metric) = match kind {
        EntryPoint::Lambda => return None,
        EntryPoint::RestApi => ("rest_api", json!({ "name": "${ApiName}", "stage": "${Stage}" })),
        EntryPoint::HttpApi => ("http_api", json!({ "id": "${ApiId}", "stage": "${Stage}" })),
        EntryPoint::LoadBalancer => {
            ("load_balancer", json!({ "load_balancer": "${LoadBalancer}", "target_group": "${TargetGroup}" }))
        }
    };
    if let (Some(members), Some(Value::Object(route))) = (metric.as_object_mut(), route) {
        members.extend(route);
    }
    Some(json!({ name: metric }))
}

/// What the policy says of a route.
fn route(kind: EntryPoint) -> Option<Value> {
    match kind {
        EntryPoint::Lambda | EntryPoint::LoadBalancer => None,
        EntryPoint::RestApi => Some(json!({ "method": "${Method}", "resource": "${Resource}" })),
        EntryPoint::HttpApi => Some(json!({ "route": "${Route}" })),
    }
}

fn outputs(alarms: &[Alarm]) -> Value {
    let name = |alarm: &Alarm| alarm.properties.get("AlarmName").map(to_cloudformation).unwrap_or_default();
    let mut outputs = Map::new();
    for alarm in alarms.iter().filter(|alarm| alarm.purpose != Purpose::Part) {
        let mut output = json!({ "Value": name(alarm) });
        if let (Some(condition), Some(members)) = (alarm.condition, output.as_object_mut()) {
            members.insert("Condition".to_owned(), condition.into());
        }
        outputs.insert(format!("{}Name", alarm.logical_id), output);
    }
    outputs.insert("PolicyParameterName".to_owned(), json!({ "Value": { "Ref": "PolicyParameter" } }));
    outputs.into()
}
