//! What is watched: everything about one deployment that its numbers depend on, as plain data.

use super::{PairSpec, seconds_between};
use crate::detector::{self, DetectorSettings, Edges, TrafficSchedule};
use crate::judge::Judge;
use crate::series::SourceProfile;
use crate::slo::Objective;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Which witnesses a deployment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Witnesses {
    /// Whether requests in front of the service are counted ([`SourceId::Front`](crate::series::SourceId::Front)).
    pub has_front: bool,
    /// How many other services behind the same dependencies are counted, at most [`MAX_PEERS`](detector::MAX_PEERS).
    pub peers: u8,
    /// Whether Snapback has a series of its own beside these
    /// ([`SourceId::Pipeline`](crate::series::SourceId::Pipeline)).
    pub has_pipeline: bool,
}

impl Witnesses {
    /// As the detector names them.
    ///
    /// * `has_pairs`: whether both versions are probed all the time, in pairs.
    #[must_use]
    pub const fn connected(self, has_pairs: bool) -> detector::Witnesses {
        let Self { has_front, peers, .. } = self;
        detector::Witnesses { front: has_front, peer: peers > 0, probe: has_pairs, pair: has_pairs }
    }
}

/// One deployment whose versions are compared, or whose objective is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisSpec {
    /// Start of the bucket in which traffic began to shift.
    pub origin: Timestamp,
    /// Times of the comparison.
    pub judge: Judge,
    /// How often the watcher looks.
    pub tick: Duration,
    /// The source of errors beside those that [`SourceId::Requests`](crate::series::SourceId::Requests) counts, if there is one.
    pub errors: Option<SourceProfile>,
    /// The source of latencies, if they are compared.
    pub latency: Option<SourceProfile>,
    /// The source of transactions, if they are compared.
    pub transactions: Option<SourceProfile>,
    /// What tells whether a difference can be laid to the version.
    pub witnesses: Witnesses,
    /// The pairs of probes, if they are sent.
    pub pairs: Option<PairSpec>,
    /// Objective of the service.
    pub objective: Option<Objective>,
    /// Whether its burning may roll back alone.
    pub objective_is_sufficient: bool,
    /// Start of the history.
    pub history_from: Timestamp,
    /// When traffic began to shift, by the platform's own word.
    pub shift_started_at: Timestamp,
    /// Shares of the traffic that the new version was seen to have, 0 to 1, oldest first.
    pub weights: Vec<(Timestamp, f64)>,
    /// When the comparison ends by plan.
    pub ends_at: Timestamp,
    /// The detector's constants for the signals that may roll back; `None`: there is no such signal.
    pub enforcing: Option<Arc<DetectorSettings>>,
    /// The same for the signals that may only tell.
    pub advisory: Option<Arc<DetectorSettings>>,
}

impl AnalysisSpec {
    /// Length of a bucket in seconds.
    #[must_use]
    pub fn bucket_s(&self) -> i64 {
        i64::try_from(self.judge.bucket.as_secs()).unwrap_or(60).max(1)
    }

    /// Whether any number of the versions is read: else there are only pairs of probes.
    #[must_use]
    pub const fn is_compared(&self) -> bool {
        self.enforcing.is_some() || self.advisory.is_some() || self.objective.is_some()
    }

    /// Where latencies are counted; `None`: they are not compared.
    #[must_use]
    pub fn edges(&self) -> Option<&Edges> {
        self.latency.as_ref()?.edges.as_ref()
    }

    /// The detector's constants for the signals that may roll back, or for those that may only tell.
    #[must_use]
    pub fn settings(&self, is_enforcing: bool) -> Option<&DetectorSettings> {
        if is_enforcing { self.enforcing.as_deref() } else { self.advisory.as_deref() }
    }

    /// Second of the origin from which on the new version was seen to have all traffic; `None`: it has not.
    #[must_use]
    pub fn all_traffic_from_s(&self) -> Option<f64> {
        let first = self.weights.iter().find(|(_, share)| *share >= 1.0 - 1e-6)?;
        Some(seconds_between(self.origin, first.0))
    }

    /// Second of the origin before which nobody knows how much traffic the new version got: a deployment that was found late,
    /// when steps may have been taken. 0: it was watched from the start.
    #[must_use]
    pub fn known_from_s(&self) -> f64 {
        let first = self.weights.iter().find(|(_, share)| *share > 0.0);
        let is_late = |at: &Timestamp| at.since(self.shift_started_at) > self.judge.bucket.max(3 * self.tick);
        first.map(|(at, _)| *at).filter(is_late).map_or(0.0, |at| seconds_between(self.origin, at))
    }

    /// The observed schedule, up to now; the first step is when traffic began to shift by the platform's own word.
    #[must_use]
    pub fn schedule(&self, now: Timestamp) -> TrafficSchedule {
        let began_s = seconds_between(self.origin, self.shift_started_at);
        let mut steps: Vec<(f64, f64)> = Vec::with_capacity(self.weights.len());
        for (at, share) in self.weights.iter().filter(|(_, share)| *share > 0.0) {
            let at_s = if steps.is_empty() { began_s } else { seconds_between(self.origin, *at) };
            let at_s = at_s.max(steps.last().map_or(began_s, |(before, _)| *before));
            steps.push((at_s, share.min(1.0)));
        }
        if steps.is_empty() {
            steps.push((began_s, 0.0));
        }
        let end_s = seconds_between(self.origin, self.ends_at.max(now));
        let drain_s = self.judge.drain(self.tick).as_secs_f64();
        let bucket_s = u32::try_from(self.bucket_s()).unwrap_or(60);
        // The record's own times: only a clock that is years off makes a schedule that cannot be, and then nothing is judged late.
        TrafficSchedule::new(bucket_s, steps, end_s, drain_s).unwrap_or_else(|_| TrafficSchedule::of_nothing(bucket_s))
    }
}

/// The start of the bucket that holds `at`; buckets are aligned to the epoch.
#[must_use]
pub fn bucket_start(at: Timestamp, bucket: Duration) -> Timestamp {
    let length = i64::try_from(bucket.as_millis()).unwrap_or(i64::MAX).max(1);
    Timestamp::from_ms(at.ms().div_euclid(length).saturating_mul(length))
}

/// The end of the last bucket that began before `at`: the first start of a bucket at or after it.
#[must_use]
pub fn bucket_end(at: Timestamp, bucket: Duration) -> Timestamp {
    let start = bucket_start(at, bucket);
    if start == at { at } else { start + bucket }
}
