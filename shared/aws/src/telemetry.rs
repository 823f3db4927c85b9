//! Snapback's own metrics, in the embedded metric format: one line on standard output, no call.

use crate::Aws;
use crate::clock::SystemClock;
use snapback_app::ports::{Clock, OwnMetric, Telemetry};
use snapback_core::{HookStatus, Timestamp};
use snapback_wire::emf::{
    BAKING, CAUSE, GroupSeries, RESULT, ServiceMetric as Name, TRIGGER, counts_and_times, group_series,
};
use std::io::Write;
use std::time::Duration;

impl Telemetry for Aws {
    fn emit(&self, metric: OwnMetric) {
        let line = emf_line(SystemClock.now(), &metric);
        // Metrics never fail their caller, and standard output that is gone cannot be reported anyway.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// One line of JSON. A time that is not known is left out, never zero.
fn emf_line(at: Timestamp, metric: &OwnMetric) -> String {
    match metric {
        OwnMetric::RolledBack { service, cause, trigger, to_detect, to_roll_back } => {
            let times = [(Name::TimeToDetect, *to_detect), (Name::TimeToRollBack, *to_roll_back)];
            let times = times.into_iter().filter_map(|(name, time)| Some((name, ms(time?))));
            let values: Vec<_> = std::iter::once((Name::Rollbacks, 1)).chain(times).collect();
            counts_and_times(at, service, &[(CAUSE, cause.as_str()), (TRIGGER, trigger.as_str())], &values)
        }
        OwnMetric::Recovered { service, cause, trigger, to_recover } => {
            let values = [(Name::TimeToRecover, ms(*to_recover))];
            counts_and_times(at, service, &[(CAUSE, cause.as_str()), (TRIGGER, trigger.as_str())], &values)
        }
        OwnMetric::Held { service } => counts_and_times(at, service, &[], &[(Name::RollbacksHeld, 1)]),
        OwnMetric::Refused { service, cause, trigger } => {
            let more = [(CAUSE, cause.as_str()), (TRIGGER, trigger.as_str())];
            counts_and_times(at, service, &more, &[(Name::Refusals, 1)])
        }
        OwnMetric::Inconclusive { service } => counts_and_times(at, service, &[], &[(Name::Inconclusive, 1)]),
        OwnMetric::HookDone { service, result, took } => {
            let result = result.map_or(BAKING, HookStatus::as_str);
            counts_and_times(at, service, &[(RESULT, result)], &[(Name::HookDuration, ms(*took))])
        }
        OwnMetric::Watched { service, count } => {
            counts_and_times(at, service, &[], &[(Name::DeploymentsWatched, u64::from(*count))])
        }
        OwnMetric::EvidenceMissing { service } => counts_and_times(at, service, &[], &[(Name::EvidenceMissing, 1)]),
        OwnMetric::Heartbeat { group } => group_series(at, group, GroupSeries::Heartbeat, 1),
        OwnMetric::Verdict { group, is_bad } => group_series(at, group, GroupSeries::Verdict, u64::from(*is_bad)),
        OwnMetric::Paused { group, is_paused } => group_series(at, group, GroupSeries::Paused, u64::from(*is_paused)),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use snapback_core::{Cause, GroupRef, Trigger};

    fn line(metric: &OwnMetric) -> Value {
        serde_json::from_str(&emf_line(Timestamp::from_ms(5), metric)).unwrap()
    }

    #[test]
    fn values_of_metrics() {
        let service = || "checkout".to_owned();
        let group = || GroupRef::parse("shop/live").unwrap();
        let (cause, trigger) = (Cause::Errors, Trigger::Alarm);
        let took = Duration::from_millis(1_500);
        let refused = OwnMetric::Refused { service: service(), cause, trigger };
        let recovered = OwnMetric::Recovered { service: service(), cause, trigger, to_recover: took };
        let table = [
            (OwnMetric::Held { service: service() }, "RollbacksHeld", 1),
            (refused, "Refusals", 1),
            (recovered, "TimeToRecover", 1_500),
            (OwnMetric::Inconclusive { service: service() }, "Inconclusive", 1),
            (OwnMetric::HookDone { service: service(), result: None, took }, "HookDuration", 1_500),
            (OwnMetric::Watched { service: service(), count: 3 }, "DeploymentsWatched", 3),
            (OwnMetric::EvidenceMissing { service: service() }, "EvidenceMissing", 1),
            (OwnMetric::Heartbeat { group: group() }, "Heartbeat", 1),
            (OwnMetric::Verdict { group: group(), is_bad: true }, "Verdict", 1),
            (OwnMetric::Verdict { group: group(), is_bad: false }, "Verdict", 0),
            (OwnMetric::Paused { group: group(), is_paused: true }, "Paused", 1),
            (OwnMetric::Paused { group: group(), is_paused: false }, "Paused", 0),
        ];
        for (metric, name, value) in table {
            let line = line(&metric);
            assert_eq!(line[name], value, "{line}");
            assert_eq!(line["_aws"]["Timestamp"], 5);
        }
    }

    #[test]
    fn hooks_are_timed_by_result_too() {
        let table =
            [(Some(HookStatus::Succeeded), "Succeeded"), (Some(HookStatus::Failed), "Failed"), (None, "Baking")];
        for (result, word) in table {
            let took = Duration::from_secs(2);
            let line = line(&OwnMetric::HookDone { service: "checkout".to_owned(), result, took });
            let sets = &line["_aws"]["CloudWatchMetrics"][0]["Dimensions"];
            assert_eq!((&line["Result"], sets), (&word.into(), &json!([["Service"], ["Service", "Result"]])), "{line}");
        }
    }

    #[test]
    fn a_time_that_is_not_known_is_left_out() {
        let rolled_back = |to_detect| OwnMetric::RolledBack {
            service: "checkout".to_owned(),
            cause: Cause::Latency,
            trigger: Trigger::Sweep,
            to_detect,
            to_roll_back: Some(Duration::from_secs(20)),
        };
        let known = line(&rolled_back(Some(Duration::from_secs(2))));
        assert_eq!((&known["Rollbacks"], &known["TimeToDetect"]), (&1.into(), &2_000.into()));
        let unknown = line(&rolled_back(None));
        assert_eq!(unknown["TimeToRollBack"], 20_000);
        assert!(unknown.get("TimeToDetect").is_none(), "{unknown}");
    }

    /// Every combination of name and dimensions that a line publishes.
    fn published(metric: &OwnMetric) -> Vec<(String, String)> {
        let line = line(metric);
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        let list = |value: &Value| value.as_array().unwrap().clone();
        let names = list(&directive["Metrics"]).into_iter().map(|metric| metric["Name"].as_str().unwrap().to_owned());
        let sets: Vec<String> = list(&directive["Dimensions"])
            .iter()
            .map(|set| list(set).iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(","))
            .collect();
        names.flat_map(|name| sets.iter().map(move |set| (name.clone(), set.clone())).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn the_dashboard_shows_every_metric_as_it_is_published() {
        let service = || "checkout".to_owned();
        let group = || GroupRef::parse("shop/live").unwrap();
        let (cause, trigger, took) = (Cause::Errors, Trigger::Alarm, Duration::from_secs(1));
        let (to_detect, to_roll_back) = (Some(took), Some(took));
        let all = [
            OwnMetric::RolledBack { service: service(), cause, trigger, to_detect, to_roll_back },
            OwnMetric::Recovered { service: service(), cause, trigger, to_recover: took },
            OwnMetric::Held { service: service() },
            OwnMetric::Refused { service: service(), cause, trigger },
            OwnMetric::Inconclusive { service: service() },
            OwnMetric::HookDone { service: service(), result: None, took },
            OwnMetric::Watched { service: service(), count: 1 },
            OwnMetric::EvidenceMissing { service: service() },
            OwnMetric::Heartbeat { group: group() },
            OwnMetric::Paused { group: group(), is_paused: true },
        ];
        let published: Vec<(String, String)> = all.iter().flat_map(published).collect();
        let template = include_str!("../../../infra/sam/template.yaml");
        let searches: Vec<(String, String)> = template
            .split("SEARCH('{Snapback,")
            .skip(1)
            .map(|rest| {
                let (dimensions, rest) = rest.split_once("} MetricName=\\\"").unwrap();
                (rest.split_once('\\').unwrap().0.to_owned(), dimensions.to_owned())
            })
            .collect();
        for search in &searches {
            assert!(published.contains(search), "nobody publishes {search:?}");
        }
        for (name, _) in &published {
            assert!(searches.iter().any(|(shown, _)| shown == name), "the dashboard does not show {name}");
        }
    }
}
