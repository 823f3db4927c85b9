//! Is the new version worse than the old one? Plain numbers in, a verdict out.
//!
//! No platform, no I/O, no clock, no policy file and no serde: this crate does not know what a deployment is made of, who may
//! roll it back or where its numbers are read. It names what to read ([`analysis`]), says what the numbers mean
//! ([`detector`], [`pairs`], [`slo`], [`degradation`]), and can be tested, replayed and read without anything else of Snapback.
//!
//! ```
//! use snapback_judge::{InvalidCount, Share, Verdict};
//! use snapback_judge::detector::{BucketRecord, Counts, DetectorSettings, Side, State, TrafficSchedule, Witnesses};
//!
//! let settings = DetectorSettings::default_method();
//! let schedule = TrafficSchedule::new(60, vec![(0.0, 0.1), (300.0, 1.0)], 1200.0, 120.0)?;
//! let counts = |requests, failed| -> Result<Counts, InvalidCount> {
//!     Ok(Counts { e5: Some(Share::new(failed, requests)?), ..Counts::of_requests(requests) })
//! };
//! let history: Vec<BucketRecord> = (-60..0)
//!     .map(|slot| Ok(BucketRecord::of_version(Side::Baseline, slot * 60, counts(6000, 6)?)))
//!     .collect::<Result<_, InvalidCount>>()?;
//! let state = State::begin(&settings, &schedule, Witnesses::default(), 3600.0, &history, None);
//! let minute = [
//!     BucketRecord::of_version(Side::Baseline, 0, counts(5400, 5)?),
//!     BucketRecord::of_version(Side::Canary, 0, counts(600, 240)?),
//! ];
//! let (_, judgement) = State::step(&settings, &schedule, state, &minute, 90.0);
//! assert_eq!(judgement.verdict, Verdict::Rollback);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

pub mod analysis;
pub mod degradation;
pub mod detector;
mod judge;
pub mod pairs;
pub mod result;
pub mod series;
mod share;
pub mod shared_incident;
pub mod slo;
mod time;
pub mod vocabulary;

pub use judge::{Judge, MAX_WAIT};
pub use share::{InvalidCount, MAX_COUNT, Share};
pub use time::Timestamp;
pub use vocabulary::{Comparison, Metric, Signal, Verdict};
