//! EventBridge event patterns.

use serde_json::{Map, Value};

/// A pattern whose every filter the emulator knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern(Map<String, Value>);

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event pattern is not valid at `{at}`: {reason}")]
pub struct PatternError {
    at: String,
    reason: String,
}

impl Pattern {
    /// Checks `value`: objects nest, each leaf is a non-empty list of alternatives (exact values, `prefix`, `suffix`,
    /// `exists`, `anything-but`).
    ///
    /// # Errors
    /// When a leaf is no list, or a filter is unknown; the path says where.
    pub fn parse(value: &Value) -> Result<Self, PatternError> {
        let members = value.as_object().ok_or_else(|| refuse("", "a pattern is an object"))?;
        check(members, "")?;
        Ok(Self(members.clone()))
    }

    /// Whether `event` has everything that the pattern asks for.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        object_matches(&self.0, event)
    }
}

fn refuse(at: &str, reason: &str) -> PatternError {
    PatternError { at: at.to_owned(), reason: reason.to_owned() }
}

fn check(members: &Map<String, Value>, at: &str) -> Result<(), PatternError> {
    for (key, member) in members {
        let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match member {
            Value::Object(nested) => check(nested, &at)?,
            Value::Array(alternatives) if alternatives.is_empty() => {
                return Err(refuse(&at, "empty lists match nothing"));
            }
            Value::Array(alternatives) => alternatives.iter().try_for_each(|filter| check_filter(filter, &at))?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(refuse(&at, "a value stands in a list"));
            }
        }
    }
    Ok(())
}

fn check_filter(filter: &Value, at: &str) -> Result<(), PatternError> {
    match filter {
        Value::Object(members) if members.len() == 1 => match members.iter().next() {
            Some((name, Value::String(_))) if name == "prefix" || name == "suffix" => Ok(()),
            Some((name, Value::Bool(_))) if name == "exists" => Ok(()),
            Some((name, Value::String(_) | Value::Number(_) | Value::Array(_))) if name == "anything-but" => Ok(()),
            Some((name, Value::Object(nested))) if name == "anything-but" => {
                check_filter(&Value::Object(nested.clone()), at)
            }
            Some((name, _)) => Err(refuse(at, &format!("the emulator has no filter `{name}` with this value"))),
            None => Err(refuse(at, "an empty filter")),
        },
        Value::Object(_) => Err(refuse(at, "a filter has one member")),
        Value::Array(_) => Err(refuse(at, "lists do not nest")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn object_matches(pattern: &Map<String, Value>, event: &Value) -> bool {
    pattern.iter().all(|(key, wanted)| {
        let found = event.get(key);
        match wanted {
            Value::Object(nested) => object_matches(nested, found.unwrap_or(&Value::Null)),
            Value::Array(alternatives) => alternatives.iter().any(|filter| filter_matches(filter, found)),
            // Refused by `parse`.
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    })
}

/// A list in the event matches when one of its items does.
fn filter_matches(filter: &Value, found: Option<&Value>) -> bool {
    if let Some(wanted) = filter.get("exists").and_then(Value::as_bool) {
        return wanted == found.is_some_and(|value| !value.is_object());
    }
    match found {
        None => false,
        Some(Value::Array(items)) => items.iter().any(|item| value_matches(filter, item)),
        Some(value) => value_matches(filter, value),
    }
}

fn value_matches(filter: &Value, value: &Value) -> bool {
    let Value::Object(members) = filter else {
        return filter == value;
    };
    members.iter().all(|(name, operand)| match (name.as_str(), operand, value) {
        ("prefix", Value::String(prefix), Value::String(text)) => text.starts_with(prefix),
        ("suffix", Value::String(suffix), Value::String(text)) => text.ends_with(suffix),
        ("anything-but", Value::Array(excluded), _) => !excluded.contains(value),
        ("anything-but", nested, _) => !value_matches(nested, value),
        (_, _, _) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pattern_matches_what_eventbridge_would() {
        let event = json!({
            "source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change",
            "resources": ["arn:a", "arn:b"],
            "detail": {"alarmName": "checkout-5xx", "state": {"value": "ALARM"}, "count": 3, "none": null}
        });
        // (case, pattern, matches)
        let table = [
            ("exact", json!({"source": ["aws.cloudwatch"]}), true),
            ("one of several", json!({"source": ["aws.codedeploy", "aws.cloudwatch"]}), true),
            ("another source", json!({"source": ["aws.codedeploy"]}), false),
            ("nested", json!({"detail": {"state": {"value": ["ALARM", "OK"]}}}), true),
            ("nested, another", json!({"detail": {"state": {"value": ["OK"]}}}), false),
            ("all members must match", json!({"source": ["aws.cloudwatch"], "detail": {"count": [4]}}), false),
            ("missing member", json!({"detail": {"region": ["us-east-1"]}}), false),
            ("missing object", json!({"nothing": {"x": ["y"]}}), false),
            ("number", json!({"detail": {"count": [3]}}), true),
            ("null", json!({"detail": {"none": [null]}}), true),
            ("list in the event", json!({"resources": ["arn:b"]}), true),
            ("prefix", json!({"detail": {"alarmName": [{"prefix": "checkout-"}]}}), true),
            ("prefix of another", json!({"detail": {"alarmName": [{"prefix": "snapback-"}]}}), false),
            ("suffix", json!({"detail": {"alarmName": [{"suffix": "5xx"}]}}), true),
            ("exists", json!({"detail": {"alarmName": [{"exists": true}]}}), true),
            ("absent as asked", json!({"detail": {"muteDetail": [{"exists": false}]}}), true),
            ("not absent", json!({"detail": {"alarmName": [{"exists": false}]}}), false),
            ("anything but", json!({"detail": {"alarmName": [{"anything-but": ["a", "b"]}]}}), true),
            ("anything but this", json!({"detail": {"alarmName": [{"anything-but": "checkout-5xx"}]}}), false),
            (
                "anything but a prefix",
                json!({"detail": {"alarmName": [{"anything-but": {"prefix": "snapback-"}}]}}),
                true,
            ),
            (
                "anything but its prefix",
                json!({"detail": {"alarmName": [{"anything-but": {"prefix": "check"}}]}}),
                false,
            ),
        ];
        for (case, pattern, matches) in table {
            assert_eq!(Pattern::parse(&pattern).unwrap().matches(&event), matches, "{case}");
        }
    }

    #[test]
    fn what_it_does_not_know_is_refused_with_its_place() {
        let table = [
            ("no object", json!([]), ""),
            ("bare value", json!({"source": "aws.x"}), "source"),
            ("empty list", json!({"detail": {"a": []}}), "detail.a"),
            ("unknown filter", json!({"detail": {"a": [{"numeric": [">", 1]}]}}), "detail.a"),
            ("wrong operand", json!({"a": [{"prefix": 1}]}), "a"),
            ("nested list", json!({"a": [["b"]]}), "a"),
        ];
        for (case, pattern, at) in table {
            assert_eq!(Pattern::parse(&pattern).unwrap_err().at, at, "{case}");
        }
    }
}
