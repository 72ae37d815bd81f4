//! The list of sealed segments, and the one of those among them that were written again.

use super::WHAT;
use crate::format::codec::Reader;
use crate::format::footer::{CreatedRange, Digest, Mark};
use crate::format::names::FileName;
use crate::format::{Field, FormatError};
use crate::model::Position;

const SEALED_ID: Field = Field::first("segment", 4);
const SEALED_FIRST: Field = SEALED_ID.then("first position", 8);
const SEALED_EVENTS: Field = SEALED_FIRST.then("events", 4);
const SEALED_LEN: Field = SEALED_EVENTS.then("length of the file, bytes", 4);
const SEALED_FOOTER: Field = SEALED_LEN.then("offset of the footer", 4);
const SEALED_MIN: Field = SEALED_FOOTER.then("least created, microseconds since 1970", 8);
const SEALED_MAX: Field = SEALED_MIN.then("greatest created, microseconds since 1970", 8);
const SEALED_UNIT: Field = SEALED_MAX.then("last unit's header checksum", 4);
const SEALED_EPOCH: Field = SEALED_UNIT.then("last unit's epoch", 4);
const SEALED_COMMITTED: Field = SEALED_EPOCH.then("last unit's commit time", 8);
const SEALED_DIGEST: Field = SEALED_COMMITTED.then("digest of the file", 32);
/// All fields of a sealed segment's entry.
pub const SEALED_FIELDS: [Field; 11] = [
    SEALED_ID,
    SEALED_FIRST,
    SEALED_EVENTS,
    SEALED_LEN,
    SEALED_FOOTER,
    SEALED_MIN,
    SEALED_MAX,
    SEALED_UNIT,
    SEALED_EPOCH,
    SEALED_COMMITTED,
    SEALED_DIGEST,
];

const REWRITE_SEGMENT: Field = Field::first("segment", 4);
const REWRITE_NUMBER: Field = REWRITE_SEGMENT.then("number of the rewrite", 4);
const REWRITE_LEN: Field = REWRITE_NUMBER.then("length of the removed keys, bytes", 4);
const REWRITE_CHECKSUM: Field = REWRITE_LEN.then("checksum of the removed keys", 4);
/// All fields of an entry in the extension that lists the segments that were written again.
pub const REWRITE_FIELDS: [Field; 4] = [
    REWRITE_SEGMENT,
    REWRITE_NUMBER,
    REWRITE_LEN,
    REWRITE_CHECKSUM,
];

/// A segment that is never written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its number.
    pub id: u32,
    /// The position of its first event.
    pub first_position: Position,
    /// How many events it has.
    pub events: u32,
    /// The length of its file, in bytes.
    pub len_bytes: u32,
    /// Where its footer begins.
    pub footer_offset: u32,
    /// When its events were created.
    pub created: CreatedRange,
    /// Its last unit.
    pub mark: Mark,
    /// The BLAKE3 digest of its file.
    pub digest: Digest,
    /// Where it is, if it was written again without some of its events.
    pub rewrite: Option<Rewrite>,
}

/// A segment that was written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// How often it was; from 1 on.
    pub number: u32,
    /// How long the keys of the removed events are that stand in front of the footer, in bytes.
    pub keys_len: u32,
    /// Their checksum.
    pub keys_checksum: u32,
}

impl SealedSegment {
    /// Its file.
    #[must_use]
    pub fn file_name(&self) -> FileName {
        match self.rewrite {
            None => FileName::Segment(self.id),
            Some(Rewrite { number, .. }) => FileName::Rewritten {
                segment: self.id,
                number,
            },
        }
    }

    /// Which of the files that it had.
    #[must_use]
    pub fn key(&self) -> (u32, u32) {
        (self.id, self.rewrite.map_or(0, |rewrite| rewrite.number))
    }

    /// Where its units end.
    #[must_use]
    pub fn units_end(&self) -> u32 {
        let keys_len = self.rewrite.map_or(0, |rewrite| rewrite.keys_len);
        self.footer_offset.saturating_sub(keys_len)
    }

    /// The position behind its last event.
    #[must_use]
    pub fn end_position(&self) -> Position {
        self.first_position.plus(self.events.into())
    }
}

impl SealedSegment {
    /// Appends the bytes of the entry.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.first_position.0.to_le_bytes());
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&self.len_bytes.to_le_bytes());
        out.extend_from_slice(&self.footer_offset.to_le_bytes());
        out.extend_from_slice(&self.created.min_us.to_le_bytes());
        out.extend_from_slice(&self.created.max_us.to_le_bytes());
        out.extend_from_slice(&self.mark.checksum.to_le_bytes());
        out.extend_from_slice(&self.mark.epoch.to_le_bytes());
        out.extend_from_slice(&self.mark.committed_us.to_le_bytes());
        out.extend_from_slice(&self.digest);
    }

    /// Reads an entry.
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            id: reader.u32()?,
            first_position: Position(reader.u64()?),
            events: reader.u32()?,
            len_bytes: reader.u32()?,
            footer_offset: reader.u32()?,
            created: CreatedRange {
                min_us: reader.i64()?,
                max_us: reader.i64()?,
            },
            mark: Mark {
                checksum: reader.u32()?,
                epoch: reader.u32()?,
                committed_us: reader.i64()?,
            },
            digest: reader.array()?,
            rewrite: None,
        })
    }
}

/// The list of the segments that were written again, if there are any.
pub(super) fn rewrites_bytes(sealed: &[SealedSegment]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for segment in sealed {
        if let Some(rewrite) = segment.rewrite {
            bytes.extend_from_slice(&segment.id.to_le_bytes());
            bytes.extend_from_slice(&rewrite.number.to_le_bytes());
            bytes.extend_from_slice(&rewrite.keys_len.to_le_bytes());
            bytes.extend_from_slice(&rewrite.keys_checksum.to_le_bytes());
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// Reads that list.
pub(super) fn take_rewrites(bytes: &[u8], sealed: &mut [SealedSegment]) -> Result<(), FormatError> {
    let mut reader = Reader::new(bytes, WHAT);
    let mut rest = sealed.iter_mut();
    while reader.remaining() > 0 {
        let id = reader.u32()?;
        let rewrite = Rewrite {
            number: reader.u32()?,
            keys_len: reader.u32()?,
            keys_checksum: reader.u32()?,
        };
        let segment = rest.find(|sealed| sealed.id == id);
        let segment = segment.ok_or(FormatError::Invalid(WHAT))?;
        if rewrite.number == 0 || rewrite.keys_len > segment.footer_offset {
            return Err(FormatError::Invalid(WHAT));
        }
        segment.rewrite = Some(rewrite);
    }
    Ok(())
}
