//! Which URLs may be called. The grammar is stricter than the standard's on purpose, and what is checked is what is called:
//! two parsers that read a URL differently are how such a check is got around.

use crate::address::{Loopback, is_refused_address};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Longest URL, in bytes.
pub const MAX_URL: usize = 2_048;
/// Characters of a refused URL that an error shows.
const SHOWN: usize = 80;
/// Names of metadata services.
const METADATA: [&str; 4] = ["metadata.google.internal", "metadata", "instance-data", "instance-data.ec2.internal"];

/// A URL that may be called: absolute https without user name and password, at most [`MAX_URL`] bytes, whose host is not
/// link-local and no metadata service. http too where it points at this machine and the caller allows that.
///
/// A name may still resolve to a refused address, so whoever connects looks at it again ([`is_refused_address`]).
/// `Display` and `Debug` leave out the query, and the path too after [`HttpUrl::with_secret_path`].
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    is_https: bool,
    host: Host,
    port: u16,
    /// Path and query, as they were written.
    target: String,
    loopback: Loopback,
    has_secret_path: bool,
}

/// The host of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name in lower case.
    Name(String),
}

impl HttpUrl {
    /// Reads a URL and checks it.
    ///
    /// * `loopback`: whether this machine may be called, then with http too.
    ///
    /// # Errors
    /// Says what is wrong and what is allowed.
    pub fn parse(url: &str, loopback: Loopback) -> Result<Self, UrlError> {
        parse(url, loopback).map_err(|problem| UrlError { url: shown(url), problem })
    }

    /// For a URL whose path lets its bearer in, as those of chat webhooks do: no text shows it.
    #[must_use]
    pub fn with_secret_path(self) -> Self {
        Self { has_secret_path: true, ..self }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port; where none is written, that of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host, and port unless it is that of the scheme, as the header `Host` has them.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == default_port(self.is_https) {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Path and query, as they are sent: not empty, begins with a slash.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether this machine may be called.
    #[must_use]
    pub fn loopback(&self) -> Loopback {
        self.loopback
    }

    /// The same under another rule, for a name that only its addresses give away.
    #[cfg(test)]
    pub(crate) fn with_loopback(self, loopback: Loopback) -> Self {
        Self { loopback, ..self }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())?;
        match self.target.split_once('?') {
            _ if self.has_secret_path => f.write_str("/…"),
            Some((path, _)) => write!(f, "{path}?…"),
            None => f.write_str(&self.target),
        }
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(v4)) => write!(f, "{v4}"),
            Self::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A URL that may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("URL `{url}` {problem}")]
pub struct UrlError {
    /// The URL, at most 80 characters of it, without user name, password and query.
    pub url: String,
    /// What is wrong.
    pub problem: UrlProblem,
}

/// What is wrong with a URL, and what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// Over [`MAX_URL`].
    #[error("is longer than {MAX_URL} bytes")]
    TooLong,
    /// White space, a control character, one outside ASCII, or one of `"<>\^{|}#` and the backquote.
    #[error("has a character that no URL may have here; write it percent-encoded")]
    Character,
    /// Another scheme, or none.
    #[error("is not an absolute https URL")]
    NotAbsolute,
    /// User name or password.
    #[error("has a user name or password; write it without them, this is no place for secrets")]
    Credentials,
    /// http to another machine.
    #[error("is not https; http is for loopback hosts of a rehearsal only")]
    NotHttps,
    /// Brackets without an IPv6 address.
    #[error("has no valid IPv6 address in its brackets")]
    Ipv6,
    /// A port that is none.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
    /// No name by the rules of DNS.
    #[error("has no valid host name")]
    HostName,
    /// One number, octal or hexadecimal.
    #[error("has an IPv4 address that is not four decimal numbers")]
    Ipv4,
    /// Link-local, a metadata service, loopback where it is refused, or another one of [`is_refused_address`].
    #[error("has a host that may not be called: link-local, metadata service, or loopback outside a rehearsal")]
    RefusedHost,
}

fn parse(url: &str, loopback: Loopback) -> Result<HttpUrl, UrlProblem> {
    if url.len() > MAX_URL {
        return Err(UrlProblem::TooLong);
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !br##""<>\^`{|}#"##.contains(&byte)) {
        return Err(UrlProblem::Character);
    }
    let (is_https, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = url.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err(UrlProblem::NotAbsolute);
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(UrlProblem::Credentials);
    }
    let (host, port) = host_and_port(authority)?;
    let (host, is_loopback) = checked_host(host, loopback)?;
    if !is_https && !is_loopback {
        return Err(UrlProblem::NotHttps);
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let port = port.unwrap_or(default_port(is_https));
    Ok(HttpUrl { is_https, host, port, target, loopback, has_secret_path: false })
}

const fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

/// The host of `host` or `host:port`, IPv6 without its brackets, and the port.
fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), UrlProblem> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            host.parse::<Ipv6Addr>().map_err(|_| UrlProblem::Ipv6)?;
            (host, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse::<u16>().ok()).filter(|port| *port > 0);
    number.map(|number| (host, Some(number))).ok_or(UrlProblem::Port)
}

/// The host, and whether it is loopback.
fn checked_host(host: &str, loopback: Loopback) -> Result<(Host, bool), UrlProblem> {
    if let Some(address) = address(host)? {
        let is_loopback = address.to_canonical().is_loopback();
        return if is_refused_address(address, loopback) {
            Err(UrlProblem::RefusedHost)
        } else {
            Ok((Host::Address(address), is_loopback))
        };
    }
    let host = host.to_ascii_lowercase();
    let name = host.strip_suffix('.').unwrap_or(&host);
    let is_valid = (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
    if !is_valid {
        return Err(UrlProblem::HostName);
    }
    let is_loopback = name == "localhost" || name.ends_with(".localhost");
    if METADATA.contains(&name) || (is_loopback && loopback == Loopback::Refused) {
        return Err(UrlProblem::RefusedHost);
    }
    Ok((Host::Name(host), is_loopback))
}

/// The address that the host is; `None` for a name. Other spellings of IPv4 (octal, hexadecimal, one number) are errors.
fn address(host: &str) -> Result<Option<IpAddr>, UrlProblem> {
    if let Ok(address) = host.parse() {
        return Ok(Some(address));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) { Err(UrlProblem::Ipv4) } else { Ok(None) }
}

/// A refused URL for messages. What stands before an `@` may be a password, even where it makes no valid URL.
fn shown(url: &str) -> String {
    let (start, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let visible = match start.rsplit_once('@') {
        _ if query.contains('@') => "…".to_owned(),
        Some((_, rest)) => format!("…@{rest}"),
        None => start.to_owned(),
    };
    let more = if query.is_empty() { "" } else { "?…" };
    let short: String = visible.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if visible.chars().nth(SHOWN).is_some() { short + "…" } else { short + more }
}

#[cfg(test)]
mod tests;
