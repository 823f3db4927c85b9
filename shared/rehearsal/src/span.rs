//! A length of time as scenario files write it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A real time: a whole number of `ms`, `s` or `m`, for example `250ms` or `40s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let (digits, unit) = text.split_at(unit_at);
        let ms_per_unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            _ => return None,
        };
        let count: u64 = digits.parse().ok()?;
        count.checked_mul(ms_per_unit).map(Duration::from_millis).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is no time, allowed is for example 250ms, 40s or 2m")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let table = [
            ("250ms", Some(250)),
            ("40s", Some(40_000)),
            ("2m", Some(120_000)),
            ("0s", Some(0)),
            ("40", None),
            ("1.5s", None),
            ("-1s", None),
            ("s", None),
            ("", None),
            ("1h", None),
            ("99999999999999999999s", None),
            ("18446744073709551615m", None),
        ];
        for (text, ms) in table {
            assert_eq!(Span::parse(text), ms.map(Duration::from_millis).map(Span), "{text}");
        }
    }
}
