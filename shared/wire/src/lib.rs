//! Every byte format of Snapback: events, the policy file, items of the table, metrics, messages.
//!
//! Whatever comes in is untrusted: it is read into types of `snapback-core` or refused with an error that says what was
//! found where, and nothing here panics. No AWS SDK, no async, no clock, no network.
#![warn(missing_docs)]

pub mod alarms;
pub mod app_spec;
pub mod creator;
pub mod emf;
pub mod event;
pub mod policy_file;
mod reader;
pub mod record;
pub mod report_line;
pub mod revision;
pub mod sns;
pub mod time;
pub mod trace;
