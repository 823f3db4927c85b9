//! The whole embedded AWS: every part, on one endpoint.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::to_bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::cloudwatch::CloudWatch;
use crate::iam::Ask;
use crate::lambda::Lambda;
use crate::parts::LambdaControl;
use crate::protocol::{ApiFault, ApiRequest, ApiResponse, BoxFuture, RawResponse, Service, request};
use crate::stage::{Ground, Stage, StageConfig, StageError};

/// Largest answer of a part that is passed on.
const ANSWER_MAX: usize = 16 << 20;
/// Access key id of a person at the command line; faults on "every function" never hit it.
pub const OPERATOR: &str = "operator";

/// A running embedded AWS. End it with [`EmbeddedAws::shutdown`]; no process of a function outlives it either way.
pub struct EmbeddedAws {
    /// CodeDeploy, EventBridge, SNS, SSM, DynamoDB, Scheduler, the endpoint, faults and the call log.
    pub stage: Stage,
    /// Lambda.
    pub lambda: Lambda,
    /// CloudWatch.
    pub cloudwatch: Arc<CloudWatch>,
}

impl EmbeddedAws {
    /// Starts all parts; `functions` is the folder in which `CreateFunction` looks for binaries.
    ///
    /// # Errors
    /// When the port or the table file cannot be used.
    pub async fn start(config: StageConfig, functions: PathBuf) -> Result<Self, StageError> {
        let ground = Ground::bind(config).await?;
        let (changes, alarm_changes) = mpsc::unbounded_channel();
        let cloudwatch = CloudWatch::new(ground.clock, changes);
        let lambda = Lambda::new(ground.clock, ground.endpoint(), cloudwatch.clone());
        lambda.set_functions_folder(functions);
        lambda.connect(ground.access.clone(), ground.queues.clone());
        let control: Arc<dyn LambdaControl> = Arc::new(lambda.clone());
        let bus = ground.event_bus(control.clone());
        let stage = Stage::start(ground, bus, control, cloudwatch.clone())?;
        stage.forward_alarm_changes(alarm_changes);
        stage.gateway.register("lambda", Arc::new(LambdaService(lambda.clone())));
        stage.gateway.register("cloudwatch", Arc::new(CloudWatchService(cloudwatch.clone())));
        Ok(Self { stage, lambda, cloudwatch })
    }

    /// Ends all parts and waits until no process of a function is left.
    pub async fn shutdown(&self) {
        self.cloudwatch.shutdown();
        self.lambda.shutdown().await;
        self.stage.shutdown();
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
        let request = request(OPERATOR, name, operation, input);
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
