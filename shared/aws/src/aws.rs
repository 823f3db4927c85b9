//! One value with all clients.

use crate::clock::SystemClock;
use crate::config::{ConfigError, Service, Settings, endpoint_is_loopback, function_config};
use crate::environment::{Environment, ProcessEnvironment};
use aws_types::SdkConfig;
use snapback_app::ports::Clock;
use snapback_core::Timestamp;
#[cfg(any(feature = "scheduler", feature = "sns"))]
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The clients of the services that are built in, with one connection pool. Implements the ports.
///
/// No connection is made for a service that a program does not call.
#[derive(Debug, Clone)]
pub struct Aws {
    #[cfg(feature = "codedeploy")]
    pub(crate) codedeploy: aws_sdk_codedeploy::Client,
    #[cfg(feature = "cloudwatch")]
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    #[cfg(feature = "dynamodb")]
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    #[cfg(feature = "lambda")]
    pub(crate) lambda: aws_sdk_lambda::Client,
    #[cfg(feature = "scheduler")]
    pub(crate) scheduler: LazyClient<aws_sdk_scheduler::Client>,
    #[cfg(feature = "sns")]
    pub(crate) sns: LazyClient<aws_sdk_sns::Client>,
    #[cfg(feature = "ssm")]
    pub(crate) ssm: aws_sdk_ssm::Client,
    pub(crate) settings: Settings,
    pub(crate) services: Vec<Service>,
    /// Name of the running function; empty elsewhere.
    #[cfg(any(feature = "lambda", feature = "cloudwatch"))]
    pub(crate) own_function: String,
    #[cfg(feature = "lambda")]
    pub(crate) allows_loopback_probes: bool,
}

/// A client that is made when it is first used, because most runs do without it.
#[cfg(any(feature = "scheduler", feature = "sns"))]
pub(crate) type LazyClient<Client> = Arc<LazyLock<Client, Box<dyn FnOnce() -> Client + Send + Sync>>>;

#[cfg(any(
    feature = "codedeploy",
    feature = "cloudwatch",
    feature = "dynamodb",
    feature = "lambda",
    feature = "scheduler",
    feature = "sns",
    feature = "ssm"
))]
macro_rules! client {
    ($sdk:ident, $config:expr, $endpoint:expr, $service:expr) => {{
        let mut config = $sdk::config::Builder::from($config);
        if let Some(endpoint) = $endpoint($service) {
            config = config.endpoint_url(endpoint);
        }
        $sdk::Client::from_conf(config.build())
    }};
}

#[cfg(any(feature = "scheduler", feature = "sns"))]
macro_rules! late_client {
    ($sdk:ident, $config:expr, $endpoint:expr, $service:expr) => {{
        let (config, endpoint) = ($config.clone(), $endpoint($service));
        let make = move || client!($sdk, &config, |_| endpoint, $service);
        Arc::new(LazyLock::new(Box::new(make) as Box<dyn FnOnce() -> _ + Send + Sync>))
    }};
}

impl Aws {
    /// From Lambda's environment and `SNAPBACK_*`, for a function that calls `services`.
    ///
    /// The services are named at run time, not taken from the features: in a build of the whole workspace every function
    /// has every feature.
    ///
    /// # Errors
    /// Names the variable that is missing, or the service that is not built in.
    pub fn from_lambda_environment(services: &[Service]) -> Result<Self, ConfigError> {
        Self::from_environment(services, &ProcessEnvironment)
    }

    /// From an SDK configuration, for the command line; its endpoints are the configuration's.
    #[must_use]
    pub fn from_sdk_config(config: &SdkConfig, settings: Settings) -> Self {
        Self::build(config, settings, &[], |_| None, None, false)
    }

    /// Where Snapback's own things are.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn from_environment(services: &[Service], env: &impl Environment) -> Result<Self, ConfigError> {
        let settings = Settings::from_environment(services, env)?;
        let config = function_config(env)?;
        let endpoint = |service: Service| env.get(service.endpoint_variable());
        let own_function = env.get("AWS_LAMBDA_FUNCTION_NAME");
        let is_loopback = endpoint_is_loopback(env);
        Ok(Self::build(&config, settings, services, endpoint, own_function, is_loopback))
    }

    #[cfg_attr(not(feature = "lambda"), expect(unused_variables, reason = "only Lambda's clients use the last two"))]
    fn build(
        config: &SdkConfig,
        settings: Settings,
        services: &[Service],
        endpoint: impl Fn(Service) -> Option<String>,
        own_function: Option<String>,
        allows_loopback_probes: bool,
    ) -> Self {
        Self {
            #[cfg(feature = "codedeploy")]
            codedeploy: client!(aws_sdk_codedeploy, config, endpoint, Service::CodeDeploy),
            #[cfg(feature = "cloudwatch")]
            cloudwatch: client!(aws_sdk_cloudwatch, config, endpoint, Service::CloudWatch),
            #[cfg(feature = "dynamodb")]
            dynamodb: client!(aws_sdk_dynamodb, config, endpoint, Service::DynamoDb),
            #[cfg(feature = "lambda")]
            lambda: client!(aws_sdk_lambda, config, endpoint, Service::Lambda),
            #[cfg(feature = "scheduler")]
            scheduler: late_client!(aws_sdk_scheduler, config, endpoint, Service::Scheduler),
            #[cfg(feature = "sns")]
            sns: late_client!(aws_sdk_sns, config, endpoint, Service::Sns),
            #[cfg(feature = "ssm")]
            ssm: client!(aws_sdk_ssm, config, endpoint, Service::Ssm),
            settings,
            services: services.to_vec(),
            #[cfg(any(feature = "lambda", feature = "cloudwatch"))]
            own_function: own_function.unwrap_or_default(),
            #[cfg(feature = "lambda")]
            allows_loopback_probes,
        }
    }
}

impl Clock for Aws {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock.sleep(duration).await;
    }
}
