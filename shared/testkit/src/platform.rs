//! The two platforms that the test kit simulates: what a deployment moves there, and how fast it goes back.

use snapback_core::deployment::{HookFunctions, OUR_HOOKS};
use snapback_core::target::{Capabilities, LambdaAlias, Routed, Target, TargetGroups};
use std::time::Duration;

/// A simulated platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatedPlatform {
    /// A Lambda function's alias: hooks before and after traffic, back within seconds.
    LambdaAlias,
    /// A service whose versions have a target group each: no hook before traffic, back within minutes.
    TargetGroups,
}

impl SimulatedPlatform {
    /// Both.
    pub const ALL: [Self; 2] = [Self::LambdaAlias, Self::TargetGroups];

    /// A deployment from one version of `checkout` to another.
    #[must_use]
    pub fn target(self, baseline: &str, canary: &str) -> Target {
        match self {
            Self::LambdaAlias => Target::LambdaAlias(LambdaAlias {
                function: "checkout".to_owned(),
                alias: "live".to_owned(),
                baseline: baseline.to_owned(),
                canary: canary.to_owned(),
            }),
            Self::TargetGroups => {
                let routed =
                    |version: &str| Routed { version: version.to_owned(), target_group: format!("checkout-{version}") };
                let (baseline, canary) = (routed(baseline), routed(canary));
                Target::TargetGroups(TargetGroups { service: "checkout".to_owned(), baseline, canary })
            }
        }
    }

    /// What it can do.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        self.target("1", "2").capabilities()
    }

    /// The hooks of ours that it calls.
    pub(crate) fn hooks(self) -> HookFunctions {
        let hook = |event: &str| Some(format!("{OUR_HOOKS}{event}-allow-traffic"));
        let before = if self.capabilities().gates_before_traffic { hook("before") } else { None };
        HookFunctions { before, after: hook("after") }
    }

    /// How long its rollback deployment takes.
    pub(crate) const fn rollback_takes(self) -> Duration {
        match self {
            Self::LambdaAlias => Duration::from_secs(5),
            Self::TargetGroups => Duration::from_secs(300),
        }
    }

    /// The call that tells where traffic goes.
    pub(crate) const fn traffic_call(self) -> &'static str {
        match self {
            Self::LambdaAlias => "lambda:GetAlias",
            Self::TargetGroups => "elasticloadbalancing:DescribeRules",
        }
    }
}
