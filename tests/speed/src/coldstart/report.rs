//! What was measured, as JSON and as tables.

use std::fmt::Write as _;

use serde::Serialize;

use super::figures::Figures;
use super::freeze::Frozen;
use super::limits::Held;
use super::machine::Machine;
use super::package::{Size, megabytes};
use super::session::BEFORE;
use crate::statistics::Summary;
use crate::table::Table;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The command that measured it.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Cold starts of each.
    pub rounds: u32,
    /// Time added to each request in `latency`, ms.
    pub latency_ms: u64,
    /// Memory that has the CPU of `small`, MB.
    pub memory_mb: u32,
    /// Functions and hooks.
    pub subjects: Vec<Subject>,
    /// The hook before traffic over a freeze.
    pub freeze: Vec<Frozen>,
    /// What was not measured.
    pub skipped: Vec<Skipped>,
    /// Limits and what was measured.
    pub limits: Vec<Held>,
}

/// One function, or one of the hooks that it is compared with.
#[derive(Debug, Serialize)]
pub struct Subject {
    /// Name of the function; `python` or `node`.
    pub name: String,
    /// What it is made of.
    pub made_of: String,
    /// Its first event.
    pub event: String,
    /// With a whole CPU.
    pub full: Option<Figures>,
    /// With the CPU of a small function from its first poll on.
    pub small: Option<Figures>,
    /// With a whole CPU, and time added to each request.
    pub latency: Option<Figures>,
    /// By callgrind.
    pub instructions: Option<Instructions>,
    /// Bytes of the binary that was measured.
    pub measured_bytes: Option<u64>,
    /// Of what is deployed.
    pub shipped: Option<Size>,
}

/// Millions of instructions.
#[derive(Debug, Clone, Serialize)]
pub struct Instructions {
    /// Until it asks for its first event.
    pub init: Option<f64>,
    /// Until it asks for its second.
    pub to_answer: Summary,
    /// Between the runs, as a share of the median.
    pub spread: f64,
}

/// What was not measured, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Skipped {
    pub what: String,
    pub why: String,
}

/// Title and cells.
type Row = (String, Vec<String>);
/// Title, and the figure of one column.
type Figure<'a, T> = (&'a str, &'a dyn Fn(&T) -> Option<Summary>);
/// Title, and what one column says.
type Cell<'a> = (&'a str, &'a dyn Fn(&Subject) -> String);

impl Report {
    /// By name.
    #[must_use]
    pub fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.name == name)
    }

    /// Tables for people, and for a README.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Machine { system, cpu, cores, load, rustc } = &self.machine;
        let load = load.map(|load| load.map_or_else(|| "?".to_owned(), |load| format!("{load:.1}")));
        let mut text = format!(
            "`{}` on {system}, {cores} cores of {cpu}, {rustc}, load {}. {} cold starts each, interleaved; median (10 % to 90 %).\n",
            self.command,
            load.join(" to "),
            self.rounds
        );
        let ours = self.subject(BEFORE);
        let hooks: Vec<&Subject> =
            ours.into_iter().chain(["python", "node"].into_iter().filter_map(|name| self.subject(name))).collect();
        if hooks.len() > 1 {
            text.push_str("\nThe same hook in each language, with the same AWS calls. In brackets: times ours.\n\n");
            let head: Vec<String> = hooks.iter().map(|hook| hook.made_of.clone()).collect();
            _ = write!(text, "{}", table(&head, self.hook_rows(&hooks)));
        }
        let functions: Vec<&Subject> =
            self.subjects.iter().filter(|subject| subject.measured_bytes.is_some()).collect();
        if !functions.is_empty() {
            text.push_str(
                "\nEach function. Its later events are new deployments for `before-allow-traffic`, the same event again for the others.\n\n",
            );
            let names: Vec<String> = functions.iter().map(|function| format!("`{}`", function.name)).collect();
            _ = write!(text, "{}", table(&names, function_rows(&functions, &self.small())));
            for function in &functions {
                _ = writeln!(text, "\n`{}`: {}.", function.name, function.event);
            }
        }
        if !self.freeze.is_empty() {
            text.push_str("\n`before-allow-traffic` after it was frozen between two events.\n\n");
            let head: Vec<String> = self.freeze.iter().map(|frozen| frozen.case.clone()).collect();
            _ = write!(text, "{}", table(&head, freeze_rows(&self.freeze)));
        }
        text.push_str(
            "\nOwn time is that in which no request is under way at an AWS service; it contains the handshakes of new connections, also \
             the part of the server, which runs on the same machine. Each trusts the root certificates that it comes with, and the \
             benchmark's: Snapback Amazon's, which are in its binary; boto3 those in botocore's cacert.pem; Node.js those in its \
             binary.\n",
        );
        for Skipped { what, why } in &self.skipped {
            _ = writeln!(text, "\nSkipped: {what}: {why}.");
        }
        text
    }

    fn small(&self) -> String {
        format!("first event with the CPU of {} MB, ms", self.memory_mb)
    }

    fn hook_rows(&self, hooks: &[&Subject]) -> Vec<Row> {
        let latency = format!("first event with {} ms of latency, ms", self.latency_ms);
        let small = self.small();
        let rows: [Figure<'_, Subject>; 14] = [
            ("init, ms", &|hook| hook.full.as_ref()?.init_ms),
            ("first event, ms", &|hook| hook.full.as_ref()?.first_ms),
            ("own time in it, ms", &|hook| hook.full.as_ref()?.first_own_ms),
            ("start to first answer, ms", &|hook| hook.full.as_ref()?.to_answer_ms),
            ("CPU to first answer, ms", &|hook| hook.full.as_ref()?.cpu_ms),
            ("later events, ms", &|hook| hook.full.as_ref()?.warm_ms),
            ("CPU of a later event, ms", &|hook| hook.full.as_ref()?.warm_cpu_ms),
            (&small, &|hook| hook.small.as_ref()?.first_ms),
            ("own time in it, ms", &|hook| hook.small.as_ref()?.first_own_ms),
            (&latency, &|hook| hook.latency.as_ref()?.first_ms),
            ("memory, MiB", &|hook| hook.full.as_ref()?.rss_mb),
            ("AWS calls to first answer", &|hook| hook.full.as_ref()?.calls),
            ("connections to first answer", &|hook| hook.full.as_ref()?.connections),
            ("connections made in init", &|hook| hook.full.as_ref()?.init_connections),
        ];
        let row = |(name, figure): Figure<'_, Subject>| {
            let ours = hooks.first().and_then(|hook| figure(hook));
            let cells = hooks.iter().enumerate().map(|(index, hook)| match (figure(hook), ours) {
                (Some(theirs), Some(ours)) if index > 0 && ours.median > 0.0 => {
                    format!("{} [{}]", cell(theirs), number(theirs.median / ours.median))
                }
                (Some(summary), _) => cell(summary),
                (None, _) => "-".to_owned(),
            });
            (name.to_owned(), cells.collect::<Vec<_>>())
        };
        rows.into_iter().map(row).filter(|(_, cells)| cells.iter().any(|cell| cell != "-")).collect()
    }
}

fn function_rows(functions: &[&Subject], small: &str) -> Vec<Row> {
    let built = |bytes: Option<u64>| bytes.and_then(megabytes).map_or_else(|| "not built".to_owned(), number);
    let text = |summary: Option<Summary>| summary.map_or_else(|| "-".to_owned(), cell);
    let calls = |function: &Subject| {
        let full = function.full.as_ref()?;
        let sum = |calls: &super::recorder::Calls| calls.values().sum::<u64>();
        Some(format!("{} + {}", sum(&full.calls_of_init), sum(&full.calls_of_first)))
    };
    let instructions = |function: &Subject| {
        let found = function.instructions.as_ref()?;
        let total = number(found.to_answer.median);
        Some(found.init.map_or_else(|| total.clone(), |init| format!("{total} (init {})", number(init))))
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows: [Cell<'_>; 15] = [
        ("init, ms", &|function| text(function.full.as_ref().and_then(|full| full.init_ms))),
        ("CPU of init, ms", &|function| text(function.full.as_ref().and_then(|full| full.init_cpu_ms))),
        ("first event, ms", &|function| text(function.full.as_ref().and_then(|full| full.first_ms))),
        ("own time in it, ms", &|function| text(function.full.as_ref().and_then(|full| full.first_own_ms))),
        ("CPU to first answer, ms", &|function| text(function.full.as_ref().and_then(|full| full.cpu_ms))),
        ("later events, ms", &|function| text(function.full.as_ref().and_then(|full| full.warm_ms))),
        (small, &|function| text(function.small.as_ref().and_then(|small| small.first_ms))),
        ("own time in it, ms", &|function| text(function.small.as_ref().and_then(|small| small.first_own_ms))),
        ("memory, MiB", &|function| text(function.full.as_ref().and_then(|full| full.rss_mb))),
        ("AWS calls, init + first event", &|function| or_none(calls(function))),
        ("connections to first answer", &|function| text(function.full.as_ref().and_then(|full| full.connections))),
        ("million instructions to first answer", &|function| or_none(instructions(function))),
        ("binary measured here, MB", &|function| built(function.measured_bytes)),
        ("binary in the package, MB", &|function| built(function.shipped.and_then(|size| size.binary))),
        ("package (zip), MB", &|function| built(function.shipped.and_then(|size| size.zip))),
    ];
    let row =
        |(name, cell): Cell<'_>| (name.to_owned(), functions.iter().map(|function| cell(function)).collect::<Vec<_>>());
    rows.into_iter().map(row).filter(|(_, cells)| cells.iter().any(|cell| cell != "-")).collect()
}

fn freeze_rows(cases: &[Frozen]) -> Vec<Row> {
    let rows: [Figure<'_, Frozen>; 3] = [
        ("event to answer, ms", &|case| case.ms),
        ("AWS calls", &|case| case.calls),
        ("new connections", &|case| case.connections),
    ];
    let row = |(name, figure): Figure<'_, Frozen>| {
        (name.to_owned(), cases.iter().map(|case| figure(case).map_or_else(|| "-".to_owned(), cell)).collect())
    };
    rows.into_iter().map(row).collect()
}

/// Median with its range, where there is one.
fn cell(summary: Summary) -> String {
    let [low, median, high] = [summary.p10, summary.median, summary.p90].map(number);
    if low == high { median } else { format!("{median} ({low} to {high})") }
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    let is_whole = (value - value.round()).abs() < 1e-9;
    match value.abs() {
        _ if is_whole => format!("{value:.0}"),
        size if size < 1.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn table(head: &[String], rows: Vec<Row>) -> Table {
    let head = std::iter::once("").chain(head.iter().map(String::as_str));
    let mut table = Table::new(head).to_the_left();
    for (name, cells) in rows {
        table.row(std::iter::once(name).chain(cells));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let table = [
            (0.0, "0"),
            (3.0, "3"),
            (0.1234, "0.12"),
            (4.567, "4.6"),
            (45.67, "45.7"),
            (456.7, "457"),
            (1065.4, "1065"),
        ];
        for (value, expected) in table {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_range_is_shown_where_there_is_one() {
        assert_eq!(cell(Summary::of([19.0, 19.0]).unwrap()), "19");
        assert_eq!(cell(Summary::of([1.0, 2.0, 3.0]).unwrap()), "2 (1 to 3)");
    }
}
