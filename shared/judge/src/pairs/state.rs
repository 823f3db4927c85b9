//! What is remembered of the pairs of one deployment between two polls.

use super::evidence;
use super::judgement::{PairAdvice, PairJudgement};
use super::watch::ScoredWindow;
use crate::share::Share;
use std::time::Duration;

/// Most bursts in a deployment, so that 600 calls a version are the most that they cost at the usual size of 10.
pub const MAX_BURSTS: u32 = 60;
/// So many of the latest bursts of an episode are kept for people to read.
pub const LAST_BURSTS: usize = 3;
/// The baseline is quiet while its failures are at most this share of its answers (both decayed) …
const QUIET_SHARE: f64 = 0.1;
/// … plus so many: one failure of long ago may not veto.
const QUIET_FAILURES: f64 = 0.6;
/// An episode of fewer failures, bad seconds or seconds from the first to the last proves nothing. With the other constants
/// these are never what is missing; they hold should others be changed.
const FAILURES_MIN: u32 = 6;
const BAD_SECONDS_MIN: u32 = 3;
const BAD_SPAN_MIN_S: u32 = 3;

/// Everything that is remembered: plain data of constant size, to be stored between two polls.
#[derive(Debug, Clone, PartialEq)]
pub struct PairState {
    /// Answers of the baseline that were not `ok`, each a tenth less with every second since.
    pub baseline_bad: f64,
    /// All answers of the baseline that say something, decayed likewise.
    pub baseline_all: f64,
    /// Failures of the canary alone, decayed likewise.
    pub canary_alone: f64,
    /// First and last second of the present run of failures of the canary alone, none of which is more than 5 s after the one
    /// before it. No decision rests on it: it tells when harm began.
    pub failing_s: Option<(u32, u32)>,
    /// k: how many episodes were opened, and how many may have been ([`PairState::resumed`]).
    pub episodes: u32,
    /// The open episode, or else the latest one.
    pub episode: Option<Episode>,
    /// The last second that was used, since the start of the shift. Records of it and before are ignored.
    pub last_second: Option<u32>,
    /// Bursts that were sent, at most [`MAX_BURSTS`].
    pub bursts: u32,
    /// When the last burst was sent, in seconds since the start of the shift.
    pub last_burst_s: Option<u32>,
    /// Whether enough pairs come.
    pub window: ScoredWindow,
    /// The poll that decided to roll back. Nothing is used afterwards.
    pub rolled_back_s: Option<u32>,
}

/// A suspicion, from the second failure of the canary alone on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// Whether pairs are scored; 20 s without a failure of the canary alone close it.
    pub is_open: bool,
    /// The second that opened it; as all times, since the start of the shift.
    pub opened_s: u32,
    /// The first failure of the canary alone that led to it, a few seconds before. No decision rests on it.
    pub began_s: u32,
    /// The last second in which the canary failed alone.
    pub last_failed_s: u32,
    /// The last second with a scored pair of a burst. Later than 3 s after it pairs pay nothing until the next burst.
    pub burst_seen_s: Option<u32>,
    /// Failures of the canary alone.
    pub failures: u32,
    /// Seconds with such failures.
    pub bad_seconds: u32,
    /// Bursts that were sent in it.
    pub bursts: u32,
    /// S: log of the capital on each stake, with what episodes before won and lost.
    pub log_capital: [f64; 3],
    /// R: log-likelihood ratios of "several environments fail" to "one does".
    pub several: [f64; 3],
    /// What people read; no decision rests on it.
    pub totals: EpisodeTotals,
}

/// The pairs of an episode, the second that opened it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpisodeTotals {
    /// The baseline's bad answers among the scored pairs.
    pub baseline: Share,
    /// The canary's failures among the same pairs.
    pub canary: Share,
    /// Bursts that said something.
    pub bursts: u32,
    /// The canary's failures in the latest of these, newest last; where there are fewer, the first ones are empty.
    pub last_bursts: [Share; LAST_BURSTS],
    /// In at least so many environments calls of one burst failed; `None`: not known.
    pub environments: Option<u32>,
}

impl EpisodeTotals {
    pub(super) const NOTHING: Self = Self {
        baseline: Share::NOTHING,
        canary: Share::NOTHING,
        bursts: 0,
        last_bursts: [Share::NOTHING; LAST_BURSTS],
        environments: None,
    };
}

/// A stored state that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state of the pairs: {what}")]
pub struct InvalidPairState {
    /// What is wrong.
    pub what: &'static str,
}

impl PairState {
    /// Before the first pair of a deployment.
    #[must_use]
    pub const fn begin() -> Self {
        Self {
            baseline_bad: 0.0,
            baseline_all: 0.0,
            canary_alone: 0.0,
            failing_s: None,
            episodes: 0,
            episode: None,
            last_second: None,
            bursts: 0,
            last_burst_s: None,
            window: ScoredWindow::begin(),
            rolled_back_s: None,
        }
    }

    /// A start after the state was lost; `episodes` is the number that was stored last.
    ///
    /// One more may have been opened since. Were they not counted, each would stake the whole capital again, and the bound on
    /// false rollbacks would be gone.
    #[must_use]
    pub const fn resumed(episodes: u32) -> Self {
        Self { episodes: episodes.saturating_add(1), ..Self::begin() }
    }

    /// Goes on with a state that another process stored last.
    ///
    /// An open episode was stored at its last poll, so it goes on as it was. Of any other state only what is spent counts
    /// ([`PairState::resumed`]): episodes, and bursts.
    #[must_use]
    pub fn taken_over(self) -> Self {
        if self.is_suspicious() {
            return self;
        }
        let Self { bursts, last_burst_s, last_second, .. } = self;
        Self { bursts, last_burst_s, last_second, ..Self::resumed(self.episodes) }
    }

    /// Whether an episode is open: then the state is to be stored at every poll, and once more when it is closed.
    #[must_use]
    pub const fn is_suspicious(&self) -> bool {
        matches!(self.episode, Some(Episode { is_open: true, .. }))
    }

    /// Time to the next poll: 1 s while an episode is open, else 2 s.
    #[must_use]
    pub const fn tick(&self) -> Duration {
        Duration::from_secs(if self.is_suspicious() { 1 } else { 2 })
    }

    /// Whether the baseline fails so rarely that failures of the canary are its own.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.baseline_bad <= QUIET_SHARE * self.baseline_all + QUIET_FAILURES
    }

    /// Checks a state that comes from a store, before it is used.
    ///
    /// # Errors
    /// When it has a number that is not finite, a negative sum, times in the wrong order, or parts that do not fit each other.
    pub fn check(&self) -> Result<(), InvalidPairState> {
        let is_amount = |value: f64| value.is_finite() && value >= 0.0;
        let sums = [self.baseline_bad, self.baseline_all, self.canary_alone];
        let rules = [
            (sums.into_iter().all(is_amount), "a sum is no amount"),
            (self.baseline_bad <= self.baseline_all, "the baseline failed more often than it was called"),
            (self.bursts <= MAX_BURSTS, "too many bursts"),
            (self.bursts == 0 || self.last_burst_s.is_some(), "a burst was sent at no time"),
            (self.failing_s.is_none_or(|(first, last)| first <= last), "a run of failures ended before it began"),
            (self.episode.is_none() || self.episodes > 0, "an episode is not counted"),
            (self.rolled_back_s.is_none() || self.is_suspicious(), "rolled back without an open episode"),
            (
                self.episode.is_none_or(|episode| episode.bursts <= self.bursts),
                "an episode has more bursts than there are",
            ),
            (
                self.episode.is_none_or(|episode| Some(episode.last_failed_s) <= self.last_second),
                "an episode lies after the last second",
            ),
        ];
        for (is_right, what) in rules {
            if !is_right {
                return Err(InvalidPairState { what });
            }
        }
        self.episode.as_ref().map_or(Ok(()), Episode::check)
    }

    /// Whether everything that a rollback needs is there.
    pub(super) fn is_proven(&self) -> bool {
        self.episode.is_some_and(|episode| {
            episode.is_open
                && evidence::log_e(episode.log_capital) >= evidence::enough()
                && evidence::sure(episode.several) >= evidence::SURE
                && self.is_quiet()
                && episode.failures >= FAILURES_MIN
                && episode.bad_seconds >= BAD_SECONDS_MIN
                && episode.last_failed_s.saturating_sub(episode.opened_s) >= BAD_SPAN_MIN_S
        })
    }

    pub(super) fn judgement(&self, sends_burst: Option<u32>) -> PairJudgement {
        PairJudgement {
            log_e: self.episode.map(|episode| evidence::log_e(episode.log_capital)),
            sure: self.episode.map(|episode| evidence::sure(episode.several)),
            rolls_back: self.rolled_back_s.is_some(),
            sends_burst,
            advice: self.advice(),
        }
    }

    /// After a rollback there is nothing to advise.
    fn advice(&self) -> Vec<PairAdvice> {
        if self.rolled_back_s.is_some() {
            return Vec::new();
        }
        let open = self.episode.filter(|episode| episode.is_open);
        let only_one = open.is_some_and(|episode| {
            evidence::log_e(episode.log_capital) >= evidence::enough()
                && evidence::sure(episode.several) < evidence::SURE
        });
        let all = [
            (only_one, PairAdvice::OneEnvironment),
            (open.is_some() && !self.is_quiet(), PairAdvice::OthersFail),
            (self.window.was_blind, PairAdvice::Blind),
        ];
        all.into_iter().filter_map(|(applies, advice)| applies.then_some(advice)).collect()
    }
}

impl Episode {
    fn check(&self) -> Result<(), InvalidPairState> {
        let totals = &self.totals;
        let is_share = |share: &Share| share.bad <= share.all;
        let mut shares = totals.last_bursts.iter().chain([&totals.baseline, &totals.canary]);
        let rules = [
            (self.log_capital.iter().chain(&self.several).all(|value| value.is_finite()), "the evidence is no number"),
            (self.began_s <= self.opened_s, "an episode was opened before it began"),
            (self.opened_s <= self.last_failed_s, "an episode failed before it was opened"),
            (self.burst_seen_s.is_none_or(|seen_s| self.opened_s < seen_s), "a burst was seen before its episode"),
            ((1..=self.failures).contains(&self.bad_seconds), "more bad seconds than failures"),
            (shares.all(is_share), "more failures than pairs"),
        ];
        for (is_right, what) in rules {
            if !is_right {
                return Err(InvalidPairState { what });
            }
        }
        Ok(())
    }
}
