//! What moves deployments: what is deployed, how far it has come, where traffic goes, and what can be done about it.

use super::CallError;
use snapback_core::observed::{
    AppSpec, AppSpecRef, DeploymentFacts, GroupFacts, TargetFacts, TrafficFacts, TrafficPlan, VersionFacts,
};
use snapback_core::rollback::RollbackAction;
use snapback_core::target::Target;
use snapback_core::{DeploymentId, ExecutionId, GroupRef, HookStatus, Timestamp};

/// A platform's controller. What it can do is in the [`Target`]'s capabilities.
pub trait Controller {
    /// A deployment, by its id alone.
    async fn deployment(&self, id: &DeploymentId) -> Result<DeploymentFacts, CallError>;
    /// How far it has come. Without `target` that is looked up first. `None`: not started yet.
    async fn target(&self, id: &DeploymentId, target: Option<&Target>) -> Result<Option<TargetFacts>, CallError>;
    /// Where traffic goes now.
    async fn traffic(&self, target: &Target) -> Result<TrafficFacts, CallError>;
    /// All running deployments created since `since`, of all groups, with their facts: what events missed.
    async fn running(&self, since: Timestamp) -> Result<Vec<DeploymentFacts>, CallError>;
    /// What a deployment is told to do, parsed. [`CallErrorKind::Invalid`](super::CallErrorKind::Invalid) when the text is not
    /// JSON.
    async fn app_spec(&self, application: &str, spec: &AppSpecRef) -> Result<AppSpec, CallError>;
    /// A deployment group.
    async fn group(&self, group: &GroupRef) -> Result<GroupFacts, CallError>;
    /// How traffic shifts by the plan of that name.
    async fn traffic_plan(&self, config: &str) -> Result<TrafficPlan, CallError>;
    /// What a version is.
    async fn version(&self, target: &Target, version: &str) -> Result<VersionFacts, CallError>;
    /// Makes the platform go back. `held`: of the hook that is held open, for the actions that answer it.
    async fn perform(
        &self,
        id: &DeploymentId,
        action: RollbackAction,
        held: Option<&ExecutionId>,
    ) -> Result<(), CallError>;
    /// Answers a lifecycle hook.
    async fn answer(&self, id: &DeploymentId, execution: &ExecutionId, status: HookStatus) -> Result<(), CallError>;
}
