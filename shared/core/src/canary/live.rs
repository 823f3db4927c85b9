//! What a live deployment needs beside the judgement: its buckets are read from somewhere, and it may be held.

use super::bucket::Bucket;
use super::course::Course;
use super::settings::{InvalidSetting, Settings, Values};
use super::state::State;

impl State {
    /// Second up to which every bucket was judged, or came too late.
    #[must_use]
    pub fn used_until_s(&self) -> i64 {
        self.used_below.saturating_mul(i64::from(self.bucket_s))
    }

    /// Buckets that start before `start_s` are not judged any more.
    pub fn skip_before(&mut self, start_s: f64) {
        let length = f64::from(self.bucket_s.max(1));
        // Counted up rather than converted: the distance is a few buckets, and a wild time stops at the bound.
        let mut slots = 0_u16;
        while super::bucket::seconds(self.used_below) * length < start_s && slots < u16::MAX {
            self.used_below = self.used_below.saturating_add(1);
            slots += 1;
        }
        let below = self.used_below;
        self.used_beyond.retain(|slot| *slot >= below);
        self.half_seen.retain(|half| half.slot >= below);
        while self.used_beyond.first() == Some(&self.used_below) {
            self.used_beyond.remove(0);
            self.used_below += 1;
        }
    }
}

impl Settings {
    /// The same with other waits for late records.
    ///
    /// # Errors
    /// When `grace_s` or `dark_s` is out of its range.
    pub fn with_waits(&self, grace_s: f64, dark_s: f64) -> Result<Self, InvalidSetting> {
        let values: &Values = self;
        Self::new(Values { grace_s, dark_s, ..values.clone() })
    }
}

/// By how many edges the canary's latency thresholds are shifted up in the bucket at `start_s`: 1, 2 or 4.
#[must_use]
pub fn latency_shift(settings: &Settings, course: &Course, start_s: i64, is_concurrent: bool) -> u8 {
    let bucket = Bucket::new(settings, course, start_s, None, None);
    if is_concurrent { bucket.concurrent_shift(settings) } else { bucket.before_after_shift(settings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_buckets_are_used() {
        let course = Course::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap();
        let mut state = State::begin(&Settings::default_method(), &course, 3600.0, &[]);
        state.used_beyond = vec![3, 4, 7];
        for (start_s, until_s, beyond) in [(0.0, 0, vec![3, 4, 7]), (61.0, 120, vec![3, 4, 7]), (150.0, 300, vec![7])] {
            state.skip_before(start_s);
            assert_eq!((state.used_until_s(), &state.used_beyond), (until_s, &beyond), "{start_s}");
        }
        state.skip_before(f64::NAN);
        assert_eq!(state.used_until_s(), 300, "no time is no time");
    }

    #[test]
    fn young_traffic_is_given_time() {
        let settings = Settings::default_method();
        let course = Course::new(60, vec![(0.0, 0.1), (300.0, 1.0)], 1200.0, 120.0).unwrap();
        let table = [
            ("first bucket", 0, true, 4),
            ("settled", 180, true, 1),
            ("all traffic", 300, false, 4),
            ("later", 600, false, 2),
        ];
        for (case, start_s, is_concurrent, expected) in table {
            assert_eq!(latency_shift(&settings, &course, start_s, is_concurrent), expected, "{case}");
        }
    }
}
