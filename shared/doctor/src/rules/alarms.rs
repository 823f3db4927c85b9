//! Whether anybody looks at an alarm.

use super::Found;
use crate::facts::{Facts, alarms};
use crate::template::{Node, Resource};

pub(super) fn watched_by_nobody(facts: &Facts<'_>) -> Vec<Found> {
    if !facts.template.is_whole {
        return Vec::new();
    }
    let found = |alarm: &Resource| {
        let acts =
            |name: &str| alarm.get(name).is_some_and(|actions| actions.is_unknown() || !actions.items().is_empty());
        let has_action = acts("AlarmActions") || acts("OKActions") || acts("InsufficientDataActions");
        let is_told = facts.any_text_elsewhere(alarm, &|text| text == "CloudWatch Alarm State Change");
        if has_action || is_told || facts.is_mentioned(alarm) {
            return None;
        }
        let why = "it has no action, no deployment group, composite alarm or policy names it, and no output gives it to another stack";
        let fix = "name it in the policy (signals) or give it AlarmActions";
        Some(Found::new(alarm.place(""), why, fix))
    };
    alarms(facts.template).filter_map(found).collect()
}

pub(super) fn actions_off(facts: &Facts<'_>) -> Vec<Found> {
    let found = |alarm: &Resource| {
        let is_off = alarm.get("ActionsEnabled").and_then(Node::bool) == Some(false);
        let has_actions = alarm.get("AlarmActions").is_some_and(|actions| !actions.items().is_empty());
        let why = "it has AlarmActions, and ActionsEnabled is false: nobody is told";
        (is_off && has_actions)
            .then(|| Found::new(alarm.place("Properties.ActionsEnabled"), why, "leave ActionsEnabled out"))
    };
    alarms(facts.template).filter_map(found).collect()
}

pub(super) fn misspelt(facts: &Facts<'_>) -> Vec<Found> {
    let each = facts
        .template
        .resources
        .iter()
        .flat_map(|resource| resource.misspelt.iter().map(move |misspelt| (resource, misspelt)));
    let found = each.map(|(resource, (path, written, right))| {
        let why = format!("`{written}` is the spelling of the command line; CloudFormation does not know it");
        Found::new(resource.place(path), why, format!("write `{right}`"))
    });
    found.collect()
}
