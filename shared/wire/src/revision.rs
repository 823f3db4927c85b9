//! Identity of a Lambda revision.

use crate::record::sha256_hex;
use serde_json::Value;
use snapback_core::RevisionId;

/// Identity of what runs: SHA-256 over function ARN, CodeSha256 and published configuration.
///
/// * `function_arn`: without a version.
/// * `code_sha256`: as Lambda gives it, base64.
/// * `configuration`: what was published with the version and changes how it runs (runtime, handler, environment, layers,
///   memory, …), without what differs between versions by nature (version, ARN, times). The order of keys does not matter.
#[must_use]
#[expect(clippy::expect_used, reason = "64 lower-case hexadecimal digits are what a revision identity is")]
pub fn revision_id(function_arn: &str, code_sha256: &str, configuration: &Value) -> RevisionId {
    let mut canonical = String::new();
    write_canonical(configuration, &mut canonical);
    RevisionId::parse(sha256_hex(&[function_arn, code_sha256, &canonical]))
        .expect("SHA-256 in hexadecimal digits is a revision identity")
}

/// JSON with sorted keys, whatever order the map has.
fn write_canonical(value: &Value, text: &mut String) {
    if let Some(map) = value.as_object() {
        let mut members: Vec<_> = map.iter().collect();
        members.sort_by_key(|(name, _)| *name);
        text.push('{');
        for (name, value) in members {
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            write_canonical(value, text);
            text.push(',');
        }
        text.push('}');
    } else if let Some(list) = value.as_array() {
        text.push('[');
        for value in list {
            write_canonical(value, text);
            text.push(',');
        }
        text.push(']');
    } else {
        text.push_str(&value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:checkout";

    #[test]
    fn every_part_counts_and_the_order_of_keys_does_not() {
        let configuration = json!({ "Runtime": "provided.al2023", "MemorySize": 128, "Layers": [1, 2] });
        let id = revision_id(ARN, "abc=", &configuration);
        let reordered: Value =
            serde_json::from_str(r#"{"Layers":[1,2],"MemorySize":128,"Runtime":"provided.al2023"}"#).unwrap();
        assert_eq!(id, revision_id(ARN, "abc=", &reordered));
        let others = [
            revision_id("arn:other", "abc=", &configuration),
            revision_id(ARN, "abd=", &configuration),
            revision_id(ARN, "abc=", &json!({ "Runtime": "provided.al2023", "MemorySize": 256, "Layers": [1, 2] })),
            revision_id(ARN, "abc=", &json!({ "Runtime": "provided.al2023", "MemorySize": 128, "Layers": [2, 1] })),
            revision_id(&ARN[..ARN.len() - 1], "tabc=", &configuration),
        ];
        for other in others {
            assert_ne!(id, other);
        }
    }
}
