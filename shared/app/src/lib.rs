//! Use cases of Snapback and the ports they need.
//!
//! A use case loads facts, asks `snapback-core`, and carries the decision out. It makes no choice of its own, knows no AWS
//! type and no byte format, and reads the present state before it acts: it may be called twice, late, or by two at once.
#![warn(missing_docs)]

pub mod after_hook;
pub mod attend;
pub mod before_hook;
mod checks;
pub mod error;
pub mod handle_alarm;
mod look;
mod numbers;
pub mod operate;
pub mod pause;
pub mod ports;
pub mod record_deployment;
pub mod register;
mod side_by_side;
pub mod sweep;
pub mod watchdog;
