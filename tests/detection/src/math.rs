//! Exponential, logarithm and friends out of additions, multiplications, divisions and square roots only.
//!
//! The system's own functions differ in the last digit between platforms, and a trace must be the same everywhere. IEEE 754
//! fixes what is used here.

const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
const FRACTION_BITS: u32 = 52;
const EXPONENT_BIAS: i64 = 1023;

/// Nearest whole number below `value`, which must lie within ±2^53.
#[expect(clippy::cast_possible_truncation, reason = "callers stay within ±2^53, where the conversion is exact")]
fn floor(value: f64) -> i64 {
    value.floor() as i64
}

/// A count out of a float that holds one: negative and NaN become 0. Exact up to 2^53.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is what is asked"
)]
pub fn count(value: f64) -> u64 {
    value as u64
}

/// e to the power `x`; 0 below -700 and infinite above 700.
///
/// x = k ln 2 + r with |r| at most ln 2 / 2, then the Taylor series of e^r to the 13th power.
#[must_use]
pub fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    if x > 700.0 {
        return f64::INFINITY;
    }
    let k = floor(x / std::f64::consts::LN_2 + 0.5);
    let scale = k as f64;
    let r = (x - scale * LN_2_HIGH) - scale * LN_2_LOW;
    let series = (1..=13).rev().fold(1.0, |sum, term| 1.0 + sum * r / f64::from(term));
    series * power_of_two(k)
}

/// 2 to the power `k`, for k within ±1022.
fn power_of_two(k: i64) -> f64 {
    f64::from_bits((k + EXPONENT_BIAS).unsigned_abs() << FRACTION_BITS)
}

/// Natural logarithm; NaN for negative numbers, minus infinity for 0 (subnormal numbers count as 0).
///
/// x = 2^k m with m between √½ and √2, then ln m = 2 artanh((m−1)/(m+1)) as a series.
#[must_use]
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x < f64::MIN_POSITIVE {
        return f64::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    let bits = x.to_bits();
    let mut k = (bits >> FRACTION_BITS).cast_signed() - EXPONENT_BIAS;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let mut m = f64::from_bits(fraction | (EXPONENT_BIAS.unsigned_abs() << FRACTION_BITS));
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        k += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = (0..=10).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    let scale = k as f64;
    scale * LN_2_HIGH + (2.0 * s * series + scale * LN_2_LOW)
}

/// `base` to the power `exponent`, for a positive base.
#[must_use]
pub fn pow(base: f64, exponent: f64) -> f64 {
    exp(exponent * ln(base))
}

/// Sine of `x` in radians, for |x| up to some thousand turns.
#[must_use]
pub fn sin(x: f64) -> f64 {
    use std::f64::consts::{FRAC_PI_2, PI};
    let turns = floor(x / (2.0 * PI) + 0.5);
    let mut r = x - turns as f64 * 2.0 * PI;
    if r > FRAC_PI_2 {
        r = PI - r;
    } else if r < -FRAC_PI_2 {
        r = -PI - r;
    }
    let square = r * r;
    r * (1..=10).rev().fold(1.0, |sum, term| 1.0 - sum * square / f64::from(2 * term * (2 * term + 1)))
}

/// Chance that a standard normal variable is below `z`, within 1.5e-7 (Abramowitz and Stegun, formula 7.1.26).
#[must_use]
pub fn normal_below(z: f64) -> f64 {
    const TERMS: [f64; 5] = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let x = z.abs() / std::f64::consts::SQRT_2;
    if x > 6.0 {
        return if z > 0.0 { 1.0 } else { 0.0 };
    }
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let tail = TERMS.iter().fold(0.0, |sum, term| (sum + term) * t) * exp(-x * x);
    if z >= 0.0 { 1.0 - 0.5 * tail } else { 0.5 * tail }
}

/// ln(n!), exact to about 1e-15 of its size (table, then Stirling's series).
#[must_use]
pub fn ln_factorial(n: u64) -> f64 {
    const SMALL: u64 = 16;
    const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_8;
    if n < SMALL {
        return ln((2..=n).map(|factor| factor as f64).product());
    }
    let x = n as f64 + 1.0;
    let square = x * x;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * square)) / square) / x;
    (x - 0.5) * ln(x) - x + HALF_LN_TWO_PI + series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: f64, theirs: f64, tolerance: f64, case: &str) {
        let scale = theirs.abs().max(1e-300);
        assert!((ours - theirs).abs() <= tolerance * scale, "{case}: {ours:e} is not {theirs:e}");
    }

    #[test]
    fn functions_agree_with_the_systems_own() {
        for step in -7000..7000 {
            let x = f64::from(step) * 0.0987;
            close(exp(x), x.exp(), 2e-15, &format!("exp {x}"));
            close(ln(exp(x)), x.exp().ln(), 1e-13, &format!("ln exp {x}"));
        }
        for step in 1..5000 {
            let x = f64::from(step) * 0.0123;
            close(ln(x), x.ln(), 2e-14, &format!("ln {x}"));
            assert!((sin(x) - x.sin()).abs() < 1e-14, "sin {x}");
            close(pow(x, 0.37), x.powf(0.37), 1e-14, &format!("pow {x}"));
        }
    }

    #[test]
    fn edges_are_what_the_doc_says() {
        let edges = [
            ("exp far below", exp(-1e9), 0.0),
            ("exp far above", exp(1e9), f64::INFINITY),
            ("exp 0", exp(0.0), 1.0),
            ("ln 1", ln(1.0), 0.0),
            ("ln 0", ln(0.0), f64::NEG_INFINITY),
            ("ln infinity", ln(f64::INFINITY), f64::INFINITY),
        ];
        for (case, ours, wanted) in edges {
            assert!(ours.total_cmp(&wanted).is_eq(), "{case}: {ours} is not {wanted}");
        }
        assert!(ln(-1.0).is_nan());
        assert_eq!([count(-3.0), count(f64::NAN), count(2.9), count(1e15)], [0, 0, 2, 1_000_000_000_000_000]);
    }

    #[test]
    fn normal_distribution_has_its_known_values() {
        let known =
            [(0.0, 0.5), (1.0, 0.841_344_746), (-1.959_964, 0.025), (3.0, 0.998_650_1), (9.0, 1.0), (-9.0, 0.0)];
        for (z, below) in known {
            assert!((normal_below(z) - below).abs() < 2e-7, "{z}: {}", normal_below(z));
        }
    }

    #[test]
    fn factorials_are_sums_of_logarithms() {
        let mut sum = 0.0;
        for n in 1_u64..2000 {
            sum += (n as f64).ln();
            assert!((ln_factorial(n) - sum).abs() <= 1e-12 * sum.max(1.0), "{n}!: {} is not {sum}", ln_factorial(n));
        }
    }
}
