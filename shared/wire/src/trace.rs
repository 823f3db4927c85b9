//! Deployment traces: JSON lines with what two versions did, and the verdict lines that answer them.
//!
//! A trace is foreign text. A line becomes a [`Line`], which cannot be wrong, or an error that says what was found where.
//! Keys that are not named here are ignored.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use snapback_core::canary::{
    Counts, Course, Edges, InvalidCount, Judgement, MAX_COUNT, MAX_END_S, Share, Side, Thresholds,
};

use crate::reader::quote;

/// Longest line, in bytes.
pub const MAX_LINE: usize = 1 << 20;
/// Longest id of a deployment, in bytes.
const MAX_ID: usize = 1_000;
/// Latest time, in seconds since the start of the shift, in either direction.
const MAX_TIME_S: f64 = 1e9;

/// A line that cannot be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// Longer than [`MAX_LINE`].
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not the JSON that it should be.
    #[error("{0}")]
    Json(String),
    /// A member that this kind of line needs is not there.
    #[error("a line of kind `{kind}` needs `{member}`")]
    Missing {
        /// Kind of the line.
        kind: &'static str,
        /// Member that is missing.
        member: &'static str,
    },
    /// A member that is no sensible value.
    #[error("`{path}`: {why}")]
    Member {
        /// Where, for example `buckets[3].e5`.
        path: String,
        /// What was found and what would be right.
        why: String,
    },
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A deployment begins.
    Deploy(Box<Deploy>),
    /// What became visible since the last poll.
    Poll {
        /// Seconds since the start of the shift.
        now_s: f64,
        /// In any order.
        records: Vec<Record>,
    },
    /// The deployment ends.
    End {
        /// Seconds since the start of the shift.
        now_s: f64,
    },
}

/// A deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Deploy {
    /// Its name, repeated in each verdict.
    pub id: String,
    /// Planned course.
    pub course: Course,
    /// How far back the history reaches, in seconds.
    pub history_s: f64,
    /// Edges of the latency histograms, in milliseconds.
    pub edges: Edges,
}

/// What one version did in one bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Which version.
    pub side: Side,
    /// Start of the bucket in seconds since the start of the shift; negative before it.
    pub start_s: i64,
    /// Requests.
    pub requests: u64,
    /// 5xx answers and function errors.
    pub e5: Share,
    /// 4xx answers.
    pub e4: Share,
    /// Failed transactions of all transactions.
    pub tx: Share,
    /// Requests by latency bin.
    pub histogram: Vec<(u32, u64)>,
}

impl Record {
    /// The counts that the detector reads.
    ///
    /// # Errors
    /// When the histogram has more requests than a count may say.
    pub fn counts(&self, thresholds: &Thresholds) -> Result<Counts, InvalidCount> {
        let slow = thresholds.slow(&self.histogram)?;
        Ok(Counts {
            requests: self.requests,
            e5: Some(self.e5),
            tx: Some(self.tx),
            e4: Some(self.e4),
            slow: slow.map(Some),
        })
    }
}

/// A struct that is written as an object; on its own `serde` would read a list of the members' values too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Deploy,
    Poll,
    End,
}

#[derive(Deserialize)]
struct AnyLine {
    kind: Kind,
    id: Option<String>,
    bucket_s: Option<u32>,
    history_s: Option<f64>,
    plan: Option<Vec<(f64, f64)>>,
    end_s: Option<f64>,
    drain_s: Option<f64>,
    edges: Option<Vec<f64>>,
    now: Option<f64>,
    buckets: Option<Vec<Object<AnyRecord>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Version {
    Old,
    New,
}

#[derive(Deserialize)]
struct AnyRecord {
    v: Version,
    t: i64,
    n: u64,
    e5: u64,
    e4: u64,
    tx: u64,
    txf: u64,
    h: Vec<(u32, u64)>,
}

impl Line {
    /// Reads one line, without its line end.
    ///
    /// * `bins`: how many latency bins the present deployment has; bins of records beyond that are refused.
    ///
    /// # Errors
    /// When the line is too long, is not JSON of the right shape, or says what cannot be: a negative or fractional count, a
    /// count above 2^53, more bad events than events, an unknown version, a bin that does not exist or comes twice.
    pub fn read(line: &[u8], bins: usize) -> Result<Self, TraceError> {
        if line.len() > MAX_LINE {
            return Err(TraceError::TooLong);
        }
        let Object(line): Object<AnyLine> =
            serde_json::from_slice(line).map_err(|error| TraceError::Json(quote(&error.to_string())))?;
        match line.kind {
            Kind::Deploy => deploy(line).map(|deploy| Self::Deploy(Box::new(deploy))),
            Kind::Poll => {
                let now_s = time("now", line.now.ok_or(missing("poll", "now"))?)?;
                let records = line.buckets.ok_or(missing("poll", "buckets"))?;
                let records = records.into_iter().enumerate().map(|(index, Object(any))| record(index, any, bins));
                Ok(Self::Poll { now_s, records: records.collect::<Result<_, _>>()? })
            }
            Kind::End => Ok(Self::End { now_s: time("now", line.now.ok_or(missing("end", "now"))?)? }),
        }
    }
}

const fn missing(kind: &'static str, member: &'static str) -> TraceError {
    TraceError::Missing { kind, member }
}

fn member(path: impl Into<String>, why: impl ToString) -> TraceError {
    TraceError::Member { path: path.into(), why: why.to_string() }
}

/// A time at or after the start of the shift. A minus zero is zero.
fn time(path: &str, value: f64) -> Result<f64, TraceError> {
    if (0.0..=MAX_TIME_S).contains(&value) {
        return Ok(value.abs());
    }
    Err(member(path, format!("{value} s is no time, it must be 0 to {MAX_TIME_S}")))
}

fn deploy(line: AnyLine) -> Result<Deploy, TraceError> {
    let id = line.id.ok_or(missing("deploy", "id"))?;
    if id.len() > MAX_ID {
        return Err(member("id", format!("{} bytes, at most {MAX_ID} are allowed", id.len())));
    }
    let history_s = line.history_s.ok_or(missing("deploy", "history_s"))?;
    if !(0.0..=MAX_END_S).contains(&history_s) {
        return Err(member("history_s", format!("{history_s}, it must be 0 to {MAX_END_S}")));
    }
    let course = Course::new(
        line.bucket_s.ok_or(missing("deploy", "bucket_s"))?,
        line.plan.ok_or(missing("deploy", "plan"))?,
        line.end_s.ok_or(missing("deploy", "end_s"))?,
        line.drain_s.ok_or(missing("deploy", "drain_s"))?,
    );
    let course = course.map_err(|error| {
        let field = if error.field == "steps" { "plan" } else { error.field };
        member(field, format!("{}, allowed is {}", error.value, error.allowed))
    })?;
    let edges = Edges::new(line.edges.ok_or(missing("deploy", "edges"))?).map_err(|error| member("edges", error))?;
    Ok(Deploy { id, course, history_s, edges })
}

fn record(index: usize, any: AnyRecord, bins: usize) -> Result<Record, TraceError> {
    let path = |name: &str| format!("buckets[{index}].{name}");
    let share = |name, bad, all| Share::new(bad, all).map_err(|error| member(path(name), error));
    share("n", 0, any.n)?;
    if !(-1_000_000_000..=1_000_000_000).contains(&any.t) {
        return Err(member(path("t"), format!("{} s is no time, it must be within {MAX_TIME_S}", any.t)));
    }
    check_histogram(&any.h, bins).map_err(|why| member(path("h"), why))?;
    Ok(Record {
        side: match any.v {
            Version::Old => Side::Baseline,
            Version::New => Side::Canary,
        },
        start_s: any.t,
        requests: any.n,
        e5: share("e5", any.e5, any.n)?,
        e4: share("e4", any.e4, any.n)?,
        tx: share("txf", any.txf, any.tx)?,
        histogram: any.h,
    })
}

fn check_histogram(histogram: &[(u32, u64)], bins: usize) -> Result<(), String> {
    let mut total = 0_u64;
    for (bin, count) in histogram {
        if usize::try_from(*bin).is_ok_and(|bin| bin >= bins) {
            return Err(format!("bin {bin} does not exist, the last one is {}", bins.saturating_sub(1)));
        }
        total = total.saturating_add(*count);
    }
    if total > MAX_COUNT {
        return Err(format!("{total} requests are above 2^53"));
    }
    if !histogram.is_sorted_by(|a, b| a.0 < b.0) {
        let mut seen: Vec<u32> = histogram.iter().map(|(bin, _)| *bin).collect();
        seen.sort_unstable();
        if let Some((bin, _)) = seen.iter().zip(seen.iter().skip(1)).find(|(a, b)| a == b) {
            return Err(format!("bin {bin} comes twice"));
        }
    }
    Ok(())
}

/// The answer to one `poll` or `end` line.
#[derive(Debug, Clone, Copy)]
pub struct VerdictLine<'a> {
    /// The deployment.
    pub id: &'a str,
    /// Time of the line that is answered.
    pub now_s: f64,
    /// What the detector says.
    pub judgement: &'a Judgement,
}

impl fmt::Display for VerdictLine<'_> {
    /// One JSON object, without a line end; `log_e` with four decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = serde_json::to_string(self.id).map_err(|_| fmt::Error)?;
        let Judgement { verdict, reason, log_e, .. } = self.judgement;
        let reason = reason.map_or("", |metric| metric.as_str());
        write!(f, r#"{{"id":{id},"now":{},"verdict":"{verdict}","reason":"{reason}","log_e":"#, self.now_s)?;
        match log_e {
            Some(log_e) => write!(f, "{log_e:.4}}}"),
            None => write!(f, "null}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use snapback_core::canary::{Metric, Verdict};

    const BINS: usize = 4;

    fn read(line: &Value) -> Result<Line, TraceError> {
        Line::read(line.to_string().as_bytes(), BINS)
    }

    fn deploy_line() -> Value {
        json!({"kind": "deploy", "id": "d-1", "bucket_s": 60, "poll_s": 10, "history_s": 3600, "plan": [[0, 0.1], [300, 1.0]],
               "end_s": 1200, "drain_s": 120, "edges": [1.0, 2, 4], "note": "keys that nobody knows are ignored"})
    }

    fn record_line() -> Value {
        json!({"v": "new", "t": -60, "n": 10, "e5": 1, "e4": 2, "tx": 3, "txf": 3, "avg": 1.5, "p50": null,
               "h": [[0, 4], [3, 6]]})
    }

    fn poll_line(record: &Value) -> Value {
        json!({"kind": "poll", "now": 130, "buckets": [record]})
    }

    fn with(mut line: Value, member: &str, value: Value) -> Value {
        line[member] = value;
        line
    }

    #[test]
    fn each_kind_of_line_is_read() {
        let Line::Deploy(deploy) = read(&deploy_line()).unwrap() else { panic!("a deploy line") };
        assert_eq!((deploy.id.as_str(), deploy.course.bucket_s(), deploy.edges.bins()), ("d-1", 60, BINS));
        assert_eq!(deploy.course.steps(), [(0.0, 0.1), (300.0, 1.0)]);
        let record = Record {
            side: Side::Canary,
            start_s: -60,
            requests: 10,
            e5: Share::new(1, 10).unwrap(),
            e4: Share::new(2, 10).unwrap(),
            tx: Share::new(3, 3).unwrap(),
            histogram: vec![(0, 4), (3, 6)],
        };
        assert_eq!(read(&poll_line(&record_line())), Ok(Line::Poll { now_s: 130.0, records: vec![record] }));
        assert_eq!(read(&json!({"kind": "end", "now": 1320.5})), Ok(Line::End { now_s: 1320.5 }));
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        let record = |member: &str, value: Value| poll_line(&with(record_line(), member, value));
        let deploy = |member: &str, value: Value| with(deploy_line(), member, value);
        let table = [
            ("no object", json!([]), "invalid type: sequence, expected an object"),
            (
                "a record as a list",
                poll_line(&json!(["old", 0, 1, 0, 0, 0, 0, []])),
                "invalid type: sequence, expected an object",
            ),
            ("no kind", json!({"now": 1}), "missing field `kind`"),
            ("unknown kind", json!({"kind": "pool"}), "unknown variant `pool`"),
            ("no time", json!({"kind": "poll", "buckets": []}), "a line of kind `poll` needs `now`"),
            ("no buckets", json!({"kind": "poll", "now": 1}), "a line of kind `poll` needs `buckets`"),
            ("no end time", json!({"kind": "end"}), "a line of kind `end` needs `now`"),
            ("negative time", json!({"kind": "end", "now": -1}), "`now`: -1 s is no time"),
            ("no id", deploy("id", Value::Null), "a line of kind `deploy` needs `id`"),
            ("long id", deploy("id", json!("d".repeat(1001))), "`id`: 1001 bytes"),
            ("no bucket", deploy("bucket_s", json!(0)), "`bucket_s`: 0, allowed is 1 to 3600"),
            ("fractional bucket", deploy("bucket_s", json!(60.5)), "invalid type: floating point"),
            ("weight", deploy("plan", json!([[0, 1.1]])), "`plan`: a weight of 1.1, allowed is 0 to 1"),
            ("empty plan", deploy("plan", json!([])), "`plan`: 0 of them"),
            ("end", deploy("end_s", json!(1e9)), "`end_s`: 1000000000"),
            ("history", deploy("history_s", json!(-1)), "`history_s`: -1"),
            ("edges", deploy("edges", json!([2, 1])), "`edges`: edge 1 is 1 ms"),
            ("no edges", deploy("edges", Value::Null), "a line of kind `deploy` needs `edges`"),
            ("unknown version", record("v", json!("newer")), "unknown variant `newer`"),
            ("negative count", record("n", json!(-1)), "invalid value: integer `-1`"),
            ("fractional count", record("n", json!(1.5)), "invalid type: floating point `1.5`"),
            (
                "large count",
                record("n", json!(MAX_COUNT + 1)),
                "`buckets[0].n`: a count of 9007199254740993 is above 2^53",
            ),
            ("missing count", poll_line(&json!({"v": "old", "t": 0, "n": 1})), "missing field `e5`"),
            ("more errors than requests", record("e5", json!(11)), "`buckets[0].e5`: 11 bad events among 10"),
            ("more 4xx than requests", record("e4", json!(11)), "`buckets[0].e4`: 11 bad events among 10"),
            ("more failed than all", record("txf", json!(4)), "`buckets[0].txf`: 4 bad events among 3"),
            ("time", record("t", json!(1_000_000_001)), "`buckets[0].t`: 1000000001 s is no time"),
            ("fractional time", record("t", json!(0.5)), "invalid type: floating point"),
            ("bin", record("h", json!([[4, 1]])), "`buckets[0].h`: bin 4 does not exist, the last one is 3"),
            ("negative bin", record("h", json!([[-1, 1]])), "invalid value: integer `-1`"),
            ("bin twice", record("h", json!([[2, 1], [0, 1], [2, 1]])), "`buckets[0].h`: bin 2 comes twice"),
            ("bins in any order", record("h", json!([[2, 1], [2, 0]])), "`buckets[0].h`: bin 2 comes twice"),
            ("full bins", record("h", json!([[0, MAX_COUNT], [1, 1]])), "9007199254740993 requests are above 2^53"),
        ];
        for (case, line, expected) in table {
            let message = read(&line).unwrap_err().to_string();
            assert!(message.contains(expected), "{case}: {message}");
        }
        let texts = [
            ("NaN", r#"{"kind":"end","now":NaN}"#, "expected value"),
            ("infinite", r#"{"kind":"end","now":1e999}"#, "number out of range"),
            ("a key twice", r#"{"kind":"end","now":1,"now":2}"#, "duplicate field `now`"),
            ("two documents", r#"{"kind":"end","now":1}{}"#, "trailing characters"),
            ("half a document", r#"{"kind":"end","#, "EOF"),
        ];
        for (case, line, expected) in texts {
            let message = Line::read(line.as_bytes(), BINS).unwrap_err().to_string();
            assert!(message.contains(expected), "{case}: {message}");
        }
        assert_eq!(Line::read(&vec![b' '; MAX_LINE + 1], BINS), Err(TraceError::TooLong));
    }

    #[test]
    fn a_verdict_line_is_json_with_four_decimals() {
        let judgement = |verdict, reason, log_e| Judgement { verdict, reason, log_e, evidence: vec![] };
        let table = [
            (
                judgement(Verdict::Continue, None, None),
                0.0,
                r#""now":0,"verdict":"continue","reason":"","log_e":null}"#,
            ),
            (
                judgement(Verdict::Rollback, Some(Metric::Traffic), Some(3.00006)),
                130.0,
                r#""now":130,"verdict":"rollback","reason":"traffic","log_e":3.0001}"#,
            ),
            (
                judgement(Verdict::Inconclusive, None, Some(-1.23456)),
                0.5,
                r#""now":0.5,"verdict":"inconclusive","reason":"","log_e":-1.2346}"#,
            ),
        ];
        for (judgement, now_s, expected) in table {
            let line = VerdictLine { id: "d\"1\n", now_s, judgement: &judgement }.to_string();
            assert_eq!(line, format!(r#"{{"id":"d\"1\n",{expected}"#));
            let parsed: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed["id"], "d\"1\n");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            r#"\{"kind":"(poll|end|deploy)","now":-?[0-9]{1,20}(\.[0-9])?,"buckets":\[[{}\[\]":,a-z0-9-]{0,80}\]\}"#
                .prop_map(String::into_bytes),
        ]) {
            if let Err(error) = Line::read(&line, BINS) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
