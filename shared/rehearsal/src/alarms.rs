//! The alarms of a demo service: raw customer-impact alarms, and Snapback's own two on its group.
//!
//! Periods are 10 s here, so that a rehearsal takes seconds; in an account they are 60 s.

use crate::install::{ALIAS, API_STAGE};
use crate::scenario::Service;
use serde_json::{Value, json};
use snapback_wire::alarms::{EntryPoint, ParameterError, Purpose, alarm_inputs};

/// Per cent of requests, or payments, that may fail before an alarm goes red.
const FAILED_PERCENT: f64 = 3.0;
/// Requests of a period below which no rate is formed.
const REQUESTS_MIN: u32 = 20;
/// Of the raw alarms, in seconds.
pub(crate) const PERIOD_S: u32 = 10;

/// PutMetricAlarm inputs of the raw alarms; they are not attached to the deployment group.
#[must_use]
pub(crate) fn raw(service: &Service) -> Vec<Value> {
    let Service { name: of, function, .. } = service;
    let lambda = |name: &str| lambda_metric(name, function);
    let payments =
        |name: &str| json!({"Namespace": "Checkout", "MetricName": name, "Dimensions": [dimension("Service", of)]});
    let api = service.api.as_deref().map(|api| api_availability(of, api));
    let own = vec![
        rate(&format!("{of}-errors"), "5xx and function errors, per cent", lambda("Errors"), lambda("Invocations")),
        merged(
            json!({
                "AlarmName": format!("{of}-errors-count"),
                "AlarmDescription": "Errors of all versions behind the alias",
                "Statistic": "Sum",
                "Threshold": 8.0,
                "ComparisonOperator": "GreaterThanThreshold"
            }),
            lambda("Errors"),
        ),
        merged(
            json!({
                "AlarmName": format!("{of}-latency"),
                "AlarmDescription": "95th percentile of latency",
                "ExtendedStatistic": "p95",
                "Threshold": 500.0,
                "ComparisonOperator": "GreaterThanThreshold"
            }),
            lambda("Duration"),
        ),
        availability(
            &format!("{of}-availability"),
            "Per cent of requests that get an answer",
            lambda("Errors"),
            lambda("Invocations"),
        ),
        rate(
            &format!("{of}-transactions"),
            "Failed payments, per cent",
            payments("TransactionsFailed"),
            payments("TransactionsAttempted"),
        ),
    ];
    own.into_iter().chain(api).collect()
}

/// As a team makes it that has one API for all its services.
fn api_availability(of: &str, api: &str) -> Value {
    let stage = |name: &str| {
        json!({
            "Namespace": "AWS/ApiGateway",
            "MetricName": name,
            "Dimensions": [dimension("ApiName", api), dimension("Stage", API_STAGE)]
        })
    };
    let about = "Per cent of requests to the stage that get an answer, whichever function they are for";
    availability(&format!("{of}-api-availability"), about, stage("5XXError"), stage("Count"))
}

/// Requests that get an answer, in per cent.
fn availability(name: &str, description: &str, failed: Value, all: Value) -> Value {
    let availability = format!("IF(requests > {REQUESTS_MIN}, 100 * (1 - FILL(failed, 0) / requests), 100)");
    json!({
        "AlarmName": name,
        "AlarmDescription": description,
        "Metrics": [
            {"Id": "availability", "Expression": availability, "ReturnData": true},
            query("failed", failed),
            query("requests", all)
        ],
        "EvaluationPeriods": 1,
        "Threshold": 80.0,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "notBreaching"
    })
}

fn dimension(name: &str, value: &str) -> Value {
    json!({"Name": name, "Value": value})
}

fn lambda_metric(name: &str, function: &str) -> Value {
    json!({
        "Namespace": "AWS/Lambda",
        "MetricName": name,
        "Dimensions": [dimension("FunctionName", function), dimension("Resource", &format!("{function}:{ALIAS}"))]
    })
}

fn query(id: &str, metric: Value) -> Value {
    json!({"Id": id, "MetricStat": {"Metric": metric, "Period": PERIOD_S, "Stat": "Sum"}, "ReturnData": false})
}

/// A rate in per cent with a floor of requests, so that one failure in an idle minute is no incident.
fn rate(name: &str, description: &str, failed: Value, all: Value) -> Value {
    json!({
        "AlarmName": name,
        "AlarmDescription": description,
        "Metrics": [
            {"Id": "rate", "Expression": format!("IF(attempts > {REQUESTS_MIN}, 100 * failed / attempts, 0)"), "ReturnData": true},
            query("failed", failed),
            query("attempts", all)
        ],
        "EvaluationPeriods": 1,
        "Threshold": FAILED_PERCENT,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching"
    })
}

/// An alarm on one metric.
fn merged(mut alarm: Value, metric: Value) -> Value {
    if let (Some(alarm), Value::Object(metric)) = (alarm.as_object_mut(), metric) {
        alarm.extend(metric);
        alarm.insert("Period".to_owned(), json!(PERIOD_S));
        alarm.insert("EvaluationPeriods".to_owned(), json!(1));
        alarm.insert("TreatMissingData".to_owned(), json!("notBreaching"));
    }
    alarm
}

/// PutMetricAlarm inputs of Snapback's own two alarms on the group, from the definition of which the templates are written.
///
/// # Errors
/// When the definition refuses these parameters.
pub(crate) fn own(service: &Service) -> Result<Vec<Value>, ParameterError> {
    // A minute of the emulator has a twelfth of the requests.
    let parameters = [
        ("Name", service.name.as_str()),
        ("Application", &service.name),
        ("Group", &service.group),
        ("FunctionName", &service.function),
        ("Alias", ALIAS),
        ("RequestsMin", "10"),
        ("ErrorPercent", "3"),
        ("AvailabilityPercent", "80"),
    ];
    let alarms = alarm_inputs(EntryPoint::Lambda, &parameters)?.into_iter();
    Ok(alarms.filter(|alarm| alarm.purpose == Purpose::Own).map(|alarm| alarm.input).collect())
}
