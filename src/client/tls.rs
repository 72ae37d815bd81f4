//! Making the client's side of TLS from its options.

use tokio::task::spawn_blocking;

use super::{ConnectError, TlsOptions};
use crate::tls::{ClientTls, NATIVE, TlsError, Trust};

/// Reads whom to trust.
pub(super) async fn load(options: &TlsOptions) -> Result<ClientTls, ConnectError> {
    let TlsOptions {
        ca_file, verify, ..
    } = options.clone();
    let loading = spawn_blocking(move || {
        let trust = match (verify, ca_file) {
            (false, _) => Trust::Anybody,
            (true, Some(file)) => Trust::File(file),
            (true, None) => Trust::Listed(rustls_native_certs::load_native_certs().certs),
        };
        ClientTls::new(&trust, &[NATIVE])
    });
    let failed = |error: TlsError| ConnectError::Trust(error.to_string());
    let loaded = loading.await;
    loaded.map_err(|_| ConnectError::Closed)?.map_err(failed)
}
