//! Other people's detectors, each written anew from its public description and code.
//!
//! None reads the witnesses, and none sees more than it would in production: alarms and burn rates see the alias (both versions
//! together) unless their description says otherwise; Kayenta compares versions; Flagger and Argo Rollouts watch the new version.
//! They are given the benefit of the doubt: alarms are evaluated at every poll instead of once a minute, and whatever a
//! description leaves to the user is set from the hour before the deployment.

mod alarms;
mod burn_rate;
mod counters;
mod kayenta;
mod mann_whitney;
mod minutes;

use crate::judge::Contestant;

/// All of them, in the order of the tables.
pub const RIVALS: [Contestant; 8] = [
    alarms::SAM,
    alarms::RECOMMENDED,
    alarms::TUNED,
    burn_rate::PUBLISHED,
    burn_rate::SHORTENED,
    kayenta::KAYENTA,
    counters::FLAGGER,
    counters::ARGO,
];

/// What the tests of the rivals need.
#[cfg(test)]
mod testing {
    use crate::judge::{Contestant, Judge, TrafficSchedule, Verdict};
    use crate::trace::{Arrivals, Bucket, Plan, Version};

    /// 1,000 requests in a minute, latency 90 to 100 ms; change what matters.
    pub(super) fn minute(version: Version, start_s: i64) -> Bucket {
        Bucket {
            version,
            start_s,
            requests: 1000,
            errors: 0,
            client_errors: 0,
            transactions: 300,
            failed_transactions: 0,
            latency: vec![(53, 1000)],
        }
    }

    /// An hour of the old version, each minute as `change` leaves it.
    pub(super) fn hour(change: impl Fn(&mut Bucket)) -> Vec<Bucket> {
        (-60..0)
            .map(|index| {
                let mut bucket = minute(Version::Old, index * 60);
                change(&mut bucket);
                bucket
            })
            .collect()
    }

    /// Runs a contestant on a ten-per-cent canary. `record(k, version)` is what that version did in the minute k (0 to 19), or
    /// `None`; it becomes visible half a minute after the minute ends. Returns the time of the rollback, or how it ended.
    pub(super) fn run(
        contestant: &Contestant,
        history: &[Bucket],
        record: impl Fn(i64, Version) -> Option<Bucket>,
    ) -> Result<i64, Verdict> {
        let plan = Plan::Canary10Percent5Minutes;
        let schedule = TrafficSchedule { bucket_s: 60, history_s: 3600, plan, witnesses: &[] };
        let mut judge = (contestant.start)(&schedule);
        poll_all(judge.as_mut(), history, record)
    }

    fn poll_all(
        judge: &mut dyn Judge,
        history: &[Bucket],
        record: impl Fn(i64, Version) -> Option<Bucket>,
    ) -> Result<i64, Verdict> {
        for now_s in (0..=1320).step_by(10) {
            let mut records = if now_s == 0 { history.to_vec() } else { Vec::new() };
            let since_end_s = now_s - 30;
            if since_end_s > 0 && since_end_s % 60 == 0 && since_end_s <= 1200 {
                let index = since_end_s / 60 - 1;
                records.extend([Version::Old, Version::New].into_iter().filter_map(|version| record(index, version)));
            }
            let arrivals = Arrivals { versions: records, witnesses: Vec::new() };
            if judge.poll(now_s, &arrivals) == Verdict::RollBack {
                return Ok(now_s);
            }
        }
        match judge.end() {
            Verdict::RollBack => Ok(1320),
            other @ (Verdict::Continue | Verdict::Pass | Verdict::Inconclusive) => Err(other),
        }
    }

    /// The usual minute k of a canary: the old version has nine tenths of 1,000 requests for five minutes, the new one the rest.
    pub(super) fn usual(index: i64, version: Version) -> Option<Bucket> {
        let requests = match (version, index < 5) {
            (Version::Old, true) => 900,
            (Version::New, true) => 100,
            (Version::New, false) => 1000,
            (Version::Old, false) => return None,
        };
        let latency = vec![(53, requests)];
        Some(Bucket { requests, latency, transactions: requests / 4, ..minute(version, index * 60) })
    }

    /// As usual, but this share of the new version's requests fails.
    pub(super) fn failing(share: f64) -> impl Fn(i64, Version) -> Option<Bucket> {
        move |index, version| {
            let mut bucket = usual(index, version)?;
            if version == Version::New {
                bucket.errors = crate::math::count(bucket.requests as f64 * share);
            }
            Some(bucket)
        }
    }
}
