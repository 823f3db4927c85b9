//! What to ask CloudWatch now, and what the answers mean.
//!
//! Once a bucket there is a *look* at everything, `settle` after the bucket's end, and a *glance* at the request counts one
//! tick before it: two readings of one bucket that agree let it come. The first look is preceded by the history.

use super::counts::{add, growth};
use super::subject::{Subject, floor};
use super::{Ledger, Missing, Recent, SeriesPoint, Taken, seconds_between};
use crate::canary::{self, BucketRecord, Counts, SHIFTS, Share, Side, Slow, State};
use crate::measure::{ApiCount, Ask, Measure, Scope, Source};
use crate::suffering::Portion;
use crate::time::Timestamp;
use crate::words::Signal;
use std::collections::BTreeMap;
use std::time::Duration;

/// Quantiles whose thresholds are watched, in per cent.
const PERCENTILES: [u8; 3] = [50, 90, 99];
/// Threshold k is 2^(k/8) ms; the highest one is 65.5 s.
const TOP_EDGE: u8 = 128;
/// Threshold without any history: 1,000 ms, the nearest edge.
const UNKNOWN_THRESHOLD_MS: f64 = 1000.0;
/// Longest time in which one minute can be read again, in buckets: what is older is final.
const MAX_RECENT: usize = 512;
/// A watcher that was away judges at most so many buckets that it missed.
const CATCH_UP: u32 = 120;

/// The time that a question is about, in periods of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Start of the first bucket.
    pub from: Timestamp,
    /// End of the last one.
    pub to: Timestamp,
    /// Length of a bucket.
    pub period: Duration,
}

/// Values by the start of their bucket; a bucket without data has none.
pub type Points = BTreeMap<Timestamp, f64>;

/// The answer to one ask: points, or why there are none.
pub type Answer = Result<Points, String>;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Requests,
    Errors,
    /// Bad ones of the signal's source: handled 5xx, or the API's.
    SourceErrors,
    SourceRequests,
    ClientErrors,
    Durations,
    /// Durations up to threshold `.0`, shifted by `SHIFTS[.1]`.
    UpTo(u8, u8),
    Percentile(u8),
    Attempts,
    Failures,
}

/// Whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// All versions: the service before the deployment, or the new version when it has all traffic.
    All,
    Baseline,
    Canary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Glance,
    Percentiles,
    History,
    Look,
}

/// Series to read in one window. The answers belong to them in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The window.
    pub window: Window,
    kind: Kind,
    asks: Vec<((Whose, What), Ask)>,
}

impl Question {
    /// The series, in order.
    pub fn asks(&self) -> impl Iterator<Item = &Ask> {
        self.asks.iter().map(|(_, ask)| ask)
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.asks.len()
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }
}

impl Ledger {
    /// What to read now; `None`: nothing. After [`Ledger::answer`] there may be another question at once.
    #[must_use]
    pub fn question(&self, subject: &Subject, now: Timestamp) -> Option<Question> {
        let judge = &subject.judge;
        if number_of(subject, now - judge.settle) > self.looked {
            if !self.has_history {
                let window = Window { from: subject.history_from, to: self.origin, period: judge.bucket };
                let kind = if subject.latency && self.thresholds.is_none() { Kind::Percentiles } else { Kind::History };
                return Some(self.asking(subject, kind, window));
            }
            return Some(self.asking(subject, Kind::Look, self.window(subject, now)));
        }
        // With short buckets the look before serves as the first reading.
        let is_worth_it = judge.bucket >= 2 * subject.tick && judge.settle < judge.bucket;
        let next = number_of(subject, now + subject.tick - judge.settle);
        let has_ended = now >= self.origin + judge.bucket;
        let is_due = is_worth_it && has_ended && self.has_room_for_glance(next);
        is_due.then(|| self.asking(subject, Kind::Glance, self.window(subject, now)))
    }

    fn has_room_for_glance(&self, next: i64) -> bool {
        next > self.looked && next > self.glanced
    }

    /// Buckets that have ended and may still change what is judged.
    fn window(&self, subject: &Subject, now: Timestamp) -> Window {
        let judge = &subject.judge;
        let running = floor(now, judge.bucket);
        let unjudged = self.judged_until(subject).max(running - judge.bucket * CATCH_UP);
        let oldest = (running - (judge.grace + judge.dark + 2 * judge.bucket)).min(unjudged);
        let from = self.origin.max(oldest).max(self.anew_from.map_or(self.origin, |from| floor(from, judge.bucket)));
        let to = running.max(from + judge.bucket);
        Window { from: floor(from, judge.bucket), to, period: judge.bucket }
    }

    fn asking(&self, subject: &Subject, kind: Kind, window: Window) -> Question {
        let wanted: Vec<(Whose, What)> = match kind {
            Kind::Percentiles => {
                PERCENTILES.into_iter().map(|percent| (Whose::All, What::Percentile(percent))).collect()
            }
            Kind::History => {
                let mut wanted = self.wanted(subject, Whose::All, &[0]);
                // Asked once, to see whether the metric exists at all.
                if !wanted.contains(&(Whose::All, What::SourceRequests)) && matches!(subject.errors, Some(Some(_))) {
                    wanted.push((Whose::All, What::SourceRequests));
                }
                wanted
            }
            Kind::Glance => self.sides(subject, window).into_iter().map(|(whose, _)| (whose, What::Requests)).collect(),
            Kind::Look => {
                let sides = self.sides(subject, window).into_iter();
                sides.flat_map(|(whose, shifts)| self.wanted(subject, whose, &shifts)).collect()
            }
        };
        let asks = wanted.into_iter().filter_map(|(whose, what)| {
            let ask = Ask {
                function: subject.function.clone(),
                alias: subject.alias.clone(),
                scope: scope(subject, whose),
                measure: self.measure(subject, what)?,
            };
            Some(((whose, what), ask))
        });
        Question { window, kind, asks: asks.collect() }
    }

    /// Whose numbers a window needs, with the shifts of their latency thresholds.
    fn sides(&self, subject: &Subject, window: Window) -> Vec<(Whose, Vec<u8>)> {
        let mut sides: BTreeMap<Whose, Vec<u8>> = BTreeMap::new();
        for start_s in starts(self.origin, window) {
            let mut need = |whose, shift| {
                let shifts = sides.entry(whose).or_default();
                if !shifts.contains(&shift) {
                    shifts.push(shift);
                }
            };
            let shift = index_of(self.shift(subject, start_s, window.to));
            if has_all_traffic(subject, start_s) {
                need(Whose::All, shift);
            } else {
                need(Whose::Baseline, 0);
                need(Whose::Canary, shift);
            }
        }
        sides.into_iter().collect()
    }

    /// By how many edges the new version's thresholds are shifted up in this bucket.
    fn shift(&self, subject: &Subject, start_s: i64, now: Timestamp) -> u8 {
        let settings = subject.settings(true).or(subject.settings(false));
        let is_concurrent = !has_all_traffic(subject, start_s);
        settings.map_or(0, |settings| canary::latency_shift(settings, &subject.course(now), start_s, is_concurrent))
    }

    /// Everything that one side is judged by; `shifts` are positions in [`SHIFTS`].
    fn wanted(&self, subject: &Subject, whose: Whose, shifts: &[u8]) -> Vec<(Whose, What)> {
        let mut list = vec![What::Requests];
        if let Some(source) = &subject.errors {
            list.push(What::Errors);
            let is_known = source.as_ref().is_some_and(|source| source.is_split_by_version() || whose == Whose::All);
            if is_known {
                list.push(What::SourceErrors);
                list.push(What::ClientErrors);
            }
            if matches!(source, Some(Source::Api(_))) && whose == Whose::All {
                list.push(What::SourceRequests);
            }
        }
        if subject.latency {
            list.push(What::Durations);
            for quantile in [0, 1, 2] {
                list.extend(shifts.iter().map(|shift| What::UpTo(quantile, *shift)));
            }
        }
        if let Some(source) = &subject.transactions
            && (source.is_split_by_version() || whose == Whose::All)
        {
            list.extend([What::Attempts, What::Failures]);
        }
        list.into_iter().map(|what| (whose, what)).collect()
    }

    /// `None`: the policy's source does not have it.
    fn measure(&self, subject: &Subject, what: What) -> Option<Measure> {
        let errors = subject.errors.as_ref().and_then(Option::as_ref);
        match what {
            What::Requests => Some(Measure::Invocations),
            What::Errors => Some(Measure::FunctionErrors),
            What::SourceErrors => errors?.measure(ApiCount::ServerErrors),
            What::SourceRequests => errors?.measure(ApiCount::Requests),
            What::ClientErrors => errors?.measure(ApiCount::ClientErrors),
            What::Durations => Some(Measure::Durations),
            What::UpTo(quantile, shift) => {
                let edge = *self.thresholds?.get(usize::from(quantile))?;
                let shifted = edge.saturating_add(*SHIFTS.get(usize::from(shift))?).min(TOP_EDGE);
                Some(Measure::DurationsUpTo(edge_ms(shifted)))
            }
            What::Percentile(percent) => Some(Measure::DurationPercentile(percent)),
            What::Attempts => subject.transactions.as_ref()?.measure(ApiCount::Requests),
            What::Failures => subject.transactions.as_ref()?.measure(ApiCount::ServerErrors),
        }
    }

    /// Takes the answers over. Ask for the next question afterwards.
    ///
    /// # Errors
    /// Why the numbers cannot be read: one unreadable series is enough, because what is missing must not count as zero.
    pub fn answer(
        mut self,
        subject: &Subject,
        question: &Question,
        answers: &[Answer],
        now: Timestamp,
    ) -> Result<Taken, String> {
        let data = Data::of(question, answers)?;
        let mut taken = Taken { ledger: self.clone(), judged: None, series: Vec::new() };
        match question.kind {
            Kind::Glance => {
                self.glanced = number_of(subject, now + subject.tick - subject.judge.settle);
                self.glance(subject, question.window, &data);
            }
            Kind::Percentiles => {
                let value = |percent| data.typical(question.window, What::Percentile(percent));
                self.thresholds =
                    Some(PERCENTILES.map(|percent| edge_of(value(percent).unwrap_or(UNKNOWN_THRESHOLD_MS))));
            }
            Kind::History => self.take_history(subject, question.window, &data),
            Kind::Look => {
                self.looked = number_of(subject, now - subject.judge.settle);
                self.glanced = self.glanced.max(self.looked);
                self.skip_unread(subject, question.window);
                let (records, series) = self.come(subject, question.window, &data, now);
                taken.series = series;
                taken.judged = Some(self.judge(subject, &records, now));
            }
        }
        taken.ledger = self;
        Ok(taken)
    }

    fn take_history(&mut self, subject: &Subject, window: Window, data: &Data<'_>) {
        let records: Vec<BucketRecord> = starts(self.origin, window)
            .filter_map(|start_s| {
                let counts = self.counts(subject, data, Whose::All, start_s, Side::Baseline)?;
                Some(BucketRecord { side: Side::Baseline, start_s, counts })
            })
            .collect();
        let has_data = |what| !data.was_asked(Whose::All, what) || data.has_points(what, window);
        self.is_missing = Missing {
            requests: !records.is_empty() && !has_data(What::SourceRequests),
            transactions: !records.is_empty() && !has_data(What::Attempts),
        };
        let history_s = window.to.since(window.from).as_secs_f64();
        let course = subject.course(window.to);
        let begin = |decides| Some(State::begin(subject.settings(decides)?, &course, history_s, &records));
        self.detector = begin(true);
        self.adviser = begin(false);
        self.has_history = true;
        // A deployment that is found late was not judged before this: its first buckets are judged together now.
    }

    fn glance(&mut self, subject: &Subject, window: Window, data: &Data<'_>) {
        for start_s in starts(self.origin, window) {
            for (side, whose) in sides_of(subject, start_s) {
                if let Some(requests) = data.count(whose, What::Requests, self.at(start_s)) {
                    self.entry(side, start_s).seen_requests = Some(requests);
                }
            }
        }
        self.forget_old(window);
    }

    /// Buckets that come now, with what grew in those that came before.
    fn come(
        &mut self,
        subject: &Subject,
        window: Window,
        data: &Data<'_>,
        now: Timestamp,
    ) -> (Vec<BucketRecord>, Vec<SeriesPoint>) {
        let judge = &subject.judge;
        let (mut records, mut series) = (Vec::new(), Vec::new());
        for start_s in starts(self.origin, window) {
            let ended_at = self.at(start_s) + judge.bucket;
            for (side, whose) in sides_of(subject, start_s) {
                let Some(counts) = self.counts(subject, data, whose, start_s, side) else {
                    continue;
                };
                let entry = *self.entry(side, start_s);
                let agree = entry.seen_requests == Some(counts.requests);
                let is_due = now >= ended_at + judge.settle && (agree || now >= ended_at + judge.grace);
                let mut given = entry.given;
                if let Some(before) = entry.given {
                    if let Some(more) = growth(&before, &counts) {
                        given = Some(add(&before, &more));
                        series.extend(self.points(side, start_s, &more, true));
                        let late = self.late_of(side);
                        *late = Some(late.map_or(more, |late| add(&late, &more)));
                    }
                } else if is_due {
                    given = Some(counts);
                    series.extend(self.points(side, start_s, &counts, false));
                    let late = self.late_of(side).take();
                    let counts = late.map_or(counts, |late| add(&counts, &late));
                    records.push(BucketRecord { side, start_s, counts });
                }
                *self.entry(side, start_s) = Recent { seen_requests: Some(counts.requests), given, ..entry };
            }
        }
        self.forget_old(window);
        self.burn_on(subject, &records);
        (records, series)
    }

    /// Buckets that are not read, or of which the weight is not known, are not judged: that nothing is known of them does not
    /// mean that no request came.
    fn skip_unread(&mut self, subject: &Subject, window: Window) {
        let from = window.from.max(self.anew_from.unwrap_or(window.from));
        let from_s = seconds_between(self.origin, from).max(subject.known_from_s());
        for state in [&mut self.detector, &mut self.adviser].into_iter().flatten() {
            state.skip_before(from_s);
        }
    }

    fn burn_on(&mut self, subject: &Subject, records: &[BucketRecord]) {
        // A bucket in which a shared incident was still going on is not held against anybody.
        let from_s = self.anew_from.map_or(0.0, |from| seconds_between(self.origin, from));
        #[expect(clippy::cast_precision_loss, reason = "times of one deployment are far below 2^53")]
        let records: Vec<&BucketRecord> = records.iter().filter(|record| record.start_s as f64 >= from_s).collect();
        let errors = |side: Side| {
            let shares = records.iter().filter(|record| record.side == side).filter_map(|record| record.counts.e5);
            shares.fold(Portion::default(), |sum, share| Portion {
                bad: sum.bad + share.bad(),
                all: sum.all + share.all(),
            })
        };
        let mut starts: Vec<i64> = records.iter().map(|record| record.start_s).collect();
        starts.sort_unstable();
        starts.dedup();
        let buckets = u32::try_from(starts.len()).unwrap_or(u32::MAX);
        if buckets > 0 {
            let time = subject.judge.bucket.saturating_mul(buckets);
            self.burn = self.burn.after(time, errors(Side::Baseline), errors(Side::Canary));
        }
    }

    fn at(&self, start_s: i64) -> Timestamp {
        Timestamp::from_ms(self.origin.ms().saturating_add(start_s.saturating_mul(1000)))
    }

    fn late_of(&mut self, side: Side) -> &mut Option<Counts> {
        match side {
            Side::Baseline => &mut self.late.baseline,
            Side::Canary => &mut self.late.canary,
        }
    }

    /// What is known of one version in one bucket; a new entry when nothing is.
    fn entry(&mut self, side: Side, start_s: i64) -> &mut Recent {
        let place = self.recent.partition_point(|recent| (recent.start_s, recent.side) < (start_s, side));
        let is_there = self.recent.get(place).is_some_and(|recent| (recent.start_s, recent.side) == (start_s, side));
        if !is_there {
            self.recent.insert(place, Recent { side, start_s, seen_requests: None, given: None });
        }
        #[expect(clippy::indexing_slicing, reason = "it was put there in the line before")]
        &mut self.recent[place]
    }

    fn forget_old(&mut self, window: Window) {
        let origin = self.origin;
        let oldest_s = seconds_between(origin, window.from);
        #[expect(clippy::cast_precision_loss, reason = "times of one deployment are far below 2^53")]
        self.recent.retain(|recent| recent.start_s as f64 >= oldest_s);
        let too_many = self.recent.len().saturating_sub(MAX_RECENT);
        self.recent.drain(..too_many);
    }

    /// What `whose` did in one bucket; `None` when CloudWatch shows no request of it.
    fn counts(&self, subject: &Subject, data: &Data<'_>, whose: Whose, start_s: i64, side: Side) -> Option<Counts> {
        let at = self.at(start_s);
        let count = |what| data.count(whose, what, at);
        let requests = count(What::Requests)?;
        let share = |bad: u64, all: u64| Share::new(bad.min(all), all).ok();
        let errors = subject.errors.as_ref().map(|source| match (source, whose) {
            (Some(Source::Api(_)), Whose::All) => {
                (count(What::SourceErrors).unwrap_or(0), count(What::SourceRequests).unwrap_or(0))
            }
            (Some(Source::Api(_) | Source::Custom { .. }) | None, _) => {
                let function_errors = count(What::Errors).unwrap_or(0);
                (function_errors.saturating_add(count(What::SourceErrors).unwrap_or(0)), requests)
            }
        });
        let client_errors = data.was_asked(whose, What::ClientErrors).then(|| {
            let all = count(What::SourceRequests).unwrap_or(requests);
            (count(What::ClientErrors).unwrap_or(0), all)
        });
        let transactions = data
            .was_asked(whose, What::Attempts)
            .then(|| (count(What::Failures).unwrap_or(0), count(What::Attempts).unwrap_or(0)));
        let slow = |quantile| {
            let all = count(What::Durations).unwrap_or(0);
            let mut above = [None; 4];
            for (shift, value) in (0_u8..).zip(&mut above) {
                let is_wanted = (shift == 0) == (side == Side::Baseline);
                if is_wanted && data.was_asked(whose, What::UpTo(quantile, shift)) {
                    *value = Some(all.saturating_sub(count(What::UpTo(quantile, shift)).unwrap_or(0)));
                }
            }
            Slow::new(all, above).ok()
        };
        Some(Counts {
            requests,
            e5: errors.and_then(|(bad, all)| share(bad, all)),
            tx: transactions.and_then(|(bad, all)| share(bad, all)),
            e4: client_errors.and_then(|(bad, all)| share(bad, all)),
            slow: if subject.latency { [slow(0), slow(1), slow(2)] } else { [None; 3] },
        })
    }

    /// A judged bucket, as it is kept: one point for each signal that it says something about.
    fn points(&self, side: Side, start_s: i64, counts: &Counts, is_growth: bool) -> Vec<SeriesPoint> {
        let nothing = Counts::of_requests(counts.requests);
        let parts = [
            (Signal::Errors, Counts { e5: counts.e5, e4: counts.e4, ..nothing }, counts.e5.is_some()),
            (Signal::Latency, Counts { slow: counts.slow, ..nothing }, counts.slow.iter().any(Option::is_some)),
            (Signal::Availability, nothing, true),
            (Signal::Transactions, Counts { tx: counts.tx, ..nothing }, counts.tx.is_some()),
        ];
        let start = self.at(start_s);
        let present = parts.into_iter().filter(|(_, _, is_present)| *is_present);
        present.map(|(signal, counts, _)| SeriesPoint { signal, start, side, is_growth, counts }).collect()
    }
}

/// Which version a bucket's numbers belong to, and whose series shows them.
fn sides_of(subject: &Subject, start_s: i64) -> Vec<(Side, Whose)> {
    if has_all_traffic(subject, start_s) {
        vec![(Side::Canary, Whose::All)]
    } else {
        vec![(Side::Baseline, Whose::Baseline), (Side::Canary, Whose::Canary)]
    }
}

/// Whether the new version had all traffic from the start of this bucket on. A bucket that straddles the step is read by
/// version.
#[expect(clippy::cast_precision_loss, reason = "times of one deployment are far below 2^53")]
fn has_all_traffic(subject: &Subject, start_s: i64) -> bool {
    subject.all_traffic_from_s().is_some_and(|from| start_s as f64 >= from)
}

fn scope(subject: &Subject, whose: Whose) -> Scope {
    match whose {
        Whose::All => Scope::Alias,
        Whose::Baseline => Scope::Version(subject.baseline.clone()),
        Whose::Canary => Scope::Version(subject.canary.clone()),
    }
}

/// Buckets since the origin that have ended at `at`.
fn number_of(subject: &Subject, at: Timestamp) -> i64 {
    at.ms().saturating_sub(subject.origin.ms()).div_euclid(subject.bucket_s().saturating_mul(1000))
}

/// Starts of the buckets of a window, in seconds since `origin`.
fn starts(origin: Timestamp, window: Window) -> impl Iterator<Item = i64> {
    let period_s = i64::try_from(window.period.as_secs()).unwrap_or(60).max(1);
    let first = window.from.ms().saturating_sub(origin.ms()).div_euclid(1000);
    let count = window.to.ms().saturating_sub(window.from.ms()).div_euclid(period_s.saturating_mul(1000));
    (0..count.max(0)).map(move |index| first + index * period_s)
}

fn index_of(shift: u8) -> u8 {
    let place = SHIFTS.iter().position(|known| *known == shift).unwrap_or(0);
    u8::try_from(place).unwrap_or(0)
}

fn edge_ms(edge: u8) -> f64 {
    2_f64.powf(f64::from(edge) / 8.0)
}

/// The nearest edge, by ratio; ties go to the lower one.
fn edge_of(ms: f64) -> u8 {
    let place = if ms > 1.0 { (ms.log2() * 8.0 - 1e-9).round() } else { 0.0 };
    (0..=TOP_EDGE).rev().find(|edge| f64::from(*edge) <= place).unwrap_or(0)
}

/// Answers by what was asked.
struct Data<'a> {
    points: BTreeMap<(Whose, What), &'a Points>,
}

impl<'a> Data<'a> {
    fn of(question: &Question, answers: &'a [Answer]) -> Result<Self, String> {
        if answers.len() != question.asks.len() {
            return Err(format!("{} series were asked for, {} answered", question.asks.len(), answers.len()));
        }
        let mut points = BTreeMap::new();
        for ((key, _), answer) in question.asks.iter().zip(answers) {
            let answer = answer.as_ref().map_err(Clone::clone)?;
            if let Some((at, value)) =
                answer.iter().find(|(_, value)| !is_count(**value) && !matches!(key.1, What::Percentile(_)))
            {
                return Err(format!("a count of {value} at {at} cannot be"));
            }
            points.insert(*key, answer);
        }
        Ok(Self { points })
    }

    fn was_asked(&self, whose: Whose, what: What) -> bool {
        self.points.contains_key(&(whose, what))
    }

    fn has_points(&self, what: What, window: Window) -> bool {
        let points = self.points.get(&(Whose::All, what));
        points.is_some_and(|points| points.range(window.from..window.to).next().is_some())
    }

    /// A count of one bucket; `None` when there is no datapoint: no traffic, or not yet.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^53, checked above")]
    fn count(&self, whose: Whose, what: What, at: Timestamp) -> Option<u64> {
        self.points.get(&(whose, what)).and_then(|points| points.get(&at)).map(|value| value.round() as u64)
    }

    /// The middle of all buckets' values in the window: one call may have been longer, for others.
    fn typical(&self, window: Window, what: What) -> Option<f64> {
        let points = self.points.get(&(Whose::All, what))?.range(window.from..window.to);
        let mut values: Vec<f64> =
            points.map(|(_, value)| *value).filter(|value| value.is_finite() && *value > 0.0).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

/// Sums of counts are whole, but come as floating point.
fn is_count(value: f64) -> bool {
    (0.0..=9_007_199_254_740_992.0).contains(&value)
}
