//! Every read gives what a naive reader finds who walks through the whole log each time, judges
//! each event by itself and knows no index.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use annal::disk::{Host, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use annal::{
    Append, Background, BatchLimit, Direction, EventFilter, EventType, Events, ExpectedRevision,
    FilterTarget, Lineage, NewEvent, Position, ReadError, ReadFrom, RecordedEvent, Revision, Store,
    StoreOptions, StreamHead, StreamMetadata, StreamName, Tag, Timestamp, Token,
};
use proptest::prelude::*;

const STREAMS: [&str; 5] = ["a-1", "a-2", "b-1", "plain", "$system"];
const TYPES: [&str; 3] = ["Opened", "Changed", "$own"];
const TAGS: [&str; 2] = ["red", "blue"];
const METADATA: [&str; 6] = [
    r#"{"$tb":3}"#,
    r#"{"$maxCount":2}"#,
    r#"{"$maxAge":10}"#,
    r#"{"$maxAge":20,"$maxCount":4,"$tb":1}"#,
    r#"{"mine":true}"#,
    "not json",
];

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(usize, usize, usize, i64)>),
    Metadata(usize, usize),
    Delete(usize),
    Tombstone(usize),
    Wait(i64),
    Maintain,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..STREAMS.len();
    let event = (stream.clone(), 0..TYPES.len(), 0..4usize, 0..30i64);
    prop_oneof![
        8 => prop::collection::vec(event, 1..6).prop_map(Step::Append),
        3 => (stream.clone(), 0..METADATA.len()).prop_map(|(s, m)| Step::Metadata(s, m)),
        1 => stream.clone().prop_map(Step::Delete),
        1 => (2..4usize).prop_map(Step::Tombstone),
        2 => (0..15i64).prop_map(Step::Wait),
        1 => Just(Step::Maintain),
    ]
}

fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

fn event_type(text: &str) -> EventType {
    EventType::new(text.to_owned()).unwrap()
}

fn index(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options.index_flush_events = 9;
    options.recent_bytes = 2048;
    options
}

struct World {
    store: Store,
    host: Arc<SimulatedHost>,
}

impl World {
    fn new() -> Self {
        let host = Arc::new(SimulatedHost::new(1));
        let shared = Arc::clone(&host);
        let store = Store::open_on(Arc::new(MemoryDisk::new()), shared, options()).unwrap();
        Self { store, host }
    }

    fn now_s(&self) -> i64 {
        self.host.now_us() / 1_000_000
    }

    fn run(&self, step: &Step) {
        let any = ExpectedRevision::Any;
        let append = match step {
            Step::Wait(seconds) => return self.host.advance_us(seconds * 1_000_000),
            Step::Maintain => return self.store.maintain().unwrap(),
            Step::Delete(stream) => Append::delete(name(STREAMS[*stream]), any),
            Step::Tombstone(stream) => Append::tombstone(name(STREAMS[*stream]), any),
            Step::Metadata(stream, json) => {
                Append::metadata(&name(STREAMS[*stream]), any, METADATA[*json]).unwrap()
            }
            Step::Append(events) => {
                let events = events.iter().map(|(stream, kind, tags, age)| {
                    let tags = TAGS.iter().take(*tags).map(|tag| Tag::new(*tag).unwrap());
                    let created = Timestamp::new(self.now_s() - age, 0, 0).unwrap();
                    let event = NewEvent::json(event_type(TYPES[*kind]), "{}")
                        .with_tags(tags.collect())
                        .with_created(created);
                    (name(STREAMS[*stream]), event)
                });
                events.fold(Append::new(), |append, (stream, event)| {
                    append.event(stream, event)
                })
            }
        };
        // Nobody else flushes the index, and it has no room for long.
        self.store.maintain().unwrap();
        let before = self.store.committed();
        match self.store.append(append) {
            Ok(receipt) => assert_eq!(receipt.first, before),
            // A tombstoned stream refuses; nothing may have happened then.
            Err(_) => assert_eq!(self.store.committed(), before),
        }
    }

    fn log(&self) -> Vec<RecordedEvent> {
        let end = self.store.committed().0;
        let event = |at| self.store.event_at(Position(at)).unwrap().unwrap();
        (0..end).map(event).collect()
    }
}

/// What a stream shows, by walking through the whole log. Refusals by their names.
fn shown(log: &[RecordedEvent], stream: &str, now_s: i64) -> Result<Vec<u64>, &'static str> {
    let tombstoned = |stream: &str| {
        let mut own = log.iter().filter(|event| &*event.stream == stream);
        own.any(|event| event.revision == Revision::TOMBSTONE)
    };
    let described = stream.strip_prefix("$$");
    if tombstoned(stream) || described.is_some_and(tombstoned) {
        return Err("tombstoned");
    }
    let own: Vec<_> = log
        .iter()
        .filter(|event| &*event.stream == stream)
        .collect();
    let Some(last) = own.last() else {
        return Err("not found");
    };
    if described.is_some() {
        return Ok(vec![last.position.0]);
    }
    let metadata = format!("$${stream}");
    let metadata = log.iter().rfind(|event| *event.stream == *metadata);
    let metadata = metadata
        .map(|event| StreamMetadata::parse(&event.data))
        .unwrap_or_default();
    if metadata.is_deleted() {
        return Err("not found");
    }
    let old = |event: &RecordedEvent| {
        let age_s = now_s - event.created.seconds();
        metadata
            .max_age
            .is_some_and(|max| age_s > i64::try_from(max.as_secs()).unwrap())
    };
    let behind = |event: &RecordedEvent| last.revision.0 - event.revision.0;
    let shown = own.iter().filter(|event| {
        !old(event)
            && metadata.max_count.is_none_or(|max| behind(event) < max)
            && metadata
                .truncate_before
                .is_none_or(|first| event.revision >= first)
    });
    Ok(shown.map(|event| event.position.0).collect())
}

/// The positions that a read gives: event by event and in batches of several sizes, all the same.
fn given(read: impl Fn() -> Result<Events, ReadError>) -> Result<Vec<u64>, &'static str> {
    let events = match read() {
        Err(ReadError::StreamNotFound(_)) => return Err("not found"),
        Err(ReadError::StreamTombstoned(_)) => return Err("tombstoned"),
        other => other.unwrap(),
    };
    let decoded: Vec<u64> = events.map(|event| event.unwrap().position.0).collect();
    let backwards = decoded.is_sorted_by(|a, b| a > b) && decoded.len() > 1;
    for (events_max, len_bytes_max) in [(1, 1 << 20), (3, 1 << 20), (1000, 200), (1000, 1 << 20)] {
        let limit = BatchLimit {
            events_max,
            len_bytes_max,
        };
        let mut events = read().unwrap();
        let mut batched = Vec::new();
        while let Some(batch) = events.next_batch_within(limit).unwrap() {
            let count = index(batch.events_count());
            assert!(count > 0 && count <= events_max);
            assert!(batch.len_bytes() <= len_bytes_max || count == 1);
            let mut positions: Vec<u64> = batch.events().map(|e| e.unwrap().position.0).collect();
            assert!(positions.is_sorted());
            let (low, high) = (positions[0], positions[count - 1]);
            assert!(batch.next.0 > high || batch.next.0 <= low);
            if backwards {
                positions.reverse();
            }
            batched.extend(positions);
        }
        assert_eq!(batched, decoded, "{limit:?}");
    }
    Ok(decoded)
}

fn reversed(mut positions: Vec<u64>) -> Vec<u64> {
    positions.reverse();
    positions
}

fn check_stream(world: &World, log: &[RecordedEvent], stream: &str) {
    let shown = shown(log, stream, world.now_s());
    let (forwards, backwards) = (Direction::Forwards, Direction::Backwards);
    let stream = name(stream);
    let read = |from, direction| given(|| world.store.read_stream(&stream, from, direction));
    let revision = |position: &u64| log[index(*position)].revision;
    assert_eq!(read(ReadFrom::Start, forwards), shown, "{stream}");
    assert_eq!(
        read(ReadFrom::End, backwards),
        shown.clone().map(reversed),
        "{stream}"
    );
    assert_eq!(read(ReadFrom::End, forwards), shown.clone().map(|_| vec![]));
    for from in (0..12).map(Revision) {
        let behind = |mut shown: Vec<u64>| {
            shown.retain(|at| revision(at) >= from);
            shown
        };
        let ahead = |mut shown: Vec<u64>| {
            shown.retain(|at| revision(at) <= from);
            reversed(shown)
        };
        let at = ReadFrom::At(from);
        assert_eq!(
            read(at, forwards),
            shown.clone().map(behind),
            "{stream} {from}"
        );
        assert_eq!(
            read(at, backwards),
            shown.clone().map(ahead),
            "{stream} {from}"
        );
        if let Ok(shown) = &shown {
            let event = world.store.event(&stream, from).unwrap();
            let expected = shown.iter().find(|at| revision(at) == from);
            assert_eq!(event.map(|event| event.position.0), expected.copied());
        }
    }
    let info = world.store.stream(&stream);
    let own = || log.iter().filter(|event| event.stream == stream);
    let last = own().rfind(|event| event.revision != Revision::TOMBSTONE);
    let tombstoned = own().any(|event| event.revision == Revision::TOMBSTONE);
    match (info, &shown) {
        (Err(ReadError::StreamNotFound(_)), _) => assert!(last.is_none() && !tombstoned),
        (info, shown) => {
            let info = info.unwrap();
            assert_eq!(info.last_position, last.map(|event| event.position));
            match info.head {
                StreamHead::Tombstoned => assert!(tombstoned),
                StreamHead::At(revision) => assert_eq!(revision, last.unwrap().revision),
                StreamHead::Deleted(_) | StreamHead::Absent => assert_eq!(*shown, Err("not found")),
            }
            if let Some(metadata) = info.metadata {
                let stored = world
                    .store
                    .event(&name(&format!("$${stream}")), metadata.revision);
                if let Ok(stored) = stored {
                    assert_eq!(stored.unwrap().data, metadata.json);
                }
            }
        }
    }
}

type Chooses<'a> = &'a dyn Fn(&RecordedEvent) -> bool;

fn check_lists(world: &World, log: &[RecordedEvent]) {
    let store = &world.store;
    let filter = |target, text| EventFilter::prefixes(target, [text]).unwrap();
    let by_stream = filter(FilterTarget::Stream, "a-");
    let by_type = EventFilter::pattern(FilterTarget::EventType, "^[OC].*ed$").unwrap();
    let red = Tag::new("red").unwrap();
    let (opened, tombstone) = (event_type("Opened"), event_type("$streamDeleted"));
    type Read<'a> = &'a dyn Fn(ReadFrom<Position>, Direction) -> Result<Events, ReadError>;
    let sources: [(Read<'_>, Chooses<'_>); 8] = [
        (
            &|from, direction| store.read_all(from, direction, None),
            &|_| true,
        ),
        (
            &|from, direction| store.read_all(from, direction, Some(by_stream.clone())),
            &|event| event.stream.starts_with("a-"),
        ),
        (
            &|from, direction| store.read_all(from, direction, Some(by_type.clone())),
            &|event| ["Opened", "Changed"].contains(&&*event.event_type),
        ),
        (
            &|from, direction| store.read_category("a", from, direction),
            &|event| event.stream.category() == Some("a"),
        ),
        (
            &|from, direction| store.read_category("none", from, direction),
            &|_| false,
        ),
        (
            &|from, direction| store.read_type(&opened, from, direction),
            &|event| event.event_type == opened,
        ),
        (
            &|from, direction| store.read_type(&tombstone, from, direction),
            &|event| event.revision == Revision::TOMBSTONE,
        ),
        (
            &|from, direction| store.read_tag(&red, from, direction),
            &|event| event.tags.contains(&red),
        ),
    ];
    let end = store.committed().0;
    for (number, (read, chooses)) in sources.iter().enumerate() {
        let all: Vec<u64> = log
            .iter()
            .filter(|event| chooses(event))
            .map(|event| event.position.0)
            .collect();
        let (forwards, backwards) = (Direction::Forwards, Direction::Backwards);
        assert_eq!(
            given(|| read(ReadFrom::Start, forwards)).unwrap(),
            all,
            "{number}"
        );
        let back = given(|| read(ReadFrom::End, backwards)).unwrap();
        assert_eq!(back, reversed(all.clone()), "{number}");
        assert!(given(|| read(ReadFrom::End, forwards)).unwrap().is_empty());
        assert!(
            given(|| read(ReadFrom::Start, backwards))
                .unwrap()
                .is_empty()
        );
        for from in [1, end / 2, end.saturating_sub(1), end + 3] {
            let at = ReadFrom::At(Position(from));
            let behind: Vec<u64> = all.iter().copied().filter(|at| *at >= from).collect();
            let ahead: Vec<u64> = all.iter().rev().copied().filter(|at| *at < from).collect();
            assert_eq!(
                given(|| read(at, forwards)).unwrap(),
                behind,
                "{number} {from}"
            );
            assert_eq!(
                given(|| read(at, backwards)).unwrap(),
                ahead,
                "{number} {from}"
            );
        }
    }
}

fn check_names(world: &World, log: &[RecordedEvent]) {
    let mut names: Vec<StreamName> = log.iter().map(|event| event.stream.clone()).collect();
    names.sort();
    names.dedup();
    for prefix in ["", "a", "a-2", "$$", "x"] {
        let expected: Vec<_> = names
            .iter()
            .filter(|name| name.starts_with(prefix))
            .collect();
        let mut listed = Vec::new();
        loop {
            let after = listed.last();
            let page = world.store.streams(prefix, after, 2).unwrap();
            for one in &page {
                let own = log.iter().filter(|event| event.stream == one.stream);
                let own = own.filter(|event| event.revision != Revision::TOMBSTONE);
                assert_eq!(index(one.events_count), own.count());
            }
            listed.extend(page.iter().map(|one| one.stream.clone()));
            if page.len() < 2 {
                break;
            }
        }
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_read_gives_what_a_naive_reader_finds(
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let world = World::new();
        for (number, step) in steps.iter().enumerate() {
            world.run(step);
            if number % 6 != 5 && number + 1 != steps.len() {
                continue;
            }
            let log = world.log();
            for stream in STREAMS {
                check_stream(&world, &log, stream);
                check_stream(&world, &log, &format!("$${stream}"));
            }
            check_lists(&world, &log);
            check_names(&world, &log);
        }
    }
}

#[test]
fn a_read_sees_what_was_committed_when_it_began_and_no_more() {
    let world = World::new();
    let step = Step::Append(vec![(0, 0, 0, 0); 3]);
    world.run(&step);
    let stream = name(STREAMS[0]);
    let forwards = Direction::Forwards;
    let mut of_all = world
        .store
        .read_all(ReadFrom::Start, forwards, None)
        .unwrap();
    let mut of_stream = world
        .store
        .read_stream(&stream, ReadFrom::Start, forwards)
        .unwrap();
    assert_eq!(of_stream.next().unwrap().unwrap().revision, Revision(0));
    for _ in 0..5 {
        world.run(&step);
        world.store.maintain().unwrap();
    }
    assert_eq!(of_all.by_ref().count(), 3);
    assert_eq!(of_stream.by_ref().count(), 2);
}

#[test]
fn a_time_leads_to_the_first_event_that_is_not_older() {
    let world = World::new();
    let now_s = world.now_s();
    world.run(&Step::Append(vec![
        (0, 0, 0, 20),
        (1, 0, 0, 10),
        (0, 0, 0, 15),
        (0, 0, 0, 5),
    ]));
    let at = |seconds| {
        let time = Timestamp::new(now_s + seconds, 0, 0).unwrap();
        world.store.position_at(time).unwrap().0
    };
    assert_eq!(
        [-30, -20, -19, -10, -9, -5, 0].map(at),
        [0, 0, 1, 1, 3, 3, 4]
    );
}

#[test]
fn a_token_is_waited_for_and_a_foreign_one_is_refused() {
    let world = World::new();
    let store = world.store.clone();
    let reached = store.token();
    store.wait_for(reached, Duration::ZERO).unwrap();
    let ahead = Token {
        end: Position(2),
        ..reached
    };
    let refused = store.wait_for(ahead, Duration::ZERO);
    assert!(matches!(
        refused,
        Err(ReadError::NotReached {
            asked: Position(2),
            ..
        })
    ));
    let waits = thread::spawn(move || store.wait_for(ahead, Duration::from_secs(60)));
    world.run(&Step::Append(vec![(0, 0, 0, 0)]));
    world.run(&Step::Append(vec![(0, 0, 0, 0)]));
    waits.join().unwrap().unwrap();
    let foreign = Token {
        lineage: Lineage(uuid::Uuid::nil()),
        ..reached
    };
    let refused = world.store.wait_for(foreign, Duration::ZERO);
    assert!(matches!(refused, Err(ReadError::ForeignToken(token)) if token == foreign));
}

#[test]
fn a_list_of_large_events_costs_no_more_memory_than_the_limit() {
    const EVENTS: usize = 40;
    const LEN_BYTES: usize = 400 * 1024;
    let disk = Arc::new(ProbeDisk::new(Arc::new(MemoryDisk::new())));
    let mut options = options();
    options.read_cache_bytes = 0;
    options.segment_size_bytes = 64 * 1024 * 1024;
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(disk.clone(), host, options).unwrap();
    let stream = name("large-1");
    for number in 0..EVENTS {
        let data = vec![u8::try_from(number).unwrap(); LEN_BYTES];
        let event = NewEvent::binary(event_type("Large"), data);
        store.maintain().unwrap();
        store
            .append(Append::to(stream.clone(), ExpectedRevision::Any, [event]))
            .unwrap();
    }
    let limit = BatchLimit {
        len_bytes_max: 3 * LEN_BYTES,
        ..BatchLimit::default()
    };
    for direction in [Direction::Forwards, Direction::Backwards] {
        let from = match direction {
            Direction::Forwards => ReadFrom::Start,
            Direction::Backwards => ReadFrom::End,
        };
        let mut events = store.read_stream(&stream, from, direction).unwrap();
        let mut count = 0;
        disk.reset();
        while let Some(batch) = events.next_batch_within(limit).unwrap() {
            count += index(batch.events_count());
            let read = index(disk.tally(Operation::Read, "segment").bytes);
            // One more may be read that then does not fit.
            assert!(read <= limit.len_bytes_max + LEN_BYTES, "{read}");
            disk.reset();
        }
        assert_eq!(count, EVENTS);
    }
}
