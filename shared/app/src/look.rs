//! A quick look at both versions: does only the new one suffer, or is it a shared incident?

use crate::ports::{CallError, Clock, Measurements};
use snapback_core::Signal;
use snapback_core::Timestamp;
use snapback_core::deployment::Record;
use snapback_core::ledger::{Answer, Window, bucket_start};
use snapback_core::measure::{ApiCount, Ask, Measure, Scope, Source};
use snapback_core::suffering::{Latency, Portion, Suffering, is_slower, suffers};
use std::time::Duration;

/// How much of the past the present is compared with.
const PAST: Duration = Duration::from_secs(15 * 60);
/// Buckets that are "now".
const NOW_BUCKETS: u32 = 3;

/// Who suffers now by `signal`; nothing is said where the numbers cannot be read or do not tell versions apart.
pub(crate) async fn who_suffers<P: Measurements + Clock>(ports: &P, record: &Record, signal: Signal) -> Suffering {
    match look(ports, record, signal).await {
        Ok(suffering) => suffering,
        Err(error) => {
            tracing::warn!(%error, "could not look at both versions; the finding decides");
            Suffering::default()
        }
    }
}

async fn look<P: Measurements + Clock>(ports: &P, record: &Record, signal: Signal) -> Result<Suffering, CallError> {
    let deployment = &record.deployment;
    let (Some(shift), Some(measures)) = (deployment.shift_started_at, measures(record, signal)) else {
        return Ok(Suffering::default());
    };
    let bucket = record.policy.judge.bucket;
    let now = ports.now();
    let began = bucket_start(shift, bucket);
    let from = bucket_start(began - PAST.min(record.policy.judge.history), bucket);
    let window = Window { from, to: bucket_start(now, bucket) + bucket, period: bucket };
    let version = |version: &str| Scope::Version(version.to_owned());
    let scopes = [Scope::Alias, version(&deployment.target.baseline), version(&deployment.target.canary)];
    let asks: Vec<Ask> = scopes
        .iter()
        .flat_map(|scope| {
            measures.iter().map(|measure| Ask {
                function: deployment.target.name.clone(),
                alias: deployment.target.alias.clone(),
                scope: scope.clone(),
                measure: measure.clone(),
            })
        })
        .collect();
    let answers = ports.measure(window, &asks).await?;
    let is_now = (began.max(bucket_start(now, bucket) - bucket * NOW_BUCKETS), window.to);
    let parts: Vec<&[Answer]> = answers.chunks(measures.len()).collect();
    let [past, baseline, canary] = parts.as_slice() else {
        return Ok(Suffering::default());
    };
    let before = (from, began);
    Ok(match signal {
        Signal::Latency => {
            let before = latency(past, before);
            let of = |answers| before.zip(latency(answers, is_now)).and_then(|(before, now)| is_slower(before, now));
            Suffering { baseline: of(baseline), canary: of(canary) }
        }
        Signal::Errors | Signal::Availability | Signal::Transactions | Signal::Sla => {
            let before = portion(past, before).unwrap_or_default();
            let of = |answers| portion(answers, is_now).and_then(|now| suffers(before, now));
            Suffering { baseline: of(baseline), canary: of(canary) }
        }
    })
}

/// What is asked of each scope: all requests first, then what is bad. `None`: not split by version.
fn measures(record: &Record, signal: Signal) -> Option<Vec<Measure>> {
    let source = |signal| record.policy.signals.get(&signal).and_then(|signal| signal.source.as_ref());
    let by_version = |source: Option<&Source>| source.filter(|source| source.is_split_by_version()).cloned();
    match signal {
        Signal::Latency => Some(vec![Measure::Invocations, Measure::DurationPercentile(90)]),
        Signal::Transactions => {
            let source = by_version(source(Signal::Transactions))?;
            Some(vec![source.measure(ApiCount::Requests)?, source.measure(ApiCount::ServerErrors)?])
        }
        Signal::Errors | Signal::Availability | Signal::Sla => {
            let handled = by_version(source(Signal::Errors)).and_then(|source| source.measure(ApiCount::ServerErrors));
            Some([Measure::Invocations, Measure::FunctionErrors].into_iter().chain(handled).collect())
        }
    }
}

fn values(answer: &Answer, (from, to): (Timestamp, Timestamp)) -> Option<impl Iterator<Item = f64>> {
    let points = answer.as_ref().ok()?;
    Some(points.range(from..to).map(|(_, value)| *value))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sums of counts, negative ones count as none"
)]
fn sum(answer: &Answer, window: (Timestamp, Timestamp)) -> Option<u64> {
    Some(values(answer, window)?.filter(|value| *value > 0.0).sum::<f64>() as u64)
}

/// Bad ones of all; `None` when a series is not readable.
fn portion(answers: &[Answer], window: (Timestamp, Timestamp)) -> Option<Portion> {
    let (all, bad) = answers.split_first()?;
    let all = sum(all, window)?;
    let bad = bad.iter().map(|answer| sum(answer, window)).sum::<Option<u64>>()?;
    Some(Portion { bad: bad.min(all), all })
}

/// The middle 90th percentile of a window's buckets.
fn latency(answers: &[Answer], window: (Timestamp, Timestamp)) -> Option<Latency> {
    let [all, p90] = answers else { return None };
    let mut p90: Vec<f64> = values(p90, window)?.filter(|value| value.is_finite()).collect();
    p90.sort_by(f64::total_cmp);
    Some(Latency { p90_ms: *p90.get(p90.len() / 2)?, all: sum(all, window)? })
}
