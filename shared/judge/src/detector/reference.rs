//! What the baseline usually does: the references that a canary is compared with.

use super::body::{LatencyReference, Level, Octiles};
use super::bucket::{number, seconds};
use super::counts::{BucketRecord, Counts, Reading, Side};
use super::histogram::LatencyShape;
use super::method::{
    DISPERSION_MIN, DISPERSION_PRIOR, FRONT_PRIOR, LOST_PRIOR, PEAK_ERRORS, PEAK_EVENTS_MIN, PEER_PRIOR, PRIOR_BAD,
    RATE_MAX, RATE_MIN, RESIDUAL_MAX, RateMethod, SHORT_PRIOR_EVENTS, SPARSE_LEVEL,
};
use super::rates::baseline_shares;
use super::settings::DetectorSettings;
use super::traffic_schedule::TrafficSchedule;
use crate::share::Share;
use std::collections::BTreeMap;

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
    /// PK: the highest rate that one bucket surely reached, fading.
    pub peak: f64,
    /// φ: how much noisier than independent events (1) they are; fixed at the start.
    pub dispersion: f64,
    /// Whether the baseline ever had this signal. False only when it had buckets, all of them without it.
    pub is_measured: bool,
}

/// What the history says about the number of requests and about the witnesses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrafficReference {
    /// n_ref: requests per bucket, both versions, fading with the short half-life.
    pub level: f64,
    /// ℓost: chance that a datum is lost on the way; fixed at the start.
    pub lost_chance: f64,
    /// k_front: requests that the versions count for each one in front of them; fixed at the start.
    pub per_front: f64,
    /// p_peer: rate of failures of the functions behind the same dependencies; fixed at the start.
    pub peer_rate: f64,
}

/// What was usual when the shift began: with it a deployment can be judged again without its history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct References {
    /// The rate metrics, in the order e5, tx, q90, q99, e4.
    pub rates: [RateReference; 5],
    /// The body of the latencies; `None`: latencies are not measured.
    pub body: Option<LatencyReference>,
    /// Requests and witnesses.
    pub traffic: TrafficReference,
}

/// How much of a sum is left after some buckets, for each half-life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fading {
    long: f64,
    pub(super) short: f64,
    pub(super) peak: f64,
}

impl Fading {
    /// `buckets` buckets of the schedule's length; one for a step of time.
    pub(super) fn after(settings: &DetectorSettings, bucket_s: u32, buckets: f64) -> Self {
        let time = buckets * f64::from(bucket_s);
        let left = |half_life: f64| 0.5_f64.powf(time / half_life);
        Self {
            long: left(settings.half_life_long_s),
            short: left(settings.half_life_short_s),
            peak: left(settings.half_life_peak_s),
        }
    }
}

/// One slot of the history.
struct Past {
    slot: i64,
    counts: Counts,
    fading: Fading,
}

/// The history by slot: each slot holds at most one record of a kind, the first one counts.
pub(super) struct History {
    buckets_a_minute: f64,
    slots: i64,
    versions: Vec<Past>,
    fronts: BTreeMap<i64, u64>,
    peers: BTreeMap<i64, Share>,
}

impl History {
    /// * `history_s`: how far back the history was asked for, in seconds.
    /// * `records`: the baseline's and the witnesses' buckets before the shift, in any order; others are ignored.
    pub(super) fn of(
        settings: &DetectorSettings,
        schedule: &TrafficSchedule,
        history_s: f64,
        records: &[BucketRecord],
    ) -> Self {
        let length_s = schedule.bucket_s();
        let mut asked = 0_i64;
        while seconds(asked + 1) * f64::from(length_s) <= history_s && asked < SLOTS_MAX {
            asked += 1;
        }
        let (mut versions, mut fronts, mut peers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for record in records.iter().filter(|record| record.start_s < 0) {
            let slot = record.start_s.div_euclid(i64::from(length_s));
            match record.reading {
                Reading::Version(Side::Baseline, counts) if slot >= -asked => {
                    versions.entry(slot).or_insert(counts);
                }
                Reading::Front(requests) if slot >= -asked => {
                    fronts.entry(slot).or_insert(requests);
                }
                Reading::Peer(share) => {
                    peers.entry(slot).or_insert(share);
                }
                Reading::Version(..) | Reading::Front(_) | Reading::Probe(..) => {}
            }
        }
        let versions = versions.into_iter().map(|(slot, counts)| {
            // The last slot before the shift is -1 and has age 0.
            let age = number(slot.unsigned_abs()) - 1.0;
            Past { slot, counts, fading: Fading::after(settings, length_s, age) }
        });
        Self {
            buckets_a_minute: settings.minute_s / f64::from(length_s),
            slots: asked,
            versions: versions.collect(),
            fronts,
            peers,
        }
    }

    /// The reference of the rate at `index` of the rate metrics.
    pub(super) fn rate(&self, method: &RateMethod, index: usize) -> RateReference {
        let of = |counts: &Counts| baseline_shares(counts).get(index).copied().flatten();
        let mut reference = RateReference {
            bad_long: 0.0,
            all_long: 0.0,
            bad_short: 0.0,
            all_short: 0.0,
            peak: 0.0,
            dispersion: 1.0,
            is_measured: self.versions.is_empty(),
        };
        let seen = || self.versions.iter().filter_map(|past| Some((of(&past.counts)?, past.fading)));
        for (share, fading) in seen() {
            let (bad, all) = (number(share.bad), number(share.all));
            reference.is_measured = true;
            reference.bad_long += bad * fading.long;
            reference.all_long += all * fading.long;
            reference.bad_short += bad * fading.short;
            reference.all_short += all * fading.short;
        }
        let usual = ((reference.bad_long + PRIOR_BAD) / (reference.all_long + method.prior_events)).min(1.0);
        reference.dispersion = self.dispersion(of).max(1.0 - usual).max(DISPERSION_MIN).min(method.dispersion_max);
        for (share, fading) in seen() {
            reference.peak = reference.peak.max(reference.sure_rate(share) * fading.peak);
        }
        reference
    }

    /// Mean squared Pearson residual over pairs of adjacent buckets, each pair's sum given, with a prior.
    ///
    /// Source: the index of dispersion of a binomial sample (R. A. Fisher), pair by pair, so that slow drift cancels out.
    fn dispersion(&self, of: impl Fn(&Counts) -> Option<Share>) -> f64 {
        let (mut sum, mut pairs) = DISPERSION_PRIOR;
        for (first, second) in self.versions.iter().zip(self.versions.iter().skip(1)) {
            let (Some(a), Some(b)) = (of(&first.counts), of(&second.counts)) else { continue };
            let total = number(a.bad) + number(b.bad);
            if first.slot + 1 != second.slot || a.all == 0 || b.all == 0 || total < 1.0 {
                continue;
            }
            let part = number(b.all) / (number(a.all) + number(b.all));
            let residual = number(b.bad) - total * part;
            sum += (residual * residual / (total * part * (1.0 - part))).min(RESIDUAL_MAX);
            pairs += 1.0;
        }
        sum / pairs
    }

    pub(super) fn traffic(&self) -> TrafficReference {
        let requests = |past: &Past| number(past.counts.requests);
        let weighted: f64 = self.versions.iter().map(|past| requests(past) * past.fading.short).sum();
        let weights: f64 = self.versions.iter().map(|past| past.fading.short).sum();
        let found = number(self.versions.len().try_into().unwrap_or(u64::MAX));
        let mean = self.versions.iter().map(requests).sum::<f64>() / found.max(1.0);
        let asked = seconds(self.slots);
        let missing = if mean < SPARSE_LEVEL { 0.0 } else { (asked - found).max(0.0) };
        let (first, second) = LOST_PRIOR;
        let both =
            self.versions.iter().filter_map(|past| Some((requests(past), number(*self.fronts.get(&past.slot)?))));
        let (seen, front) = both.fold((0.0, 0.0), |(seen, front), (n, f)| (seen + n, front + f));
        let peers: Share = self.peers.values().copied().sum();
        TrafficReference {
            level: weighted / weights.max(1e-9),
            lost_chance: (missing + first) / (asked + second),
            per_front: (seen + FRONT_PRIOR) / (front + FRONT_PRIOR),
            peer_rate: (number(peers.bad) + PRIOR_BAD) / (number(peers.all) + PEER_PRIOR),
        }
    }

    /// The level of the baseline's latencies.
    pub(super) fn level(&self, shape: &LatencyShape) -> LatencyReference {
        let octiles = Octiles::of(shape);
        let level = |past: &Past| Some((past.slot, octiles.level(past.counts.latencies.as_ref())?));
        let levels: BTreeMap<i64, Level> = self.versions.iter().filter_map(level).collect();
        LatencyReference::of_history(shape, &levels, self.slots, self.buckets_a_minute)
    }
}

/// Most slots of a history.
const SLOTS_MAX: i64 = 10_000;

impl RateReference {
    /// p: the baseline's rate, a share of all events, from before the bucket that is judged.
    #[must_use]
    pub(super) fn rate(&self, method: &RateMethod) -> f64 {
        ((self.bad_long + PRIOR_BAD) / (self.all_long + method.prior_events)).clamp(RATE_MIN, RATE_MAX)
    }

    /// The highest rate that the baseline's past makes believable: long reference, short reference, peak.
    pub(super) fn upper_rate(&self, method: &RateMethod) -> f64 {
        let long = (self.bad_long + PRIOR_BAD) / (self.all_long + method.prior_events);
        let short = (self.bad_short + SHORT_PRIOR_EVENTS * self.rate(method)) / (self.all_short + SHORT_PRIOR_EVENTS);
        long.max(short).max(self.peak).min(RATE_MAX)
    }

    /// pk: the rate that a bucket surely reached when it has enough bad events to be called a peak, else 0.
    fn sure_rate(&self, share: Share) -> f64 {
        let (bad, all) = (number(share.bad), number(share.all));
        if bad < PEAK_EVENTS_MIN {
            return 0.0;
        }
        (bad + 0.5 - PEAK_ERRORS * (self.dispersion * bad).sqrt()).max(0.0) / (all + 1.5)
    }

    /// Takes in the bucket that was just judged. `baseline`: `None` = the baseline's record was not seen.
    pub(super) fn update(&mut self, fading: Fading, baseline: Option<Share>) {
        self.peak *= fading.peak;
        let Some(share) = baseline else { return };
        let (bad, all) = (number(share.bad), number(share.all));
        self.is_measured = true;
        self.peak = self.peak.max(self.sure_rate(share));
        self.bad_long = self.bad_long * fading.long + bad;
        self.all_long = self.all_long * fading.long + all;
        self.bad_short = self.bad_short * fading.short + bad;
        self.all_short = self.all_short * fading.short + all;
    }

    /// The rate at the start, for people; `None` without history.
    #[must_use]
    pub fn usual(&self) -> Option<f64> {
        (self.all_long > 0.0).then(|| self.bad_long / self.all_long)
    }
}

#[cfg(test)]
mod tests;
