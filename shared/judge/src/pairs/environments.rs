//! In how many execution environments did the failing calls of a burst run?

use std::collections::BTreeSet;
use std::time::Duration;

/// A failing call of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedCall<'a> {
    /// How long the function ran (`Duration` in the REPORT line); zero when that is not known.
    pub ran_for: Duration,
    /// The environment's id, if the answer carries one.
    pub environment: Option<&'a str>,
}

/// The least number of environments in which `calls`, all failing calls of the canary in one burst, ran; `None`: nothing
/// useful is known.
///
/// * `window`: from the first call's sending to the last one's answer.
/// * If every answer carries an environment's id, the ids are counted.
/// * Else by time: one environment serves one call at a time, so calls that ran for d₁, d₂, … inside a window Λ were in at
///   least ⌈Σd/Λ⌉ environments. Or by those ids that there are, if they are more. Such a bound is given only if it is at least
///   half of the calls: a low one would hide more than it proves, and calls that fail within milliseconds prove nothing by it.
#[must_use]
pub fn environments(calls: &[FailedCall<'_>], window: Duration) -> Option<u32> {
    let ids: BTreeSet<&str> = calls.iter().filter_map(|call| call.environment).collect();
    if !calls.is_empty() && calls.iter().all(|call| call.environment.is_some()) {
        return u32::try_from(ids.len()).ok();
    }
    // No call inside the window ran for longer than the window; clocks differ.
    let ran: u128 = calls.iter().map(|call| call.ran_for.min(window).as_nanos()).sum();
    let by_time = if window.is_zero() { 0 } else { usize::try_from(ran.div_ceil(window.as_nanos())).ok()? };
    let least = by_time.max(ids.len());
    (least > 0 && least.saturating_mul(2) >= calls.len()).then(|| u32::try_from(least).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_the_environments() {
        let by_time = |ms: u64| FailedCall { ran_for: Duration::from_millis(ms), environment: None };
        let by_id = |environment| FailedCall { ran_for: Duration::from_millis(2), environment: Some(environment) };
        // (case, calls, window in ms, environments)
        let table = [
            ("no failing call", vec![], 100, None),
            ("all the time, each its own", vec![by_time(100); 10], 100, Some(10)),
            ("nine tenths of the time", vec![by_time(90); 10], 100, Some(9)),
            ("rounded up", vec![by_time(61); 10], 100, Some(7)),
            ("just half", vec![by_time(50); 10], 100, Some(5)),
            ("under half", vec![by_time(40); 10], 100, None),
            ("a few ms", vec![by_time(2); 10], 100, None),
            ("one call is one environment", vec![by_time(2)], 100, Some(1)),
            ("longer than the window cannot be", vec![by_time(500); 4], 100, Some(4)),
            ("no window", vec![by_time(5); 4], 0, None),
            ("durations are not known", vec![by_time(0); 4], 100, None),
            ("ids", vec![by_id("a"), by_id("b"), by_id("a"), by_id("c")], 100, Some(3)),
            ("one id, far under half, but all is known", vec![by_id("a"); 10], 100, Some(1)),
            ("some ids, at least half", vec![by_id("a"), by_id("b"), by_time(2), by_time(2)], 100, Some(2)),
            ("some ids, too few", vec![by_id("a"), by_time(2), by_time(2)], 100, None),
        ];
        for (case, calls, window_ms, expected) in table {
            assert_eq!(environments(&calls, Duration::from_millis(window_ms)), expected, "{case}");
        }
        assert_eq!(
            environments(&[FailedCall { ran_for: Duration::MAX, environment: None }; 3], Duration::MAX),
            Some(3)
        );
    }
}
