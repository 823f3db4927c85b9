//! What a cold start may cost at most.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::package::megabytes;
use super::report::{Report, Subject};
use super::session::FUNCTIONS;

/// Limits of one function; each is of a median, but the size, and CPU, which is of the smallest values.
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
    /// Size of the package, MB (10^6 bytes).
    pub zip_mb: Option<f64>,
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

/// Limits by function, in `file`.
///
/// # Errors
/// When the file is not valid.
pub fn read(file: &Path) -> Result<BTreeMap<String, Limits>, Failure> {
    let at = |why: String| format!("limits in {}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
    let limits: BTreeMap<String, Limits> = serde_json::from_str(&text).map_err(|error| at(error.to_string()))?;
    match limits.keys().find(|name| FUNCTIONS.iter().all(|(known, _)| known != name)) {
        Some(unknown) => Err(at(format!("there is no function `{unknown}`")).into()),
        None => Ok(limits),
    }
}

/// Each limit of a function that is in the report, beside what was measured.
#[must_use]
pub fn compare(limits: &BTreeMap<String, Limits>, report: &Report) -> Vec<Held> {
    let python = report.subject("python");
    let of = |(function, limits): (&String, &Limits)| Some(of_function(limits, report.subject(function)?, python));
    limits.iter().filter_map(of).flatten().collect()
}

fn of_function(limits: &Limits, subject: &Subject, python: Option<&Subject>) -> Vec<Held> {
    let full = subject.full.as_ref();
    // What else runs on the machine only adds: the smallest values are the steadiest.
    let cpu = |subject: &Subject| Some(subject.full.as_ref()?.cpu_ms?.min);
    let ratio = cpu(subject).zip(python.and_then(cpu)).map(|(ours, theirs)| ours / theirs);
    let instructions = subject.instructions.as_ref().map(|found| found.to_answer.median);
    let zip = subject.shipped.and_then(|size| size.zip);
    let rows = [
        (
            "millions of instructions to the first answer",
            limits.instructions,
            instructions,
            "callgrind_annotate: what is new at init (roots, regexes, clients), or a further handshake",
        ),
        (
            "smallest CPU time to the first answer, as a share of the Python hook's",
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
        (
            "size of the package (zip), MB",
            limits.zip_mb,
            zip.and_then(megabytes),
            "cargo tree and the largest symbols of the binary: which crate or client is new?",
        ),
    ];
    let held = |(figure, limit, measured, look_at): (&'static str, Option<f64>, Option<f64>, &'static str)| {
        Some(Held { function: subject.name.clone(), figure, limit: limit?, measured, look_at })
    };
    rows.into_iter().filter_map(held).collect()
}

#[cfg(test)]
mod tests {
    use super::super::machine::Machine;
    use super::super::package::Size;
    use super::*;

    fn given(text: &str) -> Result<BTreeMap<String, Limits>, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn a_wrong_file_says_why() {
        let table = [
            (r#"{"watch": {}}"#, "there is no function `watch`"),
            (r#"{"watcher": {"call": 1}}"#, "unknown field `call`"),
            ("{", "EOF"),
        ];
        for (text, part) in table {
            let error = given(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_committed_limits_are_of_all_functions() {
        let limits = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("limits.json")).unwrap();
        for (function, _) in FUNCTIONS {
            let limits = limits.get(function).unwrap();
            assert!(limits.instructions.is_some() && limits.zip_mb.is_some(), "{function}: {limits:?}");
        }
    }

    #[test]
    fn only_what_was_asked_for_is_held_to_its_limits() {
        let subject = |name: &str, shipped| Subject {
            name: name.to_owned(),
            made_of: String::new(),
            event: String::new(),
            full: None,
            small: None,
            latency: None,
            instructions: None,
            measured_bytes: None,
            shipped,
        };
        let report = Report {
            command: String::new(),
            machine: Machine::look(),
            rounds: 1,
            latency_ms: 0,
            memory_mb: 128,
            subjects: vec![
                subject("watcher", Some(Size { binary: None, zip: Some(4_800_001) })),
                subject("python", None),
            ],
            freeze: Vec::new(),
            skipped: Vec::new(),
            limits: Vec::new(),
        };
        let limits = given(r#"{"watcher": {"calls": 9, "zip_mb": 4.8}, "alarm-handler": {"zip_mb": 1}}"#).unwrap();
        let held = compare(&limits, &report);
        let found: Vec<_> = held.iter().map(|held| (held.function.as_str(), held.limit, held.measured)).collect();
        assert_eq!(found, [("watcher", 9.0, None), ("watcher", 4.8, Some(4.800_001))]);
        assert_eq!(held.iter().map(Held::is_broken).collect::<Vec<_>>(), [false, true]);
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
