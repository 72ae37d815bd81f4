//! What is generated of the `.proto` files: a module for each package, after their names.
#![allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::wildcard_imports,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "nobody wrote it, and nobody outside the front sees it"
)]

include!(concat!(env!("OUT_DIR"), "/wire.rs"));
