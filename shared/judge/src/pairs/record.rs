//! What came of one pair of calls.

use crate::vocabulary;
use std::collections::BTreeMap;

vocabulary!(
    /// What one call of a probe says about the version that it called.
    ProbeOutcome, "probe outcome", {
        /// Answered as expected, in time.
        Ok => "ok",
        /// Failed, and it is the version that failed.
        Fail => "fail",
        /// Too late to tell. Of the baseline this counts against a rollback, of the canary for nothing.
        Slow => "slow",
        /// Says nothing about the version: throttled, not permitted, an error of the service or of the connection.
        Unknown => "unknown",
    }
);

/// One pair of calls: the same probe, sent to both versions in the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairRecord {
    /// The whole second in which it was sent, since the start of the shift.
    pub second: u32,
    /// What the baseline did.
    pub baseline: ProbeOutcome,
    /// What the canary did.
    pub canary: ProbeOutcome,
    /// The burst that it is part of; `None`: the one pair that is sent in every second.
    pub burst: Option<BurstMark>,
}

/// Which burst a pair is part of, and what is known of that burst. The same on all its pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BurstMark {
    /// Number of the burst, as [`PairJudgement::sends_burst`](super::PairJudgement::sends_burst) gave it.
    pub number: u32,
    /// The failing calls of the canary were in at least so many environments ([`environments`](super::environments()));
    /// `None`: that is not known.
    pub environments: Option<u32>,
}

impl PairRecord {
    /// Whether it counts as a comparison: both calls say something.
    pub(super) fn is_scored(&self) -> bool {
        self.class().is_some()
    }

    /// What this pair says; `None`: it is not scored, because one of the two calls says nothing.
    pub(super) fn class(&self) -> Option<PairClass> {
        use ProbeOutcome::{Fail, Ok, Slow, Unknown};
        match (self.baseline, self.canary) {
            (Unknown, _) | (_, Unknown | Slow) => None,
            (Ok, Ok) => Some(PairClass::Good),
            (Ok, Fail) => Some(PairClass::CanaryAlone),
            (Fail | Slow, Ok) => Some(PairClass::BaselineAlone),
            (Fail | Slow, Fail) => Some(PairClass::Both),
        }
    }
}

/// The four things that a scored pair can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PairClass {
    Good,
    CanaryAlone,
    BaselineAlone,
    Both,
}

/// How many scored pairs said what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PairCounts {
    pub(super) good: u32,
    pub(super) canary_alone: u32,
    pub(super) baseline_alone: u32,
    pub(super) both: u32,
}

impl PairCounts {
    fn add(&mut self, class: PairClass) {
        let count = match class {
            PairClass::Good => &mut self.good,
            PairClass::CanaryAlone => &mut self.canary_alone,
            PairClass::BaselineAlone => &mut self.baseline_alone,
            PairClass::Both => &mut self.both,
        };
        *count = count.saturating_add(1);
    }

    pub(super) fn scored(&self) -> u32 {
        [self.good, self.canary_alone, self.baseline_alone, self.both].into_iter().fold(0, u32::saturating_add)
    }

    pub(super) fn canary_failed(&self) -> u32 {
        self.canary_alone.saturating_add(self.both)
    }

    pub(super) fn baseline_failed(&self) -> u32 {
        self.baseline_alone.saturating_add(self.both)
    }
}

/// One burst, as far as its pairs came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Burst {
    pub(super) counts: PairCounts,
    /// The largest number that was given.
    pub(super) environments: Option<u32>,
}

/// All pairs that were sent in one second.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Second {
    /// Answers of the baseline that say something, and those of them that are not `ok`.
    pub(super) baseline_all: u32,
    pub(super) baseline_bad: u32,
    /// Whether any of the calls says anything.
    pub(super) is_answered: bool,
    pub(super) counts: PairCounts,
    /// Bursts with at least one scored pair, by their numbers.
    pub(super) bursts: BTreeMap<u32, Burst>,
}

impl Second {
    /// Adds up the pairs of one second.
    ///
    /// A pair whose burst is said to have failed in more environments than the burst has pairs cannot be, and is no record.
    pub(super) fn of(pairs: &[PairRecord]) -> Self {
        let mut sizes: BTreeMap<u32, u32> = BTreeMap::new();
        for mark in pairs.iter().filter_map(|pair| pair.burst) {
            let size = sizes.entry(mark.number).or_default();
            *size = size.saturating_add(1);
        }
        let can_be =
            |pair: &&PairRecord| pair.burst.is_none_or(|mark| mark.environments <= sizes.get(&mark.number).copied());
        let mut second = Self::default();
        pairs.iter().filter(can_be).for_each(|pair| second.add(pair));
        second
    }

    fn add(&mut self, pair: &PairRecord) {
        self.is_answered |= pair.baseline != ProbeOutcome::Unknown || pair.canary != ProbeOutcome::Unknown;
        if pair.baseline != ProbeOutcome::Unknown {
            self.baseline_all = self.baseline_all.saturating_add(1);
            self.baseline_bad = self.baseline_bad.saturating_add(u32::from(pair.baseline != ProbeOutcome::Ok));
        }
        let Some(class) = pair.class() else { return };
        self.counts.add(class);
        if let Some(mark) = pair.burst {
            let burst = self.bursts.entry(mark.number).or_default();
            burst.counts.add(class);
            burst.environments = burst.environments.max(mark.environments);
        }
    }
}
