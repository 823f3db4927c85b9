//! The line in which Lambda reports a call, at the end of the log of the call (`LogType: Tail`).
//!
//! `REPORT RequestId: 8f5…⇥Duration: 12.34 ms⇥Billed Duration: 13 ms⇥Memory Size: 128 MB⇥Max Memory Used: 64 MB⇥Init Duration: 97.10 ms⇥`.
//! The function writes to the same log, so a line that is about another request says nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

/// Lambda gives the last 4 KB of the log.
const MAX_TAIL: usize = 4 * 1024;
/// In base64, and a little more.
const MAX_ENCODED: usize = 6 * 1024;
/// No call of a function takes longer.
const MAX_MS: f64 = 15.0 * 60.0 * 1000.0;

/// What Lambda reports of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportLine {
    /// How long the handler ran.
    pub ran_for: Duration,
    /// How long its environment took to start, if it was started for this call.
    pub init: Option<Duration>,
}

impl ReportLine {
    /// The report in `LogResult`; `None`: there is none that can be understood.
    ///
    /// * `log_result`: as Lambda sends it, base64.
    /// * `request_id`: of the call, from the answer's header.
    #[must_use]
    pub fn of_log_result(log_result: &str, request_id: &str) -> Option<Self> {
        if log_result.len() > MAX_ENCODED || request_id.is_empty() {
            return None;
        }
        let bytes = STANDARD.decode(log_result).ok()?;
        // The tail may begin in the middle of a character.
        let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(MAX_TAIL + 1024))?);
        text.lines().rev().find_map(|line| Self::of_line(line, request_id))
    }

    fn of_line(line: &str, request_id: &str) -> Option<Self> {
        let mut parts = line.trim_end().split('\t');
        if parts.next()?.strip_prefix("REPORT RequestId: ")?.trim() != request_id {
            return None;
        }
        let (mut ran_for, mut init) = (None, None);
        for part in parts {
            let Some((name, value)) = part.split_once(": ") else { continue };
            match name.trim() {
                "Duration" => ran_for = Some(milliseconds(value)?),
                "Init Duration" => init = Some(milliseconds(value)?),
                _ => {}
            }
        }
        Some(Self { ran_for: ran_for?, init })
    }
}

fn milliseconds(text: &str) -> Option<Duration> {
    let ms: f64 = text.trim().strip_suffix(" ms")?.parse().ok()?;
    (0.0..=MAX_MS).contains(&ms).then(|| Duration::from_secs_f64(ms / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "8f507cfc-xmpl-4697-b07a-ac58fc914c95";

    fn report(log: &str) -> Option<ReportLine> {
        ReportLine::of_log_result(&STANDARD.encode(log), ID)
    }

    #[test]
    fn what_a_log_reports() {
        let warm = format!(
            "START RequestId: {ID} Version: 7\nEND RequestId: {ID}\nREPORT RequestId: {ID}\tDuration: 79.67 ms\tBilled Duration: 80 ms\tMemory Size: 128 MB\tMax Memory Used: 73 MB\n"
        );
        let cold = format!(
            "REPORT RequestId: {ID}\tDuration: 1.50 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 73 MB\tInit Duration: 130.25 ms\t\nXRAY TraceId: 1-5\tSegmentId: 07\tSampled: true\n"
        );
        let of = |ran_us, init_us: Option<u64>| {
            Some(ReportLine { ran_for: Duration::from_micros(ran_us), init: init_us.map(Duration::from_micros) })
        };
        let other = "REPORT RequestId: 00000000-0000-0000-0000-000000000000\tDuration: 1.00 ms\n";
        let table = [
            ("warm", warm.clone(), of(79_670, None)),
            ("cold, with a trace behind it", cold, of(1_500, Some(130_250))),
            ("cut off at the front", warm.get(20..).unwrap().to_owned(), of(79_670, None)),
            ("a function that prints reports of its own", format!("{other}{warm}{other}"), of(79_670, None)),
            ("another request's", other.to_owned(), None),
            ("no duration", format!("REPORT RequestId: {ID}\tBilled Duration: 80 ms\n"), None),
            ("no number", format!("REPORT RequestId: {ID}\tDuration: soon ms\n"), None),
            ("not finite", format!("REPORT RequestId: {ID}\tDuration: inf ms\n"), None),
            ("negative", format!("REPORT RequestId: {ID}\tDuration: -1 ms\n"), None),
            ("longer than a call can take", format!("REPORT RequestId: {ID}\tDuration: 900001 ms\n"), None),
            (
                "an init that is no number",
                format!("REPORT RequestId: {ID}\tDuration: 1 ms\tInit Duration: x ms\n"),
                None,
            ),
            ("in other units", format!("REPORT RequestId: {ID}\tDuration: 1 s\n"), None),
            ("nothing", String::new(), None),
        ];
        for (case, log, expected) in table {
            assert_eq!(report(&log), expected, "{case}");
        }
        assert_eq!(ReportLine::of_log_result("*", ID), None, "not base64");
        assert_eq!(ReportLine::of_log_result(&STANDARD.encode(&warm), ""), None, "nobody knows whose it is");
        assert_eq!(ReportLine::of_log_result(&STANDARD.encode(warm.repeat(100)), ID), None, "more than a tail");
    }

    proptest! {
        #[test]
        fn nothing_panics(log in any::<Vec<u8>>(), part in "[^\n]{0,60}") {
            let log = [log, format!("REPORT RequestId: {ID}\t{part}\n").into_bytes()].concat();
            let report = ReportLine::of_log_result(&STANDARD.encode(log), ID);
            prop_assert!(report.is_none_or(|report| report.ran_for <= Duration::from_secs(900)));
        }
    }
}
