//! The REST API of Lambda, for a gateway to call.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::config::{AsyncConfig, ConfigurationChange, FunctionConfig, invalid};
use super::names::{FunctionRef, LATEST, qualified_arn, text_of_base64};
use super::state::AliasChange;
use super::{InvocationResult, Lambda};
use crate::iam::Ask;
use crate::parts::{AliasRouting, ApiError};
use crate::protocol::ApiRequest;

/// Status, headers and body of an answer.
pub type HttpAnswer = (StatusCode, HeaderMap, Bytes);

/// What runs for a package that was really uploaded.
const DEMO_APP: &str = "demo-app";

impl Lambda {
    /// Answers one request of the REST API, errors included, in Lambda's format.
    ///
    /// Supported: `CreateFunction`, `DeleteFunction`, `GetFunction`, `GetFunctionConfiguration`,
    /// `UpdateFunctionConfiguration`, `UpdateFunctionCode`, `PublishVersion`, `ListVersionsByFunction`, `CreateAlias`, `GetAlias`,
    /// `UpdateAlias`, `Invoke`, `PutFunctionConcurrency`, `GetFunctionConcurrency`, `PutFunctionEventInvokeConfig`, `GetFunctionEventInvokeConfig`,
    /// `GetPolicy`; anything else is `UnsupportedOperationException`. Uploaded code is never run: a `ZipFile` that is base64 of the text `binary:NAME` runs
    /// that binary of the functions folder ([`Lambda::set_functions_folder`]), any other package the demo application.
    ///
    /// * `path`: as sent, percent-encoded, without query; `query`: as sent, or empty.
    pub async fn handle_http(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> HttpAnswer {
        let query = parse_query(query);
        let request = Request { method, query: &query, headers, body };
        self.route_http(path, request).await.unwrap_or_else(|error| refuse(&error))
    }

    /// What the caller must be allowed for a request of the REST API: one action on the function, with the qualifier only
    /// where it is invoked. Its tags are the context.
    pub(crate) fn asks(&self, request: &ApiRequest) -> Vec<Ask> {
        let mut segments = request.path.split('/').filter(|part| !part.is_empty()).map(decode).skip(2);
        let target = segments.next().map(|name| FunctionRef::parse(&name)).unwrap_or_else(|| FunctionRef::parse("*"));
        let query = parse_query(&request.query);
        let target = target.or_qualifier(query.get("Qualifier").map(String::as_str));
        let is_invocation = matches!(request.operation.as_str(), "Invoke" | "InvokeAsync");
        let qualifier = target.qualifier.as_deref().filter(|_| is_invocation);
        let ask = request.ask(qualified_arn(&target.name, qualifier));
        let tags = self.core.state().get(&target.name).map(|function| function.tags.clone()).unwrap_or_default();
        vec![tags.into_iter().fold(ask, |ask, (key, value)| ask.with(format!("aws:ResourceTag/{key}"), value))]
    }

    async fn route_http(&self, path: &str, request: Request<'_>) -> Result<HttpAnswer, ApiError> {
        let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("POST", [_, "functions"]) => self.create_function_http(&request),
            ("POST", [_, "functions", name, "invocations"]) => self.invoke_http(name, request).await,
            ("GET", [_, "functions", name]) => self.get_function(&request.target(name)),
            ("DELETE", [_, "functions", name]) => {
                self.delete_function(name)?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            ("GET", [_, "functions", name, "configuration"]) => {
                Ok(answer(StatusCode::OK, &self.configuration(&request.target(name))?))
            }
            ("PUT", [_, "functions", name, "configuration"]) => self.update_configuration_http(name, &request),
            ("PUT", [_, "functions", name, "code"]) => self.update_code_http(name, &request),
            ("POST", [_, "functions", name, "versions"]) => {
                let input: PublishVersion = request.parse()?;
                Ok(answer(StatusCode::CREATED, &self.publish_http(name, input.description)?))
            }
            ("GET", [_, "functions", name, "versions"]) => self.list_versions(name),
            ("POST", [_, "functions", name, "aliases"]) => self.create_alias_http(name, &request),
            ("GET", [_, "functions", name, "aliases", alias]) => self.get_alias(StatusCode::OK, name, alias),
            ("PUT", [_, "functions", name, "aliases", alias]) => self.update_alias_http(name, alias, &request),
            ("GET", [_, "functions", name, "concurrency"]) => self.get_concurrency(name),
            ("PUT", [_, "functions", name, "concurrency"]) => self.put_concurrency(name, &request),
            ("GET", [_, "functions", name, "policy"]) => self.get_policy(name),
            ("GET", [_, "functions", name, "event-invoke-config"]) => self.get_event_invoke_config(name),
            ("PUT", [_, "functions", name, "event-invoke-config"]) => self.put_event_invoke_config(name, &request),
            (method, _) => Err(ApiError::new(
                "UnsupportedOperationException",
                format!("the emulator's Lambda does not support {method} {path}"),
            )),
        }
    }

    async fn invoke_http(&self, name: &str, request: Request<'_>) -> Result<HttpAnswer, ApiError> {
        let target = request.target(name);
        let kind = request.headers.get("x-amz-invocation-type").and_then(|kind| kind.to_str().ok());
        match kind.unwrap_or("RequestResponse") {
            "RequestResponse" => {
                let wants_log = request.headers.get("x-amz-log-type").is_some_and(|kind| kind == "Tail");
                let result = self.core.invoke(target, request.body).await.map_err(ApiError::from)?;
                let log = wants_log.then(|| log_result(&result));
                let answer = invoked(result);
                Ok(match log {
                    Some(log) => with_header(answer, "x-amz-log-result", &log),
                    None => answer,
                })
            }
            "Event" => {
                let request_id = self.core.accept_event(target, request.body)?;
                Ok(with_header(empty(StatusCode::ACCEPTED), "x-amzn-requestid", &request_id))
            }
            "DryRun" => {
                let state = self.core.state();
                state.get(&target.name)?.resolve(target.qualifier.as_deref(), || 0.0)?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            kind => Err(invalid(format!("InvocationType is `{kind}`, allowed are RequestResponse, Event, DryRun"))),
        }
    }

    fn create_function_http(&self, request: &Request<'_>) -> Result<HttpAnswer, ApiError> {
        let input: CreateFunction = request.parse()?;
        let (binary, package) = self.binary(&input.code)?;
        let access_key = access_key_of(&input.function_name);
        let mut config = FunctionConfig::new(input.function_name, binary, access_key);
        config.package = package;
        let name = config.name.clone();
        config.description = input.description.unwrap_or_default();
        config.environment = input.environment.map(|environment| environment.variables).unwrap_or_default();
        config.timeout = input.timeout.map_or(config.timeout, Duration::from_secs);
        config.memory_mb = input.memory_size.unwrap_or(config.memory_mb);
        config.role = input.role;
        config.tags = input.tags.unwrap_or_default();
        self.create_function(config)?;
        let document = match input.publish {
            Some(true) => self.publish_http(&name, None)?,
            Some(false) | None => self.configuration(&FunctionRef { name, qualifier: None })?,
        };
        Ok(answer(StatusCode::CREATED, &document))
    }

    fn update_code_http(&self, name: &str, request: &Request<'_>) -> Result<HttpAnswer, ApiError> {
        let input: UpdateFunctionCode = request.parse()?;
        let (binary, package) = self.binary(&input.code)?;
        self.update_code(name, binary, package)?;
        let document = match input.publish {
            Some(true) => self.publish_http(name, None)?,
            Some(false) | None => {
                self.configuration(&FunctionRef { name: FunctionRef::parse(name).name, qualifier: None })?
            }
        };
        Ok(answer(StatusCode::OK, &document))
    }

    /// The binary that an upload runs, and what its identity is made of when that is not the binary itself.
    fn binary(&self, code: &Code) -> Result<(PathBuf, Option<Vec<u8>>), ApiError> {
        let folder = self.core.functions_folder().ok_or_else(|| {
            invalid("the emulator has no functions folder: start it with one to create functions over HTTP")
        })?;
        let asked = code.zip_file.as_deref().and_then(text_of_base64);
        let name = asked.as_deref().and_then(|text| text.trim().strip_prefix("binary:"));
        match (name, &code.zip_file, &code.s3_key) {
            (Some(name), _, _) if name.is_empty() || name.contains('/') => {
                Err(invalid(format!("`binary:{name}` names no binary in the emulator's functions folder")))
            }
            (Some(name), _, _) => Ok((folder.join(name), None)),
            (None, Some(package), _) => Ok((folder.join(DEMO_APP), Some(package.clone().into_bytes()))),
            (None, None, Some(key)) => {
                let place = format!("{}/{key}", code.s3_bucket.as_deref().unwrap_or_default());
                Ok((folder.join(DEMO_APP), Some(place.into_bytes())))
            }
            (None, None, None) => Err(invalid("Please provide a source for function code: ZipFile or S3Key")),
        }
    }

    fn get_function(&self, target: &FunctionRef) -> Result<HttpAnswer, ApiError> {
        let configuration = self.configuration(target)?;
        let (reserved, tags) =
            self.core.with(&target.name, |function| Ok((function.reserved_concurrency, function.tags.clone())))?;
        let mut document = json!({
            "Configuration": configuration,
            "Code": { "RepositoryType": "S3", "Location": format!("{}/code/{}", self.core.endpoint, target.name) },
            "Tags": tags,
        });
        if let (Some(reserved), Some(members)) = (reserved, document.as_object_mut()) {
            members.insert("Concurrency".to_owned(), json!({ "ReservedConcurrentExecutions": reserved }));
        }
        Ok(answer(StatusCode::OK, &document))
    }

    fn update_configuration_http(&self, name: &str, request: &Request<'_>) -> Result<HttpAnswer, ApiError> {
        let input: UpdateFunctionConfiguration = request.parse()?;
        let change = ConfigurationChange {
            environment: input.environment.map(|environment| environment.variables),
            description: input.description,
            timeout: input.timeout.map(Duration::from_secs),
            memory_mb: input.memory_size,
        };
        self.update_configuration(name, change)?;
        Ok(answer(StatusCode::OK, &self.configuration(&request.target(name))?))
    }

    fn publish_http(&self, name: &str, description: Option<String>) -> Result<Value, ApiError> {
        let version = self.publish_version(name, description)?;
        self.configuration(&FunctionRef { name: FunctionRef::parse(name).name, qualifier: Some(version) })
    }

    fn list_versions(&self, name: &str) -> Result<HttpAnswer, ApiError> {
        let state = self.core.state();
        let function = state.get(&FunctionRef::parse(name).name)?;
        let versions = std::iter::once(&function.latest).chain(function.published.values());
        let versions: Vec<Value> = versions.map(|version| version.document(Some(&version.version))).collect();
        Ok(answer(StatusCode::OK, &json!({ "Versions": versions })))
    }

    /// The document of `GetFunctionConfiguration`: an alias shows its own version (the one without weight).
    fn configuration(&self, target: &FunctionRef) -> Result<Value, ApiError> {
        let state = self.core.state();
        let function = state.get(&target.name)?;
        let qualifier = target.qualifier.as_deref();
        let version = function.resolve(qualifier, || 1.0)?;
        Ok(version.document(qualifier.filter(|qualifier| *qualifier != LATEST)))
    }

    fn get_alias(&self, status: StatusCode, name: &str, alias: &str) -> Result<HttpAnswer, ApiError> {
        let document = self.core.with(name, |function| function.alias_document(alias))?;
        Ok(answer(status, &document))
    }

    fn create_alias_http(&self, name: &str, request: &Request<'_>) -> Result<HttpAnswer, ApiError> {
        let input: CreateAlias = request.parse()?;
        let additional = input.routing_config.map(RoutingConfig::additional).transpose()?.flatten();
        let routing = AliasRouting { version: input.function_version, additional };
        let description = input.description.unwrap_or_default();
        self.core.with(name, |function| function.create_alias(&input.name, routing, description))?;
        self.get_alias(StatusCode::CREATED, name, &input.name)
    }

    fn update_alias_http(&self, name: &str, alias: &str, request: &Request<'_>) -> Result<HttpAnswer, ApiError> {
        let input: UpdateAlias = request.parse()?;
        let change = AliasChange {
            version: input.function_version,
            additional: input.routing_config.map(RoutingConfig::additional).transpose()?,
            description: input.description,
            revision_id: input.revision_id,
        };
        self.update_alias(name, alias, change)?;
        self.get_alias(StatusCode::OK, name, alias)
    }

    fn put_concurrency(&self, name: &str, request: &Request<'_>) -> Result<HttpAnswer, ApiError> {
        let input: PutFunctionConcurrency = request.parse()?;
        let reserved = input.reserved_concurrent_executions;
        self.set_reserved_concurrency(name, Some(reserved))?;
        Ok(answer(StatusCode::OK, &json!({ "ReservedConcurrentExecutions": reserved })))
    }

    /// An empty document where nothing is reserved.
    fn get_concurrency(&self, name: &str) -> Result<HttpAnswer, ApiError> {
        let target = FunctionRef::parse(name);
        let reserved = self.core.with(&target.name, |function| Ok(function.reserved_concurrency))?;
        let document = reserved.map_or(json!({}), |reserved| json!({ "ReservedConcurrentExecutions": reserved }));
        Ok(answer(StatusCode::OK, &document))
    }

    fn put_event_invoke_config(&self, name: &str, request: &Request<'_>) -> Result<HttpAnswer, ApiError> {
        let input: PutFunctionEventInvokeConfig = request.parse()?;
        let default = AsyncConfig::default();
        let destination = input.destination_config.and_then(|destinations| destinations.on_failure);
        let config = AsyncConfig {
            max_retries: input.maximum_retry_attempts.unwrap_or(default.max_retries),
            max_event_age: input.maximum_event_age_in_seconds.map_or(default.max_event_age, Duration::from_secs),
            on_failure: destination.and_then(|destination| destination.destination),
        };
        self.set_async_config(name, config.clone())?;
        Ok(answer(StatusCode::OK, &self.event_invoke_document(name, config)))
    }

    /// The settings of asynchronous calls, unless they are Lambda's own: then there is nothing to get.
    fn get_event_invoke_config(&self, name: &str) -> Result<HttpAnswer, ApiError> {
        let target = FunctionRef::parse(name);
        let config = self.core.with(&target.name, |function| Ok(function.async_config.clone()))?;
        if config == AsyncConfig::default() {
            let arn = qualified_arn(&target.name, Some(LATEST));
            let message = format!("The function {arn} doesn't have an EventInvokeConfig");
            return Err(ApiError::new("ResourceNotFoundException", message));
        }
        Ok(answer(StatusCode::OK, &self.event_invoke_document(name, config)))
    }

    fn event_invoke_document(&self, name: &str, config: AsyncConfig) -> Value {
        let now_s = self.core.clock.now_ms() / 1000;
        let on_failure = config.on_failure.map(|arn| json!({ "Destination": arn })).unwrap_or_else(|| json!({}));
        json!({
            "LastModified": now_s,
            "FunctionArn": qualified_arn(&FunctionRef::parse(name).name, Some(LATEST)),
            "MaximumRetryAttempts": config.max_retries,
            "MaximumEventAgeInSeconds": config.max_event_age.as_secs(),
            "DestinationConfig": { "OnSuccess": {}, "OnFailure": on_failure },
        })
    }

    fn get_policy(&self, name: &str) -> Result<HttpAnswer, ApiError> {
        let target = FunctionRef::parse(name);
        let statements = self.core.with(&target.name, |function| Ok(function.permissions.clone()))?;
        if statements.is_empty() {
            return Err(ApiError::new("ResourceNotFoundException", "The resource you requested does not exist."));
        }
        let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements });
        Ok(answer(StatusCode::OK, &json!({ "Policy": policy.to_string(), "RevisionId": "1" })))
    }
}

/// Access key of a function that was created over HTTP: the same name has the same key.
fn access_key_of(function: &str) -> String {
    let digest = Sha256::digest(function.as_bytes());
    let tail: String = digest.iter().take(8).map(|byte| format!("{byte:02X}")).collect();
    format!("AKIA{tail}")
}

struct Request<'a> {
    method: &'a Method,
    query: &'a BTreeMap<String, String>,
    headers: &'a HeaderMap,
    body: Bytes,
}

impl Request<'_> {
    fn target(&self, name: &str) -> FunctionRef {
        FunctionRef::parse(name).or_qualifier(self.query.get("Qualifier").map(String::as_str))
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let body = if self.body.is_empty() { b"{}" } else { self.body.as_ref() };
        serde_json::from_slice(body).map_err(|error| {
            let message = format!("Could not parse request body into json: {error}");
            ApiError::new("InvalidRequestContentException", message)
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateFunction {
    function_name: String,
    role: String,
    code: Code,
    description: Option<String>,
    timeout: Option<u64>,
    memory_size: Option<u32>,
    environment: Option<Variables>,
    publish: Option<bool>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Code {
    zip_file: Option<String>,
    s3_bucket: Option<String>,
    s3_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateFunctionCode {
    #[serde(flatten)]
    code: Code,
    publish: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Variables {
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateFunctionConfiguration {
    description: Option<String>,
    timeout: Option<u64>,
    memory_size: Option<u32>,
    environment: Option<Variables>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublishVersion {
    description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateAlias {
    name: String,
    function_version: String,
    description: Option<String>,
    routing_config: Option<RoutingConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateAlias {
    function_version: Option<String>,
    description: Option<String>,
    routing_config: Option<RoutingConfig>,
    revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoutingConfig {
    #[serde(default)]
    additional_version_weights: BTreeMap<String, f64>,
}

impl RoutingConfig {
    fn additional(self) -> Result<Option<(String, f64)>, ApiError> {
        let count = self.additional_version_weights.len();
        if count > 1 {
            return Err(invalid(format!("AdditionalVersionWeights names {count} versions, allowed is 1")));
        }
        Ok(self.additional_version_weights.into_iter().next())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutFunctionConcurrency {
    reserved_concurrent_executions: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutFunctionEventInvokeConfig {
    maximum_retry_attempts: Option<u32>,
    maximum_event_age_in_seconds: Option<u64>,
    destination_config: Option<DestinationConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DestinationConfig {
    on_failure: Option<Destination>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    destination: Option<String>,
}

fn invoked(result: InvocationResult) -> HttpAnswer {
    let mut http = (StatusCode::OK, HeaderMap::new(), result.payload);
    http = with_header(http, "content-type", "application/json");
    http = with_header(http, "x-amzn-requestid", &result.request_id);
    http = with_header(http, "x-amz-executed-version", &result.executed_version);
    match &result.function_error {
        Some(error) => with_header(http, "x-amz-function-error", error),
        None => http,
    }
}

/// The end of the log of one invocation, as `LogType: Tail` asks for it: without what the function wrote.
fn log_result(result: &InvocationResult) -> String {
    let InvocationResult { request_id, executed_version, duration, init, memory_mb, .. } = result;
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let billed = ms(*duration + init.unwrap_or_default()).ceil();
    let init = init.map(|init| format!("Init Duration: {:.2} ms\t", ms(init))).unwrap_or_default();
    let text = format!(
        "START RequestId: {request_id} Version: {executed_version}\nEND RequestId: {request_id}\nREPORT RequestId: \
         {request_id}\tDuration: {:.2} ms\tBilled Duration: {billed:.0} ms\tMemory Size: {memory_mb} MB\tMax Memory Used: \
         {memory_mb} MB\t{init}\n",
        ms(*duration)
    );
    STANDARD.encode(text)
}

fn refuse(error: &ApiError) -> HttpAnswer {
    let (status, document) = match error.code.as_str() {
        "ResourceNotFoundException" => (StatusCode::NOT_FOUND, json!({ "Type": "User", "Message": error.message })),
        "ResourceConflictException" => (StatusCode::CONFLICT, user(error)),
        "PreconditionFailedException" => (StatusCode::PRECONDITION_FAILED, user(error)),
        "RequestTooLargeException" => (StatusCode::PAYLOAD_TOO_LARGE, user(error)),
        "TooManyRequestsException" => {
            let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
            let document = json!({ "Type": "User", "Reason": reason, "message": error.message });
            (StatusCode::TOO_MANY_REQUESTS, document)
        }
        "ServiceException" => {
            (StatusCode::INTERNAL_SERVER_ERROR, json!({ "Type": "Service", "Message": error.message }))
        }
        _ => (StatusCode::BAD_REQUEST, user(error)),
    };
    with_header(answer(status, &document), "x-amzn-errortype", &error.code)
}

fn user(error: &ApiError) -> Value {
    json!({ "Type": "User", "message": error.message })
}

fn answer(status: StatusCode, document: &Value) -> HttpAnswer {
    let body = Bytes::from(document.to_string());
    with_header((status, HeaderMap::new(), body), "content-type", "application/json")
}

fn empty(status: StatusCode) -> HttpAnswer {
    (status, HeaderMap::new(), Bytes::new())
}

fn with_header(mut http: HttpAnswer, name: &'static str, value: &str) -> HttpAnswer {
    match HeaderValue::from_str(value) {
        Ok(value) => _ = http.1.insert(HeaderName::from_static(name), value),
        Err(error) => tracing::warn!(%error, name, "left out a header of an answer"),
    }
    http
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

/// Percent-decoding; what is no escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let escaped = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(b'%'));
        rest = if escaped.is_some() { after.get(2..).unwrap_or("") } else { after };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::parts::{MetricPoint, MetricSink};
    use std::sync::Arc;

    #[test]
    fn paths_are_decoded_and_bad_escapes_kept() {
        let table = [
            ("arn%3Aaws%3Alambda", "arn:aws:lambda"),
            ("%24LATEST", "$LATEST"),
            ("100%", "100%"),
            ("%zz%", "%zz%"),
            ("%e", "%e"),
            ("caf%C3%A9", "café"),
        ];
        for (encoded, decoded) in table {
            assert_eq!(decode(encoded), decoded);
        }
    }

    #[tokio::test]
    async fn a_call_is_about_a_function_with_its_tags() {
        struct Nowhere;
        impl MetricSink for Nowhere {
            fn record(&self, _point: MetricPoint) {}
            fn log_line(&self, _function: &str, _line: &str) {}
        }
        let clock = Clock::new(Duration::from_secs(60));
        let lambda = Lambda::new(clock, String::new(), Arc::new(Nowhere));
        let mut config = FunctionConfig::new("checkout", "/bin/sh", "KEY");
        config.tags = [("snapback".to_owned(), "protected".to_owned())].into();
        lambda.create_function(config).unwrap();
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:checkout";
        let named = "/2015-03-31/functions/checkout";
        let by_arn = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Acheckout%3A3";
        // (operation, path, query, action, resource)
        let table = [
            ("GetAlias", format!("{named}/aliases/live"), "", "lambda:GetAlias", arn.to_owned()),
            (
                "GetFunctionConfiguration",
                format!("{named}/configuration"),
                "Qualifier=3",
                "lambda:GetFunctionConfiguration",
                arn.to_owned(),
            ),
            ("Invoke", format!("{named}/invocations"), "Qualifier=3", "lambda:InvokeFunction", format!("{arn}:3")),
            ("Invoke", format!("{by_arn}/invocations"), "", "lambda:InvokeFunction", format!("{arn}:3")),
        ];
        for (operation, path, query, action, resource) in table {
            let mut asked = ApiRequest::new("watcher", "lambda", operation, Value::Null);
            asked.path.clone_from(&path);
            query.clone_into(&mut asked.query);
            let expected = Ask::new("watcher", action, resource).with("aws:ResourceTag/snapback", "protected");
            assert_eq!(lambda.asks(&asked), [expected], "{path}");
        }
        lambda.shutdown().await;
    }

    #[test]
    fn an_access_key_is_stable_and_looks_like_one() {
        let key = access_key_of("checkout");
        assert_eq!(key.len(), 20);
        assert_eq!(key, access_key_of("checkout"));
        assert_ne!(key, access_key_of("watcher"));
    }
}
