//! A leaf: up to 1,024 items of a list, each an ordinal and a position, both ascending.
//!
//! A leaf is: a varint, twice the number of items, plus one if the ordinals have gaps; if they
//! have, the number of gaps as a varint and for each the items since the last gap and the ordinals
//! left out, as varints; then the positions, in blocks of 128: the distance of the first one from
//! the last one of the block before, as a varint, and the distances between the others, packed.
//! The ordinal of the first item and the position that the first distance counts from are known
//! from elsewhere, so a leaf can be copied into another table as it is.

use crate::format::FormatError;
use crate::format::codec::{Reader, put_varint, to_u64};
use crate::format::pack::{Packed, VALUES_MAX, pack};

/// One event of a list: its number in the list, and its position.
pub type Item = (u64, u64);

/// The most items of a leaf.
pub const LEAF_ITEMS_MAX: usize = 1024;

const WHAT: &str = "a list of positions";

/// Appends a leaf of ascending items, at most [`LEAF_ITEMS_MAX`], whose positions are not below
/// `base`.
pub fn put_leaf(items: &[Item], base: u64, out: &mut Vec<u8>) {
    let mut gaps = Vec::new();
    let mut since = 0u64;
    for (before, after) in items.iter().zip(items.iter().skip(1)) {
        since += 1;
        let left_out = after.0.wrapping_sub(before.0).wrapping_sub(1);
        if left_out > 0 {
            gaps.push((since, left_out));
            since = 0;
        }
    }
    put_varint(out, to_u64(items.len()) << 1 | u64::from(!gaps.is_empty()));
    if !gaps.is_empty() {
        put_varint(out, to_u64(gaps.len()));
        for (since, left_out) in gaps {
            put_varint(out, since);
            put_varint(out, left_out);
        }
    }
    let mut last = base;
    for block in items.chunks(VALUES_MAX) {
        let mut distances = Vec::with_capacity(VALUES_MAX);
        for (_, position) in block {
            distances.push(position.wrapping_sub(last));
            last = *position;
        }
        if let Some((first, others)) = distances.split_first() {
            put_varint(out, *first);
            if !others.is_empty() {
                pack(others, out);
            }
        }
    }
}

/// Reads a leaf and appends its items.
///
/// # Errors
/// [`FormatError`] if the bytes are none; then some items may have been appended.
pub fn leaf(
    reader: &mut Reader<'_>,
    first_ordinal: u64,
    base: u64,
    items: &mut Vec<Item>,
) -> Result<(), FormatError> {
    let invalid = FormatError::Invalid(WHAT);
    let head = reader.varint()?;
    let count = usize::try_from(head >> 1).map_err(|_| invalid)?;
    if count > LEAF_ITEMS_MAX {
        return Err(invalid);
    }
    let start = items.len();
    let mut ordinal = first_ordinal;
    let mut gaps = Vec::new();
    if head & 1 != 0 {
        for _ in 0..reader.len_at_most(count)? {
            gaps.push((reader.len_at_most(count)?, reader.varint()?));
        }
    }
    let mut gaps = gaps.into_iter();
    let mut gap = gaps.next();
    let mut position = base;
    items.reserve(count);
    while items.len() - start < count {
        let in_block = (count - (items.len() - start)).min(VALUES_MAX);
        let first = reader.varint()?;
        let mut packed = None;
        if in_block > 1 {
            let (others, len) = Packed::parse(reader.rest(), in_block - 1)?;
            reader.take(len)?;
            packed = Some(others);
        }
        let others = (0..in_block - 1).filter_map(|index| packed.and_then(|all| all.value(index)));
        for value in std::iter::once(first).chain(others) {
            let begins = items.len() == start;
            if !begins {
                ordinal = ordinal.checked_add(1).ok_or(invalid)?;
                if let Some((since, left_out)) = &mut gap {
                    *since = since.checked_sub(1).ok_or(invalid)?;
                    if *since == 0 {
                        ordinal = ordinal.checked_add(*left_out).ok_or(invalid)?;
                        gap = gaps.next();
                    }
                }
            }
            position = position.checked_add(value).ok_or(invalid)?;
            if !begins && value == 0 {
                return Err(invalid);
            }
            items.push((ordinal, position));
        }
    }
    Ok(())
}

/// Goes past a leaf.
///
/// # Errors
/// [`FormatError`] if the bytes cannot be one.
pub fn skip_leaf(reader: &mut Reader<'_>) -> Result<(), FormatError> {
    let head = reader.varint()?;
    let count = usize::try_from(head >> 1).map_err(|_| FormatError::Invalid(WHAT))?;
    if head & 1 != 0 {
        for _ in 0..reader.len_at_most(count)? {
            reader.varint()?;
            reader.varint()?;
        }
    }
    for before in (0..count.min(LEAF_ITEMS_MAX)).step_by(VALUES_MAX) {
        reader.varint()?;
        let others = (count - before).min(VALUES_MAX) - 1;
        if others > 0 {
            let (_, len) = Packed::parse(reader.rest(), others)?;
            reader.take(len)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_leaf_comes_back_as_it_went_in(
            steps in proptest::collection::vec((1u64..3, 1u64..5000), 0..400),
            base in 0u64..1000,
        ) {
            let (mut ordinal, mut position) = (7, base);
            let mut items = Vec::new();
            for (up, on) in steps {
                ordinal += up;
                position += on;
                items.push((ordinal, position));
            }
            let mut bytes = Vec::new();
            put_leaf(&items, base, &mut bytes);
            let first = items.first().map_or(0, |(ordinal, _)| *ordinal);
            let mut again = Vec::new();
            let mut reader = Reader::new(&bytes, WHAT);
            leaf(&mut reader, first, base, &mut again).unwrap();
            prop_assert_eq!(again, items);
            prop_assert_eq!(reader.remaining(), 0);
            let mut reader = Reader::new(&bytes, WHAT);
            skip_leaf(&mut reader).unwrap();
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..99),
        ) {
            let mut items = Vec::new();
            let outcome = leaf(&mut Reader::new(&bytes, WHAT), 5, u64::MAX - 9, &mut items);
            prop_assert!(items.len() <= LEAF_ITEMS_MAX);
            if outcome.is_ok() {
                prop_assert!(items.is_sorted());
            }
        }
    }

    #[test]
    fn an_unbroken_list_takes_next_to_nothing() {
        let items: Vec<_> = (0..1024).map(|at| (at, 1_000_000 + at)).collect();
        let mut bytes = Vec::new();
        put_leaf(&items, 0, &mut bytes);
        assert!(bytes.len() < 40, "{}", bytes.len());
    }

    #[test]
    fn a_leaf_is_appended_to_what_is_there() {
        let items: Vec<Item> = (0..300).map(|at| (at + at / 7, 5 * at + 3)).collect();
        let mut bytes = Vec::new();
        put_leaf(&items, 1, &mut bytes);
        let mut all = vec![(9, 9); 100];
        let mut reader = Reader::new(&bytes, "a leaf");
        leaf(&mut reader, 0, 1, &mut all).unwrap();
        assert_eq!((reader.remaining(), &all[100..]), (0, &items[..]));
    }
}
