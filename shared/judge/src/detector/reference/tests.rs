//! What the history says, against numbers that were worked out apart.

use super::super::method::RATES;
use super::super::tests::{close, closes, failed, version};
use super::super::{SHIFTS, Side};
use super::*;

fn schedule(bucket_s: u32) -> TrafficSchedule {
    TrafficSchedule::new(bucket_s, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap()
}

fn history(history_s: f64, records: &[BucketRecord]) -> History {
    History::of(&DetectorSettings::default_method(), &schedule(60), history_s, records)
}

fn errors(records: &[BucketRecord]) -> RateReference {
    history(3600.0, records).rate(&RATES[0], 0)
}

fn old(slot: i64, bad: u64, all: u64) -> BucketRecord {
    version(Side::Baseline, slot, failed(bad, all))
}

fn reading(slot: i64, reading: Reading) -> BucketRecord {
    BucketRecord { start_s: slot * 60, reading }
}

#[test]
fn sums_weigh_the_past_by_its_age() {
    // Ages 0, 1 and 30 minutes: half-lives of 30 and 3 minutes.
    let reference = errors(&[old(-1, 4, 100), old(-2, 8, 100), old(-31, 16, 200)]);
    let (long, short) = (|age: f64| 0.5_f64.powf(age / 30.0), |age: f64| 0.5_f64.powf(age / 3.0));
    let found = [reference.bad_long, reference.all_long, reference.bad_short, reference.all_short];
    let expected = [
        4.0 + 8.0 * long(1.0) + 8.0,
        100.0 + 100.0 * long(1.0) + 100.0,
        4.0 + 8.0 * short(1.0) + 16.0 * short(30.0),
        100.0 + 100.0 * short(1.0) + 200.0 * short(30.0),
    ];
    closes(&found, &expected, 1e-9, "X^L, N^L, X^S, N^S");
    assert!(reference.is_measured);
}

#[test]
fn what_is_history_and_what_is_not() {
    let some = [old(-1, 1, 100), old(-2, 2, 100)];
    let with = |more: &[BucketRecord]| history(120.0, &[&some, more].concat());
    let same = |found: &History, case: &str| {
        assert_eq!(found.rate(&RATES[0], 0), with(&[]).rate(&RATES[0], 0), "{case}");
        assert_eq!(found.traffic(), with(&[]).traffic(), "{case}");
    };
    same(&with(&[old(-3, 90, 100)]), "a slot before -history_s");
    same(&with(&[old(-1, 90, 100)]), "a second record of a slot");
    same(&with(&[old(0, 90, 100)]), "a bucket of the shift");
    same(&with(&[version(Side::Canary, -1, failed(90, 100))]), "the new version");
    same(&with(&[reading(-3, Reading::Front(5)), reading(-3, Reading::Front(9))]), "a front before -history_s");
    same(&with(&[reading(-1, Reading::Probe(Side::Baseline, Share { bad: 9, all: 60 }))]), "probes have no history");
    let between = BucketRecord { start_s: -61, ..old(0, 2, 100) };
    let found = history(120.0, &[some[0], between]);
    same(&found, "a start in between lies in its bucket");
    assert_eq!(history(119.9, &some).slots, 1, "a slot that is not whole is none");
    assert_eq!(history(1e12, &some).slots, SLOTS_MAX, "a history is bounded");
}

#[test]
fn what_the_old_version_never_measured_is_unknown() {
    let unmeasured = version(Side::Baseline, -1, Counts::of_requests(100));
    // (case, history, whether it may be compared with)
    let table = [
        ("no history at all: the method's prior", vec![], true),
        ("buckets without the signal", vec![unmeasured], false),
        ("one bucket with it", vec![unmeasured, old(-2, 0, 100)], true),
        ("measured, and nothing was there", vec![old(-1, 0, 0)], true),
    ];
    for (case, records, expected) in table {
        assert_eq!(errors(&records).is_measured, expected, "{case}");
    }
    let mut reference = errors(&[unmeasured]);
    let fading = Fading::after(&DetectorSettings::default_method(), 60, 1.0);
    reference.update(fading, None);
    assert!(!reference.is_measured, "still not");
    reference.update(fading, Some(Share { bad: 0, all: 10 }));
    assert!(reference.is_measured, "it is measured from the first bucket on that has it");
}

#[test]
fn dispersion_is_that_of_neighbouring_slots() {
    // One pair (x, n): r² = (b − s·f)²/(s·f·(1−f)), then (r² + 13)/(1 + 10).
    // (case, records, φ of e5)
    let table = [
        ("no pair: the prior", vec![], 1.3),
        ("equal neighbours", vec![old(-2, 5, 100), old(-1, 5, 100)], 13.0 / 11.0),
        ("2 and 6: (6 − 4)²/2 = 2", vec![old(-2, 2, 100), old(-1, 6, 100)], 15.0 / 11.0),
        ("of other sizes: f = 3/4, (6 − 6)² = 0", vec![old(-2, 2, 100), old(-1, 6, 300)], 13.0 / 11.0),
        ("0 and 400: at most 25", vec![old(-2, 0, 1000), old(-1, 400, 1000)], 38.0 / 11.0),
        ("no event in a pair is no pair", vec![old(-2, 0, 100), old(-1, 0, 100)], 1.3),
        ("a gap is no pair", vec![old(-3, 0, 100), old(-1, 40, 100)], 1.3),
        ("no request in one of them is no pair", vec![old(-2, 0, 0), old(-1, 40, 100)], 1.3),
        (
            "three slots are two pairs",
            vec![old(-3, 2, 100), old(-2, 6, 100), old(-1, 2, 100)],
            (2.0 + 2.0 + 13.0) / 12.0,
        ),
    ];
    for (case, records, expected) in table {
        close(errors(&records).dispersion, expected, 1e-12, case);
    }
    // Between what binomial counts have at least, 0.4, and the metric's own most.
    let calm: Vec<BucketRecord> = (-60..0).map(|slot| old(slot, 5, 100)).collect();
    close(errors(&calm).dispersion, 0.95, 1e-2, "not below 1 − p");
    let half: Vec<BucketRecord> = (-60..0).map(|slot| old(slot, 50_000, 60_000)).collect();
    close(errors(&half).dispersion, 0.4, 1e-12, "not below 0.4");
    let wild: Vec<BucketRecord> = (-60..0).map(|slot| old(slot, if slot % 2 == 0 { 400 } else { 0 }, 1000)).collect();
    close(errors(&wild).dispersion, (59.0 * 25.0 + 13.0) / 69.0, 1e-9, "clumped");
    let small = RateMethod { dispersion_max: 1.2, ..RATES[0] };
    close(history(3600.0, &wild).rate(&small, 0).dispersion, 1.2, 1e-12, "not above the metric's most");
}

#[test]
fn a_peak_is_what_was_surely_reached() {
    // (x + 0.5 − 2·√(φ·x))/(n + 1.5), fading by half in ten minutes.
    let sure = |x: f64, n: f64, phi: f64| (x + 0.5 - 2.0 * (phi * x).sqrt()).max(0.0) / (n + 1.5);
    // (case, records, φ, peak)
    let table = [
        ("none", vec![], 1.3, 0.0),
        ("two bad events are none", vec![old(-1, 2, 10)], 1.3, 0.0),
        ("three may be chance", vec![old(-1, 3, 100)], 1.3, 0.0),
        ("a hundred are not", vec![old(-1, 100, 1000)], 1.3, sure(100.0, 1000.0, 1.3)),
        ("ten minutes ago it counts half", vec![old(-11, 100, 1000)], 1.3, 0.5 * sure(100.0, 1000.0, 1.3)),
        (
            "the highest one counts",
            vec![old(-1, 100, 1000), old(-3, 300, 1000)],
            1.3,
            sure(300.0, 1000.0, 1.3) * 0.5_f64.powf(0.2),
        ),
    ];
    for (case, records, phi, expected) in table {
        let reference = errors(&records);
        close(reference.dispersion, phi, 1e-12, case);
        close(reference.peak, expected, 1e-12, case);
    }
}

#[test]
fn the_references_are_updated_after_the_decision() {
    let fading = Fading::after(&DetectorSettings::default_method(), 60, 1.0);
    let before = RateReference {
        bad_long: 10.0,
        all_long: 1000.0,
        bad_short: 4.0,
        all_short: 200.0,
        peak: 0.1,
        dispersion: 1.0,
        is_measured: true,
    };
    let (long, short, peak) = (0.5_f64.powf(1.0 / 30.0), 0.5_f64.powf(1.0 / 3.0), 0.5_f64.powf(0.1));
    // (case, old version's share, X^L, N^L, X^S, N^S, PK)
    let table = [
        ("not seen: only the peak fades", None, [10.0, 1000.0, 4.0, 200.0, 0.1 * peak]),
        ("as usual", Some(Share { bad: 1, all: 100 }), {
            [10.0 * long + 1.0, 1000.0 * long + 100.0, 4.0 * short + 1.0, 200.0 * short + 100.0, 0.1 * peak]
        }),
        ("a new peak", Some(Share { bad: 81, all: 100 }), {
            let peak = (81.0 + 0.5 - 18.0) / 101.5;
            [10.0 * long + 81.0, 1000.0 * long + 100.0, 4.0 * short + 81.0, 200.0 * short + 100.0, peak]
        }),
    ];
    for (case, share, expected) in table {
        let mut now = before;
        now.update(fading, share);
        closes(&[now.bad_long, now.all_long, now.bad_short, now.all_short, now.peak], &expected, 1e-12, case);
        close(now.dispersion, 1.0, 1e-12, case);
    }
}

#[test]
fn the_level_of_the_traffic_is_that_of_late() {
    let requests = |slot, all| old(slot, 0, all);
    let short = 0.5_f64.powf(1.0 / 3.0);
    // (case, records, n_ref)
    let table = [
        ("no history", vec![], 0.0),
        ("one slot", vec![requests(-4, 300)], 300.0),
        (
            "the newer one counts more",
            vec![requests(-1, 300), requests(-2, 100)],
            (300.0 + 100.0 * short) / (1.0 + short),
        ),
    ];
    for (case, records, expected) in table {
        close(history(3600.0, &records).traffic().level, expected, 1e-9, case);
    }
}

#[test]
fn a_datum_is_lost_as_often_as_it_was() {
    let slots = |from: i64, all: u64| -> Vec<BucketRecord> { (from..0).map(|slot| old(slot, 0, all)).collect() };
    // (case, records of 60 slots, ℓost)
    let table = [
        ("none is missing", slots(-60, 100), 0.5 / 70.0),
        ("ten are", slots(-50, 100), 10.5 / 70.0),
        ("nobody called", slots(-10, 4), 0.5 / 70.0),
        ("five a minute are enough to miss them", slots(-10, 5), 50.5 / 70.0),
        ("no history at all", vec![], 0.5 / 70.0),
    ];
    for (case, records, expected) in table {
        close(history(3600.0, &records).traffic().lost_chance, expected, 1e-12, case);
    }
    close(history(0.0, &[]).traffic().lost_chance, 0.05, 1e-12, "no slots");
}

#[test]
fn witnesses_are_measured_where_the_versions_are() {
    let peer = |slot, bad, all| reading(slot, Reading::Peer(Share { bad, all }));
    let front = |slot, all| reading(slot, Reading::Front(all));
    // (case, records, k_front, p_peer)
    let table = [
        ("no witness", vec![old(-1, 0, 100)], 1.0, 0.001),
        ("nine of ten arrive", vec![old(-1, 0, 895), front(-1, 995)], 0.9, 0.001),
        (
            "slots with one of them only do not count",
            vec![old(-1, 0, 895), front(-1, 995), front(-2, 500), old(-3, 0, 7)],
            { 0.9 },
            0.001,
        ),
        ("the first one of a slot counts", vec![old(-1, 0, 895), front(-1, 995), front(-1, 5)], 0.9, 0.001),
        ("peers", vec![peer(-1, 4, 300), peer(-2, 5, 150)], 1.0, 9.5 / 950.0),
        ("peers of the shift do not count", vec![peer(-1, 9, 450), peer(0, 450, 450)], 1.0, 9.5 / 950.0),
    ];
    for (case, records, per_front, peer_rate) in table {
        let found = history(3600.0, &records).traffic();
        closes(&[found.per_front, found.peer_rate], &[per_front, peer_rate], 1e-12, case);
    }
}

#[test]
fn the_order_of_the_history_does_not_matter() {
    let mut records: Vec<BucketRecord> = (-60..0).map(|slot| old(slot, slot.unsigned_abs() % 7, 100)).collect();
    let found = errors(&records);
    records.reverse();
    assert_eq!(errors(&records), found);
}

#[test]
fn the_old_version_s_latencies_are_not_shifted() {
    let tail = SHIFTS.map(|shift| Some(40 - u64::from(shift)));
    let latencies = super::super::Latencies::new(1000, [500; 7], tail, tail).ok();
    let record = version(Side::Baseline, -1, Counts { latencies, ..Counts::of_requests(1000) });
    let history = history(3600.0, &[record]);
    for (metric, method, index) in [("q90", &RATES[2], 2), ("q99", &RATES[3], 3)] {
        close(history.rate(method, index).bad_long, 40.0, 1e-12, metric);
    }
}
