//! `bench-detection`: plays simulated deployments to all detectors and writes tables and plots.

use snapback_detection::board::{Board, Row};
use snapback_detection::judge::Contestant;
use snapback_detection::rivals::RIVALS;
use snapback_detection::run::{Series, play_all};
use snapback_detection::snapback::{SNAPBACK, SNAPBACK_ALONE};
use snapback_detection::{plots, report};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Plays simulated deployments to Snapback's detector and to others, and writes what each costs.

Usage: bench-detection [--seed N] [--n N] [--bucket 60|10] [--out FOLDER]

  --seed N       seed of all deployments (default 1)
  --n N          deployments per class, request rate and plan, 1 to 1000 (default 20: 4,480 deployments)
  --bucket S     length of a bucket in seconds, 60 or 10 (default 60)
  --out FOLDER   where README.md, scores.csv and the plots go (default docs/detection)
  --help         this text

The same command writes the same bytes. Exit code 0: written; 2: wrong usage, or the folder cannot be written.";

struct Arguments {
    seed: u64,
    count: u64,
    bucket_s: i64,
    out: PathBuf,
}

/// The arguments, or `None` when help is asked for.
fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let mut arguments = Arguments { seed: 1, count: 20, bucket_s: 60, out: PathBuf::from("docs/detection") };
    while let Some(word) = words.next() {
        if word == "--help" || word == "-h" {
            return Ok(None);
        }
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{word} {text}: not a whole number"));
        match word.as_str() {
            "--seed" => arguments.seed = number(value()?)?,
            "--n" => {
                arguments.count = number(value()?)?;
                if !(1..=1000).contains(&arguments.count) {
                    return Err(format!("--n {}: allowed is 1 to 1000", arguments.count));
                }
            }
            "--bucket" => {
                arguments.bucket_s = match value()?.as_str() {
                    "60" => 60,
                    "10" => 10,
                    other => return Err(format!("--bucket {other}: allowed are 60 and 10")),
                };
            }
            "--out" => arguments.out = PathBuf::from(value()?),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(Some(arguments))
}

/// The command that makes the same page again: what `make bench-detection` runs, with the arguments that differ from it.
fn command(arguments: &Arguments) -> String {
    let mut command = String::from("make bench-detection");
    if (arguments.seed, arguments.count, arguments.bucket_s) != (1, 20, 60) {
        let (seed, count, bucket_s) = (arguments.seed, arguments.count, arguments.bucket_s);
        command += &format!(" ARGS='--seed {seed} --n {count} --bucket {bucket_s}'");
    }
    command
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("bench-detection: {message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let board = play(&arguments);
    match write(&arguments.out, &board, &command(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-detection: could not write to {}: {error}", arguments.out.display());
            ExitCode::from(2)
        }
    }
}

fn play(arguments: &Arguments) -> Board {
    let series = Series::full(arguments.seed, arguments.count, arguments.bucket_s);
    let specs = series.specs();
    let total = specs.len();
    let is_terminal = std::io::stderr().is_terminal();
    let progress = |done: usize| {
        if is_terminal && (done.is_multiple_of(20) || done == total) {
            eprint!("\r{done} of {total} deployments{}", if done == total { "\n" } else { "" });
        } else if !is_terminal && (done.is_multiple_of(500) || done == total) {
            eprintln!("{done} of {total} deployments");
        }
    };
    let contestants: Vec<Contestant> = [SNAPBACK_ALONE, SNAPBACK].into_iter().chain(RIVALS).collect();
    let columns = play_all(&specs, &contestants, &progress);
    let mut rows = contestants.into_iter().zip(columns).map(|(contestant, outcomes)| Row { contestant, outcomes });
    let alone = rows.next().unwrap_or(Row { contestant: SNAPBACK_ALONE, outcomes: Vec::new() });
    Board { series, rows: rows.collect(), alone }
}

fn write(folder: &Path, board: &Board, command: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let files = [
        ("README.md", report::page(board, command)),
        ("scores.csv", report::csv(board)),
        ("overview.svg", plots::overview(board)),
        ("trade-off.svg", plots::trade_off(board)),
        ("over-time.svg", plots::over_time(board)),
        ("by-class.svg", plots::by_class(board)),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
