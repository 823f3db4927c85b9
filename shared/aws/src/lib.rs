//! The ports of `snapback-app` on AWS. The only crate that knows the AWS SDK; one cargo feature per service.
//!
//! [`Aws`] implements every port whose service is built in. Functions build their configuration by hand ([`config`]); only
//! the command line (feature `operator`) reads profiles.
#![warn(missing_docs)]

mod aws;
pub mod clock;
#[cfg(feature = "cloudwatch")]
pub mod cloudwatch;
#[cfg(feature = "codedeploy")]
pub mod codedeploy;
pub mod config;
pub mod connections;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
mod environment;
pub mod error;
#[cfg(test)]
mod fake_endpoint;
#[cfg(feature = "cloudwatch")]
#[cfg(test)]
mod fake_metrics;
pub mod http_client;
#[cfg(feature = "lambda")]
pub mod http_probe;
#[cfg(all(feature = "operator", feature = "codedeploy", feature = "cloudwatch", feature = "lambda"))]
pub mod inspect;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod logs;
#[cfg(feature = "cloudwatch")]
pub mod measurements;
#[cfg(any(feature = "codedeploy", feature = "cloudwatch", feature = "ssm"))]
mod pages;
pub mod runtime;
#[cfg(feature = "scheduler")]
mod scheduler;
#[cfg(feature = "sns")]
mod sns;
#[cfg(feature = "ssm")]
pub mod ssm;
mod telemetry;

pub use aws::Aws;
pub use clock::SystemClock;
pub use config::{ConfigError, Service, Settings};
pub use environment::{Environment, ProcessEnvironment};
pub use logs::init_logs;
