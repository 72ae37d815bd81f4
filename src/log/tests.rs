//! The promises of the log, asked through its own surface, on a disk in memory.

mod cost;
mod crash;
mod damage;
mod digests;
mod digests_behind;
mod files;
mod full;
mod mending;
mod opening;
mod reads;
mod recent;
mod recovery;
mod rewrite;
mod salvage;
mod states;
mod verify;
mod walks;
mod zeros;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::disk::{Disk, MemoryDisk, SimulatedHost, Unsynced};
use crate::format::record::{Record, payload_checksum};
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::{AppendEntry, Place, RequestEntry};
use crate::log::{
    Chunk, JudgedUnit, Log, LogOptions, LogVerification, Opened, RewriteJudge, StorageError,
    UnitBuffer, UnitFate,
};
use crate::model::{EventType, NewEvent, Position, Revision, StreamName, Timestamp};

fn options() -> LogOptions {
    LogOptions {
        recent_bytes: 64 * 1024,
        segment_size_bytes: 1024 * 1024,
        ..LogOptions::default()
    }
}

fn open(disk: &MemoryDisk) -> Opened {
    let host = Arc::new(SimulatedHost::new(7));
    Log::open(Arc::new(disk.clone()), host, options(), true).unwrap()
}

/// A log of small segments.
fn open_small(disk: &MemoryDisk) -> Opened {
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(7));
    Log::open(Arc::new(disk.clone()), host, options, true).unwrap()
}

/// The data of the event at a position: any length up to about `len`.
fn data(position: u64, len: u64) -> Bytes {
    let len = (position * 7919) % (len + 1);
    let byte = |index: u64| u8::try_from((position + index) % 251).unwrap();
    (0..len).map(byte).collect::<Vec<u8>>().into()
}

fn unit(log: &Log, first: Position, events: u64, len: u64) -> UnitBuffer {
    unit_of(log, first, events, &|position| (data(position, len), 0))
}

/// What an event is to be: its data, and by how much its created time is off the usual one.
type Wanted<'a> = &'a dyn Fn(u64) -> (Bytes, i64);

fn unit_of(log: &Log, first: Position, events: u64, wanted: Wanted<'_>) -> UnitBuffer {
    let mut unit = UnitBuffer::new(first);
    push(&mut unit, log, events, wanted);
    unit.end_append(AppendEntry {
        records: u32::try_from(events).unwrap(),
        request: None,
    });
    unit
}

/// Puts events behind those of a unit.
fn push(unit: &mut UnitBuffer, log: &Log, events: u64, wanted: Wanted<'_>) {
    let first = unit.end_position().0;
    let stream = StreamName::new("some-stream").unwrap();
    for position in first..first + events {
        let (data, late_us) = wanted(position);
        let event = NewEvent::binary(EventType::new("happened").unwrap(), data)
            .with_id(Uuid::from_u128(position.into()));
        let record = Record {
            stream: &stream,
            revision: Revision(position),
            event: &event,
            created: Timestamp::from_micros(
                1_700_000_000_000_000 + i64::try_from(position).unwrap() + late_us,
            ),
            payload_checksum: payload_checksum(&event),
        };
        unit.push(&record, &log.identity().record_salt);
    }
}

fn append(opened: &mut Opened, events: u64, len: u64) -> Result<Position, StorageError> {
    let unit = unit(&opened.log, opened.log.end(), events, len);
    opened.writer.commit(unit, 5)
}

/// Commits a unit; gives its place, and how long it is with padding.
fn commit(opened: &mut Opened, unit: UnitBuffer) -> (Place, u32) {
    let before = opened.log.place();
    opened.writer.commit(unit, 5).unwrap();
    let behind = opened.log.place();
    let offset = match behind.segment == before.segment {
        true => before.offset,
        false => HEADER_LEN_BYTES,
    };
    (Place { offset, ..behind }, behind.offset - offset)
}

/// A named request without events.
fn idle_request(id: u128) -> AppendEntry {
    AppendEntry {
        records: 0,
        request: Some(RequestEntry {
            principal: "somebody".into(),
            id: Uuid::from_u128(id),
            content: 3,
        }),
    }
}

/// Takes the first event of each unit.
struct Firsts;

impl RewriteJudge for Firsts {
    fn judge(&mut self, unit: &JudgedUnit<'_>) -> Result<UnitFate, StorageError> {
        let removed = (0..unit.records.len()).map(|at| (at == 0).then(Vec::new));
        Ok(UnitFate {
            removed: removed.collect(),
            states: Vec::new(),
        })
    }

    fn go_on(&mut self, _: u64) -> bool {
        true
    }
}

/// The positions of the events of a chunk.
fn found(chunk: &Chunk) -> Vec<u64> {
    let events = chunk.events().map(|event| event.unwrap().position.0);
    events.collect()
}

/// The removed events, and how many keys each had.
fn removed(log: &Log) -> Vec<(Position, usize)> {
    let mut removed = Vec::new();
    let mut visit = |position, keys: &mut dyn Iterator<Item = &_>| {
        removed.push((position, keys.count()));
    };
    log.removed(Position::START, log.end(), &mut visit).unwrap();
    removed
}

/// Writes zeros over a stretch of a file.
fn zero(disk: &MemoryDisk, name: &str, range: Range<u32>) {
    let zeros = vec![0; usize::try_from(range.end - range.start).unwrap()];
    disk.corrupt(name, range.start.into(), &zeros).unwrap();
}

/// The positions whose events are given, read forwards; each has its data.
fn shown(log: &Log, range: Range<Position>, len: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut next = range.start;
    loop {
        let chunk = log.read(next, range.end, usize::MAX).unwrap();
        let Some(last) = chunk.runs.last() else {
            return found;
        };
        next = last.end();
        for event in chunk.events() {
            let event = event.unwrap();
            assert_eq!(event.data, data(event.position.0, len));
            found.push(event.position.0);
        }
    }
}

fn name_of(segment: u32) -> String {
    format!("segment-{segment:08x}")
}

/// The files whose names begin so, in order.
fn names(disk: &dyn Disk, prefix: &str) -> Vec<String> {
    let all = disk.list().unwrap().into_iter().map(|(name, _)| name);
    let mut names: Vec<_> = all.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

/// What an inspection finds of a disk as it is now.
fn inspect(disk: &MemoryDisk) -> LogVerification {
    let disk: Arc<dyn Disk> = Arc::new(disk.snapshot());
    Log::inspect(&disk, &mut |_| ()).unwrap()
}

/// Reads everything and checks it.
fn check(log: &Log, end: Position, len: u64) {
    assert_eq!(log.end(), end);
    assert!(
        shown(log, Position::START..end, len)
            .into_iter()
            .eq(0..end.0)
    );
}

#[test]
fn what_was_committed_is_read_back_after_opening_again() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk);
    let mut end = Position::START;
    for events in [1, 3, 1000, 0, 2, 5000] {
        end = append(&mut opened, events, 300).unwrap();
        check(&opened.log, end, 300);
    }
    drop(opened);
    let opened = open(&disk);
    check(&opened.log, end, 300);
    drop(opened);
    let disk = disk.power_cut(Unsynced::Lost);
    let mut opened = open(&disk);
    check(&opened.log, end, 300);
    let end = append(&mut opened, 4, 300).unwrap();
    let Opened { log, writer, .. } = opened;
    writer.close(&log).unwrap();
    drop(log);
    let opened = open(&disk);
    assert!(opened.report.clean_stop);
    check(&opened.log, end, 300);
}

#[test]
fn segments_are_rolled_sealed_and_read() {
    let disk = MemoryDisk::new();
    let mut opened = open(&disk);
    let mut end = Position::START;
    for _ in 0..60 {
        end = append(&mut opened, 700, 300).unwrap();
        opened.log.keeper_step().unwrap();
    }
    let sealed = opened.log.manifest().current().sealed.len();
    assert!(sealed >= 4, "{sealed}");
    check(&opened.log, end, 300);
    let found = opened.log.verify(&mut |_| ()).unwrap();
    assert!(found.is_whole(), "{found:?}");
    assert_eq!(found.end, end);
    drop(opened);
    let opened = open(&disk);
    check(&opened.log, end, 300);
}
