//! One poll: seconds in ascending order, then the decision.

use super::evidence;
use super::judgement::PairJudgement;
use super::record::{PairRecord, Second};
use super::state::{Episode, EpisodeTotals, MAX_BURSTS, PairState};
use crate::share::Share;

/// What is left of a decayed sum after one second.
const DECAY: f64 = 0.9;
/// So many failures of the canary alone, decayed, are a suspicion: two within 5 s.
const SUSPICION: f64 = 1.6;
/// An episode is closed so long after its last failure of the canary alone.
const CLOSED_AFTER_S: u32 = 20;
/// Failures of the canary alone belong together while none is later than this after the one before it.
const RUN_GAP_S: u32 = 5;
/// Pairs pay only so long after an episode was opened: the failures that opened it prove nothing, and an incident may reach the
/// two versions 2 s apart.
const PAYS_AFTER_S: u32 = 2;
/// … and only from here on after the start of the shift: a new version may warm up.
const WARM_FROM_S: u32 = 10;
/// … and only so long after a burst, if there was one: between bursts one broken environment could collect every pair.
const PAYS_AFTER_BURST_S: u32 = 3;
/// Seconds between two bursts of an episode: the first ten, and the others.
const BURST_EVERY_S: (u32, u32) = (2, 10);
const QUICK_BURSTS: u32 = 10;

impl PairState {
    /// One poll.
    ///
    /// * `burst_size`: pairs that a burst would have; 0: none may be sent now. Without any burst no rollback is ever decided.
    /// * `records`: what became known since the last poll, in any order, but whole seconds: all pairs of a second come at one
    ///   poll, once that second is over. Those of seconds that were used before are ignored, as are those of a second that is
    ///   not reached.
    /// * `now_s`: whole seconds since the start of the shift.
    ///
    /// A poll in which no call said anything (silence, or only `unknown`) never decides to roll back.
    #[must_use]
    pub fn step(mut self, burst_size: u32, records: &[PairRecord], now_s: u32) -> (Self, PairJudgement) {
        let mut sends_burst = None;
        if self.rolled_back_s.is_none() {
            let is_answered = self.use_records(records, now_s);
            if is_answered && self.is_proven() {
                self.rolled_back_s = Some(now_s);
            } else if burst_size > 0 {
                sends_burst = self.begin_burst(now_s);
            }
        }
        let judgement = self.judgement(sends_burst);
        (self, judgement)
    }

    /// Uses what is new; whether any call said anything.
    fn use_records(&mut self, records: &[PairRecord], now_s: u32) -> bool {
        let is_new = |pair: &&PairRecord| Some(pair.second) > self.last_second && pair.second <= now_s;
        let mut records: Vec<PairRecord> = records.iter().filter(is_new).copied().collect();
        records.sort_by_key(|pair| pair.second);
        let mut is_answered = false;
        for pairs in records.chunk_by(|one, next| one.second == next.second) {
            if let Some(PairRecord { second, .. }) = pairs.first() {
                let what = Second::of(pairs);
                is_answered |= what.is_answered;
                self.use_second(*second, &what);
            }
        }
        self.window.settle(now_s);
        is_answered
    }

    fn use_second(&mut self, second_s: u32, second: &Second) {
        let passed_s = self.last_second.map_or(0, |last| second_s.saturating_sub(last));
        let decay = DECAY.powf(f64::from(passed_s));
        self.last_second = Some(second_s);
        self.baseline_all = self.baseline_all * decay + f64::from(second.baseline_all);
        self.baseline_bad = self.baseline_bad * decay + f64::from(second.baseline_bad);
        self.canary_alone = self.canary_alone * decay + f64::from(second.counts.canary_alone);
        self.window.add(second_s, second.counts.scored());
        if let Some(episode) = &mut self.episode {
            episode.is_open &= second_s <= episode.last_failed_s.saturating_add(CLOSED_AFTER_S);
            if episode.is_open {
                episode.pay(second_s, second);
            }
        }
        if second.counts.canary_alone == 0 {
            return;
        }
        let run = self.failing_s.filter(|(_, last_s)| second_s <= last_s.saturating_add(RUN_GAP_S));
        self.failing_s = Some((run.map_or(second_s, |(first_s, _)| first_s), second_s));
        if !self.is_suspicious() && self.canary_alone >= SUSPICION {
            self.open_episode(second_s, second);
        }
        if let Some(episode) = self.episode.as_mut().filter(|episode| episode.is_open) {
            episode.last_failed_s = second_s;
            episode.failures = episode.failures.saturating_add(second.counts.canary_alone);
            episode.bad_seconds = episode.bad_seconds.saturating_add(1);
        }
    }

    fn open_episode(&mut self, second_s: u32, second: &Second) {
        self.episodes = self.episodes.saturating_add(1);
        let log_capital = evidence::staked(self.episode.map(|episode| episode.log_capital), self.episodes);
        let mut totals = EpisodeTotals::NOTHING;
        totals.add(second);
        self.episode = Some(Episode {
            is_open: true,
            opened_s: second_s,
            began_s: self.failing_s.map_or(second_s, |(first_s, _)| first_s.min(second_s)),
            last_failed_s: second_s,
            burst_seen_s: None,
            failures: 0,
            bad_seconds: 0,
            bursts: 0,
            log_capital,
            several: [0.0; 3],
            totals,
        });
    }

    /// Number of the burst that is due at `now_s`, if one is.
    fn begin_burst(&mut self, now_s: u32) -> Option<u32> {
        let is_quiet = self.is_quiet();
        let episode = self.episode.as_mut().filter(|episode| episode.is_open)?;
        let (quick, slow) = BURST_EVERY_S;
        let every_s = if episode.bursts < QUICK_BURSTS { quick } else { slow };
        let is_due = now_s >= episode.pays_from_s()
            && self.canary_alone >= SUSPICION
            && is_quiet
            && self.bursts < MAX_BURSTS
            && self.last_burst_s.is_none_or(|last_s| now_s >= last_s.saturating_add(every_s));
        is_due.then(|| {
            episode.bursts = episode.bursts.saturating_add(1);
            self.bursts = self.bursts.saturating_add(1);
            self.last_burst_s = Some(now_s);
            self.bursts
        })
    }
}

impl Episode {
    fn pays_from_s(&self) -> u32 {
        self.opened_s.saturating_add(PAYS_AFTER_S).max(WARM_FROM_S)
    }

    /// A second of an open episode: what it pays on each stake, and what its bursts say of a second environment.
    fn pay(&mut self, second_s: u32, second: &Second) {
        self.totals.add(second);
        if !second.bursts.is_empty() {
            self.burst_seen_s = Some(second_s);
        }
        let is_fresh = self.burst_seen_s.is_none_or(|seen_s| second_s <= seen_s.saturating_add(PAYS_AFTER_BURST_S));
        if second_s < self.pays_from_s() || !is_fresh {
            return;
        }
        add(&mut self.log_capital, evidence::payoffs(&second.counts));
        for said in second.bursts.values().filter_map(evidence::spread) {
            add(&mut self.several, said);
        }
    }
}

impl EpisodeTotals {
    fn add(&mut self, second: &Second) {
        let all = u64::from(second.counts.scored());
        self.canary = self.canary.plus(Share { bad: second.counts.canary_failed().into(), all });
        self.baseline = self.baseline.plus(Share { bad: second.counts.baseline_failed().into(), all });
        for burst in second.bursts.values() {
            self.bursts = self.bursts.saturating_add(1);
            self.last_bursts.rotate_left(1);
            let [.., last] = &mut self.last_bursts;
            *last = Share { bad: burst.counts.canary_failed().into(), all: burst.counts.scored().into() };
            self.environments = self.environments.max(burst.environments);
        }
    }
}

fn add(sums: &mut [f64; 3], values: [f64; 3]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}
