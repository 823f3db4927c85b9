//! Wrong events, given to the real function binaries on the embedded AWS: an error that names what and where, never a crash,
//! and the next good event is handled by the same process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use serde_json::{Value, json};
use snapback_emulator::lambda::LogSource;
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_rehearsal::snapback;
use snapback_rehearsal::wiring::Wiring;
use std::path::PathBuf;
use std::time::Duration;

/// The folder of the binaries: `target/debug`, beside the folder of this test.
fn binaries() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf()
}

async fn installed() -> Emulator {
    let config =
        EmulatorConfig { minute: Duration::from_secs(60), port: None, store: None, functions: Some(binaries()) };
    let aws = Emulator::start(config).await.unwrap();
    snapback(&aws, &Wiring::built_in().unwrap(), &binaries(), Duration::from_secs(10)).await.unwrap();
    aws
}

/// Name in AWS of the function with this binary.
fn function_name(binary: &str) -> String {
    Wiring::built_in().unwrap().function(binary).unwrap().name.clone()
}

/// Error type and message of one synchronous invocation; `None` when it went well.
async fn invoke(aws: &Emulator, binary: &str, payload: String) -> Option<(String, String)> {
    let result = aws.lambda.invoke(&function_name(binary), None, payload).await.unwrap();
    result.function_error.as_ref()?;
    let answer: Value = serde_json::from_slice(&result.payload).unwrap();
    let text = |member: &str| answer.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((text("errorType"), text("errorMessage")))
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_events_are_named_errors_and_nothing_crashes() {
    let aws = installed().await;
    let hook = |id: &str| json!({"DeploymentId": id, "LifecycleEventHookExecutionId": "execution"}).to_string();
    let alarm = |detail: Value| {
        json!({
            "version": "0", "id": "e1", "detail-type": "CloudWatch Alarm State Change", "source": "aws.cloudwatch",
            "account": "123456789012", "time": "2026-11-20T10:20:40Z", "region": "us-east-1",
            "resources": ["arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-errors"], "detail": detail
        })
        .to_string()
    };
    let huge = json!({"DeploymentId": "d-".repeat(200_000)}).to_string();
    // (function, event, part of the message)
    let table = [
        ("before-allow-traffic", "null".to_owned(), "object"),
        ("before-allow-traffic", "[1, 2]".to_owned(), "object"),
        ("before-allow-traffic", "{}".to_owned(), "DeploymentId"),
        ("before-allow-traffic", json!({"DeploymentId": null}).to_string(), "DeploymentId"),
        ("before-allow-traffic", hook("not-an-id"), "not-an-id"),
        ("before-allow-traffic", huge.clone(), "LifecycleEventHookExecutionId"),
        ("after-allow-traffic", json!({"DeploymentId": "d-A1B2C3D4E"}).to_string(), "LifecycleEventHookExecutionId"),
        ("alarm-handler", "{}".to_owned(), "detail"),
        ("alarm-handler", "\"text\"".to_owned(), "object"),
        ("alarm-handler", alarm(json!({"alarmName": "checkout-errors"})), "state"),
        (
            "alarm-handler",
            alarm(
                json!({"alarmName": "checkout-errors", "state": {"value": "RED", "timestamp": "2026-11-20T10:20:40.989+0000"}}),
            ),
            "RED",
        ),
        ("alarm-handler", alarm(Value::Null), "detail"),
        ("deployment-recorder", alarm(json!({})), "CodeDeploy"),
        ("deployment-recorder", huge, "object"),
        ("hook-watchdog", "{}".to_owned(), "requestContext"),
        ("hook-watchdog", json!({"snapback": "bake-end", "deploymentId": 7}).to_string(), "deploymentId"),
    ];
    for (binary, event, part) in table {
        let shown: String = event.chars().take(80).collect();
        let Some((word, message)) = invoke(&aws, binary, event).await else { panic!("{binary} took {shown} for good") };
        assert_eq!(word, "InvalidEvent", "{binary}: {shown}: {message}");
        let is_named = part == "object" || message.contains(part);
        assert!(is_named && message.len() < 2_000, "{binary}: {shown}: {message}");
    }
    // The processes are still there, and an event that is not for them is no error.
    let ok = json!({"alarmName": "nobody-watches", "state": {
        "value": "ALARM", "reason": "r", "timestamp": "2026-11-20T10:20:40.989+0000"}});
    assert_eq!(invoke(&aws, "alarm-handler", alarm(ok)).await, None);
    assert_eq!(invoke(&aws, "watcher", "{\"whatever\": true}".to_owned()).await, None);
    for binary in ["before-allow-traffic", "alarm-handler", "deployment-recorder", "hook-watchdog"] {
        let log = aws.lambda.log(&function_name(binary));
        let died: Vec<_> = log.iter().filter(|line| line.source == LogSource::Platform).collect();
        assert!(died.is_empty(), "{binary} died: {died:?}");
    }
    aws.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_deployments_and_wrong_execution_ids_are_clear() {
    let aws = installed().await;
    let hook =
        json!({"DeploymentId": "d-UNKNOWN00", "LifecycleEventHookExecutionId": "of another deployment"}).to_string();
    for (binary, word) in [("before-allow-traffic", "NotAnswered"), ("after-allow-traffic", "NotFound")] {
        let Some((error, message)) = invoke(&aws, binary, hook.clone()).await else {
            panic!("{binary} took it for good")
        };
        assert_eq!(error, word, "{message}");
        assert!(message.contains("d-UNKNOWN00"), "{message}");
    }
    let bake_end = json!({"snapback": "bake-end", "deploymentId": "d-UNKNOWN00"}).to_string();
    let (error, message) = invoke(&aws, "hook-watchdog", bake_end).await.unwrap();
    assert_eq!(error, "UnknownDeployment", "{message}");
    aws.shutdown().await;
}
