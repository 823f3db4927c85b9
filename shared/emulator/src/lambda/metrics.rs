//! Metrics of `AWS/Lambda`, as Lambda publishes them.

use std::sync::Arc;
use std::time::Duration;

use crate::parts::{MetricPoint, MetricSink};

/// Who was invoked: what the dimensions are made of.
#[derive(Debug, Clone)]
pub(super) struct Invoked<'a> {
    pub(super) function: &'a str,
    pub(super) qualifier: Option<&'a str>,
    pub(super) version: &'a str,
}

/// Writes to the sink.
pub(super) struct Metrics(pub(super) Arc<dyn MetricSink>);

impl Metrics {
    /// One invocation that started at `started_ms`, whenever it ended.
    pub(super) fn invocation(&self, invoked: &Invoked<'_>, started_ms: i64, duration: Duration, failed: bool) {
        self.by_all(invoked, started_ms, "Invocations", 1.0, "Count");
        self.by_all(invoked, started_ms, "Errors", if failed { 1.0 } else { 0.0 }, "Count");
        self.by_all(invoked, started_ms, "Throttles", 0.0, "Count");
        self.by_all(invoked, started_ms, "Duration", duration.as_secs_f64() * 1000.0, "Milliseconds");
    }

    /// One request for which no concurrency was left: neither an invocation nor an error.
    pub(super) fn throttle(&self, invoked: &Invoked<'_>, at_ms: i64) {
        self.by_all(invoked, at_ms, "Throttles", 1.0, "Count");
    }

    /// One observation of 1 by function, for the metrics of asynchronous events.
    pub(super) fn count(&self, function: &str, name: &str, at_ms: i64) {
        self.record(name, vec![dimension("FunctionName", function)], 1.0, at_ms, "Count");
    }

    /// By nothing, function, resource, and resource with executed version.
    fn by_all(&self, invoked: &Invoked<'_>, at_ms: i64, name: &str, value: f64, unit: &str) {
        let function = dimension("FunctionName", invoked.function);
        self.record(name, Vec::new(), value, at_ms, unit);
        self.record(name, vec![function.clone()], value, at_ms, unit);
        if let Some(qualifier) = invoked.qualifier {
            let resource = dimension("Resource", &format!("{}:{qualifier}", invoked.function));
            let executed = dimension("ExecutedVersion", invoked.version);
            self.record(name, vec![function.clone(), resource.clone()], value, at_ms, unit);
            self.record(name, vec![executed, function, resource], value, at_ms, unit);
        }
    }

    fn record(&self, name: &str, dimensions: Vec<(String, String)>, value: f64, timestamp_ms: i64, unit: &str) {
        self.0.record(MetricPoint {
            namespace: "AWS/Lambda".to_owned(),
            name: name.to_owned(),
            dimensions,
            value,
            timestamp_ms,
            unit: unit.to_owned(),
        });
    }
}

fn dimension(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
