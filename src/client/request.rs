//! What a reader asks for.

use std::time::Duration;

use crate::model::{
    Direction, EventFilter, EventType, Position, ReadFrom, Revision, Source, StreamName,
    SubscribeFrom, Tag, Token,
};
use crate::protocol::message as wire;

/// A read: which events, from where, which way, how many.
///
/// Without further words it goes forwards from the first event to the last one that is committed
/// when the server begins with it.
#[derive(Clone, Debug)]
pub struct Read {
    pub(super) source: Source,
    pub(super) from: ReadFrom<u64>,
    pub(super) direction: Direction,
    pub(super) events_max: u64,
    pub(super) at_least: Option<(Token, Duration)>,
}

impl Read {
    /// Reads a source.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            from: ReadFrom::Start,
            direction: Direction::Forwards,
            events_max: u64::MAX,
            at_least: None,
        }
    }

    /// Reads the whole log.
    #[must_use]
    pub fn all() -> Self {
        Self::new(Source::All)
    }

    /// Reads a stream.
    #[must_use]
    pub fn stream(stream: StreamName) -> Self {
        Self::new(Source::Stream(stream))
    }

    /// Reads a category.
    #[must_use]
    pub fn category(category: impl Into<String>) -> Self {
        Self::new(Source::Category(category.into()))
    }

    /// Reads the events of a type.
    #[must_use]
    pub fn event_type(event_type: EventType) -> Self {
        Self::new(Source::EventType(event_type))
    }

    /// Reads the events with a tag.
    #[must_use]
    pub fn tag(tag: Tag) -> Self {
        Self::new(Source::Tag(tag))
    }

    /// Reads the events that a filter chooses.
    #[must_use]
    pub fn filtered(filter: EventFilter) -> Self {
        Self::new(Source::Filtered(filter))
    }

    /// Begins at a revision, which belongs to the read; for the read of a stream.
    #[must_use]
    pub fn from_revision(self, revision: Revision) -> Self {
        Self {
            from: ReadFrom::At(revision.0),
            ..self
        }
    }

    /// Begins at a position, which belongs to a forward read; a backward read stays before it. For
    /// every read but that of a stream.
    #[must_use]
    pub fn from_position(self, position: Position) -> Self {
        Self {
            from: ReadFrom::At(position.0),
            ..self
        }
    }

    /// Begins at the end.
    #[must_use]
    pub fn from_end(self) -> Self {
        Self {
            from: ReadFrom::End,
            ..self
        }
    }

    /// Reads from newer to older events; from the last one, if no place was named before.
    #[must_use]
    pub fn backwards(self) -> Self {
        let from = match self.from {
            ReadFrom::Start => ReadFrom::End,
            from @ (ReadFrom::End | ReadFrom::At(_)) => from,
        };
        Self {
            from,
            direction: Direction::Backwards,
            ..self
        }
    }

    /// Ends after so many events.
    #[must_use]
    pub fn events_max(self, events_max: u64) -> Self {
        Self { events_max, ..self }
    }

    /// Waits first until the store has reached the token, at most so long.
    #[must_use]
    pub fn at_least(self, token: Token, within: Duration) -> Self {
        Self {
            at_least: Some((token, within)),
            ..self
        }
    }
}

/// A subscription: which events, from where.
#[derive(Clone, Debug)]
pub struct Subscribe {
    pub(super) source: Source,
    pub(super) from: SubscribeFrom,
    pub(super) at_least: Option<(Token, Duration)>,
}

impl Subscribe {
    /// Subscribes to a source.
    #[must_use]
    pub fn new(source: Source, from: SubscribeFrom) -> Self {
        Self {
            source,
            from,
            at_least: None,
        }
    }

    /// Waits first until the store has reached the token, at most so long.
    #[must_use]
    pub fn at_least(self, token: Token, within: Duration) -> Self {
        Self {
            at_least: Some((token, within)),
            ..self
        }
    }
}

/// The same for the wire. More than 49 days are as good as 49 days.
pub(super) fn wait_for(token: Token, within: Duration) -> wire::WaitFor {
    let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
    wire::WaitFor {
        token: token.into(),
        within_ms,
    }
}
