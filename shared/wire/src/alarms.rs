//! The two alarms that are attached to a deployment group, as data: the stage puts them, the templates are compared.
//!
//! - The *verdict alarm* asks CodeDeploy to roll back when a rollback is decided but our own call does not get through.
//! - The *dead-man alarm* lets raw thresholds decide while there is no heartbeat, that is while Snapback is down or blind.

use crate::emf::{DEPLOYMENT_GROUP, NAMESPACE, Series};
use serde_json::{Value, json};
pub use snapback_core::GroupRef;
use snapback_core::alarm::OWN_PREFIX;

/// Raw metrics that a dead-man alarm can hold: CloudWatch allows ten metrics, and one is the heartbeat.
pub const MAX_RAW: usize = 8;
/// Period of both alarms, in seconds.
pub const PERIOD_SECONDS: u32 = 60;
/// Both alarms are red at this value or above.
pub const THRESHOLD: u32 = 1;
/// How both alarms take missing datapoints.
pub const TREAT_MISSING_DATA: &str = "notBreaching";
/// Datapoints that make the dead-man alarm red, of [`DEAD_MAN_PERIODS`].
pub const DEAD_MAN_DATAPOINTS: u32 = 3;
/// Periods that the dead-man alarm looks at.
pub const DEAD_MAN_PERIODS: u32 = 4;
/// Periods that the verdict alarm looks at, and datapoints that make it red.
pub const VERDICT_PERIODS: u32 = 1;
/// Statistic of both series of Snapback.
pub const STATISTIC: &str = "Maximum";

const COMPARISON: &str = "GreaterThanOrEqualToThreshold";

/// When a raw metric shows customer impact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Comparison {
    /// Above this.
    Above(f64),
    /// Below this.
    Below(f64),
}

/// A metric with a raw threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct RawMetric {
    /// Namespace, for example `AWS/Lambda`.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Dimensions: name and value.
    pub dimensions: Vec<(String, String)>,
    /// Statistic: `Sum`, `Average`, `p99`, …
    pub stat: String,
    /// When it shows impact.
    pub comparison: Comparison,
}

/// Raw metrics of which no dead-man alarm can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RawMetricsError {
    /// None, or too many.
    #[error("a dead-man alarm takes 1 to {MAX_RAW} raw metrics, here are {0}; name the ones that hurt customers most")]
    Count(usize),
    /// A threshold is no finite number.
    #[error("the threshold of raw metric {0} is no finite number; write one")]
    Threshold(String),
}

/// Name of the verdict alarm; at most 219 characters.
#[must_use]
pub fn verdict_alarm_name(group: &GroupRef) -> String {
    format!("{OWN_PREFIX}verdict-{}-{}", group.application(), group.group())
}

/// Name of the dead-man alarm; at most 219 characters.
#[must_use]
pub fn dead_man_alarm_name(group: &GroupRef) -> String {
    format!("{OWN_PREFIX}dead-man-{}-{}", group.application(), group.group())
}

/// Inputs of CloudWatch's PutMetricAlarm: the verdict alarm, then the dead-man alarm.
///
/// # Errors
/// When there is no raw metric or more than [`MAX_RAW`], or a threshold is not finite.
pub fn put_metric_alarm_inputs(group: &GroupRef, raw: &[RawMetric]) -> Result<[Value; 2], RawMetricsError> {
    Ok([verdict_alarm_input(group), dead_man_alarm_input(group, raw)?])
}

/// Input of PutMetricAlarm for the verdict alarm.
#[must_use]
pub fn verdict_alarm_input(group: &GroupRef) -> Value {
    json!({
        "AlarmName": verdict_alarm_name(group),
        "AlarmDescription": format!("Snapback decided to roll {group} back and cannot do it itself"),
        "Namespace": NAMESPACE,
        "MetricName": Series::Verdict.as_str(),
        "Dimensions": dimensions(group),
        "Statistic": STATISTIC,
        "Period": PERIOD_SECONDS,
        "EvaluationPeriods": VERDICT_PERIODS,
        "DatapointsToAlarm": VERDICT_PERIODS,
        "Threshold": THRESHOLD,
        "ComparisonOperator": COMPARISON,
        "TreatMissingData": TREAT_MISSING_DATA,
    })
}

/// Input of PutMetricAlarm for the dead-man alarm.
///
/// A condition without a datapoint gives none, and a sum takes a missing term as 0: adding zero times each raw metric makes
/// the condition exist in every minute in which a raw metric does, heartbeat or not. Without any raw datapoint there is
/// nothing to judge.
///
/// # Errors
/// When there is no raw metric or more than [`MAX_RAW`], or a threshold is not finite.
pub fn dead_man_alarm_input(group: &GroupRef, raw: &[RawMetric]) -> Result<Value, RawMetricsError> {
    if !(1..=MAX_RAW).contains(&raw.len()) {
        return Err(RawMetricsError::Count(raw.len()));
    }
    let breaches = raw.iter().enumerate().map(|(index, metric)| breach(index, metric));
    let breaches = breaches.collect::<Result<Vec<_>, _>>()?.join(" + ");
    let present: Vec<String> = (0..raw.len()).map(metric_id).collect();
    let mut metrics = vec![
        json!({
            "Id": "dead_man",
            "Expression": format!("IF(heartbeat + 0*({}) > 0, 0, raw)", present.join(" + ")),
            "Label": "raw thresholds without a heartbeat",
            "ReturnData": true,
        }),
        json!({
            "Id": "raw",
            "Expression": format!("IF({breaches} > 0, 1, 0)"),
            "Label": "a raw threshold is breached",
            "ReturnData": false,
        }),
        metric_stat("heartbeat", NAMESPACE, Series::Heartbeat.as_str(), &dimensions(group), STATISTIC),
    ];
    metrics.extend(raw.iter().enumerate().map(|(index, metric)| {
        let dimensions: Vec<Value> =
            metric.dimensions.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
        metric_stat(&metric_id(index), &metric.namespace, &metric.name, &dimensions.into(), &metric.stat)
    }));
    Ok(json!({
        "AlarmName": dead_man_alarm_name(group),
        "AlarmDescription": format!("Snapback gives no sign of life for {group}, and customers are hurt"),
        "Metrics": metrics,
        "EvaluationPeriods": DEAD_MAN_PERIODS,
        "DatapointsToAlarm": DEAD_MAN_DATAPOINTS,
        "Threshold": THRESHOLD,
        "ComparisonOperator": COMPARISON,
        "TreatMissingData": TREAT_MISSING_DATA,
    }))
}

fn dimensions(group: &GroupRef) -> Value {
    json!([{ "Name": DEPLOYMENT_GROUP, "Value": group.to_string() }])
}

fn metric_id(index: usize) -> String {
    format!("m{}", index + 1)
}

/// 1 in a minute in which the metric breaches its threshold, 0 in one in which it does not.
fn breach(index: usize, metric: &RawMetric) -> Result<String, RawMetricsError> {
    let (operator, threshold) = match metric.comparison {
        Comparison::Above(threshold) => ('>', threshold),
        Comparison::Below(threshold) => ('<', threshold),
    };
    if threshold.is_finite() {
        Ok(format!("({} {operator} {threshold})", metric_id(index)))
    } else {
        Err(RawMetricsError::Threshold(metric.name.clone()))
    }
}

fn metric_stat(id: &str, namespace: &str, name: &str, dimensions: &Value, stat: &str) -> Value {
    json!({
        "Id": id,
        "MetricStat": {
            "Metric": { "Namespace": namespace, "MetricName": name, "Dimensions": dimensions },
            "Period": PERIOD_SECONDS,
            "Stat": stat,
        },
        "ReturnData": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(comparison: Comparison) -> RawMetric {
        RawMetric {
            namespace: "AWS/Lambda".to_owned(),
            name: "Errors".to_owned(),
            dimensions: vec![("FunctionName".to_owned(), "checkout".to_owned())],
            stat: "Sum".to_owned(),
            comparison,
        }
    }

    #[test]
    fn the_two_alarms() {
        let group = GroupRef::parse("shop/live").unwrap();
        let metrics = [raw(Comparison::Above(5.0)), raw(Comparison::Below(99.5))];
        let [verdict, dead_man] = put_metric_alarm_inputs(&group, &metrics).unwrap();
        assert_eq!(verdict["AlarmName"], "snapback-verdict-shop-live");
        assert_eq!(verdict["MetricName"], "Verdict");
        assert_eq!(verdict["Dimensions"], json!([{ "Name": "DeploymentGroup", "Value": "shop/live" }]));
        assert_eq!((&verdict["Statistic"], &verdict["Period"]), (&json!("Maximum"), &json!(60)));
        assert_eq!(dead_man["AlarmName"], "snapback-dead-man-shop-live");
        assert_eq!(dead_man["Metrics"][0]["Expression"], "IF(heartbeat + 0*(m1 + m2) > 0, 0, raw)");
        assert_eq!(dead_man["Metrics"][1]["Expression"], "IF((m1 > 5) + (m2 < 99.5) > 0, 1, 0)");
        assert_eq!((&dead_man["DatapointsToAlarm"], &dead_man["EvaluationPeriods"]), (&json!(3), &json!(4)));
        for alarm in [&verdict, &dead_man] {
            assert_eq!(alarm["TreatMissingData"], "notBreaching");
            assert_eq!(alarm["Threshold"], 1);
            assert_eq!(alarm["ComparisonOperator"], "GreaterThanOrEqualToThreshold");
        }
        let returned = dead_man["Metrics"].as_array().unwrap().iter();
        assert_eq!(returned.filter(|metric| metric["ReturnData"] == true).count(), 1);
    }

    #[test]
    fn limits() {
        let group = GroupRef::parse("shop/live").unwrap();
        let most = vec![raw(Comparison::Above(0.0)); MAX_RAW];
        let dead_man = dead_man_alarm_input(&group, &most).unwrap();
        let metrics = dead_man["Metrics"].as_array().unwrap();
        assert!(metrics.iter().filter(|metric| metric.get("MetricStat").is_some()).count() <= 10);
        assert!(dead_man["Metrics"][1]["Expression"].as_str().unwrap().len() <= 2_048);
        assert_eq!(dead_man_alarm_input(&group, &[]), Err(RawMetricsError::Count(0)));
        let too_many = vec![raw(Comparison::Above(0.0)); MAX_RAW + 1];
        assert_eq!(dead_man_alarm_input(&group, &too_many), Err(RawMetricsError::Count(9)));
        let error = dead_man_alarm_input(&group, &[raw(Comparison::Below(f64::NAN))]).unwrap_err();
        assert_eq!(error, RawMetricsError::Threshold("Errors".to_owned()));
        let longest = GroupRef::new("a".repeat(100), "b".repeat(100)).unwrap();
        assert!(dead_man_alarm_name(&longest).len() <= 255);
    }
}
