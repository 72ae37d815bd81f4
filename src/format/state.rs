//! The state file: the state records that the log in front of a place leaves, and the named
//! requests there that no table of the index has. The manifest names it and says the place.
//!
//! All of it can be made again from the log. Opening a store reads it in order not to have to.

use uuid::Uuid;

use super::codec::put_bytes;
use super::envelope;
use super::unit::{AppendEntry, STATE_KEY_LEN_BYTES_MAX, STATE_VALUE_LEN_BYTES_MAX};
use super::{Field, FormatError};
use crate::model::Position;

const WHAT: &str = "a state file";
const MAGIC: [u8; 4] = *b"AnSr";
const VERSION: u32 = 1;
/// What stands where the space of another record would: there is none.
const END: u8 = 0;

/// The number in the file's name.
pub const NUMBER: Field = envelope::VERSION.then("number of the file", 4);
/// All fields in front of the lists.
pub const FIELDS: [Field; 4] = [
    envelope::MAGIC,
    envelope::CHECKSUM,
    envelope::VERSION,
    NUMBER,
];

/// A named request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRequest {
    /// The first 16 bytes of the BLAKE3 of its id and its principal.
    pub fingerprint: [u8; 16],
    /// The position of its first event; where it stood if it had none.
    pub first: u64,
    /// How many events it had.
    pub count: u32,
    /// The hash of what was asked.
    pub content: u64,
}

impl KnownRequest {
    /// What is kept of an append that answered a request.
    #[must_use]
    pub fn of(first: Position, append: &AppendEntry) -> Option<Self> {
        let request = append.request.as_ref()?;
        Some(Self {
            fingerprint: request_fingerprint(&request.principal, request.id),
            first: first.0,
            count: append.records,
            content: request.content,
        })
    }
}

/// The fingerprint of a request's name: nobody can make two collide.
#[must_use]
pub fn request_fingerprint(principal: &str, id: Uuid) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(id.as_bytes());
    hasher.update(principal.as_bytes());
    let mut fingerprint = [0; 16];
    hasher.finalize_xof().fill(&mut fingerprint);
    fingerprint
}

/// A state file on its way to the disk: records first, in the order of space and key.
#[derive(Debug)]
pub struct StateWriter {
    content: Vec<u8>,
}

impl StateWriter {
    /// An empty file of this number.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self {
            content: number.to_le_bytes().to_vec(),
        }
    }

    /// Adds a record. Space 0 is nobody's.
    pub fn state(&mut self, space: u8, key: &[u8], value: &[u8]) {
        self.content.push(space);
        put_bytes(&mut self.content, key);
        put_bytes(&mut self.content, value);
    }

    /// The whole file.
    #[must_use]
    pub fn finish(mut self, requests: &[KnownRequest]) -> Vec<u8> {
        self.content.push(END);
        for request in requests {
            self.content.extend_from_slice(&request.fingerprint);
            self.content.extend_from_slice(&request.first.to_le_bytes());
            self.content.extend_from_slice(&request.count.to_le_bytes());
            self.content
                .extend_from_slice(&request.content.to_le_bytes());
        }
        envelope::enclose(MAGIC, VERSION, &self.content)
    }
}

/// Reads a state file, of this number, and shows its records one after another.
///
/// # Errors
/// [`FormatError`] if the bytes are no such file; then what was shown is to be forgotten.
pub fn decode(
    bytes: &[u8],
    number: u32,
    mut state: impl FnMut(u8, &[u8], &[u8]),
) -> Result<Vec<KnownRequest>, FormatError> {
    let mut reader = envelope::open(bytes, MAGIC, VERSION, WHAT)?;
    if reader.u32()? != number {
        return Err(FormatError::Invalid(WHAT));
    }
    loop {
        let space = reader.u8()?;
        if space == END {
            break;
        }
        let key = reader.bytes_at_most(STATE_KEY_LEN_BYTES_MAX)?;
        let value = reader.bytes_at_most(STATE_VALUE_LEN_BYTES_MAX)?;
        state(space, key, value);
    }
    let mut requests = Vec::new();
    while reader.remaining() > 0 {
        requests.push(KnownRequest {
            fingerprint: reader.array()?,
            first: reader.u64()?,
            count: reader.u32()?,
            content: reader.u64()?,
        });
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Record = (u8, Vec<u8>, Vec<u8>);

    fn record() -> impl Strategy<Value = Record> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        (1..=u8::MAX, bytes(), bytes())
    }

    fn request() -> impl Strategy<Value = KnownRequest> {
        let fields = (any::<[u8; 16]>(), any::<u64>(), any::<u32>(), any::<u64>());
        fields.prop_map(|(fingerprint, first, count, content)| KnownRequest {
            fingerprint,
            first,
            count,
            content,
        })
    }

    proptest! {
        #[test]
        fn a_state_file_comes_back_as_it_went_in(
            states in proptest::collection::vec(record(), 0..9),
            requests in proptest::collection::vec(request(), 0..9),
            at in any::<prop::sample::Index>(),
        ) {
            let mut writer = StateWriter::new(7);
            for (space, key, value) in &states {
                writer.state(*space, key, value);
            }
            let mut bytes = writer.finish(&requests);
            let mut found = Vec::new();
            let mut show = |space, key: &[u8], value: &[u8]| {
                found.push((space, key.to_vec(), value.to_vec()));
            };
            prop_assert_eq!(decode(&bytes, 7, &mut show), Ok(requests));
            prop_assert_eq!(found, states);
            prop_assert!(decode(&bytes, 8, |_, _, _| ()).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= 1;
            prop_assert!(decode(&bytes, 7, |_, _, _| ()).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            content in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _outcome = decode(&content, 0, |_, _, _| ());
            let enclosed = envelope::enclose(MAGIC, VERSION, &content);
            let number = content.first_chunk().map_or(0, |four| u32::from_le_bytes(*four));
            let _outcome = decode(&enclosed, number, |_, _, _| ());
        }
    }
}
