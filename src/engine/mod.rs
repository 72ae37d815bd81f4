//! The store itself: one log, one index, one writer.

mod error;

pub use error::{AppendError, OpenError, ReadError};
