//! The engine's errors, one to one, as they travel.

use crate::access::AuthorizeError;
use crate::engine::{AppendError, ReadError, StorageError};
use crate::model::InvalidText;
use crate::protocol::message as wire;
use crate::protocol::{MessageError, StorageKind, WireError};

/// What became of an append.
pub(super) fn of_append(error: AppendError) -> WireError {
    match error {
        AppendError::WrongExpectedRevision {
            stream,
            expected,
            found,
        } => WireError::WrongExpectedRevision {
            stream: stream.to_string(),
            expected: expected.into(),
            found: found.into(),
        },
        AppendError::StreamDeleted { stream, found } => WireError::StreamDeleted {
            stream: stream.to_string(),
            found: found.into(),
        },
        AppendError::OverLimit { what, value, max } => WireError::OverLimit {
            what: what.to_owned(),
            value,
            max,
        },
        AppendError::Invalid(problem) => WireError::Invalid(problem.to_owned()),
        AppendError::RequestIdReused(id) => WireError::RequestIdReused(id.into_bytes()),
        AppendError::Busy => WireError::Busy,
        AppendError::IndexRebuilding { done, of } => WireError::IndexRebuilding { done, of },
        AppendError::Unknown(error) => WireError::Unknown(error.to_string()),
        AppendError::Storage(error) => of_storage(&error),
    }
}

/// What became of a read.
pub(super) fn of_read(error: ReadError) -> WireError {
    match error {
        ReadError::StreamNotFound(stream) => WireError::StreamNotFound(stream.to_string()),
        ReadError::StreamTombstoned(stream) => WireError::StreamTombstoned(stream.to_string()),
        ReadError::ForeignToken(token) => WireError::ForeignToken(wire::Token::from(token)),
        ReadError::NotReached {
            reached,
            asked,
            waited,
        } => WireError::NotReached {
            reached: reached.0,
            asked: asked.0,
            waited_ms: u32::try_from(waited.as_millis()).unwrap_or(u32::MAX),
        },
        ReadError::IndexRebuilding { done, of } => WireError::IndexRebuilding { done, of },
        error @ ReadError::FilterTooCostly(_) => WireError::Invalid(error.to_string()),
        ReadError::Storage(error) => of_storage(&error),
    }
}

/// What became of a message that is none.
pub(super) fn of_message(error: MessageError) -> WireError {
    match error {
        MessageError::Unknown(kind) => WireError::Unsupported(kind),
        MessageError::PayloadDamaged(event) => WireError::PayloadDamaged(event),
        MessageError::Body(error) => WireError::Malformed(error.to_string()),
    }
}

fn of_storage(error: &StorageError) -> WireError {
    WireError::Storage {
        kind: error.into(),
        text: error.to_string(),
    }
}

impl From<&StorageError> for StorageKind {
    fn from(error: &StorageError) -> Self {
        match error {
            StorageError::Damaged { .. } | StorageError::Missing { .. } => Self::Damaged,
            StorageError::Poisoned(_) => Self::Poisoned,
            StorageError::Closed => Self::Closed,
            StorageError::Io { .. } => Self::Io,
            StorageError::ReadOnly => Self::ReadOnly,
            StorageError::Full(_) => Self::Full,
        }
    }
}

/// Why a question has no answer.
pub(super) struct Refusal(pub(super) WireError);

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self(of_read(error))
    }
}

impl From<InvalidText> for Refusal {
    fn from(error: InvalidText) -> Self {
        Self(error.into())
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self(error)
    }
}

impl From<AuthorizeError> for Refusal {
    fn from(error: AuthorizeError) -> Self {
        match error {
            AuthorizeError::Denied(denied) => Self(WireError::Denied(denied.to_string())),
            AuthorizeError::Read(error) => error.into(),
        }
    }
}
