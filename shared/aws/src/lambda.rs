//! Aliases, versions, and probes by invocation.

use crate::error::{call_error, not_understood};
use crate::{Aws, web};
use aws_sdk_lambda::config::Builder as LambdaConfig;
use aws_sdk_lambda::operation::get_alias::GetAliasOutput;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use serde_json::Value;
use snapback_app::ports::{CallError, ProbeAnswer, Prober, Versions};
use snapback_core::RevisionId;
use snapback_core::observed::AliasFacts;
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

    async fn revision(&self, function: &str, version: &str) -> Result<RevisionId, CallError> {
        let on = || format!("{function}:{version}");
        let request = self.lambda.get_function_configuration();
        let answer = request.function_name(function).qualifier(version).send().await;
        let answer = answer.map_err(|error| call_error(GET_CONFIGURATION, on(), &error))?;
        revision_of(&answer).map_err(|what| not_understood(GET_CONFIGURATION, on(), what))
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
        let request = request
            .set_qualifier(qualifier.map(str::to_owned))
            .payload(Blob::new(payload));
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
    LambdaConfig::default()
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::disabled())
}

fn alias_facts(answer: &GetAliasOutput) -> Option<AliasFacts> {
    let weights = answer.routing_config().and_then(|routing| routing.additional_version_weights());
    let mut others: Vec<_> = weights
        .into_iter()
        .flatten()
        .map(|(version, share)| (version.clone(), *share))
        .collect();
    others.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(AliasFacts {
        version: answer.function_version()?.to_owned(),
        others,
    })
}

/// `FunctionError` is the handler's failure; without one the payload's `statusCode` is the status.
fn probe_answer(answer: &InvokeOutput, took: Duration) -> ProbeAnswer {
    let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
    let json: Option<Value> =
        (payload.len() <= MAX_ANSWER).then(|| serde_json::from_slice(payload).ok()).flatten();
    let member = |name: &str| json.as_ref().and_then(|json| json.get(name));
    let error = answer.function_error().map(|kind| {
        let message = member("errorMessage").and_then(Value::as_str).unwrap_or_default();
        let error = if message.is_empty() { kind.to_owned() } else { format!("{kind}: {message}") };
        error.chars().take(MAX_ERROR).collect()
    });
    let status = member("statusCode").and_then(Value::as_u64);
    ProbeAnswer {
        status: status.and_then(|status| u16::try_from(status).ok()),
        error,
        took,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_lambda::types::AliasRoutingConfiguration;

    #[test]
    fn answers_of_probes() {
        let large = format!("{{\"statusCode\":200,\"body\":\"{}\"}}", "a".repeat(MAX_ANSWER));
        // (payload, FunctionError, status, error)
        let table: [(&str, Option<&str>, Option<u16>, Option<&str>); 9] = [
            (r#"{"statusCode":200}"#, None, Some(200), None),
            (r#"{"statusCode":503,"body":"no"}"#, None, Some(503), None),
            (r#"{"statusCode":"200"}"#, None, None, None),
            (r#"{"statusCode":70000}"#, None, None, None),
            ("not json", None, None, None),
            ("", None, None, None),
            (
                r#"{"errorMessage":"boom","errorType":"E"}"#,
                Some("Unhandled"),
                None,
                Some("Unhandled: boom"),
            ),
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
        let shifting = GetAliasOutput::builder()
            .function_version("41")
            .routing_config(routing.build())
            .build();
        let shifting = alias_facts(&shifting).unwrap();
        assert_eq!(shifting.others, vec![("42".to_owned(), 0.1)]);
        assert!(alias_facts(&GetAliasOutput::builder().build()).is_none());
    }
}
