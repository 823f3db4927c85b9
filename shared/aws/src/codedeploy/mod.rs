//! CodeDeploy: reading deployments, finding them, acting on them.

mod facts;
#[cfg(test)]
mod tests;

use crate::Aws;
use crate::error::{call_error, not_understood};
use crate::pages::Page;
use aws_sdk_codedeploy::types::{
    AppSpecContent, DeploymentGroupInfo, DeploymentInfo, DeploymentStatus, LifecycleEventStatus, RevisionLocation,
    RevisionLocationType, TimeRange,
};
use aws_smithy_types::DateTime;
use facts::RUNNING;
#[cfg(feature = "operator")]
pub(crate) use facts::deployment as deployment_facts;
use snapback_app::ports::{CallError, CallErrorKind, Controller};
use snapback_core::observed::{
    AppSpec, AppSpecRef, DeploymentFacts, GroupFacts, TargetFacts, TrafficFacts, TrafficPlan, VersionFacts,
};
use snapback_core::rollback::RollbackAction;
use snapback_core::target::Target;
use snapback_core::{DeploymentId, ExecutionId, GroupRef, HookStatus, Timestamp};

/// Pages of ListDeployments that are read; more is an error.
pub const MAX_LIST_PAGES: usize = 100;
/// Deployments that one BatchGetDeployments may ask for.
pub const BATCH: usize = 25;

const GET_DEPLOYMENT: &str = "codedeploy:GetDeployment";
const GET_TARGET: &str = "codedeploy:GetDeploymentTarget";
const LIST_TARGETS: &str = "codedeploy:ListDeploymentTargets";
const GET_REVISION: &str = "codedeploy:GetApplicationRevision";
const GET_GROUP: &str = "codedeploy:GetDeploymentGroup";
const GET_CONFIG: &str = "codedeploy:GetDeploymentConfig";
const LIST: &str = "codedeploy:ListDeployments";
pub(crate) const BATCH_GET: &str = "codedeploy:BatchGetDeployments";
const STOP: &str = "codedeploy:StopDeployment";
const ANSWER: &str = "codedeploy:PutLifecycleEventHookExecutionStatus";

impl Controller for Aws {
    async fn deployment(&self, id: &DeploymentId) -> Result<DeploymentFacts, CallError> {
        let request = self.codedeploy.get_deployment().deployment_id(id.as_str());
        let answer = request.send().await;
        let answer = answer.map_err(|error| call_error(GET_DEPLOYMENT, id, &error))?;
        let info = answer.deployment_info();
        let info = info.ok_or_else(|| not_understood(GET_DEPLOYMENT, id, "no deploymentInfo"))?;
        facts::deployment(info).map_err(|what| not_understood(GET_DEPLOYMENT, id, what))
    }

    async fn target(&self, id: &DeploymentId, target: Option<&Target>) -> Result<Option<TargetFacts>, CallError> {
        let target_id = match target {
            Some(target) => function_name(target.name()).to_owned(),
            None => match self.first_target(id).await? {
                Some(target_id) => target_id,
                None => return Ok(None),
            },
        };
        let request = self.codedeploy.get_deployment_target();
        let request = request.deployment_id(id.as_str()).target_id(target_id);
        match request.send().await {
            Ok(answer) => Ok(answer.deployment_target().map(facts::target)),
            Err(error) if has_not_started(&error) => Ok(None),
            Err(error) => Err(call_error(GET_TARGET, id, &error)),
        }
    }

    async fn app_spec(&self, application: &str, spec: &AppSpecRef) -> Result<AppSpec, CallError> {
        let request = self.codedeploy.get_application_revision();
        let request = request.application_name(application).revision(location(spec));
        let answer = request.send().await;
        let answer = answer.map_err(|error| call_error(GET_REVISION, application, &error))?;
        let revision = answer.revision();
        let text = if spec.is_string_type {
            revision.and_then(|revision| revision.string()?.content())
        } else {
            revision.and_then(|revision| revision.app_spec_content()?.content())
        };
        let text = text.ok_or_else(|| not_understood(GET_REVISION, application, "no content"))?;
        let spec = snapback_wire::app_spec::parse_app_spec(text)
            .map_err(|error| CallError::new(CallErrorKind::Invalid, GET_REVISION, application, error.to_string()))?;
        Ok(AppSpec { platform: spec.platform, target: spec.target, hooks: spec.hooks })
    }

    async fn group(&self, group: &GroupRef) -> Result<GroupFacts, CallError> {
        facts::group(&self.group_info(group).await?).map_err(|what| not_understood(GET_GROUP, group, what))
    }

    async fn traffic_plan(&self, config: &str) -> Result<TrafficPlan, CallError> {
        if let Some(plan) = facts::predefined_plan(config) {
            return Ok(plan);
        }
        let request = self.codedeploy.get_deployment_config();
        let answer = request.deployment_config_name(config).send().await;
        let answer = answer.map_err(|error| call_error(GET_CONFIG, config, &error))?;
        let info = answer.deployment_config_info();
        let info = info.ok_or_else(|| not_understood(GET_CONFIG, config, "no deploymentConfigInfo"))?;
        Ok(facts::traffic_plan(info))
    }

    async fn running(&self, since: Timestamp) -> Result<Vec<DeploymentFacts>, CallError> {
        let ids = self.list_deployments(None, true, Some(since)).await?;
        let infos = self.deployment_infos(&ids).await?;
        let facts = infos.iter().filter_map(|info| match facts::deployment(info) {
            Ok(facts) => Some(facts),
            // One odd deployment must not hide all the others.
            Err(what) => {
                let deployment = info.deployment_id().unwrap_or_default();
                tracing::warn!(deployment, "deployment left out: {what}");
                None
            }
        });
        Ok(facts.collect())
    }

    async fn traffic(&self, target: &Target) -> Result<TrafficFacts, CallError> {
        match target {
            Target::LambdaAlias(target) => self.alias(&target.function, &target.alias).await,
            Target::TargetGroups(_) => Err(not_built(target)),
        }
    }

    async fn version(&self, target: &Target, version: &str) -> Result<VersionFacts, CallError> {
        match target {
            Target::LambdaAlias(target) => self.revision(&target.function, version).await,
            Target::TargetGroups(_) => Err(not_built(target)),
        }
    }

    async fn perform(
        &self,
        id: &DeploymentId,
        action: RollbackAction,
        held: Option<&ExecutionId>,
    ) -> Result<(), CallError> {
        match (action, held) {
            (RollbackAction::StopDeployment, _) => self.stop(id).await,
            (RollbackAction::FailHook, Some(held)) => self.answer(id, held, HookStatus::Failed).await,
            (RollbackAction::FailHook, None) => {
                Err(CallError::new(CallErrorKind::Invalid, ANSWER, id, "no hook is held open"))
            }
        }
    }

    async fn answer(&self, id: &DeploymentId, execution: &ExecutionId, status: HookStatus) -> Result<(), CallError> {
        let request = self.codedeploy.put_lifecycle_event_hook_execution_status();
        let request = request
            .deployment_id(id.as_str())
            .lifecycle_event_hook_execution_id(execution.as_str())
            .status(LifecycleEventStatus::from(status.as_str()));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let mut error = call_error(ANSWER, id, &error);
                // CodeDeploy may repeat the id; messages are logged and recorded, the id is neither.
                error.message = error.message.replace(execution.as_str(), "(execution id)");
                Err(error)
            }
        }
    }
}

/// Services behind a load balancer are not built yet.
fn not_built(target: &Target) -> CallError {
    CallError::new(CallErrorKind::Invalid, "codedeploy", target, "this platform is not supported yet")
}

impl Aws {
    /// StopDeployment with rollback.
    async fn stop(&self, id: &DeploymentId) -> Result<(), CallError> {
        let request = self.codedeploy.stop_deployment();
        let request = request.deployment_id(id.as_str()).auto_rollback_enabled(true);
        let answer = request.send().await;
        let answer = answer.map_err(|error| call_error(STOP, id, &error))?;
        let status = answer.status().map(|status| status.as_str()).unwrap_or_default();
        tracing::info!(deployment = %id, status, "stop accepted");
        Ok(())
    }

    /// Id of the deployment's first target; `None`: not started yet.
    async fn first_target(&self, id: &DeploymentId) -> Result<Option<String>, CallError> {
        let request = self.codedeploy.list_deployment_targets();
        match request.deployment_id(id.as_str()).send().await {
            Ok(answer) => Ok(answer.target_ids().first().cloned()),
            Err(error) if has_not_started(&error) => Ok(None),
            Err(error) => Err(call_error(LIST_TARGETS, id, &error)),
        }
    }

    /// Ids of the deployments of a group, or of all groups, from all pages and in no order.
    ///
    /// * `is_running`: only of those that run.
    /// * `since`: only of those that were created then or later.
    pub(crate) async fn list_deployments(
        &self,
        group: Option<&GroupRef>,
        is_running: bool,
        since: Option<Timestamp>,
    ) -> Result<Vec<String>, CallError> {
        let on = || group.map_or_else(|| "all groups".to_owned(), ToString::to_string);
        let range = since.map(|since| TimeRange::builder().start(DateTime::from_millis(since.ms())).build());
        let statuses: Option<Vec<_>> = is_running.then(|| RUNNING.into_iter().map(DeploymentStatus::from).collect());
        let mut ids = Vec::new();
        let mut next = Some(Page::first(LIST, on(), MAX_LIST_PAGES));
        while let Some(page) = next {
            let request = self.codedeploy.list_deployments();
            let request = request
                .set_application_name(group.map(|group| group.application().to_owned()))
                .set_deployment_group_name(group.map(|group| group.group().to_owned()))
                .set_include_only_statuses(statuses.clone())
                .set_create_time_range(range.clone())
                .set_next_token(page.token());
            let answer = request.send().await;
            let answer = answer.map_err(|error| call_error(LIST, on(), &error))?;
            ids.extend_from_slice(answer.deployments());
            next = page.after(answer.next_token())?;
        }
        Ok(ids)
    }

    /// What CodeDeploy tells of the deployments `ids`; of one that does not exist it tells nothing.
    pub(crate) async fn deployment_infos(&self, ids: &[String]) -> Result<Vec<DeploymentInfo>, CallError> {
        let mut infos = Vec::with_capacity(ids.len());
        for batch in ids.chunks(BATCH) {
            let request = self.codedeploy.batch_get_deployments();
            let answer = request.set_deployment_ids(Some(batch.to_vec())).send().await;
            let answer = answer.map_err(|error| call_error(BATCH_GET, batch.join(" "), &error))?;
            infos.extend(answer.deployments_info.unwrap_or_default());
        }
        Ok(infos)
    }

    /// A deployment group as CodeDeploy has it.
    pub(crate) async fn group_info(&self, group: &GroupRef) -> Result<DeploymentGroupInfo, CallError> {
        let request = self.codedeploy.get_deployment_group();
        let request = request.application_name(group.application()).deployment_group_name(group.group());
        let answer = request.send().await;
        let answer = answer.map_err(|error| call_error(GET_GROUP, group, &error))?;
        answer.deployment_group_info.ok_or_else(|| not_understood(GET_GROUP, group, "no deploymentGroupInfo"))
    }
}

fn has_not_started<E, R>(error: &aws_smithy_runtime_api::client::result::SdkError<E, R>) -> bool
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata,
{
    error.as_service_error().and_then(|error| error.code()) == Some("DeploymentNotStartedException")
}

#[expect(deprecated, reason = "deployments of the deprecated revision type still exist and must be read")]
fn location(spec: &AppSpecRef) -> RevisionLocation {
    let location = RevisionLocation::builder();
    if spec.is_string_type {
        let text = aws_sdk_codedeploy::types::RawString::builder().sha256(&spec.sha256).build();
        location.revision_type(RevisionLocationType::String).string(text).build()
    } else {
        let text = AppSpecContent::builder().sha256(&spec.sha256).build();
        location.revision_type(RevisionLocationType::AppSpecContent).app_spec_content(text).build()
    }
}

/// The function's name, which is the target's id, when an AppSpec names the function by its ARN.
fn function_name(name: &str) -> &str {
    let rest = name.split_once(":function:").map_or(name, |(_, rest)| rest);
    rest.split(':').next().unwrap_or(rest)
}
