//! The REST API of Lambda, as SDKs call it.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "helpers of tests may panic, tests pick the events they wait for, and a table stays in one place"
)]

mod lambda_world;

use axum::http::{HeaderMap, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_world::{World, json, test_function, within};
use serde_json::{Value, json};
use snapback_emulator::lambda::LambdaEvent;

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

async fn call(world: &World, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let answer = world.lambda.handle_http(&method, path, query, &map, body.to_owned().into());
    let (status, headers, body) = within(answer).await;
    let body = if body.is_empty() { Value::Null } else { json(&body) };
    Answer { status: status.as_u16(), headers, body }
}

/// `CreateFunction` of `checkout` with code `binary:test-function`.
async fn create(world: &World) -> Answer {
    world.lambda.set_functions_folder(test_function().parent().unwrap());
    let body = json!({
        "FunctionName": "checkout",
        "Role": "arn:aws:iam::123456789012:role/checkout",
        "Runtime": "provided.al2023",
        "Handler": "bootstrap",
        "Code": { "ZipFile": "YmluYXJ5OnRlc3QtZnVuY3Rpb24=" },
        "Timeout": 20,
        "Environment": { "Variables": { "COLOUR": "blue" } },
        "Publish": true,
    });
    call(world, "POST", "/2015-03-31/functions", &[], &body.to_string()).await
}

#[tokio::test]
async fn an_uploaded_package_is_taken_and_has_its_own_identity() {
    let world = World::new();
    world.lambda.set_functions_folder(test_function().parent().unwrap());
    let body =
        |zip: &str| json!({"FunctionName": "a", "Role": "r", "Code": {"ZipFile": zip}, "ZipFile": zip}).to_string();
    let created = call(&world, "POST", "/2015-03-31/functions", &[], &body("UEsDBA==")).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let changed = call(&world, "PUT", "/2015-03-31/functions/a/code", &[], &body("UEsDBQ==")).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_ne!(created.body["CodeSha256"], changed.body["CodeSha256"]);
}

#[tokio::test]
async fn each_version_shows_its_own_configuration() {
    let world = World::new();
    let created = create(&world).await;
    assert_eq!((created.status, &created.body["Version"]), (201, &json!("1")), "{}", created.body);
    let path = "/2015-03-31/functions/checkout/configuration";
    let change =
        r#"{"Environment":{"Variables":{"COLOUR":"green"}},"Description":"second","MemorySize":256,"Timeout":7}"#;
    let changed = call(&world, "PUT", path, &[], change).await;
    assert_eq!((changed.status, &changed.body["Version"]), (200, &json!("$LATEST")));
    let published =
        call(&world, "POST", "/2015-03-31/functions/checkout/versions", &[], r#"{"Description":"v2"}"#).await;
    assert_eq!((published.status, &published.body["Version"]), (201, &json!("2")));
    let alias = r#"{"Name":"live","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":0.1}}}"#;
    assert_eq!(call(&world, "POST", "/2015-03-31/functions/checkout/aliases", &[], alias).await.status, 201);

    let arn = "arn:aws:lambda:us-east-1:123456789012:function:checkout";
    let table = [
        ("", "$LATEST", arn.to_owned(), "green", "second", 256, 7),
        ("?Qualifier=1", "1", format!("{arn}:1"), "blue", "", 128, 20),
        ("?Qualifier=2", "2", format!("{arn}:2"), "green", "v2", 256, 7),
        ("?Qualifier=live", "1", format!("{arn}:live"), "blue", "", 128, 20),
        ("?Qualifier=%24LATEST", "$LATEST", arn.to_owned(), "green", "second", 256, 7),
    ];
    let mut code = Vec::new();
    for (query, version, function_arn, colour, description, memory, timeout) in table {
        let said = call(&world, "GET", &format!("{path}{query}"), &[], "").await.body;
        let shown = json!([
            said["Version"],
            said["FunctionArn"],
            said["Environment"]["Variables"]["COLOUR"],
            said["Description"],
            said["MemorySize"],
            said["Timeout"],
            said["State"],
            said["Runtime"],
            said["Handler"],
        ]);
        let expected = json!([
            version,
            function_arn,
            colour,
            description,
            memory,
            timeout,
            "Active",
            "provided.al2023",
            "bootstrap",
        ]);
        assert_eq!(shown, expected, "{query}");
        code.push(said["CodeSha256"].as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(code[0].len(), 44, "base64 of a SHA-256: {}", code[0]);
    assert!(code.iter().all(|sha256| *sha256 == code[0]), "the versions share one binary: {code:?}");
    let function = call(
        &world,
        "GET",
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Acheckout?Qualifier=2",
        &[],
        "",
    )
    .await;
    assert_eq!(function.body["Configuration"]["Version"], "2");
    let versions = call(&world, "GET", "/2015-03-31/functions/checkout/versions", &[], "").await;
    assert_eq!(versions.body["Versions"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn new_code_makes_a_new_version() {
    let world = World::new();
    create(&world).await;
    let path = "/2015-03-31/functions/checkout/code";
    let same = r#"{"ZipFile":"YmluYXJ5OnRlc3QtZnVuY3Rpb24=","Publish":true}"#;
    let updated = call(&world, "PUT", path, &[], same).await;
    assert_eq!((updated.status, &updated.body["Version"]), (200, &json!("2")), "{}", updated.body);
    let missing = call(&world, "PUT", path, &[], r#"{"ZipFile":"YmluYXJ5Om5vbmU="}"#).await;
    assert_eq!((missing.status, missing.header("x-amzn-errortype")), (400, "InvalidParameterValueException"));
    assert_eq!(world.lambda.functions(), ["checkout"]);
    let deleted = call(&world, "DELETE", "/2015-03-31/functions/checkout", &[], "").await;
    assert_eq!((deleted.status, world.lambda.functions()), (204, Vec::new()));
}

#[tokio::test]
async fn an_alias_changes_only_at_the_revision_it_was_read_at() {
    let world = World::new();
    create(&world).await;
    let aliases = "/2015-03-31/functions/checkout/aliases";
    let created = call(&world, "POST", aliases, &[], r#"{"Name":"live","FunctionVersion":"1"}"#).await;
    let live = format!("{aliases}/live");
    let read = call(&world, "GET", &live, &[], "").await.body;
    assert_eq!(read, created.body);
    assert_eq!(read["AliasArn"], "arn:aws:lambda:us-east-1:123456789012:function:checkout:live");
    let change = json!({ "Description": "ours", "RevisionId": read["RevisionId"] }).to_string();
    let ours = call(&world, "PUT", &live, &[], &change).await;
    assert_eq!((ours.status, &ours.body["Description"]), (200, &json!("ours")));
    let late = call(&world, "PUT", &live, &[], &change).await;
    assert_eq!((late.status, late.header("x-amzn-errortype")), (412, "PreconditionFailedException"));
    assert_eq!(call(&world, "GET", &live, &[], "").await.body, ours.body, "unchanged");
}

#[tokio::test]
async fn invoke_says_what_ran_and_how_it_ended() {
    let mut world = World::new();
    create(&world).await;
    let path = "/2015-03-31/functions/checkout/invocations";
    let ran = call(&world, "POST", &format!("{path}?Qualifier=1"), &[], r#"{"order":5}"#).await;
    assert_eq!((ran.status, ran.body.clone()), (200, json!({ "order": 5 })));
    assert_eq!((ran.header("x-amz-executed-version"), ran.header("x-amz-function-error")), ("1", ""));
    let failed = call(&world, "POST", path, &[], r#"{"do":"error"}"#).await;
    assert_eq!((failed.status, failed.header("x-amz-function-error")), (200, "Unhandled"));
    assert_eq!(failed.header("x-amz-executed-version"), "$LATEST");
    assert_eq!(failed.body["errorMessage"], "it went wrong");
    let dry = call(&world, "POST", path, &[("x-amz-invocation-type", "DryRun")], "{}").await;
    assert_eq!((dry.status, dry.body.clone()), (204, Value::Null));
    let event = call(&world, "POST", path, &[("x-amz-invocation-type", "Event")], r#"{"order":6}"#).await;
    assert_eq!((event.status, event.body.clone()), (202, Value::Null));
    let ran = world.event(|event| match event {
        LambdaEvent::InvocationEnded { request_id, asynchronous: true, .. } => Some(request_id.clone()),
        _ => None,
    });
    assert_eq!(ran.await, event.header("x-amzn-requestid"));
}

/// Only the first call of an environment is cold; who does not ask for the log gets none.
#[tokio::test]
async fn the_end_of_the_log_reports_the_call() {
    let world = World::new();
    create(&world).await;
    let path = "/2015-03-31/functions/checkout/invocations?Qualifier=1";
    let tail = [("x-amz-log-type", "Tail")];
    for (case, headers, has_log, is_cold) in [
        ("the first call", &tail[..], true, true),
        ("a warm one", &tail[..], true, false),
        ("nobody asks", &[][..], false, false),
    ] {
        let answer = call(&world, "POST", path, headers, r#"{"do":"echo"}"#).await;
        assert_eq!(answer.status, 200, "{case}: {}", answer.body);
        let log = String::from_utf8(STANDARD.decode(answer.header("x-amz-log-result")).unwrap()).unwrap();
        let id = answer.header("x-amzn-requestid");
        assert_eq!(log.is_empty(), !has_log, "{case}: {log}");
        let report = log.lines().find(|line| line.starts_with(&format!("REPORT RequestId: {id}\tDuration: ")));
        assert_eq!(report.is_some(), has_log, "{case}: {log}");
        assert_eq!(log.contains("\tInit Duration: "), is_cold, "{case}: {log}");
    }
}

#[tokio::test]
async fn settings_are_answered_and_obeyed() {
    let world = World::new();
    create(&world).await;
    let path = "/2017-10-31/functions/checkout/concurrency";
    let set = call(&world, "PUT", path, &[], r#"{"ReservedConcurrentExecutions":0}"#).await;
    assert_eq!((set.status, set.body), (200, json!({ "ReservedConcurrentExecutions": 0 })));
    let throttled = call(&world, "POST", "/2015-03-31/functions/checkout/invocations", &[], "{}").await;
    assert_eq!((throttled.status, throttled.header("x-amzn-errortype")), (429, "TooManyRequestsException"));
    assert_eq!(throttled.body["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded");
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:watchdog";
    let body = json!({
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": { "OnFailure": { "Destination": arn } },
    });
    let path = "/2019-09-25/functions/checkout/event-invoke-config";
    let before = call(&world, "GET", path, &[], "").await;
    assert_eq!((before.status, before.header("x-amzn-errortype")), (404, "ResourceNotFoundException"));
    let set = call(&world, "PUT", path, &[], &body.to_string()).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(set.body["DestinationConfig"]["OnFailure"]["Destination"], arn);
    assert_eq!(set.body["MaximumEventAgeInSeconds"], 60);
    let got = call(&world, "GET", path, &[], "").await;
    assert_eq!((got.status, &got.body["DestinationConfig"]), (200, &set.body["DestinationConfig"]));
    let policy = call(&world, "GET", "/2015-03-31/functions/checkout/policy", &[], "").await;
    assert_eq!((policy.status, policy.header("x-amzn-errortype")), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let world = World::new();
    create(&world).await;
    let function = "/2015-03-31/functions/checkout";
    let alias = |body: &str| ("POST", format!("{function}/aliases"), body.to_owned());
    let no_code = r#"{"FunctionName":"a","Role":"r","Code":{}}"#;
    let missing = r#"{"FunctionName":"a","Role":"r","Code":{"ZipFile":"YmluYXJ5Om5vbmU="}}"#;
    let reserved = r#"{"Environment":{"Variables":{"AWS_REGION":"eu-west-1"}}}"#;
    let large = format!(r#"{{"Environment":{{"Variables":{{"A":"{}"}}}}}}"#, "x".repeat(4096));
    let put = |body: &str| ("PUT", format!("{function}/configuration"), body.to_owned());
    let create = |body: &str| ("POST", "/2015-03-31/functions".to_owned(), body.to_owned());
    let again = r#"{"FunctionName":"checkout","Role":"r","Code":{"ZipFile":"YmluYXJ5OnRlc3QtZnVuY3Rpb24="}}"#;
    let async_config =
        |body: &str| ("PUT", "/2019-09-25/functions/checkout/event-invoke-config".to_owned(), body.to_owned());
    let topic = r#"{"DestinationConfig":{"OnFailure":{"Destination":"arn:aws:sns:us-east-1:123456789012:t"}}}"#;
    let invoke = |name: &str, body: String| ("POST", format!("/2015-03-31/functions/{name}/invocations"), body);
    let table = [
        ("unknown function", invoke("none", "{}".into()), 404, "ResourceNotFoundException", "function:none"),
        ("unknown qualifier", invoke("checkout:9", "{}".into()), 404, "ResourceNotFoundException", "checkout:9"),
        ("no JSON", invoke("checkout", "{".into()), 400, "InvalidRequestContentException", "json"),
        (
            "too large",
            invoke("checkout", format!("\"{}\"", "x".repeat(6 << 20))),
            413,
            "RequestTooLargeException",
            "6291456",
        ),
        ("no code", create(no_code), 400, "InvalidParameterValueException", "source for function code"),
        ("no such binary", create(missing), 400, "InvalidParameterValueException", "none of function a"),
        ("exists", create(again), 409, "ResourceConflictException", "checkout"),
        ("no members", create("{}"), 400, "InvalidRequestContentException", "FunctionName"),
        ("reserved variable", put(reserved), 400, "InvalidParameterValueException", "AWS_REGION"),
        ("environment too large", put(&large), 400, "InvalidParameterValueException", "4097 bytes"),
        ("time-out too long", put(r#"{"Timeout":901}"#), 400, "InvalidParameterValueException", "Timeout is 901"),
        ("memory too small", put(r#"{"MemorySize":64}"#), 400, "InvalidParameterValueException", "MemorySize is 64"),
        (
            "alias to nothing",
            alias(r#"{"Name":"a","FunctionVersion":"7"}"#),
            404,
            "ResourceNotFoundException",
            "checkout:7",
        ),
        (
            "weighted $LATEST",
            alias(r#"{"Name":"a","FunctionVersion":"$LATEST","RoutingConfig":{"AdditionalVersionWeights":{"1":0.5}}}"#),
            400,
            "InvalidParameterValueException",
            "$LATEST",
        ),
        (
            "twice the same",
            alias(r#"{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"1":0.5}}}"#),
            400,
            "InvalidParameterValueException",
            "version 1",
        ),
        (
            "a number as alias",
            alias(r#"{"Name":"3","FunctionVersion":"1"}"#),
            400,
            "InvalidParameterValueException",
            "`3`",
        ),
        (
            "unknown alias",
            ("GET", format!("{function}/aliases/none"), String::new()),
            404,
            "ResourceNotFoundException",
            "checkout:none",
        ),
        ("three retries", async_config(r#"{"MaximumRetryAttempts":3}"#), 400, "InvalidParameterValueException", "is 3"),
        (
            "too young",
            async_config(r#"{"MaximumEventAgeInSeconds":59}"#),
            400,
            "InvalidParameterValueException",
            "is 59",
        ),
        ("a topic as destination", async_config(topic), 400, "InvalidParameterValueException", "arn:aws:sns"),
        (
            "not supported",
            ("GET", "/2015-03-31/layers".to_owned(), String::new()),
            400,
            "UnsupportedOperationException",
            "GET /2015-03-31/layers",
        ),
    ];
    for (case, (method, path, body), status, error, names) in table {
        let answer = call(&world, method, &path, &[], &body).await;
        assert_eq!((answer.status, answer.header("x-amzn-errortype")), (status, error), "{case}: {}", answer.body);
        let message = answer.body.get("message").or_else(|| answer.body.get("Message")).and_then(Value::as_str);
        assert!(message.is_some_and(|message| message.contains(names)), "{case}: {}", answer.body);
        assert_eq!(answer.body["Type"], "User", "{case}");
    }
}
