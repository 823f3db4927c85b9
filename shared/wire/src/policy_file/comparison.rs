//! How canary and baseline are compared, as people write it.

use super::duration::DurationText;
use super::share::{PointsText, ShareText};
use super::{PolicyError, file::default_judge};
use serde::{Deserialize, Serialize};
use snapback_core::metrics::{Api, Peer, Route, Source};
use snapback_core::policy::{AgainstBaseline, FastPolicy, Overrides, WitnessPolicy};
use snapback_judge::{Judge, Metric, Signal};
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
    /// Whether requests with the mark `"snapback": {"probe": true}` in their event are left out of the counts. Needed beside
    /// witness.probe and fast, whose calls would be taken for customers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    without_probes: bool,
}

/// A stage of a REST API, or one method of one resource of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RestApiFile {
    /// Name of the API.
    name: String,
    /// Its stage.
    stage: String,
    /// HTTP method of this service, or ANY; together with resource. Without them the whole stage is counted, and what several
    /// services share blames none of them. Needs detailed CloudWatch metrics of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Path of its resource, for example /cart/{id}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
}

/// A stage of an HTTP API, or one route of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct HttpApiFile {
    /// Id of the API.
    id: String,
    /// Its stage.
    stage: String,
    /// Route of this service as the dimension Route of its metrics has it, for example GET /cart/{id}. Without it, and without
    /// method and resource, the whole stage is counted, and what several services share blames none of them. Needs detailed
    /// CloudWatch metrics of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    /// Where its metrics have the dimensions Method and Resource instead: the method; together with resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Path of its resource, for example /cart/{id}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
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
    /// true: this metric is not judged. Nothing else is given beside it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    off: bool,
    /// How many times the old version's rate is tolerated in the same minutes, 1 or more. Body: of its latency. Traffic: the
    /// share of its due below which too little arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    /// What is tolerated on top of it, in points, for example 0.05pp. Not of body and traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<PointsText>,
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
    /// Signal errors: Snapback's own requests to both versions (witness.probe).
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<OverridesFile>,
    /// Signal latency: all requests slower.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<OverridesFile>,
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
    ingestion_delay: DurationText,
    /// How long one version's numbers wait for the other's, ingestion_delay to 5m. Functions with a time-out over a minute get their
    /// time-out and a minute.
    grace: DurationText,
    /// When a bucket without numbers of either version is given up, grace to 5m after its witnesses came.
    no_data_timeout: DurationText,
    /// How much of the past is the baseline, one bucket to 3h; with buckets below a minute to 165m. At most 1080 buckets.
    history: DurationText,
    /// Half-life of what is usual.
    long: DurationText,
    /// Half-life of what was usual lately.
    recent: DurationText,
    /// Half-life of the worst that the old version did lately.
    peak: DurationText,
    /// Traffic that is younger than this may be slower: cold starts.
    warm_up: DurationText,
    /// Length of the minute in which the noise of buckets is shared: 1m; shorter only in rehearsals, whose time is.
    minute: DurationText,
    /// Bound on the chance of a false rollback, for example 1%.
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
            ingestion_delay: DurationText(judge.ingestion_delay),
            grace: DurationText(judge.grace),
            no_data_timeout: DurationText(judge.no_data_timeout),
            history: DurationText(judge.history),
            long: DurationText(judge.long),
            recent: DurationText(judge.recent),
            peak: DurationText(judge.peak),
            warm_up: DurationText(judge.warm_up),
            minute: DurationText(judge.minute),
            alpha: ShareText(judge.alpha),
        }
    }
}

impl From<JudgeFile> for Judge {
    fn from(file: JudgeFile) -> Self {
        Self {
            bucket: file.bucket.0,
            ingestion_delay: file.ingestion_delay.0,
            grace: file.grace.0,
            no_data_timeout: file.no_data_timeout.0,
            history: file.history.0,
            long: file.long.0,
            recent: file.recent.0,
            peak: file.peak.0,
            warm_up: file.warm_up.0,
            minute: file.minute.0,
            alpha: file.alpha.0,
        }
    }
}

impl AgainstBaselineFile {
    fn parts(&mut self) -> [(Metric, &mut Option<OverridesFile>); 8] {
        [
            (Metric::E5, &mut self.e5),
            (Metric::E4, &mut self.e4),
            (Metric::Probe, &mut self.probe),
            (Metric::Body, &mut self.body),
            (Metric::Q90, &mut self.q90),
            (Metric::Q99, &mut self.q99),
            (Metric::Tx, &mut self.tx),
            (Metric::Traffic, &mut self.traffic),
        ]
    }

    /// `path`: of this part, for messages.
    pub(super) fn into_comparison(mut self, signal: Signal, path: &str) -> Result<AgainstBaseline, PolicyError> {
        let present = self.parts().into_iter().filter_map(|(metric, part)| Some((metric, part.take()?)));
        let comparison: AgainstBaseline = present
            .map(|(metric, part)| Ok((metric, part.into_overrides(&format!("{path}.{metric}"))?)))
            .collect::<Result<_, PolicyError>>()?;
        let is_off = |metric: &Metric| comparison.get(metric) == Some(&Overrides::Off);
        if Metric::COMPARED.iter().filter(|metric| Signal::from(**metric) == signal).all(is_off) {
            let why = "every metric is off, so nothing is compared: leave it out".to_owned();
            return Err(PolicyError::Field { path: path.to_owned(), why });
        }
        Ok(comparison)
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

impl OverridesFile {
    fn into_overrides(self, path: &str) -> Result<Overrides, PolicyError> {
        match self {
            Self { off: false, factor, points } => {
                Ok(Overrides::Margin { factor, points: points.map(|points| points.0) })
            }
            Self { off: true, factor: None, points: None } => Ok(Overrides::Off),
            Self { off: true, .. } => {
                let why = "is true beside factor or points: what is not judged has no margin".to_owned();
                Err(PolicyError::Field { path: format!("{path}.off"), why })
            }
        }
    }
}

impl From<&Overrides> for OverridesFile {
    fn from(overrides: &Overrides) -> Self {
        match *overrides {
            Overrides::Off => Self { off: true, ..Self::default() },
            Overrides::Margin { factor, points } => Self { off: false, factor, points: points.map(PointsText) },
        }
    }
}

impl MetricFile {
    /// `path`: of this part, for messages.
    pub(super) fn into_source(self, path: &str) -> Result<Source, PolicyError> {
        let text = |name: &str, value: String, most: usize| text(&format!("{path}.{name}"), value, most);
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
                    without_probes: custom.without_probes,
                }
            }
            Self::RestApi(api) => Source::Api(api.into_api(&format!("{path}.rest_api"))?),
            Self::HttpApi(api) => Source::Api(api.into_api(&format!("{path}.http_api"))?),
            Self::LoadBalancer(part) => Source::Api(part.into_api(&format!("{path}.load_balancer"))?),
        })
    }
}

fn text(path: &str, value: String, most: usize) -> Result<String, PolicyError> {
    let is_valid = (1..=most).contains(&value.chars().count()) && !value.chars().any(char::is_control);
    if is_valid {
        return Ok(value);
    }
    let why = format!("`{}` is not a text of 1 to {most} characters", crate::reader::quote(&value));
    Err(PolicyError::Field { path: path.to_owned(), why })
}

impl RestApiFile {
    fn into_api(self, path: &str) -> Result<Api, PolicyError> {
        let route = method_of(path, self.method, self.resource)?;
        Ok(Api::Rest {
            name: text(&format!("{path}.name"), self.name, 1024)?,
            stage: text(&format!("{path}.stage"), self.stage, 128)?,
            route,
        })
    }
}

/// A method of a resource; both or none.
fn method_of(path: &str, method: Option<String>, resource: Option<String>) -> Result<Option<Route>, PolicyError> {
    match (method, resource) {
        (None, None) => Ok(None),
        (Some(method), Some(resource)) => Ok(Some(Route::Method {
            method: text(&format!("{path}.method"), method, 16)?,
            resource: text(&format!("{path}.resource"), resource, 1024)?,
        })),
        (method, _) => {
            let missing = if method.is_none() { "method" } else { "resource" };
            let why = "is missing: CloudWatch counts a method of a resource".to_owned();
            Err(PolicyError::Field { path: format!("{path}.{missing}"), why })
        }
    }
}

impl HttpApiFile {
    fn into_api(self, path: &str) -> Result<Api, PolicyError> {
        let route = match (self.route, method_of(path, self.method, self.resource)?) {
            (Some(_), Some(_)) => {
                let why = "is given beside method and resource: CloudWatch has one or the other".to_owned();
                return Err(PolicyError::Field { path: format!("{path}.route"), why });
            }
            (Some(route), None) => Some(Route::Named(text(&format!("{path}.route"), route, 1024)?)),
            (None, method) => method,
        };
        Ok(Api::Http {
            id: text(&format!("{path}.id"), self.id, 128)?,
            stage: text(&format!("{path}.stage"), self.stage, 128)?,
            route,
        })
    }
}

impl LoadBalancerFile {
    fn into_api(self, path: &str) -> Result<Api, PolicyError> {
        Ok(Api::LoadBalancer {
            load_balancer: text(&format!("{path}.load_balancer"), self.load_balancer, 255)?,
            target_group: text(&format!("{path}.target_group"), self.target_group, 255)?,
        })
    }
}

impl From<&Source> for MetricFile {
    fn from(source: &Source) -> Self {
        match source.clone() {
            Source::Custom { namespace, all, bad, client_errors, dimensions, version, without_probes } => {
                Self::Custom(CustomFile { namespace, all, bad, client_errors, dimensions, version, without_probes })
            }
            Source::Api(api) => match FrontFile::from(api) {
                FrontFile::RestApi(api) => Self::RestApi(api),
                FrontFile::HttpApi(api) => Self::HttpApi(api),
                FrontFile::LoadBalancer(part) => Self::LoadBalancer(part),
            },
        }
    }
}

impl From<Api> for FrontFile {
    fn from(api: Api) -> Self {
        match api {
            Api::Rest { name, stage, route } => {
                let (_, method, resource) = members(route);
                Self::RestApi(RestApiFile { name, stage, method, resource })
            }
            Api::Http { id, stage, route } => {
                let (route, method, resource) = members(route);
                Self::HttpApi(HttpApiFile { id, stage, route, method, resource })
            }
            Api::LoadBalancer { load_balancer, target_group } => {
                Self::LoadBalancer(LoadBalancerFile { load_balancer, target_group })
            }
        }
    }
}

/// Route, method and resource as a policy names them.
fn members(route: Option<Route>) -> (Option<String>, Option<String>, Option<String>) {
    match route {
        Some(Route::Named(route)) => (Some(route), None, None),
        Some(Route::Method { method, resource }) => (None, Some(method), Some(resource)),
        None => (None, None, None),
    }
}

/// Witnesses beside traffic: what tells whether a difference can be laid to the version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct WitnessFile {
    /// What stands in front of the service: counts its requests, whoever answers, so that requests that get lost are seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    front: Option<FrontFile>,
    /// Other services behind the same dependencies, as FUNCTION:ALIAS, at most 5: when they fail too, the version is not blamed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<String>,
    /// Snapback calls both versions itself, with the probes that say repeatable: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeWitnessFile>,
}

/// What stands in front of the service; exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum FrontFile {
    /// API Gateway, REST: Count of a method of a resource.
    RestApi(RestApiFile),
    /// API Gateway, HTTP: Count of a route.
    HttpApi(HttpApiFile),
    /// Application Load Balancer: RequestCount.
    LoadBalancer(LoadBalancerFile),
}

/// Snapback's own requests beside traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct ProbeWitnessFile {
    /// How often each version is called: 1s. Less, down to 20ms, is only meant for rehearsals.
    every: DurationText,
}

impl Default for ProbeWitnessFile {
    fn default() -> Self {
        Self { every: DurationText(std::time::Duration::from_secs(1)) }
    }
}

/// Pairs of probes, judged every second: a total fault that a probe can see is undone in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct FastFile {
    /// Names of probes with repeatable: true, called in turn.
    probes: Vec<String>,
    /// Pairs that are sent at once when the new version is suspected, 0 to 50; 0: the pairs only advise.
    #[serde(default = "default_burst")]
    burst: u8,
}

const fn default_burst() -> u8 {
    10
}

impl WitnessFile {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn into_witness(self) -> Result<WitnessPolicy, PolicyError> {
        let path = "witness.front";
        let front = self.front.map(|front| match front {
            FrontFile::RestApi(api) => api.into_api(&format!("{path}.rest_api")),
            FrontFile::HttpApi(api) => api.into_api(&format!("{path}.http_api")),
            FrontFile::LoadBalancer(part) => part.into_api(&format!("{path}.load_balancer")),
        });
        let front = front.transpose()?;
        if front.as_ref().is_some_and(Api::is_shared) {
            let why = "counts a whole stage: name the method and resource, or the route, of this service".to_owned();
            return Err(PolicyError::Field { path: path.to_owned(), why });
        }
        let peers = self.peers.into_iter().enumerate().map(|(index, name)| peer(index, &name));
        Ok(WitnessPolicy {
            front,
            peers: peers.collect::<Result<_, _>>()?,
            probe_every: self.probe.map(|probe| probe.every.0),
        })
    }
}

fn peer(index: usize, name: &str) -> Result<Peer, PolicyError> {
    let is_name = |name: &str, most: usize| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=most).contains(&name.len()) && name.bytes().all(is_known)
    };
    match name.split_once(':') {
        Some((function, alias)) if is_name(function, 64) && is_name(alias, 128) => {
            Ok(Peer { function: function.to_owned(), alias: alias.to_owned() })
        }
        _ => {
            let why = format!("`{}` is not FUNCTION:ALIAS", crate::reader::quote(name));
            Err(PolicyError::Field { path: format!("witness.peers[{index}]"), why })
        }
    }
}

impl From<&WitnessPolicy> for WitnessFile {
    fn from(witness: &WitnessPolicy) -> Self {
        Self {
            front: witness.front.clone().map(FrontFile::from),
            peers: witness.peers.iter().map(ToString::to_string).collect(),
            probe: witness.probe_every.map(|every| ProbeWitnessFile { every: DurationText(every) }),
        }
    }
}

impl From<FastFile> for FastPolicy {
    fn from(file: FastFile) -> Self {
        Self { probes: file.probes, burst: file.burst }
    }
}

impl From<&FastPolicy> for FastFile {
    fn from(fast: &FastPolicy) -> Self {
        Self { probes: fast.probes.clone(), burst: fast.burst }
    }
}
