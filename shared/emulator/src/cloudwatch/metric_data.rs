//! `PutMetricData` and `GetMetricData`.

use serde_json::{Map, Value, json};

use super::error::CloudWatchError;
use super::input;
use super::math::Operand;
use super::query::{Query, QuerySet, Source};
use super::statistic::Sample;
use super::store::{Metric, Store, Window};
use super::time;

const MAX_DATA: usize = 1000;
const MAX_VALUES: usize = 150;
const MAX_QUERIES: usize = 500;
/// Most datapoints in one answer, and most periods of one window.
const MAX_POINTS: usize = 100_800;
const TWO_WEEKS_MS: i64 = 14 * 86_400 * 1000;
const TWO_HOURS_MS: i64 = 2 * 3600 * 1000;
const TOKEN: &str = "point:";

/// `PutMetricData`: all of it, or nothing when one datum is wrong.
pub(super) fn put(store: &mut Store, input: &Value, now_ms: i64) -> Result<(), CloudWatchError> {
    let namespace = input::required_text(input, "Namespace")?;
    let data = input::list(input, "MetricData")?;
    if input::member(input, "EntityMetricData").is_some() {
        return Err(CloudWatchError::validation("the emulator does not support EntityMetricData; use MetricData"));
    }
    if data.len() > MAX_DATA {
        return Err(CloudWatchError::validation(format!("MetricData has {} entries, at most {MAX_DATA}", data.len())));
    }
    let read: Vec<Datum> = data.iter().map(|datum| read_datum(namespace, datum, now_ms)).collect::<Result<_, _>>()?;
    for Datum { metric, timestamp_ms, unit, samples } in read {
        for sample in samples {
            store.add(metric.clone(), timestamp_ms, sample, &unit, now_ms);
        }
    }
    Ok(())
}

/// `GetMetricData`. The first period is the one that holds StartTime; the last one starts before EndTime and may still grow.
pub(super) fn get(store: &Store, input: &Value, now_ms: i64) -> Result<Value, CloudWatchError> {
    let list = input::list(input, "MetricDataQueries")?;
    if list.is_empty() {
        return Err(CloudWatchError::missing("MetricDataQueries"));
    }
    if list.len() > MAX_QUERIES {
        let message = format!("MetricDataQueries has {} entries, at most {MAX_QUERIES} are allowed", list.len());
        return Err(CloudWatchError::validation(message));
    }
    let queries = QuerySet::read(list)?;
    let required = |name| input::timestamp(input, name)?.ok_or_else(|| CloudWatchError::missing(name));
    let (start_ms, end_ms) = (required("StartTime")?, required("EndTime")?);
    if start_ms >= end_ms {
        return Err(CloudWatchError::validation("StartTime must be before EndTime"));
    }
    let newest_first = match input::text(input, "ScanBy")? {
        None | Some("TimestampDescending") => true,
        Some("TimestampAscending") => false,
        Some(other) => {
            let message = format!("ScanBy `{other}` is not one of TimestampDescending, TimestampAscending");
            return Err(CloudWatchError::validation(message));
        }
    };
    check_size(&queries, start_ms, end_ms)?;
    let mut values = queries.evaluate(store, &|period_s| window(start_ms, end_ms, period_s), now_ms)?;
    let mut results = Vec::new();
    for query in queries.queries.iter().filter(|query| query.return_data) {
        let points = match values.remove(&query.id) {
            Some(Operand::Series(points)) => points.into_iter().collect(),
            Some(Operand::Scalar(value)) => vec![(start_ms, value)],
            Some(Operand::List(_)) | None => {
                return Err(CloudWatchError::validation(format!("`{}` must yield a single time series", query.id)));
            }
        };
        results.push((query, points));
    }
    page(input, results, newest_first)
}

/// Bounds the work of one call: expressions may fill every period.
fn check_size(queries: &QuerySet, start_ms: i64, end_ms: i64) -> Result<(), CloudWatchError> {
    let mut total: usize = 0;
    for query in &queries.queries {
        let periods = query.period_s.map_or(0, |period_s| window(start_ms, end_ms, period_s).periods);
        total = total.saturating_add(periods);
        if periods > MAX_POINTS || total > MAX_POINTS * 20 {
            let message = format!(
                "query `{}` spans {periods} periods; at most {MAX_POINTS} are allowed, and 20 times as many in all queries",
                query.id
            );
            return Err(CloudWatchError::validation(message));
        }
    }
    Ok(())
}

struct Datum {
    metric: Metric,
    timestamp_ms: i64,
    unit: String,
    samples: Vec<Sample>,
}

fn read_datum(namespace: &str, datum: &Value, now_ms: i64) -> Result<Datum, CloudWatchError> {
    let name = input::required_text(datum, "MetricName")?;
    let timestamp_ms = input::timestamp(datum, "Timestamp")?.unwrap_or(now_ms);
    if timestamp_ms < now_ms - TWO_WEEKS_MS || timestamp_ms > now_ms + TWO_HOURS_MS {
        let message = format!("the Timestamp of `{name}` must be within two weeks before and two hours after now");
        return Err(CloudWatchError::invalid_value(message));
    }
    if !matches!(input::count(datum, "StorageResolution")?, None | Some(1 | 60)) {
        return Err(CloudWatchError::invalid_value(format!("the StorageResolution of `{name}` must be 1 or 60")));
    }
    Ok(Datum {
        metric: Metric {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: input::dimensions(datum)?,
        },
        timestamp_ms,
        unit: input::text(datum, "Unit")?.unwrap_or("None").to_owned(),
        samples: read_samples(name, datum)?,
    })
}

fn read_samples(name: &str, datum: &Value) -> Result<Vec<Sample>, CloudWatchError> {
    let value = input::number(datum, "Value")?;
    let set = input::member(datum, "StatisticValues");
    let values = input::numbers(datum, "Values")?;
    let samples = match (value, set, values.is_empty()) {
        (Some(value), None, true) => vec![Sample::Value { value, count: 1.0 }],
        (None, Some(set), true) => vec![read_set(set)?],
        (None, None, false) => read_counted(name, values, input::numbers(datum, "Counts")?)?,
        _ => {
            let message = format!("`{name}` needs exactly one of Value, Values and StatisticValues");
            return Err(CloudWatchError::combination(message));
        }
    };
    let most = 2f64.powi(360);
    let within = |sample: &Sample| match *sample {
        Sample::Value { value, count } => value.abs() <= most && count > 0.0,
        Sample::Set { count, sum, minimum, maximum } => {
            count > 0.0 && [sum, minimum, maximum].iter().all(|value| value.abs() <= most) && minimum <= maximum
        }
    };
    if samples.iter().all(within) {
        return Ok(samples);
    }
    let message =
        format!("values of `{name}` must lie within -2^360 and 2^360, counts above 0, Minimum at most Maximum");
    Err(CloudWatchError::invalid_value(message))
}

fn read_set(set: &Value) -> Result<Sample, CloudWatchError> {
    let required = |name| input::number(set, name)?.ok_or_else(|| CloudWatchError::missing(name));
    Ok(Sample::Set {
        count: required("SampleCount")?,
        sum: required("Sum")?,
        minimum: required("Minimum")?,
        maximum: required("Maximum")?,
    })
}

fn read_counted(name: &str, values: Vec<f64>, counts: Vec<f64>) -> Result<Vec<Sample>, CloudWatchError> {
    let counts = if counts.is_empty() { vec![1.0; values.len()] } else { counts };
    if counts.len() != values.len() || values.len() > MAX_VALUES {
        let message = format!(
            "`{name}` has {} Values and {} Counts; the numbers must be equal and at most {MAX_VALUES}",
            values.len(),
            counts.len()
        );
        return Err(CloudWatchError::combination(message));
    }
    Ok(values.into_iter().zip(counts).map(|(value, count)| Sample::Value { value, count }).collect())
}

/// Periods are aligned to 1970, as those of every alarm.
fn window(start_ms: i64, end_ms: i64, period_s: i64) -> Window {
    let period_ms = period_s.saturating_mul(1000).max(1);
    let start_ms = start_ms.div_euclid(period_ms) * period_ms;
    let periods = end_ms.saturating_sub(start_ms).saturating_add(period_ms - 1) / period_ms;
    Window { start_ms, period_ms, periods: usize::try_from(periods).unwrap_or(usize::MAX) }
}

type Points = Vec<(i64, f64)>;

/// One page of the results: points are counted over all queries, in order.
fn page(input: &Value, results: Vec<(&Query, Points)>, newest_first: bool) -> Result<Value, CloudWatchError> {
    let most = input::count(input, "MaxDatapoints")?.unwrap_or(MAX_POINTS).min(MAX_POINTS);
    let start = match input::text(input, "NextToken")? {
        None => 0,
        Some(token) => {
            let position = token.strip_prefix(TOKEN).and_then(|position| position.parse::<usize>().ok());
            position.ok_or_else(|| CloudWatchError::next_token(token))?
        }
    };
    let end = start.saturating_add(most);
    let total: usize = results.iter().map(|(_, points)| points.len()).sum();
    let mut position = 0;
    let mut answers = Vec::with_capacity(results.len());
    for (query, mut points) in results {
        if newest_first {
            points.reverse();
        }
        let first = position;
        position += points.len();
        // Queries that earlier pages finished are not repeated; those without points are on the first page.
        if first > end || (start > 0 && position <= start) {
            continue;
        }
        let complete = position <= end;
        let here: Points = points.into_iter().skip(start.saturating_sub(first)).take(end - start.max(first)).collect();
        answers.push(result(query, &here, complete));
    }
    let mut answer = Map::from_iter([
        ("MetricDataResults".to_owned(), Value::Array(answers)),
        ("Messages".to_owned(), Value::Array(Vec::new())),
    ]);
    if total > end {
        answer.insert("NextToken".into(), format!("{TOKEN}{end}").into());
    }
    Ok(Value::Object(answer))
}

fn result(query: &Query, points: &[(i64, f64)], complete: bool) -> Value {
    let label = match (&query.label, &query.source) {
        (Some(label), _) => label,
        (None, Source::Stat(stat)) => &stat.metric.name,
        (None, Source::Math(..)) => &query.id,
    };
    json!({
        "Id": query.id,
        "Label": label,
        "Timestamps": points.iter().map(|(at, _)| time::to_seconds(*at)).collect::<Vec<_>>(),
        "Values": points.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
        "StatusCode": if complete { "Complete" } else { "PartialData" },
    })
}
