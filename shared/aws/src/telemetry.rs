//! Snapback's own metrics, in the embedded metric format: one line on standard output, no call.

use crate::Aws;
use crate::clock::SystemClock;
use snapback_app::ports::{Clock, Metric, Telemetry};
use std::io::Write;

impl Telemetry for Aws {
    fn emit(&self, metric: Metric) {
        let line = emf_line(&metric);
        // Metrics never fail their caller, and standard output that is gone cannot be reported anyway.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}
