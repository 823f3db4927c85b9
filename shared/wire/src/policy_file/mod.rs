//! The policy file of one service: people write YAML, SSM Parameter Store holds the same document as JSON, and one type
//! reads both. (YAML is turned into a [`Value`] by the command line, so that no function carries a YAML parser.)

mod comparison;
mod duration;
mod file;
mod parameter;
mod share;
#[cfg(test)]
pub(crate) mod tests;

pub use file::PolicyFile;
pub use parameter::{DEFAULT_PREFIX, ParameterNameError, group_of_parameter, parameter_name};

use serde_json::Value;
use snapback_core::Policy;
use snapback_core::policy::OutOfRange;

/// Bytes that a policy may have as JSON: what an advanced parameter holds.
pub const MAX_DOCUMENT: usize = 8 * 1024;
/// Bytes that a stored policy may have: every default is written out in it.
const MAX_STORED: usize = 4 * MAX_DOCUMENT;

/// Why a document is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is longer than Parameter Store can hold.
    #[error("policy has {bytes} bytes, allowed are {most}; shorten its probes' payloads")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        most: usize,
    },
    /// It is not JSON.
    #[error("policy is not JSON ({0}); store it with `snapback policy push`")]
    NotJson(String),
    /// A field is missing, unknown, or has the wrong type or form.
    #[error("policy field `{path}`: {why}; `snapback policy schema` shows what is allowed")]
    Field {
        /// Path of the field, for example `signals.errors`.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A field is out of its range.
    #[error("{0}; change it in the policy file")]
    Range(#[from] OutOfRange),
}

/// Parses the JSON of a policy parameter.
///
/// # Errors
/// When it is longer than [`MAX_DOCUMENT`], no JSON, or not a valid policy; names the field.
pub fn parse_policy_json(text: &str) -> Result<Policy, PolicyError> {
    parse_bounded(text, MAX_DOCUMENT)
}

/// Parses a policy document that was read from YAML or JSON.
///
/// # Errors
/// When it is not a valid policy; names the field.
pub fn parse_policy_value(value: &Value) -> Result<Policy, PolicyError> {
    let file: PolicyFile = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        PolicyError::Field {
            path: if path == "." { "(document)".to_owned() } else { path },
            why: error.into_inner().to_string(),
        }
    })?;
    file.into_policy()
}

/// The policy as the JSON document that Parameter Store and the POLICY item hold: compact, defaults written out.
#[must_use]
pub fn to_json(policy: &Policy) -> String {
    // A struct of strings, numbers and JSON values always serialises.
    serde_json::to_string(&PolicyFile::from(policy)).unwrap_or_default()
}

/// Parses what [`to_json`] wrote; it may be longer than what people may write.
pub(crate) fn parse_stored_policy(text: &str) -> Result<Policy, PolicyError> {
    parse_bounded(text, MAX_STORED)
}

fn parse_bounded(text: &str, most: usize) -> Result<Policy, PolicyError> {
    if text.len() > most {
        let bytes = text.len();
        return Err(PolicyError::TooLarge { bytes, most });
    }
    let value: Value = serde_json::from_str(text).map_err(|error| PolicyError::NotJson(error.to_string()))?;
    parse_policy_value(&value)
}

/// JSON Schema of the policy file, for editors and for `snapback policy schema`.
#[cfg(any(test, feature = "schema"))]
#[must_use]
pub fn policy_schema() -> Value {
    schemars::schema_for!(PolicyFile).to_value()
}
