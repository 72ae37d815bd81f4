//! The commit unit: everything that one sync makes durable.
//!
//! A unit is a header, the records of its events one after another, and a trailer that says which
//! records belong to one append, which requests they answer, and which state records came along. It
//! begins on a multiple of the store's alignment, and zeros fill the space to the next one.
//!
//! A unit is written only after the sync of the one before it returned. So a valid header is also a
//! witness: everything in front of it in the log was durable when it was written. Recovery rests on
//! this to tell an unfinished write from damage. The header checksum is salted with a secret that
//! never leaves the store, so that no event can hold bytes that look like a header.

use uuid::Uuid;

use super::checksum::{Salt, checksum};
use super::codec::{Reader, put_bytes, put_varint, to_u64};
use super::{Field, FormatError};
use crate::model::Position;

/// The bytes `AnUn`, so that a header is never all zeros.
pub const MAGIC: Field = Field::first("magic", 4);
/// Salted checksum of everything in the header behind it.
pub const HEADER_CHECKSUM: Field = MAGIC.then("header checksum", 4);
/// The segment that holds the unit.
pub const SEGMENT: Field = HEADER_CHECKSUM.then("segment", 4);
/// Where in the segment the unit begins.
pub const OFFSET: Field = SEGMENT.then("offset", 4);
/// The position of the unit's first event; without events, that of the next one to come.
pub const FIRST_POSITION: Field = OFFSET.then("first position", 8);
/// When the unit was made, in microseconds since 1970; never less than the unit before says.
pub const COMMITTED: Field = FIRST_POSITION.then("committed, microseconds since 1970", 8);
/// How many times the store had been opened for writing.
pub const EPOCH: Field = COMMITTED.then("epoch", 4);
/// The header checksum of the unit before this one, also across segments; 0 for the first.
pub const PREVIOUS: Field = EPOCH.then("previous unit's header checksum", 4);
/// How many records follow.
pub const RECORDS: Field = PREVIOUS.then("records", 4);
/// How many bytes the records take.
pub const RECORDS_LEN: Field = RECORDS.then("length of the records", 4);
/// How many bytes the trailer takes.
pub const TRAILER_LEN: Field = RECORDS_LEN.then("length of the trailer", 4);
/// Checksum of the list: the records' header checksums, then the trailer's checksum.
pub const BODY_CHECKSUM: Field = TRAILER_LEN.then("body checksum", 4);
/// All fields of the header.
pub const FIELDS: [Field; 12] = [
    MAGIC,
    HEADER_CHECKSUM,
    SEGMENT,
    OFFSET,
    FIRST_POSITION,
    COMMITTED,
    EPOCH,
    PREVIOUS,
    RECORDS,
    RECORDS_LEN,
    TRAILER_LEN,
    BODY_CHECKSUM,
];
/// The length of the header, in bytes.
pub const HEADER_LEN: usize = BODY_CHECKSUM.end();
const _: () = assert!(
    HEADER_LEN.is_multiple_of(8),
    "records begin on a multiple of 8"
);

const MAGIC_BYTES: [u8; 4] = *b"AnUn";
/// No unit is longer than this, in bytes: the largest append, its trailer and its header.
pub const UNIT_LEN_BYTES_MAX: usize = 20 * 1024 * 1024;
/// The longest name of a principal, in bytes.
pub const PRINCIPAL_LEN_BYTES_MAX: usize = 256;
/// The longest key of a state record, in bytes.
pub const STATE_KEY_LEN_BYTES_MAX: usize = 2 * 1024;
/// The longest value of a state record, in bytes.
pub const STATE_VALUE_LEN_BYTES_MAX: usize = 1024 * 1024;

/// A place in the log: a byte in a segment. Places grow as the log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment's number.
    pub segment: u32,
    /// Bytes from the start of the segment's file.
    pub offset: u32,
}

/// What a unit says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitHeader {
    /// Where it is.
    pub place: Place,
    /// The position of its first event, or of the next event to come.
    pub first_position: Position,
    /// When it was made, in microseconds since 1970.
    pub committed_us: i64,
    /// The epoch of the writer.
    pub epoch: u32,
    /// The header checksum of the unit before it.
    pub previous: u32,
    /// How many records it has.
    pub records: u32,
    /// How many bytes they take.
    pub records_len: u32,
    /// How many bytes the trailer takes.
    pub trailer_len: u32,
    /// The checksum of the list of checksums.
    pub body_checksum: u32,
}

impl UnitHeader {
    /// The header's bytes, and its checksum for the next unit to carry.
    #[must_use]
    pub fn encode(&self, salt: &Salt) -> ([u8; HEADER_LEN], u32) {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC_BYTES);
        bytes.extend_from_slice(&[0; HEADER_CHECKSUM.len]);
        bytes.extend_from_slice(&self.place.segment.to_le_bytes());
        bytes.extend_from_slice(&self.place.offset.to_le_bytes());
        bytes.extend_from_slice(&self.first_position.0.to_le_bytes());
        bytes.extend_from_slice(&self.committed_us.to_le_bytes());
        for value in [
            self.epoch,
            self.previous,
            self.records,
            self.records_len,
            self.trailer_len,
            self.body_checksum,
        ] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&bytes);
        let (front, summed) = header.split_at_mut(HEADER_CHECKSUM.end());
        let sum = salt.checksum(&[summed]);
        front
            .split_at_mut(HEADER_CHECKSUM.offset)
            .1
            .copy_from_slice(&sum.to_le_bytes());
        (header, sum)
    }

    /// Reads a header, and its checksum for the next unit to carry.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer bytes than a header has,
    /// [`FormatError::Checksum`] if they are no header of this store, [`FormatError::Invalid`] if
    /// the unit would be longer than any can be.
    pub fn decode(bytes: &[u8], salt: &Salt) -> Result<(Self, u32), FormatError> {
        let (header, _) = bytes
            .split_at_checked(HEADER_LEN)
            .ok_or(FormatError::Truncated("a unit's header"))?;
        let mut reader = Reader::new(header, "a unit's header");
        let magic = reader.array::<4>()?;
        let sum = reader.u32()?;
        let summed = header.get(HEADER_CHECKSUM.end()..).unwrap_or_default();
        if magic != MAGIC_BYTES || salt.checksum(&[summed]) != sum {
            return Err(FormatError::Checksum("a unit's header"));
        }
        let unit = Self {
            place: Place {
                segment: reader.u32()?,
                offset: reader.u32()?,
            },
            first_position: Position(reader.u64()?),
            committed_us: reader.i64()?,
            epoch: reader.u32()?,
            previous: reader.u32()?,
            records: reader.u32()?,
            records_len: reader.u32()?,
            trailer_len: reader.u32()?,
            body_checksum: reader.u32()?,
        };
        match unit.unpadded_len() <= to_u64(UNIT_LEN_BYTES_MAX) {
            true => Ok((unit, sum)),
            false => Err(FormatError::Invalid("a unit's length")),
        }
    }

    /// The position behind the unit's last event.
    #[must_use]
    pub fn end_position(&self) -> Position {
        self.first_position.plus(self.records.into())
    }

    /// The length of header, records and trailer, in bytes.
    #[must_use]
    pub fn unpadded_len(&self) -> u64 {
        to_u64(HEADER_LEN) + u64::from(self.records_len) + u64::from(self.trailer_len)
    }
}

/// One append of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendEntry {
    /// How many of the unit's records belong to it; the entries cover the records in order.
    pub records: u32,
    /// The request it answered, if its writer named one.
    pub request: Option<RequestEntry>,
}

/// The name that a writer gave to a request, to be recognised when it is sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestEntry {
    /// Who asked; empty for an embedding program and where nobody has to say who he is.
    pub principal: Box<str>,
    /// The request's id.
    pub id: Uuid,
    /// A hash of what was asked, to notice an id that is used for something else.
    pub content: u64,
}

/// A value of the store's own state: last writer wins, no position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRecord {
    /// Which kind of state.
    pub space: u8,
    /// Which one.
    pub key: Box<[u8]>,
    /// Its value; none if it was removed.
    pub value: Option<Box<[u8]>>,
}

/// What stands behind the records of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// The appends, in order.
    pub appends: Vec<AppendEntry>,
    /// The state records, in order.
    pub states: Vec<StateRecord>,
}

impl Trailer {
    /// Appends the trailer's bytes and returns their checksum.
    pub fn encode(&self, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        put_varint(out, to_u64(self.appends.len()));
        for append in &self.appends {
            let named = u64::from(append.request.is_some());
            put_varint(out, u64::from(append.records) << 1 | named);
            if let Some(request) = &append.request {
                put_bytes(out, request.principal.as_bytes());
                out.extend_from_slice(request.id.as_bytes());
                out.extend_from_slice(&request.content.to_le_bytes());
            }
        }
        put_varint(out, to_u64(self.states.len()));
        for state in &self.states {
            out.push(state.space);
            put_bytes(out, &state.key);
            match &state.value {
                None => put_varint(out, 0),
                Some(value) => {
                    put_varint(out, to_u64(value.len()) + 1);
                    out.extend_from_slice(value);
                }
            }
        }
        checksum(out.get(start..).unwrap_or_default())
    }

    /// Reads a trailer that takes all the bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] or [`FormatError::Invalid`] if they are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, "a unit's trailer");
        let trailer = Self::read(&mut reader)?;
        match reader.remaining() {
            0 => Ok(trailer),
            _ => Err(FormatError::Invalid("a unit's trailer")),
        }
    }

    /// Reads a trailer; something may stand behind it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let invalid = FormatError::Invalid("a unit's trailer");
        let mut trailer = Self::default();
        // Every entry takes at least a byte, so a count beyond the bytes left ends in `Truncated`.
        for _ in 0..reader.varint()? {
            let head = reader.varint()?;
            let records = u32::try_from(head >> 1).map_err(|_| invalid)?;
            let request = match head & 1 {
                0 => None,
                _ => {
                    let principal = reader.bytes_at_most(PRINCIPAL_LEN_BYTES_MAX)?;
                    Some(RequestEntry {
                        principal: std::str::from_utf8(principal).map_err(|_| invalid)?.into(),
                        id: Uuid::from_bytes(reader.array()?),
                        content: reader.u64()?,
                    })
                }
            };
            trailer.appends.push(AppendEntry { records, request });
        }
        for _ in 0..reader.varint()? {
            let space = reader.u8()?;
            let key = reader.bytes_at_most(STATE_KEY_LEN_BYTES_MAX)?.into();
            let value = match reader.len_at_most(STATE_VALUE_LEN_BYTES_MAX + 1)? {
                0 => None,
                len_and_one => Some(reader.take(len_and_one - 1)?.into()),
            };
            trailer.states.push(StateRecord { space, key, value });
        }
        Ok(trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> UnitHeader {
        UnitHeader {
            place: Place {
                segment: 3,
                offset: 4096,
            },
            first_position: Position(77),
            committed_us: -5,
            epoch: 2,
            previous: 0xdead_beef,
            records: 4,
            records_len: 1000,
            trailer_len: 10,
            body_checksum: 1,
        }
    }

    #[test]
    fn a_header_comes_back_as_it_went_in() {
        let salt = Salt::new([1; 16]);
        let (bytes, sum) = header().encode(&salt);
        assert_eq!(UnitHeader::decode(&bytes, &salt), Ok((header(), sum)));
        let other = UnitHeader::decode(&bytes, &Salt::new([2; 16]));
        assert_eq!(other, Err(FormatError::Checksum("a unit's header")));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_found() {
        let salt = Salt::new([1; 16]);
        let (bytes, _) = header().encode(&salt);
        for bit in 0..HEADER_LEN * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(UnitHeader::decode(&damaged, &salt).is_err(), "bit {bit}");
        }
    }

    /// There may be units and state records as long as this, so no limit can become less.
    #[test]
    fn a_unit_may_have_20_mib_and_a_state_record_a_key_of_2_kib_and_a_value_of_1_mib() {
        assert_eq!(UNIT_LEN_BYTES_MAX, 20_971_520);
        assert_eq!(STATE_KEY_LEN_BYTES_MAX, 2_048);
        assert_eq!(STATE_VALUE_LEN_BYTES_MAX, 1_048_576);
    }

    fn entry() -> impl Strategy<Value = AppendEntry> {
        let request =
            ("[a-z]{0,9}", any::<u128>(), any::<u64>()).prop_map(|(principal, id, content)| {
                RequestEntry {
                    principal: principal.into(),
                    id: Uuid::from_u128(id),
                    content,
                }
            });
        (any::<u32>(), proptest::option::of(request))
            .prop_map(|(records, request)| AppendEntry { records, request })
    }

    fn state() -> impl Strategy<Value = StateRecord> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        (any::<u8>(), bytes(), proptest::option::of(bytes())).prop_map(|(space, key, value)| {
            StateRecord {
                space,
                key: key.into(),
                value: value.map(Into::into),
            }
        })
    }

    proptest! {
        #[test]
        fn a_trailer_comes_back_as_it_went_in(
            appends in proptest::collection::vec(entry(), 0..9),
            states in proptest::collection::vec(state(), 0..9),
        ) {
            let trailer = Trailer { appends, states };
            let mut bytes = Vec::new();
            let sum = trailer.encode(&mut bytes);
            prop_assert_eq!(sum, checksum(&bytes));
            prop_assert_eq!(Trailer::decode(&bytes), Ok(trailer));
            bytes.push(0);
            prop_assert!(Trailer::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_the_decoders_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..99)
        ) {
            let _outcome = Trailer::decode(&bytes);
            let _outcome = UnitHeader::decode(&bytes, &Salt::new([0; 16]));
        }
    }
}
