//! Bit packing of short lists of numbers that lie close together: positions, offsets.
//!
//! A packed list is the width of its numbers in bits (one byte, 0 to 64), the smallest number (a
//! varint), and the distance of each number from it, so many bits each, lowest bit first, zeros up
//! to the next byte. How many numbers there are is known from elsewhere. Any of them can be read
//! alone.

use super::FormatError;
use super::codec::{Reader, put_varint};

/// The most numbers in one list.
pub const VALUES_MAX: usize = 128;

/// Appends a packed list. Best for ascending numbers; any order is kept.
///
/// # Panics
/// If there are more than [`VALUES_MAX`] numbers.
pub fn pack(values: &[u64], out: &mut Vec<u8>) {
    assert!(values.len() <= VALUES_MAX, "a list that is too long");
    let base = values.iter().copied().min().unwrap_or(0);
    let widest = values.iter().map(|value| value - base).max().unwrap_or(0);
    let width = u64::BITS - widest.leading_zeros();
    out.push(u8::try_from(width).unwrap_or(64));
    put_varint(out, base);
    let mut pending = 0u128;
    let mut pending_bits = 0;
    for value in values {
        pending |= u128::from(value - base) << pending_bits;
        pending_bits += width;
        while pending_bits >= 8 {
            out.push(low_byte(pending));
            pending >>= 8;
            pending_bits -= 8;
        }
    }
    if pending_bits > 0 {
        out.push(low_byte(pending));
    }
}

fn low_byte(bits: u128) -> u8 {
    let [byte, ..] = bits.to_le_bytes();
    byte
}

/// A packed list where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    base: u64,
    width: u32,
    mask: u64,
    count: usize,
    bits: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Finds the list of `count` numbers at the start of the bytes, and how many bytes it takes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the bytes end inside it, [`FormatError::Invalid`] if there is
    /// no such width, or `count` is beyond [`VALUES_MAX`].
    pub fn parse(bytes: &'a [u8], count: usize) -> Result<(Self, usize), FormatError> {
        let mut reader = Reader::new(bytes, "a packed list");
        let width = u32::from(reader.u8()?);
        if width > u64::BITS || count > VALUES_MAX {
            return Err(FormatError::Invalid("a packed list"));
        }
        let base = reader.varint()?;
        let bits_len = count * usize::try_from(width).unwrap_or(64);
        let list = Self {
            base,
            width,
            mask: u64::MAX.checked_shr(u64::BITS - width).unwrap_or(0),
            count,
            bits: reader.take(bits_len.div_ceil(8))?,
        };
        Ok((list, bytes.len() - reader.remaining()))
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The number at an index.
    #[must_use]
    pub fn value(&self, index: usize) -> Option<u64> {
        (index < self.count).then(|| self.value_unchecked(index))
    }

    /// Appends all the numbers.
    pub fn unpack(&self, out: &mut Vec<u64>) {
        out.extend((0..self.count).map(|index| self.value_unchecked(index)));
    }

    /// Numbers of damaged lists wrap; they are as wrong as any.
    fn value_unchecked(&self, index: usize) -> u64 {
        let bit = index * usize::try_from(self.width).unwrap_or(64);
        let from = self.bits.get(bit / 8..).unwrap_or_default();
        let shift = u32::try_from(bit % 8).unwrap_or(0);
        let low = match from.first_chunk() {
            Some(eight) => u64::from_le_bytes(*eight),
            None => (from.iter().rev()).fold(0, |low, byte| low << 8 | u64::from(*byte)),
        };
        let mut value = low >> shift;
        if self.width + shift > u64::BITS {
            let ninth = from.get(8).copied().unwrap_or(0);
            value |= u64::from(ninth) << (u64::BITS - shift);
        }
        self.base.wrapping_add(value & self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_comes_back_as_it_went_in(
            values in proptest::collection::vec(any::<u64>(), 0..=VALUES_MAX),
            shift in 0u32..64,
            rest in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let values: Vec<u64> = values.iter().map(|value| value >> shift).collect();
            let mut bytes = Vec::new();
            pack(&values, &mut bytes);
            let len = bytes.len();
            bytes.extend_from_slice(&rest);
            let (list, taken) = Packed::parse(&bytes, values.len()).unwrap();
            prop_assert_eq!(taken, len);
            prop_assert_eq!((list.len(), list.is_empty()), (values.len(), values.is_empty()));
            let mut again = Vec::new();
            list.unpack(&mut again);
            prop_assert_eq!(&again, &values);
            for (index, value) in values.iter().enumerate() {
                prop_assert_eq!(list.value(index), Some(*value));
            }
            prop_assert_eq!(list.value(values.len()), None);
            prop_assert!(Packed::parse(&bytes[..len - 1], values.len()).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..99),
            count in 0usize..200,
        ) {
            if let Ok((list, _)) = Packed::parse(&bytes, count) {
                let mut out = Vec::new();
                list.unpack(&mut out);
                prop_assert_eq!(out.len(), count);
            }
        }
    }

    #[test]
    fn a_width_of_more_than_a_number_is_refused() {
        let wide = |width| [&[width, 0][..], &[1; 200]].concat();
        assert!(Packed::parse(&wide(64), 8).is_ok());
        for width in 65..=u8::MAX {
            assert!(Packed::parse(&wide(width), 8).is_err(), "{width}");
        }
    }

    #[test]
    fn close_numbers_take_little_space() {
        let offsets: Vec<u64> = (0..64).map(|index| 100_000_000 + index * 300).collect();
        let mut bytes = Vec::new();
        pack(&offsets, &mut bytes);
        assert_eq!(bytes.len(), 1 + 4 + 64 * 15 / 8);
        pack(&[5; 128], &mut bytes);
        assert_eq!(bytes.len(), 1 + 4 + 64 * 15 / 8 + 2);
    }
}
