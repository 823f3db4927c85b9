//! Latency thresholds, and how many requests were slower, from histograms.

use super::counts::{InvalidCount, SHIFTS, Share, Slow};

/// Most edges of a histogram.
const MAX_EDGES: usize = 10_000;
/// Threshold without any history, in milliseconds.
const WITHOUT_HISTORY_MS: f64 = 1000.0;
/// The quantiles of the baseline's history that become thresholds.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Edges that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidEdges {
    /// There are none, or more than 10,000.
    #[error("{count} edges, allowed are 1 to 10000")]
    Count {
        /// How many.
        count: usize,
    },
    /// One is not above the one before, not positive or not finite.
    #[error("edge {index} is {edge} ms, it must be finite, above 0 and above the one before")]
    Order {
        /// Which one, from 0.
        index: usize,
        /// What it is, in milliseconds.
        edge: f64,
    },
}

/// Edges of a latency histogram in milliseconds, ascending.
///
/// Bin 0 is below the first edge, bin i from edge i−1 up to edge i, the bin after the last edge is the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Edges(Vec<f64>);

impl Edges {
    /// Edges.
    ///
    /// # Errors
    /// When there are none or too many, or one is not finite, not positive or not above the one before.
    pub fn new(edges: Vec<f64>) -> Result<Self, InvalidEdges> {
        if edges.is_empty() || edges.len() > MAX_EDGES {
            return Err(InvalidEdges::Count { count: edges.len() });
        }
        let mut before = 0.0;
        for (index, edge) in edges.iter().enumerate() {
            if !edge.is_finite() || *edge <= before {
                return Err(InvalidEdges::Order { index, edge: *edge });
            }
            before = *edge;
        }
        Ok(Self(edges))
    }

    /// How many bins there are: one more than edges.
    #[must_use]
    pub fn bins(&self) -> usize {
        self.0.len() + 1
    }

    /// Lower and upper end of a bin in milliseconds. Bin 0 begins at half the first edge, the last one ends at 1.5 times the
    /// last edge.
    fn ends(&self, bin: usize) -> Option<(f64, f64)> {
        let upper = self.0.get(bin).copied();
        let lower = bin.checked_sub(1).and_then(|below| self.0.get(below)).copied();
        match (lower, upper) {
            (Some(lower), Some(upper)) => Some((lower, upper)),
            (None, Some(first)) => Some((first / 2.0, first)),
            (Some(last), None) => Some((last, last * 1.5)),
            (None, None) => None,
        }
    }

    /// Index of the nearest edge by ratio; of two equally near ones the lower.
    fn nearest(&self, value_ms: f64) -> usize {
        let distance = |edge: f64| (edge.ln() - value_ms.ln()).abs();
        let mut nearest = (0, f64::INFINITY);
        for (index, edge) in self.0.iter().enumerate() {
            let far = distance(*edge);
            if far < nearest.1 {
                nearest = (index, far);
            }
        }
        nearest.0
    }
}

/// Requests by bin: `(bin, count)`, each bin at most once, in any order.
pub type Histogram<'a> = &'a [(u32, u64)];

/// The three latency thresholds, as indices of edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    edge: [usize; 3],
    last: usize,
}

impl Thresholds {
    /// Median, 90th and 99th percentile of the baseline's pooled history, each moved to the nearest edge.
    ///
    /// A quantile lies in the first bin at which the cumulative count reaches its share of the total, there at
    /// lower·(upper/lower)^f, with f the part of the bin that it takes. Without history: 1000 ms.
    #[must_use]
    pub fn of_history<'a>(edges: &Edges, history: impl Iterator<Item = Histogram<'a>>) -> Self {
        let mut pooled = vec![0_u64; edges.bins()];
        for (bin, count) in history.flatten() {
            if let Some(sum) = usize::try_from(*bin).ok().and_then(|bin| pooled.get_mut(bin)) {
                *sum = sum.saturating_add(*count);
            }
        }
        let edge = QUANTILES.map(|q| edges.nearest(quantile(edges, &pooled, q).unwrap_or(WITHOUT_HISTORY_MS)));
        Self { edge, last: edges.0.len().saturating_sub(1) }
    }

    /// The thresholds in milliseconds.
    #[must_use]
    pub fn ms(&self, edges: &Edges) -> [f64; 3] {
        self.edge.map(|edge| edges.0.get(edge).copied().unwrap_or(WITHOUT_HISTORY_MS))
    }

    /// Requests slower than each threshold, and than the threshold shifted up (at most to the last edge).
    ///
    /// # Errors
    /// When there are more requests than a count may say.
    pub fn slow(&self, histogram: Histogram<'_>) -> Result<[Slow; 3], InvalidCount> {
        let mut all = 0_u64;
        let mut above = [[0_u64; 4]; 3];
        let limits = self.edge.map(|edge| SHIFTS.map(|shift| (edge + usize::from(shift)).min(self.last)));
        for (bin, count) in histogram {
            all = all.saturating_add(*count);
            let bin = usize::try_from(*bin).unwrap_or(usize::MAX);
            for (sum, limit) in above.iter_mut().flatten().zip(limits.iter().flatten()) {
                if bin > *limit {
                    *sum = sum.saturating_add(*count);
                }
            }
        }
        Share::new(0, all)?;
        Ok(above.map(|above| Slow { all, above: above.map(Some) }))
    }
}

fn quantile(edges: &Edges, pooled: &[u64], q: f64) -> Option<f64> {
    use super::bucket::number;
    let total = pooled.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return None;
    }
    let wanted = q * number(total);
    let mut below = 0.0;
    for (bin, count) in pooled.iter().enumerate() {
        let count = number(*count);
        if below + count >= wanted {
            let (lower, upper) = edges.ends(bin)?;
            let part = if count > 0.0 { ((wanted - below) / count).clamp(0.0, 1.0) } else { 0.0 };
            return Some(lower * (upper / lower).powf(part));
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges() -> Edges {
        Edges::new((0..=24).map(|step| 2.0_f64.powf(f64::from(step) / 2.0)).collect()).unwrap()
    }

    #[test]
    fn edges_must_ascend() {
        let table = [
            ("none", vec![], "0 edges"),
            ("too many", (1..=10_001).map(f64::from).collect(), "10001 edges"),
            ("zero", vec![0.0, 1.0], "edge 0 is 0 ms"),
            ("equal", vec![1.0, 1.0], "edge 1 is 1 ms"),
            ("falling", vec![1.0, 2.0, 1.5], "edge 2 is 1.5 ms"),
            ("NaN", vec![1.0, f64::NAN], "edge 1 is NaN ms"),
            ("infinite", vec![1.0, f64::INFINITY], "edge 1 is inf ms"),
        ];
        for (case, edges, expected) in table {
            let message = Edges::new(edges).unwrap_err().to_string();
            assert!(message.contains(expected), "{case}: {message}");
        }
    }

    #[test]
    fn quantiles_lie_within_their_bin_by_ratio() {
        let edges = Edges::new(vec![1.0, 2.0, 4.0]).unwrap();
        // (bins: below 1, 1 to 2, 2 to 4, rest; q; expected in ms)
        let table = [
            ("half of one bin", [0, 0, 10, 0], 0.5, 2.0 * 2.0_f64.sqrt()),
            ("the end of a bin", [0, 5, 5, 0], 0.5, 2.0),
            ("the first bin begins at half its end", [4, 0, 0, 0], 0.5, 0.5 * 2.0_f64.sqrt()),
            ("the last bin ends at 1.5 times its begin", [0, 0, 0, 4], 0.5, 4.0 * 1.5_f64.sqrt()),
        ];
        for (case, pooled, q, expected) in table {
            let found = quantile(&edges, &pooled, q).unwrap();
            assert!((found - expected).abs() < 1e-12, "{case}: {found}, expected {expected}");
        }
        assert_eq!(quantile(&edges, &[0; 4], 0.5), None, "no history");
    }

    #[test]
    fn thresholds_are_edges_and_the_lower_one_of_two_equally_near() {
        let edges = edges();
        assert_eq!(edges.nearest(1.0), 0);
        assert_eq!(edges.nearest(0.001), 0, "below all");
        assert_eq!(edges.nearest(1e9), 24, "above all");
        assert_eq!(Edges::new(vec![1.0, 4.0]).unwrap().nearest(2.0), 0, "a tie");
        let none = Thresholds::of_history(&edges, std::iter::empty());
        assert!(none.ms(&edges).iter().all(|ms| (ms - 1024.0).abs() < 1e-9), "1000 ms without history");
    }

    #[test]
    fn slow_is_above_the_threshold_and_its_shifts_stop_at_the_last_edge() {
        let edges = Edges::new(vec![1.0, 2.0, 4.0, 8.0, 16.0]).unwrap();
        let history = [(1, 50), (2, 45), (4, 5)];
        let thresholds = Thresholds::of_history(&edges, [history.as_slice()].into_iter());
        assert_eq!(thresholds.ms(&edges), [2.0, 4.0, 16.0]);
        let [q50, q90, q99] = thresholds.slow(&[(0, 1), (2, 10), (3, 20), (4, 30), (5, 40)]).unwrap();
        assert_eq!(q50, Slow { all: 101, above: [Some(100), Some(90), Some(70), Some(40)] });
        assert_eq!(q90, Slow { all: 101, above: [Some(90), Some(70), Some(40), Some(40)] });
        assert_eq!(q99, Slow { all: 101, above: [Some(40); 4] });
        assert!(thresholds.slow(&[(0, u64::MAX), (1, u64::MAX)]).is_err(), "more than a count may say");
    }
}
