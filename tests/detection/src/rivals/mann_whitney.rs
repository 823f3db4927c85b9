//! The Mann-Whitney test with a confidence interval for the shift between two samples, found as Kayenta finds it: by a root
//! search that stops within 0.0001, whatever the unit.

/// How far the second sample lies above the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shift {
    /// Lower end of the confidence interval.
    pub(super) lower: f64,
    /// Upper end.
    pub(super) upper: f64,
    /// Where the test statistic crosses zero: about the median of all differences between a value of the second sample and one
    /// of the first (Hodges and Lehmann).
    pub(super) estimate: f64,
}

/// A root is found within about this.
const TOLERANCE: f64 = 1e-4;
/// The search halves at worst, so this is never reached.
const MOST_STEPS: u32 = 1000;

/// The shift from `baseline` to `canary`; `None` when either is empty.
///
/// * `normal_quantile`: how many standard deviations the interval reaches to each side (2.326 for 98 %).
///
/// The normal approximation with continuity correction and correction for ties. The test statistic falls with the assumed
/// shift, in jumps; the ends of the interval are where it crosses the quantile.
pub(super) fn shift(baseline: &[f64], canary: &[f64], normal_quantile: f64) -> Option<Shift> {
    let (old_least, old_most) = extremes(baseline)?;
    let (new_least, new_most) = extremes(canary)?;
    let (least, most) = (new_least - old_most, new_most - old_least);
    if most <= least {
        return Some(Shift { lower: least, upper: least, estimate: least });
    }
    let crossing = |quantile: f64| {
        let above = |assumed: f64| statistic(baseline, canary, assumed) - quantile;
        let (at_least, at_most) = ((least, above(least)), (most, above(most)));
        if at_least.1 <= 0.0 {
            least
        } else if at_most.1 >= 0.0 {
            most
        } else {
            root(above, at_least, at_most)
        }
    };
    Some(Shift { lower: crossing(normal_quantile), upper: crossing(-normal_quantile), estimate: crossing(0.0) })
}

fn extremes(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

/// A place and the value of the function there.
type Point = (f64, f64);

/// Brent's search for a root between two points with values of different sign (*Algorithms for Minimization without
/// Derivatives*, 1973, chapter 4): interpolation where it helps, halving where not.
fn root(function: impl Fn(f64) -> f64, low: Point, high: Point) -> f64 {
    let (mut before, mut best, mut opposite) = (low, high, low);
    for _ in 0..MOST_STEPS {
        let last_step = best.0 - before.0;
        if opposite.1.abs() < best.1.abs() {
            (before, best, opposite) = (best, opposite, best);
        }
        let smallest = 2.0 * f64::EPSILON * best.0.abs() + TOLERANCE / 2.0;
        let half = (opposite.0 - best.0) / 2.0;
        if half.abs() <= smallest || is_zero(best.1) {
            break;
        }
        let promising = last_step.abs() >= smallest && before.1.abs() > best.1.abs();
        let guess = if promising { interpolated(before, best, opposite, last_step, smallest) } else { None };
        let step = guess.unwrap_or(half);
        let step = if step.abs() >= smallest { step } else { smallest.copysign(step) };
        let next = best.0 + step;
        before = best;
        best = (next, function(next));
        if best.1 * opposite.1 > 0.0 {
            opposite = before;
        }
    }
    best.0
}

/// The step from `best` to where a line (with two points) or an inverse parabola (with three) crosses zero; `None` where that
/// leads too far.
fn interpolated(before: Point, best: Point, opposite: Point, last_step: f64, smallest: f64) -> Option<f64> {
    let width = opposite.0 - best.0;
    let to_before = best.1 / before.1;
    let (numerator, denominator) = if before == opposite {
        (width * to_before, 1.0 - to_before)
    } else {
        let (ratio, to_opposite) = (before.1 / opposite.1, best.1 / opposite.1);
        let bent = width * ratio * (ratio - to_opposite) - (best.0 - before.0) * (to_opposite - 1.0);
        (to_before * bent, (ratio - 1.0) * (to_opposite - 1.0) * (to_before - 1.0))
    };
    let (numerator, denominator) = if numerator > 0.0 { (numerator, -denominator) } else { (-numerator, denominator) };
    let within = numerator < 0.75 * width * denominator - (smallest * denominator).abs() / 2.0;
    let shrinking = numerator < (last_step * denominator / 2.0).abs();
    (within && shrinking).then_some(numerator / denominator)
}

fn is_zero(value: f64) -> bool {
    value.abs() < f64::MIN_POSITIVE
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
        assert!(still.estimate.abs() < TOLERANCE && (still.lower + still.upper).abs() < 2.0 * TOLERANCE, "{still:?}");
        let gaps = [moved.lower - still.lower, moved.upper - still.upper, moved.estimate - still.estimate];
        assert!(gaps.iter().all(|gap| (gap - 10.0).abs() < 2.0 * TOLERANCE), "{moved:?}");
    }

    #[test]
    fn roots_are_found_within_the_tolerance_and_no_better() {
        let cubic = |x: f64| 2.0 - x * x * x;
        let found = root(cubic, (0.0, cubic(0.0)), (10.0, cubic(10.0)));
        assert!((found - 2.0_f64.cbrt()).abs() <= TOLERANCE, "{found}");
        let step = |x: f64| if x < 3.21 { 1.0 } else { -2.0 };
        let found = root(step, (0.0, 1.0), (50.0, -2.0));
        assert!((found - 3.21).abs() <= TOLERANCE, "{found}");
        // Both ends lie within the tolerance: the one with the smaller value is the answer, wherever the root is.
        let narrow = |x: f64| 1e-5 - x;
        let found = root(narrow, (0.0, narrow(0.0)), (8e-5, narrow(8e-5)));
        assert!(found.abs() < 1e-12, "{found}");
    }

    #[test]
    fn nothing_has_no_shift() {
        assert_eq!(shift(&[], &[1.0], AT_98_PER_CENT), None);
        assert_eq!(shift(&[1.0], &[], AT_98_PER_CENT), None);
        let constant = shift(&[1.0; 4], &[3.0; 4], AT_98_PER_CENT).unwrap();
        assert_eq!(constant, Shift { lower: 2.0, upper: 2.0, estimate: 2.0 });
    }
}
