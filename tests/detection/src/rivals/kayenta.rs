//! Kayenta's default judge, `NetflixACAJudge-v1.0`, run as a Spinnaker canary stage: a Mann-Whitney test for each metric, a
//! score for each group, one score for all.

use super::mann_whitney::shift;
use super::minutes::{MINUTE_S, Minute, Minutes, Tally};
use crate::judge::{Contestant, Judge, Source, TrafficSchedule, Verdict};
use crate::trace::Arrivals;

/// Address of a file of the judge, and of one of the stage that runs it.
macro_rules! judge_file {
    ($path:literal) => {
        concat!(
            "https://github.com/spinnaker/kayenta/blob/v2.46.0/kayenta-judge/src/main/scala/com/netflix/kayenta/judge/",
            $path
        )
    };
}
macro_rules! stage_file {
    ($path:literal) => {
        concat!(
            "https://github.com/spinnaker/orca/blob/v8.64.0/orca-kayenta/src/main/kotlin/com/netflix/spinnaker/orca/kayenta/",
            $path
        )
    };
}

/// Kayenta with its documented defaults.
pub(super) const KAYENTA: Contestant = Contestant {
    name: "Kayenta",
    method: "NetflixACAJudge-v1.0 in a canary stage: Mann-Whitney at 98 % with a tolerance of a quarter of the Hodges-Lehmann \
             estimate, direction increase, on one point a minute. Groups of equal weight: errors (5xx, critical), client errors, \
             latency (p50, p90, p99), transactions. Judged every 5 minutes over all data since the start (lookback growing), as \
             many whole intervals as fit into the deployment, a minute after each ends, when CloudWatch has most of it (at once, \
             it rolls back sooner, and more of the healthy). A score of \
             75 or less rolls back, as does one below 95 at the last judgement (the thresholds of Kayenta's examples). Baseline: \
             the old version as long as it has traffic, at the same time, as the documentation advises (with the hour before as \
             well it detects more and rolls back more healthy deployments). Rates are in per cent: the root search that \
             finds interval and estimate stops within 0.0001. The noise that is added where both sides are constant is left out.",
    sources: &[
        Source {
            title: "NetflixACAJudge.scala",
            version: "Kayenta v2.46.0",
            url: judge_file!("NetflixACAJudge.scala"),
        },
        Source {
            title: "MannWhitneyClassifier.scala",
            version: "Kayenta v2.46.0",
            url: judge_file!("classifiers/metric/MannWhitneyClassifier.scala"),
        },
        Source {
            title: "WeightedSumScorer.scala",
            version: "Kayenta v2.46.0",
            url: judge_file!("scorers/WeightedSumScorer.scala"),
        },
        Source {
            title: "MannWhitney.scala",
            version: "Kayenta v2.46.0",
            url: "https://github.com/spinnaker/kayenta/blob/v2.46.0/kayenta-mannwhitney/src/main/scala/com/netflix/kayenta/mannwhitney/MannWhitney.scala",
        },
        Source {
            title: "json-formats.md",
            version: "Kayenta v2.46.0",
            url: "https://github.com/spinnaker/kayenta/blob/v2.46.0/json-formats.md",
        },
        Source {
            title: "RunCanaryIntervalsStage.kt",
            version: "Orca v8.64.0",
            url: stage_file!("pipeline/RunCanaryIntervalsStage.kt"),
        },
        Source {
            title: "MonitorKayentaCanaryTask.kt",
            version: "Orca v8.64.0",
            url: stage_file!("tasks/MonitorKayentaCanaryTask.kt"),
        },
        Source {
            title: "AggregateCanaryResultsTask.kt",
            version: "Orca v8.64.0",
            url: stage_file!("tasks/AggregateCanaryResultsTask.kt"),
        },
        Source {
            title: "How canary judgment works (Spinnaker)",
            version: "",
            url: "https://spinnaker.io/guides/user/canary/judge",
        },
    ],
    start: |schedule| Box::new(Kayenta::new(schedule)),
};

/// Confidence of the test (98 %), as a quantile of the normal distribution.
const NORMAL_QUANTILE: f64 = 2.326_347_874_040_841;
/// Part of the estimated shift that is tolerated.
const TOLERANCE: f64 = 0.25;
/// Ratio of the means that must be reached (`allowedIncrease`).
const ALLOWED_INCREASE: f64 = 1.0;
/// The last score must reach this one.
const PASS_SCORE: f64 = 95.0;
/// Every score must lie above this one.
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
    /// The test cannot be computed; such a metric counts nowhere, not even as critical.
    Error,
}

/// Compares one metric, both sides one value a minute. Only an increase can fail.
fn classify(baseline: &[f64], canary: &[f64]) -> Label {
    let Some(found) = shift(baseline, canary, NORMAL_QUANTILE) else { return Label::NoData };
    if is_same(baseline, canary) {
        return Label::Pass;
    }
    if cannot_vary(baseline) && cannot_vary(canary) {
        return Label::Error;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (before, after) = (mean(baseline), mean(canary));
    // The ratio cannot be computed with a mean of 0; then it is ignored.
    let grew = before <= 0.0 || after <= 0.0 || after / before >= ALLOWED_INCREASE;
    if found.lower > TOLERANCE * found.estimate.abs() && grew { Label::High } else { Label::Pass }
}

/// Whether both hold the same value and nothing else.
fn is_same(baseline: &[f64], canary: &[f64]) -> bool {
    let mut values = baseline.iter().chain(canary);
    let first = values.next();
    values.all(|value| Some(value) == first)
}

/// Whether all points stay equal when noise in proportion to their value is added: a single point, or only zeros. With two such
/// sides some shift ties all points.
fn cannot_vary(values: &[f64]) -> bool {
    values.len() == 1 || values.iter().all(|value| value.abs() < f64::MIN_POSITIVE)
}

type Metric = fn(&Tally) -> Option<f64>;

/// Metrics by group; the first group is critical.
const GROUPS: [&[Metric]; 4] = [
    &[|tally| tally.error_rate().map(in_per_cent)],
    &[|tally| tally.client_error_rate().map(in_per_cent)],
    &[
        |tally| tally.latency.quantile_ms(0.5),
        |tally| tally.latency.quantile_ms(0.9),
        |tally| tally.latency.quantile_ms(0.99),
    ],
    &[|tally| tally.failed_transaction_rate().map(in_per_cent)],
];

fn in_per_cent(share: f64) -> f64 {
    share * 100.0
}

/// Score from 0 to 100 of labels by group (the first group is critical).
fn score(groups: &[Vec<Label>]) -> f64 {
    let count = |labels: &[Label], wanted: Label| labels.iter().filter(|label| **label == wanted).count() as f64;
    let fails = |label: &Label| matches!(label, Label::High | Label::NoData);
    let critical_failed = groups.first().is_some_and(|group| group.iter().any(fails));
    let all: Vec<Label> = groups.iter().flatten().copied().collect();
    if critical_failed || count(&all, Label::NoData) >= NO_DATA_SHARE * all.len() as f64 {
        return 0.0;
    }
    let of_group = |group: &Vec<Label>| {
        let (passed, high) = (count(group, Label::Pass), count(group, Label::High));
        if passed + high > 0.0 { 100.0 * passed / (passed + high) } else { 100.0 }
    };
    let mean = groups.iter().map(of_group).sum::<f64>() / groups.len() as f64;
    (mean * 100.0).round() / 100.0
}

/// Whether a score ends the canary.
fn ends(score: f64, is_last: bool) -> bool {
    score <= MARGINAL_SCORE || (is_last && score < PASS_SCORE)
}

struct Kayenta {
    minutes: Minutes,
    /// The minutes before which the last judgement and the next one look.
    last: i64,
    next: i64,
}

impl Kayenta {
    fn new(schedule: &TrafficSchedule) -> Kayenta {
        Kayenta {
            minutes: Minutes::default(),
            last: schedule.plan.end_s() / MINUTE_S / INTERVAL_MINUTES * INTERVAL_MINUTES,
            next: INTERVAL_MINUTES,
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
    fn poll(&mut self, now_s: i64, arrivals: &Arrivals) -> Verdict {
        self.minutes.add(&arrivals.versions);
        if self.next > self.last || now_s < self.next * MINUTE_S + FETCH_DELAY_S {
            return Verdict::Continue;
        }
        let (score, is_last) = (self.judge(self.next), self.next == self.last);
        self.next += INTERVAL_MINUTES;
        if ends(score, is_last) { Verdict::RollBack } else { Verdict::Continue }
    }

    fn end(&mut self) -> Verdict {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::testing::{failing, hour, run, usual};
    use crate::trace::{Plan, Version};

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
            ("one point a side", vec![1.0], vec![3.0], Label::Error),
            ("one equal point a side", vec![3.0], vec![3.0], Label::Pass),
            ("one point above zeros", vec![0.0; 4], vec![0.1], Label::Error),
            ("two points above zeros", vec![0.0; 4], vec![0.1; 2], Label::High),
            ("one point above two", vec![1.0, 1.5], vec![3.0], Label::High),
        ];
        for (case, baseline, canary, wanted) in table {
            assert_eq!(classify(&baseline, &canary), wanted, "{case}");
        }
    }

    #[test]
    fn scores_weigh_groups_equally() {
        use Label::{Error, High, NoData, Pass};
        let table = [
            ("all pass", [vec![Pass], vec![Pass], vec![Pass; 3], vec![Pass]], 100.0),
            ("one group fails", [vec![Pass], vec![High], vec![Pass; 3], vec![Pass]], 75.0),
            ("a third of one group", [vec![Pass], vec![Pass], vec![Pass, Pass, High], vec![Pass]], 91.67),
            ("an error in the critical group", [vec![Error], vec![High], vec![Pass; 3], vec![Pass]], 75.0),
            ("an error among others", [vec![Pass], vec![Pass], vec![Pass, Error, High], vec![Pass]], 87.5),
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
    fn thresholds_are_inclusive_where_the_stage_says_so() {
        // (score, ends the canary on the way, and at its last judgement)
        for (score, on_the_way, at_last) in
            [(74.99, true, true), (75.0, true, true), (75.01, false, true), (94.99, false, true), (95.0, false, false)]
        {
            assert_eq!((ends(score, false), ends(score, true)), (on_the_way, at_last), "{score}");
        }
    }

    #[test]
    fn one_failed_group_of_four_is_exactly_marginal_and_rolls_back() {
        let refused = |index, version| {
            let mut bucket = usual(index, version)?;
            bucket.client_errors = if version == Version::New { bucket.requests / 10 } else { 0 };
            Some(bucket)
        };
        assert_eq!(run(&KAYENTA, &hour(|_| {}), refused), Ok(360), "the first judgement");
    }

    #[test]
    fn only_whole_intervals_are_judged() {
        let schedule = |plan| TrafficSchedule { bucket_s: 60, history_s: 3600, plan, witnesses: &[] };
        for (plan, last) in [
            (Plan::Canary10Percent5Minutes, 20),
            (Plan::Linear10PercentEvery1Minute, 20),
            (Plan::Linear20PercentEvery3Minutes, 25),
        ] {
            assert_eq!(Kayenta::new(&schedule(plan)).last, last, "{plan:?}");
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
