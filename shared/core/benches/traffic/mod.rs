//! Seeded traffic of a healthy deployment, the same on every run.

use snapback_core::canary::{BucketRecord, Counts, Course, InvalidCount, Settings, Share, Side, Slow, State, Verdict};
use std::error::Error;

/// How far back the history reaches.
const HISTORY_S: f64 = 3600.0;

/// A deployment: what comes at each poll, from its history on.
pub struct Deployment {
    pub course: Course,
    pub history: Vec<BucketRecord>,
    pub polls: Vec<(f64, Vec<BucketRecord>)>,
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Seeded(u64);

impl Seeded {
    /// About one in `one_in` of `all`, within a fifth.
    fn some(&mut self, all: u64, one_in: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        all * (80 + (z >> 32) % 41) / (100 * one_in)
    }

    fn counts(&mut self, requests: u64) -> Result<Counts, InvalidCount> {
        let share = |bad, all| Share::new(bad, all).map(Some);
        let mut slow = |one_in| {
            let above = self.some(requests, one_in);
            Slow::new(requests, [Some(above), Some(above * 9 / 10), Some(above * 8 / 10), Some(above / 2)]).map(Some)
        };
        let slow = [slow(2)?, slow(10)?, slow(100)?];
        let (e5, tx, e4) = (self.some(requests, 500), self.some(requests, 500), self.some(requests, 50));
        Ok(Counts { requests, e5: share(e5, requests)?, tx: share(tx, requests)?, e4: share(e4, requests)?, slow })
    }
}

impl Deployment {
    /// 10 % for five minutes, then all; 20 minutes in buckets of `bucket_s`, polled every 10 s, records half a minute late.
    pub fn healthy(seed: u64, bucket_s: u32) -> Result<Self, Box<dyn Error>> {
        let mut random = Seeded(seed);
        let length = i64::from(bucket_s);
        let requests = u64::from(bucket_s) * 100;
        let record = |side, slot, counts| BucketRecord { side, start_s: slot * length, counts };
        let slots = 3600 / length;
        let history = (-slots..0).map(|slot| Ok(record(Side::Baseline, slot, random.counts(requests)?)));
        let history = history.collect::<Result<_, InvalidCount>>()?;
        let mut polls = Vec::new();
        for now in (0..=1320_i64).step_by(10) {
            let mut new = Vec::new();
            let start = now - length - 30;
            if start >= 0 && start % length == 0 && start < 1200 {
                let slot = start / length;
                let (old, young) = if start < 300 { (requests * 9 / 10, requests / 10) } else { (0, requests) };
                if old > 0 {
                    new.push(record(Side::Baseline, slot, random.counts(old)?));
                }
                new.push(record(Side::Canary, slot, random.counts(young)?));
            }
            polls.push((f64::from(i32::try_from(now).unwrap_or(0)), new));
        }
        let course = Course::new(bucket_s, vec![(0.0, 0.1), (300.0, 1.0)], 1200.0, 120.0)?;
        Ok(Self { course, history, polls })
    }

    pub fn begin(&self, settings: &Settings) -> State {
        State::begin(settings, &self.course, HISTORY_S, &self.history)
    }

    /// Judges every poll; a healthy deployment passes.
    pub fn judge(&self, settings: &Settings) -> Verdict {
        let mut state = self.begin(settings);
        for (now_s, new) in &self.polls {
            (state, _) = State::step(settings, &self.course, state, new, *now_s);
        }
        State::finish(settings, &state).verdict
    }
}
