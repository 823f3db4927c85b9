//! On which resources a call of CodeDeploy is allowed or denied.

use std::collections::BTreeSet;

use serde_json::Value;

use super::State;
use crate::json::text;
use crate::parts::{ACCOUNT, REGION};

/// ARNs on which the caller needs the action of this name; `*` where the Service Authorization Reference has no resource.
pub(super) fn resources(state: &State, operation: &str, input: &Value) -> BTreeSet<String> {
    let one = |resource: String| BTreeSet::from([resource]);
    let named = |key: &str| text(input, key).unwrap_or("*");
    match operation {
        "GetDeployment" => one(group_of(state, named("deploymentId"))),
        "BatchGetDeployments" => {
            let ids = input.get("deploymentIds").and_then(Value::as_array).into_iter().flatten();
            ids.filter_map(Value::as_str).map(|id| group_of(state, id)).collect()
        }
        "ListDeployments" if text(input, "deploymentGroupName").is_none() => one("*".to_owned()),
        "ListDeployments" | "GetDeploymentGroup" | "CreateDeployment" | "CreateDeploymentGroup" => {
            one(group(named("applicationName"), named("deploymentGroupName")))
        }
        "UpdateDeploymentGroup" => one(group(named("applicationName"), named("currentDeploymentGroupName"))),
        "GetDeploymentConfig" | "CreateDeploymentConfig" => {
            one(arn(&format!("deploymentconfig:{}", named("deploymentConfigName"))))
        }
        "GetApplicationRevision" | "CreateApplication" => {
            one(arn(&format!("application:{}", named("applicationName"))))
        }
        // StopDeployment, PutLifecycleEventHookExecutionStatus, GetDeploymentTarget, ListDeploymentTargets.
        _ => one("*".to_owned()),
    }
}

/// The group of a deployment; of one that nobody knows only a role for all groups may hear that.
fn group_of(state: &State, deployment: &str) -> String {
    match state.deployments.get(deployment) {
        Some(found) => group(&found.application, &found.group),
        None => group("*", "*"),
    }
}

fn group(application: &str, name: &str) -> String {
    arn(&format!("deploymentgroup:{application}/{name}"))
}

fn arn(resource: &str) -> String {
    format!("arn:aws:codedeploy:{REGION}:{ACCOUNT}:{resource}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_call_has_its_resources() {
        let prefix = "arn:aws:codedeploy:us-east-1:123456789012:";
        let names = json!({"applicationName": "shop", "deploymentGroupName": "live"});
        let table = [
            ("GetDeployment", json!({"deploymentId": "d-1"}), "deploymentgroup:*/*"),
            ("BatchGetDeployments", json!({"deploymentIds": ["d-1", "d-2"]}), "deploymentgroup:*/*"),
            ("GetDeploymentGroup", names.clone(), "deploymentgroup:shop/live"),
            ("ListDeployments", names.clone(), "deploymentgroup:shop/live"),
            ("ListDeployments", json!({}), "*"),
            ("GetDeploymentConfig", json!({"deploymentConfigName": "Slow"}), "deploymentconfig:Slow"),
            ("GetApplicationRevision", names, "application:shop"),
            ("StopDeployment", json!({"deploymentId": "d-1"}), "*"),
        ];
        for (operation, input, expected) in table {
            let expected = if expected == "*" { expected.to_owned() } else { format!("{prefix}{expected}") };
            assert_eq!(resources(&State::default(), operation, &input), BTreeSet::from([expected]), "{operation}");
        }
    }
}
