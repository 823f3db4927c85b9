//! Pooled latency histograms and their quantiles.

use crate::math::pow;
use crate::trace::edges_ms;
use std::collections::BTreeMap;

/// Counts of latency bins, pooled over records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latencies {
    counts: BTreeMap<u32, u64>,
    total: u64,
}

impl Latencies {
    /// Adds the bins of one record.
    pub fn add(&mut self, latency: &[(u32, u64)]) {
        for (bin, count) in latency {
            *self.counts.entry(*bin).or_default() += count;
            self.total += count;
        }
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Latencies) {
        for (bin, count) in &other.counts {
            *self.counts.entry(*bin).or_default() += count;
        }
        self.total += other.total;
    }

    /// The latency in ms below which this share of the requests lies, evenly spread within a bin on the logarithmic scale;
    /// `None` without requests. Bin 0 goes down to half of the first edge, the last bin up to 1.5 times the last edge.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let edges = edges_ms();
        let wanted = share * self.total as f64;
        let mut seen = 0.0;
        for (bin, count) in &self.counts {
            let here = *count as f64;
            if seen + here >= wanted {
                let edge = |index: u32| usize::try_from(index).ok().and_then(|index| edges.get(index)).copied();
                let low = bin.checked_sub(1).and_then(edge).unwrap_or(0.5);
                let high = edge(*bin).unwrap_or_else(|| edges.last().map_or(1.0, |edge| edge * 1.5));
                return Some(low * pow(high / low, ((wanted - seen) / here).clamp(0.0, 1.0)));
            }
            seen += here;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_within_a_bin() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile_ms(0.5), None);
        latencies.add(&[(8, 50), (16, 50)]); // below 2 ms, below 4 ms
        let table = [(0.0, 1.834_008), (0.5, 2.0), (0.75, 3.830_411), (1.0, 4.0)];
        for (share, wanted) in table {
            let found = latencies.quantile_ms(share).unwrap();
            assert!((found - wanted).abs() < 1e-5, "{share}: {found}");
        }
        let mut ends = Latencies::default();
        ends.add(&[(0, 1), (129, 1)]);
        assert_eq!((ends.quantile_ms(0.0), ends.quantile_ms(1.0)), (Some(0.5), Some(65_536.0 * 1.5)));
    }
}
