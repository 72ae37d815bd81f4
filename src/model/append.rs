//! What a writer asks for, and what it gets back.

use bytes::Bytes;
use uuid::Uuid;

use super::{
    EventType, ExpectedRevision, InvalidText, NewEvent, Position, Revision, StateChange,
    StreamMetadata, StreamName, Token,
};

/// A request to change streams: all of it happens, or nothing.
///
/// Most requests append events to one or more streams, in the order given. Deleting a stream and
/// closing it for ever are requests too, and pass the same gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// The events, each with its stream, in order.
    pub events: Vec<(StreamName, NewEvent)>,
    /// What is expected of streams, written or not; at most one expectation a stream.
    pub expectations: Vec<(StreamName, ExpectedRevision)>,
    /// The stream to be ended, in a request that appends nothing.
    pub ending: Option<(StreamName, Ending)>,
    /// The stream to be brought back, in a request that appends nothing.
    pub(crate) brought_back: Option<StreamName>,
    /// The name of the request, if it has one.
    pub request: Option<Request>,
    /// The state records that change with it.
    pub(crate) states: Vec<StateChange>,
    /// The checksum of each event's payload as its writer computed it far away, found right on
    /// arrival; empty where the store is to compute them.
    pub(crate) payload_checksums: Vec<u32>,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its events are hidden, and it may be written again.
    Deleted,
    /// Its events are hidden, and nothing can be written to it again.
    Tombstoned,
}

/// The name a writer gives to a request, so that sending it again returns the first receipt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Who asks, in at most 256 bytes; two principals may use the same id. Empty for an embedding
    /// program.
    pub principal: String,
    /// The id, chosen by the writer, new for each request.
    pub id: Uuid,
}

impl Append {
    /// A request without events or expectations, to be filled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Events for one stream, with what is expected of it.
    #[must_use]
    pub fn to(
        stream: StreamName,
        expected: ExpectedRevision,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Self {
        let events = events
            .into_iter()
            .map(|event| (stream.clone(), event))
            .collect();
        Self {
            events,
            expectations: vec![(stream, expected)],
            ..Self::default()
        }
    }

    /// Deletes a stream: its events are hidden, and it may be written again, with revisions that go
    /// on where they ended.
    #[must_use]
    pub fn delete(stream: StreamName, expected: ExpectedRevision) -> Self {
        Self::end(stream, expected, Ending::Deleted)
    }

    /// Closes a stream for ever: its events are hidden, and nothing can be written to it again.
    #[must_use]
    pub fn tombstone(stream: StreamName, expected: ExpectedRevision) -> Self {
        Self::end(stream, expected, Ending::Tombstoned)
    }

    fn end(stream: StreamName, expected: ExpectedRevision, ending: Ending) -> Self {
        let expectations = vec![(stream.clone(), expected)];
        Self {
            expectations,
            ending: Some((stream, ending)),
            ..Self::default()
        }
    }

    /// Appends nothing to a stream, as EventStoreDB's clients can: the expectation is judged as
    /// that of a writer, and a deleted stream comes back, without events. Any other stream stays as
    /// it is. The receipt tells where the stream ends. Such a request does nothing else, has no
    /// name, and is for programs that embed the store; a client is refused.
    #[must_use]
    pub fn bring_back(stream: StreamName, expected: ExpectedRevision) -> Self {
        Self {
            brought_back: Some(stream.clone()),
            expectations: vec![(stream, expected)],
            ..Self::default()
        }
    }

    /// Replaces the metadata of a stream by a JSON object. The expectation is of the metadata's own
    /// revision: each change of the metadata is an event of the stream `$$STREAM`.
    ///
    /// # Errors
    /// Refuses a metadata stream, which has no metadata of its own, and a name that leaves no room
    /// for the `$$`.
    pub fn metadata(
        stream: &StreamName,
        expected: ExpectedRevision,
        json: impl Into<Bytes>,
    ) -> Result<Self, InvalidText> {
        let reserved = || InvalidText::Reserved {
            what: "stream with metadata",
            text: stream.to_string(),
        };
        let metadata_stream = stream.metadata_stream().ok_or_else(reserved)?;
        let event_type = EventType::new(StreamMetadata::EVENT_TYPE)?;
        Ok(Self::to(
            metadata_stream,
            expected,
            [NewEvent::json(event_type, json)],
        ))
    }

    /// Adds one event. A stream without a stated expectation takes it wherever it ends.
    #[must_use]
    pub fn event(mut self, stream: StreamName, event: NewEvent) -> Self {
        self.events.push((stream, event));
        self
    }

    /// States what is expected of a stream, whether or not the request writes to it. One
    /// expectation a stream.
    #[must_use]
    pub fn expect(mut self, stream: StreamName, expected: ExpectedRevision) -> Self {
        self.expectations.push((stream, expected));
        self
    }

    /// Changes a state record, in the same commit as the events. A request that is recognised as a
    /// repetition changes none. Only programs that embed the store have state records; a client is
    /// refused.
    #[must_use]
    pub fn state(mut self, change: StateChange) -> Self {
        self.states.push(change);
        self
    }

    /// Names the request.
    #[must_use]
    pub fn request(mut self, request: Request) -> Self {
        self.request = Some(request);
        self
    }
}

/// Proof that an append is on stable storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The position of the first event; for a request without events, where the log ended.
    pub first: Position,
    /// The position of the last event that the writer handed in; none for a request without events.
    pub last: Option<Position>,
    /// The last revision of each written stream after the append, in the order in which the request
    /// first names them. A deletion names the metadata stream it wrote to.
    pub revisions: Vec<(StreamName, Revision)>,
    /// Covers the append: whoever reads "at least this token" sees it.
    pub token: Token,
    /// Whether an earlier request had done the work, and this one changed nothing.
    pub repeated: bool,
}
