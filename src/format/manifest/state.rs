//! The entry that names the state file.

use super::WHAT;
use crate::format::codec::Reader;
use crate::format::footer::Mark;
use crate::format::names::FileName;
use crate::format::unit::Place;
use crate::format::{Field, FormatError};
use crate::model::Position;

const STATE_SINCE: Field = Field::first("first segment with a state record", 4);
const STATE_NUMBER: Field = STATE_SINCE.then("number of the file", 4);
const STATE_LEN: Field = STATE_NUMBER.then("length of the file, bytes", 8);
const STATE_SEGMENT: Field = STATE_LEN.then("segment", 4);
const STATE_OFFSET: Field = STATE_SEGMENT.then("offset", 4);
const STATE_POSITION: Field = STATE_OFFSET.then("position", 8);
const STATE_UNIT: Field = STATE_POSITION.then("last unit's header checksum", 4);
const STATE_EPOCH: Field = STATE_UNIT.then("last unit's epoch", 4);
const STATE_COMMITTED: Field = STATE_EPOCH.then("last unit's commit time", 8);
/// All fields of the extension that names the state file.
pub const STATE_FIELDS: [Field; 9] = [
    STATE_SINCE,
    STATE_NUMBER,
    STATE_LEN,
    STATE_SEGMENT,
    STATE_OFFSET,
    STATE_POSITION,
    STATE_UNIT,
    STATE_EPOCH,
    STATE_COMMITTED,
];

/// The state records of the log, and up to where they were gathered. Without it the log holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// No segment in front of this one holds a state record.
    pub since: u32,
    /// The number of the file that holds what there was at the place; 0 before the first one.
    pub number: u32,
    /// The length of the file, in bytes; 0 if there is no file, because there was nothing.
    pub len_bytes: u64,
    /// Everything in front of this place is in the file; with number 0, the place of the first
    /// state record or in front of it.
    pub place: Place,
    /// The position at that place.
    pub position: Position,
    /// The last unit in front of it.
    pub mark: Mark,
}

impl StateEntry {
    /// Its file, if it has one.
    #[must_use]
    pub fn file_name(&self) -> Option<FileName> {
        (self.len_bytes > 0).then_some(FileName::State(self.number))
    }
}

impl StateEntry {
    /// The bytes of the entry.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.since.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.len_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.place.segment.to_le_bytes());
        bytes.extend_from_slice(&self.place.offset.to_le_bytes());
        bytes.extend_from_slice(&self.position.0.to_le_bytes());
        bytes.extend_from_slice(&self.mark.checksum.to_le_bytes());
        bytes.extend_from_slice(&self.mark.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.mark.committed_us.to_le_bytes());
        bytes
    }

    /// Reads the entry that takes all the bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, WHAT);
        let entry = Self {
            since: reader.u32()?,
            number: reader.u32()?,
            len_bytes: reader.u64()?,
            place: Place {
                segment: reader.u32()?,
                offset: reader.u32()?,
            },
            position: Position(reader.u64()?),
            mark: Mark {
                checksum: reader.u32()?,
                epoch: reader.u32()?,
                committed_us: reader.i64()?,
            },
        };
        match reader.remaining() {
            0 => Ok(entry),
            _ => Err(FormatError::Invalid(WHAT)),
        }
    }
}
