//! What the processes of each function said, bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Most lines kept per function; the oldest go first.
const LINES_MAX: usize = 2_000;

/// One line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read, milliseconds since 1970.
    pub at_ms: i64,
    /// Version that said it.
    pub version: String,
    /// Who said it.
    pub source: LogSource,
    /// The line, without its end.
    pub text: String,
}

/// Where a log line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// Lambda itself: time-outs and exits.
    Platform,
}

/// Logs of all functions.
#[derive(Debug, Default)]
pub(super) struct LogBook {
    lines: Mutex<BTreeMap<String, VecDeque<LogLine>>>,
}

impl LogBook {
    /// Appends a line.
    pub(super) fn push(&self, function: &str, line: LogLine) {
        let mut book = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = book.entry(function.to_owned()).or_default();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines kept, oldest first.
    pub(super) fn of(&self, function: &str) -> Vec<LogLine> {
        let book = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(function).map(|lines| lines.iter().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept() {
        let book = LogBook::default();
        for number in 0..=LINES_MAX {
            let line =
                LogLine { at_ms: 0, version: "1".to_owned(), source: LogSource::Stdout, text: number.to_string() };
            book.push("checkout", line);
        }
        let lines = book.of("checkout");
        assert_eq!((lines.len(), lines[0].text.as_str()), (LINES_MAX, "1"));
        assert_eq!(book.of("other"), []);
    }
}
