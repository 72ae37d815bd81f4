//! A segment that is written again without some of its events: what stays is as it was, to whoever
//! reads it in whatever way, and what went is counted all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use crate::disk::{Disk, Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::format::footer::LEAF_EVENTS;
use crate::format::manifest::SealedSegment;
use crate::format::rewrite::IndexKey;
use crate::format::unit::{AppendEntry, RequestEntry, StateRecord};
use crate::log::rewrite::kept_runs;
use crate::log::tests::{data, inspect, push, shown, unit};
use crate::log::{
    JudgedUnit, Log, LogOptions, Opened, RewriteJudge, RewriteOutcome, StorageError, UnitBuffer,
    UnitFate,
};
use crate::model::{Position, Timestamp};

const LEN: u64 = 60;
/// Of the events of a log of long segments, at most.
const LONG: u64 = 4_000;
const BASE_US: i64 = 1_700_000_000_000_000;

fn open(disk: Arc<dyn Disk>) -> Opened {
    let options = LogOptions {
        segment_size_bytes: 64 * 1024,
        ..LogOptions::default()
    };
    Log::open(disk, Arc::new(SimulatedHost::new(7)), options, true).unwrap()
}

/// The keys that an event had: of three kinds, and none for some.
fn keys_of(position: u64) -> Vec<IndexKey> {
    let keys = [(1, "all"), (2, "even"), (3, "third")].into_iter();
    let has = |(kind, _): &(u8, &str)| position.is_multiple_of(u64::from(*kind));
    keys.filter(has)
        .map(|(kind, text)| (kind, text.into()))
        .collect()
}

/// Takes these events, and state records that are not the last of their key.
struct Judge<'a> {
    removed: &'a BTreeSet<u64>,
    /// How often it lets the work go on.
    go_on: usize,
    told_bytes: u64,
}

impl<'a> Judge<'a> {
    fn new(removed: &'a BTreeSet<u64>) -> Self {
        Self {
            removed,
            go_on: usize::MAX,
            told_bytes: 0,
        }
    }
}

impl RewriteJudge for Judge<'_> {
    fn judge(&mut self, unit: &JudgedUnit<'_>) -> Result<UnitFate, StorageError> {
        let removed = unit.records.iter().map(|(position, layout, bytes)| {
            assert_eq!(layout.record_len(), bytes.len());
            let goes = self.removed.contains(&position.0);
            goes.then(|| keys_of(position.0))
        });
        let states = unit.trailer.states.iter();
        Ok(UnitFate {
            removed: removed.collect(),
            states: states
                .map(|state| state.value.as_deref() != Some(b"old"))
                .collect(),
        })
    }

    fn go_on(&mut self, bytes: u64) -> bool {
        assert!(bytes > 0);
        self.told_bytes += bytes;
        let goes_on = self.go_on > 0;
        self.go_on = self.go_on.saturating_sub(1);
        goes_on
    }
}

/// A log of several sealed segments, of which the first ones may be written again.
struct Sample {
    disk: MemoryDisk,
    opened: Opened,
    /// The named requests, and where each stood.
    requests: Vec<(Uuid, Position, u32)>,
    removed: BTreeSet<u64>,
}

impl Sample {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let mut opened = open(Arc::new(disk.clone()));
        let mut requests = Vec::new();
        let mut number = 0u64;
        while opened.log.manifest().current().sealed.len() < 5 {
            let first = opened.log.end();
            let events = [1, 40, 0, 7, 90, 3][usize::try_from(number % 6).unwrap()];
            let mut next = unit(&opened.log, first, events, LEN);
            if number.is_multiple_of(3) {
                let id = Uuid::from_u128(number.into());
                requests.push((id, next.end_position(), 0));
                next.end_append(AppendEntry {
                    records: 0,
                    request: Some(RequestEntry {
                        principal: "somebody".into(),
                        id,
                        content: number,
                    }),
                });
            }
            if number.is_multiple_of(7) {
                let key = [u8::try_from(number % 3).unwrap()];
                for value in [&b"old"[..], &number.to_le_bytes()] {
                    next.push_state(StateRecord {
                        space: 1,
                        key: key.as_slice().into(),
                        value: Some(value.into()),
                    });
                }
            }
            opened.writer.commit(next, 5).unwrap();
            opened.log.keeper_step().unwrap();
            number += 1;
        }
        let manifest = opened.log.manifest();
        let end = manifest.current().sealed_end();
        manifest
            .update(|manifest| manifest.indexed_to = end)
            .unwrap();
        Self {
            disk,
            opened,
            requests,
            removed: BTreeSet::new(),
        }
    }

    fn log(&self) -> &Log {
        &self.opened.log
    }

    fn entry(&self, segment: u32) -> SealedSegment {
        let manifest = self.log().manifest().current();
        let mut sealed = manifest.sealed.iter();
        sealed.find(|one| one.id == segment).unwrap().clone()
    }

    fn range(&self, segment: u32) -> std::ops::Range<u64> {
        let entry = self.entry(segment);
        entry.first_position.0..entry.end_position().0
    }

    fn segments(&self) -> Vec<u32> {
        let all = self.log().rewritable().into_iter();
        all.map(|(segment, _)| segment).collect()
    }

    fn rewrite(&mut self, segment: u32, removed: impl Fn(u64) -> bool) -> RewriteOutcome {
        let goes = |at: &u64| !self.removed.contains(at) && removed(*at);
        let going: BTreeSet<u64> = self.range(segment).filter(goes).collect();
        let len = self.file_len(segment);
        let mut judge = Judge::new(&going);
        let outcome = self.log().rewrite(segment, 1, &mut judge).unwrap();
        assert_eq!(outcome.removed_events, u64::try_from(going.len()).unwrap());
        assert!(outcome.rewritten && !outcome.stopped);
        assert_eq!(
            outcome.freed_bytes,
            len.saturating_sub(self.file_len(segment))
        );
        assert!(judge.told_bytes > len && judge.told_bytes < 4 * len);
        self.removed.extend(going);
        outcome
    }

    fn entry_name(&self, segment: u32) -> String {
        self.entry(segment).file_name().to_string()
    }

    fn file_len(&self, segment: u32) -> u64 {
        let name = self.entry_name(segment);
        self.disk.open(&name).unwrap().len().unwrap()
    }

    fn files_of(&self, segment: u32) -> Vec<String> {
        let prefix = format!("segment-{segment:08x}");
        let files = self.disk.list().unwrap().into_iter().map(|(name, _)| name);
        files.filter(|name| name.starts_with(&prefix)).collect()
    }

    fn check(&self) {
        let (log, end) = (self.log(), self.log().end());
        let left: Vec<u64> = (0..end.0).filter(|at| !self.removed.contains(at)).collect();
        assert_eq!(forwards(log, 0, end.0), left);
        let mut back = Vec::new();
        let mut before = end;
        loop {
            let chunk = log.read_back(before, usize::MAX, usize::MAX).unwrap();
            let Some(first) = chunk.runs.first() else {
                break;
            };
            before = first.first;
            let events: Vec<u64> = chunk.events().map(|it| it.unwrap().position.0).collect();
            back.splice(0..0, events);
        }
        assert_eq!(back, left);
        let asked: Vec<Position> = (0..end.0 + 3).map(Position).collect();
        let chunk = log.read_at(&asked).unwrap();
        let found: Vec<u64> = chunk.events().map(|it| it.unwrap().position.0).collect();
        assert_eq!(found, left);
        for from in (0..end.0).step_by(83) {
            let next = left.iter().copied().find(|at| *at >= from).unwrap_or(end.0);
            assert_eq!(
                forwards(log, from, from + 1),
                if next == from { vec![from] } else { vec![] }
            );
            let time = Timestamp::from_micros(BASE_US + i64::try_from(from).unwrap());
            assert_eq!(log.position_at(time).unwrap(), Position(next));
            self.check_removed(from, from + 200);
        }
        self.check_removed(0, end.0);
        self.check_units();
    }

    fn check_removed(&self, from: u64, to: u64) {
        let mut shown = Vec::new();
        let mut show = |position: Position, keys: &mut dyn Iterator<Item = &IndexKey>| {
            assert_eq!(keys.cloned().collect::<Vec<_>>(), keys_of(position.0));
            shown.push(position.0);
        };
        self.log()
            .removed(Position(from), Position(to), &mut show)
            .unwrap();
        let expected: Vec<u64> = self.removed.range(from..to).copied().collect();
        assert_eq!(shown, expected);
    }

    /// Requests stay where they were, and every unit that has anything is shown.
    fn check_units(&self) {
        let mut requests = Vec::new();
        let mut records = 0;
        let mut visit = |unit: crate::log::Unit| {
            let mut at = unit.header.first_position;
            for append in &unit.trailer.appends {
                if let Some(request) = &append.request {
                    requests.push((request.id, at, append.records));
                }
                at = at.plus(append.records.into());
            }
            records += u64::from(unit.header.records);
            Ok(())
        };
        self.log().units(Position::START, &mut visit).unwrap();
        assert_eq!(requests, self.requests);
        let removed = u64::try_from(self.removed.len()).unwrap();
        assert_eq!(records, self.log().end().0 - removed);
    }

    fn reopened(self) -> Self {
        let Self {
            disk,
            opened,
            requests,
            removed,
        } = self;
        drop(opened);
        let opened = open(Arc::new(disk.clone()));
        Self {
            disk,
            opened,
            requests,
            removed,
        }
    }

    fn states(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let states = self.log().states(1, b"").into_iter();
        states
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect()
    }
}

fn forwards(log: &Log, from: u64, to: u64) -> Vec<u64> {
    shown(log, Position(from)..Position(to), LEN)
}

#[test]
fn what_stays_is_read_as_before_and_what_went_is_counted() {
    let mut sample = Sample::new();
    let states = sample.states();
    assert_eq!(states.len(), 3);
    let segments = sample.segments();
    assert!(segments.len() >= 2, "{segments:?}");
    sample.check();
    // Alternating ones, all, the first and the last, long runs.
    let ends = sample.range(segments[1]);
    sample.rewrite(segments[0], |at| at % 2 == 0 || at % 64 > 40);
    sample.check();
    sample.rewrite(segments[1], |at| at == ends.start || at == ends.end - 1);
    sample.check();
    assert_eq!(
        sample.files_of(segments[0]),
        [format!("segment-{:08x}-00000001", segments[0])]
    );
    let found = sample.log().verify(&mut |_| ()).unwrap();
    assert!(found.is_whole(), "{found}");
    // Once more, and then nothing is left of it.
    sample.rewrite(segments[0], |at| at % 5 == 0);
    sample.check();
    sample.rewrite(segments[1], |_| true);
    sample.check();
    assert_eq!(
        sample.files_of(segments[0]),
        [format!("segment-{:08x}-00000002", segments[0])]
    );
    let sample = sample.reopened();
    assert_eq!(sample.states(), states);
    sample.check();
    let found = sample.log().verify(&mut |_| ()).unwrap();
    assert!(found.is_whole(), "{found}");
    let found = inspect(&sample.disk);
    assert!(found.is_whole(), "{found}");
    // The segments behind are sealed with digests as if nothing had gone.
    let mut sample = sample;
    while sample.log().manifest().current().sealed.len() < 7 {
        let next = unit(sample.log(), sample.log().end(), 90, LEN);
        sample.opened.writer.commit(next, 5).unwrap();
        sample.log().keeper_step().unwrap();
    }
    let found = sample.log().verify(&mut |_| ()).unwrap();
    assert!(found.is_whole(), "{found}");
    sample.check();
}

/// What reads at the time goes on with the file that it has, and with what is in memory.
#[test]
fn the_file_that_was_is_removed_and_closed() {
    let mut sample = Sample::new();
    let segment = sample.segments()[0];
    let before = sample.entry_name(segment);
    sample.check();
    sample.rewrite(segment, |at| at % 3 == 0);
    assert!(sample.disk.open(&before).is_err());
    sample.check();
    // One whose removal was prevented goes when the log is opened.
    sample.disk.put(&before, b"what it was").unwrap();
    // One that is nobody's stays.
    sample.disk.put("segment-00000077", b"something").unwrap();
    let sample = sample.reopened();
    assert!(sample.disk.open(&before).is_err());
    assert_eq!(sample.opened.report.unknown_files, ["segment-00000077"]);
    sample.check();
}

/// Who has looked up a segment before it was written again, and opens it behind that.
#[test]
fn the_file_that_is_is_opened_though_another_was_asked_for() {
    let mut sample = Sample::new();
    let segment = sample.segments()[0];
    let manifest = sample.opened.log.manifest().current();
    let entry = manifest.sealed.iter().find(|one| one.id == segment);
    sample.rewrite(segment, |at| at % 3 == 0);
    let opened = sample.opened.log.shared.open_sealed(entry.unwrap());
    assert!(opened.unwrap().rewrite.is_some());
}

#[test]
fn only_what_is_in_front_of_the_open_leaf_the_index_and_the_state_file_is_written_again() {
    let sample = Sample::new();
    let log = sample.log();
    let sealed = log.manifest().current().sealed.clone();
    let expected = |end: u64, before_segment: u32| -> Vec<(u32, u64)> {
        let may = sealed
            .iter()
            .filter(|one| one.end_position().0 <= end && one.id < before_segment);
        may.map(|one| (one.id, one.len_bytes.into())).collect()
    };
    let end = log.manifest().current().sealed_end().0;
    let leaf = end - end % LEAF_EVENTS;
    assert_eq!(log.rewritable(), expected(leaf, u32::MAX));
    assert!(log.rewritable().len() < sealed.len());
    let second = sealed[1].end_position().0;
    for indexed_to in [second, second - 1] {
        let manifest = log.manifest();
        manifest
            .update(|data| data.indexed_to = Position(indexed_to))
            .unwrap();
        assert_eq!(log.rewritable(), expected(indexed_to, u32::MAX));
    }
    let manifest = log.manifest();
    manifest
        .update(|data| data.indexed_to = Position(end))
        .unwrap();
    for (number, segment) in [(1, sealed[1].id), (1, sealed[0].id), (0, sealed[0].id)] {
        let change = |data: &mut crate::format::manifest::ManifestData| {
            let state = data.state.as_mut().unwrap();
            state.number = number;
            state.place.segment = segment;
        };
        manifest.update(change).unwrap();
        let limit = if number > 0 { segment } else { u32::MAX };
        assert_eq!(log.rewritable(), expected(leaf, limit));
    }
}

#[test]
fn a_rewriting_that_is_stopped_or_gives_back_too_little_changes_nothing() {
    let mut sample = Sample::new();
    let segment = sample.segments()[0];
    let manifest = sample.log().manifest().current();
    let going: BTreeSet<u64> = sample.range(segment).step_by(2).collect();
    let files = sample.disk.list().unwrap();
    let unchanged = |sample: &Sample| {
        assert_eq!(sample.log().manifest().current(), manifest);
        assert_eq!(sample.disk.list().unwrap(), files);
    };
    let next = format!("segment-{segment:08x}-00000001");
    let mut stopped = 0;
    loop {
        let mut judge = Judge::new(&going);
        judge.go_on = stopped;
        let snapshot = sample.disk.snapshot();
        let copy = open(Arc::new(snapshot));
        let outcome = copy.log.rewrite(segment, 1, &mut judge).unwrap();
        if !outcome.stopped {
            assert!(outcome.rewritten);
            break;
        }
        assert_eq!(
            outcome,
            RewriteOutcome {
                stopped: true,
                ..RewriteOutcome::default()
            }
        );
        assert!(copy.log.shared.disk.open(&next).is_err());
        stopped += 1;
    }
    assert!(stopped > 20, "{stopped}");
    let nothing = BTreeSet::new();
    let mut bytes = 0;
    for at in &going {
        let chunk = sample.log().read_at(&[Position(*at)]).unwrap();
        bytes += u64::try_from(chunk.len_bytes()).unwrap();
    }
    for (going, at_least) in [(&going, 1 << 20), (&going, u64::MAX)] {
        let outcome = sample
            .log()
            .rewrite(segment, at_least, &mut Judge::new(going));
        assert_eq!(outcome.unwrap(), RewriteOutcome::default());
        unchanged(&sample);
    }
    // State records that are not the last ones count too.
    let outcome = sample
        .log()
        .rewrite(segment, bytes + 1000, &mut Judge::new(&going));
    assert_eq!(outcome.unwrap(), RewriteOutcome::default());
    let outcome = sample.log().rewrite(77, 0, &mut Judge::new(&nothing));
    assert_eq!(outcome.unwrap(), RewriteOutcome::default());
    unchanged(&sample);
    let outcome = sample
        .log()
        .rewrite(segment, bytes, &mut Judge::new(&going))
        .unwrap();
    assert!(outcome.rewritten);
    sample.removed.extend(&going);
    sample.check();
    // Nothing goes any more.
    let outcome = sample.log().rewrite(segment, 0, &mut Judge::new(&nothing));
    assert_eq!(outcome.unwrap(), RewriteOutcome::default());
}

#[test]
fn a_call_that_fails_leaves_the_segment_as_it_was() {
    let sample = Sample::new();
    let segment = sample.segments()[0];
    let going: BTreeSet<u64> = sample.range(segment).step_by(2).collect();
    for operation in [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::SyncDirectory,
    ] {
        let disk = sample.disk.snapshot();
        let probe = ProbeDisk::new(Arc::new(disk.clone()));
        let opened = open(Arc::new(probe.clone()));
        let manifest = opened.log.manifest().current();
        let files = disk.list().unwrap();
        let fault = match operation {
            Operation::SyncDirectory => Fault::at(operation),
            _ => Fault::at(operation).named(&format!("segment-{segment:08x}-")),
        };
        probe.fail(fault);
        let outcome = opened.log.rewrite(segment, 1, &mut Judge::new(&going));
        assert!(
            matches!(outcome, Err(StorageError::Io { .. })),
            "{operation:?} {outcome:?}"
        );
        assert_eq!(opened.log.manifest().current(), manifest);
        assert_eq!(disk.list().unwrap(), files, "{operation:?}");
    }
    // What was not written as it should be is noticed when it is read back.
    let disk = sample.disk.snapshot();
    let probe = ProbeDisk::new(Arc::new(disk));
    let opened = open(Arc::new(probe.clone()));
    let name = format!("segment-{segment:08x}-00000001");
    probe.fail(Fault::at(Operation::Read).named(&name).flipping(99));
    let outcome = opened.log.rewrite(segment, 1, &mut Judge::new(&going));
    assert!(
        matches!(outcome, Err(StorageError::Io { .. })),
        "{outcome:?}"
    );
    assert!(opened.log.verify(&mut |_| ()).unwrap().is_whole());
}

#[test]
fn which_events_are_left_is_said_in_as_few_runs_as_there_are() {
    let runs = |end: u64, left: &[u64]| {
        let left: Vec<Position> = left.iter().map(|at| Position(*at)).collect();
        let runs = kept_runs(Position(5), Position(end), &left).into_iter();
        runs.map(|run| (run.removed, run.kept)).collect::<Vec<_>>()
    };
    assert_eq!(runs(5, &[]), []);
    assert_eq!(runs(8, &[]), [(0, 0)]);
    assert_eq!(runs(8, &[5, 6, 7]), []);
    assert_eq!(runs(8, &[5, 6]), [(0, 2)]);
    assert_eq!(runs(12, &[6, 7, 10]), [(1, 2), (2, 1)]);
}

fn append(records: u32, request: Option<u128>) -> AppendEntry {
    AppendEntry {
        records,
        request: request.map(|id| RequestEntry {
            principal: "somebody".into(),
            id: Uuid::from_u128(id),
            content: 7,
        }),
    }
}

/// A log whose first segment may be written again. Its units have appends of so many records,
/// named or not, and a state record, which is the last one but for that of the first unit.
fn with_units(segment_size_bytes: u32, appends: &[AppendEntry]) -> Opened {
    let options = LogOptions {
        segment_size_bytes,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(7));
    let mut opened = Log::open(Arc::new(MemoryDisk::new()), host, options, true).unwrap();
    while opened.log.rewritable().is_empty() {
        let mut next = UnitBuffer::new(opened.log.end());
        let is_first = opened.log.end() == Position::START;
        for entry in appends {
            let wanted = |position| (data(position, LONG), 0);
            push(&mut next, &opened.log, entry.records.into(), &wanted);
            next.end_append(entry.clone());
        }
        let value = if is_first { &b"old"[..] } else { b"new" };
        next.push_state(StateRecord {
            space: 1,
            key: b"keys".as_slice().into(),
            value: Some(value.into()),
        });
        opened.writer.commit(next, 5).unwrap();
        opened.log.keeper_step().unwrap();
        let manifest = opened.log.manifest();
        let end = manifest.current().sealed_end();
        manifest
            .update(|manifest| manifest.indexed_to = end)
            .unwrap();
    }
    opened
}

#[test]
fn named_appends_keep_their_records_and_unnamed_ones_become_one() {
    let appends = [
        append(2, Some(1)),
        append(3, None),
        append(4, None),
        append(1, Some(2)),
    ];
    let opened = with_units(64 * 1024, &appends);
    let going = BTreeSet::from([1, 4]);
    let outcome = opened.log.rewrite(0, 1, &mut Judge::new(&going)).unwrap();
    assert!(outcome.rewritten);
    let mut found = Vec::new();
    let mut visit = |unit: crate::log::Unit| {
        found.extend(unit.trailer.appends);
        Ok(())
    };
    opened.log.units(Position::START, &mut visit).unwrap();
    assert_eq!(
        found[..3],
        [append(2, Some(1)), append(7, None), append(1, Some(2))]
    );
}

#[test]
fn a_state_record_that_goes_counts_with_its_key_and_its_value() {
    let opened = with_units(64 * 1024, &[append(10, None)]);
    let nothing = BTreeSet::new();
    let mut judge = Judge::new(&nothing);
    // "keys" and "old".
    assert!(!opened.log.rewrite(0, 8, &mut judge).unwrap().rewritten);
    assert!(opened.log.rewrite(0, 7, &mut judge).unwrap().rewritten);
}

#[test]
fn a_long_segment_is_written_piece_by_piece_and_says_how_far_it_is() {
    let opened = with_units(4 * 1024 * 1024, &[append(500, None)]);
    let end = opened.log.manifest().current().sealed[0].end_position();
    // The times rise with the positions: the last ones go.
    let left = end.0 / 2;
    let going: BTreeSet<u64> = (left..end.0).collect();
    let mut judge = Judge::new(&going);
    assert!(opened.log.rewrite(0, 1, &mut judge).unwrap().rewritten);
    let last = opened.log.read_at(&[Position(left - 1)]).unwrap();
    let last = last.events().next().unwrap().unwrap();
    let entry = opened.log.manifest().current().sealed[0].clone();
    assert_eq!(entry.created.max_us, last.created.micros());
    let found = shown(&opened.log, Position::START..end, LONG);
    assert_eq!(found, Vec::from_iter(0..left));
}
