//! What the witnesses say of one bucket, against numbers that were worked out apart.

use super::super::settings::DetectorValues;
use super::super::tests::{close, closes};
use super::super::{Counts, Seen};
use super::*;
use crate::vocabulary::Metric;

/// A minute with a weight, the weight before the last step, and how long that is ago.
fn bucket(weight: f64, weight_before: f64, since_step_s: f64, seen: Seen) -> Bucket {
    Bucket {
        start_s: 600,
        seen,
        weight,
        weight_before,
        since_step_s,
        length_s: 60.0,
        young: 0.0,
        warm_up: 0.0,
        per_minute: 1.0,
        cap_factor: 1.0,
    }
}

/// Requests of the old version and of the new one, and what the front counted.
fn requests(baseline: Option<u64>, canary: Option<u64>, front: Option<u64>) -> Seen {
    Seen {
        baseline: baseline.map(Counts::of_requests),
        canary: canary.map(Counts::of_requests),
        front,
        ..Seen::default()
    }
}

const REFERENCE: TrafficReference =
    TrafficReference { level: 1000.0, lost_chance: 1e-4, per_front: 0.9, peer_rate: 0.001 };

fn margin(metric: Metric) -> Margin {
    DetectorValues::default_margin(metric).unwrap()
}

fn found(reference: &TrafficReference, bucket: &Bucket) -> TrafficScore {
    traffic(reference, bucket, margin(Metric::Traffic))
}

/// ℓ in the shift, as the specification writes it: `weight` is w', half of it is tolerated.
fn in_shift(weight: f64, baseline: f64, canary: f64) -> [f64; 3] {
    let tolerated = 0.5 * weight / (0.5 * weight + 1.0 - weight);
    let rate = 1.0 / (2.0 + 0.25 * (baseline + canary) * tolerated * (1.0 - tolerated));
    [0.3, 0.1, 0.02].map(|ratio| {
        let odds = ratio * tolerated / (1.0 - tolerated);
        let suspected = odds / (1.0 + odds);
        let gain = canary * (suspected / tolerated).ln() + baseline * ((1.0 / (1.0 + odds)) / (1.0 - tolerated)).ln();
        (rate * gain).min(8.0)
    })
}

#[test]
fn in_the_shift_the_old_version_is_the_witness() {
    // (case, weight, before, seconds since the step, old, new, w')
    let table = [
        ("its due came", 0.5, 0.1, 120.0, Some(50), Some(50), 0.5),
        ("a tenth of it came", 0.5, 0.1, 120.0, Some(50), Some(5), 0.5),
        ("its record is missing", 0.5, 0.1, 120.0, Some(50), None, 0.5),
        ("in the first minute after a step it is given time", 0.5, 0.1, 59.0, Some(50), Some(5), 0.28),
        ("a minute later it is not", 0.5, 0.1, 60.0, Some(50), Some(5), 0.5),
        ("the very first minute", 0.1, 0.0, 0.0, Some(900), Some(20), 0.045),
    ];
    for (case, weight, before, since_s, baseline, canary, due) in table {
        let score = found(&REFERENCE, &bucket(weight, before, since_s, requests(baseline, canary, Some(9_999))));
        let of = |count: Option<u64>| number(count.unwrap_or(0));
        closes(&score.gain, &in_shift(due, of(baseline), of(canary)), 1e-9, case);
        close(score.due, due * (of(baseline) + of(canary)), 1e-9, case);
        assert_eq!(score.how, Some(Comparison::Concurrent), "{case}");
    }
}

#[test]
fn after_the_shift_what_the_front_counted_is_due() {
    // μ = 0.3·0.9·front; ℓ = (n·ln ρ + μ·(1 − ρ))/(2 + 0.25·μ).
    let expected = |mu: f64, came: f64| {
        [0.3, 0.1, 0.02].map(|ratio: f64| ((came * ratio.ln() + mu * (1.0 - ratio)) / (2.0 + 0.25 * mu)).min(8.0))
    };
    // (case, old, new, front, what is won)
    let table = [
        ("all came", None, Some(900), 1000, expected(270.0, 900.0)),
        ("a tenth came", None, Some(90), 1000, expected(270.0, 90.0)),
        ("nothing came: a dark bucket", None, None, 1000, expected(270.0, 0.0)),
        ("the old version still answers: nothing is lost", Some(900), None, 1000, expected(270.0, 900.0)),
        ("few came in front too", None, Some(0), 8, expected(0.27 * 8.0, 0.0)),
    ];
    for (case, baseline, canary, front, expected) in table {
        let score = found(&REFERENCE, &bucket(1.0, 0.1, 60.0, requests(baseline, canary, Some(front))));
        closes(&score.gain, &expected, 1e-9, case);
        close(score.due, 0.9 * number(front), 1e-9, case);
        assert_eq!(score.how, Some(Comparison::BeforeAfter), "{case}");
    }
}

#[test]
fn without_a_witness_missing_requests_say_nothing() {
    // (case, weight, seconds since the step, old, new, front)
    let table = [
        ("after the shift, no front", 1.0, 600.0, None, Some(1), None),
        ("after the shift, no record at all", 1.0, 600.0, None, None, None),
        ("in the bucket of the last step", 1.0, 59.0, None, Some(1), Some(1000)),
        ("next to nothing is due", 1.0, 600.0, None, None, Some(7)),
        ("in the shift, no request of the old version", 0.5, 600.0, Some(0), Some(1), Some(1000)),
        ("in the shift, no record of the old version", 0.5, 600.0, None, Some(1), Some(1000)),
        ("before the shift", 0.0, 600.0, Some(1000), None, Some(1000)),
    ];
    for (case, weight, since_s, baseline, canary, front) in table {
        let score = found(&REFERENCE, &bucket(weight, 0.1, since_s, requests(baseline, canary, front)));
        assert_eq!((score.gain, score.how), ([0.0; 3], None), "{case}");
    }
}

#[test]
fn lost_data_is_not_lost_traffic() {
    let lossy = TrafficReference { lost_chance: 0.05, ..REFERENCE };
    let short = |bucket: Bucket| Bucket { length_s: 10.0, per_minute: 6.0, cap_factor: 0.5, ..bucket };
    let shift = bucket(0.9, 0.0, 120.0, requests(Some(1000), None, None));
    let alone = bucket(1.0, 0.1, 120.0, requests(None, None, Some(1_000_000)));
    // (case, reference, bucket, most of what is won)
    let table = [
        ("side by side, eight a minute", &REFERENCE, shift, 8.0),
        ("side by side, half of that in ten seconds", &REFERENCE, short(shift), 4.0),
        ("side by side, one of twenty is lost", &lossy, shift, -(0.05_f64.ln())),
        ("alone, one of twenty is lost", &lossy, alone, -(0.05_f64.ln())),
    ];
    for (case, reference, bucket, cap) in table {
        let best = found(reference, &bucket).gain.into_iter().fold(f64::NEG_INFINITY, f64::max);
        close(best, cap, 1e-12, case);
    }
}

#[test]
fn a_policy_may_tolerate_less_than_half_of_the_due() {
    let gain = |factor| {
        let bucket = bucket(0.5, 0.1, 120.0, requests(Some(500), Some(300), None));
        traffic(&REFERENCE, &bucket, Margin { factor, points: 0.0 }).gain
    };
    let (usual, strict) = (gain(0.5), gain(0.95));
    assert!(strict.iter().zip(usual).all(|(strict, usual)| *strict > usual), "{strict:?} {usual:?}");
}

const PROBED: Witnesses = Witnesses { front: false, peer: false, probe: true, pair: false };
const IN_PAIRS: Witnesses = Witnesses { pair: true, ..PROBED };

fn probes(baseline: Option<u64>, canary: Option<u64>) -> Bucket {
    let share = |bad: Option<u64>| bad.map(|bad| Share { bad, all: 60 });
    let seen = Seen { probe_baseline: share(baseline), probe_canary: share(canary), ..Seen::default() };
    bucket(1.0, 0.1, 600.0, seen)
}

#[test]
fn both_arms_of_the_probe_are_compared() {
    // (case, the old version's failures of 60, the new one's)
    for (case, old, new) in [("none fails", 0, 0), ("one", 0, 1), ("both alike", 6, 6), ("only the old one", 6, 0)] {
        let gain = probe(PROBED, &probes(Some(old), Some(new)), margin(Metric::Probe)).unwrap();
        let part = 0.0045 / 0.0055;
        let (x0, x1) = (number(old), number(new));
        let rate = 1.0 / (1.5 + 0.09 * (x0 + x1) * part * (1.0 - part));
        let expected = RATIOS.map(|ratio| {
            let odds = ratio * part / (1.0 - part);
            let suspected = odds / (1.0 + odds);
            (rate * (x1 * (suspected / part).ln() + x0 * ((1.0 / (1.0 + odds)) / (1.0 - part)).ln())).min(4.0)
        });
        closes(&gain, &expected, 1e-9, case);
    }
}

#[test]
fn a_probe_says_so_much_a_minute() {
    let half = |bucket: Bucket| Bucket { cap_factor: 0.5, ..bucket };
    let all_fail = probes(Some(0), Some(60));
    // (case, witnesses, bucket, most of what is won)
    let table = [
        ("alone", PROBED, all_fail, 4.0),
        ("alone, ten seconds", PROBED, half(all_fail), 2.0),
        ("beside pairs", IN_PAIRS, all_fail, 1.2),
        ("beside pairs, ten seconds", IN_PAIRS, half(all_fail), 0.6),
    ];
    for (case, witnesses, bucket, cap) in table {
        let gain = probe(witnesses, &bucket, margin(Metric::Probe)).unwrap();
        let most = gain.into_iter().fold(f64::NEG_INFINITY, f64::max);
        assert!(most <= cap, "{case}: {most}");
    }
    // 60 failures give 60·ln((1/1)/π) at most, which is 12: only pairs and short buckets reach the cap.
    let most = |witnesses, bucket| probe(witnesses, &bucket, margin(Metric::Probe)).unwrap()[6];
    close(most(PROBED, all_fail), 4.0, 1e-12, "alone");
    close(most(IN_PAIRS, all_fail), 1.2, 1e-12, "beside pairs");
}

#[test]
fn half_a_probe_says_nothing() {
    let none = Witnesses::default();
    let table = [
        ("only the old version's", PROBED, Some(0), None),
        ("only the new version's", PROBED, None, Some(60)),
        ("none", PROBED, None, None),
        ("not connected", none, Some(0), Some(60)),
    ];
    for (case, witnesses, old, new) in table {
        assert_eq!(probe(witnesses, &probes(old, new), margin(Metric::Probe)), None, "{case}");
    }
}

/// A case, what came minute by minute (bad ones of all), and whether others fail in the last one.
type Minutes = (&'static str, Vec<Option<(u64, u64)>>, bool);

const PEERED: Witnesses = Witnesses { front: false, peer: true, probe: false, pair: false };

#[test]
fn peers_that_fail_much_more_than_usual_are_others_that_fail() {
    // Usually 0.1 % fail: of 1,000 more than 2.5 + 2.5·√2 + 3 = 9.04 are many.
    let usual = |x| vec![Some((x, 1000))];
    let table: Vec<Minutes> = vec![
        ("as usual", usual(1), false),
        ("just not many", usual(9), false),
        ("just many", usual(10), true),
        ("one failure of two calls is one failure", vec![Some((1, 2))], false),
        ("two of two are many", vec![Some((2, 2))], true),
        ("no record, and nothing before", vec![None], false),
        ("somewhat many, three minutes", vec![Some((8, 1000)); 3], false),
        ("somewhat many, four minutes: together it is too much", vec![Some((8, 1000)); 4], true),
        ("many, and a minute later none of few", vec![Some((40, 1000)), Some((0, 10))], true),
        ("many, and a minute later as usual", vec![Some((12, 1000)), Some((1, 1000))], false),
        ("many, and then no record", vec![Some((40, 1000)), None], true),
    ];
    for (case, minutes, expected) in table {
        let mut others = Others::default();
        let mut fail = false;
        for minute in minutes {
            let seen = Seen { peer: minute.map(|(bad, all)| Share { bad, all }), ..Seen::default() };
            fail = others.fail(PEERED, &REFERENCE, &bucket(1.0, 0.1, 600.0, seen));
        }
        assert_eq!(fail, expected, "{case}: {others:?}");
    }
}

#[test]
fn probes_of_the_old_version_that_fail_are_others_that_fail() {
    let table: Vec<Minutes> = vec![
        ("none", vec![Some((0, 60))], false),
        ("one", vec![Some((1, 60))], false),
        ("two in a minute", vec![Some((2, 60))], true),
        ("one in two successive minutes", vec![Some((1, 60)); 2], true),
        ("one, none, one", vec![Some((1, 60)), Some((0, 60)), Some((1, 60))], false),
        ("one, and then no record", vec![Some((1, 60)), None], false),
        ("three, and then no record", vec![Some((3, 60)), None], true),
        ("five of a busy service's 600", vec![Some((5, 600))], false),
        ("six of them", vec![Some((6, 600))], true),
    ];
    for (case, minutes, expected) in table {
        let mut others = Others::default();
        let mut fail = false;
        for minute in minutes {
            let seen = Seen { probe_baseline: minute.map(|(bad, all)| Share { bad, all }), ..Seen::default() };
            fail = others.fail(PROBED, &REFERENCE, &bucket(1.0, 0.1, 600.0, seen));
        }
        assert_eq!(fail, expected, "{case}: {others:?}");
    }
}

#[test]
fn who_is_not_connected_is_no_witness() {
    let many = Share { bad: 60, all: 60 };
    let seen = Seen { peer: Some(many), probe_baseline: Some(many), ..Seen::default() };
    let mut others = Others::default();
    assert!(!others.fail(Witnesses::default(), &REFERENCE, &bucket(0.1, 0.0, 600.0, seen)));
    assert_eq!(others, Others::default());
    assert!(others.fail(PEERED, &REFERENCE, &bucket(0.1, 0.0, 600.0, seen)), "at any weight");
}
