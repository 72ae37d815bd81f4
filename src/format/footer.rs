//! A segment's footer: where each event lies, when events were created, and digests of what they
//! say. It stands at the end of a sealed segment; the same structure, in a file of its own and for
//! the events so far, is a checkpoint of a segment that is still written.
//!
//! It is, one behind the other: pages of offsets, the directory of the pages, ranges of created
//! times, digests of blocks, digests of leaves, and the fixed part, which ends the file.
//!
//! * A **page** holds the offsets of 4,096 events (the last page: of those that are left): a
//!   checksum, the end of each group of 64 as two bytes, and the groups, packed (see
//!   [`super::pack`]). An offset of 0 means that the event was removed.
//! * The **directory** has for each page where it ends, counted from the start of the pages, and
//!   its first event's offset: four bytes each.
//! * A **range** has the least and greatest created time of 1,024 events in microseconds since
//!   1970, eight bytes each.
//! * A **leaf** is the BLAKE3 digest of the records of 1,024 positions, from a multiple of 1,024. A
//!   **block** digest is that of the block digest before it (32 zero bytes for the first) and the
//!   64 leaves of 65,536 positions. A footer lists the blocks that end in its segment, and the
//!   whole leaves behind the last block that has ended. So digests do not depend on segments or
//!   units.

use bytes::Bytes;

use super::checksum::{Salt, checksum};
use super::codec::{Reader, to_u64};
use super::envelope;
use super::pack::{Packed, pack};
use super::{Field, FormatError};
use crate::model::Position;

const WHAT: &str = "a segment's footer";
const MAGIC: [u8; 4] = *b"AnFt";
const VERSION: u32 = 1;

/// The segment it belongs to.
pub const SEGMENT: Field = envelope::VERSION.then("segment", 4);
/// The position of the segment's first event.
pub const FIRST_POSITION: Field = SEGMENT.then("first position", 8);
/// How many events there are.
pub const EVENTS: Field = FIRST_POSITION.then("events", 4);
/// Where in the segment the last unit ends.
pub const END_OFFSET: Field = EVENTS.then("end offset of the units", 4);
/// The header checksum of the last unit in front of the end offset, also of an earlier segment.
pub const LAST_UNIT: Field = END_OFFSET.then("last unit's header checksum", 4);
/// The epoch of that unit.
pub const EPOCH: Field = LAST_UNIT.then("last unit's epoch", 4);
/// The commit time of that unit.
pub const COMMITTED: Field = EPOCH.then("last unit's commit time", 8);
/// The digest of the last block that has ended at the end of the segment.
pub const CHAIN: Field = COMMITTED.then("last block's digest", 32);
/// How many block digests there are.
pub const BLOCKS: Field = CHAIN.then("block digests", 4);
/// How many leaf digests there are.
pub const LEAVES: Field = BLOCKS.then("leaf digests", 4);
/// Checksum of everything between the pages and the fixed part.
pub const LISTS_CHECKSUM: Field = LEAVES.then("checksum of the lists", 4);
/// All fields of the fixed part.
pub const FIELDS: [Field; 14] = [
    envelope::MAGIC,
    envelope::CHECKSUM,
    envelope::VERSION,
    SEGMENT,
    FIRST_POSITION,
    EVENTS,
    END_OFFSET,
    LAST_UNIT,
    EPOCH,
    COMMITTED,
    CHAIN,
    BLOCKS,
    LEAVES,
    LISTS_CHECKSUM,
];
/// The length of the fixed part, in bytes.
pub const FIXED_LEN_BYTES: usize = LISTS_CHECKSUM.end();
/// Events of a page of offsets.
pub const PAGE_EVENTS: usize = 4096;
/// Events of a group of offsets.
pub const GROUP_EVENTS: usize = 64;
/// Events of a range of created times.
pub const RANGE_EVENTS: usize = 1024;
/// Positions of a leaf.
pub const LEAF_EVENTS: u64 = 1024;
/// Positions of a block.
pub const BLOCK_EVENTS: u64 = 65_536;
const PAGE_ENTRY_LEN: usize = 8;
const RANGE_LEN: usize = 16;
const DIGEST_LEN: usize = 32;

/// A BLAKE3 digest.
pub type Digest = [u8; DIGEST_LEN];

/// What the next unit continues: the last unit's header checksum, epoch and commit time. In front
/// of the first unit of a store it is [`Mark::START`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The unit's header checksum.
    pub checksum: u32,
    /// Its epoch.
    pub epoch: u32,
    /// Its commit time, in microseconds since 1970.
    pub committed_us: i64,
}

impl Mark {
    /// In front of the first unit of a store.
    pub const START: Self = Self {
        checksum: 0,
        epoch: 0,
        committed_us: i64::MIN,
    };
}

/// Least and greatest created time, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatedRange {
    /// The least.
    pub min_us: i64,
    /// The greatest.
    pub max_us: i64,
}

impl CreatedRange {
    /// The range of no events.
    pub const EMPTY: Self = Self {
        min_us: i64::MAX,
        max_us: i64::MIN,
    };

    /// The range of events of which nothing is known.
    pub const ANY: Self = Self {
        min_us: i64::MIN,
        max_us: i64::MAX,
    };

    /// The range with one time more.
    #[must_use]
    pub fn with(self, created: Self) -> Self {
        Self {
            min_us: self.min_us.min(created.min_us),
            max_us: self.max_us.max(created.max_us),
        }
    }
}

/// Where a page of offsets is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEntry {
    /// Where it ends, in bytes from the start of the pages.
    pub end: u32,
    /// The offset of its first event.
    pub first_offset: u32,
}

/// A footer without its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The segment it belongs to.
    pub segment: u32,
    /// The position of its first event.
    pub first_position: Position,
    /// How many events there are.
    pub events: u32,
    /// Where the last unit ends.
    pub end_offset: u32,
    /// The last unit.
    pub mark: Mark,
    /// The digest of the last block that has ended at the end of the segment.
    pub chain: Digest,
    /// Where the pages are.
    pub pages: Vec<PageEntry>,
    /// Created times, each of [`RANGE_EVENTS`].
    pub created: Vec<CreatedRange>,
    /// The digests of the blocks that end here.
    pub blocks: Vec<Digest>,
    /// The digests of the whole leaves behind the last block that has ended.
    pub leaves: Vec<Digest>,
}

impl Footer {
    /// Appends the lists and the fixed part; the pages must be there already.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut lists = Vec::new();
        for page in &self.pages {
            lists.extend_from_slice(&page.end.to_le_bytes());
            lists.extend_from_slice(&page.first_offset.to_le_bytes());
        }
        for range in &self.created {
            lists.extend_from_slice(&range.min_us.to_le_bytes());
            lists.extend_from_slice(&range.max_us.to_le_bytes());
        }
        for digest in self.blocks.iter().chain(&self.leaves) {
            lists.extend_from_slice(digest);
        }
        let mut content = Vec::new();
        content.extend_from_slice(&self.segment.to_le_bytes());
        content.extend_from_slice(&self.first_position.0.to_le_bytes());
        content.extend_from_slice(&self.events.to_le_bytes());
        content.extend_from_slice(&self.end_offset.to_le_bytes());
        content.extend_from_slice(&self.mark.checksum.to_le_bytes());
        content.extend_from_slice(&self.mark.epoch.to_le_bytes());
        content.extend_from_slice(&self.mark.committed_us.to_le_bytes());
        content.extend_from_slice(&self.chain);
        for count in [self.blocks.len(), self.leaves.len()] {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            content.extend_from_slice(&count.to_le_bytes());
        }
        content.extend_from_slice(&checksum(&lists).to_le_bytes());
        out.append(&mut lists);
        out.extend_from_slice(&envelope::enclose(MAGIC, VERSION, &content));
    }

    /// How many bytes stand behind the pages of the footer with this fixed part.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn tail_len(fixed: &[u8]) -> Result<usize, FormatError> {
        Ok(Fixed::decode(fixed)?.lists_len() + FIXED_LEN_BYTES)
    }

    /// Reads the lists and the fixed part, which take all the bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`], [`FormatError::Checksum`] or [`FormatError::Invalid`] if they
    /// are not that, [`FormatError::Newer`] if a newer program wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let lists_len = bytes.len().saturating_sub(FIXED_LEN_BYTES);
        let (lists, fixed) = bytes.split_at(lists_len);
        let fixed = Fixed::decode(fixed)?;
        if fixed.lists_len() != lists.len() {
            return Err(FormatError::Truncated(WHAT));
        }
        if checksum(lists) != fixed.lists_checksum {
            return Err(FormatError::Checksum("the lists of a segment's footer"));
        }
        let mut reader = Reader::new(lists, WHAT);
        let mut footer = fixed.footer.clone();
        for _ in 0..fixed.pages() {
            footer.pages.push(PageEntry {
                end: reader.u32()?,
                first_offset: reader.u32()?,
            });
        }
        for _ in 0..fixed.ranges() {
            footer.created.push(CreatedRange {
                min_us: reader.i64()?,
                max_us: reader.i64()?,
            });
        }
        for _ in 0..fixed.blocks {
            footer.blocks.push(reader.array()?);
        }
        for _ in 0..fixed.leaves {
            footer.leaves.push(reader.array()?);
        }
        Ok(footer)
    }

    /// The position behind the last event.
    #[must_use]
    pub fn end_position(&self) -> Position {
        self.first_position.plus(self.events.into())
    }

    /// The range of all created times.
    #[must_use]
    pub fn created_range(&self) -> CreatedRange {
        (self.created.iter()).fold(CreatedRange::EMPTY, |all, range| all.with(*range))
    }

    /// How many events the page has, and where it lies, in bytes from the start of the pages.
    #[must_use]
    pub fn page(&self, number: usize) -> Option<(usize, std::ops::Range<u64>)> {
        let start = match number.checked_sub(1) {
            None => 0,
            Some(before) => self.pages.get(before)?.end,
        };
        let end = self.pages.get(number)?.end;
        let events = usize::try_from(self.events).ok()?;
        let count = (events - number * PAGE_EVENTS).min(PAGE_EVENTS);
        (start <= end).then_some((count, u64::from(start)..u64::from(end)))
    }
}

/// The fixed part, and a footer with empty lists.
struct Fixed {
    footer: Footer,
    blocks: usize,
    leaves: usize,
    lists_checksum: u32,
}

impl Fixed {
    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let bytes = bytes
            .get(..FIXED_LEN_BYTES)
            .ok_or(FormatError::Truncated(WHAT))?;
        let mut reader = envelope::open(bytes, MAGIC, VERSION, WHAT)?;
        let footer = Footer {
            segment: reader.u32()?,
            first_position: Position(reader.u64()?),
            events: reader.u32()?,
            end_offset: reader.u32()?,
            mark: Mark {
                checksum: reader.u32()?,
                epoch: reader.u32()?,
                committed_us: reader.i64()?,
            },
            chain: reader.array()?,
            pages: Vec::new(),
            created: Vec::new(),
            blocks: Vec::new(),
            leaves: Vec::new(),
        };
        let mut count = || {
            let count = reader.u32()?;
            usize::try_from(count).map_err(|_| FormatError::Invalid(WHAT))
        };
        Ok(Self {
            footer,
            blocks: count()?,
            leaves: count()?,
            lists_checksum: reader.u32()?,
        })
    }

    fn events(&self) -> usize {
        usize::try_from(self.footer.events).unwrap_or(usize::MAX)
    }

    fn pages(&self) -> usize {
        self.events().div_ceil(PAGE_EVENTS)
    }

    fn ranges(&self) -> usize {
        self.events().div_ceil(RANGE_EVENTS)
    }

    fn lists_len(&self) -> usize {
        let digests = self.blocks.saturating_add(self.leaves);
        let fixed = self.pages() * PAGE_ENTRY_LEN + self.ranges() * RANGE_LEN;
        digests.saturating_mul(DIGEST_LEN).saturating_add(fixed)
    }
}

/// Appends the page of these offsets, at most [`PAGE_EVENTS`].
pub fn encode_page(offsets: &[u32], segment: u32, number: usize, salt: &Salt, out: &mut Vec<u8>) {
    let mut groups = Vec::with_capacity(offsets.len() * 2);
    let mut page = Vec::with_capacity(offsets.len() * 2 + 256);
    let mut values = Vec::with_capacity(GROUP_EVENTS);
    for group in offsets.chunks(GROUP_EVENTS) {
        values.clear();
        values.extend(group.iter().map(|offset| u64::from(*offset)));
        pack(&values, &mut groups);
        let end = u16::try_from(groups.len()).unwrap_or(u16::MAX);
        page.extend_from_slice(&end.to_le_bytes());
    }
    page.append(&mut groups);
    let sum = page_checksum(&page, segment, number, salt);
    out.extend_from_slice(&sum.to_le_bytes());
    out.append(&mut page);
}

fn page_checksum(page: &[u8], segment: u32, number: usize, salt: &Salt) -> u32 {
    let number = to_u64(number).to_le_bytes();
    let sum = checksum(page).to_le_bytes();
    salt.checksum(&[&segment.to_le_bytes(), &number, &sum])
}

/// A page of offsets.
#[derive(Clone, Debug)]
pub struct OffsetPage {
    bytes: Bytes,
    count: usize,
}

impl OffsetPage {
    /// Checks the page that takes all the bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] or [`FormatError::Checksum`] if they are not this page.
    pub fn decode(
        bytes: Bytes,
        count: usize,
        segment: u32,
        number: usize,
        salt: &Salt,
    ) -> Result<Self, FormatError> {
        let what = "a page of offsets";
        let sum = Reader::new(&bytes, what).u32()?;
        let page = bytes.get(4..).unwrap_or_default();
        match page_checksum(page, segment, number, salt) == sum {
            true => Ok(Self { bytes, count }),
            false => Err(FormatError::Checksum(what)),
        }
    }

    /// The page as it is on disk.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn group(&self, group: usize) -> Option<Packed<'_>> {
        let groups = self.count.div_ceil(GROUP_EVENTS);
        let end = |index: usize| {
            let at = 4 + 2 * index;
            let bytes = self.bytes.get(at..at + 2)?;
            Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
        };
        let start = match group.checked_sub(1) {
            None => 0,
            Some(before) => end(before)?,
        };
        let from = 4 + 2 * groups;
        let bytes = self.bytes.get(from + start..from + end(group)?)?;
        let count = self.count.checked_sub(group * GROUP_EVENTS)?;
        let (packed, _) = Packed::parse(bytes, count.min(GROUP_EVENTS)).ok()?;
        Some(packed)
    }

    /// The offset of an event, counted from the page's first.
    #[must_use]
    pub fn offset(&self, index: usize) -> Option<u32> {
        let value = self
            .group(index / GROUP_EVENTS)?
            .value(index % GROUP_EVENTS)?;
        u32::try_from(value).ok()
    }

    /// Appends the offsets of the events from an index to the end of its group; false if there are
    /// none.
    pub fn unpack_group(&self, index: usize, out: &mut Vec<u32>) -> bool {
        let Some(group) = self.group(index / GROUP_EVENTS) else {
            return false;
        };
        let from = index % GROUP_EVENTS;
        let values = (from..group.len()).filter_map(|at| group.value(at));
        out.extend(values.map(|value| u32::try_from(value).unwrap_or(0)));
        from < group.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn footer(events: u32) -> Footer {
        let count = usize::try_from(events).unwrap();
        let page = |end| PageEntry {
            end,
            first_offset: 9,
        };
        Footer {
            segment: 3,
            first_position: Position(70),
            events,
            end_offset: 1 << 20,
            mark: Mark {
                checksum: 1,
                epoch: 2,
                committed_us: 3,
            },
            chain: [7; 32],
            pages: (0..).map(page).take(count.div_ceil(PAGE_EVENTS)).collect(),
            created: vec![CreatedRange::EMPTY; count.div_ceil(RANGE_EVENTS)],
            blocks: vec![[1; 32]; 2],
            leaves: vec![[2; 32]; 5],
        }
    }

    #[test]
    fn a_footer_comes_back_as_it_went_in_and_damage_is_found() {
        for events in [0, 1, 4096, 4097] {
            let footer = footer(events);
            let mut bytes = Vec::new();
            footer.encode(&mut bytes);
            assert_eq!(Footer::decode(&bytes), Ok(footer));
            let fixed = &bytes[bytes.len() - FIXED_LEN_BYTES..];
            assert_eq!(Footer::tail_len(fixed), Ok(bytes.len()));
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert!(Footer::decode(&damaged).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn a_footer_knows_where_its_pages_lie_and_how_many_events_each_has() {
        let mut footer = footer(4097);
        assert_eq!(footer.end_position(), Position(70 + 4097));
        footer.pages[0].end = 100;
        footer.pages[1].end = 130;
        assert_eq!(footer.page(0), Some((4096, 0..100)));
        assert_eq!(footer.page(1), Some((1, 100..130)));
        assert_eq!(footer.page(2), None);
        // Nothing that a checksum found right may make it panic, or take bytes of nobody.
        footer.pages[1].end = 100;
        assert_eq!(footer.page(1), Some((1, 100..100)));
        footer.pages[1].end = 99;
        assert_eq!(footer.page(1), None);
    }

    proptest! {
        #[test]
        fn a_page_gives_every_offset(
            steps in proptest::collection::vec(0u32..90_000, 1..=PAGE_EVENTS),
        ) {
            let salt = Salt::new([1; 16]);
            let offsets: Vec<u32> = steps
                .iter()
                .scan(4096u32, |sum, step| { *sum += step; Some(*sum) })
                .collect();
            let mut bytes = Vec::new();
            encode_page(&offsets, 4, 2, &salt, &mut bytes);
            let bytes = Bytes::from(bytes);
            let decode = |segment, number| {
                OffsetPage::decode(bytes.clone(), offsets.len(), segment, number, &salt)
            };
            prop_assert!(decode(5, 2).is_err());
            prop_assert!(decode(4, 1).is_err());
            let page = decode(4, 2).unwrap();
            prop_assert_eq!(page.bytes(), &bytes);
            let mut all = Vec::new();
            while page.unpack_group(all.len(), &mut all) {}
            prop_assert_eq!(&all, &offsets);
            let last = offsets.len() - 1;
            prop_assert_eq!(page.offset(last), Some(offsets[last]));
            prop_assert_eq!(page.offset(last + 1), None);
        }

        #[test]
        fn no_bytes_make_the_decoders_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _outcome = Footer::decode(&bytes);
            let page = OffsetPage { bytes: bytes.into(), count: 200 };
            let mut out = Vec::new();
            for index in 0..201 {
                let _offset = page.offset(index);
                page.unpack_group(index, &mut out);
            }
        }
    }
}
