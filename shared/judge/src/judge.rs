//! Times and strictness of judging.

use crate::series::IngestionDelay;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// Longest wait for numbers that come late.
pub const MAX_WAIT: Duration = Duration::from_secs(300);

/// Times and strictness of the comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judge {
    /// Length of a bucket.
    pub bucket: Duration,
    /// A bucket is final this long after its end at the earliest: the newest points still grow.
    pub ingestion_delay: Duration,
    /// One version's numbers wait this long for the other's. Functions with a time-out over a minute get their time-out and
    /// a minute, at most five minutes.
    pub grace: Duration,
    /// A bucket without numbers of either version is given up so long after its witnesses came, else after its end.
    pub no_data_timeout: Duration,
    /// How much of the service's past is the baseline.
    pub history: Duration,
    /// Half-life of the long reference.
    pub long: Duration,
    /// Half-life of the recent reference.
    pub recent: Duration,
    /// Half-life of the remembered peak.
    pub peak: Duration,
    /// Traffic that is younger than this may be slower: cold starts.
    pub warm_up: Duration,
    /// Length of the minute in which noise is shared: shorter only where time is, as in a rehearsal.
    pub minute: Duration,
    /// Bound on the chance of a false rollback of a version that changes nothing.
    pub alpha: f64,
}

impl Judge {
    /// The recommended times.
    #[must_use]
    pub const fn recommended() -> Self {
        Self {
            bucket: MINUTE,
            ingestion_delay: Duration::from_secs(30),
            grace: Duration::from_secs(90),
            no_data_timeout: Duration::from_secs(240),
            history: Duration::from_secs(3600),
            long: Duration::from_secs(1800),
            recent: Duration::from_secs(180),
            peak: Duration::from_secs(600),
            warm_up: Duration::from_secs(90),
            minute: MINUTE,
            alpha: 0.01,
        }
    }

    /// The same, but nothing is final before `delay`, and every wait for what comes late begins that much later. Waits are at
    /// most five minutes.
    #[must_use]
    pub fn with_ingestion_delay(self, delay: IngestionDelay) -> Self {
        let more = delay.get().saturating_sub(self.ingestion_delay);
        let wait = |wait: Duration| wait.max((wait + more).min(MAX_WAIT));
        Self {
            ingestion_delay: self.ingestion_delay + more,
            grace: wait(self.grace),
            no_data_timeout: wait(self.no_data_timeout),
            ..self
        }
    }

    /// How long after the end of a bake its last buckets are waited for.
    #[must_use]
    pub fn drain(&self, tick: Duration) -> Duration {
        (self.bucket + self.ingestion_delay + 3 * tick).min(Duration::from_secs(150))
    }
}
