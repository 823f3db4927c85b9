//! Intrinsic functions, parameters, conditions and SAM's `Globals`. What cannot be known stays a reference or is unknown; nothing
//! here is an error that CloudFormation itself would report.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::node::{Kind, Member, Node, Text};
use super::place::correct_case;
use super::{Resource, Template, TemplateError};

/// Values in values, names in names.
const DEPTH_MAX: usize = 64;
/// Values and bytes that a template may be resolved to, so that a small one cannot become a huge one.
const WORK_MAX: usize = 8 * 1024 * 1024;
const SAM: &str = "AWS::Serverless-2016-10-31";
const SAM_FUNCTION: &str = "AWS::Serverless::Function";
/// Transforms that add no resources which a rule would have to know.
const KNOWN_TRANSFORMS: [&str; 2] = [SAM, "AWS::LanguageExtensions"];

/// Kinds whose `Ref` is a name, and the property that holds it.
const NAMES: [(&str, &str); 9] = [
    (SAM_FUNCTION, "FunctionName"),
    ("AWS::Lambda::Function", "FunctionName"),
    ("AWS::CloudWatch::Alarm", "AlarmName"),
    ("AWS::CloudWatch::CompositeAlarm", "AlarmName"),
    ("AWS::CodeDeploy::Application", "ApplicationName"),
    ("AWS::CodeDeploy::DeploymentGroup", "DeploymentGroupName"),
    ("AWS::CodeDeploy::DeploymentConfig", "DeploymentConfigName"),
    ("AWS::IAM::Role", "RoleName"),
    ("AWS::SSM::Parameter", "Name"),
];

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

/// The property that names a resource of a kind, where `Ref` gives that name.
pub(super) fn name_property(kind: &str) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == kind).map(|(_, property)| *property)
}

pub(super) fn resolve(document: &Node) -> Result<Template, TemplateError> {
    let written = document.member("Resources");
    let resources = match written {
        Some(Member { value: Node { kind: Kind::Map(members), .. }, .. }) if !members.is_empty() => members,
        Some(member) => return Err(TemplateError::new(member.line, "`Resources` is no object with resources")),
        None => return Err(TemplateError::new(document.line.max(1), "it is no template: it has no `Resources`")),
    };
    let resolver = Resolver { document, parameters: parameters(document), given: Cell::new(true), work: Cell::new(0) };
    let found = resources.iter().filter_map(|member| resolver.resource(member)).collect();
    let outputs = document.get("Outputs").map_or(&[][..], Node::members);
    let outputs = outputs.iter().filter_map(|output| output.value.get("Value").cloned()).collect();
    if resolver.work.get() > WORK_MAX {
        return Err(TemplateError::new(1, "its values refer to each other so often that it grows beyond all bounds"));
    }
    let is_loop = |member: &Member| member.name.starts_with("Fn::");
    let transforms = document.get("Transform").map_or(&[][..], Node::items);
    let is_known = |name: &Node| name.known().is_some_and(|name| KNOWN_TRANSFORMS.contains(&name));
    let is_macro = document.get("Transform").is_some_and(|node| node.items().is_empty());
    let is_whole = !is_macro && !resources.iter().any(is_loop) && transforms.iter().all(is_known);
    let connects = |resource: &Member| {
        let kind = resource.value.get("Type").and_then(Node::known);
        kind == Some("AWS::Serverless::Connector") || resource.value.get("Connectors").is_some()
    };
    let has_connectors = resources.iter().any(connects);
    Ok(Template { resources: found, outputs, is_whole, has_connectors })
}

/// Values of parameters by their defaults; one without is a reference to itself, or unknown when it is a list.
fn parameters(document: &Node) -> BTreeMap<String, (Node, Node)> {
    let members = document.get("Parameters").map_or(&[][..], Node::members);
    let both = members.iter().map(|member| {
        let kind = member.value.get("Type").and_then(Node::known).unwrap_or_default();
        let is_list = kind == "CommaDelimitedList" || kind.starts_with("List<");
        let line = member.line;
        let open = if is_list { Kind::Unknown } else { Kind::Text(Text::reference(&member.name)) };
        let open = Node::new(line, open);
        let default = member.value.get("Default").and_then(scalar).filter(|_| !kind.starts_with("AWS::SSM::"));
        let default = match default {
            Some(text) if is_list => {
                let items = text.known().unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty());
                let items = items.map(|item| Node::new(line, Kind::Text(Text::literal(item)))).collect();
                Node::new(line, Kind::List(items))
            }
            Some(text) => Node::new(line, Kind::Text(text)),
            None => open.clone(),
        };
        (member.name.clone(), (default, open))
    });
    both.collect()
}

/// The text of a scalar, as CloudFormation turns it into one.
fn scalar(node: &Node) -> Option<Text> {
    match &node.kind {
        Kind::Text(text) => Some(text.clone()),
        Kind::Number(number) => Some(Text::literal(number.to_string())),
        Kind::Bool(value) => Some(Text::literal(value.to_string())),
        Kind::Unknown | Kind::Null | Kind::List(_) | Kind::Map(_) => None,
    }
}

struct Resolver<'a> {
    document: &'a Node,
    /// By name: the value by default, and the value when nobody knows.
    parameters: BTreeMap<String, (Node, Node)>,
    /// Whether parameters have their defaults.
    given: Cell<bool>,
    work: Cell<usize>,
}

impl Resolver<'_> {
    fn resource(&self, member: &Member) -> Option<Resource> {
        let kind = member.value.get("Type").and_then(Node::known)?.to_owned();
        // Who is left out by the defaults exists with other values only, and those nobody knows.
        let condition = member.value.get("Condition").and_then(Node::known);
        self.given.set(condition.is_none_or(|name| self.named_condition(name, 0) != Some(false)));
        let empty = || Node::new(member.line, Kind::Map(Vec::new()));
        let part = |name: &str| {
            let part = member.value.get(name).and_then(|part| self.value(part, 0));
            part.filter(|part| matches!(part.kind, Kind::Map(_))).unwrap_or_else(empty)
        };
        let mut properties = part("Properties");
        if kind == SAM_FUNCTION
            && let Some(globals) =
                self.document.find(&["Globals", "Function"]).and_then(|globals| self.value(globals, 0))
        {
            let own = member.value.get("Properties").map_or(&[][..], Node::members);
            let without = own.iter().filter(|own| self.value(&own.value, 0).is_none());
            let without: Vec<&str> = without.map(|own| own.name.as_str()).collect();
            properties = with_globals(globals, properties);
            // `AWS::NoValue` takes away the global one.
            if let Kind::Map(members) = &mut properties.kind {
                members.retain(|member| !without.contains(&member.name.as_str()));
            }
        }
        let known = CASED.iter().find(|(cased, _)| *cased == kind).map_or(&[][..], |(_, names)| names);
        let misspelt = correct_case(&mut properties, known, "Properties");
        let ignore = member.value.find(&["Metadata", "snapback", "ignore"]).map_or(&[][..], Node::items);
        let ignore = ignore.iter().filter_map(|rule| Some((rule.known()?.to_owned(), rule.line))).collect();
        let update_policy = part("UpdatePolicy");
        let written = member.value.get("Properties").cloned().unwrap_or_else(empty);
        self.given.set(true);
        Some(Resource {
            id: member.name.clone(),
            kind,
            line: member.line,
            properties,
            update_policy,
            written,
            misspelt,
            ignore,
        })
    }

    fn written(&self, id: &str) -> Option<&Node> {
        self.document.find(&["Resources", id])
    }

    /// `node` without intrinsic functions; `None` for `AWS::NoValue`.
    fn value(&self, node: &Node, depth: usize) -> Option<Node> {
        let unknown = || Some(Node::new(node.line, Kind::Unknown));
        if depth > DEPTH_MAX || !self.spend(1) {
            return unknown();
        }
        match &node.kind {
            Kind::List(items) => {
                let list = items.iter().filter_map(|item| self.value(item, depth + 1)).collect();
                Some(Node::new(node.line, Kind::List(list)))
            }
            Kind::Map(members) => match members.as_slice() {
                [Member { name, value, .. }] if name == "Ref" => self.reference(value.known()?, node.line, depth),
                [Member { name, value, .. }] if name.starts_with("Fn::") => {
                    self.intrinsic(name, value, node.line, depth)
                }
                _ => {
                    let resolved = members.iter().filter_map(|member| {
                        let value = self.value(&member.value, depth + 1)?;
                        Some(Member { name: member.name.clone(), line: member.line, value })
                    });
                    Some(Node::new(node.line, Kind::Map(resolved.collect())))
                }
            },
            Kind::Text(text) => {
                self.spend(text.len());
                Some(node.clone())
            }
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) => Some(node.clone()),
        }
    }

    /// Whether there is room for so much more.
    fn spend(&self, work: usize) -> bool {
        self.work.set(self.work.get().saturating_add(work));
        self.work.get() <= WORK_MAX
    }

    fn intrinsic(&self, function: &str, argument: &Node, line: u32, depth: usize) -> Option<Node> {
        let text = |text: Option<Text>| {
            let text = text.filter(|text| self.spend(text.len()));
            Some(Node::new(line, text.map_or(Kind::Unknown, Kind::Text)))
        };
        match function {
            "Fn::GetAtt" => {
                let both = match argument.items() {
                    [id, attribute] => id.known().zip(attribute.known()),
                    _ => argument.known().and_then(|both| both.split_once('.')),
                };
                text(both.map(|(id, attribute)| self.attribute(id, attribute, depth)))
            }
            "Fn::Sub" => text(self.substitute(argument, depth)),
            "Fn::Join" => text(self.join(argument, depth)),
            "Fn::If" => match argument.items() {
                [condition, yes, no] => match condition.known().and_then(|name| self.named_condition(name, depth)) {
                    Some(holds) => self.value(if holds { yes } else { no }, depth + 1),
                    None => Some(Node::new(line, Kind::Unknown)),
                },
                _ => Some(Node::new(line, Kind::Unknown)),
            },
            "Fn::FindInMap" => {
                let found = argument.items().iter().take(3).try_fold(self.document.get("Mappings")?, |found, key| {
                    found.get(self.value(key, depth + 1)?.known()?)
                });
                let found = found.filter(|_| argument.items().len() == 3);
                Some(Node::new(line, found.map_or(Kind::Unknown, |node| node.kind.clone())))
            }
            "Fn::Select" | "Fn::Split" => {
                let argument = self.value(argument, depth + 1)?;
                let kind = if function == "Fn::Split" { split(&argument) } else { select(&argument) };
                Some(Node::new(line, kind.unwrap_or(Kind::Unknown)))
            }
            // ImportValue, Cidr, GetAZs, Transform and whatever comes.
            _ => Some(Node::new(line, Kind::Unknown)),
        }
    }

    fn reference(&self, name: &str, line: u32, depth: usize) -> Option<Node> {
        let text = |text: Text| Some(Node::new(line, Kind::Text(text)));
        match name {
            "AWS::NoValue" => return None,
            "AWS::NotificationARNs" => return Some(Node::new(line, Kind::Unknown)),
            "AWS::URLSuffix" => return text(Text::literal("amazonaws.com")),
            "AWS::Partition" => return text(Text::literal("aws")),
            _ => {}
        }
        if let Some((default, open)) = self.parameters.get(name) {
            let value = if self.given.get() { default } else { open };
            return Some(Node::new(line, value.kind.clone()));
        }
        text(self.name_of(name, depth))
    }

    /// What a resource is called, or a reference to it.
    fn name_of(&self, id: &str, depth: usize) -> Text {
        let property = self.written(id).and_then(|resource| {
            let kind = resource.get("Type").and_then(Node::known)?;
            resource.find(&["Properties", name_property(kind)?])
        });
        let name = property.and_then(|property| scalar(&self.value(property, depth + 1)?));
        name.unwrap_or_else(|| Text::reference(id))
    }

    fn attribute(&self, id: &str, attribute: &str, depth: usize) -> Text {
        let kind = self.written(id).and_then(|resource| resource.get("Type")).and_then(Node::known).unwrap_or_default();
        let service = match (kind, attribute) {
            (SAM_FUNCTION | "AWS::Lambda::Function", "Arn") => "lambda",
            ("AWS::CloudWatch::Alarm" | "AWS::CloudWatch::CompositeAlarm", "Arn") => "cloudwatch",
            ("AWS::SQS::Queue", "QueueName") => {
                let name = self.written(id).and_then(|queue| queue.find(&["Properties", "QueueName"]));
                let name = name.and_then(|name| scalar(&self.value(name, depth + 1)?));
                return name.unwrap_or_else(|| Text::reference(format!("{id}.QueueName")));
            }
            _ => return Text::reference(format!("{id}.{attribute}")),
        };
        let kind = if service == "lambda" { ":function:" } else { ":alarm:" };
        let mut arn = Text::literal(format!("arn:aws:{service}:"));
        arn.push(&Text::reference("AWS::Region"));
        arn.push(&Text::literal(":"));
        arn.push(&Text::reference("AWS::AccountId"));
        arn.push(&Text::literal(kind));
        arn.push(&self.name_of(id, depth));
        arn
    }

    /// The text with each `${Name}` and `${Name.Attribute}` replaced; `${!x}` becomes `${x}`.
    fn substitute(&self, argument: &Node, depth: usize) -> Option<Text> {
        let (text, names) = match argument.items() {
            [text] => (text.known()?, None),
            [text, names] => (text.known()?, Some(names)),
            _ => return None,
        };
        let mut made = Text::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            made.push(&Text::literal(before));
            let (name, behind) = after.split_once('}')?;
            rest = behind;
            let part = if let Some(literal) = name.strip_prefix('!') {
                Text::literal(format!("${{{literal}}}"))
            } else if let Some(value) = names.and_then(|names| names.get(name)) {
                scalar(&self.value(value, depth + 1)?)?
            } else if let Some((id, attribute)) = name.split_once('.') {
                self.attribute(id.trim(), attribute.trim(), depth)
            } else {
                scalar(&self.reference(name.trim(), argument.line, depth)?)?
            };
            made.push(&part);
            self.spend(made.len()).then_some(())?;
        }
        made.push(&Text::literal(rest));
        Some(made)
    }

    fn join(&self, argument: &Node, depth: usize) -> Option<Text> {
        let [between, list] = argument.items() else { return None };
        let list = self.value(list, depth + 1)?;
        let Kind::List(items) = &list.kind else { return None };
        let mut made = Text::default();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                made.push(&Text::literal(between.known()?));
            }
            made.push(&scalar(item)?);
            self.spend(made.len()).then_some(())?;
        }
        Some(made)
    }

    /// Whether a condition holds; `None`: nobody can tell yet.
    fn named_condition(&self, name: &str, depth: usize) -> Option<bool> {
        self.condition(self.document.find(&["Conditions", name])?, depth + 1)
    }

    fn condition(&self, condition: &Node, depth: usize) -> Option<bool> {
        if depth > DEPTH_MAX || !self.spend(1) {
            return None;
        }
        let [Member { name: function, value: argument, .. }] = condition.members() else { return None };
        match (function.as_str(), argument.items()) {
            ("Condition", [name]) => self.named_condition(name.known()?, depth),
            ("Fn::Equals", [one, other]) => {
                let (one, other) = (scalar(&self.value(one, depth + 1)?)?, scalar(&self.value(other, depth + 1)?)?);
                (one == other)
                    .then_some(true)
                    .or_else(|| one.known().zip(other.known()).map(|(one, other)| one == other))
            }
            ("Fn::Not", [one]) => self.condition(one, depth + 1).map(|holds| !holds),
            ("Fn::And" | "Fn::Or", parts) => {
                let decides = function == "Fn::Or";
                let parts: Vec<Option<bool>> = parts.iter().map(|part| self.condition(part, depth + 1)).collect();
                if parts.contains(&Some(decides)) {
                    return Some(decides);
                }
                parts.iter().all(Option::is_some).then_some(!decides)
            }
            _ => None,
        }
    }
}

fn split(argument: &Node) -> Option<Kind> {
    let [separator, whole] = argument.items() else { return None };
    let (separator, whole) = (separator.known().filter(|separator| !separator.is_empty())?, whole.known()?);
    let part = |part: &str| Node::new(argument.line, Kind::Text(Text::literal(part)));
    Some(Kind::List(whole.split(separator).map(part).collect()))
}

fn select(argument: &Node) -> Option<Kind> {
    let [index, list] = argument.items() else { return None };
    let index: usize = scalar(index)?.known()?.parse().ok()?;
    let Kind::List(items) = &list.kind else { return None };
    items.get(index).map(|item| item.kind.clone())
}

/// SAM's `Globals` under a function's own properties: objects are merged, lists put together, all else is replaced.
fn with_globals(globals: Node, own: Node) -> Node {
    match (globals.kind, own.kind) {
        (Kind::Map(mut merged), Kind::Map(own_members)) => {
            for member in own_members {
                match merged.iter_mut().find(|global| global.name == member.name) {
                    Some(global) => {
                        let under = std::mem::replace(&mut global.value, Node::new(0, Kind::Null));
                        *global = Member { value: with_globals(under, member.value), ..member };
                    }
                    None => merged.push(member),
                }
            }
            Node::new(own.line, Kind::Map(merged))
        }
        (Kind::List(mut list), Kind::List(own_items)) => {
            list.extend(own_items);
            Node::new(own.line, Kind::List(list))
        }
        (_, kind) => Node::new(own.line, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: { Type: String, Default: dev }
  Team: { Type: String }
  Ids: { Type: CommaDelimitedList, Default: "a, b" }
Mappings:
  Sizes: { dev: { Memory: 128 } }
Conditions:
  IsDev: !Equals [!Ref Stage, dev]
  IsProd: !Not [!Condition IsDev]
  IsOurs: !Equals [!Ref Team, ours]
  Either: !Or [!Condition IsOurs, !Condition IsDev]
Globals:
  Function: { Timeout: 5, Tags: { a: "1" }, Layers: [one] }
Resources:
  Queue: { Type: AWS::SQS::Queue, Properties: { QueueName: jobs } }
  Api: { Type: AWS::ApiGateway::RestApi }
  Named: { Type: AWS::Lambda::Function, Properties: { FunctionName: !Sub "${Stage}-checkout" } }
  Made: { Type: AWS::Lambda::Function }
  Sam: { Type: AWS::Serverless::Function, Properties: { Timeout: 7, Tags: { b: "2" }, Layers: [two] } }
  Left: { Type: AWS::SNS::Topic, Condition: IsProd, Properties: { TopicName: !Ref Stage } }
  X:
    Type: Custom::X
    Properties: { Value: VALUE }
"#;

    fn shown(node: &Node) -> String {
        match &node.kind {
            Kind::Unknown => "?".to_owned(),
            Kind::Null => "null".to_owned(),
            Kind::Bool(value) => value.to_string(),
            Kind::Number(number) => number.to_string(),
            Kind::Text(text) => text.to_string(),
            Kind::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
            Kind::Map(members) => {
                let members = members.iter().map(|member| format!("{}:{}", member.name, shown(&member.value)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn values_as_far_as_they_are_known() {
        let table = [
            ("!Ref Stage", "dev"),
            ("!Ref Team", "${Team}"),
            ("!Ref Ids", "[a,b]"),
            ("!Ref Named", "dev-checkout"),
            ("!Ref Made", "${Made}"),
            ("!Ref Api", "${Api}"),
            ("!GetAtt Named.Arn", "arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:dev-checkout"),
            ("!GetAtt [Queue, QueueName]", "jobs"),
            ("!GetAtt Api.RootResourceId", "${Api.RootResourceId}"),
            ("!Sub '${Team}-${Named}-${!x}'", "${Team}-dev-checkout-${x}"),
            ("!Sub ['${a}!', {a: !Ref Team}]", "${Team}!"),
            ("!Join ['-', [a, !Ref Stage]]", "a-dev"),
            ("!Join ['-', !Ref Ids]", "a-b"),
            ("!Select [1, !Split ['/', 'a/b']]", "b"),
            ("!If [IsDev, 1, 2]", "1"),
            ("!If [IsProd, 1, !Ref AWS::NoValue]", ""),
            ("!If [IsOurs, 1, 2]", "?"),
            ("!If [Either, 1, 2]", "1"),
            ("!FindInMap [Sizes, !Ref Stage, Memory]", "128"),
            ("!FindInMap [Sizes, !Ref AWS::Region, Memory]", "?"),
            ("!ImportValue other", "?"),
            ("{ a: [!Ref Stage] }", "{a:[dev]}"),
        ];
        for (value, expected) in table {
            let template = Template::parse(&TEMPLATE.replace("VALUE", value)).expect(value);
            let found = template.resource("X").expect("X").get("Value").map_or_else(String::new, shown);
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn globals_are_under_a_function() {
        let template = Template::parse(TEMPLATE).expect("a template");
        let sam = template.resource("Sam").expect("Sam");
        assert_eq!(shown(&sam.properties), "{Timeout:7,Tags:{a:1,b:2},Layers:[one,two]}");
        let left = template.resource("Left").expect("Left");
        assert_eq!(shown(&left.properties), "{TopicName:${Stage}}", "defaults that leave it out say nothing about it");
    }

    #[test]
    fn a_small_template_stays_small() {
        let mut text = "Resources:\n".to_owned();
        for index in 0..40 {
            let next = index + 1;
            text += &format!(
                "  F{index}: {{ Type: AWS::Lambda::Function, Properties: {{ FunctionName: !Sub '${{F{next}}}${{F{next}}}' }} }}\n"
            );
        }
        assert!(Template::parse(&text).is_err(), "2^40 names");
        let circle = "Resources:\n  F: { Type: AWS::Lambda::Function, Properties: { FunctionName: !Ref F } }\n";
        assert!(Template::parse(circle).is_ok(), "a circle is unknown");
    }
}
