//! What happened in Lambda, for timelines and for tests that wait for a named event.

use std::time::Instant;

/// One thing that happened. Sent after its metrics are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LambdaEvent {
    /// An environment was handed an invocation.
    InvocationStarted {
        /// Function name.
        function: String,
        /// The same for all attempts of one asynchronous event.
        request_id: String,
        /// When an environment was looked for: between this and `began` lies a cold start, if there was one.
        asked: Instant,
        /// When the environment was ready.
        began: Instant,
    },
    /// An attempt to run a function ended, well or not.
    InvocationEnded {
        /// Function name.
        function: String,
        /// `$LATEST` or number.
        version: String,
        /// The same for all attempts of one asynchronous event.
        request_id: String,
        /// Whether it came from the queue.
        asynchronous: bool,
        /// How it failed, or `None`: `Sandbox.Timedout`, `Runtime.ExitError`, or what the function posted.
        error_type: Option<String>,
    },
    /// No concurrency was left for this attempt.
    Throttled {
        /// Function name.
        function: String,
        /// Whether it came from the queue, where it stays.
        asynchronous: bool,
    },
    /// An asynchronous event was given up.
    EventDropped {
        /// Function name.
        function: String,
        /// Its request id.
        request_id: String,
        /// `RetriesExhausted` or `EventAgeExceeded`.
        condition: &'static str,
    },
    /// What was given up went to the on-failure destination, or could not.
    DestinationCalled {
        /// Function that gave the event up.
        function: String,
        /// ARN of the destination.
        destination: String,
        /// Whether the destination accepted it.
        delivered: bool,
    },
}
