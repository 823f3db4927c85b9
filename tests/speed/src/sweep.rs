//! What the sweep costs with so many deployments, and how that grows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::statistics::{Summary, ms};
use crate::table::Table;

/// Between two looks the watcher calls nobody for longer than this. A look calls all the time, but for the second between two
/// pages of alarms; looks begin every ten seconds.
pub const PAUSE: Duration = Duration::from_secs(2);

/// The looks in a list of calls: how long each lasted, from its first call coming in to its last one being answered.
///
/// * `calls`: when each came in and was answered, in any order.
/// * `pause`: how long nothing is called between two looks, at least.
#[must_use]
pub fn looks(calls: &[(Instant, Instant)], pause: Duration) -> Vec<Duration> {
    let mut calls = calls.to_vec();
    calls.sort_unstable();
    let mut looks: Vec<(Instant, Instant)> = Vec::new();
    for (began, ended) in calls {
        match looks.last_mut() {
            Some((_, last)) if began.saturating_duration_since(*last) <= pause => *last = ended.max(*last),
            Some(_) | None => looks.push((began, ended)),
        }
    }
    looks.into_iter().map(|(began, ended)| ended.saturating_duration_since(began)).collect()
}

/// Calls of the watcher by action.
pub type Calls = BTreeMap<String, u64>;

/// What was measured with so many deployments.
#[derive(Debug, Clone)]
pub struct Measured {
    /// In their shift.
    pub deployments: usize,
    /// Minutes of the watcher that were measured.
    pub minutes: u32,
    /// All calls in these minutes.
    pub calls: Calls,
    /// How long each look lasted.
    pub looks: Vec<Duration>,
    /// Processor time of the watcher in these minutes; `None` where the system does not tell.
    pub cpu: Option<Duration>,
    /// Largest resident memory of the watcher, KiB.
    pub memory_kb: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^52")]
impl Measured {
    /// `count` in each minute.
    #[must_use]
    pub fn per_minute(&self, count: u64) -> f64 {
        count as f64 / f64::from(self.minutes)
    }

    /// `count` in each minute for each deployment.
    #[must_use]
    pub fn per_deployment(&self, count: u64) -> f64 {
        self.per_minute(count) / self.deployments as f64
    }

    /// Calls of one action, or of a service as `dynamodb:*`.
    #[must_use]
    pub fn count_of(&self, action: &str) -> u64 {
        let matching = self.calls.iter().filter(|(name, _)| match action.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => *name == action,
        });
        matching.map(|(_, count)| count).sum()
    }

    /// Processor time for each deployment in each minute, milliseconds.
    #[must_use]
    pub fn cpu_ms_per_deployment(&self) -> Option<f64> {
        Some(ms(self.cpu?) / f64::from(self.minutes) / self.deployments as f64)
    }

    /// Largest resident memory, MiB.
    #[must_use]
    pub fn memory_mb(&self) -> f64 {
        self.memory_kb as f64 / 1024.0
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let calls: BTreeMap<&String, f64> =
            self.calls.iter().map(|(action, count)| (action, self.per_minute(*count))).collect();
        json!({
            "deployments": self.deployments, "minutes": self.minutes, "calls_per_minute": calls,
            "calls_per_minute_and_deployment": self.per_deployment(self.count_of("*")),
            "look": Summary::of_ms(self.looks.iter().copied()).map(|looks| looks.json_ms()),
            "cpu_ms_per_minute": self.cpu.map(|cpu| ms(cpu) / f64::from(self.minutes)),
            "cpu_ms_per_minute_and_deployment": self.cpu_ms_per_deployment(),
            "memory_peak_mib": self.memory_mb()
        })
    }
}

/// How many times as much `after` is as `before`; `None` where that says nothing.
#[must_use]
pub fn growth(before: f64, after: f64) -> Option<f64> {
    (before > 0.0 && after.is_finite()).then(|| after / before)
}

/// How a figure grows from one measurement to the next.
fn growths(measured: &[Measured], figure: impl Fn(&Measured) -> Option<f64>) -> Vec<Option<f64>> {
    let figures: Vec<Option<f64>> = measured.iter().map(figure).collect();
    let pairs = figures.iter().zip(figures.iter().skip(1));
    let grown = pairs.map(|(before, after)| growth((*before)?, (*after)?));
    std::iter::once(None).chain(grown).take(figures.len()).collect()
}

/// How calls and processor time for each deployment grow between sizes of at least `least` deployments: what grows, and how many
/// times as much it is.
#[must_use]
pub fn growth_per_deployment(measured: &[Measured], least: usize) -> Vec<(String, f64)> {
    type Figure = fn(&Measured) -> Option<f64>;
    let figures: [(&str, Figure); 2] = [
        ("calls", |size| Some(size.per_deployment(size.count_of("*")))),
        ("processor time", Measured::cpu_ms_per_deployment),
    ];
    let large: Vec<&Measured> = measured.iter().filter(|size| size.deployments >= least).collect();
    let pairs = large.iter().zip(large.iter().skip(1));
    let grown = pairs.flat_map(|(before, after)| {
        figures.iter().filter_map(|(what, figure)| {
            let what = format!("{what} per deployment, times those with {}", before.deployments);
            Some((format!("{} deployments, {what}", after.deployments), growth(figure(before)?, figure(after)?)?))
        })
    });
    grown.collect()
}

/// What each size costs, and how that grows: `×` is the ratio to the size before.
#[must_use]
pub fn growth_table(measured: &[Measured]) -> Table {
    let mut table = Table::new([
        "deployments",
        "look, median ms",
        "longest ms",
        "calls/min",
        "×",
        "per deployment",
        "×",
        "CPU ms/min",
        "×",
        "per deployment",
        "×",
        "peak MiB",
        "×",
    ]);
    let ratios = |figure: fn(&Measured) -> Option<f64>| growths(measured, figure).into_iter().map(ratio);
    let calls = ratios(|size| Some(size.per_minute(size.count_of("*"))));
    let calls_each = ratios(|size| Some(size.per_deployment(size.count_of("*"))));
    let cpu = ratios(|size| Some(ms(size.cpu?) / f64::from(size.minutes)));
    let cpu_each = ratios(Measured::cpu_ms_per_deployment);
    let memory = ratios(|size| Some(size.memory_mb()));
    let grown = calls.zip(calls_each).zip(cpu.zip(cpu_each)).zip(memory);
    for (size, (((calls, calls_each), (cpu, cpu_each)), memory)) in measured.iter().zip(grown) {
        let looks = Summary::of_ms(size.looks.iter().copied());
        let of_looks = |figure: fn(Summary) -> f64| looks.map_or(dash(), |looks| format!("{:.0}", figure(looks)));
        let all = size.count_of("*");
        table.row([
            size.deployments.to_string(),
            of_looks(|looks| looks.median),
            of_looks(|looks| looks.max),
            format!("{:.1}", size.per_minute(all)),
            calls,
            format!("{:.2}", size.per_deployment(all)),
            calls_each,
            size.cpu.map_or(dash(), |cpu| format!("{:.0}", ms(cpu) / f64::from(size.minutes))),
            cpu,
            size.cpu_ms_per_deployment().map_or(dash(), |each| format!("{each:.2}")),
            cpu_each,
            format!("{:.1}", size.memory_mb()),
            memory,
        ]);
    }
    table
}

/// Calls a minute by action, a column for each size.
#[must_use]
pub fn calls_table(measured: &[Measured]) -> Table {
    let sizes: Vec<String> = measured.iter().map(|size| size.deployments.to_string()).collect();
    let mut table = Table::new(std::iter::once("calls a minute with").chain(sizes.iter().map(String::as_str)));
    let actions: std::collections::BTreeSet<&String> = measured.iter().flat_map(|size| size.calls.keys()).collect();
    for action in actions {
        let counts = measured.iter().map(|size| format!("{:.1}", size.per_minute(size.count_of(action))));
        table.row(std::iter::once(action.clone()).chain(counts));
    }
    table
}

fn dash() -> String {
    "-".to_owned()
}

fn ratio(grown: Option<f64>) -> String {
    grown.map_or(dash(), |grown| format!("{grown:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(deployments: usize, calls: u64, cpu_ms: Option<u64>) -> Measured {
        Measured {
            deployments,
            minutes: 2,
            calls: [("dynamodb:Query".to_owned(), calls), ("dynamodb:PutItem".to_owned(), 12)].into(),
            looks: vec![Duration::from_millis(40), Duration::from_millis(60), Duration::from_millis(50)],
            cpu: cpu_ms.map(Duration::from_millis),
            memory_kb: 20 * 1024,
        }
    }

    #[test]
    fn a_look_ends_where_nothing_is_called_for_long() {
        let zero = Instant::now();
        let at = |milliseconds: u64| zero + Duration::from_millis(milliseconds);
        // Two pages of alarms a second apart, one call within another, and the next look.
        let calls = [(10_000, 10_030), (0, 20), (20, 400), (30, 90), (1_400, 1_450)];
        let calls = calls.map(|(from, to)| (at(from), at(to)));
        let lasted: Vec<u128> = looks(&calls, PAUSE).iter().map(Duration::as_millis).collect();
        assert_eq!(lasted, [1_450, 30]);
        assert!(looks(&[], PAUSE).is_empty());
    }

    #[test]
    fn figures_are_those_of_a_minute() {
        let size = measured(10, 400, Some(300));
        assert!((size.per_minute(size.count_of("dynamodb:Query")) - 200.0).abs() < 1e-9);
        assert!((size.per_deployment(size.count_of("dynamodb:*")) - 20.6).abs() < 1e-9);
        assert!((size.cpu_ms_per_deployment().unwrap() - 15.0).abs() < 1e-9);
        assert_eq!(size.count_of("cloudwatch:*"), 0);
    }

    #[test]
    fn growth_needs_something_to_grow_from() {
        assert_eq!(growth(2.0, 3.0), Some(1.5));
        for (before, after) in [(0.0, 3.0), (1.0, f64::NAN), (f64::NAN, 1.0)] {
            assert_eq!(growth(before, after), None, "{before} to {after}");
        }
    }

    #[test]
    fn growth_is_that_of_each_deployment() {
        // (case, sizes, growth of calls and processor time in hundredths)
        let table: [(&str, Vec<Measured>, &[i32]); 6] = [
            ("linear", vec![measured(100, 3_988, Some(600)), measured(1000, 39_988, Some(6_000))], &[100, 100]),
            ("n log n", vec![measured(100, 3_988, Some(600)), measured(1000, 59_988, Some(9_000))], &[150, 150]),
            (
                "only the processor",
                vec![measured(100, 3_988, Some(600)), measured(1000, 39_988, Some(60_000))],
                &[100, 1000],
            ),
            ("no processor times", vec![measured(100, 3_988, None), measured(1000, 39_988, None)], &[100]),
            ("small ones are not compared", vec![measured(10, 10, Some(1)), measured(1000, 39_988, Some(6_000))], &[]),
            ("one alone", vec![measured(1000, 39_988, Some(6_000))], &[]),
        ];
        for (case, sizes, expected) in table {
            let grown = growth_per_deployment(&sizes, 100);
            assert_eq!(grown.len(), expected.len(), "{case}: {grown:?}");
            for ((what, grown), expected) in grown.iter().zip(expected) {
                assert!((grown * 100.0 - f64::from(*expected)).abs() < 1e-6, "{case}: {what}: {grown}");
                assert!(what.starts_with("1000 deployments, ") && what.ends_with(" times those with 100"), "{what}");
            }
        }
    }

    #[test]
    fn the_table_has_ratios_from_the_second_row_on() {
        let sizes = [measured(10, 400, Some(300)), measured(100, 4_000, None)];
        let said = growth_table(&sizes).to_string();
        let rows: Vec<Vec<&str>> = said.lines().skip(2).map(|line| line.split('|').map(str::trim).collect()).collect();
        assert_eq!(rows[0][1..6], ["10", "50", "60", "206.0", "-"]);
        assert_eq!(rows[1][1..6], ["100", "50", "60", "2006.0", "9.74"]);
        assert_eq!(rows[1][8..12], ["-", "-", "-", "-"]);
        let calls = calls_table(&sizes).to_string();
        assert!(calls.contains("| dynamodb:Query      | 200.0 | 2000.0 |"), "{calls}");
    }
}
