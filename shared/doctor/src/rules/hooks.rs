//! Lifecycle hooks: functions that CodeDeploy calls, and that have to answer.

use super::Found;
use crate::facts::{Event, Facts, Hook, LATEST, SAM_FUNCTION, functions};
use crate::finding::Severity;
use crate::template::{Node, Place, Resource, Text};
use crate::words::words;
use snapback_core::deployment::OUR_HOOKS;

const ANSWER: &str = "codedeploy:PutLifecycleEventHookExecutionStatus";
/// What the managed policies let CodeDeploy invoke.
const PREFIX: &str = "CodeDeployHook_";
/// CodeDeploy waits so long for the answer of a hook, in seconds.
const HOUR: f64 = 3_600.0;
/// What Lambda does when nothing is said, in seconds and attempts.
const AGE_DEFAULT: f64 = 21_600.0;
const RETRIES_DEFAULT: f64 = 2.0;
/// Property of a SAM function, and name of the resource of all others, that says how Lambda calls it.
const CONFIG: &str = "EventInvokeConfig";
/// The longest time-out of a function, in seconds.
const TIMEOUT_MAX: f64 = 900.0;

/// Each hook whose function is in the template, with it.
fn each<'a, 'b>(facts: &'b Facts<'a>, found: impl Fn(&'b Hook<'a>, &'a Resource) -> Option<Found>) -> Vec<Found> {
    facts.hooks().filter_map(|hook| found(hook, hook.function?)).collect()
}

pub(super) fn name(facts: &Facts<'_>) -> Vec<Found> {
    let each = facts.groups.iter().flat_map(|group| group.hooks.iter().map(move |hook| (group, hook)));
    let found = each.filter_map(|(group, hook)| {
        let may = group.role.may_invoke(&hook.name, hook.function.is_some())?;
        let why = format!(
            "the service role may only invoke functions called {PREFIX}…, and this hook is `{}`: the deployment fails with IAM_ROLE_PERMISSIONS",
            hook.name
        );
        let place = match hook.function.filter(|function| function.get("FunctionName").is_some()) {
            Some(function) => function.place("Properties.FunctionName"),
            None => hook.place.clone(),
        };
        let fix = format!("FunctionName: {PREFIX}…, or lambda:InvokeFunction on the hook for the service role");
        (!may).then(|| Found::new(place, why, fix))
    });
    found.collect()
}

pub(super) fn cannot_answer(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |_, function| {
        let may = facts.grants(function).allows(ANSWER)?;
        let why = "its role has no codedeploy:PutLifecycleEventHookExecutionStatus: it can never answer, and the deployment fails after an hour";
        (!may).then(|| Found::new(function.place(""), why, format!("allow {ANSWER} on the deployment group")))
    })
}

/// How Lambda calls a function that nobody waits for.
struct Invocation<'a> {
    function: &'a Resource,
    /// What is called of it.
    qualifier: &'a Text,
    /// The configuration, where there is one, and the resource and path where it stands.
    config: Option<&'a Node>,
    resource: &'a Resource,
    path: &'static str,
}

impl<'a> Invocation<'a> {
    /// `None`: nobody can tell.
    fn of(facts: &Facts<'a>, hook: &'a Hook<'_>, function: &'a Resource) -> Option<Self> {
        let qualifier = hook.qualifier.as_ref()?;
        // A function that is not SAM's has no such property: CloudFormation refuses it.
        let own = function.get(CONFIG);
        let path = if own.is_some() { "Properties.EventInvokeConfig" } else { "" };
        let without = Self { function, qualifier, config: None, resource: function, path };
        if let Some(config) = own.filter(|_| function.kind == SAM_FUNCTION) {
            // SAM puts it on the alias that it publishes, where there is one.
            let alias = function.get("AutoPublishAlias");
            let on = alias.map_or_else(|| Some(Text::literal(LATEST)), |alias| alias.text().cloned())?;
            if config.is_unknown() {
                return None;
            }
            if is_same(&on, qualifier)? {
                return Some(Self { config: Some(config), ..without });
            }
        }
        let is_its = |config: &&Resource| {
            config.text("FunctionName").is_some_and(|name| facts.function_name(name) == function.name())
        };
        for config in facts.template.of_kind("AWS::Lambda::EventInvokeConfig").filter(is_its) {
            if is_same(config.text("Qualifier")?, qualifier)? {
                let config_of = Some(&config.properties);
                return Some(Self { config: config_of, resource: config, path: "Properties", ..without });
            }
        }
        Some(without)
    }

    /// How to write a setting where it counts.
    fn fix(&self, setting: &str) -> String {
        let alias = self.function.get("AutoPublishAlias");
        let is_sam = self.function.kind == SAM_FUNCTION;
        if self.config.is_some() {
            return setting.to_owned();
        }
        if is_sam && alias.is_none() && self.qualifier.known() == Some(LATEST) {
            return format!("{CONFIG}: {{ {setting} }}");
        }
        // In an account the id is an ARN, and there is nothing to refer to.
        let id = &self.function.id;
        let name = if id.contains(':') { self.function.name().to_string() } else { format!("!Ref {id}") };
        let why = if is_sam && alias.is_some() {
            " (SAM puts the function's own on its alias, which is not what is called)"
        } else {
            ""
        };
        let qualifier = self.qualifier;
        format!(
            "a resource AWS::Lambda::EventInvokeConfig: {{ FunctionName: {name}, Qualifier: {qualifier}, {setting} }}{why}"
        )
    }

    /// A number of the configuration, or the default; `None`: nobody can tell.
    fn number(&self, name: &str, default: f64) -> Option<f64> {
        self.config.and_then(|config| config.get(name)).map_or(Some(default), Node::number)
    }

    fn place(&self, name: &str) -> Place {
        self.resource.place(&format!("{}.{name}", self.path))
    }
}

/// Whether two qualifiers are the same; `None`: nobody can tell.
fn is_same(one: &Text, other: &Text) -> Option<bool> {
    if one == other { Some(true) } else { one.known().and(other.known()).map(|_| false) }
}

pub(super) fn retries(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |hook, function| {
        let invocation = Invocation::of(facts, hook, function)?;
        let retries = invocation.number("MaximumRetryAttempts", RETRIES_DEFAULT)?;
        let why = format!(
            "Lambda repeats a hook that failed, minutes later (MaximumRetryAttempts {retries}): a check is judged by its repetition, or when the deployment is over"
        );
        let fix = invocation.fix("MaximumRetryAttempts: 0");
        (retries > 0.0).then(|| Found::new(invocation.place("MaximumRetryAttempts"), why, fix))
    })
}

pub(super) fn destination(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |hook, function| {
        let invocation = Invocation::of(facts, hook, function)?;
        let on_failure = invocation.config.and_then(|config| config.find(&["DestinationConfig", "OnFailure"]));
        let queue = if function.kind == SAM_FUNCTION { "DeadLetterQueue" } else { "DeadLetterConfig" };
        let queue = function.get(queue);
        let is_open =
            invocation.config.and_then(|config| config.get("DestinationConfig")).is_some_and(Node::is_unknown);
        let why = "a hook that fails (error at start, out of memory, time-out) answers nobody, and the deployment hangs for an hour; nobody is told";
        let setting = invocation.fix("DestinationConfig: { OnFailure: … }");
        let fix = format!("tell a function that answers Failed, or a topic: {setting}");
        let is_missing = on_failure.is_none() && queue.is_none() && !is_open;
        is_missing.then(|| Found::new(invocation.place("DestinationConfig"), why, fix))
    })
}

pub(super) fn outlasts_hour(facts: &Facts<'_>) -> Vec<Found> {
    each(facts, |hook, function| {
        let timeout = match function.get("Timeout") {
            Some(timeout) => timeout.number()?,
            None => 0.0,
        };
        let place = function.place("Properties.Timeout");
        if timeout > TIMEOUT_MAX {
            let why = format!(
                "a time-out of {timeout} s is more than Lambda's {TIMEOUT_MAX} s; CodeDeploy waits {HOUR} s for an answer"
            );
            let fix = format!("Timeout: {TIMEOUT_MAX} at most; hand longer work to another process that answers");
            return Some(Found::new(place, why, fix).with_severity(Severity::Error));
        }
        let invocation = Invocation::of(facts, hook, function)?;
        let age = invocation.number("MaximumEventAgeInSeconds", AGE_DEFAULT)?;
        let why = format!(
            "a throttled hook may begin {age} s late; CodeDeploy gives up after {HOUR} s, and by then it checks what is long gone"
        );
        let fix = invocation.fix("MaximumEventAgeInSeconds: 60");
        (age + timeout > HOUR).then(|| Found::new(invocation.place("MaximumEventAgeInSeconds"), why, fix))
    })
}

pub(super) fn wrong_event(facts: &Facts<'_>) -> Vec<Found> {
    let found = facts.hooks().filter_map(|hook| {
        let says = event_in(&hook.name.to_string())?;
        let (is, should) = match hook.event {
            Event::Before => ("before traffic shifts", "after it"),
            Event::After => ("after traffic has shifted", "before it"),
        };
        let why = format!("`{}` is called {is}, and by its name it should be called {should}", hook.name);
        (says != hook.event).then(|| Found::new(hook.place.clone(), why, "name it at the other event"))
    });
    found.collect()
}

/// The event that a function's name speaks of: `beforeAllowTraffic`, `pre-traffic`, `PostHook`. A `post` alone may well be HTTP's.
fn event_in(name: &str) -> Option<Event> {
    let words = words(name);
    let is_about = |word: &str| ["traffic", "allow", "hook", "shift"].iter().any(|about| word.starts_with(about));
    let speaks_of = |prefixes: [&str; 2]| {
        let fused = |word: &String| prefixes.iter().any(|prefix| word.strip_prefix(prefix).is_some_and(is_about));
        let apart = |pair: &[String]| {
            let [first, second] = pair else { return false };
            prefixes.contains(&first.as_str()) && is_about(second)
        };
        words.iter().any(fused) || words.windows(2).any(apart)
    };
    match (speaks_of(["pre", "before"]), speaks_of(["post", "after"])) {
        (true, false) => Some(Event::Before),
        (false, true) => Some(Event::After),
        (true, true) | (false, false) => None,
    }
}

pub(super) fn unknown_event(facts: &Facts<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (kind, path, known, hint) in [
        (
            SAM_FUNCTION,
            "Properties.DeploymentPreference.Hooks",
            &["PreTraffic", "PostTraffic"][..],
            "PreTraffic or PostTraffic",
        ),
        (
            "AWS::Lambda::Alias",
            "UpdatePolicy.CodeDeployLambdaAliasUpdate",
            &["ApplicationName", "DeploymentGroupName", "BeforeAllowTrafficHook", "AfterAllowTrafficHook"][..],
            "BeforeAllowTrafficHook or AfterAllowTrafficHook",
        ),
    ] {
        for resource in facts.template.of_kind(kind) {
            let below = path.split('.').skip(1);
            let root = if path.starts_with("Properties") { &resource.properties } else { &resource.update_policy };
            let node = below.into_iter().try_fold(root, |node, name| node.get(name));
            for member in node.map_or(&[][..], Node::members) {
                if !known.contains(&member.name.as_str()) {
                    let why = format!("`{}` is no hook of a deployment to Lambda: nothing is called", member.name);
                    found.push(Found::new(resource.place(&format!("{path}.{}", member.name)), why, hint));
                }
            }
        }
    }
    found
}

pub(super) fn replaced(facts: &Facts<'_>) -> Vec<Found> {
    let is_protected = facts.groups.iter().any(|group| group.is_protected());
    if !is_protected || !facts.template.is_whole {
        return Vec::new();
    }
    let is_hook =
        |function: &Resource| function.name().starts_with(PREFIX) == Some(true) || facts.grants(function).names(ANSWER);
    let is_called =
        |function: &Resource| facts.hooks().any(|hook| hook.name == function.name()) || facts.is_mentioned(function);
    let ours = |function: &Resource| function.name().starts_with(OUR_HOOKS) == Some(true);
    let left =
        functions(facts.template).filter(|function| is_hook(function) && !is_called(function) && !ours(function));
    let found = left.map(|function| {
        let why = "it can answer CodeDeploy, and no deployment group names it any more: since Snapback's hooks stand in its place, its check is not made";
        let fix = "name it in the policy: before_traffic: { probes: [{ function: { arn: … } }] }, or delete it";
        Found::new(function.place(""), why, fix)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_in_names() {
        let table = [
            ("CodeDeployHook_snapback-before-allow-traffic", Some(Event::Before)),
            ("CodeDeployHook_ordersPostTraffic", Some(Event::After)),
            ("PreTrafficHookFunction", Some(Event::Before)),
            ("${AfterAllowTraffic}", Some(Event::After)),
            ("shop-prod-preHook", Some(Event::Before)),
            ("CodeDeployHook_posttraffic", Some(Event::After)),
            ("CodeDeployHook_post-orders", None),
            ("CodeDeployHook_preview", None),
            ("preTraffic-postTraffic", None),
        ];
        for (name, expected) in table {
            assert_eq!(event_in(name), expected, "{name}");
        }
    }
}
