//! What a group says of itself: how it is set, where it is, who works for it, what it waits for.

use std::sync::Arc;

use uuid::Uuid;

use crate::engine::ReadError;
use crate::model::{GroupName, GroupSettings, GroupSource, GroupStart};
use crate::model::{Position, Revision, StreamName};
use crate::subscription::group::checkpoint::Checkpoint;
use crate::subscription::group::core::{Core, Place};
use crate::subscription::group::entry::Entry;
use crate::subscription::group::hub::Hub;
use crate::subscription::group::measure::Measurement;
use crate::subscription::group::message::Message;

/// A group as it is now.
#[derive(Clone, Debug)]
pub struct GroupInfo {
    /// What it goes through, with its filter.
    pub source: GroupSource,
    /// Its name.
    pub name: GroupName,
    /// How it is set, exactly as that was handed in.
    pub settings: GroupSettings,
    /// Where it began, exactly as that was handed in.
    pub start: GroupStart,
    /// What it is doing.
    pub status: GroupStatus,
    /// The last event in front of which everything is handled, as it is on stable storage.
    pub last_checkpoint: Option<GroupPlace>,
    /// The last event that the group has read.
    pub last_known: Option<GroupPlace>,
    /// The last event that went to a member for the first time.
    pub last_delivered: Option<GroupPlace>,
    /// The last event that a member has acknowledged.
    pub last_acknowledged: Option<GroupPlace>,
    /// The event that is at a member for the longest time.
    pub oldest_in_flight: Option<InFlightInfo>,
    /// Its members, in the order in which they came.
    pub members: Vec<MemberInfo>,
    /// Events delivered, again or not.
    pub total_count: u64,
    /// The same since the group last measured, which it does by its clock, whoever looks.
    pub since_count: u64,
    /// The same in a second, of late.
    pub per_second: u64,
    /// Events that were read while the group was behind, and wait for a member.
    pub read_buffer_count: usize,
    /// Events that were read while the group was live, and wait for a member.
    pub live_buffer_count: usize,
    /// Events that wait to be delivered again, or are replayed.
    pub retry_buffer_count: usize,
    /// Events at members.
    pub in_flight_count: usize,
    /// Events in the parked stream that are not being replayed.
    pub parked_count: u64,
    /// Streams whose events go to the parked stream until it is replayed; only in an ordered group.
    pub parked_streams_count: usize,
    /// Events of the source that are not handled yet; of the whole log, in a group with a filter.
    /// None where that would have to be counted.
    pub lag_count: Option<u64>,
    /// How old the oldest event is that is not handled yet, in microseconds.
    pub lag_us: u64,
    /// What went wrong last, if the group tries it again.
    pub failure: Option<Arc<str>>,
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// It has not found out yet where it is.
    pub is_ready: bool,
    /// It delivers events as they are committed.
    pub is_live: bool,
    /// It reads from its source at this moment.
    pub is_reading: bool,
    /// It reads what is to be replayed.
    pub is_replaying: bool,
}

impl GroupStatus {
    /// The same in the words of EventStoreDB.
    #[must_use]
    pub fn text(self) -> String {
        let flags = [
            (!self.is_ready, "NotReady"),
            (self.is_ready && !self.is_live, "Behind"),
            (self.is_reading, "OutstandingPageRequest"),
            (self.is_replaying, "ReplayingParkedMessages"),
            (self.is_ready && self.is_live, "Live"),
        ];
        let shown = flags.into_iter().filter(|(is_set, _)| *is_set);
        shown.map(|(_, text)| text).collect::<Vec<_>>().join(", ")
    }
}

/// Where an event of a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPlace {
    /// Its position in the log.
    pub position: Position,
    /// Its revision in the stream of the group; none in a group of the whole log, and where a
    /// checkpoint has passed no event.
    pub revision: Option<Revision>,
}

/// An event at a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlightInfo {
    /// The id of the original event.
    pub id: Uuid,
    /// Its stream.
    pub stream: StreamName,
    /// Its revision there.
    pub revision: Revision,
    /// Its position in the log.
    pub position: Position,
    /// How often it was delivered before.
    pub retry_count: u32,
    /// The connection of the member that has it.
    pub connection_name: String,
    /// Since when, in microseconds since 1970.
    pub since_us: i64,
}

/// A member as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Where it calls from.
    pub from: String,
    /// Who it is.
    pub principal: String,
    /// What it calls its connection.
    pub connection_name: String,
    /// Events delivered to it.
    pub total_count: u64,
    /// The same since the group last measured.
    pub since_count: u64,
    /// The same in a second, of late.
    pub per_second: u64,
    /// How long it takes for an event; nothing without
    /// [`GroupSettings::extra_statistics`].
    pub measurements: Vec<Measurement>,
    /// How many more events it takes.
    pub available_count: usize,
    /// Events at it.
    pub in_flight_count: usize,
}

impl Hub {
    /// What a group says of itself.
    pub(super) fn info(&self, entry: &Entry) -> Result<GroupInfo, ReadError> {
        let now_us = self.bell.now_us();
        let bounds = self.parked_bounds(entry)?;
        let is_stream = matches!(entry.definition.source, GroupSource::Stream(_));
        let stream_end = match &entry.definition.source {
            GroupSource::Stream(stream) => match self.store.stream(stream) {
                Ok(info) => info.head.next_revision(),
                Err(ReadError::StreamNotFound(_) | ReadError::StreamTombstoned(_)) => None,
                Err(error) => return Err(error),
            },
            GroupSource::All { .. } => None,
        };
        let committed = self.store.committed();
        let (info, _) = entry.change_quietly(|core, _| {
            let mut info = core.info(entry, is_stream, now_us);
            let checkpoint = core.checkpoint();
            info.parked_count =
                bounds.map_or(0, |(first, end)| core.replay.parked_count(first, end));
            info.lag_count = match (is_stream, stream_end) {
                (false, _) => Some(committed.0.saturating_sub(checkpoint.end.0)),
                (true, Some(end)) => {
                    let handled = checkpoint.revision.map_or(Revision::START, Revision::next);
                    Some(end.0.saturating_sub(handled.0))
                }
                (true, None) => (checkpoint.end >= committed).then_some(0),
            };
            info
        });
        Ok(info)
    }
}

impl Core {
    fn info(&mut self, entry: &Entry, is_stream: bool, now_us: i64) -> GroupInfo {
        let shown = |place: Place| GroupPlace {
            position: place.position,
            revision: is_stream.then_some(place.revision),
        };
        let of_checkpoint = |checkpoint: Checkpoint| {
            Some(GroupPlace {
                position: Position(checkpoint.end.0.checked_sub(1)?),
                revision: checkpoint.revision.filter(|_| is_stream),
            })
        };
        let created_us = |message: &Message| message.event.original().created.micros();
        let lag_us = self.lowest().map_or(0, |message| {
            u64::try_from(now_us.saturating_sub(created_us(message))).unwrap_or(0)
        });
        let (live_buffer_count, read_buffer_count) = match self.live {
            true => (self.fresh_count, 0),
            false => (0, self.fresh_count),
        };
        let measured = self.meter.look(now_us);
        let definition = &entry.definition;
        GroupInfo {
            source: definition.source.clone(),
            name: definition.name.clone(),
            settings: definition.settings.clone(),
            start: definition.start,
            status: GroupStatus {
                is_ready: self.ready,
                is_live: self.live,
                is_reading: self.ready && !self.at_end && self.wanted_count().is_some(),
                is_replaying: self.replay.loading.is_some(),
            },
            last_checkpoint: self.written.and_then(of_checkpoint),
            last_known: self.last_read.map(shown),
            last_delivered: self.last_delivered.map(shown),
            last_acknowledged: self.last_acked.map(shown),
            oldest_in_flight: self.oldest_in_flight(),
            members: self.members_info(now_us),
            total_count: measured.total_count,
            since_count: measured.since_count,
            per_second: measured.per_second,
            read_buffer_count,
            live_buffer_count,
            retry_buffer_count: self.waiting.len() - self.fresh_count,
            in_flight_count: self.in_flight.len(),
            parked_count: 0,
            parked_streams_count: self.parked_lanes_count,
            lag_count: None,
            lag_us,
            failure: self.failure.as_ref().map(|(why, _)| Arc::clone(why)),
        }
    }

    fn oldest_in_flight(&self) -> Option<InFlightInfo> {
        let oldest = self.in_flight.values().min_by_key(|one| one.since_us)?;
        let original = oldest.message.event.original();
        let member = self.members.get(&oldest.member);
        Some(InFlightInfo {
            id: original.id,
            stream: original.stream.clone(),
            revision: original.revision,
            position: original.position,
            retry_count: oldest.message.retry_count,
            connection_name: member
                .map(|m| m.join.connection_name.clone())
                .unwrap_or_default(),
            since_us: oldest.since_us,
        })
    }

    fn members_info(&mut self, now_us: i64) -> Vec<MemberInfo> {
        let members = self.members.values_mut().map(|member| {
            let measured = member.meter.look(now_us);
            MemberInfo {
                from: member.join.from.clone(),
                principal: member.join.principal.clone(),
                connection_name: member.join.connection_name.clone(),
                total_count: measured.total_count,
                since_count: measured.since_count,
                per_second: measured.per_second,
                measurements: measured.observed,
                available_count: member.room(),
                in_flight_count: member.in_flight_count,
            }
        });
        members.collect()
    }
}
