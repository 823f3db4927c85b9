//! Observations at a resolution of one second, kept for three hours.

use std::collections::BTreeMap;
use std::time::Duration;

use super::statistic::{Datapoint, Sample, Statistic};

/// How long CloudWatch keeps points below one minute; the emulator keeps nothing longer.
pub(super) const RETENTION_MS: i64 = 3 * 3600 * 1000;
/// Bounds of memory: what is beyond is dropped and counted.
const MAX_SERIES: usize = 50_000;
const MAX_OBSERVATIONS: usize = 4_000_000;
const SECOND_MS: i64 = 1000;

/// What identifies a metric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Metric {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Name and value pairs, sorted by name.
    pub(super) dimensions: Vec<(String, String)>,
}

/// Periods of equal length that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Start of the oldest period.
    pub(super) start_ms: i64,
    pub(super) period_ms: i64,
    pub(super) periods: usize,
}

impl Window {
    /// Start of each period, oldest first.
    pub(super) fn starts(self) -> impl DoubleEndedIterator<Item = i64> {
        (0..self.periods).map(move |index| self.start_ms.saturating_add(self.period_ms.saturating_mul(wide(index))))
    }

    fn end_ms(self) -> i64 {
        self.start_ms.saturating_add(self.period_ms.saturating_mul(wide(self.periods)))
    }
}

/// Every metric of the account.
#[derive(Debug)]
pub(super) struct Store {
    series: BTreeMap<Metric, Series>,
    observations: usize,
    dropped: u64,
    pruned_ms: i64,
    delay: Delay,
    namespace_delays: BTreeMap<String, Delay>,
    series_delays: Vec<SeriesDelay>,
}

/// A delay of the series of a namespace that have one dimension.
#[derive(Debug, Clone)]
struct SeriesDelay {
    namespace: String,
    dimension: (String, String),
    delay: Delay,
}

/// How late points become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay {
    /// The first of them.
    least: Duration,
    /// The others come up to so much later, so that a period grows as it does in CloudWatch.
    spread: Duration,
}

impl Delay {
    pub(super) fn new(least: Duration, spread: Duration) -> Self {
        Self { least, spread }
    }

    /// Delay of the `number`th observation, in milliseconds: a quarter of the spread more for each of five in turn.
    fn of(self, number: usize) -> i64 {
        let step = u32::try_from(number % 5).unwrap_or(0);
        let delay = self.least + self.spread * step / 4;
        i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Observations by second, then in order of arrival.
type Series = BTreeMap<i64, Vec<Observation>>;

#[derive(Debug, Clone)]
struct Observation {
    sample: Sample,
    unit: Box<str>,
    visible_at_ms: i64,
}

impl Store {
    pub(super) fn new(visibility_delay: Duration) -> Self {
        Self {
            series: BTreeMap::new(),
            observations: 0,
            dropped: 0,
            pruned_ms: 0,
            delay: Delay::new(visibility_delay, Duration::ZERO),
            namespace_delays: BTreeMap::new(),
            series_delays: Vec::new(),
        }
    }

    /// From now on points become visible `delay` after they arrive: everywhere, or in one namespace. What arrived before
    /// keeps its time, so nothing that was seen disappears.
    pub(super) fn set_delay(&mut self, namespace: Option<&str>, delay: Delay) {
        match namespace {
            None => self.delay = delay,
            Some(namespace) => {
                self.namespace_delays.insert(namespace.to_owned(), delay);
            }
        }
    }

    /// As [`Store::set_delay`] for series with one dimension.
    pub(super) fn set_series_delay(&mut self, namespace: &str, (name, value): (&str, &str), delay: Delay) {
        let dimension = (name.to_owned(), value.to_owned());
        self.series_delays.push(SeriesDelay { namespace: namespace.to_owned(), dimension, delay });
    }

    /// Namespaces and series have no delay of their own any more.
    pub(super) fn clear_namespace_delays(&mut self) {
        self.namespace_delays.clear();
        self.series_delays.clear();
    }

    fn delay_of(&self, metric: &Metric) -> Delay {
        let is_meant =
            |delay: &&SeriesDelay| delay.namespace == metric.namespace && metric.dimensions.contains(&delay.dimension);
        let series = self.series_delays.iter().rfind(is_meant).map(|series| series.delay);
        series.or(self.namespace_delays.get(&metric.namespace).copied()).unwrap_or(self.delay)
    }

    /// Stores one sample that belongs to `timestamp_ms` and arrived at `now_ms`.
    pub(super) fn add(&mut self, metric: Metric, timestamp_ms: i64, sample: Sample, unit: &str, now_ms: i64) {
        self.prune(now_ms);
        let too_old = timestamp_ms < now_ms.saturating_sub(RETENTION_MS);
        let full = self.observations >= MAX_OBSERVATIONS
            || (self.series.len() >= MAX_SERIES && !self.series.contains_key(&metric));
        if too_old || full {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let delay = self.delay_of(&metric);
        let second = timestamp_ms.div_euclid(SECOND_MS);
        let observations = self.series.entry(metric).or_default().entry(second).or_default();
        let visible_at_ms = now_ms.saturating_add(delay.of(observations.len()));
        observations.push(Observation { sample, unit: unit.into(), visible_at_ms });
        self.observations += 1;
    }

    /// The statistic in each period of `window` that has visible points, by the start of the period. `unit` restricts it
    /// to points with that unit: a wrong one finds nothing.
    pub(super) fn datapoints(
        &self,
        metric: &Metric,
        unit: Option<&str>,
        statistic: &Statistic,
        window: Window,
        now_ms: i64,
    ) -> BTreeMap<i64, Datapoint> {
        let mut samples: BTreeMap<i64, Vec<Sample>> = BTreeMap::new();
        let first = window.start_ms.div_euclid(SECOND_MS);
        let last = window.end_ms().div_euclid(SECOND_MS);
        let seconds = self.series.get(metric).into_iter().flat_map(|series| series.range(first..=last));
        for (second, observations) in seconds {
            let timestamp_ms = second.saturating_mul(SECOND_MS);
            if timestamp_ms < window.start_ms || timestamp_ms >= window.end_ms() {
                continue;
            }
            let into_period = (timestamp_ms - window.start_ms).rem_euclid(window.period_ms.max(1));
            let visible = observations
                .iter()
                .filter(|observation| observation.visible_at_ms <= now_ms)
                .filter(|observation| unit.is_none_or(|unit| unit == &*observation.unit))
                .map(|observation| observation.sample);
            samples.entry(timestamp_ms - into_period).or_default().extend(visible);
        }
        samples.into_iter().filter_map(|(start, samples)| Some((start, statistic.of(&samples)?))).collect()
    }

    /// Points that were too old or beyond the bounds.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn prune(&mut self, now_ms: i64) {
        if now_ms < self.pruned_ms.saturating_add(60_000) && self.observations < MAX_OBSERVATIONS {
            return;
        }
        self.pruned_ms = now_ms;
        let oldest = now_ms.saturating_sub(RETENTION_MS).div_euclid(SECOND_MS);
        let mut left = 0;
        self.series.retain(|_, series| {
            *series = series.split_off(&oldest);
            left += series.values().map(Vec::len).sum::<usize>();
            !series.is_empty()
        });
        self.observations = left;
    }
}

fn wide(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_170_000_000;

    fn metric(namespace: &str) -> Metric {
        Metric { namespace: namespace.into(), name: "Errors".into(), dimensions: vec![] }
    }

    fn store() -> Store {
        Store::new(Duration::from_secs(1))
    }

    fn put(store: &mut Store, namespace: &str, at: i64, value: f64) {
        store.add(metric(namespace), at, Sample::Value { value, count: 1.0 }, "Count", at);
    }

    fn sums(store: &Store, namespace: &str, unit: Option<&str>, now_ms: i64) -> Vec<(i64, f64)> {
        let window = Window { start_ms: NOW, period_ms: 10_000, periods: 3 };
        let sum = Statistic::parse("Sum").unwrap();
        let points = store.datapoints(&metric(namespace), unit, &sum, window, now_ms);
        points.into_iter().map(|(start, point)| (start - NOW, point.value)).collect()
    }

    #[test]
    fn the_newest_point_grows_within_its_period() {
        let mut store = store();
        put(&mut store, "A", NOW + 1000, 1.0);
        put(&mut store, "A", NOW + 2500, 2.0);
        put(&mut store, "A", NOW + 12_000, 4.0);
        for (case, now_ms, expected) in [
            ("nothing is visible yet", NOW + 1999, vec![]),
            ("the first", NOW + 2000, vec![(0, 1.0)]),
            ("the second adds to it", NOW + 3500, vec![(0, 3.0)]),
            ("the next period", NOW + 13_000, vec![(0, 3.0), (10_000, 4.0)]),
        ] {
            assert_eq!(sums(&store, "A", None, now_ms), expected, "{case}");
        }
    }

    #[test]
    fn a_delay_concerns_what_arrives_after_it_was_set() {
        let mut store = store();
        put(&mut store, "A", NOW, 1.0);
        store.set_delay(Some("A"), Delay::new(Duration::from_secs(30), Duration::ZERO));
        put(&mut store, "A", NOW, 2.0);
        put(&mut store, "B", NOW, 4.0);
        assert_eq!(sums(&store, "A", None, NOW + 1000), [(0, 1.0)]);
        assert_eq!(sums(&store, "B", None, NOW + 1000), [(0, 4.0)], "other namespaces stay prompt");
        assert_eq!(sums(&store, "A", None, NOW + 30_000), [(0, 3.0)]);
        store.set_delay(None, Delay::new(Duration::from_secs(5), Duration::ZERO));
        put(&mut store, "B", NOW, 8.0);
        assert_eq!(sums(&store, "B", None, NOW + 4999), [(0, 4.0)]);
        assert_eq!(sums(&store, "B", None, NOW + 5000), [(0, 12.0)]);
    }

    #[test]
    fn late_points_trickle_in() {
        let mut store = store();
        store.set_delay(Some("A"), Delay::new(Duration::from_secs(8), Duration::from_secs(2)));
        for _ in 0..10 {
            put(&mut store, "A", NOW, 1.0);
        }
        let seen = [7999, 8000, 8500, 9999, 10_000].map(|ms| sums(&store, "A", None, NOW + ms));
        assert_eq!(seen, [vec![], vec![(0, 2.0)], vec![(0, 4.0)], vec![(0, 8.0)], vec![(0, 10.0)]]);
        store.clear_namespace_delays();
        put(&mut store, "A", NOW, 100.0);
        assert_eq!(sums(&store, "A", None, NOW + 1000), [(0, 100.0)], "prompt again");
    }

    #[test]
    fn dimensions_and_unit_must_match_exactly() {
        let mut store = store();
        put(&mut store, "A", NOW, 1.0);
        assert_eq!(sums(&store, "A", Some("Count"), NOW + 1000), [(0, 1.0)]);
        assert_eq!(sums(&store, "A", Some("None"), NOW + 1000), []);
        let one = Metric { dimensions: vec![("FunctionName".into(), "checkout".into())], ..metric("A") };
        let window = Window { start_ms: NOW, period_ms: 10_000, periods: 3 };
        assert!(store.datapoints(&one, None, &Statistic::parse("Sum").unwrap(), window, NOW + 1000).is_empty());
    }

    #[test]
    fn three_hours_are_kept() {
        let mut store = store();
        put(&mut store, "A", NOW, 1.0);
        assert_eq!(sums(&store, "A", None, NOW + RETENTION_MS), [(0, 1.0)]);
        put(&mut store, "A", NOW + RETENTION_MS + 70_000, 1.0);
        assert_eq!(sums(&store, "A", None, NOW + RETENTION_MS + 80_000), []);
        let late = NOW + RETENTION_MS + 70_000;
        store.add(metric("A"), NOW, Sample::Value { value: 1.0, count: 1.0 }, "None", late);
        assert_eq!(store.dropped(), 1, "too old on arrival");
    }
}
