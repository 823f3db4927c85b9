//! One watched deployment: everything that Snapback knows of it and keeps in its record.

use crate::Timestamp;
use crate::alarm::{AlarmState, WatchedAlarm};
use crate::id::{DeploymentId, GroupRef, RevisionId};
use crate::lifecycle::{Bake, Blame, Phase, Refusal};
use crate::observed::{AutoRollback, Creator, Platform};
use crate::target::Target;
use crate::vocabulary::{Cause, LifecycleEvent, Outcome};
use crate::warning::{EvidenceSource, MAX_WARNINGS, Warning};
use snapback_judge::detector::Note;
use std::time::Duration;

/// Observed weights kept per deployment; a canary has two steps, the longest linear one ten.
pub const MAX_WEIGHTS: usize = 64;
/// Names of Snapback's own hook functions begin like this; CodeDeploy calls none that does not begin with `CodeDeployHook_`.
pub const OUR_HOOKS: &str = "CodeDeployHook_snapback-";

/// Functions that the AppSpec names for the two hooks, by name or ARN.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HookFunctions {
    /// BeforeAllowTraffic.
    pub before: Option<String>,
    /// AfterAllowTraffic.
    pub after: Option<String>,
}

impl HookFunctions {
    /// Whether the hook of `event` is one of Snapback's: its function's name begins with [`OUR_HOOKS`]. Hooks of others are
    /// never judged overdue.
    #[must_use]
    pub fn is_ours(&self, event: LifecycleEvent) -> bool {
        let function = match event {
            LifecycleEvent::BeforeAllowTraffic => &self.before,
            LifecycleEvent::AfterAllowTraffic => &self.after,
        };
        let name =
            function.as_ref().map(|named| named.split_once(":function:").map_or(named.as_str(), |(_, name)| name));
        name.is_some_and(|name| name.starts_with(OUR_HOOKS))
    }
}

/// A shared incident: both versions are degraded, so going back would not help.
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
pub struct OperatorRequest {
    /// What.
    pub verb: Verb,
    /// Who, as the command line knows it.
    pub who: String,
    /// Why, in their words.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// Which way a deployment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To a new version.
    Forward,
    /// Back to something good: answered at once, never judged, never rolled back.
    Return,
}

/// Identities of the two versions; `None` where one could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revisions {
    /// The old version.
    pub baseline: Option<RevisionId>,
    /// The new version.
    pub canary: Option<RevisionId>,
}

/// How traffic shifts by plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShiftPlan {
    /// How long; `None` when the plan could not be read.
    pub lasts: Option<Duration>,
    /// Time between two steps.
    pub step: Option<Duration>,
}

/// What a deployment is. Written when Snapback first sees it; it does not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
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
    /// Identities of its versions.
    pub revisions: Revisions,
    /// Which way it goes.
    pub direction: Direction,
    /// Hook functions of the AppSpec.
    pub hooks: HookFunctions,
    /// Who made it.
    pub creator: Creator,
    /// Events on which CodeDeploy rolls back by itself.
    pub auto_rollback: AutoRollback,
    /// When CodeDeploy created it.
    pub created_at: Timestamp,
    /// When Snapback first saw it.
    pub registered_at: Timestamp,
    /// How its traffic shifts by plan.
    pub shift_plan: ShiftPlan,
    /// The service's past is no baseline before this: an earlier deployment ended here.
    pub history_from: Option<Timestamp>,
    /// Time-out of the new version.
    pub function_timeout: Option<Duration>,
}

/// What was seen of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The alarms that concern it.
    pub alarms: Vec<WatchedAlarm>,
    /// When all alarms were last read.
    pub alarms_read_at: Option<Timestamp>,
    /// Since when the alarms cannot be read.
    pub alarms_unreadable_since: Option<Timestamp>,
    /// Since when the metrics of the versions cannot be read.
    pub metrics_unreadable_since: Option<Timestamp>,
    /// When the new version began to get traffic. The platform's own time: it may be known late, or never.
    pub shift_started_at: Option<Timestamp>,
    /// Observed share of the new version, at each change, oldest first; at most [`MAX_WEIGHTS`].
    pub weights: Vec<(Timestamp, f64)>,
    /// The last shared incident.
    pub incident: Option<Incident>,
    /// What the comparison saw but may not lay to the version, in order of first appearance.
    pub notes: Vec<Note>,
}

/// What people asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requests {
    /// The last request.
    pub last: Option<OperatorRequest>,
    /// When the pause began that is on its record and not over.
    pub paused_at: Option<Timestamp>,
}

/// The STATE item of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// What it is.
    pub identity: Identity,
    /// Phase of its life.
    pub phase: Phase,
    /// What was seen of it.
    pub observation: Observation,
    /// What people asked for.
    pub requests: Requests,
    /// Why the outcome is less than certain; at most [`MAX_WARNINGS`].
    pub warnings: Vec<Warning>,
    /// Whether it was held in shift or bake.
    pub was_held: bool,
}

impl Deployment {
    /// Whether it goes back to something good: answered at once, never judged, never rolled back.
    #[must_use]
    pub fn is_return(&self) -> bool {
        self.identity.direction == Direction::Return
    }

    /// Why it was refused before traffic, once it was, also when that did not take effect.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.phase.refusal()
    }

    /// The bake, once it began.
    #[must_use]
    pub const fn bake(&self) -> Option<&Bake> {
        self.phase.bake()
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.phase.closing().map(|closing| closing.ending.outcome())
    }

    /// Why and on which path it was refused or rolled back, once it is over.
    #[must_use]
    pub fn blame(&self) -> Option<Blame> {
        self.phase.closing().and_then(|closing| closing.ending.blame())
    }

    /// When it was closed.
    #[must_use]
    pub fn closed_at(&self) -> Option<Timestamp> {
        self.phase.closing().map(|closing| closing.at)
    }

    /// Whether its record is complete: notices sent, index cleaned.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.phase.closing().is_some_and(|closing| closing.is_archived)
    }

    /// Its record is complete; one that is not closed never is.
    pub const fn archive(&mut self) {
        if let Phase::Closed(closing) = &mut self.phase {
            closing.is_archived = true;
        }
    }

    /// Since when something that judges this deployment cannot be read, and what it is.
    #[must_use]
    pub fn blind_since(&self) -> Option<(Timestamp, EvidenceSource)> {
        let alarms = self.observation.alarms_unreadable_since.map(|since| (since, EvidenceSource::Alarms));
        let metrics = self.observation.metrics_unreadable_since.map(|since| (since, EvidenceSource::Metrics));
        alarms.into_iter().chain(metrics).min_by_key(|(since, _)| *since)
    }

    /// The share of traffic that the new version was last seen to get, 0 to 1.
    #[must_use]
    pub fn canary_share(&self) -> f64 {
        self.observation.weights.last().map_or(0.0, |(_, share)| *share)
    }

    /// Whether the next step of the shift may have been taken since the last one was seen: then it is worth a look.
    #[must_use]
    pub fn may_have_stepped(&self, tick: Duration, now: Timestamp) -> bool {
        // The first step is taken at the start of the shift, the next one a step later, and so on, whenever they were seen.
        let taken = self.observation.weights.iter().filter(|(_, share)| *share > 0.0).count();
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        let next = self
            .observation
            .shift_started_at
            .zip(self.identity.shift_plan.step)
            .map(|(start, step)| start + step.saturating_mul(taken));
        taken == 0 || next.is_none_or(|next| now + 2 * tick >= next)
    }

    /// Whether the new version has all traffic, so that nothing tells it from a shared incident but a control probe.
    #[must_use]
    pub fn has_all_traffic(&self) -> bool {
        self.canary_share() >= 1.0 - 1e-6 || matches!(self.phase, Phase::InBake(_))
    }

    /// Alarms that went red while the new version got traffic, are red, and are exempt because of a shared incident. None
    /// without an incident: an alarm that was red before the deployment never holds it up.
    pub fn red_in_incident(&self) -> impl Iterator<Item = &WatchedAlarm> {
        let shift = self.observation.shift_started_at.filter(|_| self.observation.incident.is_some());
        self.observation.alarms.iter().filter(move |alarm| {
            let since = alarm.last.filter(|(state, _)| *state == AlarmState::Alarm).map(|(_, since)| since);
            // Without an incident, what is exempt was red before traffic.
            self.observation.incident.is_some()
                && alarm.is_exempt
                && since.zip(shift).is_some_and(|(since, shift)| since > shift)
        })
    }

    /// Adds a warning once; false: it is known, or there are [`MAX_WARNINGS`] already.
    pub fn warn(&mut self, warning: Warning) -> bool {
        let is_new = self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning);
        if is_new {
            self.warnings.push(warning);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_ours_by_its_name() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:CodeDeployHook_snapback-before-allow-traffic:live";
        let table = [
            (Some("CodeDeployHook_snapback-before-allow-traffic"), true),
            (Some(arn), true),
            (Some("CodeDeployHook_check-snapback"), false),
            (Some("snapback-before-allow-traffic"), false),
            (Some("arn:aws:lambda:eu-west-1:123456789012:function:CodeDeployHook_orders"), false),
            (None, false),
        ];
        for (named, expected) in table {
            let hooks = HookFunctions { before: named.map(str::to_owned), after: None };
            assert_eq!(hooks.is_ours(LifecycleEvent::BeforeAllowTraffic), expected, "{named:?}");
            assert!(!hooks.is_ours(LifecycleEvent::AfterAllowTraffic), "{named:?}");
        }
    }
}
