//! What looks like a part of the log and is none: headers in data, a last unit that was cut short,
//! a trailer whose checksum is wrong.

use crate::disk::{Disk, MemoryDisk};
use crate::format::unit::{HEADER_LEN, Place, UnitHeader};
use crate::log::tests::mending::{Content, EVENTS, LIVE, Sample, open, repair, write};
use crate::log::tests::{inspect, name_of, unit_of, zero};
use crate::model::Position;

/// Bytes that have a header at each offset that it might be looked for at.
fn copies(header: &[u8]) -> Vec<u8> {
    let copy = [header, &[0]].concat();
    copy.repeat(8)
}

/// Somebody may keep in a log what was read from the files of a log.
#[test]
fn the_header_of_another_unit_in_the_data_of_an_event_is_not_believed() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk);
    let (_, second) = (write(&mut opened, 3), write(&mut opened, 3));
    let salt = opened.log.identity().unit_salt;
    let at = usize::try_from(second.place.offset).unwrap();
    let bytes = disk.map(&name_of(0)).unwrap();
    let older = &bytes[at..at + HEADER_LEN];
    let (header, _) = UnitHeader::decode(older, &salt).unwrap();
    let elsewhere = UnitHeader {
        place: Place {
            offset: 40_000,
            ..header.place
        },
        first_position: Position(8),
        ..header
    };
    let data = [copies(older), copies(&elsewhere.encode(&salt).0)].concat();
    let wanted = |_| (data.clone().into(), 0);
    let (first, place) = (opened.log.end(), opened.log.place());
    let with_copies = unit_of(&opened.log, first, 1, &wanted);
    opened.writer.commit(with_copies, 5).unwrap();
    write(&mut opened, 3);
    opened.log.shared.write_floor(false).unwrap();
    let end = opened.log.end();
    drop(opened);
    let header_len = u32::try_from(HEADER_LEN).unwrap();
    zero(&disk, &name_of(0), place.offset..place.offset + header_len);
    let found = inspect(&disk);
    assert_eq!((found.lost.len(), found.end), (0, end), "{found}");
    assert!(repair(&disk, "now").unwrap().is_empty());
    let log = open(&disk).log;
    let chunk = log.read(Position::START, end, usize::MAX).unwrap();
    let events: Vec<_> = chunk.events().map(Result::unwrap).collect();
    assert!(events.iter().map(|event| event.position.0).eq(0..end.0));
    assert_eq!(events[6].data, data);
}

#[test]
fn a_last_unit_that_was_cut_short_is_no_loss_of_a_damaged_log() {
    let sample = Sample::new(true);
    let disk = sample.disk.snapshot();
    let torn = write(&mut open(&disk), 5);
    assert_eq!(torn.place.segment, LIVE);
    zero(
        &disk,
        &name_of(LIVE),
        torn.place.offset + torn.len / 2..torn.range().end,
    );
    sample.flip(&disk, 0, 1);
    sample.flip(&disk, LIVE, 1);
    let lost = repair(&disk, "now").unwrap();
    assert!(!lost.is_empty() && lost.iter().all(|at| *at < sample.end.0));
    assert_eq!(Content::of(&disk).end, sample.end);
}

/// Better no record than a wrong one.
#[test]
fn a_state_record_of_a_trailer_that_is_not_whole_is_not_taken() {
    let sample = Sample::new(true);
    let disk = sample.disk.snapshot();
    let live = sample.of_segment(LIVE);
    let [.., before, last] = &live[..] else {
        panic!("there are several units");
    };
    let salt = open(&disk.snapshot()).log.identity().unit_salt;
    let bytes = disk.map(&name_of(LIVE)).unwrap();
    let at = usize::try_from(last.place.offset).unwrap();
    let (header, _) = UnitHeader::decode(&bytes[at..], &salt).unwrap();
    // The last record's value ends it.
    let value_at = u64::from(last.place.offset) + header.unpadded_len() - 8;
    disk.flip_bit(&name_of(LIVE), value_at * 8).unwrap();
    assert!(repair(&disk, "now").unwrap().is_empty());
    let states = Content::of(&disk).states;
    let newest = states.iter().find(|(key, _)| *key == [0; 8]).unwrap();
    assert_eq!(newest.1, before.first.0.to_le_bytes());
    assert!(
        states
            .iter()
            .all(|(key, _)| *key != last.first.0.to_le_bytes())
    );
}

/// Which file it is in says where to look.
#[test]
fn what_is_lost_at_the_end_of_a_full_segment_is_told_of_that_segment() {
    let sample = Sample::new(false);
    let disk = sample.disk.snapshot();
    let last = *sample.of_segment(LIVE - 1).last().unwrap();
    zero(&disk, &name_of(LIVE - 1), last.range());
    let found = inspect(&disk);
    let [lost] = &found.lost[..] else {
        panic!("{found}");
    };
    assert_eq!(
        (lost.first, lost.end),
        (last.first, last.first.plus(EVENTS))
    );
    assert!(
        lost.damage.to_string().contains(&name_of(LIVE - 1)),
        "{lost}"
    );
}
