//! Annal: an event store.

#[cfg(feature = "cli")]
pub mod cli;
pub mod disk;
pub mod engine;
pub mod format;
pub mod log;
pub mod model;
