//! What CodeDeploy and the alias show at one moment, in Snapback's words.

use crate::id::{DeploymentId, GroupRef};
use crate::time::Timestamp;

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
    /// Created, Queued, InProgress, Baking or Ready.
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
    /// From CodeDeploy's word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "Created" | "Queued" | "InProgress" | "Baking" | "Ready" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Stopped" => Self::Stopped,
            other => Self::Unknown(other.chars().take(64).collect()),
        }
    }

    /// Whether the deployment is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Stopped => true,
            Self::Running | Self::Unknown(_) => false,
        }
    }
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
    /// Who made it, CodeDeploy's word (`user`, `codeDeployRollback`, …).
    pub creator: String,
    /// Name of the deployment configuration.
    pub config: Option<String>,
    /// SHA-256 of the AppSpec, with which GetApplicationRevision gives its text.
    pub app_spec: Option<AppSpecRef>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// Error code and message, when it failed or was stopped.
    pub error: Option<(String, String)>,
    /// The rollback deployment that this one triggered.
    pub rollback_deployment: Option<DeploymentId>,
    /// The deployment that this one rolls back.
    pub rolls_back: Option<DeploymentId>,
    /// Events on which CodeDeploy rolls back by itself; `None` when the answer does not tell.
    pub auto_rollback: Option<AutoRollback>,
}

impl DeploymentFacts {
    /// Whether CodeDeploy itself marks this deployment as a rollback.
    #[must_use]
    pub fn is_marked_rollback(&self) -> bool {
        self.creator == "codeDeployRollback" || self.rolls_back.is_some()
    }

    /// Whether an attached alarm stopped it.
    #[must_use]
    pub fn was_stopped_by_alarm(&self) -> bool {
        self.error.as_ref().is_some_and(|(code, _)| code == "ALARM_ACTIVE")
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

/// What a deployment moves: for Lambda a function's alias from one version to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Function or service.
    pub name: String,
    /// Alias, or what else routes traffic.
    pub alias: String,
    /// The old version.
    pub baseline: String,
    /// The new version.
    pub canary: String,
}

/// Where the alias sends traffic now.
#[derive(Debug, Clone, PartialEq)]
pub struct AliasFacts {
    /// Version that gets what the others leave.
    pub version: String,
    /// Other versions with their share, 0.0 to 1.0.
    pub others: Vec<(String, f64)>,
}

impl AliasFacts {
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
    /// GetAlias; `None`: it could not be read.
    pub alias: Option<AliasFacts>,
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
