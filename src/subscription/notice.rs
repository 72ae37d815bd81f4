//! What a subscription says, and how it is to be.

use crate::engine::Batch;
use crate::model::Position;

/// What a subscription tells its owner, in this order of things: events as they are found, how far
/// it has come where nothing is found, and that it has caught up.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The next events; never none.
    Events(Batch),
    /// Nothing was found for a while, and everything in front of the position was looked at. To go
    /// on from there later, subscribe with the position in front of it.
    Checkpoint(Progress),
    /// Everything that is committed was delivered; from here on events come as they are committed.
    CaughtUp(Progress),
    /// It had caught up, and is far behind again, because its owner took too long. Events go on.
    FellBehind(Progress),
    /// The stream was closed for ever, by the event at the position. Nothing more will come.
    StreamTombstoned(Position),
}

/// How far a subscription has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Everything in front of this position was looked at, and what concerns the subscription was
    /// delivered.
    pub position: Position,
    /// When the last event in front of the position was committed, in microseconds since 1970;
    /// none where that would have to be read from the disk.
    pub committed_us: Option<i64>,
}

/// How a subscription is to be. The default suits most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// After how many events of the log that did not concern it a subscription tells how far it has
    /// come; at least 1. Default: 10,000. A live subscription to one stream does not tell: nothing
    /// happens for it while others are written.
    pub checkpoint_events: u64,
    /// How many events of the log a live subscription may lag before it says that it fell behind.
    /// Default: 100,000.
    pub behind_events: u64,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            checkpoint_events: 10_000,
            behind_events: 100_000,
        }
    }
}

impl SubscribeOptions {
    /// The same with another [`Self::checkpoint_events`].
    #[must_use]
    pub fn checkpoint_events(self, checkpoint_events: u64) -> Self {
        Self {
            checkpoint_events,
            ..self
        }
    }

    /// The same with another [`Self::behind_events`].
    #[must_use]
    pub fn behind_events(self, behind_events: u64) -> Self {
        Self {
            behind_events,
            ..self
        }
    }
}
