//! The table: each store of the use cases in a file of its own, over a few shapes of calls.
//!
//! Expired items count as absent: DynamoDB deletes them only some time later.

mod analyses;
mod calls;
mod deployments;
mod groups;
mod pauses;
mod sweep_lock;
#[cfg(test)]
mod tests;
mod value;

pub use deployments::{KEEP_GOOD, KEEP_WATCH, MAX_DAYS, WATCH_LASTS};
pub(crate) use sweep_lock::sweep_key;

use crate::Aws;
use crate::clock::SystemClock;
use crate::error::not_understood;
use calls::{Action, Condition, QUERY};
use snapback_app::ports::{CallError, Clock};
use snapback_core::Timestamp;
use snapback_wire::record::{self as wire, Item, RecordError, attr};
use std::collections::BTreeSet;

/// Pages (1 MB each) that one query reads; more is an error.
pub const MAX_PAGES: usize = 50;

const ALL: usize = usize::MAX;

impl Aws {
    /// Items of one partition that are not expired. `condition` names the sort key, if at all.
    async fn partition(&self, condition: Condition, pk: &str) -> Result<Vec<Item>, CallError> {
        let condition = condition.name("#pk", attr::PK).text(":pk", pk);
        let request = self.query(None, condition)?;
        let mut items = self.items(request, pk, MAX_PAGES, ALL).await?;
        let now = now();
        items.retain(|item| !wire::is_expired(item, now));
        Ok(items)
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn absent_or_expired(now: Timestamp) -> Condition {
    Condition::new("attribute_not_exists(#pk) OR #expires_at <= :now")
        .name("#pk", attr::PK)
        .name("#expires_at", attr::EXPIRES_AT)
        .number(":now", now.seconds())
}

/// DynamoDB refuses a transaction with two actions on one item; the first one stays.
fn without_repeats(actions: Vec<Action>) -> Vec<Action> {
    let mut seen = BTreeSet::new();
    actions
        .into_iter()
        .filter(|action| {
            let key = match action {
                Action::Put(item, _) => wire::key_of(item),
                Action::Delete(key) | Action::Expire(key, _) => Some(key.clone()),
            };
            key.is_none_or(|key| seen.insert(key))
        })
        .collect()
}

fn parsed<T>(on: impl ToString, result: Result<T, RecordError>) -> Result<T, CallError> {
    result.map_err(|error| not_understood(QUERY, on, error))
}
