//! What really happened in a deployment, for rehearsals: the API shows less.

use super::model::{Deployment, EventStatus, Status};

/// What really happened in one deployment. All times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentTruth {
    /// Deployment id.
    pub deployment: String,
    /// Application.
    pub application: String,
    /// Deployment group.
    pub group: String,
    /// CodeDeploy made it to roll back another one.
    pub is_rollback: bool,
    /// Present status.
    pub status: Status,
    /// Error code, once it ended badly.
    pub error_code: Option<String>,
    /// CreateDeployment accepted it.
    pub created_ms: i64,
    /// It left `Created`.
    pub started_ms: Option<i64>,
    /// Each lifecycle event, in their order.
    pub events: Vec<EventTruth>,
    /// Each change of the alias, in their order.
    pub weights: Vec<WeightChange>,
    /// Each hook that CodeDeploy invoked.
    pub hook_invocations: Vec<HookInvocation>,
    /// Each call of PutLifecycleEventHookExecutionStatus that names this deployment.
    pub hook_answers: Vec<HookAnswer>,
    /// Who stopped it.
    pub stop: Option<StopTruth>,
    /// It reached a final status.
    pub completed_ms: Option<i64>,
    /// The deployment that rolls it back.
    pub rollback_deployment: Option<String>,
    /// The alias showed the old version without weights again, by that rollback deployment.
    pub restored_ms: Option<i64>,
}

/// A lifecycle event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTruth {
    /// For example `BeforeAllowTraffic`.
    pub name: String,
    /// Present status.
    pub status: EventStatus,
    /// It began.
    pub started_ms: Option<i64>,
    /// It ended.
    pub ended_ms: Option<i64>,
}

/// CodeDeploy pointed the alias somewhere else.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightChange {
    /// When.
    pub at_ms: i64,
    /// The alias's version.
    pub version: String,
    /// Second version and its share, 0.0 to 1.0.
    pub additional: Option<(String, f64)>,
}

/// CodeDeploy invoked a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookInvocation {
    /// When.
    pub at_ms: i64,
    /// Lifecycle event.
    pub event: String,
    /// Function as the AppSpec names it.
    pub function: String,
}

/// Somebody answered for a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookAnswer {
    /// When.
    pub at_ms: i64,
    /// Lifecycle event; `None` when the execution id fits none.
    pub event: Option<String>,
    /// Status as given.
    pub status: String,
    /// Access key id of the caller.
    pub by: String,
    /// Error code with which it was refused, `None` when it counted.
    pub error: Option<String>,
}

/// Somebody stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopTruth {
    /// When the call was accepted, or the red alarm read.
    pub at_ms: i64,
    /// Access key id of the caller, or `alarm`.
    pub by: String,
}

impl Deployment {
    pub(super) fn truth(&self) -> DeploymentTruth {
        let events = self.lifecycle.iter().map(|event| EventTruth {
            name: event.name.to_owned(),
            status: event.status,
            started_ms: event.start_ms,
            ended_ms: event.end_ms,
        });
        DeploymentTruth {
            deployment: self.id.clone(),
            application: self.application.clone(),
            group: self.group.clone(),
            is_rollback: self.is_rollback,
            status: self.status,
            error_code: self.error.as_ref().map(|(code, _)| code.clone()),
            created_ms: self.created_ms,
            started_ms: self.started_ms,
            events: events.collect(),
            weights: self.weights.clone(),
            hook_invocations: self.hook_invocations.clone(),
            hook_answers: self.hook_answers.clone(),
            stop: self.stop_truth.clone(),
            completed_ms: self.completed_ms,
            rollback_deployment: self.rollback_deployment.clone(),
            restored_ms: self.restored_ms,
        }
    }
}
