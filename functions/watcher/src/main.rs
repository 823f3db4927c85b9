//! The sweep, once a minute: finds what events missed, judges, answers overdue hooks, finishes what others began.

use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::Value;
use snapback_app::sweep::{Memory, sweep};
use snapback_aws::Service::{CloudWatch, CodeDeploy, DynamoDb, Lambda, Sns, Ssm};
use snapback_aws::{Aws, runtime};
use tokio::sync::Mutex;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    snapback_aws::init_logs();
    let aws = Aws::from_lambda_environment(&[CodeDeploy, CloudWatch, DynamoDb, Lambda, Sns, Ssm])?;
    aws.open_connections().await;
    let memory = Mutex::new(Memory::default());
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| handle(event, &aws, &memory))).await
}

/// The schedule's event says nothing that the sweep needs.
async fn handle(event: LambdaEvent<Value>, aws: &Aws, memory: &Mutex<Memory>) -> Result<(), Diagnostic> {
    let swept = sweep(aws, runtime::owner(&event.context), &mut *memory.lock().await).await;
    let swept = swept.map_err(|error| runtime::failed(error.word(), &error))?;
    tracing::debug!(ticks = swept.ticks, live = swept.live, "done");
    Ok(())
}
