//! Policies in Parameter Store.

use crate::Aws;
use crate::error::{call_error, not_understood};
use crate::pages::Page;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use snapback_app::ports::{CallError, CallErrorKind, Policies};
use snapback_core::{GroupRef, Policy};
use snapback_wire::policy_file::{group_of_parameter, parameter_name, parse_policy_json};

/// Pages (10 parameters each) of the list of policies that are read; more is an error.
pub const MAX_PAGES: usize = 200;
/// Parameters that one page may have.
const PAGE: i32 = 10;

const GET: &str = "ssm:GetParameter";
const LIST: &str = "ssm:GetParametersByPath";

impl Policies for Aws {
    async fn policy(&self, group: &GroupRef) -> Result<Option<Policy>, CallError> {
        let name = parameter_name(&self.settings.policy_prefix, group);
        let answer = match self.ssm.get_parameter().name(&name).send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().and_then(|error| error.code()) == Some("ParameterNotFound") => {
                return Ok(None);
            }
            Err(error) => return Err(call_error(GET, &name, &error)),
        };
        let text = answer.parameter().and_then(|parameter| parameter.value());
        let text = text.ok_or_else(|| not_understood(GET, &name, "no value"))?;
        let policy = parse_policy_json(text);
        policy.map(Some).map_err(|error| CallError::new(CallErrorKind::Invalid, GET, &name, error.to_string()))
    }

    async fn groups_with_policy(&self) -> Result<Vec<GroupRef>, CallError> {
        let prefix = &self.settings.policy_prefix;
        let mut groups = Vec::new();
        let mut next = Some(Page::first(LIST, prefix, MAX_PAGES));
        while let Some(page) = next {
            let request = self.ssm.get_parameters_by_path().path(prefix).recursive(true);
            let request = request.max_results(PAGE).set_next_token(page.token());
            let answer = request.send().await;
            let answer = answer.map_err(|error| call_error(LIST, prefix, &error))?;
            for name in answer.parameters().iter().filter_map(|parameter| parameter.name()) {
                match group_of_parameter(prefix, name) {
                    Ok(group) => groups.push(group),
                    // Somebody else's parameter under our prefix must not hide the others.
                    Err(error) => tracing::warn!("parameter left out: {error}"),
                }
            }
            next = page.after(answer.next_token())?;
        }
        Ok(groups)
    }
}

/// Bytes that a standard parameter holds; above it the advanced tier is needed.
#[cfg(feature = "operator")]
const STANDARD_TIER: usize = 4 * 1024;

#[cfg(feature = "operator")]
impl Aws {
    /// Stores `value` as parameter `name`, replacing what is there; over 4 KB in the advanced tier.
    ///
    /// # Errors
    /// When Parameter Store refuses it or cannot be reached.
    pub async fn put_parameter(&self, name: &str, value: &str) -> Result<(), CallError> {
        use aws_sdk_ssm::types::{ParameterTier, ParameterType};
        let tier = if value.len() > STANDARD_TIER { ParameterTier::Advanced } else { ParameterTier::Standard };
        let request = self.ssm.put_parameter().name(name).value(value).overwrite(true);
        let answer = request.r#type(ParameterType::String).tier(tier).send().await;
        answer.map(drop).map_err(|error| call_error("ssm:PutParameter", name, &error))
    }
}
