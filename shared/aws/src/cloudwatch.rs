//! CloudWatch alarms.

use crate::Aws;
use crate::error::{call_error, not_understood};
use crate::pages::Page;
use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::types::{AlarmType, CompositeAlarm, Dimension, LogAlarm, MetricAlarm, StateValue};
use aws_smithy_types::DateTime;
use snapback_app::ports::{Alarms, CallError};
use snapback_core::alarm::{AlarmReading, AlarmScope, AlarmState, Evaluation};
use snapback_core::id::InvalidId;
use snapback_core::{AlarmName, Timestamp};
use snapback_wire::event::{alarm_scope, breaching};
use snapback_wire::record::MAX_REASON;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Names that one DescribeAlarms takes.
pub const NAMES_PER_CALL: usize = 100;
/// Pages of one DescribeAlarms that are read; more is an error. The names fit one page.
pub const MAX_PAGES: usize = 10;

const DESCRIBE: &str = "cloudwatch:DescribeAlarms";

impl Alarms for Aws {
    async fn read(&self, names: &[AlarmName]) -> Result<Vec<AlarmReading>, CallError> {
        let mut found = self.describe_alarms(names, Described::of).await?;
        let known: BTreeSet<&AlarmName> = names.iter().collect();
        let parts: BTreeSet<&AlarmName> = found.iter().flat_map(|alarm| &alarm.parts).collect();
        let parts: Vec<AlarmName> = parts.into_iter().filter(|part| !known.contains(part)).cloned().collect();
        // What a composite alarm counts, the alarms of its rule know; of rules among them only their own metrics.
        let of_parts = match parts.as_slice() {
            [] => Vec::new(),
            parts => {
                self.describe_alarms(parts, |alarm| Ok((alarm.name()?, alarm.scope()))).await.unwrap_or_else(|error| {
                    // Their states are known all the same, and what they count was seen before.
                    tracing::warn!(%error, "what composite alarms count could not be read");
                    Vec::new()
                })
            }
        };
        let mut scopes: BTreeMap<AlarmName, Option<AlarmScope>> = of_parts.into_iter().collect();
        scopes.extend(found.iter().map(|alarm| (alarm.reading.name.clone(), alarm.reading.scope)));
        for alarm in found.iter_mut().filter(|alarm| !alarm.parts.is_empty()) {
            let known = alarm.parts.iter().filter_map(|part| *scopes.get(part)?);
            alarm.reading.scope = known.reduce(|all, one| if one == AlarmScope::Shared { one } else { all });
        }
        Ok(found.into_iter().map(|alarm| alarm.reading).collect())
    }
}

/// An alarm, and the alarms of its rule when it is a composite one.
struct Described {
    reading: AlarmReading,
    parts: Vec<AlarmName>,
}

impl Described {
    fn of(alarm: AnyAlarm<'_>) -> Result<Self, AlarmError> {
        let parts = match alarm {
            AnyAlarm::Composite(alarm) => alarm.alarm_rule().map(parts_of).unwrap_or_default(),
            AnyAlarm::Metric(_) | AnyAlarm::Log(_) => Vec::new(),
        };
        Ok(Self { reading: reading(alarm)?, parts })
    }
}

/// Alarms that a rule names, at most [`NAMES_PER_CALL`], as many as a rule may have: each stands in the parentheses of a state, as a
/// name with or without quotes, or as an ARN.
fn parts_of(rule: &str) -> Vec<AlarmName> {
    let words = rule.split(['(', ')']).map(|word| word.trim().trim_matches(['"', '\'']));
    let names = words.map(|word| word.rsplit_once(":alarm:").map_or(word, |(_, name)| name));
    let is_state = |word: &str| word.split_whitespace().all(|word| RULE_WORDS.contains(&word));
    let names = names.filter(|name| !is_state(name)).filter_map(|name| AlarmName::parse(name).ok());
    names.collect::<BTreeSet<_>>().into_iter().take(NAMES_PER_CALL).collect()
}

/// Words of a rule that are no alarms.
const RULE_WORDS: [&str; 8] = ["ALARM", "OK", "INSUFFICIENT_DATA", "AND", "OR", "NOT", "TRUE", "FALSE"];

impl Aws {
    /// What `read` makes of each of those of `names` that exist, whatever its kind.
    pub(crate) async fn describe_alarms<T>(
        &self,
        names: &[AlarmName],
        read: impl Fn(AnyAlarm<'_>) -> Result<T, AlarmError>,
    ) -> Result<Vec<T>, CallError> {
        let mut found = Vec::with_capacity(names.len());
        for names in names.chunks(NAMES_PER_CALL) {
            let on = || names.first().map(ToString::to_string).unwrap_or_default();
            let words: Vec<_> = names.iter().map(|name| name.as_str().to_owned()).collect();
            let mut next = Some(Page::first(DESCRIBE, on(), MAX_PAGES));
            while let Some(page) = next {
                // Without its types it answers metric alarms only.
                let request = self.cloudwatch.describe_alarms();
                let request = request
                    .set_alarm_names(Some(words.clone()))
                    .alarm_types(AlarmType::CompositeAlarm)
                    .alarm_types(AlarmType::MetricAlarm)
                    .alarm_types(AlarmType::LogAlarm)
                    .set_next_token(page.token());
                let answer = request.send().await;
                let answer = answer.map_err(|error| call_error(DESCRIBE, on(), &error))?;
                for alarm in alarms(&answer) {
                    found.push(read(alarm).map_err(|what| not_understood(DESCRIBE, on(), what))?);
                }
                next = page.after(answer.next_token())?;
            }
        }
        Ok(found)
    }
}

/// Why an alarm of an answer says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AlarmError {
    #[error("an alarm without a name")]
    NoName,
    /// Never taken for OK.
    #[error("alarm `{alarm}` has the unknown state `{word}`")]
    UnknownState { alarm: String, word: String },
    #[error("alarm `{alarm}` does not say since when it is {word}")]
    NoTime { alarm: String, word: String },
    #[error(transparent)]
    Name(#[from] InvalidId),
}

/// An alarm of one of the three kinds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AnyAlarm<'a> {
    Metric(&'a MetricAlarm),
    Composite(&'a CompositeAlarm),
    Log(&'a LogAlarm),
}

/// What the three kinds have in common, as it came.
#[derive(Debug, Default)]
pub(crate) struct RawState<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) arn: Option<&'a str>,
    state: Option<&'a StateValue>,
    transitioned: Option<&'a DateTime>,
    updated: Option<&'a DateTime>,
    reason: Option<&'a str>,
    reason_data: Option<&'a str>,
}

macro_rules! raw {
    ($alarm:expr) => {
        RawState {
            name: $alarm.alarm_name(),
            arn: $alarm.alarm_arn(),
            state: $alarm.state_value(),
            transitioned: $alarm.state_transitioned_timestamp(),
            updated: $alarm.state_updated_timestamp(),
            reason: $alarm.state_reason(),
            reason_data: $alarm.state_reason_data(),
        }
    };
}

impl<'a> AnyAlarm<'a> {
    pub(crate) fn state(self) -> RawState<'a> {
        match self {
            Self::Metric(alarm) => raw!(alarm),
            Self::Composite(alarm) => raw!(alarm),
            Self::Log(alarm) => raw!(alarm),
        }
    }
}

impl AnyAlarm<'_> {
    fn name(self) -> Result<AlarmName, AlarmError> {
        Ok(AlarmName::parse(self.state().name.ok_or(AlarmError::NoName)?)?)
    }

    /// Whose requests it counts, as far as its own metrics tell.
    fn scope(self) -> Option<AlarmScope> {
        let Self::Metric(alarm) = self else { return None };
        let single = alarm.namespace().map(|namespace| (namespace, names_of(alarm.dimensions())));
        let of_math = alarm.metrics().iter().filter_map(|query| {
            let metric = query.metric_stat()?.metric()?;
            Some((metric.namespace()?, names_of(metric.dimensions())))
        });
        alarm_scope(single.into_iter().chain(of_math))
    }

    /// How it is evaluated. All metrics of an alarm have one period.
    fn evaluation(self) -> Option<Evaluation> {
        let Self::Metric(alarm) = self else { return None };
        let count = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0);
        let of_math = || {
            let queries = alarm.metrics().iter();
            queries.filter_map(|query| query.metric_stat().and_then(|stat| stat.period()).or(query.period())).max()
        };
        let periods = alarm.evaluation_periods().and_then(count)?;
        Some(Evaluation {
            datapoints_to_alarm: alarm.datapoints_to_alarm().and_then(count).unwrap_or(periods),
            periods,
            period: Duration::from_secs(u64::from(alarm.period().or_else(of_math).and_then(count)?)),
        })
    }
}

impl<'a> RawState<'a> {
    /// Name, state, and since when.
    pub(crate) fn known(&self) -> Result<(&'a str, AlarmState, Timestamp), AlarmError> {
        let name = self.name.ok_or(AlarmError::NoName)?;
        let word = self.state.map(|state| state.as_str()).unwrap_or_default();
        let state = AlarmState::parse(word)
            .ok_or_else(|| AlarmError::UnknownState { alarm: name.to_owned(), word: word.to_owned() })?;
        let since = self.transitioned.or(self.updated).and_then(|time| (*time).to_millis().ok());
        let since = since.ok_or_else(|| AlarmError::NoTime { alarm: name.to_owned(), word: word.to_owned() })?;
        Ok((name, state, Timestamp::from_ms(since)))
    }
}

fn names_of(dimensions: &[Dimension]) -> Vec<&str> {
    dimensions.iter().filter_map(Dimension::name).collect()
}

fn alarms(answer: &DescribeAlarmsOutput) -> impl Iterator<Item = AnyAlarm<'_>> {
    let metric = answer.metric_alarms().iter().map(AnyAlarm::Metric);
    let composite = answer.composite_alarms().iter().map(AnyAlarm::Composite);
    let log = answer.log_alarms().iter().map(AnyAlarm::Log);
    metric.chain(composite).chain(log)
}

fn reading(alarm: AnyAlarm<'_>) -> Result<AlarmReading, AlarmError> {
    let raw = alarm.state();
    let (name, state, since) = raw.known()?;
    let reason = raw.reason.unwrap_or_default();
    let breaching = match state {
        AlarmState::Alarm => raw.reason_data.map(|data| breaching(reason, data)).unwrap_or_default(),
        AlarmState::Ok | AlarmState::InsufficientData => Vec::new(),
    };
    Ok(AlarmReading {
        name: AlarmName::parse(name)?,
        state,
        since,
        previous: None,
        reason: reason.chars().take(MAX_REASON).collect(),
        breaching,
        evaluation: alarm.evaluation(),
        scope: alarm.scope(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatch::types::{Metric, MetricDataQuery, MetricStat};

    #[test]
    fn all_three_kinds_are_read() {
        let at = DateTime::from_millis(1_795_169_726_900);
        let answer = DescribeAlarmsOutput::builder()
            .metric_alarms(
                MetricAlarm::builder()
                    .alarm_name("metric")
                    .state_value(StateValue::Alarm)
                    .state_transitioned_timestamp(at)
                    .state_updated_timestamp(DateTime::from_millis(1_795_169_999_999))
                    .state_reason("Threshold Crossed: 1 datapoint [7.0] was greater than the threshold (5.0).")
                    .state_reason_data(
                        r#"{"threshold":5.0,"evaluatedDatapoints":[{"timestamp":"2026-11-20T10:14:00.000+0000","value":7.0}]}"#,
                    )
                    .build(),
            )
            .composite_alarms(
                CompositeAlarm::builder()
                    .alarm_name("composite")
                    .state_value(StateValue::Ok)
                    .state_updated_timestamp(at)
                    .build(),
            )
            .log_alarms(
                LogAlarm::builder()
                    .alarm_name("log")
                    .state_value(StateValue::InsufficientData)
                    .state_transitioned_timestamp(at)
                    .build(),
            )
            .build();
        let readings: Vec<_> = alarms(&answer).map(|alarm| reading(alarm).unwrap()).collect();
        let seen: Vec<_> =
            readings.iter().map(|reading| (reading.name.as_str(), reading.state, reading.since.ms())).collect();
        let oldest = readings.iter().map(|reading| reading.oldest_breaching().map(|at| at.to_string()));
        let oldest: Vec<_> = oldest.collect();
        assert_eq!(oldest, [Some("2026-11-20T10:14:00.000Z".to_owned()), None, None]);
        let at = 1_795_169_726_900;
        assert_eq!(
            seen,
            [
                ("metric", AlarmState::Alarm, at),
                ("composite", AlarmState::Ok, at),
                ("log", AlarmState::InsufficientData, at),
            ]
        );
    }

    #[test]
    fn how_a_metric_alarm_is_evaluated_and_what_it_counts() {
        let dimension = |name: &str| Dimension::builder().name(name).value("x").build();
        let stat = |namespace: &str, names: &[&str], period: i32| {
            let metric = Metric::builder()
                .namespace(namespace)
                .metric_name("n")
                .set_dimensions(Some(names.iter().map(|name| dimension(name)).collect()))
                .build();
            let stat = MetricStat::builder().metric(metric).period(period).stat("Sum").build();
            MetricDataQuery::builder().id("m").metric_stat(stat).build()
        };
        let expression = MetricDataQuery::builder().id("rate").expression("100 * m").return_data(true).build();
        let plain = || MetricAlarm::builder().alarm_name("a").evaluation_periods(3);
        let single = |name: &str| plain().namespace("AWS/ApplicationELB").dimensions(dimension(name)).period(60);
        let of = |datapoints_to_alarm, periods, seconds| {
            Some(Evaluation { datapoints_to_alarm, periods, period: Duration::from_secs(seconds) })
        };
        let table = [
            ("M of N", single("TargetGroup").datapoints_to_alarm(2), of(2, 3, 60), Some(AlarmScope::Own)),
            ("all of N", single("LoadBalancer"), of(3, 3, 60), Some(AlarmScope::Shared)),
            (
                "metric math",
                plain().metrics(expression.clone()).metrics(stat("AWS/ApiGateway", &["ApiName", "Stage"], 300)),
                of(3, 3, 300),
                Some(AlarmScope::Shared),
            ),
            (
                "metric math of a route",
                plain().metrics(expression.clone()).metrics(stat("AWS/ApiGateway", &["ApiId", "Route"], 60)),
                of(3, 3, 60),
                Some(AlarmScope::Own),
            ),
            ("no period is told", plain().metrics(expression), None, None),
        ];
        for (case, alarm, evaluation, scope) in table {
            let alarm = alarm.build();
            let alarm = AnyAlarm::Metric(&alarm);
            assert_eq!((alarm.evaluation(), alarm.scope()), (evaluation, scope), "{case}");
        }
    }

    #[test]
    fn the_alarms_of_a_rule_are_found() {
        let table: [(&str, &[&str]); 5] = [
            (
                "ALARM(\"shop-burn-rate-fast\") AND ALARM(\"shop-burn-rate-slow\")",
                &["shop-burn-rate-fast", "shop-burn-rate-slow"],
            ),
            ("ALARM(errors) OR (ALARM('my latency') AND NOT OK(errors))", &["errors", "my latency"]),
            ("ALARM(arn:aws:cloudwatch:eu-west-1:123456789012:alarm:errors)", &["errors"]),
            ("TRUE", &[]),
            ("NOT (FALSE OR TRUE)", &[]),
        ];
        for (rule, expected) in table {
            let names: Vec<String> = parts_of(rule).iter().map(|name| name.as_str().to_owned()).collect();
            assert_eq!(names, expected, "{rule}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_no_good_news() {
        let state = StateValue::from("FINE");
        let at = DateTime::from_millis(0);
        let table = [
            (RawState::default(), "without a name"),
            (RawState { name: Some("a"), ..RawState::default() }, "unknown state ``"),
            (
                RawState { name: Some("a"), state: Some(&state), updated: Some(&at), ..RawState::default() },
                "unknown state `FINE`",
            ),
            (RawState { name: Some("a"), state: Some(&StateValue::Ok), ..RawState::default() }, "since when"),
        ];
        for (raw, expected) in table {
            let error = raw.known().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
