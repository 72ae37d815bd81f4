//! A segment's header: which store and which segment the file belongs to. It says nothing of what
//! is in the file, because it is written before that is known.

use uuid::Uuid;

use super::envelope::{self, enclose};
use super::{Field, FormatError};
use crate::model::StoreId;

const WHAT: &str = "a segment's header";
const MAGIC: [u8; 4] = *b"AnSg";
const VERSION: u32 = 1;

/// The store it belongs to.
pub const STORE: Field = envelope::VERSION.then("store id", 16);
/// Which segment it is.
pub const SEGMENT: Field = STORE.then("segment", 4);
/// The writer goes on in the next segment when a unit would end behind this; a unit that is longer
/// than that stands alone in its segment.
pub const CAPACITY: Field = SEGMENT.then("capacity, bytes", 4);
/// All fields of one copy.
pub const FIELDS: [Field; 6] = [
    envelope::MAGIC,
    envelope::CHECKSUM,
    envelope::VERSION,
    STORE,
    SEGMENT,
    CAPACITY,
];
/// Where the second copy begins, in bytes; the rest is zeros.
pub const COPY_LEN_BYTES: usize = 2048;
/// The length of both copies: where the first unit begins.
pub const HEADER_LEN_BYTES: u32 = 4096;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store it belongs to.
    pub store: StoreId,
    /// Which segment it is.
    pub segment: u32,
    /// How long the segment is meant to get, in bytes.
    pub capacity: u32,
}

impl SegmentHeader {
    /// The first [`HEADER_LEN_BYTES`] of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        content.extend_from_slice(self.store.0.as_bytes());
        content.extend_from_slice(&self.segment.to_le_bytes());
        content.extend_from_slice(&self.capacity.to_le_bytes());
        let mut copy = enclose(MAGIC, VERSION, &content);
        copy.resize(COPY_LEN_BYTES, 0);
        copy.repeat(2)
    }

    /// Reads the first [`HEADER_LEN_BYTES`], from the first copy that is whole.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] if neither is, [`FormatError::Newer`] if a newer program wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        super::first_whole(bytes.chunks(COPY_LEN_BYTES).take(2), WHAT, |copy| {
            let len = CAPACITY.end();
            let copy = copy.get(..len).ok_or(FormatError::Truncated(WHAT))?;
            let mut reader = envelope::open(copy, MAGIC, VERSION, WHAT)?;
            Ok(Self {
                store: StoreId(Uuid::from_bytes(reader.array()?)),
                segment: reader.u32()?,
                capacity: reader.u32()?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_loss_of_either_copy() {
        let header = SegmentHeader {
            store: StoreId(Uuid::from_u128(1)),
            segment: 7,
            capacity: 1 << 20,
        };
        let bytes = header.encode();
        assert_eq!(bytes.len(), usize::try_from(HEADER_LEN_BYTES).unwrap());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(SegmentHeader::decode(&damaged), Ok(header), "{at}");
        }
        assert!(SegmentHeader::decode(&[0; 4096]).is_err());
        assert!(SegmentHeader::decode(&[]).is_err());
    }
}
