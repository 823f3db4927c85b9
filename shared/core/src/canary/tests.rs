//! What must always hold of the detector, whatever the traffic.

use super::*;
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

fn course() -> Course {
    Course::new(60, vec![(0.0, 0.5), (600.0, 1.0)], 1200.0, 120.0).unwrap()
}

fn record(side: Side, slot: i64, counts: Counts) -> BucketRecord {
    BucketRecord { side, start_s: slot * 60, counts }
}

fn errors(bad: u64, all: u64) -> Counts {
    Counts { e5: Some(Share::new(bad, all).unwrap()), ..Counts::of_requests(all) }
}

/// Every signal of `all` requests at the same count of bad ones.
fn everything(bad: u64, all: u64) -> Counts {
    let share = Some(Share::new(bad, all).unwrap());
    let slow = Some(Slow::new(all, [Some(bad); 4]).unwrap());
    Counts { requests: all, e5: share, tx: share, e4: share, slow: [slow; 3] }
}

fn history(counts: Counts) -> Vec<BucketRecord> {
    (-60..0).map(|slot| record(Side::Baseline, slot, counts)).collect()
}

fn begin(counts: Counts) -> State {
    State::begin(&Settings::default_method(), &course(), 3600.0, &history(counts))
}

/// Both versions' bucket, both records at once, a minute after it is over.
fn minute(state: State, slot: i64, baseline: Counts, canary: Counts) -> (State, Judgement) {
    let records = [record(Side::Baseline, slot, baseline), record(Side::Canary, slot, canary)];
    State::step(&Settings::default_method(), &course(), state, &records, bucket::seconds(slot * 60 + 120))
}

/// Ten minutes side by side with the same counts in each; stops at a rollback.
fn ten_minutes(usual: Counts, canary: Counts) -> Judgement {
    let mut state = begin(usual);
    let mut last = State::finish(&Settings::default_method(), &state);
    for slot in 0..10 {
        (state, last) = minute(state, slot, usual, canary);
    }
    last
}

fn of(judgement: &Judgement, metric: Metric) -> &MetricEvidence {
    judgement.evidence.iter().find(|evidence| evidence.metric == metric).unwrap()
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

fn simulate(runs: u64, course: &Course, baseline_rate: f64, canary_rate: f64) -> Simulated {
    let settings = Settings::default_method();
    let stake = settings.rates[0].weight.ln();
    let mut sums = Simulated { rolled_back: 0.0, ruined: 0.0, capital: 0.0 };
    for seed in 0..runs {
        let mut random = Seeded(seed);
        let mut draw = |rate| Counts { e5: Some(random.binomial(200, rate)), ..Counts::of_requests(200) };
        let past: Vec<BucketRecord> = (-60..0).map(|slot| record(Side::Baseline, slot, draw(baseline_rate))).collect();
        let mut state = State::begin(&settings, course, 3600.0, &past);
        let (mut highest, mut capital, mut verdict) = (0.0_f64, 0.0, Verdict::Continue);
        for slot in 0..20 {
            let mut records = vec![record(Side::Canary, slot, draw(canary_rate))];
            if course.weight(bucket::seconds(slot * 60)) < 1.0 {
                records.push(record(Side::Baseline, slot, draw(baseline_rate)));
            }
            let now_s = bucket::seconds(slot * 60 + 120);
            let (next, judgement) = State::step(&settings, course, state, &records, now_s);
            capital = (of(&judgement, Metric::E5).log_e.unwrap() - stake).exp();
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
fn at_the_edge_of_the_margin_evidence_keeps_to_villes_bound() {
    let all_at_once = Course::new(60, vec![(0.0, 1.0)], 1200.0, 120.0).unwrap();
    // Of 1 %: side by side 1 % * 1.2 + 0.05 points, before and after 1 % * 2 + 0.2 points.
    let table = [("side by side", course(), 0.0125), ("before and after", all_at_once, 0.022)];
    for (case, course, edge) in table {
        let (runs, alpha) = (3000, 0.05_f64);
        let found = simulate(runs, &course, 0.01, edge);
        let bound = alpha + 3.0 * (alpha * (1.0 - alpha) / bucket::number(runs)).sqrt();
        assert!(found.ruined <= bound, "{case}: {} reached 1/alpha, at most {bound} may", found.ruined);
        assert!(found.rolled_back <= found.ruined, "{case}: {} rolled back", found.rolled_back);
        assert!(found.capital <= 1.0, "{case}: capital {} on average, a supermartingale has at most 1", found.capital);
    }
}

#[test]
fn equal_versions_are_left_alone_and_much_worse_ones_are_not() {
    let equal = simulate(2000, &course(), 0.01, 0.01);
    assert!(equal.ruined <= 0.005, "equal: {} reached 1/alpha", equal.ruined);
    assert!(equal.capital < 0.5, "equal: capital {} on average", equal.capital);
    let worse = simulate(300, &course(), 0.01, 0.08);
    assert!(worse.rolled_back >= 0.99, "eight times the errors: {} rolled back", worse.rolled_back);
}

#[test]
fn scaling_both_sides_changes_no_clear_verdict() {
    for scale in [1, 3, 10, 100, 10_000, 1_000_000] {
        let equal = ten_minutes(everything(5 * scale, 1000 * scale), everything(5 * scale, 1000 * scale));
        assert_eq!(equal.verdict, Verdict::Continue, "equal, times {scale}");
        assert!(equal.log_e.unwrap() < 0.0, "equal, times {scale}: {:?}", equal.log_e);
        let worse = ten_minutes(errors(5 * scale, 1000 * scale), errors(100 * scale, 1000 * scale));
        assert_eq!((worse.verdict, worse.reason), (Verdict::Rollback, Some(Metric::E5)), "worse, times {scale}");
    }
}

#[test]
fn each_metric_is_found_by_name() {
    let usual = everything(20, 1000);
    let bad = Share::new(400, 1000).unwrap();
    let slow = Some(Slow::new(1000, [Some(400); 4]).unwrap());
    let [q50, q90, q99] = usual.slow;
    let table = [
        (Metric::E5, Counts { e5: Some(bad), ..usual }),
        (Metric::Tx, Counts { tx: Some(bad), ..usual }),
        (Metric::E4, Counts { e4: Some(bad), ..usual }),
        (Metric::Q50, Counts { slow: [slow, q90, q99], ..usual }),
        (Metric::Q90, Counts { slow: [q50, slow, q99], ..usual }),
        (Metric::Q99, Counts { slow: [q50, q90, slow], ..usual }),
        (Metric::Traffic, everything(0, 10)),
    ];
    for (metric, canary) in table {
        let judgement = ten_minutes(usual, canary);
        assert_eq!((judgement.verdict, judgement.reason), (Verdict::Rollback, Some(metric)), "{metric}");
        let evidence = of(&judgement, metric);
        assert_eq!(evidence.how, Some(Comparison::Concurrent), "{metric}");
        assert!(evidence.first_bad_s.is_some_and(|start_s| start_s <= 60), "{metric}: {evidence:?}");
    }
}

#[test]
fn the_first_bad_bucket_is_the_start_of_the_run() {
    let mut state = begin(errors(5, 1000));
    let mut judgement = None;
    for (slot, bad) in [(0, 5), (1, 12), (2, 5), (3, 5), (4, 100), (5, 100)] {
        let (next, judged) = minute(state, slot, errors(5, 1000), errors(bad, 1000));
        (state, judgement) = (next, Some(judged));
    }
    let judgement = judgement.unwrap();
    assert_eq!(judgement.verdict, Verdict::Rollback);
    let evidence = of(&judgement, Metric::E5);
    assert_eq!(evidence.first_bad_s, Some(240), "minute 1 was outweighed: {evidence:?}");
    assert_eq!(evidence.baseline, Total { bad: 30, all: 6000 });
    assert_eq!(evidence.canary, Total { bad: 227, all: 6000 });
}

#[test]
fn a_signal_that_is_not_measured_is_no_evidence_and_no_reference() {
    let usual = everything(5, 1000);
    let without = Counts { tx: None, ..usual };
    let mut state = begin(usual);
    let before = state.rates[1].clone();
    for slot in 0..5 {
        (state, _) = minute(state, slot, without, without);
    }
    let (_, judgement) = minute(state.clone(), 5, without, without);
    assert_eq!(of(&judgement, Metric::Tx).log_e, None);
    assert_eq!(state.rates[1].evidence, before.evidence);
    let (now, then) = (state.rates[1].reference, before.reference);
    assert_eq!((now.bad_long, now.all_long), (then.bad_long, then.all_long));
    assert!(of(&judgement, Metric::E5).log_e.is_some());
}

#[test]
fn a_signal_of_both_versions_together_is_compared_before_and_after() {
    // Transactions are measured for the service, not per version: the baseline's before, the canary's at full weight.
    let before = Counts { tx: Some(Share::new(3, 300).unwrap()), ..errors(1, 1000) };
    for (failed, verdict) in [(3, Verdict::Continue), (150, Verdict::Rollback)] {
        let mut state = begin(before);
        let mut last = State::finish(&Settings::default_method(), &state);
        for slot in 0..10 {
            (state, last) = minute(state, slot, errors(1, 1000), errors(1, 1000));
        }
        assert_eq!(of(&last, Metric::Tx).log_e, None, "never split by version");
        for slot in 10..20 {
            let after = Counts { tx: Some(Share::new(failed, 300).unwrap()), ..errors(1, 1000) };
            let now_s = bucket::seconds(slot * 60 + 70);
            let record = [record(Side::Canary, slot, after)];
            (state, last) = State::step(&Settings::default_method(), &course(), state, &record, now_s);
        }
        assert_eq!(last.verdict, verdict, "{failed} failed of 300");
        if verdict == Verdict::Rollback {
            assert_eq!(last.reason, Some(Metric::Tx));
            assert_eq!(of(&last, Metric::Tx).how, Some(Comparison::BeforeAfter));
            assert!(of(&last, Metric::Tx).first_bad_s >= Some(600));
        }
    }
}

#[test]
fn a_signal_that_the_baseline_never_had_is_not_judged_by_a_guess() {
    let mut state = begin(errors(1, 1000));
    let bad = Counts { tx: Some(Share::new(200, 300).unwrap()), ..errors(1, 1000) };
    let mut last = State::finish(&Settings::default_method(), &state);
    for slot in 0..20 {
        (state, last) = minute(state, slot, errors(1, 1000), bad);
    }
    assert_eq!(last.verdict, Verdict::Continue);
}

#[test]
fn silence_is_inconclusive_and_a_watched_deployment_passes() {
    let settings = Settings::default_method();
    let empty = State::begin(&settings, &course(), 0.0, &[]);
    assert_eq!(State::finish(&settings, &empty).verdict, Verdict::Inconclusive, "nothing at all");
    let (dark, judgement) = State::step(&settings, &course(), empty, &[], 1320.0);
    assert_eq!(judgement.verdict, Verdict::Continue, "no history, no records");
    assert_eq!(State::finish(&settings, &dark).verdict, Verdict::Inconclusive, "no records");
    let mut state = begin(errors(5, 1000));
    for slot in 0..10 {
        (state, _) = minute(state, slot, errors(5, 1000), errors(5, 1000));
    }
    assert_eq!(State::finish(&settings, &state).verdict, Verdict::Pass);
    state.forget_evidence();
    assert_eq!(State::finish(&settings, &state).verdict, Verdict::Inconclusive, "forgotten evidence is none");
}

#[test]
fn a_version_that_gets_no_requests_after_the_shift_is_found_in_the_dark() {
    let settings = Settings::default_method();
    let mut state = begin(errors(5, 1000));
    for slot in 0..10 {
        (state, _) = minute(state, slot, errors(5, 1000), errors(5, 1000));
    }
    let (_, judgement) = State::step(&settings, &course(), state, &[], 1320.0);
    assert_eq!((judgement.verdict, judgement.reason), (Verdict::Rollback, Some(Metric::Traffic)));
    assert_eq!(of(&judgement, Metric::Traffic).how, Some(Comparison::BeforeAfter));
}

#[test]
fn a_bucket_waits_for_its_other_half_as_long_as_the_grace() {
    let settings = Settings::default_method();
    let usual = errors(5, 1000);
    let lone = [record(Side::Baseline, 0, usual)];
    let (state, _) = State::step(&settings, &course(), begin(usual), &lone, 80.0);
    assert_eq!(state.half_seen.len(), 1);
    let (waiting, _) = State::step(&settings, &course(), state.clone(), &[], 169.0);
    assert!(!waiting.is_used(0), "grace is not over");
    let (over, judgement) = State::step(&settings, &course(), waiting.clone(), &[], 170.0);
    assert!(over.is_used(0) && over.half_seen.is_empty(), "used without the canary's record");
    assert_eq!(of(&judgement, Metric::E5).log_e, None, "no canary, no rates");
    let (whole, judgement) =
        State::step(&settings, &course(), waiting, &[record(Side::Canary, 0, errors(4, 900))], 169.0);
    assert!(whole.is_used(0));
    assert_eq!(of(&judgement, Metric::E5).canary, Total { bad: 4, all: 900 });
    let late = [record(Side::Canary, 0, errors(900, 900))];
    let (after, _) = State::step(&settings, &course(), over.clone(), &late, 170.0);
    assert_eq!(after, over, "a record of a used bucket is ignored");
}

#[test]
fn a_record_from_the_future_waits_until_it_is_due() {
    let settings = Settings::default_method();
    let usual = errors(5, 1000);
    let early = [record(Side::Baseline, 3, usual), record(Side::Canary, 3, usual)];
    let (state, _) = State::step(&settings, &course(), begin(usual), &early, 100.0);
    assert!(!state.is_used(3));
    let (state, _) = State::step(&settings, &course(), state, &[], 180.0);
    assert!(state.is_used(3), "both halves are there and it has begun");
    let far: Vec<BucketRecord> = (4..10_000).map(|slot| record(Side::Baseline, slot, usual)).collect();
    let (state, _) = State::step(&settings, &course(), state, &far, 240.0);
    assert!(state.half_seen.len() <= State::half_seen_max(&settings, 60), "{} are kept", state.half_seen.len());
}

#[test]
fn after_a_shared_incident_evidence_starts_anew_on_the_same_reference() {
    let usual = errors(5, 1000);
    let (mut state, judgement) = minute(begin(usual), 0, usual, errors(600, 1000));
    assert_eq!(judgement.verdict, Verdict::Rollback);
    let references: Vec<RateReference> = state.rates.iter().map(|rate| rate.reference).collect();
    state.forget_evidence();
    assert!(state.is_used(0));
    assert_eq!(references, state.rates.iter().map(|rate| rate.reference).collect::<Vec<_>>());
    let (_, judgement) = minute(state, 1, usual, usual);
    assert_eq!(judgement.verdict, Verdict::Continue);
    assert_eq!(of(&judgement, Metric::E5).canary, Total { bad: 5, all: 1000 });
}

#[test]
fn another_bucket_length_than_at_the_start_is_not_judged() {
    let settings = Settings::default_method();
    let state = begin(errors(5, 1000));
    let other = Course::new(10, vec![(0.0, 0.5)], 1200.0, 120.0).unwrap();
    let records = [record(Side::Baseline, 0, errors(5, 1000)), record(Side::Canary, 0, errors(999, 1000))];
    let (after, judgement) = State::step(&settings, &other, state.clone(), &records, 120.0);
    assert_eq!((after, judgement.verdict), (state, Verdict::Continue));
}

#[test]
fn a_stored_state_that_cannot_be_is_refused() {
    let settings = Settings::default_method();
    let (good, _) = minute(begin(errors(5, 1000)), 0, errors(5, 1000), errors(5, 1000));
    good.check(&settings).unwrap();
    let spoilt = |spoil: fn(&mut State)| {
        let mut state = good.clone();
        spoil(&mut state);
        state.check(&settings).unwrap_err().what
    };
    let half = HalfSeen { slot: 5, came_s: 0.0, baseline: None, canary: None };
    assert_eq!(spoilt(|state| state.bucket_s = 0), "a bucket has no length");
    assert_eq!(spoilt(|state| state.information = f64::NAN), "the information is no amount");
    assert_eq!(spoilt(|state| state.rates[3].reference.bad_long = -1.0), "a reference is no rate");
    assert_eq!(spoilt(|state| state.rates[3].reference.dispersion = 0.0), "a reference is no rate");
    assert_eq!(spoilt(|state| state.traffic.reference.lost_chance = 0.0), "the traffic's reference is no amount");
    assert_eq!(
        spoilt(|state| state.traffic.evidence.log_capital = Some(vec![0.0])),
        "the capital does not fit the settings"
    );
    assert_eq!(
        spoilt(|state| state.rates[0].evidence.log_capital = Some(vec![f64::NAN; 7])),
        "the evidence is no number"
    );
    assert_eq!(spoilt(|state| state.used_beyond = vec![7, 7]), "a list of buckets is out of order");
    assert_eq!(spoilt(|state| state.used_beyond = vec![0]), "a bucket is used twice");
    let mut state = good.clone();
    state.half_seen = vec![half; 100];
    assert_eq!(state.check(&settings).unwrap_err().what, "a list of buckets is too long");
}

fn any_count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0_u64..5, 0_u64..2000, Just(MAX_COUNT), Just(u64::MAX)]
}

fn any_share() -> impl Strategy<Value = Option<Share>> {
    (any_count(), any_count()).prop_map(|(a, b)| Share::new(a.min(b).min(MAX_COUNT), a.max(b).min(MAX_COUNT)).ok())
}

fn any_slow() -> impl Strategy<Value = Option<Slow>> {
    // The fields are public, so nonsense can get here.
    prop::option::of((any_count(), prop::array::uniform4(prop::option::of(any_count()))))
        .prop_map(|slow| slow.map(|(all, above)| Slow { all, above }))
}

fn any_counts() -> impl Strategy<Value = Counts> {
    let shares = (any_share(), any_share(), any_share());
    (any_count(), shares, prop::array::uniform3(any_slow())).prop_map(|(requests, (e5, tx, e4), slow)| Counts {
        requests,
        e5,
        tx,
        e4,
        slow,
    })
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Baseline), Just(Side::Canary)]
}

fn any_record() -> impl Strategy<Value = BucketRecord> {
    let start = prop_oneof![-4000_i64..0, 0_i64..1300, Just(i64::MIN), Just(i64::MAX)];
    (any_side(), start, any_counts()).prop_map(|(side, start_s, counts)| BucketRecord { side, start_s, counts })
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

fn any_course() -> impl Strategy<Value = Course> {
    let bucket = prop_oneof![Just(1_u32), Just(10), Just(60), Just(300), 1_u32..3600];
    (bucket, prop::collection::vec((0_u32..1000, 0_u32..=10), 1..6), 0_u32..2000).prop_map(
        |(bucket_s, mut steps, end)| {
            steps.sort_unstable();
            let steps = steps.into_iter().map(|(at, weight)| (f64::from(at), f64::from(weight) / 10.0)).collect();
            Course::new(bucket_s, steps, f64::from(end), 120.0).unwrap()
        },
    )
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics_and_no_verdict_rests_on_a_nan(
        course in any_course(),
        history in any_poll(),
        polls in prop::collection::vec((any_poll(), any_time()), 0..8),
    ) {
        let settings = Settings::default_method();
        let mut state = State::begin(&settings, &course, 3600.0, &history);
        for (records, now_s) in polls {
            let was_rolled_back = state.rolled_back;
            let (next, judgement) = State::step(&settings, &course, state, &records, now_s);
            prop_assert_eq!(next.check(&settings), Ok(()));
            let values = judgement.evidence.iter().map(|evidence| evidence.log_e).chain([judgement.log_e]);
            prop_assert!(values.flatten().all(f64::is_finite), "{:?}", judgement);
            prop_assert_eq!(judgement.verdict == Verdict::Rollback, judgement.reason.is_some());
            prop_assert!(was_rolled_back.is_none() || judgement.reason == was_rolled_back, "a rollback stays");
            prop_assert_ne!(State::finish(&settings, &next).verdict, Verdict::Continue);
            state = next;
        }
    }

    #[test]
    fn the_order_within_a_poll_does_not_matter(
        history in any_poll(),
        first in any_poll(),
        second in any_poll(),
        seed in any::<u64>(),
    ) {
        let settings = Settings::default_method();
        let shuffled = |records: &[BucketRecord]| {
            let mut random = Seeded(seed);
            let mut keyed: Vec<(u64, BucketRecord)> = records.iter().map(|record| (random.next(), *record)).collect();
            keyed.sort_by_key(|(key, _)| *key);
            keyed.into_iter().map(|(_, record)| record).collect::<Vec<_>>()
        };
        let run = |order: &dyn Fn(&[BucketRecord]) -> Vec<BucketRecord>| {
            let state = State::begin(&settings, &course(), 3600.0, &order(&history));
            let (state, one) = State::step(&settings, &course(), state, &order(&first), 700.0);
            let (state, two) = State::step(&settings, &course(), state, &order(&second), 1000.0);
            (state, one, two)
        };
        prop_assert_eq!(run(&<[BucketRecord]>::to_vec), run(&shuffled));
    }

    #[test]
    fn a_repeated_poll_changes_nothing(
        history in any_poll(),
        polls in prop::collection::vec(any_poll(), 1..6),
    ) {
        let settings = Settings::default_method();
        let mut state = State::begin(&settings, &course(), 3600.0, &history);
        for (records, now_s) in polls.into_iter().zip([60.0, 200.0, 500.0, 900.0, 1200.0, 1320.0]) {
            let (once, judgement) = State::step(&settings, &course(), state, &records, now_s);
            let (twice, again) = State::step(&settings, &course(), once.clone(), &records, now_s);
            prop_assert_eq!(&twice, &once);
            prop_assert_eq!(again, judgement);
            state = once;
        }
    }
}
