//! A Lambda with a sink that remembers, and processes whose end can be seen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use snapback_emulator::clock::Clock;
use snapback_emulator::lambda::{FunctionConfig, InvocationResult, Lambda, LambdaEvent};
use snapback_emulator::parts::{MetricPoint, MetricSink};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::Receiver;

/// A bound on everything that is waited for.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) points: Mutex<Vec<MetricPoint>>,
    pub(crate) lines: Mutex<Vec<(String, String)>>,
}

impl MetricSink for Sink {
    fn record(&self, point: MetricPoint) {
        self.points.lock().unwrap().push(point);
    }

    fn log_line(&self, function: &str, line: &str) {
        self.lines.lock().unwrap().push((function.to_owned(), line.to_owned()));
    }
}

impl Sink {
    /// Sum of a metric's values with exactly these dimensions, given as `Name=value` in order of names.
    pub(crate) fn sum(&self, name: &str, dimensions: &[&str]) -> f64 {
        let points = self.points.lock().unwrap();
        let written = |point: &MetricPoint| -> Vec<String> {
            point.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        points
            .iter()
            .filter(|point| point.name == name && written(point) == dimensions)
            .map(|point| point.value)
            .fold(0.0, |sum, value| sum + value)
    }
}

pub(crate) struct World {
    pub(crate) lambda: Lambda,
    pub(crate) sink: Arc<Sink>,
    pub(crate) events: Receiver<LambdaEvent>,
}

impl World {
    /// An AWS minute lasts 240 ms.
    pub(crate) fn new() -> Self {
        let sink = Arc::new(Sink::default());
        let clock = Clock::new(Duration::from_millis(240));
        let lambda = Lambda::new(clock, "http://127.0.0.1:1".to_owned(), sink.clone());
        let events = lambda.subscribe();
        Self { lambda, sink, events }
    }

    /// Creates a function that runs the test binary, changed by `change`.
    pub(crate) fn create(&self, name: &str, change: impl FnOnce(&mut FunctionConfig)) {
        let mut config = FunctionConfig::new(name, test_function(), "AKIATEST");
        config.timeout = Duration::from_secs(20);
        change(&mut config);
        self.lambda.create_function(config).unwrap();
    }

    pub(crate) async fn invoke(&self, function: &str, event: &str) -> InvocationResult {
        within(self.lambda.invoke(function, None, event.to_owned())).await.unwrap()
    }

    /// The next event that `wanted` picks; others are passed over.
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(&LambdaEvent) -> Option<T>) -> T {
        within(async {
            loop {
                if let Some(found) = wanted(&self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        })
        .await
    }
}

/// A place to which processes keep a connection open.
pub(crate) struct Holder {
    listener: TcpListener,
    pub(crate) address: String,
}

impl Holder {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { listener, address }
    }

    /// The connection of the next process.
    pub(crate) async fn next(&self) -> TcpStream {
        within(self.listener.accept()).await.unwrap().0
    }
}

/// Waits until the process at the other end is gone.
pub(crate) async fn gone(mut connection: TcpStream) {
    let mut byte = [0];
    let end = within(connection.read(&mut byte)).await;
    assert!(matches!(end, Ok(0) | Err(_)), "the process said something: {end:?}");
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, future).await {
        Ok(value) => value,
        Err(_) => panic!("nothing for {WAIT_MAX:?}"),
    }
}

pub(crate) fn json(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap()
}

/// The binary of `examples/test-function.rs`.
pub(crate) fn test_function() -> PathBuf {
    built("examples/test-function", "cargo build -p snapback-emulator --example test-function")
}

/// A binary of the same build as this test, which runs from `target/debug/deps`.
pub(crate) fn built(path: &str, command: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let binary = this.parent().and_then(|deps| deps.parent()).unwrap().join(path);
    assert!(binary.exists(), "{} is missing; build it with `{command}`", binary.display());
    binary
}
