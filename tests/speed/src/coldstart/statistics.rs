//! What many measurements of the same thing come to.

use serde::Serialize;

/// Distribution of one figure, in the figure's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub n: usize,
    /// Smallest.
    pub min: f64,
    /// A tenth of the values is at most this.
    pub p10: f64,
    /// Middle; of an even number the mean of both.
    pub median: f64,
    /// Nine tenths of the values are at most this.
    pub p90: f64,
    /// Largest.
    pub max: f64,
}

impl Summary {
    /// Of `values` in any order, or `None` when there are none.
    ///
    /// Quantiles are interpolated between neighbours (the usual type 7: position `q (n - 1)`).
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let at = |q| quantile(&sorted, q);
        Some(Self { n: sorted.len(), min, p10: at(0.1)?, median: at(0.5)?, p90: at(0.9)?, max })
    }

    /// Distance of the largest from the smallest value, as a share of the median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }
}

fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = u32::try_from(sorted.len().checked_sub(1)?).ok()?;
    let position = q * f64::from(last);
    let below = (0..=last).take_while(|index| f64::from(*index) <= position).last()?;
    let lower = *sorted.get(usize::try_from(below).ok()?)?;
    let upper = sorted.get(usize::try_from(below).ok()? + 1).copied().unwrap_or(lower);
    Some(lower + (upper - lower) * (position - f64::from(below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        // (values, median, p10, p90)
        let table = [
            (vec![3.0], 3.0, 3.0, 3.0),
            (vec![4.0, 2.0], 3.0, 2.2, 3.8),
            (vec![5.0, 1.0, 3.0], 3.0, 1.4, 4.6),
            ((0..=10).map(f64::from).collect(), 5.0, 1.0, 9.0),
        ];
        for (values, median, p10, p90) in table {
            let summary = Summary::of(&values).unwrap();
            for (found, expected) in [(summary.median, median), (summary.p10, p10), (summary.p90, p90)] {
                assert!((found - expected).abs() < 1e-9, "{values:?}: {summary:?}");
            }
            assert_eq!(summary.n, values.len());
        }
        assert_eq!(Summary::of(&[]), None, "no values are not a zero");
    }

    #[test]
    fn spread_is_relative() {
        let summary = Summary::of(&[99.0, 100.0, 101.0]).unwrap();
        assert!((summary.spread() - 0.02).abs() < 1e-9);
    }
}
