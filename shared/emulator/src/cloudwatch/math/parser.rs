//! Reads tokens into a tree. From weak to strong: `OR`, `AND`, comparison, `+ -`, `* /`, unary `-`.

use super::lexer::{Token, tokens};
use super::{Filling, MathError, Node, Operator, Reduction, Rounding};

/// Deepest nesting: the parser recurses, and the text comes from a caller.
const MAX_DEPTH: usize = 48;
/// Most binary operators: a chain of them is a tree as deep as it is long, and the evaluator recurses, too.
const MAX_OPERATORS: usize = 300;

pub(super) fn parse(text: &str) -> Result<Node, MathError> {
    let mut tokens = tokens(text)?;
    tokens.reverse();
    let mut parser = Parser { tokens, depth: 0, operators: 0 };
    let node = parser.level(0)?;
    match parser.tokens.last() {
        None => Ok(node),
        Some(_) => Err(parser.unexpected("an operator or the end")),
    }
}

/// The binary operators, weakest first, with the words that mean them.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("OR", Operator::Or), ("||", Operator::Or)],
    &[("AND", Operator::And), ("&&", Operator::And)],
    &[
        (">=", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        (">", Operator::Greater),
        ("<", Operator::Less),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide)],
];

struct Parser {
    /// What is left, the next token last.
    tokens: Vec<Token>,
    depth: usize,
    operators: usize,
}

impl Parser {
    fn level(&mut self, level: usize) -> Result<Node, MathError> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut node = self.level(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            self.operators += 1;
            if self.operators > MAX_OPERATORS {
                return Err(MathError::TooDeep);
            }
            node = Node::Binary(operator, Box::new(node), Box::new(self.level(level + 1)?));
        }
        Ok(node)
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        let next = match self.tokens.last()? {
            Token::Sign(sign) => *sign,
            Token::Word(word) => word.as_str(),
            Token::Number(_) => return None,
        };
        let (_, operator) = operators.iter().find(|(text, _)| *text == next)?;
        let operator = *operator;
        self.tokens.pop();
        Some(operator)
    }

    /// Every nesting passes here, so here it is bounded.
    fn unary(&mut self) -> Result<Node, MathError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(MathError::TooDeep);
        }
        let node = if self.take("-") { Node::Negate(Box::new(self.unary()?)) } else { self.primary()? };
        self.depth -= 1;
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, MathError> {
        match self.tokens.pop() {
            Some(Token::Number(value)) => Ok(Node::Number(value)),
            Some(Token::Sign("(")) => {
                let node = self.level(0)?;
                self.expect(")")?;
                Ok(node)
            }
            Some(Token::Sign("[")) => Ok(Node::List(self.arguments("]")?)),
            Some(Token::Word(word)) if word.starts_with(|c: char| c.is_ascii_lowercase()) => Ok(Node::Id(word)),
            Some(Token::Word(word)) if self.take("(") => self.function(&word),
            Some(Token::Word(word)) => Err(MathError::Token { expected: "an id, a number or a function", found: word }),
            Some(Token::Sign(sign)) => Err(MathError::Token { expected: "a value", found: format!("`{sign}`") }),
            None => Err(MathError::Token { expected: "a value", found: "the end".into() }),
        }
    }

    fn function(&mut self, name: &str) -> Result<Node, MathError> {
        match name {
            "IF" => self.condition(),
            "FILL" => self.filling(),
            "MIN" => self.one("MIN", |node| Node::Reduce(Reduction::Min, node)),
            "MAX" => self.one("MAX", |node| Node::Reduce(Reduction::Max, node)),
            "SUM" => self.one("SUM", |node| Node::Reduce(Reduction::Sum, node)),
            "AVG" => self.one("AVG", |node| Node::Reduce(Reduction::Average, node)),
            "ABS" => self.one("ABS", |node| Node::Round(Rounding::Absolute, node)),
            "CEIL" => self.one("CEIL", |node| Node::Round(Rounding::Up, node)),
            "FLOOR" => self.one("FLOOR", |node| Node::Round(Rounding::Down, node)),
            other => Err(MathError::Function { name: other.to_owned() }),
        }
    }

    fn condition(&mut self) -> Result<Node, MathError> {
        let mut arguments = self.arguments(")")?.into_iter().map(Box::new);
        let got = arguments.len();
        match (arguments.next(), arguments.next(), arguments.next(), arguments.next()) {
            (Some(condition), Some(then), otherwise, None) => Ok(Node::If(condition, then, otherwise)),
            _ => Err(MathError::Arguments { function: "IF", expected: "a condition and one or two values", got }),
        }
    }

    fn filling(&mut self) -> Result<Node, MathError> {
        let series = Box::new(self.level(0)?);
        self.expect(",")?;
        let filling = match self.tokens.last() {
            Some(Token::Word(word)) if word == "REPEAT" => {
                self.tokens.pop();
                Filling::Repeat
            }
            _ => Filling::Value(Box::new(self.level(0)?)),
        };
        self.expect(")")?;
        Ok(Node::Fill(series, filling))
    }

    fn one(&mut self, function: &'static str, build: fn(Box<Node>) -> Node) -> Result<Node, MathError> {
        let mut arguments = self.arguments(")")?.into_iter();
        let got = arguments.len();
        match (arguments.next(), arguments.next()) {
            (Some(only), None) => Ok(build(Box::new(only))),
            _ => Err(MathError::Arguments { function, expected: "one argument", got }),
        }
    }

    /// Values between commas up to `close`, at least one.
    fn arguments(&mut self, close: &'static str) -> Result<Vec<Node>, MathError> {
        let mut arguments = vec![self.level(0)?];
        while self.take(",") {
            arguments.push(self.level(0)?);
        }
        self.expect(close)?;
        Ok(arguments)
    }

    fn take(&mut self, sign: &str) -> bool {
        let there = matches!(self.tokens.last(), Some(Token::Sign(next)) if *next == sign);
        if there {
            self.tokens.pop();
        }
        there
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), MathError> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(sign)) }
    }

    fn unexpected(&self, expected: &'static str) -> MathError {
        let found = match self.tokens.last() {
            None => "the end".to_owned(),
            Some(Token::Number(value)) => format!("`{value}`"),
            Some(Token::Word(word)) => format!("`{word}`"),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
        };
        MathError::Token { expected, found }
    }
}
