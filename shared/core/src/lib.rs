//! Decisions of Snapback: plain data in, plain data out.
//!
//! No AWS type, no async, no clock, no environment and no serde here: whatever moves production traffic can be tested,
//! replayed and read without any of them. Time is an argument ([`Timestamp`]), settings are a validated [`Policy`].
#![warn(missing_docs)]

pub mod alarm;
pub mod analysis_spec;
pub mod check;
pub mod deployment;
#[cfg(test)]
mod example;
pub mod finding;
pub mod first_sight;
pub mod id;
pub mod lifecycle;
pub mod metrics;
pub mod notice;
pub mod observed;
pub mod pause;
pub mod plan;
pub mod policy;
pub mod record;
pub mod rollback;
pub mod target;
pub mod timeline;
pub mod vocabulary;
pub mod warning;

pub use id::{AlarmName, DeploymentId, ExecutionId, GroupRef, RevisionId};
pub use policy::Policy;
pub use snapback_judge::Timestamp;
pub use vocabulary::{Cause, HookStatus, LifecycleEvent, Mode, Outcome, Signal, Trigger};
