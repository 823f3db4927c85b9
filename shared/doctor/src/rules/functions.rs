//! Functions that are deployed, and policies.

use super::Found;
use crate::facts::{Facts, Group};
use crate::template::{Kind, Node, Resource};
use snapback_core::Policy;
use snapback_wire::policy_file::{DEFAULT_PREFIX, parse_policy_json};

const ALL_PROPERTIES: &str = "AutoPublishAliasAllProperties";

pub(super) fn alias_missing(facts: &Facts<'_>) -> Vec<Found> {
    let sam = facts.groups.iter().filter(|group| group.is_sam && group.resource.get("AutoPublishAlias").is_none());
    let found = sam.map(|group| {
        let why = "DeploymentPreference shifts the traffic of an alias, and the function has none";
        Found::new(group.resource.place("Properties.DeploymentPreference"), why, "AutoPublishAlias: live")
    });
    found.collect()
}

pub(super) fn config_change(facts: &Facts<'_>) -> Vec<Found> {
    let sam = facts.groups.iter().filter(|group| group.is_sam && group.resource.get("AutoPublishAlias").is_some());
    let is_off = |function: &Resource| match function.get(ALL_PROPERTIES) {
        None => true,
        Some(on) => on.bool() == Some(false),
    };
    let found = sam.filter(|group| is_off(group.resource)).map(|group| {
        let why = "SAM publishes a version only when the code changes: a new environment variable, time-out or memory size never reaches the alias, and comes along unseen with the next change of code";
        Found::new(group.resource.place("Properties.AutoPublishAlias"), why, format!("{ALL_PROPERTIES}: true"))
    });
    found.collect()
}

/// Parameters that hold policies, each with its document where that is known.
fn policies<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = (&'a Resource, &'a str)> {
    let parameters = facts.template.of_kind("AWS::SSM::Parameter");
    let policies = parameters.filter(|parameter| parameter.name().starts_with(DEFAULT_PREFIX) == Some(true));
    policies.filter_map(|parameter| Some((parameter, parameter.known("Value")?)))
}

/// The policy of a group, when it is in the template and valid.
pub(super) fn policy_of(facts: &Facts<'_>, group: &Group<'_>) -> Option<Policy> {
    let (application, name) = &group.names;
    let end = format!("/{application}/{name}");
    let mut policies = policies(facts).filter(|(parameter, _)| parameter.name().to_string().ends_with(&end));
    parse_policy_json(policies.next()?.1).ok()
}

pub(super) fn policy_invalid(facts: &Facts<'_>) -> Vec<Found> {
    let found = policies(facts).filter_map(|(parameter, document)| {
        let error = parse_policy_json(document).err()?;
        let place = parameter.place("Properties.Value");
        Some(Found::new(place, format!("the policy cannot be used: {error}"), "snapback policy check FILE"))
    });
    found.collect()
}

pub(super) fn tag_missing(facts: &Facts<'_>) -> Vec<Found> {
    let found = facts.groups.iter().filter(|group| group.is_protected()).filter_map(|group| {
        let function = group.function?;
        let is_protected = match function.get("Tags").map(|tags| &tags.kind) {
            None => false,
            Some(Kind::Map(_)) => {
                let tag = function.properties.find(&["Tags", "snapback"]);
                tag.is_some_and(|value| value.known().is_none_or(|value| value == "protected"))
            }
            Some(Kind::List(tags)) => tags.iter().any(|tag| {
                let is = |name: &str, value: &str| tag.get(name).and_then(Node::known).is_none_or(|known| known == value);
                is("Key", "snapback") && is("Value", "protected")
            }),
            Some(_) => return None,
        };
        let why = "Snapback may only look at functions with the tag snapback=protected: its hooks are denied, and refuse the new version";
        let fix = "Tags: { snapback: protected }, unless the stack as a whole has this tag";
        (!is_protected).then(|| Found::new(function.place("Properties.Tags"), why, fix))
    });
    found.collect()
}
