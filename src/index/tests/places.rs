//! Where things lie: long lists, damaged bytes, disk accesses, left-overs, sizes.

use std::sync::Arc;

use super::{Fixture, options};
use crate::disk::{Disk, Operation, ProbeDisk};
use crate::index::{From, Index, IndexError, IndexOptions, Key, Source, StreamEntry};
use crate::model::{Direction, Position, Revision};

fn all(index: &Index, committed: Position, key: Key<'_>, from: From, way: Direction) -> Vec<u64> {
    let mut walk = index.view(committed).seek(key, from, way).unwrap();
    let mut found = Vec::new();
    loop {
        let chunk = walk.next_chunk(1000).unwrap();
        if chunk.is_empty() {
            return found;
        }
        found.extend(chunk.iter().map(|(_, position)| position.0));
    }
}

#[test]
fn long_lists_are_found_from_any_place_in_both_directions() {
    let fixture = Fixture::new(IndexOptions {
        flush_events: 1500,
        ..options()
    });
    for number in 0..14_000u32 {
        let stream = format!("c-{}", number % 7);
        fixture.stage(&stream, "made", &[], "");
        if number % 1500 == 1499 {
            fixture.commit();
            fixture.flush();
        }
    }
    fixture.commit();
    fixture.flush();
    fixture.merge();
    assert!(fixture.table_names().len() < 4, "nothing was merged");
    let committed = fixture.committed();
    for from in [
        0, 1, 127, 128, 1023, 1024, 1500, 6000, 11_999, 12_000, 13_999, 14_000,
    ] {
        let by_ordinal = From::Ordinal(from);
        let by_position = From::Position(Position(from));
        let key = Key::Category("c");
        let upwards: Vec<u64> = (from..14_000).collect();
        let downwards: Vec<u64> = (0..14_000.min(from)).rev().collect();
        assert_eq!(
            all(
                &fixture.index,
                committed,
                key,
                by_ordinal,
                Direction::Forwards
            ),
            upwards
        );
        assert_eq!(
            all(
                &fixture.index,
                committed,
                key,
                by_position,
                Direction::Forwards
            ),
            upwards
        );
        let found = all(
            &fixture.index,
            committed,
            key,
            by_position,
            Direction::Backwards,
        );
        assert_eq!(found, downwards);
        if from > 0 {
            let to = From::Ordinal(from - 1);
            let found = all(&fixture.index, committed, key, to, Direction::Backwards);
            assert_eq!(found, downwards);
        }
        let of_stream: Vec<u64> = (0..14_000)
            .filter(|at| at % 7 == 3 && *at >= from)
            .collect();
        let key = Key::Stream("c-3");
        assert_eq!(
            all(
                &fixture.index,
                committed,
                key,
                by_position,
                Direction::Forwards
            ),
            of_stream
        );
    }
}

#[test]
fn any_damaged_byte_of_a_table_is_found_or_harmless() {
    let mut fixture = Fixture::new(options());
    for number in 0..60u32 {
        let stream = format!("c-{}", number % 5);
        fixture.stage(&stream, "made", &["red"], "");
    }
    fixture.stage("$$c-1", "$metadata", &[], "{\"$maxCount\":2}");
    fixture.stage("c-2", "$streamDeleted", &[], "");
    fixture.commit();
    fixture.flush();
    let name = fixture.table_names().remove(0);
    let len = fixture.disk.open(&name).unwrap().len().unwrap();
    // The last one has no event: it is looked for in every table.
    let expected: Vec<StreamEntry> = (0..6)
        .map(|number| super::entry_of(&fixture.events(), &format!("c-{number}"), 99))
        .collect();
    let mut refused = 0;
    for byte in 0..len {
        fixture.disk.flip_bit(&name, byte * 8 + byte % 8).unwrap();
        fixture.reopen();
        let view = fixture.index.view(fixture.committed());
        let mut refusals = 0;
        for (number, expected) in expected.iter().enumerate() {
            match view.stream(&format!("c-{number}")) {
                Ok(entry) => assert_eq!(&entry, expected, "byte {byte}"),
                Err(IndexError::Rebuilding { .. }) => refusals += 1,
                Err(error) => panic!("byte {byte}: {error}"),
            }
        }
        let list = view.list(crate::format::table::Kind::Tag, "", None, 9);
        match list {
            Ok(tags) => assert_eq!(tags, [("red".to_owned(), 60)]),
            Err(_) => refusals += 1,
        }
        match view.find_ids(&"c-0".try_into().unwrap(), &[uuid::Uuid::from_u128(5)]) {
            Ok(found) => assert_eq!(found, [(0, Position(5))]),
            Err(_) => refusals += 1,
        }
        refused += u64::from(refusals > 0);
        fixture.disk.flip_bit(&name, byte * 8 + byte % 8).unwrap();
    }
    assert_eq!(refused, len, "some bytes of a table are read by nobody");
}

#[test]
fn metadata_are_found_on_whichever_page_their_keys_begin() {
    // Names that share nothing, so that few fill a page, and one that becomes longer: somewhere
    // the keys of the metadata begin the next page.
    let stream = |number: u32| {
        let mixed = u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{mixed:020}{number:0300}")
    };
    for len in 1..1000 {
        let mut fixture = Fixture::new(IndexOptions {
            flush_events: 100,
            ..options()
        });
        for number in 0..23 {
            fixture.stage(&stream(number), "made", &[], "");
        }
        fixture.stage(&"x".repeat(len), "made", &[], "");
        fixture.stage("$$c-1", "$metadata", &[], "{\"$maxCount\":2}");
        fixture.commit();
        fixture.flush();
        fixture.reopen();
        let view = fixture.index.view(fixture.committed());
        let metadata = view.stream("c-1").unwrap().metadata;
        let max_count = metadata.and_then(|(_, metadata)| metadata.max_count);
        assert_eq!(max_count, Some(2), "behind a name of {len} bytes");
    }
}

#[test]
fn a_new_name_costs_no_read_and_a_known_one_costs_one_page() {
    let fixture = Fixture::new(IndexOptions {
        flush_events: 3000,
        ..options()
    });
    for number in 0..9000u32 {
        fixture.stage(&format!("order-{number:08}"), "made", &[], "");
        if number % 3000 == 2999 {
            fixture.commit();
            fixture.flush();
        }
    }
    let probe = ProbeDisk::new(Arc::new(fixture.disk.clone()));
    let index = Index::open(&fixture.log, Arc::new(probe.clone()), fixture.options).unwrap();
    let reads = || probe.tally(Operation::Read, "table-").calls;
    let opening = reads();
    assert!(opening <= 3, "{opening} reads to open three tables");
    // The filters and the roots come into the cache.
    for number in 0..500 {
        index
            .view(Position(9000))
            .stream(&format!("other-{number}"))
            .unwrap();
    }
    probe.reset();
    for number in 0..500 {
        index
            .view(Position(9000))
            .stream(&format!("new-{number}"))
            .unwrap();
    }
    assert!(reads() <= 6, "{} reads for 500 new names", reads());
    probe.reset();
    let entry = index.view(Position(9000)).stream("order-00004321").unwrap();
    assert_eq!(entry.last, Some((Revision(0), Position(4321))));
    assert!(reads() <= 2, "{} reads for one known name", reads());
}

#[test]
fn staging_touches_no_disk() {
    let fixture = Fixture::new(options());
    for number in 0..100u32 {
        fixture.stage(&format!("c-{number}"), "made", &[], "");
        fixture.commit();
        fixture.flush();
    }
    let probe = ProbeDisk::new(Arc::new(fixture.disk.clone()));
    let index = Index::open(&fixture.log, Arc::new(probe.clone()), fixture.options).unwrap();
    probe.reset();
    let events = fixture.events();
    let event = events.last().unwrap();
    let next = crate::model::RecordedEvent {
        position: Position(100),
        ..event.clone()
    };
    let mut stage = index.stage();
    let _head = stage.head("c-3", Position(100));
    stage.insert(&crate::index::Posting::of(&next, (None, None), 1));
    let _seen = stage.id_seen_since(&next.stream, next.id, Position(100));
    drop(stage);
    for operation in [
        Operation::Read,
        Operation::Open,
        Operation::Write,
        Operation::Map,
    ] {
        assert_eq!(probe.tally(operation, "").calls, 0, "{operation:?}");
    }
}

#[test]
fn what_a_stopped_flush_has_left_is_replaced() {
    let mut fixture = Fixture::new(options());
    fixture.stage("c-1", "made", &[], "");
    fixture.commit();
    fixture.disk.put("table-00000000", b"half a table").unwrap();
    fixture.flush();
    fixture.reopen();
    assert!(!fixture.index.wants_rebuild());
    let entry = fixture.index.view(Position(1)).stream("c-1").unwrap();
    assert_eq!(entry.last, Some((Revision(0), Position(0))));
}

#[test]
fn a_flush_waits_until_everything_in_it_is_committed() {
    let fixture = Fixture::new(options());
    for _ in 0..40 {
        fixture.stage("c-1", "made", &[], "");
    }
    fixture.commit_to(10);
    let flush = || fixture.index.flush(fixture.committed(), false).unwrap();
    assert_eq!(flush(), crate::index::Step::Waiting);
    assert!(fixture.index.is_full());
    let entry = fixture.index.view(Position(10)).stream("c-1").unwrap();
    assert_eq!(entry.last, Some((Revision(9), Position(9))));
    fixture.commit();
    assert_eq!(flush(), crate::index::Step::Worked);
    assert!(!fixture.index.is_full());
    let view = fixture.index.view(Position(10));
    assert_eq!(
        view.committed(),
        Position(16),
        "the table is shown as a whole"
    );
}

#[test]
fn git_like_names_take_few_bytes() {
    let fixture = Fixture::new(IndexOptions {
        flush_events: 4096,
        ..options()
    });
    let mut seed = 1u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for number in 0..32_768u64 {
        let file = random(4000).min(random(4000));
        let name = format!(
            "file-linux/drivers/net/ethernet/vendor{}/part_{}/module_{file}.c",
            file % 17,
            file % 101
        );
        fixture.stage(
            &name,
            ["added", "modified", "deleted"][usize::try_from(number % 7 / 3).unwrap()],
            &[],
            "",
        );
        if number % 4096 == 4095 {
            fixture.commit();
            fixture.flush();
        }
    }
    let size = |fixture: &Fixture| -> u64 {
        fixture
            .log
            .tables()
            .tables
            .iter()
            .map(|table| table.len_bytes)
            .sum()
    };
    let fresh = size(&fixture);
    fixture.merge();
    let merged = size(&fixture);
    println!(
        "bytes per event: {} fresh, {} merged",
        fresh / 32_768,
        merged / 32_768
    );
    assert!(
        fresh / 32_768 < 24 && merged / 32_768 < 12,
        "{fresh} {merged}"
    );
}
