//! AWS Lambda: functions, versions and aliases, and real binaries run as processes behind a Runtime API.
//!
//! A binary is started with Lambda's environment variables and nothing else, one process per execution environment,
//! kept warm per version, killed at its time-out. Asynchronous events are queued, retried and given up as Lambda does,
//! on the emulator's clock. `AWS/Lambda` metrics carry the time at which an invocation *started*.
//!
//! What differs from AWS: after a failed init the invocation fails at once (Lambda repeats init within the
//! invocation), memory is not limited, environments stay warm until the emulator ends, and one time-out ends all
//! invocations of a process that serves several at once.

mod api;
mod config;
mod control;
mod core;
mod environment;
mod events;
mod faults;
mod invoke;
mod log;
mod metrics;
mod names;
mod observe;
mod outside;
mod queue;
mod reaper;
mod runtime_api;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::broadcast;

pub use self::api::HttpAnswer;
pub use self::config::{AsyncConfig, ConfigurationChange, FunctionConfig};
use self::core::{Core, StopOnDrop};
pub use self::events::LambdaEvent;
pub use self::faults::Fault;
pub use self::invoke::InvocationResult;
pub use self::log::{LogLine, LogSource};
use self::names::FunctionRef;
pub use self::observe::{Moment, Observer, ProcessMoment};
pub use self::outside::NotRun;
pub use self::state::AliasChange;
use crate::access::Access;
use crate::clock::Clock;
use crate::parts::{AliasRouting, ApiError, LambdaControl, MetricSink};
use crate::queues::Queues;

/// How long [`Lambda::shutdown`] waits for processes that were killed.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// A handle on the emulator's Lambda; clones share everything. When the last handle goes, every process is killed.
#[derive(Clone)]
pub struct Lambda {
    core: Arc<Core>,
    _alive: Arc<StopOnDrop>,
}

impl Lambda {
    /// Lambda without functions. `endpoint` becomes `AWS_ENDPOINT_URL` of every function, `metrics` gets what Lambda
    /// publishes and what functions print.
    ///
    /// # Panics
    /// Outside a Tokio runtime, on which processes and events will run.
    #[must_use]
    pub fn new(clock: Clock, endpoint: String, metrics: Arc<dyn MetricSink>) -> Self {
        Self::seeded(clock, endpoint, metrics, 1)
    }

    /// As [`Lambda::new`], with another seed for the random split of weighted aliases.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn seeded(clock: Clock, endpoint: String, metrics: Arc<dyn MetricSink>, seed: u64) -> Self {
        let core = Arc::new(Core::new(clock, endpoint, metrics, seed));
        let alive = Arc::new(StopOnDrop::of(&core));
        Self { core, _alive: alive }
    }

    /// Folder in which `CreateFunction` over HTTP looks for the binaries that its code names.
    pub fn set_functions_folder(&self, folder: impl Into<PathBuf>) {
        self.core.set_functions_folder(folder.into());
    }

    /// Says which roles decide over on-failure destinations, and where queues are; without, destinations are functions, and
    /// everything is allowed.
    pub fn connect(&self, access: Access, queues: Queues) {
        self.core.connect(access, queues);
    }

    /// Tells `observer` of every process that is started from now on; only the first call counts.
    pub fn observe(&self, observer: Observer) {
        self.core.observe(observer);
    }

    /// Runs a function and waits for its end (`InvocationType: RequestResponse`). It runs to its end even when the caller
    /// gives up waiting.
    ///
    /// * `function`: name or ARN, with or without qualifier; `qualifier`: version, alias or `$LATEST` (also the default).
    /// * `payload`: JSON, at most 6 MB.
    /// * Result: also for an invocation that failed; see [`InvocationResult::function_error`].
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `TooManyRequestsException` (no concurrency left), `RequestTooLargeException`,
    /// `InvalidRequestContentException`, or `ServiceException` during shutdown and for a request that is lost.
    pub async fn invoke(
        &self,
        function: &str,
        qualifier: Option<&str>,
        payload: impl Into<Bytes>,
    ) -> Result<InvocationResult, ApiError> {
        Ok(self.send(function, qualifier, payload).await?)
    }

    /// As [`Lambda::invoke`], for who wants to know which version lost a request.
    ///
    /// # Errors
    /// As [`Lambda::invoke`], and [`NotRun::Lost`] where [`Lambda::lose_requests`] says so.
    pub async fn send(
        &self,
        function: &str,
        qualifier: Option<&str>,
        payload: impl Into<Bytes>,
    ) -> Result<InvocationResult, NotRun> {
        let target = FunctionRef::parse(function).or_qualifier(qualifier);
        self.core.invoke(target, payload.into()).await
    }

    /// What happens from now on. A receiver that falls far behind loses the oldest.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<LambdaEvent> {
        self.core.events.subscribe()
    }

    /// The newest lines that a function's processes printed, oldest first.
    #[must_use]
    pub fn log(&self, function: &str) -> Vec<LogLine> {
        self.core.log.of(function)
    }

    /// Kills every process and waits until they are gone. No further invocation is accepted.
    pub async fn shutdown(&self) {
        self.core.stop();
        let mut processes = self.core.processes.subscribe();
        let all_gone = processes.wait_for(|count| *count == 0);
        if tokio::time::timeout(SHUTDOWN_MAX, all_gone).await.is_err() {
            tracing::warn!(
                "some functions' processes are still there {} s after they were killed",
                SHUTDOWN_MAX.as_secs()
            );
        }
    }
}

impl LambdaControl for Lambda {
    fn alias(&self, function: &str, alias: &str) -> Option<AliasRouting> {
        let target = FunctionRef::parse(function);
        let state = self.core.state();
        let routing = state.get(&target.name).ok()?.aliases.get(alias)?.routing.clone();
        Some(routing)
    }

    fn route(&self, function: &str, alias: &str, routing: AliasRouting) -> Result<(), ApiError> {
        let change = AliasChange {
            version: Some(routing.version),
            additional: Some(routing.additional),
            ..AliasChange::default()
        };
        self.update_alias(function, alias, change)
    }

    fn has_version(&self, function: &str, version: &str) -> bool {
        let target = FunctionRef::parse(function);
        let state = self.core.state();
        let number = version.parse::<u64>();
        match (state.get(&target.name), number) {
            (Ok(function), Ok(number)) => function.published.contains_key(&number),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        }
    }

    fn invoke_async(&self, function: &str, payload: Value) -> Result<(), ApiError> {
        let target = FunctionRef::parse(function);
        self.core.accept_event(target, Bytes::from(payload.to_string())).map(|_request_id| ())
    }
}

impl std::fmt::Debug for Lambda {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lambda").field("endpoint", &self.core.endpoint).finish_non_exhaustive()
    }
}
