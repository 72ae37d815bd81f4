//! The record: one event as it lies on disk and travels on the wire, byte for byte the same.
//!
//! A record does not hold its own position. Its header checksum covers the position and the store's
//! record salt in front of the header, so a valid record in the wrong place is found. The payload
//! checksum has no salt: whoever hands in an event can compute it, and it is kept as it was.
//!
//! The header ends where the payload (metadata, then data) begins, and its length is trusted only
//! after its checksum was found right.

use bytes::Bytes;
use uuid::Uuid;

use super::checksum::{Salt, checksum};
use super::codec::{Reader, put_varint, to_u64, unzigzag, zigzag};
use super::{Field, FormatError};
use crate::model::{
    ContentType, EventType, MediaType, NewEvent, Position, RecordedEvent, Revision, StreamName,
    Tag, Timestamp,
};

/// Salted checksum of the position and of everything from [`PAYLOAD_CHECKSUM`] to the payload.
pub const HEADER_CHECKSUM: Field = Field::first("header checksum", 4);
/// Checksum of metadata and data as one text.
pub const PAYLOAD_CHECKSUM: Field = HEADER_CHECKSUM.then("payload checksum", 4);
/// See the `FLAG_` constants.
pub const FLAGS: Field = PAYLOAD_CHECKSUM.then("flags", 1);
/// The event's id, in the byte order of RFC 9562.
pub const EVENT_ID: Field = FLAGS.then("event id", 16);
/// The fields that stand in front of the varints.
pub const FIELDS: [Field; 4] = [HEADER_CHECKSUM, PAYLOAD_CHECKSUM, FLAGS, EVENT_ID];

/// The two lowest bits: 0 JSON, 1 binary, 2 named.
pub const FLAG_CONTENT_TYPE_MASK: u8 = 0b0000_0011;
const CONTENT_JSON: u8 = 0;
const CONTENT_BINARY: u8 = 1;
const CONTENT_NAMED: u8 = 2;
/// A metadata length stands in front of the data length.
pub const FLAG_METADATA: u8 = 0b0000_0100;
/// A list of tags stands behind the names.
pub const FLAG_TAGS: u8 = 0b0000_1000;
/// The created time has any precision and value, not just microseconds since [`CREATED_BASE_S`].
pub const FLAG_CREATED_FULL: u8 = 0b0001_0000;
const FLAGS_KNOWN: u8 = FLAG_CONTENT_TYPE_MASK | FLAG_METADATA | FLAG_TAGS | FLAG_CREATED_FULL;

/// 2025-01-01T00:00:00Z in seconds since 1970: where the short form of created times begins.
pub const CREATED_BASE_S: i64 = 1_735_689_600;
/// The most tags of an event.
pub const TAGS_MAX: usize = 16;
/// The longest metadata and data together, in bytes.
pub const PAYLOAD_LEN_BYTES_MAX: usize = 16 * 1024 * 1024 - 64 * 1024;
/// Everything in a header but its texts: the fixed fields, revision, created time and lengths.
const NUMBERS_LEN_BYTES_MAX: usize = EVENT_ID.end() + 10 + 12 + 2 + 2 + 2 + 4 + 4 + 1;
/// No header is longer than this, in bytes.
pub const HEADER_LEN_BYTES_MAX: usize = NUMBERS_LEN_BYTES_MAX
    + StreamName::LEN_BYTES_MAX
    + EventType::LEN_BYTES_MAX
    + MediaType::LEN_BYTES_MAX
    + TAGS_MAX * (Tag::LEN_BYTES_MAX + 2);
const _: () = assert!(HEADER_LEN_BYTES_MAX <= super::checksum::PIECE_LEN_BYTES);

/// What goes into a record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The stream.
    pub stream: &'a StreamName,
    /// The event's number in the stream.
    pub revision: Revision,
    /// The event; its own created time is not looked at.
    pub event: &'a NewEvent,
    /// When it was created.
    pub created: Timestamp,
    /// [`payload_checksum`] of the event.
    pub payload_checksum: u32,
}

/// The checksum of an event's metadata and data.
#[must_use]
pub fn payload_checksum(event: &NewEvent) -> u32 {
    super::checksum::checksum_of_parts(&event.metadata, &event.data)
}

/// No less than the length of the record of this event, in bytes.
#[must_use]
pub fn len_max(stream: &StreamName, event: &NewEvent) -> usize {
    let tags_len: usize = event.tags.iter().map(|tag| tag.len() + 2).sum();
    NUMBERS_LEN_BYTES_MAX
        + stream.len()
        + event.event_type.len()
        + event.content_type.as_str().len()
        + tags_len
        + event.metadata.len()
        + event.data.len()
}

/// Appends a record and returns its header checksum.
pub fn encode(record: &Record<'_>, position: Position, salt: &Salt, out: &mut Vec<u8>) -> u32 {
    let event = record.event;
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_CHECKSUM.len]);
    out.extend_from_slice(&record.payload_checksum.to_le_bytes());
    out.push(flags(record));
    out.extend_from_slice(event.id.as_bytes());
    put_varint(out, record.revision.0);
    put_created(out, record.created);
    put_varint(out, to_u64(record.stream.len()));
    put_varint(out, to_u64(event.event_type.len()));
    if let ContentType::Other(_) = event.content_type {
        put_varint(out, to_u64(event.content_type.as_str().len()));
    }
    if !event.metadata.is_empty() {
        put_varint(out, to_u64(event.metadata.len()));
    }
    put_varint(out, to_u64(event.data.len()));
    out.extend_from_slice(record.stream.as_bytes());
    out.extend_from_slice(event.event_type.as_bytes());
    if let ContentType::Other(_) = event.content_type {
        out.extend_from_slice(event.content_type.as_str().as_bytes());
    }
    if !event.tags.is_empty() {
        put_varint(out, to_u64(event.tags.len()));
        for tag in &event.tags {
            super::codec::put_bytes(out, tag.as_bytes());
        }
    }
    let summed = out
        .get(start + PAYLOAD_CHECKSUM.offset..)
        .unwrap_or_default();
    let sum = salt.checksum(&[&position.0.to_le_bytes(), summed]);
    if let Some(place) = out.get_mut(start..start + HEADER_CHECKSUM.len) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    out.extend_from_slice(&event.metadata);
    out.extend_from_slice(&event.data);
    sum
}

fn flags(record: &Record<'_>) -> u8 {
    let event = record.event;
    let content_type = match event.content_type {
        ContentType::Json => CONTENT_JSON,
        ContentType::Binary => CONTENT_BINARY,
        ContentType::Other(_) => CONTENT_NAMED,
    };
    let when = |condition: bool, flag: u8| if condition { flag } else { 0 };
    content_type
        | when(!event.metadata.is_empty(), FLAG_METADATA)
        | when(!event.tags.is_empty(), FLAG_TAGS)
        | when(short_created(record.created).is_none(), FLAG_CREATED_FULL)
}

/// Microseconds since [`CREATED_BASE_S`], for times that have the server's own precision.
fn short_created(created: Timestamp) -> Option<u64> {
    let since = u64::try_from(created.seconds() - CREATED_BASE_S).ok()?;
    (created.decimals() == 6).then(|| since * 1_000_000 + u64::from(created.nanos() / 1_000))
}

fn put_created(out: &mut Vec<u8>, created: Timestamp) {
    if let Some(micros) = short_created(created) {
        return put_varint(out, micros);
    }
    out.push(created.decimals());
    put_varint(out, zigzag(created.seconds()));
    if created.decimals() > 0 {
        put_varint(
            out,
            u64::from(created.nanos() / decimal_unit(created.decimals())),
        );
    }
}

fn created(reader: &mut Reader<'_>, flags: u8) -> Result<Timestamp, FormatError> {
    let invalid = FormatError::Invalid("the created time of a record");
    if flags & FLAG_CREATED_FULL == 0 {
        let micros = i64::try_from(reader.varint()?).map_err(|_| invalid)?;
        let micros = micros
            .checked_add(CREATED_BASE_S * 1_000_000)
            .ok_or(invalid)?;
        let created = Timestamp::from_micros(micros);
        return if created.micros() == micros {
            Ok(created)
        } else {
            Err(invalid)
        };
    }
    let decimals = reader.u8()?;
    let seconds = unzigzag(reader.varint()?);
    let nanos = match decimals {
        0 => 0,
        1..=9 => {
            let fraction = u32::try_from(reader.varint()?).map_err(|_| invalid)?;
            fraction
                .checked_mul(decimal_unit(decimals))
                .ok_or(invalid)?
        }
        _ => return Err(invalid),
    };
    let created = Timestamp::new(seconds, nanos, decimals).map_err(|_| invalid)?;
    // One time, one form: the short form is the only one for the times it can hold.
    if short_created(created).is_some() {
        Err(invalid)
    } else {
        Ok(created)
    }
}

fn decimal_unit(decimals: u8) -> u32 {
    10u32.pow(u32::from(9u8.saturating_sub(decimals)))
}

/// Where the parts of a record lie, before any of them is believed.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    header_checksum: u32,
    payload_checksum: u32,
    content_type: u8,
    tagged: bool,
    id: Uuid,
    revision: Revision,
    created: Timestamp,
    stream_start: usize,
    stream_len: usize,
    type_len: usize,
    content_type_len: usize,
    header_len: usize,
    metadata_len: usize,
    data_len: usize,
}

impl Layout {
    /// Finds the parts of the record at the start of the bytes, which must hold its whole header.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the bytes end inside the header; [`FormatError::Invalid`] or
    /// [`FormatError::Newer`] if no header can look like that.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, "a record's header");
        let header_checksum = reader.u32()?;
        let payload_checksum = reader.u32()?;
        let flags = reader.u8()?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(FormatError::Newer("a record"));
        }
        let id = Uuid::from_bytes(reader.array()?);
        let revision = Revision(reader.varint()?);
        let created = created(&mut reader, flags)?;
        let stream_len = reader.len_at_most(StreamName::LEN_BYTES_MAX)?;
        let type_len = reader.len_at_most(EventType::LEN_BYTES_MAX)?;
        let content_type = flags & FLAG_CONTENT_TYPE_MASK;
        let content_type_len = match content_type {
            CONTENT_JSON | CONTENT_BINARY => 0,
            CONTENT_NAMED => reader.len_at_most(MediaType::LEN_BYTES_MAX)?,
            _ => return Err(FormatError::Newer("a record")),
        };
        let metadata_len = match flags & FLAG_METADATA {
            0 => 0,
            _ => reader.len_at_most(PAYLOAD_LEN_BYTES_MAX)?,
        };
        // One event, one form: what is empty has no flag.
        if metadata_len == 0 && flags & FLAG_METADATA != 0 {
            return Err(FormatError::Invalid("the metadata of a record"));
        }
        let data_len = reader.len_at_most(PAYLOAD_LEN_BYTES_MAX - metadata_len)?;
        let stream_start = bytes.len() - reader.remaining();
        reader.take(stream_len + type_len + content_type_len)?;
        let tagged = flags & FLAG_TAGS != 0;
        if tagged {
            let count = reader.len_at_most(TAGS_MAX)?;
            if count == 0 {
                return Err(FormatError::Invalid("the tags of a record"));
            }
            for _ in 0..count {
                reader.bytes_at_most(Tag::LEN_BYTES_MAX)?;
            }
        }
        Ok(Self {
            header_checksum,
            payload_checksum,
            content_type,
            tagged,
            id,
            revision,
            created,
            stream_start,
            stream_len,
            type_len,
            content_type_len,
            header_len: bytes.len() - reader.remaining(),
            metadata_len,
            data_len,
        })
    }

    /// The layout of the record at the start of the bytes, whose checksums were found right.
    ///
    /// # Errors
    /// As [`Self::parse`], [`Self::check_header`] and [`Self::check_payload`].
    #[inline]
    pub fn checked(bytes: &[u8], position: Position, salt: &Salt) -> Result<Self, FormatError> {
        let layout = Self::parse(bytes)?;
        layout.check_header(bytes, position, salt)?;
        layout.check_payload(bytes)?;
        Ok(layout)
    }

    /// The length of the whole record, in bytes.
    #[must_use]
    pub fn record_len(&self) -> usize {
        self.header_len + self.metadata_len + self.data_len
    }

    /// The header checksum that the record claims.
    #[must_use]
    pub fn header_checksum(&self) -> u32 {
        self.header_checksum
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The event's revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The event's created time.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// The stream's name, as bytes of the record.
    #[must_use]
    pub fn stream<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        let end = self.stream_start + self.stream_len;
        record.get(self.stream_start..end).unwrap_or_default()
    }

    /// The event's type, as bytes of the record.
    #[must_use]
    pub fn event_type<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        let start = self.stream_start + self.stream_len;
        record.get(start..start + self.type_len).unwrap_or_default()
    }

    /// The event's tags, as bytes of the record.
    pub fn tags<'a>(&self, record: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let start = self.stream_start + self.stream_len + self.type_len + self.content_type_len;
        let list = record.get(start..self.header_len).unwrap_or_default();
        let mut reader = Reader::new(list, "a record's tags");
        let count = match self.tagged {
            true => reader.len_at_most(TAGS_MAX).unwrap_or(0),
            false => 0,
        };
        (0..count).map_while(move |_| reader.bytes_at_most(Tag::LEN_BYTES_MAX).ok())
    }

    /// The event's metadata, as bytes of the record.
    #[must_use]
    pub fn metadata<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        let end = self.header_len + self.metadata_len;
        record.get(self.header_len..end).unwrap_or_default()
    }

    /// Checks the header checksum for a record at this position of this store.
    ///
    /// # Errors
    /// [`FormatError::Checksum`] if it is another record, or a damaged one.
    pub fn check_header(
        &self,
        record: &[u8],
        position: Position,
        salt: &Salt,
    ) -> Result<(), FormatError> {
        let header = record
            .get(PAYLOAD_CHECKSUM.offset..self.header_len)
            .unwrap_or_default();
        match salt.checksum(&[&position.0.to_le_bytes(), header]) == self.header_checksum {
            true => Ok(()),
            false => Err(FormatError::Checksum("a record's header")),
        }
    }

    /// Checks the payload checksum; the bytes must hold the whole record.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if they do not, [`FormatError::Checksum`] if they are damaged.
    pub fn check_payload(&self, record: &[u8]) -> Result<(), FormatError> {
        let payload = record
            .get(self.header_len..self.record_len())
            .ok_or(FormatError::Truncated("a record's payload"))?;
        match checksum(payload) == self.payload_checksum {
            true => Ok(()),
            false => Err(FormatError::Checksum("a record's payload")),
        }
    }

    /// The event, sharing the bytes of a record whose checksums were found right.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if the bytes do not hold the whole record,
    /// [`FormatError::Invalid`] if a text in it is none.
    pub fn event(&self, record: &Bytes, position: Position) -> Result<RecordedEvent, FormatError> {
        self.event_at(record, 0, position)
    }

    /// The same for a record that begins at `start`.
    #[inline]
    fn event_at(
        &self,
        record: &Bytes,
        start: usize,
        position: Position,
    ) -> Result<RecordedEvent, FormatError> {
        if record.len() < start + self.record_len() {
            return Err(FormatError::Truncated("a record's payload"));
        }
        let mut at = start + self.stream_start;
        let mut next = |len: usize| {
            let part = record.slice(at..at + len);
            at += len;
            part
        };
        let stream = StreamName::from_bytes(next(self.stream_len))
            .map_err(|_| FormatError::Invalid("a record's stream name"))?;
        let event_type = EventType::from_bytes(next(self.type_len))
            .map_err(|_| FormatError::Invalid("a record's event type"))?;
        let content_type = match self.content_type {
            CONTENT_JSON => ContentType::Json,
            CONTENT_BINARY => ContentType::Binary,
            _ => ContentType::from_bytes(next(self.content_type_len))
                .map_err(|_| FormatError::Invalid("a record's content type"))?,
        };
        let tags = if self.tagged {
            tags(&record.slice(at..start + self.header_len))?
        } else {
            Vec::new()
        };
        let metadata_start = start + self.header_len;
        let data_start = metadata_start + self.metadata_len;
        Ok(RecordedEvent {
            position,
            stream,
            revision: self.revision,
            id: self.id,
            event_type,
            content_type,
            created: self.created,
            tags,
            metadata: record.slice(metadata_start..data_start),
            data: record.slice(data_start..start + self.record_len()),
        })
    }
}

fn tags(list: &Bytes) -> Result<Vec<Tag>, FormatError> {
    let invalid = FormatError::Invalid("a record's tag");
    let mut reader = Reader::new(list, "a record's tags");
    let count = reader.len_at_most(TAGS_MAX)?;
    let mut tags = Vec::with_capacity(count);
    for _ in 0..count {
        let tag = reader.bytes_at_most(Tag::LEN_BYTES_MAX)?;
        tags.push(Tag::from_bytes(list.slice_ref(tag)).map_err(|_| invalid)?);
    }
    Ok(tags)
}

/// Checks the record at the start of the bytes and gives its event and its length in bytes.
///
/// # Errors
/// As the methods of [`Layout`].
pub fn decode(
    bytes: &Bytes,
    position: Position,
    salt: &Salt,
) -> Result<(RecordedEvent, usize), FormatError> {
    let layout = Layout::checked(bytes, position, salt)?;
    Ok((layout.event(bytes, position)?, layout.record_len()))
}

/// Checks the records that lie one behind the other from the start of the bytes on, as many as
/// `count` says, and appends their events. Positions count from `first`.
///
/// # Errors
/// As the methods of [`Layout`]. The events in front of the record with the error were appended.
pub fn decode_all(
    bytes: &Bytes,
    count: u32,
    first: Position,
    salt: &Salt,
    events: &mut Vec<RecordedEvent>,
) -> Result<(), FormatError> {
    let mut start = 0;
    for offset in 0..u64::from(count) {
        let position = first.plus(offset);
        let rest = bytes.get(start..).unwrap_or_default();
        let layout = Layout::checked(rest, position, salt)?;
        events.push(layout.event_at(bytes, start, position)?);
        start += layout.record_len();
    }
    Ok(())
}

#[cfg(test)]
#[path = "record/tests.rs"]
mod tests;
