//! Keys of the items, and how they are told apart.

use sha2::{Digest, Sha256};
use snapback_core::notice::NoticeKind;
use snapback_core::pause::{Pause, PauseScope};
use snapback_core::timeline::TimelineEntry;
use snapback_core::{AlarmName, DeploymentId, GroupRef, LifecycleEvent, RevisionId, Timestamp};
use std::fmt::Write;

/// Number of partitions over which lists of everything are spread. One is enough for thousands of groups; more only
/// after a migration, because items stay where they are.
pub const SHARDS: u32 = 1;

/// Sort key of a deployment's state.
pub const STATE: &str = "STATE";
/// Sort key of the policy as it was pinned.
pub const POLICY: &str = "POLICY";
/// Sort key of the rollback.
pub const ROLLBACK: &str = "ROLLBACK";
/// Sort key of the analysis of a deployment's numbers.
pub const DETECTOR: &str = "DETECTOR";
/// Sort keys of judged polls start with this.
pub const SERIES_PREFIX: &str = "SERIES#";
/// Sort key of the sweep's lease.
pub const LEASE: &str = "LEASE";
/// Sort keys of evidence start with this.
pub const EVENT_PREFIX: &str = "EVENT#";
/// Sort keys of hook leases start with this.
pub const HOOK_PREFIX: &str = "HOOK#";
/// Sort keys of messages start with this.
pub const NOTICE_PREFIX: &str = "NOTICE#";
/// Sort keys of last known good revisions start with this.
pub const GOOD_PREFIX: &str = "GOOD#";
/// Sort keys of refused revisions start with this.
pub const REFUSED_PREFIX: &str = "REFUSED#";
/// Partition keys of deployments, and sort keys of watches, start with this.
pub const DEPLOYMENT_PREFIX: &str = "DEPLOYMENT#";
/// Partition keys of watches start with this.
pub const ALARM_PREFIX: &str = "ALARM#";
/// Partition keys of a group's revisions start with this.
pub const GROUP_PREFIX: &str = "GROUP#";
/// Partition of the last pause of each scope.
pub const PAUSE: &str = "PAUSE";
/// Partition of all pauses, by time.
pub const PAUSES: &str = "PAUSES";

/// Primary key of one item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }
}

/// Partition of everything about one deployment.
#[must_use]
pub fn deployment_pk(id: &DeploymentId) -> String {
    format!("{DEPLOYMENT_PREFIX}{id}")
}

/// Partition of the watches of one alarm.
#[must_use]
pub fn alarm_pk(alarm: &AlarmName) -> String {
    format!("{ALARM_PREFIX}{alarm}")
}

/// Partition of a group's revisions; also the partition of its deployments in the index `by_group`.
#[must_use]
pub fn group_pk(group: &GroupRef) -> String {
    format!("{GROUP_PREFIX}{group}")
}

/// Partition of the registered groups of one shard.
#[must_use]
pub fn groups_pk(shard: u32) -> String {
    format!("GROUPS#{shard}")
}

/// Partition of one day (UTC) and shard in the index `by_day`.
#[must_use]
pub fn day_pk(day: Timestamp, shard: u32) -> String {
    let date: String = day.to_string().chars().take_while(|c| *c != 'T').collect();
    format!("DAY#{date}#{shard}")
}

/// Partition of one shard in the index `live`.
#[must_use]
pub fn live_pk(shard: u32) -> String {
    format!("LIVE#{shard}")
}

/// STATE of a deployment.
#[must_use]
pub fn deployment_key(id: &DeploymentId) -> Key {
    Key::new(deployment_pk(id), STATE)
}

/// POLICY of a deployment.
#[must_use]
pub fn policy_key(id: &DeploymentId) -> Key {
    Key::new(deployment_pk(id), POLICY)
}

/// ROLLBACK of a deployment.
#[must_use]
pub fn rollback_key(id: &DeploymentId) -> Key {
    Key::new(deployment_pk(id), ROLLBACK)
}

/// The analysis of a deployment's numbers.
#[must_use]
pub fn detector_key(id: &DeploymentId) -> Key {
    Key::new(deployment_pk(id), DETECTOR)
}

/// What was judged in one poll; digits first, so that they sort by time.
#[must_use]
pub fn series_key(id: &DeploymentId, polled_at: Timestamp) -> Key {
    Key::new(deployment_pk(id), format!("{SERIES_PREFIX}{}", digits(polled_at)))
}

/// Sort key of a live deployment in the index `live`: with the version of its STATE, so that one query tells what changed.
#[must_use]
pub fn live_sk(id: &DeploymentId, version: u64) -> String {
    format!("{id}#{version}")
}

/// The version of STATE that a sort key of the index `live` tells; `None`: it was written by an older Snapback.
#[must_use]
pub fn version_of_live_sk(text: &str) -> Option<u64> {
    text.split_once('#').and_then(|(_, version)| version.parse().ok())
}

/// The lease of one hook.
#[must_use]
pub fn lease_key(id: &DeploymentId, event: LifecycleEvent) -> Key {
    Key::new(deployment_pk(id), format!("{HOOK_PREFIX}{event}"))
}

/// One message.
#[must_use]
pub fn notice_key(id: &DeploymentId, kind: NoticeKind) -> Key {
    Key::new(deployment_pk(id), format!("{NOTICE_PREFIX}{}", kind.as_str()))
}

/// One line of evidence: the same time, kind and source is the same key.
#[must_use]
pub fn evidence_key(id: &DeploymentId, evidence: &TimelineEntry) -> Key {
    let hash: String = sha256_hex(&[&evidence.source]).chars().take(16).collect();
    let sk = format!("{EVENT_PREFIX}{}#{}#{hash}", digits(evidence.at), evidence.kind.as_str());
    Key::new(deployment_pk(id), sk)
}

/// The watch of one alarm by one deployment.
#[must_use]
pub fn watch_key(alarm: &AlarmName, id: &DeploymentId) -> Key {
    Key::new(alarm_pk(alarm), deployment_pk(id))
}

/// A last known good revision.
#[must_use]
pub fn good_key(group: &GroupRef, at: Timestamp) -> Key {
    Key::new(group_pk(group), format!("{GOOD_PREFIX}{}", digits(at)))
}

/// A refused revision.
#[must_use]
pub fn refused_key(group: &GroupRef, revision: &RevisionId) -> Key {
    Key::new(group_pk(group), format!("{REFUSED_PREFIX}{revision}"))
}

/// A registered group.
#[must_use]
pub fn registry_key(group: &GroupRef) -> Key {
    let name = group.to_string();
    Key::new(groups_pk(shard_of(&name)), name)
}

/// The lease of the sweep over one shard.
#[must_use]
pub fn sweep_lease_key(shard: u32) -> Key {
    Key::new(format!("SWEEP#{shard}"), LEASE)
}

/// The last pause of a scope.
#[must_use]
pub fn pause_key(scope: &PauseScope) -> Key {
    Key::new(PAUSE.to_owned(), scope.to_string())
}

/// A pause in the list of all.
#[must_use]
pub fn past_pause_key(pause: &Pause) -> Key {
    Key::new(PAUSES.to_owned(), format!("{}#{}", digits(pause.began.at), pause.scope))
}

/// The shard of a deployment id or group name: stable over processes and versions (FNV-1a, 32 bits).
#[must_use]
pub fn shard_of(key: &str) -> u32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // The remainder is written so that one shard is not a lint.
    hash.checked_rem(SHARDS).unwrap_or_default()
}

/// Epoch milliseconds as 13 digits, so that text sorts like time.
#[must_use]
pub fn digits(at: Timestamp) -> String {
    format!("{:013}", at.ms().clamp(0, 9_999_999_999_999))
}

/// Sort key in an index: time, then id.
pub(super) fn time_and_id(at: Timestamp, id: &DeploymentId) -> String {
    format!("{}#{id}", digits(at))
}

/// SHA-256 of the parts, each preceded by its length, in lower-case hexadecimal digits.
///
/// A single part is hashed as it is.
pub(crate) fn sha256_hex(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        if parts.len() > 1 {
            hasher.update(format!("{}:", part.len()));
        }
        hasher.update(part);
    }
    hasher.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
