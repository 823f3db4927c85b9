//! One rollback: the write-once intent, what was done about it, and how it ended.

use crate::id::{AlarmName, DeploymentId};
use crate::lifecycle::Exposure;
use crate::time::Timestamp;
use crate::words::{Cause, Trigger};
use std::time::Duration;

/// How long a claim on an unfinished action lasts; afterwards somebody else may finish it.
pub const CLAIM_LASTS: Duration = Duration::from_secs(20);
/// A rollback whose call was accepted, and whose deployment still runs after this, is unconfirmed.
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(30);
/// CodeDeploy makes its rollback deployment within seconds; none after this is worth a page.
pub const EXPECT_ROLLBACK_WITHIN: Duration = Duration::from_secs(60);

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

/// The two calls that make CodeDeploy go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoCall {
    /// StopDeployment with rollback.
    StopDeployment,
    /// Answer `Failed` to the held hook.
    FailHook,
}

impl UndoCall {
    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StopDeployment => "StopDeployment",
            Self::FailHook => "PutLifecycleEventHookExecutionStatus",
        }
    }
}

/// The calls to try, in order; each is the other's fallback.
///
/// * In the shift only StopDeployment ends a deployment; a hook that is held open by then is the fallback.
/// * In the bake `Failed` is the quicker and cleaner way, but CodeDeploy rolls back on it only with DEPLOYMENT_FAILURE.
#[must_use]
pub fn undo_calls(exposure: Exposure, rolls_back_on_failure: bool, hook_is_held: bool) -> Vec<UndoCall> {
    match (exposure, hook_is_held) {
        (Exposure::Shift | Exposure::Bake, false) => vec![UndoCall::StopDeployment],
        (Exposure::Bake, true) if rolls_back_on_failure => {
            vec![UndoCall::FailHook, UndoCall::StopDeployment]
        }
        (Exposure::Shift | Exposure::Bake, true) => {
            vec![UndoCall::StopDeployment, UndoCall::FailHook]
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
    pub call: Option<UndoCall>,
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
    /// Whether Snapback's own call does not get through: it was refused, or it is unconfirmed for [`CONFIRM_WITHIN`].
    /// Then the verdict alarm asks CodeDeploy to do it, until its rollback deployment is seen.
    #[must_use]
    pub fn needs_verdict_alarm(&self, now: Timestamp) -> bool {
        if self.rollback_deployment.is_some() {
            return false;
        }
        match self.requested_at {
            None => self.call_error.is_some() || now.since(self.detected_at) >= CONFIRM_WITHIN,
            Some(requested_at) => now.since(requested_at) >= CONFIRM_WITHIN,
        }
    }

    /// Whether a call should be tried (again) now, while the deployment still runs.
    #[must_use]
    pub fn is_call_due(&self, tick: Duration, now: Timestamp) -> bool {
        match (self.requested_at, self.tried_at) {
            (None, None) => true,
            (None, Some(tried_at)) => now.since(tried_at) >= tick,
            (Some(requested_at), tried_at) => now.since(tried_at.unwrap_or(requested_at)) >= CONFIRM_WITHIN,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_the_others_fallback() {
        use UndoCall::{FailHook, StopDeployment};
        let table = [
            ("shift", Exposure::Shift, true, false, vec![StopDeployment]),
            ("shift, hook held by now", Exposure::Shift, true, true, vec![StopDeployment, FailHook]),
            ("bake", Exposure::Bake, true, true, vec![FailHook, StopDeployment]),
            ("bake, failure does not roll back", Exposure::Bake, false, true, vec![StopDeployment, FailHook]),
            ("bake, hook answered by somebody", Exposure::Bake, true, false, vec![StopDeployment]),
        ];
        for (case, exposure, on_failure, held, expected) in table {
            assert_eq!(undo_calls(exposure, on_failure, held), expected, "{case}");
        }
    }
}
