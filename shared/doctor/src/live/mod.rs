//! A deployment group as it is now, and the installation of Snapback beside it: facts in, findings out. Whoever reads them is
//! outside.
//!
//! What a template could say too (alarms, settings of the group, hooks) is put into the shape of a template, so that the same
//! rules judge it.

mod as_template;
mod rules;

use std::time::Duration;

use serde_json::Value;
use snapback_core::alarm::AlarmState;
use snapback_core::deployment::HookFunctions;
use snapback_core::observed::{Platform, TrafficFacts};
use snapback_core::{GroupRef, Policy, Timestamp};

pub(crate) use rules::rules;

use crate::Report;

/// A deployment group, as its account shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveGroup {
    /// Its names.
    pub group: GroupRef,
    /// When it was looked at.
    pub now: Timestamp,
    /// Its platform.
    pub platform: Platform,
    /// Name of its deployment configuration.
    pub config: Option<String>,
    /// From first to all traffic; `None`: the configuration does not tell.
    pub shift: Option<Duration>,
    /// Events on which CodeDeploy rolls back by itself; `None`: it never does.
    pub rollback_events: Option<Vec<String>>,
    /// Names of the attached alarms.
    pub attached: Vec<String>,
    /// Whether they count.
    pub alarms_enabled: bool,
    /// Whether a failed poll of them is ignored.
    pub ignores_poll_failure: bool,
    /// Its policy.
    pub policy: LivePolicy,
    /// The alarms of group and policy that exist.
    pub alarms: Vec<LiveAlarm>,
    /// Whether a deployment runs.
    pub is_running: bool,
    /// Hooks of the newest deployment whose AppSpec could be read; `None`: there is none.
    pub hooks: Option<HookFunctions>,
    /// The version to which the newest successful deployment moved the alias.
    pub deployed_version: Option<String>,
    /// The alias that the group shifts; `None`: nothing was deployed that tells.
    pub alias: Option<LiveAlias>,
    /// Functions of the hooks that are not Snapback's, as far as they exist.
    pub hook_functions: Vec<LiveFunction>,
    /// Functions of those hooks that do not exist, as the hooks name them.
    pub missing_hooks: Vec<String>,
}

/// The policy of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum LivePolicy {
    /// There is no parameter.
    Missing,
    /// Its document is no policy, and why.
    Invalid(String),
    /// It is this.
    Valid(Box<Policy>),
}

/// An alarm.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveAlarm {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Its state.
    pub state: AlarmState,
    /// Since when.
    pub since: Timestamp,
    /// Whether it is a composite alarm, or one on logs: it has no metric of its own.
    pub is_composite: bool,
    /// Its definition with the names that CloudFormation gives the properties.
    pub properties: Value,
}

/// An alias.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveAlias {
    /// Its function.
    pub function: String,
    /// Its name.
    pub name: String,
    /// Where it sends traffic; `None`: it does not exist, or its function does not.
    pub facts: Option<TrafficFacts>,
}

/// The function of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFunction {
    /// Its name, without the version or alias that the hook names.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The version or alias that the hook names.
    pub qualifier: Option<String>,
    /// Its time-out.
    pub timeout: Option<Duration>,
    /// How often Lambda repeats a failed call.
    pub retries: Option<u32>,
    /// How long Lambda keeps an event.
    pub event_age: Option<Duration>,
    /// Whether somebody is told of a failed call.
    pub has_destination: bool,
}

/// Snapback in an account, beside the groups that it protects.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Installation {
    /// Functions of Snapback that do not exist.
    pub missing: Vec<String>,
    /// Whether none of them does.
    pub is_absent: bool,
    /// Functions that EventBridge may not call: rule or permission is missing.
    pub not_called: Vec<String>,
    /// Runs of the watcher in the last quarter of an hour; `None`: not known.
    pub sweeps: Option<f64>,
    /// The most DescribeAlarms of a minute in the last hours; `None`: not known.
    pub describe_alarms_most: Option<f64>,
}

/// What is known of a group's sweep.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pulse {
    /// Heartbeats of the group in the last quarter of an hour; `None`: not known.
    pub heartbeats: Option<f64>,
    /// Looks of the last day that did not get their evidence; `None`: not known.
    pub evidence_missing: Option<f64>,
}

/// All findings about a group.
#[must_use]
pub fn examine_group(live: &LiveGroup, pulse: &Pulse) -> Report {
    let mut findings = as_template::findings(live);
    findings.extend(rules::of_group(live, pulse));
    sorted(findings)
}

/// All findings about an installation.
#[must_use]
pub fn examine_installation(installation: &Installation) -> Report {
    sorted(rules::of_installation(installation))
}

fn sorted(mut findings: Vec<crate::Diagnosis>) -> Report {
    findings.sort_by(|one, other| {
        (one.severity, one.rule, &one.subject).cmp(&(other.severity, other.rule, &other.subject))
    });
    findings.dedup();
    Report { findings, ignored: Vec::new() }
}

#[cfg(test)]
mod tests;
