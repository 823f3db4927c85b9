//! Shares as people write them: `99.9%`, `0.05pp`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// A share: a number with `%`, for example `99.9%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ShareText(pub(super) f64);

/// Percentage points, for example `0.05pp`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PointsText(pub(super) f64);

/// A number with this unit behind it, as a hundredth.
fn parse(text: &str, unit: &str) -> Option<f64> {
    let digits = text.strip_suffix(unit)?;
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // Shifted in the text, so that 0.1 % is the number that people mean, not the nearest hundredth of another.
    let shifted: f64 = format!("{digits}e-2").parse().ok().filter(|_| is_plain)?;
    (0.0..=1.0).contains(&shifted).then_some(shifted)
}

/// The point is moved in the text, so that what is printed is exactly what it was parsed from.
fn print(share: f64, unit: &str) -> String {
    let text = share.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let padded = format!("{fraction:0<2}");
    let (hundredths, rest) = padded.split_at_checked(2).unwrap_or((&padded, ""));
    let digits = format!("{whole}{hundredths}");
    let whole = Some(digits.trim_start_matches('0')).filter(|digits| !digits.is_empty()).unwrap_or("0");
    if rest.is_empty() { format!("{whole}{unit}") } else { format!("{whole}.{rest}{unit}") }
}

fn read<'de, D: Deserializer<'de>>(deserializer: D, unit: &str, what: &str) -> Result<f64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    value.as_str().and_then(|text| parse(text, unit)).ok_or_else(|| {
        let found = crate::reader::describe(Some(&value));
        de::Error::custom(format!("{found} is no {what}, allowed is a number from 0 to 100 with `{unit}` behind it"))
    })
}

impl<'de> Deserialize<'de> for ShareText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "%", "share").map(Self)
    }
}

impl Serialize for ShareText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&print(self.0, "%"))
    }
}

impl<'de> Deserialize<'de> for PointsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "pp", "number of points").map(Self)
    }
}

impl Serialize for PointsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&print(self.0, "pp"))
    }
}

#[cfg(any(test, feature = "schema"))]
impl schemars::JsonSchema for ShareText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9]+)?%$",
            "description": "Per cent: 99.9%."
        })
    }
}

#[cfg(any(test, feature = "schema"))]
impl schemars::JsonSchema for PointsText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Points".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(\\.[0-9]+)?pp$",
            "description": "Percentage points: 0.5pp."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_share_is_printed_exactly(share in 0.0..=1.0_f64) {
            proptest::prop_assert_eq!(parse(&print(share, "%"), "%").map(f64::to_bits), Some(share.to_bits()));
        }
    }

    #[test]
    fn people_read_what_they_wrote() {
        for text in ["0%", "0.05%", "1%", "5%", "12.5%", "99.9%", "99.999%", "100%"] {
            assert_eq!(parse(text, "%").map(|share| print(share, "%")).as_deref(), Some(text));
        }
    }

    #[test]
    fn forms() {
        let table = [
            ("99.9%", Some(0.999)),
            ("5%", Some(0.05)),
            ("0%", Some(0.0)),
            ("100%", Some(1.0)),
            ("0.05%", Some(0.0005)),
            ("100.1%", None),
            ("-1%", None),
            ("1e1%", None),
            ("NaN%", None),
            ("%", None),
            ("5", None),
            ("5 %", None),
            ("0.5pp", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text, "%"), expected, "{text}");
            if let Some(share) = expected {
                assert_eq!(parse(&print(share, "%"), "%"), Some(share), "{text} printed");
            }
        }
    }
}
