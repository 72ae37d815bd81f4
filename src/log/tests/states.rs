//! State records and named requests: whatever is lost but the log, they are as the log says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::disk::{Disk, MemoryDisk, Unsynced};
use crate::format::state::KnownRequest;
use crate::format::unit::StateRecord;
use crate::log::tests::{append, idle_request, open_small, unit};
use crate::log::{Log, Opened, UnitBuffer};
use crate::model::Position;

const LEN: u64 = 900;

fn record(space: u8, key: &[u8], value: Option<&[u8]>) -> StateRecord {
    StateRecord {
        space,
        key: key.into(),
        value: value.map(Into::into),
    }
}

/// What one append brings along.
#[derive(Clone, Debug)]
struct Brought {
    events: u64,
    states: Vec<(u8, u8, Option<u8>)>,
    requests: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Brought),
    Keep,
    Checkpoint,
    Reopen,
    LoseStates,
    Cut,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let state = (1u8..3, 0u8..4, proptest::option::of(any::<u8>()));
    let brought = (
        prop_oneof![Just(0u64), 1u64..60],
        proptest::collection::vec(state, 0..3),
        0u8..3,
    );
    let append = brought.prop_map(|(events, states, requests)| {
        Step::Append(Brought {
            events,
            states,
            requests,
        })
    });
    prop_oneof![
        8 => append,
        3 => Just(Step::Keep),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
        1 => Just(Step::LoseStates),
        1 => Just(Step::Cut),
        1 => Just(Step::Close),
    ]
}

/// What there must be.
#[derive(Default)]
struct Model {
    states: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    idle: Vec<KnownRequest>,
    requests: u128,
}

impl Model {
    fn unit(&mut self, log: &Log, brought: &Brought) -> UnitBuffer {
        let mut unit = unit(log, log.end(), brought.events, LEN);
        let end = unit.end_position();
        if brought.events > 0 {
            self.idle.clear();
        }
        for _ in 0..brought.requests {
            let append = idle_request(self.requests);
            self.requests += 1;
            self.idle.extend(KnownRequest::of(end, &append));
            unit.end_append(append);
        }
        for (space, key, value) in &brought.states {
            let value = value.map(|value| vec![value; usize::from(value)]);
            unit.push_state(record(*space, &[*key], value.as_deref()));
            match value {
                Some(value) => drop(self.states.insert((*space, vec![*key]), value)),
                None => drop(self.states.remove(&(*space, vec![*key]))),
            }
        }
        unit
    }

    fn check(&self, log: &Log) {
        let mut all = BTreeMap::new();
        for space in 0..4 {
            for (key, value) in log.states(space, b"") {
                assert_eq!(log.state(space, &key), Some(value.clone()));
                all.insert((space, key.to_vec()), value.to_vec());
            }
        }
        assert_eq!(all, self.states);
        let len_bytes = self
            .states
            .iter()
            .map(|((_, key), value)| crate::log::state_len_bytes(key, value));
        assert_eq!(log.states_len_bytes(), len_bytes.sum::<u64>());
    }
}

fn checkpoint(log: &Log) {
    let checkpoint = log.checkpoint(&|_| Vec::new()).unwrap();
    let manifest = log.manifest();
    manifest.update(|data| checkpoint.name_in(data)).unwrap();
}

fn lose(disk: &MemoryDisk, prefix: &str) -> usize {
    let files = disk.list().unwrap().into_iter().map(|(name, _)| name);
    let lost: Vec<String> = files.filter(|name| name.starts_with(prefix)).collect();
    for name in &lost {
        disk.destroy(name).unwrap();
    }
    lost.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn state_records_are_as_the_log_says_whatever_is_lost_beside_it(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut disk = MemoryDisk::new();
        let mut opened = open_small(&disk);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Append(brought) => {
                    let unit = model.unit(&opened.log, &brought);
                    opened.writer.commit(unit, 5).unwrap();
                }
                Step::Keep => drop(opened.log.keeper_step().unwrap()),
                Step::Checkpoint => checkpoint(&opened.log),
                Step::Reopen => {
                    drop(opened);
                    opened = open_small(&disk);
                }
                Step::LoseStates => {
                    let named = opened.log.manifest().current().state;
                    let named = named.is_some_and(|state| state.file_name().is_some());
                    drop(opened);
                    lose(&disk, "state-");
                    opened = open_small(&disk);
                    prop_assert_eq!(opened.report.states_rebuilt, named);
                }
                Step::Cut => {
                    disk = disk.power_cut(Unsynced::Lost);
                    opened = open_small(&disk);
                }
                Step::Close => {
                    let Opened { log, writer, .. } = opened;
                    writer.close(&log).unwrap();
                    drop(log);
                    opened = open_small(&disk);
                }
            }
            model.check(&opened.log);
        }
    }
}

fn bytes_of(number: usize) -> [u8; 8] {
    u64::try_from(number).unwrap().to_le_bytes()
}

/// A log of some sealed segments: state records in the first, in the third and in the last unit,
/// and a checkpoint in the middle of the third.
struct Long {
    disk: MemoryDisk,
    /// Of each unit, the segment that it is in, and whether it has a state record.
    units: Vec<(u32, bool)>,
    /// How many units the checkpoint has in front of it.
    checkpoint_at: Option<usize>,
}

impl Long {
    fn new(with_checkpoint: bool, first_state: u32) -> Self {
        let disk = MemoryDisk::new();
        let mut opened = open_small(&disk);
        let mut long = Self {
            disk: disk.clone(),
            units: Vec::new(),
            checkpoint_at: None,
        };
        let mut in_third = 0;
        while opened.log.manifest().current().sealed.len() < 5 {
            let segment = opened.log.place().segment;
            let has_state = segment >= first_state;
            let number = long.units.len();
            let mut next = unit(&opened.log, opened.log.end(), 9, LEN);
            if has_state {
                let key = [u8::try_from(number % 5).unwrap()];
                next.push_state(record(1, &key, Some(&bytes_of(number))));
            }
            opened.writer.commit(next, 5).unwrap();
            long.units.push((opened.log.place().segment, has_state));
            opened.log.keeper_step().unwrap();
            in_third += u32::from(segment == 2);
            if with_checkpoint && in_third == 5 && long.checkpoint_at.is_none() {
                checkpoint(&opened.log);
                long.checkpoint_at = Some(long.units.len());
            }
        }
        long
    }

    fn check(&self, opened: &Opened) {
        for key in 0..5u8 {
            let numbers = self.units.iter().enumerate().filter(|(_, (_, has))| *has);
            let mut of_key = numbers.filter(|(number, _)| number % 5 == usize::from(key));
            let last = of_key.next_back().map(|(number, _)| bytes_of(number));
            let found = opened.log.state(1, &[key]);
            assert_eq!(found.as_deref(), last.as_ref().map(|last| &last[..]));
        }
    }

    /// How many units are in a segment or behind it.
    fn units_behind(&self, segment: u32) -> u64 {
        let behind = self.units.iter().filter(|(one, _)| *one >= segment);
        u64::try_from(behind.count()).unwrap()
    }
}

#[test]
fn opening_applies_what_is_behind_the_state_file_and_nothing_else() {
    let long = Long::new(true, 1);
    let opened = open_small(&long.disk);
    long.check(&opened);
    assert!(!opened.report.states_rebuilt);
    let behind = long.units.len() - long.checkpoint_at.unwrap();
    assert_eq!(opened.report.walked_units, u64::try_from(behind).unwrap());
    let bytes = long.disk.list().unwrap().into_iter();
    let segments = bytes.filter(|(name, _)| name.starts_with("segment"));
    let all: u64 = segments.map(|(_, len)| len).sum();
    let walked = opened.report.walked_bytes;
    assert!(walked > 2 * 64 * 1024 && walked < all, "{walked} {all}");
    let mut seen = 0;
    let found = opened.log.requests_found(&mut |unit| {
        seen += 1;
        assert!(unit.header.records > 0);
        Ok(())
    });
    assert_eq!(found.unwrap(), Some(Vec::new()));
    assert_eq!(seen, behind);
    assert_eq!(opened.log.requests_found(&mut |_| Ok(())).unwrap(), None);
}

#[test]
fn without_a_state_file_they_are_gathered_from_the_first_segment_that_has_any() {
    for first_state in [0, 1, 3] {
        let long = Long::new(true, first_state);
        let lost = lose(&long.disk, "state-");
        assert_eq!(lost, usize::from(first_state < 3));
        let opened = open_small(&long.disk);
        long.check(&opened);
        assert_eq!(opened.report.states_rebuilt, lost > 0);
        assert_eq!(opened.report.walked_units, long.units_behind(first_state));
        assert_eq!(opened.log.requests_found(&mut |_| Ok(())).unwrap(), None);
        drop(opened);
        // A damaged one is as good as none, and so is one of another number.
        let long = Long::new(true, first_state.min(2));
        let (name, _) = long
            .disk
            .list()
            .unwrap()
            .into_iter()
            .find(|(name, _)| name.starts_with("state-"))
            .unwrap();
        long.disk.flip_bit(&name, 77).unwrap();
        let opened = open_small(&long.disk);
        long.check(&opened);
        assert!(opened.report.states_rebuilt);
    }
}

#[test]
fn without_a_checkpoint_they_are_gathered_from_where_the_first_was_announced() {
    for first_state in [0, 2] {
        let long = Long::new(false, first_state);
        let opened = open_small(&long.disk);
        long.check(&opened);
        // There never was a file to be lost.
        assert!(!opened.report.states_rebuilt);
        assert_eq!(opened.report.walked_units, long.units_behind(first_state));
        assert_eq!(opened.log.requests_found(&mut |_| Ok(())).unwrap(), None);
    }
}

/// The checkpoint is of use only where the state records in front of its place are known.
#[test]
fn a_checkpoint_saves_the_walk_only_where_the_state_file_is_whole() {
    let disk = MemoryDisk::new();
    let mut opened = open_small(&disk);
    for number in 0..4u8 {
        let mut next = unit(&opened.log, opened.log.end(), 3, LEN);
        next.push_state(record(1, &[number], Some(&[number])));
        opened.writer.commit(next, 5).unwrap();
        if number == 2 {
            checkpoint(&opened.log);
        }
    }
    drop(opened);
    let all = |opened: &Opened| opened.log.states(1, b"").len();
    let whole = open_small(&disk.snapshot());
    assert!(whole.report.from_checkpoint);
    assert_eq!((whole.report.walked_units, all(&whole)), (1, 4));
    assert_eq!(lose(&disk, "state-"), 1);
    let without = open_small(&disk);
    assert!(!without.report.from_checkpoint);
    assert_eq!((without.report.walked_units, all(&without)), (4, 4));
}

/// A table that ends where such requests stand does not have them: they go into the state file.
#[test]
fn named_requests_without_events_at_the_end_are_kept_by_each_checkpoint() {
    let disk = MemoryDisk::new();
    let mut opened = open_small(&disk);
    let mut model = Model::default();
    let bring = |events, requests| Brought {
        events,
        states: Vec::new(),
        requests,
    };
    for brought in [
        bring(3, 0),
        bring(0, 2),
        bring(0, 1),
        bring(2, 0),
        bring(4, 1),
        bring(0, 2),
    ] {
        let next = model.unit(&opened.log, &brought);
        opened.writer.commit(next, 5).unwrap();
        assert_eq!(opened.log.shared.state.read().idle.requests(), model.idle);
        checkpoint(&opened.log);
        for lost in [false, true] {
            drop(opened);
            if lost {
                lose(&disk, "state-");
            }
            opened = open_small(&disk);
            assert_eq!(opened.log.shared.state.read().idle.requests(), model.idle);
            let state = opened.log.manifest().current().state;
            let found = opened.log.requests_found(&mut |_| Ok(())).unwrap();
            if let (false, Some(_)) = (lost, state) {
                assert_eq!(found.unwrap(), model.idle);
            }
        }
    }
    assert_eq!(model.idle.len(), 3);
}

/// What stands in front of the first state record, at the same position, is seen as well.
#[test]
fn requests_at_the_end_of_a_segment_are_seen_from_the_next_one() {
    let disk = MemoryDisk::new();
    let mut opened = open_small(&disk);
    let mut model = Model::default();
    let bring = |events, states, requests| Brought {
        events,
        states,
        requests,
    };
    loop {
        let next = unit(&opened.log, opened.log.end(), 9, LEN);
        opened.writer.commit(next, 5).unwrap();
        opened.log.keeper_step().unwrap();
        if opened.log.place().offset > 50_000 {
            break;
        }
    }
    let next = model.unit(&opened.log, &bring(0, Vec::new(), 2));
    opened.writer.commit(next, 5).unwrap();
    // Too large for what is left of the segment.
    let value = vec![7; 15_000];
    let mut next = unit(&opened.log, opened.log.end(), 0, LEN);
    next.push_state(record(1, b"large", Some(&value)));
    opened.writer.commit(next, 5).unwrap();
    assert_eq!(opened.log.place().segment, 1);
    while opened.log.manifest().current().sealed.is_empty() {
        opened.log.keeper_step().unwrap();
    }
    drop(opened);
    let opened = open_small(&disk);
    assert_eq!(opened.log.state(1, b"large").unwrap(), value);
    assert_eq!(opened.log.shared.state.read().idle.requests(), model.idle);
    assert_eq!(model.idle.len(), 2);
}

#[test]
fn an_unchanged_state_file_is_not_written_again() {
    let disk = MemoryDisk::new();
    let mut opened = open_small(&disk);
    let number = |log: &Log| log.manifest().current().state.map(|state| state.number);
    let next = unit(&opened.log, Position::START, 3, LEN);
    opened.writer.commit(next, 5).unwrap();
    checkpoint(&opened.log);
    assert_eq!(number(&opened.log), None);
    let mut next = unit(&opened.log, opened.log.end(), 1, LEN);
    next.push_state(record(1, b"a", Some(b"1")));
    opened.writer.commit(next, 5).unwrap();
    assert_eq!(number(&opened.log), Some(0));
    for _ in 0..2 {
        checkpoint(&opened.log);
        assert_eq!(number(&opened.log), Some(1));
    }
    drop(opened);
    let mut opened = open_small(&disk);
    checkpoint(&opened.log);
    assert_eq!(number(&opened.log), Some(1));
    let mut next = unit(&opened.log, opened.log.end(), 1, LEN);
    next.push_state(record(1, b"a", None));
    opened.writer.commit(next, 5).unwrap();
    checkpoint(&opened.log);
    // There is nothing in it: it has no file.
    let state = opened.log.manifest().current().state.unwrap();
    assert_eq!((state.number, state.len_bytes), (2, 0));
    assert!(disk.open("state-00000002").is_err());
    drop(opened);
    let opened = open_small(&disk);
    assert!(!opened.report.states_rebuilt);
    assert_eq!(opened.log.state(1, b"a"), None);
}

#[test]
fn a_checkpoint_is_wanted_when_much_log_has_none_behind_it() {
    let disk = MemoryDisk::new();
    let mut opened = open_small(&disk);
    let large = vec![1; 1 << 20];
    for number in 0..70 {
        let before = opened
            .log
            .shared
            .unsaved_bytes
            .load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(opened.log.wants_checkpoint(), before >= 32 << 20);
        if opened.log.wants_checkpoint() {
            checkpoint(&opened.log);
            assert!(!opened.log.wants_checkpoint());
            assert!(number > 30);
            return;
        }
        let mut next = unit(&opened.log, opened.log.end(), 0, LEN);
        next.push_state(record(1, b"large", Some(&large)));
        opened.writer.commit(next, 5).unwrap();
        opened.log.keeper_step().unwrap();
    }
    panic!("no checkpoint is wanted");
}

/// A checkpoint's file has a name of its own until its segment is sealed, for the one that the
/// manifest names must stay as it is until it names another.
#[test]
fn checkpoints_of_a_segment_are_counted_and_end_with_its_sealing() {
    let disk = MemoryDisk::new();
    let mut opened = open_small(&disk);
    let named = |opened: &Opened| {
        let checkpoint = opened.log.manifest().current().checkpoint;
        checkpoint.map(|named| (named.place.segment, named.number))
    };
    for number in 0..3 {
        append(&mut opened, 3, LEN).unwrap();
        checkpoint(&opened.log);
        assert_eq!(named(&opened), Some((0, number)));
        opened.log.keeper_step().unwrap();
    }
    while opened.log.manifest().current().sealed.is_empty() {
        assert_eq!(named(&opened), Some((0, 2)));
        append(&mut opened, 100, LEN).unwrap();
        opened.log.keeper_step().unwrap();
    }
    assert_eq!(named(&opened), None);
    checkpoint(&opened.log);
    assert_eq!(named(&opened), Some((1, 0)));
}
