//! A server's certificate, which can be replaced while connections use it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use super::{TlsError, files, provider};

/// The certificate of a server and its key, from two PEM files. Clones are the same certificate:
/// when it is reloaded, every acceptor made of it serves the new one from the next connection on.
#[derive(Clone)]
pub struct ServerCertificate {
    loaded: Arc<Loaded>,
    /// Judges the certificates that clients show; none if they are not asked for any.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

struct Loaded {
    certificate: PathBuf,
    key: PathBuf,
    /// A hash of what the files held when they were read last, good or not.
    seen: Mutex<blake3::Hash>,
    current: RwLock<Arc<CertifiedKey>>,
}

/// What reading the files again has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// They hold what they held at the last look.
    Unchanged,
    /// New connections get another certificate.
    Replaced,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("certificate", &self.loaded.certificate)
            .field("key", &self.loaded.key)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").finish_non_exhaustive()
    }
}

impl ServerCertificate {
    /// Loads a chain, the server's own certificate first, and its key.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        let texts = Texts::read(&certificate, &key)?;
        let current = texts.pair(&certificate, &key)?;
        let loaded = Loaded {
            certificate,
            key,
            seen: Mutex::new(texts.hash()),
            current: RwLock::new(Arc::new(current)),
        };
        Ok(Self {
            loaded: Arc::new(loaded),
            clients: None,
        })
    }

    /// The same certificate for a server that lets clients show certificates too, signed by an
    /// issuer in this file. Who shows none is let in all the same; who shows another is not.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn asking_clients(self, issuers: &Path) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for issuer in files::certificates(issuers, &files::read(issuers)?)? {
            roots.add(issuer).map_err(|error| TlsError::Unusable {
                path: issuers.to_owned(),
                problem: error.to_string(),
            })?;
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .map_err(|error| TlsError::Configuration(error.to_string()))?;
        Ok(Self {
            clients: Some(clients),
            ..self
        })
    }

    /// Looks at the files again. It reads the disk.
    ///
    /// # Errors
    /// See [`TlsError`]; the certificate of before is served on, and the same broken files are an
    /// error once.
    pub fn reload(&self) -> Result<Reload, TlsError> {
        let Loaded {
            certificate, key, ..
        } = &*self.loaded;
        // Held meanwhile, so that of two who reload at once one finds nothing changed.
        let mut seen = self.loaded.seen.lock();
        let texts = Texts::read(certificate, key)?;
        let found = texts.hash();
        if *seen == found {
            return Ok(Reload::Unchanged);
        }
        *seen = found;
        let pair = texts.pair(certificate, key)?;
        *self.loaded.current.write() = Arc::new(pair);
        Ok(Reload::Replaced)
    }

    /// Accepts connections that speak one of these protocols (ALPN), the first being preferred;
    /// a client that names none is let in.
    ///
    /// # Errors
    /// [`TlsError::Configuration`].
    pub fn acceptor(&self, protocols: &[&[u8]]) -> Result<TlsAcceptor, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = self.loaded.clone();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Configuration(error.to_string()))?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(resolver);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Loaded {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

/// What the two files held at one moment.
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Texts {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: files::read(certificate)?,
            key: files::read(key)?,
        })
    }

    fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(blake3::hash(&self.certificate).as_bytes());
        hasher.update(blake3::hash(&self.key).as_bytes());
        hasher.finalize()
    }

    fn pair(&self, certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
        let chain = files::certificates(certificate, &self.certificate)?;
        let private = files::key(key, &self.key)?;
        CertifiedKey::from_der(chain, private, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            },
            rustls::Error::InvalidCertificate(problem) => TlsError::Unusable {
                path: certificate.to_owned(),
                problem: problem.to_string(),
            },
            other => TlsError::Unusable {
                path: key.to_owned(),
                problem: other.to_string(),
            },
        })
    }
}
