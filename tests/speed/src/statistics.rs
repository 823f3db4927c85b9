//! What many measurements come to.

use std::time::Duration;

use serde_json::{Value, json};

/// The quantile at `percent` by nearest rank: the least sample that is not below `percent` per cent of them. `None` without
/// samples.
///
/// * `samples`: in any order.
/// * `percent`: 1 to 100; 100 is the greatest sample.
#[must_use]
pub fn percentile(samples: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (percent * sorted.len()).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Durations in a few figures; all percentiles are by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many were measured.
    pub count: usize,
    /// The middle one.
    pub median: Duration,
    /// 90th percentile.
    pub p90: Duration,
    /// 99th percentile: below 100 samples, the greatest.
    pub p99: Duration,
    /// The greatest.
    pub max: Duration,
}

impl Summary {
    /// `None` without samples.
    #[must_use]
    pub fn of(samples: &[Duration]) -> Option<Self> {
        Some(Self {
            count: samples.len(),
            median: percentile(samples, 50)?,
            p90: percentile(samples, 90)?,
            p99: percentile(samples, 99)?,
            max: percentile(samples, 100)?,
        })
    }

    /// As JSON, in milliseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "count": self.count, "median_ms": ms(self.median), "p90_ms": ms(self.p90), "p99_ms": ms(self.p99),
            "max_ms": ms(self.max)
        })
    }
}

/// Milliseconds, to the microsecond.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: u64) -> Vec<Duration> {
        // Backwards: nobody promises an order.
        (1..=count).rev().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        // (samples 1..=n ms, percent, expected ms)
        let table = [
            (1, 1, 1),
            (1, 99, 1),
            (2, 50, 1),
            (3, 50, 2),
            (10, 90, 9),
            (10, 91, 10),
            (10, 99, 10),
            (100, 99, 99),
            (101, 99, 100),
            (200, 99, 198),
            (200, 100, 200),
        ];
        for (count, percent, expected) in table {
            let found = percentile(&samples(count), percent);
            assert_eq!(found, Some(Duration::from_millis(expected)), "{percent} % of {count}");
        }
    }

    #[test]
    fn nothing_measured_has_no_figures() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_summary_in_milliseconds() {
        let summary = Summary::of(&samples(100)).unwrap();
        let expected = json!({"count": 100, "median_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "max_ms": 100.0});
        assert_eq!(summary.json(), expected);
        assert!((ms(Duration::from_nanos(1_234_567)) - 1.235).abs() < 1e-9);
    }
}
