//! The SDK's configuration, made by hand for functions: no file, no metadata service and no certificate store is read, so
//! that a cold start costs milliseconds.

use crate::environment::Environment;
use crate::http_client::{self, TlsError};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use snapback_wire::policy_file::DEFAULT_PREFIX;
use std::time::Duration;

/// Time for a TCP connection and its TLS handshake, each try.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for one try of one call.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for one call with all its tries.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(6);
/// Tries of one call.
pub const MAX_ATTEMPTS: u32 = 3;

/// Why a function cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An environment variable is missing or empty.
    #[error("environment variable {name} is not set ({needed_for}); the installation's template or Lambda sets it")]
    Missing {
        /// Its name.
        name: &'static str,
        /// What needs it.
        needed_for: &'static str,
    },
    /// The program was built without a service that it asks for.
    #[error("this build has no {service}: feature `{service}` of snapback-aws is off")]
    NotBuilt {
        /// The feature.
        service: &'static str,
    },
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A service that a function calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Deployments, lifecycle hooks.
    CodeDeploy,
    /// Alarms.
    CloudWatch,
    /// The table.
    DynamoDb,
    /// Aliases, versions, probes.
    Lambda,
    /// One-time schedules.
    Scheduler,
    /// Notifications.
    Sns,
    /// Policies.
    Ssm,
}

impl Service {
    /// The cargo feature that brings its client.
    #[must_use]
    pub const fn feature(self) -> &'static str {
        match self {
            Self::CodeDeploy => "codedeploy",
            Self::CloudWatch => "cloudwatch",
            Self::DynamoDb => "dynamodb",
            Self::Lambda => "lambda",
            Self::Scheduler => "scheduler",
            Self::Sns => "sns",
            Self::Ssm => "ssm",
        }
    }

    /// The variable that moves its endpoint, before `AWS_ENDPOINT_URL`.
    #[must_use]
    pub const fn endpoint_variable(self) -> &'static str {
        match self {
            Self::CodeDeploy => "AWS_ENDPOINT_URL_CODEDEPLOY",
            Self::CloudWatch => "AWS_ENDPOINT_URL_CLOUDWATCH",
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            Self::Lambda => "AWS_ENDPOINT_URL_LAMBDA",
            Self::Scheduler => "AWS_ENDPOINT_URL_SCHEDULER",
            Self::Sns => "AWS_ENDPOINT_URL_SNS",
            Self::Ssm => "AWS_ENDPOINT_URL_SSM",
        }
    }

    /// Whether this build has its client.
    #[must_use]
    pub const fn is_built(self) -> bool {
        match self {
            Self::CodeDeploy => cfg!(feature = "codedeploy"),
            Self::CloudWatch => cfg!(feature = "cloudwatch"),
            Self::DynamoDb => cfg!(feature = "dynamodb"),
            Self::Lambda => cfg!(feature = "lambda"),
            Self::Scheduler => cfg!(feature = "scheduler"),
            Self::Sns => cfg!(feature = "sns"),
            Self::Ssm => cfg!(feature = "ssm"),
        }
    }
}

/// Where Snapback's own things are. What a program does not use may stay empty; a call that needs it then says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of the table.
    pub table: Option<String>,
    /// ARN of the topic for people, used when a policy names none.
    pub topic_arn: Option<String>,
    /// Path of the policy parameters, without a slash at its end.
    pub policy_prefix: String,
    /// ARN of the function that a one-time schedule calls.
    pub watchdog_arn: Option<String>,
    /// Role with which it is called.
    pub scheduler_role_arn: Option<String>,
}

impl Settings {
    /// For a program that only reads and writes the table, as the command line does.
    #[must_use]
    pub fn for_table(table: impl Into<String>) -> Self {
        Self {
            table: Some(table.into()),
            topic_arn: None,
            policy_prefix: DEFAULT_PREFIX.to_owned(),
            watchdog_arn: None,
            scheduler_role_arn: None,
        }
    }

    /// From the variables of a function.
    ///
    /// # Errors
    /// Names the first variable that one of `services` needs and that is not there.
    pub fn from_environment(services: &[Service], env: &impl Environment) -> Result<Self, ConfigError> {
        for service in services {
            if !service.is_built() {
                let service = service.feature();
                return Err(ConfigError::NotBuilt { service });
            }
            for name in needs(*service) {
                required(env, name, service.feature())?;
            }
        }
        let prefix = env.get("SNAPBACK_POLICY_PREFIX");
        let prefix = prefix.as_deref().unwrap_or(DEFAULT_PREFIX);
        Ok(Self {
            table: env.get("SNAPBACK_TABLE"),
            topic_arn: env.get("SNAPBACK_TOPIC_ARN"),
            policy_prefix: prefix.trim_end_matches('/').to_owned(),
            watchdog_arn: env.get("SNAPBACK_WATCHDOG_ARN"),
            scheduler_role_arn: env.get("SNAPBACK_SCHEDULER_ROLE_ARN"),
        })
    }
}

/// Variables without which a service is of no use.
const fn needs(service: Service) -> &'static [&'static str] {
    match service {
        Service::DynamoDb => &["SNAPBACK_TABLE"],
        Service::Sns => &["SNAPBACK_TOPIC_ARN"],
        Service::Scheduler => &["SNAPBACK_WATCHDOG_ARN", "SNAPBACK_SCHEDULER_ROLE_ARN"],
        Service::CodeDeploy | Service::CloudWatch | Service::Lambda | Service::Ssm => &[],
    }
}

/// The SDK configuration of a function: Region and credentials from Lambda's variables, pinned roots, our time-outs.
///
/// # Errors
/// When a variable that Lambda sets is missing.
pub fn function_config(env: &impl Environment) -> Result<SdkConfig, ConfigError> {
    let region = match env.get("AWS_REGION") {
        Some(region) => region,
        None => required(env, "AWS_DEFAULT_REGION", "as is AWS_REGION")?,
    };
    let credentials = Credentials::new(
        required(env, "AWS_ACCESS_KEY_ID", "credentials")?,
        required(env, "AWS_SECRET_ACCESS_KEY", "credentials")?,
        env.get("AWS_SESSION_TOKEN"),
        None,
        "lambda-environment",
    );
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .identity_cache(IdentityCache::no_cache())
        .http_client(http_client::of_function(env)?)
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .timeout_config(timeouts())
        .retry_config(retries())
        // The time-outs above already bound every call.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(env.get("AWS_ENDPOINT_URL"));
    Ok(config.build())
}

/// The SDK configuration of the command line: the profiles, SSO and credential processes of a person, what the operating
/// system trusts, and `AWS_ENDPOINT_URL[_SERVICE]`; `profile` and `region` win over these.
///
/// # Errors
/// When the TLS settings are refused.
#[cfg(feature = "operator")]
pub async fn operator_config(profile: Option<String>, region: Option<String>) -> Result<SdkConfig, ConfigError> {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client::of_operator()?)
        .timeout_config(timeouts())
        .retry_config(retries());
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    Ok(loader.load().await)
}

/// Whether `AWS_ENDPOINT_URL` points at this machine, as it does in a rehearsal.
#[must_use]
pub fn endpoint_is_loopback(env: &impl Environment) -> bool {
    let Some(url) = env.get("AWS_ENDPOINT_URL").and_then(|text| url::Url::parse(&text).ok()) else {
        return false;
    };
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn required(env: &impl Environment, name: &'static str, needed_for: &'static str) -> Result<String, ConfigError> {
    env.get(name).ok_or(ConfigError::Missing { name, needed_for })
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Table(BTreeMap<&'static str, &'static str>);

    impl Environment for Table {
        fn get(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|value| (*value).to_owned())
        }
    }

    fn lambda() -> Table {
        Table(BTreeMap::from([
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ]))
    }

    #[test]
    fn a_missing_variable_is_named() {
        let none = Table(BTreeMap::new());
        let all = [
            (Service::DynamoDb, "SNAPBACK_TABLE"),
            (Service::Sns, "SNAPBACK_TOPIC_ARN"),
            (Service::Scheduler, "SNAPBACK_WATCHDOG_ARN"),
        ];
        for (service, name) in all {
            let error = Settings::from_environment(&[service], &none).unwrap_err();
            if service.is_built() {
                assert!(error.to_string().contains(name), "{error}");
            } else {
                let expected = ConfigError::NotBuilt { service: service.feature() };
                assert_eq!(error, expected);
            }
        }
        for name in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            let mut env = lambda();
            env.0.remove(name);
            let error = function_config(&env).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn settings_have_one_default() {
        let settings = Settings::from_environment(&[], &lambda()).unwrap();
        assert_eq!(settings.policy_prefix, "/snapback/policy");
        assert_eq!(settings.table, None);
        let env = Table(BTreeMap::from([("SNAPBACK_POLICY_PREFIX", "/team/policy/")]));
        let settings = Settings::from_environment(&[], &env).unwrap();
        assert_eq!(settings.policy_prefix, "/team/policy");
    }

    #[test]
    fn a_functions_configuration_has_bounds_and_no_cache() {
        let mut env = lambda();
        env.0.insert("AWS_ENDPOINT_URL", "http://127.0.0.1:4566");
        let config = function_config(&env).unwrap();
        assert_eq!(config.region().map(AsRef::as_ref), Some("eu-central-1"));
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4566"));
        let timeouts = config.timeout_config().unwrap();
        assert_eq!(timeouts.connect_timeout(), Some(CONNECT_TIMEOUT));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT_TIMEOUT));
        assert_eq!(timeouts.operation_timeout(), Some(OPERATION_TIMEOUT));
        assert_eq!(config.retry_config().unwrap().max_attempts(), MAX_ATTEMPTS);
    }

    #[test]
    fn loopback_endpoints() {
        let table = [
            ("http://127.0.0.1:4566", true),
            ("http://localhost:4566", true),
            ("http://[::1]:4566", true),
            ("https://codedeploy.eu-central-1.amazonaws.com", false),
            ("http://localhost.example.com", false),
            ("not a url", false),
        ];
        for (endpoint, expected) in table {
            let env = Table(BTreeMap::from([("AWS_ENDPOINT_URL", endpoint)]));
            assert_eq!(endpoint_is_loopback(&env), expected, "{endpoint}");
        }
        assert!(!endpoint_is_loopback(&lambda()));
    }
}
