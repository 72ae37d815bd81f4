//! Promises about damaged stores: what is whole can be read, what is not is an error, looking
//! changes nothing, and a repair keeps every whole event where it was.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "repair/rewritten.rs"]
mod rewritten;
#[path = "repair/unreadable.rs"]
mod unreadable;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use annal::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost, Unsynced};
use annal::engine::verify_on;
use annal::repair::{is_needed, repair_with_loss_on};
use annal::{
    Append, AppendError, Background, Direction, EventType, ExpectedRevision, LogVerification,
    NewEvent, Position, ReadError, ReadFrom, RecordedEvent, Source, StateChange, StateSpace,
    StorageError, Store, StoreOptions, StreamName, SubscribeFrom,
};
use uuid::Uuid;

const STREAMS: u64 = 5;

fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    options.segment_size_bytes = 64 * 1024;
    options.index_flush_events = 300;
    options.recent_bytes = 0;
    options
}

fn read_only() -> StoreOptions {
    let mut options = options();
    options.read_only = true;
    options
}

/// One of the disks that are handles, and may be opened more than once.
trait Handle: Disk + Clone + 'static {}

impl<D: Disk + Clone + 'static> Handle for D {}

fn open(disk: &impl Handle, options: StoreOptions) -> Store {
    Store::open_on(
        Arc::new(disk.clone()),
        Arc::new(SimulatedHost::new(3)),
        options,
    )
    .unwrap()
}

fn stream(number: u64) -> StreamName {
    StreamName::new(format!("order-{}", number % STREAMS)).unwrap()
}

/// A store with sealed segments, one that is written, tables, and state records.
fn store(clean: bool) -> (MemoryDisk, Vec<RecordedEvent>) {
    let disk = MemoryDisk::new();
    let host = Arc::new(SimulatedHost::new(1));
    let store = Store::open_on(Arc::new(disk.clone()), host.clone(), options()).unwrap();
    for round in 0..70u64 {
        let events = (0..8u64).map(|index| {
            let number = round * 8 + index;
            let data = format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(240));
            let event_type = EventType::new("Placed").unwrap();
            NewEvent::json(event_type, data).with_id(Uuid::from_u128(number.into()))
        });
        let append = Append::to(stream(round), ExpectedRevision::Any, events);
        let key = format!("key-{}", round % 7);
        let state = StateChange::put(StateSpace::Consumers, key, format!("{round}"));
        store.append(append.state(state)).unwrap();
        if round % 5 == 4 {
            store.maintain().unwrap();
        }
    }
    host.advance_us(60_000);
    store.maintain().unwrap();
    let events: Vec<RecordedEvent> = store
        .read_all(ReadFrom::Start, Direction::Forwards, None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(events.len(), 560);
    let snapshot = disk.snapshot();
    if clean {
        store.close().unwrap();
        return (disk, events);
    }
    (snapshot, events)
}

fn segments(disk: &MemoryDisk) -> Vec<(String, u64)> {
    let mut files = disk.list().unwrap();
    files.retain(|(name, _)| name.starts_with("segment"));
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files
}

/// The files that are made again from the log.
fn derived(disk: &MemoryDisk) -> Vec<String> {
    let files = disk.list().unwrap().into_iter().map(|(name, _)| name);
    let derived = |name: &String| {
        ["table", "checkpoint", "state"]
            .iter()
            .any(|kind| name.starts_with(kind))
    };
    files.filter(derived).collect()
}

fn contents(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = disk
        .list()
        .unwrap()
        .into_iter()
        .map(|(name, _)| (name.clone(), disk.map(&name).unwrap().to_vec()))
        .collect();
    files.sort();
    files
}

fn verified(disk: &impl Handle) -> LogVerification {
    verify_on(Arc::new(disk.clone()), &mut |_| {}).unwrap()
}

/// Reads every position by itself; the ones that are errors.
fn unreadable(store: &Store, expected: &[RecordedEvent]) -> BTreeSet<u64> {
    let mut errors = BTreeSet::new();
    for event in expected {
        match store.event_at(event.position) {
            Ok(found) => assert_eq!(found.as_ref(), Some(event)),
            Err(ReadError::Storage(
                StorageError::Damaged { .. }
                | StorageError::Missing { .. }
                | StorageError::Io {
                    operation: "read", ..
                },
            )) => {
                errors.insert(event.position.0);
            }
            Err(error) => panic!("{error}"),
        }
    }
    errors
}

fn lost(found: &LogVerification) -> BTreeSet<u64> {
    let ranges = found.lost.iter();
    ranges.flat_map(|lost| lost.first.0..lost.end.0).collect()
}

/// A damaged store: it is read without a change, and repaired, and then everything that was whole
/// is there. It is asked through `asked`, which may not give all of it. Gives the positions that
/// are lost.
fn survives(
    disk: &MemoryDisk,
    asked: &impl Handle,
    expected: &[RecordedEvent],
    what: &str,
) -> BTreeSet<u64> {
    let before = contents(disk);
    let found = verified(asked);
    let positions = lost(&found);
    let store = open(asked, read_only());
    store.maintain().unwrap();
    assert_eq!(unreadable(&store, expected), positions, "{what}: {found}");
    reads_are_right(&store, expected, &positions);
    store.close().unwrap();
    assert!(
        contents(disk) == before,
        "{what}: reading changed the store"
    );

    let needed = is_needed(&found);
    let host = Arc::new(SimulatedHost::new(5));
    let repaired = repair_with_loss_on(Arc::new(asked.clone()), host).unwrap();
    assert_eq!(repaired.is_some(), needed, "{what}");
    let store = open(asked, options());
    store.maintain().unwrap();
    assert_eq!(store.committed(), Position(560), "{what}");
    for event in expected {
        let found = store.event_at(event.position).unwrap();
        let wanted = (!positions.contains(&event.position.0)).then_some(event);
        assert_eq!(found.as_ref(), wanted, "{what}");
    }
    let whole: Vec<&RecordedEvent> = expected
        .iter()
        .filter(|event| !positions.contains(&event.position.0))
        .collect();
    for number in 0..STREAMS {
        let name = stream(number);
        let read = store.read_stream(&name, ReadFrom::Start, Direction::Forwards);
        let read: Vec<_> = read.unwrap().map(Result::unwrap).collect();
        let of_stream = whole.iter().filter(|event| event.stream == name);
        assert!(read.iter().eq(of_stream.copied()), "{what}: {name}");
    }
    let after = || {
        let event = NewEvent::json(EventType::new("After").unwrap(), "{}");
        store.append(Append::to(stream(0), ExpectedRevision::Any, [event]))
    };
    let mut receipt = after();
    if let Err(AppendError::IndexRebuilding { .. }) = receipt {
        store.maintain().unwrap();
        receipt = after();
    }
    assert_eq!(receipt.unwrap().first, Position(560), "{what}");
    store.maintain().unwrap();
    store.close().unwrap();
    let after = verified(asked);
    assert!(after.is_whole(), "{what}: {after}");
    if let Some(repaired) = repaired {
        for file in &repaired.kept_files {
            let (_, name) = file.split_once("Z-").unwrap();
            let original = before.iter().find(|(file, _)| file == name).unwrap();
            assert!(*disk.map(file).unwrap() == *original.1, "{what}: {file}");
        }
        assert!(disk.map(&repaired.report_file).is_ok());
        assert_eq!(repaired.lineage.is_some(), !positions.is_empty());
    }
    positions
}

/// Streams and subscriptions of a store that is only read: what they give is right, and where
/// something is missing they end with an error.
fn reads_are_right(store: &Store, expected: &[RecordedEvent], lost: &BTreeSet<u64>) {
    for number in 0..STREAMS {
        let name = stream(number);
        let of_stream = expected.iter().filter(|event| event.stream == name);
        let mut of_stream = of_stream.peekable();
        let read = match store.read_stream(&name, ReadFrom::Start, Direction::Forwards) {
            Ok(read) => read,
            Err(error) => {
                assert!(!lost.is_empty(), "{error}");
                continue;
            }
        };
        for event in read {
            match event {
                Ok(event) => assert_eq!(Some(&event), of_stream.next()),
                Err(error) => {
                    assert!(!lost.is_empty(), "{error}");
                    break;
                }
            }
        }
        if lost.is_empty() {
            assert_eq!(of_stream.next(), None);
        }
    }
    let mut all = store.subscribe(Source::All, SubscribeFrom::Start).unwrap();
    let mut next = 0;
    let ended = loop {
        match all.next(annal::BatchLimit::default()) {
            Ok(annal::Notice::Events(batch)) => {
                for event in batch.events() {
                    assert_eq!(event.unwrap(), expected[next]);
                    next += 1;
                }
            }
            Ok(_) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let first_lost = lost.first().map(|first| usize::try_from(*first).unwrap());
    assert_eq!(next, first_lost.unwrap_or(expected.len()), "{ended:?}");
    assert_eq!(ended.is_ok(), lost.is_empty());
}

#[test]
fn whatever_is_flipped_the_rest_is_read_and_survives_a_repair() {
    for clean in [false, true] {
        let (disk, expected) = store(clean);
        let mut most = 0;
        for (name, len) in segments(&disk) {
            for at in (0..len).step_by(7_001) {
                let disk = disk.snapshot();
                disk.flip_bit(&name, at * 8 + at % 7).unwrap();
                let lost = survives(&disk, &disk, &expected, &format!("{name} at {at}"));
                most = most.max(lost.len());
            }
        }
        assert!((1..=8).contains(&most), "no more than a unit: {most}");
    }
}

#[test]
fn a_damaged_payload_costs_one_event() {
    let (disk, expected) = store(true);
    for wanted in [3, 100, 559] {
        let disk = disk.snapshot();
        let event = &expected[wanted];
        let needle = &event.data[..20];
        let place = segments(&disk).into_iter().find_map(|(name, _)| {
            let bytes = disk.map(&name).unwrap();
            let at = bytes.windows(20).position(|window| window == needle)?;
            Some((name, u64::try_from(at).unwrap()))
        });
        let (name, at) = place.unwrap();
        disk.flip_bit(&name, at * 8).unwrap();
        let found = verified(&disk);
        assert_eq!(found.lost_events(), 1, "{found}");
        assert_eq!(found.lost[0].first, event.position);
        assert!(
            found.lost[0].streams.contains(&event.stream.to_string()),
            "{found}"
        );
        let lost = survives(&disk, &disk, &expected, "a payload");
        assert_eq!(lost, [event.position.0].into());
    }
}

#[test]
fn a_lost_segment_costs_its_events_and_no_other() {
    for clean in [false, true] {
        let (disk, expected) = store(clean);
        for (name, _) in segments(&disk) {
            let disk = disk.snapshot();
            disk.destroy(&name).unwrap();
            let lost = survives(&disk, &disk, &expected, &format!("{name} is gone"));
            assert!(lost.len() < 300, "{name}: {}", lost.len());
            let disk = disk.snapshot();
            assert!(verified(&disk).is_whole());
        }
    }
}

#[test]
fn a_cut_segment_costs_what_was_cut_off() {
    let (disk, expected) = store(true);
    for (name, len) in segments(&disk) {
        let disk = disk.snapshot();
        disk.truncate(&name, len / 2).unwrap();
        let lost = survives(&disk, &disk, &expected, &format!("{name} is cut"));
        assert!(lost.len() < 200, "{name}: {}", lost.len());
    }
}

#[test]
fn without_a_manifest_or_a_floor_no_event_is_lost() {
    for clean in [false, true] {
        let (disk, expected) = store(clean);
        let files = disk.list().unwrap().into_iter().map(|(name, _)| name);
        let manifests = files.filter(|name| name.starts_with("manifest"));
        let newest = manifests.max().unwrap();
        for name in [newest.as_str(), "floor"] {
            let gone = disk.snapshot();
            gone.destroy(name).unwrap();
            let lost = survives(&gone, &gone, &expected, &format!("{name} is gone"));
            assert_eq!(lost.len(), 0, "{name}");
        }
        let damaged = disk.snapshot();
        let half = damaged.map(&newest).unwrap().len() / 2;
        for at in [20, half + 20] {
            damaged
                .flip_bit(&newest, u64::try_from(at).unwrap() * 8)
                .unwrap();
        }
        assert_eq!(
            survives(&damaged, &damaged, &expected, "both copies").len(),
            0
        );
    }
}

#[test]
fn what_is_derived_needs_no_repair() {
    let (disk, expected) = store(false);
    let derived = derived(&disk);
    assert!(derived.len() >= 2, "{derived:?}");
    for name in derived {
        let disk = disk.snapshot();
        let len = disk.map(&name).unwrap().len();
        disk.flip_bit(&name, u64::try_from(len / 2).unwrap() * 8)
            .unwrap();
        let found = verified(&disk);
        assert!(!found.is_whole(), "{name}");
        assert!(!is_needed(&found), "{found}");
        assert!(found.to_string().contains("No acknowledged event is lost"));
        assert_eq!(survives(&disk, &disk, &expected, &name).len(), 0);
    }
}

/// Behind events that are gone, a segment takes its digests from what is left.
#[test]
fn a_repaired_store_fills_and_seals_segments_behind_what_was_lost() {
    let (disk, expected) = store(true);
    let all = segments(&disk);
    let last = &all.last().unwrap().0;
    let bytes = disk.map(last).unwrap();
    let needle = &*expected[559].data;
    let at = bytes.windows(needle.len()).position(|it| it == needle);
    let at = u64::try_from(at.unwrap()).unwrap();
    drop(bytes);
    for what in ["the last event", last, &all[1].0, &all[0].0] {
        let disk = disk.snapshot();
        match what {
            "the last event" => disk.flip_bit(last, at * 8).unwrap(),
            segment => disk.destroy(segment).unwrap(),
        }
        let lost = lost(&verified(&disk));
        assert!(!lost.is_empty(), "{what}");
        let host = Arc::new(SimulatedHost::new(5));
        repair_with_loss_on(Arc::new(disk.clone()), host).unwrap();
        // It might never end: then this thread does not wait for it.
        let (done, ended) = std::sync::mpsc::channel();
        let filled = disk.clone();
        std::thread::spawn(move || done.send(fill(&filled)));
        let within = std::time::Duration::from_secs(120);
        let sealed = ended.recv_timeout(within).expect("sealing comes to an end");
        assert!(sealed >= 3, "{what}: {sealed}");
        let found = verified(&disk);
        assert!(found.is_whole(), "{what}: {found}");
        let store = open(&disk, options());
        let all = store.read_all(ReadFrom::Start, Direction::Forwards, None);
        let positions = all.unwrap().map(|event| event.unwrap().position.0);
        let kept = (0..1_360).filter(|at| !lost.contains(at));
        assert!(positions.eq(kept), "{what}");
    }
}

/// Appends 800 events to a store, and says how many segments it made. The first one, which the
/// repair has made, takes 16 MiB.
fn fill(disk: &MemoryDisk) -> usize {
    let before = segments(disk).len();
    let store = open(disk, options());
    for round in 0..100u64 {
        let len_bytes = if round < 8 { 300_000 } else { 240 };
        let events = (0..8).map(|_| {
            let data = format!("\"{}\"", "y".repeat(len_bytes));
            NewEvent::json(EventType::new("After").unwrap(), data)
        });
        let append = Append::to(stream(round), ExpectedRevision::Any, events);
        store.append(append).unwrap();
        store.maintain().unwrap();
    }
    store.close().unwrap();
    segments(disk).len() - before
}

#[test]
fn state_records_survive_a_repair() {
    let (disk, expected) = store(false);
    let states = |store: &Store| store.states(StateSpace::Consumers, b"");
    let before = states(&open(&disk.snapshot(), options()));
    assert_eq!(before.len(), 7);
    let (name, _) = segments(&disk).remove(0);
    disk.flip_bit(&name, 8 * 9_000).unwrap();
    assert!(!survives(&disk, &disk, &expected, "a sealed segment").is_empty());
    assert_eq!(states(&open(&disk, options())), before);
}

#[test]
fn a_repair_that_is_cut_short_is_done_again() {
    let (disk, expected) = store(false);
    let all = segments(&disk);
    disk.flip_bit(&all[0].0, 8 * 9_000).unwrap();
    disk.flip_bit(&all.last().unwrap().0, 8 * 5_000).unwrap();
    let lost = lost(&verified(&disk));
    assert!(!lost.is_empty());
    for number in 0.. {
        let disk = disk.snapshot();
        let probe = ProbeDisk::new(Arc::new(disk.clone()));
        let fault = Fault::at_any(Operation::CHANGES).after(number).forever();
        probe.fail(fault.error(io::ErrorKind::Other));
        let host = || Arc::new(SimulatedHost::new(number));
        let outcome = repair_with_loss_on(Arc::new(probe), host());
        let unsynced = [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn(number)];
        for unsynced in unsynced {
            let disk = disk.power_cut(unsynced);
            repair_with_loss_on(Arc::new(disk.clone()), host()).unwrap();
            let store = open(&disk, options());
            store.maintain().unwrap();
            for event in &expected {
                let found = store.event_at(event.position).unwrap();
                let wanted = (!lost.contains(&event.position.0)).then_some(event);
                assert_eq!(found.as_ref(), wanted, "after {number}");
            }
        }
        if outcome.is_ok() {
            assert!(number > 20, "{number}");
            return;
        }
    }
}

#[test]
fn a_store_that_is_only_read_writes_nothing_and_refuses_appends() {
    let (disk, expected) = store(false);
    let before = contents(&disk);
    let probe = ProbeDisk::new(Arc::new(disk.clone()));
    let refused = io::ErrorKind::ReadOnlyFilesystem;
    let every_change = Fault::at_any(Operation::CHANGES).forever();
    probe.fail(every_change.error(refused));
    let host = Arc::new(SimulatedHost::new(3));
    let store = Store::open_on(Arc::new(probe.clone()), host, read_only()).unwrap();
    assert!(store.is_read_only());
    store.maintain().unwrap();
    assert!(unreadable(&store, &expected).is_empty());
    reads_are_right(&store, &expected, &BTreeSet::new());
    let event = NewEvent::json(EventType::new("Late").unwrap(), "{}");
    let append = Append::to(stream(0), ExpectedRevision::Any, [event]);
    let refused = store.append(append).unwrap_err();
    assert!(
        matches!(refused, AppendError::Storage(StorageError::ReadOnly)),
        "{refused}"
    );
    assert!(store.scavenge(annal::ScavengeOptions::default()).is_err());
    assert!(store.merge_indexes().is_err());
    let groups = store.groups().unwrap();
    let source = annal::GroupSource::Stream(stream(0));
    let name = annal::GroupName::new("g").unwrap();
    let made = groups.create(
        source,
        name,
        annal::GroupSettings::default(),
        annal::GroupStart::Start,
    );
    assert!(made.unwrap_err().to_string().contains("reading only"));
    drop(groups);
    store.close().unwrap();
    assert_eq!(probe.failures(), 0, "nothing was even tried");
    assert!(contents(&disk) == before);
}

#[test]
fn readers_share_a_store_and_keep_writers_out() {
    let (disk, _) = store(true);
    let first = open(&disk, read_only());
    let second = open(&disk, read_only());
    let host = Arc::new(SimulatedHost::new(3));
    let writer = Store::open_on(Arc::new(disk.clone()), host, options());
    assert!(matches!(writer, Err(annal::OpenError::InUse(_))));
    assert!(verified(&disk).is_whole(), "and one may look");
    first.close().unwrap();
    second.close().unwrap();
    let writer = open(&disk, options());
    let host = Arc::new(SimulatedHost::new(3));
    let reader = Store::open_on(Arc::new(disk.clone()), host, read_only());
    assert!(matches!(reader, Err(annal::OpenError::InUse(_))));
    let looked = verify_on(Arc::new(disk.clone()), &mut |_| {});
    assert!(matches!(looked, Err(annal::OpenError::InUse(_))));
    writer.close().unwrap();
}
