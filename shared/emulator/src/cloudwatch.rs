//! CloudWatch of the emulator: metrics, metric math, alarms.
//!
//! What it models beyond the happy path: points become visible late, so the newest one grows within its period; alarms look
//! back beyond their N periods; each alarm is evaluated once a period (at least once a minute), 2 s after the period ends
//! (short periods: a quarter of their length); `DescribeAlarms` has its quota of 9 calls a second. AWS evaluates alarms of
//! 10, 20 and 30 s every 10 s; here 20 and 30 s alarms wait for their period to end, so that a rehearsal never sees a state
//! that rests on half a period.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::parts::{AlarmChange, AlarmReader, AlarmReading, MetricPoint, MetricSink};

mod alarm;
mod composite;
mod emf;
mod error;
mod evaluate;
mod event;
mod http;
mod input;
mod math;
mod metric_data;
mod query;
mod registry;
mod statistic;
mod store;
#[cfg(test)]
mod tests;
mod throttle;
mod time;

pub use error::CloudWatchError;

use alarm::{Alarm, Kind};
use composite::AlarmRule;
use registry::Registry;
use statistic::Sample;
use store::{Delay, Metric, Store};
use throttle::Bucket;

/// How late points become visible unless [`CloudWatch::set_visibility_delay`] says otherwise.
const VISIBILITY_DELAY: Duration = Duration::from_secs(1);
/// `DescribeAlarms` calls a second, per account, shared with CodeDeploy's own polling.
const DESCRIBE_ALARMS_PER_SECOND: f64 = 9.0;
/// How often the background task looks for alarms that are due.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const OPERATIONS: [&str; 9] = [
    "PutMetricData",
    "GetMetricData",
    "PutMetricAlarm",
    "PutCompositeAlarm",
    "DescribeAlarms",
    "SetAlarmState",
    "DeleteAlarms",
    "EnableAlarmActions",
    "DisableAlarmActions",
];

/// One account's CloudWatch in one Region.
#[derive(Debug)]
pub struct CloudWatch {
    clock: Clock,
    changes: UnboundedSender<AlarmChange>,
    inner: Mutex<Inner>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    registry: Registry,
    describe_alarms: Bucket,
    invalid_emf: u64,
    /// See [`CloudWatch::scale_alarms`].
    scaled: BTreeSet<String>,
}

impl CloudWatch {
    /// An empty CloudWatch that evaluates its alarms in the background until it is dropped or [`CloudWatch::shutdown`].
    ///
    /// * `changes`: gets every state change of an alarm, in order.
    ///
    /// Call it inside a Tokio runtime; outside of one, alarms are evaluated only by [`CloudWatch::evaluate_alarms`].
    #[must_use]
    pub fn new(clock: Clock, changes: UnboundedSender<AlarmChange>) -> Arc<Self> {
        let (stop, stopped) = watch::channel(false);
        let inner = Mutex::new(Inner {
            store: Store::new(VISIBILITY_DELAY),
            registry: Registry::default(),
            describe_alarms: Bucket::new(DESCRIBE_ALARMS_PER_SECOND, 0),
            invalid_emf: 0,
            scaled: BTreeSet::new(),
        });
        let cloudwatch = Arc::new(Self { clock, changes, inner, stop });
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(evaluate_in_background(Arc::downgrade(&cloudwatch), stopped))),
            Err(_) => {
                tracing::warn!("no Tokio runtime: alarms are not evaluated in the background")
            }
        }
        cloudwatch
    }

    /// Ends the background evaluation.
    pub fn shutdown(&self) {
        self.stop.send_replace(true);
    }

    /// Fault "metrics late": points that arrive from now on become visible `delay` after they arrive. `namespace` restricts
    /// it to one; `None` sets the delay of all namespaces that have none of their own.
    pub fn set_visibility_delay(&self, namespace: Option<&str>, delay: Duration) {
        self.lock().store.set_delay(namespace, Delay::new(delay, Duration::ZERO));
    }

    /// As [`CloudWatch::set_visibility_delay`] for one namespace, but points of the same second come one after the other
    /// within `spread`: the newest period grows while it is read.
    pub fn set_late(&self, namespace: &str, delay: Duration, spread: Duration) {
        self.lock().store.set_delay(Some(namespace), Delay::new(delay, spread));
    }

    /// As [`CloudWatch::set_late`], but only for series of the namespace that have this dimension, as a name and a value.
    pub fn set_late_series(&self, namespace: &str, dimension: (&str, &str), delay: Duration, spread: Duration) {
        self.lock().store.set_series_delay(namespace, dimension, Delay::new(delay, spread));
    }

    /// Ends what [`CloudWatch::set_late`] and [`CloudWatch::set_late_series`] began, in all namespaces.
    pub fn end_late(&self) {
        self.lock().store.clear_namespace_delays();
    }

    /// Alarms on metrics of `namespace` that are put from now on follow the emulator's minute where their period is one: for
    /// metrics that a function publishes once in such a minute. All other alarms keep their period.
    pub fn scale_alarms(&self, namespace: &str) {
        self.lock().scaled.insert(namespace.to_owned());
    }

    /// EMF documents that broke the specification, and points that were dropped for age or want of room.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        let inner = self.lock();
        inner.invalid_emf.saturating_add(inner.store.dropped())
    }

    /// Evaluates the alarms whose period is over at `now_ms` (milliseconds since 1970) and sends their changes. The
    /// background task calls this; twice in a period is once.
    pub fn evaluate_alarms(&self, now_ms: i64) {
        let mut inner = self.lock();
        let Inner { store, registry, .. } = &mut *inner;
        let changes = registry.evaluate_due(store, self.clock, now_ms);
        self.send(changes);
    }

    /// One call of the API, in the members of the service model; timestamps are seconds since 1970.
    ///
    /// # Errors
    /// With the code, text and HTTP status that CloudWatch would answer; `InvalidAction` for operations that the emulator does
    /// not have.
    #[expect(clippy::unused_async, reason = "callers treat every service of the emulator alike")]
    pub async fn call(&self, operation: &str, input: Value) -> Result<Value, CloudWatchError> {
        self.call_at(operation, &input, self.clock.now_ms())
    }

    /// As [`CloudWatch::call`], at `now_ms` (milliseconds since 1970): for tests that do not wait. Such a CloudWatch is made
    /// outside of a Tokio runtime.
    ///
    /// # Errors
    /// As [`CloudWatch::call`].
    pub fn call_at(&self, operation: &str, input: &Value, now_ms: i64) -> Result<Value, CloudWatchError> {
        let mut inner = self.lock();
        let Inner { store, registry, describe_alarms, scaled, .. } = &mut *inner;
        let mut changes = Vec::new();
        let answer = match operation {
            "PutMetricData" => metric_data::put(store, input, now_ms).map(|()| json!({})),
            "GetMetricData" => metric_data::get(store, input, now_ms),
            "DescribeAlarms" if !describe_alarms.take(now_ms) => Err(CloudWatchError::throttled()),
            "DescribeAlarms" => registry.describe(input),
            "DeleteAlarms" => registry.delete(input).map(|()| json!({})),
            "EnableAlarmActions" => registry.enable_actions(input, true).map(|()| json!({})),
            "DisableAlarmActions" => registry.enable_actions(input, false).map(|()| json!({})),
            "PutMetricAlarm" => {
                changes = registry.put(Alarm::read_metric_alarm(input, self.clock, scaled, now_ms)?, now_ms)?;
                Ok(json!({}))
            }
            "PutCompositeAlarm" => {
                changes = registry.put(read_composite_alarm(input, now_ms)?, now_ms)?;
                Ok(json!({}))
            }
            "SetAlarmState" => {
                changes = registry.set_state(input, now_ms)?;
                Ok(json!({}))
            }
            unknown => Err(CloudWatchError::unknown_operation(unknown, &OPERATIONS)),
        };
        self.send(changes);
        answer
    }

    fn read_at(&self, names: &[String], now_ms: i64) -> Vec<AlarmReading> {
        let mut inner = self.lock();
        for _ in 0..names.len().div_ceil(100) {
            inner.describe_alarms.draw(now_ms);
        }
        let alarms = names.iter().filter_map(|name| inner.registry.get(name));
        alarms
            .map(|alarm| AlarmReading { name: alarm.name.clone(), state: alarm.state.value.as_str().to_owned() })
            .collect()
    }

    /// As [`MetricSink::record`], with a point that arrives at `now_ms` (milliseconds since 1970).
    pub fn record_at(&self, point: MetricPoint, now_ms: i64) {
        let MetricPoint { namespace, name, mut dimensions, value, timestamp_ms, unit } = point;
        dimensions.sort();
        if value.is_finite() {
            let sample = Sample::Value { value, count: 1.0 };
            self.lock().store.add(Metric { namespace, name, dimensions }, timestamp_ms, sample, &unit, now_ms);
        }
    }

    fn log_line_at(&self, function: &str, line: &str, now_ms: i64) {
        match emf::read(line) {
            emf::Line::Plain => {}
            emf::Line::Invalid(why) => {
                tracing::warn!(function, why, "ignored an invalid EMF document");
                let mut inner = self.lock();
                inner.invalid_emf = inner.invalid_emf.saturating_add(1);
            }
            emf::Line::Metrics { timestamp_ms, metrics } => {
                let mut inner = self.lock();
                for emf::EmfMetric { metric, unit, values } in metrics {
                    for value in values {
                        let sample = Sample::Value { value, count: 1.0 };
                        inner.store.add(metric.clone(), timestamp_ms, sample, &unit, now_ms);
                    }
                }
            }
        }
    }

    /// Called with the lock held, so that changes leave in the order in which they happened.
    fn send(&self, changes: Vec<AlarmChange>) {
        for change in changes {
            if self.changes.send(change).is_err() {
                tracing::debug!("nobody listens to alarm changes any more");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AlarmReader for CloudWatch {
    /// Draws on the quota of `DescribeAlarms`, one call for each 100 names, but is never refused: CodeDeploy's own polling
    /// takes the quota away from others and retries where it is throttled itself.
    fn read(&self, names: &[String]) -> Vec<AlarmReading> {
        self.read_at(names, self.clock.now_ms())
    }
}

impl MetricSink for CloudWatch {
    /// Values that are not finite are ignored, as CloudWatch refuses them.
    fn record(&self, point: MetricPoint) {
        self.record_at(point, self.clock.now_ms());
    }

    fn log_line(&self, function: &str, line: &str) {
        self.log_line_at(function, line, self.clock.now_ms());
    }
}

fn read_composite_alarm(input: &Value, now_ms: i64) -> Result<Alarm, CloudWatchError> {
    for member in ["ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod"] {
        if input::member(input, member).is_some() {
            return Err(CloudWatchError::validation(format!(
                "the emulator does not support {member} of composite alarms"
            )));
        }
    }
    let rule = AlarmRule::parse(input::required_text(input, "AlarmRule")?)?;
    Alarm::read(input, Kind::Composite(rule), &["AlarmRule"], now_ms)
}

async fn evaluate_in_background(cloudwatch: Weak<CloudWatch>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            // Also when the sender is gone: CloudWatch was dropped.
            _ = stopped.changed() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let Some(cloudwatch) = cloudwatch.upgrade() else {
            return;
        };
        cloudwatch.evaluate_alarms(cloudwatch.clock.now_ms());
    }
}
