//! The golden streams of pairs: the second of each decision, each burst, and the evidence after every poll.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde::Deserialize;
use serde_json::Value;
use snapback_judge::pairs::{BurstMark, PairRecord, PairState, ProbeOutcome};

/// The answers have ten decimals.
const PRECISION: f64 = 1e-9;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    id: String,
    burst: u32,
    decided: Option<u32>,
    polls: Vec<Poll>,
}

/// Time of the poll, what became visible, ln E, sure, and 1 if a burst is sent.
#[derive(Deserialize)]
struct Poll(u32, Vec<Vec<Value>>, Option<f64>, Option<f64>, u8);

fn streams() -> Vec<Stream> {
    include_str!("../golden-fast.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// By its first letter.
fn outcome(letter: char) -> ProbeOutcome {
    ProbeOutcome::ALL.iter().copied().find(|outcome| outcome.as_str().starts_with(letter)).unwrap()
}

/// `[second, "of oo", burst number, environments]`; the last two only where there are any.
fn pairs(second: &[Value]) -> Vec<PairRecord> {
    let number = |value: &Value| u32::try_from(value.as_u64().unwrap()).unwrap();
    let environments = second.get(3).map(number);
    let burst = second.get(2).map(|burst| BurstMark { number: number(burst), environments });
    let pair = |letters: &str| {
        let mut outcomes = letters.chars().map(outcome);
        let (baseline, canary) = (outcomes.next().unwrap(), outcomes.next().unwrap());
        assert_eq!(outcomes.next(), None, "{letters}");
        PairRecord { second: number(&second[0]), baseline, canary, burst }
    };
    second[1].as_str().unwrap().split(' ').map(pair).collect()
}

fn assert_close(found: Option<f64>, expected: Option<f64>, case: &str) {
    let is_close = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= PRECISION,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    assert!(is_close, "{case}: {found:?}, expected {expected:?}");
}

#[test]
fn every_stream_gets_the_expected_answers() {
    let mut polls = 0;
    for Stream { id, burst, decided, polls: stream } in streams() {
        let mut state = PairState::begin();
        let mut decided_at = None;
        for Poll(now_s, seconds, log_e, sure, sends) in stream {
            let case = format!("{id} at {now_s}");
            let records: Vec<PairRecord> = seconds.iter().flat_map(|second| pairs(second)).collect();
            let (next, judgement) = PairState::step(state, burst, &records, now_s);
            state = next;
            assert_close(judgement.log_e, log_e, &format!("{case}, log_e"));
            assert_close(judgement.sure, sure, &format!("{case}, sure"));
            assert_eq!(judgement.sends_burst.is_some(), sends == 1, "{case}, burst");
            assert_eq!(
                judgement.sends_burst,
                judgement.sends_burst.map(|_| state.bursts),
                "{case}, number of the burst"
            );
            assert_eq!(judgement.rolls_back, decided.is_some_and(|at_s| at_s <= now_s), "{case}, rollback");
            assert_eq!(state.check(), Ok(()), "{case}");
            decided_at = decided_at.or(judgement.rolls_back.then_some(now_s));
            polls += 1;
        }
        assert_eq!(decided_at, decided, "{id}");
        assert_eq!(state.rolled_back_s, decided, "{id}");
    }
    assert_eq!((streams().len(), polls), (62, 2058));
}

#[test]
fn the_order_within_a_poll_and_a_repeated_poll_change_nothing() {
    for Stream { id, burst, polls, .. } in streams() {
        let (mut state, mut other) = (PairState::begin(), PairState::begin());
        for Poll(now_s, seconds, ..) in polls {
            let mut records: Vec<PairRecord> = seconds.iter().flat_map(|second| pairs(second)).collect();
            let (next, expected) = PairState::step(state, burst, &records, now_s);
            records.reverse();
            let (next_other, found) = PairState::step(other, burst, &records, now_s);
            assert_eq!((&found, &next_other), (&expected, &next), "{id} at {now_s}: reversed");
            let (again, repeated) = PairState::step(next_other.clone(), burst, &records, now_s);
            assert_eq!(again, next_other, "{id} at {now_s}: repeated");
            assert_eq!((repeated.log_e, repeated.rolls_back), (expected.log_e, expected.rolls_back), "{id} at {now_s}");
            assert_eq!(repeated.sends_burst, None, "{id} at {now_s}: a burst is sent once");
            (state, other) = (next, again);
        }
    }
}

/// What a simulated deployment meets.
#[derive(Clone, Copy)]
struct World {
    /// Environments of the canary.
    environments: usize,
    /// Chances that a call of the baseline and of the canary fails, by the second.
    fails: fn(u32) -> (f64, f64),
    /// Whether environment 0 of the canary is broken for two minutes.
    has_broken_one: bool,
    /// Whether the environments of failing calls are known.
    are_counted: bool,
}

impl World {
    /// The base pair of a second, and so many of a burst.
    fn pairs(&self, second: u32, burst: Option<u32>, random: &mut fastrand::Rng) -> Vec<PairRecord> {
        let (baseline_fails, canary_fails) = (self.fails)(second);
        // Calls of one moment run in different environments.
        let mut free: Vec<usize> = (0..self.environments).collect();
        random.shuffle(&mut free);
        let of = |fails| if fails { ProbeOutcome::Fail } else { ProbeOutcome::Ok };
        let size = burst.map_or(0, |_| usize::try_from(BURST).unwrap());
        let mut calls = free.into_iter().take(1 + size).map(|environment| {
            let is_broken = self.has_broken_one && environment == 0 && (40..160).contains(&second);
            (of(random.f64() < baseline_fails), of(random.f64() < canary_fails || is_broken))
        });
        let base = calls.next().unwrap();
        let in_burst: Vec<_> = calls.collect();
        // Each ran in an environment of its own.
        let failed = in_burst.iter().filter(|(_, canary)| *canary == ProbeOutcome::Fail).count();
        let environments = self.are_counted.then(|| u32::try_from(failed).unwrap());
        let mark = burst.map(|number| BurstMark { number, environments });
        let record = |(baseline, canary), burst| PairRecord { second, baseline, canary, burst };
        std::iter::once(record(base, None)).chain(in_burst.into_iter().map(|pair| record(pair, mark))).collect()
    }

    /// When each of so many seeded deployments is rolled back. A deployment has three minutes.
    fn rollbacks(&self, count: u64) -> Vec<Option<u32>> {
        (0..count).map(|seed| self.play(&mut fastrand::Rng::with_seed(seed))).collect()
    }

    /// A poll every 2 s, and every second while an episode is open.
    fn play(&self, random: &mut fastrand::Rng) -> Option<u32> {
        let (mut state, mut burst) = (PairState::begin(), None);
        let mut waiting = Vec::new();
        for second in 0..180 {
            waiting.extend(self.pairs(second, std::mem::take(&mut burst), random));
            let now_s = second + 1;
            if u64::from(now_s) % state.tick().as_secs() == 0 {
                let (next, judgement) = PairState::step(state, BURST, &std::mem::take(&mut waiting), now_s);
                (state, burst) = (next, judgement.sends_burst);
            }
        }
        state.rolled_back_s
    }
}

const BURST: u32 = 10;
const NOTHING: World = World { environments: 12, fails: |_| (0.0, 0.0), has_broken_one: false, are_counted: false };

#[test]
fn what_is_not_the_version_is_not_rolled_back() {
    const SHAKY: fn(u32) -> (f64, f64) = |second| if second / 5 % 2 == 0 { (0.5, 1.0) } else { (0.0, 0.02) };
    const INCIDENT: fn(u32) -> (f64, f64) = |second| if second / 60 == 1 { (1.0, 1.0) } else { (0.0, 0.0) };
    let table = [
        ("nothing", NOTHING),
        ("flaky, the new one more", World { fails: |_| (0.01, 0.03), ..NOTHING }),
        ("an incident, the new one twice as often", World { fails: |_| (0.4, 0.8), ..NOTHING }),
        ("a minute of total failure of both", World { fails: INCIDENT, ..NOTHING }),
        ("an incident that changes every 5 s", World { fails: SHAKY, ..NOTHING }),
        ("one of twelve environments is broken", World { has_broken_one: true, ..NOTHING }),
        (
            "one of eleven, and flaky",
            World { has_broken_one: true, environments: 11, fails: |_| (0.02, 0.02), ..NOTHING },
        ),
    ];
    for (case, world) in table {
        for are_counted in [false, true] {
            let rolled_back = World { are_counted, ..world }.rollbacks(500).into_iter().flatten().count();
            assert_eq!(rolled_back, 0, "{case}, environments counted: {are_counted}");
        }
    }
}

#[test]
fn a_fault_is_found_in_seconds() {
    const TOTAL: fn(u32) -> (f64, f64) = |second| (0.0, if second < 61 { 0.0 } else { 1.0 });
    const HALF: fn(u32) -> (f64, f64) = |second| (0.0, if second < 61 { 0.0 } else { 0.5 });
    // (case, world, median and 95th percentile of the seconds from the first bad one to the decision, at most)
    let table = [
        ("all calls fail", World { fails: TOTAL, ..NOTHING }, 9, 10),
        ("all calls fail from the start", World { fails: |_| (0.0, 1.0), ..NOTHING }, 15, 16),
        ("half of them, environments counted", World { fails: HALF, are_counted: true, ..NOTHING }, 15, 22),
    ];
    for (case, world, median, late) in table {
        let began_s = (0..180).find(|second| (world.fails)(*second).1 > 0.0).unwrap();
        let mut delays: Vec<u32> = world.rollbacks(500).into_iter().map(|at_s| at_s.unwrap_or(999) - began_s).collect();
        delays.sort_unstable();
        assert!(delays[250] <= median && delays[475] <= late, "{case}: {} and {} s", delays[250], delays[475]);
    }
}
