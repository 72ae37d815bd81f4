//! What is known of a damaged log before its segments are read: what its small files say, and where
//! no manifest is whole, what the segments say of themselves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::Disk;
use crate::format::FormatError;
use crate::format::floor::{FILE_LEN_BYTES, Floor};
use crate::format::footer::{CreatedRange, FIXED_LEN_BYTES, Footer, Mark};
use crate::format::manifest::{ManifestData, Rewrite, SealedSegment, StateEntry};
use crate::format::names::FileName;
use crate::format::segment::{HEADER_LEN_BYTES, SegmentHeader, SegmentKind};
use crate::format::store::{self, Identity};
use crate::format::unit::{HEADER_LEN, Place, UnitHeader};
use crate::log::error::{LogOpenError, StorageError};
use crate::log::file::read_file;
use crate::log::manifest::read_manifest;
use crate::log::recovery::{RecoveryReport, Survey, newest_generation, read_state_file};
use crate::log::seal::digest_of;
use crate::log::sealed::read_exact;
use crate::log::states::StateMap;
use crate::model::Position;

/// What is known of a damaged log before its segments are read.
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) manifest: ManifestData,
    /// Why the manifest had to be made anew from the segments, if so.
    pub(super) manifest_damage: Option<StorageError>,
    pub(super) floor: Option<Floor>,
}

impl Known {
    /// Reads the small files, and finds out from the segments what no whole manifest says.
    pub(super) fn read(disk: &dyn Disk, files: &[(String, u64)]) -> Result<Self, LogOpenError> {
        let name = FileName::Store.to_string();
        let store = read_file(
            disk,
            &name,
            u64::try_from(store::FILE_LEN_BYTES).unwrap_or(0),
        )?;
        let identity =
            Identity::decode(&store).map_err(|error| StorageError::damaged(&name, 0, error))?;
        let len = u64::try_from(FILE_LEN_BYTES).unwrap_or(0);
        let floor = read_file(disk, &FileName::Floor.to_string(), len);
        let floor = floor.ok().and_then(|bytes| Floor::decode(&bytes).ok());
        let manifest = newest_manifest(disk, files, &identity, floor.as_ref());
        let (manifest, manifest_damage) = match manifest {
            Ok(manifest) => (manifest, None),
            Err(StorageError::Damaged {
                source: FormatError::Newer(what),
                ..
            }) => return Err(LogOpenError::NewerFormat(what)),
            Err(damage) => {
                let rebuilt = rebuilt_manifest(disk, files, &identity, floor.as_ref());
                (rebuilt, Some(damage))
            }
        };
        Ok(Self {
            identity,
            manifest,
            manifest_damage,
            floor,
        })
    }

    /// What the state file says, and the place from which on the units have to be asked; the start
    /// of the log if there is no whole file.
    pub(super) fn states(&self, disk: &dyn Disk) -> (Place, StateMap) {
        let read = |entry: StateEntry| {
            let (map, _) = read_state_file(disk, &entry).ok()??;
            Some((entry.place, map))
        };
        let start = Place {
            segment: 0,
            offset: 0,
        };
        let nothing = || (start, StateMap::default());
        self.manifest.state.and_then(read).unwrap_or_else(nothing)
    }

    /// The position up to which there were events, whatever is found of them.
    pub(super) fn known_end(&self) -> Position {
        let manifest = &self.manifest;
        let floor = self.floor.as_ref().map(|floor| floor.position);
        let checkpoint = manifest.checkpoint.map(|checkpoint| checkpoint.position);
        let known = [Some(manifest.indexed_to), floor, checkpoint];
        known.into_iter().flatten().max().unwrap_or_default()
    }
}

/// The newest manifest, if nothing tells of a newer one.
fn newest_manifest(
    disk: &dyn Disk,
    files: &[(String, u64)],
    identity: &Identity,
    floor: Option<&Floor>,
) -> Result<ManifestData, StorageError> {
    let missing = |file: Arc<str>| StorageError::Missing { file, len_bytes: 0 };
    let Some(newest) = newest_generation(files) else {
        return Err(missing("manifest".into()));
    };
    let manifest = read_manifest(disk, newest)?;
    let of_generation = |it| missing(FileName::Manifest(it).to_string().into());
    if let Some(floor) = floor.filter(|floor| floor.generation > newest) {
        return Err(of_generation(floor.generation));
    }
    let survey = Survey::new(
        *identity,
        Arc::new(manifest.clone()),
        RecoveryReport::default(),
    );
    survey.check_unnamed(disk, files)?;
    // A segment that was written again goes only when a manifest names what has taken its place.
    let is_there = |name: &str| files.iter().any(|(file, _)| file == name);
    let gone = |entry: &&SealedSegment| !is_there(&entry.file_name().to_string());
    let later = |entry: &SealedSegment| {
        files.iter().any(|(name, len)| match FileName::parse(name) {
            Some(FileName::Rewritten { segment, number }) => {
                let key = (segment, number);
                segment == entry.id && sealed_entry(disk, identity, name, key, *len).is_some()
            }
            _ => false,
        })
    };
    match manifest.sealed.iter().filter(gone).any(later) {
        true => Err(of_generation(newest + 1)),
        false => Ok(manifest),
    }
}

/// A manifest made from what the segments say of themselves.
fn rebuilt_manifest(
    disk: &dyn Disk,
    files: &[(String, u64)],
    identity: &Identity,
    floor: Option<&Floor>,
) -> ManifestData {
    let mut sealed = Vec::<SealedSegment>::new();
    let mut others = BTreeMap::new();
    let (mut next_table, mut next_segment) = (0, 0);
    let mut generation = newest_generation(files).unwrap_or(0);
    for (name, len) in files {
        let (id, number) = match FileName::parse(name) {
            Some(FileName::Segment(id)) => (id, 0),
            Some(FileName::Rewritten { segment, number }) => (segment, number),
            Some(FileName::Table(table)) => {
                next_table = next_table.max(table + 1);
                continue;
            }
            _ => continue,
        };
        next_segment = next_segment.max(id + 1);
        match sealed_entry(disk, identity, name, (id, number), *len) {
            Some(entry) => sealed.push(entry),
            None if number == 0 => drop(others.insert(id, u32::try_from(*len).unwrap_or(u32::MAX))),
            None => {}
        }
    }
    // Of a segment that was written again the last file counts.
    sealed.sort_by_key(SealedSegment::key);
    sealed.dedup_by(|after, before| {
        let same = after.id == before.id;
        if same {
            std::mem::swap(after, before);
        }
        same
    });
    let behind_sealed = |id: &&u32| sealed.iter().all(|sealed| sealed.id < **id);
    let unsealed = others.keys().filter(behind_sealed).copied().collect();
    generation = generation.max(floor.map_or(0, |floor| floor.generation));
    let epochs = sealed.iter().map(|sealed| sealed.mark.epoch);
    let epoch = epochs.chain(floor.map(|floor| floor.epoch)).max();
    ManifestData {
        generation,
        epoch: epoch.unwrap_or(0).saturating_add(1),
        next_segment,
        next_table,
        sealed: with_missing(sealed, &others, |name| first_unit(disk, identity, name)),
        unsealed,
        ..ManifestData::default()
    }
}

/// The first unit of a file, if its header is whole.
fn first_unit(disk: &dyn Disk, identity: &Identity, name: FileName) -> Option<UnitHeader> {
    let name = name.to_string();
    let file = disk.open_to_read(&name).ok()?;
    let bytes = read_exact(&*file, &name, HEADER_LEN_BYTES.into(), HEADER_LEN).ok()?;
    let (header, _) = UnitHeader::decode(&bytes, &identity.unit_salt).ok()?;
    Some(header)
}

/// Puts entries where segments must have been, so that the ones behind them continue them. `others`
/// are the files that do not end like sealed ones, and how long they are.
fn with_missing(
    found: Vec<SealedSegment>,
    others: &BTreeMap<u32, u32>,
    first_unit: impl Fn(FileName) -> Option<UnitHeader>,
) -> Vec<SealedSegment> {
    let mut all = Vec::<SealedSegment>::new();
    for next in found {
        let last = all.last();
        let mut first = last.map_or(Position::START, SealedSegment::end_position);
        let mut mark = last.map_or(Mark::START, |last| last.mark);
        let ids = last.map_or(0, |last| last.id + 1)..next.id;
        if first < next.first_position && !ids.is_empty() {
            let mut missing: Vec<u32> = others.range(ids.clone()).map(|(id, _)| *id).collect();
            if missing.is_empty() {
                missing.push(ids.start);
            }
            let behind = missing.iter().skip(1).map(|id| FileName::Segment(*id));
            let behind = behind.chain([next.file_name()]);
            for (id, behind) in missing.iter().zip(behind) {
                let unit = first_unit(behind);
                let end = match behind == next.file_name() {
                    true => Some(next.first_position),
                    false => unit.map(|unit| unit.first_position),
                };
                let end = end.unwrap_or(first).clamp(first, next.first_position);
                mark = unit.map_or(mark, |unit| Mark {
                    checksum: unit.previous,
                    epoch: unit.epoch,
                    committed_us: unit.committed_us,
                });
                let len = others.get(id).copied().unwrap_or(HEADER_LEN_BYTES);
                all.push(missing_entry(*id, first..end, len, mark));
                first = end;
            }
        }
        all.push(next);
    }
    all
}

/// What is said of a segment of which only the others tell.
fn missing_entry(id: u32, events: Range<Position>, len: u32, mark: Mark) -> SealedSegment {
    SealedSegment {
        id,
        first_position: events.start,
        events: u32::try_from(events.end.0 - events.start.0).unwrap_or(u32::MAX),
        len_bytes: len,
        footer_offset: len,
        created: CreatedRange::EMPTY,
        mark,
        digest: [0; 32],
        rewrite: None,
    }
}

/// What a manifest would say of a sealed segment; none if the file does not end like one.
fn sealed_entry(
    disk: &dyn Disk,
    identity: &Identity,
    name: &str,
    (id, number): (u32, u32),
    len: u64,
) -> Option<SealedSegment> {
    let file = disk.open_to_read(name).ok()?;
    let header_len = usize::try_from(HEADER_LEN_BYTES).ok()?;
    let header = SegmentHeader::decode(&read_exact(&*file, name, 0, header_len).ok()?).ok()?;
    let kind = match header.kind {
        SegmentKind::Written { .. } => 0,
        SegmentKind::Rewritten { number } => number,
    };
    if header.store != identity.store || (header.segment, kind) != (id, number) {
        return None;
    }
    let fixed_at = len.checked_sub(u64::try_from(FIXED_LEN_BYTES).ok()?)?;
    let fixed = read_exact(&*file, name, fixed_at, FIXED_LEN_BYTES).ok()?;
    let tail_len = Footer::tail_len(&fixed).ok()?;
    let tail_at = len.checked_sub(u64::try_from(tail_len).ok()?)?;
    let footer = Footer::decode(&read_exact(&*file, name, tail_at, tail_len).ok()?).ok()?;
    let pages_len = footer.pages.last().map_or(0, |page| page.end);
    let footer_offset = u32::try_from(tail_at).ok()?.checked_sub(pages_len)?;
    let keys_len = footer_offset.checked_sub(footer.end_offset)?;
    let keys_at = footer.end_offset.into();
    let keys = read_exact(&*file, name, keys_at, usize::try_from(keys_len).ok()?).ok()?;
    let rewrite = (number > 0).then(|| Rewrite {
        number,
        keys_len,
        keys_checksum: crate::format::checksum::checksum(&keys),
    });
    Some(SealedSegment {
        id,
        first_position: footer.first_position,
        events: footer.events,
        len_bytes: u32::try_from(len).ok()?,
        footer_offset,
        created: footer.created_range(),
        mark: footer.mark,
        digest: digest_of(&*file, name, len).ok()?,
        rewrite,
    })
}
