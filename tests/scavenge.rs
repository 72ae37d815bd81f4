//! Promises of a scavenge: space is given back, what could be read before can be read after, by the
//! same positions and revisions, and the power may go at any moment of it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use annal::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost, Unsynced};
use annal::{
    Append, Background, Direction, EventType, ExpectedRevision, NewEvent, Position, ReadError,
    ReadFrom, RecordedEvent, Request, ScavengeError, ScavengeInfo, ScavengeOptions, ScavengeStatus,
    StateChange, StateSpace, Store, StoreOptions, StreamHead, StreamName, Tag,
};
use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

const STREAMS: [&str; 6] = ["a-1", "a-2", "b-1", "c", "$$a-1", "$$c"];
/// Behind so many events everything before may be scavenged.
const LEAF: u128 = 1024;
/// How many events are put behind.
const FILL: u128 = LEAF + 512;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn event(id: u128) -> NewEvent {
    let event_type = EventType::new(["Opened", "Closed"][usize::try_from(id % 2).unwrap()]);
    let data = format!(
        "{{\"n\":\"{}\"}}",
        "x".repeat(usize::try_from(id % 97).unwrap() * 9)
    );
    let mut event = NewEvent::json(event_type.unwrap(), data).with_id(Uuid::from_u128(id));
    if id.is_multiple_of(3) {
        event.tags.push(Tag::new("third").unwrap());
    }
    event
}

fn to(name: &str, ids: impl IntoIterator<Item = u128>) -> Append {
    Append::to(
        stream(name),
        ExpectedRevision::Any,
        ids.into_iter().map(event),
    )
}

fn metadata(name: &str, json: &str) -> Append {
    Append::metadata(&stream(name), ExpectedRevision::Any, json.to_owned()).unwrap()
}

fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options.index_flush_events = 300;
    options
}

fn open(disk: &MemoryDisk) -> Store {
    open_on(Arc::new(disk.clone()))
}

fn open_on(disk: Arc<dyn Disk>) -> Store {
    let host = Arc::new(SimulatedHost::new(1));
    host.set_now_us(1_800_000_000_000_000);
    Store::open_on(disk, host, options()).unwrap()
}

/// Puts so many events behind all that nothing before is in the way of a scavenge.
fn fill(store: &Store, from: u128) {
    for first in (from..from + FILL).step_by(64) {
        store.append(to("filler", first..first + 64)).unwrap();
    }
    store.maintain().unwrap();
}

fn scavenge(store: &Store) -> ScavengeInfo {
    store.scavenge(ScavengeOptions::default()).unwrap().wait()
}

fn log_bytes(disk: &MemoryDisk) -> u64 {
    let files = disk.list().unwrap().into_iter();
    let segments = files.filter(|(name, _)| name.starts_with("segment"));
    segments.map(|(_, len)| len).sum()
}

fn unknown_segments(store: &Store) -> Vec<String> {
    let unknown = store.recovery().unknown_files.iter().cloned();
    unknown.filter(|name| name.starts_with("segment")).collect()
}

/// All that a reader can know of a store.
#[derive(Debug, PartialEq)]
struct Known {
    /// What each stream shows, from both ends, and where it ends.
    streams: BTreeMap<&'static str, (Option<Vec<RecordedEvent>>, Option<StreamHead>)>,
    states: Vec<(Bytes, Bytes)>,
    committed: Position,
}

fn known(store: &Store) -> Known {
    let mut streams = BTreeMap::new();
    for name in STREAMS {
        let read = |direction| match store.read_stream(
            &stream(name),
            match direction {
                Direction::Forwards => ReadFrom::Start,
                Direction::Backwards => ReadFrom::End,
            },
            direction,
        ) {
            Ok(events) => Some(events.map(Result::unwrap).collect::<Vec<_>>()),
            Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)) => None,
            Err(error) => panic!("{name}: {error}"),
        };
        let forwards = read(Direction::Forwards);
        let mut backwards = read(Direction::Backwards);
        backwards.iter_mut().for_each(|events| events.reverse());
        assert_eq!(forwards, backwards, "{name}");
        let head = store.stream(&stream(name)).ok().map(|info| info.head);
        streams.insert(name, (forwards, head));
    }
    Known {
        streams,
        states: store.states(StateSpace::Settings, b""),
        committed: store.committed(),
    }
}

fn all(store: &Store, direction: Direction) -> Vec<RecordedEvent> {
    let from = match direction {
        Direction::Forwards => ReadFrom::Start,
        Direction::Backwards => ReadFrom::End,
    };
    let events = store.read_all(from, direction, None).unwrap();
    events.map(Result::unwrap).collect()
}

/// What lists show: of what is left, the same as before; and they number it as before.
#[derive(Debug, PartialEq)]
struct Lists(Vec<Vec<Position>>);

fn lists(store: &Store) -> Lists {
    let positions = |events: annal::Events| {
        events
            .map(|event| event.unwrap().position)
            .collect::<Vec<_>>()
    };
    let forwards = Direction::Forwards;
    let start = ReadFrom::Start;
    Lists(vec![
        positions(store.read_category("a", start, forwards).unwrap()),
        positions(store.read_category("b", start, forwards).unwrap()),
        positions(
            store
                .read_type(&EventType::new("Opened").unwrap(), start, forwards)
                .unwrap(),
        ),
        positions(
            store
                .read_tag(&Tag::new("third").unwrap(), start, forwards)
                .unwrap(),
        ),
    ])
}

/// Checks that only what nobody could read is gone.
fn check_removed(before: &[RecordedEvent], store: &Store, known: &Known) {
    let after = all(store, Direction::Forwards);
    let mut backwards = all(store, Direction::Backwards);
    backwards.reverse();
    let positions = |events: &[RecordedEvent]| {
        let positions = events.iter().map(|event| event.position.0);
        positions.collect::<Vec<_>>()
    };
    assert_eq!(positions(&after), positions(&backwards));
    let by_position: BTreeMap<Position, &RecordedEvent> =
        before.iter().map(|event| (event.position, event)).collect();
    for event in &after {
        assert_eq!(by_position[&event.position], event);
    }
    let left: BTreeMap<Position, &RecordedEvent> =
        after.iter().map(|event| (event.position, event)).collect();
    for (shown, _) in known.streams.values() {
        for event in shown.iter().flatten() {
            assert_eq!(left[&event.position], event);
        }
    }
}

#[test]
fn a_scavenge_gives_back_what_nobody_can_read_and_changes_nothing_else() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    store.append(to("a-1", 0..200)).unwrap();
    store.append(to("a-2", 200..500)).unwrap();
    store.append(to("b-1", 500..700)).unwrap();
    store.append(to("c", 700..1000)).unwrap();
    for number in 0..40 {
        let value = format!("{number}");
        let put = StateChange::put(StateSpace::Settings, "k", value);
        store.append(Append::new().state(put)).unwrap();
        store.append(metadata("c", "{\"$maxCount\":3}")).unwrap();
    }
    store
        .append(Append::delete(stream("a-1"), ExpectedRevision::Any))
        .unwrap();
    store
        .append(Append::tombstone(stream("b-1"), ExpectedRevision::Any))
        .unwrap();
    store.append(metadata("a-2", "{\"$tb\":100}")).unwrap();
    fill(&store, 10_000);
    let before = (known(&store), all(&store, Direction::Forwards));
    let bytes_before = log_bytes(&disk);
    let info = scavenge(&store);
    assert_eq!(info.status, ScavengeStatus::Completed, "{info:?}");
    // All but the last of `a-1`, 100 of `a-2`, all of `b-1` but the tombstone, all but 3 of `c`,
    // and all metadata but the last of each stream.
    assert_eq!(info.removed_events, 199 + 100 + 200 + 297 + 39);
    assert_eq!(known(&store), before.0);
    check_removed(&before.1, &store, &before.0);
    let given_back = bytes_before - log_bytes(&disk);
    assert!(given_back > 250_000, "{given_back}");
    assert!(given_back.abs_diff(info.freed_bytes) < 20_000, "{info:?}");
    assert!(store.verify(&mut |_| ()).unwrap().is_whole());
    let again = scavenge(&store);
    assert_eq!((again.removed_events, again.rewritten_segments), (0, 0));
    assert_ne!(again.id, info.id);
    let ids: Vec<Uuid> = store.scavenges().iter().map(|info| info.id).collect();
    assert!(ids.contains(&info.id) && ids.contains(&again.id));
    // Revisions go on.
    let receipt = store.append(to("a-1", [5_000])).unwrap();
    assert_eq!(receipt.revisions[0].1.0, 200);
    store.close().unwrap();
    let store = open(&disk);
    assert_eq!(unknown_segments(&store), Vec::<String>::new());
    assert!(store.verify(&mut |_| ()).unwrap().is_whole());
    assert_eq!(store.state(StateSpace::Settings, b"k").unwrap(), "39");
}

#[test]
fn an_index_that_is_made_again_counts_what_was_removed() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    for round in 0..20u128 {
        for name in ["a-1", "a-2", "b-1"] {
            let first =
                round * 100 + u128::from(name.as_bytes()[0]) + u128::from(name.as_bytes()[2]);
            store.append(to(name, first * 50..first * 50 + 20)).unwrap();
        }
    }
    store
        .append(Append::delete(stream("a-1"), ExpectedRevision::Any))
        .unwrap();
    fill(&store, 1_000_000);
    let numbered = |store: &Store| {
        ["$ce-a", "$ce-b", "$et-Opened"].map(|name| {
            let read =
                store.read_resolved(&stream(name), ReadFrom::Start, Direction::Forwards, true);
            let events = read.unwrap().map(Result::unwrap);
            events
                .map(|event| (event.original().revision, event.original().position))
                .collect::<Vec<_>>()
        })
    };
    let before = numbered(&store);
    assert!(scavenge(&store).removed_events > 300);
    let after = numbered(&store);
    for (before, after) in before.iter().zip(&after) {
        assert!(after.iter().all(|number| before.contains(number)));
    }
    assert!(after[0].len() < before[0].len());
    let known_before = known(&store);
    store.close().unwrap();
    for (name, _) in disk.list().unwrap() {
        if name.starts_with("table") {
            disk.destroy(&name).unwrap();
        }
    }
    let store = open(&disk);
    store.maintain().unwrap();
    store.merge_indexes().unwrap();
    assert_eq!(numbered(&store), after);
    assert_eq!(known(&store), known_before);
}

#[test]
fn a_retry_is_recognised_though_its_event_is_gone() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    store.append(metadata("c", "{\"$maxCount\":1}")).unwrap();
    let principal = String::new();
    let id = Uuid::from_u128(77);
    let named = || {
        to("c", 20..23).request(Request {
            principal: principal.clone(),
            id,
        })
    };
    let unnamed = store.append(to("c", 10..13)).unwrap();
    let by_name = store.append(named()).unwrap();
    store.append(to("c", [30])).unwrap();
    fill(&store, 10_000);
    // The first three go; those of the named request stay for its sake.
    assert_eq!(scavenge(&store).removed_events, 3);
    let again = store.append(to("c", 10..13)).unwrap();
    assert!(again.repeated);
    assert_eq!(
        (again.first, again.last, &again.revisions),
        (unnamed.first, unnamed.last, &unnamed.revisions)
    );
    let again = store.append(named()).unwrap();
    assert!(again.repeated);
    assert_eq!(again.revisions, by_name.revisions);
}

#[test]
fn old_events_go_by_the_later_of_two_clocks() {
    let disk = MemoryDisk::new();
    let host = Arc::new(SimulatedHost::new(1));
    let now = 1_800_000_000_000_000;
    host.set_now_us(now);
    let store = Store::open_on(Arc::new(disk.clone()), host.clone(), options()).unwrap();
    store.append(metadata("c", "{\"$maxAge\":1000}")).unwrap();
    store.append(to("c", 0..10)).unwrap();
    fill(&store, 10_000);
    // A clock that jumped ahead removes nothing, so long as nothing was committed by it.
    host.set_now_us(now + 3_600_000_000);
    let info = store.scavenge(ScavengeOptions::default()).unwrap().wait();
    // What the scavenge writes down is committed by it.
    assert_eq!(info.status, ScavengeStatus::Completed);
    assert_eq!(info.removed_events, 9);
}

/// The last event says how long the stream is when the index is made again from what is left.
#[test]
fn the_last_event_of_a_stream_stays_though_it_is_too_old_to_be_read() {
    let disk = MemoryDisk::new();
    let host = Arc::new(SimulatedHost::new(1));
    let now = 1_800_000_000_000_000;
    host.set_now_us(now);
    let open = || Store::open_on(Arc::new(disk.clone()), host.clone(), options()).unwrap();
    let store = open();
    store.append(metadata("c", "{\"$maxAge\":1000}")).unwrap();
    store.append(to("c", 0..10)).unwrap();
    fill(&store, 10_000);
    host.set_now_us(now + 3_600_000_000);
    store.append(to("filler", 50_000..50_001)).unwrap();
    assert!(scavenge(&store).removed_events > 0);
    store.close().unwrap();
    for (name, _) in disk.list().unwrap() {
        if name.starts_with("table") {
            disk.destroy(&name).unwrap();
        }
    }
    let store = open();
    store.maintain().unwrap();
    assert_eq!(known(&store).streams["c"].0.as_deref(), Some(&[][..]));
    let receipt = store.append(to("c", 100..101)).unwrap();
    assert_eq!(receipt.revisions[0].1.0, 10);
}

#[test]
fn one_scavenge_runs_at_a_time_and_can_be_stopped_and_goes_on() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    store.append(to("a-1", 0..900)).unwrap();
    store
        .append(Append::delete(stream("a-1"), ExpectedRevision::Any))
        .unwrap();
    fill(&store, 10_000);
    store.close().unwrap();
    let mut threaded = options();
    threaded.background = Background::Threads;
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(disk.clone()), host, threaded).unwrap();
    let mut slow = ScavengeOptions::default();
    slow.bytes_per_second = Some(10_000);
    let handle = store.scavenge(slow.clone()).unwrap();
    let second = store.scavenge(slow);
    assert!(matches!(second, Err(ScavengeError::Running(id)) if id == handle.id()));
    assert_eq!(store.scavenges()[0].status, ScavengeStatus::Running);
    handle.stop();
    assert_eq!(handle.wait().status, ScavengeStatus::Stopped);
    let rest = store.scavenge(ScavengeOptions::default()).unwrap();
    assert_eq!(rest.id(), handle.id());
    let info = rest.wait();
    assert_eq!(
        (info.status, info.removed_events),
        (ScavengeStatus::Completed, 899)
    );
    store.close().unwrap();
}

/// A store with something of everything, and all that is known of it.
fn prepared() -> (MemoryDisk, Known, Vec<RecordedEvent>) {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    store.append(to("a-1", 0..300)).unwrap();
    store.append(to("a-2", 300..500)).unwrap();
    for number in 0..9 {
        let put = StateChange::put(StateSpace::Settings, "k", format!("{number}"));
        let append = to("b-1", number * 10 + 500..number * 10 + 510);
        store.append(append.state(put)).unwrap();
    }
    store.append(metadata("a-1", "{\"$maxCount\":7}")).unwrap();
    store
        .append(Append::tombstone(stream("b-1"), ExpectedRevision::Any))
        .unwrap();
    fill(&store, 10_000);
    let known = known(&store);
    let all = all(&store, Direction::Forwards);
    store.close().unwrap();
    (disk, known, all)
}

#[test]
fn the_power_may_go_at_any_moment_of_a_scavenge() {
    let (disk, expected, before) = prepared();
    let mut at = 0;
    loop {
        let memory = disk.snapshot();
        let probe = ProbeDisk::new(Arc::new(memory.clone()));
        let store = open_on(Arc::new(probe.clone()));
        probe.fail(
            Fault::at_any(Operation::CHANGES)
                .after(at)
                .cutting_power(&memory),
        );
        let _outcome = store.scavenge(ScavengeOptions::default());
        let cut = probe.failures() > 0;
        drop(store);
        let unsynced = match at % 3 {
            0 => Unsynced::Lost,
            1 => Unsynced::Kept,
            _ => Unsynced::Torn(at),
        };
        let survivor = memory.power_cut(unsynced);
        let store = open(&survivor);
        assert_eq!(known(&store), expected, "at {at}");
        check_removed(&before, &store, &expected);
        let info = scavenge(&store);
        assert_eq!(info.status, ScavengeStatus::Completed, "at {at}: {info:?}");
        assert_eq!(known(&store), expected, "at {at}");
        check_removed(&before, &store, &expected);
        assert!(store.verify(&mut |_| ()).unwrap().is_whole(), "at {at}");
        let left = all(&store, Direction::Forwards).len();
        assert_eq!(left, before.len() - 293 - 90, "at {at}");
        drop(store);
        let store = open(&survivor);
        assert_eq!(unknown_segments(&store), Vec::<String>::new());
        assert_eq!(known(&store), expected, "at {at}");
        if !cut {
            assert!(at > 20, "{at}");
            return;
        }
        at += 1;
    }
}

/// A place that cannot be read is damage as any other.
#[test]
fn a_damaged_segment_stays_as_it_is_and_the_others_are_scavenged() {
    let (disk, expected, before) = prepared();
    let name = "segment-00000000";
    for is_unreadable in [false, true] {
        let memory = disk.snapshot();
        let probe = ProbeDisk::new(Arc::new(memory.clone()));
        let store = open_on(Arc::new(probe.clone()));
        match is_unreadable {
            true => {
                let fault = Fault::at(Operation::Read).of_file(name).forever();
                probe.fail(fault.touching(5_000..5_001));
            }
            false => memory.flip_bit(name, 5_000 * 8).unwrap(),
        }
        let damaged = memory.map(name).unwrap();
        let info = scavenge(&store);
        assert_eq!(info.status, ScavengeStatus::Failed, "{info:?}");
        assert!(
            info.error
                .as_ref()
                .is_some_and(|error| error.contains(name)),
            "{info:?}"
        );
        assert_eq!((info.rewritten_segments, info.removed_events), (1, 90));
        assert_eq!(memory.map(name).unwrap(), damaged);
        assert_eq!(unknown_segments(&store), Vec::<String>::new());
        // The next one finds it whole, and takes what is left.
        match is_unreadable {
            true => probe.heal(),
            false => memory.flip_bit(name, 5_000 * 8).unwrap(),
        }
        let rest = scavenge(&store);
        assert_eq!(rest.status, ScavengeStatus::Completed, "{rest:?}");
        assert_eq!(info.removed_events + rest.removed_events, 293 + 90);
        assert_eq!(known(&store), expected);
        check_removed(&before, &store, &expected);
    }
}

/// What is asked for is there soon: no segment is passed over for it.
#[test]
fn a_scavenge_ends_where_the_index_is_being_made_again() {
    let (disk, expected, before) = prepared();
    for (name, _) in disk.list().unwrap() {
        if name.starts_with("table") {
            disk.destroy(&name).unwrap();
        }
    }
    let store = open(&disk);
    let info = scavenge(&store);
    assert_eq!(
        (info.status, info.next_segment),
        (ScavengeStatus::Failed, 0),
        "{info:?}"
    );
    let error = info.error.unwrap();
    assert!(
        error.contains("the index") && error.contains("try again later"),
        "{error}"
    );
    store.maintain().unwrap();
    let info = scavenge(&store);
    assert_eq!(
        (info.status, info.removed_events),
        (ScavengeStatus::Completed, 293 + 90)
    );
    assert_eq!(known(&store), expected);
    check_removed(&before, &store, &expected);
}

#[test]
fn a_scavenge_without_space_changes_nothing_and_the_store_goes_on() {
    let (disk, expected, _) = prepared();
    let probe = ProbeDisk::new(Arc::new(disk.clone()));
    let store = open_on(Arc::new(probe.clone()));
    probe.fail(
        Fault::at(Operation::Write)
            .named("segment-00000000-")
            .error(std::io::ErrorKind::StorageFull),
    );
    let info = scavenge(&store);
    assert_eq!(info.status, ScavengeStatus::Failed);
    assert!(info.error.is_some());
    assert_eq!(known(&store), expected);
    store.append(to("a-1", [9_000])).unwrap();
    probe.heal();
    assert_eq!(scavenge(&store).status, ScavengeStatus::Completed);
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, u8),
    Metadata(usize, &'static str),
    End(usize, bool),
    State(u8, u8),
    Named(usize, u8),
    Fill,
    Scavenge,
    Reopen,
    Crash(u64),
    LoseTables,
}

fn step() -> impl Strategy<Value = Step> {
    let json = prop_oneof![
        Just(r#"{"$tb":2}"#),
        Just(r#"{"$maxCount":2}"#),
        Just(r#"{"$maxAge":1}"#),
        Just("{}"),
    ];
    prop_oneof![
        12 => (0..4usize, 1u8..60).prop_map(|(stream, count)| Step::Append(stream, count)),
        3 => (0..4usize, json).prop_map(|(stream, json)| Step::Metadata(stream, json)),
        2 => (0..4usize, any::<bool>()).prop_map(|(stream, hard)| Step::End(stream, hard)),
        3 => (0u8..4, any::<u8>()).prop_map(|(key, value)| Step::State(key, value)),
        2 => (0..4usize, 1u8..9).prop_map(|(stream, count)| Step::Named(stream, count)),
        2 => Just(Step::Fill),
        3 => Just(Step::Scavenge),
        1 => Just(Step::Reopen),
        1 => any::<u64>().prop_map(Step::Crash),
        1 => Just(Step::LoseTables),
    ]
}

struct Run {
    disk: MemoryDisk,
    store: Option<Store>,
    next_id: u128,
}

impl Run {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn ids(&mut self, count: u128) -> std::ops::Range<u128> {
        self.next_id += count;
        self.next_id - count..self.next_id
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(name, count) => {
                let ids = self.ids((*count).into());
                let _tombstoned = self.store().append(to(STREAMS[*name], ids));
            }
            Step::Metadata(name, json) => {
                let _tombstoned = self.store().append(metadata(STREAMS[*name], json));
            }
            Step::End(name, hard) => {
                let end = match hard {
                    true => Append::tombstone,
                    false => Append::delete,
                };
                let ended = end(stream(STREAMS[*name]), ExpectedRevision::Any);
                let _absent = self.store().append(ended);
            }
            Step::State(key, value) => {
                let space = StateSpace::Settings;
                let change = match value % 4 {
                    0 => StateChange::remove(space, vec![*key]),
                    _ => StateChange::put(space, vec![*key], vec![*value]),
                };
                self.store().append(Append::new().state(change)).unwrap();
            }
            Step::Named(name, count) => {
                let ids = self.ids((*count).into());
                let id = Uuid::from_u128(ids.start);
                let principal = "ann".to_owned();
                let append = to(STREAMS[*name], ids).request(Request { principal, id });
                if let Ok(receipt) = self.store().append(append.clone()) {
                    let again = self.store().append(append).unwrap();
                    assert!(again.repeated && again.first == receipt.first);
                }
            }
            Step::Fill => {
                let first = self.ids(FILL).start;
                fill(self.store(), first);
            }
            Step::Scavenge => {
                let before = (known(self.store()), all(self.store(), Direction::Forwards));
                let lists_before = lists(self.store());
                let info = scavenge(self.store());
                assert_eq!(info.status, ScavengeStatus::Completed, "{info:?}");
                assert_eq!(known(self.store()), before.0);
                check_removed(&before.1, self.store(), &before.0);
                let left = all(self.store(), Direction::Forwards);
                let left: Vec<Position> = left.iter().map(|event| event.position).collect();
                let mut expected = lists_before;
                for list in &mut expected.0 {
                    list.retain(|position| left.binary_search(position).is_ok());
                }
                assert_eq!(lists(self.store()), expected);
                assert!(self.store().verify(&mut |_| ()).unwrap().is_whole());
            }
            Step::Reopen => {
                let before = known(self.store());
                self.store.take().unwrap().close().unwrap();
                self.store = Some(open(&self.disk));
                assert_eq!(known(self.store()), before);
            }
            Step::Crash(seed) => {
                let before = known(self.store());
                let after = self.disk.power_cut(Unsynced::Torn(*seed));
                drop(self.store.take());
                self.disk = after;
                self.store = Some(open(&self.disk));
                assert_eq!(known(self.store()), before);
            }
            Step::LoseTables => {
                let before = (known(self.store()), lists(self.store()));
                self.store.take().unwrap().close().unwrap();
                for (name, _) in self.disk.list().unwrap() {
                    if name.starts_with("table") || name.starts_with("state") {
                        self.disk.destroy(&name).unwrap();
                    }
                }
                self.store = Some(open(&self.disk));
                self.store().maintain().unwrap();
                assert_eq!((known(self.store()), lists(self.store())), before);
            }
        }
    }
}

/// How many random histories are tried: `ANNAL_MODEL_CASES`, or enough for every day.
fn cases() -> u32 {
    let given = std::env::var("ANNAL_MODEL_CASES").ok();
    given.and_then(|given| given.parse().ok()).unwrap_or(6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn what_could_be_read_before_a_scavenge_can_be_read_after(
        steps in proptest::collection::vec(step(), 1..50),
    ) {
        let disk = MemoryDisk::new();
        let store = Some(open(&disk));
        let mut run = Run { disk, store, next_id: 0 };
        let last = [Step::Fill, Step::Scavenge, Step::LoseTables, Step::Scavenge, Step::Reopen];
        for step in steps.iter().chain(&last) {
            run.take(step);
        }
    }
}
