//! Flagger and Argo Rollouts: a check of the new version every minute, and a limit on how many may fail.

use super::minutes::{MINUTE_S, Minutes, Tally};
use crate::judge::{Contestant, Course, Judge, Source, Verdict};
use crate::trace::Bucket;

/// Flagger's built-in checks.
pub(super) const FLAGGER: Contestant = Contestant {
    name: "Flagger",
    method: "Flagger's two built-in checks of the new version every minute: success rate at least 99 %, p99 latency at most 500 \
             ms (where the hour before is slower: 1.5 times its p99). A minute without requests fails too. The fifth failed \
             minute rolls back. Continued through the bake.",
    sources: &[
        Source { title: "Metrics Analysis (Flagger)", url: "https://docs.flagger.app/usage/metrics" },
        Source { title: "How it works (Flagger)", url: "https://docs.flagger.app/usage/how-it-works" },
    ],
    start: |course| Box::new(Counters::new(course, flagger)),
};

/// Argo Rollouts' background analysis.
pub(super) const ARGO: Contestant = Contestant {
    name: "Argo Rollouts",
    method: "The background analysis of the Argo Rollouts documentation, at an interval of one minute: success rate of the new \
             version at least 95 %, failureLimit 3 (the fourth failure aborts), consecutiveErrorLimit 4 (so does the fifth \
             minute in a row without data). Continued through the bake.",
    sources: &[Source {
        title: "Analysis & Progressive Delivery (Argo Rollouts)",
        url: "https://argoproj.github.io/argo-rollouts/features/analysis/",
    }],
    start: |course| Box::new(Counters::new(course, argo)),
};

/// How a check of one minute went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Good,
    Bad,
    NoData,
}

/// What is checked, and when it is enough.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rules {
    success_rate_min: f64,
    p99_ms_max: f64,
    /// This many failed checks in all roll back.
    failures: u32,
    /// Whether a minute without data counts among them.
    no_data_fails: bool,
    /// This many minutes in a row without data roll back.
    without_data: u32,
}

fn flagger(before: &Tally) -> Rules {
    let usual = before.latency.quantile_ms(0.99).unwrap_or(0.0);
    let p99_ms_max = if usual > 500.0 { 1.5 * usual } else { 500.0 };
    Rules { success_rate_min: 0.99, p99_ms_max, failures: 5, no_data_fails: true, without_data: u32::MAX }
}

fn argo(_: &Tally) -> Rules {
    Rules { success_rate_min: 0.95, p99_ms_max: f64::INFINITY, failures: 4, no_data_fails: false, without_data: 5 }
}

impl Rules {
    fn check(&self, minute: Option<&Tally>) -> Check {
        let Some(tally) = minute else { return Check::NoData };
        let Some(errors) = tally.error_rate() else { return Check::NoData };
        let slow = tally.latency.quantile_ms(0.99).is_some_and(|p99| p99 > self.p99_ms_max);
        if 1.0 - errors < self.success_rate_min || slow { Check::Bad } else { Check::Good }
    }
}

struct Counters {
    make: fn(&Tally) -> Rules,
    rules: Option<Rules>,
    minutes: Minutes,
    /// Seconds after its end at which a minute is checked even if its buckets may not all be there.
    settle_s: i64,
    next: i64,
    last: i64,
    failures: u32,
    without_data: u32,
}

/// Seconds after its end at which a minute with nothing visible has no data.
const GIVE_UP_S: i64 = 120;

impl Counters {
    fn new(course: &Course, make: fn(&Tally) -> Rules) -> Counters {
        Counters {
            make,
            rules: None,
            minutes: Minutes::default(),
            settle_s: if course.bucket_s < MINUTE_S { MINUTE_S } else { 0 },
            next: 0,
            last: course.plan.end_s() / MINUTE_S - 1,
            failures: 0,
            without_data: 0,
        }
    }

    /// Counts the next minute, if it is time.
    fn step(&mut self, now_s: i64, rules: &Rules) -> Option<Verdict> {
        let new = self.minutes.get(self.next).and_then(|minute| minute.new.as_ref());
        let since_end_s = now_s - (self.next + 1) * MINUTE_S;
        let wait_s = if new.is_some() { self.settle_s } else { GIVE_UP_S };
        if self.next > self.last || since_end_s < wait_s {
            return None;
        }
        let check = rules.check(new);
        self.next += 1;
        self.without_data = if check == Check::NoData { self.without_data + 1 } else { 0 };
        let failed = check == Check::Bad || (check == Check::NoData && rules.no_data_fails);
        self.failures += u32::from(failed);
        let enough = self.failures >= rules.failures || self.without_data >= rules.without_data;
        Some(if enough { Verdict::RollBack } else { Verdict::Continue })
    }
}

impl Judge for Counters {
    fn poll(&mut self, now_s: i64, records: &[Bucket]) -> Verdict {
        self.minutes.add(records);
        let rules = *self.rules.get_or_insert_with(|| (self.make)(&self.minutes.before_start()));
        while let Some(verdict) = self.step(now_s, &rules) {
            if verdict == Verdict::RollBack {
                return verdict;
            }
        }
        Verdict::Continue
    }

    fn end(&mut self) -> Verdict {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::testing::{failing, hour, run, usual};
    use crate::trace::Version;

    fn gone(index: i64, version: Version) -> Option<Bucket> {
        usual(index, version).filter(|_| version == Version::Old)
    }

    fn slow(index: i64, version: Version) -> Option<Bucket> {
        let mut bucket = usual(index, version)?;
        if version == Version::New {
            bucket.latency = vec![(80, bucket.requests)]; // about a second
        }
        Some(bucket)
    }

    #[test]
    fn flagger_rolls_back_at_the_fifth_failed_minute() {
        let quiet = hour(|_| {});
        let every_third =
            |index: i64, version| if index % 3 == 0 { failing(0.02)(index, version) } else { usual(index, version) };
        assert_eq!(run(&FLAGGER, &quiet, usual), Err(Verdict::Pass));
        assert_eq!(run(&FLAGGER, &quiet, failing(0.01)), Err(Verdict::Pass), "99 % is enough");
        assert_eq!(run(&FLAGGER, &quiet, failing(0.02)), Ok(330));
        assert_eq!(run(&FLAGGER, &quiet, every_third), Ok(810), "failed checks add up, good ones between them or not");
        assert_eq!(run(&FLAGGER, &quiet, gone), Ok(420), "no values fail");
        assert_eq!(run(&FLAGGER, &quiet, slow), Ok(330));
        let slow_before = hour(|bucket| bucket.latency = vec![(78, bucket.requests)]);
        assert_eq!(run(&FLAGGER, &slow_before, slow), Err(Verdict::Pass), "within 1.5 times of before");
    }

    #[test]
    fn argo_aborts_after_its_limits() {
        let quiet = hour(|_| {});
        assert_eq!(run(&ARGO, &quiet, usual), Err(Verdict::Pass));
        assert_eq!(run(&ARGO, &quiet, failing(0.05)), Err(Verdict::Pass), "95 % is enough");
        assert_eq!(run(&ARGO, &quiet, failing(0.06)), Ok(270), "three failures are allowed");
        assert_eq!(run(&ARGO, &quiet, gone), Ok(420), "four errors in a row are allowed");
        assert_eq!(run(&ARGO, &quiet, slow), Err(Verdict::Pass), "it looks at errors only");
        let sometimes = |index, version| usual(index, version).filter(|_| version == Version::Old || index % 5 == 0);
        assert_eq!(run(&ARGO, &quiet, sometimes), Err(Verdict::Pass), "never five in a row without data");
    }
}
