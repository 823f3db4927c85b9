//! Which URLs a probe may call. The grammar is stricter than the standard's on purpose: two parsers that read a URL
//! differently are how such a check is got around.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URL of a probe, in bytes.
pub const MAX_URL: usize = 2_048;

/// A URL that a probe may not call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("URL `{url}` {why}")]
pub struct ProbeUrlError {
    /// The URL, at most 80 characters of it, without a password.
    pub url: String,
    /// What is wrong, and what is allowed.
    pub why: &'static str,
}

/// Checks the URL of a probe: absolute https without user name and password, at most [`MAX_URL`] bytes, whose host is not
/// link-local and no metadata service.
///
/// * `allow_loopback`: whether loopback hosts are allowed, then with http too; only a rehearsal says true.
/// * A name may still resolve to such an address: see [`is_refused_address`].
///
/// # Errors
/// Says what is wrong and what is allowed.
pub fn check_probe_url(url: &str, allow_loopback: bool) -> Result<(), ProbeUrlError> {
    check(url, allow_loopback).map_err(|why| ProbeUrlError { url: shown(url), why })
}

/// Whether a probe may not connect to this address, for whoever resolves names.
#[must_use]
pub fn is_refused_address(address: IpAddr, allow_loopback: bool) -> bool {
    match address {
        IpAddr::V4(v4) => is_refused_v4(v4, allow_loopback),
        IpAddr::V6(v6) => is_refused_v6(v6, allow_loopback),
    }
}

fn is_refused_v4(v4: Ipv4Addr, allow_loopback: bool) -> bool {
    v4.is_link_local()
        || v4.is_unspecified()
        || v4.is_multicast()
        || v4.is_broadcast()
        || (v4.is_loopback() && !allow_loopback)
}

fn is_refused_v6(v6: Ipv6Addr, allow_loopback: bool) -> bool {
    if v6.is_loopback() {
        return !allow_loopback;
    }
    if let Some(v4) = embedded_v4(v6) {
        return is_refused_v4(v4, allow_loopback);
    }
    // fd00:ec2::/32 holds the metadata, time and name services of EC2.
    let is_ec2_service = matches!(v6.segments(), [0xfd00, 0x0ec2, ..]);
    v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || is_ec2_service
}

/// The IPv4 address within an IPv4-mapped, IPv4-compatible or NAT64 (64:ff9b::/96) address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    if v6.is_unspecified() {
        return None;
    }
    let [.., a, b, c, d] = v6.octets();
    let is_nat64 = matches!(v6.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _]);
    v6.to_ipv4().or_else(|| is_nat64.then(|| Ipv4Addr::new(a, b, c, d)))
}

fn check(url: &str, allow_loopback: bool) -> Result<(), &'static str> {
    if url.len() > MAX_URL {
        return Err("is longer than 2048 bytes");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !br##""<>\^`{|}#"##.contains(&byte)) {
        return Err("has a character that no URL of a probe may have; write it percent-encoded");
    }
    let (is_https, rest) = if let Some(rest) = url.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = url.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err("is not an absolute https URL");
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("has a user name or password; a policy is no place for them");
    }
    let is_loopback = check_host(host(authority)?, allow_loopback)?;
    if is_https || is_loopback { Ok(()) } else { Err("is not https; http is for loopback hosts of a rehearsal only") }
}

/// The host of `host` or `host:port`, IPv6 without its brackets.
fn host(authority: &str) -> Result<&str, &'static str> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            host.parse::<Ipv6Addr>().map_err(|_| "has no valid IPv6 address in its brackets")?;
            (host, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port_valid = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
    if is_port_valid { Ok(host) } else { Err("has a port that is no number from 1 to 65535") }
}

/// Whether the host is loopback; an error when it may not be called.
fn check_host(host: &str, allow_loopback: bool) -> Result<bool, &'static str> {
    const REFUSED: &str =
        "has a host that probes may not call: link-local, metadata service, or loopback outside a rehearsal";
    if let Some(address) = host_address(host)? {
        let is_loopback = address.to_canonical().is_loopback();
        return if is_refused_address(address, allow_loopback) { Err(REFUSED) } else { Ok(is_loopback) };
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_valid = (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
    if !is_valid {
        return Err("has no valid host name");
    }
    let is_loopback = name == "localhost" || name.ends_with(".localhost");
    let is_metadata = ["metadata.google.internal", "metadata", "instance-data", "instance-data.ec2.internal"]
        .contains(&name.as_str());
    if is_metadata || (is_loopback && !allow_loopback) {
        return Err(REFUSED);
    }
    Ok(is_loopback)
}

/// The address that the host is; `None` for a name. Other spellings of IPv4 (octal, hexadecimal, one number) are errors.
fn host_address(host: &str) -> Result<Option<IpAddr>, &'static str> {
    if let Ok(address) = host.parse() {
        return Ok(Some(address));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("has an IPv4 address that is not four decimal numbers");
    }
    Ok(None)
}

/// The URL for messages, without what stands before an `@`.
fn shown(url: &str) -> String {
    let visible = match url.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => url.to_owned(),
    };
    crate::reader::quote(&visible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_probe_may_call() {
        let table = [
            ("https://shop.example.com/health?deep=1", None),
            ("https://shop.example.com", None),
            ("https://shop.example.com:8443/", None),
            ("https://10.0.3.7/health", None),
            ("https://[2001:db8::1]:8443/", None),
            ("http://127.0.0.1:9000/health", None),
            ("http://localhost/health", None),
            ("http://[::1]:9000/", None),
            ("http://shop.example.com/", Some("is not https")),
            ("http://10.0.3.7/", Some("is not https")),
            ("ftp://shop.example.com/", Some("not an absolute https URL")),
            ("/health", Some("not an absolute https URL")),
            ("", Some("not an absolute https URL")),
            ("HTTPS://shop.example.com", Some("not an absolute https URL")),
            ("https://", Some("no valid host name")),
            ("https:///health", Some("no valid host name")),
            ("https://a..b/", Some("no valid host name")),
            ("https://me:secret@shop.example.com/", Some("user name or password")),
            ("https://shop.example.com\\@169.254.169.254/", Some("percent-encoded")),
            ("https://shop.example.com/a b", Some("percent-encoded")),
            ("https://shop.example.com/\r\nHost: x", Some("percent-encoded")),
            ("https://shöp.example.com/", Some("percent-encoded")),
            ("https://shop.example.com:0/", Some("has a port")),
            ("https://shop.example.com:65536/", Some("has a port")),
            ("https://shop.example.com:+80/", Some("has a port")),
            ("https://shop.example.com:/", Some("has a port")),
            ("https://[::1/", Some("port")),
            ("https://[fe80::1%25eth0]/", Some("no valid IPv6 address")),
            ("https://169.254.169.254/latest/meta-data", Some("may not call")),
            ("https://169.254.170.2/v2/credentials", Some("may not call")),
            ("https://0.0.0.0/", Some("may not call")),
            ("https://[fd00:ec2::254]/", Some("may not call")),
            ("https://[fe80::1]/", Some("may not call")),
            ("https://[::ffff:169.254.169.254]/", Some("may not call")),
            ("https://[::169.254.169.254]/", Some("may not call")),
            ("https://[64:ff9b::a9fe:a9fe]/", Some("may not call")),
            ("https://[::]/", Some("may not call")),
            ("https://2852039166/", Some("four decimal numbers")),
            ("https://0xA9FEA9FE/", Some("four decimal numbers")),
            ("https://0251.0376.0251.0376/", Some("four decimal numbers")),
            ("https://169.254.169.254./", Some("four decimal numbers")),
            ("https://metadata.google.internal/", Some("may not call")),
            ("https://Metadata.Google.Internal./", Some("may not call")),
        ];
        for (url, expected) in table {
            match (check_probe_url(url, true), expected) {
                (Ok(()), None) => {}
                (Err(error), Some(why)) => {
                    assert!(error.to_string().contains(why), "{url}: {error}")
                }
                (result, _) => panic!("{url}: {result:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn loopback_is_for_rehearsals() {
        for url in [
            "http://127.0.0.1:9000/",
            "https://127.1.2.3/",
            "https://localhost/",
            "https://api.localhost/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
        ] {
            assert_eq!(check_probe_url(url, true), Ok(()), "{url}");
            let error = check_probe_url(url, false).unwrap_err();
            assert!(error.to_string().contains("may not call"), "{url}: {error}");
        }
    }

    #[test]
    fn length_and_password_are_bounded() {
        let url = format!("https://shop.example.com/{}", "a".repeat(MAX_URL));
        assert!(check_probe_url(&url, false).unwrap_err().to_string().contains("2048 bytes"));
        let error = check_probe_url("https://me:secret@shop.example.com/", false).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    proptest! {
        #[test]
        fn no_url_panics(url in ".{0,80}", rest in "[0-9a-fx:.@/?\\[\\]%]{0,40}") {
            let _ = check_probe_url(&url, true);
            let _ = check_probe_url(&format!("https://{rest}"), false);
        }
    }
}
