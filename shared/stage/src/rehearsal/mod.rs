//! Rehearsals.
pub mod scenario;
