//! Lambda end to end: a real binary behind the Runtime API.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "helpers of tests may panic, tests pick the events they wait for, and a table stays in one place"
)]

mod lambda_world;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lambda_world::{Holder, World, gone, json, within};
use serde_json::json;
use snapback_emulator::access::Access;
use snapback_emulator::clock::Clock;
use snapback_emulator::iam::Authority;
use snapback_emulator::iam::policy::Policy;
use snapback_emulator::lambda::{AsyncConfig, ConfigurationChange, Fault, LambdaEvent, Moment, ProcessMoment};
use snapback_emulator::parts::{AliasRouting, LambdaControl};
use snapback_emulator::queues::Queues;

fn to(version: &str) -> AliasRouting {
    AliasRouting { version: version.to_owned(), additional: None }
}

fn weighted(version: &str, additional: &str, weight: f64) -> AliasRouting {
    AliasRouting { version: version.to_owned(), additional: Some((additional.to_owned(), weight)) }
}

fn set(config: &mut snapback_emulator::lambda::FunctionConfig, variable: &str, value: &str) {
    config.environment.insert(variable.to_owned(), value.to_owned());
}

#[tokio::test]
async fn an_invocation_is_answered_logged_and_measured() {
    let world = World::new();
    world.create("checkout", |_| {});
    world.lambda.publish_version("checkout", None).unwrap();
    world.lambda.create_alias("checkout", "live", to("1")).unwrap();
    let before_ms = jiff::Timestamp::now().as_millisecond();
    let result = within(world.lambda.invoke("checkout", Some("live"), r#"{"order":5}"#)).await.unwrap();
    assert_eq!(json(&result.payload), json!({ "order": 5 }));
    assert_eq!((result.executed_version.as_str(), result.function_error), ("1", None));
    for dimensions in [
        &[][..],
        &["FunctionName=checkout"],
        &["FunctionName=checkout", "Resource=checkout:live"],
        &["ExecutedVersion=1", "FunctionName=checkout", "Resource=checkout:live"],
    ] {
        let counts = ["Invocations", "Errors", "Throttles"].map(|name| world.sink.sum(name, dimensions).to_string());
        assert_eq!(counts, ["1", "0", "0"], "{dimensions:?}");
        assert!(world.sink.sum("Duration", dimensions) > 0.0, "{dimensions:?}");
    }
    let points = world.sink.points.lock().unwrap().clone();
    assert!(points.iter().all(|point| point.namespace == "AWS/Lambda" && point.timestamp_ms == result.started_ms));
    assert!(result.started_ms >= before_ms);
    world.lambda.shutdown().await;
    let lines = world.sink.lines.lock().unwrap().clone();
    assert_eq!(lines, [("checkout".to_owned(), r#"{"order":5}"#.to_owned())]);
    assert!(world.lambda.log("checkout").iter().any(|line| line.text == r#"{"order":5}"#));
}

#[tokio::test]
async fn a_cold_start_lies_between_two_named_moments() {
    let mut world = World::new();
    world.create("checkout", |_| {});
    let mut waits = Vec::new();
    for _ in 0..2 {
        let result = world.invoke("checkout", "{}").await;
        let started = world.event(|event| match event {
            LambdaEvent::InvocationStarted { function, request_id, asked, began } => {
                Some((function.clone(), request_id.clone(), began.duration_since(*asked)))
            }
            _ => None,
        });
        let (function, request_id, waited) = started.await;
        assert_eq!((function.as_str(), request_id), ("checkout", result.request_id));
        waits.push(waited);
    }
    assert!(waits[0] > 2 * waits[1], "a process had to start for the first one only: {waits:?}");
}

#[tokio::test]
async fn an_observer_is_told_what_a_process_does() {
    let world = World::new();
    let seen: Arc<Mutex<Vec<(u32, String)>>> = Arc::default();
    let told = Arc::clone(&seen);
    world.lambda.observe(Arc::new(move |moment: &ProcessMoment<'_>| {
        let text = match &moment.what {
            Moment::Started => "started".to_owned(),
            Moment::Polled => "polled".to_owned(),
            Moment::HandedOut { payload, .. } => format!("got {}", String::from_utf8_lossy(payload)),
            Moment::Answered { error_type, .. } => format!("answered {error_type:?}"),
            Moment::Ended => "ended".to_owned(),
        };
        told.lock().unwrap().push((moment.pid, format!("{} {text}", moment.function)));
    }));
    world.create("checkout", |_| {});
    world.invoke("checkout", "{}").await;
    world.invoke("checkout", r#"{"do":"error"}"#).await;
    world.lambda.shutdown().await;
    let seen = seen.lock().unwrap().clone();
    let pid = seen[0].0;
    let texts: Vec<&str> = seen.iter().filter(|(other, _)| *other == pid).map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts.len(), seen.len(), "one process: {seen:?}");
    let expected = [
        "checkout started",
        "checkout polled",
        "checkout got {}",
        "checkout answered None",
        "checkout polled",
        r#"checkout got {"do":"error"}"#,
        r#"checkout answered Some("Test.Failed")"#,
    ];
    assert_eq!(texts[..7], expected);
    // It may have polled once more.
    assert_eq!(texts.last(), Some(&"checkout ended"));
}

#[tokio::test]
async fn every_way_to_fail_is_said_as_lambda_says_it() {
    let world = World::new();
    world.create("checkout", |config| config.timeout = Duration::from_millis(1500));
    let table = [
        ("error", "Test.Failed", "it went wrong"),
        ("panic", "Box<dyn core::any::Any + core::marker::Send>", "Lambda panicked: out of cheese"),
        ("exit", "Runtime.ExitError", "Error: Runtime exited with error: exit status 3"),
        ("leave", "Runtime.ExitError", "Error: Runtime exited without providing a reason"),
        ("hang", "Sandbox.Timedout", "Task timed out after 1.50 seconds"),
    ];
    for (what, error_type, message) in table {
        let result = world.invoke("checkout", &format!(r#"{{"do":"{what}"}}"#)).await;
        let said = json(&result.payload)["errorMessage"].as_str().unwrap_or_default().to_owned();
        assert!(said.ends_with(message), "{what}: {said}");
        let said_type = result.error_type.unwrap_or_default();
        assert!(said_type.ends_with(error_type), "{what}: {said_type}");
        assert_eq!(result.function_error.as_deref(), Some("Unhandled"), "{what}");
        if error_type.contains('.') && what != "error" {
            assert!(said.contains(&result.request_id), "{what}: {said}");
        }
        let next = world.invoke("checkout", "{}").await;
        assert_eq!(next.function_error, None, "the invocation after {what} is served");
    }
    assert_eq!(world.sink.sum("Errors", &["FunctionName=checkout"]).to_string(), "5");
    assert_eq!(world.sink.sum("Invocations", &["FunctionName=checkout"]).to_string(), "10");
}

#[tokio::test]
async fn a_process_that_cannot_start_fails_its_invocation_and_the_next_one_starts_another() {
    let world = World::new();
    world.create("exits", |config| set(config, "TEST_INIT", "exit"));
    world.create("reports", |config| set(config, "TEST_INIT", "error"));
    world.create("checkout", |_| {});
    let result = world.invoke("exits", "{}").await;
    assert_eq!(result.error_type.as_deref(), Some("Runtime.ExitError"));
    let message = format!("RequestId: {} Error: Runtime exited with error: exit status 7", result.request_id);
    assert_eq!(json(&result.payload)["errorMessage"], message);
    let result = world.invoke("reports", "{}").await;
    assert_eq!(result.error_type.as_deref(), Some("Config.Missing"));
    assert_eq!(json(&result.payload), json!({ "errorType": "Config.Missing", "errorMessage": "no table" }));

    assert_eq!(world.invoke("checkout", "{}").await.function_error, None, "warm");
    world.lambda.set_fault("checkout", Fault::CannotStart, true).unwrap();
    let result = world.invoke("checkout", "{}").await;
    assert_eq!(result.error_type.as_deref(), Some("Runtime.ExitError"), "the warm one is gone");
    world.lambda.set_fault("checkout", Fault::CannotStart, false).unwrap();
    assert_eq!(world.invoke("checkout", "{}").await.function_error, None, "switched off again");
}

#[tokio::test]
async fn init_may_take_ten_seconds() {
    let world = World::new();
    let holder = Holder::new().await;
    world.create("hangs", |config| {
        set(config, "TEST_INIT", "hang");
        set(config, "TEST_HOLD", &holder.address);
    });
    let result = world.invoke("hangs", "{}").await;
    let message = format!("RequestId: {} Error: INIT timed out after 10.00 seconds", result.request_id);
    assert_eq!(json(&result.payload)["errorMessage"], message);
    gone(holder.next().await).await;
}

#[tokio::test]
async fn a_process_gets_lambdas_variables_and_none_of_ours() {
    let world = World::new();
    world.create("checkout", |config| {
        config.memory_mb = 256;
        set(config, "TABLE", "orders");
    });
    let result = world.invoke("checkout", r#"{"do":"environment"}"#).await;
    let variables: BTreeMap<String, String> = serde_json::from_slice(&result.payload).unwrap();
    let expected = [
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_FUNCTION_NAME", "checkout"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/checkout"),
        ("AWS_REGION", "us-east-1"),
        ("TABLE", "orders"),
        ("TZ", ":UTC"),
        ("_HANDLER", "bootstrap"),
    ];
    for (name, value) in expected {
        assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(world.lambda.function_of("AKIATEST").as_deref(), Some("checkout"));
    assert_eq!(world.lambda.function_of("AKIANOBODY"), None);
    assert!(!variables.contains_key("HOME"), "inherited from the emulator: {variables:?}");
    assert!(!variables.contains_key("AWS_LAMBDA_MAX_CONCURRENCY"), "one invocation at a time: {variables:?}");

    let result = world.invoke("checkout:$LATEST", r#"{"do":"context"}"#).await;
    let context = json(&result.payload);
    assert_eq!(context["request_id"], json!(result.request_id));
    assert_eq!(context["deadline_ms"], json!(result.started_ms + 20_000));
    assert_eq!(context["function_arn"], "arn:aws:lambda:us-east-1:123456789012:function:checkout:$LATEST");
    assert!(context["trace_id"].as_str().is_some_and(|id| id.starts_with("Root=1-")), "{context}");
}

#[tokio::test]
async fn the_runtime_api_refuses_what_is_not_this_invocation() {
    let world = World::new();
    world.create("checkout", |_| {});
    let own = "/2018-06-01/runtime/invocation/{request_id}/response";
    let table = [
        ("unknown request", "/2018-06-01/runtime/invocation/none/response", json!({}), 400),
        ("unknown request failed", "/2018-06-01/runtime/invocation/none/error", json!({}), 400),
        ("another attempt", own, json!({ "lambda-runtime-invocation-id": "other" }), 400),
        ("init is over", "/2018-06-01/runtime/init/error", json!({}), 403),
    ];
    for (case, path, headers, status) in table {
        let event = json!({ "do": "post", "path": path, "headers": headers }).to_string();
        let result = world.invoke("checkout", &event).await;
        assert_eq!(json(&result.payload), json!({ "status": status }), "{case}");
    }
    let event = json!({ "do": "post", "path": own }).to_string();
    let result = world.invoke("checkout", &event).await;
    assert_eq!(json(&result.payload), json!({}), "the first answer counts, also without invocation id");
}

#[tokio::test]
async fn a_failing_event_is_retried_with_its_id_then_goes_to_the_destination() {
    let mut world = World::new();
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:watchdog";
    world.create("watchdog", |_| {});
    world.create("broken", |config| config.async_config.on_failure = Some(arn.to_owned()));
    world.lambda.invoke_async("broken", json!({ "do": "error" })).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let ended = world.event(|event| match event {
            LambdaEvent::InvocationEnded { function, request_id, asynchronous: true, .. } => {
                Some((function.clone(), request_id.clone()))
            }
            _ => None,
        });
        ids.push(ended.await);
    }
    let id = ids[0].1.clone();
    assert_eq!(ids, vec![("broken".to_owned(), id.clone()); 3]);
    let dropped = world.event(|event| match event {
        LambdaEvent::EventDropped { request_id, condition, .. } => Some((request_id.clone(), *condition)),
        _ => None,
    });
    assert_eq!(dropped.await, (id.clone(), "RetriesExhausted"));
    let ran = world.event(|event| {
        matches!(event, LambdaEvent::InvocationEnded { function, .. } if function == "watchdog").then_some(())
    });
    ran.await;
    world.lambda.shutdown().await;
    let lines = world.sink.lines.lock().unwrap().clone();
    let got = lines.iter().find(|(function, _)| function == "watchdog").unwrap();
    let mut document = json(got.1.as_bytes());
    assert!(document["timestamp"].as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z')), "{document}");
    document["timestamp"] = json!("");
    document["responsePayload"]["errorType"] = json!("");
    let expected = json!({
        "version": "1.0",
        "timestamp": "",
        "requestContext": {
            "requestId": id,
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:broken:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": { "do": "error" },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "responsePayload": { "errorType": "", "errorMessage": "it went wrong" },
    });
    assert_eq!(document, expected);
    assert_eq!(world.sink.sum("AsyncEventsReceived", &["FunctionName=broken"]).to_string(), "1");
    assert_eq!(world.sink.sum("AsyncEventsDropped", &["FunctionName=broken"]).to_string(), "1");
    assert_eq!(world.sink.sum("DestinationDeliveryFailures", &["FunctionName=broken"]).to_string(), "0");
}

#[tokio::test]
async fn the_role_decides_over_the_destination() {
    let queues = Queues::default();
    let queue = "arn:aws:sqs:us-east-1:123456789012:letters".to_owned();
    queues.create(&queue);
    // (destination, action that the role allows, delivered)
    let watchdog = "arn:aws:lambda:us-east-1:123456789012:function:watchdog".to_owned();
    let table = [
        (&watchdog, "lambda:InvokeFunction", true),
        (&watchdog, "sqs:SendMessage", false),
        (&queue, "sqs:SendMessage", true),
        (&queue, "lambda:InvokeFunction", false),
    ];
    for (destination, action, expected) in table {
        let mut world = World::new();
        let access = Access::new(Clock::new(Duration::from_secs(60)));
        let role = json!({"Statement": {"Effect": "Allow", "Action": action, "Resource": destination}});
        access.iam().enforce(Authority {
            roles: [("arn:role".to_owned(), Policy::parse(&role).unwrap())].into(),
            acts_as: [("BROKEN".to_owned(), "arn:role".to_owned())].into(),
            ..Authority::default()
        });
        world.lambda.connect(access, queues.clone());
        world.create("watchdog", |_| {});
        world.create("broken", |config| {
            config.access_key = "BROKEN".to_owned();
            config.async_config.max_retries = 0;
            config.async_config.on_failure = Some(destination.clone());
        });
        world.lambda.set_fault("broken", Fault::FailAll, true).unwrap();
        world.lambda.invoke_async("broken", json!({ "order": 5 })).unwrap();
        let delivered = world.event(|event| match event {
            LambdaEvent::DestinationCalled { delivered, .. } => Some(*delivered),
            _ => None,
        });
        assert_eq!(delivered.await, expected, "{destination} {action}");
        world.lambda.shutdown().await;
    }
    let letters = queues.messages(&queue);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["requestPayload"], json!({ "order": 5 }));
}

#[tokio::test]
async fn without_concurrency_requests_are_throttled_and_events_grow_old() {
    let mut world = World::new();
    world.create("checkout", |config| {
        config.reserved_concurrency = Some(1);
        config.async_config = AsyncConfig { max_retries: 0, max_event_age: Duration::from_secs(60), on_failure: None };
    });
    let holder = Holder::new().await;
    let event = json!({ "do": "wait", "address": holder.address }).to_string();
    let lambda = world.lambda.clone();
    let waiting = tokio::spawn(async move { lambda.invoke("checkout", None, event).await });
    let connection = holder.next().await;

    let refused = within(world.lambda.invoke("checkout", None, "{}")).await.unwrap_err();
    assert_eq!(refused.code, "TooManyRequestsException");
    world.lambda.invoke_async("checkout", json!({})).unwrap();
    let throttled =
        world.event(|event| matches!(event, LambdaEvent::Throttled { asynchronous: true, .. }).then_some(()));
    throttled.await;
    let condition = world.event(|event| match event {
        LambdaEvent::EventDropped { condition, .. } => Some(*condition),
        _ => None,
    });
    assert_eq!(condition.await, "EventAgeExceeded");
    drop(connection);
    let result = within(waiting).await.unwrap().unwrap();
    assert_eq!(json(&result.payload), json!("waited"));
    assert_eq!(world.sink.sum("Invocations", &["FunctionName=checkout"]).to_string(), "1", "a throttle is none");
    assert!(world.sink.sum("Throttles", &["FunctionName=checkout"]) >= 2.0);
    assert_eq!(world.invoke("checkout", "{}").await.function_error, None, "room again");
}

#[tokio::test]
async fn a_throttled_event_runs_when_there_is_room() {
    let mut world = World::new();
    world.create("checkout", |config| config.reserved_concurrency = Some(1));
    let holder = Holder::new().await;
    let event = json!({ "do": "wait", "address": holder.address });
    world.lambda.invoke_async("checkout", event).unwrap();
    let connection = holder.next().await;
    world.lambda.invoke_async("checkout", json!({ "order": 6 })).unwrap();
    let is_throttled = |event: &LambdaEvent| matches!(event, LambdaEvent::Throttled { .. }).then_some(());
    world.event(is_throttled).await;
    drop(connection);
    let ended = |event: &LambdaEvent| match event {
        LambdaEvent::InvocationEnded { error_type, .. } => Some(error_type.clone()),
        _ => None,
    };
    assert_eq!((world.event(ended).await, world.event(ended).await), (None, None));
}

#[tokio::test]
async fn faults_of_the_queue() {
    let mut world = World::new();
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:watchdog";
    world.create("watchdog", |_| {});
    world.create("hook", |config| {
        config.async_config.on_failure = Some(arn.to_owned());
        config.async_config.max_retries = 0;
    });
    world.lambda.set_fault("hook", Fault::Ignore, true).unwrap();
    world.lambda.invoke_async("hook", json!({ "number": 1 })).unwrap();
    world.lambda.set_fault("hook", Fault::Ignore, false).unwrap();
    world.lambda.set_fault("hook", Fault::FailAll, true).unwrap();
    world.lambda.set_fault("hook", Fault::DenyDestination, true).unwrap();
    world.lambda.invoke_async("hook", json!({ "number": 2 })).unwrap();
    let called = world.event(|event| match event {
        LambdaEvent::DestinationCalled { destination, delivered, .. } => Some((destination.clone(), *delivered)),
        _ => None,
    });
    assert_eq!(called.await, (arn.to_owned(), false));
    assert_eq!(world.sink.sum("DestinationDeliveryFailures", &["FunctionName=hook"]).to_string(), "1");
    assert_eq!(world.sink.sum("AsyncEventsReceived", &["FunctionName=hook"]).to_string(), "2");
    assert_eq!(world.sink.sum("AsyncEventsReceived", &["FunctionName=watchdog"]).to_string(), "0");
    assert_eq!(world.sink.sum("Invocations", &["FunctionName=hook"]).to_string(), "1", "the ignored one never ran");
    assert_eq!(world.lambda.log("hook"), [], "FailAll runs nothing");
}

#[tokio::test]
async fn without_any_concurrency_reserved_an_event_is_given_up_at_once() {
    let mut world = World::new();
    world.create("off", |config| config.reserved_concurrency = Some(0));
    world.lambda.invoke_async("off", json!({})).unwrap();
    let first = world.event(|event| Some(event.clone())).await;
    let is_given_up = matches!(first, LambdaEvent::EventDropped { condition: "RetriesExhausted", .. });
    assert!(is_given_up, "{first:?}");
    let refused = world.lambda.invoke_async("none", json!({})).unwrap_err();
    assert_eq!(refused.code, "ResourceNotFoundException");
}

#[tokio::test]
async fn an_alias_splits_by_weight_and_moves_at_once() {
    let world = World::new();
    world.create("checkout", |config| set(config, "COLOUR", "blue"));
    world.lambda.publish_version("checkout", None).unwrap();
    let environment = Some(BTreeMap::from([("COLOUR".to_owned(), "green".to_owned())]));
    let change = ConfigurationChange { environment, ..ConfigurationChange::default() };
    world.lambda.update_configuration("checkout", change).unwrap();
    assert_eq!(world.lambda.publish_version("checkout", None).unwrap(), "2");
    assert_eq!(world.lambda.publish_version("checkout", None).unwrap(), "2", "nothing has changed");
    world.lambda.create_alias("checkout", "live", weighted("1", "2", 0.1)).unwrap();
    let colour = async |qualifier: &str| {
        let result = within(world.lambda.invoke("checkout", Some(qualifier), r#"{"do":"environment"}"#)).await.unwrap();
        (result.executed_version, json(&result.payload)["COLOUR"].as_str().unwrap_or_default().to_owned())
    };
    let mut green = 0;
    for _ in 0..500 {
        match colour("live").await {
            (version, colour) if version == "2" && colour == "green" => green += 1,
            (version, colour) => assert_eq!((version.as_str(), colour.as_str()), ("1", "blue")),
        }
    }
    // 50 expected; three standard deviations of a binomial are 20.
    assert!((30..=70).contains(&green), "{green} of 500 at a weight of 0.1");
    assert!(world.lambda.process_ids().len() == 2, "one warm process per version");
    world.lambda.route("checkout", "live", to("2")).unwrap();
    for _ in 0..20 {
        assert_eq!(colour("live").await, ("2".to_owned(), "green".to_owned()));
    }
    assert_eq!(world.lambda.alias("checkout", "live"), Some(to("2")));
    assert_eq!(world.lambda.alias("checkout", "none"), None);
    let exists = ["1", "3", "$LATEST", "live"].map(|version| world.lambda.has_version("checkout", version));
    assert_eq!(exists, [true, false, false, false]);
    let refused = world.lambda.route("checkout", "live", to("3")).unwrap_err();
    assert_eq!(refused.code, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_frozen_process_is_killed_at_its_time_out() {
    let world = World::new();
    let holder = Holder::new().await;
    world.create("hook", |config| {
        config.timeout = Duration::from_millis(500);
        set(config, "TEST_HOLD", &holder.address);
    });
    world.lambda.set_fault("hook", Fault::Freeze, true).unwrap();
    let result = world.invoke("hook", r#"{"number":1}"#).await;
    assert_eq!(result.error_type.as_deref(), Some("Sandbox.Timedout"));
    gone(holder.next().await).await;
    assert_eq!(world.sink.lines.lock().unwrap().clone(), [], "the handler never ran");
    world.lambda.set_fault("hook", Fault::Freeze, false).unwrap();
    assert_eq!(world.invoke("hook", "{}").await.function_error, None);
}

#[tokio::test]
async fn a_killed_process_fails_its_invocation() {
    let world = World::new();
    world.create("hook", |_| {});
    let holder = Holder::new().await;
    let event = json!({ "do": "wait", "address": holder.address }).to_string();
    let lambda = world.lambda.clone();
    let waiting = tokio::spawn(async move { lambda.invoke("hook", None, event).await });
    let connection = holder.next().await;
    assert_eq!(world.lambda.kill_running("hook"), Ok(1));
    let result = within(waiting).await.unwrap().unwrap();
    let message = json(&result.payload)["errorMessage"].as_str().unwrap_or_default().to_owned();
    assert!(message.ends_with("Runtime exited with error: signal: killed"), "{message}");
    gone(connection).await;
}

#[tokio::test]
async fn nothing_is_left_after_shutdown_or_drop() {
    let holder = Holder::new().await;
    for is_dropped in [false, true] {
        let world = World::new();
        world.create("idle", |config| set(config, "TEST_HOLD", &holder.address));
        world.create("frozen", |config| set(config, "TEST_HOLD", &holder.address));
        world.invoke("idle", "{}").await;
        world.invoke("frozen", "{}").await;
        let connections = [holder.next().await, holder.next().await];
        assert_eq!(world.lambda.freeze_running("frozen").await, Ok(1));
        assert_eq!(world.lambda.process_ids().len(), 2);
        if is_dropped {
            drop(world);
        } else {
            world.lambda.shutdown().await;
            assert_eq!(world.lambda.process_ids(), Vec::<u32>::new());
            let refused = world.lambda.invoke("idle", None, "{}").await.unwrap_err();
            assert_eq!(refused.code, "ServiceException");
        }
        for connection in connections {
            gone(connection).await;
        }
    }
}

/// The test starts itself a second time as the emulator that is killed.
#[tokio::test]
async fn nothing_is_left_after_the_emulator_itself_is_killed() {
    if let Ok(address) = std::env::var("TEST_EMULATOR_HOLDS") {
        let world = World::new();
        for (name, at_once) in [("frozen", 1), ("polls_for_ever", 4)] {
            world.create(name, |config| {
                config.max_concurrency_per_environment = at_once;
                set(config, "TEST_HOLD", &address);
            });
            world.invoke(name, "{}").await;
        }
        assert_eq!(world.lambda.freeze_running("frozen").await, Ok(1));
        println!("\nready");
        std::future::pending::<()>().await;
    }
    let holder = Holder::new().await;
    let this = std::env::current_exe().unwrap();
    let mut emulator = Command::new(this);
    emulator.args(["--exact", "nothing_is_left_after_the_emulator_itself_is_killed", "--nocapture"]);
    let mut emulator = emulator.env("TEST_EMULATOR_HOLDS", &holder.address).stdout(Stdio::piped()).spawn().unwrap();
    let connections = [holder.next().await, holder.next().await];
    let output = BufReader::new(emulator.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line == "ready"), "the emulator did not get ready");
    emulator.kill().unwrap();
    emulator.wait().unwrap();
    for connection in connections {
        gone(connection).await;
    }
}
