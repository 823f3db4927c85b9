//! Rules of composite alarms: `ALARM(a) OR (OK("b") AND NOT INSUFFICIENT_DATA(c))`.

use std::collections::BTreeSet;

use super::error::CloudWatchError;
use super::evaluate::AlarmState;

/// Bounds that CloudWatch documents, and ours on nesting.
const MAX_LENGTH: usize = 10_240;
const MAX_ELEMENTS: usize = 500;
const MAX_CHILDREN: usize = 100;
const MAX_DEPTH: usize = 64;

/// A parsed rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AlarmRule {
    text: String,
    node: Node,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Constant(bool),
    /// The child has this state.
    Is(AlarmState, String),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

impl AlarmRule {
    /// Reads `AlarmRule`; children are named or given as ARNs, with or without double quotes.
    pub(super) fn parse(text: &str) -> Result<Self, CloudWatchError> {
        if text.chars().count() > MAX_LENGTH {
            return Err(wrong("it has more than 10240 characters"));
        }
        let mut tokens = tokens(text)?;
        if tokens.len() > MAX_ELEMENTS * 4 {
            return Err(wrong("it has more than 500 elements"));
        }
        tokens.reverse();
        let mut parser = Parser { tokens, depth: 0 };
        let node = parser.any()?;
        if let Some(token) = parser.tokens.last() {
            return Err(wrong(&format!("unexpected `{token}`")));
        }
        let rule = Self { text: text.to_owned(), node };
        if rule.children().len() > MAX_CHILDREN { Err(wrong("it has more than 100 children")) } else { Ok(rule) }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Names of the alarms in the rule.
    pub(super) fn children(&self) -> BTreeSet<&str> {
        let mut children = BTreeSet::new();
        let mut left = vec![&self.node];
        while let Some(node) = left.pop() {
            match node {
                Node::Constant(_) => {}
                Node::Is(_, name) => {
                    children.insert(name.as_str());
                }
                Node::Not(inner) => left.push(inner),
                Node::All(nodes) | Node::Any(nodes) => left.extend(nodes),
            }
        }
        children
    }

    /// Whether the rule holds; a child without a state is in none.
    pub(super) fn holds(&self, state_of: &dyn Fn(&str) -> Option<AlarmState>) -> bool {
        holds(&self.node, state_of)
    }
}

fn holds(node: &Node, state_of: &dyn Fn(&str) -> Option<AlarmState>) -> bool {
    match node {
        Node::Constant(value) => *value,
        Node::Is(state, name) => state_of(name) == Some(*state),
        Node::Not(inner) => !holds(inner, state_of),
        Node::All(nodes) => nodes.iter().all(|node| holds(node, state_of)),
        Node::Any(nodes) => nodes.iter().any(|node| holds(node, state_of)),
    }
}

struct Parser {
    /// The next token last.
    tokens: Vec<String>,
    depth: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Node, CloudWatchError> {
        let mut nodes = vec![self.all()?];
        while self.take("OR") {
            nodes.push(self.all()?);
        }
        Ok(Node::Any(nodes))
    }

    fn all(&mut self) -> Result<Node, CloudWatchError> {
        let mut nodes = vec![self.one()?];
        while self.take("AND") {
            nodes.push(self.one()?);
        }
        Ok(Node::All(nodes))
    }

    fn one(&mut self) -> Result<Node, CloudWatchError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(wrong("it is nested too deeply"));
        }
        let token = self.tokens.pop().ok_or_else(|| wrong("it ends too early"))?;
        let node = match (token.as_str(), AlarmState::parse(&token)) {
            ("NOT", _) => Node::Not(Box::new(self.one()?)),
            ("TRUE", _) => Node::Constant(true),
            ("FALSE", _) => Node::Constant(false),
            ("(", _) => {
                let node = self.any()?;
                self.expect(")")?;
                node
            }
            (_, Some(state)) => {
                self.expect("(")?;
                let name =
                    self.tokens.pop().filter(|name| name != ")").ok_or_else(|| wrong("an alarm name is missing"))?;
                self.expect(")")?;
                let (_, name) = name.rsplit_once(":alarm:").unwrap_or(("", &name));
                Node::Is(state, name.to_owned())
            }
            (other, None) => return Err(wrong(&format!("unexpected `{other}`"))),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.tokens.last().is_some_and(|token| token == word);
        if there {
            self.tokens.pop();
        }
        there
    }

    fn expect(&mut self, word: &str) -> Result<(), CloudWatchError> {
        if self.take(word) { Ok(()) } else { Err(wrong(&format!("`{word}` is missing"))) }
    }
}

fn tokens(text: &str) -> Result<Vec<String>, CloudWatchError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' | ')' => rest.split_at(1),
            '"' => {
                let quoted = rest.split_at(1).1;
                quoted.split_once('"').ok_or_else(|| wrong("a quote is not closed"))?
            }
            _ => rest.split_at(rest.find(|c: char| c.is_whitespace() || "()\"".contains(c)).unwrap_or(rest.len())),
        };
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn wrong(why: &str) -> CloudWatchError {
    CloudWatchError::validation(format!("AlarmRule is not valid: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_over_the_states_of_children() {
        let state_of = |name: &str| match name {
            "red" => Some(AlarmState::Alarm),
            "green one" => Some(AlarmState::Ok),
            "new" => Some(AlarmState::InsufficientData),
            _ => None,
        };
        let table = [
            ("ALARM(red)", true),
            ("ALARM(\"green one\")", false),
            ("OK(\"green one\") AND ALARM(red)", true),
            ("OK(red) OR INSUFFICIENT_DATA(new)", true),
            ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:red)", true),
            ("NOT ALARM(red)", false),
            ("TRUE OR FALSE AND FALSE", true),
            ("(TRUE OR FALSE) AND FALSE", false),
            ("NOT (ALARM(new) OR OK(new))", true),
            ("ALARM(nobody) OR OK(nobody)", false),
        ];
        for (text, expected) in table {
            assert_eq!(AlarmRule::parse(text).unwrap().holds(&state_of), expected, "{text}");
        }
        let rule = AlarmRule::parse("ALARM(b) OR NOT (OK(\"a\") AND ALARM(b))").unwrap();
        assert_eq!(rule.children().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn wrong_rules_say_what_is_wrong() {
        let deep = format!("{}TRUE", "NOT ".repeat(500));
        let table = [
            ("", "ends too early"),
            ("ALARM", "`(` is missing"),
            ("ALARM()", "name is missing"),
            ("ALARM(a", "`)` is missing"),
            ("ALARM(\"a)", "quote"),
            ("RED(a)", "unexpected `RED`"),
            ("ALARM(a) ALARM(b)", "unexpected `ALARM`"),
            (&deep, "nested"),
        ];
        for (text, message) in table {
            let error = AlarmRule::parse(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error}");
        }
    }
}
