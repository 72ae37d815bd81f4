//! Every limit of a server, its unit and its default, in one table; and why a server does not
//! start.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::tls::TlsError;

/// How a server listens and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Where it listens. Default: 127.0.0.1:2112.
    pub address: SocketAddr,
    /// Listen on an address that others can reach, though there is no encryption or there are no
    /// users. Default: no.
    pub insecure: bool,
    /// The most connections. Default: 2,048.
    pub connections_max: usize,
    /// The most requests of a connection that wait for their answers. Default: 1,024.
    pub requests_max: usize,
    /// The most subscriptions of a connection. Default: 10,000.
    pub subscriptions_max: usize,
    /// The most subscriptions of all connections together. Default: 100,000.
    pub all_subscriptions_max: usize,
    /// The most credit of one read or subscription, in bytes. Default: 16 MiB.
    pub credit_bytes_max: u64,
    /// What may wait to be sent on a connection before its feeds and its requests have to wait too,
    /// in bytes; one answer may go beyond. Default: 1 MiB.
    pub outbox_len_bytes: usize,
    /// What may wait to be sent on all connections together, in bytes: where there are so many that
    /// [`Self::outbox_len_bytes`] of each would be more, each may have its share, and 64 KiB at
    /// least. Default: 128 MiB.
    pub all_outboxes_len_bytes: usize,
    /// What large frames (over 64 KiB) that are still arriving may take together, in bytes.
    /// Default: 128 MiB.
    pub incoming_len_bytes_max: usize,
    /// The most reads that use the disk at once. Default: 16.
    pub reads_max: usize,
    /// How long a new connection may take for its hello. Default: 5 s.
    pub hello_within: Duration,
    /// How long a frame may take to arrive. Default: 30 s.
    pub frame_within: Duration,
    /// Whoever has sent nothing for so long sends a heartbeat. Default: 10 s.
    pub heartbeat: Duration,
    /// A connection on which nothing arrives for so long, or that takes nothing for so long, is
    /// closed. Default: 30 s.
    pub silence_max: Duration,
    /// How often feeds that have caught up are told how far the log has come. Default: 1 s.
    pub idle_interval: Duration,
    /// How long a shutdown waits for what was accepted. Default: 10 s.
    pub shutdown_within: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 2112)),
            insecure: false,
            connections_max: 2048,
            requests_max: 1024,
            subscriptions_max: 10_000,
            all_subscriptions_max: 100_000,
            credit_bytes_max: 16 * 1024 * 1024,
            outbox_len_bytes: 1024 * 1024,
            all_outboxes_len_bytes: 128 * 1024 * 1024,
            incoming_len_bytes_max: 128 * 1024 * 1024,
            reads_max: 16,
            hello_within: Duration::from_secs(5),
            frame_within: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            silence_max: Duration::from_secs(30),
            idle_interval: Duration::from_secs(1),
            shutdown_within: Duration::from_secs(10),
        }
    }
}

impl ServerOptions {
    /// Refuses an address that others can reach without encryption and users, unless the options
    /// say that this is meant.
    pub(super) fn check(&self, encrypted: bool, users: bool) -> Result<(), ServeError> {
        match (encrypted && users) || self.insecure || self.address.ip().is_loopback() {
            true => Ok(()),
            false => Err(ServeError::Insecure(self.address)),
        }
    }
}

/// Why a server does not serve.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Others could reach the address, and could read and write everything.
    #[error(
        "{0} can be reached from other machines, and without encryption and users whoever connects \
         could read and write everything. Give the server both: \
         annal serve --tcp {0} --users --tls-cert FILE --tls-key FILE (annal cert dev makes two \
         to try it with); or listen on 127.0.0.1:{port} and put a tunnel or a proxy in front of \
         it; or say that you mean it: annal serve --tcp {0} --insecure",
        port = .0.port()
    )]
    Insecure(SocketAddr),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system does not let the server listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_can_reach_must_be_meant() {
        let listens = |address: &str, insecure, (encrypted, users)| {
            let address = address.parse().unwrap();
            ServerOptions {
                address,
                insecure,
                ..ServerOptions::default()
            }
            .check(encrypted, users)
        };
        let open = |address: &str, insecure| listens(address, insecure, (false, false));
        assert!(listens("0.0.0.0:1", false, (true, true)).is_ok());
        assert!(listens("0.0.0.0:1", false, (true, false)).is_err());
        assert!(listens("0.0.0.0:1", false, (false, true)).is_err());
        assert!(open("127.0.0.1:1", false).is_ok());
        assert!(open("[::1]:1", false).is_ok());
        assert!(open("0.0.0.0:1", true).is_ok());
        for address in ["0.0.0.0:7", "[::]:7", "192.168.0.1:7"] {
            let text = open(address, false).unwrap_err().to_string();
            assert!(
                text.contains(&format!("--tcp {address} --insecure")),
                "{text}"
            );
            assert!(text.contains("127.0.0.1:7"), "{text}");
        }
    }
}
