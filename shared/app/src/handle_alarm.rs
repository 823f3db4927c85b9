//! An alarm changed its state: judge the live deployments that watch it, now.

use crate::attend::{AttendPorts, look_after};
use crate::error::AppError;
use crate::pause;
use crate::ports::{CallError, CallErrorKind, Metric, Write};
use crate::side_by_side::{at_most, side_by_side};
use snapback_core::Trigger;
use snapback_core::alarm::{AlarmReading, is_own};
use snapback_core::deployment::{Evidence, EvidenceKind, Record};
use snapback_core::pause::Pause;
use snapback_core::plan::{Caller, Readings, recovery};

/// Deployments that are visited at once: a visit makes three calls at a time, and CodeDeploy's quotas are small.
const VISITS_AT_ONCE: usize = 4;
/// Tries to store a recovery against others who change the record.
const RECOVERY_TRIES: u32 = 5;

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
pub async fn handle_alarm<P: AttendPorts>(
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
    let (pauses, records) = tokio::join!(pause::read(ports), side_by_side(ids.iter().map(|id| ports.load(id))));
    let visits = ids.iter().zip(records).map(|(id, record)| {
        let (pauses, caller) = (&pauses, &caller);
        async move {
            let result = visit(ports, record, reading, source, pauses, caller).await;
            if let Err(error) = &result {
                tracing::error!(deployment = %id, alarm = %reading.name, %error, "alarm not handled");
            }
            result
        }
    });
    let visited: Result<Vec<()>, AppError> = at_most(VISITS_AT_ONCE, visits).await.into_iter().collect();
    visited.map(|visited| Handled { deployments: visited.len() })
}

/// Judges one deployment, or marks its recovery when it is over.
async fn visit<P: AttendPorts>(
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
            look_after(ports, record, readings, None, pauses, caller).await.map(drop)
        }
    }
}

/// After a rollback: the alarm that was its evidence is fine again.
async fn recovered<P: AttendPorts>(
    ports: &P,
    mut record: Record,
    reading: &AlarmReading,
    source: &str,
) -> Result<(), AppError> {
    for _ in 0..RECOVERY_TRIES {
        let Some(rollback) = recovery(&record, reading) else {
            return Ok(());
        };
        let deployment = &record.deployment;
        let text = format!("recovered: alarm {} is OK", reading.name);
        let line = Evidence::new(reading.since, EvidenceKind::Alarm, text).from_source(source);
        let (cause, trigger) = (rollback.cause, rollback.trigger);
        let to_recover = rollback.time_to_recover();
        match ports.commit(deployment, record.version, &[Write::Rollback(rollback), Write::Evidence(line)]).await {
            Ok(()) => {
                if let Some(to_recover) = to_recover {
                    let service = deployment.service.clone();
                    ports.emit(Metric::Recovered { service, cause, trigger, to_recover });
                }
                return Ok(());
            }
            Err(error) if error.is(CallErrorKind::Conflict) => match ports.load(&deployment.id).await? {
                Some(fresh) => record = fresh,
                None => return Ok(()),
            },
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppError::Contended { id: record.deployment.id, tries: RECOVERY_TRIES })
}
