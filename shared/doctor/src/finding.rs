//! What was found.

use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot work as it is meant.
    Error,
    /// It works, and will hurt one day.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// `error`, `warning` or `note`, which are also the levels of SARIF.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Id of the rule, for example `metric-does-not-exist`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Logical id of the resource; in an account its ARN or name.
    pub subject: String,
    /// Line of the template, counted from 1; 0: it stands in no file.
    pub line: u32,
    /// Where in the template, for example `Resources.Alarm.Properties.Threshold`; empty in an account.
    pub path: String,
    /// What cannot work, and why.
    pub why: String,
    /// How to fix it.
    pub fix: String,
}

/// What a template or a group has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// By line, then rule.
    pub findings: Vec<Diagnosis>,
    /// Findings that the template asks to ignore.
    pub ignored: Vec<Diagnosis>,
}

impl Report {
    /// Whether there is an error among the findings.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}
