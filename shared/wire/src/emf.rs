//! Metrics as one line of JSON on standard output (embedded metric format). At least once: reports use the table.

use serde_json::{Map, Value, json};
use snapback_core::{GroupRef, Timestamp};

/// Namespace of all metrics of Snapback.
pub const NAMESPACE: &str = "Snapback";
/// Dimension of [`ServiceMetric`]s.
pub const SERVICE: &str = "Service";
/// Dimension of [`ServiceMetric`]s beside the service.
pub const CAUSE: &str = "Cause";
/// Dimension of [`ServiceMetric`]s beside the service.
pub const TRIGGER: &str = "Trigger";
/// Dimension of [`ServiceMetric::HookDuration`] beside the service: CodeDeploy's word for the answer, or [`BAKING`].
pub const RESULT: &str = "Result";
/// The result of a hook that stays unanswered for the time of the bake.
pub const BAKING: &str = "Baking";
/// Dimension of [`GroupSeries`]: `application/group`.
pub const DEPLOYMENT_GROUP: &str = "DeploymentGroup";

/// What is counted and timed per service. There is never a deployment id among the dimensions: every combination of
/// values is a metric that costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceMetric {
    /// Rollbacks.
    Rollbacks,
    /// Rollbacks that were held back.
    RollbacksHeld,
    /// Versions refused before traffic.
    Refusals,
    /// From the first impact to the decision, ms.
    TimeToDetect,
    /// From the decision to the old version having all traffic, ms.
    TimeToRollBack,
    /// From the first impact to good evidence again, ms.
    TimeToRecover,
    /// Deployments that ended well after a warning.
    Inconclusive,
    /// How long a hook ran, ms.
    HookDuration,
    /// Deployments that were watched.
    DeploymentsWatched,
    /// Times that evidence was missing.
    EvidenceMissing,
}

impl ServiceMetric {
    /// Its name in CloudWatch.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rollbacks => "Rollbacks",
            Self::RollbacksHeld => "RollbacksHeld",
            Self::Refusals => "Refusals",
            Self::TimeToDetect => "TimeToDetect",
            Self::TimeToRollBack => "TimeToRollBack",
            Self::TimeToRecover => "TimeToRecover",
            Self::Inconclusive => "Inconclusive",
            Self::HookDuration => "HookDuration",
            Self::DeploymentsWatched => "DeploymentsWatched",
            Self::EvidenceMissing => "EvidenceMissing",
        }
    }

    /// Its unit in CloudWatch.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Rollbacks
            | Self::RollbacksHeld
            | Self::Refusals
            | Self::Inconclusive
            | Self::DeploymentsWatched
            | Self::EvidenceMissing => "Count",
            Self::TimeToDetect | Self::TimeToRollBack | Self::TimeToRecover | Self::HookDuration => "Milliseconds",
        }
    }
}

/// The series per deployment group; the alarms of [`crate::alarms`] watch the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupSeries {
    /// 1 in every tick in which all live deployments of the group were judged on readable evidence.
    Heartbeat,
    /// 1 while CodeDeploy shall roll back by itself, else 0.
    Verdict,
    /// 1 while a pause holds for the group, else 0.
    Paused,
}

impl GroupSeries {
    /// Its name in CloudWatch.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heartbeat => "Heartbeat",
            Self::Verdict => "Verdict",
            Self::Paused => "Paused",
        }
    }
}

/// One line with counts and times of a service, also by each of `more`.
///
/// * `more`: names and values of dimensions beside the service.
/// * `metrics`: at least one, each at most once; counts, or milliseconds.
#[must_use]
pub fn counts_and_times(
    at: Timestamp,
    service: &str,
    more: &[(&'static str, &str)],
    metrics: &[(ServiceMetric, u64)],
) -> String {
    let mut sets = vec![vec![SERVICE]];
    sets.extend(more.iter().map(|(name, _)| vec![SERVICE, *name]));
    let service: String = service.chars().take(1_024).collect();
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let dimensions = std::iter::once((SERVICE, service)).chain(more);
    let metrics = metrics.iter().map(|(metric, value)| (metric.as_str(), metric.unit(), *value));
    line(at, &sets, dimensions, metrics)
}

/// One line with a value of a group's series.
#[must_use]
pub fn group_series(at: Timestamp, group: &GroupRef, series: GroupSeries, value: u64) -> String {
    line(at, &[vec![DEPLOYMENT_GROUP]], [(DEPLOYMENT_GROUP, group.to_string())], [(series.as_str(), "Count", value)])
}

fn line(
    at: Timestamp,
    dimension_sets: &[Vec<&str>],
    dimensions: impl IntoIterator<Item = (&'static str, String)>,
    metrics: impl IntoIterator<Item = (&'static str, &'static str, u64)>,
) -> String {
    let mut root = Map::new();
    for (name, value) in dimensions {
        root.insert(name.to_owned(), value.into());
    }
    let mut definitions = Vec::new();
    for (name, unit, value) in metrics {
        root.insert(name.to_owned(), value.into());
        definitions.push(json!({ "Name": name, "Unit": unit }));
    }
    let directive = json!({
        "Namespace": NAMESPACE,
        "Dimensions": dimension_sets,
        "Metrics": definitions,
    });
    root.insert("_aws".to_owned(), json!({ "Timestamp": at.ms(), "CloudWatchMetrics": [directive] }));
    Value::Object(root).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_complete_document() {
        let at = Timestamp::from_ms(1_795_169_726_900);
        let metrics = [(ServiceMetric::Rollbacks, 1), (ServiceMetric::TimeToDetect, 4_200)];
        let line = counts_and_times(at, "check\nout", &[(CAUSE, "errors"), (TRIGGER, "alarm")], &metrics);
        assert!(!line.contains('\n'), "{line}");
        let expected = json!({
            "_aws": {
                "Timestamp": 1_795_169_726_900_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Snapback",
                    "Dimensions": [["Service"], ["Service", "Cause"], ["Service", "Trigger"]],
                    "Metrics": [
                        { "Name": "Rollbacks", "Unit": "Count" },
                        { "Name": "TimeToDetect", "Unit": "Milliseconds" },
                    ],
                }],
            },
            "Service": "check\nout",
            "Cause": "errors",
            "Trigger": "alarm",
            "Rollbacks": 1,
            "TimeToDetect": 4_200,
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
    }

    #[test]
    fn without_more_there_is_the_service_alone() {
        let at = Timestamp::from_ms(0);
        let line = counts_and_times(at, "checkout", &[], &[(ServiceMetric::DeploymentsWatched, 3)]);
        let document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(document["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Service"]]));
        assert!(document.get("Cause").is_none());
    }

    #[test]
    fn series_are_by_group() {
        let group = GroupRef::parse("shop/live").unwrap();
        let line = group_series(Timestamp::from_ms(5), &group, GroupSeries::Heartbeat, 1);
        let document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(document["DeploymentGroup"], "shop/live");
        assert_eq!(document["Heartbeat"], 1);
        assert_eq!(document["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["DeploymentGroup"]]));
    }
}
