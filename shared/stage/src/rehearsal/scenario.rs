//! Scenario files: what goes wrong, and how it must end. They hold causes only, never a metric value, an alarm state or a
//! hook's answer (but where a scenario is about exactly that).

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The scenarios that come with Snapback, by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("healthy", include_str!("../../scenarios/healthy.yaml")),
    ("alarm-red-before", include_str!("../../scenarios/alarm-red-before.yaml")),
    ("errors-in-canary", include_str!("../../scenarios/errors-in-canary.yaml")),
    ("latency-in-canary", include_str!("../../scenarios/latency-in-canary.yaml")),
    ("transactions-failing", include_str!("../../scenarios/transactions-failing.yaml")),
    ("crash-at-init", include_str!("../../scenarios/crash-at-init.yaml")),
    ("failing-probe", include_str!("../../scenarios/failing-probe.yaml")),
    ("hook-crash", include_str!("../../scenarios/hook-crash.yaml")),
    ("hook-panics", include_str!("../../scenarios/hook-panics.yaml")),
    ("hook-times-out", include_str!("../../scenarios/hook-times-out.yaml")),
    ("hook-never-ran", include_str!("../../scenarios/hook-never-ran.yaml")),
    ("hook-denied", include_str!("../../scenarios/hook-denied.yaml")),
    ("destination-denied", include_str!("../../scenarios/destination-denied.yaml")),
    ("after-hook-crash", include_str!("../../scenarios/after-hook-crash.yaml")),
    ("breach-in-bake", include_str!("../../scenarios/breach-in-bake.yaml")),
    ("alarm-twice", include_str!("../../scenarios/alarm-twice.yaml")),
    ("event-lost", include_str!("../../scenarios/event-lost.yaml")),
    ("snapback-down", include_str!("../../scenarios/snapback-down.yaml")),
    ("stop-denied", include_str!("../../scenarios/stop-denied.yaml")),
    ("watcher-dead-in-bake", include_str!("../../scenarios/watcher-dead-in-bake.yaml")),
    ("redeploy-refused", include_str!("../../scenarios/redeploy-refused.yaml")),
    ("sns-down", include_str!("../../scenarios/sns-down.yaml")),
    ("table-down", include_str!("../../scenarios/table-down.yaml")),
    ("operator-promotes", include_str!("../../scenarios/operator-promotes.yaml")),
    ("operator-rolls-back", include_str!("../../scenarios/operator-rolls-back.yaml")),
    ("stack-return", include_str!("../../scenarios/stack-return.yaml")),
];

/// A scenario that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// No built-in scenario has this name.
    #[error("there is no scenario `{name}`; there are: {}", names().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The text is not a scenario.
    #[error("scenario {name} is not valid: {why}")]
    Invalid {
        /// Its name or file.
        name: String,
        /// Where and why.
        why: String,
    },
}

/// One rehearsal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Name; built-in ones have that of their file.
    #[serde(default)]
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// How the last deployment must end.
    pub expect: Expect,
    /// Requests a second through the alias.
    #[serde(default = "default_load")]
    pub load: f64,
    /// Deployment configuration: a predefined one, or a canary of our own.
    #[serde(default)]
    pub shift: Shift,
    /// Faults of each version of the demo application, by name; `live` is the one that serves at the beginning.
    #[serde(default)]
    pub versions: BTreeMap<String, VersionFaults>,
    /// Merged over the built-in policy (an object replaces member by member, null removes).
    #[serde(default)]
    pub policy: Value,
    /// What happens, in order; afterwards the last deployment is seen through to its end.
    pub steps: Vec<Step>,
}

fn default_load() -> f64 {
    40.0
}

/// Outcome, cause and trigger in Snapback's words; null where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// For example `rolled-back-in-shift`.
    pub outcome: String,
    /// For example `errors`.
    #[serde(default)]
    pub cause: Option<String>,
    /// For example `alarm`.
    #[serde(default)]
    pub trigger: Option<String>,
}

/// How traffic shifts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Shift {
    /// Name of a deployment configuration.
    Predefined(String),
    /// A canary: this share at once, the rest after so many AWS minutes.
    Canary {
        /// Per cent.
        percent: u32,
        /// AWS minutes.
        minutes: u32,
    },
}

impl Default for Shift {
    fn default() -> Self {
        Self::Predefined("CodeDeployDefault.LambdaCanary10Percent5Minutes".to_owned())
    }
}

/// Faults of one version of the demo application.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VersionFaults {
    /// Share of requests that end in a function error.
    pub errors: Option<f64>,
    /// Share of requests that are answered with status 500.
    pub handled_5xx: Option<f64>,
    /// Milliseconds added to each request.
    pub latency_ms: Option<u32>,
    /// Share of payments that fail while the request itself succeeds.
    pub failed_transactions: Option<f64>,
    /// Status that /health answers.
    pub health_status: Option<u16>,
    /// The process dies at init.
    #[serde(default)]
    pub crash_at_init: bool,
    /// Faults begin this many milliseconds after the version's first request.
    pub after_ms: Option<u32>,
}

impl VersionFaults {
    /// Environment variables of the demo application.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                variables.insert(name.to_owned(), value);
            }
        };
        set("DEMO_ERROR_RATE", self.errors.map(|rate| rate.to_string()));
        set("DEMO_HANDLED_5XX_RATE", self.handled_5xx.map(|rate| rate.to_string()));
        set("DEMO_LATENCY_MS", self.latency_ms.map(|ms| ms.to_string()));
        set("DEMO_FAIL_TRANSACTIONS_RATE", self.failed_transactions.map(|rate| rate.to_string()));
        set("DEMO_HEALTH_STATUS", self.health_status.map(|status| status.to_string()));
        set("DEMO_CRASH_AT_INIT", self.crash_at_init.then(|| "true".to_owned()));
        set("DEMO_FAULT_AFTER_MS", self.after_ms.map(|ms| ms.to_string()));
        variables
    }
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Step {
    /// Somebody deploys this version.
    Deploy(String),
    /// Goes on when this has happened to the last deployment.
    Wait(Moment),
    /// Something breaks, from now on.
    Break(Fault),
    /// Everything that was broken works again.
    MendAll,
    /// Somebody stops the last deployment, without rollback.
    StopWithoutRollback,
    /// Somebody repairs the alias: all traffic to this version.
    RepairAlias(String),
    /// A person runs `snapback promote` or `snapback rollback` about the last deployment.
    Operate(Verb),
    /// Goes on when this raw alarm is red.
    WaitForRed(String),
    /// Lets this many seconds pass, for what must not happen in them.
    Calm(u32),
}

/// A verb of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// End the bake early.
    Promote,
    /// Go back.
    Rollback,
}

/// A moment in the life of a deployment, as CodeDeploy, the alias and the table know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// The new version gets its first traffic.
    ShiftStarted,
    /// All traffic has moved and the last hook runs.
    BakeStarted,
    /// CodeDeploy's rollback deployment is over and the alias is back.
    RolledBack,
    /// CodeDeploy has ended the deployment.
    Ended,
    /// Snapback's record is closed and complete.
    Closed,
}

/// Something that breaks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Fault {
    /// A function of Snapback; `all` is every one of them.
    Function {
        /// Name without prefix, for example `watcher`.
        name: String,
        /// How.
        does: FunctionFault,
    },
    /// A function dies in the moment of its first call of this action.
    DiesAtCall {
        /// Name without prefix.
        function: String,
        /// For example `codedeploy:GetDeployment`.
        action: String,
    },
    /// Calls of AWS.
    Calls {
        /// Who; `all` is every function.
        by: String,
        /// For example `codedeploy:StopDeployment`, or with a star at the end.
        action: String,
        /// What becomes of them.
        does: CallFault,
    },
    /// Events on their way to functions.
    Events {
        /// For example `CloudWatch Alarm State Change`.
        detail_type: String,
        /// What becomes of them.
        does: EventFault,
    },
}

/// What is wrong with a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FunctionFault {
    /// Its process dies at init.
    CannotStart,
    /// It is frozen the moment it gets an event, until its time-out kills it.
    Freeze,
    /// Its handler panics with each event (another binary runs in its place).
    Panic,
    /// Every invocation fails without running.
    Fail,
    /// Events are accepted and never run.
    Ignore,
    /// Its on-failure destination may not be invoked.
    DenyDestination,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallFault {
    /// Refused as by IAM.
    Deny,
    /// Refused by a rate limit.
    Throttle,
    /// An internal error.
    Fail,
    /// Never answered.
    Hang,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventFault {
    /// Never arrives.
    Lose,
    /// Arrives twice.
    Double,
    /// Arrives after the next one.
    Reorder,
    /// Arrives three seconds late.
    Delay,
}

/// Names of all built-in scenarios, in the order in which they are played.
#[must_use]
pub fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

impl Scenario {
    /// The built-in scenario `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn built_in(name: &str) -> Result<Self, ScenarioError> {
        let found = BUILT_IN.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| ScenarioError::Unknown { name: name.to_owned() })?;
        Self::parse(name, text)
    }

    /// Reads a scenario from YAML; `name` is used when the text has none.
    ///
    /// # Errors
    /// Says where and why.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let invalid = |why: String| ScenarioError::Invalid { name: name.to_owned(), why };
        let mut scenario: Self = serde_saphyr::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if scenario.name.is_empty() {
            name.clone_into(&mut scenario.name);
        }
        let deploys: Vec<&String> = scenario
            .steps
            .iter()
            .filter_map(|step| if let Step::Deploy(version) = step { Some(version) } else { None })
            .collect();
        if deploys.is_empty() {
            return Err(invalid("no step deploys anything".to_owned()));
        }
        let is_known = |version: &&String| *version == "live" || scenario.versions.contains_key(*version);
        if let Some(unknown) = deploys.into_iter().find(|version| !is_known(version)) {
            return Err(invalid(format!("a step deploys version `{unknown}`, which `versions` does not name")));
        }
        if !(0.0..=500.0).contains(&scenario.load) {
            return Err(invalid(format!("load is {}, allowed is 0 to 500 requests a second", scenario.load)));
        }
        Ok(scenario)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_valid() {
        assert!(!names().is_empty());
        for name in names() {
            let scenario = Scenario::built_in(name).unwrap();
            assert_eq!(scenario.name, name);
        }
    }

    #[test]
    fn a_wrong_scenario_says_why() {
        let table = [
            ("not a mapping", "[]", ""),
            ("nothing deployed", "{about: a, expect: {outcome: promoted}, steps: []}", "no step deploys anything"),
            ("unknown version", "{about: a, expect: {outcome: promoted}, steps: [{deploy: v9}]}", "version `v9`"),
            ("unknown key", "{about: a, expect: {outcome: promoted}, steps: [{deploy: live}], alarm: x}", "alarm"),
        ];
        for (case, text, part) in table {
            let error = Scenario::parse(case, text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(case), "{case}: {error}");
        }
    }
}
