//! Is the new version worse than the old one? A pure function of counts, asked again at every poll.
//!
//! Each signal ([`Metric`]) is turned into "so many bad events among so many". The canary's count is compared with the
//! baseline's of the same bucket, or with the baseline's past, and the comparison is a bet: its capital stays small while the
//! canary is within the tolerated margin, whatever the number of looks, and grows exponentially when it is not. Capital of
//! 1/α is a rollback.
//!
//! Sources, named again beside each formula:
//! * testing by betting, e-processes: G. Shafer, "Testing by betting" (2021); A. Ramdas, P. Grünwald, V. Vovk, G. Shafer,
//!   "Game-theoretic statistics and safe anytime-valid inference" (2023);
//! * the bound on false rollbacks: J. Ville, "Étude critique de la notion de collectif" (1939);
//! * a mixture over the time at which the fault began: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors" (2022);
//! * likelihood ratios to a power below 1: P. Grünwald, "The safe Bayesian" (2012).
//!
//! ```
//! use snapback_core::canary::{BucketRecord, Counts, Course, Settings, Share, Side, State, Verdict};
//!
//! let settings = Settings::default_method();
//! let course = Course::new(60, vec![(0.0, 0.1), (300.0, 1.0)], 1200.0, 120.0)?;
//! let counts = |requests, failed| -> Result<Counts, snapback_core::canary::InvalidCount> {
//!     Ok(Counts { e5: Some(Share::new(failed, requests)?), ..Counts::of_requests(requests) })
//! };
//! let history: Vec<BucketRecord> = (-60..0)
//!     .map(|slot| Ok(BucketRecord { side: Side::Baseline, start_s: slot * 60, counts: counts(6000, 6)? }))
//!     .collect::<Result<_, snapback_core::canary::InvalidCount>>()?;
//! let state = State::begin(&settings, &course, 3600.0, &history);
//! let minute = [
//!     BucketRecord { side: Side::Baseline, start_s: 0, counts: counts(5400, 5)? },
//!     BucketRecord { side: Side::Canary, start_s: 0, counts: counts(600, 240)? },
//! ];
//! let (_, judgement) = State::step(&settings, &course, state, &minute, 90.0);
//! assert_eq!(judgement.verdict, Verdict::Rollback);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bucket;
mod counts;
mod course;
mod detector;
mod evidence;
mod histogram;
mod judgement;
mod live;
mod mixture;
mod reference;
mod sentences;
mod settings;
mod state;
#[cfg(test)]
mod tests;

pub use crate::words::{Comparison, Metric, Verdict};
pub use counts::{BucketRecord, Counts, InvalidCount, MAX_COUNT, SHIFTS, Share, Side, Slow};
pub use course::{Course, InvalidCourse, MAX_END_S, MAX_STEPS};
pub use histogram::{Edges, Histogram, InvalidEdges, Thresholds};
pub use judgement::{Judgement, MetricEvidence};
pub use live::latency_shift;
pub use reference::{RateReference, TrafficReference};
pub use sentences::headline;
pub use settings::{InvalidSetting, Margin, RateValues, Ratio, Settings, TrafficValues, Values};
pub use state::{Evidence, HalfSeen, InvalidState, RateState, State, Total, TrafficState};
