//! Durations as people write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use snapback_core::policy::human;
use std::time::Duration;

/// What a duration looks like.
pub(super) const FORMS: &str = "a whole number with a unit, such as 250ms, 30s, 10m or 2h";

/// A duration: a whole number of milliseconds, seconds, minutes or hours, for example `250ms`, `30s`, `10m`, `2h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DurationText(pub(super) Duration);

/// Parses `250ms`, `30s`, `10m`, `2h` or `0`.
pub(super) fn parse(text: &str) -> Option<Duration> {
    // Nothing needs no unit.
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(unit_at);
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(ms_per_unit).map(Duration::from_millis)
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // YAML reads a bare 0 as a number.
        let zero = (value.as_u64() == Some(0)).then_some(Duration::ZERO);
        value.as_str().and_then(parse).or(zero).map(Self).ok_or_else(|| {
            let found = crate::reader::describe(Some(&value));
            de::Error::custom(format!("{found} is no duration, allowed is {FORMS}"))
        })
    }
}

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&human(self.0))
    }
}

#[cfg(any(test, feature = "schema"))]
impl schemars::JsonSchema for DurationText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^([0-9]+(ms|s|m|h)|0)$" },
                { "const": 0 }
            ],
            "description": "A whole number with a unit: 250ms, 30s, 10m or 2h; 0 needs none."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let table = [
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("2h", Some(7_200_000)),
            ("0s", Some(0)),
            ("0", Some(0)),
            ("00", None),
            ("90", None),
            ("1.5m", None),
            ("-1s", None),
            ("s", None),
            ("", None),
            ("10 m", None),
            ("10M", None),
            ("1d", None),
            ("18446744073709551615h", None),
            ("99999999999999999999s", None),
        ];
        for (text, ms) in table {
            assert_eq!(parse(text), ms.map(Duration::from_millis), "{text}");
        }
    }
}
