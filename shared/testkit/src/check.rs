//! What must hold when the world is quiet, whatever went wrong before.

use crate::codedeploy::{Deploy, Status};
use crate::world::{State, World};
use snapback_core::lifecycle::Phase;
use snapback_core::notice::NoticeKind;
use snapback_core::record::Record;
use snapback_core::{Cause, HookStatus, LifecycleEvent, Mode, Outcome, Trigger};
use std::time::Duration;

/// What a run is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether hooks must be answered in time: calls were permitted and the sweep ran.
    pub in_time: bool,
    /// Whether a second copy of a notice is forgiven: its sender may have died between publish and mark.
    pub may_notify_twice: bool,
    /// Whether a deployment that nobody could undo is forgiven: the calls were denied.
    pub may_fail_to_undo: bool,
}

/// Every promise that was broken, one line each; empty: none.
#[must_use]
pub fn broken_promises(world: &World, rules: Rules) -> Vec<String> {
    let state = world.state.borrow();
    let mut broken = state.table.violations.clone();
    for deploy in state.deployments.values() {
        let record = state.table.load(&deploy.id);
        let mut lines = Vec::new();
        one_rollback(&state, deploy, record.as_ref(), &mut lines);
        if let Some(record) = &record {
            closed(&state, record, rules, &mut lines);
            notified(&state, deploy, record, rules, &mut lines);
        }
        if rules.in_time {
            answered(deploy, record.as_ref(), &mut lines);
        }
        broken.extend(lines.into_iter().map(|line| format!("{}: {line}", deploy.id)));
    }
    broken
}

/// P3 and P4.
fn one_rollback(state: &State, deploy: &Deploy, record: Option<&Record>, lines: &mut Vec<String>) {
    let undone = state.deployments.values().filter(|other| other.rolls_back.as_ref() == Some(&deploy.id)).count();
    if undone > 1 {
        lines.push(format!("P3: {undone} rollback deployments"));
    }
    let acted = !deploy.stops_accepted.is_empty()
        || deploy.hooks.iter().any(|hook| {
            hook.event == LifecycleEvent::AfterAllowTraffic
                && hook.answer.is_some_and(|(status, at)| {
                    // A hook that cannot write its lease answers by itself; the record learns of it when it can be written.
                    let lease = record.and_then(|record| record.lease(LifecycleEvent::AfterAllowTraffic));
                    status == HookStatus::Failed && lease.is_some_and(|lease| lease.taken_at < at)
                })
        });
    if deploy.rolls_back.is_some() && (acted || undone > 0) {
        lines.push("P4: a rollback deployment was rolled back".to_owned());
    }
    let Some(record) = record else { return };
    if acted && record.deployment.is_return() {
        lines.push("P4: a return was rolled back".to_owned());
    }
    if acted && record.rollback.is_none() && record.deployment.refusal().is_none() {
        lines.push("P3: we went back, but no intent is on record".to_owned());
    }
    let intent_at = record.rollback.as_ref().map(|rollback| rollback.detected_at);
    let first_stop = deploy.stops_accepted.first();
    if let (Some(intent_at), Some(stop_at)) = (intent_at, first_stop)
        && *stop_at < intent_at
        && record.deployment.refusal().is_none()
    {
        lines.push("P3: the call came before the intent".to_owned());
    }
}

fn closed(state: &State, record: &Record, rules: Rules, lines: &mut Vec<String>) {
    let deployment = &record.deployment;
    let Phase::Closed(closing) = &deployment.phase else {
        lines.push(format!("never closed: {:?}", deployment.phase));
        return;
    };
    let (outcome, blame) = (closing.ending.outcome(), closing.ending.blame());
    if record.rollback.is_some() && outcome.is_good() {
        lines.push(format!("{outcome} after an intent"));
    }
    if deployment.refusal().is_some() && outcome.is_good() {
        lines.push(format!("P4: {outcome} after a refusal"));
    }
    let status = state.deployments.get(&deployment.identity.id).map(|deploy| deploy.status);
    let gone_live = status == Some(Status::Succeeded);
    if gone_live && (outcome.is_rolled_back() || outcome == Outcome::RefusedBeforeTraffic) {
        lines.push(format!("{outcome}, but CodeDeploy says Succeeded"));
    }
    if outcome.is_good() && !gone_live {
        lines.push(format!("{outcome}, but CodeDeploy says {status:?}"));
    }
    if outcome.is_good() && blame.is_some_and(|blame| blame.cause == Cause::NoEvidence) {
        lines.push("P2: good for want of evidence".to_owned());
    }
    // What goes red after the last hook was answered is too late, and is told as such.
    let promoted_at = state
        .deployments
        .get(&deployment.identity.id)
        .and_then(|deploy| deploy.hook(LifecycleEvent::AfterAllowTraffic)?.answer)
        .map(|(_, at)| at);
    let is_too_late =
        record.rollback.as_ref().is_some_and(|rollback| promoted_at.is_some_and(|at| at < rollback.detected_at));
    if record.rollback.is_some() && gone_live && !rules.may_fail_to_undo && !is_too_late {
        lines.push("a rollback was decided, but the version is live".to_owned());
    }
    let is_by_hook = blame.is_some_and(|blame| blame.trigger == Trigger::Hook);
    if outcome.is_rolled_back() && is_by_hook && record.rollback.is_none() {
        lines.push("rolled back without a rollback on record".to_owned());
    }
}

/// P3: never none, and once.
fn notified(state: &State, deploy: &Deploy, record: &Record, rules: Rules, lines: &mut Vec<String>) {
    if record.policy.mode == Mode::Observe {
        return;
    }
    for kind in NoticeKind::ALL {
        let sent = state.published.iter().filter(|one| one.id == deploy.id && one.notice.kind == *kind).count();
        let most = if rules.may_notify_twice { 8 } else { 1 };
        if sent > most {
            lines.push(format!("P3: {sent} notices of kind {}", kind.as_str()));
        }
        let is_due = match (kind, record.deployment.outcome()) {
            (NoticeKind::Rollback, Some(outcome)) => outcome.is_rolled_back(),
            (NoticeKind::Refusal, Some(outcome)) => outcome == Outcome::RefusedBeforeTraffic,
            _ => false,
        };
        if is_due && sent == 0 {
            lines.push(format!("P3: no notice of kind {}", kind.as_str()));
        }
    }
}

/// P1.
fn answered(deploy: &Deploy, record: Option<&Record>, lines: &mut Vec<String>) {
    let Some(record) = record.filter(|record| !record.deployment.is_return()) else { return };
    for hook in &deploy.hooks {
        let limit = match hook.event {
            LifecycleEvent::BeforeAllowTraffic => record.policy.before_traffic.deadline + Duration::from_secs(90),
            LifecycleEvent::AfterAllowTraffic if record.deployment.was_held => Duration::from_secs(59 * 60),
            LifecycleEvent::AfterAllowTraffic => record.policy.bake + Duration::from_secs(240),
        };
        let stopped_at = deploy.stops_accepted.iter().copied().chain(deploy.completed_at).min();
        let ended_at = hook.answer.map(|(_, at)| at).into_iter().chain(stopped_at).min();
        match ended_at {
            Some(at) if at <= hook.started_at + limit => {}
            Some(at) => lines.push(format!("P1: {} answered after {:?}", hook.event, at.since(hook.started_at))),
            None => lines.push(format!("P1: {} was never answered", hook.event)),
        }
    }
}
