//! From a name to a connection.

use crate::address::is_refused_address;
use crate::causes::chain;
use crate::error::HttpProblem;
use crate::url::{Host, HttpUrl};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// A connection to an address of the URL's host that was looked at.
pub(crate) async fn connect(url: &HttpUrl) -> Result<TcpStream, HttpProblem> {
    let mut last = None;
    for address in addresses(url).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(HttpProblem::NoConnection { address, why: error.to_string() }),
        }
    }
    Err(last.unwrap_or_else(|| no_address(url, "the answer is empty")))
}

/// The same, encrypted.
pub(crate) async fn secure(url: &HttpUrl, tcp: TcpStream) -> Result<TlsStream<TcpStream>, HttpProblem> {
    let name = match url.host() {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|error| HttpProblem::Tls(error.to_string()))?,
        Host::Address(address) => ServerName::from(*address),
    };
    let tls = TlsConnector::from(tls_config()?).connect(name, tcp).await;
    tls.map_err(|error| HttpProblem::Tls(chain(&error)))
}

/// The addresses of the host; one that may not be called refuses them all.
async fn addresses(url: &HttpUrl) -> Result<Vec<SocketAddr>, HttpProblem> {
    let found: Vec<SocketAddr> = match url.host() {
        Host::Address(address) => vec![(*address, url.port()).into()],
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), url.port())).await;
            found.map_err(|error| no_address(url, error))?.collect()
        }
    };
    match found.iter().find(|address| is_refused_address(address.ip(), url.loopback())) {
        None => Ok(found),
        Some(address) => Err(HttpProblem::RefusedAddress(address.ip())),
    }
}

fn no_address(url: &HttpUrl, why: impl ToString) -> HttpProblem {
    HttpProblem::NoAddress { host: url.host().to_string(), why: why.to_string() }
}

/// Trusts Mozilla's roots. Built once, at the first encrypted exchange of a process.
fn tls_config() -> Result<Arc<ClientConfig>, HttpProblem> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpProblem::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Loopback;

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let of = |loopback| HttpUrl::parse("https://localhost/", Loopback::Allowed).unwrap().with_loopback(loopback);
        let refused = addresses(&of(Loopback::Refused)).await.unwrap_err();
        assert!(matches!(refused, HttpProblem::RefusedAddress(address) if address.is_loopback()), "{refused:?}");
        assert!(!addresses(&of(Loopback::Allowed)).await.unwrap().is_empty());
    }

    #[test]
    fn tls_settings_are_built_once() {
        let first = tls_config().unwrap();
        assert!(Arc::ptr_eq(&first, &tls_config().unwrap()));
    }
}
