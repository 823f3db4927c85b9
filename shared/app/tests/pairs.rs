//! Pairs of probes beside traffic: the sweep calls both versions every second, and goes back within seconds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_app::ports::OwnMetric;
use snapback_app::sweep::{Memory, sweep};
use snapback_core::policy::{FastPolicy, PolicySettings};
use snapback_core::{Cause, DeploymentId, Mode, Outcome, Timestamp, Trigger};
use snapback_judge::detector::Note;
use snapback_judge::pairs::{FastPathOff, PairAdvice};
use snapback_testkit::{Direct, Fault, How, Play, Rules, World, at, block_on, broken_promises, policy};
use std::collections::BTreeMap;
use std::time::Duration;

/// Traffic begins to shift about five seconds after the world began, and all has moved five minutes later.
const SHIFT_S: u64 = 5;
const ALL_S: u64 = SHIFT_S + 300;
const END: u64 = 100_000;

/// Alarms alone judge, and pairs of one probe; a bake of five minutes.
fn fast() -> PolicySettings {
    let mut settings = policy();
    settings.before_traffic.probes.iter_mut().for_each(|probe| probe.is_repeatable = true);
    settings.fast = Some(FastPolicy { probes: vec!["invoke".to_owned()], burst: 10 });
    settings.bake = Duration::from_secs(300);
    settings
}

fn world(settings: PolicySettings) -> World {
    let world = World::new();
    world.set_policy(settings);
    world.set_traffic(20.0);
    world.set_group(|group| group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(300), 1.0)]);
    world
}

fn told(world: &World, id: &DeploymentId) -> Vec<String> {
    world.timeline(id).into_iter().map(|line| format!("{} {}", line.at, line.text)).collect()
}

/// Plays to the end; the promises must hold.
fn finish(world: &World, play: &mut Play<'_>, id: &DeploymentId) {
    assert!(play.until_quiet(Duration::from_secs(2 * 3600)), "{:#?}", told(world, id));
    let strict = Rules { in_time: true, may_notify_twice: false, may_fail_to_undo: false };
    assert_eq!(broken_promises(world, strict), Vec::<String>::new(), "{:#?}", told(world, id));
}

fn play(world: &World) -> DeploymentId {
    let id = world.deploy("2");
    finish(world, &mut Play::new(world), &id);
    id
}

fn notes(world: &World, id: &DeploymentId) -> Vec<Note> {
    world.record(id).unwrap().deployment.observation.notes
}

fn seconds_after(world: &World, id: &DeploymentId, from: Timestamp) -> f64 {
    let requested_at = world.record(id).unwrap().rollback.unwrap().requested_at.unwrap();
    requested_at.since(from).as_secs_f64()
}

#[test]
fn a_total_fault_is_undone_within_seconds() {
    let compared = |settings: &mut PolicySettings| {
        let against = snapback_core::policy::AgainstBaseline::new();
        settings.signals.get_mut(&snapback_core::Signal::Errors).unwrap().against_baseline = Some(against);
    };
    type Row = (&'static str, fn(&mut PolicySettings), Direct, u64, Outcome, f64);
    let table: [Row; 5] = [
        ("in the shift", |_| {}, Direct::Status(500), 100, Outcome::RolledBackInShift, 14.0),
        ("it crashes", |_| {}, Direct::Dies, 100, Outcome::RolledBackInShift, 14.0),
        ("in the bake", |_| {}, Direct::Status(500), ALL_S + 60, Outcome::RolledBackInBake, 14.0),
        // Until the record tells of the shift, and a new version may warm up for 10 s.
        ("from the shift on", |_| {}, Direct::Status(500), SHIFT_S, Outcome::RolledBackInShift, 45.0),
        ("beside a comparison", compared, Direct::Status(500), 100, Outcome::RolledBackInShift, 14.0),
    ];
    for (case, change, how, from_s, outcome, within_s) in table {
        let mut settings = fast();
        change(&mut settings);
        let world = world(settings);
        world.set_direct("2", at(from_s), at(END), how);
        let id = play(&world);
        assert_eq!(world.outcome(&id), Some(outcome), "{case}: {:#?}", told(&world, &id));
        let rollback = world.record(&id).unwrap().rollback.unwrap();
        assert_eq!((rollback.cause, rollback.trigger), (Cause::Errors, Trigger::Sweep), "{case}");
        let took_s = seconds_after(&world, &id, at(from_s));
        assert!(took_s <= within_s, "{case}: {took_s} s: {:#?}", told(&world, &id));
        let impact = rollback.impact_started_at.unwrap();
        assert!(impact.since(at(from_s)) <= Duration::from_secs(25), "{case}: {impact}");
        let why = rollback.why;
        assert!(why.contains("pairs in") && why.contains("old 0") && why.contains("probe `invoke`, last: "), "{why}");
    }
}

#[test]
fn what_is_no_fault_of_the_version_is_left_alone() {
    type Row = (&'static str, fn(&World), Option<Note>);
    let table: [Row; 8] = [
        ("healthy", |_| {}, None),
        (
            "little concurrency is reserved for the function",
            |w| {
                w.reserve_concurrency(39);
                w.set_direct("2", at(100), at(END), Direct::Status(500));
            },
            Some(Note::PairsOff(FastPathOff::LowConcurrency)),
        ),
        ("enough is reserved", |w| w.reserve_concurrency(40), None),
        (
            "one environment of the new version is broken",
            |w| w.set_direct("2", at(60), at(END), Direct::OneEnvironmentFails),
            Some(Note::Pair(PairAdvice::OneEnvironment)),
        ),
        (
            "both fail for a while",
            |w| ["1", "2"].into_iter().for_each(|of| w.set_direct(of, at(100), at(200), Direct::Status(500))),
            None,
        ),
        ("the new version hangs", |w| w.set_direct("2", at(100), at(200), Direct::Hangs), None),
        (
            "the calls are throttled",
            |w| ["1", "2"].into_iter().for_each(|of| w.set_direct(of, at(0), at(END), Direct::Throttled)),
            Some(Note::Pair(PairAdvice::Blind)),
        ),
        (
            "the old version fails its probe",
            |w| w.set_direct("1", at(0), at(END), Direct::Status(500)),
            Some(Note::PairsOff(FastPathOff::BaselineFails)),
        ),
    ];
    for (case, change, note) in table {
        let world = world(fast());
        change(&world);
        let id = play(&world);
        assert_eq!(world.outcome(&id), Some(Outcome::Promoted), "{case}: {:#?}", told(&world, &id));
        let notes = notes(&world, &id);
        assert!(note.is_none_or(|note| notes.contains(&note)), "{case}: {notes:?}");
        assert!(note.is_some() || notes.iter().all(|note| *note == Note::Pair(PairAdvice::Blind)), "{case}: {notes:?}");
    }
}

#[test]
fn hanging_calls_delay_no_tick() {
    let world = world(fast());
    ["1", "2"].into_iter().for_each(|of| world.set_direct(of, at(0), at(END), Direct::Hangs));
    let id = play(&world);
    assert_eq!(world.outcome(&id), Some(Outcome::Promoted), "{:#?}", told(&world, &id));
    let metrics = world.metrics();
    let beats: Vec<Timestamp> = metrics
        .iter()
        .filter(|(when, metric)| {
            *when >= at(60) && *when < at(ALL_S + 280) && matches!(metric, OwnMetric::Heartbeat { .. })
        })
        .map(|(when, _)| *when)
        .collect();
    let longest = beats.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap();
    assert!(longest <= Duration::from_secs(21), "{longest:?} without a heartbeat");
}

/// Calls of each version in one second, warm-ups aside: there is one pair.
fn most_in_a_second(world: &World, version: &str, from: Timestamp) -> usize {
    let mut by_second: BTreeMap<i64, usize> = BTreeMap::new();
    for call in world.direct_calls(version).into_iter().filter(|call| *call >= from) {
        *by_second.entry(call.ms() / 1000).or_default() += 1;
    }
    by_second.into_values().filter(|calls| *calls < 10).max().unwrap_or(0)
}

#[test]
fn one_pair_goes_out_in_a_second() {
    let world = world(fast());
    let id = play(&world);
    assert_eq!(world.outcome(&id), Some(Outcome::Promoted));
    let calls = ["1", "2"].map(|version| world.direct_calls(version).len());
    assert_eq!(calls[0], calls[1], "always both");
    // Ten minutes, less the seconds between two runs; six warm-ups of ten.
    assert!((500..=670).contains(&calls[1]), "{calls:?}");
    assert!(most_in_a_second(&world, "2", at(0)) <= 2);
}

#[test]
fn without_permission_nobody_is_called_or_nothing_is_done() {
    type Row = (&'static str, fn(&mut PolicySettings), bool, Option<Note>);
    let off = |reason| Some(Note::PairsOff(reason));
    let table: [Row; 4] = [
        ("observe", |s| s.mode = Mode::Observe, false, None),
        ("nobody asks for it", |s| s.fast = None, false, None),
        ("advise", |s| s.mode = Mode::Advise, true, off(FastPathOff::Advisory)),
        ("without bursts", |s| s.fast.as_mut().unwrap().burst = 0, true, Some(Note::Pair(PairAdvice::OneEnvironment))),
    ];
    for (case, change, calls, note) in table {
        let mut settings = fast();
        change(&mut settings);
        let world = world(settings);
        world.set_direct("2", at(100), at(END), Direct::Status(500));
        let id = play(&world);
        assert_eq!(world.outcome(&id), Some(Outcome::Promoted), "{case}: {:#?}", told(&world, &id));
        assert_eq!(!world.direct_calls("2").is_empty(), calls, "{case}");
        let notes = notes(&world, &id);
        assert!(note.is_none_or(|note| notes.contains(&note)), "{case}: {notes:?}");
        assert!(!calls || most_in_a_second(&world, "2", at(0)) <= 2, "{case}: no burst");
    }
}

#[test]
fn a_pause_stops_the_calls() {
    let world = world(fast());
    let id = world.deploy("2");
    let mut play = Play::new(&world);
    play.until(at(100));
    assert!(!world.direct_calls("2").is_empty());
    world.pause("*");
    play.until(at(160));
    let before = world.direct_calls("2").len();
    play.until(at(220));
    assert_eq!(world.direct_calls("2").len(), before);
    world.resume("*");
    finish(&world, &mut play, &id);
    assert!(world.direct_calls("2").len() > before);
    assert_eq!(world.decided_while_paused(), Vec::<String>::new());
}

#[test]
fn a_watcher_that_dies_in_an_episode_is_followed_by_one_that_goes_on() {
    // The next run begins so much later that the episode is over by then: the second one is opened.
    for (case, dies_s) in [("before the episode", 0), ("in the episode", 5)] {
        let world = world(fast());
        world.set_direct("2", at(100), at(END), Direct::Status(500));
        let id = world.deploy("2");
        let mut play = Play::new(&world);
        play.until(at(100 + dies_s));
        world.add_fault(Fault { at: world.calls() + 1, how: How::CrashBefore });
        play.until(at(100 + dies_s + 3));
        let pairs = world.analysis_of(&id).unwrap().pairs.unwrap();
        assert_eq!(pairs.state.is_suspicious(), dies_s > 0, "{case}: {pairs:?}");
        finish(&world, &mut play, &id);
        assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift), "{case}: {:#?}", told(&world, &id));
        let pairs = world.analysis_of(&id).unwrap().pairs.unwrap();
        assert_eq!(pairs.state.episodes, 2, "{case}");
        // The next run begins within a minute, and decides as fast as the first would have.
        let took_s = seconds_after(&world, &id, at(100));
        assert!(took_s < 80.0, "{case}: {took_s}");
    }
}

#[test]
fn another_process_goes_on_with_an_open_episode() {
    let world = world(fast());
    let id = world.deploy("2");
    Play::new(&world).without_sweep().until(at(20));
    world.set_direct("2", at(70), at(END), Direct::Status(500));
    block_on(&world, sweep(&world, "one", &mut Memory::default())).unwrap().unwrap();
    let state = world.analysis_of(&id).unwrap().pairs.unwrap().state;
    assert_eq!((state.is_suspicious(), state.episodes), (true, 1), "the run ended in an episode");
    world.advance_to(at(80));
    let mut play = Play::new(&world);
    play.start_sweeping();
    finish(&world, &mut play, &id);
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift), "{:#?}", told(&world, &id));
    assert_eq!(world.analysis_of(&id).unwrap().pairs.unwrap().state.episodes, 1);
    let took_s = seconds_after(&world, &id, at(70));
    assert!(took_s < 20.0, "five seconds of which nobody was there: {took_s}");
}

#[test]
fn a_decision_survives_whoever_made_it() {
    let world = world(fast());
    world.set_direct("2", at(100), at(END), Direct::Status(500));
    let id = world.deploy("2");
    let mut play = Play::new(&world);
    // The watcher dies right after it has stored that the pairs have decided.
    let mut until = 100.0;
    while world.analysis_of(&id).is_none_or(|stored| stored.pairs.unwrap().state.rolled_back_s.is_none()) {
        until += 0.01;
        play.until(at(0) + Duration::from_secs_f64(until));
        assert!(until < 130.0, "{:#?}", told(&world, &id));
    }
    assert!(world.record(&id).unwrap().rollback.is_none());
    world.add_fault(Fault { at: world.calls() + 1, how: How::CrashBefore });
    finish(&world, &mut play, &id);
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInShift), "{:#?}", told(&world, &id));
    assert!(seconds_after(&world, &id, at(100)) < 80.0);
}

#[test]
fn of_two_watchers_one_calls() {
    let world = world(fast());
    world.deploy("2");
    let mut play = Play::new(&world).without_sweep();
    play.until(at(20));
    let (mut one, mut other) = (Memory::default(), Memory::default());
    let both = async {
        let (one, other) = (sweep(&world, "one", &mut one), sweep(&world, "other", &mut other));
        futures_util::future::join(one, other).await
    };
    let (one, other) = block_on(&world, both).unwrap();
    assert_eq!((one.unwrap().ticks > 0, other.unwrap().ticks), (true, 0));
    assert!(world.direct_calls("2").len() > 40, "{}", world.direct_calls("2").len());
    assert!(most_in_a_second(&world, "2", at(0)) <= 2);
}
