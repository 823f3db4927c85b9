//! Do enough pairs come at all?

/// Length of a window, in seconds.
const WINDOW_S: u32 = 60;
/// Fewer scored pairs in a window are blindness: a third of one pair in a second.
const SCORED_MIN: u32 = 20;
/// So long after its end every pair of a window has come: a call takes 3 s at most, and the next poll is 2 s away.
const SETTLED_S: u32 = 5;

/// Scored pairs in windows of 60 s, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoredWindow {
    /// Where the running window began, in seconds since the start of the shift; `None` before the first poll.
    pub from_s: Option<u32>,
    /// Scored pairs in it so far.
    pub scored: u32,
    /// Whether the window before had too few: under 20.
    pub was_blind: bool,
}

impl ScoredWindow {
    pub(super) const fn begin() -> Self {
        Self { from_s: None, scored: 0, was_blind: false }
    }

    /// Takes in the scored pairs of a second.
    pub(super) fn add(&mut self, second: u32, scored: u32) {
        self.reach(second);
        self.scored = self.scored.saturating_add(scored);
    }

    /// A poll is over: windows that nothing can be added to any more are judged.
    pub(super) fn settle(&mut self, now_s: u32) {
        self.from_s.get_or_insert(now_s);
        self.reach(now_s.saturating_sub(SETTLED_S));
    }

    /// Judges the windows that end before `second`, or begins the first one there.
    fn reach(&mut self, second: u32) {
        let from_s = *self.from_s.get_or_insert(second);
        let windows = second.saturating_sub(from_s) / WINDOW_S;
        if windows > 0 {
            // In each window after the running one there was nothing.
            self.was_blind = windows > 1 || self.scored < SCORED_MIN;
            self.scored = 0;
            self.from_s = Some(from_s + windows * WINDOW_S);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blind_is_a_window_with_too_few_pairs() {
        // (case, scored pairs in each second of the window, when asked, blind)
        let table = [
            ("19 in a minute", 19, 65, true),
            ("20 in a minute", 20, 65, false),
            ("may still come", 0, 64, false),
            ("a full minute, then one of silence", 60, 124, false),
            ("a full minute, then silence for good", 60, 125, true),
        ];
        for (case, pairs, now_s, blind) in table {
            let mut window = ScoredWindow::begin();
            window.settle(0);
            (0..pairs).for_each(|second| window.add(second, 1));
            window.settle(now_s);
            assert_eq!(window.was_blind, blind, "{case}: {window:?}");
        }
    }

    #[test]
    fn a_gap_of_any_length_is_blind_until_a_full_window_came() {
        let mut window = ScoredWindow::begin();
        window.add(3, 30);
        window.add(1_000_000, 30);
        assert!(window.was_blind, "{window:?}");
        window.settle(1_000_030);
        let before = window;
        window.settle(0);
        assert_eq!(window, before, "a clock that goes back changes nothing");
        window.add(u32::MAX, 1);
        assert!(window.was_blind, "{window:?}");
        window.add(u32::MAX, 19);
        window.settle(u32::MAX);
        assert_eq!(window.scored, 20, "{window:?}");
    }
}
