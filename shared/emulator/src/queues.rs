//! SQS, as far as dead letters go: queues that take messages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::parts::ApiError;
use crate::tasks::lock;

/// Messages kept of each queue.
const KEPT_MAX: usize = 1_000;

/// The queues of one emulator. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Queues {
    /// Messages by the ARN of the queue.
    messages: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
}

impl Queues {
    /// Makes a queue; again is no error.
    pub fn create(&self, arn: &str) {
        lock(&self.messages).entry(arn.to_owned()).or_default();
    }

    /// Puts a message into the queue; the newest ones of a full queue are lost.
    ///
    /// # Errors
    /// `QueueDoesNotExist`.
    pub fn send(&self, arn: &str, message: Value) -> Result<(), ApiError> {
        let mut messages = lock(&self.messages);
        let queue = messages
            .get_mut(arn)
            .ok_or_else(|| ApiError::new("QueueDoesNotExist", format!("The specified queue does not exist: {arn}")))?;
        if queue.len() < KEPT_MAX {
            queue.push(message);
        }
        Ok(())
    }

    /// Messages in the queue, oldest first.
    #[must_use]
    pub fn messages(&self, arn: &str) -> Vec<Value> {
        lock(&self.messages).get(arn).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_queue_takes_messages() {
        let queues = Queues::default();
        let arn = "arn:aws:sqs:us-east-1:123456789012:letters";
        queues.create(arn);
        queues.send(arn, json!({"a": 1})).unwrap();
        queues.create(arn);
        assert_eq!(queues.messages(arn), [json!({"a": 1})], "made again, it keeps its messages");
        assert_eq!(queues.send("arn:other", json!(1)).unwrap_err().code, "QueueDoesNotExist");
        for _ in 0..=KEPT_MAX {
            queues.send(arn, json!(2)).unwrap();
        }
        assert_eq!(queues.messages(arn).len(), KEPT_MAX);
    }
}
