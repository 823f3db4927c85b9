//! The command line.

use std::path::PathBuf;

use clap::Parser;

use super::session::{BEFORE, FUNCTIONS};
use super::share::WHOLE_CPU_MB;

/// Measures cold starts of the functions on the embedded AWS, behind TLS, beside hooks in Python and JavaScript that make the same
/// calls.
///
/// Each function is started again and again on a fresh emulator, one at a time, interleaved with the other hooks: time of init, of the
/// first and of later answers; CPU time; memory; AWS calls; connections; instructions. Own time is what is left of an answer's time
/// while no request is under way at an AWS service. Quantiles are by nearest rank. What this machine cannot measure is skipped, with
/// the reason.
///
/// Exit codes: 0 fine; 1 a limit is broken, or the other hooks do not make the same calls; 2 usage; 3 could not run.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench-coldstart", version, about, long_about)]
pub struct Options {
    /// Folder of the functions, built with feature `snapback-aws/extra-roots`, and of `demo-app` [default: this program's]
    #[arg(long, value_name = "DIR")]
    pub functions: Option<PathBuf>,
    /// Folder of packages as cargo-lambda leaves them (FUNCTION/bootstrap.zip), for their sizes
    #[arg(long, value_name = "DIR")]
    pub shipped: Option<PathBuf>,
    /// Only these functions
    #[arg(long, value_name = "FUNCTION", value_delimiter = ',', value_parser = FUNCTIONS.map(|(name, _)| name))]
    pub only: Vec<String>,
    /// Cold starts of each
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Further events of each process
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=50))]
    pub warm: u16,
    /// Python with boto3 and awslambdaric (tests/speed/tools installs them)
    #[arg(long, value_name = "FILE")]
    pub python: Option<PathBuf>,
    /// Folder with node_modules of the AWS SDK for JavaScript (tests/speed/tools installs it)
    #[arg(long, value_name = "DIR")]
    pub node: Option<PathBuf>,
    /// Also measure the hooks with so much time added to each request; 0: do not
    #[arg(long, value_name = "MS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub latency: u64,
    /// Also measure with the CPU that Lambda gives a function of so much memory: N/1769 of one
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(128..=i64::from(WHOLE_CPU_MB)))]
    pub memory_mb: u32,
    /// Not with that CPU
    #[arg(long)]
    pub no_throttled: bool,
    /// No instructions (valgrind)
    #[arg(long)]
    pub no_instructions: bool,
    /// Runs under valgrind for each function
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub instruction_runs: u32,
    /// Not over a freeze
    #[arg(long)]
    pub no_freeze: bool,
    /// How long a process is frozen
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub frozen: u64,
    /// All figures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Tables for a README
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Limits by function, as JSON: {"watcher": {"instructions": 24, "connections": 6}}; those of functions that are not measured
    /// do not count
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
}

impl Options {
    /// Whether a function is to be measured.
    #[must_use]
    pub fn wants(&self, function: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == function)
    }

    /// Whether a function beside the hook before traffic is to be measured.
    #[must_use]
    pub fn wants_others(&self) -> bool {
        FUNCTIONS.iter().any(|(name, _)| *name != BEFORE && self.wants(name))
    }
}
