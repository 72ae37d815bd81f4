//! What is known of a damaged log before its segments are read: what its small files say, and where
//! no manifest is whole, what the segments say of themselves.

use crate::disk::Disk;
use crate::format::FormatError;
use crate::format::floor::{FILE_LEN_BYTES, Floor};
use crate::format::footer::{CreatedRange, FIXED_LEN_BYTES, Footer, Mark};
use crate::format::manifest::{ManifestData, Rewrite, SealedSegment};
use crate::format::names::FileName;
use crate::format::segment::{HEADER_LEN_BYTES, SegmentHeader, SegmentKind};
use crate::format::store::{self, Identity};
use crate::format::unit::{HEADER_LEN, UnitHeader};
use crate::log::error::{LogOpenError, StorageError};
use crate::log::file::read_file;
use crate::log::manifest::read_manifest;
use crate::log::recovery::newest_generation;
use crate::log::seal::digest_of;
use crate::log::sealed::read_exact;
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
        let newest = newest_generation(files);
        let manifest = match newest {
            Some(generation) => read_manifest(disk, generation),
            None => Err(StorageError::Missing {
                file: "manifest".into(),
                len_bytes: 0,
            }),
        };
        let lost = |floor: &Floor| newest.is_none_or(|newest| floor.generation > newest);
        let manifest = match (manifest, floor.as_ref().filter(|floor| lost(floor))) {
            (Ok(_), Some(floor)) => Err(StorageError::Missing {
                file: FileName::Manifest(floor.generation).to_string().into(),
                len_bytes: 0,
            }),
            (manifest, _) => manifest,
        };
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

    /// The position up to which there were events, whatever is found of them.
    pub(super) fn known_end(&self) -> Position {
        let manifest = &self.manifest;
        let floor = self.floor.as_ref().map(|floor| floor.position);
        let checkpoint = manifest.checkpoint.map(|checkpoint| checkpoint.position);
        let known = [Some(manifest.indexed_to), floor, checkpoint];
        known.into_iter().flatten().max().unwrap_or_default()
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
    let mut unsealed = Vec::new();
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
            None if number == 0 => unsealed.push(id),
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
    unsealed.sort_unstable();
    unsealed.retain(|id| sealed.iter().all(|sealed| sealed.id < *id));
    generation = generation.max(floor.map_or(0, |floor| floor.generation));
    let epochs = sealed.iter().map(|sealed| sealed.mark.epoch);
    let epoch = epochs.chain(floor.map(|floor| floor.epoch)).max();
    ManifestData {
        generation,
        epoch: epoch.unwrap_or(0).saturating_add(1),
        next_segment,
        next_table,
        sealed: with_missing(sealed, |next| mark_before(disk, identity, next)),
        unsealed,
        ..ManifestData::default()
    }
}

/// The last unit in front of a segment, as far as the first unit in it says.
fn mark_before(disk: &dyn Disk, identity: &Identity, next: &SealedSegment) -> Option<Mark> {
    let name = next.file_name().to_string();
    let file = disk.open_to_read(&name).ok()?;
    let bytes = read_exact(&*file, &name, HEADER_LEN_BYTES.into(), HEADER_LEN).ok()?;
    let (header, _) = UnitHeader::decode(&bytes, &identity.unit_salt).ok()?;
    Some(Mark {
        checksum: header.previous,
        epoch: header.epoch,
        committed_us: header.committed_us,
    })
}

/// Puts an entry where a segment must have been, so that the one behind it continues it.
fn with_missing(
    found: Vec<SealedSegment>,
    mark_before: impl Fn(&SealedSegment) -> Option<Mark>,
) -> Vec<SealedSegment> {
    let mut all = Vec::<SealedSegment>::new();
    for next in found {
        let end = all
            .last()
            .map_or(Position::START, SealedSegment::end_position);
        let id = all.last().map_or(0, |last| last.id + 1);
        if next.first_position > end && id < next.id {
            let mark = all.last().map_or(Mark::START, |last| last.mark);
            let mark = mark_before(&next).unwrap_or(mark);
            all.push(SealedSegment {
                id,
                first_position: end,
                events: u32::try_from(next.first_position.0 - end.0).unwrap_or(u32::MAX),
                len_bytes: 0,
                footer_offset: HEADER_LEN_BYTES,
                created: CreatedRange::EMPTY,
                mark,
                digest: [0; 32],
                rewrite: None,
            });
        }
        all.push(next);
    }
    all
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
