//! One bucket that is judged: what was seen of it, and where in the schedule it lies.

use super::counts::Counts;
use super::method::{WARM_UP_SLOWER, YOUNG};
use super::settings::DetectorSettings;
use super::traffic_schedule::TrafficSchedule;
use crate::share::Share;

/// What was seen of one bucket; `None` = not seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Seen {
    /// What the baseline did.
    pub baseline: Option<Counts>,
    /// What the canary did.
    pub canary: Option<Counts>,
    /// Requests in front of the function.
    pub front: Option<u64>,
    /// Failed ones of other functions behind the same dependencies.
    pub peer: Option<Share>,
    /// Failed ones of Snapback's requests to the baseline.
    pub probe_baseline: Option<Share>,
    /// Failed ones of Snapback's requests to the canary.
    pub probe_canary: Option<Share>,
}

impl Seen {
    /// Requests of the baseline and of the canary; a version that was not seen had none.
    pub(super) fn requests(&self) -> (f64, f64) {
        let of = |counts: Option<Counts>| counts.map_or(0.0, |counts| number(counts.requests));
        (of(self.baseline), of(self.canary))
    }
}

/// One bucket with everything that is the same for all metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// Start in seconds relative to the start of the shift.
    pub(super) start_s: i64,
    /// What was seen of it.
    pub(super) seen: Seen,
    /// w(t): the canary's weight at the start.
    pub(super) weight: f64,
    /// w_prev(t): the weight before the last step.
    pub(super) weight_before: f64,
    /// t − last(t): seconds since the last step.
    pub(super) since_step_s: f64,
    /// B, in seconds.
    pub(super) length_s: f64,
    /// y: the part of the canary's traffic that came in the last `warm_up_s`.
    pub(super) young: f64,
    /// ā: by how much a fresh version may be slower, in log latency.
    pub(super) warm_up: f64,
    /// F: short buckets share the noise of their minute.
    pub(super) per_minute: f64,
    /// κ: caps are per minute.
    pub(super) cap_factor: f64,
}

impl Bucket {
    /// The bucket at `start_s`.
    pub(super) fn new(settings: &DetectorSettings, schedule: &TrafficSchedule, start_s: i64, seen: Seen) -> Self {
        let length_s = f64::from(schedule.bucket_s());
        let start = seconds(start_s);
        let (since_step_s, weight_before) = schedule.last_step(start).unwrap_or((f64::INFINITY, 0.0));
        let middle = start + length_s / 2.0;
        let weight_now = schedule.weight(middle).max(1e-9);
        let arrived = schedule.weight(middle) - schedule.weight(middle - settings.warm_up_s);
        Self {
            start_s,
            seen,
            weight: schedule.weight(start),
            weight_before,
            since_step_s,
            length_s,
            young: (arrived / weight_now).clamp(0.0, 1.0),
            warm_up: WARM_UP_SLOWER * youth(settings, schedule, start, length_s) / weight_now,
            per_minute: (settings.minute_s / length_s).max(1.0),
            cap_factor: (length_s / settings.minute_s).max(0.5),
        }
    }

    /// Whether the new version has all traffic.
    pub(super) fn is_whole(&self) -> bool {
        self.weight >= 1.0
    }

    /// s: by how many edges the canary's tail thresholds are shifted up; for null B against the past (`is_wide`) by 2 at least.
    pub(super) fn shift(&self, is_wide: bool) -> u8 {
        let (some, most) = YOUNG;
        if self.young >= most {
            4
        } else if self.young >= some || is_wide {
            2
        } else {
            1
        }
    }
}

/// E times the weight: how young the canary's traffic of a bucket is, each request as exp(−age / half a warm-up).
fn youth(settings: &DetectorSettings, schedule: &TrafficSchedule, start: f64, length_s: f64) -> f64 {
    let scale = settings.warm_up_s / 2.0;
    let left = |age_s: f64| (-age_s / scale).exp();
    let end = start + length_s;
    let mut before = 0.0;
    let mut sum = 0.0;
    for (at, weight) in schedule.steps() {
        let gained = weight - before;
        before = *weight;
        if *at <= start {
            sum += gained * (scale / length_s) * (left(start - at) - left(end - at));
        } else if *at < end {
            sum += gained * (scale / length_s) * (1.0 - left(end - at));
        }
    }
    sum
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
