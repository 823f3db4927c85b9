//! What the base pairs of each bucket add up to: the record of probes that the detector reads by the bucket.

use super::record::{PairRecord, ProbeOutcome};
use crate::detector::{BucketRecord, Reading, Side};
use crate::share::Share;
use std::collections::BTreeMap;
use std::time::Duration;

/// A second of pairs is whole when its calls were answered, at the latest after this.
const WHOLE_AFTER_S: f64 = 3.0;
/// Buckets that are kept at most: while nobody reads the metrics, nobody takes them.
const MAX_BUCKETS: usize = 512;

/// How the seconds of pairs lie on the time of the buckets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairClock {
    /// Second 0 of the pairs, in seconds of the buckets' origin.
    pub begins_s: f64,
    /// How long a second of the pairs is; another length than a second is for rehearsals.
    pub every: Duration,
    /// Length of a bucket in seconds.
    pub bucket_s: u32,
}

impl PairClock {
    /// Seconds of the pairs that are those of the buckets.
    #[must_use]
    pub const fn of_buckets(bucket_s: u32) -> Self {
        Self { begins_s: 0.0, every: Duration::from_secs(1), bucket_s }
    }

    /// Start of the bucket that holds a second of the pairs.
    #[expect(clippy::cast_possible_truncation, reason = "times of one deployment are far below 2^53 s")]
    fn bucket_of(&self, second: u32) -> i64 {
        let at_s = (self.begins_s + f64::from(second) * self.every.as_secs_f64()).floor() as i64;
        let bucket_s = i64::from(self.bucket_s.max(1));
        at_s.div_euclid(bucket_s).saturating_mul(bucket_s)
    }
}

/// Failed and scored calls of baseline and canary, by bucket, of those buckets that nobody has taken yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairSums {
    /// By the start of the bucket, in seconds of the origin: the baseline's share and the canary's.
    pub buckets: BTreeMap<i64, [Share; 2]>,
}

impl PairSums {
    /// Adds pairs of whole seconds. Those of bursts are left out: they were sent because the canary failed, and would weigh a
    /// minute that went wrong more than one that went well.
    pub fn add(&mut self, clock: &PairClock, pairs: &[PairRecord]) {
        for pair in pairs.iter().filter(|pair| pair.burst.is_none()) {
            let [baseline, canary] = self.buckets.entry(clock.bucket_of(pair.second)).or_default();
            if pair.is_scored() {
                *baseline = baseline.plus(Share { bad: u64::from(pair.baseline == ProbeOutcome::Fail), all: 1 });
                *canary = canary.plus(Share { bad: u64::from(pair.canary == ProbeOutcome::Fail), all: 1 });
            }
        }
        while self.buckets.len() > MAX_BUCKETS {
            self.buckets.pop_first();
        }
    }

    /// Takes the buckets that are over at `now_s`, in seconds of the origin, as records of both versions.
    pub fn take_over(&mut self, bucket_s: u32, now_s: f64) -> Vec<BucketRecord> {
        let waits = f64::from(bucket_s) + WHOLE_AFTER_S;
        #[expect(clippy::cast_precision_loss, reason = "times of one deployment are far below 2^53 s")]
        let over: Vec<i64> = self.buckets.keys().copied().filter(|start_s| *start_s as f64 + waits <= now_s).collect();
        let taken = over.into_iter().filter_map(|start_s| Some((start_s, self.buckets.remove(&start_s)?)));
        let both = taken.flat_map(|(start_s, [baseline, canary])| {
            [(Side::Baseline, baseline), (Side::Canary, canary)]
                .map(|(side, share)| BucketRecord { start_s, reading: Reading::Probe(side, share) })
        });
        both.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::BurstMark;
    use super::*;
    use ProbeOutcome::{Fail, Ok, Slow, Unknown};

    fn pair(second: u32, baseline: ProbeOutcome, canary: ProbeOutcome) -> PairRecord {
        PairRecord { second, baseline, canary, burst: None }
    }

    fn taken(sums: &mut PairSums, bucket_s: u32, now_s: f64) -> Vec<(i64, Share, Share)> {
        let records = sums.take_over(bucket_s, now_s);
        let shares = records.chunks(2).map(|both| match both {
            [
                BucketRecord { start_s, reading: Reading::Probe(Side::Baseline, baseline) },
                BucketRecord { reading: Reading::Probe(Side::Canary, canary), .. },
            ] => (*start_s, *baseline, *canary),
            other => panic!("{other:?}"),
        });
        shares.collect()
    }

    #[test]
    fn a_bucket_is_taken_once_and_only_when_it_is_over() {
        let mut sums = PairSums::default();
        let burst = BurstMark { number: 1, environments: None };
        sums.add(
            &PairClock::of_buckets(10),
            &[
                pair(0, Ok, Ok),
                pair(3, Ok, Fail),
                pair(4, Fail, Fail),
                // A late answer of the baseline is no failure; one of the canary says nothing.
                pair(5, Slow, Ok),
                pair(6, Ok, Slow),
                pair(7, Unknown, Fail),
                PairRecord { burst: Some(burst), ..pair(8, Ok, Fail) },
                pair(10, Ok, Ok),
            ],
        );
        assert_eq!(taken(&mut sums, 10, 12.9), []);
        let share = |bad, all| Share { bad, all };
        assert_eq!(taken(&mut sums, 10, 13.0), [(0, share(1, 4), share(2, 4))]);
        assert_eq!(taken(&mut sums, 10, 13.0), [], "once");
        assert_eq!(taken(&mut sums, 10, 99.0), [(10, share(0, 1), share(0, 1))]);
    }

    #[test]
    fn seconds_of_pairs_lie_where_their_clock_says() {
        // (case, begins at, every in ms, second, start of its bucket of 5 s)
        let table = [
            ("the same clock", 0.0, 1000, 5, 5),
            ("the shift began in the middle of a bucket", 4.5, 1000, 0, 0),
            ("and went on in the next one", 4.5, 1000, 1, 5),
            ("short seconds of a rehearsal", 2.0, 100, 29, 0),
            ("and the next bucket", 2.0, 100, 30, 5),
        ];
        for (case, begins_s, ms, second, expected) in table {
            let clock = PairClock { begins_s, every: Duration::from_millis(ms), bucket_s: 5 };
            let mut sums = PairSums::default();
            sums.add(&clock, &[pair(second, Ok, Ok)]);
            assert_eq!(sums.buckets.keys().copied().collect::<Vec<_>>(), [expected], "{case}");
        }
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let mut sums = PairSums::default();
        for second in 0..2_000 {
            sums.add(&PairClock::of_buckets(1), &[pair(second, Ok, Ok)]);
        }
        assert_eq!((sums.buckets.len(), sums.buckets.keys().next()), (512, Some(&1_488)));
    }
}
