//! Points in time as CloudWatch writes them. Everything is UTC and milliseconds since 1970 inside.

const DAY_S: i64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// For example `2026-11-20T10:20:40.989+0000`: the style of events, without a colon in the offset.
pub(super) fn iso(ms: i64) -> String {
    let at = Civil::of(ms);
    let Civil { year, month, day, hour, minute, second, millisecond, .. } = at;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}+0000")
}

/// For example `20/11/26 10:19:00`: a datapoint in the reason of a state.
pub(super) fn short(ms: i64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of(ms);
    format!("{day:02}/{month:02}/{:02} {hour:02}:{minute:02}:{second:02}", year.rem_euclid(100))
}

/// For example `Friday 20 November, 2026 10:20:40 UTC`: a transition in the reason of a composite alarm.
pub(super) fn long(ms: i64) -> String {
    let Civil { weekday, year, month_name, day, hour, minute, second, .. } = Civil::of(ms);
    format!("{weekday} {day:02} {month_name}, {year} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Seconds since 1970, the timestamps of both wire protocols.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay exact in a double for 280,000 years")]
pub(super) fn to_seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Milliseconds of a timestamp in seconds, `None` when it lies outside the years 1970 to 5138.
#[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
pub(super) fn from_seconds(seconds: f64) -> Option<i64> {
    (0.0..1e11).contains(&seconds).then(|| (seconds * 1000.0).round() as i64)
}

struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millisecond: i64,
    weekday: &'static str,
    month_name: &'static str,
}

impl Civil {
    fn of(ms: i64) -> Self {
        let seconds = ms.div_euclid(1000);
        let days = seconds.div_euclid(DAY_S);
        let of_day = seconds.rem_euclid(DAY_S);
        let (year, month, day) = civil(days);
        Self {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            millisecond: ms.rem_euclid(1000),
            weekday: name(&WEEKDAYS, days.rem_euclid(7)),
            month_name: name(&MONTHS, month - 1),
        }
    }
}

/// Year, month and day of a count of days since 1970. Years are counted from 1 March, so that the leap day is the last day
/// of a year and month lengths follow one formula.
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march_0000 = days + 719_468;
    let era = from_march_0000.div_euclid(146_097);
    let day_of_era = from_march_0000.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn name(names: &[&'static str], index: i64) -> &'static str {
    usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_cloudwatch_writes_them() {
        // (case, ms, iso, short, long)
        let table = [
            ("epoch", 0, "1970-01-01T00:00:00.000+0000", "01/01/70 00:00:00", "Thursday 01 January, 1970 00:00:00 UTC"),
            (
                "fixture",
                1_795_170_040_989,
                "2026-11-20T10:20:40.989+0000",
                "20/11/26 10:20:40",
                "Friday 20 November, 2026 10:20:40 UTC",
            ),
            (
                "leap day",
                1_709_210_096_007,
                "2024-02-29T12:34:56.007+0000",
                "29/02/24 12:34:56",
                "Thursday 29 February, 2024 12:34:56 UTC",
            ),
            (
                "last moment of a century year",
                4_107_542_399_999,
                "2100-02-28T23:59:59.999+0000",
                "28/02/00 23:59:59",
                "Sunday 28 February, 2100 23:59:59 UTC",
            ),
        ];
        for (case, ms, in_events, in_reasons, in_composites) in table {
            assert_eq!(iso(ms), in_events, "{case}");
            assert_eq!(short(ms), in_reasons, "{case}");
            assert_eq!(long(ms), in_composites, "{case}");
            assert_eq!(from_seconds(to_seconds(ms)), Some(ms), "{case}");
        }
        for outside in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(from_seconds(outside), None, "{outside}");
        }
    }
}
