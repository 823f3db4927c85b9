//! Makes what the witnesses of a deployment count, and what moves records about: a neighbour whose failures are counted as the
//! version's, a pipeline of metrics that falls behind.

use crate::math::exp;
use crate::sample::Sampler;
use crate::trace::{Bucket, Class, POLL_S, Spec, Version, WitnessReading, WitnessRecord};

/// Share of probe requests that fail without any reason.
const PROBE_FAILS: f64 = 5e-4;
/// No share of failures is higher.
const MOST_FAILING: f64 = 0.98;
/// Share of witness records that never come.
const LOST: f64 = 0.002;

/// One bucket of time as the witnesses meet it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// Start of the bucket in seconds since the start of the deployment, and its middle.
    pub start_s: i64,
    /// See `start_s`.
    pub mid_s: f64,
    /// Requests per second that the service usually has at this time.
    pub usual_load: f64,
    /// Requests that arrived in front of the function.
    pub in_front: u64,
    /// Additional share of failures of an incident that hits both versions.
    pub incident: f64,
    /// Additional share of the new version's requests that fails.
    pub fault: f64,
}

/// The functions next door, the probes, and how long their records take.
#[derive(Debug, Clone)]
pub struct Neighbours {
    sampler: Sampler,
    bucket_s: i64,
    last_step_s: i64,
    /// Requests of the peers for each usual request of the service, and their usual share of failures.
    peer_rate: f64,
    peer_failing: f64,
    /// Whether peers and probes meet an incident, and whether probes meet the fault.
    peer_sees: bool,
    probe_sees: bool,
    probe_meets: bool,
    /// Probes per second and version.
    probes_per_s: i64,
    sickness: Option<Sickness>,
}

/// A neighbour that fails for a while: rises and falls in straight lines.
#[derive(Debug, Clone, Copy)]
struct Sickness {
    from_s: f64,
    length_s: f64,
    peak: f64,
}

impl Sickness {
    fn at(self, second: f64) -> f64 {
        let half_s = self.length_s / 2.0;
        self.peak * (1.0 - (second - self.from_s - half_s).abs() / half_s).clamp(0.0, 1.0)
    }
}

impl Neighbours {
    /// The neighbours of this deployment; all their numbers come out of `sampler`.
    #[must_use]
    pub fn of(mut sampler: Sampler, spec: &Spec) -> Neighbours {
        let last_step_s = spec.plan.last_step_s();
        let peer_rate = sampler.log_uniform(0.2, 4.0);
        let peer_failing = sampler.log_uniform(3e-4, 8e-3);
        let [peer_sees, probe_sees, probe_meets] = [0.8, 0.85, 0.75].map(|share| sampler.chance(share));
        let sickness = (spec.class == Class::NeighbourFails).then(|| Sickness {
            from_s: last_step_s as f64 + sampler.uniform(-60.0, 520.0),
            length_s: sampler.uniform(180.0, 540.0),
            peak: sampler.log_uniform(0.02, 0.35),
        });
        Neighbours {
            sampler,
            bucket_s: spec.bucket_s,
            last_step_s,
            peer_rate,
            peer_failing,
            peer_sees,
            probe_sees,
            probe_meets,
            probes_per_s: if spec.rate >= 50.0 { 3 } else { 1 },
            sickness,
        }
    }

    fn sick_at(&self, second: f64) -> f64 {
        self.sickness.map_or(0.0, |sickness| sickness.at(second))
    }

    /// Counts a sick neighbour's failures as errors of the new version, as the API's 5xx do that are read in the bake. `load`
    /// is in requests per second.
    pub fn mix_in(&mut self, observed: &Observed, load: f64, record: &mut Bucket) {
        let sick = self.sick_at(observed.mid_s);
        if sick > 0.0 && record.version == Version::New && record.start_s >= self.last_step_s {
            let requests = crate::math::count(load * self.peer_rate * self.bucket_s as f64);
            let more = self.sampler.binomial(requests, sick);
            record.errors = (record.errors + more).min(record.requests - record.client_errors);
        }
    }

    /// What the witnesses count, with the second at which each record is there.
    pub fn observe(&mut self, observed: &Observed) -> Vec<(f64, WitnessRecord)> {
        let Observed { start_s, in_front, .. } = *observed;
        let mut records = Vec::new();
        let front = WitnessReading::Front { requests: in_front };
        self.send(&mut records, start_s, in_front > 0, &[front]);
        let peer = self.peer(observed);
        self.send(&mut records, start_s, matches!(peer, WitnessReading::Peer { requests: 1.., .. }), &[peer]);
        let probes = [Version::Old, Version::New].map(|version| self.probe(observed, version));
        self.send(&mut records, start_s, start_s >= 0, &probes);
        records
    }

    /// Records of one witness: they come together, or get lost together.
    fn send(
        &mut self,
        records: &mut Vec<(f64, WitnessRecord)>,
        start_s: i64,
        exists: bool,
        readings: &[WitnessReading],
    ) {
        let (at_least_s, scale_s) = if self.bucket_s < 60 { (6.0, 6.0) } else { (12.0, 11.0) };
        let seen_s = (start_s + self.bucket_s) as f64 + at_least_s + self.sampler.gamma(2.5, scale_s);
        if !self.sampler.chance(LOST) && exists {
            records.extend(readings.iter().map(|reading| (seen_s, WitnessRecord { start_s, reading: *reading })));
        }
    }

    fn peer(&mut self, observed: &Observed) -> WitnessReading {
        let requests = self.sampler.poisson(observed.usual_load * self.bucket_s as f64 * self.peer_rate);
        let usual = self.peer_failing * exp(0.15 * self.sampler.normal(0.0, 1.0));
        let incident = if self.peer_sees { observed.incident } else { 0.0 };
        let failing = (usual + incident + self.sick_at(observed.mid_s)).min(MOST_FAILING);
        WitnessReading::Peer { requests, errors: self.sampler.binomial(requests, failing) }
    }

    fn probe(&mut self, observed: &Observed, version: Version) -> WitnessReading {
        let requests = (self.probes_per_s * self.bucket_s).unsigned_abs();
        let incident = if self.probe_sees { observed.incident } else { 0.0 };
        let fault = if version == Version::New && self.probe_meets { observed.fault } else { 0.0 };
        let errors = self.sampler.binomial(requests, (PROBE_FAILS + incident + fault).min(MOST_FAILING));
        WitnessReading::Probe { version, requests, errors }
    }
}

/// A pipeline of metrics that falls behind and catches up.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    from_s: f64,
    length_s: f64,
    /// Longest additional delay; 0: it never falls behind.
    most_s: f64,
    /// Whether the witnesses' records are late as well.
    of_all: bool,
}

impl Backlog {
    /// How late the records of this deployment get.
    #[must_use]
    pub fn of(sampler: &mut Sampler, spec: &Spec) -> Backlog {
        let of_all = spec.class == Class::MetricsDelayed;
        if !of_all && spec.class != Class::CountsDelayed {
            return Backlog { from_s: 0.0, length_s: 0.0, most_s: 0.0, of_all };
        }
        let from_s = spec.plan.last_step_s() as f64 + sampler.uniform(0.0, 350.0);
        let length_s = sampler.uniform(240.0, 600.0);
        let most_s = if of_all { sampler.uniform(200.0, 460.0) } else { sampler.uniform(60.0, 150.0) };
        Backlog { from_s, length_s, most_s, of_all }
    }

    /// Additional delay of a record that would have come at this second.
    fn more_s(&self, second: f64) -> f64 {
        let half_s = self.length_s / 2.0;
        if self.most_s <= 0.0 || second <= self.from_s || second >= self.from_s + self.length_s {
            return 0.0;
        }
        self.most_s * (1.0 - (second - self.from_s - half_s).abs() / half_s).max(0.0)
    }

    /// The poll at which a version's record is visible that would have been at this one.
    #[must_use]
    pub fn versions_at_s(&self, poll_s: i64) -> i64 {
        let more = crate::math::count((self.more_s(poll_s as f64) / POLL_S as f64).ceil());
        poll_s + more.cast_signed() * POLL_S
    }

    /// When a witness's record is there that would have been at this second.
    #[must_use]
    pub fn witnesses_at_s(&self, second: f64) -> f64 {
        if self.of_all { second + self.more_s(second) } else { second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use crate::trace::{Deployment, Plan, Witness};
    use std::collections::{BTreeMap, BTreeSet};

    fn spec(class: Class, rate: f64) -> Spec {
        Spec { seed: 1, class, rate, plan: Plan::Canary10Percent5Minutes, bucket_s: 60, index: 0 }
    }

    #[test]
    fn records_are_well_formed() {
        for class in Class::ALL {
            for (bucket_s, rate) in [(60, 0.3), (10, 100.0)] {
                let deployment = generate(&Spec { bucket_s, ..spec(class, rate) });
                let mut seen = BTreeSet::new();
                for (now_s, arrivals) in deployment.polls() {
                    for WitnessRecord { start_s, reading } in &arrivals.witnesses {
                        let case = format!("{} at {now_s}: {start_s} {reading:?}", deployment.spec.id());
                        let (version, requests, errors) = match *reading {
                            WitnessReading::Front { requests } => (None, requests, 0),
                            WitnessReading::Peer { requests, errors } => (None, requests, errors),
                            WitnessReading::Probe { version, requests, errors } => (Some(version), requests, errors),
                        };
                        assert!(seen.insert((reading.witness(), version, *start_s)), "twice: {case}");
                        assert!(requests > 0 && errors <= requests && start_s % bucket_s == 0, "{case}");
                        assert!(*start_s >= 0 || (now_s == 0 && version.is_none()), "{case}");
                        assert!(*start_s < 0 || now_s >= start_s + bucket_s, "from the future: {case}");
                    }
                }
                let witnesses: BTreeSet<Witness> = seen.iter().map(|(witness, _, _)| *witness).collect();
                assert_eq!(witnesses.len(), 3, "{}", deployment.spec.id());
            }
        }
    }

    #[test]
    fn the_front_counts_what_the_versions_answer_and_what_they_do_not() {
        // (class, answered share of what arrived in front, in each minute from the fifteenth on)
        let table = [(Class::Healthy, 1.0..=1.0), (Class::Silent, 0.0..=0.05), (Class::OutageInBake, 0.0..=0.07)];
        for (class, answered) in table {
            let deployment = generate(&spec(class, 100.0));
            let (mut front, mut served) = (BTreeMap::new(), BTreeMap::new());
            for arrivals in deployment.arrivals.values() {
                for record in &arrivals.witnesses {
                    if let WitnessReading::Front { requests } = record.reading {
                        front.insert(record.start_s, requests);
                    }
                }
                served.extend(arrivals.versions.iter().map(|bucket| (bucket.start_s, bucket.requests)));
            }
            let late: Vec<f64> = front
                .range(900..)
                .filter_map(|(start_s, arrived)| Some(*served.get(start_s)? as f64 / *arrived as f64))
                .collect();
            assert!(late.len() >= 3 && late.iter().all(|share| answered.contains(share)), "{class:?}: {late:?}");
        }
    }

    /// Failures of peers and of both probes from the last step on, as shares, over thirty deployments.
    fn failing(class: Class) -> [f64; 3] {
        let mut sums = [(0, 0); 3];
        for index in 0..30 {
            let deployment = generate(&Spec { index, ..spec(class, 100.0) });
            for (_, arrivals) in deployment.polls() {
                for record in arrivals.witnesses.iter().filter(|record| record.start_s >= 300) {
                    let (which, requests, errors) = match record.reading {
                        WitnessReading::Front { .. } => continue,
                        WitnessReading::Peer { requests, errors } => (0, requests, errors),
                        WitnessReading::Probe { version: Version::Old, requests, errors } => (1, requests, errors),
                        WitnessReading::Probe { version: Version::New, requests, errors } => (2, requests, errors),
                    };
                    sums[which].0 += errors;
                    sums[which].1 += requests;
                }
            }
        }
        sums.map(|(errors, requests)| errors as f64 / requests as f64)
    }

    #[test]
    fn who_fails_tells_whose_fault_it_is() {
        // (class, whether peers, the old version's probe and the new one's fail)
        let table = [
            (Class::Healthy, [false, false, false]),
            (Class::ErrorsInBake, [false, false, true]),
            (Class::NeighbourFails, [true, false, false]),
            (Class::DependencyFails, [true, true, true]),
        ];
        for (class, wanted) in table {
            let shares = failing(class);
            assert_eq!(shares.map(|share| share > 0.015), wanted, "{class:?}: {shares:?}");
        }
    }

    #[test]
    fn a_sick_neighbour_is_counted_as_the_new_versions_errors_in_the_bake() {
        let errors = |class, from_s: i64, until_s: i64| -> f64 {
            let (mut errors, mut requests) = (0, 0);
            for index in 0..30 {
                let deployment = generate(&Spec { index, ..spec(class, 100.0) });
                let of_new =
                    |bucket: &&Bucket| bucket.version == Version::New && (from_s..until_s).contains(&bucket.start_s);
                for bucket in deployment.arrivals.values().flat_map(|arrivals| &arrivals.versions).filter(of_new) {
                    errors += bucket.errors;
                    requests += bucket.requests;
                }
            }
            errors as f64 / requests as f64
        };
        assert!(errors(Class::NeighbourFails, 300, 1200) > 3.0 * errors(Class::Healthy, 300, 1200));
        assert!(errors(Class::NeighbourFails, 0, 300) < 2.0 * errors(Class::Healthy, 0, 300));
    }

    /// Longest time from the end of a bucket until its record is visible, of the versions and of the witnesses.
    fn longest_delay_s(deployment: &Deployment) -> (i64, i64) {
        let (mut versions, mut witnesses) = (0, 0);
        for (visible_s, arrivals) in &deployment.arrivals {
            let delay = |start_s: i64| if start_s < 0 { 0 } else { visible_s - start_s - deployment.spec.bucket_s };
            versions = arrivals.versions.iter().map(|bucket| delay(bucket.start_s)).fold(versions, i64::max);
            witnesses = arrivals.witnesses.iter().map(|record| delay(record.start_s)).fold(witnesses, i64::max);
        }
        (versions, witnesses)
    }

    #[test]
    fn a_backlog_delays_what_it_should() {
        let worst = |class| {
            let all = (0..30).map(|index| longest_delay_s(&generate(&Spec { index, ..spec(class, 100.0) })));
            all.fold((0, 0), |worst, one| (worst.0 + one.0, worst.1 + one.1))
        };
        let (usual, all, counts) = (worst(Class::Healthy), worst(Class::MetricsDelayed), worst(Class::CountsDelayed));
        assert!(usual.1 < 30 * 150, "witnesses are rarely late: {usual:?}");
        assert!(all.0 > usual.0 + 30 * 60 && all.1 > usual.1 + 30 * 120, "all are late: {all:?} {usual:?}");
        assert!(counts.0 > usual.0 + 30 * 15, "counts are late: {counts:?} {usual:?}");
        assert!((counts.1 - usual.1).abs() < 30 * 30, "and the witnesses are not: {counts:?} {usual:?}");
    }
}
