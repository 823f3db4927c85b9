//! What the detector says, and what it rests on.

use super::note::Note;
use super::state::Tally;
use crate::share::Share;
use crate::vocabulary::{Comparison, Metric, Verdict};

/// The detector's answer to one poll.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What it says.
    pub verdict: Verdict,
    /// The metric with the most evidence of those that may act; only with a rollback.
    pub reason: Option<Metric>,
    /// The largest ln E of all metrics, natural; `None` before any evidence.
    pub log_e: Option<f64>,
    /// Each metric that is judged, in the order of [`Metric::COMPARED`].
    pub evidence: Vec<MetricEvidence>,
    /// What was seen but may not roll back, in order of first appearance.
    pub notes: Vec<Note>,
}

/// What one detector says after a poll, in short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// The metric that the rollback was decided for.
    pub rolled_back: Option<Metric>,
    /// ln E of each metric, in the order of [`Metric::COMPARED`]; `None`: off, not measured, or no evidence.
    pub log_e: [Option<f64>; 8],
}

/// What one metric says, for people and records.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricEvidence {
    /// Which metric.
    pub metric: Metric,
    /// ln E of this metric, its share of the whole capital included; `None` before any evidence.
    pub log_e: Option<f64>,
    /// The baseline's bad events among all in the buckets that were compared side by side. Traffic: its requests, among
    /// those of both versions. Body: all requests.
    pub baseline: Share,
    /// The canary's bad events among all in the buckets that were compared. Traffic: its requests, and how many were due.
    pub canary: Share,
    /// Of these, what was compared with the baseline's past.
    pub alone: Share,
    /// The baseline's rate of late, a share of all events. Traffic: requests per bucket.
    pub reference: Option<f64>,
    /// Body: mean difference of the latencies' level (new less old) and its standard error, in log latency.
    pub difference: Option<(f64, f64)>,
    /// Which comparison gave most evidence; `None` when nothing speaks against the canary.
    pub how: Option<Comparison>,
    /// Start of the run of bad buckets that the evidence rests on, in seconds since the start of the shift.
    pub first_bad_s: Option<i64>,
}

impl MetricEvidence {
    pub(super) fn new(
        metric: Metric,
        log_e: Option<f64>,
        tally: &Tally,
        reference: Option<f64>,
        difference: Option<(f64, f64)>,
    ) -> Self {
        let how = if tally.concurrent.max(tally.before_after) <= 0.0 {
            None
        } else if tally.concurrent >= tally.before_after {
            Some(Comparison::Concurrent)
        } else {
            Some(Comparison::BeforeAfter)
        };
        let Tally { baseline, canary, alone, first_bad_s, .. } = *tally;
        Self { metric, log_e, baseline, canary, alone, reference, difference, how, first_bad_s }
    }
}
