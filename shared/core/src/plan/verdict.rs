//! Customers use the new version: is it bad? Alarms, the comparison of canary and baseline and the objective are findings;
//! whether a finding leads back depends on what else is degraded.
//!
//! - Pairs of probes fail on the new version alone, on several of its environments: go back, whatever else happens. They are control
//!   probes, asked every second.
//! - In the shift, compared in the same minutes: the new version is worse, whatever else happens. Go back.
//! - In the shift otherwise: read the numbers of both versions. Both are degraded: hold and page. Else go back if the finding is sufficient.
//! - At 100 %: ask control probes of both versions. Both fail: hold and page. Only the new one fails: go back. The new one passes,
//!   or there are none: go back if the finding is sufficient. (A probe of something new fails on the old version alone: it says
//!   nothing.)
//! - A count that several functions share (an API stage, a load balancer) is never sufficient alone: it blames the new version only
//!   together with its own numbers or a control probe, and control probes that pass on both versions overrule it. Where nothing is
//!   compared and no probe reaches a version, nobody knows better, and it counts like any other.

use super::{
    Case, EVENT_GOES_FIRST_TICKS, READ_ALARMS_EVERY_TICKS, Readings, Step, Write, decide, intent, tell, valid_analysis,
};
use crate::alarm::{AlarmMeaning, AlarmReading, AlarmState, WatchedAlarm};
use crate::deployment::{Deployment, Incident};
use crate::finding::{Control, Finding};
use crate::id::AlarmName;
use crate::lifecycle::Exposure;
use crate::notice::{NoticeKind, plain_notice};
use crate::policy::{ProbeKind, WithoutEvidence};
use crate::timeline::{EntryKind, TimelineEntry};
use crate::vocabulary::{Cause, Mode, Signal, Trigger};
use crate::warning::{Suspicion, Warning};
use snapback_judge::degradation::Degradation;

pub(super) fn next(case: &Case<'_>) -> Option<Step> {
    let exposure = case.record.deployment.phase.exposure()?;
    if case.record.deployment.is_return() {
        return None;
    }
    let step = match case.record.deployment.observation.incident.filter(Incident::is_open) {
        Some(incident) => in_incident(case, exposure, incident),
        None => verdict(case, exposure),
    };
    step.or_else(|| blind(case, exposure))
}

/// The worst thing that is known now.
fn verdict(case: &Case<'_>, exposure: Exposure) -> Option<Step> {
    if needs_all_alarms(case) {
        return Some(Step::ReadAlarms);
    }
    let findings = findings(case);
    let may_act = |finding: &&Finding| case.mode_of(finding.signal) == Mode::Rollback;
    let acted = findings.iter().filter(may_act).find_map(|finding| act_on(case, exposure, finding));
    acted.or_else(|| findings.iter().filter(|finding| !may_act(finding)).find_map(|finding| say_or_note(case, finding)))
}

/// What is said where nothing may be done: a count that several functions share would not roll back alone either.
fn say_or_note(case: &Case<'_>, finding: &Finding) -> Option<Step> {
    if finding.is_shared && knows_own_numbers(case) { shared_noted(case, finding) } else { only_said(case, finding) }
}

/// An event does not tell how many datapoints turn its alarm red: whether those from before the shift did, only reading it tells.
fn needs_all_alarms(case: &Case<'_>) -> bool {
    let observation = &case.record.deployment.observation;
    let Readings::Event { reading, .. } = case.readings else { return false };
    observation.shift_started_at.is_some_and(|start| {
        let is_bad = |alarm: &WatchedAlarm| alarm.meaning(reading, Some(start), case.now) == AlarmMeaning::Bad;
        reading.needs_evaluation(start)
            && observation.alarms.iter().any(|alarm| alarm.name == reading.name && is_bad(alarm))
    })
}

/// Whether the versions are compared by numbers of their own, and these can be read.
fn knows_own_numbers(case: &Case<'_>) -> bool {
    case.record.policy.is_compared() && case.record.deployment.observation.metrics_unreadable_since.is_none()
}

/// What blames the new version now, the surest first.
fn findings(case: &Case<'_>) -> Vec<Finding> {
    let judged = valid_analysis(case);
    let finding = |detection| Finding::of(detection, &case.record.deployment.identity.target);
    let verdict = judged.and_then(|judged| judged.verdict.as_ref()).map(finding);
    let (concurrent, before_after): (Vec<_>, Vec<_>) = verdict.into_iter().partition(|finding| finding.is_concurrent);
    let burning = judged.and_then(|judged| judged.burning.as_ref()).map(finding);
    let advice = judged.and_then(|judged| judged.advice.as_ref()).map(finding);
    let paired = paired(case);
    paired
        .into_iter()
        .chain(concurrent)
        .chain(alarm_finding(case))
        .chain(before_after)
        .chain(burning)
        .chain(advice)
        .collect()
}

/// What the pairs of probes say. A shared incident makes nothing of it void: both versions were asked in the same moments.
fn paired(case: &Case<'_>) -> Option<Finding> {
    let detection = case.analysis.and_then(|judged| judged.paired.as_ref())?;
    Some(Finding::of_pairs(detection, &case.record.deployment.identity.target))
}

/// Armed alarms that went red, as findings: those that may act before those that may not, then the oldest first. All of them
/// are the evidence of each, its own one first.
fn alarm_finding(case: &Case<'_>) -> Vec<Finding> {
    let deployment = &case.record.deployment;
    let mut bad: Vec<(&WatchedAlarm, &AlarmReading)> = deployment
        .observation
        .alarms
        .iter()
        .filter_map(|alarm| Some((alarm, case.readings.list().iter().find(|reading| reading.name == alarm.name)?)))
        .filter(|(alarm, reading)| {
            alarm.meaning(reading, deployment.observation.shift_started_at, case.now) == AlarmMeaning::Bad
        })
        .filter(|(_, reading)| !waits_for_event(case, reading) && !is_of_incident(case, reading))
        .collect();
    let is_sufficient = |alarm: &WatchedAlarm| case.record.policy.is_sufficient(alarm.signal);
    bad.sort_by_key(|(alarm, reading)| (!is_sufficient(alarm), alarm.is_shared, reading.since, alarm.signal));
    let with_others = |own: &AlarmName| {
        let others = bad.iter().map(|(alarm, _)| &alarm.name).filter(|name| *name != own);
        std::iter::once(own).chain(others).cloned().collect()
    };
    bad.iter()
        .map(|(alarm, reading)| {
            let start = deployment.observation.shift_started_at.unwrap_or(reading.since);
            Finding {
                signal: alarm.signal,
                cause: alarm.signal.map_or(Cause::Errors, Cause::from),
                why: format!("alarm {} went red: {}", reading.name, reading.reason),
                impact_started_at: Some(reading.oldest_breaching().unwrap_or(reading.since).max(start).min(case.now)),
                alarms: with_others(&alarm.name),
                is_sufficient: is_sufficient(alarm),
                is_concurrent: false,
                is_shared: alarm.is_shared,
                is_paired: false,
            }
        })
        .collect()
}

/// Whether an alarm that went red late tells of a shared incident that is over by now.
fn is_of_incident(case: &Case<'_>, reading: &AlarmReading) -> bool {
    let over_at = case.record.deployment.observation.incident.and_then(|incident| incident.over_at);
    over_at.is_some_and(|over_at| reading.oldest_breaching().unwrap_or(reading.since) <= over_at)
}

/// The sweep lets a fresh transition to its event: two at once would only race. At the end of the bake there is no later:
/// what is red then must not be promoted.
fn waits_for_event(case: &Case<'_>, reading: &AlarmReading) -> bool {
    let bake_is_over = case.record.deployment.bake().is_some_and(|bake| case.now >= bake.ends_at);
    case.caller.trigger == Trigger::Sweep
        && !bake_is_over
        && case.now.since(reading.since) < case.record.policy.tick * EVENT_GOES_FIRST_TICKS
}

/// A finding of a signal that may roll back.
fn act_on(case: &Case<'_>, exposure: Exposure, finding: &Finding) -> Option<Step> {
    let has_all_traffic = case.record.deployment.has_all_traffic();
    // At all traffic the last minute that both had may be one that the step cut short: an incident after it hit only one.
    if finding.is_paired || (finding.is_concurrent && !has_all_traffic) {
        return Some(go_back(case, exposure, finding));
    }
    let knows_own_numbers = knows_own_numbers(case);
    if !has_all_traffic {
        match degradation(case, finding.signal.unwrap_or(Signal::Errors)) {
            Err(look) => return Some(look),
            Ok(degradation) if degradation.is_shared() => {
                return Some(hold(case, finding, "both versions are degraded in the same minutes"));
            }
            // Together with the version's own numbers a shared count says as much as one of its own.
            Ok(Degradation { canary, .. }) if !finding.is_shared || (knows_own_numbers && canary == Some(true)) => {
                return by_policy(case, exposure, finding);
            }
            Ok(_) if knows_own_numbers => return shared_noted(case, finding),
            Ok(_) => {}
        }
    }
    match control(case) {
        None => Some(Step::ControlProbe),
        Some(Control::BothFail) => Some(hold(case, finding, "control probes of both versions fail")),
        Some(Control::OnlyCanaryFails) => {
            let why = format!("{}; the control probe fails on the new version only", finding.why);
            Some(go_back(case, exposure, &Finding { why, ..finding.clone() }))
        }
        Some(Control::BothPass) if finding.is_shared => shared_noted(case, finding),
        Some(Control::BothPass | Control::OnlyBaselineFails | Control::Unknown) => {
            if finding.is_shared && knows_own_numbers {
                shared_noted(case, finding)
            } else {
                by_policy(case, exposure, finding)
            }
        }
    }
}

/// Nothing else is degraded: the policy says whether the finding is sufficient alone.
fn by_policy(case: &Case<'_>, exposure: Exposure, finding: &Finding) -> Option<Step> {
    if finding.is_sufficient { Some(go_back(case, exposure, finding)) } else { only_noted(case, finding) }
}

/// Which versions are degraded by `signal`, or the step that is needed to know.
fn degradation(case: &Case<'_>, signal: Signal) -> Result<Degradation, Step> {
    let known = case.degradation.iter().find(|(of, _)| *of == signal);
    known.map(|(_, degradation)| *degradation).ok_or(Step::ReadDegradation(signal))
}

/// What the control probes say; without a probe that reaches a version by its number nothing is known.
fn control(case: &Case<'_>) -> Option<Control> {
    if reaches_version(case) { case.control } else { Some(Control::Unknown) }
}

/// Whether the policy has a probe that reaches a version by its number.
fn reaches_version(case: &Case<'_>) -> bool {
    let probes = &case.record.policy.before_traffic.probes;
    probes.iter().any(|probe| matches!(probe.kind, ProbeKind::Invoke { .. }))
}

fn go_back(case: &Case<'_>, exposure: Exposure, finding: &Finding) -> Step {
    let mut rollback = intent(case, exposure, finding.cause, &finding.why);
    rollback.alarms.clone_from(&finding.alarms);
    rollback.impact_started_at = finding.impact_started_at;
    rollback.impact_is_from_alarm = !finding.alarms.is_empty();
    decide(case, rollback)
}

/// Both versions are degraded: nobody is helped by going back. People look, the alarms that show it are exempt, the evidence starts
/// anew when it is over.
fn hold(case: &Case<'_>, finding: &Finding, what: &str) -> Step {
    let mut held = case.record.deployment.clone();
    held.was_held = true;
    held.observation.incident =
        Some(Incident { since: case.now, checked_at: case.now, over_at: None, cause: finding.cause });
    exempt_red(&mut held);
    let what = format!("{what}, so the new version is not blamed: {}", finding.why);
    let next = "look at what both versions need: a dependency, the network, the Region. Snapback goes on looking and rolls back \
                once only the new version is degraded. To go back all the same: snapback rollback.";
    let line = TimelineEntry::new(case.now, EntryKind::Verdict, format!("hold: shared incident: {what}"));
    let mut writes = vec![Write::Entry(line.with("cause", finding.cause))];
    writes.extend(tell(case, plain_notice(NoticeKind::SharedIncident, &held, &what, next, case.now)));
    Step::Record(Box::new(held), writes)
}

/// Alarms that are red by now say nothing about the new version any more; what this reconciliation has seen is in the record already.
fn exempt_red(deployment: &mut Deployment) {
    for alarm in &mut deployment.observation.alarms {
        alarm.is_exempt |= alarm.last.is_some_and(|(state, _)| state == AlarmState::Alarm);
    }
}

/// A shared incident goes on. In the shift the versions tell when it is over, at 100 % the control probes.
fn in_incident(case: &Case<'_>, exposure: Exposure, incident: Incident) -> Option<Step> {
    let has_all_traffic = case.record.deployment.has_all_traffic();
    let verdict = case
        .analysis
        .and_then(|judged| judged.verdict.as_ref())
        .map(|detection| Finding::of(detection, &case.record.deployment.identity.target));
    let concurrent = verdict.filter(|finding| finding.is_concurrent && !has_all_traffic);
    if let Some(finding) = paired(case).or(concurrent).filter(|finding| case.mode_of(finding.signal) == Mode::Rollback)
    {
        return Some(go_back(case, exposure, &finding));
    }
    if case.now.since(incident.checked_at) < case.record.policy.tick * READ_ALARMS_EVERY_TICKS {
        return None;
    }
    if !has_all_traffic {
        return Some(match degradation(case, signal_of(incident.cause)) {
            Err(look) => look,
            Ok(Degradation { canary: Some(false), .. }) => over(case, incident, "the new version is fine again"),
            Ok(Degradation { baseline: Some(false), .. }) => over(case, incident, "the old version is fine again"),
            // Both are degraded still, or nobody could see: that is no end.
            Ok(_) => still(case, incident),
        });
    }
    let is_red = case.record.deployment.red_in_incident().next().is_some();
    let is_suspected = case.analysis.is_some_and(|judged| judged.verdict.is_some() || judged.burning.is_some());
    Some(match control(case) {
        None => Step::ControlProbe,
        Some(Control::BothFail) => still(case, incident),
        Some(Control::OnlyCanaryFails) => {
            let finding = Finding {
                signal: Some(signal_of(incident.cause)),
                cause: incident.cause,
                why: "after a shared incident the control probe fails on the new version only".to_owned(),
                impact_started_at: Some(incident.since),
                alarms: Vec::new(),
                is_sufficient: true,
                is_concurrent: false,
                is_shared: false,
                is_paired: false,
            };
            // Who may not act begins no incident, but a pause may come in between. The incident is over all the same.
            if case.pause().is_some() {
                only_said(case, &finding).unwrap_or_else(|| over(case, incident, "only the new version is degraded"))
            } else {
                go_back(case, exposure, &finding)
            }
        }
        Some(Control::BothPass | Control::OnlyBaselineFails) => {
            over(case, incident, "the new version passes its control probe")
        }
        // Without probes that answer only the signs of the incident tell whether it goes on.
        Some(Control::Unknown) if is_red || is_suspected || reaches_version(case) => still(case, incident),
        Some(Control::Unknown) => over(case, incident, "its alarms are fine again"),
    })
}

/// The signal that shows impact of this kind.
fn signal_of(cause: Cause) -> Signal {
    match cause {
        Cause::Errors | Cause::CheckFailed | Cause::NoEvidence | Cause::Operator => Signal::Errors,
        Cause::Latency => Signal::Latency,
        Cause::Availability => Signal::Availability,
        Cause::Transactions => Signal::Transactions,
        Cause::Slo => Signal::Slo,
    }
}

fn still(case: &Case<'_>, incident: Incident) -> Step {
    let mut deployment = case.record.deployment.clone();
    deployment.observation.incident = Some(Incident { checked_at: case.now, ..incident });
    exempt_red(&mut deployment);
    Step::Record(Box::new(deployment), Vec::new())
}

fn over(case: &Case<'_>, incident: Incident, what: &str) -> Step {
    let mut deployment = case.record.deployment.clone();
    deployment.observation.incident = Some(Incident { checked_at: case.now, over_at: Some(case.now), ..incident });
    exempt_red(&mut deployment);
    let line = format!("the shared incident is over: {what}; the new version is judged anew from here");
    Step::Record(Box::new(deployment), vec![Write::Entry(TimelineEntry::new(case.now, EntryKind::Verdict, line))])
}

/// An alarm that only makes us look, and nothing more was found: it goes on the record, once.
fn only_noted(case: &Case<'_>, finding: &Finding) -> Option<Step> {
    let mut deployment = case.record.deployment.clone();
    if !deployment.warn(Warning::NotSufficient(suspicion(finding))) {
        return None;
    }
    let text = format!("not sufficient alone, the comparison decides: {}", finding.why);
    let line = TimelineEntry::new(case.now, EntryKind::Verdict, text);
    Some(Step::Record(Box::new(deployment), vec![Write::Entry(line)]))
}

/// A count that several functions share blames nobody alone: it goes on the record, once, and is no doubt about the version.
fn shared_noted(case: &Case<'_>, finding: &Finding) -> Option<Step> {
    let warning = Warning::SharedCount(finding.alarms.first()?.clone());
    let text = format!("{warning}: {}", finding.why);
    let mut deployment = case.record.deployment.clone();
    let line = TimelineEntry::new(case.now, EntryKind::Verdict, text);
    deployment.warn(warning).then(|| Step::Record(Box::new(deployment), vec![Write::Entry(line)]))
}

/// Modes `observe` and `advise`, and a pause: the verdict goes on the record, once for each alarm and kind of impact, and in
/// `advise` the first one goes to people.
fn only_said(case: &Case<'_>, finding: &Finding) -> Option<Step> {
    let mode = case.mode_of(finding.signal);
    let restraint = case.restraint(mode);
    let mut deployment = case.record.deployment.clone();
    let is_new = deployment.warn(Warning::NotRolledBack { restraint, suspicion: suspicion(finding) });
    let at = finding.impact_started_at.filter(|_| finding.alarms.is_empty()).unwrap_or(case.now);
    let line = TimelineEntry::new(at, EntryKind::Verdict, format!("would roll back ({restraint}): {}", finding.why));
    let mut writes = Vec::new();
    if is_new {
        writes.push(Write::Entry(line));
    }
    // A record that is full of warnings keeps nobody from being told.
    if mode == Mode::Advise {
        let next = format!(
            "look at version {}; to go back now: snapback rollback {} --why …",
            deployment.identity.target.canary(),
            deployment.identity.id
        );
        writes.extend(tell(case, plain_notice(NoticeKind::Advice, &deployment, &finding.why, &next, case.now)));
    }
    (!writes.is_empty()).then(|| Step::Record(Box::new(deployment), writes))
}

/// What blames the new version.
fn suspicion(finding: &Finding) -> Suspicion {
    finding.alarms.first().map_or(Suspicion::Impact(finding.cause), |alarm| Suspicion::Alarm(alarm.clone()))
}

/// Nobody can see how customers fare: by policy hold and page, note it, or go back.
fn blind(case: &Case<'_>, exposure: Exposure) -> Option<Step> {
    let deployment = &case.record.deployment;
    let (since, evidence) = deployment.blind_since()?;
    if case.now.since(since) < case.record.policy.tick * READ_ALARMS_EVERY_TICKS {
        return None;
    }
    let warning = Warning::Unreadable { evidence, since };
    let what = warning.to_string();
    let policy = &case.record.policy;
    match (policy.no_evidence.unreachable, case.mode()) {
        (WithoutEvidence::Fail, Mode::Rollback) => Some(decide(case, intent(case, exposure, Cause::NoEvidence, &what))),
        (WithoutEvidence::Hold, Mode::Rollback) if !deployment.was_held => {
            let mut held = deployment.clone();
            held.was_held = true;
            let next = "look at the service yourself. Snapback neither promotes nor rolls back until it can see; its dead-man \
                        alarm lets the platform act on the raw metrics. See that the watcher's role may read alarms and metrics.";
            let mut writes =
                vec![Write::Entry(TimelineEntry::new(case.now, EntryKind::Verdict, format!("hold: {what}")))];
            writes.extend(tell(case, plain_notice(NoticeKind::Held, &held, &what, next, case.now)));
            Some(Step::Record(Box::new(held), writes))
        }
        (WithoutEvidence::Hold, Mode::Rollback) => None,
        (WithoutEvidence::PassWithWarning, _) | (_, Mode::Observe | Mode::Advise) => {
            let mut warned = deployment.clone();
            let line = TimelineEntry::new(case.now, EntryKind::Warning, what);
            warned.warn(warning).then(|| Step::Record(Box::new(warned), vec![Write::Entry(line)]))
        }
    }
}
