//! Whole templates: wrong ones with exactly the findings that stand beside them, sound ones with none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test helper may panic")]

use snapback_doctor::{Report, Severity, examine_template, rules};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn examine(path: &Path) -> Report {
    let text = std::fs::read_to_string(path).unwrap();
    examine_template(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The templates of a folder, in the order of their names.
fn templates(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "json"));
    paths.sort();
    paths
}

/// One line for each finding: its line, severity and rule; ignored ones too.
fn lines(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        writeln!(text, "{} {} {}", finding.line, finding.severity, finding.rule).unwrap();
    }
    for finding in &report.ignored {
        writeln!(text, "{} ignored {}", finding.line, finding.rule).unwrap();
    }
    text
}

#[test]
fn wrong_templates_have_exactly_the_expected_findings() {
    let paths = templates("tests/doctor/wrong");
    assert!(paths.len() >= 30, "{} wrong templates", paths.len());
    let mut found = BTreeSet::new();
    let mut several = 0;
    for path in &paths {
        let report = examine(path);
        let beside = path.with_extension("expected");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&beside, lines(&report)).unwrap();
        }
        let expected = std::fs::read_to_string(&beside).unwrap();
        assert_eq!(lines(&report), expected, "{}: {:#?}", path.display(), report.findings);
        let ids: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule).collect();
        several += usize::from(ids.len() > 1);
        found.extend(ids);
        for finding in &report.findings {
            assert!(finding.line > 0 && finding.path.starts_with("Resources."), "{finding:?}");
            assert!(!finding.why.is_empty() && !finding.fix.is_empty(), "{finding:?}");
        }
    }
    assert!(several >= 10, "{several} templates combine faults");
    // The rules behind it are about accounts.
    let of_templates = rules().map(|rule| rule.id).take_while(|id| *id != "alarm-red-now");
    let never: Vec<&str> = of_templates.filter(|id| !found.contains(id)).collect();
    assert!(never.is_empty(), "no template has the fault of {never:?}");
}

#[test]
fn sound_templates_have_no_findings() {
    let paths = templates("tests/doctor/sound");
    assert!(paths.len() >= 10, "{} sound templates", paths.len());
    for path in paths {
        assert_eq!(examine(&path), Report::default(), "{}", path.display());
    }
}

#[test]
fn our_own_templates_are_clean() {
    let mut paths = templates("infra/protect");
    for folder in ["infra/sam", "infra/sam/example"] {
        paths.push(Path::new(ROOT).join(folder).join("template.yaml"));
    }
    assert_eq!(paths.len(), 6);
    for path in paths {
        assert_eq!(examine(&path), Report::default(), "{}", path.display());
    }
}

#[test]
fn the_widespread_example_is_mended_by_what_it_is_told() {
    let seed = Path::new(ROOT).join("tests/doctor/seed");
    let wrong = examine(&seed.join("widespread.yaml"));
    let expected = std::fs::read_to_string(seed.join("widespread.expected")).unwrap();
    assert_eq!(lines(&wrong), expected, "{:#?}", wrong.findings);
    let of = |rule: &str| wrong.findings.iter().filter(|finding| finding.rule == rule).count();
    for (rule, count) in [
        ("metric-does-not-exist", 2),
        ("sum-used-as-rate", 1),
        ("property-misspelt", 1),
        ("alarms-in-rollback-configuration", 1),
        ("deployment-config-of-another-platform", 1),
        ("hook-name-not-invocable", 1),
    ] {
        assert_eq!(of(rule), count, "{rule}");
    }
    assert!(wrong.findings.iter().any(|finding| finding.severity == Severity::Error));
    assert_eq!(examine(&seed.join("fixed.yaml")), Report::default());
}

#[test]
fn the_documentation_lists_every_rule() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docs/doctor.md")).unwrap();
    let sections = text.split("\n### `").skip(1).map(|section| {
        let (id, rest) = section.split_once("`\n\n").unwrap();
        let (severity, title) = rest.lines().next().unwrap().split_once(": ").unwrap();
        assert!(rest.contains("*Fix*: "), "{id} has no fix");
        (id.to_owned(), severity.to_lowercase(), title.trim_end_matches('.').to_owned())
    });
    let documented: Vec<_> = sections.collect();
    let known: Vec<_> =
        rules().map(|rule| (rule.id.to_owned(), rule.severity.to_string(), rule.title.to_owned())).collect();
    assert_eq!(documented, known);
}
