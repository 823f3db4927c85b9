//! How fast Snapback is: measured with the real binaries, on this machine, in one run (`make bench-coldstart`,
//! `make bench-reaction`, `make bench-sweep`).

pub mod coldstart;
pub mod harm;
pub mod options;
pub mod process;
pub mod reaction;
pub mod services;
pub mod statistics;
pub mod sweep;
pub mod table;

/// Why a measurement did not come about.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
