//! Reading: what a reader sees, and the way from a question to the bytes that lie on the disk.
//!
//! Every read is made as of one moment, a committed position and a view of the index that ignores
//! everything behind it, and sees nothing that happens later. What a stream shows is decided in
//! `window.rs`. The index plans positions, 128 at a time, and the log reads those that lie close
//! together at once; a walk through the whole log takes its blocks as they are. Nothing is decoded
//! on the way: [`Events`] decodes what it hands out, and [`Batch`] is stored bytes.
//!
//! The whole log, a category, a type and a tag show what is stored: the events of deleted and
//! truncated streams too, metadata, and tombstones, until they are scavenged away.

mod batch;
mod cursor;
mod events;
mod follow;
mod info;
mod listing;
mod projections;
mod resolved;
mod store;
mod wait;
mod window;

pub use batch::{Batch, BatchLimit};
pub use events::{Events, Looked};
pub(crate) use follow::{Record, StreamStart, Track};
pub use info::{StoredMetadata, StreamInfo, StreamSummary};
pub(crate) use listing::{Entry, Virtual, VirtualStart};
pub use projections::ProjectionState;
pub use resolved::{Bounds, ResolvedEvent, ResolvedEvents};
pub(crate) use wait::block_on_until;
pub(super) use window::{is_young, sight_of};

use std::sync::Arc;

use crate::disk::Host;
use crate::engine::ReadError;
use crate::engine::committed::Committed;
use crate::engine::read::cursor::{Cursor, Path, Sieve};
use crate::engine::read::window::{Sight, Window, sight};
use crate::engine::stats::Counters;
use crate::index::{From, Index, IndexError, Key, StreamEntry, View};
use crate::log::Log;
use crate::model::{
    Direction, EventFilter, Position, ReadFrom, RecordedEvent, Revision, StreamName, Timestamp,
};

/// All that reading needs of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) log: Log,
    pub(crate) index: Index,
    pub(crate) committed: Arc<Committed>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) counters: Arc<Counters>,
}

impl std::convert::From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Storage(error) => Self::Storage(error),
            IndexError::Rebuilding { done, of } => Self::IndexRebuilding { done, of },
        }
    }
}

impl Reading {
    fn view(&self) -> View {
        self.index.view(self.committed.end())
    }

    fn cursor(&self, direction: Direction, sieve: Sieve, path: Path, end: Position) -> Cursor {
        Cursor {
            log: self.log.clone(),
            counters: Arc::clone(&self.counters),
            direction,
            sieve,
            path,
            end,
            failed: None,
        }
    }

    /// The wall clock, in microseconds since 1970.
    pub(crate) fn now_us(&self) -> i64 {
        self.host.now_us()
    }

    fn sight(
        &self,
        view: &View,
        stream: &StreamName,
        entry: &StreamEntry,
    ) -> Result<Sight, ReadError> {
        let described = match stream.described() {
            Some(described) => Some(view.stream(described)?),
            None => None,
        };
        Ok(sight(stream, entry, described.as_ref(), self.host.now_us()))
    }

    /// What is shown of a stream now, to a reader that wants it to be there.
    fn window(&self, view: &View, stream: &StreamName) -> Result<Window, ReadError> {
        let entry = view.stream(stream)?;
        match self.sight(view, stream, &entry)? {
            Sight::Window(window) => Ok(window),
            Sight::NotFound => Err(ReadError::StreamNotFound(stream.clone())),
            Sight::Tombstoned => Err(ReadError::StreamTombstoned(stream.clone())),
        }
    }

    /// The events of a stream that it shows.
    pub(crate) fn stream_events(
        &self,
        stream: &StreamName,
        from: ReadFrom<Revision>,
        direction: Direction,
    ) -> Result<Cursor, ReadError> {
        Ok(self.stream_events_within(stream, from, direction)?.0)
    }

    /// The same, and what the stream shows.
    pub(crate) fn stream_events_within(
        &self,
        stream: &StreamName,
        from: ReadFrom<Revision>,
        direction: Direction,
    ) -> Result<(Cursor, Bounds), ReadError> {
        let view = self.view();
        let window = self.window(&view, stream)?;
        let bounds = Bounds {
            first: window.first,
            last: window.last,
        };
        let start = match direction {
            Direction::Forwards => window.forwards(from),
            Direction::Backwards => window.backwards(from),
        };
        let sieve = Sieve {
            first: window.first,
            created_min: window.created_min_s.map(|min| (min, Revision(u64::MAX))),
            filter: None,
        };
        let path = match start {
            None => Path::Done,
            Some(start) => {
                let from = From::Ordinal(start.0);
                let postings = view.seek(Key::Stream(stream), from, direction)?;
                Path::List(Box::new(postings), Vec::new())
            }
        };
        let cursor = self.cursor(direction, sieve, path, view.committed());
        Ok((cursor, bounds))
    }

    /// All events, or those that a filter chooses.
    pub(crate) fn all_events(
        &self,
        from: ReadFrom<Position>,
        direction: Direction,
        filter: Option<EventFilter>,
    ) -> Cursor {
        let end = self.committed.end();
        let from = place(from, end);
        let path = match direction {
            Direction::Forwards => Path::Log(from, end),
            Direction::Backwards => Path::Log(Position::START, from.min(end)),
        };
        let sieve = Sieve {
            filter,
            ..Sieve::default()
        };
        self.cursor(direction, sieve, path, end)
    }

    /// The events of a list that is no stream's.
    pub(crate) fn listed_events(
        &self,
        key: Key<'_>,
        from: ReadFrom<Position>,
        direction: Direction,
    ) -> Result<Cursor, ReadError> {
        let view = self.view();
        let from = place(from, view.committed());
        let postings = view.seek_positions(key, from, direction)?;
        let path = Path::List(Box::new(postings), Vec::new());
        Ok(self.cursor(direction, Sieve::default(), path, view.committed()))
    }

    /// The event at a position; none if there is none yet, or none any more.
    pub(crate) fn event_at(&self, position: Position) -> Result<Option<RecordedEvent>, ReadError> {
        if position >= self.committed.end() {
            return Ok(None);
        }
        let chunk = self.log.read_at(&[position])?;
        self.counters.read(chunk.events_count(), chunk.len_bytes());
        chunk
            .events()
            .next()
            .transpose()
            .map_err(ReadError::unreadable)
    }

    /// The event of a stream with a revision, if the stream shows it.
    pub(crate) fn event(
        &self,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        let from = ReadFrom::At(revision);
        let mut cursor = self.stream_events(stream, from, Direction::Forwards)?;
        let limit = BatchLimit {
            events_max: 1,
            ..BatchLimit::default()
        };
        let Some(batch) = cursor.next_batch(limit)? else {
            return Ok(None);
        };
        let event = batch
            .events()
            .next()
            .transpose()
            .map_err(ReadError::unreadable)?;
        Ok(event.filter(|event| event.revision == revision))
    }

    /// The first position whose event was created at a time or later; the end if there is none.
    pub(crate) fn position_at(&self, created: Timestamp) -> Result<Position, ReadError> {
        let end = self.committed.end();
        Ok(self.log.position_at(created)?.min(end))
    }
}

fn place(from: ReadFrom<Position>, end: Position) -> Position {
    match from {
        ReadFrom::Start => Position::START,
        ReadFrom::End => end,
        ReadFrom::At(position) => position,
    }
}
