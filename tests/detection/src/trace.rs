//! What a detector sees of one deployment, and what only the scorer knows.

use std::collections::BTreeMap;

/// Seconds between two polls.
pub const POLL_S: i64 = 10;
/// Seconds after the bake during which records still count.
pub const DRAIN_S: i64 = 120;
/// Number of edges of the latency histogram.
pub const EDGES: usize = 129;
/// Requests per second of the four sizes of service.
pub const RATES: [f64; 4] = [0.3, 5.0, 100.0, 1000.0];

/// One of the two versions behind an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The one that ran before.
    Old,
    /// The one being deployed.
    New,
}

/// What one version did in one bucket of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Which version.
    pub version: Version,
    /// Start of the bucket, in seconds since the deployment started; negative before.
    pub start_s: i64,
    /// Requests, at least 1: a version without requests has no record.
    pub requests: u64,
    /// Answers with 5xx, or function errors.
    pub errors: u64,
    /// Answers with 4xx.
    pub client_errors: u64,
    /// Transactions begun.
    pub transactions: u64,
    /// Transactions failed.
    pub failed_transactions: u64,
    /// Requests per latency bin, in order of the bin, without empty bins. Bin 0 is below the first edge, bin i lies between
    /// edges i−1 and i, bin [`EDGES`] is the rest.
    pub latency: Vec<(u32, u64)>,
}

/// Something beside the two versions that tells whose doing a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// What arrived in front of the function, whoever answered.
    Front,
    /// Other functions behind the same dependencies, none of them being deployed.
    Peer,
    /// Snapback's own requests, the same number to each version.
    Probe,
}

impl Witness {
    /// All of them.
    pub const ALL: [Witness; 3] = [Witness::Front, Witness::Peer, Witness::Probe];
}

/// What a witness counted in one bucket of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WitnessRecord {
    /// Start of the bucket, in seconds since the deployment started; negative before (never for probes).
    pub start_s: i64,
    /// Who counted what.
    pub reading: WitnessReading,
}

/// The counts of one witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WitnessReading {
    /// [`Witness::Front`].
    Front {
        /// Requests that arrived, at least 1.
        requests: u64,
    },
    /// [`Witness::Peer`], all other functions together.
    Peer {
        /// Requests, at least 1.
        requests: u64,
        /// Those that failed.
        errors: u64,
    },
    /// [`Witness::Probe`]: one record for each version.
    Probe {
        /// The version that was asked.
        version: Version,
        /// Requests that were sent.
        requests: u64,
        /// Those that failed.
        errors: u64,
    },
}

impl WitnessReading {
    /// Which witness this comes from.
    #[must_use]
    pub fn witness(self) -> Witness {
        match self {
            WitnessReading::Front { .. } => Witness::Front,
            WitnessReading::Peer { .. } => Witness::Peer,
            WitnessReading::Probe { .. } => Witness::Probe,
        }
    }
}

/// What became visible between two polls.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arrivals {
    /// Records of the two versions.
    pub versions: Vec<Bucket>,
    /// Records of the witnesses.
    pub witnesses: Vec<WitnessRecord>,
}

static NOTHING: Arrivals = Arrivals { versions: Vec::new(), witnesses: Vec::new() };

/// Upper edges of the latency bins in milliseconds: 2^(i/8) for i from 0 to 128.
#[must_use]
pub fn edges_ms() -> Vec<f64> {
    let step = std::f64::consts::SQRT_2.sqrt().sqrt();
    let octave: Vec<f64> = std::iter::successors(Some(1.0), |edge| Some(edge * step)).take(8).collect();
    (0..EDGES).zip(octave.iter().cycle()).map(|(index, part)| part * (1_u64 << (index / 8)) as f64).collect()
}

/// What is wrong with the new version, or what makes a healthy one look bad.
///
/// Their order here is part of the seed; [`Class::ALL`] is the order of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Bad: 10 to 60 % more errors.
    ErrorsLarge,
    /// Bad: three to six times the errors, at least 0.4 points more.
    ErrorsSmall,
    /// Bad: errors that grow from nothing to 3 to 10 % in a quarter of an hour.
    ErrorsRamp,
    /// Bad: every request takes 1.25 to 2.2 times as long.
    LatencyShift,
    /// Bad: 2 to 6 % of the requests take seven times as long.
    LatencyTail,
    /// Bad: at least 97 % of the requests do not arrive.
    Silent,
    /// Bad: 2 to 8 % more transactions fail.
    Transactions,
    /// Bad: three to six times the 4xx.
    ClientErrors,
    /// Healthy: as good as the old version.
    Healthy,
    /// Healthy: errors in clumps, rates that wander.
    HealthyBursty,
    /// Healthy: some minutes of an incident that hits both versions.
    IncidentBoth,
    /// Healthy: slower at first, more cold starts.
    WarmUp,
    /// Healthy: 2 to 10 % errors before and after.
    AlreadyBad,
    /// Healthy: traffic jumps.
    SpikyTraffic,
    /// Healthy: differs by less than anybody minds.
    Negligible,
    /// Healthy: many records late or lost.
    MetricLoss,
    /// Bad: an old version without errors, a new one that fails 0.6 to 9 %.
    ErrorsOnClean,
    /// Bad: six to fifteen times the errors, from a moment during the shift on.
    OnsetInShift,
    /// Bad: 38 to 75 % more errors, from a moment in the bake on.
    ErrorsInBake,
    /// Bad: at least 95 % of the requests vanish, from a moment in the bake on.
    OutageInBake,
    /// Healthy: no errors before, none to two by chance in the new version.
    CleanBaseline,
    /// Healthy: a few errors in a million requests, in clumps.
    RareErrors,
    /// Healthy: everybody goes home: traffic sinks to 2 to 25 %.
    TrafficFades,
    /// Healthy: a queue worker: busy for two minutes, then idle for six.
    WorkInBouts,
    /// Healthy: all records come minutes late for a while in the bake.
    MetricsDelayed,
    /// Healthy: the function's records come late for a while, the witnesses' do not.
    CountsDelayed,
    /// Healthy: another function behind the same API fails in the bake, and the 5xx counts include it.
    NeighbourFails,
    /// Healthy: a dependency fails in the bake, and with it both versions.
    DependencyFails,
}

impl Class {
    /// All of them, the bad ones first.
    pub const ALL: [Class; 28] = [
        Class::ErrorsLarge,
        Class::ErrorsSmall,
        Class::ErrorsRamp,
        Class::LatencyShift,
        Class::LatencyTail,
        Class::Silent,
        Class::Transactions,
        Class::ClientErrors,
        Class::ErrorsOnClean,
        Class::OnsetInShift,
        Class::ErrorsInBake,
        Class::OutageInBake,
        Class::Healthy,
        Class::HealthyBursty,
        Class::IncidentBoth,
        Class::WarmUp,
        Class::AlreadyBad,
        Class::SpikyTraffic,
        Class::Negligible,
        Class::MetricLoss,
        Class::CleanBaseline,
        Class::RareErrors,
        Class::TrafficFades,
        Class::WorkInBouts,
        Class::MetricsDelayed,
        Class::CountsDelayed,
        Class::NeighbourFails,
        Class::DependencyFails,
    ];

    /// Its name in tables and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::ErrorsLarge => "errors_large",
            Class::ErrorsSmall => "errors_small",
            Class::ErrorsRamp => "errors_ramp",
            Class::LatencyShift => "latency_shift",
            Class::LatencyTail => "latency_tail",
            Class::Silent => "silent",
            Class::Transactions => "transactions",
            Class::ClientErrors => "client_errors",
            Class::Healthy => "healthy",
            Class::HealthyBursty => "healthy_bursty",
            Class::IncidentBoth => "incident_both",
            Class::WarmUp => "warm_up",
            Class::AlreadyBad => "already_bad",
            Class::SpikyTraffic => "spiky_traffic",
            Class::Negligible => "negligible",
            Class::MetricLoss => "metric_loss",
            Class::ErrorsOnClean => "errors_on_clean",
            Class::OnsetInShift => "onset_in_shift",
            Class::ErrorsInBake => "errors_in_bake",
            Class::OutageInBake => "outage_in_bake",
            Class::CleanBaseline => "clean_baseline",
            Class::RareErrors => "rare_errors",
            Class::TrafficFades => "traffic_fades",
            Class::WorkInBouts => "work_in_bouts",
            Class::MetricsDelayed => "metrics_delayed",
            Class::CountsDelayed => "counts_delayed",
            Class::NeighbourFails => "neighbour_fails",
            Class::DependencyFails => "dependency_fails",
        }
    }

    /// What happens, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Class::ErrorsLarge => "10 to 60 % more errors",
            Class::ErrorsSmall => "three to six times the errors, at least 0.4 points more",
            Class::ErrorsRamp => "errors that grow from nothing to 3 to 10 % in a quarter of an hour",
            Class::LatencyShift => "every request takes 1.25 to 2.2 times as long",
            Class::LatencyTail => "2 to 6 % of the requests take seven times as long",
            Class::Silent => "at least 97 % of the requests do not arrive",
            Class::Transactions => "2 to 8 % more transactions fail",
            Class::ClientErrors => "three to six times the 4xx",
            Class::Healthy => "as good as the old version",
            Class::HealthyBursty => "noisy errors, rates that wander",
            Class::IncidentBoth => "some minutes of an incident that hits both versions",
            Class::WarmUp => "slower at first, more cold starts",
            Class::AlreadyBad => "2 to 10 % errors before and after",
            Class::SpikyTraffic => "traffic jumps",
            Class::Negligible => "differs by less than anybody minds",
            Class::MetricLoss => "many records late or lost",
            Class::ErrorsOnClean => "an old version without errors, a new one that fails 0.6 to 9 %",
            Class::OnsetInShift => "six to fifteen times the errors, from a moment during the shift on",
            Class::ErrorsInBake => "38 to 75 % more errors, from a moment in the bake on",
            Class::OutageInBake => "at least 95 % of the requests vanish, from a moment in the bake on",
            Class::CleanBaseline => "no errors before, none to two by chance in the new version",
            Class::RareErrors => "a few errors in a million requests, in clumps",
            Class::TrafficFades => "everybody goes home: traffic sinks to 2 to 25 %",
            Class::WorkInBouts => "a queue worker: busy for two minutes, then idle for six",
            Class::MetricsDelayed => "all records come minutes late for a while in the bake",
            Class::CountsDelayed => "the function's records come late for a while, the witnesses' do not",
            Class::NeighbourFails => {
                "another function behind the same API fails in the bake, and the 5xx counts include it"
            }
            Class::DependencyFails => "a dependency fails in the bake, and with it both versions",
        }
    }

    /// Whether rolling back is right.
    #[must_use]
    pub fn is_bad(self) -> bool {
        match self {
            Class::ErrorsLarge
            | Class::ErrorsSmall
            | Class::ErrorsRamp
            | Class::LatencyShift
            | Class::LatencyTail
            | Class::Silent
            | Class::Transactions
            | Class::ClientErrors
            | Class::ErrorsOnClean
            | Class::OnsetInShift
            | Class::ErrorsInBake
            | Class::OutageInBake => true,
            Class::Healthy
            | Class::HealthyBursty
            | Class::IncidentBoth
            | Class::WarmUp
            | Class::AlreadyBad
            | Class::SpikyTraffic
            | Class::Negligible
            | Class::MetricLoss
            | Class::CleanBaseline
            | Class::RareErrors
            | Class::TrafficFades
            | Class::WorkInBouts
            | Class::MetricsDelayed
            | Class::CountsDelayed
            | Class::NeighbourFails
            | Class::DependencyFails => false,
        }
    }

    /// Whether the fault begins some time after the deployment started.
    #[must_use]
    pub fn begins_late(self) -> bool {
        matches!(self, Class::OnsetInShift | Class::ErrorsInBake | Class::OutageInBake)
    }
}

/// How traffic shifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plan {
    /// 10 % for five minutes, then all.
    Canary10Percent5Minutes,
    /// 10 % more every minute.
    Linear10PercentEvery1Minute,
    /// 20 % more every three minutes.
    Linear20PercentEvery3Minutes,
}

/// How long the new version is watched after its last step, in seconds.
const BAKE_S: i64 = 900;

impl Plan {
    /// All of them.
    pub const ALL: [Plan; 3] =
        [Plan::Canary10Percent5Minutes, Plan::Linear10PercentEvery1Minute, Plan::Linear20PercentEvery3Minutes];

    /// Its short name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Plan::Canary10Percent5Minutes => "canary10_5m",
            Plan::Linear10PercentEvery1Minute => "linear10_1m",
            Plan::Linear20PercentEvery3Minutes => "linear20_3m",
        }
    }

    /// Steps in order: seconds since the start, and the new version's share of traffic from then on.
    #[must_use]
    pub fn steps(self) -> Vec<(i64, f64)> {
        match self {
            Plan::Canary10Percent5Minutes => vec![(0, 0.1), (300, 1.0)],
            Plan::Linear10PercentEvery1Minute => (0..10).map(|step| (60 * step, (step + 1) as f64 / 10.0)).collect(),
            Plan::Linear20PercentEvery3Minutes => (0..5).map(|step| (180 * step, (step + 1) as f64 / 5.0)).collect(),
        }
    }

    /// When the last step comes, in seconds since the start.
    #[must_use]
    pub fn last_step_s(self) -> i64 {
        self.steps().last().map_or(0, |(at_s, _)| *at_s)
    }

    /// End of the bake, in seconds since the start.
    #[must_use]
    pub fn end_s(self) -> i64 {
        self.last_step_s() + BAKE_S
    }
}

/// Which deployment to make; equal ones are made equal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spec {
    /// Seed of the whole benchmark.
    pub seed: u64,
    /// What happens.
    pub class: Class,
    /// Requests per second.
    pub rate: f64,
    /// How traffic shifts.
    pub plan: Plan,
    /// Length of a bucket: 60 or 10 seconds.
    pub bucket_s: i64,
    /// Number among its like.
    pub index: u64,
}

impl Spec {
    /// A readable id, unique within a benchmark.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}-{}-{}-{}", self.class.name(), self.rate, self.plan.name(), self.bucket_s, self.index)
    }

    /// Seconds of the old version's past that the first poll brings.
    #[must_use]
    pub fn history_s(&self) -> i64 {
        if self.bucket_s >= 60 { 3600 } else { 1800 }
    }
}

/// One deployment: what becomes visible when, and the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// What it was made from.
    pub spec: Spec,
    /// Records by the poll at which they become visible.
    pub arrivals: BTreeMap<i64, Arrivals>,
    /// When the fault begins, in seconds since the start. 0 for a healthy one.
    pub onset_s: f64,
    /// Requests hurt by the new version in each bucket since the start. All 0 for a healthy one.
    pub harmed: Vec<f64>,
}

impl Deployment {
    /// All polls in order: seconds since the start, and the records that became visible since the poll before.
    pub fn polls(&self) -> impl Iterator<Item = (i64, &Arrivals)> {
        let count = (self.spec.plan.end_s() + DRAIN_S) / POLL_S;
        (0..=count).map(|poll| {
            let now_s = poll * POLL_S;
            (now_s, self.arrivals.get(&now_s).unwrap_or(&NOTHING))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_eighth_powers_of_two() {
        let edges = edges_ms();
        assert_eq!(edges.len(), EDGES);
        for (index, edge) in edges.iter().enumerate() {
            let wanted = 2_f64.powf(index as f64 / 8.0);
            assert!((edge / wanted - 1.0).abs() < 1e-14, "{index}: {edge}");
        }
    }

    #[test]
    fn plans_reach_everybody_and_bake_a_quarter_of_an_hour() {
        for plan in Plan::ALL {
            let steps = plan.steps();
            assert!(steps.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{plan:?}");
            assert_eq!(steps.last().map(|step| step.1), Some(1.0), "{plan:?}");
            assert_eq!(plan.end_s() - plan.last_step_s(), 900);
        }
        let ends: Vec<i64> = Plan::ALL.into_iter().map(Plan::end_s).collect();
        assert_eq!(ends, [1200, 1440, 1620]);
    }

    #[test]
    fn classes_are_named_once_the_bad_ones_first() {
        assert_eq!(Class::ALL.iter().filter(|class| class.is_bad()).count(), 12);
        assert!(Class::ALL.is_sorted_by_key(|class| !class.is_bad()), "the bad ones first");
        let names: std::collections::BTreeSet<&str> = Class::ALL.iter().map(|class| class.name()).collect();
        assert_eq!(names.len(), 28);
        assert!(Class::ALL.iter().filter(|class| class.begins_late()).all(|class| class.is_bad()));
    }
}
