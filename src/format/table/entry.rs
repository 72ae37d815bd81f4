//! The value of a key in a table: its list and what else is known of it.
//!
//! An entry is: flags; the ordinal of the first item as a varint, if it is not 0; the list, unless
//! it is empty: short ones as a leaf in place, long ones as the tree of their leaves (number of
//! items, last ordinal and position, height, and the root page; all but the height as varints);
//! how many ordinals the key has used up, if that is not the number between the first and the last;
//! the position of a stream's tombstone; what the last metadata event says. Positions are distances
//! from the first position of the table.

use std::time::Duration;

use crate::format::FormatError;
use crate::format::codec::{Reader, put_varint, to_u64};
use crate::format::table::leaf::{Item, leaf, put_leaf, skip_leaf};
use crate::model::{Revision, StreamMetadata};

/// Flag: a stream's tombstone lies in the range of the table.
pub const FLAG_TOMBSTONE: u8 = 1;
/// Flag: what a metadata event says follows.
pub const FLAG_METADATA: u8 = 2;
/// Flag: the first ordinal follows; without it, it is 0.
pub const FLAG_FIRST_ORDINAL: u8 = 4;
/// Flag: the list is a tree of leaves.
pub const FLAG_TREE: u8 = 8;
/// Flag: the number of used ordinals follows.
pub const FLAG_SPAN: u8 = 16;
/// Flag: there is no list.
pub const FLAG_EMPTY: u8 = 32;
const FLAGS_KNOWN: u8 = 63;

const METADATA_AGE: u8 = 1;
const METADATA_COUNT: u8 = 2;
const METADATA_TRUNCATE: u8 = 4;
const METADATA_ACL: u8 = 8;

const WHAT: &str = "an entry of a table";
/// No tree is higher.
pub const HEIGHT_MAX: u8 = 8;

/// Where a page is: its content, without the checksum behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRef {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// The length of the content, in bytes.
    pub len: u32,
}

impl PageRef {
    /// Appends the place of a page.
    pub fn put(self, out: &mut Vec<u8>) {
        put_varint(out, self.offset);
        put_varint(out, self.len.into());
    }

    /// Reads the place of a page.
    ///
    /// # Errors
    /// [`FormatError`] if it is none.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let offset = reader.varint()?;
        let len = u32::try_from(reader.varint()?).map_err(|_| FormatError::Invalid(WHAT))?;
        Ok(Self { offset, len })
    }
}

/// The items of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List {
    /// All of them, ascending; none for a stream that has a tombstone alone.
    Inline(Vec<Item>),
    /// Leaves, and above them pages that say where each begins.
    Tree {
        /// How many levels of pages are above the leaves.
        height: u8,
        /// The topmost page.
        root: PageRef,
        /// How many items there are.
        count: u64,
        /// The first item's ordinal.
        first_ordinal: u64,
        /// The last item.
        last: Item,
    },
}

/// What a table knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The events.
    pub list: List,
    /// How many ordinals the key uses up; more than there are items where events were removed.
    pub span: u64,
    /// Where the stream was closed for ever.
    pub tombstone: Option<u64>,
    /// What the last metadata event says.
    pub metadata: Option<StreamMetadata>,
}

impl List {
    /// The first ordinal, and the last item.
    #[must_use]
    pub fn ends(&self) -> Option<(u64, Item)> {
        match self {
            Self::Inline(items) => items.first().zip(items.last()).map(|(a, b)| (a.0, *b)),
            Self::Tree {
                first_ordinal,
                last,
                ..
            } => Some((*first_ordinal, *last)),
        }
    }

    /// How many items there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Inline(items) => to_u64(items.len()),
            Self::Tree { count, .. } => *count,
        }
    }

    /// How many ordinals there are from the first to the last.
    #[must_use]
    pub fn natural_span(&self) -> u64 {
        self.ends().map_or(0, |(first, (last, _))| {
            last.wrapping_sub(first).wrapping_add(1)
        })
    }
}

impl Entry {
    /// Appends the entry's bytes, for a table whose first position is `base`.
    pub fn put(&self, base: u64, out: &mut Vec<u8>) {
        let ends = self.list.ends();
        let first_ordinal = ends.map_or(0, |(first, _)| first);
        let spans = self.span != self.list.natural_span();
        let flags = [
            (self.tombstone.is_some(), FLAG_TOMBSTONE),
            (self.metadata.is_some(), FLAG_METADATA),
            (first_ordinal > 0, FLAG_FIRST_ORDINAL),
            (matches!(self.list, List::Tree { .. }), FLAG_TREE),
            (spans, FLAG_SPAN),
            (ends.is_none(), FLAG_EMPTY),
        ];
        out.push(flags.iter().map(|(on, flag)| u8::from(*on) * flag).sum());
        if first_ordinal > 0 {
            put_varint(out, first_ordinal);
        }
        match &self.list {
            List::Inline(items) if items.is_empty() => {}
            List::Inline(items) => put_leaf(items, base, out),
            List::Tree {
                height,
                root,
                count,
                last,
                ..
            } => {
                put_varint(out, *count);
                put_varint(out, last.0.wrapping_sub(first_ordinal));
                put_varint(out, last.1.wrapping_sub(base));
                out.push(*height);
                root.put(out);
            }
        }
        if spans {
            put_varint(out, self.span);
        }
        if let Some(tombstone) = self.tombstone {
            put_varint(out, tombstone.wrapping_sub(base));
        }
        if let Some(metadata) = &self.metadata {
            put_metadata(metadata, out);
        }
    }

    /// Reads an entry of a table whose first position is `base`.
    ///
    /// # Errors
    /// [`FormatError`] if it is none.
    pub fn read(reader: &mut Reader<'_>, base: u64) -> Result<Self, FormatError> {
        let invalid = FormatError::Invalid(WHAT);
        let add = |distance: u64| base.checked_add(distance).ok_or(invalid);
        let flags = reader.u8()?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(FormatError::Newer(WHAT));
        }
        let on = |flag: u8| flags & flag != 0;
        let first_ordinal = match on(FLAG_FIRST_ORDINAL) {
            true => reader.varint()?,
            false => 0,
        };
        let list = if on(FLAG_TREE) {
            let count = reader.varint()?;
            let last_ordinal = first_ordinal.checked_add(reader.varint()?);
            let last = (last_ordinal.ok_or(invalid)?, add(reader.varint()?)?);
            let height = reader.u8()?;
            if height > HEIGHT_MAX || count == 0 {
                return Err(invalid);
            }
            let root = PageRef::read(reader)?;
            List::Tree {
                height,
                root,
                count,
                first_ordinal,
                last,
            }
        } else {
            let mut items = Vec::new();
            if !on(FLAG_EMPTY) {
                leaf(reader, first_ordinal, base, &mut items)?;
            }
            List::Inline(items)
        };
        let span = match on(FLAG_SPAN) {
            true => reader.varint()?,
            false => list.natural_span(),
        };
        let tombstone = match on(FLAG_TOMBSTONE) {
            true => Some(add(reader.varint()?)?),
            false => None,
        };
        let metadata = match on(FLAG_METADATA) {
            true => Some(metadata(reader)?),
            false => None,
        };
        Ok(Self {
            list,
            span,
            tombstone,
            metadata,
        })
    }

    /// Goes past an entry.
    ///
    /// # Errors
    /// [`FormatError`] if the bytes cannot be one.
    pub fn skip(reader: &mut Reader<'_>) -> Result<(), FormatError> {
        let flags = reader.u8()?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(FormatError::Newer(WHAT));
        }
        let on = |flag: u8| flags & flag != 0;
        if on(FLAG_FIRST_ORDINAL) {
            reader.varint()?;
        }
        if on(FLAG_TREE) {
            for _ in 0..3 {
                reader.varint()?;
            }
            reader.u8()?;
            PageRef::read(reader)?;
        } else if !on(FLAG_EMPTY) {
            skip_leaf(reader)?;
        }
        if on(FLAG_SPAN) {
            reader.varint()?;
        }
        if on(FLAG_TOMBSTONE) {
            reader.varint()?;
        }
        if on(FLAG_METADATA) {
            metadata(reader)?;
        }
        Ok(())
    }
}

fn put_metadata(metadata: &StreamMetadata, out: &mut Vec<u8>) {
    let age = metadata.max_age.map(|age| age.as_secs());
    let truncate = metadata.truncate_before.map(|revision| revision.0);
    let values = [
        (age, METADATA_AGE),
        (metadata.max_count, METADATA_COUNT),
        (truncate, METADATA_TRUNCATE),
    ];
    let flags: u8 = values
        .iter()
        .map(|(value, flag)| u8::from(value.is_some()) * flag)
        .sum();
    out.push(flags + u8::from(metadata.has_acl) * METADATA_ACL);
    for value in values.iter().filter_map(|(value, _)| *value) {
        put_varint(out, value);
    }
}

fn metadata(reader: &mut Reader<'_>) -> Result<StreamMetadata, FormatError> {
    let flags = reader.u8()?;
    if flags & !(METADATA_AGE | METADATA_COUNT | METADATA_TRUNCATE | METADATA_ACL) != 0 {
        return Err(FormatError::Newer(WHAT));
    }
    let mut value = |flag: u8| match flags & flag {
        0 => Ok(None),
        _ => reader.varint().map(Some),
    };
    Ok(StreamMetadata {
        max_age: value(METADATA_AGE)?.map(Duration::from_secs),
        max_count: value(METADATA_COUNT)?,
        truncate_before: value(METADATA_TRUNCATE)?.map(Revision),
        has_acl: flags & METADATA_ACL != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata_strategy() -> impl Strategy<Value = StreamMetadata> {
        let number = || proptest::option::of(any::<u64>());
        (number(), number(), number(), any::<bool>()).prop_map(|(age, count, tb, has_acl)| {
            StreamMetadata {
                max_age: age.map(Duration::from_secs),
                max_count: count,
                truncate_before: tb.map(Revision),
                has_acl,
            }
        })
    }

    fn list() -> impl Strategy<Value = List> {
        let inline = (0u64..3, 0u64..5).prop_map(|(first, count)| {
            let item = |at: u64| (first + at, 1000 + at * at + at);
            List::Inline((0..count).map(item).collect())
        });
        let tree = (1u64..9, 0u64..9, any::<u32>(), any::<u64>()).prop_map(
            |(count, first_ordinal, len, offset)| List::Tree {
                height: 2,
                root: PageRef { offset, len },
                count,
                first_ordinal,
                last: (first_ordinal + count, 5000),
            },
        );
        prop_oneof![inline, tree]
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_as_it_went_in(
            list in list(),
            more in 0u64..2,
            tombstone in proptest::option::of(1000u64..2000),
            metadata in proptest::option::of(metadata_strategy()),
        ) {
            let span = list.natural_span() + more;
            let entry = Entry { list, span, tombstone, metadata };
            let mut bytes = Vec::new();
            entry.put(1000, &mut bytes);
            let mut reader = Reader::new(&bytes, WHAT);
            prop_assert_eq!(Entry::read(&mut reader, 1000), Ok(entry));
            prop_assert_eq!(reader.remaining(), 0);
            let mut reader = Reader::new(&bytes, WHAT);
            Entry::skip(&mut reader).unwrap();
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let _outcome = Entry::read(&mut Reader::new(&bytes, WHAT), 3);
            let _outcome = Entry::skip(&mut Reader::new(&bytes, WHAT));
        }
    }

    #[test]
    fn a_tree_has_items_and_is_not_too_high() {
        for (height, count, fits) in [
            (HEIGHT_MAX, 1, true),
            (HEIGHT_MAX + 1, 1, false),
            (1, 0, false),
            (HEIGHT_MAX + 1, 0, false),
        ] {
            let entry = Entry {
                list: List::Tree {
                    height,
                    root: PageRef { offset: 5, len: 6 },
                    count,
                    first_ordinal: 0,
                    last: (7, 8),
                },
                span: 8,
                tombstone: None,
                metadata: None,
            };
            let mut bytes = Vec::new();
            entry.put(0, &mut bytes);
            let read = Entry::read(&mut Reader::new(&bytes, "an entry"), 0);
            assert_eq!(read.is_ok(), fits, "{height} {count}");
        }
    }
}
