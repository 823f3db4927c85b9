//! What holds whatever comes.

use super::*;
use crate::share::MAX_COUNT;
use proptest::prelude::*;

/// SplitMix64 (Steele, Lea and Flood 2014): a seed replays a run exactly.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn chance(&mut self) -> f64 {
        bucket::number(self.next() >> 11) / bucket::number(1 << 53)
    }

    fn binomial(&mut self, all: u64, rate: f64) -> Share {
        let bad = (0..all).filter(|_| self.chance() < rate).count();
        Share::new(u64::try_from(bad).unwrap(), all).unwrap()
    }
}

/// Deployments of 20 minutes with 200 requests a minute and version.
struct Simulated {
    /// Share that was rolled back.
    rolled_back: f64,
    /// Share in which the capital that the error metric began with grew to 1/α at any time.
    ruined: f64,
    /// That capital at the end, on average.
    capital: f64,
}

fn simulate(runs: u64, schedule: &TrafficSchedule, baseline_rate: f64, canary_rate: f64) -> Simulated {
    let settings = DetectorSettings::default_method();
    let stake = settings.rates[0].weight.ln();
    let mut sums = Simulated { rolled_back: 0.0, ruined: 0.0, capital: 0.0 };
    for seed in 0..runs {
        let mut random = Seeded(seed);
        let mut draw = |rate| Counts { e5: Some(random.binomial(200, rate)), ..Counts::of_requests(200) };
        let past: Vec<BucketRecord> = (-60..0).map(|slot| version(Side::Baseline, slot, draw(baseline_rate))).collect();
        let mut state = State::begin(&settings, schedule, NONE, 3600.0, &past, None);
        let (mut highest, mut capital, mut verdict) = (0.0_f64, 0.0, Verdict::Continue);
        for slot in 0..20 {
            let mut records = vec![version(Side::Canary, slot, draw(canary_rate))];
            if schedule.weight(bucket::seconds(slot * 60)) < 1.0 {
                records.push(version(Side::Baseline, slot, draw(baseline_rate)));
            }
            let (next, judgement) = State::step(&settings, schedule, state, &records, bucket::seconds(slot * 60 + 90));
            let errors = judgement.evidence.iter().find(|evidence| evidence.metric == Metric::E5);
            capital = (errors.and_then(|evidence| evidence.log_e).unwrap() - stake).exp();
            (state, highest, verdict) = (next, highest.max(capital), judgement.verdict);
        }
        sums.rolled_back += f64::from(u8::from(verdict == Verdict::Rollback));
        sums.ruined += f64::from(u8::from(highest >= 1.0 / settings.alpha));
        sums.capital += capital;
    }
    let runs = bucket::number(runs);
    Simulated { rolled_back: sums.rolled_back / runs, ruined: sums.ruined / runs, capital: sums.capital / runs }
}

#[test]
fn at_the_edge_of_no_change_evidence_keeps_to_villes_bound() {
    let beside = TrafficSchedule::new(60, vec![(0.0, 0.5)], 1200.0, 120.0).unwrap();
    let alone = TrafficSchedule::new(60, vec![(0.0, 1.0)], 1200.0, 120.0).unwrap();
    // Of 1 %: side by side 1 % * 1.04 + 0.01 points, before and after 1 % * 1.15 + 0.02 points.
    for (case, schedule, edge) in [("side by side", beside, 0.0105), ("before and after", alone, 0.0117)] {
        let (runs, alpha) = (1000, 0.01_f64);
        let found = simulate(runs, &schedule, 0.01, edge);
        let bound = alpha + 3.0 * (alpha * (1.0 - alpha) / bucket::number(runs)).sqrt();
        assert!(found.ruined <= bound, "{case}: {} reached 1/alpha, at most {bound} may", found.ruined);
        assert!(found.rolled_back <= found.ruined, "{case}: {} rolled back", found.rolled_back);
        // The past is only known by what was counted of it; given the total, nothing is estimated.
        let is_exact = case == "side by side";
        assert!(
            !is_exact || found.capital <= 1.0,
            "capital {} on average, a supermartingale has at most 1",
            found.capital
        );
    }
}

#[test]
fn much_worse_versions_are_found() {
    let found = simulate(200, &schedule(), 0.01, 0.08);
    assert!(found.rolled_back >= 0.99, "eight times the errors: {} rolled back", found.rolled_back);
}

fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0_u64..5, 0_u64..2000, Just(MAX_COUNT), Just(u64::MAX)]
}

fn any_share() -> impl Strategy<Value = Share> {
    (any_count(), any_count()).prop_map(|(a, b)| Share::new(a.min(b).min(MAX_COUNT), a.max(b).min(MAX_COUNT)).unwrap())
}

fn any_latencies() -> impl Strategy<Value = Option<Latencies>> {
    // The fields are public, so nonsense can get here.
    let tail = || prop::array::uniform4(prop::option::of(any_count()));
    prop::option::of((any_count(), prop::array::uniform7(any_count()), tail(), tail()))
        .prop_map(|latencies| latencies.map(|(all, body, q90, q99)| Latencies { all, body, q90, q99 }))
}

fn any_counts() -> impl Strategy<Value = Counts> {
    let share = || prop::option::of(any_share());
    (any_count(), (share(), share(), share()), any_latencies()).prop_map(|(requests, (e5, tx, e4), latencies)| Counts {
        requests,
        e5,
        tx,
        e4,
        latencies,
    })
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Baseline), Just(Side::Canary)]
}

fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        4 => (any_side(), any_counts()).prop_map(|(side, counts)| Reading::Version(side, counts)),
        1 => any_count().prop_map(Reading::Front),
        1 => any_share().prop_map(Reading::Peer),
        2 => (any_side(), any_share()).prop_map(|(side, share)| Reading::Probe(side, share)),
    ]
}

fn any_record() -> impl Strategy<Value = BucketRecord> {
    let start = prop_oneof![-4000_i64..0, 0_i64..1300, Just(i64::MIN), Just(i64::MAX)];
    (start, any_reading()).prop_map(|(start_s, reading)| BucketRecord { start_s, reading })
}

fn any_poll() -> impl Strategy<Value = Vec<BucketRecord>> {
    prop::collection::vec(any_record(), 0..12)
}

fn any_time() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-200_i32..2000).prop_map(f64::from),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(1e300),
    ]
}

fn any_witnesses() -> impl Strategy<Value = Witnesses> {
    any::<[bool; 4]>().prop_map(|[front, peer, probe, pair]| Witnesses { front, peer, probe, pair })
}

fn any_shape() -> impl Strategy<Value = Option<LatencyShape>> {
    prop_oneof![Just(None), Just(Some(SHAPE)), Just(Some(LatencyShape::UNKNOWN))]
}

fn any_schedule() -> impl Strategy<Value = TrafficSchedule> {
    let bucket = prop_oneof![Just(1_u32), Just(10), Just(60), Just(300), 1_u32..3600];
    (bucket, prop::collection::vec((0_u32..1000, 0_u32..=10), 1..6), 0_u32..2000).prop_map(
        |(bucket_s, mut steps, end)| {
            steps.sort_unstable();
            let steps = steps.into_iter().map(|(at, weight)| (f64::from(at), f64::from(weight) / 10.0)).collect();
            TrafficSchedule::new(bucket_s, steps, f64::from(end), 120.0).unwrap()
        },
    )
}

/// What a record is of, in buckets of a minute: of two alike the first one counts.
fn key(record: &BucketRecord) -> (i64, u8) {
    let kind = match record.reading {
        Reading::Version(Side::Baseline, _) => 0,
        Reading::Version(Side::Canary, _) => 1,
        Reading::Front(_) => 2,
        Reading::Peer(_) => 3,
        Reading::Probe(Side::Baseline, _) => 4,
        Reading::Probe(Side::Canary, _) => 5,
    };
    (record.start_s.div_euclid(60), kind)
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics_and_no_verdict_rests_on_a_nan(
        (schedule, witnesses, shape) in (any_schedule(), any_witnesses(), any_shape()),
        history in any_poll(),
        polls in prop::collection::vec((any_poll(), any_time()), 0..8),
    ) {
        let settings = DetectorSettings::default_method();
        let mut state = State::begin(&settings, &schedule, witnesses, 3600.0, &history, shape.as_ref());
        for (records, now_s) in polls {
            let was_rolled_back = state.rolled_back;
            let (next, judgement) = State::step(&settings, &schedule, state, &records, now_s);
            prop_assert_eq!(next.check(), Ok(()));
            let values = judgement.evidence.iter().map(|evidence| evidence.log_e).chain([judgement.log_e]);
            prop_assert!(values.flatten().all(f64::is_finite), "{:?}", judgement);
            prop_assert_eq!(judgement.verdict == Verdict::Rollback, judgement.reason.is_some());
            prop_assert!(was_rolled_back.is_none() || judgement.reason == was_rolled_back, "a rollback stays");
            prop_assert_ne!(State::finish(&settings, &next).verdict, Verdict::Continue);
            prop_assert!(next.half_seen.len() <= HALF_SEEN_MAX);
            prop_assert!(!next.notes.iter().any(|advice| next.notes.iter().filter(|other| *other == advice).count() > 1));
            state = next;
        }
    }

    #[test]
    fn the_order_within_a_poll_does_not_matter(
        witnesses in any_witnesses(),
        history in any_poll(),
        first in any_poll(),
        second in any_poll(),
        seed in any::<u64>(),
    ) {
        let settings = DetectorSettings::default_method();
        let once = |records: &[BucketRecord]| {
            let mut seen = std::collections::BTreeSet::new();
            records.iter().filter(|record| seen.insert(key(record))).copied().collect::<Vec<_>>()
        };
        let shuffled = |records: &[BucketRecord]| {
            let mut random = Seeded(seed);
            let mut keyed: Vec<(u64, BucketRecord)> =
                once(records).into_iter().map(|record| (random.next(), record)).collect();
            keyed.sort_by_key(|(key, _)| *key);
            keyed.into_iter().map(|(_, record)| record).collect::<Vec<_>>()
        };
        let run = |order: &dyn Fn(&[BucketRecord]) -> Vec<BucketRecord>| {
            let state = State::begin(&settings, &schedule(), witnesses, 3600.0, &order(&history), Some(&SHAPE));
            let (state, one) = State::step(&settings, &schedule(), state, &order(&first), 700.0);
            let (state, two) = State::step(&settings, &schedule(), state, &order(&second), 1000.0);
            (state, one, two)
        };
        prop_assert_eq!(run(&once), run(&shuffled));
    }

    #[test]
    fn a_repeated_poll_changes_nothing(
        witnesses in any_witnesses(),
        history in any_poll(),
        polls in prop::collection::vec(any_poll(), 1..6),
    ) {
        let settings = DetectorSettings::default_method();
        let mut state = State::begin(&settings, &schedule(), witnesses, 3600.0, &history, Some(&SHAPE));
        for (records, now_s) in polls.into_iter().zip([60.0, 200.0, 500.0, 900.0, 1200.0, 1320.0]) {
            let (once, judgement) = State::step(&settings, &schedule(), state, &records, now_s);
            let repeat = |state: State| State::step(&settings, &schedule(), state, &records, now_s);
            let (mut twice, mut again) = repeat(once.clone());
            // Only the silence of other buckets may be told one poll later, when one that was used shows that there is traffic.
            if !once.notes.contains(&Note::NoRecord) {
                twice.notes.retain(|advice| *advice != Note::NoRecord);
                again.notes.retain(|advice| *advice != Note::NoRecord);
            }
            prop_assert_eq!(&twice, &once);
            prop_assert_eq!(again, judgement);
            state = once;
        }
    }
}
