//! What the world hears of a state change: the EventBridge detail and the payload of direct actions.

use serde_json::{Value, json};

use super::alarm::{Alarm, StateRecord, configuration};
use super::time;
use crate::parts::{ACCOUNT, AlarmChange, REGION};

/// The change from `previous` to the present state of `alarm`.
pub(super) fn change(alarm: &Alarm, previous: &StateRecord) -> AlarmChange {
    let data = json!({
        "alarmName": alarm.name,
        "state": state(&alarm.state),
        "previousState": state(previous),
        "configuration": configuration(alarm),
    });
    AlarmChange {
        name: alarm.name.clone(),
        arn: alarm.arn(),
        action_payload: json!({
            "source": "aws.cloudwatch",
            "alarmArn": alarm.arn(),
            "accountId": ACCOUNT,
            "time": time::iso(alarm.state.at_ms),
            "region": REGION,
            "alarmData": data,
        }),
        detail: data,
        actions: alarm.actions(),
    }
}

fn state(record: &StateRecord) -> Value {
    let mut state = json!({
        "value": record.value.as_str(),
        "reason": record.reason,
        "timestamp": time::iso(record.at_ms),
    });
    if let (Some(data), Some(state)) = (&record.reason_data, state.as_object_mut()) {
        state.insert("reasonData".into(), data.clone().into());
    }
    state
}
