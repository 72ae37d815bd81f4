//! The store itself: one log, one index, one writer.

mod append;
mod error;

pub use append::{Append, Receipt, Request};
pub use error::{AppendError, OpenError, ReadError};
