//! What the witnesses say: requests that are missing, probes of both versions, and whether others fail too.

use super::bucket::{Bucket, number};
use super::counts::Witnesses;
use super::method::{
    OTHERS_LEFT, PROBE_CALLS, PROBE_CAP, PROBE_CAP_BESIDE_PAIRS, PROBE_DISPERSION, PROBE_NOISE, PROBE_USUAL, RATIOS,
    STEP_COUNTS, TRAFFIC_AFTER, TRAFFIC_CAP, TRAFFIC_DISPERSION, TRAFFIC_EXPECTED_MIN, TRAFFIC_NOISE, TRAFFIC_RATIOS,
};
use super::reference::TrafficReference;
use super::settings::Margin;
use crate::share::Share;
use crate::vocabulary::Comparison;

/// A part stays this far away from 0 and 1.
const EDGE: f64 = 1e-9;

/// What one bucket says about missing requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TrafficScore {
    pub(super) gain: [f64; 3],
    /// Requests that the new version should have got; with `None` nothing was compared.
    pub(super) due: f64,
    pub(super) how: Option<Comparison>,
}

/// Too few requests. In the shift the old version is the witness, after it what the front counted; without a witness missing
/// requests say nothing. The cap of −ln ℓost keeps lost data from looking like lost traffic.
pub(super) fn traffic(reference: &TrafficReference, bucket: &Bucket, margin: Margin) -> TrafficScore {
    let nothing = TrafficScore { gain: [0.0; 3], due: 0.0, how: None };
    let (baseline, canary) = bucket.seen.requests();
    let is_young = bucket.since_step_s < bucket.length_s;
    let noise = TRAFFIC_NOISE * bucket.per_minute;
    let cap = (TRAFFIC_CAP * bucket.cap_factor).min(-reference.lost_chance.ln());
    if 0.0 < bucket.weight && bucket.weight < 1.0 && baseline > 0.0 {
        let gained = bucket.weight - bucket.weight_before;
        let weight = if is_young { bucket.weight_before + STEP_COUNTS * gained } else { bucket.weight };
        if weight <= 0.0 {
            return nothing;
        }
        let tolerated = margin.factor * weight;
        let part = (tolerated / (tolerated + 1.0 - weight)).clamp(EDGE, 1.0 - EDGE);
        let total = baseline + canary;
        let rate = 1.0 / (TRAFFIC_DISPERSION + noise * total * part * (1.0 - part));
        let gain = TRAFFIC_RATIOS.map(|ratio| {
            let shared = (1.0 + (ratio - 1.0) * part).ln();
            (rate * (canary * (ratio.ln() - shared) - baseline * shared)).min(cap)
        });
        return TrafficScore { gain, due: total * weight, how: Some(Comparison::Concurrent) };
    }
    let Some(front) = bucket.seen.front.filter(|_| bucket.is_whole() && !is_young) else { return nothing };
    let due = reference.per_front * number(front);
    let expected = TRAFFIC_AFTER * due;
    if expected < TRAFFIC_EXPECTED_MIN {
        return nothing;
    }
    let rate = 1.0 / (TRAFFIC_DISPERSION + noise * expected);
    let gain =
        TRAFFIC_RATIOS.map(|ratio| (rate * ((baseline + canary) * ratio.ln() + expected * (1.0 - ratio))).min(cap));
    TrafficScore { gain, due, how: Some(Comparison::BeforeAfter) }
}

/// What Snapback's own requests say: both arms meet every incident, so this may roll back a fault that began in the bake by
/// itself. `None`: not both records are there.
pub(super) fn probe(witnesses: Witnesses, bucket: &Bucket, margin: Margin) -> Option<[f64; 7]> {
    let (baseline, canary) = bucket.seen.probe_baseline.zip(bucket.seen.probe_canary).filter(|_| witnesses.probe)?;
    let (x0, x1) = (number(baseline.bad), number(canary.bad));
    let tolerated = PROBE_USUAL * margin.factor + margin.points;
    let part = tolerated / (tolerated + PROBE_USUAL);
    let rate = 1.0 / (PROBE_DISPERSION + PROBE_NOISE * (x0 + x1) * part * (1.0 - part));
    let cap = if witnesses.pair { PROBE_CAP_BESIDE_PAIRS } else { PROBE_CAP } * bucket.cap_factor;
    Some(RATIOS.map(|ratio| {
        let shared = (1.0 + (ratio - 1.0) * part).ln();
        (rate * (x1 * (ratio.ln() - shared) - x0 * shared)).min(cap)
    }))
}

/// Whether others fail too: then nothing of it is laid to the version.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Others {
    /// s_x and s_n: failed ones, and all, of the peers, of late.
    pub peer_bad: f64,
    /// See `peer_bad`.
    pub peer_all: f64,
    /// s_q: failed ones of the baseline's probe, of late.
    pub probe_bad: f64,
}

impl Others {
    /// Takes in a used bucket, and says whether others fail in it.
    pub(super) fn fail(&mut self, witnesses: Witnesses, reference: &TrafficReference, bucket: &Bucket) -> bool {
        let mut fail = false;
        if witnesses.peer {
            let peer = bucket.seen.peer.unwrap_or(Share::NOTHING);
            let (x, n) = (number(peer.bad), number(peer.all));
            self.peer_bad = OTHERS_LEFT * self.peer_bad + x;
            self.peer_all = OTHERS_LEFT * self.peer_all + n;
            fail |= is_high(reference.peer_rate, x, n) || is_high(reference.peer_rate, self.peer_bad, self.peer_all);
        }
        if witnesses.probe {
            let probe = bucket.seen.probe_baseline;
            let (x, n) = probe.map_or((0.0, PROBE_CALLS), |share| (number(share.bad), number(share.all)));
            self.probe_bad = OTHERS_LEFT * self.probe_bad + x;
            fail |= x >= (0.01 * n).max(2.0) || self.probe_bad >= (0.01 * n).max(1.5);
        }
        fail
    }
}

/// Many more failures of the peers than usual, and than chance makes of it.
fn is_high(usual: f64, x: f64, n: f64) -> bool {
    x >= 2.0 && x > 2.5 * usual * n + 2.5 * (2.0 * usual * n).sqrt() + 0.003 * n
}

#[cfg(test)]
mod tests;
