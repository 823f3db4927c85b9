//! Requests of the world's service, as CloudWatch would show them: so many a second, shared out by the alias, failing at the
//! rates of their versions.

use snapback_core::Timestamp;
use snapback_core::ledger::{Points, Window};
use snapback_core::measure::{Ask, Measure, Scope};
use snapback_core::observed::AliasFacts;
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
    pub(crate) routes: Vec<(Timestamp, AliasFacts)>,
    /// Changes of what a version is like, oldest first.
    pub(crate) qualities: Vec<(Timestamp, String, Quality)>,
}

impl Traffic {
    /// What `ask` shows at `now`.
    pub(crate) fn points(&self, ask: &Ask, window: Window, now: Timestamp) -> Points {
        let mut points = Points::new();
        let mut start = window.from;
        while start < window.to {
            let is_shown = now >= start + window.period + SHOWN_AFTER;
            if let Some(value) = self.value(ask, start, window.period).filter(|_| is_shown) {
                points.insert(start, value);
            }
            start = start + window.period;
        }
        points
    }

    /// The value of one bucket; `None`: no request, no datapoint.
    fn value(&self, ask: &Ask, start: Timestamp, period: Duration) -> Option<f64> {
        let versions: Vec<String> = match &ask.scope {
            Scope::Version(version) => vec![version.clone()],
            Scope::Alias => {
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
        let (errors, slow) = (f64::round(errors).min(requests), f64::round(slow).min(requests));
        match &ask.measure {
            Measure::Invocations | Measure::Durations => Some(requests),
            Measure::FunctionErrors => Some(errors),
            Measure::DurationsUpTo(ms) if *ms < 1000.0 => Some(requests - slow),
            Measure::DurationsUpTo(_) => Some(requests),
            Measure::DurationPercentile(percent) => {
                let is_slow = slow / requests > 1.0 - f64::from(*percent) / 100.0;
                Some(if is_slow { 900.0 } else { 80.0 })
            }
            Measure::Custom(_) | Measure::Api(..) => None,
        }
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
