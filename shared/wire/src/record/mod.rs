//! Items of the one DynamoDB table: what the keys are, what an item carries, and how it is read back.
//!
//! An [`Item`] is a JSON object; whoever talks to DynamoDB turns it into attribute values (null = absent) and back.
//! Keys and attribute names are written here and nowhere else.

mod analysis;
pub mod attr;
mod error;
mod group;
mod item;
mod key;
mod lease;
mod notice;
mod pack;
mod pause;
mod rollback;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod warning;

pub use analysis::{analysis_item, judged_poll_item, parse_analysis, parse_judged_poll};
pub use error::RecordError;
pub use group::{
    SweepLease, Watch, good_item, parse_good, parse_refused, parse_registry, parse_sweep_lease, parse_watch,
    refused_item, registry_item, sweep_lease_item, watch_item,
};
pub use item::{FORMAT, Item, MAX_REASON, MAX_TEXT, expires_at, is_expired, key_of, with_expiry};
pub use key::{
    ALARM_PREFIX, DEPLOYMENT_PREFIX, DETECTOR, EVENT_PREFIX, GOOD_PREFIX, GROUP_PREFIX, HOOK_PREFIX, Key, LEASE,
    NOTICE_PREFIX, PAUSE, PAUSES, POLICY, REFUSED_PREFIX, ROLLBACK, SERIES_PREFIX, SHARDS, STATE, alarm_pk, day_pk,
    deployment_key, deployment_pk, detector_key, digits, evidence_key, good_key, group_pk, groups_pk, lease_key,
    live_pk, live_sk, notice_key, past_pause_key, pause_key, policy_key, refused_key, registry_key, rollback_key,
    series_key, shard_of, sweep_lease_key, version_of_live_sk, watch_key,
};
pub use lease::{lease_item, parse_lease};
pub use notice::{evidence_item, notice_item, parse_evidence, parse_notice};
pub use pause::{parse_pause, past_pause_item, pause_item};
pub use rollback::{parse_rollback, rollback_item};
pub use state::{Summary, parse_state, parse_summary, state_item};
pub use table::{Index, KeyPair, Projection, TABLE, TableLayout, create_table_request};

pub(crate) use key::sha256_hex;

use crate::policy_file::{parse_stored_policy, to_json};
use error::Context;
use item::{Writer, key};
use snapback_core::record::Record;
use snapback_core::{DeploymentId, Policy};

/// The POLICY item: the policy as it was pinned at registration, as its own JSON document.
#[must_use]
pub fn policy_item(id: &DeploymentId, policy: &Policy) -> Item {
    Writer::new(policy_key(id)).put(attr::DOCUMENT, to_json(policy)).item()
}

/// Reads a POLICY item.
///
/// # Errors
/// When the item has another format, or its document is no policy.
pub fn parse_policy(item: &Item) -> Result<Policy, RecordError> {
    Context::of(item)?.read(|reader| {
        reader.parsed(attr::DOCUMENT, |text| parse_stored_policy(text).map_err(|error| error.to_string()))
    })
}

/// Puts STATE, POLICY, HOOK, ROLLBACK and NOTICE items of one deployment together; items of other kinds are skipped.
///
/// * `items`: all of one partition `DEPLOYMENT#<id>`, in any order.
/// * Result: `None` when there is no STATE (yet), for example because only a hook's lease was written.
///
/// # Errors
/// When an item cannot be read, belongs to another deployment, or STATE has no POLICY beside it.
pub fn parse_record(items: &[Item]) -> Result<Option<Record>, RecordError> {
    let (mut state, mut policy, mut rollback) = (None, None, None);
    let (mut leases, mut notices) = (Vec::new(), Vec::new());
    for item in items {
        let key = key(item)?;
        match key.sk.as_str() {
            STATE => state = Some((parse_state(item)?, key)),
            POLICY => policy = Some((parse_policy(item)?, key)),
            ROLLBACK => rollback = Some((parse_rollback(item)?, key)),
            sk if sk.starts_with(HOOK_PREFIX) => leases.push((parse_lease(item)?, key)),
            sk if sk.starts_with(NOTICE_PREFIX) => notices.push((parse_notice(item)?, key)),
            _ => {}
        }
    }
    let Some(((deployment, version), state_key)) = state else {
        return Ok(None);
    };
    let keys = [policy.as_ref().map(|(_, key)| key), rollback.as_ref().map(|(_, key)| key)];
    let others = leases.iter().map(|(_, key)| key).chain(notices.iter().map(|(_, key)| key));
    if let Some(stranger) = keys.into_iter().flatten().chain(others).find(|key| key.pk != state_key.pk) {
        return Err(RecordError::new(stranger, attr::PK, "another deployment's", &state_key.pk));
    }
    let Some((policy, _)) = policy else {
        let missing = policy_key(&deployment.identity.id);
        return Err(RecordError::new(&missing, attr::DOCUMENT, "missing", "the policy that is pinned with STATE"));
    };
    Ok(Some(Record {
        deployment,
        version,
        policy,
        leases: leases.into_iter().map(|(lease, _)| lease).collect(),
        rollback: rollback.map(|(rollback, _)| rollback),
        notices: notices.into_iter().map(|(notice, _)| notice).collect(),
    }))
}
