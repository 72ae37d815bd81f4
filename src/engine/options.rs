//! Every limit and budget of a store: its unit, its range and its default, in one table.

use super::OpenError;
use crate::format::record::PAYLOAD_LEN_BYTES_MAX;

/// How a store is opened. `StoreOptions::default()` suits a server on a small machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Make a store where there is none. Default: yes.
    pub create: bool,
    /// Only read: not a byte in the directory is changed, and whatever would write is refused. What
    /// the store has to make again it keeps in memory: an index table that is missing or damaged
    /// takes about as much there as it would on the disk. Default: no.
    pub read_only: bool,
    /// Where a segment of the log ends, in bytes; 64 KiB to 1 GiB. Default: 256 MiB.
    pub segment_size_bytes: u32,
    /// What commit units are aligned to, in bytes; fixed when the store is made. 8, or the physical
    /// block (512 or 4,096) on disks that may damage a whole block when a write of it is cut short.
    /// Default: 8.
    pub unit_align_bytes: u32,
    /// Fill the next segment with zeros ahead of the writer, which makes syncs faster; useless on
    /// copy-on-write file systems. Default: yes.
    pub zero_fill: bool,
    /// Blocks of the log kept in memory for readers, in bytes. Default: 24 MiB.
    pub read_cache_bytes: usize,
    /// What clients of a server that catch up read together while many appends share each commit,
    /// in bytes a second: so that appends come first. Default: 256 MiB.
    pub bulk_read_bytes_per_s: u64,
    /// The newest units kept in memory for live readers, in bytes. Default: 4 MiB.
    pub recent_bytes: usize,
    /// Segments kept open for readers. Default: 256.
    pub open_files_max: usize,
    /// The part of the index that is not on disk yet, in bytes; two such parts exist at most.
    /// Default: 16 MiB.
    pub index_memory_bytes: usize,
    /// Blocks of the index kept in memory, in bytes. Default: 24 MiB.
    pub index_cache_bytes: usize,
    /// Events that go into one table of the index before it is written; 1 to 131,072, the default.
    pub index_flush_events: u32,
    /// How many of the last events are recognised when they are appended again without an exact
    /// expectation. Default: 1,048,576. (With one, however old they are.)
    pub idempotence_events: u32,
    /// How many of the last named requests are recognised when they are sent again.
    /// Default: 131,072.
    pub idempotence_requests: usize,
    /// All state records in memory, in bytes; one that would not fit is refused.
    /// Default: 32 MiB.
    pub state_memory_bytes: u64,
    /// The largest event: data, metadata and tags, in bytes; at most 16 MiB - 64 KiB, the default.
    pub event_len_bytes_max: usize,
    /// The largest append: its records, in bytes; at most 16 MiB, the default.
    pub append_len_bytes_max: usize,
    /// The most events of an append; at most 65,536, the default.
    pub append_events_max: usize,
    /// A commit takes no further append beyond this size, in bytes. Default: 4 MiB.
    pub unit_len_bytes: usize,
    /// Appends that wait while a commit is running: their bytes. Default: 64 MiB.
    pub waiting_len_bytes_max: usize,
    /// Appends that wait while a commit is running: their number. Default: 16,384.
    pub waiting_requests_max: usize,
    /// Who does the background work. Default: threads of the store.
    pub background: Background,
}

/// Who flushes and merges the index, seals segments, fills spares, and commits what was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Threads of the store's own.
    Threads,
    /// Nobody, until [`Store::maintain`](super::Store::maintain) is called: for deterministic
    /// tests.
    Manual,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The most bytes of records in one append.
pub(super) const APPEND_LEN_BYTES_MAX: usize = 16 * MIB;
/// The most events in one append.
pub(super) const APPEND_EVENTS_MAX: usize = 65_536;
/// What a table of the index covers at most, in events.
const INDEX_FLUSH_EVENTS_MAX: u32 = 131_072;

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            segment_size_bytes: 256 * 1024 * 1024,
            unit_align_bytes: 8,
            zero_fill: true,
            read_cache_bytes: 24 * MIB,
            bulk_read_bytes_per_s: 128 * 1024 * 1024,
            recent_bytes: 4 * MIB,
            open_files_max: 256,
            index_memory_bytes: 16 * MIB,
            index_cache_bytes: 24 * MIB,
            index_flush_events: INDEX_FLUSH_EVENTS_MAX,
            idempotence_events: 1_048_576,
            idempotence_requests: 131_072,
            state_memory_bytes: 32 * 1024 * 1024,
            event_len_bytes_max: PAYLOAD_LEN_BYTES_MAX,
            append_len_bytes_max: APPEND_LEN_BYTES_MAX,
            append_events_max: APPEND_EVENTS_MAX,
            unit_len_bytes: 4 * MIB,
            waiting_len_bytes_max: 64 * MIB,
            waiting_requests_max: 16_384,
            background: Background::Threads,
        }
    }
}

impl StoreOptions {
    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let rules = [
            (
                "segment_size_bytes",
                (64 * 1024..=1024 * 1024 * 1024).contains(&self.segment_size_bytes),
                "64 KiB to 1 GiB",
            ),
            (
                "unit_align_bytes",
                matches!(self.unit_align_bytes, 8 | 512 | 4096),
                "8, 512 or 4096",
            ),
            ("open_files_max", self.open_files_max >= 4, "at least 4"),
            (
                "index_flush_events",
                (1..=INDEX_FLUSH_EVENTS_MAX).contains(&self.index_flush_events),
                "1 to 131072",
            ),
            (
                "index_memory_bytes",
                self.index_memory_bytes >= 64 * KIB,
                "at least 64 KiB",
            ),
            (
                "event_len_bytes_max",
                (1..=PAYLOAD_LEN_BYTES_MAX).contains(&self.event_len_bytes_max),
                "at most 16 MiB - 64 KiB",
            ),
            (
                "append_len_bytes_max",
                (1..=APPEND_LEN_BYTES_MAX).contains(&self.append_len_bytes_max),
                "at most 16 MiB",
            ),
            (
                "append_events_max",
                (1..=APPEND_EVENTS_MAX).contains(&self.append_events_max),
                "1 to 65536",
            ),
            (
                "unit_len_bytes",
                (1..=APPEND_LEN_BYTES_MAX).contains(&self.unit_len_bytes),
                "at most 16 MiB",
            ),
            (
                "waiting_requests_max",
                self.waiting_requests_max >= 1,
                "at least 1",
            ),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((name, _, problem)) => Err(OpenError::InvalidOption { name, problem }),
        }
    }
}
