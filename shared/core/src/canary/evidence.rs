//! What one bucket says: the bets of the three comparisons.
//!
//! A bet gains η · ln(likelihood under "the rate is ρ times the margin" / likelihood under "the rate is the margin").
//! η ≤ 1 is a learning rate: 1/φ discounts clumps (one bad client is not many), and τ² caps what one minute may prove however
//! many requests it has, because the rates of two equal versions differ by more than counting noise. A power η ≤ 1 of a
//! likelihood ratio still has expectation at most 1 under the margin, so the capital stays a supermartingale.
//! Source: tempered likelihoods, Grünwald 2012; betting scores, Shafer 2021.

use super::bucket::{Bucket, number};
use super::counts::Share;
use super::reference::{RateReference, TrafficReference};
use super::settings::{RateValues, Settings, Wager};

/// Probabilities stay this far from 0 and 1.
const EDGE: f64 = 1e-9;

/// What is counted, and its law under the margin.
#[derive(Debug, Clone, Copy)]
enum Law {
    /// Of `total` events of both versions the canary had `seen`; under the margin each is the canary's with chance `part`
    /// (π; binomial, given the total).
    Split { seen: f64, total: f64, part: f64 },
    /// The canary had `seen` events; under the margin the bet's `expected` (μ; Poisson).
    Count { seen: f64 },
}

/// One bet on one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bet {
    law: Law,
    /// Events that the canary may have under the margin: λ1 or μ.
    expected: f64,
    /// η.
    learning_rate: f64,
    /// Most that the bet may gain.
    cap: f64,
}

impl Bet {
    /// ℓ: the log of the factor by which the capital on one ratio grows.
    ///
    /// Split: with o = ρπ/(1−π) and π_ρ = o/(1+o), seen·ln(π_ρ/π) + (total−seen)·ln((1−π_ρ)/(1−π)), which is
    /// seen·ln ρ − total·ln(1 + π(ρ−1)). Count: seen·ln ρ − μ(ρ−1).
    pub(super) fn gain(&self, wager: &Wager) -> f64 {
        let more = wager.ratio - 1.0;
        let log_likelihood_ratio = match self.law {
            Law::Split { seen, total, part } => seen * wager.ln_ratio - total * (part * more).ln_1p(),
            Law::Count { seen } => seen * wager.ln_ratio - self.expected * more,
        };
        (self.learning_rate * log_likelihood_ratio).min(self.cap)
    }

    /// The log-evidence that `ratio` times the margin would have given on average: η·μ·(ρ ln ρ − ρ + 1), in a split times
    /// 1−π. Source: Kullback–Leibler divergence of two Poisson laws.
    pub(super) fn information(&self, ratio: f64) -> f64 {
        let per_event = ratio * ratio.ln() - (ratio - 1.0);
        let rest = match self.law {
            Law::Split { part, .. } => 1.0 - part,
            Law::Count { .. } => 1.0,
        };
        self.learning_rate * self.expected * per_event * rest
    }
}

/// Formula (a): both versions in the same bucket, given their common number of bad events.
///
/// * `cold`: slow requests allowed on top of the margin.
///
/// `None` when one of them had no events. Source: conditional test of two Poisson rates (Przyborowski and Wilenski 1940).
pub(super) fn concurrent(
    settings: &Settings,
    rate: &RateValues,
    reference: &RateReference,
    bucket: &Bucket,
    (baseline, canary): (Share, Share),
    cold: f64,
) -> Option<Bet> {
    if baseline.all() == 0 || canary.all() == 0 {
        return None;
    }
    let margin = rate.concurrent;
    let usual = reference.rate(settings, rate);
    let tolerated = (usual * margin.factor + margin.points).min(settings.margin_max);
    let expected = number(canary.all()) * tolerated + cold;
    let part = (expected / (expected + number(baseline.all()) * usual)).clamp(EDGE, 1.0 - EDGE);
    let total = number(baseline.bad()) + number(canary.bad());
    let noise = margin.noise * margin.noise * bucket.per_minute * total * part * (1.0 - part);
    Some(Bet {
        law: Law::Split { seen: number(canary.bad()), total, part },
        expected,
        learning_rate: 1.0 / (reference.dispersion + noise),
        cap: bucket.cap_factor * rate.cap,
    })
}

/// Formula (b): the canary, with all traffic, against the baseline's past.
///
/// `None` when it does not have all traffic, had no events, or the baseline never had this signal.
pub(super) fn before_after(
    settings: &Settings,
    rate: &RateValues,
    reference: &RateReference,
    bucket: &Bucket,
    canary: Share,
    cold: f64,
) -> Option<Bet> {
    if bucket.weight < 1.0 || canary.all() == 0 || !reference.is_measured {
        return None;
    }
    let margin = rate.before_after;
    let usual = reference.upper_rate(settings, rate).min(settings.reference_range.1);
    let tolerated = (usual * margin.factor + margin.points).min(settings.margin_max);
    let expected = number(canary.all()) * tolerated + cold;
    let noise = margin.noise * margin.noise * bucket.per_minute * expected;
    Some(Bet {
        law: Law::Count { seen: number(canary.bad()) },
        expected,
        learning_rate: 1.0 / (reference.dispersion + noise),
        cap: bucket.cap_factor * settings.before_after_cap,
    })
}

/// c: slow cold starts that young traffic is allowed, of `all` requests.
pub(super) fn cold_starts(settings: &Settings, bucket: &Bucket, all: u64) -> f64 {
    bucket.young * settings.cold_min.max(settings.cold_share * number(all))
}

/// A bet on traffic, and how many requests the canary should have got.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrafficBet {
    pub(super) bet: Bet,
    /// By its weight, or by the level before.
    pub(super) due: f64,
    pub(super) is_concurrent: bool,
}

/// Formula (c): does the canary get its share of the requests?
///
/// While traffic is split the baseline's requests say how many came; afterwards the level before does. `None` when neither
/// can be said. The cap of −ln q keeps lost data from looking like lost traffic.
pub(super) fn traffic(settings: &Settings, reference: &TrafficReference, bucket: &Bucket) -> Option<TrafficBet> {
    let values = &settings.traffic;
    let seen = bucket.canary.map_or(0.0, |counts| number(counts.requests));
    let others = bucket.baseline.map_or(0.0, |counts| number(counts.requests));
    let cap = (bucket.cap_factor * values.cap).min(-reference.lost_chance.ln());
    let noise = values.noise_squared * bucket.per_minute;
    let is_split = 0.0 < bucket.weight && bucket.weight < 1.0;
    if is_split && bucket.settled_weight > 0.0 && others > 0.0 {
        let weight = bucket.settled_weight;
        let tolerated = values.concurrent_share * weight;
        let part = (tolerated / (tolerated + 1.0 - weight)).clamp(EDGE, 1.0 - EDGE);
        let total = seen + others;
        let learning_rate = 1.0 / (values.dispersion + noise * total * part * (1.0 - part));
        let bet = Bet { law: Law::Split { seen, total, part }, expected: total * part, learning_rate, cap };
        return Some(TrafficBet { bet, due: total * weight, is_concurrent: true });
    }
    let expected = values.after_share * reference.level;
    if bucket.weight >= 1.0 && bucket.is_settled && expected >= values.expected_min {
        let learning_rate = 1.0 / (values.dispersion + noise * expected);
        let bet = Bet { law: Law::Count { seen }, expected, learning_rate, cap };
        return Some(TrafficBet { bet, due: reference.level, is_concurrent: false });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::counts::Counts;
    use super::super::course::Course;
    use super::*;

    fn bucket(course: &Course, start_s: i64, baseline: Option<u64>, canary: Option<u64>) -> Bucket {
        let counts = |requests: Option<u64>| requests.map(Counts::of_requests);
        Bucket::new(&Settings::default_method(), course, start_s, counts(baseline), counts(canary))
    }

    fn course() -> Course {
        Course::new(60, vec![(0.0, 0.1), (300.0, 1.0)], 1200.0, 120.0).unwrap()
    }

    fn reference() -> RateReference {
        RateReference {
            bad_long: 9.5,
            all_long: 500.0,
            bad_short: 1.0,
            all_short: 100.0,
            peak: 0.0,
            dispersion: 2.0,
            is_measured: true,
            rate_at_start: Some(0.01),
        }
    }

    fn wager(ratio: f64) -> Wager {
        Wager { ratio, ln_ratio: ratio.ln(), ln_mass: 0.0 }
    }

    fn near(found: f64, expected: f64, case: &str) {
        assert!((found - expected).abs() < 1e-9, "{case}: {found}, expected {expected}");
    }

    #[test]
    fn side_by_side_is_the_conditional_binomial() {
        let settings = Settings::default_method();
        let bucket = bucket(&course(), 120, Some(900), Some(100));
        let pair = (Share::new(8, 900).unwrap(), Share::new(4, 100).unwrap());
        let bet = concurrent(&settings, &settings.rates[0], &reference(), &bucket, pair, 0.0).unwrap();
        // p = 10 / 1000; margin 1.2 and 0.05 points.
        let (expected, usual): (f64, f64) = (100.0 * (0.01 * 1.2 + 0.0005), 900.0 * 0.01);
        let part = expected / (expected + usual);
        let rate = 1.0 / (2.0 + 0.15 * 0.15 * 12.0 * part * (1.0 - part));
        let odds = 5.0 * part / (1.0 - part);
        let other = odds / (1.0 + odds);
        let ratio = 4.0 * (other / part).ln() + 8.0 * ((1.0 - other) / (1.0 - part)).ln();
        near(bet.gain(&wager(5.0)), rate * ratio, "gain");
        near(bet.information(5.0), rate * expected * (5.0 * 5.0_f64.ln() - 4.0) * (1.0 - part), "information");
        let flood = (Share::new(0, 9).unwrap(), Share::new(9_000, 9_000).unwrap());
        let bet = concurrent(&settings, &settings.rates[0], &reference(), &bucket, flood, 0.0).unwrap();
        assert!(bet.gain(&wager(60.0)) <= 6.0, "capped");
        let none = (Share::new(0, 0).unwrap(), Share::new(4, 100).unwrap());
        assert!(concurrent(&settings, &settings.rates[0], &reference(), &bucket, none, 0.0).is_none());
    }

    #[test]
    fn before_and_after_is_poisson_on_a_doubtful_reference() {
        let settings = Settings::default_method();
        let canary = Share::new(40, 1000).unwrap();
        let alone = bucket(&course(), 600, None, Some(1000));
        let bet = before_after(&settings, &settings.rates[0], &reference(), &alone, canary, 3.0).unwrap();
        let upper = (10.0 + 1.3 * 20.0_f64.sqrt()) / 1000.0;
        let expected = 1000.0 * (upper * 2.0 + 0.002) + 3.0;
        let rate = 1.0 / (2.0 + 0.4 * 0.4 * expected);
        near(bet.gain(&wager(1.8)), rate * (40.0 * 1.8_f64.ln() - expected * 0.8), "gain");
        near(bet.information(5.0), rate * expected * (5.0 * 5.0_f64.ln() - 4.0), "information");
        let split = bucket(&course(), 120, None, Some(1000));
        let rates = &settings.rates[0];
        assert!(before_after(&settings, rates, &reference(), &split, canary, 0.0).is_none(), "not all traffic yet");
        let unknown = RateReference { is_measured: false, ..reference() };
        assert!(before_after(&settings, rates, &unknown, &alone, canary, 0.0).is_none(), "nothing to compare with");
    }

    #[test]
    fn traffic_is_compared_with_the_weight_and_then_with_the_level() {
        let settings = Settings::default_method();
        let reference = TrafficReference { level: 1000.0, lost_chance: 0.01 };
        let bet = traffic(&settings, &reference, &bucket(&course(), 120, Some(900), Some(20))).unwrap();
        let part: f64 = 0.05 / 0.95;
        let rate = 1.0 / (2.0 + 0.25 * 920.0 * part * (1.0 - part));
        let odds = 0.1 * part / (1.0 - part);
        let other = odds / (1.0 + odds);
        let ratio = 20.0 * (other / part).ln() + 900.0 * ((1.0 - other) / (1.0 - part)).ln();
        near(bet.bet.gain(&wager(0.1)), (rate * ratio).min(4.5), "side by side");
        near(bet.due, 92.0, "a tenth of all");
        let silent = traffic(&settings, &reference, &bucket(&course(), 600, None, None)).unwrap();
        near(silent.bet.gain(&wager(0.02)), 300.0 * 0.98 / (2.0 + 0.25 * 300.0), "silent");
        let lossy = TrafficReference { lost_chance: 0.5, ..reference };
        let silent = traffic(&settings, &lossy, &bucket(&course(), 600, None, None)).unwrap();
        near(silent.bet.gain(&wager(0.02)), 2.0_f64.ln(), "where data get lost silence says little");
        // (case, start, baseline, canary, level): nothing can be said.
        let table = [
            ("the first bucket of the canary", 0, Some(900), Some(0), 1000.0),
            ("no baseline beside it", 120, None, Some(20), 1000.0),
            ("right after the last step", 300, None, None, 1000.0),
            ("too little traffic", 600, None, None, 10.0),
        ];
        for (case, start_s, baseline, canary, level) in table {
            let reference = TrafficReference { level, ..reference };
            let bet = traffic(&settings, &reference, &bucket(&course(), start_s, baseline, canary));
            assert!(bet.is_none(), "{case}");
        }
    }

    #[test]
    fn young_traffic_is_forgiven_more() {
        let settings = Settings::default_method();
        // (start, young share, edges side by side, edges before and after)
        let table = [(0, 1.0, 4, 4), (60, 0.0, 1, 2), (300, 0.9, 4, 4), (360, 0.0, 1, 2)];
        for (start_s, young, beside, alone) in table {
            let bucket = bucket(&course(), start_s, None, None);
            near(bucket.young, young, &format!("young share at {start_s} s"));
            assert_eq!(bucket.concurrent_shift(&settings), beside, "at {start_s} s");
            assert_eq!(bucket.before_after_shift(&settings), alone, "at {start_s} s");
            near(cold_starts(&settings, &bucket, 1000), young * 25.0, "cold starts");
            near(cold_starts(&settings, &bucket, 10), young * 3.0, "cold starts of few requests");
        }
    }
}
