//! Snapback's own two alarms on the deployment group.
//!
//! Their names hold no reference to the group: the group lists them, and they have the group in a dimension.

use super::impact::{AlarmMetric, Measure, expression, metric_stat};
use super::{Alarm, HAS_TRANSACTIONS, PERIOD_SECONDS, Purpose, TREAT_MISSING_DATA, optional};
use crate::emf::{DEPLOYMENT_GROUP, GroupSeries, NAMESPACE};
use serde_json::{Value, json};
use snapback_core::alarm::OWN_PREFIX;

/// Both alarms are red at this value or above.
const THRESHOLD: u32 = 1;
const COMPARISON: &str = "GreaterThanOrEqualToThreshold";
/// Datapoints that make the dead-man alarm red, of [`DEAD_MAN_PERIODS`]: a heartbeat may be late by a period, and the newest
/// raw metrics too.
const DEAD_MAN_DATAPOINTS: u32 = 3;
const DEAD_MAN_PERIODS: u32 = 4;
/// Periods that the verdict alarm looks at, and datapoints that make it red.
const VERDICT_PERIODS: u32 = 1;
/// Statistic of both series of Snapback.
const STATISTIC: &str = "Maximum";
const GROUP: [(&str, &str); 1] = [(DEPLOYMENT_GROUP, "${Application}/${Group}")];

/// Name of the verdict alarm.
///
/// * `name`: the template's parameter `Name`; it need not be that of the group.
#[must_use]
pub fn verdict_alarm_name(name: &str) -> String {
    format!("{OWN_PREFIX}verdict-{name}")
}

/// Name of the dead-man alarm.
///
/// * `name`: the template's parameter `Name`; it need not be that of the group.
#[must_use]
pub fn dead_man_alarm_name(name: &str) -> String {
    format!("{OWN_PREFIX}dead-man-{name}")
}

pub(super) fn verdict_alarm() -> Alarm {
    let properties = json!({
        "AlarmName": verdict_alarm_name("${Name}"),
        "AlarmDescription": "Snapback has decided to roll ${Application}/${Group} back, and its own call is refused or was not \
            confirmed within 30 seconds. CodeDeploy, to whose group this alarm is attached, stops the deployment and rolls back; \
            Snapback records it. Look at the permissions of Snapback's functions. Missing data counts as good: no word from \
            Snapback is no verdict.",
        "Namespace": NAMESPACE,
        "MetricName": GroupSeries::Verdict.as_str(),
        "Dimensions": super::impact::dimensions(&GROUP),
        "Statistic": STATISTIC,
        "Period": PERIOD_SECONDS,
        "EvaluationPeriods": VERDICT_PERIODS,
        "DatapointsToAlarm": VERDICT_PERIODS,
        "Threshold": THRESHOLD,
        "ComparisonOperator": COMPARISON,
        "TreatMissingData": TREAT_MISSING_DATA,
    });
    own("VerdictAlarm", properties)
}

/// The raw thresholds of those `measures` that the dead-man alarm has, while there is no heartbeat.
///
/// A condition without a datapoint gives none, and a sum takes a missing term as 0: adding zero times each filled metric makes
/// the condition exist in every minute, heartbeat or not. So the alarm also ends when nobody calls any more.
pub(super) fn dead_man_alarm(measures: &[Measure]) -> Alarm {
    let raw: Vec<&Measure> = measures.iter().filter(|measure| measure.is_in_dead_man).collect();
    let always: Vec<&Measure> = raw.iter().copied().filter(|measure| measure.condition.is_none()).collect();
    let present = metrics_of(&always).iter().map(|metric| format!("FILL({}, 0)", metric.id)).collect::<Vec<_>>();
    let breached = json!({ "Fn::If": [HAS_TRANSACTIONS, any_breach(&raw), any_breach(&always)] });
    let without_heartbeat = format!("IF((heartbeat + 0*({})) > 0, 0, raw)", present.join(" + "));
    let mut metrics = vec![
        expression("dead_man", without_heartbeat, "raw thresholds without a heartbeat", true),
        expression("raw", breached, "a raw threshold is breached", false),
    ];
    metrics.extend(raw.iter().map(|measure| {
        optional(measure.condition, expression(measure.id, measure.expression.clone(), measure.label, false))
    }));
    metrics.push(metric_stat(
        &AlarmMetric {
            id: "heartbeat",
            namespace: NAMESPACE,
            name: GroupSeries::Heartbeat.as_str(),
            dimensions: &GROUP,
            stat: STATISTIC,
        },
        PERIOD_SECONDS,
    ));
    let always = metrics_of(&always);
    metrics.extend(metrics_of(&raw).iter().map(|metric| {
        let condition = if always.contains(metric) { None } else { Some(HAS_TRANSACTIONS) };
        optional(condition, metric_stat(metric, PERIOD_SECONDS))
    }));
    let properties = json!({
        "AlarmName": dead_man_alarm_name("${Name}"),
        "AlarmDescription": "Snapback gives no sign of life for ${Application}/${Group}, or cannot see its metrics, and customers \
            are hurt: in 3 of 4 minutes there was no heartbeat and a raw threshold was breached. CodeDeploy, to whose group this \
            alarm is attached, stops a running deployment and rolls back; Snapback records it when it is back. Without requests, \
            or without data, nobody is hurt.",
        "Metrics": metrics,
        "EvaluationPeriods": DEAD_MAN_PERIODS,
        "DatapointsToAlarm": DEAD_MAN_DATAPOINTS,
        "Threshold": THRESHOLD,
        "ComparisonOperator": COMPARISON,
        "TreatMissingData": TREAT_MISSING_DATA,
    });
    own("DeadManAlarm", properties)
}

fn own(logical_id: &str, properties: Value) -> Alarm {
    Alarm { logical_id: logical_id.to_owned(), purpose: Purpose::Own, parts: Vec::new(), condition: None, properties }
}

/// 1 in a minute in which a threshold is breached, 0 in the others.
fn any_breach(measures: &[&Measure]) -> String {
    let breaches: Vec<String> = measures.iter().map(|measure| format!("({})", measure.breach())).collect();
    format!("IF(({}) > 0, 1, 0)", breaches.join(" + "))
}

/// Each metric once, in the order in which they are needed.
fn metrics_of(measures: &[&Measure]) -> Vec<AlarmMetric> {
    let mut metrics: Vec<AlarmMetric> = Vec::new();
    for metric in measures.iter().flat_map(|measure| &measure.metrics) {
        if !metrics.contains(metric) {
            metrics.push(*metric);
        }
    }
    metrics
}
