//! The one writer: a unit becomes durable by one write and one sync, and nothing is ever read from
//! the disk on the way. After the first error nothing is written any more: what a failed sync left
//! behind is known only when the store is opened again.

use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::format::FormatError;
use crate::format::footer::Mark;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::{Place, Trailer};
use crate::log::Log;
use crate::log::error::StorageError;
use crate::log::facts::Facts;
use crate::log::segment::Spare;
use crate::log::shared::Shared;
use crate::log::state::Live;
use crate::log::unit_buffer::{ReadyUnit, Stamp, UnitBuffer};
use crate::log::walk::Expected;
use crate::model::Position;
use crate::sync::atomic::Ordering;

/// Space behind the last unit is filled with zeros in steps of this many bytes.
pub(super) const ZERO_STEP_BYTES: u32 = 1024 * 1024;

/// The only one who appends.
#[derive(Debug)]
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    place: Place,
    capacity: u32,
    /// Up to here the file holds zeros that are on the disk.
    zeroed: u32,
    position: Position,
    mark: Mark,
    epoch: u32,
    failed: Option<Arc<StorageError>>,
}

impl LogWriter {
    pub(super) fn new(shared: Arc<Shared>, zeroed: u32, epoch: u32) -> Self {
        let state = shared.state.read();
        let active = state.active();
        let (file, name) = (Arc::clone(&active.file), Arc::clone(&active.name));
        let (capacity, mark) = (active.capacity, active.facts.mark);
        let (place, position) = (state.place(), state.end());
        drop(state);
        Self {
            shared,
            file,
            name,
            place,
            capacity,
            zeroed,
            position,
            mark,
            epoch,
            failed: None,
        }
    }

    /// Makes a unit durable and visible to readers of the log. Returns the position behind its last
    /// event: the durable end of the log.
    ///
    /// # Errors
    /// [`StorageError::Io`] if it could not be written or synced: whether the unit is in the log is
    /// known when the store is opened again. Every later call is [`StorageError::Poisoned`].
    pub(crate) fn commit(
        &mut self,
        unit: UnitBuffer,
        committed_us: i64,
    ) -> Result<Position, StorageError> {
        if let Some(cause) = &self.failed {
            return Err(StorageError::Poisoned(Arc::clone(cause)));
        }
        let outcome = self.write(unit, committed_us);
        if let Err(error) = &outcome {
            self.failed = Some(Arc::new(error.clone()));
        }
        outcome
    }

    fn write(&mut self, unit: UnitBuffer, committed_us: i64) -> Result<Position, StorageError> {
        let identity = self.shared.identity;
        let impossible = |what| StorageError::damaged(&self.name, 0, FormatError::Invalid(what));
        if unit.first_position() != self.position {
            return Err(impossible("the first position of a unit to be written"));
        }
        if unit.has_states() {
            self.shared.announce_states(&Expected {
                place: self.place,
                position: self.position,
                mark: self.mark,
            })?;
        }
        let unit = unit.finish();
        let Some(len) = unit.padded_len(identity.unit_align) else {
            return Err(impossible("the length of a unit to be written"));
        };
        let full = u64::from(self.place.offset) + u64::from(len) > u64::from(self.capacity);
        if full && self.place.offset > HEADER_LEN_BYTES {
            self.roll(len)?;
        }
        let ready = unit.stamp(&Stamp {
            place: self.place,
            epoch: self.epoch,
            previous: self.mark.checksum,
            committed_us: committed_us.max(self.mark.committed_us),
            unit_align: identity.unit_align,
            salt: &identity.unit_salt,
        });
        let bytes = self.write_and_sync(ready.bytes, len)?;
        self.publish(ReadyUnit { bytes, ..ready }, len);
        Ok(self.position)
    }

    /// Where the zeros end, more of them are written behind the unit, so that the next syncs need
    /// not make a new length durable.
    fn write_and_sync(&mut self, mut bytes: Vec<u8>, len: u32) -> Result<Vec<u8>, StorageError> {
        let end = self.place.offset.saturating_add(len);
        let unit_len = bytes.len();
        let mut zeroed = self.zeroed;
        if end > zeroed {
            zeroed = match self.shared.options.zero_fill {
                true => end
                    .saturating_add(ZERO_STEP_BYTES)
                    .min(self.capacity)
                    .max(end),
                false => end,
            };
            let more = usize::try_from(zeroed - end).unwrap_or(0);
            bytes.resize(unit_len + more, 0);
        }
        let offset = u64::from(self.place.offset);
        self.file
            .write_all_at(offset, &bytes)
            .map_err(|error| StorageError::io("write", &self.name, error))?;
        self.file
            .sync_data()
            .map_err(|error| StorageError::io("sync", &self.name, error))?;
        self.zeroed = zeroed;
        if bytes.len() > unit_len {
            bytes.truncate(unit_len);
            bytes.shrink_to_fit();
        }
        Ok(bytes)
    }

    fn publish(&mut self, unit: ReadyUnit, len: u32) {
        let header = unit.header;
        self.mark = Mark {
            checksum: unit.checksum,
            epoch: header.epoch,
            committed_us: header.committed_us,
        };
        self.place.offset += len;
        self.position = header.end_position();
        let touched_us = self.shared.host.now_us();
        // Whoever sees the events sees what came along with them.
        let Trailer { appends, states } = unit.trailer;
        if !states.is_empty() {
            self.shared.states.apply(states);
        }
        let unsaved = &self.shared.unsaved_bytes;
        unsaved.fetch_add(len.into(), Ordering::Relaxed);
        let bytes = Bytes::from(unit.bytes);
        let mut state = self.shared.state.write();
        let facts = &mut state.active_mut().facts;
        facts.push_unit(&unit.records, len, self.mark);
        state.idle.follow(&header, &appends);
        state.touched_us = touched_us;
        state.written_bytes += u64::from(len);
        state.recent.push(
            header.first_position,
            header.committed_us,
            bytes,
            unit.records_end,
            &unit.records,
        );
    }

    /// Goes on in the spare segment. At most one full segment waits to be sealed.
    fn roll(&mut self, len: u32) -> Result<(), StorageError> {
        self.shared.seal_before_roll()?;
        let needed = len.saturating_add(HEADER_LEN_BYTES);
        let Spare {
            id,
            file,
            name,
            capacity,
            zeroed,
        } = self.shared.take_spare(needed)?;
        let salt = self.shared.identity.record_salt;
        let live = Live {
            facts: Facts::new(id, self.position, self.mark, salt),
            file: Arc::clone(&file),
            name: Arc::clone(&name),
            capacity,
        };
        self.place = Place {
            segment: id,
            offset: HEADER_LEN_BYTES,
        };
        (self.file, self.name) = (file, name);
        (self.capacity, self.zeroed) = (capacity, zeroed);
        self.shared.state.write().live.push(live);
        Ok(())
    }

    /// Stops in order: the active file is cut to its end, the spare is removed, and the floor says
    /// that this was a clean stop.
    ///
    /// # Errors
    /// [`StorageError::Poisoned`] after a failed commit, and what the disk says. The store is whole
    /// all the same; opening it takes a little longer.
    pub(crate) fn close(self, log: &Log) -> Result<(), StorageError> {
        if let Some(cause) = &self.failed {
            return Err(StorageError::Poisoned(Arc::clone(cause)));
        }
        let shared = &log.shared;
        shared.seal_witnessed_segment()?;
        shared.remove_spare()?;
        self.file
            .set_len(u64::from(self.place.offset))
            .and_then(|()| self.file.sync_data())
            .map_err(|error| StorageError::io("cut", &self.name, error))?;
        // Behind a full segment that is not sealed a clean end is not where anybody looks for it.
        match shared.state.read().live.len() {
            1 => shared.write_clean_floor(),
            _ => shared.write_floor(false),
        }
    }
}
