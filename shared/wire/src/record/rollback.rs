//! The ROLLBACK item: intent, calls, outcome and times of a rollback.

use super::attr;
use super::error::{Context, RecordError};
use super::item::{Item, Writer, reason};
use super::key::{ROLLBACK, rollback_key};
use super::state::{end, exposure_word, parse_exposure};
use crate::reader::{Fault, Reader};
use snapback_core::rollback::{Claim, Rollback, RollbackAction, RollbackResult};
use snapback_core::{AlarmName, DeploymentId};

const PENDING: &str = "pending";
const DONE: &str = "done";
const FAILED: &str = "failed";
/// A policy may name 100 alarms and a group 10; more were never evidence.
const MAX_ALARMS: usize = 200;

/// The ROLLBACK item of a deployment; long reasons are cut.
#[must_use]
pub fn rollback_item(id: &DeploymentId, rollback: &Rollback) -> Item {
    let (result, failed_why) = match &rollback.result {
        RollbackResult::Pending => (PENDING, None),
        RollbackResult::Done => (DONE, None),
        RollbackResult::Failed(why) => (FAILED, Some(reason(why))),
    };
    let asked_by = rollback
        .asked_by
        .as_ref()
        .map(|(who, why)| Writer::map().put(attr::WHO, reason(who)).put(attr::WHY, reason(why)));
    Writer::new(rollback_key(id))
        .put(attr::CAUSE, rollback.cause.as_str())
        .put(attr::TRIGGER, rollback.trigger.as_str())
        .put(attr::EXPOSURE, exposure_word(rollback.exposure))
        .put(attr::WHY, reason(&rollback.why))
        .list(attr::ALARMS, rollback.alarms.iter().take(MAX_ALARMS).map(AlarmName::as_str))
        .some(attr::ASKED_BY, asked_by)
        .some_time(attr::IMPACT_STARTED_MS, rollback.impact_started_at)
        .put(attr::IMPACT_IS_FROM_ALARM, rollback.impact_is_from_alarm)
        .time(attr::DETECTED_MS, rollback.detected_at)
        .put(attr::CLAIM, claim(&rollback.claim))
        .some_time(attr::TRIED_MS, rollback.tried_at)
        .some(attr::CALL_ERROR, rollback.call_error.as_deref().map(reason))
        .some_time(attr::REQUESTED_MS, rollback.requested_at)
        .some(attr::CALL, rollback.call.map(RollbackAction::as_str))
        .some(attr::ROLLBACK_DEPLOYMENT, rollback.rollback_deployment.as_ref().map(DeploymentId::as_str))
        .some_time(attr::ROLLED_BACK_MS, rollback.rolled_back_at)
        .some_time(attr::RECOVERED_MS, rollback.recovered_at)
        .put(attr::RESULT, result)
        .some(attr::REASON, failed_why)
        .item()
}

/// Reads a ROLLBACK item.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_rollback(item: &Item) -> Result<Rollback, RecordError> {
    let context = Context::of(item)?;
    context.sk_part(ROLLBACK, end)?;
    context.read(|reader| {
        Ok(Rollback {
            cause: reader.parsed(attr::CAUSE, str::parse)?,
            trigger: reader.parsed(attr::TRIGGER, str::parse)?,
            exposure: parse_exposure(reader)?,
            why: reader.text(attr::WHY)?.to_owned(),
            alarms: reader.texts(attr::ALARMS, AlarmName::parse)?,
            asked_by: parse_asked_by(reader)?,
            impact_started_at: reader.optional_time(attr::IMPACT_STARTED_MS)?,
            impact_is_from_alarm: reader.flag(attr::IMPACT_IS_FROM_ALARM)?,
            detected_at: reader.time(attr::DETECTED_MS)?,
            claim: parse_claim(&reader.map(attr::CLAIM)?)?,
            tried_at: reader.optional_time(attr::TRIED_MS)?,
            call_error: reader.optional_text(attr::CALL_ERROR)?.map(str::to_owned),
            requested_at: reader.optional_time(attr::REQUESTED_MS)?,
            call: reader.optional_parsed(attr::CALL, parse_call)?,
            rollback_deployment: reader.optional_parsed(attr::ROLLBACK_DEPLOYMENT, DeploymentId::parse)?,
            rolled_back_at: reader.optional_time(attr::ROLLED_BACK_MS)?,
            recovered_at: reader.optional_time(attr::RECOVERED_MS)?,
            result: parse_result(reader)?,
        })
    })
}

pub(super) fn claim(claim: &Claim) -> Writer {
    Writer::map().put(attr::OWNER, reason(&claim.owner)).time(attr::UNTIL_MS, claim.until)
}

pub(super) fn parse_claim(map: &Reader<'_>) -> Result<Claim, Fault> {
    Ok(Claim { owner: map.text(attr::OWNER)?.to_owned(), until: map.time(attr::UNTIL_MS)? })
}

fn parse_asked_by(reader: &Reader<'_>) -> Result<Option<(String, String)>, Fault> {
    let Some(map) = reader.optional_map(attr::ASKED_BY)? else {
        return Ok(None);
    };
    Ok(Some((map.text(attr::WHO)?.to_owned(), map.text(attr::WHY)?.to_owned())))
}

fn parse_call(word: &str) -> Result<RollbackAction, &'static str> {
    RollbackAction::ALL
        .iter()
        .copied()
        .find(|call| call.as_str() == word)
        .ok_or("StopDeployment or PutLifecycleEventHookExecutionStatus")
}

fn parse_result(reader: &Reader<'_>) -> Result<RollbackResult, Fault> {
    match reader.text(attr::RESULT)? {
        PENDING => Ok(RollbackResult::Pending),
        DONE => Ok(RollbackResult::Done),
        FAILED => Ok(RollbackResult::Failed(reader.text(attr::REASON)?.to_owned())),
        _ => Err(reader.fault(attr::RESULT, "one of pending, done, failed")),
    }
}
