//! The event with which CodeDeploy invokes a lifecycle hook.

use super::EventError;
use aws_lambda_events::event::codedeploy::CodeDeployLifecycleEvent;
use serde::Deserialize;
use serde_json::Value;
use snapback_core::{DeploymentId, ExecutionId};

const KIND: &str = "CodeDeploy lifecycle hook event";

/// What CodeDeploy tells a hook: which deployment, and the id with which it is answered. Not which hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookEvent {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Passed back unchanged with the status.
    pub execution: ExecutionId,
}

/// Parses the event of a lifecycle hook.
///
/// # Errors
/// When a member is missing, no string, or cannot be such an id.
pub fn parse_hook(value: &Value) -> Result<HookEvent, EventError> {
    EventError::object(KIND, value)?;
    let event = CodeDeployLifecycleEvent::deserialize(value).map_err(|error| {
        let strings = ["DeploymentId", "LifecycleEventHookExecutionId"];
        EventError::diagnose(KIND, value, &strings, &error)
    })?;
    let deployment = DeploymentId::parse(event.deployment_id)
        .map_err(|error| EventError::new(KIND, "DeploymentId", format!("`{}`", error.text), error.expected))?;
    let execution = ExecutionId::parse(event.lifecycle_event_hook_execution_id).map_err(|error| {
        let member = "LifecycleEventHookExecutionId";
        EventError::new(KIND, member, format!("`{}`", error.text), error.expected)
    })?;
    Ok(HookEvent { deployment, execution })
}
