//! The store answers, and keeps, what the reference store does, whatever is asked of it, and
//! whatever happens to the machine in between.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use annal::disk::{MemoryDisk, SimulatedHost, Unsynced};
use annal::{
    AppendError, Background, Direction, EventType, ExpectedRevision, NewEvent, ReadError, ReadFrom,
    Revision, StateSpace, Store, StoreOptions, StreamMetadata, StreamName,
};
use common::reference::{Answer, Ask, Entry, Reference};
use proptest::prelude::*;
use uuid::Uuid;

const STREAMS: [&str; 6] = ["a-1", "a-2", "b", "$$a-1", "$$b", "$system"];

#[derive(Clone, Debug)]
enum Step {
    Ask(Ask),
    /// One of the requests before, once more.
    Again(prop::sample::Index),
    /// Background work: flushes, merges, seals.
    Maintain,
    Reopen,
    Crash(Unsynced),
}

fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options.index_flush_events = 7;
    options
}

fn stream() -> impl Strategy<Value = StreamName> {
    (0..STREAMS.len()).prop_map(|index| StreamName::new(STREAMS[index]).unwrap())
}

/// Ids are few, so that repetitions happen.
fn event(stream: StreamName) -> impl Strategy<Value = (StreamName, NewEvent)> {
    let json = prop_oneof![
        Just(r#"{"$tb":2}"#),
        Just(r#"{"$maxCount":2,"mine":1}"#),
        Just(r#"{"$tb":9223372036854775807,"kept":true}"#),
        Just("{}"),
    ];
    (0u128..12, json).prop_map(move |(id, json)| {
        let (event_type, data) = match stream.described() {
            Some(_) => (StreamMetadata::EVENT_TYPE, json),
            None => ("Happened", "{\"it\":1}"),
        };
        let event = NewEvent::json(EventType::new(event_type).unwrap(), data);
        (stream.clone(), event.with_id(Uuid::from_u128(id)))
    })
}

fn expected() -> impl Strategy<Value = ExpectedRevision> {
    prop_oneof![
        3 => Just(ExpectedRevision::Any),
        2 => Just(ExpectedRevision::NoStream),
        1 => Just(ExpectedRevision::StreamExists),
        3 => (0u64..6).prop_map(|revision| ExpectedRevision::Exactly(Revision(revision))),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let events = proptest::collection::vec(stream().prop_flat_map(event), 0..4);
    let expectations = proptest::collection::btree_map(0..STREAMS.len(), expected(), 0..3);
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9));
    let states = proptest::collection::vec((0u8..9, value), 0..3);
    let request = proptest::option::of(any::<u128>());
    let append = (events, expectations, states, request);
    let append = append.prop_map(|(events, expected, states, request)| {
        let name = |index: usize| StreamName::new(STREAMS[index]).unwrap();
        let expected = expected
            .into_iter()
            .map(|(index, one)| (name(index), one))
            .collect();
        Ask::Append {
            events,
            expected,
            states,
            request,
        }
    });
    let touched = (stream(), expected());
    let touched = touched.prop_map(|(stream, expected)| Ask::BringBack(stream, expected));
    let ended = || stream().prop_filter("has metadata", |one| one.described().is_none());
    prop_oneof![
        12 => append,
        1 => touched,
        2 => (ended(), expected()).prop_map(|(stream, expected)| Ask::Delete(stream, expected)),
        1 => (ended(), expected()).prop_map(|(stream, expected)| Ask::Tombstone(stream, expected)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let unsynced = prop_oneof![
        Just(Unsynced::Lost),
        Just(Unsynced::Kept),
        any::<u64>().prop_map(Unsynced::Torn),
    ];
    prop_oneof![
        20 => ask().prop_map(Step::Ask),
        4 => any::<prop::sample::Index>().prop_map(Step::Again),
        2 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        1 => unsynced.prop_map(Step::Crash),
    ]
}

struct Run {
    disk: MemoryDisk,
    host: Arc<SimulatedHost>,
    store: Option<Store>,
    reference: Reference,
    asked: Vec<Ask>,
}

impl Run {
    fn new() -> Self {
        let (disk, host) = (MemoryDisk::new(), Arc::new(SimulatedHost::new(1)));
        let mut run = Self {
            disk,
            host,
            store: None,
            reference: Reference::default(),
            asked: Vec::new(),
        };
        run.open();
        run
    }

    fn open(&mut self) {
        let disk = Arc::new(self.disk.clone());
        self.store = Some(Store::open_on(disk, self.host.clone(), options()).unwrap());
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn ask(&mut self, ask: &Ask) {
        self.host.advance_us(1_000);
        let answer = match self.store().append(ask.append()) {
            Ok(receipt) => Answer::of(receipt),
            Err(AppendError::WrongExpectedRevision { stream, found, .. }) => {
                Answer::Wrong(stream, found)
            }
            Err(AppendError::RequestIdReused(_)) => Answer::Reused,
            Err(AppendError::StreamDeleted { stream, found }) => Answer::Deleted(stream, found),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(answer, self.reference.ask(ask), "{ask:?}");
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Ask(ask) => {
                self.asked.push(ask.clone());
                self.ask(ask);
            }
            Step::Again(index) => {
                if !self.asked.is_empty() {
                    self.ask(&self.asked[index.index(self.asked.len())].clone());
                }
            }
            Step::Maintain => self.store().maintain().unwrap(),
            Step::Reopen => {
                self.store.take().unwrap().close().unwrap();
                self.open();
            }
            Step::Crash(unsynced) => {
                let after = self.disk.power_cut(*unsynced);
                drop(self.store.take());
                self.disk = after;
                self.open();
            }
        }
    }

    fn check(&self) {
        let store = self.store();
        let events = store
            .read_all(ReadFrom::Start, Direction::Forwards, None)
            .unwrap();
        let events: Vec<_> = events.map(Result::unwrap).collect();
        assert_eq!(events.len(), self.reference.log.len());
        for (position, (event, entry)) in events.iter().zip(&self.reference.log).enumerate() {
            assert_eq!(event.position.0, u64::try_from(position).unwrap());
            same(event, entry);
        }
        let states = store.states(StateSpace::Settings, b"");
        let states: BTreeMap<u8, Vec<u8>> = states
            .iter()
            .map(|(key, value)| (key[0], value.to_vec()))
            .collect();
        assert_eq!(states, self.reference.states);
        for name in STREAMS {
            let name = StreamName::new(name).unwrap();
            let expected = self.reference.readable(&name);
            let read = store.read_stream(&name, ReadFrom::Start, Direction::Forwards);
            match (read, expected) {
                (Ok(read), Some(expected)) => {
                    let read: Vec<_> = read.map(Result::unwrap).collect();
                    assert_eq!(read.len(), expected.len(), "{name}");
                    for (event, entry) in read.iter().zip(&expected) {
                        same(event, entry);
                    }
                }
                (Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)), None) => {}
                (Ok(_), None) => panic!("{name} can be read"),
                (Err(error), _) => panic!("{name}: {error}"),
            }
        }
    }
}

fn same(event: &annal::RecordedEvent, entry: &Entry) {
    assert_eq!(
        (&event.stream, event.revision),
        (&entry.stream, entry.revision)
    );
    assert_eq!(
        (&*event.event_type, &event.data[..]),
        (&*entry.event_type, &entry.data[..])
    );
    if let Some(id) = entry.id {
        assert_eq!(event.id, id);
    }
}

/// How many random histories are tried: `ANNAL_MODEL_CASES`, or enough for every day.
fn cases() -> u32 {
    let given = std::env::var("ANNAL_MODEL_CASES").ok();
    given.and_then(|given| given.parse().ok()).unwrap_or(40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_the_reference_does(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
        }
        run.check();
        run.take(&Step::Reopen);
        run.check();
    }
}
