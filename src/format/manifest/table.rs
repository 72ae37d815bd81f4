//! The list of the tables of the index.

use crate::format::codec::Reader;
use crate::format::footer::Digest;
use crate::format::{Field, FormatError};
use crate::model::Position;

const TABLE_ID: Field = Field::first("table", 4);
const TABLE_LEVEL: Field = TABLE_ID.then("level", 4);
const TABLE_FIRST: Field = TABLE_LEVEL.then("first position", 8);
const TABLE_END: Field = TABLE_FIRST.then("end position", 8);
const TABLE_LEN: Field = TABLE_END.then("length of the file, bytes", 8);
const TABLE_DIGEST: Field = TABLE_LEN.then("digest of the file", 32);
/// All fields of a table's entry.
pub const TABLE_FIELDS: [Field; 6] = [
    TABLE_ID,
    TABLE_LEVEL,
    TABLE_FIRST,
    TABLE_END,
    TABLE_LEN,
    TABLE_DIGEST,
];

/// A table of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Its number.
    pub id: u32,
    /// How often its contents were merged.
    pub level: u32,
    /// The first position it covers.
    pub first: Position,
    /// The position behind the last one it covers.
    pub end: Position,
    /// The length of its file, in bytes.
    pub len_bytes: u64,
    /// The BLAKE3 digest of its file.
    pub digest: Digest,
}

impl TableEntry {
    /// Appends the bytes of the entry.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.level.to_le_bytes());
        out.extend_from_slice(&self.first.0.to_le_bytes());
        out.extend_from_slice(&self.end.0.to_le_bytes());
        out.extend_from_slice(&self.len_bytes.to_le_bytes());
        out.extend_from_slice(&self.digest);
    }

    /// Reads an entry.
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            id: reader.u32()?,
            level: reader.u32()?,
            first: Position(reader.u64()?),
            end: Position(reader.u64()?),
            len_bytes: reader.u64()?,
            digest: reader.array()?,
        })
    }
}
