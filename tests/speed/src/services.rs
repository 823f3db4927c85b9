//! Services on the emulator, for measurements: functions that nobody calls and that have no process, with made up metrics.

use serde_json::{Value, json};
use snapback_emulator::Emulator;
use snapback_emulator::lambda::FunctionConfig;
use snapback_emulator::parts::{ACCOUNT, AliasRouting};
use snapback_emulator::protocol::Service;
use snapback_rehearsal::{ALIAS, POLICY_PREFIX, TABLE};
use snapback_wire::record::{DEPLOYMENT_PREFIX, STATE, attr};
use std::collections::BTreeMap;

use crate::Failure;

/// Share of the new version while traffic shifts, per cent.
pub const CANARY_PERCENT: i64 = 30;
/// Minutes for which that share stays; longer than any measurement.
const SHIFT_MINUTES: u32 = 600;
/// Requests a second of each service.
const LOAD: i64 = 20;
/// Latencies, in ms, of which each bucket has its share; fixed, so that nothing looks slower than before.
const LATENCIES_MS: [f64; 5] = [20.0, 35.0, 50.0, 65.0, 80.0];
/// Data of one PutMetricData.
const DATA_PER_PUT: usize = 900;
/// Pages of a scan; one more is a mistake.
const PAGES_MAX: usize = 1000;

/// Function with versions 1 and 2, alias on version 1, CodeDeploy application and group. All are called `name`.
///
/// * `alarms`: names of those that are attached to the group.
///
/// # Errors
/// What the emulator refuses.
pub async fn stand_up(aws: &Emulator, name: &str, alarms: &[String]) -> Result<(), Failure> {
    let mut config = FunctionConfig::new(name, "/bin/sh", name);
    // Nothing ever runs, so no binary is read.
    config.package = Some(name.as_bytes().to_vec());
    // Whoever wants to be protected says so by this tag.
    config.tags = [("snapback".to_owned(), "protected".to_owned())].into();
    aws.lambda.create_function(config)?;
    let old = aws.lambda.publish_version(name, None)?;
    aws.lambda.update_code(name, "/bin/sh".into(), Some(format!("{name} anew").into_bytes()))?;
    aws.lambda.publish_version(name, None)?;
    aws.lambda.create_alias(name, ALIAS, AliasRouting { version: old, additional: None })?;
    codedeploy(aws, "CreateApplication", json!({"applicationName": name, "computePlatform": "Lambda"})).await?;
    let canary = json!({"canaryPercentage": CANARY_PERCENT, "canaryInterval": SHIFT_MINUTES});
    let config = json!({
        "deploymentConfigName": format!("{name}-canary"), "computePlatform": "Lambda",
        "trafficRoutingConfig": {"type": "TimeBasedCanary", "timeBasedCanary": canary}
    });
    codedeploy(aws, "CreateDeploymentConfig", config).await?;
    let events = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"];
    let group = json!({
        "applicationName": name, "deploymentGroupName": name, "deploymentConfigName": format!("{name}-canary"),
        "serviceRoleArn": format!("arn:aws:iam::{ACCOUNT}:role/codedeploy"),
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "autoRollbackConfiguration": {"enabled": true, "events": events},
        "alarmConfiguration": attached(alarms)
    });
    codedeploy(aws, "CreateDeploymentGroup", group).await?;
    Ok(())
}

/// Attaches these alarms to a deployment group, and none besides.
///
/// # Errors
/// What CodeDeploy refuses.
pub async fn attach_alarms(aws: &Emulator, application: &str, group: &str, alarms: &[String]) -> Result<(), Failure> {
    let input = json!({
        "applicationName": application, "currentDeploymentGroupName": group, "alarmConfiguration": attached(alarms)
    });
    codedeploy(aws, "UpdateDeploymentGroup", input).await.map(drop)
}

/// `alarmConfiguration` with these names.
fn attached(alarms: &[String]) -> Value {
    json!({
        "enabled": !alarms.is_empty(), "ignorePollAlarmFailure": false,
        "alarms": alarms.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()
    })
}

/// Puts the policy of the group of a service.
///
/// # Errors
/// What the emulator refuses.
pub async fn put_policy(aws: &Emulator, service: &str, policy: &Value) -> Result<(), Failure> {
    let parameter = json!({
        "Name": format!("{POLICY_PREFIX}/{service}/{service}"), "Value": policy.to_string(), "Type": "String"
    });
    call(aws, aws.ssm.as_ref(), "ssm", "PutParameter", parameter).await.map(drop)
}

/// Starts a deployment whose shift outlasts the measurement; answers its id.
///
/// * `hooks`: lifecycle event and function of each.
///
/// # Errors
/// What CodeDeploy refuses.
pub async fn deploy(aws: &Emulator, service: &str, hooks: &[(&str, &str)]) -> Result<String, Failure> {
    let properties = json!({"Name": service, "Alias": ALIAS, "CurrentVersion": "1", "TargetVersion": "2"});
    let mut spec = json!({
        "version": 0.0, "Resources": [{service: {"Type": "AWS::Lambda::Function", "Properties": properties}}]
    });
    if let (false, Some(members)) = (hooks.is_empty(), spec.as_object_mut()) {
        let hooks: Vec<Value> = hooks.iter().map(|(event, function)| json!({*event: function})).collect();
        members.insert("Hooks".to_owned(), json!(hooks));
    }
    let revision = json!({"revisionType": "AppSpecContent", "appSpecContent": {"content": spec.to_string()}});
    let input = json!({"applicationName": service, "deploymentGroupName": service, "revision": revision});
    let answer = codedeploy(aws, "CreateDeployment", input).await?;
    let id = answer.get("deploymentId").and_then(Value::as_str);
    Ok(id.ok_or("CreateDeployment answered without an id")?.to_owned())
}

async fn codedeploy(aws: &Emulator, operation: &str, input: Value) -> Result<Value, Failure> {
    call(aws, &aws.codedeploy, "codedeploy", operation, input).await
}

async fn call(
    aws: &Emulator,
    service: &dyn Service,
    name: &'static str,
    operation: &str,
    input: Value,
) -> Result<Value, Failure> {
    let answer = aws.call(service, name, operation, input).await;
    answer.map_err(|fault| format!("{operation}: {}: {}", fault.code, fault.message).into())
}

fn dimensions(service: &str, version: Option<&str>) -> Value {
    let dimension = |name: &str, value: &str| json!({"Name": name, "Value": value});
    let mut dimensions = vec![dimension("FunctionName", service), dimension("Resource", &format!("{service}:{ALIAS}"))];
    dimensions.extend(version.map(|version| dimension("ExecutedVersion", version)));
    Value::Array(dimensions)
}

/// A raw alarm on the errors of a service: more than 100 in a minute, which never happens by itself.
#[must_use]
pub fn alarm_on_errors(name: &str, service: &str) -> Value {
    json!({
        "AlarmName": name, "Namespace": "AWS/Lambda", "MetricName": "Errors", "Dimensions": dimensions(service, None),
        "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 100,
        "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"
    })
}

/// A raw alarm on the share of failed requests of a service, the fastest that a team can make of Lambda's metrics: one minute above
/// `percent` is enough.
#[must_use]
pub fn alarm_on_error_rate(name: &str, service: &str, percent: u32) -> Value {
    let query = |id: &str, metric: &str| {
        let metric = json!({"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions(service, None)});
        json!({"Id": id, "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": false})
    };
    let rate = json!({"Id": "rate", "Expression": "100 * errors / invocations", "ReturnData": true});
    json!({
        "AlarmName": name, "Metrics": [rate, query("errors", "Errors"), query("invocations", "Invocations")],
        "EvaluationPeriods": 1, "DatapointsToAlarm": 1, "Threshold": percent,
        "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"
    })
}

/// What requests of one version, or of the whole alias, leave in `AWS/Lambda`.
fn data(service: &str, version: Option<&str>, at_s: i64, requests: i64, failed: i64) -> Vec<Value> {
    let datum = |name: &str, points: &[(f64, i64)]| {
        let values: Vec<f64> = points.iter().map(|(value, _)| *value).collect();
        let counts: Vec<i64> = points.iter().map(|(_, count)| *count).collect();
        json!({
            "MetricName": name, "Dimensions": dimensions(service, version), "Timestamp": at_s,
            "Values": values, "Counts": counts, "StorageResolution": 1
        })
    };
    let of_each = (requests / 5).max(1);
    let (fine, bad) = ((0.0, requests - failed), (1.0, failed));
    let errors: Vec<(f64, i64)> = [fine, bad].into_iter().filter(|(_, count)| *count > 0).collect();
    vec![
        datum("Invocations", &[(1.0, requests)]),
        datum("Errors", &errors),
        datum("Duration", &LATENCIES_MS.map(|latency| (latency, of_each))),
    ]
}

/// Data of `seconds` of traffic of a service.
///
/// * `canary_percent`: of it to the new version.
/// * `failed_percent`: of the requests of the new version that fail.
#[must_use]
pub fn traffic(service: &str, at_s: i64, seconds: i64, canary_percent: i64, failed_percent: i64) -> Vec<Value> {
    let all = LOAD * seconds;
    let new = all * canary_percent / 100;
    let failed = new * failed_percent / 100;
    let mut data_of_all = data(service, None, at_s, all, failed);
    data_of_all.extend(data(service, Some("1"), at_s, all - new, 0));
    if new > 0 {
        data_of_all.extend(data(service, Some("2"), at_s, new, failed));
    }
    data_of_all
}

/// Traffic of the old version alone, for so many minutes until now.
///
/// # Errors
/// What CloudWatch refuses.
pub async fn put_past(aws: &Emulator, service: &str, minutes: i64) -> Result<(), Failure> {
    let now_s = aws.clock.now_ms() / 1000;
    let each = (1..=minutes).rev().map(|minute| now_s - minute * 60);
    put_data(aws, &each.flat_map(|at_s| traffic(service, at_s, 60, 0, 0)).collect::<Vec<Value>>()).await
}

/// Puts what [`traffic`] makes.
///
/// # Errors
/// What CloudWatch refuses.
pub async fn put_data(aws: &Emulator, data: &[Value]) -> Result<(), Failure> {
    for part in data.chunks(DATA_PER_PUT) {
        aws.cloudwatch.call("PutMetricData", json!({"Namespace": "AWS/Lambda", "MetricData": part})).await?;
    }
    Ok(())
}

/// What Snapback has on record of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnRecord {
    /// Word of its phase.
    pub phase: String,
    /// Nothing is left to do.
    pub is_settled: bool,
}

/// All deployments on record, by id.
///
/// # Errors
/// When the table cannot be read.
pub async fn on_record(aws: &Emulator) -> Result<BTreeMap<String, OnRecord>, Failure> {
    let scan = json!({
        "TableName": TABLE, "ConsistentRead": true, "FilterExpression": "sk = :state",
        "ExpressionAttributeValues": {":state": {"S": STATE}}
    });
    let (mut found, mut start) = (BTreeMap::new(), Value::Null);
    for _ in 0..PAGES_MAX {
        let mut page = scan.clone();
        if let (false, Some(members)) = (start.is_null(), page.as_object_mut()) {
            members.insert("ExclusiveStartKey".to_owned(), start);
        }
        let answer = call(aws, aws.dynamodb.as_ref(), "dynamodb", "Scan", page).await?;
        let items = answer.get("Items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        found.extend(items.iter().filter_map(read_state));
        start = answer.get("LastEvaluatedKey").cloned().unwrap_or(Value::Null);
        if start.is_null() {
            return Ok(found);
        }
    }
    Err(format!("the table has more than {PAGES_MAX} pages").into())
}

/// One deployment on record, if it is.
///
/// # Errors
/// When the table cannot be read.
pub async fn record_of(aws: &Emulator, deployment: &str) -> Result<Option<OnRecord>, Failure> {
    let key = json!({attr::PK: {"S": format!("{DEPLOYMENT_PREFIX}{deployment}")}, attr::SK: {"S": STATE}});
    let input = json!({"TableName": TABLE, "ConsistentRead": true, "Key": key});
    let answer = call(aws, aws.dynamodb.as_ref(), "dynamodb", "GetItem", input).await?;
    Ok(answer.get("Item").and_then(read_state).map(|(_, record)| record))
}

/// Id and record in a STATE item as DynamoDB answers it.
fn read_state(item: &Value) -> Option<(String, OnRecord)> {
    let text = |name: &str| item.get(name)?.get("S")?.as_str();
    let id = text(attr::PK)?.strip_prefix(DEPLOYMENT_PREFIX)?.to_owned();
    Some((id, OnRecord { phase: text(attr::PHASE)?.to_owned(), is_settled: item.get(attr::LIVE_PK).is_none() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(data: &[Value], metric: &str, version: Option<&str>) -> (i64, f64) {
        let of_version = dimensions("checkout", version);
        let datum = data.iter().find(|datum| datum["MetricName"] == metric && datum["Dimensions"] == of_version);
        let datum = datum.unwrap();
        let counts: Vec<i64> = serde_json::from_value(datum["Counts"].clone()).unwrap();
        let values: Vec<f64> = serde_json::from_value(datum["Values"].clone()).unwrap();
        let weighted =
            values.iter().zip(&counts).map(|(value, count)| value * f64::from(i32::try_from(*count).unwrap()));
        (counts.iter().sum(), weighted.sum())
    }

    #[test]
    fn the_alias_has_what_its_versions_have() {
        let data = traffic("checkout", 1_000, 60, 30, 50);
        let [all, old, new] = [None, Some("1"), Some("2")].map(|version| sums(&data, "Invocations", version));
        assert_eq!((all.0, old.0, new.0), (1200, 840, 360));
        let errors = [None, Some("1"), Some("2")].map(|version| sums(&data, "Errors", version));
        assert_eq!(errors, [(1200, 180.0), (840, 0.0), (360, 180.0)]);
    }

    #[test]
    fn without_a_canary_its_version_has_no_data() {
        let data = traffic("checkout", 1_000, 60, 0, 0);
        assert_eq!(data.len(), 6);
        assert_eq!(sums(&data, "Errors", None), (1200, 0.0));
    }

    #[test]
    fn a_record_says_its_phase_and_whether_it_is_settled() {
        let mut item = json!({
            "pk": {"S": "DEPLOYMENT#d-1"}, "sk": {"S": "STATE"}, "phase": {"S": "in-shift"}, "live_pk": {"S": "LIVE#1"}
        });
        let read = |item: &Value| read_state(item).map(|(id, record)| (id, record.phase, record.is_settled));
        assert_eq!(read(&item), Some(("d-1".to_owned(), "in-shift".to_owned(), false)));
        item.as_object_mut().unwrap().remove("live_pk");
        assert_eq!(read(&item), Some(("d-1".to_owned(), "in-shift".to_owned(), true)));
        assert_eq!(read(&json!({"pk": {"S": "ALARM#a"}})), None);
    }
}
