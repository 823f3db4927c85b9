use super::*;
use crate::address::Loopback::{Allowed, Refused};
use proptest::prelude::*;

#[test]
fn what_may_be_called() {
    let table = [
        ("https://shop.example.com/health?deep=1", None),
        ("https://shop.example.com", None),
        ("https://shop.example.com:8443/", None),
        ("https://10.0.3.7/health", None),
        ("https://[2001:db8::1]:8443/", None),
        ("http://127.0.0.1:9000/health", None),
        ("http://localhost/health", None),
        ("http://[::1]:9000/", None),
        ("http://shop.example.com/", Some(UrlProblem::NotHttps)),
        ("http://10.0.3.7/", Some(UrlProblem::NotHttps)),
        ("ftp://shop.example.com/", Some(UrlProblem::NotAbsolute)),
        ("/health", Some(UrlProblem::NotAbsolute)),
        ("", Some(UrlProblem::NotAbsolute)),
        ("HTTPS://shop.example.com", Some(UrlProblem::NotAbsolute)),
        ("https://", Some(UrlProblem::HostName)),
        ("https:///health", Some(UrlProblem::HostName)),
        ("https://a..b/", Some(UrlProblem::HostName)),
        ("https://me:secret@shop.example.com/", Some(UrlProblem::Credentials)),
        ("https://shop.example.com\\@169.254.169.254/", Some(UrlProblem::Character)),
        ("https://shop.example.com/a b", Some(UrlProblem::Character)),
        ("https://shop.example.com/\r\nHost: x", Some(UrlProblem::Character)),
        ("https://shöp.example.com/", Some(UrlProblem::Character)),
        ("https://shop.example.com/#part", Some(UrlProblem::Character)),
        ("https://shop.example.com:0/", Some(UrlProblem::Port)),
        ("https://shop.example.com:65536/", Some(UrlProblem::Port)),
        ("https://shop.example.com:+80/", Some(UrlProblem::Port)),
        ("https://shop.example.com:/", Some(UrlProblem::Port)),
        ("https://[::1/", Some(UrlProblem::Port)),
        ("https://[::1]8443/", Some(UrlProblem::Port)),
        ("https://[fe80::1%25eth0]/", Some(UrlProblem::Ipv6)),
        ("https://169.254.169.254/latest/meta-data", Some(UrlProblem::RefusedHost)),
        ("https://169.254.170.2/v2/credentials", Some(UrlProblem::RefusedHost)),
        ("https://0.0.0.0/", Some(UrlProblem::RefusedHost)),
        ("https://[fd00:ec2::254]/", Some(UrlProblem::RefusedHost)),
        ("https://[fe80::1]/", Some(UrlProblem::RefusedHost)),
        ("https://[::ffff:169.254.169.254]/", Some(UrlProblem::RefusedHost)),
        ("https://[::169.254.169.254]/", Some(UrlProblem::RefusedHost)),
        ("https://[64:ff9b::a9fe:a9fe]/", Some(UrlProblem::RefusedHost)),
        ("https://[::]/", Some(UrlProblem::RefusedHost)),
        ("https://2852039166/", Some(UrlProblem::Ipv4)),
        ("https://0xA9FEA9FE/", Some(UrlProblem::Ipv4)),
        ("https://0251.0376.0251.0376/", Some(UrlProblem::Ipv4)),
        ("https://169.254.169.254./", Some(UrlProblem::Ipv4)),
        ("https://metadata.google.internal/", Some(UrlProblem::RefusedHost)),
        ("https://Metadata.Google.Internal./", Some(UrlProblem::RefusedHost)),
    ];
    for (url, expected) in table {
        assert_eq!(HttpUrl::parse(url, Allowed).err().map(|error| error.problem), expected, "{url}");
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
        assert!(HttpUrl::parse(url, Allowed).is_ok(), "{url}");
        let error = HttpUrl::parse(url, Refused).unwrap_err();
        assert_eq!(error.problem, UrlProblem::RefusedHost, "{url}");
    }
}

#[test]
fn the_parts_of_a_url() {
    // (URL, host, port, authority, target, text)
    let table = [
        (
            "https://Shop.Example.com",
            Host::Name("shop.example.com".to_owned()),
            443,
            "shop.example.com",
            "/",
            "https://shop.example.com/",
        ),
        (
            "https://shop.example.com:443?deep=1",
            Host::Name("shop.example.com".to_owned()),
            443,
            "shop.example.com",
            "/?deep=1",
            "https://shop.example.com/?…",
        ),
        (
            "http://[::1]:9000/a/b?c=/d?e",
            Host::Address("::1".parse().unwrap()),
            9000,
            "[::1]:9000",
            "/a/b?c=/d?e",
            "http://[::1]:9000/a/b?…",
        ),
    ];
    for (text, host, port, authority, target, shown) in table {
        let url = HttpUrl::parse(text, Allowed).unwrap();
        assert_eq!((url.host(), url.port(), url.is_https()), (&host, port, text.starts_with("https")), "{text}");
        assert_eq!((url.authority().as_str(), url.target()), (authority, target), "{text}");
        assert_eq!(url.to_string(), shown);
        assert_eq!(format!("{url:?}"), format!("HttpUrl({shown})"));
    }
    let webhook = HttpUrl::parse("https://hooks.example.com/T0/secret?x=secret", Refused).unwrap().with_secret_path();
    assert_eq!(webhook.to_string(), "https://hooks.example.com/…");
}

#[test]
fn what_is_secret_is_not_shown() {
    let long = format!("https://shop.example.com/{}", "a".repeat(MAX_URL));
    let error = HttpUrl::parse(&long, Refused).unwrap_err();
    assert_eq!(error.problem, UrlProblem::TooLong);
    assert!(error.to_string().contains("2048 bytes") && error.to_string().len() < 150, "{error}");
    for url in [
        "https://me:hunter2@shop.example.com/",
        "https://me:sec/hunter2@shop.example.com/",
        "https://me:hunter2?x@shop.example.com/",
        "https://hunter2@x?hunter2@shop.example.com/",
        "https://me:hunter2#x@shop.example.com/",
        "http://shop.example.com/?token=hunter2",
        "ftp://shop.example.com/#hunter2",
    ] {
        let error = HttpUrl::parse(url, Refused).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let error = HttpUrl::parse("http://shop.example.com/health?token=1", Refused).unwrap_err();
    assert_eq!(
        error.to_string(),
        "URL `http://shop.example.com/health?…` is not https; http is for loopback hosts of a rehearsal only"
    );
}

/// URLs that are nearly right, so that many are.
fn near_url() -> impl Strategy<Value = String> {
    let host = prop_oneof!["[a-zA-Z0-9.-]{1,12}", "[0-9.x]{1,15}", "\\[[0-9a-f:.]{2,12}\\]", "[a-f0-9:@%]{0,9}"];
    ("https?", host, "(:[0-9]{1,5})?", "(/[a-z0-9%.'/]{0,9})?", "([?][a-z0-9=@&/?]{0,9})?")
        .prop_map(|(scheme, host, port, path, query)| format!("{scheme}://{host}{port}{path}{query}"))
}

proptest! {
    #[test]
    fn no_url_panics(url in ".{0,80}", rest in "[0-9a-fx:.@/?\\[\\]%]{0,40}") {
        let _ = HttpUrl::parse(&url, Allowed);
        let _ = HttpUrl::parse(&format!("https://{rest}"), Refused);
    }

    /// Whoever reads an accepted URL by the standard reads the same host.
    #[test]
    fn another_parser_sees_the_same_host(text in near_url()) {
        let Ok(url) = HttpUrl::parse(&text, Allowed) else { return Ok(()) };
        // Stricter in one thing only: names that begin with `xn--` must decode.
        let Ok(other) = ::url::Url::parse(&text) else {
            prop_assert!(text.to_ascii_lowercase().contains("xn--"), "{}", text);
            return Ok(());
        };
        prop_assert_eq!(other.host_str().map(str::to_owned), Some(url.host().to_string()));
        prop_assert_eq!(other.port_or_known_default(), Some(url.port()));
        prop_assert_eq!((other.username(), other.password()), ("", None));
        prop_assert_eq!(other.query(), url.target().split_once('?').map(|(_, query)| query));
    }

    #[test]
    fn no_text_has_a_query(text in near_url(), secret in "[A-Z]{12}") {
        let text = if text.contains('?') { format!("{text}&{secret}") } else { format!("{text}?{secret}") };
        let shown = match HttpUrl::parse(&text, Allowed) {
            Ok(url) => format!("{url} {url:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!shown.contains(&secret), "{}", shown);
    }
}
