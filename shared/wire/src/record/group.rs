//! Items that do not belong to one deployment: watches, revisions of a group, the registry, the sweep's lease.

use super::attr;
use super::error::{Context, RecordError};
use super::item::{Item, Writer, reason, seconds_after};
use super::key::{
    ALARM_PREFIX, DEPLOYMENT_PREFIX, GOOD_PREFIX, GROUP_PREFIX, LEASE, REFUSED_PREFIX, good_key, refused_key,
    registry_key, sweep_lease_key, watch_key,
};
use super::state::{end, revision};
use snapback_core::record::{GoodRevision, RefusedRevision};
use snapback_core::{AlarmName, DeploymentId, GroupRef, RevisionId, Timestamp};

/// One live deployment that an alarm concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The alarm.
    pub alarm: AlarmName,
    /// The deployment.
    pub deployment: DeploymentId,
    /// When the watch may go; whole seconds.
    pub expires_at: Timestamp,
}

/// The item that lets the deployment be found by one of its alarms.
///
/// * `expires`: after this DynamoDB may delete it; rounded up to whole seconds.
#[must_use]
pub fn watch_item(alarm: &AlarmName, id: &DeploymentId, expires: Timestamp) -> Item {
    Writer::new(watch_key(alarm, id)).put(attr::EXPIRES_AT, seconds_after(expires)).item()
}

/// Reads a watch.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_watch(item: &Item) -> Result<Watch, RecordError> {
    let context = Context::of(item)?;
    Ok(Watch {
        alarm: context.pk_part(ALARM_PREFIX, |text| AlarmName::parse(text))?,
        deployment: context.sk_part(DEPLOYMENT_PREFIX, |text| DeploymentId::parse(text))?,
        expires_at: context.read(|reader| {
            let seconds = reader.integer(attr::EXPIRES_AT)?;
            Ok(Timestamp::from_ms(seconds.saturating_mul(1000)))
        })?,
    })
}

/// The GOOD item of a revision; it never expires by itself.
#[must_use]
pub fn good_item(group: &GroupRef, good: &GoodRevision) -> Item {
    Writer::new(good_key(group, good.at))
        .time(attr::AT_MS, good.at)
        .some(attr::REVISION, revision(good.revision.as_ref()))
        .put(attr::LABEL, reason(&good.version))
        .put(attr::IS_INHERITED, good.is_inherited)
        .some(attr::IS_DOUBTFUL, good.is_doubtful.then_some(true))
        .item()
}

/// Reads a GOOD item.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_good(item: &Item) -> Result<GoodRevision, RecordError> {
    let context = Context::of(item)?;
    context.pk_part(GROUP_PREFIX, GroupRef::parse)?;
    context.sk_part(GOOD_PREFIX, |_| Ok::<_, &str>(()))?;
    context.read(|reader| {
        Ok(GoodRevision {
            at: reader.time(attr::AT_MS)?,
            revision: reader.optional_parsed(attr::REVISION, RevisionId::parse)?,
            version: reader.text(attr::LABEL)?.to_owned(),
            is_inherited: reader.flag(attr::IS_INHERITED)?,
            is_doubtful: reader.optional_flag(attr::IS_DOUBTFUL)?.unwrap_or_default(),
        })
    })
}

/// The REFUSED item of a revision; it expires when the refusal ends.
#[must_use]
pub fn refused_item(group: &GroupRef, refused: &RefusedRevision) -> Item {
    Writer::new(refused_key(group, &refused.revision))
        .put(attr::LABEL, reason(&refused.version))
        .put(attr::DEPLOYMENT, refused.deployment.as_str())
        .put(attr::CAUSE, refused.cause.as_str())
        .time(attr::AT_MS, refused.at)
        .time(attr::UNTIL_MS, refused.until)
        .put(attr::EXPIRES_AT, seconds_after(refused.until))
        .item()
}

/// Reads a REFUSED item. Whether it still holds is for the reader to compare: `until`.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_refused(item: &Item) -> Result<RefusedRevision, RecordError> {
    let context = Context::of(item)?;
    context.pk_part(GROUP_PREFIX, GroupRef::parse)?;
    let revision = context.sk_part(REFUSED_PREFIX, |text| RevisionId::parse(text))?;
    context.read(|reader| {
        Ok(RefusedRevision {
            revision,
            version: reader.text(attr::LABEL)?.to_owned(),
            deployment: reader.parsed(attr::DEPLOYMENT, DeploymentId::parse)?,
            cause: reader.parsed(attr::CAUSE, str::parse)?,
            at: reader.time(attr::AT_MS)?,
            until: reader.time(attr::UNTIL_MS)?,
        })
    })
}

/// The item of a registered group.
#[must_use]
pub fn registry_item(group: &GroupRef) -> Item {
    Writer::new(registry_key(group)).item()
}

/// Reads the item of a registered group.
///
/// # Errors
/// When the item has another format, or its sort key is no group.
pub fn parse_registry(item: &Item) -> Result<GroupRef, RecordError> {
    Context::of(item)?.sk_part("", GroupRef::parse)
}

/// Who sweeps, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepLease {
    /// Request id of the run that holds it.
    pub owner: String,
    /// Until when; somebody else may take it then.
    pub until: Timestamp,
}

/// The item of the sweep's lease over one shard.
#[must_use]
pub fn sweep_lease_item(shard: u32, lease: &SweepLease) -> Item {
    Writer::new(sweep_lease_key(shard)).put(attr::OWNER, reason(&lease.owner)).time(attr::UNTIL_MS, lease.until).item()
}

/// Reads the sweep's lease.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_sweep_lease(item: &Item) -> Result<SweepLease, RecordError> {
    let context = Context::of(item)?;
    context.sk_part(LEASE, end)?;
    context.read(|reader| {
        Ok(SweepLease { owner: reader.text(attr::OWNER)?.to_owned(), until: reader.time(attr::UNTIL_MS)? })
    })
}
