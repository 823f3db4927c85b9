//! A deployment that was judged live, as a trace that is judged alike: what a live poll does not know is in its lines, too.
//!
//! The `deploy` line has `settings` and `reference` in place of a history. A record has what was counted (`above` the thresholds
//! in place of a histogram; a share as `[bad, all]`), and what is left out of it was not measured. A `poll` line has the schedule
//! as it was known by then, the second `from` which buckets are judged, and `anew`, since when the evidence counts.

use super::{MAX_LINE, TraceError, member, present};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use snapback_judge::analysis::{Beginning, JudgedPoll};
use snapback_judge::detector::{
    BucketRecord, Counts, DetectorSettings, DetectorValues, Latencies, LatencyReference, Margin, RateReference,
    Reading, References, Side, State, Tail, TrafficReference, TrafficSchedule, Witnesses,
};
use snapback_judge::{Metric, Share};
use std::collections::BTreeMap;

/// Why there is no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoReplay {
    /// No poll, or none with which the detector began.
    #[error(
        "no poll is on record with which the comparison began (another version of Snapback stored it, or it expired)"
    )]
    NotBegun,
    /// A line would be longer than [`MAX_LINE`].
    #[error("a line would have {0} bytes, at most {MAX_LINE} are allowed")]
    TooLong(usize),
}

/// The trace of one deployment: what the detector of the signals that may roll back (or only tell) was given since it began last,
/// a JSON object a line.
///
/// * `id`: its name, repeated in each verdict.
/// * `polls`: all that are on record, oldest first.
/// * `is_over`: whether the deployment has ended; else the trace has no `end`, and `judge` says that it was cut.
///
/// `None`: there is no such detector.
///
/// # Errors
/// When nothing is on record with which it began, or a line would be too long.
pub fn replay(id: &str, polls: &[JudgedPoll], is_enforcing: bool, is_over: bool) -> Result<Option<String>, NoReplay> {
    let first = polls.iter().rposition(|poll| poll.begun.is_some()).ok_or(NoReplay::NotBegun)?;
    let polls = polls.get(first..).unwrap_or_default();
    let (Some(begins), Some(ends)) = (polls.first(), polls.last()) else { return Err(NoReplay::NotBegun) };
    let begun = begins.begun.as_ref().ok_or(NoReplay::NotBegun)?;
    let Some(beginning) = (if is_enforcing { &begun.enforcing } else { &begun.advisory }) else { return Ok(None) };
    let mut lines = vec![deploy_line(id, begins, begun.witnesses, beginning)];
    let mut anew_s = None;
    for poll in polls {
        let is_anew = poll.anew_s() != anew_s;
        anew_s = poll.anew_s();
        lines.push(poll_line(poll, anew_s.filter(|_| is_anew)));
    }
    if is_over {
        lines.push(json!({ "kind": "end", "now": ends.now_s() }));
    }
    let mut text = String::new();
    for line in lines {
        let line = line.to_string();
        if line.len() > MAX_LINE {
            return Err(NoReplay::TooLong(line.len()));
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(Some(text))
}

fn deploy_line(id: &str, first: &JudgedPoll, witnesses: Witnesses, beginning: &Beginning) -> Value {
    let Witnesses { front, peer, probe, pair } = witnesses;
    let connected = [("front", front), ("peer", peer), ("probe", probe), ("pair", pair)];
    let connected: Vec<&str> = connected.into_iter().filter(|(_, is)| *is).map(|(word, _)| word).collect();
    json!({
        "kind": "deploy",
        "id": id,
        "bucket_s": first.schedule.bucket_s(),
        "plan": first.schedule.steps(),
        "end_s": first.schedule.end_s(),
        "drain_s": first.schedule.drain_s(),
        "witness": connected,
        "settings": SettingsText::of(&beginning.settings),
        "reference": ReferenceText::of(&beginning.references),
    })
}

fn poll_line(poll: &JudgedPoll, anew_s: Option<f64>) -> Value {
    let mut line = json!({
        "kind": "poll",
        "now": poll.now_s(),
        "plan": poll.schedule.steps(),
        "end_s": poll.schedule.end_s(),
        "from": poll.from_s,
        "buckets": poll.records.iter().map(record).collect::<Vec<_>>(),
    });
    if let (Some(anew_s), Some(members)) = (anew_s, line.as_object_mut()) {
        members.insert("anew".to_owned(), json!(anew_s));
    }
    line
}

fn record(record: &BucketRecord) -> Value {
    let share = |share: Share| json!([share.bad, share.all]);
    let side = |side, of: [&'static str; 2]| if side == Side::Baseline { of[0] } else { of[1] };
    let of_witness = |who: &str, all: u64, bad: Option<u64>| {
        let mut members = members([("v", json!(who)), ("t", json!(record.start_s)), ("n", json!(all))]);
        members.extend(bad.map(|bad| ("e5".to_owned(), json!(bad))));
        members
    };
    let line = match record.reading {
        Reading::Version(whose, Counts { requests, e5, tx, e4, latencies }) => {
            let mut line = of_witness(side(whose, ["old", "new"]), requests, None);
            let shares = [("e5", e5), ("tx", tx), ("e4", e4)].into_iter();
            line.extend(shares.filter_map(|(name, of)| Some((name.to_owned(), share(of?)))));
            line.extend(latencies.map(|latencies| ("above".to_owned(), json!(AboveText::of(latencies)))));
            line
        }
        Reading::Front(requests) => of_witness("front", requests, None),
        Reading::Peer(share) => of_witness("peer", share.all, Some(share.bad)),
        Reading::Probe(whose, share) => of_witness(side(whose, ["probe_old", "probe_new"]), share.all, Some(share.bad)),
    };
    Value::Object(line)
}

fn members<const N: usize>(of: [(&str, Value); N]) -> Map<String, Value> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `settings` of a `deploy` line: what is left out is the method's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettingsText {
    #[serde(default, deserialize_with = "present")]
    alpha: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    grace_s: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    no_data_timeout_s: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    half_life_long_s: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    half_life_short_s: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    half_life_peak_s: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    warm_up_s: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    minute_s: Option<f64>,
    errors_follow: Option<bool>,
    /// By metric; one that is not named is off.
    margins: Option<BTreeMap<String, MarginText>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarginText {
    factor: f64,
    #[serde(default)]
    points: f64,
}

impl SettingsText {
    fn of(values: &DetectorValues) -> Self {
        let margins = Metric::COMPARED.iter().zip(values.margins);
        let margins = margins.filter_map(|(metric, margin)| {
            let Margin { factor, points } = margin?;
            Some((metric.as_str().to_owned(), MarginText { factor, points }))
        });
        Self {
            alpha: Some(values.alpha),
            grace_s: Some(values.grace_s),
            no_data_timeout_s: Some(values.no_data_timeout_s),
            half_life_long_s: Some(values.half_life_long_s),
            half_life_short_s: Some(values.half_life_short_s),
            half_life_peak_s: Some(values.half_life_peak_s),
            warm_up_s: Some(values.warm_up_s),
            minute_s: Some(values.minute_s),
            errors_follow: Some(values.errors_follow),
            margins: Some(margins.collect()),
        }
    }

    pub(super) fn read(self) -> Result<DetectorSettings, TraceError> {
        let mut values = DetectorValues::default_method();
        let numbers = [
            (self.alpha, &mut values.alpha),
            (self.grace_s, &mut values.grace_s),
            (self.no_data_timeout_s, &mut values.no_data_timeout_s),
            (self.half_life_long_s, &mut values.half_life_long_s),
            (self.half_life_short_s, &mut values.half_life_short_s),
            (self.half_life_peak_s, &mut values.half_life_peak_s),
            (self.warm_up_s, &mut values.warm_up_s),
            (self.minute_s, &mut values.minute_s),
        ];
        for (given, to) in numbers {
            *to = given.unwrap_or(*to);
        }
        values.errors_follow = self.errors_follow.unwrap_or(values.errors_follow);
        if let Some(margins) = self.margins {
            let is_known = |name: &&String| !Metric::COMPARED.iter().any(|metric| metric.as_str() == name.as_str());
            if let Some(unknown) = margins.keys().find(is_known) {
                let unknown = super::quote(unknown);
                return Err(member("settings.margins", format!("{unknown} is no metric that is compared")));
            }
            for (metric, to) in Metric::COMPARED.iter().zip(&mut values.margins) {
                let margin = margins.get(metric.as_str());
                *to = margin.map(|MarginText { factor, points }| Margin { factor: *factor, points: *points });
            }
        }
        DetectorSettings::new(values).map_err(|error| {
            member(format!("settings.{}", error.field), format!("{}, allowed is {}", error.value, error.allowed))
        })
    }
}

/// `reference` of a `deploy` line: what was usual when the shift began.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReferenceText {
    e5: RateText,
    tx: RateText,
    q90: RateText,
    q99: RateText,
    e4: RateText,
    /// `null`: latencies are not measured.
    body: Option<BodyText>,
    traffic: TrafficText,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(remote = "RateReference", deny_unknown_fields)]
struct RateDef {
    bad_long: f64,
    all_long: f64,
    bad_short: f64,
    all_short: f64,
    peak: f64,
    dispersion: f64,
    is_measured: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct RateText(#[serde(with = "RateDef")] RateReference);

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(remote = "LatencyReference", deny_unknown_fields)]
struct BodyDef {
    usual: f64,
    slope: f64,
    variance: f64,
    drift: f64,
    level: f64,
    doubt: f64,
    absorbed: f64,
    peak: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct BodyText(#[serde(with = "BodyDef")] LatencyReference);

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(remote = "TrafficReference", deny_unknown_fields)]
struct TrafficDef {
    level: f64,
    lost_chance: f64,
    per_front: f64,
    peer_rate: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct TrafficText(#[serde(with = "TrafficDef")] TrafficReference);

impl ReferenceText {
    fn of(references: &References) -> Self {
        let [e5, tx, q90, q99, e4] = references.rates.map(RateText);
        Self { e5, tx, q90, q99, e4, body: references.body.map(BodyText), traffic: TrafficText(references.traffic) }
    }

    pub(super) fn read(self) -> Result<References, TraceError> {
        let Self { e5, tx, q90, q99, e4, body, traffic } = self;
        let rates = [e5, tx, q90, q99, e4].map(|RateText(rate)| rate);
        let references = References { rates, body: body.map(|BodyText(body)| body), traffic: traffic.0 };
        // Any length of a bucket and any witnesses: what is usual does not depend on them.
        let state = State::begin_with(60, Witnesses::default(), &references);
        state.check().map_err(|error| member("reference", error))?;
        Ok(references)
    }
}

/// `above` of a record: how many of all requests were slower than each threshold.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AboveText {
    all: u64,
    body: [u64; 7],
    q90: Tail,
    q99: Tail,
}

impl AboveText {
    fn of(latencies: Latencies) -> Self {
        let Latencies { all, body, q90, q99 } = latencies;
        Self { all, body, q90, q99 }
    }

    pub(super) fn read(self) -> Result<Latencies, String> {
        Latencies::new(self.all, self.body, self.q90, self.q99).map_err(|error| error.to_string())
    }
}

/// What a `poll` line changes beside its records.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PollChanges {
    /// The schedule of the traffic, as it is known now.
    pub schedule: Option<TrafficSchedule>,
    /// Buckets that start before this second are not judged.
    pub from_s: Option<f64>,
    /// The evidence counts since this second: what came before was an incident of both versions.
    pub anew_s: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::super::{Content, Deploy, Line, TraceRecord};
    use super::*;
    use snapback_core::Timestamp;
    use snapback_judge::analysis::Begun;

    const ORIGIN: Timestamp = Timestamp::from_ms(1_795_169_700_000);

    fn references(has_body: bool) -> References {
        let rate = RateReference {
            bad_long: 1.5,
            all_long: 2_000.0,
            bad_short: 0.1,
            all_short: 500.0,
            peak: 1.0 / 3.0,
            dispersion: 1.25,
            is_measured: true,
        };
        let body = LatencyReference {
            usual: 0.5,
            slope: 0.7,
            variance: 0.04,
            drift: 1e-5,
            level: 0.01,
            doubt: 1e-4,
            absorbed: 0.0,
            peak: 0.02,
        };
        let traffic = TrafficReference { level: 400.0, lost_chance: 0.001, per_front: 1.0, peer_rate: 0.0005 };
        References { rates: [rate; 5], body: has_body.then_some(body), traffic }
    }

    fn poll(second: u64, begun: Option<Begun>, records: Vec<BucketRecord>) -> JudgedPoll {
        JudgedPoll {
            polled_at: ORIGIN + std::time::Duration::from_millis(1000 * second + 125),
            origin: ORIGIN,
            begun,
            schedule: TrafficSchedule::new(60, vec![(12.0, 0.1)], 1_200.0, 120.0).unwrap(),
            from_s: 0.0,
            anew_from: None,
            records,
            enforcing: None,
            advisory: None,
        }
    }

    fn begun() -> Begun {
        let mut settings = DetectorValues::default_method();
        settings.errors_follow = false;
        settings.margins[3] = None;
        Begun {
            witnesses: Witnesses { front: true, peer: true, probe: false, pair: false },
            enforcing: Some(Beginning { settings, references: references(true) }),
            advisory: None,
        }
    }

    fn records() -> Vec<BucketRecord> {
        let share = |bad, all| Share::new(bad, all).unwrap();
        let latencies = Latencies::new(9, [8, 7, 6, 5, 4, 3, 2], [None, Some(1), Some(1), Some(0)], [None; 4]).unwrap();
        let measured = Counts {
            requests: 10,
            // As many as the front door counted, not as the version did.
            e5: Some(share(1, 12)),
            tx: Some(share(2, 3)),
            e4: None,
            latencies: Some(latencies),
        };
        let witness = |reading| BucketRecord { start_s: 60, reading };
        vec![
            BucketRecord::of_version(Side::Canary, 60, measured),
            BucketRecord::of_version(Side::Baseline, 60, Counts::of_requests(90)),
            witness(Reading::Front(100)),
            witness(Reading::Peer(share(3, 500))),
            witness(Reading::Probe(Side::Baseline, share(0, 60))),
            witness(Reading::Probe(Side::Canary, share(60, 60))),
        ]
    }

    /// A poll that was read: its time, its records, what it changes.
    type ReadPoll = (f64, Vec<BucketRecord>, PollChanges);

    /// The deployment, the polls and the time of the end of a text.
    fn read(text: &str) -> (Box<Deploy>, Vec<ReadPoll>, f64) {
        let mut lines = text.lines();
        let Ok(Line::Deploy(deploy)) = Line::read(lines.next().unwrap().as_bytes(), None) else { panic!("{text}") };
        let (mut polls, mut ended_s) = (Vec::new(), None);
        for line in lines {
            match Line::read(line.as_bytes(), Some(&deploy)) {
                Ok(Line::Poll { now_s, records, changes, ignored }) => {
                    assert_eq!(ignored, [], "{line}");
                    polls.push((now_s, records.iter().map(|it| it.reading(None).unwrap()).collect(), changes));
                }
                Ok(Line::End { now_s }) => ended_s = Some(now_s),
                other => panic!("{line}: {other:?}"),
            }
        }
        (deploy, polls, ended_s.unwrap())
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let mut after = poll(3_000, None, Vec::new());
        (after.from_s, after.anew_from) = (2_940.0, Some(ORIGIN + std::time::Duration::from_secs(2_900)));
        after.schedule = TrafficSchedule::new(60, vec![(12.0, 0.1), (615.5, 1.0)], 3_600.0, 120.0).unwrap();
        let polls = [poll(150, Some(begun()), records()), after];
        let text = replay("d-1", &polls, true, true).unwrap().unwrap();
        let (deploy, read, ended_s) = read(&text);
        let Beginning { settings, references } = begun().enforcing.unwrap();
        assert_eq!(deploy.settings.as_deref(), Some(&settings));
        assert_eq!((deploy.references, deploy.witnesses), (Some(references), begun().witnesses));
        assert_eq!((deploy.id.as_str(), &deploy.schedule, deploy.edges.is_none()), ("d-1", &polls[0].schedule, true));
        let [first, second] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((first.0, &first.1), (150.125, &records()));
        assert_eq!(first.2.anew_s, None);
        assert_eq!((second.0, ended_s), (3_000.125, 3_000.125));
        let changes =
            PollChanges { schedule: Some(polls[1].schedule.clone()), from_s: Some(2_940.0), anew_s: Some(2_900.0) };
        assert_eq!(second.2, changes);
    }

    #[test]
    fn an_incident_is_told_once() {
        let mut polls = [100, 200, 300, 400].map(|second| poll(second, None, Vec::new()));
        polls[0].begun = Some(begun());
        let over = |second| Some(ORIGIN + std::time::Duration::from_secs(second));
        (polls[1].anew_from, polls[2].anew_from, polls[3].anew_from) = (over(150), over(150), over(350));
        let text = replay("d-1", &polls, true, true).unwrap().unwrap();
        let told: Vec<Option<f64>> = read(&text).1.into_iter().map(|(_, _, changes)| changes.anew_s).collect();
        assert_eq!(told, [None, Some(150.0), None, Some(350.0)]);
    }

    #[test]
    fn only_what_came_since_the_last_beginning() {
        let polls =
            [poll(100, Some(begun()), records()), poll(200, None, Vec::new()), poll(300, Some(begun()), Vec::new())];
        let text = replay("d-1", &polls, true, true).unwrap().unwrap();
        assert_eq!(read(&text).1.into_iter().map(|(now_s, ..)| now_s).collect::<Vec<_>>(), [300.125]);
        assert_eq!(replay("d-1", &polls, false, true), Ok(None), "nothing only tells");
        assert_eq!(replay("d-1", &polls[1..2], true, true), Err(NoReplay::NotBegun));
        assert_eq!(replay("d-1", &[], true, true), Err(NoReplay::NotBegun));
        let running = replay("d-1", &polls, true, false).unwrap().unwrap();
        assert!(!running.contains(r#""kind":"end""#), "it is not over: {running}");
        let many = (0..40_000).map(|slot| BucketRecord { start_s: slot, reading: Reading::Front(1) }).collect();
        let long = replay("d-1", &[poll(100, Some(begun()), many)], true, true);
        assert!(matches!(long, Err(NoReplay::TooLong(_))), "a line that `judge` refuses is not written");
    }

    #[test]
    fn latencies_that_were_not_measured_stay_so() {
        let beginning = Beginning { settings: DetectorValues::default_method(), references: references(false) };
        let begun = Begun { enforcing: Some(beginning), ..begun() };
        let text = replay("d-1", &[poll(100, Some(begun), Vec::new())], true, true).unwrap().unwrap();
        assert_eq!(read(&text).0.references, Some(references(false)));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let text = replay("d-1", &[poll(100, Some(begun()), records())], true, true).unwrap().unwrap();
        let [deploy, poll] = [0, 1].map(|line| text.lines().nth(line).unwrap());
        // (what stands there, what is put in its place, what is said)
        let table = [
            (r#""alpha":0.01"#, r#""alpha":2"#, "`settings.alpha`: 2, allowed is above 0, at most 0.5"),
            (r#""e5":{"factor""#, r#""e6":{"factor""#, "`settings.margins`: e6 is no metric that is compared"),
            (r#""minute_s""#, r#""minutes""#, "unknown field `minutes`"),
            (r#""level":400.0"#, r#""level":-1"#, "`reference`: detector state: the traffic's reference is no amount"),
            (r#""peak":0.02"#, r#""peak":null"#, "invalid type: null"),
            (r#""alpha":0.01"#, r#""alpha":NaN"#, "invalid type: null"),
            (r#""end_s":1200.0"#, r#""end_s":null"#, "invalid type: null"),
        ];
        for (there, instead, said) in table {
            assert!(deploy.contains(there), "{there}: {deploy}");
            let error = Line::read(deploy.replace(there, instead).as_bytes(), None).unwrap_err().to_string();
            assert!(error.contains(said), "{instead}: {error}");
        }
        let Ok(Line::Deploy(present)) = Line::read(deploy.as_bytes(), None) else { panic!("{deploy}") };
        let table = [
            (r#""e5":[1,12]"#, r#""e5":[13,12]"#, "`buckets[0].e5`"),
            (r#""body":[8,"#, r#""body":[10,"#, "`buckets[0].above`"),
            (r#""n":90"#, r#""n":90,"h":[[0,1]]"#, "`buckets[1].h`: a trace with `reference` has `above` instead"),
        ];
        for (there, instead, said) in table {
            assert!(poll.contains(there), "{there}: {poll}");
            let read = Line::read(poll.replace(there, instead).as_bytes(), Some(&present)).unwrap();
            let Line::Poll { records, ignored, .. } = read else { panic!("{read:?}") };
            assert_eq!((records.len(), ignored.len()), (5, 1), "the others count");
            assert!(ignored[0].to_string().contains(said), "{instead}: {ignored:?}");
        }
        for (there, instead, said) in [(r#""from":0.0"#, r#""from":-1"#, "`from`"), ("12.0,0.1", "12.0,2", "`plan`")] {
            assert!(poll.contains(there), "{there}: {poll}");
            let error = Line::read(poll.replace(there, instead).as_bytes(), Some(&present)).unwrap_err();
            assert!(error.to_string().contains(said), "{instead}: {error}");
        }
        let record = |record: &str| {
            let line = format!(r#"{{"kind":"poll","now":100,"buckets":[{record}]}}"#);
            let Ok(Line::Poll { records, .. }) = Line::read(line.as_bytes(), Some(&present)) else { panic!("{line}") };
            records
        };
        let [TraceRecord { content: Content::Version(_, counts), .. }] = &record(r#"{"v":"new","t":0,"n":5}"#)[..]
        else {
            panic!("one record");
        };
        assert_eq!((counts.e5, counts.tx, counts.e4), (None, None, None), "what is left out was not measured");
    }
}
