//! What all handles of one open log share, and the work that is done in the background: the spare
//! segment, the floor.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{Disk, DiskFile, Host};
use crate::format::floor::Floor;
use crate::format::names::FileName;
use crate::format::rewrite::RemovedKeys;
use crate::format::store::Identity;
use crate::format::unit::Place;
use crate::log::LogOptions;
use crate::log::block::Block;
use crate::log::cache::Cache;
use crate::log::error::StorageError;
use crate::log::manifest::Manifest;
use crate::log::salvage::LostRange;
use crate::log::sealed::{FileKey, SealedFiles};
use crate::log::segment::{CAPACITY_MIN, Spare, create_segment};
use crate::log::state::State;
use crate::log::state_file::StateFile;
use crate::log::states::States;
use crate::log::walk::Expected;
use crate::log::writer::ZERO_STEP_BYTES;
use crate::sync::atomic::AtomicU64;
use crate::sync::{Mutex, RwLock};

/// The floor is written when no unit came for so long.
const FLOOR_DELAY_US: i64 = 50_000;
/// The spare is filled at least as fast, in bytes a second.
const FILL_RATE_MIN: u64 = 20_000_000;

/// One open log.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) host: Arc<dyn Host>,
    pub(super) options: LogOptions,
    pub(super) identity: Identity,
    pub(super) manifest: Manifest,
    pub(super) state: RwLock<State>,
    pub(super) states: States,
    /// The state files that were written; held while one is.
    pub(super) state_file: Mutex<StateFile>,
    /// How many bytes of log there are behind the last checkpoint.
    pub(super) unsaved_bytes: AtomicU64,
    pub(super) blocks: Cache<(FileKey, u32), Arc<Block>>,
    pub(super) sealed: SealedFiles,
    /// The keys of the removed events of the segment that was asked for last.
    pub(super) removed_keys: Mutex<Option<(FileKey, Arc<RemovedKeys>)>>,
    pub(super) spare: Mutex<Option<Spare>>,
    pub(super) sealing: Mutex<()>,
    pub(super) floor: Mutex<FloorFile>,
    pub(super) pace: Mutex<Pace>,
    /// Where opening began to walk: the last checkpoint, or the first segment that is not sealed.
    pub(super) start: Expected,
    /// What is known to be damaged, where the log is only read.
    pub(super) lost: Mutex<Vec<LostRange>>,
    pub(super) _lock: Box<dyn Debug + Send + Sync>,
}

impl Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("store", &self.identity.store)
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

/// The floor file, and what was last written to it.
#[derive(Debug)]
pub(super) struct FloorFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) number: u64,
    pub(super) written: Option<Place>,
    pub(super) failed: Option<Arc<StorageError>>,
}

/// How fast the log grows.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seen_us: i64,
    seen_bytes: u64,
    bytes_per_s: u64,
}

/// What a step of background work tells the one who calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeeperProgress {
    /// Call again after this time; none: after the next commit.
    pub again_after: Option<Duration>,
}

impl Shared {
    /// One piece of background work: a full segment is sealed, or the spare is made or filled by
    /// one step, or the floor is written.
    pub(super) fn keeper_step(&self) -> Result<KeeperProgress, StorageError> {
        let soon = |again_after| KeeperProgress {
            again_after: Some(again_after),
        };
        let floor_due = self.keep_floor()?;
        if self.is_seal_due() && self.seal_witnessed_segment()? {
            return Ok(soon(Duration::ZERO));
        }
        if let Some(filled_bytes) = self.keep_spare()? {
            let rate = self.fill_rate();
            let pause_us = u64::from(filled_bytes) * 1_000_000 / rate;
            return Ok(soon(Duration::from_micros(pause_us)));
        }
        Ok(KeeperProgress {
            again_after: floor_due,
        })
    }

    /// A full segment is sealed when the one behind it has a unit: the unit bears witness that all
    /// of the full one was durable.
    pub(super) fn is_seal_due(&self) -> bool {
        let state = self.state.read();
        state.live.len() > 1
            && state.active().facts.end_offset > crate::format::segment::HEADER_LEN_BYTES
    }

    /// One and a half times the rate at which the log grows, in bytes a second.
    fn fill_rate(&self) -> u64 {
        let now_us = self.host.now_us();
        let written = self.state.read().written_bytes;
        let mut pace = self.pace.lock();
        let passed_us = u64::try_from(now_us.saturating_sub(pace.seen_us)).unwrap_or(0);
        if passed_us >= 10_000 {
            let bytes = written.saturating_sub(pace.seen_bytes);
            pace.bytes_per_s = bytes.saturating_mul(1_000_000) / passed_us;
            (pace.seen_us, pace.seen_bytes) = (now_us, written);
        }
        (pace.bytes_per_s.saturating_mul(3) / 2).max(FILL_RATE_MIN)
    }

    /// Makes the spare when a quarter of the active segment is full, then fills it. Gives how many
    /// bytes were filled; none if there is nothing to do.
    fn keep_spare(&self) -> Result<Option<u32>, StorageError> {
        let (used, capacity) = {
            let state = self.state.read();
            let active = state.active();
            (active.facts.end_offset, active.capacity)
        };
        let mut spare = self.spare.lock();
        let Some(spare) = &mut *spare else {
            if used < capacity / 4 {
                return Ok(None);
            }
            *spare = Some(self.make_spare(self.next_capacity())?);
            return Ok(Some(0));
        };
        if !self.options.zero_fill || spare.zeroed >= spare.capacity {
            return Ok(None);
        }
        let step = ZERO_STEP_BYTES.min(spare.capacity - spare.zeroed);
        let zeros = vec![0; usize::try_from(step).unwrap_or(0)];
        spare
            .file
            .write_all_at(spare.zeroed.into(), &zeros)
            .and_then(|()| spare.file.sync_data())
            .map_err(|error| StorageError::io("fill", &spare.name, error))?;
        spare.zeroed += step;
        Ok(Some(step))
    }

    /// A sixteenth of the log, from the least capacity to the largest.
    pub(super) fn next_capacity(&self) -> u32 {
        let manifest = self.manifest.current();
        let sealed = manifest
            .sealed
            .iter()
            .map(|entry| u64::from(entry.len_bytes));
        let state = self.state.read();
        let live = (state.live.iter()).map(|live| u64::from(live.facts.end_offset));
        let log: u64 = sealed.sum::<u64>() + live.sum::<u64>();
        let largest = self.options.segment_size_bytes;
        u32::try_from(log / 16)
            .unwrap_or(largest)
            .clamp(CAPACITY_MIN.min(largest), largest)
    }

    fn make_spare(&self, capacity: u32) -> Result<Spare, StorageError> {
        let id = self.manifest.current().next_segment;
        let spare = create_segment(&*self.disk, &self.identity, id, capacity)?;
        self.manifest.update(|manifest| {
            manifest.unsealed.push(spare.id);
            manifest.next_segment = spare.id + 1;
        })?;
        Ok(spare)
    }

    /// The segment to go on in; made at once if none stands ready.
    pub(super) fn take_spare(&self, needed: u32) -> Result<Spare, StorageError> {
        let mut spare = self.spare.lock();
        match spare.take() {
            Some(spare) => Ok(spare),
            None => self.make_spare(self.next_capacity().max(needed)),
        }
    }

    /// Removes the spare: first from the manifest, then its file.
    pub(super) fn remove_spare(&self) -> Result<(), StorageError> {
        let mut spare = self.spare.lock();
        let Some(unused) = spare.take() else {
            return Ok(());
        };
        self.manifest
            .update(|manifest| manifest.unsealed.retain(|id| *id != unused.id))?;
        self.disk
            .remove(&unused.name)
            .and_then(|()| self.disk.sync_directory())
            .map_err(|error| StorageError::io("remove", &unused.name, error))
    }

    /// Writes the floor if the last unit is old enough; else says when it will be.
    fn keep_floor(&self) -> Result<Option<Duration>, StorageError> {
        let state = self.state.read();
        let (place, touched_us) = (state.durable_place(), state.touched_us);
        drop(state);
        if self.floor.lock().written == Some(place) {
            return Ok(None);
        }
        // A clock that was put back must not keep the last unit without a witness.
        let age_us = self.host.now_us().saturating_sub(touched_us);
        let left_us = match age_us {
            0.. => u64::try_from(FLOOR_DELAY_US.saturating_sub(age_us)).unwrap_or(0),
            _ => 0,
        };
        match left_us {
            0 => self.write_floor(false).map(|()| None),
            left_us => Ok(Some(Duration::from_micros(left_us))),
        }
    }

    /// Writes the next slot and syncs it.
    pub(super) fn write_floor(&self, clean: bool) -> Result<(), StorageError> {
        let mut floor = self.floor.lock();
        if let Some(cause) = &floor.failed {
            return Err(StorageError::Poisoned(Arc::clone(cause)));
        }
        let state = self.state.read();
        let (end, position) = (state.durable_place(), state.end());
        drop(state);
        let manifest = self.manifest.current();
        let slot = Floor {
            number: floor.number + 1,
            generation: manifest.generation,
            position,
            end,
            epoch: manifest.epoch,
            clean,
        };
        let (offset, bytes) = slot.encode();
        let name = FileName::Floor.to_string();
        let written = floor.file.write_all_at(offset, &bytes);
        if let Err(error) = written.and_then(|()| floor.file.sync_data()) {
            let error = StorageError::io("write", &name, error);
            floor.failed = Some(Arc::new(error.clone()));
            return Err(error);
        }
        floor.number += 1;
        floor.written = Some(end);
        Ok(())
    }

    /// Both slots, so that the loss of one does not make a clean stop look like another.
    pub(super) fn write_clean_floor(&self) -> Result<(), StorageError> {
        self.write_floor(true)?;
        self.write_floor(true)
    }
}
