//! `snapback`: rehearse, watch, explain and operate, from a terminal.
//!
//! Exit codes: 0 fine; 1 the answer is "bad"; 2 usage or invalid input; 3 could not tell or could not run.

mod arguments;
mod doctor;
#[cfg(feature = "lab")]
mod emulator;
mod explain;
mod history;
mod judge;
mod operate;
mod output;
mod pause;
mod policy;
mod record;
#[cfg(feature = "lab")]
mod rehearse;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Bad deployments undo themselves.
///
/// Exit codes: 0 fine, 1 the answer is "bad", 2 usage or invalid input, 3 could not tell or could not run.
#[derive(Debug, Parser)]
#[command(name = "snapback", version, about, long_about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play scenarios on the embedded AWS with the real function binaries
    #[cfg(feature = "lab")]
    #[command(after_help = "Example: snapback rehearse errors-in-canary")]
    Rehearse(rehearse::Rehearse),
    /// Keep the embedded AWS running, for the AWS CLI or any SDK
    #[cfg(feature = "lab")]
    #[command(after_help = "Example: snapback emulator --port 4566")]
    Emulator(emulator::Keep),
    /// List deployments, newest first, and how they ended
    #[command(after_help = "Example: snapback history --store target/demo/table.sqlite")]
    History(history::History),
    /// Tell the timeline of one deployment: what was seen, decided and done, and why
    #[command(after_help = "Example: snapback explain d-A1B2C3D4E --store target/demo/table.sqlite")]
    Explain(explain::Explain),
    /// End a bake early: the new version is good enough
    #[command(after_help = "Example: snapback promote d-A1B2C3D4E --why 'hotfix, checked by hand'")]
    Promote(operate::Operate),
    /// Go back to the old version now
    #[command(after_help = "Example: snapback rollback d-A1B2C3D4E --why 'support sees wrong prices'")]
    Rollback(operate::Operate),
    /// Kill switch: from now on Snapback only observes, everywhere or in one deployment group
    #[command(after_help = PAUSE_HELP)]
    Pause(pause::Switch),
    /// End a pause: Snapback acts again
    #[command(after_help = RESUME_HELP)]
    Resume(pause::Switch),
    /// Judge deployment traces: is the new version worse than the old one?
    #[command(after_help = "Example: snapback judge --explain < deployments.trace.jsonl > deployments.verdict.jsonl")]
    Judge(judge::Judge),
    /// Find configuration that can never work: in templates of CloudFormation or SAM, or in an account
    #[command(after_help = DOCTOR_HELP)]
    Doctor(doctor::Doctor),
    /// Write, check and push the policy file of a service
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
}

const DOCTOR_HELP: &str = "\
The rules are in docs/doctor.md, each with why and how to fix it. One rule can be ignored on one resource: \
Metadata: { snapback: { ignore: [rule-id] } }.

Templates are read offline. With --application and --group, or --all-groups, deployment groups of an account are looked at and \
nothing is changed.

Exit codes: 0 no errors (warnings do not count, unless --fail-on warning), 1 errors found, 2 usage or a file that cannot be read \
(its line is said), 3 the account could not be looked at.

Examples:
  snapback doctor template.yaml cdk.out/*.template.json
  snapback doctor --application shop --group live";

const PAUSE_HELP: &str = "\
While a pause holds, deployments are judged and recorded as in mode `observe`: nothing is refused or rolled back, hooks are \
answered, also for deployments that are live already. It takes effect within a minute. What was decided before is finished; \
`snapback promote` and `snapback rollback` work; the alarms on the deployment group stay CodeDeploy's.

Exit codes: 0 it is paused (also when it was before: then nothing is changed), 2 usage, 3 could not tell or could not run.

Example: snapback pause --group checkout-app/checkout-live --why 'alarms are being rebuilt'";

const RESUME_HELP: &str = "\
What looks bad by then is acted on. A pause of the whole installation and one of a group are ended each by itself.

Exit codes: 0 the pause is over, 1 there was none (nothing is changed), 2 usage, 3 could not tell or could not run.

Example: snapback resume --group checkout-app/checkout-live --why 'alarms are there again'";

fn main() -> ExitCode {
    let to_stderr = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN);
    to_stderr.without_time().with_target(false).init();
    match Arguments::parse().command {
        #[cfg(feature = "lab")]
        Command::Rehearse(command) => command.run(),
        #[cfg(feature = "lab")]
        Command::Emulator(command) => command.run(),
        Command::History(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Promote(command) => command.run(snapback_core::deployment::Verb::Promote),
        Command::Rollback(command) => command.run(snapback_core::deployment::Verb::RollBack),
        Command::Pause(command) => command.pause(),
        Command::Resume(command) => command.resume(),
        Command::Judge(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Policy(command) => command.run(),
    }
}
