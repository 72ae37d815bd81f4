//! Virtual streams show what a projection over the whole log would have written, each event under
//! the same number for ever, whatever the index went through.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "virtual_streams/naive.rs"]
mod naive;

use std::sync::Arc;
use std::time::Duration;

use annal::disk::{Disk, MemoryDisk, SimulatedHost};
use annal::{
    Append, Background, Direction, EventType, ExpectedRevision, Feed, FeedNotice, FeedOptions,
    FeedSource, NewEvent, Position, Projection, ReadError, ReadFrom, RecordedEvent, ResolvedEvent,
    Revision, Store, StoreOptions, StreamName, SubscribeFrom,
};
use naive::Naive;
use proptest::prelude::*;

/// Long enough for any machine; who waits so long has been forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

fn open(disk: &MemoryDisk, background: Background) -> Store {
    let mut options = StoreOptions::default();
    options.background = background;
    options.index_flush_events = 16;
    options.segment_size_bytes = 64 * 1024;
    let host = Arc::new(SimulatedHost::new(1));
    Store::open_on(Arc::new(disk.clone()), host, options).unwrap()
}

fn store() -> Store {
    open(&MemoryDisk::new(), Background::Threads)
}

fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

fn event(kind: &str, data: &str) -> NewEvent {
    NewEvent::json(EventType::new(kind.to_owned()).unwrap(), data.to_owned())
}

fn append(store: &Store, stream: &str, events: impl IntoIterator<Item = NewEvent>) {
    let append = Append::to(name(stream), ExpectedRevision::Any, events);
    store.append(append).unwrap();
}

fn append_some(store: &Store, stream: &str, count: usize) {
    append(store, stream, (0..count).map(|_| event("Happened", "{}")));
}

fn read(
    store: &Store,
    stream: &str,
    from: ReadFrom<Revision>,
    direction: Direction,
    resolve_links: bool,
) -> Result<Vec<ResolvedEvent>, ReadError> {
    let events = store.read_resolved(&name(stream), from, direction, resolve_links)?;
    events.collect()
}

/// The data of the links of a virtual stream; none if it is not there.
fn links(store: &Store, stream: &str) -> Option<Vec<String>> {
    let from = ReadFrom::Start;
    match read(store, stream, from, Direction::Forwards, false) {
        Err(ReadError::StreamNotFound(_)) => None,
        events => Some(
            events
                .unwrap()
                .iter()
                .map(|one| data(one.original()))
                .collect(),
        ),
    }
}

fn data(event: &RecordedEvent) -> String {
    String::from_utf8(event.data.to_vec()).unwrap()
}

fn feed(store: &Store, stream: &str, from: SubscribeFrom) -> Feed {
    let options = FeedOptions::default().resolve_links(true);
    let source = FeedSource::Stream(name(stream));
    store.feed(source, from, options).unwrap()
}

fn next(feed: &mut Feed) -> FeedNotice {
    let notice = feed.next_timeout(100, FORGOTTEN).unwrap();
    notice.expect("somebody was forgotten")
}

/// What comes up to being live, or, when live, so many events: numbers and data of links.
fn delivered(feed: &mut Feed, count: usize) -> Vec<String> {
    let mut delivered = Vec::new();
    while delivered.len() < count {
        match next(feed) {
            FeedNotice::Events(events) => delivered.extend(events.iter().map(|event| {
                let link = event.original();
                format!("{} {}", link.revision, data(link))
            })),
            FeedNotice::CaughtUp(_) => break,
            other => panic!("{other:?}"),
        }
    }
    delivered
}

/// Compares every virtual stream that there could be with what the whole log gives.
fn check(store: &Store) {
    let log = store.read_all(ReadFrom::Start, Direction::Forwards, None);
    let log: Vec<RecordedEvent> = log.unwrap().map(Result::unwrap).collect();
    let naive = Naive::new(store, &log);
    for (stream, expected) in naive.streams() {
        for resolve_links in [false, true] {
            let expected: Vec<ResolvedEvent> = expected
                .iter()
                .map(|one| naive.resolved(one, resolve_links))
                .collect();
            let count = u64::try_from(expected.len()).unwrap();
            for from in [0, 1, count / 2, count.saturating_sub(1), count, count + 5] {
                let at = usize::try_from(from).unwrap();
                let from = ReadFrom::At(Revision(from));
                let forwards = Direction::Forwards;
                let found = read(store, &stream, from, forwards, resolve_links);
                let rest = expected.get(at..).unwrap_or_default();
                assert_eq!(found.unwrap(), rest, "{stream} from {at}");
                let backwards = Direction::Backwards;
                let found = read(store, &stream, from, backwards, resolve_links);
                let mut rest = expected[..expected.len().min(at + 1)].to_vec();
                rest.reverse();
                assert_eq!(found.unwrap(), rest, "{stream} back from {at}");
            }
        }
        let mut feed = feed(store, &stream, SubscribeFrom::Start);
        let mut fed = Vec::new();
        loop {
            match next(&mut feed) {
                FeedNotice::Events(events) => fed.extend(events),
                FeedNotice::CaughtUp(caught_up) => {
                    assert_eq!(caught_up.revision.map(|at| at.0 + 1), Some(count(&fed)));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        let expected = expected.iter().map(|one| naive.resolved(one, true));
        assert_eq!(fed, expected.collect::<Vec<_>>(), "{stream}, fed");
    }
    for absent in ["$ce-none", "$et-None", "$bc-none", "$category-none"] {
        assert_eq!(links(store, absent), None, "{absent}");
    }
}

fn count(events: &[ResolvedEvent]) -> u64 {
    u64::try_from(events.len()).unwrap()
}

#[derive(Clone, Debug)]
enum Op {
    Append {
        stream: usize,
        kind: usize,
        conversation: usize,
        count: usize,
    },
    Link {
        stream: usize,
        to: &'static str,
    },
    Metadata {
        stream: usize,
        json: &'static str,
    },
    Delete {
        stream: usize,
    },
    Tombstone {
        stream: usize,
    },
    Maintain,
    Reopen,
    LoseTables,
}

const STREAMS: [&str; 7] = ["a-1", "a-2", "b-1", "plain", "-x", "$sys-1", "a-1-2"];
const KINDS: [&str; 3] = ["Made", "Sold", "$Own"];
const CONVERSATIONS: [&str; 4] = [
    "",
    r#"{"$correlationId":"c-1"}"#,
    r#"{"mine":1,"$correlationId":"c-2"}"#,
    r#"{"$correlationId":7}"#,
];

fn op() -> impl Strategy<Value = Op> {
    let stream = || 0..STREAMS.len();
    prop_oneof![
        8 => (stream(), 0..KINDS.len(), 0..CONVERSATIONS.len(), 1usize..8).prop_map(
            |(stream, kind, conversation, count)| Op::Append { stream, kind, conversation, count }
        ),
        2 => (stream(), prop::sample::select(vec!["0@a-1", "1@b-1", "9@a-2", "x", "0@a-2"]))
            .prop_map(|(stream, to)| Op::Link { stream, to }),
        1 => (stream(), prop::sample::select(vec![r#"{"$tb":2}"#, r#"{"$maxCount":2}"#]))
            .prop_map(|(stream, json)| Op::Metadata { stream, json }),
        1 => stream().prop_map(|stream| Op::Delete { stream }),
        1 => stream().prop_map(|stream| Op::Tombstone { stream }),
        4 => Just(Op::Maintain),
        1 => Just(Op::Reopen),
        1 => Just(Op::LoseTables),
    ]
}

fn apply(store: Store, disk: &MemoryDisk, op: &Op) -> Store {
    let any = ExpectedRevision::Any;
    // What is tombstoned takes nothing any more.
    let try_append = |append| drop(store.append(append));
    match op {
        Op::Append {
            stream,
            kind,
            conversation,
            count,
        } => {
            let metadata = CONVERSATIONS[*conversation];
            let events = (0..*count).map(|_| event(KINDS[*kind], "{}").with_metadata(metadata));
            try_append(Append::to(name(STREAMS[*stream]), any, events));
        }
        Op::Link { stream, to } => {
            let metadata = CONVERSATIONS[1];
            let link = event("$>", to).with_metadata(metadata);
            try_append(Append::to(name(STREAMS[*stream]), any, [link]));
        }
        Op::Metadata { stream, json } => {
            try_append(Append::metadata(&name(STREAMS[*stream]), any, *json).unwrap());
        }
        Op::Delete { stream } => try_append(Append::delete(name(STREAMS[*stream]), any)),
        Op::Tombstone { stream } => try_append(Append::tombstone(name(STREAMS[*stream]), any)),
        Op::Maintain => store.maintain().unwrap(),
        Op::Reopen => {
            store.close().unwrap();
            return open(disk, Background::Manual);
        }
        Op::LoseTables => {
            store.close().unwrap();
            let files = disk.list().unwrap();
            let tables = files.iter().filter(|(name, _)| name.starts_with("table-"));
            tables.for_each(|(name, _)| disk.remove(name).unwrap());
            let store = open(disk, Background::Manual);
            store.maintain().unwrap();
            return store;
        }
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn virtual_streams_are_what_a_projection_over_the_log_gives(
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let disk = MemoryDisk::new();
        let mut store = open(&disk, Background::Manual);
        for (number, op) in ops.iter().enumerate() {
            store = apply(store, &disk, op);
            if number % 16 == 15 {
                check(&store);
            }
        }
        check(&store);
    }
}

#[test]
fn a_virtual_stream_holds_links_that_are_the_same_each_time() {
    let store = store();
    append_some(&store, "order-1", 2);
    append_some(&store, "order-2", 1);
    assert_eq!(
        links(&store, "$ce-order").unwrap(),
        ["0@order-1", "1@order-1", "0@order-2"]
    );
    assert_eq!(links(&store, "$et-Happened").unwrap().len(), 3);
    assert_eq!(
        links(&store, "$category-order").unwrap(),
        ["order-1", "order-2"]
    );
    assert_eq!(
        links(&store, "$streams").unwrap(),
        ["0@order-1", "0@order-2"]
    );
    let one = |stream| {
        let from = ReadFrom::At(Revision(1));
        let events = read(&store, stream, from, Direction::Forwards, true).unwrap();
        events[0].clone()
    };
    let (first, again) = (one("$ce-order"), one("$ce-order"));
    assert_eq!(first, again);
    let (event, link) = first.into_parts();
    let (event, link) = (event.unwrap(), link.unwrap());
    assert_eq!(
        (link.position, link.created),
        (event.position, event.created)
    );
    assert_eq!((&*link.stream, link.revision), ("$ce-order", Revision(1)));
    assert_ne!(link.id, one("$et-Happened").original().id);
    assert_ne!(link.id, event.id);
}

#[test]
fn a_link_to_a_virtual_stream_is_followed_once_to_the_link_there() {
    let store = store();
    append_some(&store, "order-1", 2);
    append(
        &store,
        "links",
        ["1@$ce-order", "2@$ce-order"].map(|to| event("$>", to)),
    );
    let links = read(&store, "links", ReadFrom::Start, Direction::Forwards, true).unwrap();
    let target = links[0].event().unwrap();
    assert_eq!(
        (&*target.event_type, data(target)),
        ("$>", "1@order-1".to_owned())
    );
    assert!(links[1].event().is_none() && links[1].link().is_some());
}

#[test]
fn what_was_written_under_the_name_of_a_virtual_stream_is_hidden_by_it() {
    let store = store();
    append_some(&store, "$ce-order", 3);
    assert_eq!(links(&store, "$ce-order"), None);
    append_some(&store, "order-1", 1);
    assert_eq!(links(&store, "$ce-order").unwrap(), ["0@order-1"]);
    let stored = store.read_stream(&name("$ce-order"), ReadFrom::Start, Direction::Forwards);
    assert_eq!(stored.unwrap().count(), 3);
}

#[test]
fn the_metadata_of_a_virtual_stream_holds_for_it() {
    let store = store();
    append_some(&store, "order-1", 5);
    let metadata = |json| {
        let any = ExpectedRevision::Any;
        let append = Append::metadata(&name("$ce-order"), any, json).unwrap();
        store.append(append).unwrap();
    };
    metadata(r#"{"$maxCount":2}"#);
    assert_eq!(
        links(&store, "$ce-order").unwrap(),
        ["3@order-1", "4@order-1"]
    );
    let mut fed = feed(&store, "$ce-order", SubscribeFrom::Start);
    assert_eq!(delivered(&mut fed, 9), ["3 3@order-1", "4 4@order-1"]);
    metadata(r#"{"$tb":4}"#);
    assert_eq!(links(&store, "$ce-order").unwrap(), ["4@order-1"]);
    let any = ExpectedRevision::Any;
    store
        .append(Append::delete(name("$ce-order"), any))
        .unwrap();
    assert_eq!(links(&store, "$ce-order"), None);
    metadata("{}");
    assert_eq!(links(&store, "$ce-order").unwrap().len(), 5);
}

#[test]
fn a_feed_of_a_virtual_stream_goes_on_live_under_the_next_numbers() {
    let store = store();
    append_some(&store, "order-1", 2);
    let mut fed = feed(
        &store,
        "$ce-order",
        SubscribeFrom::AfterRevision(Revision(0)),
    );
    assert_eq!(delivered(&mut fed, 9), ["1 1@order-1"]);
    append_some(&store, "other-1", 1);
    append_some(&store, "order-2", 1);
    assert_eq!(delivered(&mut fed, 1), ["2 0@order-2"]);
    let mut late = feed(
        &store,
        "$ce-order",
        SubscribeFrom::AfterRevision(Revision(3)),
    );
    let mut at_end = feed(&store, "$ce-order", SubscribeFrom::End);
    let mut behind = feed(&store, "$ce-order", SubscribeFrom::After(Position(1)));
    assert_eq!(delivered(&mut behind, 9), ["2 0@order-2"]);
    assert!(delivered(&mut late, 9).is_empty() && delivered(&mut at_end, 9).is_empty());
    append_some(&store, "order-2", 2);
    assert_eq!(delivered(&mut late, 1), ["4 2@order-2"]);
    assert_eq!(delivered(&mut at_end, 2), ["3 1@order-2", "4 2@order-2"]);

    let mut streams = feed(&store, "$streams", SubscribeFrom::End);
    let mut category = feed(&store, "$category-order", SubscribeFrom::End);
    let mut conversation = feed(&store, "$bc-7", SubscribeFrom::Start);
    let mut deleted = feed(&store, "$et-$deleted", SubscribeFrom::Start);
    for fed in [&mut streams, &mut category, &mut conversation, &mut deleted] {
        assert!(delivered(fed, 9).is_empty());
        assert!(fed.try_next(9).unwrap().is_none());
    }
    let metadata = r#"{"$correlationId":"7"}"#;
    append(
        &store,
        "order-3",
        [event("Happened", "{}").with_metadata(metadata)],
    );
    let any = ExpectedRevision::Any;
    store
        .append(Append::tombstone(name("order-1"), any))
        .unwrap();
    store.append(Append::delete(name("order-2"), any)).unwrap();
    assert_eq!(delivered(&mut streams, 2), ["3 0@order-3", "4 0@$$order-2"]);
    assert_eq!(delivered(&mut category, 1), ["2 order-3"]);
    assert_eq!(delivered(&mut conversation, 1), ["0 0@order-3"]);
    let tombstone = format!("0 {}@order-1", Revision::TOMBSTONE);
    assert_eq!(delivered(&mut deleted, 2), [&*tombstone, "1 0@$$order-2"]);
}

#[test]
fn a_stopped_projection_shows_nothing_new_until_it_runs_again() {
    let disk = MemoryDisk::new();
    let store = open(&disk, Background::Manual);
    assert!(store.system_projections().iter().all(|one| one.is_running));
    append_some(&store, "order-1", 2);
    let mut fed = feed(&store, "$ce-order", SubscribeFrom::Start);
    assert_eq!(delivered(&mut fed, 9).len(), 2);
    store
        .set_system_projection(Projection::ByCategory, false)
        .unwrap();
    append_some(&store, "order-1", 1);
    assert_eq!(links(&store, "$ce-order").unwrap().len(), 2);
    assert_eq!(links(&store, "$et-Happened").unwrap().len(), 3);
    let state = store.system_projections()[0];
    assert_eq!(state.projection, Projection::ByCategory);
    assert_eq!((state.is_running, state.position), (false, Position(2)));
    assert!(
        fed.next_timeout(9, Duration::from_millis(20))
            .unwrap()
            .is_none()
    );
    drop(fed);
    store.close().unwrap();

    let store = open(&disk, Background::Manual);
    assert!(!store.system_projections()[0].is_running);
    let mut fed = feed(&store, "$ce-order", SubscribeFrom::Start);
    let mut at_end = feed(&store, "$ce-order", SubscribeFrom::End);
    assert_eq!(delivered(&mut fed, 9).len(), 2);
    assert!(delivered(&mut at_end, 9).is_empty());
    let waiting = std::thread::spawn(move || (delivered(&mut fed, 2), delivered(&mut at_end, 2)));
    append_some(&store, "order-1", 1);
    store
        .set_system_projection(Projection::ByCategory, true)
        .unwrap();
    let both = ["2 2@order-1", "3 3@order-1"].map(str::to_owned).to_vec();
    assert_eq!(waiting.join().unwrap(), (both.clone(), both));
    assert_eq!(links(&store, "$ce-order").unwrap().len(), 4);
}

/// What a feed delivered until the last event came: number and position of each link.
fn follow(mut feed: Feed, last: Position) -> Vec<(u64, u64)> {
    let mut delivered = Vec::new();
    while feed.position() <= last {
        if let FeedNotice::Events(events) = next(&mut feed) {
            delivered.extend(events.iter().map(|event| {
                let link = event.original();
                (link.revision.0, link.position.0)
            }));
        }
    }
    delivered
}

#[test]
fn feeds_deliver_each_number_once_while_writers_write_and_tables_are_made() {
    const EVENTS: u64 = 4 * 250;
    let disk = MemoryDisk::new();
    let store = open(&disk, Background::Threads);
    let names = [
        "$ce-order",
        "$et-Happened",
        "$bc-7",
        "$category-order",
        "$streams",
    ];
    // The last event is in every one of these streams.
    let last = Position(EVENTS);
    let followers: Vec<_> = (0..3)
        .flat_map(|_| names)
        .map(|stream| {
            let feed = feed(&store, stream, SubscribeFrom::Start);
            (stream, std::thread::spawn(move || follow(feed, last)))
        })
        .collect();
    let metadata = r#"{"$correlationId":"7"}"#;
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        std::thread::spawn(move || {
            for number in 0..250 {
                let kind = if number % 3 == 0 { "Happened" } else { "Other" };
                let conversation = if number % 5 == 0 { metadata } else { "" };
                let stream = format!("order-{writer}-{}", number / 2);
                let one = event(kind, "{}").with_metadata(conversation);
                append(&store, &stream, [one]);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.join().unwrap();
    }
    append(
        &store,
        "order-last",
        [event("Happened", "{}").with_metadata(metadata)],
    );
    for (stream, follower) in followers {
        let delivered = follower.join().unwrap();
        let all = read(&store, stream, ReadFrom::Start, Direction::Forwards, false).unwrap();
        let all = all
            .iter()
            .map(|one| (one.original().revision.0, one.original().position.0));
        assert_eq!(delivered, all.collect::<Vec<_>>(), "{stream}");
        let numbers = delivered.iter().map(|(number, _)| *number);
        assert!(
            numbers.eq(0..u64::try_from(delivered.len()).unwrap()),
            "{stream}"
        );
    }
    assert!(store.stats().tables > 0);
    check(&store);
}
