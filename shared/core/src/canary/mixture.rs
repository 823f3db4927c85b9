//! Sums of numbers that are known by their logarithms.

/// ln(eᵃ + eᵇ). Minus infinity stands for 0.
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// ln Σ eˣ; minus infinity for none.
pub(super) fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if high.is_infinite() {
        return high;
    }
    high + values.map(|value| (value - high).exp()).sum::<f64>().ln()
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
}
