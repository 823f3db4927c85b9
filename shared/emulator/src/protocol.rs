//! The wire protocols of AWS: which call a request is, and how an answer or an error is written for it.

use std::future::Future;
use std::pin::Pin;

use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderMap, Method};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::access::action_of;
use crate::iam::Ask;
use crate::json::{flatten_timestamps, percent_decode, text, uuid};
use crate::parts::ApiError;
use crate::rest_routes;

/// A boxed future, so that services can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a request is encoded, and so how its answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// AWS JSON 1.0 (DynamoDB, CloudWatch).
    Json10,
    /// AWS JSON 1.1 (CodeDeploy, SSM, EventBridge).
    Json11,
    /// Smithy RPC v2 CBOR.
    Cbor,
    /// Form-encoded `Action=`, XML answers (SNS).
    Query,
    /// REST with JSON bodies (Lambda, Scheduler).
    RestJson,
}

/// One call as a service sees it.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    /// Access key id of the caller; each function has its own.
    pub principal: String,
    /// Prefix of the service's IAM actions: `codedeploy`, `cloudwatch`, `dynamodb`, `events`, `lambda`, `scheduler`, `sns`, `ssm`.
    pub service: &'static str,
    /// Operation as the API names it, for example `StopDeployment`; for an unknown REST route its method and path.
    pub operation: String,
    /// Encoding of the request.
    pub protocol: Protocol,
    /// HTTP method.
    pub method: Method,
    /// Path, still percent-encoded, without query.
    pub path: String,
    /// Query string without `?`, still encoded; empty when there is none.
    pub query: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
    /// The body decoded: the members of the input; for `Query` a flat object of texts; null when a REST body is no JSON.
    pub input: Value,
}

impl ApiRequest {
    /// A call that did not come over the wire. `service` is the prefix of its IAM actions.
    #[must_use]
    pub fn new(principal: &str, service: &'static str, operation: &str, input: Value) -> Self {
        Self {
            principal: principal.to_owned(),
            service,
            operation: operation.to_owned(),
            protocol: Protocol::Json11,
            method: Method::POST,
            path: "/".to_owned(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::from(input.to_string()),
            input,
        }
    }

    /// The caller wants to do this on `resource`.
    #[must_use]
    pub fn ask(&self, resource: impl Into<String>) -> Ask {
        Ask::new(&self.principal, action_of(self.service, &self.operation), resource)
    }
}

/// What a service answers.
#[derive(Debug, Clone)]
pub enum ApiResponse {
    /// Members of the output; encoded in the caller's protocol.
    Output(Value),
    /// An error of the API.
    Fault(ApiFault),
    /// Bytes that the service encoded itself.
    Raw(RawResponse),
}

/// Bytes that a service encoded itself.
#[derive(Debug, Clone)]
pub struct RawResponse {
    /// HTTP status.
    pub status: u16,
    /// Headers, `content-type` among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Error code for the call log, `None` when the call went well.
    pub error: Option<String>,
}

impl RawResponse {
    /// The answer of a part that speaks HTTP itself; the error code for the call log is found in the header
    /// `x-amzn-errortype` or the member `__type`, else it is the status.
    #[must_use]
    pub fn from_http(status: u16, headers: &HeaderMap, body: Bytes) -> Self {
        let error = (status >= 400).then(|| error_code(headers, &body).unwrap_or_else(|| status.to_string()));
        let texts =
            headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        Self { status, headers: texts.collect(), body, error }
    }
}

/// Name of the exception in an error answer, without its namespace.
fn error_code(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let header = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let member = || {
        let value = serde_json::from_slice(body).ok().or_else(|| crate::cbor::decode(body).ok())?;
        text(&value, "__type").map(str::to_owned)
    };
    let full = header.or_else(member)?;
    let name = full.split(':').next().unwrap_or(&full);
    Some(name.rsplit('#').next().unwrap_or(name).to_owned())
}

/// An error of an API: HTTP status, the name of the exception, a text for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiFault {
    /// HTTP status.
    pub status: u16,
    /// Exception name, for example `DeploymentDoesNotExistException`.
    pub code: String,
    /// Text for people.
    pub message: String,
}

impl ApiFault {
    /// A client error (400) with the exception name `code`.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.into(), message: message.into() }
    }

    /// The same with another HTTP status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The answer to a call that the emulator does not have.
    #[must_use]
    pub fn unsupported(service: &str, operation: &str) -> Self {
        Self::new("UnknownOperationException", format!("the emulator has no {service}:{operation}"))
    }
}

impl From<ApiError> for ApiFault {
    fn from(error: ApiError) -> Self {
        let status = match error.code.as_str() {
            "ResourceNotFoundException" => 404,
            "ResourceConflictException" | "ConflictException" => 409,
            "TooManyRequestsException" => 429,
            _ => 400,
        };
        Self { status, code: error.code, message: error.message }
    }
}

impl From<Result<Value, ApiFault>> for ApiResponse {
    fn from(result: Result<Value, ApiFault>) -> Self {
        match result {
            Ok(output) => Self::Output(output),
            Err(fault) => Self::Fault(fault),
        }
    }
}

/// A part of the emulator that answers the calls of one AWS service.
pub trait Service: Send + Sync {
    /// Answers one call. The call was admitted already; errors of the API are answers.
    fn call(&self, request: ApiRequest) -> BoxFuture<'_, ApiResponse>;

    /// What the caller must be allowed for this call; one action without resource, unless the service says otherwise.
    fn asks(&self, request: &ApiRequest) -> Vec<Ask> {
        vec![request.ask("*")]
    }
}

/// Which call a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identified {
    pub(crate) service: &'static str,
    pub(crate) operation: String,
    pub(crate) protocol: Protocol,
    /// Members of a form-encoded body, when it is one.
    pub(crate) form: Option<Vec<(String, String)>>,
}

/// Service (IAM prefix) and JSON protocol behind the prefix of `X-Amz-Target`, or the service part of an RPC v2 path.
const TARGETS: [(&str, &str, Protocol); 5] = [
    ("CodeDeploy_20141006", "codedeploy", Protocol::Json11),
    ("DynamoDB_20120810", "dynamodb", Protocol::Json10),
    ("AmazonSSM", "ssm", Protocol::Json11),
    ("AWSEvents", "events", Protocol::Json11),
    ("GraniteServiceVersion20100801", "cloudwatch", Protocol::Json10),
];

/// Service behind the `Version` of the query protocol.
const QUERY_VERSIONS: [(&str, &str); 2] = [("2010-03-31", "sns"), ("2010-08-01", "cloudwatch")];

/// Says which call a request is, from header, path or form.
pub(crate) fn identify(method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<Identified, ApiFault> {
    if let Some(target) = headers.get("x-amz-target").and_then(|value| value.to_str().ok()) {
        let (prefix, operation) = target.split_once('.').unwrap_or((target, ""));
        return known_target(prefix, operation, None);
    }
    if let Some((prefix, operation)) = path.strip_prefix("/service/").and_then(|rest| rest.split_once("/operation/")) {
        return known_target(prefix, operation, Some(Protocol::Cbor));
    }
    if let Some((service, operation)) = rest_routes::find(method, path) {
        return Ok(Identified { service, operation, protocol: Protocol::RestJson, form: None });
    }
    let form = parse_form(&String::from_utf8_lossy(body));
    let member = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let (Some(operation), Some(version)) = (member("Action"), member("Version")) else {
        let message = format!("the emulator has no {method} {path} (no X-Amz-Target, no RPC path, no Action)");
        return Err(ApiFault::new("UnknownOperationException", message).with_status(404));
    };
    let service =
        QUERY_VERSIONS.iter().find(|(known, _)| *known == version).map(|(_, service)| *service).ok_or_else(|| {
            ApiFault::new("InvalidAction", format!("the emulator has no action {operation} of version {version}"))
        })?;
    Ok(Identified { service, operation, protocol: Protocol::Query, form: Some(form) })
}

fn known_target(prefix: &str, operation: &str, protocol: Option<Protocol>) -> Result<Identified, ApiFault> {
    let (_, service, json) = TARGETS.iter().find(|(known, _, _)| *known == prefix).ok_or_else(|| {
        ApiFault::new("UnknownOperationException", format!("the emulator has no {prefix}.{operation}"))
    })?;
    let protocol = protocol.unwrap_or(*json);
    Ok(Identified { service, operation: operation.to_owned(), protocol, form: None })
}

/// Members of a form-encoded text, in their order.
fn parse_form(body: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode(&text.replace('+', " "));
    body.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// The members of a request's input; `null` when the service reads the body by itself.
pub(crate) fn decode_input(call: &Identified, headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiFault> {
    let broken = |words: String| ApiFault::new("SerializationException", words);
    // SDKs pack what they tell CloudWatch when it is long.
    if call.service == "cloudwatch" && headers.contains_key(CONTENT_ENCODING) {
        return Ok(Value::Null);
    }
    match call.protocol {
        Protocol::Json10 | Protocol::Json11 if body.is_empty() => Ok(json!({})),
        Protocol::Json10 | Protocol::Json11 => {
            serde_json::from_slice(body).map_err(|error| broken(format!("the body is no JSON: {error}")))
        }
        Protocol::Cbor => crate::cbor::decode(body).map_err(|error| broken(error.to_string())),
        Protocol::Query => Ok(call.form.iter().flatten().map(|(k, v)| (k.clone(), json!(v))).collect()),
        // A Lambda payload may be anything; the service reads the bytes then.
        Protocol::RestJson => Ok(serde_json::from_slice(body).unwrap_or(Value::Null)),
    }
}

/// `response` in the caller's protocol, ready for HTTP.
pub(crate) fn encode(service: &str, operation: &str, protocol: Protocol, response: ApiResponse) -> RawResponse {
    match response {
        ApiResponse::Raw(raw) => raw,
        ApiResponse::Output(value) => encode_output(service, operation, protocol, value),
        ApiResponse::Fault(fault) => encode_fault(service, protocol, &fault),
    }
}

fn encode_output(service: &str, operation: &str, protocol: Protocol, value: Value) -> RawResponse {
    let (headers, body) = match protocol {
        Protocol::Json10 | Protocol::Json11 | Protocol::RestJson => {
            (json_headers(protocol), flatten_timestamps(value).to_string().into_bytes())
        }
        Protocol::Cbor => (cbor_headers(), crate::cbor::encode(&value)),
        Protocol::Query => {
            let result = xml_element(&format!("{operation}Result"), &flatten_timestamps(value));
            let xml = format!(
                "<{operation}Response xmlns=\"{}\">{result}<ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{operation}Response>",
                xml_namespace(service),
                uuid()
            );
            (xml_headers(), xml.into_bytes())
        }
    };
    RawResponse { status: 200, headers, body: body.into(), error: None }
}

fn encode_fault(service: &str, protocol: Protocol, fault: &ApiFault) -> RawResponse {
    let ApiFault { status, code, message } = fault;
    let kind = if *status < 500 { "Sender" } else { "Receiver" };
    let (headers, body) = match protocol {
        Protocol::Json10 | Protocol::Json11 => {
            let body = json!({"__type": code, "message": message});
            (json_headers(protocol), body.to_string().into_bytes())
        }
        Protocol::RestJson => {
            let mut headers = json_headers(protocol);
            headers.push(("x-amzn-errortype".to_owned(), code.clone()));
            let body = json!({"Type": if *status < 500 { "User" } else { "Service" }, "Message": message});
            (headers, body.to_string().into_bytes())
        }
        Protocol::Cbor => {
            let body = crate::cbor::encode(&json!({"__type": code, "message": message}));
            (cbor_headers(), body)
        }
        Protocol::Query => {
            let error = json!({"Type": kind, "Code": code, "Message": message});
            let xml = format!(
                "<ErrorResponse xmlns=\"{}\">{}<RequestId>{}</RequestId></ErrorResponse>",
                xml_namespace(service),
                xml_element("Error", &error),
                uuid()
            );
            (xml_headers(), xml.into_bytes())
        }
    };
    RawResponse { status: *status, headers, body: body.into(), error: Some(code.clone()) }
}

fn json_headers(protocol: Protocol) -> Vec<(String, String)> {
    let kind = match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        Protocol::Cbor | Protocol::Query | Protocol::RestJson => "application/json",
    };
    headers(kind)
}

fn cbor_headers() -> Vec<(String, String)> {
    let mut list = headers("application/cbor");
    list.push(("smithy-protocol".to_owned(), "rpc-v2-cbor".to_owned()));
    list
}

fn xml_headers() -> Vec<(String, String)> {
    headers("text/xml")
}

fn headers(content_type: &str) -> Vec<(String, String)> {
    vec![("content-type".to_owned(), content_type.to_owned()), ("x-amzn-requestid".to_owned(), uuid())]
}

fn xml_namespace(service: &str) -> &'static str {
    match service {
        "cloudwatch" => "http://monitoring.amazonaws.com/doc/2010-08-01/",
        _ => "http://sns.amazonaws.com/doc/2010-03-31/",
    }
}

/// `value` as an element: objects nest, lists become `<member>` elements, as the query protocol writes them.
fn xml_element(name: &str, value: &Value) -> String {
    let inner = match value {
        Value::Object(members) => members.iter().map(|(key, member)| xml_element(key, member)).collect(),
        Value::Array(items) => items.iter().map(|item| xml_element("member", item)).collect::<String>(),
        Value::String(text) => xml_escape(text),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    format!("<{name}>{inner}</{name}>")
}

fn xml_escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The access key id of a SigV4 `Authorization` header, `anonymous` without one. Signatures are not checked.
pub(crate) fn principal(headers: &HeaderMap) -> String {
    headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once("Credential="))
        .and_then(|(_, rest)| rest.split(['/', ',']).next())
        .filter(|key| !key.is_empty())
        .unwrap_or("anonymous")
        .to_owned()
}

/// The required text at `key`, else the exception `code`.
pub(crate) fn required<'a>(input: &'a Value, key: &str, code: &str) -> Result<&'a str, ApiFault> {
    text(input, key).ok_or_else(|| ApiFault::new(code, format!("`{key}` is required")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn a_request_names_its_service_operation_and_protocol() {
        let target = |value: &str| headers_with("x-amz-target", value);
        let none = HeaderMap::new();
        // (case, method, path, headers, body, service, operation, protocol)
        let table = [
            (
                "json 1.1",
                Method::POST,
                "/",
                target("CodeDeploy_20141006.StopDeployment"),
                "{}",
                "codedeploy",
                "StopDeployment",
                Protocol::Json11,
            ),
            (
                "json 1.0",
                Method::POST,
                "/",
                target("DynamoDB_20120810.PutItem"),
                "{}",
                "dynamodb",
                "PutItem",
                Protocol::Json10,
            ),
            ("ssm", Method::POST, "/", target("AmazonSSM.GetParameter"), "{}", "ssm", "GetParameter", Protocol::Json11),
            ("events", Method::POST, "/", target("AWSEvents.PutRule"), "{}", "events", "PutRule", Protocol::Json11),
            (
                "cloudwatch json",
                Method::POST,
                "/",
                target("GraniteServiceVersion20100801.PutMetricData"),
                "{}",
                "cloudwatch",
                "PutMetricData",
                Protocol::Json10,
            ),
            (
                "cbor",
                Method::POST,
                "/service/GraniteServiceVersion20100801/operation/DescribeAlarms",
                none.clone(),
                "",
                "cloudwatch",
                "DescribeAlarms",
                Protocol::Cbor,
            ),
            (
                "cbor codedeploy",
                Method::POST,
                "/service/CodeDeploy_20141006/operation/GetDeployment",
                none.clone(),
                "",
                "codedeploy",
                "GetDeployment",
                Protocol::Cbor,
            ),
            (
                "query",
                Method::POST,
                "/",
                none.clone(),
                "Action=Publish&Version=2010-03-31&Message=a+b%26c",
                "sns",
                "Publish",
                Protocol::Query,
            ),
            (
                "scheduler",
                Method::POST,
                "/schedules/snapback-d-1",
                none.clone(),
                "{}",
                "scheduler",
                "CreateSchedule",
                Protocol::RestJson,
            ),
            (
                "lambda",
                Method::POST,
                "/2015-03-31/functions/checkout/invocations",
                none,
                "{}",
                "lambda",
                "Invoke",
                Protocol::RestJson,
            ),
        ];
        for (case, method, path, headers, body, service, operation, protocol) in table {
            let call = identify(&method, path, &headers, body.as_bytes()).unwrap();
            assert_eq!(
                (call.service, call.operation.as_str(), call.protocol),
                (service, operation, protocol),
                "{case}"
            );
        }
    }

    #[test]
    fn what_is_no_call_is_refused_by_name() {
        let table = [
            ("unknown target", headers_with("x-amz-target", "AmazonSQS.SendMessage"), "/", "", "AmazonSQS.SendMessage"),
            ("no protocol", HeaderMap::new(), "/nothing", "", "/nothing"),
            ("unknown version", HeaderMap::new(), "/", "Action=SendEmail&Version=2010-12-01", "SendEmail"),
        ];
        for (case, headers, path, body, named) in table {
            let fault = identify(&Method::POST, path, &headers, body.as_bytes()).unwrap_err();
            assert!(fault.message.contains(named), "{case}: {fault:?}");
        }
    }

    #[test]
    fn the_principal_is_the_access_key_id() {
        let signed =
            "AWS4-HMAC-SHA256 Credential=WATCHER/20261123/us-east-1/sns/aws4_request, SignedHeaders=host, Signature=0";
        let table = [
            ("signed", signed, "WATCHER"),
            ("no credential", "Bearer x", "anonymous"),
            ("empty key", "Credential=/x", "anonymous"),
        ];
        for (case, header, expected) in table {
            assert_eq!(principal(&headers_with("authorization", header)), expected, "{case}");
        }
        assert_eq!(principal(&HeaderMap::new()), "anonymous");
    }

    #[test]
    fn the_error_code_of_an_http_answer_is_found() {
        let cbor = crate::cbor::encode(&json!({"__type": "com.amazonaws.cloudwatch#ResourceNotFound"}));
        let header = || headers_with("x-amzn-errortype", "ResourceNotFoundException:http://x/");
        // (case, status, headers, body, code)
        let table = [
            ("fine", 200, header(), vec![], None),
            ("header", 404, header(), b"{}".to_vec(), Some("ResourceNotFoundException")),
            ("json", 400, HeaderMap::new(), br#"{"__type":"ns#Throttling"}"#.to_vec(), Some("Throttling")),
            ("cbor", 404, HeaderMap::new(), cbor, Some("ResourceNotFound")),
            ("nothing", 502, HeaderMap::new(), b"<html>".to_vec(), Some("502")),
        ];
        for (case, status, headers, body, code) in table {
            let raw = RawResponse::from_http(status, &headers, body.into());
            assert_eq!(raw.error.as_deref(), code, "{case}");
        }
    }

    #[test]
    fn answers_and_errors_take_the_shape_of_their_protocol() {
        let body = |raw: &RawResponse| String::from_utf8_lossy(&raw.body).into_owned();
        let fault = || ApiResponse::Fault(ApiFault::new("NotFound", "no <topic>").with_status(404));

        let query = encode("sns", "Publish", Protocol::Query, ApiResponse::Output(json!({"MessageId": "m-1"})));
        assert!(body(&query).contains("<PublishResult><MessageId>m-1</MessageId></PublishResult>"), "{}", body(&query));
        let error = encode("sns", "Publish", Protocol::Query, fault());
        assert_eq!(error.status, 404);
        assert!(body(&error).contains("<Code>NotFound</Code><Message>no &lt;topic&gt;</Message>"), "{}", body(&error));

        let json_error = encode("codedeploy", "X", Protocol::Json11, fault());
        assert_eq!(
            serde_json::from_str::<Value>(&body(&json_error)).unwrap(),
            json!({"__type": "NotFound", "message": "no <topic>"})
        );
        let rest = encode("lambda", "Invoke", Protocol::RestJson, fault());
        assert!(rest.headers.contains(&("x-amzn-errortype".to_owned(), "NotFound".to_owned())), "{rest:?}");
        let cbor = encode("codedeploy", "X", Protocol::Cbor, fault());
        assert_eq!(crate::cbor::decode(&cbor.body).unwrap(), json!({"__type": "NotFound", "message": "no <topic>"}));
    }
}
