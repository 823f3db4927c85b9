//! Hooks that wait for an answer: each gets exactly one, whichever part of Snapback died.

use super::{Case, LONGEST_HOLD, Step, Write, decide, intent, refuse};
use crate::deployment::{Evidence, EvidenceKind, Lease, Verb};
use crate::lifecycle::{Exposure, Phase};
use crate::observed::EventFacts;
use crate::policy::AtDeadline;
use crate::time::Timestamp;
use crate::words::{Cause, HookStatus, LifecycleEvent, Mode, Trigger};
use std::time::Duration;

use HookStatus::{Failed, Succeeded};
use LifecycleEvent::{AfterAllowTraffic, BeforeAllowTraffic};

/// Somebody else answers an overdue lease this long after its deadline, or 15 ticks if that is less.
const OVERDUE_LEASE: Duration = Duration::from_secs(30);
/// However late its run began, a hook event is answered this long after the deadline: Lambda keeps the event for a minute.
const LATEST_ANSWER: Duration = Duration::from_secs(70);
/// A hook event without a lease is stopped this long after the deadline, or 6 ticks if that is less.
const OVERDUE_EVENT: Duration = Duration::from_secs(60);

pub(super) fn next(case: &Case<'_>) -> Option<Step> {
    if case.record.deployment.is_return {
        return returning(case);
    }
    match case.record.deployment.phase {
        Phase::BeforeTraffic => before(case),
        Phase::Refused => Some(refused(case)),
        Phase::InShift => after_without_lease(case),
        Phase::InBake => baking(case),
        Phase::GoingBack(_) | Phase::Closed(_) => None,
    }
}

fn open_lease<'a>(case: &Case<'a>, event: LifecycleEvent) -> Option<&'a Lease> {
    case.record.lease(event).filter(|lease| lease.answered.is_none())
}

/// A return is answered at once: nothing may stand between a team and its last known good version.
fn returning(case: &Case<'_>) -> Option<Step> {
    let open = [BeforeAllowTraffic, AfterAllowTraffic].into_iter().find_map(|event| open_lease(case, event))?;
    Some(Step::Answer(open.event, Succeeded, "this deployment goes back to a known good version".to_owned()))
}

fn before(case: &Case<'_>) -> Option<Step> {
    let deadline = case.record.policy.before_traffic.deadline;
    match open_lease(case, BeforeAllowTraffic) {
        Some(lease) => {
            let grace = OVERDUE_LEASE.min(case.record.policy.tick * 15);
            // The watchdog is called because the hook's run is over; others wait for the deadline.
            let event_began_at = case.observed.target.as_ref().and_then(|target| target.before.started_at);
            let latest = event_began_at.unwrap_or(lease.taken_at) + deadline + LATEST_ANSWER;
            let due_at = (lease.taken_at + deadline + grace).min(latest);
            let is_due = case.caller.trigger == Trigger::Watchdog || case.now >= due_at;
            match (&lease.result, is_due) {
                (Some((status, why)), true) => Some(Step::Answer(BeforeAllowTraffic, *status, why.clone())),
                (None, true) => Some(unanswered(case, "the hook ended without an answer")),
                (_, false) => None,
            }
        }
        None if case.record.lease(BeforeAllowTraffic).is_some() => None,
        None => {
            let event = case.observed.target.as_ref().map(|target| &target.before);
            let is_overdue = is_event_overdue(case, BeforeAllowTraffic, event, deadline);
            is_overdue.then(|| refuse(case, Cause::NoEvidence, case.caller.trigger, "the hook never took its lease"))
        }
    }
}

/// A hook died before it concluded: refused, or in `observe` and `advise` let through with a doubt.
fn unanswered(case: &Case<'_>, why: &str) -> Step {
    if case.record.policy.mode == Mode::Rollback {
        return refuse(case, Cause::NoEvidence, case.caller.trigger, why);
    }
    let mut deployment = case.record.deployment.clone();
    let doubt = format!("mode {}, so not refused: {why}", case.record.policy.mode);
    deployment.doubt(&doubt);
    if deployment == case.record.deployment {
        return Step::Answer(BeforeAllowTraffic, Succeeded, doubt);
    }
    let line = Evidence::new(case.now, EvidenceKind::Warning, doubt);
    Step::Record(Box::new(deployment), vec![Write::Evidence(line)])
}

/// Refused: say it with the execution id, or stop the deployment where there is none.
fn refused(case: &Case<'_>) -> Step {
    let why = case.record.deployment.refusal.as_ref().map(|refusal| refusal.why.clone()).unwrap_or_default();
    match case.record.lease(BeforeAllowTraffic) {
        Some(lease) if lease.answered.is_none() => Step::Answer(BeforeAllowTraffic, Failed, why),
        Some(_) => Step::Rest,
        None => Step::StopBeforeTraffic,
    }
}

/// The last hook of ours runs, but nobody knows its execution id: going back is the only way to end it.
fn after_without_lease(case: &Case<'_>) -> Option<Step> {
    if case.record.lease(AfterAllowTraffic).is_some() {
        return None;
    }
    let event = case.observed.target.as_ref().map(|target| &target.after);
    let is_overdue = is_event_overdue(case, AfterAllowTraffic, event, case.record.policy.bake);
    is_overdue.then(|| {
        decide(case, intent(case, Exposure::Bake, Cause::NoEvidence, "the hook of the bake never took its lease"))
    })
}

fn is_event_overdue(case: &Case<'_>, event: LifecycleEvent, facts: Option<&EventFacts>, deadline: Duration) -> bool {
    let grace = OVERDUE_EVENT.min(case.record.policy.tick * 6);
    let started_at = facts.filter(|facts| facts.is_in_progress).and_then(|facts| facts.started_at);
    case.record.deployment.hooks.is_ours(event)
        && started_at.is_some_and(|at: Timestamp| case.now >= at + deadline + grace)
}

fn baking(case: &Case<'_>) -> Option<Step> {
    open_lease(case, AfterAllowTraffic)?;
    let deployment = &case.record.deployment;
    let bake = deployment.bake?;
    if let Some(order) = deployment.order.as_ref().filter(|order| order.verb == Verb::Promote) {
        return Some(Step::Answer(
            AfterAllowTraffic,
            Succeeded,
            format!("{} ended the bake early: {}", order.who, order.why),
        ));
    }
    if case.now < bake.ends_at {
        return None;
    }
    if deployment.alarms_read_at.is_some_and(|at| at >= bake.ends_at) {
        return Some(Step::Answer(AfterAllowTraffic, Succeeded, "the bake is over and no alarm is red".to_owned()));
    }
    // Nobody could see until now: hold, at most as long as CodeDeploy waits. Without permission to act the end of the bake
    // is enough.
    let is_blind = deployment.unreadable_since.is_some();
    let may_hold = case.record.policy.mode == Mode::Rollback;
    let is_last_moment = case.now >= bake.started_at + LONGEST_HOLD;
    match (is_blind || is_last_moment, may_hold, is_last_moment) {
        (true, true, true) | (true, false, _) => Some(at_deadline(case)),
        (true, true, false) | (false, _, _) => None,
    }
}

fn at_deadline(case: &Case<'_>) -> Step {
    let why = "the bake is over and the alarms could not be read";
    let policy = &case.record.policy;
    if policy.mode == Mode::Rollback && policy.at_deadline == AtDeadline::Fail {
        return decide(case, intent(case, Exposure::Bake, Cause::NoEvidence, why));
    }
    let mut deployment = case.record.deployment.clone();
    deployment.doubt(why);
    if deployment == case.record.deployment {
        return Step::Answer(AfterAllowTraffic, Succeeded, why.to_owned());
    }
    Step::Record(Box::new(deployment), vec![Write::Evidence(Evidence::new(case.now, EvidenceKind::Warning, why))])
}
