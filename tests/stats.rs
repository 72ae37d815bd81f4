//! A store counts what it does, and tells how large it is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::sync::Arc;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{
    Append, Background, Direction, EventType, ExpectedRevision, NewEvent, ReadFrom, Store,
    StoreOptions, StreamName,
};

fn store() -> Store {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.index_flush_events = 16;
    let host = Arc::new(SimulatedHost::new(1));
    Store::open_on(Arc::new(MemoryDisk::new()), host, options).unwrap()
}

fn append(stream: &StreamName, expected: ExpectedRevision, count: usize) -> Append {
    let event_type = EventType::new("Happened").unwrap();
    let events = (0..count).map(|_| NewEvent::json(event_type.clone(), "{\"some\":\"data\"}"));
    Append::to(stream.clone(), expected, events)
}

#[test]
fn appends_and_reads_are_counted() {
    let store = store();
    let stream = StreamName::new("a").unwrap();
    let new = store.stats();
    assert_eq!((new.appends, new.events, new.sync_us.count()), (0, 0, 0));
    for _ in 0..10 {
        let any = ExpectedRevision::Any;
        store.append(append(&stream, any, 3)).unwrap();
    }
    let none = ExpectedRevision::NoStream;
    store.append(append(&stream, none, 1)).unwrap_err();
    let written = store.stats();
    let counted = (written.appends, written.appends_refused, written.events);
    assert_eq!(counted, (10, 1, 30));
    assert_eq!(written.sync_us.count(), 10);
    assert_eq!(
        written.sync_us.counts.len(),
        written.sync_us.bounds.len() + 1
    );
    // One append a sync: all in the first bucket.
    assert_eq!(
        (
            written.appends_per_sync.bounds[0],
            written.appends_per_sync.counts[0]
        ),
        (1, 10)
    );
    assert!(written.written_bytes > 30 * 15);
    let events = store.read_stream(&stream, ReadFrom::Start, Direction::Forwards);
    assert_eq!(events.unwrap().count(), 30);
    let read = store.stats();
    assert_eq!(read.read_events - written.read_events, 30);
    assert!(read.read_bytes > 30 * 15);
}

#[test]
fn sizes_are_told() {
    let store = store();
    let stream = StreamName::new("a").unwrap();
    store
        .append(append(&stream, ExpectedRevision::Any, 40))
        .unwrap();
    let before = store.stats();
    assert_eq!(before.tables, 0);
    assert!(before.segments >= 1 && before.index_memory_bytes > 0);
    store.maintain().unwrap();
    let after = store.stats();
    assert!(after.tables >= 1);
    assert!(after.disk_bytes.unwrap() > 40 * 15);
    store.stream(&stream).unwrap();
    store.stream(&stream).unwrap();
    let asked = store.stats();
    assert!(asked.page_cache_misses > 0 && asked.page_cache_hits > 0);
    assert!(asked.page_cache_bytes > 0);
}
