//! What to do next for one deployment: the single place that decides.
//!
//! [`next_step`] is level-triggered: it looks at what is on record and at what the platform and the alarms show now, and
//! names one step. The caller carries the step out, looks again and asks again until the answer is
//! [`Step::Rest`]. Any caller may crash between any two steps; the next one, whoever that is, goes on from the record.
//!
//! `verdict` knows no platform: it tells from findings whether to go back, hold, warn or do nothing. `codedeploy` knows how that
//! platform gates, holds and undoes. `observations` and `requests` serve both.

mod codedeploy;
mod observations;
mod requests;
#[cfg(test)]
mod tests;
mod verdict;

use crate::Timestamp;
use crate::alarm::{AlarmReading, AlarmState, WatchedAlarm};
use crate::deployment::Deployment;
use crate::finding::Control;
use crate::lifecycle::{Blame, Ending, Event, Exposure, Refusal};
use crate::notice::{Delivery, Notice, NoticeKind};
use crate::observed::Observed;
use crate::pause::{self, Pause, Restraint};
use crate::record::{GoodRevision, Record, RefusedRevision, Write};
use crate::rollback::{Claim, Rollback, RollbackAction, RollbackResult};
use crate::target::WayBack;
use crate::timeline::{EntryKind, TimelineEntry};
use crate::vocabulary::{Cause, HookStatus, LifecycleEvent, Mode, Outcome, Signal, Trigger};
use crate::warning::{Uncertainty, Warning};
use snapback_judge::degradation::Degradation;
use snapback_judge::result::AnalysisResult;

/// Alarms are read by the sweep at most once in this many ticks: the quota of DescribeAlarms is shared with CodeDeploy.
pub const READ_ALARMS_EVERY_TICKS: u32 = 6;
/// The sweep acts on a red alarm that it found itself only when the transition is this many ticks old: the event goes first.
pub const EVENT_GOES_FIRST_TICKS: u32 = 2;

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
    pub(crate) fn list(&self) -> &[AlarmReading] {
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
    /// What the platform shows.
    pub observed: &'a Observed,
    /// What the alarms show.
    pub readings: &'a Readings,
    /// What the comparison of canary and baseline says; `None`: nothing is compared, or the caller has not looked.
    pub analysis: Option<&'a AnalysisResult>,
    /// Which versions are degraded right now, by each signal whose numbers were read in this reconciliation.
    pub degradation: &'a [(Signal, Degradation)],
    /// What control probes found; `None`: nobody has asked in this reconciliation.
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
        pause::in_force(self.pauses, Some(&self.record.deployment.identity.group))
    }

    /// The mode in which findings of `signal` are acted on now. Nothing here asks the policy itself, or a pause would not hold.
    fn mode_of(&self, signal: Option<Signal>) -> Mode {
        pause::mode_of(&self.record.policy, signal, self.pause())
    }

    /// The mode in which the deployment as a whole is judged now.
    fn mode(&self) -> Mode {
        self.mode_of(None)
    }

    /// The way back from there, by what the platform can do.
    fn way_back(&self, exposure: Exposure) -> WayBack {
        self.record.deployment.identity.target.capabilities().way_back(exposure)
    }

    /// What keeps Snapback from acting in `mode`.
    fn restraint(&self, mode: Mode) -> Restraint {
        pause::restraint(mode, self.pause())
    }
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
    /// Read the latest numbers of both versions for this kind of impact, then ask again with which versions are degraded.
    ReadDegradation(Signal),
    /// Run the policy's probes against both versions by their numbers, then ask again with what they found.
    ControlProbe,
    /// Make the platform go back: try these actions in order until one is accepted. The caller holds the claim.
    Undo(Vec<RollbackAction>),
    /// Answer a hook with its lease's execution id.
    Answer(LifecycleEvent, HookStatus, String),
    /// End the deployment with rollback before any traffic: there is no execution id to answer with.
    StopBeforeTraffic,
    /// Claim and send one notice.
    Send(NoticeKind),
    /// Everything is said and done: set the expiry, leave the index of live deployments.
    Archive,
}

/// The next step for a deployment.
#[must_use]
pub fn next_step(case: &Case<'_>) -> Step {
    let deployment = &case.record.deployment;
    if deployment.is_archived() {
        return Step::Rest;
    }
    let step = if deployment.phase.is_closed() {
        Step::Rest
    } else {
        observations::take_in(case)
            .or_else(|| codedeploy::follow(case))
            .or_else(|| requests::next(case))
            .or_else(|| verdict::next(case))
            .or_else(|| codedeploy::answer(case))
            .unwrap_or(Step::Rest)
    };
    if step != Step::Rest {
        return step;
    }
    let all_sent = case.record.notices.iter().all(|notice| matches!(notice.delivery, Delivery::Sent(_)));
    let rest = if deployment.phase.is_closed() && all_sent { Step::Archive } else { Step::Rest };
    notice_due(case).unwrap_or(rest)
}

/// Whether the sweep should read the alarms of this deployment now. `last`: when it read them last, if it knows.
#[must_use]
pub fn should_read_alarms(record: &Record, last: Option<Timestamp>, now: Timestamp) -> bool {
    let deployment = &record.deployment;
    if deployment.phase.is_closed() || deployment.is_return() {
        return false;
    }
    // One that is red by data from before the shift counts from one tick to the next.
    let is_early = deployment.observation.alarms.iter().any(|alarm| alarm.is_early);
    let ticks = if is_early { 1 } else { READ_ALARMS_EVERY_TICKS };
    let is_due = |at: Timestamp| now.since(at) >= record.policy.tick * ticks;
    let last = last.max(deployment.observation.alarms_read_at);
    let bake_is_over =
        deployment.bake().is_some_and(|bake| now >= bake.ends_at && last.is_none_or(|at| at < bake.ends_at));
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
/// were degraded then.
fn valid_analysis<'a>(case: &Case<'a>) -> Option<&'a AnalysisResult> {
    let over_at = case.record.deployment.observation.incident.and_then(|incident| incident.over_at);
    case.analysis.filter(|judged| over_at.is_none_or(|over_at| judged.until >= over_at))
}

/// When the alarms were read last, this reconciliation included: a reading that changes nothing is not stored.
fn alarms_read_at(case: &Case<'_>) -> Option<Timestamp> {
    let now = match case.readings {
        Readings::All(_, at) => Some(*at),
        Readings::None | Readings::Event { .. } | Readings::Failed(_) => None,
    };
    now.max(case.record.deployment.observation.alarms_read_at)
}

/// A notice that nobody sends yet, or whose sender is gone.
fn notice_due(case: &Case<'_>) -> Option<Step> {
    case.record.notices.iter().find_map(|notice| match &notice.delivery {
        Delivery::Pending => Some(Step::Send(notice.kind)),
        Delivery::Claimed(claim) if case.now >= claim.until => Some(Step::Send(notice.kind)),
        Delivery::Claimed(_) | Delivery::Sent(_) => None,
    })
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
    let mut writes = vec![Write::Entry(
        TimelineEntry::new(case.now, EntryKind::Verdict, line)
            .with("cause", rollback.cause)
            .with("trigger", rollback.trigger)
            .with("exposure", format!("{:?}", rollback.exposure)),
    )];
    let refuse_for = case.record.policy.refuse_for;
    if let Some(revision) = deployment.identity.revisions.canary.clone().filter(|_| rollback.cause.blames_revision())
        && !refuse_for.is_zero()
    {
        writes.push(Write::Refused(RefusedRevision {
            revision,
            version: deployment.identity.target.canary().to_owned(),
            deployment: deployment.identity.id.clone(),
            cause: rollback.cause,
            at: case.now,
            until: case.now + refuse_for,
        }));
    }
    writes.push(Write::Rollback(rollback));
    Step::Record(Box::new(deployment), writes)
}

/// Records a refusal before traffic; the answer to the platform is the next step.
fn refuse(case: &Case<'_>, cause: Cause, trigger: Trigger, why: &str) -> Step {
    let mut deployment = case.record.deployment.clone();
    let refusal = Refusal { blame: Blame { cause, trigger }, why: why.to_owned(), at: case.now };
    let Ok(phase) = deployment.phase.next(Event::RefusalDecided(refusal)) else {
        return Step::Rest;
    };
    deployment.phase = phase;
    let line = TimelineEntry::new(case.now, EntryKind::Verdict, format!("refused before traffic: {cause}: {why}"))
        .with("cause", cause)
        .with("trigger", trigger);
    Step::Record(Box::new(deployment), vec![Write::Entry(line)])
}

/// Ends the record: outcome, cause and path, last known good, the notice to people.
fn end(case: &Case<'_>, mut deployment: Deployment, ending: Ending, mut writes: Vec<Write>) -> Step {
    let Ok(phase) = deployment.phase.next(Event::Ended(ending, case.now)) else {
        return Step::Rest;
    };
    deployment.phase = phase;
    let outcome = ending.outcome();
    if outcome.is_good() {
        writes.push(Write::Good(GoodRevision {
            at: case.now,
            revision: deployment.identity.revisions.canary.clone(),
            version: deployment.identity.target.canary().to_owned(),
            is_inherited: false,
            is_doubtful: !is_proven(&deployment, outcome),
        }));
    }
    let line = TimelineEntry::new(case.now, EntryKind::Closed, format!("ended: {outcome}")).with("outcome", outcome);
    writes.push(Write::Entry(line));
    Step::Record(Box::new(deployment), writes)
}

/// Whether the version is one to go back to: it was promoted, or nothing but too little traffic kept it from that and no alarm is red.
fn is_proven(deployment: &Deployment, outcome: Outcome) -> bool {
    let is_of_little_traffic = |warning: &Warning| *warning == Warning::BakeEnded(Uncertainty::TooLittleTraffic);
    let is_red = |alarm: &WatchedAlarm| alarm.last.is_some_and(|(state, _)| state == AlarmState::Alarm);
    outcome == Outcome::Promoted
        || (outcome == Outcome::Inconclusive
            && deployment.warnings.iter().filter(|warning| warning.leaves_doubt()).all(is_of_little_traffic)
            && !deployment.observation.alarms.iter().any(is_red))
}

/// A notice as a write, unless people asked to be left alone (mode `observe` of the policy). A pause keeps Snapback from acting,
/// not from telling what really happens: a rollback that was on its way, a person's, the platform's own.
fn tell(case: &Case<'_>, notice: Notice) -> Option<Write> {
    let is_new = case.record.notices.iter().all(|known| known.kind != notice.kind);
    (is_new && case.record.policy.mode != Mode::Observe).then_some(Write::Notice(notice))
}
