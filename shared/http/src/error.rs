//! What can go wrong with an exchange.

use crate::request::{MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUEST_BODY};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// An exchange that was not made or gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {problem}")]
pub struct HttpError {
    /// Where, without user name, password and query.
    pub url: String,
    /// What, why, and what to do.
    pub problem: HttpProblem,
}

/// What went wrong. No text has a header or a part of a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpProblem {
    /// The host has an address that may not be called.
    #[error(
        "its host is at {0}, which may not be called: link-local, metadata service, or loopback outside a rehearsal"
    )]
    RefusedAddress(IpAddr),
    /// A header that cannot be sent.
    #[error("header `{0}` is set by the client, or is no valid header; leave it out, or write it in visible ASCII")]
    Header(String),
    /// Too many headers.
    #[error("more than {MAX_HEADERS} headers, or more than {MAX_HEADER_BYTES} bytes of them; send fewer")]
    Headers,
    /// The body of the request is too large.
    #[error("the body to send has {0} bytes; at most {MAX_REQUEST_BODY} are sent")]
    RequestTooLarge(usize),
    /// The name has no address.
    #[error("`{host}` has no address: {why}; look at the name, and whether this network resolves it")]
    NoAddress {
        /// The name.
        host: String,
        /// The system's error.
        why: String,
    },
    /// No address took a connection; this is the last one.
    #[error(
        "no connection to {address}: {why}; look whether the server runs, and what stands between (firewall, security group)"
    )]
    NoConnection {
        /// Address and port.
        address: SocketAddr,
        /// The system's error.
        why: String,
    },
    /// There is a connection, but no secure one.
    #[error(
        "no secure connection: {0}; the server needs a certificate for this name of an authority that Mozilla trusts"
    )]
    Tls(String),
    /// The connection broke, or what came was no HTTP.
    #[error("the exchange broke off: {0}")]
    BrokeOff(String),
    /// The time was over before the whole answer was there.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The body of the answer is larger than what the caller takes.
    #[error("the answer has more than {0} bytes, which is more than is read of it")]
    AnswerTooLarge(usize),
}
