//! What the log asks of the disk, counted.

use std::sync::Arc;

use crate::disk::{Disk, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::log::tests::unit;
use crate::log::{Log, LogOptions, Opened};
use crate::model::Position;

fn open(disk: &ProbeDisk) -> Opened {
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        recent_bytes: 4 * 1024,
        ..LogOptions::default()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, Arc::new(SimulatedHost::new(7)), options, true).unwrap()
}

#[test]
fn a_commit_is_one_write_and_one_sync_and_no_read() {
    let disk = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    let mut opened = open(&disk);
    let mut end = Position::START;
    for events in [1, 1, 20, 0, 3] {
        let unit = unit(&opened.log, end, events, 300);
        disk.reset();
        end = opened.writer.commit(unit, 5).unwrap();
        assert_eq!(disk.tally(Operation::Write, "").calls, 1);
        assert_eq!(disk.tally(Operation::Sync, "").calls, 1);
        assert_eq!(disk.tally(Operation::Read, "").calls, 0);
    }
    // Into a spare that stands ready it is the same.
    while opened.log.place().offset < 60 * 1024 {
        end = opened
            .writer
            .commit(unit(&opened.log, end, 10, 300), 5)
            .unwrap();
    }
    while opened
        .log
        .keeper_step()
        .unwrap()
        .again_after
        .is_some_and(|after| after.is_zero())
    {}
    opened.log.keeper_step().unwrap();
    let unit = unit(&opened.log, end, 60, 300);
    disk.reset();
    opened.writer.commit(unit, 5).unwrap();
    assert_eq!(opened.log.place().segment, 1);
    for operation in Operation::CHANGES {
        let expected = match operation {
            Operation::Write | Operation::Sync => 1,
            _ => 0,
        };
        assert_eq!(disk.tally(*operation, "").calls, expected, "{operation:?}");
    }
    assert_eq!(disk.tally(Operation::Read, "").calls, 0);
}

#[test]
fn opening_reads_the_manifest_the_checkpoint_and_what_lies_behind_it() {
    for segments in [10, 60] {
        let disk = ProbeDisk::new(Arc::new(MemoryDisk::new()));
        let mut opened = open(&disk);
        let mut end = Position::START;
        while opened.log.manifest().current().sealed.len() < segments {
            let unit = unit(&opened.log, end, 120, 400);
            end = opened.writer.commit(unit, 5).unwrap();
            opened.log.keeper_step().unwrap();
        }
        let checkpoint = opened.log.checkpoint(&|_| Vec::new()).unwrap();
        let manifest = opened.log.manifest();
        manifest.update(|data| checkpoint.name_in(data)).unwrap();
        let unit = unit(&opened.log, end, 5, 400);
        opened.writer.commit(unit, 5).unwrap();
        drop(opened);
        disk.reset();
        let opened = open(&disk);
        assert!(opened.report.from_checkpoint);
        assert_eq!(opened.report.walked_units, 1);
        let current = opened.log.manifest().current();
        for sealed in &current.sealed {
            let name = format!("segment-{:08x}", sealed.id);
            assert_eq!(disk.tally(Operation::Open, &name).calls, 0);
        }
        assert_eq!(disk.tally(Operation::List, "").calls, 1);
    }
}

#[test]
fn a_small_store_stays_small() {
    let memory = MemoryDisk::new();
    let host = || Arc::new(SimulatedHost::new(7));
    let disk = || Arc::new(memory.clone());
    let size = || -> u64 { memory.list().unwrap().iter().map(|(_, len)| len).sum() };
    let mut opened = Log::open(disk(), host(), LogOptions::default(), true).unwrap();
    opened.log.keeper_step().unwrap();
    assert!(size() < (1 << 20) + 64 * 1024, "{}", size());
    let unit = unit(&opened.log, Position::START, 10, 300);
    opened.writer.commit(unit, 5).unwrap();
    let Opened { log, writer, .. } = opened;
    writer.close(&log).unwrap();
    drop(log);
    assert!(size() < 64 * 1024, "{}", size());
    let opened = Log::open(disk(), host(), LogOptions::default(), false).unwrap();
    assert!(opened.report.clean_stop);
}

#[test]
fn the_next_segment_is_full_of_zeros_before_the_log_goes_on_in_it() {
    let disk = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    let options = LogOptions {
        segment_size_bytes: 8 << 20,
        ..LogOptions::default()
    };
    let on: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut opened = Log::open(on, Arc::new(SimulatedHost::new(7)), options, true).unwrap();
    let mut end = Position::START;
    let mut next = 0;
    while opened.log.place().segment < 2 {
        end = opened
            .writer
            .commit(unit(&opened.log, end, 500, 400), 5)
            .unwrap();
        let segment = opened.log.place().segment;
        if segment > next {
            let name = format!("segment-{segment:08x}");
            let lengths = disk.list().unwrap();
            let (_, len) = lengths.iter().find(|(file, _)| *file == name).unwrap();
            assert_eq!(*len, 8 << 20, "{name}");
            next = segment;
        }
        // As a keeper that is woken by the commit, whatever else there is to do.
        while opened.log.wants_spare() {
            opened.log.spare_step().unwrap();
        }
    }
}

#[test]
fn adjacent_events_are_read_by_one_call_and_are_the_same_as_alone() {
    let disk = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    let mut opened = open(&disk);
    let mut end = Position::START;
    for events in [3, 40, 1, 7, 120, 5].into_iter().cycle().take(60) {
        end = opened
            .writer
            .commit(unit(&opened.log, end, events, 400), 5)
            .unwrap();
        opened.log.keeper_step().unwrap();
    }
    let log = &opened.log;
    assert!(log.manifest().current().sealed.len() > 3);
    let one = |at: u64| -> Vec<_> {
        let chunk = log.read_at(&[Position(at)]).unwrap();
        chunk.events().map(Result::unwrap).collect()
    };
    for first in (0..end.0).step_by(37) {
        for (count, len_bytes_max) in [(100, usize::MAX), (100, 3000), (4, 1), (2, usize::MAX)] {
            let asked: Vec<_> = (first..first + count).map(Position).collect();
            let (chunk, taken) = log.read_within(&asked, len_bytes_max).unwrap();
            assert!(taken > 0);
            let read: Vec<_> = chunk.events().map(Result::unwrap).collect();
            let there = (first..end.0.min(first + u64::try_from(taken).unwrap())).flat_map(one);
            assert!(read.into_iter().eq(there), "{first} {count}");
        }
    }
    let first = log.manifest().current().sealed[1].first_position.0;
    drop(opened);
    let log = &open(&disk).log;
    let asked: Vec<_> = (first..first + 100).map(Position).collect();
    log.read_within(&asked[..4], usize::MAX).unwrap();
    disk.reset();
    let (chunk, taken) = log.read_within(&asked, usize::MAX).unwrap();
    assert_eq!((chunk.events_count(), taken), (100, 100));
    assert_eq!(disk.tally(Operation::Read, "").calls, 1);
    for len_bytes_max in [1_000, 5_000, 10_000] {
        disk.reset();
        let (chunk, taken) = log.read_within(&asked, len_bytes_max).unwrap();
        assert!(1 < taken && taken < 100 && chunk.len_bytes() <= len_bytes_max);
        let read = disk.tally(Operation::Read, "").bytes;
        assert!(read <= u64::try_from(len_bytes_max).unwrap(), "{read}");
        let next = log.read_at(&asked[taken..=taken]).unwrap().len_bytes();
        // Between two units lie a header, a trailer and padding.
        assert!(chunk.len_bytes() + next + 500 > len_bytes_max, "{taken}");
    }
}
