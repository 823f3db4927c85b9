//! Asynchronous events: accepted at once, run, retried, given up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::core::Core;
use super::events::LambdaEvent;
use super::faults::Fault;
use super::invoke::{InvocationResult, check_payload};
use super::names::{FunctionRef, LATEST, qualified_arn, timestamp, uuid};
use super::outside::NotRun;
use crate::access::not_authorized;
use crate::iam::{Ask, SOURCE_ARN};
use crate::parts::ApiError;

/// Largest payload of an asynchronous invocation.
const PAYLOAD_MAX: usize = 1024 * 1024;
/// Wait before the first attempt after a function error; the second waits twice as long. AWS time.
const RETRY_WAIT: Duration = Duration::from_secs(60);
/// Shortest and longest wait after a throttle. AWS time.
const THROTTLE_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// An event in the queue.
struct Event {
    target: FunctionRef,
    request_id: String,
    payload: Bytes,
    accepted: Instant,
    /// Attempts that ran.
    attempts: u32,
    last: Option<InvocationResult>,
}

/// What happens to an event after an attempt.
enum Next {
    Done,
    /// Wait this long (AWS time), then try again.
    Wait(Duration),
    GiveUp(&'static str),
}

impl Core {
    /// Puts an event into the queue; answers its request id.
    pub(super) fn accept_event(self: &Arc<Self>, target: FunctionRef, payload: Bytes) -> Result<String, ApiError> {
        let payload = check_payload(payload, PAYLOAD_MAX)?;
        let is_lost = {
            let state = self.state();
            let function = state.get(&target.name)?;
            function.resolve(target.qualifier.as_deref(), || 0.0)?;
            function.faults.contains(&Fault::Ignore)
        };
        self.metrics.count(&target.name, "AsyncEventsReceived", self.clock.now_ms());
        let request_id = uuid();
        if !is_lost {
            let (accepted, last) = (Instant::now(), None);
            let event = Event { target, request_id: request_id.clone(), payload, accepted, attempts: 0, last };
            self.runtime.spawn(follow(Arc::clone(self), event));
        }
        Ok(request_id)
    }

    /// Sends what was given up to the function's on-failure destination, if it has one.
    fn give_up(self: &Arc<Self>, event: &Event, condition: &'static str) {
        let function = event.target.name.clone();
        let now_ms = self.clock.now_ms();
        self.metrics.count(&function, "AsyncEventsDropped", now_ms);
        let request_id = event.request_id.clone();
        self.tell(LambdaEvent::EventDropped { function: function.clone(), request_id, condition });
        let (destination, is_denied) = match self.state().get(&function) {
            Ok(known) => (known.async_config.on_failure.clone(), known.faults.contains(&Fault::DenyDestination)),
            Err(_) => (None, false),
        };
        let Some(destination) = destination else {
            return;
        };
        let delivered = !is_denied && self.deliver(&function, &destination, event.document(condition, now_ms)).is_ok();
        if !delivered {
            self.metrics.count(&function, "DestinationDeliveryFailures", now_ms);
        }
        self.tell(LambdaEvent::DestinationCalled { function, destination, delivered });
    }
}

impl Core {
    /// Delivers to an on-failure destination, as the role of `function` allows.
    fn deliver(self: &Arc<Self>, function: &str, destination: &str, document: Value) -> Result<(), ApiError> {
        let is_queue = destination.starts_with("arn:aws:sqs:");
        if let Some((access, _)) = self.around() {
            let principal = self.state().get(function)?.access_key.clone();
            let action = if is_queue { "sqs:SendMessage" } else { "lambda:InvokeFunction" };
            let ask = Ask::new(principal, action, destination).with(SOURCE_ARN, qualified_arn(function, None));
            let allowed = access.iam().admit(ask);
            allowed.map_err(|ask| ApiError::new("AccessDeniedException", not_authorized(&ask)))?;
        }
        match self.around() {
            Some((_, queues)) if is_queue => queues.send(destination, document),
            Some(_) | None => {
                self.accept_event(FunctionRef::parse(destination), Bytes::from(document.to_string())).map(drop)
            }
        }
    }
}

impl Event {
    /// The invocation record that a destination gets.
    fn document(&self, condition: &str, now_ms: i64) -> Value {
        let qualifier = self.target.qualifier.as_deref().unwrap_or(LATEST);
        let mut document = json!({
            "version": "1.0",
            "timestamp": timestamp(now_ms, "Z"),
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": qualified_arn(&self.target.name, Some(qualifier)),
                "condition": condition,
                "approximateInvokeCount": self.attempts,
            },
            "requestPayload": parse(&self.payload),
        });
        if let (Some(last), Some(members)) = (&self.last, document.as_object_mut()) {
            let context = json!({
                "statusCode": 200,
                "executedVersion": last.executed_version,
                "functionError": last.function_error,
            });
            members.insert("responseContext".to_owned(), context);
            members.insert("responsePayload".to_owned(), parse(&last.payload));
        }
        document
    }
}

/// Follows one event until it ran well or is given up.
async fn follow(core: Arc<Core>, mut event: Event) {
    let mut throttle_wait = THROTTLE_WAIT.0;
    loop {
        let (max_retries, max_age, is_off) = match core.state().get(&event.target.name) {
            Ok(function) => {
                let config = &function.async_config;
                let max_age = core.clock.scaled(config.max_event_age);
                (config.max_retries, max_age, function.reserved_concurrency == Some(0))
            }
            Err(_) => return,
        };
        if event.accepted.elapsed() >= max_age {
            return core.give_up(&event, "EventAgeExceeded");
        }
        if is_off {
            // No concurrency reserved at all is how people switch a function off: nothing is tried.
            return core.give_up(&event, "RetriesExhausted");
        }
        let payload = event.payload.clone();
        let next = match core.attempt(&event.target, &event.request_id, payload, true).await {
            Ok(result) => {
                event.attempts += 1;
                let next = after(&result, event.attempts, max_retries);
                event.last = Some(result);
                next
            }
            Err(NotRun::Refused(error)) if error.code == "TooManyRequestsException" => {
                let wait = throttle_wait;
                throttle_wait = (throttle_wait * 2).min(THROTTLE_WAIT.1);
                Next::Wait(wait)
            }
            // The function or its alias was deleted, or the emulator is shutting down.
            Err(error) => {
                tracing::debug!(%error, function = event.target.name, "an asynchronous event is forgotten");
                return;
            }
        };
        let wait = match next {
            Next::Done => return,
            Next::GiveUp(condition) => return core.give_up(&event, condition),
            Next::Wait(wait) => core.clock.scaled(wait).min(max_age.saturating_sub(event.accepted.elapsed())),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = core.stopped() => return,
        }
    }
}

/// What Lambda does after an attempt that ran; `attempts` counts it.
fn after(result: &InvocationResult, attempts: u32, max_retries: u32) -> Next {
    match (&result.function_error, attempts > max_retries) {
        (None, _) => Next::Done,
        (Some(_), true) => Next::GiveUp("RetriesExhausted"),
        (Some(_), false) => Next::Wait(RETRY_WAIT * attempts),
    }
}

/// JSON as it is, anything else as text.
fn parse(payload: &Bytes) -> Value {
    serde_json::from_slice(payload).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(payload).into_owned()))
}
