//! What a verdict of the detector says to people.

use super::AnalysisSpec;
use crate::detector::{DetectorSettings, Judgement, MetricEvidence, State};
use crate::result::Detection;
use crate::slo::Burn;
use crate::time::Timestamp;
use crate::vocabulary::{Comparison, Signal, Verdict};
use std::time::Duration;

/// The detection of a rollback verdict, `None` for any other.
pub(super) fn of(origin: Timestamp, judgement: &Judgement) -> Option<Detection> {
    let reason = match (judgement.verdict, judgement.reason) {
        (Verdict::Rollback, Some(reason)) => reason,
        (Verdict::Rollback, None) | (Verdict::Continue | Verdict::Pass | Verdict::Inconclusive, _) => return None,
    };
    let evidence = judgement.evidence.iter().find(|evidence| evidence.metric == reason);
    let bad_s = evidence.and_then(|evidence| evidence.first_bad_s).and_then(|bad_s| u64::try_from(bad_s).ok());
    Some(Detection {
        signal: Signal::from(reason),
        why: evidence.map_or_else(|| reason.as_str().to_owned(), MetricEvidence::sentence),
        impact_started_at: bad_s.map(|bad_s| origin + Duration::from_secs(bad_s)),
        is_sufficient: true,
        is_concurrent: evidence.is_some_and(|evidence| evidence.how == Some(Comparison::Concurrent)),
    })
}

/// Whether there was enough traffic to tell, had the new version been bad.
pub(super) fn is_conclusive(settings: &DetectorSettings, state: &State) -> bool {
    match State::finish(settings, state).verdict {
        Verdict::Pass | Verdict::Rollback => true,
        Verdict::Continue | Verdict::Inconclusive => false,
    }
}

/// The detection of an objective whose budget burns too fast.
pub(super) fn burning(spec: &AnalysisSpec, burn: &Burn, now: Timestamp) -> Option<Detection> {
    let objective = spec.objective?;
    let burning = burn.burning(objective)?;
    Some(Detection {
        signal: Signal::Slo,
        why: format!(
            "the error budget of the objective {} % burns {:.0} times too fast (limit {:.1})",
            100.0 * objective.good(),
            burning.rate,
            burning.limit
        ),
        impact_started_at: Some(now - spec.judge.bucket - spec.judge.ingestion_delay),
        is_sufficient: spec.objective_is_sufficient,
        is_concurrent: false,
    })
}
