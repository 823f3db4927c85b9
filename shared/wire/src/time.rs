//! Timestamps as AWS writes them in events.

use snapback_core::Timestamp;

/// Text that is no timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp such as 2026-11-20T10:20:40.989+0000 or 2026-11-20T10:20:40Z")]
pub struct InvalidTimestamp;

/// Parses `2026-11-20T10:20:40.989+0000` (alarms), `2026-11-20T10:20:40Z` (EventBridge), with or without a fraction, and
/// offsets with or without a colon. Digits below a millisecond are dropped.
///
/// # Errors
/// When the text has another form, or a part is out of its range.
pub fn parse_timestamp(text: &str) -> Result<Timestamp, InvalidTimestamp> {
    parse(text).ok_or(InvalidTimestamp)
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let (time, rest) = (rest.get(..9)?, rest.get(9..)?);
    let [year, month, day] = three(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = three(time.strip_prefix('T')?, ':', [2, 2, 2])?;
    if !(1..=12).contains(&month)
        || !(1..=days_of_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let (ms, zone) = fraction(rest)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp::from_ms((seconds - offset_seconds(zone)?) * 1000 + ms))
}

/// Three numbers of fixed width.
fn three(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).zip(widths);
    let mut next = || parts.next().and_then(|(part, width)| digits(part, width));
    let numbers = [next()?, next()?, next()?];
    let separators = text.chars().filter(|c| *c == separator).count();
    (separators == 2).then_some(numbers)
}

fn digits(text: &str, width: usize) -> Option<i64> {
    let is_number = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Milliseconds of `.989`, and what follows.
fn fraction(rest: &str) -> Option<(i64, &str)> {
    let Some(after_dot) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let end = after_dot.find(|c: char| !c.is_ascii_digit())?;
    let (fraction, zone) = after_dot.split_at(end);
    if !(1..=9).contains(&fraction.len()) {
        return None;
    }
    let ms: String = fraction.chars().chain("00".chars()).take(3).collect();
    Some((digits(&ms, 3)?, zone))
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let rest = zone.get(1..)?;
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None => (rest.get(..2)?, rest.get(2..)?),
    };
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 14 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        let table = [
            ("2026-11-20T10:15:26.900+0000", Some(1_795_169_726_900)),
            ("2026-11-20T10:15:26.9Z", Some(1_795_169_726_900)),
            ("2026-11-20T10:15:26.900999Z", Some(1_795_169_726_900)),
            ("2026-11-20T10:15:26Z", Some(1_795_169_726_000)),
            ("2026-11-20T12:15:26+02:00", Some(1_795_169_726_000)),
            ("2026-11-20T05:15:26-0500", Some(1_795_169_726_000)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T12:34:56.007Z", Some(1_709_210_096_007)),
            ("2023-02-29T12:34:56Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-31T00:00:00Z", None),
            ("2026-11-20T24:00:00Z", None),
            ("2026-11-20T10:15:26", None),
            ("2026-11-20T10:15:26.Z", None),
            ("2026-11-20T10:15:26.9", None),
            ("2026-11-20T10:15:26+000", None),
            ("2026-11-20T10:15:26+1500", None),
            ("2026-11-20 10:15:26Z", None),
            ("2026-11-20T10:15:26Zx", None),
            ("2026-1-20T10:15:26Z", None),
            ("2026-11-20T1é:15:26Z", None),
            ("", None),
        ];
        for (text, ms) in table {
            assert_eq!(parse_timestamp(text).ok().map(Timestamp::ms), ms, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_times_parse_back(ms in 0_i64..4_102_444_800_000) {
            let at = Timestamp::from_ms(ms);
            prop_assert_eq!(parse_timestamp(&at.to_string()), Ok(at));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}", digits in "[0-9T:.+Z-]{0,40}") {
            let _ = parse_timestamp(&text);
            let _ = parse_timestamp(&digits);
        }
    }
}
