//! What the judge is told of a deployment: the parts of a record that its numbers depend on.

#[cfg(test)]
mod tests;

use crate::lifecycle::Phase;
use crate::metrics::{MetricTarget, peers};
use crate::record::Record;
use crate::target::Target;
use crate::vocabulary::{Mode, Signal};
use snapback_judge::MAX_WAIT;
use snapback_judge::analysis::{Analysis, AnalysisSpec, PairSpec, Witnesses, bucket_end, bucket_start};
use snapback_judge::series::{SourceId, SourceProfile};
use snapback_judge::shared_incident::IncidentSpec;
use std::sync::Arc;
use std::time::Duration;

/// An analysis as it is on record.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAnalysis {
    /// What was found; `None`: another version of Snapback packed it, so it cannot be read and is begun anew.
    pub analysis: Option<Analysis>,
    /// The version of its item, for compare-and-set.
    pub version: u64,
}

/// Shift by plan when the plan could not be read.
const UNKNOWN_SHIFT: Duration = Duration::from_secs(600);
/// A function that runs longer than this reports that much later.
const LONG_TIMEOUT: Duration = Duration::from_secs(60);

/// What is watched of a record; `None` when nothing is compared now: by policy, before traffic, after the end, for a return.
///
/// * `has_pipeline`: whether Snapback has a series of its own beside the deployment's.
/// * `profile`: what the sources of this deployment are like; their adapters know.
#[must_use]
pub fn analysis_spec(
    record: &Record,
    has_pipeline: bool,
    profile: impl Fn(SourceId) -> SourceProfile,
) -> Option<AnalysisSpec> {
    let (deployment, policy) = (&record.deployment, &record.policy);
    let pairs = pair_spec(record);
    if !is_watched(record) || !(policy.is_compared() || pairs.is_some()) {
        return None;
    }
    let shift_started_at = deployment.observation.shift_started_at?;
    let source = |signal| policy.signals.get(&signal).and_then(|signal| signal.source.as_ref());
    let errors = source(Signal::Errors).map(|_| profile(SourceId::Errors));
    let latency = policy.compares(Signal::Latency).then(|| profile(SourceId::Latency));
    let compared = source(Signal::Transactions).filter(|_| policy.compares(Signal::Transactions));
    let transactions = compared.map(|_| profile(SourceId::Transactions));
    // The slowest source is waited for: until then nothing is final.
    let requests = profile(SourceId::Requests);
    let sources = [Some(&requests), errors.as_ref(), latency.as_ref(), transactions.as_ref()];
    let delay = sources.into_iter().flatten().filter_map(|source| source.ingestion_delay).max();
    let mut judge = delay.map_or(policy.judge, |delay| policy.judge.with_ingestion_delay(delay));
    if let Some(timeout) = deployment.identity.function_timeout.filter(|timeout| *timeout > LONG_TIMEOUT) {
        judge.grace = judge.grace.max((timeout + LONG_TIMEOUT).min(MAX_WAIT));
        // What may still come is not given up.
        judge.no_data_timeout = judge.no_data_timeout.max((judge.grace + judge.bucket).min(MAX_WAIT));
    }
    let origin = bucket_start(shift_started_at, judge.bucket);
    let slo = policy.signals.get(&Signal::Slo).filter(|slo| slo.mode.unwrap_or(policy.mode) != Mode::Observe);
    let objective = slo.and_then(|slo| slo.objective);
    let planned = deployment.identity.shift_plan.lasts.unwrap_or(UNKNOWN_SHIFT);
    let ends_at = deployment.bake().map_or(shift_started_at + planned + policy.bake, |bake| bake.ends_at);
    let oldest = origin - judge.history;
    // Errors that are counted of the service as a whole are none of the old version's; those of a shared source never count.
    let errors_follow = errors.as_ref().is_none_or(|source| source.is_split || source.is_shared);
    let settings = |is_enforcing| {
        let settings = policy.detector(is_enforcing)?;
        if judge == policy.judge && errors_follow {
            return Some(Arc::clone(settings));
        }
        let settings = settings.with(|values| {
            values.grace_s = judge.grace.as_secs_f64();
            values.no_data_timeout_s = judge.no_data_timeout.as_secs_f64();
            values.errors_follow = errors_follow;
        });
        settings.ok().map(Arc::new)
    };
    let mut weights = deployment.observation.weights.clone();
    // The last hook runs when all traffic has moved, whether the alias could be read or not.
    if let Some(bake) = deployment.bake().filter(|_| weights.iter().all(|(_, share)| *share < 1.0 - 1e-6)) {
        weights.push((bake.started_at, 1.0));
    }
    Some(AnalysisSpec {
        origin,
        judge,
        tick: policy.tick,
        errors,
        latency,
        transactions,
        witnesses: Witnesses {
            has_front: policy.witness.front.is_some(),
            peers: u8::try_from(peers(record).count()).unwrap_or(u8::MAX),
            has_pipeline,
        },
        pairs,
        objective,
        objective_is_sufficient: slo.is_some_and(|slo| slo.is_sufficient),
        history_from: deployment
            .identity
            .history_from
            .map_or(oldest, |from| bucket_end(from, judge.bucket).max(oldest))
            .min(origin),
        shift_started_at,
        weights,
        ends_at,
        enforcing: settings(true),
        advisory: settings(false),
    })
}

/// What is known of the pairs of probes of a deployment; `None` when none are sent: by policy, by mode, where no version can be
/// called by its number, before traffic, after the end, for a return.
#[must_use]
pub fn pair_spec(record: &Record) -> Option<PairSpec> {
    let (deployment, policy) = (&record.deployment, &record.policy);
    let mode = policy.mode_of(Some(Signal::Errors));
    if !is_watched(record) || mode == Mode::Observe {
        return None;
    }
    let pairs = match deployment.identity.target {
        Target::LambdaAlias(_) => policy.pairs()?,
        Target::TargetGroups(_) => return None,
    };
    Some(PairSpec {
        began: deployment.observation.shift_started_at?,
        every: pairs.every,
        burst: pairs.burst.into(),
        may_roll_back: mode == Mode::Rollback,
    })
}

/// Whether customers use the new version, and it is judged.
fn is_watched(record: &Record) -> bool {
    matches!(record.deployment.phase, Phase::InShift(_) | Phase::InBake(_)) && !record.deployment.is_return()
}

/// What is known of a deployment in which an incident is suspected; `None`: nobody knows when traffic began to shift.
///
/// * `profile`: as for [`analysis_spec`].
#[must_use]
pub fn incident_spec(
    record: &Record,
    signal: Signal,
    profile: impl Fn(SourceId) -> SourceProfile,
) -> Option<IncidentSpec> {
    let named = |id| MetricTarget::of(record).source(id).is_some().then(|| profile(id));
    let source = match signal {
        Signal::Errors | Signal::Availability | Signal::Slo => named(SourceId::Errors),
        Signal::Transactions => named(SourceId::Transactions),
        Signal::Latency => Some(profile(SourceId::Latency)),
    };
    Some(IncidentSpec {
        signal,
        shift_started_at: record.deployment.observation.shift_started_at?,
        bucket: record.policy.judge.bucket,
        history: record.policy.judge.history,
        source,
    })
}
