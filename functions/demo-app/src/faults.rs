//! Faults of one version, read from its environment once.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Why the environment of a version cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum FaultError {
    /// A variable with a value that means nothing.
    #[error("environment variable {name} is `{value}`, allowed is {allowed}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// `DEMO_CRASH_AT_INIT` is `true`.
    #[error("the configuration service refused this version (DEMO_CRASH_AT_INIT is true)")]
    CrashAtInit,
}

/// The faults of a version and when they begin.
#[derive(Debug)]
pub(crate) struct Faults {
    error_rate: f64,
    handled_5xx_rate: f64,
    fail_transactions_rate: f64,
    latency: Duration,
    health_status: u16,
    panics: bool,
    begin_after: Duration,
    first_request: OnceLock<Instant>,
}

/// What goes wrong in one checkout.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct FaultsNow {
    /// Added to the base latency.
    pub(crate) latency: Duration,
    /// The invocation fails.
    pub(crate) error: bool,
    /// The answer has status 500.
    pub(crate) handled_5xx: bool,
    /// The answer has status 200, but the payment failed.
    pub(crate) failed_transaction: bool,
}

impl Faults {
    /// Reads `DEMO_ERROR_RATE`, `DEMO_HANDLED_5XX_RATE`, `DEMO_FAIL_TRANSACTIONS_RATE` (0 to 1), `DEMO_LATENCY_MS`,
    /// `DEMO_FAULT_AFTER_MS` (whole milliseconds), `DEMO_HEALTH_STATUS` (100 to 599), `DEMO_CRASH_AT_INIT` and `DEMO_PANIC`
    /// (`true` or `false`) through `variable`; a missing one is no fault.
    ///
    /// # Errors
    /// When a value is outside its range, or the version is to crash.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, FaultError> {
        if parse(&variable, "DEMO_CRASH_AT_INIT", "true or false", |_: &bool| true)?.unwrap_or(false) {
            return Err(FaultError::CrashAtInit);
        }
        let rate = |name| parse(&variable, name, "0 to 1", |rate: &f64| (0.0..=1.0).contains(rate));
        let millis = |name| parse(&variable, name, "whole milliseconds", |_: &u64| true);
        let status = parse(&variable, "DEMO_HEALTH_STATUS", "100 to 599", |status: &u16| (100..600).contains(status))?;
        Ok(Self {
            error_rate: rate("DEMO_ERROR_RATE")?.unwrap_or(0.0),
            handled_5xx_rate: rate("DEMO_HANDLED_5XX_RATE")?.unwrap_or(0.0),
            fail_transactions_rate: rate("DEMO_FAIL_TRANSACTIONS_RATE")?.unwrap_or(0.0),
            latency: Duration::from_millis(millis("DEMO_LATENCY_MS")?.unwrap_or(0)),
            health_status: status.unwrap_or(200),
            panics: parse(&variable, "DEMO_PANIC", "true or false", |_: &bool| true)?.unwrap_or(false),
            begin_after: Duration::from_millis(millis("DEMO_FAULT_AFTER_MS")?.unwrap_or(0)),
            first_request: OnceLock::new(),
        })
    }

    /// What goes wrong in checkout number `order` (from 0). The first call starts the clock of `DEMO_FAULT_AFTER_MS`.
    pub(crate) fn now(&self, order: u64) -> FaultsNow {
        if !self.begun() {
            return FaultsNow::default();
        }
        FaultsNow {
            latency: self.latency,
            error: is_hit(order, self.error_rate),
            handled_5xx: is_hit(order, self.handled_5xx_rate),
            failed_transaction: is_hit(order, self.fail_transactions_rate),
        }
    }

    /// Panics when `DEMO_PANIC` is `true`, with every event: a rehearsal puts this binary in the place of a hook.
    #[expect(clippy::panic, reason = "the fault that is asked for")]
    pub(crate) fn panic_if_asked(&self) {
        if self.panics {
            panic!("DEMO_PANIC is true");
        }
    }

    /// Status that `/health` answers.
    pub(crate) fn health_status(&self) -> u16 {
        if self.begun() { self.health_status } else { 200 }
    }

    fn begun(&self) -> bool {
        self.first_request.get_or_init(Instant::now).elapsed() >= self.begin_after
    }
}

/// Whether number `order` is one of the share `rate`. Hits are spread evenly, not drawn, so that a rehearsal's rate is
/// exact over any stretch of traffic.
#[expect(clippy::cast_precision_loss, reason = "no process serves 2^52 requests")]
fn is_hit(order: u64, rate: f64) -> bool {
    let hits_before = (order as f64 * rate).floor();
    ((order + 1) as f64 * rate).floor() > hits_before
}

fn parse<T: std::str::FromStr>(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
    allowed: &'static str,
    is_allowed: impl Fn(&T) -> bool,
) -> Result<Option<T>, FaultError> {
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    match value.parse::<T>() {
        Ok(parsed) if is_allowed(&parsed) => Ok(Some(parsed)),
        Ok(_) | Err(_) => Err(FaultError::Invalid { name, value, allowed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &'static str) -> Result<Faults, FaultError> {
        Faults::read(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn a_rate_is_exact_over_any_stretch() {
        for (rate, of_100) in [(0.0, 0), (0.01, 1), (0.25, 25), (0.3, 30), (1.0, 100)] {
            let hits = (0..100).filter(|order| is_hit(*order, rate)).count();
            assert_eq!(hits, of_100, "rate {rate}");
        }
    }

    #[test]
    fn faults_wait_for_their_time() {
        let later = Faults::read(|name| match name {
            "DEMO_FAULT_AFTER_MS" => Some("3600000".to_owned()),
            "DEMO_ERROR_RATE" => Some("1".to_owned()),
            "DEMO_HEALTH_STATUS" => Some("500".to_owned()),
            _ => None,
        })
        .unwrap();
        assert_eq!(later.now(0), FaultsNow::default());
        assert_eq!(later.health_status(), 200);
        assert!(read("DEMO_ERROR_RATE", "1").unwrap().now(0).error, "no wait asked for");
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_name() {
        let table = [
            ("DEMO_ERROR_RATE", "1.01", "0 to 1"),
            ("DEMO_ERROR_RATE", "NaN", "0 to 1"),
            ("DEMO_HANDLED_5XX_RATE", "-0.1", "0 to 1"),
            ("DEMO_FAIL_TRANSACTIONS_RATE", "half", "0 to 1"),
            ("DEMO_LATENCY_MS", "1.5", "whole milliseconds"),
            ("DEMO_FAULT_AFTER_MS", "-1", "whole milliseconds"),
            ("DEMO_HEALTH_STATUS", "600", "100 to 599"),
            ("DEMO_CRASH_AT_INIT", "yes", "true or false"),
            ("DEMO_PANIC", "1", "true or false"),
        ];
        for (name, value, allowed) in table {
            let expected = FaultError::Invalid { name, value: value.to_owned(), allowed };
            assert_eq!(read(name, value).unwrap_err(), expected, "{name}");
        }
        assert_eq!(read("DEMO_CRASH_AT_INIT", "true").unwrap_err(), FaultError::CrashAtInit);
    }
}
