//! The checks before traffic, run side by side.

use crate::ports::{CallError, CallErrorKind, Clock, ProbeAnswer, Prober};
use futures_util::future::join_all;
use snapback_core::alarm::AlarmState;
use snapback_core::check::{Check, CheckResult};
use snapback_core::deployment::Deployment;
use snapback_core::finding::Control;
use snapback_core::policy::{Probe, ProbeKind, RedAlarms, check_event, human};
use snapback_core::record::GroupHistory;
use snapback_core::record::Record;
use snapback_core::timeline::{EntryKind, TimelineEntry};
use snapback_core::{Policy, Timestamp};
use std::time::Duration;

/// Slowest answer that a probe without `within` waits for.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// All control probes together: a decision waits for them.
const CONTROL_LASTS: Duration = Duration::from_secs(10);

/// Runs all probes side by side, at most until `until`, and adds what the record says.
pub(crate) async fn run<P: Prober + Clock>(
    ports: &P,
    deployment: &Deployment,
    policy: &Policy,
    history: &GroupHistory,
    policy_error: Option<&CallError>,
    until: Timestamp,
) -> Vec<Check> {
    let canary = deployment.identity.target.canary();
    let probes = policy.before_traffic.probes.iter().map(|probe| run_probe(ports, deployment, canary, probe, until));
    let mut checks = join_all(probes).await;
    checks.push(alarms(deployment, policy));
    checks.extend(refused(deployment, history, ports.now()));
    if let Some(error) = policy_error {
        checks.push(Check::new("policy", CheckResult::Bad, error.message.clone()));
    }
    checks
}

/// One probe, `times` times in a row; the first answer that is not good ends it.
async fn run_probe<P: Prober + Clock>(
    ports: &P,
    deployment: &Deployment,
    version: &str,
    probe: &Probe,
    until: Timestamp,
) -> Check {
    let mut slowest = Duration::ZERO;
    for call in 1..=probe.times {
        let time_left = until.since(ports.now());
        if time_left.is_zero() {
            let detail = format!("{} of {} good, then the deadline came", call - 1, probe.times);
            return Check::new(probe.name(), CheckResult::Unreachable, detail);
        }
        let limit = probe.expect.within.unwrap_or(PROBE_LIMIT).min(time_left);
        let answer = match &probe.kind {
            ProbeKind::Invoke { payload } => {
                ports.invoke(deployment.identity.target.name(), Some(version), payload, limit).await
            }
            ProbeKind::Http { url } => ports.get(url, limit).await,
            ProbeKind::Function { arn, payload } => {
                let event = check_event(payload, &deployment.identity.id, deployment.identity.target.name(), version);
                ports.invoke(arn, None, &event, limit).await
            }
        };
        let (result, detail) = match &answer {
            Ok(answer) => judge(probe, answer),
            Err(error) => unanswered(error),
        };
        if result != CheckResult::Pass {
            return Check::new(probe.name(), result, format!("call {call} of {}: {detail}", probe.times));
        }
        slowest = answer.map_or(slowest, |answer| slowest.max(answer.took));
    }
    Check::new(
        probe.name(),
        CheckResult::Pass,
        format!("{} of {} good, slowest {}", probe.times, probe.times, human(slowest)),
    )
}

/// Runs the probes that reach a version by its number against both versions, and says it in one line of evidence.
pub(crate) async fn control<P: Prober + Clock>(ports: &P, record: &Record) -> (Control, TimelineEntry) {
    let (deployment, policy) = (&record.deployment, &record.policy);
    let probes: Vec<&Probe> =
        policy.before_traffic.probes.iter().filter(|probe| matches!(probe.kind, ProbeKind::Invoke { .. })).collect();
    let until = ports.now() + CONTROL_LASTS;
    let of = async |version: &str| {
        let checks = join_all(probes.iter().map(|probe| run_probe(ports, deployment, version, probe, until))).await;
        let worst = checks.iter().find(|check| check.result == CheckResult::Bad);
        let is_known =
            !checks.is_empty() && (worst.is_some() || checks.iter().all(|check| check.result == CheckResult::Pass));
        let detail = worst.or(checks.first()).map_or_else(|| "no probe".to_owned(), |check| check.detail.clone());
        (is_known.then_some(worst.is_none()), detail)
    };
    let target = &deployment.identity.target;
    let (baseline, canary) = tokio::join!(of(target.baseline()), of(target.canary()));
    let found = match (baseline.0, canary.0) {
        (Some(true), Some(true)) => Control::BothPass,
        (Some(false), Some(false)) => Control::BothFail,
        (Some(true), Some(false)) => Control::OnlyCanaryFails,
        (Some(false), Some(true)) => Control::OnlyBaselineFails,
        (None, _) | (_, None) => Control::Unknown,
    };
    let text = format!(
        "control probes: old version {}: {}; new version {}: {}",
        target.baseline(),
        baseline.1,
        target.canary(),
        canary.1
    );
    (found, TimelineEntry::new(ports.now(), EntryKind::Check, text))
}

fn judge(probe: &Probe, answer: &ProbeAnswer) -> (CheckResult, String) {
    if let Some(error) = &answer.error {
        return (CheckResult::Bad, format!("answered with an error: {error}"));
    }
    match (probe.expect.status, answer.status) {
        (Some(expected), Some(status)) if status != expected => {
            return (CheckResult::Bad, format!("answered status {status}, expected {expected}"));
        }
        (Some(expected), None) => {
            return (CheckResult::Bad, format!("answered without a status, expected {expected}"));
        }
        (Some(_), Some(_)) | (None, _) => {}
    }
    match probe.expect.within {
        Some(within) if answer.took > within => {
            (CheckResult::Bad, format!("took {}, allowed is {}", human(answer.took), human(within)))
        }
        Some(_) | None => (CheckResult::Pass, String::new()),
    }
}

/// A target that does not exist is a wrong policy; anything else says nothing about the version.
fn unanswered(error: &CallError) -> (CheckResult, String) {
    match error.kind {
        CallErrorKind::NotFound | CallErrorKind::Invalid => (CheckResult::Bad, error.to_string()),
        CallErrorKind::Denied | CallErrorKind::Unreachable | CallErrorKind::AlreadyDone | CallErrorKind::Conflict => {
            (CheckResult::Unreachable, error.to_string())
        }
    }
}

/// The snapshot: can anything still judge this version once customers use it?
fn alarms(deployment: &Deployment, policy: &Policy) -> Check {
    let check = |result, detail: String| Check::new("alarms", result, detail);
    let names = |is_wanted: fn(&snapback_core::alarm::WatchedAlarm) -> bool| {
        let list: Vec<&str> = deployment
            .observation
            .alarms
            .iter()
            .filter(|alarm| is_wanted(alarm))
            .map(|alarm| alarm.name.as_str())
            .collect();
        list.join(", ")
    };
    let red = names(|alarm| alarm.last.is_some_and(|(state, _)| state == AlarmState::Alarm));
    if policy.before_traffic.red_alarms == RedAlarms::Block && !red.is_empty() {
        return check(CheckResult::Bad, format!("red before traffic, and red_alarms is block: {red}"));
    }
    if deployment.observation.alarms_unreadable_since.is_some() {
        return check(CheckResult::Unreachable, "the alarm states cannot be read".to_owned());
    }
    let missing = names(|alarm| alarm.last.is_none());
    if !missing.is_empty() {
        return check(CheckResult::Silent, format!("no such alarm, so nothing is watched by it: {missing}"));
    }
    let armed = deployment.observation.alarms.iter().filter(|alarm| alarm.is_armed()).count();
    if armed == 0 && policy.is_compared() {
        return check(CheckResult::Pass, "no alarm is armed, canary and baseline are compared".to_owned());
    }
    match (armed, deployment.observation.alarms.len(), policy.before_traffic.probes.len()) {
        (0, 0, _) => check(CheckResult::Silent, "no alarm watches this deployment".to_owned()),
        (0, _, 0) => {
            check(CheckResult::Unreachable, format!("every alarm is red already and there is no probe: {red}"))
        }
        (0, _, _) => check(CheckResult::Pass, format!("every alarm is red already, the probes are armed: {red}")),
        (armed, all, _) => check(CheckResult::Pass, format!("{armed} of {all} armed")),
    }
}

/// A revision that was rolled back lately is not let through again.
fn refused(deployment: &Deployment, history: &GroupHistory, now: Timestamp) -> Option<Check> {
    let revision = deployment.identity.revisions.canary.as_ref()?;
    let refused = history.refused.iter().find(|refused| refused.revision == *revision && now < refused.until)?;
    let detail = format!(
        "version {} was rolled back in {} at {} ({}) and is refused until {}; deploy a fixed version, or set refuse_for: 0s and \
         wait for that time",
        refused.version, refused.deployment, refused.at, refused.cause, refused.until
    );
    Some(Check::new("revision", CheckResult::Bad, detail))
}
