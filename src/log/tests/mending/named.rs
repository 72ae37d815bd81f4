//! What the manifest of a repaired log says, and what of requests and state records is left.

use std::ops::Range;

use crate::disk::{Disk, MemoryDisk, SimulatedHost};
use crate::format::floor::Floor;
use crate::format::manifest::{ManifestData, TableEntry};
use crate::log::Log;
use crate::log::salvage::mend;
use crate::log::tests::mending::{
    Content, EVENTS, LEN, LIVE, Sample, manifest_of, newest_manifest, open, positions, repair,
};
use crate::log::tests::{idle_request, name_of, names, unit, zero};
use crate::model::Position;

/// Writes a checkpoint, and with it a state file.
fn checkpoint(log: &Log) {
    let checkpoint = log.checkpoint(&|_| Vec::new()).unwrap();
    let manifest = log.manifest();
    manifest.update(|data| checkpoint.name_in(data)).unwrap();
}

#[test]
fn state_records_of_lost_units_are_taken_from_the_state_file() {
    let sample = Sample::new(true);
    let log = open(&sample.disk).log;
    checkpoint(&log);
    let states = Content::of(&sample.disk).states;
    drop(log);
    for (segment, index) in [(0, 2), (1, 0), (LIVE, 1), (LIVE, 3)] {
        let disk = sample.disk.snapshot();
        let unit = sample.of_segment(segment)[index];
        zero(&disk, &name_of(segment), unit.range());
        let host = SimulatedHost::new(9);
        let mended = mend(&disk, &host, "now", &mut |_| Vec::new()).unwrap();
        let lost = positions(&mended.examined.lost);
        assert_eq!(lost, Vec::from_iter(unit.first.0..unit.first.0 + EVENTS));
        assert_eq!(mended.examined.unknown_states, 0);
        assert_eq!(Content::of(&disk).states, states, "{segment}");
        // Without the file they are as they were before.
        let disk = sample.disk.snapshot();
        zero(&disk, &name_of(segment), unit.range());
        for file in names(&disk, "state") {
            disk.destroy(&file).unwrap();
        }
        let mended = mend(&disk, &host, "now", &mut |_| Vec::new()).unwrap();
        assert_eq!(mended.examined.unknown_states, 1);
        let before = sample.units.iter().rev().find(|it| it.first != unit.first);
        let mut expected = states.clone();
        expected.retain(|(key, _)| *key != unit.first.0.to_le_bytes());
        expected[0].1 = before.unwrap().first.0.to_le_bytes().to_vec();
        let left = Content::of(&disk).states;
        assert_eq!(left, expected, "{segment}");
    }
}

/// Nobody else remembers it: a table that ends where it stands does not have it.
#[test]
fn a_request_without_events_at_the_end_of_what_is_sealed_outlives_a_repair() {
    let sample = Sample::new(true);
    let sealed_end = |log: &Log| log.manifest().current().sealed_end();
    for segments in [&[0][..], &[0, LIVE]] {
        let disk = sample.disk.snapshot();
        for segment in segments {
            sample.flip(&disk, *segment, 1);
        }
        repair(&disk, "now").unwrap();
        let log = open(&disk).log;
        let mut behind = Vec::new();
        let mut visit = |unit: crate::log::Unit| {
            behind.push(unit.header.first_position);
            Ok(())
        };
        let known = log.requests_found(&mut visit).unwrap().unwrap();
        let known: Vec<_> = known
            .iter()
            .map(|known| (known.first, known.count))
            .collect();
        assert_eq!(known, [(sealed_end(&log).0, 0)]);
        let units = sample.units.iter().map(|unit| unit.first);
        assert!(units.filter(|first| *first >= sealed_end(&log)).eq(behind));
    }
}

fn table(id: u32, level: u32, events: Range<u64>) -> TableEntry {
    TableEntry {
        id,
        level,
        first: Position(events.start),
        end: Position(events.end),
        len_bytes: 100,
        digest: [1; 32],
    }
}

#[test]
fn tables_are_named_anew_where_events_are_lost_and_where_there_are_none() {
    let sample = Sample::new(true);
    let unit = sample.of_segment(0)[2];
    let (first, end) = (unit.first.0, unit.first.0 + EVENTS);
    let sealed_end = manifest_of(&sample.disk).sealed_end().0;
    assert!(sealed_end > end + 20);
    let cuts = [0, first, first + 1, end - 1, end, end + 10];
    for to in [end + 10, sealed_end, sealed_end + 5] {
        let disk = sample.disk.snapshot();
        let mut tables: Vec<_> = (3..)
            .zip(cuts.windows(2))
            .map(|(id, range)| table(id, id % 3, range[0]..range[1]))
            .collect();
        let manifest = open(&disk);
        tables.last_mut().unwrap().end = Position(to);
        let name = |data: &mut ManifestData| {
            data.tables.clone_from(&tables);
            data.indexed_to = Position(to);
            data.next_table = 9;
        };
        manifest.log.manifest().update(name).unwrap();
        drop(manifest);
        zero(&disk, &name_of(0), unit.range());
        assert!(repair(&disk, "now").unwrap().into_iter().eq(first..end));
        for (table, id) in tables.iter_mut().zip([3, 9, 10, 11, 7]) {
            table.id = id;
        }
        let mut next_table = 12;
        if to < sealed_end {
            tables.push(TableEntry {
                len_bytes: 0,
                digest: [0; 32],
                ..table(next_table, 0, to..sealed_end)
            });
            next_table += 1;
        }
        let left = manifest_of(&disk);
        assert_eq!(left.tables, tables, "{to}");
        let indexed_to = left.indexed_to.0;
        assert_eq!(
            (left.next_table, indexed_to),
            (next_table, to.max(sealed_end))
        );
    }
}

/// No file may be taken for one that it is not.
#[test]
fn without_a_manifest_tables_and_the_state_file_get_numbers_that_no_file_has() {
    let sample = Sample::new(true);
    let states = Content::of(&sample.disk).states;
    for lacks_manifest in [true, false] {
        let disk = sample.disk.snapshot();
        for file in [
            "table-00000007",
            "table-00000002",
            "state-00000005",
            "state-00000003",
        ] {
            disk.put(file, b"of another").unwrap();
        }
        let sealed_end = manifest_of(&disk).sealed_end();
        match lacks_manifest {
            true => disk.destroy(&newest_manifest(&disk)).unwrap(),
            false => sample.flip(&disk, 0, 2),
        }
        repair(&disk, "now").unwrap();
        let left = manifest_of(&disk);
        let state = left.state.unwrap();
        assert_eq!((state.number, state.since), (6, 0));
        let [table] = &left.tables[..] else {
            panic!("{:?}", left.tables);
        };
        assert_eq!(
            (table.first, table.end, left.indexed_to),
            (Position(0), sealed_end, sealed_end)
        );
        // Where there is a manifest, it counts the tables.
        let number = if lacks_manifest { 8 } else { 0 };
        assert_eq!((table.id, left.next_table), (number, number + 1));
        assert_eq!(Content::of(&disk).states, states);
    }
}

#[test]
fn the_floor_of_a_repaired_log_bears_witness_to_all_of_it() {
    let sample = Sample::new(true);
    let floor = |disk: &MemoryDisk| Floor::decode(&disk.map("floor").unwrap()).unwrap();
    let before = floor(&sample.disk);
    for (segment, seals) in [(0, false), (0, true), (LIVE, false)] {
        let disk = sample.disk.snapshot();
        if seals {
            open(&disk).log.keeper_step().unwrap();
            assert_eq!(manifest_of(&disk).unsealed, [LIVE]);
        }
        sample.flip(&disk, segment, 1);
        repair(&disk, "now").unwrap();
        let (found, manifest) = (floor(&disk), manifest_of(&disk));
        let place = open(&disk).log.place();
        assert_eq!(
            (found.position, found.end),
            (sample.end, place),
            "{segment}"
        );
        let (generation, epoch) = (manifest.generation, manifest.epoch);
        assert_eq!((found.generation, found.epoch), (generation, epoch));
        assert_eq!((found.number, found.clean), (before.number + 1, false));
    }
}

/// A log without state records, each unit of which has a request without events or none has.
fn without_states(has_requests: bool) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk);
    while opened.log.manifest().current().sealed.len() < 2 {
        let mut next = unit(&opened.log, opened.log.end(), EVENTS, LEN);
        if has_requests {
            next.end_append(idle_request(opened.log.end().0.into()));
        }
        opened.writer.commit(next, 5).unwrap();
        opened.log.keeper_step().unwrap();
    }
    disk.snapshot()
}

#[test]
fn a_state_file_is_written_where_there_is_something_for_it() {
    for has_requests in [false, true] {
        let disk = without_states(has_requests);
        disk.flip_bit(&name_of(0), 8 * 10_000).unwrap();
        repair(&disk, "now").unwrap();
        let state = manifest_of(&disk).state;
        assert_eq!(state.is_some(), has_requests);
        assert_eq!(names(&disk, "state").len(), usize::from(has_requests));
        let known = open(&disk).log.requests_found(&mut |_| Ok(())).unwrap();
        assert_eq!(
            known.map_or(0, |known| known.len()),
            usize::from(has_requests)
        );
    }
}
