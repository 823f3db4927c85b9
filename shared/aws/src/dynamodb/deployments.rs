//! Records of deployments: STATE, POLICY, hooks, rollback, notices, timeline, and the indexes that find them.

use super::calls::{Action, Condition, MAX_ACTIONS, PUT, PutOutcome, QUERY, is_refused};
use super::{ALL, MAX_PAGES, absent_or_expired, now, parsed, without_repeats};
use crate::Aws;
use crate::error::not_understood;
use snapback_app::ports::{CallError, DeploymentStore, Listed, Write};
use snapback_core::deployment::Deployment;
use snapback_core::record::{Lease, Record};
use snapback_core::timeline::TimelineEntry;
use snapback_core::{AlarmName, DeploymentId, GroupRef, Policy, Timestamp};
use snapback_wire::record::{self as wire, Item, TableLayout, attr};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a watch lives when nothing removes it: longer than CodeDeploy's longest deployment (50 h) and its bake.
pub const WATCH_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a watch is kept that shall outlive its deployment.
pub const KEEP_WATCH: Duration = Duration::from_secs(24 * 3600);
/// Last known good revisions of a group that never expire.
pub const KEEP_GOOD: usize = 3;
/// Days that one list looks through.
pub const MAX_DAYS: u32 = 400;

/// All that is not evidence sorts after this: `$` follows `#`.
pub(super) const AFTER_EVENTS: &str = "EVENT$";
const DAY: Duration = Duration::from_secs(24 * 3600);

impl DeploymentStore for Aws {
    async fn load(&self, id: &DeploymentId) -> Result<Option<Record>, CallError> {
        let condition = Condition::new("#pk = :pk AND #sk > :sk").name("#sk", attr::SK).text(":sk", AFTER_EVENTS);
        let items = self.partition(condition, &wire::deployment_pk(id)).await?;
        parsed(id, wire::parse_record(&items))
    }

    async fn register(&self, deployment: &Deployment, policy: &Policy, writes: &[Write]) -> Result<bool, CallError> {
        let id = &deployment.identity.id;
        let is_new = absent_or_expired(now());
        let mut actions = vec![
            Action::Put(wire::state_item(deployment, 1), Some(is_new)),
            Action::Put(wire::policy_item(id, policy), None),
        ];
        let expires = deployment.identity.registered_at + WATCH_LASTS;
        let watches = deployment.observation.alarms.iter().map(|alarm| wire::watch_item(&alarm.name, id, expires));
        actions.extend(watches.map(|item| Action::Put(item, None)));
        actions.extend(puts(deployment, writes));
        let actions = without_repeats(actions);
        let (first, rest) = actions.split_at(actions.len().min(MAX_ACTIONS));
        match self.transact(id.as_str(), first).await {
            Ok(()) => {}
            Err(error) if is_refused(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.transact_all(id.as_str(), rest).await?;
        Ok(true)
    }

    async fn commit(&self, deployment: &Deployment, expected: u64, writes: &[Write]) -> Result<(), CallError> {
        let version =
            Condition::new("#version = :version").name("#version", attr::VERSION).number(":version", expected);
        let condition = if expected == 0 { absent_or_expired(now()) } else { version };
        let state = wire::state_item(deployment, expected.saturating_add(1));
        let mut actions = vec![Action::Put(state, Some(condition))];
        actions.extend(puts(deployment, writes));
        let actions = without_repeats(actions);
        let (first, rest) = actions.split_at(actions.len().min(MAX_ACTIONS));
        self.transact(deployment.identity.id.as_str(), first).await?;
        if let Err(error) = self.transact_all(deployment.identity.id.as_str(), rest).await {
            // STATE is stored: reporting a failure now would make the caller decide on what is no longer there.
            tracing::warn!("evidence beyond {MAX_ACTIONS} items was not stored: {error}");
        }
        Ok(())
    }

    async fn add_entries(&self, id: &DeploymentId, entries: &[TimelineEntry]) -> Result<(), CallError> {
        let items = entries.iter().map(|entry| wire::evidence_item(id, entry));
        let mut items: Vec<Item> = items.collect();
        if items.len() == 1
            && let Some(item) = items.pop()
        {
            return self.put(id.as_str(), item, None).await.map(|_| ());
        }
        let actions = items.into_iter().map(|item| Action::Put(item, None)).collect();
        self.transact_all(id.as_str(), &without_repeats(actions)).await
    }

    async fn timeline(&self, id: &DeploymentId) -> Result<Vec<TimelineEntry>, CallError> {
        let condition =
            Condition::new("#pk = :pk AND begins_with(#sk, :sk)").name("#sk", attr::SK).text(":sk", wire::EVENT_PREFIX);
        let items = self.partition(condition, &wire::deployment_pk(id)).await?;
        items.iter().map(|item| parsed(id, wire::parse_evidence(item))).collect()
    }

    async fn take_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<Option<Lease>, CallError> {
        let condition = Some(absent_or_expired(now()));
        let item = match self.put(id.as_str(), wire::lease_item(id, lease), condition).await? {
            PutOutcome::Stored => return Ok(None),
            PutOutcome::Refused(item) => item,
        };
        let item = item.ok_or_else(|| not_understood(PUT, id, "refused without the item"))?;
        let held = parsed(id, wire::parse_lease(&item))?;
        // The SDK may have repeated a put whose answer was lost: then it is our own lease that is there.
        Ok(if held == *lease { None } else { Some(held) })
    }

    async fn save_lease(&self, id: &DeploymentId, lease: &Lease) -> Result<(), CallError> {
        // Stored, or answered already: both are what was asked for.
        self.put(id.as_str(), wire::lease_item(id, lease), Some(not_answered())).await.map(|_| ())
    }

    async fn save_answer(&self, id: &DeploymentId, lease: &Lease, entry: &TimelineEntry) -> Result<(), CallError> {
        let answer = Action::Put(wire::lease_item(id, lease), Some(not_answered()));
        let entry = Action::Put(wire::evidence_item(id, entry), None);
        match self.transact(id.as_str(), &[answer, entry.clone()]).await {
            Ok(()) => Ok(()),
            // Answered already: what came of this answer is still told.
            Err(error) if is_refused(&error) => self.transact(id.as_str(), &[entry]).await,
            // The lease is what others act on.
            Err(error) => self.save_lease(id, lease).await.and(Err(error)),
        }
    }

    async fn live(&self) -> Result<Vec<(DeploymentId, Option<u64>)>, CallError> {
        let mut live = Vec::new();
        for shard in 0..wire::SHARDS {
            let pk = wire::live_pk(shard);
            let condition = Condition::new("#pk = :pk").name("#pk", attr::LIVE_PK).text(":pk", &pk);
            let request = self.query(Some(TableLayout::LIVE), condition)?;
            for item in self.items(request, &pk, MAX_PAGES, ALL).await? {
                let version = item.get(attr::LIVE_SK).and_then(|text| wire::version_of_live_sk(text.as_str()?));
                live.push((deployment_id(&item)?, version));
            }
        }
        Ok(live)
    }

    async fn watching(&self, alarm: &AlarmName) -> Result<Vec<DeploymentId>, CallError> {
        let items = self.partition(Condition::new("#pk = :pk"), &wire::alarm_pk(alarm)).await?;
        items.iter().map(|item| parsed(alarm, wire::parse_watch(item)).map(|watch| watch.deployment)).collect()
    }

    async fn list(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Listed>, CallError> {
        let mut listed: Vec<Listed> = Vec::new();
        let mut day = to;
        for _ in 0..MAX_DAYS {
            let mut ids = BTreeSet::new();
            for shard in 0..wire::SHARDS {
                ids.extend(self.created_on(&wire::day_pk(day, shard), from, to, limit).await?);
            }
            // Newest first: the key is time, then id.
            for (_, id) in ids.into_iter().rev() {
                if listed.len() >= limit {
                    return Ok(listed);
                }
                listed.extend(self.load(&id).await?.map(|it| (it.deployment, it.rollback)));
            }
            day = start_of_day(day) - Duration::from_millis(1);
            if day < from {
                break;
            }
        }
        Ok(listed)
    }

    async fn archive(&self, deployment: &Deployment, keep: &[AlarmName]) -> Result<(), CallError> {
        let id = &deployment.identity.id;
        let closed_at = deployment.closed_at().unwrap_or_else(now);
        let expires_at = wire::expires_at(closed_at);
        let items = self.partition(Condition::new("#pk = :pk"), &wire::deployment_pk(id)).await?;
        let expiring = items
            .iter()
            .filter(|item| !item.contains_key(attr::EXPIRES_AT))
            .filter_map(wire::key_of)
            .map(|key| Action::Expire(key, expires_at));
        let watches = deployment.observation.alarms.iter().map(|alarm| {
            if keep.contains(&alarm.name) {
                let item = wire::watch_item(&alarm.name, id, closed_at + KEEP_WATCH);
                Action::Put(item, None)
            } else {
                Action::Delete(wire::watch_key(&alarm.name, id))
            }
        });
        let mut actions: Vec<_> = expiring.chain(watches).collect();
        actions.extend(self.outlived_good(&deployment.identity.group, expires_at).await?);
        self.transact_all(id.as_str(), &without_repeats(actions)).await
    }
}

impl Aws {
    /// Sort keys and ids of the deployments of one day and shard, newest `limit` of them.
    async fn created_on(
        &self,
        pk: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<(String, DeploymentId)>, CallError> {
        // The sort key is time, `#`, id: `$` follows `#`.
        let condition = Condition::new("#pk = :pk AND #sk BETWEEN :from AND :to")
            .name("#pk", attr::DAY_PK)
            .name("#sk", attr::DAY_SK)
            .text(":pk", pk)
            .text(":from", wire::digits(from))
            .text(":to", format!("{}$", wire::digits(to)));
        let request = self.query(Some(TableLayout::BY_DAY), condition)?.scan_index_forward(false);
        let items = self.items(request, pk, MAX_PAGES, limit).await?;
        let sort_key = |item: &Item| item.get(attr::DAY_SK).and_then(|sk| sk.as_str().map(str::to_owned));
        items.iter().map(|item| Ok((sort_key(item).unwrap_or_default(), deployment_id(item)?))).collect()
    }

    /// What lets good revisions go that newer ones have replaced.
    async fn outlived_good(&self, group: &GroupRef, expires_at: i64) -> Result<Vec<Action>, CallError> {
        let condition =
            Condition::new("#pk = :pk AND begins_with(#sk, :sk)").name("#sk", attr::SK).text(":sk", wire::GOOD_PREFIX);
        // Oldest first: the sort key is the time.
        let items = self.partition(condition, &wire::group_pk(group)).await?;
        Ok(items
            .iter()
            .rev()
            .skip(KEEP_GOOD)
            .filter(|item| !item.contains_key(attr::EXPIRES_AT))
            .filter_map(wire::key_of)
            .map(|key| Action::Expire(key, expires_at))
            .collect())
    }
}

/// A lease that has its final status stays as it is.
fn not_answered() -> Condition {
    Condition::new("attribute_not_exists(#answered)").name("#answered", attr::ANSWERED)
}

/// Evidence goes last, so that it is what overflows.
fn puts<'a>(deployment: &'a Deployment, writes: &'a [Write]) -> impl Iterator<Item = Action> + 'a {
    let (evidence, others): (Vec<_>, Vec<_>) = writes.iter().partition(|write| matches!(write, Write::Entry(_)));
    others.into_iter().chain(evidence).map(move |write| {
        let condition = matches!(write, Write::Lease(_)).then(not_answered);
        Action::Put(write_item(deployment, write), condition)
    })
}

/// The item of one write. What is written after the close goes with the rest of the deployment.
fn write_item(deployment: &Deployment, write: &Write) -> Item {
    let (id, group) = (&deployment.identity.id, &deployment.identity.group);
    let item = match write {
        Write::Entry(evidence) => wire::evidence_item(id, evidence),
        Write::Rollback(rollback) => wire::rollback_item(id, rollback),
        Write::Notice(notice) => wire::notice_item(id, notice),
        Write::Lease(lease) => wire::lease_item(id, lease),
        Write::Good(good) => return wire::good_item(group, good),
        Write::Refused(refused) => return wire::refused_item(group, refused),
    };
    match deployment.closed_at() {
        Some(closed_at) => wire::with_expiry(item, closed_at),
        None => item,
    }
}

fn deployment_id(item: &Item) -> Result<DeploymentId, CallError> {
    let pk = wire::key_of(item).map(|key| key.pk).unwrap_or_default();
    let id = pk.strip_prefix(wire::DEPLOYMENT_PREFIX).unwrap_or_default();
    DeploymentId::parse(id).map_err(|error| not_understood(QUERY, &pk, error))
}

pub(super) fn start_of_day(at: Timestamp) -> Timestamp {
    let day_ms = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_ms(at.ms().div_euclid(day_ms).saturating_mul(day_ms))
}
