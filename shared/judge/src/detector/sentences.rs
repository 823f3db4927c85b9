//! What the detector says, in words for a person on call.

use super::bucket::number;
use super::judgement::{Judgement, MetricEvidence};
use super::method::{INFORMATION_NEEDED, SEEN_RATIO};
use super::settings::DetectorSettings;
use super::state::State;
use crate::share::Share;
use crate::vocabulary::{Comparison, Metric, Verdict};

/// Odds above this are said as "more than".
const ODDS_MAX: f64 = 1e6;

/// The judgement in one line.
#[must_use]
pub fn headline(settings: &DetectorSettings, state: &State, judgement: &Judgement) -> String {
    let enough = odds(-settings.alpha.ln());
    let information = format!("{:.1} of the {INFORMATION_NEEDED:.1} needed", state.information);
    let ratio = SEEN_RATIO;
    match judgement.verdict {
        Verdict::Continue => format!("undecided: {}; {enough} is a rollback", against(judgement.log_e)),
        Verdict::Rollback => {
            let reason = judgement.reason.map_or("nothing", Metric::as_str);
            format!("rollback because of {reason}: {}; {enough} is enough", against(judgement.log_e))
        }
        Verdict::Pass => {
            let against = against(judgement.log_e);
            format!("pass: {ratio} times the tolerated errors would have shown ({information}); {against}")
        }
        Verdict::Inconclusive => {
            let against = against(judgement.log_e);
            format!(
                "inconclusive, which is no sign against it: with so few requests {ratio} times the tolerated errors may not \
                 show ({information}); {against}"
            )
        }
    }
}

impl MetricEvidence {
    /// What this metric says, in one sentence or two.
    #[must_use]
    pub fn sentence(&self) -> String {
        let what = self.metric.what();
        if self.log_e.is_none() {
            return format!("{what}: not seen yet, or not measured.");
        }
        let numbers = match self.metric {
            Metric::Traffic if self.canary.all == 0 => "nothing to compare".to_owned(),
            Metric::Traffic => format!("new version {}, due by its weight {}", self.canary.bad, self.canary.all),
            Metric::Body => self.level(),
            Metric::E5 | Metric::Tx | Metric::Q90 | Metric::Q99 | Metric::E4 | Metric::Probe | Metric::Pair => {
                self.rates()
            }
        };
        let mut text = format!("{what}: {numbers}. {}", capital(&against(self.log_e)));
        if self.log_e.is_some_and(|log_e| log_e > 0.0) {
            match self.how {
                Some(Comparison::Concurrent) => text.push_str(", most of it from comparing both at the same time"),
                Some(Comparison::BeforeAfter) => text.push_str(", most of it from comparing with the time before"),
                None => {}
            }
            if let Some(first_bad_s) = self.first_bad_s {
                text.push_str(&format!("; bad since {first_bad_s} s"));
            }
        }
        text + "."
    }

    /// The difference of the levels as a change in per cent.
    fn level(&self) -> String {
        let Some((difference, error)) = self.difference else { return "nothing to compare".to_owned() };
        let change = |log: f64| 100.0 * (log.exp() - 1.0);
        let word = if difference < 0.0 { "faster" } else { "slower" };
        let plus = change(difference.abs());
        format!(
            "new version {plus:.1} % {word} (standard error {:.1} %) in {} requests",
            change(error),
            self.canary.all
        )
    }

    fn rates(&self) -> String {
        let beside = self.canary.minus(self.alone);
        let mut parts = Vec::new();
        if beside.all > 0 {
            parts.push(format!("new version {}, beside it the old one {}", of_all(beside), of_all(self.baseline)));
        }
        if self.alone.all > 0 {
            parts.push(format!("new version alone {}", of_all(self.alone)));
        }
        if parts.is_empty() {
            return "nothing to compare".to_owned();
        }
        parts.extend(self.reference.map(|reference| format!("old version before the shift {}", percent(reference))));
        parts.join("; ")
    }
}

fn of_all(total: Share) -> String {
    format!("{} of {} ({})", total.bad, total.all, percent(number(total.bad) / number(total.all.max(1))))
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 { format!("{percent:.1} %") } else { format!("{percent:.2} %") }
}

/// Evidence as odds; at even odds or less there is none.
fn against(log_e: Option<f64>) -> String {
    match log_e {
        Some(log_e) if log_e > 0.0 => format!("evidence {} against the new version", odds(log_e)),
        Some(_) | None => "no evidence against the new version".to_owned(),
    }
}

fn odds(log_e: f64) -> String {
    let odds = log_e.exp();
    if odds > ODDS_MAX {
        format!("more than {ODDS_MAX}:1")
    } else if odds >= 10.0 {
        format!("{odds:.0}:1")
    } else {
        format!("{odds:.1}:1")
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(metric: Metric, log_e: Option<f64>, totals: [(u64, u64); 3]) -> MetricEvidence {
        let [baseline, canary, alone] = totals.map(|(bad, all)| Share { bad, all });
        let (how, first_bad_s) = (Some(Comparison::Concurrent), Some(60));
        let difference = (metric == Metric::Body).then_some((1.2_f64.ln(), 0.01));
        MetricEvidence { metric, log_e, baseline, canary, alone, reference: Some(0.002), difference, how, first_bad_s }
    }

    #[test]
    fn a_sentence_has_the_numbers_that_count() {
        let table = [
            (
                evidence(Metric::E5, Some(5.0), [(4, 1890), (83, 210), (0, 0)]),
                "5xx answers and function errors: new version 83 of 210 (39.5 %), beside it the old one 4 of 1890 \
                 (0.21 %); old version before the shift 0.20 %. Evidence 148:1 against the new version, most of it from \
                 comparing both at the same time; bad since 60 s.",
            ),
            (
                evidence(Metric::Q90, Some(-2.0), [(0, 0), (40, 100), (40, 100)]),
                "requests slower than the old version's 90th percentile (the new one's by a margin): new version alone 40 of \
                 100 (40.0 %); old version before the shift 0.20 %. No evidence against the new version.",
            ),
            (
                evidence(Metric::Body, Some(5.0), [(0, 1890), (0, 210), (0, 0)]),
                "latency of all requests: new version 20.0 % slower (standard error 1.0 %) in 210 requests. Evidence 148:1 \
                 against the new version, most of it from comparing both at the same time; bad since 60 s.",
            ),
            (
                evidence(Metric::Probe, Some(5.0), [(0, 600), (30, 600), (0, 0)]),
                "failed probes: new version 30 of 600 (5.00 %), beside it the old one 0 of 600 (0.00 %); old version before \
                 the shift 0.20 %. Evidence 148:1 against the new version, most of it from comparing both at the same time; \
                 bad since 60 s.",
            ),
            (
                evidence(Metric::E4, Some(0.5), [(1, 100), (12, 300), (2, 200)]),
                "4xx answers: new version 10 of 100 (10.0 %), beside it the old one 1 of 100 (1.00 %); new version alone \
                 2 of 200 (1.00 %); old version before the shift 0.20 %. Evidence 1.6:1 against the new version, most of \
                 it from comparing both at the same time; bad since 60 s.",
            ),
            (
                evidence(Metric::Traffic, Some(-0.1), [(900, 1000), (100, 100), (0, 0)]),
                "requests that arrive: new version 100, due by its weight 100. No evidence against the new version.",
            ),
            (
                evidence(Metric::Tx, Some(-0.1), [(0, 0); 3]),
                "failed transactions: nothing to compare. No evidence against the new version.",
            ),
            (evidence(Metric::E4, None, [(0, 0); 3]), "4xx answers: not seen yet, or not measured."),
        ];
        for (evidence, expected) in table {
            assert_eq!(evidence.sentence(), expected);
        }
        let faster =
            MetricEvidence { difference: Some((-0.05, 0.01)), ..evidence(Metric::Body, Some(-1.0), [(0, 9); 3]) };
        assert!(faster.sentence().contains("new version 5.1 % faster"), "{}", faster.sentence());
    }

    #[test]
    fn a_headline_says_what_would_be_enough() {
        let settings = DetectorSettings::default_method();
        let schedule = super::super::TrafficSchedule::new(60, vec![(0.0, 1.0)], 1200.0, 120.0).unwrap();
        let mut state = State::begin(&settings, &schedule, crate::detector::Witnesses::default(), 0.0, &[], None);
        let judgement = State::finish(&settings, &state);
        let text = headline(&settings, &state, &judgement);
        assert_eq!(
            text,
            "inconclusive, which is no sign against it: with so few requests 5 times the tolerated errors may not show \
             (0.0 of the 8.0 needed); no evidence against the new version"
        );
        state.rolled_back = Some(Metric::Tx);
        let judgement = Judgement { log_e: Some(30.0), ..State::finish(&settings, &state) };
        let text = headline(&settings, &state, &judgement);
        let expected = "rollback because of tx: evidence more than 1000000:1 against the new version; 100:1 is enough";
        assert_eq!(text, expected);
    }
}
