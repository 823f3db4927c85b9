//! What was seen in one bucket, as counts.

use crate::share::{InvalidCount, MAX_COUNT, Share};

/// How many histogram edges above its threshold a latency is counted, by position in [`Tail`].
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

/// Requests above a tail threshold, shifted up by [`SHIFTS`] edges. `None` = not asked for: the baseline needs only the first,
/// the canary the others.
pub type Tail = [Option<u64>; 4];

/// Requests slower than each of the baseline's thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Latencies {
    /// Requests whose latency was measured.
    pub all: u64,
    /// Of these, slower than the octiles 1/8 to 7/8 of the baseline's past.
    pub body: [u64; 7],
    /// Of these, slower than its 90th percentile.
    pub q90: Tail,
    /// Of these, slower than its 99th percentile.
    pub q99: Tail,
}

impl Latencies {
    /// Latencies.
    ///
    /// # Errors
    /// When a count is more than `all`, or `all` is above [`MAX_COUNT`].
    pub fn new(all: u64, body: [u64; 7], q90: Tail, q99: Tail) -> Result<Self, InvalidCount> {
        for bad in body.into_iter().chain(q90.into_iter().chain(q99).flatten()) {
            Share::new(bad, all)?;
        }
        Share::new(0, all)?;
        Ok(Self { all, body, q90, q99 })
    }

    /// What a tail threshold shifted up by `edges` gives; `None` when it was not asked for.
    pub(super) fn above(&self, tail: &Tail, edges: u8) -> Option<Share> {
        let (_, bad) = SHIFTS.iter().zip(tail).find(|(shift, _)| **shift == edges)?;
        // The fields are public: a count above `all` counts as all.
        let all = self.all.min(MAX_COUNT);
        bad.map(|bad| Share { bad: bad.min(all), all })
    }
}

/// What one version did in one bucket.
///
/// `None` = this signal is not measured (by this source): no evidence. A share of nothing = measured, and nothing was there.
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
    /// Latencies.
    pub latencies: Option<Latencies>,
}

impl Counts {
    /// Requests alone, no other signal measured.
    #[must_use]
    pub const fn of_requests(requests: u64) -> Self {
        Self { requests, e5: None, tx: None, e4: None, latencies: None }
    }

    /// Only what the side's formulas read, so that a stored record is small.
    pub(super) fn trimmed(mut self, side: Side) -> Self {
        if let Some(latencies) = &mut self.latencies {
            for [unshifted, shifted @ ..] in [&mut latencies.q90, &mut latencies.q99] {
                match side {
                    Side::Baseline => *shifted = [None; 3],
                    Side::Canary => *unshifted = None,
                }
            }
        }
        self
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all records are what a version did")]
pub enum Reading {
    /// What one version did.
    Version(Side, Counts),
    /// Requests for the function that arrived at the API route, load balancer or queue in front of it, whoever answered.
    Front(u64),
    /// Failed requests among all of other functions behind the same dependencies, none of them being deployed.
    Peer(Share),
    /// Failed ones among Snapback's own requests, sent directly to one version, as many to the other.
    Probe(Side, Share),
}

/// What was seen in one bucket, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRecord {
    /// Start of the bucket in seconds relative to the start of the shift; a multiple of the bucket's length (a start in
    /// between counts for the bucket that it lies in).
    pub start_s: i64,
    /// What it says.
    pub reading: Reading,
}

impl BucketRecord {
    /// What one version did.
    #[must_use]
    pub const fn of_version(side: Side, start_s: i64, counts: Counts) -> Self {
        Self { start_s, reading: Reading::Version(side, counts) }
    }
}

/// Most other services that are witnesses of one deployment.
pub const MAX_PEERS: usize = 5;

/// Which witnesses are connected: sources that say whether what was seen can be laid to the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Witnesses {
    /// Requests in front of the function ([`Reading::Front`]).
    pub front: bool,
    /// Other functions behind the same dependencies ([`Reading::Peer`]).
    pub peer: bool,
    /// Snapback's own requests to both versions ([`Reading::Probe`]).
    pub probe: bool,
    /// Whether those requests are sent in pairs that are judged by the second ([`crate::pairs`]), too.
    pub pair: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_counts_are_refused() {
        let none = [None; 4];
        assert_eq!(
            Latencies::new(2, [0; 7], none, [Some(2), None, Some(3), None]),
            Err(InvalidCount::MoreThanAll { bad: 3, all: 2 })
        );
        assert_eq!(Latencies::new(2, [3; 7], none, none), Err(InvalidCount::MoreThanAll { bad: 3, all: 2 }));
        assert_eq!(
            Latencies::new(MAX_COUNT + 1, [0; 7], none, none),
            Err(InvalidCount::TooLarge { count: MAX_COUNT + 1 }),
            "also when nothing was slow"
        );
    }

    #[test]
    fn a_side_keeps_only_what_it_is_read_for() {
        let tail = [Some(8), Some(6), Some(4), Some(2)];
        let latencies = Latencies::new(10, [5; 7], tail, tail).unwrap();
        let counts = Counts { latencies: Some(latencies), ..Counts::of_requests(10) };
        let kept = |side| counts.trimmed(side).latencies.unwrap();
        assert_eq!(kept(Side::Baseline).q90, [Some(8), None, None, None]);
        assert_eq!(kept(Side::Canary).q99, [None, Some(6), Some(4), Some(2)]);
    }
}
