//! Reads members of JSON objects, and says exactly which one is wrong, what it is and what it should be.

use serde_json::{Map, Value};
use snapback_core::Timestamp;
use std::fmt::Display;

/// Longest piece of foreign text that a message repeats.
const QUOTED: usize = 80;

/// One member that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Path of the member, for example `state.timestamp` or `alarms[2].name`.
    pub(crate) path: String,
    /// What was found.
    pub(crate) found: String,
    /// What would be right.
    pub(crate) expected: String,
}

/// One JSON object at its place. `null` and absent are the same.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Reader<'a> {
    /// The whole document.
    pub(crate) fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, path: String::new() }
    }

    /// The whole document, when it is an object.
    pub(crate) fn of(value: &'a Value) -> Result<Self, Fault> {
        value.as_object().map(Self::new).ok_or_else(|| Fault {
            path: String::new(),
            found: describe(Some(value)),
            expected: "an object".to_owned(),
        })
    }

    /// The member, when it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// What is wrong with a member.
    pub(crate) fn fault(&self, name: &str, expected: impl Display) -> Fault {
        Fault { path: join(&self.path, name), found: describe(self.map.get(name)), expected: expected.to_string() }
    }

    fn required<T>(&self, name: &str, expected: &str, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| self.fault(name, expected))
    }

    fn optional<T>(&self, name: &str, read: impl FnOnce(&Self) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
        self.get(name).map(|_| read(self)).transpose()
    }

    /// A string.
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, Fault> {
        self.required(name, "a string", self.get(name).and_then(Value::as_str))
    }

    /// A string, when it is there.
    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        self.optional(name, |reader| reader.text(name))
    }

    /// A string that `parse` understands; its error says what was expected.
    pub(crate) fn parsed<T, E: Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        let text = self.text(name)?;
        parse(text).map_err(|error| self.fault(name, error))
    }

    /// A string that `parse` understands, when it is there.
    pub(crate) fn optional_parsed<T, E: Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&'a str) -> Result<T, E>,
    ) -> Result<Option<T>, Fault> {
        self.optional(name, |reader| reader.parsed(name, parse))
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &str) -> Result<i64, Fault> {
        let value = self.get(name).and_then(Value::as_i64);
        self.required(name, "a whole number", value)
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, name: &str) -> Result<u64, Fault> {
        let value = self.get(name).and_then(Value::as_u64);
        self.required(name, "a whole number, not negative", value)
    }

    /// A whole number that is not negative, when it is there.
    pub(crate) fn optional_count(&self, name: &str) -> Result<Option<u64>, Fault> {
        self.optional(name, |reader| reader.count(name))
    }

    /// Any number.
    pub(crate) fn number(&self, name: &str) -> Result<f64, Fault> {
        self.required(name, "a number", self.get(name).and_then(Value::as_f64))
    }

    /// True or false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Fault> {
        self.required(name, "true or false", self.get(name).and_then(Value::as_bool))
    }

    /// `true` or `false`, or nothing.
    pub(crate) fn optional_flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.optional(name, |reader| reader.flag(name))
    }

    /// Epoch milliseconds.
    pub(crate) fn time(&self, name: &str) -> Result<Timestamp, Fault> {
        self.integer(name)
            .map(Timestamp::from_ms)
            .map_err(|fault| Fault { expected: "epoch milliseconds".to_owned(), ..fault })
    }

    /// Epoch milliseconds, when they are there.
    pub(crate) fn optional_time(&self, name: &str) -> Result<Option<Timestamp>, Fault> {
        self.optional(name, |reader| reader.time(name))
    }

    /// An object.
    pub(crate) fn map(&self, name: &str) -> Result<Reader<'a>, Fault> {
        let map = self.get(name).and_then(Value::as_object);
        Ok(Reader { map: self.required(name, "an object", map)?, path: join(&self.path, name) })
    }

    /// An object, when it is there.
    pub(crate) fn optional_map(&self, name: &str) -> Result<Option<Reader<'a>>, Fault> {
        self.optional(name, |reader| reader.map(name))
    }

    /// A list of objects.
    pub(crate) fn maps(&self, name: &str) -> Result<Vec<Reader<'a>>, Fault> {
        self.list(name)?
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let path = format!("{}[{index}]", join(&self.path, name));
                let map = value.as_object().ok_or_else(|| Fault {
                    path: path.clone(),
                    found: describe(Some(value)),
                    expected: "an object".to_owned(),
                })?;
                Ok(Reader { map, path })
            })
            .collect()
    }

    /// A list of strings that `parse` understands.
    pub(crate) fn texts<T, E: Display>(
        &self,
        name: &str,
        parse: impl Fn(&'a str) -> Result<T, E>,
    ) -> Result<Vec<T>, Fault> {
        self.list(name)?
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let fault = |expected: String| Fault {
                    path: format!("{}[{index}]", join(&self.path, name)),
                    found: describe(Some(value)),
                    expected,
                };
                let text = value.as_str().ok_or_else(|| fault("a string".to_owned()))?;
                parse(text).map_err(|error| fault(error.to_string()))
            })
            .collect()
    }

    fn list(&self, name: &str) -> Result<&'a Vec<Value>, Fault> {
        self.required(name, "a list", self.get(name).and_then(Value::as_array))
    }

    /// Names and values, in the order of the names.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.iter()
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value in a few words, for messages; long text is cut.
pub(crate) fn describe(value: Option<&Value>) -> String {
    match value {
        None => "missing".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => format!("`{}`", quote(text)),
        Some(Value::Array(list)) => format!("a list of {}", list.len()),
        Some(Value::Object(map)) => format!("an object of {}", map.len()),
    }
}

/// Foreign text as messages repeat it: cut, and without control characters.
pub(crate) fn quote(text: &str) -> String {
    let short: String = text.chars().take(QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(QUOTED).is_some() { short + "…" } else { short }
}
