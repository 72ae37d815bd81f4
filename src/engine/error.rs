//! One error for each thing that a caller can ask of the store.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

use crate::format::FormatError;
use crate::log::{LogOpenError, StorageError};
use crate::model::{ExpectedRevision, PatternTooCostly, Position, StreamHead, StreamName, Token};

/// Why a store could not be opened.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store in the directory, and the options do not allow to make one.
    #[error("there is no store in {0}")]
    NotFound(Arc<str>),
    /// Somebody else has the store open.
    #[error("the store in {0} is in use by another process; stop it, or talk to it as a client")]
    InUse(Arc<str>),
    /// The store was written by a newer version. It was not touched.
    #[error("{0} was written by a newer version of Annal, and was not touched; use that version")]
    NewerFormat(&'static str),
    /// Acknowledged events are damaged. Nothing of the log was changed on the disk.
    #[error("acknowledged data is damaged, so the store does not open for writing: {0}")]
    Damaged(StorageError),
    /// An option is out of its range.
    #[error("option {name}: {problem}")]
    InvalidOption {
        /// The option.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl OpenError {
    /// The log's error, for a store in this directory.
    pub(super) fn of_log(name: &str, error: LogOpenError) -> Self {
        match error {
            LogOpenError::NotFound => Self::NotFound(name.into()),
            LogOpenError::Locked => Self::InUse(name.into()),
            LogOpenError::NewerFormat(what) => Self::NewerFormat(what),
            LogOpenError::Damaged(error) => Self::Damaged(error),
            LogOpenError::Storage(error) => Self::Storage(error),
        }
    }
}

/// Why an append was not made. Unless it is [`Self::Unknown`], nothing of it was or will be seen.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A stream was not where the writer expected it to be. Read it, decide again, retry.
    #[error("{stream} was expected at {expected}, and was found at {found}")]
    WrongExpectedRevision {
        /// The stream.
        stream: StreamName,
        /// What was expected.
        expected: ExpectedRevision,
        /// What was found.
        found: StreamHead,
    },
    /// The stream is closed for ever; or it was expected to exist and is deleted.
    #[error("{stream} is {found}")]
    StreamDeleted {
        /// The stream.
        stream: StreamName,
        /// [`StreamHead::Tombstoned`] or [`StreamHead::Deleted`].
        found: StreamHead,
    },
    /// The request is over a limit.
    #[error("{what} has {value}, more than the {max} allowed")]
    OverLimit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        value: u64,
        /// How large it may be.
        max: u64,
    },
    /// The request contradicts itself or asks for what only the store may do.
    #[error("{0}")]
    Invalid(&'static str),
    /// The request id was used before, for something else. Choose a new id for each request.
    #[error("request id {0} was used before, for something else")]
    RequestIdReused(Uuid),
    /// More requests are waiting than the options allow. Try again later.
    #[error("too many appends are waiting; try again later")]
    Busy,
    /// An index that the answer needs is being rebuilt. Try again later.
    #[error("an index is being rebuilt ({done} of {of} events); try again later")]
    IndexRebuilding {
        /// Events done.
        done: u64,
        /// Events to do.
        of: u64,
    },
    /// The disk failed while the append was being written. It is in the log as a whole, or not at
    /// all; only opening the store again tells. Sending it again with the same ids is safe. With
    /// [`StorageError::Full`] the store goes on by itself when the disk has space, and the append
    /// is made then, unless the store is closed or the process ends before.
    #[error(
        "the disk failed while this append was written; whether it is in the log is unknown: {0}"
    )]
    Unknown(StorageError),
    /// The store does not write; the append is certainly not in the log. With
    /// [`StorageError::Full`] it writes again when the disk has space.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a read failed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream has never been written, or it was deleted.
    #[error("there is no stream {0}")]
    StreamNotFound(StreamName),
    /// The stream is closed for ever.
    #[error("{0} is tombstoned")]
    StreamTombstoned(StreamName),
    /// The token is from another store, or from before a restore, fork or repair.
    #[error("the token belongs to another store or to another lineage of this one")]
    ForeignToken(Token),
    /// The store did not reach the asked for position in time.
    #[error("the store reached {reached} of {asked} within {waited:?}")]
    NotReached {
        /// Where the log ends.
        reached: Position,
        /// Where it was to end.
        asked: Position,
        /// How long the reader waited.
        waited: Duration,
    },
    /// An index that the answer needs is being rebuilt. Try again later.
    #[error("an index is being rebuilt ({done} of {of} events); try again later")]
    IndexRebuilding {
        /// Events done.
        done: u64,
        /// Events to do.
        of: u64,
    },
    /// The pattern of the filter takes too many steps on a text. Nothing is left out in silence:
    /// the read ends.
    #[error(transparent)]
    FilterTooCostly(#[from] PatternTooCostly),
    /// The disk failed, or what it gave was damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ReadError {
    /// Nothing more will come, because the store was closed.
    pub(crate) fn closed() -> Self {
        Self::Storage(StorageError::Closed)
    }

    /// A record whose checksums are right and that is none all the same.
    pub(crate) fn unreadable(error: FormatError) -> Self {
        StorageError::damaged("an event in memory", 0, error).into()
    }
}
