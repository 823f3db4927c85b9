//! What roles of a template may do, as far as it can be told: a permission that nobody can see is unknown, never missing.

use crate::template::{Kind, Node, Resource, Template, Text};

/// Managed policies and what they allow of what the rules ask for. One that is not here is unknown.
const MANAGED: [(&str, &[(&str, &str)]); 20] = [
    ("AWSCodeDeployRoleForLambda", FOR_LAMBDA),
    ("AWSCodeDeployRoleForLambdaLimited", FOR_LAMBDA),
    ("AWSCodeDeployRoleForECS", &[("lambda:InvokeFunction", "*"), ("cloudwatch:DescribeAlarms", "*")]),
    ("AWSCodeDeployRoleForECSLimited", &[("lambda:InvokeFunction", HOOKS), ("cloudwatch:DescribeAlarms", "*")]),
    ("AWSCodeDeployRoleForCloudFormation", &[("lambda:InvokeFunction", HOOKS)]),
    ("AWSCodeDeployRole", &[("cloudwatch:DescribeAlarms", "*")]),
    ("AWSCodeDeployFullAccess", &[("codedeploy:*", "*")]),
    ("AWSCodeDeployDeployerAccess", &[]),
    ("AWSCodeDeployReadOnlyAccess", &[]),
    ("AdministratorAccess", &[("*", "*")]),
    ("PowerUserAccess", &[("*", "*")]),
    ("AWSLambda_FullAccess", &[("lambda:*", "*")]),
    ("AWSLambdaRole", &[("lambda:InvokeFunction", "*")]),
    ("AWSLambdaBasicExecutionRole", &[]),
    ("AWSLambdaVPCAccessExecutionRole", &[]),
    ("AWSXRayDaemonWriteAccess", &[]),
    ("AWSXrayWriteOnlyAccess", &[]),
    ("CloudWatchLambdaInsightsExecutionRolePolicy", &[]),
    ("AmazonS3ReadOnlyAccess", &[]),
    ("AmazonDynamoDBReadOnlyAccess", &[]),
];
const HOOKS: &str = "arn:aws:lambda:*:*:function:CodeDeployHook_*";
const FOR_LAMBDA: &[(&str, &str)] =
    &[("lambda:InvokeFunction", HOOKS), ("lambda:UpdateAlias", "*"), ("cloudwatch:DescribeAlarms", "*")];

/// What a role may do.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Actions and resources, each a pattern.
    allowed: Vec<(Text, Text)>,
    /// Managed policies attached to it.
    pub(crate) managed: Vec<String>,
    /// Whether it may also do what nobody can see.
    is_open: bool,
}

impl Grants {
    pub(crate) fn unknown() -> Self {
        Self { is_open: true, ..Self::default() }
    }

    /// What an AWS managed policy allows.
    pub(crate) fn of_managed_policy(name: &str) -> Self {
        let mut grants = Self { managed: vec![name.to_owned()], ..Self::default() };
        match MANAGED.iter().find(|(known, _)| *known == name) {
            Some((_, allowed)) => {
                let pair = |(action, resource): &(&str, &str)| (Text::literal(*action), Text::literal(*resource));
                grants.allowed.extend(allowed.iter().map(pair));
            }
            None => grants.is_open = true,
        }
        grants
    }

    fn add(&mut self, other: Self) {
        self.allowed.extend(other.allowed);
        self.managed.extend(other.managed);
        self.is_open |= other.is_open;
    }

    /// Whether `action` is allowed on something; `None`: nobody can tell.
    pub(crate) fn allows(&self, action: &str) -> Option<bool> {
        self.decide(self.allowed.iter().map(|(pattern, _)| matches_text(pattern, action)))
    }

    /// Whether a statement names `action` itself, without a pattern.
    pub(crate) fn names(&self, action: &str) -> bool {
        self.allowed.iter().any(|(pattern, _)| pattern.known().is_some_and(|known| known.eq_ignore_ascii_case(action)))
    }

    /// Whether `lambda:InvokeFunction` is allowed on the function called `name`; `None`: nobody can tell.
    ///
    /// * `is_made`: the function is in the template, so that a name that is not written is made up with the stack.
    pub(crate) fn may_invoke(&self, name: &Text, is_made: bool) -> Option<bool> {
        self.decide(self.allowed.iter().map(|(action, resource)| match matches_text(action, "lambda:InvokeFunction") {
            Some(true) => names_function(resource, name, is_made),
            other => other,
        }))
    }

    fn decide(&self, answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
        let mut is_open = self.is_open;
        for answer in answers {
            match answer {
                Some(true) => return Some(true),
                Some(false) => {}
                None => is_open = true,
            }
        }
        (!is_open).then_some(false)
    }

    /// Adds the policies of the template that name the role called `name`.
    fn add_attached(&mut self, template: &Template, name: &Text) {
        for kind in ["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"] {
            for policy in template.of_kind(kind) {
                let roles = policy.get("Roles").or_else(|| policy.get("RoleName"));
                let is_its = |role: &Node| role.text() == Some(name);
                if roles.map_or(&[][..], Node::items).iter().any(is_its) {
                    self.add_document(policy.get("PolicyDocument").unwrap_or(&policy.properties));
                }
            }
        }
    }

    fn add_document(&mut self, document: &Node) {
        let Some(statements) = document.get("Statement") else {
            self.is_open = true;
            return;
        };
        match &statements.kind {
            Kind::List(list) => list.iter().for_each(|statement| self.add_statement(statement)),
            Kind::Map(_) => self.add_statement(statements),
            Kind::Unknown | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => self.is_open = true,
        }
    }

    fn add_statement(&mut self, statement: &Node) {
        match statement.get("Effect").and_then(Node::known) {
            // What a denial takes away is not looked at: the rules only ask whether something was granted at all.
            Some("Deny") => return,
            Some("Allow") => {}
            Some(_) | None => self.is_open = true,
        }
        let (Some(actions), Some(resources)) = (statement.get("Action"), statement.get("Resource")) else {
            self.is_open = true;
            return;
        };
        self.is_open |= actions.is_unknown() || resources.is_unknown();
        for action in actions.items().iter().filter_map(Node::text) {
            let pairs =
                resources.items().iter().filter_map(Node::text).map(|resource| (action.clone(), resource.clone()));
            self.allowed.extend(pairs);
            if resources.items().is_empty() {
                self.is_open = true;
            }
        }
    }
}

/// What a role of the template, given by ARN or reference, may do.
pub(crate) fn grants_of_role(template: &Template, role: &Text) -> Grants {
    let id = role.as_reference().and_then(|to| to.strip_suffix(".Arn"));
    match id.and_then(|id| template.resource(id)).filter(|role| role.kind == "AWS::IAM::Role") {
        Some(role) => grants_of_written_role(template, role),
        None => Grants::unknown(),
    }
}

fn grants_of_written_role(template: &Template, role: &Resource) -> Grants {
    let mut grants = Grants::default();
    for policy in role.get("Policies").map_or(&[][..], Node::items) {
        match policy.get("PolicyDocument") {
            Some(document) => grants.add_document(document),
            None => grants.is_open = true,
        }
    }
    let arns = role.get("ManagedPolicyArns");
    let is_open = |node: &Node| node.is_unknown() || matches!(node.kind, Kind::Map(_));
    grants.is_open |= arns.is_some_and(is_open) || role.get("Policies").is_some_and(Node::is_unknown);
    for arn in arns.map_or(&[][..], Node::items) {
        grants.add(grants_of_policy(template, arn));
    }
    grants.add_attached(template, &role.name());
    grants
}

/// A policy by ARN, reference, or (SAM) name.
fn grants_of_policy(template: &Template, policy: &Node) -> Grants {
    let Some(text) = policy.text() else { return Grants::unknown() };
    if let Some(document) = text.as_reference().and_then(|id| template.resource(id)?.get("PolicyDocument")) {
        let mut grants = Grants::default();
        grants.add_document(document);
        return grants;
    }
    match text.known() {
        Some(name) => Grants::of_managed_policy(name.rsplit('/').next().unwrap_or(name)),
        None => Grants::unknown(),
    }
}

/// What a function of the template may do.
pub(crate) fn grants_of_function(template: &Template, function: &Resource) -> Grants {
    if let Some(role) = function.get("Role") {
        return role.text().map_or_else(Grants::unknown, |role| grants_of_role(template, role));
    }
    if function.kind != "AWS::Serverless::Function" {
        return Grants::unknown();
    }
    let mut grants = Grants::default();
    let policies = function.get("Policies");
    // What a connector allows is SAM's to know.
    grants.is_open = policies.is_some_and(Node::is_unknown) || template.has_connectors;
    // SAM makes the role, and other resources may name it.
    grants.add_attached(template, &Text::reference(format!("{}Role", function.id)));
    let list = match policies {
        Some(policy @ Node { kind: Kind::Map(_), .. }) => std::slice::from_ref(policy),
        Some(policies) => policies.items(),
        None => &[],
    };
    for policy in list {
        if policy.get("Statement").is_some() {
            grants.add_document(policy);
        } else if policy.text().is_some() {
            grants.add(grants_of_policy(template, policy));
        } else if !matches!(policy.members(), [template] if template.name.ends_with("Policy")) {
            grants.is_open = true;
        }
        // What is left is one of SAM's policy templates: none of them is about CodeDeploy or hooks.
    }
    grants
}

/// Whether `text` is what `pattern` (with `*` and `?`) stands for, letters of either case; `None`: nobody knows the pattern.
fn matches_text(pattern: &Text, text: &str) -> Option<bool> {
    pattern.known().map(|pattern| glob(&pattern.to_lowercase(), &text.to_lowercase()))
}

/// Whether the pattern of a resource stands for the function called `name`.
fn names_function(pattern: &Text, name: &Text, is_made: bool) -> Option<bool> {
    if pattern.known() == Some("*") {
        return Some(true);
    }
    let named = pattern.behind(":function:").unwrap_or_else(|| pattern.clone()).before(":");
    if named == *name {
        return Some(true);
    }
    match (named.known(), name.known()) {
        (Some(pattern), Some(name)) => Some(glob(pattern, name)),
        // A name that is made up with the stack begins with the stack's name, which has no underscore.
        (Some(pattern), None) if is_made && name.as_reference().is_some() && pattern.starts_with("CodeDeployHook_") => {
            Some(false)
        }
        (None, _) | (Some(_), None) => None,
    }
}

/// Whether `text` is what `pattern` (with `*` and `?`) stands for.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text, mut star) = (0, 0, None);
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(letter) if *letter == '?' || text.get(in_text) == Some(letter) => {
                at += 1;
                in_text += 1;
            }
            Some(_) | None => match star {
                // The last star takes one letter more.
                Some((star_at, taken)) => {
                    at = star_at + 1;
                    in_text = taken + 1;
                    star = Some((star_at, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("*", "anything", true),
            ("codedeploy:Put*", "codedeploy:PutLifecycleEventHookExecutionStatus", true),
            ("codedeploy:*status", "codedeploy:PutStatusStatus", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a?c", "abc", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
