//! The ports of `snapback-app` on AWS. The only crate that knows the AWS SDK; one cargo feature per service.
//!
//! Functions build their configuration by hand ([`config`]); only the command line (feature `operator`) reads profiles.
#![warn(missing_docs)]

pub mod clock;
pub mod config;
pub mod error;
pub mod logs;
pub mod runtime;

pub use logs::init_logs;
