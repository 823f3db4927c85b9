//! The calls of EventBridge: PutRule, PutTargets, PutEvents, EnableRule, DisableRule, RemoveTargets, DeleteRule.

use std::time::Duration;

use serde_json::{Value, json};

use super::{EventBus, RetryPolicy, Target, Trigger, rule_arn};
use crate::event_bus::pattern::Pattern;
use crate::json::text;
use crate::protocol::{ApiFault, ApiRequest, ApiResponse, BoxFuture, Service, required};
use crate::tasks::lock;

impl Service for EventBus {
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse> {
        Box::pin(std::future::ready(dispatch(self, &request.operation, &request.input).into()))
    }
}

pub(super) fn dispatch(bus: &EventBus, operation: &str, input: &Value) -> Result<Value, ApiFault> {
    match operation {
        "PutRule" => put_rule(bus, input),
        "PutTargets" => put_targets(bus, input),
        "PutEvents" => put_events(bus, input),
        "EnableRule" => enable(bus, input, true),
        "DisableRule" => enable(bus, input, false),
        "RemoveTargets" => remove_targets(bus, input),
        "DeleteRule" => {
            bus.remove_rule(required(input, "Name", "ValidationException")?);
            Ok(json!({}))
        }
        _ => Err(ApiFault::unsupported("events", operation)),
    }
}

fn put_rule(bus: &EventBus, input: &Value) -> Result<Value, ApiFault> {
    let name = required(input, "Name", "ValidationException")?;
    let trigger = match (text(input, "EventPattern"), text(input, "ScheduleExpression")) {
        (Some(pattern), None) => Trigger::Pattern(parse_pattern(pattern)?),
        (None, Some(expression)) => Trigger::Every(parse_rate(expression)?),
        (None, None) => {
            return Err(validation("`EventPattern` or `ScheduleExpression` is required"));
        }
        (Some(_), Some(_)) => {
            return Err(validation("the emulator takes either `EventPattern` or `ScheduleExpression`"));
        }
    };
    let enabled = match text(input, "State").unwrap_or("ENABLED") {
        "DISABLED" => false,
        "ENABLED" | "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" => true,
        other => {
            return Err(validation(&format!("`State` is `{other}`, allowed are ENABLED and DISABLED")));
        }
    };
    bus.put_rule(name, trigger, enabled);
    Ok(json!({"RuleArn": rule_arn(name)}))
}

fn put_targets(bus: &EventBus, input: &Value) -> Result<Value, ApiFault> {
    let rule = required(input, "Rule", "ValidationException")?;
    let list = input.get("Targets").and_then(Value::as_array).ok_or_else(|| validation("`Targets` is required"))?;
    let targets = list.iter().map(parse_target).collect::<Result<Vec<_>, _>>()?;
    if !bus.put_targets(rule, targets) {
        return Err(no_rule(rule));
    }
    Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
}

fn put_events(bus: &EventBus, input: &Value) -> Result<Value, ApiFault> {
    let entries = input.get("Entries").and_then(Value::as_array).filter(|entries| (1..=10).contains(&entries.len()));
    let entries = entries.ok_or_else(|| validation("`Entries` holds 1 to 10 events"))?;
    let answers: Vec<Value> = entries.iter().map(|entry| put_event(bus, entry)).collect();
    let failed = answers.iter().filter(|answer| answer.get("ErrorCode").is_some()).count();
    Ok(json!({"FailedEntryCount": failed, "Entries": answers}))
}

fn put_event(bus: &EventBus, entry: &Value) -> Value {
    let (Some(source), Some(detail_type)) = (text(entry, "Source"), text(entry, "DetailType")) else {
        return json!({"ErrorCode": "InvalidArgument", "ErrorMessage": "Parameter Source or DetailType is not valid."});
    };
    if source.starts_with("aws.") {
        return json!({"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."});
    }
    let detail: Option<Value> = text(entry, "Detail").and_then(|detail| serde_json::from_str(detail).ok());
    let Some(detail @ Value::Object(_)) = detail else {
        return json!({"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."});
    };
    let resources = entry.get("Resources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let resources: Vec<String> = resources.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    json!({"EventId": bus.publish(source, detail_type, &resources, detail)})
}

fn enable(bus: &EventBus, input: &Value, enabled: bool) -> Result<Value, ApiFault> {
    let name = required(input, "Name", "ValidationException")?;
    if bus.set_enabled(name, enabled) { Ok(json!({})) } else { Err(no_rule(name)) }
}

fn remove_targets(bus: &EventBus, input: &Value) -> Result<Value, ApiFault> {
    let name = required(input, "Rule", "ValidationException")?;
    let ids = input.get("Ids").and_then(Value::as_array).ok_or_else(|| validation("`Ids` is required"))?;
    let mut state = lock(&bus.inner.state);
    let rule = state.rules.get_mut(name).ok_or_else(|| no_rule(name))?;
    rule.targets.retain(|target| ids.iter().all(|id| id.as_str() != Some(&target.id)));
    Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
}

fn parse_pattern(text: &str) -> Result<Pattern, ApiFault> {
    let invalid = |reason: String| ApiFault::new("InvalidEventPatternException", reason);
    let value: Value =
        serde_json::from_str(text).map_err(|error| invalid(format!("event pattern is no JSON: {error}")))?;
    Pattern::parse(&value).map_err(|error| invalid(error.to_string()))
}

/// `rate(N minute|minutes|hour|hours|day|days)`; cron is not on the emulator.
pub(super) fn parse_rate(expression: &str) -> Result<Duration, ApiFault> {
    let refused = || {
        validation(&format!("`ScheduleExpression` is `{expression}`, the emulator takes rate(N minutes|hours|days)"))
    };
    let inner = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(refused)?;
    let (count, unit) = inner.trim().split_once(' ').ok_or_else(refused)?;
    let count: u32 = count.parse().ok().filter(|count| *count > 0).ok_or_else(refused)?;
    let minutes = match (count, unit.trim()) {
        (1, "minute") | (2.., "minutes") => 1,
        (1, "hour") | (2.., "hours") => 60,
        (1, "day") | (2.., "days") => 1440,
        (_, _) => return Err(refused()),
    };
    Ok(Duration::from_secs(60 * minutes * u64::from(count)))
}

fn parse_target(target: &Value) -> Result<Target, ApiFault> {
    let id = required(target, "Id", "ValidationException")?;
    let arn = required(target, "Arn", "ValidationException")?;
    if !arn.contains(":lambda:") {
        return Err(validation(&format!(
            "target `{arn}` is no Lambda function; the emulator delivers to functions only"
        )));
    }
    let policy = |key: &str, default: u32, min: u32, max: u32| match target.pointer(&format!("/RetryPolicy/{key}")) {
        None | Some(Value::Null) => Ok(default),
        Some(given) => given
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| validation(&format!("`{key}` is {given}, allowed is {min} to {max}"))),
    };
    let default = RetryPolicy::default();
    let retry = RetryPolicy {
        maximum_retry_attempts: policy("MaximumRetryAttempts", default.maximum_retry_attempts, 0, 185)?,
        maximum_event_age_seconds: policy("MaximumEventAgeInSeconds", default.maximum_event_age_seconds, 60, 86_400)?,
    };
    let dead_letter = target.pointer("/DeadLetterConfig/Arn").and_then(Value::as_str).map(str::to_owned);
    Ok(Target { id: id.to_owned(), arn: arn.to_owned(), retry, dead_letter })
}

fn validation(message: &str) -> ApiFault {
    ApiFault::new("ValidationException", message)
}

fn no_rule(name: &str) -> ApiFault {
    ApiFault::new("ResourceNotFoundException", format!("Rule {name} does not exist on EventBus default."))
}
