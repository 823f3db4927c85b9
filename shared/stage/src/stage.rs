//! Puts the parts of the embedded AWS together and ends them together.
//!
//! ```text
//! let ground  = Ground::bind(config).await?;            // the endpoint listens: ground.endpoint()
//! let lambda  = …;                                      // needs the endpoint: its processes call it
//! let bus     = ground.event_bus(lambda.clone());
//! let cloudwatch = …;                                   // sends its alarm changes into a channel
//! let stage   = Stage::start(ground, bus, lambda, alarms)?;
//! stage.forward_alarm_changes(changes);                 // the other end of that channel
//! stage.gateway.register("lambda", lambda_service);
//! stage.gateway.register("cloudwatch", cloudwatch_service);
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::access::Access;
use crate::clock::StageClock;
use crate::codedeploy::{CodeDeploy, Surroundings};
use crate::dynamodb::{DynamoDb, OpenError};
use crate::event_bus::EventBus;
use crate::gateway::Gateway;
use crate::parts::{AlarmChange, AlarmReader, LambdaControl};
use crate::queues::Queues;
use crate::scheduler::Scheduler;
use crate::sns::Sns;
use crate::ssm::Ssm;
use crate::tasks::Tasks;

/// How a stage is set up.
#[derive(Debug, Clone)]
pub struct StageConfig {
    /// How long an AWS minute lasts; 60 s is real time.
    pub minute: Duration,
    /// Port on 127.0.0.1; `None` = a free one.
    pub port: Option<u16>,
    /// SQLite file of the tables; `None` = in memory.
    pub store: Option<PathBuf>,
}

/// Why a stage did not start.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The port is taken or may not be used.
    #[error("could not listen on 127.0.0.1:{}; choose another port or leave it out", port.map_or_else(|| "any".to_owned(), |port| port.to_string()))]
    Listen {
        /// The port asked for.
        port: Option<u16>,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The table file cannot be used.
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// What all parts stand on: clock, tasks, access rules and the endpoint, which listens already but serves nothing.
pub struct Ground {
    /// Scales AWS time.
    pub clock: StageClock,
    /// Background tasks of all parts.
    pub tasks: Tasks,
    /// Faults and the call log.
    pub access: Access,
    /// The endpoint.
    pub gateway: Gateway,
    /// SQS.
    pub queues: Queues,
    address: SocketAddr,
    config: StageConfig,
}

impl Ground {
    /// Starts the endpoint. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be used.
    pub async fn bind(config: StageConfig) -> Result<Self, StageError> {
        let clock = StageClock::new(config.minute);
        let tasks = Tasks::new(Handle::current());
        let access = Access::new(clock);
        let gateway = Gateway::new(access.clone());
        let port = config.port;
        let address = gateway.listen(port, &tasks).await.map_err(|cause| StageError::Listen { port, cause })?;
        Ok(Self { clock, tasks, access, gateway, queues: Queues::default(), address, config })
    }

    /// URL for `AWS_ENDPOINT_URL`, for example `http://127.0.0.1:4566`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The event bus; it delivers to `lambda`.
    #[must_use]
    pub fn event_bus(&self, lambda: Arc<dyn LambdaControl>) -> EventBus {
        EventBus::new(self.clock, self.tasks.clone(), lambda, self.access.clone(), self.queues.clone())
    }
}

/// A running stage. Dropping it ends all its tasks and connections.
pub struct Stage {
    /// Scales AWS time.
    pub clock: StageClock,
    /// Faults and the call log.
    pub access: Access,
    /// The endpoint; more services can be registered at any time.
    pub gateway: Gateway,
    /// EventBridge.
    pub bus: EventBus,
    /// CodeDeploy.
    pub codedeploy: CodeDeploy,
    /// EventBridge Scheduler.
    pub scheduler: Scheduler,
    /// SNS.
    pub sns: Arc<Sns>,
    /// SQS, for dead letters.
    pub queues: Queues,
    /// SSM Parameter Store.
    pub ssm: Arc<Ssm>,
    /// DynamoDB.
    pub dynamodb: Arc<DynamoDb>,
    address: SocketAddr,
    tasks: Tasks,
}

impl Stage {
    /// Makes the parts that live here and registers them. `lambda` runs functions, `alarms` says alarm states; their own
    /// APIs are registered by whoever made them (see the module's example).
    ///
    /// # Errors
    /// When the table file cannot be used.
    pub fn start(
        ground: Ground,
        bus: EventBus,
        lambda: Arc<dyn LambdaControl>,
        alarms: Arc<dyn AlarmReader>,
    ) -> Result<Self, StageError> {
        let Ground { clock, tasks, access, gateway, queues, address, config } = ground;
        let dynamodb = match DynamoDb::open(config.store.as_deref()) {
            Ok(dynamodb) => Arc::new(dynamodb),
            Err(error) => {
                gateway.stop();
                tasks.abort_all();
                return Err(error.into());
            }
        };
        let codedeploy = CodeDeploy::new(Surroundings {
            clock,
            tasks: tasks.clone(),
            lambda: lambda.clone(),
            alarms,
            bus: bus.clone(),
            access: access.clone(),
        });
        let scheduler = Scheduler::new(clock, tasks.clone(), lambda, access.clone());
        let sns = Arc::new(Sns::new(clock));
        let ssm = Arc::new(Ssm::new(clock));
        gateway.register("codedeploy", Arc::new(codedeploy.clone()));
        gateway.register("events", Arc::new(bus.clone()));
        gateway.register("scheduler", Arc::new(scheduler.clone()));
        gateway.register("sns", sns.clone());
        gateway.register("ssm", ssm.clone());
        gateway.register("dynamodb", dynamodb.clone());
        Ok(Self { clock, access, gateway, bus, codedeploy, scheduler, sns, queues, ssm, dynamodb, address, tasks })
    }

    /// URL for `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Publishes each alarm change that comes from CloudWatch, and invokes the functions among its actions, until the sender
    /// is gone or the stage ends.
    pub fn forward_alarm_changes(&self, mut changes: UnboundedReceiver<AlarmChange>) {
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            while let Some(change) = changes.recv().await {
                bus.publish_alarm_change(&change);
            }
        });
    }

    /// Ends all tasks and connections; what was recorded stays readable.
    pub fn shutdown(&self) {
        self.gateway.stop();
        self.tasks.abort_all();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::{AlarmReading, AliasRouting, ApiError};
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    struct Nothing;

    impl LambdaControl for Nothing {
        fn alias(&self, _function: &str, _alias: &str) -> Option<AliasRouting> {
            None
        }
        fn route(&self, _function: &str, _alias: &str, _routing: AliasRouting) -> Result<(), ApiError> {
            Ok(())
        }
        fn has_version(&self, _function: &str, _version: &str) -> bool {
            false
        }
        fn invoke_async(&self, _function: &str, _payload: Value) -> Result<(), ApiError> {
            Ok(())
        }
    }

    impl AlarmReader for Nothing {
        fn read(&self, _names: &[String]) -> Vec<AlarmReading> {
            Vec::new()
        }
    }

    async fn stage() -> Stage {
        let config = StageConfig { minute: Duration::from_secs(5), port: None, store: None };
        let ground = Ground::bind(config).await.unwrap();
        let bus = ground.event_bus(Arc::new(Nothing));
        Stage::start(ground, bus, Arc::new(Nothing), Arc::new(Nothing)).unwrap()
    }

    async fn post(stage: &Stage, header: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(stage.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: AWS4-HMAC-SHA256 Credential=KEY/1\r\n{header}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned() // CBOR is no text, but its strings are
    }

    #[tokio::test]
    async fn every_service_answers_in_its_own_protocol() {
        let stage = stage().await;
        let topic = stage.sns.create_topic("on-call");
        let publish = format!("Action=Publish&Version=2010-03-31&TopicArn={topic}&Message=rolled+back");
        let form = "content-type: application/x-www-form-urlencoded";
        let schedule = r#"{"ScheduleExpression":"at(2199-01-01T00:00:00)","FlexibleTimeWindow":{"Mode":"OFF"},"Target":{"Arn":"arn:aws:lambda:us-east-1:123456789012:function:f","RoleArn":"r"}}"#;
        // (case, header, path, body, part of the answer)
        let table = [
            (
                "codedeploy",
                "x-amz-target: CodeDeploy_20141006.CreateApplication",
                "/",
                r#"{"applicationName":"app","computePlatform":"Lambda"}"#,
                "applicationId",
            ),
            ("ssm", "x-amz-target: AmazonSSM.GetParameter", "/", r#"{"Name":"/p"}"#, "ParameterNotFound"),
            ("dynamodb", "x-amz-target: DynamoDB_20120810.ListTables", "/", "{}", "TableNames"),
            (
                "events",
                "x-amz-target: AWSEvents.PutRule",
                "/",
                r#"{"Name":"r","ScheduleExpression":"rate(1 minute)"}"#,
                "RuleArn",
            ),
            ("sns", form, "/", &publish, "<MessageId>"),
            ("scheduler", "content-type: application/json", "/schedules/s-1", schedule, "ScheduleArn"),
            (
                "rpc v2",
                "smithy-protocol: rpc-v2-cbor",
                "/service/CodeDeploy_20141006/operation/GetDeployment",
                "",
                "DeploymentIdRequiredException",
            ),
            (
                "not plugged in",
                "content-type: application/json",
                "/2015-03-31/functions/f/invocations",
                "{}",
                "the stage has no lambda:Invoke",
            ),
        ];
        for (case, header, path, body, part) in table {
            let answer = post(&stage, header, path, body).await;
            assert!(answer.contains(part), "{case}: {answer}");
        }
        assert_eq!(stage.sns.messages().len(), 1);
        assert_eq!(stage.scheduler.names(), ["s-1"]);
        assert!(stage.access.calls().iter().all(|call| call.principal == "KEY"));
    }

    #[tokio::test]
    async fn alarm_changes_become_events() {
        let stage = stage().await;
        let (sender, changes) = tokio::sync::mpsc::unbounded_channel();
        let mut events = stage.bus.subscribe();
        stage.forward_alarm_changes(changes);
        let change = AlarmChange {
            name: "checkout-5xx".to_owned(),
            arn: "arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-5xx".to_owned(),
            detail: serde_json::json!({"alarmName": "checkout-5xx"}),
            action_payload: Value::Null,
            actions: Vec::new(),
        };
        sender.send(change).unwrap();
        let event = events.recv().await.unwrap().event;
        assert_eq!(event["source"], "aws.cloudwatch");
        assert_eq!(event["detail"]["alarmName"], "checkout-5xx");
    }

    #[tokio::test]
    async fn nothing_listens_after_the_end() {
        let stage = stage().await;
        let address = stage.address;
        assert!(TcpStream::connect(address).await.is_ok());
        drop(stage);
        let closed = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed).await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_port_is_said() {
        let first = stage().await;
        let port = Some(first.address.port());
        let second = Ground::bind(StageConfig { minute: Duration::from_secs(5), port, store: None }).await;
        let error = second.err().map(|error| error.to_string()).unwrap();
        assert!(error.contains(&first.address.port().to_string()), "{error}");
    }
}
