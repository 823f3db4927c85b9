//! How canary and baseline are compared: what a policy may change of the detector's constants.

use super::{OutOfRange, Settings, count, duration, out_of_range};
use crate::canary::{self, Metric, RateValues, Values};
use crate::measure::Source;
use crate::words::{Mode, Signal};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Bucket lengths in seconds: the periods that CloudWatch has. Lambda's own metrics have one point a minute, shorter ones need
/// a team's own metrics of high resolution.
pub const BUCKETS: [u64; 4] = [5, 10, 30, 60];

/// What a policy changes of one detector metric; `None` keeps the recommended value. Meaning and range:
/// [`canary::RateValues`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overrides {
    /// Share of the evidence budget.
    pub weight: Option<f64>,
    /// Tolerated factor against the old version in the same minutes.
    pub factor: Option<f64>,
    /// Tolerated on top, as a share (0.0005 is 0.05 points).
    pub points: Option<f64>,
    /// Relative spread of equal versions in one minute.
    pub noise: Option<f64>,
    /// Tolerated factor against the past, at 100 %.
    pub after_factor: Option<f64>,
    /// Tolerated on top, against the past.
    pub after_points: Option<f64>,
    /// Relative spread against the past.
    pub after_noise: Option<f64>,
    /// Most evidence of one minute.
    pub cap: Option<f64>,
    /// How many events the prior of the reference is worth.
    pub prior_events: Option<f64>,
    /// How clumpy events may be believed to be.
    pub dispersion_max: Option<f64>,
}

/// Canary against baseline for one signal: changes by detector metric.
pub type AgainstBaseline = BTreeMap<Metric, Overrides>;

/// Times and strictness of the comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judge {
    /// Length of a bucket.
    pub bucket: Duration,
    /// A bucket comes this long after its end at the earliest: CloudWatch's newest points still grow.
    pub settle: Duration,
    /// One version's numbers wait this long for the other's. Functions with a time-out over a minute get their time-out and
    /// a minute, at most five minutes.
    pub grace: Duration,
    /// A bucket of which nothing came is given up this long after its end.
    pub dark: Duration,
    /// How much of the service's past is the baseline.
    pub history: Duration,
    /// Half-life of the long reference.
    pub long: Duration,
    /// Half-life of the recent reference.
    pub recent: Duration,
    /// Half-life of the remembered peak.
    pub peak: Duration,
    /// Traffic that is younger than this may be slower: cold starts.
    pub young: Duration,
    /// Bound on the chance of a false rollback of a version at the edge of what is tolerated.
    pub alpha: f64,
}

impl Judge {
    /// The recommended times.
    #[must_use]
    pub const fn recommended() -> Self {
        Self {
            bucket: MINUTE,
            settle: Duration::from_secs(30),
            grace: Duration::from_secs(90),
            dark: Duration::from_secs(180),
            history: Duration::from_secs(3600),
            long: Duration::from_secs(1800),
            recent: Duration::from_secs(180),
            peak: Duration::from_secs(600),
            young: Duration::from_secs(90),
            alpha: 0.05,
        }
    }

    /// How long after the end of a bake its last buckets are waited for.
    #[must_use]
    pub fn drain(&self, tick: Duration) -> Duration {
        (self.bucket + self.settle + 3 * tick).min(Duration::from_secs(150))
    }
}

/// The signal that a detector metric belongs to.
#[must_use]
pub const fn signal_of(metric: Metric) -> Signal {
    match metric {
        Metric::E5 | Metric::E4 => Signal::Errors,
        Metric::Q50 | Metric::Q90 | Metric::Q99 => Signal::Latency,
        Metric::Tx => Signal::Transactions,
        Metric::Traffic => Signal::Availability,
    }
}

/// The detectors of a policy. They are built with it, as the watcher needs them at each look.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detectors {
    /// Of those compared signals that may roll back.
    deciding: Option<Arc<canary::Settings>>,
    /// Of those that may only tell.
    telling: Option<Arc<canary::Settings>>,
}

impl Detectors {
    /// Nothing is compared.
    pub(super) const NONE: Self = Self { deciding: None, telling: None };
}

/// Checks what is said about the comparison.
///
/// # Errors
/// Names the first field that is out of range.
pub(super) fn check(settings: &Settings) -> Result<Detectors, OutOfRange> {
    let judge = &settings.judge;
    let bucket = judge.bucket.as_secs();
    if judge.bucket.subsec_nanos() != 0 || !BUCKETS.contains(&bucket) {
        return Err(out_of_range("judge.bucket", super::human(judge.bucket), "5s, 10s, 30s or 60s"));
    }
    duration("judge.settle", judge.settle, Duration::ZERO, MINUTE)?;
    duration("judge.grace", judge.grace, judge.settle, 5 * MINUTE)?;
    duration("judge.dark", judge.dark, judge.grace, 5 * MINUTE)?;
    // CloudWatch keeps points of less than a minute for three hours, and they are read some minutes later.
    let longest = if bucket < 60 { 165 * MINUTE } else { 180 * MINUTE };
    duration("judge.history", judge.history, judge.bucket, longest)?;
    let slots = judge.history.as_secs().checked_div(bucket).unwrap_or(0);
    count("judge.history in buckets", usize::try_from(slots).unwrap_or(usize::MAX), 1, 1080)?;
    for (field, value) in [("long", judge.long), ("recent", judge.recent), ("peak", judge.peak), ("young", judge.young)]
    {
        duration(&format!("judge.{field}"), value, SECOND, 24 * 60 * MINUTE)?;
    }
    for (signal, policy) in &settings.signals {
        for metric in policy.against_baseline.iter().flat_map(BTreeMap::keys) {
            if signal_of(*metric) != *signal {
                let field = format!("signals.{signal}.against_baseline");
                return Err(out_of_range(&field, metric.as_str(), allowed_metrics(*signal)));
            }
        }
        for (metric, overrides) in policy.against_baseline.iter().flatten() {
            check_overrides(&format!("signals.{signal}.against_baseline.{metric}"), *metric, overrides)?;
        }
        check_source(*signal, policy.source.as_ref(), policy.against_baseline.is_some())?;
        if policy.objective.is_some() != (*signal == Signal::Sla) {
            let value = if policy.objective.is_some() { "given" } else { "missing" };
            return Err(out_of_range(&format!("signals.{signal}.objective"), value, "given for `sla`, and only there"));
        }
    }
    let detector = |decides| Ok(detector(settings, decides)?.map(Arc::new));
    Ok(Detectors { deciding: detector(true)?, telling: detector(false)? })
}

fn allowed_metrics(signal: Signal) -> &'static str {
    match signal {
        Signal::Errors => "e5 and e4",
        Signal::Latency => "q50, q90 and q99",
        Signal::Transactions => "tx",
        Signal::Availability => "traffic",
        Signal::Sla => "nothing: an objective is not compared with a baseline",
    }
}

/// What the detector's own check would not show: it sees weights as shares of their sum, and has fewer constants for traffic.
fn check_overrides(path: &str, metric: Metric, overrides: &Overrides) -> Result<(), OutOfRange> {
    if let Some(weight) = overrides.weight.filter(|weight| !(0.0..=1.0).contains(weight)) {
        return Err(out_of_range(&format!("{path}.weight"), weight, "0 (not judged) to 1"));
    }
    let unknown_to_traffic = [
        ("points", overrides.points),
        ("noise", overrides.noise),
        ("after_points", overrides.after_points),
        ("after_noise", overrides.after_noise),
        ("prior_events", overrides.prior_events),
        ("dispersion_max", overrides.dispersion_max),
    ];
    match unknown_to_traffic.into_iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) if metric == Metric::Traffic => {
            let allowed = "nothing: traffic has weight, factor, after_factor and cap";
            Err(out_of_range(&format!("{path}.{name}"), "given", allowed))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_source(signal: Signal, source: Option<&Source>, is_compared: bool) -> Result<(), OutOfRange> {
    let field = format!("signals.{signal}.metric");
    match (signal, source) {
        (Signal::Transactions, None) if is_compared => {
            Err(out_of_range(&field, "missing", "a custom metric that counts attempts and failures"))
        }
        (Signal::Transactions, Some(Source::Api(_))) => {
            Err(out_of_range(&field, "an API", "a custom metric that counts attempts and failures"))
        }
        (Signal::Latency | Signal::Availability | Signal::Sla, Some(_)) => {
            Err(out_of_range(&field, "given", "nothing: Lambda's own metrics are read"))
        }
        (Signal::Errors | Signal::Transactions | Signal::Latency | Signal::Availability | Signal::Sla, _) => Ok(()),
    }
}

/// The detector of those compared signals that may roll back (`decides`) or of those that may only tell: they share the
/// evidence budget. `None`: there is no such signal.
///
/// # Errors
/// When a changed constant is out of its range; names it.
fn detector(settings: &Settings, decides: bool) -> Result<Option<canary::Settings>, OutOfRange> {
    let mut values = Values::default_method();
    let judge = &settings.judge;
    values.alpha = judge.alpha;
    values.grace_s = judge.grace.as_secs_f64();
    values.dark_s = judge.dark.as_secs_f64();
    values.half_life_long_s = judge.long.as_secs_f64();
    values.half_life_short_s = judge.recent.as_secs_f64();
    values.half_life_peak_s = judge.peak.as_secs_f64();
    values.young_s = judge.young.as_secs_f64();
    let comparison = |metric| {
        let signal = settings.signals.get(&signal_of(metric))?;
        let comparison = signal.against_baseline.as_ref()?;
        let may_roll_back = signal.mode.unwrap_or(settings.mode) == Mode::Rollback;
        (may_roll_back == decides).then(|| comparison.get(&metric).copied().unwrap_or_default())
    };
    if !RATES.into_iter().chain([Metric::Traffic]).any(|metric| comparison(metric).is_some()) {
        return Ok(None);
    }
    for (metric, rate) in RATES.into_iter().zip(&mut values.rates) {
        match comparison(metric) {
            Some(overrides) => overrides.apply(rate),
            None => rate.weight = 0.0,
        }
    }
    match comparison(Metric::Traffic) {
        Some(overrides) => {
            let traffic = &mut values.traffic;
            traffic.weight = overrides.weight.unwrap_or(traffic.weight);
            traffic.concurrent_share = overrides.factor.unwrap_or(traffic.concurrent_share);
            traffic.after_share = overrides.after_factor.unwrap_or(traffic.after_share);
            traffic.cap = overrides.cap.unwrap_or(traffic.cap);
        }
        None => values.traffic.weight = 0.0,
    }
    let total: f64 = values.rates.iter().map(|rate| rate.weight).sum::<f64>() + values.traffic.weight;
    if total <= 0.0 {
        return Err(out_of_range("sum of the weights in against_baseline", total, "above 0, or nothing is judged"));
    }
    for rate in &mut values.rates {
        rate.weight /= total;
    }
    values.traffic.weight /= total;
    canary::Settings::new(values)
        .map(Some)
        .map_err(|error| out_of_range(&field_of(&error.field), error.value, error.allowed))
}

/// The policy's field for a field of the detector's settings.
fn field_of(setting: &str) -> String {
    if setting == "alpha" {
        return "judge.alpha".to_owned();
    }
    let path = setting.strip_prefix("rates.").unwrap_or(setting);
    let metric =
        Metric::ALL.iter().find_map(|metric| Some((metric, path.strip_prefix(metric.as_str())?.strip_prefix('.')?)));
    let Some((metric, name)) = metric else {
        return format!("judge or against_baseline: {setting}");
    };
    let name = match name.split_once('.') {
        Some(("concurrent", part)) => part.to_owned(),
        Some(("before_after", part)) => format!("after_{part}"),
        Some(_) | None => name.replace("concurrent_share", "factor").replace("after_share", "after_factor"),
    };
    format!("signals.{}.against_baseline.{metric}.{name}", signal_of(*metric))
}

/// The detector's rate metrics in its order.
const RATES: [Metric; 6] = [Metric::E5, Metric::Tx, Metric::Q50, Metric::Q90, Metric::Q99, Metric::E4];

impl Overrides {
    fn apply(&self, rate: &mut RateValues) {
        let changes = [
            (&mut rate.weight, self.weight),
            (&mut rate.concurrent.factor, self.factor),
            (&mut rate.concurrent.points, self.points),
            (&mut rate.concurrent.noise, self.noise),
            (&mut rate.before_after.factor, self.after_factor),
            (&mut rate.before_after.points, self.after_points),
            (&mut rate.before_after.noise, self.after_noise),
            (&mut rate.cap, self.cap),
            (&mut rate.prior_events, self.prior_events),
            (&mut rate.dispersion_max, self.dispersion_max),
        ];
        for (value, change) in changes {
            *value = change.unwrap_or(*value);
        }
    }
}

impl super::Policy {
    /// The detector of those compared signals that may roll back (`decides`), or of those that may only tell; `None` when there
    /// is no such signal.
    #[must_use]
    pub fn detector(&self, decides: bool) -> Option<&Arc<canary::Settings>> {
        if decides { self.detectors.deciding.as_ref() } else { self.detectors.telling.as_ref() }
    }

    /// Whether `signal` is compared.
    #[must_use]
    pub fn compares(&self, signal: Signal) -> bool {
        self.signals.get(&signal).is_some_and(|signal| signal.against_baseline.is_some())
    }
}
