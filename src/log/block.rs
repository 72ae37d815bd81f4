//! Blocks: adjacent records of a segment, mostly those that begin within one stretch of 256 KiB.
//! They are read by one call, checked once, and shared. Where one of them is damaged, the others
//! are good all the same.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::DiskFile;
use crate::format::FormatError;
use crate::format::checksum::Salt;
use crate::format::codec::to_u64;
use crate::format::footer::PAGE_EVENTS;
use crate::format::record::{HEADER_LEN_BYTES_MAX, Layout};
use crate::log::chunk::{Chunk, Run};
use crate::log::error::StorageError;
use crate::log::facts::Offsets;
use crate::model::Position;

/// The stretch whose records are read together, in bytes.
pub(super) const BLOCK_BYTES: u32 = 256 * 1024;

/// Which bytes to read, and which records begin in them.
pub(super) struct BlockPlan {
    name: Arc<str>,
    file: Arc<dyn DiskFile>,
    first: Position,
    /// Offsets in the segment; 0 where the event was removed.
    offsets: Vec<u32>,
    /// The last record begins in front of this.
    boundary: u32,
    /// The last record ends at or before this.
    limit: u32,
}

/// Where one record is.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

/// Verified records.
#[derive(Debug, Default)]
pub(super) struct Block {
    first: Position,
    spans: Vec<Span>,
    bytes: Bytes,
    /// Those that are none, ascending.
    damaged: Vec<(Position, StorageError)>,
}

/// The offset of an event, and the offset behind which it cannot reach.
pub(super) fn offset_and_limit(
    offsets: &dyn Offsets,
    index: usize,
) -> Result<Option<(u32, u32)>, StorageError> {
    let page = offsets.page(index / PAGE_EVENTS)?;
    let at = index % PAGE_EVENTS;
    let Some(offset) = page.offset(at) else {
        return Ok(None);
    };
    // The next event that was not removed.
    let behind = (at + 1..PAGE_EVENTS).map_while(|at| page.offset(at));
    let mut present = behind.filter(|offset| *offset > 0);
    let limit = match present.next() {
        Some(next) => Some(next),
        None => offsets.page_first_offset(index / PAGE_EVENTS + 1),
    };
    Ok(Some((offset, limit.unwrap_or(offsets.end_offset()))))
}

/// The first event at or behind an offset.
fn first_from(offsets: &dyn Offsets, offset: u32) -> Result<usize, StorageError> {
    let pages = offsets.events().div_ceil(PAGE_EVENTS);
    let before = |page: usize| {
        let first = offsets.page_first_offset(page);
        first.is_some_and(|first| first < offset)
    };
    let behind = partition_point(pages, before);
    let Some(page) = behind.checked_sub(1) else {
        return Ok(0);
    };
    let count = (offsets.events() - page * PAGE_EVENTS).min(PAGE_EVENTS);
    let content = offsets.page(page)?;
    if offsets.has_holes() {
        let mut all = Vec::with_capacity(count);
        while content.unpack(all.len(), &mut all) {}
        let index = all.iter().position(|at| *at >= offset);
        return Ok(page * PAGE_EVENTS + index.unwrap_or(count));
    }
    let before = |index: usize| content.offset(index).is_some_and(|at| at < offset);
    Ok(page * PAGE_EVENTS + partition_point(count, before))
}

/// The first number below `count` for which `before` is false.
fn partition_point(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The first event from an index on that was not removed.
pub(super) fn first_present(
    offsets: &dyn Offsets,
    index: usize,
) -> Result<Option<usize>, StorageError> {
    let mut at = index;
    while at < offsets.events() {
        let number = at / PAGE_EVENTS;
        let first = offsets.page_first_offset(number);
        let behind = offsets.page_first_offset(number + 1);
        let next = (number + 1) * PAGE_EVENTS;
        // Equal ones: nothing is left in the page.
        if first == behind.or(Some(offsets.end_offset())) {
            at = next;
            continue;
        }
        let page = offsets.page(number)?;
        let start = number * PAGE_EVENTS;
        let mut range = at..next.min(offsets.events());
        let found = range.find(|at| page.offset(at - start).is_some_and(|at| at > 0));
        if found.is_some() {
            return Ok(found);
        }
        at = next;
    }
    Ok(None)
}

/// The last event in front of an index that was not removed.
pub(super) fn last_present(
    offsets: &dyn Offsets,
    index: usize,
) -> Result<Option<usize>, StorageError> {
    let mut end = index.min(offsets.events());
    while let Some(last) = end.checked_sub(1) {
        let number = last / PAGE_EVENTS;
        let start = number * PAGE_EVENTS;
        let page = offsets.page(number)?;
        let mut range = (start..end).rev();
        let found = range.find(|at| page.offset(at - start).is_some_and(|at| at > 0));
        if found.is_some() {
            return Ok(found);
        }
        end = start;
    }
    Ok(None)
}

/// The offsets of a range of events, up to the first that begins at the boundary or behind it, and
/// the offset behind which the last of them cannot reach.
fn planned(
    offsets: &dyn Offsets,
    range: Range<usize>,
    boundary: u32,
) -> Result<(Vec<u32>, u32), StorageError> {
    let mut planned = Vec::with_capacity(range.len().min(1024));
    let mut page_number = range.start / PAGE_EVENTS;
    let mut page = offsets.page(page_number)?;
    loop {
        let next = range.start + planned.len();
        if next >= offsets.events() {
            planned.truncate(range.len());
            return Ok((planned, offsets.end_offset()));
        }
        if next / PAGE_EVENTS != page_number {
            page_number = next / PAGE_EVENTS;
            page = offsets.page(page_number)?;
        }
        let from = planned.len();
        if !page.unpack(next % PAGE_EVENTS, &mut planned) {
            return Ok((planned, offsets.end_offset()));
        }
        let group = (from..).zip(planned.get(from..).unwrap_or_default());
        let mut behind = group.filter(|(at, offset)| **offset >= boundary || *at >= range.len());
        // Where an event was removed it has no offset: the next one that is there tells.
        if let Some((at, &limit)) = behind.find(|(_, offset)| **offset > 0) {
            planned.truncate(at.min(range.len()));
            return Ok((planned, limit));
        }
    }
}

impl BlockPlan {
    /// Plans the stretch of this number.
    pub(super) fn new(
        offsets: &dyn Offsets,
        number: u32,
        (name, file): (&Arc<str>, &Arc<dyn DiskFile>),
        segment_first: Position,
    ) -> Result<Self, StorageError> {
        let first = first_from(offsets, number * BLOCK_BYTES)?;
        let boundary = (number + 1).saturating_mul(BLOCK_BYTES);
        let (mut planned, limit) = planned(offsets, first..offsets.events(), boundary)?;
        // What was removed behind the last event is nobody's.
        while planned.last() == Some(&0) {
            planned.pop();
        }
        Ok(Self {
            name: Arc::clone(name),
            file: Arc::clone(file),
            first: segment_first.plus(to_u64(first)),
            offsets: planned,
            boundary,
            limit,
        })
    }

    /// Plans these events of a segment from which nothing was removed: as many as end in front of
    /// `end`, at least one.
    pub(super) fn of_range(
        offsets: &dyn Offsets,
        range: Range<usize>,
        end: u32,
        (name, file): (&Arc<str>, &Arc<dyn DiskFile>),
        segment_first: Position,
    ) -> Result<Self, StorageError> {
        let first = segment_first.plus(to_u64(range.start));
        let range = range.start..range.end.min(offsets.events());
        let (mut planned, mut limit) = planned(offsets, range, end)?;
        if limit > end
            && planned.len() > 1
            && let Some(last) = planned.pop()
        {
            limit = last;
        }
        Ok(Self {
            name: Arc::clone(name),
            file: Arc::clone(file),
            first,
            offsets: planned,
            boundary: limit,
            limit,
        })
    }

    /// How many bytes there are from the first record to the end of the last, or to what follows.
    pub(super) fn len_bytes(&self) -> usize {
        let start = self.offsets.first().copied().unwrap_or(self.limit);
        usize::try_from(self.limit.saturating_sub(start)).unwrap_or(usize::MAX)
    }

    /// Reads and checks the block.
    pub(super) fn read(&self, salt: &Salt) -> Result<Block, StorageError> {
        let size = |len: u32| usize::try_from(len).unwrap_or(usize::MAX);
        let present = self.offsets.iter().filter(|offset| **offset > 0);
        let start = present.clone().next().copied().unwrap_or(self.limit);
        let last = present.clone().next_back().copied().unwrap_or(self.limit);
        let header_len = u32::try_from(HEADER_LEN_BYTES_MAX).unwrap_or(u32::MAX);
        let end = self
            .boundary
            .max(last.saturating_add(header_len))
            .min(self.limit);
        let mut bytes = vec![0; size(end.saturating_sub(start))];
        self.read_at(start, &mut bytes)?;
        let read = bytes.len();
        let end = self.last_end(bytes.get(size(last - start)..).unwrap_or_default(), salt);
        let end = end.map_or(0, |len| size(last - start) + len);
        if end > read && end <= size(self.limit - start) {
            bytes.resize(end, 0);
            let at = start + u32::try_from(read).unwrap_or(u32::MAX);
            self.read_at(at, bytes.get_mut(read..).unwrap_or_default())?;
        }
        let (spans, damaged) = self.check(start, &bytes, salt);
        Ok(Block {
            first: self.first,
            spans,
            bytes: bytes.into(),
            damaged,
        })
    }

    /// How long the last record is, if its header can be believed.
    fn last_end(&self, bytes: &[u8], salt: &Salt) -> Option<usize> {
        let layout = Layout::parse(bytes).ok()?;
        let position = self.position(self.offsets.len().checked_sub(1)?);
        layout.check_header(bytes, position, salt).ok()?;
        Some(layout.record_len())
    }

    fn position(&self, index: usize) -> Position {
        self.first.plus(u64::try_from(index).unwrap_or(u64::MAX))
    }

    /// Reads what there is: whatever is missing at the end of the file no checksum takes for data.
    fn read_at(&self, offset: u32, bytes: &mut [u8]) -> Result<(), StorageError> {
        let read = self.file.read_at(offset.into(), bytes);
        read.map(drop)
            .map_err(|error| StorageError::io("read", &self.name, error))
    }

    /// Where the records are, and which of them are damaged.
    fn check(
        &self,
        start: u32,
        bytes: &[u8],
        salt: &Salt,
    ) -> (Vec<Span>, Vec<(Position, StorageError)>) {
        let mut damaged = Vec::new();
        let mut spans = Vec::with_capacity(self.offsets.len());
        for (position, offset) in (self.first.0..).map(Position).zip(&self.offsets) {
            let Some(from) = offset.checked_sub(start) else {
                spans.push(Span { start: 0, len: 0 });
                continue;
            };
            let record = usize::try_from(from)
                .ok()
                .and_then(|from| bytes.get(from..));
            match check_record(record.unwrap_or_default(), position, salt) {
                Ok(len) => spans.push(Span { start: from, len }),
                Err(error) => {
                    let error = StorageError::damaged(&self.name, (*offset).into(), error);
                    damaged.push((position, error));
                    spans.push(Span { start: 0, len: 0 });
                }
            }
        }
        (spans, damaged)
    }
}

/// Checks both checksums of the record at the start of the bytes, and gives its length in bytes.
pub(super) fn check_record(
    bytes: &[u8],
    position: Position,
    salt: &Salt,
) -> Result<u32, FormatError> {
    let layout = Layout::checked(bytes, position, salt)?;
    u32::try_from(layout.record_len()).map_err(|_| FormatError::Invalid("a record's length"))
}

impl Block {
    pub(super) fn end(&self) -> Position {
        self.first
            .plus(u64::try_from(self.spans.len()).unwrap_or(u64::MAX))
    }

    /// How much memory it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }

    /// The records from `from` to `to`, as many as fit, at least one; up to the first that is
    /// damaged.
    ///
    /// # Errors
    /// That the first of them is damaged.
    pub(super) fn chunk(
        &self,
        from: Position,
        to: Position,
        len_bytes_max: usize,
    ) -> Result<Chunk, StorageError> {
        let behind = self.damaged.partition_point(|(at, _)| *at < from);
        let to = match self.damaged.get(behind) {
            Some((at, error)) if *at == from => return Err(error.clone()),
            Some((at, _)) => to.min(*at),
            None => to,
        };
        let mut left = len_bytes_max;
        let mut count = 0usize;
        for span in self.between(from, to) {
            let len = usize::try_from(span.len).unwrap_or(usize::MAX);
            if len > left && count > 0 {
                break;
            }
            left = left.saturating_sub(len);
            count += 1;
        }
        Ok(self.runs(from, count))
    }

    /// The records directly in front of `before`, as many as fit, at least one; from behind the
    /// last that is damaged.
    ///
    /// # Errors
    /// That the last of them is damaged.
    pub(super) fn chunk_back(
        &self,
        before: Position,
        events_max: usize,
        len_bytes_max: usize,
    ) -> Result<Chunk, StorageError> {
        let behind = self.damaged.partition_point(|(at, _)| *at < before);
        let from = match behind
            .checked_sub(1)
            .and_then(|last| self.damaged.get(last))
        {
            Some((at, error)) if at.next() == before => return Err(error.clone()),
            Some((at, _)) => at.next(),
            None => self.first,
        };
        let mut left = len_bytes_max;
        let mut count = 0usize;
        for span in self.between(from, before).iter().rev() {
            let len = usize::try_from(span.len).unwrap_or(usize::MAX);
            if count > 0 && (len > left || count >= events_max) {
                break;
            }
            left = left.saturating_sub(len);
            count += 1;
        }
        let back = u64::try_from(count).unwrap_or(u64::MAX);
        Ok(self.runs(Position(before.0.saturating_sub(back)), count))
    }

    fn between(&self, from: Position, to: Position) -> &[Span] {
        let index = |position: Position| {
            let index = position.0.saturating_sub(self.first.0);
            usize::try_from(index).map_or(self.spans.len(), |index| index.min(self.spans.len()))
        };
        self.spans.get(index(from)..index(to)).unwrap_or_default()
    }

    fn runs(&self, from: Position, count: usize) -> Chunk {
        let to = from.plus(u64::try_from(count).unwrap_or(u64::MAX));
        let mut chunk = Chunk::default();
        let mut open: Option<(Position, Span, u32)> = None;
        for (position, span) in (from.0..).map(Position).zip(self.between(from, to)) {
            open = match open {
                Some((first, run, count)) if run.start + run.len == span.start && span.len > 0 => {
                    let run = Span {
                        len: run.len + span.len,
                        ..run
                    };
                    Some((first, run, count + 1))
                }
                other => {
                    self.close(other, &mut chunk);
                    (span.len > 0).then_some((position, *span, 1))
                }
            };
        }
        self.close(open, &mut chunk);
        chunk
    }

    fn close(&self, run: Option<(Position, Span, u32)>, chunk: &mut Chunk) {
        if let Some((first, span, count)) = run {
            let start = usize::try_from(span.start).unwrap_or(usize::MAX);
            let len = usize::try_from(span.len).unwrap_or(0);
            let bytes = self.bytes.slice(start..start + len);
            chunk.push(Run {
                first,
                count,
                bytes,
            });
        }
    }
}

#[cfg(test)]
mod tests;
