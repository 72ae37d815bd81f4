//! How a member joins a group, and every limit of the groups of a store.

use std::time::Duration;

/// How a member joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinOptions {
    /// How many events the member takes before it acknowledges one; at least 1. Default: 10.
    pub buffer_size: u32,
    /// Who the member is, for those who look at the group. Default: `anonymous`.
    pub principal: String,
    /// What the member calls its connection. Default: nothing.
    pub connection_name: String,
    /// Where the member calls from. Default: nothing.
    pub from: String,
}

impl Default for JoinOptions {
    fn default() -> Self {
        Self {
            buffer_size: 10,
            principal: "anonymous".into(),
            connection_name: String::new(),
            from: String::new(),
        }
    }
}

/// Every limit of the groups of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOptions {
    /// The most groups. Default: 4,096.
    pub groups_max: usize,
    /// The most members of one group, whatever its settings say. Default: 1,024.
    pub members_max: usize,
    /// The most events of one group that are in flight. Default: 65,536.
    pub in_flight_max: usize,
    /// Streams of an ordered group that are parked; with more, the group stands still until some
    /// are replayed. Default: 65,536.
    pub parked_streams_max: usize,
    /// What is kept in memory for the members of all groups, in bytes; beyond that a group reads
    /// one batch at a time. Default: 64 MiB.
    pub buffered_len_bytes_max: usize,
    /// At most one write of checkpoints in this time, for all groups together. Default: 2 s.
    pub checkpoint_interval: Duration,
    /// Unless so many events were handled. Default: 1,000.
    pub checkpoint_count: u64,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            groups_max: 4_096,
            members_max: 1_024,
            in_flight_max: 65_536,
            parked_streams_max: 65_536,
            buffered_len_bytes_max: 64 * 1024 * 1024,
            checkpoint_interval: Duration::from_secs(2),
            checkpoint_count: 1_000,
        }
    }
}
