//! What an account tells about its deployment groups and about Snapback in it.

use std::time::Duration;

use snapback_app::ports::{CallError, CallErrorKind, Clock, Controller, Policies};
use snapback_aws::Aws;
use snapback_aws::error::found;
use snapback_aws::inspect::{AlarmDefinition, InspectedSeries};
use snapback_core::deployment::HookFunctions;
use snapback_core::observed::{DeploymentFacts, DeploymentStatus};
use snapback_core::{AlarmName, GroupRef, LifecycleEvent, Policy};
use snapback_doctor::Source;
use snapback_doctor::live::{
    Installation, LiveAlarm, LiveAlias, LiveFunction, LiveGroup, LivePolicy, Pulse, examine_group, examine_installation,
};
use snapback_wire::emf::{self, DEPLOYMENT_GROUP, NAMESPACE, SERVICE};

use super::{Checked, Unread, plural};
use crate::output::Failure;

/// Functions of an installation, and whether a rule of EventBridge calls them.
const FUNCTIONS: [(&str, bool); 6] = [
    ("CodeDeployHook_snapback-before-allow-traffic", false),
    ("CodeDeployHook_snapback-after-allow-traffic", false),
    ("snapback-alarm-handler", true),
    ("snapback-deployment-recorder", true),
    (WATCHER, true),
    ("snapback-hook-watchdog", false),
];
const WATCHER: &str = "snapback-watcher";
/// The newest deployments whose target and AppSpec are asked for, until one tells.
const DEPLOYMENTS: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);
const QUARTER: Duration = Duration::from_secs(15 * 60);
const HOURS: Duration = Duration::from_secs(3 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks at one group, or at all that have a policy, and at the installation.
pub(super) async fn examine(aws: &Aws, group: Option<GroupRef>) -> Result<Checked, Failure> {
    let groups = match group {
        Some(group) => vec![group],
        None => aws.groups_with_policy().await.map_err(Failure::unable)?,
    };
    let subject = format!("{} and the installation", plural(groups.len(), "group"));
    let mut checked = Checked::new(subject, Source::Account);
    for group in &groups {
        match read_group(aws, group).await {
            Ok((live, pulse)) => checked.reports.push((group.to_string(), examine_group(&live, &pulse))),
            Err(error) => checked.unread.push(unread(group, &error)),
        }
    }
    match read_installation(aws).await {
        Ok(installation) => checked.reports.push(("installation".to_owned(), examine_installation(&installation))),
        Err(error) => checked.unread.push(unread("installation", &error)),
    }
    Ok(checked)
}

fn unread(name: impl ToString, error: &CallError) -> Unread {
    Unread { name: name.to_string(), line: None, why: error.to_string() }
}

async fn read_group(aws: &Aws, group: &GroupRef) -> Result<(LiveGroup, Pulse), CallError> {
    let settings = aws.group_settings(group).await?;
    let policy = match aws.policy(group).await {
        Ok(Some(policy)) => LivePolicy::Valid(Box::new(policy)),
        Ok(None) => LivePolicy::Missing,
        Err(error) if error.is(CallErrorKind::Invalid) => LivePolicy::Invalid(error.message),
        Err(error) => return Err(error),
    };
    let shift = match &settings.config {
        Some(config) => aws.traffic_plan(config).await?.lasts,
        None => None,
    };
    let named = match &policy {
        LivePolicy::Valid(policy) => alarms_of(policy),
        LivePolicy::Missing | LivePolicy::Invalid(_) => Vec::new(),
    };
    let mut names: Vec<AlarmName> = settings.alarms.iter().filter_map(|name| AlarmName::parse(name).ok()).collect();
    names.extend(named);
    names.sort();
    names.dedup();
    let alarms = aws.alarm_definitions(&names).await?;
    // Before and after the alias is read: a deployment that begins or ends meanwhile is none that left it on two versions.
    let was_running = aws.is_deploying(group).await?;
    let deployments = aws.newest_deployments(group, aws.now()).await?;
    let history = read_history(aws, group, &deployments).await?;
    let is_running = was_running || aws.is_deploying(group).await?;
    let hooks = read_hooks(aws, history.hooks.as_ref()).await?;
    let pulse = read_pulse(aws, group, &policy).await?;
    let live = LiveGroup {
        group: group.clone(),
        now: aws.now(),
        platform: settings.platform,
        config: settings.config,
        shift,
        rollback_events: settings.rollback_events,
        attached: settings.alarms,
        alarms_enabled: settings.alarms_enabled,
        ignores_poll_failure: settings.ignores_poll_failure,
        policy,
        alarms: alarms.into_iter().map(alarm).collect(),
        is_running,
        hook_functions: hooks.found,
        missing_hooks: hooks.missing,
        hooks: history.hooks,
        deployed_version: history.deployed_version,
        alias: history.alias,
    };
    Ok((live, pulse))
}

fn alarms_of(policy: &Policy) -> Vec<AlarmName> {
    policy.signals.values().flat_map(|signal| signal.alarms.iter().cloned()).collect()
}

fn alarm(definition: AlarmDefinition) -> LiveAlarm {
    LiveAlarm {
        name: definition.name,
        arn: definition.arn,
        state: definition.state,
        since: definition.since,
        is_composite: definition.is_composite,
        properties: definition.properties,
    }
}

/// What the newest deployments tell.
#[derive(Default)]
struct History {
    hooks: Option<HookFunctions>,
    deployed_version: Option<String>,
    alias: Option<LiveAlias>,
}

async fn read_history(aws: &Aws, group: &GroupRef, deployments: &[DeploymentFacts]) -> Result<History, CallError> {
    let mut history = History::default();
    for deployment in deployments.iter().take(DEPLOYMENTS) {
        let has_succeeded = deployment.status == DeploymentStatus::Succeeded;
        if history.alias.is_none() || history.deployed_version.is_none() && has_succeeded {
            let target = found(aws.target(&deployment.id, None).await)?.flatten().and_then(|facts| facts.target);
            if let (None, Some(target)) = (&history.alias, &target) {
                let facts = found(aws.traffic(target).await)?;
                history.alias =
                    Some(LiveAlias { function: target.name().to_owned(), name: target.route().to_owned(), facts });
            }
            if history.deployed_version.is_none() && has_succeeded {
                history.deployed_version = target.map(|target| target.canary().to_owned());
            }
        }
        // CodeDeploy's own rollbacks call no hooks.
        if let (None, Some(spec), false) = (&history.hooks, &deployment.app_spec, deployment.is_marked_rollback()) {
            match aws.app_spec(group.application(), spec).await {
                Ok(spec) => history.hooks = Some(spec.hooks),
                // It cannot be read, or CodeDeploy has forgotten it: an older one may tell.
                Err(error) if error.is(CallErrorKind::Invalid) || error.is(CallErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(history)
}

/// The functions of hooks that are not Snapback's.
#[derive(Default)]
struct TeamHooks {
    found: Vec<LiveFunction>,
    missing: Vec<String>,
}

async fn read_hooks(aws: &Aws, hooks: Option<&HookFunctions>) -> Result<TeamHooks, CallError> {
    let mut read = TeamHooks::default();
    let Some(hooks) = hooks else { return Ok(read) };
    for (event, named) in
        [(LifecycleEvent::BeforeAllowTraffic, &hooks.before), (LifecycleEvent::AfterAllowTraffic, &hooks.after)]
    {
        let Some(named) = named.as_ref().filter(|_| !hooks.is_ours(event)) else { continue };
        let Some(settings) = aws.function_settings(named).await? else {
            read.missing.push(named.clone());
            continue;
        };
        let (name, qualifier) = name_and_qualifier(named);
        read.found.push(LiveFunction {
            name: name.to_owned(),
            arn: settings.arn,
            qualifier: qualifier.map(str::to_owned),
            timeout: settings.timeout,
            retries: settings.retries,
            event_age: settings.event_age,
            has_destination: settings.has_destination,
        });
    }
    Ok(read)
}

/// The name of a function, and the version or alias behind it, of a name or an ARN.
fn name_and_qualifier(named: &str) -> (&str, Option<&str>) {
    let plain = named.split_once(":function:").map_or(named, |(_, plain)| plain);
    plain.split_once(':').map_or((plain, None), |(name, qualifier)| (name, Some(qualifier)))
}

async fn read_pulse(aws: &Aws, group: &GroupRef, policy: &LivePolicy) -> Result<Pulse, CallError> {
    let LivePolicy::Valid(policy) = policy else { return Ok(Pulse::default()) };
    let now = aws.now();
    let heartbeat = InspectedSeries {
        namespace: NAMESPACE,
        metric: emf::GroupSeries::Heartbeat.as_str(),
        dimensions: vec![(DEPLOYMENT_GROUP, group.to_string())],
        stat: "SampleCount",
        period: MINUTE,
    };
    let missing = InspectedSeries {
        namespace: NAMESPACE,
        metric: emf::ServiceMetric::EvidenceMissing.as_str(),
        dimensions: vec![(SERVICE, policy.service.clone())],
        stat: "Sum",
        period: Duration::from_secs(3600),
    };
    Ok(Pulse {
        heartbeats: Some(aws.values(&heartbeat, now, QUARTER).await?.iter().sum()),
        evidence_missing: Some(aws.values(&missing, now, DAY).await?.iter().sum()),
    })
}

async fn read_installation(aws: &Aws) -> Result<Installation, CallError> {
    let mut installation = Installation::default();
    for (name, is_called_by_rule) in FUNCTIONS {
        if aws.function_settings(name).await?.is_none() {
            installation.missing.push(name.to_owned());
        } else if is_called_by_rule && !aws.lets_events_call(name).await? {
            installation.not_called.push(name.to_owned());
        }
    }
    installation.is_absent = installation.missing.len() == FUNCTIONS.len();
    let now = aws.now();
    let runs = InspectedSeries {
        namespace: "AWS/Lambda",
        metric: "Invocations",
        dimensions: vec![("FunctionName", WATCHER.to_owned())],
        stat: "Sum",
        period: MINUTE,
    };
    let calls = InspectedSeries {
        namespace: "AWS/Usage",
        metric: "CallCount",
        dimensions: [("Type", "API"), ("Service", "CloudWatch"), ("Resource", "DescribeAlarms"), ("Class", "None")]
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
        stat: "Sum",
        period: MINUTE,
    };
    installation.sweeps = Some(aws.values(&runs, now, QUARTER).await?.iter().sum());
    installation.describe_alarms_most = aws.values(&calls, now, HOURS).await?.into_iter().reduce(f64::max);
    Ok(installation)
}

#[cfg(test)]
mod tests {
    use super::name_and_qualifier;

    #[test]
    fn functions_by_name_and_by_arn() {
        let table = [
            ("hook", ("hook", None)),
            ("hook:live", ("hook", Some("live"))),
            ("arn:aws:lambda:eu-west-1:123456789012:function:hook", ("hook", None)),
            ("arn:aws:lambda:eu-west-1:123456789012:function:hook:7", ("hook", Some("7"))),
            ("123456789012:function:hook:live", ("hook", Some("live"))),
        ];
        for (named, expected) in table {
            assert_eq!(name_and_qualifier(named), expected, "{named}");
        }
    }
}
