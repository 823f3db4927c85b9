//! `snapback judge`: the detector on a trace, one verdict per poll.

mod session;

use std::io::{BufRead as _, BufReader, BufWriter, ErrorKind, Read, Write};
use std::process::ExitCode;

use clap::Args;
use snapback_judge::detector::DetectorSettings;
use snapback_wire::trace::MAX_LINE;

use crate::output::{Failure, exit};
use session::Session;

/// Bytes that are read and written at once.
const BUFFER: usize = 1 << 18;

/// Arguments of `snapback judge`.
#[derive(Debug, Args)]
pub(crate) struct Judge {
    /// Say on standard error, whenever a verdict changes and at each end, what it rests on
    #[arg(long)]
    explain: bool,
}

impl Judge {
    pub(crate) fn run(self) -> ExitCode {
        let input = BufReader::with_capacity(BUFFER, std::io::stdin().lock());
        let explanations = self.explain.then(std::io::stderr);
        exit(judge(input, std::io::stdout().lock(), explanations, std::io::stderr()))
    }
}

/// Answers all lines of `input`, an answer always before the next line is waited for.
fn judge<R: Read>(
    mut input: BufReader<R>,
    answers: impl Write,
    mut explanations: Option<impl Write>,
    mut complaints: impl Write,
) -> Result<(), Failure> {
    let mut answers = BufWriter::with_capacity(BUFFER, answers);
    let settings = DetectorSettings::default_method();
    let mut session = Session::new(&settings, explanations.is_some());
    // With the line end, or one byte more than allowed: enough to see that a line is too long.
    let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX).saturating_add(2);
    let mut line = Vec::new();
    for number in 1_u64.. {
        if !input.buffer().contains(&b'\n') && !goes_on(answers.flush())? {
            return Ok(());
        }
        line.clear();
        let size = input.by_ref().take(most).read_until(b'\n', &mut line);
        if size.map_err(|error| Failure::unable(format!("cannot read line {number}: {error}")))? == 0 {
            break;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.len() <= MAX_LINE && text.trim_ascii().is_empty() {
            continue;
        }
        match session.answer(text) {
            Ok(answer) => {
                if !goes_on(answers.write_all(answer.line.as_bytes()))? {
                    return Ok(());
                }
                complain(&mut complaints, number, &answer.complaints)?;
                // Explanations are a service on the side: verdicts go on when nobody reads them.
                if let Some(explanations) = &mut explanations {
                    goes_on(explanations.write_all(answer.explanation.as_bytes()))?;
                }
            }
            Err(why) => {
                goes_on(answers.flush())?;
                return Err(Failure::input(format!("line {number}: {why}")));
            }
        }
    }
    if let Some(id) = session.cut() {
        let cut = format!("deployment {} has no `end` line: the trace was cut", id.escape_debug());
        goes_on(writeln!(complaints, "snapback: at the end: {cut}"))?;
    }
    goes_on(answers.flush()).map(|_| ())
}

/// What is wrong with a line that was judged nevertheless.
fn complain(to: &mut impl Write, line: u64, what: &str) -> Result<(), Failure> {
    what.lines().try_for_each(|what| goes_on(writeln!(to, "snapback: line {line}: {what}")).map(|_| ()))
}

/// Whether there still is a reader; one that has seen enough is no failure.
fn goes_on(result: std::io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::unable(format!("cannot write the answer: {error}"))),
    }
}

#[cfg(test)]
mod tests;
