//! Values that several commands take.

use snapback_core::DeploymentId;

/// The id of a deployment.
pub(crate) fn parse_id(text: &str) -> Result<DeploymentId, String> {
    DeploymentId::parse(text).map_err(|error| error.to_string())
}

/// A reason or a name that goes on the record.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 500 {
        return Err("allowed are 1 to 500 characters".to_owned());
    }
    Ok(text.to_owned())
}
