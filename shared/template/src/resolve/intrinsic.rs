//! Intrinsic functions.

use super::place::At;
use super::{Known, Resolved, Resolver};
use crate::kinds;
use crate::{Kind, Node, Text};

impl Resolver<'_> {
    /// What a function gives; `None` for `AWS::NoValue`.
    pub(super) fn intrinsic(&self, function: &str, argument: &Node, line: u32, at: &At<'_>) -> Resolved<Option<Node>> {
        let at = &at.within();
        let kind = match function {
            "Fn::If" => return self.choice(argument, line, at),
            "Fn::GetAtt" => self.get_att(argument, at)?.map(Kind::Text),
            "Fn::Sub" => self.substitute(argument, at)?.map(Kind::Text),
            "Fn::Join" => self.join(argument, at)?.map(Kind::Text),
            "Fn::FindInMap" => self.find_in_map(argument, at)?,
            "Fn::Select" => self.select(argument, at)?,
            "Fn::Split" => self.split(argument, at)?,
            "Fn::ImportValue" => {
                self.doubt(at, || "Fn::ImportValue finds nothing: there are no other stacks".to_owned())?
            }
            // Cidr, GetAZs, Transform and whatever comes.
            _ => self.doubt(at, || format!("{function} is not known"))?,
        };
        if let Some(Kind::Text(text)) = &kind
            && !self.spend(text.len(), at)?
        {
            return Ok(Some(Node::new(line, Kind::Unknown)));
        }
        Ok(Some(Node::new(line, kind.unwrap_or(Kind::Unknown))))
    }

    /// What `Ref` gives.
    pub(super) fn reference(&self, name: &str, line: u32, at: &At<'_>) -> Resolved<Option<Node>> {
        let text = |text: Text| Ok(Some(Node::new(line, Kind::Text(text))));
        match (name, self.input()) {
            ("AWS::NoValue", _) => return Ok(None),
            ("AWS::URLSuffix", _) => return text(Text::literal("amazonaws.com")),
            ("AWS::Partition", _) => return text(Text::literal("aws")),
            ("AWS::NotificationARNs", None) => return Ok(Some(Node::new(line, Kind::Unknown))),
            ("AWS::AccountId", _) => return text(self.place.account.clone()),
            ("AWS::Region", _) => return text(self.place.region.clone()),
            ("AWS::StackName", Some(input)) => return text(Text::literal(input.stack)),
            ("AWS::StackId", Some(input)) => {
                let (region, account, stack) = (input.region, input.account, input.stack);
                return text(Text::literal(format!(
                    "arn:aws:cloudformation:{region}:{account}:stack/{stack}/00000000"
                )));
            }
            _ => {}
        }
        if let Some(parameter) = self.parameters.get(name) {
            let value = if self.given.get() { &parameter.value } else { &parameter.open };
            return Ok(Some(Node::new(line, value.kind.clone())));
        }
        text(self.ref_of(name, &at.within())?)
    }

    /// What `Ref` gives of a resource.
    fn ref_of(&self, id: &str, at: &At<'_>) -> Resolved<Text> {
        match self.named(id, at)? {
            Some((kind, resource)) if self.input().is_some() || kind.is_kept("Ref") => {
                Ok(kind.reference(&self.physical_name(id, resource, at)?, &self.place))
            }
            Some(_) | None => Ok(Text::reference(id)),
        }
    }

    /// What `Fn::GetAtt` gives.
    fn attribute(&self, id: &str, attribute: &str, at: &At<'_>) -> Resolved<Text> {
        let reference = || Text::reference(format!("{id}.{attribute}"));
        match self.named(id, at)? {
            Some((kind, resource)) if self.input().is_some() || kind.is_kept(attribute) => {
                // A name that is made up is known as an attribute only.
                if self.input().is_none() && attribute != "Arn" && self.written_name(resource, at)?.is_none() {
                    return Ok(reference());
                }
                let name = self.physical_name(id, resource, at)?;
                let found = kind.attribute(attribute, &name, &self.place);
                let why = || format!("`{id}` has no attribute `{attribute}`");
                Ok(found.map_or_else(|| self.doubt(at, why), |text| Ok(Some(text)))?.unwrap_or_else(reference))
            }
            Some(_) | None => Ok(reference()),
        }
    }

    /// Another resource and its kind.
    fn named(&self, id: &str, at: &At<'_>) -> Known<(&'static kinds::ResourceKind, &Node)> {
        let Some(resource) = self.written(id) else {
            return self.doubt(at, || format!("there is no parameter or resource `{id}`"));
        };
        if self.input().is_some() && self.holds_for(resource, at)? == Some(false) {
            return self.doubt(at, || format!("resource `{id}` is left out by its condition"));
        }
        let kind = resource.get("Type").and_then(Node::known).unwrap_or_default();
        match kinds::find(kind) {
            Some(found) => Ok(Some((found, resource))),
            None => self.doubt(at, || format!("it is not known what `{id}` of type `{kind}` is referred to by")),
        }
    }

    fn choice(&self, argument: &Node, line: u32, at: &At<'_>) -> Resolved<Option<Node>> {
        let unknown = Ok(Some(Node::new(line, Kind::Unknown)));
        let [condition, yes, no] = argument.items() else {
            self.doubt::<()>(at, || "Fn::If takes a condition and two values".to_owned())?;
            return unknown;
        };
        let holds = match condition.known() {
            Some(name) => self.named_condition(name, at)?,
            None => self.doubt(at, || "Fn::If takes a condition and two values".to_owned())?,
        };
        match holds {
            Some(holds) => self.value(if holds { yes } else { no }, at),
            None => unknown,
        }
    }

    fn get_att(&self, argument: &Node, at: &At<'_>) -> Known<Text> {
        let both = match argument.items() {
            [id, attribute] => id.known().zip(attribute.known()),
            _ => argument.known().and_then(|both| both.split_once('.')),
        };
        match both {
            Some((id, attribute)) => self.attribute(id, attribute, at).map(Some),
            None => self.doubt(at, || "Fn::GetAtt takes a resource and an attribute".to_owned()),
        }
    }

    /// The text with each `${Name}` and `${Name.Attribute}` replaced; `${!x}` becomes `${x}`.
    fn substitute(&self, argument: &Node, at: &At<'_>) -> Known<Text> {
        let parts = match argument.items() {
            [text] => text.known().zip(Some(None)),
            [text, names] => text.known().zip(Some(Some(names))),
            _ => None,
        };
        let Some((mut rest, names)) = parts else {
            return self.doubt(at, || "Fn::Sub takes a text, or a text and an object".to_owned());
        };
        let mut made = Text::default();
        while let Some((before, after)) = rest.split_once("${") {
            made.push(&Text::literal(before));
            let Some((name, behind)) = after.split_once('}') else {
                return self.doubt(at, || "Fn::Sub has a `${` without `}`".to_owned());
            };
            rest = behind;
            let part = match name.strip_prefix('!') {
                Some(literal) => Some(Text::literal(format!("${{{literal}}}"))),
                None => self.named_part(name, names, at)?,
            };
            let Some(part) = part else {
                return self.doubt(at, || format!("`${{{name}}}` is no text"));
            };
            made.push(&part);
            if !self.spend(made.len(), at)? {
                return Ok(None);
            }
        }
        made.push(&Text::literal(rest));
        Ok(Some(made))
    }

    /// What stands for a name in a text; `None`: it is no text.
    fn named_part(&self, name: &str, names: Option<&Node>, at: &At<'_>) -> Resolved<Option<Text>> {
        if let Some(value) = names.and_then(|names| names.get(name)) {
            return Ok(self.value(value, at)?.as_ref().and_then(Node::scalar));
        }
        match name.split_once('.') {
            Some((id, attribute)) => self.attribute(id.trim(), attribute.trim(), at).map(Some),
            None => Ok(self.reference(name.trim(), 0, at)?.as_ref().and_then(Node::scalar)),
        }
    }

    fn join(&self, argument: &Node, at: &At<'_>) -> Known<Text> {
        let wrong = || "Fn::Join takes a text and a list".to_owned();
        let [between, list] = argument.items() else { return self.doubt(at, wrong) };
        let Some(between) = between.known() else { return self.doubt(at, wrong) };
        let list = self.value(list, at)?.map(|list| list.kind);
        let Some(Kind::List(items)) = list else { return self.doubt(at, wrong) };
        let mut made = Text::default();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                made.push(&Text::literal(between));
            }
            let Some(item) = item.scalar() else { return self.doubt(at, || "it is no list of texts".to_owned()) };
            made.push(&item);
            if !self.spend(made.len(), at)? {
                return Ok(None);
            }
        }
        Ok(Some(made))
    }

    fn find_in_map(&self, argument: &Node, at: &At<'_>) -> Known<Kind> {
        let keys = argument.items();
        if keys.len() != 3 {
            return self.doubt(at, || "Fn::FindInMap takes a map and two keys".to_owned());
        }
        let mut found = self.document.get("Mappings");
        for key in keys {
            let key = self.value(key, at)?.as_ref().and_then(Node::scalar);
            let key = key.as_ref().and_then(Text::known);
            found = found.zip(key).and_then(|(found, key)| found.get(key));
        }
        match found {
            Some(found) => Ok(Some(found.kind.clone())),
            None => self.doubt(at, || "Fn::FindInMap has keys that `Mappings` has not".to_owned()),
        }
    }

    fn split(&self, argument: &Node, at: &At<'_>) -> Known<Kind> {
        let wrong = || "Fn::Split takes a separator and a text".to_owned();
        let Some(argument) = self.value(argument, at)? else { return self.doubt(at, wrong) };
        let [separator, whole] = argument.items() else { return self.doubt(at, wrong) };
        let separator = separator.known().filter(|separator| !separator.is_empty());
        let whole = whole.scalar();
        let Some((separator, whole)) = separator.zip(whole.as_ref().and_then(Text::known)) else {
            return self.doubt(at, wrong);
        };
        let part = |part: &str| Node::new(argument.line, Kind::Text(Text::literal(part)));
        Ok(Some(Kind::List(whole.split(separator).map(part).collect())))
    }

    fn select(&self, argument: &Node, at: &At<'_>) -> Known<Kind> {
        let Some(argument) = self.value(argument, at)? else {
            return self.doubt(at, || "Fn::Select takes an index and a list".to_owned());
        };
        let [index, list] = argument.items() else {
            return self.doubt(at, || "Fn::Select takes an index and a list".to_owned());
        };
        let index = index.scalar().and_then(|index| index.known()?.parse::<usize>().ok());
        let Some(index) = index else { return self.doubt(at, || "Fn::Select takes an index".to_owned()) };
        match &list.kind {
            Kind::List(items) => match items.get(index) {
                Some(item) => Ok(Some(item.kind.clone())),
                None => self.doubt(at, || "Fn::Select has an index that is not in its list".to_owned()),
            },
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_) => {
                self.doubt(at, || "Fn::Select takes an index and a list".to_owned())
            }
        }
    }
}
