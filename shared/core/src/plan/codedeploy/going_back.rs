//! A rollback was decided: make it happen, see it through, say how it ended.

use super::{send_back_command, stop_command};
use crate::deployment::Deployment;
use crate::lifecycle::Exposure;
use crate::lifecycle::{Blame, Ending};
use crate::notice::{NoticeKind, plain_notice, rollback_notice};
use crate::observed::{DeploymentStatus, RollbackFacts};
use crate::plan::{Case, Step, Write, end, tell};
use crate::rollback::{Claim, Rollback, RollbackAction, RollbackResult};
use crate::timeline::{EntryKind, TimelineEntry};
use crate::vocabulary::{HookStatus, LifecycleEvent, Trigger};
use std::time::Duration;

pub(in crate::plan) fn next(case: &Case<'_>) -> Option<Step> {
    let rollback = case.record.rollback.as_ref()?;
    Some(match &case.observed.deployment.status {
        DeploymentStatus::Running | DeploymentStatus::Unknown(_) => still_running(case, rollback),
        DeploymentStatus::Succeeded => {
            let why = format!(
                "deployment {} succeeded before it could be stopped, so version {} is live: deploy version {} again",
                case.record.deployment.identity.id,
                case.record.deployment.identity.target.canary(),
                case.record.deployment.identity.target.baseline()
            );
            give_up(case, rollback, &why)
        }
        DeploymentStatus::Failed | DeploymentStatus::Stopped => ended(case, rollback),
    })
}

fn still_running(case: &Case<'_>, rollback: &Rollback) -> Step {
    let open = case.record.lease(LifecycleEvent::AfterAllowTraffic).filter(|lease| lease.answered.is_none());
    let on_failure = case.record.deployment.identity.auto_rollback.on_failure;
    // Without DEPLOYMENT_FAILURE a failed hook would overtake the pending stop and end the deployment without a rollback.
    if let Some(lease) = open
        && on_failure
        && lease.taken_at > rollback.detected_at
        && rollback.requested_at.is_some()
    {
        let why = format!("a rollback is on its way: {}", rollback.why);
        return Step::Answer(LifecycleEvent::AfterAllowTraffic, HookStatus::Failed, why);
    }
    if rollback.is_call_due(case.record.policy.tick, case.way_back(rollback.exposure), case.now)
        && !rollback.claim.is_held_by_other(&case.caller.owner, case.now)
    {
        let is_mine = rollback.claim.owner == case.caller.owner && case.now < rollback.claim.until;
        if !is_mine {
            let claimed = Rollback { claim: Claim::new(&case.caller.owner, case.now), ..rollback.clone() };
            return Step::Record(Box::new(case.record.deployment.clone()), vec![Write::Rollback(claimed)]);
        }
        return Step::Undo(actions(rollback.exposure, on_failure, open.is_some()));
    }
    let is_stuck =
        case.now.since(rollback.requested_at.unwrap_or(rollback.detected_at)) >= expect_within(case, rollback);
    if is_stuck && let Some(write) = tell(case, stuck(case, rollback)) {
        return Step::Record(Box::new(case.record.deployment.clone()), vec![write]);
    }
    Step::Rest
}

fn stuck(case: &Case<'_>, rollback: &Rollback) -> crate::notice::Notice {
    let deployment = &case.record.deployment;
    let error = rollback.call_error.as_deref().unwrap_or("CodeDeploy accepted the call, but the deployment still runs");
    let what =
        format!("version {} is bad ({}) and is not undone: {error}", deployment.identity.target.canary(), rollback.why);
    let next = format!(
        "stop deployment {} with rollback yourself ({}). \
         The verdict alarm of the group asks CodeDeploy to do the same.",
        deployment.identity.id,
        stop_command(&deployment.identity.id)
    );
    plain_notice(NoticeKind::RollbackStuck, deployment, &what, &next, case.now)
}

/// CodeDeploy has ended the deployment: see the rollback deployment through.
fn ended(case: &Case<'_>, rollback: &Rollback) -> Step {
    let facts = &case.observed.deployment;
    let ended_at = facts.completed_at.unwrap_or(case.now);
    let mut known = rollback.clone();
    if known.requested_at.is_none() {
        known.requested_at = Some(ended_at.max(known.detected_at));
    }
    // An alarm stopped it, whatever was called before: that is the path that took effect.
    if facts.was_stopped_by_alarm() {
        known.trigger = Trigger::Platform;
    }
    known.rollback_deployment = known.rollback_deployment.or_else(|| facts.rollback_deployment.clone());
    if known != *rollback {
        let text = format!(
            "CodeDeploy ended {}: {}{}",
            facts.id,
            facts.end_reason.as_ref().map_or("no error code", |reason| &reason.code),
            known.rollback_deployment.as_ref().map(|id| format!("; rollback deployment {id}")).unwrap_or_default()
        );
        let line = TimelineEntry::new(ended_at, EntryKind::Phase, text);
        return Step::Record(
            Box::new(case.record.deployment.clone()),
            vec![Write::Rollback(known), Write::Entry(line)],
        );
    }
    match &case.observed.rollback {
        Some(undo) => see_through(case, known, undo),
        None if case.now.since(ended_at) < expect_within(case, rollback) || known.rollback_deployment.is_some() => {
            Step::Rest
        }
        None => {
            let command = send_back_command(&case.record.deployment.identity.target);
            let why = format!("CodeDeploy made no rollback deployment. Send all traffic back yourself: {command}");
            give_up(case, rollback, &why)
        }
    }
}

fn see_through(case: &Case<'_>, mut rollback: Rollback, undo: &RollbackFacts) -> Step {
    let deployment = &case.record.deployment;
    match undo.status {
        DeploymentStatus::Running | DeploymentStatus::Unknown(_) => Step::Rest,
        DeploymentStatus::Failed | DeploymentStatus::Stopped => {
            let why = format!("rollback deployment {} did not succeed: look at it in CodeDeploy", undo.id);
            give_up(case, &rollback, &why)
        }
        DeploymentStatus::Succeeded => {
            let is_back = case
                .observed
                .traffic
                .as_ref()
                .is_some_and(|alias| alias.is_only(deployment.identity.target.baseline()));
            let done_at = undo.completed_at.unwrap_or(case.now);
            if is_back {
                let least = rollback.requested_at.unwrap_or(rollback.detected_at);
                rollback.rolled_back_at = Some(done_at.max(least));
                rollback.result = RollbackResult::Done;
                finish(case, deployment.clone(), rollback)
            } else if case.now.since(done_at) >= expect_within(case, &rollback) {
                let why = format!(
                    "rollback deployment {} succeeded, but {} does not send all traffic to version {}",
                    undo.id,
                    deployment.identity.target,
                    deployment.identity.target.baseline()
                );
                give_up(case, &rollback, &why)
            } else {
                Step::Rest
            }
        }
    }
}

fn finish(case: &Case<'_>, deployment: Deployment, rollback: Rollback) -> Step {
    let mut writes = Vec::new();
    writes.extend(tell(case, rollback_notice(&deployment, &rollback, case.now)));
    let blame = Blame { cause: rollback.cause, trigger: rollback.trigger };
    let ending = Ending::RolledBack(rollback.exposure, blame);
    writes.push(Write::Rollback(rollback));
    end(case, deployment, ending, writes)
}

/// The rollback cannot be done any more: a person has to act.
fn give_up(case: &Case<'_>, rollback: &Rollback, why: &str) -> Step {
    let deployment = case.record.deployment.clone();
    let rollback = Rollback { result: RollbackResult::Failed(why.to_owned()), ..rollback.clone() };
    let what =
        format!("version {} is bad ({}) and the rollback failed", deployment.identity.target.canary(), rollback.why);
    let mut writes: Vec<Write> =
        tell(case, plain_notice(NoticeKind::RollbackStuck, &deployment, &what, why, case.now)).into_iter().collect();
    let blame = Blame { cause: rollback.cause, trigger: rollback.trigger };
    writes.push(Write::Rollback(rollback));
    end(case, deployment, Ending::Held(Some(blame)), writes)
}

/// How long nothing may be seen of a rollback.
fn expect_within(case: &Case<'_>, rollback: &Rollback) -> Duration {
    case.way_back(rollback.exposure).expect_within()
}

/// What to try, in order; each is the other's fallback.
///
/// * In the shift only StopDeployment ends a deployment; a hook that is held open by then is the fallback.
/// * In the bake `Failed` is the quicker and cleaner way, but CodeDeploy rolls back on it only with DEPLOYMENT_FAILURE.
fn actions(exposure: Exposure, rolls_back_on_failure: bool, hook_is_held: bool) -> Vec<RollbackAction> {
    match (exposure, hook_is_held) {
        (Exposure::Shift | Exposure::Bake, false) => vec![RollbackAction::StopDeployment],
        (Exposure::Bake, true) if rolls_back_on_failure => {
            vec![RollbackAction::FailHook, RollbackAction::StopDeployment]
        }
        (Exposure::Shift | Exposure::Bake, true) => {
            vec![RollbackAction::StopDeployment, RollbackAction::FailHook]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_the_others_fallback() {
        use RollbackAction::{FailHook, StopDeployment};
        let table = [
            ("shift", Exposure::Shift, true, false, vec![StopDeployment]),
            ("shift, hook held by now", Exposure::Shift, true, true, vec![StopDeployment, FailHook]),
            ("bake", Exposure::Bake, true, true, vec![FailHook, StopDeployment]),
            ("bake, failure does not roll back", Exposure::Bake, false, true, vec![StopDeployment, FailHook]),
            ("bake, hook answered by somebody", Exposure::Bake, true, false, vec![StopDeployment]),
        ];
        for (case, exposure, on_failure, held, expected) in table {
            assert_eq!(actions(exposure, on_failure, held), expected, "{case}");
        }
    }
}
