//! The level of the latencies, against numbers that were worked out apart.

use super::super::tests::{close, closes};
use super::super::{Counts, DetectorSettings, Seen, TrafficSchedule};
use super::*;

/// Latencies that are spread evenly around their octiles, and whose score falls by 1 per unit of log latency.
const SHAPE: LatencyShape = LatencyShape { above: [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125], slope: 1.0 };
/// Its variance of one request's level.
const VARIANCE: f64 = 0.107_142_857_142_857_14;

const REFERENCE: LatencyReference = LatencyReference {
    usual: 0.5,
    slope: 1.0,
    variance: VARIANCE,
    drift: 0.0001,
    level: 0.01,
    doubt: 0.0004,
    absorbed: 0.0,
    peak: NO_PEAK,
};

/// `all` requests, so many of them above each octile.
fn latencies(all: u64, above: u64) -> Option<Counts> {
    let latencies = Latencies::new(all, [above; 7], [None; 4], [None; 4]).ok();
    Some(Counts { latencies, ..Counts::of_requests(all) })
}

/// A minute of traffic that is not young.
fn bucket(weight: f64, baseline: Option<Counts>, canary: Option<Counts>) -> Bucket {
    Bucket {
        start_s: 600,
        seen: Seen { baseline, canary, ..Seen::default() },
        weight,
        weight_before: 0.0,
        since_step_s: 600.0,
        length_s: 60.0,
        young: 0.0,
        warm_up: 0.0,
        per_minute: 1.0,
        cap_factor: 1.0,
    }
}

fn score(reference: &LatencyReference, bucket: &Bucket) -> BodyScore {
    BodyScore::of(reference, bucket, 1.09, 1000.0)
}

#[test]
fn a_record_s_level_is_its_score_against_the_usual_one() {
    let octiles = Octiles::of(&SHAPE);
    close(octiles.variance, VARIANCE, 1e-12, "sum of min(P, P') − P·P' over 49");
    // (case, slope, requests, above each octile, level, variance)
    let table = [
        ("as usual", 1.0, 100, 50, 0.0, VARIANCE / 100.0 + 0.0004),
        ("slower", 1.0, 100, 60, 0.1, VARIANCE / 100.0 + 0.0004),
        ("faster, many", 1.0, 10_000, 4_000, -0.1, VARIANCE / 10_000.0 + 0.0004),
        ("a steep score moves further per unit", 2.0, 100, 60, 0.05, VARIANCE / 400.0 + 0.0004),
        ("a flat one is steep enough", 0.0, 100, 60, 0.1 / 0.05, VARIANCE / 0.25 + 0.0004),
    ];
    for (case, slope, all, above, value, variance) in table {
        let octiles = Octiles::of(&LatencyShape { slope, ..SHAPE });
        let level = octiles.level(latencies(all, above).unwrap().latencies.as_ref()).unwrap();
        closes(&[level.value, level.variance], &[value, variance], 1e-12, case);
    }
    assert_eq!(octiles.level(None), None, "not measured");
    assert_eq!(octiles.level(latencies(0, 0).unwrap().latencies.as_ref()), None, "no request");
    let single = Octiles::of(&LatencyShape { above: [1.0; 7], slope: 1.0 });
    close(single.variance, 0.01, 1e-12, "all durations alike: the least variance");
}

/// Levels of the last slots before the shift, all with the error variance `variance`.
fn levels(slots: i64, without: &[i64], variance: f64, level: fn(i64) -> f64) -> BTreeMap<i64, Level> {
    let slots = (-slots..0).filter(|slot| !without.contains(slot));
    slots.map(|slot| (slot, Level { value: level(slot), variance })).collect()
}

/// Up and down by up to 10 %.
fn uneven(slot: i64) -> f64 {
    0.05 * super::super::bucket::seconds((slot * 7).rem_euclid(5) - 2)
}

fn jump(slot: i64) -> f64 {
    if slot >= -10 { 0.4 } else { 0.0 }
}

fn rise(slot: i64) -> f64 {
    0.1 * super::super::bucket::seconds(slot)
}

#[test]
fn the_past_gives_drift_and_level() {
    struct Row {
        case: &'static str,
        levels: BTreeMap<i64, Level>,
        slots: i64,
        length_s: f64,
        /// ν², m and P, worked out apart.
        expected: [f64; 3],
    }
    let row = |case, slots, length_s, levels, expected| Row { case, levels, slots, length_s, expected };
    let gaps = [-4, -11];
    let table = [
        row("no slots", 0, 60.0, BTreeMap::new(), [0.012 * 0.012, 0.0, 0.05]),
        row("buckets of six minutes: three are no distance", 1, 360.0, BTreeMap::new(), {
            [6.0 * 0.012 * 0.012, 0.0, 0.05 + 6.0 * 0.012 * 0.012]
        }),
        row("too short to measure drift", 3, 60.0, levels(3, &[], 5e-4, |slot| 3.0 * rise(slot)), {
            [0.000_144, -0.332_911_144_459_363_4, 2.079_063_581_075_746_7e-5]
        }),
        row(
            "calm",
            30,
            60.0,
            levels(30, &[], 5e-4, |_| 0.0),
            [4.514_386_084_243_633_4e-5, 0.0, { 0.000_129_353_787_995_598_8 }],
        ),
        row("uneven, with gaps", 30, 60.0, levels(30, &gaps, 5e-4, uneven), {
            [0.000_496_577_403_837_432_1, 0.027_047_522_406_635_91, 0.000_309_517_644_321_813]
        }),
        row("a jump is believed at once", 30, 60.0, levels(30, &gaps, 5e-4, jump), {
            [0.000_476_927_102_418_488_77, 0.399_982_150_126_028_34, 0.000_306_146_121_310_161_3]
        }),
        row("uneven, in buckets of ten seconds", 90, 10.0, levels(90, &[], 5e-4, uneven), {
            [5.571_615_994_581_339e-5, -0.026_653_985_509_445_54, 5.593_517_745_422_984e-5]
        }),
        row("three calm hours: the least drift", 180, 60.0, levels(180, &[], 5e-4, |_| 0.0), {
            [0.004 * 0.004, 0.0, 8.179_977_728_257_46e-5]
        }),
        row("a steady rise: the most drift", 180, 60.0, levels(180, &[], 5e-4, rise), {
            [0.05 * 0.05, -0.117_082_039_324_993_7, 0.000_427_050_983_124_842_2]
        }),
    ];
    for Row { case, levels, slots, length_s, expected } in table {
        let reference = LatencyReference::of_history(&SHAPE, &levels, slots, 60.0 / length_s);
        closes(&[reference.drift, reference.level, reference.doubt], &expected, 1e-12, case);
        closes(&[reference.absorbed, reference.peak], &[0.0, -9.0], 1e-12, case);
    }
}

#[test]
fn side_by_side_the_levels_are_compared() {
    // The old version at 0.02, the new one at 0.12; R0 + R1 = 2·(r0/1000 + 0.0004), and 0.03² for the minute.
    let both = bucket(0.5, latencies(1000, 520), latencies(1000, 620));
    let variance = 2.0 * (VARIANCE / 1000.0 + 0.0004);
    let expected = |difference: f64, allowed: f64, noise: f64| {
        BODY_SHIFTS.map(|shift| shift * (difference - allowed - shift / 2.0) / (variance + noise))
    };
    let found = score(&REFERENCE, &both);
    closes(&found.no_change, &expected(0.1, 0.02, 0.0009), 1e-9, "A");
    closes(&found.margin, &expected(0.1, 1.09_f64.ln(), 0.0009), 1e-9, "B");
    closes(&found.raw_early, &found.no_change, 1e-12, "no cap reached");
    assert_eq!((found.raw_late, found.how), ([0.0; 5], Some(Comparison::Concurrent)));
    let (difference, of) = found.difference.unwrap();
    closes(&[difference, of], &[0.1, variance], 1e-12, "for people");

    let short = Bucket { length_s: 10.0, per_minute: 6.0, cap_factor: 0.5, ..both };
    closes(&score(&REFERENCE, &short).no_change, &expected(0.1, 0.02, 0.0054), 1e-9, "ten seconds");
    let far = bucket(1.0, latencies(1000, 500), latencies(1000, 1000));
    close(score(&REFERENCE, &far).no_change[2], 5.0, 1e-12, "at most five a minute, also at full weight");
    assert!(score(&REFERENCE, &far).raw_early[2] > 5.0, "the onset has no cap");
    let fresh = Bucket { warm_up: 0.03, ..both };
    closes(&score(&REFERENCE, &fresh).no_change, &expected(0.07, 0.02, 0.0009), 1e-9, "a warm-up is allowed");
    let wide = BodyScore::of(&REFERENCE, &both, 1.3, 1000.0);
    closes(&wide.margin, &expected(0.1, 1.3_f64.ln(), 0.0009), 1e-9, "the margin is the policy's");
    closes(&wide.no_change, &found.no_change, 1e-12, "null A is not");
}

#[test]
fn cold_requests_of_young_traffic_are_taken_out() {
    // (case, young share, requests, by how much the level is lower)
    let table = [
        ("all young, few: three requests", 1.0, 100, 3.0 / 100.0 * 0.6),
        ("all young, many: one in forty", 1.0, 1000, 25.0 / 1000.0 * 0.6),
        ("half young", 0.5, 1000, 12.5 / 1000.0 * 0.6),
        ("old traffic", 0.0, 1000, 0.0),
    ];
    for (case, young, all, lower) in table {
        let bucket = Bucket { young, ..bucket(0.5, None, latencies(all, all * 6 / 10)) };
        close(Canary::of(&Octiles::of(&SHAPE), &bucket).unwrap().level.value, 0.1 - lower, 1e-12, case);
    }
}

#[test]
fn alone_the_level_is_compared_with_its_past() {
    let alone = |canary| bucket(1.0, None, canary);
    // ψ̄ + 0.2 of 1,000 requests; S = P + ν² + R1 + 0.009².
    let spread = 0.0004 + 0.0001 + VARIANCE / 1000.0 + 0.0004 + 0.009 * 0.009;
    let expected = |beyond: f64, left: f64| {
        BODY_SHIFTS.map(|shift| (shift * left * beyond - (shift * left).powi(2) / 2.0) / spread)
    };
    let capped = |values: [f64; 5]| values.map(|value| value.min(3.0));
    let at = |all, value: u64| latencies(all, all * (50 + value) / 100);
    struct Row {
        case: &'static str,
        reference: LatencyReference,
        bucket: Bucket,
        usual_requests: f64,
        /// e of null A, and h.
        beyond: f64,
        left: f64,
    }
    let row = |case, reference, bucket, usual_requests, beyond, left| Row {
        case,
        reference,
        bucket,
        usual_requests,
        beyond,
        left,
    };
    let table = [
        row("slower by 0.2", REFERENCE, alone(at(1000, 20)), 1000.0, 0.2 - 0.01 - 0.04, 1.0),
        row("hardly slower", REFERENCE, alone(at(1000, 6)), 1000.0, 0.06 - 0.01 - 0.04, 1.0),
        row(
            "a peak counts as usual",
            LatencyReference { peak: 0.1, ..REFERENCE },
            alone(at(1000, 20)),
            1000.0,
            0.06,
            1.0,
        ),
        row("a warm-up is allowed", REFERENCE, Bucket { warm_up: 0.03, ..alone(at(1000, 20)) }, 1000.0, 0.12, 1.0),
        row("twice the load", REFERENCE, alone(at(1000, 20)), 500.0, 0.15 - 0.1 * 2.0_f64.ln(), 1.0),
        row("at most e² of the load", REFERENCE, alone(at(1000, 50)), 1.0, 0.45 - 0.2, 1.0),
        row("less load is no allowance", REFERENCE, alone(at(1000, 20)), 4000.0, 0.15, 1.0),
        row(
            "half is absorbed",
            LatencyReference { absorbed: 0.5, ..REFERENCE },
            alone(at(1000, 20)),
            1000.0,
            0.15,
            0.5,
        ),
    ];
    for Row { case, reference, bucket, usual_requests, beyond, left } in table {
        let found = BodyScore::of(&reference, &bucket, 1.09, usual_requests);
        closes(&found.raw_early, &expected(beyond, left), 1e-6, &format!("{case}: early onset"));
        closes(&found.raw_late, &expected(beyond, 1.0), 1e-6, &format!("{case}: a late one, nothing absorbed"));
        closes(&found.no_change, &capped(expected(beyond, left)), 1e-6, &format!("{case}: A"));
        let margin = expected(beyond + 0.04 - 1.09_f64.ln(), left);
        closes(&found.margin, &capped(margin), 1e-6, &format!("{case}: B"));
        assert_eq!(found.how, Some(Comparison::BeforeAfter), "{case}");
    }
}

#[test]
fn what_is_compared_with_what() {
    let (some, none) = (latencies(100, 90), Some(Counts::of_requests(100)));
    // (case, weight, old, new, how)
    let table = [
        ("both, in the shift", 0.5, some, some, Some(Comparison::Concurrent)),
        ("the new one alone, at full weight", 1.0, None, some, Some(Comparison::BeforeAfter)),
        ("the new one alone, in the shift", 0.5, None, some, None),
        ("the old one alone", 0.5, some, None, None),
        ("not measured of the new one", 0.5, some, none, None),
        ("no request of the new one", 1.0, some, latencies(0, 0), None),
    ];
    for (case, weight, baseline, canary, how) in table {
        let found = score(&REFERENCE, &bucket(weight, baseline, canary));
        assert_eq!(found.how, how, "{case}");
        assert!(how.is_some() || found == BodyScore::NOTHING, "{case}: {found:?}");
    }
}

#[test]
fn a_shift_below_the_warm_up_allowance_says_nothing() {
    // (case, allowance, how many of the suspected shifts are not scored)
    let table =
        [("none", 0.0, 0), ("below 0.08", 0.05, 1), ("0.08 itself counts", 0.08, 1), ("a fresh start", 0.276, 3)];
    for (case, warm_up, unscored) in table {
        for bucket in [bucket(0.5, latencies(1000, 500), latencies(1000, 700)), bucket(1.0, None, latencies(1000, 700))]
        {
            let found = score(&REFERENCE, &Bucket { warm_up, ..bucket });
            for part in [found.no_change, found.margin, found.raw_early] {
                let zeros = part.iter().take_while(|value| **value == 0.0).count();
                assert_eq!(zeros, unscored, "{case}: {found:?}");
            }
        }
    }
}

#[test]
fn a_warm_up_fades_with_the_age_of_the_traffic() {
    let settings = DetectorSettings::default_method();
    let kept = |seconds: f64| (-seconds / 45.0).exp();
    let two = vec![(0.0, 0.1), (300.0, 1.0)];
    // (case, plan, start, ā = half of the mean of exp(−age/45 s))
    let table = [
        ("the first minute", two.clone(), 0, 0.5 * 0.75 * (1.0 - kept(60.0))),
        ("the second one", two.clone(), 60, 0.5 * 0.75 * (kept(60.0) - kept(120.0))),
        ("half an hour later", two.clone(), 2100, 0.0),
        ("nine in ten requests are new", two, 300, {
            0.5 * 0.75 * (0.1 * (kept(300.0) - kept(360.0)) + 0.9 * (1.0 - kept(60.0)))
        }),
        ("a step in the middle of the minute", vec![(30.0, 0.1)], 0, 0.5 * 0.75 * (1.0 - kept(30.0))),
        ("no traffic yet", vec![(300.0, 1.0)], 0, 0.0),
    ];
    for (case, plan, start_s, expected) in table {
        let schedule = TrafficSchedule::new(60, plan, 3600.0, 120.0).unwrap();
        close(Bucket::new(&settings, &schedule, start_s, Seen::default()).warm_up, expected, 1e-12, case);
    }
}

#[test]
fn after_the_decision_the_level_follows_who_served() {
    let left = 0.5_f64.powf(0.1);
    let known = LatencyReference { absorbed: 0.4, peak: 0.2, ..REFERENCE };
    let doubt = 0.0004 + 0.0001;
    struct Row {
        case: &'static str,
        bucket: Bucket,
        /// m, P, b and LPK.
        expected: [f64; 4],
    }
    let error = |all: f64| VARIANCE / all + 0.0004;
    let old = |value: f64, gain: f64| [0.01 + gain * (value - 0.01), doubt * (1.0 - gain), 0.4 * (1.0 - gain)];
    let new = |value: f64, gain: f64| [0.01 + gain * (value - 0.01 - 0.04), doubt * (1.0 - gain), 0.4 + gain * 0.6];
    let faded = 0.01 + 0.19 * left;
    let usual_gain = doubt / (doubt + error(1000.0));
    let alone_gain = doubt / (doubt + error(1000.0) + 0.009 * 0.009);
    let row = |case, bucket, [m, p, b]: [f64; 3], peak| Row { case, bucket, expected: [m, p, b, peak] };
    let table = [
        row(
            "the old version, near",
            bucket(0.5, latencies(1000, 520), latencies(1000, 900)),
            old(0.02, usual_gain),
            faded,
        ),
        row("it jumps: believed at once", bucket(0.5, latencies(1000, 900), None), old(0.4, 0.9), {
            0.4 - 1.5 * error(1000.0).sqrt()
        }),
        row("the new one alone", bucket(1.0, None, latencies(1000, 600)), new(0.1, alone_gain), faded),
        row("the new one alone, in the shift", bucket(0.5, None, latencies(1000, 600)), [0.01, doubt, 0.4], faded),
        row("nobody", bucket(1.0, None, None), [0.01, doubt, 0.4], faded),
    ];
    for Row { case, bucket, expected } in table {
        let mut reference = known;
        reference.update(&bucket, left);
        let LatencyReference { level, doubt, absorbed, peak, .. } = reference;
        closes(&[level, doubt, absorbed, peak], &expected, 1e-9, case);
        let fixed = |reference: LatencyReference| LatencyReference {
            level: 0.0,
            doubt: 0.0,
            absorbed: 0.0,
            peak: 0.0,
            ..reference
        };
        assert_eq!(fixed(reference), fixed(known), "{case}: the rest stays");
    }
}
