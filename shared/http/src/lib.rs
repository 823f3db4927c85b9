//! HTTP to servers that a policy or an installation names: which URLs may be called at all ([`HttpUrl`]) and, with the
//! feature `client`, one bounded exchange with one of them (`send`).
//!
//! * A URL is not trusted with more than a check. Its name is resolved once, and the connection is made to an address that was
//!   looked at: never to link-local addresses, metadata services or, unless the caller allows it, this machine.
//! * Everything has a bound: the URL, the headers, both bodies, and the time of the whole exchange.
//! * Redirects are an answer like any other. Nothing follows them, nothing is tried twice.
//! * Query, user name and password of a URL, headers and bodies are in no error and no `Debug` text.
//!
//! Knows no cloud and no crate of Snapback.
#![warn(missing_docs)]

mod address;
mod causes;
#[cfg(feature = "client")]
mod connection;
#[cfg(feature = "client")]
mod error;
#[cfg(feature = "client")]
mod exchange;
#[cfg(feature = "client")]
mod request;
#[cfg(feature = "client")]
mod response;
#[cfg(feature = "client")]
mod retry_after;
mod url;

pub use address::{Loopback, is_refused_address};
pub use causes::chain;
#[cfg(feature = "client")]
pub use error::{HttpError, HttpProblem};
#[cfg(feature = "client")]
pub use exchange::send;
#[cfg(feature = "client")]
pub use request::{BodyRule, MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUEST_BODY, Request};
#[cfg(feature = "client")]
pub use response::{BodyEnd, Response};
#[cfg(feature = "client")]
pub use retry_after::MAX_RETRY_AFTER;
pub use url::{Host, HttpUrl, MAX_URL, UrlError, UrlProblem};
