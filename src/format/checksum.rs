//! The one checksum of the format: CRC-32 with the IEEE polynomial (as zlib, PNG, Ethernet;
//! `123456789` gives `cbf43926`), computed by the crate `crc32fast`.
//!
//! The polynomial keeps a Hamming distance of 4 up to 91,607 bits. Longer texts are therefore cut
//! into pieces of 8 KiB, and their checksum is that of the list of the pieces' checksums, each four
//! bytes, little-endian. A checksum never covers bytes that contain their own checksum: such bytes
//! could be exchanged for others of the kind without a change in the outer sum.

use crc32fast::Hasher;

/// The longest text that is summed as a whole, in bytes.
pub const PIECE_LEN_BYTES: usize = 8 * 1024;

/// The checksum of a text of any length.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    checksum_of_parts(bytes, &[])
}

/// The checksum of two texts as if they were one.
#[must_use]
pub fn checksum_of_parts(first: &[u8], second: &[u8]) -> u32 {
    if first.len() + second.len() <= PIECE_LEN_BYTES {
        let mut hasher = Hasher::new();
        hasher.update(first);
        hasher.update(second);
        return hasher.finalize();
    }
    let mut list = Hasher::new();
    let mut piece = Hasher::new();
    let mut room = PIECE_LEN_BYTES;
    for mut part in [first, second] {
        while !part.is_empty() {
            let (head, tail) = part.split_at(room.min(part.len()));
            piece.update(head);
            room -= head.len();
            part = tail;
            if room == 0 {
                list.update(&piece.finalize().to_le_bytes());
                piece = Hasher::new();
                room = PIECE_LEN_BYTES;
            }
        }
    }
    if room < PIECE_LEN_BYTES {
        list.update(&piece.finalize().to_le_bytes());
    }
    list.finalize()
}

/// The checksum of a list of checksums, built one by one.
#[derive(Clone, Debug, Default)]
pub struct ChecksumList(Hasher);

impl ChecksumList {
    /// Adds a checksum to the list.
    pub fn push(&mut self, checksum: u32) {
        self.0.update(&checksum.to_le_bytes());
    }

    /// The checksum of the list.
    #[must_use]
    pub fn finish(&self) -> u32 {
        self.0.clone().finalize()
    }
}

/// A secret or a store's own number that goes in front of what is summed, so that bytes of another
/// store, or bytes that a writer of events made up, do not pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt {
    bytes: [u8; 16],
    state: u32,
}

/// Does not show the bytes, which may be secret.
impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salt").finish_non_exhaustive()
    }
}

impl Salt {
    /// A salt of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self {
            bytes,
            state: crc32fast::hash(&bytes),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        self.bytes
    }

    /// The checksum of the salt followed by the parts.
    #[must_use]
    pub fn checksum(&self, parts: &[&[u8]]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.state);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_ieee() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn where_two_parts_meet_does_not_matter() {
        let bytes: Vec<u8> = (0..40_000u32).flat_map(u32::to_le_bytes).collect();
        for len in [0, 1, 8191, 8192, 8193, 16_384, 16_385, bytes.len()] {
            let text = &bytes[..len];
            for cut in [0, 1, len / 2, len.saturating_sub(1), len] {
                let (first, second) = text.split_at(cut.min(len));
                assert_eq!(
                    checksum_of_parts(first, second),
                    checksum(text),
                    "{len} {cut}"
                );
            }
        }
    }

    #[test]
    fn a_long_text_is_the_list_of_its_pieces() {
        for len in [1, PIECE_LEN_BYTES, PIECE_LEN_BYTES + 1] {
            let bytes = vec![7u8; PIECE_LEN_BYTES + len];
            let mut list = ChecksumList::default();
            for piece in bytes.chunks(PIECE_LEN_BYTES) {
                list.push(crc32fast::hash(piece));
            }
            assert_eq!(checksum(&bytes), list.finish());
        }
    }

    #[test]
    fn a_salt_stands_in_front() {
        let salt = Salt::new(*b"0123456789abcdef");
        assert_eq!(
            salt.checksum(&[b"x", b"yz"]),
            crc32fast::hash(b"0123456789abcdefxyz")
        );
    }

    #[test]
    fn a_salt_is_not_shown() {
        assert_eq!(format!("{:?}", Salt::new([77; 16])), "Salt { .. }");
    }
}
