//! Policy documents of IAM.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Ask, always};

/// The statements of one or more policy documents.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// What a policy says about something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, none denies it.
    Allow,
    /// A statement denies it.
    Deny,
}

/// One action on one resource that a statement allows, as they are written there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grant<'a> {
    /// For example `dynamodb:GetItem`.
    pub action: &'a str,
    /// ARN, or a pattern of ARNs.
    pub resource: &'a str,
    statement: &'a Statement,
}

/// Why a policy document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Document {
    #[expect(dead_code, reason = "all versions that exist mean the same here")]
    version: Option<String>,
    statement: Many<Statement>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Statement {
    /// Only for people.
    sid: Option<String>,
    effect: Effect,
    principal: Option<Principal>,
    action: Many<String>,
    /// `None` in the trust policy of a role: the role itself.
    resource: Option<Many<String>>,
    #[serde(default)]
    condition: BTreeMap<Operator, BTreeMap<String, Many<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Principal {
    /// `*`.
    Text(String),
    Named(Named),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Named {
    service: Many<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Operator {
    StringEquals,
    StringLike,
    ArnEquals,
    ArnLike,
    Bool,
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Many<T> {
    One(T),
    List(Vec<T>),
}

impl<T> Many<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::List(values) => values,
        }
    }
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// When it has members, operators or principals that the emulator does not know.
    pub fn parse(document: &Value) -> Result<Self, PolicyError> {
        let document: Document =
            serde_json::from_value(document.clone()).map_err(|error| PolicyError(error.to_string()))?;
        let statements = match document.statement {
            Many::One(statement) => vec![statement],
            Many::List(statements) => statements,
        };
        Ok(Self { statements })
    }

    /// Adds the statements of another policy.
    pub fn extend(&mut self, other: Self) {
        self.statements.extend(other.statements);
    }

    /// What the policy says; `None` = nothing, which is no.
    #[must_use]
    pub fn decide(&self, ask: &Ask) -> Option<Decision> {
        let mut decision = None;
        for statement in self.statements.iter().filter(|statement| statement.is_about(ask)) {
            match statement.effect {
                Effect::Deny => return Some(Decision::Deny),
                Effect::Allow => decision = Some(Decision::Allow),
            }
        }
        decision
    }

    /// Everything that it allows, one action and one resource at a time.
    pub fn grants(&self) -> impl Iterator<Item = Grant<'_>> {
        let allowing = self.statements.iter().filter(|statement| statement.effect == Effect::Allow);
        allowing.flat_map(|statement| {
            let actions = statement.action.as_slice().iter();
            actions.flat_map(move |action| {
                statement.resources().map(move |resource| Grant { action, resource, statement })
            })
        })
    }
}

impl Grant<'_> {
    /// Whether this alone would allow it.
    #[must_use]
    pub fn allows(&self, ask: &Ask) -> bool {
        self.statement.concerns(ask)
            && is_like(&self.action.to_ascii_lowercase(), &ask.action.to_ascii_lowercase())
            && is_like(self.resource, &ask.resource)
    }
}

impl std::fmt::Display for Grant<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { action, resource, statement } = self;
        match &statement.principal {
            None => write!(formatter, "{action} on {resource}")?,
            Some(Principal::Text(text)) => write!(formatter, "{text} do {action}")?,
            Some(Principal::Named(named)) => {
                write!(formatter, "{} do {action}", named.service.as_slice().join(", "))?;
            }
        }
        for (key, values) in statement.condition.values().flatten() {
            write!(formatter, ", {key} = {}", values.as_slice().join(" or "))?;
        }
        Ok(())
    }
}

impl Statement {
    fn resources(&self) -> impl Iterator<Item = &str> {
        match &self.resource {
            Some(resources) => resources.as_slice().iter().map(String::as_str).collect(),
            None => vec!["*"],
        }
        .into_iter()
    }

    fn is_about(&self, ask: &Ask) -> bool {
        let action = ask.action.to_ascii_lowercase();
        self.concerns(ask)
            && self.action.as_slice().iter().any(|pattern| is_like(&pattern.to_ascii_lowercase(), &action))
            && self.resources().any(|pattern| is_like(pattern, &ask.resource))
    }

    /// Principal and conditions fit.
    fn concerns(&self, ask: &Ask) -> bool {
        let is_named = match &self.principal {
            None => true,
            Some(Principal::Text(text)) => text == "*",
            Some(Principal::Named(named)) => named.service.as_slice().contains(&ask.principal),
        };
        let mut conditions =
            self.condition.iter().flat_map(|(operator, keys)| keys.iter().map(move |key| (*operator, key)));
        is_named && conditions.all(|(operator, (key, values))| operator.holds(value_of(ask, key), values.as_slice()))
    }
}

impl Operator {
    /// A key that is not there fits nothing.
    fn holds(self, found: Option<&str>, wanted: &[String]) -> bool {
        let Some(found) = found else { return false };
        wanted.iter().any(|wanted| match self {
            Self::StringEquals => wanted == found,
            Self::StringLike | Self::ArnEquals | Self::ArnLike => is_like(wanted, found),
            Self::Bool => wanted.eq_ignore_ascii_case(found),
        })
    }
}

fn value_of<'a>(ask: &'a Ask, key: &str) -> Option<&'a str> {
    let given = ask.context.iter().find(|(known, _)| known.eq_ignore_ascii_case(key));
    given.map(|(_, value)| value.as_str()).or_else(|| always(key))
}

/// Whether `text` fits `pattern`, in which `*` is any text and `?` any letter.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return fits_exactly(pattern, text).is_some_and(str::is_empty);
    };
    let Some(mut text) = fits_exactly(first, text) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let Some(last) = parts.pop() else { return true };
    for part in parts {
        // The first place that fits leaves most for what follows.
        let Some(after) = suffixes(text).find_map(|suffix| fits_exactly(part, suffix)) else { return false };
        text = after;
    }
    suffixes(text).any(|suffix| fits_exactly(last, suffix).is_some_and(str::is_empty))
}

/// What follows `pattern` at the beginning of `text`; `?` is any letter.
fn fits_exactly<'a>(pattern: &str, text: &'a str) -> Option<&'a str> {
    let mut letters = text.chars();
    for wanted in pattern.chars() {
        let found = letters.next()?;
        if wanted != '?' && wanted != found {
            return None;
        }
    }
    Some(letters.as_str())
}

fn suffixes(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().filter_map(|(at, _)| text.get(at..)).chain([""])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_of_iam() {
        let table = [
            ("*", "", true),
            ("*", "anything", true),
            ("arn:x", "arn:x", true),
            ("arn:x", "arn:xy", false),
            ("arn:*", "arn:x:y", true),
            ("arn:*:y", "arn:x:y", true),
            ("arn:*:y", "arn:x:y:z", false),
            ("*:y", "x:y:y", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*?", "a", false),
            ("a*aa", "aaa", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn actions_resources_principals_and_conditions_have_to_fit() {
        let statement = |members: Value| {
            let mut statement =
                json!({"Effect": "Allow", "Action": ["lambda:Get*", "lambda:InvokeFunction"], "Resource": ["arn:f:*"]});
            statement.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            Policy::parse(&json!({"Version": "2012-10-17", "Statement": [statement]})).unwrap()
        };
        let get =
            Ask::new("watcher", "lambda:GetAlias", "arn:f:checkout").with("aws:ResourceTag/snapback", "protected");
        let tagged = |operator: &str, value: Value| {
            statement(json!({"Condition": {operator: {"aws:ResourceTag/snapback": value}}}))
        };
        let table = [
            ("plain", statement(json!({})), Some(Decision::Allow)),
            ("actions have no case", statement(json!({"Action": "LAMBDA:getalias"})), Some(Decision::Allow)),
            ("another action", statement(json!({"Action": "lambda:UpdateAlias"})), None),
            ("another resource", statement(json!({"Resource": "arn:g:*"})), None),
            ("denied", statement(json!({"Effect": "Deny"})), Some(Decision::Deny)),
            ("tag", tagged("StringEquals", json!("protected")), Some(Decision::Allow)),
            ("one of several", tagged("StringEquals", json!(["a", "protected"])), Some(Decision::Allow)),
            ("no pattern", tagged("StringEquals", json!("prot*")), None),
            ("pattern", tagged("StringLike", json!("prot*")), Some(Decision::Allow)),
            ("absent key", statement(json!({"Condition": {"StringEquals": {"aws:ResourceTag/x": "y"}}})), None),
            ("tls", statement(json!({"Condition": {"Bool": {"aws:SecureTransport": "false"}}})), None),
            (
                "account",
                statement(json!({"Condition": {"StringEquals": {"AWS:SourceAccount": "123456789012"}}})),
                Some(Decision::Allow),
            ),
            ("everybody", statement(json!({"Principal": "*"})), Some(Decision::Allow)),
            ("a service", statement(json!({"Principal": {"Service": "events.amazonaws.com"}})), None),
        ];
        for (case, policy, expected) in table {
            assert_eq!(policy.decide(&get), expected, "{case}");
        }
    }

    #[test]
    fn a_denial_outweighs() {
        let document = json!({"Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "sns:*", "Resource": "*"},
            {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}
        ]});
        let policy = Policy::parse(&document).unwrap();
        assert_eq!(policy.decide(&Ask::new("a", "sns:Publish", "arn:t")), Some(Decision::Deny));
        assert_eq!(policy.decide(&Ask::new("a", "sqs:SendMessage", "arn:t")), Some(Decision::Allow));
        let grants: Vec<&str> = policy.grants().map(|grant| grant.action).collect();
        assert_eq!(grants, ["*", "sns:Publish"]);
        assert!(policy.grants().nth(1).unwrap().allows(&Ask::new("a", "sns:Publish", "arn:t")));
        assert!(!policy.grants().nth(1).unwrap().allows(&Ask::new("a", "sns:Subscribe", "arn:t")));
    }

    #[test]
    fn what_the_emulator_does_not_know_is_refused() {
        let table = [
            json!({"Statement": [{"Effect": "Allow", "NotAction": "a:b", "Resource": "*"}]}),
            json!({"Statement": [{"Effect": "allow", "Action": "a:b", "Resource": "*"}]}),
            json!({"Statement": [{"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": {"NumericEquals": {"a": "1"}}}]}),
            json!({"Statement": [{"Effect": "Allow", "Action": "a:b", "Resource": "*", "Principal": {"AWS": "arn"}}]}),
            json!({"Statements": []}),
            json!([]),
        ];
        for document in table {
            assert!(Policy::parse(&document).is_err(), "{document}");
        }
    }
}
