//! The Mann-Whitney test with a confidence interval for the shift between two samples (Hodges and Lehmann).

/// How far the second sample lies above the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    /// Lower end of the confidence interval.
    pub(super) lower: f64,
    /// Upper end.
    pub(super) upper: f64,
    /// Median of all differences between a value of the second sample and one of the first.
    pub(super) estimate: f64,
}

/// The shift from `baseline` to `canary`; `None` when either is empty.
///
/// * `normal_quantile`: how many standard deviations the interval reaches to each side (2.326 for 98 %).
///
/// The normal approximation with continuity correction and correction for ties. The test statistic falls with the assumed
/// shift and jumps at each difference between two values; the ends of the interval are the jumps at which it crosses the
/// quantile.
pub(super) fn shift(baseline: &[f64], canary: &[f64], normal_quantile: f64) -> Option<Shift> {
    let mut differences: Vec<f64> = canary.iter().flat_map(|new| baseline.iter().map(move |old| new - old)).collect();
    differences.sort_by(f64::total_cmp);
    let estimate = median(&differences)?;
    differences.dedup();
    let crossing = |quantile| crossing(&differences, |assumed| statistic(baseline, canary, assumed) <= quantile);
    Some(Shift { lower: crossing(normal_quantile)?, upper: crossing(-normal_quantile)?, estimate })
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The first of these sorted values just above which `fallen` holds, or the last one. `fallen` holds from some point on.
fn crossing(values: &[f64], fallen: impl Fn(f64) -> bool) -> Option<f64> {
    let gaps: Vec<(f64, f64)> = values.iter().copied().zip(values.iter().copied().skip(1)).collect();
    let first = gaps.partition_point(|(low, high)| !fallen(f64::midpoint(*low, *high)));
    values.get(first).copied()
}

/// Standardised rank sum of the canary when `assumed` is taken off each of its values.
fn statistic(baseline: &[f64], canary: &[f64], assumed: f64) -> f64 {
    let (n, m) = (baseline.len() as f64, canary.len() as f64);
    let mut pooled: Vec<(f64, bool)> = canary.iter().map(|value| (value - assumed, true)).collect();
    pooled.extend(baseline.iter().map(|value| (*value, false)));
    pooled.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut rank_sum, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in pooled.chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq()) {
        let size = group.len() as f64;
        let canaries = group.iter().filter(|(_, is_canary)| *is_canary).count() as f64;
        rank_sum += canaries * (before + f64::midpoint(1.0, size));
        ties += size * size * size - size;
        before += size;
    }
    let excess = rank_sum - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let variance = m * n / 12.0 * ((m + n + 1.0) - ties / ((m + n) * (m + n - 1.0)));
    let corrected = excess - if excess.abs() < 1e-9 { 0.0 } else { excess.signum() * 0.5 };
    if variance > 0.0 { corrected / variance.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_98_PER_CENT: f64 = 2.326_347_874;
    const AT_95_PER_CENT: f64 = 1.959_963_985;

    #[test]
    fn the_interval_agrees_with_r() {
        // Permeability constants (Hollander and Wolfe, p. 69f), the example of R's wilcox.test, which gives the exact interval.
        let old = [1.15, 0.88, 0.90, 0.74, 1.21];
        let new = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let found = shift(&old, &new, AT_95_PER_CENT).unwrap();
        for (case, ours, theirs) in
            [("estimate", found.estimate, 0.305), ("lower", found.lower, -0.15), ("upper", found.upper, 0.76)]
        {
            assert!((ours - theirs).abs() < 0.011, "{case}: {ours} is not {theirs}");
        }
    }

    #[test]
    fn moving_a_sample_moves_everything() {
        let old = [3.0, 5.5, 4.0, 9.0, 6.25, 7.0];
        let new: Vec<f64> = old.iter().map(|value| value + 10.0).collect();
        let (still, moved) = (shift(&old, &old, AT_98_PER_CENT).unwrap(), shift(&old, &new, AT_98_PER_CENT).unwrap());
        assert!(still.estimate.abs() < 1e-12 && (still.lower + still.upper).abs() < 1e-12, "{still:?}");
        let gaps = [moved.lower - still.lower, moved.upper - still.upper, moved.estimate - still.estimate];
        assert!(gaps.iter().all(|gap| (gap - 10.0).abs() < 1e-9), "{moved:?}");
    }

    #[test]
    fn nothing_has_no_shift() {
        assert_eq!(shift(&[], &[1.0], AT_98_PER_CENT), None);
        assert_eq!(shift(&[1.0], &[], AT_98_PER_CENT), None);
        let constant = shift(&[1.0; 4], &[3.0; 4], AT_98_PER_CENT).unwrap();
        assert_eq!(constant, Shift { lower: 2.0, upper: 2.0, estimate: 2.0 });
    }
}
