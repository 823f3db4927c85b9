//! The shift of the whole latency distribution: a mean octile score, followed by a filter.
//!
//! A record's score is the mean share of its requests above the baseline's octiles (a Wilcoxon statistic with seven cuts). Divided
//! by its slope it is the level of the latencies, in log latency. Source of the filter: Kalman 1960.

use super::bucket::{Bucket, number};
use super::counts::Latencies;
use super::histogram::LatencyShape;
use super::method::{
    ALONE_ERROR, BEFORE_AFTER_CAP, BODY_CAP, BODY_NO_CHANGE, BODY_NOISE, BODY_SHIFTS, COLD_MIN, COLD_SCORE, COLD_SHARE,
    DRIFT, DRIFT_MINUTES, DRIFT_RANGE, LEVEL_ERROR, LEVEL_PEAK_ERRORS, LEVEL_VARIANCE, LEVEL_VARIANCE_MIN, LOAD_MAX,
    LOAD_SLOWER, NO_PEAK, RAW_MAX, SLOPE_MIN, VARIANCE_MIN,
};
use crate::vocabulary::Comparison;
use std::collections::BTreeMap;

/// How a score becomes a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Octiles {
    /// ψ̄: the baseline's usual score.
    usual: f64,
    /// g: fall of the score per unit of log latency.
    slope: f64,
    /// r0: variance of one request's level.
    variance: f64,
}

/// o and R: a level in log latency against the baseline's history, and its error variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    pub(super) value: f64,
    pub(super) variance: f64,
}

impl Octiles {
    pub(super) fn of(shape: &LatencyShape) -> Self {
        let above = shape.above;
        let slope = shape.slope.max(SLOPE_MIN);
        let joint: f64 = above.iter().flat_map(|a| above.iter().map(move |b| a.min(*b) - a * b)).sum();
        let variance = (joint / 49.0).max(VARIANCE_MIN) / (slope * slope);
        Self { usual: above.iter().sum::<f64>() / 7.0, slope, variance }
    }

    /// `None`: no request's latency was measured.
    pub(super) fn level(&self, latencies: Option<&Latencies>) -> Option<Level> {
        let latencies = latencies.filter(|latencies| latencies.all > 0)?;
        let all = number(latencies.all);
        let score = latencies.body.iter().map(|above| number(*above)).sum::<f64>() / (7.0 * all);
        Some(Level {
            value: (score - self.usual) / self.slope,
            variance: self.variance / all + LEVEL_ERROR * LEVEL_ERROR,
        })
    }
}

/// What the baseline's past says about the level of its latencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyReference {
    /// ψ̄: the baseline's usual score, 0 to 1.
    pub usual: f64,
    /// g: fall of the score per unit of log latency.
    pub slope: f64,
    /// r0: variance of one request's level.
    pub variance: f64,
    /// ν²: variance of the level's drift per bucket; fixed at the start.
    pub drift: f64,
    /// m: level of the latencies now, in log latency.
    pub level: f64,
    /// P: its variance.
    pub doubt: f64,
    /// b: share of the new version's own shift that the level has absorbed.
    pub absorbed: f64,
    /// LPK: the highest level that was surely reached, fading.
    pub peak: f64,
}

impl LatencyReference {
    /// * `levels`: of the slots of the history in which latencies were measured.
    /// * `slots`: how many slots the history has.
    pub(super) fn of_history(
        shape: &LatencyShape,
        levels: &BTreeMap<i64, Level>,
        slots: i64,
        buckets_a_minute: f64,
    ) -> Self {
        let octiles = Octiles::of(shape);
        let drift = drift(levels, slots, buckets_a_minute);
        let mut reference = Self {
            usual: octiles.usual,
            slope: octiles.slope,
            variance: octiles.variance,
            drift,
            level: 0.0,
            doubt: LEVEL_VARIANCE,
            absorbed: 0.0,
            peak: NO_PEAK,
        };
        for slot in -slots..0 {
            reference.doubt += drift;
            if let Some(level) = levels.get(&slot) {
                reference.follow(*level, 16.0, |_| JUMP_GAIN);
            }
            reference.doubt = reference.doubt.max(LEVEL_VARIANCE_MIN);
        }
        reference.absorbed = 0.0;
        reference
    }

    pub(super) const fn octiles(&self) -> Octiles {
        Octiles { usual: self.usual, slope: self.slope, variance: self.variance }
    }

    /// One step of the filter. A jump of more than √`jump` standard deviations is believed at once, with the gain that
    /// `at_jump` makes of the filter's own.
    fn follow(&mut self, level: Level, jump: f64, at_jump: impl Fn(f64) -> f64) {
        let spread = self.doubt + level.variance;
        let error = level.value - self.level;
        let usual = self.doubt / spread;
        let gain = if error * error > jump * spread { at_jump(usual) } else { usual };
        self.level += gain * error;
        self.doubt *= 1.0 - gain;
        self.absorbed *= 1.0 - gain;
    }

    /// Takes in the bucket that was just judged.
    pub(super) fn update(&mut self, bucket: &Bucket, left_of_peak: f64) {
        self.peak = self.level + (self.peak - self.level) * left_of_peak;
        self.doubt += self.drift;
        let octiles = self.octiles();
        let seen = &bucket.seen;
        let baseline = seen.baseline.as_ref().and_then(|counts| octiles.level(counts.latencies.as_ref()));
        if let Some(level) = baseline {
            self.peak = self.peak.max(level.value - LEVEL_PEAK_ERRORS * level.variance.sqrt());
            self.follow(level, 9.0, |usual| usual.max(JUMP_GAIN));
            return;
        }
        let Some(canary) = Canary::of(&octiles, bucket).filter(|_| bucket.is_whole()) else { return };
        let gain = self.doubt / (self.doubt + canary.level.variance + ALONE_ERROR * ALONE_ERROR);
        self.level += gain * (canary.level.value - self.level - bucket.warm_up - BODY_NO_CHANGE.1);
        self.absorbed += gain * (1.0 - self.absorbed);
        self.doubt *= 1.0 - gain;
    }
}

/// Least gain of the filter at a jump.
const JUMP_GAIN: f64 = 0.9;

/// u1 and R1: the new version's level without its cold requests.
struct Canary {
    level: Level,
}

impl Canary {
    fn of(octiles: &Octiles, bucket: &Bucket) -> Option<Self> {
        let latencies = bucket.seen.canary.as_ref()?.latencies.as_ref();
        let mut level = octiles.level(latencies)?;
        let all = latencies.map_or(1.0, |latencies| number(latencies.all));
        let cold = bucket.young * COLD_MIN.max(COLD_SHARE * all) / all;
        level.value -= cold * COLD_SCORE / octiles.slope;
        Some(Self { level })
    }
}

/// ν²: variance of the level's drift per bucket, from how far apart levels some minutes apart are.
fn drift(levels: &BTreeMap<i64, Level>, slots: i64, buckets_a_minute: f64) -> f64 {
    let usual = DRIFT * DRIFT;
    let (mut weighted, mut weights) = (0.0, 0.0);
    for minutes in DRIFT_MINUTES {
        let distance = whole((minutes * buckets_a_minute).round_ties_even());
        if !(1..slots).contains(&distance) {
            continue;
        }
        let pairs = || levels.iter().filter_map(|(slot, first)| Some((first, levels.get(&(slot + distance))?)));
        let count = number(pairs().count().try_into().unwrap_or(u64::MAX)).max(1.0);
        let noise = |(first, second): &(&Level, &Level)| first.variance + second.variance;
        let mean_noise = pairs().map(|pair| noise(&pair)).sum::<f64>() / count;
        let excess = pairs().map(|pair| {
            let moved = pair.1.value - pair.0.value;
            (moved * moved).min(9.0 * (noise(&pair) + 4.0 * minutes * usual)) - noise(&pair)
        });
        let excess = excess.sum::<f64>() / count;
        let error = (mean_noise + minutes * usual) * (2.0 * super::bucket::seconds(distance) / count).sqrt() / minutes;
        let weight = 1.0 / (error * error);
        weighted += weight * excess / minutes;
        weights += weight;
    }
    let seen = if weights > 0.0 { weighted / weights } else { usual };
    let (certainty, prior) = (weights / 3.0, 1.0 / (usual * usual));
    let (least, most) = DRIFT_RANGE;
    let per_minute = (seen * certainty + usual * prior) / (certainty + prior);
    per_minute.clamp(least * least, most * most) / buckets_a_minute
}

/// A small non-negative whole number.
fn whole(value: f64) -> i64 {
    (0..1_000_000_i64).take_while(|count| super::bucket::seconds(*count) < value).count().try_into().unwrap_or(i64::MAX)
}

/// What one bucket says about each of [`BODY_SHIFTS`], for null A and null B.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BodyScore {
    pub(super) no_change: [f64; 5],
    pub(super) margin: [f64; 5],
    /// Before any cap, for an onset at the shift and for a later one.
    pub(super) raw_early: [f64; 5],
    pub(super) raw_late: [f64; 5],
    pub(super) how: Option<Comparison>,
    /// Difference of the levels and its error variance, for people.
    pub(super) difference: Option<(f64, f64)>,
}

impl BodyScore {
    const NOTHING: Self = Self {
        no_change: [0.0; 5],
        margin: [0.0; 5],
        raw_early: [0.0; 5],
        raw_late: [0.0; 5],
        how: None,
        difference: None,
    };

    /// * `tolerated`: factor on the latency that the margin allows.
    /// * `usual_requests`: requests per bucket of late.
    pub(super) fn of(reference: &LatencyReference, bucket: &Bucket, tolerated: f64, usual_requests: f64) -> Self {
        let octiles = reference.octiles();
        let Some(canary) = Canary::of(&octiles, bucket) else { return Self::NOTHING };
        let baseline = bucket.seen.baseline.as_ref().and_then(|counts| octiles.level(counts.latencies.as_ref()));
        let mut score = match baseline {
            Some(baseline) => concurrent(bucket, &canary.level, &baseline, tolerated),
            None if bucket.is_whole() => before_after(reference, bucket, &canary.level, tolerated, usual_requests),
            None => return Self::NOTHING,
        };
        // A shift below what a warm-up is allowed says nothing.
        for (index, shift) in BODY_SHIFTS.iter().enumerate() {
            if *shift < bucket.warm_up {
                for part in [&mut score.no_change, &mut score.margin, &mut score.raw_early, &mut score.raw_late] {
                    part.iter_mut().skip(index).take(1).for_each(|value| *value = 0.0);
                }
            }
        }
        score
    }
}

fn concurrent(bucket: &Bucket, canary: &Level, baseline: &Level, tolerated: f64) -> BodyScore {
    let variance = baseline.variance + canary.variance;
    let spread = variance + BODY_NOISE * BODY_NOISE * bucket.per_minute;
    let against = |allowed: f64| {
        let beyond = canary.value - baseline.value - bucket.warm_up - allowed;
        BODY_SHIFTS.map(|shift| shift * (beyond - shift / 2.0) / spread)
    };
    let (no_change, margin) = (against(BODY_NO_CHANGE.0), against(tolerated.ln()));
    let cap = BODY_CAP * bucket.cap_factor;
    BodyScore {
        no_change: no_change.map(|gain| gain.min(cap)),
        margin: margin.map(|gain| gain.min(cap)),
        raw_early: no_change.map(|raw| raw.min(RAW_MAX)),
        raw_late: [0.0; 5],
        how: Some(Comparison::Concurrent),
        difference: Some((canary.value - baseline.value, variance)),
    }
}

fn before_after(
    reference: &LatencyReference,
    bucket: &Bucket,
    canary: &Level,
    tolerated: f64,
    usual_requests: f64,
) -> BodyScore {
    // What the level has absorbed of the new version cannot be seen in it any more.
    let left = 1.0 - reference.absorbed;
    let spread = reference.doubt + reference.drift + canary.variance + ALONE_ERROR * ALONE_ERROR;
    let usual = reference.level.max(reference.peak);
    let (_, requests) = bucket.seen.requests();
    let load = LOAD_SLOWER * (requests.max(1.0) / usual_requests.max(1.0)).ln().clamp(0.0, LOAD_MAX);
    let beyond = |allowed: f64| canary.value - usual - bucket.warm_up - load - allowed;
    let seen = |shift: f64, beyond: f64| (shift * beyond - shift * shift / 2.0) / spread;
    let against = |allowed: f64| BODY_SHIFTS.map(|shift| seen(shift * left, beyond(allowed)));
    let (no_change, margin) = (against(BODY_NO_CHANGE.1), against(tolerated.ln()));
    let cap = BEFORE_AFTER_CAP * bucket.cap_factor;
    BodyScore {
        no_change: no_change.map(|gain| gain.min(cap)),
        margin: margin.map(|gain| gain.min(cap)),
        raw_early: no_change.map(|raw| raw.min(RAW_MAX)),
        raw_late: BODY_SHIFTS.map(|shift| seen(shift, beyond(BODY_NO_CHANGE.1)).min(RAW_MAX)),
        how: Some(Comparison::BeforeAfter),
        difference: Some((canary.value - usual, spread)),
    }
}

#[cfg(test)]
mod tests;
