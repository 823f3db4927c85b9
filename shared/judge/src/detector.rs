//! Is the new version worse than the old one? A pure function of counts, asked again at every poll.
//!
//! Each signal ([`Metric`](crate::Metric)) is turned into "so many bad events among so many". The canary's count is compared with
//! the baseline's of the same bucket, or with the baseline's past, and the comparison is a bet: its capital stays small while
//! nothing changed, whatever the number of polls, and grows exponentially when the new version is worse. Each metric keeps it
//! against two hypotheses, "nothing changed" and "inside the declared margin", and for two onsets, with the shift and later.
//! A rollback needs a capital of 1/α against the first, none that speaks for the second, and an onset at the shift: only then it
//! is the version's. What cannot be laid to the version is told ([`Note`]). Missing requests count only when a witness
//! says that they were sent.
//!
//! Sources, named again beside each formula:
//! * testing by betting, e-processes: G. Shafer, "Testing by betting" (2021); A. Ramdas, P. Grünwald, V. Vovk, G. Shafer,
//!   "Game-theoretic statistics and safe anytime-valid inference" (2023);
//! * the bound on false rollbacks: J. Ville, "Étude critique de la notion de collectif" (1939);
//! * a mixture over the time at which the fault began: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors" (2022);
//! * the alternative against the best of the null: L. Wasserman, A. Ramdas, S. Balakrishnan, "Universal inference" (2020);
//! * likelihood ratios to a power below 1: P. Grünwald, "The safe Bayesian" (2012);
//! * following a level: R. E. Kalman, "A new approach to linear filtering and prediction problems" (1960).

mod body;
mod bucket;
mod counts;
mod histogram;
mod judgement;
mod live;
mod method;
mod mixture;
mod note;
mod poll;
mod rates;
mod reference;
mod sentences;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod traffic_schedule;
mod used;
mod witness;

pub use body::LatencyReference;
pub use bucket::Seen;
pub use counts::{BucketRecord, Counts, Latencies, MAX_PEERS, Reading, SHIFTS, Side, Tail, Witnesses};
pub use histogram::{Edges, Histogram, InvalidEdges, LatencyShape, SLOPE_EDGES, Thresholds};
pub(crate) use histogram::{OCTILES, TAILS, WITHOUT_HISTORY_MS};
pub use judgement::{Judgement, MetricEvidence, Said};
pub use live::latency_shifts;
pub use method::{INFORMATION_NEEDED, SEEN_RATIO};
pub use mixture::Mix;
pub(crate) use mixture::{log_add, log_sum};
pub use note::Note;
pub use reference::{RateReference, References, TrafficReference};
pub use sentences::headline;
pub use settings::{DetectorSettings, DetectorValues, InvalidSetting, Margin};
pub use state::{
    BodyState, Capital, HALF_SEEN_MAX, HalfSeen, InvalidState, ProbeState, RateState, State, Tally, TrafficState,
};
pub use traffic_schedule::{InvalidSchedule, MAX_END_S, MAX_STEPS, TrafficSchedule};
pub use used::{RUNS_MAX, UsedBuckets};
pub use witness::Others;
