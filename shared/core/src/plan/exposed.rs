//! Customers use the new version: is it bad? Here a deployment is judged by alarm states.
//!
//! The comparison of canary and baseline has its place in [`verdict`], beside the alarms.

use super::{Case, EVENT_GOES_FIRST_TICKS, READ_ALARMS_EVERY_TICKS, Step, Write, decide, intent, tell};
use crate::alarm::{AlarmMeaning, AlarmReading, WatchedAlarm};
use crate::deployment::{Evidence, EvidenceKind};
use crate::lifecycle::Exposure;
use crate::notice::{NoticeKind, plain_notice};
use crate::policy::WithoutEvidence;
use crate::words::{Cause, Mode, Trigger};

pub(super) fn next(case: &Case<'_>) -> Option<Step> {
    let exposure = case.record.deployment.phase.exposure()?;
    if case.record.deployment.is_return {
        return None;
    }
    verdict(case, exposure).or_else(|| blind(case, exposure))
}

/// The worst thing that the alarms say now.
fn verdict(case: &Case<'_>, exposure: Exposure) -> Option<Step> {
    let deployment = &case.record.deployment;
    let mut bad: Vec<(&WatchedAlarm, &AlarmReading)> = deployment
        .alarms
        .iter()
        .filter_map(|alarm| Some((alarm, case.readings.list().iter().find(|reading| reading.name == alarm.name)?)))
        .filter(|(alarm, reading)| alarm.meaning(reading, deployment.shift_started_at) == AlarmMeaning::Bad)
        .filter(|(_, reading)| !waits_for_event(case, reading))
        .collect();
    bad.sort_by_key(|(alarm, reading)| (reading.since, alarm.signal));
    let mode_of = |alarm: &WatchedAlarm| case.record.policy.mode_of(alarm.signal);
    if let Some((alarm, reading)) = bad.iter().find(|(alarm, _)| mode_of(alarm) == Mode::Rollback) {
        let mut rollback = intent(case, exposure, alarm.signal.map_or(Cause::Errors, Cause::from), &said(reading));
        rollback.alarms = bad.iter().map(|(alarm, _)| alarm.name.clone()).collect();
        let start = deployment.shift_started_at.unwrap_or(reading.since);
        rollback.impact_started_at = Some(reading.oldest_breaching.unwrap_or(reading.since).max(start).min(case.now));
        rollback.impact_is_from_alarm = true;
        return Some(decide(case, rollback));
    }
    bad.first().and_then(|(alarm, reading)| only_said(case, alarm, reading))
}

/// The sweep lets a fresh transition to its event: two at once would only race. At the end of the bake there is no later:
/// what is red then must not be promoted.
fn waits_for_event(case: &Case<'_>, reading: &AlarmReading) -> bool {
    let bake_is_over = case.record.deployment.bake.is_some_and(|bake| case.now >= bake.ends_at);
    case.caller.trigger == Trigger::Sweep
        && !bake_is_over
        && case.now.since(reading.since) < case.record.policy.tick * EVENT_GOES_FIRST_TICKS
}

fn said(reading: &AlarmReading) -> String {
    format!("alarm {} went red: {}", reading.name, reading.reason)
}

/// Modes `observe` and `advise`: the verdict goes on the record, and in `advise` to people, once.
fn only_said(case: &Case<'_>, alarm: &WatchedAlarm, reading: &AlarmReading) -> Option<Step> {
    let mode = case.record.policy.mode_of(alarm.signal);
    let doubt = format!("mode {mode}, so not rolled back: alarm {} went red", alarm.name);
    let mut deployment = case.record.deployment.clone();
    if deployment.doubts.contains(&doubt) {
        return None;
    }
    deployment.doubt(&doubt);
    let line = Evidence::new(
        reading.since,
        EvidenceKind::Verdict,
        format!("would roll back (mode {mode}): {}", said(reading)),
    );
    let mut writes = vec![Write::Evidence(line)];
    if mode == Mode::Advise {
        let next = format!(
            "look at version {}; to go back now: snapback rollback {} --why …",
            deployment.target.canary, deployment.id
        );
        writes.extend(tell(case, plain_notice(NoticeKind::Advice, &deployment, &said(reading), &next, case.now)));
    }
    Some(Step::Record(Box::new(deployment), writes))
}

/// Nobody can see how customers fare: by policy hold and page, note it, or go back.
fn blind(case: &Case<'_>, exposure: Exposure) -> Option<Step> {
    let deployment = &case.record.deployment;
    let since = deployment.unreadable_since?;
    if case.now.since(since) < case.record.policy.tick * READ_ALARMS_EVERY_TICKS {
        return None;
    }
    let what = format!("the alarms cannot be read since {since}");
    let policy = &case.record.policy;
    match (policy.no_evidence.unreachable, policy.mode) {
        (WithoutEvidence::Fail, Mode::Rollback) => Some(decide(case, intent(case, exposure, Cause::NoEvidence, &what))),
        (WithoutEvidence::Hold, Mode::Rollback) if !deployment.was_held => {
            let mut held = deployment.clone();
            held.was_held = true;
            let next = "look at the service yourself. Snapback neither promotes nor rolls back until it can see; its dead-man \
                        alarm lets CodeDeploy act on the raw metrics. See that the watcher's role may call DescribeAlarms.";
            let mut writes =
                vec![Write::Evidence(Evidence::new(case.now, EvidenceKind::Verdict, format!("hold: {what}")))];
            writes.extend(tell(case, plain_notice(NoticeKind::Held, &held, &what, next, case.now)));
            Some(Step::Record(Box::new(held), writes))
        }
        (WithoutEvidence::Hold, Mode::Rollback) => None,
        (WithoutEvidence::PassWithWarning, _) | (_, Mode::Observe | Mode::Advise) => {
            let mut doubted = deployment.clone();
            doubted.doubt(&what);
            let line = Evidence::new(case.now, EvidenceKind::Warning, what);
            (doubted != *deployment).then(|| Step::Record(Box::new(doubted), vec![Write::Evidence(line)]))
        }
    }
}
