//! Decisions of Snapback: plain data in, plain data out.
//!
//! No AWS type, no async, no clock, no environment and no serde here: whatever moves production traffic can be tested,
//! replayed and read without any of them. Time is an argument ([`Timestamp`]), settings are a validated [`Policy`].
#![warn(missing_docs)]

pub mod alarm;
pub mod canary;
pub mod check;
pub mod deployment;
#[cfg(test)]
mod example;
pub mod id;
pub mod judged;
pub mod ledger;
pub mod lifecycle;
pub mod measure;
pub mod notice;
pub mod observed;
pub mod pause;
pub mod plan;
pub mod policy;
pub mod rollback;
pub mod sla;
pub mod suffering;
pub mod time;

pub mod words;

pub use id::{AlarmName, DeploymentId, ExecutionId, GroupRef, RevisionId};
pub use policy::Policy;
pub use time::Timestamp;
pub use words::{Cause, HookStatus, LifecycleEvent, Mode, Outcome, Signal, Trigger};
