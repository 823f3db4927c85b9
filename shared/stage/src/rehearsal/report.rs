//! What came of a rehearsal: the stage's own truth (workload, alias, CodeDeploy, table, SNS), never what functions report.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};
use snapback_wire::record::attr;

use super::install::{ALIAS, SERVICE};
use super::play::Ended;
use super::scenario::Scenario;
use super::table;
use crate::codedeploy::{DeploymentTruth, Status};
use crate::embedded::EmbeddedAws;
use crate::iam::Ask;
use crate::parts::LambdaControl;

/// One scenario's result; times are milliseconds since the start of its last deployment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Scenario.
    pub name: String,
    /// Outcome that the scenario expects.
    pub expected: String,
    /// Outcome on record, where the stage's truth agrees.
    pub outcome: Option<String>,
    /// Whether outcome, cause, trigger and the order of times are as they must be.
    pub ok: bool,
    /// Cause on record.
    pub cause: Option<String>,
    /// Trigger on record.
    pub trigger: Option<String>,
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
            expected: scenario.expect.outcome.clone(),
            outcome: None,
            ok: false,
            cause: None,
            trigger: None,
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

/// Looks at everything after the last deployment of `scenario` is over.
#[must_use]
pub(super) fn report(aws: &EmbeddedAws, scenario: &Scenario, ended: Ended, duration_ms: i64) -> Report {
    let Ended { workload, deployment, version: target_version, mut problems } = ended;
    let (deployment, target_version) = (deployment.as_str(), target_version.as_str());
    let iam = aws.stage.access.iam();
    let items = table::deployment(&aws.stage.dynamodb.database(), deployment);
    let state = table::item(&items, "STATE");
    let rollback = table::item(&items, "ROLLBACK");
    let truth = aws.stage.codedeploy.truth_of(deployment);
    let started = truth.as_ref().map_or(0, |truth| truth.created_ms);
    let relative = |at: Option<i64>| at.map(|at| at - started);
    let requested = rollback.and(truth.as_ref()).and_then(requested_ms);
    let detected =
        rollback.and_then(|item| number(item, attr::DETECTED_MS)).map(|at| requested.map_or(at, |most| at.min(most)));
    let impact = workload
        .samples_since(started)
        .iter()
        .filter(|sample| sample.version.as_deref() == Some(target_version) && sample.outcome.is_harm())
        .map(|sample| sample.at_ms)
        .min()
        .filter(|_| rollback.is_some());
    let rolled_back = rollback.and(truth.as_ref()).and_then(|truth| rolled_back_ms(aws, truth));
    let since = workload.samples_since(started);
    let on_new = since.iter().filter(|sample| sample.version.as_deref() == Some(target_version));
    let (new_all, new_harmed) =
        on_new.fold((0_u32, 0_u32), |(all, harmed), sample| (all + 1, harmed + u32::from(sample.outcome.is_harm())));
    let outcome = state.and_then(|item| text(item, attr::OUTCOME));
    let mut report = Report {
        name: scenario.name.clone(),
        expected: scenario.expect.outcome.clone(),
        cause: state.and_then(|item| text(item, attr::CAUSE)),
        trigger: state.and_then(|item| text(item, attr::TRIGGER)),
        deployment: Some(deployment.to_owned()),
        rollback_deployment: truth.as_ref().and_then(|truth| truth.rollback_deployment.clone()),
        impact_started_ms: relative(impact),
        detected_ms: relative(detected),
        requested_ms: relative(requested),
        rolled_back_ms: relative(rolled_back),
        requests: u64::try_from(since.len()).unwrap_or(u64::MAX),
        requests_harmed: u64::try_from(since.iter().filter(|sample| sample.outcome.is_harm()).count())
            .unwrap_or(u64::MAX),
        rollbacks_recorded: usize::from(rollback.is_some()),
        notifications: messages(aws, deployment, "rollback"),
        denied: iam.denied().into_iter().collect(),
        asked: iam.asked(),
        duration_ms,
        ok: false,
        problems: Vec::new(),
        harm_rate: if new_all == 0 { 0.0 } else { f64::from(new_harmed) / f64::from(new_all) },
        outcome,
    };
    check_expectation(&report, scenario, &mut problems);
    problems.extend(report.denied.iter().map(|ask| format!("the template does not allow {ask}")));
    check_truth(aws, &report, truth.as_ref(), target_version, &mut problems);
    report.ok = problems.is_empty();
    report.problems = problems;
    report
}

fn check_expectation(report: &Report, scenario: &Scenario, problems: &mut Vec<String>) {
    let expect = &scenario.expect;
    let pairs = [
        ("outcome", report.outcome.as_deref(), Some(expect.outcome.as_str())),
        ("cause", report.cause.as_deref(), expect.cause.as_deref()),
        ("trigger", report.trigger.as_deref(), expect.trigger.as_deref()),
    ];
    for (what, found, expected) in pairs {
        if found != expected {
            problems.push(format!("{what} is {}, expected {}", found.unwrap_or("none"), expected.unwrap_or("none")));
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
}

/// The record must agree with what CodeDeploy and the alias really did.
fn check_truth(
    aws: &EmbeddedAws,
    report: &Report,
    truth: Option<&DeploymentTruth>,
    target_version: &str,
    problems: &mut Vec<String>,
) {
    let Some(truth) = truth else {
        problems.push("CodeDeploy does not know the deployment".to_owned());
        return;
    };
    let alias = aws.lambda.alias(SERVICE, ALIAS);
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

fn rolled_back_ms(aws: &EmbeddedAws, truth: &DeploymentTruth) -> Option<i64> {
    let rollback = aws.stage.codedeploy.truth_of(truth.rollback_deployment.as_deref()?)?;
    Some(truth.restored_ms?.max(rollback.completed_ms?))
}

/// Messages of one kind that SNS accepted about a deployment.
#[must_use]
pub(super) fn messages(aws: &EmbeddedAws, deployment: &str, kind: &str) -> usize {
    let is = |attributes: &std::collections::BTreeMap<String, String>, name: &str, value: &str| {
        attributes.get(name).is_some_and(|found| found == value)
    };
    let messages = aws.stage.sns.messages();
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
