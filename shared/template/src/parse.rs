//! The text of a template: YAML with CloudFormation's short tags, or JSON.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Spanned, Tagged};

use super::{Kind, Member, Node, TemplateError, Text};

/// CloudFormation takes no longer template.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// The template of a file, its short tags written out: `!Ref X` becomes `{"Ref": "X"}`, `!Sub X` becomes `{"Fn::Sub": "X"}`.
pub(crate) fn parse(text: &str) -> Result<Node, TemplateError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TemplateError::new(1, "", format!("it has {} bytes, allowed are {TEXT_BYTES_MAX}", text.len())));
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
        TemplateError::new(line, "", why)
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
    use serde_json::json;

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
    fn short_tags_are_written_out() {
        let table = [
            ("!Ref Table", json!({"Ref": "Table"})),
            ("!GetAtt Table.Arn", json!({"Fn::GetAtt": "Table.Arn"})),
            ("!Sub '${A}-b'", json!({"Fn::Sub": "${A}-b"})),
            ("!Sub ['${a}', {a: !Ref B}]", json!({"Fn::Sub": ["${a}", {"a": {"Ref": "B"}}]})),
            (
                "!If [Has, !Ref A, !Ref 'AWS::NoValue']",
                json!({"Fn::If": ["Has", {"Ref": "A"}, {"Ref": "AWS::NoValue"}]}),
            ),
            ("!Not [!Condition Has]", json!({"Fn::Not": [{"Condition": "Has"}]})),
            ("!Equals [!Ref A, '']", json!({"Fn::Equals": [{"Ref": "A"}, ""]})),
            ("a: !Join\n  - ','\n  - [x, 1]", json!({"a": {"Fn::Join": [",", ["x", 1]]}})),
            ("!Frobnicate {a: 1}", json!({"Fn::Frobnicate": {"a": 1}})),
            ("[2012-10-17, 2010-09-09]", json!(["2012-10-17", "2010-09-09"])),
            (
                "{a: true, b: null, c: 1.5, d: -3, e: 'true', f: !!str 12}",
                json!({"a": true, "b": null, "c": 1.5, "d": -3, "e": "true", "f": "12"}),
            ),
            ("a: |\n  x\n  y\n", json!({"a": "x\ny\n"})),
        ];
        for (text, expected) in table {
            let found = parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_json();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_document_says_where() {
        let table = [("a: [1", "line 1"), ("a: 1\na: 2", "line 2"), ("{x: 1}\n---\n{y: 1}", "")];
        for (text, part) in table {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let deep = "[".repeat(5_000);
        assert!(parse(&deep).is_err());
        let long = "#".repeat(TEXT_BYTES_MAX + 1);
        assert!(parse(&long).unwrap_err().to_string().contains("bytes"));
    }
}
