//! The calls of CodeDeploy about applications, groups and configurations, and the dispatch of all calls.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::config::{Config, Routing, predefined};
use super::model::{AlarmConfig, Application, AutoRollback, Group, Platform};
use super::{CodeDeploy, State, asks};
use crate::iam::Ask;
use crate::json::{text, uuid};
use crate::protocol::{ApiFault, ApiRequest, ApiResponse, BoxFuture, Service, required};

/// Longest name of an application, a group or a configuration.
const NAME_MAX: usize = 100;

impl Service for CodeDeploy {
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
        let answer = self.dispatch(&request.principal, &request.operation, &request.input);
        Box::pin(std::future::ready(answer.into()))
    }

    fn asks(&self, request: &ApiRequest) -> Vec<Ask> {
        let resources = self.with_state(|state| asks::resources(state, &request.operation, &request.input));
        resources.into_iter().map(|resource| request.ask(resource)).collect()
    }
}

impl CodeDeploy {
    pub(super) fn dispatch(&self, principal: &str, operation: &str, input: &Value) -> Result<Value, ApiFault> {
        match operation {
            "CreateApplication" => self.create_application(input),
            "CreateDeploymentGroup" => self.create_group(input),
            "UpdateDeploymentGroup" => self.update_group(input),
            "GetDeploymentGroup" => self.with_state(|state| {
                let (application, group) = state.names(input)?;
                Ok(json!({"deploymentGroupInfo": state.group(&application, &group)?.to_json()}))
            }),
            "CreateDeploymentConfig" => self.create_config(input),
            "GetDeploymentConfig" => self.with_state(|state| {
                let name = required(input, "deploymentConfigName", "DeploymentConfigNameRequiredException")?;
                Ok(json!({"deploymentConfigInfo": state.config(name, None)?.to_json()}))
            }),
            "CreateDeployment" => self.create_deployment(input),
            "GetDeployment" => self.get_deployment(input),
            "BatchGetDeployments" => self.batch_get_deployments(input),
            "ListDeployments" => self.list_deployments(input),
            "GetApplicationRevision" => self.get_application_revision(input),
            "GetDeploymentTarget" => self.get_deployment_target(input),
            "ListDeploymentTargets" => self.list_deployment_targets(input),
            "StopDeployment" => self.stop_deployment(principal, input),
            "PutLifecycleEventHookExecutionStatus" => self.put_hook_status(principal, input),
            _ => Err(ApiFault::unsupported("codedeploy", operation)),
        }
    }

    fn create_application(&self, input: &Value) -> Result<Value, ApiFault> {
        let name = required(input, "applicationName", "ApplicationNameRequiredException")?;
        check_name(name, "InvalidApplicationNameException")?;
        let platform = Platform::parse(text(input, "computePlatform").unwrap_or("Server"))?;
        self.with_state(|state| {
            if state.applications.contains_key(name) {
                let message = format!("Application already exists: {name}");
                return Err(ApiFault::new("ApplicationAlreadyExistsException", message));
            }
            state.applications.insert(name.to_owned(), Application { platform, revisions: BTreeMap::new() });
            Ok(json!({"applicationId": uuid()}))
        })
    }

    fn create_group(&self, input: &Value) -> Result<Value, ApiFault> {
        let role_arn = text(input, "serviceRoleArn").map(str::to_owned);
        self.with_state(|state| {
            let (application, name) = state.application_and_group_name(input, "deploymentGroupName")?;
            check_name(&name, "InvalidDeploymentGroupNameException")?;
            let platform = state.applications.get(&application).map_or(Platform::Server, |found| found.platform);
            let key = (application.clone(), name.clone());
            if state.groups.contains_key(&key) {
                let message = format!("Deployment group already exists: {name}");
                return Err(ApiFault::new("DeploymentGroupAlreadyExistsException", message));
            }
            let role_arn =
                role_arn.ok_or_else(|| ApiFault::new("RoleRequiredException", "`serviceRoleArn` is required"))?;
            let default = match platform {
                Platform::Lambda => "CodeDeployDefault.LambdaAllAtOnce",
                Platform::Ecs => "CodeDeployDefault.ECSAllAtOnce",
                Platform::Server => "CodeDeployDefault.OneAtATime",
            };
            let mut group = Group {
                id: uuid(),
                application,
                name,
                platform,
                config_name: default.to_owned(),
                role_arn,
                auto_rollback: AutoRollback::default(),
                alarms: AlarmConfig::default(),
                ecs_services: Value::Null,
                triggers: json!([]),
                target_revision: None,
                last_successful: None,
                last_attempted: None,
            };
            state.change_group(&mut group, input)?;
            let id = group.id.clone();
            state.groups.insert(key, group);
            Ok(json!({"deploymentGroupId": id}))
        })
    }

    fn update_group(&self, input: &Value) -> Result<Value, ApiFault> {
        self.with_state(|state| {
            let (application, name) = state.application_and_group_name(input, "currentDeploymentGroupName")?;
            if text(input, "newDeploymentGroupName").is_some_and(|new| new != name) {
                let message = "the emulator cannot rename a deployment group (`newDeploymentGroupName`)";
                return Err(ApiFault::new("InvalidDeploymentGroupNameException", message));
            }
            let key = (application, name);
            let mut group = state.groups.remove(&key).ok_or_else(|| no_group(&key.1))?;
            let changed = state.change_group(&mut group, input);
            state.groups.insert(key, group);
            changed.map(|()| json!({"hooksNotCleanedUp": []}))
        })
    }

    fn create_config(&self, input: &Value) -> Result<Value, ApiFault> {
        let name = required(input, "deploymentConfigName", "DeploymentConfigNameRequiredException")?;
        check_name(name, "InvalidDeploymentConfigNameException")?;
        if name.starts_with("CodeDeployDefault.") {
            let message = "a name must not start with `CodeDeployDefault.`";
            return Err(ApiFault::new("InvalidDeploymentConfigNameException", message));
        }
        let platform = Platform::parse(text(input, "computePlatform").unwrap_or("Server"))?;
        let routing = match (platform, input.get("trafficRoutingConfig")) {
            (Platform::Server, _) => None,
            (Platform::Lambda | Platform::Ecs, Some(given)) => Some(Routing::parse(given)?),
            (Platform::Lambda | Platform::Ecs, None) => Some(Routing::AllAtOnce),
        };
        let config = Config { name: name.to_owned(), platform, routing, created_ms: self.now_ms() };
        let answer = config.to_json();
        self.with_state(|state| {
            if state.configs.contains_key(name) {
                let message = format!("Deployment configuration already exists: {name}");
                return Err(ApiFault::new("DeploymentConfigAlreadyExistsException", message));
            }
            state.configs.insert(name.to_owned(), config);
            Ok(json!({"deploymentConfigId": answer.get("deploymentConfigId")}))
        })
    }
}

impl State {
    /// Existing application and the group's name, of a call about a deployment group.
    pub(super) fn names(&self, input: &Value) -> Result<(String, String), ApiFault> {
        self.application_and_group_name(input, "deploymentGroupName")
    }

    fn application_and_group_name(&self, input: &Value, key: &str) -> Result<(String, String), ApiFault> {
        let application = required(input, "applicationName", "ApplicationNameRequiredException")?;
        let group = required(input, key, "DeploymentGroupNameRequiredException")?;
        self.application(application)?;
        Ok((application.to_owned(), group.to_owned()))
    }

    pub(super) fn application(&self, name: &str) -> Result<&Application, ApiFault> {
        let missing =
            || ApiFault::new("ApplicationDoesNotExistException", format!("No application found for name: {name}"));
        self.applications.get(name).ok_or_else(missing)
    }

    pub(super) fn group(&self, application: &str, group: &str) -> Result<&Group, ApiFault> {
        self.groups.get(&(application.to_owned(), group.to_owned())).ok_or_else(|| no_group(group))
    }

    /// Predefined or custom configuration; with `platform` it must fit.
    pub(super) fn config(&self, name: &str, platform: Option<Platform>) -> Result<Config, ApiFault> {
        let found = predefined(name).or_else(|| self.configs.get(name).cloned()).ok_or_else(|| {
            ApiFault::new(
                "DeploymentConfigDoesNotExistException",
                format!("No deployment configuration found for name: {name}"),
            )
        })?;
        match platform {
            Some(platform) if platform != found.platform => {
                let message =
                    format!("{name} is for {}, the application is for {}", found.platform.name(), platform.name());
                Err(ApiFault::new("InvalidDeploymentConfigNameException", message))
            }
            Some(_) | None => Ok(found),
        }
    }

    /// Takes over the settings that `input` has; on an error `group` is unchanged.
    fn change_group(&self, group: &mut Group, input: &Value) -> Result<(), ApiFault> {
        let given = |key: &str| input.get(key).filter(|value| !value.is_null());
        let config = match text(input, "deploymentConfigName") {
            Some(name) => Some(self.config(name, Some(group.platform))?.name),
            None => None,
        };
        let rollback = given("autoRollbackConfiguration").map(AutoRollback::parse).transpose()?;
        let alarms = given("alarmConfiguration").map(AlarmConfig::parse).transpose()?;
        group.config_name = config.unwrap_or_else(|| group.config_name.clone());
        group.auto_rollback = rollback.unwrap_or_else(|| group.auto_rollback.clone());
        group.alarms = alarms.unwrap_or_else(|| group.alarms.clone());
        if let Some(role) = text(input, "serviceRoleArn") {
            role.clone_into(&mut group.role_arn);
        }
        if let Some(services) = given("ecsServices") {
            group.ecs_services = services.clone();
        }
        if let Some(triggers) = given("triggerConfigurations") {
            group.triggers = triggers.clone();
        }
        Ok(())
    }
}

fn no_group(name: &str) -> ApiFault {
    ApiFault::new("DeploymentGroupDoesNotExistException", format!("No deployment group found for name: {name}"))
}

fn check_name(name: &str, code: &str) -> Result<(), ApiFault> {
    if name.chars().count() > NAME_MAX {
        return Err(ApiFault::new(code, format!("the name is longer than {NAME_MAX} characters")));
    }
    Ok(())
}
