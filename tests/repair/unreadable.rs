//! Stores on a disk that does not give a sector: it costs what is in it, as damage does.

use std::sync::Arc;

use annal::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use annal::repair::{is_needed, repair_with_loss_on};
use annal::{
    Append, Direction, EventType, ExpectedRevision, NewEvent, ReadError, ReadFrom, RecordedEvent,
    StorageError, Store, StoreOptions,
};

use crate::{
    derived, lost, open, options, read_only, segments, store, stream, survives, unreadable,
    verified,
};

const SECTOR: u64 = 4096;

/// A copy of a disk that does not give some bytes of a file.
fn without(disk: &MemoryDisk, name: &str, range: std::ops::Range<u64>) -> (MemoryDisk, ProbeDisk) {
    let disk = disk.snapshot();
    let probe = ProbeDisk::new(Arc::new(disk.clone()));
    let fault = Fault::at(Operation::Read).of_file(name).forever();
    probe.fail(fault.touching(range));
    (disk, probe)
}

#[test]
fn whatever_cannot_be_read_the_rest_is_read_and_survives_a_repair() {
    for clean in [false, true] {
        let (disk, expected) = store(clean);
        let mut most = 0;
        for (name, len) in segments(&disk) {
            for sector in (0..len / SECTOR).step_by(3).chain([len / SECTOR]) {
                let at = sector * SECTOR;
                let (disk, probe) = without(&disk, &name, at..at + SECTOR);
                let lost = survives(&disk, &probe, &expected, &format!("{name} at {at}"));
                most = most.max(lost.len());
            }
        }
        assert!((8..=24).contains(&most), "about a sector: {most}");
    }
}

#[test]
fn the_report_names_what_could_not_be_read() {
    let (disk, _) = store(true);
    let (name, _) = segments(&disk).remove(0);
    let (disk, probe) = without(&disk, &name, 5 * SECTOR..6 * SECTOR);
    let host = Arc::new(SimulatedHost::new(5));
    let repaired = repair_with_loss_on(Arc::new(probe), host).unwrap().unwrap();
    let report = disk.map(&repaired.report_file).unwrap();
    let report = String::from_utf8(report.to_vec()).unwrap();
    assert!(repaired.lost_events() > 0);
    for lost in &repaired.lost {
        assert!(report.contains(&lost.to_string()), "{report}");
        assert!(lost.damage.to_string().contains(&name), "{lost}");
    }
}

#[test]
fn what_is_derived_needs_no_repair_where_it_cannot_be_read() {
    let (disk, expected) = store(false);
    for name in derived(&disk) {
        let (disk, probe) = without(&disk, &name, 0..u64::MAX);
        let found = verified(&probe);
        assert!(!found.is_whole(), "{name}");
        assert!(!is_needed(&found), "{name}: {found}");
        assert_eq!(survives(&disk, &probe, &expected, &name).len(), 0);
    }
}

/// What keeps a list from being told is what cannot be read, not that it is being looked for.
fn is_told_by_the_list_of(store: &Store, event: &RecordedEvent) {
    store.maintain().unwrap();
    let read = store.read_stream(&event.stream, ReadFrom::Start, Direction::Forwards);
    let error = match read {
        Err(error) => error,
        Ok(mut read) => read.find_map(Result::err).unwrap(),
    };
    let is_storage = matches!(
        error,
        ReadError::Storage(StorageError::Io { .. } | StorageError::Damaged { .. })
    );
    assert!(is_storage, "{error}");
}

#[test]
fn a_lost_table_over_what_cannot_be_read_is_given_up_where_nothing_is_written() {
    let (disk, expected) = store(true);
    let tables = derived(&disk).into_iter();
    for table in tables.filter(|name| name.starts_with("table")) {
        disk.destroy(&table).unwrap();
    }
    for (name, _) in segments(&disk) {
        let (_, probe) = without(&disk, &name, 2 * SECTOR..3 * SECTOR);
        let found = lost(&verified(&probe));
        let store = open(&probe, read_only());
        let hit = |event: &&RecordedEvent| found.contains(&event.position.0);
        let hit = expected.iter().find(hit);
        hit.into_iter()
            .for_each(|event| is_told_by_the_list_of(&store, event));
        assert_eq!(unreadable(&store, &expected), found, "{name}");
    }
}

#[test]
fn a_store_without_tables_is_read_around_what_cannot_be_read() {
    let disk = MemoryDisk::new();
    let no_tables = |mut options: StoreOptions| {
        options.index_flush_events = 100_000;
        options
    };
    let written = open(&disk, no_tables(options()));
    for round in 0..60 {
        let data = format!("\"{}\"", "x".repeat(2_000));
        let event = NewEvent::json(EventType::new("Placed").unwrap(), data);
        let append = Append::to(stream(round), ExpectedRevision::Any, [event]);
        written.append(append).unwrap();
        written.maintain().unwrap();
    }
    let disk = disk.snapshot();
    assert_eq!(derived(&disk), Vec::<String>::new());
    let all = written.read_all(ReadFrom::Start, Direction::Forwards, None);
    let expected: Vec<_> = all.unwrap().map(Result::unwrap).collect();
    let (name, _) = segments(&disk).remove(0);
    let (_, probe) = without(&disk, &name, 5 * SECTOR..6 * SECTOR);
    let found = lost(&verified(&probe));
    assert!((1..=4).contains(&found.len()), "{found:?}");
    let store = open(&probe, no_tables(read_only()));
    let first = usize::try_from(*found.first().unwrap()).unwrap();
    is_told_by_the_list_of(&store, &expected[first]);
    assert_eq!(unreadable(&store, &expected), found);
}
