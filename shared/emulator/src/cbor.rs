//! CBOR to and from [`Value`], as smithy's RPC v2 uses it.
//!
//! Timestamps are tag 1: read as a plain number of seconds, written from the emulator's timestamp objects
//! (`{"$timestamp": seconds}`). Byte strings become base64 text; undefined becomes null.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};
use serde_json::{Map, Number, Value};

use crate::json::TIMESTAMP;

/// Deepest nesting that is read; deeper input is refused so that it cannot exhaust the stack.
const DEPTH_MAX: usize = 64;

/// Why bytes are no CBOR document that the emulator understands.
#[derive(Debug, thiserror::Error)]
#[error("not a readable CBOR document at byte {position}: {message}")]
pub struct CborError {
    position: usize,
    message: String,
}

/// The document in `bytes`; an empty body is an empty object.
///
/// # Errors
/// When the bytes are no CBOR, nest deeper than 64, or hold a map whose keys are no text.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let mut decoder = Decoder::new(bytes);
    item(&mut decoder, 0).map_err(|message| CborError { position: decoder.position(), message })
}

/// `value` as CBOR.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    match try_write(&mut encoder, value) {
        Ok(()) => encoder.into_writer(),
        // Writing into a vector has no way to fail; null keeps the answer well-formed all the same.
        Err(_) => vec![0xf6],
    }
}

fn try_write(
    encoder: &mut Encoder<Vec<u8>>,
    value: &Value,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    match value {
        Value::Null => encoder.null()?.ok(),
        Value::Bool(flag) => encoder.bool(*flag)?.ok(),
        Value::Number(number) => write_number(encoder, number),
        Value::String(text) => encoder.str(text)?.ok(),
        Value::Array(items) => {
            encoder.array(u64::try_from(items.len()).unwrap_or(u64::MAX))?;
            items.iter().try_for_each(|item| try_write(encoder, item))
        }
        Value::Object(members) => match members.get(TIMESTAMP).and_then(Value::as_f64) {
            Some(seconds) if members.len() == 1 => encoder.tag(Tag::new(1))?.f64(seconds)?.ok(),
            Some(_) | None => {
                encoder.map(u64::try_from(members.len()).unwrap_or(u64::MAX))?;
                members.iter().try_for_each(|(key, member)| {
                    encoder.str(key)?;
                    try_write(encoder, member)
                })
            }
        },
    }
}

fn write_number(
    encoder: &mut Encoder<Vec<u8>>,
    number: &Number,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(whole), _, _) => encoder.u64(whole)?.ok(),
        (None, Some(whole), _) => encoder.i64(whole)?.ok(),
        (None, None, Some(real)) => encoder.f64(real)?.ok(),
        (None, None, None) => encoder.null()?.ok(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "CBOR has more types than the protocol uses; the last arm refuses them"
)]
fn item(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err(format!("nested deeper than {DEPTH_MAX}"));
    }
    match decoder.datatype().map_err(words)? {
        Type::Bool => decoder.bool().map(Value::Bool).map_err(words),
        Type::Null => decoder.null().map(|()| Value::Null).map_err(words),
        Type::Undefined => decoder.undefined().map(|()| Value::Null).map_err(words),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64().map(Value::from).map_err(words),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => decoder.i64().map(Value::from).map_err(words),
        Type::F16 => decoder.f16().map(|real| float(f64::from(real))).map_err(words),
        Type::F32 => decoder.f32().map(|real| float(f64::from(real))).map_err(words),
        Type::F64 => decoder.f64().map(float).map_err(words),
        Type::String | Type::StringIndef => text(decoder).map(Value::String),
        Type::Bytes | Type::BytesIndef => bytes(decoder),
        Type::Array | Type::ArrayIndef => array(decoder, depth),
        Type::Map | Type::MapIndef => map(decoder, depth),
        Type::Tag => {
            decoder.tag().map_err(words)?;
            item(decoder, depth + 1)
        }
        other => Err(format!("unexpected {other}")),
    }
}

fn array(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    let length = decoder.array().map_err(words)?;
    let mut items = Vec::new();
    while more(decoder, length, items.len())? {
        items.push(item(decoder, depth + 1)?);
    }
    Ok(Value::Array(items))
}

fn map(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    let length = decoder.map().map_err(words)?;
    let mut members = Map::new();
    let mut read = 0;
    while more(decoder, length, read)? {
        let key = text(decoder)?;
        members.insert(key, item(decoder, depth + 1)?);
        read += 1;
    }
    Ok(Value::Object(members))
}

/// Whether another item follows; takes the break of an indefinite length.
fn more(decoder: &mut Decoder<'_>, length: Option<u64>, read: usize) -> Result<bool, String> {
    match length {
        Some(length) => Ok(u64::try_from(read).unwrap_or(u64::MAX) < length),
        None if decoder.datatype().map_err(words)? == Type::Break => {
            decoder.skip().map_err(words)?;
            Ok(false)
        }
        None => Ok(true),
    }
}

fn text(decoder: &mut Decoder<'_>) -> Result<String, String> {
    let mut whole = String::new();
    for piece in decoder.str_iter().map_err(words)? {
        whole.push_str(piece.map_err(words)?);
    }
    Ok(whole)
}

fn bytes(decoder: &mut Decoder<'_>) -> Result<Value, String> {
    let mut whole = Vec::new();
    for piece in decoder.bytes_iter().map_err(words)? {
        whole.extend_from_slice(piece.map_err(words)?);
    }
    Ok(Value::String(STANDARD.encode(whole)))
}

/// A number, or null for NaN and the infinities, which JSON cannot say.
fn float(real: f64) -> Value {
    Number::from_f64(real).map_or(Value::Null, Value::Number)
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn words(error: minicbor::decode::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::timestamp;
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
        fn whatever_is_written_is_read_back(value in any_json()) {
            prop_assert_eq!(decode(&encode(&value)).unwrap(), value);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(&bytes));
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let value = json!({
            "text": "Überblick", "whole": 7, "negative": -7, "real": 0.1, "one": 1.0, "yes": true, "none": null,
            "list": [1, "two", {"three": 3}], "empty": {}
        });
        assert_eq!(decode(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn timestamps_carry_tag_one_and_read_as_seconds() {
        let bytes = encode(&timestamp(1_795_169_726_900));
        assert_eq!(bytes.first(), Some(&0xc1), "{bytes:?}");
        assert_eq!(decode(&bytes).unwrap(), json!(1_795_169_726.9));
    }

    #[test]
    fn indefinite_lengths_and_byte_strings_are_read() {
        // {_ "a": [_ 1, 2], "b": h'0102'}
        let bytes = [0xbf, 0x61, b'a', 0x9f, 1, 2, 0xff, 0x61, b'b', 0x42, 1, 2, 0xff];
        assert_eq!(decode(&bytes).unwrap(), json!({"a": [1, 2], "b": "AQI="}));
        assert_eq!(decode(&[]).unwrap(), json!({}));
    }

    #[test]
    fn broken_documents_are_refused_without_a_panic() {
        let deep = vec![0x81; 10_000];
        let table: [(&str, &[u8]); 5] = [
            ("cut in a map", &[0xa1, 0x61, b'a']),
            ("length beyond the end", &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            ("number as key", &[0xa1, 0x01, 0x01]),
            ("nested too deep", &deep),
            ("lone break", &[0xff]),
        ];
        for (case, bytes) in table {
            assert!(decode(bytes).is_err(), "{case}");
        }
    }
}
