//! When a bucket is used, what it all adds up to, and what must always hold, whatever the traffic.

mod always;
mod evidence;
mod readiness;
mod stored;

use super::*;
use crate::share::Share;
use crate::vocabulary::{Comparison, Metric, Verdict};

/// Whether two numbers are the same but for rounding: relative above 1, absolute below.
pub(super) fn close(found: f64, expected: f64, within: f64, case: &str) {
    assert!(
        (found - expected).abs() <= within * expected.abs().max(1.0),
        "{case}: {found}, expected {expected} within {within}"
    );
}

pub(super) fn closes(found: &[f64], expected: &[f64], within: f64, case: &str) {
    assert_eq!(found.len(), expected.len(), "{case}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        close(*found, *expected, within, &format!("{case}, number {index}"));
    }
}

/// Requests of which some failed; nothing else is measured.
pub(super) fn failed(bad: u64, all: u64) -> Counts {
    Counts { e5: Some(Share::new(bad, all).unwrap()), ..Counts::of_requests(all) }
}

/// What one version did in a minute.
pub(super) fn version(side: Side, slot: i64, counts: Counts) -> BucketRecord {
    BucketRecord::of_version(side, slot * 60, counts)
}

fn witness(slot: i64, reading: Reading) -> BucketRecord {
    BucketRecord { start_s: slot * 60, reading }
}

fn peers(slot: i64, bad: u64, all: u64) -> BucketRecord {
    witness(slot, Reading::Peer(Share { bad, all }))
}

fn probed(side: Side, slot: i64, bad: u64) -> BucketRecord {
    witness(slot, Reading::Probe(side, Share { bad, all: 60 }))
}

/// A tenth of the traffic for five minutes, then all; fifteen minutes of bake, two of drain.
fn schedule() -> TrafficSchedule {
    TrafficSchedule::new(60, vec![(0.0, 0.1), (300.0, 1.0)], 1200.0, 120.0).unwrap()
}

/// The first minute in which the new version has all traffic.
const FULL: i64 = 5;

/// How the latencies of [`everything`] are spread.
const SHAPE: LatencyShape = LatencyShape { above: [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125], slope: 1.0 };

/// Every signal: `bad` requests and transactions of `all`, and latencies as usual, but for their octiles, which so many more
/// per cent of the requests are above.
fn everything(bad: u64, all: u64, slower_percent: u64) -> Counts {
    let share = Share::new(bad, all).ok();
    let above = SHAPE.above.map(|share| share * bucket::number(all) + bucket::number(all * slower_percent) / 100.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of `all`")]
    let body = above.map(|above| (above as u64).min(all));
    let latencies = Latencies::new(all, body, [Some(all / 10); 4], [Some(all / 100); 4]).ok();
    Counts { requests: all, e5: share, tx: share, e4: share, latencies }
}

/// All witnesses, without pairs.
const ALL: Witnesses = Witnesses { front: true, peer: true, probe: true, pair: false };
const NONE: Witnesses = Witnesses { front: false, peer: false, probe: false, pair: false };

/// One deployment that is judged poll by poll.
struct Watched {
    settings: DetectorSettings,
    schedule: TrafficSchedule,
    state: State,
    last: Judgement,
}

impl Watched {
    /// An hour of history in which each minute was as `usual`, and so were the witnesses.
    fn new(witnesses: Witnesses, usual: Counts) -> Self {
        let settings = DetectorSettings::default_method();
        let past = (-60..0).flat_map(|slot| {
            let peers = peers(slot, 1, 1000);
            [version(Side::Baseline, slot, usual), witness(slot, Reading::Front(usual.requests)), peers]
        });
        let past: Vec<BucketRecord> = past.collect();
        let shape = usual.latencies.map(|_| SHAPE);
        let state = State::begin(&settings, &schedule(), witnesses, 3600.0, &past, shape.as_ref());
        let last = State::finish(&settings, &state);
        Self { settings, schedule: schedule(), state, last }
    }

    fn poll(&mut self, new: &[BucketRecord], now_s: f64) -> &Judgement {
        (self.state, self.last) = State::step(&self.settings, &self.schedule, self.state.clone(), new, now_s);
        &self.last
    }

    /// All records of a minute at once, half a minute after it is over.
    fn minute(&mut self, slot: i64, new: &[BucketRecord]) -> &Judgement {
        self.poll(new, bucket::seconds(slot * 60 + 90))
    }

    /// A minute of both versions in the shift, of the new one alone after it.
    fn versions(&mut self, slot: i64, baseline: Counts, canary: Counts) -> &Judgement {
        let both = [version(Side::Canary, slot, canary), version(Side::Baseline, slot, baseline)];
        let alone = usize::from(self.schedule.weight(bucket::seconds(slot * 60)) >= 1.0);
        self.minute(slot, &both[..2 - alone])
    }

    fn of(&self, metric: Metric) -> &MetricEvidence {
        self.last.evidence.iter().find(|evidence| evidence.metric == metric).unwrap()
    }

    fn said(&self) -> (Verdict, Option<Metric>) {
        (self.last.verdict, self.last.reason)
    }

    fn notes(&self) -> Vec<String> {
        self.last.notes.iter().map(ToString::to_string).collect()
    }

    fn finish(&self) -> Verdict {
        State::finish(&self.settings, &self.state).verdict
    }
}
