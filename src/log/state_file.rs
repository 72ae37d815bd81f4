//! The state file: what the state records and the named requests are at a checkpoint, so that
//! opening the store need not walk the log for them.
//!
//! It is named by the same manifest as the checkpoint. What it holds may be newer than the place
//! that the manifest says: the units behind that place are applied again, all of them, in order.

use crate::format::codec::to_u64;
use crate::format::manifest::StateEntry;
use crate::format::names::FileName;
use crate::format::state::{KnownRequest, StateWriter};
use crate::log::error::StorageError;
use crate::log::file::write_new;
use crate::log::shared::Shared;
use crate::log::walk::Expected;
use crate::sync::atomic::Ordering;

/// When so many bytes of log have no checkpoint behind them, one is due.
const UNSAVED_LEN_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What is remembered of the last state file.
#[derive(Debug, Default)]
pub(super) struct StateFile {
    /// Its number, and how many changes of state records it has seen.
    pub(super) written: Option<(u32, u64)>,
    /// What it said when the store was opened, and where what it does not hold begins; until the
    /// index asks.
    pub(super) found: Option<(Expected, Vec<KnownRequest>)>,
}

impl Shared {
    /// Says in the manifest that state records are in the log from here on, before the first of
    /// them is.
    pub(super) fn announce_states(&self, next: &Expected) -> Result<(), StorageError> {
        if self.manifest.current().state.is_some() {
            return Ok(());
        }
        let entry = first_entry(next);
        self.manifest.update(|manifest| {
            manifest.state.get_or_insert(entry);
        })
    }

    /// Writes the state file for a checkpoint, if it differs from the last one, and gives what the
    /// manifest is to say; nothing if nothing is to be kept. The directory is the caller's to sync.
    pub(super) fn prepare_state(
        &self,
        at: &Expected,
        requests: &[KnownRequest],
    ) -> Result<Option<StateEntry>, StorageError> {
        let last = self.manifest.current().state;
        if last.is_none() && requests.is_empty() {
            return Ok(None);
        }
        let entry = StateEntry {
            place: at.place,
            position: at.position,
            mark: at.mark,
            ..last.unwrap_or(first_entry(at))
        };
        let mut file = self.state_file.lock();
        let changes = self.states.changes();
        if file.written == Some((entry.number, changes)) && requests.is_empty() {
            return Ok(Some(entry));
        }
        let number = entry.number.wrapping_add(1);
        let mut writer = StateWriter::new(number);
        let mut any = !requests.is_empty();
        self.states.for_each(|space, key, value| {
            writer.state(space, key, value);
            any = true;
        });
        let bytes = writer.finish(requests);
        let len_bytes = if any { to_u64(bytes.len()) } else { 0 };
        if any {
            write_new(&*self.disk, &FileName::State(number).to_string(), &bytes)?;
        }
        // Only a manifest that names it makes it the last one.
        file.written = Some((number, changes));
        Ok(Some(StateEntry {
            number,
            len_bytes,
            ..entry
        }))
    }

    /// Whether so much log is behind the last checkpoint that one should be written.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.unsaved_bytes.load(Ordering::Relaxed) >= UNSAVED_LEN_BYTES_MAX
    }
}

fn first_entry(next: &Expected) -> StateEntry {
    StateEntry {
        since: next.place.segment,
        number: 0,
        len_bytes: 0,
        place: next.place,
        position: next.position,
        mark: next.mark,
    }
}
