//! What is sent.

use crate::error::{HttpError, HttpProblem};
use crate::url::HttpUrl;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, request};
use http_body_util::Full;
use hyper::body::Bytes;
use std::fmt;
use std::time::Duration;

/// Largest body that is sent, in bytes.
pub const MAX_REQUEST_BODY: usize = 1024 * 1024;
/// Headers of a caller.
pub const MAX_HEADERS: usize = 32;
/// Bytes of names and values of a caller's headers, together.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// What the client says of itself where the caller says nothing.
const AGENT: &str = "snapback";

/// What becomes of the body of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// At most so many bytes are read, the rest is left where it is.
    Cut(usize),
    /// An answer that is longer, or breaks off, is an error.
    Refuse(usize),
}

/// One request. `Debug` shows neither headers nor body.
#[derive(Clone)]
pub struct Request {
    pub(crate) url: HttpUrl,
    /// Over name look-up, connection, TLS handshake, request and the whole answer.
    pub(crate) limit: Duration,
    pub(crate) body_rule: BodyRule,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// GET of `url`.
    ///
    /// * `limit`: time for the whole exchange: name look-up, connection, TLS handshake, request, answer.
    /// * `body_rule`: what becomes of the answer's body.
    #[must_use]
    pub fn get(url: HttpUrl, limit: Duration, body_rule: BodyRule) -> Self {
        Self { url, limit, body_rule, method: Method::GET, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// POST of `body` to `url`; the rest as [`Request::get`] has it. The caller adds `Content-Type`.
    ///
    /// # Errors
    /// When the body is larger than [`MAX_REQUEST_BODY`].
    pub fn post(url: HttpUrl, body: Vec<u8>, limit: Duration, body_rule: BodyRule) -> Result<Self, HttpError> {
        if body.len() > MAX_REQUEST_BODY {
            return Err(HttpError { url: url.to_string(), problem: HttpProblem::RequestTooLarge(body.len()) });
        }
        Ok(Self { method: Method::POST, body: body.into(), ..Self::get(url, limit, body_rule) })
    }

    /// With one more header; a second one of the same name replaces the first.
    ///
    /// # Errors
    /// When name or value are no valid header, when it is one that the client sets itself (`Host`, `Connection`,
    /// `Content-Length` and what else belongs to the connection), or when the headers pass [`MAX_HEADERS`] or
    /// [`MAX_HEADER_BYTES`].
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HttpError> {
        let (Ok(key), Ok(mut content)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err(self.error(HttpProblem::Header(name.chars().take(80).collect())));
        };
        if is_of_the_connection(&key) {
            return Err(self.error(HttpProblem::Header(key.to_string())));
        }
        content.set_sensitive(true);
        self.headers.insert(key, content);
        let bytes: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if self.headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            return Err(self.error(HttpProblem::Headers));
        }
        Ok(self)
    }

    pub(crate) fn error(&self, problem: HttpProblem) -> HttpError {
        HttpError { url: self.url.to_string(), problem }
    }

    /// As it goes over a connection of its own.
    pub(crate) fn message(&self) -> Result<http::Request<Full<Bytes>>, http::Error> {
        let mut message = request::Builder::new()
            .method(self.method.clone())
            .uri(self.url.target())
            .header(header::HOST, self.url.authority())
            .header(header::CONNECTION, HeaderValue::from_static("close"))
            .body(Full::new(self.body.clone()))?;
        let headers = message.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        headers.extend(self.headers.clone());
        Ok(message)
    }
}

/// Headers that say where a message ends or what becomes of the connection.
fn is_of_the_connection(name: &HeaderName) -> bool {
    const OWN: [HeaderName; 8] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::EXPECT,
        header::HOST,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    OWN.contains(name)
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .field("limit", &self.limit)
            .field("body_rule", &self.body_rule)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Loopback;

    fn get() -> Request {
        let url = HttpUrl::parse("https://shop.example.com/health?token=secret", Loopback::Refused).unwrap();
        Request::get(url, Duration::from_secs(1), BodyRule::Cut(1))
    }

    #[test]
    fn headers_are_bounded_and_those_of_the_connection_are_the_clients() {
        let long = "a".repeat(MAX_HEADER_BYTES);
        let table = [
            ("Authorization", "Bearer secret", true),
            ("user-agent", "snapback-probe", true),
            ("host", "secret", false),
            ("Content-Length", "1", false),
            ("Transfer-Encoding", "chunked", false),
            ("connection", "upgrade", false),
            ("a b", "secret", false),
            ("x", "secret\r\nhost: secret", false),
            ("", "secret", false),
            ("x", long.as_str(), false),
        ];
        for (name, value, is_valid) in table {
            match get().header(name, value) {
                Ok(request) => {
                    assert!(is_valid, "{name}");
                    assert_eq!(request.message().unwrap().headers()[name], value);
                }
                Err(error) => {
                    assert!(!is_valid, "{error}");
                    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
                }
            }
        }
        let many = (0..MAX_HEADERS).try_fold(get(), |request, number| request.header(&format!("x-{number}"), "1"));
        let error = many.unwrap().header("y", "1").unwrap_err();
        assert_eq!(error.problem, HttpProblem::Headers);
    }

    #[test]
    fn debug_shows_no_secret() {
        let url = get().url;
        let post = Request::post(url.clone(), b"secret".to_vec(), Duration::from_secs(1), BodyRule::Refuse(1)).unwrap();
        let post = post.header("authorization", "secret").unwrap();
        assert!(!format!("{post:?}").contains("secret"), "{post:?}");
        let error = Request::post(url, vec![0; MAX_REQUEST_BODY + 1], Duration::from_secs(1), BodyRule::Cut(0));
        assert_eq!(error.unwrap_err().problem, HttpProblem::RequestTooLarge(MAX_REQUEST_BODY + 1));
    }
}
