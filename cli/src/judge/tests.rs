use super::*;
use serde_json::Value;
use std::io::Cursor;

fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/detection/golden2.{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    text
}

fn judged(trace: &[u8]) -> (Vec<Value>, String, Result<(), Failure>) {
    let (mut answers, mut explanations) = (Vec::new(), Vec::new());
    let result = judge(BufReader::new(trace), &mut answers, Some(&mut explanations), std::io::sink());
    let lines = String::from_utf8(answers).unwrap();
    let answers = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (answers, String::from_utf8(explanations).unwrap(), result)
}

#[test]
fn every_poll_of_the_golden_traces_gets_the_expected_verdict() {
    let (found, _, result) = judged(&golden("trace"));
    result.unwrap();
    let expected = golden("verdict");
    let expected = std::str::from_utf8(&expected).unwrap().lines();
    let expected: Vec<Value> = expected.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((found.len(), expected.len()), (10_954, 10_954), "77 traces");
    let mut with_evidence = 0;
    for (found, expected) in found.iter().zip(&expected) {
        for member in ["id", "now", "verdict", "reason", "advice"] {
            assert_eq!(found[member], expected[member], "{member} of {found}, expected {expected}");
        }
        match (found["log_e"].as_f64(), expected["log_e"].as_f64()) {
            (Some(found_e), Some(expected_e)) => {
                assert!((found_e - expected_e).abs() <= 0.001, "{found}, expected {expected}");
                with_evidence += 1;
            }
            (found_e, expected_e) => assert_eq!(found_e, expected_e, "{found}, expected {expected}"),
        }
    }
    assert!(with_evidence > 9000, "{with_evidence} lines have evidence");
}

const DEPLOY: &str = r#"{"kind":"deploy","id":"d-1","bucket_s":60,"poll_s":10,"history_s":120,"plan":[[0,0.5],[300,1]],
    "end_s":600,"drain_s":120,"edges":[1,2,4]}"#;

fn deploy() -> String {
    DEPLOY.replace('\n', "") + "\n"
}

fn record(version: &str, start_s: i64, requests: u64, failed: u64) -> String {
    format!(
        r#"{{"v":"{version}","t":{start_s},"n":{requests},"e5":{failed},"e4":0,"tx":0,"txf":0,"h":[[1,{requests}]],"p50":1.5}}"#
    )
}

fn poll(now: u32, records: &[String]) -> String {
    format!(r#"{{"kind":"poll","now":{now},"buckets":[{}]}}"#, records.join(",")) + "\n"
}

const END: &str = "{\"kind\":\"end\",\"now\":720}\n";

#[test]
fn verdicts_of_one_small_trace_and_what_they_rest_on() {
    let history = [record("old", -120, 600, 1), record("old", -60, 600, 0)];
    let bad = [record("old", 0, 300, 0), record("new", 0, 300, 200)];
    let trace = deploy() + &poll(0, &history) + "\n" + &poll(70, &bad) + &poll(80, &[]) + END;
    let (answers, explanations, result) = judged(trace.as_bytes());
    result.unwrap();
    let said: Vec<String> =
        answers.iter().map(|answer| format!("{} {} {}", answer["now"], answer["verdict"], answer["reason"])).collect();
    let rollback = r#""rollback" "e5""#;
    let expected =
        [r#"0 "continue" """#, &format!("70 {rollback}"), &format!("80 {rollback}"), &format!("720 {rollback}")];
    assert_eq!(said, expected, "a rollback stays");
    assert!(answers[0]["log_e"].is_null(), "{}", answers[0]);
    let headlines: Vec<&str> = explanations.lines().filter(|line| line.starts_with("d-1")).collect();
    assert_eq!(headlines.len(), 2, "at the change and at the end: {explanations}");
    assert!(headlines[0].starts_with("d-1 at 70 s: rollback because of e5: evidence "), "{explanations}");
    assert!(explanations.contains("new version 200 of 300 (66.7 %), beside it the old one 0 of 300"), "{explanations}");
}

#[test]
fn silence_is_no_pass() {
    let trace = deploy() + END + &deploy() + &poll(0, &[]) + END;
    let (answers, explanations, result) = judged(trace.as_bytes());
    result.unwrap();
    let verdicts: Vec<&Value> = answers.iter().map(|answer| &answer["verdict"]).collect();
    assert_eq!(verdicts, ["inconclusive", "continue", "inconclusive"]);
    assert!(explanations.contains("with so few requests"), "{explanations}");
}

#[test]
fn what_is_wrong_with_a_trace_is_said_and_decides_nothing() {
    let history = [record("old", -120, 600, 1), record("old", -60, 600, 0)];
    let fine = [record("old", 0, 300, 0), record("new", 0, 300, 0)];
    let wrong = |what: &str| record("new", 60, 300, 300).replace("\"e5\":300", what);
    let table = [
        ("NaN", wrong("\"e5\":NaN"), "line 4: `buckets[0].e5`: not a number"),
        ("negative", wrong("\"e5\":-1"), "line 4: `buckets[0].e5`: -1 is no count"),
        ("more errors than requests", wrong("\"e5\":301"), "line 4: `buckets[0].e5`: 301 bad events among 300"),
        ("again", record("new", 0, 300, 300), "line 4: `new` of 0 s comes again: the first one counts"),
    ];
    for (case, record, expected) in table {
        let start = deploy() + &poll(0, &history) + &poll(70, &fine);
        let trace = start.clone() + &poll(140, &[record]) + END;
        let mut complaints = Vec::new();
        let mut answers = Vec::new();
        judge(BufReader::new(trace.as_bytes()), &mut answers, None::<std::io::Sink>, &mut complaints).unwrap();
        let complaints = String::from_utf8(complaints).unwrap();
        assert!(complaints.starts_with(&format!("snapback: {expected}")), "{case}: {complaints}");
        assert_eq!(complaints.lines().count(), 1, "{case}: {complaints}");
        let without = start + &poll(140, &[]) + END;
        assert_eq!(String::from_utf8(answers).unwrap().lines().count(), 4, "{case}");
        assert_eq!(judged(trace.as_bytes()).0, judged(without.as_bytes()).0, "{case}");
    }
    let cut = deploy() + &poll(20, &[]) + &poll(10, &[]) + &deploy() + &poll(0, &[]);
    let mut complaints = Vec::new();
    judge(BufReader::new(cut.as_bytes()), std::io::sink(), None::<std::io::Sink>, &mut complaints).unwrap();
    let expected = "snapback: line 3: 10 s comes after 20 s: the trace is out of order\n\
                    snapback: line 4: deployment d-1 has no `end` line: the trace was cut\n\
                    snapback: at the end: deployment d-1 has no `end` line: the trace was cut\n";
    assert_eq!(String::from_utf8(complaints).unwrap(), expected);
}

#[test]
fn pairs_of_probes_decide_within_seconds() {
    let deploy = deploy().replace("\"drain_s\"", "\"witness\":[\"pair\"],\"burst\":0,\"drain_s\"");
    let pair = |second: u32, new: &str| format!(r#"{{"v":"pair","t":{second},"old":"ok","new":"{new}"}}"#);
    let burst = |second: u32, number: u32| {
        vec![format!(r#"{{"v":"pair","t":{second},"old":"ok","new":"fail","b":{number},"envs":5}}"#); 10]
    };
    let mut trace = deploy.replace("\"burst\":0", "\"burst\":10") + &poll(0, &[]);
    for second in 0..12 {
        trace += &poll(second + 1, &[pair(second, "ok")]);
    }
    for second in 12_u32..30 {
        let number = second.saturating_sub(14) / 2;
        let records = if second >= 14 && second % 2 == 0 { burst(second, number) } else { Vec::new() };
        trace += &poll(second + 1, &[vec![pair(second, "fail")], records].concat());
    }
    let (answers, _, result) = judged((trace + END).as_bytes());
    result.unwrap();
    let first = answers.iter().find(|answer| answer["verdict"] == "rollback").expect("a rollback");
    assert_eq!((first["reason"].as_str(), first["now"].as_u64() < Some(25)), (Some("pair"), true), "{first}");
    assert_eq!(answers.last().unwrap()["reason"], "pair", "it stays");
}

#[test]
fn what_pairs_advise_is_said_once() {
    let deploy = deploy().replace("\"drain_s\"", "\"witness\":[\"pair\"],\"burst\":0,\"drain_s\"");
    let mut trace = deploy + &poll(0, &[]);
    for second in 0..60 {
        let new = if second < 15 { "ok" } else { "fail" };
        trace += &poll(second + 1, &[format!(r#"{{"v":"pair","t":{second},"old":"ok","new":"{new}"}}"#)]);
    }
    let (answers, _, result) = judged((trace + END).as_bytes());
    result.unwrap();
    let last = answers.last().unwrap();
    assert_eq!(last["advice"], serde_json::json!(["pair:one-environment"]), "no burst, so nobody is sure: {last}");
    assert!(answers.iter().all(|answer| answer["verdict"] != "rollback"));
}

#[test]
fn history_that_comes_late_is_ignored() {
    let history = [record("old", -120, 600, 1), record("old", -60, 600, 0)];
    let late = [record("old", -60, 600, 600), record("new", -60, 600, 600)];
    let bucket = [record("old", 0, 300, 0), record("new", 0, 300, 3)];
    let with = deploy() + &poll(0, &history) + &poll(10, &late) + &poll(70, &bucket);
    let without = deploy() + &poll(0, &history) + &poll(10, &[]) + &poll(70, &bucket);
    assert_eq!(judged(with.as_bytes()).0, judged(without.as_bytes()).0);
}

#[test]
fn an_invalid_line_is_named_after_the_earlier_answers() {
    let table = [
        ("no deployment", poll(0, &[]), "line 3: no deployment is under way"),
        ("not JSON", "}\n".to_owned(), "line 3: expected value at line 1 column 1"),
        ("unknown kind", "{\"kind\":\"pool\"}\n".to_owned(), "line 3: unknown variant `pool`"),
        ("too long", " ".repeat(MAX_LINE - 1) + "{}}\n", "line 3: longer than 1048576 bytes"),
        ("too long, blank", " ".repeat(MAX_LINE + 1) + "\n", "line 3: longer than 1048576 bytes"),
    ];
    for (case, line, expected) in table {
        let (answers, _, result) = judged((deploy() + END + &line + END).as_bytes());
        assert_eq!(answers.len(), 1, "{case}: earlier answers");
        let message = format!("{:?}", result.unwrap_err());
        assert!(message.contains("code: 2") && message.contains(expected), "{case}: {message}");
    }
}

/// Hands out the trace line by line, and looks at the answers each time more is asked for.
struct Interlocutor<'a> {
    lines: std::vec::IntoIter<String>,
    answers: &'a std::cell::RefCell<Vec<u8>>,
    seen: &'a std::cell::RefCell<Vec<usize>>,
}

impl Read for Interlocutor<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let answered = self.answers.borrow().iter().filter(|byte| **byte == b'\n').count();
        self.seen.borrow_mut().push(answered);
        self.lines.next().map_or(Ok(0), |line| Cursor::new(line).read(to))
    }
}

struct Shared<'a>(&'a std::cell::RefCell<Vec<u8>>);

impl Write for Shared<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_answer_is_out_before_the_next_line_is_waited_for() {
    let (answers, seen) = (std::cell::RefCell::default(), std::cell::RefCell::default());
    let lines = vec![deploy(), poll(0, &[]), poll(10, &[]), END.to_owned()].into_iter();
    let input = Interlocutor { lines, answers: &answers, seen: &seen };
    judge(BufReader::new(input), Shared(&answers), None::<std::io::Sink>, std::io::sink()).unwrap();
    assert_eq!(*seen.borrow(), [0, 0, 1, 2, 3]);
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let trace = deploy() + &poll(0, &[]) + END;
    judge(BufReader::new(trace.as_bytes()), Closed, None::<std::io::Sink>, std::io::sink()).unwrap();
    judge(BufReader::new(trace.as_bytes()), std::io::sink(), Some(Closed), Closed).unwrap();
}
