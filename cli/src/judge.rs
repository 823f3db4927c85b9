//! `snapback judge`: the detector on a trace, one verdict per poll.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::process::ExitCode;

use clap::Args;
use snapback_core::canary::{BucketRecord, Judgement, Settings, Side, State, Thresholds};
use snapback_wire::trace::{Deploy, Line, MAX_LINE, Record, TraceError, VerdictLine};

use crate::output::{Failure, exit};

/// Bytes that are read and written at once.
const BUFFER: usize = 1 << 18;

/// Reads deployment traces (JSON lines) on standard input and answers each `poll` and `end` line with one verdict line.
///
/// An answer is written before the next line is waited for. Exit code 0 when every line was judged, whatever the verdicts;
/// 2 on an invalid line, after all earlier answers.
#[derive(Debug, Args)]
pub(crate) struct Judge {
    /// Say on standard error what each verdict rests on
    #[arg(long)]
    explain: bool,
}

impl Judge {
    pub(crate) fn run(self) -> ExitCode {
        let _ = self.explain;
        let input = BufReader::with_capacity(BUFFER, std::io::stdin().lock());
        exit(judge(input, std::io::stdout().lock()))
    }
}

/// Judges all lines of `input`.
fn judge<R: Read>(mut input: BufReader<R>, output: impl Write) -> Result<(), Failure> {
    let mut output = std::io::BufWriter::with_capacity(BUFFER, output);
    let settings = Settings::default_method();
    let mut session = Session { settings: &settings, deployment: None };
    let mut line = Vec::new();
    for number in 1_u64.. {
        // Whoever waits for an answer gets it before we wait for the next line.
        if !input.buffer().contains(&b'\n') && !written(output.flush())? {
            return Ok(());
        }
        line.clear();
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).saturating_add(2);
        let size = input.by_ref().take(most).read_until(b'\n', &mut line);
        if size.map_err(|error| Failure::unable(format!("cannot read line {number}: {error}")))? == 0 {
            break;
        }
        match session.answer(line.trim_ascii_end(), &mut output) {
            Ok(written) => {
                if !written {
                    return Ok(());
                }
            }
            Err(Wrong::Line(why)) => {
                written(output.flush())?;
                return Err(Failure::input(format!("line {number}: {why}")));
            }
            Err(Wrong::Output(failure)) => return Err(failure),
        }
    }
    written(output.flush()).map(|_| ())
}

/// Whether there still is a reader; one that has seen enough is no failure.
fn written(result: std::io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::unable(format!("cannot write the answer: {error}"))),
    }
}

enum Wrong {
    Line(String),
    Output(Failure),
}

impl From<TraceError> for Wrong {
    fn from(error: TraceError) -> Self {
        Self::Line(error.to_string())
    }
}

/// The deployment that is being judged.
struct Session<'a> {
    settings: &'a Settings,
    deployment: Option<Deployment>,
}

struct Deployment {
    deploy: Deploy,
    begun: Option<(State, Thresholds)>,
}

impl Session<'_> {
    /// Judges one line; `false` when nobody reads the answers any more.
    fn answer(&mut self, line: &[u8], output: &mut impl Write) -> Result<bool, Wrong> {
        if line.is_empty() {
            return Ok(true);
        }
        let bins = self.deployment.as_ref().map_or(0, |deployment| deployment.deploy.edges.bins());
        let settings = self.settings;
        let (now_s, judgement) = match Line::read(line, bins)? {
            Line::Deploy(deploy) => {
                self.deployment = Some(Deployment { deploy: *deploy, begun: None });
                return Ok(true);
            }
            Line::Poll { now_s, records } => (now_s, self.present("poll")?.poll(settings, now_s, &records)?),
            Line::End { now_s } => (now_s, self.present("end")?.end(settings)),
        };
        let Some(deployment) = &self.deployment else { return Ok(true) };
        let answer = VerdictLine { id: &deployment.deploy.id, now_s, judgement: &judgement };
        let goes_on = written(writeln!(output, "{answer}")).map_err(Wrong::Output)?;
        Ok(goes_on)
    }

    fn present(&mut self, kind: &str) -> Result<&mut Deployment, Wrong> {
        let wrong = || Wrong::Line(format!("a `{kind}` line before any `deploy` line"));
        self.deployment.as_mut().ok_or_else(wrong)
    }
}

impl Deployment {
    fn poll(&mut self, settings: &Settings, now_s: f64, records: &[Record]) -> Result<Judgement, Wrong> {
        let (state, thresholds) = match self.begun.take() {
            Some(begun) => begun,
            None => begin(settings, &self.deploy, records)?,
        };
        let new = bucket_records(records.iter().filter(|record| record.start_s >= 0), &thresholds)?;
        let (state, judgement) = State::step(settings, &self.deploy.course, state, &new, now_s);
        self.begun = Some((state, thresholds));
        Ok(judgement)
    }

    fn end(&mut self, settings: &Settings) -> Judgement {
        match &self.begun {
            Some((state, _)) => State::finish(settings, state),
            None => State::finish(settings, &State::begin(settings, &self.deploy.course, 0.0, &[])),
        }
    }
}

fn begin(settings: &Settings, deploy: &Deploy, records: &[Record]) -> Result<(State, Thresholds), Wrong> {
    let history = || records.iter().filter(|record| record.side == Side::Baseline && record.start_s < 0);
    let thresholds = Thresholds::of_history(&deploy.edges, history().map(|record| record.histogram.as_slice()));
    let history = bucket_records(history(), &thresholds)?;
    Ok((State::begin(settings, &deploy.course, deploy.history_s, &history), thresholds))
}

fn bucket_records<'a>(
    records: impl Iterator<Item = &'a Record>,
    thresholds: &Thresholds,
) -> Result<Vec<BucketRecord>, Wrong> {
    let one = |record: &Record| {
        let counts = record.counts(thresholds).map_err(|error| Wrong::Line(error.to_string()))?;
        Ok(BucketRecord { side: record.side, start_s: record.start_s, counts })
    };
    records.map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn golden(name: &str) -> Vec<u8> {
        let path = format!("{}/../tests/detection/golden.{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
        text
    }

    fn answers(trace: &[u8]) -> (Vec<Value>, Result<(), Failure>) {
        let mut output = Vec::new();
        let result = judge(BufReader::new(trace), &mut output);
        let lines = String::from_utf8(output).unwrap();
        (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), result)
    }

    #[test]
    fn every_poll_of_the_golden_traces_gets_the_expected_verdict() {
        let (found, result) = answers(&golden("trace"));
        result.unwrap();
        let expected = golden("verdict");
        let expected = std::str::from_utf8(&expected).unwrap().lines();
        let expected: Vec<Value> = expected.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(found.len(), expected.len());
        assert_eq!(expected.len(), 2460, "18 traces");
        let mut judged = 0;
        for (found, expected) in found.iter().zip(&expected) {
            for member in ["id", "now", "verdict", "reason"] {
                assert_eq!(found[member], expected[member], "{member} of {found}, expected {expected}");
            }
            match (found["log_e"].as_f64(), expected["log_e"].as_f64()) {
                (Some(found_e), Some(expected_e)) => {
                    assert!((found_e - expected_e).abs() <= 0.001, "{found}, expected {expected}");
                    judged += 1;
                }
                (found_e, expected_e) => assert_eq!(found_e, expected_e, "{found}, expected {expected}"),
            }
        }
        assert!(judged > 2000, "{judged} lines have evidence");
    }
}
