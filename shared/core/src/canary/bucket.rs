//! One bucket that is judged: both versions' counts, and where in the course it lies.

use super::counts::{Counts, Share};
use super::course::Course;
use super::settings::Settings;

/// One bucket with everything that is the same for all metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// Start in seconds relative to the start of the shift.
    pub(super) start_s: i64,
    /// What the baseline did; `None` = not seen.
    pub(super) baseline: Option<Counts>,
    /// What the canary did; `None` = not seen.
    pub(super) canary: Option<Counts>,
    /// w(t): the canary's weight at the start.
    pub(super) weight: f64,
    /// w': the weight that counts for traffic; that before the step while a step is younger than a bucket.
    pub(super) settled_weight: f64,
    /// Whether the last step is at least a bucket ago.
    pub(super) is_settled: bool,
    /// y: the part of the canary's traffic that came in the last `young_s`.
    pub(super) young: f64,
    /// F: short buckets share the noise of their minute.
    pub(super) per_minute: f64,
    /// κ: factor on the caps.
    pub(super) cap_factor: f64,
}

impl Bucket {
    /// The bucket at `start_s`.
    pub(super) fn new(
        settings: &Settings,
        course: &Course,
        start_s: i64,
        baseline: Option<Counts>,
        canary: Option<Counts>,
    ) -> Self {
        let length = f64::from(course.bucket_s());
        let start = seconds(start_s);
        let weight = course.weight(start);
        let (since_step, weight_before) = course.last_step(start).unwrap_or((f64::INFINITY, weight));
        let is_settled = since_step >= length;
        let middle = start + length / 2.0;
        let weight_now = course.weight(middle);
        let arrived = weight_now - course.weight(middle - settings.young_s);
        Self {
            start_s,
            baseline,
            canary,
            weight,
            settled_weight: if is_settled { weight } else { weight_before },
            is_settled,
            young: if weight_now > 0.0 { (arrived / weight_now).clamp(0.0, 1.0) } else { 0.0 },
            per_minute: (60.0 / length).max(1.0),
            cap_factor: (length / 60.0).max(settings.cap_factor_min),
        }
    }

    /// s: by how many edges the canary's latency thresholds are shifted up in a concurrent comparison.
    pub(super) fn concurrent_shift(&self, settings: &Settings) -> u8 {
        let (some, most) = settings.young_shares;
        if self.young >= most {
            4
        } else if self.young >= some {
            2
        } else {
            1
        }
    }

    /// The same, compared with the baseline's past.
    pub(super) fn before_after_shift(&self, settings: &Settings) -> u8 {
        if self.young >= settings.young_shares.1 { 4 } else { 2 }
    }
}

/// Bad events among all, for each rate metric in order; latencies above their threshold shifted up by `edges`.
pub(super) fn shares(counts: &Counts, edges: u8) -> [Option<Share>; 6] {
    let [q50, q90, q99] = counts.slow.map(|slow| slow.and_then(|slow| slow.shifted(edges)));
    [counts.e5, counts.tx, q50, q90, q99, counts.e4]
}

/// A count as a number; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are at most 2^53")]
pub(super) const fn number(count: u64) -> f64 {
    count as f64
}

/// Whole seconds as a number; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "times of a deployment are far below 2^53")]
pub(super) const fn seconds(time_s: i64) -> f64 {
    time_s as f64
}
