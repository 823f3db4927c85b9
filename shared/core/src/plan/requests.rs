//! What people asked for.

use super::{Case, Step, decide, intent, refuse};
use crate::deployment::Verb;
use crate::vocabulary::{Cause, Trigger};

/// What a person asked for, and what a refusal that did not take effect still demands.
pub(super) fn next(case: &Case<'_>) -> Option<Step> {
    let deployment = &case.record.deployment;
    if deployment.is_return() {
        return None;
    }
    let request = deployment.requests.last.as_ref().filter(|request| request.verb == Verb::RollBack);
    match (deployment.phase.exposure(), request, deployment.refusal()) {
        (Some(exposure), Some(request), _) => {
            let mut rollback =
                intent(case, exposure, Cause::Operator, &format!("{} asked: {}", request.who, request.why));
            rollback.trigger = Trigger::Operator;
            rollback.asked_by = Some((request.who.clone(), request.why.clone()));
            Some(decide(case, rollback))
        }
        (Some(exposure), None, Some(refusal)) => {
            let why = format!("refused before traffic, but traffic started all the same: {}", refusal.why);
            Some(decide(case, intent(case, exposure, refusal.blame.cause, &why)))
        }
        (None, Some(request), None) => {
            let why = format!("{} asked: {}", request.who, request.why);
            Some(refuse(case, Cause::Operator, Trigger::Operator, &why))
        }
        (Some(_), None, None) | (None, Some(_), Some(_)) | (None, None, _) => None,
    }
}
