//! The embedded AWS on which rehearsals run: real function binaries, loopback endpoints, no account.
//!
//! It is written from the documentation of AWS and may use `snapback-wire` (table layout), never the decisions or the
//! use cases: it must not share our misunderstandings.

pub mod clock;
pub mod cloudwatch;
pub mod parts;
