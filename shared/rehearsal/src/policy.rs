//! The policy of a service.

use serde_json::{Value, json};

use crate::scenario::{PolicyPreset, Service};

/// The policy of a service: its preset with the scenario's members over it.
#[must_use]
pub fn policy(service: &Service, topic: &str) -> Value {
    let mut policy = alarms(&service.name, topic);
    match service.policy_preset {
        PolicyPreset::Alarms => {}
        PolicyPreset::Compared => compared(&service.name, &mut policy),
    }
    merge(&mut policy, &service.policy);
    policy
}

fn alarms(service: &str, topic: &str) -> Value {
    let alarm = |impact: &str| json!({"alarms": [format!("{service}-{impact}")]});
    json!({
        "service": service,
        "mode": "rollback",
        "before_traffic": {
            "deadline": "10s",
            "probes": [
                {"invoke": {"payload": {"path": "/health"}, "expect": {"status": 200, "within": "3s"}, "times": 2}}
            ]
        },
        "signals": {
            "errors": alarm("errors"),
            "latency": alarm("latency"),
            "availability": alarm("availability"),
            "transactions": alarm("transactions")
        },
        "bake": "10s",
        "tick": "2s",
        "notify": {"sns": topic}
    })
}

/// Errors, latency and traffic by version as Lambda measures them, transactions as the application does. The times are those of
/// a rehearsal: buckets of 5 s, a history of half a minute.
fn compared(service: &str, policy: &mut Value) {
    let custom = |all: &str, bad: &str| {
        json!({"custom": {
            "namespace": "Checkout", "all": all, "bad": bad, "dimensions": {"Service": service}, "version": "Version",
            "without_probes": true
        }})
    };
    let signals = json!({
        "errors": {"alarms": [format!("{service}-errors")], "against_baseline": {}},
        "latency": {"against_baseline": {}},
        "availability": {"against_baseline": {}},
        "transactions": {"metric": custom("TransactionsAttempted", "TransactionsFailed"), "against_baseline": {}}
    });
    if let Some(members) = policy.as_object_mut() {
        members.insert("signals".to_owned(), signals);
        members.insert(
            "judge".to_owned(),
            json!({
                "bucket": "5s", "ingestion_delay": "2s", "grace": "8s", "no_data_timeout": "20s", "history": "30s", "long": "150s",
                "recent": "15s", "peak": "50s", "warm_up": "7500ms", "minute": "5s",
            }),
        );
    }
}

/// JSON merge patch (RFC 7396).
fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(members) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (name, value) in members {
                match (value, into.as_object_mut()) {
                    (_, None) => {}
                    (Value::Null, Some(object)) => drop(object.remove(name)),
                    (value, Some(object)) => merge(object.entry(name.clone()).or_insert(Value::Null), value),
                }
            }
        }
        Value::Null => {}
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => other.clone_into(into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_of(keys: &str) -> Value {
        policy(&Service::parse(&format!("{{{keys}}}")).unwrap(), "arn:topic")
    }

    #[test]
    fn alarms_decide_unless_the_preset_says_otherwise() {
        let plain = policy_of("load: 1");
        assert_eq!(plain.pointer("/signals/latency"), Some(&json!({"alarms": ["checkout-latency"]})));
        assert_eq!(plain.get("judge"), None);
        let compared = policy_of("policy-preset: compared");
        assert_eq!(compared.pointer("/signals/latency"), Some(&json!({"against_baseline": {}})));
        assert_eq!(compared.pointer("/judge/bucket"), Some(&json!("5s")));
        assert_eq!(compared.get("notify"), plain.get("notify"), "all else is the same");
    }

    #[test]
    fn a_scenario_changes_its_preset_member_by_member() {
        let keys = "policy-preset: compared, policy: {bake: 50s, judge: {no_data_timeout: 20s}, signals: {errors: {alarms: null}}}";
        let policy = policy_of(keys);
        assert_eq!(policy.pointer("/bake"), Some(&json!("50s")));
        assert_eq!(policy.pointer("/judge/no_data_timeout"), Some(&json!("20s")));
        assert_eq!(policy.pointer("/judge/grace"), Some(&json!("8s")));
        assert_eq!(policy.pointer("/signals/errors"), Some(&json!({"against_baseline": {}})));
    }
}
