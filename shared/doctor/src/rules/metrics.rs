//! Whether the metrics of an alarm can ever have data.

use super::Found;
use crate::facts::{Alarm, AlarmSeries, Facts};
use crate::metrics::{Metrics, NoMetric, Values, metric, missing, namespace};
use crate::template::{Resource, Text};
use crate::words::words;

/// Words in names and descriptions of alarms that are about a share of requests.
const SHARES: [&str; 6] = ["rate", "rates", "percent", "percentage", "ratio", "pct"];

/// Its metrics are not in the table; those with a rate in their name are in per cent.
const CLOUD_FRONT: &str = "AWS/CloudFront";

/// Each series of each alarm.
fn each<'a, 'b>(facts: &'b Facts<'a>) -> impl Iterator<Item = (&'b Alarm<'a>, &'b AlarmSeries<'a>)> {
    facts.alarms.iter().flat_map(|alarm| alarm.series.iter().map(move |series| (alarm, series)))
}

fn known(series: &AlarmSeries<'_>) -> Option<&'static Metrics> {
    metric(series.namespace?, series.metric?)
}

fn no_metric(series: &AlarmSeries<'_>) -> Option<NoMetric> {
    missing(namespace(series.namespace?)?, series.metric?)
}

pub(super) fn does_not_exist(facts: &Facts<'_>) -> Vec<Found> {
    let found = |(alarm, series): (&Alarm<'_>, &AlarmSeries<'_>)| match no_metric(series)? {
        NoMetric::Instead(instead) => {
            let (space, name) = series.namespace.zip(series.metric)?;
            let place = alarm.resource.place(&series.metric_path("MetricName"));
            let why = format!("{space} has no metric `{name}`: CloudWatch takes the alarm, and it never has data");
            Some(Found::new(place, why, instead))
        }
        NoMetric::Unknown => None,
    };
    each(facts).filter_map(found).collect()
}

pub(super) fn unknown(facts: &Facts<'_>) -> Vec<Found> {
    let found = |(alarm, series): (&Alarm<'_>, &AlarmSeries<'_>)| {
        let (space, name) = series.namespace.zip(series.metric)?;
        let is_unknown = no_metric(series)? == NoMetric::Unknown;
        let place = alarm.resource.place(&series.metric_path("MetricName"));
        let why = format!(
            "`{name}` is not among the known metrics of {space}; an alarm on a metric that does not exist never has data"
        );
        let fix =
            "look it up in the documentation of the service; when it does exist, ignore this rule on the resource";
        is_unknown.then(|| Found::new(place, why, fix))
    };
    each(facts).filter_map(found).collect()
}

pub(super) fn dimensions(facts: &Facts<'_>) -> Vec<Found> {
    let found = |(alarm, series): (&Alarm<'_>, &AlarmSeries<'_>)| {
        let (why, fix) = wrong_set(series).or_else(|| wrong_value(facts, series))?;
        Some(Found::new(alarm.resource.place(&series.metric_path("Dimensions")), why, fix))
    };
    each(facts).filter_map(found).collect()
}

/// A set of dimensions with which the metric is not published.
fn wrong_set(series: &AlarmSeries<'_>) -> Option<(String, String)> {
    let (metrics, name) = (known(series)?, series.metric?);
    let mut names: Vec<&str> = series.dimensions.as_ref()?.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    if metrics.dimensions.is_empty() || metrics.dimensions.contains(&names.as_slice()) {
        return None;
    }
    // Which metrics of a state machine have its aliases and versions is not in the table.
    if series.namespace == Some("AWS/States") && names.iter().any(|name| matches!(*name, "Alias" | "Version")) {
        return None;
    }
    let shown = |set: &[&str]| if set.is_empty() { "none".to_owned() } else { set.join(" + ") };
    let sets: Vec<String> = metrics.dimensions.iter().map(|set| shown(set)).collect();
    let mut why = format!("`{name}` is not published with the dimensions {}; all of them must match", shown(&names));
    if series.namespace == Some("AWS/ApiGateway")
        && names.contains(&"ApiId")
        && metrics.dimensions.iter().all(|set| !set.contains(&"ApiId"))
    {
        why.push_str(" (it is a metric of REST APIs; ApiId is of HTTP APIs, whose metrics are `4xx` and `5xx`)");
    }
    if names.contains(&"ApiName") && metrics.dimensions.iter().all(|set| !set.contains(&"ApiName")) {
        why.push_str(
            " (it is a metric of HTTP APIs; ApiName is of REST APIs, whose metrics are `4XXError` and `5XXError`)",
        );
    }
    Some((why, format!("use one of: {}", sets.join("; "))))
}

/// A dimension whose value is of the wrong sort: an id instead of a name, an ARN instead of a part of it.
fn wrong_value(facts: &Facts<'_>, series: &AlarmSeries<'_>) -> Option<(String, String)> {
    known(series)?;
    let refers_to = |name: &str| {
        let value = series.dimension(name)?;
        let resource = facts.template.resource(value.as_reference()?)?;
        Some((value, resource))
    };
    let is = |resource: &Resource, kinds: &[&str]| kinds.contains(&resource.kind.as_str());
    let says = |why: &str, fix: String| Some((why.to_owned(), fix));
    if let Some((_, api)) = refers_to("ApiName") {
        if is(api, &["AWS::ApiGateway::RestApi", "AWS::Serverless::Api"]) {
            let fix = "give the API's name: the same value as its property Name";
            return says("ApiName is the name of the API, and `Ref` gives its id", fix.to_owned());
        }
        if is(api, &["AWS::ApiGatewayV2::Api", "AWS::Serverless::HttpApi"]) {
            return says(
                "an HTTP API has no dimension ApiName",
                "use ApiId, and the metrics `4xx` and `5xx`".to_owned(),
            );
        }
    }
    if let Some((_, api)) = refers_to("ApiId")
        && is(api, &["AWS::ApiGateway::RestApi", "AWS::Serverless::Api"])
    {
        let fix = "use ApiName with the API's name, and the metrics `4XXError` and `5XXError`";
        return says("a REST API has no dimension ApiId", fix.to_owned());
    }
    if let Some((value, _)) = refers_to("LoadBalancer") {
        let fix = format!("!GetAtt {value}.LoadBalancerFullName").replace(['$', '{', '}'], "");
        return says("LoadBalancer is the end of the ARN (app/name/id), and `Ref` gives all of it", fix);
    }
    if let Some((value, _)) = refers_to("TargetGroup") {
        let fix = format!("!GetAtt {value}.TargetGroupFullName").replace(['$', '{', '}'], "");
        return says("TargetGroup is the end of the ARN (targetgroup/name/id), and `Ref` gives all of it", fix);
    }
    if let Some((value, queue)) = refers_to("QueueName")
        && is(queue, &["AWS::SQS::Queue"])
    {
        let fix = format!("!GetAtt {value}.QueueName").replace(['$', '{', '}'], "");
        return says("QueueName is a name, and `Ref` gives the queue's URL", fix);
    }
    if let Some(name) = series.dimension("FunctionName")
        && name.starts_with("arn:") == Some(true)
    {
        return says("FunctionName is a name, and this is an ARN", "!Ref the function".to_owned());
    }
    for (name, begins) in [("LoadBalancer", "app/"), ("TargetGroup", "targetgroup/"), ("StateMachineArn", "arn:")] {
        if series.dimension(name).is_some_and(|value| value.starts_with(begins) == Some(false)) {
            let why = format!("{name} begins with `{begins}`, and this value does not");
            return Some((why, format!("give what stands in the ARN from `{begins}` on")));
        }
    }
    wrong_resource(series)
}

/// `Resource` of Lambda's metrics is `function:alias` or `function:version`.
fn wrong_resource(series: &AlarmSeries<'_>) -> Option<(String, String)> {
    let (function, resource) = (series.dimension("FunctionName")?, series.dimension("Resource")?);
    if series.namespace != Some("AWS/Lambda") {
        return None;
    }
    let begins = {
        let mut begins = function.clone();
        begins.push(&Text::literal(":"));
        begins
    };
    // Both are texts with the same unknown parts, or neither has any: else nobody can tell.
    let is_comparable = resource.known().is_some() && begins.known().is_some()
        || resource.pieces().first() == begins.pieces().first() && begins.pieces().len() > 1
        || resource == function;
    let is_right = resource.to_string().starts_with(&begins.to_string());
    (is_comparable && !is_right).then(|| {
        let why =
            format!("Resource is the function's name with alias or version behind a colon, and this is `{resource}`");
        (why, format!("for example `{begins}live`"))
    })
}

pub(super) fn unit(facts: &Facts<'_>) -> Vec<Found> {
    let found = |(alarm, series): (&Alarm<'_>, &AlarmSeries<'_>)| {
        let (metrics, unit, name) = (known(series)?, series.unit?, series.metric?);
        let is_wrong = !metrics.unit.is_empty() && metrics.unit != unit;
        let why = format!("`{name}` is published in {}, not in {unit}: the alarm never has data", metrics.unit);
        let place = alarm.resource.place(&series.unit_path());
        is_wrong.then(|| Found::new(place, why, "leave Unit out"))
    };
    each(facts).filter_map(found).collect()
}

pub(super) fn statistic(facts: &Facts<'_>) -> Vec<Found> {
    let found = |(alarm, series): (&Alarm<'_>, &AlarmSeries<'_>)| {
        let (metrics, stat, name) = (known(series)?, series.stat?, series.metric?);
        let why = match (metrics.values, stat) {
            (Values::Ones, "Average" | "Minimum" | "Maximum") => {
                format!("every value of `{name}` is 1, and so is its {stat}")
            }
            // The Count of an API has the value 1 for each request, those of Lambda's Invocations likewise.
            (Values::Count, "Average" | "Minimum" | "Maximum")
                if matches!(name, "Count" | "Invocations" | "RequestCount") =>
            {
                format!("every value of `{name}` is 1, and so is its {stat}")
            }
            _ => return None,
        };
        Some(Found::new(alarm.resource.place(&series.stat_path()), why, "take Sum"))
    };
    each(facts).filter_map(found).collect()
}

pub(super) fn sum_as_rate(facts: &Facts<'_>) -> Vec<Found> {
    let found = |alarm: &Alarm<'_>| {
        let series = alarm.only_series()?;
        if !matches!(series.stat?, "Sum" | "SampleCount") || alarm.is_red_above() != Some(true) {
            return None;
        }
        let (space, name) = series.namespace.zip(series.metric)?;
        let counts = |values: Values| matches!(values, Values::Count | Values::Outcome | Values::Ones);
        let is_counter = known(series).is_some_and(|metrics| counts(metrics.values));
        let threshold = alarm.resource.number("Threshold");
        let is_fraction = threshold.is_some_and(|threshold| threshold > 0.0 && threshold < 1.0);
        let texts =
            [Some(&Text::literal(name)), alarm.resource.text("AlarmName"), alarm.resource.text("AlarmDescription")];
        let says_rate = is_about_share(&alarm.resource.id)
            || texts.into_iter().flatten().any(|text| is_about_share(&text.to_string()));
        // With a threshold of 0 or 1 it is about any failure at all, whatever it is called.
        let is_meant_as_rate = says_rate && threshold.is_some_and(|threshold| threshold > 1.0);
        let is_rate = space == CLOUD_FRONT && is_about_share(name);
        let is_named_rate = is_rate || namespace(space).is_some() && is_about_share(name);
        if !(is_counter && (is_fraction || is_meant_as_rate) || is_named_rate) {
            return None;
        }
        let why = if is_rate {
            format!("`{name}` is a rate already: the Sum of its values grows with their number and is no rate")
        } else if is_fraction {
            format!("the Sum of `{name}` counts: with a threshold below 1 a single one makes the alarm red")
        } else {
            format!(
                "the alarm is about a rate, and the Sum of `{name}` counts: five of ten requests and five of a million are the same to it"
            )
        };
        let fix = match (space, name) {
            ("AWS/ApiGateway", "5XXError" | "4XXError") => {
                format!("Statistic Average of `{name}` is the rate, between 0 and 1 (0.05 for 5 %)")
            }
            ("AWS/ApiGateway", _) => "REST API: `5XXError` with Statistic Average and a threshold like 0.05; HTTP API: metric math 5xx / Count".to_owned(),
            ("AWS/Lambda", "Throttles") => "metric math: throttles / (invocations + throttles), each with Stat Sum".to_owned(),
            ("AWS/Lambda", _) => "metric math: errors / invocations, each with Stat Sum".to_owned(),
            (CLOUD_FRONT, _) => format!("Statistic Average of `{name}`, which is in per cent (5 for 5 %)"),
            ("AWS/ApplicationELB", _) => format!("metric math: {name} / RequestCount, each with Stat Sum"),
            _ => "divide by the number of requests with metric math".to_owned(),
        };
        Some(Found::new(alarm.resource.place(&series.stat_path()), why, fix))
    };
    facts.alarms.iter().filter_map(found).collect()
}

/// Whether a name or a text speaks of a share of the requests. A rate limit is none.
fn is_about_share(text: &str) -> bool {
    let words = words(text);
    let is_share = |(index, word): (usize, &String)| {
        let is_limit = words.get(index + 1).is_some_and(|next| next.starts_with("limit"));
        SHARES.contains(&word.as_str()) && !is_limit
    };
    text.contains('%') || words.iter().enumerate().any(is_share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_a_share() {
        for text in ["5xxErrorRate", "error-rate", "HighErrorRateAlarm", "more than 5 % fail", "error_percent"] {
            assert!(is_about_share(text), "{text}");
        }
        for text in ["errors", "OperatedByUs", "migrate", "Generated", "accurate", "RateLimited", "rate-limits"] {
            assert!(!is_about_share(text), "{text}");
        }
    }
}
