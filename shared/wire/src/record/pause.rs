//! The items of a pause: one by its scope, which tells what is paused now, and one by its time, which stays on record.

use super::attr;
use super::error::{Context, RecordError};
use super::item::{Item, Writer, expires_at, reason};
use super::key::{Key, past_pause_key, pause_key};
use crate::reader::{Fault, Reader};
use snapback_core::pause::{Attribution, Pause, PauseScope};

/// The last pause of its scope; it expires only once it is over.
#[must_use]
pub fn pause_item(pause: &Pause) -> Item {
    let ended = pause.ended.as_ref();
    item(pause_key(&pause.scope), pause)
        .some(attr::EXPIRES_AT, ended.map(|attribution| expires_at(attribution.at)))
        .item()
}

/// The same pause in the list of all, where the next pause of its scope does not replace it.
#[must_use]
pub fn past_pause_item(pause: &Pause) -> Item {
    let last = pause.ended.as_ref().unwrap_or(&pause.began);
    item(past_pause_key(pause), pause).put(attr::EXPIRES_AT, expires_at(last.at)).item()
}

/// Reads either item.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_pause(item: &Item) -> Result<Pause, RecordError> {
    Context::of(item)?.read(|reader| {
        Ok(Pause {
            scope: reader.parsed(attr::SCOPE, PauseScope::parse)?,
            began: parse_attribution(reader)?,
            ended: reader.optional_map(attr::ENDED)?.map(|map| parse_attribution(&map)).transpose()?,
        })
    })
}

fn item(key: Key, pause: &Pause) -> Writer {
    let ended = pause.ended.as_ref().map(|ended| attribution(Writer::map(), ended));
    attribution(Writer::new(key).put(attr::SCOPE, pause.scope.to_string()), &pause.began).some(attr::ENDED, ended)
}

fn attribution(writer: Writer, attribution: &Attribution) -> Writer {
    writer
        .time(attr::AT_MS, attribution.at)
        .put(attr::WHO, reason(&attribution.who))
        .put(attr::WHY, reason(&attribution.why))
}

fn parse_attribution(reader: &Reader<'_>) -> Result<Attribution, Fault> {
    Ok(Attribution {
        at: reader.time(attr::AT_MS)?,
        who: reader.text(attr::WHO)?.to_owned(),
        why: reader.text(attr::WHY)?.to_owned(),
    })
}
