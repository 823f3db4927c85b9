//! The two bets: that the canary fails more than it may, and that it does so in more than one environment.

use super::record::{Burst, PairCounts};
use crate::detector::{log_add, log_sum};

/// α: bound on the chance of a false rollback per deployment, for all kinds of evidence together. Source: Ville's inequality.
pub const ALPHA: f64 = 0.01;
/// W: the share of the whole capital that is bet on pairs. So pairs alone roll back with chance `ALPHA * WEIGHT` at most.
pub const WEIGHT: f64 = 0.04;
/// Log-likelihood ratio that is called sure: one broken environment gets there with chance e⁻⁷ in an episode.
pub(super) const SURE: f64 = 7.0;
/// Most log-evidence that one second may give, so that one second alone decides nothing.
const SECOND_CAP: f64 = 4.0;
/// Most log-evidence that one burst may give, for the same reason.
const BURST_CAP: f64 = 3.0;
/// With one scored pair nothing can be said about a second environment.
const BURST_PAIRS_MIN: u32 = 2;

/// One alternative that is bet on, beside a baseline that fails in 2 % of its calls.
struct Stake {
    /// V: share of the capital of the pairs.
    share: f64,
    /// ln of the e-value of a pair: good, canary alone, baseline alone, both. Reverse information projection of the
    /// alternative on "the canary fails at most 2 q + 0.02" for every q of the baseline, rounded down to three decimals.
    payoff: [f64; 4],
}

/// The canary fails in 90 %, 50 % and 20 % of its calls.
const STAKES: [Stake; 3] = [
    Stake { share: 0.4, payoff: [-0.413, 0.608, -3.782, -2.761] },
    Stake { share: 0.4, payoff: [-0.051, 0.465, -2.405, -1.890] },
    Stake { share: 0.2, payoff: [-0.011, 0.322, -1.252, -0.922] },
];

/// How often the calls beyond the worst environment fail: at most so often when one environment is broken, and so often
/// when the version is.
struct Spread {
    one: f64,
    several: [f64; 3],
}

/// The number of environments that failed is known: others fail as flaky calls do.
const COUNTED: Spread = Spread { one: 0.05, several: [0.2, 0.5, 0.9] };
/// It is not known: an environment that fails fast is free again, and may catch three in ten of the other calls too.
const NOT_COUNTED: Spread = Spread { one: 0.30, several: [0.45, 0.65, 0.9] };

/// What one second pays on each stake.
pub(super) fn payoffs(counts: &PairCounts) -> [f64; 3] {
    let counts = [counts.good, counts.canary_alone, counts.baseline_alone, counts.both].map(f64::from);
    STAKES.map(|stake| {
        counts.into_iter().zip(stake.payoff).map(|(count, pays)| count * pays).sum::<f64>().min(SECOND_CAP)
    })
}

/// What a burst says on each alternative about a second environment; `None`: too few of its pairs are scored.
///
/// Of the failures of the canary alone one is forgiven, and with a known number of environments all of the worst one.
pub(super) fn spread(burst: &Burst) -> Option<[f64; 3]> {
    let scored = burst.counts.scored();
    if scored < BURST_PAIRS_MIN {
        return None;
    }
    let failed = burst.counts.canary_alone;
    let (beyond, model) = match burst.environments {
        Some(environments) => (failed.min(environments).saturating_sub(1), COUNTED),
        None => (failed.saturating_sub(1), NOT_COUNTED),
    };
    let beyond = f64::from(beyond);
    let rest = f64::from(scored.saturating_sub(1)) - beyond;
    let ratio = |several: f64| beyond * (several / model.one).ln() + rest * ((1.0 - several) / (1.0 - model.one)).ln();
    Some(model.several.map(|several| ratio(several).min(BURST_CAP)))
}

/// The k-th episode puts 1/(k(k+1)) of the capital on each stake, beside what is left of the episodes before.
pub(super) fn staked(log_capital: Option<[f64; 3]>, k: u32) -> [f64; 3] {
    let k = f64::from(k);
    let fresh = -(k * (k + 1.0)).ln();
    log_capital.map_or([fresh; 3], |left| left.map(|left| log_add(left, fresh)))
}

/// ln E of the pairs, their share of the whole capital included.
pub(super) fn log_e(log_capital: [f64; 3]) -> f64 {
    WEIGHT.ln() + log_sum(log_capital.into_iter().zip(&STAKES).map(|(capital, stake)| capital + stake.share.ln()))
}

/// ln of the mean of three likelihood ratios.
pub(super) fn sure(ratios: [f64; 3]) -> f64 {
    log_sum(ratios.into_iter()) - 3.0_f64.ln()
}

/// ln(1/α).
pub(super) fn enough() -> f64 {
    -ALPHA.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(good: u32, canary_alone: u32, baseline_alone: u32, both: u32) -> PairCounts {
        PairCounts { good, canary_alone, baseline_alone, both }
    }

    fn is_close(found: f64, expected: f64, case: &str) {
        assert!((found - expected).abs() < 1e-3, "{case}: {found}, expected {expected}");
    }

    /// Mean of e^payoff when the baseline fails in `q` of its calls and the canary in as many as the null allows.
    fn mean(payoff: [f64; 4], q: f64) -> f64 {
        let p = (2.0 * q + 0.02).min(1.0);
        let chances = [(1.0 - q) * (1.0 - p), (1.0 - q) * p, q * (1.0 - p), q * p];
        chances.into_iter().zip(payoff).map(|(chance, pays)| chance * pays.exp()).sum()
    }

    #[test]
    fn no_baseline_makes_a_bet_profitable_under_the_null() {
        for stake in STAKES {
            let worst = (0..=10_000).map(|step| mean(stake.payoff, f64::from(step) / 10_000.0)).fold(0.0, f64::max);
            assert!(worst <= 1.0, "{:?}: {worst}", stake.payoff);
            assert!(worst > 0.99, "{:?} gives away too much: {worst}", stake.payoff);
        }
        assert!((STAKES.map(|stake| stake.share).into_iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_second_pays_what_its_pairs_pay_up_to_the_cap() {
        // (case, counts, what the three stakes pay)
        let table = [
            ("nothing", counts(0, 0, 0, 0), [0.0; 3]),
            ("one failure of the canary", counts(0, 1, 0, 0), [0.608, 0.465, 0.322]),
            ("one of each", counts(1, 1, 1, 1), [-6.348, -3.881, -1.863]),
            ("a burst, below and above the cap", counts(2, 9, 0, 0), [4.0, 4.0, 2.876]),
            ("no cap downwards", counts(0, 0, 10, 0), [-37.82, -24.05, -12.52]),
        ];
        for (case, counts, expected) in table {
            for (found, expected) in payoffs(&counts).into_iter().zip(expected) {
                is_close(found, expected, case);
            }
        }
    }

    #[test]
    fn a_burst_speaks_of_a_second_environment() {
        let burst = |good, failed, environments| Burst { counts: counts(good, failed, 0, 0), environments };
        // (case, burst, the three ratios)
        let table = [
            ("all of ten, unknown where", burst(0, 10, None), Some([3.0, 3.0, 3.0])),
            // 4 ln 4 + 5 ln(.8/.95), and so on.
            ("all of ten, in five at least", burst(0, 10, Some(5)), Some([3.0, 3.0, 0.305])),
            ("all of ten in one environment", burst(0, 10, Some(1)), Some([-1.547, -5.777, -20.262])),
            // 4 ln(.45/.3) + 5 ln(.55/.7), and so on.
            ("half of them", burst(5, 5, None), Some([0.416, -0.373, -5.335])),
            ("one alone is forgiven", burst(9, 1, None), Some([-2.170, -6.238, -17.513])),
            ("none", burst(10, 0, Some(0)), Some([-1.547, -5.777, -20.262])),
            ("more environments than failures", burst(8, 2, Some(9)), Some([0.012, -2.832, -15.120])),
            ("one pair", burst(0, 1, None), None),
        ];
        for (case, burst, expected) in table {
            let found = spread(&burst);
            assert_eq!(found.is_some(), expected.is_some(), "{case}");
            for (found, expected) in found.into_iter().flatten().zip(expected.into_iter().flatten()) {
                is_close(found, expected, case);
            }
        }
        let both = Burst { counts: counts(0, 2, 0, 8), environments: None };
        assert_eq!(
            spread(&both),
            spread(&burst(8, 2, None)),
            "where the baseline fails too nothing speaks of the canary"
        );
    }

    #[test]
    fn all_episodes_together_stake_the_capital_once() {
        let staked = (1..=10_000).fold(None, |left, k| Some(staked(left, k))).unwrap();
        assert!(staked.into_iter().all(|all| all < 0.0 && all > -1e-3), "{staked:?}");
        is_close(log_e([0.0; 3]), 0.04_f64.ln(), "the whole capital of the pairs");
        is_close(sure([7.0; 3]), 7.0, "three equal ratios");
    }
}
