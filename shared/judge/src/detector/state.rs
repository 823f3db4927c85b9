//! What is remembered of one deployment between two polls.

use super::body::LatencyReference;
use super::bucket::Seen;
use super::counts::{BucketRecord, Reading, Side, Witnesses};
use super::mixture::Mix;
use super::note::Note;
use super::reference::{RateReference, TrafficReference};
use super::used::UsedBuckets;
use super::witness::Others;
use crate::share::Share;
use crate::vocabulary::Metric;

/// Everything that the detector remembers: plain data of constant size, to be stored between two polls.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Length of a bucket in seconds; that of the schedule at the start.
    pub bucket_s: u32,
    /// Which witnesses are connected; fixed at the start.
    pub witnesses: Witnesses,
    /// Buckets that were used.
    pub used: UsedBuckets,
    /// Buckets of which something came and the rest may still come, ascending. At most [`HALF_SEEN_MAX`].
    pub half_seen: Vec<HalfSeen>,
    /// The rate metrics, in the order e5, tx, q90, q99, e4.
    pub rates: [RateState; 5],
    /// The body of the latencies; `None`: latencies are not measured.
    pub body: Option<BodyState>,
    /// The traffic metric.
    pub traffic: TrafficState,
    /// The probe: ln of the capital on each ratio, and what it rests on.
    pub probe: ProbeState,
    /// Whether others fail too.
    pub others: Others,
    /// Used buckets in which the new version had all traffic and requests, counted up to 2.
    pub full: u8,
    /// Log-evidence that a much worse error rate would have given; a pass needs enough of it.
    pub information: f64,
    /// What was seen but may not roll back, in order of first appearance.
    pub notes: Vec<Note>,
    /// The metric that the rollback was decided for. Sticky.
    pub rolled_back: Option<Metric>,
}

/// Most buckets of which something came: an hour of witnesses for a version whose metrics are late.
pub const HALF_SEEN_MAX: usize = 64;

/// A bucket of which something came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HalfSeen {
    /// Start in seconds / `bucket_s`.
    pub slot: i64,
    /// What came, without what the formulas do not read.
    pub seen: Seen,
    /// When it came, in seconds since the start of the shift: of the baseline, the canary, the front and the peers.
    pub came_s: [Option<f64>; 4],
    /// The poll at which the bucket was first found ready.
    pub ready_s: Option<f64>,
}

/// ln of the capital against one null hypothesis of a metric, by where the fault began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capital<const N: usize> {
    /// S^A: against "no change".
    pub no_change: Mix<N>,
    /// S^B: against the declared margin.
    pub margin: Mix<N>,
    /// O^E: against "no change", uncapped, for a fault that began with the shift.
    pub early: Mix<N>,
    /// O^L: the same for one that began later.
    pub late: Mix<N>,
}

impl<const N: usize> Capital<N> {
    pub(super) const NONE: Self = Self { no_change: None, margin: None, early: None, late: None };
}

/// One rate metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateState {
    /// What the baseline usually does.
    pub reference: RateReference,
    /// What speaks against the canary.
    pub capital: Capital<7>,
    /// S^L: what speaks for a gross fault that began in the bake. Of e5 and tx only.
    pub gross: Mix<7>,
    /// What it rests on.
    pub tally: Tally,
}

/// The body of the latencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BodyState {
    /// What the baseline usually does.
    pub reference: LatencyReference,
    /// What speaks against the canary.
    pub capital: Capital<5>,
    /// Sum of the differences of the levels, each by the inverse of its variance; and of these inverses.
    pub difference: (f64, f64),
    /// What it rests on; its shares count requests.
    pub tally: Tally,
}

/// The traffic metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrafficState {
    /// What usually comes.
    pub reference: TrafficReference,
    /// T: what speaks against the canary.
    pub capital: Mix<3>,
    /// What it rests on.
    pub tally: Tally,
}

/// The probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeState {
    /// Q: what speaks against the canary.
    pub capital: Mix<7>,
    /// What it rests on.
    pub tally: Tally,
}

/// What the evidence of a metric rests on, for people.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// The baseline's events in the buckets that were compared side by side.
    pub baseline: Share,
    /// The canary's events in all buckets that were compared; of the traffic metric what came of what was due.
    pub canary: Share,
    /// Of these, the events in buckets that were compared with the baseline's past.
    pub alone: Share,
    /// Log-evidence of late from comparisons with the baseline at the same time, at least 0: good buckets before a bad one do not
    /// hide it.
    pub concurrent: f64,
    /// The same from comparisons with the baseline's past.
    pub before_after: f64,
    /// Log-evidence of the present run of bad buckets, at least 0. Source: CUSUM, Page 1954.
    pub run: f64,
    /// Start of that run in seconds since the start of the shift; `None` when there is none.
    pub first_bad_s: Option<i64>,
}

/// A stored state that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("detector state: {what}")]
pub struct InvalidState {
    /// What is wrong.
    pub what: &'static str,
}

impl State {
    /// Evidence starts anew, for example after an incident that hit both versions: capital, totals, information, advice and a
    /// verdict of rollback are gone, and what goes on from here counts as if the shift ended here. The marks of used buckets stay,
    /// and the references, but for what they remember of the last minutes: those of the incident are no measure.
    pub fn forget_evidence(&mut self) {
        for rate in &mut self.rates {
            (rate.capital, rate.gross, rate.tally) = (Capital::NONE, None, Tally::default());
            (rate.reference.peak, rate.reference.bad_short, rate.reference.all_short) = (0.0, 0.0, 0.0);
        }
        if let Some(body) = &mut self.body {
            (body.capital, body.difference, body.tally) = (Capital::NONE, (0.0, 0.0), Tally::default());
            body.reference.peak = body.reference.level;
        }
        (self.traffic.capital, self.traffic.tally) = (None, Tally::default());
        self.probe = ProbeState { capital: None, tally: Tally::default() };
        self.full = 0;
        self.information = 0.0;
        self.notes.clear();
        self.rolled_back = None;
    }

    /// Checks a state that comes from a store, before it is used.
    ///
    /// # Errors
    /// When it has a number that is not finite, a negative sum, a list that is too long or out of order.
    pub fn check(&self) -> Result<(), InvalidState> {
        let slots: Vec<i64> = self.half_seen.iter().map(|half| half.slot).collect();
        let times = self.half_seen.iter().flat_map(|half| half.came_s.into_iter().chain([half.ready_s]).flatten());
        let tallies = self.rates.iter().map(|rate| &rate.tally);
        let tallies =
            tallies.chain(self.body.iter().map(|body| &body.tally)).chain([&self.traffic.tally, &self.probe.tally]);
        let capitals = self.rates.iter().all(|rate| rate.capital.is_sound() && is_sound(&rate.gross));
        let rules = [
            (self.bucket_s > 0, "a bucket has no length"),
            (self.used.is_sound(), "the used buckets are out of order"),
            (slots.len() <= HALF_SEEN_MAX, "a list of buckets is too long"),
            (slots.is_sorted_by(|a, b| a < b), "a list of buckets is out of order"),
            (slots.iter().all(|slot| !self.used.contains(*slot)), "a bucket is used twice"),
            (times.into_iter().all(f64::is_finite), "a record came at no time"),
            (is_amount(self.information), "the information is no amount"),
            (self.rates.iter().all(|rate| rate.reference.is_sound()), "a reference is no rate"),
            (self.traffic.reference.is_sound(), "the traffic's reference is no amount"),
            (self.body.as_ref().is_none_or(BodyState::is_sound), "the level of the latencies is no number"),
            (self.others.is_sound(), "what others did is no amount"),
            (capitals && is_sound(&self.traffic.capital) && is_sound(&self.probe.capital), "the capital is no number"),
            (tallies.into_iter().all(Tally::is_sound), "the evidence is no number"),
            (self.full <= super::method::SETTLED_AFTER, "too many full buckets"),
            (self.notes.len() <= Note::MAX, "too much advice"),
        ];
        match rules.into_iter().find(|(is_right, _)| !is_right) {
            Some((_, what)) => Err(InvalidState { what }),
            None => Ok(()),
        }
    }

    /// Takes in a record of a bucket that was not used. The first record of a kind counts.
    pub(super) fn take_in(&mut self, slot: i64, record: &BucketRecord, now_s: f64) {
        let at = match self.half_seen.binary_search_by_key(&slot, |half| half.slot) {
            Ok(at) => at,
            Err(at) => {
                let half = HalfSeen { slot, seen: Seen::default(), came_s: [None; 4], ready_s: None };
                self.half_seen.insert(at, half);
                at
            }
        };
        let Some(half) = self.half_seen.get_mut(at) else { return };
        let [baseline_s, canary_s, front_s, peer_s] = &mut half.came_s;
        let seen = &mut half.seen;
        match record.reading {
            Reading::Version(side @ Side::Baseline, counts) => {
                first(&mut seen.baseline, counts.trimmed(side), baseline_s, now_s)
            }
            Reading::Version(side @ Side::Canary, counts) => {
                first(&mut seen.canary, counts.trimmed(side), canary_s, now_s)
            }
            Reading::Front(requests) => first(&mut seen.front, requests, front_s, now_s),
            Reading::Peer(share) => first(&mut seen.peer, share, peer_s, now_s),
            Reading::Probe(Side::Baseline, share) => _ = seen.probe_baseline.get_or_insert(share),
            Reading::Probe(Side::Canary, share) => _ = seen.probe_canary.get_or_insert(share),
        }
    }

    /// Drops what came longest ago when too much waits: of a version whose metrics never come.
    pub(super) fn keep_bounded(&mut self) {
        let excess = self.half_seen.len().saturating_sub(HALF_SEEN_MAX);
        self.half_seen.drain(..excess);
    }
}

fn first<T>(place: &mut Option<T>, value: T, came_s: &mut Option<f64>, now_s: f64) {
    if place.is_none() {
        *place = Some(value);
        *came_s = Some(now_s);
    }
}

fn is_amount(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn is_sound<const N: usize>(mix: &Mix<N>) -> bool {
    mix.iter().flatten().all(|value| value.is_finite())
}

impl<const N: usize> Capital<N> {
    fn is_sound(&self) -> bool {
        [&self.no_change, &self.margin, &self.early, &self.late].into_iter().all(is_sound)
    }
}

impl RateReference {
    fn is_sound(&self) -> bool {
        let amounts = [self.bad_long, self.all_long, self.bad_short, self.all_short, self.peak];
        amounts.into_iter().all(is_amount) && self.dispersion.is_finite() && self.dispersion > 0.0
    }
}

impl TrafficReference {
    fn is_sound(&self) -> bool {
        let is_share = self.lost_chance > 0.0 && self.lost_chance <= 1.0;
        is_share && [self.level, self.per_front, self.peer_rate].into_iter().all(is_amount)
    }
}

impl BodyState {
    fn is_sound(&self) -> bool {
        let LatencyReference { usual, slope, variance, drift, level, doubt, absorbed, peak } = self.reference;
        let amounts = [usual, slope, variance, drift, doubt, absorbed, self.difference.1];
        let numbers = [level, peak, self.difference.0];
        amounts.into_iter().all(is_amount)
            && slope > 0.0
            && numbers.into_iter().all(f64::is_finite)
            && self.capital.is_sound()
    }
}

impl Others {
    fn is_sound(&self) -> bool {
        [self.peer_bad, self.peer_all, self.probe_bad].into_iter().all(is_amount)
    }
}

impl Tally {
    fn is_sound(&self) -> bool {
        [self.concurrent, self.before_after, self.run].into_iter().all(f64::is_finite)
    }

    /// Takes in what was compared. `best`: the most that any alternative won, in natural logarithms.
    pub(super) fn add(
        &mut self,
        baseline: Share,
        canary: Share,
        how: crate::vocabulary::Comparison,
        best: f64,
        start_s: i64,
    ) {
        use crate::vocabulary::Comparison;
        self.canary = self.canary.plus(canary);
        match how {
            Comparison::Concurrent => {
                self.baseline = self.baseline.plus(baseline);
                self.concurrent = (self.concurrent + best).max(0.0);
            }
            Comparison::BeforeAfter => {
                self.alone = self.alone.plus(canary);
                self.before_after = (self.before_after + best).max(0.0);
            }
        }
        let run = (self.run + best).max(0.0);
        self.first_bad_s = if run <= 0.0 { None } else { self.first_bad_s.or(Some(start_s)) };
        self.run = run;
    }
}
