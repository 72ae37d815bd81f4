//! What is in a directory, and what a crash did to it. Looking changes nothing; [`super::open`]
//! acts on what is found here.
//!
//! The units behind the last checkpoint are walked. Let X be the first place where no valid unit
//! continues the log, and F the highest place of which a witness says that all in front of it was
//! durable: the floor file, the checkpoint, and any valid unit header, because a unit is written
//! only after the sync of the one before it. X < F means that durable data is damaged: the store is
//! not opened. Otherwise what lies behind X is a write that the crash cut short, never answered.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::Disk;
use crate::format::FormatError;
use crate::format::floor::{FILE_LEN_BYTES, Floor};
use crate::format::footer::Mark;
use crate::format::manifest::{ManifestData, SealedSegment, StateEntry};
use crate::format::names::FileName;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::state::{self, KnownRequest};
use crate::format::store::{self, Identity, UNIT_ALIGN_MIN};
use crate::format::unit::{HEADER_LEN, Place, UNIT_LEN_BYTES_MAX, UnitHeader};
use crate::log::error::{LogOpenError, StorageError};
use crate::log::facts::Facts;
use crate::log::file::read_file;
use crate::log::manifest::read_manifest;
use crate::log::salvage::LostRange;
use crate::log::sealed::SealedFile;
use crate::log::segment::{Spare, open_segment};
use crate::log::states::{IdleRequests, StateMap};
use crate::log::walk::{Expected, READ_BYTES, Walker};
use crate::model::Position;

/// What opening the log found and did.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// The store was made by this call.
    pub created: bool,
    /// The last writer had stopped in order.
    pub clean_stop: bool,
    /// The walk began at a checkpoint.
    pub from_checkpoint: bool,
    /// Units that were walked and checked.
    pub walked_units: u64,
    /// Bytes of segments that were read.
    pub walked_bytes: u64,
    /// The position behind the last event.
    pub end: Position,
    /// The state file was missing or damaged, and was made again from the log.
    pub states_rebuilt: bool,
    /// What a crash had cut short, and where it is kept.
    pub torn: Vec<TornTail>,
    /// Events that are damaged, where a damaged store was opened for reading only: those of them
    /// that the search for the end of the log met.
    pub lost: Vec<LostRange>,
    /// Files in the directory that nothing names. They are left alone.
    pub unknown_files: Vec<String>,
}

/// Bytes of a unit that was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file.
    pub file: String,
    /// Where in it the bytes were.
    pub offset: u32,
    /// How many.
    pub len_bytes: u64,
    /// The file that keeps them; empty if nothing was changed.
    pub quarantine: String,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.created, self.clean_stop) {
            (true, _) => write!(f, "A new store was made.")?,
            (false, true) => write!(f, "The store was stopped in order.")?,
            (false, false) => write!(f, "The store was not stopped in order.")?,
        }
        write!(
            f,
            " It ends at position {}; {} units ({} bytes) were read and checked.",
            self.end, self.walked_units, self.walked_bytes
        )?;
        if self.states_rebuilt {
            write!(
                f,
                " The file with the state records was missing or damaged; they were gathered \
                 again from the log."
            )?;
        }
        for torn in &self.torn {
            write!(
                f,
                " {} bytes at byte {} of {} belong to a write that was cut short and never \
                 acknowledged; they were taken out and are kept in {}. Nothing that was \
                 acknowledged is affected; whoever got no answer may send the write again.",
                torn.len_bytes, torn.offset, torn.file, torn.quarantine
            )?;
        }
        if !self.lost.is_empty() {
            write!(
                f,
                " Acknowledged events are damaged; the others are served, and nothing is written."
            )?;
        }
        for lost in &self.lost {
            write!(f, " {lost}")?;
        }
        for file in &self.unknown_files {
            write!(
                f,
                " {file} does not belong to the store and was left alone."
            )?;
        }
        Ok(())
    }
}

/// A segment that was walked.
pub(super) struct Walked {
    pub(super) spare: Spare,
    pub(super) facts: Facts,
}

/// A stretch of a segment that holds what was never acknowledged.
pub(super) struct Torn {
    pub(super) segment: usize,
    pub(super) offset: u32,
    pub(super) len: u64,
}

/// The last unit, if it has no witness but itself.
#[derive(Clone, Copy)]
pub(super) struct LastUnit {
    pub(super) segment: usize,
    pub(super) offset: u32,
    pub(super) len: u32,
}

/// What was found.
pub(super) struct Survey {
    pub(super) identity: Identity,
    pub(super) manifest: Arc<ManifestData>,
    pub(super) floor: Option<Floor>,
    /// Where the walk began.
    pub(super) start: Expected,
    /// The walked segments; the last one is active.
    pub(super) walked: Vec<Walked>,
    pub(super) spare: Option<Spare>,
    pub(super) torn: Vec<Torn>,
    pub(super) unwitnessed: Option<LastUnit>,
    /// The state records as of the last good unit.
    pub(super) states: StateMap,
    /// From where on the log has to be walked for them.
    states_from: Option<Place>,
    /// The named requests in front of a place that no table has.
    pub(super) known_requests: Option<(Expected, Vec<KnownRequest>)>,
    /// Those without events that stand at the end of what was walked.
    pub(super) idle: IdleRequests,
    pub(super) report: RecoveryReport,
}

/// The generation of the newest manifest.
pub(super) fn newest_generation(files: &[(String, u64)]) -> Option<u64> {
    let generation = |(name, _): &(String, u64)| match FileName::parse(name) {
        Some(FileName::Manifest(generation)) => Some(generation),
        Some(_) | None => None,
    };
    files.iter().filter_map(generation).max()
}

/// Looks at everything that opening needs. `cold`, for a store that will be written: asks the disk
/// instead of what the system keeps in memory, and gathers the state records.
pub(super) fn survey(
    disk: &dyn Disk,
    files: &[(String, u64)],
    cold: bool,
) -> Result<Survey, LogOpenError> {
    let name = FileName::Store.to_string();
    let store = read_file(disk, &name, wide(store::FILE_LEN_BYTES))?;
    let identity =
        Identity::decode(&store).map_err(|error| StorageError::damaged(&name, 0, error))?;
    let generation = newest_generation(files).ok_or_else(|| StorageError::Missing {
        file: "manifest".into(),
        len_bytes: 0,
    })?;
    let manifest = Arc::new(read_manifest(disk, generation)?);
    let floor = read_floor(disk, &manifest)?;
    check_sizes(files, &manifest)?;
    let mut survey = Survey {
        floor,
        ..Survey::new(identity, manifest, RecoveryReport::default())
    };
    survey.report.clean_stop = survey.clean_end().is_some();
    survey.check_unnamed(disk, files)?;
    if cold {
        survey.load_states(disk)?;
    }
    survey.walk(disk, cold)?;
    Ok(survey)
}

fn read_floor(disk: &dyn Disk, manifest: &ManifestData) -> Result<Option<Floor>, StorageError> {
    let name = FileName::Floor.to_string();
    let bytes = read_file(disk, &name, wide(FILE_LEN_BYTES))?;
    let floor = match Floor::decode(&bytes) {
        Ok(floor) => floor,
        Err(FormatError::Newer(what)) => {
            return Err(StorageError::damaged(&name, 0, FormatError::Newer(what)));
        }
        // Without this witness the others still stand.
        Err(_) => return Ok(None),
    };
    match floor.generation > manifest.generation || floor.epoch > manifest.epoch {
        true => Err(StorageError::Missing {
            file: FileName::Manifest(floor.generation).to_string().into(),
            len_bytes: 0,
        }),
        false => Ok(Some(floor)),
    }
}

/// What a state file holds.
type StateFile = (StateMap, Vec<KnownRequest>);

/// What the state file says; none if it is missing, damaged, or cannot be read.
pub(super) fn read_state_file(
    disk: &dyn Disk,
    entry: &StateEntry,
) -> Result<Option<StateFile>, StorageError> {
    let mut map = StateMap::default();
    let Some(name) = entry.file_name().map(|name| name.to_string()) else {
        return Ok(Some((map, Vec::new())));
    };
    let bytes = match read_file(disk, &name, entry.len_bytes) {
        Err(error) if error.is_damage() => return Ok(None),
        other => other?,
    };
    let requests = state::decode(&bytes, entry.number, |space, key, value| {
        let copy = Bytes::copy_from_slice;
        map.put(space, copy(key), copy(value));
    });
    match requests {
        Ok(requests) => Ok(Some((map, requests))),
        Err(error @ FormatError::Newer(_)) => Err(StorageError::damaged(&name, 0, error)),
        Err(_) => Ok(None),
    }
}

/// Files that are named must be there; sealed ones have the length they were sealed with.
fn check_sizes(files: &[(String, u64)], manifest: &ManifestData) -> Result<(), StorageError> {
    let mut lengths: Vec<(&str, u64)> = (files.iter()).map(|(name, len)| (&**name, *len)).collect();
    lengths.sort_unstable();
    for sealed in &manifest.sealed {
        let name = sealed.file_name().to_string();
        let len_bytes = u64::from(sealed.len_bytes);
        if lengths.binary_search(&(&*name, len_bytes)).is_err() {
            return Err(StorageError::Missing {
                file: name.into(),
                len_bytes,
            });
        }
    }
    Ok(())
}

impl Survey {
    /// What is known of a log by its manifest, before anything else of it was looked at.
    pub(super) fn new(
        identity: Identity,
        manifest: Arc<ManifestData>,
        report: RecoveryReport,
    ) -> Self {
        Self {
            identity,
            start: Expected {
                place: Place {
                    segment: manifest.unsealed.first().copied().unwrap_or_default(),
                    offset: HEADER_LEN_BYTES,
                },
                position: manifest.sealed_end(),
                mark: manifest.sealed.last().map_or(Mark::START, |last| last.mark),
            },
            manifest,
            floor: None,
            walked: Vec::new(),
            spare: None,
            torn: Vec::new(),
            unwitnessed: None,
            states: StateMap::default(),
            states_from: None,
            known_requests: None,
            idle: IdleRequests::default(),
            report,
        }
    }

    /// Where the log ends if its last writer stopped in order.
    fn clean_end(&self) -> Option<Place> {
        let floor = self.floor.as_ref()?;
        (floor.clean && floor.epoch == self.manifest.epoch).then_some(floor.end)
    }

    /// Units are written only to segments that the manifest names. Where another one has units, a
    /// newer manifest was lost.
    pub(super) fn check_unnamed(
        &self,
        disk: &dyn Disk,
        files: &[(String, u64)],
    ) -> Result<(), StorageError> {
        for (name, _) in files {
            let Some(FileName::Segment(id)) = FileName::parse(name) else {
                continue;
            };
            let named = id < self.manifest.next_segment;
            let Some(segment) = (!named).then(|| open_segment(disk, &self.identity, id)) else {
                continue;
            };
            if let Ok(segment) = segment
                && self.has_first_unit(&segment)?
            {
                let newer = FileName::Manifest(self.manifest.generation + 1);
                return Err(StorageError::Missing {
                    file: newer.to_string().into(),
                    len_bytes: 0,
                });
            }
        }
        Ok(())
    }

    /// Reads the state file, and applies the units between its place and the segments that are not
    /// sealed. Without a whole file all units are applied, from the first that had a state record.
    pub(super) fn load_states(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        let Some(entry) = self.manifest.state else {
            return Ok(());
        };
        let mut start = Expected {
            place: entry.place,
            position: entry.position,
            mark: entry.mark,
        };
        let found = match entry.number {
            0 => None,
            _ => read_state_file(disk, &entry)?,
        };
        let whole = found.is_some();
        match found {
            Some((map, requests)) => {
                self.states = map;
                self.idle = IdleRequests::at(entry.position, &requests);
                self.known_requests = Some((start, requests));
            }
            None => {
                self.report.states_rebuilt = entry.number > 0;
                start.place = Place {
                    segment: self.first_with_states(&entry),
                    offset: HEADER_LEN_BYTES,
                };
            }
        }
        self.states_from = Some(start.place);
        let manifest = Arc::clone(&self.manifest);
        let mut mark = Mark::START;
        for sealed in &manifest.sealed {
            let before = std::mem::replace(&mut mark, sealed.mark);
            if sealed.id < start.place.segment {
                continue;
            }
            let from = match sealed.id == start.place.segment && whole {
                true => start,
                false => Expected {
                    place: Place {
                        segment: sealed.id,
                        offset: HEADER_LEN_BYTES,
                    },
                    position: sealed.first_position,
                    mark: before,
                },
            };
            self.apply_sealed(disk, sealed, from)?;
        }
        Ok(())
    }

    /// The segment to begin with where there is no state file: so early that the named requests
    /// without events are seen that stand where the first state record does.
    fn first_with_states(&self, entry: &StateEntry) -> u32 {
        let reaches = |sealed: &&SealedSegment| sealed.end_position() >= entry.position;
        let first = self.manifest.sealed.iter().find(reaches);
        first.map_or(entry.since, |first| first.id.min(entry.since))
    }

    /// Applies the state records of a sealed segment, from a place on.
    fn apply_sealed(
        &mut self,
        disk: &dyn Disk,
        sealed: &SealedSegment,
        mut expected: Expected,
    ) -> Result<(), StorageError> {
        let opened = SealedFile::open(disk, sealed)?;
        let (file, name) = (Arc::clone(&opened.file), Arc::clone(&opened.name));
        let mut walker = Walker::new(&self.identity, file, name, sealed.units_end().into());
        walker.rewritten = sealed.rewrite.is_some();
        while expected.place.offset < sealed.units_end() {
            let offset = expected.place.offset.into();
            let unit = walker.unit(&expected)?;
            let mut unit =
                unit.map_err(|error| StorageError::damaged(&opened.name, offset, error))?;
            self.idle.follow(&unit.header, &unit.trailer.appends);
            self.states.apply(std::mem::take(&mut unit.trailer.states));
            expected = unit.expected();
            self.report.walked_units += 1;
        }
        self.report.walked_bytes += walker.read_bytes;
        Ok(())
    }

    fn walk(&mut self, disk: &dyn Disk, cold: bool) -> Result<(), LogOpenError> {
        let mut opened = Vec::new();
        for id in &self.manifest.unsealed {
            let spare = open_segment(disk, &self.identity, *id)?;
            if cold && !self.report.clean_stop {
                let dropped = spare.file.drop_cache(0);
                dropped.map_err(|error| StorageError::io("read", &spare.name, error))?;
            }
            opened.push(spare);
        }
        let mut facts = self.read_checkpoint(disk);
        let mut segments = opened.into_iter().peekable();
        let mut expected = self.start;
        while let Some(spare) = segments.next() {
            let salt = self.identity.record_salt;
            let facts = facts
                .take()
                .unwrap_or_else(|| Facts::new(spare.id, expected.position, expected.mark, salt));
            expected.place = Place {
                segment: spare.id,
                offset: facts.end_offset,
            };
            let why = self.walk_segment(spare, facts, &mut expected)?;
            let goes_on = match segments.peek() {
                Some(next) => self.has_first_unit(next)?,
                None => false,
            };
            if !goes_on {
                self.spare = segments.next();
                self.report.end = expected.position;
                self.judge(expected, why)?;
                self.put_back_spare();
                return Ok(());
            }
        }
        Ok(())
    }

    /// A segment whose first unit was cut short is a spare again: what is in front of it goes on
    /// being the active one, and is sealed only when a unit bears witness for it.
    fn put_back_spare(&mut self) {
        let has_units = |walked: &Walked| walked.facts.end_offset > HEADER_LEN_BYTES;
        let empty = self.walked.last().is_some_and(|last| !has_units(last));
        if self.walked.len() > 1 && empty && self.spare.is_none() {
            self.spare = self.walked.pop().map(|last| last.spare);
        }
    }

    /// The facts in the checkpoint, if there is one of the first segment and it is whole.
    fn read_checkpoint(&mut self, disk: &dyn Disk) -> Option<Facts> {
        let entry = self.manifest.checkpoint?;
        let misses_states = self.states_from.is_some_and(|from| from < entry.place);
        if entry.place.segment != self.start.place.segment || misses_states {
            return None;
        }
        let name = FileName::to_string(&entry.file_name());
        let bytes = read_file(disk, &name, entry.len_bytes.into()).ok()?;
        let facts = Facts::from_checkpoint(&bytes, self.identity.record_salt).ok()?;
        let fits = facts.segment == entry.place.segment
            && facts.first == self.start.position
            && facts.end_offset == entry.place.offset
            && facts.end() == entry.position;
        if !fits {
            return None;
        }
        self.report.from_checkpoint = true;
        self.start = Expected {
            place: entry.place,
            position: entry.position,
            mark: facts.mark,
        };
        Some(facts)
    }

    /// Walks a segment and says why the walk ended; `expected` is then the unit that is not there.
    fn walk_segment(
        &mut self,
        spare: Spare,
        mut facts: Facts,
        expected: &mut Expected,
    ) -> Result<FormatError, LogOpenError> {
        if self.walked.is_empty() {
            expected.position = facts.end();
            expected.mark = facts.mark;
        }
        let (file, name) = (Arc::clone(&spare.file), Arc::clone(&spare.name));
        let mut walker = Walker::new(&self.identity, file, name, spare.zeroed.into());
        let mut last = None;
        let why = loop {
            match walker.unit(expected)? {
                Ok(mut unit) => {
                    self.idle.follow(&unit.header, &unit.trailer.appends);
                    self.states.apply(std::mem::take(&mut unit.trailer.states));
                    facts.push_unit(&unit.records, unit.len, unit.mark);
                    last = Some(LastUnit {
                        segment: self.walked.len(),
                        offset: unit.header.place.offset,
                        len: unit.len,
                    });
                    self.report.walked_units += 1;
                    *expected = unit.expected();
                }
                Err(why) => break why,
            }
        };
        self.report.walked_bytes += walker.read_bytes;
        if last.is_some() {
            self.unwitnessed = last;
        }
        self.walked.push(Walked { spare, facts });
        Ok(why)
    }

    /// Whether a valid header says that the writer had gone on in this segment.
    fn has_first_unit(&self, next: &Spare) -> Result<bool, StorageError> {
        Ok(self.header_at(next, HEADER_LEN_BYTES)?.is_some())
    }

    fn header_at(&self, spare: &Spare, offset: u32) -> Result<Option<UnitHeader>, StorageError> {
        let mut header = [0; HEADER_LEN];
        let read = spare.file.read_at(offset.into(), &mut header);
        read.map_err(|error| StorageError::io("read", &spare.name, error))?;
        let place = Place {
            segment: spare.id,
            offset,
        };
        let decoded = UnitHeader::decode(&header, &self.identity.unit_salt);
        Ok(decoded
            .ok()
            .and_then(|(header, _)| (header.place == place).then_some(header)))
    }

    /// Tells a write that was cut short from damage.
    fn judge(&mut self, end: Expected, why: FormatError) -> Result<(), LogOpenError> {
        let at = end.place;
        let index = self.walked.len() - 1;
        let Some(active) = self.walked.last() else {
            return Ok(());
        };
        let active = active.spare.clone();
        let damaged = || {
            let error = StorageError::damaged(&active.name, at.offset.into(), why);
            Err(LogOpenError::from(error))
        };
        if let Some(clean_end) = self.clean_end() {
            self.unwitnessed = None;
            return match clean_end == at && active.zeroed == at.offset {
                true => Ok(()),
                false => damaged(),
            };
        }
        let witnesses = [
            self.floor.as_ref().map(|floor| floor.end),
            self.manifest.checkpoint.map(|checkpoint| checkpoint.place),
        ];
        let floor = witnesses.into_iter().flatten().max();
        if floor.is_some_and(|floor| floor > at) {
            return damaged();
        }
        // A header at X itself only says that all in front of it was durable, and so it was walked:
        // unless it continues something else than what was found.
        if let Some(header) = self.header_at(&active, at.offset)? {
            let continues = header.first_position == end.position
                && header.previous == end.mark.checksum
                && header.epoch >= end.mark.epoch
                && header.committed_us >= end.mark.committed_us;
            if !continues {
                return damaged();
            }
        }
        let tail = self.scan(&active, at.offset)?;
        let spare = self.spare.clone();
        let beyond = match &spare {
            Some(spare) => self.scan(spare, HEADER_LEN_BYTES)?,
            None => Some(0),
        };
        let (Some(tail), Some(beyond)) = (tail, beyond) else {
            return damaged();
        };
        let unit_len_max = wide(UNIT_LEN_BYTES_MAX) + u64::from(self.identity.unit_align);
        // A unit is written in one place only. But a disk that loses the blocks which it is writing
        // may have lost some where the spare was being filled.
        let loses_blocks = self.identity.unit_align > UNIT_ALIGN_MIN;
        let both = tail > 0 && beyond > 0 && !loses_blocks;
        if both || tail.max(beyond) > unit_len_max {
            return damaged();
        }
        if tail > 0 {
            self.torn.push(Torn {
                segment: index,
                offset: at.offset,
                len: tail,
            });
        }
        if beyond > 0 {
            self.torn.push(Torn {
                segment: index + 1,
                offset: HEADER_LEN_BYTES,
                len: beyond,
            });
        }
        if floor == Some(at) {
            self.unwitnessed = None;
        }
        Ok(())
    }

    /// How many bytes from a place on are not just zeros; none if there is a valid unit header
    /// behind the place.
    fn scan(&self, spare: &Spare, from: u32) -> Result<Option<u64>, StorageError> {
        let from = u64::from(from);
        let limit = (from + 2 * wide(UNIT_LEN_BYTES_MAX)).min(spare.zeroed.into());
        let align = u64::from(self.identity.unit_align);
        let mut walker = Walker::new(
            &self.identity,
            Arc::clone(&spare.file),
            Arc::clone(&spare.name),
            limit,
        );
        let mut used = 0;
        let mut offset = from;
        while offset < limit {
            // Pieces overlap by a header, so that none is cut in two.
            let window = walker.window(offset, READ_BYTES)?;
            if let Some(last) = last_used(window) {
                used = offset - from + wide(last) + 1;
                let step = usize::try_from(align).unwrap_or(HEADER_LEN);
                let skipped = usize::try_from(offset.next_multiple_of(align) - offset).unwrap_or(0);
                for at in (skipped..=last).step_by(step) {
                    let place = Place {
                        segment: spare.id,
                        offset: u32::try_from(offset + wide(at)).unwrap_or(u32::MAX),
                    };
                    let bytes = window.get(at..).unwrap_or_default();
                    let header = UnitHeader::decode(bytes, &self.identity.unit_salt);
                    let witness = header.is_ok_and(|(header, _)| header.place == place);
                    if witness && u64::from(place.offset) > from {
                        return Ok(None);
                    }
                }
            }
            let len = wide(window.len());
            if offset + len >= limit || window.len() <= HEADER_LEN {
                break;
            }
            offset += len - wide(HEADER_LEN);
        }
        Ok(Some(used))
    }
}

/// Where the last byte is that is not zero. Zeros are compared piece by piece, for there are many.
fn last_used(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = bytes.len();
    for piece in bytes.rchunks(ZEROS.len()) {
        end -= piece.len();
        if !ZEROS.starts_with(piece) {
            let last = piece.iter().rposition(|byte| *byte != 0);
            return last.map(|last| end + last);
        }
    }
    None
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::last_used;

    #[test]
    fn the_last_byte_that_is_not_zero_is_found_wherever_it_stands() {
        let mut bytes = vec![0; 10_000];
        assert_eq!(last_used(&bytes), None);
        for at in [0, 1, 1807, 1808, 5903, 5904, 9999] {
            bytes[at] = 1;
            assert_eq!(last_used(&bytes), Some(at));
            assert_eq!(last_used(&bytes[..=at]), Some(at));
        }
        assert_eq!(last_used(&[]), None);
    }
}
