//! Deployment traces: JSON lines with what two versions did, and the verdict lines that answer them.
//!
//! A trace is foreign text. A line becomes a [`Line`], which cannot be wrong, or an error that says what was found where.
//! Keys that are not named here are ignored.

mod replay;

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use snapback_judge::detector::{
    BucketRecord, Counts, DetectorSettings, Edges, Judgement, Latencies, MAX_END_S, Reading, References, Side,
    Thresholds, TrafficSchedule, Witnesses,
};
use snapback_judge::pairs::{BurstMark, PairRecord, ProbeOutcome};
use snapback_judge::{MAX_COUNT, Share, Verdict};

use crate::reader::quote;
use replay::{AboveText, ReferenceText, SettingsText};
pub use replay::{NoReplay, PollChanges, replay};

/// Longest line, in bytes.
pub const MAX_LINE: usize = 1 << 20;
/// Longest id of a deployment, in bytes.
const MAX_ID: usize = 1_000;
/// Pairs of one burst, where the trace does not say it.
const DEFAULT_BURST: u32 = 10;
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
        records: Vec<TraceRecord>,
        /// What it changes beside them.
        changes: PollChanges,
        /// What is no record, because it says what cannot be: nothing is decided from it.
        ignored: Vec<TraceError>,
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
    /// Planned schedule.
    pub schedule: TrafficSchedule,
    /// How far back the history reaches, in seconds.
    pub history_s: f64,
    /// Edges of the latency histograms, in milliseconds; `None`: the records have no histogram.
    pub edges: Option<Edges>,
    /// Settings of the detector; `None`: the method's.
    pub settings: Option<DetectorSettings>,
    /// What was usual, in place of a history; what is left out of a record was not measured then.
    pub references: Option<References>,
    /// Which witnesses are connected.
    pub witnesses: Witnesses,
    /// Pairs of probes of one burst; 0: there are none, and the pairs only advise.
    pub burst: u32,
}

/// What was seen in one bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceRecord {
    /// Start of the bucket in seconds since the start of the shift; negative before it.
    pub start_s: i64,
    /// What it says.
    pub content: Content,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// What one version did.
    Version(Side, VersionCounts),
    /// What a witness says; never [`Reading::Version`].
    Witness(Reading),
    /// One pair of probes.
    Pair(PairRecord),
}

/// What one version did in one bucket. `None`: not measured.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionCounts {
    /// Requests.
    pub requests: u64,
    /// 5xx answers and function errors.
    pub e5: Option<Share>,
    /// 4xx answers.
    pub e4: Option<Share>,
    /// Failed transactions of all transactions.
    pub tx: Option<Share>,
    /// How long the requests took.
    pub took: Took,
}

/// How long requests took.
#[derive(Debug, Clone, PartialEq)]
pub enum Took {
    /// Requests by latency bin.
    Histogram(Vec<(u32, u64)>),
    /// Requests above the thresholds; `None`: not measured.
    Above(Option<Latencies>),
}

impl TraceRecord {
    /// What the detector reads. `None`: a pair of probes, or a histogram with more requests than a count may say.
    ///
    /// * `histogram`: its edges and the thresholds; `None`: the records have what is above them.
    #[must_use]
    pub fn reading(&self, histogram: Option<(&Edges, &Thresholds)>) -> Option<BucketRecord> {
        let reading = match &self.content {
            Content::Pair(_) => return None,
            Content::Witness(reading) => *reading,
            Content::Version(side, counts) => {
                let counts = Counts {
                    requests: counts.requests,
                    e5: counts.e5,
                    tx: counts.tx,
                    e4: counts.e4,
                    latencies: match &counts.took {
                        Took::Histogram(bins) => {
                            let (edges, thresholds) = histogram?;
                            Some(thresholds.latencies(edges, bins).ok()?)
                        }
                        Took::Above(latencies) => *latencies,
                    },
                };
                Reading::Version(*side, counts)
            }
        };
        Some(BucketRecord { start_s: self.start_s, reading })
    }

    /// The old version's latencies before the shift.
    #[must_use]
    pub fn history(&self) -> Option<&[(u32, u64)]> {
        match &self.content {
            Content::Version(Side::Baseline, VersionCounts { took: Took::Histogram(histogram), .. })
                if self.start_s < 0 =>
            {
                Some(histogram)
            }
            Content::Version(..) | Content::Witness(_) | Content::Pair(_) => None,
        }
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
enum LineKind {
    Deploy,
    Poll,
    End,
}

#[derive(Deserialize)]
struct AnyLine {
    kind: LineKind,
    id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    bucket_s: Option<u32>,
    #[serde(default, deserialize_with = "present")]
    history_s: Option<f64>,
    plan: Option<Vec<(f64, f64)>>,
    #[serde(default, deserialize_with = "present")]
    end_s: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    drain_s: Option<f64>,
    edges: Option<Vec<f64>>,
    witness: Option<Vec<WitnessWord>>,
    burst: Option<u32>,
    settings: Option<Object<SettingsText>>,
    reference: Option<Object<ReferenceText>>,
    #[serde(default, deserialize_with = "present")]
    now: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    from: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    anew: Option<f64>,
    buckets: Option<Vec<Object<AnyRecord>>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum WitnessWord {
    Front,
    Peer,
    Probe,
    Pair,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Who {
    Old,
    New,
    Front,
    Peer,
    ProbeOld,
    ProbeNew,
    Pair,
}

#[derive(Deserialize)]
struct AnyRecord {
    v: Who,
    t: Number,
    #[serde(default, deserialize_with = "present")]
    n: Option<Number>,
    old: Option<String>,
    new: Option<String>,
    #[serde(default, deserialize_with = "present")]
    b: Option<Number>,
    #[serde(default, deserialize_with = "present")]
    envs: Option<Number>,
    #[serde(default, deserialize_with = "present")]
    e5: Option<Amount>,
    #[serde(default, deserialize_with = "present")]
    e4: Option<Amount>,
    #[serde(default, deserialize_with = "present")]
    tx: Option<Amount>,
    #[serde(default, deserialize_with = "present")]
    txf: Option<Number>,
    h: Option<Vec<(Number, Number)>>,
    above: Option<Object<AboveText>>,
}

/// So many, or so many bad ones among all.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Amount {
    Share(Number, Number),
    Count(Number),
}

/// Any number, or none where JSON has no word for it.
#[derive(Deserialize, Clone, Copy)]
struct Number(Option<f64>);

/// A member that is there: `null` is no number, which is not the same as a member that is left out.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Number {
    /// A count; the largest that a number can hold exactly is 2^53.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked in the same line")]
    fn count(self) -> Result<u64, String> {
        match self.0 {
            Some(value) if value >= 0.0 && value.fract() == 0.0 && value <= MAX_COUNT_F64 => Ok(value as u64),
            Some(value) => Err(format!("{value} is no count")),
            None => Err(NOT_A_NUMBER.to_owned()),
        }
    }
}

const NOT_A_NUMBER: &str = "not a number";
/// [`MAX_COUNT`] as a number.
const MAX_COUNT_F64: f64 = 9_007_199_254_740_992.0;
const _: () = assert!(MAX_COUNT == 1 << 53);

/// Python writes NaN and Infinity where JSON has no word: they become `null`, so that only their record is lost.
fn without_nan(line: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(line.len());
    let (mut is_text, mut is_escaped, mut has_changed) = (false, false, false);
    let mut rest = line;
    while let Some((first, more)) = rest.split_first() {
        if !is_text
            && let Some(word) = [&b"NaN"[..], b"-Infinity", b"Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            out.extend_from_slice(b"null");
            has_changed = true;
            rest = rest.get(word.len()..).unwrap_or_default();
            continue;
        }
        is_text ^= *first == b'"' && !is_escaped;
        is_escaped = is_text && *first == b'\\' && !is_escaped;
        out.push(*first);
        rest = more;
    }
    has_changed.then_some(out)
}

impl Line {
    /// Reads one line, without its line end.
    ///
    /// * `present`: the deployment that is under way; a bin that its histograms do not have is refused.
    ///
    /// # Errors
    /// When the line is too long, is not JSON of the right shape, or names a version, record or witness that is not known. A record
    /// that says what cannot be (a negative or fractional count, a count above 2^53, more bad events than events, a bin that does
    /// not exist or comes twice) is no record: it is among the ignored ones.
    pub fn read(line: &[u8], present: Option<&Deploy>) -> Result<Self, TraceError> {
        if line.len() > MAX_LINE {
            return Err(TraceError::TooLong);
        }
        let Object(line): Object<AnyLine> = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(error) => {
                let json = |error: serde_json::Error| TraceError::Json(quote(&error.to_string()));
                let line = without_nan(line).ok_or_else(|| json(error))?;
                serde_json::from_slice(&line).map_err(json)?
            }
        };
        match line.kind {
            LineKind::Deploy => deploy(line).map(|deploy| Self::Deploy(Box::new(deploy))),
            LineKind::Poll => {
                let now_s = time("now", line.now.ok_or(missing("poll", "now"))?)?;
                let records = line.buckets.ok_or(missing("poll", "buckets"))?;
                let changes = changes(&line.plan, line.end_s, line.from, line.anew, present)?;
                let (mut read, mut ignored) = (Vec::with_capacity(records.len()), Vec::new());
                for (index, Object(any)) in records.into_iter().enumerate() {
                    match record(index, any, present) {
                        Ok(record) => read.push(record),
                        Err(error) => ignored.push(error),
                    }
                }
                Ok(Self::Poll { now_s, records: read, changes, ignored })
            }
            LineKind::End => Ok(Self::End { now_s: time("now", line.now.ok_or(missing("end", "now"))?)? }),
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
    let settings = line.settings.map(|Object(settings)| settings.read()).transpose()?;
    let references = line.reference.map(|Object(reference)| reference.read()).transpose()?;
    // What is usual needs no history, and no histogram.
    let history_s = line.history_s.or_else(|| references.map(|_| 0.0)).ok_or(missing("deploy", "history_s"))?;
    if !(0.0..=MAX_END_S).contains(&history_s) {
        return Err(member("history_s", format!("{history_s}, it must be 0 to {MAX_END_S}")));
    }
    let schedule = schedule(
        line.bucket_s.ok_or(missing("deploy", "bucket_s"))?,
        line.plan.ok_or(missing("deploy", "plan"))?,
        line.end_s.ok_or(missing("deploy", "end_s"))?,
        line.drain_s.ok_or(missing("deploy", "drain_s"))?,
    )?;
    let edges = line.edges.map(|edges| Edges::new(edges).map_err(|error| member("edges", error))).transpose()?;
    if edges.is_none() && references.is_none() {
        return Err(missing("deploy", "edges"));
    }
    let words = line.witness.unwrap_or_default();
    let witnesses = Witnesses {
        front: words.contains(&WitnessWord::Front),
        peer: words.contains(&WitnessWord::Peer),
        // Pairs are probes: their base pairs are counted by the minute too.
        probe: words.iter().any(|word| matches!(word, WitnessWord::Probe | WitnessWord::Pair)),
        pair: words.contains(&WitnessWord::Pair),
    };
    let burst = line.burst.unwrap_or(DEFAULT_BURST);
    Ok(Deploy { id, schedule, history_s, edges, settings, references, witnesses, burst })
}

fn schedule(bucket_s: u32, plan: Vec<(f64, f64)>, end_s: f64, drain_s: f64) -> Result<TrafficSchedule, TraceError> {
    TrafficSchedule::new(bucket_s, plan, end_s, drain_s).map_err(|error| {
        let field = if error.field == "steps" { "plan" } else { error.field };
        member(field, format!("{}, allowed is {}", error.value, error.allowed))
    })
}

/// What a poll says beside its records; without a deployment there is nothing to change.
fn changes(
    plan: &Option<Vec<(f64, f64)>>,
    end_s: Option<f64>,
    from: Option<f64>,
    anew: Option<f64>,
    present: Option<&Deploy>,
) -> Result<PollChanges, TraceError> {
    let known = present.map(|deploy| &deploy.schedule).filter(|_| plan.is_some() || end_s.is_some());
    let schedule = known.map(|known| {
        let plan = plan.clone().unwrap_or_else(|| known.steps().to_vec());
        schedule(known.bucket_s(), plan, end_s.unwrap_or(known.end_s()), known.drain_s())
    });
    Ok(PollChanges {
        schedule: schedule.transpose()?,
        from_s: from.map(|from| time("from", from)).transpose()?,
        anew_s: anew.map(|anew| time("anew", anew)).transpose()?,
    })
}

fn record(index: usize, any: AnyRecord, present: Option<&Deploy>) -> Result<TraceRecord, TraceError> {
    let path = |name: &str| format!("buckets[{index}].{name}");
    let start_s = start(any.t).map_err(|why| member(path("t"), why))?;
    let content = if any.v == Who::Pair { pair(start_s, &any, path)? } else { counted(any, present, path)? };
    Ok(TraceRecord { start_s, content })
}

/// Two calls at the same second.
fn pair(start_s: i64, any: &AnyRecord, path: impl Fn(&str) -> String) -> Result<Content, TraceError> {
    let outcome = |name: &str, word: &Option<String>| {
        let word = word.as_deref().ok_or_else(|| member(path(name), "missing"))?;
        word.parse::<ProbeOutcome>().map_err(|error| member(path(name), quote(&error.to_string())))
    };
    let small = |name: &str, value: Option<Number>| {
        let value = value.map(|value| value.count()).transpose().map_err(|why| member(path(name), why))?;
        value.map(u32::try_from).transpose().map_err(|_| member(path(name), "too large"))
    };
    let environments = small("envs", any.envs)?;
    Ok(Content::Pair(PairRecord {
        second: u32::try_from(start_s).map_err(|_| member(path("t"), "before the shift"))?,
        baseline: outcome("old", &any.old)?,
        canary: outcome("new", &any.new)?,
        burst: small("b", any.b)?.map(|number| BurstMark { number, environments }),
    }))
}

/// What versions and witnesses did, in counts.
fn counted(any: AnyRecord, present: Option<&Deploy>, path: impl Fn(&str) -> String) -> Result<Content, TraceError> {
    let count = |name, value: Number| value.count().map_err(|why| member(path(name), why));
    let of = |name, bad, all| Share::new(bad, all).map_err(|error| member(path(name), error));
    let requests = count("n", any.n.ok_or_else(|| member(path("n"), "missing"))?)?;
    // `None` where it is left out.
    let share = |name, amount: Option<Amount>, all| match amount {
        Some(Amount::Share(bad, all)) => of(name, count(name, bad)?, count(name, all)?).map(Some),
        Some(Amount::Count(bad)) => of(name, count(name, bad)?, all).map(Some),
        None => Ok(None),
    };
    let is_exact = present.is_some_and(|deploy| deploy.references.is_some());
    // What a trace with a history leaves out, it has counted none of.
    let or_none = |share: Option<Share>, all| share.or((!is_exact).then_some(Share { bad: 0, all }));
    let of_witness = |amount| Ok(share("e5", amount, requests)?.unwrap_or(Share { bad: 0, all: requests }));
    Ok(match any.v {
        Who::Old | Who::New => {
            let side = if any.v == Who::Old { Side::Baseline } else { Side::Canary };
            let tx = match (any.tx, any.txf) {
                (Some(Amount::Count(all)), failed) => {
                    let failed = failed.map_or(Ok(0), |failed| count("txf", failed))?;
                    Some(of("txf", failed, count("tx", all)?)?)
                }
                (None, Some(failed)) => Some(of("txf", count("txf", failed)?, 0)?),
                (both, _) => share("tx", both, 0)?,
            };
            let took = match any.above {
                Some(Object(above)) => Took::Above(Some(above.read().map_err(|why| member(path("above"), why))?)),
                None if is_exact && any.h.is_some() => {
                    return Err(member(path("h"), "a trace with `reference` has `above` instead"));
                }
                None if is_exact => Took::Above(None),
                None => Took::Histogram(
                    histogram(any.h.unwrap_or_default(), present).map_err(|why| member(path("h"), why))?,
                ),
            };
            Content::Version(
                side,
                VersionCounts {
                    requests,
                    e5: or_none(share("e5", any.e5, requests)?, requests),
                    e4: or_none(share("e4", any.e4, requests)?, requests),
                    tx: or_none(tx, 0),
                    took,
                },
            )
        }
        Who::Front => Content::Witness(Reading::Front(requests)),
        Who::Peer => Content::Witness(Reading::Peer(of_witness(any.e5)?)),
        Who::ProbeOld => Content::Witness(Reading::Probe(Side::Baseline, of_witness(any.e5)?)),
        Who::ProbeNew => Content::Witness(Reading::Probe(Side::Canary, of_witness(any.e5)?)),
        Who::Pair => return Err(member(path("v"), "a pair counts nothing")),
    })
}

fn histogram(bins: Vec<(Number, Number)>, present: Option<&Deploy>) -> Result<Vec<(u32, u64)>, String> {
    let mut histogram = Vec::with_capacity(bins.len());
    for (bin, count) in bins {
        histogram.push((u32::try_from(bin.count()?).unwrap_or(u32::MAX), count.count()?));
    }
    // What is usual says how many are above thresholds, not where these are.
    let edges = present.filter(|deploy| deploy.references.is_none()).and_then(|deploy| deploy.edges.as_ref());
    check_histogram(&histogram, edges.map_or(0, Edges::bins)).map_err(|why| why.to_string())?;
    Ok(histogram)
}

/// The start of a bucket: whole seconds.
#[expect(clippy::cast_possible_truncation, reason = "within the bound")]
fn start(value: Number) -> Result<i64, String> {
    match value.0 {
        Some(value) if value.abs() <= MAX_TIME_S && value.fract() == 0.0 => Ok(value as i64),
        Some(value) => Err(format!("{value} s is no time")),
        None => Err(NOT_A_NUMBER.to_owned()),
    }
}

/// Why a histogram is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum HistogramError {
    #[error("bin {bin} does not exist, the last one is {last}")]
    NoSuchBin { bin: u32, last: usize },
    #[error("{0} requests are above 2^53")]
    TooMany(u64),
    #[error("bin {0} comes twice")]
    Twice(u32),
}

fn check_histogram(histogram: &[(u32, u64)], bins: usize) -> Result<(), HistogramError> {
    let mut total = 0_u64;
    for (bin, count) in histogram {
        if usize::try_from(*bin).is_ok_and(|bin| bin >= bins) {
            return Err(HistogramError::NoSuchBin { bin: *bin, last: bins.saturating_sub(1) });
        }
        total = total.saturating_add(*count);
    }
    if total > MAX_COUNT {
        return Err(HistogramError::TooMany(total));
    }
    if !histogram.is_sorted_by(|a, b| a.0 < b.0) {
        let mut seen: Vec<u32> = histogram.iter().map(|(bin, _)| *bin).collect();
        seen.sort_unstable();
        if let Some((bin, _)) = seen.iter().zip(seen.iter().skip(1)).find(|(a, b)| a == b) {
            return Err(HistogramError::Twice(*bin));
        }
    }
    Ok(())
}

/// The reason of an inconclusive end: too few requests to tell.
const EXPOSURE: &str = "exposure";

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
        let Judgement { verdict, reason, log_e, notes, .. } = self.judgement;
        let reason = match verdict {
            Verdict::Inconclusive => EXPOSURE,
            Verdict::Continue | Verdict::Rollback | Verdict::Pass => reason.map_or("", |metric| metric.as_str()),
        };
        write!(f, r#"{{"id":{id},"now":{},"verdict":"{verdict}","reason":"{reason}","log_e":"#, self.now_s)?;
        match log_e {
            Some(log_e) => write!(f, "{log_e:.4}")?,
            None => f.write_str("null")?,
        }
        let codes: Vec<String> = notes.iter().map(|note| format!("\"{note}\"")).collect();
        write!(f, r#","advice":[{}]}}"#, codes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use snapback_judge::detector::Note;
    use snapback_judge::{Metric, Verdict};

    fn read(line: &Value) -> Result<Line, TraceError> {
        read_text(line.to_string().as_bytes())
    }

    /// In the deployment of [`deploy_line`], whose histograms have four bins.
    fn read_text(line: &[u8]) -> Result<Line, TraceError> {
        let Line::Deploy(present) = Line::read(deploy_line().to_string().as_bytes(), None)? else { panic!() };
        Line::read(line, Some(&present))
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

    fn share(bad: u64, all: u64) -> Share {
        Share::new(bad, all).unwrap()
    }

    fn deploy(line: &Value) -> Deploy {
        let Ok(Line::Deploy(deploy)) = read(line) else { panic!("a deploy line: {line}") };
        *deploy
    }

    /// What is read of the records of a poll, and why the others are none.
    fn poll(text: &str) -> (Vec<TraceRecord>, Vec<String>) {
        match read_text(text.as_bytes()) {
            Ok(Line::Poll { now_s, records, ignored, .. }) => {
                assert_eq!(now_s.to_bits(), 130.0_f64.to_bits());
                (records, ignored.iter().map(ToString::to_string).collect())
            }
            other => panic!("a poll line: {text}: {other:?}"),
        }
    }

    #[test]
    fn each_kind_of_line_is_read() {
        let of = deploy(&deploy_line());
        assert_eq!((of.id.as_str(), of.schedule.bucket_s(), of.edges.unwrap().bins()), ("d-1", 60, 4));
        assert_eq!(of.schedule.steps(), [(0.0, 0.1), (300.0, 1.0)]);
        assert_eq!((of.witnesses, of.burst), (Witnesses::default(), 10), "nothing is connected");
        assert_eq!(read(&json!({"kind": "end", "now": 1320.5})), Ok(Line::End { now_s: 1320.5 }));
        assert_eq!(
            read(&json!({"kind": "poll", "now": -0.0, "buckets": []})),
            Ok(Line::Poll { now_s: 0.0, records: vec![], changes: PollChanges::default(), ignored: vec![] })
        );
    }

    #[test]
    fn witnesses_are_connected_by_name() {
        let none = Witnesses::default();
        // (named, connected)
        let table = [
            (json!([]), none),
            (Value::Null, none),
            (json!(["front"]), Witnesses { front: true, ..none }),
            (json!(["peer"]), Witnesses { peer: true, ..none }),
            (json!(["probe"]), Witnesses { probe: true, ..none }),
            (
                json!(["front", "peer", "probe", "probe"]),
                Witnesses { front: true, peer: true, probe: true, pair: false },
            ),
            // Their base pairs are counted by the minute too.
            (json!(["pair"]), Witnesses { probe: true, pair: true, ..none }),
        ];
        for (named, connected) in table {
            assert_eq!(deploy(&with(deploy_line(), "witness", named.clone())).witnesses, connected, "{named}");
        }
        for burst in [0, 1, 50] {
            assert_eq!(deploy(&with(deploy_line(), "burst", json!(burst))).burst, burst);
        }
    }

    #[test]
    fn each_kind_of_record_is_read() {
        let version = VersionCounts {
            requests: 10,
            e5: Some(share(1, 10)),
            e4: Some(share(2, 10)),
            tx: Some(share(3, 3)),
            took: Took::Histogram(vec![(0, 4), (3, 6)]),
        };
        let witness = Content::Witness;
        // (record, what it says)
        let table = [
            (record_line(), Content::Version(Side::Canary, version.clone())),
            (with(record_line(), "v", json!("old")), Content::Version(Side::Baseline, version)),
            (json!({"v": "front", "t": -60, "n": 7}), witness(Reading::Front(7))),
            (json!({"v": "front", "t": -60, "n": 7.0, "e5": 99}), witness(Reading::Front(7))),
            (json!({"v": "peer", "t": -60, "n": 7, "e5": 2}), witness(Reading::Peer(share(2, 7)))),
            (
                json!({"v": "probe_old", "t": -60, "n": 60, "e5": 1}),
                witness(Reading::Probe(Side::Baseline, share(1, 60))),
            ),
            (
                json!({"v": "probe_new", "t": -60, "n": 60, "e5": 60}),
                witness(Reading::Probe(Side::Canary, share(60, 60))),
            ),
        ];
        for (record, content) in table {
            let read = poll(&poll_line(&record).to_string());
            assert_eq!(read, (vec![TraceRecord { start_s: -60, content }], vec![]), "{record}");
        }
    }

    #[test]
    fn a_member_that_is_left_out_counts_nothing() {
        let none_of = |all| Some(share(0, all));
        let nothing = VersionCounts {
            requests: 0,
            e5: none_of(0),
            e4: none_of(0),
            tx: none_of(0),
            took: Took::Histogram(vec![]),
        };
        // (record, what it says)
        let table = [
            (json!({"v": "new", "t": 60, "n": 0}), Content::Version(Side::Canary, nothing.clone())),
            (
                json!({"v": "old", "t": 60, "n": 9}),
                Content::Version(
                    Side::Baseline,
                    VersionCounts { requests: 9, e5: none_of(9), e4: none_of(9), ..nothing.clone() },
                ),
            ),
            (
                json!({"v": "new", "t": 60, "n": 9, "tx": 4}),
                Content::Version(
                    Side::Canary,
                    VersionCounts { requests: 9, e5: none_of(9), e4: none_of(9), tx: none_of(4), ..nothing },
                ),
            ),
            (json!({"v": "peer", "t": 60, "n": 9}), Content::Witness(Reading::Peer(share(0, 9)))),
            (json!({"v": "probe_new", "t": 60, "n": 60}), Content::Witness(Reading::Probe(Side::Canary, share(0, 60)))),
        ];
        for (record, content) in table {
            let read = poll(&poll_line(&record).to_string());
            assert_eq!(read, (vec![TraceRecord { start_s: 60, content }], vec![]), "{record}");
        }
    }

    #[test]
    fn pairs_are_read() {
        use ProbeOutcome::{Fail, Ok, Slow, Unknown};
        let pair = |second, baseline, canary, burst| {
            (
                vec![TraceRecord {
                    start_s: i64::from(second),
                    content: Content::Pair(PairRecord { second, baseline, canary, burst }),
                }],
                vec![],
            )
        };
        let mark = |number, environments| Some(BurstMark { number, environments });
        let table = [
            (json!({"v": "pair", "t": 0, "old": "ok", "new": "fail"}), pair(0, Ok, Fail, None)),
            (json!({"v": "pair", "t": 7, "old": "slow", "new": "unknown"}), pair(7, Slow, Unknown, None)),
            (json!({"v": "pair", "t": 7, "old": "ok", "new": "ok", "b": 0}), pair(7, Ok, Ok, mark(0, None))),
            (
                json!({"v": "pair", "t": 7, "old": "ok", "new": "fail", "b": 3, "envs": 2}),
                pair(7, Ok, Fail, mark(3, Some(2))),
            ),
            // The one pair of a second belongs to no burst, whatever is said of environments.
            (json!({"v": "pair", "t": 7, "old": "ok", "new": "fail", "envs": 2}), pair(7, Ok, Fail, None)),
        ];
        for (record, expected) in table {
            assert_eq!(poll(&poll_line(&record).to_string()), expected, "{record}");
        }
        let record = json!({"v": "pair", "t": 7, "old": "ok", "new": "ok"});
        // (member, its value, why it is no record)
        let table = [
            ("old", Value::Null, "`buckets[0].old`: missing"),
            (
                "new",
                json!("okay"),
                "`buckets[0].new`: unknown probe outcome `okay`, allowed is one of: ok, fail, slow, unknown",
            ),
            ("t", json!(-1), "`buckets[0].t`: before the shift"),
            ("t", json!(0.5), "`buckets[0].t`: 0.5 s is no time"),
            ("b", json!(-1), "`buckets[0].b`: -1 is no count"),
            ("b", Value::Null, "`buckets[0].b`: not a number"),
            ("b", json!(1_u64 << 32), "`buckets[0].b`: too large"),
            ("envs", json!(1.5), "`buckets[0].envs`: 1.5 is no count"),
            ("envs", json!(1_u64 << 32), "`buckets[0].envs`: too large"),
        ];
        for (name, value, why) in table {
            let line = poll_line(&with(record.clone(), name, value)).to_string();
            assert_eq!(poll(&line), (vec![], vec![why.to_owned()]), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_is_no_record_and_is_named() {
        // (case, member, its value, why)
        let table = [
            ("no requests", "n", "", "`buckets[1].n`: missing"),
            ("not a number of requests", "n", "NaN", "`buckets[1].n`: not a number"),
            ("not a number of errors", "e5", "NaN", "`buckets[1].e5`: not a number"),
            ("null", "e4", "null", "`buckets[1].e4`: not a number"),
            ("infinitely many", "tx", "Infinity", "`buckets[1].tx`: not a number"),
            ("less than nothing", "txf", "-Infinity", "`buckets[1].txf`: not a number"),
            ("no time", "t", "NaN", "`buckets[1].t`: not a number"),
            ("negative", "n", "-1", "`buckets[1].n`: -1 is no count"),
            ("fractional", "n", "1.5", "`buckets[1].n`: 1.5 is no count"),
            ("large", "n", "9007199254740994", "`buckets[1].n`: 9007199254740994 is no count"),
            ("larger than any integer", "n", "1e300", "is no count"),
            ("more errors than requests", "e5", "11", "`buckets[1].e5`: 11 bad events among 10"),
            ("more 4xx than requests", "e4", "11", "`buckets[1].e4`: 11 bad events among 10"),
            ("more failed than all", "txf", "4", "`buckets[1].txf`: 4 bad events among 3"),
            ("failed ones of nothing", "tx", "", "`buckets[1].txf`: 3 bad events among 0"),
            ("late", "t", "1000000001", "`buckets[1].t`: 1000000001 s is no time"),
            ("between seconds", "t", "0.5", "`buckets[1].t`: 0.5 s is no time"),
            ("bin", "h", "[[4, 1]]", "`buckets[1].h`: bin 4 does not exist, the last one is 3"),
            ("bin of nothing", "h", "[[1e18, 1]]", "`buckets[1].h`: 1000000000000000000 is no count"),
            ("negative bin", "h", "[[-1, 1]]", "`buckets[1].h`: -1 is no count"),
            ("not a number in a bin", "h", "[[0, NaN]]", "`buckets[1].h`: not a number"),
            ("bin twice", "h", "[[2, 1], [0, 1], [2, 1]]", "`buckets[1].h`: bin 2 comes twice"),
            ("bins in any order", "h", "[[2, 1], [2, 0]]", "`buckets[1].h`: bin 2 comes twice"),
            (
                "full bins",
                "h",
                "[[0, 9007199254740992], [1, 1]]",
                "`buckets[1].h`: 9007199254740993 requests are above 2^53",
            ),
        ];
        let good = r#"{"v": "front", "t": 0, "n": 1, "why": "NaN is in a \"text\""}"#;
        for (case, member, value, why) in table {
            let mut record = record_line();
            let old = record.as_object_mut().unwrap().remove(member);
            assert!(old.is_some(), "{case}");
            let text = record.to_string();
            let text = if value.is_empty() { text } else { format!(r#"{{"{member}": {value}, {}"#, &text[1..]) };
            let line = format!(r#"{{"kind": "poll", "now": 130, "buckets": [{good}, {text}, {good}]}}"#);
            let (records, ignored) = poll(&line);
            assert_eq!(records.len(), 2, "{case}: the others count");
            assert!(matches!(ignored.as_slice(), [said] if said.contains(why)), "{case}: {ignored:?}");
        }
        for who in ["peer", "probe_old", "probe_new"] {
            let (records, ignored) = poll(&poll_line(&json!({"v": who, "t": 0, "n": 1, "e5": 2})).to_string());
            assert_eq!((records.len(), ignored.len()), (0, 1), "{who}");
            assert!(ignored[0].contains("`buckets[0].e5`: 2 bad events among 1"), "{who}: {ignored:?}");
        }
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
            (
                "unknown witness",
                deploy("witness", json!(["front", "queue"])),
                "unknown variant `queue`, expected one of `front`, `peer`, `probe`, `pair`",
            ),
            ("one witness", deploy("witness", json!("front")), "invalid type: string"),
            ("negative burst", deploy("burst", json!(-1)), "invalid value: integer `-1`"),
            (
                "unknown record",
                record("v", json!("newer")),
                "unknown variant `newer`, expected one of `old`, `new`, `front`, `peer`",
            ),
            ("nobody's record", poll_line(&json!({"t": 0, "n": 1})), "missing field `v`"),
            ("a record of no time", poll_line(&json!({"v": "old", "n": 1})), "missing field `t`"),
            ("a count in words", record("n", json!("ten")), "invalid type: string"),
        ];
        for (case, line, expected) in table {
            let message = read(&line).unwrap_err().to_string();
            assert!(message.contains(expected), "{case}: {message}");
        }
        let texts = [
            ("NaN", r#"{"kind":"end","now":NaN}"#, "invalid type: null"),
            ("a name", r#"{"kind":"end","now":nan}"#, "expected ident"),
            ("infinite", r#"{"kind":"end","now":1e999}"#, "number out of range"),
            ("a key twice", r#"{"kind":"end","now":1,"now":2}"#, "duplicate field `now`"),
            ("two documents", r#"{"kind":"end","now":1}{}"#, "trailing characters"),
            ("half a document", r#"{"kind":"end","#, "EOF"),
        ];
        for (case, line, expected) in texts {
            let message = read_text(line.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected), "{case}: {message}");
        }
        assert_eq!(read_text(&vec![b' '; MAX_LINE + 1]), Err(TraceError::TooLong));
    }

    #[test]
    fn the_detector_reads_what_the_record_says() {
        let edges = Edges::new(vec![1.0, 2.0, 4.0]).unwrap();
        let thresholds = Thresholds { body: [0; 7], q90: 1, q99: 2 };
        let of = |record: Value| {
            let (mut records, ignored) = poll(&poll_line(&record).to_string());
            assert!(ignored.is_empty(), "{ignored:?}");
            records.remove(0)
        };
        let version = of(record_line());
        let Some(BucketRecord { start_s: -60, reading: Reading::Version(Side::Canary, counts) }) =
            version.reading(Some((&edges, &thresholds)))
        else {
            panic!("the new version's counts")
        };
        let latencies = counts.latencies.unwrap();
        assert_eq!(
            (counts.requests, counts.e5, counts.tx, counts.e4),
            (10, Some(share(1, 10)), Some(share(3, 3)), Some(share(2, 10)))
        );
        // Four of ten lie below the first edge, and six above the last one.
        assert_eq!((latencies.all, latencies.body, latencies.q99[0]), (10, [6; 7], Some(6)));
        let peer = of(json!({"v": "peer", "t": 0, "n": 7, "e5": 2}));
        let expected = BucketRecord { start_s: 0, reading: Reading::Peer(share(2, 7)) };
        assert_eq!(peer.reading(None), Some(expected));
        let pair = of(json!({"v": "pair", "t": 0, "old": "ok", "new": "ok"}));
        assert_eq!(pair.reading(Some((&edges, &thresholds))), None, "pairs are not counted by the bucket");
        // The history of latencies is the old version's before the shift.
        let old = with(record_line(), "v", json!("old"));
        assert_eq!(of(old.clone()).history(), Some(&[(0, 4), (3, 6)][..]));
        for (case, record) in [("new", record_line()), ("in the shift", with(old, "t", json!(0)))] {
            assert_eq!(of(record).history(), None, "{case}");
        }
        assert_eq!(peer.history(), None);
    }

    #[test]
    fn a_verdict_line_is_json_with_four_decimals() {
        let judgement = |verdict, reason, log_e, notes| Judgement { verdict, reason, log_e, evidence: vec![], notes };
        let table = [
            (
                judgement(Verdict::Continue, None, None, vec![]),
                0.0,
                r#""now":0,"verdict":"continue","reason":"","log_e":null,"advice":[]}"#,
            ),
            (
                judgement(Verdict::Rollback, Some(Metric::Traffic), Some(3.00006), vec![Note::NoRecord]),
                130.0,
                r#""now":130,"verdict":"rollback","reason":"traffic","log_e":3.0001,"advice":["no-record"]}"#,
            ),
            (
                judgement(Verdict::Inconclusive, None, Some(-1.23456), vec![]),
                0.5,
                r#""now":0.5,"verdict":"inconclusive","reason":"exposure","log_e":-1.2346,"advice":[]}"#,
            ),
            (
                judgement(
                    Verdict::Pass,
                    None,
                    Some(0.0),
                    vec![Note::OthersFail, Note::Late(Metric::E5), Note::Margin(Metric::Body)],
                ),
                1320.0,
                r#""now":1320,"verdict":"pass","reason":"","log_e":0.0000,"advice":["others-fail","late:e5","margin:body"]}"#,
            ),
        ];
        for (judgement, now_s, expected) in table {
            let line = VerdictLine { id: "d\"1\n", now_s, judgement: &judgement }.to_string();
            assert_eq!(line, format!(r#"{{"id":"d\"1\n",{expected}"#));
            let parsed: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed["id"], "d\"1\n");
        }
    }

    fn any_json_number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| format!("{number:?}").replace("inf", "Infinity")),
            (0..9_u8).prop_map(|number| number.to_string()),
            Just("NaN".to_owned()),
            Just("null".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            r#"\{"kind":"(poll|end|deploy)","now":-?[0-9]{1,20}(\.[0-9])?,"buckets":\[[{}\[\]":,a-zN0-9-]{0,80}\]\}"#
                .prop_map(String::into_bytes),
        ]) {
            if let Err(error) = read_text(&line) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        /// What is not a record is ignored, and the detector can read what is one.
        #[test]
        fn any_numbers_make_a_record_or_none(
            who in "old|new|front|peer|probe_old|probe_new|pair",
            numbers in prop::collection::vec(any_json_number(), 12),
            bin in any_json_number(),
        ) {
            let names = ["t", "n", "e5", "e4", "tx", "txf", "b", "envs"];
            let members: Vec<String> =
                names.iter().zip(&numbers).map(|(name, number)| format!(r#""{name}":{number}"#)).collect();
            let record = format!(
                r#"{{"v":"{who}","old":"ok","new":"fail",{},"h":[[{bin},{}]]}}"#, members.join(","), numbers[8],
            );
            let line = format!(r#"{{"kind":"poll","now":130,"buckets":[{record}]}}"#);
            let Ok(Line::Poll { records, ignored, .. }) = read_text(line.as_bytes()) else {
                return Err(TestCaseError::fail(line));
            };
            prop_assert_eq!(records.len() + ignored.len(), 1, "{}", line);
            let edges = Edges::new(vec![1.0, 2.0, 4.0]).unwrap();
            let thresholds = Thresholds { body: [0; 7], q90: 1, q99: 2 };
            for record in records {
                let is_pair = matches!(record.content, Content::Pair(_));
                prop_assert_eq!(record.reading(Some((&edges, &thresholds))).is_none(), is_pair, "{}", line);
            }
        }
    }
}
