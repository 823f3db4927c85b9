//! Customers: requests at a steady rate through an alias, and the truth about each of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::lambda::{InvocationResult, Lambda, NotRun};
use crate::parts::{MetricPoint, MetricSink};

/// Requests in flight at once; above it a request is counted as unsent.
const IN_FLIGHT_MAX: usize = 256;
/// Most requests that a late ticker makes up for, in seconds of traffic.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// Who asks whom, how often and what.
#[derive(Debug, Clone)]
pub struct WorkloadConfig {
    /// Function name.
    pub function: String,
    /// Alias through which every request goes.
    pub alias: String,
    /// Requests a second, spread evenly; 0 pauses.
    pub requests_per_second: f64,
    /// The event of every request.
    pub payload: Value,
    /// A request that takes longer harms its customer.
    pub slow_above: Duration,
}

/// A REST API that the requests go through, and that counts them together with those of every other workload behind it: metrics of
/// `AWS/ApiGateway` by API, and by API and stage.
#[derive(Clone)]
pub struct ApiStage {
    /// Name of the API.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// Where it counts.
    pub sink: Arc<dyn MetricSink>,
}

impl ApiStage {
    fn count(&self, sample: &Sample, status: u64) {
        let flag = |is_set: bool| f64::from(u8::from(is_set));
        let counted = [
            ("Count", 1.0, "Count"),
            ("5XXError", flag(status >= 500), "Count"),
            ("4XXError", flag((400..500).contains(&status)), "Count"),
            ("Latency", Duration::from_millis(sample.latency_ms).as_secs_f64() * 1000.0, "Milliseconds"),
        ];
        let api = ("ApiName".to_owned(), self.name.clone());
        let stage = ("Stage".to_owned(), self.stage.clone());
        for (name, value, unit) in counted {
            for dimensions in [vec![api.clone()], vec![api.clone(), stage.clone()]] {
                self.sink.record(MetricPoint {
                    namespace: "AWS/ApiGateway".to_owned(),
                    name: name.to_owned(),
                    dimensions,
                    value,
                    timestamp_ms: sample.at_ms,
                    unit: unit.to_owned(),
                });
            }
        }
    }
}

/// One request and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When it was sent, milliseconds since 1970.
    pub at_ms: i64,
    /// Version that answered, or that should have; `None` when the request was sent to none.
    pub version: Option<String>,
    /// From sending to answer.
    pub latency_ms: u64,
    /// How it went.
    pub outcome: Outcome,
}

/// How a request went, the worst first thing that is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered well and in time.
    Ok,
    /// Lambda did not accept it: throttled, or no such alias.
    Rejected,
    /// It was sent to a version and never arrived.
    Lost,
    /// The function failed.
    FunctionError,
    /// The answer's `statusCode` is 500 or more.
    ServerError,
    /// The answer's body says that the payment failed.
    FailedTransaction,
    /// Answered well, but too late.
    Slow,
}

impl Outcome {
    /// Whether the customer was harmed.
    #[must_use]
    pub fn is_harm(self) -> bool {
        self != Self::Ok
    }
}

/// Requests and harmed requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that ended.
    pub requests: u64,
    /// Those with harm.
    pub harmed: u64,
}

/// A running workload; dropping it stops it. Stop it before Lambda shuts down: what is refused then counts as harm.
#[derive(Debug)]
pub struct Workload {
    truth: Arc<Truth>,
    rate: watch::Sender<f64>,
    ticker: JoinHandle<()>,
}

#[derive(Debug)]
struct Truth {
    samples: Mutex<Vec<Sample>>,
    unsent: Mutex<u64>,
    /// Number of samples, for those who wait.
    ended: watch::Sender<usize>,
    in_flight: Arc<Semaphore>,
}

impl Workload {
    /// Starts to send. Whether an answer is slow or late never changes when the next request is sent.
    #[must_use]
    pub fn start(lambda: Lambda, config: WorkloadConfig) -> Self {
        Self::start_behind(lambda, config, None)
    }

    /// As [`Workload::start`], with an API in front.
    #[must_use]
    pub fn start_behind(lambda: Lambda, config: WorkloadConfig, api: Option<ApiStage>) -> Self {
        let truth = Arc::new(Truth {
            samples: Mutex::default(),
            unsent: Mutex::default(),
            ended: watch::Sender::new(0),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        });
        let rate = watch::Sender::new(config.requests_per_second);
        let ticker = tokio::spawn(tick(lambda, config, api, Arc::clone(&truth), rate.subscribe()));
        Self { truth, rate, ticker }
    }

    /// Changes the rate from now on; 0 (or what is no positive number) pauses.
    pub fn set_rate(&self, requests_per_second: f64) {
        self.rate.send_replace(requests_per_second);
    }

    /// Requests sent at `at_ms` (since 1970) or later that have ended, in order of their ends.
    #[must_use]
    pub fn samples_since(&self, at_ms: i64) -> Vec<Sample> {
        self.truth.samples().iter().filter(|sample| sample.at_ms >= at_ms).cloned().collect()
    }

    /// Counts by second (since 1970) and version; requests that were sent to no version are left out.
    #[must_use]
    pub fn per_second(&self) -> BTreeMap<i64, BTreeMap<String, Counts>> {
        let mut seconds: BTreeMap<i64, BTreeMap<String, Counts>> = BTreeMap::new();
        for sample in self.truth.samples().iter() {
            let Some(version) = &sample.version else {
                continue;
            };
            let second = seconds.entry(sample.at_ms.div_euclid(1000)).or_default();
            second.entry(version.clone()).or_default().add(sample);
        }
        seconds
    }

    /// Counts of all requests, those that were sent to no version too.
    #[must_use]
    pub fn total(&self) -> Counts {
        self.truth.counts(|_| true)
    }

    /// Counts of the requests that were sent to `version`.
    #[must_use]
    pub fn by_version(&self, version: &str) -> Counts {
        self.truth.counts(|sample| sample.version.as_deref() == Some(version))
    }

    /// When the first request was sent that `version` harmed, milliseconds since 1970.
    #[must_use]
    pub fn first_harmed_ms(&self, version: &str) -> Option<i64> {
        let samples = self.truth.samples();
        let harmed =
            samples.iter().filter(|sample| sample.version.as_deref() == Some(version) && sample.outcome.is_harm());
        harmed.map(|sample| sample.at_ms).min()
    }

    /// Requests that were due while too many were in flight, and so never sent.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        *self.truth.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `count` requests have ended.
    pub async fn ended(&self, count: usize) {
        let _reached = self.truth.ended.subscribe().wait_for(|ended| *ended >= count).await.is_ok();
    }

    /// Stops sending and waits for the requests in flight, which end at their function's time-out at the latest.
    pub async fn stop(&self) {
        self.ticker.abort();
        let all = u32::try_from(IN_FLIGHT_MAX).unwrap_or(u32::MAX);
        let _all_ended = self.truth.in_flight.acquire_many(all).await.is_ok();
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

impl Counts {
    fn add(&mut self, sample: &Sample) {
        self.requests += 1;
        self.harmed += u64::from(sample.outcome.is_harm());
    }
}

impl Truth {
    fn samples(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self, which: impl Fn(&Sample) -> bool) -> Counts {
        let mut counts = Counts::default();
        self.samples().iter().filter(|sample| which(sample)).for_each(|sample| counts.add(sample));
        counts
    }

    fn record(&self, sample: Sample) {
        self.samples().push(sample);
        self.ended.send_modify(|ended| *ended += 1);
    }
}

/// Sends at the present rate. The next due time comes from the previous one, so that the rate is exact over time.
async fn tick(
    lambda: Lambda,
    config: WorkloadConfig,
    api: Option<ApiStage>,
    truth: Arc<Truth>,
    mut rate: watch::Receiver<f64>,
) {
    let (config, api) = (Arc::new(config), api.map(Arc::new));
    let payload = Bytes::from(config.payload.to_string());
    let mut due = Instant::now();
    loop {
        let per_second = *rate.borrow_and_update();
        let Some(interval) = interval(per_second) else {
            if rate.changed().await.is_err() {
                return;
            }
            due = Instant::now();
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            changed = rate.changed() => match changed {
                Ok(()) => {
                    due = due.min(Instant::now() + interval);
                    continue;
                }
                Err(_) => return,
            },
        }
        send(&lambda, &config, api.as_ref(), &truth, payload.clone());
        due = (due + interval).max(Instant::now().checked_sub(CATCH_UP_MAX).unwrap_or(due));
    }
}

/// Time between two requests, or `None` when there are to be none.
fn interval(per_second: f64) -> Option<Duration> {
    let is_rate = per_second.is_finite() && per_second > 0.0;
    is_rate.then(|| Duration::try_from_secs_f64(1.0 / per_second).ok()).flatten()
}

fn send(
    lambda: &Lambda,
    config: &Arc<WorkloadConfig>,
    api: Option<&Arc<ApiStage>>,
    truth: &Arc<Truth>,
    payload: Bytes,
) {
    let Ok(permit) = Arc::clone(&truth.in_flight).try_acquire_owned() else {
        *truth.unsent.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        return;
    };
    let (lambda, config, api, truth) = (lambda.clone(), Arc::clone(config), api.cloned(), Arc::clone(truth));
    tokio::spawn(async move {
        let (at_ms, before) = (now_ms(), Instant::now());
        let result = lambda.send(&config.function, Some(&config.alias), payload).await;
        let latency = before.elapsed();
        let status = status(result.as_ref().ok());
        let (version, outcome) = match result {
            Ok(result) => {
                let outcome = judge(&result, latency > config.slow_above);
                (Some(result.executed_version), outcome)
            }
            Err(NotRun::Lost { version }) => (Some(version), Outcome::Lost),
            Err(NotRun::Refused(_)) => (None, Outcome::Rejected),
        };
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        let sample = Sample { at_ms, version, latency_ms, outcome };
        if let Some(api) = api {
            api.count(&sample, status);
        }
        truth.record(sample);
        drop(permit);
    });
}

fn judge(result: &InvocationResult, is_slow: bool) -> Outcome {
    if result.function_error.is_some() {
        return Outcome::FunctionError;
    }
    let answer: Value = serde_json::from_slice(&result.payload).unwrap_or_default();
    if answer.get("statusCode").and_then(Value::as_u64).is_some_and(|status| status >= 500) {
        return Outcome::ServerError;
    }
    if payment(&answer).is_some_and(|payment| payment == "failed") {
        return Outcome::FailedTransaction;
    }
    if is_slow { Outcome::Slow } else { Outcome::Ok }
}

/// What an API answers its client: the function's own status, 502 when it failed or never answered, 200 when it names none.
fn status(result: Option<&InvocationResult>) -> u64 {
    let Some(result) = result.filter(|result| result.function_error.is_none()) else { return 502 };
    let answer: Value = serde_json::from_slice(&result.payload).unwrap_or_default();
    answer.get("statusCode").and_then(Value::as_u64).unwrap_or(200)
}

/// `payment` of the body, which is an object or JSON text.
fn payment(answer: &Value) -> Option<String> {
    let body = answer.get("body")?;
    let parsed: Option<Value> = body.as_str().and_then(|text| serde_json::from_str(text).ok());
    parsed.as_ref().unwrap_or(body).get("payment")?.as_str().map(str::to_owned)
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_thing_about_an_answer_is_its_outcome() {
        let table = [
            ("well", None, r#"{"statusCode":200,"body":"{\"payment\":\"accepted\"}"}"#, false, Outcome::Ok),
            ("late", None, r#"{"statusCode":200,"body":"{}"}"#, true, Outcome::Slow),
            ("500", None, r#"{"statusCode":500,"body":"{}"}"#, true, Outcome::ServerError),
            ("404 is the client's", None, r#"{"statusCode":404,"body":"{}"}"#, false, Outcome::Ok),
            (
                "text body",
                None,
                r#"{"statusCode":200,"body":"{\"payment\":\"failed\"}"}"#,
                false,
                Outcome::FailedTransaction,
            ),
            (
                "object body",
                None,
                r#"{"statusCode":200,"body":{"payment":"failed"}}"#,
                false,
                Outcome::FailedTransaction,
            ),
            ("function error", Some("Unhandled"), r#"{"errorMessage":"x"}"#, false, Outcome::FunctionError),
            ("no JSON", None, "<html>", false, Outcome::Ok),
        ];
        for (case, error, payload, is_slow, expected) in table {
            let result = InvocationResult {
                request_id: String::new(),
                executed_version: "1".to_owned(),
                function_error: error.map(str::to_owned),
                error_type: error.map(str::to_owned),
                payload: Bytes::from_static(payload.as_bytes()),
                started_ms: 0,
                duration: Duration::ZERO,
                init: None,
                memory_mb: 128,
            };
            assert_eq!(judge(&result, is_slow), expected, "{case}");
        }
    }

    #[test]
    fn only_a_positive_rate_sends() {
        for (rate, expected) in
            [(50.0, Some(20)), (0.5, Some(2000)), (0.0, None), (-1.0, None), (f64::NAN, None), (f64::INFINITY, None)]
        {
            assert_eq!(interval(rate), expected.map(Duration::from_millis), "{rate}");
        }
    }
}
