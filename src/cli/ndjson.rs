//! Events as lines of JSON: what `import` reads, and what `export` and `read --json` write.
//!
//! A line is an object with these keys, in any order:
//!
//! | key | value | |
//! |---|---|---|
//! | `stream` | name of the stream | needed |
//! | `type` | event type | needed |
//! | `data` | any JSON, or | one of the two is needed |
//! | `data_base64` | bytes in base64 (RFC 4648 section 4, padded) | |
//! | `time` | when it happened, `2026-01-31T23:59:59.123Z`; else the time of the append | |
//! | `id` | UUID of the event; else [`derived_id`] | |
//! | `tags` | array of strings | |
//! | `content_type` | media type; else JSON (`data`) or plain bytes (`data_base64`) | |
//! | `metadata` or `metadata_base64` | as for data | |
//! | `position`, `revision` | where the event was read | not looked at |
//!
//! `data` and `metadata` are kept as the text they were: spaces, order of keys, escapes and the
//! writing of numbers. A line as [`write_line`] writes it therefore comes back byte for byte.

use std::borrow::Cow;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;

use crate::format::record::{PAYLOAD_LEN_BYTES_MAX, TAGS_MAX};
use crate::model::{
    ContentType, EventType, InvalidText, InvalidTimestamp, NewEvent, RecordedEvent, Revision,
    StreamName, Tag, Timestamp,
};

/// The name space of [`derived_id`].
pub const DERIVED_ID_NAMESPACE: Uuid = Uuid::from_u128(0xe091615f_7d6d_4aa7_8fc7_4b4f37afeaa0);

/// The id of an event whose line gives none: the version 5 UUID of `STREAM@REVISION` in
/// [`DERIVED_ID_NAMESPACE`]. An import that is run again thus appends the same ids again.
///
/// The revision is that of the store which reads the line: an event whose stream lost events in
/// front of it, by truncation and scavenging, gets another id where it is imported.
#[must_use]
pub fn derived_id(stream: &StreamName, revision: Revision) -> Uuid {
    Uuid::new_v5(
        &DERIVED_ID_NAMESPACE,
        format!("{stream}@{revision}").as_bytes(),
    )
}

/// An event as its line gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of the line in its input, from 1.
    pub number: u64,
    /// The stream the event is for.
    pub stream: StreamName,
    /// The id, if the line gives one.
    pub id: Option<Uuid>,
    /// What kind of fact it is.
    pub event_type: EventType,
    /// What the data is.
    pub content_type: ContentType,
    /// When it happened, if the line says so.
    pub created: Option<Timestamp>,
    /// Its labels, in the order given.
    pub tags: Vec<Tag>,
    /// Facts about the fact; shares the memory of the line.
    pub metadata: Bytes,
    /// The fact itself; shares the memory of the line.
    pub data: Bytes,
}

/// What is wrong with a line. The message begins with its number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// The number of the line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: LineError,
}

/// What is wrong with the text of a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is not JSON, or not an object with the keys and types of an event.
    #[error("column {column}: {message}")]
    NotAnEvent {
        /// Where the reader stopped: bytes from the start of the line, from 1.
        column: usize,
        /// What it had expected.
        message: String,
    },
    /// A name, a tag or the content type breaks its rule.
    #[error("{0}")]
    Text(#[from] InvalidText),
    /// `time` has another form.
    #[error("`time`: {0}")]
    Time(#[from] InvalidTimestamp),
    /// `id` has another form.
    #[error("`id` is not a UUID like 6f9619ff-8b86-4011-b42d-00c04fc964ff")]
    Id,
    /// The bytes cannot be decoded.
    #[error("`{0}_base64` is not base64 (RFC 4648 section 4, with padding)")]
    Base64(&'static str),
    /// A value is given in both forms.
    #[error("give either `{0}` or `{0}_base64`, not both")]
    Twice(&'static str),
    /// There is no data in either form.
    #[error("there is neither `data` nor `data_base64`")]
    NoData,
    /// Data of another content type stands as JSON in the line.
    #[error("`data` is JSON, but `content_type` is `{0}`: give the bytes in `data_base64`")]
    NotJson(String),
    /// There are more tags than an event may have.
    #[error("`tags` has {0} tags, more than the {TAGS_MAX} allowed")]
    TooManyTags(usize),
    /// Data and metadata are longer than an event may be.
    #[error(
        "data and metadata have {0} bytes, more than the {PAYLOAD_LEN_BYTES_MAX} an event may have"
    )]
    TooLong(usize),
}

impl Line {
    /// Reads the line with this number, with or without its line end.
    ///
    /// # Errors
    /// Says what is wrong: not JSON, a key that is missing, unknown or given twice, a value of the
    /// wrong type (`null` too), a name or a size beyond its limit.
    pub fn parse(number: u64, text: &Bytes) -> Result<Self, BadLine> {
        let bad = |what| BadLine { line: number, what };
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(bad(LineError::NotAnEvent {
                column: 1,
                message: "expected an object, `{\"stream\": .., \"type\": .., \"data\": ..}`"
                    .into(),
            }));
        }
        let keys: Keys<'_> =
            serde_json::from_slice(text).map_err(|error| bad(not_event(&error)))?;
        keys.check(number, text).map_err(bad)
    }

    /// The event, for the place in its stream that it is meant for: without an id of its own it
    /// gets the one derived from that place.
    #[must_use]
    pub fn into_event(self, revision: Revision) -> (StreamName, NewEvent) {
        let event = NewEvent {
            id: self
                .id
                .unwrap_or_else(|| derived_id(&self.stream, revision)),
            event_type: self.event_type,
            content_type: self.content_type,
            data: self.data,
            metadata: self.metadata,
            tags: self.tags,
            created: self.created,
        };
        (self.stream, event)
    }

    /// What the event adds to the length of an append: its names, tags, data and metadata.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len()).sum();
        self.stream.len() + self.event_type.len() + tags + self.data.len() + self.metadata.len()
    }
}

/// serde_json counts lines of its own; ours is always its first.
fn not_event(error: &serde_json::Error) -> LineError {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    LineError::NotAnEvent {
        column: error.column(),
        message: message.strip_suffix(&place).unwrap_or(&message).to_string(),
    }
}

/// Text that is borrowed from the line unless it has escapes in it, also within an `Option`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The keys of a line, not checked yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an event as an object")]
struct Keys<'a> {
    #[serde(borrow)]
    stream: Text<'a>,
    #[serde(borrow, rename = "type")]
    event_type: Text<'a>,
    #[serde(borrow, default, deserialize_with = "given")]
    time: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    tags: Vec<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    content_type: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    data_base64: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "given")]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    metadata_base64: Option<Text<'a>>,
    #[serde(default, rename = "position")]
    _position: Option<u64>,
    #[serde(default, rename = "revision")]
    _revision: Option<u64>,
}

/// A key that is there has a value of its type: `null` is data, and it is not a text.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl Keys<'_> {
    fn check(self, number: u64, line: &Bytes) -> Result<Line, LineError> {
        let data = bytes("data", self.data, self.data_base64, line)?.ok_or(LineError::NoData)?;
        let metadata = bytes("metadata", self.metadata, self.metadata_base64, line)?;
        let metadata = metadata.unwrap_or_default();
        let len_bytes = data.len().saturating_add(metadata.len());
        if len_bytes > PAYLOAD_LEN_BYTES_MAX {
            return Err(LineError::TooLong(len_bytes));
        }
        let content_type = match (self.content_type, self.data) {
            (None, Some(_)) => ContentType::Json,
            (None, None) => ContentType::Binary,
            (Some(Text(text)), inline) => match ContentType::new(&*text)? {
                other if inline.is_some() && other != ContentType::Json => {
                    return Err(LineError::NotJson(other.as_str().to_string()));
                }
                content_type => content_type,
            },
        };
        if self.tags.len() > TAGS_MAX {
            return Err(LineError::TooManyTags(self.tags.len()));
        }
        let tags = self.tags.iter().map(|Text(tag)| Tag::new(&**tag));
        Ok(Line {
            number,
            // Names are copied: whoever keeps one must not keep the line.
            stream: StreamName::new(&*self.stream.0)?,
            id: self.id.map(|Text(id)| hyphenated(&id)).transpose()?,
            event_type: EventType::new(&*self.event_type.0)?,
            content_type,
            created: self.time.map(|Text(time)| time.parse()).transpose()?,
            tags: tags.collect::<Result<_, _>>()?,
            metadata,
            data,
        })
    }
}

/// The value of a key in either form, in the memory of the line where it stands there as it is.
fn bytes(
    key: &'static str,
    inline: Option<&RawValue>,
    base64: Option<Text<'_>>,
    line: &Bytes,
) -> Result<Option<Bytes>, LineError> {
    match (inline, base64) {
        (Some(_), Some(_)) => Err(LineError::Twice(key)),
        (Some(json), None) => Ok(Some(line.slice_ref(json.get().as_bytes()))),
        (None, Some(Text(text))) => match BASE64.decode(&*text) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(_) => Err(LineError::Base64(key)),
        },
        (None, None) => Ok(None),
    }
}

fn hyphenated(text: &str) -> Result<Uuid, LineError> {
    match text.len() {
        uuid::fmt::Hyphenated::LENGTH => Uuid::parse_str(text).map_err(|_| LineError::Id),
        _ => Err(LineError::Id),
    }
}

/// Appends the line of an event, with its line end, to `out`.
///
/// Keys stand in the order stream, type, time, id, tags, content_type, data, metadata, without
/// spaces; what [`Line::parse`] would fill in by itself is left out. Data and metadata stand as
/// they are if they are JSON on one line, and in base64 if not. Texts are escaped as little as JSON
/// allows.
pub fn write_line(event: &RecordedEvent, out: &mut Vec<u8>) {
    let own_id = event.id != derived_id(&event.stream, event.revision);
    out.push(b'{');
    write_keys(event, own_id, out);
}

/// Appends the same with position, revision and id in any case: what `read` and `tail` print under
/// `--json`. [`Line::parse`] takes such a line too.
pub fn write_recorded(event: &RecordedEvent, out: &mut Vec<u8>) {
    let (position, revision) = (event.position, event.revision);
    write!(out, "{{\"position\":{position},\"revision\":{revision},")
        .expect("a vector takes every byte");
    write_keys(event, true, out);
}

fn write_keys(event: &RecordedEvent, with_id: bool, out: &mut Vec<u8>) {
    push_text(out, "\"stream\":", &event.stream);
    push_text(out, ",\"type\":", &event.event_type);
    push_display(out, ",\"time\":\"", &event.created);
    if with_id {
        push_display(out, ",\"id\":\"", &event.id);
    }
    for (at, tag) in event.tags.iter().enumerate() {
        push_text(out, if at == 0 { ",\"tags\":[" } else { "," }, tag);
    }
    if !event.tags.is_empty() {
        out.push(b']');
    }
    let is_json = event.content_type == ContentType::Json;
    let inline = is_json.then(|| one_line_json(&event.data)).flatten();
    // Without `content_type`, `data` is JSON and `data_base64` is binary.
    let implied = match inline {
        Some(_) => ContentType::Json,
        None => ContentType::Binary,
    };
    if event.content_type != implied {
        push_text(out, ",\"content_type\":", event.content_type.as_str());
    }
    push_value(out, ",\"data", inline, &event.data);
    if !event.metadata.is_empty() {
        let inline = one_line_json(&event.metadata);
        push_value(out, ",\"metadata", inline, &event.metadata);
    }
    out.extend_from_slice(b"}\n");
}

/// The bytes as they can stand in a line: one JSON value, nothing around it, no line break in it.
fn one_line_json(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let value: &RawValue = serde_json::from_str(text).ok()?;
    let breaks = |byte| matches!(byte, b'\n' | b'\r');
    (value.get().len() == text.len() && !text.bytes().any(breaks)).then_some(text)
}

fn push_value(out: &mut Vec<u8>, key: &str, inline: Option<&str>, bytes: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    match inline {
        Some(json) => {
            out.extend_from_slice(b"\":");
            out.extend_from_slice(json.as_bytes());
        }
        None => push_display(
            out,
            "_base64\":\"",
            &base64::display::Base64Display::new(bytes, &BASE64),
        ),
    }
}

/// What precedes, up to the opening quote, and a text that needs no escapes.
fn push_display(out: &mut Vec<u8>, before: &str, text: &impl std::fmt::Display) {
    write!(out, "{before}{text}\"").expect("a vector takes every byte");
}

/// What precedes, and a name. Names hold no control characters, so two escapes are enough.
fn push_text(out: &mut Vec<u8>, before: &str, name: &str) {
    out.extend_from_slice(before.as_bytes());
    out.push(b'"');
    for piece in name.split_inclusive(['"', '\\']) {
        match piece.strip_suffix(['"', '\\']) {
            Some(plain) => {
                out.extend_from_slice(plain.as_bytes());
                out.push(b'\\');
                out.extend(piece.bytes().last());
            }
            None => out.extend_from_slice(piece.as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
