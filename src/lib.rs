//! Annal: an event store.

#[cfg(feature = "cli")]
pub mod cli;
pub mod disk;
pub mod engine;
pub mod format;
#[expect(
    dead_code,
    unused_imports,
    reason = "the engine that uses it comes next"
)]
pub(crate) mod index;
pub mod log;
pub mod model;
