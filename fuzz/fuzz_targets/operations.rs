//! Any sequence of appends, background work, clean restarts and power cuts leaves a store that
//! holds exactly what it acknowledged, with every stream numbered without a gap.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use annal::disk::{MemoryDisk, SimulatedHost, Unsynced};
use annal::{
    Append, AppendError, Background, Direction, EventType, ExpectedRevision, NewEvent, ReadFrom,
    Revision, Store, StoreOptions, StreamName,
};
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Operation {
    Append {
        stream: u8,
        expected: Option<u8>,
        events: u8,
    },
    Maintain,
    Reopen,
    Cut(u64),
}

fn open(disk: &MemoryDisk, host: &Arc<SimulatedHost>) -> Store {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options.index_flush_events = 5;
    Store::open_on(Arc::new(disk.clone()), host.clone(), options).expect("the store opens")
}

fuzz_target!(|operations: Vec<Operation>| {
    let host = Arc::new(SimulatedHost::new(1));
    let mut disk = MemoryDisk::new();
    let mut store = open(&disk, &host);
    let mut heads: BTreeMap<u8, u64> = BTreeMap::new();
    for operation in operations.into_iter().take(60) {
        match operation {
            Operation::Append {
                stream,
                expected,
                events,
            } => {
                let (stream, events) = (stream % 5, u64::from(events % 4) + 1);
                let name = StreamName::new(format!("stream-{stream}")).expect("a short name");
                let event_type = EventType::new("Fuzzed").expect("a short type");
                let expected = match expected {
                    None => ExpectedRevision::Any,
                    Some(revision) => ExpectedRevision::Exactly(Revision(revision.into())),
                };
                let new = (0..events).map(|_| NewEvent::binary(event_type.clone(), "fuzzed"));
                let head = heads.entry(stream).or_default();
                match store.append(Append::to(name, expected, new)) {
                    Ok(receipt) => {
                        *head += events;
                        assert_eq!(receipt.revisions[0].1, Revision(*head - 1));
                    }
                    Err(AppendError::WrongExpectedRevision { .. }) => {
                        assert!(expected != ExpectedRevision::Any);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Operation::Maintain => store.maintain().expect("the upkeep works"),
            Operation::Reopen => {
                store.close().expect("the store closes");
                store = open(&disk, &host);
            }
            Operation::Cut(seed) => {
                let after = disk.power_cut(Unsynced::Torn(seed));
                drop(store);
                disk = after;
                store = open(&disk, &host);
            }
        }
    }
    let mut found: BTreeMap<StreamName, u64> = BTreeMap::new();
    let events = store
        .read_all(ReadFrom::Start, Direction::Forwards, None)
        .expect("a read");
    for (position, event) in events.map(|event| event.expect("an event")).enumerate() {
        assert_eq!(
            event.position.0,
            u64::try_from(position).expect("few events")
        );
        let next = found.entry(event.stream).or_default();
        assert_eq!(event.revision.0, *next);
        *next += 1;
    }
    assert_eq!(found.values().sum::<u64>(), heads.values().sum::<u64>());
});
