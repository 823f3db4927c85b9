//! Points in time as CloudWatch writes them. Everything is UTC and milliseconds since 1970 inside.

use jiff::Timestamp;

/// For example `2026-11-20T10:20:40.989+0000`: the style of events, without a colon in the offset.
pub(super) fn iso(ms: i64) -> String {
    written("%Y-%m-%dT%H:%M:%S.%3f+0000", ms)
}

/// For example `20/11/26 10:19:00`: a datapoint in the reason of a state.
pub(super) fn short(ms: i64) -> String {
    written("%d/%m/%y %H:%M:%S", ms)
}

/// For example `Friday 20 November, 2026 10:20:40 UTC`: a transition in the reason of a composite alarm.
pub(super) fn long(ms: i64) -> String {
    written("%A %d %B, %Y %H:%M:%S UTC", ms)
}

fn written(format: &str, ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap_or_default().strftime(format).to_string()
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
