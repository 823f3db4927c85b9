//! The schedule of one deployment: when the canary gets how much traffic, and how long it is watched.

/// Longest schedule, in seconds: seven days.
pub const MAX_END_S: f64 = 604_800.0;
/// Most changes of the weight: the finest shift has 100, seen twice over by a hasty observer.
pub const MAX_STEPS: usize = 1_000;
/// Longest bucket, in seconds.
const MAX_BUCKET_S: u32 = 3_600;

/// A schedule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {value}, allowed is {allowed}")]
pub struct InvalidSchedule {
    /// Which part.
    pub field: &'static str,
    /// What was found.
    pub value: String,
    /// What would be right.
    pub allowed: String,
}

/// Bucket length, the steps of the canary's weight (planned or observed), the end of the bake and the drain after it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficSchedule {
    bucket_s: u32,
    steps: Vec<(f64, f64)>,
    end_s: f64,
    drain_s: f64,
}

impl TrafficSchedule {
    /// A schedule. All times are seconds relative to the start of the shift.
    ///
    /// * `bucket_s`: length of a bucket, 1 to 3,600.
    /// * `steps`: time and weight (0 to 1) of each change of the weight, oldest first. The same weight again is no change.
    /// * `end_s`: end of the bake; buckets that start later are not judged.
    /// * `drain_s`: how long after that late records are waited for.
    ///
    /// # Errors
    /// Names the part that is out of its range.
    pub fn new(bucket_s: u32, steps: Vec<(f64, f64)>, end_s: f64, drain_s: f64) -> Result<Self, InvalidSchedule> {
        let wrong = |field, value: String, allowed: &str| InvalidSchedule { field, value, allowed: allowed.to_owned() };
        if !(1..=MAX_BUCKET_S).contains(&bucket_s) {
            return Err(wrong("bucket_s", bucket_s.to_string(), "1 to 3600"));
        }
        for (field, value) in [("end_s", end_s), ("drain_s", drain_s)] {
            if !(0.0..=MAX_END_S).contains(&value) {
                return Err(wrong(field, value.to_string(), "0 to 604800"));
            }
        }
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return Err(wrong("steps", format!("{} of them", steps.len()), "1 to 1000 steps"));
        }
        let mut before = 0.0;
        for (at_s, weight) in &steps {
            if !(before..=MAX_END_S).contains(at_s) {
                return Err(wrong("steps", format!("a step at {at_s} s"), "0 to 604800, oldest first"));
            }
            if !(0.0..=1.0).contains(weight) {
                return Err(wrong("steps", format!("a weight of {weight}"), "0 to 1"));
            }
            before = *at_s;
        }
        let mut changes: Vec<(f64, f64)> = Vec::with_capacity(steps.len());
        for step in steps {
            if changes.last().is_none_or(|last| last.1.to_bits() != step.1.to_bits()) {
                changes.push(step);
            }
        }
        Ok(Self { bucket_s, steps: changes, end_s, drain_s })
    }

    /// A schedule on which nothing is judged.
    #[must_use]
    pub fn of_nothing(bucket_s: u32) -> Self {
        Self { bucket_s: bucket_s.clamp(1, MAX_BUCKET_S), steps: vec![(0.0, 0.0)], end_s: 0.0, drain_s: 0.0 }
    }

    /// Length of a bucket in seconds.
    #[must_use]
    pub const fn bucket_s(&self) -> u32 {
        self.bucket_s
    }

    /// Time and weight of each change of the weight, oldest first.
    #[must_use]
    pub fn steps(&self) -> &[(f64, f64)] {
        &self.steps
    }

    /// End of the bake.
    #[must_use]
    pub const fn end_s(&self) -> f64 {
        self.end_s
    }

    /// How long after the end late records are waited for.
    #[must_use]
    pub const fn drain_s(&self) -> f64 {
        self.drain_s
    }

    /// The canary's share of the traffic at a time; 0 before the first step.
    #[must_use]
    pub fn weight(&self, at_s: f64) -> f64 {
        self.steps.iter().rev().find(|(start, _)| *start <= at_s).map_or(0.0, |(_, weight)| *weight)
    }

    /// The last step at or before a time and the weight before that step: (seconds since the step, weight before).
    pub(super) fn last_step(&self, at_s: f64) -> Option<(f64, f64)> {
        let mut past = self.steps.iter().rev().skip_while(|(start, _)| *start > at_s);
        let (start, _) = past.next()?;
        Some((at_s - start, past.next().map_or(0.0, |(_, weight)| *weight)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_is_that_of_the_last_step() {
        let schedule = TrafficSchedule::new(60, vec![(0.0, 0.1), (300.0, 0.1), (300.0, 1.0)], 1200.0, 120.0).unwrap();
        let table = [(-1.0, 0.0, None), (0.0, 0.1, Some((0.0, 0.0))), (299.0, 0.1, Some((299.0, 0.0)))];
        for (at, weight, last) in table {
            assert!((schedule.weight(at) - weight).abs() < 1e-12, "weight at {at}");
            assert_eq!(schedule.last_step(at), last, "last step at {at}");
        }
        assert_eq!(schedule.last_step(330.0), Some((30.0, 0.1)));
        assert_eq!(schedule.steps().len(), 2, "the same weight again is no step");
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let steps = || vec![(0.0, 0.1)];
        let table = [
            ("no bucket", TrafficSchedule::new(0, steps(), 1200.0, 120.0), "`bucket_s` is 0"),
            ("no steps", TrafficSchedule::new(60, vec![], 1200.0, 120.0), "`steps` is 0 of them"),
            ("weight", TrafficSchedule::new(60, vec![(0.0, 1.5)], 1200.0, 120.0), "a weight of 1.5"),
            ("weight NaN", TrafficSchedule::new(60, vec![(0.0, f64::NAN)], 1200.0, 120.0), "a weight of NaN"),
            ("time NaN", TrafficSchedule::new(60, vec![(f64::NAN, 1.0)], 1200.0, 120.0), "a step at NaN s"),
            ("order", TrafficSchedule::new(60, vec![(60.0, 0.1), (0.0, 1.0)], 1200.0, 120.0), "a step at 0 s"),
            ("end", TrafficSchedule::new(60, steps(), f64::INFINITY, 120.0), "`end_s` is inf"),
            ("drain", TrafficSchedule::new(60, steps(), 1200.0, -1.0), "`drain_s` is -1"),
        ];
        for (case, schedule, expected) in table {
            let message = schedule.unwrap_err().to_string();
            assert!(message.contains(expected), "{case}: {message}");
        }
    }
}
