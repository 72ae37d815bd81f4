//! Reading on: what a subscription reads each time that it looks, and what wakes it.
//!
//! A stream shows its past through its metadata; what is committed after somebody began to follow
//! it he gets whole, so that what he sees does not depend on how quickly he looks.

use std::sync::Arc;

use crate::engine::ReadError;
use crate::engine::committed::CommitListener;
use crate::engine::read::Reading;
use crate::engine::read::batch::{Batch, BatchLimit};
use crate::engine::read::cursor::{Cursor, Path, Sieve, chooses};
use crate::engine::read::listing::Virtual;
use crate::engine::read::window::Sight;
use crate::format::record::Layout;
use crate::index::{From, Key, View};
use crate::log::Run;
use crate::model::{
    Direction, EventFilter, Position, ReadFrom, Revision, Source, StreamName, correlation_id,
};

/// Where somebody began to follow a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamStart {
    /// The lowest revision he wants.
    pub(crate) from: Revision,
    /// The first revision that was not there yet.
    pub(crate) live: Revision,
    /// Events of such revisions lie here or behind it, and all others in front of it.
    pub(crate) live_at: Position,
}

/// What somebody follows.
#[derive(Clone, Debug)]
pub(crate) enum Track {
    /// What lies in the log.
    Source(Source),
    /// What the entries of a virtual stream stand for.
    Virtual(Virtual),
}

impl Track {
    /// The stored stream, if it is one.
    pub(crate) fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::Source(Source::Stream(stream)) => Some(stream),
            Self::Source(_) | Self::Virtual(_) => None,
        }
    }
}

/// What was found behind a position.
#[derive(Debug)]
pub(crate) struct Followed {
    /// The events, if there were any; and how far was looked.
    pub(crate) batch: Batch,
    /// Whether the position reached is where the log ended when the look began.
    pub(crate) at_end: bool,
    /// The stream was closed for ever there, and every event in front of it is in the batch or was
    /// read before.
    pub(crate) tombstoned: Option<Position>,
}

impl Reading {
    /// Where a stream ends now, for somebody who begins to follow it.
    pub(crate) fn stream_start(
        &self,
        stream: &StreamName,
        from: Revision,
    ) -> Result<StreamStart, ReadError> {
        let view = self.view();
        let last = view.stream_end(stream)?.last;
        let live = last.map_or(Revision::START, |(revision, _)| revision.next());
        let live_at = view.committed();
        Ok(StreamStart {
            from,
            live,
            live_at,
        })
    }

    /// What lies behind everything in front of `next`, within the limit.
    pub(crate) fn follow(
        &self,
        track: &Track,
        start: StreamStart,
        next: Position,
        limit: BatchLimit,
    ) -> Result<Followed, ReadError> {
        let mut tombstoned = None;
        let mut cursor = match track {
            Track::Virtual(one) => {
                let end = self.virtual_end(&one.of);
                self.listed_events_to(one.key(), next, end)?
            }
            Track::Source(source) => self.follow_source(source, start, next, &mut tombstoned)?,
        };
        let end = cursor.end().max(next);
        let batch = cursor.next_batch(limit)?.unwrap_or(Batch {
            runs: Vec::new(),
            next: end,
        });
        let at_end = batch.next >= end;
        Ok(Followed {
            tombstoned: tombstoned.filter(|_| at_end),
            at_end,
            batch,
        })
    }

    fn follow_source(
        &self,
        source: &Source,
        start: StreamStart,
        next: Position,
        tombstoned: &mut Option<Position>,
    ) -> Result<Cursor, ReadError> {
        let from = ReadFrom::At(next);
        let forwards = Direction::Forwards;
        Ok(match source {
            Source::All => self.all_events(from, forwards, None),
            Source::Filtered(filter) => self.all_events(from, forwards, Some(filter.clone())),
            Source::Category(category) => {
                self.listed_events(Key::Category(category), from, forwards)?
            }
            Source::EventType(name) => self.listed_events(Key::EventType(name), from, forwards)?,
            Source::Tag(tag) => self.listed_events(Key::Tag(tag), from, forwards)?,
            Source::Stream(stream) => {
                let view = self.view();
                *tombstoned = view.stream_end(stream)?.tombstoned;
                self.follow_stream(view, stream, start, next)?
            }
        })
    }

    /// The events of a list from a position to in front of another.
    fn listed_events_to(
        &self,
        key: Key<'_>,
        from: Position,
        to: Position,
    ) -> Result<Cursor, ReadError> {
        let view = self.view();
        let postings = view.seek_positions(key, from, Direction::Forwards)?;
        let path = Path::List(Box::new(postings), Vec::new());
        let end = to.min(view.committed());
        Ok(self.cursor(Direction::Forwards, Sieve::default(), path, end))
    }

    fn follow_stream(
        &self,
        view: View,
        stream: &StreamName,
        start: StreamStart,
        next: Position,
    ) -> Result<Cursor, ReadError> {
        let sieve = match next >= start.live_at {
            // All of it is shown: its metadata need not be asked.
            true => Sieve {
                first: start.from.max(start.live),
                ..Sieve::default()
            },
            false => self.sieve_of_past(&view, stream, start)?,
        };
        let from = match next {
            Position::START => From::Ordinal(sieve.first.0),
            next => From::Position(next),
        };
        let postings = view.seek(Key::Stream(stream), from, Direction::Forwards)?;
        let path = Path::List(Box::new(postings), Vec::new());
        Ok(self.cursor(Direction::Forwards, sieve, path, view.committed()))
    }

    /// What a stream shows to somebody who has not come to its end yet.
    fn sieve_of_past(
        &self,
        view: &View,
        stream: &StreamName,
        start: StreamStart,
    ) -> Result<Sieve, ReadError> {
        let entry = view.stream(stream)?;
        let (shown, created_min_s) = match self.sight(view, stream, &entry)? {
            Sight::Window(window) => (window.first, window.created_min_s),
            Sight::NotFound | Sight::Tombstoned => (start.live, None),
        };
        Ok(Sieve {
            first: shown.min(start.live).max(start.from),
            created_min: created_min_s.map(|min| (min, start.live)),
            filter: None,
        })
    }

    /// Shows every record of a range of committed positions, for finding out whom it concerns.
    pub(crate) fn scan(
        &self,
        from: Position,
        to: Position,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), ReadError> {
        let mut at = from;
        while at < to {
            let chunk = self.log.read(at, to, usize::MAX)?;
            let Some(last) = chunk.runs.last() else {
                break;
            };
            at = last.end();
            for record in chunk.runs.iter().flat_map(Run::records) {
                let (position, layout, bytes) = record.map_err(ReadError::unreadable)?;
                visit(&Record {
                    position,
                    layout,
                    bytes: &bytes,
                });
            }
        }
        Ok(())
    }

    /// The position behind the last committed event.
    pub(crate) fn committed_end(&self) -> Position {
        self.committed.end()
    }

    /// The one who is told of commits; none if the store is closed.
    pub(crate) fn listener<L: CommitListener>(
        &self,
        make: impl FnOnce() -> Arc<L>,
    ) -> Option<Arc<L>> {
        self.committed.listener(make)
    }

    /// When what lies in front of a position was committed, in microseconds since 1970, if that is
    /// known without the disk: at the end of the log, and a little before.
    pub(crate) fn committed_us(&self, before: Position) -> Option<i64> {
        let end = self.committed_end();
        let last = Position(before.0.checked_sub(1)?);
        match before >= end {
            true => Some(self.committed.time_us()).filter(|time_us| *time_us != i64::MIN),
            false => self.log.committed_us(last),
        }
    }
}

/// An event as it is stored, to be looked at without being decoded.
pub(crate) struct Record<'a> {
    /// Where it is.
    pub(crate) position: Position,
    layout: Layout,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The name of its stream.
    pub(crate) fn stream(&self) -> &'a [u8] {
        self.layout.stream(self.bytes)
    }

    /// Whether it is the first of its stream.
    pub(crate) fn is_first(&self) -> bool {
        self.layout.revision() == Revision::START
    }

    /// Its correlation id.
    pub(crate) fn correlation_id(&self) -> Option<String> {
        correlation_id(self.layout.metadata(self.bytes))
    }

    /// Its type.
    pub(crate) fn event_type(&self) -> &'a [u8] {
        self.layout.event_type(self.bytes)
    }

    /// Its tags.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &'a [u8]> {
        self.layout.tags(self.bytes)
    }

    /// Whether a filter chooses it, or cannot tell: then whoever reads it finds the error.
    pub(crate) fn is_chosen_by(&self, filter: &EventFilter) -> bool {
        chooses(filter, &self.layout, self.bytes).unwrap_or(true)
    }
}
