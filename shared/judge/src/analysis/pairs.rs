//! The pairs of one deployment, beside its buckets: what is kept of them, and what they say.

use super::{Analysis, AnalysisSpec, seconds_between};
use crate::detector::{BucketRecord, Note};
use crate::pairs::{
    FIRST_CALLS, FastPathFacts, FastPathOff, PairClock, PairJudgement, PairRecord, PairState, PairSums, ProbeOutcome,
    burst_size,
};
use crate::result::{AnalysisResult, Detection};
use crate::share::Share;
use crate::time::Timestamp;
use crate::vocabulary::Signal;
use std::time::Duration;

/// What is known beforehand of the pairs of one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairSpec {
    /// Second 0: when traffic began to shift.
    pub began: Timestamp,
    /// Time from one pair to the next: a second. Less is for rehearsals, whose seconds are shorter.
    pub every: Duration,
    /// Pairs that a burst has by the policy; 0: the pairs only advise.
    pub burst: u32,
    /// Whether a rollback may follow; if not, no burst is sent.
    pub may_roll_back: bool,
}

impl PairSpec {
    /// The whole second of the pairs in which `at` is; 0 before the start of the shift.
    #[must_use]
    pub fn second(&self, at: Timestamp) -> u32 {
        let every_ms = self.every.as_millis().max(1);
        u32::try_from(at.since(self.began).as_millis() / every_ms).unwrap_or(u32::MAX)
    }

    /// When a second of the pairs begins.
    #[must_use]
    pub fn at(&self, second: u32) -> Timestamp {
        self.began + self.every.saturating_mul(second)
    }

    /// A span in seconds of the pairs.
    #[must_use]
    pub fn seconds(&self, seconds: u32) -> Duration {
        self.every.saturating_mul(seconds)
    }
}

/// What is kept of the pairs of one deployment. Bounded in size.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// What judges them.
    pub state: PairState,
    /// What they add up to in buckets that are not over.
    pub sums: PairSums,
    /// How the baseline answered its first calls: failed and late ones of those that say something, at most 60.
    pub first_calls: Share,
    /// Why no pair is sent any more in this deployment.
    pub off: Option<FastPathOff>,
    /// What they saw and may not roll back, in order of first appearance.
    pub notes: Vec<Note>,
}

/// What became known of the pairs since the last step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NewPairs<'a> {
    /// All pairs of the seconds that are whole now.
    pub records: &'a [PairRecord],
    /// The second in which a call was throttled last.
    pub throttled_s: Option<u32>,
    /// Median duration of the function's calls, where these pairs have shown it.
    pub median: Option<Duration>,
    /// Concurrent executions that are reserved for the function; `None`: none are, or nobody can tell.
    pub reserved_concurrency: Option<u32>,
}

impl Pairs {
    /// Before the first pair of a deployment.
    #[must_use]
    pub fn begin() -> Self {
        Self::with(PairState::begin())
    }

    /// After what was known was lost: as if an episode had been open.
    #[must_use]
    pub fn lost() -> Self {
        Self::with(PairState::resumed(0))
    }

    fn with(state: PairState) -> Self {
        Self { state, sums: PairSums::default(), first_calls: Share::NOTHING, off: None, notes: Vec::new() }
    }

    /// Goes on with what another process stored last.
    #[must_use]
    pub fn taken_over(self) -> Self {
        Self { state: self.state.taken_over(), ..self }
    }

    /// Whether pairs are to be sent: nothing switches them off, and they have not decided.
    #[must_use]
    pub const fn are_sent(&self) -> bool {
        self.off.is_none() && self.state.rolled_back_s.is_none()
    }

    /// Takes whole seconds in. An open episode, and one that was just closed, is to be stored ([`PairState::is_suspicious`]).
    fn step(&mut self, spec: &PairSpec, clock: &PairClock, new: &NewPairs<'_>, now: Timestamp) -> PairJudgement {
        self.sums.add(clock, new.records);
        for pair in new.records.iter().filter(|pair| pair.baseline != ProbeOutcome::Unknown) {
            if self.first_calls.all < u64::from(FIRST_CALLS) {
                let bad = u64::from(pair.baseline != ProbeOutcome::Ok);
                self.first_calls = self.first_calls.plus(Share { bad, all: 1 });
            }
        }
        self.switch_off(spec, new);
        let now_s = spec.second(now);
        let wanted = if spec.may_roll_back && self.off.is_none() { spec.burst } else { 0 };
        let size = burst_size(wanted, new.reserved_concurrency, new.throttled_s, now_s);
        let state = std::mem::replace(&mut self.state, PairState::begin());
        let (state, judgement) = PairState::step(state, size, new.records, now_s);
        self.state = state;
        judgement.advice.iter().for_each(|advice| self.note(Note::Pair(*advice)));
        judgement
    }

    /// Finds out whether pairs may go on. What was known before the first one is in the spec.
    fn switch_off(&mut self, spec: &PairSpec, new: &NewPairs<'_>) {
        let facts = FastPathFacts {
            is_repeatable: true,
            invokes: true,
            may_roll_back: true,
            median: new.median,
            reserved_concurrency: new.reserved_concurrency,
            first_calls: self.first_calls,
        };
        if let (None, Some(reason)) = (self.off, facts.off()) {
            self.off = Some(reason);
            self.note(Note::PairsOff(reason));
        }
        // They advise all the same.
        if spec.burst > 0 && !spec.may_roll_back {
            self.note(Note::PairsOff(FastPathOff::Advisory));
        }
    }

    fn note(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// What they say against the canary, once they have decided.
    fn detection(&self, spec: &PairSpec) -> Option<Detection> {
        let episode = self.state.episode.filter(|_| self.state.rolled_back_s.is_some())?;
        Some(Detection {
            signal: Signal::Errors,
            why: self.state.sentence()?,
            impact_started_at: Some(spec.at(episode.began_s)),
            is_sufficient: true,
            is_concurrent: true,
        })
    }
}

impl Analysis {
    /// Takes whole seconds of pairs in and judges them; `None`: there are no pairs, or they are off.
    pub fn step_pairs(
        &mut self,
        spec: &PairSpec,
        bucket: Duration,
        new: &NewPairs<'_>,
        now: Timestamp,
    ) -> Option<PairJudgement> {
        let clock = PairClock {
            begins_s: seconds_between(self.origin, spec.began),
            every: spec.every,
            bucket_s: u32::try_from(bucket.as_secs()).unwrap_or(60).max(1),
        };
        let pairs = self.pairs.as_mut().filter(|pairs| pairs.are_sent())?;
        Some(pairs.step(spec, &clock, new, now))
    }

    /// `result` with what the pairs say beside it.
    #[must_use]
    pub fn with_pairs(&self, spec: &PairSpec, mut result: AnalysisResult) -> AnalysisResult {
        let Some(pairs) = &self.pairs else { return result };
        result.paired = pairs.detection(spec);
        let new = pairs.notes.iter().filter(|note| !result.notes.contains(note));
        let new: Vec<Note> = new.copied().collect();
        result.notes.extend(new);
        result
    }

    /// Median duration of the function's calls before the shift, as far as the history shows it.
    #[must_use]
    pub fn median(&self, spec: &AnalysisSpec) -> Option<Duration> {
        let [_, _, _, median, ..] = self.thresholds?.body;
        let ms = spec.edges()?.ms(usize::from(median))?;
        Duration::try_from_secs_f64(ms / 1000.0).ok()
    }

    /// What the base pairs of the buckets that are over add up to.
    pub(super) fn take_pairs(&mut self, spec: &AnalysisSpec, now: Timestamp) -> Vec<BucketRecord> {
        let bucket_s = u32::try_from(spec.bucket_s()).unwrap_or(60);
        let now_s = seconds_between(self.origin, now);
        self.pairs.as_mut().map(|pairs| pairs.sums.take_over(bucket_s, now_s)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::{Reading, Side};
    use crate::pairs::{BurstMark, PairAdvice};
    use ProbeOutcome::{Fail, Ok, Unknown};

    const ORIGIN: Timestamp = Timestamp::from_ms(1_795_169_700_000);

    fn spec(burst: u32) -> PairSpec {
        PairSpec { began: ORIGIN + Duration::from_secs(20), every: Duration::from_secs(1), burst, may_roll_back: true }
    }

    /// One pair a second, a step a second later; a burst of ten at once when one is asked for.
    fn play(
        analysis: &mut Analysis,
        spec: &PairSpec,
        seconds: u32,
        answer: impl Fn(u32) -> (ProbeOutcome, ProbeOutcome),
    ) -> Option<u32> {
        let mut burst = None;
        for second in 0..seconds {
            let (baseline, canary) = answer(second);
            let mut records = vec![PairRecord { second, baseline, canary, burst: None }];
            if let Some(number) = burst.take() {
                let burst = Some(BurstMark { number, environments: Some(5) });
                records.extend([PairRecord { second, baseline, canary, burst }; 10]);
            }
            let new = NewPairs { records: &records, throttled_s: None, median: None, reserved_concurrency: None };
            let judgement = analysis.step_pairs(spec, Duration::from_secs(60), &new, spec.at(second + 1))?;
            if judgement.rolls_back {
                return Some(second);
            }
            burst = judgement.sends_burst;
        }
        None
    }

    fn analysis() -> Analysis {
        Analysis { pairs: Some(Pairs::begin()), ..Analysis::empty(ORIGIN) }
    }

    #[test]
    fn a_total_fault_becomes_a_detection() {
        let (mut analysis, spec) = (analysis(), spec(10));
        let healthy = analysis.with_pairs(&spec, AnalysisResult::nothing());
        assert_eq!(healthy.paired, None);
        let decided = play(&mut analysis, &spec, 40, |second| (Ok, if second < 15 { Ok } else { Fail }));
        assert!(decided.is_some_and(|second| second < 25), "{decided:?}");
        let result = analysis.with_pairs(&spec, AnalysisResult::nothing());
        let detection = result.paired.unwrap();
        assert_eq!(detection.impact_started_at, Some(ORIGIN + Duration::from_secs(35)), "{detection:?}");
        assert!(detection.why.starts_with("new version failed ") && detection.why.contains(" old 0"), "{detection:?}");
        let new = NewPairs { records: &[], throttled_s: None, median: None, reserved_concurrency: None };
        assert_eq!(analysis.step_pairs(&spec, Duration::from_secs(60), &new, ORIGIN), None, "it has decided");
    }

    #[test]
    fn what_switches_the_pairs_off_is_noted() {
        let fails = |_| (Fail, Ok);
        let (mut failing, spec) = (analysis(), spec(10));
        play(&mut failing, &spec, 60, fails);
        let pairs = failing.pairs.as_ref().unwrap();
        assert_eq!((pairs.off, pairs.first_calls.all), (Some(FastPathOff::BaselineFails), 7));
        let notes = failing.with_pairs(&spec, AnalysisResult::nothing()).notes;
        assert!(notes.contains(&Note::PairsOff(FastPathOff::BaselineFails)), "{notes:?}");

        let mut slow = analysis();
        let new = NewPairs {
            records: &[],
            throttled_s: None,
            median: Some(Duration::from_millis(1001)),
            reserved_concurrency: None,
        };
        slow.step_pairs(&spec, Duration::from_secs(60), &new, spec.at(1));
        assert_eq!(slow.pairs.unwrap().off, Some(FastPathOff::SlowFunction));

        for (reserved, off) in [(39, Some(FastPathOff::LowConcurrency)), (40, None)] {
            let mut analysis = analysis();
            let new = NewPairs { records: &[], throttled_s: None, median: None, reserved_concurrency: Some(reserved) };
            analysis.step_pairs(&spec, Duration::from_secs(60), &new, spec.at(1));
            assert_eq!(analysis.pairs.unwrap().off, off, "{reserved} reserved");
        }
    }

    #[test]
    fn without_permission_pairs_only_advise() {
        let spec = PairSpec { may_roll_back: false, ..spec(10) };
        let mut analysis = analysis();
        assert_eq!(play(&mut analysis, &spec, 100, |_| (Ok, Fail)), None);
        let notes = analysis.with_pairs(&spec, AnalysisResult::nothing()).notes;
        assert_eq!(notes, [Note::PairsOff(FastPathOff::Advisory), Note::Pair(PairAdvice::OneEnvironment)]);
    }

    #[test]
    fn a_throttled_call_holds_bursts_back() {
        let (mut analysis, spec) = (analysis(), spec(10));
        for second in 0..60 {
            let records = [PairRecord { second, baseline: Ok, canary: Fail, burst: None }];
            let new = NewPairs { records: &records, throttled_s: Some(0), median: None, reserved_concurrency: None };
            let judgement = analysis.step_pairs(&spec, Duration::from_secs(60), &new, spec.at(second)).unwrap();
            assert_eq!(judgement.sends_burst, None, "{second}");
        }
    }

    #[test]
    fn buckets_of_pairs_are_given_when_they_are_over() {
        let (mut analysis, spec) = (analysis(), spec(0));
        play(&mut analysis, &spec, 45, |second| if second < 40 { (Ok, Ok) } else { (Unknown, Fail) });
        let sums = &mut analysis.pairs.as_mut().unwrap().sums;
        let records = sums.take_over(60, 63.0);
        let shares: Vec<(Side, Share)> = records
            .iter()
            .map(|record| match record.reading {
                Reading::Probe(side, share) => (side, share),
                Reading::Version(..) | Reading::Front(_) | Reading::Peer(_) => panic!("{record:?}"),
            })
            .collect();
        // The shift began 20 s after the bucket.
        assert_eq!(shares, [(Side::Baseline, Share { bad: 0, all: 40 }), (Side::Canary, Share { bad: 0, all: 40 })]);
    }

    #[test]
    fn another_process_goes_on() {
        // (case, answers of the canary from second 15 on until the process died, what k is then)
        let table = [("quiet", 15..15, 1), ("an open episode", 15..19, 1)];
        for (case, failing, k) in table {
            let (mut before, spec) = (analysis(), spec(10));
            play(&mut before, &spec, 19, |second| (Ok, if failing.contains(&second) { Fail } else { Ok }));
            let was_open = before.pairs.as_ref().unwrap().state.is_suspicious();
            let after = before.pairs.clone().unwrap().taken_over();
            assert_eq!(after.state.episodes, k, "{case}");
            assert_eq!(after.state.is_suspicious(), was_open, "{case}");
            assert_eq!(after.state.check(), Result::Ok(()), "{case}");
        }
        assert_eq!(Pairs::lost().state.episodes, 1, "never as if nothing had been");
    }
}
