//! Errors with their causes.

use std::error::Error;

/// The error with all its causes, outermost first, each text once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
        cause = inner.source();
    }
    texts.join(": ")
}
