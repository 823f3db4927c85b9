//! What wakes the hook watchdog: a hook whose function failed, and the end of a bake.

use super::EventError;
use super::envelope::bounded;
use super::hook::{HookEvent, parse_hook};
use crate::reader::{Reader, quote};
use serde_json::{Value, json};
use snapback_core::DeploymentId;

const KIND: &str = "failed hook invocation or end of a bake";
/// Member that tells the watchdog's own schedule from an AWS event.
const MARK: &str = "snapback";
const BAKE_END: &str = "bake-end";
const DEPLOYMENT_ID: &str = "deploymentId";

/// An asynchronous invocation of a hook function that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedInvocation {
    /// ARN of the function, with its qualifier.
    pub function_arn: String,
    /// Why it was given up: `RetriesExhausted`, `EventAgeExceeded`, …
    pub condition: String,
    /// The event that the function should have handled.
    pub hook: HookEvent,
    /// What the function said, when it said something; else the condition. At most 1,023 characters.
    pub error: String,
}

/// What wakes the watchdog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchdogEvent {
    /// A hook function failed.
    FailedInvocation(FailedInvocation),
    /// The bake of this deployment should be over.
    BakeEnd(DeploymentId),
}

/// Parses what wakes the watchdog: the on-failure destination document, or the schedule's own input.
///
/// # Errors
/// When it is neither, or a member is missing or cannot be what it should.
pub fn parse_watchdog_event(value: &Value) -> Result<WatchdogEvent, EventError> {
    let fault = |fault| EventError::from_fault(KIND, fault);
    let reader = Reader::of(value).map_err(fault)?;
    if reader.get(MARK).is_none() {
        return parse_failed_invocation(value).map(WatchdogEvent::FailedInvocation);
    }
    reader.parsed(MARK, |word| if word == BAKE_END { Ok(()) } else { Err(BAKE_END) }).map_err(fault)?;
    let id = reader.parsed(DEPLOYMENT_ID, DeploymentId::parse).map_err(fault)?;
    Ok(WatchdogEvent::BakeEnd(id))
}

/// Input of the one-time schedule at the end of a bake; [`parse_watchdog_event`] reads it.
#[must_use]
pub fn bake_end_input(id: &DeploymentId) -> String {
    json!({ MARK: BAKE_END, DEPLOYMENT_ID: id.as_str() }).to_string()
}

/// Parses the document that Lambda sends to an on-failure destination, when the failed event was a hook's.
///
/// # Errors
/// When a member is missing or the failed event was none of CodeDeploy's hooks.
pub fn parse_failed_invocation(value: &Value) -> Result<FailedInvocation, EventError> {
    let fault = |fault| EventError::from_fault(KIND, fault);
    let reader = Reader::of(value).map_err(fault)?;
    let context = reader.map("requestContext").map_err(fault)?;
    let condition = context.text("condition").map_err(fault)?;
    let payload =
        reader.get("requestPayload").ok_or_else(|| fault(reader.fault("requestPayload", "the event of a hook")))?;
    Ok(FailedInvocation {
        function_arn: bounded(context.text("functionArn").map_err(fault)?),
        condition: quote(condition),
        hook: parse_hook(payload)
            .map_err(|error| EventError { member: format!("`requestPayload`, {}", error.member), ..error })?,
        error: failure(&reader).unwrap_or(condition).chars().take(1_023).collect(),
    })
}

/// What the function said: its message, its error's type, or that it failed at all.
fn failure<'a>(reader: &Reader<'a>) -> Option<&'a str> {
    let response =
        |name: &str, member: &str| reader.get(name).and_then(|value| value.get(member)).and_then(Value::as_str);
    response("responsePayload", "errorMessage")
        .or_else(|| response("responsePayload", "errorType"))
        .or_else(|| response("responseContext", "functionError"))
}
