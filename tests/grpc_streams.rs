//! Streams as EventStoreDB's clients use them: the tables of the protocol, row by row.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[cfg(feature = "cli")]
#[path = "common/certificates.rs"]
mod certificates;
mod grpc_client;

#[path = "grpc_streams/access.rs"]
mod access;
#[path = "grpc_streams/append.rs"]
mod append;
#[path = "grpc_streams/batch.rs"]
mod batch;
#[path = "grpc_streams/bounds.rs"]
mod bounds;
#[cfg(feature = "cli")]
#[path = "grpc_streams/certified.rs"]
mod certified;
#[path = "grpc_streams/end.rs"]
mod end;
#[path = "grpc_streams/filter.rs"]
mod filter;
#[path = "grpc_streams/follow.rs"]
mod follow;
#[path = "grpc_streams/input.rs"]
mod input;
#[path = "grpc_streams/read.rs"]
mod read;
#[cfg(feature = "cli")]
#[path = "grpc_streams/tls.rs"]
mod tls;
