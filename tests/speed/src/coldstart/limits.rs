//! What a cold start may cost at most.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::options::Most;
use super::report::{Report, Subject};
use super::session::{BEFORE, FUNCTIONS};

/// Limits of one function; each is of a median.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Millions of instructions to the first answer.
    pub instructions: Option<f64>,
    /// CPU time to the first answer, as a share of the Python hook's.
    pub cpu_ratio: Option<f64>,
    /// AWS calls to the first answer.
    pub calls: Option<f64>,
    /// Connections to the first answer.
    pub connections: Option<f64>,
    /// Largest resident memory to the first answer, MiB.
    pub rss_mb: Option<f64>,
    /// Own time of the first event, ms.
    pub own_ms: Option<f64>,
}

/// A limit and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Held {
    /// Function.
    pub function: String,
    /// What is limited, for people.
    pub figure: &'static str,
    /// At most.
    pub limit: f64,
    /// `None`: nothing was.
    pub measured: Option<f64>,
    /// Where to look when it is broken.
    pub look_at: &'static str,
}

impl Held {
    /// Whether more was measured than is allowed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.measured.is_some_and(|measured| measured > self.limit)
    }
}

impl From<&Most> for Limits {
    fn from(most: &Most) -> Self {
        Self {
            instructions: most.max_instructions,
            cpu_ratio: most.max_cpu_ratio,
            calls: most.max_calls,
            connections: most.max_connections,
            rss_mb: most.max_rss_mb,
            own_ms: most.max_own_ms,
        }
    }
}

/// Limits by function: those in `file`, and over them those of the command line for the hook before traffic.
///
/// # Errors
/// When the file is not valid.
pub fn read(file: Option<&Path>, most: &Most) -> Result<BTreeMap<String, Limits>, Failure> {
    let mut limits: BTreeMap<String, Limits> = BTreeMap::new();
    if let Some(file) = file {
        let at = |why: String| format!("limits in {}: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
        limits = serde_json::from_str(&text).map_err(|error| at(error.to_string()))?;
        if let Some(unknown) = limits.keys().find(|name| FUNCTIONS.iter().all(|(known, _)| known != name)) {
            return Err(at(format!("there is no function `{unknown}`")).into());
        }
    }
    let given = Limits::from(most);
    let before = limits.remove(BEFORE).unwrap_or_default();
    let merged = Limits {
        instructions: given.instructions.or(before.instructions),
        cpu_ratio: given.cpu_ratio.or(before.cpu_ratio),
        calls: given.calls.or(before.calls),
        connections: given.connections.or(before.connections),
        rss_mb: given.rss_mb.or(before.rss_mb),
        own_ms: given.own_ms.or(before.own_ms),
    };
    if merged != Limits::default() {
        limits.insert(BEFORE.to_owned(), merged);
    }
    Ok(limits)
}

/// Each limit beside what was measured.
#[must_use]
pub fn compare(limits: &BTreeMap<String, Limits>, report: &Report) -> Vec<Held> {
    limits.iter().flat_map(|(function, limits)| of_function(function, limits, report)).collect()
}

fn of_function(function: &str, limits: &Limits, report: &Report) -> Vec<Held> {
    let subject = report.subject(function);
    let full = subject.and_then(|subject| subject.full.as_ref());
    let cpu = |subject: Option<&Subject>| Some(subject?.full.as_ref()?.cpu_ms?.median);
    let ratio = cpu(subject).zip(cpu(report.subject("python"))).map(|(ours, theirs)| ours / theirs);
    let instructions = subject.and_then(|subject| Some(subject.instructions.as_ref()?.to_answer.median));
    let rows = [
        (
            "millions of instructions to the first answer",
            limits.instructions,
            instructions,
            "callgrind_annotate: what is new at init (roots, regexes, clients), or a further handshake",
        ),
        (
            "CPU time to the first answer, as a share of the Python hook's",
            limits.cpu_ratio,
            ratio,
            "the profile of the build, crates that were added, what main.rs does before it runs",
        ),
        (
            "AWS calls to the first answer",
            limits.calls,
            full.and_then(|full| Some(full.calls?.median)),
            "calls_of_init and calls_of_first in the JSON: which one is new?",
        ),
        (
            "connections to the first answer",
            limits.connections,
            full.and_then(|full| Some(full.connections?.median)),
            "calls side by side open a connection each; a pool that is not shared; a connection that is not kept",
        ),
        (
            "largest resident memory, MiB",
            limits.rss_mb,
            full.and_then(|full| Some(full.rss_mb?.median)),
            "the size of the binary, tables that are filled at init, buffers",
        ),
        (
            "own time of the first event, ms",
            limits.own_ms,
            full.and_then(|full| Some(full.first_own_ms?.median)),
            "work that init could do, handshakes in the event, waits between calls",
        ),
    ];
    let held = |(figure, limit, measured, look_at): (&'static str, Option<f64>, Option<f64>, &'static str)| {
        Some(Held { function: function.to_owned(), figure, limit: limit?, measured, look_at })
    };
    rows.into_iter().filter_map(held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            r#"{"before-allow-traffic": {"calls": 20, "rss_mb": 12}, "watcher": {"own_ms": 4}}"#,
        )
        .unwrap();
        let most = Most { max_calls: Some(19.0), ..Most::default() };
        let limits = read(Some(file.path()), &most).unwrap();
        let expected = BTreeMap::from([
            (BEFORE.to_owned(), Limits { calls: Some(19.0), rss_mb: Some(12.0), ..Limits::default() }),
            ("watcher".to_owned(), Limits { own_ms: Some(4.0), ..Limits::default() }),
        ]);
        assert_eq!(limits, expected);
        assert_eq!(read(None, &Most::default()).unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_wrong_file_says_why() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let table = [
            (r#"{"watch": {}}"#, "there is no function `watch`"),
            (r#"{"watcher": {"call": 1}}"#, "unknown field `call`"),
            ("{", "EOF"),
        ];
        for (text, part) in table {
            std::fs::write(file.path(), text).unwrap();
            let error = read(Some(file.path()), &Most::default()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn only_more_than_the_limit_breaks_it() {
        let held =
            |measured| Held { function: "watcher".to_owned(), figure: "calls", limit: 5.0, measured, look_at: "" };
        for (measured, expected) in [(Some(4.9), false), (Some(5.0), false), (Some(5.1), true), (None, false)] {
            assert_eq!(held(measured).is_broken(), expected, "{measured:?}");
        }
    }
}
