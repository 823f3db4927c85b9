//! When the fast path is off, and how large its bursts may be.

use crate::share::Share;
use crate::vocabulary;
use std::time::Duration;

/// A function whose median call takes longer is not called in pairs: a call has 3 s at most.
pub const SLOWEST_MEDIAN: Duration = Duration::from_secs(1);
/// Least reserved concurrency: a burst takes 20 for a moment, and customers need the rest.
pub const MIN_CONCURRENCY: u32 = 40;
/// So many first calls of the baseline show whether a probe is fit for comparing.
pub const FIRST_CALLS: u32 = 60;
/// Of its first calls the baseline may fail in one of so many.
const FAILS_ONE_IN: u64 = 10;
/// A burst may take one in so many of the free concurrent executions.
const FREE_SHARE: u32 = 4;
/// So long after a throttled call no burst is sent, in seconds.
const THROTTLED_S: u32 = 60;

vocabulary!(
    /// Why the fast path is off.
    FastPathOff, "reason why the fast path is off", {
        /// Nobody said that a probe may be repeated thousands of times.
        NotRepeatable => "not-repeatable",
        /// There is no probe that calls the function itself.
        NoInvokeProbe => "no-invoke-probe",
        /// The median call is too slow.
        SlowFunction => "slow-function",
        /// Too little concurrency is reserved for the function.
        LowConcurrency => "low-concurrency",
        /// The baseline fails the probe too often.
        BaselineFails => "baseline-fails",
        /// The mode lets nothing be rolled back.
        Advisory => "advisory",
    }
);

impl FastPathOff {
    /// The reason in words, with what would change it.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotRepeatable => {
                "nobody has said `repeatable: true`: say it when thousands of calls of each probe in a deployment do no harm"
            }
            Self::NoInvokeProbe => {
                "no probe invokes the function: only an `invoke` probe can call each version by its number"
            }
            Self::SlowFunction => {
                "half of the function's calls take longer than 1 s: too slow to be compared every second"
            }
            Self::LowConcurrency => {
                "fewer than 40 concurrent executions are reserved for the function: a burst needs 20"
            }
            Self::BaselineFails => {
                "the old version failed more than 10 % of its first 60 calls of a probe: that probe cannot tell the versions apart"
            }
            Self::Advisory => "the mode lets nothing be rolled back: set it to `rollback`",
        }
    }
}

/// What decides whether the fast path is on for one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastPathFacts {
    /// Whether a person said that the probe may be called thousands of times.
    pub is_repeatable: bool,
    /// Whether the probe invokes the function.
    pub invokes: bool,
    /// Whether a rollback may follow.
    pub may_roll_back: bool,
    /// Median duration of the function's calls; `None`: not known, and the first calls will show it.
    pub median: Option<Duration>,
    /// Reserved concurrency; `None`: none is reserved, the account's is free for all.
    pub reserved_concurrency: Option<u32>,
    /// How the baseline answered its first [`FIRST_CALLS`] calls so far: failed or late ones of those that say something.
    pub first_calls: Share,
}

impl FastPathFacts {
    /// Why the fast path is off; `None`: it is on. The first reason, in the order in which a person would mend them.
    #[must_use]
    pub fn off(&self) -> Option<FastPathOff> {
        let all = [
            (self.may_roll_back, FastPathOff::Advisory),
            (self.invokes, FastPathOff::NoInvokeProbe),
            (self.is_repeatable, FastPathOff::NotRepeatable),
            (self.median.is_none_or(|median| median <= SLOWEST_MEDIAN), FastPathOff::SlowFunction),
            (self.reserved_concurrency.is_none_or(|reserved| reserved >= MIN_CONCURRENCY), FastPathOff::LowConcurrency),
            // It is known before the last of them: what has failed stays failed.
            (self.first_calls.bad.saturating_mul(FAILS_ONE_IN) <= u64::from(FIRST_CALLS), FastPathOff::BaselineFails),
        ];
        all.into_iter().find_map(|(is_right, reason)| (!is_right).then_some(reason))
    }
}

/// Pairs that a burst may have now; 0: none may be sent.
///
/// * `wanted`: by the policy.
/// * `free`: concurrent executions that are free for the function, at most what is reserved for it; `None`: not known, and nothing
///   is held back.
/// * `throttled_s`: when a call was throttled last, in the seconds of `now_s`.
#[must_use]
pub fn burst_size(wanted: u32, free: Option<u32>, throttled_s: Option<u32>, now_s: u32) -> u32 {
    if throttled_s.is_some_and(|throttled_s| now_s < throttled_s.saturating_add(THROTTLED_S)) {
        return 0;
    }
    free.map_or(wanted, |free| wanted.min(free / FREE_SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_it_is_off() {
        let on = FastPathFacts {
            is_repeatable: true,
            invokes: true,
            may_roll_back: true,
            median: Some(SLOWEST_MEDIAN),
            reserved_concurrency: Some(40),
            first_calls: Share { bad: 6, all: 60 },
        };
        let slow = Some(SLOWEST_MEDIAN + Duration::from_millis(1));
        let table = [
            ("all at the limit", on, None),
            ("little known", FastPathFacts { median: None, reserved_concurrency: None, ..on }, None),
            ("not said", FastPathFacts { is_repeatable: false, ..on }, Some(FastPathOff::NotRepeatable)),
            ("a probe by HTTP", FastPathFacts { invokes: false, ..on }, Some(FastPathOff::NoInvokeProbe)),
            ("slow", FastPathFacts { median: slow, ..on }, Some(FastPathOff::SlowFunction)),
            ("39 reserved", FastPathFacts { reserved_concurrency: Some(39), ..on }, Some(FastPathOff::LowConcurrency)),
            (
                "7 of the first 9 failed",
                FastPathFacts { first_calls: Share { bad: 7, all: 9 }, ..on },
                Some(FastPathOff::BaselineFails),
            ),
            (
                "mode advise, and more",
                FastPathFacts { may_roll_back: false, is_repeatable: false, ..on },
                Some(FastPathOff::Advisory),
            ),
        ];
        for (case, facts, expected) in table {
            assert_eq!(facts.off(), expected, "{case}");
        }
        for reason in FastPathOff::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
            assert!(!reason.sentence().is_empty());
        }
    }

    #[test]
    fn a_burst_takes_a_quarter_of_what_is_free() {
        // (case, free, throttled at, at second 100)
        let table = [
            ("nothing known", None, None, 10),
            ("plenty", Some(40), None, 10),
            ("little", Some(39), None, 9),
            ("nothing free", Some(3), None, 0),
            ("throttled just now", None, Some(100), 0),
            ("throttled 59 s ago", None, Some(41), 0),
            ("throttled a minute ago", None, Some(40), 10),
        ];
        for (case, free, throttled_s, expected) in table {
            assert_eq!(burst_size(10, free, throttled_s, 100), expected, "{case}");
        }
    }
}
