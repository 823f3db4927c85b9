//! EVENT and NOTICE items: the timeline of a deployment, and what people were told of it.

use super::attr;
use super::error::{Context, RecordError};
use super::item::{Item, MAX_TEXT, Writer, cut, reason};
use super::key::{EVENT_PREFIX, NOTICE_PREFIX, evidence_key, notice_key};
use super::rollback::{claim, parse_claim};
use crate::reader::{Fault, Reader, describe};
use snapback_core::DeploymentId;
use snapback_core::notice::{Delivery, Notice, NoticeKind};
use snapback_core::timeline::{EntryKind, TimelineEntry};
use std::collections::BTreeMap;

const PENDING: &str = "pending";
const CLAIMED: &str = "claimed";
const SENT: &str = "sent";
/// Details kept of one line of evidence.
const MAX_DETAILS: usize = 50;

/// The EVENT item of one line of evidence. Its key has the whole source; stored source, text and details are cut when
/// they are long, and at most 50 details are kept.
#[must_use]
pub fn evidence_item(id: &DeploymentId, evidence: &TimelineEntry) -> Item {
    let details = evidence.details.iter().take(MAX_DETAILS);
    let details = details.fold(Writer::map(), |map, (name, value)| map.put(&reason(name), reason(value)));
    Writer::new(evidence_key(id, evidence))
        .time(attr::AT_MS, evidence.at)
        .put(attr::KIND, evidence.kind.as_str())
        .put(attr::SOURCE, reason(&evidence.source))
        .put(attr::TEXT, cut(&evidence.text, MAX_TEXT))
        .put(attr::DETAILS, details)
        .item()
}

/// Reads an EVENT item.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_evidence(item: &Item) -> Result<TimelineEntry, RecordError> {
    let context = Context::of(item)?;
    context.sk_part(EVENT_PREFIX, |_| Ok::<_, &str>(()))?;
    context.read(|reader| {
        Ok(TimelineEntry {
            at: reader.time(attr::AT_MS)?,
            kind: reader.parsed(attr::KIND, |word| EntryKind::parse(word).ok_or("a known kind of evidence"))?,
            source: reader.text(attr::SOURCE)?.to_owned(),
            text: reader.text(attr::TEXT)?.to_owned(),
            details: parse_details(&reader.map(attr::DETAILS)?)?,
        })
    })
}

fn parse_details(map: &Reader<'_>) -> Result<BTreeMap<String, String>, Fault> {
    map.members()
        .map(|(name, value)| {
            let text = value.as_str().ok_or_else(|| Fault {
                path: format!("{}.{name}", attr::DETAILS),
                found: describe(Some(value)),
                expected: "a string".to_owned(),
            })?;
            Ok((name.clone(), text.to_owned()))
        })
        .collect()
}

/// The NOTICE item of one message; a long body is cut.
#[must_use]
pub fn notice_item(id: &DeploymentId, notice: &Notice) -> Item {
    let (delivery, claimed, sent_at) = match &notice.delivery {
        Delivery::Pending => (PENDING, None, None),
        Delivery::Claimed(by) => (CLAIMED, Some(claim(by)), None),
        Delivery::Sent(at) => (SENT, None, Some(*at)),
    };
    Writer::new(notice_key(id, notice.kind))
        .time(attr::AT_MS, notice.at)
        .put(attr::SUBJECT, reason(&notice.subject))
        .put(attr::BODY, cut(&notice.body, MAX_TEXT))
        .put(attr::DELIVERY, delivery)
        .some(attr::CLAIM, claimed)
        .some_time(attr::SENT_MS, sent_at)
        .item()
}

/// Reads a NOTICE item.
///
/// # Errors
/// When the item has another format, or an attribute is missing or not what it should be.
pub fn parse_notice(item: &Item) -> Result<Notice, RecordError> {
    let context = Context::of(item)?;
    let kind = context.sk_part(NOTICE_PREFIX, |word| NoticeKind::parse(word).ok_or("a known kind of message"))?;
    context.read(|reader| {
        let delivery = match reader.text(attr::DELIVERY)? {
            PENDING => Delivery::Pending,
            CLAIMED => Delivery::Claimed(parse_claim(&reader.map(attr::CLAIM)?)?),
            SENT => Delivery::Sent(reader.time(attr::SENT_MS)?),
            _ => return Err(reader.fault(attr::DELIVERY, "one of pending, claimed, sent")),
        };
        Ok(Notice {
            kind,
            at: reader.time(attr::AT_MS)?,
            subject: reader.text(attr::SUBJECT)?.to_owned(),
            body: reader.text(attr::BODY)?.to_owned(),
            delivery,
        })
    })
}
