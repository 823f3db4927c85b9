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
