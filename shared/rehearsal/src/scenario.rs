//! Scenario files: what goes wrong, and how it must end. They hold causes only, never a metric value, an alarm state or a
//! hook's answer (but where a scenario is about exactly that).

mod file;
mod of;

pub use of::Of;

use crate::fault::{Fault, Fixable, VersionFaults};
use crate::install::SERVICE;
use crate::span::Span;
use of::Named;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The scenarios that come with Snapback, by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("healthy", include_str!("../scenarios/healthy.yaml")),
    ("alarm-red-before", include_str!("../scenarios/alarm-red-before.yaml")),
    ("errors-in-canary", include_str!("../scenarios/errors-in-canary.yaml")),
    ("latency-in-canary", include_str!("../scenarios/latency-in-canary.yaml")),
    ("transactions-failing", include_str!("../scenarios/transactions-failing.yaml")),
    ("crash-at-init", include_str!("../scenarios/crash-at-init.yaml")),
    ("failing-probe", include_str!("../scenarios/failing-probe.yaml")),
    ("hook-crash", include_str!("../scenarios/hook-crash.yaml")),
    ("hook-panics", include_str!("../scenarios/hook-panics.yaml")),
    ("hook-times-out", include_str!("../scenarios/hook-times-out.yaml")),
    ("hook-never-ran", include_str!("../scenarios/hook-never-ran.yaml")),
    ("hook-denied", include_str!("../scenarios/hook-denied.yaml")),
    ("destination-denied", include_str!("../scenarios/destination-denied.yaml")),
    ("after-hook-crash", include_str!("../scenarios/after-hook-crash.yaml")),
    ("breach-in-bake", include_str!("../scenarios/breach-in-bake.yaml")),
    ("alarm-twice", include_str!("../scenarios/alarm-twice.yaml")),
    ("event-lost", include_str!("../scenarios/event-lost.yaml")),
    ("snapback-down", include_str!("../scenarios/snapback-down.yaml")),
    ("stop-denied", include_str!("../scenarios/stop-denied.yaml")),
    ("watcher-dead-in-bake", include_str!("../scenarios/watcher-dead-in-bake.yaml")),
    ("worse-fix", include_str!("../scenarios/worse-fix.yaml")),
    ("alarm-action", include_str!("../scenarios/alarm-action.yaml")),
    ("alarm-handler-down", include_str!("../scenarios/alarm-handler-down.yaml")),
    ("sweep-alone", include_str!("../scenarios/sweep-alone.yaml")),
    ("only-the-last-hook", include_str!("../scenarios/only-the-last-hook.yaml")),
    ("app-spec-in-yaml", include_str!("../scenarios/app-spec-in-yaml.yaml")),
    ("redeploy-refused", include_str!("../scenarios/redeploy-refused.yaml")),
    ("sns-down", include_str!("../scenarios/sns-down.yaml")),
    ("table-down", include_str!("../scenarios/table-down.yaml")),
    ("operator-promotes", include_str!("../scenarios/operator-promotes.yaml")),
    ("operator-rolls-back", include_str!("../scenarios/operator-rolls-back.yaml")),
    ("paused", include_str!("../scenarios/paused.yaml")),
    ("stack-return", include_str!("../scenarios/stack-return.yaml")),
    ("slow-leak", include_str!("../scenarios/slow-leak.yaml")),
    ("tail-latency", include_str!("../scenarios/tail-latency.yaml")),
    ("handled-5xx-in-canary", include_str!("../scenarios/handled-5xx-in-canary.yaml")),
    ("hangs-until-timeout", include_str!("../scenarios/hangs-until-timeout.yaml")),
    ("silent-outage", include_str!("../scenarios/silent-outage.yaml")),
    ("shared-incident", include_str!("../scenarios/shared-incident.yaml")),
    ("shared-incident-in-bake", include_str!("../scenarios/shared-incident-in-bake.yaml")),
    ("cold-start", include_str!("../scenarios/cold-start.yaml")),
    ("bad-baseline", include_str!("../scenarios/bad-baseline.yaml")),
    ("tiny-traffic", include_str!("../scenarios/tiny-traffic.yaml")),
    ("metrics-late", include_str!("../scenarios/metrics-late.yaml")),
    ("metrics-very-late", include_str!("../scenarios/metrics-very-late.yaml")),
    ("new-series-late", include_str!("../scenarios/new-series-late.yaml")),
    ("traffic-ends", include_str!("../scenarios/traffic-ends.yaml")),
    ("burst-is-over", include_str!("../scenarios/burst-is-over.yaml")),
    ("nobody-calls-either", include_str!("../scenarios/nobody-calls-either.yaml")),
    ("heartbeat-late", include_str!("../scenarios/heartbeat-late.yaml")),
    ("metrics-denied", include_str!("../scenarios/metrics-denied.yaml")),
    ("one-deployment-stuck", include_str!("../scenarios/one-deployment-stuck.yaml")),
    ("fast-errors", include_str!("../scenarios/fast-errors.yaml")),
    ("fast-crash", include_str!("../scenarios/fast-crash.yaml")),
    ("fast-in-bake", include_str!("../scenarios/fast-in-bake.yaml")),
    ("fast-one-environment", include_str!("../scenarios/fast-one-environment.yaml")),
    ("fast-both-suffer", include_str!("../scenarios/fast-both-suffer.yaml")),
    ("fast-throttled", include_str!("../scenarios/fast-throttled.yaml")),
    ("two-services", include_str!("../scenarios/two-services.yaml")),
    ("bad-neighbour", include_str!("../scenarios/bad-neighbour.yaml")),
    ("bad-neighbour-in-bake", include_str!("../scenarios/bad-neighbour-in-bake.yaml")),
    ("stack-rolls-back-two", include_str!("../scenarios/stack-rolls-back-two.yaml")),
    ("alarm-from-before", include_str!("../scenarios/alarm-from-before.yaml")),
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
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Name; built-in ones have that of their file.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// Traffic before the first step. Without: 40 requests, or 35 s where a policy compares with the old version, which needs a
    /// history.
    pub warm_up: Option<Span>,
    /// The services, by their names; at least one. A scenario without `services` has one, [`SERVICE`], whose keys stand beside the
    /// scenario's.
    pub services: Vec<Service>,
    /// What happens, in order; afterwards the last deployment of each service is seen through to its end.
    pub steps: Vec<Step>,
}

/// A service with a deployment group of its own: function, alias, alarms, policy and customers.
#[derive(Debug, Clone)]
pub struct Service {
    /// Name of the service and of its CodeDeploy application, for example `checkout`. Its alarms begin with it.
    pub name: String,
    /// Name of its function.
    pub function: String,
    /// Name of its deployment group.
    pub group: String,
    /// How its last deployment must end; `None`: none is started.
    pub expect: Option<Expect>,
    /// Requests a second through the alias.
    pub load: f64,
    /// Name of the REST API in front of it, whose stage `prod` counts all services behind it together; `None`: there is none. Its
    /// alarm is `SERVICE-api-availability`.
    pub api: Option<String>,
    /// Deployment configuration: a predefined one, or a canary of our own.
    pub shift: Shift,
    /// Faults of each version of the demo application, by name; `live` is the one that serves at the beginning.
    pub versions: BTreeMap<String, VersionFaults>,
    /// A request that takes longer harms its customer; 600 ms, above a cold start and below the slow versions.
    pub slow_above: Option<Span>,
    /// Time-out of its function, 10 s.
    pub timeout: Option<Span>,
    /// Requests that one of its processes serves at once, 64. With 1 each process that is added is a cold start.
    pub concurrency: Option<u32>,
    /// Lifecycle events for which the AppSpec names a hook of Snapback.
    pub hooks: Vec<Hook>,
    /// How the AppSpec is written.
    pub app_spec: AppSpecFormat,
    /// Whether the raw alarms also call Snapback's alarm handler directly, as their action.
    pub alarm_actions: bool,
    /// What the policy starts from.
    pub policy_preset: PolicyPreset,
    /// Merged over the policy (an object replaces member by member, null removes).
    pub policy: Value,
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
    Compared,
}

/// Outcome, cause and trigger in Snapback's words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// For example `rolled-back-in-shift`.
    pub outcome: String,
    /// For example `errors`.
    #[serde(default)]
    pub cause: Expected,
    /// For example `alarm`.
    #[serde(default)]
    pub trigger: Expected,
    /// Longest time from the first harmed request to the accepted call, as AWS counts it: an AWS minute has 60 s.
    #[serde(default, rename = "requested-within")]
    pub requested_within: Option<Span>,
}

/// What a member of the end must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// The member is left out: whatever it is, it is not compared.
    #[default]
    Anything,
    /// `null`: there is none.
    Nothing,
    /// This.
    Value(String),
}

impl Expected {
    /// Whether `found` is as expected.
    #[must_use]
    pub fn fits(&self, found: Option<&str>) -> bool {
        match self {
            Self::Anything => true,
            Self::Nothing => found.is_none(),
            Self::Value(value) => found == Some(value),
        }
    }
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Nothing, Self::Value))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anything => "anything",
            Self::Nothing => "none",
            Self::Value(value) => value,
        })
    }
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

/// One thing that happens. Where a scenario has several services, `deploy` and `repair-alias` say which one:
/// `deploy: { service: payments, version: bad }`. So may `wait` (`{ service: payments, moment: held }`) and `operate`
/// (`{ service: payments, verb: promote }`); without, they are about the last deployment, whosever it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Step {
    /// Somebody deploys this version.
    Deploy(Of<Version>),
    /// Goes on when this has happened to the last deployment.
    Wait(Of<Moment>),
    /// Something breaks, from now on, for all services.
    Break(Fault),
    /// One thing works again.
    Fix(Fixable),
    /// Everything that was broken works again.
    FixAll,
    /// Somebody stops the last deployment, without rollback.
    StopWithoutRollback,
    /// Somebody repairs the alias: all traffic to this version.
    RepairAlias(Of<Version>),
    /// A person runs `snapback promote` or `snapback rollback` about the last deployment.
    Operate(Of<Verb>),
    /// From now on so many requests a second come.
    Load(Of<Rate>),
    /// A person runs `snapback pause`: the whole installation only observes.
    Pause,
    /// Goes on when this raw alarm is red.
    WaitForRed(String),
    /// Lets this many seconds pass, for what must not happen in them.
    Calm(u32),
}

/// The name of a version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

impl Named for Version {
    const KEY: &'static str = "version";
}

/// Requests a second.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Rate(pub f64);

impl Named for Rate {
    const KEY: &'static str = "rate";
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

impl Named for Verb {
    const KEY: &'static str = "verb";
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

impl Named for Moment {
    const KEY: &'static str = "moment";
}

/// Names of all built-in scenarios, in the order in which they are played.
#[must_use]
pub fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

/// Traffic before the first step where a policy compares versions: more than its history.
const WARM_UP_COMPARED: Duration = Duration::from_secs(35);

impl Scenario {
    /// See [`Scenario::warm_up`]; `None` = 40 requests.
    #[must_use]
    pub fn warm_up_time(&self) -> Option<Duration> {
        let compares = self.services.iter().any(|service| service.policy_preset == PolicyPreset::Compared);
        self.warm_up.map(|span| span.0).or(compares.then_some(WARM_UP_COMPARED))
    }

    /// Requests a second of all services.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.services.iter().map(|service| service.load).sum()
    }

    /// The outcome that the last deployment must have.
    #[must_use]
    pub fn expected_outcome(&self) -> &str {
        let deployed = self.steps.iter().rev().find_map(|step| match step {
            Step::Deploy(of) => self.service(of.service.as_deref()),
            Step::Wait(_)
            | Step::Break(_)
            | Step::Fix(_)
            | Step::FixAll
            | Step::StopWithoutRollback
            | Step::RepairAlias(_)
            | Step::Operate(_)
            | Step::Load(_)
            | Step::Pause
            | Step::WaitForRed(_)
            | Step::Calm(_) => None,
        });
        deployed.and_then(|service| service.expect.as_ref()).map_or("", |expect| &expect.outcome)
    }

    /// The service called `name`; without a name the only one.
    pub(crate) fn service(&self, name: Option<&str>) -> Option<&Service> {
        match (name, self.services.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), services) => services.iter().find(|service| service.name == name),
        }
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
        file::scenario(name, text).map_err(|why| ScenarioError::Invalid { name: name.to_owned(), why })
    }
}

impl Service {
    /// The service [`SERVICE`] as a scenario's keys (YAML) describe it, for who plays no scenario with it.
    ///
    /// # Errors
    /// Says where and why.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        file::service(SERVICE, text).map_err(|why| ScenarioError::Invalid { name: SERVICE.to_owned(), why })
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

    #[test]
    fn the_examples_of_the_readme_are_scenarios() {
        let examples = include_str!("../README.md").split("```yaml\n").skip(1);
        let examples: Vec<&str> = examples.map(|rest| rest.split("```").next().unwrap()).collect();
        assert_eq!(examples.len(), 2);
        for text in examples {
            Scenario::parse("readme", text).unwrap();
        }
    }

    fn with(line: &str) -> String {
        format!("{{about: a, expect: {{outcome: promoted}}, steps: [{{deploy: live}}], {line}}}")
    }

    #[test]
    fn a_comparison_needs_a_history() {
        let table = [
            ("load: 1", None),
            ("policy-preset: compared", Some(35)),
            ("{policy-preset: compared, warm-up: 10s}", Some(10)),
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
            ("old preset", &with("policy-preset: judged"), "judged"),
            ("old step", "{about: a, expect: {outcome: held}, steps: [{deploy: live}, mend-all]}", "mend-all"),
            ("services of a scenario", &with("services: {a: {}}"), "`expect` stands at each of the `services`"),
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

    fn several(services: &str, steps: &str) -> String {
        format!("{{about: a, services: {{{services}}}, steps: [{steps}]}}")
    }

    #[test]
    fn a_scenario_may_have_several_services() {
        let text = several(
            "orders: {expect: {outcome: promoted, cause: null}, load: 5}, payments: {function: pay, group: pay-blue, \
             versions: {bad: {errors: 1}}, policy-preset: compared, expect: {outcome: held}}",
            "{deploy: {service: payments, version: bad}}, {wait: held}, {deploy: {service: orders, version: live}}",
        );
        let scenario = Scenario::parse("two", &text).unwrap();
        let [orders, payments] = scenario.services.as_slice() else { panic!("{scenario:?}") };
        let names = |service: &Service| [&service.name, &service.function, &service.group].map(String::clone);
        assert_eq!(names(orders), ["orders", "orders", "orders-live"]);
        assert_eq!(names(payments), ["payments", "pay", "pay-blue"]);
        assert_eq!((scenario.load(), scenario.expected_outcome()), (45.0, "promoted"));
        assert_eq!(scenario.warm_up_time(), Some(Duration::from_secs(35)), "one of them compares");
        let expect = orders.expect.as_ref().unwrap();
        assert_eq!((&expect.cause, &expect.trigger), (&Expected::Nothing, &Expected::Anything));
    }

    #[test]
    fn wrong_services_say_why() {
        let deploy = "{deploy: {service: a, version: live}}";
        let end = "expect: {outcome: promoted}";
        let table = [
            (several(&format!("a: {{{end}}}, b: {{}}"), "{deploy: live}"), "does not say of which service"),
            (several(&format!("a: {{{end}}}"), "{deploy: {service: c, version: live}}"), "service `c`"),
            (
                several(&format!("a: {{{end}}}"), &format!("{deploy}, {{wait: {{service: c, moment: held}}}}")),
                "service `c`",
            ),
            (several("a: {}", deploy), "`expect` of service `a` is missing"),
            (several(&format!("a: {{{end}}}, b: {{{end}}}"), deploy), "no step deploys it"),
            (several(&format!("a: {{{end}, about: b}}"), deploy), "`about` stands at the scenario"),
            (several(&format!("a: {{{end}, load: 1000}}"), deploy), "allowed is 0 to 500"),
        ];
        for (text, part) in table {
            let error = Scenario::parse("two", &text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_left_out_is_not_compared() {
        let table = [
            (Expected::Anything, Some("errors"), true),
            (Expected::Anything, None, true),
            (Expected::Nothing, Some("errors"), false),
            (Expected::Nothing, None, true),
            (Expected::Value("errors".to_owned()), Some("errors"), true),
            (Expected::Value("errors".to_owned()), None, false),
        ];
        for (expected, found, fits) in table {
            assert_eq!(expected.fits(found), fits, "{expected} {found:?}");
        }
    }
}
