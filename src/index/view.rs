//! The reading side of the index: what was true at one committed position.

use std::sync::Arc;

use uuid::Uuid;

use crate::format::codec::to_u64;
use crate::format::table::Kind;
use crate::index::ids::SeenRequest;
use crate::index::key::Key;
use crate::index::layers::{Cell, Layers};
use crate::index::list::{Bound, Item};
use crate::index::postings::Postings;
use crate::index::{IndexError, Shared, StreamEntry};
use crate::model::{Direction, Position, Revision, StreamMetadata, StreamName};

/// Where a walk over a list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// At the event with this number in the list, which is the first to come.
    Ordinal(u64),
    /// Forwards at this position, which may be the first to come; backwards before it.
    Position(Position),
}

/// The index as of a committed position. Cheap to clone; keeps what it shows alive.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(super) shared: Arc<Shared>,
    pub(super) layers: Arc<Layers>,
    pub(super) committed: u64,
}

/// What one layer holds of a key.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) place: Place,
    /// Added to the layer's ordinals; not for streams.
    pub(super) base: u64,
    /// The first and the last item, before `base` is added.
    pub(super) ends: Option<(Item, Item)>,
    /// How many ordinals the layer uses up.
    pub(super) span: u64,
    pub(super) count: u64,
    pub(super) tombstone: Option<u64>,
    pub(super) metadata: Option<(u64, StreamMetadata)>,
}

/// Where the items of a piece are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Memory(Arc<Cell>),
}

impl View {
    /// The position before which everything is seen, and nothing else. It may be behind the one the
    /// view was asked for, because committed events have gone to a table meanwhile.
    pub(crate) fn committed(&self) -> Position {
        Position(self.committed)
    }

    /// How many layers there are; the newest is number 0.
    pub(super) fn layers_len(&self) -> usize {
        self.layers.cells().count()
    }

    /// The position behind everything that a layer holds.
    pub(super) fn layer_end(&self, layer: usize) -> u64 {
        let cell = self.layers.cells().nth(layer);
        cell.map_or(0, |cell| cell.part.read().end())
    }

    /// What a layer holds of a key.
    pub(super) fn piece(
        &self,
        layer: usize,
        kind: Kind,
        text: &str,
    ) -> Result<Option<Piece>, IndexError> {
        let Some(cell) = self.layers.cells().nth(layer) else {
            return Ok(None);
        };
        let part = cell.part.read();
        let Some(found) = part.find(kind, text, self.committed) else {
            return Ok(None);
        };
        let ends = found.first().zip(found.last());
        let count = to_u64(found.len());
        Ok(Some(Piece {
            place: Place::Memory(Arc::clone(cell)),
            base: 0,
            ends,
            span: ends.map_or(0, |((first, _), (last, _))| last + 1 - first),
            count,
            tombstone: found.tombstone(),
            metadata: found.metadata(),
        }))
    }

    /// Everything that is known of a stream; the default if it was never named.
    ///
    /// # Errors
    /// The disk's, and [`IndexError::Rebuilding`] while the answer may lie in a missing table.
    pub(crate) fn stream(&self, stream: &str) -> Result<StreamEntry, IndexError> {
        let mut entry = StreamEntry::default();
        for layer in 0..self.layers_len() {
            let Some(piece) = self.piece(layer, Kind::Stream, stream)? else {
                continue;
            };
            entry.tombstoned = entry.tombstoned.or(piece.tombstone.map(Position));
            if let Some((_, (ordinal, position))) = piece.ends {
                entry.last = Some((Revision(ordinal), Position(position)));
                break;
            }
        }
        if !stream.starts_with("$$") || stream.starts_with("$$$") {
            entry.metadata = self.metadata(stream)?;
        }
        Ok(entry)
    }

    fn metadata(&self, stream: &str) -> Result<Option<(Position, StreamMetadata)>, IndexError> {
        for layer in 0..self.layers_len() {
            if let Some(piece) = self.piece(layer, Kind::Metadata, stream)?
                && let Some((position, metadata)) = piece.metadata
            {
                return Ok(Some((Position(position), metadata)));
            }
        }
        Ok(None)
    }

    /// The events of a key from some place on.
    ///
    /// # Errors
    /// The disk's, and [`IndexError::Rebuilding`] while the answer may lie in a missing table.
    pub(crate) fn seek(
        &self,
        key: Key<'_>,
        from: From,
        direction: Direction,
    ) -> Result<Postings, IndexError> {
        let bound = match (from, direction) {
            (From::Ordinal(from), Direction::Forwards) => Bound::OrdinalFrom(from),
            (From::Ordinal(to), Direction::Backwards) => Bound::OrdinalTo(to),
            (From::Position(from), Direction::Forwards) => Bound::From(from.0),
            (From::Position(before), Direction::Backwards) => Bound::Before(before.0),
        };
        Postings::open(self.clone(), key, bound, true)
    }

    /// The same by position alone: the ordinals that come back mean nothing, and so tables that lie
    /// on the other side of the position are not asked.
    ///
    /// # Errors
    /// As [`Self::seek`].
    pub(crate) fn seek_positions(
        &self,
        key: Key<'_>,
        from: Position,
        direction: Direction,
    ) -> Result<Postings, IndexError> {
        let bound = match direction {
            Direction::Forwards => Bound::From(from.0),
            Direction::Backwards => Bound::Before(from.0),
        };
        Postings::open(self.clone(), key, bound, false)
    }

    /// The texts of a kind that begin with a prefix and lie behind `after`, in the order of their
    /// bytes, at most `max`, each with the number of its events. Tombstoned streams are among them.
    ///
    /// # Errors
    /// The disk's, and [`IndexError::Rebuilding`] while any table is missing.
    pub(crate) fn list(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, u64)>, IndexError> {
        let mut merged: Vec<(String, u64)> = Vec::new();
        for cell in self.layers.cells() {
            let part = cell.part.read();
            merged.extend(part.texts(kind, prefix, after, max, self.committed));
        }
        merged.sort_unstable();
        merged.dedup_by(|from, into| {
            let same = from.0 == into.0;
            into.1 += if same { from.1 } else { 0 };
            same
        });
        merged.truncate(max);
        Ok(merged)
    }

    /// The streams whose names begin with a prefix and lie behind `after`, at most `max`.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub(crate) fn list_streams(
        &self,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<(String, StreamEntry)>, IndexError> {
        let names = self.list(Kind::Stream, prefix, after, max)?;
        let with_entry = |(name, _): (String, u64)| {
            let entry = self.stream(&name)?;
            Ok((name, entry))
        };
        names.into_iter().map(with_entry).collect()
    }

    /// Committed positions, within the window, that may hold an event of this stream with one of
    /// these ids: the index of the id, and the position. Reading the event makes it sure.
    ///
    /// # Errors
    /// The disk's, while the window is read back after a start.
    pub(crate) fn find_ids(
        &self,
        stream: &StreamName,
        ids: &[Uuid],
    ) -> Result<Vec<(usize, Position)>, IndexError> {
        self.shared.load_window()?;
        let mut found = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let positions = self.shared.positions_of_id(stream, *id, 0);
            let seen = positions.into_iter().filter(|at| *at < self.committed);
            found.extend(seen.map(|position| (index, Position(position))));
        }
        Ok(found)
    }

    /// What is remembered of a committed request.
    ///
    /// # Errors
    /// The disk's, while the window is read back after a start.
    pub(crate) fn find_request(
        &self,
        principal: &str,
        id: Uuid,
    ) -> Result<Option<SeenRequest>, IndexError> {
        self.shared.load_window()?;
        let seen = self.shared.ids.lock().request(principal, id);
        Ok(seen.filter(|seen| seen.first + u64::from(seen.count) <= self.committed))
    }
}

impl Piece {
    /// The next wanted items, ascending, a bounded number of them; none when there are no more.
    pub(super) fn items(
        &self,
        kind: Kind,
        text: &str,
        bound: Bound,
        end: u64,
    ) -> Result<Vec<Item>, IndexError> {
        let Some(bound) = bound.relative_to(self.base) else {
            return Ok(Vec::new());
        };
        let mut items = match &self.place {
            Place::Memory(cell) => {
                let part = cell.part.read();
                let found = part.find(kind, text, end);
                found.map_or_else(Vec::new, |found| found.items(bound))
            }
        };
        for (ordinal, _) in &mut items {
            *ordinal += self.base;
        }
        Ok(items)
    }
}
