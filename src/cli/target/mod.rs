//! Where a verb works: on a server, or on a folder that no server has open. Verbs see one surface.
//!
//! What the engine does on the caller's thread, reading from the disk mostly, is done in place: the
//! command line has nobody else to keep waiting.

mod events;
mod feed;
mod send;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::task::block_in_place;

use super::failure::{Exit, Failure};
use crate::client::{self, Client, ConnectError};
use crate::engine::{OpenError, Store, StoreOptions};
use crate::model::{
    Append, Position, Receipt, RecordedEvent, Revision, StreamHead, StreamName, Token,
};

use crate::protocol::WireError;
use crate::tls::HandshakeError;

pub(super) use events::{Events, Query};
pub(super) use feed::{Feed, Seen};
pub(super) use send::Sending;

/// The flags that say where a verb works.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// The server [default: annal://127.0.0.1:2112]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "ANNAL_SERVER",
        help_heading = "Where"
    )]
    server: Option<String>,
    /// A store's folder, used without a server; no server may have it open
    #[arg(long, value_name = "DIR", help_heading = "Where")]
    data: Option<PathBuf>,
}

/// Where a server is unless somebody says otherwise.
pub(super) const SERVER: &str = "annal://127.0.0.1:2112";

/// Whether a folder without a store becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Make {
    /// It does.
    Yes,
    /// It is a failure.
    No,
    /// It is, and the store is only read.
    ReadOnly,
}

/// A server or a folder.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// Through a connection.
    Server(Client),
    /// Within this process.
    Folder(Store),
}

/// How a stream stands.
#[derive(Clone, Debug)]
pub(super) struct StreamState {
    /// Where it ends.
    pub(super) head: StreamHead,
    /// The first revision that can be read.
    pub(super) first: Option<Revision>,
    /// The position of its last event.
    pub(super) last_position: Option<Position>,
    /// Events ever written to it.
    pub(super) events: u64,
    /// The revision and the text of its metadata.
    pub(super) metadata: Option<(Revision, Bytes)>,
}

/// A stream in a list.
#[derive(Clone, Debug)]
pub(super) struct StreamListed {
    /// Its name.
    pub(super) stream: StreamName,
    /// Where it ends.
    pub(super) head: StreamHead,
    /// Events ever written to it.
    pub(super) events: u64,
}

impl TargetArgs {
    /// What the flag `--server` would say.
    pub(super) fn of_server(server: Option<String>) -> Self {
        Self { server, data: None }
    }

    /// Refuses what was meant as the data of an event.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let text = self
            .data
            .as_deref()
            .map(Path::to_string_lossy)
            .unwrap_or_default();
        match text.trim_start().starts_with(['{', '[', '"']) {
            false => Ok(()),
            true => {
                let message = format!("--data names the folder of a store, not {text}");
                Err(Failure::usage(message).advise(
                    "the data of an event is the last argument: annal append STREAM --type T '{}'",
                ))
            }
        }
    }

    /// The folder, if it is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The server, if it is one.
    pub(super) fn address(&self) -> &str {
        self.server.as_deref().unwrap_or(SERVER)
    }
}

/// Opens the store in a folder.
pub(super) fn open_folder(folder: &Path, make: Make) -> Result<Store, Failure> {
    let text = folder.display();
    let options = StoreOptions {
        create: make == Make::Yes,
        read_only: make == Make::ReadOnly,
        ..StoreOptions::default()
    };
    block_in_place(|| Store::open(folder, options)).map_err(|error| {
        let advice = match &error {
            OpenError::NotFound(_) => Some(format!("annal serve --data {text} makes one")),
            OpenError::InUse(_) => Some(
                "read, append and the like ask the server that has it open, without --data"
                    .to_owned(),
            ),
            OpenError::Damaged(_) => Some(format!(
                "annal verify --data {text} shows the extent; \
                 annal serve --read-only --data {text} serves what is whole"
            )),
            _ => None,
        };
        match advice {
            Some(advice) => Failure::from(error).advise(advice),
            None => error.into(),
        }
    })
}

impl Target {
    /// Opens the folder, if one is given, and else connects to the server.
    pub(super) async fn open(args: &TargetArgs, make: Make) -> Result<Self, Failure> {
        match args.folder() {
            Some(folder) => open_folder(folder, make).map(Self::Folder),
            None => connect(args.address()).await.map(Self::Server),
        }
    }

    /// Another connection; or the same store once more.
    pub(super) async fn another(&self, args: &TargetArgs) -> Result<Self, Failure> {
        match self {
            Self::Server(_) => connect(args.address()).await.map(Self::Server),
            Self::Folder(store) => Ok(Self::Folder(store.clone())),
        }
    }

    /// Appends, and waits until it is durable.
    pub(super) async fn append(&self, append: Append) -> Result<Receipt, Failure> {
        match self {
            Self::Server(client) => Ok(client.append(append).await?),
            Self::Folder(_) => self.send(append).await,
        }
    }

    /// Sends an append now, behind those sent before. It is not sent a second time: if the
    /// connection is lost, the append fails.
    pub(super) fn send(&self, append: Append) -> Sending {
        match self {
            Self::Server(client) => Sending::to_server(client, append),
            Self::Folder(store) => Sending::to_folder(store, append),
        }
    }

    /// Begins a read.
    pub(super) fn read(&self, query: Query) -> Result<Events, Failure> {
        match self {
            Self::Server(client) => Ok(Events::of_server(client, query)),
            Self::Folder(store) => Events::of_folder(store, query),
        }
    }

    /// Where the log ends.
    pub(super) async fn committed(&self) -> Result<Position, Failure> {
        match self {
            Self::Server(client) => Ok(client.status().await?.token.end),
            Self::Folder(store) => Ok(store.committed()),
        }
    }

    /// The event of a stream with a revision; none if it is not there, or not shown.
    pub(super) async fn event(
        &self,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<Option<RecordedEvent>, Failure> {
        let found = match self {
            Self::Server(client) => client.event(stream, revision).await.map_err(Failure::from),
            Self::Folder(store) => {
                block_in_place(|| store.event(stream, revision)).map_err(Failure::from)
            }
        };
        match found {
            Err(failure) if failure.exit() == Exit::NotFound => Ok(None),
            found => found,
        }
    }

    /// How a stream stands. One that was never there is absent.
    pub(super) async fn stream(&self, stream: &StreamName) -> Result<StreamState, Failure> {
        match self {
            Self::Server(client) => {
                let found = client.stream(stream).await?;
                Ok(StreamState {
                    head: found.head,
                    first: found.first,
                    last_position: found.last_position,
                    events: found.events,
                    metadata: found.metadata,
                })
            }
            Self::Folder(store) => match block_in_place(|| store.stream(stream)) {
                Ok(found) => Ok(StreamState {
                    head: found.head,
                    first: found.first,
                    last_position: found.last_position,
                    events: found.events_count,
                    metadata: found.metadata.map(|found| (found.revision, found.json)),
                }),
                Err(error) => match Failure::from(error) {
                    failure if failure.exit() == Exit::NotFound => Ok(StreamState {
                        head: StreamHead::Absent,
                        first: None,
                        last_position: None,
                        events: 0,
                        metadata: None,
                    }),
                    failure => Err(failure),
                },
            },
        }
    }

    /// Streams by the beginning of their names, in the order of their bytes; none at the end.
    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&StreamName>,
        max: u32,
    ) -> Result<Vec<StreamListed>, Failure> {
        match self {
            Self::Server(client) => {
                let (found, _) = client.streams(prefix, after, max).await?;
                let listed = found.into_iter().map(|found| StreamListed {
                    stream: found.stream,
                    head: found.head,
                    events: found.events,
                });
                Ok(listed.collect())
            }
            Self::Folder(store) => {
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                let found = block_in_place(|| store.streams(prefix, after, max))?;
                let listed = found.into_iter().map(|found| StreamListed {
                    stream: found.stream,
                    head: found.head,
                    events: found.events_count,
                });
                Ok(listed.collect())
            }
        }
    }

    /// The identity of the store, and where its log ends.
    pub(super) async fn token(&self) -> Result<Token, Failure> {
        match self {
            Self::Server(client) => Ok(client.status().await?.token),
            Self::Folder(store) => Ok(store.token()),
        }
    }

    /// Ends the connection, or closes the store in order.
    pub(super) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Server(client) => client.close(),
            Self::Folder(store) => block_in_place(|| store.close())?,
        }
        Ok(())
    }
}

async fn connect(address: &str) -> Result<Client, Failure> {
    Client::connect(address).await.map_err(|error| {
        let advice = match &error {
            ConnectError::Unreachable { .. } => {
                "start one with `annal serve`, name another with --server annal://HOST:PORT, or \
                 use a folder with --data DIR"
            }
            ConnectError::Authentication { .. } => {
                "say who you are: annal://USER:PASSWORD@HOST:PORT, with --server or in ANNAL_SERVER"
            }
            ConnectError::Handshake {
                problem: HandshakeError::UnknownIssuer,
                ..
            } => "name who has signed it: annals://HOST:PORT?tls_ca=FILE",
            _ => return error.into(),
        };
        Failure::from(error).advise(advice)
    })
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match &error {
            ConnectError::Address { .. } => Exit::Usage,
            ConnectError::OtherStore { .. } => Exit::Conflict,
            ConnectError::Protocol(_) | ConnectError::Trust(_) => Exit::Failure,
            ConnectError::Authentication { .. } => Exit::Denied,
            _ => Exit::Unavailable,
        };
        Self::new(exit, error)
    }
}

impl From<client::AppendError> for Failure {
    fn from(error: client::AppendError) -> Self {
        use client::AppendError as E;
        let exit = match &error {
            E::WrongExpectedRevision { .. } | E::StreamDeleted { .. } | E::RequestIdReused(_) => {
                Exit::Conflict
            }
            E::OverLimit { .. } | E::Invalid(_) => Exit::Usage,
            E::Denied(_) => Exit::Denied,
            E::Busy | E::IndexRebuilding { .. } | E::Server(WireError::GoingAway) => {
                Exit::Unavailable
            }
            E::Storage { kind, .. } => (*kind).into(),
            E::Connection(cause) => return Self::from(cause.clone()),
            _ => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

impl From<client::UserError> for Failure {
    fn from(error: client::UserError) -> Self {
        use client::UserError as E;
        let exit = match &error {
            E::NotFound(_) => Exit::NotFound,
            E::Conflict(_) => Exit::Conflict,
            E::Denied(_) => Exit::Denied,
            E::Invalid(_) => Exit::Usage,
            E::Server(WireError::Busy | WireError::GoingAway) => Exit::Unavailable,
            E::Server(WireError::Storage { kind, .. }) => (*kind).into(),
            E::Connection(cause) => return Self::from(cause.clone()),
            _ => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

impl From<client::ReadError> for Failure {
    fn from(error: client::ReadError) -> Self {
        use client::ReadError as E;
        let exit = match &error {
            E::StreamNotFound(_) | E::StreamTombstoned(_) => Exit::NotFound,
            E::ForeignToken(_) => Exit::Conflict,
            E::NotReached { .. } | E::IndexRebuilding { .. } | E::Server(WireError::GoingAway) => {
                Exit::Unavailable
            }
            E::Invalid(_) => Exit::Usage,
            E::Denied(_) => Exit::Denied,
            E::Damaged(_) => Exit::Damaged,
            E::Storage { kind, .. } => (*kind).into(),
            E::Connection(cause) => return Self::from(cause.clone()),
            _ => Exit::Failure,
        };
        Self::new(exit, error)
    }
}
