//! Lists that AWS gives page by page: all of them, or an error. Half a list would look like a whole one.

use crate::error::not_understood;
use snapback_app::ports::CallError;

/// The next page of a list.
///
/// ```ignore
/// let mut next = Some(Page::first(CALL, on, MAX_PAGES));
/// while let Some(page) = next {
///     let answer = request.set_next_token(page.token()).send().await?;
///     next = page.after(answer.next_token())?;
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub(crate) struct Page {
    call: &'static str,
    on: String,
    max: usize,
    /// The tokens so far; the last one is this page's.
    tokens: Vec<String>,
}

impl Page {
    /// The first page of `call` (as IAM names it) about `on`.
    ///
    /// * `max`: pages that are read at most.
    pub(crate) fn first(call: &'static str, on: impl ToString, max: usize) -> Self {
        Self { call, on: on.to_string(), max, tokens: Vec::new() }
    }

    /// With what this page is asked for; `None`: it is the first one.
    pub(crate) fn token(&self) -> Option<String> {
        self.tokens.last().cloned()
    }

    /// The page after this one; `None`: this was the last one.
    ///
    /// * `token`: what the answer says; an empty one is none.
    ///
    /// # Errors
    /// When there are more pages than `max`, or a token comes twice, which would be an endless list.
    pub(crate) fn after(mut self, token: Option<&str>) -> Result<Option<Self>, CallError> {
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        if self.tokens.iter().any(|seen| seen == token) {
            return Err(not_understood(self.call, self.on, PageError::Repeated));
        }
        self.tokens.push(token.to_owned());
        if self.tokens.len() >= self.max {
            return Err(not_understood(self.call, self.on, PageError::TooMany(self.max)));
        }
        Ok(Some(self))
    }
}

/// Why a list was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum PageError {
    #[error("more than {0} pages")]
    TooMany(usize),
    #[error("the token of a page came twice, so the list has no end")]
    Repeated,
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapback_app::ports::CallErrorKind;

    /// Follows `tokens`; the tokens that were asked with.
    fn follow(max: usize, tokens: &[Option<&str>]) -> Result<Vec<Option<String>>, CallError> {
        let (mut asked, mut tokens) = (Vec::new(), tokens.iter());
        let mut next = Some(Page::first("ssm:GetParametersByPath", "/snapback", max));
        while let Some(page) = next {
            asked.push(page.token());
            next = page.after(*tokens.next().unwrap())?;
        }
        Ok(asked)
    }

    #[test]
    fn every_page_is_read_or_it_is_an_error() {
        let asked = |tokens: &[&str]| -> Vec<Option<String>> {
            std::iter::once(None).chain(tokens.iter().map(|token| Some((*token).to_owned()))).collect()
        };
        assert_eq!(follow(1, &[None]).unwrap(), asked(&[]));
        assert_eq!(follow(1, &[Some("")]).unwrap(), asked(&[]), "an empty token is none");
        assert_eq!(follow(3, &[Some("b"), Some("c"), None]).unwrap(), asked(&["b", "c"]));
        // (most pages, tokens, what the error says)
        let table = [
            (1, vec![Some("b")], "more than 1 pages"),
            (2, vec![Some("b"), Some("c")], "more than 2 pages"),
            (9, vec![Some("b"), Some("b")], "came twice"),
            (9, vec![Some("b"), Some("c"), Some("b")], "came twice"),
        ];
        for (max, tokens, expected) in table {
            let error = follow(max, &tokens).unwrap_err();
            assert!(error.is(CallErrorKind::Invalid) && error.message.contains(expected), "{error}");
            assert_eq!((error.call, error.on.as_str()), ("ssm:GetParametersByPath", "/snapback"));
        }
    }
}
