//! Aliases, versions, and probes by invocation.

use crate::error::{call_error, not_understood};
use crate::{Aws, web};
use aws_sdk_lambda::config::Builder as LambdaConfig;
use aws_sdk_lambda::operation::get_alias::GetAliasOutput;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use serde_json::{Value, json};
use snapback_app::ports::{CallError, ProbeAnswer, Prober, VersionFacts, Versions};
use snapback_core::RevisionId;
use snapback_core::observed::AliasFacts;
use snapback_wire::revision::revision_id;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Bytes of an answer that are looked at for a status.
pub const MAX_ANSWER: usize = 256 * 1024;
/// Characters of a function's error that are kept.
pub const MAX_ERROR: usize = 500;

const GET_ALIAS: &str = "lambda:GetAlias";
const GET_CONFIGURATION: &str = "lambda:GetFunctionConfiguration";
const INVOKE: &str = "lambda:InvokeFunction";

impl Versions for Aws {
    async fn alias(&self, function: &str, alias: &str) -> Result<AliasFacts, CallError> {
        let on = || format!("{function}:{alias}");
        let request = self.lambda.get_alias().function_name(function).name(alias);
        let answer = request.send().await;
        let answer = answer.map_err(|error| call_error(GET_ALIAS, on(), &error))?;
        alias_facts(&answer).ok_or_else(|| not_understood(GET_ALIAS, on(), "no FunctionVersion"))
    }

    async fn revision(&self, function: &str, version: &str) -> Result<VersionFacts, CallError> {
        let on = || format!("{function}:{version}");
        let request = self.lambda.get_function_configuration();
        let answer = request.function_name(function).qualifier(version).send().await;
        let answer = answer.map_err(|error| call_error(GET_CONFIGURATION, on(), &error))?;
        let revision = revision_of(&answer).map_err(|what| not_understood(GET_CONFIGURATION, on(), what))?;
        let timeout = answer.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        Ok(VersionFacts { revision, timeout })
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

    async fn get(&self, url: &str, limit: Duration) -> Result<ProbeAnswer, CallError> {
        web::get(url, limit, self.allows_loopback_probes).await
    }
}

fn one_try(limit: Duration) -> LambdaConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(crate::config::CONNECT_TIMEOUT)
        .operation_attempt_timeout(limit)
        .operation_timeout(limit);
    LambdaConfig::default().timeout_config(timeouts.build()).retry_config(RetryConfig::disabled())
}

fn alias_facts(answer: &GetAliasOutput) -> Option<AliasFacts> {
    let weights = answer.routing_config().and_then(|routing| routing.additional_version_weights());
    let mut others: Vec<_> = weights.into_iter().flatten().map(|(version, share)| (version.clone(), *share)).collect();
    others.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(AliasFacts { version: answer.function_version()?.to_owned(), others })
}

/// Identity of a published version: its code and everything of its configuration that changes how it runs.
fn revision_of(answer: &GetFunctionConfigurationOutput) -> Result<RevisionId, String> {
    let arn = answer.function_arn().ok_or("no FunctionArn")?;
    let code = answer.code_sha256().ok_or("no CodeSha256")?;
    let environment = answer.environment();
    if let Some(error) = environment.and_then(|environment| environment.error()) {
        let code = error.error_code().unwrap_or_default();
        return Err(format!("the environment is not readable ({code}), so versions cannot be told apart"));
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

    fn configuration(change: Change) -> Result<RevisionId, String> {
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
        let error = configuration(|it| it.set_code_sha256(None)).unwrap_err();
        assert!(error.contains("CodeSha256"), "{error}");
        let error = configuration(|it| {
            let denied = EnvironmentError::builder().error_code("KMSAccessDeniedException").build();
            it.environment(EnvironmentResponse::builder().error(denied).build())
        });
        let error = error.unwrap_err();
        assert!(error.contains("KMSAccessDeniedException"), "{error}");
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
    }
}
