//! Kayenta's default judge, `NetflixACAJudge-v1.0`, run as a Spinnaker canary stage: a Mann-Whitney test for each metric, a
//! score for each group, one score for all.

use super::mann_whitney::shift;
use super::minutes::{MINUTE_S, Minute, Minutes, Tally};
use crate::judge::{Contestant, Course, Judge, Source, Verdict};
use crate::trace::Bucket;

/// Kayenta with its documented defaults.
pub(super) const KAYENTA: Contestant = Contestant {
    name: "Kayenta",
    method: "NetflixACAJudge-v1.0: Mann-Whitney at 98 % with a tolerance of a quarter of the Hodges-Lehmann estimate, direction \
             increase, on one point a minute. Groups of equal weight: errors (5xx, critical), client errors, latency (p50, p90, \
             p99), transactions. Judged every 5 minutes over all data since the start (lookback growing); a score below 75 \
             rolls back, as does one below 95 at the end. Baseline: the old version as long as it has traffic, at the same time, as the documentation \
             advises (with the hour before as well it detects more and rolls back more healthy deployments).",
    sources: &[
        Source { title: "How canary judgment works (Spinnaker)", url: "https://spinnaker.io/guides/user/canary/judge" },
        Source {
            title: "Canary Config (Kayenta)",
            url: "https://github.com/spinnaker/kayenta/blob/master/docs/canary-config.md",
        },
        Source { title: "Add a canary stage to a pipeline", url: "https://spinnaker.io/guides/user/canary/stage/" },
    ],
    start: |course| Box::new(Kayenta::new(course)),
};

/// Confidence of the test (98 %), as a quantile of the normal distribution.
const NORMAL_QUANTILE: f64 = 2.326_347_874_040_841;
/// Part of the estimated shift that is tolerated.
const TOLERANCE: f64 = 0.25;
/// Ratio of the means that must be reached (`allowedIncrease`).
const ALLOWED_INCREASE: f64 = 1.0;
const PASS_SCORE: f64 = 95.0;
const MARGINAL_SCORE: f64 = 75.0;
/// Minutes between two judgements.
const INTERVAL_MINUTES: i64 = 5;
/// Seconds after which the data of a minute is fetched.
const FETCH_DELAY_S: i64 = 60;
/// Share of metrics without data that fails the canary.
const NO_DATA_SHARE: f64 = 0.5;

/// What the judge makes of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Pass,
    High,
    NoData,
}

/// Compares one metric, both sides one value a minute. Only an increase can fail.
fn classify(baseline: &[f64], canary: &[f64]) -> Label {
    let Some(found) = shift(baseline, canary, NORMAL_QUANTILE) else { return Label::NoData };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (before, after) = (mean(baseline), mean(canary));
    // The ratio cannot be computed with a mean of 0; then it is ignored.
    let grew = before <= 0.0 || after <= 0.0 || after / before >= ALLOWED_INCREASE;
    if found.lower > TOLERANCE * found.estimate.abs() && grew { Label::High } else { Label::Pass }
}

type Metric = fn(&Tally) -> Option<f64>;

/// Metrics by group; the first group is critical.
const GROUPS: [&[Metric]; 4] = [
    &[Tally::error_rate],
    &[Tally::client_error_rate],
    &[
        |tally| tally.latency.quantile_ms(0.5),
        |tally| tally.latency.quantile_ms(0.9),
        |tally| tally.latency.quantile_ms(0.99),
    ],
    &[Tally::failed_transaction_rate],
];

/// Score from 0 to 100 of labels by group (the first group is critical).
fn score(groups: &[Vec<Label>]) -> f64 {
    let count = |labels: &[Label], wanted: Label| labels.iter().filter(|label| **label == wanted).count() as f64;
    let critical_failed = groups.first().is_some_and(|group| group.iter().any(|label| *label != Label::Pass));
    let all: Vec<Label> = groups.iter().flatten().copied().collect();
    if critical_failed || count(&all, Label::NoData) >= NO_DATA_SHARE * all.len() as f64 {
        return 0.0;
    }
    let of_group = |group: &Vec<Label>| {
        let (passed, high) = (count(group, Label::Pass), count(group, Label::High));
        if passed + high > 0.0 { 100.0 * passed / (passed + high) } else { 100.0 }
    };
    groups.iter().map(of_group).sum::<f64>() / groups.len() as f64
}

struct Kayenta {
    minutes: Minutes,
    last_minute: i64,
    /// The minute before which the next judgement looks.
    next: i64,
    score: f64,
}

impl Kayenta {
    fn new(course: &Course) -> Kayenta {
        Kayenta {
            minutes: Minutes::default(),
            last_minute: course.plan.end_s() / MINUTE_S,
            next: INTERVAL_MINUTES,
            score: 0.0,
        }
    }

    fn judge(&self, before: i64) -> f64 {
        let seen: Vec<&Minute> = self.minutes.range(0, before).map(|(_, minute)| minute).collect();
        let label = |metric: &Metric| {
            let values = |side: fn(&Minute) -> Option<&Tally>| -> Vec<f64> {
                seen.iter().copied().filter_map(side).filter_map(metric).collect()
            };
            classify(&values(|minute| minute.old.as_ref()), &values(|minute| minute.new.as_ref()))
        };
        score(&GROUPS.map(|group| group.iter().map(label).collect()))
    }
}

impl Judge for Kayenta {
    fn poll(&mut self, now_s: i64, records: &[Bucket]) -> Verdict {
        self.minutes.add(records);
        if self.next > self.last_minute || now_s < self.next * MINUTE_S + FETCH_DELAY_S {
            return Verdict::Continue;
        }
        self.score = self.judge(self.next);
        let is_last = self.next == self.last_minute;
        self.next = if is_last { i64::MAX } else { (self.next + INTERVAL_MINUTES).min(self.last_minute) };
        let needed = if is_last { PASS_SCORE } else { MARGINAL_SCORE };
        if self.score < needed { Verdict::RollBack } else { Verdict::Continue }
    }

    fn end(&mut self) -> Verdict {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::testing::{failing, hour, run, usual};
    use crate::trace::Version;

    #[test]
    fn metrics_are_classified_as_reported_by_users() {
        // The first three are cases that users put to the project (spinnaker/spinnaker#6278, spinnaker/kayenta#426).
        let high = |count| [vec![100.0; count], vec![1.0; 10 - count]].concat();
        let table = [
            ("seven of ten a hundredfold", vec![1.0; 10], high(7), Label::Pass),
            ("eight of ten a hundredfold", vec![1.0; 10], high(8), Label::High),
            ("sparse errors", vec![0.0; 6], vec![0.0, 1.0, 2.0, 1.0, 0.0, 0.0], Label::Pass),
            ("all equal", vec![2.0; 5], vec![2.0; 5], Label::Pass),
            ("constant and higher", vec![2.0; 5], vec![3.0; 5], Label::High),
            ("lower is fine", vec![9.0, 8.0, 7.0, 9.5, 8.5, 7.5], vec![1.0, 2.0, 1.5, 2.5, 1.2, 2.2], Label::Pass),
            ("clearly higher", vec![1.0, 2.0, 1.5, 2.5, 1.2, 2.2], vec![9.0, 8.0, 7.0, 9.5, 8.5, 7.5], Label::High),
            ("four points apart are enough", vec![1.0, 2.0, 3.0, 4.0], vec![11.0, 12.0, 13.0, 14.0], Label::High),
            ("four points that overlap are not", vec![1.0, 2.0, 3.0, 4.0], vec![3.5, 12.0, 13.0, 14.0], Label::Pass),
            ("no baseline", vec![], vec![1.0], Label::NoData),
            ("no canary", vec![1.0], vec![], Label::NoData),
        ];
        for (case, baseline, canary, wanted) in table {
            assert_eq!(classify(&baseline, &canary), wanted, "{case}");
        }
    }

    #[test]
    fn scores_weigh_groups_equally() {
        use Label::{High, NoData, Pass};
        let table = [
            ("all pass", [vec![Pass], vec![Pass], vec![Pass; 3], vec![Pass]], 100.0),
            ("one group fails", [vec![Pass], vec![High], vec![Pass; 3], vec![Pass]], 75.0),
            ("a third of one group", [vec![Pass], vec![Pass], vec![Pass, Pass, High], vec![Pass]], 91.666_666),
            ("critical", [vec![High], vec![Pass], vec![Pass; 3], vec![Pass]], 0.0),
            ("no data for the critical one", [vec![NoData], vec![Pass], vec![Pass; 3], vec![Pass]], 0.0),
            ("no data elsewhere", [vec![Pass], vec![Pass], vec![Pass; 3], vec![NoData]], 100.0),
            ("half without data", [vec![Pass], vec![Pass], vec![NoData; 3], vec![Pass]], 0.0),
        ];
        for (case, groups, wanted) in table {
            assert!((score(&groups) - wanted).abs() < 1e-5, "{case}: {}", score(&groups));
        }
    }

    #[test]
    fn it_judges_every_five_minutes() {
        let quiet = hour(|_| {});
        assert_eq!(run(&KAYENTA, &quiet, usual), Err(Verdict::Pass));
        assert_eq!(run(&KAYENTA, &quiet, failing(0.1)), Ok(360), "five points a side are enough when all differ");
        let late = |index, version| if index < 3 { usual(index, version) } else { failing(0.1)(index, version) };
        assert_eq!(run(&KAYENTA, &quiet, late), Ok(1260), "12 of 15 bad minutes are not enough, 17 of 20 are");
        let gone = |index, version| usual(index, version).filter(|_| version == Version::Old);
        assert_eq!(run(&KAYENTA, &quiet, gone), Ok(360), "no data");
    }
}
