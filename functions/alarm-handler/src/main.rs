//! An alarm changed its state: judges the live deployments that watch it. Takes EventBridge events and direct alarm actions.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::Value;
use snapback_app::handle_alarm::handle_alarm;
use snapback_aws::Service::{CloudWatch, CodeDeploy, DynamoDb, Lambda, Sns};
use snapback_aws::{Aws, runtime};
use snapback_wire::event::{AlarmMessage, parse_alarm};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    snapback_aws::init_logs();
    let aws = Aws::from_lambda_environment(&[CodeDeploy, CloudWatch, DynamoDb, Lambda, Sns])?;
    aws.open_connections().await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| handle(event, &aws))).await
}

async fn handle(event: LambdaEvent<Value>, aws: &Aws) -> Result<(), Diagnostic> {
    let message = parse_alarm(&event.payload).map_err(|error| runtime::failed("InvalidEvent", &error))?;
    let alarm = match message {
        AlarmMessage::Change(alarm) => alarm,
        AlarmMessage::Ignored { why } => {
            tracing::info!(why, "ignored");
            return Ok(());
        }
    };
    let owner = runtime::owner(&event.context);
    let handled = handle_alarm(aws, &alarm.reading, &alarm.id, owner).await;
    let handled = handled.map_err(|error| runtime::failed(error.word(), &error))?;
    let (name, state) = (&alarm.reading.name, alarm.reading.state);
    tracing::info!(alarm = %name, %state, deployments = handled.deployments, "done");
    Ok(())
}
