//! Metric math: a parser and an evaluator for expressions over series.
//!
//! Missing values, as CloudWatch documents them: in `+ - * /` a missing value counts as 0 where the other side has one; a
//! division by zero drops the point; `IF` drops the point where its condition is missing, and where the chosen branch is.
//! Comparisons, `AND` and `OR` have a point where both sides have one. Booleans are 1 and 0.

use std::collections::{BTreeMap, BTreeSet};

mod lexer;
mod parser;

/// Longest expression that CloudWatch takes, in characters.
pub(super) const MAX_LENGTH: usize = 2048;

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MathError {
    #[error("expression has more than {MAX_LENGTH} characters")]
    TooLong,
    #[error("expression is nested too deeply")]
    TooDeep,
    #[error("unexpected character `{found}` at position {position}")]
    Character { found: char, position: usize },
    #[error("`{text}` is not a number")]
    Number { text: String },
    #[error("expected {expected}, found {found}")]
    Token { expected: &'static str, found: String },
    #[error("function {name} is not supported; the supported ones are IF, FILL, MIN, MAX, SUM, AVG, ABS, CEIL, FLOOR")]
    Function { name: String },
    #[error("{function} takes {expected}, got {got} arguments")]
    Arguments { function: &'static str, expected: &'static str, got: usize },
    #[error("id `{id}` is not one of the queries")]
    UnknownId { id: String },
    #[error("{what} must be a single time series or a number, not a list")]
    List { what: &'static str },
}

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expression(Node);

/// A value while evaluating: points by the start of their period.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Scalar(f64),
    Series(BTreeMap<i64, f64>),
    List(Vec<Operand>),
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Id(String),
    List(Vec<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    /// Condition, then, else.
    If(Box<Node>, Box<Node>, Option<Box<Node>>),
    Fill(Box<Node>, Filling),
    Reduce(Reduction, Box<Node>),
    Round(Rounding, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
}

#[derive(Debug, Clone, PartialEq)]
enum Filling {
    Value(Box<Node>),
    Repeat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    Min,
    Max,
    Sum,
    Average,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    Absolute,
    Up,
    Down,
}

impl Expression {
    /// Reads an expression.
    pub(super) fn parse(text: &str) -> Result<Self, MathError> {
        parser::parse(text).map(Self)
    }

    /// The ids that the expression mentions.
    pub(super) fn ids(&self) -> BTreeSet<&str> {
        let mut ids = BTreeSet::new();
        let mut left = vec![&self.0];
        while let Some(node) = left.pop() {
            match node {
                Node::Number(_) => {}
                Node::Id(id) => {
                    ids.insert(id.as_str());
                }
                Node::List(items) => left.extend(items),
                Node::Negate(inner) | Node::Reduce(_, inner) | Node::Round(_, inner) => left.push(inner),
                Node::Binary(_, first, second) => left.extend([&**first, &**second]),
                Node::If(condition, then, otherwise) => {
                    left.extend([&**condition, &**then]);
                    left.extend(otherwise.as_deref());
                }
                Node::Fill(inner, filling) => {
                    left.push(inner);
                    match filling {
                        Filling::Value(value) => left.push(value),
                        Filling::Repeat => {}
                    }
                }
            }
        }
        ids
    }

    /// The value of the expression.
    ///
    /// * `inputs`: the value of every id.
    /// * `grid`: starts of all periods of the window, ascending; only `FILL` looks at those without points.
    pub(super) fn evaluate(&self, inputs: &BTreeMap<String, Operand>, grid: &[i64]) -> Result<Operand, MathError> {
        Evaluation { inputs, grid }.of(&self.0)
    }
}

struct Evaluation<'a> {
    inputs: &'a BTreeMap<String, Operand>,
    grid: &'a [i64],
}

impl Evaluation<'_> {
    fn of(&self, node: &Node) -> Result<Operand, MathError> {
        match node {
            Node::Number(value) => Ok(Operand::Scalar(*value)),
            Node::Id(id) => self.inputs.get(id).cloned().ok_or_else(|| MathError::UnknownId { id: id.clone() }),
            Node::List(items) => self.list(items),
            Node::Negate(inner) => each(self.of(inner)?, &|value| -value, "the operand of -"),
            Node::Binary(operator, first, second) => binary(*operator, self.of(first)?, self.of(second)?),
            Node::If(condition, then, otherwise) => {
                let otherwise = otherwise.as_deref().map(|node| self.of(node)).transpose()?;
                choose(&self.of(condition)?, &self.of(then)?, otherwise.as_ref())
            }
            Node::Fill(inner, filling) => self.fill(inner, filling),
            Node::Reduce(reduction, inner) => Ok(reduce(*reduction, self.of(inner)?)),
            Node::Round(Rounding::Absolute, inner) => each(self.of(inner)?, &f64::abs, "the argument of ABS"),
            Node::Round(Rounding::Up, inner) => each(self.of(inner)?, &f64::ceil, "the argument of CEIL"),
            Node::Round(Rounding::Down, inner) => each(self.of(inner)?, &f64::floor, "the argument of FLOOR"),
        }
    }

    fn list(&self, items: &[Node]) -> Result<Operand, MathError> {
        let mut list = Vec::with_capacity(items.len());
        for item in items {
            match self.of(item)? {
                Operand::List(_) => {
                    return Err(MathError::List { what: "an element of a list" });
                }
                single @ (Operand::Series(_) | Operand::Scalar(_)) => list.push(single),
            }
        }
        Ok(Operand::List(list))
    }

    fn fill(&self, inner: &Node, filling: &Filling) -> Result<Operand, MathError> {
        let Operand::Series(series) = self.of(inner)? else {
            return Err(MathError::Token { expected: "a time series in FILL", found: "a number or a list".into() });
        };
        let value = match filling {
            Filling::Value(value) => Some(self.of(value)?),
            Filling::Repeat => None,
        };
        let mut filled = BTreeMap::new();
        let mut last = None;
        for start in self.grid {
            last = series.get(start).copied().or(last);
            let there = match (&value, series.get(start)) {
                (_, Some(own)) => Some(*own),
                (None, None) => last,
                (Some(Operand::Scalar(value)), None) => Some(*value),
                (Some(Operand::Series(values)), None) => values.get(start).copied(),
                (Some(Operand::List(_)), None) => {
                    return Err(MathError::List { what: "the filling of FILL" });
                }
            };
            filled.extend(there.map(|value| (*start, value)));
        }
        Ok(Operand::Series(filled))
    }
}

impl Operator {
    /// The result for two values that are both there, `None` when the point is dropped.
    fn apply(self, first: f64, second: f64) -> Option<f64> {
        let truth = |condition: bool| Some(f64::from(u8::from(condition)));
        match self {
            Self::Add => Some(first + second),
            Self::Subtract => Some(first - second),
            Self::Multiply => Some(first * second),
            Self::Divide => Some(first / second),
            Self::Greater => truth(first > second),
            Self::GreaterOrEqual => truth(first >= second),
            Self::Less => truth(first < second),
            Self::LessOrEqual => truth(first <= second),
            Self::Equal => truth(same(first, second)),
            Self::NotEqual => truth(!same(first, second)),
            Self::And => truth(is_true(first) && is_true(second)),
            Self::Or => truth(is_true(first) || is_true(second)),
        }
        .filter(|value| value.is_finite())
    }

    fn fills_missing_with_zero(self) -> bool {
        match self {
            Self::Add | Self::Subtract | Self::Multiply | Self::Divide => true,
            Self::Greater
            | Self::GreaterOrEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::Equal
            | Self::NotEqual
            | Self::And
            | Self::Or => false,
        }
    }
}

#[expect(clippy::float_cmp, reason = "metric math compares values exactly")]
fn same(first: f64, second: f64) -> bool {
    first == second
}

fn is_true(value: f64) -> bool {
    !same(value, 0.0)
}

fn each(operand: Operand, change: &dyn Fn(f64) -> f64, what: &'static str) -> Result<Operand, MathError> {
    match operand {
        Operand::Scalar(value) => Ok(Operand::Scalar(change(value))),
        Operand::Series(mut series) => {
            series.values_mut().for_each(|value| *value = change(*value));
            Ok(Operand::Series(series))
        }
        Operand::List(_) => Err(MathError::List { what }),
    }
}

fn binary(operator: Operator, first: Operand, second: Operand) -> Result<Operand, MathError> {
    let series = match (first, second) {
        // A scalar that does not exist (1 / 0) is a series without points: whatever uses it drops its points, too.
        (Operand::Scalar(first), Operand::Scalar(second)) => {
            return Ok(operator.apply(first, second).map_or(Operand::Series(BTreeMap::new()), Operand::Scalar));
        }
        (Operand::Series(first), Operand::Scalar(second)) => {
            first.into_iter().filter_map(|(at, value)| Some((at, operator.apply(value, second)?))).collect()
        }
        (Operand::Scalar(first), Operand::Series(second)) => {
            second.into_iter().filter_map(|(at, value)| Some((at, operator.apply(first, value)?))).collect()
        }
        (Operand::Series(first), Operand::Series(second)) => combine(operator, &first, &second),
        (Operand::List(_), _) | (_, Operand::List(_)) => {
            return Err(MathError::List { what: "an operand" });
        }
    };
    Ok(Operand::Series(series))
}

fn combine(operator: Operator, first: &BTreeMap<i64, f64>, second: &BTreeMap<i64, f64>) -> BTreeMap<i64, f64> {
    let missing = operator.fills_missing_with_zero().then_some(0.0);
    let moments: BTreeSet<i64> = first.keys().chain(second.keys()).copied().collect();
    let value = |series: &BTreeMap<i64, f64>, at: i64| series.get(&at).copied().or(missing);
    let point = |at: i64| Some((at, operator.apply(value(first, at)?, value(second, at)?)?));
    moments.into_iter().filter_map(point).collect()
}

fn choose(condition: &Operand, then: &Operand, otherwise: Option<&Operand>) -> Result<Operand, MathError> {
    let branch = |holds: bool| if holds { Some(then) } else { otherwise };
    match condition {
        Operand::Scalar(value) => Ok(branch(is_true(*value)).cloned().unwrap_or(Operand::Series(BTreeMap::new()))),
        Operand::Series(series) => {
            let mut chosen = BTreeMap::new();
            for (at, value) in series {
                let value = match branch(is_true(*value)) {
                    None => None,
                    Some(Operand::Scalar(value)) => Some(*value),
                    Some(Operand::Series(values)) => values.get(at).copied(),
                    Some(Operand::List(_)) => {
                        return Err(MathError::List { what: "a branch of IF" });
                    }
                };
                chosen.extend(value.map(|value| (*at, value)));
            }
            Ok(Operand::Series(chosen))
        }
        Operand::List(_) => Err(MathError::List { what: "the condition of IF" }),
    }
}

/// Over a list: point by point, among the series that have one and the numbers. Over one series: a scalar over the whole
/// window.
fn reduce(reduction: Reduction, operand: Operand) -> Operand {
    match operand {
        Operand::Scalar(value) => Operand::Scalar(value),
        Operand::Series(series) => {
            let values: Vec<f64> = series.into_values().collect();
            reduction.of(&values).map_or(Operand::Series(BTreeMap::new()), Operand::Scalar)
        }
        Operand::List(list) => reduce_list(reduction, list),
    }
}

fn reduce_list(reduction: Reduction, list: Vec<Operand>) -> Operand {
    let mut numbers = Vec::new();
    let mut values: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    let mut has_series = false;
    for operand in list {
        match operand {
            Operand::Scalar(number) => numbers.push(number),
            Operand::Series(series) => {
                has_series = true;
                for (at, value) in series {
                    values.entry(at).or_default().push(value);
                }
            }
            // `Evaluation::list` lets no list into a list.
            Operand::List(_) => {}
        }
    }
    if !has_series {
        return reduction.of(&numbers).map_or(Operand::Series(BTreeMap::new()), Operand::Scalar);
    }
    let point = |(at, mut values): (i64, Vec<f64>)| {
        values.extend(&numbers);
        Some((at, reduction.of(&values)?))
    };
    Operand::Series(values.into_iter().filter_map(point).collect())
}

impl Reduction {
    #[expect(clippy::cast_precision_loss, reason = "the number of points of a window is far below 2^52")]
    fn of(self, values: &[f64]) -> Option<f64> {
        let sum = || values.iter().sum::<f64>();
        match self {
            Self::Min => values.iter().copied().reduce(f64::min),
            Self::Max => values.iter().copied().reduce(f64::max),
            Self::Sum => (!values.is_empty()).then(sum),
            Self::Average => (!values.is_empty()).then(|| sum() / values.len() as f64),
        }
    }
}

#[cfg(test)]
mod tests;
