//! The native client: one connection, many requests on it at once, made again when it is lost.
//!
//! # What happens when the connection is lost
//!
//! Questions and reads are asked again; a read goes on behind the last event that it gave.
//! A subscription goes on behind the last event that it gave, and says so by a
//! [`Notice::Resumed`]. An append is sent again if that cannot do its work twice:
//!
//! * it has a request id, or
//! * it writes events, and states expectations only of streams that it writes to. The store knows
//!   the events again by their ids.
//!
//! Any other append (one that deletes, or that checks streams it does not write to) ends with
//! [`AppendError::Unknown`]. So does one that is sent again to a server that does not look for it
//! in the log, because it is too busy or its store does not write any more; and one that finds its
//! stream deleted, since that can have happened after the first sending. One case remains in which
//! only a request id helps: an append that expects no stream, is sent again, and whose stream was
//! written by the first sending and deleted by somebody else in between, writes its events a second
//! time.
//!
//! A server that holds another store or another lineage than before is not talked to.

mod append;
mod connection;
mod error;
mod events;
mod group;
mod link;
mod options;
mod request;
mod subscription;
mod tls;
mod users;

pub use error::{AppendError, ConnectError, GroupError, ReadError, UserError};
pub use events::Events;
pub use group::{
    Delivery, Group, GroupMember, GroupPlace, Groups, MemberIs, NackAction, OldestInFlight,
};
pub use options::{ClientOptions, Login, TlsOptions};
pub use request::{Read, Subscribe};
pub use subscription::{Notice, Notices, Subscription};
pub use users::User;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    Append, Direction, ExpectedRevision, InvalidText, Lineage, Position, ReadFrom, Receipt,
    RecordedEvent, Revision, StoreId, StreamHead, StreamName, Timestamp, Token,
};
use crate::protocol::message::{self as wire, Empty, Limits};
use crate::protocol::records::all_events;
use crate::protocol::{Answer, Request};
use link::{Link, Trouble};

/// A client of one server. Cloning is cheap, and clones share the connection.
#[derive(Clone, Debug)]
pub struct Client(Arc<Link>);

/// How a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// Where it ends.
    pub head: StreamHead,
    /// The revision of its first event that can be read.
    pub first: Option<Revision>,
    /// The position of its last event.
    pub last_position: Option<Position>,
    /// How many events were ever written to it.
    pub events: u64,
    /// The revision of its metadata and the JSON they are.
    pub metadata: Option<(Revision, Bytes)>,
}

/// A stream in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamListed {
    /// Its name.
    pub stream: StreamName,
    /// Where it ends.
    pub head: StreamHead,
    /// How many events were ever written to it.
    pub events: u64,
}

/// How a server and its store are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStatus {
    /// What the server calls itself.
    pub server: String,
    /// Its version.
    pub server_version: String,
    /// What it allows on a connection.
    pub limits: Limits,
    /// Where the log ends, with the identity of the store.
    pub token: Token,
    /// When the last commit was made, in microseconds since 1970; none if there is none.
    pub committed_us: Option<i64>,
    /// How long the server has been running.
    pub up: Duration,
    /// Further figures by name.
    pub figures: Vec<(String, u64)>,
    /// Further texts by name.
    pub texts: Vec<(String, String)>,
}

impl Client {
    /// Connects to the server of a connection string (see [`ClientOptions`]) or of options.
    ///
    /// # Errors
    /// See [`ConnectError`]. There is one try: a server that is not there is an error at once.
    pub async fn connect<T>(options: T) -> Result<Self, ConnectError>
    where
        T: TryInto<ClientOptions>,
        ConnectError: From<T::Error>,
    {
        let options = options.try_into()?;
        Ok(Self(Arc::new(Link::open(options).await?)))
    }

    /// The store behind the server.
    #[must_use]
    pub fn store(&self) -> StoreId {
        StoreId(uuid::Uuid::from_bytes(self.0.welcome().store))
    }

    /// The lineage of the store.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        Lineage(uuid::Uuid::from_bytes(self.0.welcome().lineage))
    }

    /// Ends the connection. Whoever waits for an answer on any clone, and every later request, gets
    /// an error.
    pub fn close(&self) {
        self.0.close();
    }

    /// Appends, and returns when everything is on stable storage. The principal of a request id is
    /// the server's to say; what stands there is not sent.
    ///
    /// # Errors
    /// See [`AppendError`], and the [module](self) on lost connections.
    pub async fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        append::append(&self.0, append).await
    }

    /// The same, but sent once at most: if the connection is lost before the answer came, it ends
    /// with [`AppendError::Unknown`]. It is sent when the future is first polled and a connection
    /// is there, so whoever polls several of them one after the other sends them in this order, and
    /// none overtakes another by being sent again.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn append_once(&self, append: Append) -> Result<Receipt, AppendError> {
        // Without this the runtime's fairness would let some of many first polls send nothing.
        tokio::task::unconstrained(append::append_once(&self.0, append)).await
    }

    /// Deletes a stream; it may be written again.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn delete(
        &self,
        stream: StreamName,
        expected: ExpectedRevision,
    ) -> Result<Receipt, AppendError> {
        self.append(Append::delete(stream, expected)).await
    }

    /// Closes a stream for ever.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn tombstone(
        &self,
        stream: StreamName,
        expected: ExpectedRevision,
    ) -> Result<Receipt, AppendError> {
        self.append(Append::tombstone(stream, expected)).await
    }

    /// Replaces the metadata of a stream; the expectation is of the metadata's own revision.
    ///
    /// # Errors
    /// As [`Self::append`]; and a metadata stream has no metadata.
    pub async fn set_metadata(
        &self,
        stream: &StreamName,
        expected: ExpectedRevision,
        json: impl Into<Bytes>,
    ) -> Result<Receipt, AppendError> {
        let invalid = |error: InvalidText| AppendError::Invalid(error.to_string());
        self.append(Append::metadata(stream, expected, json).map_err(invalid)?)
            .await
    }

    /// Reads events. Nothing is sent before the first of them is asked for.
    #[must_use]
    pub fn read(&self, read: Read) -> Events {
        Events::new(Arc::clone(&self.0), read)
    }

    /// Reads a stream.
    #[must_use]
    pub fn read_stream(
        &self,
        stream: StreamName,
        from: ReadFrom<Revision>,
        direction: Direction,
    ) -> Events {
        let from = match from {
            ReadFrom::Start => ReadFrom::Start,
            ReadFrom::End => ReadFrom::End,
            ReadFrom::At(revision) => ReadFrom::At(revision.0),
        };
        self.read(Read {
            from,
            direction,
            ..Read::stream(stream)
        })
    }

    /// Reads the whole log.
    #[must_use]
    pub fn read_all(&self, from: ReadFrom<Position>, direction: Direction) -> Events {
        let from = match from {
            ReadFrom::Start => ReadFrom::Start,
            ReadFrom::End => ReadFrom::End,
            ReadFrom::At(position) => ReadFrom::At(position.0),
        };
        self.read(Read {
            from,
            direction,
            ..Read::all()
        })
    }

    /// Follows events, those still to come included. Returns when the server has begun.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, ReadError> {
        Subscription::open(Arc::clone(&self.0), subscribe).await
    }

    /// The event at a position, if there is one that can be read.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        self.event_of(wire::EventAt::Position(position.0)).await
    }

    /// The event of a stream with a revision, if there is one that can be read.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn event(
        &self,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        let stream = stream.to_string();
        self.event_of(wire::EventAt::Revision {
            stream,
            revision: revision.0,
        })
        .await
    }

    async fn event_of(&self, at: wire::EventAt) -> Result<Option<RecordedEvent>, ReadError> {
        match self.0.ask(&Request::Event(at)).await? {
            Answer::Records(runs) => {
                let events = all_events(&runs, &self.0.salt())?;
                Ok(events.into_iter().next())
            }
            other => Err(unexpected(&other).into()),
        }
    }

    /// How a stream is. A stream that was never written is [`StreamHead::Absent`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn stream(&self, stream: &StreamName) -> Result<StreamDescription, ReadError> {
        let stream = stream.to_string();
        match self
            .0
            .ask(&Request::DescribeStream(wire::DescribeStream { stream }))
            .await?
        {
            Answer::StreamDescription(description) => Ok(StreamDescription {
                head: description.head.into(),
                first: description.first.map(Revision),
                last_position: description.last_position.map(Position),
                events: description.events,
                metadata: description
                    .metadata
                    .map(|metadata| (Revision(metadata.revision), metadata.json.into())),
            }),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Streams whose names begin with `prefix` and stand behind `after` in the order of their
    /// bytes; at most `streams_max`, and perhaps fewer. The flag says whether there are more.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn streams(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        streams_max: u32,
    ) -> Result<(Vec<StreamListed>, bool), ReadError> {
        let list = wire::ListStreams {
            prefix: prefix.to_owned(),
            after: after.map(ToString::to_string),
            streams_max,
        };
        match self.0.ask(&Request::ListStreams(list)).await? {
            Answer::StreamList(list) => {
                let streams = list.streams.into_iter().map(|summary| {
                    Ok(StreamListed {
                        stream: StreamName::new(summary.stream)?,
                        head: summary.head.into(),
                        events: summary.events,
                    })
                });
                let streams = streams.collect::<Result<_, InvalidText>>();
                let streams = streams.map_err(|error| ConnectError::Protocol(error.to_string()))?;
                Ok((streams, list.more))
            }
            other => Err(unexpected(&other).into()),
        }
    }

    /// The first position whose event was created at a time or later; the end of the log if there
    /// is none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn position_at(&self, created: Timestamp) -> Result<Position, ReadError> {
        let (seconds, nanos) = (created.seconds(), created.nanos());
        self.position_of(Request::PositionAt(wire::PositionAt { seconds, nanos }))
            .await
    }

    /// Waits until the store has reached a token, and says where it ends then.
    ///
    /// # Errors
    /// See [`ReadError`]; [`ReadError::NotReached`] after `within`.
    pub async fn wait_for(&self, token: Token, within: Duration) -> Result<Position, ReadError> {
        self.position_of(Request::WaitFor(request::wait_for(token, within)))
            .await
    }

    async fn position_of(&self, request: Request) -> Result<Position, ReadError> {
        match self.0.ask(&request).await? {
            Answer::Position(is) => Ok(Position(is.position)),
            other => Err(unexpected(&other).into()),
        }
    }

    /// How the server and its store are.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn status(&self) -> Result<ServerStatus, ReadError> {
        match self.0.ask(&Request::Status(Empty)).await? {
            Answer::Status(status) => {
                let welcome = self.0.welcome();
                let (store, lineage) = (self.store(), self.lineage());
                Ok(ServerStatus {
                    server: welcome.server,
                    server_version: welcome.server_version,
                    limits: welcome.limits,
                    token: Token {
                        store,
                        lineage,
                        end: Position(status.committed),
                    },
                    committed_us: status.committed_us,
                    up: Duration::from_millis(status.up_ms),
                    figures: status.figures,
                    texts: status.texts,
                })
            }
            other => Err(unexpected(&other).into()),
        }
    }
}

impl From<Trouble> for ReadError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Connection(error) => error.into(),
            Trouble::Lost => ConnectError::Closed.into(),
            Trouble::Answer(error) => error.into(),
        }
    }
}

fn unexpected(answer: &Answer) -> ConnectError {
    ConnectError::Protocol(format!(
        "an answer of kind {:#04x} fits no request",
        answer.kind()
    ))
}
