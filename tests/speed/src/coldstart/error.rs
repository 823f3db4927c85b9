//! Why the benchmark did not come to its end.

pub use crate::Failure;

/// This machine has not what is needed: a skip, with its reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotPossible(pub String);

/// What was compared is not the same, so a figure would mean nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotComparable(pub String);
