//! Snapback's own detector, fed like the others.

use crate::judge::{Contestant, Judge, Verdict};
use crate::trace::{Bucket, DRAIN_S, Version, edges_ms};
use snapback_core::canary::{self, BucketRecord, Counts, Edges, Settings, Share, Side, State, Thresholds};

/// Snapback with its default settings.
pub const SNAPBACK: Contestant = Contestant {
    name: "Snapback",
    method: "This project's detector (`shared/core/src/canary.rs`) with its default settings. Each signal of the new version is \
             compared with the old one at the same time, or with the old one's past once that has no traffic; evidence is \
             collected by a betting process that may be looked at any number of times.",
    sources: &[],
    start: |course| match Snapback::new(course) {
        Some(snapback) => Box::new(snapback),
        None => Box::new(Blind),
    },
};

/// What cannot look cannot tell. No plan of the benchmark gets here; a test says so.
struct Blind;

impl Judge for Blind {
    fn poll(&mut self, _: i64, _: &[Bucket]) -> Verdict {
        Verdict::Continue
    }

    fn end(&mut self) -> Verdict {
        Verdict::Inconclusive
    }
}

struct Snapback {
    settings: Settings,
    course: canary::Course,
    edges: Edges,
    history_s: f64,
    /// Thresholds and state, from the first poll on.
    begun: Option<(Thresholds, State)>,
}

impl Snapback {
    fn new(course: &crate::judge::Course) -> Option<Snapback> {
        let steps = course.plan.steps().into_iter().map(|(at_s, weight)| (at_s as f64, weight)).collect();
        let bucket_s = u32::try_from(course.bucket_s).ok()?;
        Some(Snapback {
            settings: Settings::default_method(),
            course: canary::Course::new(bucket_s, steps, course.plan.end_s() as f64, DRAIN_S as f64).ok()?,
            edges: Edges::new(edges_ms()).ok()?,
            history_s: course.history_s as f64,
            begun: None,
        })
    }

    fn begin(&self, records: &[Bucket]) -> (Thresholds, State) {
        let is_history = |bucket: &&Bucket| bucket.version == Version::Old && bucket.start_s < 0;
        let history = records.iter().filter(is_history);
        let thresholds = Thresholds::of_history(&self.edges, history.clone().map(|bucket| bucket.latency.as_slice()));
        let counted: Vec<BucketRecord> = history.filter_map(|bucket| counted(bucket, &thresholds)).collect();
        (thresholds, State::begin(&self.settings, &self.course, self.history_s, &counted))
    }
}

/// A record as the detector takes it; `None` for counts that cannot be.
fn counted(bucket: &Bucket, thresholds: &Thresholds) -> Option<BucketRecord> {
    let slow = thresholds.slow(&bucket.latency).ok()?;
    let counts = Counts {
        requests: bucket.requests,
        e5: Some(Share::new(bucket.errors, bucket.requests).ok()?),
        tx: Some(Share::new(bucket.failed_transactions, bucket.transactions).ok()?),
        e4: Some(Share::new(bucket.client_errors, bucket.requests).ok()?),
        slow: slow.map(Some),
    };
    let side = match bucket.version {
        Version::Old => Side::Baseline,
        Version::New => Side::Canary,
    };
    Some(BucketRecord { side, start_s: bucket.start_s, counts })
}

fn verdict(verdict: canary::Verdict) -> Verdict {
    match verdict {
        canary::Verdict::Continue => Verdict::Continue,
        canary::Verdict::Rollback => Verdict::RollBack,
        canary::Verdict::Pass => Verdict::Pass,
        canary::Verdict::Inconclusive => Verdict::Inconclusive,
    }
}

impl Judge for Snapback {
    fn poll(&mut self, now_s: i64, records: &[Bucket]) -> Verdict {
        let (thresholds, state) = self.begun.take().unwrap_or_else(|| self.begin(records));
        let new: Vec<BucketRecord> = records.iter().filter_map(|bucket| counted(bucket, &thresholds)).collect();
        let (state, judgement) = State::step(&self.settings, &self.course, state, &new, now_s as f64);
        self.begun = Some((thresholds, state));
        verdict(judgement.verdict)
    }

    fn end(&mut self) -> Verdict {
        let Some((_, state)) = &self.begun else { return Verdict::Inconclusive };
        verdict(State::finish(&self.settings, state).verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Plan;

    #[test]
    fn every_course_of_the_benchmark_can_be_judged() {
        for plan in Plan::ALL {
            for (bucket_s, history_s) in [(60, 3600), (10, 1800)] {
                let course = crate::judge::Course { bucket_s, history_s, plan };
                assert!(Snapback::new(&course).is_some(), "{course:?}");
            }
        }
    }

    #[test]
    fn a_record_keeps_all_its_counts() {
        let bucket = Bucket {
            version: Version::New,
            start_s: 60,
            requests: 10,
            errors: 2,
            client_errors: 3,
            transactions: 5,
            failed_transactions: 1,
            latency: vec![(40, 6), (80, 4)],
        };
        let edges = Edges::new(edges_ms()).unwrap();
        let thresholds = Thresholds::of_history(&edges, std::iter::once(&[(60, 100)][..]));
        let record = counted(&bucket, &thresholds).unwrap();
        let counts = record.counts;
        let pair = |share: Option<Share>| share.map(|share| (share.bad(), share.all()));
        assert_eq!((record.side, record.start_s, counts.requests), (Side::Canary, 60, 10));
        assert_eq!([pair(counts.e5), pair(counts.tx), pair(counts.e4)], [Some((2, 10)), Some((1, 5)), Some((3, 10))]);
        assert!(counts.slow.iter().flatten().all(|slow| slow.all == 10 && slow.above[0] == Some(4)), "{counts:?}");
        assert!(counted(&Bucket { errors: 11, ..bucket }, &thresholds).is_none(), "more errors than requests");
    }

    #[test]
    fn it_says_what_it_saw() {
        let course = crate::judge::Course { bucket_s: 60, history_s: 3600, plan: Plan::Canary10Percent5Minutes };
        let mut nothing = (SNAPBACK.start)(&course);
        assert_eq!(nothing.end(), Verdict::Inconclusive, "never asked");
        for now_s in (0..=1320).step_by(10) {
            assert_ne!(nothing.poll(now_s, &[]), Verdict::Pass);
        }
        assert_ne!(nothing.end(), Verdict::Pass, "no evidence is never a pass");
    }
}
