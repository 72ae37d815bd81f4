//! Damage to segments that were written again, by a scavenge or by a repair.

use crate::disk::Disk;
use crate::format::unit::UnitHeader;
use crate::log::tests::mending::{
    Content, EVENTS, LIVE, Sample, headers, is_whole_but_for_tables, len_of, manifest_of, open,
    repair, rewritten,
};
use crate::log::tests::{inspect, name_of, names, removed, zero};

#[test]
fn a_damaged_unit_of_a_segment_that_was_written_again_costs_its_events_and_no_other() {
    let (disk, entry, _) = rewritten();
    let name = entry.file_name().to_string();
    let (whole, keys) = (Content::of(&disk), removed(&open(&disk.snapshot()).log));
    assert!(keys.len() > 10 && keys.iter().all(|(_, count)| *count == 1));
    let units = headers(&disk, &entry);
    assert!(units.len() > 3);
    for (index, unit) in units.iter().enumerate() {
        let disk = disk.snapshot();
        let from = unit.place.offset;
        zero(&disk, &name, from..from + len_of(unit));
        let next = units.get(index + 1);
        let end = next.map_or(entry.end_position(), |next| next.first_position);
        let range = unit.first_position.0..end.0;
        let was_there = whole.events.iter().filter(|at| range.contains(at));
        let lost: Vec<u64> = was_there.copied().collect();
        assert!(lost.len() < usize::try_from(range.end - range.start).unwrap());
        assert_eq!(repair(&disk, "now").unwrap(), lost, "{index}");
        let left = Content::of(&disk);
        let is_left = |at: &u64| !lost.contains(at);
        let events = whole.events.iter().copied().filter(is_left);
        assert!(left.events.into_iter().eq(events), "{index}");
        assert_eq!(left.end, whole.end);
        assert_eq!(removed(&open(&disk.snapshot()).log), keys);
        assert!(is_whole_but_for_tables(&inspect(&disk)));
    }
    // Without the keys all events are there.
    let at = u64::from(entry.units_end()) + 9;
    disk.flip_bit(&name, at * 8).unwrap();
    assert!(repair(&disk, "now").unwrap().is_empty());
    assert_eq!(
        (Content::of(&disk), removed(&open(&disk.snapshot()).log)),
        (whole, Vec::new())
    );
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
        // Those in front of it were lost before, and are told as lost but once.
        let events = unit.first_position.0..unit.first_position.0 + EVENTS;
        assert!(lost.into_iter().eq(events));
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

/// One byte of a record: the footer says where those beside it are.
#[test]
fn one_damaged_byte_beside_what_was_lost_before_costs_one_event() {
    let sample = Sample::new(true);
    let disk = sample.disk.snapshot();
    let units = sample.of_segment(0);
    let mut lost = Vec::new();
    for (stamp, unit) in [
        ("first", units[1]),
        ("second", units[1]),
        ("third", units[2]),
    ] {
        let before = Content::of(&disk).events;
        let entry = manifest_of(&disk).sealed[0].clone();
        let is_hit = |header: &&UnitHeader| header.first_position == unit.first;
        let header = *headers(&disk, &entry).iter().find(is_hit).unwrap();
        let bit = u64::from(header.place.offset + header.records_len / 2) * 8;
        disk.flip_bit(&entry.file_name().to_string(), bit).unwrap();
        let found = inspect(&disk);
        let [one] = &found.lost[..] else {
            panic!("{found}");
        };
        assert_eq!(one.first.next(), one.end, "{one}");
        assert!(!lost.contains(&one.first.0), "{one}");
        assert_eq!(repair(&disk, stamp).unwrap(), [one.first.0]);
        lost.push(one.first.0);
        let left = before.into_iter().filter(|at| *at != one.first.0);
        assert!(Content::of(&disk).events.into_iter().eq(left), "{stamp}");
    }
}

/// Then nothing tells the two apart; nor where the file is gone.
#[test]
fn what_was_lost_before_is_counted_again_where_the_footer_is_damaged_too() {
    let sample = Sample::new(true);
    let disk = sample.disk.snapshot();
    sample.flip(&disk, 0, 1);
    let [before] = repair(&disk, "first").unwrap()[..] else {
        panic!("one event is hit");
    };
    let entry = manifest_of(&disk).sealed[0].clone();
    let name = entry.file_name().to_string();
    let gone = disk.snapshot();
    gone.destroy(&name).unwrap();
    let all = entry.first_position.0..entry.end_position().0;
    assert!(all.contains(&before));
    assert!(repair(&gone, "second").unwrap().into_iter().eq(all));
    let unit = headers(&disk, &entry)[1];
    let from = unit.place.offset;
    zero(&disk, &name, from..from + len_of(&unit));
    let end = u64::from(entry.len_bytes) * 8;
    disk.flip_bit(&name, end - 1).unwrap();
    let lost = repair(&disk, "second").unwrap();
    let events = unit.first_position.0..unit.first_position.0 + EVENTS;
    assert!(events.contains(&before) && lost.into_iter().eq(events));
}
