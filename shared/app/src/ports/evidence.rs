//! Evidence about a version: probes, alarms, metrics.

use super::CallError;
use snapback_core::AlarmName;
use snapback_core::alarm::AlarmReading;
use snapback_core::metrics::MetricTarget;
use snapback_judge::series::{SeriesQuery, SeriesResult, SourceId, SourceProfile, Window};
use std::time::Duration;

/// What a probe saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// `statusCode` of a Lambda answer, or HTTP status.
    pub status: Option<u16>,
    /// The function's or server's own error, if it had one.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// What came of one direct call of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectAnswer {
    /// How it ended.
    pub outcome: DirectOutcome,
    /// From the sending of the call to its answer.
    pub took: Duration,
    /// What the platform reports of it; `None`: nothing that can be understood.
    pub report: Option<CallReport>,
}

/// What the platform reports of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallReport {
    /// How long the function ran.
    pub ran_for: Duration,
    /// Whether its environment was started for this call.
    pub is_cold: bool,
}

/// How a direct call of a version ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectOutcome {
    /// The function answered, with this `statusCode` if it has one.
    Answered(Option<u16>),
    /// The function's code failed, in its own words.
    FunctionError(String),
    /// The runtime died: exit, failed start, out of memory.
    RuntimeDied(String),
    /// The function's own time-out.
    FunctionTimedOut,
    /// No answer within the limit.
    TimedOut,
    /// Refused by a limit of concurrency or rate.
    Throttled,
    /// The call did not reach the version: not permitted, an error of the service or of the connection.
    NotServed(String),
}

/// Probes of a version before it gets traffic, and beside it.
pub trait Prober {
    /// Invokes a function and waits at most `limit` for the answer. `qualifier`: version number.
    async fn invoke(
        &self,
        function: &str,
        qualifier: Option<&str>,
        payload: &str,
        limit: Duration,
    ) -> Result<ProbeAnswer, CallError>;
    /// Calls a version by its number, once, and waits at most `limit` for the answer. What did not reach the version is no error
    /// of the caller: it is an answer that says nothing.
    async fn call_version(&self, function: &str, version: &str, payload: &str, limit: Duration) -> DirectAnswer;
    /// Concurrent executions that are reserved for a function; `None`: none are.
    async fn reserved_concurrency(&self, function: &str) -> Result<Option<u32>, CallError>;
    /// GET of a URL, at most `limit`.
    async fn get(&self, url: &str, limit: Duration) -> Result<ProbeAnswer, CallError>;
}

/// CloudWatch alarms.
pub trait Alarms {
    /// States of those of `names` that exist; metric, composite and log alarms.
    async fn read(&self, names: &[AlarmName]) -> Result<Vec<AlarmReading>, CallError>;
}

/// Series that are asked of one deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetQueries<'a> {
    /// What they are about.
    pub target: &'a MetricTarget,
    /// Which ones.
    pub queries: &'a [SeriesQuery],
}

/// Numbers of deployments, from all their sources.
pub trait Metrics {
    /// Whether Snapback has numbers of its own in the same store ([`SourceId::Pipeline`]).
    fn has_own_series(&self) -> bool;
    /// What a source of this deployment is like.
    fn profile(&self, target: &MetricTarget, source: SourceId) -> SourceProfile;
    /// The series in `window`, one list for each of `asked` with an answer for each of its queries, in order: as few calls as
    /// possible for as many deployments as there are. An answer that is not complete (partial data, forbidden) is an error of its
    /// own, never an empty series.
    async fn measure(&self, window: Window, asked: &[TargetQueries<'_>]) -> Result<Vec<Vec<SeriesResult>>, CallError>;
}
