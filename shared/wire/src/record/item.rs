//! What all items have in common: keys, format version, expiry, bounded texts.

use super::attr;
use super::error::RecordError;
use super::key::Key;
use serde_json::{Map, Value};
use snapback_core::Timestamp;
use snapback_core::record::KEEP_CLOSED;

/// Format version of the items that this Snapback writes and reads; any other is refused.
pub const FORMAT: u64 = 2;
/// Reasons are cut after this many characters.
pub const MAX_REASON: usize = 1_023;
/// Texts for people are cut after this many characters.
pub const MAX_TEXT: usize = 4_000;

/// One item of the table. Null means absent.
pub type Item = Map<String, Value>;

/// The key of an item that was written here or read from the table, or `None` when it has none.
#[must_use]
pub fn key_of(item: &Item) -> Option<Key> {
    key(item).ok()
}

/// Epoch seconds at which the items of a deployment may go that was closed at `closed_at`.
#[must_use]
pub fn expires_at(closed_at: Timestamp) -> i64 {
    (closed_at + KEEP_CLOSED).seconds()
}

/// The same item, which goes with a deployment that was closed at `closed_at`.
#[must_use]
pub fn with_expiry(mut item: Item, closed_at: Timestamp) -> Item {
    item.insert(attr::EXPIRES_AT.to_owned(), expires_at(closed_at).into());
    item
}

/// Whether the item counts as absent at `now`: DynamoDB deletes expired items only some time later.
#[must_use]
pub fn is_expired(item: &Item, now: Timestamp) -> bool {
    item.get(attr::EXPIRES_AT).and_then(Value::as_i64).is_some_and(|expires_at| expires_at <= now.seconds())
}

/// The key of an item.
pub(super) fn key(item: &Item) -> Result<Key, RecordError> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    match (text(attr::PK), text(attr::SK)) {
        (Some(pk), Some(sk)) => Ok(Key { pk, sk }),
        (pk, sk) => {
            let attribute = if pk.is_none() { attr::PK } else { attr::SK };
            let key = Key { pk: pk.unwrap_or_default(), sk: sk.unwrap_or_default() };
            Err(RecordError::new(&key, attribute, "missing", "a string"))
        }
    }
}

/// Epoch seconds, rounded up: an item must not go before its time.
pub(super) fn seconds_after(at: Timestamp) -> i64 {
    at.ms().saturating_add(999).div_euclid(1000)
}

pub(super) fn reason(text: &str) -> String {
    cut(text, MAX_REASON)
}

pub(super) fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Puts an object together; absent values are left out.
pub(super) struct Writer(Item);

impl Writer {
    /// An item with its key and format version.
    pub(super) fn new(key: Key) -> Self {
        Self::map().put(attr::PK, key.pk).put(attr::SK, key.sk).put(attr::V, FORMAT)
    }

    /// A nested object.
    pub(super) fn map() -> Self {
        Self(Item::new())
    }

    pub(super) fn put(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    pub(super) fn time(self, name: &str, at: Timestamp) -> Self {
        self.put(name, at.ms())
    }

    pub(super) fn some_time(self, name: &str, at: Option<Timestamp>) -> Self {
        self.some(name, at.map(Timestamp::ms))
    }

    pub(super) fn list<T: Into<Value>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        self.put(name, values)
    }

    pub(super) fn item(self) -> Item {
        self.0
    }
}

impl From<Writer> for Value {
    fn from(writer: Writer) -> Self {
        Self::Object(writer.0)
    }
}
