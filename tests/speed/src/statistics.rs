//! What many measurements of the same thing come to.
//!
//! Quantiles are by nearest rank, in every benchmark: the one at p per cent is the smallest value that at least p per cent of the
//! values do not exceed. So each is a value that was measured; the median of an even number of them is the lower of the middle two.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

/// Distribution of one figure, in the figure's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub n: usize,
    /// Smallest.
    pub min: f64,
    /// 10th percentile.
    pub p10: f64,
    /// The middle one.
    pub median: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile: below 100 values, the largest. Only for many values, so cold starts do not tell it.
    #[serde(skip)]
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl Summary {
    /// Of `values` in any order, or `None` when there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent| quantile(&sorted, percent);
        Some(Self {
            n: sorted.len(),
            min: *sorted.first()?,
            p10: at(10)?,
            median: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
            max: *sorted.last()?,
        })
    }

    /// Of durations, in milliseconds.
    #[must_use]
    pub fn of_ms(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::of(durations.into_iter().map(ms))
    }

    /// Distance of the largest from the smallest value, as a share of the median.
    #[must_use]
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }

    /// Of milliseconds, as JSON.
    #[must_use]
    pub fn json_ms(&self) -> Value {
        let Self { n, median, p90, p99, max, .. } = self;
        json!({"count": n, "median_ms": median, "p90_ms": p90, "p99_ms": p99, "max_ms": max})
    }
}

/// By nearest rank; `percent` is 1 to 100.
fn quantile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (percent * sorted.len()).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Milliseconds, to the microsecond.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A count as a figure.
#[must_use]
pub fn count(number: u64) -> Option<f64> {
    u32::try_from(number).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(count: u32) -> Vec<f64> {
        (1..=count).map(f64::from).collect()
    }

    #[test]
    fn quantiles_are_by_nearest_rank() {
        // (values 1..=n, per cent, expected)
        let table = [
            (1, 1, 1.0),
            (1, 99, 1.0),
            (2, 50, 1.0),
            (3, 50, 2.0),
            (10, 90, 9.0),
            (10, 91, 10.0),
            (10, 99, 10.0),
            (20, 10, 2.0),
            (100, 99, 99.0),
            (101, 99, 100.0),
            (200, 99, 198.0),
            (200, 100, 200.0),
        ];
        for (count, percent, expected) in table {
            assert_eq!(quantile(&to(count), percent), Some(expected), "{percent} % of {count}");
        }
        assert_eq!(quantile(&[], 50), None);
    }

    #[test]
    fn a_summary_is_of_values_in_any_order() {
        let backwards = Summary::of(to(200).into_iter().rev()).unwrap();
        let expected = Summary { n: 200, min: 1.0, p10: 20.0, median: 100.0, p90: 180.0, p99: 198.0, max: 200.0 };
        assert_eq!(backwards, expected);
        assert_eq!(Summary::of([]), None, "no values are not a zero");
    }

    #[test]
    fn a_summary_as_json() {
        let summary = Summary::of_ms((1..=100).map(Duration::from_millis)).unwrap();
        let expected = json!({"count": 100, "median_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "max_ms": 100.0});
        assert_eq!(summary.json_ms(), expected);
        let expected = json!({"n": 100, "min": 1.0, "p10": 10.0, "median": 50.0, "p90": 90.0, "max": 100.0});
        assert_eq!(serde_json::to_value(summary).unwrap(), expected);
        assert!((ms(Duration::from_nanos(1_234_567)) - 1.235).abs() < 1e-9);
    }

    #[test]
    fn spread_is_relative() {
        let summary = Summary::of([99.0, 100.0, 101.0]).unwrap();
        assert!((summary.spread() - 0.02).abs() < 1e-9);
    }
}
