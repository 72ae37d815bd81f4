//! The list of checkpoints, of which there is one at most.

use crate::format::codec::Reader;
use crate::format::names::FileName;
use crate::format::unit::Place;
use crate::format::{Field, FormatError};
use crate::model::Position;

const CHECKPOINT_SEGMENT: Field = Field::first("segment", 4);
const CHECKPOINT_NUMBER: Field = CHECKPOINT_SEGMENT.then("number", 2);
const CHECKPOINT_LEN: Field = CHECKPOINT_NUMBER.then("length of the file, bytes", 4);
const CHECKPOINT_OFFSET: Field = CHECKPOINT_LEN.then("end offset of the units", 4);
const CHECKPOINT_POSITION: Field = CHECKPOINT_OFFSET.then("end position", 8);
/// All fields of a checkpoint's entry.
pub const CHECKPOINT_FIELDS: [Field; 5] = [
    CHECKPOINT_SEGMENT,
    CHECKPOINT_NUMBER,
    CHECKPOINT_LEN,
    CHECKPOINT_OFFSET,
    CHECKPOINT_POSITION,
];

/// A checkpoint of the log: opening the store walks only what lies behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointEntry {
    /// Counts the checkpoints of the segment.
    pub number: u16,
    /// The length of its file, in bytes.
    pub len_bytes: u32,
    /// Everything in front of this place is durable.
    pub place: Place,
    /// The position at that place.
    pub position: Position,
}

impl CheckpointEntry {
    /// Its file.
    #[must_use]
    pub fn file_name(&self) -> FileName {
        FileName::Checkpoint {
            segment: self.place.segment,
            number: self.number,
        }
    }
}

impl CheckpointEntry {
    /// Appends the bytes of the entry.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.place.segment.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.len_bytes.to_le_bytes());
        out.extend_from_slice(&self.place.offset.to_le_bytes());
        out.extend_from_slice(&self.position.0.to_le_bytes());
    }

    /// Reads an entry.
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let segment = reader.u32()?;
        Ok(Self {
            number: reader.u16()?,
            len_bytes: reader.u32()?,
            place: Place {
                segment,
                offset: reader.u32()?,
            },
            position: Position(reader.u64()?),
        })
    }
}
