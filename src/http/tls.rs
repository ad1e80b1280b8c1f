//! TLS of the listeners: a certificate that can be exchanged while connections are open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// A certificate chain and its key, from PEM files, and the acceptor that shows them.
pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read, or holds no PEM of the kind.
    #[error("{path}: {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key is not the certificate's, or of an unknown kind.
    #[error("the certificate and its key do not serve: {0}")]
    Pair(#[from] rustls::Error),
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl Certificates {
    /// Reads both files, and offers h2 and HTTP/1.1.
    pub fn load(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        let (chain, key) = (chain.into(), key.into());
        let shown = Arc::new(Shown(RwLock::new(read(&chain, &key)?)));
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { chain, key, shown, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Reads both files again. New handshakes see what they hold; on an error the old pair stays.
    pub fn reload(&self) -> Result<(), Error> {
        let pair = read(&self.chain, &self.key)?;
        *self.shown.0.write() = pair;
        Ok(())
    }

    /// What does the handshakes.
    pub const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

fn read(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Error> {
    let wrong =
        |path: &Path, what: &dyn std::fmt::Display| Error::File { path: path.to_owned(), what: what.to_string() };
    let certificates = CertificateDer::pem_file_iter(chain)
        .map_err(|error| wrong(chain, &error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(chain, &error))?;
    if certificates.is_empty() {
        return Err(wrong(chain, &"holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    Ok(Arc::new(CertifiedKey::from_der(certificates, private, &ring::default_provider())?))
}
