//! How commands end and how times look.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

/// A failure with its exit code and what to say on standard error.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    why: String,
}

impl Failure {
    /// The answer is "bad": what was asked for cannot be done.
    pub(crate) fn bad(why: impl ToString) -> Self {
        Self { code: 1, why: why.to_string() }
    }

    /// Wrong input.
    pub(crate) fn input(why: impl ToString) -> Self {
        Self { code: 2, why: why.to_string() }
    }

    /// Could not tell, or could not run.
    pub(crate) fn unable(why: impl ToString) -> Self {
        Self { code: 3, why: why.to_string() }
    }
}

/// The exit code of a command; a failure is said on standard error.
pub(crate) fn exit(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where nobody can be told, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "snapback: {}", failure.why);
            ExitCode::from(failure.code)
        }
    }
}

/// Prints one JSON document.
pub(crate) fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).map_err(Failure::unable)?;
    print_text(&format!("{text}\n"))
}

/// Prints text on standard output. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::unable(format!("cannot write the answer: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// `1.4 s`, `2 min 5 s`; a dash when there is none.
pub(crate) fn human(duration: Option<Duration>) -> String {
    let Some(duration) = duration else { return "-".to_owned() };
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600.. => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::unable)?;
    runtime.block_on(future)
}
