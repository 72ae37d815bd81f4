//! Stores on a disk that does not give a sector: it costs what is in it, as damage does.

use std::sync::Arc;

use annal::disk::{Fault, MemoryDisk, Operation, ProbeDisk};
use annal::{
    Append, Direction, EventType, ExpectedRevision, NewEvent, ReadError, ReadFrom, RecordedEvent,
    StorageError, Store, StoreOptions,
};

use crate::{
    derived, lost, open, options, read_only, segments, store, stream, unreadable, verified,
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
