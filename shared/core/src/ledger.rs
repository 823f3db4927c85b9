//! One deployment's numbers under watch: what to ask CloudWatch and when, what its answers mean, and what the detector says.
//!
//! [`Ledger`] is plain data that is stored with the deployment, so that a watcher that crashed goes on where it was.
//! [`Ledger::question`] names what to read now, [`Ledger::answer`] takes the answers; the caller repeats both until there is no
//! question. Buckets are aligned to the epoch, as CloudWatch's are; second 0 is the start of the bucket in which traffic
//! began to shift.

mod counts;
mod finding;
mod question;
mod subject;
#[cfg(test)]
mod tests;

pub use question::{Answer, Points, Question, Window};
pub use subject::{Subject, floor as bucket_start};

use crate::canary::{BucketRecord, Counts, Judgement, Side, State};
use crate::judged::Judged;
use crate::measure::Source;
use crate::sla::Burn;
use crate::time::Timestamp;
use crate::words::Signal;
use std::time::Duration;

/// The latest that is known of one version in one bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recent {
    /// Which version.
    pub side: Side,
    /// Start of the bucket in seconds.
    pub start_s: i64,
    /// Requests at the last reading: two readings that agree let a bucket come.
    pub seen_requests: Option<u64>,
    /// What was given to the detector (as far as CloudWatch has shown it); `None`: not yet.
    pub given: Option<Counts>,
}

/// Metrics of the policy that had no data in the history, although there were requests: a wrong name looks like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// The metric that counts requests for the signal errors.
    pub requests: bool,
    /// The metric that counts transactions.
    pub transactions: bool,
}

/// Growth of buckets that were used before it came; it is added to the next bucket that is given.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Late {
    /// Of the old version.
    pub baseline: Option<Counts>,
    /// Of the new version.
    pub canary: Option<Counts>,
}

/// Everything that is kept of the numbers of one deployment. Bounded in size.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// Second 0.
    pub origin: Timestamp,
    /// Latency thresholds: 2^(k/8) ms for q50, q90 and q99.
    pub thresholds: Option<[u8; 3]>,
    /// Judges the signals that may roll back; `None`: no history yet, or no such signal.
    pub detector: Option<State>,
    /// Judges the signals that may only tell.
    pub adviser: Option<State>,
    /// Whether the history was read.
    pub has_history: bool,
    /// What the history had no data of.
    pub is_missing: Missing,
    /// Buckets that may still grow, oldest first.
    pub recent: Vec<Recent>,
    /// Growth that no bucket has taken yet.
    pub late: Late,
    /// Burn rates of the objective.
    pub burn: Burn,
    /// Number of the bucket after which everything was read last, counted from the origin.
    pub looked: i64,
    /// The same for the short look before it.
    pub glanced: i64,
    /// Since when the evidence counts: a shared incident ended here.
    pub anew_from: Option<Timestamp>,
}

/// One judged bucket of one signal, for explaining and back-testing.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesPoint {
    /// Signal.
    pub signal: Signal,
    /// Start of its bucket.
    pub start: Timestamp,
    /// Which version.
    pub side: Side,
    /// Whether it adds to what was said of this bucket before: it grew after it was used.
    pub is_growth: bool,
    /// What it did.
    pub counts: Counts,
}

/// What came of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The ledger as it is now.
    pub ledger: Ledger,
    /// What the detectors say, after a look at everything.
    pub judged: Option<Judged>,
    /// Judged buckets that are to be kept.
    pub series: Vec<SeriesPoint>,
}

impl Ledger {
    /// Nothing is known yet of the numbers of this deployment.
    #[must_use]
    pub fn new(subject: &Subject) -> Self {
        Self {
            origin: subject.origin,
            thresholds: None,
            detector: None,
            adviser: None,
            has_history: false,
            is_missing: Missing::default(),
            recent: Vec::new(),
            late: Late::default(),
            burn: Burn::default(),
            looked: 0,
            glanced: 0,
            anew_from: None,
        }
    }

    /// The evidence begins anew after a shared incident that ended at `over_at`: what both versions suffered is not held
    /// against the new one. Answers whether it does so now: what it did before is not done twice.
    pub fn begin_anew(&mut self, over_at: Timestamp) -> bool {
        if self.anew_from.is_some_and(|from| from >= over_at) {
            return false;
        }
        self.anew_from = Some(over_at);
        let over_s = seconds_between(self.origin, over_at);
        for state in [&mut self.detector, &mut self.adviser].into_iter().flatten() {
            state.forget_evidence();
            state.skip_before(over_s);
        }
        self.burn = Burn::default();
        self.late = Late::default();
        true
    }

    /// What was judged last, without a new reading: a watcher that takes over must not forget what is on record. `None`:
    /// nothing was judged yet.
    #[must_use]
    pub fn standing(&self, subject: &Subject, now: Timestamp) -> Option<Judged> {
        self.has_history.then(|| self.clone().judge(subject, &[], now))
    }

    /// Takes records into the detectors and says what they say.
    fn judge(&mut self, subject: &Subject, records: &[BucketRecord], now: Timestamp) -> Judged {
        let course = subject.course(now);
        let now_s = seconds_between(self.origin, now);
        let say = |state: &mut Option<State>, decides: bool| -> Option<Judgement> {
            let settings = subject.settings(decides)?;
            let before = state.take()?;
            let usual_errors = before.rates.first().map(|errors| errors.reference);
            let (mut next, judgement) = State::step(settings, &course, before, records, now_s);
            // An API counts more errors than Lambda does by version: what was usual stays what the API showed before.
            if let (false, Some(errors), Some(usual)) =
                (subject.errors_are_by_version(), next.rates.first_mut(), usual_errors)
            {
                errors.reference = usual;
            }
            *state = Some(next);
            Some(judgement)
        };
        let verdict = say(&mut self.detector, true);
        let advice = say(&mut self.adviser, false);
        let is_conclusive = |state: &Option<State>, decides: bool| match (state, subject.settings(decides)) {
            (Some(state), Some(settings)) => Some(finding::is_conclusive(settings, state)),
            (None, Some(_)) | (Some(_), None) => Some(false),
            (None, None) => None,
        };
        let is_conclusive = is_conclusive(&self.detector, true)
            .or_else(|| is_conclusive(&self.adviser, false))
            // An objective says nothing of a version that nobody used.
            .unwrap_or_else(|| self.burn.has_seen_canary());
        Judged {
            verdict: verdict.as_ref().and_then(|judgement| finding::of(subject, self.origin, judgement)),
            advice: advice.as_ref().and_then(|judgement| finding::of(subject, self.origin, judgement)),
            burning: finding::burning(subject, &self.burn, now),
            until: self.judged_until(subject),
            is_conclusive,
            missing: self.missing(subject),
            unreadable: None,
        }
    }

    /// Metrics without data, for people.
    fn missing(&self, subject: &Subject) -> Vec<String> {
        let name = |source: Option<&Source>| match source {
            Some(Source::Custom { namespace, all, .. }) => format!("{namespace} {all}"),
            Some(Source::Api(api)) => format!("{api:?}"),
            None => "AWS/Lambda".to_owned(),
        };
        let errors = self.is_missing.requests.then(|| {
            let name = name(subject.errors.as_ref().and_then(Option::as_ref));
            format!("metric {name} has no data, so its errors are not seen: see the policy's signals.errors.metric")
        });
        let transactions = self.is_missing.transactions.then(|| {
            let name = name(subject.transactions.as_ref());
            format!("metric {name} has no data, so transactions are not judged: see the policy's signals.transactions.metric")
        });
        errors.into_iter().chain(transactions).collect()
    }

    /// Whether the stored detectors are such as this subject's settings make.
    #[must_use]
    pub fn is_sound(&self, subject: &Subject) -> bool {
        let is_sound = |state: &Option<State>, decides: bool| match (state, subject.settings(decides)) {
            (Some(state), Some(settings)) => state.check(settings).is_ok(),
            (None, Some(_)) => !self.has_history,
            (None, None) => true,
            (Some(_), None) => false,
        };
        self.origin == subject.origin && is_sound(&self.detector, true) && is_sound(&self.adviser, false)
    }

    /// Everything that starts before this was judged, or came too late for it.
    fn judged_until(&self, subject: &Subject) -> Timestamp {
        // One that has its verdict judges no more.
        let judging = [&self.detector, &self.adviser].into_iter().flatten().filter(|state| state.rolled_back.is_none());
        let used = judging.map(State::used_until_s).min();
        let until_s = used.unwrap_or_else(|| {
            // Only an objective is judged, or nothing any more: what was given.
            let newest = self.recent.iter().filter(|recent| recent.given.is_some()).map(|recent| recent.start_s).max();
            newest.map_or(0, |start_s| start_s + subject.bucket_s())
        });
        self.origin + Duration::from_secs(u64::try_from(until_s).unwrap_or(0))
    }
}

/// Seconds from `origin` to `at`, negative before it.
#[expect(clippy::cast_precision_loss, reason = "times of one deployment are far below 2^53 ms")]
pub(crate) fn seconds_between(origin: Timestamp, at: Timestamp) -> f64 {
    at.ms().saturating_sub(origin.ms()) as f64 / 1000.0
}
