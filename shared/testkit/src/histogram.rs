//! A second source of latencies: a histogram with buckets and an ingestion delay of its own, as a monitoring system keeps it.

use crate::traffic::{FAST_MS, SLOW_MS, Sample};
use snapback_judge::detector::Edges;
use snapback_judge::series::{IngestionDelay, Quantity, SeriesError, SourceProfile};
use std::time::Duration;

/// Buckets of a latency histogram, shown some time after the end of a minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper ends of the buckets in milliseconds; one more holds the rest.
    pub edges: Edges,
    /// How long after its end a minute is shown.
    pub delay: IngestionDelay,
}

impl Histogram {
    /// Upper ends that a monitoring library has when nobody says otherwise, shown two minutes late.
    ///
    /// # Panics
    /// Never: the edges ascend and the delay is short enough.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "constants")]
    pub fn usual() -> Self {
        let edges = vec![5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0];
        let delay = IngestionDelay::new(Duration::from_secs(120)).unwrap();
        Self { edges: Edges::new(edges).unwrap(), delay }
    }

    pub(crate) fn profile(&self) -> SourceProfile {
        SourceProfile { edges: Some(self.edges.clone()), ingestion_delay: Some(self.delay), ..SourceProfile::COUNTS }
    }

    /// The value of one minute. What is no bucket of this histogram is refused, as a monitoring system has no such series.
    pub(crate) fn value(&self, quantity: Quantity, of: Sample) -> Result<f64, SeriesError> {
        let fast = of.requests - of.slow;
        match quantity {
            Quantity::Latencies => Ok(of.requests),
            Quantity::LatenciesUpTo(edge_ms) => {
                let is_ours = (0..self.edges.count()).any(|index| self.edges.ms(index) == Some(edge_ms));
                let upto = |ms: f64, count: f64| if ms <= edge_ms { count } else { 0.0 };
                if is_ours { Ok(upto(FAST_MS, fast) + upto(SLOW_MS, of.slow)) } else { Err(not_ours(quantity)) }
            }
            Quantity::LatencyQuantile(permille) => {
                let ms = if of.slow / of.requests > 1.0 - f64::from(permille) / 1000.0 { SLOW_MS } else { FAST_MS };
                Ok(self.middle_of_bucket(ms))
            }
            Quantity::Requests
            | Quantity::Errors
            | Quantity::ClientErrors
            | Quantity::Attempts
            | Quantity::Failures => Err(not_ours(quantity)),
        }
    }

    /// All that a histogram knows of a value is its bucket.
    fn middle_of_bucket(&self, ms: f64) -> f64 {
        let edge = |index| self.edges.ms(index).unwrap_or(0.0);
        let bucket = (0..self.edges.count()).find(|index| ms <= edge(*index)).unwrap_or(self.edges.count() - 1);
        let below = bucket.checked_sub(1).map_or(0.0, edge);
        f64::midpoint(below, edge(bucket))
    }
}

fn not_ours(quantity: Quantity) -> SeriesError {
    SeriesError::Incomplete { source_name: "the histogram", status: format!("no series for {quantity:?}") }
}
