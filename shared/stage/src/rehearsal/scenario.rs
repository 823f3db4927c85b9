//! Scenario files: what goes wrong, and how it must end. They hold causes only, never a metric value, an alarm state or a
//! hook's answer (but where a scenario is about exactly that).

use super::fault::{Fault, Mendable, VersionFaults};
use super::span::Span;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

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
    ("alarm-action", include_str!("../../scenarios/alarm-action.yaml")),
    ("alarm-handler-down", include_str!("../../scenarios/alarm-handler-down.yaml")),
    ("sweep-alone", include_str!("../../scenarios/sweep-alone.yaml")),
    ("only-the-last-hook", include_str!("../../scenarios/only-the-last-hook.yaml")),
    ("app-spec-in-yaml", include_str!("../../scenarios/app-spec-in-yaml.yaml")),
    ("redeploy-refused", include_str!("../../scenarios/redeploy-refused.yaml")),
    ("sns-down", include_str!("../../scenarios/sns-down.yaml")),
    ("table-down", include_str!("../../scenarios/table-down.yaml")),
    ("operator-promotes", include_str!("../../scenarios/operator-promotes.yaml")),
    ("operator-rolls-back", include_str!("../../scenarios/operator-rolls-back.yaml")),
    ("paused", include_str!("../../scenarios/paused.yaml")),
    ("stack-return", include_str!("../../scenarios/stack-return.yaml")),
    ("slow-leak", include_str!("../../scenarios/slow-leak.yaml")),
    ("tail-latency", include_str!("../../scenarios/tail-latency.yaml")),
    ("handled-5xx-in-canary", include_str!("../../scenarios/handled-5xx-in-canary.yaml")),
    ("hangs-until-timeout", include_str!("../../scenarios/hangs-until-timeout.yaml")),
    ("silent-outage", include_str!("../../scenarios/silent-outage.yaml")),
    ("shared-incident", include_str!("../../scenarios/shared-incident.yaml")),
    ("shared-incident-in-bake", include_str!("../../scenarios/shared-incident-in-bake.yaml")),
    ("cold-start", include_str!("../../scenarios/cold-start.yaml")),
    ("bad-baseline", include_str!("../../scenarios/bad-baseline.yaml")),
    ("tiny-traffic", include_str!("../../scenarios/tiny-traffic.yaml")),
    ("metrics-late", include_str!("../../scenarios/metrics-late.yaml")),
    ("heartbeat-late", include_str!("../../scenarios/heartbeat-late.yaml")),
    ("metrics-denied", include_str!("../../scenarios/metrics-denied.yaml")),
    ("one-deployment-stuck", include_str!("../../scenarios/one-deployment-stuck.yaml")),
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
    /// Traffic before the first step. Without: 40 requests, or 35 s where the policy compares with the old version, which
    /// needs a history.
    pub warm_up: Option<Span>,
    /// A request that takes longer harms its customer; 600 ms, above a cold start and below the slow versions.
    pub slow_above: Option<Span>,
    /// Time-out of the service's function, 10 s.
    pub service_timeout: Option<Span>,
    /// Requests that one process of the service serves at once, 64. With 1 each process that is added is a cold start.
    pub service_concurrency: Option<u32>,
    /// Lifecycle events for which the AppSpec names a hook of Snapback, and how it is written.
    #[serde(default = "both_hooks")]
    pub hooks: Vec<Hook>,
    /// See `hooks`.
    #[serde(default)]
    pub app_spec: AppSpecFormat,
    /// Whether the raw alarms also call Snapback's alarm handler directly, as their action.
    #[serde(default)]
    pub alarm_actions: bool,
    /// What the policy starts from.
    #[serde(default)]
    pub policy_preset: PolicyPreset,
    /// Merged over the policy (an object replaces member by member, null removes).
    #[serde(default)]
    pub policy: Value,
    /// What happens, in order; afterwards the last deployment is seen through to its end.
    pub steps: Vec<Step>,
}

fn default_load() -> f64 {
    40.0
}

/// A lifecycle event that may have a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Hook {
    /// Before the new version gets traffic.
    BeforeAllowTraffic,
    /// After it has got all.
    AfterAllowTraffic,
}

impl Hook {
    /// Name of the lifecycle event.
    #[must_use]
    pub fn event(self) -> &'static str {
        match self {
            Self::BeforeAllowTraffic => "BeforeAllowTraffic",
            Self::AfterAllowTraffic => "AfterAllowTraffic",
        }
    }
}

fn both_hooks() -> Vec<Hook> {
    vec![Hook::BeforeAllowTraffic, Hook::AfterAllowTraffic]
}

/// How the AppSpec of a deployment is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppSpecFormat {
    /// As CloudFormation writes it.
    #[default]
    Json,
    /// As people write it.
    Yaml,
}

/// What a scenario's policy starts from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyPreset {
    /// Alarms alone decide.
    #[default]
    Alarms,
    /// The new version is compared with the old one, with times that fit a rehearsal.
    Judged,
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
    /// One thing works again.
    Mend(Mendable),
    /// Everything that was broken works again.
    MendAll,
    /// Somebody stops the last deployment, without rollback.
    StopWithoutRollback,
    /// Somebody repairs the alias: all traffic to this version.
    RepairAlias(String),
    /// A person runs `snapback promote` or `snapback rollback` about the last deployment.
    Operate(Verb),
    /// A person runs `snapback pause`: the whole installation only observes.
    Pause,
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
    /// Snapback holds: it neither promotes nor rolls back, and has said so on the record.
    Held,
    /// CodeDeploy's rollback deployment is over and the alias is back.
    RolledBack,
    /// CodeDeploy has ended the deployment.
    Ended,
    /// Snapback's record is closed and complete.
    Closed,
}

/// Names of all built-in scenarios, in the order in which they are played.
#[must_use]
pub fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

/// Traffic before the first step where the policy compares versions: more than its history.
const WARM_UP_JUDGED: Duration = Duration::from_secs(35);

impl Scenario {
    /// See [`Scenario::warm_up`]; `None` = 40 requests.
    #[must_use]
    pub fn warm_up_time(&self) -> Option<Duration> {
        let by_preset = match self.policy_preset {
            PolicyPreset::Alarms => None,
            PolicyPreset::Judged => Some(WARM_UP_JUDGED),
        };
        self.warm_up.map(|span| span.0).or(by_preset)
    }

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
        match scenario.out_of_range() {
            Some(why) => Err(invalid(why)),
            None => Ok(scenario),
        }
    }

    /// The first value that makes no sense.
    fn out_of_range(&self) -> Option<String> {
        if !(0.0..=500.0).contains(&self.load) {
            return Some(format!("load is {}, allowed is 0 to 500 requests a second", self.load));
        }
        for (version, faults) in &self.versions {
            if let Some((key, share)) = faults.wrong_share() {
                return Some(format!("{key} of version `{version}` is {share}, allowed is 0 to 1"));
            }
        }
        let timeout = self.service_timeout.unwrap_or(Span::seconds(1));
        if !(Span::seconds(1)..=Span::seconds(900)).contains(&timeout) {
            return Some(format!("service-timeout is {} ms, allowed is 1s to 15m", timeout.0.as_millis()));
        }
        if let Some(concurrency) = self.service_concurrency.filter(|most| !(1..=64).contains(most)) {
            return Some(format!("service-concurrency is {concurrency}, allowed is 1 to 64"));
        }
        let fails = self.steps.iter().filter_map(|step| {
            if let Step::Break(Fault::Dependency { fails, .. }) = step { Some(*fails) } else { None }
        });
        let wrong = fails.into_iter().find(|fails| !(0.0..=1.0).contains(fails))?;
        Some(format!("a dependency fails {wrong} of its calls, allowed is 0 to 1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_built_in_scenario_is_valid() {
        assert!(!names().is_empty());
        for name in names() {
            let scenario = Scenario::built_in(name).unwrap();
            assert_eq!(scenario.name, name);
        }
    }

    #[test]
    fn every_file_is_a_scenario() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut files = BTreeSet::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy();
            let scenario = Scenario::parse(&name, &std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(scenario.name, name, "a file's name is that of its scenario");
            files.insert(scenario.name);
        }
        assert_eq!(files, names().into_iter().map(str::to_owned).collect(), "every file is built in");
    }

    fn with(line: &str) -> String {
        format!("{{about: a, expect: {{outcome: promoted}}, steps: [{{deploy: live}}], {line}}}")
    }

    #[test]
    fn a_comparison_needs_a_history() {
        let table = [
            ("load: 1", None),
            ("policy-preset: judged", Some(35)),
            ("{policy-preset: judged, warm-up: 10s}", Some(10)),
            ("warm-up: 2m", Some(120)),
        ];
        for (keys, seconds) in table {
            let scenario = Scenario::parse("a", &with(keys.trim_matches(['{', '}']))).unwrap();
            assert_eq!(scenario.warm_up_time(), seconds.map(Duration::from_secs), "{keys}");
        }
    }

    #[test]
    fn a_wrong_scenario_says_why() {
        let table = [
            ("not a mapping", "[]", ""),
            ("nothing deployed", "{about: a, expect: {outcome: promoted}, steps: []}", "no step deploys anything"),
            ("unknown version", "{about: a, expect: {outcome: promoted}, steps: [{deploy: v9}]}", "version `v9`"),
            ("unknown key", "{about: a, expect: {outcome: promoted}, steps: [{deploy: live}], alarm: x}", "alarm"),
            ("no time", &with("warm-up: 40"), "`40` is no time"),
            ("no time-out", &with("service-timeout: 0s"), "allowed is 1s to 15m"),
            ("no concurrency", &with("service-concurrency: 0"), "allowed is 1 to 64"),
            ("too much", &with("versions: {bad: {lost-share: 1.5}}"), "lost-share of version `bad` is 1.5"),
            ("preset", &with("policy-preset: guessed"), "guessed"),
            (
                "dependency",
                "{about: a, expect: {outcome: held}, steps: [{deploy: live}, {break: {dependency: {fails: 2}}}]}",
                "allowed is 0 to 1",
            ),
        ];
        for (case, text, part) in table {
            let error = Scenario::parse(case, text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(case), "{case}: {error}");
        }
    }
}
