//! The boundaries of the workspace, compared with `cargo metadata` and `cargo tree`: who may import whom, which AWS crates may
//! appear where, and what must never be linked into a function.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const FUNCTIONS: [&str; 6] =
    ["before-allow-traffic", "after-allow-traffic", "alarm-handler", "deployment-recorder", "watcher", "hook-watchdog"];

fn cargo(arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).output();
    let output = output.unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// Normal and build dependencies of each package of the workspace, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let (_, text) = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let of = |package: &Value| {
        let list = package["dependencies"].as_array().unwrap();
        let normal = list.iter().filter(|dependency| dependency["kind"] != "dev");
        normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
    };
    packages.iter().map(|package| (package["name"].as_str().unwrap().to_owned(), of(package))).collect()
}

fn ours(dependencies: &BTreeSet<String>) -> BTreeSet<&str> {
    dependencies.iter().map(String::as_str).filter(|name| name.starts_with("snapback-")).collect()
}

#[test]
fn each_crate_imports_only_the_layers_below_it() {
    let function = ["snapback-app", "snapback-aws", "snapback-core", "snapback-judge", "snapback-wire"];
    let allowed: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("snapback-http", vec![]),
        ("snapback-judge", vec![]),
        ("snapback-core", vec!["snapback-judge"]),
        ("snapback-wire", vec!["snapback-core", "snapback-http", "snapback-judge"]),
        ("snapback-app", vec!["snapback-core", "snapback-judge"]),
        ("snapback-aws", vec!["snapback-app", "snapback-core", "snapback-http", "snapback-judge", "snapback-wire"]),
        ("snapback-testkit", vec!["snapback-app", "snapback-core", "snapback-judge", "snapback-wire"]),
        ("snapback-emulator", vec![]),
        ("snapback-template", vec![]),
        ("snapback-rehearsal", vec!["snapback-emulator", "snapback-template", "snapback-wire"]),
        ("snapback-doctor", vec!["snapback-core", "snapback-template", "snapback-wire"]),
        (
            "snapback-cli",
            vec![
                "snapback-app",
                "snapback-aws",
                "snapback-core",
                "snapback-doctor",
                "snapback-emulator",
                "snapback-judge",
                "snapback-rehearsal",
                "snapback-wire",
            ],
        ),
        ("snapback-tests", vec![]),
        ("snapback-detection", vec!["snapback-judge"]),
        ("snapback-speed", vec!["snapback-emulator", "snapback-rehearsal", "snapback-wire"]),
        ("demo-app", vec![]),
    ]);
    for (package, dependencies) in dependencies() {
        let allowed: BTreeSet<&str> = match allowed.get(package.as_str()) {
            Some(list) => list.iter().copied().collect(),
            None => function.into_iter().collect(),
        };
        let found = ours(&dependencies);
        let too_many: Vec<&&str> = found.difference(&allowed).collect();
        assert!(too_many.is_empty(), "{package} may not import {too_many:?}");
        assert!(!found.contains("snapback-testkit"), "{package}: testkit is only a dev-dependency");
    }
}

#[test]
fn judge_and_core_have_nothing_but_an_error_macro() {
    let dependencies = dependencies();
    let allowed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        dependencies["snapback-judge"],
        allowed(&["thiserror"]),
        "no AWS, no async, no serde, no policy in judge"
    );
    assert_eq!(
        dependencies["snapback-core"],
        allowed(&["snapback-judge", "thiserror"]),
        "no AWS, no async, no serde in core"
    );
}

#[test]
fn only_one_crate_knows_the_aws_sdk() {
    for (package, dependencies) in dependencies() {
        let aws: Vec<&String> = dependencies.iter().filter(|name| name.starts_with("aws-")).collect();
        assert!(aws.is_empty() || package == "snapback-aws", "{package} may not import {aws:?}");
        let events = dependencies.contains("aws_lambda_events");
        assert!(!events || package == "snapback-wire", "{package} may not import aws_lambda_events");
    }
}

#[test]
fn versions_are_written_in_the_workspace_manifest_only() {
    let (_, text) = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let path = package["manifest_path"].as_str().unwrap();
        let manifest = std::fs::read_to_string(path).unwrap();
        let dependencies = manifest.split_once("[dependencies]").map_or("", |(_, rest)| rest);
        let own: Vec<&str> =
            dependencies.lines().filter(|line| line.contains("version =") || line.contains("= \"")).collect();
        assert!(own.is_empty(), "{path} writes a version of its own: {own:?}");
    }
}

#[test]
fn no_function_links_legacy_tls_or_slow_start_code() {
    // AWS-LC gathers entropy at the first handshake; the others are the SDK's legacy HTTP stack; aws-config reads profiles.
    for function in FUNCTIONS {
        let tree = ["tree", "--locked", "--offline", "-p", function, "-e", "normal", "--prefix", "none", "-f", "{p}"];
        let (ok, text) = cargo(&tree);
        assert!(ok && text.contains("lambda_runtime v"), "{function}: cargo tree said nothing");
        for banned in ["rustls v0.21", "hyper v0.14", "h2 v0.3", "aws-lc-sys v", "aws-lc-rs v", "aws-config v"] {
            assert!(!text.lines().any(|line| line.starts_with(banned)), "{function} links {banned}");
        }
        for lab in ["snapback-emulator", "snapback-rehearsal"] {
            assert!(!text.contains(lab), "{function} links {lab}");
        }
        let features = ["tree", "--locked", "--offline", "-p", function, "-e", "features", "-i", "snapback-aws"];
        let (ok, text) = cargo(&features);
        assert!(ok && text.contains("snapback-aws feature"), "{function}: cargo tree said nothing of features");
        assert!(!text.contains("extra-roots"), "{function} trusts a benchmark's certificates");
    }
}

/// An operator's binary has no emulator; `history --store FILE` reads a table's file without one.
#[test]
fn without_its_lab_the_command_line_links_no_emulator() {
    let tree = ["tree", "--locked", "--offline", "-p", "snapback-cli", "-e", "normal", "--prefix", "none", "-f", "{p}"];
    for (features, is_linked) in [(&[][..], true), (&["--no-default-features"][..], false)] {
        let (ok, text) = cargo(&[&tree[..], features].concat());
        assert!(ok && text.contains("snapback-core v"), "cargo tree said nothing");
        for lab in ["snapback-emulator v", "snapback-rehearsal v"] {
            assert_eq!(text.contains(lab), is_linked, "{lab}, with {features:?}");
        }
    }
}

/// Every package is bytes to load at a cold start, and somebody else's code beside a customer's deployment. Proc macros are not
/// linked. Before raising a limit: `cargo tree -p FUNCTION -e normal,no-proc-macro` tells who brings what.
#[test]
fn no_function_links_more_packages_than_before() {
    const LINKED_MAX: usize = 178;
    for function in FUNCTIONS {
        let tree = ["tree", "--locked", "--offline", "-p", function, "-e", "normal,no-proc-macro", "--prefix", "none"];
        let (ok, text) = cargo(&[&tree[..], &["-f", "{p}"]].concat());
        let linked: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        assert!(ok && linked.len() > 100, "{function}: cargo tree said nothing");
        assert!(linked.len() <= LINKED_MAX, "{function} links {} packages, at most {LINKED_MAX}", linked.len());
    }
}

/// A package with other features is another package to cargo, with everything above it: `make test` after `make demo` would compile
/// the SDK again.
#[test]
fn what_a_rehearsal_runs_has_the_features_of_the_tests() {
    let makefile = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Makefile")).unwrap();
    let played = makefile.lines().find_map(|line| line.strip_prefix("PLAYED := $(addprefix -p ,")).unwrap();
    let packages =
        played.trim_end_matches(')').split_whitespace().filter(|name| !name.starts_with('$')).chain(FUNCTIONS);
    let select: Vec<&str> = packages.flat_map(|name| ["-p", name]).collect();
    let of = |select: &[&str], edges| -> BTreeSet<String> {
        let tree = ["tree", "--locked", "--offline", "--prefix", "none", "-f", "{p} {f}", "-e", edges];
        let (ok, text) = cargo(&[&tree[..], select].concat());
        assert!(ok, "cargo tree said nothing");
        text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let played = of(&select, "normal,build");
    let tested = of(&["--workspace"], "normal,build,dev");
    let differ: Vec<&String> = played.difference(&tested).collect();
    assert!(played.len() > 200 && differ.is_empty(), "other features in `cargo test --workspace`: {differ:?}");
}

#[test]
fn a_panicking_hook_can_still_answer() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
    let release = manifest.split_once("[profile.release]").unwrap().1;
    assert!(release.contains("panic = \"unwind\""), "cargo-lambda sets abort where the root manifest is silent");
}
