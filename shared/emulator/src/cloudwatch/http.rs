//! The two wire protocols that SDKs speak to CloudWatch: smithy RPC v2 CBOR and AWS JSON 1.0.

use std::io::Read;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::cbor;
use crate::json::TIMESTAMP;

use super::CloudWatch;
use super::error::CloudWatchError;

/// Path of RPC v2 calls before the name of the operation, and prefix of `X-Amz-Target` in JSON.
const RPC_PATH: &str = "/service/GraniteServiceVersion20100801/operation/";
const TARGET: &str = "GraniteServiceVersion20100801.";
/// Largest body, in bytes, also when it was compressed.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Members of answers that are timestamps.
const TIMESTAMPS: [&str; 4] =
    ["Timestamps", "StateUpdatedTimestamp", "StateTransitionedTimestamp", "AlarmConfigurationUpdatedTimestamp"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Cbor,
    Json,
}

impl CloudWatch {
    /// Whether a request is for CloudWatch, by its path or `X-Amz-Target`.
    #[must_use]
    pub fn is_for(path: &str, headers: &HeaderMap) -> bool {
        operation(path, headers).is_some()
    }

    /// Answers one HTTP request in the protocol in which it was made. Authentication and authorisation are the caller's.
    ///
    /// * `path`: for example `/service/GraniteServiceVersion20100801/operation/DescribeAlarms`.
    /// * `body`: at most 1 MB, also when it was compressed with gzip.
    pub async fn answer(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        let Some((protocol, operation)) = operation(path, headers) else {
            let error = CloudWatchError::serialization("neither an RPC v2 CBOR nor an AWS JSON 1.0 call of CloudWatch");
            return response(Protocol::Json, Err(error));
        };
        let answer = match read(protocol, headers, body) {
            Ok(input) => self.call(operation, input).await,
            Err(error) => Err(error),
        };
        response(protocol, answer)
    }
}

fn operation<'a>(path: &'a str, headers: &'a HeaderMap) -> Option<(Protocol, &'a str)> {
    if let Some(operation) = path.strip_prefix(RPC_PATH) {
        return Some((Protocol::Cbor, operation));
    }
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    Some((Protocol::Json, target.strip_prefix(TARGET)?))
}

fn read(protocol: Protocol, headers: &HeaderMap, body: &[u8]) -> Result<Value, CloudWatchError> {
    let encoding = headers.get(header::CONTENT_ENCODING).map_or(Ok("identity"), HeaderValue::to_str);
    let unpacked = match encoding {
        Ok("identity" | "aws-chunked" | "") => None,
        Ok("gzip") => Some(unpack(body)?),
        Ok(_) | Err(_) => {
            return Err(CloudWatchError::serialization("Content-Encoding must be gzip or absent"));
        }
    };
    let body = unpacked.as_deref().unwrap_or(body);
    let wrong = |error: String| CloudWatchError::serialization(format!("could not read the body: {error}"));
    let input = match protocol {
        Protocol::Cbor | Protocol::Json if body.len() > MAX_BODY => {
            return Err(wrong(format!("it is longer than {MAX_BODY} bytes")));
        }
        Protocol::Cbor => cbor::decode(body).map_err(|error| wrong(error.to_string()))?,
        Protocol::Json if body.is_empty() => json!({}),
        Protocol::Json => serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?,
    };
    if input.is_object() { Ok(input) } else { Err(wrong("it is not an object".into())) }
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, CloudWatchError> {
    let limit = u64::try_from(MAX_BODY).unwrap_or(u64::MAX).saturating_add(1);
    let mut unpacked = Vec::new();
    match flate2::read::GzDecoder::new(body).take(limit).read_to_end(&mut unpacked) {
        Ok(_) => Ok(unpacked),
        Err(error) => Err(CloudWatchError::serialization(format!("could not unpack the gzip body: {error}"))),
    }
}

fn response(protocol: Protocol, answer: Result<Value, CloudWatchError>) -> Response<Body> {
    let (status, value, error) = match answer {
        Ok(value) => (200, value, None),
        Err(error) => {
            let value =
                json!({ "__type": format!("com.amazonaws.cloudwatch#{}", error.shape()), "message": error.message });
            // The protocol is compatible with the older query protocol: SDKs take the code from this header.
            (error.http_status, value, Some(format!("{};Sender", error.code)))
        }
    };
    let (content_type, body) = match protocol {
        Protocol::Cbor => ("application/cbor", cbor::encode(&with_timestamps(&value, false))),
        Protocol::Json => ("application/x-amz-json-1.0", value.to_string().into_bytes()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, content_type);
    set(HeaderName::from_static("x-amzn-requestid"), &format!("{:032x}", fastrand::u128(..)));
    if protocol == Protocol::Cbor {
        set(HeaderName::from_static("smithy-protocol"), "rpc-v2-cbor");
    }
    if let Some(error) = error {
        set(HeaderName::from_static("x-amzn-query-error"), &error);
    }
    response
}

/// `value` with the numbers of timestamp members marked, so that CBOR tags them.
fn with_timestamps(value: &Value, is_timestamp: bool) -> Value {
    match value {
        Value::Number(_) if is_timestamp => json!({ TIMESTAMP: value }),
        Value::Array(items) => items.iter().map(|item| with_timestamps(item, is_timestamp)).collect(),
        Value::Object(members) => {
            let mark = |(name, member): (&String, &Value)| {
                (name.clone(), with_timestamps(member, TIMESTAMPS.contains(&name.as_str())))
            };
            Value::Object(members.iter().map(mark).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
