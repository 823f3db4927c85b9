//! Where a deployment's numbers come from: what the policy names, and what they are about. What a metric is called, the adapter of
//! its source knows.

use crate::record::Record;
use crate::target::Target;
use crate::vocabulary::Signal;
use snapback_judge::series::SourceId;
use std::collections::BTreeMap;
use std::fmt;

/// An API in front of the function. None of them splits its counts by version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Api {
    /// API Gateway, REST.
    Rest {
        /// Name of the API.
        name: String,
        /// Its stage.
        stage: String,
        /// What of it is this service's; `None`: the whole stage.
        route: Option<Route>,
    },
    /// API Gateway, HTTP.
    Http {
        /// Id of the API.
        id: String,
        /// Its stage.
        stage: String,
        /// What of it is this service's; `None`: the whole stage.
        route: Option<Route>,
    },
    /// Application Load Balancer.
    LoadBalancer {
        /// The part of its ARN after `loadbalancer/`, for example `app/shop/50dc6c495c0c9188`.
        load_balancer: String,
        /// The part of the target group's ARN from `targetgroup/` on.
        target_group: String,
    },
}

/// The part of an API that is one service's. CloudWatch counts it by two dimensions or by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Dimensions `Method` and `Resource`, for example `GET` and `/cart/{id}`.
    Method {
        /// HTTP method, or `ANY`.
        method: String,
        /// Path of the resource.
        resource: String,
    },
    /// Dimension `Route` of an HTTP API, for example `GET /cart/{id}`.
    Named(String),
}

/// `GET /cart/{id}`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method { method, resource } => write!(f, "{method} {resource}"),
            Self::Named(route) => f.write_str(route),
        }
    }
}

impl Api {
    /// Whether other services may be counted in it too: what they do blames none of them.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        match self {
            Self::Rest { route, .. } | Self::Http { route, .. } => route.is_none(),
            Self::LoadBalancer { .. } => false,
        }
    }
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
        /// Whether the team says that requests with the mark of a probe are not counted in it.
        without_probes: bool,
    },
    /// An API in front of the function.
    Api(Api),
}

/// Its name, for people.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom { namespace, all, .. } => write!(f, "{namespace} {all}"),
            Self::Api(api @ (Api::Rest { .. } | Api::Http { .. })) => write!(f, "AWS/ApiGateway Count of {api}"),
            Self::Api(Api::LoadBalancer { load_balancer, target_group }) => {
                write!(f, "AWS/ApplicationELB RequestCount of {load_balancer}, {target_group}")
            }
        }
    }
}

/// Its name, for people.
impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rest { name: api, stage, route } | Self::Http { id: api, stage, route } => {
                write!(f, "API {api}, stage {stage}")?;
                route.iter().try_for_each(|route| write!(f, ", {route}"))
            }
            Self::LoadBalancer { load_balancer, target_group } => write!(f, "{load_balancer}, {target_group}"),
        }
    }
}

/// Another service behind the same dependencies: a witness that an incident is not the version's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Name of the function.
    pub function: String,
    /// Its alias.
    pub alias: String,
}

/// `FUNCTION:ALIAS`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.function, self.alias)
    }
}

/// What series are about: the deployment's versions, and where the policy says that its numbers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricTarget {
    /// What the deployment moves.
    pub target: Target,
    /// Source of errors beside those that the platform counts itself.
    pub errors: Option<Source>,
    /// Source of transactions.
    pub transactions: Option<Source>,
    /// What stands in front of the service.
    pub front: Option<Source>,
    /// Other services behind the same dependencies.
    pub peers: Vec<Peer>,
}

/// Other services behind the same dependencies. The service itself is no witness of its own: what it fails at would excuse it.
pub fn peers(record: &Record) -> impl Iterator<Item = &Peer> {
    let own = record.deployment.identity.target.name();
    record.policy.witness.peers.iter().filter(move |peer| peer.function != own)
}

impl MetricTarget {
    /// What the series of a deployment are about.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let source = |signal| record.policy.signals.get(&signal).and_then(|signal| signal.source.clone());
        Self {
            target: record.deployment.identity.target.clone(),
            errors: source(Signal::Errors),
            transactions: source(Signal::Transactions),
            front: record.policy.witness.front.clone().map(Source::Api),
            peers: peers(record).cloned().collect(),
        }
    }

    /// What the policy names for this kind of number; `None`: the platform's own metrics.
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        match id {
            SourceId::Requests | SourceId::Latency | SourceId::Peer(_) | SourceId::Pipeline => None,
            SourceId::Front => self.front.as_ref(),
            SourceId::Errors => self.errors.as_ref(),
            SourceId::Transactions => self.transactions.as_ref(),
        }
    }
}
