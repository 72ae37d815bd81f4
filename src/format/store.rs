//! The file `store`: what a store is, for ever. Written once, at creation, as two copies.

use uuid::Uuid;

use super::checksum::Salt;
use super::envelope::{self, enclose};
use super::{Field, FormatError};
use crate::model::{Lineage, StoreId};

const WHAT: &str = "the store's identity";
const MAGIC: [u8; 4] = *b"AnSt";
const VERSION: u32 = 1;

/// Who the store is.
pub const STORE: Field = envelope::VERSION.then("store id", 16);
/// Which of its histories.
pub const LINEAGE: Field = STORE.then("lineage", 16);
/// In front of what a record's header checksum covers; readers on the wire know it.
pub const RECORD_SALT: Field = LINEAGE.then("record salt", 16);
/// In front of what a unit's header checksum covers; never leaves the store.
pub const UNIT_SALT: Field = RECORD_SALT.then("unit salt", 16);
/// When the store was made.
pub const CREATED: Field = UNIT_SALT.then("created, microseconds since 1970", 8);
/// Units begin on multiples of this.
pub const UNIT_ALIGN: Field = CREATED.then("unit alignment, bytes", 4);
/// All fields of one copy.
pub const FIELDS: [Field; 9] = [
    envelope::MAGIC,
    envelope::CHECKSUM,
    envelope::VERSION,
    STORE,
    LINEAGE,
    RECORD_SALT,
    UNIT_SALT,
    CREATED,
    UNIT_ALIGN,
];
/// Where the second copy begins, in bytes; the rest of each half is zeros.
pub const COPY_LEN_BYTES: usize = 4096;
/// The length of the file, in bytes.
pub const FILE_LEN_BYTES: usize = 2 * COPY_LEN_BYTES;
/// The smallest alignment of units, in bytes: that of their lengths.
pub const UNIT_ALIGN_MIN: u32 = 8;
/// The largest alignment of units, in bytes.
pub const UNIT_ALIGN_MAX: u32 = 4096;

/// What tells a store from every other, and what its bytes are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who the store is.
    pub store: StoreId,
    /// Which of its histories.
    pub lineage: Lineage,
    /// See [`super::record`].
    pub record_salt: Salt,
    /// See [`super::unit`]; a secret.
    pub unit_salt: Salt,
    /// Units begin on multiples of this many bytes: a power of two from [`UNIT_ALIGN_MIN`] to
    /// [`UNIT_ALIGN_MAX`].
    pub unit_align: u32,
    /// When the store was made, in microseconds since 1970.
    pub created_us: i64,
}

impl Identity {
    /// The whole file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut content = Vec::new();
        content.extend_from_slice(self.store.0.as_bytes());
        content.extend_from_slice(self.lineage.0.as_bytes());
        content.extend_from_slice(&self.record_salt.bytes());
        content.extend_from_slice(&self.unit_salt.bytes());
        content.extend_from_slice(&self.created_us.to_le_bytes());
        content.extend_from_slice(&self.unit_align.to_le_bytes());
        let mut copy = enclose(MAGIC, VERSION, &content);
        copy.resize(COPY_LEN_BYTES, 0);
        copy.repeat(2)
    }

    /// Reads the whole file, from the first copy that is whole.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] if neither is, [`FormatError::Newer`] if a newer program wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        super::first_whole(bytes.chunks(COPY_LEN_BYTES), WHAT, |copy| {
            let len = UNIT_ALIGN.end();
            let copy = copy.get(..len).ok_or(FormatError::Truncated(WHAT))?;
            let mut reader = envelope::open(copy, MAGIC, VERSION, WHAT)?;
            let identity = Self {
                store: StoreId(Uuid::from_bytes(reader.array()?)),
                lineage: Lineage(Uuid::from_bytes(reader.array()?)),
                record_salt: Salt::new(reader.array()?),
                unit_salt: Salt::new(reader.array()?),
                created_us: reader.i64()?,
                unit_align: reader.u32()?,
            };
            let align = identity.unit_align;
            match (UNIT_ALIGN_MIN..=UNIT_ALIGN_MAX).contains(&align) && align.is_power_of_two() {
                true => Ok(identity),
                false => Err(FormatError::Invalid(WHAT)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(unit_align: u32) -> Identity {
        Identity {
            store: StoreId(Uuid::from_u128(1)),
            lineage: Lineage(Uuid::from_u128(2)),
            record_salt: Salt::new([3; 16]),
            unit_salt: Salt::new([4; 16]),
            unit_align,
            created_us: -5,
        }
    }

    #[test]
    fn units_are_aligned_to_a_power_of_two_within_limits() {
        for (align, fits) in [
            (UNIT_ALIGN_MIN, true),
            (UNIT_ALIGN_MAX, true),
            (UNIT_ALIGN_MIN / 2, false),
            (UNIT_ALIGN_MAX * 2, false),
            (UNIT_ALIGN_MIN + 1, false),
        ] {
            let decoded = Identity::decode(&identity(align).encode());
            assert_eq!(decoded.is_ok(), fits, "{align}");
        }
    }

    #[test]
    fn an_identity_survives_the_loss_of_either_copy() {
        let identity = identity(8);
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Ok(identity));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Identity::decode(&damaged), Ok(identity), "{at}");
        }
        assert!(Identity::decode(&bytes[..50]).is_err());
        assert!(Identity::decode(&[]).is_err());
    }
}
