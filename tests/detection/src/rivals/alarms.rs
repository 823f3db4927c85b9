//! CloudWatch alarms on a `CodeDeploy` deployment group: one red alarm, and the deployment is rolled back. An alarm that was
//! red before the deployment stops it at once, as `CodeDeploy` does.

use super::minutes::{MINUTE_S, Minute, Minutes};
use crate::judge::{Contestant, Judge, Source, Verdict};
use crate::trace::Arrivals;
use std::collections::BTreeMap;

const MISSING_DATA: Source = Source {
    title: "Configuring how CloudWatch alarms treat missing data",
    version: "",
    url: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html",
};
const RECOMMENDED_ALARMS: Source = Source {
    title: "Recommended alarms - Amazon CloudWatch",
    version: "",
    url: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Best_Practice_Recommended_Alarms_AWS_Services.html",
};

const LOW_SAMPLES: Source = Source {
    title: "Percentile-based alarms and low data samples - Amazon CloudWatch",
    version: "",
    url: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html",
};

/// Samples in a period from which a percentile is evaluated (`EvaluateLowSampleCountPercentile: ignore`): 10/(1 − percentile).
const ENOUGH_FOR_P90: u64 = 100;
const ENOUGH_FOR_P99: u64 = 1000;

/// The two alarms of SAM's guide to safe deployments.
pub(super) const SAM: Contestant = Contestant {
    name: "SAM alarms",
    method: "The two alarms of SAM's guide to gradual deployments: more than 0 errors in 2 of 2 minutes, on the alias and \
             on the new version.",
    sources: &[
        Source {
            title: "docs/safe_lambda_deployments.rst",
            version: "AWS SAM 7000d0a",
            url: "https://github.com/aws/serverless-application-model/blob/7000d0a3b0e5e0d9fca014ce135850718aad1290/docs/safe_lambda_deployments.rst",
        },
        MISSING_DATA,
    ],
    start: |_| Box::new(AlarmJudge::new(sam)),
};

/// What the CloudWatch console recommends for an API.
pub(super) const RECOMMENDED: Contestant = Contestant {
    name: "CloudWatch recommended",
    method: "The alarms that CloudWatch recommends for an API Gateway stage, on the alias: 5xx above 5 % in 3 of 3 minutes, \
             4xx above 5 % in 5 of 5, p90 latency at least 2,500 ms in 5 of 5, and a request count below half of the quietest \
             minute of the hour before in 10 of 10. That threshold is left to the user, and so is that a minute without data \
             breaches it. The page advises against this last alarm where traffic is not steady: some classes here are such.",
    sources: &[RECOMMENDED_ALARMS, MISSING_DATA],
    start: |_| Box::new(AlarmJudge::new(recommended)),
};

/// What a careful team makes of that recommendation.
pub(super) const TUNED: Contestant = Contestant {
    name: "CloudWatch tuned",
    method: "The same kinds of alarms with thresholds from the hour before, as the recommendation advises: 5xx, 4xx and failed \
             transactions (at least 1 %), p90 and p99 latency above 1.25 times their worst minute in 2 of 3 minutes, requests \
             below half of the quietest minute in 3 of 3 (as above, best where traffic is steady). Percentiles of too few \
             samples are ignored.",
    sources: &[RECOMMENDED_ALARMS, LOW_SAMPLES, MISSING_DATA],
    start: |_| Box::new(AlarmJudge::new(tuned)),
};

/// When a datapoint breaches.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Breach {
    Above(f64),
    AtLeast(f64),
    Below(f64),
}

impl Breach {
    fn by(self, value: f64) -> bool {
        match self {
            Breach::Above(threshold) => value > threshold,
            Breach::AtLeast(threshold) => value >= threshold,
            Breach::Below(threshold) => value < threshold,
        }
    }
}

/// How a missing datapoint counts (`TreatMissingData`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The default: it is not considered.
    Missing,
    Breaching,
}

type Series = fn(&Minute) -> Option<f64>;

/// A metric alarm with a period of one minute, M of N.
struct Alarm {
    series: Series,
    breach: Breach,
    /// M: `DatapointsToAlarm`.
    datapoints: usize,
    /// N: `EvaluationPeriods`.
    periods: usize,
    missing: Missing,
    points: BTreeMap<i64, f64>,
}

/// Datapoints that CloudWatch retrieves beyond the evaluation periods, to do without missing ones.
const EXTRA_DATAPOINTS: i64 = 2;

impl Alarm {
    fn new(series: Series, breach: Breach, (datapoints, periods): (usize, usize), missing: Missing) -> Alarm {
        Alarm { series, breach, datapoints, periods, missing, points: BTreeMap::new() }
    }

    /// Takes over the minute with this number as it looks now.
    fn observe(&mut self, number: i64, minute: &Minute) {
        if let Some(value) = (self.series)(minute) {
            self.points.insert(number, value);
        }
    }

    /// Whether the alarm is in state ALARM.
    ///
    /// The newest N datapoints of the evaluation range decide. Where fewer exist, the rest counts as `missing` says; for the
    /// default that is: with nothing but breaching datapoints in the range, one that is M periods old is enough.
    fn is_red(&self, now_s: i64) -> bool {
        let complete = now_s.div_euclid(MINUTE_S);
        let periods = i64::try_from(self.periods).unwrap_or(i64::MAX);
        let range = self.points.range(complete - periods - EXTRA_DATAPOINTS..complete);
        let newest: Vec<(i64, bool)> =
            range.rev().take(self.periods).map(|(number, value)| (*number, self.breach.by(*value))).collect();
        let breaching = newest.iter().filter(|(_, breaches)| *breaches).count();
        let absent = self.periods - newest.len();
        let oldest_age = newest.last().and_then(|(number, _)| usize::try_from(complete - number).ok()).unwrap_or(0);
        let premature = breaching == newest.len() && oldest_age >= self.datapoints;
        let enough = match self.missing {
            Missing::Breaching => breaching + absent,
            Missing::Missing => breaching,
        };
        enough >= self.datapoints || (absent > 0 && premature)
    }
}

/// Alarms, made when the hour before the deployment is known.
struct AlarmJudge {
    make: fn(&Minutes) -> Vec<Alarm>,
    minutes: Minutes,
    alarms: Vec<Alarm>,
}

impl AlarmJudge {
    fn new(make: fn(&Minutes) -> Vec<Alarm>) -> AlarmJudge {
        AlarmJudge { make, minutes: Minutes::default(), alarms: Vec::new() }
    }
}

impl Judge for AlarmJudge {
    fn poll(&mut self, now_s: i64, arrivals: &Arrivals) -> Verdict {
        let changed = self.minutes.add(&arrivals.versions);
        if self.alarms.is_empty() {
            self.alarms = (self.make)(&self.minutes);
        }
        for number in changed {
            let Some(minute) = self.minutes.get(number) else { continue };
            self.alarms.iter_mut().for_each(|alarm| alarm.observe(number, minute));
        }
        if self.alarms.iter().any(|alarm| alarm.is_red(now_s)) { Verdict::RollBack } else { Verdict::Continue }
    }

    fn end(&mut self) -> Verdict {
        Verdict::Pass
    }
}

fn alias_errors(minute: &Minute) -> Option<f64> {
    minute.alias().map(|alias| alias.errors as f64)
}

fn new_version_errors(minute: &Minute) -> Option<f64> {
    minute.new.as_ref().map(|new| new.errors as f64)
}

fn error_rate(minute: &Minute) -> Option<f64> {
    minute.alias()?.error_rate()
}

fn client_error_rate(minute: &Minute) -> Option<f64> {
    minute.alias()?.client_error_rate()
}

fn p90(minute: &Minute) -> Option<f64> {
    minute.alias()?.latency.quantile_ms(0.9)
}

fn failed_transaction_rate(minute: &Minute) -> Option<f64> {
    minute.alias()?.failed_transaction_rate()
}

fn sound_p90(minute: &Minute) -> Option<f64> {
    minute.alias().filter(|alias| alias.requests >= ENOUGH_FOR_P90)?.latency.quantile_ms(0.9)
}

fn sound_p99(minute: &Minute) -> Option<f64> {
    minute.alias().filter(|alias| alias.requests >= ENOUGH_FOR_P99)?.latency.quantile_ms(0.99)
}

fn requests(minute: &Minute) -> Option<f64> {
    minute.alias().map(|alias| alias.requests as f64)
}

fn sam(_: &Minutes) -> Vec<Alarm> {
    [alias_errors as Series, new_version_errors]
        .into_iter()
        .map(|series| Alarm::new(series, Breach::Above(0.0), (2, 2), Missing::Missing))
        .collect()
}

fn recommended(minutes: &Minutes) -> Vec<Alarm> {
    vec![
        Alarm::new(error_rate, Breach::Above(0.05), (3, 3), Missing::Missing),
        Alarm::new(client_error_rate, Breach::Above(0.05), (5, 5), Missing::Missing),
        Alarm::new(p90, Breach::AtLeast(2500.0), (5, 5), Missing::Missing),
        Alarm::new(requests, Breach::Below(half_of_quietest(minutes)), (10, 10), Missing::Breaching),
    ]
}

/// Half of the requests in the quietest minute of the hour before.
fn half_of_quietest(minutes: &Minutes) -> f64 {
    let quietest =
        minutes.range(i64::MIN, 0).filter_map(|(_, minute)| minute.alias()).map(|alias| alias.requests).min();
    quietest.unwrap_or(0) as f64 / 2.0
}

fn tuned(minutes: &Minutes) -> Vec<Alarm> {
    let two_of_three = |series: Series, least: f64| {
        let before = minutes.range(i64::MIN, 0).filter_map(|(_, minute)| series(minute));
        let threshold = before.fold(least, |worst, value| worst.max(value * 1.25));
        Alarm::new(series, Breach::Above(threshold), (2, 3), Missing::Missing)
    };
    vec![
        two_of_three(error_rate, 0.01),
        two_of_three(client_error_rate, 0.01),
        two_of_three(failed_transaction_rate, 0.01),
        two_of_three(sound_p90, 0.0),
        two_of_three(sound_p99, 0.0),
        Alarm::new(requests, Breach::Below(half_of_quietest(minutes)), (3, 3), Missing::Breaching),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::testing::{failing, hour, run, usual};
    use crate::trace::Version;

    /// Datapoints of the last minutes, oldest first: X breaches, 0 does not, - is missing.
    fn red(points: &str, m_of_n: (usize, usize), missing: Missing) -> bool {
        let mut alarm = Alarm::new(requests, Breach::Above(0.5), m_of_n, missing);
        let count = i64::try_from(points.len()).unwrap();
        for (number, point) in (0..).zip(points.chars()).filter(|(_, point)| *point != '-') {
            alarm.points.insert(number, if point == 'X' { 1.0 } else { 0.0 });
        }
        alarm.is_red(count * MINUTE_S)
    }

    #[test]
    fn alarms_evaluate_as_documented() {
        // The two tables of "Configuring how CloudWatch alarms treat missing data": three of three, then two of three.
        // (datapoints, M of N, red by default, red when missing data breaches)
        let table = [
            ("0-X-X", (3, 3), false, false),
            ("0----", (3, 3), false, false),
            ("-----", (3, 3), false, true),
            ("0XX-X", (3, 3), true, true),
            ("--X--", (3, 3), true, true),
            ("0-X-X", (2, 3), true, true),
            ("00X0X", (2, 3), true, true),
            ("0-X--", (2, 3), false, true),
            ("----0", (2, 3), false, true),
            ("---X-", (2, 3), true, true),
            // And what follows from its words.
            ("----X", (3, 3), false, true),
            ("XXX------", (3, 3), false, true),
        ];
        for (points, m_of_n, by_default, breaching) in table {
            assert_eq!(red(points, m_of_n, Missing::Missing), by_default, "{points} {m_of_n:?}, default");
            assert_eq!(red(points, m_of_n, Missing::Breaching), breaching, "{points} {m_of_n:?}, breaching");
        }
    }

    #[test]
    fn thresholds_are_strict_where_they_say_so() {
        let table = [(Breach::Above(5.0), false), (Breach::AtLeast(5.0), true), (Breach::Below(5.0), false)];
        for (breach, at_threshold) in table {
            assert_eq!(breach.by(5.0), at_threshold, "{breach:?}");
        }
    }

    #[test]
    fn sam_fires_on_single_errors() {
        let quiet = hour(|_| {});
        let one_each = |index, version| {
            let mut bucket = usual(index, version)?;
            bucket.errors = u64::from(version == Version::New);
            Some(bucket)
        };
        assert_eq!(run(&SAM, &quiet, usual), Err(Verdict::Pass));
        assert_eq!(run(&SAM, &quiet, one_each), Ok(120), "one error, and no newer datapoint two minutes later");
        assert_eq!(run(&SAM, &hour(|bucket| bucket.errors = 1), usual), Ok(0), "red before: stopped at once");
    }

    #[test]
    fn recommended_alarms_need_minutes_above_five_per_cent() {
        let quiet = hour(|_| {});
        assert_eq!(run(&RECOMMENDED, &quiet, usual), Err(Verdict::Pass));
        // 40 % of a tenth is 4 %: only after the shift, three full minutes (5, 6, 7) later.
        assert_eq!(run(&RECOMMENDED, &quiet, failing(0.4)), Ok(510));
        assert_eq!(run(&RECOMMENDED, &quiet, failing(0.6)), Ok(210), "6 % of all");
        assert_eq!(run(&RECOMMENDED, &quiet, failing(0.05)), Err(Verdict::Pass), "5 % is not above 5 %");
        let gone = |index, version| usual(index, version).filter(|_| version == Version::Old);
        assert_eq!(run(&RECOMMENDED, &quiet, gone), Ok(1020), "twelve minutes without a datapoint");
    }

    #[test]
    fn tuned_alarms_follow_the_hour_before() {
        let quiet = hour(|_| {});
        assert_eq!(run(&TUNED, &quiet, usual), Err(Verdict::Pass));
        assert_eq!(run(&TUNED, &quiet, failing(0.3)), Ok(150), "3 % of all is above 1 %");
        assert_eq!(run(&TUNED, &quiet, failing(0.09)), Ok(450), "9 % after the shift");
        let failing_before = hour(|bucket| bucket.errors = if bucket.start_s == -600 { 100 } else { 20 });
        assert_eq!(run(&TUNED, &failing_before, failing(0.12)), Err(Verdict::Pass), "the worst minute had 10 %");
        assert_eq!(run(&TUNED, &failing_before, failing(0.13)), Ok(450));
        let slow = |index, version| {
            let mut bucket = usual(index, version)?;
            if version == Version::New {
                bucket.latency = vec![(59, bucket.requests)];
            }
            Some(bucket)
        };
        assert_eq!(run(&TUNED, &quiet, slow), Ok(150), "a tenth at 1.7 times the latency shows in p99");
    }
}
