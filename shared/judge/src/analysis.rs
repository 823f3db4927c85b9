//! One deployment's numbers under watch: what to ask and when, what its answers mean, and what the detector says.
//!
//! [`Analysis`] is plain data that is stored with the deployment, so that a watcher that crashed goes on where it was.
//! [`Analysis::query`] names what to read now, [`Analysis::answer`] takes the answers; the caller repeats both until there is no
//! query. Buckets are aligned to the epoch; second 0 is the start of the bucket in which traffic
//! began to shift.

mod counts;
mod detection;
mod judged_poll;
mod pairs;
mod query;
mod spec;
#[cfg(test)]
mod tests;

pub use judged_poll::{Beginning, Begun, JudgedPoll};
pub use pairs::{NewPairs, PairSpec, Pairs};
pub use query::{AnalysisError, MetricQuery};
pub use spec::{AnalysisSpec, Witnesses, bucket_end, bucket_start};

use crate::detector::{BucketRecord, Counts, Edges, Judgement, MAX_PEERS, Note, Side, State, Thresholds};
use crate::result::AnalysisResult;
use crate::series::SourceId;
use crate::slo::Burn;
use crate::time::Timestamp;
use std::time::Duration;

/// The latest that is known of one version in one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recent {
    /// Which version.
    pub side: Side,
    /// Start of the bucket in seconds.
    pub start_s: i64,
    /// Requests at the last reading: two readings that agree make a bucket final.
    pub seen_requests: Option<u64>,
    /// What was given to the detector (as far as its source has shown it); `None`: not yet.
    pub given: Option<Counts>,
}

/// Sources that had no data in the history, although there were requests: a wrong name looks like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// [`SourceId::Errors`].
    pub requests: bool,
    /// [`SourceId::Transactions`].
    pub transactions: bool,
    /// [`SourceId::Front`].
    pub front: bool,
    /// Each [`SourceId::Peer`].
    pub peers: [bool; MAX_PEERS],
}

/// Growth of buckets after they were final; it is added to the next bucket that is given to the detector.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LateGrowth {
    /// Of the old version.
    pub baseline: Option<Counts>,
    /// Of the new version.
    pub canary: Option<Counts>,
}

/// Everything that is kept of the numbers of one deployment. Bounded in size.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Second 0.
    pub origin: Timestamp,
    /// Latency thresholds: which of the edges of its source.
    pub thresholds: Option<Thresholds>,
    /// Judges the signals that may roll back; `None`: no history yet, or no such signal.
    pub enforcing: Option<State>,
    /// Judges the signals that may only tell.
    pub advisory: Option<State>,
    /// Whether the history was read.
    pub has_history: bool,
    /// What the history had no data of.
    pub is_missing: Missing,
    /// Whether the history had numbers of Snapback's own, so that a minute without any cannot be read.
    pub has_pipeline: bool,
    /// Whether the new version's own series has had a point.
    pub has_canary_series: bool,
    /// Buckets that may still grow, oldest first.
    pub recent: Vec<Recent>,
    /// Growth that no bucket has taken yet.
    pub late: LateGrowth,
    /// Burn rates of the objective.
    pub burn: Burn,
    /// Number of the bucket after which the last full poll was made, counted from the origin.
    pub polled: i64,
    /// The same for the count poll before it.
    pub counted: i64,
    /// Since when the evidence counts: a shared incident ended here.
    pub anew_from: Option<Timestamp>,
    /// Whether an analysis that could not be read stood here before.
    pub is_restarted: bool,
    /// The pairs of probes; `None`: none was sent.
    pub pairs: Option<Pairs>,
}

/// What came of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The analysis as it is now.
    pub analysis: Analysis,
    /// What the detectors say, after a full poll.
    pub result: Option<AnalysisResult>,
    /// What they were given in it and what they said, to be kept.
    pub judged: Option<JudgedPoll>,
}

impl Analysis {
    /// Nothing is known yet of the numbers of this deployment.
    #[must_use]
    pub fn new(spec: &AnalysisSpec) -> Self {
        Self::empty(spec.origin)
    }

    fn empty(origin: Timestamp) -> Self {
        Self {
            origin,
            thresholds: None,
            enforcing: None,
            advisory: None,
            has_history: false,
            is_missing: Missing::default(),
            has_pipeline: false,
            has_canary_series: false,
            recent: Vec::new(),
            late: LateGrowth::default(),
            burn: Burn::default(),
            polled: 0,
            counted: 0,
            anew_from: None,
            is_restarted: false,
            pairs: None,
        }
    }

    /// As [`Analysis::new`], in the place of one that another version of Snapback stored and that cannot be read: everything since
    /// the start of the shift is read and judged anew, and the results say so.
    #[must_use]
    pub fn restarted(spec: &AnalysisSpec) -> Self {
        Self { is_restarted: true, ..Self::new(spec) }
    }

    /// The evidence begins anew after a shared incident that ended at `over_at`: what both versions had is not held
    /// against the new one. Answers whether it does so now: what it did before is not done twice.
    pub fn begin_anew(&mut self, over_at: Timestamp) -> bool {
        if self.anew_from.is_some_and(|from| from >= over_at) {
            return false;
        }
        self.anew_from = Some(over_at);
        let over_s = seconds_between(self.origin, over_at);
        for state in [&mut self.enforcing, &mut self.advisory].into_iter().flatten() {
            state.forget_evidence();
            state.skip_before(over_s);
        }
        self.burn = Burn::default();
        self.late = LateGrowth::default();
        true
    }

    /// What was judged last, without a new reading: a watcher that takes over must not forget what is on record. `None`:
    /// nothing was judged yet.
    #[must_use]
    pub fn standing(&self, spec: &AnalysisSpec, now: Timestamp) -> Option<AnalysisResult> {
        if self.has_history {
            return Some(self.clone().judge(spec, &[], now));
        }
        // Pairs of probes may have decided before the first bucket was over.
        let result = self.with_pairs(spec.pairs.as_ref()?, AnalysisResult::nothing());
        (result.paired.is_some() || !result.notes.is_empty()).then_some(result)
    }

    /// Takes records into the detectors and says what they say.
    fn judge(&mut self, spec: &AnalysisSpec, records: &[BucketRecord], now: Timestamp) -> AnalysisResult {
        let schedule = spec.schedule(now);
        let now_s = seconds_between(self.origin, now);
        let say = |state: &mut Option<State>, is_enforcing: bool| -> Option<Judgement> {
            let settings = spec.settings(is_enforcing)?;
            let (next, judgement) = State::step(settings, &schedule, state.take()?, records, now_s);
            *state = Some(next);
            Some(judgement)
        };
        let verdict = say(&mut self.enforcing, true);
        let advice = say(&mut self.advisory, false);
        let is_conclusive = |state: &Option<State>, is_enforcing: bool| match (state, spec.settings(is_enforcing)) {
            (Some(state), Some(settings)) => Some(detection::is_conclusive(settings, state)),
            (None, Some(_)) | (Some(_), None) => Some(false),
            (None, None) => None,
        };
        let is_conclusive = is_conclusive(&self.enforcing, true)
            .or_else(|| is_conclusive(&self.advisory, false))
            // An objective says nothing of a version that nobody used.
            .unwrap_or_else(|| self.burn.has_seen_canary());
        let result = AnalysisResult {
            paired: None,
            verdict: verdict.as_ref().and_then(|judgement| detection::of(self.origin, judgement)),
            advice: advice.as_ref().and_then(|judgement| detection::of(self.origin, judgement)),
            burning: detection::burning(spec, &self.burn, now),
            notes: verdict
                .map(|judgement| judgement.notes)
                .unwrap_or_default()
                .into_iter()
                .chain(self.no_peers())
                .collect(),
            until: self.judged_until(spec, now),
            is_conclusive,
            missing: self.missing(),
            is_restarted: self.is_restarted,
            unreadable: None,
        };
        match &spec.pairs {
            Some(pairs) => self.with_pairs(pairs, result),
            None => result,
        }
    }

    /// Sources without data; of peers there is a note, because nobody may have called them.
    fn missing(&self) -> Vec<SourceId> {
        let errors = self.is_missing.requests.then_some(SourceId::Errors);
        let transactions = self.is_missing.transactions.then_some(SourceId::Transactions);
        let front = self.is_missing.front.then_some(SourceId::Front);
        errors.into_iter().chain(transactions).chain(front).collect()
    }

    /// What is said of the others.
    fn no_peers(&self) -> impl Iterator<Item = Note> {
        (0_u8..).zip(self.is_missing.peers).filter_map(|(index, is_missing)| is_missing.then_some(Note::NoPeer(index)))
    }

    /// Whether the stored detectors are such as this spec's settings make.
    #[must_use]
    pub fn is_sound(&self, spec: &AnalysisSpec) -> bool {
        let is_sound = |state: &Option<State>, is_enforcing: bool| match (state, spec.settings(is_enforcing)) {
            (Some(state), Some(_)) => state.check().is_ok(),
            (None, Some(_)) => !self.has_history,
            (None, None) => true,
            (Some(_), None) => false,
        };
        let are_pairs = self.pairs.as_ref().is_none_or(|pairs| pairs.state.check().is_ok());
        let edges = spec.edges().map_or(0, Edges::count);
        let are_edges = self.thresholds.iter().flat_map(Thresholds::all).all(|edge| usize::from(edge) < edges);
        let are_states = is_sound(&self.enforcing, true) && is_sound(&self.advisory, false);
        self.origin == spec.origin && are_edges && are_pairs && are_states
    }

    /// Everything that starts before this was judged, or was waited for long enough.
    fn judged_until(&self, spec: &AnalysisSpec, now: Timestamp) -> Timestamp {
        let now_s = seconds_between(self.origin, now);
        let states = [(&self.enforcing, true), (&self.advisory, false)].into_iter();
        // One that has its verdict judges no more.
        let judging = states.filter_map(|(state, is_enforcing)| {
            let state = state.as_ref().filter(|state| state.rolled_back.is_none())?;
            Some(state.used_until_s(spec.settings(is_enforcing)?, now_s))
        });
        let used = judging.min();
        let until_s = used.unwrap_or_else(|| {
            // Only an objective is judged, or nothing any more: what was given.
            let newest = self.recent.iter().filter(|recent| recent.given.is_some()).map(|recent| recent.start_s).max();
            newest.map_or(0, |start_s| start_s + spec.bucket_s())
        });
        self.origin + Duration::from_secs(u64::try_from(until_s).unwrap_or(0))
    }
}

/// Seconds from `origin` to `at`, negative before it.
#[expect(clippy::cast_precision_loss, reason = "times of one deployment are far below 2^53 ms")]
pub(crate) fn seconds_between(origin: Timestamp, at: Timestamp) -> f64 {
    at.ms().saturating_sub(origin.ms()) as f64 / 1000.0
}
