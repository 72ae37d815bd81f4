//! Damage to segments that were written again, by a scavenge or by a repair.

use crate::disk::{Disk, MemoryDisk};
use crate::log::tests::mending::{
    Content, LIVE, Sample, headers, is_whole_but_for_tables, len_of, manifest_of, open, repair,
    rewritten, zero,
};
use crate::log::tests::{inspect, name_of, names};
use crate::model::Position;

/// The removed events, and how many keys each had.
fn removed(disk: &MemoryDisk) -> Vec<(Position, usize)> {
    let log = open(&disk.snapshot()).log;
    let mut removed = Vec::new();
    let mut visit = |position, keys: &mut dyn Iterator<Item = &_>| {
        removed.push((position, keys.count()));
    };
    log.removed(Position::START, log.end(), &mut visit).unwrap();
    removed
}

#[test]
fn a_damaged_unit_of_a_segment_that_was_written_again_costs_its_events_and_no_other() {
    let (disk, entry, _) = rewritten();
    let name = entry.file_name().to_string();
    let (whole, keys) = (Content::of(&disk), removed(&disk));
    assert!(keys.len() > 10 && keys.iter().all(|(_, count)| *count == 1));
    let units = headers(&disk, &entry);
    assert!(units.len() > 3);
    for (index, unit) in units.iter().enumerate() {
        let disk = disk.snapshot();
        let from = unit.place.offset;
        zero(&disk, &name, from..from + len_of(unit));
        let next = units.get(index + 1);
        let end = next.map_or(entry.end_position(), |next| next.first_position);
        let lost = unit.first_position.0..end.0;
        assert!(repair(&disk, "now").unwrap().into_iter().eq(lost.clone()));
        let left = Content::of(&disk);
        let is_left = |at: &u64| !lost.contains(at);
        let events = whole.events.iter().copied().filter(is_left);
        assert!(left.events.into_iter().eq(events), "{index}");
        assert_eq!(left.end, whole.end);
        assert_eq!(removed(&disk), keys);
        assert!(is_whole_but_for_tables(&inspect(&disk)));
    }
    // Without the keys all events are there.
    let at = u64::from(entry.units_end()) + 9;
    disk.flip_bit(&name, at * 8).unwrap();
    assert!(repair(&disk, "now").unwrap().is_empty());
    assert_eq!((Content::of(&disk), removed(&disk)), (whole, Vec::new()));
    assert!(is_whole_but_for_tables(&inspect(&disk)));
}

/// Each record says by itself which event it is.
#[test]
fn a_unit_without_a_header_is_found_in_a_segment_that_was_written_again() {
    let sample = Sample::new(true);
    let disk = sample.disk.snapshot();
    sample.flip(&disk, 0, 2);
    assert!(!repair(&disk, "now").unwrap().is_empty());
    let left = Content::of(&disk);
    let entry = manifest_of(&disk).sealed[0].clone();
    let name = entry.file_name().to_string();
    for unit in &headers(&disk, &entry)[..2] {
        let disk = disk.snapshot();
        let bit = u64::from(unit.place.offset + 20) * 8;
        disk.flip_bit(&name, bit).unwrap();
        assert!(repair(&disk, "later").unwrap().is_empty());
        assert_eq!(Content::of(&disk).events, left.events);
    }
}

#[test]
fn each_repair_of_a_segment_leaves_what_the_one_before_has_put_aside() {
    let sample = Sample::new(true);
    let disk = sample.disk.snapshot();
    let mut kept = Vec::new();
    for (number, stamp) in [(1, "first"), (2, "second"), (3, "third")] {
        let entry = manifest_of(&disk).sealed[0].clone();
        let name = entry.file_name().to_string();
        let unit = headers(&disk, &entry)[1];
        zero(
            &disk,
            &name,
            unit.place.offset..unit.place.offset + len_of(&unit),
        );
        let aside = format!("damaged-{stamp}-{name}");
        kept.push((aside, disk.map(&name).unwrap()));
        let lost = repair(&disk, stamp).unwrap();
        // Nothing says of the events in front of it that they were lost before.
        assert!(lost.contains(&unit.first_position.0));
        let entry = manifest_of(&disk).sealed[0].clone();
        assert_eq!(entry.key(), (0, u32::try_from(number).unwrap()));
    }
    for (aside, bytes) in &kept {
        assert_eq!(disk.map(aside).unwrap(), bytes);
    }
    // Where the last file is gone, the number of one that was put aside is none for a new one.
    let last = manifest_of(&disk).sealed[0].file_name().to_string();
    disk.destroy(&last).unwrap();
    assert!(!repair(&disk, "fourth").unwrap().is_empty());
    let entry = manifest_of(&disk).sealed[0].clone();
    assert_eq!(entry.key(), (0, 3));
    assert_eq!(
        names(&disk, "damaged-")
            .iter()
            .filter(|it| !it.ends_with("txt"))
            .count(),
        3
    );
    // Other segments are as they were.
    for segment in 1..=LIVE {
        let name = name_of(segment);
        assert_eq!(disk.map(&name).unwrap(), sample.disk.map(&name).unwrap());
    }
}
