//! What every structure outside of units begins with: a magic number, a checksum of all that is
//! behind it, and the version of the structure. These three never change their places.

use super::checksum::checksum;
use super::codec::Reader;
use super::{Field, FormatError};

/// Four bytes that say what it is.
pub(super) const MAGIC: Field = Field::first("magic", 4);
/// Checksum of everything behind it.
pub(super) const CHECKSUM: Field = MAGIC.then("checksum", 4);
/// The version of the structure; a higher one than the program knows is refused.
pub(super) const VERSION: Field = CHECKSUM.then("version", 4);

/// The structure with this content.
pub(super) fn enclose(magic: [u8; 4], version: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(VERSION.end() + content.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&[0; CHECKSUM.len]);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(content);
    let sum = checksum(bytes.get(CHECKSUM.end()..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(CHECKSUM.offset..CHECKSUM.end()) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// The content of the structure that takes all the bytes.
pub(super) fn open<'a>(
    bytes: &'a [u8],
    magic: [u8; 4],
    version_known: u32,
    what: &'static str,
) -> Result<Reader<'a>, FormatError> {
    let mut reader = Reader::new(bytes, what);
    let found = reader.array::<4>()?;
    let sum = reader.u32()?;
    let summed = bytes.get(CHECKSUM.end()..).unwrap_or_default();
    if found != magic || checksum(summed) != sum {
        return Err(FormatError::Checksum(what));
    }
    match reader.u32()? > version_known {
        true => Err(FormatError::Newer(what)),
        false => Ok(reader),
    }
}
