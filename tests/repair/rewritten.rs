//! Segments that a scavenge or an earlier repair has written again, and that are damaged then.

use std::sync::Arc;

use annal::disk::{Disk, MemoryDisk, SimulatedHost};
use annal::repair::{is_needed, repair_with_loss_on};
use annal::{
    Append, Direction, EventType, ExpectedRevision, NewEvent, ReadError, ReadFrom, RecordedEvent,
    ScavengeOptions, ScavengeStatus, Store,
};

use crate::{contents, derived, lost, open, options, read_only, segments, store, stream, verified};

/// Everything of a store, in order.
fn all(store: &Store) -> Vec<RecordedEvent> {
    let read = store.read_all(ReadFrom::Start, Direction::Forwards, None);
    read.unwrap().map(Result::unwrap).collect()
}

/// A store that was scavenged, and what is left of it.
fn scavenged() -> (MemoryDisk, Vec<RecordedEvent>) {
    let (disk, _) = store(true);
    let written = open(&disk, options());
    for number in [0, 2] {
        let metadata = "{\"$maxCount\":5}".to_owned();
        let metadata = Append::metadata(&stream(number), ExpectedRevision::Any, metadata);
        written.append(metadata.unwrap()).unwrap();
    }
    for round in 0..70 {
        let event = || NewEvent::json(EventType::new("Filled").unwrap(), "\"x\"");
        let events = std::iter::repeat_with(event).take(20);
        let append = Append::to(stream(round), ExpectedRevision::Any, events);
        written.append(append).unwrap();
        written.maintain().unwrap();
    }
    let info = written.scavenge(ScavengeOptions::default()).unwrap().wait();
    assert_eq!(info.status, ScavengeStatus::Completed, "{info:?}");
    assert!(info.rewritten_segments >= 2 && info.removed_events > 200);
    let left = all(&written);
    written.close().unwrap();
    (disk, left)
}

/// The files of segments that were written again.
fn rewritten(disk: &MemoryDisk) -> Vec<(String, u64)> {
    let mut files = segments(disk);
    files.retain(|(name, _)| name.matches('-').count() == 2);
    files
}

/// What a store that is only read gives: all that is left, in every way.
fn gives_all(store: &Store, left: &[RecordedEvent]) {
    assert!(all(store) == left);
    let back = store.read_all(ReadFrom::End, Direction::Backwards, None);
    assert!(
        back.unwrap()
            .map(Result::unwrap)
            .eq(left.iter().rev().cloned())
    );
    for number in 0..5 {
        let name = stream(number);
        let read = store.read_stream(&name, ReadFrom::Start, Direction::Forwards);
        let read: Vec<_> = read.unwrap().map(Result::unwrap).collect();
        let of_stream = |event: &&RecordedEvent| event.stream == name;
        // What was hidden and had not gone is left, and is not shown.
        let of_stream: Vec<_> = left.iter().filter(of_stream).cloned().collect();
        assert!(!read.is_empty() && of_stream.ends_with(&read), "{name}");
    }
    for event in left.iter().step_by(40) {
        let found = store.position_at(event.created).unwrap();
        let first = left.iter().find(|one| one.created >= event.created);
        assert_eq!(Some(found), first.map(|first| first.position));
    }
}

#[test]
fn a_scavenged_segment_without_a_footer_is_served_and_repaired_without_a_loss() {
    let (disk, left) = scavenged();
    for (name, len) in rewritten(&disk) {
        for has_tables in [true, false] {
            let disk = disk.snapshot();
            disk.flip_bit(&name, len * 8 - 9).unwrap();
            if !has_tables {
                let tables = derived(&disk).into_iter();
                let mut tables = tables.filter(|name| name.starts_with("table"));
                tables.try_for_each(|table| disk.destroy(&table)).unwrap();
            }
            let before = contents(&disk);
            let found = verified(&disk);
            assert!(is_needed(&found) && lost(&found).is_empty(), "{found}");
            let store = open(&disk, read_only());
            store.maintain().unwrap();
            gives_all(&store, &left);
            store.close().unwrap();
            assert!(
                contents(&disk) == before,
                "{name}: reading changed the store"
            );
            let host = Arc::new(SimulatedHost::new(5));
            let repaired = repair_with_loss_on(Arc::new(disk.clone()), host).unwrap();
            assert_eq!(repaired.unwrap().lost_events(), 0);
            let store = open(&disk, options());
            store.maintain().unwrap();
            gives_all(&store, &left);
        }
    }
}

#[test]
fn a_damaged_event_of_a_scavenged_segment_costs_itself_alone() {
    let (disk, left) = scavenged();
    for (name, len) in rewritten(&disk) {
        for at in [5_000, len / 3, len / 2] {
            let disk = disk.snapshot();
            disk.flip_bit(&name, at * 8).unwrap();
            let found = verified(&disk);
            let gone = lost(&found);
            assert!(gone.len() <= 1, "{name} at {at}: {found}");
            let store = open(&disk, read_only());
            for event in &left {
                match store.event_at(event.position) {
                    Ok(found) => assert_eq!(found.as_ref(), Some(event)),
                    Err(ReadError::Storage(error)) => {
                        assert!(gone.contains(&event.position.0), "{error}");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

/// The report of each repair tells of what it takes out.
#[test]
fn what_a_repair_took_out_is_not_told_as_lost_by_the_next_one() {
    let (disk, expected) = store(true);
    let mut gone = Vec::new();
    for round in 1..4u64 {
        let (name, len) = segments(&disk).remove(0);
        // Each time another byte of the same stretch.
        disk.flip_bit(&name, (len / 3 + 450 * round) * 8).unwrap();
        let host = Arc::new(SimulatedHost::new(5));
        host.advance_us(2_000_000 * round.cast_signed());
        let found = lost(&verified(&disk));
        let repaired = repair_with_loss_on(Arc::new(disk.clone()), host)
            .unwrap()
            .unwrap();
        assert_eq!((repaired.lost_events(), found.len()), (1, 1), "{repaired}");
        let report = disk.map(&repaired.report_file).unwrap();
        let report = String::from_utf8(report.to_vec()).unwrap();
        assert!(
            report.contains(": 1 acknowledged events are lost"),
            "{report}"
        );
        gone.extend(found);
        let store = open(&disk, options());
        store.maintain().unwrap();
        let is_left = |event: &&RecordedEvent| !gone.contains(&event.position.0);
        assert!(all(&store).iter().eq(expected.iter().filter(is_left)));
        store.close().unwrap();
    }
}
