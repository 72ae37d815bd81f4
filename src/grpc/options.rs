//! Every limit of the gRPC front, its unit and its default, in one table; and why it does not
//! start.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::tls::TlsError;

/// How the gRPC front listens and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrpcOptions {
    /// Where it listens. An IPv6 loopback address that the machine does not have is left out, so
    /// long as another address is left. Default: `127.0.0.1:2113` and `[::1]:2113`.
    pub addresses: Vec<SocketAddr>,
    /// Listen on an address that others can reach, though there is no encryption or there are no
    /// users. Default: no.
    pub insecure: bool,
    /// The most connections. Default: 2,048.
    pub connections_max: usize,
    /// The most calls of a connection at once. Default: 10,000.
    pub calls_max: u32,
    /// The most calls of all connections together. Default: 10,000.
    pub all_calls_max: usize,
    /// The most subscriptions, on all connections. Default: 8,000.
    pub subscriptions_max: usize,
    /// The most appends of one batch call that wait for their answers; further ones wait to be
    /// taken. Default: 1,024.
    pub appends_max: usize,
    /// What large messages (over 64 KiB) and appends that are still arriving may take together, in
    /// bytes. Default: 128 MiB.
    pub incoming_len_bytes_max: usize,
    /// The most reads that use the disk at once. Default: 16.
    pub reads_max: usize,
    /// The largest message that is taken, in bytes. Default: 17 MiB.
    pub message_len_bytes_max: usize,
    /// How long a write may take until its caller is told that the outcome is not known; a caller
    /// may ask for less. Default: 5 s.
    pub write_within: Duration,
    /// How long a new connection may take to say which protocol it speaks. Default: 10 s.
    pub hello_within: Duration,
    /// How long a caller may take for a message that he owes: what begins a call, the rest of an
    /// append that has begun, and over HTTP/1.1 the next request. Default: 30 s.
    pub message_within: Duration,
    /// How often a connection on which nothing arrives is asked whether it lives. Default: 10 s.
    pub keep_alive_interval: Duration,
    /// How long it may take to say so: a client that is busy may be slow. Default: 30 s.
    pub keep_alive_within: Duration,
    /// How long a shutdown waits for calls that are running. Default: 10 s.
    pub shutdown_within: Duration,
}

impl Default for GrpcOptions {
    fn default() -> Self {
        Self {
            addresses: vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, 2113)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, 2113)),
            ],
            insecure: false,
            connections_max: 2048,
            calls_max: 10_000,
            all_calls_max: 10_000,
            subscriptions_max: 8_000,
            appends_max: 1024,
            incoming_len_bytes_max: 128 * 1024 * 1024,
            reads_max: 16,
            message_len_bytes_max: 17 * 1024 * 1024,
            write_within: Duration::from_secs(5),
            hello_within: Duration::from_secs(10),
            message_within: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_within: Duration::from_secs(30),
            shutdown_within: Duration::from_secs(10),
        }
    }
}

impl GrpcOptions {
    /// Refuses an address that others can reach without encryption and users, unless the options
    /// say that this is meant.
    pub(super) fn check(&self, encrypted: bool, users: bool) -> Result<(), GrpcError> {
        let secure = encrypted && users;
        let open = |address: &&SocketAddr| !address.ip().is_loopback();
        match self.addresses.iter().find(open) {
            Some(address) if !self.insecure && !secure => Err(GrpcError::Insecure(*address)),
            _ if self.addresses.is_empty() => Err(GrpcError::NoAddress),
            _ => Ok(()),
        }
    }
}

/// Why the gRPC front does not start.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum GrpcError {
    /// Others could reach the address. Choose one of this machine, or say that it is meant.
    #[error(
        "{0} can be reached from other machines, and without encryption and users whoever connects \
         could read and write everything: give the server both (--users, --tls-cert, --tls-key), \
         listen on a loopback address, or say --insecure"
    )]
    Insecure(SocketAddr),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is nowhere to listen.
    #[error("no address to listen on")]
    NoAddress,
    /// The system does not let it listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: Arc<std::io::Error>,
    },
}
