//! Connections that exist before the first event.
//!
//! Lambda gives a function its full CPU while it starts; the TLS handshakes are done then, by one cheap call for each
//! service. The calls are read-only and ask for something that is not there:
//!
//! | service | call | why this one |
//! |---|---|---|
//! | CodeDeploy | GetDeployment of `d-000000000` | every function that has CodeDeploy may call it |
//! | CloudWatch | DescribeAlarms, one alarm of `snapback-` | the only call there is; once per cold start, so its quota does not notice |
//! | DynamoDB | GetItem of the sweep's lease | the whole table is readable to every function |
//! | Lambda | GetAlias `snapback` of the function itself | its role allows it; the function exists, the alias does not |
//! | Parameter Store | GetParameter under the policies' prefix | within the path that the role may read |
//! | SNS, Scheduler | none | they only have calls that change something, and are called after the urgent work |
//!
//! A refusal opens the connection as well as an answer does, so the outcome is not looked at.

use crate::{Aws, Service};
use std::future::Future;
use std::time::Duration;

/// Longest wait for one of the calls; all run at the same time.
pub const LIMIT: Duration = Duration::from_secs(1);

/// A configuration that tries once.
#[cfg(any(feature = "codedeploy", feature = "cloudwatch", feature = "dynamodb", feature = "lambda", feature = "ssm"))]
macro_rules! once {
    ($sdk:ident) => {
        $sdk::config::Builder::default().retry_config(aws_smithy_types::retry::RetryConfig::disabled())
    };
}

impl Aws {
    /// Opens a connection to each service that this program uses: exactly one call each, all at once, at most
    /// [`LIMIT`]. Never fails; what does not come about is made up for by the first real call.
    pub async fn open_connections(&self) {
        tokio::join!(
            self.open(Service::CodeDeploy, self.knock_codedeploy()),
            self.open(Service::CloudWatch, self.knock_cloudwatch()),
            self.open(Service::DynamoDb, self.knock_dynamodb()),
            self.open(Service::Lambda, self.knock_lambda()),
            self.open(Service::Ssm, self.knock_ssm()),
        );
    }

    async fn open(&self, service: Service, knock: impl Future<Output = ()>) {
        if self.services.contains(&service) && tokio::time::timeout(LIMIT, knock).await.is_err() {
            tracing::debug!(service = service.feature(), "no connection yet");
        }
    }

    async fn knock_codedeploy(&self) {
        #[cfg(feature = "codedeploy")]
        {
            let call = self.codedeploy.get_deployment().deployment_id("d-000000000").customize();
            let _ = call.config_override(once!(aws_sdk_codedeploy)).send().await;
        }
    }

    async fn knock_cloudwatch(&self) {
        #[cfg(feature = "cloudwatch")]
        {
            let call = self.cloudwatch.describe_alarms().max_records(1);
            let call = call.alarm_name_prefix(snapback_core::alarm::OWN_PREFIX).customize();
            let _ = call.config_override(once!(aws_sdk_cloudwatch)).send().await;
        }
    }

    async fn knock_dynamodb(&self) {
        #[cfg(feature = "dynamodb")]
        {
            let key = crate::dynamodb::sweep_key();
            let call = self.dynamodb.get_item().set_key(Some(key));
            let call = call.set_table_name(self.settings.table.clone()).customize();
            let _ = call.config_override(once!(aws_sdk_dynamodb)).send().await;
        }
    }

    async fn knock_lambda(&self) {
        #[cfg(feature = "lambda")]
        {
            let call = self.lambda.get_alias().name("snapback");
            let call = call.function_name(&self.own_function).customize();
            let _ = call.config_override(once!(aws_sdk_lambda)).send().await;
        }
    }

    async fn knock_ssm(&self) {
        #[cfg(feature = "ssm")]
        {
            let name = format!("{}/snapback/connection", self.settings.policy_prefix);
            let call = self.ssm.get_parameter().name(name).customize();
            let _ = call.config_override(once!(aws_sdk_ssm)).send().await;
        }
    }
}

#[cfg(all(
    test,
    feature = "codedeploy",
    feature = "cloudwatch",
    feature = "dynamodb",
    feature = "lambda",
    feature = "scheduler",
    feature = "sns",
    feature = "ssm"
))]
mod tests {
    use super::*;
    use crate::fake_endpoint::FakeEndpoint;

    #[tokio::test]
    async fn exactly_one_call_for_each_service_in_use() {
        let table = [
            (vec![], vec![]),
            (vec![Service::Sns, Service::Scheduler], vec![]),
            (vec![Service::DynamoDb, Service::CodeDeploy], vec!["GetDeployment", "GetItem"]),
            (
                vec![Service::Ssm, Service::Lambda, Service::CloudWatch, Service::Sns],
                vec![
                    "GET /2015-03-31/functions/snapback-watcher/aliases/snapback",
                    "GetParameter",
                    "POST /service/GraniteServiceVersion20100801/operation/DescribeAlarms",
                ],
            ),
        ];
        for (services, expected) in table {
            // Every call fails in a way that would be tried again, and still there is one each.
            let endpoint = FakeEndpoint::start(|_| (500, String::new()));
            endpoint.aws(&services).open_connections().await;
            let mut seen = endpoint.operations();
            seen.sort();
            assert_eq!(seen, expected);
        }
    }
}
