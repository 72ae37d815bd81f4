//! What a repair finds and leaves when more than segments is damaged, and whenever it is cut short:
//! the store is as it was, or repaired, and nothing is lost that was not lost before.

mod again;
mod cuts;
mod found;
mod named;
mod stale;

use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use crate::disk::{Disk, MemoryDisk, SimulatedHost};
use crate::format::manifest::{ManifestData, SealedSegment};
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::{Place, StateRecord, UnitHeader};
use crate::log::salvage::mend;
use crate::log::tests::{commit, idle_request, name_of, names, shown, unit};
use crate::log::{
    FileRole, JudgedUnit, Log, LogOpenError, LogOptions, LogVerification, Opened, RewriteJudge,
    StorageError, UnitFate,
};
use crate::model::{Lineage, Position};

const LEN: u64 = 900;
const EVENTS: u64 = 25;
/// The segment that is written.
const LIVE: u32 = 3;

fn open_on(disk: Arc<dyn Disk>) -> Result<Opened, LogOpenError> {
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        zero_fill: false,
        ..LogOptions::default()
    };
    Log::open(disk, Arc::new(SimulatedHost::new(7)), options, true)
}

fn open(disk: &MemoryDisk) -> Opened {
    open_on(Arc::new(disk.clone())).unwrap()
}

/// A unit that was written.
#[derive(Clone, Copy, Debug)]
struct UnitAt {
    place: Place,
    len: u32,
    first: Position,
}

impl UnitAt {
    /// Its bytes.
    fn range(&self) -> Range<u32> {
        self.place.offset..self.place.offset + self.len
    }
}

/// Writes a unit with events, a request without any, and a state record.
fn write(opened: &mut Opened, events: u64) -> UnitAt {
    let first = opened.log.end();
    let mut next = unit(&opened.log, first, events, LEN);
    next.end_append(idle_request(first.0.into()));
    for key in [first.0, 0] {
        next.push_state(StateRecord {
            space: 1,
            key: key.to_le_bytes().as_slice().into(),
            value: Some(first.0.to_le_bytes().as_slice().into()),
        });
    }
    let (place, len) = commit(opened, next);
    UnitAt { place, len, first }
}

/// What a log has, asked of a copy that is opened for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    end: Position,
    events: Vec<u64>,
    requests: Vec<Uuid>,
    states: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Content {
    fn of(disk: &MemoryDisk) -> Self {
        let log = open(&disk.snapshot()).log;
        let mut requests = Vec::new();
        let mut visit = |unit: crate::log::Unit| {
            let appends = unit.trailer.appends.iter();
            let found = appends.filter_map(|append| append.request.as_ref());
            requests.extend(found.map(|request| request.id));
            Ok(())
        };
        log.units(Position::START, &mut visit).unwrap();
        let states = log.states(1, b"").into_iter();
        Self {
            end: log.end(),
            events: shown(&log, Position::START..log.end(), LEN),
            requests,
            states: states
                .map(|(key, value)| (key.to_vec(), value.to_vec()))
                .collect(),
        }
    }
}

/// A log with two sealed segments, a full one, and one that is written, which the newest manifest
/// alone names. The floor is from before all of them, or as new as the log.
struct Sample {
    disk: MemoryDisk,
    units: Vec<UnitAt>,
    lineage: Lineage,
    end: Position,
}

impl Sample {
    fn new(has_floor: bool) -> Self {
        let disk = MemoryDisk::new();
        // Several writers have had it.
        (0..3).for_each(|_| drop(open(&disk)));
        let mut opened = open(&disk);
        let log = opened.log.clone();
        let mut units = Vec::new();
        while log.manifest().current().sealed.len() < 2 {
            units.push(write(&mut opened, EVENTS));
            log.keeper_step().unwrap();
        }
        while log.manifest().current().unsealed.len() < 2 {
            log.keeper_step().unwrap();
        }
        let written = |units: &[UnitAt]| units.iter().filter(|it| it.place.segment == LIVE).count();
        while written(&units) < 4 {
            units.push(write(&mut opened, EVENTS));
        }
        if has_floor {
            log.shared.write_floor(false).unwrap();
        }
        Self {
            units,
            lineage: log.identity().lineage,
            end: log.end(),
            disk: disk.snapshot(),
        }
    }

    fn of_segment(&self, segment: u32) -> Vec<UnitAt> {
        let units = self.units.iter().copied();
        units.filter(|unit| unit.place.segment == segment).collect()
    }

    /// Flips a bit in the middle of a unit of a segment.
    fn flip(&self, disk: &MemoryDisk, segment: u32, index: usize) {
        let unit = self.of_segment(segment)[index];
        let bit = u64::from(unit.place.offset + unit.len / 2) * 8;
        disk.flip_bit(&name_of(segment), bit).unwrap();
    }
}

fn newest_manifest(disk: &MemoryDisk) -> String {
    names(disk, "manifest").into_iter().max().unwrap()
}

/// Damages both copies of the newest manifest.
fn damage_manifest(disk: &MemoryDisk) {
    let newest = newest_manifest(disk);
    let len = disk.open(&newest).unwrap().len().unwrap();
    for at in [30, len / 2 + 30] {
        disk.flip_bit(&newest, at * 8).unwrap();
    }
}

fn repair(disk: &dyn Disk, stamp: &str) -> Result<Vec<u64>, LogOpenError> {
    let host = SimulatedHost::new(9);
    let report = || vec![("report.txt".to_owned(), b"lost".to_vec())];
    let mended = mend(disk, &host, stamp, &mut |_| report())?;
    Ok(positions(&mended.examined.lost))
}

fn positions(lost: &[crate::log::LostRange]) -> Vec<u64> {
    let ranges = lost.iter();
    ranges.flat_map(|lost| lost.first.0..lost.end.0).collect()
}

fn is_whole_but_for_tables(found: &LogVerification) -> bool {
    let mut damaged = found.files.iter().filter(|file| file.damage.is_some());
    found.refused.is_none() && damaged.all(|file| file.role == FileRole::Table)
}

fn manifest_of(disk: &MemoryDisk) -> ManifestData {
    let newest = newest_manifest(disk);
    ManifestData::decode(&disk.map(&newest).unwrap()).unwrap()
}

/// The headers of the units of a sealed segment.
pub(super) fn headers(disk: &MemoryDisk, entry: &SealedSegment) -> Vec<UnitHeader> {
    let salt = open(&disk.snapshot()).log.identity().unit_salt;
    let bytes = disk.map(&entry.file_name().to_string()).unwrap();
    let mut headers = Vec::new();
    let mut at = HEADER_LEN_BYTES;
    while at < entry.units_end() {
        let (header, _) =
            UnitHeader::decode(&bytes[usize::try_from(at).unwrap()..], &salt).unwrap();
        at += len_of(&header);
        headers.push(header);
    }
    headers
}

/// With padding.
pub(super) fn len_of(header: &UnitHeader) -> u32 {
    u32::try_from(header.unpadded_len().next_multiple_of(8)).unwrap()
}

/// Takes every third event.
struct Thirds;

impl RewriteJudge for Thirds {
    fn judge(&mut self, unit: &JudgedUnit<'_>) -> Result<UnitFate, StorageError> {
        let positions = unit.records.iter().map(|(position, ..)| position);
        let goes = |position: &Position| position.0.is_multiple_of(3);
        let keys = || vec![(1, "key".into())];
        Ok(UnitFate {
            removed: positions.map(|at| goes(at).then(keys)).collect(),
            states: vec![true; unit.trailer.states.len()],
        })
    }

    fn go_on(&mut self, _: u64) -> bool {
        true
    }
}

/// A log in which a segment was written again, that segment, and the manifest which says so first.
pub(super) fn rewritten() -> (MemoryDisk, SealedSegment, String) {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk);
    let log = opened.log.clone();
    while log.manifest().current().sealed_end().0 < 2 * crate::format::footer::LEAF_EVENTS {
        write(&mut opened, EVENTS);
        log.keeper_step().unwrap();
    }
    let end = log.manifest().current().sealed_end();
    let update = |data: &mut ManifestData| data.indexed_to = end;
    log.manifest().update(update).unwrap();
    let (segment, _) = log.rewritable()[1];
    assert!(log.rewrite(segment, 1, &mut Thirds).unwrap().rewritten);
    let manifest = log.manifest().current();
    let mut sealed = manifest.sealed.iter();
    let entry = sealed.find(|one| one.id == segment).unwrap().clone();
    (disk.snapshot(), entry, newest_manifest(&disk))
}
