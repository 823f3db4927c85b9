//! Latency thresholds, and how many requests were slower, from histograms.

use super::bucket::number;
use super::counts::{Latencies, SHIFTS};
use crate::share::InvalidCount;
use std::sync::Arc;

/// Most edges of a histogram.
const MAX_EDGES: usize = 10_000;
/// Threshold without any history, in milliseconds.
pub(crate) const WITHOUT_HISTORY_MS: f64 = 1000.0;
/// The quantiles of the baseline's history that become thresholds of the body …
pub(crate) const OCTILES: [f64; 7] = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875];
/// … and of the tails.
pub(crate) const TAILS: [f64; 2] = [0.90, 0.99];

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
pub struct Edges(Arc<[f64]>);

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
        Ok(Self(edges.into()))
    }

    /// Edges 2^(k/8) ms for k = 0 to 128, from 1 ms to 65.5 s: for a source that counts at any value.
    #[must_use]
    pub fn eighths() -> Self {
        Self((0..=128_u8).map(|k| 2_f64.powf(f64::from(k) / 8.0)).collect())
    }

    /// How many edges there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// An edge in milliseconds; `None` when there is none of this index.
    #[must_use]
    pub fn ms(&self, index: usize) -> Option<f64> {
        self.0.get(index).copied()
    }

    /// The lowest edge that is at least 2^(`eighths`/8) times edge `index`, at most the last one. Coarse edges tolerate more than
    /// is meant, never less: of edges a factor of two apart the next one is the least that there is.
    #[must_use]
    pub fn raised(&self, index: usize, eighths: u8) -> usize {
        let last = self.0.len().saturating_sub(1);
        let Some(edge) = self.ms(index) else { return last };
        let wanted = edge * 2_f64.powf(f64::from(eighths) / 8.0) * (1.0 - 1e-9);
        self.0.iter().position(|edge| *edge >= wanted).map_or(last, |found| found.max(index))
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

    /// Log latency between the edges [`SLOPE_EDGES`] below and above an octile's. In edges that are no eighths of an octave the
    /// true distance counts; past either end as if there were eighths.
    pub(crate) fn distance_around(&self, index: usize) -> f64 {
        let step = usize::from(SLOPE_EDGES);
        let lower = index.checked_sub(step).and_then(|lower| self.ms(lower));
        match (lower, self.ms(index + step)) {
            (Some(lower), Some(upper)) => (upper / lower).ln(),
            _ => f64::from(SLOPE_EDGES) * 2.0 * std::f64::consts::LN_2 / 8.0,
        }
    }

    /// Index of the nearest edge by ratio; of two equally near ones the lower.
    #[must_use]
    pub fn nearest(&self, value_ms: f64) -> usize {
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

/// The baseline's latency thresholds, as indices of edges: octiles, 90th and 99th percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// The octiles 1/8 to 7/8.
    pub body: [u16; 7],
    /// The 90th percentile.
    pub q90: u16,
    /// The 99th percentile.
    pub q99: u16,
}

/// How the baseline's latencies were spread around its octiles, as shares of all requests. Source: the history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyShape {
    /// Share of the requests above each octile's edge.
    pub above: [f64; 7],
    /// Mean fall of that share per unit of log latency, from a quarter of an octave below to a quarter above.
    pub slope: f64,
}

impl Thresholds {
    /// Quantiles of the baseline's pooled history, each moved to the nearest edge.
    ///
    /// A quantile lies in the first bin at which the cumulative count reaches its share of the total, there at
    /// lower·(upper/lower)^f, with f the part of the bin that it takes. Without history: 1000 ms.
    #[must_use]
    pub fn of_history<'a>(edges: &Edges, history: impl Iterator<Item = Histogram<'a>>) -> (Self, LatencyShape) {
        let pooled = Pooled::of(edges, history);
        let thresholds = Self::of_quantiles(edges, |q| pooled.quantile(edges, q).unwrap_or(WITHOUT_HISTORY_MS));
        (thresholds, pooled.shape(edges, &thresholds))
    }

    /// The edges nearest to given quantiles: `quantile_ms` gives them in milliseconds for 1/8 to 7/8, 0.9 and 0.99.
    pub fn of_quantiles(edges: &Edges, quantile_ms: impl Fn(f64) -> f64) -> Self {
        let edge = |q: f64| u16::try_from(edges.nearest(quantile_ms(q))).unwrap_or(u16::MAX);
        Self { body: OCTILES.map(edge), q90: edge(TAILS[0]), q99: edge(TAILS[1]) }
    }

    /// All of them: the octiles, then the tails.
    pub fn all(&self) -> impl Iterator<Item = u16> {
        self.body.into_iter().chain([self.q90, self.q99])
    }

    /// The thresholds of q90 and q99 in milliseconds.
    #[must_use]
    pub fn tails_ms(&self, edges: &Edges) -> [f64; 2] {
        [self.q90, self.q99].map(|edge| edges.ms(usize::from(edge)).unwrap_or(WITHOUT_HISTORY_MS))
    }

    /// Requests slower than each threshold, and than a tail's shifted up (at most to the last edge).
    ///
    /// # Errors
    /// When there are more requests than a count may say.
    pub fn latencies(&self, edges: &Edges, histogram: Histogram<'_>) -> Result<Latencies, InvalidCount> {
        let last = edges.count().saturating_sub(1);
        let above = |edge: usize| {
            let bins = histogram.iter().filter(|(bin, _)| usize::try_from(*bin).is_ok_and(|bin| bin > edge));
            bins.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count))
        };
        let tail = |edge: u16| SHIFTS.map(|shift| Some(above((usize::from(edge) + usize::from(shift)).min(last))));
        let all = histogram.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        Latencies::new(all, self.body.map(|edge| above(usize::from(edge))), tail(self.q90), tail(self.q99))
    }
}

impl LatencyShape {
    /// Without any request in the history: the least slope counts.
    pub const UNKNOWN: Self = Self { above: [0.0; 7], slope: 0.0 };

    /// From shares of the requests: above each octile's edge, above an edge below it and an edge over it (`around`), which lie
    /// `distances` apart in log latency.
    #[must_use]
    pub fn new(above: [f64; 7], around: [(f64, f64); 7], distances: [f64; 7]) -> Self {
        let falls = around.into_iter().zip(distances).map(|((lower, upper), distance)| (lower - upper) / distance);
        Self { above, slope: falls.sum::<f64>() / 7.0 }
    }
}

/// By how many edges the slope looks to each side of an octile.
pub const SLOPE_EDGES: u8 = 2;

/// The old version's requests of the whole history by bin.
struct Pooled(Vec<u64>);

impl Pooled {
    fn of<'a>(edges: &Edges, history: impl Iterator<Item = Histogram<'a>>) -> Self {
        let mut pooled = vec![0_u64; edges.bins()];
        for (bin, count) in history.flatten() {
            if let Some(sum) = usize::try_from(*bin).ok().and_then(|bin| pooled.get_mut(bin)) {
                *sum = sum.saturating_add(*count);
            }
        }
        Self(pooled)
    }

    fn total(&self) -> f64 {
        number(self.0.iter().fold(0_u64, |sum, count| sum.saturating_add(*count)))
    }

    /// P(k): share of the requests above edge `k`. Below the first edge: everything; beyond the last one: the last bin.
    fn above(&self, k: i32) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let from = usize::try_from(k.saturating_add(1)).unwrap_or(0).min(last);
        let bins = self.0.iter().skip(from).fold(0_u64, |sum, count| sum.saturating_add(*count));
        number(bins) / self.total()
    }

    fn shape(&self, edges: &Edges, thresholds: &Thresholds) -> LatencyShape {
        if self.total() <= 0.0 {
            return LatencyShape::UNKNOWN;
        }
        let step = i32::from(SLOPE_EDGES);
        let around = thresholds.body.map(|edge| {
            let edge = i32::from(edge);
            (self.above(edge - step), self.above(edge + step))
        });
        let distances = thresholds.body.map(|edge| edges.distance_around(usize::from(edge)));
        LatencyShape::new(thresholds.body.map(|edge| self.above(i32::from(edge))), around, distances)
    }

    fn quantile(&self, edges: &Edges, q: f64) -> Option<f64> {
        let total = self.total();
        if total <= 0.0 {
            return None;
        }
        let wanted = q * total;
        let mut below = 0.0;
        for (bin, count) in self.0.iter().enumerate() {
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
            let found = Pooled(pooled.to_vec()).quantile(&edges, q).unwrap();
            assert!((found - expected).abs() < 1e-12, "{case}: {found}, expected {expected}");
        }
        assert_eq!(Pooled(vec![0; 4]).quantile(&edges, 0.5), None, "no history");
    }

    #[test]
    fn thresholds_are_edges_and_the_lower_one_of_two_equally_near() {
        let edges = edges();
        assert_eq!(edges.nearest(1.0), 0);
        assert_eq!(edges.nearest(0.001), 0, "below all");
        assert_eq!(edges.nearest(1e9), 24, "above all");
        assert_eq!(Edges::new(vec![1.0, 4.0]).unwrap().nearest(2.0), 0, "a tie");
        let (none, shape) = Thresholds::of_history(&edges, std::iter::empty());
        assert!(none.all().all(|edge| edge == 20), "1000 ms without history: {none:?}");
        assert_eq!(shape, LatencyShape::UNKNOWN);
    }

    #[test]
    fn raised_edges_are_far_enough_up_whatever_the_edges() {
        let fine = Edges::eighths();
        for (index, eighths, expected) in [(0, 1, 1), (55, 0, 55), (55, 4, 59), (126, 4, 128), (128, 1, 128)] {
            assert_eq!(fine.raised(index, eighths), expected, "{index} by {eighths}");
        }
        let buckets = vec![5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0];
        let coarse = Edges::new(buckets).unwrap();
        for (index, eighths, expected) in [(4, 0, 4), (4, 1, 5), (4, 4, 5), (8, 1, 9), (9, 1, 9), (99, 1, 9)] {
            assert_eq!(coarse.raised(index, eighths), expected, "{index} by {eighths}");
        }
    }

    #[test]
    fn slow_is_above_the_threshold_and_its_shifts_stop_at_the_last_edge() {
        let edges = Edges::new(vec![1.0, 2.0, 4.0, 8.0, 16.0]).unwrap();
        let history = [(1, 50), (2, 45), (4, 5)];
        let (thresholds, shape) = Thresholds::of_history(&edges, [history.as_slice()].into_iter());
        assert_eq!(thresholds, Thresholds { body: [0, 1, 1, 1, 1, 2, 2], q90: 2, q99: 4 });
        assert!((shape.above[1] - 0.5).abs() < 1e-12, "half of them took more than 2 ms");
        let slow = thresholds.latencies(&edges, &[(0, 1), (2, 10), (3, 20), (4, 30), (5, 40)]).unwrap();
        assert_eq!((slow.all, slow.body), (101, [100, 100, 100, 100, 100, 90, 90]));
        assert_eq!(slow.q90, [Some(90), Some(70), Some(40), Some(40)]);
        assert_eq!(slow.q99, [Some(40); 4]);
        assert!(thresholds.latencies(&edges, &[(0, u64::MAX), (1, u64::MAX)]).is_err(), "more than a count may say");
    }

    #[test]
    fn the_slope_is_that_of_the_shares_around_the_octiles() {
        // One bin of an eighth holds everything: above its lower edge all, above its upper edge nothing.
        let edges = Edges::eighths();
        let (thresholds, shape) = Thresholds::of_history(&edges, [[(41, 1000)].as_slice()].into_iter());
        assert!(thresholds.body.iter().all(|edge| [40, 41].contains(edge)), "{thresholds:?}");
        let expected = 1.0 / (4.0 * std::f64::consts::LN_2 / 8.0);
        assert!((shape.slope - expected).abs() < 1e-9, "{shape:?}");
    }
}
