//! Feeds deliver events with what they point to, once and in order, and say how far they have come
//! where clients of EventStoreDB expect it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::sync::Arc;
use std::time::Duration;

use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{
    Append, EventFilter, EventType, ExpectedRevision, Feed, FeedNotice, FeedOptions, FeedSource,
    FilterTarget, NewEvent, Position, Revision, Store, StoreOptions, StreamName, SubscribeFrom,
};

/// Long enough for any machine; who waits so long has been forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

fn store() -> Store {
    let options = StoreOptions::default();
    let host = Arc::new(SimulatedHost::new(1));
    Store::open_on(Arc::new(MemoryDisk::new()), host, options).unwrap()
}

fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

fn append_typed(store: &Store, stream: &str, kind: &str, data: &str) {
    let event_type = EventType::new(kind.to_owned()).unwrap();
    let event = NewEvent::json(event_type, data.to_owned());
    let append = Append::to(name(stream), ExpectedRevision::Any, [event]);
    store.append(append).unwrap();
}

fn append(store: &Store, stream: &str, count: usize) {
    (0..count).for_each(|_| append_typed(store, stream, "Happened", "{}"));
}

fn stream(text: &str) -> FeedSource {
    FeedSource::Stream(name(text))
}

fn prefix(text: &str) -> FeedSource {
    let filter = EventFilter::prefixes(FilterTarget::Stream, [text]).unwrap();
    FeedSource::All(Some(filter))
}

fn next(feed: &mut Feed) -> FeedNotice {
    let notice = feed.next_timeout(1_000, FORGOTTEN).unwrap();
    notice.expect("somebody was forgotten")
}

/// A notice as text: `3` is an event with this revision, `=7` a checkpoint in front of a position.
fn text(notice: &FeedNotice) -> Vec<String> {
    match notice {
        FeedNotice::Events(events) => events
            .iter()
            .map(|event| event.original().revision.to_string())
            .collect(),
        FeedNotice::Checkpoint(progress) => vec![format!("={}", progress.position)],
        FeedNotice::CaughtUp(caught_up) => {
            let revision = caught_up.revision.map_or("-".into(), |at| at.to_string());
            vec![format!(
                "live {revision} at {}",
                caught_up.progress.position
            )]
        }
        FeedNotice::FellBehind(_) => vec!["behind".into()],
        FeedNotice::StreamTombstoned(position) => vec![format!("closed at {position}")],
    }
}

/// Everything up to and with the next notice of this kind.
fn until(feed: &mut Feed, kind: &str) -> Vec<String> {
    let mut texts = Vec::new();
    while !texts
        .last()
        .is_some_and(|last: &String| last.starts_with(kind))
    {
        texts.extend(text(&next(feed)));
    }
    texts
}

fn options() -> FeedOptions {
    FeedOptions::default()
}

#[test]
fn a_feed_of_a_stream_catches_up_and_goes_on_behind_the_last_revision() {
    let store = store();
    append(&store, "a", 3);
    let mut feed = store
        .feed(stream("a"), SubscribeFrom::Start, options())
        .unwrap();
    assert_eq!(until(&mut feed, "live"), ["0", "1", "2", "live 2 at 3"]);
    append(&store, "b", 1);
    append(&store, "a", 1);
    assert_eq!(text(&next(&mut feed)), ["3"]);
    assert_eq!(feed.position(), Position(5));

    let behind = SubscribeFrom::AfterRevision(Revision(5));
    let mut feed = store.feed(stream("a"), behind, options()).unwrap();
    assert_eq!(until(&mut feed, "live"), ["live 3 at 5"]);
    append(&store, "a", 3);
    assert_eq!(text(&next(&mut feed)), ["6"]);
}

#[test]
fn a_stream_that_is_not_there_or_is_deleted_is_waited_for() {
    let store = store();
    append(&store, "gone", 2);
    let delete = Append::delete(name("gone"), ExpectedRevision::Any);
    store.append(delete).unwrap();
    for (stream_name, first) in [("never", "0"), ("gone", "2")] {
        let from = SubscribeFrom::Start;
        let mut feed = store.feed(stream(stream_name), from, options()).unwrap();
        assert!(until(&mut feed, "live")[0].starts_with("live - "));
        append(&store, stream_name, 1);
        assert_eq!(text(&next(&mut feed)), [first]);
    }
}

#[test]
fn who_was_there_when_a_stream_was_closed_gets_the_tombstone_first() {
    let store = store();
    append(&store, "a", 1);
    let mut feed = store
        .feed(stream("a"), SubscribeFrom::Start, options())
        .unwrap();
    until(&mut feed, "live");
    let tombstone = Append::tombstone(name("a"), ExpectedRevision::Any);
    store.append(tombstone).unwrap();
    let tombstone = Revision::TOMBSTONE.to_string();
    assert_eq!(until(&mut feed, "closed"), [&*tombstone, "closed at 1"]);
    assert_eq!(until(&mut feed, "closed"), ["closed at 1"]);
    let mut late = store
        .feed(stream("a"), SubscribeFrom::Start, options())
        .unwrap();
    assert_eq!(until(&mut late, "closed"), ["closed at 1"]);
}

#[test]
fn checkpoints_count_what_was_looked_at_and_come_before_being_live() {
    let store = store();
    append(&store, "a", 3);
    append(&store, "b", 8);
    append(&store, "a", 3);
    let every = options().checkpoint_events(4);
    let mut feed = store
        .feed(prefix("a"), SubscribeFrom::Start, every)
        .unwrap();
    let catching_up = [
        "0",
        "1",
        "2",
        "=4",
        "=8",
        "3",
        "=12",
        "4",
        "5",
        "=14",
        "live - at 14",
    ];
    assert_eq!(until(&mut feed, "live"), catching_up);
    append(&store, "b", 3);
    append(&store, "a", 1);
    append(&store, "b", 1);
    assert_eq!(until(&mut feed, "="), ["6", "=18"]);

    let mut none = store
        .feed(prefix("none"), SubscribeFrom::Start, options())
        .unwrap();
    assert_eq!(until(&mut none, "live"), ["=19", "live - at 19"]);
    let from = SubscribeFrom::End;
    let mut all = store.feed(FeedSource::All(None), from, every).unwrap();
    assert_eq!(until(&mut all, "live"), ["live - at 19"]);
    append(&store, "b", 6);
    assert_eq!(
        next_revisions(&mut all, 6),
        ["12", "13", "14", "15", "16", "17"]
    );
}

fn next_revisions(feed: &mut Feed, count: usize) -> Vec<String> {
    let mut revisions = Vec::new();
    while revisions.len() < count {
        revisions.extend(text(&next(feed)));
    }
    revisions
}

#[test]
fn where_everything_is_chosen_there_is_a_checkpoint_for_each_interval() {
    let store = store();
    append(&store, "a", 384);
    let every = options().checkpoint_events(64);
    let mut feed = store
        .feed(prefix("a"), SubscribeFrom::Start, every)
        .unwrap();
    let texts = until(&mut feed, "live");
    let checkpoints = texts.iter().filter(|text| text.starts_with('='));
    assert_eq!(checkpoints.count(), 6);
    assert_eq!(texts[texts.len() - 2], "=384");
}

#[test]
fn where_nothing_is_chosen_there_is_a_checkpoint_for_each_interval_too() {
    let store = store();
    append(&store, "b", 11);
    let every = options().checkpoint_events(4);
    let mut feed = store
        .feed(prefix("a"), SubscribeFrom::Start, every)
        .unwrap();
    assert_eq!(
        until(&mut feed, "live"),
        ["=4", "=8", "=11", "live - at 11"]
    );
    // However much is committed at once, and however late the feed looks.
    append(&store, "b", 10);
    assert_eq!(until(&mut feed, "=19"), ["=15", "=19"]);
    assert!(feed.try_next(10).unwrap().is_none());
    append(&store, "b", 1);
    assert!(feed.try_next(10).unwrap().is_none());
    append(&store, "b", 1);
    assert_eq!(text(&next(&mut feed)), ["=23"]);
}

#[test]
fn links_are_followed_in_what_is_there_and_in_what_comes() {
    let store = store();
    append(&store, "a", 2);
    append_typed(&store, "links", "$>", "1@a");
    let resolving = options().resolve_links(true);
    let mut feed = store
        .feed(stream("links"), SubscribeFrom::Start, resolving)
        .unwrap();
    let targets = |notice| match notice {
        FeedNotice::Events(events) => {
            let targets = events
                .iter()
                .map(|event| event.event().map(|at| at.position.0));
            targets.collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(targets(next(&mut feed)), [Some(1)]);
    until(&mut feed, "live");
    append_typed(&store, "links", "$>", "0@a");
    assert_eq!(targets(next(&mut feed)), [Some(0)]);
    append_typed(&store, "links", "$>", "9@a");
    assert_eq!(targets(next(&mut feed)), [None]);
}

#[test]
fn a_feed_hands_out_no_more_events_at_once_than_asked_for() {
    let store = store();
    append(&store, "a", 10);
    let mut feed = store
        .feed(stream("a"), SubscribeFrom::Start, options())
        .unwrap();
    let mut counts = Vec::new();
    while let Some(FeedNotice::Events(events)) = feed.try_next(4).unwrap() {
        counts.push(events.len());
    }
    assert_eq!(counts, [4, 4, 2]);
}

#[test]
fn a_feed_ends_when_its_store_is_closed() {
    let store = store();
    let mut feed = store
        .feed(stream("a"), SubscribeFrom::Start, options())
        .unwrap();
    until(&mut feed, "live");
    store.close().unwrap();
    assert!(feed.next(10).is_err());
}
