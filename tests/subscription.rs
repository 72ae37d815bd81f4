//! Subscriptions deliver every event of their source once and in order, whatever happens at the
//! same time; they wake when there is something for them, and cost nothing when there is not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::sync::Arc;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{
    Append, BatchLimit, EventType, ExpectedRevision, NewEvent, Notice, Source, Store, StoreOptions,
    StreamName, SubscribeFrom,
};

fn store() -> Store {
    let options = StoreOptions::default();
    let host = Arc::new(SimulatedHost::new(1));
    Store::open_on(Arc::new(MemoryDisk::new()), host, options).unwrap()
}

fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

fn append(store: &Store, stream: &str, count: usize) {
    let event = || NewEvent::json(EventType::new("Happened").unwrap(), "{}");
    let events = (0..count).map(|_| event());
    store
        .append(Append::to(name(stream), ExpectedRevision::Any, events))
        .unwrap();
}

#[test]
fn a_subscription_catches_up_and_goes_live() {
    let store = store();
    append(&store, "a-1", 3);
    let mut subscription = store.subscribe(Source::All, SubscribeFrom::Start).unwrap();
    let limit = BatchLimit::default();
    let Notice::Events(batch) = subscription.next(limit).unwrap() else {
        panic!("events first")
    };
    assert_eq!(batch.events_count(), 3);
    assert!(matches!(
        subscription.next(limit).unwrap(),
        Notice::CaughtUp(_)
    ));
    assert!(subscription.try_next(limit).unwrap().is_none());
    append(&store, "a-1", 2);
    let Notice::Events(batch) = subscription.next(limit).unwrap() else {
        panic!("events are live")
    };
    assert_eq!(batch.events_count(), 2);
}
