use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use snapback_judge::analysis::{Beginning, Begun, JudgedPoll};
use snapback_judge::detector::{
    BucketRecord, Counts, DetectorValues, HALF_SEEN_MAX, Latencies, MAX_STEPS, Mix, RUNS_MAX, Reading, Said, Side,
    Tail, TrafficSchedule,
};
use snapback_judge::{MAX_COUNT, Share};

/// What DynamoDB allows for one item.
const MAX_ITEM: usize = 400_000;

fn id() -> DeploymentId {
    DeploymentId::parse("d-A1B2C3D4E").unwrap()
}

fn origin() -> Timestamp {
    Timestamp::from_ms(1_795_169_700_000)
}

/// One bucket of a busy service: every signal is measured, of `requests` requests.
fn busy(requests: u64) -> Counts {
    let share = Some(Share::new(requests / 2, requests).unwrap());
    let tail = [Some(requests); 4];
    let latencies = Some(Latencies::new(requests, [requests; 7], tail, tail).unwrap());
    Counts { requests, e5: share, tx: share, e4: share, latencies }
}

/// As the detector keeps it of one side.
fn trimmed(mut counts: Counts, side: Side) -> Counts {
    for tail in counts.latencies.iter_mut().flat_map(|latencies| [&mut latencies.q90, &mut latencies.q99]) {
        match side {
            Side::Baseline => *tail = [tail[0], None, None, None],
            Side::Canary => tail[0] = None,
        }
    }
    counts
}

fn tally() -> Tally {
    let total = Share { bad: 1 << 34, all: 1 << 35 };
    Tally {
        baseline: total,
        canary: total,
        alone: total,
        concurrent: 2.5,
        before_after: -0.5,
        run: 3.25,
        first_bad_s: Some(3_600),
    }
}

fn capital<const N: usize>() -> Capital<N> {
    let mix = Some([-1.25; N]);
    Capital { no_change: mix, margin: mix, early: mix, late: mix }
}

/// A detector that has seen everything there is, and has nothing left to wait for.
fn full_state(bucket_s: u32) -> State {
    let rate = |index: usize| RateState {
        reference: RateReference {
            bad_long: 0.125,
            all_long: 1e6,
            bad_short: 0.5,
            all_short: 1e5,
            peak: 0.001,
            dispersion: 1.5,
            is_measured: true,
        },
        capital: capital(),
        // Of e5 and tx only.
        gross: (index < 2).then_some([-2.5; 7]),
        tally: tally(),
    };
    let body = BodyState {
        reference: LatencyReference {
            usual: 0.5,
            slope: 0.4,
            variance: 1.5,
            drift: 1e-4,
            level: 0.01,
            doubt: 1e-3,
            absorbed: 0.25,
            peak: 0.04,
        },
        capital: capital(),
        difference: (12.5, 4_000.0),
        tally: tally(),
    };
    State {
        bucket_s,
        witnesses: Witnesses { front: true, peer: true, probe: true, pair: true },
        used: UsedBuckets { below: 300, beyond: vec![] },
        half_seen: vec![],
        rates: [0, 1, 2, 3, 4].map(rate),
        body: Some(body),
        traffic: TrafficState {
            reference: TrafficReference { level: 1e5, lost_chance: 0.01, per_front: 0.99, peer_rate: 1e-3 },
            capital: Some([-0.5; 3]),
            tally: tally(),
        },
        probe: ProbeState { capital: Some([0.5; 7]), tally: tally() },
        others: Others { peer_bad: 1.5, peer_all: 1e4, probe_bad: 0.5 },
        full: 2,
        information: 6.0,
        notes: Note::all().collect(),
        rolled_back: Some(Metric::Tx),
    }
}

/// The largest state: of all the buckets that it may wait for, all but one version's record came, and the rest was used with
/// gaps between.
fn largest_state(bucket_s: u32, counts: Counts) -> State {
    let mut state = full_state(bucket_s);
    let share = Some(Share { bad: counts.requests / 2, all: counts.requests });
    let gaps = (0_i64..).take(RUNS_MAX).map(|run| 400 + 4 * run);
    state.used.beyond = gaps.clone().map(|slot| slot..slot + 2).collect();
    let half_seen = gaps.take(HALF_SEEN_MAX).map(|slot| HalfSeen {
        slot: slot + 2,
        seen: Seen {
            baseline: None,
            canary: Some(trimmed(counts, Side::Canary)),
            front: Some(counts.requests),
            peer: share,
            probe_baseline: share,
            probe_canary: share,
        },
        came_s: [None, Some(3_700.125), Some(3_700.25), Some(3_710.5)],
        ready_s: Some(3_720.0),
    });
    state.half_seen = half_seen.collect();
    state
}

fn analysis(state: &State, counts: Counts, recent: usize) -> Analysis {
    let recent = (0_i64..).take(recent).map(|place| Recent {
        side: Side::Canary,
        start_s: 3_600 + place,
        seen_requests: Some(counts.requests),
        given: Some(counts),
    });
    Analysis {
        origin: origin(),
        thresholds: Some(Thresholds { body: [30, 40, 50, 55, 61, 66, 72], q90: 77, q99: 90 }),
        is_missing: Missing {
            requests: true,
            transactions: false,
            front: true,
            peers: [true, false, true, true, false],
        },
        has_pipeline: true,
        has_canary_series: false,
        pairs: None,
        enforcing: Some(state.clone()),
        advisory: Some(state.clone()),
        has_history: true,
        recent: recent.collect(),
        late: LateGrowth { baseline: Some(counts), canary: Some(counts) },
        burn: Burn { service: [Share { bad: 5.5, all: 1e6 }; 3], canary: [Share { bad: 4.5, all: 1e5 }; 3] },
        polled: 61,
        counted: 61,
        anew_from: Some(origin()),
        is_restarted: false,
    }
}

fn packed(item: &Item) -> String {
    item[attr::PACKED].as_str().unwrap().to_owned()
}

fn with_packed(text: &str) -> Item {
    let mut item = analysis_item(&id(), &analysis(&small_state(), busy(10), 2), 3);
    item.insert(attr::PACKED.to_owned(), text.into());
    item
}

fn small_state() -> State {
    largest_state(60, busy(10))
}

fn packed_len(state: &State) -> usize {
    let mut to = Packer::default();
    pack_state(&mut to, state);
    to.len()
}

#[test]
fn a_detector_is_two_and_a_half_kb() {
    let state = full_state(60);
    assert_eq!(state.check(), Ok(()), "it is a state that can be");
    let bytes = packed_len(&state);
    println!("a full state has {bytes} bytes");
    assert!(bytes < 2_600, "{bytes} bytes");
}

#[test]
fn the_state_stays_small_when_every_bucket_is_half_seen() {
    // 1.6 million requests in 10 s.
    let counts = busy(1_600_000);
    let state = largest_state(10, counts);
    assert_eq!(state.check(), Ok(()), "it is a state that can be");
    assert_eq!((state.half_seen.len(), state.used.beyond.len()), (HALF_SEEN_MAX, RUNS_MAX));
    let bytes = packed_len(&state);
    println!("the largest state has {bytes} bytes");
    assert!(bytes < 12_288, "{bytes} bytes");
}

#[test]
fn the_largest_item_is_far_from_the_limit() {
    // Sixteen million requests in the shortest buckets.
    let counts = busy(16_000_000);
    let item = analysis_item(&id(), &analysis(&largest_state(5, counts), counts, 512), u64::MAX);
    let bytes = serde_json::to_string(&item).unwrap().len();
    println!("the largest item has {bytes} bytes");
    assert!(bytes < MAX_ITEM / 2, "{bytes} bytes");
    assert_eq!(parse_analysis(&item).map(|stored| stored.analysis.unwrap().recent.len()), Ok(512));
}

/// A poll that catches up two hours of a busy service, with all witnesses.
fn largest_poll() -> JudgedPoll {
    let records = (0..120).flat_map(|slot| {
        let share = Share::new(50_000_000, 100_000_000).unwrap();
        let version = |side| Reading::Version(side, trimmed(busy(100_000_000), side));
        let probe = |side| Reading::Probe(side, share);
        let readings = [
            version(Side::Baseline),
            version(Side::Canary),
            Reading::Front(200_000_000),
            Reading::Peer(share),
            probe(Side::Baseline),
            probe(Side::Canary),
        ];
        readings.map(|reading| BucketRecord { start_s: 60 * slot, reading })
    });
    let beginning =
        || Beginning { settings: DetectorValues::default_method(), references: full_state(60).references() };
    let steps = (0..MAX_STEPS).zip([0.25, 0.5].into_iter().cycle()).map(|(_, weight)| (0.0, weight)).collect();
    let said = Said { rolled_back: Some(Metric::Q99), log_e: [Some(-2.5); 8] };
    JudgedPoll {
        polled_at: origin() + std::time::Duration::from_secs(7_230),
        origin: origin(),
        begun: Some(Begun {
            witnesses: Witnesses { front: true, peer: true, probe: true, pair: true },
            enforcing: Some(beginning()),
            advisory: Some(beginning()),
        }),
        schedule: TrafficSchedule::new(60, steps, 7_200.0, 240.0).unwrap(),
        from_s: 60.0,
        anew_from: Some(origin()),
        records: records.collect(),
        enforcing: Some(said),
        advisory: Some(said),
    }
}

#[test]
fn the_largest_poll_is_far_from_the_limit() {
    let poll = largest_poll();
    let item = judged_poll_item(&id(), &poll);
    let bytes = serde_json::to_string(&item).unwrap().len();
    println!("a poll of two hours has {bytes} bytes");
    assert!(bytes < MAX_ITEM / 2, "{bytes} bytes");
    assert_eq!(parse_judged_poll(&item), Ok(Some(poll.clone())));
    let ordinary = JudgedPoll { begun: None, records: poll.records[..2].to_vec(), schedule: plain(), ..poll };
    let bytes = serde_json::to_string(&judged_poll_item(&id(), &ordinary)).unwrap().len();
    println!("one of a minute has {bytes} bytes");
    assert!(bytes < 1_024, "more than one write unit: {bytes} bytes");
}

fn plain() -> TrafficSchedule {
    TrafficSchedule::new(60, vec![(12.0, 0.1), (612.0, 1.0)], 1_200.0, 240.0).unwrap()
}

#[test]
fn what_is_not_ours_is_an_error() {
    let text = packed(&with_packed("")).len();
    assert_eq!(text, 0);
    let good = packed(&analysis_item(&id(), &analysis(&small_state(), busy(10), 2), 3));
    assert!(parse_analysis(&with_packed(&good)).is_ok());
    let table = [
        ("nothing", String::new(), "cut off"),
        ("not base64", "*".to_owned(), "not base64"),
        ("padded", good.clone() + "==", "not base64"),
        ("other text", "SnapbackSnapback".to_owned(), "packed numbers of this version of Snapback"),
        ("longer", good.clone() + "AAAA", "something behind the end"),
        ("cut off", good[..good.len() / 2 / 4 * 4].to_owned(), "cut off"),
        ("neither yes nor no", format!("Ag{}", &good[2..]), "neither yes nor no"),
        ("too long a number", "AAAAAAAAAAAAAAAAAP///////////38".to_owned(), "a number that is too long"),
    ];
    for (case, text, expected) in table {
        let error = parse_analysis(&with_packed(&text)).map(drop).unwrap_err().to_string();
        assert!(error.contains("sk `DETECTOR`: attribute `packed` is `"), "{case}: {error}");
        assert!(error.contains(expected), "{case}: {error}");
        assert!(error.len() < 400, "{case}: the text is repeated");
    }
    for (name, value, expected) in [
        (attr::V, json!(3), "attribute `v` is 3"),
        (attr::VERSION, json!("3"), "attribute `version` is `3`"),
        (attr::STARTED_MS, Value::Null, "attribute `started_ms` is null"),
        (attr::PACKED, json!(7), "attribute `packed` is 7, expected a string"),
        (attr::SK, json!("DETECTORS"), "attribute `sk` is `DETECTORS`"),
    ] {
        let mut item = with_packed(&good);
        item.insert(name.to_owned(), value);
        let error = parse_analysis(&item).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn an_analysis_of_another_version_is_no_error_and_keeps_its_place() {
    let text = "numbers of tomorrow, packed in another way";
    for format in [json!(2), json!(PACKED_FORMAT + 1), json!(0), Value::Null] {
        let mut item = with_packed(text);
        item.insert(attr::PACKED_FORMAT.to_owned(), format.clone());
        if format.is_null() {
            item.remove(attr::PACKED_FORMAT);
        }
        assert_eq!(parse_analysis(&item), Ok(StoredAnalysis { analysis: None, version: 3 }), "{format}");
    }
    assert!(parse_analysis(&with_packed(text)).is_err(), "in the format of today it is a fault");
}

#[test]
fn a_poll_that_is_not_ours_is_an_error() {
    let good = judged_poll_item(&id(), &largest_poll());
    let key = (good[attr::PK].as_str().unwrap(), good[attr::SK].as_str().unwrap());
    assert_eq!(key, ("DEPLOYMENT#d-A1B2C3D4E", "SERIES#1795176930000"));
    let text = packed(&good);
    let with = |name: &str, value: Value| {
        let mut item = good.clone();
        item.insert(name.to_owned(), value);
        parse_judged_poll(&item)
    };
    let table = [
        ("not base64", attr::PACKED, json!("*"), "not base64"),
        ("cut off", attr::PACKED, json!(text[..400]), "cut off"),
        ("longer", attr::PACKED, json!(text.clone() + "AAAA"), "something behind the end"),
        ("a number", attr::PACKED, json!(1), "attribute `packed` is 1, expected a string"),
        ("no time", attr::AT_MS, Value::Null, "attribute `at_ms` is null"),
        ("no origin", attr::STARTED_MS, json!("x"), "attribute `started_ms` is `x`"),
        ("another item", attr::SK, json!("SERIES#errors#2026-11-20T10"), "invalid digit"),
        ("another format of items", attr::V, json!(3), "attribute `v` is 3"),
    ];
    for (case, name, value, expected) in table {
        let error = with(name, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{case}: {error}");
    }
    for format in [json!(0), json!(2), Value::Null] {
        assert_eq!(with("packed_format", format), Ok(None), "another version of Snapback packed it");
    }
    // (case, what stands in the place of the records: packed by nobody)
    let (impossible, unknown) = ("counts that cannot be", "a value that is not known");
    let cases: [(&str, &[u64], &str); 6] = [
        ("three bad ones among two", &[0, 0, 2, 1, 3], impossible),
        ("three of two above the median", &[0, 0, 2, 8, 0, 0, 0, 0, 3], impossible),
        ("a fifth signal", &[0, 0, 2, 16], unknown),
        ("a fifth shift", &[0, 0, 2, 8, 0, 0, 0, 0, 0, 0, 0, 0, 16], unknown),
        ("a fifth kind of record", &[4], "a record of nobody"),
        ("a third version", &[0, 2], "neither yes nor no"),
    ];
    for (case, values, expected) in cases {
        let mut to = Packer::default();
        to.flag(false);
        to.count(60);
        to.list(&[[0.0, 0.5]], |to, step| to.numbers(*step));
        to.numbers([600.0, 60.0, 0.0]);
        to.flag(false);
        to.count(1);
        to.integer(0);
        values.iter().for_each(|value| to.count(*value));
        // Enough of nothing, so that nothing is cut off.
        (0..16).for_each(|_| to.count(0));
        let error = with(attr::PACKED, json!(to.text())).unwrap_err().to_string();
        assert!(error.contains(expected), "{case}: {error}");
    }
    let impossible = |change: fn(&mut JudgedPoll)| {
        let mut poll = largest_poll();
        change(&mut poll);
        parse_judged_poll(&judged_poll_item(&id(), &poll)).unwrap_err().to_string()
    };
    let error = impossible(|poll| poll.begun.as_mut().unwrap().enforcing.as_mut().unwrap().settings.alpha = 2.0);
    assert!(error.contains("settings that cannot be"), "{error}");
}

// ---- properties

fn any_share() -> impl Strategy<Value = Option<Share>> {
    let all = prop_oneof![0..=1_000_u64, 0..=MAX_COUNT];
    prop::option::of(all.prop_flat_map(|all| (0..=all, Just(all))).prop_map(|(bad, all)| Share::new(bad, all).unwrap()))
}

fn any_latencies() -> impl Strategy<Value = Option<Latencies>> {
    let all = prop_oneof![0..=1_000_u64, 0..=MAX_COUNT];
    let tail = |all| prop::array::uniform4(prop::option::of(0..=all));
    let latencies = all.prop_flat_map(move |all| (Just(all), prop::array::uniform7(0..=all), tail(all), tail(all)));
    prop::option::of(
        latencies.prop_map(|(all, body, q90, q99): (_, _, Tail, Tail)| Latencies::new(all, body, q90, q99).unwrap()),
    )
}

prop_compose! {
    fn any_counts()(
        requests in any::<u64>(),
        (e5, tx, e4) in (any_share(), any_share(), any_share()),
        latencies in any_latencies(),
    ) -> Counts {
        Counts { requests, e5, tx, e4, latencies }
    }
}

fn any_side() -> impl Strategy<Value = Side> {
    prop::sample::select(&[Side::Baseline, Side::Canary][..])
}

/// Any finite number, negative zero and the smallest ones too.
fn any_number() -> impl Strategy<Value = f64> {
    use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    NEGATIVE | NORMAL | POSITIVE | SUBNORMAL | ZERO
}

prop_compose! {
    fn any_total()(bad in any::<u64>(), all in any::<u64>()) -> Share {
        Share { bad, all }
    }
}

prop_compose! {
    fn any_tally()(
        totals in prop::array::uniform3(any_total()),
        numbers in prop::array::uniform3(any_number()),
        first_bad_s in prop::option::of(any::<i64>()),
    ) -> Tally {
        let ([baseline, canary, alone], [concurrent, before_after, run]) = (totals, numbers);
        Tally { baseline, canary, alone, concurrent, before_after, run, first_bad_s }
    }
}

fn numbers<const N: usize>() -> impl Strategy<Value = [f64; N]> {
    prop::collection::vec(any_number(), N).prop_map(|numbers| numbers.try_into().unwrap())
}

fn any_mix<const N: usize>() -> impl Strategy<Value = Mix<N>> {
    prop::option::of(numbers())
}

fn any_capital<const N: usize>() -> impl Strategy<Value = Capital<N>> {
    (any_mix(), any_mix(), any_mix(), any_mix()).prop_map(|(no_change, margin, early, late)| Capital {
        no_change,
        margin,
        early,
        late,
    })
}

prop_compose! {
    fn any_rate()(
        numbers in numbers::<6>(),
        is_measured in any::<bool>(),
        (capital, gross) in (any_capital(), any_mix()),
        tally in any_tally(),
    ) -> RateState {
        let [bad_long, all_long, bad_short, all_short, peak, dispersion] = numbers;
        let reference = RateReference { bad_long, all_long, bad_short, all_short, peak, dispersion, is_measured };
        RateState { reference, capital, gross, tally }
    }
}

prop_compose! {
    fn any_body()(
        numbers in numbers::<8>(),
        capital in any_capital(),
        difference in (any_number(), any_number()),
        tally in any_tally(),
    ) -> BodyState {
        let [usual, slope, variance, drift, level, doubt, absorbed, peak] = numbers;
        let reference = LatencyReference { usual, slope, variance, drift, level, doubt, absorbed, peak };
        BodyState { reference, capital, difference, tally }
    }
}

prop_compose! {
    fn any_traffic()(numbers in numbers::<4>(), capital in any_mix(), tally in any_tally()) -> TrafficState {
        let [level, lost_chance, per_front, peer_rate] = numbers;
        TrafficState { reference: TrafficReference { level, lost_chance, per_front, peer_rate }, capital, tally }
    }
}

prop_compose! {
    fn any_half()(
        slot in any::<i64>(),
        (baseline, canary) in (prop::option::of(any_counts().boxed()), prop::option::of(any_counts().boxed())),
        front in prop::option::of(any::<u64>()),
        shares in prop::array::uniform3(prop::option::of(any_total())),
        came_s in prop::array::uniform4(prop::option::of(any_number())),
        ready_s in prop::option::of(any_number()),
    ) -> HalfSeen {
        let [peer, probe_baseline, probe_canary] = shares;
        HalfSeen { slot, seen: Seen { baseline, canary, front, peer, probe_baseline, probe_canary }, came_s, ready_s }
    }
}

fn any_used() -> impl Strategy<Value = UsedBuckets> {
    let run = (any::<i64>(), any::<i64>()).prop_map(|(start, end)| start..end);
    (any::<i64>(), prop::collection::vec(run, 0..5)).prop_map(|(below, beyond)| UsedBuckets { below, beyond })
}

fn any_witnesses() -> impl Strategy<Value = Witnesses> {
    any::<[bool; 4]>().prop_map(|[front, peer, probe, pair]| Witnesses { front, peer, probe, pair })
}

prop_compose! {
    fn any_state()(
        (bucket_s, full, information) in (any::<u32>(), any::<u8>(), any_number()),
        (witnesses, used) in (any_witnesses(), any_used()),
        half_seen in prop::collection::vec(any_half(), 0..5),
        rates in prop::array::uniform5(any_rate().boxed()),
        body in prop::option::of(any_body().boxed()),
        (traffic, probe, others) in (any_traffic().boxed(), (any_mix(), any_tally()), numbers::<3>()),
        notes in prop::sample::subsequence(Note::all().collect::<Vec<_>>(), 0..=Note::MAX),
        rolled_back in prop::option::of(prop::sample::select(Metric::ALL)),
    ) -> State {
        let [peer_bad, peer_all, probe_bad] = others;
        let (capital, tally) = probe;
        State {
            bucket_s, witnesses, used, half_seen, rates, body, traffic, probe: ProbeState { capital, tally },
            others: Others { peer_bad, peer_all, probe_bad }, full, information, notes, rolled_back,
        }
    }
}

prop_compose! {
    fn any_recent()(
        side in any_side(),
        start_s in any::<i64>(),
        seen_requests in prop::option::of(any::<u64>()),
        given in prop::option::of(any_counts().boxed()),
    ) -> Recent {
        Recent { side, start_s, seen_requests, given }
    }
}

fn any_windows() -> impl Strategy<Value = [Share<f64>; 3]> {
    prop::array::uniform3((any_number(), any_number()).prop_map(|(bad, all)| Share { bad, all }))
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0_i64..=9_999_999_999_999).prop_map(Timestamp::from_ms)
}

prop_compose! {
    fn any_analysis()(
        origin in any_time(),
        thresholds in prop::option::of(any::<([u16; 7], u16, u16)>()),
        flags in any::<[bool; 5]>(),
        peers in any::<[bool; MAX_PEERS]>(),
        (enforcing, advisory) in (prop::option::of(any_state().boxed()), prop::option::of(any_state().boxed())),
        has_history in any::<bool>(),
        recent in prop::collection::vec(any_recent(), 0..6),
        late in (prop::option::of(any_counts().boxed()), prop::option::of(any_counts().boxed())),
        (service, canary) in (any_windows(), any_windows()),
        (polled, counted) in (any::<i64>(), any::<i64>()),
        (anew_from, is_restarted) in (prop::option::of(any_time()), any::<bool>()),
    ) -> Analysis {
        let [requests, transactions, front, has_pipeline, has_canary_series] = flags;
        let thresholds = thresholds.map(|(body, q90, q99)| Thresholds { body, q90, q99 });
        Analysis {
            origin, thresholds, enforcing, advisory, has_history,
            is_missing: Missing { requests, transactions, front, peers }, has_pipeline, has_canary_series, pairs: None, recent,
            late: LateGrowth { baseline: late.0, canary: late.1 }, burn: Burn { service, canary }, polled, counted, anew_from,
            is_restarted,
        }
    }
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let share = || (any::<u64>(), any::<u64>()).prop_map(|(bad, all)| Share { bad, all });
    prop_oneof![
        (any_side(), any_counts()).prop_map(|(side, counts)| Reading::Version(side, counts)),
        any::<u64>().prop_map(Reading::Front),
        share().prop_map(Reading::Peer),
        (any_side(), share()).prop_map(|(side, share)| Reading::Probe(side, share)),
    ]
}

fn any_said() -> impl Strategy<Value = Said> {
    let metric = prop::option::of(prop::sample::select(Metric::ALL));
    let log_e = prop::array::uniform8(prop::option::of(any_number()));
    (metric, log_e).prop_map(|(rolled_back, log_e)| Said { rolled_back, log_e })
}

prop_compose! {
    fn any_beginning()(
        state in any_state(),
        alpha in 1e-9..0.5,
        errors_follow in any::<bool>(),
        on in prop::array::uniform8(any::<bool>()),
    ) -> Beginning {
        let method = DetectorValues::default_method();
        let mut margins = method.margins;
        margins.iter_mut().zip(on).for_each(|(margin, is_on)| *margin = margin.filter(|_| is_on));
        let settings = DetectorValues { alpha, errors_follow, margins, ..method };
        Beginning { settings, references: state.references() }
    }
}

prop_compose! {
    fn any_poll()(
        (polled_at, origin, anew_from) in (any_time(), any_time(), prop::option::of(any_time())),
        (witnesses, has_begun) in (any_witnesses(), any::<bool>()),
        (enforcing, advisory) in (prop::option::of(any_beginning().boxed()), prop::option::of(any_beginning().boxed())),
        from_s in any_number(),
        records in prop::collection::vec((any::<i64>(), any_reading()), 0..6),
        said in (prop::option::of(any_said()), prop::option::of(any_said())),
    ) -> JudgedPoll {
        let begun = has_begun.then_some(Begun { witnesses, enforcing, advisory });
        let records = records.into_iter().map(|(start_s, reading)| BucketRecord { start_s, reading }).collect();
        JudgedPoll {
            polled_at, origin, begun, schedule: plain(), from_s, anew_from, records, enforcing: said.0, advisory: said.1,
        }
    }
}

/// As DynamoDB gives an item back: through text.
fn stored(item: &Item) -> Item {
    serde_json::from_str(&serde_json::to_string(item).unwrap()).unwrap()
}

proptest! {
    // One is a thousand numbers.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn analyses_come_back_to_the_bit(analysis in any_analysis().boxed(), version in 0..=u64::MAX >> 1) {
        let item = stored(&analysis_item(&id(), &analysis, version));
        let stored = parse_analysis(&item).unwrap();
        let back = stored.analysis.unwrap();
        prop_assert_eq!(&back, &analysis);
        prop_assert_eq!(stored.version, version);
        prop_assert_eq!(analysis_item(&id(), &back, version), item, "also -0.0, which equals 0.0");
    }

    #[test]
    fn polls_come_back_to_the_bit(poll in any_poll().boxed()) {
        let item = stored(&judged_poll_item(&id(), &poll));
        let back = parse_judged_poll(&item).unwrap().unwrap();
        prop_assert_eq!(&back, &poll);
        prop_assert_eq!(judged_poll_item(&id(), &back), item, "also -0.0, which equals 0.0");
    }

    #[test]
    fn a_changed_letter_of_a_poll_never_panics(
        poll in any_poll().boxed(), place in any::<prop::sample::Index>(), letter in "[A-Za-z0-9+/=]",
    ) {
        let mut item = judged_poll_item(&id(), &poll);
        let mut text = packed(&item);
        let place = place.index(text.len());
        text.replace_range(place..=place, &letter);
        item.insert(attr::PACKED.to_owned(), json!(text));
        // Whatever still can be read is written as it was read.
        if let Ok(Some(poll)) = parse_judged_poll(&item) {
            prop_assert_eq!(parse_judged_poll(&judged_poll_item(&id(), &poll)), Ok(Some(poll)));
        }
    }

    #[test]
    fn a_cut_off_analysis_is_an_error(analysis in any_analysis().boxed(), cut in any::<prop::sample::Index>()) {
        let good = packed(&analysis_item(&id(), &analysis, 1));
        let text = &good[..cut.index(good.len())];
        prop_assert!(parse_analysis(&with_packed(text)).is_err());
    }

    #[test]
    fn a_changed_letter_never_panics(
        analysis in any_analysis().boxed(), place in any::<prop::sample::Index>(), letter in "[A-Za-z0-9+/=]",
    ) {
        let mut text = packed(&analysis_item(&id(), &analysis, 1));
        let place = place.index(text.len());
        text.replace_range(place..=place, &letter);
        // Whatever still can be read is written as it was read.
        if let Ok(StoredAnalysis { analysis: Some(analysis), .. }) = parse_analysis(&with_packed(&text)) {
            let again = analysis_item(&id(), &analysis, 1);
            prop_assert_eq!(parse_analysis(&again).map(|stored| stored.analysis), Ok(Some(analysis)));
        }
    }

    #[test]
    fn foreign_text_never_panics(text in "[A-Za-z0-9+/]{0,400}") {
        prop_assert!(parse_analysis(&with_packed(&text)).is_err());
    }
}
