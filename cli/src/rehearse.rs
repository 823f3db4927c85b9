//! `snapback rehearse`: plays scenarios and compares how they end with how they must end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::output::{Failure, exit};
use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;
use snapback_emulator::iam::Ask;
use snapback_rehearsal::wiring::Wiring;
use snapback_rehearsal::{
    Audience, DeploymentEnd, Line, Play, Report, Scenario, ScenarioError, check_binaries, names, play,
};

/// What one core carries at once, in requests a second of all scenarios that are being played. They mostly wait: 600 requests
/// a second keep a third of one core busy, and the rest is room for functions that start.
const ROOM_PER_CORE: usize = 360;
/// What a scenario takes beside its requests: an emulator, and six functions that start now and then.
const ROOM_OF_AN_EMULATOR: f64 = 40.0;

/// Arguments of `snapback rehearse`.
#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    /// Scenarios to play; see --list
    scenarios: Vec<String>,
    /// Play all built-in scenarios
    #[arg(long, conflicts_with = "scenarios")]
    all: bool,
    /// Play a scenario of your own (YAML); may be repeated
    #[arg(long, value_name = "FILE")]
    scenario_file: Vec<PathBuf>,
    /// List the built-in scenarios with one line each
    #[arg(long)]
    list: bool,
    /// Print one JSON document on standard output; the timeline goes to standard error
    #[arg(long)]
    json: bool,
    /// How many seconds an AWS minute lasts on the emulator
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = minute)]
    minute: f64,
    /// Folder of the function binaries; default: where `snapback` itself is
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// Keep the table of the rehearsal in this SQLite file (one scenario only; a file that is there is replaced)
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Play with this function of Snapback switched off, to see the rehearsal fail; may be repeated
    #[arg(long, value_name = "FUNCTION")]
    without: Vec<String>,
    /// Play on the wiring of this SAM template instead of the built-in one (infra/sam/template.yaml)
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// Print no timeline
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn minute(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.5..=60.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("allowed is 0.5 to 60 (seconds)".to_owned()),
    }
}

/// The document of `--json`.
#[derive(Debug, Serialize)]
struct Document {
    ok: bool,
    scenarios: Vec<Report>,
    /// What functions and the services of AWS asked of the template's roles and policies, in all scenarios.
    asked: BTreeSet<Ask>,
}

impl Rehearse {
    /// Plays; the exit code is 0 when every scenario ended as expected, 1 when one did not, 2 for wrong input, 3 when the
    /// rehearsal could not run.
    pub(crate) fn run(self) -> ExitCode {
        if self.list {
            return list();
        }
        let scenarios = match self.chosen() {
            Ok(scenarios) => scenarios,
            Err(why) => return fail(2, &why),
        };
        if self.store.is_some() && scenarios.len() != 1 {
            return fail(2, "--store keeps the table of one scenario: name exactly one");
        }
        let folder = match &self.functions {
            Some(folder) => folder.clone(),
            None => match own_folder() {
                Ok(folder) => folder,
                Err(failure) => return exit(Err(failure)),
            },
        };
        let wiring = match self.wiring() {
            Ok(wiring) => wiring,
            Err(why) => return fail(2, &why),
        };
        if let Err(error) = check_binaries(&wiring, &folder) {
            return fail(3, &error.to_string());
        }
        if let Err(why) = self.replace_store() {
            return fail(3, &why);
        }
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(3, &format!("cannot start: {error}")),
        };
        let how = Play {
            wiring: Arc::new(wiring),
            functions: folder,
            minute: Duration::from_secs_f64(self.minute),
            store: self.store.clone(),
            without: self.without.clone(),
            audience: self.audience(scenarios.len() > 1),
        };
        let reports = runtime.block_on(async {
            tokio::select! {
                reports = play_all(scenarios.clone(), how) => Some(reports),
                // Everything on the emulator ends with the runtime; no process is left behind.
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        match reports {
            Some(reports) => self.tell(reports, &scenarios),
            None => fail(3, "interrupted"),
        }
    }

    fn chosen(&self) -> Result<Vec<Scenario>, String> {
        let named: Vec<&str> = if self.all { names() } else { self.scenarios.iter().map(String::as_str).collect() };
        let mut scenarios: Vec<Scenario> = named
            .into_iter()
            .map(Scenario::built_in)
            .collect::<Result<_, ScenarioError>>()
            .map_err(|error| error.to_string())?;
        for file in &self.scenario_file {
            let text =
                std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            let name = file.file_stem().map_or_else(|| "scenario".into(), |stem| stem.to_string_lossy());
            scenarios.push(Scenario::parse(&name, &text).map_err(|error| error.to_string())?);
        }
        if scenarios.is_empty() {
            return Err(format!("name a scenario, or use --all; there are: {}", names().join(", ")));
        }
        Ok(scenarios)
    }

    fn wiring(&self) -> Result<Wiring, String> {
        let Some(file) = &self.template else { return Wiring::built_in().map_err(|error| error.to_string()) };
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        Wiring::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// The table of an earlier run would be read as part of this one.
    fn replace_store(&self) -> Result<(), String> {
        let Some(store) = &self.store else { return Ok(()) };
        if let Some(folder) = store.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut name = store.clone().into_os_string();
            name.push(suffix);
            match std::fs::remove_file(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(format!("cannot replace {}: {error}", store.display()));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Prints each line of the timeline as it comes: to standard output, or to standard error beside `--json`.
    fn audience(&self, is_many: bool) -> Audience {
        if self.quiet {
            return Arc::new(|_, _| {});
        }
        let to_stderr = self.json;
        let colours = if to_stderr { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let last = Mutex::new(BTreeMap::<String, i64>::new());
        Arc::new(move |scenario: &str, line: Line| {
            // Looked at every quarter of a second, so lines of one look may be out of order by as much.
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let at_ms = line.at_ms.max(*last.get(scenario).unwrap_or(&0));
            last.insert(scenario.to_owned(), at_ms);
            let text = timeline_line(is_many.then_some(scenario), at_ms, &line, colours);
            let written = if to_stderr {
                writeln!(std::io::stderr().lock(), "{text}")
            } else {
                writeln!(std::io::stdout().lock(), "{text}")
            };
            // Nobody reads any more: the rehearsal goes on for its exit code.
            drop(written);
        })
    }

    fn tell(&self, reports: Vec<Report>, scenarios: &[Scenario]) -> ExitCode {
        // A scenario that broke off has no report, and is no success.
        let ok = reports.len() == scenarios.len() && reports.iter().all(|report| report.ok);
        if self.json {
            let asked = reports.iter().flat_map(|report| report.asked.iter().cloned()).collect();
            let document = Document { ok, scenarios: reports, asked };
            match serde_json::to_string(&document) {
                Ok(text) => println!("{text}"),
                Err(error) => return fail(3, &format!("cannot write the document: {error}")),
            }
        } else {
            println!("\n{}", table(&reports));
            for report in &reports {
                if let (true, Some(scenario)) = (reports.len() == 1, scenarios.first()) {
                    summary(report, scenario);
                }
                for end in &report.deployments {
                    println!("{}: {}", report.name, ended(end));
                }
                for problem in &report.problems {
                    println!("{}: {problem}", report.name);
                }
            }
            self.next_commands(&reports);
        }
        if ok { ExitCode::SUCCESS } else { ExitCode::from(1) }
    }

    /// What to type next, when the table was kept.
    fn next_commands(&self, reports: &[Report]) {
        let id = reports.first().and_then(|report| report.deployment.as_deref());
        if let (Some(store), Some(id)) = (&self.store, id) {
            let snapback = std::env::args().next().unwrap_or_else(|| "snapback".to_owned());
            println!("\nThe record is kept in {}. Read it with:", store.display());
            println!("  {snapback} history --store {}", store.display());
            println!("  {snapback} explain {id} --store {}", store.display());
        }
    }
}

/// Plays as many at once as there is room for, those with the longest warm-up first, so that none is left for the end. The
/// reports are in the order of `scenarios`.
async fn play_all(scenarios: Vec<Scenario>, how: Play) -> Vec<Report> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let room_max = ROOM_PER_CORE * cores;
    let room = Arc::new(tokio::sync::Semaphore::new(room_max));
    let is_many = scenarios.len() > 1;
    let mut queue: Vec<(usize, Scenario)> = scenarios.into_iter().enumerate().collect();
    queue.sort_by_key(|(_, scenario)| std::cmp::Reverse(scenario.warm_up_time()));
    let mut tasks = Vec::new();
    for (index, scenario) in queue {
        let needed = u32::try_from(room_of(&scenario).min(room_max)).unwrap_or(u32::MAX);
        let taken = room.clone().acquire_many_owned(needed).await;
        let how = how.clone();
        tasks.push(tokio::spawn(async move {
            let report = play(&scenario, &how).await;
            drop(taken);
            if is_many {
                progress(&report);
            }
            (index, report)
        }));
    }
    let mut reports = BTreeMap::new();
    for task in tasks {
        match task.await {
            Ok((index, report)) => drop(reports.insert(index, report)),
            Err(error) => eprintln!("snapback: a scenario broke off: {error}"),
        }
    }
    reports.into_values().collect()
}

/// What a scenario takes of the machine, in requests a second.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a load is 0 to 500, which the scenario's parser checks"
)]
fn room_of(scenario: &Scenario) -> usize {
    (scenario.load() + ROOM_OF_AN_EMULATOR).ceil() as usize
}

/// One line on standard error for each scenario that is over: all of them take minutes.
fn progress(report: &Report) {
    let word = if report.ok { "ok" } else { "FAILED" };
    let outcome = report.outcome.as_deref().unwrap_or("no outcome");
    eprintln!("{word:<7} {:<24} {outcome} ({} s)", report.name, report.duration_ms / 1000);
}

/// Where `snapback` itself is, and the function binaries beside it.
pub(crate) fn own_folder() -> Result<PathBuf, Failure> {
    let exe = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
    exe.ok_or_else(|| Failure::unable("cannot tell where snapback itself is; name the functions with --functions DIR"))
}

fn list() -> ExitCode {
    for name in names() {
        if let Ok(scenario) = Scenario::built_in(name) {
            println!("{name:<24} {:<24} {}", scenario.expected_outcome(), scenario.about);
        }
    }
    ExitCode::SUCCESS
}

fn timeline_line(scenario: Option<&str>, at_ms: i64, line: &Line, colours: bool) -> String {
    let seconds = format!("{:>4}.{} s", at_ms / 1000, at_ms % 1000 / 100);
    let scenario = scenario.map(|name| format!("{name:<24} ")).unwrap_or_default();
    let who = format!("{:<10}", line.who);
    let text: String = line.text.replace('\n', " ");
    if !colours {
        return format!("{seconds}  {scenario}{who} {text}");
    }
    let colour = match line.who {
        "snapback" => "1;36",
        "alarm" => "1;33",
        "alias" => "32",
        "message" => "35",
        _ => "0",
    };
    format!("\x1b[2m{seconds}\x1b[0m  {scenario}\x1b[{colour}m{who} {text}\x1b[0m")
}

fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "",
        "scenario",
        "outcome",
        "cause",
        "trigger",
        "detected",
        "rolled back",
        "requests harmed",
        "took",
    ]);
    let seconds =
        |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100));
    for report in reports {
        let outcome = report.outcome.clone().unwrap_or_else(|| "none".to_owned());
        table.add_row([
            if report.ok { "ok".to_owned() } else { "FAILED".to_owned() },
            report.name.clone(),
            if outcome == report.expected { outcome } else { format!("{outcome} (expected {})", report.expected) },
            report.cause.clone().unwrap_or_else(|| "-".to_owned()),
            report.trigger.clone().unwrap_or_else(|| "-".to_owned()),
            seconds(report.detected_ms),
            seconds(report.rolled_back_ms),
            format!("{} of {}", report.requests_harmed, report.requests),
            seconds(Some(report.duration_ms)),
        ]);
    }
    table
}

/// One of several deployments of a scenario.
fn ended(end: &DeploymentEnd) -> String {
    let outcome = end.outcome.as_deref().unwrap_or("no outcome");
    let why: Vec<String> = [("cause", &end.cause), ("trigger", &end.trigger)]
        .into_iter()
        .filter_map(|(what, value)| value.as_ref().map(|value| format!(", {what} {value}")))
        .collect();
    format!("{} {}: {outcome}{}", end.name, end.deployment, why.concat())
}

/// What it came to, in words.
fn summary(report: &Report, scenario: &Scenario) {
    let (Some(impact), Some(detected), Some(back)) =
        (report.impact_started_ms, report.detected_ms, report.rolled_back_ms)
    else {
        return;
    };
    let seconds = |ms: i64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    println!("\nFirst harmed request     {} after the deployment began", seconds(impact));
    println!("Detected                 {} later", seconds(detected - impact));
    println!("Old version alone again  {} after that", seconds(back - detected));
    println!("Requests harmed          {} of {}", report.requests_harmed, report.requests);
    // A person who is paged, looks and rolls back by hand needs half an hour; by then the canary has all traffic.
    let half_hour = 1800.0 * scenario.load() * report.harm_rate;
    println!(
        "Without Snapback         about {half_hour:.0} harmed requests, if somebody had rolled back by hand half an hour after \
         all traffic had moved ({:.0} % of the new version's requests fail, {} requests a second)",
        report.harm_rate * 100.0,
        scenario.load()
    );
}

fn fail(code: u8, why: &str) -> ExitCode {
    eprintln!("snapback: {why}");
    ExitCode::from(code)
}
