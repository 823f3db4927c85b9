//! One second of pairs: calls that were sent, answers that came, and what they make when it is whole.

use crate::ports::{DirectAnswer, DirectOutcome};
use snapback_core::Timestamp;
use snapback_core::policy::Probe;
use snapback_judge::detector::Side;
use snapback_judge::pairs::{
    BurstMark, CALL_TIMEOUT, CallResult, FailedCall, LatencyRule, PairRecord, ProbeOutcome, environments,
};
use std::time::Duration;

/// A call that is not answered by itself so long after its time is given up here.
const GRACE: Duration = Duration::from_millis(500);

/// The pairs of one second.
#[derive(Debug)]
pub(super) struct Second {
    pub(super) base: Option<Sent>,
    pub(super) burst: Option<Burst>,
}

/// A pair on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) at: Timestamp,
    pub(super) probe: usize,
    pub(super) pair: Pair,
}

/// A burst on its way.
#[derive(Debug)]
pub(super) struct Burst {
    pub(super) at: Timestamp,
    pub(super) probe: usize,
    pub(super) number: u32,
    pub(super) pairs: Vec<Pair>,
}

#[derive(Debug, Default)]
pub(super) struct Pair {
    baseline: Option<Answer>,
    canary: Option<Answer>,
}

/// What is kept of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) result: CallResult,
    pub(super) took: Duration,
    pub(super) ran_for: Duration,
}

impl Answer {
    /// A failure of which the platform reports nothing may be that of a cold start: it counts for nothing.
    pub(super) fn of(answer: &DirectAnswer, probe: &Probe) -> Self {
        let is_cold = answer.report.is_none_or(|report| report.is_cold);
        let result = match &answer.outcome {
            DirectOutcome::Answered(status) => {
                let is_expected = probe.expect.status.is_none_or(|expected| *status == Some(expected));
                CallResult::Answered { is_expected, latency: answer.took, is_cold }
            }
            DirectOutcome::FunctionError(_) => CallResult::FunctionError { is_cold },
            DirectOutcome::RuntimeDied(_) => CallResult::RuntimeDied,
            DirectOutcome::FunctionTimedOut => CallResult::FunctionTimedOut { is_cold },
            DirectOutcome::TimedOut => CallResult::TimedOut,
            DirectOutcome::Throttled | DirectOutcome::NotServed(_) => CallResult::NotServed,
        };
        let ran_for = answer.report.map_or(Duration::ZERO, |report| report.ran_for);
        Self { result, took: answer.took, ran_for }
    }
}

impl Pair {
    pub(super) const fn put(&mut self, side: Side, answer: Answer) {
        match side {
            Side::Baseline => self.baseline = Some(answer),
            Side::Canary => self.canary = Some(answer),
        }
    }

    const fn is_answered(&self) -> bool {
        self.baseline.is_some() && self.canary.is_some()
    }

    /// What it says; a call without an answer has timed out.
    fn outcomes(&self, rule: LatencyRule) -> (ProbeOutcome, ProbeOutcome) {
        let result = |answer: Option<Answer>| answer.map_or(CallResult::TimedOut, |answer| answer.result);
        (result(self.baseline).baseline_outcome(rule), result(self.canary).canary_outcome(rule))
    }
}

impl Second {
    pub(super) const EMPTY: Self = Self { base: None, burst: None };

    /// Whether every call was answered, or has waited long enough.
    pub(super) fn is_whole(&self, now: Timestamp) -> bool {
        let is_over = |at: Timestamp| now.since(at) >= CALL_TIMEOUT + GRACE;
        let base = self.base.as_ref().is_none_or(|sent| sent.pair.is_answered() || is_over(sent.at));
        let burst =
            self.burst.as_ref().is_none_or(|burst| burst.pairs.iter().all(Pair::is_answered) || is_over(burst.at));
        base && burst
    }

    /// Its pairs, as they are judged.
    pub(super) fn records(&self, second: u32, probe: impl Fn(usize) -> LatencyRule) -> Vec<PairRecord> {
        let record = |pair: &Pair, rule, burst| {
            let (baseline, canary) = pair.outcomes(rule);
            PairRecord { second, baseline, canary, burst }
        };
        let base = self.base.iter().map(|sent| record(&sent.pair, probe(sent.probe), None));
        let burst = self.burst.iter().flat_map(|burst| {
            let rule = probe(burst.probe);
            let mark = Some(BurstMark { number: burst.number, environments: burst.environments(rule) });
            burst.pairs.iter().map(move |pair| record(pair, rule, mark))
        });
        base.chain(burst).collect()
    }
}

impl Burst {
    /// In how many environments of the new version its calls failed at least. All calls were sent in one moment, so the longest
    /// one spans the window.
    fn environments(&self, rule: LatencyRule) -> Option<u32> {
        let canary = || self.pairs.iter().filter_map(|pair| pair.canary);
        let failed = canary().filter(|answer| answer.result.canary_outcome(rule) == ProbeOutcome::Fail);
        let failed: Vec<FailedCall<'_>> =
            failed.map(|answer| FailedCall { ran_for: answer.ran_for, environment: None }).collect();
        let window = canary().map(|answer| answer.took).max().unwrap_or_default();
        environments(&failed, window)
    }
}

pub(super) fn rule_of(probe: &Probe) -> LatencyRule {
    probe.expect.within.map_or(LatencyRule::NoLimit, LatencyRule::Limit)
}
