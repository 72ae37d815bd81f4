//! The body of an append: a layout of its own, because it is the one message whose size and number
//! decide how fast a server is.
//!
//! Names stand in two tables at the front, each once; events point into them. Data and metadata are
//! slices of the frame, and every event brings the checksum that its writer computed, which is
//! checked on arrival and goes to the disk as it is. All numbers are varints unless said otherwise.

use std::collections::HashMap;

use bytes::Bytes;
use smallvec::SmallVec;
use thiserror::Error;
use uuid::Uuid;

use crate::format::FormatError;
use crate::format::checksum::checksum;
use crate::format::codec::{Reader, put_bytes, put_varint, to_u64, unzigzag, zigzag};
use crate::format::record::{
    FLAG_CONTENT_TYPE_MASK, FLAG_METADATA, FLAG_TAGS, TAGS_MAX, payload_checksum,
};
use crate::model::{
    Append, ContentType, Ending, EventType, ExpectedRevision, InvalidText, MediaType, NewEvent,
    Request, Revision, StreamName, Tag, Timestamp,
};

/// A request id of 16 bytes follows the flags.
pub const APPEND_FLAG_REQUEST: u8 = 0b001;
/// The append deletes a stream; its number follows the tables.
pub const APPEND_FLAG_DELETE: u8 = 0b010;
/// The append closes a stream for ever; its number follows the tables.
pub const APPEND_FLAG_TOMBSTONE: u8 = 0b100;
const APPEND_FLAGS_KNOWN: u8 = APPEND_FLAG_REQUEST | APPEND_FLAG_DELETE | APPEND_FLAG_TOMBSTONE;

/// The event has a created time of its own. The other flags of an event are those of a record.
pub const EVENT_FLAG_CREATED: u8 = 0b0001_0000;
const EVENT_FLAGS_KNOWN: u8 =
    FLAG_CONTENT_TYPE_MASK | FLAG_METADATA | FLAG_TAGS | EVENT_FLAG_CREATED;
const CONTENT_JSON: u8 = 0;
const CONTENT_BINARY: u8 = 1;
const CONTENT_NAMED: u8 = 2;

const EXPECT_UNSTATED: u8 = 0;
const EXPECT_ANY: u8 = 1;
const EXPECT_NO_STREAM: u8 = 2;
const EXPECT_STREAM_EXISTS: u8 = 3;
const EXPECT_EXACTLY: u8 = 4;

/// No event is shorter, so a count of events is judged by the bytes that are there.
const EVENT_LEN_BYTES_MIN: usize = 4 + 1 + 16 + 1 + 1 + 1;
const EVENT_HEAD_LEN_BYTES_USUAL: usize = EVENT_LEN_BYTES_MIN + 8;
const NAMES_LEN_BYTES_USUAL: usize = 128;
/// The most events, and the most names, of one append: in memory each takes some hundred bytes,
/// however few it takes in a frame. Twice what a store takes, so that it can say its own limit.
const ENTRIES_MAX: usize = 2 * 65_536;

/// Why bytes are not an append.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AppendProblem {
    /// They do not have the layout.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A text is none of its kind.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// An event does not fit the checksum its writer gave it.
    #[error("event {0} does not fit its checksum")]
    PayloadDamaged(u32),
}

/// Names in the order in which they were first seen. A map finds them when there are many.
#[derive(Default)]
struct Table<'a> {
    names: SmallVec<[&'a str; 2]>,
    places: HashMap<&'a str, usize>,
    latest: usize,
}

impl<'a> Table<'a> {
    const FEW: usize = 8;

    fn push(&mut self, name: &'a str) {
        let place = self.names.len();
        self.names.push(name);
        match place {
            0..Self::FEW => {}
            Self::FEW => {
                for (place, name) in self.names.iter().enumerate() {
                    self.places.entry(name).or_insert(place);
                }
            }
            _ => {
                self.places.entry(name).or_insert(place);
            }
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        match self.names.len() <= Self::FEW {
            true => self.names.iter().position(|one| *one == name),
            false => self.places.get(name).copied(),
        }
    }

    fn place(&mut self, name: &'a str) -> usize {
        if self.names.get(self.latest) != Some(&name) {
            self.latest = self.find(name).unwrap_or_else(|| {
                self.push(name);
                self.names.len() - 1
            });
        }
        self.latest
    }
}

/// Appends the bytes of an append.
pub(super) fn put(append: &Append, out: &mut Vec<u8>) {
    let mut streams = Table::default();
    let mut types = Table::default();
    for (stream, _) in &append.expectations {
        streams.push(stream);
    }
    for (stream, event) in &append.events {
        streams.place(stream);
        types.place(&event.event_type);
    }
    let ending = append
        .ending
        .as_ref()
        .map(|(stream, ending)| (streams.place(stream), *ending));
    out.reserve(usual_len_bytes(append));
    out.push(append_flags(append));
    if let Some(request) = &append.request {
        out.extend_from_slice(request.id.as_bytes());
    }
    put_varint(out, to_u64(streams.names.len()));
    for (index, name) in streams.names.iter().enumerate() {
        put_bytes(out, name.as_bytes());
        put_expected(
            out,
            append
                .expectations
                .get(index)
                .map(|(_, expected)| *expected),
        );
    }
    put_varint(out, to_u64(types.names.len()));
    for name in &types.names {
        put_bytes(out, name.as_bytes());
    }
    if let Some((place, _)) = ending {
        put_varint(out, to_u64(place));
    }
    put_varint(out, to_u64(append.events.len()));
    let mut checksums = append.payload_checksums.iter();
    for (stream, event) in &append.events {
        let checksum = checksums
            .next()
            .copied()
            .unwrap_or_else(|| payload_checksum(event));
        let places = (streams.place(stream), types.place(&event.event_type));
        put_event(out, event, checksum, places);
    }
}

/// About how many bytes an append takes, so that they are seldom moved while they become more.
fn usual_len_bytes(append: &Append) -> usize {
    let events = append.events.iter();
    let event_len = |event: &NewEvent| event.data.len() + event.metadata.len();
    let events_len: usize = events
        .map(|(_, event)| EVENT_HEAD_LEN_BYTES_USUAL + event_len(event))
        .sum();
    NAMES_LEN_BYTES_USUAL + events_len
}

fn append_flags(append: &Append) -> u8 {
    let request = append.request.as_ref().map_or(0, |_| APPEND_FLAG_REQUEST);
    let ending = match append.ending {
        None => 0,
        Some((_, Ending::Deleted)) => APPEND_FLAG_DELETE,
        Some((_, Ending::Tombstoned)) => APPEND_FLAG_TOMBSTONE,
    };
    request | ending
}

fn put_expected(out: &mut Vec<u8>, expected: Option<ExpectedRevision>) {
    match expected {
        None => out.push(EXPECT_UNSTATED),
        Some(ExpectedRevision::Any) => out.push(EXPECT_ANY),
        Some(ExpectedRevision::NoStream) => out.push(EXPECT_NO_STREAM),
        Some(ExpectedRevision::StreamExists) => out.push(EXPECT_STREAM_EXISTS),
        Some(ExpectedRevision::Exactly(revision)) => {
            out.push(EXPECT_EXACTLY);
            put_varint(out, revision.0);
        }
    }
}

fn put_event(
    out: &mut Vec<u8>,
    event: &NewEvent,
    checksum: u32,
    (stream, event_type): (usize, usize),
) {
    let content_type = match event.content_type {
        ContentType::Json => CONTENT_JSON,
        ContentType::Binary => CONTENT_BINARY,
        ContentType::Other(_) => CONTENT_NAMED,
    };
    let when = |condition: bool, flag: u8| if condition { flag } else { 0 };
    out.extend_from_slice(&checksum.to_le_bytes());
    out.push(
        content_type
            | when(!event.metadata.is_empty(), FLAG_METADATA)
            | when(!event.tags.is_empty(), FLAG_TAGS)
            | when(event.created.is_some(), EVENT_FLAG_CREATED),
    );
    out.extend_from_slice(event.id.as_bytes());
    put_varint(out, to_u64(stream));
    put_varint(out, to_u64(event_type));
    if let ContentType::Other(_) = event.content_type {
        put_bytes(out, event.content_type.as_str().as_bytes());
    }
    if let Some(created) = event.created {
        out.push(created.decimals());
        put_varint(out, zigzag(created.seconds()));
        put_varint(out, u64::from(created.nanos()));
    }
    if !event.tags.is_empty() {
        put_varint(out, to_u64(event.tags.len()));
        for tag in &event.tags {
            put_bytes(out, tag.as_bytes());
        }
    }
    if !event.metadata.is_empty() {
        put_varint(out, to_u64(event.metadata.len()));
    }
    put_varint(out, to_u64(event.data.len()));
    out.extend_from_slice(&event.metadata);
    out.extend_from_slice(&event.data);
}

/// Reads an append whose events share the bytes, and checks the checksums of their payloads.
///
/// # Errors
/// See [`AppendProblem`].
pub fn take(bytes: &Bytes) -> Result<Append, AppendProblem> {
    let mut reader = Reader::new(bytes, "an append");
    let flags = reader.u8()?;
    if flags & !APPEND_FLAGS_KNOWN != 0 {
        return Err(FormatError::Newer("an append").into());
    }
    let mut append = Append::new();
    if flags & APPEND_FLAG_REQUEST != 0 {
        let id = Uuid::from_bytes(reader.array()?);
        append.request = Some(Request {
            principal: String::new(),
            id,
        });
    }
    let mut streams = SmallVec::<[StreamName; 1]>::new();
    for _ in 0..reader.len_at_most(ENTRIES_MAX)? {
        let name = reader.bytes_at_most(StreamName::LEN_BYTES_MAX)?;
        let name = StreamName::from_bytes(bytes.slice_ref(name))?;
        if let Some(expected) = take_expected(&mut reader)? {
            append.expectations.push((name.clone(), expected));
        }
        streams.push(name);
    }
    let mut types = SmallVec::<[EventType; 1]>::new();
    for _ in 0..reader.len_at_most(ENTRIES_MAX)? {
        let name = reader.bytes_at_most(EventType::LEN_BYTES_MAX)?;
        types.push(EventType::from_bytes(bytes.slice_ref(name))?);
    }
    let ending = match (
        flags & APPEND_FLAG_DELETE != 0,
        flags & APPEND_FLAG_TOMBSTONE != 0,
    ) {
        (false, false) => None,
        (true, false) => Some(Ending::Deleted),
        (false, true) => Some(Ending::Tombstoned),
        (true, true) => return Err(FormatError::Invalid("the flags of an append").into()),
    };
    if let Some(ending) = ending {
        append.ending = Some((pick(&mut reader, &streams)?, ending));
    }
    let count = reader.len_at_most(ENTRIES_MAX)?;
    if count > reader.remaining() / EVENT_LEN_BYTES_MIN {
        return Err(FormatError::Invalid("the number of events of an append").into());
    }
    append.events.reserve_exact(count);
    append.payload_checksums.reserve_exact(count);
    for index in 0..count {
        let stream_and_event = take_event(&mut reader, bytes, (&streams, &types), index)?;
        append.payload_checksums.push(stream_and_event.2);
        append.events.push((stream_and_event.0, stream_and_event.1));
    }
    if reader.remaining() > 0 {
        return Err(FormatError::Invalid("the end of an append").into());
    }
    Ok(append)
}

fn take_expected(reader: &mut Reader<'_>) -> Result<Option<ExpectedRevision>, FormatError> {
    Ok(match reader.u8()? {
        EXPECT_UNSTATED => None,
        EXPECT_ANY => Some(ExpectedRevision::Any),
        EXPECT_NO_STREAM => Some(ExpectedRevision::NoStream),
        EXPECT_STREAM_EXISTS => Some(ExpectedRevision::StreamExists),
        EXPECT_EXACTLY => Some(ExpectedRevision::Exactly(Revision(reader.varint()?))),
        _ => return Err(FormatError::Invalid("an expectation")),
    })
}

/// The entry of a table that a number points to.
fn pick<T: Clone>(reader: &mut Reader<'_>, table: &[T]) -> Result<T, FormatError> {
    let place = reader.len_at_most(table.len())?;
    table
        .get(place)
        .cloned()
        .ok_or(FormatError::Invalid("the number of a name"))
}

fn take_event(
    reader: &mut Reader<'_>,
    bytes: &Bytes,
    (streams, types): (&[StreamName], &[EventType]),
    index: usize,
) -> Result<(StreamName, NewEvent, u32), AppendProblem> {
    let payload_checksum = reader.u32()?;
    let flags = reader.u8()?;
    if flags & !EVENT_FLAGS_KNOWN != 0 {
        return Err(FormatError::Newer("an event").into());
    }
    let id = Uuid::from_bytes(reader.array()?);
    let stream = pick(reader, streams)?;
    let event_type = pick(reader, types)?;
    let content_type = match flags & FLAG_CONTENT_TYPE_MASK {
        CONTENT_JSON => ContentType::Json,
        CONTENT_BINARY => ContentType::Binary,
        CONTENT_NAMED => {
            let text = reader.bytes_at_most(MediaType::LEN_BYTES_MAX)?;
            ContentType::from_bytes(bytes.slice_ref(text))?
        }
        _ => return Err(FormatError::Newer("an event").into()),
    };
    let created = match flags & EVENT_FLAG_CREATED {
        0 => None,
        _ => Some(take_created(reader)?),
    };
    let mut tags = Vec::new();
    if flags & FLAG_TAGS != 0 {
        for _ in 0..reader.len_at_most(TAGS_MAX)? {
            let tag = reader.bytes_at_most(Tag::LEN_BYTES_MAX)?;
            tags.push(Tag::from_bytes(bytes.slice_ref(tag))?);
        }
    }
    let len_max = reader.remaining();
    let metadata_len = match flags & FLAG_METADATA {
        0 => 0,
        _ => reader.len_at_most(len_max)?,
    };
    let data_len = reader.len_at_most(len_max)?;
    let payload = reader.take(metadata_len + data_len)?;
    if checksum(payload) != payload_checksum {
        return Err(AppendProblem::PayloadDamaged(
            u32::try_from(index).unwrap_or(u32::MAX),
        ));
    }
    let mut data = match payload {
        [] => Bytes::new(),
        _ => bytes.slice_ref(payload),
    };
    let metadata = data.split_to(metadata_len);
    let event = NewEvent {
        id,
        event_type,
        content_type,
        data,
        metadata,
        tags,
        created,
    };
    Ok((stream, event, payload_checksum))
}

fn take_created(reader: &mut Reader<'_>) -> Result<Timestamp, FormatError> {
    let invalid = FormatError::Invalid("a created time");
    let decimals = reader.u8()?;
    let seconds = unzigzag(reader.varint()?);
    let nanos = u32::try_from(reader.varint()?).map_err(|_| invalid)?;
    Timestamp::new(seconds, nanos, decimals).map_err(|_| invalid)
}

#[cfg(test)]
#[path = "append/tests.rs"]
mod tests;
