//! The command line as a person meets it: exit codes, messages, documents.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn snapback(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
    command.args(arguments).env_remove("SNAPBACK_TABLE").env_remove("AWS_ENDPOINT_URL").output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn exit_codes_and_what_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no database").unwrap();
    let text = text.to_str().unwrap();
    let missing = folder.path().join("missing.sqlite");
    let missing = missing.to_str().unwrap();
    let table: [(&[&str], i32, &str); 27] = [
        (&["--version"], 0, "snapback 0."),
        (&["--help"], 0, "Exit codes"),
        (&[], 2, "Usage"),
        (&["rehearse"], 2, "name a scenario"),
        (&["rehearse", "nope"], 2, "there is no scenario `nope`"),
        (&["rehearse", "--list"], 0, "errors-in-canary"),
        (&["rehearse", "healthy", "--minute", "0"], 2, "0.5 to 60"),
        (&["rehearse", "healthy", "--functions", "/nonexistent"], 3, "cargo build --locked -p"),
        (&["emulator", "--functions", "/nonexistent"], 3, "--bare"),
        (&["explain", "nonsense"], 2, "not a deployment id"),
        (&["history", "--store", missing], 3, "cannot read"),
        (&["history", "--store", text], 3, "not a SQLite file"),
        (&["promote", "d-A1B2C3D4E"], 2, "--why"),
        (&["rollback", "d-A1B2C3D4E", "--why", " "], 2, "1 to 500"),
        (&["pause"], 2, "--why"),
        (&["pause", "--why", "x", "--group", "live"], 2, "application/group"),
        (&["pause", "--why", "x", "--store", missing], 3, "cannot read"),
        (&["resume", "--why", " "], 2, "1 to 500"),
        (&["resume", "--help"], 0, "1 there was none"),
        (&["policy", "check", missing], 2, "cannot be read"),
        (&["doctor"], 2, "FILE"),
        (&["doctor", "--json", "--sarif", text], 2, "cannot be used with"),
        (&["doctor", text], 2, "notes.txt:1: it is no template"),
        (&["doctor", missing], 2, "cannot be read"),
        (&["doctor", "--help"], 0, "1 errors found"),
        (&["doctor", "--application", "shop"], 2, "--group"),
        (&["doctor", "--all-groups", text], 2, "cannot be used with"),
    ];
    for (arguments, expected, part) in table {
        let output = snapback(arguments);
        let said = said(&output);
        assert_eq!(code(&output), expected, "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    assert!(!Path::new(missing).exists(), "reading a store must not make it");
}

#[test]
fn a_starter_names_the_routes_of_a_template() {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.yaml");
    let text = "Resources:\n  Cart:\n    Type: AWS::Serverless::Function\n    Properties:\n      Events:\n        \
                Read: { Type: Api, Properties: { Path: '/cart/{id}', Method: get } }\n        \
                Any: { Type: HttpApi, Properties: { Path: /cart, Method: any } }\n";
    std::fs::write(&template, text).unwrap();
    let starter = snapback(&["policy", "init", "--template", template.to_str().unwrap()]);
    let said = String::from_utf8(starter.stdout).unwrap();
    for line in [
        "rest_api: { name: NAME, stage: Prod, method: GET, resource: \"/cart/{id}\" }",
        "http_api: { id: ID, stage: $default, route: \"ANY /cart\" }",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("requests that get lost are seen"), "the sketch is replaced: {said}");
    let missing = snapback(&["policy", "init", "--template", folder.path().join("none").to_str().unwrap()]);
    assert_eq!(code(&missing), 2);
}

#[test]
fn a_policy_says_what_it_cannot_tell() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapback.yaml");
    let signals = "signals: { errors: { against_baseline: {} }, availability: { against_baseline: {} } }";
    let probe = "before_traffic: { probes: [ invoke: { repeatable: true } ] }";
    let front = "front: { rest_api: { name: shop, stage: prod, method: GET, resource: /cart } }";
    // (case, the rest of the policy, what cannot be told)
    let table = [
        ("no witness", String::new(), vec!["get lost in the bake", "begins in the bake", "begins with the shift"]),
        ("a probe", format!("{probe}\nwitness: {{ probe: {{ every: 1s }} }}"), vec!["get lost in the bake"]),
        ("all", format!("{probe}\nwitness: {{ {front}, probe: {{ every: 1s }}, peers: [\"stock:live\"] }}"), vec![]),
    ];
    for (case, rest, expected) in table {
        std::fs::write(&file, format!("service: checkout\nmode: rollback\n{signals}\n{rest}\n")).unwrap();
        let output = snapback(&["policy", "check", file.to_str().unwrap()]);
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        let found: Vec<&str> = said.lines().filter(|line| line.starts_with("  cannot tell: ")).collect();
        assert_eq!((code(&output), found.len()), (0, expected.len()), "{case}: {said}");
        assert!(found.iter().zip(&expected).all(|(line, part)| line.contains(part)), "{case}: {said}");
    }
}

#[test]
fn a_starter_is_valid_and_a_wrong_policy_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapback.yaml");
    let starter = snapback(&["policy", "init", "--service", "checkout"]);
    std::fs::write(&file, &starter.stdout).unwrap();
    let path = file.to_str().unwrap();
    let output = snapback(&["policy", "check", path]);
    let valid = said(&output);
    assert!(code(&output) == 0 && valid.starts_with(&format!("{path}: ok\n")), "{valid}");
    assert!(valid.lines().skip(1).all(|line| line.starts_with("  cannot tell: ")), "{valid}");
    // What stands there as a comment is valid, too, once it is no comment: take the `#` away before keys.
    let text = String::from_utf8(starter.stdout).unwrap();
    let keys = ["alarms:", "against_baseline:", "metric:", "transactions:", "slo:", "judge:", "notify:"];
    let is_key = |line: &str| {
        let comment = line.trim_start().strip_prefix('#').map(str::trim_start);
        comment.is_some_and(|text| keys.iter().any(|key| text.starts_with(key)))
    };
    let whole: Vec<String> =
        text.lines().map(|line| if is_key(line) { line.replacen("# ", "", 1) } else { line.to_owned() }).collect();
    let whole = whole.join("\n");
    assert!(
        whole.contains("\n  transactions:") && whole.contains("\n    metric:") && whole.contains("\njudge:"),
        "{whole}"
    );
    std::fs::write(&file, &whole).unwrap();
    let output = snapback(&["policy", "check", path]);
    let valid = said(&output);
    assert!(code(&output) == 0 && valid.starts_with(&format!("{path}: ok\n")), "{whole}: {valid}");
    std::fs::write(&file, &text).unwrap();
    let push = ["policy", "push", "--group", "checkout-app/checkout-live", "--dry-run", path];
    let output = snapback(&push);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(said(&output).contains("/snapback/policy/checkout-app/checkout-live"), "{}", said(&output));
    std::fs::write(&file, "service: a\nmode: observe\nbake: 0\nrefuse_for: 0\n").unwrap();
    assert_eq!(code(&snapback(&["policy", "check", path])), 0, "0 needs no unit");
    let too_large = format!("service: a\nmode: advise\nbake: \"{}\"\n", "x".repeat(9000));
    let table = [
        ("unknown key", "service: a\nmode: advise\nbakes: 10m\n", "bakes"),
        ("out of range", "service: a\nmode: advise\nbake: 56m\n", "`bake` is 56m, allowed is 0s to 55m"),
        ("misspelt word", "service: a\nmode: rollbak\n", "rollbak"),
        (
            "compared by another signal's metric",
            "service: a\nmode: advise\nsignals: { errors: { against_baseline: { q99: {} } } }\n",
            "`signals.errors.against_baseline` is q99, allowed is e5, e4 and probe",
        ),
        (
            "plain http",
            "service: a\nmode: advise\nbefore_traffic: { probes: [ { http: { url: http://a.example } } ] }\n",
            "https",
        ),
        ("twice", "service: a\nservice: b\nmode: advise\n", "duplicate mapping key `service`"),
        ("empty", "# later\n", "policy init"),
        ("too large for Parameter Store", &too_large, "allowed are 8192"),
        ("a list", "- service: a\n", "policy"),
    ];
    for (case, text, part) in table {
        std::fs::write(&file, text).unwrap();
        let output = snapback(&["policy", "check", path]);
        assert_eq!(code(&output), 2, "{case}: {}", said(&output));
        assert!(said(&output).contains(part), "{case}: {}", said(&output));
        assert!(!said(&output).contains("Options"), "words of a library: {}", said(&output));
        let document: Value = serde_json::from_slice(&snapback(&["policy", "check", "--json", path]).stdout).unwrap();
        assert_eq!((&document["ok"], &document["files"][0]["ok"]), (&json!(false), &json!(false)), "{case}");
    }
}

#[test]
fn a_repeated_key_in_json_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapback.json");
    let table = [
        (r#"{"service":"a","mode":"advise"}"#, 0, "ok"),
        (r#"{"service":"a","mode":"advise","mode":"rollback"}"#, 2, "duplicate mapping key `mode`"),
        (r#"{"service":"a","#, 2, "not JSON"),
    ];
    for (text, expected, part) in table {
        std::fs::write(&file, text).unwrap();
        let output = snapback(&["policy", "check", file.to_str().unwrap()]);
        assert_eq!(code(&output), expected, "{text}: {}", said(&output));
        assert!(said(&output).contains(part), "{text}: {}", said(&output));
    }
}

#[test]
fn the_schema_is_the_committed_one() {
    let printed: Value = serde_json::from_slice(&snapback(&["policy", "schema"]).stdout).unwrap();
    let committed: Value = serde_json::from_str(include_str!("../../shared/wire/policy.schema.json")).unwrap();
    assert_eq!(printed, committed);
}

/// Status line and body of one AWS JSON call.
fn call(endpoint: &str, target: &str) -> (String, String) {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nX-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-1.0\r\n\
         Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_emulator_answers_and_ends_when_it_is_told_to() {
    let mut emulator = Command::new(env!("CARGO_BIN_EXE_snapback"))
        .args(["emulator", "--bare"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(emulator.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let endpoint = serde_json::from_str::<Value>(&line).unwrap()["endpoint"].as_str().unwrap().to_owned();
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
    let (status, body) = call(&endpoint, "GraniteServiceVersion20100801.DescribeAlarms");
    assert!(status.contains("200") && body.contains("MetricAlarms"), "{status} {body}");
    let (status, body) = call(&endpoint, "CodeDeploy_20141006.DeleteApplication");
    assert!(status.contains("400") && body.contains("codedeploy:DeleteApplication"), "{status} {body}");
    let killed = Command::new("kill").args(["-TERM", &emulator.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = emulator.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "still running 20 s after SIGTERM");
        std::thread::yield_now();
    };
    assert_eq!(ended.code(), Some(0));
    assert!(TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).is_err(), "the port is still open");
}

/// `snapback … | head -1` closes the pipe early.
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for arguments in [&["policy", "schema"][..], &["policy", "init"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((code(&output), said(&output)), (0, String::new()), "{arguments:?}");
    }
}

#[test]
fn the_doctor_tells_errors_from_warnings_and_from_what_it_could_not_read() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/doctor");
    let path = |name: &str| format!("{data}/{name}");
    let (wrong, warned, ignored) =
        (path("seed/widespread.yaml"), path("wrong/eleven-alarms.yaml"), path("wrong/ignored.yaml"));
    let sound = path("seed/fixed.yaml");
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.yaml");
    std::fs::write(&broken, "Resources:\n  A:\n    Type: [x\n").unwrap();
    let broken = broken.to_str().unwrap();

    let output = snapback(&["doctor", &sound]);
    assert_eq!(
        (code(&output), said(&output)),
        (0, "0 errors, 0 warnings, 0 notes, 0 ignored, in 1 template\n".to_owned())
    );
    let output = snapback(&["doctor", &warned]);
    assert_eq!(code(&output), 0, "warnings are no errors: {}", said(&output));
    let output = snapback(&["doctor", "--fail-on", "warning", &warned]);
    assert_eq!(code(&output), 1, "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("found 0 errors and 2 warnings"), "{output:?}");
    let output = snapback(&["doctor", &wrong]);
    let text = said(&output);
    assert_eq!(code(&output), 1, "{text}");
    assert!(text.contains("widespread.yaml:72: error: AWS/ApiGateway has no metric `5xxErrorRate`"), "{text}");
    assert!(text.contains("at Resources.ErrorRateAlarm.Properties.MetricName\n    to fix it: "), "{text}");

    let output = snapback(&["doctor", "--json", &ignored, &wrong]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(code(&output), 1);
    assert_eq!((&document["ok"], &document["ignored"]), (&json!(false), &json!(1)));
    let finding = &document["checked"][1]["findings"][0];
    assert_eq!((&finding["rule"], &finding["line"]), (&json!("deployment-config-of-another-platform"), &json!(15)));

    let output = snapback(&["doctor", "--sarif", &wrong, broken]);
    assert_eq!(code(&output), 2, "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("broken.yaml:"), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &document["runs"][0];
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    assert_eq!(run["results"].as_array().unwrap().len(), 11);
    let region = &run["results"][0]["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 15);
}
