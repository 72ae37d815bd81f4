//! What a store costs does not grow with its log: opening it, and what it keeps in memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::sync::Arc;

use annal::disk::{MemoryDisk, Operation, ProbeDisk, SimulatedHost, Unsynced};
use annal::{
    Append, Background, EventType, ExpectedRevision, NewEvent, Position, Store, StoreOptions,
    StreamName,
};

const SEGMENT_SIZE_BYTES: u32 = 64 * 1024;

fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = SEGMENT_SIZE_BYTES;
    options
}

fn open(disk: Arc<dyn annal::disk::Disk>) -> Store {
    Store::open_on(disk, Arc::new(SimulatedHost::new(1)), options()).unwrap()
}

/// A store whose log fills so many segments.
fn store_of(segments: usize) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let store = open(Arc::new(disk.clone()));
    let event_type = EventType::new("Filled").unwrap();
    let data = bytes::Bytes::from(vec![b'x'; 900]);
    let sealed = |disk: &MemoryDisk| {
        let names = annal::disk::Disk::list(disk).unwrap();
        names
            .iter()
            .filter(|(name, _)| name.starts_with("segment-"))
            .count()
    };
    let mut stream = 0;
    while sealed(&disk) < segments {
        let events = (0..50).map(|_| NewEvent::binary(event_type.clone(), data.clone()));
        let name = StreamName::new(format!("filled-{stream}")).unwrap();
        store
            .append(Append::to(name, ExpectedRevision::NoStream, events))
            .unwrap();
        store.maintain().unwrap();
        stream += 1;
    }
    store.close().unwrap();
    disk
}

/// Bytes of log, and of everything, that opening reads.
fn opening_reads(disk: MemoryDisk) -> (u64, u64) {
    let probe = ProbeDisk::new(Arc::new(disk));
    let store = open(Arc::new(probe.clone()));
    let log = probe.tally(Operation::Read, "segment-").bytes;
    let all = probe.tally(Operation::Read, "").bytes;
    assert!(store.event_at(Position(17)).unwrap().is_some());
    (log, all)
}

#[test]
fn opening_reads_the_same_little_of_a_small_and_of_a_large_log() {
    let mib = 1024 * 1024;
    let (small, large) = (store_of(10), store_of(1_000));
    for disk in [&small, &large] {
        let clean = opening_reads(disk.snapshot());
        assert!(clean.0 <= u64::from(SEGMENT_SIZE_BYTES), "{clean:?}");
        assert!(clean.1 <= mib, "{clean:?}");
    }
    // After a power cut the log behind the last checkpoint is walked, and no more.
    for disk in [small, large] {
        let store = open(Arc::new(disk.clone()));
        let event = NewEvent::json(EventType::new("Last").unwrap(), "{}");
        let name = StreamName::new("last").unwrap();
        store
            .append(Append::to(name, ExpectedRevision::NoStream, [event]))
            .unwrap();
        let cut = disk.power_cut(Unsynced::Lost);
        drop(store);
        let killed = opening_reads(cut);
        assert!(killed.0 <= 64 * mib, "{killed:?}");
        assert!(killed.1 <= 2 * mib, "{killed:?}");
    }
}
