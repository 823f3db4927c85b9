//! Sums of numbers that are known by their logarithms, and mixtures of them.

/// ln of the capital on each alternative; `None`: nothing was staked yet (each is minus infinity).
pub type Mix<const N: usize> = Option<[f64; N]>;

/// ln(eᵃ + eᵇ). Minus infinity stands for 0.
pub(crate) fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// ln Σ eˣ; minus infinity for none.
pub(crate) fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if high.is_infinite() {
        return high;
    }
    high + values.map(|value| (value - high).exp()).sum::<f64>().ln()
}

/// S ← log(eˢ + γ) + ℓ for each alternative: a mixture over the bucket in which the fault began.
///
/// `ln_mass` is ln γ; minus infinity: no fault that begins here is meant. Source: e-detectors with a prior over change times
/// (Shin, Ramdas and Rinaldo 2022).
pub(super) fn bet<const N: usize>(mix: &mut Mix<N>, ln_mass: f64, gains: &[f64; N]) {
    if mix.is_none() && ln_mass == f64::NEG_INFINITY {
        return;
    }
    let capital = mix.get_or_insert([f64::NEG_INFINITY; N]);
    for (capital, gain) in capital.iter_mut().zip(gains) {
        *capital = log_add(*capital, ln_mass) + gain;
    }
}

/// ln Σ V eˢ over all alternatives. `ln_stakes`: ln V of each, minus infinity where nothing is staked.
pub(super) fn worth<const N: usize>(mix: &Mix<N>, ln_stakes: &[f64; N]) -> f64 {
    mix.as_ref()
        .map_or(f64::NEG_INFINITY, |mix| log_sum(mix.iter().zip(ln_stakes).map(|(capital, stake)| capital + stake)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_plain_numbers() {
        let none = f64::NEG_INFINITY;
        let table = [
            (0.0, 0.0, 2.0_f64),
            (none, 1.0, 1.0_f64.exp()),
            (none, none, 0.0),
            (-3.0, 2.0, (-3.0_f64).exp() + 2.0_f64.exp()),
        ];
        for (a, b, sum) in table {
            for result in [log_add(a, b), log_add(b, a), log_sum([a, b].into_iter())] {
                assert!((result.exp() - sum).abs() < 1e-9, "{a} and {b}: {result}");
            }
        }
        assert!((log_add(-1000.0, 1000.0) - 1000.0).abs() < 1e-9, "no overflow");
        assert!(log_sum(std::iter::empty()).is_infinite());
    }

    #[test]
    fn a_mixture_is_worth_its_stakes() {
        let none = f64::NEG_INFINITY;
        let mut mix: Mix<2> = None;
        bet(&mut mix, none, &[5.0, 5.0]);
        assert_eq!(mix, None, "nothing is staked, nothing is won");
        assert!(worth(&mix, &[0.0, 0.0]).is_infinite());
        bet(&mut mix, 0.5_f64.ln(), &[2.0_f64.ln(), 4.0_f64.ln()]);
        bet(&mut mix, 0.25_f64.ln(), &[0.0, 0.0]);
        let worth = |stakes: [f64; 2]| worth(&mix, &stakes.map(f64::ln)).exp();
        assert!((worth([0.5, 0.5]) - (0.5 * 1.25 + 0.5 * 2.25)).abs() < 1e-12);
        assert!((worth([1.0, 0.0]) - 1.25).abs() < 1e-12, "no stake on the second");
    }
}
