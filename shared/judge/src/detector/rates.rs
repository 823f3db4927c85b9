//! Log-evidence of one bucket that a rate of the new version is worse.

use super::bucket::{Bucket, number};
use super::counts::Counts;
use super::method::{
    BEFORE_AFTER_CAP, BEFORE_AFTER_ERRORS, CLEAN_MAX, CLEAN_MIN, COLD_MIN, COLD_SHARE, Null, Nulls, RATIOS, RAW_MAX,
    RateMethod, SEEN_RATE_MIN, SEEN_RATIO, TOLERATED_MAX, YOUNG, YOUNG_RATIOS,
};
use super::mixture::log_add;
use super::reference::RateReference;
use crate::share::Share;
use crate::vocabulary::{Comparison, Metric};

/// The rate metrics, in the order of the method's table.
pub(super) const METRICS: [Metric; 5] = [Metric::E5, Metric::Tx, Metric::Q90, Metric::Q99, Metric::E4];

/// A part stays this far away from 0 and 1.
const EDGE: f64 = 1e-9;

/// Bad events among all, for each rate metric; tail latencies above their threshold shifted up by `edges`.
pub(super) fn shares(counts: &Counts, edges: u8) -> [Option<Share>; 5] {
    let latencies = counts.latencies.as_ref();
    let q90 = latencies.and_then(|latencies| latencies.above(&latencies.q90, edges));
    let q99 = latencies.and_then(|latencies| latencies.above(&latencies.q99, edges));
    [counts.e5, counts.tx, q90, q99, counts.e4]
}

/// Those of the baseline: its latencies are never shifted.
pub(super) fn baseline_shares(counts: &Counts) -> [Option<Share>; 5] {
    shares(counts, 0)
}

/// What one bucket says against one null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    /// Before any cap, for the onset; in natural logarithms.
    pub(super) raw: [f64; 7],
    /// ℓ: what is won or lost on each of [`RATIOS`].
    pub(super) gain: [f64; 7],
    /// What was compared with what; `None`: nothing, and all is 0.
    pub(super) how: Option<Comparison>,
}

impl Score {
    const NOTHING: Self = Self { raw: [0.0; 7], gain: [0.0; 7], how: None };
}

/// One rate of one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate<'a> {
    pub(super) metric: Metric,
    pub(super) method: &'a RateMethod,
    pub(super) reference: &'a RateReference,
    pub(super) bucket: &'a Bucket,
    /// Bad among all of the baseline; nothing when it was not seen.
    pub(super) baseline: Share,
    /// Those of the canary, its latencies shifted as the comparison side by side, and null A against the past, want them.
    pub(super) canary: Share,
    /// The same as null B against the past wants them.
    pub(super) canary_wide: Share,
}

impl Rate<'_> {
    fn is_tail(&self) -> bool {
        matches!(self.metric, Metric::Q90 | Metric::Q99)
    }

    /// c: slow cold starts that young traffic is allowed.
    fn cold(&self, all: f64) -> f64 {
        if self.is_tail() { self.bucket.young * COLD_MIN.max(COLD_SHARE * all) } else { 0.0 }
    }

    /// Null A: nothing changed.
    pub(super) fn against_no_change(&self) -> Score {
        self.against(&self.method.no_change, self.canary, self.canary)
    }

    /// Null B: inside the declared margin.
    pub(super) fn against_margin(&self) -> Score {
        self.against(&self.method.margin, self.canary, self.canary_wide)
    }

    /// What errors of five times the margin, at least 0.5 %, would have shown on average in this bucket.
    pub(super) fn information(&self) -> f64 {
        let n1 = number(self.canary.all);
        let least = SEEN_RATE_MIN * n1;
        let Nulls { concurrent, before_after } = &self.method.margin;
        let score = if self.baseline.all > 0 && self.canary.all > 0 {
            let beside = number(self.baseline.all) * self.reference.rate(self.method);
            let expected = self.expected(concurrent, self.reference.rate(self.method), n1);
            self.concurrent(concurrent, beside, SEEN_RATIO * expected.max(least), n1)
        } else if self.is_before_after(self.canary) {
            let expected = self.expected(before_after, self.reference.upper_rate(self.method), n1);
            self.before_after(before_after, SEEN_RATIO * expected.max(least), n1)
        } else {
            return 0.0;
        };
        let seen = RATIOS.into_iter().zip(score.gain).find(|(ratio, _)| *ratio >= SEEN_RATIO);
        seen.map_or(0.0, |(_, gain)| gain.max(0.0))
    }

    /// λ1 or μ: bad events of the canary that a null allows.
    fn expected(&self, null: &Null, usual: f64, all: f64) -> f64 {
        all * (usual * null.factor + null.points).min(TOLERATED_MAX) + self.cold(all)
    }

    /// Whether the canary has all traffic, and a past to be compared with.
    fn is_before_after(&self, canary: Share) -> bool {
        self.bucket.is_whole() && canary.all > 0 && self.reference.is_measured
    }

    fn against(&self, nulls: &Nulls, beside: Share, alone: Share) -> Score {
        let mut score = if self.baseline.all > 0 && beside.all > 0 {
            self.concurrent(&nulls.concurrent, number(self.baseline.bad), number(beside.bad), number(beside.all))
        } else if self.is_before_after(alone) {
            self.before_after(&nulls.before_after, number(alone.bad), number(alone.all))
        } else {
            return Score::NOTHING;
        };
        if self.is_tail() {
            // Beside what a warm-up is allowed, a small ratio says nothing.
            let (some, most) = YOUNG;
            let least = match self.bucket.young {
                young if young >= most => YOUNG_RATIOS.1,
                young if young >= some => YOUNG_RATIOS.0,
                _ => 0.0,
            };
            for ((ratio, raw), gain) in RATIOS.iter().zip(&mut score.raw).zip(&mut score.gain) {
                if *ratio < least {
                    (*raw, *gain) = (0.0, 0.0);
                }
            }
        }
        score
    }

    /// Formula (a): both versions in the same bucket, given their common number of bad events.
    ///
    /// Source: conditional test of two Poisson rates (Przyborowski and Wilenski 1940); a learning rate η below 1 for clumps and
    /// for noise of a minute (Grünwald 2012).
    fn concurrent(&self, null: &Null, x0: f64, x1: f64, n1: f64) -> Score {
        let n0 = number(self.baseline.all);
        let usual = self.reference.rate(self.method);
        let expected = self.expected(null, usual, n1);
        let beside = n0 * usual;
        let part = (expected / (expected + beside).max(1e-12)).clamp(EDGE, 1.0 - EDGE);
        let total = x0 + x1;
        let noise = null.noise * null.noise * self.bucket.per_minute * total * part * (1.0 - part);
        let rate = 1.0 / (self.reference.dispersion + noise);
        let mut raw = RATIOS.map(|ratio| {
            // (1−π)(1+o) for odds o = ρ·π/(1−π): both likelihood ratios follow from it.
            let shared = (1.0 + (ratio - 1.0) * part).ln();
            rate * (x1 * (ratio.ln() - shared) - x0 * shared)
        });
        if let Some(least) = self.method.clean {
            let clean = Clean::of(null, n0, n1, part, (x0, x1));
            clean.add_to(&mut raw, rate, (beside, expected.max(least * n1)), (x0, x1));
        }
        let cap = self.bucket.cap_factor * self.method.cap;
        Score {
            raw: raw.map(|raw| raw.min(RAW_MAX)),
            gain: raw.map(|raw| raw.min(cap)),
            how: Some(Comparison::Concurrent),
        }
    }

    /// Formula (b): the canary, with all traffic, against the baseline's past.
    fn before_after(&self, null: &Null, x1: f64, n1: f64) -> Score {
        let usual = self.reference.upper_rate(self.method);
        let expected = self.expected(null, usual, n1);
        let rate = 1.0 / (self.reference.dispersion + null.noise * null.noise * self.bucket.per_minute * expected);
        let raw = RATIOS.map(|ratio| rate * (x1 * ratio.ln() - expected * (ratio - 1.0)));
        let mut gain = raw;
        for (gain, ratio) in gain.iter_mut().zip(RATIOS) {
            // No more than the alternative itself would give: its mean and two standard deviations.
            let mean = rate * expected * (ratio * ratio.ln() - ratio + 1.0);
            let spread = BEFORE_AFTER_ERRORS * ratio.ln() * (ratio * rate * expected).sqrt();
            *gain = gain.min(BEFORE_AFTER_CAP * self.bucket.cap_factor).min(mean + spread);
        }
        Score { raw: raw.map(|raw| raw.min(RAW_MAX)), gain, how: Some(Comparison::BeforeAfter) }
    }
}

/// Formula (a2): where the old version hardly fails, its failures say nothing, and given the total nothing is left to learn. Then
/// the totals themselves are evidence: the alternative against the best explanation that the null has at any rate of the old one.
///
/// Source: universal inference (Wasserman, Ramdas and Balakrishnan 2020), with a closed form for the best rate.
struct Clean {
    /// u: how much the totals weigh.
    weight: f64,
    /// n1·r, n1·d and n0 + n1·r.
    slope: f64,
    constant: f64,
    all: f64,
    /// q: the best rate of the old version under the null.
    best: f64,
}

impl Clean {
    fn of(null: &Null, n0: f64, n1: f64, part: f64, (x0, x1): (f64, f64)) -> Self {
        let (slope, constant) = (n1 * null.factor, n1 * null.points);
        let all = n0 + slope;
        let usual = slope / all;
        let weight = ((part - usual) / (1.0 - usual)).clamp(0.0, CLEAN_MAX);
        let h = (x0 + x1) * slope - all * constant;
        let root = (h * h + 4.0 * all * slope * x0 * constant).sqrt();
        let best = ((h + root) / (2.0 * all * slope)).max(0.0);
        Self { weight, slope, constant, all, best }
    }

    fn add_to(&self, raw: &mut [f64; 7], rate: f64, (beside, expected): (f64, f64), (x0, x1): (f64, f64)) {
        if self.weight <= CLEAN_MIN {
            return;
        }
        let baseline_all = self.all - self.slope;
        let null = log_poisson(x0, baseline_all * self.best) + log_poisson(x1, self.slope * self.best + self.constant);
        let same = log_poisson(x0, beside);
        let (ln_given, ln_total) = ((1.0 - self.weight).ln(), self.weight.ln());
        for (raw, ratio) in raw.iter_mut().zip(RATIOS) {
            let totals = rate * (same + log_poisson(x1, ratio * expected) - null);
            *raw = log_add(*raw + ln_given, totals + ln_total);
        }
    }
}

/// Log-likelihood of `x` events where `mean` are expected, without x!.
fn log_poisson(x: f64, mean: f64) -> f64 {
    if x > 0.0 { x * mean.max(1e-300).ln() - mean } else { -mean }
}

#[cfg(test)]
mod tests;
