//! Which buckets were used: each one once, also those that come out of order.

use std::ops::Range;

/// Most runs of used buckets beyond the first gap. A gap that lies further back is given up.
pub const RUNS_MAX: usize = 64;

/// The used buckets, as runs of slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsedBuckets {
    /// Every slot below this one is used, or given up.
    pub below: i64,
    /// Runs of used slots from there on: ascending, not empty, with a gap before each. At most [`RUNS_MAX`].
    pub beyond: Vec<Range<i64>>,
}

impl UsedBuckets {
    /// Whether a slot was used.
    #[must_use]
    pub fn contains(&self, slot: i64) -> bool {
        slot < self.below || self.beyond.iter().any(|run| run.contains(&slot))
    }

    /// Marks a slot as used.
    pub(super) fn insert(&mut self, slot: i64) {
        if self.contains(slot) {
            return;
        }
        let at = self.beyond.partition_point(|run| run.start <= slot);
        self.beyond.insert(at, slot..slot.saturating_add(1));
        self.join();
        if self.beyond.len() > RUNS_MAX {
            self.below = self.beyond.remove(0).end;
            self.join();
        }
    }

    /// Gives up all slots below one.
    pub(super) fn give_up_below(&mut self, slot: i64) {
        self.below = self.below.max(slot);
        self.join();
    }

    fn join(&mut self) {
        let below = self.below;
        let mut joined: Vec<Range<i64>> = Vec::with_capacity(self.beyond.len());
        for run in self.beyond.drain(..).filter(|run| run.end > below) {
            match joined.last_mut() {
                Some(last) if last.end >= run.start => last.end = last.end.max(run.end),
                _ => joined.push(run),
            }
        }
        if let Some(first) = joined.first()
            && first.start <= below
        {
            self.below = first.end;
            joined.remove(0);
        }
        self.beyond = joined;
    }

    pub(super) fn is_sound(&self) -> bool {
        let mut end = self.below;
        self.below >= 0
            && self.beyond.len() <= RUNS_MAX
            && self.beyond.iter().all(|run| {
                let is_right = run.start > end && run.end > run.start;
                end = run.end;
                is_right
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(used: &UsedBuckets) -> Vec<(i64, i64)> {
        used.beyond.iter().map(|run| (run.start, run.end)).collect()
    }

    #[test]
    fn slots_join_to_runs() {
        let mut used = UsedBuckets::default();
        for slot in [2, 0, 4, 3, 0] {
            used.insert(slot);
            assert!(used.contains(slot) && used.is_sound(), "{used:?}");
        }
        assert_eq!((used.below, runs(&used)), (1, vec![(2, 5)]));
        used.insert(1);
        assert_eq!(used, UsedBuckets { below: 5, beyond: vec![] });
        used.insert(8);
        used.give_up_below(7);
        assert_eq!((used.below, runs(&used)), (7, vec![(8, 9)]));
        used.give_up_below(8);
        assert_eq!(used, UsedBuckets { below: 9, beyond: vec![] });
    }

    #[test]
    fn many_gaps_are_bounded() {
        let mut used = UsedBuckets::default();
        for slot in 1..=2 * i64::try_from(RUNS_MAX).unwrap() + 2 {
            used.insert(2 * slot);
        }
        assert!(used.is_sound(), "{used:?}");
        assert!(used.beyond.len() <= RUNS_MAX && used.below > 0, "the oldest gaps are given up");
    }
}
