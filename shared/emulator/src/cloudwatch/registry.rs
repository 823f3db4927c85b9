//! All alarms: storing, evaluating, changing state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::alarm::{Alarm, Kind, StateRecord, arn, length, reason_data};
use super::composite::AlarmRule;
use super::error::CloudWatchError;
use super::evaluate::{AlarmState, evaluate};
use super::event;
use super::input;
use super::store::Store;
use super::time;
use crate::clock::Clock;
use crate::parts::AlarmChange;

const MAX_ALARMS: usize = 5000;
/// Most names in one call of `DescribeAlarms` and `DeleteAlarms`, and most alarms in one answer.
const MAX_NAMES: usize = 100;
/// Bounds the echo of one change through composite alarms that refer to one another in a circle.
const MAX_CHANGES: usize = 1000;
const TOKEN: &str = "after:";

/// The alarms of the account by name.
#[derive(Debug, Default)]
pub(super) struct Registry {
    alarms: BTreeMap<String, Alarm>,
}

impl Registry {
    /// Stores a new alarm, or new settings of an old one, which then keeps its state.
    pub(super) fn put(&mut self, mut alarm: Alarm, now_ms: i64) -> Result<Vec<AlarmChange>, CloudWatchError> {
        let name = alarm.name.clone();
        match self.alarms.get(&name) {
            None if self.alarms.len() >= MAX_ALARMS => {
                return Err(CloudWatchError::limit(format!("the account has {MAX_ALARMS} alarms")));
            }
            None => {}
            Some(old) => {
                if std::mem::discriminant(&old.kind) != std::mem::discriminant(&alarm.kind) {
                    let message = format!("an alarm of another type has the name `{name}`");
                    return Err(CloudWatchError::validation(message));
                }
                alarm.state = old.state.clone();
                alarm.updated_ms = old.updated_ms;
                alarm.transitioned_ms = old.transitioned_ms;
            }
        }
        if let Kind::Composite(rule) = &alarm.kind {
            self.check_children(&name, rule)?;
        }
        self.alarms.insert(name.clone(), alarm);
        let first = self.composite_state(&name, None, now_ms);
        Ok(first.map(|state| self.enter(&name, state)).unwrap_or_default())
    }

    /// Evaluates each metric alarm whose newest period is over. Call it often; an alarm is evaluated once an interval.
    pub(super) fn evaluate_due(&mut self, store: &Store, clock: Clock, now_ms: i64) -> Vec<AlarmChange> {
        let found: Vec<_> =
            self.alarms.values_mut().filter_map(|alarm| evaluate_one(alarm, store, clock, now_ms)).collect();
        found.into_iter().flat_map(|(name, state)| self.enter(&name, state)).collect()
    }

    /// `SetAlarmState`: the next evaluation finds the true state again.
    pub(super) fn set_state(&mut self, input: &Value, now_ms: i64) -> Result<Vec<AlarmChange>, CloudWatchError> {
        let name = input::required_text(input, "AlarmName")?;
        let value = input::required_text(input, "StateValue")?;
        let value = AlarmState::parse(value).ok_or_else(|| {
            CloudWatchError::validation(format!("StateValue `{value}` is not one of OK, ALARM, INSUFFICIENT_DATA"))
        })?;
        let reason = input::text(input, "StateReason")?.ok_or_else(|| CloudWatchError::missing("StateReason"))?;
        length("StateReason", reason, 1023)?;
        let reason_data = input::text(input, "StateReasonData")?;
        length("StateReasonData", reason_data.unwrap_or_default(), 4000)?;
        if reason_data.is_some_and(|data| serde_json::from_str::<Value>(data).is_err()) {
            return Err(CloudWatchError::format("StateReasonData is not JSON"));
        }
        if !self.alarms.contains_key(name) {
            return Err(CloudWatchError::not_found(format!("there is no alarm `{name}`")));
        }
        let reason_data = reason_data.map(str::to_owned);
        Ok(self.enter(name, StateRecord { value, reason: reason.to_owned(), reason_data, at_ms: now_ms }))
    }

    /// `DeleteAlarms`: all of them, or none when one does not exist.
    pub(super) fn delete(&mut self, input: &Value) -> Result<(), CloudWatchError> {
        let names = names(input)?;
        if let Some(unknown) = names.iter().find(|name| !self.alarms.contains_key(*name)) {
            return Err(CloudWatchError::not_found(format!("there is no alarm `{unknown}`; nothing was deleted")));
        }
        for name in &names {
            self.alarms.remove(name);
        }
        Ok(())
    }

    /// `EnableAlarmActions` and `DisableAlarmActions`.
    pub(super) fn enable_actions(&mut self, input: &Value, enabled: bool) -> Result<(), CloudWatchError> {
        for name in names(input)? {
            if let Some(alarm) = self.alarms.get_mut(&name) {
                alarm.actions_enabled = enabled;
            }
        }
        Ok(())
    }

    /// `DescribeAlarms`: of composite alarms only when `AlarmTypes` asks for them.
    pub(super) fn describe(&self, input: &Value) -> Result<Value, CloudWatchError> {
        let wanted: BTreeSet<String> = names(input)?.into_iter().collect();
        for member in ["ChildrenOfAlarmName", "ParentsOfAlarmName"] {
            if input::member(input, member).is_some() {
                return Err(CloudWatchError::validation(format!("the emulator does not support {member}")));
            }
        }
        let prefix = input::text(input, "AlarmNamePrefix")?.unwrap_or_default();
        if !wanted.is_empty() && !prefix.is_empty() {
            return Err(CloudWatchError::combination("AlarmNames and AlarmNamePrefix cannot be given together"));
        }
        let types = Types::read(input)?;
        let state = input::text(input, "StateValue")?;
        let action_prefix = input::text(input, "ActionPrefix")?.unwrap_or_default();
        let after = match input::text(input, "NextToken")? {
            None => "",
            Some(token) => token.strip_prefix(TOKEN).ok_or_else(|| CloudWatchError::next_token(token))?,
        };
        let most = input::count(input, "MaxRecords")?.unwrap_or(MAX_NAMES);
        if most > MAX_NAMES {
            return Err(CloudWatchError::validation(format!("MaxRecords is {most}, allowed are 1 to {MAX_NAMES}")));
        }
        let mut found = self
            .alarms
            .values()
            .filter(|alarm| alarm.name.as_str() > after && types.contain(&alarm.kind))
            .filter(|alarm| wanted.is_empty() || wanted.contains(&alarm.name))
            .filter(|alarm| alarm.name.starts_with(prefix))
            .filter(|alarm| state.is_none_or(|state| state == alarm.state.value.as_str()))
            .filter(|alarm| {
                let mut all =
                    alarm.ok_actions.iter().chain(&alarm.alarm_actions).chain(&alarm.insufficient_data_actions);
                action_prefix.is_empty() || all.any(|arn| arn.starts_with(action_prefix))
            });
        let page: Vec<&Alarm> = found.by_ref().take(most).collect();
        let (composite, metric): (Vec<&Alarm>, Vec<&Alarm>) =
            page.iter().partition(|alarm| matches!(alarm.kind, Kind::Composite(_)));
        let describe = |alarms: Vec<&Alarm>| alarms.into_iter().map(Alarm::describe).collect::<Vec<_>>();
        let mut answer =
            json!({ "MetricAlarms": describe(metric), "CompositeAlarms": describe(composite), "LogAlarms": [] });
        if let (Some(_), Some(last), Some(answer)) = (found.next(), page.last(), answer.as_object_mut()) {
            answer.insert("NextToken".into(), format!("{TOKEN}{}", last.name).into());
        }
        Ok(answer)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Alarm> {
        self.alarms.get(name)
    }

    fn check_children(&self, name: &str, rule: &AlarmRule) -> Result<(), CloudWatchError> {
        let missing: Vec<&str> =
            rule.children().into_iter().filter(|child| *child == name || !self.alarms.contains_key(*child)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("alarms [{}] in the alarm rule of `{name}` do not exist", missing.join(", "));
        Err(CloudWatchError::validation(message))
    }

    /// Puts an alarm, and then the composite alarms that depend on it, into a state; the changes in order.
    fn enter(&mut self, name: &str, state: StateRecord) -> Vec<AlarmChange> {
        let mut changes = Vec::new();
        let mut queue = VecDeque::from([(name.to_owned(), state)]);
        while let Some((name, state)) = queue.pop_front() {
            let Some(alarm) = self.alarms.get_mut(&name) else {
                continue;
            };
            let at_ms = state.at_ms;
            let previous = std::mem::replace(&mut alarm.state, state);
            alarm.updated_ms = at_ms;
            if previous.value == alarm.state.value || changes.len() >= MAX_CHANGES {
                continue;
            }
            alarm.transitioned_ms = at_ms;
            changes.push(event::change(alarm, &previous));
            for parent in self.parents(&name) {
                let state = self.composite_state(&parent, Some(&name), at_ms);
                queue.extend(state.map(|state| (parent, state)));
            }
        }
        changes
    }

    fn parents(&self, child: &str) -> Vec<String> {
        let is_parent = |alarm: &&Alarm| match &alarm.kind {
            Kind::Metric(_) => false,
            Kind::Composite(rule) => rule.children().contains(child),
        };
        self.alarms.values().filter(is_parent).map(|alarm| alarm.name.clone()).collect()
    }

    /// The state that a composite alarm has to enter, `None` when it has it already. `cause` is the child that changed.
    fn composite_state(&self, name: &str, cause: Option<&str>, now_ms: i64) -> Option<StateRecord> {
        let alarm = self.alarms.get(name)?;
        let Kind::Composite(rule) = &alarm.kind else {
            return None;
        };
        let holds = rule.holds(&|child| self.alarms.get(child).map(|child| child.state.value));
        let value = if holds { AlarmState::Alarm } else { AlarmState::Ok };
        if alarm.state.value == value {
            return None;
        }
        let reason = match cause.and_then(|child| self.alarms.get(child)) {
            Some(child) => {
                let at = time::long(child.state.at_ms);
                format!("{} transitioned to {} at {at}", child.arn(), child.state.value.as_str())
            }
            None => format!("{} was created and its alarm rule evaluates to {}", arn(name), value.as_str()),
        };
        let children = rule.children().into_iter().filter(|child| cause.is_none_or(|cause| cause == *child));
        let triggering: Vec<Value> = children.filter_map(|child| self.triggering(child)).collect();
        let reason_data = json!({ "triggeringAlarms": triggering }).to_string();
        Some(StateRecord { value, reason, reason_data: Some(reason_data), at_ms: now_ms })
    }

    fn triggering(&self, child: &str) -> Option<Value> {
        let child = self.alarms.get(child)?;
        let state = json!({ "value": child.state.value.as_str(), "timestamp": time::iso(child.state.at_ms) });
        Some(json!({ "arn": child.arn(), "state": state }))
    }
}

/// Evaluates one alarm if it is due; the state that it has to enter.
fn evaluate_one(alarm: &mut Alarm, store: &Store, clock: Clock, now_ms: i64) -> Option<(String, StateRecord)> {
    let settings = match &mut alarm.kind {
        Kind::Metric(settings) => settings,
        Kind::Composite(_) => return None,
    };
    let end_ms = settings.newest_complete(clock, now_ms);
    if end_ms <= settings.evaluated_until_ms {
        return None;
    }
    settings.evaluated_until_ms = end_ms;
    let points = settings.points(store, clock, end_ms, now_ms);
    let error = points.as_ref().err().map(|error| error.message.clone());
    if error != alarm.evaluation_error {
        alarm.updated_ms = now_ms;
        alarm.evaluation_error = error;
    }
    let evaluation = evaluate(&settings.rule, &points.ok()?);
    let value = evaluation.state.filter(|value| *value != alarm.state.value)?;
    let reason_data = reason_data(settings, &evaluation.evaluated, now_ms);
    Some((alarm.name.clone(), StateRecord { value, reason: evaluation.reason, reason_data, at_ms: now_ms }))
}

struct Types {
    metric: bool,
    composite: bool,
}

impl Types {
    fn read(input: &Value) -> Result<Self, CloudWatchError> {
        let given = input::texts(input, "AlarmTypes")?;
        if let Some(unknown) =
            given.iter().find(|name| !["MetricAlarm", "CompositeAlarm", "LogAlarm"].contains(&name.as_str()))
        {
            let message = format!("AlarmTypes has `{unknown}`, allowed are MetricAlarm, CompositeAlarm, LogAlarm");
            return Err(CloudWatchError::validation(message));
        }
        let has = |name: &str| given.iter().any(|given| given == name);
        Ok(Self { metric: given.is_empty() || has("MetricAlarm"), composite: has("CompositeAlarm") })
    }

    fn contain(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Metric(_) => self.metric,
            Kind::Composite(_) => self.composite,
        }
    }
}

fn names(input: &Value) -> Result<Vec<String>, CloudWatchError> {
    let names = input::texts(input, "AlarmNames")?;
    if names.len() > MAX_NAMES {
        let message = format!("AlarmNames has {} entries, at most {MAX_NAMES} are allowed", names.len());
        return Err(CloudWatchError::validation(message));
    }
    Ok(names)
}
