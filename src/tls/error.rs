//! Why there is no TLS, in words that say what to do.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, InvalidMessage};

/// Why a certificate, a key or a list of trusted certificates cannot be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A file is not PEM.
    #[error("{path} is not a PEM file: {problem}", path = path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// Where it is not.
        problem: String,
    },
    /// A file holds no certificate.
    #[error("there is no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// A file holds no private key.
    #[error("there is no private key in {}", .0.display())]
    NoKey(PathBuf),
    /// Certificate and key are not of one pair.
    #[error(
        "the key in {key} is not the one of the certificate in {certificate}; if the certificate's \
         issuer stands in front of it, change their order",
        key = key.display(), certificate = certificate.display()
    )]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate or key cannot be used for another reason.
    #[error("{path} cannot be used: {problem}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The system has no trusted certificates.
    #[error("the system has no list of trusted certificates; name a file of them")]
    NoRoots,
    /// The configuration cannot be made.
    #[error("TLS cannot be configured: {0}")]
    Configuration(String),
}

/// Why the two sides did not come to an encrypted connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The host cannot stand in a certificate.
    #[error("{0:?} is neither a host name nor an address")]
    BadName(String),
    /// Nobody whom this side trusts has signed the certificate.
    #[error("the server's certificate is signed by nobody that is trusted here")]
    UnknownIssuer,
    /// The certificate is too old.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate is not valid yet: one of the two clocks may be wrong.
    #[error("the server's certificate is not valid yet")]
    NotValidYet,
    /// The certificate is for others.
    #[error("the server's certificate is not for {0:?}")]
    WrongName(String),
    /// The other side does not speak TLS.
    #[error("what answers does not speak TLS")]
    NotTls,
    /// The other side speaks TLS and another protocol within.
    #[error("what answers speaks another protocol over TLS")]
    OtherProtocol,
    /// The connection ended.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl HandshakeError {
    /// Whether another try can end differently without anybody's doing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// What an error of the stream means, on the way to a host.
    pub(super) fn of_io(error: &io::Error, host: &str) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let Some(error) = inner else {
            return Self::Lost(error.to_string());
        };
        match error {
            rustls::Error::InvalidCertificate(problem) => Self::of_certificate(problem, host),
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | rustls::Error::NoApplicationProtocol => Self::OtherProtocol,
            other => Self::Failed(other.to_string()),
        }
    }

    fn of_certificate(problem: &CertificateError, host: &str) -> Self {
        match problem {
            // A bad signature is what another issuer of the same name leaves.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotValidYet
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName(host.to_owned())
            }
            other => Self::Failed(format!("the server's certificate is not good: {other}")),
        }
    }
}
