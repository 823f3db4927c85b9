//! So many bad events among so many: the one shape in which everything is counted.

use std::iter::Sum;

/// Largest count: the largest whole number up to which an `f64` is exact.
pub const MAX_COUNT: u64 = 1 << 53;

/// A count that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCount {
    /// More events are bad than there are.
    #[error("{bad} bad events among {all} cannot be")]
    MoreThanAll {
        /// Bad events.
        bad: u64,
        /// All events.
        all: u64,
    },
    /// A count above [`MAX_COUNT`].
    #[error("a count of {count} is above 2^53")]
    TooLarge {
        /// What was found.
        count: u64,
    },
}

/// `bad` events among `all`: whole ones (`u64`), or sums in which older ones weigh less (`f64`).
///
/// Counts that come from outside go through [`Share::new`]. Sums need no check; only of traffic more may have come than was
/// due, so there `bad` (what came) may be above `all` (what was due).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share<N = u64> {
    /// Bad events.
    pub bad: N,
    /// All events.
    pub all: N,
}

impl Share {
    /// Nothing was counted.
    pub const NOTHING: Self = Self { bad: 0, all: 0 };

    /// A share of events.
    ///
    /// # Errors
    /// When `bad` is more than `all`, or `all` is above [`MAX_COUNT`].
    pub const fn new(bad: u64, all: u64) -> Result<Self, InvalidCount> {
        if all > MAX_COUNT {
            return Err(InvalidCount::TooLarge { count: all });
        }
        if bad > all {
            return Err(InvalidCount::MoreThanAll { bad, all });
        }
        Ok(Self { bad, all })
    }

    /// Both together; a sum that is too large stays at the largest.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self { bad: self.bad.saturating_add(more.bad), all: self.all.saturating_add(more.all) }
    }

    /// What is left without `part`; never below nothing.
    #[must_use]
    pub const fn minus(self, part: Self) -> Self {
        Self { bad: self.bad.saturating_sub(part.bad), all: self.all.saturating_sub(part.all) }
    }
}

impl Sum for Share {
    fn sum<I: Iterator<Item = Self>>(shares: I) -> Self {
        shares.fold(Self::NOTHING, Self::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_counts_are_refused() {
        assert_eq!(Share::new(3, 2), Err(InvalidCount::MoreThanAll { bad: 3, all: 2 }));
        assert_eq!(Share::new(0, MAX_COUNT + 1), Err(InvalidCount::TooLarge { count: MAX_COUNT + 1 }));
        assert_eq!(Share::new(2, 2), Ok(Share { bad: 2, all: 2 }));
    }

    #[test]
    fn sums_and_differences_stay_counts() {
        let some = Share { bad: 1, all: 10 };
        assert_eq!([some, some].into_iter().sum::<Share>(), Share { bad: 2, all: 20 });
        assert_eq!(Share { bad: u64::MAX, all: u64::MAX }.plus(some), Share { bad: u64::MAX, all: u64::MAX });
        assert_eq!(some.minus(Share { bad: 3, all: 4 }), Share { bad: 0, all: 6 });
    }
}
