//! The file `floor`: how far the log is known to be durable. It is the witness for the last unit,
//! which has no unit behind it. Two slots are written in turn; the whole one with the higher number
//! counts.

use super::envelope::{self, enclose};
use super::unit::Place;
use super::{Field, FormatError};
use crate::model::Position;

const WHAT: &str = "a floor slot";
const MAGIC: [u8; 4] = *b"AnFl";
const VERSION: u32 = 1;
const FLAG_CLEAN: u32 = 1;

/// Counts the slots written.
pub const NUMBER: Field = envelope::VERSION.then("number", 8);
/// The manifest that was in force.
pub const GENERATION: Field = NUMBER.then("manifest generation", 8);
/// The position behind the last durable event.
pub const POSITION: Field = GENERATION.then("end position", 8);
/// The segment of the last durable unit.
pub const SEGMENT: Field = POSITION.then("segment", 4);
/// Where in the segment that unit ends.
pub const OFFSET: Field = SEGMENT.then("end offset", 4);
/// The epoch of the writer.
pub const EPOCH: Field = OFFSET.then("epoch", 4);
/// Bit 0: the writer stopped in order, and the segment's file ends at the end offset.
pub const FLAGS: Field = EPOCH.then("flags", 4);
/// All fields of a slot.
pub const FIELDS: [Field; 10] = [
    envelope::MAGIC,
    envelope::CHECKSUM,
    envelope::VERSION,
    NUMBER,
    GENERATION,
    POSITION,
    SEGMENT,
    OFFSET,
    EPOCH,
    FLAGS,
];
/// The length of a slot with the zeros behind it, in bytes.
pub const SLOT_LEN_BYTES: usize = 4096;
/// The length of the file, in bytes.
pub const FILE_LEN_BYTES: usize = 2 * SLOT_LEN_BYTES;

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Counts the slots written; the slot's place in the file is its lowest bit.
    pub number: u64,
    /// The manifest that was in force.
    pub generation: u64,
    /// The position behind the last durable event.
    pub position: Position,
    /// Where the last durable unit ends.
    pub end: Place,
    /// The epoch of the writer.
    pub epoch: u32,
    /// Whether the writer stopped in order.
    pub clean: bool,
}

impl Floor {
    /// The slot's bytes, and where in the file they go.
    #[must_use]
    pub fn encode(&self) -> (u64, Vec<u8>) {
        let mut content = Vec::new();
        content.extend_from_slice(&self.number.to_le_bytes());
        content.extend_from_slice(&self.generation.to_le_bytes());
        content.extend_from_slice(&self.position.0.to_le_bytes());
        content.extend_from_slice(&self.end.segment.to_le_bytes());
        content.extend_from_slice(&self.end.offset.to_le_bytes());
        content.extend_from_slice(&self.epoch.to_le_bytes());
        content.extend_from_slice(&u32::from(self.clean).to_le_bytes());
        let mut slot = enclose(MAGIC, VERSION, &content);
        slot.resize(SLOT_LEN_BYTES, 0);
        let offset = (self.number & 1) * super::codec::to_u64(SLOT_LEN_BYTES);
        (offset, slot)
    }

    /// Reads the whole file: the newest slot that is whole.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] if neither is, [`FormatError::Newer`] if a newer program wrote
    /// one.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut newest: Option<Self> = None;
        for slot in bytes.chunks(SLOT_LEN_BYTES).take(2) {
            match Self::decode_slot(slot) {
                Ok(floor) if newest.is_none_or(|newest| newest.number < floor.number) => {
                    newest = Some(floor);
                }
                Err(FormatError::Newer(what)) => return Err(FormatError::Newer(what)),
                Ok(_) | Err(_) => {}
            }
        }
        newest.ok_or(FormatError::Checksum(WHAT))
    }

    fn decode_slot(slot: &[u8]) -> Result<Self, FormatError> {
        let slot = slot
            .get(..FLAGS.end())
            .ok_or(FormatError::Truncated(WHAT))?;
        let mut reader = envelope::open(slot, MAGIC, VERSION, WHAT)?;
        let floor = Self {
            number: reader.u64()?,
            generation: reader.u64()?,
            position: Position(reader.u64()?),
            end: Place {
                segment: reader.u32()?,
                offset: reader.u32()?,
            },
            epoch: reader.u32()?,
            clean: false,
        };
        match reader.u32()? {
            0 => Ok(floor),
            FLAG_CLEAN => Ok(Self {
                clean: true,
                ..floor
            }),
            _ => Err(FormatError::Newer(WHAT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_slot_counts() {
        let slot = |number, clean| Floor {
            number,
            generation: 2,
            position: Position(number * 10),
            end: Place {
                segment: 1,
                offset: 4096,
            },
            epoch: 3,
            clean,
        };
        let mut file = vec![0; FILE_LEN_BYTES];
        assert!(Floor::decode(&file).is_err());
        for number in 0..5 {
            let floor = slot(number, number == 4);
            let (offset, bytes) = floor.encode();
            let offset = usize::try_from(offset).unwrap();
            file[offset..offset + bytes.len()].copy_from_slice(&bytes);
            assert_eq!(Floor::decode(&file), Ok(floor));
        }
        file[20] ^= 1;
        assert_eq!(Floor::decode(&file), Ok(slot(3, false)));
    }
}
