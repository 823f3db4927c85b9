//! One watched deployment: everything that Snapback knows of it and keeps in its record.

use crate::alarm::{AlarmState, WatchedAlarm};
use crate::id::{AlarmName, DeploymentId, ExecutionId, GroupRef, RevisionId};
use crate::lifecycle::Phase;
use crate::notice::Notice;
use crate::observed::{AutoRollback, Platform, Target};
use crate::policy::Policy;
use crate::rollback::Rollback;
use crate::time::Timestamp;
use crate::words::{Cause, HookStatus, LifecycleEvent, Trigger};
use std::collections::BTreeMap;
use std::time::Duration;

/// Observed weights kept per deployment; a canary has two steps, the longest linear one ten.
pub const MAX_WEIGHTS: usize = 64;
/// Doubts kept per deployment; more would say nothing new.
pub const MAX_DOUBTS: usize = 20;
/// How long records are kept after a deployment is closed.
pub const KEEP_CLOSED: Duration = Duration::from_secs(400 * 24 * 3600);

/// Functions that the AppSpec names for the two hooks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HookFunctions {
    /// BeforeAllowTraffic.
    pub before: Option<String>,
    /// AfterAllowTraffic.
    pub after: Option<String>,
}

impl HookFunctions {
    /// Whether the hook of `event` is one of Snapback's: its function name contains `snapback`. Hooks of others are never
    /// judged overdue.
    #[must_use]
    pub fn is_ours(&self, event: LifecycleEvent) -> bool {
        let function = match event {
            LifecycleEvent::BeforeAllowTraffic => &self.before,
            LifecycleEvent::AfterAllowTraffic => &self.after,
        };
        function.as_ref().is_some_and(|name| name.to_ascii_lowercase().contains("snapback"))
    }
}

/// A shared incident: both versions suffer, so going back would not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incident {
    /// When it was seen.
    pub since: Timestamp,
    /// When it was looked at last.
    pub checked_at: Timestamp,
    /// When it was over; `None`: it goes on.
    pub over_at: Option<Timestamp>,
    /// The kind of impact that showed it.
    pub cause: Cause,
}

impl Incident {
    /// Whether it goes on.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.over_at.is_none()
    }
}

/// The bake: the last hook is held open and alarms are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bake {
    /// When the hook event began.
    pub started_at: Timestamp,
    /// When it is answered if all is well.
    pub ends_at: Timestamp,
}

/// Why a deployment is refused before traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub cause: Cause,
    /// Who refused.
    pub trigger: Trigger,
    /// One line for people.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// What a person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// End the bake early.
    Promote,
    /// Go back.
    RollBack,
}

impl Verb {
    /// As it is stored and printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::RollBack => "rollback",
        }
    }
}

/// A request of a person, with who and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub verb: Verb,
    /// Who, as the command line knows it.
    pub who: String,
    /// Why, in their words.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// The STATE item of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its group.
    pub group: GroupRef,
    /// Service name of the policy.
    pub service: String,
    /// Its platform.
    pub platform: Platform,
    /// What it moves.
    pub target: Target,
    /// Identity of the new version; `None` when it could not be read.
    pub canary_revision: Option<RevisionId>,
    /// Identity of the old version.
    pub baseline_revision: Option<RevisionId>,
    /// Hook functions of the AppSpec.
    pub hooks: HookFunctions,
    /// CodeDeploy's word for who made it.
    pub creator: String,
    /// Whether it goes back to something good: answered at once, never judged, never rolled back.
    pub is_return: bool,
    /// Events on which CodeDeploy rolls back by itself.
    pub auto_rollback: AutoRollback,
    /// When CodeDeploy created it.
    pub created_at: Timestamp,
    /// When Snapback first saw it.
    pub registered_at: Timestamp,
    /// Phase of its life.
    pub phase: Phase,
    /// The alarms that concern it.
    pub alarms: Vec<WatchedAlarm>,
    /// When the new version began to get traffic.
    pub shift_started_at: Option<Timestamp>,
    /// Observed share of the new version, at each change, oldest first; at most [`MAX_WEIGHTS`].
    pub weights: Vec<(Timestamp, f64)>,
    /// The bake, once it began.
    pub bake: Option<Bake>,
    /// When all alarms were last read.
    pub alarms_read_at: Option<Timestamp>,
    /// Since when the alarms cannot be read.
    pub unreadable_since: Option<Timestamp>,
    /// Since when the metrics of the versions cannot be read.
    pub metrics_unreadable_since: Option<Timestamp>,
    /// The last shared incident.
    pub incident: Option<Incident>,
    /// How long traffic shifts by plan; `None` when the plan could not be read.
    pub planned_shift: Option<Duration>,
    /// Time between two steps of the shift by plan.
    pub planned_step: Option<Duration>,
    /// The service's past is no baseline before this: an earlier deployment ended here.
    pub history_from: Option<Timestamp>,
    /// Time-out of the new version.
    pub function_timeout: Option<Duration>,
    /// When the bake was found to be over and nothing bad: stored before the hook is answered, so that whoever decided otherwise
    /// in the same moment is seen.
    pub bake_passed_at: Option<Timestamp>,
    /// Why the outcome is less than certain, one line each; at most [`MAX_DOUBTS`].
    pub doubts: Vec<String>,
    /// Whether it was held in shift or bake.
    pub was_held: bool,
    /// Set when it is refused.
    pub refusal: Option<Refusal>,
    /// What a person asked for last.
    pub order: Option<Order>,
    /// When the pause began that is on its record and not over.
    pub paused_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// Cause of its refusal or rollback, written with the outcome.
    pub cause: Option<Cause>,
    /// Path of its refusal or rollback, written with the outcome.
    pub trigger: Option<Trigger>,
    /// Whether the record is complete: notices sent, index cleaned.
    pub is_settled: bool,
}

impl Deployment {
    /// Since when something that judges this deployment cannot be read, and what it is.
    #[must_use]
    pub fn blind_since(&self) -> Option<(Timestamp, &'static str)> {
        let alarms = self.unreadable_since.map(|since| (since, "the alarms"));
        let metrics = self.metrics_unreadable_since.map(|since| (since, "the metrics of the two versions"));
        alarms.into_iter().chain(metrics).min_by_key(|(since, _)| *since)
    }

    /// The share of traffic that the new version was last seen to get, 0 to 1.
    #[must_use]
    pub fn canary_share(&self) -> f64 {
        self.weights.last().map_or(0.0, |(_, share)| *share)
    }

    /// Whether the next step of the shift may have been taken since the last one was seen: then it is worth a look.
    #[must_use]
    pub fn may_have_stepped(&self, tick: Duration, now: Timestamp) -> bool {
        // The first step is taken at the start of the shift, the next one a step later, and so on, whenever they were seen.
        let taken = self.weights.iter().filter(|(_, share)| *share > 0.0).count();
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        let next = self.shift_started_at.zip(self.planned_step).map(|(start, step)| start + step.saturating_mul(taken));
        taken == 0 || next.is_none_or(|next| now + 2 * tick >= next)
    }

    /// Whether the new version has all traffic, so that nothing tells it from a shared incident but a control probe.
    #[must_use]
    pub fn has_all_traffic(&self) -> bool {
        self.canary_share() >= 1.0 - 1e-6 || self.phase == Phase::InBake
    }

    /// Alarms that went red while the new version got traffic, are red, and are exempt because of a shared incident. None
    /// without an incident: an alarm that was red before the deployment never holds it up.
    pub fn red_in_incident(&self) -> impl Iterator<Item = &WatchedAlarm> {
        let shift = self.shift_started_at.filter(|_| self.incident.is_some());
        self.alarms.iter().filter(move |alarm| {
            let since = alarm.last.filter(|(state, _)| *state == AlarmState::Alarm).map(|(_, since)| since);
            // Without an incident, what is exempt was red before traffic.
            self.incident.is_some() && alarm.is_exempt && since.zip(shift).is_some_and(|(since, shift)| since > shift)
        })
    }

    /// Adds a doubt once.
    pub fn doubt(&mut self, line: &str) {
        if self.doubts.len() < MAX_DOUBTS && !self.doubts.iter().any(|known| known == line) {
            self.doubts.push(line.to_owned());
        }
    }
}

/// The lease of one lifecycle hook: the only place that holds the execution id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which hook.
    pub event: LifecycleEvent,
    /// The id with which CodeDeploy is answered.
    pub execution_id: ExecutionId,
    /// Request id of the run that took it.
    pub owner: String,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// When somebody else answers.
    pub deadline: Timestamp,
    /// What the checks concluded, once they had, with the reason.
    pub result: Option<(HookStatus, String)>,
    /// The status that CodeDeploy accepted, and when.
    pub answered: Option<(HookStatus, Timestamp)>,
}

/// Kind of an evidence item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceKind {
    /// The deployment was seen for the first time.
    Registered,
    /// Something in its configuration weakens the protection.
    Warning,
    /// A check before traffic.
    Check,
    /// An alarm changed its state.
    Alarm,
    /// The life cycle moved on.
    Phase,
    /// A verdict, with numbers.
    Verdict,
    /// A call that changes something, with its answer.
    Call,
    /// A hook was answered.
    Answer,
    /// A person asked for something.
    Order,
    /// A pause began or ended.
    Pause,
    /// An event that changes nothing.
    Note,
    /// The outcome.
    Closed,
}

impl EvidenceKind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::Registered,
        Self::Warning,
        Self::Check,
        Self::Alarm,
        Self::Phase,
        Self::Verdict,
        Self::Call,
        Self::Answer,
        Self::Order,
        Self::Pause,
        Self::Note,
        Self::Closed,
    ];

    /// The word in the record's key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Warning => "warning",
            Self::Check => "check",
            Self::Alarm => "alarm",
            Self::Phase => "phase",
            Self::Verdict => "verdict",
            Self::Call => "call",
            Self::Answer => "answer",
            Self::Order => "order",
            Self::Pause => "pause",
            Self::Note => "note",
            Self::Closed => "closed",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// One line of a deployment's story, append-only. The same source at the same time is the same item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// When it happened (the source's own time, so that a repeated event is the same item).
    pub at: Timestamp,
    /// Kind.
    pub kind: EvidenceKind,
    /// What makes it the same item when it is written twice: an event id, or the content.
    pub source: String,
    /// One line for people.
    pub text: String,
    /// Numbers and names, for machines.
    pub details: BTreeMap<String, String>,
}

impl Evidence {
    /// A line whose content is its identity.
    #[must_use]
    pub fn new(at: Timestamp, kind: EvidenceKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { at, kind, source: text.clone(), text, details: BTreeMap::new() }
    }

    /// With `source` as identity.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// With one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.details.insert(name.to_owned(), value.to_string());
        self
    }
}

/// A last known good revision of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoodRevision {
    /// When it became good.
    pub at: Timestamp,
    /// Identity; `None` when it could not be read.
    pub revision: Option<RevisionId>,
    /// Version label, for people.
    pub version: String,
    /// Whether it was already live when the group was first seen.
    pub is_inherited: bool,
}

/// A revision that is refused for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRevision {
    /// Identity.
    pub revision: RevisionId,
    /// Version label, for people.
    pub version: String,
    /// The deployment that was rolled back.
    pub deployment: DeploymentId,
    /// Why.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
    /// Until when it is refused.
    pub until: Timestamp,
}

/// Everything on record about one deployment, except its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// STATE.
    pub deployment: Deployment,
    /// Stored version of STATE, for compare-and-set; 0: not stored yet.
    pub version: u64,
    /// POLICY, pinned at registration.
    pub policy: Policy,
    /// HOOK items.
    pub leases: Vec<Lease>,
    /// ROLLBACK.
    pub rollback: Option<Rollback>,
    /// NOTICE items.
    pub notices: Vec<Notice>,
}

impl Record {
    /// The lease of one hook.
    #[must_use]
    pub fn lease(&self, event: LifecycleEvent) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.event == event)
    }

    /// Alarms to read for this deployment.
    #[must_use]
    pub fn alarm_names(&self) -> Vec<AlarmName> {
        self.deployment.alarms.iter().map(|alarm| alarm.name.clone()).collect()
    }
}
