//! CodeDeploy says that the deployment is over, and no rollback of ours is on record.

use super::{Case, Readings, Step, Write, decide, end, intent, tell};
use crate::alarm::{AlarmMeaning, AlarmReading, AlarmState, WatchedAlarm};
use crate::lifecycle::Exposure;
use crate::notice::{NoticeKind, plain_notice};
use crate::observed::DeploymentStatus;
use crate::rollback::EXPECT_ROLLBACK_WITHIN;
use crate::words::{Cause, Outcome, Trigger};

pub(super) fn next(case: &Case<'_>) -> Option<Step> {
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
    let outcome = if deployment.was_held || deployment.refusal.is_some() {
        Outcome::Held
    } else if deployment.doubts.is_empty() {
        Outcome::Promoted
    } else {
        Outcome::Inconclusive
    };
    end(case, deployment.clone(), outcome, None, Vec::new())
}

fn ended_before_traffic(case: &Case<'_>) -> Step {
    let deployment = &case.record.deployment;
    let facts = &case.observed.deployment;
    let refusal = match &deployment.refusal {
        Some(refusal) => Some((refusal.cause, refusal.trigger, refusal.why.clone())),
        None if facts.was_stopped_by_alarm() || facts.status == DeploymentStatus::Failed => {
            let why = facts.error.as_ref().map_or("CodeDeploy gave no reason", |(_, message)| message).to_owned();
            Some((Cause::NoEvidence, Trigger::CodeDeploy, why))
        }
        None => None,
    };
    match refusal {
        None => end(case, deployment.clone(), Outcome::Stopped, None, Vec::new()),
        Some((cause, trigger, why)) => {
            let next = format!(
                "no customer saw version {}; version {} serves all traffic. Fix what is named above and deploy again.",
                deployment.target.canary, deployment.target.baseline
            );
            let what = format!("refused before traffic ({cause}, by {trigger}): {why}");
            let notice = plain_notice(NoticeKind::Refusal, deployment, &what, &next, case.now);
            let writes = tell(case, notice).into_iter().collect();
            end(case, deployment.clone(), Outcome::RefusedBeforeTraffic, Some((cause, trigger)), writes)
        }
    }
}

fn ended_with_traffic(case: &Case<'_>) -> Step {
    let facts = &case.observed.deployment;
    if facts.rollback_deployment.is_some() {
        return foreign_rollback(case);
    }
    let expects_rollback = facts.auto_rollback.unwrap_or(case.record.deployment.auto_rollback);
    let comes = match facts.status {
        DeploymentStatus::Failed => expects_rollback.on_failure,
        DeploymentStatus::Stopped if facts.was_stopped_by_alarm() => expects_rollback.on_alarm,
        DeploymentStatus::Stopped => expects_rollback.on_request,
        DeploymentStatus::Running | DeploymentStatus::Succeeded | DeploymentStatus::Unknown(_) => false,
    };
    let is_recent = case.now.since(facts.completed_at.unwrap_or(case.now)) < EXPECT_ROLLBACK_WITHIN;
    // A person who stops without rollback on a group that rolls back on request is waited for, too: the rollback
    // deployment may still appear. The alias, back on the old version alone, ends the waiting.
    let deployment = &case.record.deployment;
    let is_back = case.observed.alias.as_ref().is_some_and(|alias| alias.is_only(&deployment.target.baseline));
    if comes && is_recent && !is_back {
        return Step::Rest;
    }
    let mut writes: Vec<Write> = Vec::new();
    if !is_back {
        let target = &deployment.target;
        let what =
            format!("the deployment was ended without a rollback; version {} may still get traffic", target.canary);
        let next = format!(
            "decide which version serves: aws lambda update-alias --function-name {} --name {} --function-version {} \
             --routing-config AdditionalVersionWeights={{}} sends all traffic to the old one. Deployments of this group fail \
             until the alias has one version again.",
            target.name, target.alias, target.baseline
        );
        writes.extend(tell(case, plain_notice(NoticeKind::Stopped, deployment, &what, &next, case.now)));
    }
    end(case, deployment.clone(), Outcome::Stopped, None, writes)
}

/// CodeDeploy, or somebody through it, rolled back without us: it is recorded like one of ours.
fn foreign_rollback(case: &Case<'_>) -> Step {
    let facts = &case.observed.deployment;
    let ended_at = facts.completed_at.unwrap_or(case.now);
    match case.readings {
        Readings::None | Readings::Event { .. } => return Step::ReadAlarms,
        // The cause can wait a minute for alarms that cannot be read just now.
        Readings::Failed(_) if case.now.since(ended_at) < EXPECT_ROLLBACK_WITHIN => {
            return Step::Rest;
        }
        Readings::Failed(_) | Readings::All(..) => {}
    }
    let exposure = if case.observed.after_started_at().is_some() { Exposure::Bake } else { Exposure::Shift };
    let blamed = blamed_alarm(case);
    let cause = match blamed {
        Some((alarm, _)) => alarm.signal.map_or(Cause::Errors, Cause::from),
        None => Cause::NoEvidence,
    };
    let message = facts.error.as_ref().map_or("CodeDeploy gave no reason", |(_, message)| message);
    let why = match blamed {
        Some((alarm, Some(reading))) => {
            format!("alarm {} is {}: {}; {message}", alarm.name, reading.state, reading.reason)
        }
        Some((alarm, None)) => format!("alarm {} changed its state; {message}", alarm.name),
        None => message.to_owned(),
    };
    let mut rollback = intent(case, exposure, cause, &why);
    let is_manual = facts.status == DeploymentStatus::Stopped && !facts.was_stopped_by_alarm();
    rollback.trigger = if is_manual { Trigger::Operator } else { Trigger::CodeDeploy };
    rollback.detected_at = ended_at;
    rollback.requested_at = Some(ended_at);
    rollback.rollback_deployment.clone_from(&facts.rollback_deployment);
    if let Some((alarm, reading)) = blamed {
        rollback.alarms = vec![alarm.name.clone()];
        rollback.impact_started_at = reading
            .and_then(|reading| reading.oldest_breaching)
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
    let alarms = &case.record.deployment.alarms;
    let red = alarms.iter().find_map(|alarm| {
        let reading = reading_of(alarm)?;
        (alarm.meaning(reading, Some(shift)) == AlarmMeaning::Bad).then_some((alarm, Some(reading)))
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
