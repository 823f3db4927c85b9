//! The formulas of one rate in one bucket, against numbers that were worked out apart.

use super::super::method::RATES;
use super::super::mixture::log_sum;
use super::super::tests::{close, closes};
use super::super::{DetectorSettings, Seen};
use super::*;

/// A minute in the middle of the shift, of traffic that is not young.
const MINUTE: Bucket = Bucket {
    start_s: 120,
    seen: Seen { baseline: None, canary: None, front: None, peer: None, probe_baseline: None, probe_canary: None },
    weight: 0.1,
    weight_before: 0.0,
    since_step_s: 120.0,
    length_s: 60.0,
    young: 0.0,
    warm_up: 0.0,
    per_minute: 1.0,
    cap_factor: 1.0,
};

/// A minute in which the new version has all traffic.
const ALONE: Bucket = Bucket { weight: 1.0, ..MINUTE };

/// A reference of 1 %, whatever the metric's prior: so many events outweigh it.
const ONE_PERCENT: RateReference = past(1e7, 1e9);

const fn past(bad: f64, all: f64) -> RateReference {
    RateReference {
        bad_long: bad,
        all_long: all,
        bad_short: 0.0,
        all_short: 0.0,
        peak: 0.0,
        dispersion: 1.0,
        is_measured: true,
    }
}

const fn share(bad: u64, all: u64) -> Share {
    Share { bad, all }
}

/// The rate of `metric` in a bucket: what the old version and the new one did.
fn rate<'a>(
    metric: Metric,
    reference: &'a RateReference,
    bucket: &'a Bucket,
    baseline: Share,
    canary: Share,
) -> Rate<'a> {
    let at = METRICS.iter().position(|known| *known == metric).unwrap();
    Rate { metric, method: &RATES[at], reference, bucket, baseline, canary, canary_wide: canary }
}

/// The worked bucket of the specification: a canary of 10 %, an old version without an error in the past hour, 5 % fail.
mod worked {
    use super::*;

    const PAST: RateReference = RateReference { dispersion: 1.3, ..past(0.0, 33_000.0) };
    const X0: f64 = 0.0;
    const X1: f64 = 5.0;

    fn bucket() -> Rate<'static> {
        rate(Metric::E5, &PAST, &MINUTE, share(0, 900), share(5, 100))
    }

    /// What stands in the table beside each null.
    struct Row {
        case: &'static str,
        null: Null,
        expected: f64,
        part: f64,
        rate: f64,
        all: [f64; 3],
        weight: f64,
        best: f64,
    }

    #[test]
    fn its_parts_are_those_of_the_table() {
        let rate = bucket();
        let nulls = (rate.method.no_change.concurrent, rate.method.margin.concurrent);
        let table = [
            Row {
                case: "A",
                null: nulls.0,
                expected: 0.011_552_24,
                part: 0.462_365_6,
                rate: 0.753_031_5,
                all: [104.0, 0.01, 1004.0],
                weight: 0.400_238_9,
                best: 0.004_883_926,
            },
            Row {
                case: "B",
                null: nulls.1,
                expected: 0.051_791_04,
                part: 0.794_050_3,
                rate: 0.758_496_5,
                all: [120.0, 0.05, 1020.0],
                weight: 0.6,
                best: 0.004_485_294,
            },
        ];
        let usual = PAST.rate(rate.method);
        close(usual, 1.492_537e-5, 1e-11, "p");
        close(900.0 * usual, 0.013_432_84, 1e-8, "λ0");
        for row in table {
            let Row { case, null, .. } = row;
            let expected = rate.expected(&null, usual, 100.0);
            close(expected, row.expected, 1e-8, &format!("{case}: λ1"));
            let part = expected / (expected + 900.0 * usual);
            close(part, row.part, 1e-7, &format!("{case}: π"));
            let learning = 1.0 / (1.3 + null.noise * null.noise * X1 * part * (1.0 - part));
            close(learning, row.rate, 1e-7, &format!("{case}: η"));
            let clean = Clean::of(&null, 900.0, 100.0, part, (X0, X1));
            closes(&[clean.slope, clean.constant, clean.all], &row.all, 1e-9, &format!("{case}: a, b, N"));
            close(clean.weight, row.weight, 1e-7, &format!("{case}: u"));
            close(clean.best, row.best, 1e-9, &format!("{case}: q"));
        }
    }

    #[test]
    fn given_the_total_alone_it_says_what_the_first_line_says() {
        let mut rate = bucket();
        let without = RateMethod { clean: None, ..*rate.method };
        rate.method = &without;
        let expected = [0.273_751, 0.565_188, 1.028_093, 1.555_994, 2.117_177, 2.623_328, 2.832_170];
        closes(&rate.against_no_change().raw, &expected, 1e-6, "A: (a1)");
    }

    #[test]
    fn the_totals_say_what_the_second_line_says() {
        let rate = bucket();
        let usual = PAST.rate(rate.method);
        let expected = rate.expected(&rate.method.no_change.concurrent, usual, 100.0);
        let part = expected / (expected + 900.0 * usual);
        let clean = Clean::of(&rate.method.no_change.concurrent, 900.0, 100.0, part, (X0, X1));
        // Nothing is added to a mixture that has nothing: what is left is u·exp(U).
        let mut mixed = [f64::NEG_INFINITY; 7];
        clean.add_to(&mut mixed, 0.753_031_52, (900.0 * usual, expected.max(1e-3 * 100.0)), (X0, X1));
        let totals = mixed.map(|value| value - clean.weight.ln());
        let expected = [-2.062_926, -1.474_271, -0.424_989, 1.033_878, 3.180_719, 6.564_136, 8.395_111];
        closes(&totals, &expected, 1e-6, "A: U");
    }

    #[test]
    fn both_together_are_what_is_won_against_either_null() {
        let table = [
            (
                "A",
                bucket().against_no_change(),
                [-0.174_971, 0.137_219, 0.661_882, 1.378_312, 2.681_978, 5.677_146, 7.485_151],
            ),
            (
                "B",
                bucket().against_margin(),
                [-0.732_386, -0.579_960, -0.261_933, 0.418_828, 2.094_057, 5.403_459, 7.244_342],
            ),
        ];
        for (case, score, expected) in table {
            closes(&score.raw, &expected, 1e-6, &format!("{case}: raw"));
            closes(&score.gain, &expected, 1e-6, &format!("{case}: ℓ, no cap reached"));
            assert_eq!(score.how, Some(Comparison::Concurrent), "{case}");
        }
    }

    #[test]
    fn one_such_minute_does_not_suffice() {
        let gain = bucket().against_no_change().gain;
        let settings = DetectorSettings::default_method();
        let stakes = settings.stakes.rates[0];
        let worth = log_sum(gain.iter().zip(stakes).map(|(gain, stake)| gain + stake));
        close(0.25_f64.ln() + 0.7_f64.ln() + worth, 2.844, 1e-3, "E at a first bucket");
        assert!(2.844 < settings.enough(), "{}", settings.enough());
    }
}

#[test]
fn beside_an_old_version_that_fails_the_test_is_binomial() {
    // π = λ1/(λ1 + λ0), and η·(x1·ln(π_ρ/π) + x0·ln((1−π_ρ)/(1−π))), written as in the specification.
    let table = [
        ("as many", Metric::E5, share(90, 9000), share(10, 1000), [1.04, 1e-4, 0.15]),
        ("five times", Metric::E5, share(90, 9000), share(50, 1000), [1.04, 1e-4, 0.15]),
        ("a slow tail", Metric::Q99, share(80, 9000), share(30, 1000), [1.08, 0.0, 0.15]),
        ("a slow tenth", Metric::Q90, share(80, 9000), share(12, 1000), [1.02, 0.0, 0.08]),
    ];
    for (case, metric, baseline, canary, [factor, points, noise]) in table {
        let score = rate(metric, &ONE_PERCENT, &MINUTE, baseline, canary).against_no_change();
        let (x0, x1) = (number(baseline.bad), number(canary.bad));
        let (beside, expected) = (number(baseline.all) * 0.01, number(canary.all) * (0.01 * factor + points));
        let part = expected / (expected + beside);
        let learning = 1.0 / (1.0 + noise * noise * (x0 + x1) * part * (1.0 - part));
        let raw = RATIOS.map(|ratio| {
            let odds = ratio * part / (1.0 - part);
            let suspected = odds / (1.0 + odds);
            learning * (x1 * (suspected / part).ln() + x0 * ((1.0 / (1.0 + odds)) / (1.0 - part)).ln())
        });
        closes(&score.raw, &raw, 1e-6, case);
    }
}

#[test]
fn short_buckets_share_the_noise_and_the_cap_of_their_minute() {
    // Half of all fails: every cap is reached, of a minute and of ten seconds.
    let short = Bucket { length_s: 10.0, per_minute: 6.0, cap_factor: 0.5, ..MINUTE };
    for (metric, cap) in
        [(Metric::E5, 9.0), (Metric::Tx, 9.0), (Metric::Q90, 5.0), (Metric::Q99, 5.0), (Metric::E4, 7.0)]
    {
        for (case, bucket, cap) in [("a minute", &MINUTE, cap), ("ten seconds", &short, 0.5 * cap)] {
            let score = rate(metric, &ONE_PERCENT, bucket, share(90, 9000), share(1000, 2000)).against_no_change();
            // A tail may be clumped less than errors, but all of it is far beyond the cap at a ratio of 2.7.
            close(score.gain[3], cap, 1e-12, &format!("{metric}, {case}"));
            assert!(score.raw[3] > cap, "{metric}, {case}: uncapped for the onset");
        }
    }
    let noisy =
        |bucket| rate(Metric::E5, &ONE_PERCENT, bucket, share(90, 9000), share(40, 1000)).against_no_change().raw;
    assert!(noisy(&short)[4] < noisy(&MINUTE)[4], "the same counts in ten seconds say less");
}

#[test]
fn against_the_past_the_highest_believable_rate_counts() {
    let method = &RATES[0];
    let old = RateReference { bad_long: 9.5, all_long: 500.0, ..past(0.0, 0.0) };
    // (case, reference, rate)
    let table = [
        ("the long reference: 10 of 1,000", old, 0.01),
        ("a good recent time: (0 + 150·1 %)/(850 + 150) is less", RateReference { all_short: 850.0, ..old }, 0.01),
        (
            "a bad recent time: (28.5 + 1.5)/(850 + 150)",
            RateReference { bad_short: 28.5, all_short: 850.0, ..old },
            0.03,
        ),
        ("a peak", RateReference { peak: 0.2, ..old }, 0.2),
        ("never more than 95 %", RateReference { peak: 0.99, ..old }, 0.95),
    ];
    for (case, reference, expected) in table {
        close(reference.upper_rate(method), expected, 1e-12, case);
    }
    close(past(0.0, 1e12).rate(method), 1e-7, 1e-12, "a reference is at least 1e-7");
    close(past(1e9, 1e9).rate(method), 0.95, 1e-12, "and at most 95 %");
}

#[test]
fn against_the_past_each_of_three_caps_can_be_the_least() {
    // μ = 1000·(1 %·1.15 + 0.02 %) = 11.7, η = 1/(1 + 0.2²·11.7).
    let (mu, learning) = (11.7_f64, 1.0 / (1.0 + 0.04 * 11.7_f64));
    // (case, failed of 1,000, which ratio, what is won)
    let table = [
        ("itself: hardly more than is allowed", 12, 0, learning * (12.0 * 1.15_f64.ln() - mu * 0.15)),
        ("three a minute: a gross excess, and a ratio that expects one", 200, 6, 3.0),
        (
            "what a small ratio itself would give, and two standard deviations",
            200,
            0,
            learning * mu * (1.15 * 1.15_f64.ln() - 0.15) + 2.0 * 1.15_f64.ln() * (1.15 * learning * mu).sqrt(),
        ),
    ];
    for (case, failed, ratio, expected) in table {
        let score = rate(Metric::E5, &ONE_PERCENT, &ALONE, Share::NOTHING, share(failed, 1000)).against_no_change();
        close(score.gain[ratio], expected, 1e-5, case);
        assert_eq!(score.how, Some(Comparison::BeforeAfter), "{case}");
        let raw = RATIOS.map(|ratio| learning * (number(failed) * ratio.ln() - mu * (ratio - 1.0)));
        closes(&score.raw, &raw, 1e-4, &format!("{case}: raw has no cap"));
    }
    let short = Bucket { length_s: 10.0, per_minute: 6.0, cap_factor: 0.5, ..ALONE };
    let score = rate(Metric::E5, &ONE_PERCENT, &short, Share::NOTHING, share(200, 1000)).against_no_change();
    close(score.gain[4], 1.5, 1e-12, "the second cap is per minute, and at least half");
    let huge = rate(Metric::E5, &past(0.0, 1e12), &ALONE, Share::NOTHING, share(1 << 52, 1 << 53)).against_no_change();
    assert!(huge.raw.iter().all(|raw| *raw <= 1e6), "{huge:?}");
}

#[test]
fn what_is_compared_with_what() {
    let unknown = RateReference { is_measured: false, ..past(0.0, 0.0) };
    let (some, none) = (share(1, 100), Share::NOTHING);
    // (case, reference, bucket, old, new, how)
    let table = [
        ("both, in the shift", &ONE_PERCENT, &MINUTE, some, some, Some(Comparison::Concurrent)),
        ("both, at full weight", &ONE_PERCENT, &ALONE, some, some, Some(Comparison::Concurrent)),
        ("both, of a signal that the old one never had before", &unknown, &MINUTE, some, some, {
            Some(Comparison::Concurrent)
        }),
        ("the new one alone, at full weight", &ONE_PERCENT, &ALONE, none, some, Some(Comparison::BeforeAfter)),
        ("the new one alone, in the shift", &ONE_PERCENT, &MINUTE, none, some, None),
        ("the new one alone, and no past of this signal", &unknown, &ALONE, none, some, None),
        ("not measured of the new one", &ONE_PERCENT, &ALONE, some, none, None),
        ("measured of nobody", &ONE_PERCENT, &ALONE, none, none, None),
    ];
    for (case, reference, bucket, baseline, canary, how) in table {
        let rate = rate(Metric::E5, reference, bucket, baseline, canary);
        for score in [rate.against_no_change(), rate.against_margin()] {
            assert_eq!(score.how, how, "{case}");
            assert!(how.is_some() || score == Score::NOTHING, "{case}: {score:?}");
        }
    }
}

#[test]
fn cold_starts_of_young_traffic_are_allowed() {
    let young = |young| Bucket { young, ..MINUTE };
    // (case, metric, young share, requests, slow requests that are allowed)
    let table = [
        ("all young, few requests", Metric::Q99, 1.0, 40.0, 3.0),
        ("all young, many requests", Metric::Q90, 1.0, 1000.0, 25.0),
        ("half of it", Metric::Q90, 0.5, 1000.0, 12.5),
        ("old traffic", Metric::Q99, 0.0, 1000.0, 0.0),
        ("errors have no warm-up", Metric::E5, 1.0, 1000.0, 0.0),
    ];
    for (case, metric, share_young, all, expected) in table {
        let bucket = young(share_young);
        let rate = rate(metric, &ONE_PERCENT, &bucket, share(0, 1000), share(0, 1000));
        close(rate.cold(all), expected, 1e-12, case);
    }
}

#[test]
fn small_ratios_say_nothing_beside_a_warm_up() {
    // (case, metric, young share, how many of the ratios are not scored)
    let table = [
        ("all young: below 2", Metric::Q90, 1.0, 3),
        ("just enough: below 2", Metric::Q99, 0.6, 3),
        ("partly young: below 1.3", Metric::Q90, 0.5, 1),
        ("just enough: below 1.3", Metric::Q99, 0.2, 1),
        ("hardly young: all", Metric::Q90, 0.19, 0),
        ("errors: all", Metric::E5, 1.0, 0),
    ];
    for (case, metric, young, unscored) in table {
        for (bucket, baseline) in [(MINUTE, share(90, 9000)), (ALONE, Share::NOTHING)] {
            let bucket = Bucket { young, ..bucket };
            let rate = rate(metric, &ONE_PERCENT, &bucket, baseline, share(400, 1000));
            for score in [rate.against_no_change(), rate.against_margin()] {
                let zeros = |values: [f64; 7]| values.iter().take_while(|value| **value == 0.0).count();
                assert_eq!((zeros(score.raw), zeros(score.gain)), (unscored, unscored), "{case}: {score:?}");
            }
        }
    }
}

#[test]
fn against_the_past_the_margin_is_measured_further_up() {
    let mut rate = rate(Metric::Q99, &ONE_PERCENT, &ALONE, Share::NOTHING, share(60, 1000));
    let same = rate.against_margin();
    rate.canary_wide = share(10, 1000);
    assert!(rate.against_margin().gain[3] < same.gain[3], "null B, alone: two edges up at least");
    let (no_change, narrow) = (rate.against_no_change(), Rate { canary_wide: rate.canary, ..rate }.against_no_change());
    assert_eq!(no_change, narrow, "null A: one edge");
    let beside = Rate { baseline: share(90, 9000), bucket: &MINUTE, ..rate };
    assert_eq!(beside.against_margin(), Rate { canary_wide: rate.canary, ..beside }.against_margin(), "side by side");
}

#[test]
fn information_is_what_five_times_the_margin_would_have_shown() {
    let clean = RateReference { dispersion: 1.3, ..past(0.0, 33_000.0) };
    // (case, reference, bucket, old, new, expected); the numbers were worked out apart.
    let table = [
        ("side by side", &ONE_PERCENT, &MINUTE, share(7, 900), share(50, 100), 3.858_372),
        ("side by side, a clean old version", &clean, &MINUTE, share(0, 900), share(0, 100), 0.347_231),
        ("alone, few requests", &ONE_PERCENT, &ALONE, Share::NOTHING, share(0, 20), 1.081_066),
        ("alone, at the cap", &ONE_PERCENT, &ALONE, Share::NOTHING, share(0, 100), 3.0),
        ("the new one alone in the shift", &ONE_PERCENT, &MINUTE, Share::NOTHING, share(0, 100), 0.0),
        ("no request of the new one", &ONE_PERCENT, &ALONE, share(1, 100), Share::NOTHING, 0.0),
    ];
    for (case, reference, bucket, baseline, canary, expected) in table {
        close(rate(Metric::E5, reference, bucket, baseline, canary).information(), expected, 1e-5, case);
    }
}

#[test]
fn a_clean_old_version_hides_nothing() {
    let clean = past(0.0, 33_000.0);
    let best = |metric, reference, baseline, canary| {
        let gain = rate(metric, reference, &MINUTE, baseline, canary).against_no_change().gain;
        gain.into_iter().fold(f64::NEG_INFINITY, f64::max)
    };
    // (case, metric, reference, old, new, least, most of what is won)
    let table = [
        ("nobody fails", Metric::E5, &clean, share(0, 9000), share(0, 1000), -5.0, 0.0),
        ("one failure", Metric::E5, &clean, share(0, 9000), share(1, 1000), 0.0, 2.0),
        ("22 of 5,000", Metric::E5, &clean, share(0, 45_000), share(22, 5000), 9.0, 9.0),
        ("both fail alike", Metric::E5, &clean, share(45, 9000), share(5, 1000), -5.0, 0.5),
        ("transactions", Metric::Tx, &clean, share(0, 45_000), share(40, 5000), 9.0, 9.0),
        ("4xx", Metric::E4, &clean, share(0, 45_000), share(100, 5000), 7.0, 7.0),
    ];
    for (case, metric, reference, baseline, canary, least, most) in table {
        let won = best(metric, reference, baseline, canary);
        assert!((least..=most).contains(&won), "{case}: {won}");
    }
    let clean_test = |reference: &RateReference, metric| {
        let both = rate(metric, reference, &MINUTE, share(0, 900), share(5, 100));
        let without = RateMethod { clean: None, ..*both.method };
        both.against_no_change() != Rate { method: &without, ..both }.against_no_change()
    };
    assert!(clean_test(&clean, Metric::E5));
    assert!(!clean_test(&ONE_PERCENT, Metric::E5), "where the old version fails enough, the total is given");
}
