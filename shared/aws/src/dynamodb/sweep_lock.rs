//! The sweep's lease.

use super::calls::{Condition, PutOutcome, key_attributes};
use crate::Aws;
use aws_sdk_dynamodb::types::AttributeValue;
use snapback_app::ports::{CallError, SweepLock};
use snapback_core::Timestamp;
use snapback_wire::record::{self as wire, attr};
use std::collections::HashMap;

impl SweepLock for Aws {
    async fn take_sweep(&self, owner: &str, now: Timestamp, until: Timestamp) -> Result<bool, CallError> {
        let lease = wire::SweepLease { owner: owner.to_owned(), until };
        let condition = Condition::new("attribute_not_exists(#pk) OR #owner = :owner OR #until <= :now")
            .name("#pk", attr::PK)
            .name("#owner", attr::OWNER)
            .name("#until", attr::UNTIL_MS)
            .text(":owner", owner)
            .number(":now", now.ms());
        let item = wire::sweep_lease_item(0, &lease);
        let outcome = self.put("sweep", item, Some(condition)).await?;
        Ok(matches!(outcome, PutOutcome::Stored))
    }

    async fn release_sweep(&self, owner: &str) -> Result<(), CallError> {
        let condition = Condition::new("#owner = :owner").name("#owner", attr::OWNER).text(":owner", owner);
        self.delete_if("sweep", &wire::sweep_lease_key(0), condition).await
    }
}

/// The key of an item that is small and may be read by every function.
pub(crate) fn sweep_key() -> HashMap<String, AttributeValue> {
    key_attributes(&wire::sweep_lease_key(0))
}
