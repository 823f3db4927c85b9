//! CodeDeploy says that a deployment changed its state: opens and closes its record.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::Value;
use snapback_app::record_deployment::record_deployment;
use snapback_aws::Service::{CloudWatch, CodeDeploy, DynamoDb, Lambda, Sns, Ssm};
use snapback_aws::{Aws, runtime};
use snapback_wire::event::{DeploymentMessage, parse_deployment_event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    snapback_aws::init_logs();
    let aws = Aws::from_lambda_environment(&[CodeDeploy, CloudWatch, DynamoDb, Lambda, Sns, Ssm])?;
    aws.open_connections().await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| handle(event, &aws))).await
}

async fn handle(event: LambdaEvent<Value>, aws: &Aws) -> Result<(), Diagnostic> {
    let message = parse_deployment_event(&event.payload).map_err(|error| runtime::failed("InvalidEvent", &error))?;
    let change = match message {
        DeploymentMessage::Change(change) => change,
        DeploymentMessage::Ignored { why } => {
            tracing::info!(why, "ignored");
            return Ok(());
        }
    };
    let owner = runtime::owner(&event.context);
    let recorded = record_deployment(aws, &change.deployment, owner).await;
    let recorded = recorded.map_err(|error| runtime::failed(error.word(), &error))?;
    tracing::info!(deployment = %change.deployment, state = ?change.state, ?recorded, "done");
    Ok(())
}
