//! The constants of the method. They were found by simulation of incidents and of healthy deployments (docs/detection).

use super::settings::Margin;

/// The ratios that an error-like rate is suspected of: the new version's rate, as a multiple of what is tolerated.
pub(super) const RATIOS: [f64; 7] = [1.15, 1.35, 1.8, 2.7, 5.0, 15.0, 60.0];
/// A pass says that errors of this ratio would probably have been seen.
pub const SEEN_RATIO: f64 = 5.0;
/// … when the old version fails less than this: at least 0.5 % of the requests.
pub(super) const SEEN_RATE_MIN: f64 = 0.001;
/// A pass needs this much log-evidence, had it been so.
pub const INFORMATION_NEEDED: f64 = 8.0;

/// Mass on "bad from the first bucket with requests on". Source: mixture over change times, Shin, Ramdas and Rinaldo 2022.
pub(super) const MASS_FIRST: f64 = 0.7;
/// Mass spread evenly over all later buckets.
pub(super) const MASS_LATER: f64 = 0.3;

/// A null hypothesis about a rate: at most `factor` times the reference and `points` more, where rates of two equal versions
/// differ by `noise` (relative, τ) in one minute beyond counting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Null {
    pub(super) factor: f64,
    pub(super) points: f64,
    pub(super) noise: f64,
}

/// A null in the same minutes, and against the past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Nulls {
    pub(super) concurrent: Null,
    pub(super) before_after: Null,
}

/// What is bet on one rate, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RateMethod {
    /// W: share of the whole capital.
    pub(super) weight: f64,
    /// m: how many events the prior of the reference rate is worth.
    pub(super) prior_events: f64,
    /// Largest φ: how noisy the events may be believed to be.
    pub(super) dispersion_max: f64,
    /// Most log-evidence of one minute, side by side.
    pub(super) cap: f64,
    /// V: stake on each of [`RATIOS`].
    pub(super) stakes: [f64; 7],
    /// A: nothing changed.
    pub(super) no_change: Nulls,
    /// B: inside the declared margin.
    pub(super) margin: Nulls,
    /// f: smallest rate that is suspected where the old version hardly fails; `None`: no such test (latencies always have a
    /// reference).
    pub(super) clean: Option<f64>,
}

const fn null(factor: f64, points: f64, noise: f64) -> Null {
    Null { factor, points, noise }
}

/// Stakes of errors, transactions and the probe.
pub(super) const ERROR_STAKES: [f64; 7] = [0.14, 0.18, 0.22, 0.20, 0.14, 0.08, 0.04];

/// The rate metrics, in the order e5, tx, q90, q99, e4.
pub(super) const RATES: [RateMethod; 5] = [
    RateMethod {
        weight: 0.25,
        prior_events: 500.0,
        dispersion_max: 30.0,
        cap: 9.0,
        stakes: ERROR_STAKES,
        no_change: Nulls { concurrent: null(1.04, 1e-4, 0.15), before_after: null(1.15, 2e-4, 0.20) },
        margin: Nulls { concurrent: null(1.20, 5e-4, 0.15), before_after: null(1.30, 5e-4, 0.20) },
        clean: Some(1e-3),
    },
    RateMethod {
        weight: 0.15,
        prior_events: 250.0,
        dispersion_max: 30.0,
        cap: 9.0,
        stakes: ERROR_STAKES,
        no_change: Nulls { concurrent: null(1.04, 2e-4, 0.15), before_after: null(1.15, 4e-4, 0.20) },
        margin: Nulls { concurrent: null(1.20, 1e-3, 0.15), before_after: null(1.30, 1e-3, 0.20) },
        clean: Some(2e-3),
    },
    RateMethod {
        weight: 0.08,
        prior_events: 5.0,
        dispersion_max: 1.2,
        cap: 5.0,
        stakes: [0.30, 0.30, 0.25, 0.15, 0.0, 0.0, 0.0],
        no_change: Nulls { concurrent: null(1.02, 0.0, 0.08), before_after: null(1.07, 0.0, 0.10) },
        margin: Nulls { concurrent: null(1.06, 0.0, 0.06), before_after: null(1.10, 0.0, 0.10) },
        clean: None,
    },
    RateMethod {
        weight: 0.12,
        prior_events: 50.0,
        dispersion_max: 2.0,
        cap: 5.0,
        stakes: [0.15, 0.20, 0.25, 0.25, 0.15, 0.0, 0.0],
        no_change: Nulls { concurrent: null(1.08, 0.0, 0.15), before_after: null(1.10, 0.0, 0.15) },
        margin: Nulls { concurrent: null(1.20, 0.0, 0.12), before_after: null(1.20, 0.0, 0.15) },
        clean: None,
    },
    RateMethod {
        weight: 0.08,
        prior_events: 25.0,
        dispersion_max: 60.0,
        cap: 7.0,
        stakes: [0.10, 0.20, 0.25, 0.25, 0.15, 0.05, 0.0],
        no_change: Nulls { concurrent: null(1.10, 1e-3, 0.25), before_after: null(1.20, 1e-3, 0.30) },
        margin: Nulls { concurrent: null(1.50, 3e-3, 0.30), before_after: null(1.50, 3e-3, 0.30) },
        clean: Some(6e-3),
    },
];

/// Margins of body, traffic and probe, as a policy may change them: +9 % of latency; half of the due traffic; 1.5 times and 0.3
/// points more failures.
pub(super) const OTHER_MARGINS: [Margin; 3] =
    [Margin { factor: 1.09, points: 0.0 }, Margin { factor: 0.5, points: 0.0 }, Margin { factor: 1.5, points: 0.003 }];

/// Prior of a reference rate: this many bad events among `prior_events`. Source: Jeffreys' prior.
pub(super) const PRIOR_BAD: f64 = 0.5;
/// Range of a reference rate.
pub(super) const RATE_MIN: f64 = 1e-7;
pub(super) const RATE_MAX: f64 = 0.95;
/// Highest rate that a null may reach.
pub(super) const TOLERATED_MAX: f64 = 0.97;
/// Dispersion: prior sum of squared residuals, and pairs; the largest that counts; the lowest value.
pub(super) const DISPERSION_PRIOR: (f64, f64) = (13.0, 10.0);
pub(super) const RESIDUAL_MAX: f64 = 25.0;
pub(super) const DISPERSION_MIN: f64 = 0.4;
/// Fewest bad events of a peak, and by how many standard errors it is believed lower than it was seen.
pub(super) const PEAK_EVENTS_MIN: f64 = 3.0;
pub(super) const PEAK_ERRORS: f64 = 2.0;
/// Weight of the long reference, in events, within the short one.
pub(super) const SHORT_PRIOR_EVENTS: f64 = 150.0;
/// Before and after: most log-evidence of one minute, and by how many standard errors more than the alternative's own mean.
pub(super) const BEFORE_AFTER_CAP: f64 = 3.0;
pub(super) const BEFORE_AFTER_ERRORS: f64 = 2.0;
/// Largest raw evidence that the onset is judged by.
pub(super) const RAW_MAX: f64 = 1e6;
/// Slow cold starts that young traffic is allowed: this many, or this share of the requests.
pub(super) const COLD_MIN: f64 = 3.0;
pub(super) const COLD_SHARE: f64 = 0.025;
/// Shares of young traffic from which on latencies are shifted by 2 and by 4 edges, and the least ratio that is scored then.
pub(super) const YOUNG: (f64, f64) = (0.2, 0.6);
pub(super) const YOUNG_RATIOS: (f64, f64) = (1.3, 2.0);
/// Clean baseline: most weight of the totals, and the least that is worth a look.
pub(super) const CLEAN_MAX: f64 = 0.6;
pub(super) const CLEAN_MIN: f64 = 0.02;

/// Body: suspected shifts in log latency, stakes, share of the capital, and most log-evidence of a minute side by side.
pub(super) const BODY_SHIFTS: [f64; 5] = [0.04, 0.08, 0.15, 0.30, 0.60];
pub(super) const BODY_STAKES: [f64; 5] = [0.25, 0.25, 0.20, 0.15, 0.15];
pub(super) const BODY_WEIGHT: f64 = 0.15;
pub(super) const BODY_CAP: f64 = 5.0;
/// Null A, in log latency: side by side, and against the past.
pub(super) const BODY_NO_CHANGE: (f64, f64) = (0.02, 0.04);
/// Log latency by which equal versions differ in a minute beyond sampling; what one record's level is uncertain by.
pub(super) const BODY_NOISE: f64 = 0.03;
pub(super) const LEVEL_ERROR: f64 = 0.02;
/// Further doubt of a level that has no old version beside it, per bucket.
pub(super) const ALONE_ERROR: f64 = 0.009;
/// A cold request counts as so much of the whole score; a fresh environment is slower by so much, fading with half a warm-up.
pub(super) const COLD_SCORE: f64 = 0.6;
pub(super) const WARM_UP_SLOWER: f64 = 0.5;
/// More traffic than usual may be so much slower per unit of log traffic, up to a factor e².
pub(super) const LOAD_SLOWER: f64 = 0.10;
pub(super) const LOAD_MAX: f64 = 2.0;
/// Least slope and variance of the octile score.
pub(super) const SLOPE_MIN: f64 = 0.05;
pub(super) const VARIANCE_MIN: f64 = 0.01;
/// Drift of the level per minute: prior standard deviation, and the range per minute.
pub(super) const DRIFT: f64 = 0.012;
pub(super) const DRIFT_RANGE: (f64, f64) = (0.004, 0.05);
/// Distances over which drift is measured, in minutes.
pub(super) const DRIFT_MINUTES: [f64; 3] = [3.0, 6.0, 10.0];
/// Variance of the level before the first record; least variance.
pub(super) const LEVEL_VARIANCE: f64 = 0.05;
pub(super) const LEVEL_VARIANCE_MIN: f64 = 1e-6;
/// No peak of the level yet.
pub(super) const NO_PEAK: f64 = -9.0;
/// A level peak is believed by so many standard errors less.
pub(super) const LEVEL_PEAK_ERRORS: f64 = 1.5;

/// Traffic: suspected shares of what is tolerated, stakes, share of the capital.
pub(super) const TRAFFIC_RATIOS: [f64; 3] = [0.3, 0.1, 0.02];
pub(super) const TRAFFIC_STAKES: [f64; 3] = [0.4, 0.4, 0.2];
pub(super) const TRAFFIC_WEIGHT: f64 = 0.12;
/// Share of what the front counted that the versions may have seen, without anything counting against the new one.
pub(super) const TRAFFIC_AFTER: f64 = 0.3;
/// In the first bucket after a step the new weight counts so much.
pub(super) const STEP_COUNTS: f64 = 0.45;
pub(super) const TRAFFIC_DISPERSION: f64 = 2.0;
pub(super) const TRAFFIC_NOISE: f64 = 0.25;
pub(super) const TRAFFIC_EXPECTED_MIN: f64 = 2.0;
pub(super) const TRAFFIC_CAP: f64 = 8.0;
/// Below this many requests a bucket, missing buckets of the history are no lost data: nobody called.
pub(super) const SPARSE_LEVEL: f64 = 5.0;
/// Prior of the chance that a datum is lost.
pub(super) const LOST_PRIOR: (f64, f64) = (0.5, 10.0);
/// Prior of what the versions count for each request in front of them, in requests.
pub(super) const FRONT_PRIOR: f64 = 5.0;

/// Probe: failures that any version may have, share of the capital alone and beside pairs, caps of both.
pub(super) const PROBE_USUAL: f64 = 0.001;
pub(super) const PROBE_WEIGHT: f64 = 0.05;
pub(super) const PROBE_WEIGHT_BESIDE_PAIRS: f64 = 0.01;
pub(super) const PROBE_CAP: f64 = 4.0;
pub(super) const PROBE_CAP_BESIDE_PAIRS: f64 = 1.2;
pub(super) const PROBE_DISPERSION: f64 = 1.5;
pub(super) const PROBE_NOISE: f64 = 0.09;

/// Others fail: prior events of the peers' rate; how much of a bucket is left in the next.
pub(super) const PEER_PRIOR: f64 = 500.0;
pub(super) const OTHERS_LEFT: f64 = 0.6;
/// Calls of a probe whose record is missing.
pub(super) const PROBE_CALLS: f64 = 60.0;

/// Null B may be left unproven by so much, and the early onset must be the better explanation by so much.
pub(super) const MARGIN_SLACK: f64 = 1.5;
pub(super) const ONSET_LEAD: f64 = 1.0;
/// Buckets with all traffic after which a fault that begins is not laid to the shift.
pub(super) const SETTLED_AFTER: u8 = 2;
/// Gross: this share of the requests and this many; the old version's probe may fail at most this.
pub(super) const GROSS: (f64, f64) = (0.3, 10.0);
pub(super) const GROSS_PROBE: f64 = 0.02;
/// Evidence that was cut because others fail is told above this.
pub(super) const OTHERS_TOLD: f64 = 1.0;
/// At full weight the witnesses of others are waited for so long, in minutes.
pub(super) const WITNESS_WAIT: f64 = 0.5;
/// No record is told after so many silent buckets.
pub(super) const SILENT_BUCKETS: usize = 2;
