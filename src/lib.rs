//! Annal: an event store.
pub mod disk;
pub mod format;
pub mod model;
