//! What all handles of one open log share, and the work that is done in the background: the floor.

use std::collections::BTreeMap;
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
use crate::log::salvage::{LostRange, Rescued};
use crate::log::sealed::{FileKey, SealedFiles};
use crate::log::segment::Spare;
use crate::log::state::State;
use crate::log::state_file::StateFile;
use crate::log::states::States;
use crate::log::walk::Expected;
use crate::sync::atomic::AtomicU64;
use crate::sync::{Mutex, RwLock};

/// The floor is written when no unit came for so long.
const FLOOR_DELAY_US: i64 = 50_000;

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
    /// Sealed segments whose footers are damaged, where the log is only read.
    pub(super) rescued: Mutex<BTreeMap<u32, Arc<Rescued>>>,
    /// The keys of the removed events of the segment that was asked for last.
    pub(super) removed_keys: Mutex<Option<(FileKey, Arc<RemovedKeys>)>>,
    pub(super) spare: Mutex<Option<Spare>>,
    pub(super) sealing: Mutex<()>,
    pub(super) floor: Mutex<FloorFile>,
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

/// What a step of background work tells the one who calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeeperProgress {
    /// Call again after this time; none: after the next commit.
    pub again_after: Option<Duration>,
}

impl KeeperProgress {
    /// There is more to do.
    pub(super) const AGAIN: Self = Self {
        again_after: Some(Duration::ZERO),
    };
}

impl Shared {
    /// One piece of background work: a full segment is sealed, or the floor is written.
    pub(super) fn seal_step(&self) -> Result<KeeperProgress, StorageError> {
        let floor_due = self.keep_floor()?;
        if self.is_seal_due() && self.seal_witnessed_segment()? {
            return Ok(KeeperProgress::AGAIN);
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
