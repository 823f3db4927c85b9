use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use snapback_core::canary::{Counts, MAX_COUNT, Settings, Share, Side, Slow};

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
    let slow = Some(Slow::new(requests, [Some(requests); 4]).unwrap());
    Counts { requests, e5: share, tx: share, e4: share, slow: [slow; 3] }
}

/// As the detector keeps it of one side.
fn trimmed(mut counts: Counts, side: Side) -> Counts {
    for slow in counts.slow.iter_mut().flatten() {
        match side {
            Side::Baseline => slow.above = [slow.above[0], None, None, None],
            Side::Canary => slow.above[0] = None,
        }
    }
    counts
}

fn evidence(ratios: usize) -> Evidence {
    let total = Total { bad: 1 << 34, all: 1 << 35 };
    Evidence {
        log_capital: Some(vec![-1.25; ratios]),
        baseline: total,
        canary: total,
        alone: total,
        concurrent: 2.5,
        before_after: -0.5,
        run: 3.25,
        first_bad_s: Some(3_600),
    }
}

/// The largest state at buckets of `bucket_s`: of all buckets in flight one record came, and the rest was used out of order.
fn largest_state(settings: &Settings, bucket_s: u32, counts: Counts) -> State {
    let most = State::half_seen_max(settings, bucket_s);
    let slots: Vec<i64> = (360..).take(most).collect();
    let half_seen = slots.iter().map(|slot| HalfSeen {
        slot: *slot,
        came_s: 3_700.125,
        baseline: None,
        canary: Some(trimmed(counts, Side::Canary)),
    });
    let rate = |index: usize| RateState {
        reference: RateReference {
            bad_long: 0.125,
            all_long: 1e6,
            bad_short: 0.5,
            all_short: 1e5,
            peak: 0.001,
            dispersion: 1.5,
            is_measured: true,
            rate_at_start: Some(0.002),
        },
        evidence: evidence(settings.rates[index].ratios.len()),
    };
    State {
        bucket_s,
        used_below: 300,
        half_seen: half_seen.collect(),
        used_beyond: slots,
        rates: [0, 1, 2, 3, 4, 5].map(rate),
        traffic: TrafficState {
            reference: TrafficReference { level: 1e5, lost_chance: 0.01 },
            evidence: evidence(settings.traffic.ratios.len()),
        },
        information: 6.0,
        rolled_back: Some(Metric::Tx),
    }
}

fn ledger(state: &State, counts: Counts, recent: usize) -> Ledger {
    let recent = (0_i64..).take(recent).map(|place| Recent {
        side: Side::Canary,
        start_s: 3_600 + place,
        seen_requests: Some(counts.requests),
        given: Some(counts),
    });
    Ledger {
        origin: origin(),
        thresholds: Some([61, 77, 90]),
        is_missing: Missing { requests: true, transactions: false },
        detector: Some(state.clone()),
        adviser: Some(state.clone()),
        has_history: true,
        recent: recent.collect(),
        late: Late { baseline: Some(counts), canary: Some(counts) },
        burn: Burn { service: [Window { bad: 5.5, all: 1e6 }; 3], canary: [Window { bad: 4.5, all: 1e5 }; 3] },
        looked: 61,
        glanced: 61,
        anew_from: Some(origin()),
    }
}

fn packed(item: &Item) -> String {
    item[attr::PACKED].as_str().unwrap().to_owned()
}

fn with_packed(text: &str) -> Item {
    let mut item = ledger_item(&id(), &ledger(&small_state(), busy(10), 2), 3);
    item.insert(attr::PACKED.to_owned(), text.into());
    item
}

fn small_state() -> State {
    largest_state(&Settings::default_method(), 60, busy(10))
}

#[test]
fn the_state_is_under_4_kb_when_every_bucket_is_half_seen() {
    let settings = Settings::default_method();
    // 1.6 million requests in 10 s.
    let counts = busy(1_600_000);
    let state = largest_state(&settings, 10, counts);
    assert_eq!((state.half_seen.len(), state.check(&settings)), (29, Ok(())), "it is a state that can be");
    let mut to = Packer::default();
    pack_state(&mut to, &state);
    assert!(to.len() < 4_096, "{} bytes", to.len());
    let item = ledger_item(&id(), &ledger(&state, counts, 64), u64::MAX);
    let bytes = serde_json::to_string(&item).unwrap().len();
    assert!(bytes < 24_000, "the whole item has {bytes} bytes");
}

#[test]
fn the_largest_item_is_far_from_the_limit() {
    let mut values = snapback_core::canary::Values::default_method();
    (values.grace_s, values.dark_s) = (300.0, 300.0);
    let settings = Settings::new(values).unwrap();
    // Sixteen million requests in the shortest buckets, and the longest waits.
    let counts = busy(16_000_000);
    let state = largest_state(&settings, 5, counts);
    assert_eq!(state.half_seen.len(), 122);
    let item = ledger_item(&id(), &ledger(&state, counts, 512), u64::MAX);
    let bytes = serde_json::to_string(&item).unwrap().len();
    assert!(bytes < MAX_ITEM / 2, "{bytes} bytes");
    assert_eq!(parse_ledger(&item).map(|(ledger, _)| ledger.recent.len()), Ok(512));
}

#[test]
fn an_hour_of_buckets_fits_its_item() {
    // (bucket in seconds, requests of one version in it)
    for (bucket_s, requests) in [(5, 16_000_000), (10, 16_000_000), (60, 100_000_000)] {
        for (signal, of) in [(Signal::Latency, latency as fn(u64, Side) -> Counts), (Signal::Errors, errors)] {
            let mut bytes = 0;
            for second in (0..3_600).step_by(bucket_s) {
                for side in [Side::Baseline, Side::Canary] {
                    let start = origin() + std::time::Duration::from_secs(second);
                    let counts = of(requests, side);
                    let (_, text) = series_entry(&id(), &SeriesPoint { signal, start, side, is_growth: false, counts });
                    // A list of DynamoDB has a byte more for each element.
                    bytes += text.len() + 1;
                }
            }
            assert!(bytes < MAX_ITEM / 2, "{signal} at {bucket_s} s: {bytes} bytes");
        }
    }
}

fn latency(requests: u64, side: Side) -> Counts {
    let Counts { slow, .. } = trimmed(busy(requests), side);
    Counts { slow, ..Counts::of_requests(requests) }
}

fn errors(requests: u64, _: Side) -> Counts {
    let Counts { e5, e4, .. } = busy(requests);
    Counts { e5, e4, ..Counts::of_requests(requests) }
}

#[test]
fn what_is_not_ours_is_an_error() {
    let text = packed(&with_packed("")).len();
    assert_eq!(text, 0);
    let good = packed(&ledger_item(&id(), &ledger(&small_state(), busy(10), 2), 3));
    assert!(parse_ledger(&with_packed(&good)).is_ok());
    let table = [
        ("nothing", String::new(), "cut off"),
        ("not base64", "*".to_owned(), "not base64"),
        ("padded", good.clone() + "==", "not base64"),
        ("other text", "SnapbackSnapback".to_owned(), "packed numbers of this version of Snapback"),
        ("longer", good.clone() + "AAAA", "something behind the end"),
        ("cut off", good[..good.len() / 2 / 4 * 4].to_owned(), "cut off"),
        ("neither yes nor no", format!("Ag{}", &good[2..]), "neither yes nor no"),
        ("too long a number", "AAAAAP////////////9/".to_owned(), "a number that is too long"),
    ];
    for (case, text, expected) in table {
        let error = parse_ledger(&with_packed(&text)).map(drop).unwrap_err().to_string();
        assert!(error.contains("sk `DETECTOR`: attribute `packed` is `"), "{case}: {error}");
        assert!(error.contains(expected), "{case}: {error}");
        assert!(error.len() < 400, "{case}: the text is repeated");
    }
    for (name, value, expected) in [
        (attr::V, json!(2), "attribute `v` is 2"),
        (attr::VERSION, json!("3"), "attribute `version` is `3`"),
        (attr::STARTED_MS, Value::Null, "attribute `started_ms` is null"),
        (attr::PACKED, json!(7), "attribute `packed` is 7, expected a string"),
        (attr::SK, json!("DETECTORS"), "attribute `sk` is `DETECTORS`"),
    ] {
        let mut item = with_packed(&good);
        item.insert(name.to_owned(), value);
        let error = parse_ledger(&item).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_bucket_that_is_not_ours_is_an_error() {
    let point = SeriesPoint {
        signal: Signal::Errors,
        start: origin(),
        side: Side::Canary,
        is_growth: false,
        counts: errors(100, Side::Canary),
    };
    let (key, text) = series_entry(&id(), &point);
    assert_eq!((key.pk.as_str(), key.sk.as_str()), ("DEPLOYMENT#d-A1B2C3D4E", "SERIES#errors#2026-11-20T10"));
    let item = |sk: &str, points: Value| {
        json!({ "pk": key.pk, "sk": sk, "v": 1, "points": points }).as_object().unwrap().clone()
    };
    assert_eq!(parse_series(&item(&key.sk, json!([text]))), Ok(vec![point]));
    assert_eq!(parse_series(&item(&key.sk, json!([]))), Ok(Vec::new()));
    let table = [
        ("not ours", key.sk.as_str(), json!([text, "*"]), "attribute `points[1]` is `*`, expected packed numbers"),
        ("cut off", &key.sk, json!([text[..8]]), "cut off"),
        ("longer", &key.sk, json!([text.clone() + "AAAA"]), "something behind the end"),
        ("a number", &key.sk, json!([1]), "attribute `points[0]` is 1, expected a string"),
        ("no list", &key.sk, json!("x"), "attribute `points` is `x`, expected a list"),
        ("unknown signal", "SERIES#speed#2026-11-20T10", json!([text]), "unknown signal `speed`"),
    ];
    for (case, sk, points, expected) in table {
        let error = parse_series(&item(sk, points)).unwrap_err().to_string();
        assert!(error.contains(expected), "{case}: {error}");
    }
    // Three bad ones among two: packed by nobody.
    let mut to = Packer::default();
    to.integer(0);
    to.side(Side::Canary);
    to.flag(false);
    to.count(2);
    to.count(1);
    to.count(3);
    to.integer(0);
    let error = parse_series(&item(&key.sk, json!([to.text()]))).unwrap_err().to_string();
    assert!(error.contains("counts that cannot be"), "{error}");
}

// ---- properties

fn any_share() -> impl Strategy<Value = Option<Share>> {
    let all = prop_oneof![0..=1_000_u64, 0..=MAX_COUNT];
    prop::option::of(all.prop_flat_map(|all| (0..=all, Just(all))).prop_map(|(bad, all)| Share::new(bad, all).unwrap()))
}

fn any_slow() -> impl Strategy<Value = Option<Slow>> {
    let all = prop_oneof![0..=1_000_u64, 0..=MAX_COUNT];
    let slow = all.prop_flat_map(|all| (Just(all), prop::array::uniform4(prop::option::of(0..=all))));
    prop::option::of(slow.prop_map(|(all, above)| Slow::new(all, above).unwrap()))
}

prop_compose! {
    fn any_counts()(
        requests in any::<u64>(),
        (e5, tx, e4) in (any_share(), any_share(), any_share()),
        slow in prop::array::uniform3(any_slow()),
    ) -> Counts {
        Counts { requests, e5, tx, e4, slow }
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
    fn any_total()(bad in any::<u64>(), all in any::<u64>()) -> Total {
        Total { bad, all }
    }
}

prop_compose! {
    fn any_evidence()(
        log_capital in prop::option::of(prop::collection::vec(any_number(), 0..9)),
        totals in prop::array::uniform3(any_total()),
        numbers in prop::array::uniform3(any_number()),
        first_bad_s in prop::option::of(any::<i64>()),
    ) -> Evidence {
        let ([baseline, canary, alone], [concurrent, before_after, run]) = (totals, numbers);
        Evidence { log_capital, baseline, canary, alone, concurrent, before_after, run, first_bad_s }
    }
}

prop_compose! {
    fn any_rate()(
        numbers in prop::array::uniform6(any_number()),
        is_measured in any::<bool>(),
        rate_at_start in prop::option::of(any_number()),
        evidence in any_evidence().boxed(),
    ) -> RateState {
        let [bad_long, all_long, bad_short, all_short, peak, dispersion] = numbers;
        let reference =
            RateReference { bad_long, all_long, bad_short, all_short, peak, dispersion, is_measured, rate_at_start };
        RateState { reference, evidence }
    }
}

prop_compose! {
    fn any_half()(
        slot in any::<i64>(),
        came_s in any_number(),
        baseline in prop::option::of(any_counts().boxed()),
        canary in prop::option::of(any_counts().boxed()),
    ) -> HalfSeen {
        HalfSeen { slot, came_s, baseline, canary }
    }
}

prop_compose! {
    fn any_state()(
        (bucket_s, used_below) in (any::<u32>(), any::<i64>()),
        used_beyond in prop::collection::vec(any::<i64>(), 0..5),
        half_seen in prop::collection::vec(any_half(), 0..5),
        rates in prop::array::uniform6(any_rate().boxed()),
        (level, lost_chance, evidence) in (any_number(), any_number(), any_evidence().boxed()),
        information in any_number(),
        rolled_back in prop::option::of(prop::sample::select(Metric::ALL)),
    ) -> State {
        let traffic = TrafficState { reference: TrafficReference { level, lost_chance }, evidence };
        State { bucket_s, used_below, used_beyond, half_seen, rates, traffic, information, rolled_back }
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

fn any_windows() -> impl Strategy<Value = [Window; 3]> {
    prop::array::uniform3((any_number(), any_number()).prop_map(|(bad, all)| Window { bad, all }))
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0_i64..=9_999_999_999_999).prop_map(Timestamp::from_ms)
}

prop_compose! {
    fn any_ledger()(
        origin in any_time(),
        thresholds in prop::option::of(any::<[u8; 3]>()),
        (requests, transactions) in (any::<bool>(), any::<bool>()),
        (detector, adviser) in (prop::option::of(any_state().boxed()), prop::option::of(any_state().boxed())),
        has_history in any::<bool>(),
        recent in prop::collection::vec(any_recent(), 0..6),
        late in (prop::option::of(any_counts().boxed()), prop::option::of(any_counts().boxed())),
        (service, canary) in (any_windows(), any_windows()),
        (looked, glanced) in (any::<i64>(), any::<i64>()),
        anew_from in prop::option::of(any_time()),
    ) -> Ledger {
        Ledger {
            origin, thresholds, detector, adviser, has_history, is_missing: Missing { requests, transactions }, recent,
            late: Late { baseline: late.0, canary: late.1 }, burn: Burn { service, canary }, looked, glanced, anew_from,
        }
    }
}

prop_compose! {
    fn any_point()(
        signal in prop::sample::select(Signal::ALL),
        second in 0_i64..=9_999_999_999,
        side in any_side(),
        is_growth in any::<bool>(),
        counts in any_counts(),
    ) -> SeriesPoint {
        SeriesPoint { signal, start: Timestamp::from_ms(second * 1000), side, is_growth, counts }
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
    fn ledgers_come_back_to_the_bit(ledger in any_ledger().boxed(), version in 0..=u64::MAX >> 1) {
        let item = stored(&ledger_item(&id(), &ledger, version));
        let (back, back_version) = parse_ledger(&item).unwrap();
        prop_assert_eq!(&back, &ledger);
        prop_assert_eq!(back_version, version);
        prop_assert_eq!(ledger_item(&id(), &back, version), item, "also -0.0, which equals 0.0");
    }

    #[test]
    fn buckets_come_back(point in any_point()) {
        let (key, text) = series_entry(&id(), &point);
        let item = json!({ "pk": key.pk, "sk": key.sk, "v": SERIES_FORMAT, "points": [text, text] });
        prop_assert_eq!(parse_series(item.as_object().unwrap()), Ok(vec![point.clone(), point]));
    }

    #[test]
    fn a_cut_off_ledger_is_an_error(ledger in any_ledger().boxed(), cut in any::<prop::sample::Index>()) {
        let good = packed(&ledger_item(&id(), &ledger, 1));
        let text = &good[..cut.index(good.len())];
        prop_assert!(parse_ledger(&with_packed(text)).is_err());
    }

    #[test]
    fn a_changed_letter_never_panics(
        ledger in any_ledger().boxed(), place in any::<prop::sample::Index>(), letter in "[A-Za-z0-9+/=]",
    ) {
        let mut text = packed(&ledger_item(&id(), &ledger, 1));
        let place = place.index(text.len());
        text.replace_range(place..=place, &letter);
        // Whatever still can be read is written as it was read.
        if let Ok((ledger, _)) = parse_ledger(&with_packed(&text)) {
            let again = ledger_item(&id(), &ledger, 1);
            prop_assert_eq!(parse_ledger(&again).map(|(ledger, _)| ledger), Ok(ledger));
        }
    }

    #[test]
    fn foreign_text_never_panics(text in "[A-Za-z0-9+/]{0,400}") {
        prop_assert!(parse_ledger(&with_packed(&text)).is_err());
    }
}
