//! What a writer believes about a stream, and the rule that judges the belief.

use std::fmt;

use super::Revision;

/// Where a stream ends, as a reader or a writer finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamHead {
    /// Nothing was ever written to the stream.
    Absent,
    /// The stream's last event has this revision.
    At(Revision),
    /// The stream was deleted and may be written again; its last event had this revision, and the
    /// next one will have the revision after it. A stream that was deleted before it had any event
    /// has none.
    Deleted(Option<Revision>),
    /// The stream was closed for ever.
    Tombstoned,
}

impl StreamHead {
    /// The revision that the next event of the stream gets; none for a tombstoned stream.
    #[must_use]
    pub fn next_revision(self) -> Option<Revision> {
        match self {
            Self::Absent | Self::Deleted(None) => Some(Revision::START),
            Self::At(last) | Self::Deleted(Some(last)) => Some(last.next()),
            Self::Tombstoned => None,
        }
    }
}

impl fmt::Display for StreamHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no stream"),
            Self::At(revision) => write!(f, "revision {revision}"),
            Self::Deleted(Some(revision)) => write!(f, "deleted after revision {revision}"),
            Self::Deleted(None) => f.write_str("deleted"),
            Self::Tombstoned => f.write_str("tombstoned"),
        }
    }
}

/// What a writer expects of a stream at the moment of the append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "expected version")]
pub enum ExpectedRevision {
    /// Nothing: append wherever the stream ends.
    Any,
    /// The stream was never written, or it was deleted.
    NoStream,
    /// The stream has events, or at least metadata, and is not deleted.
    StreamExists,
    /// The stream's last event has exactly this revision (also a deleted stream's last event).
    Exactly(Revision),
}

impl fmt::Display for ExpectedRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::NoStream => f.write_str("no stream"),
            Self::StreamExists => f.write_str("stream exists"),
            Self::Exactly(revision) => write!(f, "revision {revision}"),
        }
    }
}
