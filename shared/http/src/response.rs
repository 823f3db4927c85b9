//! What came back.

use crate::causes::chain;
use crate::error::HttpProblem;
use crate::request::BodyRule;
use crate::retry_after;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use std::fmt;
use std::time::{Duration, SystemTime};

/// An answer, whatever its status. `Debug` shows no body.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// How long the server asks to be left alone, at most [`crate::MAX_RETRY_AFTER`]; with 429 and 503 only, `None` where it
    /// does not say.
    pub retry_after: Option<Duration>,
    /// As much of the body as the request's rule lets in.
    pub body: Vec<u8>,
    /// How the body ended.
    pub body_end: BodyEnd,
}

/// How the body of an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEnd {
    /// It is all there.
    Complete,
    /// The rule's bound was reached; there may be more.
    Cut,
    /// The connection broke before the end; why.
    BrokeOff(String),
}

impl Response {
    pub(crate) async fn read(answer: http::Response<Incoming>, rule: BodyRule) -> Result<Self, HttpProblem> {
        let (parts, body) = answer.into_parts();
        let (body, body_end) = match rule {
            BodyRule::Cut(max) => start_of(body, max).await,
            BodyRule::Refuse(max) => whole(body, max).await?,
        };
        let retry_after = retry_after(parts.status, &parts.headers);
        Ok(Self { status: parts.status.as_u16(), retry_after, body, body_end })
    }
}

fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // By the server's own clock where it shows it: ours may be wrong.
    let now = text(header::DATE).and_then(retry_after::date).unwrap_or_else(SystemTime::now);
    retry_after::parse(text(header::RETRY_AFTER)?, now)
}

/// The first `max` bytes. Nobody waits for more.
async fn start_of(mut body: Incoming, max: usize) -> (Vec<u8>, BodyEnd) {
    let mut read = Vec::new();
    while read.len() < max {
        match body.frame().await {
            None => return (read, BodyEnd::Complete),
            Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default()),
            Some(Err(error)) => return (read, BodyEnd::BrokeOff(chain(&error))),
        }
    }
    let is_complete = read.len() == max && body.is_end_stream();
    read.truncate(max);
    (read, if is_complete { BodyEnd::Complete } else { BodyEnd::Cut })
}

/// All of it, at most `max` bytes.
async fn whole(mut body: Incoming, max: usize) -> Result<(Vec<u8>, BodyEnd), HttpProblem> {
    let too_large = HttpProblem::AnswerTooLarge(max);
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(too_large);
    }
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HttpProblem::BrokeOff(chain(&error)))?;
        read.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
        if read.len() > max {
            return Err(too_large);
        }
    }
    Ok((read, BodyEnd::Complete))
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("body_bytes", &self.body.len())
            .field("body_end", &self.body_end)
            .finish()
    }
}
