//! Every file of `fixtures/` with the meaning it must have, and every file of `fixtures/rejected/` with its message.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use serde_json::Value;
use snapback_core::alarm::{AlarmReading, AlarmScope};
use snapback_core::observed::Platform;
use snapback_wire::app_spec::parse_app_spec;
use snapback_wire::event::{
    AlarmEvent, AlarmKind, AlarmMessage, DeploymentMessage, EventError, MAX_DATAPOINTS, WatchdogEvent, breaching,
    event_from_slice, parse_alarm, parse_deployment_event, parse_hook, parse_watchdog_event,
};
use std::collections::BTreeSet;
use std::path::Path;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

fn read(name: &str) -> Value {
    let bytes = std::fs::read(Path::new(FIXTURES).join(format!("{name}.json"))).unwrap();
    event_from_slice(&bytes).unwrap()
}

fn files(folder: &str) -> BTreeSet<String> {
    std::fs::read_dir(Path::new(FIXTURES).join(folder))
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect()
}

fn parsed_alarm(name: &str) -> String {
    match parse_alarm(&read(name)) {
        Ok(AlarmMessage::Change(event)) => alarm(&event),
        Ok(AlarmMessage::Ignored { why }) => format!("ignored: {why}"),
        Err(error) => error.to_string(),
    }
}

/// One line with everything that the event says.
fn alarm(event: &AlarmEvent) -> String {
    let AlarmReading { name, state, since, previous, .. } = &event.reading;
    let previous = previous.map_or("-".to_owned(), |(state, since)| format!("{state} {since}"));
    let oldest = event.reading.oldest_breaching().map_or("-".to_owned(), |at| at.to_string());
    let marks = match (event.is_muted, event.is_suppressed) {
        (true, _) => " muted",
        (false, true) => " suppressed",
        (false, false) => "",
    };
    format!("{:?} {name} {state} {since} before {previous} oldest {oldest}{marks}", event.kind)
}

fn deployment(name: &str) -> String {
    match parse_deployment_event(&read(name)) {
        Ok(DeploymentMessage::Change(event)) => {
            format!("{} {} {:?} {}", event.deployment, event.group, event.state, event.time)
        }
        Ok(DeploymentMessage::Ignored { why }) => format!("ignored: {why}"),
        Err(error) => error.to_string(),
    }
}

fn watchdog(name: &str) -> String {
    match parse_watchdog_event(&read(name)) {
        Ok(WatchdogEvent::BakeEnd(id)) => format!("bake end {id}"),
        Ok(WatchdogEvent::FailedInvocation(failed)) => {
            format!("{} {} {}: {}", failed.function_arn, failed.condition, failed.hook.deployment, failed.error)
        }
        Err(error) => error.to_string(),
    }
}

fn hook(name: &str) -> String {
    parse_hook(&read(name))
        .map_or_else(|error| error.to_string(), |event| format!("{} {}", event.deployment, event.execution))
}

fn app_spec(name: &str) -> String {
    let spec = parse_app_spec(&read(name).to_string()).unwrap();
    let target = spec.target.map_or("-".to_owned(), |target| {
        format!("{}:{} {} -> {}", target.name(), target.route(), target.baseline(), target.canary())
    });
    assert!(matches!(spec.platform, Platform::Lambda | Platform::Ecs));
    let name = |function: Option<String>| function.unwrap_or("-".to_owned());
    let (before, after) = (name(spec.hooks.before), name(spec.hooks.after));
    format!("{} {target} {before} {after}", spec.platform.as_str())
}

type Meaning = fn(&str) -> String;

const METRIC: &str = "Metric checkout-live-v8-errors ALARM 2026-11-20T10:20:40.989Z before OK 2026-11-20T10:10:40.987Z oldest 2026-11-20T10:19:00.000Z";
const MATH: &str = "MetricMath checkout-availability-low ALARM 2026-11-20T10:20:48.554Z before INSUFFICIENT_DATA 2026-11-20T10:18:03.642Z oldest 2026-11-20T10:19:00.000Z";
const LOG: &str = "Log HighErrorRate ALARM 2026-11-20T10:15:30.000Z before OK 2026-11-20T10:00:00.000Z oldest -";
const COMPOSITE: &str =
    "Composite checkout-rollback ALARM 2026-11-20T10:20:45.394Z before OK 2026-11-20T10:12:00.552Z oldest -";

/// File, how it is read, what it must mean.
const MEANINGS: &[(&str, Meaning, &str)] = &[
    (
        "alarm-action-composite",
        parsed_alarm,
        "Composite checkout-rollback ALARM 2026-11-20T10:20:45.394Z before ALARM 2026-11-20T10:18:46.138Z oldest -",
    ),
    ("alarm-action-composite-no-suppressor", parsed_alarm, COMPOSITE),
    ("alarm-action-log", parsed_alarm, LOG),
    ("alarm-action-metric", parsed_alarm, METRIC),
    ("alarm-action-metric-math", parsed_alarm, MATH),
    (
        "alarm-action-metric-setalarmstate",
        parsed_alarm,
        "Metric checkout-live-v8-errors ALARM 2026-11-20T10:36:15.490Z before INSUFFICIENT_DATA 2026-11-20T10:31:29.595Z oldest -",
    ),
    ("appspec-ecs", app_spec, "ECS - h4 h5"),
    (
        "appspec-lambda-forward",
        app_spec,
        "Lambda checkout:live 7 -> 8 CodeDeployHook_checkout-before CodeDeployHook_checkout-after",
    ),
    ("appspec-lambda-rollback", app_spec, "Lambda checkout:live 8 -> 7 - -"),
    (
        "codedeploy-hook",
        hook,
        "d-A1B2C3D4E eyJlbmNyeXB0ZWREYXRhIjoiRVhBTVBMRSIsIml2UGFyYW1ldGVyU3BlYyI6IkVYQU1QTEUiLCJtYXRlcmlhbFNldFNlcmlhbCI6MX0=",
    ),
    (
        "eventbridge-alarm-anomaly",
        parsed_alarm,
        "Anomaly checkout-latency-anomaly ALARM 2026-11-20T10:20:04.653Z before OK 2026-11-20T10:19:04.672Z oldest -",
    ),
    ("eventbridge-alarm-composite", parsed_alarm, COMPOSITE),
    (
        "eventbridge-alarm-composite-suppressed",
        parsed_alarm,
        "Composite checkout-rollback ALARM 2026-11-20T10:20:45.394Z before OK 2026-11-20T10:12:00.552Z oldest - suppressed",
    ),
    ("eventbridge-alarm-config-change", parsed_alarm, "ignored: it is about the alarm's configuration"),
    (
        "eventbridge-alarm-contributor",
        parsed_alarm,
        "ignored: it is about one contributor; the alarm's own event tells its state",
    ),
    ("eventbridge-alarm-log", parsed_alarm, LOG),
    ("eventbridge-alarm-metric", parsed_alarm, METRIC),
    ("eventbridge-alarm-metric-math", parsed_alarm, MATH),
    (
        "eventbridge-alarm-metric-muted",
        parsed_alarm,
        "Metric checkout-live-v8-errors ALARM 2026-11-20T10:20:40.989Z before OK 2026-11-20T10:10:40.987Z oldest 2026-11-20T10:19:00.000Z muted",
    ),
    (
        "eventbridge-alarm-multi-timeseries",
        parsed_alarm,
        "Insights lambda-errors-per-function ALARM 2026-11-20T10:21:04.919Z before INSUFFICIENT_DATA 2026-11-20T10:19:50.600Z oldest -",
    ),
    (
        "eventbridge-codedeploy-deployment-failure",
        deployment,
        "d-A1B2C3D4E checkout-app/checkout-live-dg Failure 2026-11-20T10:15:30.000Z",
    ),
    (
        "eventbridge-codedeploy-deployment-queued",
        deployment,
        "d-A1B2C3D4E checkout-app/checkout-live-dg Queued 2026-11-20T10:15:30.000Z",
    ),
    (
        "eventbridge-codedeploy-deployment-ready",
        deployment,
        "d-A1B2C3D4E checkout-app/checkout-live-dg Ready 2026-11-20T10:15:30.000Z",
    ),
    (
        "eventbridge-codedeploy-deployment-start",
        deployment,
        "d-A1B2C3D4E checkout-app/checkout-live-dg Start 2026-11-20T10:15:30.000Z",
    ),
    (
        "eventbridge-codedeploy-deployment-stop",
        deployment,
        "d-A1B2C3D4E checkout-app/checkout-live-dg Stop 2026-11-20T10:15:30.000Z",
    ),
    (
        "eventbridge-codedeploy-deployment-success",
        deployment,
        "d-A1B2C3D4E checkout-app/checkout-live-dg Success 2026-11-20T10:15:30.000Z",
    ),
    ("eventbridge-codedeploy-instance", deployment, "ignored: it is about one instance"),
    (
        "lambda-async-onfailure-destination",
        watchdog,
        "not a CodeDeploy lifecycle hook event: `requestPayload`, `DeploymentId` is missing, expected a string; check what invokes this function",
    ),
    (
        "lambda-async-onfailure-destination-hook",
        watchdog,
        "arn:aws:lambda:us-east-1:123456789012:function:CodeDeployHook_snapback-before:$LATEST RetriesExhausted d-A1B2C3D4E: RequestId: e4b46cbf-b738-46bb-9d2e-0f0a2fd3e0e8 Process exited before completing request",
    ),
    ("schedule-bake-end", watchdog, "bake end d-A1B2C3D4E"),
];

/// Documents that no function receives as an event: every parser refuses them.
const NO_EVENTS: &[&str] = &[
    "api-getapplicationrevision",
    "api-getdeployment-rollback",
    "api-getdeployment-stopped-by-alarm",
    "api-getdeploymenttarget-lambda-canary",
    "ecs-hook-post-test-traffic-shift-with-details",
    "ecs-hook-pre-scale-up",
    "ecs-hook-production-traffic-shift",
    "ecs-hook-production-traffic-shift-rollback",
    "ecs-hook-response-failed",
    "ecs-hook-response-in-progress",
    "ecs-hook-response-succeeded",
    "ecs-hook-test-traffic-shift",
    "emf-example",
    "eventbridge-ecs-deployment-completed",
    "eventbridge-ecs-deployment-failed",
    "eventbridge-ecs-deployment-in-progress",
    "sns-codedeploy-trigger-deployment",
    "sns-event-alarm-metric",
];

#[test]
fn every_fixture_means_what_it_must() {
    for (name, meaning, expected) in MEANINGS {
        assert_eq!(meaning(name), *expected, "{name}");
    }
}

#[test]
fn every_fixture_is_in_a_table() {
    let known = MEANINGS.iter().map(|(name, _, _)| *name).chain(NO_EVENTS.iter().copied());
    let known: BTreeSet<String> = known.map(str::to_owned).collect();
    assert_eq!(files(""), known);
}

#[test]
fn other_documents_are_no_events() {
    for name in NO_EVENTS {
        let value = read(name);
        assert!(parse_hook(&value).is_err(), "{name} is no hook event");
        assert!(parse_alarm(&value).is_err(), "{name} is no alarm event");
        assert!(parse_deployment_event(&value).is_err(), "{name} is no deployment event");
        assert!(parse_watchdog_event(&value).is_err(), "{name} wakes no watchdog");
    }
}

#[test]
fn ids_and_reasons() {
    let change = |name: &str| match parse_alarm(&read(name)).unwrap() {
        AlarmMessage::Change(event) => event,
        AlarmMessage::Ignored { why } => panic!("{name}: {why}"),
    };
    let event = change("eventbridge-alarm-metric");
    assert_eq!(event.id, "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92");
    assert_eq!((event.account.as_str(), event.region.as_str()), ("123456789012", "us-east-1"));
    assert!(event.arn.ends_with(":alarm:checkout-live-v8-errors"), "{}", event.arn);
    assert!(event.reading.reason.starts_with("Threshold Crossed: 1 out of"), "{}", event.reading.reason);
    let action = change("alarm-action-metric");
    assert_eq!(action.reading, event.reading, "both ways tell the same");
    assert_eq!(
        action.id,
        "arn:aws:cloudwatch:us-east-1:123456789012:alarm:checkout-live-v8-errors|2026-11-20T10:20:40.989Z|ALARM"
    );
}

#[test]
fn a_huge_reason_is_cut_and_broken_data_is_no_evidence() {
    let mut value = read("eventbridge-alarm-metric");
    *value.pointer_mut("/detail/state/reason").unwrap() = "ü".repeat(100_000).into();
    *value.pointer_mut("/detail/state/reasonData").unwrap() = "{not json".into();
    *value.pointer_mut("/detail/configuration").unwrap() = Value::Null;
    let Ok(AlarmMessage::Change(event)) = parse_alarm(&value) else {
        panic!("an alarm must not be lost because of its reason");
    };
    assert_eq!(event.reading.reason.chars().count(), 1_023);
    assert_eq!((event.reading.oldest_breaching(), event.kind), (None, AlarmKind::Other));
}

#[test]
fn the_oldest_breaching_datapoint_is_found_by_the_reason() {
    // (case, reason, threshold, minute of the oldest breaching one of 10:01 = 1, 10:02 = 5, 10:03 = no value, 10:04 = 9)
    let table = [
        ("above", "was greater than the threshold", "5.0", Some("10:04")),
        ("at or above", "was greater than or equal to the threshold", "5.0", Some("10:02")),
        ("below", "was less than the threshold", "5.0", Some("10:01")),
        ("below, both", "were less than the threshold", "9.0", Some("10:01")),
        ("at or below", "was less than or equal to the threshold", "1.0", Some("10:01")),
        ("none breaches", "was greater than the threshold", "100.0", None),
        ("unknown words", "was outside of the band", "5.0", Some("10:01")),
        ("no threshold", "was greater than the threshold", "null", Some("10:01")),
    ];
    for (case, reason, threshold, expected) in table {
        let point = |minute: &str, value: &str| format!(r#"{{"timestamp":"2026-11-20T{minute}:00.000+0000"{value}}}"#);
        let points = [
            point("10:04", r#","value":9.0"#),
            point("10:03", ""),
            point("10:02", r#","value":5.0"#),
            point("10:01", r#","value":1.0"#),
        ];
        let data = format!(r#"{{"threshold":{threshold},"evaluatedDatapoints":[{}]}}"#, points.join(","));
        let mut value = read("eventbridge-alarm-metric");
        *value.pointer_mut("/detail/state/reason").unwrap() = reason.into();
        *value.pointer_mut("/detail/state/reasonData").unwrap() = data.into();
        let Ok(AlarmMessage::Change(event)) = parse_alarm(&value) else {
            panic!("{case}: no alarm");
        };
        let oldest = event.reading.oldest_breaching().map(|at| at.to_string());
        let expected = expected.map(|minute| format!("2026-11-20T{minute}:00.000Z"));
        assert_eq!(oldest, expected, "{case}");
    }
}

/// A count that several functions share is one of an API's stage or of a load balancer.
#[test]
fn what_an_alarm_counts_is_told_by_its_metrics() {
    use AlarmScope::{Own, Shared};
    let metric = |namespace: &str, dimensions: &[&str]| {
        let dimensions: serde_json::Map<String, Value> =
            dimensions.iter().map(|name| ((*name).to_owned(), "x".into())).collect();
        serde_json::json!({
            "id": "m", "returnData": false,
            "metricStat": {"metric": {"namespace": namespace, "name": "n", "dimensions": dimensions}, "period": 60, "stat": "Sum"}
        })
    };
    let stage = || metric("AWS/ApiGateway", &["ApiName", "Stage"]);
    let function = || metric("AWS/Lambda", &["FunctionName", "Resource"]);
    let expression = serde_json::json!({"id": "rate", "expression": "100 * m / n", "returnData": true});
    let balancer = metric("AWS/ApplicationELB", &["LoadBalancer"]);
    let targets = metric("AWS/ApplicationELB", &["LoadBalancer", "TargetGroup"]);
    let table = [
        ("a stage", vec![stage()], Some(Shared)),
        ("a whole API", vec![metric("AWS/ApiGateway", &["ApiId"])], Some(Shared)),
        (
            "a method of a resource",
            vec![metric("AWS/ApiGateway", &["ApiName", "Stage", "Method", "Resource"])],
            Some(Own),
        ),
        ("a resource alone", vec![metric("AWS/ApiGateway", &["ApiName", "Stage", "Resource"])], Some(Shared)),
        ("a route", vec![metric("AWS/ApiGateway", &["ApiId", "Stage", "Route"])], Some(Own)),
        ("a load balancer", vec![balancer.clone()], Some(Shared)),
        ("a target group", vec![targets.clone()], Some(Own)),
        ("a function", vec![function()], Some(Own)),
        ("a team's own metric", vec![metric("Checkout", &[])], Some(Own)),
        ("metric math over a stage", vec![expression.clone(), stage(), stage()], Some(Shared)),
        ("metric math over a function", vec![expression.clone(), function()], Some(Own)),
        ("a stage beside a function", vec![expression.clone(), function(), stage()], Some(Shared)),
        ("a target group and what its balancer answers itself", vec![targets, balancer], Some(Shared)),
        ("no metric", vec![expression], None),
    ];
    for (case, metrics, expected) in table {
        let mut value = read("eventbridge-alarm-metric");
        *value.pointer_mut("/detail/configuration/metrics").unwrap() = metrics.into();
        let Ok(AlarmMessage::Change(event)) = parse_alarm(&value) else {
            panic!("{case}: no alarm");
        };
        assert_eq!(event.reading.scope, expected, "{case}");
    }
    let Ok(AlarmMessage::Change(composite)) = parse_alarm(&read("eventbridge-alarm-composite")) else {
        panic!("a composite alarm");
    };
    assert_eq!(composite.reading.scope, None, "its parts have metrics, not it");
}

#[test]
fn of_many_datapoints_the_newest_are_kept() {
    let at = |minute: usize| format!("2026-11-20T{:02}:{:02}:00.000+0000", minute / 60, minute % 60);
    let points: Vec<Value> =
        (0..300).map(|minute| serde_json::json!({"timestamp": at(minute), "value": 9.0})).collect();
    let data = serde_json::json!({"threshold": 5.0, "evaluatedDatapoints": points}).to_string();
    let kept = breaching("was greater than the threshold", &data);
    assert_eq!(kept.len(), MAX_DATAPOINTS);
    assert_eq!(kept.last().unwrap().to_string(), "2026-11-20T04:59:00.000Z");
    assert!(kept.is_sorted());
    assert!(breaching("was greater than the threshold", "no JSON").is_empty());
}

/// File of `rejected/` and a part of its message; the file's first word tells how it is read.
const REJECTED: &[(&str, &str)] = &[
    ("alarm-action-data-string", "`alarmData` is `ALARM`, expected an object"),
    ("alarm-action-missing-arn", "`alarmArn` is missing"),
    ("alarm-action-unknown-state", "`alarmData.state.value` is `Ok`, expected OK, ALARM or INSUFFICIENT_DATA"),
    ("alarm-bad-envelope-time", "the event is refused"),
    ("alarm-bad-timestamp", "`detail.state.timestamp` is `20/11/26 10:20:40`, expected a timestamp such as"),
    ("alarm-detail-list", "`detail` is a list of 0, expected an object"),
    ("alarm-huge-name", "`detail.alarmName` is `aaaa"),
    ("alarm-lower-case-state", "`detail.state.value` is `ok`"),
    ("alarm-missing-detail", "missing field `detail`"),
    ("alarm-missing-id", "`id` is missing"),
    ("alarm-missing-state", "`detail.state` is missing, expected an object"),
    ("alarm-missing-state-value", "`detail.state.value` is missing"),
    ("alarm-no-resources", "`resources[0]` is missing"),
    ("alarm-null-detail-type", "`detail-type` is null, expected a string"),
    ("alarm-null-name", "`detail.alarmName` is null, expected a string"),
    ("alarm-other-detail-type", "`detail-type` is `EC2 Instance State-change Notification`"),
    ("alarm-other-source", "`source` is `my.app`, expected aws.cloudwatch"),
    ("alarm-reason-object", "`detail.state.reason` is an object of 0, expected a string"),
    ("alarm-sns", "`detail-type` is missing"),
    ("alarm-string", "the event is `ALARM`, expected an object"),
    ("alarm-unknown-previous-state", "`detail.previousState.value` is `GOOD`"),
    ("alarm-unknown-state", "`detail.state.value` is `ALERT`"),
    ("deployment-malformed-id", "`detail.deploymentId` is `d-1`"),
    ("deployment-missing-group", "`detail.deploymentGroup` is missing"),
    ("deployment-number-id", "`detail.deploymentId` is 7, expected a string"),
    ("deployment-other-detail-type", "`detail-type` is `ECS Deployment State Change`"),
    ("deployment-slash-in-application", "`a/b` is not a CodeDeploy application"),
    ("deployment-unknown-state", "`detail.state` is `SUCCEEDED`, expected START, SUCCESS"),
    ("hook-ecs-deployment-id", "`DeploymentId` is `ecs-svc/1234567890`"),
    ("hook-empty-execution-id", "`LifecycleEventHookExecutionId` is ``"),
    ("hook-huge-execution-id", "of 1 to 4096 characters"),
    ("hook-list", "the event is a list of 1, expected an object"),
    ("hook-list-of-members", "the event is a list of 2, expected an object"),
    ("hook-lower-case-members", "`DeploymentId` is missing, expected a string"),
    ("hook-malformed-deployment-id", "`DeploymentId` is `d-../../etc`, expected a deployment id such as"),
    ("hook-missing-execution-id", "`LifecycleEventHookExecutionId` is missing"),
    ("hook-null", "the event is null, expected an object"),
    ("hook-null-deployment-id", "`DeploymentId` is null, expected a string"),
    ("watchdog-empty", "`requestContext` is missing"),
    ("watchdog-malformed-id", "`deploymentId` is `x`"),
    ("watchdog-no-condition", "`requestContext.condition` is missing"),
    ("watchdog-no-payload", "`requestPayload` is null, expected the event of a hook"),
    ("watchdog-other-payload", "`requestPayload`, `DeploymentId` is missing"),
    ("watchdog-unknown-mark", "`snapback` is `bake`, expected bake-end"),
];

fn parse_as_its_name_says(name: &str, value: &Value) -> Result<(), EventError> {
    match name.split('-').next() {
        Some("alarm") => parse_alarm(value).map(drop),
        Some("deployment") => parse_deployment_event(value).map(drop),
        Some("hook") => parse_hook(value).map(drop),
        _ => parse_watchdog_event(value).map(drop),
    }
}

#[test]
fn every_rejected_file_is_rejected_for_its_reason() {
    for (name, expected) in REJECTED {
        let value = read(&format!("rejected/{name}"));
        match parse_as_its_name_says(name, &value) {
            Ok(()) => panic!("{name} was accepted"),
            Err(error) => assert!(error.to_string().contains(expected), "{name}: {error}"),
        }
    }
    let known: BTreeSet<String> = REJECTED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files("rejected"), known);
}

#[test]
fn text_is_bounded() {
    let huge = vec![b' '; 1024 * 1024 + 1];
    assert!(event_from_slice(&huge).unwrap_err().to_string().contains("1048577 bytes long"));
    assert!(event_from_slice(b"{").unwrap_err().to_string().contains("not JSON"));
    let deep = "[".repeat(100_000);
    assert!(event_from_slice(deep.as_bytes()).unwrap_err().to_string().contains("not JSON"));
}

mod any_json {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            "(OK|ALARM|START|d-A1B2C3D4E|bake-end|2026-11-20T10:20:40Z)".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// Every place of a document.
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        if let Some(map) = value.as_object() {
            for (name, inner) in map {
                places(inner, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        if let Some(list) = value.as_array() {
            for (index, inner) in list.iter().enumerate() {
                places(inner, &format!("{at}/{index}"), found);
            }
        }
    }

    fn parse_all(value: &Value) {
        let _ = parse_hook(value);
        let _ = parse_alarm(value);
        let _ = parse_deployment_event(value);
        let _ = parse_watchdog_event(value);
        let _ = parse_app_spec(&value.to_string());
    }

    proptest! {
        #[test]
        fn never_panics(value in any_value()) {
            parse_all(&value);
        }

        #[test]
        fn never_panics_with_one_strange_member(
            file in prop::sample::select(MEANINGS.iter().map(|(name, _, _)| *name).collect::<Vec<_>>()),
            place in any::<prop::sample::Index>(),
            strange in any_value(),
        ) {
            let mut value = read(file);
            let mut found = Vec::new();
            places(&value, "", &mut found);
            let place = found.get(place.index(found.len())).cloned().unwrap_or_default();
            if let Some(member) = value.pointer_mut(&place) {
                *member = strange;
            }
            parse_all(&value);
        }
    }
}
