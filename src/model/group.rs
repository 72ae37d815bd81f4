//! What a consumer group is called, what it goes through, and how it is to be. Checked when it is
//! handed in.

use std::fmt;
use std::time::Duration;

use bytestring::ByteString;
use thiserror::Error;

use super::{EventFilter, InvalidText, Position, Revision, StreamName};

/// A setting of a consumer group that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct InvalidGroup(pub String);

/// The name of a consumer group: 1 to 512 bytes of UTF-8 without control characters.
///
/// A name belongs to its source: two streams may each have a group of the same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(ByteString);

impl GroupName {
    /// The longest allowed name, in bytes.
    pub const LEN_BYTES_MAX: usize = 512;

    /// Checks and keeps a name.
    ///
    /// # Errors
    /// Refuses an empty or too long name, and one with control characters.
    pub fn new(name: impl Into<ByteString>) -> Result<Self, InvalidText> {
        let name = name.into();
        let what = "group name";
        if name.is_empty() {
            return Err(InvalidText::Empty { what });
        }
        if name.len() > Self::LEN_BYTES_MAX {
            return Err(InvalidText::TooLong {
                what,
                len_bytes: name.len(),
                len_bytes_max: Self::LEN_BYTES_MAX,
            });
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidText::ControlCharacter { what });
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What a group goes through.
#[derive(Clone, Debug)]
pub enum GroupSource {
    /// The whole log, or what a filter chooses of it.
    All {
        /// None for everything.
        filter: Option<EventFilter>,
    },
    /// One stream; it need not be there yet.
    Stream(StreamName),
}

impl GroupSource {
    /// The whole log without a filter: also the way to name a group of the whole log, whatever its
    /// filter is.
    pub const ALL: Self = Self::All { filter: None };

    /// The name of the stream, or `$all`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::All { .. } => "$all",
            Self::Stream(stream) => stream.as_str(),
        }
    }
}

impl fmt::Display for GroupSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a group begins that has no checkpoint yet. The event named belongs to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupStart {
    /// With the first event.
    Start,
    /// With the first event that is committed after the group was made.
    End,
    /// With the event of this revision; only for a stream.
    Revision(Revision),
    /// With the event at this position, which must not be beyond the last; only for the whole log.
    Position(Position),
}

/// Which member gets which event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupStrategy {
    /// The next member with room, in turn.
    RoundRobin,
    /// The first member until it is full, then the second.
    DispatchToSingle,
    /// All events of a stream (of the target's stream, where links are resolved) go to one member,
    /// in order: an event never overtakes an earlier one of its stream that is not acknowledged,
    /// unless both are at the same member. Streams move when members come and go, behind what of
    /// them is in flight.
    Pinned,
    /// The same for all events with one `$correlationId` in their metadata; those without are
    /// pinned by their stream.
    PinnedByCorrelation,
    /// An event is delivered when its predecessor of the same stream was acknowledged, to any
    /// member: members work in parallel, streams stay in order. When an event is parked, those that
    /// follow it in its stream are parked behind it, until they are replayed.
    Ordered,
}

impl GroupStrategy {
    const ALL: [Self; 5] = [
        Self::RoundRobin,
        Self::DispatchToSingle,
        Self::Pinned,
        Self::PinnedByCorrelation,
        Self::Ordered,
    ];

    /// The name that settings call it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "RoundRobin",
            Self::DispatchToSingle => "DispatchToSingle",
            Self::Pinned => "Pinned",
            Self::PinnedByCorrelation => "PinnedByCorrelation",
            Self::Ordered => "Ordered",
        }
    }

    /// The strategy of this name.
    ///
    /// # Errors
    /// [`InvalidGroup`] names the one that is not known.
    pub fn of_name(name: &str) -> Result<Self, InvalidGroup> {
        let known = Self::ALL.into_iter().find(|one| one.as_str() == name);
        known.ok_or_else(|| InvalidGroup(format!("Consumer strategy {name} does not exist.")))
    }

    /// Whether events of one key keep their order.
    pub(crate) fn has_lanes(self) -> bool {
        !matches!(self, Self::RoundRobin | Self::DispatchToSingle)
    }

    pub(crate) fn is_pinned(self) -> bool {
        matches!(self, Self::Pinned | Self::PinnedByCorrelation)
    }
}

/// How a group is to be. The default suits most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Deliver what a link points to, beside the link. Default: no.
    pub resolve_links: bool,
    /// Measure how long each member takes for an event. Default: no.
    pub extra_statistics: bool,
    /// How long a member may take for an event until it is delivered again; zero is taken for one
    /// second. Default: 30 s.
    pub message_timeout: Duration,
    /// How often an event is delivered again until it is parked. Default: 10.
    pub max_retry_count: u32,
    /// How long after a checkpoint the next one is due, if [`Self::min_checkpoint_count`] events
    /// were handled since. Zero lets the number alone decide. Default: 2 s.
    pub checkpoint_after: Duration,
    /// See [`Self::checkpoint_after`]. Default: 10.
    pub min_checkpoint_count: u32,
    /// A checkpoint is due at once when so many events were handled. Default: 1,000.
    pub max_checkpoint_count: u32,
    /// How many members the group takes; 0 for any number. Default: 0.
    pub max_member_count: u32,
    /// How many events are kept for members while the group is live. Default: 500.
    pub live_buffer_size: u32,
    /// How many events are read at once; at least 1 and less than
    /// [`Self::history_buffer_size`]. Default: 20.
    pub read_batch_size: u32,
    /// How many events are kept for members while the group is behind. Default: 500.
    pub history_buffer_size: u32,
    /// Which member gets which event. Default: in turn.
    pub strategy: GroupStrategy,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            resolve_links: false,
            extra_statistics: false,
            message_timeout: Duration::from_secs(30),
            max_retry_count: 10,
            checkpoint_after: Duration::from_secs(2),
            min_checkpoint_count: 10,
            max_checkpoint_count: 1_000,
            max_member_count: 0,
            live_buffer_size: 500,
            read_batch_size: 20,
            history_buffer_size: 500,
            strategy: GroupStrategy::RoundRobin,
        }
    }
}

impl GroupSettings {
    /// Refuses what contradicts itself.
    pub(crate) fn check(&self) -> Result<(), InvalidGroup> {
        let problem = match () {
            () if self.read_batch_size == 0 => "Read batch size must be at least 1.",
            () if self.read_batch_size >= self.history_buffer_size => {
                "Read batch size may not be greater than or equal to buffer size."
            }
            () => return Ok(()),
        };
        Err(InvalidGroup(problem.to_owned()))
    }
}
