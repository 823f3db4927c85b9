//! A failed call, as the use cases see it: which one, on what, and of which kind.

/// Why a call to a service did not do what was asked. The kinds are what a use case may branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallErrorKind {
    /// The caller has no permission; repeating it is pointless until a person changes that.
    Denied,
    /// Throttled, timed out, 5xx, no connection: could not look, or not known whether it was done.
    Unreachable,
    /// What was asked for does not exist.
    NotFound,
    /// It was done before (a hook already answered, a deployment already over). Counts as done.
    AlreadyDone,
    /// Somebody else changed the record since it was read.
    Conflict,
    /// The service refused the input, or its answer could not be understood.
    Invalid,
}

/// A failed call: which one, on what, and why.
#[derive(Debug, thiserror::Error)]
#[error("{call} {on} failed ({kind:?}): {message}")]
pub struct CallError {
    /// What a use case may branch on.
    pub kind: CallErrorKind,
    /// The call as IAM names it, for example `codedeploy:StopDeployment`.
    pub call: &'static str,
    /// What it was about, for example a deployment id.
    pub on: String,
    /// The service's own error code and message, at most 500 characters.
    pub message: String,
}

impl CallError {
    /// A failed `call` about `on`.
    #[must_use]
    pub fn new(kind: CallErrorKind, call: &'static str, on: impl ToString, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { kind, call, on: on.to_string(), message: message.chars().take(500).collect() }
    }

    /// Whether this error is of `kind`.
    #[must_use]
    pub fn is(&self, kind: CallErrorKind) -> bool {
        self.kind == kind
    }
}
