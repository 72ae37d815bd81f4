//! Errors as they travel. The number of a variant is its code, which never changes.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::message::{Expected, StreamHead, Token};

/// Why a request failed. The first thirteen are the engine's, the others the
/// server's own.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum WireError {
    /// A stream was not where the writer expected it to be.
    #[error("{stream} was expected at {expected:?}, and was found at {found:?}")]
    WrongExpectedRevision {
        /// The stream.
        stream: String,
        /// What was expected.
        expected: Expected,
        /// What was found.
        found: StreamHead,
    },
    /// The stream is tombstoned, or deleted and was expected to exist.
    #[error("{stream} is {found:?}")]
    StreamDeleted {
        /// The stream.
        stream: String,
        /// What was found.
        found: StreamHead,
    },
    /// Something is larger than allowed.
    #[error("{what} has {value}, more than the {max} allowed")]
    OverLimit {
        /// What.
        what: String,
        /// How large it is.
        value: u64,
        /// How large it may be.
        max: u64,
    },
    /// The request has a value that cannot be, or contradicts itself.
    #[error("{0}")]
    Invalid(String),
    /// The request id was used before for something else.
    #[error("a request id was used before, for something else")]
    RequestIdReused([u8; 16]),
    /// Too many appends are waiting, or too many passwords to be checked.
    #[error("too many requests are waiting; try again later")]
    Busy,
    /// An index that the answer needs is being rebuilt.
    #[error("an index is being rebuilt ({done} of {of} events); try again later")]
    IndexRebuilding {
        /// Events done.
        done: u64,
        /// Events to do.
        of: u64,
    },
    /// Whether the append is in the log is not known.
    #[error("whether the append is in the log is unknown: {0}")]
    Unknown(String),
    /// The disk failed, or what it gave was damaged, or the store does not write.
    #[error("{text}")]
    Storage {
        /// Which of them.
        kind: StorageKind,
        /// What happened, in words.
        text: String,
    },
    /// There is no such stream, or it was deleted.
    #[error("there is no stream {0}")]
    StreamNotFound(String),
    /// The stream is closed for ever.
    #[error("{0} is tombstoned")]
    StreamTombstoned(String),
    /// The token is of another store or lineage.
    #[error("the token belongs to another store or to another lineage of this one")]
    ForeignToken(Token),
    /// A place was not reached in time.
    #[error("the store reached {reached} of {asked} within {waited_ms} ms")]
    NotReached {
        /// Where the log ends.
        reached: u64,
        /// Where it was to end.
        asked: u64,
        /// How long the server waited.
        waited_ms: u32,
    },
    /// No common protocol version; the server's range.
    #[error("the server speaks the protocol's versions {min} to {max}; use another release")]
    Version {
        /// The oldest.
        min: u16,
        /// The newest.
        max: u16,
    },
    /// The way of authentication is not supported, or nobody was recognised.
    #[error("{0}")]
    Authentication(String),
    /// The server does not know this kind of message.
    #[error("the server does not know requests of kind {0:#04x}")]
    Unsupported(u8),
    /// The bytes of the request are not what its kind says.
    #[error("{0}")]
    Malformed(String),
    /// The payload of an event does not fit its checksum: it was damaged on its way.
    #[error("event {0} of the append was damaged on its way here; send it again")]
    PayloadDamaged(u32),
    /// The connection has as many requests or subscriptions as it may have.
    #[error("a connection may have {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: String,
        /// How many there may be.
        max: u64,
    },
    /// The server takes no further requests.
    #[error("the server is shutting down; connect again")]
    GoingAway,
    /// The user of the connection is not allowed this.
    #[error("{0}")]
    Denied(String),
    /// There is no such user.
    #[error("there is no user {0:?}")]
    UserNotFound(String),
    /// There is a user of this name, with another password.
    #[error("there is a user {0:?} already")]
    UserConflict(String),
    /// There is no such consumer group.
    #[error("there is no group {group} on {source_name}")]
    GroupNotFound {
        /// The stream, or `$all`.
        source_name: String,
        /// The group.
        group: String,
    },
    /// There is such a consumer group already.
    #[error("there is a group {group} on {source_name} already")]
    GroupExists {
        /// The stream, or `$all`.
        source_name: String,
        /// The group.
        group: String,
    },
    /// The consumer group was changed, deleted or restarted, and has dropped its members.
    #[error("{0}")]
    GroupDropped(String),
    /// What is parked is being replayed.
    #[error("parked events are being replayed already")]
    ReplayRunning,
}

/// Which kind of trouble the store has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageKind {
    /// The operating system refused.
    Io,
    /// Bytes are not those that were written.
    Damaged,
    /// An earlier failure stopped the store from writing.
    Poisoned,
    /// The store is closed.
    Closed,
    /// The store is open for reading only.
    ReadOnly,
    /// The disk has no space; the store writes again when it has.
    Full,
}
