//! The one writer: a unit becomes durable by one write and one sync, and nothing is ever read from
//! the disk on the way. After the first error nothing is written any more: what a failed sync left
//! behind is known only when the store is opened again.
//!
//! One error is none: that the disk has no space for what is to be written. Nothing was synced
//! then, so the unit is held, and written again when there may be room: the same bytes to the same
//! place, whatever of them is there already. Nothing else is written before it.

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
use crate::log::unit_buffer::{FinishedUnit, ReadyUnit, Stamp, UnitBuffer};
use crate::log::walk::Expected;
use crate::model::Position;
use crate::sync::atomic::Ordering;

/// Space is filled with zeros in steps of this many bytes.
pub(super) const ZERO_STEP_BYTES: u32 = 1024 * 1024;
/// The writer fills as much behind a unit as there is in front of it, and no more than this: what
/// a small store takes stays in proportion, and a large one seldom waits for the file system.
const ZERO_AHEAD_BYTES_MAX: u32 = 4 * ZERO_STEP_BYTES;

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
    /// The unit for which the disk had no space.
    held: Option<Box<Pending>>,
    failed: Option<Arc<StorageError>>,
}

/// A unit on its way to the disk.
#[derive(Debug)]
enum Pending {
    /// It has no place yet.
    Built {
        unit: FinishedUnit,
        has_states: bool,
        committed_us: i64,
    },
    /// These bytes belong to where the writer stands; the length has the padding.
    Placed(ReadyUnit, u32),
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
            held: None,
            failed: None,
        }
    }

    /// Makes a unit durable and visible to readers of the log. Returns the position behind its last
    /// event: the durable end of the log.
    ///
    /// # Errors
    /// [`StorageError::Full`] if the disk has no space for it: the unit is held, and
    /// [`Self::retry`] comes next. Else [`StorageError::Io`] if it could not be written or synced:
    /// whether the unit is in the log is known when the store is opened again. Every later call is
    /// [`StorageError::Poisoned`].
    pub(crate) fn commit(
        &mut self,
        unit: UnitBuffer,
        committed_us: i64,
    ) -> Result<Position, StorageError> {
        if unit.first_position() != self.position || self.held.is_some() {
            return Err(self.impossible("the first position of a unit to be written"));
        }
        let has_states = unit.has_states();
        self.write(Pending::Built {
            unit: unit.finish(),
            has_states,
            committed_us,
        })
    }

    /// Writes the unit that is held, if one is.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) fn retry(&mut self) -> Result<Position, StorageError> {
        match self.held.take() {
            None => Ok(self.position),
            Some(pending) => self.write(*pending),
        }
    }

    fn impossible(&mut self, what: &'static str) -> StorageError {
        let error = StorageError::damaged(&self.name, 0, FormatError::Invalid(what));
        self.failed.get_or_insert(Arc::new(error.clone()));
        error
    }

    fn write(&mut self, pending: Pending) -> Result<Position, StorageError> {
        if let Some(cause) = &self.failed {
            return Err(StorageError::Poisoned(Arc::clone(cause)));
        }
        let (mut unit, len) = match pending {
            Pending::Placed(unit, len) => (unit, len),
            Pending::Built {
                unit,
                has_states,
                committed_us,
            } => {
                let Some(len) = unit.padded_len(self.shared.identity.unit_align) else {
                    return Err(self.impossible("the length of a unit to be written"));
                };
                if let Err(error) = self.make_place(has_states, len) {
                    // What was begun is begun anew then, from its first write on.
                    let lasting =
                        !error.is_for_want_of_space() || self.shared.manifest.failure().is_some();
                    let pending = Pending::Built {
                        unit,
                        has_states,
                        committed_us,
                    };
                    return Err(self.stop(error, (!lasting).then_some(pending)));
                }
                (unit.stamp(&self.stamp(committed_us)), len)
            }
        };
        let zeroed = match self.write_bytes(&mut unit.bytes, len) {
            Ok(zeroed) => zeroed,
            Err(error) => {
                let again = error.is_for_want_of_space();
                return Err(self.stop(error, again.then_some(Pending::Placed(unit, len))));
            }
        };
        // Whatever a sync fails with, nobody knows any more what is on the disk.
        if let Err(error) = self.file.sync_data() {
            let error = StorageError::io("sync", &self.name, error);
            return Err(self.stop(error, None));
        }
        self.zeroed = zeroed;
        self.publish(unit, len);
        Ok(self.position)
    }

    /// What the error is called that a unit met: it is held, if there is one to hold, or nothing is
    /// written any more.
    fn stop(&mut self, error: StorageError, held: Option<Pending>) -> StorageError {
        match held {
            Some(pending) => {
                self.held = Some(Box::new(pending));
                StorageError::Full(Arc::new(error))
            }
            None => {
                self.failed = Some(Arc::new(error.clone()));
                error
            }
        }
    }

    /// Sees to it that a unit of this length can be put where the writer stands.
    fn make_place(&mut self, has_states: bool, len: u32) -> Result<(), StorageError> {
        if has_states {
            self.shared.announce_states(&Expected {
                place: self.place,
                position: self.position,
                mark: self.mark,
            })?;
        }
        let full = u64::from(self.place.offset) + u64::from(len) > u64::from(self.capacity);
        if full && self.place.offset > HEADER_LEN_BYTES {
            self.roll(len)?;
        }
        Ok(())
    }

    fn stamp(&self, committed_us: i64) -> Stamp<'_> {
        let identity = &self.shared.identity;
        Stamp {
            place: self.place,
            epoch: self.epoch,
            previous: self.mark.checksum,
            committed_us: committed_us.max(self.mark.committed_us),
            unit_align: identity.unit_align,
            salt: &identity.unit_salt,
        }
    }

    /// Writes the unit, and where the zeros end, more of them behind it, as far as there is room,
    /// so that the next syncs need not make a new length durable. Gives where they end then.
    fn write_bytes(&self, bytes: &mut Vec<u8>, len: u32) -> Result<u32, StorageError> {
        let offset = u64::from(self.place.offset);
        let end = self.place.offset.saturating_add(len);
        let failed = |error| StorageError::io("write", &self.name, error);
        let zeroed = match self.shared.options.zero_fill && end > self.zeroed {
            true => end
                .saturating_add(end.clamp(ZERO_STEP_BYTES, ZERO_AHEAD_BYTES_MAX))
                .min(self.capacity)
                .max(end),
            false => end,
        };
        if zeroed > end {
            let unit_len = bytes.len();
            let more = usize::try_from(zeroed - end).unwrap_or(0);
            bytes.resize(unit_len + more, 0);
            let written = self.file.write_all_at(offset, bytes).map_err(failed);
            bytes.truncate(unit_len);
            bytes.shrink_to_fit();
            match written {
                Err(error) if error.is_for_want_of_space() => {}
                written => return written.map(|()| zeroed),
            }
        }
        let written = self.file.write_all_at(offset, bytes).map_err(failed);
        written.map(|()| end.max(self.zeroed))
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
    /// that this was a clean stop. A unit that is held is cut off: it is not in the log.
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
