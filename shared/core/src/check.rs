//! What the checks before traffic add up to.

use crate::pause::{self, Pause, Restraint};
use crate::policy::{AtDeadline, Policy, WithoutEvidence};
use crate::vocabulary::Mode;
use crate::warning::Warning;

/// Result of one check. Silence, unreachable and bad are three answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// Looked, and it is good.
    Pass,
    /// Looked, and it is bad.
    Bad,
    /// Looked, and there is too little to tell.
    Silent,
    /// Could not look.
    Unreachable,
}

/// One check with its result and the reason people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Short name, for example `invoke` or `alarms`.
    pub name: String,
    /// Result.
    pub result: CheckResult,
    /// What was seen, with numbers; empty for a plain pass.
    pub detail: String,
}

impl Check {
    /// A check with its result.
    #[must_use]
    pub fn new(name: impl Into<String>, result: CheckResult, detail: impl Into<String>) -> Self {
        Self { name: name.into(), result, detail: detail.into() }
    }

    /// As people read it.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{}: {}", self.name, self.detail)
    }

    fn warning(&self) -> Warning {
        Warning::Check { check: self.name.clone(), detail: self.detail.clone() }
    }

    fn not_refused(&self, restraint: Restraint) -> Warning {
        Warning::NotRefused { restraint, check: self.name.clone(), detail: self.detail.clone() }
    }
}

/// What a hook concludes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Answer `Succeeded`; warnings go on the record.
    Pass {
        /// Each once.
        warnings: Vec<Warning>,
    },
    /// Answer `Failed`: a check found the version bad, or missing evidence is a refusal by policy.
    Refuse {
        /// One line each.
        reasons: Vec<String>,
        /// Whether a check looked and found it bad (else: nobody could tell).
        is_bad: bool,
    },
    /// Do not answer yet; check again at the next tick.
    Hold {
        /// The checks that could not tell.
        checks: Vec<Check>,
    },
}

/// Adds up the results of all checks. No check at all is silence, never a pass.
///
/// In `observe` and `advise`, and while `pause` holds, nothing is refused or held: what would have been is a warning.
#[must_use]
pub fn conclude(checks: &[Check], policy: &Policy, pause: Option<&Pause>) -> Conclusion {
    let nothing = [Check::new("checks", CheckResult::Silent, "no check could say anything about the new version")];
    let checks = if checks.is_empty() { &nothing } else { checks };
    let mut warnings = Vec::new();
    let (mut bad, mut refused, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for check in checks {
        let without_evidence = match check.result {
            CheckResult::Pass => continue,
            CheckResult::Bad => {
                bad.push(check);
                continue;
            }
            CheckResult::Silent => policy.no_evidence.silence,
            CheckResult::Unreachable => policy.no_evidence.unreachable,
        };
        match without_evidence {
            WithoutEvidence::PassWithWarning => warnings.push(check.warning()),
            WithoutEvidence::Hold => held.push(check),
            WithoutEvidence::Fail => refused.push(check),
        }
    }
    let would_stop = !bad.is_empty() || !refused.is_empty() || !held.is_empty();
    let mode = pause::mode_of(policy, None, pause);
    if mode != Mode::Rollback && would_stop {
        let restraint = pause::restraint(mode, pause);
        let all = bad.into_iter().chain(refused).chain(held);
        warnings.extend(all.map(|check| check.not_refused(restraint)));
        return Conclusion::Pass { warnings };
    }
    if !bad.is_empty() {
        return Conclusion::Refuse { reasons: bad.into_iter().map(Check::line).collect(), is_bad: true };
    }
    if !refused.is_empty() {
        return Conclusion::Refuse { reasons: refused.into_iter().map(Check::line).collect(), is_bad: false };
    }
    if !held.is_empty() {
        return Conclusion::Hold { checks: held.into_iter().cloned().collect() };
    }
    Conclusion::Pass { warnings }
}

/// What a hold because of `checks` becomes when its deadline is reached.
#[must_use]
pub fn conclude_at_deadline(checks: &[Check], at_deadline: AtDeadline) -> Conclusion {
    match at_deadline {
        AtDeadline::Fail => Conclusion::Refuse { reasons: checks.iter().map(Check::line).collect(), is_bad: false },
        AtDeadline::PassWithWarning => Conclusion::Pass { warnings: checks.iter().map(Check::warning).collect() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use crate::pause::{Attribution, PauseScope};
    use crate::policy::{NoEvidence, PolicySettings};
    use proptest::prelude::*;

    fn policy(mode: Mode, silence: WithoutEvidence, unreachable: WithoutEvidence) -> Policy {
        let settings: PolicySettings = (*Policy::without_parameter("checkout")).clone();
        Policy::new(PolicySettings { mode, no_evidence: NoEvidence { silence, unreachable }, ..settings }).unwrap()
    }

    fn check(result: CheckResult) -> Check {
        Check::new("probe", result, "seen")
    }

    fn word(conclusion: &Conclusion) -> &'static str {
        match conclusion {
            Conclusion::Pass { warnings } if warnings.is_empty() => "pass",
            Conclusion::Pass { .. } => "pass with warning",
            Conclusion::Refuse { is_bad: true, .. } => "refuse, bad",
            Conclusion::Refuse { is_bad: false, .. } => "refuse, no evidence",
            Conclusion::Hold { .. } => "hold",
        }
    }

    #[test]
    fn decision_table() {
        use CheckResult::{Bad, Pass, Silent, Unreachable};
        use WithoutEvidence::{Fail, Hold, PassWithWarning};
        type Row = (&'static str, Mode, WithoutEvidence, WithoutEvidence, &'static [CheckResult], &'static str);
        let table: &[Row] = &[
            ("all good", Mode::Rollback, PassWithWarning, Hold, &[Pass, Pass], "pass"),
            ("one bad", Mode::Rollback, PassWithWarning, Hold, &[Pass, Bad], "refuse, bad"),
            ("bad wins over unreachable", Mode::Rollback, PassWithWarning, Hold, &[Unreachable, Bad], "refuse, bad"),
            ("silence", Mode::Rollback, PassWithWarning, Hold, &[Pass, Silent], "pass with warning"),
            ("silence refused", Mode::Rollback, Fail, Hold, &[Pass, Silent], "refuse, no evidence"),
            ("could not look", Mode::Rollback, PassWithWarning, Hold, &[Pass, Unreachable], "hold"),
            ("could not look, refused", Mode::Rollback, PassWithWarning, Fail, &[Unreachable], "refuse, no evidence"),
            ("no check at all is silence", Mode::Rollback, Hold, Fail, &[], "hold"),
            ("advise never refuses", Mode::Advise, PassWithWarning, Hold, &[Bad], "pass with warning"),
            ("observe never holds", Mode::Observe, PassWithWarning, Hold, &[Unreachable], "pass with warning"),
        ];
        for (case, mode, silence, unreachable, results, expected) in table {
            let checks: Vec<Check> = results.iter().cloned().map(check).collect();
            let conclusion = conclude(&checks, &policy(*mode, *silence, *unreachable), None);
            assert_eq!(word(&conclusion), *expected, "{case}: {conclusion:?}");
        }
    }

    #[test]
    fn a_pause_refuses_and_holds_nothing() {
        use CheckResult::{Bad, Pass, Silent, Unreachable};
        use WithoutEvidence::{Fail, Hold};
        let began = Attribution { at: Timestamp::from_ms(0), who: "ann".to_owned(), why: "because".to_owned() };
        let pause = Pause { scope: PauseScope::Installation, began, ended: None };
        let table: [(&str, &[CheckResult], &[&str]); 5] = [
            ("all good", &[Pass], &[]),
            ("bad", &[Bad], &["paused, so not refused: probe: seen"]),
            ("silence refused", &[Silent], &["paused, so not refused: probe: seen"]),
            ("could not look", &[Unreachable], &["paused, so not refused: probe: seen"]),
            ("no check", &[], &["paused, so not refused: checks: no check could say anything about the new version"]),
        ];
        for (case, results, expected) in table {
            let checks: Vec<Check> = results.iter().cloned().map(check).collect();
            let conclusion = conclude(&checks, &policy(Mode::Rollback, Fail, Hold), Some(&pause));
            let Conclusion::Pass { warnings } = conclusion else { panic!("{case}: {conclusion:?}") };
            let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            assert_eq!(texts, *expected, "{case}");
        }
    }

    fn any_result() -> impl Strategy<Value = CheckResult> {
        prop_oneof![
            Just(CheckResult::Pass),
            Just(CheckResult::Bad),
            Just(CheckResult::Silent),
            Just(CheckResult::Unreachable)
        ]
    }

    proptest! {
        #[test]
        fn a_clean_pass_needs_a_check_and_only_passes(results in prop::collection::vec(any_result(), 0..6)) {
            let checks: Vec<Check> = results.iter().cloned().map(check).collect();
            let policy = policy(Mode::Rollback, WithoutEvidence::PassWithWarning, WithoutEvidence::Hold);
            let all_passed = !results.is_empty() && results.iter().all(|result| *result == CheckResult::Pass);
            let conclusion = conclude(&checks, &policy, None);
            prop_assert_eq!(word(&conclusion) == "pass", all_passed);
        }

        #[test]
        fn the_order_of_checks_does_not_matter(results in prop::collection::vec(any_result(), 0..6)) {
            let policy = policy(Mode::Rollback, WithoutEvidence::PassWithWarning, WithoutEvidence::Hold);
            let forward: Vec<Check> = results.iter().cloned().map(check).collect();
            let backward: Vec<Check> = results.iter().rev().cloned().map(check).collect();
            prop_assert_eq!(word(&conclude(&forward, &policy, None)), word(&conclude(&backward, &policy, None)));
        }
    }
}
