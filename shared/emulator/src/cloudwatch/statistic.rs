//! Statistics of one metric over one period.

use super::error::CloudWatchError;

/// What one call measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sample {
    /// `count` observations of the same value.
    Value { value: f64, count: f64 },
    /// A statistic set: percentiles of it are unknown unless it holds a single value.
    Set { count: f64, sum: f64, minimum: f64, maximum: f64 },
}

/// A statistic as `Statistic`, `ExtendedStatistic` and `Stat` name it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statistic {
    name: String,
    kind: Kind,
}

/// The value of a statistic in one period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Datapoint {
    pub(super) value: f64,
    pub(super) sample_count: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    SampleCount,
    Sum,
    Average,
    Minimum,
    Maximum,
    /// Per cent, 0 to 100.
    Percentile(f64),
    /// Observations above `low` and at most `high`; zero of them is a value too.
    TrimmedCount {
        low: f64,
        high: f64,
    },
    /// Their share of all, in per cent.
    PercentileRank {
        low: f64,
        high: f64,
    },
}

impl Statistic {
    /// Reads `Sum`, `p99.9`, `TC(:0.3)` or `PR(100:2000)`: trimmed count and percentile rank with absolute bounds, the lower
    /// one exclusive, the upper one inclusive, one of them may be left out. Source: "CloudWatch statistics definitions" in the
    /// CloudWatch user guide. Bounds in per cent, as in `TC(10%:90%)` or `tc90`, are not here.
    pub(super) fn parse(name: &str) -> Result<Self, CloudWatchError> {
        let kind = match name {
            "SampleCount" => Some(Kind::SampleCount),
            "Sum" => Some(Kind::Sum),
            "Average" => Some(Kind::Average),
            "Minimum" => Some(Kind::Minimum),
            "Maximum" => Some(Kind::Maximum),
            other => percentile(other).or_else(|| ranged(other)),
        };
        let kind = kind.ok_or_else(|| {
            CloudWatchError::validation(format!(
                "statistic `{name}` is not one of SampleCount, Sum, Average, Minimum, Maximum, p0.0 to p100, TC(a:b), PR(a:b) with absolute bounds, a below b"
            ))
        })?;
        Ok(Self { name: name.to_owned(), kind })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Below how many samples a percentile is not significant, `None` for other statistics.
    pub(super) fn significant_samples(&self) -> Option<f64> {
        let Kind::Percentile(percent) = self.kind else {
            return None;
        };
        let share = percent / 100.0;
        let tail = if share >= 0.5 { 1.0 - share } else { share };
        Some(if tail > 0.0 { 10.0 / tail } else { f64::INFINITY })
    }

    /// The statistic of `samples`, `None` when there are none or the value cannot be known.
    pub(super) fn of(&self, samples: &[Sample]) -> Option<Datapoint> {
        let total = Total::of(samples)?;
        let value = match self.kind {
            Kind::SampleCount => total.count,
            Kind::Sum => total.sum,
            Kind::Average => total.sum / total.count,
            Kind::Minimum => total.minimum,
            Kind::Maximum => total.maximum,
            Kind::Percentile(percent) => value_at(&sorted(samples)?, percent / 100.0 * total.count)?,
            Kind::TrimmedCount { low, high } => count_between(samples, low, high)?,
            Kind::PercentileRank { low, high } => 100.0 * count_between(samples, low, high)? / total.count,
        };
        value.is_finite().then_some(Datapoint { value, sample_count: total.count })
    }
}

struct Total {
    count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

impl Total {
    fn of(samples: &[Sample]) -> Option<Self> {
        let mut total = Self { count: 0.0, sum: 0.0, minimum: f64::INFINITY, maximum: f64::NEG_INFINITY };
        for sample in samples {
            let (count, sum, minimum, maximum) = match *sample {
                Sample::Value { value, count } => (count, value * count, value, value),
                Sample::Set { count, sum, minimum, maximum } => (count, sum, minimum, maximum),
            };
            total.count += count;
            total.sum += sum;
            total.minimum = total.minimum.min(minimum);
            total.maximum = total.maximum.max(maximum);
        }
        (total.count > 0.0).then_some(total)
    }
}

/// Values and how often, ascending; `None` when a statistic set hides them.
fn sorted(samples: &[Sample]) -> Option<Vec<(f64, f64)>> {
    let mut values = Vec::with_capacity(samples.len());
    for sample in samples {
        match *sample {
            Sample::Value { value, count } => values.push((value, count)),
            Sample::Set { count, minimum, maximum, .. } if minimum >= maximum => values.push((minimum, count)),
            Sample::Set { .. } => return None,
        }
    }
    values.sort_by(|left, right| left.0.total_cmp(&right.0));
    Some(values)
}

/// The smallest value with at least `rank` observations at or below it (nearest rank).
fn value_at(values: &[(f64, f64)], rank: f64) -> Option<f64> {
    let mut seen = 0.0;
    for (value, count) in values {
        seen += count;
        // The rank is a rounded product: 7 % of 100 must not ask for the eighth observation.
        if seen + 1e-9 >= rank {
            return Some(*value);
        }
    }
    values.last().map(|(value, _)| *value)
}

fn count_between(samples: &[Sample], low: f64, high: f64) -> Option<f64> {
    Some(sorted(samples)?.iter().filter(|(value, _)| *value > low && *value <= high).map(|(_, count)| count).sum())
}

fn percentile(name: &str) -> Option<Kind> {
    let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(Kind::Percentile(percent))
}

fn ranged(name: &str) -> Option<Kind> {
    let (function, rest) = name.split_once('(')?;
    let (low, high) = rest.strip_suffix(')')?.split_once(':')?;
    let bound = |text: &str, open: f64| {
        if text.is_empty() { Some(open) } else { text.parse().ok().filter(|bound: &f64| bound.is_finite()) }
    };
    let (low, high) = (bound(low, f64::NEG_INFINITY)?, bound(high, f64::INFINITY)?);
    if low >= high || (low.is_infinite() && high.is_infinite()) {
        return None;
    }
    match function {
        "TC" => Some(Kind::TrimmedCount { low, high }),
        "PR" => Some(Kind::PercentileRank { low, high }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: f64, count: f64) -> Sample {
        Sample::Value { value, count }
    }

    #[test]
    fn statistics_of_a_period() {
        let mixed = vec![value(10.0, 98.0), value(500.0, 1.0), value(2.0, 1.0)];
        let set = vec![Sample::Set { count: 4.0, sum: 10.0, minimum: 1.0, maximum: 4.0 }, value(6.0, 1.0)];
        let flat = vec![Sample::Set { count: 3.0, sum: 21.0, minimum: 7.0, maximum: 7.0 }];
        // (case, statistic, samples, value)
        let table = [
            ("count", "SampleCount", &mixed, Some(100.0)),
            ("sum", "Sum", &mixed, Some(1482.0)),
            ("average", "Average", &mixed, Some(14.82)),
            ("minimum", "Minimum", &mixed, Some(2.0)),
            ("maximum", "Maximum", &mixed, Some(500.0)),
            ("median", "p50", &mixed, Some(10.0)),
            ("p99 is the last but one", "p99", &mixed, Some(10.0)),
            ("p99.1 is the last", "p99.1", &mixed, Some(500.0)),
            ("p100", "p100", &mixed, Some(500.0)),
            ("p0", "p0", &mixed, Some(2.0)),
            ("sum of a set", "Sum", &set, Some(16.0)),
            ("minimum of a set", "Minimum", &set, Some(1.0)),
            ("count of a set", "SampleCount", &set, Some(5.0)),
            ("no percentile of a set", "p90", &set, None),
            ("a set of one value", "p90", &flat, Some(7.0)),
            ("nothing", "Sum", &vec![], None),
        ];
        for (case, name, samples, expected) in table {
            let got = Statistic::parse(name).unwrap().of(samples).map(|point| point.value);
            assert_eq!(got, expected, "{case}");
        }
    }

    #[test]
    fn counts_and_ranks_within_bounds() {
        // 100 observations: 2, 98 times 10, 500; and 1 to 4, each once.
        let mixed = vec![value(10.0, 98.0), value(500.0, 1.0), value(2.0, 1.0)];
        let four = vec![value(1.0, 1.0), value(2.0, 1.0), value(3.0, 1.0), value(4.0, 1.0)];
        let flat = vec![Sample::Set { count: 3.0, sum: 21.0, minimum: 7.0, maximum: 7.0 }, value(8.0, 1.0)];
        let set = vec![Sample::Set { count: 4.0, sum: 10.0, minimum: 1.0, maximum: 4.0 }];
        // (case, bounds, samples, trimmed count, percentile rank)
        let table = [
            ("at most, inclusive", "(:10)", &mixed, Some((99.0, 99.0))),
            ("above, exclusive", "(10:)", &mixed, Some((1.0, 1.0))),
            ("just below a value", "(9.99:)", &mixed, Some((99.0, 99.0))),
            ("between: low is out, high is in", "(2:10)", &mixed, Some((98.0, 98.0))),
            ("between: both are out", "(1.5:9.5)", &mixed, Some((1.0, 1.0))),
            ("rank is a share in per cent", "(:3)", &four, Some((3.0, 75.0))),
            ("of each count", "(1:3)", &four, Some((2.0, 50.0))),
            ("nothing in range is zero, not missing", "(4:)", &four, Some((0.0, 0.0))),
            ("nothing below", "(:0.5)", &four, Some((0.0, 0.0))),
            ("negative bounds", "(-1:1)", &four, Some((1.0, 25.0))),
            ("a set of one value counts as often", "(:7)", &flat, Some((3.0, 75.0))),
            ("a set of several values hides them", "(:7)", &set, None),
            ("no samples", "(:7)", &vec![], None),
        ];
        for (case, bounds, samples, expected) in table {
            let of = |function: &str| {
                let statistic = Statistic::parse(&format!("{function}{bounds}")).unwrap();
                statistic.of(samples).map(|point| point.value)
            };
            let expected = expected.map_or((None, None), |(count, rank)| (Some(count), Some(rank)));
            assert_eq!((of("TC"), of("PR")), expected, "{case}");
        }
    }

    #[test]
    fn what_is_not_above_a_bound_is_at_most_it() {
        let samples: Vec<Sample> = (0..200).map(|n| value(f64::from(n % 37), 1.0 + f64::from(n % 3))).collect();
        let of = |name: &str| Statistic::parse(name).unwrap().of(&samples).unwrap().value;
        for bound in 0..37 {
            let both = of(&format!("TC(:{bound})")) + of(&format!("TC({bound}:)"));
            assert!((both - of("SampleCount")).abs() < 1e-9, "{bound}");
            let ranks = of(&format!("PR(:{bound})")) + of(&format!("PR({bound}:)"));
            assert!((ranks - 100.0).abs() < 1e-9, "{bound}");
        }
    }

    #[test]
    fn unknown_statistics_are_refused_by_name() {
        let ranged = ["TC(1)", "TC(a:b)", "TC(:)", "TC(2:1)", "PR(1:1)", "TC(:inf)", "PR(NaN:)", "TC(10%:90%)", "tc90"];
        for name in ["sum", "p101", "p", "TM(10%:90%)", "WM(:1)", ""].into_iter().chain(ranged) {
            let error = Statistic::parse(name).unwrap_err();
            assert!(error.message.contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn a_percentile_needs_ten_samples_in_its_tail() {
        for (name, samples) in [("p99", 1000.0), ("p50", 20.0), ("p10", 100.0)] {
            let needed = Statistic::parse(name).unwrap().significant_samples().unwrap();
            assert!((needed - samples).abs() < 1e-6, "{name}: {needed}");
        }
        assert_eq!(Statistic::parse("Sum").unwrap().significant_samples(), None);
    }
}
