//! The text of a template: YAML with CloudFormation's short tags, or JSON.

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value, json};
use serde_saphyr::Tagged;

use super::TemplateError;

/// CloudFormation takes no longer template.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// The template with short tags written out: `!Ref X` becomes `{"Ref": "X"}`, `!Sub X` becomes `{"Fn::Sub": "X"}`.
pub(super) fn parse(text: &str) -> Result<Value, TemplateError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TemplateError::at("", format!("it has {} bytes, allowed are {TEXT_BYTES_MAX}", text.len())));
    }
    let node: Node = serde_saphyr::from_str(text).map_err(|error| TemplateError::at("", error.to_string()))?;
    Ok(node.0)
}

/// A value with its tag.
struct Node(Value);

/// A value whose tag, if any, somebody else looks at.
struct Untagged(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(Untagged(value), tag) = Tagged::deserialize(deserializer)?;
        match tag.as_deref().and_then(|tag| tag.strip_prefix('!')) {
            // `!` alone says that a scalar is a text.
            None | Some("") => Ok(Self(value)),
            Some(name @ ("Ref" | "Condition")) => Ok(Self(json!({ name: value }))),
            Some(name) => Ok(Self(json!({ format!("Fn::{name}"): value }))),
        }
    }
}

impl<'de> Deserialize<'de> for Untagged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a value of a template")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Node(value))) = members.next_entry::<String, Node>()? {
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let found = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_template_says_where() {
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
