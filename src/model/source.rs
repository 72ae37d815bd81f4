//! Where a reader looks, and where it begins.

use super::{EventFilter, EventType, Position, Revision, StreamName, Tag};

/// Which events a reader or a subscription goes through.
#[derive(Clone, Debug)]
pub enum Source {
    /// Every event of the log.
    All,
    /// One stream.
    Stream(StreamName),
    /// Every stream whose name begins with this text and a `-`.
    Category(String),
    /// Every event of one type.
    EventType(EventType),
    /// Every event with one tag.
    Tag(Tag),
    /// Every event that a filter chooses.
    Filtered(EventFilter),
}

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadFrom<P> {
    /// At the first event.
    Start,
    /// At the last event; a forward read from there has nothing to give.
    End,
    /// At a revision, which belongs to the read in both directions; or at a position, which
    /// belongs to a forward read and is what a backward read stays before.
    At(P),
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscribeFrom {
    /// With the first event.
    Start,
    /// With the first event behind this position.
    After(Position),
    /// With the first event behind this revision; only for a subscription to one stream.
    AfterRevision(Revision),
    /// With the first event that is committed from now on.
    End,
}
