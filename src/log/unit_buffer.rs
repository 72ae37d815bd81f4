//! A commit unit while it is being built: one buffer that begins with room for the header, so that
//! the unit is written from where its records were encoded.

use crate::format::checksum::{ChecksumList, Salt};
use crate::format::record::{self, Record};
use crate::format::unit::{
    AppendEntry, HEADER_LEN, Place, StateRecord, Trailer, UNIT_LEN_BYTES_MAX, UnitHeader,
};
use crate::log::facts::RecordEntry;
use crate::model::Position;

/// Records and what belongs to them, not yet written.
#[derive(Debug)]
pub(crate) struct UnitBuffer {
    first: Position,
    bytes: Vec<u8>,
    records: Vec<RecordEntry>,
    checksums: ChecksumList,
    trailer: Trailer,
    /// No less than the length of the trailer, in bytes.
    trailer_len_max: usize,
}

/// A unit that is ready to be written.
#[derive(Debug)]
pub(super) struct ReadyUnit {
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<RecordEntry>,
    pub(super) records_end: usize,
    pub(super) header: UnitHeader,
    pub(super) checksum: u32,
    pub(super) trailer: Trailer,
}

/// What the log knows and the builder of a unit does not.
pub(super) struct Stamp<'a> {
    pub(super) place: Place,
    pub(super) epoch: u32,
    pub(super) previous: u32,
    pub(super) committed_us: i64,
    pub(super) unit_align: u32,
    pub(super) salt: &'a Salt,
}

impl UnitBuffer {
    /// An empty unit whose first event will have this position.
    pub(crate) fn new(first: Position) -> Self {
        Self {
            first,
            bytes: vec![0; HEADER_LEN],
            records: Vec::new(),
            checksums: ChecksumList::default(),
            trailer: Trailer::default(),
            trailer_len_max: 16,
        }
    }

    /// An empty unit behind this one, with room for about as much.
    pub(crate) fn next(&self) -> Self {
        let mut next = Self::new(self.end_position());
        next.bytes.reserve(self.bytes.len());
        next.records.reserve(self.records.len());
        next.trailer.appends.reserve(self.trailer.appends.len());
        next
    }

    /// Encodes an event behind the others and gives its position.
    pub(crate) fn push(&mut self, record: &Record<'_>, salt: &Salt) -> Position {
        let position = self.end_position();
        self.records.push(RecordEntry {
            offset: short(self.bytes.len()),
            created_us: record.created.micros(),
        });
        let sum = record::encode(record, position, salt, &mut self.bytes);
        self.checksums.push(sum);
        position
    }

    /// Says that the records since the last such call are one append.
    pub(crate) fn end_append(&mut self, entry: AppendEntry) {
        let request = entry.request.as_ref();
        self.trailer_len_max += 8 + request.map_or(0, |request| 32 + request.principal.len());
        self.trailer.appends.push(entry);
    }

    /// Adds a state record.
    pub(crate) fn push_state(&mut self, state: StateRecord) {
        let value_len = state.value.as_ref().map_or(0, |value| value.len());
        self.trailer_len_max += 16 + state.key.len() + value_len;
        self.trailer.states.push(state);
    }

    /// Whether state records come along.
    pub(crate) fn has_states(&self) -> bool {
        !self.trailer.states.is_empty()
    }

    /// About how long the unit will be, in bytes: exact for the records, a little more than enough
    /// for the rest.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len() + self.trailer_len_max
    }

    /// The position of its first event.
    pub(crate) fn first_position(&self) -> Position {
        self.first
    }

    /// The position behind its last event.
    pub(crate) fn end_position(&self) -> Position {
        self.first.plus(short(self.records.len()).into())
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.trailer.appends.is_empty() && self.trailer.states.is_empty()
    }

    /// How long the unit is with header and padding, once its trailer is there.
    pub(super) fn finish(mut self) -> FinishedUnit {
        let records_end = self.bytes.len();
        let trailer_sum = self.trailer.encode(&mut self.bytes);
        self.checksums.push(trailer_sum);
        FinishedUnit {
            records_end,
            unit: self,
        }
    }
}

/// A unit with its trailer; only the header and the padding are missing.
#[derive(Debug)]
pub(super) struct FinishedUnit {
    records_end: usize,
    unit: UnitBuffer,
}

impl FinishedUnit {
    /// The length with padding, in bytes; none if no unit may be that long.
    pub(super) fn padded_len(&self, unit_align: u32) -> Option<u32> {
        let len = self.unit.bytes.len();
        let padded = u32::try_from(len)
            .ok()?
            .checked_next_multiple_of(unit_align)?;
        (len <= UNIT_LEN_BYTES_MAX).then_some(padded)
    }

    /// Puts the header in its place, and the padding.
    pub(super) fn stamp(self, stamp: &Stamp<'_>) -> ReadyUnit {
        let Self {
            records_end,
            unit: mut buffer,
        } = self;
        let header = UnitHeader {
            place: stamp.place,
            first_position: buffer.first,
            committed_us: stamp.committed_us,
            epoch: stamp.epoch,
            previous: stamp.previous,
            records: short(buffer.records.len()),
            records_len: short(records_end - HEADER_LEN),
            trailer_len: short(buffer.bytes.len() - records_end),
            body_checksum: buffer.checksums.finish(),
        };
        let (bytes, checksum) = header.encode(stamp.salt);
        if let Some(hole) = buffer.bytes.first_chunk_mut() {
            *hole = bytes;
        }
        let align = usize::try_from(stamp.unit_align).unwrap_or(8);
        buffer
            .bytes
            .resize(buffer.bytes.len().next_multiple_of(align), 0);
        ReadyUnit {
            bytes: buffer.bytes,
            records: buffer.records,
            records_end,
            header,
            checksum,
            trailer: buffer.trailer,
        }
    }
}

/// Units are far shorter than what a `u32` can say; a longer one is refused before it is written.
fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::format::record::payload_checksum;
    use crate::format::unit::RequestEntry;
    use crate::model::{EventType, NewEvent, Revision, StreamName, Timestamp};

    proptest! {
        #[test]
        fn a_unit_is_about_as_long_as_is_said_and_never_longer(
            events in prop::collection::vec(0..300usize, 0..5),
            appends in prop::collection::vec(prop::option::of("[a-z]{0,99}"), 0..5),
            states in prop::collection::vec(("[a-z]{0,99}", prop::option::of("[a-z]{0,99}")), 0..5),
        ) {
            let mut unit = UnitBuffer::new(Position(u64::MAX / 2));
            prop_assert!(unit.is_empty() && !unit.has_states());
            let stream = StreamName::new("a").unwrap();
            for len in &events {
                let event = NewEvent::binary(EventType::new("b").unwrap(), vec![1; *len]);
                let record = Record {
                    stream: &stream,
                    revision: Revision(0),
                    event: &event,
                    created: Timestamp::from_micros(0),
                    payload_checksum: payload_checksum(&event),
                };
                unit.push(&record, &Salt::new([1; 16]));
            }
            for principal in &appends {
                let request = principal.as_ref().map(|principal| RequestEntry {
                    principal: principal.as_str().into(),
                    id: Uuid::from_u128(u128::MAX),
                    content: u64::MAX,
                });
                unit.end_append(AppendEntry { records: u32::MAX, request });
            }
            for (key, value) in &states {
                unit.push_state(StateRecord {
                    space: 1,
                    key: key.as_bytes().into(),
                    value: value.as_ref().map(|value| value.as_bytes().into()),
                });
            }
            let counts = [events.len(), appends.len(), states.len()];
            prop_assert_eq!(unit.is_empty(), counts == [0; 3]);
            prop_assert_eq!(unit.has_states(), counts[2] > 0);
            let said = unit.len_bytes();
            let is = unit.finish().unit.bytes.len();
            let more = 16 + counts[1] * 40 + counts[2] * 16;
            prop_assert!((is..=is + more).contains(&said), "{said} for {is}");
        }
    }
}
