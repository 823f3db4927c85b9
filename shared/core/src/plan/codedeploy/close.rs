//! CodeDeploy says that the deployment is over, and no rollback of ours is on record.

use super::send_back_command;
use crate::alarm::{AlarmMeaning, AlarmReading, AlarmState, WatchedAlarm};
use crate::lifecycle::{Blame, Ending, Exposure};
use crate::notice::{NoticeKind, plain_notice};
use crate::observed::DeploymentStatus;
use crate::plan::{Case, Readings, Step, Write, decide, end, intent, tell};
use crate::vocabulary::{Cause, Trigger};
use crate::warning::Warning;
use std::time::Duration;

/// The cause of a rollback that somebody else began may wait this long for alarms that cannot be read.
const WAIT_FOR_ALARMS: Duration = Duration::from_secs(60);

pub(in crate::plan) fn next(case: &Case<'_>) -> Option<Step> {
    match &case.observed.deployment.status {
        DeploymentStatus::Running | DeploymentStatus::Unknown(_) => None,
        DeploymentStatus::Succeeded => Some(succeeded(case)),
        DeploymentStatus::Failed | DeploymentStatus::Stopped => {
            Some(match (&case.observed.target, case.observed.shift_started_at()) {
                // Whether customers saw the version is not readable now; the next look decides.
                (None, _) => Step::Rest,
                (Some(_), None) => ended_before_traffic(case),
                (Some(_), Some(_)) => ended_with_traffic(case),
            })
        }
    }
}

fn succeeded(case: &Case<'_>) -> Step {
    let deployment = &case.record.deployment;
    // Succeeded in spite of a refusal: somebody else answered. That is no promotion of ours.
    let ending = if deployment.was_held || deployment.refusal().is_some() {
        Ending::Held(None)
    } else if !deployment.warnings.iter().any(Warning::leaves_doubt) {
        Ending::Promoted
    } else {
        Ending::Inconclusive
    };
    end(case, deployment.clone(), ending, Vec::new())
}

fn ended_before_traffic(case: &Case<'_>) -> Step {
    let deployment = &case.record.deployment;
    let facts = &case.observed.deployment;
    let refusal = match deployment.refusal() {
        Some(refusal) => Some((refusal.blame, refusal.why.clone())),
        None if facts.was_stopped_by_alarm() || facts.status == DeploymentStatus::Failed => {
            let why =
                facts.end_reason.as_ref().map_or("CodeDeploy gave no reason", |reason| &reason.message).to_owned();
            Some((Blame { cause: Cause::NoEvidence, trigger: Trigger::Platform }, why))
        }
        None => None,
    };
    match refusal {
        None => end(case, deployment.clone(), Ending::Stopped, Vec::new()),
        Some((blame, why)) => {
            let next = format!(
                "no customer saw version {}; version {} serves all traffic. Fix what is named above and deploy again.",
                deployment.identity.target.canary(),
                deployment.identity.target.baseline()
            );
            let what = format!("refused before traffic ({}, by {}): {why}", blame.cause, blame.trigger);
            let notice = plain_notice(NoticeKind::Refusal, deployment, &what, &next, case.now);
            let writes = tell(case, notice).into_iter().collect();
            end(case, deployment.clone(), Ending::Refused(blame), writes)
        }
    }
}

fn ended_with_traffic(case: &Case<'_>) -> Step {
    let facts = &case.observed.deployment;
    if facts.rollback_deployment.is_some() {
        return foreign_rollback(case);
    }
    let expects_rollback = facts.auto_rollback.unwrap_or(case.record.deployment.identity.auto_rollback);
    let comes = match facts.status {
        DeploymentStatus::Failed => expects_rollback.on_failure,
        DeploymentStatus::Stopped if facts.was_stopped_by_alarm() => expects_rollback.on_alarm,
        DeploymentStatus::Stopped => expects_rollback.on_request,
        DeploymentStatus::Running | DeploymentStatus::Succeeded | DeploymentStatus::Unknown(_) => false,
    };
    let expect_within = case.way_back(exposure(case)).expect_within();
    let is_recent = case.now.since(facts.completed_at.unwrap_or(case.now)) < expect_within;
    // A person who stops without rollback on a group that rolls back on request is waited for, too: the rollback
    // deployment may still appear. The alias, back on the old version alone, ends the waiting.
    let deployment = &case.record.deployment;
    let is_back =
        case.observed.traffic.as_ref().is_some_and(|alias| alias.is_only(deployment.identity.target.baseline()));
    if comes && is_recent && !is_back {
        return Step::Rest;
    }
    let mut writes: Vec<Write> = Vec::new();
    if !is_back {
        let target = &deployment.identity.target;
        let what =
            format!("the deployment was ended without a rollback; version {} may still get traffic", target.canary());
        let next = format!(
            "decide which version serves: {} sends all traffic to the old one. Deployments of this group fail until all traffic \
             goes to one version again.",
            send_back_command(target)
        );
        writes.extend(tell(case, plain_notice(NoticeKind::Stopped, deployment, &what, &next, case.now)));
    }
    end(case, deployment.clone(), Ending::Stopped, writes)
}

/// Where customers used the new version when CodeDeploy ended the deployment.
fn exposure(case: &Case<'_>) -> Exposure {
    if case.observed.after_started_at().is_some() { Exposure::Bake } else { Exposure::Shift }
}

/// CodeDeploy, or somebody through it, rolled back without us: it is recorded like one of ours.
fn foreign_rollback(case: &Case<'_>) -> Step {
    let facts = &case.observed.deployment;
    let ended_at = facts.completed_at.unwrap_or(case.now);
    match case.readings {
        Readings::None | Readings::Event { .. } => return Step::ReadAlarms,
        // The cause can wait a minute for alarms that cannot be read just now.
        Readings::Failed(_) if case.now.since(ended_at) < WAIT_FOR_ALARMS => {
            return Step::Rest;
        }
        Readings::Failed(_) | Readings::All(..) => {}
    }
    let blamed = blamed_alarm(case);
    let cause = match blamed {
        Some((alarm, _)) => alarm.signal.map_or(Cause::Errors, Cause::from),
        None => Cause::NoEvidence,
    };
    let message = facts.end_reason.as_ref().map_or("CodeDeploy gave no reason", |reason| &reason.message);
    let why = match blamed {
        Some((alarm, Some(reading))) => {
            format!("alarm {} is {}: {}; {message}", alarm.name, reading.state, reading.reason)
        }
        Some((alarm, None)) => format!("alarm {} changed its state; {message}", alarm.name),
        None => message.to_owned(),
    };
    let mut rollback = intent(case, exposure(case), cause, &why);
    let is_manual = facts.status == DeploymentStatus::Stopped && !facts.was_stopped_by_alarm();
    rollback.trigger = if is_manual { Trigger::Operator } else { Trigger::Platform };
    rollback.detected_at = ended_at;
    rollback.requested_at = Some(ended_at);
    rollback.rollback_deployment.clone_from(&facts.rollback_deployment);
    if let Some((alarm, reading)) = blamed {
        rollback.alarms = vec![alarm.name.clone()];
        rollback.impact_started_at = reading
            .and_then(AlarmReading::oldest_breaching)
            .map(|at| at.max(case.observed.shift_started_at().unwrap_or(at)).min(ended_at));
        rollback.impact_is_from_alarm = rollback.impact_started_at.is_some();
    }
    decide(case, rollback)
}

/// The alarm that explains a rollback of somebody else: one that is red, or one that changed since the shift began.
fn blamed_alarm<'a>(case: &Case<'a>) -> Option<(&'a WatchedAlarm, Option<&'a AlarmReading>)> {
    let shift = case.observed.shift_started_at()?;
    let readings = case.readings.list();
    let reading_of = |alarm: &WatchedAlarm| readings.iter().find(|reading| reading.name == alarm.name);
    let alarms = &case.record.deployment.observation.alarms;
    let red = alarms.iter().find_map(|alarm| {
        let reading = reading_of(alarm)?;
        (alarm.meaning(reading, Some(shift), case.now) == AlarmMeaning::Bad).then_some((alarm, Some(reading)))
    });
    let changed = || {
        alarms.iter().find_map(|alarm| {
            let (state, since) = alarm.last?;
            let was_red = state == AlarmState::Alarm && since > shift && !alarm.is_exempt;
            let reading = reading_of(alarm);
            let has_changed = state == AlarmState::Ok && reading.is_some_and(|now| now.since > shift);
            (was_red || has_changed).then_some((alarm, None))
        })
    };
    red.or_else(changed)
}
