//! Every constant of the method. A constructor is the only way in.

use std::ops::Deref;

/// Most ratios that one metric bets on.
const MAX_RATIOS: usize = 16;

/// A setting that is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("detector setting `{field}` is {value}, allowed is {allowed}")]
pub struct InvalidSetting {
    /// Path of the setting, for example `rates.e5.weight`.
    pub field: String,
    /// What was found.
    pub value: f64,
    /// What would be right.
    pub allowed: &'static str,
}

impl InvalidSetting {
    /// The same for a setting that is inside `part`.
    fn inside(self, part: &str) -> Self {
        Self { field: format!("{part}.{}", self.field), ..self }
    }
}

/// How much worse than its reference a rate may be before anything counts against the canary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// Tolerated factor on the reference, at least 1.
    pub factor: f64,
    /// Tolerated on top of it, as a share of all events (0.0005 = 0.05 points).
    pub points: f64,
    /// τ: by how much, relatively, rates of two equal versions differ in one minute beyond counting noise.
    pub noise: f64,
}

/// One alternative that a metric bets on: the rate is `ratio` times its margin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Times the margin; above 1 for rates, below 1 for traffic.
    pub ratio: f64,
    /// Share of the metric's capital, above 0; all of a metric sum to at most 1.
    pub mass: f64,
}

/// Settings of one rate metric.
#[derive(Debug, Clone, PartialEq)]
pub struct RateValues {
    /// W: share of the whole capital that this metric bets with.
    pub weight: f64,
    /// Margin against the baseline of the same bucket.
    pub concurrent: Margin,
    /// Margin against the baseline's past.
    pub before_after: Margin,
    /// m: how many events the prior of the reference rate is worth.
    pub prior_events: f64,
    /// Largest φ: how clumpy the events may be believed to be.
    pub dispersion_max: f64,
    /// Most log-evidence that one minute may give in a concurrent comparison.
    pub cap: f64,
    /// What it bets on.
    pub ratios: Vec<Ratio>,
}

/// Settings of the traffic metric.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficValues {
    /// W: share of the whole capital that this metric bets with.
    pub weight: f64,
    /// Share of its due that the canary may get while traffic is split, without anything counting against it.
    pub concurrent_share: f64,
    /// The same once it has all traffic, of the level before.
    pub after_share: f64,
    /// Clumpiness of requests: the bet is divided by this and more.
    pub dispersion: f64,
    /// τ² of the number of requests in one minute.
    pub noise_squared: f64,
    /// Fewest expected requests per bucket for a bet after the shift.
    pub expected_min: f64,
    /// Most log-evidence of one minute.
    pub cap: f64,
    /// Below this traffic level (requests per bucket) missing buckets of the history are no lost data: nobody called.
    pub sparse_level: f64,
    /// Prior of the chance that a datum is lost: (lost + first) / (buckets + second).
    pub lost_prior: (f64, f64),
    /// What it bets on.
    pub ratios: Vec<Ratio>,
}

/// All constants, unchecked; [`Settings::new`] checks them. [`Settings::default_method`] has the recommended ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// α: bound on the chance of a false rollback per deployment (default 0.05). Source: Ville's inequality.
    pub alpha: f64,
    /// How long after the first record of a bucket the other version's is waited for (default 90 s, at most 300 s).
    pub grace_s: f64,
    /// How long after its end a bucket without any record is waited for (default 180 s, at most 300 s).
    pub dark_s: f64,
    /// Half-life of the long reference (default 1800 s).
    pub half_life_long_s: f64,
    /// Half-life of the short reference and of the traffic level (default 180 s).
    pub half_life_short_s: f64,
    /// Half-life of the remembered peak of the baseline (default 600 s).
    pub half_life_peak_s: f64,
    /// Mass on "bad from the first bucket" (default 0.6). Source: mixture over change times, Shin, Ramdas and Rinaldo 2022.
    pub mass_first: f64,
    /// Mass spread evenly over all later buckets (default 0.4).
    pub mass_later: f64,
    /// The rate metrics, in the order e5, tx, q50, q90, q99, e4.
    pub rates: [RateValues; 6],
    /// The traffic metric.
    pub traffic: TrafficValues,
    /// The prior of a reference rate: this many bad events among `prior_events` (default 0.5). Source: Jeffreys' prior.
    pub prior_bad: f64,
    /// Range of a reference rate (default 1e-7 to 0.95).
    pub reference_range: (f64, f64),
    /// Highest rate that a margin may reach (default 0.97).
    pub margin_max: f64,
    /// Fewest bad events in a bucket for a peak (default 3).
    pub peak_events_min: f64,
    /// Weight of the long reference, in events, within the short one (default 20).
    pub short_prior_events: f64,
    /// Standard errors added to the long reference before and after (default 1.3).
    pub reference_errors: f64,
    /// Before and after: most log-evidence of one minute (default 3).
    pub before_after_cap: f64,
    /// Dispersion: largest squared residual of one pair of buckets (default 25).
    pub residual_max: f64,
    /// Dispersion: prior (sum of residuals, number of pairs), default 16 and 10.
    pub dispersion_prior: (f64, f64),
    /// Dispersion: lowest value (default 0.4).
    pub dispersion_min: f64,
    /// Traffic that came in this time is young: its latencies are those of a warm-up (default 90 s).
    pub young_s: f64,
    /// From these young shares on latencies are shifted by 2 and by 4 edges (defaults 0.2 and 0.6).
    pub young_shares: (f64, f64),
    /// Slow cold starts allowed: y times at least this many (default 3) …
    pub cold_min: f64,
    /// … or this share of the requests, if more (default 0.025).
    pub cold_share: f64,
    /// Smallest factor on the caps in short buckets (default 0.5).
    pub cap_factor_min: f64,
    /// A pass needs this log-evidence, had 5xx errors been `information_ratio` times the margin (default 6).
    pub information_needed: f64,
    /// The ratio that a pass must have been able to see (default 5).
    pub information_ratio: f64,
    /// Most of it from one bucket (default 6).
    pub information_cap: f64,
}

/// A mixture with its logarithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wager {
    pub(super) ratio: f64,
    pub(super) ln_ratio: f64,
    pub(super) ln_mass: f64,
}

/// Validated constants of the method.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    values: Values,
    pub(super) rate_wagers: [Vec<Wager>; 6],
    pub(super) traffic_wagers: Vec<Wager>,
}

impl Deref for Settings {
    type Target = Values;
    fn deref(&self) -> &Values {
        &self.values
    }
}

impl Settings {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first setting that is out of its range, its value and what is allowed.
    pub fn new(values: Values) -> Result<Self, InvalidSetting> {
        check(&values)?;
        Ok(Self::with_logarithms(values))
    }

    /// The recommended method.
    #[must_use]
    pub fn default_method() -> Self {
        Self::with_logarithms(Values::default_method())
    }

    fn with_logarithms(values: Values) -> Self {
        let wagers = |ratios: &[Ratio]| ratios.iter().map(Wager::of).collect();
        Self {
            rate_wagers: values.rates.each_ref().map(|rate| wagers(&rate.ratios)),
            traffic_wagers: wagers(&values.traffic.ratios),
            values,
        }
    }
}

impl Wager {
    fn of(ratio: &Ratio) -> Self {
        Self { ratio: ratio.ratio, ln_ratio: ratio.ratio.ln(), ln_mass: ratio.mass.ln() }
    }
}

/// The grid of ratios of the rate metrics.
const GRID: [f64; 8] = [1.06, 1.15, 1.35, 1.8, 2.7, 5.0, 15.0, 60.0];

fn ratios(masses: [f64; 8]) -> Vec<Ratio> {
    let all = GRID.into_iter().zip(masses).map(|(ratio, mass)| Ratio { ratio, mass });
    all.filter(|ratio| ratio.mass > 0.0).collect()
}

const fn margin(factor: f64, points: f64, noise: f64) -> Margin {
    Margin { factor, points, noise }
}

impl Values {
    /// The recommended constants, found by simulation of incidents and of healthy deployments.
    #[must_use]
    pub fn default_method() -> Self {
        Self {
            alpha: 0.05,
            grace_s: 90.0,
            dark_s: 180.0,
            half_life_long_s: 1800.0,
            half_life_short_s: 180.0,
            half_life_peak_s: 600.0,
            mass_first: 0.6,
            mass_later: 0.4,
            rates: default_rates(),
            traffic: default_traffic(),
            prior_bad: 0.5,
            reference_range: (1e-7, 0.95),
            margin_max: 0.97,
            peak_events_min: 3.0,
            short_prior_events: 20.0,
            reference_errors: 1.3,
            before_after_cap: 3.0,
            residual_max: 25.0,
            dispersion_prior: (16.0, 10.0),
            dispersion_min: 0.4,
            young_s: 90.0,
            young_shares: (0.2, 0.6),
            cold_min: 3.0,
            cold_share: 0.025,
            cap_factor_min: 0.5,
            information_needed: 6.0,
            information_ratio: 5.0,
            information_cap: 6.0,
        }
    }
}

fn default_rates() -> [RateValues; 6] {
    let errors = [0.0, 0.08, 0.14, 0.20, 0.20, 0.18, 0.12, 0.08];
    let e5 = RateValues {
        weight: 0.30,
        concurrent: margin(1.20, 0.0005, 0.15),
        before_after: margin(2.0, 0.002, 0.40),
        prior_events: 500.0,
        dispersion_max: 30.0,
        cap: 6.0,
        ratios: ratios(errors),
    };
    let tx = RateValues {
        weight: 0.15,
        concurrent: margin(1.20, 0.0010, 0.15),
        before_after: margin(2.0, 0.004, 0.40),
        prior_events: 250.0,
        ..e5.clone()
    };
    let q50 = RateValues {
        weight: 0.12,
        concurrent: margin(1.02, 0.0, 0.03),
        before_after: margin(1.06, 0.0, 0.08),
        prior_events: 1.0,
        dispersion_max: 1.0,
        cap: 4.0,
        ratios: ratios([0.35, 0.35, 0.30, 0.0, 0.0, 0.0, 0.0, 0.0]),
    };
    let q90 = RateValues {
        weight: 0.13,
        concurrent: margin(1.06, 0.0, 0.06),
        before_after: margin(1.25, 0.0, 0.15),
        prior_events: 5.0,
        dispersion_max: 1.2,
        cap: 4.0,
        ratios: ratios([0.10, 0.25, 0.30, 0.20, 0.15, 0.0, 0.0, 0.0]),
    };
    let q99 = RateValues {
        weight: 0.10,
        concurrent: margin(1.20, 0.0, 0.12),
        before_after: margin(1.40, 0.0, 0.25),
        prior_events: 50.0,
        dispersion_max: 2.0,
        cap: 4.0,
        ratios: ratios([0.0, 0.10, 0.20, 0.25, 0.25, 0.15, 0.05, 0.0]),
    };
    let e4 = RateValues {
        weight: 0.08,
        concurrent: margin(1.50, 0.0030, 0.30),
        before_after: margin(1.8, 0.005, 0.50),
        prior_events: 25.0,
        dispersion_max: 60.0,
        cap: 6.0,
        ratios: ratios([0.0, 0.05, 0.15, 0.25, 0.25, 0.20, 0.10, 0.0]),
    };
    [e5, tx, q50, q90, q99, e4]
}

fn default_traffic() -> TrafficValues {
    TrafficValues {
        weight: 0.12,
        concurrent_share: 0.5,
        after_share: 0.3,
        dispersion: 2.0,
        noise_squared: 0.25,
        expected_min: 5.0,
        cap: 4.5,
        sparse_level: 5.0,
        lost_prior: (0.5, 10.0),
        ratios: [(0.3, 0.4), (0.1, 0.4), (0.02, 0.2)].map(|(ratio, mass)| Ratio { ratio, mass }).to_vec(),
    }
}

fn check(values: &Values) -> Result<(), InvalidSetting> {
    const SHARE: (f64, f64, &str) = (1e-9, 1.0, "above 0, at most 1");
    const SECONDS: (f64, f64, &str) = (0.0, 300.0, "0 to 300 s");
    const HALF_LIFE: (f64, f64, &str) = (1.0, 604_800.0, "1 to 604800 s");
    const AMOUNT: (f64, f64, &str) = (0.0, 1e6, "0 to 1000000");
    const POSITIVE: (f64, f64, &str) = (1e-6, 1e6, "0.000001 to 1000000");
    let v = values;
    let single = [
        ("alpha", v.alpha, (1e-9, 0.5, "above 0, at most 0.5")),
        ("grace_s", v.grace_s, SECONDS),
        ("dark_s", v.dark_s, SECONDS),
        ("half_life_long_s", v.half_life_long_s, HALF_LIFE),
        ("half_life_short_s", v.half_life_short_s, HALF_LIFE),
        ("half_life_peak_s", v.half_life_peak_s, HALF_LIFE),
        ("mass_first", v.mass_first, SHARE),
        ("mass_later", v.mass_later, SHARE),
        ("mass_first + mass_later", v.mass_first + v.mass_later, SUM),
        ("prior_bad", v.prior_bad, POSITIVE),
        ("reference_range.0", v.reference_range.0, (1e-12, 0.5, "above 0, at most 0.5")),
        ("reference_range.1", v.reference_range.1, (0.5, 0.999, "0.5 to 0.999")),
        ("margin_max", v.margin_max, (0.5, 0.999, "0.5 to 0.999")),
        ("peak_events_min", v.peak_events_min, AMOUNT),
        ("short_prior_events", v.short_prior_events, POSITIVE),
        ("reference_errors", v.reference_errors, AMOUNT),
        ("before_after_cap", v.before_after_cap, POSITIVE),
        ("residual_max", v.residual_max, POSITIVE),
        ("dispersion_prior.0", v.dispersion_prior.0, POSITIVE),
        ("dispersion_prior.1", v.dispersion_prior.1, POSITIVE),
        ("dispersion_min", v.dispersion_min, POSITIVE),
        ("young_s", v.young_s, AMOUNT),
        ("young_shares.0", v.young_shares.0, AMOUNT),
        ("young_shares.1", v.young_shares.1, AMOUNT),
        ("cold_min", v.cold_min, AMOUNT),
        ("cold_share", v.cold_share, (0.0, 1.0, "0 to 1")),
        ("cap_factor_min", v.cap_factor_min, POSITIVE),
        ("information_needed", v.information_needed, POSITIVE),
        ("information_ratio", v.information_ratio, (1.01, 1e3, "1.01 to 1000")),
        ("information_cap", v.information_cap, POSITIVE),
    ];
    single.into_iter().try_for_each(|(field, value, range)| within(field, value, range))?;
    for (name, rate) in ["e5", "tx", "q50", "q90", "q99", "e4"].into_iter().zip(&v.rates) {
        check_rate(rate, v.dispersion_min).map_err(|error| error.inside(name).inside("rates"))?;
    }
    check_traffic(&v.traffic).map_err(|error| error.inside("traffic"))?;
    let weights = v.rates.iter().map(|rate| rate.weight).sum::<f64>() + v.traffic.weight;
    within("sum of the weights", weights, SUM)
}

/// Shares of one capital.
const SUM: (f64, f64, &str) = (0.0, 1.0 + 1e-9, "at most 1");

fn check_rate(rate: &RateValues, dispersion_min: f64) -> Result<(), InvalidSetting> {
    check_margin(rate.concurrent).map_err(|error| error.inside("concurrent"))?;
    check_margin(rate.before_after).map_err(|error| error.inside("before_after"))?;
    within("weight", rate.weight, (0.0, 1.0, "0 (not judged) to 1"))?;
    within("prior_events", rate.prior_events, (1e-3, 1e6, "0.001 to 1000000"))?;
    // The lowest dispersion is `1 - p`, at most 1.
    let dispersions = (dispersion_min.max(1.0), 1e6, "at least 1 and dispersion_min");
    within("dispersion_max", rate.dispersion_max, dispersions)?;
    within("cap", rate.cap, (1e-6, 1e6, "0.000001 to 1000000"))?;
    check_ratios(&rate.ratios, (1.0 + 1e-6, 1e6, "above 1"))
}

fn check_margin(margin: Margin) -> Result<(), InvalidSetting> {
    within("factor", margin.factor, (1.0, 1e3, "1 to 1000"))?;
    within("points", margin.points, (0.0, 1.0, "0 to 1"))?;
    within("noise", margin.noise, (0.0, 1e3, "0 to 1000"))
}

fn check_traffic(traffic: &TrafficValues) -> Result<(), InvalidSetting> {
    let table = [
        ("weight", traffic.weight, (0.0, 1.0, "0 (not judged) to 1")),
        ("concurrent_share", traffic.concurrent_share, (1e-6, 1.0, "above 0, at most 1")),
        ("after_share", traffic.after_share, (1e-6, 1.0, "above 0, at most 1")),
        ("dispersion", traffic.dispersion, (1e-6, 1e6, "0.000001 to 1000000")),
        ("noise_squared", traffic.noise_squared, (0.0, 1e6, "0 to 1000000")),
        ("expected_min", traffic.expected_min, (1e-6, 1e6, "0.000001 to 1000000")),
        ("cap", traffic.cap, (1e-6, 1e6, "0.000001 to 1000000")),
        ("sparse_level", traffic.sparse_level, (0.0, 1e6, "0 to 1000000")),
        ("lost_prior.0", traffic.lost_prior.0, (1e-6, 1e6, "0.000001 to 1000000")),
        ("lost_prior.1", traffic.lost_prior.1, (traffic.lost_prior.0, 1e6, "at least the first")),
    ];
    table.into_iter().try_for_each(|(field, value, range)| within(field, value, range))?;
    check_ratios(&traffic.ratios, (1e-6, 1.0 - 1e-6, "above 0, below 1"))
}

fn check_ratios(ratios: &[Ratio], range: (f64, f64, &'static str)) -> Result<(), InvalidSetting> {
    let count = if ratios.is_empty() || ratios.len() > MAX_RATIOS { f64::INFINITY } else { 1.0 };
    within("ratios (how many)", count, (0.0, 16.0, "1 to 16 of them"))?;
    for ratio in ratios {
        within("ratios", ratio.ratio, range)?;
        within("ratios (mass)", ratio.mass, (1e-9, 1.0, "above 0, at most 1"))?;
    }
    within("ratios (sum of the masses)", ratios.iter().map(|ratio| ratio.mass).sum(), SUM)
}

/// NaN is in no range.
fn within(field: &str, value: f64, (low, high, allowed): (f64, f64, &'static str)) -> Result<(), InvalidSetting> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(InvalidSetting { field: field.to_owned(), value, allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: impl FnOnce(&mut Values)) -> Result<Settings, InvalidSetting> {
        let mut values = Values::default_method();
        change(&mut values);
        Settings::new(values)
    }

    #[test]
    fn the_recommended_constants_are_valid() {
        assert_eq!(Settings::new(Values::default_method()).unwrap(), Settings::default_method());
    }

    #[test]
    fn a_wrong_constant_is_refused_by_name() {
        let table = [
            ("alpha", changed(|v| v.alpha = 0.0)),
            ("grace_s", changed(|v| v.grace_s = 301.0)),
            ("dark_s", changed(|v| v.dark_s = f64::NAN)),
            ("mass_first + mass_later", changed(|v| v.mass_first = 0.7)),
            ("rates.q90.concurrent.factor", changed(|v| v.rates[3].concurrent.factor = 0.9)),
            ("rates.tx.before_after.noise", changed(|v| v.rates[1].before_after.noise = -1.0)),
            ("rates.q50.dispersion_max", changed(|v| v.rates[2].dispersion_max = 0.5)),
            ("rates.q99.ratios (mass)", changed(|v| v.rates[4].ratios[0].mass = 0.0)),
            ("rates.e4.ratios (how many)", changed(|v| v.rates[5].ratios.clear())),
            ("rates.e5.ratios (sum of the masses)", changed(|v| v.rates[0].ratios[0].mass = 0.5)),
            ("traffic.lost_prior.1", changed(|v| v.traffic.lost_prior.1 = 0.1)),
            ("traffic.ratios", changed(|v| v.traffic.ratios[0].ratio = 1.0)),
            ("sum of the weights", changed(|v| v.rates[0].weight = 0.4)),
        ];
        for (field, result) in table {
            assert_eq!(result.unwrap_err().field, field);
        }
    }
}
