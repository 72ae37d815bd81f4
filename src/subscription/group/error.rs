//! Why something asked of a group was refused, and why a member gets nothing more.

use std::sync::Arc;

use thiserror::Error;

use crate::engine::{AppendError, ReadError};
use crate::model::InvalidGroup;

/// Why something asked of a group was not done.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// There is no such group.
    #[error("there is no group {group} on {source_name}")]
    NotFound {
        /// The stream, or `$all`.
        source_name: Arc<str>,
        /// The group.
        group: Arc<str>,
    },
    /// There is such a group already.
    #[error("there is a group {group} on {source_name} already")]
    Exists {
        /// The stream, or `$all`.
        source_name: Arc<str>,
        /// The group.
        group: Arc<str>,
    },
    /// A setting, a start or a name cannot be.
    #[error("{0}")]
    Invalid(Arc<str>),
    /// The group has as many members as it takes.
    #[error("the group has {0} members, as many as it takes")]
    TooManyMembers(usize),
    /// There are as many groups as the options allow.
    #[error("there are {0} groups, as many as the options allow")]
    TooManyGroups(usize),
    /// Parked events are being read for a replay, or truncated; ask again when that is over.
    #[error("parked events are being replayed already")]
    ReplayRunning,
    /// The revision to stop at is negative.
    #[error("cannot stop at {0}, in front of the first parked event")]
    NegativeStop(i64),
    /// What the store is to remember could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<InvalidGroup> for GroupError {
    fn from(InvalidGroup(problem): InvalidGroup) -> Self {
        Self::Invalid(problem.into())
    }
}

/// Why a member gets nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The group was changed; join again.
    #[error("the group was changed and dropped its members; join again")]
    GroupUpdated,
    /// The group was deleted.
    #[error("the group was deleted")]
    GroupDeleted,
    /// All groups were restarted; join again.
    #[error("the groups were restarted; join again")]
    Restarted,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
