//! Intrinsic functions, parameters, conditions and SAM's `Globals`.

mod condition;
mod intrinsic;
mod place;

use std::cell::Cell;
use std::collections::BTreeMap;

use self::place::At;
use crate::kinds::{self, Place};
use crate::{Kind, Member, Node, Resource, Stack, StackInput, TemplateError, Text, Unknown};

/// Values in values, names in names.
const DEPTH_MAX: usize = 64;
/// Values and bytes that a template may be resolved to, so that a small one cannot become a huge one.
const WORK_MAX: usize = 8 * 1024 * 1024;
const SAM_FUNCTION: &str = "AWS::Serverless::Function";

type Resolved<T> = Result<T, TemplateError>;
/// `None`: it is unknown, and unknown values are kept.
type Known<T> = Resolved<Option<T>>;

pub(crate) fn resolve(document: &Node, unknown: Unknown<'_>) -> Resolved<Stack> {
    let place = match unknown {
        Unknown::Keep => Place { account: Text::reference("AWS::AccountId"), region: Text::reference("AWS::Region") },
        Unknown::Refuse(input) => Place { account: Text::literal(input.account), region: Text::literal(input.region) },
    };
    let parameters = match unknown {
        Unknown::Keep => open_parameters(document),
        Unknown::Refuse(input) => given_parameters(document, input.parameters)?,
    };
    let resolver = Resolver { document, unknown, place, parameters, given: Cell::new(true), work: Cell::new(0) };
    let mut found = Vec::new();
    for member in written_resources(document)? {
        found.extend(resolver.resource(member)?);
    }
    let outputs = resolver.outputs()?;
    if resolver.work.get() > WORK_MAX {
        let why = "its values refer to each other so often that it grows beyond all bounds";
        return Err(TemplateError::new(1, "", why));
    }
    Ok(Stack { resources: found, outputs })
}

fn written_resources(document: &Node) -> Resolved<&[Member]> {
    match document.member("Resources") {
        Some(Member { value: Node { kind: Kind::Map(members), .. }, .. }) if !members.is_empty() => Ok(members),
        Some(member) => Err(TemplateError::new(member.line, "", "`Resources` is no object with resources")),
        None => Err(TemplateError::new(document.line.max(1), "", "it is no template: it has no `Resources`")),
    }
}

/// A parameter.
struct Parameter {
    /// As it is given, or its default.
    value: Node,
    /// As it is when nobody knows.
    open: Node,
}

/// Parameters by their defaults; one without is a reference to itself, or unknown when it is a list.
fn open_parameters(document: &Node) -> BTreeMap<String, Parameter> {
    let members = document.get("Parameters").map_or(&[][..], Node::members);
    let parameters = members.iter().map(|member| {
        let kind = member.value.get("Type").and_then(Node::known).unwrap_or_default();
        let is_list = kind == "CommaDelimitedList" || kind.starts_with("List<");
        let open = if is_list { Kind::Unknown } else { Kind::Text(Text::reference(&member.name)) };
        let open = Node::new(member.line, open);
        let default = member.value.get("Default").and_then(Node::scalar).filter(|_| !kind.starts_with("AWS::SSM::"));
        let value = match default {
            Some(text) if is_list => list_of(text.known().unwrap_or_default(), member.line),
            Some(text) => Node::new(member.line, Kind::Text(text)),
            None => open.clone(),
        };
        (member.name.clone(), Parameter { value, open })
    });
    parameters.collect()
}

/// Parameters as they are given, or by their defaults.
fn given_parameters(document: &Node, given: &BTreeMap<String, String>) -> Resolved<BTreeMap<String, Parameter>> {
    let mut parameters = BTreeMap::new();
    for member in document.get("Parameters").map_or(&[][..], Node::members) {
        let wrong = |why: String| TemplateError::new(member.line, format!("Parameters.{}", member.name), why);
        let value = match (given.get(&member.name), member.value.get("Default")) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => {
                default.scalar().ok_or_else(|| wrong("`Default` is no text or number".to_owned()))?.to_string()
            }
            (None, None) => return Err(wrong("it has no default and was given no value".to_owned())),
        };
        let allowed = member.value.get("AllowedValues").map_or(&[][..], Node::items);
        if !allowed.is_empty() && allowed.iter().filter_map(Node::scalar).all(|one| one.known() != Some(&value)) {
            return Err(wrong(format!("`{value}` is not among its `AllowedValues`")));
        }
        let value = match member.value.get("Type").and_then(Node::known).unwrap_or_default() {
            "String" | "Number" => Node::new(member.line, Kind::Text(Text::literal(value))),
            "CommaDelimitedList" | "List<Number>" => list_of(&value, member.line),
            other => return Err(wrong(format!("parameters of type `{other}` are not known"))),
        };
        parameters.insert(member.name.clone(), Parameter { open: value.clone(), value });
    }
    match given.keys().find(|name| !parameters.contains_key(*name)) {
        Some(unknown) => Err(TemplateError::new(0, "Parameters", format!("there is no `{unknown}`"))),
        None => Ok(parameters),
    }
}

fn list_of(text: &str, line: u32) -> Node {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Node::new(line, Kind::List(items.map(|item| Node::new(line, Kind::Text(Text::literal(item)))).collect()))
}

struct Resolver<'a> {
    document: &'a Node,
    unknown: Unknown<'a>,
    place: Place,
    parameters: BTreeMap<String, Parameter>,
    /// Whether parameters have their values.
    given: Cell<bool>,
    work: Cell<usize>,
}

impl<'a> Resolver<'a> {
    /// The stack's name, parameters and place, where all of them are known.
    fn input(&self) -> Option<&'a StackInput<'a>> {
        match self.unknown {
            Unknown::Keep => None,
            Unknown::Refuse(input) => Some(input),
        }
    }

    /// What cannot be known: nothing, or an error.
    fn doubt<T>(&self, at: &At<'_>, why: impl FnOnce() -> String) -> Known<T> {
        match self.unknown {
            Unknown::Keep => Ok(None),
            Unknown::Refuse(_) => Err(at.error(why())),
        }
    }

    /// A resource with plain values; `None` when it is none, or is left out by its condition.
    fn resource(&self, member: &Member) -> Known<Resource> {
        let top = At::top("Resources", member.line);
        let at = top.below(&member.name, member.line);
        let Some(kind) = member.value.get("Type").and_then(Node::known) else {
            return self.doubt(&at, || "it has no `Type`".to_owned());
        };
        self.check_depends_on(&member.value, &at)?;
        let is_there = self.holds_for(&member.value, &at)? != Some(false);
        if !is_there && self.input().is_some() {
            return Ok(None);
        }
        // Who is left out by the defaults exists with other values only, and those nobody knows.
        self.given.set(is_there);
        let mut properties = self.part(member, "Properties", &at)?;
        if kind == SAM_FUNCTION {
            properties = self.over_globals(member, properties, &at)?;
        }
        let update_policy = self.part(member, "UpdatePolicy", &at)?;
        let name = self.physical_name(&member.name, &member.value, &at)?;
        let arn = kinds::find(kind).map_or_else(|| name.clone(), |kind| kind.arn(&name, &self.place));
        self.given.set(true);
        Ok(Some(Resource {
            id: member.name.clone(),
            kind: kind.to_owned(),
            line: member.line,
            name,
            arn,
            properties,
            update_policy,
            written: member.value.clone(),
        }))
    }

    /// An object of a resource; empty when it is not there.
    fn part(&self, resource: &Member, name: &'static str, at: &At<'_>) -> Resolved<Node> {
        let empty = Node::new(resource.line, Kind::Map(Vec::new()));
        let Some(written) = resource.value.get(name) else { return Ok(empty) };
        let at = at.below(name, written.line);
        match self.value(written, &at)? {
            Some(part) if matches!(part.kind, Kind::Map(_)) => Ok(part),
            None => Ok(empty),
            Some(_) => Ok(self.doubt(&at, || "it is no object".to_owned())?.unwrap_or(empty)),
        }
    }

    /// SAM's `Globals` under a function's own properties.
    fn over_globals(&self, resource: &Member, properties: Node, at: &At<'_>) -> Resolved<Node> {
        let Some(globals) = self.document.find(&["Globals", "Function"]) else { return Ok(properties) };
        let Some(globals) = self.value(globals, &At::top("Globals.Function", globals.line))? else {
            return Ok(properties);
        };
        let mut merged = with_globals(globals, properties);
        // `AWS::NoValue` takes away the global one.
        for own in resource.value.get("Properties").map_or(&[][..], Node::members) {
            if self.value(&own.value, &at.below("Properties", own.line).below(&own.name, own.line))?.is_none()
                && let Kind::Map(members) = &mut merged.kind
            {
                members.retain(|member| member.name != own.name);
            }
        }
        Ok(merged)
    }

    /// Where unknown values are refused, a wrong output would keep the stack from being made.
    fn outputs(&self) -> Resolved<Vec<Node>> {
        let outputs = self.document.get("Outputs").map_or(&[][..], Node::members);
        if self.input().is_some() {
            let top = At::top("Outputs", 0);
            for output in outputs {
                let at = top.below(&output.name, output.line);
                if let (Some(true), Some(value)) = (self.holds_for(&output.value, &at)?, output.value.get("Value")) {
                    self.value(value, &at.below("Value", value.line))?;
                }
            }
        }
        Ok(outputs.iter().filter_map(|output| output.value.get("Value").cloned()).collect())
    }

    fn check_depends_on(&self, resource: &Node, at: &At<'_>) -> Resolved<()> {
        let names = resource.get("DependsOn").map_or(&[][..], Node::items);
        let unknown = names.iter().filter_map(Node::known).find(|name| self.written(name).is_none());
        if let Some(unknown) = unknown {
            let at = at.below("DependsOn", 0);
            self.doubt::<()>(&at, || format!("there is no resource `{unknown}`"))?;
        }
        Ok(())
    }

    fn written(&self, id: &str) -> Option<&'a Node> {
        self.document.find(&["Resources", id])
    }

    /// What a resource is called: as its property says, else made up with the stack, which is a reference where that is not
    /// known.
    fn physical_name(&self, id: &str, resource: &Node, at: &At<'_>) -> Resolved<Text> {
        let made_up = || match self.input() {
            None => Text::reference(id),
            Some(input) => Text::literal(format!("{}-{id}", input.stack)),
        };
        Ok(self.written_name(resource, at)?.unwrap_or_else(made_up))
    }

    /// What its property says.
    fn written_name(&self, resource: &Node, at: &At<'_>) -> Known<Text> {
        let property = resource.get("Type").and_then(Node::known).and_then(kinds::find).map(|kind| kind.name_property);
        let written = property.and_then(|property| Some((property, resource.find(&["Properties", property])?)));
        let Some((property, written)) = written else { return Ok(None) };
        let at = at.below("Properties", written.line);
        let at = at.below(property, written.line);
        match self.value(written, &at)? {
            None => Ok(None),
            Some(name) => match name.scalar() {
                Some(name) => Ok(Some(name)),
                None => self.doubt(&at, || "it is no text".to_owned()),
            },
        }
    }

    /// `node` without intrinsic functions; `None` for `AWS::NoValue`.
    fn value(&self, node: &Node, at: &At<'_>) -> Resolved<Option<Node>> {
        let unknown = || Ok(Some(Node::new(node.line, Kind::Unknown)));
        if at.depth > DEPTH_MAX {
            self.doubt::<()>(at, || "values are nested too deeply, or refer to each other in a circle".to_owned())?;
            return unknown();
        }
        if !self.spend(1, at)? {
            return unknown();
        }
        match &node.kind {
            Kind::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    list.extend(self.value(item, &at.item(index, item.line))?);
                }
                Ok(Some(Node::new(node.line, Kind::List(list))))
            }
            Kind::Map(members) => match members.as_slice() {
                [Member { name, value, .. }] if name == "Ref" => match value.known() {
                    Some(name) => self.reference(name, node.line, at),
                    None => self.doubt(at, || "Ref takes a name".to_owned()),
                },
                [Member { name, value, .. }] if name.starts_with("Fn::") => self.intrinsic(name, value, node.line, at),
                members => self.object(members, node.line, at).map(Some),
            },
            Kind::Text(text) => {
                self.spend(text.len(), at)?;
                Ok(Some(node.clone()))
            }
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) => Ok(Some(node.clone())),
        }
    }

    fn object(&self, members: &[Member], line: u32, at: &At<'_>) -> Resolved<Node> {
        let mut resolved = Vec::with_capacity(members.len());
        for member in members {
            if member.name.starts_with("Fn::") {
                self.doubt::<()>(at, || format!("`{}` has to stand alone", member.name))?;
            }
            if let Some(value) = self.value(&member.value, &at.below(&member.name, member.line))? {
                resolved.push(Member { name: member.name.clone(), line: member.line, value });
            }
        }
        Ok(Node::new(line, Kind::Map(resolved)))
    }

    /// Whether there is room for so much more.
    fn spend(&self, work: usize, at: &At<'_>) -> Resolved<bool> {
        self.work.set(self.work.get().saturating_add(work));
        let has_room = self.work.get() <= WORK_MAX;
        if !has_room {
            self.doubt::<()>(at, || format!("the template grows to more than {WORK_MAX} values and bytes"))?;
        }
        Ok(has_room)
    }
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
mod tests;
