//! A value of a template with the line on which it stands.

use std::fmt;

use serde_json::{Map, Value};

/// A value and its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Counted from 1; 0: it stands in no file.
    pub line: u32,
    /// The value.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Nobody can tell before the stack is made. No rule may conclude anything from it.
    Unknown,
    /// Nothing is written there.
    Null,
    /// A truth value.
    Bool(bool),
    /// A number; whole ones are exact up to 2^53.
    Number(f64),
    /// A text.
    Text(Text),
    /// A list.
    List(Vec<Node>),
    /// An object, its members in their order.
    Map(Vec<Member>),
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Line of the name.
    pub line: u32,
    /// Its value.
    pub value: Node,
}

/// A text of which parts may be known only once the stack is made. Two texts made of the same pieces are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Text(Vec<Piece>);

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// It is known.
    Literal(String),
    /// What `Ref` gives (`Api`, `AWS::Region`), or `Fn::GetAtt` (`Api.Arn`).
    Reference(String),
}

impl Text {
    /// An empty text has no pieces, so that equal texts are made of equal pieces.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self(if text.is_empty() { Vec::new() } else { vec![Piece::Literal(text)] })
    }

    /// A text that is one reference.
    #[must_use]
    pub fn reference(to: impl Into<String>) -> Self {
        Self(vec![Piece::Reference(to.into())])
    }

    /// Its parts, in their order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Puts another text behind it.
    pub fn push(&mut self, other: &Self) {
        for piece in &other.0 {
            match (self.0.last_mut(), piece) {
                (Some(Piece::Literal(before)), Piece::Literal(text)) => before.push_str(text),
                _ => self.0.push(piece.clone()),
            }
        }
    }

    /// Bytes of the literal parts and the names in it.
    #[must_use]
    pub fn len(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Literal(text) | Piece::Reference(text) => text.len(),
        };
        self.0.iter().map(len).sum()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The whole text, when all of it is known.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// What it refers to, when it is one reference and nothing else.
    #[must_use]
    pub fn as_reference(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Reference(to)] => Some(to),
            _ => None,
        }
    }

    /// Whether it begins with `prefix`; `None`: nobody can tell yet.
    #[must_use]
    pub fn starts_with(&self, prefix: &str) -> Option<bool> {
        match self.0.as_slice() {
            [Piece::Literal(text)] => Some(text.starts_with(prefix)),
            [Piece::Literal(text), ..] if text.len() >= prefix.len() => Some(text.starts_with(prefix)),
            [Piece::Literal(text), ..] if !prefix.starts_with(text.as_str()) => Some(false),
            [] => Some(prefix.is_empty()),
            _ => None,
        }
    }

    /// What stands behind `mark`, when a literal part holds it.
    #[must_use]
    pub fn behind(&self, mark: &str) -> Option<Self> {
        let found = self.0.iter().enumerate().find_map(|(index, piece)| match piece {
            Piece::Literal(text) => text.split_once(mark).map(|(_, rest)| (index, rest)),
            Piece::Reference(_) => None,
        });
        let (index, rest) = found?;
        let mut text = Self::literal(rest);
        text.push(&Self(self.0.iter().skip(index + 1).cloned().collect()));
        Some(text)
    }

    /// What stands before `mark`; all of it when no literal part holds it.
    #[must_use]
    pub fn before(&self, mark: &str) -> Self {
        let mut text = Self::default();
        for piece in &self.0 {
            match piece {
                Piece::Literal(part) => match part.split_once(mark) {
                    Some((before, _)) => {
                        text.push(&Self::literal(before));
                        return text;
                    }
                    None => text.push(&Self::literal(part)),
                },
                Piece::Reference(_) => text.push(&Self(vec![piece.clone()])),
            }
        }
        text
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => f.write_str(text),
            Piece::Reference(to) => write!(f, "${{{to}}}"),
        })
    }
}

impl Node {
    /// A value on a line.
    #[must_use]
    pub fn new(line: u32, kind: Kind) -> Self {
        Self { line, kind }
    }

    /// The member called `name`.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.name == name)
    }

    /// The value of the member called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.member(name).map(|member| &member.value)
    }

    /// The value behind several names.
    #[must_use]
    pub fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The members of an object; none when it is something else.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Map(members) => members,
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => &[],
        }
    }

    /// The items of a list; one value stands for a list of one, none for an object.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => std::slice::from_ref(self),
            Kind::Unknown | Kind::Null | Kind::Map(_) => &[],
        }
    }

    /// The text that it is.
    #[must_use]
    pub fn text(&self) -> Option<&Text> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// A text of which all is known.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        self.text().and_then(Text::known)
    }

    /// A number, also one that is written as a text.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match &self.kind {
            Kind::Number(number) => Some(*number),
            Kind::Text(text) => text.known()?.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// A truth value, also one that is written as a text.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        match &self.kind {
            Kind::Bool(value) => Some(*value),
            Kind::Text(text) => match text.known()? {
                "true" | "True" => Some(true),
                "false" | "False" => Some(false),
                _ => None,
            },
            Kind::Unknown | Kind::Null | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// Whether something in it cannot be told before the stack is made.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match &self.kind {
            Kind::Unknown => true,
            Kind::List(items) => items.iter().any(Self::is_unknown),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_) => false,
        }
    }

    /// The text of a scalar, as CloudFormation turns it into one.
    #[must_use]
    pub fn scalar(&self) -> Option<Text> {
        match &self.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Number(number) => Some(Text::literal(number.to_string())),
            Kind::Bool(value) => Some(Text::literal(value.to_string())),
            Kind::Unknown | Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// JSON as a value that stands in no file.
    pub(crate) fn from_json(value: &Value) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(value) => Kind::Bool(*value),
            Value::Number(number) => number.as_f64().map_or(Kind::Unknown, Kind::Number),
            Value::String(text) => Kind::Text(Text::literal(text)),
            Value::Array(items) => Kind::List(items.iter().map(Self::from_json).collect()),
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| Member {
                    name: name.clone(),
                    line: 0,
                    value: Self::from_json(value),
                };
                Kind::Map(members.iter().map(member).collect())
            }
        };
        Self::new(0, kind)
    }

    /// The value as JSON. A reference is `${Name}`, as in `Fn::Sub`; what is unknown is null.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Unknown | Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => whole(*number).map_or_else(|| Value::from(*number), Value::from),
            Kind::Text(text) => Value::String(text.to_string()),
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(members) => {
                let members = members.iter().map(|member| (member.name.clone(), member.value.to_json()));
                Value::Object(members.collect::<Map<String, Value>>())
            }
        }
    }
}

/// A number without fraction, as far as a double holds those exactly.
#[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract().abs() < f64::EPSILON && number.abs() <= EXACT_MAX).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_texts_that_are_known_in_part() {
        let text = |pieces: &[Piece]| Text(pieces.to_vec());
        let (name, stack) = (Piece::Literal("Code".into()), Piece::Reference("AWS::StackName".into()));
        let table = [
            (text(&[Piece::Literal("CodeDeployHook_x".into())]), Some(true)),
            (text(&[name.clone(), stack.clone()]), None),
            (text(&[Piece::Literal("my-".into()), stack.clone()]), Some(false)),
            (text(&[stack.clone(), name]), None),
            (text(&[Piece::Literal("CodeDeployHook_".into()), stack]), Some(true)),
        ];
        for (text, expected) in table {
            assert_eq!(text.starts_with("CodeDeployHook_"), expected, "{text}");
        }
    }
}
