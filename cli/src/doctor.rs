//! `snapback doctor`: configuration that can never work, in templates and in an account.

mod live;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use snapback_core::GroupRef;
use snapback_doctor::{Diagnosis, Report, Severity, Source, examine_template, sarif};

use crate::output::{Failure, block_on, exit, print_json, print_text};
use crate::record::Account;

/// Largest file that is read; CloudFormation takes no longer template.
const MAX_FILE: u64 = 1024 * 1024;

/// Arguments of `snapback doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Templates of CloudFormation or SAM (YAML or JSON), or what CDK makes (cdk.out/*.template.json)
    #[arg(required_unless_present_any = ["application", "all_groups"], value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Application of CodeDeploy whose group is looked at in the account
    #[arg(long, value_name = "NAME", requires = "group", conflicts_with = "files")]
    application: Option<String>,
    /// Its deployment group
    #[arg(long, value_name = "NAME", requires = "application")]
    group: Option<String>,
    /// Look at all groups of the account that have a policy
    #[arg(long, conflicts_with_all = ["files", "application"])]
    all_groups: bool,
    /// The least severity of a finding with which the command fails (exit code 1)
    #[arg(long, value_name = "SEVERITY", default_value = "error")]
    fail_on: FailOn,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    account: Account,
}

/// With which findings the command fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Errors and warnings
    Warning,
    /// Errors
    Error,
}

/// How findings are printed.
#[derive(Debug, Args)]
struct Format {
    /// Print one JSON document
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print one SARIF 2.1.0 document, which code hosts show beside the lines of a change
    #[arg(long)]
    sarif: bool,
}

/// What was looked at, and what was found.
#[derive(Debug)]
struct Checked {
    /// What was looked at, in words.
    subject: String,
    source: Source,
    reports: Vec<(String, Report)>,
    unread: Vec<Unread>,
}

/// What could not be looked at.
#[derive(Debug)]
struct Unread {
    name: String,
    /// Where in it, when it is a file.
    line: Option<u32>,
    why: String,
}

impl Doctor {
    pub(crate) fn run(self) -> ExitCode {
        exit(if self.files.is_empty() { block_on(self.examine_account()) } else { self.examine_files() })
    }

    async fn examine_account(&self) -> Result<(), Failure> {
        let group = self.application.as_deref().zip(self.group.as_deref());
        let group = group.map(|(application, group)| GroupRef::new(application, group)).transpose();
        let group = group.map_err(Failure::input)?;
        let aws = self.account.open().await?;
        let checked = live::examine(&aws, group).await?;
        self.format.print(&checked, self.fail_on)?;
        checked.verdict(self.fail_on, Failure::unable)
    }

    fn examine_files(&self) -> Result<(), Failure> {
        let mut checked = Checked::new(plural(self.files.len(), "template"), Source::Templates);
        for file in &self.files {
            let name = file.display().to_string();
            match read(file).and_then(|text| examine_template(&text).map_err(|error| (Some(error.line), error.why))) {
                Ok(report) => checked.reports.push((name, report)),
                Err((line, why)) => checked.unread.push(Unread { name, line, why }),
            }
        }
        self.format.print(&checked, self.fail_on)?;
        checked.verdict(self.fail_on, Failure::input)
    }
}

fn read(file: &Path) -> Result<String, (Option<u32>, String)> {
    let cannot = |error: std::io::Error| (None, format!("cannot be read: {error}"));
    let bytes = std::fs::metadata(file).map_err(cannot)?.len();
    if bytes > MAX_FILE {
        return Err((None, format!("has {bytes} bytes, allowed are {MAX_FILE}")));
    }
    std::fs::read_to_string(file).map_err(cannot)
}

impl Unread {
    /// `file:line: why`, as compilers say it.
    fn sentence(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}: {}", self.name, self.why),
            None => format!("{}: {}", self.name, self.why),
        }
    }
}

impl Format {
    fn print(&self, checked: &Checked, fail_on: FailOn) -> Result<(), Failure> {
        if self.sarif {
            let unread: Vec<_> =
                checked.unread.iter().map(|unread| (unread.name.clone(), unread.line, unread.why.clone())).collect();
            print_json(&sarif(checked.source, &checked.reports, &unread, env!("CARGO_PKG_VERSION")))
        } else if self.json {
            print_json(&checked.document(fail_on))
        } else {
            print_text(&checked.text())
        }
    }
}

impl Checked {
    fn new(subject: String, source: Source) -> Self {
        Self { subject, source, reports: Vec::new(), unread: Vec::new() }
    }

    fn count(&self, severity: Severity) -> usize {
        let findings = self.reports.iter().flat_map(|(_, report)| &report.findings);
        findings.filter(|finding| finding.severity == severity).count()
    }

    fn ignored(&self) -> usize {
        self.reports.iter().map(|(_, report)| report.ignored.len()).sum()
    }

    /// Whether there are findings with which the command fails.
    fn is_bad(&self, fail_on: FailOn) -> bool {
        self.count(Severity::Error) > 0 || fail_on == FailOn::Warning && self.count(Severity::Warning) > 0
    }

    fn document(&self, fail_on: FailOn) -> Value {
        let shown = |(name, report): &(String, Report)| {
            let findings: Vec<Value> = report.findings.iter().map(shown).collect();
            let ignored: Vec<Value> = report.ignored.iter().map(shown).collect();
            json!({ "name": name, "findings": findings, "ignored": ignored })
        };
        let unread: Vec<Value> = self
            .unread
            .iter()
            .map(|unread| json!({ "name": unread.name, "line": unread.line, "why": unread.why }))
            .collect();
        json!({
            "ok": self.unread.is_empty() && !self.is_bad(fail_on),
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "notes": self.count(Severity::Note),
            "ignored": self.ignored(),
            "checked": self.reports.iter().map(shown).collect::<Vec<Value>>(),
            "unread": unread,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, report) in &self.reports {
            for finding in &report.findings {
                let place = if finding.line > 0 { format!("{name}:{}", finding.line) } else { name.clone() };
                let at = if finding.path.is_empty() { &finding.subject } else { &finding.path };
                let Diagnosis { severity, rule, why, fix, .. } = finding;
                text += &format!("{place}: {severity}: {why} [{rule}]\n    at {at}\n    to fix it: {fix}\n");
            }
        }
        text += &plural(self.count(Severity::Error), "error");
        text += &format!(", {}", plural(self.count(Severity::Warning), "warning"));
        text += &format!(", {}", plural(self.count(Severity::Note), "note"));
        text += &format!(", {} ignored, in {}\n", self.ignored(), self.subject);
        text
    }

    /// How the command ends: what could not be read weighs more than what was found.
    fn verdict(&self, fail_on: FailOn, unreadable: fn(String) -> Failure) -> Result<(), Failure> {
        if !self.unread.is_empty() {
            let sentences: Vec<String> = self.unread.iter().map(Unread::sentence).collect();
            return Err(unreadable(sentences.join("\n")));
        }
        if !self.is_bad(fail_on) {
            return Ok(());
        }
        let errors = plural(self.count(Severity::Error), "error");
        let warnings = plural(self.count(Severity::Warning), "warning");
        Err(Failure::bad(match fail_on {
            FailOn::Error => format!("found {errors}"),
            FailOn::Warning => format!("found {errors} and {warnings}"),
        }))
    }
}

fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn shown(finding: &Diagnosis) -> Value {
    json!({
        "rule": finding.rule,
        "severity": finding.severity.as_str(),
        "subject": finding.subject,
        "line": if finding.line > 0 { json!(finding.line) } else { Value::Null },
        "path": finding.path,
        "why": finding.why,
        "fix": finding.fix,
    })
}
