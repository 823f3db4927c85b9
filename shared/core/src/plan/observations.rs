//! Takes over what is seen into the record: pauses, phase, weights, alarms. Decides nothing.

use super::{Case, Readings, Step, Write};
use crate::Timestamp;
use crate::alarm::{AlarmMeaning, AlarmState};
use crate::deployment::{Deployment, MAX_WEIGHTS};
use crate::lifecycle::{Event, Phase};
use crate::metrics::MetricTarget;
use crate::observed::Observed;
use crate::pause::Pause;
use crate::record::Record;
use crate::timeline::{EntryKind, TimelineEntry};
use crate::vocabulary::{LifecycleEvent, Signal};
use crate::warning::{MissingMetric, Warning};
use snapback_judge::result::AnalysisResult;
use snapback_judge::series::SourceId;

/// The record with everything new in it, if there is anything new.
pub(super) fn take_in(case: &Case<'_>) -> Option<Step> {
    let before = &case.record.deployment;
    let mut deployment = before.clone();
    let mut writes = Vec::new();
    take_pause(case, &mut deployment, &mut writes);
    take_shift(case, &mut deployment, &mut writes);
    take_weight(case.observed, &mut deployment, case.now);
    // The platform rolled back by itself: what the alarms show must be compared with what they showed before.
    if !case.observed.deployment.status.is_over() {
        take_readings(case, &mut deployment, &mut writes);
        take_numbers(case, &mut deployment, &mut writes);
    }
    take_bake(case, &mut deployment, &mut writes);
    // That nothing has changed since is no news: it would cost a write for every deployment and minute. But the first reading
    // after the bake must be remembered until the last numbers are there.
    if case.record.policy.is_compared()
        && let Some(ends_at) = deployment.bake().map(|bake| bake.ends_at)
        && before.observation.alarms_read_at < Some(ends_at)
        && deployment.observation.alarms_read_at >= Some(ends_at)
    {
        return Some(Step::Record(Box::new(deployment), writes));
    }
    let mut unchanged = before.clone();
    unchanged.observation.alarms_read_at = deployment.observation.alarms_read_at;
    (deployment != unchanged).then(|| Step::Record(Box::new(deployment), writes))
}

/// A pause began or ended: who said so and why goes on the record, once each.
fn take_pause(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    let now = case.pause();
    let began_at = now.map(|pause| pause.began.at);
    let before = std::mem::replace(&mut deployment.requests.paused_at, began_at);
    if before == began_at {
        return;
    }
    if let Some(before) = before {
        let is_that = |pause: &&Pause| pause.began.at == before && pause.scope.covers(Some(&deployment.identity.group));
        let ended = case.pauses.iter().filter(is_that).find_map(|pause| pause.ended.as_ref());
        let (at, text) = match ended {
            Some(attribution) => (attribution.at, format!("{} resumed: {}", attribution.who, attribution.why)),
            None => (case.now, "the pause is over".to_owned()),
        };
        writes.push(Write::Entry(TimelineEntry::new(at, EntryKind::Pause, text)));
    }
    if let Some(Pause { scope, began, .. }) = now {
        let text = format!("{} paused {}: {}", began.who, scope.words(), began.why);
        let line = TimelineEntry::new(began.at.max(deployment.identity.registered_at), EntryKind::Pause, text);
        writes.push(Write::Entry(line.with("who", &began.who).with("scope", scope)));
    }
}

/// Whether the numbers of the versions can be read.
fn take_numbers(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    for warning in case.analysis.iter().flat_map(|judged| number_warnings(judged, case.record)) {
        let line = TimelineEntry::new(case.now, EntryKind::Warning, warning.to_string());
        if deployment.warn(warning) {
            writes.push(Write::Entry(line));
        }
    }
    for note in case.analysis.iter().flat_map(|judged| &judged.notes) {
        if !deployment.observation.notes.contains(note) {
            deployment.observation.notes.push(*note);
            writes.push(Write::Entry(TimelineEntry::new(case.now, EntryKind::Warning, note.sentence())));
        }
    }
    match case.analysis.map(|judged| &judged.unreadable) {
        Some(Some(why)) if deployment.observation.metrics_unreadable_since.is_none() => {
            deployment.observation.metrics_unreadable_since = Some(case.now);
            let text = format!("the numbers of the versions cannot be read: {why}");
            writes.push(Write::Entry(TimelineEntry::new(case.now, EntryKind::Warning, text)));
        }
        Some(None) => deployment.observation.metrics_unreadable_since = None,
        Some(Some(_)) | None => {}
    }
}

/// What the comparison says of its own numbers.
fn number_warnings(judged: &AnalysisResult, record: &Record) -> Vec<Warning> {
    let target = MetricTarget::of(record);
    let no_data = judged.missing.iter().filter_map(|source| {
        let metric = target.source(*source)?.to_string();
        let signal = match source {
            SourceId::Requests | SourceId::Errors => Signal::Errors,
            SourceId::Latency => Signal::Latency,
            SourceId::Transactions => Signal::Transactions,
            SourceId::Front => return Some(Warning::NoWitness(metric)),
            // Nobody may have called the neighbours.
            SourceId::Peer(_) | SourceId::Pipeline => return None,
        };
        Some(Warning::NoData(MissingMetric { signal, metric }))
    });
    judged.is_restarted.then_some(Warning::JudgedAnew).into_iter().chain(no_data).collect()
}

/// Traffic started: alarms that are red by now were red before the version had any customer.
fn take_shift(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    let Some(started_at) = case.observed.shift_started_at() else {
        return;
    };
    if deployment.observation.shift_started_at.is_none() {
        deployment.observation.shift_started_at = Some(started_at);
        let is_late = deployment.identity.registered_at > started_at;
        for alarm in &mut deployment.observation.alarms {
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
        let text = format!("version {} gets traffic", deployment.identity.target.canary());
        writes.push(Write::Entry(TimelineEntry::new(started_at, EntryKind::Phase, text)));
    }
}

fn take_weight(observed: &Observed, deployment: &mut Deployment, now: Timestamp) {
    let Some(traffic) = &observed.traffic else { return };
    let share = traffic.share_of(deployment.identity.target.canary());
    let is_new = deployment.observation.weights.last().is_none_or(|(_, last)| (last - share).abs() > 1e-6);
    if is_new && deployment.observation.weights.len() < MAX_WEIGHTS {
        deployment.observation.weights.push((now, share));
    }
}

fn take_readings(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    let shift_started_at = deployment.observation.shift_started_at;
    for reading in case.readings.list() {
        let Some(alarm) = deployment.observation.alarms.iter_mut().find(|alarm| alarm.name == reading.name) else {
            continue;
        };
        let was = alarm.last;
        // An event that comes late tells of an alarm that was red before the version had any customer.
        let was_red_before =
            reading.state == AlarmState::Alarm && shift_started_at.is_some_and(|start| reading.since <= start);
        // It says nothing about an alarm that is known to have gone red again since.
        let is_red_again = was.is_some_and(|(state, since)| state == AlarmState::Alarm && since > reading.since);
        alarm.is_exempt |= was_red_before && !is_red_again;
        let was_early = alarm.is_early;
        alarm.is_early = alarm.meaning(reading, shift_started_at, case.now) == AlarmMeaning::NotYet;
        if alarm.is_early && !was_early {
            let text = format!(
                "alarm {} went red by data from before the shift, so it does not count yet; it is looked at again each tick",
                reading.name
            );
            writes.push(Write::Entry(TimelineEntry::new(case.now, EntryKind::Verdict, text)));
        }
        if alarm.observe(reading, case.now) && was != alarm.last {
            let source = match case.readings {
                Readings::Event { source, .. } => source.clone(),
                Readings::None | Readings::All(..) | Readings::Failed(_) => {
                    format!("{}@{}", reading.name, reading.since.ms())
                }
            };
            let text = format!("alarm {} is {}: {}", reading.name, reading.state, reading.reason);
            writes.push(Write::Entry(
                TimelineEntry::new(reading.since, EntryKind::Alarm, text)
                    .from_source(source)
                    .with("state", reading.state),
            ));
        }
    }
    match case.readings {
        Readings::All(_, at) => {
            deployment.observation.alarms_read_at = Some(*at);
            deployment.observation.alarms_unreadable_since = None;
        }
        Readings::Failed(_) if deployment.observation.alarms_unreadable_since.is_none() => {
            deployment.observation.alarms_unreadable_since = Some(case.now)
        }
        Readings::None | Readings::Event { .. } | Readings::Failed(_) => {}
    }
}

/// The lease of the last hook exists: the bake has begun, whoever wrote the lease.
fn take_bake(case: &Case<'_>, deployment: &mut Deployment, writes: &mut Vec<Write>) {
    let Some(lease) = case.record.lease(LifecycleEvent::AfterAllowTraffic) else {
        return;
    };
    let is_new = matches!(deployment.phase, Phase::BeforeTraffic | Phase::InShift(_));
    if !is_new || lease.answered.is_some() || deployment.is_return() || case.observed.deployment.status.is_over() {
        return;
    }
    // A watchdog may have written the lease minutes later; the platform counts from the start of the event.
    let at = case.observed.after_started_at().unwrap_or(lease.taken_at).min(lease.taken_at);
    let ends_at = at + case.record.policy.bake;
    if let Ok(phase) = deployment.phase.next(Event::BakeStarted { at, ends_at }) {
        deployment.phase = phase;
        let text = format!("version {} has all traffic; bake until {ends_at}", deployment.identity.target.canary());
        writes.push(Write::Entry(TimelineEntry::new(at, EntryKind::Phase, text)));
    }
}
