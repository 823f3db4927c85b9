//! Snapback's own detector, fed like the others.

use crate::judge::{Contestant, Judge, Verdict};
use crate::trace::{Arrivals, Bucket, DRAIN_S, Version, Witness, WitnessReading, WitnessRecord, edges_ms};
use snapback_judge::Share;
use snapback_judge::detector::{
    BucketRecord, Counts, DetectorSettings, Edges, Reading, Side, State, Thresholds, TrafficSchedule, Witnesses,
};

/// Snapback with its default settings.
pub const SNAPBACK: Contestant = Contestant {
    name: "Snapback",
    method: "This project's detector (`shared/judge/src/detector.rs`) with its default settings. Each signal of the new version is \
             compared with the old one at the same time, or with the old one's past once that has no traffic; evidence against \
             \"no change\" and against the declared margin is collected by betting processes that may be looked at any number of \
             times, and only what began with the shift is laid to the version. Witnesses: requests in front of the function, \
             neighbours behind the same dependencies, probes of both versions.",
    sources: &[],
    start,
};

/// The same without any witness: what it can do with what the others see.
pub const SNAPBACK_ALONE: Contestant = Contestant {
    name: "Snapback without witnesses",
    method: "The same detector with no witness connected: it sees the two versions' records and nothing else.",
    sources: &[],
    start: |schedule| start(&crate::judge::TrafficSchedule { witnesses: &[], ..*schedule }),
};

fn start(schedule: &crate::judge::TrafficSchedule) -> Box<dyn Judge> {
    match Snapback::new(schedule) {
        Some(snapback) => Box::new(snapback),
        None => Box::new(Blind),
    }
}

/// What cannot look cannot tell. No plan of the benchmark gets here; a test says so.
struct Blind;

impl Judge for Blind {
    fn poll(&mut self, _: i64, _: &Arrivals) -> Verdict {
        Verdict::Continue
    }

    fn end(&mut self) -> Verdict {
        Verdict::Inconclusive
    }
}

struct Snapback {
    settings: DetectorSettings,
    schedule: TrafficSchedule,
    edges: Edges,
    history_s: f64,
    witnesses: Witnesses,
    /// Thresholds and state, from the first poll on.
    begun: Option<(Thresholds, State)>,
}

impl Snapback {
    fn new(schedule: &crate::judge::TrafficSchedule) -> Option<Snapback> {
        let steps = schedule.plan.steps().into_iter().map(|(at_s, weight)| (at_s as f64, weight)).collect();
        let bucket_s = u32::try_from(schedule.bucket_s).ok()?;
        Some(Snapback {
            settings: DetectorSettings::default_method(),
            schedule: TrafficSchedule::new(bucket_s, steps, schedule.plan.end_s() as f64, DRAIN_S as f64).ok()?,
            edges: Edges::new(edges_ms()).ok()?,
            history_s: schedule.history_s as f64,
            witnesses: Witnesses {
                front: schedule.witnesses.contains(&Witness::Front),
                peer: schedule.witnesses.contains(&Witness::Peer),
                probe: schedule.witnesses.contains(&Witness::Probe),
                pair: false,
            },
            begun: None,
        })
    }

    fn begin(&self, arrivals: &Arrivals) -> (Thresholds, State) {
        let is_history = |bucket: &&Bucket| bucket.version == Version::Old && bucket.start_s < 0;
        let history = arrivals.versions.iter().filter(is_history).map(|bucket| bucket.latency.as_slice());
        let (thresholds, shape) = Thresholds::of_history(&self.edges, history);
        let records = self.records(arrivals, &thresholds);
        let (settings, schedule) = (&self.settings, &self.schedule);
        (thresholds, State::begin(settings, schedule, self.witnesses, self.history_s, &records, Some(&shape)))
    }

    fn records(&self, arrivals: &Arrivals, thresholds: &Thresholds) -> Vec<BucketRecord> {
        let versions = arrivals.versions.iter().filter_map(|bucket| counted(bucket, &self.edges, thresholds));
        versions.chain(arrivals.witnesses.iter().filter_map(witnessed)).collect()
    }
}

/// A record as the detector takes it; `None` for counts that cannot be.
fn counted(bucket: &Bucket, edges: &Edges, thresholds: &Thresholds) -> Option<BucketRecord> {
    let counts = Counts {
        requests: bucket.requests,
        e5: Some(Share::new(bucket.errors, bucket.requests).ok()?),
        tx: Some(Share::new(bucket.failed_transactions, bucket.transactions).ok()?),
        e4: Some(Share::new(bucket.client_errors, bucket.requests).ok()?),
        latencies: Some(thresholds.latencies(edges, &bucket.latency).ok()?),
    };
    Some(BucketRecord::of_version(side(bucket.version), bucket.start_s, counts))
}

fn side(version: Version) -> Side {
    match version {
        Version::Old => Side::Baseline,
        Version::New => Side::Canary,
    }
}

/// The same for a witness.
fn witnessed(record: &WitnessRecord) -> Option<BucketRecord> {
    let reading = match record.reading {
        WitnessReading::Front { requests } => Reading::Front(requests),
        WitnessReading::Peer { requests, errors } => Reading::Peer(Share::new(errors, requests).ok()?),
        WitnessReading::Probe { version, requests, errors } => {
            Reading::Probe(side(version), Share::new(errors, requests).ok()?)
        }
    };
    Some(BucketRecord { start_s: record.start_s, reading })
}

fn verdict(verdict: snapback_judge::Verdict) -> Verdict {
    match verdict {
        snapback_judge::Verdict::Continue => Verdict::Continue,
        snapback_judge::Verdict::Rollback => Verdict::RollBack,
        snapback_judge::Verdict::Pass => Verdict::Pass,
        snapback_judge::Verdict::Inconclusive => Verdict::Inconclusive,
    }
}

impl Judge for Snapback {
    fn poll(&mut self, now_s: i64, arrivals: &Arrivals) -> Verdict {
        let (thresholds, state) = self.begun.take().unwrap_or_else(|| self.begin(arrivals));
        let new = self.records(arrivals, &thresholds);
        let (state, judgement) = State::step(&self.settings, &self.schedule, state, &new, now_s as f64);
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
    use crate::trace::{Plan, Witness};

    #[test]
    fn every_course_of_the_benchmark_can_be_judged() {
        for plan in Plan::ALL {
            for (bucket_s, history_s) in [(60, 3600), (10, 1800)] {
                let schedule = crate::judge::TrafficSchedule { bucket_s, history_s, plan, witnesses: &Witness::ALL };
                assert!(Snapback::new(&schedule).is_some(), "{schedule:?}");
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
        let (thresholds, _) = Thresholds::of_history(&edges, std::iter::once(&[(60, 100)][..]));
        let record = counted(&bucket, &edges, &thresholds).unwrap();
        let Reading::Version(side, counts) = record.reading else { panic!("a version: {record:?}") };
        let pair = |share: Option<Share>| share.map(|share| (share.bad, share.all));
        assert_eq!((side, record.start_s, counts.requests), (Side::Canary, 60, 10));
        assert_eq!([pair(counts.e5), pair(counts.tx), pair(counts.e4)], [Some((2, 10)), Some((1, 5)), Some((3, 10))]);
        let latencies = counts.latencies.unwrap();
        assert_eq!((latencies.all, latencies.body, latencies.q90[0], latencies.q99[0]), (10, [4; 7], Some(4), Some(4)));
        assert!(counted(&Bucket { errors: 11, ..bucket }, &edges, &thresholds).is_none(), "more errors than requests");
    }

    #[test]
    fn it_says_what_it_saw() {
        let schedule = crate::judge::TrafficSchedule {
            bucket_s: 60,
            history_s: 3600,
            plan: Plan::Canary10Percent5Minutes,
            witnesses: &Witness::ALL,
        };
        let mut nothing = (SNAPBACK.start)(&schedule);
        assert_eq!(nothing.end(), Verdict::Inconclusive, "never asked");
        for now_s in (0..=1320).step_by(10) {
            assert_ne!(nothing.poll(now_s, &Arrivals::default()), Verdict::Pass);
        }
        assert_ne!(nothing.end(), Verdict::Pass, "no evidence is never a pass");
    }
}
