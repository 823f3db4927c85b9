//! Intrinsic functions, parameters and conditions.

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::resource::{self, Kind};
use super::{Resource, Stack, TemplateError};
use crate::parts::{ACCOUNT, REGION};

/// Name of the stack.
const STACK: &str = "snapback";
/// Values in values, names in names.
const DEPTH_MAX: usize = 64;
/// Characters that intrinsic functions may make altogether, so that a small template cannot become a huge one.
const MADE_MAX: usize = 4 * 1024 * 1024;

type Resolved<T> = Result<T, TemplateError>;

pub(super) fn resolve(document: &Value, given: &BTreeMap<String, String>) -> Resolved<Stack> {
    let resolver = Resolver { document, parameters: parameters(document, given)?, made: Cell::new(0) };
    let mut resources = BTreeMap::new();
    for (id, resource) in section(document, "Resources")? {
        let at = format!("Resources.{id}");
        if let Some(resource) = resolver.resource(id, resource, &at)? {
            resources.insert(id.clone(), resource);
        }
    }
    // Nobody on the stage reads outputs, but a wrong one would keep the stack from being made.
    for (id, output) in section(document, "Outputs")? {
        let at = format!("Outputs.{id}");
        if resolver.holds_for(output, &at)? {
            resolver.value(output.get("Value").unwrap_or(&Value::Null), &format!("{at}.Value"), 0)?;
        }
    }
    Ok(Stack { resources })
}

/// A section of the template; empty when it is not there.
fn section<'a>(document: &'a Value, name: &str) -> Resolved<impl Iterator<Item = (&'a String, &'a Value)>> {
    match document.get(name) {
        None => Ok(None.into_iter().flatten()),
        Some(Value::Object(members)) => Ok(Some(members).into_iter().flatten()),
        Some(_) => Err(TemplateError::at(name, "it is no object")),
    }
}

fn parameters(document: &Value, given: &BTreeMap<String, String>) -> Resolved<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    for (name, parameter) in section(document, "Parameters")? {
        let at = format!("Parameters.{name}");
        let value = match (given.get(name), parameter.get("Default")) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => {
                scalar(default).ok_or_else(|| TemplateError::at(&at, "`Default` is no text or number"))?
            }
            (None, None) => return Err(TemplateError::at(&at, "it has no default and was given no value")),
        };
        let allowed = parameter.get("AllowedValues").and_then(Value::as_array);
        if allowed.is_some_and(|allowed| allowed.iter().filter_map(scalar).all(|allowed| allowed != value)) {
            return Err(TemplateError::at(&at, format!("`{value}` is not among its `AllowedValues`")));
        }
        let value = match parameter.get("Type").and_then(Value::as_str).unwrap_or_default() {
            "String" | "Number" => Value::String(value),
            "CommaDelimitedList" | "List<Number>" => {
                value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
            }
            other => return Err(TemplateError::at(&at, format!("the stage has no parameters of type `{other}`"))),
        };
        values.insert(name.clone(), value);
    }
    match given.keys().find(|name| !values.contains_key(*name)) {
        Some(unknown) => Err(TemplateError::at("Parameters", format!("there is no `{unknown}`"))),
        None => Ok(values),
    }
}

/// The text of a scalar, as CloudFormation turns it into one.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

struct Resolver<'a> {
    document: &'a Value,
    parameters: BTreeMap<String, Value>,
    made: Cell<usize>,
}

impl<'a> Resolver<'a> {
    /// A resource with plain values, or `None` when its condition does not hold.
    fn resource(&self, id: &str, resource: &'a Value, at: &str) -> Resolved<Option<Resource>> {
        let kind = resource.get("Type").and_then(Value::as_str);
        let kind = kind.ok_or_else(|| TemplateError::at(at, "it has no `Type`"))?;
        self.check_depends_on(resource, at)?;
        if !self.holds_for(resource, at)? {
            return Ok(None);
        }
        let empty = json!({});
        let written = resource.get("Properties").unwrap_or(&empty);
        let mut properties = self.value(written, &format!("{at}.Properties"), 0)?.unwrap_or_default();
        if kind == "AWS::Serverless::Function"
            && let Some(globals) = self.document.pointer("/Globals/Function")
        {
            let globals = self.value(globals, "Globals.Function", 0)?.unwrap_or_default();
            properties = with_globals(globals, properties);
        }
        let name = self.physical_name(id, resource, at, 0)?;
        let arn = resource::find(kind).map_or_else(|| name.clone(), |kind| kind.arn(&name));
        Ok(Some(Resource { kind: kind.to_owned(), name, arn, properties }))
    }

    fn check_depends_on(&self, resource: &Value, at: &str) -> Resolved<()> {
        let names = match resource.get("DependsOn") {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(name)) => vec![name.as_str()],
            Some(_) | None => Vec::new(),
        };
        match names.into_iter().find(|name| self.written(name).is_none()) {
            Some(unknown) => {
                Err(TemplateError::at(format!("{at}.DependsOn"), format!("there is no resource `{unknown}`")))
            }
            None => Ok(()),
        }
    }

    fn written(&self, id: &str) -> Option<&'a Value> {
        self.document.get("Resources")?.get(id)
    }

    fn physical_name(&self, id: &str, resource: &Value, at: &str, depth: usize) -> Resolved<String> {
        let kind = resource.get("Type").and_then(Value::as_str).and_then(resource::find);
        let property = kind.map_or("", |kind| kind.name_property);
        let written = resource.get("Properties").and_then(|properties| properties.get(property));
        let name = match written {
            Some(written) => self.value(written, &format!("{at}.Properties.{property}"), depth + 1)?,
            None => None,
        };
        match name {
            None => Ok(format!("{STACK}-{id}")),
            Some(name) => scalar(&name).ok_or_else(|| TemplateError::at(at, format!("`{property}` is no text"))),
        }
    }

    /// Whether the `Condition` of a resource or an output holds; without one it does.
    fn holds_for(&self, owner: &Value, at: &str) -> Resolved<bool> {
        match owner.get("Condition") {
            None => Ok(true),
            Some(Value::String(name)) => self.named_condition(name, at, 0),
            Some(_) => Err(TemplateError::at(at, "`Condition` is no name")),
        }
    }

    fn named_condition(&self, name: &str, at: &str, depth: usize) -> Resolved<bool> {
        let condition = self.document.get("Conditions").and_then(|conditions| conditions.get(name));
        let condition = condition.ok_or_else(|| TemplateError::at(at, format!("there is no condition `{name}`")))?;
        self.condition(condition, &format!("Conditions.{name}"), depth + 1)
    }

    fn condition(&self, condition: &Value, at: &str, depth: usize) -> Resolved<bool> {
        check_depth(at, depth)?;
        let wrong = |why: String| TemplateError::at(at, why);
        let (function, argument) =
            only_member(condition).ok_or_else(|| wrong("a condition is one intrinsic function".to_owned()))?;
        let several = || argument.as_array().ok_or_else(|| wrong(format!("{function} takes a list")));
        match function {
            "Condition" => {
                let name = argument.as_str().ok_or_else(|| wrong("`Condition` is no name".to_owned()))?;
                self.named_condition(name, at, depth)
            }
            "Fn::Equals" => match several()?.as_slice() {
                [one, other] => {
                    let (one, other) = (self.value(one, at, depth + 1)?, self.value(other, at, depth + 1)?);
                    // `true` and `"true"` are the same to CloudFormation.
                    let text = |value: &Option<Value>| value.as_ref().and_then(scalar);
                    Ok(one == other || (text(&one).is_some() && text(&one) == text(&other)))
                }
                _ => Err(wrong("Fn::Equals takes two values".to_owned())),
            },
            "Fn::Not" => match several()?.as_slice() {
                [one] => Ok(!self.condition(one, at, depth + 1)?),
                _ => Err(wrong("Fn::Not takes one condition".to_owned())),
            },
            "Fn::And" | "Fn::Or" => {
                let parts = several()?.iter().map(|part| self.condition(part, at, depth + 1));
                let parts = parts.collect::<Resolved<Vec<bool>>>()?;
                let is_and = function == "Fn::And";
                Ok(if is_and { parts.iter().all(|part| *part) } else { parts.iter().any(|part| *part) })
            }
            other => Err(wrong(format!("the stage has no condition function `{other}`"))),
        }
    }

    /// `value` without intrinsic functions; `None` for `AWS::NoValue`.
    fn value(&self, value: &Value, at: &str, depth: usize) -> Resolved<Option<Value>> {
        check_depth(at, depth)?;
        match value {
            Value::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    list.extend(self.value(item, &format!("{at}.{index}"), depth + 1)?);
                }
                Ok(Some(Value::Array(list)))
            }
            Value::Object(members) => match only_member(value) {
                Some((function, argument)) if function == "Ref" || function.starts_with("Fn::") => {
                    self.intrinsic(function, argument, at, depth)
                }
                Some(_) | None => self.object(members, at, depth).map(Some),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(Some(value.clone())),
        }
    }

    fn object(&self, members: &Map<String, Value>, at: &str, depth: usize) -> Resolved<Value> {
        let mut object = Map::new();
        for (name, member) in members {
            if name.starts_with("Fn::") {
                return Err(TemplateError::at(at, format!("`{name}` has to stand alone")));
            }
            if let Some(member) = self.value(member, &format!("{at}.{name}"), depth + 1)? {
                object.insert(name.clone(), member);
            }
        }
        Ok(Value::Object(object))
    }

    fn intrinsic(&self, function: &str, argument: &Value, at: &str, depth: usize) -> Resolved<Option<Value>> {
        let wrong = |why: &str| TemplateError::at(at, format!("{function} {why}"));
        let items = || argument.as_array().map(Vec::as_slice).ok_or_else(|| wrong("takes a list"));
        match function {
            "Ref" => {
                let name = argument.as_str().ok_or_else(|| wrong("takes a name"))?;
                self.reference(name, at, depth)
            }
            "Fn::GetAtt" => {
                let names = argument.as_str().map(|text| text.split_once('.'));
                let names = names.unwrap_or_else(|| Some((argument.get(0)?.as_str()?, argument.get(1)?.as_str()?)));
                let (id, attribute) = names.ok_or_else(|| wrong("takes a resource and an attribute"))?;
                self.attribute(id, attribute, at, depth).map(Some)
            }
            "Fn::Sub" => {
                let none = Map::new();
                let parts = argument.as_str().map(|text| (text, &none));
                let parts = parts.or_else(|| Some((argument.get(0)?.as_str()?, argument.get(1)?.as_object()?)));
                let (text, names) = parts.ok_or_else(|| wrong("takes a text, or a text and an object"))?;
                self.substitute(text, names, at, depth).map(Some)
            }
            "Fn::If" => match items()? {
                [Value::String(name), yes, no] => {
                    let branch = if self.named_condition(name, at, depth)? { yes } else { no };
                    self.value(branch, at, depth + 1)
                }
                _ => Err(wrong("takes a condition and two values")),
            },
            "Fn::Join" => match items()? {
                [Value::String(between), parts] => {
                    let parts = self.texts(parts, at, depth)?;
                    self.make(parts.join(between), at).map(Some)
                }
                _ => Err(wrong("takes a text and a list")),
            },
            "Fn::Split" => match items()? {
                [Value::String(at_text), whole] if !at_text.is_empty() => {
                    let whole = self.text(whole, at, depth)?;
                    Ok(Some(whole.split(at_text.as_str()).collect()))
                }
                _ => Err(wrong("takes a separator and a text")),
            },
            "Fn::Select" => match items()? {
                [index, list] => {
                    let index = self.text(index, at, depth)?.parse::<usize>().map_err(|_| wrong("takes an index"))?;
                    let list = self.value(list, at, depth + 1)?.unwrap_or_default();
                    let item = list.as_array().and_then(|list| list.get(index));
                    item.cloned().map(Some).ok_or_else(|| wrong("has an index that is not in its list"))
                }
                _ => Err(wrong("takes an index and a list")),
            },
            "Fn::FindInMap" => match items()? {
                [map, first, second] => {
                    let mut found = self.document.get("Mappings");
                    for key in [map, first, second] {
                        let key = self.text(key, at, depth)?;
                        found = found.and_then(|found| found.get(&key));
                    }
                    found.cloned().map(Some).ok_or_else(|| wrong("has keys that `Mappings` has not"))
                }
                _ => Err(wrong("takes a map and two keys")),
            },
            "Fn::ImportValue" => Err(wrong("finds nothing: the stage has no other stacks")),
            _ => Err(wrong("is not known to the stage")),
        }
    }

    fn reference(&self, name: &str, at: &str, depth: usize) -> Resolved<Option<Value>> {
        let text = |text: &str| Ok(Some(Value::from(text)));
        match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::AccountId" => return text(ACCOUNT),
            "AWS::Region" => return text(REGION),
            "AWS::Partition" => return text("aws"),
            "AWS::URLSuffix" => return text("amazonaws.com"),
            "AWS::StackName" => return text(STACK),
            "AWS::StackId" => {
                return text(&format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/00000000"));
            }
            _ => {}
        }
        if let Some(value) = self.parameters.get(name) {
            return Ok(Some(value.clone()));
        }
        let (kind, physical) = self.named(name, at, depth)?;
        Ok(Some(kind.reference(&physical).into()))
    }

    fn attribute(&self, id: &str, attribute: &str, at: &str, depth: usize) -> Resolved<Value> {
        let (kind, name) = self.named(id, at, depth)?;
        let value = kind.attribute(attribute, &name);
        value.map(Value::from).ok_or_else(|| TemplateError::at(at, format!("`{id}` has no attribute `{attribute}`")))
    }

    /// Kind and physical name of another resource.
    fn named(&self, id: &str, at: &str, depth: usize) -> Resolved<(&'static Kind, String)> {
        let resource = self.written(id);
        let resource =
            resource.ok_or_else(|| TemplateError::at(at, format!("there is no parameter or resource `{id}`")))?;
        if !self.holds_for(resource, at)? {
            return Err(TemplateError::at(at, format!("resource `{id}` is left out by its condition")));
        }
        let kind = resource.get("Type").and_then(Value::as_str).unwrap_or_default();
        let found = resource::find(kind).ok_or_else(|| {
            TemplateError::at(at, format!("the stage does not know what `{id}` of type `{kind}` is referred to by"))
        })?;
        let name = self.physical_name(id, resource, &format!("Resources.{id}"), depth)?;
        Ok((found, name))
    }

    /// `text` with each `${Name}` and `${Name.Attribute}` replaced; `${!x}` becomes `${x}`.
    fn substitute(&self, text: &str, names: &Map<String, Value>, at: &str, depth: usize) -> Resolved<Value> {
        let mut made = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            made.push_str(before);
            let (name, behind) =
                after.split_once('}').ok_or_else(|| TemplateError::at(at, "Fn::Sub has a `${` without `}`"))?;
            rest = behind;
            if let Some(literal) = name.strip_prefix('!') {
                made.push_str(&format!("${{{literal}}}"));
                continue;
            }
            let value = match (names.get(name), name.split_once('.')) {
                (Some(value), _) => self.value(value, at, depth + 1)?,
                (None, Some((id, attribute))) => Some(self.attribute(id, attribute, at, depth)?),
                (None, None) => self.reference(name, at, depth)?,
            };
            let value = value.as_ref().and_then(scalar);
            made.push_str(&value.ok_or_else(|| TemplateError::at(at, format!("`${{{name}}}` is no text")))?);
            self.make_room(made.len(), at)?;
        }
        made.push_str(rest);
        self.make(made, at)
    }

    fn text(&self, value: &Value, at: &str, depth: usize) -> Resolved<String> {
        let value = self.value(value, at, depth + 1)?;
        value.as_ref().and_then(scalar).ok_or_else(|| TemplateError::at(at, "it is no text"))
    }

    fn texts(&self, value: &Value, at: &str, depth: usize) -> Resolved<Vec<String>> {
        let list = self.value(value, at, depth + 1)?.unwrap_or_default();
        let list = list.as_array().ok_or_else(|| TemplateError::at(at, "it is no list"))?;
        let texts = list.iter().map(scalar).collect::<Option<Vec<String>>>();
        texts.ok_or_else(|| TemplateError::at(at, "it is no list of texts"))
    }

    fn make(&self, text: String, at: &str) -> Resolved<Value> {
        self.make_room(text.len(), at)?;
        self.made.set(self.made.get() + text.len());
        Ok(Value::String(text))
    }

    fn make_room(&self, more: usize, at: &str) -> Resolved<()> {
        if self.made.get().saturating_add(more) > MADE_MAX {
            return Err(TemplateError::at(at, format!("intrinsic functions make more than {MADE_MAX} bytes")));
        }
        Ok(())
    }
}

fn check_depth(at: &str, depth: usize) -> Resolved<()> {
    if depth > DEPTH_MAX {
        return Err(TemplateError::at(at, "values are nested too deeply, or refer to each other in a circle"));
    }
    Ok(())
}

fn only_member(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.iter().next().map(|(name, value)| (name.as_str(), value))
}

/// SAM's `Globals` under a function's own properties: objects are merged, lists put together, all else is replaced.
fn with_globals(globals: Value, own: Value) -> Value {
    match (globals, own) {
        (Value::Object(mut merged), Value::Object(own)) => {
            for (name, value) in own {
                let under = merged.remove(&name).unwrap_or_default();
                merged.insert(name, with_globals(under, value));
            }
            Value::Object(merged)
        }
        (Value::Array(mut list), Value::Array(own)) => {
            list.extend(own);
            Value::Array(list)
        }
        (_, own) => own,
    }
}

#[cfg(test)]
mod tests;
