//! What a store has done since it was opened, and how large it is: counters that cost next to
//! nothing, and a snapshot of them.
//!
//! Appends are counted once for each commit, reads once for each batch; nothing is counted for
//! each event.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::disk::resident_bytes;
use crate::engine::Store;

/// Bounds of the buckets of a time, in microseconds.
const BOUNDS_US: [u64; 14] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000,
];
/// Bounds of the buckets of a number of appends.
const BOUNDS_APPENDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// How often values fell between fixed bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The highest value of each bucket but the last one, which takes all that is higher.
    pub bounds: &'static [u64],
    /// How many values fell into each bucket: one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What a store has done since it was opened, and how large it is. Taken while others go on, so
/// that two numbers may be of slightly different moments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Appends that were acknowledged, repeated ones not among them.
    pub appends: u64,
    /// Appends that were answered with an error.
    pub appends_refused: u64,
    /// Events that were committed.
    pub events: u64,
    /// Bytes of commit units that were written to the log.
    pub written_bytes: u64,
    /// How long a unit took to be written and synced, in microseconds. There is one sync for each.
    pub sync_us: Histogram,
    /// How many appends shared a unit.
    pub appends_per_sync: Histogram,
    /// Events that readers and subscriptions were given.
    pub read_events: u64,
    /// Bytes of the records of these events.
    pub read_bytes: u64,
    /// Blocks of the log, and records in them, that were found in memory.
    pub block_cache_hits: u64,
    /// Those that were not.
    pub block_cache_misses: u64,
    /// Pages of index tables that were found in memory.
    pub page_cache_hits: u64,
    /// Those that were not.
    pub page_cache_misses: u64,
    /// Memory that the index of the newest events and the window of ids take, in bytes, about.
    pub index_memory_bytes: u64,
    /// Memory that pages of index tables take, in bytes, about.
    pub page_cache_bytes: u64,
    /// Tables of the index.
    pub tables: u64,
    /// Segments of the log, a spare among them.
    pub segments: u64,
    /// The length of all files in the data directory, in bytes; none if the disk did not tell.
    pub disk_bytes: Option<u64>,
    /// Memory that the process takes, whatever for, in bytes; none if the system did not tell.
    pub resident_bytes: Option<u64>,
}

/// How often values fell between bounds, while they are counted.
#[derive(Debug)]
struct Buckets<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    higher: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Buckets<N> {
    const fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; N],
            higher: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    fn count(&self, value: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        let bucket = self.counts.get(index).unwrap_or(&self.higher);
        add(bucket, 1);
        add(&self.sum, value);
    }

    fn snapshot(&self) -> Histogram {
        let counts = self.counts.iter().chain([&self.higher]);
        Histogram {
            bounds: self.bounds,
            counts: counts.map(get).collect(),
            sum: get(&self.sum),
        }
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The counters of a store.
#[derive(Debug)]
pub(crate) struct Counters {
    appends: AtomicU64,
    appends_refused: AtomicU64,
    events: AtomicU64,
    written_bytes: AtomicU64,
    sync_us: Buckets<14>,
    appends_per_sync: Buckets<11>,
    read_events: AtomicU64,
    read_bytes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            appends: AtomicU64::new(0),
            appends_refused: AtomicU64::new(0),
            events: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            sync_us: Buckets::new(&BOUNDS_US),
            appends_per_sync: Buckets::new(&BOUNDS_APPENDS),
            read_events: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// A unit became durable.
    pub(super) fn committed(&self, events: u64, len_bytes: usize, took: Duration) {
        add(&self.events, events);
        add(&self.written_bytes, wide(len_bytes));
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sync_us.count(took_us);
    }

    /// These appends share a unit that became durable.
    pub(super) fn acknowledged(&self, appends: usize) {
        if appends > 0 {
            add(&self.appends, wide(appends));
            self.appends_per_sync.count(wide(appends));
        }
    }

    /// An append was answered with an error.
    pub(super) fn refused(&self) {
        add(&self.appends_refused, 1);
    }

    /// Somebody was given events.
    pub(super) fn read(&self, events: u64, len_bytes: usize) {
        add(&self.read_events, events);
        add(&self.read_bytes, wide(len_bytes));
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Store {
    /// What the store has done since it was opened, and how large it is.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let shared = &self.0.shared;
        let counters = &shared.reading.counters;
        let (block_cache_hits, block_cache_misses) = shared.log.cache_use();
        let pages = shared.index.cache_use();
        let manifest = shared.log.manifest().current();
        let files = shared.disk.list().ok();
        StoreStats {
            appends: get(&counters.appends),
            appends_refused: get(&counters.appends_refused),
            events: get(&counters.events),
            written_bytes: get(&counters.written_bytes),
            sync_us: counters.sync_us.snapshot(),
            appends_per_sync: counters.appends_per_sync.snapshot(),
            read_events: get(&counters.read_events),
            read_bytes: get(&counters.read_bytes),
            block_cache_hits,
            block_cache_misses,
            page_cache_hits: pages.hits,
            page_cache_misses: pages.misses,
            index_memory_bytes: wide(shared.index.memory_bytes()),
            page_cache_bytes: wide(pages.bytes),
            tables: wide(manifest.tables.len()),
            segments: wide(manifest.sealed.len() + manifest.unsealed.len()),
            resident_bytes: resident_bytes(),
            disk_bytes: files.map(|files| files.iter().map(|(_, len)| len).sum()),
        }
    }
}
