//! A service level objective burns its error budget too fast: multi-window burn rates, short enough for a deployment.
//!
//! Burn rate = share of bad requests / (1 − objective). Source: Google, "The Site Reliability Workbook", chapter 5, section 6,
//! "Multiwindow, Multi-Burn-Rate Alerts": a fast pair and a slow pair, each with a short window that must burn too, so that
//! an old burst does not alert. There the windows are 1 h and 6 h; a deployment is over by then, so here they are
//! exponentially weighted with half-lives of 5 and 15 minutes, the short window of both has a minute, and the burn rates are
//! those of the fast pair and the slow pair.

use crate::share::Share;
use std::time::Duration;

/// An objective, as a share of good requests: 0.5 to 0.99999.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective(f64);

impl Objective {
    /// `good`: share of requests that must be good. `None` outside 0.5 to 0.99999.
    #[must_use]
    pub fn new(good: f64) -> Option<Self> {
        (0.5..=0.999_99).contains(&good).then_some(Self(good))
    }

    /// The share of good requests.
    #[must_use]
    pub const fn good(self) -> f64 {
        self.0
    }
}

/// One pair of windows.
struct Pair {
    burn: f64,
    long: usize,
}

/// Half-lives of the windows.
const HALF_LIVES: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(900)];
const PAIRS: [Pair; 2] = [Pair { burn: 14.4, long: 1 }, Pair { burn: 6.0, long: 2 }];
/// The short window of both pairs: whether it burns now.
const SHORT: usize = 0;
/// Bad requests in the short window below which nothing is said: one failure of ten requests is no burn.
const LEAST_BAD: f64 = 5.0;

/// The windows of the service as a whole and of the new version: bad requests of all, older buckets weighing less.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Burn {
    /// All versions together, shortest window first.
    pub service: [Share<f64>; 3],
    /// The new version.
    pub canary: [Share<f64>; 3],
}

/// A budget that burns too fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burning {
    /// Burn rate of the long window.
    pub rate: f64,
    /// The rate above which it counts.
    pub limit: f64,
}

impl Burn {
    /// Adds one bucket of `bucket` length.
    #[must_use]
    pub fn after(mut self, bucket: Duration, baseline: Share, canary: Share) -> Self {
        let both = baseline.plus(canary);
        for (index, half_life) in HALF_LIVES.iter().enumerate() {
            let keep = 0.5_f64.powf(bucket.as_secs_f64() / half_life.as_secs_f64());
            for (windows, now) in [(&mut self.service, both), (&mut self.canary, canary)] {
                if let Some(window) = windows.get_mut(index) {
                    *window = window.after(keep, now);
                }
            }
        }
        self
    }

    /// Whether the new version had any request lately.
    #[must_use]
    pub fn has_seen_canary(&self) -> bool {
        self.canary.iter().any(|window| window.all > 0.0)
    }

    /// Whether the budget burns too fast, for the service and for the new version: a budget that only the old version burns
    /// is no reason to go back to it.
    #[must_use]
    pub fn burning(&self, objective: Objective) -> Option<Burning> {
        let budget = 1.0 - objective.good();
        let rate = |window: Option<&Share<f64>>| window.and_then(|window| window.rate(budget)).unwrap_or(0.0);
        PAIRS.iter().find_map(|pair| {
            let (long, short) = (rate(self.service.get(pair.long)), rate(self.service.get(SHORT)));
            let canary = rate(self.canary.get(SHORT));
            let is_burning = [long, short, canary].iter().all(|rate| *rate >= pair.burn);
            is_burning.then_some(Burning { rate: long, limit: pair.burn })
        })
    }
}

impl Share<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
    fn after(self, keep: f64, now: Share) -> Self {
        Self { bad: self.bad * keep + now.bad as f64, all: self.all * keep + now.all as f64 }
    }

    fn rate(self, budget: f64) -> Option<f64> {
        (self.bad >= LEAST_BAD && self.all > 0.0).then(|| self.bad / self.all / budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: usize, baseline: Share, canary: Share) -> Burn {
        (0..count).fold(Burn::default(), |burn, _| burn.after(Duration::from_secs(60), baseline, canary))
    }

    #[test]
    fn both_windows_and_the_new_version_must_burn() {
        let of = |bad, all| Share { bad, all };
        let objective = Objective::new(0.999).unwrap();
        // (case, minutes, old version, new version, burns)
        let table = [
            ("within the budget", 10, of(1, 2_000), of(1, 1_000), false),
            ("5 % of the new version, half the traffic", 3, of(0, 1_000), of(50, 1_000), true),
            ("only the old version burns", 3, of(200, 1_000), of(0, 1_000), false),
            ("too few to tell", 1, of(0, 0), of(2, 4), false),
            ("nothing at all", 5, of(0, 0), of(0, 0), false),
        ];
        for (case, count, baseline, canary, expected) in table {
            assert_eq!(minutes(count, baseline, canary).burning(objective).is_some(), expected, "{case}");
        }
    }

    #[test]
    fn an_old_burst_does_not_burn_now() {
        let objective = Objective::new(0.999).unwrap();
        let burst = minutes(1, Share::NOTHING, Share { bad: 500, all: 1_000 });
        let good = Share { bad: 0, all: 1_000 };
        let later = (0..12).fold(burst, |burn, _| burn.after(Duration::from_secs(60), Share::NOTHING, good));
        assert!(burst.burning(objective).is_some());
        assert_eq!(later.burning(objective), None);
    }

    #[test]
    fn an_objective_is_a_share() {
        assert_eq!(Objective::new(0.999).map(Objective::good), Some(0.999));
        for wrong in [0.0, 0.4, 1.0, 99.9, f64::NAN, -1.0] {
            assert_eq!(Objective::new(wrong), None, "{wrong}");
        }
    }
}
