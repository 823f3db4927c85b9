//! Aliases, versions, and probes by invocation.

use crate::error::{call_error, not_understood};
use crate::{Aws, http_probe};
use aws_sdk_lambda::config::Builder as LambdaConfig;
use aws_sdk_lambda::error::SdkError;
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::operation::get_alias::GetAliasOutput;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::operation::invoke::{InvokeError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use serde_json::{Value, json};
use snapback_app::ports::{CallError, CallReport, DirectAnswer, DirectOutcome, ProbeAnswer, Prober};
use snapback_core::RevisionId;
use snapback_core::observed::{TrafficFacts, VersionFacts};
use snapback_http::Loopback;
use snapback_wire::report_line::ReportLine;
use snapback_wire::revision::revision_id;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Bytes of an answer that are looked at for a status.
pub const MAX_ANSWER: usize = 256 * 1024;
/// Characters of a function's error that are kept.
pub const MAX_ERROR: usize = 500;

/// `errorType` of a function that ran out of its time.
const TIMED_OUT: &str = "Sandbox.Timedout";

const GET_ALIAS: &str = "lambda:GetAlias";
const GET_CONFIGURATION: &str = "lambda:GetFunctionConfiguration";
const GET_CONCURRENCY: &str = "lambda:GetFunctionConcurrency";
const INVOKE: &str = "lambda:InvokeFunction";

impl Aws {
    /// GetAlias.
    pub(crate) async fn alias(&self, function: &str, alias: &str) -> Result<TrafficFacts, CallError> {
        let on = || format!("{function}:{alias}");
        let request = self.lambda.get_alias().function_name(function).name(alias);
        let answer = request.send().await;
        let answer = answer.map_err(|error| call_error(GET_ALIAS, on(), &error))?;
        alias_facts(&answer).ok_or_else(|| not_understood(GET_ALIAS, on(), "no FunctionVersion"))
    }

    /// What a published version is.
    pub(crate) async fn revision(&self, function: &str, version: &str) -> Result<VersionFacts, CallError> {
        let on = || format!("{function}:{version}");
        let configuration = self.configuration(function, Some(version)).await?;
        let revision = revision_of(&configuration).map_err(|what| not_understood(GET_CONFIGURATION, on(), what))?;
        Ok(VersionFacts { revision, timeout: timeout(&configuration) })
    }
}

impl Prober for Aws {
    async fn invoke(
        &self,
        function: &str,
        qualifier: Option<&str>,
        payload: &str,
        limit: Duration,
    ) -> Result<ProbeAnswer, CallError> {
        let request = self.lambda.invoke().function_name(function);
        let request = request.set_qualifier(qualifier.map(str::to_owned)).payload(Blob::new(payload));
        let started = Instant::now();
        // One try: a probe that is repeated in secret is another check than the one that was asked for.
        let answer = request.customize().config_override(one_try(limit)).send().await;
        let took = started.elapsed();
        let answer = answer.map_err(|error| call_error(INVOKE, function, &error))?;
        Ok(probe_answer(&answer, took))
    }

    async fn call_version(&self, function: &str, version: &str, payload: &str, limit: Duration) -> DirectAnswer {
        let request = self.lambda.invoke().function_name(function).qualifier(version);
        let request = request.log_type(LogType::Tail).payload(Blob::new(payload));
        let started = Instant::now();
        // One try: what is repeated in secret is another comparison than the one of this second.
        let answer = request.customize().config_override(one_try(limit)).send().await;
        let took = started.elapsed();
        match answer {
            Ok(answer) => DirectAnswer { outcome: direct_outcome(&answer), took, report: report_of(&answer) },
            Err(error) => DirectAnswer { outcome: not_answered(function, &error), took, report: None },
        }
    }

    async fn reserved_concurrency(&self, function: &str) -> Result<Option<u32>, CallError> {
        let answer = self.lambda.get_function_concurrency().function_name(function).send().await;
        let answer = answer.map_err(|error| call_error(GET_CONCURRENCY, function, &error))?;
        Ok(answer.reserved_concurrent_executions().and_then(|reserved| u32::try_from(reserved).ok()))
    }

    async fn get(&self, url: &str, limit: Duration) -> Result<ProbeAnswer, CallError> {
        let loopback = if self.allows_loopback_probes { Loopback::Allowed } else { Loopback::Refused };
        http_probe::get(url, limit, loopback).await
    }
}

impl Aws {
    /// The configuration of a function, or of a version or alias of it.
    ///
    /// * `function`: a name or an ARN, with or without a version or alias behind a colon.
    pub(crate) async fn configuration(
        &self,
        function: &str,
        qualifier: Option<&str>,
    ) -> Result<GetFunctionConfigurationOutput, CallError> {
        let request = self.lambda.get_function_configuration().function_name(function);
        let answer = request.set_qualifier(qualifier.map(str::to_owned)).send().await;
        answer.map_err(|error| {
            let on = qualifier.map_or_else(|| function.to_owned(), |qualifier| format!("{function}:{qualifier}"));
            call_error(GET_CONFIGURATION, on, &error)
        })
    }
}

/// How long a function may run.
pub(crate) fn timeout(configuration: &GetFunctionConfigurationOutput) -> Option<Duration> {
    configuration.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

fn one_try(limit: Duration) -> LambdaConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(crate::config::CONNECT_TIMEOUT)
        .operation_attempt_timeout(limit)
        .operation_timeout(limit);
    LambdaConfig::default().timeout_config(timeouts.build()).retry_config(RetryConfig::disabled())
}

fn alias_facts(answer: &GetAliasOutput) -> Option<TrafficFacts> {
    let weights = answer.routing_config().and_then(|routing| routing.additional_version_weights());
    let mut others: Vec<_> = weights.into_iter().flatten().map(|(version, share)| (version.clone(), *share)).collect();
    others.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(TrafficFacts { version: answer.function_version()?.to_owned(), others })
}

/// Why a version has no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum RevisionError {
    #[error("no {0}")]
    Missing(&'static str),
    #[error("the environment is not readable ({0}), so versions cannot be told apart")]
    Environment(String),
}

/// Identity of a published version: its code and everything of its configuration that changes how it runs.
fn revision_of(answer: &GetFunctionConfigurationOutput) -> Result<RevisionId, RevisionError> {
    let arn = answer.function_arn().ok_or(RevisionError::Missing("FunctionArn"))?;
    let code = answer.code_sha256().ok_or(RevisionError::Missing("CodeSha256"))?;
    let environment = answer.environment();
    if let Some(error) = environment.and_then(|environment| environment.error()) {
        return Err(RevisionError::Environment(error.error_code().unwrap_or_default().to_owned()));
    }
    let variables: BTreeMap<_, _> = environment.and_then(|it| it.variables()).into_iter().flatten().collect();
    let vpc = answer.vpc_config();
    let files = answer.file_system_configs().iter();
    let files: Vec<_> = files.map(|file| [file.arn(), file.local_mount_path()]).collect();
    let image = answer.image_config_response().and_then(|image| image.image_config());
    let configuration = json!({
        "architectures": words(answer.architectures().iter().map(|it| it.as_str())),
        "dead_letter": answer.dead_letter_config().and_then(|it| it.target_arn()),
        "environment": variables,
        "ephemeral_storage": answer.ephemeral_storage().map(|it| it.size()),
        "files": files,
        "handler": answer.handler(),
        "image_command": image.map(|it| it.command()),
        "image_directory": image.and_then(|it| it.working_directory()),
        "image_entry_point": image.map(|it| it.entry_point()),
        "kms_key": answer.kms_key_arn(),
        "layers": words(answer.layers().iter().filter_map(|it| it.arn())),
        "memory_size": answer.memory_size(),
        "package_type": answer.package_type().map(|it| it.as_str()),
        "role": answer.role(),
        "runtime": answer.runtime().map(|it| it.as_str()),
        "security_groups": vpc.map(|it| sorted(it.security_group_ids())),
        "snap_start": answer.snap_start().and_then(|it| it.apply_on()).map(|it| it.as_str()),
        "subnets": vpc.map(|it| sorted(it.subnet_ids())),
        "timeout": answer.timeout(),
        "tracing": answer.tracing_config().and_then(|it| it.mode()).map(|it| it.as_str()),
    });
    Ok(revision_id(&without_version(arn), code, &configuration))
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    words.collect()
}

/// A set that AWS gives in any order.
fn sorted(ids: &[String]) -> Vec<&str> {
    let mut ids: Vec<_> = ids.iter().map(String::as_str).collect();
    ids.sort_unstable();
    ids
}

/// `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, without what follows.
fn without_version(arn: &str) -> String {
    let parts: Vec<_> = arn.split(':').take(7).collect();
    parts.join(":")
}

/// `FunctionError` is the handler's failure; without one the payload's `statusCode` is the status.
fn probe_answer(answer: &InvokeOutput, took: Duration) -> ProbeAnswer {
    let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
    let json: Option<Value> = (payload.len() <= MAX_ANSWER).then(|| serde_json::from_slice(payload).ok()).flatten();
    let member = |name: &str| json.as_ref().and_then(|json| json.get(name));
    let error = answer.function_error().map(|kind| {
        let message = member("errorMessage").and_then(Value::as_str).unwrap_or_default();
        let error = if message.is_empty() { kind.to_owned() } else { format!("{kind}: {message}") };
        error.chars().take(MAX_ERROR).collect()
    });
    let status = member("statusCode").and_then(Value::as_u64);
    ProbeAnswer { status: status.and_then(|status| u16::try_from(status).ok()), error, took }
}

/// What the end of the call's log says of it.
fn report_of(answer: &InvokeOutput) -> Option<CallReport> {
    let report = ReportLine::of_log_result(answer.log_result()?, answer.request_id()?)?;
    Some(CallReport { ran_for: report.ran_for, is_cold: report.init.is_some() })
}

fn direct_outcome(answer: &InvokeOutput) -> DirectOutcome {
    let seen = probe_answer(answer, Duration::ZERO);
    let Some(error) = seen.error else { return DirectOutcome::Answered(seen.status) };
    let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
    let json: Option<Value> = (payload.len() <= MAX_ANSWER).then(|| serde_json::from_slice(payload).ok()).flatten();
    let kind = json.as_ref().and_then(|json| json.get("errorType")).and_then(Value::as_str).unwrap_or_default();
    if kind == TIMED_OUT || (kind.is_empty() && error.contains("Task timed out after ")) {
        DirectOutcome::FunctionTimedOut
    } else if kind.starts_with("Runtime.") {
        DirectOutcome::RuntimeDied(error)
    } else {
        DirectOutcome::FunctionError(error)
    }
}

/// The call did not get an answer from the function.
fn not_answered(function: &str, error: &SdkError<InvokeError>) -> DirectOutcome {
    let code = error.as_service_error().and_then(|error| error.meta().code()).unwrap_or_default();
    let is_throttled = ["TooManyRequests", "Throttl"].iter().any(|word| code.contains(word));
    if matches!(error, SdkError::TimeoutError(_)) {
        DirectOutcome::TimedOut
    } else if is_throttled {
        DirectOutcome::Throttled
    } else {
        DirectOutcome::NotServed(call_error(INVOKE, function, error).message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_endpoint::FakeEndpoint;
    use aws_sdk_lambda::operation::get_function_configuration::builders::GetFunctionConfigurationOutputBuilder;
    use aws_sdk_lambda::types::{AliasRoutingConfiguration, EnvironmentError, EnvironmentResponse, VpcConfigResponse};
    use snapback_app::ports::CallErrorKind;

    #[test]
    fn answers_of_probes() {
        let large = format!("{{\"statusCode\":200,\"body\":\"{}\"}}", "a".repeat(MAX_ANSWER));
        /// Payload, FunctionError, then the status and error that are seen.
        type Case<'a> = (&'a str, Option<&'a str>, Option<u16>, Option<&'a str>);
        let table: [Case<'_>; 9] = [
            (r#"{"statusCode":200}"#, None, Some(200), None),
            (r#"{"statusCode":503,"body":"no"}"#, None, Some(503), None),
            (r#"{"statusCode":"200"}"#, None, None, None),
            (r#"{"statusCode":70000}"#, None, None, None),
            ("not json", None, None, None),
            ("", None, None, None),
            (r#"{"errorMessage":"boom","errorType":"E"}"#, Some("Unhandled"), None, Some("Unhandled: boom")),
            ("", Some("Unhandled"), None, Some("Unhandled")),
            (&large, None, None, None),
        ];
        for (payload, function_error, status, error) in table {
            let output = InvokeOutput::builder()
                .status_code(200)
                .payload(Blob::new(payload))
                .set_function_error(function_error.map(str::to_owned))
                .build();
            let answer = probe_answer(&output, Duration::from_millis(7));
            let case: String = payload.chars().take(40).collect();
            assert_eq!((answer.status, answer.error.as_deref()), (status, error), "{case}");
            assert_eq!(answer.took, Duration::from_millis(7));
        }
    }

    #[test]
    fn how_a_direct_call_ended() {
        let timed_out = r#"{"errorMessage":"2026-11-30T20:45:00Z 8f50 Task timed out after 3.00 seconds"}"#;
        // (payload, FunctionError, how it ended)
        let table = [
            (r#"{"statusCode":200}"#, None, DirectOutcome::Answered(Some(200))),
            ("[]", None, DirectOutcome::Answered(None)),
            (
                r#"{"errorMessage":"boom","errorType":"TypeError"}"#,
                Some("Unhandled"),
                DirectOutcome::FunctionError("Unhandled: boom".to_owned()),
            ),
            ("", Some("Unhandled"), DirectOutcome::FunctionError("Unhandled".to_owned())),
            (
                r#"{"errorMessage":"RequestId: 1 Error: Runtime exited with error: exit status 1","errorType":"Runtime.ExitError"}"#,
                Some("Unhandled"),
                DirectOutcome::RuntimeDied(
                    "Unhandled: RequestId: 1 Error: Runtime exited with error: exit status 1".to_owned(),
                ),
            ),
            (timed_out, Some("Unhandled"), DirectOutcome::FunctionTimedOut),
            (
                r#"{"errorMessage":"RequestId: 1 Error: Task timed out after 3.00 seconds","errorType":"Sandbox.Timedout"}"#,
                Some("Unhandled"),
                DirectOutcome::FunctionTimedOut,
            ),
            (
                r#"{"errorMessage":"job: Task timed out after 3 tries","errorType":"JobError"}"#,
                Some("Unhandled"),
                DirectOutcome::FunctionError("Unhandled: job: Task timed out after 3 tries".to_owned()),
            ),
        ];
        for (payload, function_error, expected) in table {
            let output = InvokeOutput::builder()
                .status_code(200)
                .payload(Blob::new(payload))
                .set_function_error(function_error.map(str::to_owned))
                .build();
            assert_eq!(direct_outcome(&output), expected, "{payload}");
        }
    }

    #[tokio::test]
    async fn a_direct_call_that_reaches_nobody_is_no_error_of_the_version() {
        let throttled = r#"{"__type":"TooManyRequestsException","Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","message":"Rate Exceeded."}"#;
        type Row = (&'static str, u16, &'static str, fn(&DirectOutcome) -> bool);
        let table: [Row; 3] = [
            ("throttled", 429, throttled, |outcome| *outcome == DirectOutcome::Throttled),
            ("denied", 403, r#"{"Message":"not authorized"}"#, |outcome| {
                matches!(outcome, DirectOutcome::NotServed(_))
            }),
            ("an error of the service", 500, "{}", |outcome| matches!(outcome, DirectOutcome::NotServed(_))),
        ];
        for (case, status, body, fits) in table {
            let endpoint = FakeEndpoint::start(move |_| (status, body.to_owned()));
            let aws = endpoint.aws(&[]);
            let answer = aws.call_version("checkout", "42", "{}", Duration::from_secs(5)).await;
            assert!(fits(&answer.outcome), "{case}: {answer:?}");
            assert_eq!(endpoint.operations().len(), 1, "{case}: once");
        }
    }

    #[test]
    fn an_alias_with_and_without_weights() {
        let plain = GetAliasOutput::builder().function_version("41").build();
        let plain = alias_facts(&plain).unwrap();
        assert!(plain.is_only("41"));
        let routing = AliasRoutingConfiguration::builder().additional_version_weights("42", 0.1);
        let shifting = GetAliasOutput::builder().function_version("41").routing_config(routing.build()).build();
        let shifting = alias_facts(&shifting).unwrap();
        assert_eq!(shifting.others, vec![("42".to_owned(), 0.1)]);
        assert!(alias_facts(&GetAliasOutput::builder().build()).is_none());
    }

    type Change = fn(GetFunctionConfigurationOutputBuilder) -> GetFunctionConfigurationOutputBuilder;

    fn configuration(change: Change) -> Result<RevisionId, RevisionError> {
        let environment = EnvironmentResponse::builder().variables("LEVEL", "info").build();
        let vpc = VpcConfigResponse::builder().subnet_ids("subnet-1").subnet_ids("subnet-2");
        let builder = GetFunctionConfigurationOutput::builder()
            .function_arn("arn:aws:lambda:eu-central-1:123456789012:function:checkout:41")
            .code_sha256("abc=")
            .version("41")
            .description("first")
            .memory_size(256)
            .vpc_config(vpc.build())
            .environment(environment);
        revision_of(&change(builder).build())
    }

    #[test]
    fn the_identity_of_a_revision() {
        let base = configuration(|it| it).unwrap();
        let same: [Change; 3] = [
            |it| it.function_arn("arn:aws:lambda:eu-central-1:123456789012:function:checkout:42").version("42"),
            |it| it.description("second").last_modified("2026-11-20T10:15:26.900+0000"),
            |it| {
                let vpc = VpcConfigResponse::builder().subnet_ids("subnet-2").subnet_ids("subnet-1");
                it.vpc_config(vpc.build())
            },
        ];
        for change in same {
            assert_eq!(configuration(change).unwrap(), base);
        }
        let other: [Change; 4] = [
            |it| it.code_sha256("def="),
            |it| it.memory_size(512),
            |it| it.environment(EnvironmentResponse::builder().variables("LEVEL", "debug").build()),
            |it| it.function_arn("arn:aws:lambda:eu-central-1:123456789012:function:basket:41"),
        ];
        for change in other {
            assert_ne!(configuration(change).unwrap(), base);
        }
    }

    #[test]
    fn no_identity_without_its_parts() {
        assert_eq!(configuration(|it| it.set_code_sha256(None)), Err(RevisionError::Missing("CodeSha256")));
        let error = configuration(|it| {
            let denied = EnvironmentError::builder().error_code("KMSAccessDeniedException").build();
            it.environment(EnvironmentResponse::builder().error(denied).build())
        });
        assert_eq!(error, Err(RevisionError::Environment("KMSAccessDeniedException".to_owned())));
    }

    #[tokio::test]
    async fn a_probe_is_tried_once_and_waits_no_longer_than_its_limit() {
        let failing = FakeEndpoint::start(|_| (500, "{}".to_owned()));
        let aws = failing.aws(&[]);
        let error = aws.invoke("checkout", Some("42"), "{}", Duration::from_secs(5)).await;
        assert!(error.unwrap_err().is(CallErrorKind::Unreachable));
        assert_eq!(failing.operations().len(), 1);

        let (_release, hold) = std::sync::mpsc::channel::<()>();
        let hold = std::sync::Mutex::new(hold);
        let silent = FakeEndpoint::start(move |_| {
            // Until the test is over.
            let _ = hold.lock().unwrap().recv();
            (200, "{}".to_owned())
        });
        let aws = silent.aws(&[]);
        let error = aws.invoke("checkout", None, "{}", Duration::from_millis(50)).await;
        assert!(error.unwrap_err().is(CallErrorKind::Unreachable));
        assert_eq!(silent.operations().len(), 1);
        let answer = aws.call_version("checkout", "42", "{}", Duration::from_millis(50)).await;
        assert_eq!((answer.outcome, silent.operations().len()), (DirectOutcome::TimedOut, 2), "no answer in time");
    }
}
