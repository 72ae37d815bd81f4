//! The layers of the index, newest first: the part being filled, the part being flushed, tables.

use std::sync::{Arc, OnceLock};

use crate::format::manifest::TableEntry;
use crate::format::table::{Kind, VERSION_KNOWN};
use crate::index::memory::Part;
use crate::index::table::Table;
use crate::log::StorageError;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A memory part and what is asked of it without taking its lock.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) part: Arc<RwLock<Part>>,
    pub(super) full: AtomicBool,
    pub(super) bytes: AtomicUsize,
}

impl Cell {
    pub(super) fn new(part: Part) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(part.memory_bytes()),
            part: Arc::new(RwLock::new(part)),
            full: AtomicBool::new(false),
        })
    }

    /// Whether it should be flushed.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }
}

/// A range of positions that has a table, or has lost it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) facts: TableEntry,
    table: Option<Table>,
    lost: AtomicBool,
    /// Why the table cannot be made again.
    damage: OnceLock<StorageError>,
}

impl Slot {
    pub(super) fn new(facts: TableEntry, table: Option<Table>) -> Arc<Self> {
        Arc::new(Self {
            facts,
            lost: AtomicBool::new(table.is_none()),
            table,
            damage: OnceLock::new(),
        })
    }

    /// Says that its events cannot be read, and so the table cannot be made again.
    pub(super) fn give_up(&self, damage: StorageError) {
        let _was_known = self.damage.set(damage);
        self.lose();
    }

    /// Why the table cannot be made again, if it cannot.
    pub(super) fn damage(&self) -> Option<&StorageError> {
        self.damage.get()
    }

    /// The table, unless it is missing or damage was found in it.
    pub(super) fn table(&self) -> Option<&Table> {
        self.table.as_ref().filter(|_| !self.is_lost())
    }

    /// Whether the table is of an older version, which has no keys of newer kinds.
    pub(super) fn is_outdated(&self) -> bool {
        let older = |table: &Table| table.footer().version < VERSION_KNOWN;
        self.table().is_some_and(older)
    }

    /// Whether the table is too old for keys of a kind.
    pub(super) fn lacks(&self, kind: Kind) -> bool {
        let lacks = |table: &Table| table.footer().version < kind.since_version();
        self.table().is_some_and(lacks)
    }

    /// Whether the range has to be rebuilt.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Says that the table does not hold what it should.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// How many positions it covers.
    pub(super) fn events(&self) -> u64 {
        self.facts.end.0.saturating_sub(self.facts.first.0)
    }
}

/// What is there at one moment. A change makes another one; whoever reads keeps his.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) filling: Arc<Cell>,
    pub(super) flushing: Option<Arc<Cell>>,
    /// Newest first; they cover all positions in front of the memory parts.
    pub(super) slots: Vec<Arc<Slot>>,
}

/// One of the layers.
pub(super) enum Layer<'a> {
    Memory(&'a Arc<Cell>),
    Table(&'a Arc<Slot>),
}

impl Layers {
    /// The memory parts, newest first.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Arc<Cell>> {
        std::iter::once(&self.filling).chain(&self.flushing)
    }

    /// How many layers there are.
    pub(super) fn len(&self) -> usize {
        1 + usize::from(self.flushing.is_some()) + self.slots.len()
    }

    /// A layer; the newest is number 0.
    pub(super) fn layer(&self, number: usize) -> Option<Layer<'_>> {
        let memory = 1 + usize::from(self.flushing.is_some());
        match number.checked_sub(memory) {
            None => self.cells().nth(number).map(Layer::Memory),
            Some(slot) => self.slots.get(slot).map(Layer::Table),
        }
    }

    /// The position behind all tables.
    pub(super) fn tables_end(&self) -> u64 {
        self.slots.first().map_or(0, |slot| slot.facts.end.0)
    }

    /// How many positions have lost their table, or have one that is to be made again.
    pub(super) fn lost_events(&self) -> u64 {
        let lost = |slot: &&Arc<Slot>| slot.is_lost() || slot.is_outdated();
        let lost = self.slots.iter().filter(lost);
        lost.map(|slot| slot.events()).sum()
    }
}
