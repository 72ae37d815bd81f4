//! Where a walk over the units of the log begins: nothing is passed over that it asks for.

use crate::disk::MemoryDisk;
use crate::format::footer::LEAF_EVENTS;
use crate::format::manifest::ManifestData;
use crate::format::unit::Place;
use crate::log::tests::{Firsts, idle_request, open_small, unit};
use crate::log::{Log, Opened, StorageError, Unit};
use crate::model::Position;

/// A unit of so many events with a named request.
fn write(opened: &mut Opened, events: u64, number: u128) {
    let mut next = unit(&opened.log, opened.log.end(), events, 60);
    next.end_append(idle_request(number));
    opened.writer.commit(next, 5).unwrap();
    opened.log.keeper_step().unwrap();
}

/// A log of several segments that was opened at a checkpoint, in front of which and behind which
/// stands a unit without events.
fn sample() -> Opened {
    let disk = MemoryDisk::new();
    let mut opened = open_small(&disk);
    let sealed = |opened: &Opened| opened.log.manifest().current().sealed.len();
    let mut numbers = 0..;
    while sealed(&opened) < 2 {
        write(&mut opened, 40, numbers.next().unwrap());
    }
    write(&mut opened, 40, 1_000);
    write(&mut opened, 0, 1_001);
    let checkpoint = opened.log.checkpoint(&|_| Vec::new()).unwrap();
    let manifest = opened.log.manifest();
    manifest.update(|data| checkpoint.name_in(data)).unwrap();
    write(&mut opened, 0, 1_002);
    (0..3).for_each(|number| write(&mut opened, 40, 2_000 + number));
    drop(opened);
    let opened = open_small(&disk);
    assert!(opened.report.from_checkpoint);
    opened
}

/// Where each unit stands, and the positions at which it begins and ends.
type Found = Vec<(Place, Position, Position)>;

fn gather(walk: impl FnOnce(&mut dyn FnMut(Unit) -> Result<(), StorageError>)) -> Found {
    let mut found = Vec::new();
    walk(&mut |unit| {
        let header = unit.header;
        found.push((header.place, header.first_position, header.end_position()));
        Ok(())
    });
    found
}

#[test]
fn a_walk_shows_each_unit_that_ends_at_a_position_or_behind_it() {
    let log = sample().log;
    let start = log.shared.start;
    let all = gather(|visit| log.units(Position::START, visit).unwrap());
    let empty_at_start = all.iter().filter(|(_, first, end)| first == end);
    assert_eq!(
        empty_at_start.filter(|it| it.1 == start.position).count(),
        2
    );
    for from in (0..=log.end().0 + 1).map(Position) {
        let found = gather(|visit| log.units(from, visit).unwrap());
        let reaches = |(_, _, end): &&(Place, Position, Position)| *end >= from;
        assert!(found.iter().eq(all.iter().filter(reaches)), "{from}");
        // Who knows what stands in front of the start is not shown it.
        let found = gather(|visit| log.units_behind_start(from, visit).unwrap());
        let behind = |(place, ..): &&(Place, Position, Position)| {
            from < start.position || *place >= start.place
        };
        assert!(
            found.iter().eq(all.iter().filter(reaches).filter(behind)),
            "{from}"
        );
    }
}

/// The place at which the log was opened is then one in a file that is not there any more.
#[test]
fn a_walk_does_not_begin_at_the_start_where_its_segment_was_written_again() {
    let mut opened = sample();
    let log = opened.log.clone();
    let start = log.shared.start;
    let sealed_end = || log.manifest().current().sealed_end();
    let mut numbers = 10_000..;
    while sealed_end().0 < start.position.0 + 3 * LEAF_EVENTS {
        write(&mut opened, 40, numbers.next().unwrap());
    }
    let end = sealed_end();
    let indexed = |data: &mut ManifestData| data.indexed_to = end;
    log.manifest().update(indexed).unwrap();
    let from = Position(start.position.0 + 1);
    let firsts = |found: Found| Vec::from_iter(found.into_iter().map(|(_, first, _)| first));
    let before = firsts(gather(|visit| log.units(from, visit).unwrap()));
    let segment = start.place.segment;
    assert!(log.rewrite(segment, 1, &mut Firsts).unwrap().rewritten);
    for walk in [Log::units, Log::units_behind_start] {
        let found = firsts(gather(|visit| walk(&log, from, visit).unwrap()));
        assert_eq!(found, before);
    }
}
