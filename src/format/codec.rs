//! Reading and writing plain values: little-endian numbers, varints, lengths.
//!
//! A varint holds 7 bits a byte, lowest first; the high bit says that another byte follows. Only
//! the shortest form is accepted, so that equal values have equal bytes.

use super::FormatError;

/// The longest varint, in bytes.
pub const VARINT_LEN_MAX: usize = 10;

/// Appends a varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// How many bytes a varint takes.
#[must_use]
pub fn varint_len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(VARINT_LEN_MAX)
}

/// A signed number as an unsigned one with small values for small distances from zero.
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    let sign = if value < 0 { u64::MAX } else { 0 };
    (value.unsigned_abs().wrapping_sub(sign & 1) << 1) ^ (sign & 1)
}

/// The inverse of [`zigzag`].
#[must_use]
pub fn unzigzag(value: u64) -> i64 {
    let half = i64::try_from(value >> 1).unwrap_or(i64::MAX);
    if value & 1 == 0 { half } else { -half - 1 }
}

/// Appends a length as a varint, and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, to_u64(bytes.len()));
    out.extend_from_slice(bytes);
}

/// A length in memory as a number on disk.
#[must_use]
pub fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Reads values one after another; every read checks what is left.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads the bytes, which are a `what`.
    #[must_use]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The error that says that this structure ends too early.
    #[must_use]
    pub fn truncated(&self) -> FormatError {
        FormatError::Truncated(self.what)
    }

    /// The next bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.truncated())?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next bytes, as many as the type says.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(self.truncated())?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there is none.
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes as a number.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes as a number.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes as a number.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next eight bytes as a signed number.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn i64(&mut self) -> Result<i64, FormatError> {
        self.array().map(i64::from_le_bytes)
    }

    /// The next varint.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if it does not end, [`FormatError::Invalid`] if it has more than
    /// 64 bits or is not in its shortest form.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, FormatError> {
        // Most numbers are small.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().enumerate().take(VARINT_LEN_MAX) {
            let last = index + 1 == VARINT_LEN_MAX;
            if last && byte > 1 || index > 0 && byte == 0 {
                return Err(FormatError::Invalid(self.what));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(self.truncated())
    }

    /// The next varint as a length of at most `len_max`.
    ///
    /// # Errors
    /// As [`Self::varint`], and [`FormatError::Invalid`] beyond `len_max`.
    pub fn len_at_most(&mut self, len_max: usize) -> Result<usize, FormatError> {
        let len = usize::try_from(self.varint()?).map_err(|_| FormatError::Invalid(self.what))?;
        if len > len_max {
            Err(FormatError::Invalid(self.what))
        } else {
            Ok(len)
        }
    }

    /// A length of at most `len_max` as a varint, and as many bytes.
    ///
    /// # Errors
    /// As [`Self::len_at_most`] and [`Self::take`].
    pub fn bytes_at_most(&mut self, len_max: usize) -> Result<&'a [u8], FormatError> {
        let len = self.len_at_most(len_max)?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_comes_back_as_it_went_in(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            let mut reader = Reader::new(&out, "varint");
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.remaining(), 0);
        }

        #[test]
        fn a_signed_number_comes_back_as_it_went_in(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }

        #[test]
        fn only_the_shortest_varint_is_accepted(
            bytes in proptest::collection::vec(any::<u8>(), 0..12)
        ) {
            let mut reader = Reader::new(&bytes, "varint");
            if let Ok(value) = reader.varint() {
                let mut again = Vec::new();
                put_varint(&mut again, value);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - reader.remaining()]);
            }
        }
    }

    #[test]
    fn a_varint_has_at_most_64_bits() {
        for value in [u64::MAX, 1 << 63, (1 << 63) - 1] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new(&out, "varint").varint(), Ok(value));
        }
        for last in 2..=u8::MAX {
            let bytes = [[0xff; 9].as_slice(), &[last]].concat();
            let varint = Reader::new(&bytes, "varint").varint();
            assert_eq!(varint, Err(FormatError::Invalid("varint")), "{last}");
        }
    }

    #[test]
    fn small_distances_from_zero_are_small_numbers() {
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        assert_eq!(zigzag(i64::MIN), u64::MAX);
    }
}
