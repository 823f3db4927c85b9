//! One attempt to run a function.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use super::core::Core;
use super::environment::{Answer, Ending, Environment, Failure};
use super::events::LambdaEvent;
use super::faults::Fault;
use super::metrics::Invoked;
use super::names::{FunctionRef, timestamp, uuid};
use super::outside::NotRun;
use crate::parts::ApiError;

/// Concurrent invocations of a function without reserved concurrency: the default quota of an account.
const ACCOUNT_CONCURRENCY: u32 = 1_000;
/// Largest payload of a synchronous invocation.
const PAYLOAD_MAX: usize = 6 * 1024 * 1024;

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvocationResult {
    /// Its request id.
    pub request_id: String,
    /// Version that ran: `$LATEST` or a number.
    pub executed_version: String,
    /// `Unhandled` when the function failed, `None` when it answered.
    pub function_error: Option<String>,
    /// The kind of failure, as in [`LambdaEvent::InvocationEnded`].
    pub error_type: Option<String>,
    /// What the function answered, or the document that describes its error.
    pub payload: Bytes,
    /// When it started running, milliseconds since 1970 (after a cold start).
    pub started_ms: i64,
    /// How long it ran, without cold start.
    pub duration: Duration,
    /// How long it waited for its environment to start; `None`: that was there.
    pub init: Option<Duration>,
    /// Memory of its version, MB.
    pub memory_mb: u32,
}

/// When an invocation started, how long it took, how it ended.
type Ran = (i64, Duration, Ending);

/// Room for one invocation, given back on drop.
struct Lease {
    core: Arc<Core>,
    function: String,
    version: String,
    timeout: Duration,
    memory_mb: u32,
    freezes: bool,
    /// When it was taken.
    asked: Instant,
    /// `None` when the invocation is to fail without running.
    environment: Option<Arc<Environment>>,
}

impl Core {
    /// See [`super::Lambda::send`].
    pub(super) async fn invoke(
        self: &Arc<Self>,
        target: FunctionRef,
        payload: Bytes,
    ) -> Result<InvocationResult, NotRun> {
        let payload = check_payload(payload, PAYLOAD_MAX)?;
        let core = Arc::clone(self);
        let attempt = async move { core.attempt(&target, &uuid(), payload, false).await };
        let outcome = self.runtime.spawn(attempt).await;
        outcome.unwrap_or_else(|_| Err(ApiError::new("ServiceException", "the emulator is shutting down").into()))
    }

    /// Runs a function once; with an error it did not run.
    pub(super) async fn attempt(
        self: &Arc<Self>,
        target: &FunctionRef,
        request_id: &str,
        payload: Bytes,
        asynchronous: bool,
    ) -> Result<InvocationResult, NotRun> {
        let lease = self.admit(target, asynchronous)?;
        let payload = self.told(&target.name, payload);
        let qualifier = target.qualifier.as_deref();
        let (init, (started_ms, duration, ending)) = lease.run(request_id, qualifier, payload).await;
        let (error_type, payload) = describe(ending, request_id, lease.timeout, self.clock.now_ms());
        let invoked = Invoked { function: &lease.function, qualifier, version: &lease.version };
        self.metrics.invocation(&invoked, started_ms, duration, error_type.is_some());
        let result = InvocationResult {
            request_id: request_id.to_owned(),
            executed_version: lease.version.clone(),
            function_error: error_type.is_some().then(|| "Unhandled".to_owned()),
            error_type: error_type.clone(),
            payload,
            started_ms,
            duration,
            init,
            memory_mb: lease.memory_mb,
        };
        let (function, version) = (lease.function.clone(), lease.version.clone());
        drop(lease);
        let request_id = request_id.to_owned();
        self.tell(LambdaEvent::InvocationEnded { function, version, request_id, asynchronous, error_type });
        Ok(result)
    }

    /// Routes the request, takes concurrency and an environment for it.
    fn admit(self: &Arc<Self>, target: &FunctionRef, asynchronous: bool) -> Result<Lease, NotRun> {
        if self.is_stopping() {
            return Err(ApiError::new("ServiceException", "the emulator is shutting down").into());
        }
        let asked = Instant::now();
        let mut state = self.state();
        let function = state.get_mut(&target.name)?;
        let draw = || self.split.lock().unwrap_or_else(PoisonError::into_inner).f64();
        let version = function.resolve(target.qualifier.as_deref(), draw)?.clone();
        let is_by_alias = target.qualifier.as_ref().is_some_and(|qualifier| function.aliases.contains_key(qualifier));
        if is_by_alias && !asynchronous && function.outside.loses(&version.version) {
            return Err(NotRun::Lost { version: version.version });
        }
        if function.in_flight >= function.reserved_concurrency.unwrap_or(ACCOUNT_CONCURRENCY) {
            drop(state);
            let qualifier = target.qualifier.as_deref();
            let invoked = Invoked { function: &target.name, qualifier, version: &version.version };
            self.metrics.throttle(&invoked, self.clock.now_ms());
            self.tell(LambdaEvent::Throttled { function: target.name.clone(), asynchronous });
            return Err(ApiError::new("TooManyRequestsException", "Rate Exceeded.").into());
        }
        function.in_flight += 1;
        let fails = function.faults.contains(&Fault::FailAll);
        let environment = (!fails).then(|| self.environment_for(function, &version));
        Ok(Lease {
            core: Arc::clone(self),
            function: target.name.clone(),
            version: version.version,
            timeout: version.timeout,
            memory_mb: version.memory_mb,
            freezes: function.faults.contains(&Fault::Freeze),
            asked,
            environment,
        })
    }
}

impl Lease {
    /// Runs the invocation: how long its environment took to start, when it started itself, how long it took, how it ended.
    async fn run(&self, request_id: &str, qualifier: Option<&str>, payload: Bytes) -> (Option<Duration>, Ran) {
        let clock = self.core.clock;
        let Some(environment) = &self.environment else {
            let failure = Failure::new("Runtime.ExitError", "Runtime exited with error: exit status 1");
            return (None, (clock.now_ms(), Duration::ZERO, Ending::Exited(failure)));
        };
        let is_cold = !environment.is_ready();
        let settled = environment.settled().await;
        let init = is_cold.then(|| self.asked.elapsed());
        if let Err(failure) = settled {
            return (init, (clock.now_ms(), Duration::ZERO, Ending::Exited(failure)));
        }
        if self.freezes {
            environment.freeze().await;
        }
        let (function, request_id_told) = (self.function.clone(), request_id.to_owned());
        let (asked, began) = (self.asked, Instant::now());
        self.core.tell(LambdaEvent::InvocationStarted { function, request_id: request_id_told, asked, began });
        let started_ms = clock.now_ms();
        let before = tokio::time::Instant::now();
        let ending = environment.run(request_id, qualifier, payload, started_ms).await;
        if matches!(ending, Ending::TimedOut) {
            let limit = self.timeout.as_secs_f64();
            self.core.note(environment, format!("{request_id} Task timed out after {limit:.2} seconds"));
        }
        (init, (started_ms, before.elapsed(), ending))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.core.state();
        let Ok(function) = state.get_mut(&self.function) else {
            return;
        };
        function.in_flight = function.in_flight.saturating_sub(1);
        let Some(environment) = &self.environment else {
            return;
        };
        let mut pool = function.environments.iter_mut();
        if let Some(pooled) = pool.find(|pooled| Arc::ptr_eq(&pooled.environment, environment)) {
            pooled.active = pooled.active.saturating_sub(1);
            if pooled.is_retired && pooled.active == 0 {
                pooled.environment.kill();
            }
        }
    }
}

/// The payload, `{}` when empty, unless it is too large or no JSON.
pub(super) fn check_payload(payload: Bytes, bytes_max: usize) -> Result<Bytes, ApiError> {
    if payload.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    if payload.len() > bytes_max {
        let message = format!("{} byte payload is too large, at most {bytes_max} are allowed", payload.len());
        return Err(ApiError::new("RequestTooLargeException", message));
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        Ok(_) => Ok(payload),
        Err(error) => {
            let message = format!("Could not parse request body into json: {error}");
            Err(ApiError::new("InvalidRequestContentException", message))
        }
    }
}

/// Error type, if any, and the payload that Lambda answers.
fn describe(ending: Ending, request_id: &str, timeout: Duration, now_ms: i64) -> (Option<String>, Bytes) {
    match ending {
        Ending::Answered(Answer::Response(body)) => (None, body),
        Ending::Answered(Answer::Error { error_type, body }) => (Some(error_type), body),
        Ending::TimedOut => {
            let (at, limit) = (timestamp(now_ms, "Z"), timeout.as_secs_f64());
            let message = format!("{at} {request_id} Task timed out after {limit:.2} seconds");
            (Some("Sandbox.Timedout".to_owned()), Bytes::from(json!({ "errorMessage": message }).to_string()))
        }
        Ending::Exited(Failure { error_type, message, posted }) => {
            let document = json!({
                "errorType": error_type,
                "errorMessage": format!("RequestId: {request_id} Error: {message}"),
            });
            (Some(error_type), posted.unwrap_or_else(|| Bytes::from(document.to_string())))
        }
    }
}
