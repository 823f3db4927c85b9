//! The policies of deployment groups.

use super::CallError;
use snapback_core::{GroupRef, Policy};

/// Policies.
pub trait Policies {
    /// The policy of a group; `None`: it has none. [`CallErrorKind::Invalid`](super::CallErrorKind::Invalid) with a readable reason when the document is
    /// wrong.
    async fn policy(&self, group: &GroupRef) -> Result<Option<Policy>, CallError>;
    /// All groups that have a policy.
    async fn groups_with_policy(&self) -> Result<Vec<GroupRef>, CallError>;
}
