//! Reading with links followed: each event, and what it points to.
//!
//! A link is followed once: what a link points to comes as it is, also if it is a link. The order,
//! the revisions and the positions of a read are those of the links.

use crate::engine::read::listing::{Listing, Virtual};
use crate::engine::read::{Events, Looked, Reading};
use crate::engine::{ReadError, Store};
use crate::model::{
    Direction, EventFilter, Link, Position, ReadFrom, RecordedEvent, Revision, StreamName,
};

/// An event as a reader meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "an event in a box is one more allocation"
)]
pub enum ResolvedEvent {
    /// An event that is no link, or was not to be resolved.
    Plain(RecordedEvent),
    /// A link, and the event that it points to: none if its stream does not show it, because it was
    /// never there, is deleted, truncated or too old.
    Link {
        /// What was read.
        link: RecordedEvent,
        /// What it points to.
        target: Option<RecordedEvent>,
    },
}

impl ResolvedEvent {
    /// What was read: the link if it is one. Its stream and its number are where the reader is.
    #[must_use]
    pub fn original(&self) -> &RecordedEvent {
        match self {
            Self::Plain(event) => event,
            Self::Link { link, .. } => link,
        }
    }

    /// The event itself: what a link points to, if that can be seen.
    #[must_use]
    pub fn event(&self) -> Option<&RecordedEvent> {
        match self {
            Self::Plain(event) => Some(event),
            Self::Link { target, .. } => target.as_ref(),
        }
    }

    /// The link through which the event was read.
    #[must_use]
    pub fn link(&self) -> Option<&RecordedEvent> {
        match self {
            Self::Plain(_) => None,
            Self::Link { link, .. } => Some(link),
        }
    }

    /// [`Self::event`] and [`Self::link`].
    #[must_use]
    pub fn into_parts(self) -> (Option<RecordedEvent>, Option<RecordedEvent>) {
        match self {
            Self::Plain(event) => (Some(event), None),
            Self::Link { link, target } => (target, Some(link)),
        }
    }

    /// How many bytes of data and metadata it holds.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        let len = |event: &RecordedEvent| event.data.len() + event.metadata.len();
        match self {
            Self::Plain(event) => len(event),
            Self::Link { link, target } => len(link) + target.as_ref().map_or(0, len),
        }
    }
}

/// The first and the last revision that a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first revision that its metadata lets be seen, age aside, which hides events one by one;
    /// behind the last one if nothing is shown.
    pub first: Revision,
    /// The last revision of the stream.
    pub last: Revision,
}

/// The events of a read, each with what it points to, as of the moment when the read began; links
/// are followed as of the moment when they come.
///
/// Events are read as they are asked for. It keeps a view of the index alive: drop it when it is
/// not needed.
#[derive(Debug)]
pub struct ResolvedEvents {
    reading: Reading,
    walk: Walk,
    bounds: Option<Bounds>,
    resolve_links: bool,
    failed: bool,
}

/// Where the events come from.
#[derive(Debug)]
enum Walk {
    Stored(Box<Events>),
    Virtual(Box<Listing>),
}

impl ResolvedEvents {
    /// What the stream showed when the read began; none for a read of the whole log.
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds> {
        self.bounds
    }
}

impl ResolvedEvents {
    /// The next event, if it is found soon. After an error there is nothing more.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn look(&mut self) -> Result<Looked<ResolvedEvent>, ReadError> {
        if self.failed {
            return Ok(Looked::End);
        }
        let looked = match &mut self.walk {
            Walk::Virtual(listing) => listing.look(self.resolve_links),
            Walk::Stored(events) => events.look().and_then(|looked| {
                Ok(match looked {
                    Looked::Found(event) if self.resolve_links => {
                        Looked::Found(self.reading.resolve(event)?)
                    }
                    Looked::Found(event) => Looked::Found(ResolvedEvent::Plain(event)),
                    Looked::Nothing => Looked::Nothing,
                    Looked::End => Looked::End,
                })
            }),
        };
        self.failed = looked.is_err();
        looked
    }
}

impl Iterator for ResolvedEvents {
    type Item = Result<ResolvedEvent, ReadError>;

    /// The next event. After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.look() {
                Ok(Looked::Found(event)) => return Some(Ok(event)),
                Ok(Looked::Nothing) => {}
                Ok(Looked::End) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Reading {
    /// The event of a stream, stored or virtual, with this revision, if the stream shows it.
    fn shown(
        &self,
        stream: &StreamName,
        revision: Revision,
    ) -> Result<Option<RecordedEvent>, ReadError> {
        let Some(one) = Virtual::of(stream) else {
            return self.event(stream, revision);
        };
        let from = ReadFrom::At(revision);
        let mut listing = self.listing(one, from, Direction::Forwards)?;
        let event = listing.next(false)?.and_then(|event| event.into_parts().0);
        Ok(event.filter(|event| event.revision == revision))
    }

    /// An event with what it points to, if it is a link.
    pub(crate) fn resolve(&self, event: RecordedEvent) -> Result<ResolvedEvent, ReadError> {
        let Some(Link { stream, revision }) = Link::of_event(&event) else {
            return Ok(ResolvedEvent::Plain(event));
        };
        let target = match self.shown(&stream, revision) {
            Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)) => None,
            other => other?,
        };
        Ok(ResolvedEvent::Link {
            link: event,
            target,
        })
    }
}

impl Reading {
    /// The last revision of a stream, if it shows one.
    pub(crate) fn last_shown(&self, stream: &StreamName) -> Result<Option<Revision>, ReadError> {
        match self.window(&self.view(), stream) {
            Ok(window) => Ok(Some(window.last)),
            Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Store {
    /// An event with what it points to, if it is a link; as [`ResolvedEvent::Plain`] if not.
    ///
    /// # Errors
    /// See [`ReadError`]. A target that cannot be seen is no error.
    pub fn resolve(&self, event: RecordedEvent) -> Result<ResolvedEvent, ReadError> {
        self.reading().resolve(event)
    }

    /// The events of a stream, as [`Self::read_stream`] gives them, or of a virtual stream, which
    /// hides what was written under its name; with `resolve_links`, each link with what it points
    /// to.
    ///
    /// # Errors
    /// As [`Self::read_stream`].
    pub fn read_resolved(
        &self,
        stream: &StreamName,
        from: ReadFrom<Revision>,
        direction: Direction,
        resolve_links: bool,
    ) -> Result<ResolvedEvents, ReadError> {
        let reading = self.reading();
        let (walk, bounds) = match Virtual::of(stream) {
            Some(one) => {
                let listing = reading.listing(one, from, direction)?;
                let bounds = listing.bounds();
                (Walk::Virtual(Box::new(listing)), bounds)
            }
            None => {
                let (cursor, bounds) = reading.stream_events_within(stream, from, direction)?;
                (Walk::Stored(Box::new(Events::new(cursor))), bounds)
            }
        };
        Ok(ResolvedEvents {
            reading: reading.clone(),
            walk,
            bounds: Some(bounds),
            resolve_links,
            failed: false,
        })
    }

    /// All events, or those that a filter chooses, as [`Self::read_all`] gives them; with
    /// `resolve_links`, each link with what it points to. A filter looks at the links.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read_all_resolved(
        &self,
        from: ReadFrom<Position>,
        direction: Direction,
        filter: Option<EventFilter>,
        resolve_links: bool,
    ) -> Result<ResolvedEvents, ReadError> {
        Ok(ResolvedEvents {
            reading: self.reading().clone(),
            walk: Walk::Stored(Box::new(self.read_all(from, direction, filter)?)),
            bounds: None,
            resolve_links,
            failed: false,
        })
    }
}
