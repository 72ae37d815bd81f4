//! Reading gives what was written, in exactly the pieces that are promised: from the units in
//! memory, from blocks of the disk, and as single records.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::format::FormatError;
use crate::format::record::{Record, TAGS_MAX, payload_checksum};
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::{AppendEntry, HEADER_LEN};
use crate::log::block::BLOCK_BYTES;
use crate::log::tests::unit_of;
use crate::log::{Chunk, Log, LogOptions, Opened, Run, Unit, UnitBuffer};
use crate::model::{EventType, NewEvent, Position, Revision, StreamName, Tag, Timestamp};

const BASE_US: i64 = 1_700_000_000_000_000;

/// Small events, larger ones, and some that are longer than a block.
fn wanted(position: u64) -> (Bytes, i64) {
    let len = match position {
        0..5_000 => position % 40,
        5_003 | 5_080 | 5_170 => 300_000 + position,
        _ => position * 7919 % 4000,
    };
    let byte = |index: u64| u8::try_from((position + index) % 251).unwrap();
    let late_us = i64::try_from(position * 31 % 2000).unwrap() * 3;
    ((0..len).map(byte).collect::<Vec<u8>>().into(), late_us)
}

/// How many events each unit has, one after another.
fn units() -> Vec<u64> {
    let small = [1, 700, 0, 3, 1296, 0, 0, 1500, 1500];
    let large = [1, 2, 5, 0, 30, 60, 1, 1, 100];
    small.into_iter().chain(large).collect()
}

/// Where an event lies.
#[derive(Clone, Copy, Debug)]
struct Lies {
    segment: u32,
    offset: u32,
    len: usize,
    /// Of the bytes up to the next one, or to the end of the segment.
    span: usize,
}

struct Sample {
    disk: MemoryDisk,
    opened: Opened,
    lies: Vec<Lies>,
    /// The positions and places of the units, and how long they are.
    units: Vec<(Position, u64, u32)>,
}

fn options(recent_bytes: usize) -> LogOptions {
    LogOptions {
        segment_size_bytes: 512 * 1024,
        recent_bytes,
        ..LogOptions::default()
    }
}

fn open(disk: Arc<dyn Disk>, recent_bytes: usize) -> Opened {
    let host = Arc::new(SimulatedHost::new(7));
    Log::open(disk, host, options(recent_bytes), true).unwrap()
}

impl Sample {
    fn new(recent_bytes: usize) -> Self {
        let disk = MemoryDisk::new();
        let mut opened = open(Arc::new(disk.clone()), recent_bytes);
        let mut lies = Vec::<Lies>::new();
        let mut all = Vec::new();
        for (number, events) in (0..).zip(units()) {
            let (first, front) = (opened.log.end(), opened.log.place());
            let unit = unit_of(&opened.log, first, events, &wanted);
            opened.writer.commit(unit, 1000 + number).unwrap();
            let behind = opened.log.place();
            let records = opened.log.shared.read_of(first, events);
            let lens: Vec<usize> = records.iter().map(Bytes::len).collect();
            let start = match front.segment == behind.segment {
                true => front.offset,
                false => HEADER_LEN_BYTES,
            };
            let len = behind.offset - start;
            let mut offset = start + u32::try_from(HEADER_LEN).unwrap();
            for len in lens {
                lies.push(Lies {
                    segment: behind.segment,
                    offset,
                    len,
                    span: 0,
                });
                offset += u32::try_from(len).unwrap();
            }
            all.push((first, events, len));
            opened.log.keeper_step().unwrap();
        }
        let end = opened.log.place();
        let mut limits = BTreeMap::from([(end.segment, end.offset)]);
        for live in &opened.log.shared.state.read().live {
            limits.insert(live.facts.segment, live.facts.end_offset);
        }
        for sealed in &opened.log.manifest().current().sealed {
            limits.insert(sealed.id, sealed.footer_offset);
        }
        for at in (0..lies.len()).rev() {
            let next = lies
                .get(at + 1)
                .filter(|next| next.segment == lies[at].segment);
            let limit = next.map_or(limits[&lies[at].segment], |next| next.offset);
            lies[at].span = usize::try_from(limit - lies[at].offset).unwrap();
        }
        assert!(opened.log.manifest().current().sealed.len() >= 2);
        Self {
            disk,
            opened,
            lies,
            units: all,
        }
    }

    fn reopened(self) -> Self {
        let Self {
            disk,
            opened,
            lies,
            units,
        } = self;
        drop(opened);
        let opened = open(Arc::new(disk.clone()), 0);
        Self {
            disk,
            opened,
            lies,
            units,
        }
    }

    fn end(&self) -> usize {
        self.lies.len()
    }

    fn log(&self) -> &Log {
        &self.opened.log
    }

    fn block(&self, at: usize) -> (u32, u32) {
        let lies = self.lies[at];
        (lies.segment, lies.offset / BLOCK_BYTES)
    }

    /// As many from an index on as fit, at least one, in front of another.
    fn fitting(&self, from: usize, to: usize, len_max: usize) -> usize {
        let mut left = len_max;
        for at in from..to {
            let len = self.lies[at].len;
            if len > left && at > from {
                return at;
            }
            left = left.saturating_sub(len);
        }
        to.max(from)
    }

    /// Positions at which something begins or ends, and some others.
    fn asked(&self) -> Vec<usize> {
        let mut asked: Vec<usize> = (0..self.end()).step_by(389).collect();
        for at in 1..self.end() {
            if self.block(at) != self.block(at - 1) || at % 4096 == 0 || self.lies[at].len > 90_000
            {
                asked.extend([at - 1, at, at + 1]);
            }
        }
        asked.push(self.end() - 1);
        asked.retain(|at| *at < self.end());
        asked
    }

    /// Limits around the lengths of the next events.
    fn limits(&self, from: usize) -> Vec<usize> {
        let lens = self.lies[from..].iter().map(|lies| lies.len).take(4);
        let sums = lens.scan(0, |sum, len| {
            *sum += len;
            Some(*sum)
        });
        let limits = sums.flat_map(|sum| [sum - 1, sum, sum + 1]);
        limits.chain([0, usize::MAX]).collect()
    }
}

impl crate::log::shared::Shared {
    /// The bytes of the records of the unit that was written last.
    fn read_of(&self, first: Position, events: u64) -> Vec<Bytes> {
        let mut records = Vec::new();
        let mut at = first;
        while at < first.plus(events) {
            let chunk = self.read(at, first.plus(events), usize::MAX).unwrap();
            for run in &chunk.runs {
                records.extend(run.records().map(|record| record.unwrap().2));
                at = run.end();
            }
        }
        records
    }
}

/// Checks that a chunk has these events, and nothing else.
fn check(chunk: &Chunk, range: std::ops::Range<usize>) {
    let count = u64::try_from(range.len()).unwrap();
    assert_eq!(chunk.events_count(), count, "{range:?}");
    let events = chunk.events().map(Result::unwrap);
    for (event, position) in events.zip(range) {
        let position = u64::try_from(position).unwrap();
        let (data, _) = wanted(position);
        assert_eq!((event.position.0, event.data), (position, data));
    }
    let mut bytes = 0;
    for run in &chunk.runs {
        bytes += run.bytes.len();
        assert_eq!(run.end().0, run.first.0 + u64::from(run.count));
    }
    assert_eq!(chunk.len_bytes(), bytes);
}

fn at(index: usize) -> Position {
    Position(u64::try_from(index).unwrap())
}

#[test]
fn a_read_from_memory_gives_as_much_as_fits_across_units() {
    let sample = Sample::new(600_000);
    // The units in memory: the last ones that fit together, and nothing in front of a gap.
    let mut held = 0;
    let mut start = sample.end();
    for (first, events, len) in sample.units.iter().rev() {
        let len = usize::try_from(*len).unwrap();
        if *events == 0 {
            continue;
        }
        if held + len > 600_000 {
            break;
        }
        held += len;
        start = usize::try_from(first.0).unwrap();
    }
    assert!(start < sample.end() - 100 && start > 5_000, "{start}");
    let log = sample.log();
    for from in start..sample.end() {
        for to in [from + 1, from + 7, sample.end(), sample.end() + 9] {
            for limit in sample.limits(from) {
                let chunk = log.read(at(from), at(to), limit).unwrap();
                let end = sample.fitting(from, to.min(sample.end()), limit);
                check(&chunk, from..end);
            }
        }
    }
    for at_index in 0..sample.end() {
        let committed = sample
            .units
            .iter()
            .rposition(|(first, events, _)| *events > 0 && *first <= at(at_index));
        let committed = committed.map(|unit| 1000 + i64::try_from(unit).unwrap());
        let expected = committed.filter(|_| at_index >= start);
        assert_eq!(log.committed_us(at(at_index)), expected, "{at_index}");
    }
    assert_eq!(log.committed_us(at(sample.end())), None);
    let last = 999 + i64::try_from(units().len()).unwrap();
    assert_eq!(log.last_committed_us(), Some(last));
}

#[test]
fn a_read_from_the_disk_gives_as_much_as_fits_of_one_block() {
    let sample = Sample::new(0).reopened();
    let log = sample.log();
    let same_block = |from: usize| {
        let block = sample.block(from);
        let mut behind = from..sample.end();
        behind
            .find(|at| sample.block(*at) != block)
            .unwrap_or(sample.end())
    };
    for from in sample.asked() {
        let block_end = same_block(from);
        for to in [from, from + 1, from + 3, sample.end() + 9] {
            for limit in sample.limits(from) {
                let chunk = log.read(at(from), at(to), limit).unwrap();
                let end = sample.fitting(from, to.min(block_end), limit);
                check(&chunk, from..end);
            }
        }
    }
    check(
        &log.read(at(sample.end()), at(sample.end() + 1), 9).unwrap(),
        0..0,
    );
}

#[test]
fn a_read_back_gives_as_much_as_fits_in_front_of_a_position() {
    let sample = Sample::new(0).reopened();
    let log = sample.log();
    check(&log.read_back(at(0), 10, 10).unwrap(), 0..0);
    for last in sample.asked() {
        let (before, block) = (last + 1, sample.block(last));
        for events_max in [0, 1, 2, 5, usize::MAX] {
            let two = sample.lies[last].len + sample.lies[last.saturating_sub(1)].len;
            for limit in [0, two - 1, two, two + 1, usize::MAX] {
                let mut first = last;
                let mut left = limit.saturating_sub(sample.lies[last].len);
                while first > 0
                    && sample.block(first - 1) == block
                    && before - first < events_max
                    && sample.lies[first - 1].len <= left
                {
                    first -= 1;
                    left -= sample.lies[first].len;
                }
                let chunk = log.read_back(at(before), events_max, limit).unwrap();
                check(&chunk, first..before);
            }
        }
    }
    let chunk = log.read_back(at(sample.end() + 7), 1, 0).unwrap();
    check(&chunk, sample.end() - 1..sample.end());
}

fn positions(chunk: &Chunk) -> Vec<usize> {
    let check_one = |run: &Run| {
        let first = usize::try_from(run.first.0).unwrap();
        let range = first..first + usize::try_from(run.count).unwrap();
        let chunk = Chunk {
            runs: vec![run.clone()],
        };
        check(&chunk, range.clone());
        range
    };
    chunk.runs.iter().flat_map(check_one).collect()
}

/// Of an event that is longer than what is read of it at first, the whole header must be in that.
#[test]
fn long_events_with_the_longest_names_are_given_by_their_positions() {
    let longest = |len: usize| "x".repeat(len);
    let stream = StreamName::new(longest(StreamName::LEN_BYTES_MAX)).unwrap();
    let event = NewEvent {
        tags: vec![Tag::new(longest(Tag::LEN_BYTES_MAX)).unwrap(); TAGS_MAX],
        ..NewEvent::binary(
            EventType::new(longest(EventType::LEN_BYTES_MAX)).unwrap(),
            vec![7; 100_000],
        )
    };
    let disk = MemoryDisk::new();
    let mut opened = open(Arc::new(disk.clone()), 0);
    let mut unit = UnitBuffer::new(Position::START);
    for revision in 0..3 {
        let record = Record {
            stream: &stream,
            revision: Revision(revision),
            event: &event,
            created: Timestamp::from_micros(BASE_US),
            payload_checksum: payload_checksum(&event),
        };
        unit.push(&record, &opened.log.identity().record_salt);
    }
    unit.end_append(AppendEntry {
        records: 3,
        request: None,
    });
    opened.writer.commit(unit, 5).unwrap();
    drop(opened);
    let opened = open(Arc::new(disk), 0);
    for asked in 0..3 {
        let found = opened.log.read_at(&[at(asked)]).unwrap();
        let found: Vec<_> = found.events().map(Result::unwrap).collect();
        let [only] = &*found else {
            panic!("{} events at {asked}", found.len());
        };
        assert_eq!(only.position, at(asked));
        assert_eq!((&only.stream, &only.data), (&stream, &event.data));
    }
}

#[test]
fn single_events_are_given_by_their_positions_as_many_as_fit() {
    for recent_bytes in [0, 1 << 20] {
        let sample = Sample::new(recent_bytes);
        let sample = if recent_bytes == 0 {
            sample.reopened()
        } else {
            sample
        };
        let log = sample.log();
        let lists: Vec<Vec<usize>> = vec![
            (0..sample.end() + 20).step_by(61).collect(),
            (4_990..sample.end()).collect(),
            (4_990..sample.end()).rev().collect(),
            (5_100..sample.end()).step_by(2).collect(),
            vec![5_003, 5_080, 5_170],
            vec![sample.end(), sample.end() + 1],
            (sample.end() + 1..sample.end() + 10).collect(),
            (20..60).collect(),
            vec![0],
        ];
        for list in lists {
            let asked: Vec<Position> = list.iter().map(|index| at(*index)).collect();
            let there = |list: &[usize]| -> Vec<usize> {
                let mut there = list.to_vec();
                there.retain(|index| *index < sample.end());
                there
            };
            let mut sorted = there(&list);
            if list.is_sorted() {
                assert_eq!(positions(&log.read_at(&asked).unwrap()), sorted);
            }
            // Of an event on the disk the bytes up to the next one count.
            let weight = |index: usize| match sample.lies.get(index) {
                None => 0,
                Some(lies) if recent_bytes == 0 => lies.span,
                Some(lies) => lies.len,
            };
            let first = |count: usize| list.iter().take(count).map(|index| weight(*index)).sum();
            let exact = [1, 3, 5, 9, 30].map(first).into_iter();
            let exact = exact.flat_map(|sum: usize| [sum.saturating_sub(1), sum, sum + 1]);
            for limit in exact.chain([0, 1, 9_999, 100_000, usize::MAX]) {
                let mut left = limit;
                let fits = list
                    .iter()
                    .take(128)
                    .enumerate()
                    .take_while(|(number, index)| {
                        let fits = *number == 0 || weight(**index) <= left;
                        left = left.saturating_sub(weight(**index));
                        fits
                    });
                let count = fits.count();
                let (chunk, found) = log.read_within(&asked, limit).unwrap();
                let is_recent =
                    |index: &usize| recent_bytes > 0 && log.committed_us(at(*index)).is_some();
                if recent_bytes == 0 || list.iter().all(is_recent) {
                    assert_eq!(found, count, "{limit}");
                }
                sorted = there(&list[..found]);
                sorted.sort_unstable();
                assert_eq!(positions(&chunk), sorted);
            }
        }
        assert_eq!(log.read_within(&[], 9).unwrap().1, 0);
    }
}

#[test]
fn what_lies_close_together_is_read_by_one_call() {
    let sample = Sample::new(0);
    let Sample {
        disk, lies, opened, ..
    } = sample;
    drop(opened);
    let probe = ProbeDisk::new(Arc::new(disk));
    let opened = open(Arc::new(probe.clone()), 0);
    let far = |one: usize, other: usize| {
        lies[one].segment != lies[other].segment || lies[other].offset - lies[one].offset > 70_000
    };
    let calls = |list: &[usize]| {
        let asked: Vec<Position> = list.iter().map(|index| at(*index)).collect();
        // The pages of offsets are kept.
        opened.log.read_at(&asked).unwrap();
        probe.reset();
        opened.log.read_at(&asked).unwrap();
        let tally = probe.tally(Operation::Read, "segment");
        (tally.calls, usize::try_from(tally.bytes).unwrap())
    };
    let span: usize = lies[10..50].iter().map(|lies| lies.span).sum();
    assert_eq!(calls(&(10..50).collect::<Vec<_>>()), (1, span));
    assert_eq!(calls(&[10]), (1, lies[10].span));
    let distant = (11..5_000).find(|index| far(10, *index)).unwrap();
    assert_eq!(calls(&[10, distant]).0, 2);
    assert_eq!(calls(&[10, 11, distant, distant + 1]).0, 2);
    // One that is longer than what is read at first is read by itself.
    let (count, bytes) = calls(&[5_003]);
    assert_eq!(count, 2);
    assert!(bytes <= lies[5_003].len + 65_536);
}

#[test]
fn what_was_in_memory_and_what_was_not_is_counted() {
    let sample = Sample::new(1).reopened();
    let log = sample.log();
    let (hits, misses) = log.cache_use();
    for _ in 0..3 {
        log.read(at(10), at(20), 1_000_000).unwrap();
    }
    assert_eq!(log.cache_use(), (hits + 2, misses + 1));
}

#[test]
fn events_are_found_by_when_they_were_created_though_that_is_no_order() {
    let created: Vec<i64> =
        (0..)
            .zip(units())
            .fold(Vec::new(), |mut all, (_, events): (u64, u64)| {
                let first = u64::try_from(all.len()).unwrap();
                all.extend((first..first + events).map(|position| {
                    BASE_US + i64::try_from(position).unwrap() + wanted(position).1
                }));
                all
            });
    let sample = Sample::new(0);
    for sample in [sample.reopened()] {
        let log = sample.log();
        let around = (0..created.len()).step_by(53).map(|index| created[index]);
        let last = created.iter().max().unwrap();
        let asked = around.flat_map(|time| [time - 1, time, time + 1]);
        for asked in asked.chain([*last, last + 1, 0]) {
            let expected = created.iter().position(|time| *time >= asked);
            let expected = at(expected.unwrap_or(created.len()));
            let found = log.position_at(Timestamp::from_micros(asked)).unwrap();
            assert_eq!(found, expected, "{asked}");
        }
    }
}

#[test]
fn units_are_shown_from_the_one_that_holds_a_position() {
    let sample = Sample::new(0).reopened();
    let log = sample.log();
    let note = |unit: &Unit, shown: &mut Vec<(Position, u64)>| {
        shown.push((unit.header.first_position, unit.header.records.into()));
        assert_eq!(unit.trailer.appends.len(), 1);
        Ok(())
    };
    let behind = [sample.end(), 1, 701].into_iter();
    for from in (0..=sample.end()).step_by(101).chain(behind).map(at) {
        let units = sample.units.iter();
        let units = units.map(|(first, events, _)| (*first, *events));
        let holds = |(first, events): &(Position, u64)| first.plus(*events) >= from;
        let expected: Vec<_> = units.filter(holds).collect();
        let mut shown = Vec::new();
        log.units(from, &mut |unit| note(&unit, &mut shown))
            .unwrap();
        assert_eq!(shown, expected, "{from}");
        // Here those in front of the position's event may be left out.
        let with_events = |mut units: Vec<(Position, u64)>| {
            units.retain(|(first, events)| first.plus(*events) > from);
            units
        };
        let mut shown = Vec::new();
        let mut show = |unit: Unit| note(&unit, &mut shown);
        log.units_behind_start(from, &mut show).unwrap();
        assert_eq!(with_events(shown), with_events(expected), "{from}");
    }
}

#[test]
fn a_run_that_ends_too_early_is_an_error_and_no_shorter_event() {
    let sample = Sample::new(1 << 20);
    let chunk = sample.log().read(at(5_100), at(5_102), usize::MAX).unwrap();
    let run = &chunk.runs[0];
    let cut = Run {
        bytes: run.bytes.slice(..run.bytes.len() - 1),
        ..run.clone()
    };
    let found: Vec<_> = cut.records().map(|record| record.map(drop)).collect();
    let truncated = Err(FormatError::Truncated("a run of records"));
    assert_eq!(found, [Ok(()), truncated]);
    assert_eq!(cut.events().filter(Result::is_ok).count(), 1);
}
