//! Multiwindow, multi-burn-rate alerts: fire when the error budget burns too fast over a long and over a short window.

use super::minutes::{Minutes, Tally};
use crate::judge::{Contestant, Judge, Source, Verdict};
use crate::trace::Arrivals;

const WORKBOOK: Source = Source {
    title: "The Site Reliability Workbook, chapter 5: Alerting on SLOs",
    version: "",
    url: "https://sre.google/workbook/alerting-on-slos/",
};

/// The windows that page, as published.
pub(super) const PUBLISHED: Contestant = Contestant {
    name: "Burn rate",
    method: "The paging alerts of the SRE workbook on the alias's 5xx: 14.4 times the budget over 1 h and 5 min, or 6 times \
             over 6 h and 30 min (of the 6 hours, what data there is: an hour before the deployment). Objective: the strictest of 99.9, 99.5, 99, 95 and 90 % \
             that the hour before met.",
    sources: &[WORKBOOK],
    start: |_| Box::new(BurnRate::new(&WINDOWS)),
};

/// The same with windows that fit into a deployment.
pub(super) const SHORTENED: Contestant = Contestant {
    name: "Burn rate, short windows",
    method: "The same with a twelfth of the windows, so that they fit into a deployment: 14.4 times over 5 min and 1 min, or 6 \
             times over 30 min and 3 min.",
    sources: &[WORKBOOK],
    start: |_| Box::new(BurnRate::new(&SHORT_WINDOWS)),
};

/// An alert: burn rate, long and short window in minutes.
type Window = (f64, i64, i64);

const WINDOWS: [Window; 2] = [(14.4, 60, 5), (6.0, 360, 30)];
const SHORT_WINDOWS: [Window; 2] = [(14.4, 5, 1), (6.0, 30, 3)];
const OBJECTIVES: [f64; 5] = [0.999, 0.995, 0.99, 0.95, 0.9];

struct BurnRate {
    windows: &'static [Window],
    minutes: Minutes,
    /// Share of requests that may fail.
    budget: Option<f64>,
}

impl BurnRate {
    fn new(windows: &'static [Window]) -> BurnRate {
        BurnRate { windows, minutes: Minutes::default(), budget: None }
    }

    /// Error rate of the newest visible minutes, this many.
    fn error_rate(&self, minutes: i64) -> Option<f64> {
        let end = self.minutes.newest()? + 1;
        let (errors, requests) = self
            .minutes
            .range(end - minutes, end)
            .flat_map(|(_, minute)| [&minute.old, &minute.new])
            .flatten()
            .fold((0, 0), |sum, side| (sum.0 + side.errors, sum.1 + side.requests));
        if requests == 0 { None } else { Some(errors as f64 / requests as f64) }
    }
}

/// Budget of the strictest objective that this past met; of the loosest one when it met none.
fn budget(before: &Tally) -> f64 {
    let failed = before.error_rate().unwrap_or(0.0);
    let loosest = OBJECTIVES.iter().fold(0.0_f64, |budget, objective| budget.max(1.0 - objective));
    OBJECTIVES.iter().map(|objective| 1.0 - objective).find(|budget| failed <= *budget).unwrap_or(loosest)
}

impl Judge for BurnRate {
    fn poll(&mut self, _now_s: i64, arrivals: &Arrivals) -> Verdict {
        if arrivals.versions.is_empty() {
            return Verdict::Continue;
        }
        self.minutes.add(&arrivals.versions);
        let budget = *self.budget.get_or_insert_with(|| budget(&self.minutes.before_start()));
        let burns = |minutes, rate| self.error_rate(minutes).is_some_and(|errors| errors > rate * budget);
        let fires = self.windows.iter().any(|(rate, long, short)| burns(*long, *rate) && burns(*short, *rate));
        if fires { Verdict::RollBack } else { Verdict::Continue }
    }

    fn end(&mut self) -> Verdict {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::testing::{failing, hour, run, usual};

    #[test]
    fn the_objective_is_one_that_the_service_meets() {
        let table = [(0, 0.001), (1, 0.001), (2, 0.005), (7, 0.01), (50, 0.05), (80, 0.1), (500, 0.1)];
        for (errors, wanted) in table {
            let before = Tally { requests: 1000, errors, ..Tally::default() };
            assert!((budget(&before) - wanted).abs() < 1e-12, "{errors} errors: {}", budget(&before));
        }
    }

    #[test]
    fn long_windows_wait_short_ones_do_not() {
        let quiet = hour(|_| {});
        for contestant in [&PUBLISHED, &SHORTENED] {
            assert_eq!(run(contestant, &quiet, usual), Err(Verdict::Pass));
            // 0.5 % of all requests is below 6 times a budget of 0.1 %.
            assert_eq!(run(contestant, &quiet, failing(0.005)), Err(Verdict::Pass), "{}", contestant.name);
        }
        // An hour has 60,000 requests, and 0.6 % of them may fail; one minute of the canary has 100 requests, later 1,000.
        assert_eq!(run(&PUBLISHED, &quiet, failing(0.1)), Ok(570), "50 + 4 × 100 of 69,000 after minute 8");
        assert_eq!(run(&PUBLISHED, &quiet, failing(1.0)), Ok(270), "400 of 64,000 after minute 3");
        // 1.44 % of five minutes are 72 requests.
        assert_eq!(run(&SHORTENED, &quiet, failing(1.0)), Ok(90), "100 of 5,000");
        assert_eq!(run(&SHORTENED, &quiet, failing(0.1)), Ok(390), "10 a minute, then 100");
    }
}
