//! A walk over the log as of one moment: everything, or the positions that the index plans.

use std::sync::Arc;

use crate::engine::ReadError;
use crate::engine::read::batch::{Batch, BatchLimit, Budget, Wants, cut};
use crate::engine::read::window::is_young;
use crate::engine::stats::Counters;
use crate::format::record::Layout;
use crate::index::Postings;
use crate::log::{Log, Run};
use crate::model::{Direction, EventFilter, FilterTarget, PatternTooCostly, Position, Revision};

/// The most positions that are read together.
const PLANNED_MAX: usize = 128;

/// After how many positions of a list that held nothing to be shown a batch ends without an event.
const LOOKED_MAX: usize = 8 * PLANNED_MAX;

/// What of the planned events is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sieve {
    /// The lowest revision; only for streams.
    pub(crate) first: Revision,
    /// Events of lower revisions than the second must be created at the first or later, in seconds
    /// since 1970; only for streams.
    pub(crate) created_min: Option<(i64, Revision)>,
    /// What the filter must choose.
    pub(crate) filter: Option<EventFilter>,
}

impl Sieve {
    fn looks_at_records(&self) -> bool {
        self.filter.is_some() || self.created_min.is_some()
    }

    fn shows(&self, layout: &Layout, record: &[u8]) -> Result<bool, ReadError> {
        let young = self.created_min.is_none_or(|(min_s, until)| {
            layout.revision() >= until || is_young(layout.created(), min_s)
        });
        match &self.filter {
            Some(filter) if young => Ok(chooses(filter, layout, record)?),
            _ => Ok(young),
        }
    }
}

/// Whether a filter chooses a record.
pub(crate) fn chooses(
    filter: &EventFilter,
    layout: &Layout,
    record: &[u8],
) -> Result<bool, PatternTooCostly> {
    // The records are verified: what is not UTF-8 was never a name.
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    match filter.target() {
        FilterTarget::Stream => filter.matches(text(layout.stream(record)), ""),
        FilterTarget::EventType => filter.matches("", text(layout.event_type(record))),
    }
}

/// Where the events of a walk come from.
#[derive(Debug)]
pub(super) enum Path {
    /// All events; forwards from the first position to the second, backwards from in front of the
    /// second to the first.
    Log(Position, Position),
    /// The events of a list, and positions that were planned and not read yet, in walk order.
    List(Box<Postings>, Vec<(u64, Position)>),
    /// No events, or no more.
    Done,
}

/// A walk that keeps what it needs: the events that were committed when it began, no others.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(super) log: Log,
    pub(super) counters: Arc<Counters>,
    pub(super) direction: Direction,
    pub(super) sieve: Sieve,
    pub(super) path: Path,
    /// Where the walk ends; then everything was looked at.
    pub(super) end: Position,
    /// What the walk met behind the events that it gave last: it goes no further.
    pub(super) failed: Option<ReadError>,
}

/// What was taken of a list at once.
struct Taken {
    /// The last event that was looked at.
    last: Option<Position>,
    count: usize,
    /// Whether the limit allows no more.
    is_full: bool,
}

impl Cursor {
    /// The position in front of which a forward walk will have looked at everything.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// The next events within the limit; none at the end. A batch can be empty where a filter chose
    /// nothing, or everything was too old: it tells how far the walk has come.
    /// What is sound in front of what is damaged comes in front of the error.
    pub(crate) fn next_batch(&mut self, limit: BatchLimit) -> Result<Option<Batch>, ReadError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.path {
            Path::Log(from, to) => self.next_of_log(from, to, limit),
            Path::List(..) => self.next_of_list(limit),
            Path::Done => Ok(None),
        }
    }

    fn next_of_log(
        &mut self,
        from: Position,
        to: Position,
        limit: BatchLimit,
    ) -> Result<Option<Batch>, ReadError> {
        let forwards = self.direction == Direction::Forwards;
        // With a filter, what is read is not yet what is taken.
        let limit_read = match self.sieve.looks_at_records() {
            true => BatchLimit::default(),
            false => limit,
        };
        let chunk = match forwards {
            _ if from >= to => return self.done(),
            true => self.log.read(from, to, limit_read.len_bytes_max)?,
            false => {
                let BatchLimit {
                    events_max,
                    len_bytes_max,
                } = limit_read;
                self.log.read_back(to, events_max.max(1), len_bytes_max)?
            }
        };
        let (Some(first), Some(last)) = (chunk.runs.first(), chunk.runs.last()) else {
            return self.done();
        };
        let seen = if forwards { last.end() } else { first.first };
        let mut budget = Budget::new(limit);
        let mut runs = Vec::with_capacity(chunk.runs.len());
        let stopped = self.cut(&chunk.runs, &mut budget, &mut runs)?;
        let next = match stopped {
            None => seen,
            Some(position) if forwards => position,
            Some(position) => position.next(),
        };
        self.path = match forwards {
            true => Path::Log(next, to),
            false => Path::Log(from, next),
        };
        Ok(Some(self.batch(runs, next)))
    }

    fn next_of_list(&mut self, limit: BatchLimit) -> Result<Option<Batch>, ReadError> {
        let mut budget = Budget::new(limit);
        let mut runs = Vec::new();
        let mut next = None;
        let mut looked = 0;
        while !budget.is_spent() && (looked < LOOKED_MAX || !runs.is_empty()) {
            let taken = match self.take_planned(&mut budget, &mut runs) {
                Ok(Some(taken)) => taken,
                Ok(None) => {
                    self.path = Path::Done;
                    break;
                }
                Err(error) => {
                    self.failed = Some(error.clone());
                    if next.is_none() {
                        return Err(error);
                    }
                    break;
                }
            };
            next = taken.last.or(next);
            looked += taken.count;
            if taken.is_full {
                break;
            }
        }
        let next = match (next, self.direction) {
            (None, _) => return Ok(None),
            (Some(_), Direction::Forwards) if matches!(self.path, Path::Done) => self.end,
            (Some(last), Direction::Forwards) => last.next(),
            (Some(last), Direction::Backwards) => last,
        };
        Ok(Some(self.batch(runs, next)))
    }

    /// Takes the events that are planned next; none at the end of the list.
    fn take_planned(
        &mut self,
        budget: &mut Budget,
        runs: &mut Vec<Run>,
    ) -> Result<Option<Taken>, ReadError> {
        let mut planned = self.plan(budget)?;
        if planned.is_empty() {
            return Ok(None);
        }
        let positions: Vec<Position> = planned.iter().map(|(_, at)| *at).collect();
        let (chunk, count) = self.log.read_within(&positions, budget.len_bytes())?;
        let unread = planned.split_off(count);
        let is_cut_short = !unread.is_empty();
        self.keep(unread);
        let before = runs.len();
        let cut = self.cut(&chunk.runs, budget, runs);
        if cut.is_err() {
            runs.truncate(before);
        }
        let stopped = cut?;
        if let Some(position) = stopped {
            let taken = planned.iter().take_while(|(_, at)| *at != position).count();
            let untaken = planned.split_off(taken);
            self.keep(untaken);
        }
        Ok(Some(Taken {
            last: planned.last().map(|(_, at)| *at),
            count: planned.len(),
            is_full: is_cut_short || stopped.is_some(),
        }))
    }

    /// Positions to read next, in walk order; none at the end of the list.
    fn plan(&mut self, budget: &Budget) -> Result<Vec<(u64, Position)>, ReadError> {
        let count = PLANNED_MAX.min(budget.events());
        let (first, end) = (self.sieve.first.0, self.end);
        let forwards = self.direction == Direction::Forwards;
        let Path::List(postings, kept) = &mut self.path else {
            return Ok(Vec::new());
        };
        let mut planned = std::mem::take(kept);
        while planned.is_empty() {
            planned = postings.next_chunk(count)?;
            if planned.is_empty() {
                break;
            }
            let fetched = planned.len();
            let is_beyond = forwards && planned.last().is_some_and(|(_, at)| *at >= end);
            planned.retain(|(ordinal, at)| *ordinal >= first && *at < end);
            // Everything that is still to come lies behind the end, or backwards, lower.
            if is_beyond || (planned.len() < fetched && !forwards) {
                break;
            }
        }
        if planned.len() > count {
            *kept = planned.split_off(count);
        }
        Ok(planned)
    }

    /// Keeps what was planned and not taken for the next time.
    fn keep(&mut self, mut rest: Vec<(u64, Position)>) {
        if let Path::List(_, kept) = &mut self.path {
            rest.append(kept);
            *kept = rest;
        }
    }

    fn cut(
        &self,
        runs: &[Run],
        budget: &mut Budget,
        out: &mut Vec<Run>,
    ) -> Result<Option<Position>, ReadError> {
        let shows = |layout: &Layout, record: &[u8]| self.sieve.shows(layout, record);
        let wants: Wants<'_> = match self.sieve.looks_at_records() {
            true => Some(&shows),
            false => None,
        };
        cut(runs, self.direction, wants, budget, out)
    }

    fn batch(&self, mut runs: Vec<Run>, next: Position) -> Batch {
        if self.direction == Direction::Backwards {
            runs.reverse();
        }
        let batch = Batch { runs, next };
        self.counters.read(batch.events_count(), batch.len_bytes());
        batch
    }

    fn done(&mut self) -> Result<Option<Batch>, ReadError> {
        self.path = Path::Done;
        Ok(None)
    }
}
