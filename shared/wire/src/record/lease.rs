//! HOOK items: the lease of one lifecycle hook.

use super::attr;
use super::error::{Context, RecordError};
use super::item::{Item, Writer, reason};
use super::key::{HOOK_PREFIX, lease_key};
use snapback_core::record::Lease;
use snapback_core::{DeploymentId, ExecutionId};

/// The HOOK item of one lifecycle hook; the reason of its result is cut when it is long.
#[must_use]
pub fn lease_item(id: &DeploymentId, lease: &Lease) -> Item {
    let result = lease
        .result
        .as_ref()
        .map(|(status, why)| Writer::map().put(attr::STATUS, status.as_str()).put(attr::REASON, reason(why)));
    let answered =
        lease.answered.map(|(status, at)| Writer::map().put(attr::STATUS, status.as_str()).time(attr::AT_MS, at));
    Writer::new(lease_key(id, lease.event))
        .put(attr::EXECUTION_ID, lease.execution_id.as_str())
        .put(attr::OWNER, reason(&lease.owner))
        .time(attr::TAKEN_MS, lease.taken_at)
        .time(attr::DEADLINE_MS, lease.deadline)
        .some(attr::RESULT, result)
        .some(attr::ANSWERED, answered)
        .item()
}

/// Reads a HOOK item.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_lease(item: &Item) -> Result<Lease, RecordError> {
    let context = Context::of(item)?;
    let event = context.sk_part(HOOK_PREFIX, str::parse)?;
    context.read(|reader| {
        let result = match reader.optional_map(attr::RESULT)? {
            Some(map) => Some((map.parsed(attr::STATUS, str::parse)?, map.text(attr::REASON)?.to_owned())),
            None => None,
        };
        let answered = match reader.optional_map(attr::ANSWERED)? {
            Some(map) => Some((map.parsed(attr::STATUS, str::parse)?, map.time(attr::AT_MS)?)),
            None => None,
        };
        Ok(Lease {
            event,
            execution_id: reader.parsed(attr::EXECUTION_ID, ExecutionId::parse)?,
            owner: reader.text(attr::OWNER)?.to_owned(),
            taken_at: reader.time(attr::TAKEN_MS)?,
            deadline: reader.time(attr::DEADLINE_MS)?,
            result,
            answered,
        })
    })
}
