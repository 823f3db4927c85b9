//! The alarms of the demo service: raw customer-impact alarms, and Snapback's own two on its group.
//!
//! Periods are 10 s here, so that a rehearsal takes seconds; in an account they are 60 s.

use serde_json::{Value, json};
use snapback_wire::alarms::{Kind, ParameterError, Purpose, alarm_inputs};

/// Per cent of requests, or payments, that may fail before an alarm goes red.
const FAILED_PERCENT: f64 = 3.0;
/// Requests of a period below which no rate is formed.
const REQUESTS_MIN: u32 = 20;
const PERIOD_S: u32 = 10;

/// PutMetricAlarm inputs of the raw alarms; they are not attached to the deployment group.
#[must_use]
pub(super) fn raw(function: &str, alias: &str) -> Vec<Value> {
    let lambda = |name: &str| lambda_metric(name, function, alias);
    let payments = |name: &str| json!({"Namespace": "Checkout", "MetricName": name, "Dimensions": [dimension("Service", function)]});
    let availability = format!("IF(requests > {REQUESTS_MIN}, 100 * (1 - FILL(failed, 0) / requests), 100)");
    vec![
        rate(
            &format!("{function}-errors"),
            "5xx and function errors, per cent",
            lambda("Errors"),
            lambda("Invocations"),
        ),
        merged(
            json!({
                "AlarmName": format!("{function}-errors-count"),
                "AlarmDescription": "Errors of all versions behind the alias",
                "Statistic": "Sum",
                "Threshold": 8.0,
                "ComparisonOperator": "GreaterThanThreshold"
            }),
            lambda("Errors"),
        ),
        merged(
            json!({
                "AlarmName": format!("{function}-latency"),
                "AlarmDescription": "95th percentile of latency",
                "ExtendedStatistic": "p95",
                "Threshold": 500.0,
                "ComparisonOperator": "GreaterThanThreshold"
            }),
            lambda("Duration"),
        ),
        json!({
            "AlarmName": format!("{function}-availability"),
            "AlarmDescription": "Per cent of requests that get an answer",
            "Metrics": [
                {"Id": "availability", "Expression": availability, "ReturnData": true},
                query("failed", lambda("Errors")),
                query("requests", lambda("Invocations"))
            ],
            "EvaluationPeriods": 1,
            "Threshold": 80.0,
            "ComparisonOperator": "LessThanThreshold",
            "TreatMissingData": "notBreaching"
        }),
        rate(
            &format!("{function}-transactions"),
            "Failed payments, per cent",
            payments("TransactionsFailed"),
            payments("TransactionsAttempted"),
        ),
    ]
}

fn dimension(name: &str, value: &str) -> Value {
    json!({"Name": name, "Value": value})
}

fn lambda_metric(name: &str, function: &str, alias: &str) -> Value {
    json!({
        "Namespace": "AWS/Lambda",
        "MetricName": name,
        "Dimensions": [dimension("FunctionName", function), dimension("Resource", &format!("{function}:{alias}"))]
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
pub(super) fn own(function: &str, alias: &str, group: &str) -> Result<Vec<Value>, ParameterError> {
    // A minute of the stage has a twelfth of the requests.
    let parameters = [
        ("Name", function),
        ("Application", function),
        ("Group", group),
        ("FunctionName", function),
        ("Alias", alias),
        ("RequestsMin", "10"),
        ("ErrorPercent", "3"),
        ("AvailabilityPercent", "80"),
    ];
    let alarms = alarm_inputs(Kind::Lambda, &parameters)?.into_iter();
    Ok(alarms.filter(|alarm| alarm.purpose == Purpose::Own).map(|alarm| alarm.input).collect())
}
