//! The figures of many processes of the same kind.

use serde::Serialize;

use super::recorder::Calls;
use super::sample::{Sample, Warm};
use crate::statistics::{Summary, count};

/// Each figure's distribution; see [`Sample`] for what it is. `None` where this system does not tell, or nothing was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    pub init_ms: Option<Summary>,
    pub init_cpu_ms: Option<Summary>,
    pub first_ms: Option<Summary>,
    pub first_own_ms: Option<Summary>,
    pub to_answer_ms: Option<Summary>,
    pub cpu_ms: Option<Summary>,
    pub rss_mb: Option<Summary>,
    pub calls: Option<Summary>,
    pub init_connections: Option<Summary>,
    pub connections: Option<Summary>,
    pub warm_ms: Option<Summary>,
    pub warm_own_ms: Option<Summary>,
    pub warm_cpu_ms: Option<Summary>,
    pub warm_calls: Option<Summary>,
    /// Calls of init, of the last process.
    pub calls_of_init: Calls,
    /// Calls of the first event, of the last process.
    pub calls_of_first: Calls,
}

impl Figures {
    /// Of `samples`, or `None` when there are none.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Option<Self> {
        let last = samples.last()?;
        let of = |figure: &dyn Fn(&Sample) -> Option<f64>| Summary::of(samples.iter().filter_map(figure));
        let warm = || samples.iter().flat_map(|sample| &sample.warm);
        let of_warm = |figure: &dyn Fn(&Warm) -> Option<f64>| Summary::of(warm().filter_map(figure));
        Some(Self {
            init_ms: of(&|sample| Some(sample.init_ms)),
            init_cpu_ms: of(&|sample| sample.init_cpu_ms),
            first_ms: of(&|sample| Some(sample.first_ms)),
            first_own_ms: of(&|sample| Some(sample.first_own_ms)),
            to_answer_ms: of(&|sample| Some(sample.to_answer_ms())),
            cpu_ms: of(&|sample| sample.cpu_ms),
            rss_mb: of(&|sample| sample.rss_mb),
            calls: of(&|sample| count(sample.calls())),
            init_connections: of(&|sample| count(sample.init_connections)),
            connections: of(&|sample| count(sample.connections)),
            warm_ms: of_warm(&|warm| Some(warm.ms)),
            warm_own_ms: of_warm(&|warm| Some(warm.own_ms)),
            warm_cpu_ms: of_warm(&|warm| warm.cpu_ms),
            warm_calls: of_warm(&|warm| count(warm.calls.values().sum())),
            calls_of_init: last.init_calls.clone(),
            calls_of_first: last.first_calls.clone(),
        })
    }
}

/// Says how `theirs` differs from `ours`, or `None` when the same calls were made equally often.
#[must_use]
pub fn difference(ours: &Calls, theirs: &Calls) -> Option<String> {
    let actions: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differs = |action: &&String| {
        let (our, their) = (ours.get(*action).unwrap_or(&0), theirs.get(*action).unwrap_or(&0));
        (our != their).then(|| format!("{action}: {our}, not {their}"))
    };
    let lines: Vec<String> = actions.iter().filter_map(differs).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(list: &[(&str, u64)]) -> Calls {
        list.iter().map(|(action, count)| ((*action).to_owned(), *count)).collect()
    }

    #[test]
    fn calls_are_compared_by_how_often_they_were_made() {
        let ours = [("dynamodb:PutItem", 2), ("ssm:GetParameter", 1)];
        // (case, theirs, difference)
        let table = [
            ("the same", ours.to_vec(), None),
            ("less often", vec![("dynamodb:PutItem", 1), ("ssm:GetParameter", 1)], Some("dynamodb:PutItem: 2, not 1")),
            ("left out", vec![("dynamodb:PutItem", 2)], Some("ssm:GetParameter: 1, not 0")),
            (
                "another one",
                vec![("dynamodb:GetItem", 1), ("dynamodb:PutItem", 2), ("ssm:GetParameter", 1)],
                Some("dynamodb:GetItem: 0, not 1"),
            ),
        ];
        for (case, theirs, expected) in table {
            assert_eq!(difference(&calls(&ours), &calls(&theirs)).as_deref(), expected, "{case}");
        }
    }
}
