//! Splits an expression into tokens.

use super::{MAX_LENGTH, MathError};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(f64),
    /// An id (lower case first) or a word such as `IF` or `AND` (upper case).
    Word(String),
    /// An operator, parenthesis, bracket or comma.
    Sign(&'static str),
}

/// Longer signs first: `>=` must not be read as `>` and `=`.
const SIGNS: [&str; 17] = [">=", "<=", "==", "!=", "&&", "||", ">", "<", "+", "-", "*", "/", "(", ")", "[", "]", ","];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, MathError> {
    if text.chars().count() > MAX_LENGTH {
        return Err(MathError::TooLong);
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            return Ok(tokens);
        };
        if let Some((sign, after)) = SIGNS.iter().find_map(|sign| Some((*sign, rest.strip_prefix(sign)?))) {
            tokens.push(Token::Sign(sign));
            rest = after;
        } else if first.is_ascii_digit() || first == '.' {
            let (number, after) = split(rest, number_length(rest));
            let value = number.parse().ok().filter(|value: &f64| value.is_finite());
            let value = value.ok_or_else(|| MathError::Number { text: number.to_owned() })?;
            tokens.push(Token::Number(value));
            rest = after;
        } else if first.is_ascii_alphabetic() {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, after) = split(rest, length);
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        } else {
            return Err(MathError::Character { found: first, position: text.len() - rest.len() });
        }
    }
}

/// Length of digits, a point, and an exponent with its sign.
fn number_length(text: &str) -> usize {
    let mut previous = ' ';
    for (index, c) in text.char_indices() {
        let exponent_sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E');
        if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || exponent_sign) {
            return index;
        }
        previous = c;
    }
    text.len()
}

fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}
