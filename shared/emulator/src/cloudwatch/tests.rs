//! CloudWatch as its callers see it. Time is an argument everywhere but in the last test of `protocol`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{CloudWatch, CloudWatchError};
use crate::clock::Clock;
use crate::parts::{AlarmChange, MetricPoint};

mod alarms;
mod metrics;
mod protocol;

/// 2026-11-20T10:00:00Z.
const TEN: i64 = 1_795_168_800_000;
const MINUTE: i64 = 60_000;

struct World {
    cloudwatch: Arc<CloudWatch>,
    changes: UnboundedReceiver<AlarmChange>,
}

impl World {
    fn new() -> Self {
        Self::with_minute(Duration::from_secs(60))
    }

    /// A world without a runtime, so nothing is evaluated in the background.
    fn with_minute(minute: Duration) -> Self {
        let (sender, changes) = unbounded_channel();
        Self { cloudwatch: CloudWatch::new(Clock::new(minute), sender), changes }
    }

    fn try_call(&self, now_ms: i64, operation: &str, input: &Value) -> Result<Value, CloudWatchError> {
        self.cloudwatch.call_at(operation, input, now_ms)
    }

    fn call(&self, now_ms: i64, operation: &str, input: &Value) -> Value {
        self.try_call(now_ms, operation, input).unwrap_or_else(|error| panic!("{operation}: {error}"))
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
        self.take_changes()
    }

    fn take_changes(&mut self) -> Vec<AlarmChange> {
        std::iter::from_fn(|| self.changes.try_recv().ok()).collect()
    }

    fn state(&self, name: &str) -> String {
        let readings = self.cloudwatch.read_at(&[name.to_owned()], TEN);
        readings.first().map(|reading| reading.state.clone()).unwrap_or_default()
    }
}

/// An alarm on the errors of version 8 behind alias `live`, as in the events of AWS's documentation.
fn errors_alarm() -> Value {
    json!({
        "AlarmName": "checkout-live-v8-errors",
        "AlarmDescription": "Errors of the new version behind alias live",
        "Namespace": "AWS/Lambda",
        "MetricName": "Errors",
        "Dimensions": [
            { "Name": "FunctionName", "Value": "checkout" },
            { "Name": "Resource", "Value": "checkout:live" },
            { "Name": "ExecutedVersion", "Value": "8" },
        ],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold",
        "AlarmActions": ["arn:aws:lambda:us-east-1:123456789012:function:alarm-handler"],
        "OKActions": ["arn:aws:sns:us-east-1:123456789012:fine"],
    })
}

const V8: [(&str, &str); 3] = [("ExecutedVersion", "8"), ("FunctionName", "checkout"), ("Resource", "checkout:live")];

/// `base` with the members of `changes`; null removes one.
fn with(mut base: Value, changes: Value) -> Value {
    let members = base.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
    }
    members.retain(|_, value| !value.is_null());
    base
}
