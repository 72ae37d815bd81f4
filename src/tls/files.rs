//! Certificates and keys out of PEM files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source: Arc::new(source),
    })
}

fn not_pem(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::NotPem {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}

/// All certificates of a file, in its order; one at least.
pub(super) fn certificates(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| not_pem(path, &error))?;
    match found.is_empty() {
        true => Err(TlsError::NoCertificate(path.to_owned())),
        false => Ok(found),
    }
}

/// The first private key of a file.
pub(super) fn key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        // What stands in the file may be part of a key.
        _ => TlsError::NotPem {
            path: path.to_owned(),
            problem: "a section is not what it should be".to_owned(),
        },
    })
}
