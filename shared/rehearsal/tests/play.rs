//! What a scenario file asks for is what stands on the emulator.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

#[path = "../../emulator/tests/lambda_world/mod.rs"]
mod lambda_world;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use lambda_world::{built, within};
use serde_json::{Value, json};
use snapback_emulator::parts::LambdaControl;
use snapback_emulator::workload::{Outcome, Workload, WorkloadConfig};
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_rehearsal::wiring::Wiring;
use snapback_rehearsal::{ALIAS, Line, Play, SERVICE, Scenario, Service, play, policy, service};

/// Folder of the function binaries.
fn functions() -> PathBuf {
    built("demo-app", "cargo build --workspace").parent().unwrap().to_path_buf()
}

async fn start() -> Emulator {
    let config =
        EmulatorConfig { minute: Duration::from_secs(5), port: None, store: None, functions: Some(functions()) };
    Emulator::start(config).await.unwrap()
}

fn described(keys: &str) -> Service {
    Service::parse(&format!("{{{keys}}}")).unwrap()
}

/// Sum of a metric of `AWS/Lambda` by function over the last minute, or `None` when nothing is visible.
async fn sum(aws: &Emulator, metric: &str) -> Option<f64> {
    let now_s = aws.clock.now_ms() / 1000;
    let dimensions = json!([{"Name": "FunctionName", "Value": SERVICE}]);
    let stat = json!({"Metric": {"Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions}, "Period": 600, "Stat": "Sum"});
    let input = json!({
        "MetricDataQueries": [{"Id": "m", "MetricStat": stat}], "StartTime": now_s - 60, "EndTime": now_s + 60
    });
    let answer = aws.cloudwatch.call("GetMetricData", input).await.unwrap();
    let values = answer.pointer("/MetricDataResults/0/Values").and_then(Value::as_array).unwrap();
    values.iter().filter_map(Value::as_f64).reduce(|sum, value| sum + value)
}

#[tokio::test]
async fn a_service_is_as_its_scenario_says() {
    let aws = start().await;
    let asked = described("service-timeout: 2s, service-concurrency: 1, versions: {live: {lost-share: 0.5}}");
    service(&aws, &Wiring::built_in().unwrap(), Path::new(&functions()), &asked, &policy(&asked, "arn:topic"))
        .await
        .unwrap();
    let config = WorkloadConfig {
        function: SERVICE.to_owned(),
        alias: ALIAS.to_owned(),
        requests_per_second: 200.0,
        payload: json!({"path": "/checkout"}),
        slow_above: Duration::from_secs(20),
    };
    let customers = Workload::start(aws.lambda.clone(), config);
    within(customers.ended(20)).await;
    within(customers.stop()).await;
    let live = aws.lambda.alias(SERVICE, ALIAS).unwrap().version;
    let counts = customers.by_version(&live);
    assert_eq!(counts.harmed, counts.requests / 2, "half of them are lost");
    let samples = customers.samples_since(0);
    assert!(samples.iter().all(|sample| matches!(sample.outcome, Outcome::Lost | Outcome::Ok)), "{samples:?}");
    // 100 requests a second arrive and each takes 20 ms or more: one process that serves one at a time is not enough.
    assert!(aws.lambda.process_ids().len() > 1);
    let path = format!("/2015-03-31/functions/{SERVICE}/configuration");
    let (_, _, body) = aws.lambda.handle_http(&Method::GET, &path, "", &HeaderMap::new(), Bytes::new()).await;
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap().get("Timeout"), Some(&json!(2)));
    aws.shutdown().await;
}

#[tokio::test]
async fn late_metrics_become_visible_late_and_prompt_again() {
    let aws = start().await;
    let asked = described("load: 1");
    service(&aws, &Wiring::built_in().unwrap(), Path::new(&functions()), &asked, &policy(&asked, "arn:topic"))
        .await
        .unwrap();
    let checkout = || within(aws.lambda.invoke(SERVICE, Some(ALIAS), r#"{"path":"/checkout"}"#));
    let visible = |least: f64| {
        let aws = &aws;
        within(async move {
            while sum(aws, "Invocations").await.is_none_or(|sum| sum < least) {
                tokio::task::yield_now().await;
            }
            aws.clock.now_ms()
        })
    };
    aws.cloudwatch.set_late("AWS/Lambda", Duration::from_secs(3), Duration::from_millis(500));
    let late = checkout().await.unwrap();
    assert!(visible(1.0).await >= late.started_ms + 3000);
    aws.cloudwatch.end_late();
    let prompt = checkout().await.unwrap();
    let seen_ms = visible(2.0).await;
    assert!(seen_ms < prompt.started_ms + 3000, "{} ms", seen_ms - prompt.started_ms);
    aws.shutdown().await;
}

#[tokio::test]
async fn probes_and_customers_meet_the_broken_dependency() {
    let text = "
about: Nobody can pay while somebody deploys.
expect: { outcome: refused-before-traffic, cause: check-failed, trigger: hook }
warm-up: 2s
versions: { good: {} }
steps:
  - break: { dependency: { fails: 0.5, answer: status-500 } }
  - deploy: good
  - wait: closed
  - fix: dependency
";
    let lines: Arc<Mutex<Vec<Line>>> = Arc::default();
    let sink = Arc::clone(&lines);
    let how = Play {
        wiring: Arc::new(Wiring::built_in().unwrap()),
        functions: functions(),
        minute: Duration::from_secs(5),
        store: None,
        without: Vec::new(),
        audience: Arc::new(move |_, line| sink.lock().unwrap().push(line)),
    };
    let report = within(play(&Scenario::parse("test", text).unwrap(), &how)).await;
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.requests_harmed > 0 && report.requests_harmed < report.requests, "{report:?}");
    let lines = lines.lock().unwrap().clone();
    let at = |text: &str| lines.iter().find(|line| line.text.contains(text)).map(|line| line.at_ms);
    assert!(at("somebody deploys").is_some_and(|at_ms| at_ms >= 2000), "a warm-up of 2 s: {lines:?}");
    assert!(at("works again: Dependency").is_some(), "{lines:?}");
}
