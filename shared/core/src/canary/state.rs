//! What is remembered of one deployment between two polls.

use super::counts::{Counts, Side};
use super::reference::{RateReference, TrafficReference};
use super::settings::Settings;
use crate::words::Metric;

/// Everything that the detector remembers: plain data of constant size, to be stored between two polls.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Length of a bucket in seconds; that of the course at the start.
    pub bucket_s: u32,
    /// Every bucket below this one (start in seconds / `bucket_s`) is used.
    pub used_below: i64,
    /// Used buckets from there on, ascending. At most [`State::half_seen_max`].
    pub used_beyond: Vec<i64>,
    /// Buckets of which one record came and the other may still come, ascending. At most [`State::half_seen_max`].
    pub half_seen: Vec<HalfSeen>,
    /// The rate metrics, in the order e5, tx, q50, q90, q99, e4.
    pub rates: [RateState; 6],
    /// The traffic metric.
    pub traffic: TrafficState,
    /// Log-evidence that a much worse error rate would have given; a pass needs enough of it.
    pub information: f64,
    /// The metric that the rollback was decided for. Sticky.
    pub rolled_back: Option<Metric>,
}

/// A bucket of which one record came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HalfSeen {
    /// Start in seconds / `bucket_s`.
    pub slot: i64,
    /// The poll at which the first record came, in seconds since the start of the shift; not before the bucket.
    pub came_s: f64,
    /// What the baseline did, without what its formulas do not read.
    pub baseline: Option<Counts>,
    /// What the canary did, likewise.
    pub canary: Option<Counts>,
}

/// One rate metric.
#[derive(Debug, Clone, PartialEq)]
pub struct RateState {
    /// What the baseline usually does.
    pub reference: RateReference,
    /// What speaks against the canary.
    pub evidence: Evidence,
}

/// The traffic metric.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficState {
    /// What usually comes.
    pub reference: TrafficReference,
    /// What speaks against the canary.
    pub evidence: Evidence,
}

/// Bad events among all, over the buckets that were judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// Bad events.
    pub bad: u64,
    /// All events.
    pub all: u64,
}

impl Total {
    pub(super) fn add(&mut self, bad: u64, all: u64) {
        self.bad = self.bad.saturating_add(bad);
        self.all = self.all.saturating_add(all);
    }
}

/// What speaks against the canary in one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// S: log of the capital on each ratio of the settings, in their order; `None` before the first bucket.
    pub log_capital: Option<Vec<f64>>,
    /// The baseline's events in the buckets that were compared side by side.
    pub baseline: Total,
    /// The canary's events in all buckets that were compared.
    pub canary: Total,
    /// Of these, the events in buckets that were compared with the baseline's past.
    pub alone: Total,
    /// Log-evidence from comparisons with the baseline at the same time.
    pub concurrent: f64,
    /// Log-evidence from comparisons with the baseline's past.
    pub before_after: f64,
    /// Log-evidence of the present run of bad buckets, at least 0. Source: CUSUM, Page 1954.
    pub run: f64,
    /// Start of that run in seconds since the start of the shift; `None` when there is none.
    pub first_bad_s: Option<i64>,
}

impl Evidence {
    pub(super) const fn none() -> Self {
        Self {
            log_capital: None,
            baseline: Total { bad: 0, all: 0 },
            canary: Total { bad: 0, all: 0 },
            alone: Total { bad: 0, all: 0 },
            concurrent: 0.0,
            before_after: 0.0,
            run: 0.0,
            first_bad_s: None,
        }
    }
}

/// A stored state that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("detector state: {what}")]
pub struct InvalidState {
    /// What is wrong.
    pub what: &'static str,
}

impl State {
    /// Most buckets that are half seen, or used out of order: what can be in flight within grace and dark.
    #[must_use]
    pub fn half_seen_max(settings: &Settings, bucket_s: u32) -> usize {
        let buckets = ((settings.grace_s + settings.dark_s) / f64::from(bucket_s.max(1))).ceil();
        (0..MAX_IN_FLIGHT).take_while(|count| f64::from(*count) < buckets).count() + 2
    }

    /// Evidence starts anew, for example after an incident that hit both versions: capital, run, totals, information and a
    /// verdict of rollback are gone. The reference and the marks of used buckets stay.
    pub fn forget_evidence(&mut self) {
        for rate in &mut self.rates {
            rate.evidence = Evidence::none();
        }
        self.traffic.evidence = Evidence::none();
        self.information = 0.0;
        self.rolled_back = None;
    }

    /// Checks a state that comes from a store, before it is used.
    ///
    /// # Errors
    /// When it has a number that is not finite, a negative sum, a list that is too long or out of order, or capital that
    /// does not fit the settings.
    pub fn check(&self, settings: &Settings) -> Result<(), InvalidState> {
        let most = Self::half_seen_max(settings, self.bucket_s);
        let slots: Vec<i64> = self.half_seen.iter().map(|half| half.slot).collect();
        let ascending = |slots: &[i64]| slots.is_sorted_by(|a, b| a < b);
        let is_from = |slots: &[i64]| slots.first().is_none_or(|first| *first >= self.used_below);
        let came = self.half_seen.iter().all(|half| half.came_s.is_finite());
        let rules = [
            (self.bucket_s > 0, "a bucket has no length"),
            (self.used_below >= 0, "a used bucket lies before the shift"),
            (self.used_beyond.len() <= most && slots.len() <= most, "a list of buckets is too long"),
            (ascending(&self.used_beyond) && ascending(&slots), "a list of buckets is out of order"),
            (is_from(&self.used_beyond) && is_from(&slots), "a bucket is used twice"),
            (came, "a record came at no time"),
            (is_amount(self.information), "the information is no amount"),
            (self.rates.iter().all(|rate| rate.reference.is_sound()), "a reference is no rate"),
            (self.traffic.reference.is_sound(), "the traffic's reference is no amount"),
        ];
        for (is_right, what) in rules {
            if !is_right {
                return Err(InvalidState { what });
            }
        }
        let rates = self.rates.iter().map(|rate| &rate.evidence).zip(settings.rate_wagers.iter().map(Vec::len));
        for (evidence, ratios) in rates.chain([(&self.traffic.evidence, settings.traffic_wagers.len())]) {
            evidence.check(ratios)?;
        }
        Ok(())
    }

    /// Whether a bucket was used.
    pub(super) fn is_used(&self, slot: i64) -> bool {
        slot < self.used_below || self.used_beyond.binary_search(&slot).is_ok()
    }

    /// Marks a bucket as used. Buckets are used in ascending order within a poll, so the list stays short.
    pub(super) fn mark_used(&mut self, slot: i64) {
        if let Err(at) = self.used_beyond.binary_search(&slot) {
            self.used_beyond.insert(at, slot);
        }
        let run = self.used_beyond.iter().zip(self.used_below..).take_while(|(used, next)| *used == next).count();
        self.used_beyond.drain(..run);
        self.used_below = self.used_below.saturating_add_unsigned(u64::try_from(run).unwrap_or(0));
    }

    /// Takes in a record of a bucket that was not used. Of two different records of one bucket and side the greater counts.
    pub(super) fn take_in(&mut self, slot: i64, side: Side, counts: Counts, came_s: f64) {
        let counts = Some(counts.trimmed(side));
        let at = match self.half_seen.binary_search_by_key(&slot, |half| half.slot) {
            Ok(at) => at,
            Err(at) => {
                self.half_seen.insert(at, HalfSeen { slot, came_s, baseline: None, canary: None });
                at
            }
        };
        if let Some(half) = self.half_seen.get_mut(at) {
            match side {
                Side::Baseline => half.baseline = half.baseline.max(counts),
                Side::Canary => half.canary = half.canary.max(counts),
            }
        }
    }
}

/// Most buckets in flight at any settings: grace and dark are at most 300 s, a bucket at least 1 s.
const MAX_IN_FLIGHT: u32 = 600;

fn is_amount(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

impl RateReference {
    fn is_sound(&self) -> bool {
        let amounts = [self.bad_long, self.all_long, self.bad_short, self.all_short, self.peak];
        amounts.into_iter().all(is_amount) && self.dispersion.is_finite() && self.dispersion > 0.0
    }
}

impl TrafficReference {
    fn is_sound(&self) -> bool {
        is_amount(self.level) && self.lost_chance > 0.0 && self.lost_chance <= 1.0
    }
}

impl Evidence {
    fn check(&self, ratios: usize) -> Result<(), InvalidState> {
        let capital = self.log_capital.as_ref();
        if capital.is_some_and(|capital| capital.len() != ratios) {
            return Err(InvalidState { what: "the capital does not fit the settings" });
        }
        let sums = [self.concurrent, self.before_after, self.run];
        if !capital.into_iter().flatten().chain(&sums).all(|value| value.is_finite()) {
            return Err(InvalidState { what: "the evidence is no number" });
        }
        Ok(())
    }
}
