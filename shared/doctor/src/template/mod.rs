//! Templates of CloudFormation and SAM, as the rules see them: resources whose properties are plain values as far as they can be
//! known before the stack is made.

mod node;
mod place;
mod resolve;

pub(crate) use node::{Kind, Member, Node, Text};
pub(crate) use place::Place;

/// A template that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct TemplateError {
    /// Counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub why: String,
}

impl TemplateError {
    fn new(line: u32, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }
}

/// A template.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) resources: Vec<Resource>,
    /// Outputs as they are written: what other stacks may use.
    pub(crate) outputs: Vec<Node>,
    /// Whether all resources are written out. With a loop or a macro of its own there may be more than can be seen.
    pub(crate) is_whole: bool,
    /// Whether SAM's connectors add permissions.
    pub(crate) has_connectors: bool,
}

/// A resource.
#[derive(Debug)]
pub(crate) struct Resource {
    /// Logical id.
    pub(crate) id: String,
    /// For example `AWS::CloudWatch::Alarm`.
    pub(crate) kind: String,
    /// Of the logical id.
    pub(crate) line: u32,
    pub(crate) properties: Node,
    /// Properties as they are written, intrinsic functions and all.
    pub(crate) written: Node,
    pub(crate) update_policy: Node,
    /// Properties whose names were wrong in case only: path, what is written, what it should be. They are read as if right.
    pub(crate) misspelt: Vec<(String, String, &'static str)>,
    /// Rules that do not apply to it: `Metadata: { snapback: { ignore: [...] } }`, with their lines.
    pub(crate) ignore: Vec<(String, u32)>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is neither YAML nor JSON, or no template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        resolve::resolve(&node::parse(text)?)
    }

    pub(crate) fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == id)
    }

    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }
}

impl Resource {
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.properties.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&Text> {
        self.get(name).and_then(Node::text)
    }

    pub(crate) fn known(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Node::known)
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Node::number)
    }

    /// What it is called: its name property, or, where its name is made up with the stack, its logical id as a reference.
    pub(crate) fn name(&self) -> Text {
        let written = resolve::name_property(&self.kind).and_then(|property| self.text(property));
        written.cloned().unwrap_or_else(|| Text::reference(&self.id))
    }
}
