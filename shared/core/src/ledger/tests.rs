//! What is asked and when, what the answers mean, and that nothing wrong gets in.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

use super::*;
use crate::canary::{Share, Slow};
use crate::deployment::{Bake, Incident, Record};
use crate::example::{compared, record, second};
use crate::judged::Finding;
use crate::lifecycle::{Exposure, Phase};
use crate::measure::{Api, ApiCount, Ask, Measure, Scope, Source};
use crate::policy::{Settings, SignalPolicy};
use crate::sla::Objective;
use crate::words::{Cause, Mode, Outcome};
use std::collections::BTreeMap;

/// What CloudWatch shows of one series: the ask, the bucket's start in seconds, the time of the reading in seconds.
type Service<'a> = &'a dyn Fn(&Ask, i64, i64) -> Option<f64>;

fn is_version(ask: &Ask, version: &str) -> bool {
    ask.scope == Scope::Version(version.to_owned())
}

/// 600 requests a minute, a tenth of them for version 2, 0.1 % fail, durations around 80 ms.
fn healthy(ask: &Ask, _start_s: i64, _now_s: i64) -> Option<f64> {
    share_of(ask, 60.0, 0.001)
}

/// 600 requests a minute, `canary` of them for version 2 while it has a part of the traffic; of its requests `errors` fail.
fn share_of(ask: &Ask, canary: f64, errors: f64) -> Option<f64> {
    let (requests, errors) = match &ask.scope {
        Scope::Alias => (600.0, 0.001),
        Scope::Version(version) if version == "1" => (600.0 - canary, 0.001),
        Scope::Version(_) => (canary, errors),
    };
    Some(match &ask.measure {
        Measure::Invocations | Measure::Durations => requests,
        Measure::FunctionErrors => (requests * errors).round(),
        Measure::DurationsUpTo(ms) => (requests * if *ms >= 200.0 { 0.99 } else { 0.6 }).round(),
        Measure::DurationPercentile(percent) => f64::from(*percent) + 30.0,
        Measure::Custom(_) | Measure::Api(..) => 0.0,
    })
}

fn answers(question: &Question, now_s: i64, service: Service<'_>) -> Vec<Answer> {
    let period_s = i64::try_from(question.window.period.as_secs()).unwrap();
    let at = |time: Timestamp| (time.ms() - second(0).ms()) / 1000;
    let starts: Vec<i64> =
        (0..).map(|n| at(question.window.from) + n * period_s).take_while(|s| *s < at(question.window.to)).collect();
    let points = |ask: &Ask| starts.iter().filter_map(|s| Some((second(*s), service(ask, *s, now_s)?))).collect();
    question.asks().map(|ask| Ok(points(ask))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Kind {
    Glance,
    Percentiles,
    History,
    Look,
}

fn kind(question: &Question, origin: Timestamp) -> Kind {
    let measures: Vec<&Measure> = question.asks().map(|ask| &ask.measure).collect();
    if measures.iter().any(|measure| matches!(measure, Measure::DurationPercentile(_))) {
        Kind::Percentiles
    } else if question.window.to <= origin {
        Kind::History
    } else if measures.iter().all(|measure| **measure == Measure::Invocations) {
        Kind::Glance
    } else {
        Kind::Look
    }
}

/// A watcher: the ledger, and everything that came of it so far.
struct Watch {
    record: Record,
    ledger: Ledger,
    judged: Option<Judged>,
    series: Vec<SeriesPoint>,
    asked: Vec<(i64, Kind)>,
}

impl Watch {
    fn of(record: Record) -> Self {
        let ledger = Ledger::new(&Subject::of(&record).unwrap());
        Self { record, ledger, judged: None, series: Vec::new(), asked: Vec::new() }
    }

    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(record(change))
    }

    fn subject(&self) -> Subject {
        Subject::of(&self.record).unwrap()
    }

    /// One tick: everything that is due.
    fn tick(&mut self, now_s: i64, service: Service<'_>) {
        let (subject, now) = (self.subject(), second(now_s));
        for round in 0.. {
            assert!(round < 4, "too many questions at {now_s}");
            let Some(question) = self.ledger.question(&subject, now) else { return };
            self.asked.push((now_s, kind(&question, subject.origin)));
            let taken =
                self.ledger.clone().answer(&subject, &question, &answers(&question, now_s, service), now).unwrap();
            self.ledger = taken.ledger;
            self.judged = taken.judged.or(self.judged.take());
            self.series.extend(taken.series);
        }
    }

    fn run(&mut self, from_s: i64, to_s: i64, service: Service<'_>) {
        for now_s in (from_s..=to_s).step_by(10) {
            self.tick(now_s, service);
        }
    }

    /// The version has all traffic from here on, as far as anybody saw.
    fn sees(&mut self, at_s: i64, share: f64) {
        self.record.deployment.weights.push((second(at_s), share));
    }

    fn points(&self, signal: Signal) -> Vec<(Side, i64, bool, u64)> {
        let points = self.series.iter().filter(|point| point.signal == signal);
        points.map(|p| (p.side, (p.start.ms() - second(0).ms()) / 1000, p.is_growth, p.counts.requests)).collect()
    }

    fn judged(&self) -> &Judged {
        self.judged.as_ref().unwrap()
    }
}

fn with_latency(settings: &mut Settings) {
    settings.signals.insert(Signal::Latency, compared(&[]));
}

#[test]
fn percentiles_then_history_then_a_look_and_a_glance_one_tick_before() {
    use Kind::{Glance, History, Look, Percentiles};
    let mut watch = Watch::new(with_latency);
    for now_s in 12..=300 {
        watch.tick(now_s, &healthy);
    }
    let expected = [
        (80, Glance),
        (90, Percentiles),
        (90, History),
        (90, Look),
        (140, Glance),
        (150, Look),
        (200, Glance),
        (210, Look),
        (260, Glance),
        (270, Look),
    ];
    assert_eq!(watch.asked, expected);
    let mut watch = Watch::new(|_| {});
    watch.tick(95, &healthy);
    assert_eq!(watch.asked, [(95, History), (95, Look)], "without latency no percentiles");
}

#[test]
fn the_times_follow_bucket_settle_and_tick() {
    type Row = (&'static str, fn(&mut Settings), &'static [(i64, Kind)]);
    let table: [Row; 4] = [
        (
            "a long tick",
            |s| s.tick = Duration::from_secs(30),
            &[(60, Kind::Glance), (90, Kind::History), (90, Kind::Look)],
        ),
        (
            "a tick of a bucket: no glance",
            |s| s.tick = Duration::from_secs(60),
            &[(90, Kind::History), (90, Kind::Look)],
        ),
        (
            "ten-second buckets: the look before is the first reading",
            |s| {
                s.judge.bucket = Duration::from_secs(10);
                s.judge.settle = Duration::from_secs(20);
            },
            &[(40, Kind::History), (40, Kind::Look), (50, Kind::Look), (60, Kind::Look), (70, Kind::Look)],
        ),
        ("a longer settle", |s| s.judge.settle = Duration::from_secs(40), &[(90, Kind::Glance)]),
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
fn nothing_is_asked_outside_shift_and_bake() {
    type Row = (&'static str, fn(&mut Record), bool);
    let table: [Row; 9] = [
        ("in the shift", |_| {}, true),
        ("in the bake", |r| r.deployment.phase = Phase::InBake, true),
        ("before traffic", |r| r.deployment.phase = Phase::BeforeTraffic, false),
        ("refused", |r| r.deployment.phase = Phase::Refused, false),
        ("going back", |r| r.deployment.phase = Phase::GoingBack(Exposure::Shift), false),
        ("over", |r| r.deployment.phase = Phase::Closed(Outcome::Promoted), false),
        ("a return", |r| r.deployment.is_return = true, false),
        ("nobody knows when the shift began", |r| r.deployment.shift_started_at = None, false),
        ("alarms only", |r| *r = record(|s| s.signals.values_mut().for_each(|of| of.against_baseline = None)), false),
    ];
    for (case, change, is_watched) in table {
        let mut record = record(|_| {});
        change(&mut record);
        assert_eq!(Subject::of(&record).is_some(), is_watched, "{case}");
    }
    let objective = record(|s| {
        s.signals.clear();
        let objective = Objective::new(0.999);
        s.signals.insert(Signal::Sla, SignalPolicy { objective, ..SignalPolicy::of_alarms(Vec::new()) });
    });
    assert!(Subject::of(&objective).is_some(), "an objective alone needs the numbers too");
}

#[test]
fn the_service_s_past_is_asked_of_the_alias_and_not_of_an_earlier_deployment() {
    // (case, end of the last deployment in seconds, window of the history)
    let table = [
        ("an hour", None, -3600),
        ("the last deployment ended half an hour ago", Some(-1810), -1800),
        ("at the start of a bucket", Some(-1800), -1800),
        ("two hours ago", Some(-7200), -3600),
        ("just now: a history of nothing", Some(-5), 0),
    ];
    for (case, ended_s, from_s) in table {
        let mut watch = Watch::new(with_latency);
        watch.record.deployment.history_from = ended_s.map(second);
        let subject = watch.subject();
        let question = watch.ledger.question(&subject, second(90)).unwrap();
        assert_eq!((question.window.from, question.window.to), (second(from_s), second(0)), "{case}");
        assert!(question.asks().all(|ask| ask.scope == Scope::Alias), "{case}");
        watch.run(90, 600, &healthy);
        assert_eq!(watch.judged().verdict, None, "{case}: healthy");
        assert_eq!(watch.judged().until, second(540), "{case}: judged");
    }
}

#[test]
fn sides_change_with_the_observed_step() {
    use Side::{Baseline, Canary};
    let service = |ask: &Ask, start_s: i64, now_s: i64| match (&ask.scope, start_s) {
        // Versions report until their last request; the alias reports everything.
        (Scope::Version(version), 360..) if version == "1" => None,
        (Scope::Version(_) | Scope::Alias, _) => healthy(ask, start_s, now_s),
    };
    let by_version = |start_s| [(Baseline, start_s, false, 540), (Canary, start_s, false, 60)];
    let whole = |start_s| vec![(Canary, start_s, false, 600)];
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
        let points = watch.points(Signal::Availability);
        for (start_s, expected) in [240, 300, 360].into_iter().zip(expected) {
            let of: Vec<_> = points.iter().copied().filter(|point| point.1 == start_s).collect();
            assert_eq!(of, expected, "{case}: bucket {start_s}");
        }
    }
}

#[test]
fn scopes_that_are_asked_for() {
    let scopes = |watch: &Watch, now_s: i64| {
        let question = watch.ledger.question(&watch.subject(), second(now_s)).unwrap();
        assert_eq!(kind(&question, second(0)), Kind::Look);
        let mut scopes: Vec<Scope> = question.asks().map(|ask| ask.scope.clone()).collect();
        scopes.dedup();
        scopes
    };
    let [one, two] = ["1", "2"].map(|version| Scope::Version(version.to_owned()));
    let mut watch = Watch::new(|_| {});
    watch.run(20, 320, &healthy);
    assert_eq!(scopes(&watch, 330), [one.clone(), two.clone()], "by version in the shift");
    watch.sees(325, 1.0);
    watch.run(330, 440, &healthy);
    assert_eq!(scopes(&watch, 450), [Scope::Alias, one, two], "around the step both");
    watch.run(450, 1200, &healthy);
    assert_eq!(scopes(&watch, 1230), [Scope::Alias], "long after it the alias alone");
}

#[test]
fn the_canary_s_latency_thresholds_are_shifted() {
    // The middle 90th percentile of the past is 120 ms: the nearest edge is 2^(55/8) = 117.4 ms.
    let edge = |k: i32| 2_f64.powf(f64::from(k) / 8.0);
    let thresholds = |watch: &Watch, now_s: i64, scope: &Scope| -> Vec<f64> {
        let question = watch.ledger.question(&watch.subject(), second(now_s)).unwrap();
        let of = question.asks().filter(|ask| ask.scope == *scope);
        of.filter_map(|ask| if let Measure::DurationsUpTo(ms) = ask.measure { Some(ms) } else { None }).collect()
    };
    let [one, two] = ["1", "2"].map(|version| Scope::Version(version.to_owned()));
    let mut watch = Watch::new(with_latency);
    watch.run(20, 140, &healthy);
    assert_eq!(watch.ledger.thresholds, Some([51, 55, 56]), "80, 120 and 129 ms");
    assert_eq!(thresholds(&watch, 150, &one), [edge(51), edge(55), edge(56)], "the old version is not shifted");
    assert_eq!(thresholds(&watch, 150, &two), [55, 59, 60].map(edge), "all its traffic is young");
    watch.run(150, 200, &healthy);
    assert_eq!(thresholds(&watch, 210, &two), [55, 52, 59, 56, 60, 57].map(edge), "the bucket at 120 is not");
    watch.run(210, 1040, &healthy);
    assert_eq!(thresholds(&watch, 1050, &two), [52, 56, 57].map(edge), "settled traffic");
    watch.sees(1045, 1.0);
    watch.run(1050, 1900, &healthy);
    assert_eq!(thresholds(&watch, 1950, &Scope::Alias), [53, 57, 58].map(edge), "against the past");
}

fn custom(version: Option<&str>, client_errors: Option<&str>) -> Source {
    Source::Custom {
        namespace: "Shop".to_owned(),
        all: "Requests".to_owned(),
        bad: "Failed".to_owned(),
        client_errors: client_errors.map(str::to_owned),
        dimensions: BTreeMap::new(),
        version: version.map(str::to_owned),
    }
}

fn api() -> Source {
    Source::Api(Api::Http { id: "a1b2".to_owned(), stage: "live".to_owned() })
}

/// `new` bucket of each side that comes from `service`: by version while `seen` is `None`, of the alias from then on.
fn counts_of(change: impl FnOnce(&mut Settings), has_all: bool, service: Service<'_>) -> Vec<(Side, Counts)> {
    let mut watch = Watch::new(change);
    if has_all {
        watch.record.deployment.weights = vec![(second(-20), 0.0), (second(0), 1.0)];
    }
    watch.run(80, 90, service);
    let mut sides: BTreeMap<Side, Counts> = BTreeMap::new();
    for recent in watch.ledger.recent.iter().filter(|recent| recent.start_s == 0) {
        sides.insert(recent.side, recent.given.unwrap());
    }
    sides.into_iter().collect()
}

fn share(bad: u64, all: u64) -> Option<Share> {
    Some(Share::new(bad, all).unwrap())
}

#[test]
fn answers_become_error_counts() {
    /// Requests 100 (version 2: 20), 3 function errors, 5 failed by the team's count, the API has 1,000 requests, 40 with 5xx.
    fn shows(ask: &Ask) -> Option<f64> {
        match &ask.measure {
            Measure::Invocations if is_version(ask, "2") => Some(20.0),
            Measure::Invocations => Some(100.0),
            Measure::FunctionErrors => Some(3.0),
            Measure::Custom(series) if series.name == "Failed" => Some(5.0),
            Measure::Custom(_) => Some(7.0),
            Measure::Api(_, ApiCount::Requests) => Some(1000.0),
            Measure::Api(_, ApiCount::ServerErrors) => Some(40.0),
            Measure::Api(_, ApiCount::ClientErrors) => Some(60.0),
            Measure::Durations | Measure::DurationsUpTo(_) | Measure::DurationPercentile(_) => None,
        }
    }
    fn no_errors(ask: &Ask) -> Option<f64> {
        if ask.measure == Measure::Invocations { shows(ask) } else { None }
    }
    fn too_many(ask: &Ask) -> Option<f64> {
        if ask.measure == Measure::Invocations { shows(ask) } else { Some(5000.0) }
    }
    type Row = (&'static str, Option<Source>, bool, fn(&Ask) -> Option<f64>, Vec<(Option<Share>, Option<Share>)>);
    let table: Vec<Row> = vec![
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
            Some(custom(Some("Version"), Some("Refused"))),
            false,
            shows,
            vec![(share(8, 100), share(7, 100)), (share(8, 20), share(7, 20))],
        ),
        (
            "a split source without 4xx",
            Some(custom(Some("Version"), None)),
            false,
            shows,
            vec![(share(8, 100), None), (share(8, 20), None)],
        ),
        (
            "a source that is not split says nothing of one version",
            Some(custom(None, Some("Refused"))),
            false,
            shows,
            vec![(share(3, 100), None), (share(3, 20), None)],
        ),
        (
            "a source that is not split, all traffic",
            Some(custom(None, Some("Refused"))),
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
        ("an API, all traffic", Some(api()), true, shows, vec![(share(40, 1000), share(60, 1000))]),
        ("an API without requests is no evidence", Some(api()), true, no_errors, vec![(share(0, 0), share(0, 100))]),
    ];
    for (case, source, has_all, shows, expected) in table {
        let set = |settings: &mut Settings| settings.signals.get_mut(&Signal::Errors).unwrap().source = source;
        let found = counts_of(set, has_all, &|ask, _, _| shows(ask));
        let found: Vec<_> = found.into_iter().map(|(_, counts)| (counts.e5, counts.e4)).collect();
        assert_eq!(found, expected, "{case}");
    }
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
        let service = |ask: &Ask, _: i64, _: i64| match ask.measure {
            Measure::Durations => durations,
            Measure::DurationsUpTo(_) => quick,
            Measure::DurationPercentile(_) => Some(80.0),
            Measure::Invocations | Measure::FunctionErrors | Measure::Custom(_) | Measure::Api(..) => Some(100.0),
        };
        let found = counts_of(with_latency, false, &service);
        let of = |side: Side| found.iter().find(|(of, _)| *of == side).unwrap().1.slow[1].unwrap();
        let slow = Some(slow);
        assert_eq!(of(Side::Baseline), Slow { all, above: [slow, None, None, None] }, "{case}");
        assert_eq!(
            of(Side::Canary),
            Slow { all, above: [None, None, None, slow] },
            "{case}: cold starts, four edges up"
        );
    }
}

#[test]
fn answers_become_transaction_counts() {
    let service = |ask: &Ask, start_s: i64, now_s: i64| match &ask.measure {
        Measure::Custom(series) if series.name == "Requests" => Some(50.0),
        Measure::Custom(_) => Some(4.0),
        Measure::Invocations
        | Measure::FunctionErrors
        | Measure::Durations
        | Measure::DurationsUpTo(_)
        | Measure::DurationPercentile(_)
        | Measure::Api(..) => healthy(ask, start_s, now_s),
    };
    // (case, name of the version's dimension, all traffic, transactions by side)
    let table = [
        ("split", Some("Version"), false, vec![share(4, 50), share(4, 50)]),
        ("not split, by version", None, false, vec![None, None]),
        ("not split, all traffic", None, true, vec![share(4, 50)]),
    ];
    for (case, version, has_all, expected) in table {
        let set = |settings: &mut Settings| {
            let of = SignalPolicy { source: Some(custom(version, None)), ..compared(&[]) };
            settings.signals.insert(Signal::Transactions, of);
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
        ("glance and look agree", 3, &[(80, 100.0), (90, 100.0)], Some(90)),
        (
            "it grew; at the next look grace is over",
            3,
            &[(80, 90.0), (90, 100.0), (140, 110.0), (150, 120.0)],
            Some(150),
        ),
        (
            "seen for the first time by the look, then the same",
            3,
            &[(90, 100.0), (140, 100.0), (150, 100.0)],
            Some(150),
        ),
        (
            "a slow function has a longer grace",
            120,
            &[(80, 90.0), (90, 95.0), (140, 99.0), (150, 100.0), (200, 101.0), (210, 102.0), (260, 103.0)],
            Some(270),
        ),
        ("a slow function whose readings agree", 120, &[(80, 100.0), (90, 100.0)], Some(90)),
        (
            "grace is at most five minutes",
            900,
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
        ("no datapoint at all", 3, &[], None),
    ];
    for (case, timeout_s, readings, comes_s) in table {
        let mut watch = Watch::new(|_| {});
        watch.record.deployment.function_timeout = Some(Duration::from_secs(timeout_s));
        let mut came_s = None;
        for now_s in (80..=400).step_by(10) {
            let shown = readings.iter().rev().find(|(at_s, _)| *at_s <= now_s).map(|(_, value)| *value);
            let grows = readings.len() > 4 && now_s > 200;
            let shown = shown
                .map(|value| if grows { value + f64::from(i32::try_from(now_s).unwrap()) / 1000.0 } else { value });
            watch.tick(now_s, &|ask, start_s, now_s| match (start_s, &ask.measure) {
                (..0, _) => healthy(ask, start_s, now_s),
                (0, Measure::Invocations) => shown,
                (0, _) => Some(0.0),
                (_, _) => None,
            });
            came_s = came_s.or((!watch.series.is_empty()).then_some(now_s));
        }
        assert_eq!(came_s, comes_s, "{case}");
    }
}

#[test]
fn the_detectors_are_those_of_the_policy_but_for_the_waits_of_a_slow_function() {
    // (case, time-out in seconds, waits of the detectors in seconds when they are not the policy's)
    let table = [
        ("as long as a minute", Some(60), None),
        ("nobody knows", None, None),
        ("later than the policy waits for", Some(61), Some((121.0, 181.0))),
        ("at most five minutes", Some(900), Some((300.0, 300.0))),
    ];
    for (case, timeout_s, waits) in table {
        let mut record = record(|settings| {
            let advised = SignalPolicy { mode: Some(Mode::Advise), ..compared(&[]) };
            settings.signals.insert(Signal::Latency, advised);
        });
        record.deployment.function_timeout = timeout_s.map(Duration::from_secs);
        let subject = Subject::of(&record).unwrap();
        for decides in [true, false] {
            let of_policy = record.policy.detector(decides).unwrap();
            let expected = waits.map(|(grace_s, dark_s)| of_policy.with_waits(grace_s, dark_s).unwrap());
            assert_eq!(subject.settings(decides), expected.as_ref().or(Some(of_policy)), "{case}, {decides}");
        }
    }
}

#[test]
fn a_record_never_comes_before_its_bucket_has_settled() {
    for now_s in 60..90 {
        let mut watch = Watch::new(|_| {});
        watch.tick(now_s - 1, &healthy);
        watch.tick(now_s, &healthy);
        assert_eq!(watch.series, [], "{now_s}");
    }
}

/// The errors that the detector has counted of both versions: (bad, all) of the old one, (bad, all) of the new one.
fn totals(ledger: &Ledger) -> [(u64, u64); 2] {
    let evidence = &ledger.detector.as_ref().unwrap().rates[0].evidence;
    [(evidence.baseline.bad, evidence.baseline.all), (evidence.canary.bad, evidence.canary.all)]
}

#[test]
fn later_growth_goes_to_the_next_bucket() {
    // Bucket 0 shows 540 and 60 requests when it comes, 550 and 64 with two more errors a minute later, 65 after that.
    let service = |ask: &Ask, start_s: i64, now_s: i64| {
        let more = match (start_s, now_s, is_version(ask, "2"), &ask.measure) {
            (0, 150.., true, Measure::FunctionErrors) => 2.0,
            (0, 150..210, true, Measure::Invocations) => 4.0,
            (0, 210.., true, Measure::Invocations) => 5.0,
            (0, 150.., false, Measure::Invocations) => 10.0,
            _ => 0.0,
        };
        Some(share_of(ask, 60.0, 0.0)? + more)
    };
    let mut watch = Watch::new(|_| {});
    watch.run(80, 140, &service);
    let first = totals(&watch.ledger);
    assert_eq!((first[0].1, first[1]), (540, (0, 60)));
    watch.run(150, 150, &service);
    assert_eq!(watch.ledger.late, Late { baseline: None, canary: None }, "the bucket at 60 took it at once");
    let second = totals(&watch.ledger);
    assert_eq!((second[0].1, second[1]), (540 + 540 + 10, (2, 60 + 60 + 4)));
    watch.run(160, 210, &service);
    assert_eq!(totals(&watch.ledger)[1], (2, 60 + 60 + 4 + 60 + 1));
    let growth: Vec<_> = watch.points(Signal::Errors).into_iter().filter(|point| point.2).collect();
    assert_eq!(growth, [(Side::Baseline, 0, true, 10), (Side::Canary, 0, true, 4), (Side::Canary, 0, true, 1)]);
}

#[test]
fn growth_waits_when_no_bucket_comes() {
    // Bucket 0 grows at 150, but the bucket at 60 comes only at 210: it grew between glance and look.
    let service = |ask: &Ask, start_s: i64, now_s: i64| {
        let value = share_of(ask, 60.0, 0.0)?;
        let is_requests = ask.measure == Measure::Invocations;
        Some(match (start_s, now_s) {
            (0, 150..) if is_requests => value + 7.0,
            (60, ..150) if is_requests => value - 1.0,
            _ => value,
        })
    };
    let mut watch = Watch::new(|_| {});
    watch.run(80, 200, &service);
    let requests = |late: Option<Counts>| late.map(|counts| counts.requests);
    assert_eq!((requests(watch.ledger.late.baseline), requests(watch.ledger.late.canary)), (Some(7), Some(7)));
    watch.run(210, 210, &service);
    assert_eq!(watch.ledger.late, Late::default());
    // Buckets 0, 60 and 120 with what came late.
    assert_eq!(totals(&watch.ledger)[1].1, 60 + 60 + 60 + 7);
}

#[test]
fn a_late_error_of_a_counted_request_is_not_lost() {
    let service = |ask: &Ask, start_s: i64, now_s: i64| {
        let value = share_of(ask, 60.0, 0.0)?;
        let is_late = start_s == 0 && now_s >= 150 && is_version(ask, "2") && ask.measure == Measure::FunctionErrors;
        Some(if is_late { value + 3.0 } else { value })
    };
    let mut watch = Watch::new(|_| {});
    watch.run(80, 150, &service);
    assert_eq!(totals(&watch.ledger)[1].0, 3);
}

#[test]
fn less_than_before_is_no_growth() {
    let service = |ask: &Ask, start_s: i64, now_s: i64| {
        let value = share_of(ask, 60.0, 0.0)?;
        Some(if start_s == 0 && now_s >= 150 { (value - 30.0).max(0.0) } else { value })
    };
    let mut watch = Watch::new(|_| {});
    watch.run(80, 210, &service);
    assert_eq!(totals(&watch.ledger)[1].1, 180);
    assert!(watch.series.iter().all(|point| !point.is_growth));
}

#[test]
fn what_is_old_is_forgotten() {
    let mut watch = Watch::new(with_latency);
    watch.run(20, 7200, &healthy);
    let oldest = watch.ledger.recent.first().unwrap().start_s;
    assert!(watch.ledger.recent.len() <= 16, "{} buckets of two versions", watch.ledger.recent.len());
    assert!(oldest >= 7140 - 90 - 180 - 2 * 60 - 60, "oldest {oldest}");
    assert!(watch.ledger.recent.is_sorted_by_key(|recent| (recent.start_s, recent.side)));
    let subject = watch.subject();
    let question = watch.ledger.question(&subject, second(7290)).unwrap();
    assert!(question.window.to.since(question.window.from) <= Duration::from_secs(480), "{:?}", question.window);
}

#[test]
fn growth_of_a_bucket_that_was_forgotten_is_not_asked_for() {
    let mut watch = Watch::new(|_| {});
    watch.run(20, 1200, &healthy);
    let question = watch.ledger.question(&watch.subject(), second(1230)).unwrap();
    assert!(question.window.from > second(600));
}

#[test]
fn a_bad_version_is_found_and_a_healthy_one_is_not() {
    // (case, share of its requests that fail, share of the traffic, worse)
    let table = [("healthy", 0.001, false), ("a fifth fails", 0.2, true), ("all fail", 1.0, true)];
    for (case, errors, is_worse) in table {
        let mut watch = Watch::new(|_| {});
        watch.run(20, 600, &|ask, _, _| share_of(ask, 60.0, errors));
        let verdict = watch.judged().verdict.as_ref();
        assert_eq!(verdict.is_some(), is_worse, "{case}");
        if let Some(finding) = verdict {
            assert_eq!((finding.signal, finding.cause), (Some(Signal::Errors), Cause::Errors), "{case}");
            assert!(finding.is_concurrent && finding.is_sufficient && finding.alarms.is_empty(), "{case}: {finding:?}");
            assert_eq!(finding.impact_started_at, Some(second(0)), "{case}");
            assert!(finding.why.starts_with("version 2 is worse than version 1: "), "{case}: {}", finding.why);
        }
    }
}

#[test]
fn signals_that_may_only_tell_are_judged_apart() {
    // (case, mode of the policy, mode of the signal, verdict, advice)
    let table = [
        ("may roll back", Mode::Rollback, None, true, false),
        ("the signal only advises", Mode::Rollback, Some(Mode::Advise), false, true),
        ("the policy only advises", Mode::Advise, None, false, true),
        ("the policy only observes", Mode::Observe, None, false, true),
        ("the policy advises, the signal may", Mode::Advise, Some(Mode::Rollback), true, false),
    ];
    for (case, mode, signal, verdict, advice) in table {
        let mut watch = Watch::new(|settings| {
            settings.mode = mode;
            settings.signals.get_mut(&Signal::Errors).unwrap().mode = signal;
        });
        watch.run(20, 600, &|ask, _, _| share_of(ask, 60.0, 0.3));
        let found: [Option<&Finding>; 2] = [watch.judged().verdict.as_ref(), watch.judged().advice.as_ref()];
        assert_eq!(found.map(|finding| finding.is_some()), [verdict, advice], "{case}");
    }
}

#[test]
fn little_traffic_is_not_conclusive_and_much_is() {
    // (case, requests of the new version in a minute, conclusive after ten minutes)
    for (case, requests, is_conclusive) in [("much", 60.0, true), ("next to none", 0.2, false)] {
        let service = |ask: &Ask, start_s: i64, _: i64| {
            let is_there = !is_version(ask, "2") || requests >= 1.0 || start_s % 300 == 0;
            share_of(ask, if requests >= 1.0 { requests } else { 1.0 }, 0.0).filter(|_| is_there)
        };
        let mut watch = Watch::new(|_| {});
        watch.run(20, 900, &service);
        assert_eq!(watch.judged().is_conclusive, is_conclusive, "{case}");
        assert_eq!(watch.judged().verdict, None, "{case}");
    }
}

#[test]
fn an_objective_burns() {
    let mut watch = Watch::new(|settings| {
        settings.signals.clear();
        let objective = Objective::new(0.999);
        settings.signals.insert(Signal::Sla, SignalPolicy { objective, ..SignalPolicy::of_alarms(Vec::new()) });
    });
    watch.run(20, 300, &|ask, _, _| share_of(ask, 300.0, 0.3));
    let burning = watch.judged().burning.as_ref().unwrap();
    assert_eq!((burning.signal, burning.cause, burning.is_concurrent), (Some(Signal::Sla), Cause::Sla, false));
    assert!(burning.is_sufficient);
    assert_eq!(watch.judged().verdict, None);
    assert_eq!(watch.judged().until, second(240), "judged as far as it was given");
}

#[test]
fn an_objective_without_any_request_is_no_pass() {
    let mut watch = Watch::new(|settings| {
        settings.signals.clear();
        let objective = Objective::new(0.999);
        settings.signals.insert(Signal::Sla, SignalPolicy { objective, ..SignalPolicy::of_alarms(Vec::new()) });
    });
    watch.run(20, 600, &|_, _, _| None);
    assert!(!watch.judged().is_conclusive, "nobody used the new version");
    watch.run(610, 900, &healthy);
    assert!(watch.judged().is_conclusive);
}

#[test]
fn a_version_that_never_gets_traffic_is_no_pass() {
    let mut watch = Watch::new(|settings| {
        settings.signals.insert(Signal::Availability, compared(&[]));
    });
    watch.run(20, 600, &|ask, start_s, now_s| healthy(ask, start_s, now_s).filter(|_| start_s < 0));
    assert!(!watch.judged().is_conclusive, "nothing came of either version");
    let mut watch = Watch::new(|_| {});
    watch.run(20, 600, &|ask, _, _| share_of(ask, 0.0, 0.0).filter(|_| !is_version(ask, "2")));
    assert!(!watch.judged().is_conclusive, "nothing came of the new version");
    assert_eq!(watch.judged().verdict, None);
}

#[test]
fn the_same_answer_again_changes_nothing() {
    let service = |ask: &Ask, _: i64, _: i64| share_of(ask, 60.0, 0.05);
    let mut watch = Watch::new(with_latency);
    watch.run(20, 140, &service);
    let (subject, now) = (watch.subject(), second(150));
    let question = watch.ledger.question(&subject, now).unwrap();
    let answers = answers(&question, 150, &service);
    let once = watch.ledger.clone().answer(&subject, &question, &answers, now).unwrap();
    assert!(!once.series.is_empty());
    let twice = once.ledger.clone().answer(&subject, &question, &answers, now).unwrap();
    assert_eq!(twice.series, []);
    assert_eq!(twice.ledger, once.ledger);
    assert_eq!(twice.judged, once.judged);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut watch = Watch::new(with_latency);
    watch.run(20, 140, &healthy);
    let (subject, now) = (watch.subject(), second(150));
    let question = watch.ledger.question(&subject, now).unwrap();
    let good = answers(&question, 150, &healthy);
    let value = |value: f64| {
        let mut answers = good.clone();
        *answers[0].as_mut().unwrap().get_mut(&second(60)).unwrap() = value;
        answers
    };
    let unreadable = |why: &str| {
        let mut answers = good.clone();
        *answers.last_mut().unwrap() = Err(why.to_owned());
        answers
    };
    let count = question.len();
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
        ("one series is not complete", unreadable("PartialData"), "PartialData".to_owned()),
        ("one series is forbidden", unreadable("Forbidden"), "Forbidden".to_owned()),
    ];
    for (case, answers, expected) in table {
        let error = watch.ledger.clone().answer(&subject, &question, &answers, now).unwrap_err();
        assert!(error.starts_with(&expected), "{case}: {error}");
    }
    let zero = watch.ledger.clone().answer(&subject, &question, &value(0.0), now);
    assert!(zero.is_ok(), "no request is a count");
}

#[test]
fn points_outside_the_window_say_nothing() {
    let mut watch = Watch::new(|_| {});
    watch.run(20, 140, &healthy);
    let (subject, now) = (watch.subject(), second(150));
    let question = watch.ledger.question(&subject, now).unwrap();
    let plain = answers(&question, 150, &healthy);
    let mut odd = plain.clone();
    for points in odd.iter_mut().flatten() {
        // Before, between two buckets, the running minute, the future.
        for start_s in [-600, 61, 120, 180, 86_400] {
            points.insert(second(start_s), 5_000.0);
        }
    }
    let [plain, odd] =
        [plain, odd].map(|answers| watch.ledger.clone().answer(&subject, &question, &answers, now).unwrap());
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
        watch.run(90, 90, &|ask, start_s, now_s| match ask.measure {
            Measure::DurationPercentile(_) => values.get(usize::try_from(start_s / 60 + 60).unwrap()).copied(),
            Measure::Invocations
            | Measure::FunctionErrors
            | Measure::Durations
            | Measure::DurationsUpTo(_)
            | Measure::Custom(_)
            | Measure::Api(..) => healthy(ask, start_s, now_s),
        });
        assert_eq!(watch.ledger.thresholds, Some([edge; 3]), "{case}");
    }
}

#[test]
fn evidence_begins_anew_after_a_shared_incident() {
    let bad_until = |end_s: i64| {
        move |ask: &Ask, start_s: i64, _: i64| share_of(ask, 60.0, if start_s < end_s { 0.5 } else { 0.001 })
    };
    let mut watch = Watch::new(|settings| {
        let objective = Objective::new(0.999);
        settings.signals.insert(Signal::Sla, SignalPolicy { objective, ..SignalPolicy::of_alarms(Vec::new()) });
    });
    watch.run(20, 330, &bad_until(330));
    assert!(watch.judged().verdict.is_some() && watch.judged().burning.is_some());
    watch.ledger.begin_anew(second(340));
    let fresh = watch.ledger.clone();
    watch.ledger.begin_anew(second(340));
    assert_eq!(watch.ledger, fresh, "the same incident again changes nothing");
    watch.ledger.begin_anew(second(100));
    assert_eq!(watch.ledger, fresh, "an older one neither");
    for now_s in (340..=1200).step_by(10) {
        watch.tick(now_s, &bad_until(360));
        let is_anew = watch.asked.last() >= Some(&(390, Kind::Look));
        assert!(!is_anew || (watch.judged().verdict.is_none() && watch.judged().burning.is_none()), "{now_s}");
    }
    assert_eq!((&watch.judged().verdict, &watch.judged().burning), (&None, &None), "what came before is forgotten");
    assert!(watch.judged().is_conclusive && watch.judged().until == second(1140));
    assert_eq!(totals(&watch.ledger)[1].0, 0, "no bucket of the incident was judged");
    // And a version that is bad by itself is found again.
    let mut watch = Watch::new(|_| {});
    watch.run(20, 330, &bad_until(9999));
    watch.ledger.begin_anew(second(340));
    watch.run(340, 700, &bad_until(9999));
    assert!(watch.judged().verdict.is_some());
}

#[test]
fn an_incident_that_was_over_before_the_first_look_is_not_judged() {
    let service =
        |ask: &Ask, start_s: i64, _: i64| share_of(ask, 60.0, if (0..120).contains(&start_s) { 0.9 } else { 0.001 });
    let mut watch = Watch::new(|_| {});
    watch.run(20, 80, &service);
    watch.ledger.begin_anew(second(85));
    watch.run(90, 900, &service);
    assert_eq!(watch.judged().verdict, None);
    assert_eq!(totals(&watch.ledger)[1].0, 0);
    assert_eq!(watch.judged().until, second(840));
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
        let service = |ask: &Ask, start_s: i64, _: i64| match (&ask.scope, &ask.measure) {
            (Scope::Alias, Measure::FunctionErrors) if start_s >= 300 => Some(f64::round(600.0 * errors)),
            (Scope::Alias | Scope::Version(_), _) => share_of(ask, 60.0, if start_s >= 300 { errors } else { 0.001 }),
        };
        let mut watch = Watch::new(|settings| {
            settings.signals.insert(Signal::Availability, compared(&[]));
        });
        watch.run(20, 230, &service);
        if has_all {
            watch.sees(235, 1.0);
        }
        watch.run(240, 330, &service);
        let back_s = 330 + away_s;
        watch.run(back_s, back_s + 200, &service);
        assert_eq!(watch.judged().verdict.is_some(), is_worse, "{case}, {has_all}: {:?}", watch.judged().verdict);
        assert!(watch.ledger.recent.len() <= 512, "{case}");
    }
}

#[test]
fn found_late_the_first_buckets_are_judged_together() {
    // (case, seconds of the shift before anybody looked, errors, worse)
    let table = [
        ("five minutes, healthy", 300, 0.001, false),
        ("five minutes, bad", 300, 0.3, true),
        ("forty minutes, healthy", 2400, 0.001, false),
        ("forty minutes, bad", 2400, 0.3, true),
    ];
    for (case, late_s, errors, is_worse) in table {
        let mut record = record(|settings| {
            settings.signals.insert(Signal::Availability, compared(&[]));
        });
        record.deployment.registered_at = second(late_s);
        record.deployment.weights = vec![(second(late_s), 0.1)];
        let mut watch = Watch::of(record);
        watch.run(late_s, late_s + 200, &|ask, _, _| share_of(ask, 60.0, errors));
        assert_eq!(watch.judged().verdict.is_some(), is_worse, "{case}: {:?}", watch.judged().verdict);
    }
}

#[test]
fn found_late_after_a_step_nobody_knows_the_weights_of() {
    // A tenth of the traffic until 600, all of it from then on; found at 700. A healthy version must not look starved.
    let service = |ask: &Ask, start_s: i64, now_s: i64| match (&ask.scope, start_s) {
        (Scope::Version(version), 600..) => share_of(ask, 600.0, 0.001).filter(|_| version == "2"),
        (Scope::Version(_) | Scope::Alias, _) => healthy(ask, start_s, now_s),
    };
    let mut record = record(|settings| {
        settings.signals.insert(Signal::Availability, compared(&[]));
    });
    record.deployment.registered_at = second(700);
    record.deployment.weights = vec![(second(700), 1.0)];
    let mut watch = Watch::of(record);
    watch.run(700, 1300, &service);
    assert_eq!(watch.judged().verdict, None);
    assert_eq!(watch.judged().until, second(1260));
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
        let service = |ask: &Ask, start_s: i64, now_s: i64| {
            let value = share_of(ask, 60.0, errors)?;
            // Every fifth bucket still grows for a while.
            let is_growing =
                start_s.rem_euclid(300) == 0 && now_s < start_s + 100 + late && ask.measure == Measure::Invocations;
            Some(if is_growing { value - 1.0 } else { value })
        };
        let mut steady = Watch::new(|_| {});
        steady.run(20, 1500, &service);
        let mut crashing = Watch::new(|_| {});
        let mut stored = crashing.ledger.clone();
        for now_s in (20..=1500).step_by(10) {
            if next(&mut dice).is_multiple_of(7) {
                // Only what a look stored is there afterwards.
                crashing.ledger = stored.clone();
                continue;
            }
            crashing.tick(now_s, &service);
            if crashing.asked.last().is_some_and(|(at_s, kind)| *at_s == now_s && *kind == Kind::Look) {
                stored = crashing.ledger.clone();
            }
        }
        crashing.tick(1510, &service);
        let why = |watch: &Watch| watch.judged().verdict.as_ref().map(|finding| (finding.cause, finding.is_concurrent));
        assert_eq!(why(&crashing), why(&steady), "seed {seed}");
        assert_eq!(why(&steady).is_some(), errors > 0.01, "seed {seed}");
        if errors < 0.01 {
            let (a, b) = (totals(&crashing.ledger)[1], totals(&steady.ledger)[1]);
            assert!(a.1.abs_diff(b.1) <= 120, "seed {seed}: the same requests but for the last bucket: {a:?} {b:?}");
        }
    }
}

#[test]
fn what_is_on_record_is_judged_without_a_reading() {
    let service = |ask: &Ask, _: i64, _: i64| share_of(ask, 60.0, 0.4);
    let mut watch = Watch::new(|_| {});
    let subject = watch.subject();
    assert_eq!(watch.ledger.standing(&subject, second(100)), None, "nothing was read yet");
    watch.run(20, 330, &service);
    let before = watch.ledger.clone();
    let standing = watch.ledger.standing(&subject, second(335)).unwrap();
    assert_eq!(standing.verdict, watch.judged().verdict);
    assert_eq!(standing.until, watch.judged().until);
    assert_eq!(watch.ledger, before);
}

#[test]
fn a_bake_that_is_held_is_judged_beyond_its_end() {
    let mut watch = Watch::new(|_| {});
    watch.sees(60, 1.0);
    watch.record.deployment.phase = Phase::InBake;
    watch.record.deployment.bake = Some(Bake { started_at: second(70), ends_at: second(300) });
    watch.record.deployment.incident =
        Some(Incident { since: second(200), checked_at: second(200), over_at: None, cause: Cause::Errors });
    watch.run(80, 900, &healthy);
    assert_eq!(watch.judged().until, second(840));
}

#[test]
fn a_wild_clock_judges_nothing_and_breaks_nothing() {
    for now_s in [-86_400, -1, 86_400 * 30, 3_000_000_000, i64::MAX / 2000, i64::MIN / 2000] {
        let mut watch = Watch::new(with_latency);
        watch.run(20, 150, &healthy);
        let now = Timestamp::from_ms(now_s.saturating_mul(1000));
        let subject = watch.subject();
        if let Some(question) = watch.ledger.question(&subject, now) {
            let days = question.window.to.since(question.window.from).as_secs() / 86_400;
            assert!(days < 1, "{now_s}: a window of {days} days");
            let none: Vec<Answer> = question.asks().map(|_| Ok(Points::new())).collect();
            let taken = watch.ledger.clone().answer(&subject, &question, &none, now).unwrap();
            assert_eq!(taken.judged.and_then(|judged| judged.verdict), None, "{now_s}");
        }
    }
}
