//! Reading the members of a request, with errors that name the member.

use serde_json::Value;

use super::error::CloudWatchError;
use super::time;

type Read<T> = Result<T, CloudWatchError>;

/// The member, `None` when absent or null.
pub(super) fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

pub(super) fn text<'a>(object: &'a Value, name: &str) -> Read<Option<&'a str>> {
    typed(object, name, "a string", Value::as_str)
}

pub(super) fn required_text<'a>(object: &'a Value, name: &str) -> Read<&'a str> {
    text(object, name)?.filter(|text| !text.is_empty()).ok_or_else(|| CloudWatchError::missing(name))
}

pub(super) fn boolean(object: &Value, name: &str) -> Read<Option<bool>> {
    typed(object, name, "true or false", Value::as_bool)
}

pub(super) fn number(object: &Value, name: &str) -> Read<Option<f64>> {
    typed(object, name, "a finite number", finite)
}

/// A whole number of at least 1.
pub(super) fn count(object: &Value, name: &str) -> Read<Option<usize>> {
    typed(object, name, "a whole number of at least 1", |value| {
        value.as_u64().filter(|count| *count >= 1).and_then(|count| usize::try_from(count).ok())
    })
}

/// Milliseconds since 1970 of a timestamp member (seconds since 1970).
pub(super) fn timestamp(object: &Value, name: &str) -> Read<Option<i64>> {
    typed(object, name, "a timestamp", |value| value.as_f64().and_then(time::from_seconds))
}

/// The list, empty when absent.
pub(super) fn list<'a>(object: &'a Value, name: &str) -> Read<&'a [Value]> {
    Ok(typed(object, name, "a list", Value::as_array)?.map_or(&[], Vec::as_slice))
}

/// The list of strings, empty when absent.
pub(super) fn texts(object: &Value, name: &str) -> Read<Vec<String>> {
    let wrong = || CloudWatchError::validation(format!("{name} must be a list of strings"));
    list(object, name)?.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// The list of finite numbers, empty when absent.
pub(super) fn numbers(object: &Value, name: &str) -> Read<Vec<f64>> {
    let wrong = || CloudWatchError::invalid_value(format!("{name} must be a list of finite numbers"));
    list(object, name)?.iter().map(|value| finite(value).ok_or_else(wrong)).collect()
}

/// `Dimensions` as name and value pairs, sorted by name.
pub(super) fn dimensions(object: &Value) -> Read<Vec<(String, String)>> {
    let given = list(object, "Dimensions")?;
    if given.len() > 30 {
        return Err(CloudWatchError::validation(format!("a metric has at most 30 dimensions, got {}", given.len())));
    }
    let mut pairs = Vec::with_capacity(given.len());
    for dimension in given {
        pairs.push((required_text(dimension, "Name")?.to_owned(), required_text(dimension, "Value")?.to_owned()));
    }
    pairs.sort();
    if pairs.windows(2).any(|pair| matches!(pair, [(first, _), (second, _)] if first == second)) {
        return Err(CloudWatchError::validation("a dimension name is given twice"));
    }
    Ok(pairs)
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

fn typed<'a, T>(object: &'a Value, name: &str, what: &str, read: impl Fn(&'a Value) -> Option<T>) -> Read<Option<T>> {
    let Some(value) = member(object, name) else {
        return Ok(None);
    };
    read(value).map(Some).ok_or_else(|| CloudWatchError::validation(format!("{name} must be {what}")))
}
