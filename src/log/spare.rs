//! The spare: the segment that stands ready for the time when the active one is full.
//!
//! It is made when a quarter of the active segment is used, and filled with zeros in step with it,
//! so that it is full of them when three quarters are: a unit that goes where zeros are needs no
//! new length of the file to be made durable, which takes the file system several times as long as
//! the unit itself.

use crate::log::error::StorageError;
use crate::log::segment::{CAPACITY_MIN, Spare, create_segment};
use crate::log::shared::{KeeperProgress, Shared};
use crate::log::writer::ZERO_STEP_BYTES;

impl Shared {
    /// One piece of background work: the spare is made, or filled by one step.
    pub(super) fn spare_step(&self) -> Result<KeeperProgress, StorageError> {
        let Some(share) = self.spare_due() else {
            return Ok(KeeperProgress::default());
        };
        let mut spare = self.spare.lock();
        let Some(spare) = &mut *spare else {
            *spare = Some(self.make_spare(self.next_capacity())?);
            return Ok(KeeperProgress::AGAIN);
        };
        if !self.is_behind(spare, share) {
            return Ok(KeeperProgress::default());
        }
        let len = ZERO_STEP_BYTES.min(spare.capacity - spare.zeroed);
        spare
            .fill(len)
            .map_err(|error| StorageError::io("fill", &spare.name, error))?;
        Ok(KeeperProgress::AGAIN)
    }

    /// Whether a step of work for the spare is due, and nobody is at it.
    pub(super) fn wants_spare(&self) -> bool {
        let Some(share) = self.spare_due() else {
            return false;
        };
        let spare = self.spare.try_lock();
        spare.is_some_and(|spare| {
            let spare = spare.as_ref();
            spare.is_none_or(|spare| self.is_behind(spare, share))
        })
    }

    /// How much of the spare is to be zeros by now, in 1/1024; none if nobody needs one yet.
    fn spare_due(&self) -> Option<u64> {
        let state = self.state.read();
        let active = state.active();
        let (used, capacity) = (
            u64::from(active.facts.end_offset),
            u64::from(active.capacity),
        );
        drop(state);
        let behind_quarter = used.checked_sub(capacity / 4)?;
        Some(behind_quarter * 2 * 1024 / capacity)
    }

    fn is_behind(&self, spare: &Spare, share: u64) -> bool {
        let due = u64::from(spare.capacity).min(u64::from(spare.capacity) * share / 1024);
        self.options.zero_fill && u64::from(spare.zeroed) < due
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
}
