//! Records put together by the minute, the resolution of most tools.

use crate::latency::Latencies;
use crate::trace::{Bucket, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds in a minute.
pub(super) const MINUTE_S: i64 = 60;

/// Counts of one version, or of several together.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) client_errors: u64,
    pub(super) transactions: u64,
    pub(super) failed_transactions: u64,
    pub(super) latency: Latencies,
}

impl Tally {
    fn add(&mut self, bucket: &Bucket) {
        self.requests += bucket.requests;
        self.errors += bucket.errors;
        self.client_errors += bucket.client_errors;
        self.transactions += bucket.transactions;
        self.failed_transactions += bucket.failed_transactions;
        self.latency.add(&bucket.latency);
    }

    fn merge(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.client_errors += other.client_errors;
        self.transactions += other.transactions;
        self.failed_transactions += other.failed_transactions;
        self.latency.merge(&other.latency);
    }

    /// Share of requests that failed with 5xx.
    pub(super) fn error_rate(&self) -> Option<f64> {
        ratio(self.errors, self.requests)
    }

    /// Share of requests answered with 4xx.
    pub(super) fn client_error_rate(&self) -> Option<f64> {
        ratio(self.client_errors, self.requests)
    }

    /// Share of transactions that failed.
    pub(super) fn failed_transaction_rate(&self) -> Option<f64> {
        ratio(self.failed_transactions, self.transactions)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    if whole == 0 { None } else { Some(part as f64 / whole as f64) }
}

/// One minute: what each version did, as far as it is visible.
#[derive(Debug, Clone, Default)]
pub(super) struct Minute {
    pub(super) old: Option<Tally>,
    pub(super) new: Option<Tally>,
}

impl Minute {
    /// Both versions together, as the alias shows them; `None` while nothing is visible.
    pub(super) fn alias(&self) -> Option<Tally> {
        let mut sides = [&self.old, &self.new].into_iter().flatten();
        let mut sum = sides.next()?.clone();
        sides.for_each(|side| sum.merge(side));
        Some(sum)
    }
}

/// All minutes with something visible, by number since the start (negative before).
#[derive(Debug, Clone, Default)]
pub(super) struct Minutes {
    by_number: BTreeMap<i64, Minute>,
}

impl Minutes {
    /// Adds records; returns the minutes that changed.
    pub(super) fn add(&mut self, records: &[Bucket]) -> BTreeSet<i64> {
        for bucket in records {
            let minute = self.by_number.entry(bucket.start_s.div_euclid(MINUTE_S)).or_default();
            let side = match bucket.version {
                Version::Old => &mut minute.old,
                Version::New => &mut minute.new,
            };
            side.get_or_insert_default().add(bucket);
        }
        records.iter().map(|bucket| bucket.start_s.div_euclid(MINUTE_S)).collect()
    }

    pub(super) fn get(&self, number: i64) -> Option<&Minute> {
        self.by_number.get(&number)
    }

    /// Minutes from this number up to before that one, in order.
    pub(super) fn range(&self, from: i64, before: i64) -> impl Iterator<Item = (i64, &Minute)> {
        self.by_number.range(from..before).map(|(number, minute)| (*number, minute))
    }

    /// The newest minute with anything in it.
    pub(super) fn newest(&self) -> Option<i64> {
        self.by_number.keys().next_back().copied()
    }

    /// The alias before the deployment started, all minutes together.
    pub(super) fn before_start(&self) -> Tally {
        let mut sum = Tally::default();
        self.range(i64::MIN, 0).filter_map(|(_, minute)| minute.alias()).for_each(|minute| sum.merge(&minute));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rivals::testing::minute;

    #[test]
    fn buckets_of_ten_seconds_become_minutes() {
        let mut minutes = Minutes::default();
        let records: Vec<Bucket> = (0..8).map(|index| minute(Version::Old, index * 10 - 20)).collect();
        assert_eq!(minutes.add(&records).into_iter().collect::<Vec<_>>(), [-1, 0]);
        assert_eq!(minutes.add(&[minute(Version::New, 50)]).into_iter().collect::<Vec<_>>(), [0]);
        let first = minutes.get(0).unwrap();
        assert_eq!(first.old.as_ref().map(|old| old.requests), Some(6000));
        assert_eq!(first.alias().map(|alias| alias.requests), Some(7000));
        assert_eq!(minutes.before_start().requests, 2000);
        assert_eq!(minutes.newest(), Some(0));
        assert!(Minute::default().alias().is_none(), "nothing is not zero requests");
    }
}
