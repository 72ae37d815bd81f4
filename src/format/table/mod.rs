//! Index tables: sorted keys with their lists of positions, for a range of positions.
//!
//! A table is a file of pages, each followed by a checksum of (table, offset of the page, content),
//! and a footer. A page is found through a reference to it, which holds its offset and its length.
//! There are pages of keys and of the index above them, leaves of long lists and the pages above
//! those, pages of a filter, and pages of the fingerprints of event ids and requests.

pub mod entry;
mod kind;
pub mod leaf;
pub mod sorted;

pub use kind::Kind;

use super::checksum::checksum_of_parts;
use super::codec::{Reader, put_varint, to_u64};
use super::{Field, FormatError};
use entry::PageRef;
use leaf::Item;

/// How many bytes the checksum behind a page takes.
pub const PAGE_CHECKSUM_LEN: usize = 4;
/// No page is longer, in bytes.
pub const PAGE_LEN_BYTES_MAX: usize = 64 * 1024;
/// How many blocks of a filter stand in one page.
pub const FILTER_BLOCKS_PER_PAGE: usize = 128;
/// How many fingerprints of events stand in one page.
pub const IDS_PER_PAGE: usize = 1024;
/// How many requests stand in one page.
pub const REQUESTS_PER_PAGE: usize = 224;
/// The most children of a page above leaves.
pub const CHILDREN_MAX: usize = 256;

/// The bytes `AnTb`.
pub const MAGIC: Field = Field::first("magic", 4);
/// Checksum of everything in the footer behind it.
pub const CHECKSUM: Field = MAGIC.then("checksum", 4);
/// The version of the table's format.
pub const VERSION: Field = CHECKSUM.then("version", 4);
/// The table's number.
pub const TABLE: Field = VERSION.then("table", 4);
/// How often its content was merged.
pub const LEVEL: Field = TABLE.then("level", 4);
/// The height of the index of keys; 0 if its root is the only page of keys.
pub const INDEX_HEIGHT: Field = LEVEL.then("height of the index", 4);
/// The lowest position it covers.
pub const FIRST: Field = INDEX_HEIGHT.then("first position", 8);
/// The position behind the last one it covers.
pub const END: Field = FIRST.then("end position", 8);
/// Where the topmost page of the index is.
pub const ROOT_OFFSET: Field = END.then("offset of the root", 8);
/// How long its content is, in bytes; 0 if the table has no keys.
pub const ROOT_LEN: Field = ROOT_OFFSET.then("length of the root", 4);
/// How many blocks the filter has.
pub const FILTER_BLOCKS: Field = ROOT_LEN.then("blocks of the filter", 4);
/// Where the filter begins.
pub const FILTER_OFFSET: Field = FILTER_BLOCKS.then("offset of the filter", 8);
/// How many keys there are.
pub const KEYS: Field = FILTER_OFFSET.then("keys", 8);
/// The position of the first event whose fingerprint is kept.
pub const IDS_FIRST: Field = KEYS.then("first position with a fingerprint", 8);
/// How many fingerprints of events are kept, one for each position.
pub const IDS: Field = IDS_FIRST.then("fingerprints", 4);
/// How many requests are kept.
pub const REQUESTS: Field = IDS.then("requests", 4);
/// Where the fingerprints begin; the requests follow them.
pub const IDS_OFFSET: Field = REQUESTS.then("offset of the fingerprints", 8);
/// All fields of the footer.
pub const FOOTER_FIELDS: [Field; 17] = [
    MAGIC,
    CHECKSUM,
    VERSION,
    TABLE,
    LEVEL,
    INDEX_HEIGHT,
    FIRST,
    END,
    ROOT_OFFSET,
    ROOT_LEN,
    FILTER_BLOCKS,
    FILTER_OFFSET,
    KEYS,
    IDS_FIRST,
    IDS,
    REQUESTS,
    IDS_OFFSET,
];
/// The length of the footer, in bytes.
pub const FOOTER_LEN: usize = IDS_OFFSET.end();

const MAGIC_BYTES: [u8; 4] = *b"AnTb";
/// The version of the tables that are written.
pub const VERSION_KNOWN: u32 = 2;
const WHAT: &str = "a table's footer";

/// What a request takes in its page: fingerprint, first position, events, hash of the content.
pub const REQUEST_LEN: usize = 16 + 8 + 4 + 8;

/// What stands at the end of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The version of the table's format: older tables hold fewer kinds of keys.
    pub version: u32,
    /// The table's number.
    pub table: u32,
    /// How often its content was merged.
    pub level: u32,
    /// The height of the index of keys.
    pub index_height: u32,
    /// The lowest position it covers.
    pub first: u64,
    /// The position behind the last one it covers.
    pub end: u64,
    /// The topmost page of the index.
    pub root: PageRef,
    /// How many blocks the filter has.
    pub filter_blocks: u32,
    /// Where the filter begins.
    pub filter_offset: u64,
    /// How many keys there are.
    pub keys: u64,
    /// The position of the first event whose fingerprint is kept.
    pub ids_first: u64,
    /// How many fingerprints of events are kept.
    pub ids: u32,
    /// How many requests are kept.
    pub requests: u32,
    /// Where the fingerprints begin.
    pub ids_offset: u64,
}

impl Footer {
    /// The footer's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut summed = Vec::with_capacity(FOOTER_LEN);
        for value in [self.version, self.table, self.level, self.index_height] {
            summed.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.first, self.end, self.root.offset] {
            summed.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.root.len, self.filter_blocks] {
            summed.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.filter_offset, self.keys, self.ids_first] {
            summed.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.ids, self.requests] {
            summed.extend_from_slice(&value.to_le_bytes());
        }
        summed.extend_from_slice(&self.ids_offset.to_le_bytes());
        let mut footer = MAGIC_BYTES.to_vec();
        footer.extend_from_slice(&checksum_of_parts(&summed, &[]).to_le_bytes());
        footer.extend_from_slice(&summed);
        footer
    }

    /// Reads a footer.
    ///
    /// # Errors
    /// [`FormatError`] if the bytes are none, or one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, WHAT);
        let magic = reader.array::<4>()?;
        let sum = reader.u32()?;
        if bytes.len() != FOOTER_LEN || magic != MAGIC_BYTES {
            return Err(FormatError::Invalid(WHAT));
        }
        if checksum_of_parts(reader.rest(), &[]) != sum {
            return Err(FormatError::Checksum(WHAT));
        }
        let version = reader.u32()?;
        if version > VERSION_KNOWN {
            return Err(FormatError::Newer(WHAT));
        }
        let (table, level, index_height) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (first, end, offset) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let root = PageRef {
            offset,
            len: reader.u32()?,
        };
        Ok(Self {
            version,
            table,
            level,
            index_height,
            first,
            end,
            root,
            filter_blocks: reader.u32()?,
            filter_offset: reader.u64()?,
            keys: reader.u64()?,
            ids_first: reader.u64()?,
            ids: reader.u32()?,
            requests: reader.u32()?,
            ids_offset: reader.u64()?,
        })
    }
}

/// The checksum behind a page.
#[must_use]
pub fn page_checksum(table: u32, offset: u64, content: &[u8]) -> u32 {
    let mut place = [0; 12];
    let (front, back) = place.split_at_mut(4);
    front.copy_from_slice(&table.to_le_bytes());
    back.copy_from_slice(&offset.to_le_bytes());
    checksum_of_parts(&place, content)
}

/// A page of a list's tree, or a leaf: where it is and where its items begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// The first item; its ordinal counts from the first ordinal of the whole list.
    pub first: Item,
    /// Where the page is.
    pub page: PageRef,
}

/// Appends the content of a page above leaves.
pub fn put_children(children: &[Child], out: &mut Vec<u8>) {
    put_varint(out, to_u64(children.len()));
    let mut last = (0, 0);
    for child in children {
        put_varint(out, child.first.0.wrapping_sub(last.0));
        put_varint(out, child.first.1.wrapping_sub(last.1));
        child.page.put(out);
        last = child.first;
    }
}

/// Reads the content of a page above leaves.
///
/// # Errors
/// [`FormatError`] if the bytes are none.
pub fn children(content: &[u8]) -> Result<Vec<Child>, FormatError> {
    let what = "a page of a list";
    let invalid = FormatError::Invalid(what);
    let mut reader = Reader::new(content, what);
    let count = reader.len_at_most(CHILDREN_MAX)?;
    let mut children = Vec::with_capacity(count);
    let mut last: Item = (0, 0);
    for _ in 0..count {
        let ordinal = last.0.checked_add(reader.varint()?).ok_or(invalid)?;
        let position = last.1.checked_add(reader.varint()?).ok_or(invalid)?;
        last = (ordinal, position);
        let page = PageRef::read(&mut reader)?;
        children.push(Child { first: last, page });
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_footer_is_found() {
        let footer = Footer {
            version: VERSION_KNOWN,
            table: 1,
            level: 2,
            index_height: 3,
            first: 4,
            end: 5,
            root: PageRef { offset: 6, len: 7 },
            filter_blocks: 8,
            filter_offset: 9,
            keys: 10,
            ids_first: 11,
            ids: 12,
            requests: 13,
            ids_offset: 14,
        };
        let bytes = footer.encode();
        assert_eq!(bytes.len(), FOOTER_LEN);
        assert_eq!(Footer::decode(&bytes), Ok(footer));
        for bit in 0..FOOTER_LEN * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn children_come_back_as_they_went_in() {
        let child = |at: u64| Child {
            first: (at * 1024, at * 5000),
            page: PageRef {
                offset: at * 900,
                len: 800,
            },
        };
        let all: Vec<_> = (0..200).map(child).collect();
        let mut content = Vec::new();
        put_children(&all, &mut content);
        assert_eq!(children(&content), Ok(all));
        assert!(children(&content[..content.len() - 1]).is_err());
    }
}
