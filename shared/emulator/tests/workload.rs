//! The demo application under load.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "helpers of tests may panic, tests pick the events they wait for, and a table stays in one place"
)]

mod lambda_world;

use std::collections::BTreeMap;
use std::time::Duration;

use lambda_world::{World, built, within};
use serde_json::json;
use snapback_emulator::lambda::{ConfigurationChange, FunctionConfig};
use snapback_emulator::parts::{AliasRouting, LambdaControl};
use snapback_emulator::workload::{ApiStage, Counts, Outcome, Workload, WorkloadConfig};

/// The demo application in two versions: 1 is healthy, 2 has the given faults. `live` points at 1.
fn demo_app(faults: &[(&str, &str)]) -> World {
    let world = World::new();
    let code = built("demo-app", "cargo build -p demo-app");
    let mut config = FunctionConfig::new("checkout", code, "AKIACHECKOUT");
    config.max_concurrency_per_environment = 16;
    world.lambda.create_function(config).unwrap();
    world.lambda.publish_version("checkout", None).unwrap();
    let environment = faults.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment = Some(environment.collect::<BTreeMap<_, _>>());
    let change = ConfigurationChange { environment, ..ConfigurationChange::default() };
    world.lambda.update_configuration("checkout", change).unwrap();
    world.lambda.publish_version("checkout", None).unwrap();
    let routing = AliasRouting { version: "1".to_owned(), additional: None };
    world.lambda.create_alias("checkout", "live", routing).unwrap();
    world
}

fn customers(world: &World, requests_per_second: f64) -> Workload {
    let config = WorkloadConfig {
        function: "checkout".to_owned(),
        alias: "live".to_owned(),
        requests_per_second,
        payload: json!({ "path": "/checkout", "basket": ["tea"] }),
        slow_above: Duration::from_secs(20),
    };
    Workload::start(world.lambda.clone(), config)
}

/// The stage of an API counts everybody behind it together, and a function error as a 5xx.
#[tokio::test]
async fn workloads_behind_one_api_are_counted_together() {
    let world = demo_app(&[("DEMO_ERROR_RATE", "1")]);
    let config = |alias: &str| WorkloadConfig {
        function: "checkout".to_owned(),
        alias: alias.to_owned(),
        requests_per_second: 100.0,
        payload: json!({ "path": "/checkout", "basket": ["tea"] }),
        slow_above: Duration::from_secs(20),
    };
    let routing = AliasRouting { version: "2".to_owned(), additional: None };
    world.lambda.create_alias("checkout", "neighbour", routing).unwrap();
    let api = ApiStage { name: "shop".to_owned(), stage: "prod".to_owned(), sink: world.sink.clone() };
    let own = Workload::start_behind(world.lambda.clone(), config("live"), Some(api.clone()));
    let neighbour = Workload::start_behind(world.lambda.clone(), config("neighbour"), Some(api));
    within(own.ended(20)).await;
    within(neighbour.ended(20)).await;
    within(own.stop()).await;
    within(neighbour.stop()).await;
    let (own, neighbour) = (own.total(), neighbour.total());
    assert_eq!((own.harmed, neighbour.harmed), (0, neighbour.requests));
    let counted = |name: &str| world.sink.sum(name, &["ApiName=shop", "Stage=prod"]).to_string();
    assert_eq!(counted("Count"), (own.requests + neighbour.requests).to_string());
    assert_eq!(counted("5XXError"), neighbour.harmed.to_string());
    assert_eq!(counted("4XXError"), "0");
}

#[tokio::test]
async fn harm_is_counted_by_the_version_that_did_it() {
    let world = demo_app(&[("DEMO_ERROR_RATE", "0.5")]);
    let customers = customers(&world, 100.0);
    within(customers.ended(20)).await;
    assert_eq!((customers.by_version("1").harmed, customers.first_harmed_ms("1")), (0, None));
    let before_ms = jiff::Timestamp::now().as_millisecond();
    world.lambda.route("checkout", "live", AliasRouting { version: "2".to_owned(), additional: None }).unwrap();
    let served = customers.total().requests;
    within(customers.ended(usize::try_from(served).unwrap() + 40)).await;
    within(customers.stop()).await;
    let (old, new) = (customers.by_version("1"), customers.by_version("2"));
    assert_eq!(old.harmed, 0);
    assert_eq!(new.harmed, new.requests / 2, "every second request of version 2: {new:?}");
    assert!(customers.first_harmed_ms("2").is_some_and(|at_ms| at_ms >= before_ms));
    let total = Counts { requests: old.requests + new.requests, harmed: new.harmed };
    assert_eq!((customers.total(), customers.unsent()), (total, 0));
    let mut by_second = Counts::default();
    for counts in customers.per_second().values().flat_map(BTreeMap::values) {
        by_second = Counts { requests: by_second.requests + counts.requests, harmed: by_second.harmed + counts.harmed };
    }
    assert_eq!(by_second, total);
    let errors = world.sink.sum("Errors", &["ExecutedVersion=2", "FunctionName=checkout", "Resource=checkout:live"]);
    assert_eq!(errors.to_string(), new.harmed.to_string(), "Lambda's metric and the customers agree");
    assert!(customers.samples_since(before_ms).iter().any(|sample| sample.outcome == Outcome::FunctionError));
}

#[tokio::test]
async fn one_process_serves_as_many_at_once_as_it_is_built_for() {
    for (at_once, processes) in [(16, 1), (17, 2)] {
        let world = demo_app(&[]);
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..at_once {
            let lambda = world.lambda.clone();
            requests.spawn(async move { lambda.invoke("checkout", Some("1"), r#"{"path":"/checkout"}"#).await });
        }
        for result in within(requests.join_all()).await {
            assert_eq!(result.unwrap().function_error, None);
        }
        assert_eq!(world.lambda.process_ids().len(), processes, "{at_once} at once");
    }
}

#[tokio::test]
async fn each_fault_of_the_demo_app_harms_in_its_own_way() {
    let table = [
        (("DEMO_HANDLED_5XX_RATE", "1"), Outcome::ServerError),
        (("DEMO_FAIL_TRANSACTIONS_RATE", "1"), Outcome::FailedTransaction),
        (("DEMO_CRASH_AT_INIT", "true"), Outcome::FunctionError),
        (("DEMO_HANDLED_4XX_RATE", "1"), Outcome::Ok),
        (("DEMO_LATENCY_MS", "30"), Outcome::Ok),
    ];
    for (fault, outcome) in table {
        let world = demo_app(&[fault]);
        world.lambda.route("checkout", "live", AliasRouting { version: "2".to_owned(), additional: None }).unwrap();
        let customers = customers(&world, 50.0);
        within(customers.ended(3)).await;
        within(customers.stop()).await;
        let samples = customers.samples_since(0);
        assert!(samples.iter().all(|sample| sample.outcome == outcome), "{fault:?}: {samples:?}");
        if fault.0 == "DEMO_LATENCY_MS" {
            assert!(samples.iter().all(|sample| sample.latency_ms >= 50), "20 ms and 30 ms more: {samples:?}");
        }
        world.lambda.shutdown().await;
        let printed = world.sink.lines.lock().unwrap().clone();
        let failed = printed.iter().filter(|(_, line)| line.contains(r#""TransactionsFailed":1"#)).count();
        let expected = if outcome == Outcome::FailedTransaction { samples.len() } else { 0 };
        assert_eq!(failed, expected, "{fault:?}: {printed:?}");
    }
}

#[tokio::test]
async fn requests_that_are_lost_harm_without_any_metric() {
    let world = demo_app(&[]);
    world.lambda.lose_requests("checkout", "2", 0.75).unwrap();
    world.lambda.route("checkout", "live", AliasRouting { version: "2".to_owned(), additional: None }).unwrap();
    let customers = customers(&world, 100.0);
    within(customers.ended(40)).await;
    within(customers.stop()).await;
    let new = customers.by_version("2");
    assert_eq!(new.harmed, new.requests * 3 / 4, "{new:?}");
    let arrived = new.requests - new.harmed;
    let dimensions = ["ExecutedVersion=2", "FunctionName=checkout", "Resource=checkout:live"];
    let counts = ["Invocations", "Errors"].map(|name| world.sink.sum(name, &dimensions).to_string());
    assert_eq!(counts, [arrived.to_string(), "0".to_owned()]);
    let lost = customers.samples_since(0).iter().filter(|sample| sample.outcome == Outcome::Lost).count();
    assert_eq!(u64::try_from(lost).unwrap(), new.harmed);
    let probe = within(world.lambda.invoke("checkout", Some("2"), r#"{"path":"/health"}"#)).await;
    assert_eq!(probe.unwrap().function_error, None, "a probe names the version and arrives");
}

#[tokio::test]
async fn the_world_outside_fails_every_version_alike() {
    let world = demo_app(&[]);
    let fails = json!({ "dependency": { "fails": 0.5 } });
    world.lambda.tell_events("checkout", fails.as_object().unwrap().clone()).unwrap();
    for version in ["1", "2"] {
        let mut outcomes = Vec::new();
        for path in ["/checkout", "/checkout", "/health"] {
            let event = json!({ "path": path, "basket": ["tea"] }).to_string();
            let result = within(world.lambda.invoke("checkout", Some(version), event)).await.unwrap();
            let answer = lambda_world::json(&result.payload);
            outcomes.push((answer["statusCode"].as_u64(), result.error_type));
        }
        let failed = (None, Some("Checkout.Dependency".to_owned()));
        assert_eq!(outcomes, [(Some(200), None), failed, (Some(503), None)], "version {version}");
    }
    world.lambda.tell_events("checkout", serde_json::Map::new()).unwrap();
    let health = within(world.lambda.invoke("checkout", Some("2"), r#"{"path":"/health"}"#)).await.unwrap();
    assert_eq!(lambda_world::json(&health.payload)["statusCode"], 200, "fixed");
}

#[tokio::test]
async fn a_hanging_request_ends_at_the_time_out_of_its_version() {
    let world = World::new();
    let mut config = FunctionConfig::new("checkout", built("demo-app", "cargo build -p demo-app"), "AKIACHECKOUT");
    config.timeout = Duration::from_secs(1);
    config.environment.insert("DEMO_HANG_RATE".to_owned(), "0.5".to_owned());
    world.lambda.create_function(config).unwrap();
    world.lambda.publish_version("checkout", None).unwrap();
    world.lambda.create_alias("checkout", "live", AliasRouting { version: "1".to_owned(), additional: None }).unwrap();
    let event = r#"{"path":"/checkout"}"#;
    let answered = within(world.lambda.invoke("checkout", Some("live"), event)).await.unwrap();
    assert_eq!(answered.error_type, None);
    let hung = within(world.lambda.invoke("checkout", Some("live"), event)).await.unwrap();
    assert_eq!(hung.error_type.as_deref(), Some("Sandbox.Timedout"));
    assert!(hung.duration >= Duration::from_secs(1), "{hung:?}");
    let dimensions = ["ExecutedVersion=1", "FunctionName=checkout", "Resource=checkout:live"];
    assert_eq!(world.sink.sum("Errors", &dimensions).to_string(), "1");
    assert!(world.sink.sum("Duration", &dimensions) >= 1000.0, "the time-out is its duration");
}

#[tokio::test]
async fn a_paused_workload_starts_when_its_rate_changes() {
    let world = demo_app(&[]);
    let customers = customers(&world, 0.0);
    customers.set_rate(200.0);
    within(customers.ended(5)).await;
    customers.set_rate(0.0);
    within(customers.stop()).await;
    let total = customers.total();
    assert!(total.requests >= 5 && total.harmed == 0, "{total:?}");
}
