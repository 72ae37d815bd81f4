//! The nouns of an event store: events, streams, positions, expectations, filters.
//!
//! This layer knows nothing of files, threads or sockets. Values are checked once, when they are
//! made, and are valid ever after: no other layer checks a stream name again.

mod append;
mod correlation;
mod event;
mod expected;
mod filter;
mod group;
mod link;
mod metadata;
mod pattern;
mod position;
mod source;
mod state;
mod stream;
mod text;
mod timestamp;
mod virtual_stream;

pub use append::{Append, Ending, Receipt, Request};
pub use correlation::correlation_id;
pub use event::{ContentType, MediaType, NewEvent, RecordedEvent};
pub use expected::{ExpectedRevision, StreamHead};
pub use filter::{EventFilter, FilterRule, FilterTarget, InvalidFilter};
pub use group::{GroupName, GroupSettings, GroupSource, GroupStart, GroupStrategy, InvalidGroup};
pub use link::Link;
pub use metadata::StreamMetadata;
pub use pattern::{Pattern, PatternTooCostly};
pub use position::{Position, Revision};
pub use source::{ReadFrom, Source, SubscribeFrom};
pub use state::{StateChange, StateSpace};
pub use stream::{SETTINGS_STREAM, StreamName};
pub use text::{EventType, InvalidText, Tag};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use virtual_stream::{Projection, VirtualStream};

/// The identity of a store: made once, at creation, and kept by backups and copies.
///
/// See [`Lineage`] for what tells a copy from its original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub uuid::Uuid);

/// One history of a store. A restored backup, a fork and a repair start a new lineage, because from
/// then on a position may mean another event than in the store they came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lineage(pub uuid::Uuid);

/// A place in the history of one store, to hand to a reader on another connection ("read at least
/// this much") or to keep as a resume point. A token of another store or lineage is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The store that gave the token.
    pub store: StoreId,
    /// The lineage of that store when it gave the token.
    pub lineage: Lineage,
    /// Everything before this position is covered by the token.
    pub end: Position,
}

/// Which way a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From older to newer events.
    Forwards,
    /// From newer to older events.
    Backwards,
}
