//! What must always hold of the pairs, whatever comes.

use super::*;
use ProbeOutcome::{Fail, Ok, Slow, Unknown};
use proptest::prelude::*;

const SIZE: u32 = 10;

fn pair(second: u32, baseline: ProbeOutcome, canary: ProbeOutcome) -> PairRecord {
    PairRecord { second, baseline, canary, burst: None }
}

fn burst_of(
    second: u32,
    number: u32,
    environments: Option<u32>,
    pairs: &[(ProbeOutcome, ProbeOutcome)],
) -> Vec<PairRecord> {
    let burst = Some(BurstMark { number, environments });
    pairs.iter().map(|(baseline, canary)| PairRecord { second, baseline: *baseline, canary: *canary, burst }).collect()
}

/// One poll a second over `records`, from the first to the last second, and one more.
fn play(state: PairState, records: &[PairRecord]) -> (PairState, PairJudgement) {
    let last = records.iter().map(|record| record.second).max().unwrap();
    let first = records.iter().map(|record| record.second).min().unwrap();
    let mut state = state;
    let mut judgement = None;
    for now_s in first..=last + 1 {
        let new: Vec<PairRecord> = records.iter().filter(|record| record.second + 1 == now_s).copied().collect();
        let (next, said) = PairState::step(state, SIZE, &new, now_s);
        (state, judgement) = (next, Some(said));
    }
    (state, judgement.unwrap())
}

/// A total fault from second 15 on, three bursts included: decided at 23.
fn total_fault(environments: Option<u32>) -> Vec<PairRecord> {
    let mut records: Vec<PairRecord> = (0..15).map(|second| pair(second, Ok, Ok)).collect();
    records.extend((15..23).map(|second| pair(second, Ok, Fail)));
    for (number, second) in [(1, 18), (2, 20), (3, 22)] {
        records.extend(burst_of(second, number, environments, &[(Ok, Fail); 10]));
    }
    records
}

fn is_close(found: Option<f64>, expected: f64, case: &str) {
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{case}: {found:?}, expected {expected}");
}

#[test]
fn a_total_fault_by_hand() {
    let records = total_fault(None);
    let until = |second| records.iter().filter(|record| record.second <= second).copied().collect::<Vec<_>>();
    let (state, judgement) = play(PairState::begin(), &until(15));
    assert_eq!((judgement.log_e, judgement.sure, state.is_suspicious()), (None, None, false), "one failure is nothing");
    // The second failure opens the first episode: half of .04 of the capital.
    let (_, judgement) = play(PairState::begin(), &until(16));
    is_close(judgement.log_e, 0.02_f64.ln(), "opened");
    is_close(judgement.sure, 0.0, "opened");
    let (_, judgement) = play(PairState::begin(), &until(17));
    is_close(judgement.log_e, 0.02_f64.ln(), "17 is within the two seconds that prove nothing");
    // Eleven failures alone: 6.688 and 5.115, cut to 4, and 3.542.
    let (_, judgement) = play(PairState::begin(), &until(18));
    is_close(judgement.log_e, 0.02_f64.ln() + (0.8 * 4.0_f64.exp() + 0.2 * 3.542_f64.exp()).ln(), "a burst");
    is_close(judgement.sure, 3.0, "a burst");
    let (state, judgement) = play(PairState::begin(), &records);
    assert!(judgement.rolls_back, "{judgement:?}");
    assert_eq!((state.rolled_back_s, judgement.advice.as_slice()), (Some(23), [].as_slice()));
    let (later, judgement) = PairState::step(state.clone(), SIZE, &[pair(30, Fail, Ok)], 31);
    assert_eq!((later, judgement.rolls_back), (state, true), "it stays, and nothing more is used");
}

#[test]
fn what_an_episode_says_to_people() {
    let fault = |environments| play(PairState::begin(), &total_fault(environments)).0;
    let mut uneven = fault(Some(7));
    if let Some(episode) = &mut uneven.episode {
        episode.totals.bursts = 5;
        episode.totals.last_bursts[2].all = 11;
    }
    let begun = play(PairState::begin(), &[pair(20, Ok, Fail), pair(21, Ok, Fail), pair(22, Fail, Ok)]).0;
    let table = [
        (PairState::begin(), None),
        (begun, Some("new version failed 1 of 2 pairs in 1 s, old 1")),
        (fault(None), Some("new version failed 37 of 37 pairs in 7 s, old 0; 3 bursts: 10, 10, 10 of 10 failed")),
        (
            fault(Some(7)),
            Some(
                "new version failed 37 of 37 pairs in 7 s, old 0; 3 bursts: 10, 10, 10 of 10 failed, in at least 7 \
                 environments",
            ),
        ),
        (
            uneven,
            Some(
                "new version failed 37 of 37 pairs in 7 s, old 0; last 3 of 5 bursts: 10 of 10, 10 of 10, 10 of 11 \
                 failed, in at least 7 environments",
            ),
        ),
    ];
    for (state, expected) in table {
        assert_eq!(state.sentence().as_deref(), expected);
    }
}

#[test]
fn what_was_seen_and_may_not_roll_back_is_advice() {
    let pairs = |from: u32, to: u32, baseline, canary| (from..to).map(move |second| pair(second, baseline, canary));
    let good = || pairs(0, 20, Ok, Ok);
    let one_environment = (0..10).flat_map(|index| {
        let mut answers = [(Ok, Ok); 10];
        answers[0].1 = Fail;
        burst_of(23 + 2 * index, index + 1, None, &answers)
    });
    let advice = |records: Vec<PairRecord>| play(PairState::begin(), &records).1.advice;
    // (case, records, advice)
    let table = [
        ("nothing is wrong", good().collect(), vec![]),
        ("a suspicion alone", good().chain(pairs(20, 22, Ok, Fail)).collect(), vec![]),
        ("without a burst", good().chain(pairs(20, 40, Ok, Fail)).collect(), vec![PairAdvice::OneEnvironment]),
        ("bursts hardly fail", good().chain(one_environment).chain(pairs(20, 24, Ok, Fail)).collect(), vec![]),
        (
            "the baseline fails too",
            good().chain(pairs(20, 22, Ok, Fail)).chain(pairs(22, 26, Fail, Fail)).collect(),
            vec![PairAdvice::OthersFail],
        ),
        ("an incident without a suspicion", good().chain(pairs(20, 26, Fail, Fail)).collect(), vec![]),
        ("nothing is scored", pairs(0, 66, Ok, Slow).collect(), vec![PairAdvice::Blind]),
        (
            "one in four is scored",
            (0..70).flat_map(|s| pairs(s, s + 1, Ok, if s % 4 == 0 { Ok } else { Unknown })).collect(),
            vec![PairAdvice::Blind],
        ),
        (
            "one in two is scored",
            (0..70).flat_map(|s| pairs(s, s + 1, Ok, if s % 2 == 0 { Ok } else { Unknown })).collect(),
            vec![],
        ),
    ];
    for (case, records, expected) in table {
        assert_eq!(advice(records), expected, "{case}");
    }
    let codes: Vec<&str> = PairAdvice::ALL.iter().map(|advice| advice.code()).collect();
    assert_eq!(codes, ["pair:one-environment", "pair:others-fail", "pair:blind"]);
}

/// Everything that a rollback needs, but the baseline has just failed.
fn vetoed() -> PairState {
    let (mut state, _) = play(PairState::begin(), &total_fault(None));
    state.rolled_back_s = None;
    state.baseline_bad = 0.1 * state.baseline_all + 1.0;
    state
}

/// Everything that a rollback needs, just so.
fn just_proven() -> PairState {
    let mut state = PairState { baseline_all: 10.0, baseline_bad: 1.77, ..vetoed() };
    if let Some(episode) = &mut state.episode {
        episode.log_capital = [(1.0 / 4e-4_f64).ln() + 1e-9; 3];
        episode.several = [7.0 + 1e-9; 3];
        (episode.failures, episode.bad_seconds, episode.opened_s) = (6, 3, episode.last_failed_s - 3);
    }
    state
}

#[test]
fn a_rollback_needs_everything() {
    let in_episode = |change: &dyn Fn(&mut Episode)| {
        let mut state = just_proven();
        state.episode.as_mut().into_iter().for_each(change);
        state
    };
    // (case, state, rolls back)
    let table = [
        ("all there", just_proven(), true),
        (
            "not enough evidence",
            in_episode(&|episode| episode.log_capital = episode.log_capital.map(|s| s - 2e-9)),
            false,
        ),
        ("one stake has it all", in_episode(&|episode| episode.log_capital = [9.0, 0.0, 0.0]), true),
        ("not sure", in_episode(&|episode| episode.several = [7.0 - 1e-9; 3]), false),
        ("the baseline is not quiet", PairState { baseline_bad: 1.79, ..just_proven() }, false),
        ("too few failures", in_episode(&|episode| episode.failures = 5), false),
        ("in too few seconds", in_episode(&|episode| episode.bad_seconds = 2), false),
        ("too close together", in_episode(&|episode| episode.opened_s += 1), false),
        ("the episode is closed", in_episode(&|episode| episode.is_open = false), false),
    ];
    for (case, state, rolls_back) in table {
        // A pair that is not scored: it adds one good answer of the baseline, which now must have failed 1.78 times at most.
        let (_, judgement) = PairState::step(state, SIZE, &[pair(23, Ok, Slow)], 24);
        assert_eq!(judgement.rolls_back, rolls_back, "{case}: {judgement:?}");
    }
}

#[test]
fn silence_never_lifts_the_veto() {
    let mut state = vetoed();
    assert!(!state.is_quiet());
    for second in 23..40 {
        let (next, judgement) = PairState::step(state, SIZE, &[pair(second, Unknown, Unknown)], second + 1);
        assert!(!judgement.rolls_back, "at {second}: only time has passed");
        state = next;
    }
    assert!(state.is_quiet() && state.is_suspicious(), "the failures of the baseline are long ago");
    let (_, judgement) = PairState::step(state, SIZE, &[], 41);
    assert!(!judgement.rolls_back, "silence");
    let (_, judgement) =
        PairState::step(vetoed(), SIZE, &(23..28).map(|t| pair(t, Ok, Unknown)).collect::<Vec<_>>(), 28);
    assert!(judgement.rolls_back, "the baseline has answered since: {judgement:?}");
}

#[test]
fn what_cannot_be_is_no_record() {
    let fault = total_fault(Some(10));
    let (expected, _) = play(PairState::begin(), &fault);
    // (case, records beside those of the fault, of second 22)
    let table = [
        ("a second that is not reached", vec![pair(24, Fail, Ok), pair(u32::MAX, Fail, Ok)]),
        ("a second that was used", vec![pair(20, Fail, Ok), pair(0, Fail, Ok)]),
        ("more environments than pairs", burst_of(22, 4, Some(3), &[(Fail, Ok); 2])),
    ];
    for (case, wrong) in table {
        let until = |second| fault.iter().filter(|record| record.second < second).copied().collect::<Vec<_>>();
        let (state, _) = play(PairState::begin(), &until(22));
        let last = fault.iter().filter(|record| record.second == 22).copied().chain(wrong).collect::<Vec<_>>();
        let (state, _) = PairState::step(state, SIZE, &last, 23);
        assert_eq!(state, expected, "{case}");
    }
}

#[test]
fn a_lost_state_does_not_stake_the_capital_again() {
    let suspicion = [pair(20, Ok, Fail), pair(21, Ok, Fail)];
    // (episodes stored last, stake of the next one)
    for (stored, stake) in [(0, 1.0 / 6.0), (1, 1.0 / 12.0), (4, 1.0 / 42.0)] {
        let (state, judgement) = play(PairState::resumed(stored), &suspicion);
        assert_eq!(state.episodes, stored + 2);
        is_close(judgement.log_e, (WEIGHT * stake).ln(), &format!("after {stored}"));
    }
    let (state, judgement) = play(PairState::resumed(u32::MAX), &suspicion);
    assert!(judgement.log_e.is_some_and(f64::is_finite) && state.check().is_ok());
}

#[test]
fn bursts_are_rare_and_at_most_sixty() {
    let mut state = PairState::begin();
    let mut sent = Vec::new();
    // Both fail in turn: always suspicious, never proven.
    for second in 0..2000 {
        let canary = if second % 2 == 0 { Fail } else { Ok };
        let (next, judgement) = PairState::step(state, SIZE, &[pair(second, Ok, canary)], second + 1);
        sent.extend(judgement.sends_burst.map(|number| (number, second + 1)));
        state = next;
    }
    let times: Vec<u32> = sent.iter().map(|(_, at_s)| *at_s).collect();
    assert_eq!(sent.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=MAX_BURSTS).collect::<Vec<_>>());
    let gaps: Vec<u32> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps[..9].iter().all(|gap| *gap == 2) && gaps[9..].iter().all(|gap| *gap == 10), "{gaps:?}");
    let (_, judgement) = PairState::step(PairState::begin(), 0, &[pair(15, Ok, Fail), pair(16, Ok, Fail)], 18);
    assert_eq!(judgement.sends_burst, None, "none when bursts have no size");
}

#[test]
fn a_state_that_cannot_be_is_refused() {
    let sound = vetoed();
    assert_eq!(sound.check(), Result::Ok(()));
    assert_eq!(PairState::begin().check(), Result::Ok(()));
    let changed = |change: &dyn Fn(&mut PairState)| {
        let mut state = sound.clone();
        change(&mut state);
        state.check().map_err(|error| error.what)
    };
    let in_episode =
        |change: &dyn Fn(&mut Episode)| changed(&|state| state.episode.as_mut().into_iter().for_each(change));
    let table = [
        ("a sum is no amount", changed(&|state| state.canary_alone = f64::NAN)),
        ("a sum is no amount", changed(&|state| state.baseline_bad = -1.0)),
        ("the baseline failed more often than it was called", changed(&|state| state.baseline_all = 0.0)),
        ("too many bursts", changed(&|state| state.bursts = 61)),
        ("a burst was sent at no time", changed(&|state| (state.bursts, state.last_burst_s) = (3, None))),
        ("an episode is not counted", changed(&|state| state.episodes = 0)),
        (
            "rolled back without an open episode",
            changed(&|state| (state.episode, state.rolled_back_s) = (None, Some(9))),
        ),
        ("an episode has more bursts than there are", in_episode(&|episode| episode.bursts = 60)),
        ("an episode lies after the last second", changed(&|state| state.last_second = Some(3))),
        ("the evidence is no number", in_episode(&|episode| episode.several[1] = f64::INFINITY)),
        ("the evidence is no number", in_episode(&|episode| episode.log_capital[0] = f64::NAN)),
        ("an episode failed before it was opened", in_episode(&|episode| episode.opened_s = 23)),
        ("a burst was seen before its episode", in_episode(&|episode| episode.burst_seen_s = Some(1))),
        ("more bad seconds than failures", in_episode(&|episode| episode.failures = 1)),
        ("more failures than pairs", in_episode(&|episode| episode.totals.canary.bad = 99)),
    ];
    for (what, result) in table {
        assert_eq!(result, Err(what));
    }
}

fn any_outcome() -> impl Strategy<Value = ProbeOutcome> {
    prop_oneof![4 => Just(Ok), 4 => Just(Fail), 1 => Just(Slow), 1 => Just(Unknown)]
}

/// A second is close to the poll, or anything.
fn any_record() -> impl Strategy<Value = PairRecord> {
    let second = prop_oneof![20 => 0_u32..120, 1 => any::<u32>()];
    let environments = prop::option::of(prop_oneof![10 => 0_u32..12, 1 => any::<u32>()]);
    let burst = prop::option::of((0_u32..4, environments));
    (second, any_outcome(), any_outcome(), burst).prop_map(|(second, baseline, canary, burst)| {
        let burst = burst.map(|(number, environments)| BurstMark { number, environments });
        PairRecord { second, baseline, canary, burst }
    })
}

fn any_polls() -> impl Strategy<Value = Vec<(Vec<PairRecord>, u32)>> {
    let now = prop_oneof![10 => 0_u32..150, 1 => any::<u32>()];
    prop::collection::vec((prop::collection::vec(any_record(), 0..40), now), 0..12)
}

/// A base pair, then maybe a burst, in each second; mostly the canary alone fails.
fn any_course() -> impl Strategy<Value = Vec<(ProbeOutcome, ProbeOutcome, Option<[bool; 10]>)>> {
    let baseline = prop_oneof![12 => Just(Ok), 1 => Just(Fail), 1 => Just(Slow), 1 => Just(Unknown)];
    let canary = prop_oneof![12 => Just(Fail), 2 => Just(Ok), 1 => Just(Slow), 1 => Just(Unknown)];
    prop::collection::vec((baseline, canary, prop::option::weighted(0.7, prop::array::uniform10(any::<bool>()))), 1..80)
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics_and_evidence_is_a_number(polls in any_polls(), size in 0_u32..3, lost in any::<u32>()) {
        let mut state = if lost % 2 == 0 { PairState::begin() } else { PairState::resumed(lost) };
        for (records, now_s) in polls {
            let had_rolled_back = state.rolled_back_s;
            let (next, judgement) = PairState::step(state, size, &records, now_s);
            prop_assert_eq!(next.check(), Result::Ok(()));
            prop_assert!([judgement.log_e, judgement.sure].into_iter().flatten().all(f64::is_finite), "{:?}", judgement);
            prop_assert_eq!(judgement.log_e.is_some(), next.episode.is_some());
            prop_assert_eq!(judgement.rolls_back, next.rolled_back_s.is_some());
            prop_assert!(had_rolled_back.is_none() || next.rolled_back_s == had_rolled_back, "a rollback stays");
            prop_assert!(judgement.sends_burst.is_none() || (size > 0 && !judgement.rolls_back));
            let (again, repeated) = PairState::step(next.clone(), size, &records, now_s);
            prop_assert_eq!(&again, &next, "a repeated poll changes nothing");
            prop_assert_eq!(PairJudgement { sends_burst: None, ..judgement }, repeated);
            state = next;
        }
    }

    #[test]
    fn one_environment_alone_never_rolls_back(course in any_course(), is_counted in any::<bool>()) {
        let mut state = PairState::begin();
        for ((baseline, canary, burst), second) in course.into_iter().zip(12..) {
            let mut records = vec![pair(second, baseline, canary)];
            if let Some(fails) = burst {
                // It serves one call of a burst; or it is free again at once and takes more of them, which then is known.
                let most = if is_counted { fails.len() } else { 1 };
                let answers = fails.into_iter().scan(most, |left, fails| {
                    let fails = fails && *left > 0;
                    *left -= usize::from(fails);
                    Some((Ok, if fails { Fail } else { Ok }))
                });
                records.extend(burst_of(second, second, is_counted.then_some(1), &answers.collect::<Vec<_>>()));
            }
            let (next, judgement) = PairState::step(state, SIZE, &records, second + 1);
            prop_assert!(!judgement.rolls_back, "at {second}: {judgement:?}");
            prop_assert!(judgement.sure.is_none_or(|sure| sure <= 1e-9), "{judgement:?}");
            state = next;
        }
    }

    #[test]
    fn pairs_without_bursts_only_advise(course in any_course()) {
        let mut state = PairState::begin();
        for ((baseline, canary, _), second) in course.into_iter().zip(12..) {
            let (next, judgement) = PairState::step(state, 0, &[pair(second, baseline, canary)], second + 1);
            prop_assert!(!judgement.rolls_back && judgement.sends_burst.is_none(), "{judgement:?}");
            state = next;
        }
    }

    #[test]
    fn only_unknown_moves_nothing(polls in any_polls(), later in prop::collection::vec(1_u32..30, 1..10)) {
        let mut state = PairState::begin();
        for (records, now_s) in polls {
            state = PairState::step(state, SIZE, &records, now_s).0;
        }
        let mut second = state.last_second.unwrap_or(0);
        let before = state.judgement(None);
        for passed in later {
            second = second.saturating_add(passed);
            let episodes = state.episodes;
            let unknown: Vec<PairRecord> = std::iter::repeat_n(pair(second, Unknown, Unknown), 3).collect();
            let (next, judgement) = PairState::step(state, SIZE, &unknown, second);
            prop_assert_eq!((judgement.log_e, judgement.sure), (before.log_e, before.sure));
            prop_assert_eq!((judgement.rolls_back, next.episodes), (before.rolls_back, episodes));
            state = next;
        }
    }

    #[test]
    fn the_evidence_does_not_depend_on_how_often_one_polls(course in any_course(), every in 1_u32..6) {
        let records: Vec<Vec<PairRecord>> = course.into_iter().zip(12..).map(|((baseline, canary, burst), second)| {
            let answers: Vec<_> = burst.into_iter().flatten().map(|fails| (baseline, if fails { Fail } else { Ok })).collect();
            [vec![pair(second, baseline, canary)], burst_of(second, second, None, &answers)].concat()
        }).collect();
        let (mut often, mut rarely) = (PairState::begin(), PairState::begin());
        let mut waiting = Vec::new();
        for (new, second) in records.into_iter().zip(12..) {
            often = PairState::step(often, 0, &new, second + 1).0;
            waiting.extend(new);
            if second % every == 0 {
                rarely = PairState::step(rarely, 0, &std::mem::take(&mut waiting), second + 1).0;
                prop_assert!(rarely.rolled_back_s.is_none() || often.rolled_back_s.is_some(), "less is seen by looking less");
                if often.rolled_back_s.is_none() {
                    prop_assert_eq!(&often.episode, &rarely.episode);
                }
            }
        }
    }
}
