//! When an alarm is red.

use super::Found;
use crate::facts::{Alarm, AlarmSeries, Facts, functions};
use crate::finding::Severity;
use crate::metrics::{Values, metric};
use crate::template::{Kind, Node, Text};

/// The longest that a Lambda function may run, in milliseconds.
const LAMBDA_MS_MAX: f64 = 900_000.0;
/// The longest that a load balancer waits for a target, in seconds (its largest idle time-out).
const BALANCER_SECONDS_MAX: f64 = 4_000.0;
/// A level between 0 and 1.
const UTILIZATION: &str = "ProvisionedConcurrencyUtilization";
/// Metrics and expressions that an alarm may have.
const QUERIES_MAX: usize = 10;

/// Values between which an alarm's metric always is, and where they come from.
struct Range {
    least: f64,
    most: f64,
    why: String,
}

pub(super) fn never_reached(facts: &Facts<'_>) -> Vec<Found> {
    let found = |alarm: &Alarm<'_>| {
        let (threshold, range) = (alarm.resource.number("Threshold")?, range(facts, alarm)?);
        let is_never = match alarm.resource.known("ComparisonOperator")? {
            "GreaterThanThreshold" => threshold >= range.most,
            "GreaterThanOrEqualToThreshold" => threshold > range.most,
            "LessThanThreshold" => threshold <= range.least,
            "LessThanOrEqualToThreshold" => threshold < range.least,
            _ => false,
        };
        is_never.then(|| threshold_found(alarm, threshold, &range, "the alarm is never red"))
    };
    facts.alarms.iter().filter_map(found).collect()
}

pub(super) fn always_reached(facts: &Facts<'_>) -> Vec<Found> {
    let found = |alarm: &Alarm<'_>| {
        let (threshold, range) = (alarm.resource.number("Threshold")?, range(facts, alarm)?);
        let is_always = match alarm.resource.known("ComparisonOperator")? {
            "GreaterThanThreshold" => threshold < range.least,
            "GreaterThanOrEqualToThreshold" => threshold <= range.least,
            "LessThanThreshold" => threshold > range.most,
            "LessThanOrEqualToThreshold" => threshold >= range.most,
            _ => false,
        };
        is_always.then(|| threshold_found(alarm, threshold, &range, "the alarm is always red"))
    };
    facts.alarms.iter().filter_map(found).collect()
}

fn threshold_found(alarm: &Alarm<'_>, threshold: f64, range: &Range, so: &str) -> Found {
    let (least, most) = (range.least, range.most);
    let (why, fix) = if most.is_finite() {
        (
            format!("{} is between {least} and {most}, and the threshold is {threshold}: {so}", range.why),
            if (most - 1.0).abs() < f64::EPSILON && threshold > 1.0 {
                format!("for {threshold} % write {}; or multiply by 100 with metric math", threshold / 100.0)
            } else {
                format!("choose a threshold between {least} and {most}")
            },
        )
    } else {
        (
            format!("{} is never below {least}, and the threshold is {threshold}: {so}", range.why),
            "choose a threshold above 0".to_owned(),
        )
    };
    Found::new(alarm.place("Threshold"), why, fix)
}

fn range(facts: &Facts<'_>, alarm: &Alarm<'_>) -> Option<Range> {
    match alarm.only_series() {
        Some(series) => range_of_series(facts, series),
        None => range_of_share(alarm),
    }
}

fn range_of_series(facts: &Facts<'_>, series: &AlarmSeries<'_>) -> Option<Range> {
    let (name, stat) = (series.metric?, series.stat?);
    let values = metric(series.namespace?, name)?.values;
    let is_within = stat != "Sum" && stat != "SampleCount";
    let most = match (values, name) {
        (Values::Outcome | Values::Ones, _) | (Values::Level, UTILIZATION) if is_within => 1.0,
        (Values::Duration, "Duration") if is_within => timeout_ms(facts, series).unwrap_or(LAMBDA_MS_MAX),
        (Values::Duration, "TargetResponseTime") if is_within => BALANCER_SECONDS_MAX,
        _ => f64::INFINITY,
    };
    let why = match (values, name) {
        (Values::Outcome, _) if is_within => format!("`{name}` is 0 or 1 for each request; its {stat} is a rate that"),
        (Values::Level, UTILIZATION) => format!("`{name}` is the share that is in use; it"),
        (Values::Duration, "Duration") => "`Duration` ends with the function's time-out (milliseconds); it".to_owned(),
        (Values::Duration, "TargetResponseTime") => "`TargetResponseTime` is in seconds; it".to_owned(),
        _ => format!("the {stat} of `{name}`"),
    };
    Some(Range { least: 0.0, most, why })
}

/// The time-out of the function that a series is about.
fn timeout_ms(facts: &Facts<'_>, series: &AlarmSeries<'_>) -> Option<f64> {
    let name = series.dimension("FunctionName")?;
    let function = functions(facts.template).find(|function| function.name() == *name)?;
    // What Lambda reports of a function that timed out may be a little more.
    Some(function.number("Timeout")? * 1000.0 + 100.0)
}

/// The range of `failed / all` and of `100 * failed / all`.
fn range_of_share(alarm: &Alarm<'_>) -> Option<Range> {
    let [expression] = alarm.expressions.as_slice() else { return None };
    let text = expression.text?.known()?;
    let plain: String = text.chars().filter(|letter| !letter.is_whitespace() && !matches!(letter, '(' | ')')).collect();
    let (over, under) = plain.split_once('/')?;
    let (under, behind) = under.split_once('*').unwrap_or((under, "1"));
    let factors: Vec<&str> = over.split('*').chain([behind]).collect();
    let is_percent = factors.contains(&"100");
    let is_plain = |factor: &&str| !matches!(*factor, "100" | "1");
    let mut failed = factors.iter().filter(|factor| is_plain(factor));
    let (failed, None) = (failed.next()?, failed.next()) else { return None };
    let find = |id: &str| alarm.series.iter().find(|series| series.id == Some(id));
    let (failed, all) = (find(failed)?, find(under)?);
    let is_part = |part: &str| {
        matches!(
            part,
            "5XXError"
                | "4XXError"
                | "5xx"
                | "4xx"
                | "Errors"
                | "HTTPCode_Target_5XX_Count"
                | "HTTPCode_Target_4XX_Count"
        )
    };
    let is_all = |all: &str| matches!(all, "Count" | "Invocations" | "RequestCount");
    let counts = |series: &AlarmSeries<'_>| matches!(series.stat, Some("Sum" | "SampleCount"));
    if !is_part(failed.metric?) || !is_all(all.metric?) || !counts(failed) || !counts(all) {
        return None;
    }
    let most = if is_percent { 100.0 } else { 1.0 };
    Some(Range { least: 0.0, most, why: format!("`{text}`") })
}

pub(super) fn datapoints(facts: &Facts<'_>) -> Vec<Found> {
    let found = |alarm: &Alarm<'_>| {
        let (datapoints, periods) = alarm.datapoints()?;
        let why = format!("{datapoints} datapoints of {periods} periods cannot be: CloudWatch refuses the alarm");
        (datapoints > periods).then(|| {
            Found::new(alarm.place("DatapointsToAlarm"), why, "let DatapointsToAlarm be at most EvaluationPeriods")
        })
    };
    facts.alarms.iter().filter_map(found).collect()
}

pub(super) fn missing_data(facts: &Facts<'_>) -> Vec<Found> {
    let found = |alarm: &Alarm<'_>| {
        if alarm.is_red_above() != Some(true) {
            return None;
        }
        // Only what is published while somebody calls: a level that is not reported may well be an incident.
        let comes_and_goes = |series: &AlarmSeries<'_>| {
            let values = metric(series.namespace?, series.metric?)?.values;
            Some(matches!(values, Values::Count | Values::Outcome | Values::Ones | Values::Duration))
        };
        let comes_and_goes = |series| comes_and_goes(series) == Some(true);
        if alarm.series.is_empty() || !alarm.series.iter().all(comes_and_goes) {
            return None;
        }
        let (severity, why) = match alarm.resource.known("TreatMissingData")? {
            "breaching" => (
                Severity::Error,
                "no data is no requests here, and it counts as breaching: the alarm is red in every quiet minute",
            ),
            "ignore" => (
                Severity::Warning,
                "no data is no requests here, and the state is kept then: once red, the alarm stays red until somebody calls again",
            ),
            _ => return None,
        };
        let found = Found::new(alarm.place("TreatMissingData"), why, "TreatMissingData: notBreaching");
        Some(found.with_severity(severity))
    };
    facts.alarms.iter().filter_map(found).collect()
}

pub(super) fn percentile(facts: &Facts<'_>) -> Vec<Found> {
    let found = |alarm: &Alarm<'_>| {
        let series = alarm.only_series()?;
        let percentile = series.percentile().filter(|percentile| (95.0..100.0).contains(percentile))?;
        let (datapoints, _) = alarm.datapoints()?;
        let keeps = alarm.resource.get("EvaluateLowSampleCountPercentile");
        // Two periods in a row, or state kept when samples are few: then it is not one slow request that decides.
        if datapoints >= 2.0 || keeps.is_some_and(|keeps| keeps.known() != Some("evaluate")) {
            return None;
        }
        let needed = (10.0 / (1.0 - percentile / 100.0)).round();
        let place = alarm.resource.place(&if alarm.resource.get("ExtendedStatistic").is_some() {
            "Properties.ExtendedStatistic".to_owned()
        } else {
            series.stat_path()
        });
        let why = format!(
            "p{percentile} needs {needed} requests in a period to say anything; with fewer it is the slowest of a few, and one period makes the alarm red"
        );
        let fix = "let several datapoints decide (3 of 5), or form it only above a number of requests with metric math: IF(requests >= 20, p99)";
        Some(Found::new(place, why, fix))
    };
    facts.alarms.iter().filter_map(found).collect()
}

pub(super) fn math(facts: &Facts<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for alarm in &facts.alarms {
        let Some(queries) = alarm.resource.get("Metrics").filter(|queries| !queries.is_unknown()) else { continue };
        for expression in &alarm.expressions {
            let is_search = expression.text.is_some_and(|text| text.to_string().contains("SEARCH("));
            if is_search {
                let why = "SEARCH may give several series, and an alarm takes one";
                found.push(Found::new(alarm.resource.place(&expression.at), why, "name the metrics one by one"));
            }
        }
        let returns = |query: &&Node| query.get("ReturnData").is_none_or(|returned| returned.bool() != Some(false));
        let is_known =
            queries.items().iter().all(|query| match query.get("ReturnData").map(|returned| &returned.kind) {
                Some(Kind::Unknown) => false,
                Some(Kind::Text(text)) => Text::known(text).is_some(),
                Some(Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_)) | None => true,
            });
        let returned = queries.items().iter().filter(returns).count();
        // A band of expected values is compared with a second series.
        let is_band = alarm.resource.get("ThresholdMetricId").is_some();
        if returned != 1 && is_known && !is_band && !queries.items().is_empty() {
            let why = format!("{returned} entries return data, and exactly one must");
            found.push(Found::new(
                alarm.place("Metrics"),
                why,
                "ReturnData: false for all but the one that is compared with the threshold",
            ));
        }
        if alarm.series.len() > QUERIES_MAX || alarm.expressions.len() > QUERIES_MAX {
            let (metrics, expressions) = (alarm.series.len(), alarm.expressions.len());
            let why = format!("{metrics} metrics and {expressions} expressions; an alarm takes {QUERIES_MAX} of each");
            found.push(Found::new(
                alarm.place("Metrics"),
                why,
                "divide it into several alarms under a composite alarm",
            ));
        }
    }
    found
}
