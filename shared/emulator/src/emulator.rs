//! Puts the parts of the embedded AWS together, on one endpoint, and ends them together.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::access::Access;
use crate::clock::Clock;
use crate::cloudwatch::CloudWatch;
use crate::codedeploy::{CodeDeploy, Dependencies};
use crate::dynamodb::{DynamoDb, OpenError};
use crate::event_bus::EventBus;
use crate::gateway::Gateway;
use crate::iam::Ask;
use crate::lambda::Lambda;
use crate::parts::{AlarmChange, LambdaControl};
use crate::protocol::{ApiFault, ApiRequest, ApiResponse, BoxFuture, RawResponse, Service};
use crate::queues::Queues;
use crate::scheduler::Scheduler;
use crate::sns::Sns;
use crate::ssm::Ssm;
use crate::tasks::Tasks;

/// Largest answer of a part that is passed on.
const ANSWER_MAX: usize = 16 << 20;
/// Access key id of a person at the command line; faults on "every function" never hit it.
pub const OPERATOR: &str = "operator";

/// How an emulator is set up.
#[derive(Debug, Clone)]
pub struct EmulatorConfig {
    /// How long an AWS minute lasts; 60 s is real time.
    pub minute: Duration,
    /// Port on 127.0.0.1; `None` = a free one.
    pub port: Option<u16>,
    /// SQLite file of the tables; `None` = in memory.
    pub store: Option<PathBuf>,
    /// Folder in which `CreateFunction` looks for binaries; `None` = functions cannot be created over HTTP.
    pub functions: Option<PathBuf>,
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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

/// A running embedded AWS. End it with [`Emulator::shutdown`]; dropping it ends all tasks and connections too, and no process
/// of a function outlives it either way.
pub struct Emulator {
    /// Scales AWS time.
    pub clock: Clock,
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
    /// Lambda.
    pub lambda: Lambda,
    /// CloudWatch.
    pub cloudwatch: Arc<CloudWatch>,
    address: SocketAddr,
    tasks: Tasks,
}

impl Emulator {
    /// Starts all parts. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the port or the table file cannot be used.
    pub async fn start(config: EmulatorConfig) -> Result<Self, StartError> {
        let Listening { clock, tasks, access, gateway, address } = Listening::bind(&config).await?;
        let dynamodb = match DynamoDb::open(config.store.as_deref()) {
            Ok(dynamodb) => Arc::new(dynamodb),
            Err(error) => {
                gateway.stop();
                tasks.abort_all();
                return Err(error.into());
            }
        };
        let queues = Queues::default();
        let (changes, alarm_changes) = mpsc::unbounded_channel();
        let cloudwatch = CloudWatch::new(clock, changes);
        let lambda = Lambda::new(clock, url(address), cloudwatch.clone());
        if let Some(folder) = config.functions {
            lambda.set_functions_folder(folder);
        }
        lambda.connect(access.clone(), queues.clone());
        let control: Arc<dyn LambdaControl> = Arc::new(lambda.clone());
        let bus = EventBus::new(clock, tasks.clone(), control.clone(), access.clone(), queues.clone());
        forward_alarm_changes(&tasks, &bus, alarm_changes);
        let codedeploy = CodeDeploy::new(Dependencies {
            clock,
            tasks: tasks.clone(),
            lambda: control.clone(),
            alarms: cloudwatch.clone(),
            bus: bus.clone(),
            access: access.clone(),
        });
        let scheduler = Scheduler::new(clock, tasks.clone(), control, access.clone());
        let (sns, ssm) = (Arc::new(Sns::new(clock)), Arc::new(Ssm::new(clock)));
        gateway.register("codedeploy", Arc::new(codedeploy.clone()));
        gateway.register("events", Arc::new(bus.clone()));
        gateway.register("scheduler", Arc::new(scheduler.clone()));
        gateway.register("sns", sns.clone());
        gateway.register("ssm", ssm.clone());
        gateway.register("dynamodb", dynamodb.clone());
        gateway.register("lambda", Arc::new(LambdaService(lambda.clone())));
        gateway.register("cloudwatch", Arc::new(CloudWatchService(cloudwatch.clone())));
        Ok(Self {
            clock,
            access,
            gateway,
            bus,
            codedeploy,
            scheduler,
            sns,
            queues,
            ssm,
            dynamodb,
            lambda,
            cloudwatch,
            address,
            tasks,
        })
    }

    /// URL for `AWS_ENDPOINT_URL`, for example `http://127.0.0.1:4566`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        url(self.address)
    }

    /// One call of `service` as the operator, in the members of its API.
    ///
    /// # Errors
    /// The error that the API answers.
    pub async fn call(
        &self,
        service: &dyn Service,
        name: &'static str,
        operation: &str,
        input: Value,
    ) -> Result<Value, ApiFault> {
        let request = ApiRequest::new(OPERATOR, name, operation, input);
        match service.call(request).await {
            ApiResponse::Output(output) => Ok(output),
            ApiResponse::Fault(fault) => Err(fault),
            ApiResponse::Raw(raw) => {
                let body: Value = serde_json::from_slice(&raw.body).unwrap_or(Value::Null);
                match raw.error {
                    None => Ok(body),
                    Some(code) => Err(ApiFault::new(code, body.to_string()).with_status(raw.status)),
                }
            }
        }
    }

    /// Ends all parts and waits until no process of a function is left; what was recorded stays readable.
    pub async fn shutdown(&self) {
        self.cloudwatch.shutdown();
        self.lambda.shutdown().await;
        self.stop();
    }

    /// Ends all tasks and connections.
    fn stop(&self) {
        self.gateway.stop();
        self.tasks.abort_all();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What all parts need: clock, tasks, access rules and the endpoint, which listens already but serves nothing. Processes of
/// functions are started with its address.
struct Listening {
    clock: Clock,
    tasks: Tasks,
    access: Access,
    gateway: Gateway,
    address: SocketAddr,
}

impl Listening {
    async fn bind(config: &EmulatorConfig) -> Result<Self, StartError> {
        let clock = Clock::new(config.minute);
        let tasks = Tasks::new(Handle::current());
        let access = Access::new(clock);
        let gateway = Gateway::new(access.clone());
        let port = config.port;
        let address = gateway.listen(port, &tasks).await.map_err(|cause| StartError::Listen { port, cause })?;
        Ok(Self { clock, tasks, access, gateway, address })
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Publishes each alarm change that comes from CloudWatch, and invokes the functions among its actions, until the sender is gone
/// or the emulator ends.
fn forward_alarm_changes(tasks: &Tasks, bus: &EventBus, mut changes: UnboundedReceiver<AlarmChange>) {
    let bus = bus.clone();
    tasks.spawn(async move {
        while let Some(change) = changes.recv().await {
            bus.publish_alarm_change(&change);
        }
    });
}

/// Lambda's REST API behind the gateway.
struct LambdaService(Lambda);

impl Service for LambdaService {
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
        Box::pin(async move {
            let ApiRequest { method, path, query, headers, body, .. } = request;
            let (status, headers, body) = self.0.handle_http(&method, &path, &query, &headers, body).await;
            ApiResponse::Raw(RawResponse::from_http(status.as_u16(), &headers, body))
        })
    }

    fn asks(&self, request: &ApiRequest) -> Vec<Ask> {
        self.0.asks(request)
    }
}

/// CloudWatch's two protocols behind the gateway.
struct CloudWatchService(Arc<CloudWatch>);

impl Service for CloudWatchService {
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
        Box::pin(async move {
            if !CloudWatch::is_for(&request.path, &request.headers) {
                return match self.0.call(&request.operation, request.input).await {
                    Ok(output) => ApiResponse::Output(output),
                    Err(error) => ApiResponse::Fault(ApiFault::new(error.code, error.message)),
                };
            }
            let answer = self.0.answer(&request.path, &request.headers, &request.body).await;
            let (parts, body) = answer.into_parts();
            let body = to_bytes(body, ANSWER_MAX).await.unwrap_or_default();
            ApiResponse::Raw(RawResponse::from_http(parts.status.as_u16(), &parts.headers, body))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn start(port: Option<u16>) -> Result<Emulator, StartError> {
        Emulator::start(EmulatorConfig { minute: Duration::from_secs(5), port, store: None, functions: None }).await
    }

    async fn post(aws: &Emulator, header: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(aws.address).await.unwrap();
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
        let aws = start(None).await.unwrap();
        let topic = aws.sns.create_topic("on-call");
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
                "lambda",
                "content-type: application/json",
                "/2015-03-31/functions/f/invocations",
                "{}",
                "ResourceNotFoundException",
            ),
            ("cloudwatch", "x-amz-target: GraniteServiceVersion20100801.DescribeAlarms", "/", "{}", "MetricAlarms"),
        ];
        for (case, header, path, body, part) in table {
            let answer = post(&aws, header, path, body).await;
            assert!(answer.contains(part), "{case}: {answer}");
        }
        assert_eq!(aws.sns.messages().len(), 1);
        assert_eq!(aws.scheduler.names(), ["s-1"]);
        assert!(aws.access.calls().iter().all(|call| call.principal == "KEY"));
    }

    #[tokio::test]
    async fn alarm_changes_become_events() {
        let aws = start(None).await.unwrap();
        let mut events = aws.bus.subscribe();
        let alarm = json!({
            "AlarmName": "checkout-5xx", "Namespace": "Shop", "MetricName": "5xx", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"
        });
        aws.cloudwatch.call("PutMetricAlarm", alarm).await.unwrap();
        let red = json!({"AlarmName": "checkout-5xx", "StateValue": "ALARM", "StateReason": "test"});
        aws.cloudwatch.call("SetAlarmState", red).await.unwrap();
        let event = events.recv().await.unwrap().event;
        assert_eq!(event["source"], "aws.cloudwatch");
        assert_eq!(event["detail"]["alarmName"], "checkout-5xx");
    }

    #[tokio::test]
    async fn nothing_listens_after_the_end() {
        let aws = start(None).await.unwrap();
        let address = aws.address;
        assert!(TcpStream::connect(address).await.is_ok());
        drop(aws);
        let closed = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed).await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_port_is_said() {
        let first = start(None).await.unwrap();
        let second = start(Some(first.address.port())).await;
        let error = second.err().map(|error| error.to_string()).unwrap();
        assert!(error.contains(&first.address.port().to_string()), "{error}");
    }
}
