//! Events: what a writer hands in, and what a reader gets back.

use bytes::Bytes;
use uuid::Uuid;

use super::text::{InvalidText, check, from_utf8};
use super::{EventType, Position, Revision, StreamName, Tag, Timestamp};
use bytestring::ByteString;

/// What the data of an event is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// `application/json`.
    Json,
    /// `application/octet-stream`.
    Binary,
    /// Anything else, by its media type.
    Other(MediaType),
}

impl ContentType {
    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Json => "application/json",
            Self::Binary => "application/octet-stream",
            Self::Other(other) => &other.0,
        }
    }

    /// The content type with this media type.
    ///
    /// # Errors
    /// Refuses an empty text, one of more than 128 bytes, and one with control characters.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, InvalidText> {
        let text = text.into();
        match &*text {
            "application/json" => Ok(Self::Json),
            "application/octet-stream" => Ok(Self::Binary),
            other => {
                check(other, "content type", MediaType::LEN_BYTES_MAX)?;
                Ok(Self::Other(MediaType(text)))
            }
        }
    }

    /// The same for bytes, which are shared, not copied.
    ///
    /// # Errors
    /// As [`Self::new`], and refuses bytes that are not UTF-8.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, InvalidText> {
        Self::new(from_utf8(bytes, "content type")?)
    }
}

/// A media type that is neither JSON nor binary; made by [`ContentType::new`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaType(ByteString);

impl MediaType {
    /// The longest allowed, in bytes.
    pub const LEN_BYTES_MAX: usize = 128;
}

/// An event that is not in the log yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Names the event for ever. A retried append with the same ids is answered as the first was.
    pub id: Uuid,
    /// What kind of fact it is.
    pub event_type: EventType,
    /// What the data is.
    pub content_type: ContentType,
    /// The fact itself. Kept byte for byte; JSON is not checked.
    pub data: Bytes,
    /// Facts about the fact, such as causation and correlation. Kept byte for byte.
    pub metadata: Bytes,
    /// At most 16 labels, in the order given.
    pub tags: Vec<Tag>,
    /// When it happened, if the writer knows better than the store's clock at the append.
    pub created: Option<Timestamp>,
}

impl NewEvent {
    /// An event with JSON data, a random id and nothing else.
    #[must_use]
    pub fn json(event_type: EventType, data: impl Into<Bytes>) -> Self {
        Self {
            id: Uuid::new_v4(),
            event_type,
            content_type: ContentType::Json,
            data: data.into(),
            metadata: Bytes::new(),
            tags: Vec::new(),
            created: None,
        }
    }

    /// An event with binary data, a random id and nothing else.
    #[must_use]
    pub fn binary(event_type: EventType, data: impl Into<Bytes>) -> Self {
        Self {
            content_type: ContentType::Binary,
            ..Self::json(event_type, data)
        }
    }

    /// The same event with another id.
    #[must_use]
    pub fn with_id(self, id: Uuid) -> Self {
        Self { id, ..self }
    }

    /// The same event with other metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: impl Into<Bytes>) -> Self {
        Self {
            metadata: metadata.into(),
            ..self
        }
    }

    /// The same event with other tags.
    #[must_use]
    pub fn with_tags(self, tags: Vec<Tag>) -> Self {
        Self { tags, ..self }
    }

    /// The same event with a created time of its own.
    #[must_use]
    pub fn with_created(self, created: Timestamp) -> Self {
        Self {
            created: Some(created),
            ..self
        }
    }
}

/// An event as the log holds it. Texts and bytes are shared with the block they were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its number in the whole log.
    pub position: Position,
    /// The stream it belongs to.
    pub stream: StreamName,
    /// Its number in the stream.
    pub revision: Revision,
    /// The id its writer gave it.
    pub id: Uuid,
    /// What kind of fact it is.
    pub event_type: EventType,
    /// What the data is.
    pub content_type: ContentType,
    /// When it happened: the writer's word, or the store's clock at the append.
    pub created: Timestamp,
    /// Its labels, in the order given.
    pub tags: Vec<Tag>,
    /// Facts about the fact.
    pub metadata: Bytes,
    /// The fact itself.
    pub data: Bytes,
}
