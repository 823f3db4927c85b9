//! Customers use the new version: is it bad? Alarms, the comparison of canary and baseline and the objective are findings;
//! whether a finding leads back depends on who else suffers.
//!
//! - In the shift, compared in the same minutes: the new version is worse, whatever else happens. Go back.
//! - In the shift otherwise: look at both versions. Both suffer: hold and page. Else go back if the finding is sufficient.
//! - At 100 %: ask control probes of both versions. Both fail: hold and page. Only the new one fails: go back. The new one passes,
//!   or there are none: go back if the finding is sufficient. (A probe of something new fails on the old version alone: it says
//!   nothing.)

use super::{Case, EVENT_GOES_FIRST_TICKS, READ_ALARMS_EVERY_TICKS, Step, Write, decide, intent, tell, valid_judged};
use crate::alarm::{AlarmMeaning, AlarmReading, AlarmState, WatchedAlarm};
use crate::deployment::{Deployment, Evidence, EvidenceKind, Incident};
use crate::judged::{Control, Finding};
use crate::lifecycle::Exposure;
use crate::notice::{NoticeKind, plain_notice};
use crate::policy::{ProbeKind, WithoutEvidence};
use crate::suffering::Suffering;
use crate::words::{Cause, Mode, Signal, Trigger};

pub(super) fn next(case: &Case<'_>) -> Option<Step> {
    let exposure = case.record.deployment.phase.exposure()?;
    if case.record.deployment.is_return {
        return None;
    }
    let step = match case.record.deployment.incident.filter(Incident::is_open) {
        Some(incident) => in_incident(case, exposure, incident),
        None => verdict(case, exposure),
    };
    step.or_else(|| blind(case, exposure))
}

/// The worst thing that is known now.
fn verdict(case: &Case<'_>, exposure: Exposure) -> Option<Step> {
    let findings = findings(case);
    let may_act = |finding: &&Finding| case.mode_of(finding.signal) == Mode::Rollback;
    let acted = findings.iter().filter(may_act).find_map(|finding| act_on(case, exposure, finding));
    acted.or_else(|| findings.iter().find(|finding| !may_act(finding)).and_then(|finding| only_said(case, finding)))
}

/// What blames the new version now, the surest first.
fn findings(case: &Case<'_>) -> Vec<Finding> {
    let judged = valid_judged(case);
    let verdict = judged.and_then(|judged| judged.verdict.clone());
    let (concurrent, before_after): (Vec<_>, Vec<_>) = verdict.into_iter().partition(|finding| finding.is_concurrent);
    let burning = judged.and_then(|judged| judged.burning.clone());
    let advice = judged.and_then(|judged| judged.advice.clone());
    concurrent.into_iter().chain(alarm_finding(case)).chain(before_after).chain(burning).chain(advice).collect()
}

/// Armed alarms that went red, as findings: those that may act before those that may not, then the oldest first. All of them
/// are the evidence of each.
fn alarm_finding(case: &Case<'_>) -> Vec<Finding> {
    let deployment = &case.record.deployment;
    let mut bad: Vec<(&WatchedAlarm, &AlarmReading)> = deployment
        .alarms
        .iter()
        .filter_map(|alarm| Some((alarm, case.readings.list().iter().find(|reading| reading.name == alarm.name)?)))
        .filter(|(alarm, reading)| alarm.meaning(reading, deployment.shift_started_at) == AlarmMeaning::Bad)
        .filter(|(_, reading)| !waits_for_event(case, reading) && !is_of_incident(case, reading))
        .collect();
    let is_sufficient = |alarm: &WatchedAlarm| case.record.policy.is_sufficient(alarm.signal);
    bad.sort_by_key(|(alarm, reading)| (!is_sufficient(alarm), reading.since, alarm.signal));
    let names: Vec<_> = bad.iter().map(|(alarm, _)| alarm.name.clone()).collect();
    bad.iter()
        .map(|(alarm, reading)| {
            let start = deployment.shift_started_at.unwrap_or(reading.since);
            Finding {
                signal: alarm.signal,
                cause: alarm.signal.map_or(Cause::Errors, Cause::from),
                why: format!("alarm {} went red: {}", reading.name, reading.reason),
                impact_started_at: Some(reading.oldest_breaching.unwrap_or(reading.since).max(start).min(case.now)),
                alarms: names.clone(),
                is_sufficient: is_sufficient(alarm),
                is_concurrent: false,
            }
        })
        .collect()
}

/// Whether an alarm that went red late tells of a shared incident that is over by now.
fn is_of_incident(case: &Case<'_>, reading: &AlarmReading) -> bool {
    let over_at = case.record.deployment.incident.and_then(|incident| incident.over_at);
    over_at.is_some_and(|over_at| reading.oldest_breaching.unwrap_or(reading.since) <= over_at)
}

/// The sweep lets a fresh transition to its event: two at once would only race. At the end of the bake there is no later:
/// what is red then must not be promoted.
fn waits_for_event(case: &Case<'_>, reading: &AlarmReading) -> bool {
    let bake_is_over = case.record.deployment.bake.is_some_and(|bake| case.now >= bake.ends_at);
    case.caller.trigger == Trigger::Sweep
        && !bake_is_over
        && case.now.since(reading.since) < case.record.policy.tick * EVENT_GOES_FIRST_TICKS
}

/// A finding of a signal that may roll back.
fn act_on(case: &Case<'_>, exposure: Exposure, finding: &Finding) -> Option<Step> {
    let has_all_traffic = case.record.deployment.has_all_traffic();
    // At all traffic the last minute that both had may be one that the step cut short: an incident after it hit only one.
    if finding.is_concurrent && !has_all_traffic {
        return Some(go_back(case, exposure, finding));
    }
    if has_all_traffic {
        match control(case) {
            None => return Some(Step::ControlProbe),
            Some(Control::BothFail) => return Some(hold(case, finding, "control probes of both versions fail")),
            Some(Control::OnlyCanaryFails) => {
                let why = format!("{}; the control probe fails on the new version only", finding.why);
                return Some(go_back(case, exposure, &Finding { why, ..finding.clone() }));
            }
            Some(Control::BothPass | Control::OnlyBaselineFails | Control::Unknown) => {}
        }
    } else {
        match suffering(case, finding.signal.unwrap_or(Signal::Errors)) {
            Err(look) => return Some(look),
            Ok(suffering) if suffering.is_shared() => {
                return Some(hold(case, finding, "both versions suffer in the same minutes"));
            }
            Ok(_) => {}
        }
    }
    if finding.is_sufficient { Some(go_back(case, exposure, finding)) } else { only_noted(case, finding) }
}

/// Who suffers by `signal`, or the look that is needed to know.
fn suffering(case: &Case<'_>, signal: Signal) -> Result<Suffering, Step> {
    let known = case.suffering.iter().find(|(of, _)| *of == signal);
    known.map(|(_, suffering)| *suffering).ok_or(Step::LookAtVersions(signal))
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

/// Both versions suffer: nobody is helped by going back. People look, the alarms that show it are exempt, the evidence starts
/// anew when it is over.
fn hold(case: &Case<'_>, finding: &Finding, what: &str) -> Step {
    let mut held = case.record.deployment.clone();
    held.was_held = true;
    held.incident = Some(Incident { since: case.now, checked_at: case.now, over_at: None, cause: finding.cause });
    exempt_red(&mut held);
    let what = format!("{what}, so the new version is not blamed: {}", finding.why);
    let next = "look at what both versions need: a dependency, the network, the Region. Snapback goes on looking and rolls back \
                once only the new version suffers. To go back all the same: snapback rollback.";
    let line = Evidence::new(case.now, EvidenceKind::Verdict, format!("hold: shared incident: {what}"));
    let mut writes = vec![Write::Evidence(line.with("cause", finding.cause))];
    writes.extend(tell(case, plain_notice(NoticeKind::SharedIncident, &held, &what, next, case.now)));
    Step::Record(Box::new(held), writes)
}

/// Alarms that are red by now say nothing about the new version any more; what this visit has seen is in the record already.
fn exempt_red(deployment: &mut Deployment) {
    for alarm in &mut deployment.alarms {
        alarm.is_exempt |= alarm.last.is_some_and(|(state, _)| state == AlarmState::Alarm);
    }
}

/// A shared incident goes on. In the shift the versions tell when it is over, at 100 % the control probes.
fn in_incident(case: &Case<'_>, exposure: Exposure, incident: Incident) -> Option<Step> {
    let has_all_traffic = case.record.deployment.has_all_traffic();
    let verdict = case.judged.and_then(|judged| judged.verdict.as_ref());
    let concurrent = verdict.filter(|finding| finding.is_concurrent && !has_all_traffic);
    if let Some(finding) = concurrent.filter(|finding| case.mode_of(finding.signal) == Mode::Rollback) {
        return Some(go_back(case, exposure, finding));
    }
    if case.now.since(incident.checked_at) < case.record.policy.tick * READ_ALARMS_EVERY_TICKS {
        return None;
    }
    if !has_all_traffic {
        return Some(match suffering(case, signal_of(incident.cause)) {
            Err(look) => look,
            Ok(Suffering { canary: Some(false), .. }) => over(case, incident, "the new version is fine again"),
            Ok(Suffering { baseline: Some(false), .. }) => over(case, incident, "the old version is fine again"),
            // Both suffer still, or nobody could see: that is no end.
            Ok(_) => still(case, incident),
        });
    }
    let is_red = case.record.deployment.red_in_incident().next().is_some();
    let is_suspected = case.judged.is_some_and(|judged| judged.verdict.is_some() || judged.burning.is_some());
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
            };
            // Who may not act begins no incident, but a pause may come in between. The incident is over all the same.
            if case.pause().is_some() {
                only_said(case, &finding).unwrap_or_else(|| over(case, incident, "only the new version suffers"))
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
        Cause::Sla => Signal::Sla,
    }
}

fn still(case: &Case<'_>, incident: Incident) -> Step {
    let mut deployment = case.record.deployment.clone();
    deployment.incident = Some(Incident { checked_at: case.now, ..incident });
    exempt_red(&mut deployment);
    Step::Record(Box::new(deployment), Vec::new())
}

fn over(case: &Case<'_>, incident: Incident, what: &str) -> Step {
    let mut deployment = case.record.deployment.clone();
    deployment.incident = Some(Incident { checked_at: case.now, over_at: Some(case.now), ..incident });
    exempt_red(&mut deployment);
    let line = format!("the shared incident is over: {what}; the new version is judged anew from here");
    Step::Record(Box::new(deployment), vec![Write::Evidence(Evidence::new(case.now, EvidenceKind::Verdict, line))])
}

/// An alarm that only makes us look, and nothing more was found: it goes on the record, once.
fn only_noted(case: &Case<'_>, finding: &Finding) -> Option<Step> {
    let names: Vec<&str> = finding.alarms.iter().map(|alarm| alarm.as_str()).collect();
    let what = if names.is_empty() { finding.cause.to_string() } else { names.join(", ") };
    let doubt = format!("not sufficient alone, and nothing more blames the new version: {what}");
    let mut deployment = case.record.deployment.clone();
    if deployment.doubts.contains(&doubt) {
        return None;
    }
    deployment.doubt(&doubt);
    let text = format!("not sufficient alone, the comparison decides: {}", finding.why);
    let line = Evidence::new(case.now, EvidenceKind::Verdict, text);
    (deployment != case.record.deployment).then(|| Step::Record(Box::new(deployment), vec![Write::Evidence(line)]))
}

/// Modes `observe` and `advise`, and a pause: the verdict goes on the record, and in `advise` to people, once for each kind of impact.
fn only_said(case: &Case<'_>, finding: &Finding) -> Option<Step> {
    let mode = case.mode_of(finding.signal);
    let restraint = case.restraint(mode);
    let what = match finding.alarms.first() {
        Some(alarm) => format!("alarm {alarm} went red"),
        None => format!("the new version is worse ({})", finding.cause),
    };
    let doubt = format!("{restraint}, so not rolled back: {what}");
    let mut deployment = case.record.deployment.clone();
    if deployment.doubts.contains(&doubt) {
        return None;
    }
    deployment.doubt(&doubt);
    let at = finding.impact_started_at.filter(|_| finding.alarms.is_empty()).unwrap_or(case.now);
    let line = Evidence::new(at, EvidenceKind::Verdict, format!("would roll back ({restraint}): {}", finding.why));
    let mut writes = vec![Write::Evidence(line)];
    if mode == Mode::Advise {
        let next = format!(
            "look at version {}; to go back now: snapback rollback {} --why …",
            deployment.target.canary, deployment.id
        );
        writes.extend(tell(case, plain_notice(NoticeKind::Advice, &deployment, &finding.why, &next, case.now)));
    }
    Some(Step::Record(Box::new(deployment), writes))
}

/// Nobody can see how customers fare: by policy hold and page, note it, or go back.
fn blind(case: &Case<'_>, exposure: Exposure) -> Option<Step> {
    let deployment = &case.record.deployment;
    let (since, which) = deployment.blind_since()?;
    if case.now.since(since) < case.record.policy.tick * READ_ALARMS_EVERY_TICKS {
        return None;
    }
    let what = format!("{which} cannot be read since {since}");
    let policy = &case.record.policy;
    match (policy.no_evidence.unreachable, case.mode()) {
        (WithoutEvidence::Fail, Mode::Rollback) => Some(decide(case, intent(case, exposure, Cause::NoEvidence, &what))),
        (WithoutEvidence::Hold, Mode::Rollback) if !deployment.was_held => {
            let mut held = deployment.clone();
            held.was_held = true;
            let next = "look at the service yourself. Snapback neither promotes nor rolls back until it can see; its dead-man \
                        alarm lets CodeDeploy act on the raw metrics. See that the watcher's role may call DescribeAlarms and \
                        GetMetricData.";
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
