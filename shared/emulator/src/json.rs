//! Reading requests and writing answers as [`Value`], with the words of AWS in the errors.

use jiff::Timestamp;
use serde_json::{Value, json};

/// Key of the object by which a [`Value`] carries a timestamp; JSON prints its number, CBOR tags it (tag 1).
pub(crate) const TIMESTAMP: &str = "$timestamp";

/// A timestamp of an answer; `ms` since 1970 becomes seconds with fraction on the wire.
pub(crate) fn timestamp(ms: i64) -> Value {
    json!({ TIMESTAMP: seconds(ms) })
}

/// `ms` as seconds with fraction.
#[expect(clippy::cast_precision_loss, reason = "epoch milliseconds are far below 2^53")]
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// `value` with every timestamp object replaced by its number, as the JSON protocols print it.
pub(crate) fn flatten_timestamps(value: Value) -> Value {
    match value {
        Value::Object(members) => match members.get(TIMESTAMP) {
            Some(number) if members.len() == 1 => number.clone(),
            Some(_) | None => Value::Object(members.into_iter().map(|(k, v)| (k, flatten_timestamps(v))).collect()),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(flatten_timestamps).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// The non-empty text at `key`, or `None`.
pub(crate) fn text<'a>(input: &'a Value, key: &str) -> Option<&'a str> {
    input.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The object `value` without its null members (AWS leaves them out).
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().filter(|(_, member)| !member.is_null()).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => other,
    }
}

/// `ms` as EventBridge writes times: `2026-11-20T10:15:30Z`.
pub(crate) fn rfc3339_seconds(ms: i64) -> String {
    let whole = Timestamp::from_second(ms.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH);
    whole.to_string()
}

/// A random identifier in the form of a UUID.
pub(crate) fn uuid() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    let mut text = String::with_capacity(36);
    for (index, digit) in digits.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// `text` with `%XX` decoded; a broken escape stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let decoded = match (first, tail) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)).map(|(h, l)| h * 16 + l),
            (_, _) => None,
        };
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_decode_and_broken_ones_stay() {
        let table = [
            ("plain", "arn:aws", "arn:aws"),
            ("colons", "arn%3Aaws%3alambda", "arn:aws:lambda"),
            ("utf-8", "%E2%82%AC", "€"),
            ("cut short", "a%4", "a%4"),
            ("not hex", "%zz", "%zz"),
            ("at the end", "%", "%"),
        ];
        for (case, input, expected) in table {
            assert_eq!(percent_decode(input), expected, "{case}");
        }
    }

    #[test]
    fn times_and_identifiers_have_the_shape_of_aws() {
        assert_eq!(rfc3339_seconds(1_795_169_730_123), "2026-11-20T10:15:30Z");
        let id = uuid();
        assert_eq!(id.len(), 36, "{id}");
        assert_eq!(id.matches('-').count(), 4, "{id}");
    }

    #[test]
    fn timestamps_become_plain_numbers_at_any_depth() {
        let value = json!({"a": timestamp(1500), "b": [{"c": timestamp(-500)}], "d": {"$timestamp": 1, "e": 2}});
        let expected = json!({"a": 1.5, "b": [{"c": -0.5}], "d": {"$timestamp": 1, "e": 2}});
        assert_eq!(flatten_timestamps(value), expected);
    }
}
