//! Where records lie, asked of pages of offsets and compared with a plain list of them.

use proptest::prelude::*;

use super::*;
use crate::disk::{Disk, MemoryDisk};
use crate::format::footer::{OffsetPage, encode_page};
use crate::format::record::{Record, encode, payload_checksum};
use crate::log::facts::Page;
use crate::model::{EventType, NewEvent, Revision, StreamName, Timestamp};

fn salt() -> Salt {
    Salt::new([7; 16])
}

/// A segment of which only the offsets are there, 0 where an event was removed.
#[derive(Debug)]
struct Listed {
    offsets: Vec<u32>,
    end_offset: u32,
    /// Whether the last page is not closed.
    growing: bool,
}

impl Listed {
    fn next_present(&self, index: usize) -> Option<usize> {
        let mut behind = index..self.offsets.len();
        behind.find(|index| self.offsets[*index] > 0)
    }

    /// The offset of the first event from an index on that is there, or the end.
    fn limit_from(&self, index: usize) -> u32 {
        let next = self.next_present(index);
        next.map_or(self.end_offset, |next| self.offsets[next])
    }
}

impl Offsets for Listed {
    fn events(&self) -> usize {
        self.offsets.len()
    }

    fn end_offset(&self) -> u32 {
        self.end_offset
    }

    fn has_holes(&self) -> bool {
        self.offsets.contains(&0)
    }

    fn page_first_offset(&self, page: usize) -> Option<u32> {
        let start = page * PAGE_EVENTS;
        (start < self.offsets.len()).then(|| self.limit_from(start))
    }

    fn page(&self, page: usize) -> Result<Page, StorageError> {
        let mut pages = self.offsets.chunks(PAGE_EVENTS);
        let nobodys = || FormatError::Invalid("the number of a page");
        let offsets = pages.nth(page);
        let offsets = offsets.ok_or_else(|| StorageError::damaged("a", 0, nobodys()))?;
        if self.growing && pages.len() == 0 {
            return Ok(Page::Growing(offsets.to_vec()));
        }
        let mut bytes = Vec::new();
        encode_page(offsets, 3, page, &salt(), &mut bytes);
        let page = OffsetPage::decode(bytes.into(), offsets.len(), 3, page, &salt());
        Ok(Page::Closed(page.unwrap()))
    }
}

prop_compose! {
    /// Segments of up to three pages, with removed events here and there, and in long runs.
    fn segments()(
        events in prop_oneof![
            1..300usize,
            Just(4_096),
            Just(8_192),
            8_150..8_250usize,
            9_000..10_000usize,
        ],
        lens in prop::collection::vec(1..400u32, 50),
        removed in prop::collection::vec(
            (0..10_000usize, prop_oneof![1..5usize, 1..6_000usize]),
            0..4,
        ),
        growing: bool,
    ) -> Listed {
        let (mut offset, mut offsets) = (48, Vec::new());
        let is_removed = |index: usize| {
            removed.iter().any(|(start, len)| (*start..start + len).contains(&index))
        };
        for (index, len) in (0..events).zip(lens.iter().cycle()) {
            let there = !is_removed(index);
            offsets.push(if there { offset } else { 0 });
            offset += if there { *len } else { 0 };
        }
        Listed { growing: growing && !offsets.contains(&0), offsets, end_offset: offset }
    }
}

fn file() -> (Arc<str>, Arc<dyn DiskFile>) {
    ("a".into(), MemoryDisk::new().create("a").unwrap())
}

proptest! {
    #[test]
    fn an_event_and_its_neighbours_are_found(segment in segments(), at in 0..10_000usize) {
        let events = segment.events();
        for index in [at % events, 0, events - 1, 4_095.min(events - 1), 4_096.min(events - 1)] {
            let expected = Some((segment.offsets[index], segment.limit_from(index + 1)));
            prop_assert_eq!(offset_and_limit(&segment, index).unwrap(), expected);
            let next = segment.next_present(index);
            prop_assert_eq!(first_present(&segment, index).unwrap(), next);
            let mut before = (0..index).rev();
            let last = before.find(|index| segment.offsets[*index] > 0);
            prop_assert_eq!(last_present(&segment, index).unwrap(), last);
        }
        prop_assert_eq!(first_present(&segment, events).unwrap(), None);
        let all = segment.offsets.iter().rposition(|offset| *offset > 0);
        prop_assert_eq!(last_present(&segment, events + 5).unwrap(), all);
    }

    #[test]
    fn the_first_event_from_an_offset_on_is_found(segment in segments(), at in 0..10_000usize) {
        let there = segment.limit_from(at % segment.events());
        for offset in [0, there - 1, there, there + 1, segment.end_offset - 1, segment.end_offset] {
            let first = first_from(&segment, offset).unwrap();
            let (front, behind) = segment.offsets.split_at(first);
            prop_assert!(front.iter().all(|front| *front < offset));
            prop_assert!(behind.iter().all(|behind| *behind == 0 || *behind >= offset));
        }
    }

    #[test]
    fn stretches_have_every_event_once(segment in segments()) {
        let (name, file) = file();
        let mut found = Vec::new();
        let last = segment.offsets.iter().max().unwrap();
        for number in 0..=last / BLOCK_BYTES {
            let plan = BlockPlan::new(&segment, number, (&name, &file), Position(1_000)).unwrap();
            let last = plan.offsets.iter().rposition(|offset| *offset > 0);
            prop_assert_eq!(last.map_or(0, |last| last + 1), plan.offsets.len());
            if let Some(last) = last {
                let behind = usize::try_from(plan.first.0).unwrap() - 1_000 + last + 1;
                prop_assert_eq!(plan.limit, segment.limit_from(behind));
            }
            found.extend((plan.first.0..).zip(plan.offsets).filter(|(_, offset)| *offset > 0));
        }
        let all = (1_000..).zip(segment.offsets).filter(|(_, offset)| *offset > 0);
        prop_assert_eq!(found, Vec::from_iter(all));
    }

    #[test]
    fn a_range_is_planned_up_to_what_ends_in_front_of_its_end(
        mut segment in segments(),
        (start, len, room) in (
            0..10_000usize,
            prop_oneof![1..10usize, 1..9_000usize],
            0..600_000u32,
        ),
    ) {
        segment.offsets.retain(|offset| *offset > 0);
        prop_assume!(!segment.offsets.is_empty());
        let start = start % segment.events();
        let (name, file) = file();
        let (first, range) = (segment.offsets[start], start..start + len);
        for end in [first + room, segment.limit_from(start + 1), segment.limit_from(start + 2)] {
            let (range, file) = (range.clone(), (&name, &file));
            let plan = BlockPlan::of_range(&segment, range.clone(), end, file, Position(5));
            let plan = plan.unwrap();
            let within = |index: &usize| segment.limit_from(index + 1) <= end;
            let there = start..range.end.min(segment.events());
            let count = there.take_while(within).count().max(1);
            prop_assert_eq!(&plan.offsets, &segment.offsets[start..start + count]);
            prop_assert_eq!(plan.first, Position(5 + to_u64(start)));
            let limit = segment.limit_from(start + count);
            prop_assert_eq!((plan.limit, plan.boundary), (limit, limit));
            prop_assert_eq!(to_u64(plan.len_bytes()), u64::from(limit - first));
        }
    }
}

const FIRST: Position = Position(100);

/// A block of ten records from [`FIRST`] on, of which these two are a removed and a damaged one.
fn block(removed: Option<usize>, damaged: Option<usize>) -> Block {
    let stream = StreamName::new("a").unwrap();
    let (mut bytes, mut offsets) = (vec![0; 48], Vec::new());
    for index in 0..10 {
        if removed == Some(index) {
            offsets.push(0);
            continue;
        }
        offsets.push(u32::try_from(bytes.len()).unwrap());
        let event = NewEvent::binary(EventType::new("Happened").unwrap(), vec![1; index]);
        let record = Record {
            stream: &stream,
            revision: Revision(to_u64(index)),
            event: &event,
            created: Timestamp::from_micros(5),
            payload_checksum: payload_checksum(&event),
        };
        encode(&record, FIRST.plus(to_u64(index)), &salt(), &mut bytes);
        if damaged == Some(index) {
            *bytes.last_mut().unwrap() ^= 1;
        }
    }
    let (name, file) = file();
    file.write_all_at(0, &bytes).unwrap();
    let segment = Listed {
        end_offset: u32::try_from(bytes.len()).unwrap(),
        offsets,
        growing: false,
    };
    let plan = BlockPlan::new(&segment, 0, (&name, &file), FIRST).unwrap();
    plan.read(&salt()).unwrap()
}

/// The first positions of the runs and how many records each has, counted from the block's first.
fn runs(chunk: &Chunk) -> Vec<(u64, u32)> {
    let runs = chunk.runs.iter();
    runs.map(|run| (run.first.0 - FIRST.0, run.count)).collect()
}

fn forward(block: &Block, from: u64, to: u64) -> Option<Vec<(u64, u32)>> {
    let chunk = block.chunk(FIRST.plus(from), FIRST.plus(to), usize::MAX);
    chunk.ok().as_ref().map(runs)
}

fn back(block: &Block, before: u64) -> Option<Vec<(u64, u32)>> {
    let chunk = block.chunk_back(FIRST.plus(before), usize::MAX, usize::MAX);
    chunk.ok().as_ref().map(runs)
}

#[test]
fn adjacent_records_are_one_run_and_take_their_bytes_once() {
    let whole = block(None, None);
    assert_eq!(whole.end(), FIRST.plus(10));
    assert_eq!(forward(&whole, 0, 10), Some(vec![(0, 10)]));
    assert_eq!(back(&whole, 7), Some(vec![(0, 7)]));
    let places = whole.spans.len() * size_of::<Span>();
    assert_eq!(whole.weight(), whole.bytes.len() + places);
    let without_the_first = block(Some(0), None);
    assert_eq!(forward(&without_the_first, 0, 10), Some(vec![(1, 9)]));
    let with_a_hole = block(Some(4), None);
    assert_eq!(forward(&with_a_hole, 0, 10), Some(vec![(0, 4), (5, 5)]));
    assert_eq!(back(&with_a_hole, 10), Some(vec![(0, 4), (5, 5)]));
}

#[test]
fn what_lies_on_either_side_of_a_damaged_record_is_given() {
    let block = block(None, Some(4));
    assert_eq!(forward(&block, 0, 10), Some(vec![(0, 4)]));
    assert_eq!(forward(&block, 4, 10), None);
    assert_eq!(forward(&block, 5, 10), Some(vec![(5, 5)]));
    assert_eq!(back(&block, 10), Some(vec![(5, 5)]));
    assert_eq!(back(&block, 6), Some(vec![(5, 1)]));
    assert_eq!(back(&block, 5), None);
    assert_eq!(back(&block, 4), Some(vec![(0, 4)]));
}
