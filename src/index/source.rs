//! What the index needs of the log: the truth that it is made from.

use std::fmt::Debug;

use crate::format::manifest::TableEntry;
use crate::format::state::KnownRequest;
use crate::format::table::Kind;
use crate::index::ids::SeenRequest;
use crate::log::StorageError;
use crate::model::{Position, RecordedEvent};

/// The position of an event that was removed, and the counted keys it had.
pub(crate) type RemovedEvent = (Position, Vec<(Kind, Box<str>)>);

/// A log to index.
pub(crate) trait Source: Debug + Send + Sync + 'static {
    /// A secret of the store, 16 bytes, for keyed hashes.
    fn secret(&self) -> [u8; 16];

    /// The position behind the last durable event.
    fn end(&self) -> Position;

    /// Some of the events of a range from its start on, at least one if there is any, each with the
    /// length of its record in bytes.
    fn events(
        &self,
        from: Position,
        to: Position,
    ) -> Result<Vec<(RecordedEvent, u32)>, StorageError>;

    /// The events of a range that a scavenge removed, in order, with the counted keys they had.
    fn removed(&self, from: Position, to: Position) -> Result<Vec<RemovedEvent>, StorageError>;

    /// The fingerprints of the named requests answered by appends that begin in a range, in order.
    fn requests(
        &self,
        from: Position,
        to: Position,
    ) -> Result<Vec<([u8; 16], SeenRequest)>, StorageError>;

    /// The same of all that begin at a position or behind it, where the tables end, for the start:
    /// there is a shorter way to them.
    fn requests_behind(
        &self,
        from: Position,
    ) -> Result<Vec<([u8; 16], SeenRequest)>, StorageError> {
        self.requests(from, Position(u64::MAX))
    }

    /// Ranges of events that are known to be damaged, in order, in a log that is only read.
    fn damaged(&self) -> Vec<(Position, Position, StorageError)> {
        Vec::new()
    }

    /// The tables that the manifest names.
    fn tables(&self) -> TableSet;

    /// Makes these the tables that the manifest names, durably, the directory first. `checkpoint`:
    /// the tables cover what is in memory, so opening need not look at it again. It gives the named
    /// requests that the tables do not have and that begin in front of a position.
    fn put_tables(
        &self,
        tables: TableSet,
        checkpoint: Option<&dyn Fn(Position) -> Vec<KnownRequest>>,
    ) -> Result<(), StorageError>;
}

/// What the manifest says of all tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableSet {
    /// The tables, by position, without gaps between them.
    pub(crate) tables: Vec<TableEntry>,
    /// A number higher than that of any table there ever was.
    pub(crate) next_id: u32,
}

impl TableSet {
    /// The position behind all of them.
    pub(super) fn end(&self) -> Position {
        self.tables
            .last()
            .map_or(Position::START, |table| table.end)
    }
}
