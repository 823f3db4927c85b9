//! CodeDeploy says that a deployment changed its state: open or close its record.

use crate::error::AppError;
use crate::ports::{CallErrorKind, PauseStore};
use crate::reconcile::{ReconcilePorts, reconcile, reconcile_record};
use crate::register::{RegisterPorts, Registration, register_facts};
use snapback_core::plan::{Caller, Readings};
use snapback_core::{DeploymentId, Trigger};

/// What was done about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// The deployment, or the one that it rolls back, was reconciled to.
    Reconciled(DeploymentId),
    /// Its group has no policy and no hook of ours registered it: not our business.
    NotWatched,
    /// A platform that is not built yet.
    Unsupported(String),
}

/// Reconciles to deployment `id`; a rollback of CodeDeploy's belongs to the record of the deployment that it rolls back.
///
/// # Errors
/// When the record or CodeDeploy cannot be read; the event may be handled again, and the sweep discovers it anyway.
pub async fn record_deployment<P: ReconcilePorts + RegisterPorts + PauseStore>(
    ports: &P,
    id: &DeploymentId,
    owner: &str,
) -> Result<Recorded, AppError> {
    // What is judged here was seen by an alarm event or by the sweep: this path only opens and closes records.
    let caller = Caller { trigger: Trigger::Sweep, owner: owner.to_owned() };
    if let Some(record) = ports.load(id).await? {
        reconcile_record(ports, record, Readings::None, &caller).await?;
        return Ok(Recorded::Reconciled(id.clone()));
    }
    let facts = ports.deployment(id).await?;
    if let Some(original) = facts.rolls_back.clone() {
        return match reconcile(ports, &original, Readings::None, &caller).await {
            Ok(_) => Ok(Recorded::Reconciled(original)),
            Err(AppError::Unknown { .. }) => Ok(Recorded::NotWatched),
            Err(error) => Err(error),
        };
    }
    match ports.policy(&facts.group).await {
        Ok(None) => return Ok(Recorded::NotWatched),
        // A document that nobody can read still means that the group is ours.
        Err(error) if !error.is(CallErrorKind::Invalid) => return Err(error.into()),
        Ok(Some(_)) | Err(_) => {}
    }
    match register_facts(ports, facts, None).await {
        Ok(Registration::Watched(known)) => {
            reconcile_record(ports, known.record, Readings::None, &caller).await?;
            Ok(Recorded::Reconciled(id.clone()))
        }
        Ok(Registration::RollbackOf(_)) => Ok(Recorded::NotWatched),
        Err(AppError::Unsupported { platform, .. }) => Ok(Recorded::Unsupported(platform)),
        Err(error) => Err(error),
    }
}
