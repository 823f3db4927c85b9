//! CBOR bodies of the smithy RPC v2 protocol, as JSON values.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "CBOR has many types that the protocol does not use; they are refused"
)]

use minicbor::data::{IanaTag, Tag, Type};
use minicbor::decode::Error as DecodeError;
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Number, Value};

/// Largest body, in bytes, and deepest nesting that is read.
pub const MAX_BODY: usize = 1 << 20;
const MAX_DEPTH: usize = 24;

/// Why a body could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CborError {
    /// Not CBOR, or cut short.
    #[error("invalid CBOR")]
    Invalid(#[from] DecodeError),
    /// More than [`MAX_BODY`] bytes.
    #[error("the body has more than {MAX_BODY} bytes")]
    TooLong,
    /// Nested more than 24 levels.
    #[error("the body is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// A type that has no JSON value.
    #[error("CBOR type {0} at byte {1} is not supported here")]
    Unsupported(String, usize),
    /// Bytes after the value.
    #[error("there are bytes after the value")]
    Trailing,
}

/// Reads one value. Timestamps (tag 1) become numbers: seconds since 1970. An empty body is an empty object.
///
/// # Errors
/// When `bytes` is not one CBOR value, is too long or too deep, or holds byte strings, NaN or infinities.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    if bytes.len() > MAX_BODY {
        return Err(CborError::TooLong);
    }
    let mut decoder = Decoder::new(bytes);
    let value = read(&mut decoder, 0)?;
    if decoder.position() < bytes.len() { Err(CborError::Trailing) } else { Ok(value) }
}

/// Writes `value`; numbers in members named in `timestamp_members` (also in lists there) get tag 1.
#[must_use]
pub fn encode(value: &Value, timestamp_members: &[&str]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    if let Err(error) = write(&mut encoder, value, timestamp_members, false) {
        // Writing to memory cannot fail; the error type has variants that only other values use.
        tracing::error!(%error, "could not write CBOR");
    }
    encoder.into_writer()
}

fn read(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CborError> {
    if depth > MAX_DEPTH {
        return Err(CborError::TooDeep);
    }
    let start = decoder.position();
    match decoder.datatype()? {
        Type::Bool => Ok(Value::Bool(decoder.bool()?)),
        Type::Null => {
            decoder.null()?;
            Ok(Value::Null)
        }
        Type::Undefined => {
            decoder.undefined()?;
            Ok(Value::Null)
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Ok(decoder.u64()?.into()),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Ok(decoder.i64()?.into()),
        Type::F16 | Type::F32 | Type::F64 => {
            let number = decoder.f64()?;
            let number = Number::from_f64(number).ok_or_else(|| CborError::Unsupported(number.to_string(), start))?;
            Ok(Value::Number(number))
        }
        Type::String => Ok(Value::String(decoder.str()?.to_owned())),
        Type::StringIndef => {
            let pieces = decoder.str_iter()?.collect::<Result<Vec<_>, _>>()?;
            Ok(Value::String(pieces.concat()))
        }
        Type::Array | Type::ArrayIndef => read_list(decoder, depth),
        Type::Map | Type::MapIndef => read_object(decoder, depth),
        Type::Tag => {
            let tag = decoder.tag()?;
            if tag != Tag::from(IanaTag::Timestamp) {
                return Err(CborError::Unsupported(tag.to_string(), start));
            }
            match read(decoder, depth + 1)? {
                Value::Number(seconds) => Ok(Value::Number(seconds)),
                _ => Err(CborError::Unsupported("timestamp that is not a number".into(), start)),
            }
        }
        other => Err(CborError::Unsupported(other.to_string(), start)),
    }
}

// A length is only believed item by item: each takes at least one byte, so nothing is allocated for what is not there.
fn read_list(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CborError> {
    let length = decoder.array()?;
    let mut items = Vec::new();
    while has_more(decoder, length, items.len())? {
        items.push(read(decoder, depth + 1)?);
    }
    Ok(Value::Array(items))
}

fn read_object(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, CborError> {
    let length = decoder.map()?;
    let mut object = Map::new();
    let mut members = 0;
    while has_more(decoder, length, members)? {
        let name = decoder.str()?.to_owned();
        object.insert(name, read(decoder, depth + 1)?);
        members += 1;
    }
    Ok(Value::Object(object))
}

fn has_more(decoder: &mut Decoder<'_>, length: Option<u64>, seen: usize) -> Result<bool, CborError> {
    match length {
        Some(length) => Ok(u64::try_from(seen).is_ok_and(|seen| seen < length)),
        None if decoder.datatype()? == Type::Break => {
            decoder.skip()?;
            Ok(false)
        }
        None => Ok(true),
    }
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write(encoder: &mut Encoder<Vec<u8>>, value: &Value, timestamps: &[&str], is_timestamp: bool) -> Written {
    match value {
        Value::Null => encoder.null().map(drop),
        Value::Bool(value) => encoder.bool(*value).map(drop),
        Value::Number(number) => {
            if is_timestamp {
                encoder.tag(IanaTag::Timestamp)?;
            }
            write_number(encoder, number)
        }
        Value::String(text) => encoder.str(text).map(drop),
        Value::Array(items) => {
            encoder.array(long(items.len()))?;
            items.iter().try_for_each(|item| write(encoder, item, timestamps, is_timestamp))
        }
        Value::Object(object) => {
            encoder.map(long(object.len()))?;
            object.iter().try_for_each(|(name, member)| {
                encoder.str(name)?;
                write(encoder, member, timestamps, timestamps.contains(&name.as_str()))
            })
        }
    }
}

fn write_number(encoder: &mut Encoder<Vec<u8>>, number: &Number) -> Written {
    if let Some(number) = number.as_u64() {
        encoder.u64(number).map(drop)
    } else if let Some(number) = number.as_i64() {
        encoder.i64(number).map(drop)
    } else {
        encoder.f64(number.as_f64().unwrap_or_default()).map(drop)
    }
}

fn long(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-zA-Z]{1,6}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_json()) {
            prop_assert_eq!(decode(&encode(&value, &[])).unwrap(), value.clone());
            prop_assert_eq!(decode(&encode(&value, &["a", "b", "c"])).unwrap(), value, "tags change no value");
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(&bytes));
        }
    }

    #[test]
    fn timestamps_are_tagged_by_member_name() {
        let value = json!({ "Timestamps": [1.5], "Values": [2.0], "Period": 60 });
        let mut expected = vec![0xa3];
        let mut member = |name: &str, rest: &[u8]| {
            expected.push(0x60 | u8::try_from(name.len()).unwrap());
            expected.extend(name.as_bytes());
            expected.extend(rest);
        };
        member("Period", &[0x18, 60]);
        member("Timestamps", &[0x81, 0xc1, 0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
        member("Values", &[0x81, 0xfb, 0x40, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode(&value, &["Timestamps"]), expected);
    }

    /// What the Rust SDK sends: maps and lists of indefinite length, tag 1 with a double.
    #[test]
    fn indefinite_lengths_and_half_floats_are_read() {
        let table: [(&str, &[u8], Value); 6] = [
            ("map", &[0xbf, 0x61, b'a', 0x9f, 1, 0x20, 0xff, 0xff], json!({ "a": [1, -1] })),
            ("timestamp", &[0xa1, 0x61, b't', 0xc1, 0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], json!({ "t": 1.5 })),
            ("whole timestamp", &[0xc1, 0x18, 60], json!(60)),
            ("half float", &[0xf9, 0x3e, 0x00], json!(1.5)),
            ("text in pieces", &[0x7f, 0x61, b'a', 0x61, b'b', 0xff], json!("ab")),
            ("nothing", &[], json!({})),
        ];
        for (case, bytes, expected) in table {
            assert_eq!(decode(bytes).unwrap(), expected, "{case}");
        }
    }

    #[test]
    fn hostile_bodies_are_refused() {
        let deep = vec![0x81; 1000];
        let long = vec![0; MAX_BODY + 1];
        let table: [(&str, &[u8], &str); 9] = [
            ("deep", &deep, "deep"),
            ("long", &long, "more than"),
            ("huge list", &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "invalid CBOR"),
            ("cut short", &[0xa1, 0x61], "invalid CBOR"),
            ("NaN", &[0xf9, 0x7e, 0x00], "NaN"),
            ("bytes", &[0x41, 0], "not supported"),
            ("other tag", &[0xc2, 0x01], "not supported"),
            ("trailing", &[0x01, 0x01], "after the value"),
            ("number as key", &[0xa1, 0x01, 0x01], "invalid CBOR"),
        ];
        for (case, bytes, message) in table {
            let error = decode(bytes).unwrap_err().to_string();
            assert!(error.contains(message), "{case}: {error}");
        }
    }
}
