//! State changes of deployments. They are best effort: an event may never come, or come twice.

use super::EventError;
use super::envelope::envelope;
use serde_json::Value;
use snapback_core::{DeploymentId, GroupRef, Timestamp};

const KIND: &str = "CodeDeploy state-change event";

/// State that the event tells; the API has other words for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentState {
    /// START.
    Start,
    /// SUCCESS.
    Success,
    /// FAILURE.
    Failure,
    /// STOP.
    Stop,
    /// QUEUED.
    Queued,
    /// READY.
    Ready,
}

impl DeploymentState {
    fn parse(word: &str) -> Result<Self, &'static str> {
        match word {
            "START" => Ok(Self::Start),
            "SUCCESS" => Ok(Self::Success),
            "FAILURE" => Ok(Self::Failure),
            "STOP" => Ok(Self::Stop),
            "QUEUED" => Ok(Self::Queued),
            "READY" => Ok(Self::Ready),
            _ => Err("START, SUCCESS, FAILURE, STOP, QUEUED or READY"),
        }
    }
}

/// A deployment changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentEvent {
    /// EventBridge id: the same when the event is delivered twice.
    pub id: String,
    /// When it happened.
    pub time: Timestamp,
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its group.
    pub group: GroupRef,
    /// Its new state.
    pub state: DeploymentState,
}

/// What an event of CodeDeploy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentMessage {
    /// A deployment changed its state.
    Change(DeploymentEvent),
    /// Nothing to act on.
    Ignored {
        /// Why, for the log.
        why: &'static str,
    },
}

/// Parses an event of CodeDeploy from EventBridge; events of single instances are ignored.
///
/// # Errors
/// When it is another event, or a member is missing or cannot be what it should.
pub fn parse_deployment_event(value: &Value) -> Result<DeploymentMessage, EventError> {
    let event = envelope(KIND, "aws.codedeploy", value)?;
    match event.detail_type.as_str() {
        "CodeDeploy Deployment State-change Notification" => {}
        "CodeDeploy Instance State-change Notification" => {
            return Ok(DeploymentMessage::Ignored { why: "it is about one instance" });
        }
        other => {
            let found = crate::reader::describe(Some(&other.into()));
            let expected = "CodeDeploy Deployment State-change Notification";
            return Err(EventError::new(KIND, "detail-type", found, expected));
        }
    }
    event.read(KIND, |detail| {
        let application = detail.text("application")?;
        Ok(DeploymentMessage::Change(DeploymentEvent {
            id: event.id.clone(),
            time: event.time,
            deployment: detail.parsed("deploymentId", DeploymentId::parse)?,
            group: detail.parsed("deploymentGroup", |group| GroupRef::new(application, group))?,
            state: detail.parsed("state", DeploymentState::parse)?,
        }))
    })
}
