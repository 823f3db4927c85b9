//! What one alarm, and one of its transitions, means for a deployment.

use crate::Timestamp;
use crate::id::AlarmName;
use crate::vocabulary::Signal;
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

/// Whose requests an alarm counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmScope {
    /// One service's: its function, its route of an API, its target group; or whatever is not known to be shared.
    Own,
    /// Those of all functions behind one API stage or load balancer: a neighbour turns it red as well.
    Shared,
}

/// How CloudWatch evaluates a metric alarm; only DescribeAlarms tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// Breaching datapoints that turn it red (DatapointsToAlarm, M), at least 1.
    pub datapoints_to_alarm: u32,
    /// Periods that it looks at (EvaluationPeriods, N).
    pub periods: u32,
    /// Length of a period.
    pub period: Duration,
}

/// Alarms with longer periods are evaluated every minute, those with shorter ones once a period.
const EVALUATED_EVERY: Duration = Duration::from_secs(60);

impl Evaluation {
    /// When all periods that CloudWatch looks at begin at or after `start`, and it has looked once more: what is red from then on,
    /// or still is, is red by those alone. The reason of a state is written when the state begins, and never again.
    #[must_use]
    pub fn knows_only_what_began_at(&self, start: Timestamp) -> Timestamp {
        let every = self.period.min(EVALUATED_EVERY);
        let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
        let into_period = u64::try_from(start.ms().rem_euclid(every_ms)).unwrap_or_default();
        let wait =
            if into_period == 0 { Duration::ZERO } else { every - Duration::from_millis(into_period).min(every) };
        start + wait + self.period.saturating_mul(self.periods) + every
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
    /// When the breaching datapoints begin that the reason's data names, oldest first; none where it names none. As the alarm was
    /// when it went red.
    pub breaching: Vec<Timestamp>,
    /// How it is evaluated; `None`: not told, as in events and of alarms that have no datapoints.
    pub evaluation: Option<Evaluation>,
    /// Whose requests it counts; `None`: not told, as in events of composite alarms.
    pub scope: Option<AlarmScope>,
}

impl AlarmReading {
    /// The oldest breaching datapoint that the reason names.
    #[must_use]
    pub fn oldest_breaching(&self) -> Option<Timestamp> {
        self.breaching.first().copied()
    }

    /// Whether only DescribeAlarms can tell if it is red by data from before `start`.
    #[must_use]
    pub fn needs_evaluation(&self, start: Timestamp) -> bool {
        self.evaluation.is_none() && self.breaching.iter().any(|at| *at < start)
    }

    /// Whether it is red, as far as is known at `now`, by data from before `start`: fewer of its breaching datapoints than turn it
    /// red begin at or after that.
    fn is_by_data_before(&self, start: Timestamp, now: Timestamp) -> bool {
        let since = self.breaching.iter().filter(|at| **at >= start).count();
        since < self.breaching.len()
            && self.evaluation.is_some_and(|evaluation| {
                u32::try_from(since).unwrap_or(u32::MAX) < evaluation.datapoints_to_alarm
                    && now < evaluation.knows_only_what_began_at(start)
            })
    }
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
    /// Whether it counts what several functions share ([`AlarmScope::Shared`]).
    pub is_shared: bool,
    /// Red, by data from before the shift ([`AlarmMeaning::NotYet`]): it is looked at again each tick.
    pub is_early: bool,
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
    /// It went red in the shift by data from before it: it does not count yet, and counts as soon as its data is of the shift.
    NotYet,
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
        if let Some(scope) = reading.scope {
            self.is_shared = scope == AlarmScope::Shared;
        }
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

    /// What `reading`, which was taken at `now`, means, given when the new version began to get traffic (`None`: not yet).
    ///
    /// A transition at or before the start of the shift never judges: it was there before the version was. One after it does not
    /// judge yet while it rests on datapoints that began before. Where no datapoints are named, or nobody tells how many it takes,
    /// the transition alone counts.
    #[must_use]
    pub fn meaning(&self, reading: &AlarmReading, shift_started_at: Option<Timestamp>, now: Timestamp) -> AlarmMeaning {
        match (reading.state, shift_started_at) {
            (AlarmState::Ok | AlarmState::InsufficientData, _) => AlarmMeaning::Fine,
            (AlarmState::Alarm, None) => AlarmMeaning::TooEarly,
            (AlarmState::Alarm, Some(start)) if self.is_exempt || reading.since <= start => AlarmMeaning::Exempt,
            (AlarmState::Alarm, Some(start)) if reading.is_by_data_before(start, now) => AlarmMeaning::NotYet,
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
            breaching: Vec::new(),
            evaluation: None,
            scope: None,
        }
    }

    fn watched(is_exempt: bool) -> WatchedAlarm {
        WatchedAlarm {
            name: AlarmName::parse("checkout-5xx").unwrap(),
            signal: Some(Signal::Errors),
            source: AlarmSource::Policy,
            last: Some((if is_exempt { AlarmState::Alarm } else { AlarmState::Ok }, at(0))),
            is_exempt,
            is_shared: false,
            is_early: false,
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
            let meaning = watched(is_exempt).meaning(&reading(state, since), shift.map(at), at(since));
            assert_eq!(meaning, expected, "{case}");
        }
    }

    /// Case, beginnings of the breaching datapoints, M of N periods of so many seconds, now, and what it means.
    type Row<'a> = (&'a str, &'a [i64], Option<(u32, u32, u64)>, i64, AlarmMeaning);

    #[test]
    fn data_from_before_the_shift_does_not_count_yet() {
        use AlarmMeaning::{Bad, Exempt, NotYet};
        let two_of_three = Some((2, 3, 60));
        // The shift begins at 90 s, so the periods 120, 180 and 240 are the first three of it: over at 300, evaluated by 360.
        let table: [Row<'_>; 12] = [
            ("all of the shift", &[120, 180], two_of_three, 250, Bad),
            ("one of two is from before", &[60, 120], two_of_three, 190, NotYet),
            ("both are from before", &[0, 60], two_of_three, 130, NotYet),
            ("one from before beside two of the shift", &[60, 120, 180], two_of_three, 250, Bad),
            ("begins in the very second of the shift", &[90], Some((1, 1, 10)), 105, Bad),
            ("the period in which the shift began", &[80], Some((1, 1, 10)), 95, NotYet),
            ("still red before all of its data is of the shift", &[60, 120], two_of_three, 359, NotYet),
            ("still red when all of its data is of the shift", &[60, 120], two_of_three, 360, Bad),
            ("one minute of an hour", &[-3540], Some((1, 1, 3600)), 200, NotYet),
            ("nobody tells how many it takes", &[60, 120], None, 190, Bad),
            ("no datapoints are named", &[], two_of_three, 190, Bad),
            ("a datapoint after the shift is enough for one of three", &[60, 120], Some((1, 3, 60)), 190, Bad),
        ];
        for (case, breaching, evaluation, now, expected) in table {
            let red = AlarmReading {
                breaching: breaching.iter().copied().map(at).collect(),
                evaluation: evaluation.map(|(datapoints_to_alarm, periods, period)| Evaluation {
                    datapoints_to_alarm,
                    periods,
                    period: Duration::from_secs(period),
                }),
                ..reading(AlarmState::Alarm, now.min(190))
            };
            assert_eq!(watched(false).meaning(&red, Some(at(90)), at(now)), expected, "{case}");
            assert_eq!(watched(true).meaning(&red, Some(at(90)), at(now)), Exempt, "{case}, exempt");
        }
    }

    #[test]
    fn only_datapoints_from_before_need_to_be_asked_about() {
        let evaluation = Evaluation { datapoints_to_alarm: 1, periods: 1, period: Duration::from_secs(60) };
        let table = [
            ("none named", vec![], None, false),
            ("all of the shift", vec![at(120)], None, false),
            ("one from before", vec![at(60), at(120)], None, true),
            ("one from before, and it is known", vec![at(60), at(120)], Some(evaluation), false),
        ];
        for (case, breaching, evaluation, expected) in table {
            let red = AlarmReading { breaching, evaluation, ..reading(AlarmState::Alarm, 190) };
            assert_eq!(red.needs_evaluation(at(90)), expected, "{case}");
        }
    }

    #[test]
    fn what_an_alarm_counts_is_remembered_where_a_reading_does_not_tell() {
        let mut alarm = watched(false);
        for (scope, expected) in
            [(None, false), (Some(AlarmScope::Shared), true), (None, true), (Some(AlarmScope::Own), false)]
        {
            alarm.observe(&AlarmReading { scope, ..reading(AlarmState::Ok, 100) }, at(100));
            assert_eq!(alarm.is_shared, expected, "{scope:?}");
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
        assert_eq!(alarm.meaning(&red_again, Some(at(100)), at(401)), AlarmMeaning::Bad);
    }

    #[test]
    fn a_late_event_does_not_replace_a_newer_state() {
        let mut alarm = watched(false);
        assert!(alarm.observe(&reading(AlarmState::Ok, 300), at(301)));
        assert!(!alarm.observe(&reading(AlarmState::Alarm, 200), at(302)));
        assert_eq!(alarm.last, Some((AlarmState::Ok, at(300))));
    }
}
