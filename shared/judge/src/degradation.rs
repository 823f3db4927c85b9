//! Are both versions degraded? Then it is a shared incident, and going back would not help.
//!
//! A hold is a brake on rollbacks, so "the old version is degraded too" needs evidence of its own: the old version now against
//! the service before the deployment, with the detector's formula for before and after.

use crate::share::Share;
use std::time::Duration;

/// What a look at both versions found. `None`: too little to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Degradation {
    /// The old version is worse than the service was before the deployment.
    pub baseline: Option<bool>,
    /// The new version is.
    pub canary: Option<bool>,
}

impl Degradation {
    /// Whether both do: a shared incident.
    #[must_use]
    pub fn is_shared(self) -> bool {
        self.baseline == Some(true) && self.canary == Some(true)
    }
}

/// Bad events, and events, that a past is believed to have had beside what was counted (Jeffreys' prior).
const PRIOR: (f64, f64) = (0.5, 500.0);
/// Standard errors by which the past may have been worse than it was counted.
const PAST_ERRORS: f64 = 1.3;
/// What is tolerated against the past: errors must more than double and gain 0.2 points, and minutes of one service differ by 40 %
/// more than counting noise. Rates of the past, and what is tolerated, stay below 1.
const FACTOR: f64 = 2.0;
const POINTS: f64 = 0.002;
const NOISE: f64 = 0.40;
const PAST_MAX: f64 = 0.95;
const TOLERATED_MAX: f64 = 0.97;
/// One in twenty looks may err.
const ALPHA: f64 = 0.05;
/// Alternatives that are tried: the rate is this many times the tolerated one.
const RATIOS: [f64; 4] = [2.0, 5.0, 15.0, 60.0];
const RATIOS_COUNT: f64 = 4.0;
/// Requests below which nothing is said.
const LEAST: u64 = 8;

/// Whether the rate of `now` is worse than that of `before`; `None` with fewer than eight requests.
///
/// Average over a few ratios ρ of `exp(η·(x·ln ρ − μ·(ρ − 1)))` against 1/α = 20, where x is the number of bad ones, μ the most
/// that the tolerated rate explains and η discounts for what minutes of one service differ anyway: one in twenty such looks errs
/// (Markov's inequality on a likelihood ratio). Source: formula (b) of the detector, with a wider margin: this brakes a rollback, so
/// it needs a difference that nobody doubts.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
pub fn is_degraded(before: Share, now: Share) -> Option<bool> {
    if now.all < LEAST {
        return None;
    }
    let (bad, all) = (before.bad as f64 + PRIOR.0, before.all as f64 + PRIOR.1);
    let rate = ((bad + PAST_ERRORS * bad.sqrt()) / all).min(PAST_MAX);
    let expected = now.all as f64 * (rate * FACTOR + POINTS).min(TOLERATED_MAX);
    let learning_rate = 1.0 / (1.0 + NOISE * NOISE * expected);
    let evidence = RATIOS.iter().map(|ratio| learning_rate * (now.bad as f64 * ratio.ln() - expected * (ratio - 1.0)));
    let sum: f64 = evidence.map(f64::exp).sum();
    Some(sum / RATIOS_COUNT >= 1.0 / ALPHA)
}

/// Durations of one version: their 90th percentile, and how many there were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// Milliseconds.
    pub p90_ms: f64,
    /// Requests behind it.
    pub all: u64,
}

/// Latency is degraded when its 90th percentile grew by more than a quarter and by at least this.
const LATENCY_GAIN: Duration = Duration::from_millis(10);
const LATENCY_RATIO: f64 = 1.25;

/// Whether `now` is slower than `before` to a degree that customers notice; `None` with fewer than eight requests.
#[must_use]
pub fn is_slower(before: Latency, now: Latency) -> Option<bool> {
    let gain_ms = LATENCY_GAIN.as_secs_f64() * 1000.0;
    (now.all >= LEAST && before.all >= LEAST)
        .then_some(now.p90_ms > before.p90_ms * LATENCY_RATIO && now.p90_ms > before.p90_ms + gain_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bad: u64, all: u64) -> Share {
        Share { bad, all }
    }

    #[test]
    fn a_rate_against_its_past() {
        let table = [
            ("six in ten, never before", of(0, 6_000), of(6, 10), Some(true)),
            ("too few to tell", of(0, 6_000), of(7, 7), None),
            ("nothing known before, half fail", of(0, 0), of(20, 40), Some(true)),
            ("as before", of(60, 6_000), of(3, 200), Some(false)),
            ("one error", of(0, 6_000), of(1, 100), Some(false)),
            ("as bad before", of(600, 1_000), of(60, 100), Some(false)),
            ("twice a small rate", of(60, 6_000), of(20, 1_000), Some(false)),
            ("ten times a small rate", of(60, 6_000), of(100, 1_000), Some(true)),
            ("healthy at volume", of(3_000, 600_000), of(500, 100_000), Some(false)),
        ];
        for (case, before, now, expected) in table {
            assert_eq!(is_degraded(before, now), expected, "{case}");
        }
    }

    #[test]
    fn latency_against_its_past() {
        let latency = |p90_ms, all| Latency { p90_ms, all };
        let table = [
            ("twice", latency(100.0, 1_000), latency(200.0, 50), Some(true)),
            ("a fifth more", latency(100.0, 1_000), latency(120.0, 50), Some(false)),
            ("half more of next to nothing", latency(10.0, 1_000), latency(16.0, 50), Some(false)),
            ("too few", latency(100.0, 1_000), latency(900.0, 7), None),
            ("no past", latency(0.0, 0), latency(900.0, 70), None),
        ];
        for (case, before, now, expected) in table {
            assert_eq!(is_slower(before, now), expected, "{case}");
        }
    }

    #[test]
    fn shared_means_both_for_sure() {
        let table = [
            (Some(true), Some(true), true),
            (Some(true), Some(false), false),
            (Some(false), Some(true), false),
            (None, Some(true), false),
            (Some(true), None, false),
        ];
        for (baseline, canary, expected) in table {
            assert_eq!(Degradation { baseline, canary }.is_shared(), expected, "{baseline:?} {canary:?}");
        }
    }
}
