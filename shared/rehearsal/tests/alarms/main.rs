//! The alarms that Snapback defines, minute by minute, as CloudWatch would evaluate them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

mod dead_man;
mod protection;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use snapback_emulator::clock::Clock;
use snapback_emulator::cloudwatch::CloudWatch;
use snapback_emulator::parts::{AlarmChange, AlarmReader, MetricPoint};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// 2026-11-20T10:00:00Z.
const TEN: i64 = 1_795_168_800_000;
const MINUTE: i64 = 60_000;

/// A CloudWatch whose time is an argument.
struct World {
    cloudwatch: Arc<CloudWatch>,
    changes: UnboundedReceiver<AlarmChange>,
}

impl World {
    fn new() -> Self {
        Self::with_minute(Duration::from_secs(60))
    }

    /// Without a runtime nothing is evaluated in the background.
    fn with_minute(minute: Duration) -> Self {
        let (sender, changes) = unbounded_channel();
        let cloudwatch = CloudWatch::new(Clock::new(minute), sender);
        cloudwatch.scale_alarms(snapback_wire::emf::NAMESPACE);
        Self { cloudwatch, changes }
    }

    fn call(&self, now_ms: i64, operation: &str, input: &Value) -> Value {
        self.cloudwatch.call_at(operation, input, now_ms).unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    /// One observation that arrives at the time to which it belongs.
    fn record(&self, at: i64, namespace: &str, name: &str, dimensions: &[(&str, &str)], value: f64) {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let point = MetricPoint { namespace, name, dimensions, value, timestamp_ms: at, unit: "Count".into() };
        self.cloudwatch.record_at(point, at);
    }

    fn evaluate(&mut self, now_ms: i64) -> Vec<AlarmChange> {
        self.cloudwatch.evaluate_alarms(now_ms);
        std::iter::from_fn(|| self.changes.try_recv().ok()).collect()
    }

    fn state(&self, name: &str) -> String {
        let readings = self.cloudwatch.read(&[name.to_owned()]);
        readings.first().map(|reading| reading.state.clone()).unwrap_or_default()
    }
}
