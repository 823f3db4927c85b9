//! Every rehearsal, with the real binaries, as a person would start them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde_json::{Value, json};
use snapback_emulator::iam::Ask;
use snapback_rehearsal::wiring::{Wiring, audit};
use snapback_template::Template;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of the binaries: `target/debug`, beside the folder of this test.
fn binaries() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let folder = exe.ancestors().nth(2).unwrap().to_path_buf();
    assert!(folder.join("snapback").is_file(), "no binaries in {}: run `make binaries` first", folder.display());
    folder
}

fn rehearse(arguments: &[&str]) -> (Output, Value) {
    let output = Command::new(binaries().join("snapback")).arg("rehearse").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let document = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("standard output is not one document ({error}): {text}\n{}", String::from_utf8_lossy(&output.stderr))
    });
    (output, document)
}

fn scenarios(document: &Value) -> &Vec<Value> {
    document.get("scenarios").and_then(Value::as_array).unwrap()
}

#[test]
fn every_scenario_ends_as_it_must() {
    let (output, document) = rehearse(&["--all", "--json", "--quiet"]);
    let failed: Vec<&Value> =
        scenarios(&document).iter().filter(|scenario| scenario.get("ok") != Some(&Value::Bool(true))).collect();
    assert!(failed.is_empty(), "{}", serde_json::to_string_pretty(&failed).unwrap());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(document.get("ok"), Some(&Value::Bool(true)));
    assert!(scenarios(&document).len() >= 44, "scenarios are missing");
    what_was_asked_is_on_file(&document);
}

/// `least_privilege.rs` compares the template with that file. Here the file is compared with what really happened: all of that is
/// allowed, and each action on file was asked for by somebody. Which function comes first is chance, so who asked is not compared.
fn what_was_asked_is_on_file(document: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/rehearsal/golden/asked.json");
    let mut golden: BTreeMap<String, BTreeSet<Ask>> =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let asked: BTreeSet<Ask> = serde_json::from_value(document["asked"].clone()).unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        let always = asked.difference(&golden["by chance"]).cloned().collect();
        golden.insert("always".to_owned(), always);
        std::fs::write(&file, serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
        return;
    }
    let template = Template::parse(include_str!("../infra/sam/template.yaml")).unwrap();
    let found = audit(&Wiring::of(&template, &BTreeMap::new()).unwrap(), &asked);
    let missing: Vec<&String> = found.iter().filter(|finding| finding.starts_with("missing")).collect();
    assert!(missing.is_empty(), "the template does not allow what was asked for: {missing:#?}");
    let actions = |asks: &BTreeSet<Ask>| asks.iter().map(|ask| ask.action.clone()).collect::<BTreeSet<String>>();
    let gone: Vec<String> = actions(&golden["always"]).difference(&actions(&asked)).cloned().collect();
    assert!(
        gone.is_empty(),
        "shared/rehearsal/golden/asked.json is stale (UPDATE_SNAPSHOTS=1 writes it anew, `by chance` is kept); nobody asks for {gone:#?}"
    );
}

/// The report of a scenario with several deployments names the end of each; its own members are those of the last.
#[test]
fn each_of_two_services_has_its_own_end() {
    let (_, document) = rehearse(&["two-services", "--json", "--quiet"]);
    let scenario = scenarios(&document).first().unwrap();
    assert_eq!(scenario["ok"], true, "{document}");
    let ends: Vec<[&Value; 4]> = scenario["deployments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|end| ["name", "outcome", "cause", "trigger"].map(|member| &end[member]))
        .collect();
    let undone = [json!("payments"), json!("rolled-back-in-shift"), json!("errors"), json!("alarm")];
    let promoted = [json!("orders"), json!("promoted"), Value::Null, Value::Null];
    assert_eq!(ends, [undone.each_ref(), promoted.each_ref()]);
    assert_eq!(scenario["deployment"], scenario["deployments"][1]["deployment"]);
    assert_eq!(scenario["requests_harmed"], 0, "the other service's customers: {document}");
}

#[test]
fn a_rehearsal_can_fail() {
    let arguments = ["errors-in-canary", "--without", "alarm-handler", "--without", "watcher", "--json", "--quiet"];
    let (output, document) = rehearse(&arguments);
    assert_eq!(output.status.code(), Some(1), "{document}");
    assert_eq!(document.get("ok"), Some(&Value::Bool(false)));
    let trigger = scenarios(&document).first().and_then(|scenario| scenario.get("trigger"));
    assert_ne!(trigger.and_then(Value::as_str), Some("alarm"), "switched off, and still at work: {document}");
}

/// Removes a member of the object at `place`, or the items of the list there that are `part`.
fn take_away(template: &mut Value, place: &str, part: &str) {
    let parent = template.pointer_mut(place).unwrap();
    let is_gone = match parent.as_array_mut() {
        Some(list) => list.iter().position(|item| item == part).map(|at| list.remove(at)).is_some(),
        None => parent.as_object_mut().unwrap().remove(part).is_some(),
    };
    assert!(is_gone, "there is no {part} at {place}");
}

#[test]
fn a_broken_template_fails_a_rehearsal() {
    let hook = "/Resources/BeforeAllowTraffic/Properties/EventInvokeConfig";
    let actions = "/Resources/AlarmHandlerRole/Properties/Policies/0/PolicyDocument/Statement/2/Action";
    let denied = "does not allow alarm-handler: codedeploy:StopDeployment on *";
    // (scenario, exit code, where, what is taken away there, what is said)
    let table = [
        ("hook-never-ran", 1, hook, "DestinationConfig", "trigger is sweep"),
        ("errors-in-canary", 1, actions, "codedeploy:StopDeployment", denied),
        ("errors-in-canary", 1, "/Resources", "DeploymentsRulePermission", "does not allow events.amazonaws.com"),
        ("errors-in-canary", 2, "/Resources", "AlarmsRule", "there is no parameter or resource `AlarmsRule`"),
    ];
    for (index, (scenario, code, place, part, said)) in table.into_iter().enumerate() {
        let mut template = Template::parse(include_str!("../infra/sam/template.yaml")).unwrap().to_json();
        take_away(&mut template, place, part);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("template-{index}.json"));
        std::fs::write(&file, template.to_string()).unwrap();
        let arguments = [scenario, "--json", "--quiet", "--template", file.to_str().unwrap()];
        let output = Command::new(binaries().join("snapback")).arg("rehearse").args(arguments).output().unwrap();
        let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{scenario} without {part}: {all}");
        assert!(all.contains(said), "{scenario} without {part}: {all}");
    }
}

/// The record of a deployment that was only watched tells who paused Snapback, why, and what would have been done.
#[test]
fn a_pause_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("table.sqlite");
    let store = store.to_str().unwrap();
    let (_, document) = rehearse(&["paused", "--json", "--quiet", "--store", store]);
    let scenario = scenarios(&document).first().unwrap();
    assert_eq!(scenario.get("ok"), Some(&Value::Bool(true)), "{document}");
    assert_eq!(scenario.get("rollbacks_recorded").and_then(Value::as_u64), Some(0), "{document}");
    let id = scenario.get("deployment").and_then(Value::as_str).unwrap();
    let explain = Command::new(binaries().join("snapback")).args(["explain", id, "--store", store]).output().unwrap();
    let said = String::from_utf8(explain.stdout).unwrap();
    for part in ["somebody paused the whole installation: rehearsal", "would roll back (paused): alarm checkout-errors"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(String::from_utf8(explain.stderr).unwrap().starts_with("PAUSED: the whole installation"));
}
