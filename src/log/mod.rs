//! The segmented append-only log: the only truth of the store.
//!
//! What always holds: a unit is visible only after its sync returned; nothing is written after a
//! failed write or sync; nothing is read on the way of an append; bytes are given out only after
//! their checksums were found right; and recovery changes nothing where durable data is damaged.
//!
//! The layer has no threads. Whoever opens the log calls [`Log::keeper_step`], or its parts, now
//! and then.

mod block;
mod cache;
mod chunk;
mod error;
mod facts;
mod file;
mod manifest;
mod open;
mod reader;
mod recovery;
mod rewrite;
mod salvage;
mod seal;
mod sealed;
mod segment;
mod shared;
mod spare;
mod state;
mod state_file;
mod states;
mod unit_buffer;
mod units;
mod verify;
mod verify_small;
mod walk;
mod writer;

use std::sync::Arc;

pub(crate) use chunk::Chunk;
pub use chunk::Run;
pub(crate) use error::LogOpenError;
pub use error::StorageError;
pub(crate) use manifest::Manifest;
pub use recovery::{RecoveryReport, TornTail};
pub(crate) use rewrite::{JudgedUnit, RewriteJudge, RewriteOutcome, UnitFate};
pub use salvage::LostRange;
pub(crate) use salvage::{Examined, Mended, mend};
pub(crate) use seal::PreparedCheckpoint;
pub(crate) use shared::KeeperProgress;
pub(crate) use states::state_len_bytes;
pub(crate) use unit_buffer::UnitBuffer;
pub(crate) use units::Unit;
pub(crate) use verify::lost_events;
pub use verify::{FileFinding, FileRole, LogVerification, VerifyProgress};
pub(crate) use writer::LogWriter;

use bytes::Bytes;

use crate::disk::{Disk, Host};
use crate::format::rewrite::IndexKey;
use crate::format::state::KnownRequest;
use crate::format::store::Identity;
use crate::log::shared::Shared;
use crate::model::{Position, Timestamp};

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    /// No segment is meant to be longer, in bytes; from 64 KiB to 2 GiB.
    pub segment_size_bytes: u32,
    /// Where units begin, in bytes; used when a store is made.
    pub unit_align: u32,
    /// Blocks that are kept in memory, in bytes.
    pub read_cache_bytes: usize,
    /// Units that are kept in memory after their commit, in bytes.
    pub recent_bytes: usize,
    /// Sealed segments that are kept open.
    pub open_files_max: usize,
    /// Nothing will be written: a damaged log is opened too, as far as it is sound.
    pub read_only: bool,
    /// Whether space is filled with zeros before it is needed; of no use where files are copied on
    /// write.
    pub zero_fill: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_size_bytes: 256 * 1024 * 1024,
            unit_align: 8,
            read_cache_bytes: 32 * 1024 * 1024,
            recent_bytes: 4 * 1024 * 1024,
            open_files_max: 256,
            read_only: false,
            zero_fill: true,
        }
    }
}

/// An open log: its readers' side, its writer, and what opening it found.
#[derive(Debug)]
pub(crate) struct Opened {
    /// For reading and for background work.
    pub log: Log,
    /// For appending.
    pub writer: LogWriter,
    /// What was found and done.
    pub report: RecoveryReport,
}

/// A handle to an open log. Clones are handles to the same log; the directory is locked until the
/// last of them, and the writer, are gone.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

impl Log {
    /// Opens the log in a directory, and makes one if `create` says so and there is none.
    ///
    /// # Errors
    /// See [`LogOpenError`]. Where durable data is damaged, nothing was changed.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        host: Arc<dyn Host>,
        options: LogOptions,
        create: bool,
    ) -> Result<Opened, LogOpenError> {
        open::open(disk, host, options, create)
    }

    /// Checks the log in a directory that no process has open, without changing anything.
    ///
    /// # Errors
    /// As [`Self::open`], where there is not enough left to look at.
    pub(crate) fn inspect(
        disk: &Arc<dyn Disk>,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<LogVerification, LogOpenError> {
        verify::inspect(disk, progress)
    }

    /// What the store is.
    pub(crate) fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// What is known to be damaged, where a damaged log was opened for reading only.
    pub(crate) fn lost(&self) -> Vec<LostRange> {
        self.shared.lost.lock().clone()
    }

    /// Finds out what else is damaged in a log that was opened for reading only.
    ///
    /// # Errors
    /// See [`LogOpenError`].
    pub(crate) fn find_lost(&self) -> Result<Vec<LostRange>, LogOpenError> {
        let disk = &*self.shared.disk;
        let files = disk.list();
        let files = files.map_err(|error| StorageError::io("list", "the data directory", error))?;
        let lost = salvage::examine(disk, &files)?.lost;
        self.shared.lost.lock().clone_from(&lost);
        Ok(lost)
    }

    /// The position behind the last durable event.
    pub(crate) fn end(&self) -> Position {
        self.shared.end()
    }

    /// The place behind the last durable unit.
    #[cfg(test)]
    pub(crate) fn place(&self) -> crate::format::unit::Place {
        self.shared.state.read().place()
    }

    /// When the last unit was committed, in microseconds since 1970; none in an empty log.
    pub(crate) fn last_committed_us(&self) -> Option<i64> {
        let committed_us = self.shared.state.read().active().facts.mark.committed_us;
        (committed_us != i64::MIN).then_some(committed_us)
    }

    /// When the unit that holds a position was committed, in microseconds since 1970, if the unit
    /// is one of the last, which are kept in memory.
    pub(crate) fn committed_us(&self, position: Position) -> Option<i64> {
        self.shared.state.read().recent.committed_us(position)
    }

    /// Events from `from` to in front of `to` and the end, at least one if there is one, at most
    /// about 256 KiB at once and, beyond the first, at most `len_bytes_max` bytes. Go on behind the
    /// last run.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if a checksum is wrong, and what the disk says.
    pub(crate) fn read(
        &self,
        from: Position,
        to: Position,
        len_bytes_max: usize,
    ) -> Result<Chunk, StorageError> {
        self.shared.read(from, to, len_bytes_max)
    }

    /// The events directly in front of `before`, ascending: at least one if there is one, beyond
    /// that at most `events_max` and `len_bytes_max` bytes. Go on in front of the first run.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_back(
        &self,
        before: Position,
        events_max: usize,
        len_bytes_max: usize,
    ) -> Result<Chunk, StorageError> {
        self.shared.read_back(before, events_max, len_bytes_max)
    }

    /// The events at these ascending positions; those that were removed or are not yet there are
    /// left out. Events that lie close together are read by one call.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_at(&self, positions: &[Position]) -> Result<Chunk, StorageError> {
        self.shared.read_at(positions)
    }

    /// The events at the first of these positions, which may ascend or descend: so many that they
    /// take about `len_bytes_max` bytes, but at least one, and at most 128. Returns how many
    /// positions were looked at; the events come by their positions.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_within(
        &self,
        positions: &[Position],
        len_bytes_max: usize,
    ) -> Result<(Chunk, usize), StorageError> {
        self.shared.read_within(positions, len_bytes_max)
    }

    /// The first position whose event was created at this time or later; the end if there is none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn position_at(&self, created: Timestamp) -> Result<Position, StorageError> {
        self.shared.position_at(created)
    }

    /// Shows the units that hold events from a position on, or state records behind it, to the end
    /// of the log: for rebuilding what is derived from requests and state. May begin earlier, at
    /// the start of a segment or the last checkpoint.
    ///
    /// # Errors
    /// As [`Self::read`], and what `visit` says.
    pub(crate) fn units(
        &self,
        from: Position,
        visit: &mut dyn FnMut(Unit) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.shared.units(from, visit)
    }

    /// The same without the units at the position itself that stand in front of the place at which
    /// the log was opened: opening it need not look at them.
    ///
    /// # Errors
    /// As [`Self::units`].
    pub(crate) fn units_behind_start(
        &self,
        from: Position,
        visit: &mut dyn FnMut(Unit) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.shared.units_behind_start(from, visit)
    }

    /// The last durable value of a state record.
    pub(crate) fn state(&self, space: u8, key: &[u8]) -> Option<Bytes> {
        self.shared.states.get(space, key)
    }

    /// The state records whose keys begin with a prefix, by their keys.
    pub(crate) fn states(&self, space: u8, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.shared.states.with_prefix(space, prefix)
    }

    /// The memory that all state records take, in bytes, about.
    pub(crate) fn states_len_bytes(&self) -> u64 {
        self.shared.states.len_bytes()
    }

    /// How often a block that was wanted was in memory, and how often not.
    pub(crate) fn cache_use(&self) -> (u64, u64) {
        self.shared.blocks.hits_and_misses()
    }

    /// The manifest.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.shared.manifest
    }

    /// Writes a checkpoint of everything durable, and the state file. They count from when the
    /// manifest names them. `known` gives the named requests with events that no table has and that
    /// stand in front of a position.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn checkpoint(
        &self,
        known: &dyn Fn(Position) -> Vec<KnownRequest>,
    ) -> Result<PreparedCheckpoint, StorageError> {
        self.shared.checkpoint(known)
    }

    /// Whether so much log is behind the last checkpoint that one should be written.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.shared.wants_checkpoint()
    }

    /// The named requests that the state file held when the log was opened, and what shows the
    /// units behind its place; none if there was no such file, or they were asked for before.
    ///
    /// # Errors
    /// As [`Self::units`].
    pub(crate) fn requests_found(
        &self,
        visit: &mut dyn FnMut(Unit) -> Result<(), StorageError>,
    ) -> Result<Option<Vec<KnownRequest>>, StorageError> {
        let found = self.shared.state_file.lock().found.take();
        let Some((start, requests)) = found else {
            return Ok(None);
        };
        self.shared.units_from(start, visit)?;
        Ok(Some(requests))
    }

    /// One piece of background work: of [`Self::seal_step`], or else of [`Self::spare_step`].
    ///
    /// # Errors
    /// As these.
    pub(crate) fn keeper_step(&self) -> Result<KeeperProgress, StorageError> {
        let sealed = self.seal_step()?;
        if sealed != KeeperProgress::AGAIN && self.spare_step()? == KeeperProgress::AGAIN {
            return Ok(KeeperProgress::AGAIN);
        }
        Ok(sealed)
    }

    /// A full segment is sealed, or the floor is written. After an error, stop calling it and stop
    /// the store.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn seal_step(&self) -> Result<KeeperProgress, StorageError> {
        self.shared.seal_step()
    }

    /// The segment that comes next is made, or filled with zeros for a piece. May run beside
    /// [`Self::seal_step`]; after an error, stop as there.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn spare_step(&self) -> Result<KeeperProgress, StorageError> {
        self.shared.spare_step()
    }

    /// Whether a call of [`Self::spare_step`] has something to do.
    pub(crate) fn wants_spare(&self) -> bool {
        self.shared.wants_spare()
    }

    /// The sealed segments that may be written again, in order, and their lengths in bytes.
    pub(crate) fn rewritable(&self) -> Vec<(u32, u64)> {
        self.shared.rewritable()
    }

    /// Writes a segment again without the events that go, if that gives back so many bytes. One at
    /// a time.
    ///
    /// # Errors
    /// What the disk says, damage that was found in the segment, and what the judge says. The
    /// segment is as it was.
    pub(crate) fn rewrite(
        &self,
        segment: u32,
        at_least_bytes: u64,
        judge: &mut dyn RewriteJudge,
    ) -> Result<RewriteOutcome, StorageError> {
        self.shared.rewrite(segment, at_least_bytes, judge)
    }

    /// Bytes that can still be written to the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn free_bytes(&self) -> Result<u64, StorageError> {
        let free = self.shared.disk.free_bytes();
        free.map_err(|error| StorageError::io("ask for the free space of", "the disk", error))
    }

    /// Shows the removed events of a range of positions, in order, with the keys that they had.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn removed(
        &self,
        from: Position,
        to: Position,
        visit: &mut dyn FnMut(Position, &mut dyn Iterator<Item = &IndexKey>),
    ) -> Result<(), StorageError> {
        self.shared.removed(from, to, visit)
    }

    /// Reads and checks everything that is durable.
    ///
    /// # Errors
    /// Only what prevents looking at all; what is damaged is in the answer.
    pub(crate) fn verify(
        &self,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<LogVerification, StorageError> {
        verify::verify(&self.shared, progress)
    }
}

#[cfg(test)]
mod tests;
