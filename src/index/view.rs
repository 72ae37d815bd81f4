//! The reading side of the index: what was true at one committed position.

use std::sync::Arc;

use uuid::Uuid;

use crate::format::table::Kind;
use crate::format::table::entry::List;
use crate::index::ids::SeenRequest;
use crate::index::key::Key;
use crate::index::layers::{Cell, Layer, Layers, Slot};
use crate::index::list::{Bound, Item};
use crate::index::postings::Postings;
use crate::index::table::Table;
use crate::index::{IndexError, Shared, StreamEntry};
use crate::log::StorageError;
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
    /// The first ordinal and the last item, before `base` is added.
    pub(super) ends: Option<(u64, Item)>,
    /// How many ordinals the layer uses up.
    pub(super) span: u64,
    pub(super) tombstone: Option<u64>,
    pub(super) metadata: Option<(u64, StreamMetadata)>,
}

/// Where the items of a piece are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Memory(Arc<Cell>),
    Table(Arc<Slot>, List),
}

impl View {
    /// The position before which everything is seen, and nothing else. It may be behind the one the
    /// view was asked for, because committed events have gone to a table meanwhile.
    pub(crate) fn committed(&self) -> Position {
        Position(self.committed)
    }

    /// The position behind everything that a layer holds.
    pub(super) fn layer_end(&self, layer: usize) -> u64 {
        match self.layers.layer(layer) {
            Some(Layer::Memory(cell)) => cell.part.read().end(),
            Some(Layer::Table(slot)) => slot.facts.end.0,
            None => 0,
        }
    }

    /// Asks a table. What goes wrong there is damage, and the table is lost.
    fn ask<T>(
        &self,
        slot: &Slot,
        question: impl FnOnce(&Table) -> Result<T, StorageError>,
    ) -> Result<T, IndexError> {
        if let Some(table) = slot.table() {
            match question(table) {
                Ok(answer) => return Ok(answer),
                Err(_) => slot.lose(),
            }
        }
        match slot.damage() {
            Some(damage) => Err(damage.clone().into()),
            None => Err(self.shared.rebuilding(&self.layers)),
        }
    }

    /// What a layer holds of a key with this hash.
    pub(super) fn piece(
        &self,
        layer: usize,
        kind: Kind,
        text: &str,
        hash: u64,
    ) -> Result<Option<Piece>, IndexError> {
        match self.layers.layer(layer) {
            None => Ok(None),
            Some(Layer::Memory(cell)) => Ok(self.piece_in_memory(cell, kind, text, hash)),
            // An older table can say nothing of keys that it does not have.
            Some(Layer::Table(slot)) if slot.lacks(kind) => {
                Err(self.shared.rebuilding(&self.layers))
            }
            Some(Layer::Table(slot)) => {
                let entry = self.ask(slot, |table| table.find(kind, text, hash))?;
                Ok(entry.map(|entry| Piece {
                    base: 0,
                    ends: entry.list.ends(),
                    span: entry.span,
                    tombstone: entry.tombstone,
                    metadata: (entry.list.ends().zip(entry.metadata))
                        .map(|((_, (_, position)), metadata)| (position, metadata)),
                    place: Place::Table(Arc::clone(slot), entry.list),
                }))
            }
        }
    }

    fn piece_in_memory(
        &self,
        cell: &Arc<Cell>,
        kind: Kind,
        text: &str,
        hash: u64,
    ) -> Option<Piece> {
        let part = cell.part.read();
        let found = part.find(kind, text, hash, self.committed)?;
        let ends = found.first().zip(found.last());
        Some(Piece {
            place: Place::Memory(Arc::clone(cell)),
            base: 0,
            ends: ends.map(|((first, _), last)| (first, last)),
            span: ends.map_or(0, |((first, _), (last, _))| last + 1 - first),
            tombstone: found.tombstone(),
            metadata: found.metadata(),
        })
    }

    fn hash(&self, kind: Kind, text: &str) -> u64 {
        self.shared.hasher.hash(kind.byte(), text.as_bytes())
    }

    /// Everything that is known of a stream; the default if it was never named.
    ///
    /// # Errors
    /// The disk's, and [`IndexError::Rebuilding`] while the answer may lie in a missing table.
    pub(crate) fn stream(&self, stream: &str) -> Result<StreamEntry, IndexError> {
        let mut entry = self.stream_end(stream)?;
        if !stream.starts_with("$$") || stream.starts_with("$$$") {
            entry.metadata = self.metadata(stream)?;
        }
        Ok(entry)
    }

    /// The same without its metadata, which has to be looked for everywhere: how a stream ends is
    /// told by the newest part of the index that knows it.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub(crate) fn stream_end(&self, stream: &str) -> Result<StreamEntry, IndexError> {
        let mut entry = StreamEntry::default();
        let hash = self.hash(Kind::Stream, stream);
        for layer in 0..self.layers.len() {
            let Some(piece) = self.piece(layer, Kind::Stream, stream, hash)? else {
                continue;
            };
            entry.tombstoned = entry.tombstoned.or(piece.tombstone.map(Position));
            if let Some((_, (ordinal, position))) = piece.ends {
                entry.last = Some((Revision(ordinal), Position(position)));
                break;
            }
        }
        Ok(entry)
    }

    fn metadata(&self, stream: &str) -> Result<Option<(Position, StreamMetadata)>, IndexError> {
        let hash = self.hash(Kind::Metadata, stream);
        for layer in 0..self.layers.len() {
            if let Some(piece) = self.piece(layer, Kind::Metadata, stream, hash)?
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
        for slot in &self.layers.slots {
            merged.extend(self.ask(slot, |table| texts(table, kind, prefix, after, max))?);
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
        let seen = self.shared.ids.lock().durable_request(principal, id);
        Ok(seen.filter(|seen| seen.first + u64::from(seen.count) <= self.committed))
    }
}

impl Piece {
    /// The next wanted items, ascending, a bounded number of them; none when there are no more.
    pub(super) fn items(
        &self,
        view: &View,
        (kind, text, hash): (Kind, &str, u64),
        bound: Bound,
    ) -> Result<Vec<Item>, IndexError> {
        let Some(bound) = bound.relative_to(self.base) else {
            return Ok(Vec::new());
        };
        let mut items = match &self.place {
            Place::Memory(cell) => {
                let part = cell.part.read();
                let found = part.find(kind, text, hash, view.committed);
                found.map_or_else(Vec::new, |found| found.items(bound))
            }
            Place::Table(slot, list) => view.ask(slot, |table| table.items(list, bound))?,
        };
        for (ordinal, _) in &mut items {
            *ordinal += self.base;
        }
        Ok(items)
    }
}

/// The texts of a table's keys of a kind that begin with a prefix and lie behind `after`, the first
/// `max` of them, each with the number of its events.
fn texts(
    table: &Table,
    kind: Kind,
    prefix: &str,
    after: Option<&str>,
    max: usize,
) -> Result<Vec<(String, u64)>, StorageError> {
    let start = after.map_or(prefix, |after| after.max(prefix));
    let with_kind = |text: &str| [&[kind.byte()], text.as_bytes()].concat();
    let (prefix, start) = (with_kind(prefix), with_kind(start));
    let mut found = Vec::new();
    let mut next = Some(start.clone());
    while let Some(at) = next {
        let page = table.keys(&at, true)?;
        next = page.next;
        for (key, entry) in page.keys {
            if key < start {
                continue;
            }
            if found.len() == max || !key.starts_with(&prefix) {
                return Ok(found);
            }
            let text = key.get(1..).unwrap_or_default();
            let text = String::from_utf8_lossy(text).into_owned();
            if after.is_none_or(|after| *text > *after) {
                found.push((text, entry.list.count()));
            }
        }
    }
    Ok(found)
}
