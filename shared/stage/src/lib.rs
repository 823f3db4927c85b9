//! The embedded AWS on which rehearsals run: real function binaries, loopback endpoints, no account.
//!
//! It is written from the documentation of AWS and may use `snapback-wire` (table layout), never the decisions or the
//! use cases: it must not share our misunderstandings.
//!
//! [`stage::Stage`] puts the parts together; [`gateway::Gateway`] is the one HTTP endpoint in front of them.

pub mod access;
pub mod cbor;
pub mod clock;
pub mod cloudwatch;
pub mod codedeploy;
pub mod dynamodb;
pub mod embedded;
pub mod event_bus;
pub mod gateway;
pub mod iam;
pub(crate) mod json;
pub mod lambda;
pub mod parts;
pub mod protocol;
pub mod queues;
pub mod rehearsal;
pub(crate) mod rest_routes;
pub mod scheduler;
pub mod sns;
pub mod ssm;
pub mod stage;
pub mod tasks;
pub mod template;
pub mod wiring;
pub mod workload;
