//! One poll: takes in records, judges the buckets that are due, says what it all adds up to.

use super::bucket::{Bucket, number, seconds, shares};
use super::counts::{BucketRecord, Counts, Share};
use super::course::Course;
use super::evidence::{self, Bet};
use super::judgement::{Judgement, MetricEvidence};
use super::mixture::{log_add, log_sum};
use super::reference::{self, Fading};
use super::settings::{Settings, Wager};
use super::state::{Evidence, RateState, State, TrafficState};
use crate::words::{Metric, Verdict};

/// The rate metrics, in the order of [`State::rates`].
const RATES: [Metric; 6] = [Metric::E5, Metric::Tx, Metric::Q50, Metric::Q90, Metric::Q99, Metric::E4];

impl State {
    /// The state at the start of the shift.
    ///
    /// * `history_s`: how far back the history was asked for, in seconds.
    /// * `history`: the baseline's buckets before the shift (`start_s < 0`), in any order; others are ignored. None at all is
    ///   a weak reference, not an error: little counts as evidence before the two versions run side by side.
    #[must_use]
    pub fn begin(settings: &Settings, course: &Course, history_s: f64, history: &[BucketRecord]) -> Self {
        let (rates, traffic) = reference::begin(settings, course, history_s, history);
        Self {
            bucket_s: course.bucket_s(),
            used_below: 0,
            used_beyond: Vec::new(),
            half_seen: Vec::new(),
            rates: rates.map(|reference| RateState { reference, evidence: Evidence::none() }),
            traffic: TrafficState { reference: traffic, evidence: Evidence::none() },
            information: 0.0,
            rolled_back: None,
        }
    }

    /// Judges one poll. Pure: the same inputs give the same outputs.
    ///
    /// * `course`: as planned or observed by now; its bucket length is that of the start, else nothing is judged.
    /// * `new`: what became visible since the last poll, in any order. A record of a used bucket is ignored, so a repeated
    ///   poll changes nothing.
    /// * `now_s`: time of the poll, seconds since the start of the shift.
    ///
    /// The verdict is `Continue` or `Rollback`; a rollback stays.
    #[must_use]
    pub fn step(
        settings: &Settings,
        course: &Course,
        mut state: Self,
        new: &[BucketRecord],
        now_s: f64,
    ) -> (Self, Judgement) {
        if state.rolled_back.is_none() && now_s.is_finite() && state.bucket_s == course.bucket_s() {
            state.take_in_all(settings, course, new, now_s);
            state.judge_due(settings, course, now_s);
            state.keep_bounded(settings);
        }
        let judgement = state.judgement(settings);
        (state, judgement)
    }

    /// The judgement at the end: `Rollback`, `Pass`, or `Inconclusive` when too little was seen to tell.
    #[must_use]
    pub fn finish(settings: &Settings, state: &Self) -> Judgement {
        let judgement = state.judgement(settings);
        let has_looked = judgement.log_e.is_some_and(f64::is_finite);
        let verdict = match judgement.verdict {
            Verdict::Rollback => Verdict::Rollback,
            Verdict::Continue | Verdict::Pass | Verdict::Inconclusive => {
                if has_looked && state.information >= settings.information_needed {
                    Verdict::Pass
                } else {
                    Verdict::Inconclusive
                }
            }
        };
        Judgement { verdict, ..judgement }
    }

    fn take_in_all(&mut self, settings: &Settings, course: &Course, new: &[BucketRecord], now_s: f64) {
        let length = i64::from(course.bucket_s());
        let in_flight = i64::try_from(Self::half_seen_max(settings, course.bucket_s())).unwrap_or(i64::MAX);
        let last = slot_at(now_s, course).saturating_add(in_flight);
        for record in new.iter().filter(|record| record.start_s >= 0) {
            let slot = record.start_s.div_euclid(length);
            if slot <= last && !self.is_used(slot) {
                let came_s = now_s.max(seconds(slot * length));
                self.take_in(slot, record.side, record.counts, came_s);
            }
        }
    }

    /// Uses each bucket that is due, oldest first, until there are no more or the verdict is a rollback.
    fn judge_due(&mut self, settings: &Settings, course: &Course, now_s: f64) {
        let length = i64::from(course.bucket_s());
        let last = slot_at(now_s, course);
        let mut slot = self.used_below;
        while slot <= last && seconds(slot * length) < course.end_s() {
            if !self.is_used(slot) {
                self.judge_if_due(settings, course, slot, now_s);
                if self.rolled_back.is_some() {
                    return;
                }
            }
            slot += 1;
        }
    }

    fn judge_if_due(&mut self, settings: &Settings, course: &Course, slot: i64, now_s: f64) {
        let start_s = slot * i64::from(course.bucket_s());
        let start = seconds(start_s);
        let at = self.half_seen.binary_search_by_key(&slot, |half| half.slot).ok();
        let half = at.and_then(|at| self.half_seen.get(at)).copied();
        let is_dark = now_s >= start + f64::from(course.bucket_s()) + settings.dark_s;
        let is_due = is_dark
            || half.is_some_and(|half| {
                let is_alone = half.baseline.is_none() && course.weight(start) >= 1.0;
                let is_whole = half.canary.is_some() && (half.baseline.is_some() || is_alone);
                is_whole || now_s >= half.came_s + settings.grace_s
            });
        if !is_due {
            return;
        }
        if let Some(at) = at {
            self.half_seen.remove(at);
        }
        self.mark_used(slot);
        let (baseline, canary) = half.map_or((None, None), |half| (half.baseline, half.canary));
        self.judge(settings, course, &Bucket::new(settings, course, start_s, baseline, canary));
    }

    fn judge(&mut self, settings: &Settings, course: &Course, bucket: &Bucket) {
        let later = (settings.mass_later * f64::from(course.bucket_s()) / course.end_s()).ln();
        let step = Step { settings, bucket, ln_mass: (settings.mass_first.ln(), later) };
        if let Some(canary) = bucket.canary.filter(|counts| counts.requests > 0) {
            self.information += step.judge_rates(&mut self.rates, &canary);
        }
        step.judge_traffic(&mut self.traffic);
        self.decide(settings);
        let fading = Fading::after(settings, course.bucket_s(), 1.0);
        let usual = bucket.baseline.map_or([None; 6], |counts| shares(&counts, 0));
        for (state, share) in self.rates.iter_mut().zip(usual) {
            state.reference.update(settings, fading, share);
        }
        self.traffic.reference.update(fading, bucket);
    }

    /// Ville's inequality: a capital of 1/α is reached with chance at most α while the canary is within the margins.
    /// The capital of all metrics is an average of theirs, so no further correction is due, whatever their dependence.
    fn decide(&mut self, settings: &Settings) {
        let log_e = self.log_e(settings);
        if log_sum(log_e.iter().map(|(_, log_e)| *log_e)) >= -settings.alpha.ln() {
            let most = log_e.into_iter().reduce(|most, next| if next.1 > most.1 { next } else { most });
            self.rolled_back = most.map(|(metric, _)| metric);
        }
    }

    /// ln E of each metric; minus infinity before any evidence.
    fn log_e(&self, settings: &Settings) -> [(Metric, f64); 7] {
        let mut all = [(Metric::Traffic, f64::NEG_INFINITY); 7];
        let rates = RATES.into_iter().zip(&self.rates).zip(settings.rates.iter().zip(&settings.rate_wagers));
        let rates = rates.map(|((metric, state), (rate, wagers))| (metric, &state.evidence, rate.weight, wagers));
        let traffic = (Metric::Traffic, &self.traffic.evidence, settings.traffic.weight, &settings.traffic_wagers);
        for (to, (metric, evidence, weight, wagers)) in all.iter_mut().zip(rates.chain([traffic])) {
            *to = (metric, weight.ln() + evidence.log_capital(wagers));
        }
        all
    }

    fn judgement(&self, settings: &Settings) -> Judgement {
        let log_e = self.log_e(settings);
        let known = |value: f64| Some(value).filter(|value| value.is_finite());
        let rates = self.rates.iter().map(|state| (&state.evidence, state.reference.rate_at_start));
        let traffic = (&self.traffic.evidence, Some(self.traffic.reference.level));
        let evidence = log_e.iter().zip(rates.chain([traffic]));
        Judgement {
            verdict: if self.rolled_back.is_some() { Verdict::Rollback } else { Verdict::Continue },
            reason: self.rolled_back,
            log_e: known(log_sum(log_e.iter().map(|(_, log_e)| *log_e))),
            evidence: evidence
                .map(|((metric, log_e), (evidence, reference))| {
                    MetricEvidence::new(*metric, known(*log_e), evidence, reference)
                })
                .collect(),
        }
    }

    /// Drops what lies so far ahead that it cannot be in flight.
    fn keep_bounded(&mut self, settings: &Settings) {
        self.half_seen.truncate(Self::half_seen_max(settings, self.bucket_s));
    }
}

/// What is the same for all metrics of one bucket.
struct Step<'a> {
    settings: &'a Settings,
    bucket: &'a Bucket,
    /// ln γ of a metric's first bucket, and of each later one.
    ln_mass: (f64, f64),
}

impl Step<'_> {
    /// Bets on each rate that the canary has; gives the information that was in it.
    fn judge_rates(&self, rates: &mut [RateState; 6], canary: &Counts) -> f64 {
        let settings = self.settings;
        let usual = self.bucket.baseline.map_or([None; 6], |counts| shares(&counts, 0));
        let side_by_side = shares(canary, self.bucket.concurrent_shift(settings));
        let alone = shares(canary, self.bucket.before_after_shift(settings));
        let mut information = 0.0;
        let inputs = RATES.into_iter().zip(usual).zip(side_by_side.into_iter().zip(alone));
        let values = settings.rates.iter().zip(&settings.rate_wagers);
        for ((state, (rate, wagers)), ((metric, usual), (side_by_side, alone))) in
            rates.iter_mut().zip(values).zip(inputs)
        {
            if side_by_side.is_none() && alone.is_none() {
                continue;
            }
            let cold = |all: u64| match metric {
                Metric::Q50 | Metric::Q90 | Metric::Q99 => evidence::cold_starts(settings, self.bucket, all),
                Metric::E5 | Metric::Tx | Metric::E4 | Metric::Traffic => 0.0,
            };
            let bet = usual.zip(side_by_side).and_then(|pair| {
                let cold = cold(pair.1.all());
                evidence::concurrent(settings, rate, &state.reference, self.bucket, pair, cold)
            });
            let is_concurrent = bet.is_some();
            let bet = bet.or_else(|| {
                let alone = alone?;
                evidence::before_after(settings, rate, &state.reference, self.bucket, alone, cold(alone.all()))
            });
            if let Some(bet) = bet {
                let canary = if is_concurrent { side_by_side } else { alone };
                if let Some(canary) = canary {
                    state.evidence.add(usual.filter(|_| is_concurrent), canary);
                }
                if metric == Metric::E5 {
                    information += bet.information(settings.information_ratio).min(settings.information_cap);
                }
            }
            self.accumulate(&mut state.evidence, wagers, bet.map(|bet| (bet, is_concurrent)));
        }
        information
    }

    fn judge_traffic(&self, traffic: &mut TrafficState) {
        let bet = evidence::traffic(self.settings, &traffic.reference, self.bucket);
        if let Some(bet) = bet {
            let requests = |counts: Option<Counts>| counts.map_or(0, |counts| counts.requests);
            let (baseline, canary) = (requests(self.bucket.baseline), requests(self.bucket.canary));
            let due = whole(bet.due);
            traffic.evidence.canary.add(canary, due);
            if bet.is_concurrent {
                traffic.evidence.baseline.add(baseline, baseline.saturating_add(canary));
            } else {
                traffic.evidence.alone.add(canary, due);
            }
        }
        self.accumulate(
            &mut traffic.evidence,
            &self.settings.traffic_wagers,
            bet.map(|bet| (bet.bet, bet.is_concurrent)),
        );
    }

    /// S ← log(eˢ + γ) + ℓ for each ratio: a mixture over the bucket in which the fault began.
    ///
    /// No bet is ℓ = 0. Source: Shin, Ramdas and Rinaldo 2022, e-detectors with a prior over change times.
    fn accumulate(&self, evidence: &mut Evidence, wagers: &[Wager], bet: Option<(Bet, bool)>) {
        let (first, later) = self.ln_mass;
        let capital = match evidence.log_capital.take() {
            None => vec![first; wagers.len()],
            Some(mut capital) => {
                capital.iter_mut().for_each(|log| *log = log_add(*log, later));
                capital
            }
        };
        let capital = evidence.log_capital.insert(capital);
        let Some((bet, is_concurrent)) = bet else { return };
        let before = log_sum(capital.iter().zip(wagers).map(|(log, wager)| log + wager.ln_mass));
        capital.iter_mut().zip(wagers).for_each(|(log, wager)| *log += bet.gain(wager));
        let after = log_sum(capital.iter().zip(wagers).map(|(log, wager)| log + wager.ln_mass));
        evidence.note(after - before, is_concurrent, self.bucket.start_s);
    }
}

impl Evidence {
    /// logsumexp over the ratios of S + ln V; minus infinity before any evidence.
    fn log_capital(&self, wagers: &[Wager]) -> f64 {
        let Some(capital) = &self.log_capital else { return f64::NEG_INFINITY };
        log_sum(capital.iter().zip(wagers).map(|(log, wager)| log + wager.ln_mass))
    }

    /// Adds up events that were compared, side by side or else with the baseline's past.
    fn add(&mut self, beside: Option<Share>, canary: Share) {
        self.canary.add(canary.bad(), canary.all());
        match beside {
            Some(baseline) => self.baseline.add(baseline.bad(), baseline.all()),
            None => self.alone.add(canary.bad(), canary.all()),
        }
    }

    /// Remembers where evidence came from. The run starts when the sum of gains leaves 0 and ends when it is back there.
    fn note(&mut self, gain: f64, is_concurrent: bool, start_s: i64) {
        if is_concurrent {
            self.concurrent += gain;
        } else {
            self.before_after += gain;
        }
        self.run = (self.run + gain).max(0.0);
        if self.run > 0.0 {
            self.first_bad_s = self.first_bad_s.or(Some(start_s));
        } else {
            self.first_bad_s = None;
        }
    }
}

/// The bucket in which a time lies; beyond the course the last one.
#[expect(clippy::cast_possible_truncation, reason = "clamped to the course, whose length is bounded")]
fn slot_at(now_s: f64, course: &Course) -> i64 {
    let latest = course.end_s() / f64::from(course.bucket_s());
    (now_s / f64::from(course.bucket_s())).floor().clamp(-1.0, latest.ceil()) as i64
}

/// A number of requests, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what a count may be")]
fn whole(value: f64) -> u64 {
    value.round().clamp(0.0, number(super::counts::MAX_COUNT)) as u64
}
