//! What can go wrong in a scenario: faults of a version, and of the world in which it is deployed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::span::Span;

/// Faults of one version of the demo application.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VersionFaults {
    /// Share of requests that end in a function error.
    pub errors: Option<f64>,
    /// Share of requests that are never answered: the service's time-out ends them.
    pub hang_share: Option<f64>,
    /// Share of requests that are answered with status 500.
    pub handled_5xx: Option<f64>,
    /// Share of requests that are answered with status 400.
    pub handled_4xx: Option<f64>,
    /// Milliseconds added to each request, or to the share `slow-share`.
    pub latency_ms: Option<u32>,
    /// Share of requests to which `latency-ms` is added.
    pub slow_share: Option<f64>,
    /// Milliseconds added to each request for every second that its process has lived.
    pub leak_ms_per_second: Option<u32>,
    /// Milliseconds that a process takes before it can serve.
    pub init_ms: Option<u32>,
    /// Milliseconds after its first checkout in which a process is slower.
    pub warm_up_ms: Option<u32>,
    /// Milliseconds added to each request meanwhile.
    pub warm_up_extra_ms: Option<u32>,
    /// Share of the requests that the alias sends to this version and that never arrive: no invocation, no metric.
    pub lost_share: Option<f64>,
    /// Share of payments that fail while the request itself succeeds.
    pub failed_transactions: Option<f64>,
    /// Status that /health answers.
    pub health_status: Option<u16>,
    /// The process dies at init.
    #[serde(default)]
    pub crash_at_init: bool,
    /// Share of requests in the middle of which the process dies.
    pub crash_share: Option<f64>,
    /// Only so many environments have these faults, those that are started first.
    pub broken_environments: Option<u32>,
    /// Faults begin this many milliseconds after the version's first request; in environments that are started later, at once.
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
        let shares = [
            ("DEMO_ERROR_RATE", self.errors),
            ("DEMO_HANG_RATE", self.hang_share),
            ("DEMO_CRASH_RATE", self.crash_share),
            ("DEMO_HANDLED_5XX_RATE", self.handled_5xx),
            ("DEMO_HANDLED_4XX_RATE", self.handled_4xx),
            ("DEMO_SLOW_RATE", self.slow_share),
            ("DEMO_FAIL_TRANSACTIONS_RATE", self.failed_transactions),
        ];
        let milliseconds = [
            ("DEMO_LATENCY_MS", self.latency_ms),
            ("DEMO_LEAK_MS_PER_SECOND", self.leak_ms_per_second),
            ("DEMO_INIT_MS", self.init_ms),
            ("DEMO_WARM_UP_MS", self.warm_up_ms),
            ("DEMO_WARM_UP_EXTRA_MS", self.warm_up_extra_ms),
            ("DEMO_FAULT_AFTER_MS", self.after_ms),
        ];
        for (name, share) in shares {
            set(name, share.map(|share| share.to_string()));
        }
        for (name, ms) in milliseconds {
            set(name, ms.map(|ms| ms.to_string()));
        }
        set("DEMO_HEALTH_STATUS", self.health_status.map(|status| status.to_string()));
        set("DEMO_BROKEN_ENVIRONMENTS", self.broken_environments.map(|count| count.to_string()));
        set("DEMO_CRASH_AT_INIT", self.crash_at_init.then(|| "true".to_owned()));
        variables
    }

    /// The first share that is not within 0 to 1, by its key.
    pub(crate) fn wrong_share(&self) -> Option<(&'static str, f64)> {
        let shares = [
            ("errors", self.errors),
            ("hang-share", self.hang_share),
            ("crash-share", self.crash_share),
            ("handled-5xx", self.handled_5xx),
            ("handled-4xx", self.handled_4xx),
            ("slow-share", self.slow_share),
            ("failed-transactions", self.failed_transactions),
            ("lost-share", self.lost_share),
        ];
        let mut given = shares.into_iter().filter_map(|(key, share)| Some((key, share?)));
        given.find(|(_, share)| !(0.0..=1.0).contains(share))
    }
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
    /// A service outside that every version of the demo application calls.
    Dependency {
        /// Share of calls that fail, 0 to 1.
        fails: f64,
        /// What becomes of a checkout whose call fails.
        #[serde(default)]
        answer: DependencyAnswer,
    },
    /// Metrics of one namespace come late, and trickle in.
    Metrics {
        /// For example `AWS/Lambda`.
        namespace: String,
        /// From the time at which they would have arrived until the first of a second can be read.
        late: Span,
        /// Only those of this version, by its name in the scenario.
        #[serde(default)]
        version: Option<String>,
    },
}

/// What a checkout answers when its dependency fails. `/health` says 503 either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DependencyAnswer {
    /// A function error.
    #[default]
    Error,
    /// Status 500.
    #[serde(rename = "status-500")]
    Status500,
}

/// Something that can be fixed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fixable {
    /// The dependency of every version.
    Dependency,
    /// Late metrics: new points come in time.
    Metrics,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_become_variables_of_the_demo_application() {
        let text = "{errors: 0.5, hang-share: 0.25, handled-4xx: 1, latency-ms: 900, slow-share: 0.1, leak-ms-per-second: 20, \
                    init-ms: 1000, warm-up-ms: 1500, warm-up-extra-ms: 200, lost-share: 0.98, crash-at-init: true, crash-share: 0.75, \
                    broken-environments: 1}";
        let faults: VersionFaults = serde_saphyr::from_str(text).unwrap();
        let said: Vec<String> = faults.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "DEMO_BROKEN_ENVIRONMENTS=1",
            "DEMO_CRASH_AT_INIT=true",
            "DEMO_CRASH_RATE=0.75",
            "DEMO_ERROR_RATE=0.5",
            "DEMO_HANDLED_4XX_RATE=1",
            "DEMO_HANG_RATE=0.25",
            "DEMO_INIT_MS=1000",
            "DEMO_LATENCY_MS=900",
            "DEMO_LEAK_MS_PER_SECOND=20",
            "DEMO_SLOW_RATE=0.1",
            "DEMO_WARM_UP_EXTRA_MS=200",
            "DEMO_WARM_UP_MS=1500",
        ];
        assert_eq!(said, expected, "lost requests never meet the application");
        assert!(VersionFaults::default().environment().is_empty());
    }

    #[test]
    fn faults_of_the_world_are_read() {
        let table = [
            ("{dependency: {fails: 0.6}}", Fault::Dependency { fails: 0.6, answer: DependencyAnswer::Error }),
            (
                "{dependency: {fails: 1, answer: status-500}}",
                Fault::Dependency { fails: 1.0, answer: DependencyAnswer::Status500 },
            ),
            (
                "{metrics: {namespace: AWS/Lambda, late: 8s}}",
                Fault::Metrics { namespace: "AWS/Lambda".to_owned(), late: Span::seconds(8), version: None },
            ),
        ];
        for (text, expected) in table {
            assert_eq!(serde_saphyr::from_str::<Fault>(text).unwrap(), expected, "{text}");
        }
    }
}
