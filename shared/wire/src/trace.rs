//! Deployment traces: JSON lines with what two versions did, and the verdict lines that answer them.
//!
//! A trace is foreign text. A line becomes a [`Line`], which cannot be wrong, or an error that says what was found where.
//! Keys that are not named here are ignored.

use std::fmt;

use serde::Deserialize;
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
    #[error("a `{kind}` line needs `{member}`")]
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
    buckets: Option<Vec<AnyRecord>>,
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
        let line: AnyLine =
            serde_json::from_slice(line).map_err(|error| TraceError::Json(quote(&error.to_string())))?;
        match line.kind {
            Kind::Deploy => deploy(line).map(|deploy| Self::Deploy(Box::new(deploy))),
            Kind::Poll => {
                let now_s = time("now", line.now.ok_or(missing("poll", "now"))?)?;
                let records = line.buckets.ok_or(missing("poll", "buckets"))?;
                let records = records.into_iter().enumerate().map(|(index, any)| record(index, any, bins));
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
