//! What a function's `main.rs` needs of the Lambda runtime.

use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use serde_json::Value;
use snapback_app::before_hook::HookRun;
use snapback_core::Timestamp;
use snapback_http::chain;
use snapback_wire::event::parse_hook;
use std::error::Error;

/// When Lambda ends this run.
#[must_use]
pub fn deadline(context: &Context) -> Timestamp {
    Timestamp::from_ms(i64::try_from(context.deadline).unwrap_or(i64::MAX))
}

/// Who holds leases and claims in this run: Lambda's request id. All attempts at one asynchronous event have the same.
#[must_use]
pub fn owner(context: &Context) -> &str {
    &context.request_id
}

/// The run of a hook function that `event` starts.
///
/// # Errors
/// When the event names no deployment or no execution id. Nobody could be answered then: the function fails, and its
/// on-failure destination says so.
pub fn hook_run(event: &LambdaEvent<Value>) -> Result<HookRun, Diagnostic> {
    let hook = parse_hook(&event.payload).map_err(|error| failed("InvalidEvent", &error))?;
    Ok(HookRun {
        deployment: hook.deployment,
        execution: hook.execution,
        owner: owner(&event.context).to_owned(),
        function_ends_at: deadline(&event.context),
    })
}

/// A use case's error as the runtime reports it, and one log line with the whole chain of causes.
///
/// `error_type` is a stable word that alarms can count, for example `TableUnreachable`.
#[must_use]
pub fn failed(error_type: &'static str, error: &dyn Error) -> Diagnostic {
    let message = chain(error);
    tracing::error!(error_type, "{message}");
    Diagnostic { error_type: error_type.to_owned(), error_message: message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not read the record of d-A1B2C3D4E")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("throttled")]
    struct Inner;

    #[test]
    fn a_failure_keeps_its_word_and_its_whole_chain() {
        let diagnostic = failed("TableUnreachable", &Outer(Inner));
        assert_eq!(diagnostic.error_type, "TableUnreachable");
        assert_eq!(diagnostic.error_message, "could not read the record of d-A1B2C3D4E: throttled");
    }

    #[test]
    fn context_becomes_deadline_and_owner() {
        let mut context = Context::default();
        context.deadline = 1_795_169_726_900;
        context.request_id = "req-1".to_owned();
        assert_eq!(deadline(&context).to_string(), "2026-11-20T10:15:26.900Z");
        assert_eq!(owner(&context), "req-1");
        context.deadline = u64::MAX;
        assert_eq!(deadline(&context), Timestamp::from_ms(i64::MAX));
    }
}
