//! What only an account can tell.

use std::time::Duration;

use super::as_template::subject;
use super::{Installation, LiveAlarm, LiveAlias, LiveGroup, LivePolicy, Pulse};
use crate::finding::Severity::{Error, Note, Warning};
use crate::{Diagnosis, Rule, Severity};
use snapback_core::alarm::{AlarmState, OWN_PREFIX};
use snapback_core::observed::TrafficFacts;
use snapback_core::{LifecycleEvent, Mode};

/// An alarm may be without data for so long: a new one, a service that sleeps at the weekend.
const WITHOUT_DATA_MAX: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// DescribeAlarms that an account may make in a minute (9 a second), and the share of it from which on it is said.
const DESCRIBE_ALARMS_QUOTA: f64 = 540.0;
const NEAR: f64 = 0.8;

/// What a rule found: subject, why, fix.
struct Seen {
    subject: String,
    why: String,
    fix: String,
    /// Where it differs from the rule's.
    severity: Option<Severity>,
}

impl Seen {
    fn new(subject: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { subject: subject.into(), why: why.into(), fix: fix.into(), severity: None }
    }
}

type GroupCheck = fn(&LiveGroup, &Pulse) -> Vec<Seen>;
type InstallationCheck = fn(&Installation) -> Vec<Seen>;

const fn rule(id: &'static str, severity: Severity, title: &'static str) -> Rule {
    Rule { id, severity, title }
}

const GROUP_RULES: [(Rule, GroupCheck); 14] = [
    (rule("alarm-red-now", Warning, "An alarm is red"), red_now),
    (rule("alarm-without-data", Warning, "An alarm has had no data for days"), without_data),
    (rule("alarm-missing", Error, "An alarm does not exist"), alarm_missing),
    (rule("alias-missing-now", Error, "The alias does not exist"), alias_missing_now),
    (rule("alias-on-two-versions", Error, "The alias is on two versions, and nothing is deployed"), two_versions),
    (rule("alias-out-of-step", Warning, "The alias is not where the last deployment left it"), alias_out_of_step),
    (rule("policy-missing", Note, "The group has no policy"), policy_missing),
    (rule("policy-unreadable", Error, "The policy of the group cannot be used"), policy_unreadable),
    (rule("policy-out-of-step", Warning, "Policy and group do not fit"), policy_out_of_step),
    (rule("hooks-missing", Error, "Snapback's hooks are not called"), hooks_missing),
    (rule("hook-function-missing", Error, "The function of a hook does not exist"), hook_function_missing),
    (rule("heartbeat-missing", Error, "Nobody judges the group"), heartbeat_missing),
    (rule("evidence-missing", Warning, "Snapback could not look"), evidence_missing),
    (
        rule(
            "deployment-config-slow",
            Warning,
            "Shift and bake take more than 45 minutes, by a configuration of the account",
        ),
        slow,
    ),
];

const INSTALLATION_RULES: [(Rule, InstallationCheck); 4] = [
    (rule("installation-incomplete", Error, "A function of Snapback does not exist"), incomplete),
    (rule("events-not-delivered", Error, "EventBridge may not call a function of Snapback"), not_called),
    (rule("watcher-not-running", Error, "The watcher is not called"), not_running),
    (rule("describe-alarms-near-quota", Warning, "DescribeAlarms is near its quota"), near_quota),
];

/// All rules about accounts, in the order of the documentation.
pub(crate) fn rules() -> impl Iterator<Item = Rule> {
    GROUP_RULES.iter().map(|(rule, _)| *rule).chain(INSTALLATION_RULES.iter().map(|(rule, _)| *rule))
}

pub(super) fn of_group(live: &LiveGroup, pulse: &Pulse) -> Vec<Diagnosis> {
    GROUP_RULES
        .iter()
        .flat_map(|(rule, check)| check(live, pulse).into_iter().map(|seen| finding(*rule, seen)))
        .collect()
}

pub(super) fn of_installation(installation: &Installation) -> Vec<Diagnosis> {
    let found = INSTALLATION_RULES.iter();
    found.flat_map(|(rule, check)| check(installation).into_iter().map(|seen| finding(*rule, seen))).collect()
}

fn finding(rule: Rule, seen: Seen) -> Diagnosis {
    Diagnosis {
        rule: rule.id,
        severity: seen.severity.unwrap_or(rule.severity),
        subject: seen.subject,
        line: 0,
        path: String::new(),
        why: seen.why,
        fix: seen.fix,
    }
}

fn hours(live: &LiveGroup, alarm: &LiveAlarm) -> String {
    let hours = live.now.since(alarm.since).as_secs() / 3600;
    if hours < 48 { format!("{hours} h") } else { format!("{} days", hours / 24) }
}

fn red_now(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let red = live.alarms.iter().filter(|alarm| alarm.state == AlarmState::Alarm);
    let seen = red.map(|alarm| {
        let since = hours(live, alarm);
        let is_attached = live.alarms_enabled && live.attached.contains(&alarm.name);
        let is_own = alarm.name.starts_with(OWN_PREFIX);
        let name = &alarm.name;
        let so = match (is_attached, is_own) {
            (true, _) => "and attached: CodeDeploy stops every deployment at once",
            (false, true) => "and not attached: nothing comes of it",
            (false, false) => "and the next deployment is not judged by it until it has been green for 3 min",
        };
        let fix = match (is_own, is_attached) {
            (true, _) => "it is Snapback's own: a rollback is being asked for, or Snapback is down while customers are hurt; see `When Snapback pages` in docs/operations.md",
            (false, true) => "find out why it is red; a raw alarm belongs into the policy, not on the group",
            (false, false) => "find out why it is red, or take it out of the policy",
        };
        let seen = Seen::new(&alarm.arn, format!("`{name}` is red (for {since}), {so}"), fix);
        if is_attached { Seen { severity: Some(Error), ..seen } } else { seen }
    });
    seen.collect()
}

fn without_data(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let is_silent = |alarm: &&LiveAlarm| {
        alarm.state == AlarmState::InsufficientData && live.now.since(alarm.since) > WITHOUT_DATA_MAX
    };
    let seen = live.alarms.iter().filter(is_silent).map(|alarm| {
        let why = format!("`{}` has been in INSUFFICIENT_DATA for {}: it judges nothing", alarm.name, hours(live, alarm));
        let fix = "look whether its metric exists with these dimensions: aws cloudwatch list-metrics --namespace … --metric-name …";
        Seen::new(&alarm.arn, why, fix)
    });
    seen.collect()
}

fn alarm_missing(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let exists = |name: &str| live.alarms.iter().any(|alarm| alarm.name == name);
    let attached = live.attached.iter().filter(|name| !exists(name)).map(|name| {
        let why = format!(
            "`{name}` is attached to the group and does not exist: CodeDeploy cannot read it, and stops deployments"
        );
        Seen::new(subject(live), why, "make the alarm, or take it off the group")
    });
    let named = policy_alarms(live).filter(|name| !exists(name) && !live.attached.contains(name)).map(|name| {
        let why = format!("the policy names the alarm `{name}`, and there is none: it judges nothing");
        Seen::new(subject(live), why, "make the alarm, or correct its name in the policy")
    });
    attached.chain(named).collect()
}

fn policy_alarms(live: &LiveGroup) -> impl Iterator<Item = String> {
    let policy = match &live.policy {
        LivePolicy::Valid(policy) => Some(policy),
        LivePolicy::Missing | LivePolicy::Invalid(_) => None,
    };
    let signals = policy.into_iter().flat_map(|policy| policy.signals.values());
    signals.flat_map(|signal| signal.alarms.iter().map(|alarm| alarm.as_str().to_owned()))
}

fn alias_missing_now(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let gone = live.alias.iter().filter(|alias| alias.facts.is_none());
    let seen = gone.map(|alias| {
        let name = format!("{}:{}", alias.function, alias.name);
        let why = format!(
            "the newest deployment shifted `{name}`, and there is no such alias any more, or no such function: the next one fails"
        );
        let fix = "make it again through the stack that it belongs to, or delete the deployment group";
        Seen::new(name, why, fix)
    });
    seen.collect()
}

/// The alias, where it exists and nothing is deployed.
fn alias_at_rest(live: &LiveGroup) -> Option<(&LiveAlias, &TrafficFacts)> {
    let alias = live.alias.as_ref().filter(|_| !live.is_running)?;
    Some((alias, alias.facts.as_ref()?))
}

fn two_versions(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let alias = alias_at_rest(live).into_iter().filter(|(_, facts)| !facts.others.is_empty());
    let seen = alias.map(|(alias, facts)| {
        let others: Vec<String> =
            facts.others.iter().map(|(version, share)| format!("{version} ({:.0} %)", share * 100.0)).collect();
        let name = format!("{}:{}", alias.function, alias.name);
        let why = format!(
            "`{name}` sends traffic to version {} and to {}, and no deployment runs: the next one fails",
            facts.version,
            others.join(", ")
        );
        let fix = format!(
            "aws lambda update-alias --function-name {} --name {} --function-version {} --routing-config AdditionalVersionWeights={{}}",
            alias.function, alias.name, facts.version
        );
        Seen::new(name, why, fix)
    });
    seen.collect()
}

fn alias_out_of_step(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let (Some((alias, facts)), Some(deployed)) = (alias_at_rest(live), &live.deployed_version) else {
        return Vec::new();
    };
    if facts.version == *deployed {
        return Vec::new();
    }
    let name = format!("{}:{}", alias.function, alias.name);
    let why = format!(
        "`{name}` is on version {}, and the last successful deployment moved it to {deployed}: somebody changed it by hand, or a later deployment left it there without success",
        facts.version
    );
    vec![Seen::new(name, why, "deploy the version that is wanted through the stack")]
}

fn is_protected(live: &LiveGroup) -> bool {
    let is_ours = |hooks: &snapback_core::deployment::HookFunctions| {
        hooks.is_ours(LifecycleEvent::BeforeAllowTraffic) || hooks.is_ours(LifecycleEvent::AfterAllowTraffic)
    };
    live.hooks.as_ref().is_some_and(is_ours)
}

fn policy_missing(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    if live.policy != LivePolicy::Missing {
        return Vec::new();
    }
    let fix = format!("snapback policy init, then: snapback policy push --group {} FILE", live.group);
    vec![if is_protected(live) {
        let why = "Snapback's hooks are called, and without a policy it only advises: nothing is rolled back";
        Seen { severity: Some(Warning), ..Seen::new(subject(live), why, fix) }
    } else {
        Seen::new(subject(live), "Snapback does not protect this group", fix)
    }]
}

fn policy_unreadable(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    match &live.policy {
        LivePolicy::Invalid(why) => {
            vec![Seen::new(
                subject(live),
                format!("the policy cannot be used: {why}"),
                "snapback policy check FILE, then push it",
            )]
        }
        LivePolicy::Missing | LivePolicy::Valid(_) => Vec::new(),
    }
}

fn policy_out_of_step(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let LivePolicy::Valid(policy) = &live.policy else { return Vec::new() };
    let own: Vec<&String> = live.attached.iter().filter(|name| name.starts_with(OWN_PREFIX)).collect();
    match (policy.mode, own.first()) {
        (Mode::Observe | Mode::Advise, Some(name)) => {
            let why = format!(
                "the policy says `mode: {}`, and `{name}` is attached: CodeDeploy would roll back all the same",
                policy.mode
            );
            vec![Seen::new(subject(live), why, "take Snapback's alarms off the group, or say mode: rollback")]
        }
        (Mode::Observe | Mode::Advise, None) | (Mode::Rollback, _) => Vec::new(),
    }
}

fn hooks_missing(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let (LivePolicy::Valid(_), Some(_)) = (&live.policy, &live.hooks) else { return Vec::new() };
    if is_protected(live) {
        return Vec::new();
    }
    let why = "the group has a policy, and its newest deployment called none of Snapback's hooks: nothing was checked before traffic, and there was no bake";
    let fix = "name CodeDeployHook_snapback-before-allow-traffic and CodeDeployHook_snapback-after-allow-traffic as its hooks";
    vec![Seen::new(subject(live), why, fix)]
}

fn hook_function_missing(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let seen = live.missing_hooks.iter().map(|hook| {
        let why = format!(
            "the newest deployment called `{hook}`, and there is no such function any more: the next one that names it fails"
        );
        Seen::new(subject(live), why, "make the function again, or name another hook (in the template), or none")
    });
    seen.collect()
}

fn heartbeat_missing(live: &LiveGroup, pulse: &Pulse) -> Vec<Seen> {
    let has_policy = matches!(live.policy, LivePolicy::Valid(_));
    let is_silent = pulse.heartbeats.is_some_and(|heartbeats| heartbeats < 1.0);
    if !has_policy || !is_silent {
        return Vec::new();
    }
    let why = "the watcher writes a heartbeat for every group that it can judge, and there was none for 15 min: it is not called, or it is denied";
    vec![Seen::new(
        subject(live),
        why,
        "read the log of snapback-watcher; look at its rule snapback-sweep and its role",
    )]
}

fn evidence_missing(live: &LiveGroup, pulse: &Pulse) -> Vec<Seen> {
    let seen = pulse.evidence_missing.filter(|missing| *missing >= 1.0).map(|missing| {
        let why = format!(
            "{missing} times in the last day Snapback could not read what it judges by (denied, throttled, not there)"
        );
        Seen::new(
            subject(live),
            why,
            "snapback history and snapback explain ID say which call; look at the roles of the functions",
        )
    });
    seen.into_iter().collect()
}

/// Predefined configurations, and those of a template, have a rule of their own: this one knows what CodeDeploy answered.
fn slow(live: &LiveGroup, _: &Pulse) -> Vec<Seen> {
    let (LivePolicy::Valid(policy), Some(shift)) = (&live.policy, live.shift) else { return Vec::new() };
    let is_predefined = live.config.as_deref().is_some_and(|config| config.starts_with(crate::configs::PREFIX));
    if is_predefined || shift + policy.bake <= crate::facts::SHIFT_AND_BAKE_MAX {
        return Vec::new();
    }
    let minutes = (shift + policy.bake).as_secs() / 60;
    let why = format!("shift and bake take {minutes} min: a stack update, and a fix behind it, wait for them");
    vec![Seen::new(subject(live), why, "a shorter bake (10m), or a configuration such as Canary10Percent5Minutes")]
}

fn incomplete(installation: &Installation) -> Vec<Seen> {
    if installation.is_absent {
        let seen = Seen::new(
            "Snapback",
            "Snapback is not installed in this account and Region",
            "make deploy, or the CDK construct",
        );
        return vec![Seen { severity: Some(Note), ..seen }];
    }
    let seen = installation.missing.iter().map(|function| {
        Seen::new(
            function,
            format!("there is no function `{function}`"),
            "install Snapback anew (infra/sam or the CDK construct)",
        )
    });
    seen.collect()
}

fn not_called(installation: &Installation) -> Vec<Seen> {
    let seen = installation.not_called.iter().map(|function| {
        let why = format!("the resource policy of `{function}` does not allow events.amazonaws.com: its rule is gone, or its permission");
        Seen::new(function, why, "install Snapback anew (infra/sam or the CDK construct)")
    });
    seen.collect()
}

fn not_running(installation: &Installation) -> Vec<Seen> {
    let is_silent = installation.sweeps.is_some_and(|sweeps| sweeps < 1.0);
    let is_there = !installation.missing.iter().any(|function| function == WATCHER);
    let why =
        "it is called every minute, and was not called for 15 min: the rule snapback-sweep is missing or disabled";
    let fix = "aws events describe-rule --name snapback-sweep; enable it, or install Snapback anew";
    if is_silent && is_there { vec![Seen::new(WATCHER, why, fix)] } else { Vec::new() }
}

/// Name of the function that sweeps.
const WATCHER: &str = "snapback-watcher";

fn near_quota(installation: &Installation) -> Vec<Seen> {
    let most = installation.describe_alarms_most.filter(|most| *most >= NEAR * DESCRIBE_ALARMS_QUOTA);
    let seen = most.map(|most| {
        let why = format!(
            "{most} DescribeAlarms in one minute, and the quota is {DESCRIBE_ALARMS_QUOTA} (9 a second), which CodeDeploy and ECS share: when it is used up, deployments are stopped or not judged"
        );
        let fix = "find who polls (CloudTrail), use fewer alarms on groups, or ask AWS for a higher quota";
        Seen::new("cloudwatch:DescribeAlarms", why, fix)
    });
    seen.into_iter().collect()
}
