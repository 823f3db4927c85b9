//! What to ask now, and what the answers mean.
//!
//! Once a bucket there is a *full poll* of everything, `ingestion_delay` after the bucket's end, and a *count poll* of the request
//! counts one tick before it: two readings of one bucket that agree make it final. The first full poll is preceded by the history.

use super::counts::{add, growth};
use super::spec::{AnalysisSpec, Witnesses, bucket_start};
use super::{Analysis, Missing, Recent, Taken, seconds_between};
use crate::detector::{
    self, BucketRecord, Counts, Latencies, LatencyShape, OCTILES, Reading, SHIFTS, SLOPE_EDGES, Side, State, TAILS,
    Tail, Thresholds, WITHOUT_HISTORY_MS,
};
use crate::series::{Points, Quantity, Scope, SeriesError, SeriesQuery, SeriesResult, SourceId, Window};
use crate::share::Share;
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Longest time in which one minute can be read again, in buckets: what is older is final.
const MAX_RECENT: usize = 512;
/// A watcher that was away judges at most so many buckets that it missed.
const CATCH_UP: u32 = 120;

/// Why answers cannot be judged: one unusable series is enough, because what is missing must not count as zero.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnalysisError {
    /// Another number of answers than of queries.
    #[error("{asked} series were asked for, {answered} answered")]
    Uneven {
        /// How many were asked for.
        asked: usize,
        /// How many came.
        answered: usize,
    },
    /// A series that is not all there.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// A count that is negative, no number, or larger than any count.
    #[error("a count of {value} at {at} cannot be")]
    NoCount {
        /// What was found.
        value: f64,
        /// In the bucket that starts here.
        at: Timestamp,
    },
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Requests,
    Errors,
    /// Bad ones of the signal's source: handled 5xx, or the API's.
    SourceErrors,
    SourceRequests,
    ClientErrors,
    Latencies,
    /// Latencies up to octile `.0` …
    UpToOctile(u8),
    /// … up to an edge a little below it, or above it …
    Around(u8, Direction),
    /// … and up to tail `.0`, raised by `SHIFTS[.1]`.
    UpToTail(u8, u8),
    /// Quantile `.0` of the thresholds.
    Quantile(u8),
    Attempts,
    Failures,
    /// Of the witnesses.
    Front,
    PeerRequests(u8),
    PeerErrors(u8),
    Pipeline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Below,
    Above,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poll {
    Count,
    Quantiles,
    History,
    Full,
}

/// Series to read in one window. The answers belong to them in order.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricQuery {
    /// The window.
    pub window: Window,
    poll: Poll,
    /// What is wanted of whom, and which of the queries tells it: two thresholds may be one edge.
    wanted: Vec<((Scope, What), usize)>,
    queries: Vec<SeriesQuery>,
}

impl MetricQuery {
    /// The series, in order.
    pub fn queries(&self) -> impl Iterator<Item = &SeriesQuery> {
        self.queries.iter()
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }
}

impl Analysis {
    /// What to read now; `None`: nothing. After [`Analysis::answer`] there may be another query at once.
    #[must_use]
    pub fn query(&self, spec: &AnalysisSpec, now: Timestamp) -> Option<MetricQuery> {
        if !spec.is_compared() {
            return None;
        }
        let judge = &spec.judge;
        if number_of(spec, now - judge.ingestion_delay) > self.polled {
            if !self.has_history {
                let window = Window { from: spec.history_from, to: self.origin, period: judge.bucket };
                let poll =
                    if spec.edges().is_some() && self.thresholds.is_none() { Poll::Quantiles } else { Poll::History };
                return Some(self.asking(spec, poll, window));
            }
            return Some(self.asking(spec, Poll::Full, self.window(spec, now)));
        }
        // With short buckets the full poll before serves as the first reading.
        let is_worth_it = judge.bucket >= 2 * spec.tick && judge.ingestion_delay < judge.bucket;
        let next = number_of(spec, now + spec.tick - judge.ingestion_delay);
        let has_ended = now >= self.origin + judge.bucket;
        let is_due = is_worth_it && has_ended && self.has_room_for_count_poll(next);
        is_due.then(|| self.asking(spec, Poll::Count, self.window(spec, now)))
    }

    fn has_room_for_count_poll(&self, next: i64) -> bool {
        next > self.polled && next > self.counted
    }

    /// Buckets that have ended and may still change what is judged.
    fn window(&self, spec: &AnalysisSpec, now: Timestamp) -> Window {
        let judge = &spec.judge;
        let running = bucket_start(now, judge.bucket);
        let unjudged = self.judged_until(spec, now).max(running - judge.bucket * CATCH_UP);
        let oldest = (running - (judge.grace + judge.no_data_timeout + 2 * judge.bucket)).min(unjudged);
        let from =
            self.origin.max(oldest).max(self.anew_from.map_or(self.origin, |from| bucket_start(from, judge.bucket)));
        let to = running.max(from + judge.bucket);
        Window { from: bucket_start(from, judge.bucket), to, period: judge.bucket }
    }

    fn asking(&self, spec: &AnalysisSpec, poll: Poll, window: Window) -> MetricQuery {
        let all = |what| (Scope::All, what);
        let asked: Vec<(Scope, What)> = match poll {
            Poll::Quantiles => (0..QUANTILES).map(|index| all(What::Quantile(index))).collect(),
            Poll::History => {
                let mut asked = self.wanted(spec, Scope::All, &[0]);
                if spec.latency.is_some() {
                    let around = |index| [Direction::Below, Direction::Above].map(|to| all(What::Around(index, to)));
                    asked.extend((0..OCTILES_COUNT).flat_map(around));
                }
                // Asked once, to see whether the metric exists at all.
                if !asked.contains(&all(What::SourceRequests)) && spec.errors.is_some() {
                    asked.push(all(What::SourceRequests));
                }
                asked.extend(witnesses(spec).map(all));
                asked
            }
            Poll::Count => self.sides(spec, window).into_iter().map(|(whose, _)| (whose, What::Requests)).collect(),
            Poll::Full => {
                let sides = self.sides(spec, window).into_iter();
                let mut asked: Vec<(Scope, What)> =
                    sides.flat_map(|(whose, shifts)| self.wanted(spec, whose, &shifts)).collect();
                if !self.has_canary_series && !asked.contains(&all(What::Requests)) {
                    asked.push(all(What::Requests));
                }
                asked.extend(witnesses(spec).map(all));
                asked
            }
        };
        let (mut wanted, mut queries) = (Vec::with_capacity(asked.len()), Vec::<SeriesQuery>::new());
        for (side, what) in asked {
            let Some((quantity, source)) = self.quantity(spec, what) else { continue };
            let query = SeriesQuery { side, quantity, source };
            let at = queries.iter().position(|known| *known == query).unwrap_or(queries.len());
            if at == queries.len() {
                queries.push(query);
            }
            wanted.push(((side, what), at));
        }
        MetricQuery { window, poll, wanted, queries }
    }

    /// Whose numbers a window needs, with the shifts of their latency thresholds.
    fn sides(&self, spec: &AnalysisSpec, window: Window) -> Vec<(Scope, Vec<u8>)> {
        let mut sides: BTreeMap<Scope, Vec<u8>> = BTreeMap::new();
        for start_s in starts(self.origin, window) {
            let mut need = |whose, shift| {
                let shifts = sides.entry(whose).or_default();
                if !shifts.contains(&shift) {
                    shifts.push(shift);
                }
            };
            let shifts = self.shifts(spec, start_s, window.to).map(index_of);
            if has_all_traffic(spec, start_s) {
                shifts.into_iter().for_each(|shift| need(Scope::All, shift));
            } else {
                need(Scope::Baseline, 0);
                shifts.into_iter().for_each(|shift| need(Scope::Canary, shift));
            }
        }
        sides.into_iter().collect()
    }

    /// By how many edges the new version's tail thresholds are shifted up in this bucket.
    fn shifts(&self, spec: &AnalysisSpec, start_s: i64, now: Timestamp) -> [u8; 2] {
        let settings = spec.settings(true).or(spec.settings(false));
        let is_concurrent = !has_all_traffic(spec, start_s);
        settings
            .map_or([0; 2], |settings| detector::latency_shifts(settings, &spec.schedule(now), start_s, is_concurrent))
    }

    /// Everything that one side is judged by; `shifts` are positions in [`SHIFTS`].
    fn wanted(&self, spec: &AnalysisSpec, whose: Scope, shifts: &[u8]) -> Vec<(Scope, What)> {
        let mut list = vec![What::Requests, What::Errors];
        let is_told = |is_split: bool| is_split || whose == Scope::All;
        if let Some(source) = &spec.errors {
            if is_told(source.is_split) {
                list.push(What::SourceErrors);
                list.extend(source.has_client_errors.then_some(What::ClientErrors));
            }
            if source.is_whole && whose == Scope::All {
                list.push(What::SourceRequests);
            }
        }
        if spec.latency.as_ref().is_some_and(|source| is_told(source.is_split)) {
            list.push(What::Latencies);
            list.extend((0..OCTILES_COUNT).map(What::UpToOctile));
            for tail in [0, 1] {
                list.extend(shifts.iter().map(|shift| What::UpToTail(tail, *shift)));
            }
        }
        if spec.transactions.as_ref().is_some_and(|source| is_told(source.is_split)) {
            list.extend([What::Attempts, What::Failures]);
        }
        list.into_iter().map(|what| (whose, what)).collect()
    }

    /// `None`: there is no threshold to count up to.
    fn quantity(&self, spec: &AnalysisSpec, what: What) -> Option<(Quantity, SourceId)> {
        Some(match what {
            What::Requests => (Quantity::Requests, SourceId::Requests),
            What::Errors => (Quantity::Errors, SourceId::Requests),
            What::SourceErrors => (Quantity::Errors, SourceId::Errors),
            What::SourceRequests => (Quantity::Requests, SourceId::Errors),
            What::ClientErrors => (Quantity::ClientErrors, SourceId::Errors),
            What::Latencies => (Quantity::Latencies, SourceId::Latency),
            What::UpToOctile(octile) => {
                let edge = *self.thresholds?.body.get(usize::from(octile))?;
                (Quantity::LatenciesUpTo(spec.edges()?.ms(usize::from(edge))?), SourceId::Latency)
            }
            What::Around(octile, direction) => {
                let edge = usize::from(*self.thresholds?.body.get(usize::from(octile))?);
                let (edges, step) = (spec.edges()?, usize::from(SLOPE_EDGES));
                let edge = match direction {
                    Direction::Below => edge.checked_sub(step)?,
                    // Beyond the last edge there is only the last bin.
                    Direction::Above => (edge + step).min(edges.count().saturating_sub(1)),
                };
                (Quantity::LatenciesUpTo(edges.ms(edge)?), SourceId::Latency)
            }
            What::UpToTail(tail, shift) => {
                let Thresholds { q90, q99, .. } = self.thresholds?;
                let edges = spec.edges()?;
                let threshold = if tail == 0 { q90 } else { q99 };
                let raised = edges.raised(usize::from(threshold), *SHIFTS.get(usize::from(shift))?);
                (Quantity::LatenciesUpTo(edges.ms(raised)?), SourceId::Latency)
            }
            What::Quantile(index) => (Quantity::LatencyQuantile(permille(index)?), SourceId::Latency),
            What::Attempts => (Quantity::Attempts, SourceId::Transactions),
            What::Failures => (Quantity::Failures, SourceId::Transactions),
            What::Front => (Quantity::Requests, SourceId::Front),
            What::PeerRequests(peer) => (Quantity::Requests, SourceId::Peer(peer)),
            What::PeerErrors(peer) => (Quantity::Errors, SourceId::Peer(peer)),
            What::Pipeline => (Quantity::Requests, SourceId::Pipeline),
        })
    }

    /// Takes the answers over. Ask for the next query afterwards.
    ///
    /// # Errors
    /// Why the numbers cannot be read: one unreadable series is enough, because what is missing must not count as zero.
    pub fn answer(
        mut self,
        spec: &AnalysisSpec,
        query: &MetricQuery,
        answers: &[SeriesResult],
        now: Timestamp,
    ) -> Result<Taken, AnalysisError> {
        let data = Data::of(query, answers)?;
        let mut taken = Taken { analysis: self.clone(), result: None, judged: None };
        match query.poll {
            Poll::Count => {
                self.counted = number_of(spec, now + spec.tick - spec.judge.ingestion_delay);
                self.take_count_poll(spec, query.window, &data);
            }
            Poll::Quantiles => {
                self.thresholds = spec.edges().map(|edges| {
                    Thresholds::of_quantiles(edges, |q| {
                        let index = quantiles().position(|known| known.to_bits() == q.to_bits()).unwrap_or(0);
                        let index = u8::try_from(index).unwrap_or(0);
                        data.typical(query.window, What::Quantile(index)).unwrap_or(WITHOUT_HISTORY_MS)
                    })
                });
            }
            Poll::History => self.take_history(spec, query.window, &data),
            Poll::Full => {
                let begun = (self.polled == 0).then(|| self.begun(spec));
                self.polled = number_of(spec, now - spec.judge.ingestion_delay);
                self.counted = self.counted.max(self.polled);
                let from_s = self.skip_unread(spec, query.window);
                let mut records = self.finalize(spec, query.window, &data, now);
                records.extend(self.take_pairs(spec, now));
                // The window is read again and again, for what may have grown of the versions.
                records.retain(|record| matches!(record.reading, Reading::Version(..)) || self.is_new(record));
                taken.result = Some(self.judge(spec, &records, now));
                taken.judged = Some(self.judged(spec, begun, from_s, records, now));
            }
        }
        taken.analysis = self;
        Ok(taken)
    }

    fn take_history(&mut self, spec: &AnalysisSpec, window: Window, data: &Data<'_>) {
        let versions: Vec<BucketRecord> = starts(self.origin, window)
            .filter_map(|start_s| {
                let counts = self.counts(spec, data, Scope::All, start_s, Side::Baseline)?;
                Some(BucketRecord::of_version(Side::Baseline, start_s, counts))
            })
            .collect();
        let is_empty =
            |what| !versions.is_empty() && data.was_asked(Scope::All, what) && !data.has_points(what, window);
        self.is_missing = Missing {
            requests: is_empty(What::SourceRequests),
            transactions: is_empty(What::Attempts),
            front: is_empty(What::Front),
            peers: std::array::from_fn(|index| {
                let peer = u8::try_from(index).unwrap_or(u8::MAX);
                peer < spec.witnesses.peers && is_empty(What::PeerRequests(peer))
            }),
        };
        self.has_pipeline = data.has_points(What::Pipeline, window);
        let witnesses = starts(self.origin, window).flat_map(|start_s| self.witnessed(spec, data, start_s));
        let records: Vec<BucketRecord> = witnesses.chain(versions.iter().copied()).collect();
        let history_s = window.to.since(window.from).as_secs_f64();
        let schedule = spec.schedule(window.to);
        let shape = spec.latency.as_ref().map(|_| self.shape(spec, window, data).unwrap_or(LatencyShape::UNKNOWN));
        let begin = |is_enforcing| {
            let settings = spec.settings(is_enforcing)?;
            Some(State::begin(
                settings,
                &schedule,
                spec.witnesses.connected(spec.pairs.is_some()),
                history_s,
                &records,
                shape.as_ref(),
            ))
        };
        self.enforcing = begin(true);
        self.advisory = begin(false);
        self.has_history = true;
        // A deployment that is found late was not judged before this: its first buckets are judged together now.
    }

    /// How the old version's latencies are spread around its octiles; `None` when none was measured.
    fn shape(&self, spec: &AnalysisSpec, window: Window, data: &Data<'_>) -> Option<LatencyShape> {
        let (edges, thresholds) = (spec.edges()?, self.thresholds?);
        let all = data.sum(window, What::Latencies).filter(|all| *all > 0.0)?;
        let above = |what, where_unknown: f64| match data.sum(window, what) {
            Some(up_to) => 1.0 - up_to / all,
            None if data.was_asked(Scope::All, what) => 1.0,
            None => where_unknown,
        };
        let octiles: [u8; 7] = std::array::from_fn(|index| u8::try_from(index).unwrap_or(0));
        let around = octiles.map(|octile| {
            let to = |direction, unknown| above(What::Around(octile, direction), unknown);
            (to(Direction::Below, 1.0), to(Direction::Above, 0.0))
        });
        let distances = thresholds.body.map(|edge| edges.distance_around(usize::from(edge)));
        Some(LatencyShape::new(octiles.map(|octile| above(What::UpToOctile(octile), 0.0)), around, distances))
    }

    /// What the witnesses of metrics say of one bucket.
    fn witnessed(&self, spec: &AnalysisSpec, data: &Data<'_>, start_s: i64) -> Vec<BucketRecord> {
        let at = self.at(start_s);
        let count = |what| data.count(Scope::All, what, at);
        let mut readings = Vec::new();
        readings.extend(count(What::Front).map(Reading::Front));
        let peer = |index| {
            let all = count(What::PeerRequests(index))?;
            Share::new(count(What::PeerErrors(index)).unwrap_or(0).min(all), all).ok()
        };
        let peers: Vec<Share> = (0..spec.witnesses.peers).filter_map(peer).collect();
        if !peers.is_empty() {
            readings.push(Reading::Peer(peers.into_iter().sum()));
        }
        readings.into_iter().map(|reading| BucketRecord { start_s, reading }).collect()
    }

    fn take_count_poll(&mut self, spec: &AnalysisSpec, window: Window, data: &Data<'_>) {
        for start_s in starts(self.origin, window) {
            for (side, whose) in sides_of(spec, start_s) {
                if let Some(requests) = data.count(whose, What::Requests, self.at(start_s)) {
                    self.entry(side, start_s).seen_requests = Some(requests);
                }
            }
        }
        self.forget_old(window);
    }

    /// Buckets that are final now, with what grew in those that were final before.
    fn finalize(&mut self, spec: &AnalysisSpec, window: Window, data: &Data<'_>, now: Timestamp) -> Vec<BucketRecord> {
        let judge = &spec.judge;
        let mut records = Vec::new();
        self.has_canary_series |= data.has_points_of(Scope::Canary, What::Requests, window);
        for start_s in starts(self.origin, window) {
            let ended_at = self.at(start_s) + judge.bucket;
            let is_readable = !self.has_pipeline || data.count(Scope::All, What::Pipeline, self.at(start_s)).is_some();
            let sides = sides_of(spec, start_s);
            let of = |(side, whose)| Some((side, self.counted(spec, data, whose, start_s, side)?));
            let seen: Vec<(Side, Counts)> = sides.iter().copied().filter_map(of).collect();
            // A minute of which not even Snapback's own numbers came is not empty: it cannot be read yet.
            if seen.len() < sides.len() && !is_readable {
                continue;
            }
            if now >= ended_at + judge.ingestion_delay && is_readable {
                records.extend(self.witnessed(spec, data, start_s));
            }
            for (side, counts) in seen {
                let entry = *self.entry(side, start_s);
                let agree = entry.seen_requests == Some(counts.requests);
                let is_due = now >= ended_at + judge.ingestion_delay && (agree || now >= ended_at + judge.grace);
                let mut given = entry.given;
                if let Some(before) = entry.given {
                    if let Some(more) = growth(&before, &counts) {
                        given = Some(add(&before, &more));
                        let late = self.late_of(side);
                        *late = Some(late.map_or(more, |late| add(&late, &more)));
                    }
                } else if is_due {
                    given = Some(counts);
                    let late = self.late_of(side).take();
                    let counts = late.map_or(counts, |late| add(&counts, &late));
                    records.push(BucketRecord::of_version(side, start_s, counts));
                }
                *self.entry(side, start_s) = Recent { seen_requests: Some(counts.requests), given, ..entry };
            }
        }
        self.forget_old(window);
        self.burn_on(spec, &records);
        records
    }

    /// Buckets that are not read, or of which the weight is not known, are not judged: that nothing is known of them does not
    /// mean that no request came. Answers the second before which none is judged.
    fn skip_unread(&mut self, spec: &AnalysisSpec, window: Window) -> f64 {
        let from = window.from.max(self.anew_from.unwrap_or(window.from));
        let from_s = seconds_between(self.origin, from).max(spec.known_from_s());
        for state in [&mut self.enforcing, &mut self.advisory].into_iter().flatten() {
            state.skip_before(from_s);
        }
        from_s
    }

    fn burn_on(&mut self, spec: &AnalysisSpec, records: &[BucketRecord]) {
        // A bucket in which a shared incident was still going on is not held against anybody.
        let from_s = self.anew_from.map_or(0.0, |from| seconds_between(self.origin, from));
        #[expect(clippy::cast_precision_loss, reason = "times of one deployment are far below 2^53")]
        let records: Vec<&BucketRecord> = records
            .iter()
            .filter(|record| matches!(record.reading, Reading::Version(..)) && record.start_s as f64 >= from_s)
            .collect();
        let errors = |side: Side| {
            let e5 = |record: &&BucketRecord| match record.reading {
                Reading::Version(whose, counts) if whose == side => counts.e5,
                Reading::Version(..) | Reading::Front(_) | Reading::Peer(_) | Reading::Probe(..) => None,
            };
            records.iter().filter_map(e5).sum::<Share>()
        };
        let mut starts: Vec<i64> = records.iter().map(|record| record.start_s).collect();
        starts.sort_unstable();
        starts.dedup();
        let buckets = u32::try_from(starts.len()).unwrap_or(u32::MAX);
        if buckets > 0 {
            let time = spec.judge.bucket.saturating_mul(buckets);
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

    /// What one version did in one bucket. Until the series of a new version has had a point, its requests are what all versions
    /// together had more than the old one: a series that is just being born is late, not empty.
    fn counted(&self, spec: &AnalysisSpec, data: &Data<'_>, whose: Scope, start_s: i64, side: Side) -> Option<Counts> {
        let counts = self.counts(spec, data, whose, start_s, side);
        if counts.is_some() || whose != Scope::Canary || self.has_canary_series {
            return counts;
        }
        let of = |whose| data.count(whose, What::Requests, self.at(start_s));
        let rest = of(Scope::All)?.saturating_sub(of(Scope::Baseline)?);
        (rest > 0).then(|| Counts::of_requests(rest))
    }

    /// Whether one of the detectors, if there is any, has not taken this record in.
    fn is_new(&self, record: &BucketRecord) -> bool {
        let mut states = [&self.enforcing, &self.advisory].into_iter().flatten().peekable();
        states.peek().is_none() || states.any(|state| state.is_new(record))
    }

    /// What `whose` did in one bucket; `None` when its source shows no request of it.
    fn counts(&self, spec: &AnalysisSpec, data: &Data<'_>, whose: Scope, start_s: i64, side: Side) -> Option<Counts> {
        let at = self.at(start_s);
        let count = |what| data.count(whose, what, at);
        let requests = count(What::Requests)?;
        let share = |bad: u64, all: u64| Share::new(bad.min(all), all).ok();
        let source_errors = count(What::SourceErrors).unwrap_or(0);
        // What other services are counted in blames none of them.
        let is_own = spec.errors.as_ref().is_some_and(|source| !source.is_shared);
        let source_errors = if is_own { source_errors } else { 0 };
        let is_whole = whose == Scope::All && is_own && spec.errors.as_ref().is_some_and(|source| source.is_whole);
        let errors = if is_whole {
            (source_errors, count(What::SourceRequests).unwrap_or(0))
        } else {
            (count(What::Errors).unwrap_or(0).saturating_add(source_errors), requests)
        };
        let client_errors = (is_own && data.was_asked(whose, What::ClientErrors)).then(|| {
            let all = count(What::SourceRequests).unwrap_or(requests);
            (count(What::ClientErrors).unwrap_or(0), all)
        });
        let transactions = data
            .was_asked(whose, What::Attempts)
            .then(|| (count(What::Failures).unwrap_or(0), count(What::Attempts).unwrap_or(0)));
        let latencies = || {
            let all = count(What::Latencies).unwrap_or(0);
            let above = |what| all.saturating_sub(count(what).unwrap_or(0));
            let tail = |tail: u8| {
                let mut above_tail: Tail = [None; 4];
                for (shift, value) in (0_u8..).zip(&mut above_tail) {
                    let is_wanted = (shift == 0) == (side == Side::Baseline);
                    if is_wanted && data.was_asked(whose, What::UpToTail(tail, shift)) {
                        *value = Some(above(What::UpToTail(tail, shift)));
                    }
                }
                above_tail
            };
            let octile = |index| above(What::UpToOctile(u8::try_from(index).unwrap_or(u8::MAX)));
            Latencies::new(all, std::array::from_fn(octile), tail(0), tail(1)).ok()
        };
        Some(Counts {
            requests,
            e5: share(errors.0, errors.1),
            tx: transactions.and_then(|(bad, all)| share(bad, all)),
            e4: client_errors.and_then(|(bad, all)| share(bad, all)),
            latencies: if data.was_asked(whose, What::Latencies) { latencies() } else { None },
        })
    }
}

/// How many octiles, and how many quantiles in all, are thresholds.
const OCTILES_COUNT: u8 = 7;
const QUANTILES: u8 = 9;

/// The quantiles of the thresholds, in their order.
fn quantiles() -> impl Iterator<Item = f64> {
    OCTILES.into_iter().chain(TAILS)
}

/// The same in thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1")]
fn permille(index: u8) -> Option<u16> {
    quantiles().nth(usize::from(index)).map(|q| (q * 1000.0).round() as u16)
}

/// What is asked of the witnesses.
fn witnesses(spec: &AnalysisSpec) -> impl Iterator<Item = What> {
    let Witnesses { has_front, peers, has_pipeline, .. } = spec.witnesses;
    let peers = (0..peers).flat_map(|peer| [What::PeerRequests(peer), What::PeerErrors(peer)]);
    has_front.then_some(What::Front).into_iter().chain(peers).chain(has_pipeline.then_some(What::Pipeline))
}

/// Which version a bucket's numbers belong to, and whose series shows them.
fn sides_of(spec: &AnalysisSpec, start_s: i64) -> Vec<(Side, Scope)> {
    if has_all_traffic(spec, start_s) {
        vec![(Side::Canary, Scope::All)]
    } else {
        vec![(Side::Baseline, Scope::Baseline), (Side::Canary, Scope::Canary)]
    }
}

/// Whether the new version had all traffic from the start of this bucket on. A bucket that straddles the step is read by
/// version.
#[expect(clippy::cast_precision_loss, reason = "times of one deployment are far below 2^53")]
fn has_all_traffic(spec: &AnalysisSpec, start_s: i64) -> bool {
    spec.all_traffic_from_s().is_some_and(|from| start_s as f64 >= from)
}

/// Buckets since the origin that have ended at `at`.
fn number_of(spec: &AnalysisSpec, at: Timestamp) -> i64 {
    at.ms().saturating_sub(spec.origin.ms()).div_euclid(spec.bucket_s().saturating_mul(1000))
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

/// Answers by what was asked.
struct Data<'a> {
    points: BTreeMap<(Scope, What), &'a Points>,
}

impl<'a> Data<'a> {
    fn of(query: &MetricQuery, answers: &'a [SeriesResult]) -> Result<Self, AnalysisError> {
        if answers.len() != query.len() {
            return Err(AnalysisError::Uneven { asked: query.len(), answered: answers.len() });
        }
        let mut points = BTreeMap::new();
        for (key, at) in &query.wanted {
            let answer = match answers.get(*at) {
                Some(Ok(points)) => points,
                Some(Err(error)) => return Err(error.clone().into()),
                None => return Err(AnalysisError::Uneven { asked: query.len(), answered: answers.len() }),
            };
            if let Some((at, value)) =
                answer.iter().find(|(_, value)| !is_count(**value) && !matches!(key.1, What::Quantile(_)))
            {
                return Err(AnalysisError::NoCount { value: *value, at: *at });
            }
            points.insert(*key, answer);
        }
        Ok(Self { points })
    }

    fn was_asked(&self, whose: Scope, what: What) -> bool {
        self.points.contains_key(&(whose, what))
    }

    fn has_points(&self, what: What, window: Window) -> bool {
        self.has_points_of(Scope::All, what, window)
    }

    fn has_points_of(&self, whose: Scope, what: What, window: Window) -> bool {
        let points = self.points.get(&(whose, what));
        points.is_some_and(|points| points.range(window.from..window.to).next().is_some())
    }

    /// The sum of all buckets; `None` when there is no datapoint.
    fn sum(&self, window: Window, what: What) -> Option<f64> {
        let points = self.points.get(&(Scope::All, what))?.range(window.from..window.to);
        points.map(|(_, value)| *value).reduce(|sum, value| sum + value)
    }

    /// A count of one bucket; `None` when there is no datapoint: no traffic, or not yet.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^53, checked above")]
    fn count(&self, whose: Scope, what: What, at: Timestamp) -> Option<u64> {
        self.points.get(&(whose, what)).and_then(|points| points.get(&at)).map(|value| value.round() as u64)
    }

    /// The middle of all buckets' values in the window: one call may have been longer, for others.
    fn typical(&self, window: Window, what: What) -> Option<f64> {
        let points = self.points.get(&(Scope::All, what))?.range(window.from..window.to);
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
