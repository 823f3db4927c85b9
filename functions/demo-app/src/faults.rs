//! Faults of one version, read from its environment once.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

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
    hang_rate: f64,
    handled_5xx_rate: f64,
    handled_4xx_rate: f64,
    fail_transactions_rate: f64,
    latency: Duration,
    /// Share of requests to which `latency` is added.
    slow_rate: f64,
    /// Latency that is added for each second that the process has lived.
    leak_per_second: Duration,
    init: Duration,
    /// How long checkouts are slower after the first one, and by how much.
    warm_up: Duration,
    warm_up_extra: Duration,
    health_status: u16,
    crash_rate: f64,
    panics: bool,
    begin_after: Duration,
    started: Instant,
    first_request: OnceLock<Instant>,
    first_checkout: OnceLock<Instant>,
}

/// What goes wrong in one checkout.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct FaultsNow {
    /// Added to the base latency.
    pub(crate) latency: Duration,
    /// It is never answered.
    pub(crate) hangs: bool,
    /// The process ends in the middle of it.
    pub(crate) crashes: bool,
    /// The invocation fails.
    pub(crate) error: bool,
    /// The answer has status 500.
    pub(crate) handled_5xx: bool,
    /// The answer has status 400.
    pub(crate) handled_4xx: bool,
    /// The answer has status 200, but the payment failed.
    pub(crate) failed_transaction: bool,
}

impl Faults {
    /// Reads the version's faults through `variable`; a missing one is no fault.
    ///
    /// * Shares, 0 to 1: `DEMO_ERROR_RATE`, `DEMO_HANG_RATE`, `DEMO_HANDLED_5XX_RATE`, `DEMO_HANDLED_4XX_RATE`,
    ///   `DEMO_FAIL_TRANSACTIONS_RATE`, and `DEMO_SLOW_RATE`: the share of requests that `DEMO_LATENCY_MS` hits (all).
    /// * Whole milliseconds: `DEMO_LATENCY_MS`; `DEMO_LEAK_MS_PER_SECOND`, added for each second that the process has lived;
    ///   `DEMO_INIT_MS`; `DEMO_WARM_UP_MS` after the first checkout, in which `DEMO_WARM_UP_EXTRA_MS` are added;
    ///   `DEMO_FAULT_AFTER_MS`.
    /// * `DEMO_CRASH_RATE`, also a share: the process ends in the middle of a checkout.
    /// * `DEMO_HEALTH_STATUS` (100 to 599), `DEMO_CRASH_AT_INIT` and `DEMO_PANIC` (`true` or `false`).
    /// * `DEMO_BROKEN_ENVIRONMENTS`: only so many environments of the version have its faults, those that were started first. Which
    ///   one this is stands at the end of the name of its log stream, `AWS_LAMBDA_LOG_STREAM_NAME`, on the emulator. What waits for
    ///   `DEMO_FAULT_AFTER_MS` has begun for good in the first one: those that are started later have it at once.
    ///
    /// # Errors
    /// When a value is outside its range, or the version is to crash.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, FaultError> {
        if parse(&variable, "DEMO_CRASH_AT_INIT", "true or false", |_: &bool| true)?.unwrap_or(false) {
            return Err(FaultError::CrashAtInit);
        }
        let number = environment_number(variable("AWS_LAMBDA_LOG_STREAM_NAME").as_deref());
        let broken = parse(&variable, "DEMO_BROKEN_ENVIRONMENTS", "a whole number", |_: &u64| true)?;
        let is_spared = number.zip(broken).is_some_and(|(number, broken)| number > broken);
        let is_first = number.is_none_or(|number| number <= 1);
        let variable = |name: &str| if is_spared { None } else { variable(name) };
        let rate = |name| parse(variable, name, "0 to 1", |rate: &f64| (0.0..=1.0).contains(rate));
        let millis = |name| {
            let ms = parse(variable, name, "whole milliseconds", |_: &u64| true)?;
            Ok::<_, FaultError>(Duration::from_millis(ms.unwrap_or(0)))
        };
        let status = parse(variable, "DEMO_HEALTH_STATUS", "100 to 599", |status: &u16| (100..600).contains(status))?;
        Ok(Self {
            error_rate: rate("DEMO_ERROR_RATE")?.unwrap_or(0.0),
            hang_rate: rate("DEMO_HANG_RATE")?.unwrap_or(0.0),
            handled_5xx_rate: rate("DEMO_HANDLED_5XX_RATE")?.unwrap_or(0.0),
            handled_4xx_rate: rate("DEMO_HANDLED_4XX_RATE")?.unwrap_or(0.0),
            fail_transactions_rate: rate("DEMO_FAIL_TRANSACTIONS_RATE")?.unwrap_or(0.0),
            latency: millis("DEMO_LATENCY_MS")?,
            slow_rate: rate("DEMO_SLOW_RATE")?.unwrap_or(1.0),
            leak_per_second: millis("DEMO_LEAK_MS_PER_SECOND")?,
            init: millis("DEMO_INIT_MS")?,
            warm_up: millis("DEMO_WARM_UP_MS")?,
            warm_up_extra: millis("DEMO_WARM_UP_EXTRA_MS")?,
            health_status: status.unwrap_or(200),
            crash_rate: rate("DEMO_CRASH_RATE")?.unwrap_or(0.0),
            panics: parse(variable, "DEMO_PANIC", "true or false", |_: &bool| true)?.unwrap_or(false),
            begin_after: millis("DEMO_FAULT_AFTER_MS").map(|after| if is_first { after } else { Duration::ZERO })?,
            started: Instant::now(),
            first_request: OnceLock::new(),
            first_checkout: OnceLock::new(),
        })
    }

    /// How long the process takes before it can serve (`DEMO_INIT_MS`).
    pub(crate) fn init(&self) -> Duration {
        self.init
    }

    /// What goes wrong in checkout number `order` (from 0). The first call starts the clocks of `DEMO_FAULT_AFTER_MS` and
    /// `DEMO_WARM_UP_MS`.
    pub(crate) fn now(&self, order: u64) -> FaultsNow {
        let is_warming_up = self.first_checkout.get_or_init(Instant::now).elapsed() < self.warm_up;
        let warm_up = if is_warming_up { self.warm_up_extra } else { Duration::ZERO };
        if !self.begun() {
            return FaultsNow { latency: warm_up, ..FaultsNow::default() };
        }
        let slow = if is_hit(order, self.slow_rate) { self.latency } else { Duration::ZERO };
        let leaked = self.leak_per_second.mul_f64(self.started.elapsed().as_secs_f64());
        FaultsNow {
            latency: slow + leaked + warm_up,
            hangs: is_hit(order, self.hang_rate),
            crashes: is_hit(order, self.crash_rate),
            error: is_hit(order, self.error_rate),
            handled_5xx: is_hit(order, self.handled_5xx_rate),
            handled_4xx: is_hit(order, self.handled_4xx_rate),
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
pub(crate) fn is_hit(order: u64, rate: f64) -> bool {
    let hits_before = (order as f64 * rate).floor();
    ((order + 1) as f64 * rate).floor() > hits_before
}

/// `emulator/[7]3`: the third environment of version 7 that was started.
fn environment_number(log_stream: Option<&str>) -> Option<u64> {
    log_stream?.strip_prefix("emulator/[")?.rsplit_once(']')?.1.parse().ok()
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

    fn of(variables: &'static [(&'static str, &'static str)]) -> Faults {
        Faults::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
            .unwrap()
    }

    #[test]
    fn only_the_slow_share_is_slow() {
        let tail = of(&[("DEMO_LATENCY_MS", "900"), ("DEMO_SLOW_RATE", "0.05")]);
        let slow = (0..100).filter(|order| tail.now(*order).latency == Duration::from_millis(900)).count();
        let fast = (0..100).filter(|order| tail.now(*order).latency.is_zero()).count();
        assert_eq!((slow, fast), (5, 95));
        assert_eq!(read("DEMO_SLOW_RATE", "0.5").unwrap().now(1), FaultsNow::default(), "slow by nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leak_grows_while_the_process_lives() {
        let leak = of(&[("DEMO_LEAK_MS_PER_SECOND", "40")]);
        for (seconds, ms) in [(0, 0), (3, 120), (10, 400)] {
            tokio::time::advance(Duration::from_secs(seconds) - leak.started.elapsed()).await;
            assert_eq!(leak.now(0).latency, Duration::from_millis(ms), "after {seconds} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_warm_up_begins_with_the_first_checkout() {
        let cold = of(&[("DEMO_WARM_UP_MS", "3000"), ("DEMO_WARM_UP_EXTRA_MS", "150")]);
        assert_eq!(cold.health_status(), 200);
        tokio::time::advance(Duration::from_secs(60)).await;
        for (case, ms_later, extra_ms) in [("first", 0, 150), ("still cold", 2999, 150), ("warm", 1, 0)] {
            tokio::time::advance(Duration::from_millis(ms_later)).await;
            assert_eq!(cold.now(7).latency, Duration::from_millis(extra_ms), "{case}");
        }
    }

    #[test]
    fn only_the_first_environments_are_broken() {
        let of = |stream: &'static str, after: &'static str| {
            Faults::read(move |name| match name {
                "AWS_LAMBDA_LOG_STREAM_NAME" => Some(stream.to_owned()),
                "DEMO_BROKEN_ENVIRONMENTS" => Some("2".to_owned()),
                "DEMO_ERROR_RATE" => Some("1".to_owned()),
                "DEMO_FAULT_AFTER_MS" => Some(after.to_owned()),
                _ => None,
            })
            .unwrap()
            .now(0)
            .error
        };
        // (log stream, faults begin after, fails)
        let table = [
            ("emulator/[7]1", "0", true),
            ("emulator/[7]1", "3600000", false),
            ("emulator/[7]2", "3600000", true),
            ("emulator/[7]3", "0", false),
            ("2026/11/30/[7]0123456789abcdef", "0", true),
        ];
        for (stream, after, fails) in table {
            assert_eq!(of(stream, after), fails, "{stream} after {after} ms");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_name() {
        let table = [
            ("DEMO_ERROR_RATE", "1.01", "0 to 1"),
            ("DEMO_ERROR_RATE", "NaN", "0 to 1"),
            ("DEMO_HANDLED_5XX_RATE", "-0.1", "0 to 1"),
            ("DEMO_FAIL_TRANSACTIONS_RATE", "half", "0 to 1"),
            ("DEMO_HANDLED_4XX_RATE", "2", "0 to 1"),
            ("DEMO_HANG_RATE", "", "0 to 1"),
            ("DEMO_CRASH_RATE", "2", "0 to 1"),
            ("DEMO_BROKEN_ENVIRONMENTS", "one", "a whole number"),
            ("DEMO_SLOW_RATE", "-1", "0 to 1"),
            ("DEMO_LATENCY_MS", "1.5", "whole milliseconds"),
            ("DEMO_LEAK_MS_PER_SECOND", "-1", "whole milliseconds"),
            ("DEMO_INIT_MS", "1s", "whole milliseconds"),
            ("DEMO_WARM_UP_MS", "x", "whole milliseconds"),
            ("DEMO_WARM_UP_EXTRA_MS", "0.1", "whole milliseconds"),
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
