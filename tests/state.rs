//! Promises of state records: committed with the events of their append or not at all, the last
//! value counts, and it is there again after a stop, a crash and the loss of what is derived.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::sync::{Arc, mpsc};

use annal::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost, Unsynced};
use annal::{
    Append, AppendError, Background, EventType, ExpectedRevision, NewEvent, Request, StateChange,
    StateSpace, Store, StoreOptions, StreamName,
};
use bytes::Bytes;
use uuid::Uuid;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn event(id: u128) -> NewEvent {
    let event_type = EventType::new("Happened").unwrap();
    NewEvent::json(event_type, "{}").with_id(Uuid::from_u128(id))
}

fn put(key: &str, value: &str) -> StateChange {
    let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    StateChange::put(StateSpace::Settings, key, value)
}

fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options
}

fn open(disk: &MemoryDisk) -> Store {
    open_with(disk, options())
}

fn open_with(disk: &MemoryDisk, options: StoreOptions) -> Store {
    let host = Arc::new(SimulatedHost::new(1));
    Store::open_on(Arc::new(disk.clone()), host, options).unwrap()
}

fn get(store: &Store, key: &str) -> Option<String> {
    let value = store.state(StateSpace::Settings, key.as_bytes())?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn all(store: &Store, prefix: &str) -> Vec<(Bytes, Bytes)> {
    store.states(StateSpace::Settings, prefix.as_bytes())
}

fn over(error: &AppendError) -> &'static str {
    match error {
        AppendError::OverLimit { what, .. } => what,
        other => panic!("{other}"),
    }
}

#[test]
fn a_state_record_is_committed_with_the_events_or_without_any() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let with = Append::to(stream("a"), ExpectedRevision::NoStream, [event(1)]);
    store.append(with.state(put("k", "1"))).unwrap();
    assert_eq!(get(&store, "k").as_deref(), Some("1"));
    let receipt = store.append(Append::new().state(put("l", "2"))).unwrap();
    assert_eq!((receipt.first.0, receipt.last), (1, None));
    let found = all(&store, "");
    assert_eq!(found, [("k".into(), "1".into()), ("l".into(), "2".into())]);
    assert_eq!(store.states(StateSpace::Users, b""), []);
    let removal = StateChange::remove(StateSpace::Settings, "k");
    store.append(Append::new().state(removal)).unwrap();
    assert_eq!(get(&store, "k"), None);
    store.close().unwrap();
    let store = open(&disk);
    assert_eq!(all(&store, ""), [("l".into(), "2".into())]);
}

#[test]
fn records_are_found_by_a_prefix_of_their_key_in_order() {
    let store = open(&MemoryDisk::new());
    let append = ["b/2", "a", "b/1", "b", "c"]
        .into_iter()
        .fold(Append::new(), |append, key| append.state(put(key, key)));
    store.append(append).unwrap();
    let keys: Vec<Bytes> = all(&store, "b").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["b", "b/1", "b/2"]);
}

#[test]
fn a_refused_append_changes_no_state() {
    let store = open(&MemoryDisk::new());
    let wrong = Append::to(stream("a"), ExpectedRevision::StreamExists, [event(1)]);
    store.append(wrong.state(put("k", "1"))).unwrap_err();
    assert_eq!(get(&store, "k"), None);
}

/// Without events nothing tells by its position whether the first one is durable.
#[test]
fn a_repeated_request_is_told_of_when_the_first_one_is_durable() {
    for fails in [false, true] {
        let disk = MemoryDisk::new();
        let probe = ProbeDisk::new(Arc::new(disk.clone()));
        let host = Arc::new(SimulatedHost::new(1));
        let store = Store::open_on(Arc::new(probe.clone()), host, options()).unwrap();
        let (answers, received) = mpsc::channel();
        for _ in 0..2 {
            let (id, principal) = (Uuid::from_u128(9), String::new());
            let named = Append::new().request(Request { principal, id });
            let answers = answers.clone();
            store.submit(named.state(put("k", "1")), move |answer| {
                answers.send(answer).unwrap();
            });
        }
        assert!(
            received.try_recv().is_err(),
            "it is told before its grounds"
        );
        if fails {
            probe.fail(Fault::at(Operation::Sync));
        }
        let _ends_where_it_fails = store.maintain();
        let told: Vec<_> = received.try_iter().collect();
        match told.as_slice() {
            [Ok(first), Ok(again)] if !fails => {
                assert_eq!((first.repeated, again.repeated), (false, true));
            }
            [Err(AppendError::Unknown(_)), Err(AppendError::Storage(_))] if fails => {}
            other => panic!("{other:?}"),
        }
        drop(store);
        let disk = disk.power_cut(Unsynced::Lost);
        assert_eq!(get(&open(&disk), "k").is_some(), !fails);
    }
}

#[test]
fn a_repeated_request_changes_no_state() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let named = |value: &str| {
        let id = Uuid::from_u128(9);
        let principal = String::new();
        Append::new()
            .state(put("k", value))
            .request(Request { principal, id })
    };
    store.append(named("1")).unwrap();
    store.append(Append::new().state(put("k", "2"))).unwrap();
    assert!(store.append(named("1")).unwrap().repeated);
    assert_eq!(get(&store, "k").as_deref(), Some("2"));
    let other = store.append(named("3")).unwrap_err();
    assert!(matches!(other, AppendError::RequestIdReused(_)));
    let by_ids = || Append::to(stream("a"), ExpectedRevision::Any, [event(1)]);
    store.append(by_ids().state(put("l", "1"))).unwrap();
    store.append(Append::new().state(put("l", "2"))).unwrap();
    let again = store.append(by_ids().state(put("l", "1"))).unwrap();
    assert!(again.repeated);
    assert_eq!(get(&store, "l").as_deref(), Some("2"));
    store.close().unwrap();
    let store = open(&disk);
    assert!(store.append(named("1")).unwrap().repeated);
    assert_eq!(get(&store, "k").as_deref(), Some("2"));
}

#[test]
fn what_is_over_a_limit_is_refused_and_a_removal_never_is() {
    let mut options = options();
    options.state_memory_bytes = 3_000;
    let store = open_with(&MemoryDisk::new(), options);
    let key = vec![1; 2_049];
    let append = Append::new().state(StateChange::remove(StateSpace::Users, key));
    let error = store.append(append).unwrap_err();
    assert_eq!(over(&error), "the key of a state record, in bytes,");
    let value = vec![1; 1024 * 1024 + 1];
    let append = Append::new().state(StateChange::put(StateSpace::Users, "k", value));
    let error = store.append(append).unwrap_err();
    assert_eq!(over(&error), "the value of a state record, in bytes,");
    let large = "x".repeat(1_300);
    store.append(Append::new().state(put("a", &large))).unwrap();
    store.append(Append::new().state(put("b", &large))).unwrap();
    let error = store.append(Append::new().state(put("c", &large)));
    let error = error.unwrap_err();
    assert_eq!(over(&error), "the memory for state records, in bytes,");
    store.append(Append::new().state(put("b", &large))).unwrap();
    let removal = StateChange::remove(StateSpace::Settings, "a");
    store.append(Append::new().state(removal)).unwrap();
    store.append(Append::new().state(put("c", &large))).unwrap();
}

#[test]
fn a_state_record_is_seen_only_after_its_sync() {
    let disk = MemoryDisk::new();
    let probe = ProbeDisk::new(Arc::new(disk.clone()));
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(probe.clone()), host, options()).unwrap();
    store.append(Append::new().state(put("k", "1"))).unwrap();
    probe.fail(Fault::at(Operation::Sync).named("segment"));
    let failed = store.append(Append::new().state(put("k", "2")));
    assert!(matches!(failed, Err(AppendError::Unknown(_))));
    assert_eq!(get(&store, "k").as_deref(), Some("1"));
}

#[test]
fn state_records_survive_a_power_cut_wherever_their_units_are() {
    let mut disk = MemoryDisk::new();
    for round in 0..30u32 {
        let store = open(&disk);
        for number in 0..20 {
            let large = "x".repeat(700);
            let mut append = Append::new().state(put(&format!("{}", number % 7), &large));
            append = append.state(put("round", &round.to_string()));
            if number % 5 == 0 {
                append = append.event(stream("a"), event((round * 100 + number).into()));
            }
            store.append(append).unwrap();
        }
        if round % 3 == 0 {
            store.maintain().unwrap();
        }
        let before = all(&store, "");
        let unsynced = [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(round.into())];
        let after = disk.power_cut(unsynced[usize::try_from(round / 3 % 3).unwrap()]);
        drop(store);
        disk = after;
        assert_eq!(all(&open(&disk), ""), before, "round {round}");
        let reopened = open(&disk);
        reopened.close().unwrap();
    }
}

fn large(key: &str, number: u32) -> Append {
    let value = vec![u8::try_from(number % 251).unwrap(); 1024 * 1024];
    let key = key.as_bytes().to_vec();
    Append::new().state(StateChange::put(StateSpace::Groups, key, value))
}

#[test]
fn opening_walks_little_though_only_state_records_were_written() {
    let mut options = options();
    options.segment_size_bytes = 4 * 1024 * 1024;
    let disk = MemoryDisk::new();
    let store = open_with(&disk, options.clone());
    for number in 0..100 {
        store.append(large("k", number)).unwrap();
        store.maintain().unwrap();
    }
    let disk = disk.power_cut(Unsynced::Lost);
    drop(store);
    let store = open_with(&disk, options);
    let walked = store.recovery().walked_bytes;
    assert!(walked < 40 * 1024 * 1024, "{walked}");
    assert!(!store.recovery().states_rebuilt);
    let value = store.state(StateSpace::Groups, b"k").unwrap();
    assert_eq!((value[0], value.len()), (99, 1024 * 1024));
}

/// A store with state records in its file and behind it, in several segments.
fn with_a_file() -> (MemoryDisk, StoreOptions, Vec<(Bytes, Bytes)>) {
    let mut options = options();
    options.index_flush_events = 10;
    let disk = MemoryDisk::new();
    let store = open_with(&disk, options.clone());
    for number in 0..95u32 {
        let value = "x".repeat(3_000 + usize::try_from(number).unwrap());
        let append = Append::to(stream("a"), ExpectedRevision::Any, [event(number.into())]);
        let key = format!("{}", number % 9);
        store.append(append.state(put(&key, &value))).unwrap();
        store.maintain().unwrap();
    }
    let all = all(&store, "");
    let disk = disk.power_cut(Unsynced::Lost);
    (disk, options, all)
}

fn state_files(disk: &MemoryDisk) -> Vec<String> {
    let files = disk.list().unwrap().into_iter().map(|(name, _)| name);
    files.filter(|name| name.starts_with("state-")).collect()
}

#[test]
fn a_lost_or_damaged_state_file_is_made_again_from_the_log() {
    let (disk, options, expected) = with_a_file();
    let store = open_with(&disk.snapshot(), options.clone());
    assert!(!store.recovery().states_rebuilt);
    assert_eq!(all(&store, ""), expected);
    let newest = state_files(&disk).pop().unwrap();
    for damage in 0..2 {
        let disk = disk.snapshot();
        match damage {
            0 => disk.destroy(&newest).unwrap(),
            _ => disk.flip_bit(&newest, 999).unwrap(),
        }
        let store = open_with(&disk, options.clone());
        assert!(store.recovery().states_rebuilt);
        assert_eq!(all(&store, ""), expected);
        store.append(Append::new().state(put("new", "1"))).unwrap();
        store
            .append(Append::to(
                stream("a"),
                ExpectedRevision::Any,
                (100..110).map(event),
            ))
            .unwrap();
        store.close().unwrap();
        let store = open_with(&disk, options.clone());
        assert!(!store.recovery().states_rebuilt);
        assert_eq!(all(&store, "").len(), expected.len() + 1);
    }
}

#[test]
fn the_state_file_of_two_generations_is_kept_and_no_other() {
    let (disk, ..) = with_a_file();
    let files = state_files(&disk);
    assert!((1..=2).contains(&files.len()), "{files:?}");
}

/// What is committed in front of a named request.
#[derive(Clone, Copy, Debug)]
enum InFront {
    Nothing,
    AnEvent,
    AnEventInTheSameCommit,
}

/// The store was opened behind a named request without events, at whose position the table begins
/// that is lost.
#[test]
fn a_named_request_without_events_is_known_where_its_table_was_made_again() {
    for in_front in [
        InFront::Nothing,
        InFront::AnEvent,
        InFront::AnEventInTheSameCommit,
    ] {
        let disk = MemoryDisk::new();
        let mut options = options();
        options.index_flush_events = 1;
        let named = || {
            let (principal, id) = ("ann".to_owned(), Uuid::from_u128(7));
            let append = Append::new().state(put("k", "v"));
            append.request(Request { principal, id })
        };
        let one = |id| Append::to(stream("a"), ExpectedRevision::Any, [event(id)]);
        let store = open_with(&disk, options.clone());
        match in_front {
            InFront::Nothing => {}
            InFront::AnEvent => drop(store.append(one(1)).unwrap()),
            InFront::AnEventInTheSameCommit => store.submit(one(1), |answer| drop(answer.unwrap())),
        }
        assert!(!store.append(named()).unwrap().repeated);
        store.close().unwrap();
        let probe = ProbeDisk::new(Arc::new(disk.clone()));
        let host = Arc::new(SimulatedHost::new(1));
        let store = Store::open_on(Arc::new(probe.clone()), host, options.clone()).unwrap();
        store.append(one(2)).unwrap();
        probe.fail(Fault::at(Operation::Open).named("table"));
        store.maintain().unwrap();
        assert_eq!(probe.failures(), 1, "the new table is lost");
        store.append(one(3)).unwrap();
        store.maintain().unwrap();
        drop(store);
        let store = open_with(&disk, options);
        let repeated = store.append(named()).unwrap().repeated;
        assert!(repeated, "{in_front:?}");
    }
}

#[test]
fn a_named_request_without_events_is_known_after_a_restart_wherever_it_stands() {
    let mut options = options();
    options.index_flush_events = 1;
    let mut disk = MemoryDisk::new();
    let named = |number: u32| {
        let id = Uuid::from_u128(number.into());
        let principal = "ann".to_owned();
        let checks = Append::new().expect(stream("a"), ExpectedRevision::StreamExists);
        checks.request(Request { principal, id })
    };
    for number in 0..8u32 {
        let store = open_with(&disk, options.clone());
        let events = [event(number.into())];
        let append = Append::to(stream("a"), ExpectedRevision::Any, events);
        store.append(append).unwrap();
        assert!(!store.append(named(number)).unwrap().repeated);
        if number % 2 == 0 {
            // The table ends in front of the request, the checkpoint behind it.
            store.maintain().unwrap();
        }
        disk = disk.power_cut(Unsynced::Lost);
        drop(store);
        let store = open_with(&disk, options.clone());
        for known in 0..=number {
            let receipt = store.append(named(known)).unwrap();
            assert!(receipt.repeated, "{known} of {number}");
        }
        if number % 3 == 0 {
            store.close().unwrap();
        }
    }
}
