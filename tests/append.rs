//! Promises of an append: atomic, durable before it is acknowledged, recognised when it is sent
//! again, and without a trace when it is refused.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use annal::disk::{Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost, Unsynced};
use annal::{
    Append, AppendError, Background, Direction, EventType, ExpectedRevision, NewEvent, Position,
    ReadFrom, Receipt, RecordedEvent, Request, Revision, Store, StoreOptions, StreamHead,
    StreamName, Tag,
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

fn stream(name: &str) -> StreamName {
    StreamName::new(name).unwrap()
}

fn event(id: u128) -> NewEvent {
    let event_type = EventType::new("Happened").unwrap();
    NewEvent::json(event_type, format!("{{\"n\":{id}}}")).with_id(Uuid::from_u128(id))
}

fn any(name: &str, ids: impl IntoIterator<Item = u128>) -> Append {
    Append::to(
        stream(name),
        ExpectedRevision::Any,
        ids.into_iter().map(event),
    )
}

fn at(name: &str, expected: ExpectedRevision, ids: impl IntoIterator<Item = u128>) -> Append {
    Append::to(stream(name), expected, ids.into_iter().map(event))
}

fn manual() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options
}

fn open(disk: &MemoryDisk, options: StoreOptions) -> Store {
    Store::open_on(
        Arc::new(disk.clone()),
        Arc::new(SimulatedHost::new(1)),
        options,
    )
    .unwrap()
}

fn all(store: &Store) -> Vec<RecordedEvent> {
    let events = store
        .read_all(ReadFrom::Start, Direction::Forwards, None)
        .unwrap();
    events.map(Result::unwrap).collect()
}

fn memory() -> (MemoryDisk, Store) {
    let disk = MemoryDisk::new();
    let store = open(&disk, manual());
    (disk, store)
}

#[test]
fn the_first_event_of_a_store_is_position_0() {
    let (_, store) = memory();
    let receipt = store.append(any("a", [1, 2])).unwrap();
    assert_eq!(
        (receipt.first, receipt.last),
        (Position(0), Some(Position(1)))
    );
    assert_eq!(receipt.revisions, [(stream("a"), Revision(1))]);
    assert_eq!(receipt.token, store.token());
    assert_eq!(all(&store)[0].position, Position(0));
}

#[test]
fn an_acknowledged_append_survives_a_power_cut() {
    let (disk, store) = memory();
    for id in 0..20 {
        store.append(any("a", [id])).unwrap();
        let after = open(&disk.snapshot().power_cut(Unsynced::Lost), manual());
        assert_eq!(all(&after), all(&store));
    }
}

#[test]
fn an_append_over_many_streams_happens_whole_or_not_at_all() {
    let (_, store) = memory();
    store.append(any("b", [1])).unwrap();
    let both = |expected| {
        let append = Append::new()
            .event(stream("a"), event(2))
            .event(stream("b"), event(3));
        append.expect(stream("b"), expected)
    };
    let refused = store.append(both(ExpectedRevision::NoStream)).unwrap_err();
    assert!(matches!(
        refused,
        AppendError::WrongExpectedRevision {
            stream: of,
            expected: ExpectedRevision::NoStream,
            found: StreamHead::At(Revision(0)),
        } if of == stream("b")
    ));
    assert_eq!(all(&store).len(), 1);
    let receipt = store
        .append(both(ExpectedRevision::Exactly(Revision(0))))
        .unwrap();
    assert_eq!(
        receipt.revisions,
        [(stream("a"), Revision(0)), (stream("b"), Revision(1))]
    );
    assert_eq!(
        (receipt.first, receipt.last),
        (Position(1), Some(Position(2)))
    );
}

#[test]
fn an_expectation_may_name_a_stream_that_is_not_written() {
    let (_, store) = memory();
    let guarded = |id| any("a", [id]).expect(stream("guard"), ExpectedRevision::NoStream);
    store.append(guarded(1)).unwrap();
    store.append(any("guard", [9])).unwrap();
    let refused = store.append(guarded(2)).unwrap_err();
    assert!(matches!(
        refused,
        AppendError::WrongExpectedRevision { stream: of, .. } if of == stream("guard")
    ));
}

#[test]
fn a_retry_is_recognised_whatever_became_of_streams_that_it_only_checks() {
    let (_, store) = memory();
    let guarded = |ids: [u128; 2]| {
        Append::new()
            .event(stream("a"), event(ids[0]))
            .event(stream("b"), event(ids[1]))
            .expect(stream("b"), ExpectedRevision::NoStream)
            .expect(stream("guard"), ExpectedRevision::NoStream)
    };
    let first = store.append(guarded([1, 2])).unwrap();
    store.append(any("guard", [9])).unwrap();
    let again = store.append(guarded([1, 2])).unwrap();
    let repeated = true;
    assert_eq!(again, Receipt { repeated, ..first });
    // What is new, even in part, is done only where the checks hold.
    for ids in [[3, 4], [1, 4], [3, 2]] {
        let refused = store.append(guarded(ids)).unwrap_err();
        assert!(
            matches!(refused, AppendError::WrongExpectedRevision { .. }),
            "{ids:?}: {refused}"
        );
    }
    assert_eq!(all(&store).len(), 3);
}

#[test]
fn a_retry_is_recognised_while_the_first_is_being_written_and_what_it_checks_changes() {
    let probe = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(probe.clone()), host, StoreOptions::default()).unwrap();
    let hold = probe.hold(Operation::Sync, "segment");
    let (answers, received) = mpsc::channel();
    let submit = |append| {
        let answers = answers.clone();
        store.submit(append, move |answer| answers.send(answer).unwrap());
    };
    let guarded = || any("a", [1]).expect(stream("guard"), ExpectedRevision::NoStream);
    submit(any("other", [7]));
    assert!(hold.reached_within(PATIENCE));
    submit(guarded());
    submit(any("guard", [9]));
    submit(guarded());
    drop(hold);
    let answer = || received.recv_timeout(PATIENCE).unwrap().unwrap();
    let mut told: Vec<Receipt> = (0..4).map(|_| answer()).collect();
    told.retain(|receipt| receipt.first == Position(1));
    let repeated: Vec<bool> = told.iter().map(|receipt| receipt.repeated).collect();
    assert_eq!(repeated, [false, true]);
    assert_eq!(all(&store).len(), 3);
}

/// Where one id was written twice, the last event counts, though the first was known before.
#[test]
fn a_retry_is_recognised_by_the_last_event_with_its_id() {
    let (_, store) = memory();
    store.append(any("a", [1, 2])).unwrap();
    let (answers, received) = mpsc::channel();
    let submit = |append| {
        let answers = answers.clone();
        store.submit(append, move |answer| answers.send(answer).unwrap());
    };
    submit(at("a", ExpectedRevision::Exactly(Revision(1)), [2]));
    submit(any("a", [2]));
    submit(any("a", [1, 2]));
    store.maintain().unwrap();
    let answers: Vec<Receipt> = received.try_iter().map(Result::unwrap).collect();
    let repeated = answers.iter().filter(|receipt| receipt.repeated).count();
    assert_eq!((answers.len(), repeated), (3, 2));
    for receipt in answers {
        assert_eq!(receipt.last, Some(Position(2)));
    }
}

#[test]
fn a_refused_append_leaves_no_trace() {
    let (disk, store) = memory();
    store.append(any("a", [1])).unwrap();
    let before = store.token();
    store
        .append(at("a", ExpectedRevision::NoStream, [2]))
        .unwrap_err();
    store
        .append(at("a", ExpectedRevision::Exactly(Revision(7)), [3]))
        .unwrap_err();
    store
        .append(at("new", ExpectedRevision::StreamExists, [4]))
        .unwrap_err();
    assert_eq!(store.token(), before);
    store.close().unwrap();
    let store = open(&disk, manual());
    assert_eq!((store.token(), all(&store).len()), (before, 1));
}

#[test]
fn a_retry_is_answered_as_the_first_time_also_after_a_restart() {
    let (disk, store) = memory();
    let first = store.append(any("a", [1, 2])).unwrap();
    store.append(any("a", [3])).unwrap();
    let exact = store
        .append(at("b", ExpectedRevision::NoStream, [1]))
        .unwrap();
    let again = |store: &Store| {
        let open_ended = store.append(any("a", [1, 2])).unwrap();
        let exactly = store
            .append(at("b", ExpectedRevision::NoStream, [1]))
            .unwrap();
        assert!(open_ended.repeated && exactly.repeated);
        assert_eq!(
            open_ended,
            Receipt {
                repeated: true,
                ..first.clone()
            }
        );
        assert_eq!(
            exactly,
            Receipt {
                repeated: true,
                ..exact.clone()
            }
        );
    };
    again(&store);
    let cut = open(&disk.snapshot().power_cut(Unsynced::Lost), manual());
    again(&cut);
    store.close().unwrap();
    let store = open(&disk, manual());
    again(&store);
    assert_eq!(all(&store).len(), 4);
}

#[test]
fn the_same_id_may_be_written_to_two_streams() {
    let (_, store) = memory();
    store.append(any("a", [1])).unwrap();
    assert!(!store.append(any("b", [1])).unwrap().repeated);
}

#[test]
fn a_named_request_returns_its_first_receipt_also_after_a_restart() {
    let (disk, store) = memory();
    let request = |principal: &str| Request {
        principal: principal.into(),
        id: Uuid::from_u128(7),
    };
    // Without the name the exact expectation would be refused the second time: other ids.
    let named = || {
        let append = at("a", ExpectedRevision::Any, [1]).event(stream("b"), event(2));
        append.request(request("me"))
    };
    let first = store.append(named()).unwrap();
    store.append(any("a", [3])).unwrap();
    let again = Receipt {
        repeated: true,
        ..first
    };
    assert_eq!(store.append(named()).unwrap(), again);
    let other = store
        .append(any("a", [4]).request(request("me")))
        .unwrap_err();
    assert!(matches!(other, AppendError::RequestIdReused(id) if id == Uuid::from_u128(7)));
    assert!(
        !store
            .append(any("a", [5]).request(request("you")))
            .unwrap()
            .repeated
    );
    let cut = open(&disk.snapshot().power_cut(Unsynced::Lost), manual());
    assert_eq!(cut.append(named()).unwrap(), again);
    store.close().unwrap();
    assert_eq!(open(&disk, manual()).append(named()).unwrap(), again);
}

#[test]
fn a_limit_holds_at_its_edge() {
    let mut options = manual();
    options.event_len_bytes_max = 1_000;
    options.append_events_max = 3;
    options.append_len_bytes_max = 3_000;
    let disk = MemoryDisk::new();
    let store = open(&disk, options);
    let sized = |len: usize| {
        let event_type = EventType::new("T").unwrap();
        NewEvent::binary(event_type, vec![0; len - 10])
            .with_metadata("12345")
            .with_tags(vec![Tag::new("abcde").unwrap()])
    };
    let to = |events: Vec<NewEvent>| Append::to(stream("a"), ExpectedRevision::Any, events);
    for (append, fits) in [
        (to(vec![sized(999)]), true),
        (to(vec![sized(1_000)]), true),
        (to(vec![sized(1_001)]), false),
        (to(vec![sized(20); 2]), true),
        (to(vec![sized(20); 3]), true),
        (to(vec![sized(20); 4]), false),
        (to(vec![sized(900); 3]), true),
        (to(vec![sized(980); 3]), false),
        (
            to(vec![sized(20).with_tags(vec![Tag::new("t").unwrap(); 16])]),
            true,
        ),
        (
            to(vec![sized(20).with_tags(vec![Tag::new("t").unwrap(); 17])]),
            false,
        ),
    ] {
        let before = store.committed();
        // New ids each time, so that nothing is taken for a retry.
        match (store.append(append), fits) {
            (Ok(_), true) => {}
            (Err(AppendError::OverLimit { value, max, .. }), false) => {
                assert!(value > max);
                assert_eq!(store.committed(), before);
            }
            (answer, _) => panic!("{answer:?}"),
        }
    }
}

#[test]
fn the_largest_event_and_the_largest_append_are_taken() {
    let (disk, store) = memory();
    let event_type = EventType::new("Large").unwrap();
    let largest = vec![7u8; 16 * 1024 * 1024 - 64 * 1024];
    let event_of = |data: Vec<u8>| NewEvent::binary(event_type.clone(), data);
    let to = |event: NewEvent| Append::to(stream("a"), ExpectedRevision::Any, [event]);
    store.append(to(event_of(largest.clone()))).unwrap();
    let mut over = largest.clone();
    over.push(7);
    let refused = store.append(to(event_of(over))).unwrap_err();
    assert!(matches!(refused, AppendError::OverLimit { .. }));
    let many = (0..65_536).map(|id| (stream("many"), event(id)));
    let many = many.fold(Append::new(), |append, (stream, event)| {
        append.event(stream, event)
    });
    store.append(many).unwrap();
    store.close().unwrap();
    let store = open(&disk, manual());
    let first = store.event_at(Position(0)).unwrap().unwrap();
    assert_eq!(first.data, largest);
    assert_eq!(store.committed(), Position(65_537));
}

#[test]
fn a_request_that_contradicts_itself_is_refused() {
    let (_, store) = memory();
    let twice = any("a", [1]).expect(stream("a"), ExpectedRevision::NoStream);
    assert!(matches!(store.append(twice), Err(AppendError::Invalid(_))));
    let mixed = Append::delete(stream("a"), ExpectedRevision::Any).event(stream("a"), event(1));
    assert!(matches!(store.append(mixed), Err(AppendError::Invalid(_))));
    let metadata = Append::delete(stream("$$a"), ExpectedRevision::Any);
    assert!(matches!(
        store.append(metadata),
        Err(AppendError::Invalid(_))
    ));
    let back = || Append::bring_back(stream("a"), ExpectedRevision::Any);
    let request = Request {
        principal: String::new(),
        id: Uuid::from_u128(1),
    };
    for more in [back().event(stream("b"), event(1)), back().request(request)] {
        assert!(matches!(store.append(more), Err(AppendError::Invalid(_))));
    }
}

#[test]
fn the_commit_path_reads_nothing_from_the_disk() {
    let disk = MemoryDisk::new();
    let probe = ProbeDisk::new(Arc::new(disk));
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(probe.clone()), host, manual()).unwrap();
    for id in 0..500 {
        store.append(any(&format!("s-{}", id % 7), [id])).unwrap();
    }
    store.maintain().unwrap();
    probe.reset();
    for id in 500..1_000 {
        // New streams, and streams whose head is in memory: nothing to be found on the disk.
        store.append(any(&format!("new-{id}"), [id])).unwrap();
        let known = format!("new-{}", 500 + (id - 500) / 2);
        store
            .append(at(&known, ExpectedRevision::StreamExists, [id + 10_000]))
            .unwrap();
    }
    assert_eq!(probe.tally(Operation::Read, "segment").calls, 0);
    assert_eq!(probe.tally(Operation::Sync, "segment").calls, 1_000);
}

#[test]
fn after_a_failed_sync_the_unit_is_unknown_and_what_follows_is_refused() {
    for done in [false, true] {
        let disk = MemoryDisk::new();
        let probe = ProbeDisk::new(Arc::new(disk.clone()));
        let host = Arc::new(SimulatedHost::new(1));
        let store = Store::open_on(Arc::new(probe.clone()), host, manual()).unwrap();
        store.append(any("a", [1])).unwrap();
        let fault = Fault::at(Operation::Sync).named("segment");
        probe.fail(if done {
            fault.done()
        } else {
            fault.losing_unsynced(&disk)
        });
        let unknown = store.append(any("a", [2])).unwrap_err();
        assert!(matches!(unknown, AppendError::Unknown(_)), "{unknown}");
        // The disk works again, and the store does not believe it.
        let refused = store.append(any("a", [3])).unwrap_err();
        assert!(matches!(refused, AppendError::Storage(_)), "{refused}");
        assert_eq!(all(&store).len(), 1, "what is not durable is not seen");
        assert!(store.close().is_err());
        let after = open(&disk.power_cut(Unsynced::Lost), manual());
        let events = all(&after);
        assert_eq!(events.len(), if done { 2 } else { 1 });
        let again = after.append(any("a", [2])).unwrap();
        assert_eq!(again.repeated, done);
        assert_eq!(all(&after).len(), 2);
    }
}

#[test]
fn appends_that_wait_behind_a_failing_sync_are_certainly_refused() {
    let disk = MemoryDisk::new();
    let probe = ProbeDisk::new(Arc::new(disk));
    let options = StoreOptions::default();
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(probe.clone()), host, options).unwrap();
    store.append(any("a", [1])).unwrap();
    let hold = probe.hold(Operation::Sync, "segment");
    let (answers, received) = mpsc::channel();
    let submit = |id| {
        let answers = answers.clone();
        store.submit(any("a", [id]), move |answer| {
            answers.send((id, answer)).unwrap()
        });
    };
    submit(2);
    assert!(hold.reached_within(PATIENCE));
    submit(3);
    submit(4);
    probe.fail(Fault::at(Operation::Sync).named("segment"));
    drop(hold);
    for _ in 0..3 {
        match received.recv_timeout(PATIENCE).unwrap() {
            (2, Err(AppendError::Unknown(_))) | (3 | 4, Err(AppendError::Storage(_))) => {}
            (id, answer) => panic!("{id}: {answer:?}"),
        }
    }
}

#[test]
fn what_is_enqueued_is_committed_together_when_its_caller_says_so() {
    for background in [Background::Manual, Background::Threads] {
        let mut options = StoreOptions::default();
        options.background = background;
        let store = open(&MemoryDisk::new(), options);
        let origin = store.origin();
        // The second commit has two requests; so the third is not the caller's, but the store's.
        for ids in [&[1][..], &[2, 3], &[4]] {
            let (answers, received) = mpsc::channel();
            for id in ids {
                let answers = answers.clone();
                store.enqueue_from(origin, any("a", [*id]), move |answer| {
                    answers.send(answer.unwrap().first).unwrap();
                });
            }
            assert!(received.try_recv().is_err(), "nobody has said so");
            store.commit_enqueued(PATIENCE);
            for id in ids {
                let position = received.recv_timeout(PATIENCE).unwrap();
                assert_eq!(u128::from(position.0) + 1, *id);
            }
        }
        assert_eq!(store.stats().sync_us.count(), 3);
    }
}

#[test]
fn nothing_is_seen_before_its_sync_returned() {
    let disk = MemoryDisk::new();
    let probe = ProbeDisk::new(Arc::new(disk));
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(probe.clone()), host, StoreOptions::default()).unwrap();
    store.append(any("a", [1])).unwrap();
    let hold = probe.hold(Operation::Sync, "segment");
    let (done, received) = mpsc::channel();
    store.submit(any("a", [2]), move |answer| done.send(answer).unwrap());
    assert!(hold.reached_within(PATIENCE));
    assert_eq!((all(&store).len(), store.committed()), (1, Position(1)));
    let name = stream("a");
    let read = store
        .read_stream(&name, ReadFrom::Start, Direction::Forwards)
        .unwrap();
    assert_eq!(read.count(), 1);
    drop(hold);
    received.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(all(&store).len(), 2);
}

#[test]
fn pipelined_appends_build_on_each_other_before_they_are_durable() {
    let disk = MemoryDisk::new();
    let store = open(&disk, StoreOptions::default());
    let (answers, received) = mpsc::channel();
    for revision in 0..200u64 {
        let expected = match revision.checked_sub(1) {
            None => ExpectedRevision::NoStream,
            Some(before) => ExpectedRevision::Exactly(Revision(before)),
        };
        let answers = answers.clone();
        store.submit(at("a", expected, [revision.into()]), move |answer| {
            answers.send((revision, answer)).unwrap();
        });
    }
    for _ in 0..200 {
        let (revision, answer) = received.recv_timeout(PATIENCE).unwrap();
        assert_eq!(
            answer.unwrap().revisions,
            [(stream("a"), Revision(revision))]
        );
    }
}

#[test]
fn what_is_sent_behind_an_append_that_goes_round_again_is_judged_behind_it() {
    let probe = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(probe.clone()), host, StoreOptions::default()).unwrap();
    store.append(any("s", [1])).unwrap();
    let hold = probe.hold(Operation::Sync, "segment");
    let (answers, received) = mpsc::channel();
    let submit = |name: &'static str, append| {
        let answers = answers.clone();
        store.submit(append, move |answer| answers.send((name, answer)).unwrap());
    };
    submit("delete", Append::delete(stream("s"), ExpectedRevision::Any));
    assert!(hold.reached_within(PATIENCE));
    // What brings the stream back is in the log only, where the deletion is not yet durable.
    submit("back", any("s", [2]));
    submit("next", at("s", ExpectedRevision::Exactly(Revision(1)), [3]));
    submit(
        "refused",
        at("s", ExpectedRevision::Exactly(Revision(1)), [4]),
    );
    drop(hold);
    let mut told = BTreeMap::new();
    for _ in 0..4 {
        let (name, answer) = received.recv_timeout(PATIENCE).unwrap();
        told.insert(name, answer);
    }
    assert_eq!(
        told["back"].as_ref().unwrap().revisions,
        [(stream("s"), Revision(1))]
    );
    assert_eq!(
        told["next"].as_ref().unwrap().revisions,
        [(stream("s"), Revision(2))]
    );
    assert!(matches!(
        told["refused"],
        Err(AppendError::WrongExpectedRevision { .. })
    ));
}

#[test]
fn of_many_writers_with_one_expectation_exactly_one_wins() {
    let disk = MemoryDisk::new();
    let store = open(&disk, StoreOptions::default());
    let ids = AtomicU64::new(0);
    for round in 0..50u64 {
        let expected = match round.checked_sub(1) {
            None => ExpectedRevision::NoStream,
            Some(before) => ExpectedRevision::Exactly(Revision(before)),
        };
        let wins: usize = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let id = ids.fetch_add(1, Ordering::Relaxed);
                        match store.append(at("hot", expected, [id.into()])) {
                            Ok(receipt) => usize::from(!receipt.repeated),
                            Err(AppendError::WrongExpectedRevision { .. }) => 0,
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            writers
                .into_iter()
                .map(|writer| writer.join().unwrap())
                .sum()
        });
        assert_eq!(wins, 1, "round {round}");
    }
    assert_eq!(all(&store).len(), 50);
}

#[test]
fn many_writers_lose_nothing_and_share_syncs() {
    let disk = MemoryDisk::new();
    let store = open(&disk, StoreOptions::default());
    std::thread::scope(|scope| {
        for writer in 0..16u128 {
            let store = store.clone();
            scope.spawn(move || {
                for number in 0..200 {
                    store
                        .append(any(&format!("w-{writer}"), [writer * 1_000 + number]))
                        .unwrap();
                }
            });
        }
    });
    let mut revisions: BTreeMap<StreamName, u64> = BTreeMap::new();
    for (position, event) in all(&store).into_iter().enumerate() {
        assert_eq!(event.position.0, u64::try_from(position).unwrap());
        let next = revisions.entry(event.stream).or_default();
        assert_eq!(event.revision.0, *next);
        *next += 1;
    }
    assert!(revisions.len() == 16 && revisions.values().all(|count| *count == 200));
}

#[test]
fn a_closed_store_refuses_and_the_directory_is_free_again() {
    let (disk, store) = memory();
    let other = Store::open_on(
        Arc::new(disk.clone()),
        Arc::new(SimulatedHost::new(2)),
        manual(),
    );
    assert!(matches!(other, Err(annal::OpenError::InUse(_))));
    let handle = store.clone();
    store.close().unwrap();
    assert!(matches!(
        handle.append(any("a", [1])),
        Err(AppendError::Storage(_))
    ));
    drop(handle);
    open(&disk, manual()).append(any("a", [1])).unwrap();
}
