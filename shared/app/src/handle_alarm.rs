//! An alarm changed its state: judge the live deployments that watch it, now.

use crate::AT_ONCE;
use crate::compare_and_set::{compare_and_set, on_record, record_of};
use crate::error::AppError;
use crate::pause;
use crate::ports::{CallError, DeploymentStore, OwnMetric, PauseStore, Telemetry, Write};
use crate::reconcile::{ReconcilePorts, reconcile_with};
use futures_util::{StreamExt, stream};
use snapback_core::Trigger;
use snapback_core::alarm::{AlarmReading, is_own};
use snapback_core::pause::Pause;
use snapback_core::plan::{Caller, Readings, recovery};
use snapback_core::record::Record;
use snapback_core::timeline::{EntryKind, TimelineEntry};

/// Deployments that are reconciled at once: a reconciliation makes three calls at a time, and CodeDeploy's quotas are small.
const RECONCILED_AT_ONCE: usize = 4;

/// What was done about one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handled {
    /// Deployments that watch the alarm.
    pub deployments: usize,
}

/// Judges every live deployment that watches this alarm, some side by side. `source` identifies the event.
///
/// # Errors
/// The first error, after all deployments had their turn; the event may be handled again.
pub async fn handle_alarm<P: ReconcilePorts + PauseStore>(
    ports: &P,
    reading: &AlarmReading,
    source: &str,
    owner: &str,
) -> Result<Handled, AppError> {
    if is_own(&reading.name) {
        return Ok(Handled { deployments: 0 });
    }
    let caller = Caller { trigger: Trigger::Alarm, owner: owner.to_owned() };
    let ids = ports.watching(&reading.name).await?;
    if ids.is_empty() {
        return Ok(Handled { deployments: 0 });
    }
    let loads = ids.iter().map(|id| async move { (id, ports.load(id).await) });
    let (pauses, records) =
        tokio::join!(pause::read(ports), stream::iter(loads).buffer_unordered(AT_ONCE).collect::<Vec<_>>());
    let reconciliations = records.into_iter().map(|(id, record)| {
        let (pauses, caller) = (&pauses, &caller);
        async move {
            let result = reconcile_one(ports, record, reading, source, pauses, caller).await;
            if let Err(error) = &result {
                tracing::error!(deployment = %id, alarm = %reading.name, %error, "alarm not handled");
            }
            result
        }
    });
    let reconciled: Vec<Result<(), AppError>> =
        stream::iter(reconciliations).buffer_unordered(RECONCILED_AT_ONCE).collect().await;
    reconciled.into_iter().collect::<Result<(), AppError>>()?;
    Ok(Handled { deployments: ids.len() })
}

/// Judges one deployment, or marks its recovery when it is over.
async fn reconcile_one<P: ReconcilePorts>(
    ports: &P,
    record: Result<Option<Record>, CallError>,
    reading: &AlarmReading,
    source: &str,
    pauses: &[Pause],
    caller: &Caller,
) -> Result<(), AppError> {
    match record? {
        None => Ok(()),
        Some(record) if record.deployment.phase.is_closed() => recovered(ports, record, reading, source).await,
        Some(record) => {
            let readings = Readings::Event { reading: reading.clone(), source: source.to_owned() };
            reconcile_with(ports, record, readings, None, pauses, caller).await.map(drop)
        }
    }
}

/// After a rollback: the alarm that was its evidence is fine again.
async fn recovered<P: DeploymentStore + Telemetry>(
    ports: &P,
    mut record: Record,
    reading: &AlarmReading,
    source: &str,
) -> Result<(), AppError> {
    let id = record.deployment.identity.id.clone();
    let recovered = compare_and_set(&record_of(&id), async |is_again| {
        if is_again {
            record = on_record(ports, &id).await?;
        }
        let Some(rollback) = recovery(&record, reading) else {
            return Ok(None);
        };
        let text = format!("recovered: alarm {} is OK", reading.name);
        let line = TimelineEntry::new(reading.since, EntryKind::Alarm, text).from_source(source);
        let writes = [Write::Rollback(rollback.clone()), Write::Entry(line)];
        ports.commit(&record.deployment, record.version, &writes).await?;
        Ok(Some(rollback))
    })
    .await?;
    if let Some(rollback) = recovered
        && let Some(to_recover) = rollback.time_to_recover()
    {
        let (cause, trigger) = (rollback.cause, rollback.trigger);
        ports.emit(OwnMetric::Recovered { service: record.deployment.identity.service, cause, trigger, to_recover });
    }
    Ok(())
}
