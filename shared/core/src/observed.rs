//! What the platform shows at one moment, in Snapback's words.

use crate::Timestamp;
use crate::deployment::HookFunctions;
use crate::id::{AlarmName, DeploymentId, GroupRef, RevisionId};
use crate::target::Target;
use std::time::Duration;

/// Compute platform of a deployment group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platform {
    /// AWS Lambda.
    Lambda,
    /// Amazon ECS.
    Ecs,
    /// EC2 or on-premises.
    Server,
    /// A platform that this version does not know.
    Other(String),
}

impl Platform {
    /// CodeDeploy's word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Lambda => "Lambda",
            Self::Ecs => "ECS",
            Self::Server => "Server",
            Self::Other(word) => word,
        }
    }

    /// From CodeDeploy's word; AWS adds platforms, so an unknown one is kept as it is.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "Lambda" => Self::Lambda,
            "ECS" => Self::Ecs,
            "Server" => Self::Server,
            other => Self::Other(other.chars().take(64).collect()),
        }
    }
}

/// Status of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentStatus {
    /// Not over: waiting, shifting traffic, or baking.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by somebody, or by an alarm.
    Stopped,
    /// A word that this version does not know; treated as running, because nothing may be concluded from it.
    Unknown(String),
}

impl DeploymentStatus {
    /// Whether the deployment is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Stopped => true,
            Self::Running | Self::Unknown(_) => false,
        }
    }
}

/// Who made a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creator {
    /// A person or a pipeline.
    User,
    /// A group of servers that grew.
    Autoscaling,
    /// The platform, to go back after a deployment that failed or was stopped.
    PlatformRollback,
    /// The platform, to bring servers to the revision that they should have.
    PlatformUpdate,
    /// The platform, for another reason.
    Platform,
    /// A word that this version does not know, kept as it is; empty where the platform does not tell.
    Other(String),
}

/// Why a deployment failed or was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndReason {
    /// What follows from it.
    pub kind: EndKind,
    /// The platform's own word for it; shown, never compared.
    pub code: String,
    /// The platform's text for people.
    pub message: String,
}

/// What follows from the reason of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// An alarm that is attached to the group was active.
    AlarmActive,
    /// Everything else: a person, a failure, a word that this version does not know.
    Other,
}

/// The events on which CodeDeploy rolls back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoRollback {
    /// DEPLOYMENT_FAILURE.
    pub on_failure: bool,
    /// DEPLOYMENT_STOP_ON_ALARM.
    pub on_alarm: bool,
    /// DEPLOYMENT_STOP_ON_REQUEST.
    pub on_request: bool,
}

/// A deployment as GetDeployment shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentFacts {
    /// Its id.
    pub id: DeploymentId,
    /// Its group.
    pub group: GroupRef,
    /// Its platform.
    pub platform: Platform,
    /// Its status.
    pub status: DeploymentStatus,
    /// Who made it.
    pub creator: Creator,
    /// Name of the deployment configuration.
    pub config: Option<String>,
    /// SHA-256 of the AppSpec, with which GetApplicationRevision gives its text.
    pub app_spec: Option<AppSpecRef>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Why it failed or was stopped.
    pub end_reason: Option<EndReason>,
    /// The rollback deployment that this one triggered.
    pub rollback_deployment: Option<DeploymentId>,
    /// The deployment that this one rolls back.
    pub rolls_back: Option<DeploymentId>,
    /// Events on which CodeDeploy rolls back by itself; `None` when the answer does not tell.
    pub auto_rollback: Option<AutoRollback>,
}

impl DeploymentFacts {
    /// Whether the platform itself marks this deployment as a rollback.
    #[must_use]
    pub fn is_marked_rollback(&self) -> bool {
        self.creator == Creator::PlatformRollback || self.rolls_back.is_some()
    }

    /// Whether an attached alarm stopped it.
    #[must_use]
    pub fn was_stopped_by_alarm(&self) -> bool {
        self.end_reason.as_ref().is_some_and(|reason| reason.kind == EndKind::AlarmActive)
    }
}

/// Where the text of an AppSpec can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpecRef {
    /// Revision type: true for the deprecated `String`, false for `AppSpecContent`.
    pub is_string_type: bool,
    /// SHA-256 of the text.
    pub sha256: String,
}

/// One lifecycle event of the deployment's target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFacts {
    /// Whether it runs now.
    pub is_in_progress: bool,
    /// When it started; an event that was skipped never did.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// The deployment's target as GetDeploymentTarget shows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TargetFacts {
    /// BeforeAllowTraffic.
    pub before: EventFacts,
    /// AllowTraffic.
    pub allow: EventFacts,
    /// AfterAllowTraffic.
    pub after: EventFacts,
    /// What runs where, when the answer tells.
    pub target: Option<Target>,
}

/// A deployment group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// Events on which CodeDeploy rolls back by itself.
    pub auto_rollback: AutoRollback,
    /// Alarms attached to it.
    pub alarms: Vec<AlarmName>,
    /// Whether a failed poll of these alarms is ignored.
    pub ignores_poll_failure: bool,
}

/// An AppSpec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// Its platform.
    pub platform: Platform,
    /// What it moves; `None` where this version cannot tell.
    pub target: Option<Target>,
    /// Functions that it names for the two hooks.
    pub hooks: HookFunctions,
}

/// How traffic shifts by plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficPlan {
    /// In words, for example `10 %, then all after 5 min`.
    pub words: String,
    /// From the first traffic of the new version to all of it; `None`: the plan does not tell.
    pub lasts: Option<Duration>,
    /// From one step to the next; `None`: there is one step, or the plan does not tell.
    pub step: Option<Duration>,
}

/// A published version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFacts {
    /// Its identity.
    pub revision: RevisionId,
    /// Its time-out, where the answer tells.
    pub timeout: Option<Duration>,
}

/// Where traffic goes now.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficFacts {
    /// Version that gets what the others leave.
    pub version: String,
    /// Other versions with their share, 0.0 to 1.0.
    pub others: Vec<(String, f64)>,
}

impl TrafficFacts {
    /// Share of traffic that `version` gets, 0.0 to 1.0.
    #[must_use]
    pub fn share_of(&self, version: &str) -> f64 {
        let others: f64 = self.others.iter().map(|(_, share)| share).sum();
        if self.version == version {
            (1.0 - others).max(0.0)
        } else {
            self.others.iter().filter(|(other, _)| other == version).map(|(_, share)| share).sum()
        }
    }

    /// Whether all traffic goes to `version`.
    #[must_use]
    pub fn is_only(&self, version: &str) -> bool {
        self.version == version && self.others.iter().all(|(_, share)| *share <= 0.0)
    }
}

/// The rollback deployment as GetDeployment shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RollbackFacts {
    /// Its id.
    pub id: DeploymentId,
    /// Its status.
    pub status: DeploymentStatus,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// Everything that was looked at, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// GetDeployment.
    pub deployment: DeploymentFacts,
    /// GetDeploymentTarget; `None`: not started yet, or it could not be read.
    pub target: Option<TargetFacts>,
    /// Where traffic goes; `None`: it could not be read.
    pub traffic: Option<TrafficFacts>,
    /// GetDeployment of the rollback deployment, when there is one.
    pub rollback: Option<RollbackFacts>,
}

impl Observed {
    /// When the new version began to get traffic.
    #[must_use]
    pub fn shift_started_at(&self) -> Option<Timestamp> {
        self.target.as_ref().and_then(|target| target.allow.started_at)
    }

    /// When all traffic had moved and the last hook began.
    #[must_use]
    pub fn after_started_at(&self) -> Option<Timestamp> {
        self.target.as_ref().and_then(|target| target.after.started_at)
    }
}
