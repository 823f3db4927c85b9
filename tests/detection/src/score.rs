//! What verdicts cost: counts, delays and harm.
//!
//! A delay is the time from the onset of the fault to the rollback; for a healthy deployment, from its start. A rollback before
//! the onset is early: it is a rollback, but no detection.

use crate::judge::Verdict;
use crate::trace::{DRAIN_S, Deployment, Spec};

/// What one detector did with one deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Which deployment.
    pub spec: Spec,
    /// When it asked for a rollback, in seconds since the start.
    pub rolled_back_s: Option<i64>,
    /// When the fault began, in seconds since the start; 0 for a healthy deployment.
    pub onset_s: f64,
    /// Its last word.
    pub ending: Verdict,
    /// Requests hurt before the rollback, and all that would be hurt without one.
    pub harmed: f64,
    /// See `harmed`.
    pub harmed_without: f64,
}

impl Outcome {
    /// Scores a verdict on a deployment.
    #[must_use]
    pub fn of(deployment: &Deployment, rolled_back_s: Option<i64>, ending: Verdict) -> Outcome {
        let bucket_s = deployment.spec.bucket_s as f64;
        let until = rolled_back_s.map_or(f64::INFINITY, |at_s| at_s as f64 / bucket_s);
        let harmed =
            deployment.harmed.iter().enumerate().map(|(k, hurt)| hurt * (until - k as f64).clamp(0.0, 1.0)).sum();
        Outcome {
            spec: deployment.spec,
            rolled_back_s,
            onset_s: deployment.onset_s,
            ending,
            harmed,
            harmed_without: deployment.harmed.iter().sum(),
        }
    }

    /// Seconds from the onset to the rollback; `None` without one, or when it came before.
    fn delay_s(&self) -> Option<f64> {
        self.rolled_back_s.map(|at_s| at_s as f64 - self.onset_s).filter(|delay_s| *delay_s >= 0.0)
    }
}

/// Outcomes put together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// Deployments.
    pub count: usize,
    /// How many were rolled back.
    pub rolled_back: usize,
    /// How many of them before the fault began.
    pub early: usize,
    /// How many ended in "too little to tell".
    pub inconclusive: usize,
    /// Delays of the rollbacks that were not early, ascending, in seconds.
    delays_s: Vec<f64>,
    /// Delays of all, ascending; without such a rollback until the last record could have come.
    capped_s: Vec<f64>,
    harmed: f64,
    harmed_without: f64,
}

impl Cell {
    /// Puts these outcomes together.
    pub fn of<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Cell {
        let mut cell = Cell::default();
        for outcome in outcomes {
            cell.count += 1;
            cell.inconclusive += usize::from(outcome.ending == Verdict::Inconclusive);
            cell.harmed += outcome.harmed;
            cell.harmed_without += outcome.harmed_without;
            let delay_s = outcome.delay_s();
            cell.rolled_back += usize::from(outcome.rolled_back_s.is_some());
            cell.early += usize::from(outcome.rolled_back_s.is_some() && delay_s.is_none());
            cell.delays_s.extend(delay_s);
            let until_end_s = (outcome.spec.plan.end_s() + DRAIN_S) as f64 - outcome.onset_s;
            cell.capped_s.push(delay_s.unwrap_or(until_end_s));
        }
        cell.delays_s.sort_by(f64::total_cmp);
        cell.capped_s.sort_by(f64::total_cmp);
        cell
    }

    /// Share that was rolled back; 0 of none.
    #[must_use]
    pub fn share(&self) -> f64 {
        share(self.rolled_back, self.count)
    }

    /// Lower and upper end of the 95 % interval of that share (Wilson).
    #[must_use]
    pub fn share_interval(&self) -> (f64, f64) {
        wilson(self.rolled_back, self.count)
    }

    /// Share that was rolled back after the fault began.
    #[must_use]
    pub fn detected_share(&self) -> f64 {
        share(self.delays_s.len(), self.count)
    }

    /// Share that ended in "too little to tell".
    #[must_use]
    pub fn inconclusive_share(&self) -> f64 {
        share(self.inconclusive, self.count)
    }

    /// Median delay of the rollbacks in seconds.
    #[must_use]
    pub fn delay_median_s(&self) -> Option<f64> {
        quantile(&self.delays_s, 0.5)
    }

    /// 95th percentile of it.
    #[must_use]
    pub fn delay_p95_s(&self) -> Option<f64> {
        quantile(&self.delays_s, 0.95)
    }

    /// Median delay in seconds when a deployment that was never rolled back, or too early, counts as if at the very end.
    #[must_use]
    pub fn delay_capped_median_s(&self) -> Option<f64> {
        quantile(&self.capped_s, 0.5)
    }

    /// Requests hurt before the rollback as a share of all that would be hurt without one; `None` where none would be.
    #[must_use]
    pub fn harmed_share(&self) -> Option<f64> {
        if self.harmed_without > 0.0 { Some(self.harmed / self.harmed_without) } else { None }
    }

    /// Share that was rolled back within this many seconds of the onset.
    #[must_use]
    pub fn share_within(&self, seconds: f64) -> f64 {
        share(self.delays_s.partition_point(|delay| *delay <= seconds), self.count)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Wilson's 95 % interval for `part` of `whole`; 0 to 1 of none.
fn wilson(part: usize, whole: usize) -> (f64, f64) {
    const Z: f64 = 1.96;
    if whole == 0 {
        return (0.0, 1.0);
    }
    let (p, n) = (share(part, whole), whole as f64);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let (middle, scale) = (p + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
    (((middle - half) / scale).max(0.0), (middle + half) / scale)
}

/// Quantile of an ascending list with straight lines between the values; `None` of an empty one.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let position = sorted.len().checked_sub(1)? as f64 * share;
    let below = usize::try_from(crate::math::count(position)).ok()?;
    let low = sorted.get(below)?;
    let high = sorted.get(below + 1).unwrap_or(low);
    Some(low + (high - low) * (position - below as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Class, Plan};
    use std::collections::BTreeMap;

    fn deployment(harmed: Vec<f64>) -> Deployment {
        let plan = Plan::Canary10Percent5Minutes;
        let spec = Spec { seed: 1, class: Class::ErrorsLarge, rate: 5.0, plan, bucket_s: 60, index: 0 };
        Deployment { spec, arrivals: BTreeMap::new(), onset_s: 0.0, harmed }
    }

    #[test]
    fn harm_stops_at_the_rollback() {
        let bad = deployment(vec![10.0, 20.0, 30.0]);
        // (rolled back at, harmed)
        let table =
            [(None, 60.0), (Some(0), 0.0), (Some(30), 5.0), (Some(60), 10.0), (Some(150), 45.0), (Some(900), 60.0)];
        for (at_s, wanted) in table {
            let outcome = Outcome::of(&bad, at_s, Verdict::RollBack);
            assert!((outcome.harmed - wanted).abs() < 1e-12, "{at_s:?}: {}", outcome.harmed);
            assert!((outcome.harmed_without - 60.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_cell_is_what_one_counts_by_hand() {
        let bad = deployment(vec![10.0, 0.0, 30.0]);
        let outcomes = [
            Outcome::of(&bad, Some(100), Verdict::RollBack), // hurts 10
            Outcome::of(&bad, None, Verdict::Inconclusive),  // hurts 40
            Outcome::of(&bad, Some(300), Verdict::RollBack), // hurts 40
            Outcome::of(&bad, Some(140), Verdict::RollBack), // hurts 20
            Outcome::of(&bad, None, Verdict::Pass),          // hurts 40
        ];
        let cell = Cell::of(&outcomes);
        assert_eq!((cell.count, cell.rolled_back, cell.inconclusive), (5, 3, 1));
        let close = |case: &str, found: f64, wanted: f64| assert!((found - wanted).abs() < 5e-5, "{case}: {found}");
        close("share", cell.share(), 0.6);
        close("lower", cell.share_interval().0, 0.230_72);
        close("upper", cell.share_interval().1, 0.882_38);
        close("detected", cell.detected_share(), 0.6);
        close("inconclusive", cell.inconclusive_share(), 0.2);
        close("median", cell.delay_median_s().unwrap(), 140.0);
        close("p95", cell.delay_p95_s().unwrap(), 284.0);
        close("capped", cell.delay_capped_median_s().unwrap(), 300.0);
        close("harmed", cell.harmed_share().unwrap(), 150.0 / 200.0);
        close("within 140 s", cell.share_within(140.0), 0.4);
        close("within 139 s", cell.share_within(139.9), 0.2);
    }

    #[test]
    fn delays_count_from_the_onset_and_an_early_rollback_is_no_detection() {
        let late = Deployment { onset_s: 130.0, ..deployment(vec![0.0, 0.0, 50.0]) };
        // (rolled back at, early, detected, delay with misses counted until 1,320 s)
        let table =
            [(None, 0, 0.0, 1190.0), (Some(120), 1, 0.0, 1190.0), (Some(130), 0, 1.0, 0.0), (Some(400), 0, 1.0, 270.0)];
        for (at_s, early, detected, capped_s) in table {
            let cell = Cell::of(&[Outcome::of(&late, at_s, Verdict::RollBack)]);
            assert_eq!((cell.rolled_back, cell.early), (usize::from(at_s.is_some()), early), "{at_s:?}");
            let found = [cell.detected_share(), cell.delay_capped_median_s().unwrap(), cell.share_within(300.0)];
            for (found, wanted) in found.into_iter().zip([detected, capped_s, detected]) {
                assert!((found - wanted).abs() < 1e-9, "{at_s:?}: {found} is not {wanted}");
            }
        }
    }

    #[test]
    fn nothing_is_not_a_number() {
        let cell = Cell::of(&[]);
        assert_eq!((cell.delay_median_s(), cell.harmed_share()), (None, None));
        assert!(cell.share() < 1e-12 && cell.share_interval().1 > 0.999);
        let healthy = deployment(vec![0.0; 20]);
        assert_eq!(Cell::of(&[Outcome::of(&healthy, None, Verdict::Pass)]).harmed_share(), None);
    }

    #[test]
    fn wilsons_interval_has_its_known_values() {
        // (part, whole, lower and upper end at z = 1.96)
        let table =
            [(0, 40, 0.0, 0.087_62), (1, 40, 0.004_43, 0.128_81), (5, 10, 0.236_59, 0.763_41), (40, 40, 0.912_38, 1.0)];
        for (part, whole, lower, upper) in table {
            let found = wilson(part, whole);
            assert!((found.0 - lower).abs() < 5e-5 && (found.1 - upper).abs() < 5e-5, "{part} of {whole}: {found:?}");
        }
    }
}
