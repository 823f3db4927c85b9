//! The calls of CodeDeploy about deployments, their targets and their hooks.

use serde_json::{Value, json};

use super::model::{Deployment, EventStatus, Platform, RevisionRef, Status, StopRequest, texts};
use super::truth::{HookAnswer, StopTruth};
use super::{CodeDeploy, State};
use crate::json::{text, timestamp};
use crate::protocol::{ApiFault, required};

/// Most deployments of one BatchGetDeployments.
const BATCH_MAX: usize = 25;
/// Ids in a page of ListDeployments; few in the first one, so that callers must page.
const PAGE: usize = 100;
const FIRST_PAGE: usize = 3;

impl CodeDeploy {
    pub(super) fn get_deployment(&self, input: &Value) -> Result<Value, ApiFault> {
        self.with_state(|state| Ok(json!({"deploymentInfo": state.deployment(input)?.to_json()})))
    }

    pub(super) fn batch_get_deployments(&self, input: &Value) -> Result<Value, ApiFault> {
        let ids = texts(input.get("deploymentIds"));
        if ids.is_empty() {
            return Err(ApiFault::new("DeploymentIdRequiredException", "`deploymentIds` is required"));
        }
        if ids.len() > BATCH_MAX {
            return Err(ApiFault::new(
                "BatchLimitExceededException",
                format!("{} ids, the maximum is {BATCH_MAX}", ids.len()),
            ));
        }
        ids.iter().try_for_each(|id| check_id(id))?;
        self.with_state(|state| {
            let found: Vec<Value> =
                ids.iter().filter_map(|id| state.deployments.get(id)).map(Deployment::to_json).collect();
            Ok(json!({"deploymentsInfo": found}))
        })
    }

    pub(super) fn list_deployments(&self, input: &Value) -> Result<Value, ApiFault> {
        let filter = Filter::parse(input)?;
        self.with_state(|state| {
            match (&filter.application, &filter.group) {
                (Some(application), Some(group)) => {
                    state.application(application)?;
                    state.group(application, group)?;
                }
                (Some(_), None) => {
                    return Err(ApiFault::new(
                        "DeploymentGroupNameRequiredException",
                        "`deploymentGroupName` is required with `applicationName`",
                    ));
                }
                (None, Some(_)) => {
                    return Err(ApiFault::new(
                        "ApplicationNameRequiredException",
                        "`applicationName` is required with `deploymentGroupName`",
                    ));
                }
                (None, None) => {}
            }
            // The token is the last id of the page before, so that new deployments shift nothing.
            let after = match text(input, "nextToken") {
                None => None,
                Some(token) => Some(state.order.iter().position(|id| id == token).ok_or_else(|| {
                    ApiFault::new(
                        "InvalidNextTokenException",
                        format!("`nextToken` is `{token}`, not one that was given"),
                    )
                })?),
            };
            let page = if after.is_none() { FIRST_PAGE } else { PAGE };
            let newest_first = state.order.iter().take(after.unwrap_or(usize::MAX)).rev();
            let mut ids: Vec<&String> = newest_first
                .filter(|id| state.deployments.get(*id).is_some_and(|deployment| filter.fits(deployment)))
                .take(page + 1)
                .collect();
            let more = ids.len() > page;
            ids.truncate(page);
            let mut output = json!({"deployments": ids});
            if let (true, Some(last), Some(members)) = (more, ids.last(), output.as_object_mut()) {
                members.insert("nextToken".to_owned(), json!(last));
            }
            Ok(output)
        })
    }

    pub(super) fn get_application_revision(&self, input: &Value) -> Result<Value, ApiFault> {
        let application = required(input, "applicationName", "ApplicationNameRequiredException")?;
        let revision = input.get("revision").filter(|revision| !revision.is_null());
        let revision = revision.ok_or_else(|| ApiFault::new("RevisionRequiredException", "`revision` is required"))?;
        let (is_string, member) = match text(revision, "revisionType") {
            Some("AppSpecContent") => (false, "appSpecContent"),
            Some("String") => (true, "string"),
            Some(_) | None => {
                return Err(ApiFault::new(
                    "InvalidRevisionException",
                    "`revisionType` must be AppSpecContent or String here",
                ));
            }
        };
        let sha256 = revision.pointer(&format!("/{member}/sha256")).and_then(Value::as_str);
        let sha256 = sha256
            .ok_or_else(|| ApiFault::new("InvalidRevisionException", format!("`{member}.sha256` is required")))?;
        self.with_state(|state| {
            state.application(application)?;
            let stored = state.stored(application, sha256)?;
            let shown = RevisionRef::Text { is_string, sha256: sha256.to_owned() };
            Ok(json!({
                "applicationName": application,
                "revision": shown.with_content(Some(&stored.content)),
                "revisionInfo": {
                    "deploymentGroups": stored.groups,
                    "firstUsedTime": timestamp(stored.registered_ms),
                    "lastUsedTime": timestamp(stored.last_used_ms),
                    "registerTime": timestamp(stored.registered_ms),
                }
            }))
        })
    }

    pub(super) fn get_deployment_target(&self, input: &Value) -> Result<Value, ApiFault> {
        self.with_state(|state| {
            let deployment = state.started(input)?;
            let target = required(input, "targetId", "DeploymentTargetIdRequiredException")?;
            if deployment.target_id().as_deref() != Some(target) {
                let message = format!("deployment {} has no target {target}", deployment.id);
                return Err(ApiFault::new("DeploymentTargetDoesNotExistException", message));
            }
            Ok(json!({"deploymentTarget": deployment.target_json()}))
        })
    }

    pub(super) fn list_deployment_targets(&self, input: &Value) -> Result<Value, ApiFault> {
        self.with_state(|state| {
            let targets: Vec<String> = state.started(input)?.target_id().into_iter().collect();
            // One target is one page.
            if let Some(token) = text(input, "nextToken") {
                let message = format!("`nextToken` {token} was not given out by this API");
                return Err(ApiFault::new("InvalidNextTokenException", message));
            }
            Ok(json!({"targetIds": targets}))
        })
    }

    pub(super) fn stop_deployment(&self, principal: &str, input: &Value) -> Result<Value, ApiFault> {
        let now_ms = self.now_ms();
        let rollback = input.get("autoRollbackEnabled").and_then(Value::as_bool);
        let id = self.with_state(|state| state.deployment(input).map(|found| found.id.clone()))?;
        let answer = self.change(&id, |deployment| {
            if deployment.status.is_final() {
                let message = format!("Deployment {} is already in {} state", deployment.id, deployment.status.name());
                return Err(ApiFault::new("DeploymentAlreadyCompletedException", message));
            }
            if deployment.stop.is_some() {
                return Ok(json!({"status": "Succeeded", "statusMessage": "The deployment is being stopped."}));
            }
            let shifting = deployment.is_in("AllowTraffic");
            deployment.stop = Some(StopRequest { rollback, pending: shifting });
            deployment.stop_truth = Some(StopTruth { at_ms: now_ms, by: principal.to_owned() });
            Ok(if shifting {
                json!({"status": "Pending", "statusMessage": "The stop request is pending; some lifecycle events may still run."})
            } else {
                json!({"status": "Succeeded", "statusMessage": "No more lifecycle events will run."})
            })
        });
        answer.unwrap_or_else(|| Err(no_deployment(&id)))
    }

    pub(super) fn put_hook_status(&self, principal: &str, input: &Value) -> Result<Value, ApiFault> {
        let now_ms = self.now_ms();
        let id = self.with_state(|state| state.deployment(input).map(|found| found.id.clone()))?;
        let execution = text(input, "lifecycleEventHookExecutionId").unwrap_or_default().to_owned();
        let status = text(input, "status").unwrap_or_default().to_owned();
        let answer = self.change(&id, |deployment| {
            let result = deployment.answer_hook(&execution, &status, now_ms);
            let event = deployment.event_of(&execution).map(str::to_owned);
            let error = result.as_ref().err().map(|fault| fault.code.clone());
            deployment.hook_answers.push(HookAnswer {
                at_ms: now_ms,
                event,
                status: status.clone(),
                by: principal.to_owned(),
                error,
            });
            result
        });
        answer.unwrap_or_else(|| Err(no_deployment(&id)))?;
        Ok(json!({"lifecycleEventHookExecutionId": execution}))
    }
}

impl State {
    /// The deployment that `input.deploymentId` names.
    fn deployment(&self, input: &Value) -> Result<&Deployment, ApiFault> {
        let id = required(input, "deploymentId", "DeploymentIdRequiredException")?;
        check_id(id)?;
        self.deployments.get(id).ok_or_else(|| no_deployment(id))
    }

    /// The same, when it has started.
    fn started(&self, input: &Value) -> Result<&Deployment, ApiFault> {
        let deployment = self.deployment(input)?;
        match deployment.started_ms {
            Some(_) => Ok(deployment),
            None => Err(ApiFault::new(
                "DeploymentNotStartedException",
                format!("Deployment {} has not started", deployment.id),
            )),
        }
    }
}

impl Deployment {
    fn is_in(&self, event: &str) -> bool {
        self.lifecycle.iter().any(|found| found.name == event && found.status == EventStatus::InProgress)
    }

    /// The event whose hook got this execution id.
    fn event_of(&self, execution: &str) -> Option<&'static str> {
        self.lifecycle.iter().find(|event| event.execution_id.as_deref() == Some(execution)).map(|event| event.name)
    }

    fn answer_hook(&mut self, execution: &str, status: &str, now_ms: i64) -> Result<(), ApiFault> {
        if self.platform == Platform::Server {
            let message = "EC2/on-premises deployments have no hook functions";
            return Err(ApiFault::new("UnsupportedActionForDeploymentTypeException", message));
        }
        let verdict = match status {
            "Succeeded" => EventStatus::Succeeded,
            "Failed" => EventStatus::Failed,
            other => {
                let message = format!("`status` is `{other}`, allowed are Succeeded and Failed");
                return Err(ApiFault::new("InvalidLifecycleEventHookExecutionStatusException", message));
            }
        };
        let id = self.id.clone();
        let event = self.lifecycle.iter_mut().find(|event| event.execution_id.as_deref() == Some(execution));
        let event = event.ok_or_else(|| {
            let message = format!("the execution id belongs to no hook of deployment {id}");
            ApiFault::new("InvalidLifecycleEventHookExecutionIdException", message)
        })?;
        if event.status != EventStatus::InProgress {
            let message =
                format!("lifecycle event {} of deployment {id} is already {}", event.name, event.status.name());
            return Err(ApiFault::new("LifecycleEventAlreadyCompletedException", message));
        }
        event.status = verdict;
        event.end_ms = Some(now_ms);
        Ok(())
    }
}

/// What ListDeployments shall list.
struct Filter {
    application: Option<String>,
    group: Option<String>,
    statuses: Vec<String>,
    start: Option<f64>,
    end: Option<f64>,
}

impl Filter {
    fn parse(input: &Value) -> Result<Self, ApiFault> {
        let known = ["Created", "Queued", "InProgress", "Baking", "Succeeded", "Failed", "Stopped", "Ready"];
        let statuses = texts(input.get("includeOnlyStatuses"));
        if let Some(unknown) = statuses.iter().find(|status| !known.contains(&status.as_str())) {
            return Err(ApiFault::new(
                "InvalidDeploymentStatusException",
                format!("status `{unknown}`, known are {}", known.join(", ")),
            ));
        }
        let time = |key: &str| match input.pointer(&format!("/createTimeRange/{key}")) {
            None | Some(Value::Null) => Ok(None),
            Some(given) => given.as_f64().map(Some).ok_or_else(|| {
                ApiFault::new(
                    "InvalidTimeRangeException",
                    format!("`createTimeRange.{key}` is {given}, it must be epoch seconds"),
                )
            }),
        };
        let (start, end) = (time("start")?, time("end")?);
        if let (Some(start), Some(end)) = (start, end)
            && start > end
        {
            return Err(ApiFault::new("InvalidTimeRangeException", "`createTimeRange` starts after its end"));
        }
        let name = |key: &str| text(input, key).map(str::to_owned);
        Ok(Self { application: name("applicationName"), group: name("deploymentGroupName"), statuses, start, end })
    }

    fn fits(&self, deployment: &Deployment) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let created = crate::json::seconds(deployment.created_ms);
        is(&self.application, &deployment.application)
            && is(&self.group, &deployment.group)
            && (self.statuses.is_empty()
                || self.statuses.iter().any(|status| status == Status::name(deployment.status)))
            && self.start.is_none_or(|start| created >= start)
            && self.end.is_none_or(|end| created <= end)
    }
}

fn no_deployment(id: &str) -> ApiFault {
    ApiFault::new("DeploymentDoesNotExistException", format!("The deployment {id} could not be found"))
}

/// `d-` and nine upper-case letters or digits.
fn check_id(id: &str) -> Result<(), ApiFault> {
    let fits = id.strip_prefix("d-").is_some_and(|rest| {
        rest.len() == 9 && rest.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit())
    });
    if fits {
        Ok(())
    } else {
        Err(ApiFault::new("InvalidDeploymentIdException", format!("`{id}` is no deployment id")))
    }
}
