//! A certificate authority for one run: root, intermediate and a leaf for `localhost`, RSA of 2048 bits, as AWS has them. Made by
//! the `openssl` command, so that no key is kept anywhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{CipherSuite, ServerConfig};

use super::error::{Failure, NotPossible};

/// What servers show, and what clients must trust.
#[derive(Clone)]
pub struct Certificates {
    /// PEM file of the root.
    pub root: PathBuf,
    /// TLS 1.3 with leaf and intermediate.
    pub server: Arc<ServerConfig>,
}

const CA: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
const LEAF: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n\
                    extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost\n";

impl Certificates {
    /// New ones, in `folder`.
    ///
    /// # Errors
    /// [`NotPossible`] without `openssl`; when it fails.
    pub fn make(folder: &Path) -> Result<Self, Failure> {
        openssl(folder, &["version"])?;
        certificate(folder, "root", "Snapback benchmark root", CA, None)?;
        certificate(folder, "intermediate", "Snapback benchmark intermediate", CA, Some("root"))?;
        certificate(folder, "leaf", "localhost", LEAF, Some("intermediate"))?;
        let pem = |name: &str| folder.join(format!("{name}.pem"));
        let chain = [CertificateDer::from_pem_file(pem("leaf"))?, CertificateDer::from_pem_file(pem("intermediate"))?];
        let key = PrivateKeyDer::from_pem_file(folder.join("leaf.key"))?;
        let mut provider = ring::default_provider();
        // AWS's servers take this one, by their own order: it is the first in the security policies of Elastic Load Balancing.
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let mut server = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain.to_vec(), key)?;
        server.ignore_client_order = true;
        Ok(Self { root: pem("root"), server: Arc::new(server) })
    }
}

/// `NAME.key` and `NAME.pem`, signed by `issuer` or by itself.
fn certificate(
    folder: &Path,
    name: &str,
    subject: &str,
    extensions: &str,
    issuer: Option<&str>,
) -> Result<(), Failure> {
    let file = |ending: &str| format!("{name}.{ending}");
    std::fs::write(folder.join(file("ext")), extensions)?;
    let (key, request, out, subject) = (file("key"), file("csr"), file("pem"), format!("/CN={subject}"));
    openssl(
        folder,
        &["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &request, "-subj", &subject],
    )?;
    let extensions = file("ext");
    let mut sign =
        vec!["x509", "-req", "-sha256", "-days", "7", "-in", &request, "-extfile", &extensions, "-out", &out];
    let (issuer_key, issuer_pem) = match issuer {
        Some(issuer) => (format!("{issuer}.key"), format!("{issuer}.pem")),
        None => (key, String::new()),
    };
    match issuer {
        Some(_) => sign.extend(["-CA", &issuer_pem, "-CAkey", &issuer_key, "-CAcreateserial"]),
        None => sign.extend(["-signkey", &issuer_key]),
    }
    openssl(folder, &sign)
}

fn openssl(folder: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let output = match Command::new("openssl").args(arguments).current_dir(folder).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(NotPossible(
                "openssl is not installed; it makes the certificates of the TLS servers".to_owned(),
            )
            .into());
        }
        Err(error) => return Err(format!("running openssl: {error}").into()),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("openssl {} failed: {}", arguments.join(" "), said.trim()).into())
}
