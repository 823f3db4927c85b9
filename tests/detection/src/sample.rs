//! Seeded samplers of the usual distributions, right for small and for large means, and the same on every machine.

use crate::math::{count, exp, ln, ln_factorial, pow};

/// Below this mean counts are drawn by walking up the distribution, above it by rejection.
const WALK_BELOW: f64 = 10.0;

/// A seeded source of random numbers.
#[derive(Debug, Clone)]
pub struct Sampler {
    source: fastrand::Rng,
}

impl Sampler {
    /// A source whose whole future is decided by `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Sampler {
        Sampler { source: fastrand::Rng::with_seed(seed) }
    }

    /// Evenly spread between 0 (possible) and 1 (not).
    pub fn unit(&mut self) -> f64 {
        self.source.f64()
    }

    /// Evenly spread between `low` and `high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Evenly spread on the logarithmic scale; both bounds are positive.
    pub fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        exp(self.uniform(ln(low), ln(high)))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Normal (polar method of Marsaglia and Bray).
    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        loop {
            let (a, b) = (self.uniform(-1.0, 1.0), self.uniform(-1.0, 1.0));
            let square = a * a + b * b;
            if square > 0.0 && square < 1.0 {
                return mean + deviation * a * (-2.0 * ln(square) / square).sqrt();
            }
        }
    }

    /// Gamma with mean shape × scale (Marsaglia and Tsang, 2000); both positive.
    pub fn gamma(&mut self, shape: f64, scale: f64) -> f64 {
        if shape < 1.0 {
            let boost = pow(self.unit().max(f64::MIN_POSITIVE), 1.0 / shape);
            return self.gamma(shape + 1.0, scale) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal(0.0, 1.0);
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let cube = v * v * v;
            if ln(self.unit()) < 0.5 * x * x + d - d * cube + d * ln(cube) {
                return d * cube * scale;
            }
        }
    }

    /// Poisson with this mean; 0 for a mean of 0 or less.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean >= WALK_BELOW {
            return self.large_poisson(mean);
        }
        let limit = exp(-mean);
        let mut product = self.unit();
        let mut events = 0;
        while product > limit {
            product *= self.unit();
            events += 1;
        }
        events
    }

    /// Hörmann, "The transformed rejection method for generating Poisson random variables" (1993), algorithm PTRS.
    fn large_poisson(&mut self, mean: f64) -> u64 {
        let b = 0.931 + 2.53 * mean.sqrt();
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let quick = 0.9277 - 3.6224 / (b - 2.0);
        let ln_mean = ln(mean);
        loop {
            let u = self.unit() - 0.5;
            let v = self.unit();
            let side = 0.5 - u.abs();
            let k = ((2.0 * a / side + b) * u + mean + 0.43).floor();
            if side >= 0.07 && v <= quick {
                return count(k);
            }
            if k < 0.0 || (side < 0.013 && v > side) {
                continue;
            }
            let proposed = ln(v * inverse_alpha / (a / (side * side) + b));
            if proposed <= k * ln_mean - mean - ln_factorial(count(k)) {
                return count(k);
            }
        }
    }

    /// Successes among `trials`, each with this probability (clamped to 0..=1).
    pub fn binomial(&mut self, trials: u64, probability: f64) -> u64 {
        if trials == 0 || probability <= 0.0 {
            return 0;
        }
        if probability >= 1.0 {
            return trials;
        }
        if probability > 0.5 {
            return trials - self.binomial(trials, 1.0 - probability);
        }
        if trials as f64 * probability >= WALK_BELOW {
            return self.large_binomial(trials, probability);
        }
        self.small_binomial(trials, probability)
    }

    /// Walks up the distribution: fast while trials × probability is small.
    fn small_binomial(&mut self, trials: u64, probability: f64) -> u64 {
        let odds = probability / (1.0 - probability);
        let mut chance = exp(trials as f64 * ln(1.0 - probability));
        let mut left = self.unit();
        for successes in 0..trials {
            if left < chance {
                return successes;
            }
            left -= chance;
            chance *= odds * (trials - successes) as f64 / (successes + 1) as f64;
        }
        trials
    }

    /// Hörmann, "The generation of binomial random variates" (1993), algorithm BTRS.
    fn large_binomial(&mut self, trials: u64, probability: f64) -> u64 {
        let n = trials as f64;
        let spread = (n * probability * (1.0 - probability)).sqrt();
        let b = 1.15 + 2.53 * spread;
        let a = -0.0873 + 0.0248 * b + 0.01 * probability;
        let centre = n * probability + 0.5;
        let quick = 0.92 - 4.2 / b;
        let alpha = (2.83 + 5.1 / b) * spread;
        let ln_odds = ln(probability / (1.0 - probability));
        let mode = ((n + 1.0) * probability).floor();
        let at_mode = ln_factorial(count(mode)) + ln_factorial(trials.saturating_sub(count(mode)));
        loop {
            let u = self.unit() - 0.5;
            let v = self.unit();
            let side = 0.5 - u.abs();
            let k = ((2.0 * a / side + b) * u + centre).floor();
            if k < 0.0 || k > n {
                continue;
            }
            if side >= 0.07 && v <= quick {
                return count(k);
            }
            let proposed = ln(v * alpha / (a / (side * side) + b));
            let rest = trials.saturating_sub(count(k));
            if proposed <= at_mode - ln_factorial(count(k)) - ln_factorial(rest) + (k - mode) * ln_odds {
                return count(k);
            }
        }
    }

    /// Failures before the `successes`-th success, each trial succeeding with this probability (above 0):
    /// mean s(1−p)/p. A Poisson variable with a gamma distributed mean.
    pub fn negative_binomial(&mut self, successes: u64, probability: f64) -> u64 {
        if successes == 0 {
            return 0;
        }
        let mean = self.gamma(successes as f64, (1.0 - probability) / probability);
        self.poisson(mean)
    }

    /// Splits `total` over classes with these weights (any scale, at least one positive): one count per weight.
    pub fn multinomial(&mut self, total: u64, weights: &[f64]) -> Vec<u64> {
        let mut left = total;
        let mut rest: f64 = weights.iter().sum();
        let mut counts: Vec<u64> = weights
            .iter()
            .map(|weight| {
                let drawn = self.binomial(left, if rest > 0.0 { weight / rest } else { 0.0 });
                left -= drawn;
                rest -= weight;
                drawn
            })
            .collect();
        // Rounding can leave a few behind the last positive weight.
        let last = weights.iter().rposition(|weight| *weight > 0.0);
        if let Some(counted) = last.and_then(|index| counts.get_mut(index)) {
            *counted += left;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 40_000;

    /// Mean and variance of many draws lie within five standard errors of what they should be.
    fn check(case: &str, mean: f64, variance: f64, mut draw: impl FnMut(&mut Sampler) -> f64) {
        let mut sampler = Sampler::new(7);
        let values: Vec<f64> = (0..DRAWS).map(|_| draw(&mut sampler)).collect();
        let n = f64::from(DRAWS);
        let found = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|value| (value - found) * (value - found)).sum::<f64>() / n;
        let fourth = values.iter().map(|value| (value - found).powi(4)).sum::<f64>() / n;
        let mean_error = 5.0 * (variance / n).sqrt();
        let variance_error = 5.0 * ((fourth - squares * squares).max(0.0) / n).sqrt();
        assert!((found - mean).abs() <= mean_error + 1e-12, "{case}: mean {found}, should be {mean} ± {mean_error}");
        assert!(
            (squares - variance).abs() <= variance_error + 1e-12,
            "{case}: variance {squares}, should be {variance} ± {variance_error}"
        );
    }

    #[test]
    fn poisson_has_its_mean_as_variance() {
        for mean in [0.0, 0.02, 0.7, 4.0, 9.99, 10.0, 35.0, 1_000.0, 60_000.0, 5e6] {
            check(&format!("Poisson {mean}"), mean, mean, |sampler| sampler.poisson(mean) as f64);
        }
    }

    #[test]
    fn binomial_is_right_on_both_sides_of_each_method() {
        let table = [
            (1, 0.3),
            (18, 0.001),
            (20, 0.5),
            (40, 0.24),
            (40, 0.26),
            (100, 0.97),
            (6_000, 0.000_5),
            (60_000, 0.01),
            (60_000, 0.5),
            (60_000, 0.999_5),
            (1 << 40, 1e-3),
        ];
        for (n, p) in table {
            let mean = n as f64 * p;
            check(&format!("binomial {n} {p}"), mean, mean * (1.0 - p), |sampler| sampler.binomial(n, p) as f64);
        }
        let mut sampler = Sampler::new(1);
        assert_eq!([sampler.binomial(5, 0.0), sampler.binomial(5, 1.0), sampler.binomial(0, 0.5)], [0, 5, 0]);
    }

    #[test]
    fn binomial_has_the_whole_distribution_right() {
        // 12 trials at 0.4 by the walk, 120 at 0.4 by rejection, against the formula, bin by bin.
        for (n, p) in [(12_u64, 0.4_f64), (120, 0.4)] {
            let mut sampler = Sampler::new(11);
            let mut seen = vec![0_u32; 1 + usize::try_from(n).unwrap()];
            for _ in 0..DRAWS {
                seen[usize::try_from(sampler.binomial(n, p)).unwrap()] += 1;
            }
            for (k, drawn) in (0_u64..).zip(&seen) {
                let ways = ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
                let chance = (ways + k as f64 * p.ln() + (n - k) as f64 * (1.0 - p).ln()).exp();
                let expected = chance * f64::from(DRAWS);
                assert!(
                    (f64::from(*drawn) - expected).abs() <= 5.0 * expected.sqrt() + 2.0,
                    "{n} {p}: {k} came {drawn}"
                );
            }
        }
    }

    #[test]
    fn negative_binomial_and_gamma_are_right() {
        for (successes, p) in [(1_u64, 0.5), (40, 0.25), (3_000, 0.4)] {
            let mean = successes as f64 * (1.0 - p) / p;
            check(&format!("negative binomial {successes} {p}"), mean, mean / p, |sampler| {
                sampler.negative_binomial(successes, p) as f64
            });
        }
        for (shape, scale) in [(0.5, 2.0), (1.0, 3.0), (2.0, 8.0), (2_000.0, 0.1)] {
            let mean = shape * scale;
            check(&format!("gamma {shape} {scale}"), mean, mean * scale, |sampler| sampler.gamma(shape, scale));
        }
    }

    #[test]
    fn continuous_ones_are_right() {
        check("normal", -3.0, 4.0, |sampler| sampler.normal(-3.0, 2.0));
        check("uniform", 5.0, 9.0 / 12.0, |sampler| sampler.uniform(3.5, 6.5));
        check("chance", 0.2, 0.16, |sampler| f64::from(u8::from(sampler.chance(0.2))));
        let ratio: f64 = 16.0;
        check("log uniform", ratio.ln() / 2.0, ratio.ln().powi(2) / 12.0, |sampler| {
            sampler.log_uniform(1.0, ratio).ln()
        });
    }

    #[test]
    fn multinomial_keeps_the_total_and_the_shares() {
        let weights = [0.0, 2.0, 5.0, 0.5, 2.5, 0.0];
        let mut sampler = Sampler::new(3);
        for total in [0, 1, 17, 60_000] {
            let counts = sampler.multinomial(total, &weights);
            assert_eq!(counts.iter().sum::<u64>(), total);
            assert_eq!((counts[0], counts[5]), (0, 0), "nothing falls where the weight is 0");
        }
        for (index, weight) in weights.iter().enumerate() {
            let share = weight / 10.0;
            check(
                &format!("multinomial, class {index}"),
                5_000.0 * share,
                5_000.0 * share * (1.0 - share),
                |sampler| sampler.multinomial(5_000, &weights)[index] as f64,
            );
        }
    }

    #[test]
    fn one_seed_is_one_future() {
        let draw = |seed| {
            let mut sampler = Sampler::new(seed);
            (sampler.poisson(3e4), sampler.binomial(9_999, 0.2), sampler.normal(0.0, 1.0).to_bits())
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }
}
