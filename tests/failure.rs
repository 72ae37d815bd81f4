//! Promises of a store in trouble: every append is answered, whatever fails, closes or panics
//! around it, and the answer is true.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use annal::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use annal::{
    Append, AppendError, Background, Direction, EventType, ExpectedRevision, NewEvent, ReadFrom,
    Receipt, Revision, StorageError, Store, StoreOptions, StreamHead, StreamName,
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

type Answer = Result<Receipt, AppendError>;

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn event(id: u128, len: usize) -> NewEvent {
    NewEvent::binary(EventType::new("Happened").unwrap(), vec![7; len]).with_id(Uuid::from_u128(id))
}

fn append(name: &str, id: u128) -> Append {
    at(name, ExpectedRevision::Any, id)
}

fn at(name: &str, expected: ExpectedRevision, id: u128) -> Append {
    Append::to(stream(name), expected, [event(id, 10)])
}

fn manual() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options
}

struct Setup {
    disk: MemoryDisk,
    probe: ProbeDisk,
    host: Arc<SimulatedHost>,
    store: Store,
}

fn setup(options: StoreOptions) -> Setup {
    let disk = MemoryDisk::new();
    let probe = ProbeDisk::new(Arc::new(disk.clone()));
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(probe.clone()), host.clone(), options).unwrap();
    Setup {
        disk,
        probe,
        host,
        store,
    }
}

fn submit(store: &Store, answers: &Sender<Answer>, append: Append) {
    let answers = answers.clone();
    store.submit(append, move |answer| drop(answers.send(answer)));
}

fn next(answers: &Receiver<Answer>) -> Answer {
    answers.recv_timeout(PATIENCE).unwrap()
}

fn ids(store: &Store) -> Vec<u128> {
    let events = store
        .read_all(ReadFrom::Start, Direction::Forwards, None)
        .unwrap();
    events.map(|event| event.unwrap().id.as_u128()).collect()
}

#[test]
fn closing_answers_every_append_that_waits_for_the_index() {
    let mut options = manual();
    options.index_flush_events = 2;
    let Setup {
        disk, host, store, ..
    } = setup(options);
    let (answers, received) = mpsc::channel();
    for id in 0..20 {
        submit(&store, &answers, append("a", id));
    }
    store.close().unwrap();
    let mut made = 0;
    for _ in 0..20 {
        match received.try_recv().unwrap() {
            Ok(_) => made += 1,
            Err(AppendError::Storage(StorageError::Closed)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(made >= 4, "{made}");
    let store = Store::open_on(Arc::new(disk), host, manual()).unwrap();
    assert_eq!(ids(&store).len(), made);
}

/// Of a request whose events are there in part, too.
#[test]
fn a_refusal_says_nothing_that_is_not_durable() {
    for fails in [false, true] {
        let Setup { probe, store, .. } = setup(manual());
        store.append(append("a", 1)).unwrap();
        let (answers, received) = mpsc::channel();
        submit(&store, &answers, append("a", 2));
        let (refused, told) = mpsc::channel();
        let in_part = Append::new()
            .event(stream("a"), event(1, 10))
            .event(stream("b"), event(3, 10));
        submit(&store, &refused, in_part);
        assert!(told.try_recv().is_err(), "it is told before its grounds");
        if fails {
            probe.fail(Fault::at(Operation::Sync));
        }
        let _ends_where_it_fails = store.maintain();
        let refused = next(&told).unwrap_err();
        match (next(&received), refused) {
            (Ok(_), AppendError::WrongExpectedRevision { found, .. }) if !fails => {
                assert_eq!(found, StreamHead::At(Revision(1)));
            }
            (Err(AppendError::Unknown(_)), AppendError::Storage(_)) if fails => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The stream is deleted as far as the disk knows; that it exists again is only staged.
#[test]
fn a_retry_is_told_of_when_what_makes_it_one_is_durable() {
    for fails in [false, true] {
        let Setup { probe, store, .. } = setup(manual());
        let first = store.append(append("a", 1)).unwrap();
        let delete = Append::delete(stream("a"), ExpectedRevision::Any);
        store.append(delete).unwrap();
        let (answers, received) = mpsc::channel();
        submit(&store, &answers, append("a", 2));
        let (retried, told) = mpsc::channel();
        submit(&store, &retried, at("a", ExpectedRevision::StreamExists, 1));
        assert!(told.try_recv().is_err(), "it is told before its grounds");
        if fails {
            probe.fail(Fault::at(Operation::Sync));
        }
        let _ends_where_it_fails = store.maintain();
        match (next(&received), next(&told)) {
            (Ok(_), Ok(again)) if !fails => {
                assert!(again.repeated);
                assert_eq!(again.first, first.first);
            }
            (Err(AppendError::Unknown(_)), Err(AppendError::Storage(_))) if fails => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_full_disk_answers_the_appends_that_wait_for_the_index() {
    let mut options = StoreOptions::default();
    options.index_flush_events = 2;
    let Setup { probe, store, .. } = setup(options);
    let full = Fault::at(Operation::Write).named("table").forever();
    probe.fail(full.error(io::ErrorKind::StorageFull));
    let (answers, received) = mpsc::channel();
    for id in 0..20 {
        submit(&store, &answers, append("a", id));
    }
    let answers: Vec<Answer> = (0..20).map(|_| next(&received)).collect();
    let refused = |answer: &&Answer| matches!(answer, Err(AppendError::Storage(_)));
    assert!(answers.iter().filter(refused).count() > 0);
    assert!(store.failure().is_some());
}

#[test]
fn an_append_that_was_refused_for_want_of_space_is_never_made() {
    let mut options = manual();
    options.index_flush_events = 2;
    let Setup { probe, store, .. } = setup(options);
    for id in 0..4 {
        store.append(append("a", id)).unwrap();
    }
    let full = Fault::at(Operation::Write).named("table").forever();
    probe.fail(full.error(io::ErrorKind::StorageFull));
    let refused = store.append(append("a", 4)).unwrap_err();
    assert!(matches!(refused, AppendError::Storage(_)), "{refused}");
    probe.heal();
    store.append(append("a", 5)).unwrap();
    store.maintain().unwrap();
    assert_eq!(ids(&store), [0, 1, 2, 3, 5]);
    assert!(store.failure().is_none(), "what is over is not told");
}

#[test]
fn a_failure_in_the_background_stops_the_store() {
    let Setup {
        disk,
        probe,
        host,
        store,
    } = setup(manual());
    store.append(append("a", 1)).unwrap();
    host.advance_us(60_000);
    probe.fail(Fault::at(Operation::Sync).named("floor"));
    store.maintain().unwrap_err();
    let refused = store.append(append("a", 2)).unwrap_err();
    let poisoned = |error| matches!(error, AppendError::Storage(StorageError::Poisoned(_)));
    assert!(poisoned(refused));
    assert!(store.failure().is_some());
    assert_eq!(ids(&store), [1], "reads go on");
    assert!(store.close().is_err());
    let store = Store::open_on(Arc::new(disk), host, manual()).unwrap();
    store.append(append("a", 3)).unwrap();
    assert_eq!(ids(&store), [1, 3]);
}

#[test]
fn a_disk_too_full_for_the_spare_stops_nothing() {
    let mut options = manual();
    options.segment_size_bytes = 1024 * 1024;
    let Setup { probe, store, .. } = setup(options);
    let large = Append::to(
        stream("a"),
        ExpectedRevision::Any,
        [event(1, 400_000), event(2, 200_000)],
    );
    store.append(large).unwrap();
    let full = Fault::at(Operation::Write)
        .named("segment-00000001")
        .touching(4096..u64::MAX)
        .forever();
    probe.fail(full.error(io::ErrorKind::StorageFull));
    drop(store.maintain());
    assert!(probe.failures() > 0);
    store.append(append("a", 3)).unwrap();
    assert!(store.failure().is_some());
    probe.heal();
    store.maintain().unwrap();
    assert!(store.failure().is_none());
    assert_eq!(ids(&store), [1, 2, 3]);
}

#[test]
fn an_answer_that_panics_takes_no_other_with_it() {
    let Setup { probe, store, .. } = setup(StoreOptions::default());
    let (answers, received) = mpsc::channel();
    let hold = probe.hold(Operation::Sync, "segment");
    submit(&store, &answers, append("a", 1));
    assert!(hold.reached_within(PATIENCE));
    store.submit(append("a", 2), |_| panic!("as the test wants it"));
    submit(&store, &answers, append("a", 3));
    drop(hold);
    next(&received).unwrap();
    next(&received).unwrap();
    submit(&store, &answers, append("a", 4));
    next(&received).unwrap();
}

#[test]
fn the_last_handle_may_go_where_an_answer_is_given() {
    let Setup {
        disk,
        probe,
        host,
        store,
    } = setup(StoreOptions::default());
    let (answers, received) = mpsc::channel();
    let hold = probe.hold(Operation::Sync, "segment");
    let last = store.clone();
    store.submit(append("a", 1), move |answer| {
        drop(last);
        drop(answers.send(answer));
    });
    assert!(hold.reached_within(PATIENCE));
    drop(store);
    drop(hold);
    next(&received).unwrap();
    let begun = Instant::now();
    let again = loop {
        match Store::open_on(Arc::new(disk.clone()), host.clone(), manual()) {
            Ok(store) => break store,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        thread::yield_now();
    };
    assert_eq!(ids(&again), [1]);
}

#[test]
fn bringing_back_a_stream_never_makes_a_unit_too_long() {
    let Setup { store, .. } = setup(manual());
    store.append(append("a", 1)).unwrap();
    store
        .append(Append::delete(stream("a"), ExpectedRevision::Any))
        .unwrap();
    let json = format!("{{\"mine\":\"{}\"}}", "x".repeat(12 << 20));
    let described = NewEvent::json(EventType::new("$metadata").unwrap(), json);
    let metadata = Append::to(stream("$$a"), ExpectedRevision::Any, [described]);
    let refused = store.append(metadata).unwrap_err();
    assert!(
        matches!(refused, AppendError::OverLimit { .. }),
        "{refused}"
    );
    store.append(append("a", 2)).unwrap();
}

fn files(disk: &MemoryDisk, prefix: &str) -> usize {
    let files = disk.list().unwrap();
    files
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .count()
}

#[test]
fn a_disk_too_full_for_a_manifest_is_no_reason_to_open_the_store_again() {
    let mut options = manual();
    options.index_flush_events = 2;
    let Setup { probe, store, .. } = setup(options);
    let full = Fault::at(Operation::Write).named("manifest").forever();
    probe.fail(full.error(io::ErrorKind::StorageFull));
    store.append(append("a", 1)).unwrap();
    store.append(append("a", 2)).unwrap();
    store.maintain().unwrap_err();
    assert!(probe.failures() > 0);
    assert!(store.failure().is_some());
    probe.heal();
    store.maintain().unwrap();
    assert!(store.failure().is_none());
    store.append(append("a", 3)).unwrap();
    assert_eq!(ids(&store), [1, 2, 3]);
}

#[test]
fn a_manifest_of_which_nobody_knows_whether_it_is_in_force_stops_the_store() {
    let mut options = manual();
    options.index_flush_events = 1;
    for scavenge in [false, true] {
        let Setup {
            disk, probe, store, ..
        } = setup(options.clone());
        for id in 0..3 {
            store.append(append("a", id)).unwrap();
            store.maintain().unwrap();
        }
        assert!(files(&disk, "table") > 1);
        // That a scavenge begins is written down first.
        let fault = Fault::at(Operation::Rename).after(u64::from(scavenge));
        probe.fail(fault.forever().error(io::ErrorKind::StorageFull));
        match scavenge {
            false => drop(store.merge_indexes().unwrap_err()),
            true => {
                let scavenge = store.scavenge(annal::ScavengeOptions::default()).unwrap();
                assert_eq!(scavenge.wait().status, annal::ScavengeStatus::Failed);
            }
        }
        assert!(probe.failures() > 0);
        probe.heal();
        let poisoned = |error| matches!(error, Some(StorageError::Poisoned(_)));
        assert!(poisoned(store.failure()), "{scavenge}");
        store.append(append("a", 4)).unwrap_err();
        assert_eq!(ids(&store), [0, 1, 2], "reads go on");
    }
}

#[test]
fn damage_that_only_the_index_meets_is_told_as_damage() {
    let mut options = manual();
    options.index_flush_events = 4;
    let Setup {
        disk, host, store, ..
    } = setup(options);
    for id in 0..8 {
        store.append(append("a", id)).unwrap();
    }
    store.maintain().unwrap();
    drop(store);
    // Without its tables the index reads what the checkpoint spares the log.
    for (name, _) in disk.list().unwrap() {
        if name.starts_with("table") {
            disk.destroy(&name).unwrap();
        }
    }
    disk.flip_bit("segment-00000000", (4096 + 140) * 8).unwrap();
    let before = disk.map("segment-00000000").unwrap();
    let opened = Store::open_on(Arc::new(disk.clone()), host, manual());
    match opened {
        Err(error) => assert!(matches!(error, annal::OpenError::Damaged(_)), "{error}"),
        Ok(store) => {
            let damaged = store.maintain().unwrap_err();
            assert!(matches!(damaged, StorageError::Damaged { .. }), "{damaged}");
        }
    }
    assert_eq!(disk.map("segment-00000000").unwrap(), before);
}
