//! Links are followed once, to what their streams show, and are delivered whatever they point to.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::sync::Arc;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{
    Append, Background, Bounds, ContentType, Direction, EventFilter, EventType, ExpectedRevision,
    FilterTarget, NewEvent, ReadError, ReadFrom, ResolvedEvent, Revision, Store, StoreOptions,
    StreamName,
};

fn store() -> Store {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    let host = Arc::new(SimulatedHost::new(1));
    Store::open_on(Arc::new(MemoryDisk::new()), host, options).unwrap()
}

fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

fn event_type(text: &str) -> EventType {
    EventType::new(text.to_owned()).unwrap()
}

fn append(store: &Store, stream: &str, kind: &str, data: &str) {
    let event = NewEvent::binary(event_type(kind), data.to_owned());
    let append = Append::to(name(stream), ExpectedRevision::Any, [event]);
    store.append(append).unwrap();
}

fn link(store: &Store, to: &str) {
    append(store, "links", "$>", to);
}

/// What a read gives, as text: the data of the event, and of the link behind it.
fn texts(events: impl Iterator<Item = Result<ResolvedEvent, ReadError>>) -> Vec<String> {
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    let resolved = |event: ResolvedEvent| {
        let original = event.original().clone();
        let (event, link) = event.into_parts();
        let event = event.map_or("-".to_owned(), |event| text(&event.data));
        match link {
            None => event,
            Some(link) => {
                assert_eq!(link, original);
                format!("{event} by {}", text(&link.data))
            }
        }
    };
    events.map(|event| resolved(event.unwrap())).collect()
}

fn read(store: &Store, direction: Direction, resolve_links: bool) -> Vec<String> {
    let from = match direction {
        Direction::Forwards => ReadFrom::Start,
        Direction::Backwards => ReadFrom::End,
    };
    texts(
        store
            .read_resolved(&name("links"), from, direction, resolve_links)
            .unwrap(),
    )
}

#[test]
fn a_link_comes_with_what_it_points_to_and_other_events_as_they_are() {
    let store = store();
    append(&store, "a@b", "Happened", "one");
    append(&store, "a@b", "Happened", "two");
    link(&store, "1@a@b");
    append(&store, "links", "Happened", "own");
    link(&store, "0@a@b");
    link(&store, "0@links");
    let resolved = ["two by 1@a@b", "own", "one by 0@a@b", "1@a@b by 0@links"];
    assert_eq!(read(&store, Direction::Forwards, true), resolved);
    let backwards: Vec<_> = resolved.into_iter().rev().collect();
    assert_eq!(read(&store, Direction::Backwards, true), backwards);
    let unresolved = ["1@a@b", "own", "0@a@b", "0@links"];
    assert_eq!(read(&store, Direction::Forwards, false), unresolved);
    let filter = EventFilter::pattern(FilterTarget::Stream, r"^(?!a)").unwrap();
    let all = store.read_all_resolved(ReadFrom::Start, Direction::Forwards, Some(filter), true);
    assert_eq!(texts(all.unwrap()), resolved);
}

#[test]
fn a_link_to_what_cannot_be_seen_comes_without_it() {
    let store = store();
    for stream in ["cut", "deleted", "closed"] {
        append(&store, stream, "Happened", "x");
        append(&store, stream, "Happened", "y");
    }
    let cut = Append::metadata(&name("cut"), ExpectedRevision::Any, r#"{"$tb":1}"#).unwrap();
    store.append(cut).unwrap();
    let any = ExpectedRevision::Any;
    store.append(Append::delete(name("deleted"), any)).unwrap();
    store
        .append(Append::tombstone(name("closed"), any))
        .unwrap();
    let targets = [
        "0@cut",
        "1@cut",
        "7@cut",
        "0@deleted",
        "0@closed",
        "0@never",
    ];
    targets.iter().for_each(|target| link(&store, target));
    let read = read(&store, Direction::Forwards, true);
    let shown: Vec<_> = targets
        .iter()
        .map(|target| match *target {
            "1@cut" => "y by 1@cut".to_owned(),
            target => format!("- by {target}"),
        })
        .collect();
    assert_eq!(read, shown);
}

#[test]
fn what_is_no_link_is_an_ordinary_event() {
    let store = store();
    append(&store, "a", "Happened", "x");
    for (kind, data) in [("$>", "0"), ("$>", "x@a"), ("$@", "a"), ("Happened", "0@a")] {
        append(&store, "links", kind, data);
    }
    assert_eq!(
        read(&store, Direction::Forwards, true),
        ["0", "x@a", "a", "0@a"]
    );
    let events = store.read_stream(&name("links"), ReadFrom::Start, Direction::Forwards);
    for event in events.unwrap() {
        let event = event.unwrap();
        assert_eq!(event.content_type, ContentType::Binary);
        assert_eq!(
            store.resolve(event.clone()).unwrap(),
            ResolvedEvent::Plain(event)
        );
    }
}

#[test]
fn a_read_knows_the_first_and_the_last_revision() {
    let store = store();
    (0..5).for_each(|_| append(&store, "a", "Happened", "x"));
    let json = r#"{"$maxCount":2}"#;
    let limit = Append::metadata(&name("a"), ExpectedRevision::Any, json).unwrap();
    store.append(limit).unwrap();
    let read = |from| {
        store
            .read_resolved(&name("a"), from, Direction::Forwards, true)
            .unwrap()
    };
    let bounds = Bounds {
        first: Revision(3),
        last: Revision(4),
    };
    for from in [ReadFrom::Start, ReadFrom::At(Revision(9)), ReadFrom::End] {
        assert_eq!(read(from).bounds(), Some(bounds));
    }
    assert_eq!(read(ReadFrom::At(Revision(9))).count(), 0);
}

#[test]
fn a_pattern_that_takes_too_long_ends_the_read_with_an_error() {
    let store = store();
    append(&store, "b", "Happened", "x");
    append(&store, &"a".repeat(1_000), "Happened", "x");
    append(&store, "b", "Happened", "x");
    let filter = EventFilter::pattern(FilterTarget::Stream, r"b|(?=a)(a|aa|a?)+(?!.)b").unwrap();
    let mut read = store
        .read_all_resolved(ReadFrom::Start, Direction::Forwards, Some(filter), true)
        .unwrap();
    let error = read.find_map(Result::err).unwrap();
    assert!(matches!(error, ReadError::FilterTooCostly(_)), "{error}");
    assert!(read.next().is_none());
}
