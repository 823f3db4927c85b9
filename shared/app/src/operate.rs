//! Verbs of a person: the same path as the automatic one, recorded with who and why.

use crate::compare_and_set::{compare_and_set, on_record, record_of};
use crate::error::AppError;
use crate::ports::{PauseStore, Write};
use crate::reconcile::{ReconcilePorts, read_alarms, reconcile_record};
use snapback_core::DeploymentId;
use snapback_core::Trigger;
use snapback_core::deployment::{OperatorRequest, Verb};
use snapback_core::lifecycle::Phase;
use snapback_core::plan::{Caller, Readings};
use snapback_core::record::Record;
use snapback_core::timeline::{EntryKind, TimelineEntry};

/// Stores what `who` asked for and carries it out as far as it goes now.
///
/// # Errors
/// [`AppError::Unknown`] for a deployment that is not on record, [`AppError::NotNow`] when it is too late or too early.
pub async fn operate<P: ReconcilePorts + PauseStore>(
    ports: &P,
    id: &DeploymentId,
    verb: Verb,
    who: &str,
    why: &str,
) -> Result<Record, AppError> {
    let caller = Caller { trigger: Trigger::Operator, owner: format!("{who}-{}", ports.now().ms()) };
    let record = compare_and_set(&record_of(id), async |_| {
        let mut record = on_record(ports, id).await?;
        possible(&record, verb)?;
        let at = ports.now();
        record.deployment.requests.last = Some(OperatorRequest { verb, who: who.to_owned(), why: why.to_owned(), at });
        let line = TimelineEntry::new(at, EntryKind::Request, format!("{who} asked to {}: {why}", verb.as_str()))
            .with("who", who);
        ports.commit(&record.deployment, record.version, &[Write::Entry(line)]).await?;
        record.version += 1;
        Ok(record)
    })
    .await?;
    let readings = match verb {
        Verb::Promote => read_alarms(ports, &record.alarm_names()).await,
        Verb::RollBack => Readings::None,
    };
    reconcile_record(ports, record, readings, &caller).await
}

fn possible(record: &Record, verb: Verb) -> Result<(), AppError> {
    let why = match (&record.deployment.phase, verb) {
        (Phase::InBake(_), Verb::Promote) => return Ok(()),
        (Phase::BeforeTraffic | Phase::InShift(_) | Phase::InBake(_), Verb::RollBack) => return Ok(()),
        (Phase::BeforeTraffic | Phase::InShift(_), Verb::Promote) => {
            "its bake has not begun; the shift goes on by CodeDeploy's plan".to_owned()
        }
        (Phase::Refused(_), _) => "it was refused before traffic; deploy again".to_owned(),
        (Phase::GoingBack { .. }, _) => "a rollback is on its way".to_owned(),
        (Phase::Closed(closing), Verb::Promote) => format!("it is over: {}", closing.ending.outcome()),
        (Phase::Closed(closing), Verb::RollBack) => format!(
            "it is over: {}. Deploy version {} of {} again with CodeDeploy; Snapback lets a return through at once",
            closing.ending.outcome(),
            record.deployment.identity.target.baseline(),
            record.deployment.identity.target.name()
        ),
    };
    Err(AppError::NotNow { verb: verb.as_str(), id: record.deployment.identity.id.clone(), why })
}
