//! CodeDeploy's predefined deployment configurations.

use crate::facts::Platform;

/// What their names begin with.
pub(crate) const PREFIX: &str = "CodeDeployDefault.";

/// Platform, name without the prefix, and minutes from first to all traffic.
const CONFIGS: [(Platform, &str, u64); 17] = [
    (Platform::Server, "AllAtOnce", 0),
    (Platform::Server, "HalfAtATime", 0),
    (Platform::Server, "OneAtATime", 0),
    (Platform::Lambda, "LambdaCanary10Percent5Minutes", 5),
    (Platform::Lambda, "LambdaCanary10Percent10Minutes", 10),
    (Platform::Lambda, "LambdaCanary10Percent15Minutes", 15),
    (Platform::Lambda, "LambdaCanary10Percent30Minutes", 30),
    (Platform::Lambda, "LambdaLinear10PercentEvery1Minute", 9),
    (Platform::Lambda, "LambdaLinear10PercentEvery2Minutes", 18),
    (Platform::Lambda, "LambdaLinear10PercentEvery3Minutes", 27),
    (Platform::Lambda, "LambdaLinear10PercentEvery10Minutes", 90),
    (Platform::Lambda, "LambdaAllAtOnce", 0),
    (Platform::Ecs, "ECSCanary10Percent5Minutes", 5),
    (Platform::Ecs, "ECSCanary10Percent15Minutes", 15),
    (Platform::Ecs, "ECSLinear10PercentEvery1Minutes", 9),
    (Platform::Ecs, "ECSLinear10PercentEvery3Minutes", 27),
    (Platform::Ecs, "ECSAllAtOnce", 0),
];

/// Platform and minutes of a configuration, its name without the prefix.
pub(crate) fn find(name: &str) -> Option<(Platform, u64)> {
    CONFIGS.iter().find(|(_, known, _)| *known == name).map(|(platform, _, minutes)| (*platform, *minutes))
}

/// The configuration of `platform` whose name is most like `name`, both without the prefix.
pub(crate) fn nearest(platform: Option<Platform>, name: &str) -> Option<&'static str> {
    let of_platform = CONFIGS.iter().filter(|(known, _, _)| platform.is_none_or(|platform| platform == *known));
    of_platform.map(|(_, known, _)| *known).min_by_key(|known| crate::metrics::distance(known, name))
}
