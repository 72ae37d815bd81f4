//! TLS for both sides of a connection: certificates and keys from PEM files, reloaded while the
//! server runs; and whom a client trusts.
//!
//! What always holds: TLS 1.2 at least, and one implementation of cryptography (`ring`) whatever
//! else the program links. A server whose certificate was loaded once keeps a good one: a new file
//! that is broken is refused, and the certificate before it is served on. No key is in any error or
//! debug output.

mod client;
mod error;
mod files;
mod server;

pub use client::{ClientTls, Trust};
pub use error::{HandshakeError, TlsError};
pub use server::{Reload, ServerCertificate};

pub use tokio_rustls::TlsAcceptor;
pub use tokio_rustls::rustls::pki_types::CertificateDer;
pub use tokio_rustls::server::TlsStream;

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

/// What a native server and its clients say that they speak.
pub const NATIVE: &[u8] = b"annal/1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
