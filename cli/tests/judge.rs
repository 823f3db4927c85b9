//! `snapback judge` as a pipeline meets it: the real binary, its pipes and its exit codes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

const DEPLOY: &[u8] =
    b"{\"kind\":\"deploy\",\"id\":\"d-1\",\"bucket_s\":60,\"history_s\":60,\"plan\":[[0,0.5]],\"end_s\":600,\
    \"drain_s\":60,\"edges\":[1,2]}\n";
const POLL: &[u8] = b"{\"kind\":\"poll\",\"now\":0,\"buckets\":[]}\n";

fn golden(name: &str) -> String {
    let path = format!("{}/../tests/detection/golden2.{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn judge(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
    command.arg("judge").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn the_golden_traces_through_pipes() {
    let mut child = judge(&[]);
    let mut input = child.stdin.take().unwrap();
    let trace = golden("trace");
    let writer = std::thread::spawn(move || input.write_all(trace.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // Some of them say the same minute twice, to see that the first one counts.
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(complaints.lines().all(|line| line.ends_with("comes again: the first one counts")), "{complaints}");
    let answers = String::from_utf8(output.stdout).unwrap();
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let (found, expected): (Vec<Value>, Vec<Value>) =
        (answers.lines().map(parse).collect(), golden("verdict").lines().map(parse).collect());
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        for member in ["id", "now", "verdict", "reason", "advice"] {
            assert_eq!(found[member], expected[member], "{member} of {found}, expected {expected}");
        }
        assert_eq!(found["log_e"].is_null(), expected["log_e"].is_null(), "{found}, expected {expected}");
        let apart = found["log_e"].as_f64().unwrap_or(0.0) - expected["log_e"].as_f64().unwrap_or(0.0);
        assert!(apart.abs() <= 0.001, "{found}, expected {expected}");
    }
}

#[test]
fn an_answer_comes_while_the_input_stays_open_and_a_wrong_line_ends_it() {
    let mut child = judge(&["--explain"]);
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    input.write_all(&[DEPLOY, POLL].concat()).unwrap();
    let first = answers.next().unwrap().unwrap();
    assert_eq!(first, r#"{"id":"d-1","now":0,"verdict":"continue","reason":"","log_e":null,"advice":[]}"#);
    input.write_all(b"{\"kind\":\"poll\",\"now\":10,\"buckets\":[{\"v\":\"old\"}]}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("snapback: line 3: missing field `t`"), "{said}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = judge(&[]);
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    // Fails as soon as the binary has gone.
    while input.write_all(&[DEPLOY, POLL].concat()).is_ok() {}
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
