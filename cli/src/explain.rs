//! `snapback explain`: the timeline of one deployment.

mod comparison;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use snapback_app::ports::DeploymentStore;
use snapback_core::notice::Delivery;
use snapback_core::record::Record;
use snapback_core::rollback::{Rollback, RollbackResult};
use snapback_core::timeline::TimelineEntry;
use snapback_core::{DeploymentId, LifecycleEvent, Timestamp};
use snapback_wire::trace::replay;

use comparison::Numbers;

use crate::arguments::parse_id;
use crate::history::outcome;
use crate::output::{Failure, block_on, exit, human, print_json, print_text};
use crate::pause::{self, Shown};
use crate::record::Source;

/// Arguments of `snapback explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Deployment id
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: DeploymentId,
    #[command(flatten)]
    source: Source,
    /// Print one JSON document; times are milliseconds since 1970 (UTC)
    #[arg(long)]
    json: bool,
    /// Write what the comparison was given, for `snapback judge`, and nothing else; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    trace: Option<PathBuf>,
}

impl Explain {
    pub(crate) fn run(self) -> ExitCode {
        exit(block_on(self.tell()))
    }

    async fn tell(self) -> Result<(), Failure> {
        let opened = self.source.open().await?;
        let loaded = opened.aws.load(&self.id).await.map_err(Failure::unable);
        let timeline = opened.aws.timeline(&self.id).await.map_err(Failure::unable);
        let numbers = match &loaded {
            Ok(Some(record)) => Numbers::load(&opened.aws, record).await,
            Ok(None) | Err(_) => Ok(None),
        };
        let pauses = pause::read(&opened.aws).await;
        let Some(record) = loaded? else {
            return Err(Failure::unable(format!(
                "deployment {} is not on record: Snapback has not seen it, or its record has expired (snapback history lists \
                 what there is)",
                self.id
            )));
        };
        if let Some(path) = &self.trace {
            if self.source.is_store(path) {
                return Err(Failure::input(format!(
                    "{} is the record itself: write the trace elsewhere",
                    path.display()
                )));
            }
            return trace(&record, &numbers, path);
        }
        let timeline = timeline?;
        let paused = pauses.map(|pauses| pause::warn(&pauses, &record.deployment.identity.group).map(Shown::of));
        if self.json {
            return print_json(&document(&record, &timeline, &numbers, &pause::member(&paused)));
        }
        print_text(&text(&record, &timeline, &numbers))
    }
}

/// Writes the trace of one deployment: what decides, then what may only tell.
fn trace(record: &Record, numbers: &Result<Option<Numbers>, String>, path: &Path) -> Result<(), Failure> {
    let id = &record.deployment.identity.id;
    let unable = |why: &str| Failure::unable(format!("there is no trace of deployment {id}: {why}"));
    let numbers = match numbers {
        Ok(Some(numbers)) => numbers,
        Ok(None) => {
            return Err(unable(
                "its policy compares nothing, or nothing was judged yet (pairs of probes are not kept one by one)",
            ));
        }
        Err(why) => return Err(unable(why)),
    };
    let is_over = record.deployment.phase.is_closed();
    let replayed =
        |name: &str, decides| replay(name, numbers.polls(), decides, is_over).map_err(|why| unable(&why.to_string()));
    let decides = replayed(id.as_str(), true)?;
    let tells = replayed(&format!("{id} advice"), false)?;
    let text: String = decides.into_iter().chain(tells).collect();
    if path == Path::new("-") {
        return print_text(&text);
    }
    std::fs::write(path, &text)
        .map_err(|error| Failure::unable(format!("cannot write {}: {error}", path.display())))?;
    let (path, polls) = (path.display(), numbers.polls().len());
    print_text(&format!("{polls} polls are in {path}; judge them again with: snapback judge --explain < {path}\n"))
}

/// The whole timeline for people.
fn text(record: &Record, timeline: &[TimelineEntry], numbers: &Result<Option<Numbers>, String>) -> String {
    let deployment = &record.deployment;
    let target = &deployment.identity.target;
    let mut out = format!(
        "Deployment {} of {} ({})\n  {}:{} from version {} to {}, created {}\n  mode {}, bake {}\n  outcome: {}{}\n",
        deployment.identity.id,
        deployment.identity.service,
        deployment.identity.group,
        target.name(),
        target.route(),
        target.baseline(),
        target.canary(),
        deployment.identity.created_at,
        record.policy.mode,
        human(Some(record.policy.bake)),
        outcome(deployment).unwrap_or("still running"),
        deployment
            .blame()
            .map_or_else(String::new, |blame| { format!(" because of {}, by {}", blame.cause, blame.trigger) }),
    );
    out.push_str("\nWhy\n");
    out.push_str(&why(record));
    if let Some(rollback) = &record.rollback {
        out.push_str("\nThe rollback\n");
        out.push_str(&times(rollback, deployment.identity.created_at));
    }
    let compared = match numbers {
        Ok(numbers) => numbers.as_ref().map(|numbers| numbers.text(record)),
        Err(why) => Some(format!("  cannot be read: {why}\n")),
    };
    if let Some(compared) = compared {
        out.push_str(&format!("\nThe comparison\n{compared}"));
    }
    out.push_str("\nWhat happened\n");
    for line in timeline {
        let at = human(Some(line.at.since(deployment.identity.created_at)));
        out.push_str(&format!("  {at:>12}  {:<10} {}\n", line.kind.as_str(), line.text));
    }
    out.push_str("\nAlarms that watched it\n");
    for alarm in &deployment.observation.alarms {
        let state = alarm.last.map_or_else(|| "does not exist".to_owned(), |(state, _)| state.to_string());
        let signal = alarm.signal.map_or("the group's own", |signal| signal.as_str());
        let exempt = if alarm.is_exempt { ", exempt: red before traffic" } else { "" };
        out.push_str(&format!("  {} ({signal}): {state}{exempt}\n", alarm.name));
    }
    if deployment.observation.alarms.is_empty() {
        out.push_str("  none\n");
    }
    for lease in &record.leases {
        let answer = lease.answered.map_or_else(
            || "not answered yet".to_owned(),
            |(status, at)| format!("answered {status} after {}", human(Some(at.since(lease.taken_at)))),
        );
        out.push_str(&format!("Hook {}: {answer}\n", lease.event));
    }
    for notice in &record.notices {
        let delivery = match &notice.delivery {
            Delivery::Sent(at) => format!("sent {at}"),
            Delivery::Pending | Delivery::Claimed(_) => "not sent yet; the sweep sends it".to_owned(),
        };
        out.push_str(&format!("Message \"{}\": {delivery}\n", notice.subject));
    }
    out
}

/// The answer in one or two sentences.
fn why(record: &Record) -> String {
    let deployment = &record.deployment;
    let warnings: String = deployment.warnings.iter().map(|warning| format!("  Warning: {warning}\n")).collect();
    let notes: String =
        deployment.observation.notes.iter().map(|note| format!("  Note: {}\n", note.sentence())).collect();
    let reason = match (&record.rollback, deployment.refusal()) {
        (Some(rollback), _) => format!("  {}\n", rollback.why),
        (None, Some(refusal)) => format!("  Refused before traffic: {}\n", refusal.why),
        (None, None) if deployment.is_return() => {
            "  It went back to a known good version, so it was let through.\n".to_owned()
        }
        (None, None) if deployment.phase.is_closed() => {
            if warnings.is_empty() && notes.is_empty() {
                "  Nothing bad was seen before traffic, while traffic shifted, or in its bake.\n".to_owned()
            } else {
                "  Nothing was seen that may roll it back; this was seen or not certain:\n".to_owned()
            }
        }
        (None, None) => "  Nothing bad has been seen so far.\n".to_owned(),
    };
    reason + &warnings + &notes
}

fn times(rollback: &Rollback, start: Timestamp) -> String {
    let mut out = String::new();
    let mut line = |name: &str, at: Option<Timestamp>, remark: &str| {
        if let Some(at) = at {
            out.push_str(&format!("  {name:<16} {at}  (+{}){remark}\n", human(Some(at.since(start)))));
        }
    };
    let source = if rollback.impact_is_from_alarm { ", oldest breaching datapoint of the alarm" } else { "" };
    line("impact began", rollback.impact_started_at, source);
    line("detected", Some(rollback.detected_at), "");
    line("requested", rollback.requested_at, rollback.call.map_or(", by CodeDeploy itself", |_| ""));
    line("rolled back", rollback.rolled_back_at, "");
    line("recovered", rollback.recovered_at, ", the alarm is OK again");
    if let Some(id) = &rollback.rollback_deployment {
        out.push_str(&format!("  rollback deployment {id}\n"));
    }
    if let RollbackResult::Failed(why) = &rollback.result {
        out.push_str(&format!("  NOT DONE: {why}\n"));
    }
    if let Some((who, why)) = &rollback.asked_by {
        out.push_str(&format!("  asked for by {who}: {why}\n"));
    }
    out
}

/// The whole timeline for machines.
fn document(
    record: &Record,
    timeline: &[TimelineEntry],
    numbers: &Result<Option<Numbers>, String>,
    paused: &Value,
) -> Value {
    let deployment = &record.deployment;
    let ms = |at: Option<Timestamp>| at.map(Timestamp::ms);
    let (comparison, series) = comparison_and_series(numbers);
    let hook = |event: LifecycleEvent| {
        record.lease(event).map(|lease| {
            json!({
                "taken_ms": lease.taken_at.ms(),
                "result": lease.result.as_ref().map(|(status, _)| status.as_str()),
                "answered": lease.answered.map(|(status, _)| status.as_str()),
                "answered_ms": lease.answered.map(|(_, at)| at.ms()),
            })
        })
    };
    json!({
        "deployment": deployment.identity.id.as_str(),
        "application": deployment.identity.group.application(),
        "deployment_group": deployment.identity.group.group(),
        "service": deployment.identity.service,
        "target": {
            "name": deployment.identity.target.name(), "alias": deployment.identity.target.route(),
            "from_version": deployment.identity.target.baseline(), "to_version": deployment.identity.target.canary()
        },
        "mode": record.policy.mode.as_str(),
        "paused": paused,
        "is_return": deployment.is_return(),
        "created_ms": deployment.identity.created_at.ms(),
        "shift_started_ms": ms(deployment.observation.shift_started_at),
        "bake_started_ms": ms(deployment.bake().map(|bake| bake.started_at)),
        "bake_ends_ms": ms(deployment.bake().map(|bake| bake.ends_at)),
        "closed_ms": ms(deployment.closed_at()),
        "outcome": outcome(deployment),
        "cause": deployment.blame().map(|blame| blame.cause.as_str()),
        "trigger": deployment.blame().map(|blame| blame.trigger.as_str()),
        "why": why(record).trim(),
        "doubts": deployment.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "weights": deployment.observation.weights.iter().map(|(at, share)| json!({"at_ms": at.ms(), "share": share})).collect::<Vec<_>>(),
        "alarms": deployment.observation.alarms.iter().map(|alarm| json!({
            "name": alarm.name.as_str(),
            "signal": alarm.signal.map(|signal| signal.as_str()),
            "state": alarm.last.map(|(state, _)| state.as_str()),
            "since_ms": alarm.last.map(|(_, since)| since.ms()),
            "exempt": alarm.is_exempt
        })).collect::<Vec<_>>(),
        "hooks": {
            "BeforeAllowTraffic": hook(LifecycleEvent::BeforeAllowTraffic),
            "AfterAllowTraffic": hook(LifecycleEvent::AfterAllowTraffic)
        },
        "rollback": record.rollback.as_ref().map(rollback_document),
        "notices": record.notices.iter().map(|notice| json!({
            "kind": notice.kind.as_str(),
            "subject": notice.subject,
            "body": notice.body,
            "sent_ms": if let Delivery::Sent(at) = &notice.delivery { Some(at.ms()) } else { None }
        })).collect::<Vec<_>>(),
        "evidence": timeline.iter().map(|line| json!({
            "at_ms": line.at.ms(), "kind": line.kind.as_str(), "text": line.text, "details": line.details
        })).collect::<Vec<_>>(),
        "comparison": comparison,
        "series": series
    })
}

fn rollback_document(rollback: &Rollback) -> Value {
    let ms = |at: Option<Timestamp>| at.map(Timestamp::ms);
    json!({
        "cause": rollback.cause.as_str(),
        "trigger": rollback.trigger.as_str(),
        "why": rollback.why,
        "alarms": rollback.alarms.iter().map(|alarm| alarm.as_str()).collect::<Vec<_>>(),
        "impact_started_ms": ms(rollback.impact_started_at),
        "impact_is_from_alarm": rollback.impact_is_from_alarm,
        "detected_ms": rollback.detected_at.ms(),
        "requested_ms": ms(rollback.requested_at),
        "rolled_back_ms": ms(rollback.rolled_back_at),
        "recovered_ms": ms(rollback.recovered_at),
        "rollback_deployment": rollback.rollback_deployment.as_ref().map(DeploymentId::as_str),
        "call": rollback.call.map(|call| call.as_str()),
        "call_error": rollback.call_error,
        "result": match &rollback.result {
            RollbackResult::Pending => "pending",
            RollbackResult::Done => "done",
            RollbackResult::Failed(_) => "failed",
        },
        "not_done_because": if let RollbackResult::Failed(why) = &rollback.result { Some(why) } else { None },
        "asked_by": rollback.asked_by.as_ref().map(|(who, why)| json!({"who": who, "why": why})),
    })
}

fn comparison_and_series(numbers: &Result<Option<Numbers>, String>) -> (Value, Value) {
    match numbers {
        Ok(Some(numbers)) => (numbers.document(), numbers.series()),
        Ok(None) => (Value::Null, json!([])),
        Err(why) => (json!({ "unreadable": why }), json!([])),
    }
}
