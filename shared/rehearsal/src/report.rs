//! What came of a rehearsal: the emulator's own truth (workload, alias, CodeDeploy, table, SNS), never what functions report.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use snapback_wire::record::attr;

use crate::install::ALIAS;
use crate::play::{Deployed, Ended, Playing};
use crate::scenario::{Expect, Expected, Scenario, Service};
use crate::table;
use snapback_emulator::Emulator;
use snapback_emulator::codedeploy::{DeploymentTruth, Status};
use snapback_emulator::iam::Ask;
use snapback_emulator::parts::LambdaControl;

/// How one of several deployments ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentEnd {
    /// Its service.
    pub name: String,
    /// Its id.
    pub deployment: String,
    /// Outcome on record.
    pub outcome: Option<String>,
    /// Cause on record.
    pub cause: Option<String>,
    /// Trigger on record.
    pub trigger: Option<String>,
}

/// One scenario's result. Where it has several deployments, its own members are about the last one; times are milliseconds since
/// that one's start, requests those of its service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Scenario.
    pub name: String,
    /// Outcome that the scenario expects.
    pub expected: String,
    /// Outcome on record, where the emulator's truth agrees.
    pub outcome: Option<String>,
    /// Whether outcome, cause, trigger and the order of times are as they must be.
    pub ok: bool,
    /// Cause on record.
    pub cause: Option<String>,
    /// Trigger on record.
    pub trigger: Option<String>,
    /// All deployments that somebody started, in that order, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<DeploymentEnd>,
    /// The last deployment that somebody started.
    pub deployment: Option<String>,
    /// CodeDeploy's rollback deployment of it.
    pub rollback_deployment: Option<String>,
    /// First request that the new version harmed.
    pub impact_started_ms: Option<i64>,
    /// The verdict.
    pub detected_ms: Option<i64>,
    /// CodeDeploy accepted the call, or began by itself.
    pub requested_ms: Option<i64>,
    /// The rollback deployment is over and the alias shows the old version alone.
    pub rolled_back_ms: Option<i64>,
    /// Requests since the start of the deployment.
    pub requests: u64,
    /// Those of them that were harmed.
    pub requests_harmed: u64,
    /// ROLLBACK items of the deployment.
    pub rollbacks_recorded: usize,
    /// Rollback messages about the deployment.
    pub notifications: usize,
    /// What the roles and policies of the template did not allow; what the scenario itself denies is not among it.
    pub denied: Vec<Ask>,
    /// What functions and the services of AWS asked for.
    #[serde(skip)]
    pub asked: BTreeSet<Ask>,
    /// Wall time of the whole scenario.
    pub duration_ms: i64,
    /// Why it is not ok, for people; not part of the JSON contract's meaning, but of its help.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Share of the new version's requests that were harmed, 0 to 1.
    #[serde(skip)]
    pub harm_rate: f64,
}

impl Report {
    /// A scenario that could not be played.
    #[must_use]
    pub fn failed(scenario: &Scenario, why: String, duration_ms: i64) -> Self {
        Self {
            name: scenario.name.clone(),
            expected: scenario.expected_outcome().to_owned(),
            outcome: None,
            ok: false,
            cause: None,
            trigger: None,
            deployments: Vec::new(),
            deployment: None,
            rollback_deployment: None,
            impact_started_ms: None,
            detected_ms: None,
            requested_ms: None,
            rolled_back_ms: None,
            requests: 0,
            requests_harmed: 0,
            rollbacks_recorded: 0,
            notifications: 0,
            denied: Vec::new(),
            asked: BTreeSet::new(),
            duration_ms,
            problems: vec![why],
            harm_rate: 0.0,
        }
    }
}

/// Looks at everything after all deployments of `scenario` are over.
#[must_use]
pub(crate) fn report(aws: &Emulator, scenario: &Scenario, ended: &Ended<'_>, duration_ms: i64) -> Report {
    let last_of = |name: &str| ended.deployed.iter().rfind(|deployed| deployed.service == name);
    let mut problems = ended.problems.clone();
    let mut whole = None;
    for playing in &ended.playing {
        let Some(deployed) = last_of(&playing.service.name) else { continue };
        let truth = aws.codedeploy.truth_of(&deployed.id);
        let report = of_deployment(aws, scenario, playing, deployed, truth.as_ref(), duration_ms);
        let mut found = Vec::new();
        if let Some(expect) = &playing.service.expect {
            check_expectation(&report, expect, aws.clock.minute(), &mut found);
        }
        check_truth(aws, &report, truth.as_ref(), playing.service, &deployed.version, &mut found);
        let whose = if ended.playing.len() > 1 { format!("{}: ", playing.service.name) } else { String::new() };
        problems.extend(found.into_iter().map(|why| format!("{whose}{why}")));
        if ended.deployed.last().is_some_and(|last| last.id == deployed.id) {
            whole = Some(report);
        }
    }
    let Some(mut report) = whole else {
        problems.push("nothing was deployed".to_owned());
        return Report { problems, ..Report::failed(scenario, String::new(), duration_ms) };
    };
    problems.extend(report.denied.iter().map(|ask| format!("the template does not allow {ask}")));
    if ended.deployed.len() > 1 {
        report.deployments = ended.deployed.iter().map(|deployed| end_of(aws, deployed)).collect();
    }
    report.ok = problems.is_empty();
    report.problems = problems;
    report
}

fn end_of(aws: &Emulator, deployed: &Deployed) -> DeploymentEnd {
    let items = table::deployment(&aws.dynamodb.database(), &deployed.id);
    let state = table::item(&items, "STATE");
    let member = |name: &str| state.and_then(|item| text(item, name));
    DeploymentEnd {
        name: deployed.service.clone(),
        deployment: deployed.id.clone(),
        outcome: member(attr::OUTCOME),
        cause: member(attr::CAUSE),
        trigger: member(attr::TRIGGER),
    }
}

/// What came of one deployment, not yet compared with anything.
fn of_deployment(
    aws: &Emulator,
    scenario: &Scenario,
    playing: &Playing<'_>,
    deployed: &Deployed,
    truth: Option<&DeploymentTruth>,
    duration_ms: i64,
) -> Report {
    let iam = aws.access.iam();
    let items = table::deployment(&aws.dynamodb.database(), &deployed.id);
    let state = table::item(&items, "STATE");
    let rollback = table::item(&items, "ROLLBACK");
    let started = truth.map_or(0, |truth| truth.created_ms);
    let relative = |at: Option<i64>| at.map(|at| at - started);
    let requested = rollback.and(truth).and_then(requested_ms);
    let detected =
        rollback.and_then(|item| number(item, attr::DETECTED_MS)).map(|at| requested.map_or(at, |most| at.min(most)));
    let since = playing.workload.samples_since(started);
    let on_new: Vec<_> =
        since.iter().filter(|sample| sample.version.as_deref() == Some(deployed.version.as_str())).collect();
    let impact = on_new.iter().filter(|sample| sample.outcome.is_harm()).map(|sample| sample.at_ms).min();
    let impact = impact.filter(|_| rollback.is_some());
    let rolled_back = rollback.and(truth).and_then(|truth| rolled_back_ms(aws, truth));
    let (new_all, new_harmed) = on_new
        .iter()
        .fold((0_u32, 0_u32), |(all, harmed), sample| (all + 1, harmed + u32::from(sample.outcome.is_harm())));
    let member = |name: &str| state.and_then(|item| text(item, name));
    Report {
        name: scenario.name.clone(),
        expected: scenario.expected_outcome().to_owned(),
        outcome: member(attr::OUTCOME),
        cause: member(attr::CAUSE),
        trigger: member(attr::TRIGGER),
        deployments: Vec::new(),
        deployment: Some(deployed.id.clone()),
        rollback_deployment: truth.and_then(|truth| truth.rollback_deployment.clone()),
        impact_started_ms: relative(impact),
        detected_ms: relative(detected),
        requested_ms: relative(requested),
        rolled_back_ms: relative(rolled_back),
        requests: u64::try_from(since.len()).unwrap_or(u64::MAX),
        requests_harmed: u64::try_from(since.iter().filter(|sample| sample.outcome.is_harm()).count())
            .unwrap_or(u64::MAX),
        rollbacks_recorded: usize::from(rollback.is_some()),
        notifications: messages(aws, &deployed.id, "rollback"),
        denied: iam.denied().into_iter().collect(),
        asked: iam.asked(),
        duration_ms,
        ok: false,
        problems: Vec::new(),
        harm_rate: if new_all == 0 { 0.0 } else { f64::from(new_harmed) / f64::from(new_all) },
    }
}

/// * `minute`: how long an AWS minute lasts.
fn check_expectation(report: &Report, expect: &Expect, minute: Duration, problems: &mut Vec<String>) {
    let outcome = Expected::Value(expect.outcome.clone());
    let members = [
        ("outcome", report.outcome.as_deref(), &outcome),
        ("cause", report.cause.as_deref(), &expect.cause),
        ("trigger", report.trigger.as_deref(), &expect.trigger),
    ];
    for (what, found, expected) in members {
        if !expected.fits(found) {
            problems.push(format!("{what} is {}, expected {expected}", found.unwrap_or("none")));
        }
    }
    let is_rollback = expect.outcome.starts_with("rolled-back");
    let expected = usize::from(is_rollback);
    if report.rollbacks_recorded != expected {
        problems.push(format!("{} rollbacks on record, expected {expected}", report.rollbacks_recorded));
    }
    if report.notifications != expected {
        problems.push(format!("{} rollback messages, expected {expected}", report.notifications));
    }
    if is_rollback {
        let times = [report.impact_started_ms, report.detected_ms, report.requested_ms, report.rolled_back_ms];
        if times.iter().any(Option::is_none) || !times.is_sorted() {
            problems.push(format!("times are not impact ≤ detected ≤ requested ≤ rolled back: {times:?}"));
        }
    }
    if let (Some(within), Some(impact), Some(requested)) =
        (expect.requested_within, report.impact_started_ms, report.requested_ms)
    {
        let took = Duration::from_millis(u64::try_from(requested - impact).unwrap_or(0));
        let took_s = 60.0 * took.as_secs_f64() / minute.as_secs_f64();
        if took_s > within.0.as_secs_f64() {
            let within_s = within.0.as_secs_f64();
            problems
                .push(format!("requested {took_s:.0} s after the first harmed request, allowed are {within_s:.0} s"));
        }
    }
}

/// The record must agree with what CodeDeploy and the alias really did.
fn check_truth(
    aws: &Emulator,
    report: &Report,
    truth: Option<&DeploymentTruth>,
    service: &Service,
    target_version: &str,
    problems: &mut Vec<String>,
) {
    let Some(truth) = truth else {
        problems.push("CodeDeploy does not know the deployment".to_owned());
        return;
    };
    let alias = aws.lambda.alias(&service.function, ALIAS);
    let serves_new = alias.as_ref().is_some_and(|alias| alias.version == target_version && alias.additional.is_none());
    let serves_old = alias.as_ref().is_some_and(|alias| alias.version != target_version && alias.additional.is_none());
    let had_traffic = truth.weights.iter().any(|change| {
        change.version == target_version
            || change.additional.as_ref().is_some_and(|(version, _)| version == target_version)
    });
    let agrees = match report.outcome.as_deref() {
        Some("promoted" | "inconclusive" | "held") => truth.status == Status::Succeeded && serves_new,
        Some("refused-before-traffic") => truth.status.is_final() && serves_old && !had_traffic,
        Some("rolled-back-in-shift" | "rolled-back-in-bake") => truth.status.is_final() && serves_old && had_traffic,
        Some("stopped") => truth.status.is_final(),
        Some(_) | None => true,
    };
    if !agrees {
        problems.push(format!(
            "the record says {}, but CodeDeploy says {:?} and the alias is {alias:?}",
            report.outcome.as_deref().unwrap_or("nothing"),
            truth.status
        ));
    }
    let final_answers: Vec<&str> = truth
        .hook_answers
        .iter()
        .filter(|answer| answer.error.is_none())
        .filter_map(|answer| answer.event.as_deref())
        .collect();
    for invoked in &truth.hook_invocations {
        let count = final_answers.iter().filter(|event| **event == invoked.event).count();
        if count > 1 || (count == 0 && truth.stop.is_none()) {
            problems.push(format!("hook {} got {count} final answers, expected one", invoked.event));
        }
    }
}

/// When CodeDeploy accepted to go back: a stop, an alarm that it read, or a failed hook after traffic began.
fn requested_ms(truth: &DeploymentTruth) -> Option<i64> {
    let failed = truth
        .hook_answers
        .iter()
        .find(|answer| answer.error.is_none() && answer.status == "Failed")
        .map(|answer| answer.at_ms);
    truth.stop.as_ref().map(|stop| stop.at_ms).into_iter().chain(failed).min().or(truth.completed_ms)
}

fn rolled_back_ms(aws: &Emulator, truth: &DeploymentTruth) -> Option<i64> {
    let rollback = aws.codedeploy.truth_of(truth.rollback_deployment.as_deref()?)?;
    Some(truth.restored_ms?.max(rollback.completed_ms?))
}

/// Messages of one kind that SNS accepted about a deployment.
#[must_use]
pub(crate) fn messages(aws: &Emulator, deployment: &str, kind: &str) -> usize {
    let is = |attributes: &std::collections::BTreeMap<String, String>, name: &str, value: &str| {
        attributes.get(name).is_some_and(|found| found == value)
    };
    let messages = aws.sns.messages();
    messages
        .iter()
        .filter(|message| is(&message.message_attributes, "kind", kind))
        .filter(|message| is(&message.message_attributes, "deployment", deployment))
        .count()
}

fn text(item: &Map<String, Value>, name: &str) -> Option<String> {
    item.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn number(item: &Map<String, Value>, name: &str) -> Option<i64> {
    item.get(name).and_then(Value::as_i64)
}
