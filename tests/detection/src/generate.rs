//! Makes deployments: a service with its habits, the weather of an hour and a half, a new version with or without a fault,
//! and the records that CloudWatch would bring, late, lost and out of order.
//!
//! Requests are Poisson around a load that wanders (a first-order autoregression in the logarithm), and split between the
//! versions by the weight of the alias. Errors are binomial-like with clumps: one bad client or message causes several. Three
//! failed requests in ten are tried again at once. Latency is log-normal with a slow share and with cold starts.
//!
//! Two sources of random numbers: one for the versions, one for the witnesses and for what only the later classes have. So the
//! first sixteen classes are the same deployments with and without witnesses.

use crate::math::{exp, ln, normal_below, pow, sin};
use crate::sample::Sampler;
use crate::trace::{Bucket, Class, Deployment, POLL_S, Plan, Spec, Version, edges_ms};
use crate::witnesses::{Backlog, Neighbours, Observed};
use std::collections::BTreeMap;

/// Share of failed requests that the caller tries again.
const RETRIED: f64 = 0.3;
/// Share of requests that begin a transaction.
const WITH_TRANSACTION: f64 = 0.3;
/// How much longer than usual a slow request takes, and how much a cold start.
const SLOW_FACTOR: f64 = 7.0;
const COLD_FACTOR: f64 = 8.0;
/// Spread of both, in the logarithm.
const SLOW_SPREAD: f64 = 0.6;
const COLD_SPREAD: f64 = 0.4;
/// Cold requests that every version has, in all weather.
const ALWAYS_COLD: f64 = 0.002;
const SECONDS_A_DAY: f64 = 86_400.0;

/// What the service is like, whatever version runs.
struct Service {
    /// Share of requests that fail with 5xx, and with 4xx, and of transactions that fail.
    errors: f64,
    client_errors: f64,
    failed_transactions: f64,
    /// How many errors come together, on average.
    clump: f64,
    /// How much rates differ between minutes, and for each version on its own (in the logarithm).
    restless: f64,
    /// Latency: logarithm of the median in ms, its spread, and the share of slow requests.
    ln_median: f64,
    spread: f64,
    slow: f64,
    /// Share of records that come one to three minutes later than usual, and share of buckets that never come.
    late: f64,
    lost: f64,
}

/// What the new version does differently.
struct Change {
    /// 5xx become `errors_factor` times plus an addition that may depend on time.
    errors_factor: f64,
    extra_errors: ExtraErrors,
    client_errors_factor: f64,
    extra_failed_transactions: f64,
    /// Added to the logarithm of the latency.
    slower: f64,
    /// More slow requests.
    extra_slow: f64,
    /// Share of its requests that arrive, and how that changes in an outage.
    kept: f64,
    outage: Option<Outage>,
    /// When all this begins, in seconds since the start.
    onset_s: f64,
    /// Starts of buckets in which one request of the new version fails by chance.
    mishaps: Vec<i64>,
    /// How much slower a version is right after it got traffic (0: not at all), fading with this time constant.
    warm_up: f64,
    warm_up_s: f64,
}

/// Additional share of requests that fail.
enum ExtraErrors {
    Steady(f64),
    /// Grows in a straight line from 0 at the start to this after 1,000 seconds.
    Growing(f64),
    /// Nothing up to this second, then this share.
    From(f64, f64),
    /// Nothing up to this second, then in a straight line to this share within a minute.
    Rising(f64, f64),
}

/// From this second on only this share of the new version's requests arrives.
struct Outage {
    from_s: f64,
    left: f64,
}

impl ExtraErrors {
    fn at(&self, second: f64) -> f64 {
        match self {
            ExtraErrors::Steady(share) => *share,
            ExtraErrors::Growing(share) => share * (second / 1000.0).clamp(0.0, 1.0),
            ExtraErrors::From(onset_s, share) => {
                if second > *onset_s {
                    *share
                } else {
                    0.0
                }
            }
            ExtraErrors::Rising(onset_s, share) => share * ((second - onset_s) / 60.0).clamp(0.0, 1.0),
        }
    }
}

/// One bucket of time, before anything is counted.
struct Moment {
    start_s: i64,
    mid_s: f64,
    /// The new version's share of traffic, and what it gained since the bucket before.
    weight: f64,
    gained: f64,
    /// Requests per second that callers make, and what part of the usual load that is.
    load: f64,
    part_of_usual: f64,
    /// Additional failures of an incident that hits both versions.
    incident: f64,
    /// Wandering of the latency (logarithm), for both versions together and for each.
    drift: f64,
    latency_noise: (f64, f64),
    /// Factor on the rates of each version.
    rate_noise: (f64, f64),
}

/// Makes the deployment that `spec` describes. The same spec gives the same deployment, on every machine.
#[must_use]
pub fn generate(spec: &Spec) -> Deployment {
    let seed = seed_of(spec);
    let mut sampler = Sampler::new(seed);
    let mut second = Sampler::new(mixed(seed, 2));
    let mut service = service(&mut sampler, spec.class);
    service.become_rare(&mut second, spec.class);
    let change = change(&mut sampler, &mut second, spec, &service);
    let moments = weather(&mut sampler, &mut second, spec, &service);
    let backlog = Backlog::of(&mut second, spec);
    let mut neighbours = Neighbours::of(second, spec);
    let onset_s = change.onset_s;
    let mut deployment = Deployment { spec: *spec, arrivals: BTreeMap::new(), onset_s, harmed: Vec::new() };
    let edges: Vec<f64> = edges_ms().into_iter().map(ln).collect();
    let gains: Vec<(f64, f64)> =
        moments.iter().filter(|moment| moment.gained > 0.02).map(|moment| (moment.mid_s, moment.gained)).collect();
    for moment in &moments {
        let mut scene = Scene { sampler: &mut sampler, spec, service: &service, change: &change, edges: &edges };
        let played = scene.play(moment, &gains);
        let observed = Observed {
            start_s: moment.start_s,
            mid_s: moment.mid_s,
            usual_load: moment.load / moment.part_of_usual.max(1e-3),
            in_front: played.in_front,
            incident: moment.incident,
            fault: change.extra_failing(&service, moment),
        };
        for (visible_s, mut record) in played.records {
            neighbours.mix_in(&observed, moment.load, &mut record);
            let visible_s = if record.start_s < 0 { 0 } else { backlog.versions_at_s(visible_s) };
            deployment.arrivals.entry(visible_s).or_default().versions.push(record);
        }
        for (seen_s, record) in neighbours.observe(&observed) {
            let visible_s = if record.start_s < 0 { 0 } else { next_poll_s(backlog.witnesses_at_s(seen_s)) };
            deployment.arrivals.entry(visible_s).or_default().witnesses.push(record);
        }
        if moment.start_s >= 0 {
            deployment.harmed.push(if spec.class.is_bad() { played.harmed } else { 0.0 });
        }
    }
    deployment
}

/// One number out of everything that names a deployment (the finaliser of `SplitMix64` after each part).
fn seed_of(spec: &Spec) -> u64 {
    let rate = (spec.rate * 100.0).to_bits();
    let parts = [spec.class as u64, rate, spec.plan as u64, spec.bucket_s.unsigned_abs(), spec.index];
    parts.iter().fold(spec.seed, |seed, part| mixed(seed, *part))
}

fn mixed(seed: u64, part: u64) -> u64 {
    let mut mixed = (seed ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Service {
    /// Some services of the later classes hardly ever fail.
    fn become_rare(&mut self, second: &mut Sampler, class: Class) {
        if matches!(class, Class::ErrorsOnClean | Class::CleanBaseline) {
            self.errors = 0.0;
        }
        if class == Class::RareErrors {
            self.failed_transactions = self.errors / 50.0;
            self.errors = second.log_uniform(2e-6, 6e-5);
            self.client_errors = 1e-3;
            self.clump = second.uniform(1.0, 3.0);
        }
    }
}

impl Change {
    /// Additional share of the new version's requests that fails, from the start of the deployment on.
    fn extra_failing(&self, service: &Service, moment: &Moment) -> f64 {
        if moment.start_s < 0 {
            return 0.0;
        }
        (service.errors * (self.errors_factor - 1.0) + self.extra_errors.at(moment.mid_s)).clamp(0.0, 0.97)
    }

    /// Share of the new version's requests that arrives.
    fn kept_at(&self, second: f64) -> f64 {
        self.outage.as_ref().filter(|outage| second > outage.from_s).map_or(self.kept, |outage| self.kept * outage.left)
    }
}

fn service(sampler: &mut Sampler, class: Class) -> Service {
    let bursty = class == Class::HealthyBursty;
    let already_bad = class == Class::AlreadyBad;
    let lossy = class == Class::MetricLoss;
    let clump = if bursty {
        sampler.uniform(2.0, 5.0)
    } else if sampler.chance(0.5) {
        1.0
    } else {
        sampler.uniform(1.0, 2.5)
    };
    Service {
        errors: if already_bad { sampler.uniform(0.02, 0.1) } else { sampler.log_uniform(0.0005, 0.008) },
        client_errors: sampler.log_uniform(0.005, 0.04),
        failed_transactions: if already_bad { sampler.uniform(0.02, 0.1) } else { sampler.log_uniform(0.001, 0.01) },
        clump,
        restless: if bursty { sampler.uniform(0.1, 0.2) } else { sampler.uniform(0.02, 0.08) },
        ln_median: ln(sampler.log_uniform(30.0, 400.0)),
        spread: sampler.uniform(0.35, 0.75),
        slow: sampler.uniform(0.003, 0.012),
        late: if lossy { 0.2 } else { 0.05 },
        lost: if lossy { 0.05 } else { 0.004 },
    }
}

fn change(sampler: &mut Sampler, second: &mut Sampler, spec: &Spec, service: &Service) -> Change {
    let last_step_s = spec.plan.last_step_s() as f64;
    let mut change = Change {
        errors_factor: 1.0,
        extra_errors: ExtraErrors::Steady(0.0),
        client_errors_factor: 1.0,
        extra_failed_transactions: 0.0,
        slower: 0.0,
        extra_slow: 0.0,
        kept: 1.0,
        outage: None,
        onset_s: 0.0,
        mishaps: Vec::new(),
        warm_up: 0.0,
        warm_up_s: sampler.uniform(20.0, 45.0),
    };
    match spec.class {
        Class::ErrorsLarge => change.extra_errors = ExtraErrors::Steady(sampler.uniform(0.1, 0.6)),
        Class::ErrorsSmall => {
            change.extra_errors = ExtraErrors::Steady((service.errors * sampler.uniform(2.0, 5.0)).max(0.004));
        }
        Class::ErrorsRamp => change.extra_errors = ExtraErrors::Growing(sampler.uniform(0.03, 0.1)),
        Class::LatencyShift => change.slower = ln(sampler.uniform(1.25, 2.2)),
        Class::LatencyTail => change.extra_slow = sampler.uniform(0.02, 0.06),
        Class::Silent => change.kept = sampler.uniform(0.0, 0.03),
        Class::Transactions => change.extra_failed_transactions = sampler.uniform(0.02, 0.08),
        Class::ClientErrors => change.client_errors_factor = sampler.uniform(3.0, 6.0),
        Class::WarmUp => change.warm_up = sampler.uniform(0.2, 0.6),
        Class::Negligible => {
            change.errors_factor = sampler.uniform(0.95, 1.08);
            change.slower = sampler.uniform(-0.02, 0.02);
        }
        Class::ErrorsOnClean => change.extra_errors = ExtraErrors::Steady(second.uniform(0.006, 0.09)),
        Class::OnsetInShift => {
            change.onset_s = second.uniform(20.0, last_step_s - 40.0);
            let share = (service.errors * second.uniform(5.0, 14.0)).max(0.01);
            change.extra_errors = ExtraErrors::From(change.onset_s, share);
        }
        Class::ErrorsInBake => {
            change.onset_s = last_step_s + second.uniform(90.0, 500.0);
            change.extra_errors = ExtraErrors::Rising(change.onset_s, second.uniform(0.38, 0.75));
        }
        Class::OutageInBake => {
            change.onset_s = last_step_s + second.uniform(60.0, 460.0);
            change.outage = Some(Outage { from_s: change.onset_s, left: second.uniform(0.0, 0.05) });
        }
        Class::CleanBaseline => change.mishaps = mishaps(second, spec),
        Class::Healthy
        | Class::HealthyBursty
        | Class::IncidentBoth
        | Class::AlreadyBad
        | Class::SpikyTraffic
        | Class::MetricLoss
        | Class::RareErrors
        | Class::TrafficFades
        | Class::WorkInBouts
        | Class::MetricsDelayed
        | Class::CountsDelayed
        | Class::NeighbourFails
        | Class::DependencyFails => {}
    }
    change
}

/// Buckets of the shift in which one request fails by chance: none, one (both with 40 %) or two.
fn mishaps(second: &mut Sampler, spec: &Spec) -> Vec<i64> {
    let chance = second.unit();
    let count = [0.4, 0.8].into_iter().filter(|limit| chance >= *limit).count();
    let buckets = (spec.plan.last_step_s() / spec.bucket_s).max(1);
    (0..count).map(|_| next_below(second, buckets) * spec.bucket_s).collect()
}

/// A whole number from 0 to below `limit`, all equally likely.
fn next_below(sampler: &mut Sampler, limit: i64) -> i64 {
    crate::math::count(sampler.uniform(0.0, limit as f64)).cast_signed().min(limit - 1)
}

/// A wandering series around 0 with this standard deviation; neighbours correlate by `memory`.
fn wander(sampler: &mut Sampler, length: usize, deviation: f64, memory: f64) -> Vec<f64> {
    let fresh = deviation * (1.0 - memory * memory).sqrt();
    let mut value = sampler.normal(0.0, deviation);
    (0..length)
        .map(|_| {
            let now = value;
            value = memory * value + sampler.normal(0.0, fresh);
            now
        })
        .collect()
}

/// The new version's share of traffic in each bucket. The real shift comes up to 30 seconds after the planned one.
fn weights(sampler: &mut Sampler, plan: Plan, bucket_s: i64, starts: &[i64]) -> Vec<f64> {
    let mut before = 0.0;
    let steps: Vec<(f64, f64)> = plan
        .steps()
        .into_iter()
        .map(|(at_s, weight)| {
            let gain = weight - before;
            before = weight;
            (at_s as f64 + sampler.uniform(0.0, 30.0), gain)
        })
        .collect();
    let length = bucket_s as f64;
    let covered = |start_s: &i64, at_s: f64| ((*start_s as f64 + length - at_s) / length).clamp(0.0, 1.0);
    starts
        .iter()
        .map(|start_s| steps.iter().map(|(at_s, gain)| gain * covered(start_s, *at_s)).sum::<f64>().clamp(0.0, 1.0))
        .collect()
}

fn weather(sampler: &mut Sampler, second: &mut Sampler, spec: &Spec, service: &Service) -> Vec<Moment> {
    let length = spec.bucket_s as f64;
    let first = -spec.history_s() / spec.bucket_s;
    let starts: Vec<i64> = (first..spec.plan.end_s() / spec.bucket_s).map(|index| index * spec.bucket_s).collect();
    let count = starts.len();
    let minute_memory = pow(0.55, length / 60.0);
    let weights = weights(sampler, spec.plan, spec.bucket_s, &starts);
    let restless_load = sampler.uniform(0.03, 0.2);
    let load_noise = wander(sampler, count, restless_load, minute_memory);
    let hour = sampler.uniform(0.0, 2.0 * std::f64::consts::PI);
    let spikes = Spikes::of(sampler, spec, count);
    let incident = Incident::of(sampler, second, spec);
    let tide = Tide::of(second, spec, count);
    let drifting = sampler.uniform(0.01, 0.05);
    let drift = wander(sampler, count, drifting, pow(0.9, length / 60.0));
    let mut pair = |deviation: (f64, f64)| {
        let mut one = || {
            let deviation = sampler.uniform(deviation.0, deviation.1);
            wander(sampler, count, deviation, minute_memory)
        };
        let (old, new) = (one(), one());
        old.into_iter().zip(new)
    };
    let rate_noise = pair((service.restless, service.restless));
    let latency_noise = pair((0.005, 0.02));
    let own = rate_noise.zip(latency_noise);
    let shared = starts.iter().zip(weights).zip(load_noise.iter().zip(drift));
    let mut before = 0.0;
    shared
        .zip(own)
        .zip(spikes.0.into_iter().zip(tide.0))
        .map(|((((start_s, weight), (load, drift)), (rate_noise, latency_noise)), (spike, part_of_usual))| {
            let mid_s = *start_s as f64 + length / 2.0;
            let daily = 1.0 + 0.25 * sin(hour + mid_s / SECONDS_A_DAY * 2.0 * std::f64::consts::PI);
            let gained = weight - before;
            before = weight;
            Moment {
                start_s: *start_s,
                mid_s,
                weight,
                gained,
                load: spec.rate * daily * exp(*load) * spike * part_of_usual,
                part_of_usual,
                incident: incident.at(mid_s),
                drift,
                latency_noise,
                rate_noise: (exp(rate_noise.0), exp(rate_noise.1)),
            }
        })
        .collect()
}

/// Factor on the load in each bucket.
struct Spikes(Vec<f64>);

impl Spikes {
    fn of(sampler: &mut Sampler, spec: &Spec, count: usize) -> Spikes {
        if spec.class != Class::SpikyTraffic {
            return Spikes(vec![1.0; count]);
        }
        let deviation = sampler.uniform(0.4, 0.9);
        let jumps = wander(sampler, count, deviation, 0.3);
        let from_s = sampler.uniform(0.0, spec.plan.end_s() as f64 * 0.5);
        let factor = sampler.uniform(1.5, 4.0);
        let length = spec.bucket_s as f64;
        let first_mid_s = -spec.history_s() as f64 + length / 2.0;
        let level = |index: usize| if first_mid_s + index as f64 * length > from_s { factor } else { 1.0 };
        Spikes(jumps.iter().enumerate().map(|(index, jump)| exp(*jump) * level(index)).collect())
    }
}

/// What part of the usual load there is in each bucket, for reasons that have nothing to do with the deployment.
struct Tide(Vec<f64>);

impl Tide {
    fn of(second: &mut Sampler, spec: &Spec, count: usize) -> Tide {
        if spec.class == Class::TrafficFades {
            Tide::fading(second, spec, count)
        } else if spec.class == Class::WorkInBouts {
            Tide::in_bouts(second, spec, count)
        } else {
            Tide(vec![1.0; count])
        }
    }

    /// Everybody goes home, along a logistic curve.
    fn fading(second: &mut Sampler, spec: &Spec, count: usize) -> Tide {
        let low = second.uniform(0.02, 0.25);
        let middle_s = second.uniform(-400.0, spec.plan.end_s() as f64 * 0.8);
        let width_s = second.uniform(20.0, 240.0);
        let length = spec.bucket_s as f64;
        let first_mid_s = -spec.history_s() as f64 + length / 2.0;
        let part = |index: usize| {
            let mid_s = first_mid_s + index as f64 * length;
            low + (1.0 - low) / (1.0 + exp((mid_s - middle_s) / width_s))
        };
        Tide((0..count).map(part).collect())
    }

    /// A queue worker: three times the load for about two minutes, then little or nothing for about six.
    fn in_bouts(second: &mut Sampler, spec: &Spec, count: usize) -> Tide {
        let length = spec.bucket_s as f64;
        let mut busy = second.chance(0.3);
        let mut part = || {
            if second.chance(length / if busy { 130.0 } else { 380.0 }) {
                busy = !busy;
            }
            if busy { 3.0 } else { second.uniform(0.0, 0.04) }
        };
        Tide((0..count).map(|_| part()).collect())
    }
}

/// Some minutes in which both versions fail more.
struct Incident {
    from_s: f64,
    until_s: f64,
    share: f64,
    /// Time constant with which it goes; 0: at once.
    fade_s: f64,
}

impl Incident {
    fn of(sampler: &mut Sampler, second: &mut Sampler, spec: &Spec) -> Incident {
        let last_step_s = spec.plan.last_step_s() as f64;
        if spec.class == Class::IncidentBoth {
            let from_s = sampler.uniform(-60.0, last_step_s * 0.7);
            let until_s = from_s + sampler.uniform(100.0, 400.0);
            Incident { from_s, until_s, share: sampler.log_uniform(0.03, 0.3), fade_s: 0.0 }
        } else if spec.class == Class::DependencyFails {
            let from_s = last_step_s + second.uniform(30.0, 600.0);
            let until_s = from_s + second.uniform(80.0, 380.0);
            Incident { from_s, until_s, share: second.log_uniform(0.03, 0.5), fade_s: 70.0 }
        } else {
            Incident { from_s: 0.0, until_s: 0.0, share: 0.0, fade_s: 0.0 }
        }
    }

    fn at(&self, second: f64) -> f64 {
        if second <= self.from_s {
            0.0
        } else if second < self.until_s {
            self.share
        } else if self.fade_s > 0.0 {
            self.share * exp(-(second - self.until_s) / self.fade_s)
        } else {
            0.0
        }
    }
}

/// What came of one moment.
struct Played {
    /// Records with the polls at which they become visible.
    records: Vec<(i64, Bucket)>,
    /// Requests that arrived in front of the function, whoever answered.
    in_front: u64,
    /// Requests that the fault hurt.
    harmed: f64,
}

/// All that is needed to count what happens in one moment.
struct Scene<'a> {
    sampler: &'a mut Sampler,
    spec: &'a Spec,
    service: &'a Service,
    change: &'a Change,
    /// Logarithms of the edges of the latency bins.
    edges: &'a [f64],
}

impl Scene<'_> {
    fn play(&mut self, moment: &Moment, gains: &[(f64, f64)]) -> Played {
        let calls = self.sampler.poisson(moment.load * self.spec.bucket_s as f64);
        let sent = self.sampler.binomial(calls, moment.weight);
        let arrived = self.sampler.binomial(sent, self.change.kept_at(moment.mid_s));
        let mut in_front = sent - arrived;
        let mut harmed = in_front as f64;
        let delay_s = self.delay_s();
        let gone = self.sampler.chance(self.service.lost);
        let mut records = Vec::new();
        for (version, requests) in [(Version::Old, calls - sent), (Version::New, arrived)] {
            let (record, hurt) = self.count(moment, version, requests, gains);
            harmed += hurt;
            in_front += record.requests;
            let lost = gone || self.sampler.chance(self.service.lost / 2.0);
            let own_delay_s = if self.sampler.chance(0.15) { self.sampler.uniform(0.0, 60.0) } else { 0.0 };
            if record.requests == 0 || lost {
                continue;
            }
            let seen_s = (moment.start_s + self.spec.bucket_s) as f64 + delay_s + own_delay_s;
            records.push((if moment.start_s < 0 { 0 } else { next_poll_s(seen_s) }, record));
        }
        Played { records, in_front, harmed }
    }

    /// Seconds from the end of a bucket until its records are visible.
    fn delay_s(&mut self) -> f64 {
        let usual = if self.spec.bucket_s < 60 {
            8.0 + self.sampler.gamma(2.0, 8.0)
        } else {
            15.0 + self.sampler.gamma(2.0, 15.0)
        };
        let late = self.sampler.chance(self.service.late);
        let more = self.sampler.uniform(60.0, 180.0);
        usual + if late { more } else { 0.0 }
    }

    /// What one version did with its requests, and how many of them the fault hurts.
    fn count(&mut self, moment: &Moment, version: Version, requests: u64, gains: &[(f64, f64)]) -> (Bucket, f64) {
        let (service, change) = (self.service, self.change);
        let is_new = version == Version::New;
        let noise = if is_new { moment.rate_noise.1 } else { moment.rate_noise.0 };
        let usual = service.errors * noise + moment.incident;
        let mut failing = usual;
        let mut client = service.client_errors * noise;
        let mut transaction_failing = service.failed_transactions * noise + 0.5 * moment.incident;
        if is_new {
            let extra = change.extra_errors.at(moment.mid_s);
            failing = (service.errors * noise * change.errors_factor + moment.incident + extra).min(0.98);
            client *= change.client_errors_factor;
            transaction_failing += change.extra_failed_transactions;
        }
        let mut errors = self.clumped(requests, failing, service.clump);
        let retried = self.sampler.binomial(errors, RETRIED);
        errors += self.sampler.binomial(retried, failing);
        let requests = requests + retried;
        let client_clump = self.sampler.uniform(1.0, 2.0);
        let client_errors = self.clumped(requests - errors, client.min(0.9), client_clump);
        let transactions = self.sampler.binomial(requests, WITH_TRANSACTION);
        let failed_transactions = self.clumped(transactions, transaction_failing.min(0.95), service.clump);
        let latency = self.latency(moment, version, requests, gains);
        let mut hurt = 0.0;
        if is_new {
            let all = requests as f64;
            hurt += (failing - usual).max(0.0) * all + change.extra_failed_transactions * transactions as f64;
            hurt += change.extra_slow * all + if change.slower > 0.2 { all } else { 0.0 };
            hurt += if change.client_errors_factor > 2.0 { 3.0 * service.client_errors * all } else { 0.0 };
        }
        let start_s = moment.start_s;
        if is_new {
            let mishaps = change.mishaps.iter().filter(|mishap_s| **mishap_s == start_s).count();
            errors = (errors + mishaps as u64).min(requests - client_errors);
        }
        let record =
            Bucket { version, start_s, requests, errors, client_errors, transactions, failed_transactions, latency };
        (record, hurt)
    }

    /// About `trials` × `share` events that come in clumps of this mean size, at most one for each trial.
    fn clumped(&mut self, trials: u64, share: f64, clump: f64) -> u64 {
        let clumps = self.sampler.poisson(trials as f64 * share / clump);
        let more = if clump > 1.001 { self.sampler.negative_binomial(clumps, 1.0 / clump) } else { 0 };
        (clumps + more).min(trials)
    }

    /// Requests per latency bin: a log-normal body, a slow share, cold starts.
    fn latency(&mut self, moment: &Moment, version: Version, requests: u64, gains: &[(f64, f64)]) -> Vec<(u32, u64)> {
        let (service, change) = (self.service, self.change);
        let is_new = version == Version::New;
        let noise = if is_new { moment.latency_noise.1 } else { moment.latency_noise.0 };
        let mut middle = service.ln_median + moment.drift + noise + ln(1.0 + 3.0 * moment.incident);
        let (mut cold, mut slow) = (ALWAYS_COLD, service.slow);
        if is_new {
            middle += change.slower + self.warm_up(moment, gains);
            slow += change.extra_slow;
            cold += (self.cold_starts(moment) as f64 / requests.max(1) as f64).min(0.8);
        }
        if requests == 0 {
            return Vec::new();
        }
        let body = 1.0 - slow - cold;
        let below = |edge: &f64| {
            let z = edge - middle;
            let share = body * normal_below(z / service.spread)
                + slow * normal_below((z - ln(SLOW_FACTOR)) / SLOW_SPREAD)
                + cold * normal_below((z - ln(COLD_FACTOR)) / COLD_SPREAD);
            share.clamp(0.0, 1.0)
        };
        let mut before = 0.0;
        let shares: Vec<f64> = self
            .edges
            .iter()
            .map(below)
            .chain(std::iter::once(1.0))
            .map(|share| {
                let own: f64 = (share - before).max(0.0);
                before = share;
                own
            })
            .collect();
        let counts = self.sampler.multinomial(requests, &shares);
        (0..).zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// Environments that start because the version just got more traffic.
    fn cold_starts(&mut self, moment: &Moment) -> u64 {
        if moment.start_s < 0 {
            return 0;
        }
        let at_once = moment.load * moment.gained.max(0.0) * exp(self.service.ln_median) / 1000.0;
        let factor = if self.change.warm_up > 0.0 { 4.0 } else { 1.5 };
        let at_least = if moment.gained > 0.0 { 1.0 } else { 0.0 };
        self.sampler.poisson(at_once * factor + at_least)
    }

    /// How much slower (in the logarithm) the version is because part of its traffic is fresh.
    fn warm_up(&self, moment: &Moment, gains: &[(f64, f64)]) -> f64 {
        if self.change.warm_up <= 0.0 {
            return 0.0;
        }
        let (tau, length) = (self.change.warm_up_s, self.spec.bucket_s as f64);
        let fresh: f64 = gains
            .iter()
            .filter(|(mid_s, _)| *mid_s <= moment.mid_s)
            .map(|(mid_s, gained)| gained * exp(-(moment.mid_s - mid_s) / tau))
            .sum();
        let mean = fresh * tau / length * (1.0 - exp(-length / tau));
        ln(1.0 + self.change.warm_up * mean / moment.weight.max(0.02))
    }
}

/// The first poll at or after this second.
fn next_poll_s(second: f64) -> i64 {
    let polls = crate::math::count((second / POLL_S as f64).ceil());
    polls.cast_signed() * POLL_S
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;
    use crate::trace::{DRAIN_S, RATES};

    fn spec(class: Class, rate: f64) -> Spec {
        Spec { seed: 1, class, rate, plan: Plan::Canary10Percent5Minutes, bucket_s: 60, index: 0 }
    }

    fn records(deployment: &Deployment) -> impl Iterator<Item = &Bucket> {
        deployment.arrivals.values().flat_map(|arrivals| &arrivals.versions)
    }

    /// Sums over many deployments of (requests, errors, client errors, transactions, failed ones) after the shift.
    fn after_shift(class: Class, rate: f64, version: Version) -> [f64; 5] {
        let mut sums = [0.0; 5];
        for index in 0..30 {
            let deployment = generate(&Spec { index, ..spec(class, rate) });
            let in_range = |bucket: &&Bucket| match version {
                Version::New => bucket.version == Version::New && bucket.start_s >= 360,
                Version::Old => bucket.version == Version::Old && bucket.start_s < 0,
            };
            for bucket in records(&deployment).filter(in_range) {
                let counts = [
                    bucket.requests,
                    bucket.errors,
                    bucket.client_errors,
                    bucket.transactions,
                    bucket.failed_transactions,
                ];
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count as f64);
            }
        }
        sums
    }

    #[test]
    fn the_same_spec_is_the_same_deployment() {
        let one = spec(Class::ErrorsSmall, 5.0);
        assert_eq!(generate(&one), generate(&one));
        for other in [Spec { seed: 2, ..one }, Spec { index: 1, ..one }, Spec { rate: 100.0, ..one }] {
            assert_ne!(generate(&one).arrivals, generate(&other).arrivals, "{other:?}");
        }
    }

    #[test]
    fn records_are_well_formed() {
        for class in Class::ALL {
            for bucket_s in [60, 10] {
                for rate in [0.3, 100.0] {
                    let deployment = generate(&Spec { bucket_s, ..spec(class, rate) });
                    let mut seen = std::collections::BTreeSet::new();
                    for (visible_s, bucket) in
                        deployment.polls().flat_map(|(now, list)| list.versions.iter().map(move |b| (now, b)))
                    {
                        let case = format!("{} {bucket:?}", deployment.spec.id());
                        assert!(seen.insert((bucket.version, bucket.start_s)), "twice: {case}");
                        assert!(bucket.requests > 0 && bucket.start_s % bucket_s == 0, "{case}");
                        assert!(bucket.errors + bucket.client_errors <= bucket.requests, "{case}");
                        assert!(bucket.transactions <= bucket.requests, "{case}");
                        assert!(bucket.failed_transactions <= bucket.transactions, "{case}");
                        assert_eq!(
                            bucket.latency.iter().map(|(_, count)| count).sum::<u64>(),
                            bucket.requests,
                            "{case}"
                        );
                        assert!(bucket.latency.windows(2).all(|pair| pair[0].0 < pair[1].0), "{case}");
                        assert!(bucket.latency.iter().all(|(bin, count)| *bin <= 129 && *count > 0), "{case}");
                        assert!(
                            bucket.start_s < 0 || visible_s >= bucket.start_s + bucket_s,
                            "from the future: {case}"
                        );
                        assert!(bucket.version == Version::Old || bucket.start_s >= 0, "{case}");
                    }
                    let end = deployment.spec.plan.end_s();
                    assert_eq!(deployment.harmed.len(), usize::try_from(end / bucket_s).unwrap());
                    assert_eq!(deployment.harmed.iter().sum::<f64>() > 0.0, class.is_bad(), "{}", deployment.spec.id());
                    assert_eq!(deployment.polls().last().map(|poll| poll.0), Some(end + DRAIN_S));
                }
            }
        }
    }

    #[test]
    fn traffic_follows_rate_and_plan() {
        for rate in RATES {
            let [old, ..] = after_shift(Class::Healthy, rate, Version::Old);
            let [new, ..] = after_shift(Class::Healthy, rate, Version::New);
            let (old_rate, new_rate) = (old / (30.0 * 3600.0), new / (30.0 * 840.0));
            assert!(
                (old_rate / rate - 1.0).abs() < 0.15 && (new_rate / rate - 1.0).abs() < 0.15,
                "{old_rate} {new_rate}"
            );
        }
    }

    #[test]
    fn each_fault_shows_where_it_should() {
        // (class, which count, over which count, at least this many times the old version's rate)
        let table = [
            (Class::ErrorsLarge, 1, 0, 20.0),
            (Class::ErrorsSmall, 1, 0, 2.0),
            (Class::ErrorsRamp, 1, 0, 5.0),
            (Class::Transactions, 4, 3, 4.0),
            (Class::ClientErrors, 2, 0, 2.5),
        ];
        for (class, part, whole, factor) in table {
            let (old, new) = (after_shift(class, 100.0, Version::Old), after_shift(class, 100.0, Version::New));
            let ratio = (new[part] / new[whole]) / (old[part] / old[whole]);
            assert!(ratio > factor, "{class:?}: {ratio}");
        }
        let (silent, healthy) =
            (after_shift(Class::Silent, 100.0, Version::New), after_shift(Class::Healthy, 100.0, Version::New));
        assert!(silent[0] < 0.04 * healthy[0], "{} of {}", silent[0], healthy[0]);
        let rates = |sums: [f64; 5]| [sums[1] / sums[0], sums[2] / sums[0], sums[4] / sums[3]];
        let old = rates(after_shift(Class::Healthy, 100.0, Version::Old));
        for (before, after) in old.into_iter().zip(rates(healthy)) {
            assert!((after / before - 1.0).abs() < 0.1, "a healthy version differs: {before} {after}");
        }
    }

    /// Median and 99th percentile of the new version after the shift over those of the old one before.
    fn latency_ratio(class: Class) -> (f64, f64) {
        let (mut old, mut new) = (Latencies::default(), Latencies::default());
        let deployment = generate(&spec(class, 1000.0));
        for bucket in records(&deployment) {
            match bucket.version {
                Version::Old if bucket.start_s < 0 => old.add(&bucket.latency),
                Version::New if bucket.start_s >= 360 => new.add(&bucket.latency),
                Version::Old | Version::New => {}
            }
        }
        let ratio = |share| new.quantile_ms(share).unwrap() / old.quantile_ms(share).unwrap();
        (ratio(0.5), ratio(0.99))
    }

    #[test]
    fn latency_faults_show_in_the_quantiles() {
        let (median, tail) = latency_ratio(Class::LatencyShift);
        assert!((1.2..2.4).contains(&median) && (1.2..2.4).contains(&tail), "{median} {tail}");
        let (median, tail) = latency_ratio(Class::LatencyTail);
        assert!((0.9..1.15).contains(&median) && tail > 1.15, "{median} {tail}");
        let (median, tail) = latency_ratio(Class::Healthy);
        assert!((0.9..1.1).contains(&median) && (0.85..1.15).contains(&tail), "{median} {tail}");
    }

    #[test]
    fn metric_loss_loses_and_delays() {
        let mut lost = [0.0, 0.0];
        for (sum, class) in lost.iter_mut().zip([Class::Healthy, Class::MetricLoss]) {
            for index in 0..20 {
                let deployment = generate(&Spec { index, ..spec(class, 100.0) });
                let present = records(&deployment).filter(|bucket| bucket.start_s < 0).count();
                *sum += 60.0 - present as f64;
            }
        }
        assert!(lost[0] < 25.0 && lost[1] > 60.0, "{lost:?} of 1,200 minutes");
    }

    /// Thirty deployments of a class at 100 requests a second.
    fn thirty(class: Class) -> Vec<Deployment> {
        (0..30).map(|index| generate(&Spec { index, ..spec(class, 100.0) })).collect()
    }

    /// Share of requests of this version that failed, over buckets for which `which` holds (deployment, start of the bucket).
    fn failing(all: &[Deployment], version: Version, which: impl Fn(&Deployment, f64) -> bool) -> f64 {
        let mut sums = (0.0, 0.0);
        for deployment in all {
            for bucket in records(deployment) {
                if bucket.version == version && which(deployment, bucket.start_s as f64) {
                    sums = (sums.0 + bucket.errors as f64, sums.1 + bucket.requests as f64);
                }
            }
        }
        sums.0 / sums.1
    }

    #[test]
    fn an_old_version_without_errors_has_none() {
        for class in [Class::ErrorsOnClean, Class::CleanBaseline] {
            let old = failing(&thirty(class), Version::Old, |_, _| true);
            assert!(old.abs() < 1e-12, "{class:?}: {old}");
        }
        let clean = failing(&thirty(Class::ErrorsOnClean), Version::New, |_, _| true);
        assert!((0.006..0.09).contains(&clean), "{clean}");
        let mut by_count = [0, 0, 0];
        for deployment in thirty(Class::CleanBaseline) {
            let of_new = |bucket: &&Bucket| bucket.version == Version::New;
            let in_shift: u64 = records(&deployment)
                .filter(of_new)
                .filter(|bucket| bucket.start_s < 300)
                .map(|bucket| bucket.errors)
                .sum();
            let in_all: u64 = records(&deployment).filter(of_new).map(|bucket| bucket.errors).sum();
            assert_eq!(in_shift, in_all, "chance errors come in the shift");
            by_count[usize::try_from(in_shift).unwrap()] += 1;
        }
        assert!(by_count.iter().all(|count| *count > 0), "none, one and two come: {by_count:?}");
        let rare = thirty(Class::RareErrors);
        let shares = [Version::Old, Version::New].map(|version| failing(&rare, version, |_, _| true));
        assert!(shares.iter().all(|share| (1e-6..1e-4).contains(share)), "{shares:?}");
    }

    #[test]
    fn late_faults_begin_at_their_onset() {
        // (class, first and last possible onset, share of failures before, at least this share from a minute after)
        let table = [(Class::OnsetInShift, 20.0, 260.0, 0.01, 0.01), (Class::ErrorsInBake, 390.0, 800.0, 0.01, 0.38)];
        for (class, first_s, last_s, most_before, least_after) in table {
            let all = thirty(class);
            assert!(all.iter().all(|one| (first_s..last_s).contains(&one.onset_s)), "{class:?}");
            let before = failing(&all, Version::New, |one, start_s| start_s + 60.0 < one.onset_s);
            let after = failing(&all, Version::New, |one, start_s| start_s > one.onset_s + 60.0);
            assert!(before < most_before && after > least_after, "{class:?}: {before}, then {after}");
        }
        for deployment in thirty(Class::OutageInBake) {
            let served = |from_s: f64, until_s: f64| -> u64 {
                let of_new = records(&deployment).filter(|bucket| {
                    bucket.version == Version::New && (from_s..until_s).contains(&(bucket.start_s as f64))
                });
                of_new.map(|bucket| bucket.requests).sum()
            };
            assert!((360.0..760.0).contains(&deployment.onset_s));
            let (before, after) = (
                served(deployment.onset_s - 360.0, deployment.onset_s - 60.0),
                served(deployment.onset_s + 60.0, deployment.onset_s + 360.0),
            );
            assert!(after * 5 < before, "{before}, then {after}");
            let hurt: f64 = deployment.harmed.iter().take(6).sum();
            assert!(hurt.abs() < 1e-12, "nobody is hurt before the earliest onset");
        }
    }

    #[test]
    fn traffic_can_fade_and_come_in_bouts() {
        let load = |deployment: &Deployment, from_s: i64, until_s: i64| -> f64 {
            let of = records(deployment).filter(|bucket| (from_s..until_s).contains(&bucket.start_s));
            of.map(|bucket| bucket.requests as f64).sum()
        };
        let fading = thirty(Class::TrafficFades);
        let faded = fading.iter().filter(|one| load(one, 840, 1200) < 0.7 * load(one, -3600, -3240)).count();
        assert!(faded >= 20, "{faded} of 30");
        for deployment in thirty(Class::WorkInBouts) {
            let minutes: Vec<f64> = (-60..20).map(|index| load(&deployment, index * 60, index * 60 + 60)).collect();
            let idle = minutes.iter().filter(|requests| **requests < 0.1 * 6000.0).count();
            let busy = minutes.iter().filter(|requests| **requests > 1.5 * 6000.0).count();
            assert!(idle > busy && busy > 0, "{busy} busy and {idle} idle minutes");
        }
    }
}
