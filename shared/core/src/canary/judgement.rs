//! What the detector says, and what it rests on.

use super::state::{Evidence, Total};
use crate::words::{Comparison, Metric, Verdict};

/// The detector's answer to one poll.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What it says.
    pub verdict: Verdict,
    /// The metric with the most evidence; only with a rollback.
    pub reason: Option<Metric>,
    /// ln E: log of the whole capital, natural; `None` before any evidence.
    pub log_e: Option<f64>,
    /// Each metric, in the order of [`Metric::ALL`].
    pub evidence: Vec<MetricEvidence>,
}

/// What one metric says, for people and records.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricEvidence {
    /// Which metric.
    pub metric: Metric,
    /// ln E of this metric, its share of the whole capital included; `None` before any evidence.
    pub log_e: Option<f64>,
    /// The baseline's bad events among all in the buckets that were compared side by side. Traffic: its requests, among
    /// those of both versions.
    pub baseline: Total,
    /// The canary's bad events among all in the buckets that were compared. Traffic: its requests, and how many it should
    /// have got by its weight.
    pub canary: Total,
    /// Of these, what was compared with the baseline's past.
    pub alone: Total,
    /// The baseline's rate at the start of the shift, a share of all events. Traffic: requests per bucket, of now.
    pub reference: Option<f64>,
    /// Which comparison gave most evidence; `None` when nothing speaks against the canary.
    pub how: Option<Comparison>,
    /// Start of the run of bad buckets that the evidence rests on, in seconds since the start of the shift.
    pub first_bad_s: Option<i64>,
}

impl MetricEvidence {
    pub(super) fn new(metric: Metric, log_e: Option<f64>, evidence: &Evidence, reference: Option<f64>) -> Self {
        let how = if evidence.concurrent.max(evidence.before_after) <= 0.0 {
            None
        } else if evidence.concurrent >= evidence.before_after {
            Some(Comparison::Concurrent)
        } else {
            Some(Comparison::BeforeAfter)
        };
        let Evidence { baseline, canary, alone, first_bad_s, .. } = *evidence;
        Self { metric, log_e, baseline, canary, alone, reference, how, first_bad_s }
    }
}
