//! How canary and baseline are compared, as people write it.

use super::duration::DurationText;
use super::share::{PointsText, ShareText};
use super::{PolicyError, file::default_judge};
use serde::{Deserialize, Serialize};
use snapback_core::canary::Metric;
use snapback_core::measure::{Api, Source};
use snapback_core::policy::{AgainstBaseline, Judge, Overrides};
use std::collections::BTreeMap;

/// Dimensions that a custom metric may have, beside that of the version.
const MAX_DIMENSIONS: usize = 29;

/// Where the counts of a signal come from; exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum MetricFile {
    /// Metrics that the service publishes itself, for example in the embedded metric format.
    Custom(CustomFile),
    /// API Gateway, REST: 4XXError, 5XXError and Count of a stage. Not split by version, so compared with the past only.
    RestApi(RestApiFile),
    /// API Gateway, HTTP: 4xx, 5xx and Count of a stage. Not split by version, so compared with the past only.
    HttpApi(HttpApiFile),
    /// Application Load Balancer: HTTPCode_Target_4XX_Count, HTTPCode_Target_5XX_Count and RequestCount. Not split by version,
    /// so compared with the past only.
    LoadBalancer(LoadBalancerFile),
}

/// Metrics that the service publishes itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct CustomFile {
    /// Namespace of all of them.
    namespace: String,
    /// Metric that counts every request, or every attempted transaction.
    all: String,
    /// Metric that counts the bad ones: answers with 5xx that Lambda does not count as errors, or failed transactions.
    bad: String,
    /// Metric that counts answers with 4xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_errors: Option<String>,
    /// Dimensions of the metrics, without that of the version.
    #[serde(default)]
    dimensions: BTreeMap<String, String>,
    /// Name of the dimension that holds the version number of the function; without it the metrics are compared with the past
    /// only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

/// A stage of a REST API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RestApiFile {
    /// Name of the API.
    name: String,
    /// Its stage.
    stage: String,
}

/// A stage of an HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct HttpApiFile {
    /// Id of the API.
    id: String,
    /// Its stage.
    stage: String,
}

/// A target group of a load balancer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct LoadBalancerFile {
    /// The end of its ARN, for example app/shop/50dc6c495c0c9188.
    load_balancer: String,
    /// The end of the target group's ARN, for example targetgroup/checkout/73e2d6bc24d8a067.
    target_group: String,
}

/// What is changed of the recommended comparison for one metric.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct OverridesFile {
    /// Share of the evidence budget, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    /// How many times the old version's rate is tolerated in the same minutes, 1 or more. Traffic: the share of its due below
    /// which too little arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    /// What is tolerated on top of it, in points, for example 0.05pp.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<PointsText>,
    /// How much rates of equal versions differ in one minute, as a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    noise: Option<f64>,
    /// As factor, against the past, when the new version has all traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_factor: Option<f64>,
    /// As points, against the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_points: Option<PointsText>,
    /// As noise, against the past.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_noise: Option<f64>,
    /// Most evidence that one minute may give, as a natural logarithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    cap: Option<f64>,
    /// How many events the first guess of the usual rate is worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    prior_events: Option<f64>,
    /// How clumpy events may be believed to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    dispersion_max: Option<f64>,
}

/// Canary against baseline; an empty object takes everything as recommended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct AgainstBaselineFile {
    /// Signal errors: function errors and handled 5xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    e5: Option<OverridesFile>,
    /// Signal errors: 4xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    e4: Option<OverridesFile>,
    /// Signal latency: slower than the usual median.
    #[serde(skip_serializing_if = "Option::is_none")]
    q50: Option<OverridesFile>,
    /// Signal latency: slower than the usual 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    q90: Option<OverridesFile>,
    /// Signal latency: slower than the usual 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    q99: Option<OverridesFile>,
    /// Signal transactions.
    #[serde(skip_serializing_if = "Option::is_none")]
    tx: Option<OverridesFile>,
    /// Signal availability: requests that reach the new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<OverridesFile>,
}

/// Times and strictness of the comparison of canary and baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct JudgeFile {
    /// Length of a bucket: 5s, 10s, 30s or 60s. Requests and durations are Lambda's own metrics, with one point a minute, so
    /// shorter buckets are only for rehearsals.
    bucket: DurationText,
    /// A bucket is used this long after its end at the earliest, 0s to 1m: CloudWatch's newest points still grow.
    settle: DurationText,
    /// How long one version's numbers wait for the other's, settle to 5m. Functions with a time-out over a minute get their
    /// time-out and a minute.
    grace: DurationText,
    /// When a bucket of which nothing came is given up, grace to 5m.
    dark: DurationText,
    /// How much of the past is the baseline, one bucket to 3h; with buckets below a minute to 165m. At most 1080 buckets.
    history: DurationText,
    /// Half-life of what is usual.
    long: DurationText,
    /// Half-life of what was usual lately.
    recent: DurationText,
    /// Half-life of the worst that the old version did lately.
    peak: DurationText,
    /// Traffic that is younger than this may be slower: cold starts.
    young: DurationText,
    /// Bound on the chance of a false rollback, for example 5%.
    alpha: ShareText,
}

impl Default for JudgeFile {
    fn default() -> Self {
        Self::from(&default_judge())
    }
}

impl From<&Judge> for JudgeFile {
    fn from(judge: &Judge) -> Self {
        Self {
            bucket: DurationText(judge.bucket),
            settle: DurationText(judge.settle),
            grace: DurationText(judge.grace),
            dark: DurationText(judge.dark),
            history: DurationText(judge.history),
            long: DurationText(judge.long),
            recent: DurationText(judge.recent),
            peak: DurationText(judge.peak),
            young: DurationText(judge.young),
            alpha: ShareText(judge.alpha),
        }
    }
}

impl From<JudgeFile> for Judge {
    fn from(file: JudgeFile) -> Self {
        Self {
            bucket: file.bucket.0,
            settle: file.settle.0,
            grace: file.grace.0,
            dark: file.dark.0,
            history: file.history.0,
            long: file.long.0,
            recent: file.recent.0,
            peak: file.peak.0,
            young: file.young.0,
            alpha: file.alpha.0,
        }
    }
}

impl AgainstBaselineFile {
    fn parts(&mut self) -> [(Metric, &mut Option<OverridesFile>); 7] {
        [
            (Metric::E5, &mut self.e5),
            (Metric::E4, &mut self.e4),
            (Metric::Q50, &mut self.q50),
            (Metric::Q90, &mut self.q90),
            (Metric::Q99, &mut self.q99),
            (Metric::Tx, &mut self.tx),
            (Metric::Traffic, &mut self.traffic),
        ]
    }
}

impl From<AgainstBaselineFile> for AgainstBaseline {
    fn from(mut file: AgainstBaselineFile) -> Self {
        let present = file.parts().into_iter().filter_map(|(metric, part)| Some((metric, part.take()?.into())));
        present.collect()
    }
}

impl From<&AgainstBaseline> for AgainstBaselineFile {
    fn from(comparison: &AgainstBaseline) -> Self {
        let mut file = Self::default();
        for (metric, part) in file.parts() {
            *part = comparison.get(&metric).map(OverridesFile::from);
        }
        file
    }
}

impl From<OverridesFile> for Overrides {
    fn from(file: OverridesFile) -> Self {
        Self {
            weight: file.weight,
            factor: file.factor,
            points: file.points.map(|points| points.0),
            noise: file.noise,
            after_factor: file.after_factor,
            after_points: file.after_points.map(|points| points.0),
            after_noise: file.after_noise,
            cap: file.cap,
            prior_events: file.prior_events,
            dispersion_max: file.dispersion_max,
        }
    }
}

impl From<&Overrides> for OverridesFile {
    fn from(overrides: &Overrides) -> Self {
        Self {
            weight: overrides.weight,
            factor: overrides.factor,
            points: overrides.points.map(PointsText),
            noise: overrides.noise,
            after_factor: overrides.after_factor,
            after_points: overrides.after_points.map(PointsText),
            after_noise: overrides.after_noise,
            cap: overrides.cap,
            prior_events: overrides.prior_events,
            dispersion_max: overrides.dispersion_max,
        }
    }
}

impl MetricFile {
    /// `path`: of this part, for messages.
    pub(super) fn into_source(self, path: &str) -> Result<Source, PolicyError> {
        let text = |name: &str, value: String, most: usize| {
            let is_valid = (1..=most).contains(&value.chars().count()) && !value.chars().any(char::is_control);
            if is_valid {
                return Ok(value);
            }
            let why = format!("`{}` is not a text of 1 to {most} characters", crate::reader::quote(&value));
            Err(PolicyError::Field { path: format!("{path}.{name}"), why })
        };
        Ok(match self {
            Self::Custom(custom) => {
                if custom.dimensions.len() > MAX_DIMENSIONS {
                    let why = format!("{} dimensions, allowed are {MAX_DIMENSIONS}", custom.dimensions.len());
                    return Err(PolicyError::Field { path: format!("{path}.custom.dimensions"), why });
                }
                if let Some(version) = custom.version.as_ref().filter(|name| custom.dimensions.contains_key(*name)) {
                    let why = format!(
                        "`{}` is the dimension of the version, whose value Snapback knows",
                        crate::reader::quote(version)
                    );
                    return Err(PolicyError::Field { path: format!("{path}.custom.dimensions"), why });
                }
                if custom.all == custom.bad {
                    let why = "is also `all`: every request would be a bad one".to_owned();
                    return Err(PolicyError::Field { path: format!("{path}.custom.bad"), why });
                }
                let mut dimensions = BTreeMap::new();
                for (name, value) in custom.dimensions {
                    let at = "custom.dimensions";
                    dimensions.insert(text(at, name, 255)?, text(at, value, 1024)?);
                }
                Source::Custom {
                    namespace: text("custom.namespace", custom.namespace, 255)?,
                    all: text("custom.all", custom.all, 255)?,
                    bad: text("custom.bad", custom.bad, 255)?,
                    client_errors: custom
                        .client_errors
                        .map(|name| text("custom.client_errors", name, 255))
                        .transpose()?,
                    dimensions,
                    version: custom.version.map(|name| text("custom.version", name, 255)).transpose()?,
                }
            }
            Self::RestApi(api) => Source::Api(Api::Rest {
                name: text("rest_api.name", api.name, 1024)?,
                stage: text("rest_api.stage", api.stage, 128)?,
            }),
            Self::HttpApi(api) => Source::Api(Api::Http {
                id: text("http_api.id", api.id, 128)?,
                stage: text("http_api.stage", api.stage, 128)?,
            }),
            Self::LoadBalancer(part) => Source::Api(Api::LoadBalancer {
                load_balancer: text("load_balancer.load_balancer", part.load_balancer, 255)?,
                target_group: text("load_balancer.target_group", part.target_group, 255)?,
            }),
        })
    }
}

impl From<&Source> for MetricFile {
    fn from(source: &Source) -> Self {
        match source.clone() {
            Source::Custom { namespace, all, bad, client_errors, dimensions, version } => {
                Self::Custom(CustomFile { namespace, all, bad, client_errors, dimensions, version })
            }
            Source::Api(Api::Rest { name, stage }) => Self::RestApi(RestApiFile { name, stage }),
            Source::Api(Api::Http { id, stage }) => Self::HttpApi(HttpApiFile { id, stage }),
            Source::Api(Api::LoadBalancer { load_balancer, target_group }) => {
                Self::LoadBalancer(LoadBalancerFile { load_balancer, target_group })
            }
        }
    }
}
