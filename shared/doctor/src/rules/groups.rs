//! Deployment groups: what stops a deployment, and what sends it back.

use super::Found;
use super::functions::policy_of;
use crate::configs::{self, PREFIX};
use crate::facts::{Alarm, Event, Facts, Group, Platform, SHIFT_AND_BAKE_MAX};
use crate::finding::Severity;
use crate::template::{Kind, Node, Resource, Text};
use snapback_core::Mode;
use snapback_core::alarm::OWN_PREFIX;
use std::time::Duration;

const EVENTS: [&str; 3] = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"];
/// Alarms of a group that the API allows by its documentation, and by the quota, which can be raised.
const ALARMS_MAX: usize = 10;
const ALARMS_QUOTA: usize = 50;
/// A bake beside other protected functions of the same stack that is still short: a stack seldom fails just then.
const BAKE_IN_COMPANY_MAX: Duration = Duration::from_secs(5 * 60);
/// Letters in which a misspelt name differs from the one that is meant, its prefix among them.
const LIKE: usize = PREFIX.len();
const ROLLBACK: &str = "AutoRollbackConfiguration";

fn each<'a>(facts: &Facts<'a>, found: impl Fn(&Group<'a>) -> Option<Found>) -> Vec<Found> {
    facts.groups.iter().filter_map(found).collect()
}

/// Groups that are written out: SAM sets those that it makes up right.
fn written<'a>(facts: &Facts<'a>, found: impl Fn(&Group<'a>) -> Option<Found>) -> Vec<Found> {
    facts.groups.iter().filter(|group| !group.is_sam).filter_map(found).collect()
}

fn at(group: &Group<'_>, path: &str) -> crate::template::Place {
    group.resource.place(&format!("Properties.{path}"))
}

pub(super) fn alarms_in_rollback(facts: &Facts<'_>) -> Vec<Found> {
    written(facts, |group| {
        let members = group.resource.get(ROLLBACK)?.members();
        let stray = members.iter().find(|member| !matches!(member.name.as_str(), "Enabled" | "Events"))?;
        let why =
            format!("{ROLLBACK} has only Enabled and Events; `{}` in it is refused, or attaches nothing", stray.name);
        let fix = "AlarmConfiguration: { Enabled: true, Alarms: [{ Name: … }] }, beside it";
        Some(Found::new(at(group, &format!("{ROLLBACK}.{}", stray.name)), why, fix))
    })
}

/// What is wrong with the deployment configuration of a group.
enum WrongConfig {
    /// Of which platform it is.
    Platform(Platform),
    /// What it may be meant to be.
    Unknown(String),
}

fn wrong_config(facts: &Facts<'_>, group: &Group<'_>) -> Option<WrongConfig> {
    let (platform, name) = (group.platform, group.config?.0);
    if let Some(config) = custom_config(facts, name) {
        let of = match config.get("ComputePlatform").map(Node::known) {
            Some(Some("Lambda")) => Platform::Lambda,
            Some(Some("ECS")) => Platform::Ecs,
            Some(Some("Server")) | None => Platform::Server,
            Some(_) => return None,
        };
        return platform.filter(|platform| *platform != of).map(|_| WrongConfig::Platform(of));
    }
    let name = name.known()?;
    let plain = name.strip_prefix(PREFIX).unwrap_or(name);
    let is_short = group.is_sam && configs::find(&format!("Lambda{name}")).is_some();
    if is_short {
        return None;
    }
    match configs::find(plain) {
        // SAM takes AllAtOnce for Lambda's; the other two are no names that anybody would give a configuration of Lambda.
        Some((of, _)) if platform.is_some_and(|platform| platform != of) => Some(WrongConfig::Platform(of)),
        Some(_) if plain == name => Some(WrongConfig::Unknown(format!("{PREFIX}{plain}"))),
        Some(_) => None,
        None if plain != name => {
            let near = configs::nearest(platform, plain)?;
            Some(WrongConfig::Unknown(format!("{PREFIX}{near}")))
        }
        // Not predefined: somebody's own, unless it is spelt almost like a short name of SAM.
        None if group.is_sam => {
            let near = configs::nearest(Some(Platform::Lambda), &format!("Lambda{name}"))?.strip_prefix("Lambda")?;
            (crate::metrics::distance(near, name) <= 2).then(|| WrongConfig::Unknown(near.to_owned()))
        }
        None => None,
    }
}

fn custom_config<'a>(facts: &Facts<'a>, name: &Text) -> Option<&'a Resource> {
    facts.template.of_kind("AWS::CodeDeploy::DeploymentConfig").find(|config| config.name() == *name)
}

pub(super) fn config_platform(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |group| match wrong_config(facts, group)? {
        WrongConfig::Platform(of) => {
            let ((name, path), platform) = (group.config?, group.platform?);
            let why =
                format!("`{name}` is a configuration of {}, and the group deploys to {}", words(of), words(platform));
            let fix = match platform {
                Platform::Lambda if group.is_sam => "Canary10Percent5Minutes",
                Platform::Lambda => "CodeDeployDefault.LambdaCanary10Percent5Minutes",
                Platform::Ecs => "CodeDeployDefault.ECSCanary10Percent5Minutes",
                Platform::Server => "CodeDeployDefault.OneAtATime",
            };
            Some(Found::new(group.resource.place(path), why, format!("for example {fix}")))
        }
        WrongConfig::Unknown(_) => None,
    })
}

const fn words(platform: Platform) -> &'static str {
    match platform {
        Platform::Lambda => "Lambda",
        Platform::Ecs => "ECS",
        Platform::Server => "EC2 and on-premises servers",
    }
}

pub(super) fn config_unknown(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |group| match wrong_config(facts, group)? {
        WrongConfig::Unknown(near) => {
            let (name, path) = group.config?;
            let why = format!("CodeDeploy has no predefined configuration `{name}`");
            // One that is like no other may be new.
            let is_like = crate::metrics::distance(&near, &name.to_string()) <= LIKE;
            let severity = if is_like { Severity::Error } else { Severity::Warning };
            let found = Found::new(group.resource.place(path), why, format!("write `{near}`, if that is meant"));
            Some(found.with_severity(severity))
        }
        WrongConfig::Platform(_) => None,
    })
}

pub(super) fn role_platform(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |group| {
        let is_wrong =
            group.platform == Some(Platform::Lambda) && group.role.allows("lambda:UpdateAlias") == Some(false);
        let why = "the service role may not change an alias (lambda:UpdateAlias): it is made for another platform, and no traffic moves";
        let fix = "the managed policy service-role/AWSCodeDeployRoleForLambda";
        let path = if group.is_sam { "DeploymentPreference.Role" } else { "ServiceRoleArn" };
        is_wrong.then(|| Found::new(at(group, path), why, fix))
    })
}

/// The rollback events of a group that are known; `None`: nobody can tell, or rollbacks are off.
fn events<'a>(group: &Group<'a>) -> Option<Vec<&'a str>> {
    let rollback = group.resource.get(ROLLBACK)?;
    let is_off = rollback.get("Enabled").is_some_and(|enabled| enabled.bool() != Some(true));
    let events = rollback.get("Events")?;
    if is_off || matches!(events.kind, Kind::Unknown) {
        return None;
    }
    events.items().iter().map(Node::known).collect()
}

pub(super) fn event_misspelt(facts: &Facts<'_>) -> Vec<Found> {
    let found = |group: &Group<'_>| {
        let list = group.resource.properties.find(&[ROLLBACK, "Events"]).map_or(&[][..], Node::items);
        let wrong = list.iter().enumerate().filter_map(|(index, event)| {
            let name = event.known().filter(|name| !EVENTS.contains(name))?;
            let near = EVENTS.into_iter().min_by_key(|event| crate::metrics::distance(event, name))?;
            let place = at(group, &format!("{ROLLBACK}.Events.{index}"));
            let why = format!("`{name}` is no rollback event; CodeDeploy refuses the group");
            Some(Found::new(place, why, format!("write `{near}`; there are {}", EVENTS.join(", "))))
        });
        wrong.collect::<Vec<_>>()
    };
    facts.groups.iter().filter(|group| !group.is_sam).flat_map(found).collect()
}

pub(super) fn rollback_off(facts: &Facts<'_>) -> Vec<Found> {
    written(facts, |group| {
        let rollback = group.resource.get(ROLLBACK);
        let is_off = match rollback {
            None => true,
            Some(Node { kind: Kind::Map(_), .. }) => {
                let has_events = rollback.and_then(|rollback| rollback.get("Events"));
                let has_events = has_events.is_some_and(|events| events.is_unknown() || !events.items().is_empty());
                rollback?.get("Enabled").and_then(Node::bool) == Some(false) || !has_events
            }
            Some(_) => false,
        };
        let why = "without it a failed deployment, a stopped one too, stays where it is: both versions may keep their traffic";
        let fix = format!("{ROLLBACK}: {{ Enabled: true, Events: [{}] }}", EVENTS.join(", "));
        is_off.then(|| Found::new(at(group, ROLLBACK), why, fix))
    })
}

pub(super) fn rollback_on_alarm_off(facts: &Facts<'_>) -> Vec<Found> {
    written(facts, |group| {
        let has_alarms = group.alarms.as_ref().is_some_and(|alarms| !alarms.is_empty());
        let is_off = has_alarms && !events(group)?.contains(&"DEPLOYMENT_STOP_ON_ALARM");
        let why = "an attached alarm stops the deployment, and without DEPLOYMENT_STOP_ON_ALARM nothing goes back";
        is_off.then(|| Found::new(at(group, &format!("{ROLLBACK}.Events")), why, "add DEPLOYMENT_STOP_ON_ALARM"))
    })
}

pub(super) fn rollback_on_failure_off(facts: &Facts<'_>) -> Vec<Found> {
    written(facts, |group| {
        let is_off = !group.hooks.is_empty() && !events(group)?.contains(&"DEPLOYMENT_FAILURE");
        let why = "a hook that answers Failed, or does not answer, fails the deployment, and without DEPLOYMENT_FAILURE nothing goes back";
        is_off.then(|| Found::new(at(group, &format!("{ROLLBACK}.Events")), why, "add DEPLOYMENT_FAILURE"))
    })
}

pub(super) fn rollback_on_request_off(facts: &Facts<'_>) -> Vec<Found> {
    written(facts, |group| {
        let is_off = group.is_protected() && !events(group)?.contains(&"DEPLOYMENT_STOP_ON_REQUEST");
        let why = "Snapback stops a deployment to send its traffic back, and so does a person; without DEPLOYMENT_STOP_ON_REQUEST a stop that does not ask for the rollback itself leaves the alias on two versions";
        is_off.then(|| Found::new(at(group, &format!("{ROLLBACK}.Events")), why, "add DEPLOYMENT_STOP_ON_REQUEST"))
    })
}

pub(super) fn alarms_switched_off(facts: &Facts<'_>) -> Vec<Found> {
    written(facts, |group| {
        let configuration = group.resource.get("AlarmConfiguration")?;
        let is_off = configuration.get("Enabled").and_then(Node::bool) == Some(false);
        let has_alarms = group.alarms.as_ref().is_some_and(|alarms| !alarms.is_empty());
        let why = "the group has alarms, and Enabled is false: none of them stops a deployment";
        (is_off && has_alarms)
            .then(|| Found::new(at(group, "AlarmConfiguration.Enabled"), why, "Enabled: true, or no alarms"))
    })
}

pub(super) fn too_many_alarms(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |group| {
        let count = group.alarms.as_ref()?.len();
        let why = format!(
            "{count} alarms; by the documentation of CodeDeploy's API a group takes {ALARMS_MAX}, its quota says {ALARMS_QUOTA}"
        );
        let fix = "attach one composite alarm over them, or name them in Snapback's policy";
        let severity = if count > ALARMS_QUOTA { Severity::Error } else { Severity::Warning };
        let place = group.resource.place(group.alarms_at());
        (count > ALARMS_MAX).then(|| Found::new(place, why, fix).with_severity(severity))
    })
}

pub(super) fn poll_failure_ignored(facts: &Facts<'_>) -> Vec<Found> {
    written(facts, |group| {
        let ignores = group.resource.properties.find(&["AlarmConfiguration", "IgnorePollAlarmFailure"])?.bool()?;
        let why = "when CodeDeploy cannot read the alarms (throttled, denied) it goes on as if they were green";
        ignores
            .then(|| Found::new(at(group, "AlarmConfiguration.IgnorePollAlarmFailure"), why, "leave it out, or false"))
    })
}

/// Whether an attached alarm is none of Snapback's own.
fn is_raw(facts: &Facts<'_>, name: &Text) -> bool {
    match name.starts_with(OWN_PREFIX) {
        Some(is_own) => !is_own,
        // Its name is made up with the stack.
        None => name.as_reference().is_some() && facts.alarm(name).is_some(),
    }
}

pub(super) fn raw_alarm(facts: &Facts<'_>) -> Vec<Found> {
    let found = |group: &Group<'_>| {
        let alarms = group.alarms.as_deref().unwrap_or_default();
        let is_own = |name: &Text| name.starts_with(OWN_PREFIX) == Some(true);
        let is_protected = group.is_protected() || alarms.iter().any(|(name, _)| is_own(name));
        let raw = alarms.iter().filter(|(name, _)| is_protected && is_raw(facts, name));
        let found = raw.map(|(name, place)| {
            let why = format!("while `{name}` is red, CodeDeploy stops every deployment of the group at once, the one with the fix too");
            Found::new(place.clone(), why, "take it off the group and name it in the policy (signals); Snapback judges it by what changed")
        });
        found.collect::<Vec<_>>()
    };
    facts.groups.iter().flat_map(found).collect()
}

pub(super) fn own_alarms_missing(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |group| {
        let alarms = group.alarms.as_ref()?;
        let is_rollback = group.is_protected() && policy_of(facts, group)?.mode == Mode::Rollback;
        let has =
            |kind: &str| alarms.iter().any(|(name, _)| name.starts_with(&format!("{OWN_PREFIX}{kind}")) != Some(false));
        let missing: Vec<&str> = ["verdict-", "dead-man-"].into_iter().filter(|kind| !has(kind)).collect();
        let why = format!(
            "the policy lets Snapback roll back, and {OWN_PREFIX}{}… is not attached: nobody protects the group while Snapback is down or denied",
            missing.first()?
        );
        let fix = "attach snapback-verdict-NAME and snapback-dead-man-NAME of infra/protect";
        is_rollback.then(|| Found::new(group.resource.place(group.alarms_at()), why, fix))
    })
}

pub(super) fn lambda_errors_alone(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |group| {
        let function = group.function.filter(|function| is_behind_api(facts, function))?;
        let alarms = group.alarms.as_ref().filter(|alarms| !alarms.is_empty() && !group.is_protected())?;
        let judged =
            alarms.iter().map(|(name, _)| metric_alarms(facts, facts.alarm(name)?)).collect::<Option<Vec<_>>>()?;
        let judged: Vec<&Alarm<'_>> = judged.into_iter().flatten().collect();
        let only_errors = |alarm: &&Alarm<'_>| {
            let mut series = alarm.series.iter();
            series.any(|series| series.metric == Some("Errors"))
                && alarm.series.iter().all(|series| {
                    series.namespace == Some("AWS/Lambda") && matches!(series.metric, Some("Errors" | "Invocations"))
                })
        };
        let is_alone = !judged.is_empty() && judged.iter().all(only_errors);
        let why = format!(
            "`{}` answers an API, and Lambda counts no error when a function answers with 5xx itself; slow and refused requests are not seen either",
            function.id
        );
        let fix = "add alarms on the API: `5XXError` with Statistic Average (REST) or 5xx / Count (HTTP), and a latency alarm";
        is_alone.then(|| Found::new(group.resource.place(group.alarms_at()), why, fix))
    })
}

/// The metric alarms under an alarm; `None`: nobody can tell.
fn metric_alarms<'a, 'b>(facts: &'b Facts<'a>, alarm: &'a Resource) -> Option<Vec<&'b Alarm<'a>>> {
    if alarm.kind == "AWS::CloudWatch::Alarm" {
        return Some(facts.alarms.iter().filter(|known| known.resource.id == alarm.id).collect());
    }
    let rule = alarm.text("AlarmRule")?.to_string();
    let named = facts.alarms.iter().filter(|known| rule.contains(&known.resource.name().to_string()));
    let named: Vec<&Alarm<'_>> = named.collect();
    let children = rule.matches("ALARM").count() + rule.matches("OK(").count();
    (named.len() >= children).then_some(named)
}

/// Whether requests come to a function through an API, a load balancer or its URL.
fn is_behind_api(facts: &Facts<'_>, function: &Resource) -> bool {
    let events = function.get("Events").map_or(&[][..], Node::members);
    let is_api = |event: &Node| matches!(event.get("Type").and_then(Node::known), Some("Api" | "HttpApi"));
    let is_it = |text: Option<&Text>| text.is_some_and(|text| facts.function_name(text) == function.name());
    let mut permissions = facts.template.of_kind("AWS::Lambda::Permission");
    let is_caller = |permission: &Resource| {
        let principal = permission.known("Principal");
        matches!(principal, Some("apigateway.amazonaws.com" | "elasticloadbalancing.amazonaws.com"))
            && is_it(permission.text("FunctionName"))
    };
    events.iter().any(|event| is_api(&event.value))
        || function.get("FunctionUrlConfig").is_some()
        || permissions.any(is_caller)
        || facts.template.of_kind("AWS::Lambda::Url").any(|url| is_it(url.text("TargetFunctionArn")))
}

pub(super) fn shift_and_bake(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |group| {
        let (name, path) = group.config?;
        let shift = shift(facts, group, name)?;
        let bake = policy_of(facts, group)?.bake;
        let (together, most) = (shift + bake, SHIFT_AND_BAKE_MAX);
        let minutes = |duration: Duration| duration.as_secs() / 60;
        let why = format!(
            "traffic shifts for {} min and the bake lasts {} min: a stack update, and a fix behind it, wait for {} min",
            minutes(shift),
            minutes(bake),
            minutes(together)
        );
        let fix = "a shorter bake (10m), or a configuration such as Canary10Percent5Minutes";
        (together > most).then(|| Found::new(group.resource.place(path), why, fix))
    })
}

/// A stack that rolls back deploys again, and CodeDeploy runs one deployment of a group at a time: a held bake refuses it.
pub(super) fn long_bakes(facts: &Facts<'_>) -> Vec<Found> {
    let protected = facts.groups.iter().filter(|group| group.is_protected()).count();
    if protected < 2 {
        return Vec::new();
    }
    each(facts, |group| {
        let hook = group.hooks.iter().find(|hook| hook.is_ours() && hook.event == Event::After)?;
        let bake = policy_of(facts, group)?.bake;
        let why = format!(
            "{protected} protected functions are in this template, and this one bakes for {} min: when another one fails meanwhile, the \
             stack rolls back at once, and CodeDeploy refuses that (a conflicting deployment is in progress)",
            bake.as_secs() / 60
        );
        let fix = "a bake of 5m or less, or a stack for each function; docs/operations.md says what to do when it has happened";
        (bake > BAKE_IN_COMPANY_MAX).then(|| Found::new(hook.place.clone(), why, fix))
    })
}

/// From first to all traffic.
fn shift(facts: &Facts<'_>, group: &Group<'_>, name: &Text) -> Option<Duration> {
    if let Some(config) = custom_config(facts, name) {
        let traffic = config.get("TrafficRoutingConfig")?;
        let number = |path: &[&str]| traffic.find(path).and_then(Node::number);
        let minutes = match traffic.get("Type")?.known()? {
            "TimeBasedCanary" => number(&["TimeBasedCanary", "CanaryInterval"])?,
            "TimeBasedLinear" => {
                let steps = 100.0 / number(&["TimeBasedLinear", "LinearPercentage"])?;
                number(&["TimeBasedLinear", "LinearInterval"])? * (steps.ceil() - 1.0)
            }
            _ => return None,
        };
        return Duration::try_from_secs_f64(minutes * 60.0).ok();
    }
    let name = name.known()?;
    let plain = name.strip_prefix(PREFIX).unwrap_or(name);
    let short = configs::find(&format!("Lambda{name}")).filter(|_| group.is_sam);
    let (_, minutes) = short.or_else(|| configs::find(plain))?;
    Some(Duration::from_secs(minutes * 60))
}
