//! The checks, compiled for `eventstore`: `client.rs` here says what this client does its own way.

#[path = "../shared/access.rs"]
mod access;
mod client;
#[path = "../shared/context.rs"]
mod context;
#[path = "../shared/following.rs"]
mod following;
#[path = "../shared/groups.rs"]
mod groups;
#[path = "../shared/streams.rs"]
mod streams;

pub(crate) use context::run_all;
