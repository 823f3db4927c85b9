//! Lifecycle hook BeforeAllowTraffic: checks the new version before it gets traffic, and answers CodeDeploy.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::Value;
use snapback_app::before_hook::before_allow_traffic;
use snapback_aws::Service::{CloudWatch, CodeDeploy, DynamoDb, Lambda, Sns, Ssm};
use snapback_aws::{Aws, runtime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    snapback_aws::init_logs();
    let aws = Aws::from_lambda_environment(&[CodeDeploy, CloudWatch, DynamoDb, Lambda, Sns, Ssm])?;
    aws.open_connections().await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| handle(event, &aws))).await
}

async fn handle(event: LambdaEvent<Value>, aws: &Aws) -> Result<(), Diagnostic> {
    let run = runtime::hook_run(&event)?;
    let end = before_allow_traffic(aws, &run).await.map_err(|error| runtime::failed(error.word(), &error))?;
    tracing::info!(deployment = %run.deployment, ?end, "done");
    Ok(())
}
