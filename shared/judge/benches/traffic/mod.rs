//! Seeded traffic of a healthy deployment, the same on every run.

use snapback_judge::Verdict;
use snapback_judge::detector::{
    BucketRecord, Counts, DetectorSettings, Latencies, LatencyShape, Reading, Side, State, TrafficSchedule, Witnesses,
};
use snapback_judge::{InvalidCount, Share};
use std::error::Error;

/// How far back the history reaches.
const HISTORY_S: f64 = 3600.0;

/// All witnesses speak: most is to be done.
const WITNESSES: Witnesses = Witnesses { front: true, peer: true, probe: true, pair: false };

/// Latencies that are spread evenly around their octiles.
const SHAPE: LatencyShape = LatencyShape { above: [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125], slope: 0.5 };

/// A deployment: what comes at each poll, from its history on.
pub struct Deployment {
    pub schedule: TrafficSchedule,
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
        let mut tail = |one_in| {
            let above = self.some(requests, one_in);
            [Some(above), Some(above * 9 / 10), Some(above * 8 / 10), Some(above / 2)]
        };
        let (q90, q99) = (tail(10), tail(100));
        // All octiles move together, by a percent or so.
        let more = self.some(requests, 50);
        let octile = |eighths: u64| (requests * eighths / 8 + more).saturating_sub(requests / 50);
        let latencies = Some(Latencies::new(requests, [7, 6, 5, 4, 3, 2, 1].map(octile), q90, q99)?);
        let (e5, tx, e4) = (self.some(requests, 500), self.some(requests, 500), self.some(requests, 50));
        Ok(Counts { requests, e5: share(e5, requests)?, tx: share(tx, requests)?, e4: share(e4, requests)?, latencies })
    }
}

impl Deployment {
    /// 10 % for five minutes, then all; 20 minutes in buckets of `bucket_s`, polled every 10 s, records half a minute late.
    pub fn healthy(seed: u64, bucket_s: u32) -> Result<Self, Box<dyn Error>> {
        let mut random = Seeded(seed);
        let length = i64::from(bucket_s);
        let requests = u64::from(bucket_s) * 100;
        let record = |side, slot, counts| BucketRecord::of_version(side, slot * length, counts);
        let witnesses = |slot| {
            let calls = Share { bad: 0, all: u64::from(bucket_s) };
            let peers = Share { bad: requests / 1000, all: requests };
            let readings = [
                Reading::Front(requests),
                Reading::Peer(peers),
                Reading::Probe(Side::Baseline, calls),
                Reading::Probe(Side::Canary, calls),
            ];
            readings.map(|reading| BucketRecord { start_s: slot * length, reading })
        };
        let mut history = Vec::new();
        for slot in -3600 / length..0 {
            history.push(record(Side::Baseline, slot, random.counts(requests)?));
            history.extend(witnesses(slot));
        }
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
                new.extend(witnesses(slot));
            }
            polls.push((f64::from(i32::try_from(now).unwrap_or(0)), new));
        }
        let schedule = TrafficSchedule::new(bucket_s, vec![(0.0, 0.1), (300.0, 1.0)], 1200.0, 120.0)?;
        Ok(Self { schedule, history, polls })
    }

    pub fn begin(&self, settings: &DetectorSettings) -> State {
        State::begin(settings, &self.schedule, WITNESSES, HISTORY_S, &self.history, Some(&SHAPE))
    }

    /// Judges every poll; a healthy deployment passes.
    pub fn judge(&self, settings: &DetectorSettings) -> Verdict {
        let mut state = self.begin(settings);
        for (now_s, new) in &self.polls {
            (state, _) = State::step(settings, &self.schedule, state, new, *now_s);
        }
        State::finish(settings, &state).verdict
    }
}
