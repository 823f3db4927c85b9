//! Takes over what is seen into the record: pauses, phase, weights, alarms. Decides nothing.

use super::{Case, Readings, Step, Write};
use crate::alarm::AlarmState;
use crate::deployment::{Bake, Deployment, Evidence, EvidenceKind, MAX_WEIGHTS};
use crate::lifecycle::{Event, Phase};
use crate::observed::Observed;
use crate::pause::Pause;
use crate::time::Timestamp;
use crate::words::LifecycleEvent;

/// The record with everything new in it, if there is anything new.
pub(super) fn take_in(case: &Case<'_>) -> Option<Step> {
    let before = &case.record.deployment;
    let mut deployment = before.clone();
    let mut writes = Vec::new();
    take_pause(case, &mut deployment, &mut writes);
    take_shift(case, &mut deployment, &mut writes);
    take_weight(case.observed, &mut deployment, case.now);
    // CodeDeploy rolled back by itself: what the alarms show must be compared with what they showed before.
    if !case.observed.deployment.status.is_over() {
        take_readings(case, &mut deployment, &mut writes);
        take_numbers(case, &mut deployment, &mut writes);
    }
    take_bake(case, &mut deployment, &mut writes);
    // That nothing has changed since is no news: it would cost a write for every deployment and minute. But the first reading
    // after the bake must be remembered until the last numbers are there.
    if case.record.policy.is_compared()
        && let Some(ends_at) = deployment.bake.map(|bake| bake.ends_at)
        && before.alarms_read_at < Some(ends_at)
        && deployment.alarms_read_at >= Some(ends_at)
    {
        return Some(Step::Record(Box::new(deployment), writes));
    }
    let unchanged = Deployment { alarms_read_at: deployment.alarms_read_at, ..before.clone() };
    (deployment != unchanged).then(|| Step::Record(Box::new(deployment), writes))
}

/// A pause began or ended: who said so and why goes on the record, once each.
fn take_pause(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    let now = case.pause();
    let began_at = now.map(|pause| pause.began.at);
    let before = std::mem::replace(&mut deployment.paused_at, began_at);
    if before == began_at {
        return;
    }
    if let Some(before) = before {
        let is_that = |pause: &&Pause| pause.began.at == before && pause.scope.covers(Some(&deployment.group));
        let ended = case.pauses.iter().filter(is_that).find_map(|pause| pause.ended.as_ref());
        let (at, text) = match ended {
            Some(said) => (said.at, format!("{} resumed: {}", said.who, said.why)),
            None => (case.now, "the pause is over".to_owned()),
        };
        writes.push(Write::Evidence(Evidence::new(at, EvidenceKind::Pause, text)));
    }
    if let Some(Pause { scope, began, .. }) = now {
        let text = format!("{} paused {}: {}", began.who, scope.words(), began.why);
        let line = Evidence::new(began.at.max(deployment.registered_at), EvidenceKind::Pause, text);
        writes.push(Write::Evidence(line.with("who", &began.who).with("scope", scope)));
    }
}

/// Whether the numbers of the versions can be read.
fn take_numbers(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    for line in case.judged.iter().flat_map(|judged| &judged.missing) {
        if !deployment.doubts.contains(line) {
            deployment.doubt(line);
            writes.push(Write::Evidence(Evidence::new(case.now, EvidenceKind::Warning, line.clone())));
        }
    }
    match case.judged.map(|judged| &judged.unreadable) {
        Some(Some(why)) if deployment.metrics_unreadable_since.is_none() => {
            deployment.metrics_unreadable_since = Some(case.now);
            let text = format!("the numbers of the versions cannot be read: {why}");
            writes.push(Write::Evidence(Evidence::new(case.now, EvidenceKind::Warning, text)));
        }
        Some(None) => deployment.metrics_unreadable_since = None,
        Some(Some(_)) | None => {}
    }
}

/// Traffic started: alarms that are red by now were red before the version had any customer.
fn take_shift(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    let Some(started_at) = case.observed.shift_started_at() else {
        return;
    };
    if deployment.shift_started_at.is_none() {
        deployment.shift_started_at = Some(started_at);
        let is_late = deployment.registered_at > started_at;
        for alarm in &mut deployment.alarms {
            let red_since = alarm.last.filter(|(state, _)| *state == AlarmState::Alarm).map(|(_, since)| since);
            alarm.is_exempt |= red_since.is_some_and(|since| since <= started_at);
            // The snapshot of a deployment that was found late may show what its new version did.
            if is_late && red_since.is_some_and(|since| since > started_at) {
                alarm.is_exempt = false;
            }
        }
    }
    if let Ok(phase) = deployment.phase.next(Event::TrafficStarted)
        && phase != deployment.phase
        && !case.observed.deployment.status.is_over()
    {
        deployment.phase = phase;
        let text = format!("version {} gets traffic", deployment.target.canary);
        writes.push(Write::Evidence(Evidence::new(started_at, EvidenceKind::Phase, text)));
    }
}

fn take_weight(observed: &Observed, deployment: &mut Deployment, now: Timestamp) {
    let Some(alias) = &observed.alias else { return };
    let share = alias.share_of(&deployment.target.canary);
    let is_new = deployment.weights.last().is_none_or(|(_, last)| (last - share).abs() > 1e-6);
    if is_new && deployment.weights.len() < MAX_WEIGHTS {
        deployment.weights.push((now, share));
    }
}

fn take_readings(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    let shift_started_at = deployment.shift_started_at;
    for reading in case.readings.list() {
        let Some(alarm) = deployment.alarms.iter_mut().find(|alarm| alarm.name == reading.name) else {
            continue;
        };
        let was = alarm.last;
        // An event that comes late tells of an alarm that was red before the version had any customer.
        let was_red_before =
            reading.state == AlarmState::Alarm && shift_started_at.is_some_and(|start| reading.since <= start);
        // It says nothing about an alarm that is known to have gone red again since.
        let is_red_again = was.is_some_and(|(state, since)| state == AlarmState::Alarm && since > reading.since);
        alarm.is_exempt |= was_red_before && !is_red_again;
        if alarm.observe(reading, case.now) && was != alarm.last {
            let source = match case.readings {
                Readings::Event { source, .. } => source.clone(),
                Readings::None | Readings::All(..) | Readings::Failed(_) => {
                    format!("{}@{}", reading.name, reading.since.ms())
                }
            };
            let text = format!("alarm {} is {}: {}", reading.name, reading.state, reading.reason);
            writes.push(Write::Evidence(
                Evidence::new(reading.since, EvidenceKind::Alarm, text)
                    .from_source(source)
                    .with("state", reading.state),
            ));
        }
    }
    match case.readings {
        Readings::All(_, at) => {
            deployment.alarms_read_at = Some(*at);
            deployment.unreadable_since = None;
        }
        Readings::Failed(_) if deployment.unreadable_since.is_none() => deployment.unreadable_since = Some(case.now),
        Readings::None | Readings::Event { .. } | Readings::Failed(_) => {}
    }
}

/// The lease of the last hook exists: the bake has begun, whoever wrote the lease.
fn take_bake(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    let Some(lease) = case.record.lease(LifecycleEvent::AfterAllowTraffic) else {
        return;
    };
    let is_new = deployment.bake.is_none() && matches!(deployment.phase, Phase::BeforeTraffic | Phase::InShift);
    if !is_new || lease.answered.is_some() || deployment.is_return || case.observed.deployment.status.is_over() {
        return;
    }
    if let Ok(phase) = deployment.phase.next(Event::BakeStarted) {
        deployment.phase = phase;
        // A watchdog may have written the lease minutes later; CodeDeploy counts from the start of the event.
        let started_at = case.observed.after_started_at().unwrap_or(lease.taken_at).min(lease.taken_at);
        let bake = Bake { started_at, ends_at: started_at + case.record.policy.bake };
        deployment.bake = Some(bake);
        let text = format!("version {} has all traffic; bake until {}", deployment.target.canary, bake.ends_at);
        writes.push(Write::Evidence(Evidence::new(bake.started_at, EvidenceKind::Phase, text)));
    }
}
