//! `snapback`: rehearse, watch, explain and operate, from a terminal.

mod rehearse;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Bad deployments undo themselves.
#[derive(Debug, Parser)]
#[command(name = "snapback", version, about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play scenarios on the embedded AWS with the real function binaries
    Rehearse(rehearse::Rehearse),
}

/// Exit codes: 0 fine, 1 the answer is "bad", 2 usage or invalid input, 3 could not tell or could not run.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Rehearse(command) => command.run(),
    }
}
