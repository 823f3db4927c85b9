//! Templates of CloudFormation and SAM, as far as the stage needs them: read, and resolved with their parameters.
//!
//! What the stage does not know is an error that names its place, never something left out.

mod resolve;
mod resource;
mod yaml;

use std::collections::BTreeMap;

use serde_json::Value;

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template is not valid{}: {why}", if path.is_empty() { String::new() } else { format!(" at {path}") })]
pub struct TemplateError {
    path: String,
    why: String,
}

impl TemplateError {
    /// An error at `path`, for example `Resources.Table.Properties`; empty = the whole template.
    pub(crate) fn at(path: impl Into<String>, why: impl Into<String>) -> Self {
        Self { path: path.into(), why: why.into() }
    }
}

/// A template as it is written, with short tags written out.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Value);

impl Template {
    /// Reads YAML (with short tags such as `!Sub`) or JSON, at most 1 MiB.
    ///
    /// # Errors
    /// When `text` is neither; the message has line and column.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        yaml::parse(text).map(Self)
    }

    /// The document, for who wants to change it.
    #[must_use]
    pub fn into_document(self) -> Value {
        self.0
    }

    /// Resolves intrinsic functions, conditions and SAM's `Globals`, as for a stack called `snapback` in the stage's account.
    ///
    /// * `parameters`: values by name; the others have their defaults.
    ///
    /// # Errors
    /// When a parameter has no value, a name is unknown, or an intrinsic function is unknown or wrongly used.
    pub fn resolve(&self, parameters: &BTreeMap<String, String>) -> Result<Stack, TemplateError> {
        resolve::resolve(&self.0, parameters)
    }
}

impl From<Value> for Template {
    fn from(document: Value) -> Self {
        Self(document)
    }
}

/// The resources of a template, all values plain.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// By logical id; those whose condition does not hold are left out.
    pub resources: BTreeMap<String, Resource>,
}

/// A resource with its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// For example `AWS::SNS::Topic`.
    pub kind: String,
    /// Physical name: as the properties say, else made of stack and logical id.
    pub name: String,
    /// ARN, or the name again where the kind has none.
    pub arn: String,
    /// `Properties`, an object.
    pub properties: Value,
}

impl Stack {
    /// Resources of one kind with their logical ids.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&str, &Resource)> {
        let resources = self.resources.iter().filter(move |(_, resource)| resource.kind == kind);
        resources.map(|(id, resource)| (id.as_str(), resource))
    }
}
