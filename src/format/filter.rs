//! The keyed hash of index keys, and the filters made of it.
//!
//! The hash is 64 bits wide and keyed with a secret of the store, so nobody outside can choose
//! names that collide. It is good for filters, hash tables and fingerprints that are confirmed by
//! reading; nothing is ever decided by the hash alone.
//!
//! A filter is a split-block Bloom filter: blocks of 32 bytes, eight words of 32 bits; a key sets
//! one bit in each word of one block. With 16 bits a key about one in a thousand absent keys looks
//! present.

/// How many bytes one block of a filter has.
pub const BLOCK_LEN_BYTES: usize = 32;
/// How many bits of a filter there are for each key.
pub const BITS_PER_KEY: usize = 16;

/// Odd constants: which bit of a word a key sets is the top five bits of their products.
const WORD_SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Hashes keys with the secret of one store.
#[derive(Clone, Copy)]
pub struct KeyHasher {
    words: [u64; 4],
}

/// Does not show the key, which is secret.
impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyHasher").finish_non_exhaustive()
    }
}

impl KeyHasher {
    /// The hasher of the store with this secret. Its key is derived with BLAKE3.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        let key = blake3::derive_key("annal 1 index key hash", &secret);
        let mut words = [0; 4];
        let (chunks, _) = key.as_chunks::<8>();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u64::from_le_bytes(*chunk);
        }
        Self { words }
    }

    /// The hash of a text of some kind.
    #[must_use]
    pub fn hash(&self, kind: u8, text: &[u8]) -> u64 {
        let [start, low_key, end_key, last_key] = self.words;
        let len = super::codec::to_u64(text.len());
        let mut state = start ^ (len << 8 | u64::from(kind));
        let mut mix = |chunk: &[u8; 16]| {
            let (low, high) = halves(u128::from_le_bytes(*chunk));
            state = fold(low ^ low_key, high ^ state);
        };
        let (chunks, rest) = text.as_chunks::<16>();
        for chunk in chunks {
            mix(chunk);
        }
        if !rest.is_empty() {
            let mut padded = [0; 16];
            padded
                .iter_mut()
                .zip(rest)
                .for_each(|(to, from)| *to = *from);
            mix(&padded);
        }
        fold(state ^ end_key, last_key)
    }

    /// The fingerprint of an event's id in the stream whose name has this hash.
    #[must_use]
    pub fn fingerprint(&self, stream_hash: u64, id: &[u8; 16]) -> u64 {
        fold(stream_hash, self.hash(0, id))
    }
}

/// The low and the high half.
fn halves(value: u128) -> (u64, u64) {
    let low = u64::try_from(value & u128::from(u64::MAX)).unwrap_or(0);
    (low, u64::try_from(value >> 64).unwrap_or(0))
}

/// The two halves of the product, one over the other.
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = halves(u128::from(a) * u128::from(b));
    low ^ high
}

/// How many blocks a filter for so many keys has.
#[must_use]
pub fn blocks_for(keys: usize) -> usize {
    keys.saturating_mul(BITS_PER_KEY)
        .div_ceil(BLOCK_LEN_BYTES * 8)
}

/// Which block of `blocks` a key belongs to.
#[must_use]
pub fn block_of(hash: u64, blocks: usize) -> usize {
    let scaled = (hash >> 32) * super::codec::to_u64(blocks);
    usize::try_from(scaled >> 32).unwrap_or(0)
}

/// The filter with half as many blocks: each two neighbours become one. For an even number of
/// blocks this is the filter that would have been made with half as many.
#[must_use]
pub fn halved(filter: &[u8]) -> Vec<u8> {
    let mut half = Vec::with_capacity(filter.len() / 2);
    for pair in filter.chunks_exact(2 * BLOCK_LEN_BYTES) {
        let (left, right) = pair.split_at(BLOCK_LEN_BYTES);
        half.extend(left.iter().zip(right).map(|(left, right)| left | right));
    }
    half
}

fn bits(hash: u64) -> [u32; 8] {
    let low = u32::try_from(hash & u64::from(u32::MAX)).unwrap_or(0);
    WORD_SALTS.map(|salt| 1 << (low.wrapping_mul(salt) >> 27))
}

/// Sets a key's bits in its block, which must have [`BLOCK_LEN_BYTES`].
pub fn insert(block: &mut [u8], hash: u64) {
    let (words, _) = block.as_chunks_mut::<4>();
    for (word, bit) in words.iter_mut().zip(bits(hash)) {
        *word = (u32::from_le_bytes(*word) | bit).to_le_bytes();
    }
}

/// Whether all of a key's bits are set in its block; if not, the key was never inserted.
#[must_use]
pub fn contains(block: &[u8], hash: u64) -> bool {
    let (words, _) = block.as_chunks::<4>();
    let all_set = |(word, bit): (&[u8; 4], u32)| u32::from_le_bytes(*word) & bit != 0;
    words.iter().zip(bits(hash)).all(all_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_little_else() {
        // Under Miri a hash takes more than ten milliseconds.
        let keys: u32 = if cfg!(miri) { 200 } else { 10_000 };
        let hasher = KeyHasher::new([7; 16]);
        let name = |number: u32| format!("stream-{number}");
        let blocks = blocks_for(usize::try_from(keys).unwrap());
        let mut filter = vec![0; blocks * BLOCK_LEN_BYTES];
        for number in 0..keys {
            let hash = hasher.hash(1, name(number).as_bytes());
            let at = block_of(hash, blocks) * BLOCK_LEN_BYTES;
            insert(&mut filter[at..at + BLOCK_LEN_BYTES], hash);
        }
        let found = |number: u32| {
            let hash = hasher.hash(1, name(number).as_bytes());
            let at = block_of(hash, blocks) * BLOCK_LEN_BYTES;
            contains(&filter[at..at + BLOCK_LEN_BYTES], hash)
        };
        assert!((0..keys).all(found));
        let absent = keys..11 * keys;
        let (count, wrong) = (absent.len(), absent.filter(|it| found(*it)).count());
        assert!(
            1000 * wrong < 3 * count,
            "{wrong} of {count} absent keys look present"
        );
    }

    #[test]
    fn half_a_filter_is_the_filter_of_half_the_size() {
        let hasher = KeyHasher::new([7; 16]);
        let filter = |blocks: usize| {
            let mut filter = vec![0; blocks * BLOCK_LEN_BYTES];
            for number in 0u32..500 {
                let hash = hasher.hash(1, &number.to_le_bytes());
                let at = block_of(hash, blocks) * BLOCK_LEN_BYTES;
                insert(&mut filter[at..at + BLOCK_LEN_BYTES], hash);
            }
            filter
        };
        assert_eq!(halved(&filter(22)), filter(11));
        assert_eq!(halved(&halved(&filter(20))), filter(5));
    }

    #[test]
    fn the_hash_depends_on_secret_kind_length_and_every_byte() {
        let hasher = KeyHasher::new([7; 16]);
        let text = b"0123456789abcdef0123456789abcdef0";
        let hash = hasher.hash(1, text);
        assert_ne!(hash, KeyHasher::new([8; 16]).hash(1, text));
        assert_ne!(hash, hasher.hash(2, text));
        assert_ne!(hash, hasher.hash(1, b"0123456789abcdef0123456789abcdef0\0"));
        for at in 0..text.len() {
            let mut other = *text;
            other[at] ^= 1;
            assert_ne!(hash, hasher.hash(1, &other), "byte {at}");
        }
    }

    #[test]
    fn the_hash_is_frozen_because_it_is_on_disk() {
        let hasher = KeyHasher::new(*b"0123456789abcdef");
        assert_eq!(hasher.hash(1, b"order-1"), 0xc48c0e01b1ea51a2);
    }

    #[test]
    fn a_fingerprint_depends_on_the_stream_and_on_the_id() {
        let hasher = KeyHasher::new([7; 16]);
        let fingerprint = hasher.fingerprint(5, &[1; 16]);
        assert_ne!(fingerprint, hasher.fingerprint(6, &[1; 16]));
        assert_ne!(fingerprint, hasher.fingerprint(5, &[2; 16]));
    }

    #[test]
    fn a_filter_has_16_bits_for_each_key() {
        for (keys, blocks) in [(0, 0), (1, 1), (16, 1), (17, 2), (32, 2), (1000, 63)] {
            assert_eq!(blocks_for(keys), blocks, "{keys}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?}", KeyHasher::new([7; 16]));
        assert_eq!(shown, "KeyHasher { .. }");
    }
}
