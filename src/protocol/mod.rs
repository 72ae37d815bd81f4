//! The native wire format: messages to bytes and back, and nothing else.
//!
//! `wire-format.md` beside this file describes every byte for authors of clients in other
//! languages; a test compares its tables and its examples with the code.
//!
//! This layer is pure: no sockets, no clock, no tasks. What always holds: no input makes a decoder
//! panic, or allocate much more than the input's own length.

pub mod append;
pub mod body;
mod convert;
mod error;
pub mod frame;
mod group;
pub mod message;
pub mod outbox;
pub mod records;

pub use error::{StorageKind, WireError};
pub use frame::{Frame, FrameCodec, FrameError};
pub use message::{Answer, MessageError, Request};
