//! Numbers of events: in the whole log and in a stream. They never mix.

use std::fmt;

/// The number of an event in the whole log. The first event of a store is 0; numbers are assigned
/// in commit order, without gaps, and a number means the same event for ever.
///
/// As the start of a forward read it is inclusive. As an *end* (of the committed log, of a token)
/// it is the position that the next event will get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The position of the first event of every store.
    pub const START: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The position `count` events further on; stays at the largest number instead of wrapping.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an event in its stream, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "version")]
#[doc(alias = "event number")]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of the first event of every stream.
    pub const START: Self = Self(0);

    /// The revision of a tombstone, the last event of a stream that may never be written again.
    /// It is the largest signed 64-bit number, as in EventStoreDB; no other event can have it.
    pub const TOMBSTONE: Self = Self(i64::MAX.unsigned_abs());

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The revision `count` events further on; stays at the largest number instead of wrapping.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
