//! `MetricDataQuery` lists: what `GetMetricData` is asked and what a metric-math alarm watches.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error::CloudWatchError;
use super::input;
use super::math::{Expression, MathError, Operand};
use super::statistic::Statistic;
use super::store::{Metric, Store, Window};

/// One statistic of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricStat {
    pub(super) metric: Metric,
    pub(super) period_s: i64,
    pub(super) statistic: Statistic,
    pub(super) unit: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    Stat(MetricStat),
    /// The text and its parsed form.
    Math(String, Expression),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub(super) id: String,
    pub(super) label: Option<String>,
    pub(super) source: Source,
    pub(super) return_data: bool,
    /// Seconds; of an expression the period of what it refers to, `None` when it refers to no metric.
    pub(super) period_s: Option<i64>,
}

/// Queries whose ids are unique and whose references exist and form no circle.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct QuerySet {
    /// As given.
    pub(super) queries: Vec<Query>,
    /// Ids so that each comes after those that it refers to.
    order: Vec<String>,
}

impl MetricStat {
    /// Datapoints are taken in periods of `window`, which may be scaled, not of `period_s`.
    pub(super) fn values(&self, store: &Store, window: Window, now_ms: i64) -> BTreeMap<i64, f64> {
        let points = store.datapoints(&self.metric, self.unit.as_deref(), &self.statistic, window, now_ms);
        points.into_iter().map(|(start, point)| (start, point.value)).collect()
    }
}

impl QuerySet {
    /// Reads a list of `MetricDataQuery`.
    pub(super) fn read(list: &[Value]) -> Result<Self, CloudWatchError> {
        let queries = list.iter().map(read_query).collect::<Result<Vec<_>, _>>()?;
        let mut ids = BTreeSet::new();
        for query in &queries {
            if !ids.insert(query.id.clone()) {
                return Err(CloudWatchError::validation(format!("the id `{}` is given twice", query.id)));
            }
        }
        let mut set = Self { queries, order: Vec::new() };
        set.put_in_order()?;
        set.find_periods()?;
        Ok(set)
    }

    /// The value of every query. `window` gives the periods to look at for a period in seconds.
    pub(super) fn evaluate(
        &self,
        store: &Store,
        window: &dyn Fn(i64) -> Window,
        now_ms: i64,
    ) -> Result<BTreeMap<String, Operand>, CloudWatchError> {
        let mut values = BTreeMap::new();
        for query in self.order.iter().filter_map(|id| self.get(id)) {
            let grid: Vec<i64> = match (&query.source, query.period_s) {
                (Source::Math(..), Some(period_s)) => window(period_s).starts().collect(),
                (Source::Math(..), None) | (Source::Stat(_), _) => Vec::new(),
            };
            let value = match &query.source {
                Source::Stat(stat) => Operand::Series(stat.values(store, window(stat.period_s), now_ms)),
                Source::Math(text, expression) => {
                    expression.evaluate(&values, &grid).map_err(|error| in_expression(text, &error))?
                }
            };
            values.insert(query.id.clone(), value);
        }
        Ok(values)
    }

    /// The metrics that the queries read.
    pub(super) fn stats(&self) -> impl Iterator<Item = &MetricStat> {
        self.queries.iter().filter_map(|query| match &query.source {
            Source::Stat(stat) => Some(stat),
            Source::Math(..) => None,
        })
    }

    fn get(&self, id: &str) -> Option<&Query> {
        self.queries.iter().find(|query| query.id == id)
    }

    fn put_in_order(&mut self) -> Result<(), CloudWatchError> {
        let mut order: Vec<String> = Vec::with_capacity(self.queries.len());
        while order.len() < self.queries.len() {
            let before = order.len();
            for query in &self.queries {
                let missing = references(query).into_iter().find(|id| self.get(id).is_none());
                if let (Some(id), Source::Math(text, _)) = (missing, &query.source) {
                    let error = MathError::UnknownId { id: id.to_owned() };
                    return Err(in_expression(text, &error));
                }
                let ready = references(query).iter().all(|id| order.iter().any(|known| known == id));
                if ready && !order.contains(&query.id) {
                    order.push(query.id.clone());
                }
            }
            if order.len() == before {
                return Err(CloudWatchError::validation("expressions refer to one another in a circle"));
            }
        }
        self.order = order;
        Ok(())
    }

    fn find_periods(&mut self) -> Result<(), CloudWatchError> {
        let mut periods: BTreeMap<String, Option<i64>> = BTreeMap::new();
        for id in &self.order {
            let Some(query) = self.queries.iter_mut().find(|query| query.id == *id) else {
                continue;
            };
            let used: BTreeSet<i64> = references(query).iter().filter_map(|id| *periods.get(*id)?).collect();
            if let (Source::Math(text, _), true) = (&query.source, used.len() > 1) {
                let message = format!("the metrics in `{text}` have different periods: {used:?}");
                return Err(CloudWatchError::validation(message));
            }
            query.period_s = query.period_s.or(used.first().copied());
            periods.insert(id.clone(), query.period_s);
        }
        Ok(())
    }
}

/// Reads `Namespace`, `MetricName` and `Dimensions`.
pub(super) fn read_metric(object: &Value) -> Result<Metric, CloudWatchError> {
    Ok(Metric {
        namespace: input::required_text(object, "Namespace")?.to_owned(),
        name: input::required_text(object, "MetricName")?.to_owned(),
        dimensions: input::dimensions(object)?,
    })
}

/// Reads `Period`: 1, 5, 10, 20, 30 or a multiple of 60, in seconds.
pub(super) fn read_period(object: &Value) -> Result<i64, CloudWatchError> {
    let period = input::count(object, "Period")?.ok_or_else(|| CloudWatchError::missing("Period"))?;
    let period = i64::try_from(period).unwrap_or(i64::MAX);
    if matches!(period, 1 | 5 | 10 | 20 | 30) || (period % 60 == 0 && period <= 604_800) {
        return Ok(period);
    }
    let message = format!("Period is {period} s, allowed are 1, 5, 10, 20, 30 and multiples of 60 up to 604800");
    Err(CloudWatchError::validation(message))
}

fn read_query(value: &Value) -> Result<Query, CloudWatchError> {
    let id = input::required_text(value, "Id")?.to_owned();
    let right = id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.len() <= 255
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !right {
        let message = format!("Id `{id}` must start in lower case and have only letters, digits and underscores");
        return Err(CloudWatchError::validation(message));
    }
    let (source, period_s) = match (input::member(value, "MetricStat"), input::text(value, "Expression")?) {
        (Some(stat), None) => {
            let stat = read_stat(stat)?;
            let period_s = stat.period_s;
            (Source::Stat(stat), Some(period_s))
        }
        (None, Some(text)) => {
            let expression = Expression::parse(text).map_err(|error| in_expression(text, &error))?;
            (Source::Math(text.to_owned(), expression), None)
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(CloudWatchError::validation(format!("query `{id}` needs either MetricStat or Expression")));
        }
    };
    let label = input::text(value, "Label")?.map(str::to_owned);
    let return_data = input::boolean(value, "ReturnData")?.unwrap_or(true);
    Ok(Query { id, label, source, return_data, period_s })
}

fn read_stat(value: &Value) -> Result<MetricStat, CloudWatchError> {
    let metric = input::member(value, "Metric").ok_or_else(|| CloudWatchError::missing("MetricStat.Metric"))?;
    Ok(MetricStat {
        metric: read_metric(metric)?,
        period_s: read_period(value)?,
        statistic: Statistic::parse(input::required_text(value, "Stat")?)?,
        unit: input::text(value, "Unit")?.map(str::to_owned),
    })
}

fn references(query: &Query) -> BTreeSet<&str> {
    match &query.source {
        Source::Stat(_) => BTreeSet::new(),
        Source::Math(_, expression) => expression.ids(),
    }
}

fn in_expression(text: &str, error: &MathError) -> CloudWatchError {
    CloudWatchError::validation(format!("Error in expression `{text}`: {error}"))
}
