//! What is read to tell whether both versions are degraded, and over which minutes.
//!
//! The latest minutes of each version are compared with the service before the deployment ([`degradation`](crate::degradation)):
//! when both are worse it is a shared incident, and going back would not help.

use crate::analysis::bucket_start;
use crate::degradation::{Degradation, Latency, is_degraded, is_slower};
use crate::series::{Quantity, Scope, SeriesQuery, SeriesResult, SourceId, SourceProfile, Window};
use crate::share::Share;
use crate::time::Timestamp;
use crate::vocabulary::Signal;
use std::time::Duration;

/// How much of the past the present is compared with, at most.
const PAST: Duration = Duration::from_secs(15 * 60);
/// Buckets that are "now", the running one among them.
const NOW_BUCKETS: u32 = 4;
/// The quantile by which latencies are compared, in thousandths.
const PERMILLE: u16 = 900;

/// What is known of a deployment in which an incident is suspected.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentSpec {
    /// The kind of impact.
    pub signal: Signal,
    /// When traffic began to shift.
    pub shift_started_at: Timestamp,
    /// Length of a bucket.
    pub bucket: Duration,
    /// How much of the service's past may be read.
    pub history: Duration,
    /// Where the signal's numbers come from beside the requests of each version; `None`: from nowhere else.
    pub source: Option<SourceProfile>,
}

/// Series to read in one window. The answers belong to them in order.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentQuery {
    /// The window.
    pub window: Window,
    /// The series.
    pub queries: Vec<SeriesQuery>,
    signal: Signal,
    shift_from: Timestamp,
    now_from: Timestamp,
    each: usize,
}

impl IncidentQuery {
    /// What to read at `now`; `None`: nothing tells the versions apart by this signal.
    #[must_use]
    pub fn new(spec: &IncidentSpec, now: Timestamp) -> Option<Self> {
        let wanted = wanted(spec)?;
        let shift_from = bucket_start(spec.shift_started_at, spec.bucket);
        let from = bucket_start(shift_from - PAST.min(spec.history), spec.bucket);
        // Of a source that is late only what is final is compared: half a bucket would look like fewer failures.
        let until = match spec.source.as_ref().and_then(|source| source.ingestion_delay) {
            Some(delay) => bucket_start(now - delay.get(), spec.bucket),
            None => bucket_start(now, spec.bucket) + spec.bucket,
        };
        let sides = [Scope::All, Scope::Baseline, Scope::Canary];
        let of = |side| {
            wanted.iter().map(move |(quantity, source)| SeriesQuery { side, quantity: *quantity, source: *source })
        };
        Some(Self {
            window: Window { from, to: until, period: spec.bucket },
            queries: sides.into_iter().flat_map(of).collect(),
            signal: spec.signal,
            shift_from,
            now_from: shift_from.max(until - spec.bucket * NOW_BUCKETS),
            each: wanted.len(),
        })
    }

    /// Which versions are degraded; nothing is said of a version whose series are not all there.
    #[must_use]
    pub fn degradation(&self, answers: &[SeriesResult]) -> Degradation {
        let sides: Vec<&[SeriesResult]> = answers.chunks(self.each).collect();
        let [all, baseline, canary] = sides.as_slice() else {
            return Degradation::default();
        };
        let before = (self.window.from, self.shift_from);
        let now = (self.now_from, self.window.to);
        match self.signal {
            Signal::Latency => {
                let before = latency(all, before);
                let of = |answers| before.zip(latency(answers, now)).and_then(|(before, now)| is_slower(before, now));
                Degradation { baseline: of(baseline), canary: of(canary) }
            }
            Signal::Errors | Signal::Availability | Signal::Transactions | Signal::Slo => {
                let before = share(all, before).unwrap_or_default();
                let of = |answers| share(answers, now).and_then(|now| is_degraded(before, now));
                Degradation { baseline: of(baseline), canary: of(canary) }
            }
        }
    }
}

/// What is asked of each side: all requests first, then what is bad.
fn wanted(spec: &IncidentSpec) -> Option<Vec<(Quantity, SourceId)>> {
    let is_split = spec.source.as_ref().map(|source| source.is_split);
    match spec.signal {
        Signal::Latency => (is_split != Some(false)).then(|| {
            vec![(Quantity::Requests, SourceId::Requests), (Quantity::LatencyQuantile(PERMILLE), SourceId::Latency)]
        }),
        Signal::Transactions => (is_split == Some(true))
            .then(|| vec![(Quantity::Attempts, SourceId::Transactions), (Quantity::Failures, SourceId::Transactions)]),
        Signal::Errors | Signal::Availability | Signal::Slo => {
            let own = [(Quantity::Requests, SourceId::Requests), (Quantity::Errors, SourceId::Requests)];
            let handled = (is_split == Some(true)).then_some((Quantity::Errors, SourceId::Errors));
            Some(own.into_iter().chain(handled).collect())
        }
    }
}

fn values(answer: &SeriesResult, (from, to): (Timestamp, Timestamp)) -> Option<impl Iterator<Item = f64>> {
    let points = answer.as_ref().ok()?;
    Some(points.range(from..to).map(|(_, value)| *value))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sums of counts, negative ones count as none"
)]
fn sum(answer: &SeriesResult, window: (Timestamp, Timestamp)) -> Option<u64> {
    Some(values(answer, window)?.filter(|value| *value > 0.0).sum::<f64>() as u64)
}

/// Bad ones of all; `None` when a series is not readable.
fn share(answers: &[SeriesResult], window: (Timestamp, Timestamp)) -> Option<Share> {
    let (all, bad) = answers.split_first()?;
    let all = sum(all, window)?;
    let bad = bad.iter().map(|answer| sum(answer, window)).sum::<Option<u64>>()?;
    Some(Share { bad: bad.min(all), all })
}

/// The middle quantile of a window's buckets.
fn latency(answers: &[SeriesResult], window: (Timestamp, Timestamp)) -> Option<Latency> {
    let [all, quantile] = answers else { return None };
    let mut values: Vec<f64> = values(quantile, window)?.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    Some(Latency { p90_ms: *values.get(values.len() / 2)?, all: sum(all, window)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{IngestionDelay, Points, SeriesError};

    const BEGAN: Timestamp = Timestamp::from_ms(1_795_169_700_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn source(is_split: bool) -> Option<SourceProfile> {
        let (is_whole, is_shared, has_client_errors) = (false, false, false);
        Some(SourceProfile { is_split, is_whole, is_shared, has_client_errors, edges: None, ingestion_delay: None })
    }

    fn query(signal: Signal, source: Option<SourceProfile>) -> Option<IncidentQuery> {
        let (bucket, history) = (MINUTE, 60 * MINUTE);
        let spec = IncidentSpec { signal, shift_started_at: BEGAN + MINUTE / 2, bucket, history, source };
        IncidentQuery::new(&spec, BEGAN + 10 * MINUTE + MINUTE / 3)
    }

    /// Minutes before the shift and since, each with the same value.
    fn points(before: f64, since: f64) -> SeriesResult {
        let old = (1..=15).map(|minute| (BEGAN - minute * MINUTE, before));
        Ok(old.chain((0..=10).map(|minute| (BEGAN + minute * MINUTE, since))).collect::<Points>())
    }

    #[test]
    fn what_is_read_of_each_side() {
        let asked = |signal, source| {
            let queries = query(signal, source).map(|query| query.queries);
            queries.map(|queries| {
                let one = |side| queries.iter().filter(move |query| query.side == side);
                assert_eq!(queries.len(), 3 * one(Scope::All).count(), "the same of each side");
                one(Scope::Canary).map(|query| (query.quantity, query.source)).collect::<Vec<_>>()
            })
        };
        let own = [(Quantity::Requests, SourceId::Requests), (Quantity::Errors, SourceId::Requests)];
        let handled = (Quantity::Errors, SourceId::Errors);
        let quantile = (Quantity::LatencyQuantile(900), SourceId::Latency);
        let transactions = [Quantity::Attempts, Quantity::Failures].map(|quantity| (quantity, SourceId::Transactions));
        let table = [
            (Signal::Errors, None, Some(own.to_vec())),
            (Signal::Errors, source(true), Some([own.as_slice(), &[handled]].concat())),
            (Signal::Errors, source(false), Some(own.to_vec())),
            (Signal::Availability, None, Some(own.to_vec())),
            (Signal::Slo, None, Some(own.to_vec())),
            (Signal::Latency, None, Some(vec![own[0], quantile])),
            (Signal::Latency, source(true), Some(vec![own[0], quantile])),
            (Signal::Latency, source(false), None),
            (Signal::Transactions, None, None),
            (Signal::Transactions, source(true), Some(transactions.to_vec())),
            (Signal::Transactions, source(false), None),
        ];
        for (signal, source, expected) in table {
            let case = format!("{signal}, {source:?}");
            assert_eq!(asked(signal, source), expected, "{case}");
        }
        let window = query(Signal::Errors, None).unwrap().window;
        assert_eq!(
            (window.from, window.to),
            (BEGAN - 15 * MINUTE, BEGAN + 11 * MINUTE),
            "a quarter of an hour, and now"
        );
    }

    #[test]
    fn both_worse_than_the_past_is_shared() {
        let query = query(Signal::Errors, None).unwrap();
        let requests = || points(600.0, 600.0);
        let unreadable = || Err(SeriesError::NotAnswered("it"));
        let said = |baseline: SeriesResult, canary: SeriesResult| {
            let answers = [requests(), points(1.0, 300.0), requests(), baseline, requests(), canary];
            let Degradation { baseline, canary } = query.degradation(&answers);
            (baseline, canary)
        };
        let (good, bad) = (|| points(1.0, 1.0), || points(1.0, 300.0));
        assert_eq!(said(bad(), bad()), (Some(true), Some(true)));
        assert_eq!(said(good(), bad()), (Some(false), Some(true)));
        assert_eq!(said(unreadable(), bad()), (None, Some(true)), "what cannot be read says nothing");
        assert_eq!(query.degradation(&[]), Degradation::default(), "no answer says nothing");
    }

    #[test]
    fn of_a_late_source_only_what_is_final_is_compared() {
        let late = |seconds| {
            let delay = IngestionDelay::new(Duration::from_secs(seconds));
            source(true).map(|source| SourceProfile { ingestion_delay: delay, ..source })
        };
        for (seconds, to) in [(20, 10), (21, 9), (120, 8)] {
            let window = query(Signal::Errors, late(seconds)).unwrap().window;
            assert_eq!(window.to, BEGAN + to * MINUTE, "{seconds} s");
        }
    }

    #[test]
    fn latency_is_compared_by_its_quantile() {
        let query = query(Signal::Latency, source(true)).unwrap();
        let requests = || points(600.0, 600.0);
        let answers = [requests(), points(80.0, 80.0), requests(), points(80.0, 90.0), requests(), points(80.0, 900.0)];
        assert_eq!(query.degradation(&answers), Degradation { baseline: Some(false), canary: Some(true) });
    }
}
