//! The envelope that EventBridge puts around every event.

use super::EventError;
use crate::reader::{Fault, Reader};
use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use serde::Deserialize;
use serde_json::Value;
use snapback_core::Timestamp;

/// An EventBridge event whose envelope is complete.
pub(super) struct Envelope {
    pub(super) id: String,
    pub(super) detail_type: String,
    pub(super) account: String,
    pub(super) region: String,
    pub(super) time: Timestamp,
    pub(super) resources: Vec<String>,
    pub(super) detail: Value,
}

/// Reads the envelope of an event of `source`.
pub(super) fn envelope(kind: &'static str, source: &str, value: &Value) -> Result<Envelope, EventError> {
    EventError::object(kind, value)?;
    let event = EventBridgeEvent::<Value>::deserialize(value).map_err(|error| {
        EventError::diagnose(kind, value, &["detail-type", "source", "id", "account", "region", "time"], &error)
    })?;
    if event.source != source {
        let found = crate::reader::describe(Some(&event.source.into()));
        return Err(EventError::new(kind, "source", found, source));
    }
    let missing = |member: &str| EventError::new(kind, member, "missing", "a string");
    let time = event.time.ok_or_else(|| missing("time"))?;
    Ok(Envelope {
        id: bounded(event.id.ok_or_else(|| missing("id"))?),
        detail_type: event.detail_type,
        account: bounded(event.account.ok_or_else(|| missing("account"))?),
        region: bounded(event.region.ok_or_else(|| missing("region"))?),
        time: Timestamp::from_ms(time.timestamp_millis()),
        resources: event.resources.unwrap_or_default(),
        detail: event.detail,
    })
}

impl Envelope {
    /// Reads the detail; a fault names its path from the top.
    pub(super) fn read<T>(
        &self,
        kind: &'static str,
        read: impl FnOnce(&Reader<'_>) -> Result<T, Fault>,
    ) -> Result<T, EventError> {
        Reader::of(&self.detail).and_then(|reader| read(&reader)).map_err(|fault| {
            let path = if fault.path.is_empty() { "detail".to_owned() } else { format!("detail.{}", fault.path) };
            EventError::from_fault(kind, Fault { path, ..fault })
        })
    }
}

/// Ids and names as they are kept: longer ones are not AWS's.
pub(super) fn bounded(text: impl AsRef<str>) -> String {
    text.as_ref().chars().take(2_048).collect()
}
