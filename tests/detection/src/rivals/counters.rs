//! Flagger and Argo Rollouts: a check of the new version every minute, and a limit on how many may fail.

use super::minutes::{MINUTE_S, Minutes, Tally};
use crate::judge::{Contestant, Judge, Source, TrafficSchedule, Verdict};
use crate::trace::Arrivals;

/// Flagger's built-in checks.
pub(super) const FLAGGER: Contestant = Contestant {
    name: "Flagger",
    method: "Flagger's two built-in checks of the new version every minute: success rate at least 99 %, p99 latency at most 500 \
             ms (where the hour before is slower: 1.5 times its p99). A minute without requests fails too. The fifth failed \
             minute is enough (the documentation has 5 as often as 10), and the check after it, a minute later, rolls back. \
             Continued through the bake.",
    sources: &[
        Source {
            title: "pkg/controller/scheduler.go",
            version: "Flagger v1.44.0",
            url: "https://github.com/fluxcd/flagger/blob/v1.44.0/pkg/controller/scheduler.go",
        },
        Source {
            title: "pkg/controller/scheduler_metrics.go",
            version: "Flagger v1.44.0",
            url: "https://github.com/fluxcd/flagger/blob/v1.44.0/pkg/controller/scheduler_metrics.go",
        },
        Source {
            title: "Metrics Analysis",
            version: "Flagger v1.44.0",
            url: "https://github.com/fluxcd/flagger/blob/v1.44.0/docs/gitbook/usage/metrics.md",
        },
    ],
    start: |schedule| Box::new(Counters::new(schedule, flagger)),
};

/// Argo Rollouts' background analysis.
pub(super) const ARGO: Contestant = Contestant {
    name: "Argo Rollouts",
    method: "The background analysis of the Argo Rollouts documentation at an interval of one minute, not five, and on the new \
             version, not on the whole service: success rate at least 95 %, failureLimit 3 (the fourth failure aborts). A \
             measurement is the newest minute among the last five, the default of its CloudWatch provider; without any it is an \
             error, made again every ten seconds, and five errors in a row abort (consecutiveErrorLimit 4): five minutes without \
             data, and the two that are waited for a late record. Its Prometheus provider would count a minute without requests \
             as a failure: some more silent faults found, and about twice as many healthy deployments rolled back. Continued \
             through the bake.",
    sources: &[
        Source {
            title: "docs/features/analysis.md",
            version: "Argo Rollouts v1.9.1",
            url: "https://github.com/argoproj/argo-rollouts/blob/v1.9.1/docs/features/analysis.md",
        },
        Source {
            title: "analysis/analysis.go",
            version: "Argo Rollouts v1.9.1",
            url: "https://github.com/argoproj/argo-rollouts/blob/v1.9.1/analysis/analysis.go",
        },
        Source {
            title: "metricproviders/cloudwatch/cloudwatch.go",
            version: "Argo Rollouts v1.9.1",
            url: "https://github.com/argoproj/argo-rollouts/blob/v1.9.1/metricproviders/cloudwatch/cloudwatch.go",
        },
        Source {
            title: "utils/evaluate/evaluate.go",
            version: "Argo Rollouts v1.9.1",
            url: "https://github.com/argoproj/argo-rollouts/blob/v1.9.1/utils/evaluate/evaluate.go",
        },
    ],
    start: |schedule| Box::new(Counters::new(schedule, argo)),
};

/// How a check of one minute went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Good,
    Bad,
    NoData,
}

/// What a minute without data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoData {
    /// A failed check.
    Fails,
    /// The check before it, once more.
    Repeats,
}

/// What is checked, and when it is enough.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rules {
    success_rate_min: f64,
    p99_ms_max: f64,
    /// This many failed checks in all roll back.
    failures: u32,
    /// What a minute without data is.
    no_data: NoData,
    /// This many minutes in a row without data roll back.
    without_data: u32,
    /// Seconds from the check that was too much to the rollback.
    acts_after_s: i64,
}

fn flagger(before: &Tally) -> Rules {
    let usual = before.latency.quantile_ms(0.99).unwrap_or(0.0);
    let p99_ms_max = if usual > 500.0 { 1.5 * usual } else { 500.0 };
    // Failed checks are compared with the threshold when the next check is due, before it is made.
    let acts_after_s = MINUTE_S;
    Rules {
        success_rate_min: 0.99,
        p99_ms_max,
        failures: 5,
        no_data: NoData::Fails,
        without_data: u32::MAX,
        acts_after_s,
    }
}

fn argo(_: &Tally) -> Rules {
    Rules {
        success_rate_min: 0.95,
        p99_ms_max: f64::INFINITY,
        failures: 4,
        no_data: NoData::Repeats,
        without_data: 5,
        acts_after_s: 0,
    }
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
    /// Whether the newest check failed.
    newest_failed: bool,
    /// When it rolls back, once that is certain.
    due_s: Option<i64>,
}

/// Seconds after its end at which a minute with nothing visible has no data.
const GIVE_UP_S: i64 = 120;

impl Counters {
    fn new(schedule: &TrafficSchedule, make: fn(&Tally) -> Rules) -> Counters {
        Counters {
            make,
            rules: None,
            minutes: Minutes::default(),
            settle_s: if schedule.bucket_s < MINUTE_S { MINUTE_S } else { 0 },
            next: 0,
            last: schedule.plan.end_s() / MINUTE_S - 1,
            failures: 0,
            without_data: 0,
            newest_failed: false,
            due_s: None,
        }
    }

    /// Counts the next minute, if it is time; returns whether it was.
    fn step(&mut self, now_s: i64, rules: &Rules) -> bool {
        let new = self.minutes.get(self.next).and_then(|minute| minute.new.as_ref());
        let since_end_s = now_s - (self.next + 1) * MINUTE_S;
        let wait_s = if new.is_some() { self.settle_s } else { GIVE_UP_S };
        if self.next > self.last || since_end_s < wait_s {
            return false;
        }
        let check = rules.check(new);
        self.next += 1;
        self.without_data = if check == Check::NoData { self.without_data + 1 } else { 0 };
        let failed = match (check, rules.no_data) {
            (Check::Good, _) => false,
            (Check::Bad, _) | (Check::NoData, NoData::Fails) => true,
            (Check::NoData, NoData::Repeats) => self.newest_failed,
        };
        self.newest_failed = failed;
        self.failures += u32::from(failed);
        let enough = self.failures >= rules.failures || self.without_data >= rules.without_data;
        if enough {
            self.due_s.get_or_insert(now_s + rules.acts_after_s);
        }
        true
    }
}

impl Judge for Counters {
    fn poll(&mut self, now_s: i64, arrivals: &Arrivals) -> Verdict {
        self.minutes.add(&arrivals.versions);
        let rules = *self.rules.get_or_insert_with(|| (self.make)(&self.minutes.before_start()));
        while self.step(now_s, &rules) {}
        if self.due_s.is_some_and(|due_s| now_s >= due_s) { Verdict::RollBack } else { Verdict::Continue }
    }

    fn end(&mut self) -> Verdict {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::testing::{failing, hour, run, usual};
    use crate::trace::{Bucket, Version};

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
    fn flagger_rolls_back_a_minute_after_the_fifth_failed_one() {
        let quiet = hour(|_| {});
        let every_third =
            |index: i64, version| if index % 3 == 0 { failing(0.02)(index, version) } else { usual(index, version) };
        assert_eq!(run(&FLAGGER, &quiet, usual), Err(Verdict::Pass));
        assert_eq!(run(&FLAGGER, &quiet, failing(0.01)), Err(Verdict::Pass), "99 % is enough");
        assert_eq!(run(&FLAGGER, &quiet, failing(0.02)), Ok(390));
        assert_eq!(run(&FLAGGER, &quiet, every_third), Ok(870), "failed checks add up, good ones between them or not");
        assert_eq!(run(&FLAGGER, &quiet, gone), Ok(480), "no values fail");
        assert_eq!(run(&FLAGGER, &quiet, slow), Ok(390));
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
        let then_gone =
            |index, version| failing(0.06)(index, version).filter(|_| version == Version::Old || index == 2);
        assert_eq!(run(&ARGO, &quiet, then_gone), Ok(480), "minute 2 is the newest one for minutes 3 to 5 too");
        let sometimes = |index, version| usual(index, version).filter(|_| version == Version::Old || index % 5 == 0);
        assert_eq!(run(&ARGO, &quiet, sometimes), Err(Verdict::Pass), "never five in a row without data");
    }
}
