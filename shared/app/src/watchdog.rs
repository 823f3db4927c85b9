//! The hook watchdog: answers for a hook whose run is over without an answer, and for a bake that nobody ended.

use crate::error::AppError;
use crate::pause;
use crate::ports::{Clock, Controller, DeploymentStore, PauseStore};
use crate::reconcile::{ReconcilePorts, read_alarms, reconcile_record};
use crate::register::{RegisterPorts, Registration, register};
use snapback_core::observed::TargetFacts;
use snapback_core::pause::in_force;
use snapback_core::plan::{Caller, Readings};
use snapback_core::record::{Lease, Record};
use snapback_core::{DeploymentId, ExecutionId, HookStatus, LifecycleEvent, Trigger};

/// A hook's invocation failed for good: answer for it.
///
/// # Errors
/// When nothing could be recorded or answered; Lambda calls again.
pub async fn answer_for_hook<P: ReconcilePorts + RegisterPorts + PauseStore>(
    ports: &P,
    id: &DeploymentId,
    execution: &ExecutionId,
    owner: &str,
) -> Result<Record, AppError> {
    let caller = Caller { trigger: Trigger::Watchdog, owner: owner.to_owned() };
    let record = match ports.load(id).await {
        Ok(Some(record)) => record,
        Ok(None) => match register(ports, id, None).await {
            Ok(Registration::Watched(known)) => known.record,
            Ok(Registration::RollbackOf(_)) => {
                ports.answer(id, execution, HookStatus::Succeeded).await?;
                return Err(AppError::Unknown { id: id.clone() });
            }
            Err(error) => return Err(answer_blindly(ports, id, execution, error).await),
        },
        Err(error) => return Err(answer_blindly(ports, id, execution, error.into()).await),
    };
    let record = with_lease(ports, record, execution, owner).await?;
    reconcile_record(ports, record, Readings::None, &caller).await
}

/// The end of a bake came and went: answer if nobody has.
///
/// # Errors
/// When the record or CodeDeploy cannot be read; Lambda calls again.
pub async fn end_bake<P: ReconcilePorts + PauseStore>(
    ports: &P,
    id: &DeploymentId,
    owner: &str,
) -> Result<Record, AppError> {
    let caller = Caller { trigger: Trigger::Watchdog, owner: owner.to_owned() };
    let Some(record) = ports.load(id).await? else {
        return Err(AppError::Unknown { id: id.clone() });
    };
    let is_open = record.lease(LifecycleEvent::AfterAllowTraffic).is_some_and(|lease| lease.answered.is_none());
    let readings = if is_open && !record.deployment.phase.is_closed() {
        read_alarms(ports, &record.alarm_names()).await
    } else {
        Readings::None
    };
    reconcile_record(ports, record, readings, &caller).await
}

/// The record cannot be used. Before traffic `Failed` harms nobody, but while everything is paused nothing is refused; afterwards it would undo a version that nobody judged, so
/// the error is returned and Lambda calls again.
async fn answer_blindly<P: Controller + PauseStore>(
    ports: &P,
    id: &DeploymentId,
    execution: &ExecutionId,
    error: AppError,
) -> AppError {
    let has_traffic = match ports.target(id, None).await {
        Ok(target) => target.is_some_and(|target| target.allow.started_at.is_some()),
        Err(_) => return error,
    };
    if !has_traffic {
        let is_paused = in_force(&pause::read(ports).await, None).is_some();
        let status = if is_paused { HookStatus::Succeeded } else { HookStatus::Failed };
        tracing::error!(deployment = %id, %status, %error, "answering without a record");
        if let Err(answer) = ports.answer(id, execution, status).await {
            tracing::error!(deployment = %id, error = %answer, "not answered");
        }
    }
    error
}

/// The record with a lease for the hook that this execution id belongs to.
async fn with_lease<P: DeploymentStore + Controller + Clock>(
    ports: &P,
    mut record: Record,
    execution: &ExecutionId,
    owner: &str,
) -> Result<Record, AppError> {
    if record.leases.iter().any(|lease| lease.execution_id == *execution) {
        return Ok(record);
    }
    let id = record.deployment.identity.id.clone();
    let target = ports.target(&id, Some(&record.deployment.identity.target)).await?;
    let now = ports.now();
    let lease = Lease {
        event: running_event(target.as_ref()),
        execution_id: execution.clone(),
        owner: owner.to_owned(),
        taken_at: now,
        deadline: now,
        result: None,
        answered: None,
    };
    let lease = ports.take_lease(&id, &lease).await?.unwrap_or(lease);
    record.put_lease(lease);
    Ok(record)
}

/// The hook event does not name its lifecycle event: it is the one that runs.
fn running_event(target: Option<&TargetFacts>) -> LifecycleEvent {
    if target.is_some_and(|target| target.after.is_in_progress || target.allow.ended_at.is_some()) {
        LifecycleEvent::AfterAllowTraffic
    } else {
        LifecycleEvent::BeforeAllowTraffic
    }
}
