//! JSON values as DynamoDB attribute values and back.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// Why an item is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    /// An attribute that cannot be read, at whatever depth.
    #[error("attribute `{name}`: {why}")]
    Attribute {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: Box<ValueError>,
    },
    /// A set or binary value.
    #[error("a set or binary value, which Snapback never writes")]
    Foreign,
    /// A number with more digits than ours have.
    #[error("`{text}` is not a number that fits 64 bits")]
    Number {
        /// As DynamoDB sent it.
        text: String,
    },
}

/// An item as the SDK sends it. A null at the top counts as absent.
pub(super) fn to_attributes(item: Map<String, Value>) -> HashMap<String, AttributeValue> {
    item.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, to_attribute(value))).collect()
}

/// An item as the wire formats read it; the error names the attribute.
pub(super) fn from_attributes(item: &HashMap<String, AttributeValue>) -> Result<Map<String, Value>, ValueError> {
    let entry = |(name, value): (&String, &AttributeValue)| match from_attribute(value) {
        Ok(value) => Ok((name.clone(), value)),
        Err(why) => Err(ValueError::Attribute { name: name.clone(), why: Box::new(why) }),
    };
    item.iter().map(entry).collect()
}

fn to_attribute(value: Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text),
        Value::Array(values) => AttributeValue::L(values.into_iter().map(to_attribute).collect()),
        Value::Object(map) => {
            AttributeValue::M(map.into_iter().map(|(name, value)| (name, to_attribute(value))).collect())
        }
    }
}

fn from_attribute(value: &AttributeValue) -> Result<Value, ValueError> {
    if let AttributeValue::S(text) = value {
        Ok(Value::String(text.clone()))
    } else if let AttributeValue::N(number) = value {
        from_number(number)
    } else if let AttributeValue::Bool(flag) = value {
        Ok(Value::Bool(*flag))
    } else if let AttributeValue::Null(_) = value {
        Ok(Value::Null)
    } else if let AttributeValue::L(values) = value {
        values.iter().map(from_attribute).collect::<Result<_, _>>().map(Value::Array)
    } else if let AttributeValue::M(map) = value {
        from_attributes(map).map(Value::Object)
    } else {
        Err(ValueError::Foreign)
    }
}

/// A whole number stays one; DynamoDB gives `1.0` back as `1`, so readers of fractions accept whole numbers.
fn from_number(text: &str) -> Result<Value, ValueError> {
    let number = text
        .parse::<i64>()
        .map(Number::from)
        .or_else(|_| text.parse::<u64>().map(Number::from))
        .ok()
        .or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64));
    number.map(Value::Number).ok_or_else(|| ValueError::Number { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::primitives::Blob;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1.0e15..1.0e15_f64).prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z_]{1,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_json()) {
            prop_assert_eq!(from_attribute(&to_attribute(value.clone())).unwrap(), value);
        }

        #[test]
        fn no_number_panics(text in ".{0,40}") {
            let _ = from_number(&text);
        }
    }

    #[test]
    fn nulls_at_the_top_are_absent() {
        let Value::Object(item) = json!({ "pk": "a", "gone": null, "list": [null] }) else { unreachable!("an object") };
        let attributes = to_attributes(item);
        assert!(!attributes.contains_key("gone"));
        assert_eq!(attributes["list"], AttributeValue::L(vec![AttributeValue::Null(true)]));
    }

    #[test]
    fn foreign_types_and_numbers_are_errors_that_name_the_attribute() {
        let table = [
            AttributeValue::Ss(vec!["a".to_owned()]),
            AttributeValue::B(Blob::new(vec![1])),
            AttributeValue::N("1e999".to_owned()),
            AttributeValue::N(String::new()),
        ];
        for value in table {
            let item = HashMap::from([("strange".to_owned(), value)]);
            let error = from_attributes(&item).unwrap_err();
            assert!(error.to_string().starts_with("attribute `strange`: "), "{error}");
        }
    }
}
