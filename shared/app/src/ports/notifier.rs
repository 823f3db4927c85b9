//! Messages to people.

use super::CallError;
use snapback_core::DeploymentId;
use snapback_core::notice::Notice;

/// People.
pub trait Notifier {
    /// Sends a notice to `topic`, or to the installation's topic.
    async fn publish(&self, topic: Option<&str>, id: &DeploymentId, notice: &Notice) -> Result<(), CallError>;
}
