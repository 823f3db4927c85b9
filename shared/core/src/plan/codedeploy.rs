//! How CodeDeploy gates, holds and undoes: its hooks, its StopDeployment, its own rollbacks, and the commands by which a person
//! does the same.

mod close;
mod going_back;
mod hooks;

use super::{Case, Step};
use crate::id::DeploymentId;
use crate::target::Target;

/// What is on its way, or what CodeDeploy ended: that goes before any new verdict.
pub(super) fn follow(case: &Case<'_>) -> Option<Step> {
    going_back::next(case).or_else(|| close::next(case))
}

/// Hooks that wait for an answer.
pub(super) fn answer(case: &Case<'_>) -> Option<Step> {
    hooks::next(case)
}

/// How a person ends a deployment with a rollback.
fn stop_command(id: &DeploymentId) -> String {
    format!("aws deploy stop-deployment --deployment-id {id} --auto-rollback-enabled")
}

/// How a person sends all traffic to the old version.
fn send_back_command(target: &Target) -> String {
    match target {
        Target::LambdaAlias(alias) => format!(
            "aws lambda update-alias --function-name {} --name {} --function-version {} \
             --routing-config AdditionalVersionWeights={{}}",
            alias.function, alias.alias, alias.baseline
        ),
        Target::TargetGroups(groups) => format!(
            "aws elbv2 modify-listener --listener-arn … --default-actions Type=forward,TargetGroupArn={}",
            groups.baseline.target_group
        ),
    }
}
