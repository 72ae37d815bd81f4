//! What an index can be asked for: a kind and a text.

use crate::format::table::Kind;
use crate::model::{EventType, RecordedEvent, StreamMetadata, StreamName, Tag};
use crate::model::{Position, Revision};
use uuid::Uuid;

/// The key of a list of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// The events of a stream; ordinals are revisions.
    Stream(&'a str),
    /// The events of all streams of a category.
    Category(&'a str),
    /// The events of a type.
    EventType(&'a str),
    /// The events with a tag.
    Tag(&'a str),
    /// The first events of all streams: those with revision 0.
    NewStreams,
    /// The events with a correlation id.
    CorrelationId(&'a str),
    /// The first events of the streams of a category.
    CategoryStreams(&'a str),
    /// The events that delete or close a stream.
    Deletions,
}

impl<'a> Key<'a> {
    /// The kind of the key.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Stream(_) => Kind::Stream,
            Self::Category(_) => Kind::Category,
            Self::EventType(_) => Kind::EventType,
            Self::Tag(_) => Kind::Tag,
            Self::NewStreams => Kind::NewStreams,
            Self::CorrelationId(_) => Kind::CorrelationId,
            Self::CategoryStreams(_) => Kind::CategoryStreams,
            Self::Deletions => Kind::Deletions,
        }
    }

    /// The text of the key.
    pub(crate) fn text(self) -> &'a str {
        match self {
            Self::Stream(text)
            | Self::Category(text)
            | Self::EventType(text)
            | Self::Tag(text)
            | Self::CorrelationId(text)
            | Self::CategoryStreams(text) => text,
            Self::NewStreams | Self::Deletions => "",
        }
    }
}

/// What the index has to know of one event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posting<'a> {
    /// Where the event is.
    pub(crate) position: Position,
    /// Its stream.
    pub(crate) stream: &'a StreamName,
    /// Its revision; that of a tombstone is no ordinal.
    pub(crate) revision: Revision,
    /// Its type.
    pub(crate) event_type: &'a EventType,
    /// Its tags; one that stands twice counts once.
    pub(crate) tags: &'a [Tag],
    /// Its id.
    pub(crate) id: Uuid,
    /// What an event of a metadata stream says of the stream it describes.
    pub(crate) metadata: Option<&'a StreamMetadata>,
    /// The correlation id in its metadata.
    pub(crate) correlation_id: Option<&'a str>,
    /// Whether it closes its stream for ever.
    pub(crate) tombstone: bool,
    /// How long its record is, in bytes.
    pub(crate) record_len: u32,
}

impl<'a> Posting<'a> {
    /// What an event of a metadata stream says of the stream it describes; none for other events.
    pub(crate) fn metadata_of(event: &RecordedEvent) -> Option<StreamMetadata> {
        let RecordedEvent {
            stream,
            event_type,
            content_type,
            data,
            ..
        } = event;
        StreamMetadata::of_event(stream, event_type, content_type, data)
    }

    /// The keys of the lists that the event is in, but for those of its stream and of the stream it
    /// describes, of which the index says more. A tag that stands twice comes twice.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key<'a>> + use<'a> {
        let is_first = self.revision == Revision::START;
        let category = self.stream.category();
        let new = is_first.then_some(Key::NewStreams);
        let new_in_category = category.filter(|_| is_first).map(Key::CategoryStreams);
        let deletion = self.is_deletion().then_some(Key::Deletions);
        let own = [Some(Key::EventType(self.event_type)), new, new_in_category];
        let other = [
            category.map(Key::Category),
            self.correlation_id.map(Key::CorrelationId),
            deletion,
        ];
        let tags = self.tags.iter().map(|tag| Key::Tag(tag));
        own.into_iter().chain(other).flatten().chain(tags)
    }

    /// Whether it deletes a stream or closes it for ever.
    pub(crate) fn is_deletion(&self) -> bool {
        self.tombstone || self.metadata.is_some_and(StreamMetadata::is_deleted)
    }

    fn is_tombstone(event: &RecordedEvent) -> bool {
        event.revision == Revision::TOMBSTONE
    }

    /// The posting of an event of the log, with what [`Self::metadata_of`] and
    /// [`crate::model::correlation_id`] gave for it.
    pub(crate) fn of(
        event: &'a RecordedEvent,
        (metadata, correlation_id): (Option<&'a StreamMetadata>, Option<&'a str>),
        record_len: u32,
    ) -> Self {
        Self {
            position: event.position,
            stream: &event.stream,
            revision: event.revision,
            event_type: &event.event_type,
            tags: &event.tags,
            id: event.id,
            metadata,
            correlation_id,
            tombstone: Self::is_tombstone(event),
            record_len,
        }
    }
}
