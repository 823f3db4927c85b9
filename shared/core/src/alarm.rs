//! What one alarm, and one of its transitions, means for a deployment.

use crate::id::AlarmName;
use crate::time::Timestamp;
use crate::words::Signal;
use std::fmt;
use std::time::Duration;

/// Alarms of Snapback itself start with this; they are never judged.
pub const OWN_PREFIX: &str = "snapback-";

/// An exemption ends when its alarm has been OK for this long during the deployment.
pub const EXEMPTION_ENDS_AFTER_OK: Duration = Duration::from_secs(180);

/// CloudWatch's three alarm states. There is no default: an unknown word is a parse error at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmState {
    /// Within its threshold.
    Ok,
    /// Threshold breached.
    Alarm,
    /// Too little data to tell.
    InsufficientData,
}

impl AlarmState {
    /// The word CloudWatch uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    /// Parses the word CloudWatch uses; `None` for any other.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Ok, Self::Alarm, Self::InsufficientData].into_iter().find(|state| state.as_str() == word)
    }
}

impl fmt::Display for AlarmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The state of one alarm as an event or DescribeAlarms tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmReading {
    /// Alarm name.
    pub name: AlarmName,
    /// Its state.
    pub state: AlarmState,
    /// When it went into this state.
    pub since: Timestamp,
    /// The state before, with the time at which that began; only events tell it.
    pub previous: Option<(AlarmState, Timestamp)>,
    /// CloudWatch's reason, for people; at most 1,023 characters.
    pub reason: String,
    /// The oldest breaching datapoint named in the reason's data, when it names one.
    pub oldest_breaching: Option<Timestamp>,
}

/// Where a watched alarm comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmSource {
    /// The policy names it.
    Policy,
    /// It is attached to the deployment group.
    Group,
}

/// An alarm that concerns a deployment, from the snapshot before traffic on.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedAlarm {
    /// Alarm name.
    pub name: AlarmName,
    /// Kind of impact; `None` for an alarm of the group that the policy does not name.
    pub signal: Option<Signal>,
    /// Where it comes from.
    pub source: AlarmSource,
    /// Last known state with its beginning; `None`: DescribeAlarms does not know the alarm, or was never readable.
    pub last: Option<(AlarmState, Timestamp)>,
    /// Red before traffic: it judges nothing until it has been OK for [`EXEMPTION_ENDS_AFTER_OK`].
    pub is_exempt: bool,
}

/// What a reading means for one deployment at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmMeaning {
    /// A watched, armed alarm went red while customers use the new version.
    Bad,
    /// Red, but it was red before the version got traffic.
    Exempt,
    /// Red, but no customer uses the new version yet.
    TooEarly,
    /// Not red.
    Fine,
}

impl WatchedAlarm {
    /// Whether this alarm can still judge the deployment: it exists and is not exempt.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.last.is_some() && !self.is_exempt
    }

    /// Takes a reading over: newer transitions replace older ones, late ones are ignored, and an exemption ends once the
    /// alarm has been OK long enough. Returns whether anything changed.
    pub fn observe(&mut self, reading: &AlarmReading, now: Timestamp) -> bool {
        let before = self.clone();
        if let Some((AlarmState::Ok, since)) = reading.previous {
            self.end_exemption(reading.since.since(since));
        }
        if self.last.is_none_or(|(_, since)| reading.since >= since) {
            self.last = Some((reading.state, reading.since));
        }
        if let Some((AlarmState::Ok, since)) = self.last {
            self.end_exemption(now.since(since));
        }
        *self != before
    }

    fn end_exemption(&mut self, ok_for: Duration) {
        if ok_for >= EXEMPTION_ENDS_AFTER_OK {
            self.is_exempt = false;
        }
    }

    /// What `reading` means, given when the new version began to get traffic (`None`: not yet).
    ///
    /// A transition at or before the start of the shift never judges: it was there before the version was.
    #[must_use]
    pub fn meaning(&self, reading: &AlarmReading, shift_started_at: Option<Timestamp>) -> AlarmMeaning {
        match (reading.state, shift_started_at) {
            (AlarmState::Ok | AlarmState::InsufficientData, _) => AlarmMeaning::Fine,
            (AlarmState::Alarm, None) => AlarmMeaning::TooEarly,
            (AlarmState::Alarm, Some(start)) if self.is_exempt || reading.since <= start => AlarmMeaning::Exempt,
            (AlarmState::Alarm, Some(_)) => AlarmMeaning::Bad,
        }
    }
}

/// Whether an alarm is one of Snapback's own, which are never judged.
#[must_use]
pub fn is_own(name: &AlarmName) -> bool {
    name.as_str().starts_with(OWN_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_ms(second * 1000)
    }

    fn reading(state: AlarmState, since: i64) -> AlarmReading {
        AlarmReading {
            name: AlarmName::parse("checkout-5xx").unwrap(),
            state,
            since: at(since),
            previous: None,
            reason: String::new(),
            oldest_breaching: None,
        }
    }

    fn watched(is_exempt: bool) -> WatchedAlarm {
        WatchedAlarm {
            name: AlarmName::parse("checkout-5xx").unwrap(),
            signal: Some(Signal::Errors),
            source: AlarmSource::Policy,
            last: Some((if is_exempt { AlarmState::Alarm } else { AlarmState::Ok }, at(0))),
            is_exempt,
        }
    }

    #[test]
    fn meaning_of_a_transition() {
        use AlarmMeaning::{Bad, Exempt, Fine, TooEarly};
        use AlarmState::{Alarm, InsufficientData, Ok};
        let table = [
            ("red in the shift", false, Alarm, 110, Some(100), Bad),
            ("red in the very second the shift starts", false, Alarm, 100, Some(100), Exempt),
            ("red before the shift", false, Alarm, 99, Some(100), Exempt),
            ("red before traffic", false, Alarm, 99, None, TooEarly),
            ("exempt", true, Alarm, 110, Some(100), Exempt),
            ("ok", false, Ok, 110, Some(100), Fine),
            ("silence is not a breach", false, InsufficientData, 110, Some(100), Fine),
        ];
        for (case, is_exempt, state, since, shift, expected) in table {
            let meaning = watched(is_exempt).meaning(&reading(state, since), shift.map(at));
            assert_eq!(meaning, expected, "{case}");
        }
    }

    #[test]
    fn an_exemption_ends_after_three_minutes_of_ok() {
        let mut alarm = watched(true);
        alarm.observe(&reading(AlarmState::Ok, 200), at(379));
        assert!(alarm.is_exempt, "2 min 59 s");
        alarm.observe(&reading(AlarmState::Ok, 200), at(380));
        assert!(!alarm.is_exempt, "3 min");
    }

    #[test]
    fn an_event_that_tells_of_three_good_minutes_ends_the_exemption_too() {
        let mut alarm = watched(true);
        let mut red_again = reading(AlarmState::Alarm, 400);
        red_again.previous = Some((AlarmState::Ok, at(220)));
        alarm.observe(&red_again, at(401));
        assert!(!alarm.is_exempt);
        assert_eq!(alarm.meaning(&red_again, Some(at(100))), AlarmMeaning::Bad);
    }

    #[test]
    fn a_late_event_does_not_replace_a_newer_state() {
        let mut alarm = watched(false);
        assert!(alarm.observe(&reading(AlarmState::Ok, 300), at(301)));
        assert!(!alarm.observe(&reading(AlarmState::Alarm, 200), at(302)));
        assert_eq!(alarm.last, Some((AlarmState::Ok, at(300))));
    }
}
