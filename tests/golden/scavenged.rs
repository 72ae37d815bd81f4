//! What happens in the golden store that was scavenged: state records that replace each other, and
//! a segment that was written again, twice. Nothing depends on chance or on the time of day.

use std::sync::Arc;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{
    Append, Background, ExpectedRevision, NewEvent, Request, ScavengeOptions, StateChange,
    StateSpace, Store, StoreOptions, StreamName, Tag,
};
use uuid::Uuid;

use super::{Files, files_of, listing};

/// So much that a segment has no room for two, or for one and the many small events.
const LARGE_LEN_BYTES: usize = 40_000;
/// So many events that all before them lie in another leaf of the log than what is written next.
const MANY: u128 = 1_030;

const ANY: ExpectedRevision = ExpectedRevision::Any;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn event(id: u128) -> NewEvent {
    NewEvent::json("Happened".try_into().unwrap(), r#"{"n":1}"#).with_id(Uuid::from_u128(id))
}

fn events(name: &str, ids: std::ops::Range<u128>) -> Append {
    Append::to(stream(name), ANY, ids.map(event))
}

fn put(key: &'static str, value: &'static str) -> StateChange {
    StateChange::put(StateSpace::Settings, key, value)
}

fn metadata(name: &str, id: u128, json: &'static str) -> Append {
    let event = NewEvent::json("$metadata".try_into().unwrap(), json).with_id(Uuid::from_u128(id));
    Append::to(stream(&format!("$${name}")), ANY, [event])
}

/// The events and state records in the end, and the files after the store was stopped in order.
pub(crate) fn run() -> (String, Files) {
    let disk = MemoryDisk::new();
    let host = Arc::new(SimulatedHost::new(4));
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    let store = Store::open_on(Arc::new(disk.clone()), host.clone(), options).unwrap();
    let write = |appends: Vec<Append>| {
        for append in appends {
            store.append(append).unwrap();
            host.advance_us(1_000);
            store.maintain().unwrap();
        }
    };
    write(before());
    scavenge(&store);
    let again = Append::delete(stream("late"), ANY).state(put("colour", "red"));
    write(vec![again, events("kept", 90..91)]);
    scavenge(&store);
    write(vec![Append::new().state(put("last", ""))]);
    host.advance_us(1_000_000);
    store.maintain().unwrap();
    let events = listing(&store);
    store.close().unwrap();
    (events, files_of(&disk))
}

fn scavenge(store: &Store) {
    let done = store.scavenge(ScavengeOptions::default()).unwrap().wait();
    assert_eq!(done.rewritten_segments, 1);
    store.maintain().unwrap();
}

fn before() -> Vec<Append> {
    let talk = event(10)
        .with_metadata(r#"{"$correlationId":"talk"}"#)
        .with_tags(vec![Tag::new("vip").unwrap()]);
    let request = Request {
        principal: "ann".to_owned(),
        id: Uuid::from_u128(0xaa),
    };
    let large = |id| {
        let event = NewEvent::binary("Blob".try_into().unwrap(), vec![0; LARGE_LEN_BYTES]);
        event.with_id(Uuid::from_u128(id))
    };
    let small = |id| {
        let event = NewEvent::binary("S".try_into().unwrap(), bytes::Bytes::new());
        event.with_id(Uuid::from_u128(id))
    };
    let many = (2_000..2_000 + MANY).map(small);
    vec![
        Append::new()
            .state(put("colour", "blue"))
            .state(put("gone", "x")),
        events("kept", 1..3),
        // Of this unit nothing is left.
        Append::to(stream("deleted"), ANY, [talk]),
        // Of this one some events are, and of the next one a state record.
        Append::new()
            .event(stream("deleted"), event(11))
            .event(stream("kept"), event(3))
            .event(stream("deleted"), event(12))
            .event(stream("late"), event(13)),
        events("deleted", 14..16).state(put("with", "events")),
        events("counted", 20..29),
        metadata("counted", 30, r#"{"$maxCount":5}"#),
        metadata("counted", 31, r#"{"$maxCount":2}"#),
        events("closed", 40..42),
        Append::tombstone(stream("closed"), ANY),
        events("named", 50..52).request(request),
        events("late", 60..63),
        Append::delete(stream("deleted"), ANY),
        Append::new()
            .state(put("colour", "green"))
            .state(StateChange::remove(StateSpace::Settings, "gone")),
        Append::to(stream("blobs"), ANY, [large(80)]),
        Append::to(stream("f"), ANY, many),
        Append::to(stream("blobs"), ANY, [large(81)]),
        events("tail", 70..72),
    ]
}
