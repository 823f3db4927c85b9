//! Verbs of a person: the same path as the automatic one, recorded with who and why.

use crate::attend::{AttendPorts, attend_record, read_alarms};
use crate::error::AppError;
use crate::ports::{CallErrorKind, Write};
use snapback_core::DeploymentId;
use snapback_core::Trigger;
use snapback_core::deployment::{Evidence, EvidenceKind, Order, Record, Verb};
use snapback_core::lifecycle::Phase;
use snapback_core::plan::{Caller, Readings};

/// Tries to store the order against others who change the record.
const ORDER_TRIES: u32 = 5;

/// Stores what `who` asked for and carries it out as far as it goes now.
///
/// # Errors
/// [`AppError::Unknown`] for a deployment that is not on record, [`AppError::NotNow`] when it is too late or too early.
pub async fn operate<P: AttendPorts>(
    ports: &P,
    id: &DeploymentId,
    verb: Verb,
    who: &str,
    why: &str,
) -> Result<Record, AppError> {
    let caller = Caller { trigger: Trigger::Operator, owner: format!("{who}-{}", ports.now().ms()) };
    for _ in 0..ORDER_TRIES {
        let Some(mut record) = ports.load(id).await? else {
            return Err(AppError::Unknown { id: id.clone() });
        };
        possible(&record, verb)?;
        let at = ports.now();
        record.deployment.order = Some(Order { verb, who: who.to_owned(), why: why.to_owned(), at });
        let line =
            Evidence::new(at, EvidenceKind::Order, format!("{who} asked to {}: {why}", verb.as_str())).with("who", who);
        match ports.commit(&record.deployment, record.version, &[Write::Evidence(line)]).await {
            Ok(()) => {
                record.version += 1;
                let readings = match verb {
                    Verb::Promote => read_alarms(ports, &record).await,
                    Verb::RollBack => Readings::None,
                };
                return attend_record(ports, record, readings, &caller).await;
            }
            Err(error) if error.is(CallErrorKind::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(AppError::Contended { id: id.clone(), tries: ORDER_TRIES })
}

fn possible(record: &Record, verb: Verb) -> Result<(), AppError> {
    let why = match (record.deployment.phase, verb) {
        (Phase::InBake, Verb::Promote) => return Ok(()),
        (Phase::BeforeTraffic | Phase::InShift | Phase::InBake, Verb::RollBack) => return Ok(()),
        (Phase::BeforeTraffic | Phase::InShift, Verb::Promote) => {
            "its bake has not begun; the shift goes on by CodeDeploy's plan".to_owned()
        }
        (Phase::Refused, _) => "it was refused before traffic; deploy again".to_owned(),
        (Phase::GoingBack(_), _) => "a rollback is on its way".to_owned(),
        (Phase::Closed(outcome), Verb::Promote) => format!("it is over: {outcome}"),
        (Phase::Closed(outcome), Verb::RollBack) => format!(
            "it is over: {outcome}. Deploy version {} of {} again with CodeDeploy; Snapback lets a return through at once",
            record.deployment.target.baseline, record.deployment.target.name
        ),
    };
    Err(AppError::NotNow { verb: verb.as_str(), id: record.deployment.id.clone(), why })
}
