//! Requests of the world's service, as CloudWatch would show them: so many a second, shared out by the alias, failing at the
//! rates of their versions.

use crate::histogram::Histogram;
use snapback_core::Timestamp;
use snapback_core::observed::TrafficFacts;
use snapback_core::target::Target;
use snapback_judge::detector::Edges;
use snapback_judge::series::{Points, Quantity, Scope, SeriesQuery, SeriesResult, SourceId, SourceProfile, Window};
use std::time::Duration;

/// CloudWatch shows a minute this long after its end.
const SHOWN_AFTER: Duration = Duration::from_secs(20);

/// What one version's requests are like, from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Share that fails.
    pub errors: f64,
    /// Share that is slow.
    pub slow: f64,
    /// Share that arrives at all.
    pub arrives: f64,
}

impl Default for Quality {
    fn default() -> Self {
        Self { errors: 0.001, slow: 0.05, arrives: 1.0 }
    }
}

/// The service's traffic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    /// Requests a second; zero: CloudWatch has nothing.
    pub(crate) per_second: f64,
    /// Changes of the alias, oldest first.
    pub(crate) routes: Vec<(Timestamp, TrafficFacts)>,
    /// Changes of what a version is like, oldest first.
    pub(crate) qualities: Vec<(Timestamp, String, Quality)>,
    /// Where latencies come from; `None`: CloudWatch, as all else.
    pub(crate) latency: Option<Histogram>,
}

/// What some versions did in one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Requests; more than none.
    pub(crate) requests: f64,
    /// Of these, the failed ones.
    pub(crate) errors: f64,
    /// Of these, the slow ones.
    pub(crate) slow: f64,
}

/// How long a request takes.
pub(crate) const FAST_MS: f64 = 80.0;
/// How long a slow one takes.
pub(crate) const SLOW_MS: f64 = 900.0;

impl Traffic {
    pub(crate) fn profile(&self, source: SourceId) -> SourceProfile {
        match (source, &self.latency) {
            (SourceId::Latency, Some(histogram)) => histogram.profile(),
            (SourceId::Latency, None) => SourceProfile { edges: Some(Edges::eighths()), ..SourceProfile::COUNTS },
            (
                SourceId::Requests
                | SourceId::Errors
                | SourceId::Transactions
                | SourceId::Front
                | SourceId::Peer(_)
                | SourceId::Pipeline,
                _,
            ) => SourceProfile::COUNTS,
        }
    }

    /// What a series of `target` shows at `now`.
    pub(crate) fn points(&self, query: SeriesQuery, target: &Target, window: Window, now: Timestamp) -> SeriesResult {
        let histogram = self.latency.as_ref().filter(|_| query.source == SourceId::Latency);
        let delay = histogram.map_or(SHOWN_AFTER, |histogram| histogram.delay.get());
        let mut points = Points::new();
        let mut start = window.from;
        while start < window.to {
            let is_shown = now >= start + window.period + delay;
            let sent = self.per_second * window.period.as_secs_f64();
            if let Some(value) = witness(query, sent).filter(|_| is_shown) {
                points.insert(start, value);
            } else if let Some(sample) = self.sample(query.side, target, start, window.period).filter(|_| is_shown) {
                let value = match histogram {
                    Some(histogram) => Some(histogram.value(query.quantity, sample)?),
                    None => cloudwatch(query, sample),
                };
                points.extend(value.map(|value| (start, value)));
            }
            start = start + window.period;
        }
        Ok(points)
    }

    /// One bucket; `None`: no request, no datapoint.
    fn sample(&self, side: Scope, target: &Target, start: Timestamp, period: Duration) -> Option<Sample> {
        let versions: Vec<String> = match side {
            Scope::Baseline => vec![target.baseline().to_owned()],
            Scope::Canary => vec![target.canary().to_owned()],
            Scope::All => {
                let all = self.routes.iter().flat_map(|(_, alias)| {
                    alias.others.iter().map(|(version, _)| version.clone()).chain([alias.version.clone()])
                });
                all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
            }
        };
        // A bucket is summed piece by piece: weights and qualities change within it.
        let end = start + period;
        let changes = self.routes.iter().map(|(at, _)| *at).chain(self.qualities.iter().map(|(at, ..)| *at));
        let mut cuts: Vec<Timestamp> = changes.filter(|at| start < *at && *at < end).chain([start, end]).collect();
        cuts.sort_unstable();
        let (mut requests, mut errors, mut slow) = (0.0, 0.0, 0.0);
        for (from, to) in cuts.iter().zip(cuts.iter().skip(1)) {
            for version in &versions {
                let quality = self.quality(version, *from);
                let came =
                    self.per_second * self.share(version, *from) * quality.arrives * to.since(*from).as_secs_f64();
                requests += came;
                errors += came * quality.errors;
                slow += came * quality.slow;
            }
        }
        let requests = Some(f64::round(requests)).filter(|requests| *requests > 0.0)?;
        Some(Sample { requests, errors: f64::round(errors).min(requests), slow: f64::round(slow).min(requests) })
    }

    fn share(&self, version: &str, at: Timestamp) -> f64 {
        let route = self.routes.iter().rev().find(|(since, _)| *since <= at).or(self.routes.first());
        route.map_or(0.0, |(_, alias)| alias.share_of(version))
    }

    fn quality(&self, version: &str, at: Timestamp) -> Quality {
        let known = self.qualities.iter().rev().find(|(since, of, _)| of == version && *since <= at);
        known.map(|(_, _, quality)| *quality).unwrap_or_default()
    }
}

/// What witnesses show in one bucket, whatever the versions do; `None`: the versions' own series.
fn witness(query: SeriesQuery, sent: f64) -> Option<f64> {
    match (query.source, query.quantity) {
        (SourceId::Front, Quantity::Requests) => Some(sent),
        (SourceId::Peer(_), Quantity::Requests) => Some(PEER_REQUESTS),
        (SourceId::Peer(_), _) => Some(0.0),
        (SourceId::Pipeline, _) => Some(1.0),
        (SourceId::Front | SourceId::Requests | SourceId::Errors | SourceId::Latency | SourceId::Transactions, _) => {
            None
        }
    }
}

/// Requests of a neighbour in one bucket.
const PEER_REQUESTS: f64 = 600.0;

/// As CloudWatch shows it.
fn cloudwatch(query: SeriesQuery, Sample { requests, errors, slow }: Sample) -> Option<f64> {
    match (query.source, query.quantity) {
        (SourceId::Requests, Quantity::Requests) | (SourceId::Latency, Quantity::Latencies) => Some(requests),
        (SourceId::Requests, Quantity::Errors) => Some(errors),
        (SourceId::Latency, Quantity::LatenciesUpTo(ms)) if ms < 1000.0 => Some(requests - slow),
        (SourceId::Latency, Quantity::LatenciesUpTo(_)) => Some(requests),
        (SourceId::Latency, Quantity::LatencyQuantile(permille)) => {
            Some(if slow / requests > 1.0 - f64::from(permille) / 1000.0 { SLOW_MS } else { FAST_MS })
        }
        (
            SourceId::Requests
            | SourceId::Errors
            | SourceId::Latency
            | SourceId::Transactions
            | SourceId::Front
            | SourceId::Peer(_)
            | SourceId::Pipeline,
            _,
        ) => None,
    }
}
