//! DETECTOR: the ledger of a deployment's numbers. SERIES: its judged buckets, one item for each signal and hour.

#[cfg(test)]
mod tests;

use super::attr;
use super::error::{Context, RecordError};
use super::item::{FORMAT, Item, Writer};
use super::key::{DETECTOR, Key, SERIES_PREFIX, detector_key, series_key};
use super::pack::{Packer, Unpackable, Unpacker};
use super::state::end;
use snapback_core::canary::Metric;
use snapback_core::canary::{
    Evidence, HalfSeen, RateReference, RateState, State, Total, TrafficReference, TrafficState,
};
use snapback_core::ledger::{Late, Ledger, Missing, Recent, SeriesPoint};
use snapback_core::sla::{Burn, Window};
use snapback_core::{DeploymentId, Signal, Timestamp};

type Result<T> = std::result::Result<T, Unpackable>;

/// The DETECTOR item.
///
/// * `version`: the counter for compare-and-set that this item shall carry; DETECTOR has one of its own.
#[must_use]
pub fn ledger_item(id: &DeploymentId, ledger: &Ledger, version: u64) -> Item {
    Writer::new(detector_key(id))
        .put(attr::VERSION, version)
        .time(attr::STARTED_MS, ledger.origin)
        .put(attr::PACKED, pack(ledger).text())
        .item()
}

/// Reads a DETECTOR item: the ledger and its version for compare-and-set.
///
/// # Errors
/// When the item has another format, or its numbers cannot be understood.
pub fn parse_ledger(item: &Item) -> std::result::Result<(Ledger, u64), RecordError> {
    let context = Context::of(item)?;
    context.sk_part(DETECTOR, end)?;
    context.read(|reader| {
        let origin = reader.time(attr::STARTED_MS)?;
        let ledger = reader.parsed(attr::PACKED, |text| unpack(text, origin))?;
        Ok((ledger, reader.count(attr::VERSION)?))
    })
}

/// One judged bucket for a SERIES item: its key, and the text that is added to the list [`attr::POINTS`].
#[must_use]
pub fn series_entry(id: &DeploymentId, point: &SeriesPoint) -> (Key, String) {
    let mut packer = Packer::default();
    packer.integer(point.start.ms().div_euclid(1000));
    packer.side(point.side);
    packer.flag(point.is_growth);
    packer.counts(&point.counts);
    (series_key(id, point.signal, point.start), packer.text())
}

/// Format version that a SERIES item carries.
pub const SERIES_FORMAT: u64 = FORMAT;

/// Reads a SERIES item.
///
/// # Errors
/// When the item has another format, or a bucket cannot be understood.
pub fn parse_series(item: &Item) -> std::result::Result<Vec<SeriesPoint>, RecordError> {
    let context = Context::of(item)?;
    let signal: Signal = context.sk_part(SERIES_PREFIX, |rest| {
        rest.split('#').next().unwrap_or_default().parse::<Signal>().map_err(|error| error.to_string())
    })?;
    context.read(|reader| reader.texts(attr::POINTS, |text| unpack_point(text, signal)))
}

fn unpack_point(text: &str, signal: Signal) -> Result<SeriesPoint> {
    let mut from = Unpacker::new(text)?;
    let start = Timestamp::from_ms(from.integer()?.saturating_mul(1000));
    let (side, is_growth, counts) = (from.side()?, from.flag()?, from.counts()?);
    from.end()?;
    Ok(SeriesPoint { signal, start, side, is_growth, counts })
}

fn pack(ledger: &Ledger) -> Packer {
    let mut to = Packer::default();
    to.optional(ledger.thresholds, |to, thresholds| thresholds.into_iter().for_each(|edge| to.count(edge.into())));
    to.flag(ledger.has_history);
    to.flag(ledger.is_missing.requests);
    to.flag(ledger.is_missing.transactions);
    to.integer(ledger.looked);
    to.integer(ledger.glanced);
    to.optional(ledger.anew_from, |to, at| to.integer(at.ms()));
    for late in [ledger.late.baseline, ledger.late.canary] {
        to.optional(late, |to, counts| to.counts(&counts));
    }
    for window in ledger.burn.service.iter().chain(&ledger.burn.canary) {
        to.number(window.bad);
        to.number(window.all);
    }
    to.list(&ledger.recent, |to, recent| {
        to.side(recent.side);
        to.integer(recent.start_s);
        to.optional(recent.seen_requests, Packer::count);
        to.optional(recent.given, |to, counts| to.counts(&counts));
    });
    for state in [&ledger.detector, &ledger.adviser] {
        to.optional(state.as_ref(), pack_state);
    }
    to
}

fn unpack(text: &str, origin: Timestamp) -> Result<Ledger> {
    let mut from = Unpacker::new(text)?;
    let from = &mut from;
    let edge = |from: &mut Unpacker| u8::try_from(from.count()?).map_err(|_| Unpackable("a threshold that cannot be"));
    let thresholds = from.optional(|from| Ok([edge(from)?, edge(from)?, edge(from)?]))?;
    let has_history = from.flag()?;
    let is_missing = Missing { requests: from.flag()?, transactions: from.flag()? };
    let (looked, glanced) = (from.integer()?, from.integer()?);
    let anew_from = from.optional(|from| from.integer().map(Timestamp::from_ms))?;
    let late = Late { baseline: from.optional(Unpacker::counts)?, canary: from.optional(Unpacker::counts)? };
    let mut burn = Burn::default();
    for window in burn.service.iter_mut().chain(&mut burn.canary) {
        *window = Window { bad: from.number()?, all: from.number()? };
    }
    let recent = from.list(|from| {
        Ok(Recent {
            side: from.side()?,
            start_s: from.integer()?,
            seen_requests: from.optional(Unpacker::count)?,
            given: from.optional(Unpacker::counts)?,
        })
    })?;
    let (detector, adviser) = (from.optional(unpack_state)?, from.optional(unpack_state)?);
    from.end()?;
    Ok(Ledger {
        origin,
        thresholds,
        detector,
        adviser,
        has_history,
        is_missing,
        recent,
        late,
        burn,
        looked,
        glanced,
        anew_from,
    })
}

fn pack_state(to: &mut Packer, state: &State) {
    to.count(state.bucket_s.into());
    to.integer(state.used_below);
    to.list(&state.used_beyond, |to, slot| to.integer(*slot));
    to.list(&state.half_seen, |to, half| {
        to.integer(half.slot);
        to.number(half.came_s);
        for counts in [half.baseline, half.canary] {
            to.optional(counts, |to, counts| to.counts(&counts));
        }
    });
    for rate in &state.rates {
        let reference = &rate.reference;
        for value in [
            reference.bad_long,
            reference.all_long,
            reference.bad_short,
            reference.all_short,
            reference.peak,
            reference.dispersion,
        ] {
            to.number(value);
        }
        to.flag(reference.is_measured);
        to.optional(reference.rate_at_start, Packer::number);
        pack_evidence(to, &rate.evidence);
    }
    to.number(state.traffic.reference.level);
    to.number(state.traffic.reference.lost_chance);
    pack_evidence(to, &state.traffic.evidence);
    to.number(state.information);
    let rolled_back = state.rolled_back.and_then(|metric| Metric::ALL.iter().position(|known| *known == metric));
    to.optional(rolled_back, |to, place| to.count(u64::try_from(place).unwrap_or(u64::MAX)));
}

fn unpack_state(from: &mut Unpacker) -> Result<State> {
    let bucket_s = u32::try_from(from.count()?).map_err(|_| Unpackable("a bucket that is too long"))?;
    let used_below = from.integer()?;
    let used_beyond = from.list(Unpacker::integer)?;
    let half_seen = from.list(|from| {
        Ok(HalfSeen {
            slot: from.integer()?,
            came_s: from.number()?,
            baseline: from.optional(Unpacker::counts)?,
            canary: from.optional(Unpacker::counts)?,
        })
    })?;
    let mut rate = || -> Result<RateState> {
        let mut number = || from.number();
        let (bad_long, all_long, bad_short, all_short) = (number()?, number()?, number()?, number()?);
        let (peak, dispersion) = (number()?, number()?);
        let is_measured = from.flag()?;
        let rate_at_start = from.optional(Unpacker::number)?;
        let reference =
            RateReference { bad_long, all_long, bad_short, all_short, peak, dispersion, is_measured, rate_at_start };
        Ok(RateState { reference, evidence: unpack_evidence(from)? })
    };
    let rates = [rate()?, rate()?, rate()?, rate()?, rate()?, rate()?];
    let reference = TrafficReference { level: from.number()?, lost_chance: from.number()? };
    let traffic = TrafficState { reference, evidence: unpack_evidence(from)? };
    let information = from.number()?;
    let rolled_back = from.optional(|from| {
        let place = usize::try_from(from.count()?).unwrap_or(usize::MAX);
        Metric::ALL.get(place).copied().ok_or(Unpackable("an unknown metric"))
    })?;
    Ok(State { bucket_s, used_below, used_beyond, half_seen, rates, traffic, information, rolled_back })
}

fn pack_evidence(to: &mut Packer, evidence: &Evidence) {
    to.optional(evidence.log_capital.as_ref(), |to, capital| to.list(capital, |to, log| to.number(*log)));
    for total in [evidence.baseline, evidence.canary, evidence.alone] {
        to.count(total.bad);
        to.count(total.all);
    }
    for value in [evidence.concurrent, evidence.before_after, evidence.run] {
        to.number(value);
    }
    to.optional(evidence.first_bad_s, Packer::integer);
}

fn unpack_evidence(from: &mut Unpacker) -> Result<Evidence> {
    let log_capital = from.optional(|from| from.list(Unpacker::number))?;
    let mut total = || Ok(Total { bad: from.count()?, all: from.count()? });
    let (baseline, canary, alone) = (total()?, total()?, total()?);
    let (concurrent, before_after, run) = (from.number()?, from.number()?, from.number()?);
    let first_bad_s = from.optional(Unpacker::integer)?;
    Ok(Evidence { log_capital, baseline, canary, alone, concurrent, before_after, run, first_bad_s })
}
