//! The embedded AWS on which rehearsals run: real function binaries, loopback endpoints, no account.
//!
//! It is written from the documentation of AWS and uses no other crate of Snapback: it must not share our misunderstandings.
//!
//! [`Emulator`] puts the parts together; [`gateway::Gateway`] is the one HTTP endpoint in front of them.

/// The example of the README is true.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod access;
pub mod cbor;
pub mod clock;
pub mod cloudwatch;
pub mod codedeploy;
pub mod dynamodb;
mod emulator;
pub mod event_bus;
pub mod gateway;
pub mod iam;
pub(crate) mod json;
pub mod lambda;
pub mod parts;
pub mod protocol;
pub mod queues;
pub(crate) mod rest_routes;
pub mod scheduler;
pub mod sns;
pub mod ssm;
pub mod tasks;
pub mod workload;

pub use emulator::{Emulator, EmulatorConfig, OPERATOR, StartError};
