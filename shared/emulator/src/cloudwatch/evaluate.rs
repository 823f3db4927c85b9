//! What the datapoints of an alarm mean. A pure function: no clock, no store.

use super::time;

/// How many datapoints a reason names: it has at most 1,023 characters.
const MAX_NAMED: usize = 5;

/// State of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AlarmState {
    Ok,
    Alarm,
    InsufficientData,
}

impl AlarmState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Ok, Self::Alarm, Self::InsufficientData].into_iter().find(|state| state.as_str() == text)
    }
}

/// How a value is compared with the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    /// Reads `ComparisonOperator`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "GreaterThanThreshold" => Some(Self::Greater),
            "GreaterThanOrEqualToThreshold" => Some(Self::GreaterOrEqual),
            "LessThanThreshold" => Some(Self::Less),
            "LessThanOrEqualToThreshold" => Some(Self::LessOrEqual),
            _ => None,
        }
    }

    fn is_breached(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Greater => value > threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Greater => "greater than",
            Self::GreaterOrEqual => "greater than or equal to",
            Self::Less => "less than",
            Self::LessOrEqual => "less than or equal to",
        }
    }
}

/// `TreatMissingData`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingData {
    Missing,
    Ignore,
    Breaching,
    NotBreaching,
}

impl MissingData {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "missing" => Some(Self::Missing),
            "ignore" => Some(Self::Ignore),
            "breaching" => Some(Self::Breaching),
            "notBreaching" => Some(Self::NotBreaching),
            _ => None,
        }
    }
}

/// When an alarm goes off.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    /// N.
    pub(super) evaluation_periods: usize,
    /// M.
    pub(super) datapoints_to_alarm: usize,
    pub(super) threshold: f64,
    pub(super) comparison: Comparison,
    pub(super) missing: MissingData,
    /// Keep the state while a datapoint has fewer samples than this (`EvaluateLowSampleCountPercentile: ignore`).
    pub(super) significant_samples: Option<f64>,
}

impl Rule {
    /// How many periods are fetched: more than N, so that older real points can stand in for missing ones. AWS does not
    /// document the number; its examples show 5 points for N = 3.
    pub(super) fn evaluation_range(&self) -> usize {
        self.evaluation_periods.saturating_add(2).max(5)
    }
}

/// One period of the evaluation range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Start of the period.
    pub(super) timestamp_ms: i64,
    /// `None` when the period has no data.
    pub(super) value: Option<f64>,
    /// `None` when there is no data, or the value comes from metric math.
    pub(super) sample_count: Option<f64>,
}

/// What an evaluation concludes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Evaluation {
    /// `None`: the alarm keeps its state.
    pub(super) state: Option<AlarmState>,
    /// For people; empty when the state is kept.
    pub(super) reason: String,
    /// The points that were looked at, newest first: at most N.
    pub(super) evaluated: Vec<Point>,
}

/// Concludes the state from the evaluation range.
///
/// The N newest points with data count, wherever they lie in the range. Periods that are then still missing follow
/// `TreatMissingData`. With `missing` and with `ignore` nothing is made up: too few points, all of them breaching, keep the
/// state, except that with `missing` an alarm goes off when the oldest of them is at least M periods old.
///
/// * `newest_first`: one entry for each period of [`Rule::evaluation_range`].
pub(super) fn evaluate(rule: &Rule, newest_first: &[Point]) -> Evaluation {
    let real: Vec<(usize, Point)> = newest_first
        .iter()
        .enumerate()
        .filter(|(_, point)| point.value.is_some())
        .take(rule.evaluation_periods)
        .map(|(age, point)| (age + 1, *point))
        .collect();
    let found = Found { rule, filled: rule.evaluation_periods - real.len(), real };
    let state = if found.has_too_few_samples() { None } else { found.state() };
    Evaluation {
        state,
        reason: state.map(|state| found.reason(state)).unwrap_or_default(),
        evaluated: found.evaluated(newest_first),
    }
}

struct Found<'a> {
    rule: &'a Rule,
    /// Points with data, newest first, with their age in periods: the newest period is 1 old.
    real: Vec<(usize, Point)>,
    /// How many of N are missing.
    filled: usize,
}

impl Found<'_> {
    fn breaches(&self, point: &Point) -> bool {
        point.value.is_some_and(|value| self.rule.comparison.is_breached(value, self.rule.threshold))
    }

    fn has_too_few_samples(&self) -> bool {
        let Some(needed) = self.rule.significant_samples else {
            return false;
        };
        self.real.iter().any(|(_, point)| point.sample_count.is_some_and(|samples| samples < needed))
    }

    fn state(&self) -> Option<AlarmState> {
        let breaching = self.real.iter().filter(|(_, point)| self.breaches(point)).count();
        let needed = self.rule.datapoints_to_alarm;
        if breaching >= needed {
            return Some(AlarmState::Alarm);
        }
        if self.real.is_empty() {
            return match self.rule.missing {
                MissingData::Missing => Some(AlarmState::InsufficientData),
                MissingData::Ignore => None,
                MissingData::Breaching => Some(AlarmState::Alarm),
                MissingData::NotBreaching => Some(AlarmState::Ok),
            };
        }
        let only_breaching = breaching == self.real.len();
        let oldest = self.real.last().map_or(0, |(age, _)| *age);
        match self.rule.missing {
            MissingData::NotBreaching => Some(AlarmState::Ok),
            MissingData::Breaching if breaching + self.filled >= needed => Some(AlarmState::Alarm),
            MissingData::Breaching => Some(AlarmState::Ok),
            MissingData::Missing if only_breaching => (oldest >= needed).then_some(AlarmState::Alarm),
            MissingData::Ignore if only_breaching => None,
            MissingData::Missing | MissingData::Ignore => Some(AlarmState::Ok),
        }
    }

    fn reason(&self, state: AlarmState) -> String {
        let total = self.rule.evaluation_periods;
        if state == AlarmState::InsufficientData {
            let (noun, verb) = if total == 1 { ("datapoint", "was") } else { ("datapoints", "were") };
            return format!("Insufficient Data: {total} {noun} {verb} unknown.");
        }
        if self.real.is_empty() {
            return format!(
                "Threshold Crossed: no datapoints were received for {} and {}.",
                periods(total),
                self.treated()
            );
        }
        let alarm = state == AlarmState::Alarm;
        let deciding: Vec<String> = self
            .real
            .iter()
            .filter(|(_, point)| self.breaches(point) == alarm)
            .filter_map(|(_, point)| {
                let value = point.value?;
                Some(format!("{value:?} ({})", time::short(point.timestamp_ms)))
            })
            .collect();
        let share = format!("{} out of the last {} datapoints", deciding.len(), self.real.len());
        let comparison = format!(
            "{} {}{} the threshold ({:?})",
            if deciding.len() == 1 { "was" } else { "were" },
            if alarm { "" } else { "not " },
            self.rule.comparison.words(),
            self.rule.threshold,
        );
        let named: Vec<&str> = deciding.iter().take(MAX_NAMED).map(String::as_str).collect();
        let named = named.join(", ");
        let crossed = if deciding.len() > MAX_NAMED {
            let recent = "The most recent datapoints which crossed the threshold";
            format!("{share} {comparison}. {recent}: [{named}]")
        } else {
            format!("{share} [{named}] {comparison}")
        };
        let filled = if self.filled > 0 && self.decides_on_missing() {
            format!(" and {}", self.treated())
        } else {
            String::new()
        };
        let needed = self.rule.datapoints_to_alarm;
        let (minimum, transition) =
            if alarm { (needed, "OK -> ALARM") } else { (total - needed.min(total) + 1, "ALARM -> OK") };
        let minimum = counted(minimum, "datapoint");
        format!("Threshold Crossed: {crossed}{filled} (minimum {minimum} for {transition} transition).")
    }

    fn decides_on_missing(&self) -> bool {
        matches!(self.rule.missing, MissingData::Breaching | MissingData::NotBreaching)
    }

    fn treated(&self) -> String {
        let verb = if self.filled == 1 { "was" } else { "were" };
        let kind = if self.rule.missing == MissingData::Breaching { "Breaching" } else { "NonBreaching" };
        format!("{} {verb} treated as [{kind}]", counted(self.filled, "missing datapoint"))
    }

    fn evaluated(&self, newest_first: &[Point]) -> Vec<Point> {
        let missing = newest_first.iter().filter(|point| point.value.is_none()).take(self.filled).copied();
        let mut points: Vec<Point> = self.real.iter().map(|(_, point)| *point).chain(missing).collect();
        points.sort_by_key(|point| std::cmp::Reverse(point.timestamp_ms));
        points
    }
}

fn periods(count: usize) -> String {
    counted(count, "period")
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_795_170_000_000; // 2026-11-20T10:20:00Z

    fn rule(m: usize, n: usize, missing: &str) -> Rule {
        Rule {
            evaluation_periods: n,
            datapoints_to_alarm: m,
            threshold: 5.0,
            comparison: Comparison::Greater,
            missing: MissingData::parse(missing).unwrap(),
            significant_samples: None,
        }
    }

    /// `X` breaches, `0` does not, `-` is missing; the newest is the last character, as in AWS's own tables.
    fn points(text: &str) -> Vec<Point> {
        let value = |c| match c {
            'X' => Some(9.0),
            '0' => Some(1.0),
            _ => None,
        };
        let minutes = text.chars().rev().zip(1..);
        let point = |(c, age): (char, i64)| Point {
            timestamp_ms: END - age * 60_000,
            value: value(c),
            sample_count: value(c).map(|_| 10.0),
        };
        minutes.map(point).collect()
    }

    #[test]
    fn m_of_n_with_missing_data() {
        use AlarmState::{Alarm, InsufficientData, Ok};
        // (points, M, N, missing, ignore, breaching, notBreaching); None keeps the state
        let table = [
            ("0-X-X", 3, 3, [Some(Ok); 4]),
            ("0----", 3, 3, [Some(Ok); 4]),
            ("-----", 3, 3, [Some(InsufficientData), None, Some(Alarm), Some(Ok)]),
            ("0XX-X", 3, 3, [Some(Alarm); 4]),
            ("--X--", 3, 3, [Some(Alarm), None, Some(Alarm), Some(Ok)]),
            ("----X", 3, 3, [None, None, Some(Alarm), Some(Ok)]),
            ("0-X-X", 2, 3, [Some(Alarm); 4]),
            ("00X0X", 2, 3, [Some(Alarm); 4]),
            ("0-X--", 2, 3, [Some(Ok), Some(Ok), Some(Alarm), Some(Ok)]),
            ("----0", 2, 3, [Some(Ok), Some(Ok), Some(Alarm), Some(Ok)]),
            ("---X-", 2, 3, [Some(Alarm), None, Some(Alarm), Some(Ok)]),
            ("XX000", 2, 3, [Some(Ok); 4]),
            ("X0000", 1, 1, [Some(Ok); 4]),
            ("0000X", 1, 1, [Some(Alarm); 4]),
            ("X----", 1, 1, [Some(Alarm); 4]),
            ("0X0X0", 2, 5, [Some(Alarm); 4]),
            ("0X000", 2, 5, [Some(Ok); 4]),
        ];
        for (text, m, n, expected) in table {
            for (missing, state) in ["missing", "ignore", "breaching", "notBreaching"].into_iter().zip(expected) {
                let rule = rule(m, n, missing);
                assert_eq!(rule.evaluation_range(), 5.max(n + 2), "{n}");
                let evaluation = evaluate(&rule, &points(text));
                assert_eq!(evaluation.state, state, "{text}, {m} of {n}, {missing}");
                assert_eq!(evaluation.reason.is_empty(), state.is_none(), "{text}, {m} of {n}, {missing}");
                assert_eq!(evaluation.evaluated.len(), n.min(5), "{text}, {m} of {n}, {missing}");
            }
        }
    }

    #[test]
    fn comparisons_at_the_threshold() {
        // (operator, breaches below, at, above)
        let table = [
            ("GreaterThanThreshold", [false, false, true]),
            ("GreaterThanOrEqualToThreshold", [false, true, true]),
            ("LessThanThreshold", [true, false, false]),
            ("LessThanOrEqualToThreshold", [true, true, false]),
        ];
        for (name, expected) in table {
            let comparison = Comparison::parse(name).unwrap();
            assert_eq!([4.9, 5.0, 5.1].map(|value| comparison.is_breached(value, 5.0)), expected, "{name}");
        }
        assert_eq!(Comparison::parse("GreaterThanUpperThreshold"), None);
    }

    #[test]
    fn reasons_read_as_those_of_cloudwatch() {
        let table = [
            (
                "to alarm",
                "0000X",
                rule(1, 1, "missing"),
                "Threshold Crossed: 1 out of the last 1 datapoints [9.0 (20/11/26 10:19:00)] was greater than the threshold (5.0) (minimum 1 datapoint for OK -> ALARM transition).",
            ),
            (
                "to ok",
                "X0000",
                rule(1, 1, "missing"),
                "Threshold Crossed: 1 out of the last 1 datapoints [1.0 (20/11/26 10:19:00)] was not greater than the threshold (5.0) (minimum 1 datapoint for ALARM -> OK transition).",
            ),
            (
                "two of three, newest first",
                "00X0X",
                Rule { comparison: Comparison::GreaterOrEqual, ..rule(2, 3, "missing") },
                "Threshold Crossed: 2 out of the last 3 datapoints [9.0 (20/11/26 10:19:00), 9.0 (20/11/26 10:17:00)] were greater than or equal to the threshold (5.0) (minimum 2 datapoints for OK -> ALARM transition).",
            ),
            (
                "back from two of three",
                "0000X",
                rule(2, 3, "missing"),
                "Threshold Crossed: 2 out of the last 3 datapoints [1.0 (20/11/26 10:18:00), 1.0 (20/11/26 10:17:00)] were not greater than the threshold (5.0) (minimum 2 datapoints for ALARM -> OK transition).",
            ),
            (
                "nothing, breaching",
                "-----",
                rule(3, 3, "breaching"),
                "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as [Breaching].",
            ),
            (
                "nothing, not breaching",
                "-----",
                rule(1, 1, "notBreaching"),
                "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [NonBreaching].",
            ),
            ("unknown", "-----", rule(5, 5, "missing"), "Insufficient Data: 5 datapoints were unknown."),
            ("one unknown", "-----", rule(1, 1, "missing"), "Insufficient Data: 1 datapoint was unknown."),
        ];
        for (case, text, rule, expected) in table {
            assert_eq!(evaluate(&rule, &points(text)).reason, expected, "{case}");
        }
    }

    #[test]
    fn the_reason_of_many_datapoints_names_the_newest() {
        let rule = rule(10, 1440, "breaching");
        let reason = evaluate(&rule, &points(&"X".repeat(1442))).reason;
        assert!(reason.len() < 1023, "{reason}");
        let start = "Threshold Crossed: 1440 out of the last 1440 datapoints were greater than the threshold (5.0). The most recent datapoints which crossed the threshold: [9.0 (20/11/26 10:19:00), ";
        let end = "9.0 (20/11/26 10:15:00)] (minimum 10 datapoints for OK -> ALARM transition).";
        assert!(reason.starts_with(start) && reason.ends_with(end), "{reason}");
    }

    #[test]
    fn a_percentile_of_few_samples_keeps_the_state_when_asked() {
        let few = |needed| Rule { significant_samples: needed, ..rule(1, 1, "missing") };
        for (case, needed, state) in [
            ("evaluate", None, Some(AlarmState::Alarm)),
            ("just enough", Some(10.0), Some(AlarmState::Alarm)),
            ("too few", Some(10.1), None),
        ] {
            assert_eq!(evaluate(&few(needed), &points("0000X")).state, state, "{case}");
        }
    }

    #[test]
    fn states_are_read_back() {
        for state in [AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData] {
            assert_eq!(AlarmState::parse(state.as_str()), Some(state));
        }
        assert_eq!(AlarmState::parse("Ok"), None);
    }
}
