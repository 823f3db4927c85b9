//! One rollback: the write-once intent, what was done about it, and how it ended.

use crate::Timestamp;
use crate::id::{AlarmName, DeploymentId};
use crate::lifecycle::Exposure;
use crate::target::WayBack;
use crate::vocabulary::{Cause, Trigger};
use std::time::Duration;

/// How long a claim on an unfinished action lasts; afterwards somebody else may finish it.
pub const CLAIM_LASTS: Duration = Duration::from_secs(20);

/// Who works on an action right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Request id or process that holds it.
    pub owner: String,
    /// Until when.
    pub until: Timestamp,
}

impl Claim {
    /// A claim of `owner` from `now` on.
    #[must_use]
    pub fn new(owner: &str, now: Timestamp) -> Self {
        Self { owner: owner.to_owned(), until: now + CLAIM_LASTS }
    }

    /// Whether somebody other than `owner` holds it at `now`.
    #[must_use]
    pub fn is_held_by_other(&self, owner: &str, now: Timestamp) -> bool {
        self.owner != owner && now < self.until
    }
}

/// What a controller can do to make its platform go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackAction {
    /// End the deployment, with a rollback.
    StopDeployment,
    /// Answer `Failed` to the hook that is held open.
    FailHook,
}

impl RollbackAction {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::StopDeployment, Self::FailHook];

    /// The platform's own word, as people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StopDeployment => "StopDeployment",
            Self::FailHook => "PutLifecycleEventHookExecutionStatus",
        }
    }
}

/// How a rollback ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollbackResult {
    /// Not over.
    Pending,
    /// Traffic is back on the old version.
    Done,
    /// It could not be done; a person has to look.
    Failed(String),
}

/// One rollback of one deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollback {
    /// Why.
    pub cause: Cause,
    /// The path on which it was decided, and after its end the path that took effect.
    pub trigger: Trigger,
    /// How far the deployment had come.
    pub exposure: Exposure,
    /// One line with numbers, for people.
    pub why: String,
    /// Alarms that were the evidence.
    pub alarms: Vec<AlarmName>,
    /// Who asked for it and why, when a person did.
    pub asked_by: Option<(String, String)>,
    /// First moment of customer impact that the evidence shows.
    pub impact_started_at: Option<Timestamp>,
    /// Whether that moment is only an alarm's oldest breaching datapoint.
    pub impact_is_from_alarm: bool,
    /// When it was decided.
    pub detected_at: Timestamp,
    /// Who makes the call.
    pub claim: Claim,
    /// When a call was tried last.
    pub tried_at: Option<Timestamp>,
    /// Why the last try was not accepted.
    pub call_error: Option<String>,
    /// When a call was accepted, or CodeDeploy began by itself.
    pub requested_at: Option<Timestamp>,
    /// The accepted call; `None` when CodeDeploy began by itself.
    pub call: Option<RollbackAction>,
    /// CodeDeploy's rollback deployment.
    pub rollback_deployment: Option<DeploymentId>,
    /// When that deployment had succeeded and the alias showed only the old version.
    pub rolled_back_at: Option<Timestamp>,
    /// When the evidence was good again.
    pub recovered_at: Option<Timestamp>,
    /// How it ended.
    pub result: RollbackResult,
}

impl Rollback {
    /// Whether Snapback's own call does not get through: it was refused, or it is unconfirmed for longer than the way
    /// back takes.
    /// Then the verdict alarm asks CodeDeploy to do it, until its rollback deployment is seen.
    #[must_use]
    pub fn needs_verdict_alarm(&self, way_back: WayBack, now: Timestamp) -> bool {
        if self.rollback_deployment.is_some() {
            return false;
        }
        match self.requested_at {
            None => self.call_error.is_some() || now.since(self.detected_at) >= way_back.confirm_within(),
            Some(requested_at) => now.since(requested_at) >= way_back.confirm_within(),
        }
    }

    /// Whether a call should be tried (again) now, while the deployment still runs.
    #[must_use]
    pub fn is_call_due(&self, tick: Duration, way_back: WayBack, now: Timestamp) -> bool {
        match (self.requested_at, self.tried_at) {
            (None, None) => true,
            (None, Some(tried_at)) => now.since(tried_at) >= tick,
            (Some(requested_at), tried_at) => now.since(tried_at.unwrap_or(requested_at)) >= way_back.confirm_within(),
        }
    }

    /// Time from the first impact to the decision, when the impact is known.
    #[must_use]
    pub fn time_to_detect(&self) -> Option<Duration> {
        self.impact_started_at.map(|impact| self.detected_at.since(impact))
    }

    /// Time from the decision to the old version having all traffic.
    #[must_use]
    pub fn time_to_roll_back(&self) -> Option<Duration> {
        self.rolled_back_at.map(|done| done.since(self.detected_at))
    }

    /// Time from the first impact to good evidence again.
    #[must_use]
    pub fn time_to_recover(&self) -> Option<Duration> {
        Some(self.recovered_at?.since(self.impact_started_at?))
    }
}
