//! What can be measured of a service, in our words; which metric with which dimensions that is, `snapback-aws` knows.

use std::collections::BTreeMap;

/// Whose numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The alias as a whole, all versions behind it.
    Alias,
    /// One version behind the alias.
    Version(String),
}

/// One kind of request count of an API in front of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiCount {
    /// All requests.
    Requests,
    /// Answered with 5xx.
    ServerErrors,
    /// Answered with 4xx.
    ClientErrors,
}

/// A team's own metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomSeries {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Dimensions without that of the version.
    pub dimensions: BTreeMap<String, String>,
    /// Name of the dimension that holds the version number; `None`: the metric is not split by version.
    pub version: Option<String>,
}

/// An API in front of the function. None of them splits its counts by version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Api {
    /// API Gateway, REST.
    Rest {
        /// Name of the API.
        name: String,
        /// Its stage.
        stage: String,
    },
    /// API Gateway, HTTP.
    Http {
        /// Id of the API.
        id: String,
        /// Its stage.
        stage: String,
    },
    /// Application Load Balancer.
    LoadBalancer {
        /// The part of its ARN after `loadbalancer/`, for example `app/shop/50dc6c495c0c9188`.
        load_balancer: String,
        /// The part of the target group's ARN from `targetgroup/` on.
        target_group: String,
    },
}

/// One number for each period.
#[derive(Debug, Clone, PartialEq)]
pub enum Measure {
    /// Invocations of the function.
    Invocations,
    /// Those that ended in a function error.
    FunctionErrors,
    /// Durations on record.
    Durations,
    /// Durations of at most this many milliseconds.
    DurationsUpTo(f64),
    /// Quantile of the durations in milliseconds, in per cent, for example 99.
    DurationPercentile(u8),
    /// Sum of a team's own metric.
    Custom(CustomSeries),
    /// A request count of an API in front of the function.
    Api(Api, ApiCount),
}

/// One series that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Function name.
    pub function: String,
    /// Its alias.
    pub alias: String,
    /// Whose numbers; measures that are not split by version ignore it.
    pub scope: Scope,
    /// Which numbers.
    pub measure: Measure,
}

/// Where the error or transaction counts of a policy's signal come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A team's own metrics.
    Custom {
        /// Namespace of all of them.
        namespace: String,
        /// Metric that counts every request or attempt.
        all: String,
        /// Metric that counts the bad ones.
        bad: String,
        /// Metric that counts answers with 4xx.
        client_errors: Option<String>,
        /// Dimensions without that of the version.
        dimensions: BTreeMap<String, String>,
        /// Name of the dimension that holds the version number.
        version: Option<String>,
    },
    /// An API in front of the function.
    Api(Api),
}

impl Source {
    /// Whether its counts are split by version, so that canary and baseline can be compared at the same time.
    #[must_use]
    pub fn is_split_by_version(&self) -> bool {
        match self {
            Self::Custom { version, .. } => version.is_some(),
            Self::Api(_) => false,
        }
    }

    /// The measure of one kind of count; `None` when this source does not have it.
    #[must_use]
    pub fn measure(&self, count: ApiCount) -> Option<Measure> {
        match self {
            Self::Api(api) => Some(Measure::Api(api.clone(), count)),
            Self::Custom { namespace, all, bad, client_errors, dimensions, version } => {
                let name = match count {
                    ApiCount::Requests => all,
                    ApiCount::ServerErrors => bad,
                    ApiCount::ClientErrors => client_errors.as_ref()?,
                };
                Some(Measure::Custom(CustomSeries {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    dimensions: dimensions.clone(),
                    version: version.clone(),
                }))
            }
        }
    }
}
