//! Events that AWS sends to the functions. An event that says something new about nothing we act on is `Ignored`; one that
//! cannot be understood is an error, never a default.

mod alarm;
mod codedeploy;
mod envelope;
mod hook;
mod watchdog;

pub use alarm::{AlarmEvent, AlarmKind, AlarmMessage, MAX_DATAPOINTS, alarm_scope, breaching, parse_alarm};
pub use codedeploy::{DeploymentEvent, DeploymentMessage, DeploymentState, parse_deployment_event};
pub use hook::{HookEvent, parse_hook};
pub use watchdog::{FailedInvocation, WatchdogEvent, bake_end_input, parse_failed_invocation, parse_watchdog_event};

use crate::reader::{Fault, Reader, quote};
use serde_json::Value;

/// Bytes that an event may have: what Lambda accepts for an asynchronous invocation.
pub const MAX_EVENT: usize = 1024 * 1024;

/// An event that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {expected_event}: {member} is {found}, expected {expected}; check what invokes this function")]
pub struct EventError {
    /// The kind of event that was expected.
    pub expected_event: &'static str,
    /// Path of the member that is wrong, or `the event`.
    pub member: String,
    /// What was found.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

impl EventError {
    fn new(kind: &'static str, member: &str, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            expected_event: kind,
            member: if member.is_empty() { "the event".to_owned() } else { format!("`{member}`") },
            found: found.into(),
            expected: expected.into(),
        }
    }

    fn from_fault(kind: &'static str, fault: Fault) -> Self {
        Self::new(kind, &fault.path, fault.found, fault.expected)
    }

    /// Checks that the document is an object: typed parsers take a list of values for one as well.
    fn object(kind: &'static str, value: &Value) -> Result<(), Self> {
        Reader::of(value).map(drop).map_err(|fault| Self::from_fault(kind, fault))
    }

    /// What is wrong with a document that a typed parser refused: the first of `strings` that is no string, else what the
    /// parser said.
    fn diagnose(kind: &'static str, value: &Value, strings: &[&str], error: &serde_json::Error) -> Self {
        let fault =
            Reader::of(value).and_then(|reader| strings.iter().try_for_each(|name| reader.text(name).map(drop)));
        match fault {
            Err(fault) => Self::from_fault(kind, fault),
            Ok(()) => {
                Self::new(kind, "", format!("refused ({})", quote(&error.to_string())), "an event as AWS documents it")
            }
        }
    }
}

/// The JSON of an event.
///
/// # Errors
/// When it is longer than [`MAX_EVENT`] or not JSON.
pub fn event_from_slice(bytes: &[u8]) -> Result<Value, EventError> {
    const KIND: &str = "JSON event";
    if bytes.len() > MAX_EVENT {
        let found = format!("{} bytes long", bytes.len());
        return Err(EventError::new(KIND, "", found, format!("at most {MAX_EVENT} bytes")));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| EventError::new(KIND, "", format!("not JSON ({error})"), "a JSON document"))
}
