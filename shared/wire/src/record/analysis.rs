//! DETECTOR: the analysis of a deployment's numbers. SERIES: what was judged in each poll.

mod judged_poll;
mod pairs;
#[cfg(test)]
mod tests;

use super::attr;
use super::error::{Context, RecordError};
use super::item::{Item, Writer};
use super::key::{DETECTOR, detector_key};
use super::pack::{Packer, Unpackable, Unpacker};
use super::state::end;
pub use judged_poll::{judged_poll_item, parse_judged_poll};
use pairs::{pack_pairs, unpack_pairs};
use snapback_core::analysis_spec::StoredAnalysis;
use snapback_core::{DeploymentId, Timestamp};
use snapback_judge::Metric;
use snapback_judge::Share;
use snapback_judge::analysis::{Analysis, LateGrowth, Missing, Recent};
use snapback_judge::detector::{
    BodyState, Capital, HalfSeen, LatencyReference, MAX_PEERS, Note, Others, ProbeState, RateReference, RateState,
    Seen, State, Tally, Thresholds, TrafficReference, TrafficState, UsedBuckets, Witnesses,
};
use snapback_judge::slo::Burn;

type Result<T> = std::result::Result<T, Unpackable>;

/// The DETECTOR item.
///
/// * `version`: the counter for compare-and-set that this item shall carry; DETECTOR has one of its own.
#[must_use]
pub fn analysis_item(id: &DeploymentId, analysis: &Analysis, version: u64) -> Item {
    Writer::new(detector_key(id))
        .put(attr::VERSION, version)
        .time(attr::STARTED_MS, analysis.origin)
        .put(attr::PACKED_FORMAT, PACKED_FORMAT)
        .put(attr::PACKED, pack(analysis).text())
        .item()
}

/// Format version of the packed numbers of a DETECTOR item. An analysis of another version is begun anew, so an upgrade in the
/// middle of a deployment blinds nobody. Raise it whenever [`pack`] writes something else, or the same with another meaning.
const PACKED_FORMAT: u64 = 3;

/// Reads a DETECTOR item: the analysis, unless its numbers are packed in another format, and its version for compare-and-set.
///
/// # Errors
/// When the item itself has another format, or numbers in the format of today cannot be understood.
pub fn parse_analysis(item: &Item) -> std::result::Result<StoredAnalysis, RecordError> {
    let context = Context::of(item)?;
    context.sk_part(DETECTOR, end)?;
    context.read(|reader| {
        let origin = reader.time(attr::STARTED_MS)?;
        let is_known = reader.optional_count(attr::PACKED_FORMAT)? == Some(PACKED_FORMAT);
        let analysis = is_known.then(|| reader.parsed(attr::PACKED, |text| unpack(text, origin))).transpose()?;
        Ok(StoredAnalysis { analysis, version: reader.count(attr::VERSION)? })
    })
}

fn pack(analysis: &Analysis) -> Packer {
    let mut to = Packer::default();
    to.flag(analysis.is_restarted);
    to.optional(analysis.thresholds, |to, thresholds| thresholds.all().for_each(|edge| to.count(edge.into())));
    to.flag(analysis.has_history);
    let Missing { requests, transactions, front, peers } = analysis.is_missing;
    let flags = [requests, transactions, front].into_iter().chain(peers);
    flags.chain([analysis.has_pipeline, analysis.has_canary_series]).for_each(|flag| to.flag(flag));
    to.integer(analysis.polled);
    to.integer(analysis.counted);
    to.optional(analysis.anew_from, |to, at| to.integer(at.ms()));
    for late in [analysis.late.baseline, analysis.late.canary] {
        to.optional(late, |to, counts| to.counts(&counts));
    }
    for window in analysis.burn.service.iter().chain(&analysis.burn.canary) {
        to.number(window.bad);
        to.number(window.all);
    }
    to.list(&analysis.recent, |to, recent| {
        to.side(recent.side);
        to.integer(recent.start_s);
        to.optional(recent.seen_requests, Packer::count);
        to.optional(recent.given, |to, counts| to.counts(&counts));
    });
    for state in [&analysis.enforcing, &analysis.advisory] {
        to.optional(state.as_ref(), pack_state);
    }
    to.optional(analysis.pairs.as_ref(), pack_pairs);
    to
}

fn unpack(text: &str, origin: Timestamp) -> Result<Analysis> {
    let mut from = Unpacker::new(text)?;
    let from = &mut from;
    let is_restarted = from.flag()?;
    let edge = |from: &mut Unpacker| u16::try_from(from.count()?).map_err(|_| Unpackable("a threshold that cannot be"));
    let thresholds = from.optional(|from| {
        let mut body = [0; 7];
        for octile in &mut body {
            *octile = edge(from)?;
        }
        Ok(Thresholds { body, q90: edge(from)?, q99: edge(from)? })
    })?;
    let has_history = from.flag()?;
    let (requests, transactions, front) = (from.flag()?, from.flag()?, from.flag()?);
    let mut peers = [false; MAX_PEERS];
    for peer in &mut peers {
        *peer = from.flag()?;
    }
    let is_missing = Missing { requests, transactions, front, peers };
    let (has_pipeline, has_canary_series) = (from.flag()?, from.flag()?);
    let (polled, counted) = (from.integer()?, from.integer()?);
    let anew_from = from.optional(|from| from.integer().map(Timestamp::from_ms))?;
    let late = LateGrowth { baseline: from.optional(Unpacker::counts)?, canary: from.optional(Unpacker::counts)? };
    let mut burn = Burn::default();
    for window in burn.service.iter_mut().chain(&mut burn.canary) {
        *window = Share { bad: from.number()?, all: from.number()? };
    }
    let recent = from.list(|from| {
        Ok(Recent {
            side: from.side()?,
            start_s: from.integer()?,
            seen_requests: from.optional(Unpacker::count)?,
            given: from.optional(Unpacker::counts)?,
        })
    })?;
    let (enforcing, advisory) = (from.optional(unpack_state)?, from.optional(unpack_state)?);
    let pairs = from.optional(unpack_pairs)?;
    from.end()?;
    Ok(Analysis {
        origin,
        thresholds,
        enforcing,
        advisory,
        has_history,
        is_missing,
        has_pipeline,
        has_canary_series,
        recent,
        late,
        burn,
        polled,
        counted,
        anew_from,
        is_restarted,
        pairs,
    })
}

fn pack_state(to: &mut Packer, state: &State) {
    to.count(state.bucket_s.into());
    let Witnesses { front, peer, probe, pair } = state.witnesses;
    [front, peer, probe, pair].into_iter().for_each(|flag| to.flag(flag));
    to.integer(state.used.below);
    to.list(&state.used.beyond, |to, run| {
        to.integer(run.start);
        to.integer(run.end);
    });
    to.list(&state.half_seen, pack_half);
    for rate in &state.rates {
        pack_rate(to, &rate.reference);
        pack_capital(to, &rate.capital);
        to.optional(rate.gross, Packer::numbers);
        pack_tally(to, &rate.tally);
    }
    to.optional(state.body.as_ref(), |to, body| {
        pack_latency(to, &body.reference);
        pack_capital(to, &body.capital);
        to.numbers([body.difference.0, body.difference.1]);
        pack_tally(to, &body.tally);
    });
    pack_traffic(to, &state.traffic.reference);
    to.optional(state.traffic.capital, Packer::numbers);
    pack_tally(to, &state.traffic.tally);
    to.optional(state.probe.capital, Packer::numbers);
    pack_tally(to, &state.probe.tally);
    let Others { peer_bad, peer_all, probe_bad } = state.others;
    to.numbers([peer_bad, peer_all, probe_bad]);
    to.count(state.full.into());
    to.number(state.information);
    to.list(&state.notes, |to, advice| to.count(place(Note::all(), advice)));
    to.optional(state.rolled_back, |to, metric| to.count(place(Metric::ALL.iter().copied(), &metric)));
}

/// Position of a word in its vocabulary.
fn place<T: PartialEq>(all: impl Iterator<Item = T>, word: &T) -> u64 {
    all.zip(0_u64..).find(|(known, _)| known == word).map_or(u64::MAX, |(_, place)| place)
}

fn word<T>(mut all: impl Iterator<Item = T>, place: u64) -> Result<T> {
    usize::try_from(place).ok().and_then(|place| all.nth(place)).ok_or(Unpackable("an unknown word"))
}

fn pack_half(to: &mut Packer, half: &HalfSeen) {
    to.integer(half.slot);
    for counts in [half.seen.baseline, half.seen.canary] {
        to.optional(counts, |to, counts| to.counts(&counts));
    }
    to.optional(half.seen.front, Packer::count);
    for share in [half.seen.peer, half.seen.probe_baseline, half.seen.probe_canary] {
        to.optional(share, Packer::share);
    }
    half.came_s.into_iter().chain([half.ready_s]).for_each(|came| to.optional(came, Packer::number));
}

fn unpack_half(from: &mut Unpacker) -> Result<HalfSeen> {
    let slot = from.integer()?;
    let (baseline, canary) = (from.optional(Unpacker::counts)?, from.optional(Unpacker::counts)?);
    let front = from.optional(Unpacker::count)?;
    let mut share = || from.optional(Unpacker::share);
    let (peer, probe_baseline, probe_canary) = (share()?, share()?, share()?);
    let seen = Seen { baseline, canary, front, peer, probe_baseline, probe_canary };
    let mut time = || from.optional(Unpacker::number);
    Ok(HalfSeen { slot, seen, came_s: [time()?, time()?, time()?, time()?], ready_s: time()? })
}

fn unpack_state(from: &mut Unpacker) -> Result<State> {
    let bucket_s = u32::try_from(from.count()?).map_err(|_| Unpackable("a bucket that is too long"))?;
    let (front, peer, probe, pair) = (from.flag()?, from.flag()?, from.flag()?, from.flag()?);
    let below = from.integer()?;
    let beyond = from.list(|from| Ok(from.integer()?..from.integer()?))?;
    let half_seen = from.list(unpack_half)?;
    let mut rate = || -> Result<RateState> {
        let reference = unpack_rate(from)?;
        let (capital, gross) = (unpack_capital(from)?, from.optional(Unpacker::numbers)?);
        Ok(RateState { reference, capital, gross, tally: unpack_tally(from)? })
    };
    let rates = [rate()?, rate()?, rate()?, rate()?, rate()?];
    let body = from.optional(|from| {
        let reference = unpack_latency(from)?;
        let capital = unpack_capital(from)?;
        let [sum, weights] = from.numbers()?;
        Ok(BodyState { reference, capital, difference: (sum, weights), tally: unpack_tally(from)? })
    })?;
    let reference = unpack_traffic(from)?;
    let capital = from.optional(Unpacker::numbers)?;
    let traffic = TrafficState { reference, capital, tally: unpack_tally(from)? };
    let capital = from.optional(Unpacker::numbers)?;
    let probe_state = ProbeState { capital, tally: unpack_tally(from)? };
    let [peer_bad, peer_all, probe_bad] = from.numbers()?;
    Ok(State {
        bucket_s,
        witnesses: Witnesses { front, peer, probe, pair },
        used: UsedBuckets { below, beyond },
        half_seen,
        rates,
        body,
        traffic,
        probe: probe_state,
        others: Others { peer_bad, peer_all, probe_bad },
        full: u8::try_from(from.count()?).map_err(|_| Unpackable("too many full buckets"))?,
        information: from.number()?,
        notes: from.list(|from| word(Note::all(), from.count()?))?,
        rolled_back: from.optional(|from| word(Metric::ALL.iter().copied(), from.count()?))?,
    })
}

fn pack_rate(to: &mut Packer, reference: &RateReference) {
    let RateReference { bad_long, all_long, bad_short, all_short, peak, dispersion, is_measured } = *reference;
    to.numbers([bad_long, all_long, bad_short, all_short, peak, dispersion]);
    to.flag(is_measured);
}

fn unpack_rate(from: &mut Unpacker) -> Result<RateReference> {
    let [bad_long, all_long, bad_short, all_short, peak, dispersion] = from.numbers()?;
    let is_measured = from.flag()?;
    Ok(RateReference { bad_long, all_long, bad_short, all_short, peak, dispersion, is_measured })
}

fn pack_latency(to: &mut Packer, reference: &LatencyReference) {
    let LatencyReference { usual, slope, variance, drift, level, doubt, absorbed, peak } = *reference;
    to.numbers([usual, slope, variance, drift, level, doubt, absorbed, peak]);
}

fn unpack_latency(from: &mut Unpacker) -> Result<LatencyReference> {
    let [usual, slope, variance, drift, level, doubt, absorbed, peak] = from.numbers()?;
    Ok(LatencyReference { usual, slope, variance, drift, level, doubt, absorbed, peak })
}

fn pack_traffic(to: &mut Packer, reference: &TrafficReference) {
    let TrafficReference { level, lost_chance, per_front, peer_rate } = *reference;
    to.numbers([level, lost_chance, per_front, peer_rate]);
}

fn unpack_traffic(from: &mut Unpacker) -> Result<TrafficReference> {
    let [level, lost_chance, per_front, peer_rate] = from.numbers()?;
    Ok(TrafficReference { level, lost_chance, per_front, peer_rate })
}

fn pack_capital<const N: usize>(to: &mut Packer, capital: &Capital<N>) {
    for mix in [capital.no_change, capital.margin, capital.early, capital.late] {
        to.optional(mix, Packer::numbers);
    }
}

fn unpack_capital<const N: usize>(from: &mut Unpacker) -> Result<Capital<N>> {
    let mut mix = || from.optional(Unpacker::numbers);
    Ok(Capital { no_change: mix()?, margin: mix()?, early: mix()?, late: mix()? })
}

fn pack_tally(to: &mut Packer, tally: &Tally) {
    [tally.baseline, tally.canary, tally.alone].into_iter().for_each(|share| to.share(share));
    to.numbers([tally.concurrent, tally.before_after, tally.run]);
    to.optional(tally.first_bad_s, Packer::integer);
}

fn unpack_tally(from: &mut Unpacker) -> Result<Tally> {
    let (baseline, canary, alone) = (from.share()?, from.share()?, from.share()?);
    let [concurrent, before_after, run] = from.numbers()?;
    let first_bad_s = from.optional(Unpacker::integer)?;
    Ok(Tally { baseline, canary, alone, concurrent, before_after, run, first_bad_s })
}
