//! The segmented append-only log: the only truth of the store.

mod error;

pub use error::StorageError;
