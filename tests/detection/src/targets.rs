//! Figures that Snapback has to reach, read from `targets2.json`.

use crate::score::{Cell, Outcome};
use serde::Deserialize;

/// Figures to reach.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// Share of healthy deployments that may be rolled back, over all healthy classes.
    pub false_rollback_mean_max: f64,
    /// Figures of single classes.
    pub cells: Vec<Target>,
}

/// Figures of one class at one request rate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Name of the class.
    pub scenario: String,
    /// Requests per second, as text.
    pub rate: String,
    /// Share that must be rolled back.
    pub rollback_min: Option<f64>,
    /// Share that may be rolled back.
    pub rollback_max: Option<f64>,
    /// Median delay in seconds, misses counted as until the end.
    pub capped_max: Option<f64>,
}

/// How a check of targets went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Figures that were reached.
    pub reached: usize,
    /// What was missed, in words.
    pub missed: Vec<String>,
}

impl Targets {
    /// The targets in this JSON document.
    ///
    /// # Errors
    /// When it is not of this form.
    pub fn parse(json: &str) -> Result<Targets, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// Compares outcomes with the targets. Cells without outcomes are left out.
    #[must_use]
    pub fn check(&self, outcomes: &[Outcome]) -> Checked {
        let mut checked = Checked::default();
        let healthy = Cell::of(outcomes.iter().filter(|outcome| !outcome.spec.class.is_bad()));
        if healthy.count > 0 {
            checked.note(
                "healthy",
                "mean false rollback",
                healthy.share() <= self.false_rollback_mean_max,
                healthy.share(),
            );
        }
        for target in &self.cells {
            let of_cell = |outcome: &&Outcome| {
                outcome.spec.class.name() == target.scenario && outcome.spec.rate.to_string() == target.rate
            };
            let cell = Cell::of(outcomes.iter().filter(of_cell));
            if cell.count == 0 {
                continue;
            }
            let place = format!("{} at {}/s", target.scenario, target.rate);
            if let Some(least) = target.rollback_min {
                checked.note(&place, &format!("at least {least} rolled back"), cell.share() >= least, cell.share());
            }
            if let Some(most) = target.rollback_max {
                checked.note(&place, &format!("at most {most} rolled back"), cell.share() <= most, cell.share());
            }
            if let Some(most) = target.capped_max {
                let found = cell.delay_capped_median_s().unwrap_or(f64::INFINITY);
                checked.note(&place, &format!("median delay at most {most} s"), found <= most, found);
            }
        }
        checked
    }
}

impl Checked {
    fn note(&mut self, place: &str, what: &str, reached: bool, found: f64) {
        if reached {
            self.reached += 1;
        } else {
            self.missed.push(format!("{place}: {what}, but it is {found}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Verdict;
    use crate::trace::{Class, Deployment, Plan, Spec};

    fn outcomes(class: Class, rolled_back: u64, of: u64) -> Vec<Outcome> {
        let plan = Plan::Canary10Percent5Minutes;
        let one = |index| {
            let spec = Spec { seed: 1, class, rate: 0.3, plan, bucket_s: 60, index };
            let deployment =
                Deployment { spec, arrivals: std::collections::BTreeMap::new(), onset_s: 0.0, harmed: vec![1.0] };
            Outcome::of(&deployment, (index < rolled_back).then_some(200), Verdict::Pass)
        };
        (0..of).map(one).collect()
    }

    #[test]
    fn every_target_is_checked() {
        let targets = Targets::parse(
            r#"{"false_rollback_mean_max": 0.1, "cells": [
                {"scenario": "errors_large", "rate": "0.3", "rollback_min": 0.75, "capped_max": 200},
                {"scenario": "healthy", "rate": "0.3", "rollback_max": 0.05},
                {"scenario": "silent", "rate": "0.3", "rollback_min": 1.0}]}"#,
        )
        .unwrap();
        // (bad ones rolled back of 4, healthy ones of 20, reached, missed)
        for (bad, healthy, reached, missed) in [(3, 1, 4, 0), (4, 0, 4, 0), (2, 1, 2, 2), (3, 2, 3, 1), (1, 3, 0, 4)] {
            let mut all = outcomes(Class::ErrorsLarge, bad, 4);
            all.extend(outcomes(Class::Healthy, healthy, 20));
            let checked = targets.check(&all);
            assert_eq!((checked.reached, checked.missed.len()), (reached, missed), "{bad} {healthy}: {checked:?}");
        }
    }

    #[test]
    fn the_committed_targets_name_known_classes_and_rates() {
        let targets = Targets::parse(include_str!("../targets2.json")).unwrap();
        for target in &targets.cells {
            assert!(Class::ALL.iter().any(|class| class.name() == target.scenario), "{}", target.scenario);
            assert!(crate::trace::RATES.iter().any(|rate| rate.to_string() == target.rate), "{}", target.rate);
        }
        assert!(Targets::parse(r#"{"false_rollback_mean_max": 0.1, "cells": [], "more": 1}"#).is_err());
    }
}
