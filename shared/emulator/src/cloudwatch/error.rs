//! The errors of the CloudWatch API.

/// Why CloudWatch refused a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CloudWatchError {
    /// Code as callers see it, for example `ResourceNotFound` or `ValidationError`.
    pub code: String,
    /// Text for people: what was wrong and what would be right.
    pub message: String,
    /// HTTP status of the answer.
    pub http_status: u16,
}

impl CloudWatchError {
    fn new(code: &str, http_status: u16, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), http_status }
    }

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", 400, message)
    }

    pub(super) fn invalid_value(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", 400, message)
    }

    pub(super) fn combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombination", 400, message)
    }

    pub(super) fn missing(member: &str) -> Self {
        Self::new("MissingParameter", 400, format!("The parameter {member} is required."))
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFound", 404, message)
    }

    pub(super) fn next_token(token: &str) -> Self {
        Self::new("InvalidNextToken", 400, format!("NextToken `{token}` was not given out by this API"))
    }

    pub(super) fn format(message: impl Into<String>) -> Self {
        Self::new("InvalidFormat", 400, message)
    }

    pub(super) fn limit(message: impl Into<String>) -> Self {
        Self::new("LimitExceeded", 400, message)
    }

    pub(super) fn throttled() -> Self {
        Self::new("ThrottlingException", 400, "Rate exceeded")
    }

    pub(super) fn unknown_operation(operation: &str, known: &[&str]) -> Self {
        let known = known.join(", ");
        Self::new(
            "InvalidAction",
            400,
            format!("the emulator has no CloudWatch operation `{operation}`; it has {known}"),
        )
    }

    pub(super) fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", 400, message)
    }

    /// Name of the error's shape in the service model, which differs from the code for some: `__type` carries the shape,
    /// header `x-amzn-query-error` the code.
    pub(super) fn shape(&self) -> &str {
        match self.code.as_str() {
            "InvalidParameterValue" => "InvalidParameterValueException",
            "InvalidParameterCombination" => "InvalidParameterCombinationException",
            "MissingParameter" => "MissingRequiredParameterException",
            "InvalidFormat" => "InvalidFormatFault",
            "LimitExceeded" => "LimitExceededFault",
            same => same,
        }
    }
}
