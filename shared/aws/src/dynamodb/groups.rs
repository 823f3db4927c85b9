//! The past of a deployment group, and the registry of groups.

use super::calls::{Action, Condition};
use super::{parsed, without_repeats};
use crate::Aws;
use snapback_app::ports::{CallError, GroupStore};
use snapback_core::GroupRef;
use snapback_core::record::GroupHistory;
use snapback_wire::record as wire;
use std::collections::BTreeSet;

impl GroupStore for Aws {
    async fn group_history(&self, group: &GroupRef) -> Result<GroupHistory, CallError> {
        let items = self.partition(Condition::new("#pk = :pk"), &wire::group_pk(group)).await?;
        let mut history = GroupHistory::default();
        for item in &items {
            match wire::key_of(item) {
                Some(key) if key.sk.starts_with(wire::GOOD_PREFIX) => {
                    history.good.push(parsed(group, wire::parse_good(item))?);
                }
                Some(key) if key.sk.starts_with(wire::REFUSED_PREFIX) => {
                    history.refused.push(parsed(group, wire::parse_refused(item))?);
                }
                Some(_) | None => {}
            }
        }
        history.good.sort_by_key(|good| std::cmp::Reverse(good.at));
        Ok(history)
    }

    async fn save_groups(&self, groups: &[GroupRef]) -> Result<(), CallError> {
        let known: BTreeSet<_> = self.groups().await?.into_iter().collect();
        let new = groups.iter().filter(|group| !known.contains(group));
        let actions = new.map(|group| Action::Put(wire::registry_item(group), None)).collect();
        self.transact_all("groups", &without_repeats(actions)).await
    }

    async fn groups(&self) -> Result<Vec<GroupRef>, CallError> {
        let mut groups = Vec::new();
        for shard in 0..wire::SHARDS {
            let pk = wire::groups_pk(shard);
            for item in self.partition(Condition::new("#pk = :pk"), &pk).await? {
                groups.push(parsed(&pk, wire::parse_registry(&item))?);
            }
        }
        Ok(groups)
    }
}
