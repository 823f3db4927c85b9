//! The request quota of one API.

/// A token bucket: `per_second` calls a second on average and in one burst.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    tokens: f64,
    filled_ms: i64,
}

impl Bucket {
    pub(super) fn new(per_second: f64, now_ms: i64) -> Self {
        Self { per_second, tokens: per_second, filled_ms: now_ms }
    }

    /// Takes one token if there is one.
    pub(super) fn take(&mut self, now_ms: i64) -> bool {
        self.fill(now_ms);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    /// Takes one token, or what is left of one: a call that is never refused still costs the others.
    pub(super) fn draw(&mut self, now_ms: i64) {
        self.fill(now_ms);
        self.tokens = (self.tokens - 1.0).max(0.0);
    }

    fn fill(&mut self, now_ms: i64) {
        // A clock that steps back fills nothing and is not counted twice.
        let passed_ms = now_ms.saturating_sub(self.filled_ms).clamp(0, 1000);
        self.filled_ms = self.filled_ms.max(now_ms);
        let passed_ms = i32::try_from(passed_ms).unwrap_or(1000);
        self.tokens = (self.tokens + f64::from(passed_ms) / 1000.0 * self.per_second).min(self.per_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_calls_a_second_and_not_one_more() {
        let mut bucket = Bucket::new(9.0, 0);
        let granted = |bucket: &mut Bucket, now_ms| (0..20).filter(|_| bucket.take(now_ms)).count();
        assert_eq!(granted(&mut bucket, 0), 9, "burst");
        assert_eq!(granted(&mut bucket, 100), 0, "a tenth of a second gives 0.9 calls");
        assert_eq!(granted(&mut bucket, 500), 4, "half a second");
        assert_eq!(granted(&mut bucket, 60_000), 9, "never more than one burst");
    }

    #[test]
    fn drawing_is_never_refused_but_costs_the_others() {
        let mut bucket = Bucket::new(9.0, 0);
        for _ in 0..50 {
            bucket.draw(0);
        }
        assert!(!bucket.take(0), "nothing is left");
        assert!(bucket.take(1000), "but there is no debt either");
    }
}
