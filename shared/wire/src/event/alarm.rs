//! State changes of alarms, from EventBridge and from an alarm's own Lambda action. The two carry the same detail in
//! different envelopes; they are told apart by `alarmData`, never by what happens to parse.

use super::EventError;
use super::envelope::{bounded, envelope};
use crate::reader::{Fault, Reader};
use crate::time::parse_timestamp;
use serde_json::Value;
use snapback_core::alarm::{AlarmReading, AlarmScope, AlarmState};
use snapback_core::{AlarmName, Timestamp};

const KIND: &str = "CloudWatch alarm event";
const MAX_REASON: usize = 1_023;
/// Datapoints that are kept of a reason's data, which has 4,000 characters at most.
pub const MAX_DATAPOINTS: usize = 100;

/// What kind of alarm it is, by its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmKind {
    /// One metric.
    Metric,
    /// A metric math expression.
    MetricMath,
    /// An anomaly detection band.
    Anomaly,
    /// A Metrics Insights query.
    Insights,
    /// A rule over other alarms.
    Composite,
    /// A scheduled query of logs.
    Log,
    /// A kind that this version does not know; its states are the same.
    Other,
}

/// An alarm changed its state.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmEvent {
    /// What is the same when the event is delivered twice: EventBridge's id, or ARN, time and state of the direct action.
    pub id: String,
    /// ARN of the alarm.
    pub arn: String,
    /// Account of the alarm.
    pub account: String,
    /// Region of the alarm.
    pub region: String,
    /// Name, state and times.
    pub reading: AlarmReading,
    /// What kind of alarm it is.
    pub kind: AlarmKind,
    /// Whether a mute rule was active; the state is real all the same.
    pub is_muted: bool,
    /// Whether a composite alarm's actions were suppressed; the state is real all the same.
    pub is_suppressed: bool,
}

/// What an event about an alarm says.
#[derive(Debug, Clone, PartialEq)]
pub enum AlarmMessage {
    /// It changed its state.
    Change(Box<AlarmEvent>),
    /// Nothing to act on.
    Ignored {
        /// Why, for the log.
        why: &'static str,
    },
}

/// Parses an event about an alarm: `CloudWatch Alarm State Change` from EventBridge, or the direct Lambda action.
///
/// Events about single contributors and about configurations are ignored: the alarm's own state change comes as well.
///
/// # Errors
/// When it is another event, a member is missing, or a state is none of CloudWatch's three words.
pub fn parse_alarm(value: &Value) -> Result<AlarmMessage, EventError> {
    let fault = |fault| EventError::from_fault(KIND, fault);
    let reader = Reader::of(value).map_err(fault)?;
    if reader.get("alarmData").is_some() {
        return parse_action(&reader).map_err(fault).map(change);
    }
    let event = envelope(KIND, "aws.cloudwatch", value)?;
    match event.detail_type.as_str() {
        "CloudWatch Alarm State Change" => {}
        "CloudWatch Alarm Contributor State Change" => {
            return Ok(AlarmMessage::Ignored {
                why: "it is about one contributor; the alarm's own event tells its state",
            });
        }
        "CloudWatch Alarm Configuration Change" => {
            return Ok(AlarmMessage::Ignored { why: "it is about the alarm's configuration" });
        }
        other => {
            let found = crate::reader::describe(Some(&other.into()));
            return Err(EventError::new(KIND, "detail-type", found, "CloudWatch Alarm State Change"));
        }
    }
    let arn = event.resources.first().map(bounded);
    let arn = arn.ok_or_else(|| EventError::new(KIND, "resources[0]", "missing", "the ARN of the alarm"))?;
    let parsed = event.read(KIND, |detail| {
        Ok(AlarmEvent {
            id: event.id.clone(),
            arn,
            account: event.account.clone(),
            region: event.region.clone(),
            ..parse_data(detail)?
        })
    })?;
    Ok(change(parsed))
}

fn change(event: AlarmEvent) -> AlarmMessage {
    AlarmMessage::Change(Box::new(event))
}

fn parse_action(reader: &Reader<'_>) -> Result<AlarmEvent, Fault> {
    let arn = bounded(reader.text("alarmArn")?);
    let data = parse_data(&reader.map("alarmData")?)?;
    Ok(AlarmEvent {
        id: format!("{arn}|{}|{}", data.reading.since, data.reading.state),
        arn,
        account: bounded(reader.text("accountId")?),
        region: bounded(reader.text("region")?),
        ..data
    })
}

/// What both envelopes carry; ids and places are filled in by the caller.
fn parse_data(data: &Reader<'_>) -> Result<AlarmEvent, Fault> {
    let current = data.map("state")?;
    let (state, since) = parse_state(&current)?;
    let previous = match data.optional_map("previousState")? {
        Some(previous) => Some(parse_state(&previous)?),
        None => None,
    };
    let reason = current.optional_text("reason")?.unwrap_or_default();
    let reason_data = current.get("reasonData").and_then(Value::as_str);
    let breaching = match state {
        AlarmState::Alarm => reason_data.map(|data| breaching(reason, data)).unwrap_or_default(),
        AlarmState::Ok | AlarmState::InsufficientData => Vec::new(),
    };
    let configuration = data.get("configuration");
    Ok(AlarmEvent {
        id: String::new(),
        arn: String::new(),
        account: String::new(),
        region: String::new(),
        reading: AlarmReading {
            name: data.parsed("alarmName", AlarmName::parse)?,
            state,
            since,
            previous,
            reason: reason.chars().take(MAX_REASON).collect(),
            breaching,
            evaluation: None,
            scope: scope(configuration),
        },
        kind: kind(configuration),
        is_muted: data.get("muteDetail").is_some(),
        is_suppressed: current.get("actionsSuppressedBy").is_some(),
    })
}

fn parse_state(state: &Reader<'_>) -> Result<(AlarmState, Timestamp), Fault> {
    let value = state.parsed("value", |word| AlarmState::parse(word).ok_or("OK, ALARM or INSUFFICIENT_DATA"))?;
    Ok((value, state.parsed("timestamp", parse_timestamp)?))
}

fn kind(configuration: Option<&Value>) -> AlarmKind {
    let member = |name: &str| configuration.and_then(|configuration| configuration.get(name));
    if member("alarmRule").is_some() {
        return AlarmKind::Composite;
    }
    if member("queryString").is_some() {
        return AlarmKind::Log;
    }
    let Some(metrics) = member("metrics").and_then(Value::as_array) else {
        return AlarmKind::Other;
    };
    let mut expressions = metrics.iter().filter_map(|metric| metric.get("expression")?.as_str()).peekable();
    if expressions.peek().is_none() {
        return if metrics.iter().any(|metric| metric.get("metricStat").is_some()) {
            AlarmKind::Metric
        } else {
            AlarmKind::Other
        };
    }
    expressions.fold(AlarmKind::MetricMath, |so_far, expression| {
        let text = expression.trim_start().to_ascii_uppercase();
        if text.contains("ANOMALY_DETECTION_BAND") {
            AlarmKind::Anomaly
        } else if text.starts_with("SELECT ") {
            AlarmKind::Insights
        } else {
            so_far
        }
    })
}

/// Whose requests the alarm counts, by the metrics of its configuration; `None` where it names none.
fn scope(configuration: Option<&Value>) -> Option<AlarmScope> {
    let metrics = configuration?.get("metrics")?.as_array()?;
    let counted = metrics.iter().filter_map(|metric| metric.get("metricStat")?.get("metric"));
    alarm_scope(counted.filter_map(|metric| {
        let dimensions = metric.get("dimensions").and_then(Value::as_object);
        let names = dimensions.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        Some((metric.get("namespace")?.as_str()?, names))
    }))
}

/// Whose requests an alarm counts that reads these metrics, each a namespace and the names of its dimensions: one count that several
/// functions share is enough for a neighbour to turn it red. `None` when it reads no metric.
///
/// Shared are those of an API's stage (`AWS/ApiGateway` without `Method` and `Resource`, or `Route`) and of a load balancer
/// (`AWS/ApplicationELB` without `TargetGroup`).
#[must_use]
pub fn alarm_scope<'a>(metrics: impl Iterator<Item = (&'a str, Vec<&'a str>)>) -> Option<AlarmScope> {
    let scopes = metrics.map(|(namespace, dimensions)| {
        let has = |name: &str| dimensions.contains(&name);
        let is_shared = match namespace {
            "AWS/ApiGateway" => !(has("Method") && has("Resource") || has("Route")),
            "AWS/ApplicationELB" => !has("TargetGroup"),
            _ => false,
        };
        if is_shared { AlarmScope::Shared } else { AlarmScope::Own }
    });
    scopes.reduce(|all, one| if one == AlarmScope::Shared { one } else { all })
}

/// When the datapoints begin that breached the threshold, by the reason's data, oldest first; at most [`MAX_DATAPOINTS`], the newest.
///
/// The data has no comparison operator, so the words of the reason tell it ("greater than", "less than or equal to"); when
/// they do not, every evaluated datapoint with a value counts.
#[must_use]
pub fn breaching(reason: &str, reason_data: &str) -> Vec<Timestamp> {
    let data: Value = serde_json::from_str(reason_data).unwrap_or_default();
    let threshold = data.get("threshold").and_then(Value::as_f64);
    let datapoints = data.get("evaluatedDatapoints").and_then(Value::as_array);
    let breaching = datapoints.into_iter().flatten().filter_map(|point| {
        let value = point.get("value")?.as_f64()?;
        let own_threshold = point.get("threshold").and_then(Value::as_f64);
        let at = parse_timestamp(point.get("timestamp")?.as_str()?).ok()?;
        breaches(reason, value, own_threshold.or(threshold)).then_some(at)
    });
    let mut breaching: Vec<Timestamp> = breaching.collect();
    breaching.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
    breaching.truncate(MAX_DATAPOINTS);
    breaching.reverse();
    breaching
}

fn breaches(reason: &str, value: f64, threshold: Option<f64>) -> bool {
    let Some(threshold) = threshold else {
        return true;
    };
    let or_equal = reason.contains("or equal to") && value >= threshold && value <= threshold;
    match (reason.contains("greater than"), reason.contains("less than")) {
        (true, false) => value > threshold || or_equal,
        (false, true) => value < threshold || or_equal,
        (true, true) | (false, false) => true,
    }
}
