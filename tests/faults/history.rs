//! What the clients of one store saw, from first to last: every append with the moments of its
//! request and of its answer, every look at the store, and everything that followers were given.
//! It is only collected here; `judge.rs` says whether a correct store can have done it.

use annal::{Append, Position, Receipt, RecordedEvent, Revision, StreamName};

/// Nanoseconds since the history began. All clients share one clock.
pub(crate) type Moment = u64;

/// The moment of an answer that never came.
pub(crate) const NEVER: Moment = Moment::MAX;

/// An append, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) append: Append,
    /// Which protocol it was sent by.
    pub(crate) over_grpc: bool,
    /// When it was sent first.
    pub(crate) invoked: Moment,
    /// When its last answer came.
    pub(crate) returned: Moment,
    pub(crate) outcome: Outcome,
}

/// How an append ended for its client.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is on stable storage.
    Done(Receipt),
    /// It is certainly not in the log: the stream ended elsewhere, at this revision.
    Conflict {
        stream: StreamName,
        found: Option<Revision>,
    },
    /// It is certainly not in the log, for a reason that has nothing to do with streams.
    Refused(String),
    /// It is in the log as a whole, or not at all.
    Unknown(String),
}

/// A look at the store that was answered at one instant between the two moments.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) invoked: Moment,
    pub(crate) returned: Moment,
    pub(crate) saw: Saw,
}

/// What a look saw.
#[derive(Clone, Debug)]
pub(crate) enum Saw {
    /// The last revision of a stream; none where there is none.
    Head(StreamName, Option<Revision>),
    /// The events of a stream from a revision on, to its end.
    Stream(StreamName, Revision, Vec<RecordedEvent>),
    /// The events of the log from a position on, to its end.
    Log(Position, Vec<RecordedEvent>),
}

/// What somebody follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    All,
    Stream(StreamName),
    Category(String),
}

impl Followed {
    /// Whether an event belongs to it.
    pub(crate) fn wants(&self, event: &RecordedEvent) -> bool {
        match self {
            Self::All => true,
            Self::Stream(stream) => event.stream == *stream,
            Self::Category(category) => event.stream.category() == Some(category),
        }
    }
}

/// What a follower was given from the first event on, across all its connections.
#[derive(Clone, Debug)]
pub(crate) struct Followings {
    pub(crate) of: Followed,
    pub(crate) given: Vec<Given>,
    /// How often the connection was lost, or the subscription begun anew where it was.
    pub(crate) resumed: u64,
    /// Whether it reached the end of the log when there was nothing more to come.
    pub(crate) reached_the_end: bool,
}

/// One thing that a follower was given.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Event(Moment, Box<RecordedEvent>),
    /// An event by a protocol that does not show tags.
    Untagged(Moment, Box<RecordedEvent>),
    /// All that stands in front of the position was looked at; and when it was committed by the
    /// clock of the store, in microseconds, if the server knows.
    LookedAt(Moment, Position, Option<i64>),
}

/// Everything together.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) asked: Vec<Asked>,
    pub(crate) looks: Vec<Look>,
    pub(crate) followed: Vec<Followings>,
}
