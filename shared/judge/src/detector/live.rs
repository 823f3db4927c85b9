//! What a live deployment needs beside the judgement: its buckets are read from somewhere, and it may be held.

use super::bucket::{Bucket, Seen, seconds};
use super::counts::{BucketRecord, Reading, Side};
use super::settings::DetectorSettings;
use super::state::State;
use super::traffic_schedule::TrafficSchedule;

impl State {
    /// Second up to which every bucket was judged or came too late: silent buckets count as over at `now_s` once they were waited
    /// for.
    #[must_use]
    pub fn used_until_s(&self, settings: &DetectorSettings, now_s: f64) -> i64 {
        let length_s = i64::from(self.bucket_s);
        let is_over = |slot: i64| seconds((slot + 1).saturating_mul(length_s)) + settings.no_data_timeout_s <= now_s;
        // The bound is for a wild clock: from the first gap on, no deployment has as many buckets.
        let slots = self.used.below..self.used.below.saturating_add(i64::from(u16::MAX));
        let is_open = |slot: &i64| !self.used.contains(*slot) && (!is_over(*slot) || self.is_waiting(*slot));
        slots.clone().find(is_open).unwrap_or(slots.end).saturating_mul(length_s)
    }

    /// Whether the detector has not taken in this record, or one of its kind and bucket, before.
    #[must_use]
    pub fn is_new(&self, record: &BucketRecord) -> bool {
        let slot = record.start_s.div_euclid(i64::from(self.bucket_s.max(1)));
        let Ok(at) = self.half_seen.binary_search_by_key(&slot, |half| half.slot) else {
            return !self.used.contains(slot);
        };
        let seen = self.half_seen.get(at).map(|half| half.seen).unwrap_or_default();
        match record.reading {
            Reading::Version(Side::Baseline, _) => seen.baseline.is_none(),
            Reading::Version(Side::Canary, _) => seen.canary.is_none(),
            Reading::Front(_) => seen.front.is_none(),
            Reading::Peer(_) => seen.peer.is_none(),
            Reading::Probe(Side::Baseline, _) => seen.probe_baseline.is_none(),
            Reading::Probe(Side::Canary, _) => seen.probe_canary.is_none(),
        }
    }

    /// Whether a version's record of this bucket came, so that it will be judged.
    fn is_waiting(&self, slot: i64) -> bool {
        let half = self.half_seen.iter().find(|half| half.slot == slot);
        half.is_some_and(|half| half.seen.baseline.is_some() || half.seen.canary.is_some())
    }

    /// Buckets that start before `start_s` are not judged any more.
    pub fn skip_before(&mut self, start_s: f64) {
        let length = f64::from(self.bucket_s.max(1));
        // Counted up rather than converted: the distance is a few buckets, and a wild time stops at the bound.
        let mut slot = self.used.below;
        let mut slots = 0_u16;
        while seconds(slot) * length < start_s && slots < u16::MAX {
            slot = slot.saturating_add(1);
            slots += 1;
        }
        self.used.give_up_below(slot);
        let below = self.used.below;
        self.half_seen.retain(|half| half.slot >= below);
    }
}

/// By how many edges the canary's tail thresholds are shifted up in the bucket at `start_s`: 1, 2 or 4, for one comparison or for
/// both nulls of the other.
#[must_use]
pub fn latency_shifts(
    settings: &DetectorSettings,
    schedule: &TrafficSchedule,
    start_s: i64,
    is_concurrent: bool,
) -> [u8; 2] {
    let bucket = Bucket::new(settings, schedule, start_s, Seen::default());
    [bucket.shift(false), bucket.shift(!is_concurrent)]
}

#[cfg(test)]
mod tests {
    use super::super::counts::Witnesses;
    use super::*;

    #[test]
    fn skipped_buckets_are_used() {
        let settings = DetectorSettings::default_method();
        let schedule = TrafficSchedule::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap();
        let mut state = State::begin(&settings, &schedule, Witnesses::default(), 3600.0, &[], None);
        [3, 4, 7].into_iter().for_each(|slot| state.used.insert(slot));
        for (start_s, until_s) in [(0.0, 0), (61.0, 120), (150.0, 300)] {
            state.skip_before(start_s);
            assert_eq!(state.used_until_s(&settings, 0.0), until_s, "{start_s}");
        }
        state.skip_before(f64::NAN);
        assert_eq!(state.used_until_s(&settings, 0.0), 300, "no time is no time");
        assert_eq!(state.used_until_s(&settings, 599.0), 300, "bucket 5 may still come");
        assert_eq!(state.used_until_s(&settings, 600.0), 360, "bucket 5 was waited for");
        assert_eq!(state.used_until_s(&settings, 720.0), 480, "so was bucket 6, and 7 was judged");
        for wild_s in [1e300, f64::INFINITY] {
            assert!(state.used_until_s(&settings, wild_s) > 604_800, "bounded, and more than a week");
        }
    }

    #[test]
    fn young_traffic_is_given_time() {
        let settings = DetectorSettings::default_method();
        let schedule = TrafficSchedule::new(60, vec![(0.0, 0.1), (300.0, 1.0)], 1200.0, 120.0).unwrap();
        let table = [
            ("first bucket", 0, true, [4, 4]),
            ("settled", 180, true, [1, 1]),
            ("all traffic", 300, false, [4, 4]),
            ("later", 600, false, [1, 2]),
        ];
        for (case, start_s, is_concurrent, expected) in table {
            assert_eq!(latency_shifts(&settings, &schedule, start_s, is_concurrent), expected, "{case}");
        }
    }
}
