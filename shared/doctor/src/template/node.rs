//! A value of a template with the line on which it stands, and the text of a template as such values.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Spanned, Tagged};

use super::TemplateError;

/// CloudFormation takes no longer template.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A value and its line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Counted from 1; 0: it stands in no file.
    pub(crate) line: u32,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Nobody can tell before the stack is made. No rule may conclude anything from it.
    Unknown,
    Null,
    Bool(bool),
    Number(f64),
    Text(Text),
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Line of the name.
    pub(crate) line: u32,
    pub(crate) value: Node,
}

/// A text of which parts may be known only once the stack is made. Two texts made of the same pieces are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Text(Vec<Piece>);

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Piece {
    Literal(String),
    /// What `Ref` gives (`Api`, `AWS::Region`), or `Fn::GetAtt` (`Api.Arn`).
    Reference(String),
}

impl Text {
    /// An empty text has no pieces, so that equal texts are made of equal pieces.
    pub(crate) fn literal(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self(if text.is_empty() { Vec::new() } else { vec![Piece::Literal(text)] })
    }

    pub(crate) fn reference(to: impl Into<String>) -> Self {
        Self(vec![Piece::Reference(to.into())])
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    pub(crate) fn push(&mut self, other: &Self) {
        for piece in &other.0 {
            match (self.0.last_mut(), piece) {
                (Some(Piece::Literal(before)), Piece::Literal(text)) => before.push_str(text),
                _ => self.0.push(piece.clone()),
            }
        }
    }

    /// Bytes of the literal parts and the names in it.
    pub(crate) fn len(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Literal(text) | Piece::Reference(text) => text.len(),
        };
        self.0.iter().map(len).sum()
    }

    /// The whole text, when all of it is known.
    pub(crate) fn known(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// What it refers to, when it is one reference and nothing else.
    pub(crate) fn as_reference(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Reference(to)] => Some(to),
            _ => None,
        }
    }

    /// Whether it begins with `prefix`; `None`: nobody can tell yet.
    pub(crate) fn starts_with(&self, prefix: &str) -> Option<bool> {
        match self.0.as_slice() {
            [Piece::Literal(text)] => Some(text.starts_with(prefix)),
            [Piece::Literal(text), ..] if text.len() >= prefix.len() => Some(text.starts_with(prefix)),
            [Piece::Literal(text), ..] if !prefix.starts_with(text.as_str()) => Some(false),
            [] => Some(prefix.is_empty()),
            _ => None,
        }
    }

    /// What stands behind `mark`, when a literal part holds it.
    pub(crate) fn behind(&self, mark: &str) -> Option<Self> {
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
    pub(crate) fn before(&self, mark: &str) -> Self {
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
    pub(crate) fn new(line: u32, kind: Kind) -> Self {
        Self { line, kind }
    }

    /// The member called `name`.
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.name == name)
    }

    /// The value of the member called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.member(name).map(|member| &member.value)
    }

    /// The value behind several names.
    pub(crate) fn find(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The members of an object; none when it is something else.
    pub(crate) fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Map(members) => members,
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => &[],
        }
    }

    /// The items of a list; one value stands for a list of one, none for an object.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => std::slice::from_ref(self),
            Kind::Unknown | Kind::Null | Kind::Map(_) => &[],
        }
    }

    pub(crate) fn text(&self) -> Option<&Text> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// A text of which all is known.
    pub(crate) fn known(&self) -> Option<&str> {
        self.text().and_then(Text::known)
    }

    /// A number, also one that is written as a text.
    pub(crate) fn number(&self) -> Option<f64> {
        match &self.kind {
            Kind::Number(number) => Some(*number),
            Kind::Text(text) => text.known()?.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// A truth value, also one that is written as a text.
    pub(crate) fn bool(&self) -> Option<bool> {
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
    pub(crate) fn is_unknown(&self) -> bool {
        match &self.kind {
            Kind::Unknown => true,
            Kind::List(items) => items.iter().any(Self::is_unknown),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_) => false,
        }
    }
}

/// The template of a file, its short tags written out: `!Ref X` becomes `{"Ref": "X"}`, `!Sub X` becomes `{"Fn::Sub": "X"}`.
pub(super) fn parse(text: &str) -> Result<Node, TemplateError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TemplateError::new(1, format!("it has {} bytes, allowed are {TEXT_BYTES_MAX}", text.len())));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // A tab is white space to JSON and nothing to YAML; inside strings JSON does not allow it.
    let spaced;
    let text = if text.trim_start().starts_with('{') && text.contains('\t') {
        spaced = text.replace('\t', " ");
        spaced.as_str()
    } else {
        text
    };
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |location| number(location.line()));
        let why = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
        let why = why.lines().next().unwrap_or_default();
        // It begins with the place, which stands in front of it anyway.
        let why = why.strip_prefix("error: line ").and_then(|rest| rest.split_once(": ")).map_or(why, |(_, why)| why);
        TemplateError::new(line, why)
    })
}

fn number(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Spanned::<Tagged<Untagged>>::deserialize(deserializer)?;
        let line = number(node.referenced.line());
        let Tagged(Untagged(kind), tag) = node.value;
        let name = match tag.as_deref().and_then(|tag| tag.strip_prefix('!')) {
            // `!` alone says that a scalar is a text.
            None | Some("") => return Ok(Self { line, kind }),
            Some(name @ ("Ref" | "Condition")) => name.to_owned(),
            Some(name) => format!("Fn::{name}"),
        };
        let member = Member { name, line, value: Self { line, kind } };
        Ok(Self { line, kind: Kind::Map(vec![member]) })
    }
}

/// A value whose line and tag somebody else looks at.
struct Untagged(Kind);

impl<'de> Deserialize<'de> for Untagged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Kind;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value of a template")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of a template are far below 2^53, or names that nobody computes with"
    )]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value as f64))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "numbers of a template are far below 2^53, or names that nobody computes with"
    )]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(Text::literal(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some((name, value)) = members.next_entry::<Spanned<String>, Node>()? {
            list.push(Member { line: number(name.referenced.line()), name: name.value, value });
        }
        Ok(Kind::Map(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(text: &str, path: &[&str]) -> u32 {
        let node = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        node.find(path).unwrap_or_else(|| panic!("{text}: {path:?} in {node:?}")).line
    }

    #[test]
    fn lines_of_values() {
        let table: [(&str, &[&str], u32); 6] = [
            ("a: 1\nb:\n  c: x\n", &["b", "c"], 3),
            ("a: 1\nb:\n  c: !Sub x\n", &["b", "c"], 3),
            ("a: 1\nb:\n  c: !Sub x\n", &["b", "c", "Fn::Sub"], 3),
            ("{\n\t\"a\": 1,\n\t\"b\": {\n\t\t\"c\": [1]\n\t}\n}\n", &["b", "c"], 4),
            ("x: &x\n  c: 1\nb: *x\n", &["b"], 3),
            ("b:\n  c: |\n    long\n    text\n", &["b", "c"], 3),
        ];
        for (text, path, line) in table {
            assert_eq!(line_of(text, path), line, "{text}");
        }
        let node = parse("a: 1\nb:\n\n  c:\n    - x\n").expect("a template");
        assert_eq!(node.get("b").and_then(|b| b.member("c")).map(|c| (c.line, c.value.line)), Some((4, 5)));
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (text, line) in [("a: 1\nb: [1\n", 2..=4), ("a: 1\nb: 2\nb: 3\n", 3..=3), ("a: *b\n", 1..=1)] {
            let error = parse(text).expect_err(text);
            assert!(line.contains(&error.line), "{text}: {error}");
            assert!(!error.why.contains("line ") && !error.why.is_empty(), "the line is said once: {error}");
        }
        assert!(parse(&format!("a: '{}'", "x".repeat(TEXT_BYTES_MAX))).is_err(), "too long");
        assert!(parse(&"[".repeat(100_000)).is_err(), "too deep");
    }

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
