//! Any sequence of appends, background work, clean restarts and power cuts leaves a store that
//! holds exactly what it acknowledged, with every stream numbered without a gap.
//!
//! An input is operations: what to do, and what with.

use std::collections::BTreeMap;
use std::sync::Arc;

use annal::disk::{MemoryDisk, SimulatedHost, Unsynced};
use annal::{
    Append, AppendError, Background, Direction, EventType, ExpectedRevision, NewEvent, ReadFrom,
    Revision, Store, StoreOptions, StreamName,
};

use crate::input::Input;

const OPERATIONS_MAX: usize = 60;

struct World {
    disk: MemoryDisk,
    host: Arc<SimulatedHost>,
    store: Store,
    /// How many events each stream has.
    lengths: BTreeMap<u8, u64>,
}

fn open(disk: &MemoryDisk, host: &Arc<SimulatedHost>) -> Store {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options.index_flush_events = 5;
    Store::open_on(Arc::new(disk.clone()), host.clone(), options).expect("the store opens")
}

pub fn run(input: &[u8]) {
    let (disk, host) = (MemoryDisk::new(), Arc::new(SimulatedHost::new(1)));
    let store = open(&disk, &host);
    let mut world = World {
        disk,
        host,
        store,
        lengths: BTreeMap::new(),
    };
    let mut input = Input(input);
    for _ in 0..OPERATIONS_MAX {
        if input.0.is_empty() {
            break;
        }
        world = world.step(&mut input);
    }
    world.check();
}

impl World {
    fn step(mut self, input: &mut Input<'_>) -> Self {
        match input.byte() % 8 {
            0..=4 => self.append(input),
            5 => self.store.maintain().expect("the upkeep works"),
            6 => {
                self.store.close().expect("the store closes");
                self.store = open(&self.disk, &self.host);
            }
            _ => {
                let after = self.disk.power_cut(Unsynced::Torn(input.byte().into()));
                drop(self.store);
                self.store = open(&after, &self.host);
                self.disk = after;
            }
        }
        self
    }

    fn append(&mut self, input: &mut Input<'_>) {
        let (stream, events) = (input.byte() % 5, u64::from(input.byte() % 4) + 1);
        let name = StreamName::new(format!("stream-{stream}")).expect("a short name");
        let event_type = EventType::new("Fuzzed").expect("a short type");
        let expected = match input.byte() {
            number @ ..20 => ExpectedRevision::Exactly(Revision(number.into())),
            20 => ExpectedRevision::NoStream,
            21 => ExpectedRevision::StreamExists,
            _ => ExpectedRevision::Any,
        };
        let data = vec![7; usize::from(input.byte()) * 40];
        let new = (0..events).map(|_| NewEvent::binary(event_type.clone(), data.clone()));
        let length = self.lengths.entry(stream).or_default();
        let holds = match expected {
            ExpectedRevision::Exactly(revision) => *length == revision.0 + 1,
            ExpectedRevision::NoStream => *length == 0,
            ExpectedRevision::StreamExists => *length > 0,
            ExpectedRevision::Any => true,
        };
        match self.store.append(Append::to(name, expected, new)) {
            Ok(receipt) => {
                assert!(holds, "{expected:?} does not hold");
                *length += events;
                assert_eq!(receipt.revisions[0].1, Revision(*length - 1));
            }
            Err(AppendError::WrongExpectedRevision { .. }) => assert!(!holds, "{expected:?} holds"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything is there, and nothing else.
    fn check(&self) {
        let events = self
            .store
            .read_all(ReadFrom::Start, Direction::Forwards, None);
        let mut found: BTreeMap<StreamName, u64> = BTreeMap::new();
        for (position, event) in (0..).zip(events.expect("a read")) {
            let event = event.expect("an event");
            assert_eq!(event.position.0, position);
            let next = found.entry(event.stream).or_default();
            assert_eq!(event.revision.0, *next);
            *next += 1;
        }
        assert_eq!(
            found.values().sum::<u64>(),
            self.lengths.values().sum::<u64>()
        );
        for (stream, length) in &self.lengths {
            let name = StreamName::new(format!("stream-{stream}")).expect("a short name");
            assert_eq!(found.get(&name).copied().unwrap_or(0), *length);
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let append = [0, 1, 3, 99, 2];
    let strict = [0, 1, 0, 3, 200];
    let absent = [1, 2, 1, 20, 9];
    let (upkeep, reopen, cut) = ([5], [6], [7, 3]);
    vec![
        [
            &append[..],
            &strict,
            &upkeep,
            &absent,
            &reopen,
            &append,
            &cut,
        ]
        .concat(),
        [&append[..], &cut, &append, &cut, &absent, &upkeep]
            .concat()
            .repeat(5),
        [&absent[..], &absent, &strict, &upkeep, &reopen]
            .concat()
            .repeat(6),
    ]
}
