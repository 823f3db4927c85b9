//! One poll: takes in records, judges the buckets that are due, says what it all adds up to.

use super::body::BodyScore;
use super::bucket::{Bucket, Seen, number, seconds};
use super::counts::{BucketRecord, Reading, Witnesses};
use super::histogram::LatencyShape;
use super::judgement::{Judgement, MetricEvidence, Said};
use super::method::{
    GROSS, GROSS_PROBE, INFORMATION_NEEDED, MARGIN_SLACK, MASS_FIRST, MASS_LATER, ONSET_LEAD, OTHERS_TOLD,
    SETTLED_AFTER, SILENT_BUCKETS, SPARSE_LEVEL, WITNESS_WAIT,
};
use super::mixture::{bet, worth};
use super::note::Note;
use super::rates::{METRICS, Rate, baseline_shares, shares};
use super::reference::{Fading, History, References};
use super::settings::{DetectorSettings, Margin};
use super::state::{BodyState, Capital, HalfSeen, ProbeState, RateState, State, Tally, TrafficState};
use super::traffic_schedule::TrafficSchedule;
use super::used::UsedBuckets;
use super::witness::{self, Others};
use crate::share::{MAX_COUNT, Share};
use crate::vocabulary::{Comparison, Metric, Verdict};

/// Records that start later than this after the poll cannot be.
const AHEAD_MAX_S: f64 = 600.0;

impl State {
    /// The state at the start of the shift.
    ///
    /// * `witnesses`: which are connected; records of others are ignored.
    /// * `history_s`: how far back the history was asked for, in seconds.
    /// * `history`: the baseline's and the witnesses' buckets before the shift (`start_s < 0`), in any order; others are ignored.
    ///   None at all is a weak reference, not an error: little counts as evidence before the two versions run side by side.
    /// * `shape`: how the baseline's latencies are spread; `None`: latencies are not measured.
    #[must_use]
    pub fn begin(
        settings: &DetectorSettings,
        schedule: &TrafficSchedule,
        witnesses: Witnesses,
        history_s: f64,
        history: &[BucketRecord],
        shape: Option<&LatencyShape>,
    ) -> Self {
        let history = History::of(settings, schedule, history_s, history);
        let mut index = 0;
        let rates = settings.rates.each_ref().map(|method| {
            let reference = history.rate(method, index);
            index += 1;
            reference
        });
        let references =
            References { rates, body: shape.map(|shape| history.level(shape)), traffic: history.traffic() };
        Self::begin_with(schedule.bucket_s(), witnesses, &references)
    }

    /// The state at the start of the shift, by what a history gave before ([`State::references`]).
    #[must_use]
    pub fn begin_with(bucket_s: u32, witnesses: Witnesses, references: &References) -> Self {
        let rates = references.rates.map(|reference| RateState {
            reference,
            capital: Capital::NONE,
            gross: None,
            tally: Tally::default(),
        });
        let body = references.body.map(|reference| BodyState {
            reference,
            capital: Capital::NONE,
            difference: (0.0, 0.0),
            tally: Tally::default(),
        });
        Self {
            bucket_s,
            witnesses,
            used: UsedBuckets::default(),
            half_seen: Vec::new(),
            rates,
            body,
            traffic: TrafficState { reference: references.traffic, capital: None, tally: Tally::default() },
            probe: ProbeState { capital: None, tally: Tally::default() },
            others: Others::default(),
            full: 0,
            information: 0.0,
            notes: Vec::new(),
            rolled_back: None,
        }
    }

    /// What is usual, as it is known now.
    #[must_use]
    pub fn references(&self) -> References {
        References {
            rates: self.rates.map(|rate| rate.reference),
            body: self.body.map(|body| body.reference),
            traffic: self.traffic.reference,
        }
    }

    /// Judges one poll. Pure: the same inputs give the same outputs.
    ///
    /// * `schedule`: as planned or observed by now; its bucket length is that of the start, else nothing is judged.
    /// * `new`: what became visible since the last poll, in any order. A record of a used bucket is ignored, so a repeated
    ///   poll changes nothing.
    /// * `now_s`: time of the poll, seconds since the start of the shift.
    ///
    /// The verdict is `Continue` or `Rollback`; a rollback stays.
    #[must_use]
    pub fn step(
        settings: &DetectorSettings,
        schedule: &TrafficSchedule,
        mut state: Self,
        new: &[BucketRecord],
        now_s: f64,
    ) -> (Self, Judgement) {
        if state.rolled_back.is_none() && now_s.is_finite() && state.bucket_s == schedule.bucket_s() {
            state.take_in_all(schedule, new, now_s);
            if now_s <= schedule.end_s() + schedule.drain_s() {
                state.tell_silence(settings, schedule, now_s);
                state.judge_due(settings, schedule, now_s);
            }
            state.keep_bounded();
        }
        let judgement = state.judgement(settings);
        (state, judgement)
    }

    /// The judgement at the end: `Rollback`, `Pass`, or `Inconclusive` when too little was seen to tell.
    #[must_use]
    pub fn finish(settings: &DetectorSettings, state: &Self) -> Judgement {
        let judgement = state.judgement(settings);
        let verdict =
            match judgement.verdict {
                Verdict::Rollback => Verdict::Rollback,
                Verdict::Continue | Verdict::Pass | Verdict::Inconclusive => {
                    if state.information >= INFORMATION_NEEDED { Verdict::Pass } else { Verdict::Inconclusive }
                }
            };
        Judgement { verdict, ..judgement }
    }

    fn take_in_all(&mut self, schedule: &TrafficSchedule, new: &[BucketRecord], now_s: f64) {
        let length = i64::from(schedule.bucket_s());
        for record in new.iter().filter(|record| record.start_s >= 0) {
            let slot = record.start_s.div_euclid(length);
            let is_there = seconds(record.start_s) <= now_s + AHEAD_MAX_S && slot < buckets_of(schedule);
            if is_there && self.is_connected(&record.reading) && !self.used.contains(slot) {
                self.take_in(slot, record, now_s);
            }
        }
    }

    const fn is_connected(&self, reading: &Reading) -> bool {
        match reading {
            Reading::Version(..) => true,
            Reading::Front(_) => self.witnesses.front,
            Reading::Peer(_) => self.witnesses.peer,
            Reading::Probe(..) => self.witnesses.probe,
        }
    }

    /// Several buckets without a record of either version, although there usually is traffic: told, and counted against nobody.
    fn tell_silence(&mut self, settings: &DetectorSettings, schedule: &TrafficSchedule, now_s: f64) {
        if self.traffic.reference.level < SPARSE_LEVEL || self.notes.contains(&Note::NoRecord) {
            return;
        }
        let length = f64::from(schedule.bucket_s());
        let has_version = |slot: i64| {
            let half = self.half_seen.binary_search_by_key(&slot, |half| half.slot).ok();
            let seen = half.and_then(|at| self.half_seen.get(at)).map(|half| half.seen);
            seen.is_some_and(|seen| seen.baseline.is_some() || seen.canary.is_some())
        };
        let is_over = |slot: &i64| (seconds(*slot) + 1.0) * length + settings.no_data_timeout_s <= now_s;
        let silent = (self.used.below..buckets_of(schedule))
            .take_while(is_over)
            .filter(|slot| !self.used.contains(*slot) && !has_version(*slot));
        if silent.take(SILENT_BUCKETS).count() == SILENT_BUCKETS {
            self.notes.push(Note::NoRecord);
        }
    }

    /// Uses each bucket that is due, oldest first, until there are no more or the verdict is a rollback.
    fn judge_due(&mut self, settings: &DetectorSettings, schedule: &TrafficSchedule, now_s: f64) {
        let mut from = i64::MIN;
        loop {
            let at = self.half_seen.partition_point(|half| half.slot < from);
            let Some(half) = self.half_seen.get_mut(at) else { return };
            from = half.slot.saturating_add(1);
            let start_s = half.slot.saturating_mul(i64::from(schedule.bucket_s()));
            if !is_due(settings, schedule, self.witnesses, half, now_s) {
                continue;
            }
            let HalfSeen { slot, seen, .. } = self.half_seen.remove(at);
            self.used.insert(slot);
            self.judge(settings, schedule, &Bucket::new(settings, schedule, start_s, seen));
            if self.rolled_back.is_some() {
                return;
            }
        }
    }

    fn judge(&mut self, settings: &DetectorSettings, schedule: &TrafficSchedule, bucket: &Bucket) {
        let others_fail = self.others.fail(self.witnesses, &self.traffic.reference, bucket);
        let (baseline_requests, canary_requests) = bucket.seen.requests();
        let later = (MASS_LATER / seconds(buckets_of(schedule).max(1))).ln();
        let is_settled =
            bucket.is_whole() && canary_requests > 0.0 && baseline_requests <= 0.0 && self.full >= SETTLED_AFTER;
        let step = Step {
            settings,
            bucket,
            first: MASS_FIRST.ln(),
            later,
            is_settled,
            is_excused: others_fail && bucket.is_whole(),
        };
        let mut is_told = false;
        if canary_requests > 0.0 {
            self.information += step.judge_rates(&mut self.rates, &mut is_told);
            if let Some(body) = &mut self.body {
                step.judge_body(body, self.traffic.reference.level, &mut is_told);
            }
        }
        step.judge_traffic(&mut self.traffic);
        step.judge_probe(&mut self.probe, self.witnesses);
        self.advise(settings, step.is_excused && is_told);
        self.decide(settings, &step, others_fail);
        if bucket.is_whole() && canary_requests > 0.0 {
            self.full = self.full.saturating_add(1).min(SETTLED_AFTER);
        }
        if self.rolled_back.is_none() {
            self.update(settings, schedule, bucket);
        }
    }

    /// The references after the bucket was judged.
    fn update(&mut self, settings: &DetectorSettings, schedule: &TrafficSchedule, bucket: &Bucket) {
        let fading = Fading::after(settings, schedule.bucket_s(), 1.0);
        let usual = bucket.seen.baseline.as_ref().map_or([None; 5], baseline_shares);
        for ((state, share), metric) in self.rates.iter_mut().zip(usual).zip(METRICS) {
            if metric != Metric::E5 || settings.errors_follow {
                state.reference.update(fading, share);
            }
        }
        if let Some(body) = &mut self.body {
            body.reference.update(bucket, fading.peak);
        }
        if let (Some(_), Some(_), false) = (bucket.seen.baseline, bucket.seen.canary, bucket.is_whole()) {
            let (baseline, canary) = bucket.seen.requests();
            let level = &mut self.traffic.reference.level;
            *level = fading.short * *level + (1.0 - fading.short) * (baseline + canary);
        }
    }

    fn note(&mut self, advice: Note) {
        if !self.notes.contains(&advice) {
            self.notes.push(advice);
        }
    }

    fn advise(&mut self, settings: &DetectorSettings, is_excused: bool) {
        if is_excused {
            self.note(Note::OthersFail);
        }
        for (metric, standing) in self.standings(settings) {
            let Some(standing) = standing else { continue };
            let Onset { early, late, margin } = standing.onset;
            if late + ONSET_LEAD > early && late > settings.enough() {
                self.note(Note::Late(metric));
            } else if standing.log_e >= settings.enough() && margin < -MARGIN_SLACK {
                self.note(Note::Margin(metric));
            }
        }
    }

    /// Where each metric stands, in the order of [`Metric::COMPARED`]; `None`: it is off, or not measured.
    fn standings(&self, settings: &DetectorSettings) -> [(Metric, Option<Standing>); 8] {
        let mut all = Metric::COMPARED.map(|metric| (metric, None));
        let rates = self.rates.iter().zip(&settings.stakes.rates);
        let rates = rates.map(|(state, stakes)| Standing::of(&state.capital, stakes));
        let body = self.body.as_ref().map(|body| Standing::of(&body.capital, &settings.stakes.body));
        let traffic = Standing::of_one(worth(&self.traffic.capital, &settings.stakes.traffic));
        let probe = Standing::of_one(worth(&self.probe.capital, &settings.stakes.probe));
        let metrics = rates.map(Some).chain([body, Some(traffic), Some(probe)]);
        let limits = settings.margins.iter().zip(settings.ln_weights(self.witnesses));
        for ((to, standing), (margin, ln_weight)) in all.iter_mut().zip(metrics).zip(limits) {
            to.1 = standing.filter(|_| margin.is_some()).map(|standing| standing.weighted(ln_weight));
        }
        all
    }

    /// Ville's inequality: a capital of 1/α is reached with chance at most α while nothing changed. The capital of all metrics is
    /// one, so no further correction is due, whatever their dependence. Of those that may act the largest decides.
    fn decide(&mut self, settings: &DetectorSettings, step: &Step<'_>, others_fail: bool) {
        let may_be_gross = step.is_settled && !others_fail && self.witnesses.peer && self.are_others_fine(step.bucket);
        let canary = step.bucket.seen.canary;
        let mut best: Option<(Metric, f64)> = None;
        for (index, (metric, standing)) in self.standings(settings).into_iter().enumerate() {
            let Some(standing) = standing else { continue };
            let mut log_e = standing.onset.is_allowed().then_some(standing.log_e);
            let share = canary.and_then(|counts| match metric {
                Metric::E5 => counts.e5,
                Metric::Tx => counts.tx,
                Metric::Q90
                | Metric::Q99
                | Metric::E4
                | Metric::Body
                | Metric::Traffic
                | Metric::Probe
                | Metric::Pair => None,
            });
            if may_be_gross
                && share.is_some_and(is_gross)
                && let (Some(rate), Some(stakes)) = (self.rates.get(index), settings.stakes.rates.get(index))
            {
                let gross = standing.ln_weight + worth(&rate.gross, stakes);
                log_e = Some(log_e.map_or(gross, |log_e| log_e.max(gross)));
            }
            let Some(log_e) = log_e else { continue };
            if best.is_none_or(|(_, most)| log_e > most) {
                best = Some((metric, log_e));
            }
        }
        self.rolled_back = best.filter(|(_, log_e)| *log_e >= settings.enough()).map(|(metric, _)| metric);
    }

    /// Whether the witnesses of this bucket came, and say that the old version works.
    fn are_others_fine(&self, bucket: &Bucket) -> bool {
        let probe = bucket.seen.probe_baseline.filter(|_| self.witnesses.probe);
        bucket.seen.peer.is_some() && probe.is_some_and(|probe| number(probe.bad) <= GROSS_PROBE * number(probe.all))
    }

    /// What is stored of the judgement after a poll.
    #[must_use]
    pub fn said(&self, settings: &DetectorSettings) -> Said {
        let known = |standing: Option<Standing>| standing.map(|it| it.log_e).filter(|log_e| log_e.is_finite());
        let log_e = self.standings(settings).map(|(_, standing)| known(standing));
        Said { rolled_back: self.rolled_back, log_e }
    }

    fn judgement(&self, settings: &DetectorSettings) -> Judgement {
        let known = |value: f64| Some(value).filter(|value| value.is_finite());
        let standings = self.standings(settings);
        let log_e = standings
            .iter()
            .filter_map(|(_, standing)| Some(standing.as_ref()?.log_e))
            .fold(f64::NEG_INFINITY, f64::max);
        let rates = self.rates.iter().map(|state| Some((&state.tally, state.reference.usual())));
        let body = self.body.as_ref().map(|body| (&body.tally, None));
        let others =
            [body, Some((&self.traffic.tally, Some(self.traffic.reference.level))), Some((&self.probe.tally, None))];
        let evidence = standings.iter().zip(rates.chain(others)).filter_map(|((metric, standing), tally)| {
            let (standing, (tally, reference)) = (standing.as_ref()?, tally?);
            let difference =
                self.body.as_ref().filter(|_| *metric == Metric::Body).and_then(BodyState::mean_difference);
            Some(MetricEvidence::new(*metric, known(standing.log_e), tally, reference, difference))
        });
        Judgement {
            verdict: if self.rolled_back.is_some() { Verdict::Rollback } else { Verdict::Continue },
            reason: self.rolled_back,
            log_e: known(log_e),
            evidence: evidence.collect(),
            notes: self.notes.clone(),
        }
    }
}

impl BodyState {
    /// Mean difference of the levels in log latency, and its standard error.
    fn mean_difference(&self) -> Option<(f64, f64)> {
        let (sum, weights) = self.difference;
        (weights > 0.0).then(|| (sum / weights, 1.0 / weights.sqrt()))
    }
}

/// Whether so many failed that even a late onset is laid to the version, when others are fine.
fn is_gross(share: Share) -> bool {
    let (part, least) = GROSS;
    let bad = number(share.bad);
    bad >= part * number(share.all) && bad >= least
}

/// How a metric's capital is spread over nulls and onsets.
#[derive(Debug, Clone, Copy)]
struct Onset {
    /// ln of what is won against the margin.
    margin: f64,
    /// ln of the evidence for a start at the shift, and for a later one.
    early: f64,
    late: f64,
}

impl Onset {
    /// Not shown to be inside the margin, and better explained by a start at the shift than by a later one.
    fn is_allowed(&self) -> bool {
        self.margin >= -MARGIN_SLACK && self.early >= self.late + ONSET_LEAD
    }
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    /// E: ln of the capital, the metric's share of it included.
    log_e: f64,
    ln_weight: f64,
    onset: Onset,
}

impl Standing {
    fn of<const N: usize>(capital: &Capital<N>, stakes: &[f64; N]) -> Self {
        let onset = Onset {
            margin: worth(&capital.margin, stakes),
            early: worth(&capital.early, stakes),
            late: worth(&capital.late, stakes),
        };
        Self { log_e: worth(&capital.no_change, stakes), ln_weight: 0.0, onset }
    }

    /// A metric that needs neither margin nor onset: its witnesses are in it.
    fn of_one(log_e: f64) -> Self {
        let onset = Onset { margin: 0.0, early: 0.0, late: f64::NEG_INFINITY };
        Self { log_e, ln_weight: 0.0, onset }
    }

    fn weighted(self, ln_weight: f64) -> Self {
        Self { log_e: self.log_e + ln_weight, ln_weight, ..self }
    }
}

/// D: how many buckets a deployment has.
fn buckets_of(schedule: &TrafficSchedule) -> i64 {
    whole(schedule.end_s() / f64::from(schedule.bucket_s()))
}

#[expect(clippy::cast_possible_truncation, reason = "a schedule is at most a week long")]
fn whole(value: f64) -> i64 {
    value.floor() as i64
}

/// Whether a bucket is to be used now. Remembers since when it was ready.
fn is_due(
    settings: &DetectorSettings,
    schedule: &TrafficSchedule,
    witnesses: Witnesses,
    half: &mut HalfSeen,
    now_s: f64,
) -> bool {
    let start = seconds(half.slot) * f64::from(schedule.bucket_s());
    let is_whole = schedule.weight(start) >= 1.0;
    let [baseline, canary, front, peer] = half.came_s.map(|came| came.unwrap_or(f64::INFINITY));
    let ready = if is_whole {
        let mut ready = canary.min(baseline + settings.grace_s);
        if witnesses.front {
            let witnessed = if witnesses.peer { front.max(peer) } else { front };
            ready = ready.min(witnessed + settings.no_data_timeout_s);
        }
        ready
    } else {
        baseline.max(canary).min(baseline.min(canary) + settings.grace_s)
    };
    if ready > now_s {
        return false;
    }
    let ready_s = *half.ready_s.get_or_insert(now_s);
    let has_witness = half.seen.peer.is_some() && (half.seen.probe_baseline.is_some() || !witnesses.probe);
    !(is_whole && witnesses.peer && !has_witness && now_s < ready_s + WITNESS_WAIT * settings.minute_s)
}

/// What is the same for all metrics of one bucket.
struct Step<'a> {
    settings: &'a DetectorSettings,
    bucket: &'a Bucket,
    /// ln γ of a metric's first bucket, and of each later one.
    first: f64,
    later: f64,
    /// Whether a fault that begins here is not laid to the shift any more.
    is_settled: bool,
    /// Whether nothing here may speak against the version, because others fail too.
    is_excused: bool,
}

impl Step<'_> {
    /// g of a fault that began with the shift: `is_first` for the first bucket of a metric.
    const fn mass(&self, is_first: bool) -> f64 {
        if self.is_settled {
            f64::NEG_INFINITY
        } else if is_first {
            self.first
        } else {
            self.later
        }
    }

    /// g of a fault that began later.
    const fn late_mass(&self) -> f64 {
        if self.is_settled { self.later } else { f64::NEG_INFINITY }
    }

    /// What may be won: nothing while others fail too.
    fn excused<const N: usize>(&self, gains: [f64; N], is_told: &mut bool) -> [f64; N] {
        if !self.is_excused {
            return gains;
        }
        *is_told |= gains.iter().any(|gain| *gain > OTHERS_TOLD);
        gains.map(|gain| gain.min(0.0))
    }

    fn bet_all<const N: usize>(&self, capital: &mut Capital<N>, bets: Bets<N>, stakes: &[f64; N]) -> f64 {
        let mass = self.mass(capital.no_change.is_none());
        let late = self.late_mass();
        bet(&mut capital.margin, mass, &bets.margin);
        bet(&mut capital.early, mass, &bets.raw_early);
        bet(&mut capital.late, late, &bets.raw_late);
        won(&mut capital.no_change, mass, &bets.no_change, stakes)
    }

    /// Bets on each rate that the canary has; gives the information that was in it.
    fn judge_rates(&self, rates: &mut [RateState; 5], is_told: &mut bool) -> f64 {
        let bucket = self.bucket;
        let Some(counts) = &bucket.seen.canary else { return 0.0 };
        let usual = bucket.seen.baseline.as_ref().map_or([None; 5], baseline_shares);
        let (narrow, wide) = (shares(counts, bucket.shift(false)), shares(counts, bucket.shift(true)));
        let mut information = 0.0;
        let inputs = METRICS.into_iter().zip(usual).zip(narrow.into_iter().zip(wide));
        let methods = self.settings.rates.iter().zip(&self.settings.stakes.rates);
        for ((state, (method, stakes)), ((metric, usual), (narrow, wide))) in rates.iter_mut().zip(methods).zip(inputs)
        {
            let of = |share: Option<Share>| share.unwrap_or(Share::NOTHING);
            let rate = Rate {
                metric,
                method,
                reference: &state.reference,
                bucket,
                baseline: of(usual),
                canary: of(narrow),
                canary_wide: of(wide),
            };
            let (no_change, margin) = (rate.against_no_change(), rate.against_margin());
            if metric == Metric::E5 {
                information = rate.information();
            }
            let gain = self.excused(no_change.gain, is_told);
            let bets = Bets {
                no_change: gain,
                margin: self.excused(margin.gain, &mut false),
                raw_early: no_change.raw,
                raw_late: no_change.raw,
            };
            let best = self.bet_all(&mut state.capital, bets, stakes);
            if matches!(metric, Metric::E5 | Metric::Tx) {
                bet(&mut state.gross, self.late_mass(), &gain);
            }
            if let Some(how) = no_change.how {
                state.tally.add(of(usual), of(narrow), how, best, bucket.start_s);
            }
        }
        information
    }

    fn judge_body(&self, body: &mut BodyState, usual_requests: f64, is_told: &mut bool) {
        let tolerated = self.margin(Metric::Body).factor;
        let score = BodyScore::of(&body.reference, self.bucket, tolerated, usual_requests);
        let bets = Bets {
            no_change: self.excused(score.no_change, is_told),
            margin: self.excused(score.margin, &mut false),
            raw_early: score.raw_early,
            raw_late: score.raw_late,
        };
        let best = self.bet_all(&mut body.capital, bets, &self.settings.stakes.body);
        if let Some((difference, variance)) = score.difference {
            body.difference.0 += difference / variance;
            body.difference.1 += 1.0 / variance;
        }
        if let Some(how) = score.how {
            let requests =
                |counts: Option<super::Counts>| Share { bad: 0, all: counts.map_or(0, |counts| counts.requests) };
            let Seen { baseline, canary, .. } = self.bucket.seen;
            body.tally.add(requests(baseline), requests(canary), how, best, self.bucket.start_s);
        }
    }

    /// T also counts buckets in which nothing was compared. A fault of traffic may begin at any time: its witness is in it.
    fn judge_traffic(&self, traffic: &mut TrafficState) {
        let score = witness::traffic(&traffic.reference, self.bucket, self.margin(Metric::Traffic));
        let mass = if traffic.capital.is_none() { self.first } else { self.later };
        let best = won(&mut traffic.capital, mass, &score.gain, &self.settings.stakes.traffic);
        let Some(how) = score.how else { return };
        let (baseline, canary) = self.bucket.seen.requests();
        let came = if how == Comparison::Concurrent { canary } else { baseline + canary };
        let beside = Share { bad: count(baseline), all: count(baseline + canary) };
        traffic.tally.add(beside, Share { bad: count(came), all: count(score.due) }, how, best, self.bucket.start_s);
    }

    fn judge_probe(&self, probe: &mut ProbeState, witnesses: Witnesses) {
        let Some(gain) = witness::probe(witnesses, self.bucket, self.margin(Metric::Probe)) else { return };
        let mass = if probe.capital.is_none() { self.first } else { self.later };
        let best = won(&mut probe.capital, mass, &gain, &self.settings.stakes.probe);
        let of = |share: Option<Share>| share.unwrap_or(Share::NOTHING);
        let (baseline, canary) = (of(self.bucket.seen.probe_baseline), of(self.bucket.seen.probe_canary));
        probe.tally.add(baseline, canary, Comparison::Concurrent, best, self.bucket.start_s);
    }

    /// The margin of a metric; of one that is off the method's own, as it is judged nevertheless and never read.
    fn margin(&self, metric: Metric) -> Margin {
        let usual = || super::DetectorValues::default_margin(metric);
        self.settings.margin(metric).or_else(usual).unwrap_or(Margin { factor: 1.0, points: 0.0 })
    }
}

/// What one bucket wins or loses.
struct Bets<const N: usize> {
    no_change: [f64; N],
    margin: [f64; N],
    raw_early: [f64; N],
    raw_late: [f64; N],
}

/// Bets, and gives what the whole mixture won.
fn won<const N: usize>(mix: &mut super::Mix<N>, ln_mass: f64, gains: &[f64; N], ln_stakes: &[f64; N]) -> f64 {
    let mut unmoved = *mix;
    bet(&mut unmoved, ln_mass, &[0.0; N]);
    bet(mix, ln_mass, gains);
    let gain = worth(mix, ln_stakes) - worth(&unmoved, ln_stakes);
    if gain.is_finite() { gain } else { 0.0 }
}

/// A count of requests.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to counts")]
fn count(value: f64) -> u64 {
    value.clamp(0.0, number(MAX_COUNT)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rollback_needs_beside_evidence() {
        let none = f64::NEG_INFINITY;
        // (case, worth against the margin, of an early onset, of a late one, allowed)
        let table = [
            ("early, and beyond the margin", 3.0, 9.0, none, true),
            ("just not shown to be inside the margin", -1.5, 9.0, none, true),
            ("inside the margin", -1.51, 9.0, none, false),
            ("an early onset is just the better explanation", 3.0, 9.0, 8.0, true),
            ("it is not", 3.0, 9.0, 8.01, false),
            ("a late one is", 3.0, 8.0, 9.0, false),
        ];
        for (case, margin, early, late, expected) in table {
            assert_eq!(Onset { margin, early, late }.is_allowed(), expected, "{case}");
        }
    }

    #[test]
    fn what_is_gross() {
        for (case, bad, all, expected) in [
            ("three in ten", 30, 100, true),
            ("not quite", 29, 100, false),
            ("ten of ten", 10, 10, true),
            ("nine of nine", 9, 9, false),
        ] {
            assert_eq!(is_gross(Share { bad, all }), expected, "{case}");
        }
    }
}
