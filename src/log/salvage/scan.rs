//! What of a segment is sound, whatever happened to its file: whole units, single records of units
//! that are not whole, and where there is nothing.
//!
//! Nothing is believed that has no checksum of its own: a unit whose chain to the one before is
//! broken counts only if its header, its records and its body are right by themselves, and their
//! positions, epoch and time go on from those before.

use std::sync::Arc;

use crate::format::FormatError;
use crate::format::checksum::{ChecksumList, Salt, checksum};
use crate::format::footer::Mark;
use crate::format::record::Layout;
use crate::format::store::Identity;
use crate::format::unit::{HEADER_LEN, Place, Trailer, UnitHeader};
use crate::log::error::StorageError;
use crate::log::facts::RecordEntry;
use crate::log::segment::Spare;
use crate::log::walk::{Expected, READ_BYTES, WalkedUnit, Walker};
use crate::model::Position;

/// A part of a segment, in the order of positions.
pub(super) enum Piece<'a> {
    /// A whole unit.
    Whole(&'a WalkedUnit<'a>),
    /// A unit with a whole header, and what of it is sound.
    Half(&'a HalfUnit),
    /// A stretch in which nothing is.
    Gap(Gap),
}

/// A stretch without a sound header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// Where it begins.
    pub(super) offset: u32,
    /// Where the next thing begins.
    pub(super) end_offset: u32,
    /// The events that were in it.
    pub(super) first: Position,
    pub(super) end: Position,
    /// The last unit in front of it.
    pub(super) mark: Mark,
    /// Why there is nothing.
    pub(super) why: FormatError,
}

/// A record that is whole.
#[derive(Clone)]
pub(super) struct SoundRecord {
    pub(super) position: Position,
    pub(super) entry: RecordEntry,
    pub(super) bytes: Vec<u8>,
}

/// A unit with a whole header and a body that is not.
#[derive(Clone)]
pub(super) struct HalfUnit {
    pub(super) header: UnitHeader,
    pub(super) mark: Mark,
    /// Where the next thing begins.
    pub(super) end_offset: u32,
    pub(super) records: Vec<SoundRecord>,
    /// Ranges of events that are known to have been removed before, in order.
    removed: Vec<(Position, Position)>,
    /// The streams of records of which only the payload is damaged.
    pub(super) streams: Vec<String>,
    /// What stands behind the records, if that is whole.
    pub(super) trailer: Option<Trailer>,
    pub(super) why: FormatError,
}

/// What is looked at.
pub(super) struct Looked<'a> {
    pub(super) identity: &'a Identity,
    pub(super) spare: &'a Spare,
    /// Units end here at the latest.
    pub(super) limit: u32,
    pub(super) rewritten: bool,
    /// The position up to which there must be events; behind it, what is not whole was never
    /// acknowledged.
    pub(super) known_end: Position,
}

impl Looked<'_> {
    fn walker(&self) -> Walker<'_> {
        let spare = self.spare;
        let (file, name) = (Arc::clone(&spare.file), Arc::clone(&spare.name));
        let mut walker = Walker::new(self.identity, file, name, self.limit.into());
        walker.rewritten = self.rewritten;
        walker
    }

    /// Shows everything from a place on; gives what comes next.
    pub(super) fn scan(
        &self,
        start: Expected,
        visit: &mut dyn FnMut(Piece<'_>) -> Result<(), StorageError>,
    ) -> Result<Expected, StorageError> {
        let mut walker = self.walker();
        let mut expected = start;
        loop {
            let why = match walker.unit(&expected)? {
                Ok(unit) => {
                    visit(Piece::Whole(&unit))?;
                    expected = unit.expected();
                    continue;
                }
                Err(why) => why,
            };
            let (halves, next) = self.look_on(&mut walker, &expected)?;
            let mut at = expected;
            let acknowledged = |first: Position| next.is_some() || first < self.known_end;
            let halves = halves.iter();
            for half in halves.take_while(|half| acknowledged(half.header.first_position)) {
                let header = &half.header;
                gap(
                    &mut at,
                    header.place.offset,
                    header.first_position,
                    why,
                    visit,
                )?;
                visit(Piece::Half(half))?;
                at.place.offset = half.end_offset;
                at.position = header.end_position().max(at.position);
                at.mark = half.mark;
            }
            let Some(next) = next else {
                // What went behind the last unit of a segment that was written again is no loss.
                let removed = self.rewritten && at.place.offset >= self.limit;
                if at.position < self.known_end && !removed {
                    let end = self.limit.max(at.place.offset);
                    gap(&mut at, end, self.known_end, why, visit)?;
                }
                return Ok(at);
            };
            gap(&mut at, next.place.offset, next.position, why, visit)?;
            expected = next;
        }
    }

    /// Where the first unit with a whole header begins; the start of the log if there is none.
    pub(super) fn first_position(&self, from: &Expected) -> Result<Position, StorageError> {
        let found = self.next_header(&mut self.walker(), from)?;
        Ok(found.map_or(Position::START, |(header, _)| header.first_position))
    }

    /// Units with a whole header in front of the next whole unit, and what that one continues.
    fn look_on(
        &self,
        walker: &mut Walker<'_>,
        from: &Expected,
    ) -> Result<(Vec<HalfUnit>, Option<Expected>), StorageError> {
        let mut halves = Vec::<HalfUnit>::new();
        let mut at = *from;
        while let Some((header, mark)) = self.next_header(walker, &at)? {
            let candidate = Expected {
                place: header.place,
                position: header.first_position,
                mark: Mark {
                    checksum: header.previous,
                    ..at.mark
                },
            };
            let Err(why) = walker.unit(&candidate)? else {
                return Ok((halves, Some(candidate)));
            };
            let half = self.half_unit(walker, header, mark, why)?;
            at.place.offset = half.end_offset;
            at.mark = mark;
            // Which events one had that was written again, its trailer said.
            at.position = header.first_position;
            if !self.rewritten {
                at.position = header.end_position();
                halves.push(half);
            }
        }
        Ok((halves, None))
    }

    /// The next place with a header that is whole and may stand there.
    fn next_header(
        &self,
        walker: &mut Walker<'_>,
        from: &Expected,
    ) -> Result<Option<(UnitHeader, Mark)>, StorageError> {
        let align = usize::try_from(self.identity.unit_align).unwrap_or(HEADER_LEN);
        let mut offset = from.place.offset.next_multiple_of(self.identity.unit_align);
        while offset < self.limit {
            let window = walker.window(offset.into(), READ_BYTES)?;
            let count = window.len().saturating_sub(HEADER_LEN);
            for at in (0..=count).step_by(align) {
                let bytes = window.get(at..).unwrap_or_default();
                let Ok((header, sum)) = UnitHeader::decode(bytes, &self.identity.unit_salt) else {
                    continue;
                };
                let place = Place {
                    segment: from.place.segment,
                    offset: offset + short(at),
                };
                let goes_on = header.place == place
                    && header.first_position >= from.position
                    && header.epoch >= from.mark.epoch
                    && header.committed_us >= from.mark.committed_us;
                if goes_on {
                    let mark = Mark {
                        checksum: sum,
                        epoch: header.epoch,
                        committed_us: header.committed_us,
                    };
                    return Ok(Some((header, mark)));
                }
            }
            if window.len() < READ_BYTES {
                break;
            }
            // Windows overlap, so that no header is cut in two.
            offset = offset.saturating_add(short((count / align + 1) * align));
        }
        Ok(None)
    }

    /// What is sound of a unit whose body is not whole.
    fn half_unit(
        &self,
        walker: &mut Walker<'_>,
        header: UnitHeader,
        mark: Mark,
        why: FormatError,
    ) -> Result<HalfUnit, StorageError> {
        let align = u64::from(self.identity.unit_align);
        let len = header.unpadded_len().next_multiple_of(align);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let mut half = HalfUnit {
            header,
            mark,
            end_offset: header.place.offset.saturating_add(short(len)),
            records: Vec::new(),
            removed: Vec::new(),
            streams: Vec::new(),
            trailer: None,
            why,
        };
        let bytes = walker.window(header.place.offset.into(), len)?;
        half.gather(bytes, self.identity);
        half.end_offset = half.end_offset.min(self.limit);
        Ok(half)
    }
}

impl HalfUnit {
    /// A stretch without a header, as a unit of which nothing is sound yet.
    pub(super) fn of_gap(gap: &Gap, segment: u32) -> Self {
        let events = gap.end.0.saturating_sub(gap.first.0);
        Self {
            header: UnitHeader {
                place: Place {
                    segment,
                    offset: gap.offset,
                },
                first_position: gap.first,
                committed_us: gap.mark.committed_us,
                epoch: gap.mark.epoch,
                previous: gap.mark.checksum,
                records: u32::try_from(events).unwrap_or(u32::MAX),
                records_len: gap.end_offset.saturating_sub(gap.offset),
                trailer_len: 0,
                body_checksum: 0,
            },
            mark: gap.mark,
            end_offset: gap.end_offset,
            records: Vec::new(),
            removed: Vec::new(),
            streams: Vec::new(),
            trailer: None,
            why: gap.why,
        }
    }

    /// Adds a record of those that are lost, which stands somewhere in the unit, if it is whole.
    pub(super) fn add(&mut self, position: Position, offset: u32, bytes: Vec<u8>, salt: &Salt) {
        let behind = self.records.partition_point(|it| it.position < position);
        let Ok(layout) = Layout::checked(&bytes, position, salt) else {
            return;
        };
        let record = SoundRecord {
            position,
            entry: RecordEntry {
                offset: offset.saturating_sub(self.header.place.offset),
                created_us: layout.created().micros(),
            },
            bytes,
        };
        self.records.insert(behind, record);
    }

    /// Goes from record to record as long as their headers are whole.
    pub(super) fn gather(&mut self, unit: &[u8], identity: &Identity) {
        let size = |len: u32| usize::try_from(len).unwrap_or(usize::MAX);
        let records_end = HEADER_LEN.saturating_add(size(self.header.records_len));
        let mut sums = ChecksumList::default();
        let mut offset = HEADER_LEN;
        for index in 0..u64::from(self.header.records) {
            let position = self.header.first_position.plus(index);
            let end = records_end.min(unit.len()).max(offset);
            let bytes = unit.get(offset..end).unwrap_or_default();
            let Ok(layout) = Layout::parse(bytes) else {
                return;
            };
            let salt = &identity.record_salt;
            if layout.check_header(bytes, position, salt).is_err() {
                return;
            }
            sums.push(layout.header_checksum());
            let record = bytes.get(..layout.record_len());
            match record.filter(|record| layout.check_payload(record).is_ok()) {
                Some(record) => self.records.push(SoundRecord {
                    position,
                    entry: RecordEntry {
                        offset: short(offset),
                        created_us: layout.created().micros(),
                    },
                    bytes: record.to_vec(),
                }),
                None => {
                    let stream = String::from_utf8_lossy(layout.stream(bytes));
                    self.streams.push(stream.into_owned());
                }
            }
            offset = offset.saturating_add(layout.record_len());
        }
        let trailer_end = records_end.saturating_add(size(self.header.trailer_len));
        let Some(trailer) = unit.get(records_end..trailer_end) else {
            return;
        };
        sums.push(checksum(trailer));
        if offset == records_end && sums.finish() == self.header.body_checksum {
            self.trailer = Trailer::decode(trailer).ok();
        }
    }

    /// Says of the next one of those that are lost that it had been removed before.
    pub(super) fn add_removed(&mut self, position: Position) {
        match self.removed.last_mut() {
            Some((_, end)) if *end == position => *end = position.next(),
            _ => self.removed.push((position, position.next())),
        }
    }

    pub(super) fn is_removed(&self, position: Position) -> bool {
        let behind = self.removed.partition_point(|(_, end)| *end <= position);
        (self.removed.get(behind)).is_some_and(|(first, _)| *first <= position)
    }

    /// The events that are lost.
    pub(super) fn lost(&self) -> Vec<(Position, Position)> {
        let sound = self.records.iter().map(|record| record.position);
        let sound = sound.map(|position| (position, position.next()));
        let mut known: Vec<_> = sound.chain(self.removed.iter().copied()).collect();
        known.sort_unstable();
        let (mut at, end) = (self.header.first_position, self.header.end_position());
        let mut lost = Vec::new();
        for (first, behind) in known.into_iter().chain([(end, end)]) {
            if first > at {
                lost.push((at, first));
            }
            at = at.max(behind);
        }
        lost
    }
}

/// Shows the stretch up to a place and a position, if there is one, and goes on there.
fn gap(
    at: &mut Expected,
    end_offset: u32,
    end: Position,
    why: FormatError,
    visit: &mut dyn FnMut(Piece<'_>) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    if end_offset > at.place.offset || end > at.position {
        visit(Piece::Gap(Gap {
            offset: at.place.offset,
            end_offset: end_offset.max(at.place.offset),
            first: at.position,
            end: end.max(at.position),
            mark: at.mark,
            why,
        }))?;
    }
    at.place.offset = end_offset.max(at.place.offset);
    at.position = end.max(at.position);
    Ok(())
}

fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
