//! The time: reading it, waiting for it, being called at it.

use super::CallError;
use snapback_core::{DeploymentId, Timestamp};
use std::time::Duration;

/// The time, and waiting for it.
pub trait Clock {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// One-time schedules.
pub trait Schedules {
    /// Calls the hook watchdog about the end of a bake at `at`; asked twice, called once.
    async fn end_of_bake(&self, id: &DeploymentId, at: Timestamp) -> Result<(), CallError>;
}
