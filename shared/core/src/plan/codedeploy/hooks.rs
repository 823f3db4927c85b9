//! Hooks that wait for an answer: each gets exactly one, whichever part of Snapback died.

use crate::Timestamp;
use crate::deployment::{Deployment, Verb};
use crate::lifecycle::{Bake, Exposure, Phase, Refusal};
use crate::observed::EventFacts;
use crate::plan::{Case, Step, Write, decide, intent, refuse, valid_analysis};
use crate::policy::{AtDeadline, WithoutEvidence};
use crate::record::Lease;
use crate::timeline::{EntryKind, TimelineEntry};
use crate::vocabulary::{Cause, HookStatus, LifecycleEvent, Mode, Trigger};
use crate::warning::{Uncertainty, Warning};
use std::time::Duration;

use HookStatus::{Failed, Succeeded};
use LifecycleEvent::{AfterAllowTraffic, BeforeAllowTraffic};

/// Somebody else answers an overdue lease this long after its deadline, or 15 ticks if that is less.
const OVERDUE_LEASE: Duration = Duration::from_secs(30);
/// However late its run began, a hook event is answered this long after the deadline: Lambda keeps the event for a minute.
const LATEST_ANSWER: Duration = Duration::from_secs(70);
/// That a bake passed is stored anew when it was longer ago than this: it was another reconciliation then.
const PASS_HOLDS: Duration = Duration::from_secs(2);
/// A hook event without a lease is stopped this long after the deadline, or 6 ticks if that is less.
const OVERDUE_EVENT: Duration = Duration::from_secs(60);

pub(in crate::plan) fn next(case: &Case<'_>) -> Option<Step> {
    if case.record.deployment.is_return() {
        return returning(case);
    }
    match &case.record.deployment.phase {
        Phase::BeforeTraffic => before(case),
        Phase::Refused(refusal) => Some(refused(case, refusal)),
        Phase::InShift(_) => after_without_lease(case),
        Phase::InBake(bake) => baking(case, bake),
        Phase::GoingBack { .. } | Phase::Closed(_) => None,
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
                (None, true) => Some(unanswered(case)),
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

/// A hook died before it concluded: refused, or in `observe` and `advise` let through with a warning.
fn unanswered(case: &Case<'_>) -> Step {
    let mode = case.mode();
    if mode == Mode::Rollback {
        return refuse(case, Cause::NoEvidence, case.caller.trigger, "the hook ended without an answer");
    }
    let mut deployment = case.record.deployment.clone();
    let warning = Warning::HookUnanswered(case.restraint(mode));
    let text = warning.to_string();
    if !deployment.warn(warning) {
        return Step::Answer(BeforeAllowTraffic, Succeeded, text);
    }
    let line = TimelineEntry::new(case.now, EntryKind::Warning, text);
    Step::Record(Box::new(deployment), vec![Write::Entry(line)])
}

/// Refused: say it with the execution id, or stop the deployment where there is none.
fn refused(case: &Case<'_>, refusal: &Refusal) -> Step {
    match case.record.lease(BeforeAllowTraffic) {
        Some(lease) if lease.answered.is_none() => Step::Answer(BeforeAllowTraffic, Failed, refusal.why.clone()),
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
    case.record.deployment.identity.hooks.is_ours(event)
        && started_at.is_some_and(|at: Timestamp| case.now >= at + deadline + grace)
}

fn baking(case: &Case<'_>, bake: &Bake) -> Option<Step> {
    open_lease(case, AfterAllowTraffic)?;
    let deployment = &case.record.deployment;
    if let Some(request) = deployment.requests.last.as_ref().filter(|request| request.verb == Verb::Promote) {
        return Some(Step::Answer(
            AfterAllowTraffic,
            Succeeded,
            format!("{} ended the bake early: {}", request.who, request.why),
        ));
    }
    if case.now < bake.ends_at {
        return None;
    }
    let longest = deployment.identity.target.capabilities().holds_after_traffic.unwrap_or_default();
    let is_last_moment = case.now >= bake.started_at + longest;
    // While paused nothing is held, not even for a shared incident that began before.
    let may_wait = !is_last_moment && case.pause().is_none();
    if deployment.observation.incident.is_some_and(|incident| incident.is_open()) {
        return (!may_wait).then(|| pass_with(case, Uncertainty::IncidentIsOpen));
    }
    if deployment.red_in_incident().next().is_some() {
        return (!may_wait).then(|| at_deadline(case, Uncertainty::IncidentAlarmIsRed));
    }
    if !is_last_moment && waits_for_numbers(case, bake.ends_at) {
        return None;
    }
    if crate::plan::alarms_read_at(case).is_some_and(|at| at >= bake.ends_at)
        && deployment.observation.metrics_unreadable_since.is_none()
    {
        return end_of_bake(case, is_last_moment);
    }
    // Nobody could see until now: hold, at most as long as CodeDeploy waits. Without permission to act the end of the bake
    // is enough.
    let is_blind = deployment.blind_since().is_some();
    let may_hold = case.mode() == Mode::Rollback;
    match (is_blind || is_last_moment, may_hold, is_last_moment) {
        (true, true, true) | (true, false, _) => Some(at_deadline(case, Uncertainty::Unreadable)),
        (true, true, false) | (false, _, _) => None,
    }
}

/// The last buckets of the bake come a little later than its end; the watchdog, and a person, do not wait for them.
fn waits_for_numbers(case: &Case<'_>, bake_ends_at: Timestamp) -> bool {
    let is_late = case.now >= bake_ends_at + case.record.policy.judge.drain(case.record.policy.tick);
    let may_wait = !matches!(case.caller.trigger, Trigger::Watchdog | Trigger::Operator);
    may_wait
        && !is_late
        && case.record.policy.is_compared()
        && case.analysis.is_none_or(|judged| judged.until + case.record.policy.judge.bucket <= bake_ends_at)
}

/// Nothing is bad at the end of the bake. Was there enough to tell?
fn end_of_bake(case: &Case<'_>, is_last_moment: bool) -> Option<Step> {
    let policy = &case.record.policy;
    let well = "the bake is over and nothing is bad";
    let judged = valid_analysis(case);
    if !policy.is_compared() || judged.is_some_and(|judged| judged.is_conclusive) {
        return Some(pass(case, well));
    }
    let why = match judged {
        Some(_) => Uncertainty::TooLittleTraffic,
        None => Uncertainty::NotCompared,
    };
    // Nobody could look: that is not the silence of too little traffic. The watchdog is called because nobody looks any more.
    let may_hold = case.mode() == Mode::Rollback && case.caller.trigger != Trigger::Watchdog;
    if judged.is_none() && may_hold && policy.no_evidence.unreachable != WithoutEvidence::PassWithWarning {
        return is_last_moment.then(|| at_deadline(case, why));
    }
    // That evidence began anew after a shared incident is not the new version's fault: it passes with a warning.
    let was_shared = case.record.deployment.observation.incident.is_some();
    match (policy.no_evidence.silence, case.mode()) {
        (WithoutEvidence::Hold, Mode::Rollback) if !is_last_moment => None,
        (WithoutEvidence::Hold, Mode::Rollback) if !was_shared => Some(at_deadline(case, why)),
        (WithoutEvidence::Fail, Mode::Rollback) if !was_shared => {
            Some(decide(case, intent(case, Exposure::Bake, Cause::NoEvidence, &why.to_string())))
        }
        (WithoutEvidence::PassWithWarning | WithoutEvidence::Hold | WithoutEvidence::Fail, _) => {
            Some(pass_with(case, why))
        }
    }
}

fn at_deadline(case: &Case<'_>, why: Uncertainty) -> Step {
    if case.mode() == Mode::Rollback && case.record.policy.at_deadline == AtDeadline::Fail {
        return decide(case, intent(case, Exposure::Bake, Cause::NoEvidence, &why.to_string()));
    }
    pass_with(case, why)
}

/// Answers `Succeeded` with a warning on the record.
fn pass_with(case: &Case<'_>, why: Uncertainty) -> Step {
    let mut deployment = case.record.deployment.clone();
    let text = why.to_string();
    if !deployment.warn(Warning::BakeEnded(why)) {
        return pass(case, &text);
    }
    mark_passed(&mut deployment, case.now);
    Step::Record(Box::new(deployment), vec![Write::Entry(TimelineEntry::new(case.now, EntryKind::Warning, text))])
}

/// Answers `Succeeded`, after it was stored that nothing speaks against it: somebody may just have decided to go back.
fn pass(case: &Case<'_>, why: &str) -> Step {
    let passed_at = case.record.deployment.bake().and_then(|bake| bake.passed_at);
    let is_stored = passed_at.is_some_and(|at| case.now.since(at) < PASS_HOLDS);
    if is_stored {
        return Step::Answer(AfterAllowTraffic, Succeeded, why.to_owned());
    }
    let mut deployment = case.record.deployment.clone();
    mark_passed(&mut deployment, case.now);
    Step::Record(Box::new(deployment), Vec::new())
}

const fn mark_passed(deployment: &mut Deployment, now: Timestamp) {
    if let Phase::InBake(bake) = &mut deployment.phase {
        bake.passed_at = Some(now);
    }
}
