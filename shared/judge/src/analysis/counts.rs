//! Counts as sums: what grew, and what is added.

use crate::detector::{Counts, Latencies, Tail};
use crate::share::Share;

/// `a + b`, member by member; a signal that only one of them measures is kept.
pub(super) fn add(a: &Counts, b: &Counts) -> Counts {
    combine(a, b, u64::saturating_add, true)
}

/// What `now` has more than `before`, or `None` when it has nothing more. Sources only add, so less counts as nothing.
pub(super) fn growth(before: &Counts, now: &Counts) -> Option<Counts> {
    let more = combine(now, before, u64::saturating_sub, false);
    let is_share = |share: Option<Share>| share.is_some_and(|share| share.all > 0 || share.bad > 0);
    let has_latencies = more.latencies.is_some_and(|latencies| latencies.all > 0);
    let grew = more.requests > 0 || [more.e5, more.tx, more.e4].into_iter().any(is_share);
    (grew || has_latencies).then_some(more)
}

/// `keeps`: a threshold that only `a` was asked for stays as it is.
fn combine(a: &Counts, b: &Counts, of: fn(u64, u64) -> u64, keeps: bool) -> Counts {
    let share = |a: Option<Share>, b: Option<Share>| match (a, b) {
        (Some(a), Some(b)) => {
            let all = of(a.all, b.all);
            // An error that came later than its request grows among requests that did not: it counts as one more request.
            let bad = of(a.bad, b.bad);
            Share::new(bad, all.max(bad)).ok()
        }
        (one, None) | (None, one) => one,
    };
    let count = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(of(a, b)),
        (Some(a), None) if keeps => Some(a),
        (Some(_) | None, None) | (None, Some(_)) => None,
    };
    let tail = |a: Tail, b: Tail| {
        let mut both = a;
        both.iter_mut().zip(b).for_each(|(a, b)| *a = count(*a, b));
        both
    };
    let latencies = |a: Option<Latencies>, b: Option<Latencies>| match (a, b) {
        (Some(a), Some(b)) => {
            let mut body = a.body;
            body.iter_mut().zip(b.body).for_each(|(a, b)| *a = of(*a, b));
            let (q90, q99) = (tail(a.q90, b.q90), tail(a.q99, b.q99));
            let most = body.into_iter().chain(q90.into_iter().chain(q99).flatten()).max().unwrap_or(0);
            Latencies::new(of(a.all, b.all).max(most), body, q90, q99).ok()
        }
        (one, None) | (None, one) => one,
    };
    Counts {
        requests: of(a.requests, b.requests),
        e5: share(a.e5, b.e5),
        tx: share(a.tx, b.tx),
        e4: share(a.e4, b.e4),
        latencies: latencies(a.latencies, b.latencies),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bad: u64, all: u64) -> Counts {
        Counts { e5: Share::new(bad, all).ok(), ..Counts::of_requests(all) }
    }

    #[test]
    fn growth_and_sum() {
        let table = [
            ("nothing new", counts(1, 10), counts(1, 10), None),
            ("more requests", counts(1, 10), counts(1, 12), Some(counts(0, 2))),
            ("less is nothing", counts(1, 10), counts(1, 9), None),
            ("a late error of a request that was counted", counts(1, 10), counts(2, 10), {
                Some(Counts { e5: Share::new(1, 1).ok(), ..Counts::of_requests(0) })
            }),
        ];
        for (case, before, now, expected) in table {
            assert_eq!(growth(&before, &now), expected, "{case}");
        }
        assert_eq!(add(&counts(1, 10), &counts(2, 5)), counts(3, 15));
    }
}
