//! What people are told: one plain-text message per occasion that a person on call can act on.

use crate::Timestamp;
use crate::deployment::Deployment;
use crate::policy::human;
use crate::rollback::{Claim, Rollback, RollbackResult};
use std::time::Duration;

/// The occasions. Each is told once per deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// A version was rolled back.
    Rollback,
    /// A version was refused before traffic.
    Refusal,
    /// A rollback does not come through: somebody has to look now.
    RollbackStuck,
    /// Evidence is missing while customers use the new version.
    Held,
    /// Both versions are degraded: going back would not help.
    SharedIncident,
    /// In mode `advise`: what would have been done.
    Advice,
    /// A group has no policy parameter.
    NoPolicy,
    /// A deployment was ended by somebody without a rollback.
    Stopped,
}

impl NoticeKind {
    /// All occasions.
    pub const ALL: &'static [Self] = &[
        Self::Rollback,
        Self::Refusal,
        Self::RollbackStuck,
        Self::Held,
        Self::SharedIncident,
        Self::Advice,
        Self::NoPolicy,
        Self::Stopped,
    ];

    /// The word in the record's key and in the message's attribute `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Refusal => "refusal",
            Self::RollbackStuck => "rollback-stuck",
            Self::Held => "held",
            Self::SharedIncident => "shared-incident",
            Self::Advice => "advice",
            Self::NoPolicy => "no-policy",
            Self::Stopped => "stopped",
        }
    }

    /// The occasion with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Nobody sends it yet.
    Pending,
    /// Somebody is sending it.
    Claimed(Claim),
    /// SNS accepted it.
    Sent(Timestamp),
}

/// One message to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Occasion.
    pub kind: NoticeKind,
    /// When it was written.
    pub at: Timestamp,
    /// First line, under 100 characters.
    pub subject: String,
    /// Plain text.
    pub body: String,
    /// Where it stands.
    pub delivery: Delivery,
}

impl Notice {
    /// A message that nobody sends yet.
    #[must_use]
    pub fn new(kind: NoticeKind, at: Timestamp, subject: &str, body: String) -> Self {
        Self { kind, at, subject: subject.chars().take(99).collect(), body, delivery: Delivery::Pending }
    }
}

fn seconds(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "not known".to_owned(), |value| human(Duration::from_secs(value.as_secs())))
}

/// The message about a rollback that is over: done, or failed for good.
#[must_use]
pub fn rollback_notice(deployment: &Deployment, rollback: &Rollback, now: Timestamp) -> Notice {
    let target = &deployment.identity.target;
    let done = match &rollback.result {
        RollbackResult::Done => format!(
            "Done: {target} sends all traffic to version {} again{}.",
            target.baseline(),
            rollback.rollback_deployment.as_ref().map(|id| format!(" (rollback deployment {id})")).unwrap_or_default()
        ),
        RollbackResult::Pending | RollbackResult::Failed(_) => "NOT DONE. See below.".to_owned(),
    };
    let next = match &rollback.result {
        RollbackResult::Done => format!(
            "Nothing is broken now. Version {} stays published; fix it and deploy a new version. The same version is refused \
             for the time that the policy's refuse_for says.",
            target.canary()
        ),
        RollbackResult::Pending => {
            "The rollback is still running; another message follows if it does not end.".to_owned()
        }
        RollbackResult::Failed(why) => format!("Act now: {why}"),
    };
    let since = rollback.impact_started_at.map_or_else(
        || "not known".to_owned(),
        |at| {
            let source = if rollback.impact_is_from_alarm { " (oldest breaching datapoint of the alarm)" } else { "" };
            format!("{at}{source}")
        },
    );
    let body = format!(
        "{service}: version {canary} of {name} was rolled back to version {baseline}.\n\n\
         Why:       {cause}: {why}\n\
         Since:     {since}\n\
         Detected:  {detected} ({to_detect} after it began), by {trigger}\n\
         Undone:    {to_undo} after that\n\
         What was done: {done}\n\
         What to do next: {next}\n\n\
         Deployment {id} of {group}. The whole timeline: snapback explain {id}\n",
        service = deployment.identity.service,
        canary = target.canary(),
        name = target.name(),
        baseline = target.baseline(),
        cause = rollback.cause,
        why = rollback.why,
        detected = rollback.detected_at,
        to_detect = seconds(rollback.time_to_detect()),
        trigger = rollback.trigger,
        to_undo = seconds(rollback.time_to_roll_back()),
        id = deployment.identity.id,
        group = deployment.identity.group,
    );
    let subject =
        format!("Rolled back: {} version {} ({})", deployment.identity.service, target.canary(), rollback.cause);
    Notice::new(crate::notice::NoticeKind::Rollback, now, &subject, body)
}

/// A message of any other kind: what happened in one line, then what to do next.
#[must_use]
pub fn plain_notice(kind: NoticeKind, deployment: &Deployment, what: &str, next: &str, now: Timestamp) -> Notice {
    let headline = match kind {
        NoticeKind::Rollback => "Rolled back",
        NoticeKind::Refusal => "Refused before traffic",
        NoticeKind::RollbackStuck => "ACT NOW, rollback does not come through",
        NoticeKind::Held => "Cannot see, holding",
        NoticeKind::SharedIncident => "Both versions are degraded, holding",
        NoticeKind::Advice => "Would have rolled back",
        NoticeKind::NoPolicy => "No policy, only watching",
        NoticeKind::Stopped => "Deployment stopped without rollback",
    };
    let target = &deployment.identity.target;
    let body = format!(
        "{service}: version {canary} of {target} (before: version {baseline}).\n\n\
         What happened: {what}\n\
         What to do next: {next}\n\n\
         Deployment {id} of {group}. The whole timeline: snapback explain {id}\n",
        service = deployment.identity.service,
        canary = target.canary(),
        baseline = target.baseline(),
        id = deployment.identity.id,
        group = deployment.identity.group,
    );
    Notice::new(kind, now, &format!("{headline}: {} version {}", deployment.identity.service, target.canary()), body)
}
