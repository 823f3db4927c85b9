//! What verdicts cost: counts, delays and harm.
//!
//! Faults begin with the deployment, so a delay is the time from its start to the rollback.

use crate::judge::Verdict;
use crate::trace::{DRAIN_S, Deployment, Spec};

/// What one detector did with one deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Which deployment.
    pub spec: Spec,
    /// When it asked for a rollback, in seconds since the start.
    pub rolled_back_s: Option<i64>,
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
        Outcome { spec: deployment.spec, rolled_back_s, ending, harmed, harmed_without: deployment.harmed.iter().sum() }
    }
}

/// Outcomes put together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// Deployments.
    pub count: usize,
    /// How many were rolled back.
    pub rolled_back: usize,
    /// How many ended in "too little to tell".
    pub inconclusive: usize,
    /// Delays of the rollbacks, ascending, in seconds.
    delays_s: Vec<f64>,
    /// Delays of all, ascending; without a rollback until the last record could have come.
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
            if let Some(at_s) = outcome.rolled_back_s {
                cell.rolled_back += 1;
                cell.delays_s.push(at_s as f64);
            }
            cell.capped_s.push(outcome.rolled_back_s.unwrap_or(outcome.spec.plan.end_s() + DRAIN_S) as f64);
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

    /// Upper end of the 95 % interval of that share (Wilson).
    #[must_use]
    pub fn share_upper(&self) -> f64 {
        wilson_upper(self.rolled_back, self.count)
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

    /// Median delay in seconds when a deployment that was never rolled back counts as if at the very end.
    #[must_use]
    pub fn delay_capped_median_s(&self) -> Option<f64> {
        quantile(&self.capped_s, 0.5)
    }

    /// Requests hurt before the rollback as a share of all that would be hurt without one; `None` where none would be.
    #[must_use]
    pub fn harmed_share(&self) -> Option<f64> {
        if self.harmed_without > 0.0 { Some(self.harmed / self.harmed_without) } else { None }
    }

    /// Share that was rolled back within this many seconds.
    #[must_use]
    pub fn share_within(&self, seconds: f64) -> f64 {
        share(self.delays_s.partition_point(|delay| *delay <= seconds), self.count)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Upper end of Wilson's 95 % interval for `part` of `whole`; 1 of none.
fn wilson_upper(part: usize, whole: usize) -> f64 {
    const Z: f64 = 1.96;
    if whole == 0 {
        return 1.0;
    }
    let (p, n) = (share(part, whole), whole as f64);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    (p + Z * Z / (2.0 * n) + half) / (1.0 + Z * Z / n)
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
        Deployment { spec, arrivals: BTreeMap::new(), harmed }
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
        close("upper", cell.share_upper(), 0.882_38);
        close("inconclusive", cell.inconclusive_share(), 0.2);
        close("median", cell.delay_median_s().unwrap(), 140.0);
        close("p95", cell.delay_p95_s().unwrap(), 284.0);
        close("capped", cell.delay_capped_median_s().unwrap(), 300.0);
        close("harmed", cell.harmed_share().unwrap(), 150.0 / 200.0);
        close("within 140 s", cell.share_within(140.0), 0.4);
        close("within 139 s", cell.share_within(139.9), 0.2);
    }

    #[test]
    fn nothing_is_not_a_number() {
        let cell = Cell::of(&[]);
        assert_eq!((cell.delay_median_s(), cell.harmed_share()), (None, None));
        assert!(cell.share() < 1e-12 && cell.share_upper() > 0.999);
        let healthy = deployment(vec![0.0; 20]);
        assert_eq!(Cell::of(&[Outcome::of(&healthy, None, Verdict::Pass)]).harmed_share(), None);
    }

    #[test]
    fn wilsons_interval_has_its_known_values() {
        // (part, whole, upper end at z = 1.96)
        for (part, whole, upper) in [(0, 40, 0.087_62), (1, 40, 0.128_81), (5, 10, 0.763_41), (40, 40, 1.0)] {
            assert!(
                (wilson_upper(part, whole) - upper).abs() < 5e-5,
                "{part} of {whole}: {}",
                wilson_upper(part, whole)
            );
        }
    }
}
