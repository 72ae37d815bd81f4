//! One error for each thing that a client can ask of a server.

use std::time::Duration;

use thiserror::Error;
use uuid::Uuid;

use crate::format::FormatError;
use crate::model::{
    ExpectedRevision, InvalidText, Lineage, Position, StoreId, StreamHead, StreamName, Token,
};
use crate::protocol::{StorageKind, WireError};
use crate::tls::HandshakeError;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address cannot be one.
    #[error(
        "{address:?} is no address of a server: {problem}; write annal://HOST:PORT, \
         or annals:// for TLS"
    )]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody answers there.
    #[error("no connection to {address} within {within:?}: {problem}; is the server running?")]
    Unreachable {
        /// The address.
        address: String,
        /// How long it was tried.
        within: Duration,
        /// What the last try ended with.
        problem: String,
    },
    /// The server does not want this client.
    #[error("{address} refused the connection: {problem}")]
    Refused {
        /// The address.
        address: String,
        /// The server's words.
        problem: String,
    },
    /// The server does not know this user, or the password is not his.
    #[error("{address} does not let this client in: {problem}")]
    Authentication {
        /// The address.
        address: String,
        /// The server's words.
        problem: String,
    },
    /// The connection cannot be encrypted.
    #[error("no encrypted connection to {address}: {problem}")]
    Handshake {
        /// The address.
        address: String,
        /// Why.
        problem: HandshakeError,
    },
    /// The server expects an encrypted connection.
    #[error("{0} speaks TLS only; write annals:// instead of annal://")]
    Encrypted(String),
    /// What is to be trusted cannot be read.
    #[error("{0}")]
    Trust(String),
    /// There is another store behind the address than before, or the same one restored from a
    /// backup. Positions of before may mean other events now, so the client does not go on.
    #[error("there is now another store or lineage ({store:?}, {lineage:?}) behind the address")]
    OtherStore {
        /// The store found.
        store: StoreId,
        /// The lineage found.
        lineage: Lineage,
    },
    /// What answers is not a server of this protocol.
    #[error("what answers does not speak the protocol: {0}")]
    Protocol(String),
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

/// Why an append was not made. Unless it is [`Self::Unknown`], nothing of it was or will be seen.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
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
        what: String,
        /// How large it is.
        value: u64,
        /// How large it may be.
        max: u64,
    },
    /// The request contradicts itself or asks for what only the store may do.
    #[error("{0}")]
    Invalid(String),
    /// The request id was used before, for something else. Choose a new id for each request.
    #[error("request id {0} was used before, for something else")]
    RequestIdReused(Uuid),
    /// More requests are waiting than the server allows. Try again later.
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
    /// The append is in the log as a whole, or not at all, and only reading tells. Sending it again
    /// with the same ids, or the same request id, is safe.
    #[error("whether the append is in the log is unknown: {0}")]
    Unknown(String),
    /// The store does not write; the append is certainly not in the log.
    #[error("{text}")]
    Storage {
        /// Which kind of trouble the store has.
        kind: StorageKind,
        /// What happened, in words.
        text: String,
    },
    /// The disk of the server is full; the append is certainly not in the log. The server writes
    /// again when there is room.
    #[error("{0}")]
    DiskFull(String),
    /// The server refused for a reason that has to do with the connection.
    #[error(transparent)]
    Server(WireError),
    /// The user of the connection may not do this.
    #[error("{0}")]
    Denied(String),
    /// There is no connection; the append is certainly not in the log.
    #[error(transparent)]
    Connection(#[from] ConnectError),
}

/// Why a read, a subscription or a question failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
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
        /// How long the server waited.
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
    /// The request has a value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The server's disk failed, or what it gave was damaged.
    #[error("{text}")]
    Storage {
        /// Which kind of trouble the store has.
        kind: StorageKind,
        /// What happened, in words.
        text: String,
    },
    /// What arrived is not what the server has on its disk.
    #[error("an event arrived damaged: {0}")]
    Damaged(#[from] FormatError),
    /// The server refused for a reason that has to do with the connection.
    #[error(transparent)]
    Server(WireError),
    /// The user of the connection may not do this.
    #[error("{0}")]
    Denied(String),
    /// There is no connection.
    #[error(transparent)]
    Connection(#[from] ConnectError),
}

/// Why users were not shown or changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UserError {
    /// There is no such user.
    #[error("there is no user {0:?}")]
    NotFound(String),
    /// There is a user of this name, with another password.
    #[error("there is a user {0:?} already, with another password")]
    Conflict(String),
    /// The user of the connection may not do this, or the password shown is wrong.
    #[error("{0}")]
    Denied(String),
    /// The request has a value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It may have been done or not: the connection was lost. Ask for the user.
    #[error("whether it was done is unknown: the connection was lost")]
    Unknown,
    /// The server refused for another reason.
    #[error(transparent)]
    Server(WireError),
    /// There is no connection.
    #[error(transparent)]
    Connection(#[from] ConnectError),
}

impl From<WireError> for UserError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::UserNotFound(login) => Self::NotFound(login),
            WireError::UserConflict(login) => Self::Conflict(login),
            WireError::Denied(text) => Self::Denied(text),
            WireError::Invalid(problem) => Self::Invalid(problem),
            other => Self::Server(other),
        }
    }
}

/// Why something asked of a consumer group was not done, or a member gets nothing more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// There is no such group.
    #[error("there is no group {group} on {source_name}")]
    NotFound {
        /// The stream, or `$all`.
        source_name: String,
        /// The group.
        group: String,
    },
    /// There is such a group already.
    #[error("there is a group {group} on {source_name} already")]
    Exists {
        /// The stream, or `$all`.
        source_name: String,
        /// The group.
        group: String,
    },
    /// The group was changed, deleted or restarted, and has dropped its members.
    #[error("{0}")]
    Dropped(String),
    /// What is parked is being replayed.
    #[error("parked events are being replayed already")]
    ReplayRunning,
    /// The user of the connection may not do this.
    #[error("{0}")]
    Denied(String),
    /// The request has a value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It may have been done or not: the connection was lost. Look at the group.
    #[error("whether it was done is unknown: the connection was lost")]
    Unknown,
    /// The server refused for another reason.
    #[error(transparent)]
    Server(WireError),
    /// There is no connection.
    #[error(transparent)]
    Connection(#[from] ConnectError),
}

impl From<WireError> for GroupError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::GroupNotFound { source_name, group } => {
                Self::NotFound { source_name, group }
            }
            WireError::GroupExists { source_name, group } => Self::Exists { source_name, group },
            WireError::GroupDropped(why) => Self::Dropped(why),
            WireError::ReplayRunning => Self::ReplayRunning,
            WireError::Denied(text) => Self::Denied(text),
            WireError::Invalid(problem) => Self::Invalid(problem),
            other => Self::Server(other),
        }
    }
}

fn not_a_name(error: InvalidText) -> ConnectError {
    ConnectError::Protocol(error.to_string())
}

impl From<WireError> for AppendError {
    fn from(error: WireError) -> Self {
        let named = |stream: String| StreamName::new(stream).map_err(not_a_name);
        match error {
            WireError::WrongExpectedRevision {
                stream,
                expected,
                found,
            } => match named(stream) {
                Ok(stream) => Self::WrongExpectedRevision {
                    stream,
                    expected: expected.into(),
                    found: found.into(),
                },
                Err(error) => error.into(),
            },
            WireError::StreamDeleted { stream, found } => match named(stream) {
                Ok(stream) => Self::StreamDeleted {
                    stream,
                    found: found.into(),
                },
                Err(error) => error.into(),
            },
            WireError::OverLimit { what, value, max } => Self::OverLimit { what, value, max },
            WireError::Invalid(problem) => Self::Invalid(problem),
            WireError::RequestIdReused(id) => Self::RequestIdReused(Uuid::from_bytes(id)),
            WireError::Busy => Self::Busy,
            WireError::IndexRebuilding { done, of } => Self::IndexRebuilding { done, of },
            WireError::Unknown(problem) => Self::Unknown(problem),
            WireError::Storage {
                kind: StorageKind::Full,
                text,
            } => Self::DiskFull(text),
            WireError::Storage { kind, text } => Self::Storage { kind, text },
            WireError::Denied(text) => Self::Denied(text),
            other => Self::Server(other),
        }
    }
}

impl From<WireError> for ReadError {
    fn from(error: WireError) -> Self {
        let named = |stream: String| StreamName::new(stream).map_err(not_a_name);
        match error {
            WireError::StreamNotFound(stream) => match named(stream) {
                Ok(stream) => Self::StreamNotFound(stream),
                Err(error) => error.into(),
            },
            WireError::StreamTombstoned(stream) => match named(stream) {
                Ok(stream) => Self::StreamTombstoned(stream),
                Err(error) => error.into(),
            },
            WireError::ForeignToken(token) => Self::ForeignToken(token.into()),
            WireError::NotReached {
                reached,
                asked,
                waited_ms,
            } => Self::NotReached {
                reached: Position(reached),
                asked: Position(asked),
                waited: Duration::from_millis(waited_ms.into()),
            },
            WireError::IndexRebuilding { done, of } => Self::IndexRebuilding { done, of },
            WireError::Invalid(problem) => Self::Invalid(problem),
            WireError::Storage { kind, text } => Self::Storage { kind, text },
            WireError::Denied(text) => Self::Denied(text),
            other => Self::Server(other),
        }
    }
}
