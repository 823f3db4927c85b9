//! Templates of CloudFormation and SAM: read with their lines, and resolved with their parameters.
//!
//! ```
//! use snapback_template::{Template, Unknown};
//!
//! let text = "Resources: { Queue: { Type: AWS::SQS::Queue, Properties: { QueueName: !Sub '${AWS::Region}-jobs' } } }";
//! let stack = Template::parse(text)?.resolve(Unknown::Keep)?;
//! let name = stack.resources.first().and_then(|queue| queue.properties.get("QueueName")?.text());
//! assert_eq!(name.map(ToString::to_string).as_deref(), Some("${AWS::Region}-jobs"));
//! # Ok::<(), snapback_template::TemplateError>(())
//! ```
#![warn(missing_docs)]

mod kinds;
mod node;
mod parse;
mod resolve;

use std::collections::BTreeMap;

use serde_json::Value;

pub use kinds::name_property;
pub use node::{Kind, Member, Node, Piece, Text};

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.said())]
pub struct TemplateError {
    /// Counted from 1; 0: it stands in no file.
    pub line: u32,
    /// For example `Resources.Table.Properties`; empty: the whole template.
    pub path: String,
    /// What is wrong there.
    pub why: String,
}

impl TemplateError {
    /// An error on a line, at a path such as `Resources.Table.Properties`; see the fields for what stands for "nowhere".
    #[must_use]
    pub fn new(line: u32, path: impl Into<String>, why: impl Into<String>) -> Self {
        Self { line, path: path.into(), why: why.into() }
    }

    fn said(&self) -> String {
        let line = if self.line > 0 { format!("line {}", self.line) } else { String::new() };
        let place: Vec<&str> = [line.as_str(), &self.path].into_iter().filter(|part| !part.is_empty()).collect();
        let colon = if place.is_empty() { "" } else { ": " };
        format!("{}{colon}{}", place.join(", "), self.why)
    }
}

/// A template as it is written, with short tags written out: `!Ref X` is `{"Ref": "X"}`, `!Sub X` is `{"Fn::Sub": "X"}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Node);

impl Template {
    /// Reads YAML (with short tags) or JSON, at most 1 MiB.
    ///
    /// # Errors
    /// When `text` is neither: with the line.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::parse(text).map(Self)
    }

    /// A template without lines, for who made or changed one.
    #[must_use]
    pub fn from_json(document: &Value) -> Self {
        Self(Node::from_json(document))
    }

    /// The template as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.0.to_json()
    }

    /// The template as it is written.
    #[must_use]
    pub fn document(&self) -> &Node {
        &self.0
    }

    /// Resolves parameters, intrinsic functions, conditions and SAM's `Globals`.
    ///
    /// # Errors
    /// When it has no resources, or its values refer to each other so often that it grows beyond all bounds; with
    /// [`Unknown::Refuse`] also when a parameter has no value, a name is unknown, or an intrinsic function is unknown or wrongly
    /// used.
    pub fn resolve(&self, unknown: Unknown<'_>) -> Result<Stack, TemplateError> {
        resolve::resolve(&self.0, unknown)
    }
}

/// What becomes of what a template does not tell.
#[derive(Debug, Clone, Copy)]
pub enum Unknown<'a> {
    /// It is kept: a reference stays a reference, whatever else cannot be known before the stack is made is [`Kind::Unknown`].
    /// Parameters have their defaults, and resources that these leave out are there, with all parameters open.
    Keep,
    /// It is an error that names its place: every value of this stack is known.
    Refuse(&'a StackInput<'a>),
}

/// What a stack is made of beside its template.
#[derive(Debug, Clone, Copy)]
pub struct StackInput<'a> {
    /// Name of the stack.
    pub stack: &'a str,
    /// Account id, 12 digits.
    pub account: &'a str,
    /// For example `us-east-1`.
    pub region: &'a str,
    /// Values of parameters by name; the others have their defaults.
    pub parameters: &'a BTreeMap<String, String>,
}

/// The resources of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// In the template's order. Those whose condition does not hold are left out where unknown values are refused.
    pub resources: Vec<Resource>,
    /// Values of outputs as they are written: what other stacks may use.
    pub outputs: Vec<Node>,
}

/// A resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Logical id.
    pub id: String,
    /// For example `AWS::CloudWatch::Alarm`.
    pub kind: String,
    /// Of the logical id.
    pub line: u32,
    /// Physical name: as the properties say, else made of stack and logical id; a reference where that is not known.
    pub name: Text,
    /// ARN, or the name again where the kind has none that is known.
    pub arn: Text,
    /// `Properties`, an object without intrinsic functions.
    pub properties: Node,
    /// `UpdatePolicy`, likewise.
    pub update_policy: Node,
    /// The whole resource as it is written, intrinsic functions and all.
    pub written: Node,
}
