//! What a damaged log still gives, and what a repair leaves: for damage of every kind and place,
//! exactly the events are lost that it hit.

mod footers;
mod unreadable;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, ReadOnlyDisk, SimulatedHost};
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::{HEADER_LEN, StateRecord};
use crate::log::salvage::mend;
use crate::log::tests::{commit, data, idle_request, inspect, name_of, names, shown, unit, zero};
use crate::log::{
    FileFinding, FileRole, Log, LogOpenError, LogOptions, LostRange, Opened, StorageError,
};
use crate::model::Position;

const LEN: u64 = 200;

fn open_with(disk: &MemoryDisk, read_only: bool) -> Result<Opened, LogOpenError> {
    open_on(Arc::new(disk.clone()), read_only)
}

fn open_on(disk: Arc<dyn Disk>, read_only: bool) -> Result<Opened, LogOpenError> {
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        read_only,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(7));
    Log::open(disk, host, options, true)
}

/// Where a unit lies, and its records.
#[derive(Clone, Debug)]
struct UnitAt {
    segment: u32,
    offset: u32,
    len: u32,
    first: u64,
    /// Offsets and lengths in the segment.
    records: Vec<(u32, u32)>,
}

/// A log with sealed segments, one that is written, and a floor at its end.
struct Sample {
    disk: MemoryDisk,
    units: Vec<UnitAt>,
    end: u64,
    /// The first segment that is not sealed.
    live: u32,
    requests: usize,
}

impl Sample {
    fn new(live_units: usize) -> Self {
        let disk = MemoryDisk::new();
        let mut opened = open_with(&disk, false).unwrap();
        let mut units = Vec::new();
        let mut live = None;
        let mut requests = 0;
        for number in 0.. {
            if opened.log.manifest().current().sealed.len() == 3 && live.is_none() {
                live = Some(number);
            }
            if live.is_some_and(|live| number == live + live_units) {
                break;
            }
            units.push(Self::write(&mut opened, number));
            requests += usize::from(number % 4 == 0);
            opened.log.keeper_step().unwrap();
        }
        assert_eq!(opened.log.manifest().current().sealed.len(), 3);
        opened.log.shared.write_floor(false).unwrap();
        Self {
            disk,
            units,
            end: opened.log.end().0,
            live: opened.log.place().segment,
            requests,
        }
    }

    fn write(opened: &mut Opened, number: usize) -> UnitAt {
        let first = opened.log.end();
        let events = [9, 1, 30, 0, 12][number % 5];
        let mut next = unit(&opened.log, first, events, LEN);
        if number.is_multiple_of(4) {
            next.end_append(idle_request(u128::try_from(number).unwrap()));
        }
        if number.is_multiple_of(3) {
            let value = u64::try_from(number).unwrap().to_le_bytes();
            next.push_state(StateRecord {
                space: 1,
                key: b"newest".as_slice().into(),
                value: Some(value.into()),
            });
        }
        let (place, len) = commit(opened, next);
        let chunk = opened
            .log
            .read(first, first.plus(events), usize::MAX)
            .unwrap();
        let mut at = place.offset + u32::try_from(HEADER_LEN).unwrap();
        let records = chunk.runs.iter().flat_map(|run| run.records());
        let range = |record: Bytes| {
            let len = u32::try_from(record.len()).unwrap();
            at += len;
            (at - len, len)
        };
        UnitAt {
            segment: place.segment,
            offset: place.offset,
            len,
            first: first.0,
            records: records.map(|record| record.unwrap().2).map(range).collect(),
        }
    }

    fn of_segment(&self, segment: u32) -> Vec<&UnitAt> {
        let units = self.units.iter();
        units.filter(|unit| unit.segment == segment).collect()
    }

    /// The events that a stretch of a segment touches.
    fn touched(&self, segment: u32, from: u32, to: u32) -> BTreeSet<u64> {
        let mut touched = BTreeSet::new();
        for unit in self.of_segment(segment) {
            for (position, (offset, len)) in (unit.first..).zip(&unit.records) {
                if *offset < to && offset + len > from {
                    touched.insert(position);
                }
            }
        }
        touched
    }

    fn last_state(&self, but: &[usize]) -> Vec<u8> {
        let all = (0..self.units.len()).filter(|number| number % 3 == 0 && !but.contains(number));
        u64::try_from(all.max().unwrap())
            .unwrap()
            .to_le_bytes()
            .to_vec()
    }

    /// Damages a copy, and checks all that is promised of it.
    fn check(&self, what: &str, lost: &BTreeSet<u64>, damage: impl FnOnce(&MemoryDisk)) {
        let disk = self.disk.snapshot();
        damage(&disk);
        let found = inspect(&disk);
        assert!(!found.is_whole(), "{what}");
        assert_eq!(positions(&found.lost), *lost, "{what}\n{found}");
        assert_eq!(found.lost_events(), u64::try_from(lost.len()).unwrap());
        assert_eq!(found.end.0, self.end, "{what}");
        self.check_reading(what, lost, &disk.snapshot());
        self.check_mending(what, lost, disk);
    }

    fn check_reading(&self, what: &str, lost: &BTreeSet<u64>, disk: &MemoryDisk) {
        let opened = open_with(disk, true).unwrap_or_else(|error| panic!("{what}: {error}"));
        let log = &opened.log;
        assert_eq!(log.end().0, self.end, "{what}");
        for position in 0..self.end {
            let read = log.read(Position(position), Position(position + 1), usize::MAX);
            match read {
                Ok(chunk) => {
                    let events: Vec<_> = chunk.events().map(Result::unwrap).collect();
                    assert_eq!(events.len(), 1, "{what}: {position}");
                    assert_eq!(events[0].data, data(position, LEN));
                    assert!(!lost.contains(&position), "{what}: {position}");
                }
                Err(StorageError::Damaged { .. } | StorageError::Missing { .. }) => {
                    assert!(lost.contains(&position), "{what}: {position}");
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
        assert_eq!(positions(&log.find_lost().unwrap()), *lost, "{what}");
        assert_eq!(positions(&log.lost()), *lost, "{what}");
    }

    fn check_mending(&self, what: &str, lost: &BTreeSet<u64>, disk: MemoryDisk) {
        let before: Vec<String> = names(&disk, "");
        let host = SimulatedHost::new(9);
        let report = |lost: usize| {
            vec![(
                "report.txt".to_owned(),
                vec![u8::try_from(lost % 99).unwrap()],
            )]
        };
        let mut reported = 0;
        let mended = mend(&disk, &host, "now", &mut |examined| {
            reported = examined.lost.len();
            report(examined.lost.len())
        });
        let mended = mended.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(positions(&mended.examined.lost), *lost, "{what}");
        assert_eq!(reported, mended.examined.lost.len());
        assert_eq!(mended.lineage.is_some(), !lost.is_empty(), "{what}");
        assert!(disk.open("damaged-now-report.txt").is_ok());
        for name in &mended.kept {
            let was = name.strip_prefix("damaged-now-").unwrap();
            assert!(before.iter().any(|name| name == was), "{name}");
            assert!(
                disk.open(name).is_ok() && disk.open(was).is_err(),
                "{what}: {name}"
            );
        }
        let found = inspect(&disk);
        let is_table = |file: &FileFinding| file.role == FileRole::Table;
        let damaged = found.files.iter().filter(|file| file.damage.is_some());
        assert!(damaged.clone().all(is_table), "{what}: {found}");
        let mut opened = open_with(&disk, false).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(opened.log.end().0, self.end, "{what}");
        let left: Vec<u64> = (0..self.end).filter(|at| !lost.contains(at)).collect();
        assert_eq!(read_all(&opened.log), left, "{what}");
        // It goes on behind the last event that there was.
        let more = unit(&opened.log, opened.log.end(), 3, LEN);
        let end = opened.writer.commit(more, 5).unwrap();
        assert_eq!(end.0, self.end + 3);
        drop(opened);
        let again = mend(&disk, &host, "later", &mut |_| Vec::new()).unwrap();
        assert_eq!(
            (again.examined.lost.len(), again.kept.len()),
            (0, 0),
            "{what}"
        );
        let opened = open_with(&disk, false).unwrap();
        let verified = opened.log.verify(&mut |_| ()).unwrap();
        assert!(verified.is_whole(), "{what}: {verified}");
        assert_eq!(
            read_all(&opened.log),
            [left, (self.end..self.end + 3).collect()].concat()
        );
    }
}

fn positions(lost: &[LostRange]) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for range in lost {
        assert!(range.first < range.end);
        for position in range.first.0..range.end.0 {
            assert!(all.insert(position), "twice: {position}");
        }
    }
    all
}

fn read_all(log: &Log) -> Vec<u64> {
    shown(log, Position::START..log.end(), LEN)
}

fn flip(disk: &MemoryDisk, segment: u32, offset: u32) {
    disk.flip_bit(&name_of(segment), u64::from(offset) * 8 + 3)
        .unwrap();
}

fn from_to(range: std::ops::Range<u64>) -> BTreeSet<u64> {
    range.collect()
}

/// One byte: in the payload of an event, in its header, in the header of its unit, behind its
/// records.
#[test]
fn one_damaged_byte_costs_the_event_that_it_is_in_and_no_other() {
    let sample = Sample::new(9);
    let header_len = u32::try_from(HEADER_LEN).unwrap();
    for segment in 0..=sample.live {
        let units = sample.of_segment(segment);
        let count = units.len();
        assert!(count > 4);
        for at in [0, 1, count / 2, count - 3, count - 2, count - 1] {
            let unit = units[at];
            let what = |part| format!("{part} of unit {at} of segment {segment}");
            let events = u64::try_from(unit.records.len()).unwrap();
            let behind = unit.offset + unit.len;
            let records_len: u32 = unit.records.iter().map(|(_, len)| len).sum();
            let trailer = unit.offset + header_len + records_len;
            let none = BTreeSet::new();
            for offset in [unit.offset, unit.offset + header_len - 1] {
                sample.check(&what("the header"), &none, |disk| {
                    flip(disk, segment, offset)
                });
            }
            sample.check(&what("the trailer"), &none, |disk| {
                flip(disk, segment, trailer)
            });
            sample.check(&what("the end"), &none, |disk| {
                flip(disk, segment, behind - 1)
            });
            let Some(last) = events.checked_sub(1) else {
                continue;
            };
            for index in [0, events / 2, last] {
                let (offset, len) = unit.records[usize::try_from(index).unwrap()];
                let position = unit.first + index;
                let one = from_to(position..position + 1);
                if data(position, LEN).len() > 2 {
                    let at = offset + len - 2;
                    sample.check(&what("the data"), &one, |disk| flip(disk, segment, at));
                }
                // Only the footer says where the records behind it are.
                let lost = match segment < sample.live {
                    true => one,
                    false => from_to(position..unit.first + events),
                };
                sample.check(&what("a record"), &lost, |disk| {
                    flip(disk, segment, offset + 8)
                });
            }
        }
    }
}

#[test]
fn a_stretch_costs_what_it_touches() {
    let sample = Sample::new(9);
    let zeros = |segment: u32, from: u32, to: u32| {
        move |disk: &MemoryDisk| zero(disk, &name_of(segment), from..to)
    };
    for segment in 0..sample.live {
        let units = sample.of_segment(segment);
        let end = units.last().map(|unit| unit.offset + unit.len).unwrap();
        let (one, other) = (units[1], units[units.len() - 2]);
        for (from, to) in [
            (one.offset, one.offset + one.len),
            (one.offset + 700, other.offset + 300),
            (HEADER_LEN_BYTES, other.offset),
            (one.offset, end),
            (HEADER_LEN_BYTES, end),
        ] {
            let lost = sample.touched(segment, from, to);
            let what = format!("zeros from {from} to {to} of segment {segment}");
            sample.check(&what, &lost, zeros(segment, from, to));
        }
        // A file that was cut has no footer either.
        for cut in [one.offset, one.offset + 500, other.offset + 900, end] {
            let lost = sample.touched(segment, cut, u32::MAX);
            sample.check(&format!("segment {segment} cut at {cut}"), &lost, |disk| {
                disk.truncate(&name_of(segment), cut.into()).unwrap();
            });
        }
        let all = sample.touched(segment, 0, u32::MAX);
        sample.check(&format!("segment {segment}"), &all, |disk| {
            disk.destroy(&name_of(segment)).unwrap();
        });
    }
    // Of the segment that is written the units say where they begin.
    let units = sample.of_segment(sample.live);
    let end = units.last().map(|unit| unit.offset + unit.len).unwrap();
    for (from, to) in [(1, 2), (1, 4), (2, units.len() - 1), (0, units.len())] {
        let to = units.get(to).map_or(end, |unit| unit.offset);
        let from = units[from].offset;
        let lost = sample.touched(sample.live, from, to);
        let what = format!("zeros from {from} to {to}");
        sample.check(&what, &lost, zeros(sample.live, from, to));
    }
    let all = sample.touched(sample.live, 0, u32::MAX);
    sample.check("the segment that is written", &all, |disk| {
        disk.destroy(&name_of(sample.live)).unwrap();
    });
}

#[test]
fn the_small_files_cost_no_event() {
    let sample = Sample::new(9);
    let none = BTreeSet::new();
    sample.check("the floor", &none, |disk| disk.destroy("floor").unwrap());
    sample.check("the manifests", &none, |disk| {
        for name in names(disk, "manifest") {
            disk.destroy(&name).unwrap();
        }
    });
    sample.check("the newest manifest", &none, |disk| {
        let newest = names(disk, "manifest").into_iter().max().unwrap();
        let len = disk.open(&newest).unwrap().len().unwrap();
        disk.flip_bit(&newest, 8 * 30).unwrap();
        disk.flip_bit(&newest, 8 * (len / 2 + 30)).unwrap();
    });
    // Without a manifest a segment that is not there is missed all the same.
    let lost = sample.touched(1, 0, u32::MAX);
    sample.check("the manifests and a segment", &lost, |disk| {
        for name in names(disk, "manifest") {
            disk.destroy(&name).unwrap();
        }
        disk.destroy(&name_of(1)).unwrap();
    });
}

#[test]
fn each_segment_is_named_with_its_events_and_with_what_is_wrong() {
    let sample = Sample::new(3);
    let found = |disk: &MemoryDisk| -> Vec<_> {
        let files = inspect(disk).files.into_iter();
        let segments = files.filter(|file| file.role == FileRole::Segment);
        let told =
            |file: FileFinding| (file.file, file.first.0, file.events, file.damage.is_some());
        segments.map(told).collect()
    };
    let expected = |damaged: Option<u32>| -> Vec<_> {
        let firsts: Vec<u64> = (0..=sample.live)
            .map(|segment| sample.of_segment(segment)[0].first)
            .collect();
        let ends = firsts.iter().skip(1).chain([&sample.end]);
        let one = |(segment, (first, end)): (u32, (&u64, &u64))| {
            (
                name_of(segment),
                *first,
                end - first,
                damaged == Some(segment),
            )
        };
        (0..).zip(firsts.iter().zip(ends)).map(one).collect()
    };
    assert_eq!(found(&sample.disk), expected(None));
    let gone = sample.disk.snapshot();
    gone.destroy(&name_of(1)).unwrap();
    assert_eq!(found(&gone), expected(Some(1)));
    let longer = sample.disk.snapshot();
    let file = longer.open(&name_of(2)).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap() + 1];
    file.read_at(0, &mut bytes).unwrap();
    longer.put(&name_of(2), &bytes).unwrap();
    assert_eq!(found(&longer), expected(Some(2)));
}

/// The search for the next unit goes on behind what is read at once.
#[test]
fn what_stands_behind_a_long_damaged_unit_is_found() {
    let disk = MemoryDisk::new();
    let options = LogOptions {
        segment_size_bytes: 8 * 1024 * 1024,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(7));
    let mut opened = Log::open(Arc::new(disk.clone()), host, options, true).unwrap();
    let mut begins = Vec::new();
    for (events, len) in [(2, 50), (900, 8_000), (5, 50), (5, 50)] {
        begins.push((opened.log.end().0, opened.log.place().offset));
        let next = unit(&opened.log, opened.log.end(), events, len);
        opened.writer.commit(next, 5).unwrap();
    }
    opened.log.shared.write_floor(false).unwrap();
    let end = opened.log.end();
    drop(opened);
    let [_, (first, from), (behind, to), _] = begins[..] else {
        panic!("{begins:?}");
    };
    assert!(to - from > 3 * 1024 * 1024);
    // Its records are found by themselves.
    flip(&disk, 0, from + 20);
    let found = inspect(&disk);
    assert_eq!((found.lost.len(), found.end), (0, end), "{found}");
    zero(&disk, &name_of(0), from..to);
    let found = inspect(&disk);
    assert_eq!(positions(&found.lost), from_to(first..behind), "{found}");
    assert_eq!(found.end, end);
}

/// What a disk does not give at all, it does not give in pieces of 4 KiB.
#[test]
fn a_piece_that_cannot_be_read_costs_what_is_in_it_and_all_else_is_served() {
    let sample = Sample::new(9);
    for segment in [1, sample.live] {
        let units = sample.of_segment(segment);
        let (offset, _) = units[units.len() / 2].records[0];
        let piece = offset - offset % 4096;
        let probe = ProbeDisk::new(Arc::new(sample.disk.snapshot()));
        let bad = u64::from(offset)..u64::from(offset) + 1;
        let fault = Fault::at(Operation::Read).named(&name_of(segment));
        probe.fail(fault.touching(bad).forever());
        let disk: Arc<dyn Disk> = Arc::new(probe);
        let found = Log::inspect(&disk, &mut |_| ()).unwrap();
        let (lost, hit) = (
            positions(&found.lost),
            sample.touched(segment, offset, offset + 1),
        );
        assert!(lost.is_superset(&hit), "{found}");
        // Where no footer says where records lie, those behind a lost header are not found.
        let in_piece =
            |unit: &&&UnitAt| unit.offset < piece + 4096 && unit.offset + unit.len > piece;
        let all =
            |unit: &&UnitAt| unit.first..unit.first + u64::try_from(unit.records.len()).unwrap();
        let may_be: BTreeSet<u64> = match segment == sample.live {
            true => units.iter().filter(in_piece).flat_map(all).collect(),
            false => sample.touched(segment, piece, piece + 4096),
        };
        assert!(lost.is_subset(&may_be), "{found}");
        let opened = open_on(Arc::new(ReadOnlyDisk::new(disk)), true).unwrap();
        for position in 0..sample.end {
            let read = opened.log.read_at(&[Position(position)]);
            assert!(read.is_ok() || lost.contains(&position), "{position}");
            assert!(read.is_err() || !hit.contains(&position), "{position}");
        }
    }
}

#[test]
fn state_records_and_requests_outlive_a_repair_where_their_units_are_sound() {
    let sample = Sample::new(9);
    let requests = |disk: &MemoryDisk| {
        let opened = open_with(disk, false).unwrap();
        let mut seen = BTreeSet::new();
        let mut visit = |unit: crate::log::Unit| {
            let requests = unit
                .trailer
                .appends
                .iter()
                .filter_map(|append| append.request.as_ref());
            seen.extend(requests.map(|request| request.id));
            Ok(())
        };
        opened.log.units(Position::START, &mut visit).unwrap();
        let newest = opened.log.state(1, b"newest").map(|value| value.to_vec());
        (seen.len(), newest.unwrap())
    };
    assert_eq!(
        requests(&sample.disk.snapshot()),
        (sample.requests, sample.last_state(&[]))
    );
    let host = SimulatedHost::new(9);
    for (number, unit) in sample.units.iter().enumerate() {
        let begin = unit.offset + u32::try_from(HEADER_LEN).unwrap();
        let behind = |(offset, len): &(u32, u32)| offset + len;
        let trailer = unit.records.last().map_or(begin, behind);
        let disk = sample.disk.snapshot();
        flip(&disk, unit.segment, trailer);
        let mended = mend(&disk, &host, "now", &mut |_| Vec::new()).unwrap();
        let lost = (mended.examined.lost.len(), mended.examined.unknown_states);
        assert_eq!(lost, (0, 1), "{number}");
        let gone = usize::from(number % 4 == 0);
        let left = (sample.requests - gone, sample.last_state(&[number]));
        assert_eq!(requests(&disk), left, "{number}");
        // A damaged event takes nothing along that stands behind it.
        let last = unit.first + u64::try_from(unit.records.len()).unwrap();
        if unit.records.is_empty() || data(last - 1, LEN).len() <= 2 {
            continue;
        }
        let disk = sample.disk.snapshot();
        flip(&disk, unit.segment, trailer - 2);
        let mended = mend(&disk, &host, "now", &mut |_| Vec::new()).unwrap();
        let lost = (mended.examined.lost.len(), mended.examined.unknown_states);
        assert_eq!(lost, (1, 0), "{number}");
        let left = (sample.requests, sample.last_state(&[]));
        assert_eq!(requests(&disk), left, "{number}");
    }
}

#[test]
fn what_is_lost_is_said_in_words() {
    let mut lost = LostRange {
        first: Position(5),
        end: Position(6),
        damage: StorageError::Closed,
        streams: Vec::new(),
    };
    let text = lost.to_string();
    assert!(
        text.starts_with("Event 5 is lost: ") && text.contains("not known"),
        "{text}"
    );
    lost.end = Position(9);
    lost.streams = vec!["a".into(), "b".into()];
    let text = lost.to_string();
    assert!(text.starts_with("Events 5 to 8 are lost: "), "{text}");
    assert!(text.ends_with("Streams: a, b."), "{text}");
    // A damaged payload still tells the stream.
    let sample = Sample::new(3);
    let unit = &sample.units[0];
    let position = (1..8).find(|at| data(*at, LEN).len() > 2).unwrap();
    let (offset, len) = unit.records[usize::try_from(position).unwrap()];
    flip(&sample.disk, 0, offset + len - 2);
    let found = inspect(&sample.disk);
    assert_eq!(found.lost[0].streams, ["some-stream"]);
}
