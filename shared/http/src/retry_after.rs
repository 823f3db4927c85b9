//! `Retry-After`, as RFC 9110 (section 10.2.3) writes it: seconds, or a date.

use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The longest that a server is waited for, whatever it says.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// How long from `now`; a date that is past is zero, a text that is neither form is `None`.
pub(crate) fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only a number that is too large is none.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        date(text)?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// A date such as `Sun, 06 Nov 1994 08:49:37 GMT`; the forms that HTTP gave up are not read.
pub(crate) fn date(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc2822).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        let now = date("Fri, 20 Nov 2026 10:15:26 GMT").unwrap();
        assert_eq!(now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_795_169_726);
        // (text, seconds)
        let table = [
            ("0", Some(0)),
            (" 30 ", Some(30)),
            ("3600", Some(3_600)),
            ("86400", Some(3_600)),
            ("99999999999999999999999", Some(3_600)),
            ("Fri, 20 Nov 2026 10:17:26 GMT", Some(120)),
            ("Fri, 20 Nov 2026 10:15:26 GMT", Some(0)),
            ("Fri, 20 Nov 2026 10:15:00 GMT", Some(0)),
            ("Fri, 01 Jan 2100 00:00:00 GMT", Some(3_600)),
            ("Fri, 20 Nov 2026 12:16:26 +0200", Some(60)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("+5", None),
            ("soon", None),
            ("2026-11-20T10:15:26Z", None),
            ("Fri, 32 Nov 2026 10:15:26 GMT", None),
        ];
        for (text, seconds) in table {
            assert_eq!(parse(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
