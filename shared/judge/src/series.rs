//! What is read of a deployment: series of numbers, in words that belong to no platform. Which metric with which dimensions that
//! is, only the adapter of a source knows.

use crate::detector::Edges;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Whose numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All versions: the service before the deployment, or the new version when it has all traffic.
    All,
    /// The old version.
    Baseline,
    /// The new version.
    Canary,
}

/// Which of a deployment's sources: each kind of number may come from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceId {
    /// What counts the requests of each version, and those that failed by themselves.
    Requests,
    /// What counts requests that were handled but answered badly, where the policy names such a source.
    Errors,
    /// What measures how long requests took.
    Latency,
    /// What counts business transactions.
    Transactions,
    /// What counts the requests for the service in front of it, whoever answered: a witness.
    Front,
    /// Another service behind the same dependencies, by its place in the policy: a witness.
    Peer(u8),
    /// A series of Snapback's own in the same store of metrics: when it is missing, so may everything else be.
    Pipeline,
}

/// One number for each bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// All requests.
    Requests,
    /// Failed requests; of [`SourceId::Errors`] those answered with 5xx.
    Errors,
    /// Requests answered with 4xx.
    ClientErrors,
    /// Requests whose latency was measured.
    Latencies,
    /// Of these, those that took at most so many milliseconds: one of the source's own edges.
    LatenciesUpTo(f64),
    /// Quantile of the latencies in milliseconds, in thousandths, for example 990.
    LatencyQuantile(u16),
    /// Transactions that were begun.
    Attempts,
    /// Transactions that failed.
    Failures,
}

/// One series that is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesQuery {
    /// Whose numbers.
    pub side: Scope,
    /// Which numbers.
    pub quantity: Quantity,
    /// From where.
    pub source: SourceId,
}

/// Longest ingestion delay of a source that can be judged by.
pub const MAX_INGESTION_DELAY: Duration = Duration::from_secs(240);

/// How long after the end of a bucket a source may still change it. At most [`MAX_INGESTION_DELAY`]: what comes later than that
/// would be given up before it is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IngestionDelay(Duration);

impl IngestionDelay {
    /// A delay; `None` above [`MAX_INGESTION_DELAY`].
    #[must_use]
    pub fn new(delay: Duration) -> Option<Self> {
        (delay <= MAX_INGESTION_DELAY).then_some(Self(delay))
    }

    /// The delay.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

/// What a source of numbers is like. Whoever translates its queries says so.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceProfile {
    /// Whether it tells the two versions apart; else it is asked only of [`Scope::All`].
    pub is_split: bool,
    /// For [`SourceId::Errors`]: whether its requests and errors are all there are, as those of a front door; else its errors
    /// come on top of those of [`SourceId::Requests`].
    pub is_whole: bool,
    /// For [`SourceId::Errors`]: whether other services are counted in it too, so that it cannot blame this one's version.
    pub is_shared: bool,
    /// Whether it counts answers with 4xx.
    pub has_client_errors: bool,
    /// Where it can count latencies: its own edges. `None`: it measures no latency.
    pub edges: Option<Edges>,
    /// Nothing of a bucket is final before this; `None`: as `judge.ingestion_delay` of the policy says.
    pub ingestion_delay: Option<IngestionDelay>,
}

impl SourceProfile {
    /// What tells the versions apart by counts alone, and belongs to one service.
    pub const COUNTS: Self = Self {
        is_split: true,
        is_whole: false,
        is_shared: false,
        has_client_errors: false,
        edges: None,
        ingestion_delay: None,
    };
}

/// The time that a query is about, in periods of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Start of the first bucket.
    pub from: Timestamp,
    /// End of the last one.
    pub to: Timestamp,
    /// Length of a bucket.
    pub period: Duration,
}

/// Values by the start of their bucket; a bucket without data has none.
pub type Points = BTreeMap<Timestamp, f64>;

/// Why a series cannot be used: what is missing must not count as zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// The source said nothing about it.
    #[error("{0} did not answer for it")]
    NotAnswered(&'static str),
    /// The source has no series of this kind.
    #[error("{0} has no such series")]
    NoSuchSeries(&'static str),
    /// It is not all there: partial data, no permission.
    #[error("{source_name} says {status}")]
    Incomplete {
        /// Which source, for people.
        source_name: &'static str,
        /// Its own words.
        status: String,
    },
}

/// The answer to one query: points, or why there are none.
pub type SeriesResult = Result<Points, SeriesError>;
