//! The scoreboard: seeded deployments, Snapback and other people's detectors on the same ones, and what they cost.
//!
//! [`generate`] makes a deployment, [`judge`] says what a detector is, [`rivals`] are the others, [`score`] counts.

pub mod board;
pub mod generate;
pub mod judge;
pub mod latency;
pub mod math;
pub mod plots;
pub mod report;
pub mod rivals;
pub mod run;
pub mod sample;
pub mod score;
pub mod snapback;
pub mod svg;
pub mod targets;
pub mod trace;
pub mod witnesses;
