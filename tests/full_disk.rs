//! Promises of a store whose disk is full when it writes a commit: appends are refused while it is,
//! go on by themselves when it is not, and nothing acknowledged is lost, nothing refused is made.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use annal::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost, Unsynced};
use annal::{
    Append, AppendError, Background, Direction, EventType, ExpectedRevision, NewEvent, Position,
    ReadFrom, Receipt, StateChange, StateSpace, StorageError, Store, StoreOptions, StreamName,
    Token,
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);
const ROOMY_BYTES: u64 = 1 << 40;
const PAGE_BYTES: u64 = 4096;

type Answer = Result<Receipt, AppendError>;

fn append(id: u128, len: usize) -> Append {
    let stream = StreamName::new("a").unwrap();
    let event = NewEvent::binary(EventType::new("Happened").unwrap(), vec![7; len]);
    Append::to(
        stream,
        ExpectedRevision::Any,
        [event.with_id(Uuid::from_u128(id))],
    )
}

fn manual() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options
}

struct Setup {
    disk: MemoryDisk,
    probe: ProbeDisk,
    store: Store,
}

fn open(disk: &MemoryDisk, options: StoreOptions) -> Setup {
    let probe = ProbeDisk::new(Arc::new(disk.clone()));
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(probe.clone()), host, options).unwrap();
    Setup {
        disk: disk.clone(),
        probe,
        store,
    }
}

fn setup(options: StoreOptions) -> Setup {
    open(&MemoryDisk::new(), options)
}

impl Setup {
    /// Leaves so many bytes of room.
    fn leave(&self, room_bytes: u64) {
        self.disk.set_capacity(ROOMY_BYTES);
        let used = ROOMY_BYTES - self.disk.free_bytes().unwrap();
        self.disk.set_capacity(used + room_bytes);
    }

    fn make_room(&self) {
        self.disk.set_capacity(ROOMY_BYTES);
    }

    /// The next writes of a commit find no room.
    fn fill_for_commits(&self) {
        let full = Fault::at(Operation::Write).named("segment").forever();
        self.probe.fail(full.error(io::ErrorKind::StorageFull));
    }
}

fn ids(store: &Store) -> Vec<u128> {
    let events = store
        .read_all(ReadFrom::Start, Direction::Forwards, None)
        .unwrap();
    events.map(|event| event.unwrap().id.as_u128()).collect()
}

fn is_unknown(answer: &Answer) -> bool {
    matches!(answer, Err(AppendError::Unknown(StorageError::Full(_))))
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Err(AppendError::Storage(StorageError::Full(_))))
}

fn submit(store: &Store, answers: &Sender<Answer>, append: Append) {
    let answers = answers.clone();
    store.submit(append, move |answer| drop(answers.send(answer)));
}

fn next(answers: &Receiver<Answer>) -> Answer {
    answers.recv_timeout(PATIENCE).unwrap()
}

fn wait_for(store: &Store, events: u64) {
    let end = Token {
        end: Position(events),
        ..store.token()
    };
    store.wait_for(end, PATIENCE).unwrap();
}

#[test]
fn appends_are_refused_while_the_disk_is_full_and_go_on_when_it_is_not() {
    let setup = setup(manual());
    let store = &setup.store;
    for id in 0..3 {
        store.append(append(id, 10)).unwrap();
    }
    setup.fill_for_commits();
    let first = store.append(append(3, 10));
    assert!(is_unknown(&first), "{first:?}");
    for id in 4..8 {
        let next = store.append(append(id, 10));
        assert!(is_refused(&next), "{next:?}");
    }
    let text = store.append(append(8, 10)).unwrap_err().to_string();
    assert!(text.starts_with("the disk is full"), "{text}");
    assert!(matches!(store.failure(), Some(StorageError::Full(_))));
    assert!(matches!(store.maintain(), Err(StorageError::Full(_))));
    assert_eq!(ids(store), [0, 1, 2], "reads go on");
    setup.probe.heal();
    store.append(append(9, 10)).unwrap();
    assert_eq!(ids(store), [0, 1, 2, 3, 9]);
    assert!(store.failure().is_none());
    let disk = setup.disk.power_cut(Unsynced::Lost);
    assert_eq!(ids(&open(&disk, manual()).store), [0, 1, 2, 3, 9]);
}

#[test]
fn a_store_with_threads_goes_on_without_being_asked() {
    let setup = setup(StoreOptions::default());
    let (answers, received) = mpsc::channel();
    let store = &setup.store;
    store.append(append(0, 10)).unwrap();
    let hold = setup.probe.hold(Operation::Write, "segment");
    submit(store, &answers, append(1, 10));
    store.commit_enqueued(Duration::ZERO);
    assert!(hold.reached_within(PATIENCE));
    submit(store, &answers, append(2, 10));
    setup.fill_for_commits();
    drop(hold);
    for _ in 1..=2 {
        let told = next(&received);
        assert!(is_unknown(&told), "{told:?}");
    }
    submit(store, &answers, append(3, 10));
    let told = next(&received);
    assert!(is_refused(&told), "{told:?}");
    setup.probe.heal();
    wait_for(store, 3);
    store.append(append(4, 10)).unwrap();
    assert_eq!(ids(store), [0, 1, 2, 4]);
    assert!(store.failure().is_none());
}

#[test]
fn what_is_sent_again_is_made_once() {
    let setup = setup(manual());
    let store = &setup.store;
    setup.fill_for_commits();
    assert!(is_unknown(&store.append(append(1, 10))));
    assert!(is_refused(&store.append(append(1, 10))));
    setup.probe.heal();
    assert!(store.append(append(1, 10)).unwrap().repeated);
    assert_eq!(ids(store), [1]);
}

/// The room ends at each page of what the store writes in turn: units, the files of new segments,
/// manifests, footers; with and without zeros in front of the writer.
#[test]
fn the_room_may_end_at_any_write() {
    for zero_fill in [true, false] {
        let mut options = manual();
        options.zero_fill = zero_fill;
        options.index_flush_events = 16;
        let (mut unknown, mut refused) = (0, 0);
        for pages in 0..64 {
            let setup = setup(options.clone());
            let mut expected = Vec::new();
            for id in 0..4 {
                setup.store.append(append(id, 3_000)).unwrap();
                expected.push(id);
            }
            setup.leave(pages * PAGE_BYTES);
            let state = |append: Append, id: u128| match id % 5 {
                0 => append.state(StateChange::put(StateSpace::Settings, "k", vec![1; 40])),
                _ => append,
            };
            for id in 4..60 {
                match setup.store.append(state(append(id, 3_000), id)) {
                    Ok(_) => expected.push(id),
                    told if is_unknown(&told) => {
                        expected.push(id);
                        unknown += 1;
                    }
                    told if is_refused(&told) => refused += 1,
                    told => panic!("{told:?}"),
                }
                // Only for want of space may it fail.
                drop(setup.store.maintain());
            }
            setup.make_room();
            setup.store.maintain().unwrap();
            assert_eq!(ids(&setup.store), expected, "{pages} pages of room");
            setup.store.append(append(60, 10)).unwrap();
            expected.push(60);
            let disk = setup.disk.power_cut(Unsynced::Torn(pages));
            let again = open(&disk, options.clone()).store;
            assert_eq!(ids(&again), expected, "{pages} pages of room");
        }
        assert!(unknown > 20 && refused > 100, "{unknown} {refused}");
    }
}

#[test]
fn a_crash_while_a_commit_is_held_leaves_all_of_it_or_nothing() {
    for landed in [None, Some(0), Some(60), Some(400), Some(usize::MAX)] {
        for unsynced in [
            Unsynced::Lost,
            Unsynced::Kept,
            Unsynced::Torn(7),
            Unsynced::Shredded(8),
        ] {
            let setup = setup(manual());
            setup.store.append(append(0, 100)).unwrap();
            let full = Fault::at(Operation::Write).named("segment").forever();
            let full = full.error(io::ErrorKind::StorageFull);
            setup.probe.fail(match landed {
                None => full,
                Some(usize::MAX) => full.done(),
                Some(bytes) => full.landing(bytes),
            });
            assert!(is_unknown(&setup.store.append(append(1, 3_000))));
            assert!(is_refused(&setup.store.append(append(2, 100))));
            let again = open(&setup.disk.power_cut(unsynced), manual()).store;
            let found = ids(&again);
            assert!(found == [0] || found == [0, 1], "{found:?}");
            again.append(append(3, 100)).unwrap();
        }
    }
}

#[test]
fn a_part_that_was_written_before_the_room_ended_does_no_harm() {
    let setup = setup(manual());
    setup.store.append(append(0, 100)).unwrap();
    let full = Fault::at(Operation::Write).named("segment").forever();
    let full = full.error(io::ErrorKind::StorageFull);
    setup.probe.fail(full.landing(700));
    assert!(is_unknown(&setup.store.append(append(1, 3_000))));
    setup.probe.heal();
    setup.store.append(append(2, 100)).unwrap();
    let disk = setup.disk.power_cut(Unsynced::Lost);
    assert_eq!(ids(&open(&disk, manual()).store), [0, 1, 2]);
}

#[test]
fn a_store_that_is_closed_while_its_disk_is_full_keeps_what_it_acknowledged() {
    for background in [Background::Manual, Background::Threads] {
        let mut options = manual();
        options.background = background;
        let setup = setup(options);
        setup.store.append(append(0, 100)).unwrap();
        setup.fill_for_commits();
        assert!(is_unknown(&setup.store.append(append(1, 100))));
        let Setup { disk, store, .. } = setup;
        let closed = store.close().unwrap_err();
        assert!(matches!(closed, StorageError::Full(_)), "{closed}");
        assert_eq!(ids(&open(&disk, manual()).store), [0]);
    }
}

#[test]
fn the_last_room_is_used_before_an_append_is_refused() {
    let setup = setup(manual());
    setup.store.append(append(0, 100)).unwrap();
    let Setup { disk, store, .. } = setup;
    store.close().unwrap();
    let setup = open(&disk, manual());
    setup.leave(2 * PAGE_BYTES);
    for id in 1..4 {
        setup.store.append(append(id, 100)).unwrap();
    }
}

/// Nobody knows what is on the disk after that, whatever the sync failed with.
#[test]
fn a_sync_that_fails_for_want_of_space_stops_the_store() {
    let setup = setup(manual());
    setup.store.append(append(0, 100)).unwrap();
    let full = Fault::at(Operation::Sync).named("segment");
    setup.probe.fail(full.error(io::ErrorKind::StorageFull));
    let unknown = setup.store.append(append(1, 100)).unwrap_err();
    let was_io = matches!(unknown, AppendError::Unknown(StorageError::Io { .. }));
    assert!(was_io, "{unknown}");
    let stopped = setup.store.append(append(2, 100)).unwrap_err();
    let is_poisoned = matches!(stopped, AppendError::Storage(StorageError::Poisoned(_)));
    assert!(is_poisoned, "{stopped}");
}

/// What is held is not given up for the sake of another failure.
#[test]
fn another_failure_of_a_held_commit_stops_the_store() {
    let setup = setup(manual());
    setup.store.append(append(0, 100)).unwrap();
    setup.fill_for_commits();
    assert!(is_unknown(&setup.store.append(append(1, 100))));
    setup.probe.heal();
    setup
        .probe
        .fail(Fault::at(Operation::Write).named("segment"));
    let stopped = setup.store.append(append(2, 100)).unwrap_err();
    let is_poisoned = matches!(stopped, AppendError::Storage(StorageError::Poisoned(_)));
    assert!(is_poisoned, "{stopped}");
    assert_eq!(ids(&setup.store), [0]);
}
