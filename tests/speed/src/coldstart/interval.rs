//! Spans of time.

use std::time::{Duration, Instant};

/// From and to.
pub type Span = (Instant, Instant);

/// How much of `window` at least one of `spans` covers.
#[must_use]
pub fn covered(spans: &[Span], window: Span) -> Duration {
    let (from, to) = window;
    let inside = |(start, end): &Span| ((*start).max(from), (*end).min(to));
    let mut clipped: Vec<Span> = spans.iter().map(inside).filter(|(start, end)| start < end).collect();
    clipped.sort();
    let (mut sum, mut seen_until) = (Duration::ZERO, from);
    for (start, end) in clipped {
        sum += end.saturating_duration_since(start.max(seen_until));
        seen_until = seen_until.max(end);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_counts_once() {
        let zero = Instant::now() + Duration::from_secs(60);
        let at = |ms: u64| zero + Duration::from_millis(ms);
        // (case, spans, covered ms of 100 to 200)
        let table = [
            ("nothing", Vec::<(u64, u64)>::new(), 0),
            ("one inside", vec![(110, 130)], 20),
            ("side by side", vec![(110, 130), (120, 150)], 40),
            ("one within another", vec![(110, 150), (120, 130), (140, 160)], 50),
            ("touching", vec![(110, 120), (120, 130)], 20),
            ("in any order", vec![(150, 160), (110, 120)], 20),
            ("before and after", vec![(0, 90), (210, 300)], 0),
            ("over the edges", vec![(50, 110), (190, 400)], 20),
            ("all of it", vec![(0, 400), (120, 130)], 100),
        ];
        for (case, spans, expected) in table {
            let spans: Vec<Span> = spans.iter().map(|(from, to)| (at(*from), at(*to))).collect();
            assert_eq!(covered(&spans, (at(100), at(200))), Duration::from_millis(expected), "{case}");
        }
    }
}
