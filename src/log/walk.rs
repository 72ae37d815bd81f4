//! Walking the units of a segment one after another, believing nothing: every checksum, the chain
//! from unit to unit, places, positions and padding are checked.

use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::FormatError;
use crate::format::checksum::{ChecksumList, checksum};
use crate::format::codec::to_u64;
use crate::format::footer::Mark;
use crate::format::record::Layout;
use crate::format::rewrite::RewrittenTrailer;
use crate::format::store::Identity;
use crate::format::unit::{HEADER_LEN, Place, Trailer, UnitHeader};
use crate::log::error::StorageError;
use crate::log::facts::{Facts, RecordEntry};
use crate::model::Position;

/// How much is read at once, in bytes.
pub(super) const READ_BYTES: usize = 1024 * 1024;

/// What the next unit must continue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) place: Place,
    pub(super) position: Position,
    pub(super) mark: Mark,
}

/// A unit in which everything is right.
pub(super) struct WalkedUnit<'a> {
    pub(super) header: UnitHeader,
    pub(super) mark: Mark,
    /// With padding.
    pub(super) len: u32,
    pub(super) bytes: &'a [u8],
    pub(super) records: Vec<RecordEntry>,
    pub(super) trailer: Trailer,
    /// The position behind the last event it ever had.
    pub(super) end: Position,
    /// Which of its events are left, if it was written again.
    kept: Option<RewrittenTrailer>,
}

impl<'a> WalkedUnit<'a> {
    /// A unit of which only some records are left: `bytes` is the room for a header and then the
    /// records, one behind the other.
    pub(super) fn of_records(
        header: UnitHeader,
        mark: Mark,
        (bytes, records): (&'a [u8], Vec<RecordEntry>),
        left: RewrittenTrailer,
    ) -> Self {
        let records_len = bytes.len().saturating_sub(HEADER_LEN);
        Self {
            header: UnitHeader {
                records_len: u32::try_from(records_len).unwrap_or(u32::MAX),
                ..header
            },
            mark,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            bytes,
            records,
            trailer: left.trailer.clone(),
            end: header.end_position(),
            kept: Some(left),
        }
    }
}

impl WalkedUnit<'_> {
    pub(super) fn records_bytes(&self) -> &[u8] {
        let len = usize::try_from(self.header.records_len).unwrap_or(usize::MAX);
        let end = HEADER_LEN.saturating_add(len);
        self.bytes.get(HEADER_LEN..end).unwrap_or_default()
    }

    /// What the unit behind this one must continue.
    pub(super) fn expected(&self) -> Expected {
        Expected {
            place: Place {
                offset: self.header.place.offset.saturating_add(self.len),
                ..self.header.place
            },
            position: self.end,
            mark: self.mark,
        }
    }

    /// The bytes of each record.
    pub(super) fn record_bytes(&self) -> impl Iterator<Item = &[u8]> {
        (0..to_u64(self.records.len())).map(|index| self.record_range(index, index + 1))
    }

    /// The bytes of the records from one index on, up to another.
    pub(super) fn record_range(&self, from: u64, to: u64) -> &[u8] {
        let start_of = |index: u64| {
            let record = usize::try_from(index)
                .ok()
                .and_then(|index| self.records.get(index));
            record.map_or(HEADER_LEN + self.records_bytes().len(), |record| {
                usize::try_from(record.offset).unwrap_or(usize::MAX)
            })
        };
        self.bytes
            .get(start_of(from)..start_of(to))
            .unwrap_or_default()
    }

    /// Where each record stands.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        let first = self.header.first_position;
        let left = self.kept.iter().flat_map(RewrittenTrailer::places);
        let all = match self.kept {
            None => 0..u64::from(self.header.records),
            Some(_) => 0..0,
        };
        all.chain(left).map(move |place| first.plus(place))
    }

    /// Adds the unit to what is known of its segment.
    pub(super) fn add_to(&self, facts: &mut Facts) {
        if self.kept.is_none() {
            facts.push_unit(&self.records, self.len, self.mark);
            return;
        }
        for (position, record) in self.positions().zip(&self.records) {
            fill(facts, position);
            facts.push_record(record);
        }
        fill(facts, self.end);
        facts.end_unit(self.len, self.mark);
    }
}

/// Says of all events in front of a position that nothing was said of that they were removed.
pub(super) fn fill(facts: &mut Facts, to: Position) {
    while facts.end() < to {
        facts.push_removed();
    }
}

/// Reads a file from front to back, a large piece at a time.
pub(super) struct Walker<'a> {
    identity: &'a Identity,
    file: Arc<dyn DiskFile>,
    name: Arc<str>,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Bytes behind this are not looked at.
    limit: u64,
    pub(super) read_bytes: u64,
    /// Whether the units are those of a segment that was written again: there may be gaps between
    /// their positions and in them.
    pub(super) rewritten: bool,
}

impl<'a> Walker<'a> {
    pub(super) fn new(
        identity: &'a Identity,
        file: Arc<dyn DiskFile>,
        name: Arc<str>,
        limit: u64,
    ) -> Self {
        Self {
            identity,
            file,
            name,
            buffer: Vec::new(),
            buffer_at: 0,
            limit,
            read_bytes: 0,
            rewritten: false,
        }
    }

    /// The bytes from a place on: as many as asked for, fewer at the end of the file.
    pub(super) fn window(&mut self, offset: u64, len: usize) -> Result<&[u8], StorageError> {
        let wide = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let there = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(there);
        let buffered = self.buffer_at..self.buffer_at + wide(self.buffer.len());
        if offset < buffered.start || offset + wide(len) > buffered.end {
            self.buffer.resize(len.max(READ_BYTES).min(there), 0);
            let filled = self.file.read_at(offset, &mut self.buffer);
            let filled = filled.map_err(|error| StorageError::io("read", &self.name, error))?;
            self.buffer.truncate(filled);
            self.buffer_at = offset;
            self.read_bytes += wide(filled);
        }
        let from = usize::try_from(offset - self.buffer_at).unwrap_or(usize::MAX);
        let rest = self.buffer.get(from..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }

    /// The unit at the expected place; the inner error says why there is none.
    pub(super) fn unit(
        &mut self,
        expected: &Expected,
    ) -> Result<Result<WalkedUnit<'_>, FormatError>, StorageError> {
        let identity = self.identity;
        let offset = u64::from(expected.place.offset);
        let rewritten = self.rewritten;
        let header = self.window(offset, HEADER_LEN)?;
        let (header, sum) = match check_header(header, expected, identity, rewritten) {
            Ok(checked) => checked,
            Err(error) => return Ok(Err(error)),
        };
        let align = u64::from(identity.unit_align);
        let padded = header.unpadded_len().next_multiple_of(align);
        let Ok(len) = u32::try_from(padded) else {
            return Ok(Err(FormatError::Invalid("a unit's length")));
        };
        let wanted = usize::try_from(len).unwrap_or(usize::MAX);
        let bytes = self.window(offset, wanted)?;
        if bytes.len() < wanted {
            return Ok(Err(FormatError::Truncated("a unit")));
        }
        let mark = Mark {
            checksum: sum,
            epoch: header.epoch,
            committed_us: header.committed_us,
        };
        Ok(
            check_body(bytes, &header, identity, rewritten).map(|body| WalkedUnit {
                header,
                mark,
                len,
                bytes,
                records: body.records,
                trailer: body.trailer,
                end: body.end,
                kept: body.kept,
            }),
        )
    }
}

/// Reads a header and checks that it continues what it must.
fn check_header(
    bytes: &[u8],
    expected: &Expected,
    identity: &Identity,
    rewritten: bool,
) -> Result<(UnitHeader, u32), FormatError> {
    let (header, sum) = UnitHeader::decode(bytes, &identity.unit_salt)?;
    let first = header.first_position;
    let continues = header.place == expected.place
        && (first == expected.position || rewritten && first > expected.position)
        && header.previous == expected.mark.checksum
        && header.epoch >= expected.mark.epoch
        && header.committed_us >= expected.mark.committed_us;
    match continues {
        true => Ok((header, sum)),
        false => Err(FormatError::Invalid("a unit's place in the chain")),
    }
}

/// What is behind a header.
struct Body {
    records: Vec<RecordEntry>,
    trailer: Trailer,
    end: Position,
    kept: Option<RewrittenTrailer>,
}

/// Checks the unit that takes all the bytes.
fn check_body(
    bytes: &[u8],
    header: &UnitHeader,
    identity: &Identity,
    rewritten: bool,
) -> Result<Body, FormatError> {
    let truncated = FormatError::Truncated("a unit");
    let size = |len: u32| usize::try_from(len).map_err(|_| truncated);
    let body = bytes.get(HEADER_LEN..).ok_or(truncated)?;
    let (mut rest, behind) = body
        .split_at_checked(size(header.records_len)?)
        .ok_or(truncated)?;
    let (trailer, padding) = behind
        .split_at_checked(size(header.trailer_len)?)
        .ok_or(truncated)?;
    // Not believed before the checksum is found right; but it says where the records stand.
    let mut kept = match rewritten {
        true => Some(RewrittenTrailer::decode(trailer, header.records)?),
        false => None,
    };
    let mut places = kept.iter().flat_map(RewrittenTrailer::places);
    let mut sums = ChecksumList::default();
    let mut records = Vec::new();
    let mut offset = HEADER_LEN;
    for index in 0..u64::from(header.records) {
        let place = places.next().unwrap_or(index);
        let position = header.first_position.plus(place);
        let layout = Layout::checked(rest, position, &identity.record_salt)?;
        sums.push(layout.header_checksum());
        records.push(RecordEntry {
            offset: u32::try_from(offset).map_err(|_| truncated)?,
            created_us: layout.created().micros(),
        });
        offset += layout.record_len();
        rest = rest.get(layout.record_len()..).ok_or(truncated)?;
    }
    drop(places);
    sums.push(checksum(trailer));
    if !rest.is_empty() || padding.iter().any(|byte| *byte != 0) {
        return Err(FormatError::Invalid("a unit's length"));
    }
    if sums.finish() != header.body_checksum {
        return Err(FormatError::Checksum("a unit's body"));
    }
    let (trailer, end) = match &mut kept {
        None => (Trailer::decode(trailer)?, header.end_position()),
        Some(kept) => {
            let end = header.first_position.plus(kept.positions());
            (kept.trailer.clone(), end)
        }
    };
    Ok(Body {
        records,
        trailer,
        end,
        kept,
    })
}
