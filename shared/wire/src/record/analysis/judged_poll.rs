//! SERIES: one full poll of a deployment, an item each.

use super::{Result, pack_latency, pack_rate, pack_traffic, place, unpack_latency, unpack_rate, unpack_traffic, word};
use crate::record::attr;
use crate::record::error::{Context, RecordError};
use crate::record::item::{Item, Writer, with_expiry};
use crate::record::key::{SERIES_PREFIX, series_key};
use crate::record::pack::{Packer, Unpackable, Unpacker};
use snapback_core::{DeploymentId, Timestamp};
use snapback_judge::Metric;
use snapback_judge::analysis::{Beginning, Begun, JudgedPoll};
use snapback_judge::detector::{
    BucketRecord, DetectorSettings, DetectorValues, Margin, Reading, References, Said, Side, TrafficSchedule, Witnesses,
};

/// Format version of the packed numbers of a SERIES item. Raise it whenever [`pack`] writes something else.
const PACKED_FORMAT: u64 = 1;

/// The SERIES item of a poll. It goes with the deployment, whenever that is closed.
#[must_use]
pub fn judged_poll_item(id: &DeploymentId, poll: &JudgedPoll) -> Item {
    let item = Writer::new(series_key(id, poll.polled_at))
        .time(attr::AT_MS, poll.polled_at)
        .time(attr::STARTED_MS, poll.origin)
        .put(attr::PACKED_FORMAT, PACKED_FORMAT)
        .put(attr::PACKED, pack(poll).text())
        .item();
    with_expiry(item, poll.polled_at)
}

/// Reads a SERIES item; `None`: another version of Snapback packed it.
///
/// # Errors
/// When the item itself has another format, or numbers in the format of today cannot be understood.
pub fn parse_judged_poll(item: &Item) -> std::result::Result<Option<JudgedPoll>, RecordError> {
    let context = Context::of(item)?;
    context.sk_part(SERIES_PREFIX, |digits| digits.parse::<i64>().map_err(|error| error.to_string()))?;
    context.read(|reader| {
        let (polled_at, origin) = (reader.time(attr::AT_MS)?, reader.time(attr::STARTED_MS)?);
        let is_known = reader.optional_count(attr::PACKED_FORMAT)? == Some(PACKED_FORMAT);
        is_known.then(|| reader.parsed(attr::PACKED, |text| unpack(text, polled_at, origin))).transpose()
    })
}

fn pack(poll: &JudgedPoll) -> Packer {
    let mut to = Packer::default();
    to.optional(poll.begun.as_ref(), |to, begun| {
        let Witnesses { front, peer, probe, pair } = begun.witnesses;
        [front, peer, probe, pair].into_iter().for_each(|flag| to.flag(flag));
        [&begun.enforcing, &begun.advisory].into_iter().for_each(|it| to.optional(it.as_ref(), pack_beginning));
    });
    to.count(poll.schedule.bucket_s().into());
    to.list(poll.schedule.steps(), |to, (at_s, weight)| to.numbers([*at_s, *weight]));
    to.numbers([poll.schedule.end_s(), poll.schedule.drain_s(), poll.from_s]);
    to.optional(poll.anew_from, |to, at| to.integer(at.ms()));
    to.list(&poll.records, pack_record);
    for said in [poll.enforcing, poll.advisory] {
        to.optional(said, |to, said| {
            to.optional(said.rolled_back, |to, metric| to.count(place(Metric::ALL.iter().copied(), &metric)));
            said.log_e.into_iter().for_each(|log_e| to.optional(log_e, Packer::number));
        });
    }
    to
}

fn unpack(text: &str, polled_at: Timestamp, origin: Timestamp) -> Result<JudgedPoll> {
    let mut from = Unpacker::new(text)?;
    let from = &mut from;
    let begun = from.optional(|from| {
        let witnesses = Witnesses { front: from.flag()?, peer: from.flag()?, probe: from.flag()?, pair: from.flag()? };
        let (enforcing, advisory) = (from.optional(unpack_beginning)?, from.optional(unpack_beginning)?);
        Ok(Begun { witnesses, enforcing, advisory })
    })?;
    let bucket_s = u32::try_from(from.count()?).map_err(|_| Unpackable("a bucket that is too long"))?;
    let steps = from.list(|from| from.numbers().map(|[at_s, weight]| (at_s, weight)))?;
    let [end_s, drain_s, from_s] = from.numbers()?;
    let schedule = TrafficSchedule::new(bucket_s, steps, end_s, drain_s);
    let schedule = schedule.map_err(|_| Unpackable("a schedule that cannot be"))?;
    let anew_from = from.optional(|from| from.integer().map(Timestamp::from_ms))?;
    let records = from.list(unpack_record)?;
    let (enforcing, advisory) = (from.optional(unpack_said)?, from.optional(unpack_said)?);
    from.end()?;
    Ok(JudgedPoll { polled_at, origin, begun, schedule, from_s, anew_from, records, enforcing, advisory })
}

fn unpack_said(from: &mut Unpacker) -> Result<Said> {
    let rolled_back = from.optional(|from| word(Metric::ALL.iter().copied(), from.count()?))?;
    let mut log_e = [None; 8];
    for value in &mut log_e {
        *value = from.optional(Unpacker::number)?;
    }
    Ok(Said { rolled_back, log_e })
}

fn pack_beginning(to: &mut Packer, beginning: &Beginning) {
    let DetectorValues {
        alpha,
        grace_s,
        no_data_timeout_s,
        half_life_long_s,
        half_life_short_s,
        half_life_peak_s,
        warm_up_s,
        minute_s,
        errors_follow,
        margins,
    } = &beginning.settings;
    to.numbers([
        *alpha,
        *grace_s,
        *no_data_timeout_s,
        *half_life_long_s,
        *half_life_short_s,
        *half_life_peak_s,
        *warm_up_s,
        *minute_s,
    ]);
    to.flag(*errors_follow);
    for margin in margins {
        to.optional(*margin, |to, Margin { factor, points }| to.numbers([factor, points]));
    }
    let References { rates, body, traffic } = &beginning.references;
    rates.iter().for_each(|rate| pack_rate(to, rate));
    to.optional(body.as_ref(), pack_latency);
    pack_traffic(to, traffic);
}

fn unpack_beginning(from: &mut Unpacker) -> Result<Beginning> {
    let [alpha, grace_s, no_data_timeout_s, half_life_long_s, half_life_short_s, half_life_peak_s, warm_up_s, minute_s] =
        from.numbers()?;
    let errors_follow = from.flag()?;
    let mut margins = [None; 8];
    for margin in &mut margins {
        *margin = from.optional(|from| from.numbers().map(|[factor, points]| Margin { factor, points }))?;
    }
    let settings = DetectorValues {
        alpha,
        grace_s,
        no_data_timeout_s,
        half_life_long_s,
        half_life_short_s,
        half_life_peak_s,
        warm_up_s,
        minute_s,
        errors_follow,
        margins,
    };
    DetectorSettings::new(settings.clone()).map_err(|_| Unpackable("settings that cannot be"))?;
    let mut rate = || unpack_rate(from);
    let rates = [rate()?, rate()?, rate()?, rate()?, rate()?];
    let body = from.optional(unpack_latency)?;
    let references = References { rates, body, traffic: unpack_traffic(from)? };
    Ok(Beginning { settings, references })
}

fn pack_record(to: &mut Packer, record: &BucketRecord) {
    to.integer(record.start_s);
    match &record.reading {
        Reading::Version(side, counts) => {
            to.count(0);
            to.side(*side);
            to.counts(counts);
        }
        Reading::Front(requests) => {
            to.count(1);
            to.count(*requests);
        }
        Reading::Peer(share) => {
            to.count(2);
            to.share(*share);
        }
        Reading::Probe(side, share) => {
            to.count(3);
            to.side(*side);
            to.share(*share);
        }
    }
}

fn unpack_record(from: &mut Unpacker) -> Result<BucketRecord> {
    let start_s = from.integer()?;
    let reading = match from.count()? {
        0 => {
            let side: Side = from.side()?;
            Reading::Version(side, from.counts()?)
        }
        1 => Reading::Front(from.count()?),
        2 => Reading::Peer(from.share()?),
        3 => Reading::Probe(from.side()?, from.share()?),
        _ => return Err(Unpackable("a record of nobody")),
    };
    Ok(BucketRecord { start_s, reading })
}
