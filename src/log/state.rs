//! What readers, the writer and the keeper share: the segments that are not sealed, and the units
//! that were committed last.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::format::segment::HEADER_LEN_BYTES;
use crate::format::unit::Place;
use crate::log::chunk::{Chunk, Run};
use crate::log::facts::{Facts, RecordEntry};
use crate::log::states::IdleRequests;
use crate::model::Position;

/// A segment that is not sealed.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) facts: Facts,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) name: Arc<str>,
    pub(super) capacity: u32,
}

/// Everything behind the sealed segments, up to the durable end.
#[derive(Debug)]
pub(super) struct State {
    /// A full one perhaps, then the active one.
    pub(super) live: Vec<Live>,
    pub(super) recent: Recent,
    /// When the last unit was committed, by the clock of the machine.
    pub(super) touched_us: i64,
    /// The named requests without events that stand at the end.
    pub(super) idle: IdleRequests,
}

impl State {
    pub(super) fn active(&self) -> &Live {
        self.live.last().expect("an open log has an active segment")
    }

    pub(super) fn active_mut(&mut self) -> &mut Live {
        self.live
            .last_mut()
            .expect("an open log has an active segment")
    }

    pub(super) fn end(&self) -> Position {
        self.active().facts.end()
    }

    pub(super) fn place(&self) -> Place {
        let facts = &self.active().facts;
        Place {
            segment: facts.segment,
            offset: facts.end_offset,
        }
    }

    /// The last segment that has a unit; the active one if none has.
    pub(super) fn last_with_units(&self) -> &Live {
        let has_units = |live: &&Live| live.facts.end_offset > HEADER_LEN_BYTES;
        let last = self.live.iter().rev().find(has_units);
        last.unwrap_or_else(|| self.active())
    }

    /// Where the last durable unit ends: not where an active segment without units begins.
    pub(super) fn durable_place(&self) -> Place {
        let facts = &self.last_with_units().facts;
        Place {
            segment: facts.segment,
            offset: facts.end_offset,
        }
    }

    /// The segment that holds a position, if it is not sealed.
    pub(super) fn holding(&self, position: Position) -> Option<&Live> {
        let mut live = self.live.iter().rev();
        live.find(|live| live.facts.first <= position && position < live.facts.end())
    }
}

/// A unit that was committed a moment ago.
#[derive(Clone, Debug)]
struct RecentUnit {
    first: Position,
    committed_us: i64,
    bytes: Bytes,
    offsets: Arc<[u32]>,
    records_end: usize,
}

impl RecentUnit {
    fn end(&self) -> Position {
        self.first
            .plus(u64::try_from(self.offsets.len()).unwrap_or(u64::MAX))
    }

    fn start_of(&self, index: usize) -> usize {
        let offset = self.offsets.get(index);
        offset.map_or(self.records_end, |offset| {
            usize::try_from(*offset).unwrap_or(usize::MAX)
        })
    }

    fn run(&self, from: usize, to: usize) -> Run {
        Run {
            first: self.first.plus(u64::try_from(from).unwrap_or(u64::MAX)),
            count: u32::try_from(to - from).unwrap_or(0),
            bytes: self.bytes.slice(self.start_of(from)..self.start_of(to)),
        }
    }

    /// The index of a position, at most the number of records.
    fn index(&self, position: Position) -> usize {
        let index = usize::try_from(position.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        index.min(self.offsets.len())
    }
}

/// The last units in memory, so that who reads at the end needs no disk.
#[derive(Debug)]
pub(super) struct Recent {
    units: VecDeque<RecentUnit>,
    len_bytes: usize,
    len_bytes_max: usize,
}

impl Recent {
    pub(super) fn new(len_bytes_max: usize) -> Self {
        Self {
            units: VecDeque::new(),
            len_bytes: 0,
            len_bytes_max,
        }
    }

    /// Keeps a unit, and lets the oldest ones go.
    pub(super) fn push(
        &mut self,
        first: Position,
        committed_us: i64,
        bytes: Bytes,
        records_end: usize,
        records: &[RecordEntry],
    ) {
        let unit = RecentUnit {
            first,
            committed_us,
            bytes,
            offsets: records.iter().map(|record| record.offset).collect(),
            records_end,
        };
        if !records.is_empty() && unit.bytes.len() <= self.len_bytes_max {
            self.len_bytes += unit.bytes.len();
            self.units.push_back(unit);
        } else if !records.is_empty() {
            // Units in memory are adjacent: behind a gap they begin anew.
            self.units.clear();
            self.len_bytes = 0;
        }
        while self.len_bytes > self.len_bytes_max {
            let Some(oldest) = self.units.pop_front() else {
                break;
            };
            self.len_bytes -= oldest.bytes.len();
        }
    }

    /// Lets the units go that lie in front of a position.
    pub(super) fn forget_before(&mut self, position: Position) {
        while let Some(oldest) = self.units.pop_front_if(|unit| unit.end() <= position) {
            self.len_bytes -= oldest.bytes.len();
        }
    }

    fn find(&self, position: Position) -> Option<usize> {
        let behind = self.units.partition_point(|unit| unit.end() <= position);
        let unit = self.units.get(behind)?;
        (unit.first <= position).then_some(behind)
    }

    /// The records from a position on, if it is held.
    pub(super) fn read(&self, from: Position, to: Position, len_bytes_max: usize) -> Option<Chunk> {
        let mut chunk = Chunk::default();
        let mut left = len_bytes_max;
        for unit in self.units.range(self.find(from)?..) {
            let first = unit.index(from);
            let limit = unit.index(to);
            let start = unit.start_of(first);
            let fits = |end: usize| unit.start_of(end) - start <= left;
            let mut last = limit;
            if !fits(limit) {
                // Between `first` (fits) and `limit` (does not).
                let (mut low, mut high) = (first, limit);
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    if fits(middle) {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                last = low.max(if chunk.runs.is_empty() {
                    first + 1
                } else {
                    first
                });
            }
            if last <= first {
                break;
            }
            left = left.saturating_sub(unit.start_of(last) - start);
            chunk.push(unit.run(first, last));
            if last < unit.offsets.len() {
                break;
            }
        }
        Some(chunk)
    }

    /// One record, if it is held.
    pub(super) fn record(&self, position: Position) -> Option<Run> {
        let unit = self.units.get(self.find(position)?)?;
        let index = unit.index(position);
        Some(unit.run(index, index + 1))
    }

    /// When the unit that holds a position was committed, in microseconds since 1970.
    pub(super) fn committed_us(&self, position: Position) -> Option<i64> {
        Some(self.units.get(self.find(position)?)?.committed_us)
    }
}
