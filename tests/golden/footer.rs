//! What stands behind the units of a sealed segment, for the reader of stores: the removed keys of
//! one that was written again, and the footer.

use super::manifest::Segment;
use super::{Input, Walk, checksum, envelope, salted};

const FOOTER_FIXED_LEN: usize = 92;

/// Checks what is behind the units, from which the walk knows what must be there.
pub(super) fn check(walk: &Walk, file: &[u8], segment: &Segment) {
    let sealed = segment.sealed.as_ref().unwrap();
    let units_end = segment.units_end(file);
    if let Some(rewrite) = &sealed.rewrite {
        let keys = &file[units_end..sealed.footer_offset];
        assert_eq!(checksum(keys), rewrite.keys_sum);
        removed_keys(walk, Input(keys));
    }
    let fixed_at = file.len() - FOOTER_FIXED_LEN;
    let mut fixed = envelope(&file[fixed_at..], FOOTER_FIXED_LEN, b"AnFt");
    assert_eq!(
        (fixed.number(4), fixed.number(8)),
        (segment.id, sealed.first)
    );
    let count = walk.offsets.len();
    assert_eq!((fixed.size(4), fixed.size(4)), (count, units_end));
    assert_eq!(fixed.sum(), sealed.last_sum);
    fixed.bytes(4 + 8 + 32);
    let (blocks, leaves) = (fixed.size(4), fixed.size(4));
    let ended = walk.next / 1024;
    assert_eq!((blocks, leaves), (0, usize::try_from(ended).unwrap()));
    let pages = count.div_ceil(4096);
    let lists_len = pages * 8 + count.div_ceil(1024) * 16 + leaves * 32;
    let lists_at = fixed_at - lists_len;
    assert_eq!(fixed.sum(), checksum(&file[lists_at..fixed_at]));
    let pages = &file[sealed.footer_offset..lists_at];
    directory(walk, pages, &file[lists_at..], (segment.id, units_end));
}

/// The pages have the offset of every record, and 0 for a removed one.
fn directory(walk: &Walk, pages: &[u8], directory: &[u8], (id, units_end): (u64, usize)) {
    let mut directory = Input(directory);
    let mut start = 0;
    for (number, offsets) in walk.offsets.chunks(4096).enumerate() {
        let (end, first) = (directory.size(4), directory.size(4));
        let mut left = walk.offsets[number * 4096..].iter().filter(|at| **at > 0);
        assert_eq!(first, *left.next().unwrap_or(&units_end));
        let mut input = Input(&pages[start..end]);
        start = end;
        let sum = input.sum();
        let id = u32::try_from(id).unwrap().to_le_bytes();
        let number = u64::try_from(number).unwrap().to_le_bytes();
        let inner = checksum(input.0).to_le_bytes();
        let parts: [&[u8]; 3] = [&id, &number, &inner];
        assert_eq!(sum, salted(&walk.identity.record_salt, &parts));
        let groups = offsets.chunks(64);
        let ends: Vec<usize> = (0..groups.len()).map(|_| input.size(2)).collect();
        let packed = input.0;
        let starts = [0].into_iter().chain(ends.iter().copied());
        for ((start, end), offsets) in starts.zip(&ends).zip(groups) {
            assert_eq!(unpacked(&packed[start..*end], offsets.len()), offsets);
        }
    }
    assert_eq!(start, pages.len());
}

/// The removed keys tell of each removed event in which lists it was.
fn removed_keys(walk: &Walk, mut input: Input<'_>) {
    let keys = input.varint();
    for _ in 0..keys {
        let kind = input.number(1);
        assert!((3..=9).contains(&kind), "a key of kind {kind}");
        let len = input.length();
        std::str::from_utf8(input.bytes(len)).unwrap();
    }
    let sets = input.varint();
    for _ in 0..sets {
        for _ in 0..input.varint() {
            assert!(input.varint() < keys);
        }
    }
    let mut removed = Vec::new();
    let mut at = 0;
    while !input.0.is_empty() {
        let start = at + input.varint();
        at = start + input.varint();
        removed.extend(start..at);
        assert!(input.varint() < sets);
    }
    assert_eq!(removed, walk.removed);
}

fn unpacked(bytes: &[u8], count: usize) -> Vec<usize> {
    let mut input = Input(bytes);
    let (width, base) = (input.size(1), input.length());
    assert_eq!(input.0.len(), (count * width).div_ceil(8));
    let bit = |at: usize| usize::from(input.0[at / 8] >> (at % 8) & 1);
    let distance = |index: usize| {
        (0..width)
            .map(|at| bit(index * width + at) << at)
            .sum::<usize>()
    };
    (0..count).map(|index| base + distance(index)).collect()
}
