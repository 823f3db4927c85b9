//! The hook watchdog: on-failure destination of both hooks, and the one-time schedule at the end of a bake.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::Value;
use snapback_app::watchdog::{answer_for_hook, end_bake};
use snapback_aws::Service::{CloudWatch, CodeDeploy, DynamoDb, Lambda, Sns, Ssm};
use snapback_aws::{Aws, runtime};
use snapback_wire::event::{WatchdogEvent, parse_watchdog_event};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    snapback_aws::init_logs();
    let aws = Aws::from_lambda_environment(&[CodeDeploy, CloudWatch, DynamoDb, Lambda, Sns, Ssm])?;
    aws.open_connections().await;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| handle(event, &aws))).await
}

async fn handle(event: LambdaEvent<Value>, aws: &Aws) -> Result<(), Diagnostic> {
    let owner = runtime::owner(&event.context);
    let record = match parse_watchdog_event(&event.payload).map_err(|error| runtime::failed("InvalidEvent", &error))? {
        WatchdogEvent::FailedInvocation(failed) => {
            tracing::warn!(function = failed.function_arn, error = failed.error, "a hook ended without an answer");
            answer_for_hook(aws, &failed.hook.deployment, &failed.hook.execution, owner).await
        }
        WatchdogEvent::BakeEnd(id) => end_bake(aws, &id, owner).await,
    };
    let record = record.map_err(|error| runtime::failed(error.word(), &error))?;
    tracing::info!(deployment = %record.deployment.identity.id, phase = ?record.deployment.phase, "done");
    Ok(())
}
