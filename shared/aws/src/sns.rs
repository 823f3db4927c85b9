//! Notifications.

use crate::Aws;
use crate::error::{call_error, not_set};
use aws_sdk_sns::error::BuildError;
use aws_sdk_sns::types::MessageAttributeValue;
use snapback_app::ports::{CallError, CallErrorKind, Notifier};
use snapback_core::DeploymentId;
use snapback_core::notice::{Notice, NoticeKind};
use snapback_wire::sns::{body, subject};

const PUBLISH: &str = "sns:Publish";

impl Notifier for Aws {
    async fn publish(&self, topic: Option<&str>, id: &DeploymentId, notice: &Notice) -> Result<(), CallError> {
        let topic = topic.or(self.settings.topic_arn.as_deref());
        let topic = topic.ok_or_else(|| not_set(PUBLISH, "SNAPBACK_TOPIC_ARN"))?;
        let mut request = self.sns.publish().topic_arn(topic);
        request = request.subject(subject(&notice.subject)).message(body(&notice.body));
        for (name, value) in attributes(id, notice.kind) {
            let value = attribute(value)
                .map_err(|error| CallError::new(CallErrorKind::Invalid, PUBLISH, id, error.to_string()))?;
            request = request.message_attributes(name, value);
        }
        let answer = request.send().await;
        answer.map(|_| ()).map_err(|error| call_error(PUBLISH, id, &error))
    }
}

/// By `notification_id` a receiver knows a message that was sent twice.
fn attributes(id: &DeploymentId, kind: NoticeKind) -> [(&'static str, String); 3] {
    [
        ("kind", kind.as_str().to_owned()),
        ("deployment", id.to_string()),
        ("notification_id", format!("{id}/{}", kind.as_str())),
    ]
}

fn attribute(value: String) -> Result<MessageAttributeValue, BuildError> {
    MessageAttributeValue::builder().data_type("String").string_value(value).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_delivery_can_be_recognised() {
        let id = DeploymentId::parse("d-A1B2C3D4E").unwrap();
        let sent = attributes(&id, NoticeKind::RollbackStuck);
        let sent_again = attributes(&id, NoticeKind::RollbackStuck);
        assert_eq!(sent, sent_again);
        let expected = [
            ("kind", "rollback-stuck".to_owned()),
            ("deployment", "d-A1B2C3D4E".to_owned()),
            ("notification_id", "d-A1B2C3D4E/rollback-stuck".to_owned()),
        ];
        assert_eq!(sent, expected);
    }
}
