//! Places that the disk does not give, as bad sectors: they cost what is in them, whoever reads or
//! repairs, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, ReadOnlyDisk, SimulatedHost};
use crate::log::salvage::{Mended, mend};
use crate::log::tests::salvage::{Sample, open_on, positions, read_all};
use crate::log::tests::{found, name_of, names};
use crate::log::{Log, Opened, StorageError};
use crate::model::Position;

/// What a disk gives or refuses as one, in bytes.
const SECTOR: u32 = 4096;

/// Lets the sector of a file be bad that a place is in, also when the file has another name later.
fn spoil(probe: &ProbeDisk, name: &str, offset: u32) {
    let start = u64::from(offset / SECTOR * SECTOR);
    for name in [name, &format!("damaged-now-{name}")] {
        let fault = Fault::at(Operation::Read).of_file(name).forever();
        probe.fail(fault.touching(start..start + u64::from(SECTOR)));
    }
}

impl Sample {
    fn probed(&self) -> (MemoryDisk, ProbeDisk) {
        let disk = self.disk.snapshot();
        (disk.clone(), ProbeDisk::new(Arc::new(disk)))
    }

    /// A place amid the records of a segment.
    fn amid(&self, segment: u32) -> u32 {
        let units = self.of_segment(segment);
        units[units.len() / 2].records[0].0
    }

    /// The events that are in the sector of a place.
    fn in_sector(&self, segment: u32, offset: u32) -> BTreeSet<u64> {
        let start = offset / SECTOR * SECTOR;
        self.touched(segment, start, start + SECTOR)
    }

    /// The events of all units that are in it: where no footer says where records lie, those behind
    /// a lost header are not found.
    fn of_units_in_sector(&self, segment: u32, offset: u32) -> BTreeSet<u64> {
        let start = offset / SECTOR * SECTOR;
        let units = self.of_segment(segment).into_iter();
        let hit = units.filter(|unit| unit.offset < start + SECTOR);
        let hit = hit.filter(|unit| unit.offset + unit.len > start);
        let events = hit.flat_map(|unit| (unit.first..).take(unit.records.len()));
        events.collect()
    }
}

fn is_unreadable(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { operation, .. } if *operation == "read")
}

/// An open log, in whose first but one segment a sector is bad, and the events that are in it.
fn with_bad_sector(sample: &Sample) -> (Log, BTreeSet<u64>) {
    let (_, probe) = sample.probed();
    let opened = open_on(Arc::new(probe.clone()), false).unwrap();
    let offset = sample.amid(1);
    spoil(&probe, &name_of(1), offset);
    (opened.log, sample.in_sector(1, offset))
}

#[test]
fn a_list_gives_what_stands_in_front_of_a_place_that_cannot_be_read() {
    let sample = Sample::new(9);
    let (log, lost) = with_bad_sector(&sample);
    let first = *lost.first().unwrap();
    let adjacent: Vec<u64> = (0..sample.end).collect();
    let scattered: Vec<u64> = (first % 2..sample.end).step_by(2).collect();
    for mut asked in [adjacent, scattered] {
        let error = loop {
            let list: Vec<Position> = asked.iter().copied().map(Position).collect();
            match log.read_within(&list, usize::MAX) {
                Err(error) => break error,
                Ok((chunk, count)) => assert!(found(&chunk).into_iter().eq(asked.drain(..count))),
            }
        };
        assert!(is_unreadable(&error), "{error:?}");
        assert_eq!(asked.first(), Some(&first));
    }
}

#[test]
fn a_read_gives_what_stands_on_both_sides_of_a_place_that_cannot_be_read() {
    let sample = Sample::new(9);
    let (log, lost) = with_bad_sector(&sample);
    let (first, behind) = (*lost.first().unwrap(), lost.last().unwrap() + 1);
    let end = Position(sample.end);
    let forwards = |from: u64| {
        let mut all = Vec::new();
        let error = loop {
            let next = Position(all.last().map_or(from, |last| last + 1));
            match log.read(next, end, usize::MAX) {
                Ok(chunk) if chunk.runs.is_empty() => break None,
                Ok(chunk) => all.extend(found(&chunk)),
                Err(error) => break Some(error),
            }
        };
        (all, error)
    };
    let (all, error) = forwards(0);
    assert!(all.into_iter().eq(0..first));
    assert!(error.is_some_and(|error| is_unreadable(&error)));
    let (all, error) = forwards(behind);
    assert!(all.into_iter().eq(behind..sample.end) && error.is_none());
    let mut before = sample.end;
    let error = loop {
        match log.read_back(Position(before), 100, usize::MAX) {
            Err(error) => break error,
            Ok(chunk) => {
                let chunk = found(&chunk);
                assert!(chunk.len() <= 100);
                assert!(chunk.iter().copied().eq(chunk[0]..before));
                before = chunk[0];
            }
        }
    };
    assert!(is_unreadable(&error), "{error:?}");
    assert_eq!(before, behind);
}

/// At its end, and where the places of the records are.
#[test]
fn a_footer_that_cannot_be_read_is_done_without_where_nothing_is_written() {
    let sample = Sample::new(9);
    let opened = open_on(Arc::new(sample.disk.snapshot()), true).unwrap();
    let entry = opened.log.manifest().current().sealed[1].clone();
    drop(opened);
    for offset in [entry.footer_offset, entry.len_bytes - 1] {
        let (_, probe) = sample.probed();
        spoil(&probe, &name_of(1), offset);
        let opened = open_on(Arc::new(ReadOnlyDisk::new(Arc::new(probe))), true).unwrap();
        let lost = sample.of_units_in_sector(1, offset);
        let served = |at: &u64| opened.log.read_at(&[Position(*at)]).is_ok();
        let served: Vec<u64> = (0..sample.end).filter(served).collect();
        let missing = (0..sample.end).filter(|at| !served.contains(at));
        assert!(missing.into_iter().all(|at| lost.contains(&at)), "{offset}");
        assert!(served.len() > lost.len());
    }
}

fn mended(probe: &ProbeDisk, lost: &BTreeSet<u64>) -> Mended {
    let host = SimulatedHost::new(9);
    let mut told = BTreeSet::new();
    let mended = mend(probe, &host, "now", &mut |examined| {
        told = positions(&examined.lost);
        Vec::new()
    });
    let mended = mended.unwrap();
    assert_eq!((&told, &positions(&mended.examined.lost)), (lost, lost));
    mended
}

/// The disk is as bad as before.
fn is_whole_without(sample: &Sample, probe: &ProbeDisk, lost: &BTreeSet<u64>) {
    let Opened { log, writer, .. } = open_on(Arc::new(probe.clone()), false).unwrap();
    assert_eq!(log.end().0, sample.end);
    assert!(
        read_all(&log)
            .into_iter()
            .eq((0..sample.end).filter(|at| !lost.contains(at)))
    );
    let verified = log.verify(&mut |_| ()).unwrap();
    assert!(verified.is_whole(), "{verified}");
    writer.close(&log).unwrap();
}

#[test]
fn a_repair_takes_out_what_cannot_be_read_and_keeps_all_else() {
    let sample = Sample::new(9);
    for bad in [vec![1], vec![sample.live], vec![1, sample.live]] {
        let (disk, probe) = sample.probed();
        let (mut hit, mut may_be_lost) = (BTreeSet::new(), BTreeSet::new());
        for segment in bad.iter().copied() {
            let offset = sample.amid(segment);
            spoil(&probe, &name_of(segment), offset);
            let sealed = segment < sample.live;
            hit.extend(sample.in_sector(segment, offset));
            may_be_lost.extend(match sealed {
                true => sample.in_sector(segment, offset),
                false => sample.of_units_in_sector(segment, offset),
            });
        }
        let before = disk.snapshot();
        let asked: Arc<dyn Disk> = Arc::new(probe.clone());
        let found = Log::inspect(&asked, &mut |_| ()).unwrap();
        let lost = positions(&found.lost);
        assert!(
            hit.is_subset(&lost) && lost.is_subset(&may_be_lost),
            "{found}"
        );
        let mended = mended(&probe, &lost);
        assert!(mended.lineage.is_some());
        for name in bad.into_iter().map(name_of) {
            let damage = mended
                .examined
                .lost
                .iter()
                .map(|lost| lost.damage.to_string());
            assert!(
                damage.into_iter().any(|text| text.contains(&name)),
                "{name}"
            );
            let kept = format!("damaged-now-{name}");
            assert!(mended.kept.contains(&kept), "{:?}", mended.kept);
            assert_eq!(disk.map(&kept).unwrap(), before.map(&name).unwrap());
            assert!(disk.open(&name).is_err());
        }
        is_whole_without(&sample, &probe, &lost);
    }
}

/// Whose they are, the units say by themselves; and behind the last one there is nothing yet.
#[test]
fn where_no_event_is_none_is_lost_and_the_segment_is_written_again() {
    let sample = Sample::new(9);
    let none = BTreeSet::new();
    let live = sample.live;
    let len = sample.disk.map(&name_of(live)).unwrap().len();
    let last = u32::try_from(len).unwrap() - 1;
    for (segment, bad) in [
        (1, Some(0)),
        (live, Some(0)),
        (live, Some(last)),
        (live, None),
    ] {
        let (disk, probe) = sample.probed();
        let name = name_of(segment);
        match bad {
            Some(offset) => spoil(&probe, &name, offset),
            None => disk.corrupt(&name, 0, &[0; 4096]).unwrap(),
        }
        let asked: Arc<dyn Disk> = Arc::new(probe.clone());
        let opened = open_on(Arc::new(ReadOnlyDisk::new(Arc::clone(&asked))), true).unwrap();
        assert!(read_all(&opened.log).into_iter().eq(0..sample.end));
        drop(opened);
        let found = Log::inspect(&asked, &mut |_| ()).unwrap();
        assert_eq!((found.lost.len(), found.is_whole()), (0, false), "{found}");
        let kept = mended(&probe, &none).kept;
        assert!(kept.contains(&format!("damaged-now-{name}")), "{kept:?}");
        is_whole_without(&sample, &probe, &none);
    }
}

#[test]
fn a_manifest_that_cannot_be_read_is_kept_and_costs_no_event() {
    let sample = Sample::new(9);
    let none = BTreeSet::new();
    let (disk, probe) = sample.probed();
    let newest = names(&disk, "manifest").pop().unwrap();
    spoil(&probe, &newest, 0);
    let before = disk.map(&newest).unwrap();
    let kept = format!("damaged-now-{newest}");
    assert!(mended(&probe, &none).kept.contains(&kept));
    assert_eq!(disk.map(&kept).unwrap(), before);
    is_whole_without(&sample, &probe, &none);
}
