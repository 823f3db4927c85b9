//! Why a use case did not finish.

use crate::ports::{CallError, CallErrorKind};
use snapback_core::DeploymentId;

/// Why a use case did not finish. What it had decided is on record, and the sweep goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A call to a service failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What was to be changed changed under every try.
    #[error("{what} changed under {tries} tries in a row")]
    Contended {
        /// What, for example `the record of d-ABCDEF123`.
        what: String,
        /// Tries.
        tries: u32,
    },
    /// Nothing is on record.
    #[error("deployment {id} is not on record: Snapback has not seen it, or its record has expired")]
    Unknown {
        /// Deployment.
        id: DeploymentId,
    },
    /// What a person asked for cannot be done now.
    #[error("cannot {verb} deployment {id}: {why}")]
    NotNow {
        /// What was asked.
        verb: &'static str,
        /// Deployment.
        id: DeploymentId,
        /// Why not.
        why: String,
    },
    /// A platform that is not built yet.
    #[error(
        "deployment {id} runs on {platform}, which Snapback does not support yet: remove its hooks from the AppSpec"
    )]
    Unsupported {
        /// Deployment.
        id: DeploymentId,
        /// CodeDeploy's word.
        platform: String,
    },
    /// CodeDeploy did not get its answer from this run; the watchdog or the sweep gives it.
    #[error("the answer `{status}` for deployment {id} did not reach CodeDeploy")]
    NotAnswered {
        /// Deployment.
        id: DeploymentId,
        /// The answer.
        status: &'static str,
        /// Why.
        #[source]
        cause: CallError,
    },
}

/// What happens next after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Nothing is lost: the same event again, or the next sweep, finishes it.
    Retry,
    /// A person has to do something; the message says what.
    Operator,
}

impl AppError {
    /// What happens next.
    #[must_use]
    pub fn next_step(&self) -> NextStep {
        match self {
            Self::Call(error) => match error.kind {
                CallErrorKind::Unreachable | CallErrorKind::Conflict | CallErrorKind::AlreadyDone => NextStep::Retry,
                CallErrorKind::Denied | CallErrorKind::NotFound | CallErrorKind::Invalid => NextStep::Operator,
            },
            Self::Contended { .. } | Self::NotAnswered { .. } => NextStep::Retry,
            Self::Unknown { .. } | Self::NotNow { .. } | Self::Unsupported { .. } => NextStep::Operator,
        }
    }

    /// A stable word that alarms can count.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Call(error) => match error.kind {
                CallErrorKind::Denied => "Denied",
                CallErrorKind::Unreachable => "Unreachable",
                CallErrorKind::NotFound => "NotFound",
                CallErrorKind::AlreadyDone => "AlreadyDone",
                CallErrorKind::Conflict => "Conflict",
                CallErrorKind::Invalid => "Invalid",
            },
            Self::Contended { .. } => "Contended",
            Self::Unknown { .. } => "UnknownDeployment",
            Self::NotNow { .. } => "NotNow",
            Self::Unsupported { .. } => "UnsupportedPlatform",
            Self::NotAnswered { .. } => "NotAnswered",
        }
    }
}
