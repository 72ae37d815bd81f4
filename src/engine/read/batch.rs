//! What a reader gets at once: stored records, cut to what is wanted and to a limit.

use crate::engine::ReadError;
use crate::format::FormatError;
use crate::format::record::Layout;
use crate::log::Run;
use crate::model::{Direction, Position, RecordedEvent};

/// How much a reader takes at once. At least one event always comes, however long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// The most events.
    pub events_max: usize,
    /// The most bytes of records; a single longer event comes alone.
    pub len_bytes_max: usize,
}

impl Default for BatchLimit {
    /// About one block of the log: 256 KiB, however many events.
    fn default() -> Self {
        Self {
            events_max: usize::MAX,
            len_bytes_max: 256 * 1024,
        }
    }
}

/// Events as they are stored, with positions that grow from run to run. A backward reader takes
/// them from the end; its next batch lies in front of this one.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Runs of adjacent records, ascending.
    pub runs: Vec<Run>,
    /// How far the reader has looked: forwards, everything in front of this position; backwards,
    /// everything from this position on.
    pub next: Position,
}

impl Batch {
    /// Whether there is no event in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many events there are.
    #[must_use]
    pub fn events_count(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.count)).sum()
    }

    /// How many bytes the records take.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.bytes.len()).sum()
    }

    /// Leaves out the events of streams that are not to be shown; what was looked at stays so.
    /// Returns how many were left out.
    ///
    /// # Errors
    /// The first of `shows`, or damage.
    pub fn retain_streams<E: From<ReadError>>(
        &mut self,
        mut shows: impl FnMut(&str) -> Result<bool, E>,
    ) -> Result<u64, E> {
        let mut hidden = 0;
        let mut shown = Vec::new();
        for run in std::mem::take(&mut self.runs) {
            // Adjacent records that are shown: the first, their number, where they begin and end.
            let (mut first, mut count, mut start, mut end) = (run.first, 0, 0, 0);
            let mut close = |first, count, bytes| {
                if count > 0 {
                    shown.push(Run {
                        first,
                        count,
                        bytes,
                    });
                }
            };
            for record in run.records() {
                let (position, layout, record) = record.map_err(ReadError::unreadable)?;
                // The records are verified: what is not UTF-8 was never a name.
                let stream = std::str::from_utf8(layout.stream(&record)).unwrap_or_default();
                let next = end + record.len();
                if shows(stream)? {
                    count += 1;
                } else {
                    close(first, count, run.bytes.slice(start..end));
                    (first, count, start) = (position.next(), 0, next);
                    hidden += 1;
                }
                end = next;
            }
            close(first, count, run.bytes.slice(start..end));
        }
        self.runs = shown;
        Ok(hidden)
    }

    /// The events, ascending. Their texts and bytes are shared with the batch.
    pub fn events(&self) -> impl Iterator<Item = Result<RecordedEvent, FormatError>> {
        self.runs.iter().flat_map(Run::events)
    }
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    events: usize,
    len_bytes: usize,
    any: bool,
}

impl Budget {
    pub(super) fn new(limit: BatchLimit) -> Self {
        Self {
            events: limit.events_max.max(1),
            len_bytes: limit.len_bytes_max,
            any: false,
        }
    }

    /// Whether nothing more can be taken.
    pub(super) fn is_spent(&self) -> bool {
        self.events == 0 || (self.any && self.len_bytes == 0)
    }

    /// How many more events may come.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// How many more bytes may come.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Takes so much, if there is so much.
    fn take(&mut self, events: usize, len_bytes: usize) -> bool {
        let first = !self.any && events == 1;
        if events > self.events || (len_bytes > self.len_bytes && !first) {
            return false;
        }
        self.events -= events;
        self.len_bytes = self.len_bytes.saturating_sub(len_bytes);
        self.any = true;
        true
    }
}

/// A record inside of a run.
struct Piece {
    position: Position,
    layout: Layout,
    start: usize,
    end: usize,
}

fn pieces(run: &Run) -> impl Iterator<Item = Result<Piece, FormatError>> + '_ {
    let mut start = 0;
    (0..u64::from(run.count)).map(move |index| {
        let truncated = FormatError::Truncated("a run of records");
        let record = run.bytes.get(start..).ok_or(truncated)?;
        let layout = Layout::parse(record)?;
        let end = start + layout.record_len();
        if end > run.bytes.len() {
            return Err(truncated);
        }
        let position = run.first.plus(index);
        let piece = Piece {
            position,
            layout,
            start,
            end,
        };
        start = end;
        Ok(piece)
    })
}

/// Which records are wanted; none stands for all of them, and spares the look.
pub(super) type Wants<'a> = Option<&'a dyn Fn(&Layout, &[u8]) -> Result<bool, ReadError>>;

/// Takes from some runs what is wanted, in the direction of the walk, as far as the budget goes.
/// What is taken goes to `out`, one run after another as the walk meets them. Returns where the
/// walk had to stop: in front of this position, in its direction; none if it saw everything.
pub(super) fn cut(
    runs: &[Run],
    direction: Direction,
    wants: Wants<'_>,
    budget: &mut Budget,
    out: &mut Vec<Run>,
) -> Result<Option<Position>, ReadError> {
    let mut walk = |run: &Run| -> Result<Option<Position>, ReadError> {
        let count = usize::try_from(run.count).unwrap_or(usize::MAX);
        if wants.is_none() && budget.take(count, run.bytes.len()) {
            out.push(run.clone());
            return Ok(None);
        }
        match direction {
            Direction::Forwards => cut_run(run, pieces(run), wants, budget, out),
            Direction::Backwards => {
                let all: Result<Vec<Piece>, _> = pieces(run).collect();
                let all = all.map_err(ReadError::unreadable)?;
                cut_run(run, all.into_iter().rev().map(Ok), wants, budget, out)
            }
        }
    };
    match direction {
        Direction::Forwards => runs.iter().find_map(|run| walk(run).transpose()),
        Direction::Backwards => runs.iter().rev().find_map(|run| walk(run).transpose()),
    }
    .transpose()
}

fn cut_run(
    run: &Run,
    pieces: impl Iterator<Item = Result<Piece, FormatError>>,
    wants: Wants<'_>,
    budget: &mut Budget,
    out: &mut Vec<Run>,
) -> Result<Option<Position>, ReadError> {
    // Adjacent wanted records: the first position, their number, and where they begin and end.
    let mut open: Option<(Position, u32, usize, usize)> = None;
    let mut stopped = None;
    let mut close = |open: Option<(Position, u32, usize, usize)>| {
        if let Some((first, count, start, end)) = open {
            let bytes = run.bytes.slice(start..end);
            out.push(Run {
                first,
                count,
                bytes,
            });
        }
    };
    for piece in pieces {
        let piece = piece.map_err(ReadError::unreadable)?;
        let record = run.bytes.get(piece.start..piece.end).unwrap_or_default();
        if let Some(wants) = wants
            && !wants(&piece.layout, record)?
        {
            close(open.take());
            continue;
        }
        if !budget.take(1, piece.end - piece.start) {
            stopped = Some(piece.position);
            break;
        }
        open = Some(match open {
            None => (piece.position, 1, piece.start, piece.end),
            Some((first, count, start, end)) => (
                first.min(piece.position),
                count + 1,
                start.min(piece.start),
                end.max(piece.end),
            ),
        });
    }
    close(open);
    Ok(stopped)
}
