//! The index: from a key (stream, category, type, tag) to the ascending positions of its events.
//!
//! What always holds:
//!
//! * the log is the only truth: everything here can be deleted and comes back the same, ordinals
//!   included;
//! * staging an append never touches the disk; readers never see what is not committed;
//! * an answer is right, or it is an error: a missing or damaged part is never guessed around;
//! * nothing runs by itself: flushing and the other upkeep are steps that somebody calls, and no
//!   step takes memory that grows with the log.

mod ids;
mod keeper;
mod key;
mod layers;
mod list;
mod log;
mod memory;
mod merge;
mod postings;
mod source;
mod stage;
mod table;
mod touched;
mod view;

pub(crate) use keeper::Step;
pub(crate) use key::{Key, Posting};
pub(crate) use postings::Postings;
pub(crate) use source::{Source, TableSet};
pub(crate) use stage::{StageGuard, Staged};
pub(crate) use touched::streams_between;
pub(crate) use view::{From, View};

use std::sync::Arc;

use smallvec::SmallVec;
use thiserror::Error;
use uuid::Uuid;

use crate::disk::Disk;
use crate::format::filter::KeyHasher;
use crate::format::manifest::TableEntry;
use crate::format::table::Kind;
use crate::index::ids::IdWindow;
use crate::index::keeper::Keeper;
use crate::index::layers::{Cell, Layers, Slot};
use crate::index::memory::Part;
use crate::index::table::{CacheUse, PageCache, Table};
use crate::log::StorageError;
use crate::model::{Position, Revision, StreamMetadata, correlation_id};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};

/// Why the index gives no answer.
#[derive(Clone, Debug, Error)]
pub(crate) enum IndexError {
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The answer may lie in a table that is being rebuilt.
    #[error("an index is being rebuilt ({done} of {of} events)")]
    Rebuilding {
        /// Events done.
        done: u64,
        /// Events to do.
        of: u64,
    },
}

/// How large the parts of the index may get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexOptions {
    /// A memory part is flushed when it takes so many bytes.
    pub(crate) memory_bytes: usize,
    /// A memory part is flushed when it has so many events.
    pub(crate) flush_events: u64,
    /// A memory part is flushed when its events take so many bytes of log.
    pub(crate) flush_log_bytes: u64,
    /// Blocks of tables that are kept in memory, in bytes.
    pub(crate) cache_bytes: usize,
    /// The log is only read, and may be damaged: what cannot be made again is given up.
    pub(crate) read_only: bool,
    /// How many of the last events are known by their ids.
    pub(crate) window_events: u64,
    /// How many of the last named requests are known.
    pub(crate) window_requests: usize,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 16 << 20,
            flush_events: 131_072,
            flush_log_bytes: 24 << 20,
            cache_bytes: 32 << 20,
            read_only: false,
            window_events: 1_048_576,
            window_requests: 131_072,
        }
    }
}

/// Everything that is known of a stream, as of some position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamEntry {
    /// The last event, tombstones aside.
    pub(crate) last: Option<(Revision, Position)>,
    /// Where it was closed for ever.
    pub(crate) tombstoned: Option<Position>,
    /// What its last metadata event says, and where that is.
    pub(crate) metadata: Option<(Position, StreamMetadata)>,
}

impl StreamEntry {
    /// How many events were ever written to the stream, tombstones aside.
    pub(crate) fn events(&self) -> u64 {
        self.last.map_or(0, |(revision, _)| revision.0 + 1)
    }

    /// This entry, with what became of the stream since.
    pub(crate) fn updated(self, newer: &Self) -> Self {
        Self {
            last: newer.last.or(self.last),
            tombstoned: newer.tombstoned.or(self.tombstoned),
            metadata: newer.metadata.clone().or(self.metadata),
        }
    }
}

/// The index of a log. Clones are handles to the same index.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: IndexOptions,
    source: Arc<dyn Source>,
    disk: Arc<dyn Disk>,
    hasher: KeyHasher,
    cache: Arc<PageCache>,
    layers: RwLock<Arc<Layers>>,
    ids: Mutex<IdWindow>,
    keeper: Mutex<Keeper>,
    /// How many events of lost tables were indexed again.
    rebuilt: AtomicU64,
    /// Behind the last event that may change who may do what.
    rules_end: AtomicU64,
    window_loaded: AtomicBool,
    window_load: Mutex<()>,
}

impl Index {
    /// Opens the index of a log, and indexes what the tables do not cover.
    ///
    /// # Errors
    /// The disk's. A missing or damaged table is no error.
    pub(crate) fn open(
        log: &(impl Source + Clone),
        disk: Arc<dyn Disk>,
        options: IndexOptions,
    ) -> Result<Self, StorageError> {
        let hasher = KeyHasher::new(log.secret());
        let cache = Arc::new(PageCache::new(options.cache_bytes));
        let set = log.tables();
        let mut slots = open_tables(&set, log.end(), disk.as_ref(), &cache);
        let next_id = give_up_damaged(&mut slots, log.damaged(), set.next_id);
        let first = slots.first().map_or(0, |slot| slot.facts.end.0);
        let layers = Layers {
            filling: Cell::new(Part::new(first, hasher)),
            flushing: None,
            slots,
        };
        let ids = IdWindow::new(options.window_events, options.window_requests, first);
        let index = Self {
            shared: Arc::new(Shared {
                options,
                source: Arc::new(log.clone()),
                hasher,
                cache,
                window_loaded: AtomicBool::new(layers.slots.is_empty()),
                layers: RwLock::new(Arc::new(layers)),
                ids: Mutex::new(ids),
                keeper: Mutex::new(Keeper::new(next_id)),
                rebuilt: AtomicU64::new(0),
                rules_end: AtomicU64::new(log.end().0),
                window_load: Mutex::new(()),
                disk,
            }),
        };
        index.replay(Position(first), log.end())?;
        Ok(index)
    }

    fn replay(&self, from: Position, end: Position) -> Result<(), StorageError> {
        let source = &self.shared.source;
        // Nobody asks for them where nothing is appended.
        let requests = match self.shared.options.read_only {
            true => Vec::new(),
            false => source.requests_behind(from)?,
        };
        for (fingerprint, seen) in requests {
            self.shared.ids.lock().push_request(fingerprint, seen);
        }
        self.requests_durable(self.requests_staged());
        let mut at = from;
        while at < end {
            let events = source.events(at, end)?;
            let mut stage = self.stage();
            for (event, len) in &events {
                let metadata = Posting::metadata_of(event);
                let correlation_id = correlation_id(&event.metadata);
                let said = (metadata.as_ref(), correlation_id.as_deref());
                stage.insert(&Posting::of(event, said, *len));
                at = event.position.next();
            }
            drop(stage);
            if events.is_empty() {
                break;
            }
            while self.is_full() && self.flush(end, false)? == Step::Worked {}
        }
        Ok(())
    }

    /// The position behind the last event, committed or only staged, that may change who may do
    /// what: a stream's metadata, or the store's settings.
    pub(crate) fn rules_end(&self) -> Position {
        Position(self.shared.rules_end.load(Ordering::Acquire))
    }

    /// Begins to stage an append. One at a time: a second caller waits until the guard of the first
    /// is dropped, and so do readers of the newest events.
    pub(crate) fn stage(&self) -> StageGuard<'_> {
        StageGuard::new(&self.shared)
    }

    /// How many named requests have been staged since the start.
    pub(crate) fn requests_staged(&self) -> u64 {
        self.shared.ids.lock().requests_staged()
    }

    /// So many of the named requests that were staged are durable.
    pub(crate) fn requests_durable(&self, count: u64) {
        self.shared.ids.lock().set_requests_durable(count);
    }

    /// Whether the next append has to wait, because one memory part is full and the other one is
    /// still being flushed.
    pub(crate) fn is_full(&self) -> bool {
        let layers = self.shared.layers();
        layers.filling.is_full() && layers.flushing.is_some()
    }

    /// Whether there is something to flush.
    pub(crate) fn wants_flush(&self) -> bool {
        let layers = self.shared.layers();
        layers.filling.is_full() || layers.flushing.is_some()
    }

    /// How many bytes of memory the parts and the window of ids take, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        let layers = self.shared.layers();
        let parts = layers
            .cells()
            .map(|cell| cell.bytes.load(Ordering::Relaxed));
        parts.sum::<usize>() + self.shared.ids.lock().memory_bytes()
    }

    /// What the pages of tables that are kept in memory were good for.
    pub(crate) fn cache_use(&self) -> CacheUse {
        self.shared.cache.usage()
    }

    /// The index as of a committed position. It may show more, if more was committed meanwhile:
    /// go by [`View::committed`].
    pub(crate) fn view(&self, committed: Position) -> View {
        let layers = self.shared.layers();
        View {
            shared: Arc::clone(&self.shared),
            committed: committed.0.max(layers.tables_end()),
            layers,
        }
    }
}

/// Opens the tables that the manifest names, newest first. Those that do not follow each other from
/// the first position on, or cover more than there is, are left out.
fn open_tables(
    set: &TableSet,
    log_end: Position,
    disk: &dyn Disk,
    cache: &Arc<PageCache>,
) -> Vec<Arc<Slot>> {
    let mut end = Position::START;
    let mut slots = Vec::new();
    for facts in &set.tables {
        if facts.first != end || facts.end <= facts.first || facts.end > log_end {
            break;
        }
        end = facts.end;
        let table = Table::open(disk, facts, cache).ok();
        slots.insert(0, Slot::new(facts.clone(), table));
    }
    slots
}

/// Behind the tables, in a log that is only read: ranges of damaged events never get a table, those
/// between them are lost ones to be made again. Gives the number of the next table.
fn give_up_damaged(
    slots: &mut Vec<Arc<Slot>>,
    damaged: Vec<(Position, Position, StorageError)>,
    mut next_id: u32,
) -> u32 {
    let mut end = slots.first().map_or(Position::START, |slot| slot.facts.end);
    let mut slot = |first, end| {
        next_id += 1;
        let facts = TableEntry {
            id: next_id - 1,
            level: 0,
            first,
            end,
            len_bytes: 0,
            digest: [0; 32],
        };
        Slot::new(facts, None)
    };
    for (first, stop, damage) in damaged {
        if stop <= end {
            continue;
        }
        if first > end {
            slots.insert(0, slot(end, first));
        }
        let given_up = slot(first.max(end), stop);
        given_up.give_up(damage);
        slots.insert(0, given_up);
        end = stop;
    }
    next_id
}

impl Shared {
    fn layers(&self) -> Arc<Layers> {
        Arc::clone(&self.layers.read())
    }

    fn stream_hash(&self, stream: &str) -> u64 {
        self.hasher.hash(Kind::Stream.byte(), stream.as_bytes())
    }

    fn positions_of_id(&self, stream: &str, id: Uuid, since: u64) -> SmallVec<[u64; 2]> {
        let stream_hash = self.stream_hash(stream);
        let fingerprint = self.hasher.fingerprint(stream_hash, id.as_bytes());
        self.ids.lock().find(fingerprint, since)
    }

    /// Makes the filling part the one to be flushed, unless there is one already.
    fn freeze(&self) {
        let filling = Arc::clone(&self.layers().filling);
        // Nobody stages while this is held.
        let part = filling.part.write();
        let mut layers = self.layers.write();
        if layers.flushing.is_some() || !Arc::ptr_eq(&layers.filling, &filling) {
            return;
        }
        *layers = Arc::new(Layers {
            filling: Cell::new(part.next()),
            flushing: Some(Arc::clone(&filling)),
            slots: layers.slots.clone(),
        });
    }
}

#[cfg(test)]
mod tests;
