//! How canary and baseline are compared: what a policy may change of the detector's constants.

use super::{OutOfRange, PolicySettings, count, duration, out_of_range};
use crate::metrics::Source;
use crate::vocabulary::{Mode, Signal};
use snapback_judge::Metric;
use snapback_judge::detector::{DetectorSettings, DetectorValues, Margin};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Bucket lengths in seconds: the periods that CloudWatch has. Lambda's own metrics have one point a minute, shorter ones need
/// a team's own metrics of high resolution.
pub const BUCKETS: [u64; 4] = [5, 10, 30, 60];

/// What a policy changes of one detector metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Overrides {
    /// Not judged at all.
    Off,
    /// How much worse than the old version in the same minutes is tolerated; `None` keeps the recommended value. Meaning and range:
    /// [`Margin`].
    Margin {
        /// Tolerated factor.
        factor: Option<f64>,
        /// Tolerated on top, as a share (0.0005 is 0.05 points).
        points: Option<f64>,
    },
}

impl Default for Overrides {
    /// Everything as recommended.
    fn default() -> Self {
        Self::Margin { factor: None, points: None }
    }
}

/// Canary against baseline for one signal: changes by detector metric.
pub type AgainstBaseline = BTreeMap<Metric, Overrides>;

/// The detectors of a policy. They are built with it, as the watcher needs them at each poll.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detectors {
    /// Of those compared signals that may roll back.
    enforcing: Option<Arc<DetectorSettings>>,
    /// Of those that may only tell.
    advisory: Option<Arc<DetectorSettings>>,
}

impl Detectors {
    /// Nothing is compared.
    pub(super) const NONE: Self = Self { enforcing: None, advisory: None };
}

/// Checks what is said about the comparison.
///
/// # Errors
/// Names the first field that is out of range.
pub(super) fn check(settings: &PolicySettings) -> Result<Detectors, OutOfRange> {
    let judge = &settings.judge;
    let bucket = judge.bucket.as_secs();
    if judge.bucket.subsec_nanos() != 0 || !BUCKETS.contains(&bucket) {
        return Err(out_of_range("judge.bucket", super::human(judge.bucket), "5s, 10s, 30s or 60s"));
    }
    duration("judge.ingestion_delay", judge.ingestion_delay, Duration::ZERO, MINUTE)?;
    duration("judge.grace", judge.grace, judge.ingestion_delay, 5 * MINUTE)?;
    duration("judge.no_data_timeout", judge.no_data_timeout, judge.grace, 5 * MINUTE)?;
    // CloudWatch keeps points of less than a minute for three hours, and they are read some minutes later.
    let longest = if bucket < 60 { 165 * MINUTE } else { 180 * MINUTE };
    duration("judge.history", judge.history, judge.bucket, longest)?;
    let slots = judge.history.as_secs().checked_div(bucket).unwrap_or(0);
    count("judge.history in buckets", usize::try_from(slots).unwrap_or(usize::MAX), 1, 1080)?;
    for (field, value) in
        [("long", judge.long), ("recent", judge.recent), ("peak", judge.peak), ("warm_up", judge.warm_up)]
    {
        duration(&format!("judge.{field}"), value, SECOND, 24 * 60 * MINUTE)?;
    }
    duration("judge.minute", judge.minute, SECOND, MINUTE)?;
    for (signal, policy) in &settings.signals {
        for metric in policy.against_baseline.iter().flat_map(BTreeMap::keys) {
            if Signal::from(*metric) != *signal {
                let field = format!("signals.{signal}.against_baseline");
                return Err(out_of_range(&field, metric.as_str(), allowed_metrics(*signal)));
            }
        }
        check_source(*signal, policy.source.as_ref(), policy.against_baseline.is_some())?;
        if policy.objective.is_some() != (*signal == Signal::Slo) {
            let value = if policy.objective.is_some() { "given" } else { "missing" };
            return Err(out_of_range(&format!("signals.{signal}.objective"), value, "given for `slo`, and only there"));
        }
    }
    let detector = |is_enforcing| Ok(detector(settings, is_enforcing)?.map(Arc::new));
    Ok(Detectors { enforcing: detector(true)?, advisory: detector(false)? })
}

fn allowed_metrics(signal: Signal) -> &'static str {
    match signal {
        Signal::Errors => "e5, e4 and probe",
        Signal::Latency => "q90, q99 and body",
        Signal::Transactions => "tx",
        Signal::Availability => "traffic",
        Signal::Slo => "nothing: an objective is not compared with a baseline",
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
        (Signal::Latency | Signal::Availability | Signal::Slo, Some(_)) => {
            Err(out_of_range(&field, "given", "nothing: Lambda's own metrics are read"))
        }
        (Signal::Errors | Signal::Transactions | Signal::Latency | Signal::Availability | Signal::Slo, _) => Ok(()),
    }
}

/// The detector of those compared signals that may roll back (`is_enforcing`) or of those that may only tell. `None`: there is no
/// such signal.
///
/// # Errors
/// When a changed constant is out of its range; names it.
fn detector(settings: &PolicySettings, is_enforcing: bool) -> Result<Option<DetectorSettings>, OutOfRange> {
    let mut values = DetectorValues::default_method();
    let judge = &settings.judge;
    values.alpha = judge.alpha;
    values.grace_s = judge.grace.as_secs_f64();
    values.no_data_timeout_s = judge.no_data_timeout.as_secs_f64();
    values.half_life_long_s = judge.long.as_secs_f64();
    values.half_life_short_s = judge.recent.as_secs_f64();
    values.half_life_peak_s = judge.peak.as_secs_f64();
    values.warm_up_s = judge.warm_up.as_secs_f64();
    values.minute_s = judge.minute.as_secs_f64();
    let overrides = |metric| {
        let signal = settings.signals.get(&Signal::from(metric))?;
        let comparison = signal.against_baseline.as_ref()?;
        let may_roll_back = signal.mode.unwrap_or(settings.mode) == Mode::Rollback;
        let overrides = comparison.get(&metric).copied().unwrap_or_default();
        match overrides {
            Overrides::Margin { factor, points } if may_roll_back == is_enforcing => Some((factor, points)),
            Overrides::Margin { .. } | Overrides::Off => None,
        }
    };
    for (metric, margin) in Metric::COMPARED.into_iter().zip(&mut values.margins) {
        *margin = overrides(metric).and_then(|(factor, points)| {
            let usual = (*margin)?;
            Some(Margin { factor: factor.unwrap_or(usual.factor), points: points.unwrap_or(usual.points) })
        });
    }
    if values.margins.iter().all(Option::is_none) {
        return Ok(None);
    }
    DetectorSettings::new(values)
        .map(Some)
        .map_err(|error| out_of_range(&field_of(&error.field), error.value, error.allowed))
}

/// The policy's field for a field of the detector's settings.
fn field_of(setting: &str) -> String {
    let margin = setting.strip_prefix("margins.").and_then(|path| path.split_once('.'));
    match margin.and_then(|(metric, name)| Some((metric.parse::<Metric>().ok()?, name))) {
        Some((metric, name)) => format!("signals.{}.against_baseline.{metric}.{name}", Signal::from(metric)),
        None => format!("judge.{}", setting.trim_end_matches("_s")),
    }
}

impl super::Policy {
    /// The detector of those compared signals that may roll back (`is_enforcing`), or of those that may only tell; `None` when there
    /// is no such signal.
    #[must_use]
    pub fn detector(&self, is_enforcing: bool) -> Option<&Arc<DetectorSettings>> {
        if is_enforcing { self.detectors.enforcing.as_ref() } else { self.detectors.advisory.as_ref() }
    }

    /// Whether `signal` is compared.
    #[must_use]
    pub fn compares(&self, signal: Signal) -> bool {
        self.signals.get(&signal).is_some_and(|signal| signal.against_baseline.is_some())
    }
}
