//! Annal: an event store.

pub mod disk;
pub mod engine;
pub mod format;
pub mod log;
pub mod model;
