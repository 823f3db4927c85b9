//! CloudWatch alarms.

use crate::Aws;
use crate::error::{call_error, not_understood};
use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::types::{AlarmType, StateValue};
use aws_smithy_types::DateTime;
use snapback_app::ports::{Alarms, CallError};
use snapback_core::alarm::{AlarmReading, AlarmState};
use snapback_core::{AlarmName, Timestamp};
use snapback_wire::event::oldest_breaching;
use snapback_wire::record::MAX_REASON;

/// Names that one DescribeAlarms takes.
pub const NAMES_PER_CALL: usize = 100;
/// Pages of one DescribeAlarms that are read; the names fit one page, more is an error.
pub const MAX_PAGES: usize = 10;

const DESCRIBE: &str = "cloudwatch:DescribeAlarms";

impl Alarms for Aws {
    async fn read(&self, names: &[AlarmName]) -> Result<Vec<AlarmReading>, CallError> {
        let mut readings = Vec::with_capacity(names.len());
        for names in names.chunks(NAMES_PER_CALL) {
            self.read_some(names, &mut readings).await?;
        }
        Ok(readings)
    }
}

impl Aws {
    async fn read_some(&self, names: &[AlarmName], readings: &mut Vec<AlarmReading>) -> Result<(), CallError> {
        let on = || names.first().map(ToString::to_string).unwrap_or_default();
        let words: Vec<_> = names.iter().map(|name| name.as_str().to_owned()).collect();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            // Without its types it answers metric alarms only.
            let request = self.cloudwatch.describe_alarms();
            let request = request
                .set_alarm_names(Some(words.clone()))
                .alarm_types(AlarmType::CompositeAlarm)
                .alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::LogAlarm)
                .set_next_token(token);
            let answer = request.send().await;
            let answer = answer.map_err(|error| call_error(DESCRIBE, on(), &error))?;
            for raw in raw_alarms(&answer) {
                readings.push(reading(&raw).map_err(|what| not_understood(DESCRIBE, on(), what))?);
            }
            token = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(());
            }
        }
        Err(not_understood(DESCRIBE, on(), format!("more than {MAX_PAGES} pages")))
    }
}

/// What the three kinds of alarms have in common.
#[derive(Debug, Default)]
struct RawAlarm<'a> {
    name: Option<&'a str>,
    state: Option<&'a StateValue>,
    transitioned: Option<&'a DateTime>,
    updated: Option<&'a DateTime>,
    reason: Option<&'a str>,
    reason_data: Option<&'a str>,
}

macro_rules! raw {
    ($alarm:expr) => {
        RawAlarm {
            name: $alarm.alarm_name(),
            state: $alarm.state_value(),
            transitioned: $alarm.state_transitioned_timestamp(),
            updated: $alarm.state_updated_timestamp(),
            reason: $alarm.state_reason(),
            reason_data: $alarm.state_reason_data(),
        }
    };
}

fn raw_alarms(answer: &DescribeAlarmsOutput) -> Vec<RawAlarm<'_>> {
    let metric = answer.metric_alarms().iter().map(|alarm| raw!(alarm));
    let composite = answer.composite_alarms().iter().map(|alarm| raw!(alarm));
    let log = answer.log_alarms().iter().map(|alarm| raw!(alarm));
    metric.chain(composite).chain(log).collect()
}

/// An unknown state is an error, never OK.
fn reading(alarm: &RawAlarm<'_>) -> Result<AlarmReading, String> {
    let name = alarm.name.ok_or("an alarm without a name")?;
    let word = alarm.state.map(|state| state.as_str()).unwrap_or_default();
    let state = AlarmState::parse(word).ok_or_else(|| format!("alarm `{name}` has the unknown state `{word}`"))?;
    let since = alarm
        .transitioned
        .or(alarm.updated)
        .and_then(|time| (*time).to_millis().ok())
        .ok_or_else(|| format!("alarm `{name}` does not say since when it is {word}"))?;
    let reason = alarm.reason.unwrap_or_default();
    let oldest_breaching = match state {
        AlarmState::Alarm => alarm.reason_data.and_then(|data| oldest_breaching(reason, data)),
        AlarmState::Ok | AlarmState::InsufficientData => None,
    };
    Ok(AlarmReading {
        name: AlarmName::parse(name).map_err(|error| error.to_string())?,
        state,
        since: Timestamp::from_ms(since),
        previous: None,
        reason: reason.chars().take(MAX_REASON).collect(),
        oldest_breaching,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatch::types::{CompositeAlarm, LogAlarm, MetricAlarm};

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
        let readings: Vec<_> = raw_alarms(&answer).iter().map(|raw| reading(raw).unwrap()).collect();
        let seen: Vec<_> =
            readings.iter().map(|reading| (reading.name.as_str(), reading.state, reading.since.ms())).collect();
        let oldest = readings.iter().map(|reading| reading.oldest_breaching.map(|at| at.to_string()));
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
    fn what_cannot_be_understood_is_no_good_news() {
        let state = StateValue::from("FINE");
        let at = DateTime::from_millis(0);
        let table = [
            (RawAlarm::default(), "without a name"),
            (RawAlarm { name: Some("a"), ..RawAlarm::default() }, "unknown state ``"),
            (
                RawAlarm { name: Some("a"), state: Some(&state), updated: Some(&at), ..RawAlarm::default() },
                "unknown state `FINE`",
            ),
            (RawAlarm { name: Some("a"), state: Some(&StateValue::Ok), ..RawAlarm::default() }, "since when"),
        ];
        for (raw, expected) in table {
            let error = reading(&raw).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
