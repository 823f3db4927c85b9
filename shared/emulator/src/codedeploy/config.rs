//! Deployment configurations: how traffic shifts.

use std::time::Duration;

use serde_json::{Value, json};

use super::model::Platform;
use crate::json::{timestamp, without_nulls};
use crate::protocol::ApiFault;

/// Longest time from the first to the last shift.
const SHIFT_MINUTES_MAX: u64 = 2880;

/// How traffic goes from the current to the target version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routing {
    AllAtOnce,
    Canary { percent: u64, minutes: u64 },
    Linear { percent: u64, minutes: u64 },
}

/// One shift: the target version's share from now on, and how long (in AWS time) until the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) percent: u64,
    pub(super) then_wait: Duration,
}

/// A deployment configuration, predefined or custom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) platform: Platform,
    /// `None` on EC2, which has healthy hosts instead.
    pub(super) routing: Option<Routing>,
    pub(super) created_ms: i64,
}

impl Routing {
    /// The shifts in their order; the last one is 100 per cent.
    pub(super) fn steps(self) -> Vec<Step> {
        let step = |percent, minutes| Step { percent, then_wait: Duration::from_secs(60 * minutes) };
        match self {
            Self::AllAtOnce => vec![step(100, 0)],
            Self::Canary { percent, minutes } => vec![step(percent, minutes), step(100, 0)],
            Self::Linear { percent, minutes } => {
                let before = (1..).map(|count| count * percent).take_while(|percent| *percent < 100);
                before.map(|percent| step(percent, minutes)).chain([step(100, 0)]).collect()
            }
        }
    }

    fn to_json(self) -> Value {
        match self {
            Self::AllAtOnce => json!({"type": "AllAtOnce"}),
            Self::Canary { percent, minutes } => {
                json!({"type": "TimeBasedCanary", "timeBasedCanary": {"canaryPercentage": percent, "canaryInterval": minutes}})
            }
            Self::Linear { percent, minutes } => {
                json!({"type": "TimeBasedLinear", "timeBasedLinear": {"linearPercentage": percent, "linearInterval": minutes}})
            }
        }
    }

    /// From the `trafficRoutingConfig` of CreateDeploymentConfig.
    pub(super) fn parse(config: &Value) -> Result<Self, ApiFault> {
        let refused = |words: String| ApiFault::new("InvalidTrafficRoutingConfigurationException", words);
        let number = |pointer: &str| {
            let found = config.pointer(pointer).and_then(Value::as_u64);
            found.ok_or_else(|| refused(format!("`{}` is required", pointer.trim_start_matches('/').replace('/', "."))))
        };
        let minutes = |pointer: &str| match number(pointer)? {
            long if long > SHIFT_MINUTES_MAX => {
                Err(refused(format!("an interval of {long} minutes, allowed are {SHIFT_MINUTES_MAX}")))
            }
            short => Ok(short),
        };
        let share = |percent: u64| {
            if (1..=99).contains(&percent) {
                Ok(percent)
            } else {
                Err(refused(format!("the share is {percent}, allowed is 1 to 99")))
            }
        };
        let routing = match config.get("type").and_then(Value::as_str) {
            Some("AllAtOnce") => Self::AllAtOnce,
            Some("TimeBasedCanary") => Self::Canary {
                percent: share(number("/timeBasedCanary/canaryPercentage")?)?,
                minutes: minutes("/timeBasedCanary/canaryInterval")?,
            },
            Some("TimeBasedLinear") => Self::Linear {
                percent: share(number("/timeBasedLinear/linearPercentage")?)?,
                minutes: minutes("/timeBasedLinear/linearInterval")?,
            },
            Some(other) => {
                return Err(refused(format!(
                    "type `{other}`, allowed are AllAtOnce, TimeBasedCanary, TimeBasedLinear"
                )));
            }
            None => {
                return Err(refused("`trafficRoutingConfig.type` is required".to_owned()));
            }
        };
        let total = routing.steps().iter().map(|step| step.then_wait.as_secs() / 60).fold(0_u64, u64::saturating_add);
        if total > SHIFT_MINUTES_MAX {
            return Err(refused(format!("the shift lasts {total} minutes, allowed are {SHIFT_MINUTES_MAX}")));
        }
        Ok(routing)
    }
}

impl Config {
    pub(super) fn to_json(&self) -> Value {
        without_nulls(json!({
            "deploymentConfigId": format!("config-{}", self.name),
            "deploymentConfigName": self.name,
            "createTime": timestamp(self.created_ms),
            "computePlatform": self.platform.name(),
            "trafficRoutingConfig": self.routing.map(Routing::to_json),
            "minimumHealthyHosts": match self.routing {
                Some(_) => Value::Null,
                None => json!({"type": "HOST_COUNT", "value": 0}),
            },
        }))
    }
}

/// The predefined configuration `name`.
pub(super) fn predefined(name: &str) -> Option<Config> {
    let short = name.strip_prefix("CodeDeployDefault.")?;
    let (platform, routing) =
        PREDEFINED.iter().find(|(known, _, _)| *known == short).map(|(_, platform, routing)| (*platform, *routing))?;
    Some(Config { name: name.to_owned(), platform, routing, created_ms: 0 })
}

const fn canary(minutes: u64) -> Option<Routing> {
    Some(Routing::Canary { percent: 10, minutes })
}

const fn linear(minutes: u64) -> Option<Routing> {
    Some(Routing::Linear { percent: 10, minutes })
}

/// All predefined configurations; the names are singular for Lambda and plural for ECS, as AWS has them.
const PREDEFINED: [(&str, Platform, Option<Routing>); 17] = [
    ("AllAtOnce", Platform::Server, None),
    ("HalfAtATime", Platform::Server, None),
    ("OneAtATime", Platform::Server, None),
    ("LambdaCanary10Percent5Minutes", Platform::Lambda, canary(5)),
    ("LambdaCanary10Percent10Minutes", Platform::Lambda, canary(10)),
    ("LambdaCanary10Percent15Minutes", Platform::Lambda, canary(15)),
    ("LambdaCanary10Percent30Minutes", Platform::Lambda, canary(30)),
    ("LambdaLinear10PercentEvery1Minute", Platform::Lambda, linear(1)),
    ("LambdaLinear10PercentEvery2Minutes", Platform::Lambda, linear(2)),
    ("LambdaLinear10PercentEvery3Minutes", Platform::Lambda, linear(3)),
    ("LambdaLinear10PercentEvery10Minutes", Platform::Lambda, linear(10)),
    ("LambdaAllAtOnce", Platform::Lambda, Some(Routing::AllAtOnce)),
    ("ECSCanary10Percent5Minutes", Platform::Ecs, canary(5)),
    ("ECSCanary10Percent15Minutes", Platform::Ecs, canary(15)),
    ("ECSLinear10PercentEvery1Minutes", Platform::Ecs, linear(1)),
    ("ECSLinear10PercentEvery3Minutes", Platform::Ecs, linear(3)),
    ("ECSAllAtOnce", Platform::Ecs, Some(Routing::AllAtOnce)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_ends_with_all_traffic() {
        for (name, _, routing) in PREDEFINED {
            let Some(routing) = routing else { continue };
            let steps = routing.steps();
            assert_eq!(steps.last().map(|step| (step.percent, step.then_wait)), Some((100, Duration::ZERO)), "{name}");
            assert!(steps.is_sorted_by(|a, b| a.percent < b.percent), "{name}: {steps:?}");
        }
        let steps = |name: &str| predefined(name).and_then(|config| config.routing).unwrap().steps();
        let canary = steps("CodeDeployDefault.LambdaCanary10Percent5Minutes");
        assert_eq!(canary[0], Step { percent: 10, then_wait: Duration::from_secs(300) });
        assert_eq!(canary.len(), 2);
        assert_eq!(steps("CodeDeployDefault.LambdaLinear10PercentEvery1Minute").len(), 10);
        assert_eq!(predefined("CodeDeployDefault.LambdaLinear10PercentEvery1Minutes"), None, "plural is ECS's");
    }

    #[test]
    fn a_custom_routing_is_checked() {
        let canary = |percent, minutes| json!({"type": "TimeBasedCanary", "timeBasedCanary": {"canaryPercentage": percent, "canaryInterval": minutes}});
        let linear = |percent, minutes| json!({"type": "TimeBasedLinear", "timeBasedLinear": {"linearPercentage": percent, "linearInterval": minutes}});
        let table = [
            ("canary", canary(99, 2880), Some(Routing::Canary { percent: 99, minutes: 2880 })),
            ("whole share", canary(100, 5), None),
            ("no share", canary(0, 5), None),
            ("too long", canary(10, 2881), None),
            ("linear", linear(33, 1), Some(Routing::Linear { percent: 33, minutes: 1 })),
            ("linear too long", linear(10, 321), None),
            ("all at once", json!({"type": "AllAtOnce"}), Some(Routing::AllAtOnce)),
            ("unknown", json!({"type": "Random"}), None),
            ("empty", json!({}), None),
        ];
        for (case, config, expected) in table {
            assert_eq!(Routing::parse(&config).ok(), expected, "{case}");
        }
        let percents: Vec<u64> =
            Routing::Linear { percent: 33, minutes: 1 }.steps().iter().map(|step| step.percent).collect();
        assert_eq!(percents, [33, 66, 99, 100]);
    }
}
