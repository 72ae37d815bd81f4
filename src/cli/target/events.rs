//! A read, from a server or a folder.

use tokio::task::block_in_place;

use crate::cli::failure::Failure;
use crate::cli::values::From;
use crate::client::{self, Client, Read};
use crate::engine::{self, ReadError, Store};
use crate::model::{Direction, Position, RecordedEvent, Revision, Source};

/// What is to be read.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Query {
    /// Which events.
    pub(in crate::cli) source: Source,
    /// Where to begin, itself included.
    pub(in crate::cli) from: From,
    /// Which way.
    pub(in crate::cli) direction: Direction,
    /// How many at most.
    pub(in crate::cli) events_max: u64,
}

/// The events of a read, in its order.
pub(in crate::cli) enum Events {
    /// They come over a connection.
    Server(Box<client::Events>),
    /// They come from the disk.
    Folder(Box<FolderEvents>),
}

/// A read of a folder.
pub(in crate::cli) struct FolderEvents {
    events: engine::Events,
    /// How many are still wanted.
    left: u64,
    /// What was met behind the events that were given last.
    failed: Option<ReadError>,
}

/// Events that a folder gives at once.
const BATCH: usize = 1_024;

impl Events {
    pub(super) fn of_server(client: &Client, query: Query) -> Self {
        let in_stream = matches!(query.source, Source::Stream(_));
        let mut read = Read::new(query.source).events_max(query.events_max);
        read = match (query.from, query.direction, in_stream) {
            (From::Start, ..) => read,
            (From::End, ..) => read.from_end(),
            (From::At(revision), _, true) => read.from_revision(Revision(revision)),
            (From::At(at), direction, false) => read.from_position(place(at, direction)),
        };
        if query.direction == Direction::Backwards {
            // From the start backwards there is the first event at most.
            read = match query.from {
                From::Start if in_stream => read.from_revision(Revision::START).backwards(),
                From::Start => read.from_position(Position(1)).backwards(),
                From::End | From::At(_) => read.backwards(),
            };
        }
        Self::Server(Box::new(client.read(read)))
    }

    pub(super) fn of_folder(store: &Store, query: Query) -> Result<Self, Failure> {
        let direction = query.direction;
        let from = match (query.from, direction) {
            (From::At(at), _) => From::At(place(at, direction).0),
            (From::Start, Direction::Backwards) => From::At(1),
            (from, _) => from,
        };
        let position = from.position();
        let events = block_in_place(|| match &query.source {
            Source::Stream(stream) => store.read_stream(stream, query.from.revision(), direction),
            Source::All => store.read_all(position, direction, None),
            Source::Filtered(filter) => store.read_all(position, direction, Some(filter.clone())),
            Source::Category(category) => store.read_category(category, position, direction),
            Source::EventType(event_type) => store.read_type(event_type, position, direction),
            Source::Tag(tag) => store.read_tag(tag, position, direction),
        })?;
        Ok(Self::Folder(Box::new(FolderEvents {
            events,
            left: query.events_max,
            failed: None,
        })))
    }

    /// Some events, at least one; none at the end. What can be read in front of an error comes in
    /// front of it.
    pub(in crate::cli) async fn next_batch(
        &mut self,
    ) -> Result<Option<Vec<RecordedEvent>>, Failure> {
        match self {
            Self::Server(events) => Ok(events.next_batch().await?),
            Self::Folder(folder) => Ok(block_in_place(|| folder.next_batch())?),
        }
    }
}

impl FolderEvents {
    fn next_batch(&mut self) -> Result<Option<Vec<RecordedEvent>>, ReadError> {
        let wanted = usize::try_from(self.left).unwrap_or(BATCH).min(BATCH);
        let mut batch = Vec::new();
        while self.failed.is_none() && batch.len() < wanted {
            match self.events.next() {
                Some(Ok(event)) => batch.push(event),
                Some(Err(error)) => self.failed = Some(error),
                None => break,
            }
        }
        self.left -= u64::try_from(batch.len()).unwrap_or(0);
        match self.failed.take() {
            Some(error) if batch.is_empty() => Err(error),
            failed => {
                self.failed = failed;
                Ok((!batch.is_empty()).then_some(batch))
            }
        }
    }
}

/// A backward read stays before its position, and we said that the place itself is included.
fn place(at: u64, direction: Direction) -> Position {
    match direction {
        Direction::Forwards => Position(at),
        Direction::Backwards => Position(at).next(),
    }
}
