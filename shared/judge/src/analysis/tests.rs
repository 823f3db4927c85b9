//! What is asked and when, what the answers mean, and that nothing wrong gets in.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a played source answers what its case is about, and the rest as usual"
)]

mod witnesses;

use super::*;
use crate::detector::{
    DetectorSettings, DetectorValues, Edges, Latencies, Note, Reading, Said, Tail, TrafficSchedule,
    Witnesses as Connected,
};
use crate::judge::Judge;
use crate::result::Detection;
use crate::series::{IngestionDelay, Points, Quantity, Scope, SeriesError, SeriesQuery, SeriesResult, SourceProfile};
use crate::share::Share;
use crate::slo::Objective;
use crate::vocabulary::{Metric, Signal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Second 0: the start of the bucket in which traffic began to shift.
const ORIGIN: Timestamp = Timestamp::from_ms(1_795_169_700_000);

/// The moment so many seconds after the origin, negative before it.
const fn second(seconds: i64) -> Timestamp {
    Timestamp::from_ms(ORIGIN.ms() + seconds * 1000)
}

/// What is compared and how, as far as a test changes it.
struct Setup {
    enforcing: Vec<Signal>,
    advisory: Vec<Signal>,
    judge: Judge,
    tick: Duration,
    errors: Option<SourceProfile>,
    transactions: Option<SourceProfile>,
    objective: Option<Objective>,
    latency: SourceProfile,
    witnesses: Witnesses,
}

impl Setup {
    /// In the shift since second 12: a tenth of the traffic, seen at second 15.
    fn spec(&self) -> AnalysisSpec {
        let compares = |signal| self.enforcing.contains(&signal) || self.advisory.contains(&signal);
        let origin = bucket_start(second(12), self.judge.bucket);
        AnalysisSpec {
            origin,
            judge: self.judge,
            tick: self.tick,
            errors: self.errors.clone(),
            latency: compares(Signal::Latency).then(|| self.latency.clone()),
            transactions: self.transactions.clone(),
            pairs: None,
            witnesses: self.witnesses,
            objective: self.objective,
            objective_is_sufficient: true,
            history_from: origin - self.judge.history,
            shift_started_at: second(12),
            weights: vec![(second(-20), 0.0), (second(15), 0.1)],
            ends_at: second(912),
            enforcing: self.detector(&self.enforcing),
            advisory: self.detector(&self.advisory),
        }
    }

    /// The recommended settings; what these signals are not judged by is off.
    fn detector(&self, signals: &[Signal]) -> Option<Arc<DetectorSettings>> {
        let mut values = DetectorValues::default_method();
        (values.grace_s, values.no_data_timeout_s) =
            (self.judge.grace.as_secs_f64(), self.judge.no_data_timeout.as_secs_f64());
        values.errors_follow = self.errors.as_ref().is_none_or(|source| source.is_split || source.is_shared);
        for (metric, margin) in Metric::COMPARED.into_iter().zip(&mut values.margins) {
            *margin = margin.filter(|_| signals.contains(&Signal::from(metric)));
        }
        let is_judged = values.margins.iter().any(Option::is_some);
        is_judged.then(|| Arc::new(DetectorSettings::new(values).unwrap()))
    }
}

/// A source that tells versions apart.
fn split() -> SourceProfile {
    SourceProfile::COUNTS
}

/// What the sources show of one series: the query, the bucket's start in seconds, the time of the reading in seconds.
type Service<'a> = &'a dyn Fn(&SeriesQuery, i64, i64) -> Option<f64>;

/// 600 requests a minute, a tenth of them for the new version, 0.1 % fail, durations from 30 to 130 ms.
fn healthy(query: &SeriesQuery, _start_s: i64, _now_s: i64) -> Option<f64> {
    share_of(query, 60.0, 0.001)
}

/// 600 requests a minute, `canary` of them for the new version while it has a part of the traffic; of its requests `errors` fail.
fn share_of(query: &SeriesQuery, canary: f64, errors: f64) -> Option<f64> {
    let (requests, errors) = match query.side {
        Scope::All => (600.0, 0.001),
        Scope::Baseline => (600.0 - canary, 0.001),
        Scope::Canary => (canary, errors),
    };
    Some(match (query.source, query.quantity) {
        (SourceId::Errors | SourceId::Transactions, _) => 0.0,
        (_, Quantity::Requests | Quantity::Latencies) => requests,
        (_, Quantity::Errors) => (requests * errors).round(),
        (_, Quantity::LatenciesUpTo(ms)) => (requests * ((ms - 30.0) / 100.0).clamp(0.0, 1.0)).round(),
        (_, Quantity::LatencyQuantile(permille)) => f64::from(permille) / 10.0 + 30.0,
        (_, Quantity::ClientErrors | Quantity::Attempts | Quantity::Failures) => 0.0,
    })
}

fn answers(query: &MetricQuery, now_s: i64, service: Service<'_>) -> Vec<SeriesResult> {
    let period_s = i64::try_from(query.window.period.as_secs()).unwrap();
    let at = |time: Timestamp| (time.ms() - second(0).ms()) / 1000;
    let starts: Vec<i64> =
        (0..).map(|n| at(query.window.from) + n * period_s).take_while(|s| *s < at(query.window.to)).collect();
    let points =
        |query: &SeriesQuery| starts.iter().filter_map(|s| Some((second(*s), service(query, *s, now_s)?))).collect();
    query.queries().map(|query| Ok(points(query))).collect()
}

fn is_requests(query: &SeriesQuery) -> bool {
    (query.source, query.quantity) == (SourceId::Requests, Quantity::Requests)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Poll {
    Count,
    Percentiles,
    History,
    Full,
}

fn poll(query: &MetricQuery, origin: Timestamp) -> Poll {
    let quantities: Vec<Quantity> = query.queries().map(|query| query.quantity).collect();
    if quantities.iter().any(|quantity| matches!(quantity, Quantity::LatencyQuantile(_))) {
        Poll::Percentiles
    } else if query.window.to <= origin {
        Poll::History
    } else if quantities.iter().all(|quantity| *quantity == Quantity::Requests) {
        Poll::Count
    } else {
        Poll::Full
    }
}

/// A watcher: the analysis, and everything that came of it so far.
struct Watch {
    spec: AnalysisSpec,
    analysis: Analysis,
    result: Option<AnalysisResult>,
    polls: Vec<JudgedPoll>,
    asked: Vec<(i64, Poll)>,
}

impl Watch {
    /// Errors may roll back, changed as the test wants it.
    fn new(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            enforcing: vec![Signal::Errors],
            advisory: Vec::new(),
            judge: Judge::recommended(),
            tick: Duration::from_secs(10),
            errors: None,
            transactions: None,
            objective: None,
            latency: SourceProfile { edges: Some(Edges::eighths()), ..split() },
            witnesses: Witnesses::default(),
        };
        change(&mut setup);
        let spec = setup.spec();
        let analysis = Analysis::new(&spec);
        Self { spec, analysis, result: None, polls: Vec::new(), asked: Vec::new() }
    }

    fn spec(&self) -> AnalysisSpec {
        self.spec.clone()
    }

    /// One tick: everything that is due.
    fn tick(&mut self, now_s: i64, service: Service<'_>) {
        let (spec, now) = (self.spec(), second(now_s));
        for round in 0.. {
            assert!(round < 4, "too many queries at {now_s}");
            let Some(query) = self.analysis.query(&spec, now) else { return };
            self.asked.push((now_s, poll(&query, spec.origin)));
            let taken = self.analysis.clone().answer(&spec, &query, &answers(&query, now_s, service), now).unwrap();
            self.analysis = taken.analysis;
            self.result = taken.result.or(self.result.take());
            self.polls.extend(taken.judged);
        }
    }

    fn run(&mut self, from_s: i64, to_s: i64, service: Service<'_>) {
        for now_s in (from_s..=to_s).step_by(10) {
            self.tick(now_s, service);
        }
    }

    /// The version has all traffic from here on, as far as anybody saw.
    fn sees(&mut self, at_s: i64, share: f64) {
        self.spec.weights.push((second(at_s), share));
    }

    /// What the detectors were given of the versions: start of the bucket, requests.
    fn given(&self) -> Vec<(Side, i64, u64)> {
        let records = self.polls.iter().flat_map(|poll| &poll.records);
        let given = records.filter_map(|record| match record.reading {
            Reading::Version(side, counts) => Some((side, record.start_s, counts.requests)),
            Reading::Front(_) | Reading::Peer(_) | Reading::Probe(..) => None,
        });
        given.collect()
    }

    /// Judges all polls again from what is kept of them.
    fn replay(&self, is_enforcing: bool) -> Vec<Said> {
        let (mut settings, mut state, mut anew_s) = (None, None, None);
        let polls = self.polls.iter().filter_map(|poll| {
            if let Some(begun) = &poll.begun {
                let beginning = if is_enforcing { &begun.enforcing } else { &begun.advisory };
                let beginning = beginning.as_ref()?;
                settings = Some(DetectorSettings::new(beginning.settings.clone()).unwrap());
                state = Some(State::begin_with(poll.schedule.bucket_s(), begun.witnesses, &beginning.references));
            }
            let (settings, mut before) = (settings.as_ref()?, state.take()?);
            if poll.anew_s() != anew_s {
                anew_s = poll.anew_s();
                before.forget_evidence();
                before.skip_before(anew_s?);
            }
            before.skip_before(poll.from_s);
            let (next, _) = State::step(settings, &poll.schedule, before, &poll.records, poll.now_s());
            let said = next.said(settings);
            state = Some(next);
            Some(said)
        });
        polls.collect()
    }

    fn result(&self) -> &AnalysisResult {
        self.result.as_ref().unwrap()
    }
}

fn with_latency(setup: &mut Setup) {
    setup.enforcing.push(Signal::Latency);
}

#[test]
fn quantiles_then_history_then_a_full_poll_and_a_count_poll_one_tick_before() {
    use Poll::{Count, Full, History, Percentiles};
    let mut watch = Watch::new(with_latency);
    for now_s in 12..=300 {
        watch.tick(now_s, &healthy);
    }
    let expected = [
        (80, Count),
        (90, Percentiles),
        (90, History),
        (90, Full),
        (140, Count),
        (150, Full),
        (200, Count),
        (210, Full),
        (260, Count),
        (270, Full),
    ];
    assert_eq!(watch.asked, expected);
    let mut watch = Watch::new(|_| {});
    watch.tick(95, &healthy);
    assert_eq!(watch.asked, [(95, History), (95, Full)], "without latency no percentiles");
}

#[test]
fn the_times_follow_bucket_ingestion_delay_and_tick() {
    type Row = (&'static str, fn(&mut Setup), &'static [(i64, Poll)]);
    let table: [Row; 4] = [
        (
            "a long tick",
            |s| s.tick = Duration::from_secs(30),
            &[(60, Poll::Count), (90, Poll::History), (90, Poll::Full)],
        ),
        (
            "a tick of a bucket: no count poll",
            |s| s.tick = Duration::from_secs(60),
            &[(90, Poll::History), (90, Poll::Full)],
        ),
        (
            "ten-second buckets: the full poll before is the first reading",
            |s| {
                s.judge.bucket = Duration::from_secs(10);
                s.judge.ingestion_delay = Duration::from_secs(20);
            },
            &[(40, Poll::History), (40, Poll::Full), (50, Poll::Full), (60, Poll::Full), (70, Poll::Full)],
        ),
        ("a longer ingestion delay", |s| s.judge.ingestion_delay = Duration::from_secs(40), &[(90, Poll::Count)]),
    ];
    for (case, change, expected) in table {
        let mut watch = Watch::new(change);
        for now_s in 12..=95 {
            watch.tick(now_s, &healthy);
        }
        let until: Vec<_> = watch.asked.into_iter().take(expected.len()).collect();
        assert_eq!(until, expected, "{case}");
    }
}

#[test]
fn the_past_is_asked_of_all_versions() {
    for (case, from_s) in [("an hour", -3600), ("half an hour", -1800), ("a history of nothing", 0)] {
        let mut watch = Watch::new(with_latency);
        watch.spec.history_from = second(from_s);
        let spec = watch.spec();
        let query = watch.analysis.query(&spec, second(90)).unwrap();
        assert_eq!((query.window.from, query.window.to), (second(from_s), second(0)), "{case}");
        assert!(query.queries().all(|query| query.side == Scope::All), "{case}");
        watch.run(90, 600, &healthy);
        assert_eq!(watch.result().verdict, None, "{case}: healthy");
        assert_eq!(watch.result().until, second(540), "{case}: judged");
    }
}

#[test]
fn sides_change_with_the_observed_step() {
    use Side::{Baseline, Canary};
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| match (query.side, start_s) {
        // Versions report until their last request; all of them together report everything.
        (Scope::Baseline, 360..) => None,
        (Scope::Baseline | Scope::Canary | Scope::All, _) => healthy(query, start_s, now_s),
    };
    let by_version = |start_s| [(Baseline, start_s, 540), (Canary, start_s, 60)];
    let whole = |start_s| vec![(Canary, start_s, 600)];
    // (case, when all traffic was seen, what the bucket at 240, 300 and 360 is)
    let table = [
        ("seen in the middle of a bucket", 315, [by_version(240).to_vec(), by_version(300).to_vec(), whole(360)]),
        ("seen at the very start of a bucket", 300, [by_version(240).to_vec(), whole(300), whole(360)]),
        ("seen in the last second of a bucket", 359, [by_version(240).to_vec(), by_version(300).to_vec(), whole(360)]),
    ];
    for (case, seen_s, expected) in table {
        let mut watch = Watch::new(|_| {});
        watch.run(20, seen_s, &service);
        watch.sees(seen_s, 1.0);
        watch.run(seen_s + 1, 520, &service);
        let points = watch.given();
        for (start_s, expected) in [240, 300, 360].into_iter().zip(expected) {
            let of: Vec<_> = points.iter().copied().filter(|point| point.1 == start_s).collect();
            assert_eq!(of, expected, "{case}: bucket {start_s}");
        }
    }
}

#[test]
fn sides_that_are_asked_for() {
    let scopes = |watch: &Watch, now_s: i64| {
        let query = watch.analysis.query(&watch.spec(), second(now_s)).unwrap();
        assert_eq!(poll(&query, second(0)), Poll::Full);
        let mut scopes: Vec<Scope> = query.queries().map(|query| query.side).collect();
        scopes.dedup();
        scopes
    };
    let mut watch = Watch::new(|_| {});
    watch.run(20, 320, &healthy);
    assert_eq!(scopes(&watch, 330), [Scope::Baseline, Scope::Canary], "by version in the shift");
    watch.sees(325, 1.0);
    watch.run(330, 440, &healthy);
    assert_eq!(scopes(&watch, 450), [Scope::All, Scope::Baseline, Scope::Canary], "around the step both");
    watch.run(450, 1200, &healthy);
    assert_eq!(scopes(&watch, 1230), [Scope::All], "long after it all together");
}

#[test]
fn the_canary_s_latency_thresholds_are_shifted() {
    // The middle 90th percentile of the past is 120 ms: the nearest edge is 2^(55/8) = 117.4 ms, as that of the last octile.
    let edge = |k: u16| 2_f64.powf(f64::from(k) / 8.0);
    let body = [43, 46, 49, 51, 52, 54, 55];
    let with_octiles = |tails: &[u16]| body.iter().chain(tails).copied().map(edge).collect::<Vec<f64>>();
    let thresholds = |watch: &Watch, now_s: i64, side: Scope| -> Vec<f64> {
        let query = watch.analysis.query(&watch.spec(), second(now_s)).unwrap();
        let of = query.queries().filter(|query| query.side == side);
        of.filter_map(|query| if let Quantity::LatenciesUpTo(ms) = query.quantity { Some(ms) } else { None }).collect()
    };
    let mut watch = Watch::new(with_latency);
    watch.run(20, 140, &healthy);
    let expected = Thresholds { body, q90: 55, q99: 56 };
    assert_eq!(watch.analysis.thresholds, Some(expected), "42.5, 55 … 117.5, 120 and 129 ms");
    // An edge that is two thresholds is asked once; octiles are never shifted.
    let of_baseline = thresholds(&watch, 150, Scope::Baseline);
    assert_eq!(of_baseline, with_octiles(&[56]), "the old version is not shifted");
    assert_eq!(thresholds(&watch, 150, Scope::Canary), with_octiles(&[59, 60]), "all its traffic is young");
    watch.run(150, 200, &healthy);
    let of_canary = thresholds(&watch, 210, Scope::Canary);
    assert_eq!(of_canary, with_octiles(&[59, 56, 60, 57]), "the bucket at 120 is not");
    watch.run(210, 1040, &healthy);
    assert_eq!(thresholds(&watch, 1050, Scope::Canary), with_octiles(&[56, 57]), "settled traffic");
    watch.sees(1045, 1.0);
    watch.run(1050, 1900, &healthy);
    assert_eq!(thresholds(&watch, 1950, Scope::All), with_octiles(&[56, 57, 58]), "against the past, by both margins");
}

fn custom(is_split: bool, has_client_errors: bool) -> SourceProfile {
    SourceProfile { is_split, has_client_errors, ..split() }
}

/// A front door of this service and of others.
fn shared_api() -> SourceProfile {
    SourceProfile { is_shared: true, ..api() }
}

/// A front door.
fn api() -> SourceProfile {
    SourceProfile { is_split: false, is_whole: true, has_client_errors: true, ..split() }
}

/// `new` bucket of each side that comes from `service`: by version while `seen` is `None`, of all together from then on.
fn counts_of(change: impl FnOnce(&mut Setup), has_all: bool, service: Service<'_>) -> Vec<(Side, Counts)> {
    let mut watch = Watch::new(change);
    if has_all {
        watch.spec.weights = vec![(second(-20), 0.0), (second(0), 1.0)];
    }
    watch.run(80, 90, service);
    let mut sides: BTreeMap<Side, Counts> = BTreeMap::new();
    for recent in watch.analysis.recent.iter().filter(|recent| recent.start_s == 0) {
        sides.insert(recent.side, recent.given.unwrap());
    }
    sides.into_iter().collect()
}

fn share(bad: u64, all: u64) -> Option<Share> {
    Some(Share::new(bad, all).unwrap())
}

/// Requests 100 (new version: 20), 3 of them fail; the other source has 1,000 requests, 5 bad ones and 7 with 4xx.
fn shows(query: &SeriesQuery) -> Option<f64> {
    match (query.source, query.quantity) {
        (SourceId::Requests, Quantity::Requests) if query.side == Scope::Canary => Some(20.0),
        (SourceId::Requests, Quantity::Requests) => Some(100.0),
        (SourceId::Requests, Quantity::Errors) => Some(3.0),
        (SourceId::Errors, Quantity::Requests) => Some(1000.0),
        (SourceId::Errors, Quantity::Errors) => Some(5.0),
        (SourceId::Errors, Quantity::ClientErrors) => Some(7.0),
        _ => None,
    }
}

fn no_errors(query: &SeriesQuery) -> Option<f64> {
    if is_requests(query) { shows(query) } else { None }
}

fn too_many(query: &SeriesQuery) -> Option<f64> {
    if is_requests(query) { shows(query) } else { Some(5000.0) }
}

/// A case, the source of errors, whether the new version has all traffic, what is shown, and 5xx and 4xx of each side.
type ErrorRow =
    (&'static str, Option<SourceProfile>, bool, fn(&SeriesQuery) -> Option<f64>, Vec<(Option<Share>, Option<Share>)>);

fn errors_are_counted_so(table: Vec<ErrorRow>) {
    for (case, source, has_all, shows, expected) in table {
        let set = |setup: &mut Setup| setup.errors = source;
        let found = counts_of(set, has_all, &|query, _, _| shows(query));
        let found: Vec<_> = found.into_iter().map(|(_, counts)| (counts.e5, counts.e4)).collect();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn answers_become_error_counts() {
    errors_are_counted_so(vec![
        ("function errors", None, false, shows, vec![(share(3, 100), None), (share(3, 20), None)]),
        (
            "no datapoint of errors is no error",
            None,
            false,
            no_errors,
            vec![(share(0, 100), None), (share(0, 20), None)],
        ),
        ("more errors than requests", None, false, too_many, vec![(share(100, 100), None), (share(20, 20), None)]),
        (
            "a split source adds to the function's errors",
            Some(custom(true, true)),
            false,
            shows,
            vec![(share(8, 100), share(7, 100)), (share(8, 20), share(7, 20))],
        ),
        (
            "a split source without 4xx",
            Some(custom(true, false)),
            false,
            shows,
            vec![(share(8, 100), None), (share(8, 20), None)],
        ),
        (
            "a source that is not split says nothing of one version",
            Some(custom(false, true)),
            false,
            shows,
            vec![(share(3, 100), None), (share(3, 20), None)],
        ),
        (
            "a source that is not split, all traffic",
            Some(custom(false, true)),
            true,
            shows,
            vec![(share(8, 100), share(7, 100))],
        ),
        (
            "an API says nothing of one version",
            Some(api()),
            false,
            shows,
            vec![(share(3, 100), None), (share(3, 20), None)],
        ),
        ("an API, all traffic", Some(api()), true, shows, vec![(share(5, 1000), share(7, 1000))]),
        ("an API without requests is no evidence", Some(api()), true, no_errors, vec![(share(0, 0), share(0, 100))]),
    ]);
}

#[test]
fn errors_of_a_shared_source_are_never_the_version_s() {
    errors_are_counted_so(vec![
        ("in the shift", Some(shared_api()), false, shows, vec![(share(3, 100), None), (share(3, 20), None)]),
        ("all traffic", Some(shared_api()), true, shows, vec![(share(3, 100), None)]),
        (
            "also when it tells versions apart",
            Some(SourceProfile { is_split: true, ..shared_api() }),
            false,
            shows,
            vec![(share(3, 100), None), (share(3, 20), None)],
        ),
    ]);
}

#[test]
fn answers_become_latency_counts() {
    // (case, durations, of these up to any threshold, slow)
    let table = [
        ("some are slow", Some(100.0), Some(70.0), 100, 30),
        ("none is", Some(100.0), Some(100.0), 100, 0),
        ("all are, and the count of quick ones has no datapoint", Some(100.0), None, 100, 100),
        ("more quick ones than durations", Some(100.0), Some(120.0), 100, 0),
        ("no durations", None, None, 0, 0),
        ("quick ones without durations", None, Some(3.0), 0, 0),
    ];
    for (case, durations, quick, all, slow) in table {
        let service = |query: &SeriesQuery, _: i64, _: i64| match query.quantity {
            Quantity::Latencies => durations,
            Quantity::LatenciesUpTo(_) => quick,
            Quantity::LatencyQuantile(_) => Some(80.0),
            _ => Some(100.0),
        };
        let found = counts_of(with_latency, false, &service);
        let of = |side: Side| found.iter().find(|(of, _)| *of == side).unwrap().1.latencies.unwrap();
        let latencies = |tail: Tail| Latencies { all, body: [slow; 7], q90: tail, q99: tail };
        let slow = Some(slow);
        assert_eq!(of(Side::Baseline), latencies([slow, None, None, None]), "{case}");
        assert_eq!(of(Side::Canary), latencies([None, None, None, slow]), "{case}: cold starts, four edges up");
    }
}

#[test]
fn answers_become_transaction_counts() {
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| match query.quantity {
        Quantity::Attempts => Some(50.0),
        Quantity::Failures => Some(4.0),
        _ => healthy(query, start_s, now_s),
    };
    // (case, whether the source tells versions apart, all traffic, transactions by side)
    let table = [
        ("split", true, false, vec![share(4, 50), share(4, 50)]),
        ("not split, by version", false, false, vec![None, None]),
        ("not split, all traffic", false, true, vec![share(4, 50)]),
    ];
    for (case, is_split, has_all, expected) in table {
        let set = |setup: &mut Setup| {
            setup.transactions = Some(custom(is_split, false));
            setup.enforcing.push(Signal::Transactions);
        };
        let found: Vec<_> = counts_of(set, has_all, &service).into_iter().map(|(_, counts)| counts.tx).collect();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn a_record_comes_when_two_readings_agree_or_at_grace() {
    // What the first bucket shows at each reading, and when it comes. Later buckets show nothing.
    type Row = (&'static str, u64, &'static [(i64, f64)], Option<i64>);
    let table: [Row; 7] = [
        ("count poll and full poll agree", 90, &[(80, 100.0), (90, 100.0)], Some(90)),
        (
            "it grew; at the next look grace is over",
            90,
            &[(80, 90.0), (90, 100.0), (140, 110.0), (150, 120.0)],
            Some(150),
        ),
        (
            "seen for the first time by the look, then the same",
            90,
            &[(90, 100.0), (140, 100.0), (150, 100.0)],
            Some(150),
        ),
        (
            "a longer grace",
            180,
            &[(80, 90.0), (90, 95.0), (140, 99.0), (150, 100.0), (200, 101.0), (210, 102.0), (260, 103.0)],
            Some(270),
        ),
        ("a longer grace, and readings that agree", 180, &[(80, 100.0), (90, 100.0)], Some(90)),
        (
            "the longest grace",
            300,
            &[
                (80, 1.0),
                (90, 2.0),
                (140, 3.0),
                (150, 4.0),
                (200, 5.0),
                (210, 6.0),
                (260, 7.0),
                (270, 8.0),
                (320, 9.0),
                (330, 10.0),
                (380, 11.0),
            ],
            Some(390),
        ),
        ("no datapoint at all", 90, &[], None),
    ];
    for (case, grace_s, readings, comes_s) in table {
        let mut watch = Watch::new(|setup| {
            setup.judge.grace = Duration::from_secs(grace_s);
            setup.judge.no_data_timeout = Duration::from_secs(300.min(grace_s + 90));
        });
        let mut came_s = None;
        for now_s in (80..=400).step_by(10) {
            let shown = readings.iter().rev().find(|(at_s, _)| *at_s <= now_s).map(|(_, value)| *value);
            let grows = readings.len() > 4 && now_s > 200;
            let shown = shown
                .map(|value| if grows { value + f64::from(i32::try_from(now_s).unwrap()) / 1000.0 } else { value });
            watch.tick(now_s, &|query, start_s, now_s| match start_s {
                ..0 => healthy(query, start_s, now_s),
                0 if is_requests(query) => shown,
                0 => Some(0.0),
                _ => None,
            });
            came_s = came_s.or((!watch.given().is_empty()).then_some(now_s));
        }
        assert_eq!(came_s, comes_s, "{case}");
    }
}

#[test]
fn a_record_never_comes_before_its_bucket_has_settled() {
    for now_s in 60..90 {
        let mut watch = Watch::new(|_| {});
        watch.tick(now_s - 1, &healthy);
        watch.tick(now_s, &healthy);
        assert_eq!(watch.given(), [], "{now_s}");
    }
}

/// The errors that the detector has counted of both versions: (bad, all) of the old one, (bad, all) of the new one.
fn totals(analysis: &Analysis) -> [(u64, u64); 2] {
    let evidence = &analysis.enforcing.as_ref().unwrap().rates[0].tally;
    [(evidence.baseline.bad, evidence.baseline.all), (evidence.canary.bad, evidence.canary.all)]
}

#[test]
fn later_growth_goes_to_the_next_bucket() {
    // Bucket 0 shows 540 and 60 requests when it comes, 550 and 64 with two more errors a minute later, 65 after that.
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
        let more = match (start_s, now_s, query.side, query.quantity) {
            (0, 150.., Scope::Canary, Quantity::Errors) => 2.0,
            (0, 150..210, Scope::Canary, Quantity::Requests) => 4.0,
            (0, 210.., Scope::Canary, Quantity::Requests) => 5.0,
            (0, 150.., Scope::Baseline, Quantity::Requests) => 10.0,
            _ => 0.0,
        };
        Some(share_of(query, 60.0, 0.0)? + more)
    };
    let mut watch = Watch::new(|_| {});
    watch.run(80, 140, &service);
    let first = totals(&watch.analysis);
    assert_eq!((first[0].1, first[1]), (540, (0, 60)));
    watch.run(150, 150, &service);
    assert_eq!(watch.analysis.late, LateGrowth { baseline: None, canary: None }, "the bucket at 60 took it at once");
    let second = totals(&watch.analysis);
    assert_eq!((second[0].1, second[1]), (540 + 540 + 10, (2, 60 + 60 + 4)));
    watch.run(160, 210, &service);
    assert_eq!(totals(&watch.analysis)[1], (2, 60 + 60 + 4 + 60 + 1));
    let given: Vec<u64> =
        watch.given().into_iter().filter(|given| given.0 == Side::Canary).map(|given| given.2).collect();
    assert_eq!(given, [60, 60 + 4, 60 + 1], "what grew comes with the next bucket");
}

#[test]
fn growth_waits_when_no_bucket_comes() {
    // Bucket 0 grows at 150, but the bucket at 60 is final only at 210: it grew between the count poll and the full poll.
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
        let value = share_of(query, 60.0, 0.0)?;
        let is_requests = is_requests(query);
        Some(match (start_s, now_s) {
            (0, 150..) if is_requests => value + 7.0,
            (60, ..150) if is_requests => value - 1.0,
            _ => value,
        })
    };
    let mut watch = Watch::new(|_| {});
    watch.run(80, 200, &service);
    let requests = |late: Option<Counts>| late.map(|counts| counts.requests);
    assert_eq!((requests(watch.analysis.late.baseline), requests(watch.analysis.late.canary)), (Some(7), Some(7)));
    watch.run(210, 210, &service);
    assert_eq!(watch.analysis.late, LateGrowth::default());
    // Buckets 0, 60 and 120 with what came late.
    assert_eq!(totals(&watch.analysis)[1].1, 60 + 60 + 60 + 7);
}

#[test]
fn a_late_error_of_a_counted_request_is_not_lost() {
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
        let value = share_of(query, 60.0, 0.0)?;
        let is_late = start_s == 0 && now_s >= 150 && query.side == Scope::Canary && query.quantity == Quantity::Errors;
        Some(if is_late { value + 3.0 } else { value })
    };
    let mut watch = Watch::new(|_| {});
    watch.run(80, 150, &service);
    assert_eq!(totals(&watch.analysis)[1].0, 3);
}

#[test]
fn less_than_before_is_no_growth() {
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
        let value = share_of(query, 60.0, 0.0)?;
        Some(if start_s == 0 && now_s >= 150 { (value - 30.0).max(0.0) } else { value })
    };
    let mut watch = Watch::new(|_| {});
    watch.run(80, 210, &service);
    assert_eq!(totals(&watch.analysis)[1].1, 180);
}

#[test]
fn what_is_old_is_forgotten() {
    let mut watch = Watch::new(with_latency);
    watch.run(20, 7200, &healthy);
    let oldest = watch.analysis.recent.first().unwrap().start_s;
    assert!(watch.analysis.recent.len() <= 16, "{} buckets of two versions", watch.analysis.recent.len());
    assert!(oldest >= 7140 - 90 - 240 - 2 * 60 - 60, "oldest {oldest}");
    assert!(watch.analysis.recent.is_sorted_by_key(|recent| (recent.start_s, recent.side)));
    let spec = watch.spec();
    let query = watch.analysis.query(&spec, second(7290)).unwrap();
    assert!(query.window.to.since(query.window.from) <= Duration::from_secs(480), "{:?}", query.window);
}

#[test]
fn growth_of_a_bucket_that_was_forgotten_is_not_asked_for() {
    let mut watch = Watch::new(|_| {});
    watch.run(20, 1200, &healthy);
    let query = watch.analysis.query(&watch.spec(), second(1230)).unwrap();
    assert!(query.window.from > second(600));
}

#[test]
fn a_bad_version_is_found_and_a_healthy_one_is_not() {
    // (case, share of its requests that fail, share of the traffic, worse)
    let table = [("healthy", 0.001, false), ("a fifth fails", 0.2, true), ("all fail", 1.0, true)];
    for (case, errors, is_worse) in table {
        let mut watch = Watch::new(|_| {});
        watch.run(20, 600, &|query, _, _| share_of(query, 60.0, errors));
        let verdict = watch.result().verdict.as_ref();
        assert_eq!(verdict.is_some(), is_worse, "{case}");
        if let Some(finding) = verdict {
            assert_eq!(finding.signal, Signal::Errors, "{case}");
            assert!(finding.is_concurrent && finding.is_sufficient, "{case}: {finding:?}");
            assert_eq!(finding.impact_started_at, Some(second(0)), "{case}");
            assert!(finding.why.contains("new version"), "{case}: {}", finding.why);
        }
    }
}

#[test]
fn signals_that_may_only_tell_are_judged_apart() {
    for (case, verdict, advice) in [("may roll back", true, false), ("may only tell", false, true)] {
        let mut watch = Watch::new(|setup| {
            if advice {
                std::mem::swap(&mut setup.enforcing, &mut setup.advisory);
            }
        });
        watch.run(20, 600, &|query, _, _| share_of(query, 60.0, 0.3));
        let found: [Option<&Detection>; 2] = [watch.result().verdict.as_ref(), watch.result().advice.as_ref()];
        assert_eq!(found.map(|finding| finding.is_some()), [verdict, advice], "{case}");
    }
}

#[test]
fn little_traffic_is_not_conclusive_and_much_is() {
    // (case, requests of the new version in a minute, conclusive after ten minutes)
    for (case, requests, is_conclusive) in [("much", 300.0, true), ("some", 60.0, false), ("next to none", 0.2, false)]
    {
        let service = |query: &SeriesQuery, start_s: i64, _: i64| {
            let is_there = query.side != Scope::Canary || requests >= 1.0 || start_s % 300 == 0;
            share_of(query, if requests >= 1.0 { requests } else { 1.0 }, 0.0).filter(|_| is_there)
        };
        let mut watch = Watch::new(|_| {});
        watch.run(20, 900, &service);
        assert_eq!(watch.result().is_conclusive, is_conclusive, "{case}");
        assert_eq!(watch.result().verdict, None, "{case}");
    }
}

#[test]
fn an_objective_burns() {
    let mut watch = Watch::new(|setup| {
        setup.enforcing.clear();
        setup.objective = Objective::new(0.999);
    });
    watch.run(20, 300, &|query, _, _| share_of(query, 300.0, 0.3));
    let burning = watch.result().burning.as_ref().unwrap();
    assert_eq!((burning.signal, burning.is_concurrent), (Signal::Slo, false));
    assert!(burning.is_sufficient);
    assert_eq!(watch.result().verdict, None);
    assert_eq!(watch.result().until, second(240), "judged as far as it was given");
}

#[test]
fn an_objective_without_any_request_is_no_pass() {
    let mut watch = Watch::new(|setup| {
        setup.enforcing.clear();
        setup.objective = Objective::new(0.999);
    });
    watch.run(20, 600, &|_, _, _| None);
    assert!(!watch.result().is_conclusive, "nobody used the new version");
    watch.run(610, 900, &healthy);
    assert!(watch.result().is_conclusive);
}

#[test]
fn a_version_that_never_gets_traffic_is_no_pass() {
    let mut watch = Watch::new(|setup| setup.enforcing.push(Signal::Availability));
    watch.run(20, 600, &|query, start_s, now_s| healthy(query, start_s, now_s).filter(|_| start_s < 0));
    assert!(!watch.result().is_conclusive, "nothing came of either version");
    let mut watch = Watch::new(|_| {});
    watch.run(20, 600, &|query, _, _| share_of(query, 0.0, 0.0).filter(|_| query.side != Scope::Canary));
    assert!(!watch.result().is_conclusive, "nothing came of the new version");
    assert_eq!(watch.result().verdict, None);
}

#[test]
fn the_same_answer_again_changes_nothing() {
    let service = |query: &SeriesQuery, _: i64, _: i64| share_of(query, 60.0, 0.05);
    let mut watch = Watch::new(with_latency);
    watch.run(20, 140, &service);
    let (spec, now) = (watch.spec(), second(150));
    let query = watch.analysis.query(&spec, now).unwrap();
    let answers = answers(&query, 150, &service);
    let once = watch.analysis.clone().answer(&spec, &query, &answers, now).unwrap();
    assert!(!once.judged.unwrap().records.is_empty());
    let twice = once.analysis.clone().answer(&spec, &query, &answers, now).unwrap();
    assert_eq!(twice.judged.unwrap().records, []);
    assert_eq!(twice.analysis, once.analysis);
    assert_eq!(twice.result, once.result);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut watch = Watch::new(with_latency);
    watch.run(20, 140, &healthy);
    let (spec, now) = (watch.spec(), second(150));
    let query = watch.analysis.query(&spec, now).unwrap();
    let good = answers(&query, 150, &healthy);
    let value = |value: f64| {
        let mut answers = good.clone();
        *answers[0].as_mut().unwrap().get_mut(&second(60)).unwrap() = value;
        answers
    };
    let unreadable = |why: &str| {
        let mut answers = good.clone();
        let status = why.to_owned();
        *answers.last_mut().unwrap() = Err(SeriesError::Incomplete { source_name: "the source", status });
        answers
    };
    let count = query.len();
    let table = [
        ("one too few", good[1..].to_vec(), format!("{count} series were asked for, {} answered", count - 1)),
        (
            "one too many",
            [good.clone(), good[..1].to_vec()].concat(),
            format!("{count} series were asked for, {} answered", count + 1),
        ),
        ("none", Vec::new(), format!("{count} series were asked for, 0 answered")),
        ("NaN", value(f64::NAN), "a count of NaN at ".to_owned()),
        ("negative", value(-1.0), "a count of -1 at ".to_owned()),
        ("infinite", value(f64::INFINITY), "a count of inf at ".to_owned()),
        ("huge", value(1e300), "a count of 1000".to_owned()),
        ("one series is not complete", unreadable("PartialData"), "the source says PartialData".to_owned()),
        ("one series is forbidden", unreadable("Forbidden"), "the source says Forbidden".to_owned()),
    ];
    for (case, answers, expected) in table {
        let error = watch.analysis.clone().answer(&spec, &query, &answers, now).unwrap_err();
        assert!(error.to_string().starts_with(&expected), "{case}: {error}");
    }
    let zero = watch.analysis.clone().answer(&spec, &query, &value(0.0), now);
    assert!(zero.is_ok(), "no request is a count");
}

#[test]
fn points_outside_the_window_say_nothing() {
    let mut watch = Watch::new(|_| {});
    watch.run(20, 140, &healthy);
    let (spec, now) = (watch.spec(), second(150));
    let query = watch.analysis.query(&spec, now).unwrap();
    let plain = answers(&query, 150, &healthy);
    let mut odd = plain.clone();
    for points in odd.iter_mut().flatten() {
        // Before, between two buckets, the running minute, the future.
        for start_s in [-600, 61, 120, 180, 86_400] {
            points.insert(second(start_s), 5_000.0);
        }
    }
    let [plain, odd] = [plain, odd].map(|answers| watch.analysis.clone().answer(&spec, &query, &answers, now).unwrap());
    assert_eq!(plain, odd);
}

#[test]
fn percentiles_that_are_no_numbers_are_left_out() {
    let none = [125 - 45, 80, 80];
    // (case, values of the past, threshold)
    let table = [
        ("no past", vec![], 80),
        ("all NaN", vec![f64::NAN; 5], 80),
        ("negative and zero", vec![-5.0, 0.0], 80),
        ("one number", vec![f64::NAN, 16.0, f64::INFINITY], 32),
        ("an hour of one duration is cut at 65 s", vec![9e9; 60], 128),
        ("below a millisecond", vec![0.2; 60], 0),
    ];
    assert_eq!(none[0], 80, "1,000 ms is edge 80");
    for (case, values, edge) in table {
        let mut watch = Watch::new(with_latency);
        watch.run(90, 90, &|query, start_s, now_s| match query.quantity {
            Quantity::LatencyQuantile(_) => values.get(usize::try_from(start_s / 60 + 60).unwrap()).copied(),
            _ => healthy(query, start_s, now_s),
        });
        let expected = Thresholds { body: [edge; 7], q90: edge, q99: edge };
        assert_eq!(watch.analysis.thresholds, Some(expected), "{case}");
    }
}

#[test]
fn evidence_begins_anew_after_a_shared_incident() {
    let bad_until = |end_s: i64| {
        move |query: &SeriesQuery, start_s: i64, _: i64| {
            share_of(query, 300.0, if start_s < end_s { 0.5 } else { 0.001 })
        }
    };
    let mut watch = Watch::new(|setup| setup.objective = Objective::new(0.999));
    watch.run(20, 330, &bad_until(330));
    assert!(watch.result().verdict.is_some() && watch.result().burning.is_some());
    watch.analysis.begin_anew(second(340));
    let fresh = watch.analysis.clone();
    watch.analysis.begin_anew(second(340));
    assert_eq!(watch.analysis, fresh, "the same incident again changes nothing");
    watch.analysis.begin_anew(second(100));
    assert_eq!(watch.analysis, fresh, "an older one neither");
    for now_s in (340..=1200).step_by(10) {
        watch.tick(now_s, &bad_until(360));
        let is_anew = watch.asked.last() >= Some(&(390, Poll::Full));
        assert!(!is_anew || (watch.result().verdict.is_none() && watch.result().burning.is_none()), "{now_s}");
    }
    assert_eq!((&watch.result().verdict, &watch.result().burning), (&None, &None), "what came before is forgotten");
    assert!(watch.result().is_conclusive && watch.result().until == second(1140));
    assert_eq!(totals(&watch.analysis)[1].0, 0, "no bucket of the incident was judged");
    // And a version that is bad by itself is found again.
    let mut watch = Watch::new(|_| {});
    watch.run(20, 330, &bad_until(9999));
    watch.analysis.begin_anew(second(340));
    watch.run(340, 700, &bad_until(9999));
    assert!(watch.result().verdict.is_some());
}

#[test]
fn an_incident_that_was_over_before_the_first_look_is_not_judged() {
    let service = |query: &SeriesQuery, start_s: i64, _: i64| {
        share_of(query, 60.0, if (0..120).contains(&start_s) { 0.9 } else { 0.001 })
    };
    let mut watch = Watch::new(|_| {});
    watch.run(20, 80, &service);
    watch.analysis.begin_anew(second(85));
    watch.run(90, 900, &service);
    assert_eq!(watch.result().verdict, None);
    assert_eq!(totals(&watch.analysis)[1].0, 0);
    assert_eq!(watch.result().until, second(840));
}

#[test]
fn a_watcher_that_was_away_judges_what_it_missed() {
    // (case, seconds without any reading, errors of the new version meanwhile, worse)
    let table = [
        ("a minute, healthy", 60, 0.001, false),
        ("ten minutes, healthy", 600, 0.001, false),
        ("two hours, healthy", 7200, 0.001, false),
        ("ten minutes, bad meanwhile", 600, 0.3, true),
        ("two hours, bad until now", 7200, 0.3, true),
    ];
    for ((case, away_s, errors, is_worse), has_all) in table.into_iter().flat_map(|row| [(row, false), (row, true)]) {
        let service = |query: &SeriesQuery, start_s: i64, _: i64| match (query.side, query.quantity) {
            (Scope::All, Quantity::Errors) if start_s >= 300 => Some(f64::round(600.0 * errors)),
            _ => share_of(query, 60.0, if start_s >= 300 { errors } else { 0.001 }),
        };
        let mut watch = Watch::new(|setup| setup.enforcing.push(Signal::Availability));
        watch.run(20, 230, &service);
        if has_all {
            watch.sees(235, 1.0);
        }
        watch.run(240, 330, &service);
        let back_s = 330 + away_s;
        watch.run(back_s, back_s + 200, &service);
        assert_eq!(watch.result().verdict.is_some(), is_worse, "{case}, {has_all}: {:?}", watch.result().verdict);
        assert!(watch.analysis.recent.len() <= 512, "{case}");
    }
}

#[test]
fn found_late_the_first_buckets_are_judged_together() {
    // (case, seconds of the shift before anybody polled, errors, worse)
    let table = [
        ("five minutes, healthy", 300, 0.001, false),
        ("five minutes, bad", 300, 0.3, true),
        ("forty minutes, healthy", 2400, 0.001, false),
        ("forty minutes, bad", 2400, 0.3, true),
    ];
    for (case, late_s, errors, is_worse) in table {
        let mut watch = Watch::new(|setup| setup.enforcing.push(Signal::Availability));
        watch.spec.weights = vec![(second(late_s), 0.1)];
        watch.run(late_s, late_s + 200, &|query, _, _| share_of(query, 60.0, errors));
        assert_eq!(watch.result().verdict.is_some(), is_worse, "{case}: {:?}", watch.result().verdict);
    }
}

#[test]
fn found_late_after_a_step_nobody_knows_the_weights_of() {
    // A tenth of the traffic until 600, all of it from then on; found at 700. A healthy version must not look starved.
    let service = |query: &SeriesQuery, start_s: i64, now_s: i64| match (query.side, start_s) {
        (Scope::Canary, 600..) => share_of(query, 600.0, 0.001),
        (Scope::Baseline, 600..) => None,
        (Scope::Baseline | Scope::Canary | Scope::All, _) => healthy(query, start_s, now_s),
    };
    let mut watch = Watch::new(|setup| setup.enforcing.push(Signal::Availability));
    watch.spec.weights = vec![(second(700), 1.0)];
    watch.run(700, 1300, &service);
    assert_eq!(watch.result().verdict, None);
    assert_eq!(watch.result().until, second(1260));
}

/// The next of a row of numbers that looks random. Source: Steele, Lea and Flood 2014, SplitMix64.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[test]
fn a_watcher_that_crashed_comes_to_the_same_verdict() {
    for seed in 0..60_u64 {
        let mut dice = seed;
        let errors = [0.001, 0.001, 0.15, 0.5][usize::try_from(next(&mut dice) % 4).unwrap()];
        let late = 1 + i64::try_from(next(&mut dice) % 50).unwrap();
        let service = |query: &SeriesQuery, start_s: i64, now_s: i64| {
            let value = share_of(query, 60.0, errors)?;
            // Every fifth bucket still grows for a while.
            let is_growing = start_s.rem_euclid(300) == 0 && now_s < start_s + 100 + late && is_requests(query);
            Some(if is_growing { value - 1.0 } else { value })
        };
        let mut steady = Watch::new(|_| {});
        steady.run(20, 1500, &service);
        let mut crashing = Watch::new(|_| {});
        let mut stored = crashing.analysis.clone();
        for now_s in (20..=1500).step_by(10) {
            if next(&mut dice).is_multiple_of(7) {
                // Only what a look stored is there afterwards.
                crashing.analysis = stored.clone();
                continue;
            }
            crashing.tick(now_s, &service);
            if crashing.asked.last().is_some_and(|(at_s, poll)| *at_s == now_s && *poll == Poll::Full) {
                stored = crashing.analysis.clone();
            }
        }
        crashing.tick(1510, &service);
        let why =
            |watch: &Watch| watch.result().verdict.as_ref().map(|finding| (finding.signal, finding.is_concurrent));
        assert_eq!(why(&crashing), why(&steady), "seed {seed}");
        assert_eq!(why(&steady).is_some(), errors > 0.01, "seed {seed}");
        if errors < 0.01 {
            let (a, b) = (totals(&crashing.analysis)[1], totals(&steady.analysis)[1]);
            assert!(a.1.abs_diff(b.1) <= 120, "seed {seed}: the same requests but for the last bucket: {a:?} {b:?}");
        }
    }
}

#[test]
fn what_is_on_record_is_judged_without_a_reading() {
    let service = |query: &SeriesQuery, _: i64, _: i64| share_of(query, 60.0, 0.4);
    let mut watch = Watch::new(|_| {});
    let spec = watch.spec();
    assert_eq!(watch.analysis.standing(&spec, second(100)), None, "nothing was read yet");
    watch.run(20, 330, &service);
    let before = watch.analysis.clone();
    let standing = watch.analysis.standing(&spec, second(335)).unwrap();
    assert_eq!(standing.verdict, watch.result().verdict);
    assert_eq!(standing.until, watch.result().until);
    assert_eq!(watch.analysis, before);
}

#[test]
fn a_bake_that_is_held_is_judged_beyond_its_end() {
    let mut watch = Watch::new(|_| {});
    watch.sees(60, 1.0);
    watch.spec.ends_at = second(300);
    watch.run(80, 900, &healthy);
    assert_eq!(watch.result().until, second(840));
}

#[test]
fn a_wild_clock_judges_nothing_and_breaks_nothing() {
    for now_s in [-86_400, -1, 86_400 * 30, 3_000_000_000, i64::MAX / 2000, i64::MIN / 2000] {
        let mut watch = Watch::new(with_latency);
        watch.run(20, 150, &healthy);
        let now = Timestamp::from_ms(now_s.saturating_mul(1000));
        let spec = watch.spec();
        if let Some(query) = watch.analysis.query(&spec, now) {
            let days = query.window.to.since(query.window.from).as_secs() / 86_400;
            assert!(days < 1, "{now_s}: a window of {days} days");
            let none: Vec<SeriesResult> = query.queries().map(|_| Ok(Points::new())).collect();
            let taken = watch.analysis.clone().answer(&spec, &query, &none, now).unwrap();
            assert_eq!(taken.result.and_then(|judged| judged.verdict), None, "{now_s}");
        }
    }
}

#[test]
fn other_edges_are_asked_as_they_are() {
    // The middle 90th percentile of the past is 120 ms: the nearest edge is 100 ms, and what lies above it 250 ms.
    let buckets = vec![5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0];
    let edges = Edges::new(buckets.clone()).unwrap();
    let mut watch = Watch::new(|setup| {
        with_latency(setup);
        setup.latency.edges = Some(edges);
    });
    watch.run(20, 140, &healthy);
    let expected = Thresholds { body: [3, 3, 3, 4, 4, 4, 4], q90: 4, q99: 4 };
    assert_eq!(watch.analysis.thresholds, Some(expected), "50 and 100 ms");
    let query = watch.analysis.query(&watch.spec(), second(150)).unwrap();
    let edges = query.queries().filter_map(|query| match query.quantity {
        Quantity::LatenciesUpTo(ms) => Some((query.side, ms)),
        _ => None,
    });
    let edges: Vec<(Scope, f64)> = edges.collect();
    assert!(edges.iter().all(|(_, ms)| buckets.contains(ms)), "{edges:?}");
    let expected = [
        (Scope::Baseline, [50.0, 100.0].as_slice()),
        // The tails, shifted up at least by what is meant.
        (Scope::Canary, &[50.0, 100.0, 250.0]),
    ];
    let expected = expected.iter().flat_map(|(side, edges)| edges.iter().map(|ms| (*side, *ms)));
    assert_eq!(edges, expected.collect::<Vec<_>>());
}

#[test]
fn what_a_late_source_shows_is_not_final_before_it_is() {
    let delay = IngestionDelay::new(Duration::from_secs(120)).unwrap();
    let mut watch = Watch::new(|setup| setup.judge = setup.judge.with_ingestion_delay(delay));
    for now_s in 0..=400 {
        watch.tick(now_s, &healthy);
        let newest = watch.given().iter().map(|(_, start_s, _)| second(*start_s).ms()).max();
        assert!(newest.is_none_or(|start| start + 60_000 + 120_000 <= second(now_s).ms()), "{now_s}");
    }
    assert_eq!(watch.result().until, second(240), "and then it is judged");
}

#[test]
fn an_analysis_that_begins_anew_says_so_and_judges_everything_again() {
    let service = |query: &SeriesQuery, _: i64, _: i64| share_of(query, 60.0, 0.3);
    let mut watch = Watch::new(|_| {});
    watch.run(20, 330, &service);
    let before = watch.result().clone();
    assert!(before.verdict.is_some() && !before.is_restarted);
    watch.analysis = Analysis::restarted(&watch.spec);
    watch.run(340, 400, &service);
    let after = watch.result();
    assert!(after.verdict.is_some() && after.is_restarted && after.until > before.until, "{after:?}");
}

#[test]
fn an_analysis_of_other_edges_or_another_start_cannot_be_used() {
    let mut watch = Watch::new(with_latency);
    watch.run(20, 330, &healthy);
    assert!(watch.analysis.is_sound(&watch.spec));
    let mut few = watch.spec();
    few.latency = Some(SourceProfile { edges: Some(Edges::new(vec![100.0, 200.0]).unwrap()), ..split() });
    let mut later = watch.spec();
    later.origin = second(60);
    assert!(!watch.analysis.is_sound(&few) && !watch.analysis.is_sound(&later));
}

#[test]
fn what_is_kept_judges_the_deployment_again_to_the_last_digit() {
    let bad = |query: &SeriesQuery, start_s: i64, _: i64| share_of(query, 60.0, if start_s >= 180 { 0.2 } else { 0.0 });
    let slow = |query: &SeriesQuery, start_s: i64, _: i64| {
        let value = healthy(query, start_s, 0)?;
        let is_slow = query.side == Scope::Canary && matches!(query.quantity, Quantity::LatenciesUpTo(_));
        Some(if is_slow { (value / 2.0).round() } else { value })
    };
    let late = |query: &SeriesQuery, start_s: i64, now_s: i64| {
        let grown = if now_s >= start_s + 150 && is_requests(query) { 5.0 } else { 0.0 };
        Some(share_of(query, 60.0, 0.02)? + grown)
    };
    let alone = |setup: &mut Setup| setup.errors = Some(SourceProfile { is_split: false, is_whole: true, ..split() });
    let both = |setup: &mut Setup| setup.advisory = vec![Signal::Latency];
    type Case<'a> = (&'a str, fn(&mut Setup), Service<'a>, bool);
    let cases: [Case<'_>; 6] = [
        ("healthy", with_latency, &healthy, false),
        ("errors after some minutes", with_latency, &bad, false),
        ("slower, which may only tell", both, &slow, false),
        ("counts that grow", with_latency, &late, false),
        ("errors counted of both together", alone, &bad, false),
        ("an incident in between", with_latency, &bad, true),
    ];
    for (case, change, service, has_incident) in cases {
        let mut watch = Watch::new(change);
        watch.run(20, 320, service);
        watch.sees(321, 1.0);
        watch.run(330, 380, service);
        if has_incident {
            watch.analysis.begin_anew(second(380));
        }
        watch.run(390, 900, service);
        let said = |of: fn(&JudgedPoll) -> Option<Said>| watch.polls.iter().filter_map(of).collect::<Vec<_>>();
        let (enforcing, advisory) = (said(|poll| poll.enforcing), said(|poll| poll.advisory));
        assert!(enforcing.len() > 10 && enforcing.last().unwrap().log_e[0].is_some(), "{case}");
        assert_eq!(watch.replay(true), enforcing, "{case}");
        assert_eq!(watch.replay(false), advisory, "{case}");
        assert_eq!(advisory.is_empty(), case != "slower, which may only tell");
    }
}

#[test]
fn what_was_found_late_is_judged_again_from_there_on() {
    let bad = |query: &SeriesQuery, _: i64, _: i64| share_of(query, 60.0, 0.05);
    let mut watch = Watch::new(|_| {});
    watch.spec.weights = vec![(second(200), 0.1)];
    watch.run(200, 600, &bad);
    let froms: Vec<f64> = watch.polls.iter().map(|poll| poll.from_s).collect();
    assert_eq!(froms.first(), Some(&200.0), "nobody knows its weight before that: {froms:?}");
    assert!(watch.given().iter().any(|(_, start_s, _)| *start_s < 200), "earlier minutes were read, and not judged");
    let said: Vec<Said> = watch.polls.iter().filter_map(|poll| poll.enforcing).collect();
    assert_eq!(watch.replay(true), said);
}
