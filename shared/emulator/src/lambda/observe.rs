//! For measurements: who wants to know what a function's process does, at the moment when it does it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

/// Something that happened to the process of an execution environment.
#[derive(Debug, Clone)]
pub struct ProcessMoment<'a> {
    /// Name of the function.
    pub function: &'a str,
    /// Id of the process.
    pub pid: u32,
    /// When it happened.
    pub at: Instant,
    /// What happened.
    pub what: Moment<'a>,
}

/// See [`ProcessMoment`].
#[derive(Debug, Clone)]
pub enum Moment<'a> {
    /// The process was started; the time is the one just before.
    Started,
    /// It asks for an event. The first time, its init is over.
    Polled,
    /// It gets an event.
    HandedOut {
        /// Lambda's request id.
        request_id: &'a str,
        /// The event.
        payload: &'a Bytes,
    },
    /// It posted an answer, or an error.
    Answered {
        /// Lambda's request id.
        request_id: &'a str,
        /// What it calls its error, or `None`.
        error_type: Option<&'a str>,
    },
    /// The process is gone.
    Ended,
}

/// A callback for each moment. It runs while the process waits for the Runtime API, so it must be quick; and under the lock of
/// Lambda's state, so it must not call Lambda.
pub type Observer = Arc<dyn Fn(&ProcessMoment<'_>) + Send + Sync>;
