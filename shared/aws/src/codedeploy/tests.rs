//! The calls as CodeDeploy sees them.

use super::{RUNNING, facts, function_name};
use crate::Service;
use crate::fake_endpoint::{Answer, Asked, FakeEndpoint};
use serde_json::json;
use snapback_app::ports::{CallErrorKind, Controller};
use snapback_core::target::{LambdaAlias, Target};
use snapback_core::{DeploymentId, ExecutionId, HookStatus, Timestamp};
use std::time::Duration;

fn id() -> DeploymentId {
    DeploymentId::parse("d-A1B2C3D4E").unwrap()
}

fn fault(code: &str) -> Answer {
    (400, json!({ "__type": code, "message": "it says EXECUTION-1" }).to_string())
}

fn info(id: &str) -> serde_json::Value {
    json!({
        "deploymentId": id, "applicationName": "shop", "deploymentGroupName": "live",
        "status": "InProgress", "computePlatform": "Lambda", "createTime": 1_795_169_726.9,
    })
}

#[tokio::test]
async fn errors_are_told_apart_and_execution_ids_stay_secret() {
    let table = [
        ("AccessDeniedException", CallErrorKind::Denied),
        ("LifecycleEventAlreadyCompletedException", CallErrorKind::AlreadyDone),
        ("DeploymentDoesNotExistException", CallErrorKind::NotFound),
        ("InvalidLifecycleEventHookExecutionIdException", CallErrorKind::Invalid),
    ];
    for (code, kind) in table {
        let endpoint = FakeEndpoint::start(move |_| fault(code));
        let aws = endpoint.aws(&[Service::CodeDeploy]);
        let execution = ExecutionId::parse("EXECUTION-1").unwrap();
        let error = aws.answer(&id(), &execution, HookStatus::Failed).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(code) && !error.message.contains("EXECUTION-1"), "{error}");
        let asked = endpoint.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        let body = asked[0].json();
        assert_eq!(body["status"], "Failed");
        assert_eq!(body["lifecycleEventHookExecutionId"], "EXECUTION-1");
    }
}

#[tokio::test]
async fn a_stop_asks_for_the_rollback() {
    let endpoint = FakeEndpoint::start(|_| (200, r#"{"status":"Pending"}"#.to_owned()));
    endpoint.aws(&[]).stop(&id()).await.unwrap();
    let body = endpoint.asked()[0].json();
    assert_eq!(body, json!({ "deploymentId": "d-A1B2C3D4E", "autoRollbackEnabled": true }));
}

#[tokio::test]
async fn a_failing_service_is_tried_three_times_and_then_unreachable() {
    let endpoint = FakeEndpoint::start(|_| (500, "{}".to_owned()));
    let error = endpoint.aws(&[]).deployment(&id()).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Unreachable, "{error}");
    assert_eq!(endpoint.operations(), ["GetDeployment"; 3]);
}

fn checkout() -> Target {
    let [function, alias, baseline, canary] = ["checkout", "live", "41", "42"].map(str::to_owned);
    Target::LambdaAlias(LambdaAlias { function, alias, baseline, canary })
}

#[tokio::test]
async fn a_deployment_that_has_not_started_has_no_target() {
    let endpoint = FakeEndpoint::start(|_| fault("DeploymentNotStartedException"));
    let aws = endpoint.aws(&[]);
    assert_eq!(aws.target(&id(), Some(&checkout())).await.unwrap(), None);
    assert_eq!(aws.target(&id(), None).await.unwrap(), None);
    assert_eq!(endpoint.operations(), ["GetDeploymentTarget", "ListDeploymentTargets"]);
}

#[tokio::test]
async fn discovery_reads_all_pages_and_leaves_odd_ones_out() {
    let answer = |asked: &Asked| {
        let body = asked.json();
        let answer = if asked.operation == "ListDeployments" {
            let statuses = json!(["Created", "Queued", "InProgress", "Baking", "Ready"]);
            assert_eq!(body["includeOnlyStatuses"], statuses);
            assert_eq!(body["createTimeRange"]["start"], 1_795_000_000);
            let page = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let ids: Vec<_> = (page * 20..page * 20 + 20).map(|n| format!("d-{n:09}")).collect();
            if page == 0 { json!({ "deployments": ids, "nextToken": "1" }) } else { json!({ "deployments": ids }) }
        } else {
            let ids = body["deploymentIds"].as_array().unwrap();
            assert!(ids.len() <= 25);
            let mut infos: Vec<_> = ids.iter().map(|id| info(id.as_str().unwrap())).collect();
            infos[0]["applicationName"] = json!("a/b");
            json!({ "deploymentsInfo": infos })
        };
        (200, answer.to_string())
    };
    let endpoint = FakeEndpoint::start(answer);
    let since = Timestamp::from_ms(1_795_000_000_000);
    let found = endpoint.aws(&[]).running(since).await.unwrap();
    let expected = ["ListDeployments", "ListDeployments", "BatchGetDeployments", "BatchGetDeployments"];
    assert_eq!(endpoint.operations(), expected);
    assert_eq!(found.len(), 38, "one odd deployment in each batch");
    assert_eq!(found[0].created_at, Timestamp::from_ms(1_795_169_726_900));
}

#[test]
fn names_of_functions() {
    let table = [
        ("checkout", "checkout"),
        ("arn:aws:lambda:eu-central-1:123456789012:function:checkout", "checkout"),
        ("arn:aws:lambda:eu-central-1:123456789012:function:checkout:live", "checkout"),
    ];
    for (name, expected) in table {
        assert_eq!(function_name(name), expected);
    }
}

#[test]
fn running_words_are_all_running() {
    use snapback_core::observed::DeploymentStatus;
    for word in RUNNING {
        assert_eq!(facts::status_of(word), DeploymentStatus::Running, "{word}");
    }
}

#[test]
fn a_predefined_configuration_needs_no_call() {
    let minutes = |count: u64| Some(Duration::from_secs(60 * count));
    // (name, words, how long, step)
    let table = [
        ("LambdaCanary10Percent5Minutes", "10 %, then all after 5 min", minutes(5), minutes(5)),
        ("LambdaCanary10Percent30Minutes", "10 %, then all after 30 min", minutes(30), minutes(30)),
        ("LambdaLinear10PercentEvery1Minute", "10 % more every 1 min", minutes(9), minutes(1)),
        ("LambdaLinear10PercentEvery10Minutes", "10 % more every 10 min", minutes(90), minutes(10)),
        ("LambdaAllAtOnce", "all at once", minutes(0), None),
    ];
    for (name, words, lasts, step) in table {
        let plan = facts::predefined_plan(&format!("CodeDeployDefault.{name}")).unwrap();
        assert_eq!((plan.words.as_str(), plan.lasts, plan.step), (words, lasts, step), "{name}");
    }
    for other in
        ["LambdaCanary10Percent5Minutes", "CodeDeployDefault.LambdaLinear10PercentEvery1Minutes", "checkout-canary"]
    {
        assert_eq!(facts::predefined_plan(other), None, "{other}");
    }
}
