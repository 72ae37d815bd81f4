//! The last units in memory: which are held, within their budget, and what is read of them.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;

use crate::log::facts::RecordEntry;
use crate::log::state::Recent;
use crate::model::Position;

const BUDGET_BYTES: usize = 100;
const RECORD_LEN_BYTES: usize = 10;

#[derive(Clone, Debug)]
enum Step {
    /// A unit of so many records, and so many bytes around them.
    Push(usize, usize),
    /// So many positions in front of the end are kept.
    ForgetAllBut(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4usize, 0..30usize).prop_map(|(records, more)| Step::Push(records, more)),
        1 => Just(Step::Push(11, 0)),
        1 => Just(Step::Push(10, 0)),
        1 => (0..9u64).prop_map(Step::ForgetAllBut),
    ];
    prop::collection::vec(step, 0..40)
}

/// A unit that is held: its first position, how many records it has, and its length in bytes.
type Held = (u64, usize, usize);

fn push(recent: &mut Recent, first: u64, records: usize, more: usize) {
    let records_end = records * RECORD_LEN_BYTES;
    // Each byte of a record is its position.
    let positions = (first..)
        .take(records)
        .map(|at| u8::try_from(at % 251).unwrap());
    let bytes = positions.flat_map(|at| [at; RECORD_LEN_BYTES]);
    let bytes: Vec<u8> = bytes.chain(std::iter::repeat_n(0, more)).collect();
    let entry = |index: usize| RecordEntry {
        offset: u32::try_from(index * RECORD_LEN_BYTES).unwrap(),
        created_us: 0,
    };
    let records: Vec<RecordEntry> = (0..records).map(entry).collect();
    let committed_us = i64::try_from(first).unwrap();
    recent.push(
        Position(first),
        committed_us,
        Bytes::from(bytes),
        records_end,
        &records,
    );
}

fn check(recent: &Recent, held: &VecDeque<Held>, end: u64) {
    let first_held = held.front().map_or(end, |unit| unit.0);
    for at in 0..end + 2 {
        let unit = held.iter().find(|(first, records, _)| {
            (*first..first + u64::try_from(*records).unwrap()).contains(&at)
        });
        let committed = unit.map(|(first, ..)| i64::try_from(*first).unwrap());
        assert_eq!(recent.committed_us(Position(at)), committed, "{at}");
        let byte = u8::try_from(at % 251).unwrap();
        let record = recent.record(Position(at));
        let record = record.map(|run| (run.first.0, run.count, run.bytes));
        let expected = unit.map(|_| (at, 1, Bytes::from(vec![byte; RECORD_LEN_BYTES])));
        assert_eq!(record, expected);
    }
    for (from, to) in
        (first_held..end).flat_map(|from| [(from, from + 1), (from, from + 5), (from, end)])
    {
        let to = to.min(end);
        for len_max in [0, 9, 10, 11, 25, 50, usize::MAX] {
            let chunk = recent.read(Position(from), Position(to), len_max).unwrap();
            let wanted = usize::try_from(to - from).unwrap();
            let fits = (len_max / RECORD_LEN_BYTES).clamp(1, wanted);
            let read: Vec<u8> = chunk
                .runs
                .iter()
                .flat_map(|run| run.bytes.to_vec())
                .collect();
            let expected = (from..)
                .take(fits)
                .map(|at| u8::try_from(at % 251).unwrap());
            let expected = expected.flat_map(|at| [at; RECORD_LEN_BYTES]);
            assert_eq!(read, expected.collect::<Vec<_>>(), "{from} {to} {len_max}");
        }
    }
}

proptest! {
    #[test]
    fn the_last_units_are_held_as_many_as_the_budget_has_room_for(steps in steps()) {
        let mut recent = Recent::new(BUDGET_BYTES);
        let (mut held, mut end) = (VecDeque::<Held>::new(), 0);
        for step in steps {
            match step {
                Step::Push(records, more) => {
                    let len = records * RECORD_LEN_BYTES + more;
                    push(&mut recent, end, records, more);
                    if records > 0 {
                        held.push_back((end, records, len));
                    }
                    while held.iter().map(|unit| unit.2).sum::<usize>() > BUDGET_BYTES {
                        held.pop_front();
                    }
                    end += u64::try_from(records).unwrap();
                }
                Step::ForgetAllBut(kept) => {
                    let position = end.saturating_sub(kept);
                    recent.forget_before(Position(position));
                    let wide = |records: usize| u64::try_from(records).unwrap();
                    let end_of = |(first, records, _): &Held| first + wide(*records);
                    held.retain(|unit| end_of(unit) > position);
                }
            }
            check(&recent, &held, end);
        }
    }
}

#[test]
fn a_read_that_ends_within_a_unit_does_not_go_on_in_the_next() {
    let mut recent = Recent::new(BUDGET_BYTES);
    push(&mut recent, 0, 2, 0);
    let short = RecordEntry {
        offset: 0,
        created_us: 0,
    };
    recent.push(Position(2), 5, Bytes::from_static(&[2]), 1, &[short]);
    let chunk = recent.read(Position(0), Position(3), RECORD_LEN_BYTES + 1);
    let runs = chunk.unwrap().runs;
    assert_eq!((runs.len(), runs[0].count), (1, 1));
}
