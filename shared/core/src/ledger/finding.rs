//! What a verdict of the detector says to people.

use super::Subject;
use crate::canary::{Comparison, Judgement, MetricEvidence, Settings, State, Verdict};
use crate::judged::Finding;
use crate::policy::signal_of;
use crate::sla::Burn;
use crate::time::Timestamp;
use crate::words::{Cause, Signal};
use std::time::Duration;

/// The finding of a rollback verdict, `None` for any other.
pub(super) fn of(subject: &Subject, origin: Timestamp, judgement: &Judgement) -> Option<Finding> {
    let reason = match (judgement.verdict, judgement.reason) {
        (Verdict::Rollback, Some(reason)) => reason,
        (Verdict::Rollback, None) | (Verdict::Continue | Verdict::Pass | Verdict::Inconclusive, _) => return None,
    };
    let evidence = judgement.evidence.iter().find(|evidence| evidence.metric == reason);
    let signal = signal_of(reason);
    let bad_s = evidence.and_then(|evidence| evidence.first_bad_s).and_then(|bad_s| u64::try_from(bad_s).ok());
    Some(Finding {
        signal: Some(signal),
        cause: Cause::from(signal),
        why: format!(
            "version {} is worse than version {}: {}",
            subject.canary,
            subject.baseline,
            evidence.map_or_else(|| reason.as_str().to_owned(), MetricEvidence::sentence)
        ),
        impact_started_at: bad_s.map(|bad_s| origin + Duration::from_secs(bad_s)),
        alarms: Vec::new(),
        is_sufficient: true,
        is_concurrent: evidence.is_some_and(|evidence| evidence.how == Some(Comparison::Concurrent)),
    })
}

/// Whether there was enough traffic to tell, had the new version been bad.
pub(super) fn is_conclusive(settings: &Settings, state: &State) -> bool {
    match State::finish(settings, state).verdict {
        Verdict::Pass | Verdict::Rollback => true,
        Verdict::Continue | Verdict::Inconclusive => false,
    }
}

/// The finding of an objective whose budget burns too fast.
pub(super) fn burning(subject: &Subject, burn: &Burn, now: Timestamp) -> Option<Finding> {
    let objective = subject.objective?;
    let burning = burn.burning(objective)?;
    Some(Finding {
        signal: Some(Signal::Sla),
        cause: Cause::Sla,
        why: format!(
            "the error budget of the objective {} % burns {:.0} times too fast (limit {:.1})",
            100.0 * objective.good(),
            burning.rate,
            burning.limit
        ),
        impact_started_at: Some(now - subject.judge.bucket - subject.judge.settle),
        alarms: Vec::new(),
        is_sufficient: subject.objective_is_sufficient,
        is_concurrent: false,
    })
}
