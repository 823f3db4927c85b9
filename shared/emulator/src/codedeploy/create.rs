//! CreateDeployment: checks, the stored revision, the new deployment.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::app_spec::AppSpec;
use super::config::Config;
use super::model::{AlarmConfig, AutoRollback, Deployment, Lifecycle, Platform, RevisionRef, Status, StoredRevision};
use super::{CodeDeploy, State};
use crate::json::text;
use crate::protocol::ApiFault;

/// Longest description.
const DESCRIPTION_MAX: usize = 256;

/// What a deployment is made of.
pub(super) struct NewDeployment {
    pub(super) application: String,
    pub(super) group: String,
    pub(super) platform: Platform,
    pub(super) config: Config,
    pub(super) is_rollback: bool,
    pub(super) description: Option<String>,
    pub(super) revision: RevisionRef,
    pub(super) spec: Option<Result<AppSpec, String>>,
    pub(super) auto_rollback: AutoRollback,
    pub(super) override_alarms: Option<AlarmConfig>,
}

impl CodeDeploy {
    pub(super) fn create_deployment(&self, input: &Value) -> Result<Value, ApiFault> {
        let now_ms = self.now_ms();
        let id = self.with_state(|state| {
            let new = state.check_new(input, now_ms)?;
            Ok::<_, ApiFault>(state.insert_deployment(new, now_ms))
        })?;
        self.launch(id.clone());
        Ok(json!({"deploymentId": id}))
    }
}

impl State {
    fn check_new(&mut self, input: &Value, now_ms: i64) -> Result<NewDeployment, ApiFault> {
        let (application, group) = self.names(input)?;
        let (group_config, platform, group_rollback) = {
            let found = self.group(&application, &group)?;
            (found.config_name.clone(), found.platform, found.auto_rollback.clone())
        };
        let description = text(input, "description").map(str::to_owned);
        if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX) {
            return Err(ApiFault::new(
                "DescriptionTooLongException",
                format!("the description is longer than {DESCRIPTION_MAX} characters"),
            ));
        }
        let config = self.config(text(input, "deploymentConfigName").unwrap_or(&group_config), Some(platform))?;
        let auto_rollback = match input.get("autoRollbackConfiguration") {
            None | Some(Value::Null) => group_rollback,
            Some(given) => AutoRollback::parse(given)?,
        };
        let override_alarms = match input.get("overrideAlarmConfiguration") {
            None | Some(Value::Null) => None,
            Some(given) => Some(AlarmConfig::parse(given)?),
        };
        let running = self.deployments.values().find(|found| {
            found.application == application && found.group == group && !found.status.is_final() && !found.is_rollback
        });
        if let Some(running) = running {
            let message = format!("Deployment group {group} already has an active deployment: {}", running.id);
            return Err(ApiFault::new("DeploymentLimitExceededException", message));
        }
        let given = input.get("revision").filter(|revision| !revision.is_null());
        let given = given.ok_or_else(|| ApiFault::new("RevisionRequiredException", "`revision` is required"))?;
        let (revision, spec) = self.revision(&application, &group, platform, given, now_ms)?;
        Ok(NewDeployment {
            application,
            group,
            platform,
            config,
            is_rollback: false,
            description,
            revision,
            spec,
            auto_rollback,
            override_alarms,
        })
    }

    /// The revision that `given` names, stored, and its parsed AppSpec (`None` for what the emulator does not read).
    fn revision(
        &mut self,
        application: &str,
        group: &str,
        platform: Platform,
        given: &Value,
        now_ms: i64,
    ) -> Result<(RevisionRef, Option<Result<AppSpec, String>>), ApiFault> {
        let invalid = |words: String| ApiFault::new("InvalidRevisionException", words);
        let kind = text(given, "revisionType").unwrap_or_default();
        let (is_string, member) = match (kind, platform) {
            ("AppSpecContent", Platform::Lambda | Platform::Ecs) => (false, "appSpecContent"),
            ("String", Platform::Lambda) => (true, "string"),
            ("S3" | "GitHub", Platform::Server) => {
                return Ok((RevisionRef::Elsewhere(given.clone()), None));
            }
            ("S3", Platform::Lambda | Platform::Ecs) => {
                return Err(invalid("the emulator has no S3; send the AppSpec as AppSpecContent".to_owned()));
            }
            (other, _) => {
                return Err(invalid(format!(
                    "revisionType `{other}` does not fit compute platform {}",
                    platform.name()
                )));
            }
        };
        let named = given.pointer(&format!("/{member}/sha256")).and_then(Value::as_str);
        let content = match (given.pointer(&format!("/{member}/content")).and_then(Value::as_str), named) {
            (Some(content), Some(sha256)) if sha256_hex(content) != sha256 => {
                return Err(invalid(format!("`{member}.sha256` is {sha256}, the content has {}", sha256_hex(content))));
            }
            (Some(content), _) => content.to_owned(),
            (None, Some(sha256)) => self.stored(application, sha256)?.content.clone(),
            (None, None) => return Err(invalid(format!("`{member}.content` is required"))),
        };
        let revision = self.store_revision(application, group, &content, is_string, now_ms);
        Ok((revision, Some(AppSpec::parse(&content))))
    }

    /// The stored revision with this hash.
    pub(super) fn stored(&self, application: &str, sha256: &str) -> Result<&StoredRevision, ApiFault> {
        self.applications.get(application).and_then(|found| found.revisions.get(sha256)).ok_or_else(|| {
            ApiFault::new(
                "RevisionDoesNotExistException",
                format!("application {application} has no revision {sha256}"),
            )
        })
    }

    /// Stores the text of a revision, or notes that it was used again.
    pub(super) fn store_revision(
        &mut self,
        application: &str,
        group: &str,
        content: &str,
        is_string: bool,
        now_ms: i64,
    ) -> RevisionRef {
        let sha256 = sha256_hex(content);
        if let Some(found) = self.applications.get_mut(application) {
            let stored = found.revisions.entry(sha256.clone()).or_insert_with(|| StoredRevision {
                content: content.to_owned(),
                registered_ms: now_ms,
                last_used_ms: now_ms,
                groups: BTreeSet::new(),
            });
            stored.last_used_ms = now_ms;
            stored.groups.insert(group.to_owned());
        }
        RevisionRef::Text { is_string, sha256 }
    }

    /// Adds a deployment in status `Created` and gives its id.
    pub(super) fn insert_deployment(&mut self, new: NewDeployment, now_ms: i64) -> String {
        let id = self.free_id();
        let group = self.groups.get(&(new.application.clone(), new.group.clone()));
        let (changes, _) = watch::channel(());
        let deployment = Deployment {
            id: id.clone(),
            previous_revision: group.and_then(|group| group.target_revision.clone()),
            ecs_target: group.map(|group| ecs_target(&group.ecs_services)).unwrap_or_default(),
            application: new.application,
            group: new.group,
            platform: new.platform,
            config: new.config,
            is_rollback: new.is_rollback,
            description: new.description,
            revision: new.revision,
            spec: new.spec,
            status: Status::Created,
            created_ms: now_ms,
            started_ms: None,
            completed_ms: None,
            error: None,
            auto_rollback: new.auto_rollback,
            override_alarms: new.override_alarms,
            rollback_info: None,
            lifecycle: new.platform.lifecycle().iter().map(|name| Lifecycle::new(name)).collect(),
            weight: 0.0,
            stop: None,
            accepted: false,
            changes,
            stop_truth: None,
            weights: Vec::new(),
            hook_invocations: Vec::new(),
            hook_answers: Vec::new(),
            rollback_deployment: None,
            restored_ms: None,
        };
        self.deployments.insert(id.clone(), deployment);
        self.order.push(id.clone());
        id
    }

    /// `d-` and nine upper-case letters or digits that no deployment has.
    fn free_id(&self) -> String {
        loop {
            let letters = (0..9).map(|_| match fastrand::u8(0..36) {
                digit @ 0..10 => char::from(b'0' + digit),
                letter => char::from(b'A' + letter - 10),
            });
            let id: String = "d-".chars().chain(letters).collect();
            if !self.deployments.contains_key(&id) {
                return id;
            }
        }
    }
}

/// `cluster:service` of a group's first ECS service.
fn ecs_target(services: &Value) -> String {
    let name =
        |key: &str| services.pointer(&format!("/0/{key}")).and_then(Value::as_str).unwrap_or("default").to_owned();
    format!("{}:{}", name("clusterName"), name("serviceName"))
}

/// Lower-case hex of the SHA-256 of `content`.
pub(super) fn sha256_hex(content: &str) -> String {
    Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
