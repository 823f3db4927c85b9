//! The rules: one small function each, in a table. A rule says nothing about what cannot be known.

mod alarms;
mod functions;
mod groups;
mod hooks;
mod metrics;
mod thresholds;

use crate::facts::Facts;
use crate::finding::{Diagnosis, Report, Severity};
use crate::template::Place;

/// A rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Stable id, for example `metric-does-not-exist`.
    pub id: &'static str,
    /// How bad its findings are, where they do not say otherwise.
    pub severity: Severity,
    /// One line.
    pub title: &'static str,
}

/// A rule about templates.
struct TemplateRule {
    rule: Rule,
    check: fn(&Facts<'_>) -> Vec<Found>,
}

/// What a rule found.
struct Found {
    place: Place,
    why: String,
    fix: String,
    /// Where it differs from the rule's.
    severity: Option<Severity>,
}

impl Found {
    fn new(place: Place, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { place, why: why.into(), fix: fix.into(), severity: None }
    }

    fn with_severity(self, severity: Severity) -> Self {
        Self { severity: Some(severity), ..self }
    }
}

const fn rule(
    id: &'static str,
    severity: Severity,
    title: &'static str,
    check: fn(&Facts<'_>) -> Vec<Found>,
) -> TemplateRule {
    TemplateRule { rule: Rule { id, severity, title }, check }
}

use Severity::{Error, Note, Warning};

/// All rules about templates.
const TEMPLATE_RULES: [TemplateRule; 44] = [
    // Alarms: their metrics.
    rule("metric-does-not-exist", Error, "The metric does not exist in its namespace", metrics::does_not_exist),
    rule("metric-unknown", Warning, "The metric is not among those known of its namespace", metrics::unknown),
    rule("dimensions-never-match", Error, "The metric is never published with these dimensions", metrics::dimensions),
    rule("unit-never-matches", Error, "The metric is published in another unit", metrics::unit),
    rule("statistic-says-nothing", Error, "This statistic of the metric is always the same", metrics::statistic),
    rule("sum-used-as-rate", Error, "A sum is compared with a rate", metrics::sum_as_rate),
    // Alarms: when they are red.
    rule("threshold-never-reached", Error, "The threshold cannot be reached", thresholds::never_reached),
    rule("threshold-always-reached", Error, "The threshold is always reached", thresholds::always_reached),
    rule("datapoints-exceed-periods", Error, "More datapoints than periods", thresholds::datapoints),
    rule("missing-data-pins-alarm", Error, "The alarm is red when there are no requests", thresholds::missing_data),
    rule("percentile-on-few-samples", Warning, "A high percentile of one period decides", thresholds::percentile),
    rule("math-refused", Error, "CloudWatch refuses this metric math in an alarm", thresholds::math),
    // Alarms: who looks.
    rule("alarm-watched-by-nobody", Warning, "Nothing happens when the alarm is red", alarms::watched_by_nobody),
    rule("alarm-actions-off", Warning, "The actions of the alarm are switched off", alarms::actions_off),
    rule("property-misspelt", Error, "The name of a property is misspelt", alarms::misspelt),
    // Deployment groups.
    rule(
        "alarms-in-rollback-configuration",
        Error,
        "Alarms stand in the rollback configuration",
        groups::alarms_in_rollback,
    ),
    rule(
        "deployment-config-of-another-platform",
        Error,
        "The deployment configuration is of another platform",
        groups::config_platform,
    ),
    rule(
        "deployment-config-unknown",
        Error,
        "CodeDeploy has no deployment configuration of this name",
        groups::config_unknown,
    ),
    rule("service-role-of-another-platform", Error, "The service role is for another platform", groups::role_platform),
    rule("rollback-event-misspelt", Error, "CodeDeploy has no such rollback event", groups::event_misspelt),
    rule("rollback-off", Warning, "CodeDeploy does not roll back by itself", groups::rollback_off),
    rule(
        "rollback-on-alarm-off",
        Error,
        "A red alarm stops the deployment and rolls nothing back",
        groups::rollback_on_alarm_off,
    ),
    rule("rollback-on-failure-off", Warning, "A failing hook rolls nothing back", groups::rollback_on_failure_off),
    rule(
        "rollback-on-request-off",
        Warning,
        "A stopped deployment of a protected group rolls nothing back",
        groups::rollback_on_request_off,
    ),
    rule("alarms-switched-off", Error, "Attached alarms are switched off", groups::alarms_switched_off),
    rule("alarms-too-many", Warning, "More alarms than CodeDeploy takes", groups::too_many_alarms),
    rule(
        "alarm-poll-failure-ignored",
        Warning,
        "The deployment goes on when alarms cannot be read",
        groups::poll_failure_ignored,
    ),
    rule("raw-alarm-attached", Warning, "A raw alarm is attached to a protected group", groups::raw_alarm),
    rule("own-alarms-missing", Warning, "Snapback's own alarms are not attached", groups::own_alarms_missing),
    rule(
        "judged-by-lambda-errors-alone",
        Warning,
        "Only Lambda's errors judge a function behind an API",
        groups::lambda_errors_alone,
    ),
    rule("shift-and-bake-too-long", Warning, "Shift and bake take more than 45 minutes", groups::shift_and_bake),
    rule("long-bakes-in-one-stack", Note, "A stack cannot roll back while a function of it bakes", groups::long_bakes),
    // Hooks.
    rule("hook-name-not-invocable", Error, "CodeDeploy may not invoke the hook", hooks::name),
    rule("hook-cannot-answer", Error, "The hook may not answer CodeDeploy", hooks::cannot_answer),
    rule("hook-retries", Warning, "Lambda repeats a failed hook", hooks::retries),
    rule("hook-without-destination", Warning, "Nobody is told of a failed hook", hooks::destination),
    rule("hook-outlasts-hour", Warning, "The hook may run when CodeDeploy has given up", hooks::outlasts_hour),
    rule("hook-in-wrong-event", Error, "The hook stands at the wrong event", hooks::wrong_event),
    rule("hook-event-unknown", Error, "There is no such hook", hooks::unknown_event),
    rule("hook-replaced", Warning, "A hook of the team is no longer called", hooks::replaced),
    // Functions and policies.
    rule("alias-missing", Error, "Deployments need an alias", functions::alias_missing),
    rule(
        "config-change-not-deployed",
        Warning,
        "A change of configuration publishes no version",
        functions::config_change,
    ),
    rule("protected-tag-missing", Warning, "Snapback may not look at the function", functions::tag_missing),
    rule("policy-invalid", Error, "The policy cannot be used", functions::policy_invalid),
];

/// All rules, in the order of the documentation.
pub fn rules() -> impl Iterator<Item = Rule> {
    TEMPLATE_RULES.iter().map(|rule| rule.rule).chain([IGNORES_NO_RULE]).chain(crate::live::rules())
}

/// About the wish to ignore a rule.
const IGNORES_NO_RULE: Rule =
    Rule { id: "ignored-rule-unknown", severity: Warning, title: "The rule to be ignored does not exist" };

/// All findings about a template.
pub(crate) fn check(facts: &Facts<'_>) -> Report {
    let mut report = Report::default();
    for TemplateRule { rule, check } in &TEMPLATE_RULES {
        for found in check(facts) {
            let resource = facts.template.resource(&found.place.resource);
            let is_ignored = resource.is_some_and(|resource| resource.ignore.iter().any(|(id, _)| id == rule.id));
            let list = if is_ignored { &mut report.ignored } else { &mut report.findings };
            list.push(finding(*rule, found));
        }
    }
    for resource in &facts.template.resources {
        for (id, line) in resource.ignore.iter().filter(|(id, _)| rules().all(|rule| rule.id != id)) {
            let place = Place {
                line: *line,
                path: format!("Resources.{}.Metadata.snapback.ignore", resource.id),
                resource: resource.id.clone(),
            };
            let found = Found::new(place, format!("there is no rule `{id}`"), "look for its name in docs/doctor.md");
            report.findings.push(finding(IGNORES_NO_RULE, found));
        }
    }
    for list in [&mut report.findings, &mut report.ignored] {
        list.sort_by(|one, other| (one.line, one.rule, &one.path).cmp(&(other.line, other.rule, &other.path)));
        list.dedup();
    }
    report
}

fn finding(rule: Rule, found: Found) -> Diagnosis {
    Diagnosis {
        rule: rule.id,
        severity: found.severity.unwrap_or(rule.severity),
        subject: found.place.resource,
        line: found.place.line,
        path: found.place.path,
        why: found.why,
        fix: found.fix,
    }
}
