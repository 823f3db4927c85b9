//! `make bench-coldstart`; see `snapback_speed::coldstart`.

use std::process::ExitCode;

fn main() -> ExitCode {
    snapback_speed::coldstart::main()
}
