//! Every rehearsal, with the real binaries, as a person would start them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use serde_json::Value;
use std::path::PathBuf;
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
    assert!(scenarios(&document).len() >= 40, "scenarios are missing");
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
