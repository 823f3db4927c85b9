//! One translation from what the SDK reports to what a use case may branch on.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snapback_app::ports::{CallError, CallErrorKind};
use snapback_http::chain;
use std::error::Error;

/// Words in error codes that mean: no permission. Signature and token errors are among them, because repeating the call
/// with the same credentials is as pointless.
const DENIED: &[&str] = &[
    "AccessDenied",
    "UnauthorizedOperation",
    "NotAuthorized",
    "AuthorizationError",
    "UnrecognizedClient",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "ExpiredToken",
    "SignatureDoesNotMatch",
];

/// Words in error codes that mean: ask again later, or nobody knows whether it was done.
const UNREACHABLE: &[&str] = &[
    "Throttl",
    "TooManyRequests",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "TransactionInProgress",
    "ServiceUnavailable",
    "InternalServerError",
    "InternalServerException",
    "InternalFailure",
    "RequestTimeout",
    "SlowDown",
];

/// Words in error codes that mean: it is not there.
const NOT_FOUND: &[&str] = &["NotFound", "DoesNotExist"];

/// Error codes that mean: it was done before.
const ALREADY_DONE: &[&str] = &["LifecycleEventAlreadyCompletedException", "DeploymentAlreadyCompletedException"];

/// Words in error codes that mean: somebody else was faster. The reasons of a cancelled transaction are among them.
const CONFLICT: &[&str] = &["ConditionalCheckFailed", "TransactionConflict", "ReplicatedWriteConflict"];

/// Kind of an answer with error code `code` (its part after `#` and before `:`, if it has these) and HTTP `status`.
///
/// The code decides; the status only where the code says nothing: 401 and 403 are denied, 408, 429 and 5xx unreachable.
#[must_use]
pub fn kind_of(code: Option<&str>, status: Option<u16>) -> CallErrorKind {
    let code = code.unwrap_or_default();
    let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if ALREADY_DONE.contains(&code) {
        CallErrorKind::AlreadyDone
    } else if has(CONFLICT) {
        CallErrorKind::Conflict
    } else if has(UNREACHABLE) {
        CallErrorKind::Unreachable
    } else if has(DENIED) {
        CallErrorKind::Denied
    } else if has(NOT_FOUND) {
        CallErrorKind::NotFound
    } else {
        match status {
            Some(401 | 403) => CallErrorKind::Denied,
            Some(408 | 429 | 500..) => CallErrorKind::Unreachable,
            Some(_) | None => CallErrorKind::Invalid,
        }
    }
}

/// The error of `call` (as IAM names it) about `on`.
///
/// An answer that broke off or cannot be parsed is [`CallErrorKind::Unreachable`], because the call may have been carried
/// out.
pub fn call_error<E>(call: &'static str, on: impl ToString, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (kind, message) = match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let (code, message) = (service.err().code(), service.err().message());
            (kind_of(code, Some(status)), describe(code, message, status))
        }
        SdkError::ConstructionFailure(_) => (CallErrorKind::Invalid, chain(error)),
        // The enum is open: what it may get is no more certain than these.
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | _ => {
            (CallErrorKind::Unreachable, chain(error))
        }
    };
    CallError::new(kind, call, on, message)
}

/// An answer that has no meaning for Snapback: `what` names the member and what is wrong with it.
pub fn not_understood(call: &'static str, on: impl ToString, what: impl std::fmt::Display) -> CallError {
    CallError::new(CallErrorKind::Invalid, call, on, format!("the answer was not understood: {what}"))
}

/// A call that was not made because `name` is not set.
#[must_use]
pub fn not_set(call: &'static str, name: &str) -> CallError {
    CallError::new(
        CallErrorKind::Invalid,
        call,
        name,
        format!("environment variable {name} is not set; the installation's template sets it"),
    )
}

/// An answer, or `None` where what was asked for does not exist.
///
/// # Errors
/// All but [`CallErrorKind::NotFound`].
pub fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is(CallErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(code: Option<&str>, message: Option<&str>, status: u16) -> String {
    match (code, message) {
        // Its message repeats the signed request, session token included.
        (Some(code), _) if code.contains("SignatureDoesNotMatch") => code.to_owned(),
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => format!("HTTP status {status} without an error code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_error_codes() {
        use CallErrorKind::{AlreadyDone, Conflict, Denied, Invalid, NotFound, Unreachable};
        let table = [
            (Some("AccessDeniedException"), Some(400), Denied),
            (Some("AccessDenied"), Some(403), Denied),
            (Some("AuthorizationError"), Some(403), Denied),
            (Some("UnauthorizedOperation"), None, Denied),
            (Some("ExpiredTokenException"), Some(403), Denied),
            (Some("KMSAccessDeniedException"), Some(502), Denied),
            (None, Some(403), Denied),
            (Some("ThrottlingException"), Some(400), Unreachable),
            (Some("Throttling"), Some(400), Unreachable),
            (Some("TooManyRequestsException"), Some(429), Unreachable),
            (Some("ProvisionedThroughputExceededException"), Some(400), Unreachable),
            (Some("RequestLimitExceeded"), Some(400), Unreachable),
            (Some("TransactionInProgressException"), Some(400), Unreachable),
            (Some("InternalServerError"), Some(500), Unreachable),
            (Some("EC2UnexpectedException"), Some(502), Unreachable),
            (None, Some(503), Unreachable),
            (Some("ResourceNotFoundException"), Some(404), NotFound),
            (Some("ParameterNotFound"), Some(400), NotFound),
            (Some("DeploymentDoesNotExistException"), Some(400), NotFound),
            (Some("LifecycleEventAlreadyCompletedException"), Some(400), AlreadyDone),
            (Some("DeploymentAlreadyCompletedException"), Some(400), AlreadyDone),
            (Some("ConditionalCheckFailedException"), Some(400), Conflict),
            (Some("ConditionalCheckFailed"), None, Conflict),
            (Some("TransactionConflictException"), Some(400), Conflict),
            (Some("TransactionConflict"), None, Conflict),
            (Some("TransactionCanceledException"), Some(400), Invalid),
            (Some("ValidationException"), Some(400), Invalid),
            (Some("InvalidDeploymentIdException"), Some(400), Invalid),
            (Some("ASWordOfTomorrow"), Some(400), Invalid),
            (None, Some(404), Invalid),
            (None, None, Invalid),
        ];
        for (code, status, expected) in table {
            assert_eq!(kind_of(code, status), expected, "{code:?} {status:?}");
        }
    }

    #[test]
    fn messages_carry_code_and_text_but_never_a_signed_request() {
        let table = [
            (Some("A"), Some("b"), "A: b"),
            (Some("A"), None, "A"),
            (None, Some("b"), "b"),
            (None, None, "HTTP status 418 without an error code"),
            (Some("SignatureDoesNotMatch"), Some("x-amz-security-token:secret"), "SignatureDoesNotMatch"),
        ];
        for (code, message, expected) in table {
            assert_eq!(describe(code, message, 418), expected);
        }
    }
}
