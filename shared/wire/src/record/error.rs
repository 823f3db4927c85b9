//! What is wrong with a stored item.

use super::attr;
use super::item::{FORMAT, Item, key};
use super::key::Key;
use crate::reader::{Fault, Reader, describe};
use serde_json::Value;

const UPGRADE: &str = "written by a newer Snapback; upgrade this one";
const OUTDATED: &str = "written by an older Snapback, whose items this one does not read; install with a new table";
const DAMAGED: &str = "not written by Snapback, or changed since; restore the item from a backup or delete it";

/// A stored item that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("item pk `{pk}`, sk `{sk}`: attribute `{attribute}` is {found}, expected {expected}; {next_step}")]
pub struct RecordError {
    /// Partition key of the item; empty when it has none.
    pub pk: String,
    /// Sort key of the item; empty when it has none.
    pub sk: String,
    /// Path of the attribute.
    pub attribute: String,
    /// What was found.
    pub found: Box<str>,
    /// What would be right.
    pub expected: Box<str>,
    /// What a person can do.
    pub next_step: &'static str,
}

impl RecordError {
    pub(super) fn new(key: &Key, attribute: &str, found: &str, expected: &str) -> Self {
        Self {
            pk: key.pk.clone(),
            sk: key.sk.clone(),
            attribute: attribute.to_owned(),
            found: found.into(),
            expected: expected.into(),
            next_step: DAMAGED,
        }
    }

    pub(super) fn from_fault(key: &Key, fault: Fault) -> Self {
        Self::new(key, &fault.path, &fault.found, &fault.expected)
    }
}

/// An item whose key and format are known.
pub(super) struct Context<'a> {
    pub(super) key: Key,
    reader: Reader<'a>,
}

impl<'a> Context<'a> {
    /// Checks key and format version.
    pub(super) fn of(item: &'a Item) -> Result<Self, RecordError> {
        let key = key(item)?;
        let v = item.get(attr::V);
        if v.and_then(Value::as_u64) != Some(FORMAT) {
            let next_step = match v.and_then(Value::as_u64) {
                Some(newer) if newer > FORMAT => UPGRADE,
                Some(_) => OUTDATED,
                None => DAMAGED,
            };
            return Err(RecordError {
                next_step,
                ..RecordError::new(&key, attr::V, &describe(v), &format!("format version {FORMAT}"))
            });
        }
        Ok(Self { key, reader: Reader::new(item) })
    }

    /// Reads attributes; a fault becomes an error that names the item.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Reader<'a>) -> Result<T, Fault>) -> Result<T, RecordError> {
        read(&self.reader).map_err(|fault| RecordError::from_fault(&self.key, fault))
    }

    /// What follows `prefix` in the partition key, parsed.
    pub(super) fn pk_part<T, E: std::fmt::Display>(
        &self,
        prefix: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, RecordError> {
        self.part(attr::PK, &self.key.pk, prefix, parse)
    }

    /// What follows `prefix` in the sort key, parsed.
    pub(super) fn sk_part<T, E: std::fmt::Display>(
        &self,
        prefix: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, RecordError> {
        self.part(attr::SK, &self.key.sk, prefix, parse)
    }

    fn part<T, E: std::fmt::Display>(
        &self,
        attribute: &str,
        text: &str,
        prefix: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, RecordError> {
        let fault = |expected: String| {
            let found = describe(Some(&Value::from(text)));
            RecordError::new(&self.key, attribute, &found, &expected)
        };
        let rest = text.strip_prefix(prefix).ok_or_else(|| fault(format!("`{prefix}…`")))?;
        parse(rest).map_err(|error| fault(error.to_string()))
    }
}
