//! SNS: topics, Publish with the limits of the API, and what was published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::iam::Ask;
use crate::json::{text, uuid};
use crate::parts::{ACCOUNT, REGION};
use crate::protocol::{ApiFault, ApiRequest, ApiResponse, BoxFuture, Service};
use crate::tasks::lock;

/// Bytes of a message.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// A subject is shorter than this many characters.
const SUBJECT_CHARS: usize = 100;
/// Messages kept in memory.
const KEPT_MAX: usize = 10_000;
/// Messages that a slow listener may lag behind.
const LISTENER_LAG_MAX: usize = 1024;

/// One published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Topic to which it went.
    pub topic_arn: String,
    /// Subject, when it has one.
    pub subject: Option<String>,
    /// The text.
    pub message: String,
    /// Name to string value.
    pub message_attributes: BTreeMap<String, String>,
    /// Access key id of the sender.
    pub principal: String,
    /// Identifier that the sender was told.
    pub message_id: String,
}

/// The topics of one emulator.
pub struct Sns {
    clock: Clock,
    topics: Mutex<BTreeSet<String>>,
    messages: Mutex<VecDeque<Message>>,
    published: broadcast::Sender<Message>,
}

impl Sns {
    /// No topics yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let (published, _) = broadcast::channel(LISTENER_LAG_MAX);
        Self { clock, topics: Mutex::default(), messages: Mutex::default(), published }
    }

    /// Makes topic `name` (again is no error) and gives its ARN.
    pub fn create_topic(&self, name: &str) -> String {
        let arn = format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}");
        lock(&self.topics).insert(arn.clone());
        arn
    }

    /// All messages so far, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        lock(&self.messages).iter().cloned().collect()
    }

    /// Messages from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Message> {
        self.published.subscribe()
    }

    /// Publishes `message` for `principal` and gives the message id.
    ///
    /// # Errors
    /// `InvalidParameter` for a message or subject outside the limits, `NotFound` for an unknown topic.
    pub fn publish(
        &self,
        principal: &str,
        topic_arn: &str,
        subject: Option<&str>,
        message: &str,
        message_attributes: BTreeMap<String, String>,
    ) -> Result<String, ApiFault> {
        check(subject, message)?;
        if !lock(&self.topics).contains(topic_arn) {
            return Err(ApiFault::new("NotFound", "Topic does not exist").with_status(404));
        }
        let message = Message {
            at_ms: self.clock.now_ms(),
            topic_arn: topic_arn.to_owned(),
            subject: subject.map(str::to_owned),
            message: message.to_owned(),
            message_attributes,
            principal: principal.to_owned(),
            message_id: uuid(),
        };
        let id = message.message_id.clone();
        {
            let mut messages = lock(&self.messages);
            if messages.len() == KEPT_MAX {
                messages.pop_front();
            }
            messages.push_back(message.clone());
        }
        // An error only says that nobody listens.
        let _ = self.published.send(message);
        Ok(id)
    }

    fn dispatch(&self, principal: &str, operation: &str, input: &Value) -> Result<Value, ApiFault> {
        match operation {
            "CreateTopic" => {
                let name = text(input, "Name").filter(|name| is_topic_name(name));
                let name = name.ok_or_else(|| invalid("Topic Name"))?;
                Ok(json!({"TopicArn": self.create_topic(name)}))
            }
            "Publish" => {
                let topic = text(input, "TopicArn").or_else(|| text(input, "TargetArn"));
                let topic =
                    topic.ok_or_else(|| invalid("TopicArn or TargetArn Reason: no value for required parameter"))?;
                let message = input.get("Message").and_then(Value::as_str).unwrap_or_default();
                let subject = input.get("Subject").and_then(Value::as_str);
                let id = self.publish(principal, topic, subject, message, attributes(input))?;
                Ok(json!({"MessageId": id}))
            }
            _ => Err(ApiFault::unsupported("sns", operation)),
        }
    }
}

impl Service for Sns {
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
        let answer = self.dispatch(&request.principal, &request.operation, &request.input);
        Box::pin(std::future::ready(answer.into()))
    }

    fn asks(&self, request: &ApiRequest) -> Vec<Ask> {
        let topic = text(&request.input, "TopicArn").or_else(|| text(&request.input, "TargetArn"));
        vec![request.ask(topic.unwrap_or("*"))]
    }
}

fn check(subject: Option<&str>, message: &str) -> Result<(), ApiFault> {
    if message.is_empty() {
        return Err(invalid("Empty message"));
    }
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(invalid("Message too long"));
    }
    let Some(subject) = subject else {
        return Ok(());
    };
    let length = subject.chars().count();
    if length == 0 || length >= SUBJECT_CHARS || subject.chars().any(char::is_control) {
        return Err(invalid("Subject"));
    }
    Ok(())
}

fn invalid(what: &str) -> ApiFault {
    ApiFault::new("InvalidParameter", format!("Invalid parameter: {what}"))
}

fn is_topic_name(name: &str) -> bool {
    name.len() <= 256 && name.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'))
}

/// `MessageAttributes.entry.N.Name` with `MessageAttributes.entry.N.Value.StringValue`.
fn attributes(input: &Value) -> BTreeMap<String, String> {
    (1..)
        .map_while(|number| {
            let prefix = format!("MessageAttributes.entry.{number}");
            let name = text(input, &format!("{prefix}.Name"))?;
            let value = input.get(format!("{prefix}.Value.StringValue")).and_then(Value::as_str).unwrap_or_default();
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sns() -> Sns {
        Sns::new(Clock::new(Duration::from_secs(60)))
    }

    #[test]
    fn a_message_is_kept_with_its_sender_and_attributes() {
        let sns = sns();
        let topic = sns.dispatch("operator", "CreateTopic", &json!({"Name": "on-call"})).unwrap();
        let input = json!({
            "TopicArn": topic["TopicArn"], "Subject": "rolled back", "Message": "checkout: version 8 failed",
            "MessageAttributes.entry.1.Name": "id", "MessageAttributes.entry.1.Value.DataType": "String",
            "MessageAttributes.entry.1.Value.StringValue": "n-1"
        });
        let output = sns.dispatch("RECORDER", "Publish", &input).unwrap();
        let messages = sns.messages();
        assert_eq!(messages.len(), 1);
        assert_eq!(output["MessageId"], messages[0].message_id);
        assert_eq!(messages[0].principal, "RECORDER");
        assert_eq!(messages[0].subject.as_deref(), Some("rolled back"));
        assert_eq!(messages[0].message_attributes.get("id").map(String::as_str), Some("n-1"));
    }

    #[test]
    fn the_limits_of_publish_are_kept() {
        let sns = sns();
        let topic = sns.create_topic("on-call");
        let unknown = "arn:aws:sns:us-east-1:123456789012:nobody".to_owned();
        let (fits, long) = ("s".repeat(99), "s".repeat(100));
        // (case, topic, subject, message, error)
        let table = [
            ("99 characters", &topic, Some(fits.as_str()), "m", None),
            ("100 characters", &topic, Some(long.as_str()), "m", Some("InvalidParameter")),
            ("line break", &topic, Some("a\nb"), "m", Some("InvalidParameter")),
            ("empty subject", &topic, Some(""), "m", Some("InvalidParameter")),
            ("no subject", &topic, None, "m", None),
            ("empty message", &topic, None, "", Some("InvalidParameter")),
            ("unknown topic", &unknown, None, "m", Some("NotFound")),
        ];
        for (case, topic, subject, message, error) in table {
            let answer = sns.publish("P", topic, subject, message, BTreeMap::new());
            assert_eq!(answer.err().map(|fault| fault.code).as_deref(), error, "{case}");
        }
        let long = "m".repeat(MESSAGE_BYTES_MAX + 1);
        assert!(sns.publish("P", &topic, None, &long, BTreeMap::new()).is_err(), "message over 256 KB");
        assert_eq!(sns.messages().len(), 2);
    }
}
