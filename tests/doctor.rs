//! `snapback doctor` looks at the embedded AWS as it would look at an account: a sound group first, then one fault at a time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde_json::{Value, json};
use snapback_emulator::lambda::{AliasChange, FunctionConfig};
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_rehearsal::wiring::Wiring;
use snapback_rehearsal::{self as rehearsal, ALIAS, GROUP, POLICY_PREFIX, SERVICE, Service};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The service whose group the doctor looks at. It is deployed in a second: what is read of it stays the same afterwards.
const KEYS: &str = "
shift: CodeDeployDefault.LambdaAllAtOnce
policy: { bake: 0s, before_traffic: { probes: [] } }
versions: { good: {} }
";
/// What is said of the emulator in any case: its latency alarm has a high percentile of one period, because rehearsals are short.
const ALWAYS: &str = "percentile-on-few-samples";
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the binaries: `target/debug`, beside the folder of this test.
fn binaries() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let folder = exe.ancestors().nth(2).unwrap().to_path_buf();
    assert!(folder.join("snapback").is_file(), "no binaries in {}: run `make binaries` first", folder.display());
    folder
}

struct World {
    aws: Emulator,
    wiring: Wiring,
    service: Service,
    policy: Value,
    live_version: String,
    good_version: String,
}

impl World {
    /// An installation, `wiring` of it, and a service.
    async fn start(wiring: Wiring) -> Self {
        let config =
            EmulatorConfig { minute: Duration::from_secs(2), port: None, store: None, functions: Some(binaries()) };
        let aws = Emulator::start(config).await.unwrap();
        let service = Service::parse(KEYS).unwrap();
        let topic = rehearsal::snapback(&aws, &wiring, &binaries(), Duration::from_secs(10)).await.unwrap();
        let policy = rehearsal::policy(&service, &topic);
        let versions = rehearsal::service(&aws, &wiring, &binaries(), &service, &policy).await.unwrap();
        let version = |name: &str| versions[name].clone();
        Self { live_version: version("live"), good_version: version("good"), aws, wiring, service, policy }
    }

    async fn deploy_good(&self) {
        let id = rehearsal::deploy(&self.aws, &self.wiring, &self.service, &self.good_version).await.unwrap();
        let started = Instant::now();
        loop {
            let answer = self.codedeploy("GetDeployment", json!({ "deploymentId": id })).await;
            let status = answer["deploymentInfo"]["status"].as_str().unwrap();
            match status {
                "Succeeded" => return,
                "Failed" | "Stopped" => panic!("{answer}"),
                _ => assert!(started.elapsed() < PATIENCE, "{answer}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn codedeploy(&self, operation: &str, input: Value) -> Value {
        self.aws.call(&self.aws.codedeploy.clone(), "codedeploy", operation, input).await.unwrap()
    }

    async fn change_group(&self, changes: Value) {
        let mut input = json!({ "applicationName": SERVICE, "currentDeploymentGroupName": GROUP });
        input.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.codedeploy("UpdateDeploymentGroup", input).await;
    }

    async fn put_policy(&self, document: &str) {
        let parameter = json!({ "Name": self.parameter(), "Value": document, "Type": "String", "Overwrite": true });
        self.aws.call(self.aws.ssm.as_ref(), "ssm", "PutParameter", parameter).await.unwrap();
    }

    fn parameter(&self) -> String {
        format!("{POLICY_PREFIX}/{SERVICE}/{GROUP}")
    }

    /// Other weights of the alias than CodeDeploy's.
    fn move_alias(&self, version: &str, additional: Option<(String, f64)>) {
        let change =
            AliasChange { version: Some(version.to_owned()), additional: Some(additional), ..AliasChange::default() };
        self.aws.lambda.update_alias(SERVICE, ALIAS, change).unwrap();
    }

    async fn doctor(&self, arguments: &'static [&'static str]) -> (i32, Value) {
        let endpoint = self.aws.endpoint();
        let output = tokio::task::spawn_blocking(move || doctor(&endpoint, arguments)).await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let document = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), document)
    }

    /// Ids of the rules that found something in the group and in the installation, without what is always said.
    async fn rules(&self) -> (i32, Vec<String>) {
        let (code, document) = self.doctor(&["--application", SERVICE, "--group", GROUP]).await;
        assert_eq!(document["unread"], json!([]), "{document:#}");
        let checked = document["checked"].as_array().unwrap().iter();
        let findings = checked.flat_map(|checked| checked["findings"].as_array().unwrap());
        let rules = findings.map(|finding| finding["rule"].as_str().unwrap().to_owned());
        (code, rules.filter(|rule| rule != ALWAYS).collect())
    }

    /// Waits until the doctor finds exactly these.
    async fn expect(&self, case: &str, code: i32, expected: &[&str]) {
        let started = Instant::now();
        loop {
            let found = self.rules().await;
            if found == (code, expected.iter().map(ToString::to_string).collect()) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{case}: {found:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

fn doctor(endpoint: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(binaries().join("snapback"));
    command.arg("doctor").args(arguments).arg("--json");
    command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "us-east-1").env_remove("AWS_PROFILE");
    command.env("AWS_ACCESS_KEY_ID", "operator").env("AWS_SECRET_ACCESS_KEY", "none").output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_group_is_found() {
    let world = World::start(Wiring::built_in().unwrap()).await;
    world.deploy_good().await;
    world.expect("sound", 0, &[]).await;
    let (code, document) = world.doctor(&["--all-groups"]).await;
    assert_eq!(code, 0, "{document:#}");
    assert_eq!(document["checked"][0]["name"], format!("{SERVICE}/{GROUP}"));

    let (live, good) = (world.live_version.clone(), world.good_version.clone());
    world.move_alias(&good, Some((live.clone(), 0.1)));
    world.expect("two versions", 1, &["alias-on-two-versions"]).await;
    world.move_alias(&live, None);
    world.expect("moved by hand", 0, &["alias-out-of-step"]).await;
    world.move_alias(&good, None);

    let own = ["snapback-verdict-checkout", "snapback-dead-man-checkout"].map(|name| json!({ "name": name }));
    let alarms = |enabled: bool, ignores: bool, alarms: Vec<Value>| json!({ "alarmConfiguration": { "enabled": enabled, "ignorePollAlarmFailure": ignores, "alarms": alarms } });
    let attached = world
        .codedeploy("GetDeploymentGroup", json!({ "applicationName": SERVICE, "deploymentGroupName": GROUP }))
        .await;
    let attached = &attached["deploymentGroupInfo"]["alarmConfiguration"]["alarms"];
    assert_eq!(attached.as_array().unwrap().len(), own.len(), "{attached}");
    let own = attached.as_array().unwrap().clone();
    world.change_group(alarms(true, true, own.clone())).await;
    world.expect("poll failures ignored", 0, &["alarm-poll-failure-ignored"]).await;
    let mut raw = own.clone();
    raw.push(json!({ "name": "checkout-errors" }));
    world.change_group(alarms(true, false, raw)).await;
    world.expect("raw alarm", 0, &["raw-alarm-attached"]).await;
    world.change_group(alarms(true, false, own)).await;

    let missing = world.policy.to_string().replace("checkout-errors", "checkout-eroors");
    world.put_policy(&missing).await;
    world.expect("misspelt alarm", 1, &["alarm-missing"]).await;
    world.put_policy(r#"{"service": "checkout"}"#).await;
    world.expect("broken policy", 1, &["policy-unreadable"]).await;
    world.put_policy(&world.policy.to_string().replace("\"rollback\"", "\"advise\"")).await;
    world.expect("only advice", 0, &["policy-out-of-step"]).await;
    let ssm = world.aws.ssm.clone();
    world.aws.call(ssm.as_ref(), "ssm", "DeleteParameter", json!({ "Name": world.parameter() })).await.unwrap();
    world.expect("no policy", 0, &["policy-missing"]).await;
    world.put_policy(&world.policy.to_string()).await;

    let handler = world.wiring.function("alarm-handler").unwrap();
    world.aws.lambda.delete_function(&handler.name).unwrap();
    world.expect("a function is gone", 1, &["installation-incomplete"]).await;
    let config = FunctionConfig::new(&handler.name, binaries().join("alarm-handler"), "alarm-handler");
    world.aws.lambda.create_function(config).unwrap();
    world.expect("its permission is gone", 1, &["events-not-delivered"]).await;

    world.aws.lambda.delete_function(SERVICE).unwrap();
    world.expect("the service is gone", 1, &["alias-missing-now", "events-not-delivered"]).await;
    world.aws.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_without_its_schedule_is_found() {
    let mut wiring = Wiring::built_in().unwrap();
    wiring.rules.clear();
    let world = World::start(wiring).await;
    world.expect("nobody calls the watcher", 1, &["heartbeat-missing", "watcher-not-running"]).await;
    world.aws.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_at_is_no_finding() {
    let world = World::start(Wiring::built_in().unwrap()).await;
    let (code, document) = world.doctor(&["--application", SERVICE, "--group", "nobody"]).await;
    assert_eq!(code, 3, "{document:#}");
    let why = document["unread"][0]["why"].as_str().unwrap();
    assert!(why.contains("codedeploy:GetDeploymentGroup"), "{why}");
    assert_eq!(document["ok"], json!(false));
    world.aws.shutdown().await;
}
