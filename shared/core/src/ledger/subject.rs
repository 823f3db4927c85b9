//! What is watched: the parts of a record that the numbers depend on.

use super::seconds_between;
use crate::canary::{Course, Settings};
use crate::deployment::Record;
use crate::lifecycle::Phase;
use crate::measure::Source;
use crate::policy::Judge;
use crate::sla::Objective;
use crate::time::Timestamp;
use crate::words::{Mode, Signal};
use std::sync::Arc;
use std::time::Duration;

/// Shift by plan when the plan could not be read.
const UNKNOWN_SHIFT: Duration = Duration::from_secs(600);
/// A function that runs longer than this reports that much later.
const LONG_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a slow function's numbers.
const MAX_GRACE: Duration = Duration::from_secs(300);

/// One deployment whose versions are compared, or whose objective is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Function.
    pub function: String,
    /// Alias.
    pub alias: String,
    /// Old version.
    pub baseline: String,
    /// New version.
    pub canary: String,
    /// Start of the bucket in which traffic began to shift.
    pub origin: Timestamp,
    /// Times of the comparison.
    pub judge: Judge,
    /// How often the watcher looks.
    pub tick: Duration,
    /// Errors are compared, or an objective wants them.
    pub errors: Option<Option<Source>>,
    /// Latency is compared.
    pub latency: bool,
    /// Transactions are compared, by these metrics.
    pub transactions: Option<Source>,
    /// Objective of the service.
    pub objective: Option<Objective>,
    /// Whether its burning may roll back alone.
    pub objective_is_sufficient: bool,
    /// Start of the history.
    pub history_from: Timestamp,
    shift_started_at: Timestamp,
    weights: Vec<(Timestamp, f64)>,
    ends_at: Timestamp,
    deciding: Option<Arc<Settings>>,
    telling: Option<Arc<Settings>>,
}

impl Subject {
    /// The subject of a record; `None` when nothing is compared now: by policy, before traffic, after the end, for a return.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let (deployment, policy) = (&record.deployment, &record.policy);
        let is_exposed = matches!(deployment.phase, Phase::InShift | Phase::InBake);
        if !policy.is_compared() || !is_exposed || deployment.is_return {
            return None;
        }
        let shift_started_at = deployment.shift_started_at?;
        let mut judge = policy.judge;
        if let Some(timeout) = deployment.function_timeout.filter(|timeout| *timeout > LONG_TIMEOUT) {
            judge.grace = judge.grace.max((timeout + LONG_TIMEOUT).min(MAX_GRACE));
            // What may still come is not given up.
            judge.dark = judge.dark.max((judge.grace + judge.bucket).min(MAX_GRACE));
        }
        let origin = floor(shift_started_at, judge.bucket);
        let signal = |signal| policy.signals.get(&signal);
        let sla = signal(Signal::Sla).filter(|sla| sla.mode.unwrap_or(policy.mode) != Mode::Observe);
        let objective = sla.and_then(|sla| sla.objective);
        // Traffic and "who suffers" need request counts as much as errors do.
        let wants_errors =
            policy.compares(Signal::Errors) || policy.compares(Signal::Availability) || objective.is_some();
        let wants_any = wants_errors || policy.is_compared();
        let planned = deployment.planned_shift.unwrap_or(UNKNOWN_SHIFT);
        let ends_at = deployment.bake.map_or(shift_started_at + planned + policy.bake, |bake| bake.ends_at);
        let oldest = origin - judge.history;
        let settings = |decides| {
            let settings = policy.detector(decides)?;
            if judge == policy.judge {
                return Some(Arc::clone(settings));
            }
            settings.with_waits(judge.grace.as_secs_f64(), judge.dark.as_secs_f64()).ok().map(Arc::new)
        };
        let mut weights = deployment.weights.clone();
        // The last hook runs when all traffic has moved, whether the alias could be read or not.
        if let Some(bake) = deployment.bake.filter(|_| weights.iter().all(|(_, share)| *share < 1.0 - 1e-6)) {
            weights.push((bake.started_at, 1.0));
        }
        Some(Self {
            function: deployment.target.name.clone(),
            alias: deployment.target.alias.clone(),
            baseline: deployment.target.baseline.clone(),
            canary: deployment.target.canary.clone(),
            origin,
            judge,
            tick: policy.tick,
            errors: wants_any.then(|| signal(Signal::Errors).and_then(|errors| errors.source.clone())),
            latency: policy.compares(Signal::Latency),
            transactions: signal(Signal::Transactions)
                .filter(|transactions| transactions.against_baseline.is_some())
                .and_then(|transactions| transactions.source.clone()),
            objective,
            objective_is_sufficient: sla.is_some_and(|sla| sla.is_sufficient),
            history_from: deployment
                .history_from
                .map_or(oldest, |from| ceil(from, judge.bucket).max(oldest))
                .min(origin),
            shift_started_at,
            weights,
            ends_at,
            deciding: settings(true),
            telling: settings(false),
        })
    }

    /// Length of a bucket in seconds.
    #[must_use]
    pub fn bucket_s(&self) -> i64 {
        i64::try_from(self.judge.bucket.as_secs()).unwrap_or(60).max(1)
    }

    /// Whether errors are counted the same way for a version and for the service as a whole.
    #[must_use]
    pub fn errors_are_by_version(&self) -> bool {
        self.errors.as_ref().and_then(Option::as_ref).is_none_or(Source::is_split_by_version)
    }

    /// The detector's constants for the signals that may roll back, or for those that may only tell.
    #[must_use]
    pub fn settings(&self, decides: bool) -> Option<&Settings> {
        if decides { self.deciding.as_deref() } else { self.telling.as_deref() }
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

    /// The observed course, up to now; the first step is CodeDeploy's own start of AllowTraffic.
    #[must_use]
    pub fn course(&self, now: Timestamp) -> Course {
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
        // The record's own times: only a clock that is years off makes a course that cannot be, and then nothing is judged late.
        Course::new(bucket_s, steps, end_s, drain_s).unwrap_or_else(|_| Course::of_nothing(bucket_s))
    }
}

/// The start of the bucket that holds `at`; buckets are aligned to the epoch.
#[must_use]
pub fn floor(at: Timestamp, bucket: Duration) -> Timestamp {
    let length = i64::try_from(bucket.as_millis()).unwrap_or(i64::MAX).max(1);
    Timestamp::from_ms(at.ms().div_euclid(length).saturating_mul(length))
}

fn ceil(at: Timestamp, bucket: Duration) -> Timestamp {
    let start = floor(at, bucket);
    if start == at { at } else { start + bucket }
}
