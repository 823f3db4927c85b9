//! What a policy may change of the method. A constructor is the only way in.

use super::counts::Witnesses;
use super::method::{self, Null, Nulls, RateMethod};
use crate::vocabulary::Metric;
use std::ops::Deref;

/// A setting that is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("detector setting `{field}` is {value}, allowed is {allowed}")]
pub struct InvalidSetting {
    /// Path of the setting, for example `margins.e5.factor`.
    pub field: String,
    /// What was found.
    pub value: f64,
    /// What would be right.
    pub allowed: &'static str,
}

/// How much worse than the old version in the same minutes the new one may be before it is undone.
///
/// For `traffic`: `factor` is the share of its due that the new version may get. For `body`: the factor on the latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margin {
    /// Tolerated factor.
    pub factor: f64,
    /// Tolerated on top of it, as a share of all events (0.0005 = 0.05 points). `body` and `traffic` have none.
    pub points: f64,
}

/// What can be set, unchecked; [`DetectorSettings::new`] checks it.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorValues {
    /// α: bound on the chance of a false rollback per deployment (default 0.01). Source: Ville's inequality.
    pub alpha: f64,
    /// How long after the first record of a bucket the other version's is waited for (default 90 s, at most 300 s).
    pub grace_s: f64,
    /// How long a bucket without any version's record is waited for once the witnesses spoke (default 240 s, at most 300 s).
    pub no_data_timeout_s: f64,
    /// Half-life of the long reference (default 1800 s).
    pub half_life_long_s: f64,
    /// Half-life of the short reference and of the traffic level (default 180 s).
    pub half_life_short_s: f64,
    /// Half-life of the remembered peak of the baseline (default 600 s).
    pub half_life_peak_s: f64,
    /// Traffic that came in this time is young: its latencies are those of a warm-up (default 90 s).
    pub warm_up_s: f64,
    /// Length of the minute in which noise is shared and that caps are for (60 s; shorter only where time is).
    pub minute_s: f64,
    /// Whether the usual rate of errors follows what the old version does while it serves beside the new one (default true). False
    /// where errors can only be counted of both together: then it stays what it was before the shift.
    pub errors_follow: bool,
    /// What is judged, by how much worse it may be, in the order of [`Metric::COMPARED`]; `None`: off.
    pub margins: [Option<Margin>; 8],
}

/// Validated settings, with the method's constants.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorSettings {
    values: DetectorValues,
    /// e5, tx, q90, q99, e4, with the margins of the values.
    pub(super) rates: [RateMethod; 5],
    pub(super) stakes: Stakes,
}

/// ln of what is staked on each alternative; minus infinity where nothing is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stakes {
    pub(super) rates: [[f64; 7]; 5],
    pub(super) body: [f64; 5],
    pub(super) traffic: [f64; 3],
    pub(super) probe: [f64; 7],
}

impl Deref for DetectorSettings {
    type Target = DetectorValues;
    fn deref(&self) -> &DetectorValues {
        &self.values
    }
}

impl DetectorValues {
    /// The recommended settings.
    #[must_use]
    pub fn default_method() -> Self {
        let rates = method::RATES.iter().map(|rate| {
            let Null { factor, points, .. } = rate.margin.concurrent;
            Margin { factor, points }
        });
        let mut margins = [None; 8];
        for (to, margin) in margins.iter_mut().zip(rates.chain(method::OTHER_MARGINS)) {
            *to = Some(margin);
        }
        Self {
            alpha: 0.01,
            grace_s: 90.0,
            no_data_timeout_s: 240.0,
            half_life_long_s: 1800.0,
            half_life_short_s: 180.0,
            half_life_peak_s: 600.0,
            warm_up_s: 90.0,
            minute_s: 60.0,
            errors_follow: true,
            margins,
        }
    }

    /// The recommended margin of one metric; `None` for one that is not set here.
    #[must_use]
    pub fn default_margin(metric: Metric) -> Option<Margin> {
        Self::default_method().margin(metric)
    }

    /// The margin of one metric; `None`: off.
    #[must_use]
    pub fn margin(&self, metric: Metric) -> Option<Margin> {
        Metric::COMPARED.iter().zip(self.margins).find_map(|(known, margin)| margin.filter(|_| *known == metric))
    }
}

impl DetectorSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first setting that is out of its range, its value and what is allowed.
    pub fn new(values: DetectorValues) -> Result<Self, InvalidSetting> {
        check(&values)?;
        Ok(Self::of(values))
    }

    /// The same with other values.
    ///
    /// # Errors
    /// As [`DetectorSettings::new`].
    pub fn with(&self, change: impl FnOnce(&mut DetectorValues)) -> Result<Self, InvalidSetting> {
        let mut values = self.values.clone();
        change(&mut values);
        Self::new(values)
    }

    /// The recommended method.
    #[must_use]
    pub fn default_method() -> Self {
        Self::of(DetectorValues::default_method())
    }

    fn of(values: DetectorValues) -> Self {
        let mut rates = method::RATES;
        for (rate, margin) in rates.iter_mut().zip(&values.margins) {
            if let Some(Margin { factor, points }) = *margin {
                let Nulls { concurrent, before_after } = rate.margin;
                rate.margin = Nulls { concurrent: Null { factor, points, ..concurrent }, before_after };
            }
        }
        let stakes = Stakes {
            rates: rates.map(|rate| rate.stakes.map(f64::ln)),
            body: method::BODY_STAKES.map(f64::ln),
            traffic: method::TRAFFIC_STAKES.map(f64::ln),
            probe: method::ERROR_STAKES.map(f64::ln),
        };
        Self { values, rates, stakes }
    }

    /// ln W of each metric, in the order of [`Metric::COMPARED`].
    pub(super) fn ln_weights(&self, witnesses: Witnesses) -> [f64; 8] {
        let probe = if witnesses.pair { method::PROBE_WEIGHT_BESIDE_PAIRS } else { method::PROBE_WEIGHT };
        let [e5, tx, q90, q99, e4] = self.rates.map(|rate| rate.weight);
        [e5, tx, q90, q99, e4, method::BODY_WEIGHT, method::TRAFFIC_WEIGHT, probe].map(f64::ln)
    }

    /// ln(1/α): so much log-evidence is a rollback.
    pub(super) fn enough(&self) -> f64 {
        -self.alpha.ln()
    }
}

fn check(values: &DetectorValues) -> Result<(), InvalidSetting> {
    const SECONDS: (f64, f64, &str) = (0.0, 300.0, "0 to 300 s");
    const HALF_LIFE: (f64, f64, &str) = (1.0, 604_800.0, "1 to 604800 s");
    let v = values;
    let single = [
        ("alpha", v.alpha, (1e-9, 0.5, "above 0, at most 0.5")),
        ("grace_s", v.grace_s, SECONDS),
        ("no_data_timeout_s", v.no_data_timeout_s, SECONDS),
        ("half_life_long_s", v.half_life_long_s, HALF_LIFE),
        ("half_life_short_s", v.half_life_short_s, HALF_LIFE),
        ("half_life_peak_s", v.half_life_peak_s, HALF_LIFE),
        ("warm_up_s", v.warm_up_s, (1.0, 86_400.0, "1 to 86400 s")),
        ("minute_s", v.minute_s, (1.0, 60.0, "1 to 60 s")),
    ];
    single.into_iter().try_for_each(|(field, value, range)| within(field, value, range))?;
    for (metric, margin) in Metric::COMPARED.iter().zip(&v.margins) {
        let Some(margin) = margin else { continue };
        let factor = match metric {
            Metric::Traffic => (1e-6, 1.0, "above 0, at most 1"),
            Metric::E5
            | Metric::Tx
            | Metric::Q90
            | Metric::Q99
            | Metric::E4
            | Metric::Body
            | Metric::Probe
            | Metric::Pair => (1.0, 1e3, "1 to 1000"),
        };
        let points = match metric {
            Metric::Traffic | Metric::Body => (0.0, 0.0, "nothing: this metric has a factor only"),
            Metric::E5 | Metric::Tx | Metric::Q90 | Metric::Q99 | Metric::E4 | Metric::Probe | Metric::Pair => {
                (0.0, 0.9, "0 to 0.9")
            }
        };
        within(&format!("margins.{metric}.factor"), margin.factor, factor)?;
        within(&format!("margins.{metric}.points"), margin.points, points)?;
    }
    Ok(())
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

    fn changed(change: impl FnOnce(&mut DetectorValues)) -> Result<DetectorSettings, InvalidSetting> {
        let mut values = DetectorValues::default_method();
        change(&mut values);
        DetectorSettings::new(values)
    }

    #[test]
    fn the_recommended_settings_are_valid() {
        assert_eq!(changed(|_| {}).unwrap(), DetectorSettings::default_method());
        let weights: f64 = method::RATES.iter().map(|rate| rate.weight).sum();
        let all = weights + method::BODY_WEIGHT + method::TRAFFIC_WEIGHT + method::PROBE_WEIGHT;
        assert!((all - 1.0).abs() < 1e-12, "one capital: {all}");
        let stakes = method::RATES.iter().map(|rate| rate.stakes.iter().sum::<f64>());
        let others = [method::BODY_STAKES.iter().sum::<f64>(), method::TRAFFIC_STAKES.iter().sum()];
        assert!(stakes.chain(others).all(|sum| (sum - 1.0).abs() < 1e-12), "each metric stakes all of its share");
    }

    #[test]
    fn a_margin_changes_the_margin_side_by_side_and_nothing_else() {
        let wide = Margin { factor: 2.0, points: 0.01 };
        let settings = changed(|v| v.margins[0] = Some(wide)).unwrap();
        let (now, usual) = (settings.rates[0], method::RATES[0]);
        assert_eq!((now.margin.concurrent.factor, now.margin.concurrent.points), (2.0, 0.01));
        assert_eq!(now.margin.concurrent.noise.to_bits(), usual.margin.concurrent.noise.to_bits());
        assert_eq!((now.no_change, now.margin.before_after), (usual.no_change, usual.margin.before_after));
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name() {
        let margin =
            |index: usize, factor, points| changed(move |v| v.margins[index] = Some(Margin { factor, points }));
        let table = [
            ("alpha", changed(|v| v.alpha = 0.0)),
            ("grace_s", changed(|v| v.grace_s = 301.0)),
            ("no_data_timeout_s", changed(|v| v.no_data_timeout_s = f64::NAN)),
            ("warm_up_s", changed(|v| v.warm_up_s = 0.0)),
            ("minute_s", changed(|v| v.minute_s = 61.0)),
            ("margins.e5.factor", margin(0, 0.9, 0.0)),
            ("margins.tx.points", margin(1, 1.0, -0.1)),
            ("margins.body.points", margin(5, 1.2, 0.1)),
            ("margins.traffic.factor", margin(6, 1.1, 0.0)),
            ("margins.probe.factor", margin(7, f64::INFINITY, 0.0)),
        ];
        for (field, result) in table {
            assert_eq!(result.unwrap_err().field, field);
        }
    }
}
