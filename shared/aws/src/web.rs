//! Probes over HTTP: one GET on a connection of its own.
//!
//! A policy's URL is not trusted with more than a check. The name is resolved here and the connection goes to an address
//! that was looked at: never to link-local addresses, metadata services or, outside a rehearsal, this machine. Redirects
//! are an answer like any other; nothing follows them. Certificates are checked against Mozilla's roots, which are read at
//! the first use only.

use crate::error::chain;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use snapback_app::ports::{CallError, CallErrorKind, ProbeAnswer};
use snapback_wire::policy_file::{check_probe_url, is_refused_address};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use url::{Host, Url};

/// Bytes of a body that are read; the rest is left where it is.
pub const MAX_BODY: usize = 64 * 1024;

const GET: &str = "http:GET";

/// GETs `url` and waits at most `limit`; the time counts name look-up, connection and TLS handshake, as a customer would.
///
/// * `allow_loopback`: whether the URL may point at this machine, as on a rehearsal's stage.
///
/// # Errors
/// [`CallErrorKind::Invalid`] for a URL or address that a probe may not call, [`CallErrorKind::Unreachable`] when there is
/// no connection or no answer within `limit`.
pub async fn get(url: &str, limit: Duration, allow_loopback: bool) -> Result<ProbeAnswer, CallError> {
    let invalid = |what: String| CallError::new(CallErrorKind::Invalid, GET, url, what);
    check_probe_url(url, allow_loopback).map_err(|error| invalid(error.to_string()))?;
    let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    let started = Instant::now();
    let (status, error) = match tokio::time::timeout(limit, exchange(&parsed, allow_loopback)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(Failure::Refused(what))) => return Err(invalid(what)),
        Ok(Err(Failure::NoAnswer(what))) => {
            return Err(CallError::new(CallErrorKind::Unreachable, GET, url, what));
        }
        Err(_) => {
            let what = format!("no answer within {} ms", limit.as_millis());
            return Err(CallError::new(CallErrorKind::Unreachable, GET, url, what));
        }
    };
    Ok(ProbeAnswer { status: Some(status), error, took: started.elapsed() })
}

/// Why there is no answer to report.
#[derive(Debug)]
enum Failure {
    /// A probe may not call this.
    Refused(String),
    /// No connection, or it broke off before a status.
    NoAnswer(String),
}

impl Failure {
    fn no_answer(error: &dyn Error) -> Self {
        Self::NoAnswer(chain(error))
    }
}

/// Status, and what was wrong with the body.
type Answer = (u16, Option<String>);

async fn exchange(url: &Url, allow_loopback: bool) -> Result<Answer, Failure> {
    let tcp = connect(&resolve(url, allow_loopback).await?).await?;
    if url.scheme() == "https" {
        let name = server_name(url)?;
        let tls = TlsConnector::from(tls_config()?).connect(name, tcp).await;
        converse(tls.map_err(|error| Failure::no_answer(&error))?, url).await
    } else {
        converse(tcp, url).await
    }
}

/// The addresses of the host; one that a probe may not call refuses them all.
async fn resolve(url: &Url, allow_loopback: bool) -> Result<Vec<SocketAddr>, Failure> {
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        Some(Host::Domain(name)) => tokio::net::lookup_host((name, port))
            .await
            .map_err(|error| Failure::NoAnswer(format!("`{name}` has no address: {error}")))?
            .collect(),
        None => return Err(Failure::Refused("has no host".to_owned())),
    };
    let refused = addresses.iter().find(|address| is_refused_address(address.ip(), allow_loopback));
    match refused {
        None => Ok(addresses),
        Some(address) => Err(Failure::Refused(format!(
            "its host is at {}, which probes may not call: link-local, metadata service, or loopback outside a rehearsal",
            address.ip()
        ))),
    }
}

/// A connection to the first of the addresses that takes one.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut last = Failure::NoAnswer("the host has no address".to_owned());
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Failure::NoAnswer(format!("no connection to {address}: {error}")),
        }
    }
    Err(last)
}

async fn converse<S>(stream: S, url: &Url) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(|error| Failure::no_answer(&error))?;
    let request = request(url).map_err(|error| Failure::no_answer(&error))?;
    let talk = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| Failure::no_answer(&error))?;
        let status = answer.status().as_u16();
        Ok((status, read(answer.into_body()).await))
    };
    tokio::pin!(talk, connection);
    // Both on this task: when the probe is given up, so is its connection.
    tokio::select! {
        biased;
        answer = &mut talk => answer,
        _ = &mut connection => talk.await,
    }
}

fn request(url: &Url) -> Result<Request<Empty<Bytes>>, http::Error> {
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, HeaderValue::from_static("snapback-probe"))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .body(Empty::new())
}

/// Reads the body to its end or to [`MAX_BODY`]; says so when it breaks off.
async fn read(mut body: Incoming) -> Option<String> {
    let mut seen = 0_usize;
    while seen < MAX_BODY {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => seen += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(error)) => return Some(format!("the body broke off: {}", chain(&error))),
        }
    }
    None
}

fn server_name(url: &Url) -> Result<ServerName<'static>, Failure> {
    let name = match url.host() {
        Some(Host::Domain(name)) => {
            ServerName::try_from(name.to_owned()).map_err(|error| Failure::Refused(error.to_string()))?
        }
        Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::from(address)),
        Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::from(address)),
        None => return Err(Failure::Refused("has no host".to_owned())),
    };
    Ok(name)
}

/// Built once, at the first https probe of a process.
fn tls_config() -> Result<Arc<ClientConfig>, Failure> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::no_answer(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Answers one connection with `answer` and gives back what was asked.
    fn serve(answer: Vec<u8>) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health?deep=1", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut byte = [0_u8; 1];
            while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                asked.push(byte[0]);
            }
            // The client may have heard enough before the end.
            let _ = stream.write_all(&answer);
            String::from_utf8(asked).unwrap()
        });
        (url, server)
    }

    #[tokio::test]
    async fn answers_are_reported_as_they_are() {
        let large = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec(), vec![b'a'; 1_000_000]].concat();
        let table = [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), 200, false),
            (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec(), 503, false),
            (
                b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n".to_vec(),
                302,
                false,
            ),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken".to_vec(), 200, true),
            (large, 200, false),
        ];
        for (answer, status, is_broken) in table {
            let (url, server) = serve(answer);
            let seen = get(&url, LIMIT, true).await.unwrap();
            assert_eq!(seen.status, Some(status));
            assert_eq!(seen.error.is_some(), is_broken, "{:?}", seen.error);
            let asked = server.join().unwrap().to_ascii_lowercase();
            assert!(asked.starts_with("get /health?deep=1 http/1.1\r\n"), "{asked}");
            assert!(asked.contains("host: 127.0.0.1:"), "{asked}");
        }
    }

    #[tokio::test]
    async fn what_may_not_be_called_is_refused() {
        let table = [
            ("http://127.0.0.1:9/", false),
            ("https://localhost:9/", false),
            ("https://169.254.169.254/latest/meta-data", true),
            ("http://shop.example.com/", true),
            ("not a url", true),
        ];
        for (url, allow_loopback) in table {
            let error = get(url, LIMIT, allow_loopback).await.unwrap_err();
            assert!(error.is(CallErrorKind::Invalid), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let url = Url::parse("https://localhost/").unwrap();
        let refused = resolve(&url, false).await.unwrap_err();
        assert!(matches!(refused, Failure::Refused(_)), "{refused:?}");
        assert!(!resolve(&url, true).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn no_server_and_no_answer_are_unreachable() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", free.local_addr().unwrap());
        // Accepts nothing: the connection stands in the backlog and nobody answers.
        let error = get(&url, Duration::from_millis(50), true).await.unwrap_err();
        assert!(error.is(CallErrorKind::Unreachable), "{error}");
        drop(free);
        let error = get(&url, LIMIT, true).await.unwrap_err();
        assert!(error.is(CallErrorKind::Unreachable), "{error}");
    }

    #[test]
    fn tls_settings_are_built_once() {
        let first = tls_config().unwrap();
        assert!(Arc::ptr_eq(&first, &tls_config().unwrap()));
    }
}
