//! `make bench-coldstart`: what a cold start of each function costs, beside hooks in Python and JavaScript that do the same.

pub mod certificates;
pub mod code;
pub mod error;
pub mod figures;
pub mod freeze;
pub mod front;
pub mod instructions;
pub mod interval;
pub mod limits;
pub mod machine;
pub mod options;
pub mod package;
pub mod recorder;
pub mod report;
pub mod run;
pub mod sample;
pub mod session;
pub mod share;
pub mod under_valgrind;
pub mod world;

use std::process::ExitCode;

use clap::Parser;

use error::{Failure, NotComparable, NotPossible};
use options::Options;
use report::Report;

use crate::options::write;

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return could_not(&format!("cannot start: {error}"), 3),
    };
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = run::run(&options) => measured,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    });
    match measured.and_then(|report| tell(&options, &report).map(|()| report)) {
        Ok(report) => judge(&report),
        Err(error) if error.is::<NotComparable>() => could_not(&error.to_string(), 1),
        Err(error) if error.is::<NotPossible>() => {
            // Where it must not go unnoticed a skip is a failure.
            let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            could_not(&format!("skipped: {error}"), if is_ci { 1 } else { 3 })
        }
        Err(error) => could_not(&error.to_string(), 3),
    }
}

fn could_not(why: &str, code: u8) -> ExitCode {
    eprintln!("bench-coldstart: {why}");
    ExitCode::from(code)
}

fn tell(options: &Options, report: &Report) -> Result<(), Failure> {
    let tables = report.markdown();
    println!("{tables}");
    if let Some(file) = &options.json {
        write(file, serde_json::to_string_pretty(report)? + "\n")?;
    }
    if let Some(file) = &options.markdown {
        write(file, tables)?;
    }
    Ok(())
}

/// Says how the limits were held.
fn judge(report: &Report) -> ExitCode {
    let mut code = 0;
    for held in &report.limits {
        let limits::Held { function, figure, limit, measured, look_at } = held;
        match measured {
            None => {
                println!("NOT MEASURED: {function}: {figure} (limit {limit}); see what was skipped or not built");
                code = code.max(3);
            }
            Some(measured) if held.is_broken() => {
                println!("LIMIT BROKEN: {function}: {figure}: {measured:.3}, limit {limit}; look at: {look_at}");
                code = code.max(1);
            }
            Some(measured) => println!("{function}: {figure}: {measured:.3}, limit {limit}"),
        }
    }
    let is_broken = report.limits.iter().any(limits::Held::is_broken);
    ExitCode::from(if is_broken { 1 } else { code })
}
