//! CodeDeploy's shapes in Snapback's words. AWS's enums are open, so their words are compared, never their variants.

use aws_sdk_codedeploy::types::{
    AutoRollbackConfiguration, DeploymentConfigInfo, DeploymentGroupInfo, DeploymentInfo, DeploymentTarget,
    ErrorInformation, LambdaFunctionInfo, LifecycleEvent, RevisionLocation, RollbackInfo,
};
use aws_smithy_types::DateTime;
use snapback_core::id::InvalidId;
use snapback_core::observed::{
    AppSpecRef, AutoRollback, DeploymentFacts, DeploymentStatus, EndKind, EndReason, EventFacts, GroupFacts, Platform,
    TargetFacts, TrafficPlan,
};
use snapback_core::target::{LambdaAlias, Target};
use snapback_core::{AlarmName, DeploymentId, GroupRef, Timestamp};
use snapback_wire::creator::parse_creator;
use std::time::Duration;

/// The status words of deployments that are not over.
pub(super) const RUNNING: [&str; 5] = ["Created", "Queued", "InProgress", "Baking", "Ready"];

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FactsError {
    /// A member is missing.
    #[error("no {0}")]
    Missing(&'static str),
    /// A member cannot be what it should be.
    #[error(transparent)]
    Invalid(#[from] InvalidId),
}

/// A deployment; the error says which member is missing or cannot be one.
pub(crate) fn deployment(info: &DeploymentInfo) -> Result<DeploymentFacts, FactsError> {
    let id = required("deploymentId", info.deployment_id())?;
    let group = GroupRef::new(
        required("applicationName", info.application_name())?,
        required("deploymentGroupName", info.deployment_group_name())?,
    )?;
    let status = required("status", info.status())?;
    let links = info.rollback_info();
    let linked = |link: fn(&RollbackInfo) -> Option<&str>| match links.and_then(link) {
        None | Some("") => Ok(None),
        Some(id) => DeploymentId::parse(id).map(Some),
    };
    Ok(DeploymentFacts {
        id: DeploymentId::parse(id)?,
        group,
        platform: Platform::from_word(info.compute_platform().map_or("unknown", |p| p.as_str())),
        status: status_of(status.as_str()),
        creator: parse_creator(info.creator().map_or("", |creator| creator.as_str())),
        config: info.deployment_config_name().map(str::to_owned),
        app_spec: info.revision().and_then(app_spec_ref),
        created_at: required("createTime", timestamp(info.create_time()))?,
        completed_at: timestamp(info.complete_time()),
        end_reason: info.error_information().map(end_reason),
        rollback_deployment: linked(RollbackInfo::rollback_deployment_id)?,
        rolls_back: linked(RollbackInfo::rollback_triggering_deployment_id)?,
        auto_rollback: info.auto_rollback_configuration().map(auto_rollback),
    })
}

/// AWS adds words, so an unknown one is kept as it is.
pub(super) fn status_of(word: &str) -> DeploymentStatus {
    match word {
        running if RUNNING.contains(&running) => DeploymentStatus::Running,
        "Succeeded" => DeploymentStatus::Succeeded,
        "Failed" => DeploymentStatus::Failed,
        "Stopped" => DeploymentStatus::Stopped,
        other => DeploymentStatus::Unknown(other.chars().take(64).collect()),
    }
}

fn end_reason(error: &ErrorInformation) -> EndReason {
    let code = error.code().map(|code| code.as_str()).unwrap_or_default();
    let kind = if code == "ALARM_ACTIVE" { EndKind::AlarmActive } else { EndKind::Other };
    EndReason { kind, code: code.to_owned(), message: error.message().unwrap_or_default().to_owned() }
}

/// The three events; a switched-off configuration has none.
fn auto_rollback(configuration: &AutoRollbackConfiguration) -> AutoRollback {
    let has = |word: &str| configuration.enabled() && configuration.events().iter().any(|event| event.as_str() == word);
    AutoRollback {
        on_failure: has("DEPLOYMENT_FAILURE"),
        on_alarm: has("DEPLOYMENT_STOP_ON_ALARM"),
        on_request: has("DEPLOYMENT_STOP_ON_REQUEST"),
    }
}

fn app_spec_ref(revision: &RevisionLocation) -> Option<AppSpecRef> {
    let (is_string_type, sha256) = match revision.revision_type()?.as_str() {
        "AppSpecContent" => (false, revision.app_spec_content()?.sha256()?),
        "String" => (true, revision.string()?.sha256()?),
        _ => return None,
    };
    Some(AppSpecRef { is_string_type, sha256: sha256.to_owned() })
}

/// The target of a deployment. Lambda and ECS have one; ECS and EC2 targets have other events, of which only these count.
pub(super) fn target(target: &DeploymentTarget) -> TargetFacts {
    let (events, function) = if let Some(lambda) = target.lambda_target() {
        (lambda.lifecycle_events(), lambda.lambda_function_info())
    } else if let Some(ecs) = target.ecs_target() {
        (ecs.lifecycle_events(), None)
    } else if let Some(instance) = target.instance_target() {
        (instance.lifecycle_events(), None)
    } else {
        (&[][..], None)
    };
    let event = |name: &str| {
        let found = events.iter().find(|event| event.lifecycle_event_name() == Some(name));
        found.map(event_facts).unwrap_or_default()
    };
    TargetFacts {
        before: event("BeforeAllowTraffic"),
        allow: event("AllowTraffic"),
        after: event("AfterAllowTraffic"),
        target: function.and_then(function_target),
    }
}

/// A pending or skipped event never started, whatever times it carries.
fn event_facts(event: &LifecycleEvent) -> EventFacts {
    let status = event.status().map(|status| status.as_str()).unwrap_or_default();
    let began = !matches!(status, "Pending" | "Skipped");
    EventFacts {
        is_in_progress: status == "InProgress",
        started_at: timestamp(event.start_time()).filter(|_| began),
        ended_at: timestamp(event.end_time()).filter(|_| began),
    }
}

fn function_target(function: &LambdaFunctionInfo) -> Option<Target> {
    Some(Target::LambdaAlias(LambdaAlias {
        function: function.function_name()?.to_owned(),
        alias: function.function_alias()?.to_owned(),
        baseline: function.current_version()?.to_owned(),
        canary: function.target_version()?.to_owned(),
    }))
}

/// A deployment group. Alarms count only while the alarm configuration is on.
pub(super) fn group(info: &DeploymentGroupInfo) -> Result<GroupFacts, FactsError> {
    let none = AutoRollback { on_failure: false, on_alarm: false, on_request: false };
    let alarms = info.alarm_configuration().filter(|alarms| alarms.enabled());
    let names = alarms.map(|alarms| alarms.alarms()).unwrap_or_default();
    Ok(GroupFacts {
        auto_rollback: info.auto_rollback_configuration().map_or(none, auto_rollback),
        alarms: names.iter().filter_map(|alarm| alarm.name()).map(AlarmName::parse).collect::<Result<_, _>>()?,
        ignores_poll_failure: alarms.is_some_and(|alarms| alarms.ignore_poll_alarm_failure()),
    })
}

/// Names, shares in per cent and minutes of CodeDeploy's own configurations for Lambda, but the one that has no steps:
/// they never change, so they need not be asked for. Source: CodeDeploy's User Guide, "Predefined deployment configurations".
const CANARIES: [(&str, i32, i32); 4] = [
    ("CodeDeployDefault.LambdaCanary10Percent5Minutes", 10, 5),
    ("CodeDeployDefault.LambdaCanary10Percent10Minutes", 10, 10),
    ("CodeDeployDefault.LambdaCanary10Percent15Minutes", 10, 15),
    ("CodeDeployDefault.LambdaCanary10Percent30Minutes", 10, 30),
];
const LINEARS: [(&str, i32, i32); 4] = [
    ("CodeDeployDefault.LambdaLinear10PercentEvery1Minute", 10, 1),
    ("CodeDeployDefault.LambdaLinear10PercentEvery2Minutes", 10, 2),
    ("CodeDeployDefault.LambdaLinear10PercentEvery3Minutes", 10, 3),
    ("CodeDeployDefault.LambdaLinear10PercentEvery10Minutes", 10, 10),
];
const ALL_AT_ONCE: &str = "CodeDeployDefault.LambdaAllAtOnce";

/// The plan of a configuration of CodeDeploy's own.
pub(super) fn predefined_plan(name: &str) -> Option<TrafficPlan> {
    let find = |table: &[(&str, i32, i32)]| {
        table.iter().find(|(known, ..)| *known == name).map(|(_, share, minutes)| (*share, *minutes))
    };
    let canary = find(&CANARIES).map(|(share, minutes)| canary(share, minutes));
    canary
        .or_else(|| find(&LINEARS).map(|(share, minutes)| linear(share, minutes)))
        .or_else(|| (name == ALL_AT_ONCE).then(all_at_once))
}

/// How traffic shifts: in words, for example `10 %, then all after 5 min`, and how long.
pub(super) fn traffic_plan(config: &DeploymentConfigInfo) -> TrafficPlan {
    let Some(routing) = config.traffic_routing_config() else {
        return plan("instance by instance".to_owned(), None, None);
    };
    if let Some(steps) = routing.time_based_canary() {
        return canary(steps.canary_percentage(), steps.canary_interval());
    }
    if let Some(steps) = routing.time_based_linear() {
        return linear(steps.linear_percentage(), steps.linear_interval());
    }
    match routing.r#type().map(|kind| kind.as_str()) {
        Some("AllAtOnce") => all_at_once(),
        Some(other) => plan(format!("{other}, which this version of Snapback does not know"), None, None),
        None => plan("not known".to_owned(), None, None),
    }
}

fn canary(share: i32, minutes: i32) -> TrafficPlan {
    plan(format!("{share} %, then all after {minutes} min"), Some(minutes), Some(minutes))
}

fn linear(share: i32, minutes: i32) -> TrafficPlan {
    // The first step is taken at once.
    let steps = if share > 0 { (100 + share - 1).checked_div(share).map(|steps| steps - 1) } else { None };
    let lasts = steps.and_then(|steps| steps.checked_mul(minutes));
    plan(format!("{share} % more every {minutes} min"), lasts, Some(minutes))
}

fn all_at_once() -> TrafficPlan {
    plan("all at once".to_owned(), Some(0), None)
}

fn plan(words: String, lasts: Option<i32>, step: Option<i32>) -> TrafficPlan {
    let minutes = |count: i32| u64::try_from(count).ok().map(|minutes| Duration::from_secs(60 * minutes));
    TrafficPlan { words, lasts: lasts.and_then(minutes), step: step.and_then(minutes) }
}

/// Milliseconds; `None` for a missing time and for one that no clock can have.
pub(super) fn timestamp(time: Option<&DateTime>) -> Option<Timestamp> {
    (*time?).to_millis().ok().map(Timestamp::from_ms)
}

fn required<T>(name: &'static str, value: Option<T>) -> Result<T, FactsError> {
    value.ok_or(FactsError::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_codedeploy::types::builders::DeploymentInfoBuilder;
    use aws_sdk_codedeploy::types::{
        Alarm, AlarmConfiguration, AppSpecContent, AutoRollbackEvent, DeploymentCreator, DeploymentStatus as Status,
        ErrorCode, LambdaTarget, TimeBasedCanary, TimeBasedLinear, TrafficRoutingConfig, TrafficRoutingType,
    };

    fn info() -> DeploymentInfoBuilder {
        DeploymentInfo::builder()
            .deployment_id("d-A1B2C3D4E")
            .application_name("shop")
            .deployment_group_name("live")
            .status(Status::InProgress)
            .compute_platform("Lambda".into())
            .creator(DeploymentCreator::User)
            .create_time(DateTime::from_millis(1_795_169_726_900))
    }

    #[test]
    fn a_running_deployment() {
        let sha = "a".repeat(64);
        let content = AppSpecContent::builder().sha256(&sha).build();
        let revision =
            RevisionLocation::builder().revision_type("AppSpecContent".into()).app_spec_content(content).build();
        let rollback = AutoRollbackConfiguration::builder()
            .enabled(true)
            .events(AutoRollbackEvent::DeploymentFailure)
            .events("DEPLOYMENT_WORD_OF_TOMORROW".into())
            .build();
        let facts = deployment(&info().revision(revision).auto_rollback_configuration(rollback).build()).unwrap();
        assert_eq!(facts.group.to_string(), "shop/live");
        assert_eq!(facts.platform, Platform::Lambda);
        assert_eq!(facts.status, DeploymentStatus::Running);
        assert_eq!(facts.created_at, Timestamp::from_ms(1_795_169_726_900));
        assert_eq!(facts.app_spec, Some(AppSpecRef { is_string_type: false, sha256: sha }));
        let expected = AutoRollback { on_failure: true, on_alarm: false, on_request: false };
        assert_eq!(facts.auto_rollback, Some(expected));
        assert!(!facts.is_marked_rollback());
        assert_eq!((facts.end_reason, facts.completed_at, facts.rolls_back), (None, None, None));
    }

    #[test]
    fn a_stopped_deployment_and_its_rollback() {
        let links = RollbackInfo::builder().rollback_deployment_id("d-000000002").build();
        let error =
            ErrorInformation::builder().code(ErrorCode::AlarmActive).message("Activated alarms: checkout-5xx").build();
        let stopped = info().status(Status::Stopped).rollback_info(links).error_information(error);
        let stopped = deployment(&stopped.build()).unwrap();
        assert!(stopped.was_stopped_by_alarm());
        assert_eq!(stopped.rollback_deployment.unwrap().as_str(), "d-000000002");

        let links =
            RollbackInfo::builder().rollback_deployment_id("").rollback_triggering_deployment_id("d-000000001").build();
        let rollback = deployment(&info().rollback_info(links).build()).unwrap();
        assert!(rollback.is_marked_rollback());
        assert_eq!(rollback.rollback_deployment, None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let broken_link = RollbackInfo::builder().rollback_triggering_deployment_id("x").build();
        let table = [
            (DeploymentInfo::builder().build(), "deploymentId"),
            (info().deployment_id("d-short").build(), "d-short"),
            (info().set_application_name(None).build(), "applicationName"),
            (info().application_name("a/b").build(), "a/b"),
            (info().set_status(None).build(), "status"),
            (info().set_create_time(None).build(), "createTime"),
            (info().rollback_info(broken_link).build(), "`x`"),
        ];
        for (info, name) in table {
            let error = deployment(&info).unwrap_err().to_string();
            assert!(error.contains(name), "{error} should name {name}");
        }
    }

    #[test]
    fn words_of_tomorrow_are_kept_not_guessed() {
        let facts = info().status("Paused".into()).compute_platform("EKS".into()).build();
        let facts = deployment(&facts).unwrap();
        assert_eq!(facts.status, DeploymentStatus::Unknown("Paused".to_owned()));
        assert_eq!(facts.platform, Platform::Other("EKS".to_owned()));
    }

    #[test]
    #[expect(deprecated, reason = "it is what this test is about")]
    fn the_deprecated_revision_type() {
        let raw = aws_sdk_codedeploy::types::RawString::builder().sha256("ff").build();
        let revision = RevisionLocation::builder().revision_type("String".into()).string(raw).build();
        assert_eq!(app_spec_ref(&revision), Some(AppSpecRef { is_string_type: true, sha256: "ff".to_owned() }));
        let other = RevisionLocation::builder().revision_type("S3".into()).build();
        assert_eq!(app_spec_ref(&other), None);
    }

    #[test]
    fn events_of_a_target() {
        let event = |name: &str, status: &str, start: Option<i64>, end: Option<i64>| {
            LifecycleEvent::builder()
                .lifecycle_event_name(name)
                .status(status.into())
                .set_start_time(start.map(DateTime::from_millis))
                .set_end_time(end.map(DateTime::from_millis))
                .build()
        };
        let function = LambdaFunctionInfo::builder()
            .function_name("checkout")
            .function_alias("live")
            .current_version("41")
            .target_version("42")
            .build();
        let lambda = LambdaTarget::builder()
            .lifecycle_events(event("BeforeAllowTraffic", "Succeeded", Some(1_000), Some(2_000)))
            .lifecycle_events(event("AllowTraffic", "InProgress", Some(2_500), None))
            .lifecycle_events(event("AfterAllowTraffic", "Skipped", Some(9_000), Some(9_000)))
            .lambda_function_info(function)
            .build();
        let facts = target(&DeploymentTarget::builder().lambda_target(lambda).build());
        let at = |ms| Some(Timestamp::from_ms(ms));
        assert_eq!(facts.before, EventFacts { is_in_progress: false, started_at: at(1_000), ended_at: at(2_000) });
        assert_eq!(facts.allow, EventFacts { is_in_progress: true, started_at: at(2_500), ended_at: None });
        assert_eq!(facts.after, EventFacts::default(), "skipped never started");
        let moved = facts.target.unwrap();
        assert_eq!((moved.baseline(), moved.canary()), ("41", "42"));
    }

    #[test]
    fn alarms_of_a_group_count_while_they_are_on() {
        let alarms = |enabled| {
            AlarmConfiguration::builder()
                .enabled(enabled)
                .ignore_poll_alarm_failure(true)
                .alarms(Alarm::builder().name("checkout-5xx").build())
                .build()
        };
        let on = DeploymentGroupInfo::builder().alarm_configuration(alarms(true)).build();
        let on = group(&on).unwrap();
        assert_eq!(on.alarms, vec![AlarmName::parse("checkout-5xx").unwrap()]);
        assert!(on.ignores_poll_failure);
        let off = DeploymentGroupInfo::builder().alarm_configuration(alarms(false)).build();
        let off = group(&off).unwrap();
        assert!(off.alarms.is_empty() && !off.ignores_poll_failure);
    }

    #[test]
    fn plans_in_words_and_minutes() {
        let canary = TimeBasedCanary::builder().canary_percentage(10).canary_interval(5).build();
        let linear = TimeBasedLinear::builder().linear_percentage(10).linear_interval(1).build();
        let table = [
            (
                Some(TrafficRoutingConfig::builder().time_based_canary(canary).build()),
                "10 %, then all after 5 min",
                Some(5),
                Some(5),
            ),
            (
                Some(TrafficRoutingConfig::builder().time_based_linear(linear).build()),
                "10 % more every 1 min",
                Some(9),
                Some(1),
            ),
            (
                Some(TrafficRoutingConfig::builder().r#type(TrafficRoutingType::AllAtOnce).build()),
                "all at once",
                Some(0),
                None,
            ),
            (None, "instance by instance", None, None),
        ];
        for (routing, words, lasts, step) in table {
            let config = DeploymentConfigInfo::builder().set_traffic_routing_config(routing).build();
            let minutes = |count: Option<u64>| count.map(|count| Duration::from_secs(60 * count));
            let expected = TrafficPlan { words: words.to_owned(), lasts: minutes(lasts), step: minutes(step) };
            assert_eq!(traffic_plan(&config), expected);
        }
    }
}
