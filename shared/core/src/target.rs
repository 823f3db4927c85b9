//! What a deployment moves, and what its platform can do: the plan asks [`Capabilities`], never the platform's name.

use crate::lifecycle::Exposure;
use std::fmt;
use std::time::Duration;

/// A hook of CodeDeploy is answered this long after its event began, whatever happens: CodeDeploy gives it an hour.
pub const LONGEST_HOLD: Duration = Duration::from_secs(55 * 60);

/// What a deployment moves: one variant for each way to route traffic. Each names the old and the new version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Lambda function's alias, which sends a share of the requests to each version.
    LambdaAlias(LambdaAlias),
    /// A service behind a load balancer, whose versions have a target group each.
    TargetGroups(TargetGroups),
}

/// A Lambda function's alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaAlias {
    /// The function.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// Number of the old version.
    pub baseline: String,
    /// Number of the new version.
    pub canary: String,
}

/// A service behind a load balancer. Target groups swap roles from one deployment to the next, so each has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGroups {
    /// The service.
    pub service: String,
    /// The old version.
    pub baseline: Routed,
    /// The new version.
    pub canary: Routed,
}

/// One version behind a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// Label of the version.
    pub version: String,
    /// Its target group.
    pub target_group: String,
}

/// How traffic is split between the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrafficSplit {
    /// Each request is drawn for a version.
    ByVersion,
    /// Each version has a target group of its own.
    ByTargetGroup,
}

/// How long a platform takes to send traffic back, where it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayBack {
    /// Seconds.
    Fast,
    /// Minutes: the old version has to be started, or traffic drains.
    Slow,
    /// It cannot.
    None,
}

impl WayBack {
    /// An accepted action that has not ended the deployment after this is unconfirmed.
    #[must_use]
    pub const fn confirm_within(self) -> Duration {
        match self {
            Self::Fast | Self::None => Duration::from_secs(30),
            Self::Slow => Duration::from_secs(300),
        }
    }

    /// A rollback of which nothing is seen after this is worth a page.
    #[must_use]
    pub const fn expect_within(self) -> Duration {
        match self {
            Self::Fast | Self::None => Duration::from_secs(60),
            Self::Slow => Duration::from_secs(900),
        }
    }
}

/// What a platform can do for a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether it waits for an answer before the new version gets any traffic.
    pub gates_before_traffic: bool,
    /// How it splits traffic.
    pub traffic_split: TrafficSplit,
    /// How long it waits for an answer once all traffic has moved; `None`: it does not.
    pub holds_after_traffic: Option<Duration>,
    /// The way back while traffic shifts.
    pub way_back_in_shift: WayBack,
    /// The way back once all traffic has moved.
    pub way_back_in_bake: WayBack,
    /// The way back after the deployment has succeeded.
    pub way_back_after_success: WayBack,
}

impl Capabilities {
    /// The way back from there.
    #[must_use]
    pub const fn way_back(&self, exposure: Exposure) -> WayBack {
        match exposure {
            Exposure::Shift => self.way_back_in_shift,
            Exposure::Bake => self.way_back_in_bake,
        }
    }
}

impl Target {
    /// The function or service, as people know it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::LambdaAlias(alias) => &alias.function,
            Self::TargetGroups(groups) => &groups.service,
        }
    }

    /// What routes its traffic: the alias, or the target group of the new version.
    #[must_use]
    pub fn route(&self) -> &str {
        match self {
            Self::LambdaAlias(alias) => &alias.alias,
            Self::TargetGroups(groups) => &groups.canary.target_group,
        }
    }

    /// Whether the new version was made after the old one, as far as their labels tell: numbers of Lambda versions only grow.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        match self {
            Self::LambdaAlias(alias) => {
                let number = |version: &str| version.parse::<u64>().ok();
                number(&alias.canary).zip(number(&alias.baseline)).is_none_or(|(canary, baseline)| canary > baseline)
            }
            Self::TargetGroups(_) => true,
        }
    }

    /// The old version.
    #[must_use]
    pub fn baseline(&self) -> &str {
        match self {
            Self::LambdaAlias(alias) => &alias.baseline,
            Self::TargetGroups(groups) => &groups.baseline.version,
        }
    }

    /// The new version.
    #[must_use]
    pub fn canary(&self) -> &str {
        match self {
            Self::LambdaAlias(alias) => &alias.canary,
            Self::TargetGroups(groups) => &groups.canary.version,
        }
    }

    /// What its platform can do.
    #[must_use]
    pub const fn capabilities(&self) -> Capabilities {
        match self {
            Self::LambdaAlias(_) => Capabilities {
                gates_before_traffic: true,
                traffic_split: TrafficSplit::ByVersion,
                holds_after_traffic: Some(LONGEST_HOLD),
                way_back_in_shift: WayBack::Fast,
                way_back_in_bake: WayBack::Fast,
                way_back_after_success: WayBack::None,
            },
            // Its tests of the new version run after it was started, not in a hook of ours.
            Self::TargetGroups(_) => Capabilities {
                gates_before_traffic: false,
                traffic_split: TrafficSplit::ByTargetGroup,
                holds_after_traffic: Some(LONGEST_HOLD),
                way_back_in_shift: WayBack::Slow,
                way_back_in_bake: WayBack::Slow,
                way_back_after_success: WayBack::None,
            },
        }
    }
}

/// What routes its traffic, as people read it: `alias checkout:live`, `service shop`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LambdaAlias(LambdaAlias { function, alias, .. }) => write!(f, "alias {function}:{alias}"),
            Self::TargetGroups(TargetGroups { service, .. }) => write!(f, "service {service}"),
        }
    }
}
