//! What one call of a probe says about the version that was called.

use super::record::ProbeOutcome;
use std::time::Duration;

/// So long an answer is waited for.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// An answer is far too late from this multiple of `within` on …
const FAR_TOO_LATE: u32 = 3;
/// … and at least so much later than `within`.
const FAR_TOO_LATE_BY: Duration = Duration::from_secs(1);

/// What came of one call, as the caller sees it.
///
/// A call is *cold* when its environment was started for it (`Init Duration` in the REPORT line of its log).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// The function answered.
    Answered {
        /// Whether status and body are those that the probe expects.
        is_expected: bool,
        /// Time until the answer was there.
        latency: Duration,
        /// Whether the call was cold.
        is_cold: bool,
    },
    /// The function's code failed: a function error that is neither of the next two.
    FunctionError {
        /// Whether the call was cold.
        is_cold: bool,
    },
    /// The runtime died (`Runtime.*`): exit, failed start, out of memory.
    RuntimeDied,
    /// The function's own time-out.
    FunctionTimedOut {
        /// Whether the call was cold.
        is_cold: bool,
    },
    /// No answer within [`CALL_TIMEOUT`]. Whether the call was cold is not known then.
    TimedOut,
    /// The call did not reach the version: throttled, access denied, an error of the service or of the connection.
    NotServed,
}

/// What the latency of an answer decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencyRule {
    /// Nothing: the probe sets no limit.
    NoLimit,
    /// An answer later than this is `slow`, which speaks against no canary.
    Limit(Duration),
    /// So it is, but a warm answer of the canary that is later than three times the limit, and by more than a second, is
    /// `fail`.
    Decides(Duration),
}

impl LatencyRule {
    fn is_late(self, latency: Duration) -> bool {
        match self {
            Self::NoLimit => false,
            Self::Limit(within) | Self::Decides(within) => latency > within,
        }
    }

    fn is_far_too_late(self, latency: Duration) -> bool {
        match self {
            Self::NoLimit | Self::Limit(_) => false,
            Self::Decides(within) => {
                latency > within.saturating_mul(FAR_TOO_LATE) && latency > within.saturating_add(FAR_TOO_LATE_BY)
            }
        }
    }
}

impl CallResult {
    /// What a call of the baseline says.
    ///
    /// * What a cold call did wrong says nothing, unless the runtime died: its environment was just being started.
    /// * A wrong answer is `fail`, however late it came.
    #[must_use]
    pub fn baseline_outcome(self, rule: LatencyRule) -> ProbeOutcome {
        match self {
            Self::Answered { is_expected: true, latency, .. } if !rule.is_late(latency) => ProbeOutcome::Ok,
            Self::RuntimeDied => ProbeOutcome::Fail,
            Self::Answered { is_cold: true, .. }
            | Self::FunctionError { is_cold: true }
            | Self::FunctionTimedOut { is_cold: true }
            | Self::NotServed => ProbeOutcome::Unknown,
            Self::Answered { is_expected: false, .. } | Self::FunctionError { is_cold: false } => ProbeOutcome::Fail,
            Self::Answered { is_expected: true, .. } | Self::FunctionTimedOut { is_cold: false } | Self::TimedOut => {
                ProbeOutcome::Slow
            }
        }
    }

    /// What a call of the canary says: the same, but if latency decides, a warm answer that is far too late is `fail`.
    #[must_use]
    pub fn canary_outcome(self, rule: LatencyRule) -> ProbeOutcome {
        match self {
            Self::Answered { latency, is_cold: false, .. } if rule.is_far_too_late(latency) => ProbeOutcome::Fail,
            Self::Answered { .. }
            | Self::FunctionError { .. }
            | Self::RuntimeDied
            | Self::FunctionTimedOut { .. }
            | Self::TimedOut
            | Self::NotServed => self.baseline_outcome(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ProbeOutcome::{Fail, Ok, Slow, Unknown};

    const WITHIN: Duration = Duration::from_millis(400);
    const LIMIT: LatencyRule = LatencyRule::Limit(WITHIN);
    const DECIDES: LatencyRule = LatencyRule::Decides(WITHIN);

    fn answered(is_expected: bool, ms: u64, is_cold: bool) -> CallResult {
        CallResult::Answered { is_expected, latency: Duration::from_millis(ms), is_cold }
    }

    #[test]
    fn what_a_call_says() {
        // (case, result, rule, of the baseline, of the canary)
        let table = [
            ("as expected", answered(true, 400, false), LIMIT, Ok, Ok),
            ("as expected, cold, in time", answered(true, 400, true), LIMIT, Ok, Ok),
            ("late", answered(true, 401, false), LIMIT, Slow, Slow),
            ("late, cold", answered(true, 401, true), LIMIT, Unknown, Unknown),
            ("late without a limit", answered(true, 2999, true), LatencyRule::NoLimit, Ok, Ok),
            ("wrong", answered(false, 10, false), LIMIT, Fail, Fail),
            ("wrong and late", answered(false, 2000, false), LIMIT, Fail, Fail),
            ("wrong, cold", answered(false, 10, true), LIMIT, Unknown, Unknown),
            ("wrong, cold, late, latency decides", answered(false, 2999, true), DECIDES, Unknown, Unknown),
            ("error", CallResult::FunctionError { is_cold: false }, LIMIT, Fail, Fail),
            ("error, cold", CallResult::FunctionError { is_cold: true }, LIMIT, Unknown, Unknown),
            ("runtime died", CallResult::RuntimeDied, LIMIT, Fail, Fail),
            ("own time-out", CallResult::FunctionTimedOut { is_cold: false }, DECIDES, Slow, Slow),
            ("own time-out, cold", CallResult::FunctionTimedOut { is_cold: true }, DECIDES, Unknown, Unknown),
            ("no answer in 3 s", CallResult::TimedOut, DECIDES, Slow, Slow),
            ("throttled", CallResult::NotServed, DECIDES, Unknown, Unknown),
            ("three times the limit and a second more", answered(true, 1401, false), DECIDES, Slow, Fail),
            ("a second more, no later", answered(true, 1400, false), DECIDES, Slow, Slow),
            ("the same, cold", answered(true, 1401, true), DECIDES, Unknown, Unknown),
            ("the same, but latency does not decide", answered(true, 2999, false), LIMIT, Slow, Slow),
        ];
        for (case, result, rule, baseline, canary) in table {
            assert_eq!((result.baseline_outcome(rule), result.canary_outcome(rule)), (baseline, canary), "{case}");
        }
        let slow_probe = LatencyRule::Decides(Duration::from_millis(800));
        assert_eq!(answered(true, 2400, false).canary_outcome(slow_probe), Slow, "a second more, but not three times");
        assert_eq!(answered(true, 2401, false).canary_outcome(slow_probe), Fail, "both");
    }
}
