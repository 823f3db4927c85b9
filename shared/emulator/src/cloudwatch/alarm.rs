//! Alarms as they are stored, and `PutMetricAlarm`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::composite::AlarmRule;
use super::error::CloudWatchError;
use super::evaluate::{AlarmState, Comparison, MissingData, Point, Rule};
use super::input;
use super::math::Operand;
use super::query::{MetricStat, QuerySet, Source, read_metric, read_period};
use super::statistic::Statistic;
use super::store::{Store, Window};
use super::time;
use crate::clock::Clock;
use crate::parts::{ACCOUNT, REGION};

/// Periods of 60 s and more are evaluated every minute.
const MINUTE_S: i64 = 60;
const MINUTE_MS: i64 = 60_000;
/// How long after the end of a period it is evaluated, at most; a quarter of short periods.
const EVALUATION_DELAY_MS: i64 = 2000;
const MAX_REASON_DATAPOINTS: usize = 20;

/// One alarm with its state.
#[derive(Debug, Clone)]
pub(super) struct Alarm {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) actions_enabled: bool,
    pub(super) ok_actions: Vec<String>,
    pub(super) alarm_actions: Vec<String>,
    pub(super) insufficient_data_actions: Vec<String>,
    pub(super) kind: Kind,
    /// Members of the request that `DescribeAlarms` gives back as they were.
    pub(super) echoed: Map<String, Value>,
    pub(super) state: StateRecord,
    pub(super) configured_ms: i64,
    /// `StateUpdatedTimestamp`: state, reason or evaluation state.
    pub(super) updated_ms: i64,
    /// `StateTransitionedTimestamp`: the value of the state.
    pub(super) transitioned_ms: i64,
    /// Why the last evaluation failed (`EvaluationState: EVALUATION_ERROR`).
    pub(super) evaluation_error: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Metric(MetricSettings),
    Composite(AlarmRule),
}

/// What a metric alarm watches.
#[derive(Debug, Clone)]
pub(super) struct MetricSettings {
    pub(super) target: Target,
    pub(super) rule: Rule,
    /// As AWS has it, in seconds.
    pub(super) period_s: i64,
    /// Whether period and evaluation interval follow the emulator's minute: see [`is_scaled`].
    pub(super) scaled: bool,
    /// End of the newest period that was evaluated or was over when the alarm was made.
    pub(super) evaluated_until_ms: i64,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    Single(MetricStat),
    /// The queries and the id of the one that returns data.
    Math(QuerySet, String),
}

/// One state of an alarm, as events carry it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StateRecord {
    pub(super) value: AlarmState,
    pub(super) reason: String,
    /// JSON in a string.
    pub(super) reason_data: Option<String>,
    pub(super) at_ms: i64,
}

impl StateRecord {
    /// The state of a new alarm.
    pub(super) fn initial(now_ms: i64) -> Self {
        Self {
            value: AlarmState::InsufficientData,
            reason: "Unchecked: Initial alarm creation".into(),
            reason_data: None,
            at_ms: now_ms,
        }
    }
}

impl Alarm {
    pub(super) fn arn(&self) -> String {
        arn(&self.name)
    }

    /// ARNs to tell about the present state; none while actions are disabled.
    pub(super) fn actions(&self) -> Vec<String> {
        let actions = match self.state.value {
            AlarmState::Ok => &self.ok_actions,
            AlarmState::Alarm => &self.alarm_actions,
            AlarmState::InsufficientData => &self.insufficient_data_actions,
        };
        if self.actions_enabled { actions.clone() } else { Vec::new() }
    }

    /// The alarm as `DescribeAlarms` answers it.
    pub(super) fn describe(&self) -> Value {
        let mut object = self.echoed.clone();
        let mut set = |name: &str, value: Value| object.insert(name.to_owned(), value);
        set("AlarmName", self.name.clone().into());
        set("AlarmArn", self.arn().into());
        set("ActionsEnabled", self.actions_enabled.into());
        set("OKActions", self.ok_actions.clone().into());
        set("AlarmActions", self.alarm_actions.clone().into());
        set("InsufficientDataActions", self.insufficient_data_actions.clone().into());
        set("AlarmConfigurationUpdatedTimestamp", time::to_seconds(self.configured_ms).into());
        set("StateValue", self.state.value.as_str().into());
        set("StateReason", self.state.reason.clone().into());
        set("StateUpdatedTimestamp", time::to_seconds(self.updated_ms).into());
        set("StateTransitionedTimestamp", time::to_seconds(self.transitioned_ms).into());
        if let Some(description) = &self.description {
            set("AlarmDescription", description.clone().into());
        }
        if let Some(data) = &self.state.reason_data {
            set("StateReasonData", data.clone().into());
        }
        if self.evaluation_error.is_some() {
            set("EvaluationState", "EVALUATION_ERROR".into());
        }
        Value::Object(object)
    }

    /// Reads what metric and composite alarms have in common; `kind` and the names of members to give back are the
    /// caller's.
    pub(super) fn read(input: &Value, kind: Kind, echo: &[&str], now_ms: i64) -> Result<Self, CloudWatchError> {
        let name = input::required_text(input, "AlarmName")?;
        length("AlarmName", name, 255)?;
        let description = input::text(input, "AlarmDescription")?;
        length("AlarmDescription", description.unwrap_or_default(), 1024)?;
        let echoed = echo.iter().filter_map(|name| Some(((*name).to_owned(), input::member(input, name)?.clone())));
        Ok(Self {
            name: name.to_owned(),
            description: description.map(str::to_owned),
            actions_enabled: input::boolean(input, "ActionsEnabled")?.unwrap_or(true),
            ok_actions: actions(input, "OKActions")?,
            alarm_actions: actions(input, "AlarmActions")?,
            insufficient_data_actions: actions(input, "InsufficientDataActions")?,
            kind,
            echoed: echoed.collect(),
            state: StateRecord::initial(now_ms),
            configured_ms: now_ms,
            updated_ms: now_ms,
            transitioned_ms: now_ms,
            evaluation_error: None,
        })
    }

    /// Reads `PutMetricAlarm`.
    ///
    /// * `scaled`: namespaces whose alarms follow the emulator's minute, see [`is_scaled`].
    pub(super) fn read_metric_alarm(
        input: &Value,
        clock: Clock,
        scaled: &BTreeSet<String>,
        now_ms: i64,
    ) -> Result<Self, CloudWatchError> {
        const ECHO: [&str; 14] = [
            "MetricName",
            "Namespace",
            "Statistic",
            "ExtendedStatistic",
            "Dimensions",
            "Period",
            "Unit",
            "EvaluationPeriods",
            "DatapointsToAlarm",
            "Threshold",
            "ComparisonOperator",
            "TreatMissingData",
            "EvaluateLowSampleCountPercentile",
            "Metrics",
        ];
        for member in ["EvaluationCriteria", "EvaluationWindow", "WarmUpConfiguration", "ThresholdMetricId"] {
            if input::member(input, member).is_some() {
                return Err(CloudWatchError::validation(format!(
                    "the emulator does not support {member} of metric alarms"
                )));
            }
        }
        let mut settings = MetricSettings::read(input, scaled)?;
        settings.evaluated_until_ms = settings.newest_complete(clock, now_ms);
        let mut alarm = Self::read(input, Kind::Metric(settings), &ECHO, now_ms)?;
        // Callers expect a double whatever number was sent.
        if let Some(threshold) = input::number(input, "Threshold")? {
            alarm.echoed.insert("Threshold".into(), threshold.into());
        }
        Ok(alarm)
    }
}

impl MetricSettings {
    /// How long one period lasts on the emulator. At least a second: points are not kept any finer.
    pub(super) fn period_ms(&self, clock: Clock) -> i64 {
        let real = self.period_s.saturating_mul(1000);
        if self.scaled {
            milliseconds(clock.scaled(Duration::from_millis(u64::try_from(real).unwrap_or(0))))
        } else {
            real
        }
    }

    /// How often the alarm is evaluated: once a period, and at least once a minute.
    fn interval_ms(&self, clock: Clock) -> i64 {
        let minute = if self.scaled { milliseconds(clock.minute()) } else { MINUTE_MS };
        self.period_ms(clock).min(minute).max(1)
    }

    /// End of the newest period that is over and whose evaluation is due.
    pub(super) fn newest_complete(&self, clock: Clock, now_ms: i64) -> i64 {
        let interval = self.interval_ms(clock);
        let delay = EVALUATION_DELAY_MS.min(interval / 4);
        (now_ms - delay).div_euclid(interval) * interval
    }

    /// The evaluation range that ends at `end_ms`.
    fn window(&self, clock: Clock, end_ms: i64) -> Window {
        let periods = self.rule.evaluation_range();
        let period_ms = self.period_ms(clock);
        let length = period_ms.saturating_mul(i64::try_from(periods).unwrap_or(i64::MAX));
        Window { start_ms: end_ms.saturating_sub(length), period_ms, periods }
    }

    /// The points of the evaluation range that ends at `end_ms`, newest first.
    pub(super) fn points(
        &self,
        store: &Store,
        clock: Clock,
        end_ms: i64,
        now_ms: i64,
    ) -> Result<Vec<Point>, CloudWatchError> {
        let window = self.window(clock, end_ms);
        let missing = |timestamp_ms| Point { timestamp_ms, value: None, sample_count: None };
        match &self.target {
            Target::Single(stat) => {
                let found = store.datapoints(&stat.metric, stat.unit.as_deref(), &stat.statistic, window, now_ms);
                let point = |at| {
                    found.get(&at).map_or(missing(at), |point| Point {
                        timestamp_ms: at,
                        value: Some(point.value),
                        sample_count: Some(point.sample_count),
                    })
                };
                Ok(window.starts().rev().map(point).collect())
            }
            Target::Math(queries, id) => {
                let values = queries.evaluate(store, &|_| window, now_ms)?;
                let Some(Operand::Series(found)) = values.get(id) else {
                    return Err(CloudWatchError::validation(format!("`{id}` must yield a single time series")));
                };
                let point = |at| Point { value: found.get(&at).copied(), ..missing(at) };
                Ok(window.starts().rev().map(point).collect())
            }
        }
    }

    /// `statistic` and `unit` of reason data: only of alarms on a single metric.
    pub(super) fn statistic_and_unit(&self) -> (Option<&str>, Option<&str>) {
        match &self.target {
            Target::Single(stat) => (Some(stat.statistic.name()), stat.unit.as_deref()),
            Target::Math(..) => (None, None),
        }
    }

    fn read(input: &Value, scaled: &BTreeSet<String>) -> Result<Self, CloudWatchError> {
        let target = read_target(input)?;
        let period_s = target.period_s();
        if period_s < 10 {
            return Err(CloudWatchError::validation(format!(
                "an alarm has a period of at least 10 s, got {period_s} s"
            )));
        }
        let scaled = is_scaled(&target, scaled);
        let rule = read_rule(input, &target, period_s)?;
        Ok(Self { target, rule, period_s, scaled, evaluated_until_ms: 0 })
    }
}

impl Target {
    fn period_s(&self) -> i64 {
        match self {
            Self::Single(stat) => stat.period_s,
            Self::Math(queries, _) => queries.stats().next().map_or(0, |stat| stat.period_s),
        }
    }

    fn namespaces(&self) -> Vec<&str> {
        match self {
            Self::Single(stat) => vec![&stat.metric.namespace],
            Self::Math(queries, _) => queries.stats().map(|stat| stat.metric.namespace.as_str()).collect(),
        }
    }
}

/// Whether an alarm lives in minutes of the emulator instead of real ones: it has a period of 60 s and a metric in one of the
/// `scaled` namespaces (alone, or among the metrics of the expression). Every other alarm keeps real periods, whatever an AWS
/// minute lasts.
fn is_scaled(target: &Target, scaled: &BTreeSet<String>) -> bool {
    target.period_s() == MINUTE_S && target.namespaces().into_iter().any(|namespace| scaled.contains(namespace))
}

pub(super) fn arn(name: &str) -> String {
    format!("arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}")
}

fn read_target(input: &Value) -> Result<Target, CloudWatchError> {
    let list = input::list(input, "Metrics")?;
    if list.is_empty() {
        return read_single(input).map(Target::Single);
    }
    for member in ["MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit"] {
        let empty_list = input.get(member).and_then(Value::as_array).is_some_and(Vec::is_empty);
        if input::member(input, member).is_some() && !empty_list {
            return Err(CloudWatchError::combination(format!("{member} cannot be given together with Metrics")));
        }
    }
    let queries = QuerySet::read(list)?;
    let stats = queries.stats().count();
    if stats > 10 || list.len() - stats > 10 {
        return Err(CloudWatchError::validation("an alarm has at most 10 metrics and 10 expressions"));
    }
    let mut periods: Vec<i64> = queries.stats().map(|stat| stat.period_s).collect();
    periods.dedup();
    if periods.len() != 1 {
        return Err(CloudWatchError::validation("Metrics must contain at least one MetricStat, all with one period"));
    }
    let mut returned = queries.queries.iter().filter(|query| query.return_data);
    let (Some(only), None) = (returned.next(), returned.next()) else {
        return Err(CloudWatchError::validation("exactly one element of Metrics must have ReturnData true"));
    };
    let id = only.id.clone();
    if matches!((&only.source, only.period_s), (Source::Math(..), None)) {
        return Err(CloudWatchError::validation(format!("`{id}` refers to no metric, so it yields no time series")));
    }
    Ok(Target::Math(queries, id))
}

fn read_single(input: &Value) -> Result<MetricStat, CloudWatchError> {
    let statistic = match (input::text(input, "Statistic")?, input::text(input, "ExtendedStatistic")?) {
        (Some(name), None) if name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('(') => name,
        (Some(name), None) => {
            return Err(CloudWatchError::validation(format!("Statistic `{name}` belongs into ExtendedStatistic")));
        }
        (None, Some(name)) => name,
        (Some(_), Some(_)) => {
            return Err(CloudWatchError::combination("Statistic and ExtendedStatistic cannot be given together"));
        }
        (None, None) => return Err(CloudWatchError::missing("Statistic or ExtendedStatistic")),
    };
    Ok(MetricStat {
        metric: read_metric(input)?,
        period_s: read_period(input)?,
        statistic: Statistic::parse(statistic)?,
        unit: input::text(input, "Unit")?.map(str::to_owned),
    })
}

fn read_rule(input: &Value, target: &Target, period_s: i64) -> Result<Rule, CloudWatchError> {
    let required = |name| input::count(input, name)?.ok_or_else(|| CloudWatchError::missing(name));
    let evaluation_periods = required("EvaluationPeriods")?;
    let longest_s = if period_s < 3600 { 86_400 } else { 604_800 };
    if i64::try_from(evaluation_periods).map_or(true, |periods| periods.saturating_mul(period_s) > longest_s) {
        let message =
            format!("EvaluationPeriods x Period is more than {longest_s} s: {evaluation_periods} x {period_s} s");
        return Err(CloudWatchError::validation(message));
    }
    let datapoints_to_alarm = input::count(input, "DatapointsToAlarm")?.unwrap_or(evaluation_periods);
    if datapoints_to_alarm > evaluation_periods {
        let message =
            format!("DatapointsToAlarm {datapoints_to_alarm} is more than EvaluationPeriods {evaluation_periods}");
        return Err(CloudWatchError::validation(message));
    }
    let comparison = input::required_text(input, "ComparisonOperator")?;
    let comparison = Comparison::parse(comparison).ok_or_else(|| {
        CloudWatchError::validation(format!(
            "ComparisonOperator `{comparison}` is unknown or for anomaly detection, which the emulator does not have"
        ))
    })?;
    let missing = input::text(input, "TreatMissingData")?.unwrap_or("missing");
    let missing = MissingData::parse(missing).ok_or_else(|| {
        CloudWatchError::validation(format!(
            "TreatMissingData `{missing}` is not one of missing, ignore, breaching, notBreaching"
        ))
    })?;
    let always_ignored = target.namespaces().contains(&"AWS/DynamoDB");
    Ok(Rule {
        evaluation_periods,
        datapoints_to_alarm,
        threshold: input::number(input, "Threshold")?.ok_or_else(|| CloudWatchError::missing("Threshold"))?,
        comparison,
        missing: if always_ignored { MissingData::Ignore } else { missing },
        significant_samples: read_low_samples(input, target)?,
    })
}

fn read_low_samples(input: &Value, target: &Target) -> Result<Option<f64>, CloudWatchError> {
    match (input::text(input, "EvaluateLowSampleCountPercentile")?, target) {
        (None | Some("evaluate"), _) | (Some("ignore"), Target::Math(..)) => Ok(None),
        (Some("ignore"), Target::Single(stat)) => Ok(stat.statistic.significant_samples()),
        (Some(other), _) => {
            let message = format!("EvaluateLowSampleCountPercentile `{other}` is not one of evaluate, ignore");
            Err(CloudWatchError::validation(message))
        }
    }
}

fn actions(input: &Value, name: &str) -> Result<Vec<String>, CloudWatchError> {
    let actions = input::texts(input, name)?;
    if actions.len() > 5 {
        return Err(CloudWatchError::validation(format!(
            "{name} has {} entries, at most 5 are allowed",
            actions.len()
        )));
    }
    match actions.iter().find(|arn| !arn.starts_with("arn:")) {
        Some(wrong) => Err(CloudWatchError::validation(format!("{name} contains `{wrong}`, which is no ARN"))),
        None => Ok(actions),
    }
}

pub(super) fn length(member: &str, text: &str, most: usize) -> Result<(), CloudWatchError> {
    let characters = text.chars().count();
    if characters > most {
        let message = format!("{member} has {characters} characters, at most {most} are allowed");
        return Err(CloudWatchError::validation(message));
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(1000)
}

/// Data of a reason: a JSON text whose members keep the order in which CloudWatch writes them. It has at most 4,000
/// characters, so of many datapoints it holds the newest.
pub(super) fn reason_data(settings: &MetricSettings, evaluated: &[Point], now_ms: i64) -> Option<String> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        version: &'a str,
        query_date: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        start_date: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        statistic: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<&'a str>,
        period: i64,
        recent_datapoints: Vec<f64>,
        threshold: f64,
        evaluated_datapoints: Vec<Datapoint>,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Datapoint {
        timestamp: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        sample_count: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<f64>,
    }
    let evaluated = evaluated.get(..MAX_REASON_DATAPOINTS).unwrap_or(evaluated);
    let (statistic, unit) = settings.statistic_and_unit();
    let oldest = evaluated.iter().rev().find(|point| point.value.is_some());
    let data = Data {
        version: "1.0",
        query_date: time::iso(now_ms),
        start_date: oldest.map(|point| time::iso(point.timestamp_ms)),
        statistic,
        unit,
        period: settings.period_s,
        recent_datapoints: evaluated.iter().rev().filter_map(|point| point.value).collect(),
        threshold: settings.rule.threshold,
        evaluated_datapoints: evaluated
            .iter()
            .map(|point| Datapoint {
                timestamp: time::iso(point.timestamp_ms),
                sample_count: point.sample_count,
                value: point.value,
            })
            .collect(),
    };
    serde_json::to_string(&data).ok()
}

/// `configuration` of an event about this alarm.
pub(super) fn configuration(alarm: &Alarm) -> Value {
    let mut configuration = Map::new();
    if let Some(description) = &alarm.description {
        configuration.insert("description".into(), description.clone().into());
    }
    let (name, value) = match &alarm.kind {
        Kind::Metric(settings) => ("metrics", metrics(&settings.target, &alarm.name)),
        Kind::Composite(rule) => ("alarmRule", rule.text().into()),
    };
    configuration.insert(name.into(), value);
    Value::Object(configuration)
}

fn metrics(target: &Target, alarm_name: &str) -> Value {
    match target {
        Target::Single(stat) => {
            json!([{ "id": stable_id(alarm_name), "metricStat": metric_stat(stat), "returnData": true }])
        }
        Target::Math(queries, _) => queries
            .queries
            .iter()
            .map(|query| {
                let mut entry = json!({ "id": query.id, "returnData": query.return_data });
                let (name, value) = match &query.source {
                    Source::Stat(stat) => ("metricStat", metric_stat(stat)),
                    Source::Math(text, _) => ("expression", text.clone().into()),
                };
                if let Some(entry) = entry.as_object_mut() {
                    entry.insert(name.into(), value);
                    entry.extend(query.label.clone().map(|label| ("label".to_owned(), label.into())));
                }
                entry
            })
            .collect(),
    }
}

fn metric_stat(stat: &MetricStat) -> Value {
    let dimensions: Map<String, Value> =
        stat.metric.dimensions.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let metric = json!({ "namespace": stat.metric.namespace, "name": stat.metric.name, "dimensions": dimensions });
    let mut object = json!({ "metric": metric, "period": stat.period_s, "stat": stat.statistic.name() });
    if let (Some(unit), Some(object)) = (&stat.unit, object.as_object_mut()) {
        object.insert("unit".into(), unit.clone().into());
    }
    object
}

/// An id in the form of a UUID that stays the same for an alarm, as events of CloudWatch have it for a single metric.
fn stable_id(alarm_name: &str) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(alarm_name.as_bytes());
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let piece = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", piece(0, 8), piece(8, 12), piece(12, 16), piece(16, 20), piece(20, 32))
}
