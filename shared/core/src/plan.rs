//! What to do next for one deployment: the single place that decides.
//!
//! [`next_step`] is level-triggered: it looks at what is on record and at what CodeDeploy, the alias and the alarms show
//! now, and names one step. The caller carries the step out, looks again and asks again until the answer is
//! [`Step::Rest`]. Any caller may crash between any two steps; the next one, whoever that is, goes on from the record.

mod close;
mod exposed;
mod going_back;
mod hooks;
mod intake;
#[cfg(test)]
mod tests;

use crate::alarm::{AlarmReading, AlarmState};
use crate::deployment::{
    Deployment, Evidence, EvidenceKind, GoodRevision, Lease, Record, Refusal, RefusedRevision, Verb,
};
use crate::judged::{Control, Judged};
use crate::lifecycle::{Event, Exposure};
use crate::notice::{Delivery, Notice, NoticeKind};
use crate::observed::Observed;
use crate::pause::{self, Pause};
use crate::rollback::{Claim, Rollback, RollbackResult, UndoCall};
use crate::suffering::Suffering;
use crate::time::Timestamp;
use crate::words::{Cause, HookStatus, LifecycleEvent, Mode, Outcome, Signal, Trigger};
use std::time::Duration;

/// Alarms are read by the sweep at most once in this many ticks: the quota of DescribeAlarms is shared with CodeDeploy.
pub const READ_ALARMS_EVERY_TICKS: u32 = 6;
/// The sweep acts on a red alarm that it found itself only when the transition is this many ticks old: the event goes first.
pub const EVENT_GOES_FIRST_TICKS: u32 = 2;
/// The last hook is answered this long after its event began, whatever happens: CodeDeploy gives it an hour.
pub const LONGEST_HOLD: Duration = Duration::from_secs(55 * 60);

/// Who asks, and on whose behalf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The path; it becomes the trigger of what is decided.
    pub trigger: Trigger,
    /// Request id or process, for claims.
    pub owner: String,
}

/// What the caller knows about alarms.
#[derive(Debug, Clone, PartialEq)]
pub enum Readings {
    /// Nothing new.
    None,
    /// One transition, from an event; `source` identifies the event.
    Event {
        /// The transition.
        reading: AlarmReading,
        /// Event id.
        source: String,
    },
    /// All alarms of the deployment that exist, and when they were read.
    All(Vec<AlarmReading>, Timestamp),
    /// They could not be read, and why.
    Failed(String),
}

impl Readings {
    fn list(&self) -> &[AlarmReading] {
        match self {
            Self::None | Self::Failed(_) => &[],
            Self::Event { reading, .. } => std::slice::from_ref(reading),
            Self::All(list, _) => list,
        }
    }
}

/// Everything that a decision may look at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What is on record.
    pub record: &'a Record,
    /// What CodeDeploy and the alias show.
    pub observed: &'a Observed,
    /// What the alarms show.
    pub readings: &'a Readings,
    /// What the comparison of canary and baseline says; `None`: nothing is compared, or the caller has not looked.
    pub judged: Option<&'a Judged>,
    /// Who suffers right now, by each signal that somebody looked at in this visit.
    pub suffering: &'a [(Signal, Suffering)],
    /// What control probes found; `None`: nobody has asked in this visit.
    pub control: Option<Control>,
    /// The last pause of each scope, as far as they could be read.
    pub pauses: &'a [Pause],
    /// Who asks.
    pub caller: &'a Caller,
    /// Now.
    pub now: Timestamp,
}

impl Case<'_> {
    /// The pause that holds for the deployment.
    fn pause(&self) -> Option<&Pause> {
        pause::in_force(self.pauses, Some(&self.record.deployment.group))
    }

    /// The mode in which findings of `signal` are acted on now. Nothing here asks the policy itself, or a pause would not hold.
    fn mode_of(&self, signal: Option<Signal>) -> Mode {
        pause::mode_of(&self.record.policy, signal, self.pause())
    }

    /// The mode in which the deployment as a whole is judged now.
    fn mode(&self) -> Mode {
        self.mode_of(None)
    }

    /// What keeps Snapback from acting in `mode`, for people.
    fn restraint(&self, mode: Mode) -> String {
        pause::restraint(mode, self.pause())
    }
}

/// One more write in the same transaction as a STATE.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Adds a line to the story; the same line twice is one item.
    Evidence(Evidence),
    /// Writes the rollback (the intent, or what became of it).
    Rollback(Rollback),
    /// Writes a notice.
    Notice(Notice),
    /// Replaces a hook's lease; if it has been answered meanwhile, nothing of the transaction is written.
    Lease(Lease),
    /// Adds a last known good revision to the deployment's group.
    Good(GoodRevision),
    /// Refuses a revision in the deployment's group for a time.
    Refused(RefusedRevision),
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing now.
    Rest,
    /// Store this deployment with these writes in one transaction.
    Record(Box<Deployment>, Vec<Write>),
    /// Read all alarms of the deployment, then ask again.
    ReadAlarms,
    /// Read the latest numbers of both versions for this kind of impact, then ask again with who suffers.
    LookAtVersions(Signal),
    /// Run the policy's probes against both versions by their numbers, then ask again with what they found.
    ControlProbe,
    /// Make CodeDeploy go back: try these calls in order until one is accepted. The caller holds the claim.
    Undo(Vec<UndoCall>),
    /// Answer a hook with its lease's execution id.
    Answer(LifecycleEvent, HookStatus, String),
    /// StopDeployment with rollback before any traffic: there is no execution id to answer with.
    StopBeforeTraffic,
    /// Claim and send one notice.
    Send(NoticeKind),
    /// Everything is said and done: set the expiry, leave the index of live deployments.
    Settle,
}

/// The next step for a deployment.
#[must_use]
pub fn next_step(case: &Case<'_>) -> Step {
    let deployment = &case.record.deployment;
    if deployment.is_settled {
        return Step::Rest;
    }
    let step = if deployment.phase.is_closed() {
        Step::Rest
    } else {
        intake::take_in(case)
            .or_else(|| going_back::next(case))
            .or_else(|| close::next(case))
            .or_else(|| ordered(case))
            .or_else(|| exposed::next(case))
            .or_else(|| hooks::next(case))
            .unwrap_or(Step::Rest)
    };
    if step != Step::Rest {
        return step;
    }
    let all_sent = case.record.notices.iter().all(|notice| matches!(notice.delivery, Delivery::Sent(_)));
    let rest = if deployment.phase.is_closed() && all_sent { Step::Settle } else { Step::Rest };
    notice_due(case).unwrap_or(rest)
}

/// Whether the sweep should read the alarms of this deployment now. `last`: when it read them last, if it knows.
#[must_use]
pub fn should_read_alarms(record: &Record, last: Option<Timestamp>, now: Timestamp) -> bool {
    let deployment = &record.deployment;
    if deployment.phase.is_closed() || deployment.is_return {
        return false;
    }
    let is_due = |at: Timestamp| now.since(at) >= record.policy.tick * READ_ALARMS_EVERY_TICKS;
    let last = last.max(deployment.alarms_read_at);
    let bake_is_over =
        deployment.bake.is_some_and(|bake| now >= bake.ends_at && last.is_none_or(|at| at < bake.ends_at));
    last.is_none_or(is_due) || bake_is_over
}

/// The rollback with its recovery time, when `reading` says that an alarm of its evidence is fine again.
#[must_use]
pub fn recovery(record: &Record, reading: &AlarmReading) -> Option<Rollback> {
    let rollback = record.rollback.as_ref()?;
    let rolled_back_at = rollback.rolled_back_at?;
    let is_over = rollback.recovered_at.is_none()
        && reading.state == AlarmState::Ok
        && reading.since >= rolled_back_at
        && rollback.alarms.first() == Some(&reading.name);
    is_over.then(|| Rollback { recovered_at: Some(reading.since), ..rollback.clone() })
}

/// What the comparison says of the time that counts. What was judged before a shared incident was over is void: both versions
/// suffered then.
fn valid_judged<'a>(case: &Case<'a>) -> Option<&'a Judged> {
    let over_at = case.record.deployment.incident.and_then(|incident| incident.over_at);
    case.judged.filter(|judged| over_at.is_none_or(|over_at| judged.until >= over_at))
}

/// When the alarms were read last, this visit included: a reading that changes nothing is not stored.
fn alarms_read_at(case: &Case<'_>) -> Option<Timestamp> {
    let now = match case.readings {
        Readings::All(_, at) => Some(*at),
        Readings::None | Readings::Event { .. } | Readings::Failed(_) => None,
    };
    now.max(case.record.deployment.alarms_read_at)
}

/// A notice that nobody sends yet, or whose sender is gone.
fn notice_due(case: &Case<'_>) -> Option<Step> {
    case.record.notices.iter().find_map(|notice| match &notice.delivery {
        Delivery::Pending => Some(Step::Send(notice.kind)),
        Delivery::Claimed(claim) if case.now >= claim.until => Some(Step::Send(notice.kind)),
        Delivery::Claimed(_) | Delivery::Sent(_) => None,
    })
}

/// What a person asked for, and what a refusal that did not take effect still demands.
fn ordered(case: &Case<'_>) -> Option<Step> {
    let deployment = &case.record.deployment;
    if deployment.is_return {
        return None;
    }
    let order = deployment.order.as_ref().filter(|order| order.verb == Verb::RollBack);
    match (deployment.phase.exposure(), order, &deployment.refusal) {
        (Some(exposure), Some(order), _) => {
            let mut rollback = intent(case, exposure, Cause::Operator, &format!("{} asked: {}", order.who, order.why));
            rollback.trigger = Trigger::Operator;
            rollback.asked_by = Some((order.who.clone(), order.why.clone()));
            Some(decide(case, rollback))
        }
        (Some(exposure), None, Some(refusal)) => {
            let why = format!("refused before traffic, but traffic started all the same: {}", refusal.why);
            Some(decide(case, intent(case, exposure, refusal.cause, &why)))
        }
        (None, Some(order), None) => {
            let why = format!("{} asked: {}", order.who, order.why);
            Some(refuse(case, Cause::Operator, Trigger::Operator, &why))
        }
        (Some(_), None, None) | (None, Some(_), Some(_)) | (None, None, _) => None,
    }
}

/// A new intent, claimed by the caller.
fn intent(case: &Case<'_>, exposure: Exposure, cause: Cause, why: &str) -> Rollback {
    Rollback {
        cause,
        trigger: case.caller.trigger,
        exposure,
        why: why.to_owned(),
        alarms: Vec::new(),
        asked_by: None,
        impact_started_at: None,
        impact_is_from_alarm: false,
        detected_at: case.now,
        claim: Claim::new(&case.caller.owner, case.now),
        tried_at: None,
        call_error: None,
        requested_at: None,
        call: None,
        rollback_deployment: None,
        rolled_back_at: None,
        recovered_at: None,
        result: RollbackResult::Pending,
    }
}

/// Writes the intent, before any call is made, and refuses the revision where the cause blames it.
fn decide(case: &Case<'_>, rollback: Rollback) -> Step {
    let mut deployment = case.record.deployment.clone();
    let Ok(phase) = deployment.phase.next(Event::RollbackDecided(rollback.exposure)) else {
        return Step::Rest;
    };
    deployment.phase = phase;
    let line = format!("roll back: {}: {}", rollback.cause, rollback.why);
    let mut writes = vec![Write::Evidence(
        Evidence::new(case.now, EvidenceKind::Verdict, line)
            .with("cause", rollback.cause)
            .with("trigger", rollback.trigger)
            .with("exposure", format!("{:?}", rollback.exposure)),
    )];
    let refuse_for = case.record.policy.refuse_for;
    if let Some(revision) = deployment.canary_revision.clone().filter(|_| rollback.cause.blames_revision())
        && !refuse_for.is_zero()
    {
        writes.push(Write::Refused(RefusedRevision {
            revision,
            version: deployment.target.canary.clone(),
            deployment: deployment.id.clone(),
            cause: rollback.cause,
            at: case.now,
            until: case.now + refuse_for,
        }));
    }
    writes.push(Write::Rollback(rollback));
    Step::Record(Box::new(deployment), writes)
}

/// Records a refusal before traffic; the answer to CodeDeploy is the next step.
fn refuse(case: &Case<'_>, cause: Cause, trigger: Trigger, why: &str) -> Step {
    let mut deployment = case.record.deployment.clone();
    let Ok(phase) = deployment.phase.next(Event::RefusalDecided) else {
        return Step::Rest;
    };
    deployment.phase = phase;
    deployment.refusal = Some(Refusal { cause, trigger, why: why.to_owned(), at: case.now });
    let line = Evidence::new(case.now, EvidenceKind::Verdict, format!("refused before traffic: {cause}: {why}"))
        .with("cause", cause)
        .with("trigger", trigger);
    Step::Record(Box::new(deployment), vec![Write::Evidence(line)])
}

/// Ends the record: outcome, cause and path, last known good, the notice to people.
fn end(
    case: &Case<'_>,
    mut deployment: Deployment,
    outcome: Outcome,
    why: Option<(Cause, Trigger)>,
    mut writes: Vec<Write>,
) -> Step {
    let Ok(phase) = deployment.phase.next(Event::Ended(outcome)) else {
        return Step::Rest;
    };
    deployment.phase = phase;
    deployment.closed_at = Some(case.now);
    deployment.cause = why.map(|(cause, _)| cause);
    deployment.trigger = why.map(|(_, trigger)| trigger);
    if outcome.is_good() {
        writes.push(Write::Good(GoodRevision {
            at: case.now,
            revision: deployment.canary_revision.clone(),
            version: deployment.target.canary.clone(),
            is_inherited: false,
        }));
    }
    let line = Evidence::new(case.now, EvidenceKind::Closed, format!("ended: {outcome}")).with("outcome", outcome);
    writes.push(Write::Evidence(line));
    Step::Record(Box::new(deployment), writes)
}

/// A notice as a write, unless people asked to be left alone (mode `observe` of the policy). A pause keeps Snapback from acting,
/// not from telling what really happens: a rollback that was on its way, a person's, CodeDeploy's own.
fn tell(case: &Case<'_>, notice: Notice) -> Option<Write> {
    let is_new = case.record.notices.iter().all(|known| known.kind != notice.kind);
    (is_new && case.record.policy.mode != Mode::Observe).then_some(Write::Notice(notice))
}
