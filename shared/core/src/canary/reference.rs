//! What the baseline usually does: the reference that a canary is compared with.

use std::collections::BTreeMap;

use super::bucket::{Bucket, number, shares};
use super::counts::{BucketRecord, Counts, Share, Side};
use super::course::Course;
use super::settings::{RateValues, Settings};

/// What the baseline's past says about one rate. Sums are discounted: a bucket of one half-life ago counts half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateReference {
    /// X^L: bad events, long half-life.
    pub bad_long: f64,
    /// N^L: all events, long half-life.
    pub all_long: f64,
    /// X^S: bad events, short half-life.
    pub bad_short: f64,
    /// N^S: all events, short half-life.
    pub all_short: f64,
    /// PK: the highest rate of one bucket, fading.
    pub peak: f64,
    /// φ: how much clumpier than independent events (1) they come; fixed at the start.
    pub dispersion: f64,
    /// Whether the baseline ever had this signal. False only when it had buckets, all of them without it.
    pub is_measured: bool,
    /// p at the start of the shift, a share of all events; `None` without history.
    pub rate_at_start: Option<f64>,
}

/// What the baseline's past says about the number of requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrafficReference {
    /// TL: requests per bucket, both versions, fading with the short half-life.
    pub level: f64,
    /// q: chance that a datum is lost on the way; fixed at the start.
    pub lost_chance: f64,
}

/// How much of a sum is left after one bucket, for each half-life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fading {
    long: f64,
    short: f64,
    peak: f64,
}

impl Fading {
    /// `buckets` buckets of the course's length; one for a step of time.
    pub(super) fn after(settings: &Settings, bucket_s: u32, buckets: f64) -> Self {
        let time = buckets * f64::from(bucket_s);
        let left = |half_life: f64| 0.5_f64.powf(time / half_life);
        Self {
            long: left(settings.half_life_long_s),
            short: left(settings.half_life_short_s),
            peak: left(settings.half_life_peak_s),
        }
    }
}

/// The references at the start of the shift.
///
/// * `history_s`: how far back the history was asked for, in seconds.
/// * `history`: the baseline's buckets before the shift, in any order; others are ignored.
pub(super) fn begin(
    settings: &Settings,
    course: &Course,
    history_s: f64,
    history: &[BucketRecord],
) -> ([RateReference; 6], TrafficReference) {
    let length = i64::from(course.bucket_s());
    let mut slots: BTreeMap<i64, Counts> = BTreeMap::new();
    for record in history.iter().filter(|record| record.side == Side::Baseline && record.start_s < 0) {
        let slot = slots.entry(record.start_s.div_euclid(length)).or_insert(record.counts);
        *slot = record.counts.max(*slot);
    }
    let aged: Vec<(i64, Counts, Fading)> = slots
        .into_iter()
        .map(|(slot, counts)| {
            // The last slot before the shift is -1 and has age 0.
            let age = number(slot.unsigned_abs()) - 1.0;
            (slot, counts, Fading::after(settings, course.bucket_s(), age))
        })
        .collect();
    let rates = settings.rates.each_ref();
    let mut index = 0;
    let rates = rates.map(|rate| {
        let reference = begin_rate(settings, rate, &aged, |counts| {
            let all = shares(counts, 0);
            all.get(index).copied().flatten()
        });
        index += 1;
        reference
    });
    (rates, begin_traffic(settings, course, history_s, &aged))
}

fn begin_rate(
    settings: &Settings,
    rate: &RateValues,
    aged: &[(i64, Counts, Fading)],
    share: impl Fn(&Counts) -> Option<Share>,
) -> RateReference {
    let mut reference = RateReference {
        bad_long: 0.0,
        all_long: 0.0,
        bad_short: 0.0,
        all_short: 0.0,
        peak: 0.0,
        dispersion: 1.0,
        is_measured: aged.is_empty(),
        rate_at_start: None,
    };
    for (_, counts, fading) in aged {
        let Some(share) = share(counts) else { continue };
        let (bad, all) = (number(share.bad()), number(share.all()));
        reference.is_measured = true;
        reference.bad_long += bad * fading.long;
        reference.all_long += all * fading.long;
        reference.bad_short += bad * fading.short;
        reference.all_short += all * fading.short;
        reference.peak = reference.peak.max(peak(settings, share) * fading.peak);
    }
    let rate_before = reference.rate(settings, rate);
    if reference.all_long > 0.0 {
        reference.rate_at_start = Some(rate_before);
    }
    let clumps = dispersion(settings, aged, share);
    reference.dispersion = clumps.clamp((1.0 - rate_before).max(settings.dispersion_min), rate.dispersion_max);
    reference
}

/// Rate of one bucket when it has enough bad events to be called a peak, else 0.
fn peak(settings: &Settings, share: Share) -> f64 {
    let (bad, all) = (number(share.bad()), number(share.all()));
    if bad >= settings.peak_events_min { (bad + 0.5) / (all + 1.5) } else { 0.0 }
}

/// φ: mean squared Pearson residual over pairs of adjacent buckets, each pair's sum given, with a prior.
///
/// Source: the index of dispersion of a binomial sample (R. A. Fisher), pair by pair, so that slow drift cancels out.
fn dispersion(settings: &Settings, aged: &[(i64, Counts, Fading)], share: impl Fn(&Counts) -> Option<Share>) -> f64 {
    let (mut sum, mut pairs) = settings.dispersion_prior;
    for (first, second) in aged.iter().zip(aged.iter().skip(1)) {
        let ((slot, a, _), (next, b, _)) = (first, second);
        let (Some(a), Some(b)) = (share(a), share(b)) else { continue };
        let total = number(a.bad()) + number(b.bad());
        if slot + 1 != *next || a.all() == 0 || b.all() == 0 || total < 1.0 {
            continue;
        }
        let part = number(b.all()) / (number(a.all()) + number(b.all()));
        let residual = number(b.bad()) - total * part;
        sum += (residual * residual / (total * part * (1.0 - part))).min(settings.residual_max);
        pairs += 1.0;
    }
    sum / pairs
}

fn begin_traffic(
    settings: &Settings,
    course: &Course,
    history_s: f64,
    aged: &[(i64, Counts, Fading)],
) -> TrafficReference {
    let (requests, weights) = aged.iter().fold((0.0, 0.0), |(requests, weights), (_, counts, fading)| {
        (requests + number(counts.requests) * fading.short, weights + fading.short)
    });
    let level = if weights > 0.0 { requests / weights } else { 0.0 };
    let asked = if history_s.is_finite() { (history_s / f64::from(course.bucket_s())).floor().max(0.0) } else { 0.0 };
    let from = aged.iter().filter(|(slot, ..)| number(slot.unsigned_abs()) <= asked).count();
    let found = u32::try_from(from).map_or(asked, f64::from);
    let missing = if level < settings.traffic.sparse_level { 0.0 } else { (asked - found).max(0.0) };
    let (first, second) = settings.traffic.lost_prior;
    TrafficReference { level, lost_chance: (missing + first) / (asked + second) }
}

impl RateReference {
    /// p: the baseline's rate, a share of all events, from before the bucket that is judged.
    pub(super) fn rate(&self, settings: &Settings, rate: &RateValues) -> f64 {
        let (low, high) = settings.reference_range;
        ((self.bad_long + settings.prior_bad) / (self.all_long + rate.prior_events)).clamp(low, high)
    }

    /// The highest rate that the baseline's past makes believable: long reference plus some standard errors, the short
    /// reference, the peak.
    pub(super) fn upper_rate(&self, settings: &Settings, rate: &RateValues) -> f64 {
        let bad = self.bad_long + settings.prior_bad;
        let errors = settings.reference_errors * (self.dispersion * bad).sqrt();
        let long = (bad + errors) / (self.all_long + rate.prior_events);
        let prior = settings.short_prior_events;
        let short = (self.bad_short + prior * self.rate(settings, rate)) / (self.all_short + prior);
        long.max(short).max(self.peak)
    }

    /// Takes in the bucket that was just judged.
    pub(super) fn update(&mut self, settings: &Settings, fading: Fading, baseline: Option<Share>) {
        self.peak *= fading.peak;
        let Some(share) = baseline else { return };
        let (bad, all) = (number(share.bad()), number(share.all()));
        self.is_measured = true;
        self.peak = self.peak.max(peak(settings, share));
        self.bad_long = self.bad_long * fading.long + bad;
        self.all_long = self.all_long * fading.long + all;
        self.bad_short = self.bad_short * fading.short + bad;
        self.all_short = self.all_short * fading.short + all;
    }
}

impl TrafficReference {
    /// Takes in the bucket that was just judged.
    pub(super) fn update(&mut self, fading: Fading, bucket: &Bucket) {
        if let (Some(baseline), Some(canary), true) = (bucket.baseline, bucket.canary, bucket.weight < 1.0) {
            let requests = number(baseline.requests) + number(canary.requests);
            self.level = fading.short * self.level + (1.0 - fading.short) * requests;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        Course::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap()
    }

    fn record(slot: i64, bad: u64, all: u64) -> BucketRecord {
        let counts = Counts { e5: Some(Share::new(bad, all).unwrap()), ..Counts::of_requests(all) };
        BucketRecord { side: Side::Baseline, start_s: slot * 60, counts }
    }

    fn of(history: &[BucketRecord], history_s: f64) -> (RateReference, TrafficReference) {
        let ([e5, ..], traffic) = begin(&Settings::default_method(), &course(), history_s, history);
        (e5, traffic)
    }

    fn near(found: f64, expected: f64, case: &str) {
        assert!((found - expected).abs() < 1e-9, "{case}: {found}, expected {expected}");
    }

    #[test]
    fn sums_fade_with_their_half_lives() {
        // 30 slots of a minute are one long half-life, 3 a short one, 10 one of the peak.
        let (e5, traffic) = of(&[record(-31, 8, 800), record(-1, 1, 100)], 3600.0);
        near(e5.bad_long, 1.0 + 4.0, "X long");
        near(e5.all_long, 100.0 + 400.0, "N long");
        near(e5.bad_short, 1.0 + 8.0 / 1024.0, "X short");
        near(e5.all_short, 100.0 + 800.0 / 1024.0, "N short");
        near(e5.peak, 8.5 / 801.5 / 8.0, "peak; one event is none");
        near(e5.rate_at_start.unwrap(), 5.5 / 1000.0, "p");
        near(traffic.level, (100.0 + 800.0 / 1024.0) / (1.0 + 1.0 / 1024.0), "level");
        near(traffic.lost_chance, 58.5 / 70.0, "58 of 60 slots are missing");
    }

    #[test]
    fn dispersion_is_that_of_adjacent_buckets() {
        // One pair: 12 events, half of them expected in each; (9 - 6)² / 3 = 3. Prior: 16 over 10.
        let (e5, _) = of(&[record(-2, 3, 1000), record(-1, 9, 1000)], 120.0);
        near(e5.dispersion, 19.0 / 11.0, "one pair");
        let (e5, _) = of(&[record(-3, 3, 1000), record(-1, 9, 1000)], 180.0);
        near(e5.dispersion, 1.6, "not adjacent");
        let (e5, _) = of(&[record(-2, 0, 1000), record(-1, 100, 1000)], 120.0);
        near(e5.dispersion, 41.0 / 11.0, "a residual counts 25 at most");
        let even: Vec<BucketRecord> = (-60..0).map(|slot| record(slot, 500, 1000)).collect();
        let (e5, _) = of(&even, 3600.0);
        assert!(e5.dispersion < 0.6 && e5.dispersion >= 0.4, "no clumps at all: {}", e5.dispersion);
    }

    #[test]
    fn little_or_no_history_is_a_weak_reference() {
        let settings = Settings::default_method();
        let (e5, traffic) = of(&[], 3600.0);
        assert_eq!(e5.rate_at_start, None);
        assert!(e5.is_measured, "nothing says that the signal is not there");
        near(e5.rate(&settings, &settings.rates[0]), 0.5 / 500.0, "the prior");
        near(traffic.level, 0.0, "level");
        near(traffic.lost_chance, 0.5 / 70.0, "without traffic missing slots are no lost data");
        let without = BucketRecord { counts: Counts::of_requests(100), ..record(-1, 0, 0) };
        let (e5, _) = of(&[without], 3600.0);
        assert!(!e5.is_measured, "buckets came, all without the signal");
        let (e5, _) = of(&[BucketRecord { side: Side::Canary, ..record(-1, 50, 100) }, record(0, 50, 100)], 60.0);
        near(e5.all_long, 0.0, "only the baseline before the shift is history");
    }

    #[test]
    fn a_judged_bucket_becomes_reference() {
        let settings = Settings::default_method();
        let fading = Fading::after(&settings, 60, 1.0);
        let (mut e5, _) = of(&[record(-1, 10, 100)], 60.0);
        let before = e5;
        e5.update(&settings, fading, None);
        near(e5.peak, before.peak * 0.5_f64.powf(0.1), "the peak fades without a record too");
        near(e5.all_long, before.all_long, "the sums do not");
        e5.update(&settings, fading, Some(Share::new(40, 100).unwrap()));
        near(e5.peak, 40.5 / 101.5, "a new peak");
        near(e5.bad_long, 10.0 * 0.5_f64.powf(1.0 / 30.0) + 40.0, "X long");
        near(e5.all_short, 100.0 * 0.5_f64.powf(1.0 / 3.0) + 100.0, "N short");
        near(before.upper_rate(&settings, &settings.rates[0]), 10.5 / 101.5, "the peak was highest");
    }
}
