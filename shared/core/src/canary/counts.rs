//! What one version did in one bucket, as counts.

/// Largest count: the largest whole number up to which an `f64` is exact.
pub const MAX_COUNT: u64 = 1 << 53;

/// How many histogram edges above its threshold a latency is counted, by position in [`Slow::above`].
///
/// An edge is a factor 2^(1/8), so 1, 2 and 4 edges are +9 %, +19 % and +41 %.
pub const SHIFTS: [u8; 4] = [0, 1, 2, 4];

/// One of the two versions that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The version that served before.
    Baseline,
    /// The version that is being deployed.
    Canary,
}

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

/// `bad` events among `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    bad: u64,
    all: u64,
}

impl Share {
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

    /// Bad events.
    #[must_use]
    pub const fn bad(self) -> u64 {
        self.bad
    }

    /// All events.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.all
    }
}

/// Requests slower than a threshold, and than that threshold shifted up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slow {
    /// Requests whose latency was measured.
    pub all: u64,
    /// Of these, slower than the threshold shifted up by [`SHIFTS`] edges. `None` = not asked for: the baseline needs only
    /// the first, the canary the others.
    pub above: [Option<u64>; 4],
}

impl Slow {
    /// Slow requests.
    ///
    /// # Errors
    /// When a count is more than `all`, or `all` is above [`MAX_COUNT`].
    pub fn new(all: u64, above: [Option<u64>; 4]) -> Result<Self, InvalidCount> {
        for bad in above.into_iter().flatten() {
            Share::new(bad, all)?;
        }
        Share::new(0, all)?;
        Ok(Self { all, above })
    }

    /// What a threshold shifted up by `edges` gives; `None` when it was not asked for.
    pub(super) fn shifted(self, edges: u8) -> Option<Share> {
        let (_, bad) = SHIFTS.into_iter().zip(self.above).find(|(shift, _)| *shift == edges)?;
        // The fields are public: a count above `all` counts as all.
        let all = self.all.min(MAX_COUNT);
        bad.map(|bad| Share { bad: bad.min(all), all })
    }
}

/// What one version did in one bucket.
///
/// `None` = this signal is not measured (by this source): no evidence. A share of nothing = measured, and nothing was there.
/// The order of two values is of no meaning; it makes the choice between two different records of one bucket definite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts {
    /// Requests that the version got.
    pub requests: u64,
    /// 5xx answers and function errors, of the requests.
    pub e5: Option<Share>,
    /// Failed business transactions, of the transactions.
    pub tx: Option<Share>,
    /// 4xx answers, of the requests.
    pub e4: Option<Share>,
    /// Requests slower than the baseline's median, 90th and 99th percentile.
    pub slow: [Option<Slow>; 3],
}

impl Counts {
    /// Requests alone, no other signal measured.
    #[must_use]
    pub const fn of_requests(requests: u64) -> Self {
        Self { requests, e5: None, tx: None, e4: None, slow: [None; 3] }
    }

    /// Only what the side's formulas read, so that a stored record is small.
    pub(super) fn trimmed(mut self, side: Side) -> Self {
        for slow in self.slow.iter_mut().flatten() {
            let [unshifted, shifted @ ..] = &mut slow.above;
            match side {
                Side::Baseline => *shifted = [None; 3],
                Side::Canary => *unshifted = None,
            }
        }
        self
    }
}

/// What one version did in one bucket, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRecord {
    /// Which version.
    pub side: Side,
    /// Start of the bucket in seconds relative to the start of the shift; a multiple of the bucket's length (a start in
    /// between counts for the bucket that it lies in).
    pub start_s: i64,
    /// What it did.
    pub counts: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_counts_are_refused() {
        assert_eq!(Share::new(3, 2), Err(InvalidCount::MoreThanAll { bad: 3, all: 2 }));
        assert_eq!(Share::new(0, MAX_COUNT + 1), Err(InvalidCount::TooLarge { count: MAX_COUNT + 1 }));
        assert_eq!(Share::new(2, 2).map(|share| (share.bad(), share.all())), Ok((2, 2)));
        assert_eq!(Slow::new(2, [Some(2), None, Some(3), None]), Err(InvalidCount::MoreThanAll { bad: 3, all: 2 }));
        assert_eq!(
            Slow::new(MAX_COUNT + 1, [None; 4]),
            Err(InvalidCount::TooLarge { count: MAX_COUNT + 1 }),
            "also when no threshold was asked for"
        );
    }

    #[test]
    fn a_side_keeps_only_what_it_is_read_for() {
        let slow = Slow::new(10, [Some(8), Some(6), Some(4), Some(2)]).unwrap();
        let counts = Counts { slow: [Some(slow), None, None], ..Counts::of_requests(10) };
        assert_eq!(counts.trimmed(Side::Baseline).slow[0].unwrap().above, [Some(8), None, None, None]);
        assert_eq!(counts.trimmed(Side::Canary).slow[0].unwrap().above, [None, Some(6), Some(4), Some(2)]);
    }
}
