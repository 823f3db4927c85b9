//! Templates that nobody would write: whatever comes in, the doctor answers, and quickly.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

use proptest::prelude::*;
use snapback_doctor::examine_template;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The answer is a report or an error, and both name lines that are there.
fn answers(text: &str) -> Result<(), TestCaseError> {
    let lines = u32::try_from(text.lines().count()).unwrap() + 1;
    match examine_template(text) {
        Ok(report) => {
            for finding in report.findings.iter().chain(&report.ignored) {
                prop_assert!((1..=lines).contains(&finding.line), "{finding:?}\n{text}");
            }
        }
        Err(error) => prop_assert!((1..=lines).contains(&error.line), "{error}\n{text}"),
    }
    Ok(())
}

fn template() -> impl Strategy<Value = String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/doctor/wrong");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let templates = paths.filter(|path| path.extension().is_some_and(|end| end != "expected"));
    let mut texts: Vec<String> = templates.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    texts.sort();
    prop::sample::select(texts)
}

proptest! {
    #[test]
    fn lines_that_are_missing_doubled_or_exchanged(text in template(), changes in prop::collection::vec((0..3, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6)) {
        let mut lines: Vec<&str> = text.lines().collect();
        for (kind, one, other) in changes {
            let (one, other) = (one.index(lines.len().max(1)), other.index(lines.len().max(1)));
            match kind {
                0 if lines.len() > 1 => drop(lines.remove(one)),
                1 => lines.insert(one, lines[other]),
                _ => lines.swap(one, other),
            }
        }
        answers(&lines.join("\n"))?;
    }

    #[test]
    fn words_in_the_wrong_places(text in template(), at in any::<prop::sample::Index>(), word in "[\\[\\]{}!&*:,'\"\\-a-zA-Z0-9 .%$]{0,12}") {
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = text.split_at(at);
        answers(&format!("{before}{word}{after}"))?;
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        answers(&text)?;
    }
}

#[test]
fn large_and_deep_templates_are_answered_soon() {
    let mut large = "Resources:\n".to_owned();
    for index in 0..500 {
        writeln!(
            large,
            "  Alarm{index}:\n    Type: AWS::CloudWatch::Alarm\n    Properties:\n      AlarmName: !Sub '${{AWS::StackName}}-{index}'\n      \
             AlarmDescription: {}\n      Namespace: AWS/Lambda\n      MetricName: Error\n      Statistic: Sum\n      Threshold: 1",
            "x".repeat(1500)
        )
        .unwrap();
    }
    let mut deep = "Resources:\n  A:\n    Type: X\n    Properties:\n".to_owned();
    for depth in 0..1_300 {
        writeln!(deep, "{}a:", " ".repeat(depth + 6)).unwrap();
    }
    let flow = format!("Resources: {}1{}", "{a: ".repeat(900), "}".repeat(900));
    let aliases = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, index| {
        format!("{text}a{index}: &a{index} [*a{0}, *a{0}]\n", index - 1)
    });
    let started = Instant::now();
    let report = examine_template(&large).unwrap();
    assert_eq!(report.findings.iter().filter(|finding| finding.rule == "metric-does-not-exist").count(), 500);
    for text in [&deep, &flow, &aliases] {
        answers(text).unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
