//! A segment's header: which store and which segment the file belongs to. It says nothing of what
//! is in the file, because it is written before that is known.

use uuid::Uuid;

use super::envelope::{self, enclose};
use super::{Field, FormatError};
use crate::model::StoreId;

const WHAT: &str = "a segment's header";
const MAGIC: [u8; 4] = *b"AnSg";
/// The version of a segment as it was written first.
const VERSION: u32 = 1;
/// The version of one that was written again.
const VERSION_REWRITTEN: u32 = 2;

/// The store it belongs to.
pub const STORE: Field = envelope::VERSION.then("store id", 16);
/// Which segment it is.
pub const SEGMENT: Field = STORE.then("segment", 4);
/// The writer goes on in the next segment when a unit would end behind this; a unit that is longer
/// than that stands alone in its segment. In version 2 the number of the rewrite stands here.
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
    /// How the file came about.
    pub kind: SegmentKind,
}

/// How a segment's file came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// The writer filled it.
    Written {
        /// How long it was meant to get, in bytes.
        capacity: u32,
    },
    /// It was written again without some of its events.
    Rewritten {
        /// How often the segment was; from 1 on.
        number: u32,
    },
}

impl SegmentHeader {
    /// The first [`HEADER_LEN_BYTES`] of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (version, last) = match self.kind {
            SegmentKind::Written { capacity } => (VERSION, capacity),
            SegmentKind::Rewritten { number } => (VERSION_REWRITTEN, number),
        };
        let mut content = Vec::new();
        content.extend_from_slice(self.store.0.as_bytes());
        content.extend_from_slice(&self.segment.to_le_bytes());
        content.extend_from_slice(&last.to_le_bytes());
        let mut copy = enclose(MAGIC, version, &content);
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
            let mut reader = envelope::open(copy, MAGIC, VERSION_REWRITTEN, WHAT)?;
            let version = copy.get(envelope::VERSION.offset..envelope::VERSION.end());
            let rewritten = version == Some(&VERSION_REWRITTEN.to_le_bytes()[..]);
            let (store, segment, last) = (reader.array()?, reader.u32()?, reader.u32()?);
            Ok(Self {
                store: StoreId(Uuid::from_bytes(store)),
                segment,
                kind: match rewritten {
                    false => SegmentKind::Written { capacity: last },
                    true => SegmentKind::Rewritten { number: last },
                },
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_loss_of_either_copy() {
        let kinds = [
            SegmentKind::Written { capacity: 1 << 20 },
            SegmentKind::Rewritten { number: 5 },
        ];
        for kind in kinds {
            let header = SegmentHeader {
                store: StoreId(Uuid::from_u128(1)),
                segment: 7,
                kind,
            };
            let bytes = header.encode();
            assert_eq!(bytes.len(), usize::try_from(HEADER_LEN_BYTES).unwrap());
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert_eq!(SegmentHeader::decode(&damaged), Ok(header), "{at}");
            }
        }
        assert!(SegmentHeader::decode(&[0; 4096]).is_err());
        assert!(SegmentHeader::decode(&[]).is_err());
    }
}
