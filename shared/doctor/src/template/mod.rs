//! Templates of CloudFormation and SAM, as the rules see them: resources whose properties are plain values as far as they can be
//! known before the stack is made.

mod place;

use snapback_template::{Stack, Unknown, name_property};

pub(crate) use place::Place;
pub use snapback_template::TemplateError;
pub(crate) use snapback_template::{Kind, Member, Node, Text};

use place::correct_case;

/// Transforms that add no resources which a rule would have to know.
const KNOWN_TRANSFORMS: [&str; 2] = ["AWS::Serverless-2016-10-31", "AWS::LanguageExtensions"];

/// Kinds whose properties are often copied from the command line, where their names begin with small letters.
const CASED: [(&str, &[&str]); 2] = [
    (
        "AWS::CodeDeploy::DeploymentGroup",
        &[
            "AlarmConfiguration",
            "Alarms",
            "ApplicationName",
            "AutoRollbackConfiguration",
            "DeploymentConfigName",
            "DeploymentGroupName",
            "DeploymentStyle",
            "Enabled",
            "Events",
            "IgnorePollAlarmFailure",
            "Name",
            "ServiceRoleArn",
        ],
    ),
    (
        "AWS::CloudWatch::Alarm",
        &[
            "AlarmActions",
            "AlarmName",
            "ComparisonOperator",
            "DatapointsToAlarm",
            "Dimensions",
            "EvaluationPeriods",
            "ExtendedStatistic",
            "MetricName",
            "Namespace",
            "Period",
            "Statistic",
            "Threshold",
            "TreatMissingData",
        ],
    ),
];

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
        let template = snapback_template::Template::parse(text)?;
        let stack = template.resolve(Unknown::Keep)?;
        Ok(Self::of(template.document(), stack))
    }

    fn of(document: &Node, stack: Stack) -> Self {
        let written = document.get("Resources").map_or(&[][..], Node::members);
        let is_loop = |member: &Member| member.name.starts_with("Fn::");
        let transforms = document.get("Transform").map_or(&[][..], Node::items);
        let is_known = |name: &Node| name.known().is_some_and(|name| KNOWN_TRANSFORMS.contains(&name));
        let is_macro = document.get("Transform").is_some_and(|node| node.items().is_empty());
        let connects = |resource: &Member| {
            let kind = resource.value.get("Type").and_then(Node::known);
            kind == Some("AWS::Serverless::Connector") || resource.value.get("Connectors").is_some()
        };
        Self {
            is_whole: !is_macro && !written.iter().any(is_loop) && transforms.iter().all(is_known),
            has_connectors: written.iter().any(connects),
            resources: stack.resources.into_iter().map(Resource::of).collect(),
            outputs: stack.outputs,
        }
    }

    pub(crate) fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == id)
    }

    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }
}

impl Resource {
    fn of(resource: snapback_template::Resource) -> Self {
        let snapback_template::Resource { id, kind, line, mut properties, update_policy, written, .. } = resource;
        let known = CASED.iter().find(|(cased, _)| *cased == kind).map_or(&[][..], |(_, names)| names);
        let misspelt = correct_case(&mut properties, known, "Properties");
        let ignore = written.find(&["Metadata", "snapback", "ignore"]).map_or(&[][..], Node::items);
        let ignore = ignore.iter().filter_map(|rule| Some((rule.known()?.to_owned(), rule.line))).collect();
        let written = written.get("Properties").cloned().unwrap_or_else(|| Node::new(line, Kind::Map(Vec::new())));
        Self { id, kind, line, properties, written, update_policy, misspelt, ignore }
    }

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
        let written = name_property(&self.kind).and_then(|property| self.text(property));
        written.cloned().unwrap_or_else(|| Text::reference(&self.id))
    }
}
