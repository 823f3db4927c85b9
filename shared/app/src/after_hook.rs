//! The hook AfterAllowTraffic: holds it open as the bake, or judges and answers at once when there is none.

use crate::before_hook::{HookEnd, HookRun, RESERVE};
use crate::error::AppError;
use crate::ports::{Controller, OwnMetric, PauseStore, Schedules};
use crate::reconcile::{ReconcilePorts, read_alarms, reconcile_record};
use crate::register::{RegisterPorts, Registration, register};
use snapback_core::plan::{Caller, Readings};
use snapback_core::record::{Lease, Record};
use snapback_core::{DeploymentId, HookStatus, LifecycleEvent, Trigger};
use std::time::Duration;

/// The watchdog looks at the end of a bake at most this long after it; 18 ticks if that is less and numbers need no longer.
const LATEST_END: Duration = Duration::from_secs(180);
/// Between two tries to reach the record.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// A try for the lease and the answer to CodeDeploy may take this long where the network swallows calls: two calls of six seconds.
const LAST_TRY: Duration = Duration::from_secs(12);

/// Registers the bake and returns; the watcher answers. Answers at once where there is nothing to wait for.
///
/// # Errors
/// When the record cannot be used and CodeDeploy did not take an answer either.
pub async fn after_allow_traffic<P: ReconcilePorts + RegisterPorts + PauseStore + Schedules>(
    ports: &P,
    run: &HookRun,
) -> Result<HookEnd, AppError> {
    let started_at = ports.now();
    let lease = Lease {
        event: LifecycleEvent::AfterAllowTraffic,
        execution_id: run.execution.clone(),
        owner: run.owner.clone(),
        taken_at: started_at,
        deadline: started_at + snapback_core::target::LONGEST_HOLD,
        result: None,
        answered: None,
    };
    loop {
        match ports.take_lease(&run.deployment, &lease).await {
            Ok(None) => break,
            Ok(Some(other)) if other.execution_id == run.execution && other.answered.is_none() => {
                break;
            }
            Ok(Some(_)) => return Ok(HookEnd::HeldByAnother),
            // Without a lease nobody else can answer, so this run does: after its last moment only `Failed` is left.
            Err(error) if ports.now() + RETRY_EVERY + LAST_TRY < run.function_ends_at - RESERVE => {
                tracing::error!(deployment = %run.deployment, %error, "no lease yet");
                ports.sleep(RETRY_EVERY).await;
            }
            Err(error) => return fail(ports, run, &error.to_string()).await,
        }
    }
    let record = match known(ports, &run.deployment).await? {
        Some(record) => record,
        // CodeDeploy's own rollback: nothing to hold.
        None => {
            ports.answer(&run.deployment, &run.execution, HookStatus::Succeeded).await?;
            return Ok(HookEnd::Answered(HookStatus::Succeeded));
        }
    };
    let caller = Caller { trigger: Trigger::Hook, owner: run.owner.clone() };
    let readings =
        if record.policy.bake.is_zero() { read_alarms(ports, &record.alarm_names()).await } else { Readings::None };
    let record = reconcile_record(ports, record, readings, &caller).await?;
    let answered = record.lease(LifecycleEvent::AfterAllowTraffic).and_then(|lease| lease.answered);
    let result = answered.map(|(status, _)| status);
    let (service, took) = (record.deployment.identity.service.clone(), ports.now().since(started_at));
    ports.emit(OwnMetric::HookDone { service, result, took });
    if let Some(status) = result {
        return Ok(HookEnd::Answered(status));
    }
    if let Some(bake) = record.deployment.bake() {
        let policy = &record.policy;
        // The watchdog cannot compare versions: it lets the watcher wait for the last numbers first.
        let for_numbers =
            if policy.is_compared() { policy.judge.drain(policy.tick) + 3 * policy.tick } else { Duration::ZERO };
        let at = bake.ends_at + (policy.tick * 18).max(for_numbers).min(LATEST_END);
        // A watcher that is alive makes it unnecessary: the bake goes on without it.
        if let Err(error) = ports.end_of_bake(&run.deployment, at).await {
            tracing::error!(deployment = %run.deployment, %error, "no one-time schedule for the end of the bake");
        }
    }
    Ok(HookEnd::Baking)
}

/// The record, made now when the first hook never made it; `None` for a rollback of CodeDeploy's.
async fn known<P: RegisterPorts>(ports: &P, id: &DeploymentId) -> Result<Option<Record>, AppError> {
    if let Some(record) = ports.load(id).await? {
        return Ok(Some(record));
    }
    match register(ports, id, None).await? {
        Registration::Watched(known) => Ok(Some(known.record)),
        Registration::RollbackOf(_) => Ok(None),
    }
}

async fn fail<P: Controller>(ports: &P, run: &HookRun, why: &str) -> Result<HookEnd, AppError> {
    tracing::error!(deployment = %run.deployment, why, "answering Failed: the bake cannot be put on record");
    let status = HookStatus::Failed;
    ports.answer(&run.deployment, &run.execution, status).await.map_err(|cause| AppError::NotAnswered {
        id: run.deployment.clone(),
        status: status.as_str(),
        cause,
    })?;
    Ok(HookEnd::Answered(status))
}
