//! Where something stands in a template.

use super::{Kind, Member, Node, Resource};

/// A line and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Logical id of the resource.
    pub(crate) resource: String,
    /// Counted from 1; 0: it stands in no file.
    pub(crate) line: u32,
    /// For example `Resources.Alarm.Properties.Threshold`.
    pub(crate) path: String,
}

impl Resource {
    /// The place of what `path` (below the resource, for example `Properties.Metrics.0.Expression`) leads to, or of the nearest
    /// thing above it that is written.
    pub(crate) fn place(&self, path: &str) -> Place {
        let mut line = self.line;
        let mut whole = format!("Resources.{}", self.id);
        let mut names = path.split('.').filter(|name| !name.is_empty());
        let mut node = match names.next() {
            Some("Properties") => {
                whole.push_str(".Properties");
                Some(&self.properties)
            }
            Some("UpdatePolicy") => {
                whole.push_str(".UpdatePolicy");
                Some(&self.update_policy)
            }
            Some(_) | None => None,
        };
        if let Some(node) = node
            && node.line > 0
            && names.clone().next().is_none()
        {
            line = node.line;
        }
        for name in names {
            let (found, at) = match node.map(|node| (&node.kind, node.member(name))) {
                Some((_, Some(Member { line, value, .. }))) => (Some(value), *line),
                Some((Kind::List(items), None)) => {
                    let item = name.parse().ok().and_then(|index: usize| items.get(index));
                    (item, item.map_or(0, |item| item.line))
                }
                Some(_) | None => (None, 0),
            };
            if found.is_none() {
                break;
            }
            node = found;
            line = if at > 0 { at } else { line };
            whole.push('.');
            whole.push_str(name);
        }
        Place { resource: self.id.clone(), line, path: whole }
    }
}

/// Gives the members of an object, and of what is in it, the names of `known` where they differ in case only. Returns what was
/// renamed, without what is in it: the path, what was written, what it should be.
pub(super) fn correct_case(node: &mut Node, known: &[&'static str], at: &str) -> Vec<(String, String, &'static str)> {
    let mut renamed = Vec::new();
    match &mut node.kind {
        Kind::Map(members) => {
            for member in members {
                let right =
                    known.iter().find(|right| right.eq_ignore_ascii_case(&member.name) && **right != member.name);
                let path = format!("{at}.{}", right.unwrap_or(&member.name.as_str()));
                let below = correct_case(&mut member.value, known, &path);
                match right {
                    Some(right) => {
                        let written = std::mem::replace(&mut member.name, (*right).to_owned());
                        renamed.push((path, written, *right));
                    }
                    None => renamed.extend(below),
                }
            }
        }
        Kind::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                renamed.extend(correct_case(item, known, &format!("{at}.{index}")));
            }
        }
        Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
    }
    renamed
}
