//! Conditions: whether they hold, or that nobody can tell yet.

use super::place::At;
use super::{DEPTH_MAX, Known, Resolved, Resolver};
use crate::{Member, Node};

impl Resolver<'_> {
    /// Whether the `Condition` of a resource or an output holds; without one it does.
    pub(super) fn holds_for(&self, owner: &Node, at: &At<'_>) -> Known<bool> {
        let Some(condition) = owner.get("Condition") else { return Ok(Some(true)) };
        match condition.known() {
            Some(name) => self.named_condition(name, at),
            None => self.doubt(at, || "`Condition` is no name".to_owned()),
        }
    }

    pub(super) fn named_condition(&self, name: &str, at: &At<'_>) -> Known<bool> {
        let Some(condition) = self.document.find(&["Conditions", name]) else {
            return self.doubt(at, || format!("there is no condition `{name}`"));
        };
        let mut here = At::top("Conditions", condition.line);
        here.depth = at.depth;
        self.condition(condition, &here.below(name, condition.line))
    }

    fn condition(&self, condition: &Node, at: &At<'_>) -> Known<bool> {
        if at.depth > DEPTH_MAX {
            return self.doubt(at, || "values are nested too deeply, or refer to each other in a circle".to_owned());
        }
        if !self.spend(1, at)? {
            return Ok(None);
        }
        let [Member { name: function, value: argument, .. }] = condition.members() else {
            return self.doubt(at, || "a condition is one intrinsic function".to_owned());
        };
        let within = at.within();
        match (function.as_str(), argument.items()) {
            ("Condition", [name]) => match name.known() {
                Some(name) => self.named_condition(name, &within),
                None => self.doubt(at, || "`Condition` is no name".to_owned()),
            },
            ("Fn::Equals", [one, other]) => self.equals(one, other, &within),
            ("Fn::Equals", _) => self.doubt(at, || "Fn::Equals takes two values".to_owned()),
            ("Fn::Not", [one]) => Ok(self.condition(one, &within)?.map(|holds| !holds)),
            ("Fn::Not", _) => self.doubt(at, || "Fn::Not takes one condition".to_owned()),
            ("Fn::And" | "Fn::Or", parts) => {
                let decides = function == "Fn::Or";
                let parts = parts.iter().map(|part| self.condition(part, &within)).collect::<Resolved<Vec<_>>>()?;
                if parts.contains(&Some(decides)) {
                    return Ok(Some(decides));
                }
                Ok(parts.iter().all(Option::is_some).then_some(!decides))
            }
            (other, _) => self.doubt(at, || format!("there is no condition function `{other}`")),
        }
    }

    fn equals(&self, one: &Node, other: &Node, at: &At<'_>) -> Known<bool> {
        let (one, other) = (self.value(one, at)?, self.value(other, at)?);
        // `true` and `"true"` are the same to CloudFormation.
        if let (Some(one), Some(other)) = (one.as_ref().and_then(Node::scalar), other.as_ref().and_then(Node::scalar)) {
            let is_known = one.known().is_some() && other.known().is_some();
            return Ok((one == other || is_known).then_some(one == other));
        }
        let same = one.as_ref().map(Node::to_json) == other.as_ref().map(Node::to_json);
        Ok(self.input().map(|_| same))
    }
}
