//! State records: small values of the store's own, such as a setting or how far a consumer is.
//!
//! A state record has no position and no history: of each (space, key) the last value in the log
//! counts. It is committed in the same unit as the events of its append, or alone.

use bytes::Bytes;

/// What a state record belongs to. Keys of different spaces have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum StateSpace {
    /// Users and what is needed to check who they are.
    Users,
    /// Settings of the store.
    Settings,
    /// What consumer groups there are.
    Groups,
    /// How far consumer groups are.
    GroupCursors,
    /// Projections.
    Projections,
    /// How far consumers are that keep their place in the store.
    Consumers,
    /// Scavenges: the last one, and how far it is.
    Scavenges,
}

impl StateSpace {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Users,
        Self::Settings,
        Self::Groups,
        Self::GroupCursors,
        Self::Projections,
        Self::Consumers,
        Self::Scavenges,
    ];

    /// Its number on the disk, which never changes.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Users => 1,
            Self::Settings => 2,
            Self::Groups => 3,
            Self::GroupCursors => 4,
            Self::Projections => 5,
            Self::Consumers => 6,
            Self::Scavenges => 7,
        }
    }
}

/// A change of one state record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// What it belongs to.
    pub space: StateSpace,
    /// Which one: at most 2,048 bytes.
    pub key: Bytes,
    /// Its new value, at most 1 MiB; none to remove it.
    pub value: Option<Bytes>,
}

impl StateChange {
    /// Gives a key a value, in place of the one it may have.
    #[must_use]
    pub fn put(space: StateSpace, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self {
            space,
            key: key.into(),
            value: Some(value.into()),
        }
    }

    /// Removes a key.
    #[must_use]
    pub fn remove(space: StateSpace, key: impl Into<Bytes>) -> Self {
        Self {
            space,
            key: key.into(),
            value: None,
        }
    }
}
