//! Repairing a damaged log: what is sound stays, under the same positions and revisions; what is
//! not is taken out, as a scavenge takes out events that nobody can read any more.
//!
//! # What a hole is
//!
//! Positions never move, so a lost event leaves its number behind. The format has a form for that
//! already: a segment that was written again, whose units say which of their events are left. So
//! every damaged segment is written to a new file without its damaged events. Of the segments that
//! are not sealed all are, if one of them is damaged, and the log goes on in a new one. What is
//! known to have been acknowledged but is not there at all (the floor file says so) is a hole at
//! the end: its positions are not given out a second time. A repaired store needs no program that
//! knows of repairs.
//!
//! # What is kept
//!
//! Nothing is overwritten. The damaged files get another name, `damaged-<when>-<name>`, beside a
//! report of what is lost; nothing of Annal ever reads or removes them again. The new files are
//! written, synced and read back first; then the old ones are renamed; then a manifest names the
//! new ones. Who is stopped in between finds the store as damaged as before, and the next repair
//! gives the old names back first. A damaged manifest keeps its name until there is a newer one:
//! without it the one before would be believed.
//!
//! # What follows from it
//!
//! The tables of the index that cover lost events are made again from what is left. So lists count
//! without the lost events, and where the last events of a stream are lost, its revisions go on
//! behind the last one that is left. For this reason the store gets another lineage if any event is
//! lost: tokens from before the repair are refused. It has it before anything is written anew:
//! where the manifest is lost too, what a repair that was cut short has written is taken for the
//! log, and nothing of it is missed any more. State records of lost units are as they were before,
//! unless the state file has them.

use super::known::Known;
use super::scan::{HalfUnit, Piece};
use super::{Examined, Segment, Visitor, examine_known, show};
use crate::disk::{Disk, Host};
use crate::format::checksum::checksum;
use crate::format::floor::Floor;
use crate::format::footer::Mark;
use crate::format::manifest::{ManifestData, Rewrite, SealedSegment, StateEntry, TableEntry};
use crate::format::names::FileName;
use crate::format::rewrite::{RemovedKeysWriter, RewrittenTrailer};
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::state::StateWriter;
use crate::format::store::Identity;
use crate::format::unit::{AppendEntry, HEADER_LEN, Place, Trailer};
use crate::log::error::{LogOpenError, StorageError};
use crate::log::facts::ContentDigests;
use crate::log::facts::RecordEntry;
use crate::log::file::write_new;
use crate::log::manifest::write_manifest;
use crate::log::rewrite::{Output, Target, kept_runs};
use crate::log::seal::ContentHasher;
use crate::log::sealed::read_exact;
use crate::log::segment::{CAPACITY_MIN, create_segment};
use crate::log::states::{IdleRequests, StateMap, States};
use crate::log::walk::{Expected, READ_BYTES, WalkedUnit};
use crate::model::{Lineage, Position};

/// What a repair did.
#[derive(Debug)]
pub(crate) struct Mended {
    /// What was wrong.
    pub(crate) examined: Examined,
    /// The names under which damaged files are kept.
    pub(crate) kept: Vec<String>,
    /// The lineage before and after, if it is another one now.
    pub(crate) lineage: Option<(Lineage, Lineage)>,
}

/// Is shown what was found, and gives files by their names.
pub(crate) type Reporter<'a> = &'a mut dyn FnMut(&mut Examined) -> Vec<(String, Vec<u8>)>;

/// How the names of what a repair has put aside begin.
const ASIDE: &str = "damaged-";

/// Takes out what is damaged. The directory is locked. `report` is shown what was found and gives
/// the files, by their names behind the prefix, that are to be kept beside what is put aside.
///
/// # Errors
/// [`LogOpenError`]; then the store is as it was, or the next call goes on.
pub(crate) fn mend(
    disk: &dyn Disk,
    host: &dyn Host,
    stamp: &str,
    report: Reporter<'_>,
) -> Result<Mended, LogOpenError> {
    let (files, known) = loop {
        let files = list(disk)?;
        let known = Known::read(disk, &files)?;
        if !give_names_back(disk, &files, &known)? {
            break (files, known);
        }
    };
    let states = known.states(disk);
    let mut examined = examine_known(disk, &known, states.0)?;
    let aside = |name: &str| format!("{ASIDE}{stamp}-{name}");
    for (name, bytes) in report(&mut examined) {
        write_new(disk, &aside(&name), &bytes)?;
    }
    let lineage = match examined.lost.is_empty() {
        true => None,
        false => Some(new_lineage(disk, host, &known.identity)?),
    };
    let mut mender = Mender::new((disk, &files), &known, &examined, states);
    let end = show(disk, &known, true, &mut mender)?;
    let next = mender.manifest(&end)?;
    let mut old = mender.replaced;
    let is_there = |name: &String| files.iter().any(|(file, _)| file == name);
    old.retain(is_there);
    old.extend(unnamed(&known, &files));
    let mut kept = Vec::new();
    let mut put_aside = |name: &str| {
        let to = aside(name);
        let renamed = disk.rename(name, &to);
        kept.push(to);
        renamed.map_err(|error| StorageError::io("rename", name, error))
    };
    for name in old {
        put_aside(&name)?;
    }
    sync(disk)?;
    write_manifest(disk, &next)?;
    if let Some(StorageError::Damaged { file, .. } | StorageError::Io { file, .. }) =
        &known.manifest_damage
    {
        put_aside(file)?;
    }
    write_floor(disk, &known, &next, &end)?;
    Ok(Mended {
        examined,
        kept,
        lineage,
    })
}

/// Where the manifest is lost, segments of which another file is taken, as an earlier repair may
/// have put them aside and got them back: whoever opens the store would remove them.
fn unnamed(known: &Known, files: &[(String, u64)]) -> Vec<String> {
    if known.manifest_damage.is_none() {
        return Vec::new();
    }
    let is_unnamed = |name: &&String| match FileName::parse(name) {
        Some(file @ (FileName::Segment(_) | FileName::Rewritten { .. })) => {
            known.manifest.files().all(|named| named != file)
        }
        _ => false,
    };
    let names = files.iter().map(|(name, _)| name);
    names.filter(is_unnamed).cloned().collect()
}

fn list(disk: &dyn Disk) -> Result<Vec<(String, u64)>, StorageError> {
    let files = disk.list();
    files.map_err(|error| StorageError::io("list", "the data directory", error))
}

fn sync(disk: &dyn Disk) -> Result<(), StorageError> {
    let synced = disk.sync_directory();
    synced.map_err(|error| StorageError::io("sync", "the data directory", error))
}

/// What a file was called before a repair put it aside.
fn before_aside(name: &str) -> Option<&str> {
    let (_, before) = name.strip_prefix(ASIDE)?.split_once('-')?;
    Some(before)
}

/// Undoes the renames of a repair that was cut short: of files that the manifest still names.
/// Whether there were any: then what is known may be another.
fn give_names_back(
    disk: &dyn Disk,
    files: &[(String, u64)],
    known: &Known,
) -> Result<bool, StorageError> {
    let named: Vec<String> = match known.manifest_damage {
        None => known
            .manifest
            .files()
            .map(|name| name.to_string())
            .collect(),
        Some(_) => Vec::new(),
    };
    let mut any = false;
    for (name, _) in files {
        let Some(before) = before_aside(name) else {
            continue;
        };
        let is_lost = known.manifest_damage.is_some() && FileName::parse(before).is_some();
        let is_missing = files.iter().all(|(file, _)| file != before);
        if is_missing && (is_lost || named.iter().any(|named| named == before)) {
            let renamed = disk.rename(name, before);
            renamed.map_err(|error| StorageError::io("rename", name, error))?;
            any = true;
        }
    }
    if any {
        sync(disk)?;
    }
    Ok(any)
}

fn new_lineage(
    disk: &dyn Disk,
    host: &dyn Host,
    identity: &Identity,
) -> Result<(Lineage, Lineage), StorageError> {
    let next = Identity {
        lineage: Lineage(host.random_uuid()),
        ..*identity
    };
    let (draft, store) = (
        FileName::StoreDraft.to_string(),
        FileName::Store.to_string(),
    );
    write_new(disk, &draft, &next.encode())?;
    let renamed = disk.rename(&draft, &store);
    renamed.map_err(|error| StorageError::io("rename", &draft, error))?;
    sync(disk)?;
    Ok((identity.lineage, next.lineage))
}

fn write_floor(
    disk: &dyn Disk,
    known: &Known,
    manifest: &ManifestData,
    end: &Expected,
) -> Result<(), StorageError> {
    let moved = manifest.unsealed.first().copied().unwrap_or_default();
    let place = match moved > end.place.segment {
        // All of it is sealed now.
        true => Place {
            segment: moved,
            offset: HEADER_LEN_BYTES,
        },
        false => end.place,
    };
    let floor = Floor {
        number: known.floor.as_ref().map_or(0, |floor| floor.number + 1),
        generation: manifest.generation,
        position: end.position,
        end: place,
        epoch: manifest.epoch,
        clean: false,
    };
    let (offset, slot) = floor.encode();
    let at = usize::try_from(offset).unwrap_or(0);
    let mut bytes = vec![0; crate::format::floor::FILE_LEN_BYTES];
    if let Some(into) = bytes.get_mut(at..at + slot.len()) {
        into.copy_from_slice(&slot);
    }
    let draft = format!("{ASIDE}floor.tmp");
    let name = FileName::Floor.to_string();
    write_new(disk, &draft, &bytes)?;
    let renamed = disk.rename(&draft, &name);
    renamed.map_err(|error| StorageError::io("rename", &draft, error))?;
    sync(disk)
}

/// Writes the damaged segments again.
struct Mender<'a> {
    disk: &'a dyn Disk,
    known: &'a Known,
    examined: &'a Examined,
    files: &'a [(String, u64)],
    output: Option<Output<'a>>,
    content: ContentHasher,
    /// The units from here on have state records that `states` does not hold yet.
    states_from: Place,
    states: StateMap,
    idle: IdleRequests,
    sealed: Vec<SealedSegment>,
    /// Files whose place others take.
    replaced: Vec<String>,
    /// The segment that is being written again.
    next: Option<SealedSegment>,
}

impl<'a> Mender<'a> {
    fn new(
        (disk, files): (&'a dyn Disk, &'a [(String, u64)]),
        known: &'a Known,
        examined: &'a Examined,
        (states_from, states): (Place, StateMap),
    ) -> Self {
        Self {
            disk,
            known,
            examined,
            files,
            output: None,
            content: ContentHasher::new(&ContentDigests::default(), Position::START),
            states_from,
            states,
            idle: IdleRequests::default(),
            sealed: Vec::new(),
            replaced: Vec::new(),
            next: None,
        }
    }

    fn is_rewritten(&self, segment: &Segment) -> bool {
        match segment.entry {
            Some(_) => self.examined.damaged.contains(&segment.id),
            None => self.examined.unsealed_too,
        }
    }

    /// A number that no file of the segment has.
    fn number(&self, segment: &Segment) -> u32 {
        let numbers = self.files.iter().filter_map(|(name, _)| {
            match FileName::parse(before_aside(name).unwrap_or(name)) {
                Some(FileName::Rewritten {
                    segment: id,
                    number,
                }) if id == segment.id => Some(number),
                _ => None,
            }
        });
        numbers.max().unwrap_or(0) + 1
    }

    /// The keys of events that were removed earlier, if they are whole.
    fn removed_keys(segment: &Segment) -> Vec<u8> {
        let whole = || {
            let entry = segment.entry.as_ref()?;
            let (rewrite, spare) = (entry.rewrite?, segment.spare.as_ref().ok()?);
            let len = usize::try_from(rewrite.keys_len).ok()?;
            let at = entry.units_end().into();
            let keys = read_exact(&*spare.file, &segment.name, at, len).ok()?;
            (checksum(&keys) == rewrite.keys_checksum).then_some(keys)
        };
        whole().unwrap_or_else(|| RemovedKeysWriter::default().encode())
    }

    fn add(&mut self, segment: &Segment, unit: &WalkedUnit<'_>) -> Result<(), StorageError> {
        for (position, bytes) in unit.positions().zip(unit.record_bytes()) {
            self.content.skip_to(position);
            self.content.push(bytes, 1);
        }
        // Behind the sealed segments they are found by whoever opens the store.
        if segment.entry.is_some() || self.output.is_some() {
            self.idle.follow(&unit.header, &unit.trailer.appends);
            if unit.header.place >= self.states_from {
                self.states.apply(unit.trailer.states.clone());
            }
        }
        let Some(output) = &mut self.output else {
            return Ok(());
        };
        let (mut kept, mut states) = (std::iter::repeat(true), std::iter::repeat(true));
        output.unit(unit, (&mut kept, &mut states))?;
        if output.buffer.len() >= READ_BYTES {
            output.flush()?;
        }
        Ok(())
    }

    /// What the manifest says behind the repair.
    fn manifest(&mut self, end: &Expected) -> Result<ManifestData, LogOpenError> {
        let mut next = self.known.manifest.clone();
        next.generation += 1;
        next.epoch = next.epoch.saturating_add(1);
        next.sealed = std::mem::take(&mut self.sealed);
        next.checkpoint = None;
        if self.examined.unsealed_too {
            let identity = &self.known.identity;
            let made = create_segment(self.disk, identity, next.next_segment, CAPACITY_MIN)?;
            next.unsealed = vec![made.id];
            next.next_segment = made.id + 1;
        }
        self.name_tables(&mut next, end.position);
        next.state = self.write_state(&next)?;
        Ok(next)
    }

    /// Tables that cover lost events are named under new numbers, which no file has: they are made
    /// again when the store is open. So is what of the sealed segments has no table yet.
    fn name_tables(&self, next: &mut ManifestData, end: Position) {
        let lost = &self.examined.lost;
        let covers = |table: &TableEntry| {
            lost.iter()
                .any(|lost| lost.first < table.end && table.first < lost.end)
        };
        let mut number = next.next_table;
        for table in next.tables.iter_mut().filter(|table| covers(table)) {
            table.id = number;
            number += 1;
        }
        let to = next.sealed_end().min(end);
        let from = next.tables.last().map_or(Position::START, |last| last.end);
        if from < to {
            next.tables.push(TableEntry {
                id: number,
                level: 0,
                first: from,
                end: to,
                len_bytes: 0,
                digest: [0; 32],
            });
            number += 1;
            next.indexed_to = to;
        }
        next.next_table = number;
    }

    /// The state records as of the end of the sealed segments, in a file of their own.
    fn write_state(&mut self, next: &ManifestData) -> Result<Option<StateEntry>, StorageError> {
        let before = next.state;
        let states = States::new(std::mem::take(&mut self.states));
        let mut any = !self.idle.requests().is_empty();
        let numbers = self
            .files
            .iter()
            .filter_map(|(name, _)| match FileName::parse(name) {
                Some(FileName::State(number)) => Some(number),
                _ => None,
            });
        let newest = numbers.chain(before.map(|before| before.number)).max();
        let number = newest.unwrap_or(0) + 1;
        let mut writer = StateWriter::new(number);
        states.for_each(|space, key, value| {
            writer.state(space, key, value);
            any = true;
        });
        if !any && before.is_none() {
            return Ok(None);
        }
        let bytes = writer.finish(self.idle.requests());
        if any {
            write_new(self.disk, &FileName::State(number).to_string(), &bytes)?;
        }
        let last = next.sealed.last();
        let first = next.sealed.first().map(|first| first.id);
        let active = next.unsealed.first().copied().unwrap_or_default();
        Ok(Some(StateEntry {
            since: before.map_or(first.unwrap_or(active), |before| before.since),
            number,
            len_bytes: if any {
                u64::try_from(bytes.len()).unwrap_or(0)
            } else {
                0
            },
            place: Place {
                segment: active,
                offset: HEADER_LEN_BYTES,
            },
            position: next.sealed_end(),
            mark: last.map_or(Mark::START, |last| last.mark),
        }))
    }
}

impl Visitor for Mender<'_> {
    fn begin(&mut self, segment: &Segment, behind: &Expected) -> Result<(), StorageError> {
        self.content.skip_to(behind.position);
        if !self.is_rewritten(segment) {
            return Ok(());
        }
        let entry = SealedSegment {
            id: segment.id,
            first_position: behind.position,
            events: 0,
            len_bytes: 0,
            footer_offset: 0,
            created: crate::format::footer::CreatedRange::EMPTY,
            mark: behind.mark,
            digest: [0; 32],
            rewrite: Some(Rewrite {
                number: self.number(segment),
                keys_len: 0,
                keys_checksum: 0,
            }),
        };
        let target = Target {
            disk: self.disk,
            identity: &self.known.identity,
            key: entry.key(),
            first: behind.position,
            before: behind.mark,
            behind: behind.mark,
        };
        let name = entry.file_name().to_string();
        self.output = Some(Output::create(&target, &name)?);
        self.next = Some(entry);
        Ok(())
    }

    fn piece(&mut self, segment: &Segment, piece: Piece<'_>) -> Result<(), StorageError> {
        match piece {
            Piece::Whole(unit) => self.add(segment, unit),
            Piece::Half(half) => with_sound(half, |unit| self.add(segment, unit)),
            Piece::Gap(gap) => {
                self.content.skip_to(gap.end);
                Ok(())
            }
        }
    }

    fn end(&mut self, segment: &Segment, next: &Expected) -> Result<(), StorageError> {
        let end = match &segment.entry {
            Some(entry) => entry.end_position(),
            None => next.position,
        };
        self.content.skip_to(end);
        let digests = self.content.take();
        let (Some(mut output), Some(entry)) = (self.output.take(), self.next.take()) else {
            self.sealed.extend(segment.entry.clone());
            return Ok(());
        };
        // The unit behind continues the last one as it was written first.
        let mark = segment.entry.as_ref().map_or(next.mark, |it| it.mark);
        output.set_mark_behind(mark);
        let keys = Self::removed_keys(segment);
        let sealed = output.finish(end, &keys, &digests, entry)?;
        self.replaced.push(segment.name.to_string());
        if end == sealed.first_position && segment.entry.is_none() {
            // A spare, or one of which only its header is there: nobody needs it.
            let _stays = self.disk.remove(&sealed.file_name().to_string());
            return Ok(());
        }
        self.sealed.push(SealedSegment {
            events: output.facts.events,
            mark,
            ..sealed
        });
        Ok(())
    }
}

/// Shows what is sound of a unit, as a unit.
fn with_sound(
    half: &HalfUnit,
    show: impl FnOnce(&WalkedUnit<'_>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut bytes = vec![0; HEADER_LEN];
    let mut records = Vec::with_capacity(half.records.len());
    let mut positions = Vec::with_capacity(half.records.len());
    for record in &half.records {
        positions.push(record.position);
        records.push(RecordEntry {
            offset: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            ..record.entry
        });
        bytes.extend_from_slice(&record.bytes);
    }
    let (first, end) = (half.header.first_position, half.header.end_position());
    // Without a trailer nothing is known of its appends but how many events they had together.
    let trailer = half.trailer.clone().unwrap_or_else(|| Trailer {
        appends: vec![AppendEntry {
            records: half.header.records,
            request: None,
        }],
        states: Vec::new(),
    });
    let left = RewrittenTrailer {
        trailer,
        kept: kept_runs(first, end, &positions),
    };
    let unit = WalkedUnit::of_records(half.header, half.mark, (&bytes, records), left);
    show(&unit)
}
