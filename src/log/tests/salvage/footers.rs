//! Sealed segments whose footers are damaged, in a log that is only read: their units say where
//! their events are, also of a segment that was written again, and what they do not say is an
//! error.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::{Disk, MemoryDisk, ReadOnlyDisk, SimulatedHost};
use crate::format::footer::PAGE_EVENTS;
use crate::format::manifest::SealedSegment;
use crate::log::tests::mending::{headers, len_of, rewritten};
use crate::log::tests::salvage::positions;
use crate::log::tests::{append, commit, data, found, name_of, removed, unit_of, zero};
use crate::log::{JudgedUnit, Log, LogOptions, Opened, RewriteJudge, StorageError, UnitFate};
use crate::model::{Position, Timestamp};

const BASE_US: i64 = 1_700_000_000_000_000;

fn open(disk: &MemoryDisk, segment_size_bytes: u32, read_only: bool) -> Opened {
    let options = LogOptions {
        segment_size_bytes,
        recent_bytes: 0,
        read_only,
        ..LogOptions::default()
    };
    let disk: Arc<dyn Disk> = match read_only {
        true => Arc::new(ReadOnlyDisk::new(Arc::new(disk.clone()))),
        false => Arc::new(disk.clone()),
    };
    Log::open(disk, Arc::new(SimulatedHost::new(7)), options, true).unwrap()
}

fn read_only(disk: &MemoryDisk) -> Log {
    open(disk, 64 * 1024, true).log
}

/// What a log gives of some positions in every way that it can be asked.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    forwards: Vec<u64>,
    backwards: Vec<u64>,
    single: Vec<u64>,
    listed: Vec<u64>,
    /// For some times, the first position of an event that is not older.
    by_time: Vec<u64>,
    requests: Vec<u128>,
}

impl Given {
    fn of(log: &Log) -> Self {
        let end = log.end();
        let (mut forwards, mut next) = (Vec::new(), Position::START);
        loop {
            let chunk = log.read(next, end, usize::MAX).unwrap();
            let Some(last) = chunk.runs.last() else { break };
            next = last.end();
            forwards.extend(found(&chunk));
        }
        let (mut backwards, mut before) = (Vec::new(), end);
        loop {
            let chunk = log.read_back(before, 50, usize::MAX).unwrap();
            let Some(first) = chunk.runs.first() else {
                break;
            };
            before = first.first;
            backwards.extend(found(&chunk).into_iter().rev());
        }
        backwards.reverse();
        let all: Vec<Position> = (0..end.0).map(Position).collect();
        let one = |at: &Position| found(&log.read_at(&[*at]).unwrap());
        let (mut listed, mut rest) = (Vec::new(), &all[..]);
        while !rest.is_empty() {
            let (chunk, count) = log.read_within(rest, 9_000).unwrap();
            listed.extend(found(&chunk));
            rest = &rest[count..];
        }
        let times = (0..=end.0).step_by(61).map(|at| i64::try_from(at).unwrap());
        let by_time = times.map(|at| log.position_at(Timestamp::from_micros(BASE_US + at)));
        let mut requests = Vec::new();
        let mut visit = |unit: crate::log::Unit| {
            let appends = unit.trailer.appends.iter();
            let named = appends.filter_map(|append| append.request.as_ref());
            requests.extend(named.map(|request| request.id.as_u128()));
            Ok(())
        };
        log.units(Position::START, &mut visit).unwrap();
        Self {
            forwards,
            backwards,
            single: all.iter().flat_map(one).collect(),
            listed,
            by_time: by_time.map(|position| position.unwrap().0).collect(),
            requests,
        }
    }
}

/// Damages the footer of a segment: its end, its first page of offsets, or all of it.
fn footer_damages(entry: &SealedSegment) -> [impl Fn(&MemoryDisk); 3] {
    [0, 1, 2].map(|number| {
        let (entry, name) = (entry.clone(), entry.file_name().to_string());
        move |disk: &MemoryDisk| {
            let damaged = match number {
                0 => disk.flip_bit(&name, u64::from(entry.len_bytes) * 8 - 1),
                1 => disk.flip_bit(&name, u64::from(entry.footer_offset + 5) * 8),
                _ => disk.truncate(&name, entry.footer_offset.into()),
            };
            damaged.unwrap();
        }
    })
}

#[test]
fn the_units_of_a_segment_that_was_written_again_tell_where_its_events_are() {
    let (disk, entry, _) = rewritten();
    let whole = read_only(&disk);
    let (given, keys) = (Given::of(&whole), removed(&whole));
    assert!(given.forwards.len() < usize::try_from(whole.end().0).unwrap());
    assert_eq!(given.forwards, given.backwards);
    let sealed = whole.manifest().current().sealed.clone();
    let other = sealed.iter().find(|one| one.id > entry.id).unwrap();
    for damage in footer_damages(&entry) {
        let disk = disk.snapshot();
        damage(&disk);
        let log = read_only(&disk);
        assert!(Given::of(&log) == given);
        assert_eq!(removed(&log), keys);
        assert_eq!(log.find_lost().unwrap().len(), 0);
        // So does one that was not, behind it or in front of it, in whatever order they are asked.
        footer_damages(other)
            .iter()
            .for_each(|damage| damage(&disk));
        for first in [other.first_position, entry.first_position.next()] {
            let log = read_only(&disk);
            log.read_at(&[first]).unwrap();
            assert!(Given::of(&log) == given);
        }
    }
}

/// Takes these events.
struct Takes(Range<u64>);

impl RewriteJudge for Takes {
    fn judge(&mut self, unit: &JudgedUnit<'_>) -> Result<UnitFate, StorageError> {
        let positions = unit.records.iter().map(|(position, ..)| position.0);
        Ok(UnitFate {
            removed: positions
                .map(|at| self.0.contains(&at).then(Vec::new))
                .collect(),
            states: Vec::new(),
        })
    }

    fn go_on(&mut self, _: u64) -> bool {
        true
    }
}

/// A log of long segments whose first one has lost these events to a scavenge.
fn long(taken: Range<u64>) -> (MemoryDisk, SealedSegment) {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk, 2 * 1024 * 1024, false);
    let log = opened.log.clone();
    while log.manifest().current().sealed.len() < 2 {
        append(&mut opened, 700, 20).unwrap();
        log.keeper_step().unwrap();
    }
    assert!(log.rewrite(0, 1, &mut Takes(taken)).unwrap().rewritten);
    let entry = log.manifest().current().sealed[0].clone();
    (disk.snapshot(), entry)
}

/// Pages and ends from which everything was removed have nothing to begin with.
#[test]
fn whole_pages_of_removed_events_are_passed_over_where_the_units_tell_it() {
    let page = u64::try_from(PAGE_EVENTS).unwrap();
    for taken in [
        0..page + 9,
        page - 9..3 * page,
        page..2 * page,
        2 * page..u64::MAX,
    ] {
        let (disk, entry) = long(taken.clone());
        assert!(u64::from(entry.events) > 3 * page + 99);
        disk.flip_bit(
            &entry.file_name().to_string(),
            u64::from(entry.len_bytes) * 8 - 1,
        )
        .unwrap();
        let log = read_only(&disk);
        let is_left = |at: &u64| !taken.contains(at) || *at >= entry.end_position().0;
        let left: Vec<u64> = (0..log.end().0).filter(is_left).collect();
        let given = Given::of(&log);
        for given in [given.forwards, given.backwards, given.single, given.listed] {
            assert!(given == left, "{taken:?}");
        }
    }
}

/// What each position gives, asked by itself: an event, nothing, or an error.
fn errors(log: &Log, end: Position) -> (Vec<u64>, BTreeSet<u64>) {
    let (mut served, mut failed) = (Vec::new(), BTreeSet::new());
    for position in 0..end.0 {
        match log.read_at(&[Position(position)]) {
            Ok(chunk) => served.extend(found(&chunk)),
            Err(error) => {
                assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
                failed.insert(position);
            }
        }
    }
    (served, failed)
}

#[test]
fn what_no_unit_tells_of_a_segment_without_a_footer_is_an_error_and_the_rest_is_served() {
    let (disk, entry, _) = rewritten();
    let name = entry.file_name().to_string();
    let whole = Given::of(&read_only(&disk)).forwards;
    let units = headers(&disk, &entry);
    for damage in footer_damages(&entry) {
        for index in [0, 1, units.len() - 1] {
            let disk = disk.snapshot();
            damage(&disk);
            let unit = units[index];
            let from = unit.place.offset;
            zero(&disk, &name, from..from + len_of(&unit));
            let next = units.get(index + 1);
            let end = next.map_or(entry.end_position(), |next| next.first_position);
            let log = read_only(&disk);
            let (served, failed) = errors(&log, log.end());
            let lost = unit.first_position.0..end.0;
            assert!(
                failed.iter().copied().eq(lost.clone()),
                "{index}: {failed:?}"
            );
            let left = whole.iter().filter(|at| !lost.contains(at));
            assert!(served.iter().eq(left), "{index}");
            assert_eq!(positions(&log.find_lost().unwrap()), failed);
            // Reads end in front of them, and go on behind.
            let all = log.read(unit.first_position, log.end(), usize::MAX);
            assert!(all.is_err_and(|error| error.is_damage()));
            let behind = log.read(end, log.end(), usize::MAX).unwrap();
            assert!(!found(&behind).is_empty());
            assert!(
                log.read_back(end, 9, 900)
                    .is_err_and(|error| error.is_damage())
            );
        }
    }
}

/// A footer of which only one page is damaged says the rest.
#[test]
fn what_whole_pages_tell_of_a_damaged_unit_is_believed_beside_one_that_is_not() {
    let (taken, page) = (4_596..4_646, u64::try_from(PAGE_EVENTS).unwrap());
    let (disk, entry) = long(taken.clone());
    let name = entry.file_name().to_string();
    let bit = u64::from(entry.footer_offset + 5) * 8;
    disk.flip_bit(&name, bit).unwrap();
    let units = headers(&disk, &entry);
    let holds = |at: u64| units.iter().rposition(|unit| unit.first_position.0 <= at);
    let unit = holds(taken.start).unwrap();
    let (first, end) = (
        units[unit].first_position.0,
        units[unit + 1].first_position.0,
    );
    assert!(page < first && taken.end < end);
    // Its header, and a record in the middle of it.
    for at in [20, units[unit].records_len / 2] {
        let bit = u64::from(units[unit].place.offset + at) * 8;
        disk.flip_bit(&name, bit).unwrap();
    }
    let log = read_only(&disk);
    let (served, failed) = errors(&log, log.end());
    let [lost] = failed.iter().copied().collect::<Vec<_>>()[..] else {
        panic!("{failed:?}");
    };
    assert!((first..end).contains(&lost) && !taken.contains(&lost));
    let left = (0..log.end().0).filter(|at| *at != lost && !taken.contains(at));
    assert!(served.into_iter().eq(left));
    assert_eq!(positions(&log.find_lost().unwrap()), failed);
}

/// An event that is lost may be the one that is asked for.
#[test]
fn no_later_position_is_told_for_a_time_that_a_lost_event_may_have_had() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk, 64 * 1024, false);
    let log = opened.log.clone();
    // The first event of the second unit is by far younger than all others.
    let late = |position: u64| (data(position, 900), 9_000 * i64::from(position == 20));
    let mut offsets = Vec::new();
    while log.manifest().current().sealed.len() < 3 {
        let next = unit_of(&log, log.end(), 20, &late);
        offsets.push(commit(&mut opened, next).0.offset);
        log.keeper_step().unwrap();
    }
    let found = |log: &Log, at: u64| {
        let asked = BASE_US + i64::try_from(at).unwrap();
        log.position_at(Timestamp::from_micros(asked))
    };
    let (end, entry) = (log.end(), log.manifest().current().sealed[0].clone());
    let behind = entry.end_position().0;
    let (told, young) = ([0, 7, 19, 20], [21, 22, 40, behind, behind + 1, 9_020]);
    for damage in footer_damages(&entry) {
        let disk = disk.snapshot();
        damage(&disk);
        let log = read_only(&disk);
        let each = told.iter().chain(&young);
        each.for_each(|at| assert_eq!(found(&log, *at).unwrap(), Position(*at.min(&20))));
        zero(&disk, &name_of(0), offsets[1]..offsets[2]);
        let log = read_only(&disk);
        for at in &told[..3] {
            assert_eq!(found(&log, *at).unwrap(), Position(*at));
        }
        for at in young.into_iter().chain([20]) {
            let found = found(&log, at);
            assert!(found.is_err_and(|error| error.is_damage()), "{at}");
        }
        // No event of the segment was so young.
        assert_eq!(found(&log, 9_021).unwrap(), end);
    }
}
