//! The fast path: Snapback calls both versions itself, in pairs, and asks after every second whether the new one fails alone.
//!
//! A *pair* is the same probe sent to the baseline and to the canary in the same moment, by version number, so both meet every
//! incident together. Two failures of the canary alone within seconds open an *episode*. From then on each pair is a bet
//! against "the canary fails at most twice as often as the baseline, plus 2 points", and *bursts* of simultaneous pairs answer
//! what pairs in a row cannot: whether more than one execution environment fails. A rollback needs three things: the bet is
//! won, more than one environment fails, and the baseline is quiet.
//!
//! [`PairState::step`] is pure: records in, a judgement out, a state of constant size in between. Around it stand what a call
//! means ([`CallResult`]), how many environments a burst has shown ([`environments`]), how large a burst may be
//! ([`burst_size`]), and when none of this may be done ([`FastPathOff`]).
//!
//! ```
//! use snapback_judge::pairs::{PairRecord, PairState, ProbeOutcome};
//!
//! let pair = |second, canary| PairRecord { second, baseline: ProbeOutcome::Ok, canary, burst: None };
//! let records = [pair(14, ProbeOutcome::Ok), pair(15, ProbeOutcome::Fail), pair(16, ProbeOutcome::Fail)];
//! let (state, judgement) = PairState::step(PairState::begin(), 10, &records, 17);
//! assert!(state.is_suspicious() && !judgement.rolls_back, "two failures are a suspicion, no proof");
//! let (_, judgement) = PairState::step(state, 10, &[pair(17, ProbeOutcome::Fail)], 18);
//! assert_eq!(judgement.sends_burst, Some(1), "many at once will tell");
//! ```
//!
//! # Why it may be asked every second
//!
//! * Each bet is an e-value: under the null its mean is at most 1, whatever the baseline's rate is in that second. Its payoffs
//!   are those of a reverse information projection (P. Grünwald, R. de Heide, W. Koolen, "Safe testing", 2024): the best
//!   growth that no distribution of the null can beat.
//! * Payoffs of following seconds multiply to an e-process; caps only take away, and gates look only at the past. By Ville's
//!   inequality (J. Ville, "Étude critique de la notion de collectif", 1939) its capital reaches 1/α with chance α at most,
//!   however often one looks. The k-th episode starts with 1/(k(k+1)) of the capital, and these sum to 1 over all k.
//! * More than one environment: a likelihood ratio with the worst environment forgiven (see [`PairJudgement::sure`]).
//!
//! Not covered: a fault of the canary alone, in several environments, for more than six seconds, that heals by itself. As far as
//! anyone can see that is a fault.

mod call;
mod environments;
mod evidence;
mod judgement;
mod off;
mod record;
mod sentences;
mod state;
mod step;
mod sums;
#[cfg(test)]
mod tests;
mod watch;

pub use call::{CALL_TIMEOUT, CallResult, LatencyRule};
pub use environments::{FailedCall, environments};
pub use evidence::{ALPHA, WEIGHT};
pub use judgement::{PairAdvice, PairJudgement};
pub use off::{FIRST_CALLS, FastPathFacts, FastPathOff, MIN_CONCURRENCY, SLOWEST_MEDIAN, burst_size};
pub use record::{BurstMark, PairRecord, ProbeOutcome};
pub use state::{Episode, EpisodeTotals, InvalidPairState, LAST_BURSTS, MAX_BURSTS, PairState};
pub use sums::{PairClock, PairSums};
pub use watch::ScoredWindow;
