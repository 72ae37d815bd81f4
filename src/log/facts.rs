//! What is known of the events of one segment: where each lies and when it was created. In memory
//! while the segment is written; written out as a checkpoint and, at last, as the footer.

use bytes::Bytes;

use crate::format::FormatError;
use crate::format::checksum::Salt;
use crate::format::footer::{
    CreatedRange, Digest, FIXED_LEN_BYTES, Footer, GROUP_EVENTS, Mark, OffsetPage, PAGE_EVENTS,
    PageEntry, RANGE_EVENTS, encode_page,
};
use crate::format::segment::HEADER_LEN_BYTES;
use crate::log::error::StorageError;
use crate::model::Position;

/// One record of a unit: where it begins in the unit, and its created time.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordEntry {
    pub(super) offset: u32,
    pub(super) created_us: i64,
}

/// A page of offsets, closed or still growing.
pub(super) enum Page {
    Closed(OffsetPage),
    Growing(Vec<u32>),
}

impl Page {
    pub(super) fn offset(&self, index: usize) -> Option<u32> {
        match self {
            Self::Closed(page) => page.offset(index),
            Self::Growing(offsets) => offsets.get(index).copied(),
        }
    }

    /// Appends offsets from an index on, up to the end of its group at least.
    pub(super) fn unpack(&self, index: usize, out: &mut Vec<u32>) -> bool {
        match self {
            Self::Closed(page) => page.unpack_group(index, out),
            Self::Growing(offsets) => {
                let group = offsets.get(index..).unwrap_or_default();
                out.extend(group.iter().take(GROUP_EVENTS));
                !group.is_empty()
            }
        }
    }
}

/// Where the events of a segment lie. Indexes count from the segment's first event.
pub(super) trait Offsets {
    fn events(&self) -> usize;
    /// Where the last unit ends.
    fn end_offset(&self) -> u32;
    /// Whether events were removed.
    fn has_holes(&self) -> bool;
    /// The offset of the first event from a page on that was not removed.
    fn page_first_offset(&self, page: usize) -> Option<u32>;
    fn page(&self, page: usize) -> Result<Page, StorageError>;
}

/// The facts of one segment.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) segment: u32,
    pub(super) first: Position,
    pub(super) events: u32,
    pub(super) end_offset: u32,
    pub(super) mark: Mark,
    pages: Vec<OffsetPage>,
    entries: Vec<PageEntry>,
    growing: Vec<u32>,
    created: Vec<CreatedRange>,
    has_holes: bool,
    salt: Salt,
}

impl Facts {
    /// A segment without units.
    pub(super) fn new(segment: u32, first: Position, mark: Mark, salt: Salt) -> Self {
        Self {
            segment,
            first,
            events: 0,
            end_offset: HEADER_LEN_BYTES,
            mark,
            pages: Vec::new(),
            entries: Vec::new(),
            growing: Vec::new(),
            created: Vec::new(),
            has_holes: false,
            salt,
        }
    }

    /// Adds a unit that begins where the last one ended.
    pub(super) fn push_unit(&mut self, records: &[RecordEntry], len: u32, mark: Mark) {
        for record in records {
            self.push_record(record);
        }
        self.end_unit(len, mark);
    }

    /// Adds a record of a unit that begins where the last one ended.
    pub(super) fn push_record(&mut self, record: &RecordEntry) {
        let range = CreatedRange {
            min_us: record.created_us,
            max_us: record.created_us,
        };
        self.push(self.end_offset + record.offset, range);
    }

    /// Adds an event that was removed.
    pub(super) fn push_removed(&mut self) {
        self.push(0, CreatedRange::EMPTY);
        self.has_holes = true;
    }

    /// Adds an event that cannot be read: whoever tries finds something else at this offset. It may
    /// have been created at any time.
    pub(super) fn push_damaged(&mut self, offset: u32) {
        self.push(offset, CreatedRange::ANY);
    }

    /// Ends the unit whose records were added.
    pub(super) fn end_unit(&mut self, len: u32, mark: Mark) {
        self.end_offset += len;
        self.mark = mark;
    }

    fn push(&mut self, offset: u32, created: CreatedRange) {
        if usize::try_from(self.events).is_ok_and(|events| events.is_multiple_of(RANGE_EVENTS)) {
            self.created.push(created);
        } else if let Some(last) = self.created.last_mut() {
            *last = last.with(created);
        }
        self.growing.push(offset);
        self.events += 1;
        if self.growing.len() == PAGE_EVENTS {
            self.close_page();
        }
    }

    fn close_page(&mut self) {
        let mut bytes = Vec::new();
        let number = self.pages.len();
        encode_page(&self.growing, self.segment, number, &self.salt, &mut bytes);
        let start = self.entries.last().map_or(0, |entry| entry.end);
        self.entries.push(PageEntry {
            end: start + u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            first_offset: first_present(&self.growing),
        });
        let count = self.growing.len();
        self.growing.clear();
        let page = OffsetPage::decode(bytes.into(), count, self.segment, number, &self.salt);
        self.pages.push(page.expect("a page that was just encoded"));
    }

    pub(super) fn end(&self) -> Position {
        self.first.plus(self.events.into())
    }

    pub(super) fn created(&self) -> &[CreatedRange] {
        &self.created
    }

    /// The footer, its pages in front, and what its fixed part and lists say.
    pub(super) fn footer(&self, digests: &ContentDigests) -> (Vec<u8>, Footer) {
        let mut bytes = Vec::new();
        for page in &self.pages {
            bytes.extend_from_slice(page.bytes());
        }
        let mut pages = self.entries.clone();
        if !self.growing.is_empty() {
            let number = self.pages.len();
            encode_page(&self.growing, self.segment, number, &self.salt, &mut bytes);
            pages.push(PageEntry {
                end: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                first_offset: first_present(&self.growing),
            });
        }
        // Where a page has no event left, the next one that is left counts.
        let mut next = self.end_offset;
        for page in pages.iter_mut().rev() {
            match page.first_offset {
                0 => page.first_offset = next,
                first => next = first,
            }
        }
        let footer = Footer {
            segment: self.segment,
            first_position: self.first,
            events: self.events,
            end_offset: self.end_offset,
            mark: self.mark,
            chain: digests.chain,
            pages,
            created: self.created.clone(),
            blocks: digests.blocks.clone(),
            leaves: digests.leaves.clone(),
        };
        footer.encode(&mut bytes);
        (bytes, footer)
    }

    /// The facts in a checkpoint's file.
    pub(super) fn from_checkpoint(file: &Bytes, salt: Salt) -> Result<Self, FormatError> {
        let truncated = FormatError::Truncated("a checkpoint");
        let fixed_at = (file.len().checked_sub(FIXED_LEN_BYTES)).ok_or(truncated)?;
        let tail_len = Footer::tail_len(file.get(fixed_at..).unwrap_or_default())?;
        let tail_at = file.len().checked_sub(tail_len).ok_or(truncated)?;
        let footer = Footer::decode(file.get(tail_at..).unwrap_or_default())?;
        let mut facts = Self::new(footer.segment, footer.first_position, footer.mark, salt);
        for number in 0..footer.pages.len() {
            let (count, range) = footer.page(number).ok_or(truncated)?;
            let range = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok());
            let (start, end) = range.filter(|(_, end)| *end <= tail_at).ok_or(truncated)?;
            let bytes = file.slice(start..end);
            let page = OffsetPage::decode(bytes, count, footer.segment, number, &salt)?;
            if count == PAGE_EVENTS {
                facts.pages.push(page);
            } else {
                while page.unpack_group(facts.growing.len(), &mut facts.growing) {}
            }
        }
        facts.entries = footer.pages;
        facts.entries.truncate(facts.pages.len());
        facts.events = footer.events;
        facts.end_offset = footer.end_offset;
        facts.created = footer.created;
        Ok(facts)
    }
}

/// The first offset of an event that was not removed; 0 if there is none.
fn first_present(offsets: &[u32]) -> u32 {
    let mut present = offsets.iter().filter(|offset| **offset > 0);
    present.next().copied().unwrap_or(0)
}

impl Offsets for Facts {
    fn events(&self) -> usize {
        usize::try_from(self.events).unwrap_or(usize::MAX)
    }

    fn end_offset(&self) -> u32 {
        self.end_offset
    }

    fn has_holes(&self) -> bool {
        self.has_holes
    }

    fn page_first_offset(&self, page: usize) -> Option<u32> {
        let closed = self.entries.get(page..)?;
        if closed.is_empty() && self.growing.is_empty() {
            return None;
        }
        // Where a page has no event left, the next one that is left counts.
        let firsts = closed.iter().map(|entry| entry.first_offset);
        let firsts = firsts.chain([first_present(&self.growing)]);
        let mut present = firsts.filter(|offset| *offset > 0);
        Some(present.next().unwrap_or(self.end_offset))
    }

    fn page(&self, page: usize) -> Result<Page, StorageError> {
        Ok(match self.pages.get(page) {
            Some(page) => Page::Closed(page.clone()),
            None => Page::Growing(self.growing.clone()),
        })
    }
}

/// The digests of what the events say, up to a place in the log.
#[derive(Clone, Debug, Default)]
pub(super) struct ContentDigests {
    pub(super) chain: Digest,
    pub(super) blocks: Vec<Digest>,
    pub(super) leaves: Vec<Digest>,
}
