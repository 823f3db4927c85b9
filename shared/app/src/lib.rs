//! Use cases of Snapback and the ports they need.
//!
//! A use case loads facts, asks `snapback-core`, and carries the decision out. It makes no choice of its own, knows no AWS
//! type and no byte format, and reads the present state before it acts: it may be called twice, late, or by two at once.
#![warn(missing_docs)]

/// Calls, or short chains of calls, that are under way at once; the next one begins as soon as any of them is over, so that one that
/// is slow holds up nobody. A service answers sixteen at a time, and memory stays bounded.
const AT_ONCE: usize = 16;

pub mod after_hook;
mod analyze;
pub mod before_hook;
mod checks;
mod compare_and_set;
pub mod error;
pub mod handle_alarm;
pub mod operate;
pub mod pairs;
pub mod pause;
pub mod ports;
pub mod reconcile;
pub mod record_deployment;
pub mod register;
mod shared_incident;
pub mod sweep;
pub mod watchdog;
