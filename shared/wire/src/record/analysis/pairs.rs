//! The pairs of probes in a DETECTOR item.

use super::{Result, place, word};
use crate::record::pack::{Packer, Unpackable, Unpacker};
use snapback_judge::Share;
use snapback_judge::analysis::Pairs;
use snapback_judge::detector::Note;
use snapback_judge::pairs::{Episode, EpisodeTotals, FastPathOff, LAST_BURSTS, PairState, PairSums, ScoredWindow};

pub(super) fn pack_pairs(to: &mut Packer, pairs: &Pairs) {
    pack_state(to, &pairs.state);
    let sums: Vec<_> = pairs.sums.buckets.iter().collect();
    to.list(&sums, |to, (start_s, shares)| {
        to.integer(**start_s);
        shares.iter().for_each(|share| to.share(*share));
    });
    to.share(pairs.first_calls);
    to.optional(pairs.off, |to, reason| to.count(place(FastPathOff::ALL.iter().copied(), &reason)));
    to.list(&pairs.notes, |to, note| to.count(place(Note::all(), note)));
}

pub(super) fn unpack_pairs(from: &mut Unpacker) -> Result<Pairs> {
    let state = unpack_state(from)?;
    let buckets = from.list(|from| Ok((from.integer()?, [share(from)?, share(from)?])))?;
    let first_calls = share(from)?;
    let off = from.optional(|from| word(FastPathOff::ALL.iter().copied(), from.count()?))?;
    let notes = from.list(|from| word(Note::all(), from.count()?))?;
    Ok(Pairs { state, sums: PairSums { buckets: buckets.into_iter().collect() }, first_calls, off, notes })
}

fn pack_state(to: &mut Packer, state: &PairState) {
    to.numbers([state.baseline_bad, state.baseline_all, state.canary_alone]);
    to.optional(state.failing_s, |to, (first_s, last_s)| {
        [first_s, last_s].iter().for_each(|at| to.count((*at).into()))
    });
    to.count(state.episodes.into());
    to.optional(state.episode.as_ref(), pack_episode);
    to.count(state.bursts.into());
    for at in [state.last_second, state.last_burst_s, state.window.from_s, state.rolled_back_s] {
        to.optional(at, |to, at| to.count(at.into()));
    }
    to.count(state.window.scored.into());
    to.flag(state.window.was_blind);
}

fn unpack_state(from: &mut Unpacker) -> Result<PairState> {
    let [baseline_bad, baseline_all, canary_alone] = from.numbers()?;
    let failing_s = from.optional(|from| Ok((small(from)?, small(from)?)))?;
    let episodes = small(from)?;
    let episode = from.optional(unpack_episode)?;
    let bursts = small(from)?;
    let mut at = || from.optional(small);
    let (last_second, last_burst_s, from_s, rolled_back_s) = (at()?, at()?, at()?, at()?);
    let window = ScoredWindow { from_s, scored: small(from)?, was_blind: from.flag()? };
    Ok(PairState {
        baseline_bad,
        baseline_all,
        canary_alone,
        failing_s,
        episodes,
        episode,
        last_second,
        bursts,
        last_burst_s,
        window,
        rolled_back_s,
    })
}

fn pack_episode(to: &mut Packer, episode: &Episode) {
    to.flag(episode.is_open);
    let Episode { opened_s, began_s, last_failed_s, failures, bad_seconds, bursts, .. } = *episode;
    for count in [opened_s, began_s, last_failed_s, failures, bad_seconds, bursts] {
        to.count(count.into());
    }
    to.optional(episode.burst_seen_s, |to, at| to.count(at.into()));
    to.numbers(episode.log_capital);
    to.numbers(episode.several);
    let EpisodeTotals { baseline, canary, bursts, last_bursts, environments } = episode.totals;
    [baseline, canary].into_iter().chain(last_bursts).for_each(|share| to.share(share));
    to.count(bursts.into());
    to.optional(environments, |to, environments| to.count(environments.into()));
}

fn unpack_episode(from: &mut Unpacker) -> Result<Episode> {
    let is_open = from.flag()?;
    let mut next = || small(from);
    let (opened_s, began_s, last_failed_s) = (next()?, next()?, next()?);
    let (failures, bad_seconds, bursts) = (next()?, next()?, next()?);
    let burst_seen_s = from.optional(small)?;
    let (log_capital, several) = (from.numbers()?, from.numbers()?);
    let (baseline, canary) = (share(from)?, share(from)?);
    let mut last_bursts = [Share::NOTHING; LAST_BURSTS];
    for burst in &mut last_bursts {
        *burst = share(from)?;
    }
    let totals =
        EpisodeTotals { baseline, canary, last_bursts, bursts: small(from)?, environments: from.optional(small)? };
    Ok(Episode {
        is_open,
        opened_s,
        began_s,
        last_failed_s,
        burst_seen_s,
        failures,
        bad_seconds,
        bursts,
        log_capital,
        several,
        totals,
    })
}

fn small(from: &mut Unpacker) -> Result<u32> {
    u32::try_from(from.count()?).map_err(|_| Unpackable("a count that is too large"))
}

/// Calls that failed among those that were made.
fn share(from: &mut Unpacker) -> Result<Share> {
    let Share { bad, all } = from.share()?;
    Share::new(bad, all).map_err(|_| Unpackable("more failures than calls"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapback_judge::pairs::{BurstMark, PairAdvice, PairClock, PairRecord, ProbeOutcome};

    fn pairs(canary: impl Fn(u32) -> ProbeOutcome) -> Pairs {
        let mut pairs = Pairs::begin();
        for second in 0..30 {
            let pair = PairRecord { second, baseline: ProbeOutcome::Ok, canary: canary(second), burst: None };
            let mut records = vec![pair];
            if second == 18 {
                records
                    .extend([PairRecord { burst: Some(BurstMark { number: 1, environments: Some(4) }), ..pair }; 10]);
            }
            pairs.sums.add(&PairClock::of_buckets(10), &records);
            pairs.state = PairState::step(pairs.state, 10, &records, second + 1).0;
        }
        pairs
    }

    fn unpacked(text: &str) -> Result<Pairs> {
        let mut from = Unpacker::new(text)?;
        let pairs = unpack_pairs(&mut from)?;
        from.end()?;
        Ok(pairs)
    }

    fn packed(pairs: &Pairs) -> String {
        let mut to = Packer::default();
        pack_pairs(&mut to, pairs);
        to.text()
    }

    #[test]
    fn pairs_survive() {
        let fails_from =
            |from: u32| move |second: u32| if second < from { ProbeOutcome::Ok } else { ProbeOutcome::Fail };
        let told = Pairs {
            off: Some(FastPathOff::SlowFunction),
            notes: vec![Note::Pair(PairAdvice::Blind), Note::PairsOff(FastPathOff::SlowFunction)],
            first_calls: Share { bad: 2, all: 60 },
            ..pairs(fails_from(30))
        };
        let table = [
            ("before the first pair", Pairs::begin()),
            ("lost", Pairs::lost()),
            ("healthy", pairs(fails_from(30))),
            ("an episode is open", pairs(fails_from(15))),
            ("decided, or nearly", pairs(fails_from(10))),
            ("told", told),
        ];
        for (case, pairs) in table {
            let text = packed(&pairs);
            assert_eq!(unpacked(&text), Ok(pairs), "{case}");
            assert!(text.len() < 400, "{case}: {} bytes", text.len());
            for cut in 0..text.len() {
                assert!(unpacked(text.get(..cut).unwrap()).is_err(), "{case} cut off at {cut}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let wrong = Pairs { first_calls: Share { bad: 3, all: 2 }, ..Pairs::begin() };
        assert_eq!(unpacked(&packed(&wrong)), Err(Unpackable("more failures than calls")));
    }
}
