//! What a writer asks for, and what it gets back.

use uuid::Uuid;

use crate::model::{ExpectedRevision, NewEvent, Position, Revision, StreamName, Token};

/// A request to append: events for one or more streams, all or none of them, in the order given.
#[derive(Clone, Debug, Default)]
pub struct Append {
    pub(super) events: Vec<(StreamName, NewEvent)>,
    pub(super) expectations: Vec<(StreamName, ExpectedRevision)>,
    pub(super) request: Option<Request>,
}

/// The name a writer gives to a request, so that sending it again returns the first receipt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Who asks; two principals may use the same id. Empty for an embedding program.
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
            request: None,
        }
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
    /// The position of the first event; where an empty append stood in the log.
    pub first: Position,
    /// The position of the last event that the writer handed in; none for an empty append.
    pub last: Option<Position>,
    /// Each written or expected stream's last revision after the append, in the order in which the
    /// request first names them; none for a stream that has no events.
    pub revisions: Vec<(StreamName, Option<Revision>)>,
    /// Covers the append: whoever reads "at least this token" sees it.
    pub token: Token,
    /// Whether an earlier request had done the work, and this one changed nothing.
    pub repeated: bool,
}
