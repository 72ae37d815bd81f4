//! What opening a log does beside the search for its end: making one, and tidying up.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::format::floor::Floor;
use crate::format::footer::{CreatedRange, Mark};
use crate::format::manifest::SealedSegment;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::log::tests::{check, inspect, names, unit};
use crate::log::{Log, LogOpenError, LogOptions, Opened, StorageError};
use crate::model::Position;

const LEN: u64 = 300;

fn open_with(
    disk: Arc<dyn Disk>,
    options: LogOptions,
    create: bool,
) -> Result<Opened, LogOpenError> {
    Log::open(disk, Arc::new(SimulatedHost::new(7)), options, create)
}

fn open(disk: &MemoryDisk) -> Result<Opened, LogOpenError> {
    open_with(Arc::new(disk.clone()), LogOptions::default(), true)
}

fn commit(opened: &mut Opened, events: u64) -> Position {
    let next = unit(&opened.log, opened.log.end(), events, LEN);
    opened.writer.commit(next, 5).unwrap()
}

#[test]
fn a_log_is_made_only_where_that_is_wanted_and_opened_once_at_a_time() {
    let disk = MemoryDisk::new();
    let without = |disk: &MemoryDisk| {
        let options = LogOptions::default();
        open_with(Arc::new(disk.clone()), options, false)
    };
    assert!(matches!(without(&disk), Err(LogOpenError::NotFound)));
    assert_eq!(disk.list().unwrap(), []);
    let mut opened = open(&disk).unwrap();
    assert!(opened.report.created);
    let end = commit(&mut opened, 3);
    for outcome in [open(&disk), without(&disk)] {
        assert!(matches!(outcome, Err(LogOpenError::Locked)), "{outcome:?}");
    }
    drop(opened);
    let opened = without(&disk).unwrap();
    assert!(!opened.report.created);
    check(&opened.log, end, LEN);
    drop(opened);
    let probe = ProbeDisk::new(Arc::new(disk));
    probe.fail(Fault::at(Operation::Lock).error(io::ErrorKind::PermissionDenied));
    let outcome = open_with(Arc::new(probe), LogOptions::default(), true);
    assert!(
        matches!(
            &outcome,
            Err(LogOpenError::Storage(StorageError::Io { .. }))
        ),
        "{outcome:?}"
    );
}

#[test]
fn what_is_asked_of_a_new_log_is_brought_within_its_limits() {
    for (asked, given) in [(0, 1 << 16), (100_000, 100_000), (u32::MAX, 1 << 31)] {
        let options = LogOptions {
            segment_size_bytes: asked,
            ..LogOptions::default()
        };
        let disk = MemoryDisk::new();
        let opened = open_with(Arc::new(disk.clone()), options, true).unwrap();
        assert_eq!(opened.log.shared.options.segment_size_bytes, given);
        let capacity = opened.log.shared.state.read().active().capacity;
        assert_eq!(capacity, given.min(16 << 20));
        // Of a new segment the first megabyte holds zeros, but not more than fits.
        let filled = capacity.min((1 << 20) + HEADER_LEN_BYTES);
        let len = disk.open("segment-00000000").unwrap().len().unwrap();
        assert_eq!(len, u64::from(filled));
    }
    for (asked, given) in [(0, 8), (8, 8), (100, 128), (512, 512), (1 << 20, 4096)] {
        let options = LogOptions {
            unit_align: asked,
            zero_fill: false,
            ..LogOptions::default()
        };
        let disk = MemoryDisk::new();
        let opened = open_with(Arc::new(disk.clone()), options, true).unwrap();
        assert_eq!(opened.log.identity().unit_align, given);
        let len = disk.open("segment-00000000").unwrap().len().unwrap();
        assert_eq!(len, u64::from(HEADER_LEN_BYTES));
    }
}

#[test]
fn a_new_log_is_whole_and_its_floor_lies_at_its_start() {
    let disk = MemoryDisk::new();
    drop(open(&disk).unwrap());
    let found = inspect(&disk);
    assert!(found.is_whole(), "{found}");
    let floor = Floor::decode(&disk.map("floor").unwrap()).unwrap();
    let place = (floor.end.segment, floor.end.offset);
    assert_eq!(place, (0, HEADER_LEN_BYTES));
    assert_eq!((floor.generation, floor.epoch, floor.clean), (1, 0, false));
    assert_eq!(found.end, Position::START);
}

/// A unit of an earlier writer must never be taken for one of this writer.
#[test]
fn each_opening_begins_an_epoch_of_its_own() {
    let disk = MemoryDisk::new();
    for round in 1..5 {
        let mut opened = open(&disk).unwrap();
        assert_eq!(opened.log.manifest().current().epoch, round);
        commit(&mut opened, 1);
        let mark = opened.log.shared.state.read().active().facts.mark;
        assert_eq!(mark.epoch, round);
    }
}

/// The identity holds the salts: without it nothing can be read, and nothing may be begun anew.
#[test]
fn where_the_identity_is_lost_nothing_is_touched_but_an_empty_beginning() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk).unwrap();
    let empty = disk.snapshot();
    commit(&mut opened, 3);
    drop(opened);
    disk.destroy("store").unwrap();
    let before = (names(&disk, ""), disk.map("segment-00000000").unwrap());
    match open(&disk) {
        Err(LogOpenError::Damaged(StorageError::Missing { file, .. })) => {
            assert_eq!(&*file, "store");
        }
        other => panic!("{other:?}"),
    }
    let after = (names(&disk, ""), disk.map("segment-00000000").unwrap());
    assert_eq!(before, after);
    // Another segment tells of events too, whatever became of the first.
    let disk = empty.snapshot();
    disk.destroy("store").unwrap();
    disk.put("segment-00000001", &[0; 5000]).unwrap();
    let outcome = open(&disk);
    assert!(
        matches!(outcome, Err(LogOpenError::Damaged(_))),
        "{outcome:?}"
    );
    // Nobody can have written to what is empty.
    let disk = empty.snapshot();
    disk.destroy("store").unwrap();
    disk.destroy("manifest-0000000000000002").unwrap();
    let mut opened = open(&disk).unwrap();
    assert!(opened.report.created);
    let end = commit(&mut opened, 2);
    drop(opened);
    check(&open(&disk).unwrap().log, end, LEN);
}

/// A disk may leave anything in blocks that it was writing when the power went. A whole draft of
/// the identity tells that the creation had not come to its end.
#[test]
fn a_creation_that_was_cut_short_is_begun_anew_whatever_its_segment_holds() {
    let disk = MemoryDisk::new();
    drop(open(&disk).unwrap());
    let store = disk.map("store").unwrap();
    disk.destroy("store").unwrap();
    disk.destroy("manifest-0000000000000002").unwrap();
    disk.corrupt("segment-00000000", 9000, &[7; 100]).unwrap();
    for (draft, begins_anew) in [
        (None, false),
        (Some(&store[..60]), false),
        (Some(&[][..]), false),
        (Some(&store[..]), true),
    ] {
        let disk = disk.snapshot();
        if let Some(draft) = draft {
            disk.put("store.tmp", draft).unwrap();
        }
        let outcome = open(&disk);
        match outcome {
            Ok(mut opened) if begins_anew => {
                let end = commit(&mut opened, 2);
                drop(opened);
                check(&open(&disk).unwrap().log, end, LEN);
            }
            Err(LogOpenError::Damaged(_)) if !begins_anew => {
                assert_eq!(disk.map("segment-00000000").unwrap()[9000], 7);
            }
            other => panic!("{draft:?}: {other:?}"),
        }
    }
}

#[test]
fn what_nothing_names_is_removed_where_it_is_derived_and_told_of_where_it_is_not() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk).unwrap();
    let end = commit(&mut opened, 3);
    let checkpoint = opened.log.checkpoint(&|_| Vec::new()).unwrap();
    let manifest = opened.log.manifest();
    manifest.update(|data| checkpoint.name_in(data)).unwrap();
    let generation = manifest.current().generation;
    drop(opened);
    let derived = [
        "table-00000007",
        "checkpoint-00000000-0007",
        "state-00000007",
        "manifest.tmp",
        "manifest-0000000000000000",
        "segment-00000000-00000002",
    ];
    let others = [
        "notes.txt",
        "quarantine-00000000-00001000-0000",
        "segment-00000009",
    ];
    for name in derived.iter().chain(&others) {
        disk.put(name, b"something").unwrap();
    }
    let named = names(&disk, "checkpoint-00000000-0000");
    assert_eq!(named.len(), 1);
    let opened = open(&disk).unwrap();
    check(&opened.log, end, LEN);
    let mut unknown = opened.report.unknown_files.clone();
    unknown.sort();
    assert_eq!(unknown, others);
    let left = names(&disk, "");
    for name in derived {
        assert!(!left.iter().any(|one| one == name), "{name}");
    }
    for name in others.iter().copied().chain(["floor", "store", &named[0]]) {
        assert!(left.iter().any(|one| one == name), "{name}");
    }
    // Of the manifests the last two are kept.
    let last = [generation, generation + 1].map(|it| format!("manifest-{it:016x}"));
    assert_eq!(names(&disk, "manifest"), last);
    drop(opened);
    assert!(open(&disk).unwrap().report.from_checkpoint);
}

#[test]
fn what_was_taken_out_is_kept_under_a_name_of_its_own() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk).unwrap();
    let end = commit(&mut opened, 3);
    let offset = u64::from(opened.log.place().offset);
    drop(opened);
    let mut kept = Vec::new();
    for byte in 1..4u8 {
        disk.corrupt("segment-00000000", offset, &[byte; 50])
            .unwrap();
        let opened = open(&disk).unwrap();
        check(&opened.log, end, LEN);
        let [torn] = &opened.report.torn[..] else {
            panic!("{}", opened.report);
        };
        kept.push((torn.quarantine.clone(), byte));
        for (name, byte) in &kept {
            assert_eq!(disk.map(name).unwrap()[..], [*byte; 50]);
        }
    }
}

#[test]
fn the_log_knows_what_is_free_on_its_disk() {
    let disk = MemoryDisk::new();
    let opened = open(&disk).unwrap();
    for capacity_bytes in [50_000_000, 60_000_000] {
        disk.set_capacity(capacity_bytes);
        let free = disk.free_bytes().unwrap();
        assert!(free > 1);
        assert_eq!(opened.log.free_bytes().unwrap(), free);
    }
}

#[test]
fn segments_grow_with_the_log_between_two_limits() {
    const MIB: u64 = 1024 * 1024;
    let options = LogOptions {
        segment_size_bytes: u32::try_from(100 * MIB).unwrap(),
        ..LogOptions::default()
    };
    let opened = open_with(Arc::new(MemoryDisk::new()), options, true).unwrap();
    let mut entry = SealedSegment {
        id: 0,
        first_position: Position::START,
        events: 0,
        len_bytes: 0,
        footer_offset: 0,
        created: CreatedRange::EMPTY,
        mark: Mark::START,
        digest: [0; 32],
        rewrite: None,
    };
    for (log_mib, capacity_mib) in [(0, 16), (255, 16), (480, 30), (1_599, 99), (1_700, 100)] {
        entry.len_bytes = u32::try_from(log_mib * MIB).unwrap();
        let manifest = opened.log.manifest();
        manifest
            .update(|data| data.sealed = vec![entry.clone()])
            .unwrap();
        let capacity = u64::from(opened.log.shared.next_capacity());
        assert_eq!(capacity / MIB, capacity_mib, "{log_mib}");
    }
}

#[test]
fn a_log_that_is_closed_in_order_has_no_spare() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk).unwrap();
    let spare = opened.log.shared.take_spare(0).unwrap();
    *opened.log.shared.spare.lock() = Some(spare);
    commit(&mut opened, 3);
    assert_eq!(names(&disk, "segment").len(), 2);
    let Opened { log, writer, .. } = opened;
    writer.close(&log).unwrap();
    assert_eq!(names(&disk, "segment").len(), 1);
    assert_eq!(log.manifest().current().unsealed.len(), 1);
}

/// So that one that is cut short leaves the one before it.
#[test]
fn floors_are_written_to_one_place_and_the_other_in_turn() {
    let disk = MemoryDisk::new();
    let opened = open(&disk).unwrap();
    let read = || {
        let mut bytes = vec![0; 8192];
        let len = disk.open("floor").unwrap().read_at(0, &mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    };
    let mut last = Floor::decode(&read()).unwrap().number;
    for _ in 0..5 {
        let before = read();
        opened.log.shared.write_floor(false).unwrap();
        let bytes = read();
        let floor = Floor::decode(&bytes).unwrap();
        assert_eq!(floor.number, last + 1);
        last = floor.number;
        let half = bytes.len() / 2;
        let kept = [
            before[..half] == bytes[..half],
            before[half..] == bytes[half..],
        ];
        assert!(kept.contains(&true) && kept.contains(&false), "{kept:?}");
    }
}
